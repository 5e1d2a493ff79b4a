//! The bundled server, a C program on the public header: a publisher, a player and a push target, and an orderly end.

use crate::support::c;
use crate::support::flv::{self, assert_run_from_join, assert_same};
use crate::support::media::{ffmpeg_publishes, media, rtmpdump_plays};
use crate::support::program::{Program, Room};
use crate::support::server::Relay;
use crate::support::{PATIENCE, until};

/// Builds it against the library of this build, and starts it on a free port.
fn start(room: &Room, args: &[&str]) -> (Program, u16) {
    let program = c::build_sanitized("interop-server", &c::server_sources());
    let all: Vec<&str> = ["--addr", "127.0.0.1", "--port", "0"].iter().chain(args).copied().collect();
    let server = room.start("rr_server", program.to_str().unwrap(), &all);
    let port = until("it says its port", || {
        let words = server.words();
        let (_, rest) = words.split_once("listens on port ")?;
        rest.lines().next().filter(|_| rest.contains('\n'))?.trim().parse().ok()
    });
    (server, port)
}

#[test]
fn the_bundled_server_relays_and_pushes_and_ends_in_order() {
    let (room, target) = (Room::new("bundled"), Relay::new());
    let push = format!("rtmp://127.0.0.1:{}/live", target.port);
    let (mut server, port) = start(&room, &["--push", &push]);
    let url = format!("rtmp://127.0.0.1:{port}/live/show");
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    let (mut far, far_file) = rtmpdump_plays(&room, "far", &target.url("show"));
    target.has_players("show", 1);
    server.says("player");
    ffmpeg_publishes(&room, "publisher", media(), &url).ends_well();
    player.ends_within(PATIENCE);
    far.ends_within(PATIENCE);
    server.terminate();
    server.ends_well();
    let published = flv::as_librtmp_keeps(&media().published);
    assert_same(&published, &flv::read(&file));
    let run = assert_run_from_join(&published, &flv::read(&far_file));
    assert_eq!(run.end, published.len());
}
