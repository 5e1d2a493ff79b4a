//! The message streams a peer has created on its connection, and what each is doing.
//!
//! Only book-keeping; the session sends the answers. A new stream gets the lowest free id from 1, because logs of
//! streams are written with id 1 and a peer with that id gets their bytes as they are.

use minicbor::{Decode, Encode};

use super::KEY_MAX_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::proto::command::Part;

/// Most streams of one connection. Encoders and players use one; a program with many players on one connection uses
/// some more.
pub(crate) const STREAMS_MAX: usize = 16;

/// Most names that may wait for the play before them.
const QUEUE_MAX: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(super) enum Mode {
    #[default]
    #[n(0)]
    Idle,
    #[n(1)]
    AskedPublish {
        #[n(0)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        key: Vec<u8>,
    },
    #[n(2)]
    Publish {
        #[n(0)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        key: Vec<u8>,
    },
    #[n(3)]
    AskedPlay {
        #[n(0)]
        reset: bool,
    },
    #[n(4)]
    Play,
}

/// A play that the peer asked for and that waits.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Next {
    #[n(0)]
    pub(super) stream_id: u32,
    #[cbor(with = "crate::proto::cbor::bytes")]
    #[n(1)]
    pub(super) key: Vec<u8>,
    #[n(2)]
    start: Option<i64>,
    #[n(3)]
    duration: Option<i64>,
    #[n(4)]
    reset: Option<bool>,
}

impl Next {
    pub(super) fn new(stream_id: u32, key: &[u8], Part { start, duration, reset }: Part) -> Self {
        Self { stream_id, key: key.to_vec(), start, duration, reset }
    }

    pub(super) fn part(&self) -> Part {
        Part { start: self.start, duration: self.duration, reset: self.reset }
    }
}

#[derive(Clone, Debug, Encode, Decode)]
struct Stream {
    #[n(0)]
    id: u32,
    #[n(1)]
    mode: Mode,
    #[n(2)]
    buffer_length_ms: Option<u32>,
}

#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Streams {
    #[cbor(with = "crate::proto::cbor::list")]
    #[n(0)]
    list: Vec<Stream>,
    /// The waiting plays of all streams, in the order in which they were asked for.
    #[cbor(with = "crate::proto::cbor::list")]
    #[n(1)]
    queue: Vec<Next>,
    /// The largest id that was given out.
    #[n(2)]
    given: u32,
}

impl Streams {
    /// Refuses a state that no session can reach. `asked`: whether the driver has been asked about a publish or play.
    pub(super) fn check(&self, asked: bool) -> Result<()> {
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        let mut ids: Vec<u32> = self.list.iter().map(|stream| stream.id).collect();
        ids.sort_unstable();
        if ids.len() > STREAMS_MAX || ids.first() == Some(&0) || !ids.is_sorted_by(|one, other| one < other) {
            return impossible("a message stream exists twice, or there are too many");
        }
        let count = |wanted: fn(&Mode) -> bool| self.list.iter().filter(|stream| wanted(&stream.mode)).count();
        let publishes = count(|mode| matches!(mode, Mode::Publish { .. }));
        let asks = count(|mode| matches!(mode, Mode::AskedPublish { .. } | Mode::AskedPlay { .. }));
        if publishes > 1 || publishes == 1 && (asks > 0 || self.playing().is_some()) || asks != usize::from(asked) {
            return impossible("its message streams do what a peer may not do at the same time");
        }
        let known = |next: &Next| self.mode(next.stream_id).is_some();
        if self.queue.len() > QUEUE_MAX || !self.queue.iter().all(known) {
            return impossible("a play waits for a message stream that does not exist");
        }
        let keys = self.list.iter().filter_map(|stream| match &stream.mode {
            Mode::AskedPublish { key } | Mode::Publish { key } => Some(key),
            Mode::Idle | Mode::AskedPlay { .. } | Mode::Play => None,
        });
        if keys.chain(self.queue.iter().map(|next| &next.key)).any(|key| key.len() > KEY_MAX_BYTES) {
            return impossible("a name is too long");
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn find(&mut self, id: u32) -> Option<&mut Stream> {
        self.list.iter_mut().find(|stream| stream.id == id)
    }

    /// A new stream's id; `None` where there are too many.
    pub(super) fn create(&mut self) -> Option<u32> {
        let taken = |id: &u32| self.list.iter().any(|stream| stream.id == *id);
        let id = (1..).find(|id| !taken(id)).filter(|&id| self.add(id))?;
        self.given = self.given.max(id);
        Some(id)
    }

    fn add(&mut self, id: u32) -> bool {
        if self.list.len() >= STREAMS_MAX {
            return false;
        }
        self.list.reserve_exact(1);
        self.list.push(Stream { id, mode: Mode::Idle, buffer_length_ms: None });
        true
    }

    /// The stream that a publish or play on message stream `id` means. Peers that skip createStream, or write 0, are
    /// understood if their intent is clear.
    pub(super) fn of_message(&mut self, id: u32) -> Result<u32> {
        if self.find(id).is_some() {
            return Ok(id);
        }
        match self.list.as_slice() {
            [only] if id == 0 => return Ok(only.id),
            _ if id == 0 => return Err(Failure::protocol("publish or play without createStream")),
            _ => {}
        }
        if self.add(id) { Ok(id) } else { Err(Failure::limit("too many streams on one connection")) }
    }

    /// The stream that a command on message stream `id` is about: the only stream, if the peer writes 0.
    pub(super) fn own(&self, id: u32) -> u32 {
        match self.list.as_slice() {
            [only] if id == 0 => only.id,
            _ => id,
        }
    }

    pub(super) fn mode(&self, id: u32) -> Option<&Mode> {
        self.list.iter().find(|stream| stream.id == id).map(|stream| &stream.mode)
    }

    pub(super) fn set(&mut self, id: u32, mode: Mode) {
        if let Some(stream) = self.find(id) {
            stream.mode = mode;
        }
    }

    /// Ends what the stream does, and returns what that was. `None` if there is no such stream.
    pub(super) fn close(&mut self, id: u32, delete: bool) -> Option<Mode> {
        self.forget_queue(id);
        let mode = std::mem::take(&mut self.find(id)?.mode);
        if delete {
            self.list.retain(|stream| stream.id != id);
        }
        Some(mode)
    }

    pub(super) fn plays(&self, id: u32) -> bool {
        self.mode(id) == Some(&Mode::Play)
    }

    /// Whether these streams play, each named once, and no other does.
    pub(super) fn play_alone(&self, ids: &[u32]) -> bool {
        let mut playing = self.list.iter().filter(|stream| stream.mode == Mode::Play);
        playing.clone().count() == ids.len() && playing.all(|stream| ids.contains(&stream.id))
    }

    /// The id of the stream that is published.
    pub(super) fn publishing(&self) -> Option<u32> {
        self.list.iter().find(|stream| matches!(stream.mode, Mode::Publish { .. })).map(|stream| stream.id)
    }

    /// Whether a media message on message stream `id` belongs to the running publish. Messages on an existing stream
    /// that does not publish (it was refused, or has not begun) do not; messages on id 0, or on an id that was never
    /// given out, do, because careless encoders write those.
    pub(super) fn takes_media(&self, id: u32) -> bool {
        let foreign = id != 0 && (id <= self.given || self.mode(id).is_some());
        self.publishing().is_some_and(|publishing| id == publishing || !foreign)
    }

    /// The id of the stream that is published, if `key` means it: FCUnpublish may come without the query, or without a
    /// key.
    pub(super) fn publishing_key(&self, key: &[u8]) -> Option<u32> {
        let name = |key: &[u8]| key.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
        let found = self.list.iter().find(|stream| match &stream.mode {
            Mode::Publish { key: published } => key.is_empty() || name(key) == name(published),
            _ => false,
        });
        found.map(|stream| stream.id)
    }

    /// The id of a stream that is played.
    pub(super) fn playing(&self) -> Option<u32> {
        self.list.iter().find(|stream| stream.mode == Mode::Play).map(|stream| stream.id)
    }

    /// Whether anything is published or played.
    pub(super) fn busy(&self) -> bool {
        self.publishing().is_some() || self.playing().is_some()
    }

    /// Lets a play wait for the running one. False if too many wait.
    pub(super) fn queue(&mut self, next: Next) -> bool {
        let room = self.queue.len() < QUEUE_MAX;
        if room {
            self.queue.push(next);
        }
        room
    }

    pub(super) fn forget_queue(&mut self, id: u32) {
        self.queue.retain(|next| next.stream_id != id);
    }

    pub(super) fn has_queued(&self, id: u32) -> bool {
        self.queue.iter().any(|next| next.stream_id == id)
    }

    /// Whether any play is queued.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A queued play whose stream has become idle.
    pub(super) fn due(&mut self) -> Option<Next> {
        let idle = |next: &Next| self.mode(next.stream_id) == Some(&Mode::Idle);
        let found = self.queue.iter().position(idle)?;
        Some(self.queue.remove(found))
    }

    pub(super) fn set_buffer_length(&mut self, id: u32, ms: u32) {
        if let Some(stream) = self.find(id) {
            stream.buffer_length_ms = Some(ms);
        }
    }

    pub(super) fn buffer_length_ms(&self, id: u32) -> Option<u32> {
        self.list.iter().find(|stream| stream.id == id)?.buffer_length_ms
    }

    /// Heap in use, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let keys = self.list.iter().map(|stream| match &stream.mode {
            Mode::AskedPublish { key } | Mode::Publish { key } => key.capacity(),
            _ => 0,
        });
        let queued: usize = self.queue.iter().map(|next| next.key.capacity()).sum();
        self.list.capacity() * size_of::<Stream>()
            + self.queue.capacity() * size_of::<Next>()
            + keys.sum::<usize>()
            + queued
    }
}
