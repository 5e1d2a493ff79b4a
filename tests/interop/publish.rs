//! Other publishers than ffmpeg, and publishers with more than plain media: data messages between media, times past 24
//! bits, a query in the key.

use std::path::PathBuf;

use crate::support::flv::{self, DATA, Tag, assert_same};
use crate::support::media::{
    as_ffmpeg_publishes, ffmpeg_publishes, ffmpeg_publishes_with, gstreamer, gstreamer_plays, media, rtmpdump_plays,
};
use crate::support::program::Room;
use crate::support::server::Relay;
use crate::support::{PATIENCE, until};
use rrelay::server::{EventKind, kind};
use rrelay::session::{Role, State};

/// flvmux writes one stream, which goes to the sink and to a file.
fn gstreamer_publishes(sink: &str) {
    let (room, relay) = (Room::new(sink), Relay::new());
    let url = relay.url("show");
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    relay.has_players("show", 1);
    let source = media().file.display();
    let mux = "flvmux name=mux streamable=true ! tee name=both";
    let keep = "both. ! queue ! filesink location=published.flv";
    let send = format!("both. ! queue ! {sink} sync=false location={url}");
    let parts = "demux.video ! h264parse ! queue ! mux. demux.audio ! aacparse ! queue ! mux.";
    let pipeline = format!("filesrc location={source} ! flvdemux name=demux {parts} {mux} {keep} {send}");
    gstreamer(&room, "publisher", &pipeline).ends_well();
    player.ends_within(PATIENCE);
    let published = flv::read(&room.file("published.flv"));
    assert!(flv::frames_since_first(&published).len() > 300, "the pipeline sent the whole of it");
    assert_same(&flv::as_librtmp_keeps(&published), &flv::read(&file));
}

#[test]
fn what_gstreamer_rtmpsink_publishes_arrives() {
    gstreamer_publishes("rtmpsink");
}

#[test]
fn what_gstreamer_rtmp2sink_publishes_arrives() {
    gstreamer_publishes("rtmp2sink");
}

/// Some 20 MB of the file's key frames, which ffmpeg sends faster than they are read.
fn long_file(room: &Room) -> PathBuf {
    let (once, file) = (&media().published, room.file("long.flv"));
    let (mut tags, mut bytes, mut round) = (once.clone(), 0, 0);
    while bytes < 20_000_000 {
        round += 1;
        tags.extend(once.iter().filter(|tag| tag.is_key_frame()).map(|tag| {
            bytes += tag.body.len();
            Tag { ts_ms: tag.ts_ms + round * 6_100, ..tag.clone() }
        }));
    }
    flv::write(&file, &tags);
    file
}

#[test]
fn what_ffmpeg_publishes_as_fast_as_it_can_arrives_whole() {
    let (room, relay) = (Room::new("fast"), Relay::new());
    let file = long_file(&room);
    let published = as_ffmpeg_publishes(&file, &[], &room.file("published.flv")).len();
    for turn in 0..4 {
        let key = format!("show{turn}");
        let stream = relay.server.stream_create(b"live", key.as_bytes(), None).unwrap();
        let args = ["-nostdin", "-i", file.to_str().unwrap(), "-c", "copy", "-f", "flv"];
        let last = ["-flvflags", "no_duration_filesize", &relay.url(&key)];
        room.start("publisher", "ffmpeg", &[&args[..], &last[..]].concat()).ends_well();
        let sessions = || relay.server.list(stream, kind::SESSION).unwrap();
        until("the publisher's end", || sessions().is_empty().then_some(()));
        assert_eq!(relay.server.stats(stream).unwrap().msgs_in, published as u64, "turn {turn}");
    }
}

#[test]
fn data_messages_in_the_midst_of_media_arrive_in_their_place() {
    let (room, relay) = (Room::new("data"), Relay::new());
    let url = relay.url("show");
    let mut published = Vec::new();
    for (index, tag) in media().published.iter().enumerate() {
        published.push(tag.clone());
        if index % 20 == 19 {
            let body = [b"\x02\x00\x0aonCuePoint\x00\x40".as_slice(), &[index as u8; 7]].concat();
            published.push(Tag { kind: DATA, ts_ms: tag.ts_ms, body });
        }
    }
    flv::write(&room.file("published.flv"), &published);
    let (mut player, file) = gstreamer_plays(&room, "player", "rtmp2src", &url);
    relay.has_players("show", 1);
    // In one buffer: librtmp must see each tag's head whole.
    let pipeline = format!("filesrc blocksize=100000000 location=published.flv ! rtmpsink location={url}");
    gstreamer(&room, "publisher", &pipeline).ends_well();
    player.ends_well();
    let (published, arrived) = flv::as_rtmp2src_keeps(&published, &file);
    assert_same(&published, &arrived);
}

#[test]
fn times_past_24_bits_arrive_as_they_are() {
    let (room, relay) = (Room::new("late-times"), Relay::new());
    let url = relay.url("show");
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    relay.has_players("show", 1);
    // 0xffffff ms are 16777.215 s: the stream passes this time in its middle.
    let options = ["-output_ts_offset", "16774"];
    let published = as_ffmpeg_publishes(&media().file, &options, &room.file("published.flv"));
    let crosses = |tag: &&Tag| tag.is_frame() && tag.ts_ms >= 0xff_ffff;
    assert!(
        published.iter().any(|tag| crosses(&tag))
            && !published.iter().filter(|tag| tag.is_frame()).all(|tag| crosses(&tag))
    );
    ffmpeg_publishes_with(&room, "publisher", media(), &["-readrate", "6"], &options, &url).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&published), &flv::read(&file));
}

#[test]
fn a_query_is_no_part_of_the_key() {
    let (room, relay) = (Room::new("query"), Relay::new());
    let (mut player, file) = rtmpdump_plays(&room, "player", &relay.url("show?token=player"));
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), &relay.url("show?token=a.b&x=1+2=")).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
    let told =
        relay.event("the stream is live", |event| event.kind == EventKind::Stream && event.state == State::InProgress);
    assert_eq!((told.app, told.key), (b"live".to_vec(), b"show".to_vec()));
    let publishes = relay.event("it publishes", |event| event.key == b"show" && event.query == b"token=a.b&x=1+2=");
    assert_eq!(publishes.kind, EventKind::Session);
}

#[test]
fn a_second_publisher_is_refused_at_once_and_the_first_not_disturbed() {
    let (room, relay) = (Room::new("second"), Relay::new());
    let url = relay.url("show");
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    relay.has_players("show", 1);
    let mut first = ffmpeg_publishes_with(&room, "first", media(), &["-re"], &[], &url);
    relay.has_messages("show", 10);
    let mut ffmpeg = ffmpeg_publishes(&room, "ffmpeg", media(), &url);
    let source = media().file.display();
    let librtmp = format!("filesrc blocksize=100000000 location={source} ! rtmpsink location={url}");
    let mut librtmp = gstreamer(&room, "librtmp", &librtmp);
    for second in [&mut ffmpeg, &mut librtmp] {
        second.fails_within(crate::support::AT_ONCE);
    }
    assert!(ffmpeg.words().contains("has a publisher already"), "{}", ffmpeg.words());
    assert!(first.is_running());
    assert_eq!(relay.count("show", Role::Publisher), 1);
    first.ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
    until("the sessions are gone", || (relay.count("show", Role::Player) == 0).then_some(()));
}
