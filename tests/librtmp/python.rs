//! python-librtmp on our library, as pip installs it: built against the distribution's headers and library.

use std::fs;
use std::path::Path;

use rml_amf0::Amf0Value;

use super::linked;
use super::programs::{assert_same_frames, publishes};
use crate::support::PATIENCE;
use crate::support::c::root;
use crate::support::flv;
use crate::support::media::{ffmpeg_publishes, media};
use crate::support::program::{Program, Room};
use crate::support::server::Relay;
use crate::support::stored::Stored;

/// Starts `film.py` on one of the libraries.
fn film(room: &Room, library: &str, arguments: &[&str]) -> Program {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("python-librtmp/bin/python");
    assert!(python.exists(), "{} is not there (tests/setup.sh installs it)", python.display());
    let path = if library == "ours" { linked::folder().to_str().unwrap() } else { "" };
    let path = format!("LD_LIBRARY_PATH={path}");
    let script = root().join("tests/librtmp/film.py");
    let all = [&[path.as_str(), python.to_str().unwrap(), script.to_str().unwrap()], arguments].concat();
    room.start(library, "env", &all)
}

/// Waits until the program has ended well, on the right library.
fn done(program: &mut Program, library: &str) {
    program.ends_well();
    let ours = format!("library {}/librtmp.so.1", linked::folder().display());
    assert_eq!(program.words().starts_with(&ours), library == "ours", "{}", program.words());
}

#[test]
fn python_plays_a_stored_film_as_on_the_distributions_library() {
    let room = Room::new("librtmp-python-stored");
    let server = Stored::new(&flv::read(&media().file));
    for library in ["ours", "theirs"] {
        let file = format!("{library}.flv");
        done(&mut film(&room, library, &["play", &server.url(), &file]), library);
    }
    let [ours, theirs] = ["ours.flv", "theirs.flv"].map(|name| fs::read(room.file(name)).unwrap());
    assert!(ours == theirs);
    flv::assert_same(&flv::as_librtmp_keeps(&flv::read(&media().file)), &flv::read(&room.file("ours.flv")));
}

#[test]
fn python_plays_live() {
    let (room, relay) = (Room::new("librtmp-python-live"), Relay::new());
    let mut player = film(&room, "ours", &["live", &relay.url("show"), "live.flv"]);
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "ffmpeg", media(), &relay.url("show")).ends_well();
    player.ends_within(PATIENCE);
    done(&mut player, "ours");
    flv::assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&room.file("live.flv")));
}

#[test]
fn python_publishes() {
    let room = Room::new("librtmp-python-publish");
    let file = media().file.to_str().unwrap();
    publishes(&room, |_, url| film(&room, "ours", &["publish", url, file]));
}

#[test]
fn python_calls_and_is_called() {
    let mut said = Vec::new();
    for library in ["ours", "theirs"] {
        let room = Room::new(&format!("librtmp-python-calls-{library}"));
        let server = Stored::new(&flv::read(&media().file));
        let mut program = film(&room, library, &["call", &server.url(), "film.flv"]);
        done(&mut program, library);
        assert_same_frames(&room.file("film.flv"), &media().file);
        let words = program.words();
        said.push(words.lines().skip(1).collect::<Vec<_>>().join("\n"));
        let length = flv::read(&media().file).last().unwrap().ts_ms;
        let twice = Amf0Value::Number(f64::from(length) / 500.0);
        let commands = server.commands();
        assert!(commands.contains(&("_result".to_owned(), 77.0, vec![twice])), "{commands:?}");
        let connect = commands.iter().find(|(name, ..)| name == "connect").unwrap();
        let object = Amf0Value::Object([("name".to_owned(), Amf0Value::Utf8String("value".to_owned()))].into());
        assert_eq!(connect.2, [Amf0Value::Utf8String("text".to_owned()), Amf0Value::Boolean(true), object]);
    }
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains("failed to connect socket. 111 (Connection refused)"), "{}", said[0]);
    assert!(said[0].contains("welcome NetConnection.Connect.Success"), "{}", said[0]);
}
