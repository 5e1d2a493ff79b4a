//! Streams that ffmpeg publishes reach programs that know only HTTP and FLV.

use rrelay::config::ServerConfig;
use rrelay::server::ListenOptions;

use crate::support::flv::{self, assert_same};
use crate::support::media::{ffmpeg_plays, ffmpeg_publishes, media};
use crate::support::program::{Program, Room};
use crate::support::server::Relay;

/// A server with a stream that players may wait for, and the stream's address for them.
pub(crate) fn served() -> (Relay, String) {
    // A player gets 404 if no media comes in this time, and ffmpeg begins late on a loaded machine.
    let patient = ServerConfig { handshake_ms: 120_000, ..ServerConfig::default() };
    let relay = Relay::with(patient, "127.0.0.1:0");
    let options = ListenOptions { http: true, ..ListenOptions::default() };
    let port = relay.server.listen("127.0.0.1:0", options).expect("a port is free");
    relay.server.stream_create(b"live", b"show", None).expect("it is the first");
    (relay, format!("http://127.0.0.1:{port}/live/show.flv"))
}

fn publish_to_waiting_player(room: &Room, relay: &Relay, player: &mut Program) {
    relay.has_players("show", 1);
    ffmpeg_publishes(room, "publisher", media(), &relay.url("show")).ends_well();
    player.ends_well();
}

#[test]
fn curl_gets_a_file_of_all_that_ffmpeg_publishes() {
    for version in ["--http1.0", "--http1.1"] {
        let (room, (relay, url)) = (Room::new("http-curl"), served());
        let file = room.file("player.flv");
        let file_name = file.to_str().expect("a plain path");
        let mut player = room.start("player", "curl", &["-sS", "--fail", version, "-o", file_name, &url]);
        publish_to_waiting_player(&room, &relay, &mut player);
        assert_same(&media().published, &flv::read(&file));
    }
}

#[test]
fn ffmpeg_plays_over_http_what_ffmpeg_publishes() {
    let (room, (relay, url)) = (Room::new("http-ffmpeg"), served());
    let (mut player, file) = ffmpeg_plays(&room, "player", &url);
    publish_to_waiting_player(&room, &relay, &mut player);
    assert_same(&flv::frames_since_first(&media().published), &flv::frames_since_first(&flv::read(&file)));
}
