//! Tests of the log's writer.

use super::*;
use crate::proto::chunk_read::{ChunkReader, ReadLimits};

fn entry(type_id: u8, ts_ms: u32) -> Entry {
    Entry { ts_ms, type_id, arrival_us: u64::from(ts_ms) * 1000, ..Entry::default() }
}

/// A body of `len` bytes that no other number has.
fn body(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (number.wrapping_mul(0x9E37_79B9) + at) as u8).collect()
}

/// Everything from the cursor on.
fn drain(cursor: &mut Cursor) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let run = cursor.run();
        if run.is_empty() {
            return all;
        }
        all.extend_from_slice(run);
        let taken = run.len();
        cursor.advance(taken);
    }
}

#[test]
fn a_body_read_back_equals_the_body_appended() {
    let mut log = RRBuffer::new(Budget::new(None));
    let mut cursor = log.cursor();
    let chunk = CHUNK_SIZE as usize;
    let lens = [0, 1, 127, chunk - 1, chunk, chunk + 1, 3 * chunk, 300_000, MAX_MESSAGE_BYTES as usize, 5];
    for (number, &len) in lens.iter().enumerate() {
        // Timestamps on both sides of the extended form.
        let ts_ms = 0x00FF_FFFD + number as u32;
        let body = body(number as u64, len);
        let (front, back) = body.split_at(len / 3);
        log.append(&entry(kind::VIDEO, ts_ms), &[front, &[], back]).unwrap();
        let message = cursor.message().unwrap();
        assert!(message.body().unwrap() == body, "length {len}");
        assert_eq!((message.mark.ts_ms, message.sent), (ts_ms, 0));
        assert!(cursor.skip_message());
    }
    assert!(!cursor.skip_message() && cursor.message().is_none());
}

#[test]
fn a_cursor_gives_rtmp_that_a_peer_can_read() {
    let mut log = RRBuffer::new(Budget::new(None));
    let mut cursor = log.cursor();
    let sent: Vec<_> = (0..200u32)
        .map(|n| ([8, 9, 18, 15, 99][n as usize % 5], n * 40, body(n.into(), (n * n * 7) as usize)))
        .collect();
    for (type_id, ts_ms, body) in &sent {
        log.append(&entry(*type_id, *ts_ms), &[body]).unwrap();
    }
    let wire = drain(&mut cursor);
    let mut reader = ChunkReader::new(ReadLimits {
        max_message: MAX_MESSAGE_BYTES,
        max_open_bytes: usize::MAX,
        max_chunk_streams: 8,
    });
    let mut set_chunk_size = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    set_chunk_size.extend_from_slice(&CHUNK_SIZE.to_be_bytes());
    let mut at = 0;
    assert!(reader.next(&set_chunk_size, &mut at).unwrap().is_some());
    at = 0;
    for (type_id, ts_ms, body) in &sent {
        let head = reader.next(&wire, &mut at).unwrap().unwrap();
        assert_eq!((head.type_id, head.timestamp_ms, head.stream_id), (*type_id, *ts_ms, STREAM_ID));
        assert!(head.chunk_stream == chunk_stream_of(*type_id) && head.chunk_stream < 64);
        assert!(reader.body(&wire) == body);
    }
    assert_eq!(at, wire.len());
}

#[test]
fn a_log_that_is_never_fed_costs_nothing() {
    let budget = Budget::new(Some(0));
    let mut log = RRBuffer::new(budget.clone());
    let mut cursor = log.cursor();
    assert_eq!((budget.used(), cursor.run().len(), log.head()), (0, 0, Head::default()));
    assert_eq!(log.append(&entry(8, 0), &[b"x"]).unwrap_err().kind, RRError::Limit);
}

#[test]
fn segments_grow_from_small_to_their_full_size() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let _pins_all = log.cursor();
    let mut capacities = Vec::new();
    let mut before = 0;
    for n in 0..600 {
        log.append(&entry(9, n), &[&body(0, 2000)]).unwrap();
        if budget.used() != before {
            capacities.push((budget.used() - before) / 1024);
            before = budget.used();
        }
    }
    assert_eq!(capacities[..8], [8, 16, 32, 64, 128, 256, 256, 256]);
}

#[test]
fn segments_have_a_part_of_a_second_of_the_media_that_comes() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let _pins_all = log.cursor();
    let (mut before, mut ts_ms) = (0, 0);
    // Sizes, in KiB, of the segments that begin with messages of so many bytes, one every `gap_ms`.
    let mut capacities = |messages: u32, len: usize, gap_ms: u32| {
        let mut capacities = Vec::new();
        for _ in 0..messages {
            ts_ms += gap_ms;
            log.append(&entry(9, ts_ms), &[&body(0, len)]).unwrap();
            if budget.used() != before {
                capacities.push((budget.used() - before) / 1024);
                before = budget.used();
            }
        }
        capacities
    };
    // 200 kbit/s: 8 KiB are full after 0.3 s, also where a large picture fills one sooner now and then.
    assert_eq!(capacities(200, 1000, 40), [8; 29]);
    assert_eq!(capacities(1, 5000, 40), [8]);
    assert_eq!(capacities(50, 1000, 40), [8; 7]);
    // 2 Mbit/s; then two pictures a second, which fill a table of marks slowly.
    assert_eq!(capacities(300, 10_000, 40).last(), Some(&64));
    let slow = capacities(2000, 20, 500);
    assert!(slow.starts_with(&[64, 32, 16]) && slow.ends_with(&[8]), "{slow:?}");
}

#[test]
fn a_segment_that_a_large_message_cuts_short_does_not_count_as_full() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let _pins_all = log.cursor();
    let mut grown = |type_id, ts_ms, len| {
        let before = budget.used();
        log.append(&entry(type_id, ts_ms), &[&body(0, len)]).unwrap();
        budget.used() - before
    };
    let least = u64::from(LEAST_BYTES);
    for n in 0..20 {
        let ts_ms = n * 40;
        assert!((300_000..301_000).contains(&grown(9, ts_ms, 300_000)));
        assert_eq!(grown(8, ts_ms + 20, 300), least, "sound behind picture {n}");
    }
    let next = (0..20).map(|n| grown(9, 800 + n, 2_000)).find(|&bytes| bytes > 0);
    assert_eq!(next, Some(2 * least), "a segment that is full does");
}

#[test]
fn a_large_message_gets_its_own_segment() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let mut cursor = log.cursor();
    log.append(&entry(9, 0), &[&body(1, 100)]).unwrap();
    let small = budget.used();
    log.append(&entry(9, 1), &[&body(2, 5_000_000)]).unwrap();
    let large = budget.used() - small;
    assert!((5_000_000..5_001_000).contains(&large), "its own size and one mark: {large}");
    log.append(&entry(9, 2), &[&body(3, 100)]).unwrap();
    assert!(cursor.run().len() < 200);
    assert_eq!(drain(&mut cursor).len() as u64, log.head().position);
    assert_eq!(log.head().messages, 3);
}

#[test]
fn a_full_mark_table_ends_the_segment() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let mut cursor = log.cursor();
    let marks = size_for(LEAST_BYTES, MESSAGE_BYTES).marks();
    for n in 0..marks {
        log.append(&entry(8, n), &[]).unwrap();
    }
    let one = budget.used();
    assert_eq!(cursor.run().len(), 12 * marks as usize);
    log.append(&entry(8, 99), &[]).unwrap();
    assert!(budget.used() > one, "there is room for bytes, but not for a mark");
    assert_eq!(drain(&mut cursor).len(), 12 * (marks as usize + 1));
}

#[test]
fn at_the_limit_nothing_is_lost_and_the_log_goes_on_when_memory_is_back() {
    // There is room for the segments of 16 to 128 KiB, or for the last of them and one of 256 KiB, but not for all.
    let budget = Budget::new(Some(450_000));
    let mut log = RRBuffer::new(budget.clone());
    let mut cursor = log.cursor();
    log.new_publisher();
    let mut fits = 0;
    let failure = loop {
        match log.append(&entry(9, fits), &[&body(fits.into(), 1000)]) {
            Ok(()) => fits += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!((failure.kind, failure.by_peer), (RRError::Limit, false));
    assert_eq!(log.head().messages, u64::from(fits));
    assert!(cursor.mark_here().unwrap().has(flag::NEW_PUBLISHER));
    log.append(&entry(9, fits), &[&body(fits.into(), 1000)]).unwrap_err();
    // The cursor moves on, which frees the memory that it held.
    cursor = log.cursor();
    log.append(&entry(9, fits), &[&body(fits.into(), 1000)]).unwrap();
    assert_eq!((cursor.message_number(), cursor.message().is_some()), (fits.into(), true));
    assert!(budget.used() <= 450_000);
}

#[test]
fn a_body_longer_than_the_format_allows_is_refused() {
    let mut log = RRBuffer::new(Budget::new(None));
    let largest = log.append(&entry(9, 0), &[&vec![0; MAX_MESSAGE_BYTES as usize], b"x"]).unwrap_err();
    assert_eq!(largest.kind, RRError::Limit);
}

#[test]
fn the_budget_returns_to_zero_when_all_is_dropped() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let early = log.cursor();
    for n in 0..1000 {
        log.append(&entry(9, n), &[&body(n.into(), 3000)]).unwrap();
    }
    let late = log.cursor();
    assert!(budget.used() > 3_000_000, "the early cursor holds all");
    drop(early);
    assert!(budget.used() <= 2 * u64::from(MOST_BYTES), "one segment is left, and one is spare");
    drop(log);
    assert!(budget.used() > 0, "a cursor outlives its log");
    drop(late);
    assert_eq!(budget.used(), 0);
}

#[test]
fn without_consumers_the_log_holds_one_segment() {
    let budget = Budget::new(Some(600_000));
    let mut log = RRBuffer::new(budget);
    for n in 0..20_000 {
        log.append(&entry(9, n), &[&body(n.into(), 5000)]).unwrap();
    }
    assert_eq!(log.head().messages, 20_000);
}

#[test]
fn the_mark_of_a_new_publisher_is_set_once() {
    let mut log = RRBuffer::new(Budget::new(None));
    let mut cursor = log.cursor();
    log.append(&entry(9, 0), &[b"a"]).unwrap();
    log.new_publisher();
    log.append(&Entry { flags: flag::KEY, ..entry(9, 1) }, &[b"b"]).unwrap();
    log.append(&entry(9, 2), &[b"c"]).unwrap();
    let flags: Vec<_> = std::iter::from_fn(|| {
        let flags = cursor.mark_here()?.flags;
        cursor.skip_message();
        Some(flags)
    })
    .collect();
    assert_eq!(flags, [0, flag::KEY | flag::NEW_PUBLISHER, 0]);
}
