//! A server of C in the manner of rtmpsrv, compiled with our headers and run on our library, beside the same compiled
//! with the distribution's headers and run on the distribution's library.

use std::path::Path;
use std::process::Command;

use super::linked;
use super::programs::on_ours;
use crate::support::c::{good, root};
use crate::support::flv;
use crate::support::media::{ffmpeg_plays, ffmpeg_publishes, media};
use crate::support::program::{Program, Room};
use crate::support::until;

/// `film_server` of one of the libraries, with the film of these tests.
pub(crate) struct FilmServer {
    program: Program,
    pub(crate) port: u16,
}

impl FilmServer {
    pub(crate) fn start(room: &Room, library: &str) -> Self {
        Self::run(room, library, &[], &media().file, &[])
    }

    /// Runs the server by another program, with another film and more arguments.
    fn run(room: &Room, library: &str, by: &[&str], film: &Path, more: &[&str]) -> Self {
        let name = format!("{library}-server");
        let headers = if library == "ours" { root().join("include") } else { "/usr/include".into() };
        let path = if library == "ours" { linked::folder().to_str().unwrap() } else { "" };
        let mut cc = Command::new("cc");
        cc.args(["-std=c99", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-I"])
            .arg(headers);
        cc.arg(root().join("tests/librtmp/film_server.c")).arg("-o").arg(room.file(&name));
        cc.arg("-l:librtmp.so.1").arg("-lpthread");
        good(&cc.output().unwrap(), "film_server.c");
        let (path, server) = (format!("LD_LIBRARY_PATH={path}"), format!("./{name}"));
        let own = [server.as_str(), film.to_str().unwrap(), "saved.flv"];
        let all = [&[path.as_str()], by, &own, more].concat();
        let mut program = room.start(&name, "env", &all);
        program.says("port ");
        let port = until("it tells its port", || {
            let words = program.words();
            words.lines().find_map(|line| line.strip_prefix("port "))?.parse().ok()
        });
        Self { program, port }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/app/film", self.port)
    }

    /// The server's lines about its clients, once the last client is gone.
    pub(crate) fn heard(&mut self) -> String {
        self.program.says("gone");
        self.program.words().replace(&self.port.to_string(), "PORT")
    }

    /// Waits until all that ffmpeg published is in its file.
    pub(crate) fn has_saved(&mut self, room: &Room, published: &[flv::Tag]) {
        let file = room.file("saved.flv");
        self.heard();
        let frames = |tags: &[flv::Tag]| tags.iter().filter(|tag| tag.is_frame()).count();
        until("all is saved", || (frames(&flv::read_so_far(&file)) == frames(published)).then_some(()));
        flv::assert_same(published, &flv::read(&file));
    }
}

/// Asserts that a file has the whole film as a player of librtmp keeps it.
pub(crate) fn assert_film(file: &Path) {
    flv::assert_same(&flv::as_librtmp_keeps(&flv::read(&media().file)), &flv::read(file));
}

#[test]
fn a_server_of_librtmp_hears_the_same_on_both_libraries() {
    let heard = ["ours", "theirs"].map(|library| {
        let room = Room::new(&format!("librtmp-film-{library}"));
        let mut server = FilmServer::start(&room, library);
        let asks =
            ["-q", "-r", &server.url("rtmp"), "-o", "film.flv", "-f", "LNX 9,0,1,2", "-p", "http://page.example/"];
        let more = ["-C", "S:text", "-C", "B:1", "-C", "Z:", "-C", "O:1", "-C", "NN:number:7.5", "-C", "NO:inner:1"];
        let rest = ["-C", "NS:name:value", "-C", "O:0", "-C", "O:0", "-C", "N:3"];
        on_ours(&room, "player", "rtmpdump", &[&asks[..], &more, &rest].concat()).ends_well();
        assert_film(&room.file("film.flv"));
        let heard = server.heard();
        heard.lines().filter(|line| !line.starts_with("ERROR: ")).map(|line| format!("{line}\n")).collect::<String>()
    });
    assert_eq!(heard[0], heard[1]);
    for part in [
        "\nconnect\n   object of ",
        "\n    app string app\n",
        "\n    fpad boolean 0\n",
        "\n    audioCodecs number 3191\n",
        "\n   string text\n   boolean 1\n   type 5\n   object of 2\n    number number 7.5\n    inner object of 1\n      name string value\n   number 3\n",
        "\nplay\n   type 5\n   string film\n",
    ] {
        assert!(heard[0].contains(part), "{part:?} in\n{}", heard[0]);
    }
}

#[test]
fn players_of_both_libraries_get_the_film_over_rtmpe_too() {
    let room = Room::new("librtmp-film-players");
    let server = FilmServer::start(&room, "ours");
    for scheme in ["rtmp", "rtmpe"] {
        let (ours, theirs) = (format!("{scheme}-ours.flv"), format!("{scheme}-theirs.flv"));
        on_ours(&room, "ours", "rtmpdump", &["-q", "-r", &server.url(scheme), "-o", &ours]).ends_well();
        assert_film(&room.file(&ours));
        room.start("theirs", "rtmpdump", &["-q", "-r", &server.url(scheme), "-o", &theirs]).ends_well();
        assert_film(&room.file(&theirs));
    }
}

#[test]
fn ffmpeg_plays_from_and_publishes_to_a_server_of_librtmp() {
    let room = Room::new("librtmp-film-ffmpeg");
    let mut server = FilmServer::start(&room, "ours");
    let (mut player, file) = ffmpeg_plays(&room, "player", &server.url("rtmp"));
    player.ends_well();
    let film = flv::frames_since_first(&flv::read(&media().file));
    flv::assert_same(&film, &flv::frames_since_first(&flv::read(&file)));
    ffmpeg_publishes(&room, "publisher", media(), &server.url("rtmp")).ends_well();
    server.has_saved(&room, &media().published);
}

/// A player with many fields and options, then a publisher.
#[test]
fn a_server_of_librtmp_finds_its_memory_in_order() {
    let room = Room::new("librtmp-film-valgrind");
    let beginning = &flv::read(&media().file)[..80];
    let film = room.file("beginning.flv");
    flv::write(&film, beginning);
    let valgrind = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"];
    let mut server = FilmServer::run(&room, "ours", &valgrind, &film, &["2"]);
    let (url, more) = (server.url("rtmp"), ["-C", "S:text", "-C", "O:1", "-C", "NS:name:value", "-C", "O:0"]);
    on_ours(&room, "player", "rtmpdump", &[&["-q", "-r", &url, "-o", "played.flv"], &more[..]].concat()).ends_well();
    flv::assert_same(&flv::as_librtmp_keeps(beginning), &flv::read(&room.file("played.flv")));
    on_ours(&room, "curl", "curl", &["-s", "-T", film.to_str().unwrap(), &url]).ends_well();
    server.program.ends_well();
    flv::assert_same(beginning, &flv::read(&room.file("saved.flv")));
}
