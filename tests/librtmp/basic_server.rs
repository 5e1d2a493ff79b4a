//! The basic server of `c-examples`, on librtmp's interface and the relay's: published messages are saved, and played
//! over both of its bridges, message for message.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::hostile::{message, shake_hands, text};
use crate::support::c::{As, build, build_sanitized, example_sources, good};
use crate::support::flv::{self, AUDIO, DATA, Tag, VIDEO, assert_same};
use crate::support::media::{ffmpeg_plays, ffmpeg_publishes, media, rtmpdump_plays};
use crate::support::program::{Program, Room};
use crate::support::reserved::Reserved;
use crate::support::{PATIENCE, until};

/// The program, built under the sanitizers.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build_sanitized("basic-server", &example_sources("basic_server")))
}

/// A running server, and its urls for publishing and playing.
struct Server {
    program: Program,
    publish: String,
    play: String,
}

impl Server {
    fn start(room: &Room, options: &[&str]) -> Self {
        Self::run(room, &[program().to_str().unwrap()], options)
    }

    fn run(room: &Room, command: &[&str], options: &[&str]) -> Self {
        let options: Vec<&str> = command[1..].iter().chain(&["--port", "0"]).chain(options).copied().collect();
        let mut program = room.start("server", command[0], &options);
        program.says("stop it\n");
        let words = program.words();
        let after = |what: &str| {
            let line = words.lines().find_map(|line| line.strip_prefix(what));
            line.map(|url| url.trim().to_owned()).unwrap_or_default()
        };
        Self { publish: after("publish to "), play: after("play "), program }
    }

    /// Waits until so many players wait for the stream.
    fn has_players(&mut self, count: usize) {
        until("the players wait", || {
            assert!(self.program.is_running(), "{}", self.program.words());
            (self.program.words().matches("player of live/show WAITING").count() == count).then_some(())
        });
    }

    /// Asks the server to stop, and gives all its output.
    fn stop(mut self) -> String {
        self.program.terminate();
        self.program.ends_well();
        self.program.words()
    }
}

/// The server's line about a stream with these messages, at the stream's end.
fn counted(tags: &[Tag]) -> String {
    let count = |kind| tags.iter().filter(|tag| tag.kind == kind).count();
    format!("live/show has ended: {} audio, {} video, {} data messages", count(AUDIO), count(VIDEO), count(DATA))
}

/// The number of packets that ffprobe finds in a file.
fn packets(file: &Path) -> usize {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-show_entries", "packet=stream_index", "-of", "csv=p=0"]).arg(file);
    let output = probe.output().expect("ffprobe is installed (tests/setup.sh)");
    good(&output, "ffprobe");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// Lets two players wait and ffmpeg publish; both players get every message.
fn plays_what_ffmpeg_publishes(room: &Room, server: &mut Server) {
    let (mut dump, dumped) = rtmpdump_plays(room, "dump", &server.play);
    let (mut player, played) = ffmpeg_plays(room, "player", &server.play);
    server.has_players(2);
    ffmpeg_publishes(room, "publisher", media(), &server.publish).ends_well();
    dump.ends_within(PATIENCE);
    player.ends_well();
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&dumped));
    assert_same(&flv::frames_since_first(&media().published), &flv::frames_since_first(&flv::read(&played)));
}

#[test]
fn the_server_explains_its_options() {
    let asked = Command::new(program()).arg("--help").output().unwrap();
    let words = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success() && asked.stderr.is_empty(), "{asked:?}");
    for option in ["--port PORT ", "--save FILE.flv ", "--relay PORT ", "--hand-over "] {
        assert!(words.contains(&format!("\n  {option}")), "{option}: {words}");
    }
    let wrong = Command::new(program()).arg("--nothing").output().unwrap();
    assert!(wrong.status.code() == Some(2) && wrong.stdout.is_empty() && wrong.stderr == asked.stdout, "{wrong:?}");
}

#[test]
fn a_command_that_cannot_be_decoded_costs_no_memory() {
    let room = Room::new("basic-memory");
    let leaks = ["--leak-check=full", "--errors-for-leak-kinds=definite,indirect"];
    let program = build("basic-server-plain", &example_sources("basic_server"), As::C99);
    let program = program.to_str().unwrap();
    let server =
        Server::run(&room, &[&["valgrind", "-q", "--error-exitcode=99"], &leaks[..], &[program]].concat(), &[]);
    let address = server.publish.trim_start_matches("rtmp://").split('/').next().unwrap().to_owned();
    let mut client = TcpStream::connect(address).unwrap();
    shake_hands(&mut client, false);
    // An object with a property, and then a type that there is not.
    client.write_all(&message(20, &[&text("connect")[..], b"\x03\0\x01a\x05\0\0\x09\x99"].concat())).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "the client is sent away");
    server.stop();
}

#[test]
fn what_is_published_is_counted_and_saved() {
    let room = Room::new("basic-save");
    let server = Server::start(&room, &["--save", "saved.flv"]);
    ffmpeg_publishes(&room, "ffmpeg", media(), &server.publish).ends_well();
    // On the distribution's librtmp, as OBS is on its own.
    let file = media().file.to_str().unwrap();
    room.start("curl", "curl", &["-s", "-T", file, &server.publish]).ends_well();
    until("both have ended", || (server.program.words().matches("has ended").count() == 2).then_some(()));
    let said = server.stop();
    assert_same(&media().published, &flv::read(&room.file("saved.flv")));
    let file = flv::read(&media().file);
    assert_same(&file, &flv::read(&room.file("saved.flv.1")));
    for tags in [&media().published, &file] {
        assert!(said.contains(&counted(tags)), "{said}");
    }
    assert_eq!(packets(&room.file("saved.flv.1")), packets(&media().file));
    // No warning, although ffmpeg does not sign its second packet.
    assert!(!said.contains("WARN"), "nothing is wrong with either: {said}");
}

#[test]
fn messages_that_the_server_reads_are_played_from_a_stream_it_writes() {
    let room = Room::new("basic-relay");
    let mut server = Server::start(&room, &["--relay", "0", "--save", "saved.flv"]);
    plays_what_ffmpeg_publishes(&room, &mut server);
    let said = server.stop();
    assert!(said.contains(&counted(&media().published)), "{said}");
    assert_same(&media().published, &flv::read(&room.file("saved.flv")));
}

#[test]
fn connections_that_the_server_hands_over_are_served_by_the_relay() {
    let room = Room::new("basic-hand-over");
    let mut server = Server::start(&room, &["--hand-over"]);
    assert_eq!(server.publish, server.play, "one port for all");
    plays_what_ffmpeg_publishes(&room, &mut server);
    let said = server.stop();
    assert!(!said.contains("has ended"), "it read nothing itself: {said}");
}

#[test]
fn a_publisher_that_stays_does_not_keep_it_from_stopping() {
    let room = Room::new("basic-stop");
    let mut server = Server::start(&room, &["--relay", "0"]);
    let pace = ["-readrate", "1"];
    let publisher = crate::support::media::ffmpeg_publishes_with(&room, "ffmpeg", media(), &pace, &[], &server.publish);
    server.program.says("stream live/show IN_PROGRESS");
    let said = server.stop();
    assert!(said.contains("live/show has ended"), "{said}");
    drop(publisher);
}

/// A publisher that sends messages in chunks of 4096 bytes: header type, chunk stream, type, time or step, body.
struct Speaker {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Speaker {
    /// A publisher after the handshake, with a chunk size of 4096 bytes from here on.
    fn to(server: &Server) -> (Self, String) {
        let address = server.publish.strip_prefix("rtmp://").unwrap().split('/').next().unwrap().to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        shake_hands(&mut stream, false);
        let mut speaker = Self { stream, heard: Vec::new() };
        speaker.say(0, 2, 1, 0, &4096u32.to_be_bytes());
        (speaker, address)
    }

    fn say(&mut self, format: u8, channel: u8, kind: u8, time: u32, body: &[u8]) {
        let mut bytes = vec![format << 6 | channel];
        bytes.extend_from_slice(&time.to_be_bytes()[1..]);
        if format < 2 {
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
            bytes.push(kind);
        }
        if format == 0 {
            bytes.extend_from_slice(&[u8::from(channel == 4), 0, 0, 0]);
        }
        for (index, chunk) in body.chunks(4096).enumerate() {
            bytes.extend((index > 0).then_some(0xC0 | channel));
            bytes.extend_from_slice(chunk);
        }
        self.stream.write_all(&bytes).unwrap();
    }

    fn command(&mut self, format: u8, channel: u8, name: &str, transaction: f64, rest: &[u8]) {
        self.say(format, channel, 20, 0, &[&text(name)[..], &[0], &transaction.to_be_bytes(), rest].concat());
    }

    fn hears(&mut self, words: &[u8]) {
        let mut bytes = [0; 4096];
        while !self.heard.windows(words.len()).any(|part| part == words) {
            let got = self.stream.read(&mut bytes).expect("an answer in time");
            assert!(got > 0, "it never said {:?} but {:?}", words.escape_ascii(), self.heard.escape_ascii());
            self.heard.extend_from_slice(&bytes[..got]);
        }
    }

    fn hears_result(&mut self, transaction: f64) {
        self.hears(&[&text("_result")[..], &[0], &transaction.to_be_bytes()].concat());
    }
}

fn named(name: &str, value: &str) -> Vec<u8> {
    [&(name.len() as u16).to_be_bytes()[..], name.as_bytes(), &text(value)].concat()
}

/// OBS is no test program, but its messages are known: its chunk size first, a connect that does not fit into 128
/// bytes, short headers, commands in one go, `_checkbw`, and a goodbye.
#[test]
fn a_publisher_that_speaks_as_obs_does_is_answered_and_saved() {
    let room = Room::new("basic-obs");
    let mut server = Server::start(&room, &["--save", "saved.flv"]);
    let (mut obs, address) = Speaker::to(&server);
    let url = format!("rtmp://{address}/live");
    let connect = [
        &[3][..],
        &named("app", "live"),
        &named("type", "nonprivate"),
        &named("flashVer", "FMLE/3.0 (compatible; FMSc/1.0)"),
        &named("swfUrl", &url),
        &named("tcUrl", &url),
        b"\0\0\x09",
    ];
    obs.command(0, 3, "connect", 1.0, &connect.concat());
    obs.hears_result(1.0);
    let key = text("show");
    obs.command(1, 3, "releaseStream", 2.0, &[&[5], &key[..]].concat());
    obs.command(1, 3, "FCPublish", 3.0, &[&[5], &key[..]].concat());
    obs.command(1, 3, "createStream", 4.0, &[5]);
    obs.command(1, 3, "_checkbw", 5.0, &[5]);
    (2..=5).for_each(|transaction| obs.hears_result(transaction.into()));
    obs.command(0, 4, "publish", 6.0, &[&[5], &key[..], &text("live")].concat());
    obs.hears(b"NetStream.Publish.Start");

    let metadata =
        [&text("onMetaData")[..], b"\x08\0\0\0\x14", &named("encoder", &"obs-output ".repeat(30)), b"\0\0\x09"];
    let metadata = metadata.concat();
    obs.say(0, 4, 18, 0, &[text("@setDataFrame"), metadata.clone()].concat());
    let sent: Vec<Tag> =
        [(AUDIO, 0, vec![0xAF, 0, 0x12, 0x10]), (VIDEO, 0, vec![0x17; 60]), (VIDEO, 0, vec![0x17; 9000])]
            .into_iter()
            .chain((1..40).map(|n| {
                (if n % 3 == 0 { AUDIO } else { VIDEO }, n * 16, vec![if n % 3 == 0 { 0xAF } else { 0x27 }; 700])
            }))
            .map(|(kind, ts_ms, body)| Tag { kind, ts_ms, body })
            .collect();
    let mut time = 0;
    for tag in &sent {
        obs.say(1, 4, tag.kind, tag.ts_ms - time, &tag.body);
        time = tag.ts_ms;
    }
    obs.command(1, 3, "FCUnpublish", 7.0, &[&[5], &key[..]].concat());
    obs.command(1, 3, "deleteStream", 8.0, &[&[5, 0][..], &1f64.to_be_bytes()].concat());
    server.program.says("has ended");
    let _ = obs.stream.read_to_end(&mut Vec::new());
    let said = server.stop();
    let all: Vec<Tag> = [Tag { kind: DATA, ts_ms: 0, body: metadata }].into_iter().chain(sent).collect();
    assert!(said.contains(&counted(&all)), "{said}");
    assert_same(&all, &flv::read(&room.file("saved.flv")));
}

#[test]
fn names_come_to_a_terminal_without_what_could_move_its_cursor() {
    let room = Room::new("basic-names");
    let mut server = Server::start(&room, &["--relay", "0"]);
    let (mut peer, _) = Speaker::to(&server);
    peer.command(0, 3, "connect", 1.0, &[&[3][..], &named("app", "li\u{1b}[2Jve"), b"\0\0\x09"].concat());
    peer.hears_result(1.0);
    peer.command(1, 3, "createStream", 2.0, &[5]);
    peer.hears_result(2.0);
    peer.command(0, 4, "publish", 3.0, &[&[5], &text("sh\now")[..], &text("live")].concat());
    peer.hears(b"NetStream.Publish.Start");
    peer.say(0, 4, VIDEO, 0, &[0x17; 60]);
    server.program.says("relay: stream li?[2Jve/sh?ow IN_PROGRESS\n");
    drop(peer);
    server.program.says("\nli?[2Jve/sh?ow has ended");
    let said = server.stop();
    assert!(said.contains("\nli?[2Jve/sh?ow is published\n") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn the_server_needs_no_reader_of_its_output_and_no_open_descriptors() {
    for (number, closed) in ["", "<&- >&- 2>&-"].into_iter().enumerate() {
        let (room, reserved) = (Room::new(&format!("basic-unread-{number}")), Reserved::new());
        let saved = room.file("saved.flv");
        let run = format!("exec \"$0\" --port {} --save {} {closed}", reserved.port, saved.display());
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &run]).arg(program()).stdin(Stdio::null());
        let mut server = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((server.stdout.take(), server.stderr.take()));
        until("it listens", || TcpStream::connect(("127.0.0.1", reserved.port)).ok());
        let url = format!("rtmp://127.0.0.1:{}/live/show", reserved.port);
        ffmpeg_publishes(&room, "publisher", media(), &url).ends_well();
        let whole = flv::frames_since_first(&media().published);
        until("all is saved", || (flv::read_so_far(&saved).len() >= whole.len()).then_some(()));
        let status = Command::new("kill").arg(server.id().to_string()).status().expect("kill is there");
        assert!(status.success());
        let ended = until("it ends", || server.try_wait().expect("our child"));
        assert!(ended.success(), "{ended}");
        assert_same(&whole, &flv::frames_since_first(&flv::read(&saved)));
    }
}
