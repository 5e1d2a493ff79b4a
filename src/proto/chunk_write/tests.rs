//! Tests of the chunk writer. The tests of `proto::chunk_read` show that other readers understand its bytes.

use super::*;

fn head(timestamp_ms: u32, len: u32, chunk_stream: u32) -> MessageHead {
    MessageHead { timestamp_ms, type_id: 9, stream_id: 0x0102_0304, len, chunk_stream }
}

#[test]
fn encode_into_writes_what_encode_appends_and_body_of_reads_it_back() {
    let body: Vec<u8> = (0..1000_u32).map(|i| (i % 251) as u8).collect();
    for timestamp_ms in [0, EXTENDED - 1, EXTENDED, u32::MAX] {
        for chunk_stream in [2, 63, 64, 319, 320, CHUNK_STREAM_MAX] {
            for len in [0, 1, 127, 128, 129, 256, 257, 1000] {
                for chunk_size in [1, 2, 128, 999, 1000, 1001, CHUNK_SIZE_MAX_TRIED] {
                    let (head, body) = (head(timestamp_ms, len, chunk_stream), &body[..len as usize]);
                    let mut appended = vec![0xEE];
                    encode(&head, body, chunk_size, &mut appended);
                    let size = wire_len(&head, chunk_size);
                    assert_eq!(appended.len() - 1, size, "{head:?} at {chunk_size}");

                    let mut dst = vec![0xEE; size + 1];
                    assert_eq!(encode_into(&head, body, chunk_size, &mut dst), size);
                    assert_eq!((&dst[..size], dst[size]), (&appended[1..], 0xEE), "nothing beyond is touched");
                    let (left, right) = body.split_at(body.len() / 3);
                    dst.fill(0);
                    assert_eq!(encode_parts_into(&head, &[left, &[], right], chunk_size, &mut dst), size);
                    assert_eq!(dst[..size], appended[1..]);

                    let (read, read_body) = body_of(&appended[1..], chunk_size).unwrap();
                    assert_eq!((read, &*read_body), (head, body));
                    assert_eq!(matches!(read_body, Cow::Borrowed(_)), len <= chunk_size, "copied only if it must be");
                    assert_eq!(body_of(&appended[1..size], chunk_size), None, "cut short");
                }
            }
        }
    }
}

const CHUNK_SIZE_MAX_TRIED: u32 = 0x7FFF_FFFF;

#[test]
fn body_of_refuses_what_the_writer_does_not_write() {
    let mut wire = Vec::new();
    encode(&head(5, 300, 6), &[7; 300], 128, &mut wire);
    assert!(body_of(&wire, 128).is_some());
    assert!(body_of(&wire, 100).is_none(), "another chunk size");
    let mut other = wire.clone();
    other[12 + 128] = 0xC5;
    assert!(body_of(&other, 128).is_none(), "another chunk stream in between");
    other[0] |= 0x40;
    assert!(body_of(&other, 128).is_none(), "not a full header");
    assert!(body_of(&[], 128).is_none());
}

#[test]
fn a_shorter_first_header_leaves_out_what_the_peer_knows() {
    let seen = Previous { type_id: 9, len: 3, stream_id: 0x0102_0304, ..Previous::default() };
    for (fmt, fields) in [(0, 11), (1, 7), (2, 3), (3, 0)] {
        for (timestamp_ms, extension) in [(40, 0), (EXTENDED + 7, 4)] {
            let mut wire = Vec::new();
            encode_as(fmt, &head(timestamp_ms, 3, 5), b"abc", 2, &mut wire);
            let first = 1 + fields + extension;
            assert_eq!(wire.len(), first + 2 + 1 + extension + 1, "fmt {fmt}: two chunks");
            assert_eq!((wire[0], wire[first + 2]), (fmt << 6 | 5, 0xC5));
            if extension == 4 && fmt == 3 {
                continue; // A type 3 header has an extended timestamp only where an earlier header had one.
            }
            let Ok(Step::Header(header)) = parse_header(&wire, |_| Some(&seen)) else { panic!("fmt {fmt}") };
            assert_eq!((header.size, header.fmt, header.chunk_stream), (first, fmt, 5));
            let read = header.next.head(5);
            assert_eq!((read.len, read.type_id, read.stream_id), (3, 9, 0x0102_0304));
        }
    }
}
