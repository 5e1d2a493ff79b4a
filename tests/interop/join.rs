//! Late joiners, peers that are not let in, and peers of another address family.

use std::time::Instant;

use crate::support::flv::{self, assert_run_from_join, assert_same};
use crate::support::media::{
    Media, ffmpeg_plays, ffmpeg_publishes, ffmpeg_publishes_with, gstreamer_plays, media, one_group, rtmpdump_plays,
};
use crate::support::program::Room;
use crate::support::server::Relay;
use crate::support::{AT_ONCE, PATIENCE, until};
use rrelay::config::{ServerConfig, Start, StreamConfig, ask};
use rrelay::server::EventKind;
use rrelay::session::{Role, State};

#[test]
fn a_late_joiner_has_a_picture_at_once() {
    let (room, relay) = (Room::new("late-joiner"), Relay::new());
    let url = relay.url("show");
    // There is one key frame, and it has long passed: only the cached group has it.
    let published = &one_group().published;
    let mut publisher = ffmpeg_publishes_with(&room, "publisher", one_group(), &["-re"], &[], &url);
    relay.has_messages("show", 60);
    let start = Instant::now();
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    until("a picture", || flv::read_so_far(&file).iter().any(flv::Tag::is_key_frame).then_some(()));
    assert!(start.elapsed() < AT_ONCE && publisher.is_running());
    publisher.ends_well();
    player.ends_within(PATIENCE);
    let published = flv::as_librtmp_keeps(published);
    let run = assert_run_from_join(&published, &flv::read(&file));
    assert!(published[run.start].is_key_frame());
    assert_eq!(run.end, published.len());
}

#[test]
fn messages_written_right_after_a_stream_was_made_reach_all_later_joiners() {
    let (room, relay) = (Room::new("host"), Relay::new());
    let published = &media().published[..40];
    let players: Vec<_> = (0..8)
        .map(|number| {
            let key = format!("show{number}");
            let stream = relay.server.stream_create(b"live", key.as_bytes(), None).unwrap();
            for tag in published {
                relay.server.stream_write(stream, tag.kind, tag.ts_ms.into(), &tag.body, false).unwrap();
            }
            let player = rtmpdump_plays(&room, &key, &relay.url(&key));
            (stream, key, player)
        })
        .collect();
    for (stream, key, (mut player, file)) in players {
        relay.has_players(&key, 1);
        relay.server.stream_write(stream, flv::AUDIO, 0, &[], true).unwrap();
        player.ends_within(PATIENCE);
        let run = assert_run_from_join(published, &flv::read(&file));
        assert!(published[run.start].is_key_frame() && run.end == published.len(), "{run:?}");
    }
}

#[test]
fn without_a_cached_group_a_late_joiner_begins_at_the_next_key_frame() {
    let stream = StreamConfig { start: Start::Key, gop_bytes: 0, ..StreamConfig::default() };
    let config = ServerConfig { stream: stream.into(), ..ServerConfig::default() };
    let (room, relay) = (Room::new("late-key"), Relay::with(config, "127.0.0.1:0"));
    let url = relay.url("show");
    let mut publisher = ffmpeg_publishes_with(&room, "publisher", media(), &["-readrate", "3"], &[], &url);
    relay.has_messages("show", 80);
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    publisher.ends_well();
    player.ends_within(PATIENCE);
    let published = flv::as_librtmp_keeps(&media().published);
    let run = assert_run_from_join(&published, &flv::read(&file));
    assert!(published[run.start].is_key_frame() && run.start > 80, "{run:?}");
    assert_eq!(run.end, published.len());
}

#[test]
fn ffmpeg_that_joins_late_sees_two_streams_and_every_frame() {
    let (room, relay) = (Room::new("late-ffmpeg"), Relay::new());
    let url = relay.url("show");
    let mut publisher = ffmpeg_publishes_with(&room, "publisher", media(), &["-readrate", "2"], &[], &url);
    relay.has_messages("show", 100);
    let (mut player, file) = ffmpeg_plays(&room, "player", &url);
    publisher.ends_well();
    player.ends_well();
    assert!(!player.words().contains("Stream #0:2"), "metadata is no third stream:\n{}", player.words());
    let arrived = flv::read(&file);
    let first = arrived.iter().find(|tag| tag.is_frame()).unwrap();
    assert!(first.is_key_frame());
    let frames = media().published.iter().skip_while(|tag| tag.body != first.body);
    assert_same(&flv::frames_since_first(&frames.cloned().collect::<Vec<_>>()), &flv::frames_since_first(&arrived));
}

#[test]
fn a_denied_client_stops_at_once() {
    let config = ServerConfig { ask: ask::PUBLISH | ask::PLAY, ..ServerConfig::default() };
    let (room, relay) = (Room::new("denied"), Relay::with(config, "127.0.0.1:0"));
    let url = relay.url("show");
    let deny = |kind| {
        let ask = relay.asks(kind);
        relay.server.session_deny(ask.session, "", "not you").unwrap();
        relay.forget_events();
    };
    let mut rtmpdump = rtmpdump_plays(&room, "rtmpdump", &url).0;
    deny(EventKind::PlayAsk);
    rtmpdump.fails_within(AT_ONCE);
    let mut ffmpeg = ffmpeg_plays(&room, "ffmpeg", &url).0;
    deny(EventKind::PlayAsk);
    ffmpeg.fails_within(AT_ONCE);
    let mut rtmp2src = gstreamer_plays(&room, "rtmp2src", "rtmp2src", &url).0;
    deny(EventKind::PlayAsk);
    rtmp2src.fails_within(AT_ONCE);
    let mut publisher = ffmpeg_publishes(&room, "publisher", media(), &url);
    deny(EventKind::PublishAsk);
    publisher.fails_within(AT_ONCE);
}

#[test]
fn a_player_denied_at_connect_stops_at_once() {
    let config = ServerConfig { ask: ask::CONNECT, ..ServerConfig::default() };
    let (room, relay) = (Room::new("denied-connect"), Relay::with(config, "127.0.0.1:0"));
    let url = relay.url("show");
    let deny = || {
        let ask = relay.asks(EventKind::ConnectAsk);
        relay.server.session_deny(ask.session, "", "not you").unwrap();
        relay.forget_events();
    };
    let mut rtmpdump = rtmpdump_plays(&room, "rtmpdump", &url).0;
    deny();
    rtmpdump.fails_within(AT_ONCE);
    let mut rtmp2src = gstreamer_plays(&room, "rtmp2src", "rtmp2src", &url).0;
    deny();
    rtmp2src.fails_within(AT_ONCE);
    let mut publisher = ffmpeg_publishes(&room, "publisher", media(), &url);
    deny();
    publisher.fails_within(AT_ONCE);
}

/// Publishes by one address and plays by another.
fn by_addresses(test: &str, listen: &str, publish: &str, play: &str) {
    let (room, relay) = (Room::new(test), Relay::with(ServerConfig::default(), listen));
    let url = |host| format!("rtmp://{host}:{}/live/show", relay.port);
    // rtmpdump knows no IPv6 addresses.
    let (mut gst, file) = gstreamer_plays(&room, "rtmp2src", "rtmp2src", &url(play));
    let (mut ffmpeg, copy) = ffmpeg_plays(&room, "ffmpeg", &url(play));
    relay.has_players("show", 2);
    ffmpeg_publishes(&room, "publisher", media(), &url(publish)).ends_well();
    gst.ends_well();
    ffmpeg.ends_well();
    let Media { published, .. } = media();
    let (expected, arrived) = flv::as_rtmp2src_keeps(published, &file);
    assert_same(&expected, &arrived);
    assert_same(&flv::frames_since_first(published), &flv::frames_since_first(&flv::read(&copy)));
}

#[test]
fn ipv6_serves_publishers_and_players() {
    by_addresses("ipv6", "[::1]:0", "[::1]", "[::1]");
}

#[test]
fn one_listener_serves_both_families() {
    by_addresses("dual-stack", ":0", "[::1]", "127.0.0.1");
}

#[test]
fn two_servers_in_one_process_know_nothing_of_each_other() {
    let (room, one, other) = (Room::new("two-servers"), Relay::new(), Relay::new());
    let (mut player, file) = rtmpdump_plays(&room, "player", &one.url("show"));
    let (mut waiting, nothing) = rtmpdump_plays(&room, "waiting", &other.url("show"));
    one.has_players("show", 1);
    other.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), &one.url("show")).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
    assert_eq!((other.count("show", Role::Publisher), other.count("show", Role::Player)), (0, 1));
    let live = |event: &rrelay::server::Event| event.kind == EventKind::Stream && event.state == State::InProgress;
    one.event("the one is live", live);
    assert!(!other.events().iter().any(live));
    one.server.shutdown().unwrap();
    assert!(waiting.is_running() && flv::read_so_far(&nothing).is_empty());
    ffmpeg_publishes(&room, "later", media(), &other.url("show")).ends_well();
    waiting.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&nothing));
}
