//! Tests of a consumer's place in the log.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::buffer::{Entry, RRBuffer};
use super::super::segment::flag;
use super::*;
use crate::proto::message::kind;
use crate::stream::memory::budget::Budget;

fn entry(ts_ms: u32) -> Entry {
    Entry { ts_ms, type_id: kind::VIDEO, arrival_us: u64::from(ts_ms) * 1000, ..Entry::default() }
}

/// A log of messages of 12 + 88 bytes.
fn log_of(messages: u32) -> (RRBuffer, Cursor) {
    let mut log = RRBuffer::new(Budget::new(None));
    let cursor = log.cursor();
    for n in 0..messages {
        log.append(&entry(n), &[&[n as u8; 88]]).unwrap();
    }
    (log, cursor)
}

#[test]
fn a_partial_send_goes_on_in_the_middle_of_a_message() {
    let (_log, mut cursor) = log_of(3);
    let whole = cursor.run().to_vec();
    assert!(whole.len() == 300 && cursor.at_boundary() && cursor.rest_of_message().is_empty());
    cursor.advance(130);
    assert!(!cursor.at_boundary());
    assert_eq!(cursor.rest_of_message(), &whole[130..200]);
    assert_eq!(cursor.run(), &whole[130..]);
    assert_eq!((cursor.position(), cursor.message_number(), cursor.mark_here().unwrap().ts_ms), (130, 1, 1));
    let message = cursor.message().unwrap();
    assert_eq!((message.sent, message.wire), (30, &whole[100..200]));
    assert!(cursor.skip_message() && cursor.at_boundary());
    assert_eq!(cursor.run(), &whole[200..]);
}

#[test]
fn marks_are_found_from_every_byte() {
    let (_log, start) = log_of(500);
    for step in [1, 7, 99, 100, 101, 1000, 3001] {
        let mut cursor = start.clone();
        let mut position = 0;
        while !cursor.run().is_empty() {
            assert_eq!(cursor.message_number(), position / 100);
            assert_eq!(u64::from(cursor.mark_here().unwrap().ts_ms), position / 100);
            assert_eq!(cursor.at_boundary(), position % 100 == 0);
            let taken = cursor.run().len().min(step);
            cursor.advance(taken);
            position += taken as u64;
            assert_eq!(cursor.position(), position);
        }
        assert_eq!((position, cursor.message_number()), (50_000, 500));
    }
}

#[test]
fn a_run_goes_on_in_the_next_segment() {
    let mut log = RRBuffer::new(Budget::new(None));
    let start = log.cursor();
    let mut put = |n: u32, flags| log.append(&Entry { flags, ..entry(n) }, &[&[n as u8; 2988]]).unwrap();
    // The first segment has room for two of these messages, and the next one too.
    (0..3).for_each(|n| put(n, 0));
    let mut cursor = start.clone();
    let run = cursor.run().len();
    assert_eq!((run, cursor.beyond(run).len()), (6_000, 3_000));
    assert!(cursor.beyond(run - 1).is_empty(), "what follows does not follow a part of the run");
    let all = cursor.ahead(9_000).concat();
    assert_eq!((all.len(), &all[6_000 + 12..6_000 + 20]), (9_000, &[2; 8][..]));
    for taken in [0, 1, 5_999, 6_000, 6_001, 8_999, 9_000] {
        let mut cursor = start.clone();
        cursor.run();
        assert_eq!(cursor.ahead(taken).concat(), all[..taken]);
        cursor.advance(taken);
        let (position, message) = (taken as u64, taken as u64 / 3_000);
        assert_eq!((cursor.position(), cursor.message_number()), (position, message), "{taken} taken");
        let run = cursor.run();
        assert!(all[taken..].starts_with(run) && run.is_empty() == (taken == 9_000));
    }
    put(3, flag::AFTER_END);
    let run = cursor.run().len();
    assert!(run == 6_000 && cursor.beyond(run).is_empty(), "what is not for everybody is not sent with the rest");
}

#[test]
fn a_run_ends_before_what_must_be_seen_differently() {
    let (mut log, mut cursor) = log_of(2);
    log.append(&Entry { flags: flag::META, type_id: kind::DATA, ..entry(2) }, &[b"meta"]).unwrap();
    log.append(&entry(3), &[&[3; 88]]).unwrap();
    let stop = |mark: &Mark| mark.has(flag::META);
    assert_eq!(cursor.run_until(stop).len(), 200);
    cursor.advance(150);
    assert_eq!(cursor.run_until(stop).len(), 50);
    cursor.advance(50);
    assert!(cursor.run_until(stop).is_empty(), "nothing before the one to stop at");
    assert!(cursor.message().is_some_and(|message| stop(&message.mark)), "and this tells why");
    cursor.advance(5);
    assert_eq!(cursor.run_until(stop).len(), 11 + 100, "inside of it its rest belongs to the run");
    cursor.advance(111);
    assert!(cursor.run_until(|_| true).is_empty() && cursor.message().is_none());
}

#[test]
fn lag_is_what_is_not_taken_and_how_old_it_is() {
    let (log, mut cursor) = log_of(10);
    let head = log.head();
    let lag = cursor.lag(head, 9_000_000);
    assert_eq!(lag, Lag { bytes: 1000, messages: 10, ms: 9000 });
    cursor.advance(450);
    assert_eq!(cursor.lag(head, 9_000_000), Lag { bytes: 550, messages: 6, ms: 8996 });
    cursor.advance(550);
    assert_eq!(cursor.lag(head, 9_000_000), Lag::default(), "with nothing to send nothing is late");
    assert_eq!(cursor.lag(Head::default(), 0), Lag::default(), "a head of before is no trouble");
}

#[test]
fn a_stalled_cursor_that_jumps_frees_what_it_held() {
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let mut stalled = log.cursor();
    let mut other = log.cursor();
    for n in 0..2000u32 {
        log.append(&entry(n), &[&[1; 2000]]).unwrap();
        other = log.cursor();
    }
    assert!(stalled.run().len() > 1500);
    stalled.advance(1500);
    assert!(budget.used() > 4_000_000);
    let rest = stalled.rest_of_message().to_vec();
    let mut tail = stalled.tail().unwrap();
    stalled.jump_to(&other);
    assert_eq!(stalled.head(), log.head());
    assert!(tail.bytes() == rest && rest.len() == 512, "the peer gets its message whole");
    assert!(budget.used() < 600_000, "and holds no more of the log than the segment that it lies in");
    tail.advance(500);
    assert_eq!(tail.bytes(), &rest[500..]);
    drop(tail);
    assert!(budget.used() <= 2 * 256 * 1024, "the segment that is written, and a spare one");
    assert!(other.tail().is_none(), "at a boundary there is none");
}

/// Readers of different habits get each byte exactly once, in order and in whole messages, from a writer that does not
/// wait. The test is small enough for ThreadSanitizer.
#[test]
fn every_cursor_gets_every_byte_once_while_the_writer_writes() {
    const MESSAGES: u64 = if cfg!(miri) { 60 } else { 4000 };
    let budget = Budget::new(None);
    let mut log = RRBuffer::new(budget.clone());
    let done = StdArc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4usize)
        .map(|habit| {
            let (mut cursor, done) = (log.cursor(), StdArc::clone(&done));
            thread::spawn(move || {
                let (mut sum, mut bytes, mut number) = (0u64, 0u64, 0u64);
                loop {
                    let last_look = done.load(Ordering::Acquire);
                    let taken = if habit == 3 {
                        let Some(message) = cursor.message() else {
                            if last_look {
                                break;
                            }
                            thread::yield_now();
                            continue;
                        };
                        assert_eq!(u64::from(message.mark.ts_ms), number);
                        let body = message.body().unwrap();
                        assert!(body.iter().all(|&byte| byte == number as u8), "message {number}");
                        number += 1;
                        sum = checksum(sum, message.wire);
                        message.wire.len()
                    } else {
                        let run = cursor.run();
                        if run.is_empty() {
                            if last_look {
                                break;
                            }
                            thread::yield_now();
                            continue;
                        }
                        // The reader takes all at once, an odd part, or a little more than half.
                        let taken = [run.len(), run.len().min(4099), run.len() / 2 + 1][habit];
                        sum = checksum(sum, &run[..taken]);
                        taken
                    };
                    cursor.advance(taken);
                    bytes += taken as u64;
                    assert_eq!(cursor.position(), bytes);
                }
                (sum, cursor.head())
            })
        })
        .collect();
    let mut check = log.cursor();
    let mut expected = 0;
    let mut body = vec![0; 70_000];
    for n in 0..MESSAGES {
        let len = [3, 200, 900, 0, 5000][n as usize % 5] + if n % 1000 == 7 { 65_000 } else { 0 };
        body[..len].fill(n as u8);
        log.append(&entry(n as u32), &[&body[..len / 2], &body[len / 2..len]]).unwrap();
        let message = check.message().unwrap();
        expected = checksum(expected, message.wire);
        check.skip_message();
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let (sum, head) = reader.join().unwrap();
        assert_eq!((sum, head), (expected, log.head()));
    }
    drop((log, check));
    assert_eq!(budget.used(), 0);
}

fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte) + 1))
}
