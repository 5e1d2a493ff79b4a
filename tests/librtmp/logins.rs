//! Publisher logins of Adobe's and Limelight's kind, from the first refusal to the last message of a film, at a server
//! that checks what it is given. ffmpeg's own client logs in at the same server.

use crate::ingest::{Ingest, Script};
use crate::support::c::good;
use crate::support::flv::{self, Tag};
use crate::support::login::{self, Login, PASSWORD, USER};
use crate::support::media::{ffmpeg_publishes, media};
use crate::support::program::Room;
use crate::support::until;

use super::hostile::watched;
use super::programs::on_ours;

/// A server with this login.
fn server(login: Login) -> Ingest {
    Ingest::new(move |_| Script { login, ..Script::default() })
}

/// The frames among some tags.
fn frames(tags: impl Iterator<Item = Tag>) -> Vec<Tag> {
    tags.filter(Tag::is_frame).collect()
}

/// Lets a program publish the film, on our library or with a login of its own; gives the application of each
/// connection.
fn publishes(room: &Room, who: &str, login: Login) -> Vec<String> {
    let server = server(login);
    let file = format!("location={}", media().file.display());
    let to = format!("location={} pubUser={USER} pubPasswd={PASSWORD}", server.url());
    let pipeline = ["-q", "filesrc", &file, "!", "rtmpsink", &to];
    let mut program = match who {
        "ours" => on_ours(room, who, "gst-launch-1.0", &pipeline),
        _ => ffmpeg_publishes(room, who, media(), &server.url().replace("//", &format!("//{USER}:{PASSWORD}@"))),
    };
    program.ends_well();
    until("all is there", || server.visits().last().filter(|visit| visit.over).map(|_| ()));
    let visits = server.visits();
    let got = visits.last().unwrap().media.iter();
    let got = frames(got.map(|got| Tag { kind: got.type_id, ts_ms: got.ts_ms, body: got.body.clone() }));
    let published = if who == "ffmpeg" { media().published.clone() } else { flv::read(&media().file) };
    flv::assert_same(&frames(published.into_iter()), &got);
    visits.iter().map(|visit| visit.app.clone()).collect()
}

#[test]
fn a_publisher_logs_in_as_ffmpeg_does_and_publishes() {
    let room = Room::new("librtmp-logins");
    for (login, method) in [(login::adobe as Login, "adobe"), (login::limelight, "llnw")] {
        for client in ["ours", "ffmpeg"] {
            let apps = publishes(&room, client, login);
            assert_eq!(&apps[..2], ["live", &format!("live?authmod={method}&user={USER}")], "{client}");
            assert!(apps.len() == 3 && !apps[2].contains(PASSWORD), "{client}: {apps:?}");
        }
    }
}

/// A server's login, the publisher's options, its reason for giving up, and its number of connections before that.
type Try = (Login, &'static str, &'static str, usize);

/// A publisher under valgrind that visits servers, one after the other, and gives up at each.
fn gives_up(tries: &[Try]) {
    let servers: Vec<Ingest> = tries.iter().map(|(login, ..)| server(*login)).collect();
    let url = |(server, (_, options, ..)): (&Ingest, &Try)| format!("{} timeout=10 {options}", server.url());
    let output = watched("client").arg("publish").args(servers.iter().zip(tries).map(url)).output().unwrap();
    good(&output, "client");
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.split("== ").skip(1);
    assert_eq!(words.clone().count(), tries.len());
    for (words, (server, (_, _, why, times))) in words.zip(servers.iter().zip(tries)) {
        assert!(words.contains(why), "{words}");
        let visits = server.visits();
        assert!(visits.iter().all(|visit| visit.commands == ["connect"]), "{visits:?}");
        assert_eq!(visits.len(), *times, "{visits:?}");
    }
}

const NOT_TAKEN: &str = "the server did not accept the password";

#[test]
fn a_publisher_that_is_not_let_in_says_why_and_ends() {
    let tries = |login| {
        [
            (login, "pubUser=me pubPasswd=guessed", NOT_TAKEN, 3),
            (login, "pubUser=you pubPasswd=secret", "the server does not know the user", 2),
            (login, "", "the server wants a user and a password", 1),
        ]
    };
    gives_up(&[tries(login::adobe as Login), tries(login::limelight)].concat());
}

#[test]
fn a_server_that_never_has_enough_of_a_login_is_left() {
    let known = "pubUser=me pubPasswd=secret";
    gives_up(&[
        (login::always_adobe, known, NOT_TAKEN, 3),
        (login::always_limelight, known, NOT_TAKEN, 3),
        (login::in_turn, known, NOT_TAKEN, 2),
    ]);
}
