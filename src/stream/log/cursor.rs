//! A consumer's place in the log, and all ways to read on from it.
//!
//! A cursor never writes and never waits, and the writer never waits for it. A cursor keeps its segment **and every
//! later one** alive, so its holder must move it on: [`Cursor::jump_to`] releases the past. Each consumer owns its
//! cursor, which knows nothing of sockets and may move between threads.

use std::borrow::Cow;

use super::segment::{Arc, Mark, Segment, Tail, flag};
use crate::config::CHUNK_SIZE;
use crate::proto::chunk_write::body_of;

/// The end of the log at some moment, or the place that a reader has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes from the beginning of the log to here.
    pub position: u64,
    /// Messages from the beginning of the log to here.
    pub messages: u64,
}

/// A place in the log.
///
/// - to send: [`run`](Self::run) or [`run_until`](Self::run_until), then [`advance`](Self::advance) by what the socket
///   took;
/// - message by message: [`message`](Self::message), then [`skip_message`](Self::skip_message);
/// - to leave: `tail`, then [`jump_to`](Self::jump_to);
/// - to ask: [`position`](Self::position), [`message_number`](Self::message_number),
///   [`at_boundary`](Self::at_boundary), [`mark_here`](Self::mark_here), [`lag`](Self::lag), [`head`](Self::head).
#[derive(Clone)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    /// Bytes of the segment before the cursor.
    pos: u32,
    /// Index of the mark that `pos` lies in; the number of marks where `pos` is the end of what was published.
    mark: u32,
}

/// A message in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The message's mark.
    pub mark: Mark,
    /// All its bytes, chunk headers included.
    pub wire: &'a [u8],
    /// How many of these bytes are before the cursor.
    pub sent: usize,
}

impl<'a> Message<'a> {
    /// The body as it was appended: borrowed from the log if it is one chunk, copied together otherwise. `None`: memory
    /// ran out.
    pub(crate) fn body(&self) -> Option<Cow<'a, [u8]>> {
        body_of(self.wire, CHUNK_SIZE).map(|(_, body)| body)
    }
}

impl<'a> From<&'a Tail> for Message<'a> {
    /// The message of a tail.
    fn from(tail: &'a Tail) -> Self {
        Self { mark: tail.mark(), wire: tail.message(), sent: tail.sent() }
    }
}

/// A cursor's distance from the end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// Bytes published and not yet taken.
    pub bytes: u64,
    /// Messages not completely taken.
    pub messages: u64,
    /// Age of the oldest byte not yet taken, by its arrival; 0 if all is taken.
    pub ms: u64,
}

impl Cursor {
    pub(in crate::stream) fn at_end_of(segment: &Arc<Segment>) -> Self {
        let now = segment.published();
        Self { segment: Arc::clone(segment), pos: now.bytes, mark: now.marks }
    }

    /// The published bytes from here to the end of the segment, or to the first message with [`flag::FLAWED`]. In a
    /// segment without such a message the marks are not read. Empty: nothing more is published, or such a message is
    /// next.
    pub(crate) fn run(&mut self) -> &[u8] {
        self.enter_next();
        // The length is read first, so `has_flawed` covers every flawed message among these bytes.
        let end = self.segment.bytes().len();
        if self.segment.has_flawed() {
            return self.run_until(|mark| mark.has(flag::FLAWED));
        }
        &self.segment.bytes()[self.pos as usize..end]
    }

    /// Where the memory begins that this cursor keeps, as a log position.
    pub(crate) fn keeps_from(&self) -> u64 {
        self.segment.base()
    }

    /// Whether a message with [`flag::AFTER_END`] may be in the last run. It is not where this is false.
    pub(crate) fn may_pass_end(&self) -> bool {
        self.segment.has_end()
    }

    /// The published bytes from here to the end of the segment, or to the first message for which `stop` is true.
    /// `stop` is not called for the message that the cursor is inside of; its rest always belongs to the run. Empty:
    /// nothing more is published, or the next message is one to stop at; [`message`](Self::message) tells which.
    pub(crate) fn run_until(&mut self, mut stop: impl FnMut(&Mark) -> bool) -> &[u8] {
        self.enter_next();
        let marks = self.segment.marks();
        let ask = self.mark as usize + usize::from(!self.at_boundary());
        let end = match marks.get(ask..).and_then(|ahead| ahead.iter().find(|mark| stop(mark))) {
            Some(mark) => mark.start,
            // This is the end of the marks read above, because `stop` was not called for messages published since.
            None => marks.last().map_or(0, Mark::end),
        };
        &self.segment.bytes()[self.pos as usize..end as usize]
    }

    /// The published bytes that follow the last run, which had this length, in the next segment: they can go with it. Empty
    /// where the run does not end with its segment, and where some of them are not for everybody.
    pub(crate) fn beyond(&self, run: usize) -> &[u8] {
        let Some(next) = self.segment.next() else { return &[] };
        // The segment is sealed, but it may have grown since the run was read.
        let is_all = self.pos as usize + run == self.segment.bytes().len();
        // The length is read before the flags, as in `run`.
        let bytes = next.bytes();
        if is_all && !next.has_flawed() && !next.has_end() { bytes } else { &[] }
    }

    /// The first `len` bytes of the last run, and of what is [beyond](Self::beyond) it, again.
    pub(crate) fn ahead(&self, len: usize) -> [&[u8]; 2] {
        let here = self.segment.bytes().get(self.pos as usize..).unwrap_or_default();
        let Some(beyond) = len.checked_sub(here.len()) else { return [&here[..len], &[]] };
        let next = self.segment.next().map_or(&[][..], |next| next.bytes());
        [here, next.get(..beyond).unwrap_or_default()]
    }

    /// The messages to which the first `len` bytes of the last run belong.
    pub(in crate::stream) fn messages_ahead(&self, len: usize) -> impl Iterator<Item = Message<'_>> {
        let end = self.pos as usize + len;
        let (bytes, marks) = (self.segment.bytes(), self.segment.marks());
        let ahead = marks.iter().skip(self.mark as usize);
        ahead.take_while(move |mark| (mark.start as usize) < end).map(move |mark| Message {
            mark: *mark,
            wire: bytes.get(mark.start as usize..mark.end() as usize).unwrap_or_default(),
            sent: self.pos.saturating_sub(mark.start) as usize,
        })
    }

    /// Moves on by `taken` bytes, at most the length of the last run with what is [beyond](Self::beyond) it.
    pub(crate) fn advance(&mut self, mut taken: usize) {
        let here = self.segment.published().bytes - self.pos;
        if taken > here as usize {
            self.pos += here;
            self.enter_next();
            taken -= here as usize;
        }
        let marks = self.segment.marks();
        let end = marks.last().map_or(0, Mark::end);
        let pos = self.pos as usize + taken;
        debug_assert!(pos <= end as usize, "a cursor moves only over published bytes");
        let pos = u32::try_from(pos).unwrap_or(end).min(end);
        self.pos = pos;
        // The end of the segment is the frequent case and needs no search.
        self.mark = if pos == end {
            marks.len() as u32
        } else {
            let ahead = &marks[self.mark as usize..];
            self.mark + ahead.partition_point(|mark| mark.end() <= pos) as u32
        };
    }

    /// The message that the cursor is at the beginning of, or in. `None`: nothing more is published.
    pub(crate) fn message(&mut self) -> Option<Message<'_>> {
        let mark = self.mark_here()?;
        Some(Message {
            mark,
            wire: &self.segment.bytes()[mark.start as usize..mark.end() as usize],
            sent: (self.pos - mark.start) as usize,
        })
    }

    /// Moves to the end of the message that the cursor is at the beginning of, or in. False: nothing more is published.
    pub(crate) fn skip_message(&mut self) -> bool {
        let Some(mark) = self.mark_here() else { return false };
        self.pass(&mark);
        true
    }

    /// Moves to the end of the message whose mark [`mark_here`](Self::mark_here) has just given.
    pub(crate) fn pass(&mut self, mark: &Mark) {
        self.pos = mark.end();
        self.mark += 1;
    }

    /// The mark of the message that the cursor is at the beginning of, or in. `None`: nothing more is published.
    pub(crate) fn mark_here(&mut self) -> Option<Mark> {
        self.enter_next();
        self.segment.marks().get(self.mark as usize).copied()
    }

    /// The timestamp of the message that the cursor passed last; `None` at the beginning of a segment.
    pub(crate) fn passed_ts_ms(&self) -> Option<u32> {
        let passed = (self.mark as usize).checked_sub(1)?;
        self.segment.marks().get(passed).map(|mark| mark.ts_ms)
    }

    /// Whether the cursor is between two messages.
    pub(crate) fn at_boundary(&self) -> bool {
        self.segment.marks().get(self.mark as usize).is_none_or(|mark| mark.start == self.pos)
    }

    /// The bytes from here to the end of the message that the cursor is inside of; empty at a boundary.
    pub(crate) fn rest_of_message(&self) -> &[u8] {
        match self.segment.marks().get(self.mark as usize) {
            Some(mark) if mark.start != self.pos => &self.segment.bytes()[self.pos as usize..mark.end() as usize],
            _ => &[],
        }
    }

    /// The bytes of [`rest_of_message`](Self::rest_of_message) for a consumer that is about to jump: without them the
    /// peer's chunk reader would lose its place. The tail keeps the bytes of one segment alive, but not of later ones.
    /// `None` at a boundary.
    pub(in crate::stream) fn tail(&self) -> Option<Tail> {
        if self.at_boundary() { None } else { self.segment.tail(self.mark, self.pos) }
    }

    /// Bytes of the log before the cursor.
    pub(crate) fn position(&self) -> u64 {
        self.segment.base() + u64::from(self.pos)
    }

    /// The number of the message that the cursor is in, or that comes next.
    pub(crate) fn message_number(&self) -> u64 {
        self.segment.first_message() + u64::from(self.mark)
    }

    /// The distance to `head`, which may be slightly old; a cursor that has passed it has a lag of 0.
    pub(crate) fn lag(&mut self, head: Head, now_us: u64) -> Lag {
        let arrival_us = self.mark_here().map_or(now_us, |mark| mark.arrival_us);
        Lag {
            bytes: head.position.saturating_sub(self.position()),
            messages: head.messages.saturating_sub(self.message_number()),
            ms: now_us.saturating_sub(arrival_us) / 1000,
        }
    }

    /// The cursor's place as a [`Head`].
    pub(crate) fn head(&self) -> Head {
        Head { position: self.position(), messages: self.message_number() }
    }

    /// Goes to the place of `other`, and releases the bytes between. If the cursor is inside a message, the caller
    /// takes its `tail` first.
    pub(crate) fn jump_to(&mut self, other: &Self) {
        self.clone_from(other);
    }

    /// Moves to the next segment if this one is sealed and read to its end.
    fn enter_next(&mut self) {
        while self.pos == self.segment.published().bytes {
            let Some(next) = self.segment.next() else { return };
            // The segment is sealed, but it may have grown between the two reads above.
            if self.pos != self.segment.published().bytes {
                return;
            }
            let next = Arc::clone(next);
            self.segment = next;
            self.pos = 0;
            self.mark = 0;
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
