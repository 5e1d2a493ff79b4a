//! The basic server of `c-examples`, on librtmp's interface and the relay's: what is published to it is saved, and played
//! over both of its bridges, message for message.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::c::{As, build, example_sources, good};
use crate::support::flv::{self, AUDIO, DATA, Tag, VIDEO, assert_same};
use crate::support::media::{ffmpeg_plays, ffmpeg_publishes, media, rtmpdump_plays};
use crate::support::program::{Program, Room};
use crate::support::{PATIENCE, until};

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("basic-server", &example_sources("basic_server"), As::C99))
}

/// A running one, and where to publish and to play.
struct Server {
    program: Program,
    publish: String,
    play: String,
}

impl Server {
    fn start(room: &Room, options: &[&str]) -> Self {
        let options: Vec<&str> = ["--port", "0"].iter().chain(options).copied().collect();
        let mut program = room.start("server", program().to_str().unwrap(), &options);
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

    /// Asks it to stop, and gives all it has said.
    fn stop(mut self) -> String {
        self.program.terminate();
        self.program.ends_well();
        self.program.words()
    }
}

/// What it says of a stream with these messages when it is over.
fn counted(tags: &[Tag]) -> String {
    let count = |kind| tags.iter().filter(|tag| tag.kind == kind).count();
    format!("live/show has ended: {} audio, {} video, {} data messages", count(AUDIO), count(VIDEO), count(DATA))
}

/// How many packets ffprobe finds in a file.
fn packets(file: &Path) -> usize {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-show_entries", "packet=stream_index", "-of", "csv=p=0"]).arg(file);
    let output = probe.output().expect("ffprobe is installed (tests/setup.sh)");
    good(&output, "ffprobe");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// Two players wait, ffmpeg publishes, and both get all of it.
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
}

#[test]
fn what_it_reads_is_played_from_a_stream_it_writes() {
    let room = Room::new("basic-relay");
    let mut server = Server::start(&room, &["--relay", "0", "--save", "saved.flv"]);
    plays_what_ffmpeg_publishes(&room, &mut server);
    let said = server.stop();
    assert!(said.contains(&counted(&media().published)), "{said}");
    assert_same(&media().published, &flv::read(&room.file("saved.flv")));
}

#[test]
fn what_it_hands_over_is_served_by_the_relay() {
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
