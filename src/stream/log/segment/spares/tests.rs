//! Tests of spare memory: what is kept, and when it is given back.

use super::super::*;

/// A size that is kept.
const SIZE: u32 = 8 * 1024;

fn writer(spares: &Spares) -> SegmentWriter {
    SegmentWriter::start(spares.clone())
}

/// Ends the segment and returns where the memory of the next one is.
fn roll(writer: &mut SegmentWriter, memory: u32, budget: &Budget) -> *const u8 {
    writer.roll(Size::within(memory, 32), budget).unwrap();
    writer.tail()[0] = 7;
    writer.publish(Mark { len: 1, ..Mark::default() });
    writer.segment().bytes().as_ptr()
}

#[test]
fn memory_that_nobody_holds_is_that_of_the_next_segment_of_any_stream() {
    let (server, spares) = (Budget::new(None), Spares::default());
    let (first, second) = (server.child(), server.child());
    let (mut one, mut other) = (writer(&spares), writer(&spares));
    let held = roll(&mut one, SIZE, &first);
    let holder = Arc::clone(one.segment());
    let fresh = roll(&mut one, SIZE, &first);
    assert!(roll(&mut other, SIZE, &second) != held, "somebody holds it");
    drop(holder);
    assert_eq!((first.used(), second.used(), server.used()), (8192, 8192, 3 * 8192), "it is charged to the server");
    assert_eq!(roll(&mut other, SIZE, &second), held);
    assert_eq!((second.used(), server.used()), (8192, 3 * 8192), "the segment before it is spare now");
    drop(one);
    assert_eq!(roll(&mut other, SIZE, &second), fresh, "what was given last");
    drop(other);
    assert_eq!(server.used(), 0, "no segment is in use, and so none is spare");
}

#[test]
fn no_more_is_spare_than_in_use() {
    let (server, spares) = (Budget::new(None), Spares::default());
    let mut writer = writer(&spares);
    roll(&mut writer, SIZE, &server);
    let holder = Arc::clone(writer.segment());
    for _ in 0..9 {
        roll(&mut writer, SIZE, &server);
    }
    assert_eq!(server.used(), 10 * 8192);
    drop(holder);
    assert_eq!(server.used(), 2 * 8192);
}

#[test]
fn spare_memory_of_another_size_goes_where_one_is_missing() {
    let (server, spares) = (Budget::new(None), Spares::default());
    let mut writer = writer(&spares);
    for _ in 0..3 {
        roll(&mut writer, SIZE, &server);
    }
    assert_eq!(server.used(), 2 * 8192);
    roll(&mut writer, 2 * SIZE, &server);
    assert_eq!(server.used(), 3 * 8192, "the spare one is gone, and the last one is spare");
}

#[test]
fn memory_of_one_large_message_is_not_kept() {
    let (server, spares) = (Budget::new(None), Spares::default());
    let mut writer = writer(&spares);
    for _ in 0..3 {
        writer.roll(Size::of(1_000_000, 1), &server).unwrap();
    }
    assert_eq!(server.used(), 1_000_024);
}

#[test]
fn none_is_spare_while_more_than_half_of_the_limit_is_used() {
    let (server, spares) = (Budget::new(Some(10 * 8192)), Spares::default());
    let (stream, mut writer) = (server.child(), writer(&spares));
    for _ in 0..3 {
        roll(&mut writer, SIZE, &stream);
    }
    assert_eq!(server.used(), 2 * 8192);
    let others = server.charge(5 * 8192).unwrap();
    roll(&mut writer, SIZE, &stream);
    assert_eq!(server.used(), 6 * 8192);
    drop(others);
    roll(&mut writer, SIZE, &stream);
    assert_eq!(server.used(), 2 * 8192);
    spares.clear();
    assert_eq!(server.used(), 8192);
}

#[test]
fn spare_memory_is_given_up_for_a_message_that_needs_it() {
    let (server, spares) = (Budget::new(Some(10 * 8192)), Spares::default());
    let mut writer = writer(&spares);
    let holders = (0..2).map(|_| {
        roll(&mut writer, SIZE, &server);
        Arc::clone(writer.segment())
    });
    drop(holders.collect::<Vec<_>>());
    roll(&mut writer, SIZE, &server);
    assert_eq!(server.used(), 2 * 8192);
    writer.roll(Size::of(9 * 8192 - 24, 1), &server).unwrap();
}
