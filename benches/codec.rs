//! The cost of a message in the chunk reader and writer, compared with rml_rtmp's and with a plain copy of the same
//! bytes.
//!
//! CPU time of this thread, rounds of all contestants interleaved, medians. Run with `cargo bench --bench codec`.
// The clock of a thread's CPU time has no safe form in std.
#![allow(unsafe_code)]

use std::hint::black_box;

use bytes::Bytes;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::chunk_write;
use rrelay::proto::message::MessageHead;

const BODY_BYTES: usize = 10_240;
const READ_BYTES: usize = 64 * 1024;
/// Messages of one pass: the input stays in the second level cache.
const MESSAGES: usize = 32;
const PASSES: usize = 20;
const ROUNDS: usize = 41;

fn main() {
    println!(
        "10,240-byte video messages, {} KB reads, ns of CPU per message (median of {ROUNDS} rounds)",
        READ_BYTES >> 10
    );
    for chunk_size in [4096, 128] {
        run(chunk_size);
    }
}

fn run(chunk_size: u32) {
    let body: Vec<u8> = (0..BODY_BYTES).map(|i| (i * 31 % 251) as u8).collect();
    let heads: Vec<MessageHead> = (0..MESSAGES as u32)
        .map(|i| MessageHead {
            timestamp_ms: i * 33,
            type_id: 9,
            stream_id: 1,
            len: BODY_BYTES as u32,
            chunk_stream: 6,
        })
        .collect();
    let payloads: Vec<MessagePayload> = heads
        .iter()
        .map(|head| MessagePayload {
            timestamp: RtmpTimestamp::new(head.timestamp_ms),
            type_id: head.type_id,
            message_stream_id: head.stream_id,
            data: Bytes::from(body.clone()),
        })
        .collect();
    let mut wire = Vec::new();
    for head in &heads {
        chunk_write::encode(head, &body, chunk_size, &mut wire);
    }

    let limits = ReadLimits { max_message: 1 << 24, max_open_bytes: 1 << 25, max_chunk_streams: 64 };
    let mut reader = ChunkReader::new(limits);
    let mut announce = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    announce.extend_from_slice(&chunk_size.to_be_bytes());
    assert!(reader.next(&announce, &mut 0).is_ok_and(|message| message.is_some()));
    let mut rml_reader = ChunkDeserializer::new();
    rml_reader.set_max_chunk_size(chunk_size as usize).expect("in range");
    let mut rml_writer = ChunkSerializer::new();
    rml_writer.set_max_chunk_size(chunk_size, RtmpTimestamp::new(0)).expect("in range");
    let mut copy = vec![0; READ_BYTES];
    let mut out = Vec::new();
    let mut slice = vec![0; wire.len()];

    let mut contestants: [(&str, &mut dyn FnMut()); 6] = [
        ("memcpy of the wire", &mut || {
            for read in wire.chunks(READ_BYTES) {
                copy[..read.len()].copy_from_slice(black_box(read));
                black_box(&copy);
            }
        }),
        ("read, rrelay", &mut || {
            let mut messages = 0;
            for read in wire.chunks(READ_BYTES) {
                let (read, mut at) = (black_box(read), 0);
                while let Some(head) = reader.next(read, &mut at).expect("well formed") {
                    black_box((head, reader.body(read)));
                    messages += 1;
                }
            }
            assert_eq!(messages, MESSAGES);
        }),
        ("read, rml_rtmp", &mut || {
            let mut messages = 0;
            for read in wire.chunks(READ_BYTES) {
                let mut read = black_box(read);
                while let Some(message) = rml_reader.get_next_message(read).expect("well formed") {
                    black_box(message);
                    messages += 1;
                    read = &[];
                }
            }
            assert_eq!(messages, MESSAGES);
        }),
        ("write, rrelay encode", &mut || {
            for head in &heads {
                out.clear();
                chunk_write::encode(black_box(head), &body, chunk_size, &mut out);
                black_box(&out);
            }
        }),
        ("write, rrelay encode_into", &mut || {
            for head in &heads {
                black_box(chunk_write::encode_into(black_box(head), &body, chunk_size, &mut slice));
            }
        }),
        ("write, rml_rtmp", &mut || {
            for payload in &payloads {
                black_box(rml_writer.serialize(black_box(payload), false, false).expect("well formed"));
            }
        }),
    ];

    let mut times = [const { Vec::new() }; 6];
    for _ in 0..ROUNDS {
        for ((_, contestant), times) in contestants.iter_mut().zip(&mut times) {
            let start = cpu_ns();
            for _ in 0..PASSES {
                contestant();
            }
            times.push((cpu_ns() - start) as f64 / (PASSES * MESSAGES) as f64);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    });
    println!("\nchunks of {chunk_size} bytes");
    for ((name, _), ns) in contestants.iter().zip(medians) {
        println!("  {name:26} {ns:8.0}");
    }
    let [_, read, rml_read, write, write_into, rml_write] = medians;
    println!("  read: {:.1} times cheaper than rml_rtmp", rml_read / read);
    println!(
        "  write: {:.1} times cheaper than rml_rtmp (encode), {:.1} times (encode_into)",
        rml_write / write,
        rml_write / write_into
    );
}

/// CPU time of this thread in nanoseconds.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, valid for the call.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
