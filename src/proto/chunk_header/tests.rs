//! Tests of `parse_header` without the chunk reader.

use super::*;

const OPEN: Previous = Previous {
    timestamp_ms: 0x0100_000A,
    field_ms: 0x0100_0000,
    len: 1000,
    stream_id: 1,
    type_id: 9,
    extended: true,
    repeat: Repeat::Unknown,
    open: true,
};

fn header(bytes: &[u8], previous: Option<Previous>) -> ChunkHeader {
    match parse_header(bytes, |_| previous.as_ref()) {
        Ok(Step::Header(header)) => header,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_header_asks_for_no_more_than_is_missing() {
    for (bytes, previous) in [
        (&[4, 0, 0, 1, 0, 0, 5, 8, 1, 0, 0, 0][..], None),
        (&[1, 9, 9, 0xFF, 0xFF, 0xFF, 0, 0, 5, 8, 1, 0, 0, 0, 1, 2, 3, 4], None),
        (&[0x40, 9, 0xFF, 0xFF, 0xFF, 0, 0, 5, 8, 1, 2, 3, 4], None),
        (&[0x81, 9, 9, 0, 0, 5], Some(OPEN)),
        (&[0xC6, 1, 0, 0, 0], Some(OPEN)),
        (&[0xC6, 1, 0, 0, 0], Some(Previous { open: false, ..OPEN })),
    ] {
        for cut in 0..bytes.len() {
            match parse_header(&bytes[..cut], |_| previous.as_ref()) {
                Ok(Step::Need(more)) => assert!((1..=bytes.len() - cut).contains(&more), "{bytes:x?} cut at {cut}"),
                other => panic!("{bytes:x?} cut at {cut}: {other:?}"),
            }
        }
        let whole = header(bytes, previous);
        assert_eq!(whole.size, bytes.len());
        let longer = [bytes, &[0xFF; 20]].concat();
        assert_eq!(header(&longer, previous), whole, "what follows does not matter");
    }
}

#[test]
fn a_header_says_whether_a_message_starts_and_what_to_remember() {
    let continuation = header(&[0xC6, 1, 0, 0, 0], Some(OPEN));
    assert_eq!((continuation.fmt, continuation.starts, continuation.chunk_stream), (3, false, 6));
    assert_eq!(continuation.next, Previous { repeat: Repeat::Yes, ..OPEN }, "nothing but the habit is new");

    let restart = header(&[0x86, 0, 0, 10], Some(OPEN));
    let next = Previous { timestamp_ms: 0x0100_0014, field_ms: 10, extended: false, ..OPEN };
    assert_eq!((restart.starts, restart.next), (true, next));

    let empty = header(&[4, 0, 0, 1, 0, 0, 0, 8, 1, 0, 0, 0], None);
    assert!(empty.starts && !empty.next.open, "an empty message is whole with its header");
    assert_eq!(empty.next.head(4).type_id, 8);
}

#[test]
fn a_missing_repetition_is_seen_at_the_first_byte_that_differs() {
    let absent = |bytes: &[u8]| header(bytes, Some(OPEN)).next.repeat == Repeat::No;
    assert!(absent(&[0xC6, 2]));
    assert!(absent(&[0xC6, 1, 1]));
    assert!(absent(&[0xC6, 1, 0, 0, 1]));
    assert!(!absent(&[0xC6, 1, 0, 0, 0x0A]), "the absolute time counts as a repetition");
}
