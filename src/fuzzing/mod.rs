//! The bodies of the fuzz targets, and their tools, which tests use too: golden vectors, a seeded generator, a mutator.
//!
//! Not part of the API. A body takes any bytes and panics if a check fails; `cargo test` runs each for a while over
//! mutated vectors, and cargo-fuzz may run them for longer.

#[cfg(feature = "librtmp")]
mod librtmp;
pub(crate) mod log;
mod operations;
mod peers;
#[cfg(test)]
#[cfg_attr(any(loom, not(feature = "librtmp")), allow(dead_code, reason = "such builds do not use all seeds"))]
pub(crate) mod seeds;
mod session;
pub(crate) mod snapshot;
#[cfg(test)]
pub(crate) mod tables;
#[cfg(test)]
pub(crate) mod vectors;
pub(crate) mod worker;

#[cfg(feature = "librtmp")]
pub use librtmp::{librtmp_amf, librtmp_session};
pub use log::log_operations;
pub use operations::operations;
pub use peers::{auth, http, rtmpe, swf, urls};
#[cfg(test)]
pub(crate) use session::conversation;
pub use session::{amf0, client_session, flv, server_session};
pub use snapshot::{exported_session, exported_stream, exported_target, session_snapshot};
pub use worker::worker_messages;

use std::time::{Duration, Instant};

use crate::error::{Failure, RRError};
use crate::net::proxy;
use crate::proto::chunk_read::{ChunkReader, ReadLimits};
use crate::proto::chunk_write;
use crate::proto::message::MessageHead;

/// A message with its body.
pub(crate) type Message = (MessageHead, Vec<u8>);

/// Limits small enough that mutated input reaches them. The chunk vectors are made for these limits.
pub const LIMITS: ReadLimits = ReadLimits { max_message: 100_000, max_open_bytes: 150_000, max_chunk_streams: 8 };

/// A small generator (xorshift64*), for repeatable tests, not for secrets.
#[derive(Clone, Debug)]
pub struct XorShift(u64);

impl XorShift {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % (end as u64).max(1)) as usize
    }
}

/// Fuzz body: the PROXY reader accepts or refuses any bytes, or asks for more, within bounds; bytes after a header
/// change nothing.
pub fn proxy_header(data: &[u8]) {
    match proxy::parse(data) {
        Ok(Some(header)) => {
            assert!(header.bytes <= data.len() && header.bytes <= proxy::HEADER_MAX_BYTES);
            assert_eq!(proxy::parse(&data[..header.bytes]), Ok(Some(header)));
        }
        Ok(None) => assert!(data.len() < proxy::HEADER_MAX_BYTES, "waits for more than a header can have"),
        Err(failure) => assert!(failure.by_peer),
    }
}

/// Fewest mutations that are tried, however slow the machine is.
const LEAST: u64 = 200;

/// Gives `body` mutations of `seeds` for `millis` milliseconds, each seed unchanged first. Returns how many were tried.
pub fn mutate_corpus(seeds: &[Vec<u8>], seed: u64, millis: u64, mut body: impl FnMut(&[u8])) -> u64 {
    let mut random = XorShift::new(seed);
    seeds.iter().for_each(|seed| body(seed));
    let (start, mut tried) = (Instant::now(), seeds.len() as u64);
    while start.elapsed() < Duration::from_millis(millis) || tried < LEAST {
        let mut data = seeds.get(random.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..=random.below(6) {
            mutate(&mut data, seeds, &mut random);
        }
        body(&data);
        tried += 1;
    }
    tried
}

/// Makes one change: a bit, a byte, an interesting number, a piece removed, doubled or inserted, or a seed appended.
fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut XorShift) {
    let at = random.below(data.len());
    let end = (at + 1 + random.below(24)).min(data.len());
    match random.below(8) {
        0 if !data.is_empty() => data[at] ^= 1 << random.below(8),
        1 if !data.is_empty() => data[at] = random.number() as u8,
        2 if !data.is_empty() => {
            let value = [0, 0x7F, 0x80, 0xFF, 0x40, 0xC0, 1, 2][random.below(8)];
            data[at..end].fill(value);
        }
        3 => drop(data.drain(at..end.max(at))),
        4 => data.truncate(at),
        5 => {
            let piece = data[at..end.max(at)].to_vec();
            let to = random.below(data.len() + 1);
            data.splice(to..to, piece);
        }
        6 => {
            let bytes: Vec<u8> = (0..=random.below(6)).map(|_| random.number() as u8).collect();
            data.splice(at..at, bytes);
        }
        _ => data.extend_from_slice(seeds.get(random.below(seeds.len())).map_or(&[][..], Vec::as_slice)),
    }
    data.truncate(512 * 1024);
}

/// The results of a reader for some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// The error that ended the reading.
    pub error: Option<RRError>,
    /// Abandoned messages.
    pub discarded: u64,
    /// Bytes still half-read.
    pub open_bytes: usize,
}

/// Reads `wire`, cut before each of the ascending positions `cuts`.
///
/// # Panics
/// If the reader fails a check that holds for every input.
pub fn decode(limits: ReadLimits, wire: &[u8], cuts: impl IntoIterator<Item = usize>) -> Decoded {
    let mut reader = ChunkReader::new(limits);
    let (mut messages, mut from) = (Vec::new(), 0);
    let mut error: Option<Failure> = None;
    for end in cuts.into_iter().chain([wire.len()]) {
        let (input, mut at) = (&wire[from..end], 0);
        from = end;
        loop {
            let before = at;
            match reader.next(input, &mut at) {
                Ok(Some(head)) => {
                    let body = reader.body(input);
                    assert_eq!(body.len(), head.len as usize);
                    assert!(head.len <= limits.max_message && (2..=65_599).contains(&head.chunk_stream));
                    messages.push((head, body.to_vec()));
                }
                Ok(None) => {
                    assert_eq!(at, input.len(), "None means that all is consumed");
                    assert!(reader.body(input).is_empty());
                    break;
                }
                Err(failure) => {
                    assert!(failure.by_peer, "{failure}");
                    assert!(reader.next(input, &mut at).is_err(), "an error is final");
                    error = Some(failure);
                    break;
                }
            }
            assert!(before <= at && at <= input.len());
            assert!(reader.open_bytes() <= limits.max_open_bytes);
        }
        assert!(reader.open_bytes() <= limits.max_open_bytes);
        assert!(reader.heap_bytes() <= 4 * limits.max_open_bytes, "memory follows what arrived");
        if error.is_some() {
            break;
        }
    }
    let (discarded, open_bytes) = (reader.discarded(), reader.open_bytes());
    Decoded { messages, error: error.map(|failure| failure.kind), discarded, open_bytes }
}

/// Fuzz body: any bytes, read whole, byte by byte and at random cuts, give the same messages and the same end.
///
/// # Panics
/// If they do not, or a limit is exceeded.
pub fn chunk_reader(data: &[u8]) {
    let whole = decode(LIMITS, data, []);
    if data.len() < 4096 {
        assert_eq!(whole, decode(LIMITS, data, 1..data.len()), "byte by byte");
    }
    let mut random =
        XorShift::new(data.iter().fold(data.len() as u64, |sum, &byte| sum * 31 % 0xFFFF_FFFB + u64::from(byte)));
    for _ in 0..3 {
        let mut cuts: Vec<usize> = (0..random.below(40)).map(|_| random.below(data.len())).collect();
        cuts.sort_unstable();
        assert_eq!(whole, decode(LIMITS, data, cuts.iter().copied()), "cut at {cuts:?}");
    }
}

/// Fuzz body: the reader and `body_of` read back every message written. The first bytes make the head.
///
/// # Panics
/// If one is not.
pub fn chunk_writer(data: &[u8]) {
    let Some((setup, body)) = data.split_first_chunk::<16>() else { return };
    let word = |at: usize| u32::from_le_bytes([setup[at], setup[at + 1], setup[at + 2], setup[at + 3]]);
    let body = &body[..body.len().min(LIMITS.max_message as usize)];
    let head = MessageHead {
        timestamp_ms: word(0),
        type_id: setup[4] | 8, // never Set Chunk Size or Abort
        stream_id: word(5),
        len: body.len() as u32,
        chunk_stream: 2 + word(9) % (65_599 - 2),
    };
    let chunk_size = (word(12) & 0x7FFF_FFFF).max(1) >> (setup[4] & 24);
    let chunk_size = chunk_size.max(1);
    let announce = MessageHead { type_id: 1, len: 4, chunk_stream: 2, ..MessageHead::default() };
    let mut wire = Vec::new();
    chunk_write::encode(&announce, &chunk_size.to_be_bytes(), 128, &mut wire);
    let start = wire.len();
    chunk_write::encode(&head, body, chunk_size, &mut wire);
    let mut written = vec![0; chunk_write::wire_len(&head, chunk_size)];
    assert_eq!(chunk_write::encode_into(&head, body, chunk_size, &mut written), written.len());
    assert_eq!(written, wire[start..]);
    let (read, read_body) = chunk_write::body_of(&written, chunk_size).expect("what the writer wrote");
    assert_eq!((read, &*read_body), (head, body));
    let decoded = decode(LIMITS, &wire, [start]);
    assert_eq!(decoded.error, None);
    assert_eq!(decoded.messages[1..], [(head, body.to_vec())]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_reader_keeps_its_promises_on_mutated_vectors() {
        let tried = mutate_corpus(&seeds::chunks(), 1, 2000, chunk_reader);
        assert!(tried > 100, "only {tried} inputs");
    }

    #[test]
    fn every_message_the_chunk_writer_writes_is_read_back() {
        let tried = mutate_corpus(&seeds::chunks(), 2, 1000, chunk_writer);
        assert!(tried > 100, "only {tried} inputs");
    }
}
