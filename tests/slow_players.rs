//! A player that does not read disturbs no other player, and one that reads again gets a stream that it can decode.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

use std::io::Read;
use std::thread;
use std::time::Duration;

use raw::{Got, Raw, VIDEO, last_player, number_of, picture, relay, until};
use rrelay::config::{ServerConfig, Start, StreamConfig};
use rrelay::server::RRServer;

/// Bytes of the log beyond the bounds of its holders: the segments of the first and the last byte, the one being
/// filled, and their marks.
const SEGMENTS_BYTES: u64 = 3 * (256 + 16) * 1024;

const QUEUE_BYTES: u32 = 1024 * 1024;

/// Bytes that a stream may hold: the cached group and the longest queue, which may overlap or not.
const BOUND: u64 = 2 * QUEUE_BYTES as u64 + SEGMENTS_BYTES;

/// Whether the stream's memory is within the bound; spare memory, which only the server's figure has, is as much again at most.
fn is_within_bound(server: &RRServer, stream: u64) -> bool {
    let used = |id| server.stats(id).unwrap().queue_bytes;
    used(stream) <= BOUND && used(0) <= 2 * BOUND
}

fn small_queues() -> StreamConfig {
    StreamConfig { queue_bytes: QUEUE_BYTES, gop_bytes: QUEUE_BYTES, ..StreamConfig::default() }
}

/// Feeds pictures of 60 KB while one player reads and another one's window is shut. Gives the server, and the stalled
/// player with its id.
fn stall(pictures: u32, slow_ms: u32, send_ms: u32) -> (RRServer, u64, Raw) {
    let stream = StreamConfig { slow_ms, ..small_queues() };
    let (server, port) = relay(stream, ServerConfig { send_ms, ..ServerConfig::default() });
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut healthy = Raw::play(port, "show");
    last_player(&server, id, 1);
    let stalled = Raw::play(port, "show");
    let session = last_player(&server, id, 2);
    let (tell, told) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        for number in 0..pictures {
            assert_eq!(number_of(&healthy.media()), Some(number), "every picture, in order");
            tell.send(()).unwrap();
        }
    });
    for number in 0..pictures {
        let body = picture(number.is_multiple_of(10), number, 60_000);
        server.stream_write(id, VIDEO, i64::from(number) * 40, &body, false).unwrap();
        // The healthy player keeps pace, so that only the stalled one holds memory.
        told.recv_timeout(raw::PATIENCE).expect("a healthy player gets every picture");
        // The relay checks bounds four times a second, and this feed is faster: after some megabytes the relay gets the
        // time for a check.
        if number % 100 == 99 {
            until("memory within its bound", || is_within_bound(&server, id).then_some(()));
        }
    }
    reader.join().unwrap();
    (server, session, stalled)
}

/// No end within the test.
const LATE_MS: u32 = 60_000;

#[test]
fn a_shut_window_pins_nothing() {
    let (server, session, mut stalled) = stall(600, LATE_MS, LATE_MS);
    // Figures are updated four times a second, so those of the jump come later.
    let dropped = || server.stats(session).expect("it is still there").dropped_bytes;
    until("what it did not get", || (dropped() > 30_000_000).then_some(()));
    let waits = || server.stats(session).unwrap().queue_bytes;
    until("its queue within the bound", || (waits() <= u64::from(QUEUE_BYTES)).then_some(()));
    server.shutdown().unwrap();
    // The messages on their way are whole, up to the cut.
    let mut pictures = 0;
    while let Some(got) = stalled.media_within(raw::PATIENCE) {
        pictures += u32::from(number_of(&got).is_some());
    }
    assert!(pictures > 0);
}

/// The player never gets to the head, and so its lag in milliseconds counts only after some time.
#[test]
fn a_player_that_never_reads_holds_no_more_than_the_group_and_a_queue() {
    let stream = StreamConfig { queue_ms: 600_000, slow_ms: LATE_MS, ..small_queues() };
    let (server, port) = relay(stream, ServerConfig { send_ms: LATE_MS, ..ServerConfig::default() });
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut number = 0;
    let mut feed = |pictures: u32| {
        for _ in 0..pictures {
            let body = picture(number % 15 == 0, number, 60_000);
            server.stream_write(id, VIDEO, i64::from(number) * 40, &body, false).unwrap();
            number += 1;
        }
    };
    feed(15);
    let _stalled = Raw::play(port, "show");
    last_player(&server, id, 1);
    for _ in 0..5 {
        feed(100);
        until("memory within its bound", || is_within_bound(&server, id).then_some(()));
    }
}

/// Stalls a player until it is gone.
fn ends_with(slow_ms: u32, send_ms: u32) {
    let (server, session, _stalled) = stall(60, slow_ms, send_ms);
    until("the end of the stalled player", || server.stats(session).is_err().then_some(()));
}

#[test]
fn a_player_behind_for_slow_ms_is_closed() {
    ends_with(500, LATE_MS);
}

#[test]
fn a_player_that_takes_nothing_for_send_ms_is_closed() {
    ends_with(LATE_MS, 500);
}

#[test]
fn a_key_frame_and_then_none_for_an_hour_keeps_memory_bounded() {
    const FRAMES: u32 = 30 * 3600;
    // However long a loaded machine takes, a player that comes late waits for a key frame.
    let stream = StreamConfig { key_wait_ms: 0, ..small_queues() };
    let (server, port) = relay(stream, ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    // One is there from the beginning and reads; one comes late and waits for a key frame.
    let mut reading = Raw::play(port, "show").socket;
    last_player(&server, id, 1);
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while reading.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let mut waiting = None;
    for number in 0..FRAMES {
        let body = picture(number == 0, number, 300);
        server.stream_write(id, VIDEO, i64::from(number) * 1000 / 30, &body, false).unwrap();
        if number.is_multiple_of(2_000) {
            until("memory within its bound", || is_within_bound(&server, id).then_some(()));
        }
        if number == FRAMES / 2 {
            waiting = Some(Raw::play(port, "show"));
        }
    }
    let mut waiting = waiting.expect("it came half-way");
    last_player(&server, id, 2);
    let key = picture(true, FRAMES, 300);
    server.stream_write(id, VIDEO, 3_600_000, &key, false).unwrap();
    assert_eq!(waiting.media(), Got { type_id: VIDEO, ts_ms: 3_600_000, body: key });
    server.shutdown().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_player_that_recovers_gets_headers_a_key_frame_and_whole_messages() {
    let (server, port) = relay(
        StreamConfig { queue_bytes: 256 * 1024, start: Start::Now, ..StreamConfig::default() },
        ServerConfig::default(),
    );
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let header = [0x17, 0, 0, 0, 0, 1, 66, 0, 30];
    let write = |number: u32| {
        let body = picture(number.is_multiple_of(10), number, 20_000);
        server.stream_write(id, VIDEO, i64::from(number) * 40, &body, false).unwrap();
    };
    server.stream_write(id, VIDEO, 0, &header, false).unwrap();
    let mut player = Raw::play(port, "show");
    let session = last_player(&server, id, 1);
    let mut number = 0;
    // The player does not read until something has been dropped; then it reads while more comes.
    until("the jump", || {
        write(number);
        number += 1;
        thread::sleep(Duration::from_millis(1));
        (server.stats(session).unwrap().dropped_runs > 0).then_some(())
    });
    let mut seen: Vec<(Got, Option<u32>)> = Vec::new();
    let last = number + 30;
    while seen.last().is_none_or(|(_, seen)| *seen != Some(last)) {
        if number <= last {
            write(number);
            number += 1;
        }
        let got = player.media();
        let number = number_of(&got);
        seen.push((got, number));
    }
    let missing = seen.iter().filter_map(|(_, number)| *number).zip(0..).map(|(seen, at)| seen - at).max();
    let stats = until("what is missing is what was counted", || {
        let stats = server.stats(session).unwrap();
        (missing.map(u64::from) == Some(stats.dropped_msgs)).then_some(stats)
    });
    let mut jumps = 0;
    for pair in seen.windows(2) {
        let ((before, from), (after, to)) = (&pair[0], &pair[1]);
        assert!(after.ts_ms >= before.ts_ms, "time goes back from {} to {}", before.ts_ms, after.ts_ms);
        match (from, to) {
            (Some(from), Some(to)) => assert_eq!(from + 1, *to, "nothing is missing but at a jump"),
            (Some(_), None) => {
                jumps += 1;
                assert_eq!(after.body, header, "a jump begins with the header");
            }
            (None, Some(to)) => assert!(to.is_multiple_of(10), "a picture that needs others follows the header"),
            (None, None) => panic!("two headers"),
        }
    }
    assert_eq!(jumps, stats.dropped_runs);
}

#[test]
fn a_header_that_changes_while_a_player_is_behind_is_there_before_its_pictures() {
    let config = StreamConfig { queue_bytes: 256 * 1024, ..StreamConfig::default() };
    let (server, port) = relay(config, ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut player = Raw::play(port, "show");
    let session = last_player(&server, id, 1);
    // Another size each 40 pictures; the sequence header of it is sent once.
    let header = |number: u32| vec![0x17, 0, 0, 0, 0, 1, 66, 0, (number / 40) as u8];
    let write = |number: u32| {
        let ts_ms = i64::from(number) * 40;
        if number.is_multiple_of(40) {
            server.stream_write(id, VIDEO, ts_ms, &header(number), false).unwrap();
        }
        let body = picture(number.is_multiple_of(10), number, 20_000);
        server.stream_write(id, VIDEO, ts_ms, &body, false).unwrap();
    };
    let mut number = 0;
    until("jumps over several sizes", || {
        write(number);
        number += 1;
        thread::sleep(Duration::from_millis(1));
        let dropped = server.stats(session).unwrap().dropped_msgs;
        (dropped > 100 && number.is_multiple_of(40)).then_some(())
    });
    (number..=number + 45).for_each(write);
    let (mut size, mut jumps, mut before) = (Vec::new(), 0, None);
    while before != Some(number + 45) {
        let got = player.media();
        match number_of(&got) {
            None => size = got.body,
            Some(picture) => {
                assert_eq!(size, header(picture), "the header that {picture} needs");
                jumps += u32::from(before.is_some_and(|before| before + 1 != picture));
                before = Some(picture);
            }
        }
    }
    assert!(jumps > 0);
}
