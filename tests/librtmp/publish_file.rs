//! `publish_file` of `c-examples`: players and servers get the file's messages unchanged, and the exit code tells
//! success and the kinds of failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, StreamConfig};

use crate::support::c::{build_sanitized, example_sources};
use crate::support::flv::{self, Tag, assert_same};
use crate::support::media::{media, rtmpdump_plays};
use crate::support::nginx::Nginx;
use crate::support::program::{Program, Room};
use crate::support::reserved::Reserved;
use crate::support::rml::Client;
use crate::support::server::Relay;
use crate::support::{PATIENCE, until};

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build_sanitized("publish-file", &example_sources("publish_file")))
}

fn start(room: &Room, name: &str, arguments: &[&str]) -> Program {
    room.start(name, program().to_str().unwrap(), arguments)
}

/// The program's exit code, within the usual time.
fn code(mut program: Program) -> i32 {
    program.ends_within(PATIENCE).code().expect("no signal ends it")
}

fn file() -> &'static str {
    media().file.to_str().unwrap()
}

#[test]
fn players_get_every_message_of_the_file_however_it_is_cut() {
    for slice in ["7", "777", "1000000"] {
        let (room, relay) = (Room::new(&format!("publish-file-{slice}")), Relay::new());
        let (mut player, played) = rtmpdump_plays(&room, "player", &relay.url("show"));
        relay.has_players("show", 1);
        let arguments = ["--pace", "0", "--slice", slice, file(), &relay.url("show"), "timeout=20"];
        start(&room, "publisher", &arguments).ends_well();
        player.ends_within(PATIENCE);
        assert_same(&flv::as_librtmp_keeps(&flv::read(&media().file)), &flv::read(&played));
    }
}

#[test]
fn a_file_may_come_through_a_pipe() {
    let (room, relay) = (Room::new("publish-file-pipe"), Relay::new());
    let (mut player, played) = rtmpdump_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    let pipe = format!("cat {} | {} --pace 0 - {}", file(), program().display(), relay.url("show"));
    room.start("publisher", "sh", &["-c", &pipe]).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&flv::read(&media().file)), &flv::read(&played));
}

#[test]
fn its_output_goes_into_no_socket_if_stdout_and_stderr_are_closed() {
    let (room, relay) = (Room::new("publish-file-closed"), Relay::new());
    let (mut player, played) = rtmpdump_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    let run = format!("exec {} --verbose --pace 0 {} {} >&- 2>&-", program().display(), file(), relay.url("show"));
    room.start("publisher", "sh", &["-c", &run]).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&flv::read(&media().file)), &flv::read(&played));
}

#[test]
fn librtmp_warns_of_nothing_that_the_relay_answers_to_a_publisher() {
    let (room, relay) = (Room::new("publish-file-verbose"), Relay::new());
    let mut publisher = start(&room, "publisher", &["--verbose", "--pace", "0", file(), &relay.url("show")]);
    publisher.ends_well();
    let words = publisher.words();
    assert!(words.contains("DEBUG: "), "all that librtmp logs is shown: {words}");
    assert!(!words.contains("WARNING: ") && !words.contains("ERROR: "), "{words}");
}

#[test]
fn nginx_records_every_frame_of_the_file() {
    let room = Room::new("publish-file-nginx");
    let nginx = Nginx::start(&room);
    let url = format!("rtmp://127.0.0.1:{}/live/k", nginx.port);
    start(&room, "publisher", &["--pace", "0", file(), &url]).ends_well();
    let published = flv::frames_since_first(&flv::read(&media().file));
    let record = room.file("nginx/k.flv");
    until("nginx has recorded all", || (flv::read_so_far(&record).len() >= published.len()).then_some(()));
    assert_same(&published, &flv::frames_since_first(&flv::read_so_far(&record)));
}

/// Sound and pictures of one size each, two and three at one time now and then, after steps of all kinds.
fn of_equal_sizes() -> Vec<Tag> {
    let times = [0, 33, 33, 66, 66, 66, 100, 100, 400, 400, 440];
    let tags = times.into_iter().enumerate().flat_map(|(index, ts_ms)| {
        let number = index as u8;
        let sound = Tag { kind: flv::AUDIO, ts_ms, body: [&[0x2F][..], &[number; 40]].concat() };
        let key: u8 = if index == 0 { 0x12 } else { 0x22 };
        let picture = Tag { kind: flv::VIDEO, ts_ms, body: [&[key][..], &[number; 40]].concat() };
        // At one time they follow one another by kind: sound, sound, picture, picture.
        if index % 3 == 0 { vec![sound.clone(), sound, picture.clone(), picture] } else { vec![sound, picture] }
    });
    tags.collect()
}

/// Readers are the relay, librtmp's face of what the relay sends on, and nginx-rtmp.
#[test]
fn messages_of_equal_size_and_time_arrive_at_the_times_they_were_written() {
    let (room, relay) = (Room::new("publish-file-equal"), Relay::new());
    let nginx = Nginx::start(&room);
    let (equal, file) = (of_equal_sizes(), room.file("equal.flv"));
    flv::write(&file, &equal);
    let (mut player, played) = rtmpdump_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    let direct = format!("rtmp://127.0.0.1:{}/live/direct", nginx.port);
    for (name, url) in [("to-relay", &relay.url("show")), ("to-nginx", &direct)] {
        start(&room, name, &["--pace", "0", file.to_str().unwrap(), url]).ends_well();
    }
    player.ends_within(PATIENCE);
    assert_same(&equal, &flv::read(&played));
    // Of several pictures at one time nginx-rtmp records only some.
    let sound = |tags: Vec<Tag>| tags.into_iter().filter(|tag| tag.kind == flv::AUDIO).collect::<Vec<_>>();
    let (equal, record) = (sound(equal), room.file("nginx/direct.flv"));
    until("nginx has recorded all", || (sound(flv::read_so_far(&record)).len() >= equal.len()).then_some(()));
    assert_same(&equal, &flv::frames_since_first(&sound(flv::read_so_far(&record))));
}

#[test]
fn publish_file_keeps_the_given_pace_and_shows_its_progress() {
    let (room, relay) = (Room::new("publish-file-pace"), Relay::new());
    let began = Instant::now();
    let mut publisher = start(&room, "publisher", &["--pace", "5", file(), &relay.url("show")]);
    publisher.ends_well();
    let last_ms = flv::read(&media().file).last().unwrap().ts_ms;
    assert!(began.elapsed() >= Duration::from_millis(u64::from(last_ms) / 5), "{:?}", began.elapsed());
    let words = publisher.words();
    let size = fs::metadata(file()).unwrap().len();
    assert!(words.matches('\r').count() >= 3, "a line now and then: {words}");
    assert!(words.contains(&format!("{size} bytes")) && words.contains("kbit/s"), "{words}");
}

#[test]
fn ctrl_c_ends_it_in_order() {
    let stream = StreamConfig { grace_ms: 3_600_000, ..StreamConfig::default() };
    let config = ServerConfig { stream: stream.into(), ..ServerConfig::default() };
    let (room, relay) = (Room::new("publish-file-interrupted"), Relay::with(config, "127.0.0.1:0"));
    let (mut player, _) = rtmpdump_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    let publisher = start(&room, "publisher", &[file(), &relay.url("show")]);
    relay.has_messages("show", 10);
    publisher.terminate();
    assert_eq!(code(publisher), 130);
    // The player is told that the stream has ended; after a mere loss of the publisher it would wait for an hour.
    player.ends_within(PATIENCE);
}

#[test]
fn the_exit_code_says_what_went_wrong() {
    let (room, relay) = (Room::new("publish-file-codes"), Relay::new());
    let (url, nowhere) = (relay.url("show"), Reserved::new());
    let nobody = format!("rtmp://127.0.0.1:{}/live/show", nowhere.port);
    fs::write(room.file("text.flv"), "this is no FLV file").unwrap();
    fs::write(room.file("cut.flv"), [&fs::read(file()).unwrap()[..50_000], b"and then?"].concat()).unwrap();
    let mut damaged = fs::read(file()).unwrap();
    let second_tag = 13 + 11 + flv::read(&media().file)[0].body.len() + 4;
    damaged[second_tag] = 77;
    fs::write(room.file("damaged.flv"), damaged).unwrap();
    for (name, arguments, expected) in [
        ("nobody", &[file(), &nobody][..], 1),
        ("option", &["--peace", "1", file(), &url], 2),
        ("pace", &["--pace", "fast", file(), &url], 2),
        ("no-url", &[file()], 2),
        ("url", &[file(), "nowhere"], 2),
        ("key", &[file(), &url, "nokey=1"], 2),
        ("gone", &["gone.flv", &url], 3),
        ("text", &["text.flv", &url], 3),
        ("damaged", &["--pace", "0", "damaged.flv", &url], 3),
        ("cut", &["--pace", "0", "cut.flv", &url], 0),
        ("help", &["--help"], 0),
    ] {
        let mut run = start(&room, name, arguments);
        let status = run.ends_within(PATIENCE);
        assert_eq!(status.code(), Some(expected), "{name}: {}", run.words());
        assert!(!run.words().is_empty(), "{name} says why");
        assert_eq!(run.words().contains("the server cannot be reached"), name == "nobody", "{}", run.words());
    }
    let other = Client::publish(relay.port, "taken");
    let mut refused = start(&room, "refused", &[file(), &relay.url("taken"), "timeout=5"]);
    assert_eq!(refused.ends_within(PATIENCE).code(), Some(1));
    assert!(refused.words().contains("the server was reached, but it refused"), "{}", refused.words());
    assert!(refused.words().contains("--verbose"), "{}", refused.words());
    let mut refused = start(&room, "loud", &["--verbose", file(), &relay.url("taken"), "timeout=5"]);
    assert_eq!(refused.ends_within(PATIENCE).code(), Some(1));
    assert!(refused.words().contains("NetStream.Publish.BadName"), "{}", refused.words());
    drop(other);
    let publisher = start(&room, "lost", &[file(), &url]);
    relay.has_messages("show", 10);
    drop(relay);
    assert_eq!(code(publisher), 4);
}
