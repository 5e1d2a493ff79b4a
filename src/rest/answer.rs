//! The bodies of answers, written into memory that may be refused. An answer about all streams or sessions grows with
//! them; where there is no memory for it, the request is answered with a problem, and the process goes on.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use crate::error::{Failure, RRError, Result};
use crate::net::heap;

/// Largest answer, enough for a list of ten thousand sessions.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Room of an answer of which the size is not known: one object in JSON.
const FIRST_BYTES: usize = 1024;

/// An answer of this size or more is given only where it leaves memory for everything else in the process.
const LARGE_BYTES: usize = 64 * 1024;

/// Memory that an answer is written into. The first write that finds no room is remembered, and all later ones fail as
/// well, so that writers need not look at each.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    fault: Option<RRError>,
}

impl Buffer {
    /// An empty buffer with room for so many bytes, if there is memory for them.
    fn with_room(bytes: usize) -> Self {
        let mut this = Self::default();
        // What does not fit now may fit while it is written: the answer may have become shorter.
        if this.bytes.try_reserve_exact(bytes).is_err() || leaves_room(bytes).is_err() {
            this.bytes = Vec::new();
        }
        this
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; [`RRError::Limit`] for an answer that is too large.
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
        if by > MAX_BYTES - self.bytes.len().min(MAX_BYTES) {
            return Err(RRError::Limit);
        }
        self.bytes.try_reserve(by).map_err(|_| RRError::NoMem)?;
        leaves_room(self.bytes.capacity())
    }

    /// What was written.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; [`RRError::Limit`] for an answer that is too large.
    pub(super) fn finish(self) -> Result<Bytes> {
        match self.fault {
            None => Ok(self.bytes.into()),
            Some(RRError::NoMem) => Err(Failure::ours(RRError::NoMem, "there is no memory for the answer")),
            Some(fault) => {
                Err(Failure::ours(fault, format!("the answer is larger than {MAX_BYTES} bytes: ask for parts of it")))
            }
        }
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
///
/// # Errors
/// [`RRError::NoMem`]; [`RRError::Limit`] for an answer that is too large.
fn json_into(mut buffer: Buffer, value: &impl Serialize) -> Result<Bytes> {
    // Making JSON of strings and numbers fails only where the buffer does, and that remembers it.
    if let Err(error) = serde_json::to_writer(&mut buffer, value)
        && buffer.fault.is_none()
    {
        log::error!("an answer cannot be written as JSON: {error}");
        buffer.fault = Some(RRError::Panic);
    }
    buffer.finish()
}

/// A small value in JSON.
///
/// # Errors
/// Those of [`Page::json`].
pub(crate) fn json(value: &impl Serialize) -> Result<Bytes> {
    json_into(Buffer::with_room(FIRST_BYTES), value)
}

/// A small value as an answer in JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match json(&self.0) {
            Ok(body) => Written { content_type: JSON, body }.into_response(),
            Err(failure) => Problem::from(failure).into_response(),
        }
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
    fn buffer(&self) -> Buffer {
        let last = self.last_bytes.load(Ordering::Relaxed);
        Buffer::with_room(last + last / 8)
    }

    fn answer(&self, body: Bytes) -> Written {
        self.last_bytes.store(body.len(), Ordering::Relaxed);
        Written { content_type: self.content_type, body }
    }

    /// An answer of JSON.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; [`RRError::Limit`] for an answer that is too large.
    pub(crate) fn of_json(&self, value: &impl Serialize) -> Result<Written> {
        Ok(self.answer(json_into(self.buffer(), value)?))
    }

    /// An answer of text. `write` need not report that the buffer has no room.
    ///
    /// # Errors
    /// Those of `write`; [`RRError::NoMem`]; [`RRError::Limit`] for an answer that is too large.
    pub(crate) fn of_text(&self, write: impl FnOnce(&mut Buffer) -> Result<()>) -> Result<Written> {
        let mut buffer = self.buffer();
        write(&mut buffer)?;
        Ok(self.answer(buffer.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_bounded_and_keeps_its_first_fault() {
        let page = Page::json();
        let much = vec![b'x'; MAX_BYTES / 4];
        let failure = page.of_text(|text| {
            let first_fault = (0..5).find_map(|_| text.push(&much).err());
            assert_eq!(first_fault, Some(RRError::Limit));
            // What would fit still is not added behind a gap.
            assert_eq!(text.push(b"x"), Err(RRError::Limit));
            Ok(())
        });
        assert_eq!(failure.unwrap_err().kind, RRError::Limit);
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
}
