//! Tests of the chunk reader: by the golden vectors, against rml_rtmp, and of its memory.

use bytes::Bytes;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;

use super::*;
use crate::fuzzing::{Decoded, LIMITS, XorShift, decode};
use crate::fuzzing::{Message, vectors};
use crate::proto::chunk_write;

#[test]
fn vectors_decode_whole_byte_by_byte_and_at_every_cut() {
    let vectors = vectors::chunk();
    assert!(vectors.len() > 50);
    for vector in vectors {
        let wanted =
            Decoded { messages: vector.messages, error: vector.error, discarded: vector.discarded, open_bytes: 0 };
        let check = |decoded: Decoded, how: &dyn std::fmt::Display| {
            let open_bytes = if wanted.error.is_none() { decoded.open_bytes } else { 0 };
            assert_eq!(Decoded { open_bytes, ..decoded }, wanted, "[{}] ({}) {how}", vector.name, vector.origin);
        };
        let size = vector.bytes.len();
        check(decode(LIMITS, &vector.bytes, []), &"whole");
        check(decode(LIMITS, &vector.bytes, 1..size), &"byte by byte");
        for cut in (0..size).step_by(1 + size / 2000) {
            check(decode(LIMITS, &vector.bytes, [cut]), &format_args!("cut at {cut}"));
        }
    }
}

#[test]
fn our_writer_writes_the_vectors_that_are_marked_as_ours() {
    let mut tried = 0;
    for vector in vectors::chunk() {
        let Some(chunk_size) = vector.encode else { continue };
        let mut wire = Vec::new();
        for (head, body) in &vector.messages {
            chunk_write::encode(head, body, chunk_size, &mut wire);
        }
        assert_eq!(wire, vector.bytes, "[{}]", vector.name);
        tried += 1;
    }
    assert!(tried > 12);
}

/// Messages as a session might send them; none is empty, which rml_rtmp's serializer cannot write.
fn random_messages(random: &mut XorShift, count: usize) -> Vec<Message> {
    let mut time = random.number() as u32;
    (0..count)
        .map(|_| {
            time = time.wrapping_add([0, 23, 23, 40, 1000, 0x100_0000][random.below(6)]);
            let longest = [4, 300, 5000][random.below(3)];
            let len = 1 + random.below(longest);
            let body: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
            let type_id = [8, 9, 18, 20, 22][random.below(5)];
            let chunk_stream = 2 + random.below(6) as u32;
            (MessageHead { timestamp_ms: time, type_id, stream_id: 1, len: len as u32, chunk_stream }, body)
        })
        .collect()
}

fn payload((head, body): &Message) -> MessagePayload {
    MessagePayload {
        timestamp: RtmpTimestamp::new(head.timestamp_ms),
        type_id: head.type_id,
        message_stream_id: head.stream_id,
        data: Bytes::from(body.clone()),
    }
}

#[test]
fn reads_what_rml_rtmp_writes() {
    let mut random = XorShift::new(3);
    for _ in 0..60 {
        let messages = random_messages(&mut random, 40);
        let chunk_size = [1, 100, 128, 4096, 60_000][random.below(5)];
        let mut writer = ChunkSerializer::new();
        let mut wire = writer.set_max_chunk_size(chunk_size, RtmpTimestamp::new(0)).unwrap().bytes;
        for message in &messages {
            wire.extend(writer.serialize(&payload(message), false, random.below(4) == 0).unwrap().bytes);
        }
        let cuts: Vec<usize> = (1..wire.len()).step_by(1 + random.below(wire.len())).collect();
        let decoded = decode(LIMITS, &wire, cuts);
        assert_eq!(decoded.error, None);
        assert_eq!(decoded.messages.len(), messages.len() + 1);
        for ((read, read_body), (head, body)) in decoded.messages[1..].iter().zip(&messages) {
            // rml_rtmp chooses the chunk stream.
            assert_eq!(MessageHead { chunk_stream: head.chunk_stream, ..*read }, *head);
            assert_eq!(read_body, body);
        }
    }
}

#[test]
fn rml_rtmp_reads_what_our_writer_writes() {
    let mut random = XorShift::new(4);
    for _ in 0..60 {
        let messages = random_messages(&mut random, 40);
        let chunk_size = [1, 100, 128, 4096, 60_000][random.below(5)];
        let mut wire = Vec::new();
        for (head, body) in &messages {
            chunk_write::encode(head, body, chunk_size, &mut wire);
        }
        let mut reader = ChunkDeserializer::new();
        reader.set_max_chunk_size(chunk_size as usize).unwrap();
        let mut input = &wire[..];
        for message in &messages {
            assert_eq!(reader.get_next_message(input).unwrap(), Some(payload(message)));
            input = &[];
        }
        assert_eq!(reader.get_next_message(&[]).unwrap(), None);
    }
}

#[test]
fn messages_interleaved_at_random_come_out_whole() {
    let mut random = XorShift::new(5);
    for _ in 0..40 {
        // One message for each chunk stream at a time, whole chunks of them sent in random order.
        let mut sources: Vec<(Message, usize)> = random_messages(&mut random, 6)
            .into_iter()
            .zip([3, 4, 6, 70, 400, 65_599])
            .map(|((head, body), chunk_stream)| ((MessageHead { chunk_stream, ..head }, body), 0))
            .collect();
        let (mut wire, mut wanted) = (Vec::new(), Vec::new());
        while !sources.is_empty() {
            let pick = random.below(sources.len());
            let ((head, body), sent) = &mut sources[pick];
            let mut whole = Vec::new();
            chunk_write::encode(head, body, 128, &mut whole);
            let total = whole.len();
            let header = chunk_write::wire_len(&MessageHead { len: 0, ..*head }, 128);
            let step = if *sent == 0 { header + 128 } else { header - 11 + 128 };
            let end = (*sent + step).min(total);
            wire.extend_from_slice(&whole[*sent..end]);
            *sent = end;
            if end == total {
                wanted.push(sources.remove(pick).0);
            }
        }
        let cuts: Vec<usize> = (1..wire.len()).step_by(1 + random.below(wire.len() / 2)).collect();
        assert_eq!(decode(LIMITS, &wire, cuts).messages, wanted);
    }
}

#[test]
fn a_message_in_one_chunk_of_the_input_is_not_copied() {
    let mut wire = Vec::new();
    let head = MessageHead { timestamp_ms: 1, type_id: 8, stream_id: 1, len: 100, chunk_stream: 4 };
    chunk_write::encode(&head, &[7; 100], 128, &mut wire);
    let mut reader = ChunkReader::new(LIMITS);
    let mut at = 0;
    assert_eq!(reader.next(&wire, &mut at).unwrap(), Some(head));
    assert!(wire.as_ptr_range().contains(&reader.body(&wire).as_ptr()));
    assert_eq!(reader.next(&wire, &mut at).unwrap(), None);
    assert!(reader.body(&wire).is_empty());
}

#[test]
fn an_idle_reader_holds_next_to_nothing() {
    let limits = ReadLimits { max_message: 1 << 24, max_open_bytes: 1 << 25, max_chunk_streams: 64 };
    let mut reader = ChunkReader::new(limits);
    assert_eq!(reader.heap_bytes(), 0);
    assert!(size_of::<ChunkReader>() < 512 && size_of::<Slot>() <= 64);
    let mut read_all = |wire: &[u8]| {
        let mut at = 0;
        // As a driver does, it is not asked again where that would do nothing.
        while reader.next(wire, &mut at).unwrap().is_some() && !(at == wire.len() && reader.is_dry()) {}
        reader.heap_bytes()
    };
    let head = MessageHead { timestamp_ms: 1, type_id: 9, stream_id: 1, len: 3_000_000, chunk_stream: 6 };
    let mut wire = Vec::new();
    chunk_write::encode(&head, &vec![7; 3_000_000], 128, &mut wire);
    assert!(read_all(&wire) < 512, "a large message's buffer goes back at once");
    let (head, mut wire) = (MessageHead { len: 10_240, ..head }, Vec::new());
    chunk_write::encode(&head, &[7; 10_240], 128, &mut wire);
    let busy = read_all(&wire);
    assert!((10_240..20_000).contains(&busy), "a moderate one's stays for the next");
    assert_eq!(read_all(&wire), busy, "and is used for it");
    assert_eq!(read_all(&wire[..12]), busy, "also where only the header has come");
    assert_eq!(read_all(&wire[12..]), busy);
    let (head, mut wire) = (MessageHead { len: 100, ..head }, Vec::new());
    chunk_write::encode(&head, &[7; 100], 128, &mut wire);
    for _ in 0..8 {
        read_all(&wire);
    }
    assert!(read_all(&wire) < 512, "until it is not used any more");
}

#[test]
fn a_claimed_length_is_not_reserved() {
    let limits = ReadLimits { max_message: 1 << 24, max_open_bytes: 1 << 25, max_chunk_streams: 64 };
    let mut reader = ChunkReader::new(limits);
    let announce = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF];
    assert!(reader.next(&announce, &mut 0).unwrap().is_some());
    let before = reader.heap_bytes();
    let wire = [4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0, 0xAA];
    assert_eq!(reader.next(&wire, &mut 0).unwrap(), None);
    assert!(reader.heap_bytes() - before < 1024, "one byte of 16 million has arrived");
    for _ in 0..100 {
        assert_eq!(reader.next(&[0xBB; 10_000], &mut 0).unwrap(), None);
        assert!(reader.heap_bytes() <= 2 * reader.open_bytes() + 1024);
    }
    assert_eq!(reader.open_bytes(), 1_000_001);
}

#[test]
fn the_bound_of_half_read_bytes_holds_for_small_chunks_in_one_read() {
    let limits = ReadLimits { max_message: 10_000, max_open_bytes: 1000, max_chunk_streams: 4 };
    let head = MessageHead { timestamp_ms: 1, type_id: 9, stream_id: 1, len: 700, chunk_stream: 6 };
    let mut wire = Vec::new();
    chunk_write::encode(&head, &[7; 700], 128, &mut wire);
    wire.truncate(12 + 5 * 128 + 4); // 640 bytes stay half-read
    let audio = MessageHead { chunk_stream: 4, ..head };
    chunk_write::encode(&MessageHead { len: 360, ..audio }, &[8; 360], 128, &mut wire);
    let fits = decode(limits, &wire, []);
    assert_eq!((fits.messages.len(), fits.error, fits.open_bytes), (1, None, 640));
    chunk_write::encode(&MessageHead { len: 361, ..audio }, &[8; 361], 128, &mut wire);
    let past = decode(limits, &wire, []);
    assert_eq!((past.messages.len(), past.error, past.open_bytes), (1, Some(RRError::Limit), 640 + 256));
    assert_eq!(past, decode(limits, &wire, 1..wire.len()));
}

#[test]
fn limits_may_be_raised_in_between() {
    let small = ReadLimits { max_message: 100, max_open_bytes: 100, max_chunk_streams: 1 };
    let head = MessageHead { timestamp_ms: 1, type_id: 9, stream_id: 1, len: 101, chunk_stream: 6 };
    let mut wire = Vec::new();
    chunk_write::encode(&head, &[7; 101], 128, &mut wire);
    let mut reader = ChunkReader::new(small);
    assert_eq!(reader.next(&wire, &mut 0).unwrap_err().kind, RRError::Limit);
    let mut reader = ChunkReader::new(small);
    reader.set_limits(LIMITS);
    assert_eq!(reader.next(&wire, &mut 0).unwrap(), Some(head));
}
