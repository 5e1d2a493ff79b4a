//! Where a subscription is in its stream's log: its cursor or what it waits for, the rest of a message that a jump
//! interrupted, and the place at which it ends.

use crate::error::Result;
use crate::stream::egress::join::{JoinPoint, Waits};
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::{Cursor, Lag, Message};
use crate::stream::log::segment::Tail;
use crate::stream::stats::Dropped;

/// A place in the log, or the wait for one.
enum Place {
    /// No place: there is no cursor, so nothing of the log is kept.
    Waiting(Waits),
    /// The place of this cursor.
    At(Cursor),
}

/// A subscription's position. The order of the fields is that of their use: each pass touches all three.
#[repr(C)]
pub(super) struct Position {
    place: Place,
    /// Log position at which the subscription ends.
    leave_at: Option<u64>,
    /// The rest of the message that a jump interrupted; it is sent first.
    tail: Option<Box<Tail>>,
}

impl Position {
    /// No position yet, and no end.
    pub(super) fn new() -> Self {
        Self { place: Place::Waiting(Waits::to_join()), leave_at: None, tail: None }
    }

    // ---- waiting, and places

    /// Waits for a place, on these terms.
    pub(super) fn wait(&mut self, waits: Waits) {
        self.place = Place::Waiting(waits);
    }

    /// Takes the place of this cursor.
    pub(super) fn go_to(&mut self, cursor: Cursor) {
        self.place = Place::At(cursor);
    }

    /// The terms on which it waits; `None` with a place.
    pub(super) fn waits(&self) -> Option<Waits> {
        match self.place {
            Place::Waiting(waits) => Some(waits),
            Place::At(_) => None,
        }
    }

    /// The cursor at its place; `None` while it waits.
    pub(super) fn cursor(&self) -> Option<&Cursor> {
        match &self.place {
            Place::At(cursor) => Some(cursor),
            Place::Waiting(_) => None,
        }
    }

    /// The cursor at its place, to move it.
    pub(super) fn cursor_mut(&mut self) -> Option<&mut Cursor> {
        match &mut self.place {
            Place::At(cursor) => Some(cursor),
            Place::Waiting(_) => None,
        }
    }

    /// The place from which it needs the log, at the next message; `None` while it waits.
    pub(super) fn next_message(&self) -> Option<Cursor> {
        let mut cursor = self.cursor()?.clone();
        if !cursor.at_boundary() {
            cursor.skip_message();
        }
        Some(cursor)
    }

    /// The next message's log position, or where it waits behind.
    fn next_position(&self) -> u64 {
        match &self.place {
            Place::At(cursor) => cursor.position() + cursor.rest_of_message().len() as u64,
            Place::Waiting(waits) => waits.after,
        }
    }

    /// The next message's log position, or where it waits behind; `None` where it has never begun.
    pub(super) fn reached(&self) -> Option<u64> {
        let fresh = matches!(self.place, Place::Waiting(waits) if waits.fresh);
        (!fresh).then(|| self.next_position())
    }

    /// Whether it is at or behind this log position.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.cursor().is_some_and(|cursor| cursor.position() >= position)
    }

    /// The lag behind this head; none while it waits.
    pub(super) fn lag(&mut self, head: Head, now_us: u64) -> Lag {
        self.cursor_mut().map_or_else(Lag::default, |cursor| cursor.lag(head, now_us))
    }

    // ---- the end

    /// The log position at which the subscription ends, if that is known.
    pub(super) fn end(&self) -> Option<u64> {
        self.leave_at
    }

    /// Sets the end, unless there is one; behind the message that is half sent, if that goes further: messages are sent as
    /// soon as they are in the log, and whoever sets an end may have seen less of it.
    pub(super) fn end_at(&mut self, position: u64) {
        let next = self.next_position();
        self.leave_at.get_or_insert_with(|| position.max(next));
    }

    /// Sets the end behind the message that is half sent, unless it is nearer already.
    pub(super) fn end_here(&mut self) {
        let here = self.next_position();
        self.leave_at = Some(self.leave_at.map_or(here, |end| end.min(here)));
    }

    /// Whether the end is reached, with nothing half sent.
    pub(super) fn has_ended(&self) -> bool {
        let Some(end) = self.leave_at.filter(|_| self.is_between()) else { return false };
        self.cursor().is_none_or(|cursor| cursor.position() >= end)
    }

    /// Whether it is between two messages.
    pub(super) fn is_between(&self) -> bool {
        self.tail.is_none() && self.cursor().is_none_or(Cursor::at_boundary)
    }

    // ---- the half-sent message, and what is sent

    /// The rest of a message after a jump.
    pub(super) fn tail(&self) -> Option<&Tail> {
        self.tail.as_deref()
    }

    /// The rest of the half-sent message, empty between two messages.
    pub(super) fn rest_of_message(&self) -> &[u8] {
        match &self.tail {
            Some(tail) => tail.bytes(),
            None => self.cursor().map_or(&[], Cursor::rest_of_message),
        }
    }

    /// Calls `with` with the half-sent message, if there is one.
    ///
    /// # Errors
    /// Those of `with`.
    pub(super) fn with_half_sent(&self, with: impl FnOnce(&Message<'_>) -> Result<()>) -> Result<()> {
        if let Some(tail) = self.tail() {
            return with(&Message::from(tail));
        }
        let mut here = self.cursor().filter(|cursor| !cursor.at_boundary()).cloned();
        here.as_mut().and_then(Cursor::message).map_or(Ok(()), |message| with(&message))
    }

    /// The bytes of the next run of this length, in one place or two.
    pub(super) fn bytes(&self, len: usize) -> [&[u8]; 2] {
        match &self.tail {
            Some(tail) => [tail.bytes().get(..len).unwrap_or_default(), &[]],
            None => self.cursor().map_or([&[], &[]], |cursor| cursor.ahead(len)),
        }
    }

    /// Notes that this many bytes of the log were sent. Returns how many messages are complete now.
    pub(super) fn advance(&mut self, taken: usize) -> u64 {
        if let Some(tail) = &mut self.tail {
            tail.advance(taken);
            let is_done = tail.bytes().is_empty();
            if is_done {
                self.tail = None;
            }
            return u64::from(is_done);
        }
        let Some(cursor) = self.cursor_mut() else { return 0 };
        let before = cursor.message_number();
        cursor.advance(taken);
        cursor.message_number() - before
    }

    /// Jumps to `to`, or gives the place up and waits behind `head`. The rest of a half-sent message is sent first, from
    /// the log's own memory. Returns what is dropped; `None` while it waits.
    pub(super) fn jump(&mut self, to: Option<&JoinPoint>, head: Head) -> Option<Dropped> {
        let Place::At(cursor) = &mut self.place else { return None };
        let tail = cursor.tail().map(Box::new);
        let kept = tail.as_ref().map_or(0, |tail| tail.bytes().len() as u64);
        let first =
            Head { position: cursor.position() + kept, messages: cursor.message_number() + u64::from(tail.is_some()) };
        let last = to.map_or(head, |point| point.cursor.head());
        self.tail = tail.or_else(|| self.tail.take());
        match to {
            Some(point) => cursor.jump_to(&point.cursor),
            None => self.place = Place::Waiting(Waits::behind(head.position)),
        }
        Some(Dropped {
            msgs: last.messages.saturating_sub(first.messages),
            bytes: last.position.saturating_sub(first.position),
            runs: 1,
        })
    }
}
