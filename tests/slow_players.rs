//! A player that does not read costs nobody anything, and one that reads again gets a stream it can show.

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

use std::io::Read;
use std::thread;
use std::time::Duration;

use raw::{Got, Raw, VIDEO, last_player, number_of, picture, relay, until};
use rrelay::config::{ServerConfig, Start, StreamConfig};
use rrelay::server::RRServer;

/// What lies in the log beyond the bounds of its holders: the segments that the first and the last byte are in, the one
/// that is being filled, and their marks.
const SEGMENTS_BYTES: u64 = 3 * (256 + 16) * 1024;

const QUEUE_BYTES: u32 = 1024 * 1024;

fn small_queues() -> StreamConfig {
    StreamConfig { queue_bytes: QUEUE_BYTES, gop_bytes: QUEUE_BYTES, ..StreamConfig::default() }
}

/// Feeds 36 MB with a player that reads and one whose window is shut; gives the server, and the stalled player's id.
fn stall(stream: StreamConfig, config: ServerConfig) -> (RRServer, u64, Raw) {
    const PICTURES: u32 = 600;
    let (server, port) = relay(stream, config);
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut healthy = Raw::play(port, "show");
    last_player(&server, id, 1);
    let stalled = Raw::play(port, "show");
    let session = last_player(&server, id, 2);
    let (tell, told) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let mut seen = 0;
        while seen < PICTURES {
            assert_eq!(number_of(&healthy.media()), Some(seen), "every picture, in order");
            seen += 1;
            tell.send(()).unwrap();
        }
    });
    for number in 0..PICTURES {
        let body = picture(number % 10 == 0, number, 60_000);
        server.stream_write(id, VIDEO, i64::from(number) * 40, &body, false).unwrap();
        // The healthy one keeps pace, so that what is held is held by the other.
        told.recv_timeout(raw::PATIENCE).expect("a healthy player gets every picture");
        let held = server.stats(0).unwrap().queue_bytes;
        // Between two looks of the relay (250 ms) this feed passes any bound: what is held is looked at after one.
        if held > 2 * u64::from(QUEUE_BYTES) + SEGMENTS_BYTES {
            until("the memory that a shut window held", || {
                (server.stats(0).unwrap().queue_bytes <= 2 * u64::from(QUEUE_BYTES) + SEGMENTS_BYTES).then_some(())
            });
        }
    }
    reader.join().unwrap();
    (server, session, stalled)
}

#[test]
fn a_shut_window_pins_nothing_and_is_closed_by_slow_ms() {
    let stream = StreamConfig { slow_ms: 700, ..small_queues() };
    let (server, session, mut stalled) = stall(stream, ServerConfig { send_ms: 60_000, ..ServerConfig::default() });
    until("the end of the slow player", || server.stats(session).is_err().then_some(()));
    assert!(server.stats(0).unwrap().dropped_msgs > 0);
    // What was on its way is whole up to where it was cut off.
    while let Some(got) = stalled.next_within(Duration::from_millis(500)) {
        assert!(got.type_id != VIDEO || number_of(&got).is_some());
    }
}

#[test]
fn a_shut_window_is_closed_by_send_ms() {
    let stream = StreamConfig { slow_ms: 60_000, ..small_queues() };
    let (server, session, _stalled) = stall(stream, ServerConfig { send_ms: 700, ..ServerConfig::default() });
    until("the end of the stalled player", || server.stats(session).is_err().then_some(()));
}

#[test]
fn a_key_frame_and_then_none_for_an_hour_keeps_memory_bounded() {
    const FRAMES: u32 = 30 * 3600;
    let (server, port) = relay(small_queues(), ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    // One is there from the beginning and reads; one comes late and waits for a key frame.
    let mut reading = Raw::play(port, "show").socket;
    last_player(&server, id, 1);
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while reading.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let mut waiting = None;
    let bound = 2 * u64::from(QUEUE_BYTES) + SEGMENTS_BYTES;
    for number in 0..FRAMES {
        let body = picture(number == 0, number, 300);
        server.stream_write(id, VIDEO, i64::from(number) * 1000 / 30, &body, false).unwrap();
        if number % 2_000 == 1_999 {
            until("memory within its bound", || (server.stats(0).unwrap().queue_bytes <= bound).then_some(()));
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
        let body = picture(number % 10 == 0, number, 20_000);
        server.stream_write(id, VIDEO, i64::from(number) * 40, &body, false).unwrap();
    };
    server.stream_write(id, VIDEO, 0, &header, false).unwrap();
    let mut player = Raw::play(port, "show");
    let session = last_player(&server, id, 1);
    let mut number = 0;
    // Nobody reads until something has been dropped; then it reads while more comes.
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
    let stats = server.stats(session).unwrap();
    let missing = seen.iter().filter_map(|(_, number)| *number).zip(0..).map(|(seen, at)| seen - at).max();
    assert_eq!(missing.map(u64::from), Some(stats.dropped_msgs), "what is missing is what was counted");
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
            (None, Some(to)) => assert!(to % 10 == 0, "a picture that needs others follows the header"),
            (None, None) => panic!("two headers"),
        }
    }
    assert_eq!(jumps, stats.dropped_runs);
}
