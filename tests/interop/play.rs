//! ffmpeg publishes H.264 and AAC; every player gets every message, and ends by itself when the publisher has ended.
//!
//! The players wait before the publisher comes, so they must get the stream from its very first message.

use crate::support::flv::{self, Tag, adler32, assert_same};
use crate::support::media::{
    ffmpeg_plays, ffmpeg_publishes, ffmpeg_publishes_with, gstreamer_plays, media, rtmpdump_plays,
};
use crate::support::program::{Program, Room};
use crate::support::server::Relay;
use crate::support::{PATIENCE, until};

/// Publishes to a player that waits: the publisher comes, sends its six seconds in one second, and goes.
fn publish_to_waiting_player(room: &Room, relay: &Relay, player: &mut Program) {
    assert!(player.is_running());
    relay.has_players("show", 1);
    ffmpeg_publishes(room, "publisher", media(), &relay.url("show")).ends_well();
}

#[test]
fn rtmpdump_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("rtmpdump"), Relay::new());
    let (mut player, file) = rtmpdump_plays(&room, "player", &relay.url("show"));
    publish_to_waiting_player(&room, &relay, &mut player);
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
}

#[test]
fn what_is_published_in_one_burst_arrives_from_its_first_message() {
    let (room, relay) = (Room::new("burst"), Relay::new());
    let mut players = [0, 1, 2, 3].map(|number| rtmpdump_plays(&room, &format!("player-{number}"), &relay.url("show")));
    relay.has_players("show", 4);
    ffmpeg_publishes_with(&room, "publisher", media(), &[], &[], &relay.url("show")).ends_well();
    for (player, file) in &mut players {
        player.ends_within(PATIENCE);
        assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(file));
    }
}

#[test]
fn ffmpeg_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("ffmpeg"), Relay::new());
    let (mut player, file) = ffmpeg_plays(&room, "player", &relay.url("show"));
    publish_to_waiting_player(&room, &relay, &mut player);
    player.ends_well();
    assert_same(&flv::frames_since_first(&media().published), &flv::frames_since_first(&flv::read(&file)));
}

#[test]
fn ffmpeg_plays_a_stream_whose_metadata_does_not_end_as_it_should() {
    let published = &media().published;
    for (name, spoil) in [("cut", true), ("behind", false)] {
        let (room, relay) = (Room::new(&format!("metadata-{name}")), Relay::new());
        let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
        let (mut player, file) = ffmpeg_plays(&room, "player", &relay.url("show"));
        relay.has_players("show", 1);
        for tag in published {
            let mut body = tag.body.clone();
            if tag.kind == flv::DATA && spoil {
                // An inner object without its end mark takes the end mark of the outer one.
                let end = body.len() - 3;
                body.splice(end..end, *b"\0\x05inner\x03\0\x01a\x05");
            } else if tag.kind == flv::DATA {
                body.push(5);
            }
            relay.server.stream_write(stream, tag.kind, tag.ts_ms.into(), &body, false).unwrap();
        }
        relay.server.stream_write(stream, flv::VIDEO, 0, &[], true).unwrap();
        player.ends_well();
        assert_same(&flv::frames_since_first(published), &flv::frames_since_first(&flv::read(&file)));
    }
}

#[test]
fn ffprobe_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("ffprobe"), Relay::new());
    let show = ["-show_entries", "packet=codec_type,dts,data_hash", "-show_data_hash", "adler32", "-of", "csv=p=0"];
    let mut args = vec!["-v", "error"];
    args.extend(show);
    let url = relay.url("show");
    args.push(&url);
    let mut player = room.start("player", "ffprobe", &args);
    publish_to_waiting_player(&room, &relay, &mut player);
    player.ends_well();
    let expected: Vec<String> = media().published.iter().filter(|tag| tag.is_frame()).map(as_ffprobe_shows).collect();
    assert_eq!(player.words().lines().collect::<Vec<_>>(), expected);
}

/// A packet is what lies behind the five bytes of an AVC message, or the two of an AAC one.
fn as_ffprobe_shows(tag: &Tag) -> String {
    let (name, head) = if tag.kind == flv::VIDEO { ("video", 5) } else { ("audio", 2) };
    format!("{name},{},adler32:{:08x}", tag.ts_ms, adler32(&tag.body[head..]))
}

#[test]
fn gstreamer_rtmpsrc_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("rtmpsrc"), Relay::new());
    let (mut player, file) = gstreamer_plays(&room, "player", "rtmpsrc", &relay.url("show"));
    publish_to_waiting_player(&room, &relay, &mut player);
    let expected = flv::as_librtmp_keeps(&media().published);
    // This player does not end: when a stream is over it connects again by itself.
    until("all has come", || (flv::read_so_far(&file).len() >= expected.len()).then_some(()));
    assert_same(&expected, &flv::read(&file));
}

#[test]
fn gstreamer_rtmp2src_gets_what_ffmpeg_publishes() {
    let (room, relay) = (Room::new("rtmp2src"), Relay::new());
    let (mut player, file) = gstreamer_plays(&room, "player", "rtmp2src", &relay.url("show"));
    publish_to_waiting_player(&room, &relay, &mut player);
    player.ends_well();
    let (published, arrived) = flv::as_rtmp2src_keeps(&media().published, &file);
    assert_same(&published, &arrived);
}
