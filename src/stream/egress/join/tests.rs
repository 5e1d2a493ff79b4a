//! Tests of joining, and of consumers that fell behind.

use super::*;
use crate::config::{CHUNK_SIZE, media};
use crate::proto::chunk_write::{body_of, wire_len};
use crate::proto::frame;
use crate::stream::log::buffer::{Entry, RRBuffer};
use crate::stream::memory::budget::Budget;

const AUDIO_HEADER: &[u8] = &[0xAF, 0, 0x12, 0x10];
const AUDIO: &[u8] = &[0xAF, 1, 7];
const VIDEO_HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1, 100];
const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 9];
const INTER: &[u8] = &[0x27, 1, 0, 0, 0, 9];
const BARE: &[u8] = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09";

/// A stream as accumulate would feed it: with flags from the facts, and a message every 10 ms.
struct Feed {
    log: RRBuffer,
    join_index: JoinIndex,
    ts_ms: u32,
}

impl Feed {
    fn new(gop_bytes: u32, gop_ms: u32) -> Self {
        let log = RRBuffer::new(Budget::new(None));
        let join_index = JoinIndex::new(log.cursor(), gop_bytes, gop_ms);
        Self { log, join_index, ts_ms: 0 }
    }

    fn put(&mut self, type_id: u8, body: &[u8]) {
        let facts = frame::facts(type_id, body);
        let bit = |on: bool, flag: u8| if on { flag } else { 0 };
        let entry = Entry {
            ts_ms: self.ts_ms,
            type_id,
            flags: bit(facts.key, flag::KEY)
                | bit(facts.seq_start, flag::SEQ)
                | bit(facts.metadata || facts.side_config, flag::META)
                | bit(facts.set_data_frame, flag::SET_DATA_FRAME),
            track: facts.track,
            arrival_us: u64::from(self.ts_ms) * 1000,
        };
        self.log.append(&entry, &[body]).unwrap();
        self.ts_ms += 10;
    }

    fn audio(&mut self, bodies: &[&[u8]]) {
        bodies.iter().for_each(|body| self.put(kind::AUDIO, body));
    }

    fn video(&mut self, bodies: &[&[u8]]) {
        bodies.iter().for_each(|body| self.put(kind::VIDEO, body));
    }

    /// Metadata and headers at 0, 10 and 20 ms.
    fn begin(&mut self) {
        self.put(kind::DATA, &wrapped());
        self.audio(&[AUDIO_HEADER]);
        self.video(&[VIDEO_HEADER]);
    }

    fn here(&self, start: Start) -> JoinPoint {
        match self.join_index.join(start) {
            Join::Here(point) => point,
            Join::WaitForKey => panic!("there is a place to join"),
        }
    }

    fn waits(&self, start: Start) -> bool {
        matches!(self.join_index.join(start), Join::WaitForKey)
    }
}

fn wrapped() -> Vec<u8> {
    [b"\x02\x00\x0d@setDataFrame", BARE].concat()
}

fn rewrite() -> HeaderRewrite {
    HeaderRewrite {
        ts_ms: 77,
        stream_id: 5,
        chunk_size: 128,
        wrap_metadata: false,
        media: media::ALL,
        tracks: u64::MAX,
    }
}

/// Encodes a set and reads it back: type, timestamp, stream id and body of each message.
fn encoded(set: &HeaderSet, rewrite: &HeaderRewrite) -> Vec<(u8, u32, u32, Vec<u8>)> {
    let mut out = b"before".to_vec();
    set.encode(rewrite, &mut out).unwrap();
    let mut wire = out.strip_prefix(b"before").unwrap();
    let mut all = Vec::new();
    while !wire.is_empty() {
        let (head, body) = body_of(wire, rewrite.chunk_size).unwrap();
        all.push((head.type_id, head.timestamp_ms, head.stream_id, body.into_owned()));
        wire = &wire[wire_len(&head, rewrite.chunk_size)..];
    }
    all
}

fn bodies(set: &HeaderSet) -> Vec<Vec<u8>> {
    encoded(set, &rewrite()).into_iter().map(|(.., body)| body).collect()
}

/// A multitrack message with one track of AVC; packet type 0 is a header, 1 a frame.
fn multitrack(frame: u8, packet: u8, code: &[u8; 4], track: u8) -> Vec<u8> {
    [&[0x80 | frame << 4 | 6, packet], &code[..], &[track, 1, 2, 3]].concat()
}

#[test]
fn a_late_joiner_gets_the_headers_and_the_cached_group() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY, INTER]);
    feed.audio(&[AUDIO]);
    feed.join_index.advance();
    feed.video(&[KEY]);
    feed.audio(&[AUDIO]);
    feed.video(&[INTER]);
    let seen = feed.join_index.advance();
    assert_eq!((seen.messages, seen.first.is_some(), seen.headers_changed), (3, false, false));

    let mut point = feed.here(Start::Gop);
    assert_eq!(point.ts_ms, 60);
    let headers = encoded(&point.headers, &HeaderRewrite { ts_ms: point.ts_ms, ..rewrite() });
    assert_eq!(
        headers,
        [
            (kind::DATA, 0, 5, BARE.to_vec()),
            (kind::AUDIO, 60, 5, AUDIO_HEADER.to_vec()),
            (kind::VIDEO, 60, 5, VIDEO_HEADER.to_vec()),
        ]
    );
    let group: Vec<_> = std::iter::from_fn(|| {
        let body = point.cursor.message()?.body()?.into_owned();
        point.cursor.skip_message();
        Some(body)
    })
    .collect();
    assert_eq!(group, [KEY, AUDIO, INTER]);
}

#[test]
fn a_start_at_the_next_key_frame_waits_and_a_start_now_does_not() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY, INTER]);
    feed.join_index.advance();
    assert!(feed.waits(Start::Key));
    let mut now = feed.here(Start::Now);
    assert!(now.cursor.message().is_none() && now.headers.headers().len() == 3);
    feed.video(&[INTER]);
    assert!(feed.join_index.advance().key.is_none());
    feed.video(&[INTER, KEY, INTER, KEY, INTER]);
    let mut key = feed.join_index.advance().key.unwrap();
    assert_eq!(key.cursor.mark_here().unwrap().ts_ms, 90, "the newest of them");
    assert_eq!(now.cursor.mark_here().unwrap().ts_ms, 50);
}

#[test]
fn of_a_burst_a_joiner_that_waits_takes_the_next_key_frame_and_one_that_fell_behind_the_newest() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY, INTER]);
    feed.join_index.advance();
    feed.video(&[KEY, INTER]);
    let came = feed.log.head().position;
    feed.video(&[INTER, KEY, INTER, KEY, INTER, KEY, INTER]);
    let seen = feed.join_index.advance();
    let at = |start, waits| {
        feed.join_index.place_at(&seen, start, waits).map(|mut point| point.cursor.mark_here().unwrap().ts_ms)
    };
    let all = Waits::to_join();
    assert_eq!(at(Start::Key, all), Some(50), "the first one that was not seen before");
    let late = Waits { after: came, fresh: true, settled: false };
    assert_eq!(at(Start::Key, late), Some(120), "never one from before it came");
    assert_eq!((at(Start::Gop, all), at(Start::Gop, late)), (Some(120), Some(120)), "the cached group");
    for start in [Start::Key, Start::Gop, Start::Now] {
        assert_eq!(at(start, Waits::behind(came)), Some(120), "{start:?}");
        assert_eq!(at(start, Waits::behind(feed.log.head().position)), None, "{start:?}: nothing twice");
    }
}

#[test]
fn sound_before_the_first_key_frame_is_no_place_for_who_wants_a_key_frame() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.audio(&[AUDIO]);
    feed.video(&[INTER, KEY, INTER, KEY]);
    let seen = feed.join_index.advance();
    let mut point = feed.join_index.place_at(&seen, Start::Key, Waits::to_join()).unwrap();
    assert_eq!(point.cursor.mark_here().unwrap().flags & flag::KEY, flag::KEY);
}

#[test]
fn without_video_every_audio_message_is_a_join_point() {
    let mut feed = Feed::new(1 << 20, 10_000);
    assert!(!feed.waits(Start::Gop), "before anything has come one may wait at the head");
    feed.audio(&[AUDIO_HEADER, AUDIO, AUDIO]);
    let seen = feed.join_index.advance();
    assert_eq!(seen.key.unwrap().cursor.mark_here().unwrap().ts_ms, 10, "the header is none");
    for start in [Start::Gop, Start::Key, Start::Now] {
        let point = feed.here(start);
        assert_eq!(
            (point.cursor.head(), bodies(&point.headers)),
            (feed.join_index.head(), vec![AUDIO_HEADER.to_vec()])
        );
    }
}

#[test]
fn in_a_stream_of_only_data_every_message_is_a_join_point() {
    let mut feed = Feed::new(1 << 20, 10_000);
    let cue = |ts_ms| Entry { ts_ms, type_id: kind::DATA, ..Entry::default() };
    feed.log.append(&cue(5), &[b"cue"]).unwrap();
    let fell_behind = Waits::behind(feed.log.head().position);
    feed.join_index.advance();
    feed.log.append(&cue(9), &[b"cue"]).unwrap();
    let seen = feed.join_index.advance();
    let point = feed.join_index.place_at(&seen, Start::Gop, fell_behind);
    assert_eq!(point.unwrap().cursor.mark_here().unwrap().ts_ms, 9, "or it would wait for ever");
    feed.audio(&[AUDIO_HEADER]);
    feed.log.append(&cue(90), &[b"cue"]).unwrap();
    assert!(feed.join_index.advance().key.is_none(), "with sound, sound is waited for");
}

#[test]
fn a_camera_that_was_switched_off_makes_no_player_wait_for_ever() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY]);
    for _ in 0..2000 {
        feed.audio(&[AUDIO]);
    }
    feed.join_index.advance();
    assert!(feed.join_index.has_video() && feed.waits(Start::Key), "20 s without a picture may be a slide");
    feed.ts_ms += 10_000;
    feed.audio(&[AUDIO]);
    assert!(feed.join_index.advance().key.is_some() && !feed.waits(Start::Key));
}

#[test]
fn an_hour_of_media_without_key_frames_stays_bounded() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let mut join_index = JoinIndex::new(log.cursor(), 2_000_000, 3_600_000_000u32 / 1000);
    for n in 0..90_000u32 {
        let first = n == 0;
        let entry = Entry {
            ts_ms: n * 40,
            type_id: kind::VIDEO,
            flags: if first { flag::KEY } else { 0 },
            arrival_us: u64::from(n) * 40_000,
            ..Entry::default()
        };
        log.append(&entry, &[&[0; 1000]]).unwrap();
        let seen = join_index.advance();
        assert_eq!(seen.key.is_some(), first);
        drop(seen);
        assert!(budget.used() < 2_800_000, "{} bytes after {n} frames", budget.used());
    }
    assert!(join_index.newest_key().is_none() && budget.used() < 300_000);
    assert!(matches!(join_index.join(Start::Gop), Join::WaitForKey));
}

#[test]
fn where_key_frames_stay_away_sound_begins_at_once_and_in_the_end_pictures_as_they_come() {
    let mut feed = Feed::new(1 << 20, 1_000);
    feed.join_index = JoinIndex::new(feed.log.cursor(), 1 << 20, 1_000).with_key_wait(5_000);
    feed.begin();
    feed.video(&[KEY]);
    let fell_behind = Waits::behind(0);
    let go_to = |feed: &mut Feed, ts_ms: u32| {
        let mut seen = Seen::default();
        while feed.ts_ms < ts_ms {
            feed.video(&[INTER]);
            feed.audio(&[AUDIO]);
            seen = feed.join_index.advance();
        }
        seen
    };
    go_to(&mut feed, 4_900);
    assert!(feed.waits(Start::Gop) && feed.waits(Start::Key));
    let seen = go_to(&mut feed, 5_100);
    for start in [Start::Gop, Start::Key] {
        let point = feed.here(start);
        assert!(point.without_pictures && point.headers.headers().len() == 3, "headers of all, media of sound");
        let point = feed.join_index.place_at(&seen, start, fell_behind).unwrap();
        assert!(point.without_pictures, "so with those who fell behind");
    }
    assert!(!feed.here(Start::Now).without_pictures, "who wants all at once has it");
    assert!(go_to(&mut feed, 14_900).key.is_none());
    let seen = go_to(&mut feed, 15_100);
    assert!(!feed.here(Start::Key).without_pictures);
    assert!(seen.key.is_some_and(|key| !key.without_pictures), "who waited begins in the midst");
    feed.video(&[KEY]);
    assert!(feed.join_index.advance().key.is_some_and(|key| key.ts_ms + 10 == feed.ts_ms));
    go_to(&mut feed, 17_000);
    assert!(feed.waits(Start::Key), "and all is as before");
}

#[test]
fn the_cached_group_is_bounded_by_arrival_not_by_timestamps() {
    let mut feed = Feed::new(1 << 20, 1000);
    feed.begin();
    feed.video(&[KEY]);
    let jump = |ts_ms: u32, arrival_us: u64| Entry { ts_ms, type_id: kind::VIDEO, arrival_us, ..Entry::default() };
    feed.log.append(&jump(900_000, 1_000_000), &[INTER]).unwrap();
    feed.join_index.advance();
    assert!(feed.join_index.newest_key().is_some(), "a timestamp may jump");
    feed.log.append(&jump(0, 1_030_001), &[INTER]).unwrap();
    feed.join_index.advance();
    assert!(feed.join_index.newest_key().is_none() && feed.waits(Start::Gop));
}

#[test]
fn without_a_cache_a_key_frame_is_still_seen_by_those_who_wait() {
    let mut feed = Feed::new(0, 10_000);
    feed.begin();
    feed.video(&[KEY]);
    assert!(feed.join_index.advance().key.is_some());
    assert!(feed.join_index.newest_key().is_none() && feed.waits(Start::Gop));
    let mut pressed = Feed::new(1 << 20, 10_000);
    pressed.video(&[KEY]);
    pressed.join_index.advance();
    pressed.join_index.drop_gop_start();
    assert!(pressed.join_index.newest_key().is_none());
}

#[test]
fn headers_are_those_of_the_join_point_not_of_the_head() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY]);
    feed.join_index.advance();
    let other: &[u8] = &[0x17, 0, 0, 0, 0, 1, 200];
    feed.video(&[INTER, other]);
    assert!(feed.join_index.advance().headers_changed);
    assert_eq!(bodies(&feed.here(Start::Gop).headers)[2], VIDEO_HEADER);
    assert_eq!(bodies(&feed.here(Start::Now).headers)[2], other);
    assert_eq!(bodies(feed.join_index.headers()).len(), 3);
}

#[test]
fn another_publisher_begins_with_nothing_of_the_one_before() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY]);
    feed.join_index.advance();
    // The end of one publisher and the beginning of the other come in one wake.
    feed.video(&[KEY]);
    feed.log.new_publisher();
    feed.audio(&[AUDIO_HEADER, AUDIO]);
    let seen = feed.join_index.advance();
    let mut first = seen.first.unwrap();
    assert!(seen.headers_changed && first.headers.is_empty());
    assert_eq!(
        first.cursor.mark_here().unwrap().ts_ms,
        50,
        "who waits for the other one begins with its first message"
    );
    assert_eq!((seen.messages, seen.key.unwrap().ts_ms), (3, 60), "the old one's key frame is no place to begin");
    assert_eq!(bodies(feed.join_index.headers()), [AUDIO_HEADER]);
    assert!(feed.join_index.newest_key().is_none() && !feed.join_index.has_video());
}

#[test]
fn an_advance_to_an_end_stops_there_if_somebody_is_to_be_told() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.video(&[KEY]);
    let before = feed.log.head();
    feed.log.ended();
    feed.log.new_publisher();
    feed.video(&[KEY, KEY]);
    let mut late = feed.join_index.fork();
    let seen = feed.join_index.advance_to_end(false, u64::MAX);
    assert!(seen.at_end && seen.messages > 0 && feed.join_index.head() == before);
    let seen = feed.join_index.advance_to_end(true, u64::MAX);
    assert!(seen.at_end && seen.messages == 0, "it stays there as long as somebody is to be told");
    let seen = feed.join_index.advance_to_end(false, u64::MAX);
    assert!(!seen.at_end && seen.messages == 2 && seen.first.is_some() && feed.join_index.head() == feed.log.head());
    let seen = late.advance();
    assert!(!seen.at_end && late.head() == feed.log.head(), "others pass it");
}

#[test]
fn headers_sent_again_change_nothing() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    feed.join_index.advance();
    let before = feed.join_index.headers().clone();
    feed.begin();
    feed.put(kind::DATA, BARE);
    assert!(!feed.join_index.advance().headers_changed);
    assert_eq!(feed.join_index.headers(), &before, "bare or wrapped, it is the same metadata");
}

#[test]
fn metadata_is_wrapped_for_servers_and_bare_for_players() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.audio(&[AUDIO_HEADER]);
    feed.put(kind::DATA_AMF3, &[&[0], &wrapped()[..]].concat());
    feed.join_index.advance();
    let set = feed.join_index.headers();
    let wrap = HeaderRewrite { wrap_metadata: true, ..rewrite() };
    assert_eq!(
        encoded(set, &rewrite())[0],
        (kind::DATA, 0, 5, BARE.to_vec()),
        "metadata first, however late, and at 0"
    );
    assert_eq!(encoded(set, &wrap)[0], (kind::DATA, 0, 5, wrapped()));
    let audio_only = HeaderRewrite { media: media::AUDIO, ..rewrite() };
    assert_eq!(encoded(set, &audio_only), [(kind::AUDIO, 77, 5, AUDIO_HEADER.to_vec())]);
}

#[test]
fn every_codec_and_track_of_multitrack_keeps_its_header() {
    let mut feed = Feed::new(1 << 20, 10_000);
    let headers = [
        multitrack(1, 0, b"avc1", 0),
        multitrack(1, 0, b"avc1", 1),
        multitrack(1, 0, b"hvc1", 1),
        multitrack(1, 0, b"av01", 2),
    ];
    headers.iter().for_each(|header| feed.video(&[header]));
    feed.video(&[VIDEO_HEADER]);
    feed.join_index.advance();
    let mut expected: Vec<_> = headers.to_vec();
    expected.push(VIDEO_HEADER.to_vec());
    assert_eq!(bodies(feed.join_index.headers()), expected);
}

#[test]
fn the_header_sent_last_stands_last_also_where_tracks_share_a_message() {
    let mut feed = Feed::new(1 << 20, 10_000);
    // Tracks 0 and 1 of AVC with a byte each, and track 2 in a message of its own.
    let both = |byte| [&[0x96, 0x10], &b"avc1"[..], &[0, 0, 0, 1, byte, 1, 0, 0, 1, byte]].concat();
    let (one, other) = (multitrack(1, 0, b"avc1", 1), multitrack(1, 0, b"avc1", 2));
    let changed = [&one[..], &[9]].concat();
    let steps: [(&[u8], [&[u8]; 3]); 6] = [
        (&one, [&both(7), &other, &one]),
        (&both(7), [&other, &one, &both(7)]),
        (&other, [&other, &one, &both(7)]),
        (&changed, [&other, &both(7), &changed]),
        (&both(8), [&other, &changed, &both(8)]),
        (&both(8), [&other, &changed, &both(8)]),
    ];
    feed.video(&[&both(7), &other]);
    for (header, expected) in steps {
        feed.video(&[header]);
        feed.join_index.advance();
        assert_eq!(bodies(feed.join_index.headers()), expected);
    }
    feed.video(&[&both(8), &other]);
    assert!(!feed.join_index.advance().headers_changed, "what is in force already changes nothing");
}

#[test]
fn a_plain_stream_that_changes_codecs_has_only_the_new_header() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.begin();
    let hevc: &[u8] = b"\x90hvc1\x01\x02";
    feed.video(&[hevc]);
    feed.join_index.advance();
    assert_eq!(bodies(feed.join_index.headers()), [BARE, AUDIO_HEADER, hevc]);
}

#[test]
fn the_lowest_track_is_the_one_to_join_at() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.video(&[&multitrack(1, 1, b"avc1", 2)]);
    assert!(feed.join_index.advance().key.is_some(), "as long as no lower one is known");
    feed.video(&[&multitrack(1, 1, b"avc1", 1), &multitrack(1, 1, b"avc1", 2)]);
    assert_eq!(feed.join_index.advance().key.unwrap().ts_ms, 10);
    feed.video(&[KEY, &multitrack(1, 1, b"avc1", 1)]);
    assert_eq!(feed.join_index.advance().key.unwrap().ts_ms, 30);
}

#[test]
fn headers_without_end_stay_bounded() {
    let mut feed = Feed::new(1 << 20, 10_000);
    feed.put(kind::DATA, BARE);
    for track in 0..=255u8 {
        for code in [b"avc1", b"hvc1", b"av01"] {
            feed.video(&[&[&multitrack(1, 0, code, track)[..], &[track; 30_000]].concat()]);
        }
        feed.join_index.advance();
        let bytes = feed.join_index.headers().bytes();
        assert!(bytes <= 1024 * 1024 && feed.join_index.headers().headers().len() <= 64);
    }
    let kept = feed.join_index.headers().headers();
    assert!(kept[0].metadata && kept[0].body == BARE, "metadata is the last to go");
    assert_eq!(kept.last().map(|header| (header.codec, header.track)), Some((frame::four_cc(b"av01"), 255)));
    feed.video(&[&[VIDEO_HEADER, &vec![0; 2 << 20]].concat()]);
    assert_eq!(feed.join_index.advance().headers_lost, 1);
}

#[test]
fn a_long_header_goes_out_in_chunks() {
    let mut feed = Feed::new(1 << 20, 10_000);
    let long = [VIDEO_HEADER, &vec![3; CHUNK_SIZE as usize * 2]].concat();
    feed.video(&[&long]);
    feed.join_index.advance();
    assert_eq!(bodies(feed.join_index.headers()), [long]);
}
