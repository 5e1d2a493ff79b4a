//! The chunk codec allocates nothing for a message once its buffers have grown.
// A counting allocator implements an unsafe trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::chunk_write;
use rrelay::proto::message::MessageHead;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: ReadLimits = ReadLimits { max_message: 1 << 24, max_open_bytes: 1 << 25, max_chunk_streams: 64 };

/// Forty milliseconds of a publisher: a video message of many chunks, and audio in one.
fn group(chunk_size: u32) -> Vec<u8> {
    let video = MessageHead { timestamp_ms: 40, type_id: 9, stream_id: 1, len: 10_240, chunk_stream: 6 };
    let audio = MessageHead { timestamp_ms: 40, type_id: 8, stream_id: 1, len: 300, chunk_stream: 4 };
    let mut wire = Vec::new();
    chunk_write::encode(&video, &[9; 10_240], chunk_size, &mut wire);
    chunk_write::encode(&audio, &[8; 300], chunk_size, &mut wire);
    chunk_write::encode(&audio, &[8; 300], chunk_size, &mut wire);
    wire
}

fn read(reader: &mut ChunkReader, input: &[u8]) -> usize {
    let (mut at, mut messages) = (0, 0);
    while let Some(head) = reader.next(input, &mut at).expect("well formed") {
        assert_eq!(reader.body(input).len(), head.len as usize);
        messages += 1;
    }
    messages
}

#[test]
fn reading_allocates_nothing_per_message_however_the_input_is_cut() {
    let before = COUNT.get();
    let mut reader = ChunkReader::new(LIMITS);
    assert_eq!(COUNT.get(), before, "a new reader is free of allocations");
    let wire = group(128).repeat(50);
    for piece in [100, 1448, 10_800, 65_536] {
        for warm in [true, false] {
            let before = COUNT.get();
            let messages: usize = wire.chunks(piece).map(|input| read(&mut reader, input)).sum();
            assert_eq!(messages, 150);
            assert!(warm || COUNT.get() == before, "{} allocations in pieces of {piece}", COUNT.get() - before);
        }
    }
}

#[test]
fn writing_into_a_buffer_allocates_nothing() {
    let head = MessageHead { timestamp_ms: 40, type_id: 9, stream_id: 1, len: 10_240, chunk_stream: 6 };
    let mut out = Vec::with_capacity(chunk_write::wire_len(&head, 128));
    let mut slice = vec![0; chunk_write::wire_len(&head, 128)];
    let before = COUNT.get();
    chunk_write::encode(&head, &[9; 10_240], 128, &mut out);
    chunk_write::encode_into(&head, &[9; 10_240], 128, &mut slice);
    assert!(COUNT.get() == before && out == slice);
}
