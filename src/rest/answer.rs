//! The bodies of answers, written into memory that may be refused. An answer about all streams or sessions grows with
//! them; where there is no memory for it, the request is answered with a problem, and the process goes on.
//!
//! An answer is in memory until its peer has taken it, or the host has freed it. All those of the process together have
//! a bound, and each gives back what it takes when its body is dropped.

use std::fmt;
use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body::{BACK_ENDS, COUNTED_BYTES, Counted, NO_ROOM};
use super::problem::Problem;
use crate::error::{Failure, RRError, Result};
use crate::net::heap;
use crate::stream::memory::budget::{Budget, Charge};

/// Largest answer, enough for a list of ten thousand sessions, and most bytes of all answers that are being written or
/// sent.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The memory of all answers of the process.
static ALL: LazyLock<Budget> = LazyLock::new(|| Budget::new(Some(MAX_BYTES as u64)));

/// Room of an answer of which the size is not known: one object in JSON.
const FIRST_BYTES: usize = 1024;

/// What is counted is counted in steps of this many bytes, rounded up, so that all together take no more than they may.
const COUNTED_STEP: usize = 4096;

/// An answer of this size or more is given only where it leaves memory for everything else in the process.
const LARGE_BYTES: usize = 64 * 1024;

/// Memory that an answer, or what a back end is asked, is written into. The first write that finds no room is remembered,
/// and all later ones fail as well, so that writers need not look at each.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// What it takes of the memory of all answers, or of back ends; `None` for what is neither.
    charge: Option<Charge>,
    fault: Option<RRError>,
}

impl Buffer {
    /// An empty buffer for what a back end is asked; [`asked`](Self::asked) finishes it.
    pub(crate) fn of_question() -> Self {
        Self::within(&BACK_ENDS, FIRST_BYTES)
    }

    /// An empty buffer that counts in `all`, with room for so many bytes if there is memory for them.
    fn within(all: &Budget, bytes: usize) -> Self {
        let mut this = Self { charge: Some(all.nothing()), ..Self::default() };
        // What does not fit now may fit while it is written: the answer may have become shorter.
        if this.reserve(bytes.min(MAX_BYTES)).is_err() {
            this.bytes = Vec::new();
            let _ = this.count();
        }
        this
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; [`RRError::Again`] while other answers take all the memory that answers may;
    /// [`RRError::Limit`] for an answer that is too large.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> std::result::Result<(), RRError> {
        if bytes.len() > self.bytes.capacity() - self.bytes.len() && self.fault.is_none() {
            self.fault = self.grow(bytes.len()).err();
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[cold]
    fn grow(&mut self, by: usize) -> std::result::Result<(), RRError> {
        let needed = self.bytes.len().saturating_add(by);
        if needed > MAX_BYTES {
            return Err(RRError::Limit);
        }
        // Twice as much, so that it is seldom moved; where that is not left, what is needed.
        let more = (2 * self.bytes.capacity()).clamp(FIRST_BYTES, MAX_BYTES).max(needed);
        self.reserve(more).or_else(|_| self.reserve(needed))
    }

    /// Makes room for so many bytes in all.
    fn reserve(&mut self, bytes: usize) -> std::result::Result<(), RRError> {
        let before = self.bytes.capacity();
        self.charge(bytes)?;
        self.bytes.try_reserve_exact(bytes - self.bytes.len()).map_err(|_| RRError::NoMem)?;
        leaves_room(bytes).inspect_err(|_| self.bytes.shrink_to(before))
    }

    /// Counts so many bytes among all those that have a bound together.
    fn charge(&mut self, bytes: usize) -> std::result::Result<(), RRError> {
        let Some(charge) = &mut self.charge else { return Ok(()) };
        let counted = if bytes < COUNTED_BYTES { 0 } else { bytes.next_multiple_of(COUNTED_STEP) };
        charge.follow(counted).map_err(|_| RRError::Again)
    }

    /// Counts the bytes that it has.
    fn count(&mut self) -> std::result::Result<(), RRError> {
        self.charge(self.bytes.capacity())
    }

    /// What was written, without the room that it has not needed.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub(super) fn finish(mut self) -> Result<Bytes> {
        match self.fault {
            None => {}
            Some(RRError::NoMem) => return Err(Failure::ours(RRError::NoMem, "there is no memory for the answer")),
            Some(RRError::Again) => {
                let text =
                    format!("the answers that are being sent take the {MAX_BYTES} bytes that they may: ask again");
                return Err(Failure::ours(RRError::Again, text));
            }
            Some(fault) => {
                let text = format!(
                    "the answer is larger than {MAX_BYTES} bytes: ask /v1/streams or /v1/sessions for parts, as by \
                     ?limit=100, and then by ?limit=100&after= and the last id"
                );
                return Err(Failure::ours(fault, text));
            }
        }
        let (taken, written) = (self.bytes.capacity(), self.bytes.len());
        if taken >= COUNTED_BYTES && taken - written > written / 4 {
            self.bytes.shrink_to_fit();
            // It is never refused, because it is less than before.
            let _ = self.count();
        }
        Ok(match self.charge {
            Some(charge) => Bytes::from_owner(Counted { bytes: self.bytes, _charge: charge }),
            None => self.bytes.into(),
        })
    }

    /// What a back end is asked, as it was written.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; [`RRError::Limit`] while others take all the memory that back ends may.
    pub(super) fn asked(self) -> Result<Bytes> {
        self.finish().map_err(|failure| match failure.kind {
            RRError::Again => Failure::ours(RRError::Limit, NO_ROOM),
            _ => failure,
        })
    }
}

/// Checks that a large answer leaves enough memory for everything else in the process.
fn leaves_room(bytes: usize) -> std::result::Result<(), RRError> {
    if bytes < LARGE_BYTES { Ok(()) } else { heap::room().map_err(|failure| failure.kind) }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write_all(self, bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// A value in JSON.
fn json_into(mut buffer: Buffer, value: &impl Serialize) -> Buffer {
    // Making JSON of strings and numbers fails only where the buffer does, and that remembers it.
    if let Err(error) = serde_json::to_writer(&mut buffer, value)
        && buffer.fault.is_none()
    {
        log::error!("an answer cannot be written as JSON: {error}");
        buffer.fault = Some(RRError::Panic);
    }
    buffer
}

/// A problem in JSON.
///
/// # Errors
/// [`RRError::NoMem`].
pub(crate) fn json(value: &impl Serialize) -> Result<Bytes> {
    json_into(Buffer::default(), value).finish()
}

/// A message of a bounded size to a reader in JSON. Until it is dropped, it is counted among answers.
///
/// # Errors
/// Those of [`Buffer::push`].
pub(super) fn message(value: &impl Serialize) -> Result<Bytes> {
    json_into(Buffer::within(&ALL, FIRST_BYTES), value).finish()
}

/// A question for a back end in JSON.
///
/// # Errors
/// Those of [`Buffer::asked`].
pub(crate) fn question(value: &impl Serialize) -> Result<Bytes> {
    json_into(Buffer::of_question(), value).asked()
}

/// A value as an answer in JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match json_into(Buffer::within(&ALL, FIRST_BYTES), &self.0).finish() {
            Ok(body) => Written { content_type: JSON, body }.into_response(),
            Err(failure) => refused(failure).into_response(),
        }
    }
}

/// The problem with an answer that cannot be given. Asking it again later does not help where it is too large.
fn refused(failure: Failure) -> Problem {
    match failure.kind {
        RRError::Limit => Problem::new(StatusCode::INSUFFICIENT_STORAGE, RRError::Limit, failure.text),
        _ => failure.into(),
    }
}

/// The content type of JSON.
const JSON: &str = "application/json";

/// A written answer.
#[derive(Debug)]
pub(crate) struct Written {
    content_type: &'static str,
    body: Bytes,
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))], self.body).into_response()
    }
}

/// A page that grows with the number of streams, sessions or targets. It remembers the size of its last answer, and
/// begins the next one with as much room, so that an answer is seldom moved while it is written.
#[derive(Debug)]
pub(crate) struct Page {
    content_type: &'static str,
    last_bytes: AtomicUsize,
}

impl Page {
    /// A page of JSON.
    pub(crate) const fn json() -> Self {
        Self::new(JSON)
    }

    /// A page with this content type.
    pub(crate) const fn new(content_type: &'static str) -> Self {
        Self { content_type, last_bytes: AtomicUsize::new(FIRST_BYTES) }
    }

    /// Room for an answer a little longer than the last.
    fn buffer(&self, all: &Budget) -> Buffer {
        let last = self.last_bytes.load(Ordering::Relaxed);
        Buffer::within(all, last + last / 8)
    }

    fn answer(&self, body: Bytes) -> Written {
        self.last_bytes.store(body.len(), Ordering::Relaxed);
        Written { content_type: self.content_type, body }
    }

    /// An answer of JSON.
    ///
    /// # Errors
    /// Those of [`Buffer::push`], as a problem.
    pub(crate) fn of_json(&self, value: &impl Serialize) -> std::result::Result<Written, Problem> {
        json_into(self.buffer(&ALL), value).finish().map(|body| self.answer(body)).map_err(refused)
    }

    /// An answer of text. `write` need not report that the buffer has no room.
    ///
    /// # Errors
    /// Those of `write` and of [`Buffer::push`], as a problem.
    pub(crate) fn of_text(
        &self,
        write: impl FnOnce(&mut Buffer) -> Result<()>,
    ) -> std::result::Result<Written, Problem> {
        self.text_within(&ALL, write).map_err(refused)
    }

    fn text_within(&self, all: &Budget, write: impl FnOnce(&mut Buffer) -> Result<()>) -> Result<Written> {
        let mut buffer = self.buffer(all);
        write(&mut buffer)?;
        Ok(self.answer(buffer.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_bounded_and_keeps_its_first_fault() {
        let (page, all) = (Page::json(), Budget::new(Some(MAX_BYTES as u64)));
        let much = vec![b'x'; MAX_BYTES / 4];
        let failure = page.text_within(&all, |text| {
            let first_fault = (0..5).find_map(|_| text.push(&much).err());
            assert_eq!(first_fault, Some(RRError::Limit));
            // What would fit still is not added behind a gap.
            assert_eq!(text.push(b"x"), Err(RRError::Limit));
            Ok(())
        });
        let problem = refused(failure.unwrap_err());
        assert_eq!((problem.status, problem.error), (507, "RR_ERR_LIMIT"), "{}", problem.detail);
    }

    #[test]
    fn an_answer_begins_with_the_room_of_the_last() {
        let page = Page::json();
        let long = vec![7_u32; 100_000];
        let first = page.of_json(&long).unwrap().body.len();
        let mut moves = 0;
        page.of_text(|text| {
            let place = text.bytes.as_ptr();
            for _ in 0..first {
                text.push(b"x").unwrap();
                moves += usize::from(text.bytes.as_ptr() != place);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(moves, 0);
    }

    /// An answer with so many bytes.
    fn answer_of(page: &Page, all: &Budget, bytes: usize) -> Result<Bytes> {
        let piece = vec![b'x'; bytes.div_ceil(10)];
        let written = page.text_within(all, |text| {
            let _ = (0..10).try_for_each(|_| text.push(&piece));
            Ok(())
        });
        written.map(|written| written.body)
    }

    #[test]
    fn answers_that_are_there_are_bounded_together_until_they_are_dropped() {
        let (page, all) = (Page::json(), Budget::new(Some(1_000_000)));
        let first = answer_of(&page, &all, 600_000).unwrap();
        let of_both = first.slice(..1);
        assert_eq!(answer_of(&page, &all, 600_000).unwrap_err().kind, RRError::Again);
        let last = answer_of(&page, &all, 300_000).expect("it needs no more than is left");
        assert!(all.used() <= 1_000_000 && all.used() > 900_000 - 2 * 4096, "{} bytes", all.used());
        answer_of(&page, &all, 10_000).expect("one that is small");
        drop((first, last));
        assert!(all.used() > 600_000 - 4096, "a part of it is there");
        drop(of_both);
        assert_eq!(all.used(), 0);
        answer_of(&page, &all, 900_000).unwrap();
    }

    #[test]
    fn a_small_answer_does_not_hold_the_room_of_a_large_one() {
        let (page, all) = (Page::json(), Budget::new(Some(1_000_000)));
        answer_of(&page, &all, 800_000).unwrap();
        let small = answer_of(&page, &all, 100).unwrap();
        assert_eq!((small.len(), all.used()), (100, 0));
        let larger = answer_of(&page, &all, 100_000).unwrap();
        assert!(all.used() < 120_000, "{} bytes for {}", all.used(), larger.len());
    }
}
