//! Tests of a segment: published messages are whole, and dropped memory is freed.

use std::sync::Barrier;
use std::thread;

use super::*;
use crate::error::RRError;
use crate::stream::memory::budget::Budget;

/// Segments that a recursive drop could not free on a small stack; Miri gets fewer, because it is slow.
const LONG_CHAIN: u64 = if cfg!(miri) { 800 } else { 100_000 };

/// Bytes of a segment of two marks and 8 bytes. Memory of such a size is never kept.
const SMALL: u64 = 8 + 2 * 24;

fn unbounded() -> Budget {
    Budget::new(None)
}

fn put(writer: &mut SegmentWriter, byte: u8, len: u32) {
    writer.tail()[..len as usize].fill(byte);
    writer.publish(Mark { len, ts_ms: u32::from(byte), ..Mark::default() });
}

#[test]
fn marks_and_bytes_agree() {
    let mut writer = SegmentWriter::start(Spares::default());
    writer.roll(Size::of(10, 3), &unbounded()).unwrap();
    let segment = Arc::clone(writer.segment());
    put(&mut writer, 1, 4);
    put(&mut writer, 2, 6);
    assert_eq!(segment.published(), Published { marks: 2, bytes: 10 });
    assert_eq!(segment.bytes(), [1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    let places: Vec<_> = segment.marks().iter().map(|mark| (mark.start, mark.end(), mark.ts_ms)).collect();
    assert_eq!(places, [(0, 4, 1), (4, 10, 2)]);
    assert_eq!((writer.tail().len(), writer.marks_left()), (6, 1), "the bytes end with a whole word");
}

#[test]
fn unpublished_messages_are_not_seen() {
    let mut writer = SegmentWriter::start(Spares::default());
    writer.roll(Size::of(8, 2), &unbounded()).unwrap();
    writer.tail().fill(7);
    assert!(writer.segment().bytes().is_empty() && writer.segment().marks().is_empty());
}

#[test]
fn a_segment_goes_on_where_the_one_before_ended() {
    let mut writer = SegmentWriter::start(Spares::default());
    let first = Arc::clone(writer.segment());
    assert!(writer.tail().is_empty() && writer.marks_left() == 0, "the first one holds nothing");
    writer.roll(Size::of(100, 4), &unbounded()).unwrap();
    put(&mut writer, 1, 30);
    writer.roll(Size::of(100, 4), &unbounded()).unwrap();
    let last = first.next().and_then(|second| second.next()).unwrap();
    assert_eq!((last.base(), last.first_message()), (30, 1));
    assert!(last.next().is_none());
}

#[test]
#[should_panic(expected = "a message lies in its segment")]
fn a_message_past_the_end_is_refused() {
    let mut writer = SegmentWriter::start(Spares::default());
    writer.roll(Size::of(4, 2), &unbounded()).unwrap();
    writer.publish(Mark { len: 9, ..Mark::default() });
}

#[test]
#[should_panic(expected = "a mark is left")]
fn a_message_without_a_mark_is_refused() {
    let mut writer = SegmentWriter::start(Spares::default());
    writer.roll(Size::of(4, 1), &unbounded()).unwrap();
    put(&mut writer, 1, 1);
    put(&mut writer, 2, 1);
}

#[test]
#[cfg_attr(miri, ignore = "Miri ends where memory does")]
fn memory_that_cannot_be_had_is_an_error() {
    assert_eq!(Memory::zeroed(usize::MAX, 0).err().unwrap().kind, RRError::NoMem);
    assert_eq!(Memory::zeroed(isize::MAX as usize - 7, 0).err().unwrap().kind, RRError::NoMem);
}

#[test]
fn a_chain_of_100_000_segments_is_freed_on_a_small_stack() {
    let budget = Budget::new(None);
    let counted = budget.clone();
    let freeing = move || {
        let mut writer = SegmentWriter::start(Spares::default());
        let first = Arc::clone(writer.segment());
        for _ in 0..LONG_CHAIN {
            writer.roll(Size::of(1, 2), &counted).unwrap();
            put(&mut writer, 1, 1);
        }
        drop(writer);
        assert_eq!(counted.used(), LONG_CHAIN * SMALL);
        drop(first);
    };
    thread::Builder::new().stack_size(256 * 1024).spawn(freeing).unwrap().join().unwrap();
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_chain_that_many_let_go_at_once_is_freed_once_and_on_small_stacks() {
    for _ in 0..if cfg!(miri) { 3 } else { 20 } {
        let budget = Budget::new(None);
        let mut writer = SegmentWriter::start(Spares::default());
        let mut holders = vec![Arc::clone(writer.segment())];
        for n in 0..LONG_CHAIN / 20 {
            writer.roll(Size::of(1, 2), &budget).unwrap();
            if n % (LONG_CHAIN / 80) == 0 {
                holders.push(Arc::clone(writer.segment()));
            }
        }
        let start = Barrier::new(holders.len());
        thread::scope(|scope| {
            for holder in holders {
                let letting_go = || {
                    start.wait();
                    drop(holder);
                };
                thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, letting_go).unwrap();
            }
        });
        assert_eq!(budget.used(), SMALL, "the writer's own is left");
        drop(writer);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn a_tail_keeps_its_message_and_nothing_that_follows() {
    let budget = Budget::new(None);
    let mut writer = SegmentWriter::start(Spares::default());
    writer.roll(Size::of(10, 3), &budget).unwrap();
    put(&mut writer, 1, 4);
    put(&mut writer, 2, 6);
    let (segment, mut tail) = (Arc::clone(writer.segment()), writer.segment().tail(1, 7).unwrap());
    assert!(segment.tail(1, 10).is_none() && segment.tail(2, 10).is_none());
    for n in 0..5 {
        writer.roll(Size::of(10, 3), &budget).unwrap();
        put(&mut writer, n, 10);
    }
    let one = 16 + 3 * 24;
    assert_eq!(budget.used(), 6 * one);
    drop(segment);
    assert_eq!(budget.used(), 2 * one, "its own segment and the writer's");
    assert_eq!((tail.bytes(), tail.held_bytes()), (&[2, 2, 2][..], one as usize));
    tail.advance(2);
    assert_eq!(tail.bytes(), [2]);
    tail.advance(5);
    assert!(tail.bytes().is_empty());
    drop(tail);
    assert_eq!(budget.used(), one);
}
