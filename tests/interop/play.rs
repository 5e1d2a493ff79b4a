//! ffmpeg publishes H.264 and AAC; every player gets every message.

use crate::support::flv::{self, assert_same};
use crate::support::media::{ffmpeg_plays, ffmpeg_publishes, gstreamer, media, rtmpdump_plays};
use crate::support::program::Room;
use crate::support::server::Relay;

#[test]
fn rtmpdump_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("rtmpdump"), Relay::new());
    let (mut player, file) = rtmpdump_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), 0, &relay.url("show")).ends_well();
    player.ends_within(crate::support::PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
}

#[test]
fn ffmpeg_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("ffmpeg"), Relay::new());
    let (mut player, file) = ffmpeg_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), 0, &relay.url("show")).ends_well();
    player.ends_well();
    assert_same(&flv::frames_since_first(&media().published), &flv::frames_since_first(&flv::read(&file)));
}

#[test]
fn gstreamer_rtmpsrc_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("rtmpsrc"), Relay::new());
    let url = relay.url("show");
    let mut player = gstreamer(&room, "player", &format!("rtmpsrc location={url} ! filesink location=player.flv"));
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), 0, &url).ends_well();
    player.ends_well();
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&room.file("player.flv")));
}

#[test]
fn gstreamer_rtmp2src_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("rtmp2src"), Relay::new());
    let url = relay.url("show");
    let mut player = gstreamer(&room, "player", &format!("rtmp2src location={url} ! filesink location=player.flv"));
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), 0, &url).ends_well();
    player.ends_well();
    assert_same(&media().published, &flv::read(&room.file("player.flv")));
}
