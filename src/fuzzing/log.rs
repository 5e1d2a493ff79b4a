//! Operations on a log, its cursors and its join index, against a model that is a plain vector.
//!
//! The input is a list of operations: the operation, the cursor, and an amount of two bytes. The model keeps every
//! message and every byte ever written; the log must return the same.

use crate::config::{CHUNK_SIZE, Start, media};
use crate::proto::chunk_write;
use crate::proto::frame;
use crate::proto::message::{MessageHead, kind};
use crate::stream::egress::join::{HeaderRewrite, HeaderSet, Join, JoinIndex, JoinPoint};
use crate::stream::log::buffer::{Entry, Head, RRBuffer, STREAM_ID, chunk_stream_of};
use crate::stream::log::cursor::{Cursor, Lag};
use crate::stream::log::segment::flag;
use crate::stream::memory::budget::Budget;

/// Bytes one run may write: the log of one run fits in a cache.
const MAX_BYTES: usize = 1 << 20;

const GOP_BYTES: u32 = 40_000;
const GOP_MS: u32 = 400;

/// One message of the model.
struct Line {
    entry: Entry,
    body: Vec<u8>,
    start: usize,
    end: usize,
}

/// Everything ever written.
#[derive(Default)]
struct Model {
    lines: Vec<Line>,
    wire: Vec<u8>,
    new_publisher: bool,
    /// How many messages the join index has seen.
    indexed: usize,
}

impl Model {
    /// The number of the message that byte `at` belongs to.
    fn number(&self, at: usize) -> usize {
        self.lines.partition_point(|line| line.end <= at)
    }

    fn indexed_end(&self) -> usize {
        self.indexed.checked_sub(1).map_or(0, |last| self.lines[last].end)
    }

    /// The first message of the publisher that message `end - 1` belongs to.
    fn publisher(&self, end: usize) -> usize {
        self.lines[..end].iter().rposition(|line| line.entry.flags & flag::NEW_PUBLISHER != 0).unwrap_or(0)
    }

    fn is_key(line: &Line) -> bool {
        line.entry.flags & flag::KEY != 0
    }

    /// The key frame that may be joined at, if it is within the bounds.
    fn gop_start(&self) -> Option<usize> {
        let first = self.publisher(self.indexed);
        let key = first + self.lines[first..self.indexed].iter().rposition(Self::is_key)?;
        let (line, last) = (&self.lines[key], &self.lines[self.indexed - 1]);
        let bytes = last.end - line.start;
        let age_us = last.entry.arrival_us - line.entry.arrival_us;
        (bytes <= GOP_BYTES as usize && age_us <= u64::from(GOP_MS) * 1000).then_some(key)
    }

    fn has_video(&self) -> bool {
        self.lines[self.publisher(self.indexed)..self.indexed].iter().any(|line| line.entry.type_id == kind::VIDEO)
    }

    /// The headers valid before message `end`, as `(type, body)` in the order in which their kinds first came.
    fn headers(&self, end: usize, publisher_of: usize) -> Vec<(u8, &[u8])> {
        let mut headers: Vec<(u8, &[u8])> = Vec::new();
        for line in &self.lines[self.publisher(publisher_of)..end] {
            if line.entry.flags & (flag::SEQ | flag::META) == 0 {
                continue;
            }
            let header = (line.entry.type_id, &line.body[..]);
            match headers.iter_mut().find(|other| other.0 == header.0) {
                Some(place) => *place = header,
                None if header.0 == kind::DATA => headers.insert(0, header),
                None => headers.push(header),
            }
        }
        headers
    }

    fn append(&mut self, log: &mut RRBuffer, what: u8, amount: usize) {
        let len = if what & 0xF0 == 0xF0 { amount * 8 } else { amount % 2000 };
        if self.wire.len() + len > MAX_BYTES {
            return;
        }
        let (type_id, start): (u8, &[u8]) = match what % 8 {
            0 => (kind::AUDIO, &[0xAF, 0]),
            1 => (kind::VIDEO, &[0x17, 0]),
            2 => (kind::VIDEO, &[0x17, 1]),
            3 => (kind::VIDEO, &[0x27, 1]),
            4 => (kind::DATA, b"\x02\x00\x0aonMetaData"),
            5 => (99, &[]),
            _ => (kind::AUDIO, &[0xAF, 1]),
        };
        let number = self.lines.len();
        let mut body = start.to_vec();
        body.extend((0..len).map(|at| (number * 7 + at) as u8));
        let facts = frame::facts(type_id, &body);
        let bit = |on: bool, flag: u8| if on { flag } else { 0 };
        let mut entry = Entry {
            ts_ms: (number as u32).wrapping_mul(0x00AB_CDEF),
            type_id,
            flags: bit(facts.key, flag::KEY) | bit(facts.seq_start, flag::SEQ) | bit(facts.metadata, flag::META),
            track: 0,
            arrival_us: number as u64 * 20_000,
        };
        log.append(&entry, &[&body[..body.len() / 3], &body[body.len() / 3..]]).expect("the budget has no limit");
        entry.flags |= bit(std::mem::take(&mut self.new_publisher), flag::NEW_PUBLISHER);
        let head = MessageHead {
            timestamp_ms: entry.ts_ms,
            type_id,
            stream_id: STREAM_ID,
            len: body.len() as u32,
            chunk_stream: chunk_stream_of(type_id),
        };
        let begin = self.wire.len();
        chunk_write::encode(&head, &body, CHUNK_SIZE, &mut self.wire);
        self.lines.push(Line { entry, body, start: begin, end: self.wire.len() });
    }

    fn check_cursor(&self, cursor: &mut Cursor, at: usize) {
        let number = self.number(at);
        assert_eq!(cursor.head(), Head { position: at as u64, messages: number as u64 });
        let line = self.lines.get(number);
        let boundary = line.is_none_or(|line| line.start == at);
        assert_eq!(cursor.at_boundary(), boundary);
        assert_eq!(cursor.rest_of_message(), if boundary { &[] } else { &self.wire[at..line.map_or(at, |l| l.end)] });
        let head = Head { position: self.wire.len() as u64, messages: self.lines.len() as u64 };
        let now_us = self.lines.len() as u64 * 20_000;
        let lag = Lag {
            bytes: (self.wire.len() - at) as u64,
            messages: (self.lines.len() - number) as u64,
            ms: line.map_or(0, |line| (now_us - line.entry.arrival_us) / 1000),
        };
        assert_eq!(cursor.lag(head, now_us), lag);
        match (cursor.message(), line) {
            (None, None) => {}
            (Some(message), Some(line)) => {
                assert_eq!(message.mark.flags, line.entry.flags);
                assert_eq!(message.sent, at - line.start);
                assert_eq!(message.wire, &self.wire[line.start..line.end]);
                assert_eq!(message.body().as_deref(), Some(&line.body[..]));
            }
            (message, _) => panic!("the cursor at {at} sees {message:?}"),
        }
        assert_eq!(self.wire.get(at..at + cursor.run().len()), Some(cursor.run()));
        assert_eq!(cursor.run().is_empty(), at == self.wire.len());
    }

    fn check_headers(&self, set: &HeaderSet, end: usize, publisher_of: usize) {
        let expected = self.headers(end, publisher_of);
        let all: Vec<_> = set.headers().iter().map(|header| (header.type_id, &header.body[..])).collect();
        assert_eq!(all, expected);
        let mut out = Vec::new();
        let form = HeaderRewrite {
            ts_ms: 1,
            stream_id: 1,
            chunk_size: 4096,
            wrap_metadata: true,
            media: media::ALL,
            tracks: u64::MAX,
        };
        set.encode(&form, &mut out).expect("memory for headers");
        assert_eq!(out.is_empty(), expected.is_empty());
    }

    fn check_point(&self, point: &JoinPoint, number: usize) {
        let start = self.lines.get(number).map_or(self.wire.len(), |line| line.start);
        assert_eq!(point.cursor.position(), start as u64);
        assert_eq!(point.cursor.message_number(), number as u64);
        self.check_headers(&point.headers, number, self.indexed);
    }

    fn index(&mut self, join_index: &mut JoinIndex) {
        let from = self.indexed;
        self.indexed = self.lines.len();
        let seen = join_index.advance();
        let fresh = &self.lines[from..];
        assert_eq!(seen.messages as usize, fresh.len());
        assert_eq!(seen.bytes as usize, fresh.iter().map(|line| line.end - line.start).sum::<usize>());
        let begin = fresh.iter().rposition(|line| line.entry.flags & flag::NEW_PUBLISHER != 0);
        assert_eq!(
            seen.first.as_ref().map(|point| point.cursor.position()),
            begin.map(|index| fresh[index].start as u64)
        );
        assert_eq!((seen.headers_lost, join_index.head().position), (0, self.wire.len() as u64));
        let first = from.max(self.publisher(self.indexed));
        match self.lines[first..].iter().rposition(Self::is_key) {
            Some(key) => self.check_point(seen.key.as_ref().expect("a key frame passed"), first + key),
            None => {
                assert!(
                    seen.key.is_none_or(
                        |point| self.lines[point.cursor.message_number() as usize].entry.type_id != kind::VIDEO
                    )
                )
            }
        }
        self.check_headers(join_index.headers(), self.indexed, self.indexed);
        assert_eq!(join_index.has_video(), self.has_video());
    }

    fn join(&self, join_index: &JoinIndex, start: Start) -> Option<JoinPoint> {
        let expected = match (start, self.gop_start()) {
            (Start::Gop, Some(key)) => Some(key),
            (Start::Now, _) => Some(self.indexed),
            _ if self.has_video() => None,
            _ => Some(self.indexed),
        };
        match (join_index.join(start), expected) {
            (Join::WaitForKey, None) => None,
            (Join::Here(point), Some(number)) => {
                self.check_point(&point, number);
                Some(point)
            }
            (_, expected) => panic!("{start:?} should join at {expected:?}"),
        }
    }
}

/// Fuzz body: after any list of operations, the log, its cursors and its join index agree with the model.
///
/// # Panics
/// If they differ, or memory is left charged.
pub fn log_operations(data: &[u8]) {
    let budget = Budget::new(None);
    let mut model = Model::default();
    let mut log = RRBuffer::new(budget.clone());
    let mut join_index = JoinIndex::new(log.cursor(), GOP_BYTES, GOP_MS);
    // Each cursor comes with its place in the model.
    let mut cursors: Vec<(Cursor, usize)> = (0..4).map(|_| (log.cursor(), 0)).collect();
    for operation in data.chunks_exact(4) {
        let (what, amount) = (operation[1], usize::from(u16::from_le_bytes([operation[2], operation[3]])));
        let other = amount % cursors.len();
        let other = (cursors[other].0.clone(), cursors[other].1);
        let which = usize::from(what) % cursors.len();
        let (cursor, at) = &mut cursors[which];
        match operation[0] % 12 {
            0..=4 => model.append(&mut log, what, amount),
            5 => {
                let run = cursor.run().len();
                let taken = (run + cursor.beyond(run).len()).min(amount);
                assert_eq!(cursor.ahead(taken).concat(), model.wire[*at..*at + taken]);
                cursor.advance(taken);
                *at += taken;
            }
            6 => {
                let stop = what | 1;
                let number = model.number(*at);
                let asked = number + usize::from(!cursor.at_boundary());
                let run = cursor.run_until(|mark| mark.has(stop)).len();
                let until = model.lines.iter().skip(asked).find(|line| line.entry.flags & stop != 0);
                assert!(*at + run <= until.map_or(model.wire.len(), |line| line.start));
                cursor.advance(run);
                *at += run;
                assert!(cursor.at_boundary());
            }
            7 => {
                let moved = cursor.skip_message();
                assert_eq!(moved, *at < model.wire.len());
                *at = model.lines.get(model.number(*at)).map_or(*at, |line| line.end);
            }
            8 => {
                cursor.jump_to(&other.0);
                *at = other.1;
            }
            9 => {
                *cursor = log.cursor();
                *at = model.wire.len();
            }
            10 => {
                if what >= 0xE0 {
                    log.new_publisher();
                    model.new_publisher = true;
                }
                model.index(&mut join_index);
            }
            _ => {
                let start = [Start::Gop, Start::Key, Start::Now][amount % 3];
                if let Some(point) = model.join(&join_index, start) {
                    *at = point.cursor.position() as usize;
                    *cursor = point.cursor;
                }
            }
        }
        let (cursor, at) = &mut cursors[which];
        model.check_cursor(cursor, *at);
        let head = Head { position: model.wire.len() as u64, messages: model.lines.len() as u64 };
        assert_eq!(log.head(), head);
        assert!(model.indexed_end() <= model.wire.len());
    }
    drop((log, join_index, cursors));
    assert_eq!(budget.used(), 0, "all that was charged is given back");
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::fuzzing::{XorShift, mutate_corpus};

    #[test]
    fn the_log_agrees_with_the_model_after_any_operations() {
        let mut random = XorShift::new(11);
        let seeds: Vec<Vec<u8>> = (1..12).map(|n| (0..n * 160).map(|_| random.number() as u8).collect()).collect();
        let tried = mutate_corpus(&seeds, 12, 2000, log_operations);
        assert!(tried > 50, "only {tried} inputs");
    }
}
