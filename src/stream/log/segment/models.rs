//! Loom models: every order in which two or three threads may meet over a segment, tried one by one.
//!
//! Memory of these sizes is kept for a next segment. Then a message's watch goes with it, so that loom fails if a writer could
//! write what somebody may still read.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib stream::segment`

use super::*;
use crate::stream::log::cursor::Cursor;
use crate::stream::memory::budget::Budget;
use loom::thread;

/// Memory of a segment of one mark.
const ONE: u64 = 8 + 24;

fn put(writer: &mut SegmentWriter, byte: u8) {
    writer.tail()[..2].fill(byte);
    writer.publish(Mark { len: 2, ts_ms: u32::from(byte), ..Mark::default() });
}

fn writer_of(messages: u32, budget: &Budget) -> SegmentWriter {
    let mut writer = SegmentWriter::start(Spares::default());
    writer.roll(Size::of(2 * messages, messages), &budget).unwrap();
    writer
}

/// Reads everything that a segment has published, checks that it is consistent, and returns the messages.
fn read(segment: &Segment) -> Vec<u8> {
    let marks = segment.marks();
    let bytes = segment.bytes();
    assert!(bytes.len() >= marks.len() * 2 && bytes.len() % 2 == 0, "whole messages only");
    for mark in marks {
        let body = &bytes[mark.start as usize..mark.end() as usize];
        assert!(body.iter().all(|&byte| u32::from(byte) == mark.ts_ms), "a mark belongs to its bytes");
    }
    bytes.iter().step_by(2).copied().collect()
}

#[test]
fn a_reader_sees_only_whole_messages() {
    loom::model(|| {
        let budget = Budget::new(None);
        let mut writer = writer_of(2, &budget);
        let segment = Arc::clone(writer.segment());
        let reader = thread::spawn(move || {
            let (early, late) = (read(&segment), read(&segment));
            assert!([1, 2].starts_with(&late) && late.starts_with(&early));
        });
        put(&mut writer, 1);
        put(&mut writer, 2);
        reader.join().unwrap();
        assert_eq!(read(writer.segment()), [1, 2]);
    });
}

#[test]
fn a_cursor_that_follows_next_misses_nothing() {
    loom::model(|| {
        let budget = Budget::new(None);
        let mut writer = writer_of(2, &budget);
        let mut cursor = Cursor::at_end_of(writer.segment());
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            for _ in 0..2 {
                let run = cursor.run();
                got.extend(run.iter().step_by(2));
                let taken = run.len();
                cursor.advance(taken);
            }
            assert!([1, 2, 3].starts_with(&got), "in order and without a gap, however far it came: {got:?}");
            assert_eq!(cursor.message_number(), got.len() as u64);
        });
        put(&mut writer, 1);
        put(&mut writer, 2);
        writer.roll(Size::of(2, 1), &budget).unwrap();
        put(&mut writer, 3);
        reader.join().unwrap();
    });
}

#[test]
fn readers_may_let_go_while_the_writer_appends() {
    let mut model = loom::model::Builder::new();
    // Two preemptions are enough for any two of the three threads to meet, and the model ends in seconds.
    model.preemption_bound = Some(2);
    model.check(|| {
        let budget = Budget::new(None);
        let mut writer = writer_of(1, &budget);
        let readers = [Arc::clone(writer.segment()), Arc::clone(writer.segment())].map(|segment| {
            thread::spawn(move || {
                let seen = read(&segment);
                let next = segment.next().map(Arc::clone);
                drop(segment);
                assert!(next.is_none_or(|next| read(&next).is_empty()));
                assert!([1].starts_with(&seen));
            })
        });
        put(&mut writer, 1);
        writer.roll(Size::of(2, 1), &budget).unwrap();
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(budget.used(), 2 * ONE, "the sealed segment's memory is spare with its last reader");
        drop(writer);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn a_tail_outlives_its_segment_while_the_writer_appends_and_others_let_go() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let budget = Budget::new(None);
        let mut writer = writer_of(2, &budget);
        put(&mut writer, 1);
        let tail = writer.segment().tail(0, 1).unwrap();
        let segment = Arc::clone(writer.segment());
        let threads = [
            thread::spawn(move || {
                assert_eq!(tail.bytes(), [1]);
                drop(tail);
            }),
            thread::spawn(move || drop(segment)),
        ];
        put(&mut writer, 2);
        writer.roll(Size::of(2, 1), &budget).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(budget.used(), ONE, "the bytes are gone with the last who held them");
    });
}

#[test]
fn memory_is_written_again_only_after_the_last_who_held_it() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let budget = Budget::new(None);
        let mut writer = writer_of(1, &budget);
        put(&mut writer, 1);
        let tail = writer.segment().tail(0, 1).unwrap();
        let segment = Arc::clone(writer.segment());
        let threads = [
            thread::spawn(move || {
                assert_eq!(tail.bytes(), [1]);
                drop(tail);
            }),
            thread::spawn(move || {
                assert_eq!(read(&segment), [1]);
                drop(segment);
            }),
        ];
        for byte in [2, 3] {
            writer.roll(Size::of(2, 1), &budget).unwrap();
            put(&mut writer, byte);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(read(writer.segment()), [3]);
        drop(writer);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn logs_give_their_memory_to_each_other() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (budget, spares) = (Budget::new(None), Spares::default());
        let logs = [1, 4].map(|first| {
            let (budget, spares) = (budget.clone(), spares.clone());
            thread::spawn(move || {
                let mut writer = SegmentWriter::start(spares);
                for byte in first..first + 3 {
                    writer.roll(Size::of(2, 1), &budget).unwrap();
                    put(&mut writer, byte);
                    assert_eq!(read(writer.segment()), [byte]);
                }
            })
        });
        for log in logs {
            log.join().unwrap();
        }
        assert_eq!(budget.used(), 0, "spare memory goes with the last log");
    });
}
