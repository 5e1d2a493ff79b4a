//! The state of a stream that goes on in another process: its name and settings, its time, the headers of its publisher,
//! and the tail of its log, which is what those who play it have not got yet and what joiners begin with.

use std::fmt;
use std::ops::{Deref, Range};

use minicbor::{Decode, Encode};

use crate::config::{CHUNK_SIZE, MAX_MESSAGE_BYTES, StreamConfig};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::cbor::{self, Form};
use crate::proto::chunk_read::{ChunkReader, ReadLimits};
use crate::proto::chunk_write::{encode, wire_len};
use crate::proto::message::{MessageHead, kind};
use crate::stream::exported::GROWTH_BYTES;
use crate::stream::exported::settings::{self, SettingState, Settings};
use crate::stream::ingest::clock::ClockState;
use crate::stream::ingest::kept::{HeaderState, MAX_KEPT_BYTES};
use crate::stream::log::buffer::{STREAM_ID, chunk_stream_of, may_stand_in_log};
use crate::stream::log::cursor::Cursor;
use crate::stream::log::lineage::{LogPlace, MOVED_FLAGS, Moved};
use crate::stream::name::StreamName;

/// The version of a stream's state.
pub(crate) const VERSION: u16 = 1;

const FORM: Form = Form { magic: b"RRst", version: VERSION, name: "an exported stream" };

/// Bound on the bytes beside the tail and the headers: names, settings, numbers.
const REST_BYTES: usize = 4 * cbor::bytes::MAX_BYTES;

/// Most bytes of a tail: no queue and no cached group may be larger than half of it.
const TAIL_BYTES: usize = 2 << 30;

/// Most bytes of a state.
pub(crate) const BYTES_MAX: usize = TAIL_BYTES + MAX_KEPT_BYTES + REST_BYTES;

/// A log has one chunk stream for each kind of media, and the one of control messages goes before them.
const CHUNK_STREAMS: usize = 8;

#[derive(Debug, Encode, Decode)]
struct State<'a> {
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    app: Vec<u8>,
    #[n(1)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    key: Vec<u8>,
    #[b(2)]
    #[cbor(with = "crate::proto::cbor::list")]
    settings: Vec<SettingState<'a>>,
    /// It exists by the host's wish, with or without peers.
    #[n(3)]
    reserved: bool,
    #[n(4)]
    clock: ClockState,
    /// Where the tail began in the log that it is of.
    #[n(5)]
    from: LogPlace,
    /// The headers that are valid there, and before those that the tail has.
    #[b(6)]
    #[cbor(with = "crate::proto::cbor::list")]
    headers: Vec<HeaderState<'a>>,
    /// The log's own bytes.
    #[b(7)]
    #[cbor(with = "minicbor::bytes")]
    tail: &'a [u8],
    /// What these do not say, a byte for each message.
    #[b(8)]
    #[cbor(with = "minicbor::bytes")]
    flags: &'a [u8],
    /// Its publisher can come along.
    #[n(9)]
    publisher_moves: Option<bool>,
}

/// A stream for another process, or of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExportedStream {
    /// Its name.
    pub(crate) name: StreamName,
    /// Its settings.
    pub(crate) config: StreamConfig,
    /// It exists by the host's wish.
    pub(crate) reserved: bool,
    /// Its time.
    pub(in crate::stream) clock: ClockState,
    /// Where the tail began.
    pub(in crate::stream) from: LogPlace,
    /// Type and body of each header.
    pub(in crate::stream) headers: Vec<(u8, Vec<u8>)>,
    /// The log's bytes.
    pub(in crate::stream) tail: Vec<u8>,
    /// A byte for each message.
    pub(in crate::stream) flags: Vec<u8>,
    /// Its publisher can come along, so that its place is kept for it.
    pub(crate) publisher_moves: bool,
}

/// The state of a stream. It may be a part of the message that it has come in: a task that hands on gigabytes must not copy
/// them, because others wait for its thread.
#[derive(Debug)]
pub struct StreamState {
    message: Vec<u8>,
    at: Range<usize>,
}

impl StreamState {
    /// The state at this place of a message.
    pub(in crate::stream) fn within(message: Vec<u8>, at: Range<usize>) -> Self {
        Self { message, at }
    }
}

impl From<Vec<u8>> for StreamState {
    fn from(state: Vec<u8>) -> Self {
        Self { at: 0..state.len(), message: state }
    }
}

impl Deref for StreamState {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.message.get(self.at.clone()).unwrap_or_default()
    }
}

/// The outcome of a stream's export.
#[derive(Debug)]
pub enum StreamExport {
    /// Its state, with which another process goes on.
    State(StreamState),
    /// There is too little room for the state; this many bytes are enough now.
    Needs(usize),
}

/// What the state of a stream is made of. It may have gigabytes, which whoever waits for it copies: others wait for the
/// thread of the relay that gives this.
pub(crate) struct StreamParts {
    /// The stream without its tail.
    stream: ExportedStream,
    /// Where the tail begins and ends in the log.
    begin: Cursor,
    end: u64,
}

impl fmt::Debug for StreamParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamParts").field("stream", &self.stream).field("end", &self.end).finish_non_exhaustive()
    }
}

impl StreamParts {
    /// Those of a stream, which has no tail yet, with the log from `begin` to this position.
    pub(in crate::stream) fn new(stream: ExportedStream, begin: Cursor, end: u64) -> Self {
        Self { stream, begin, end }
    }

    /// The state, if there is room for it.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn export(self, room: usize) -> Result<StreamExport> {
        let Self { mut stream, begin: mut cursor, end } = self;
        let bytes = usize::try_from(end.saturating_sub(cursor.position())).unwrap_or(usize::MAX);
        // With too little room the state is not made, only measured.
        if bytes <= room {
            stream.tail.try_reserve_exact(bytes).map_err(|_| RRError::NoMem)?;
            while cursor.position() < end
                && let Some(message) = cursor.message()
            {
                stream.tail.extend_from_slice(message.wire);
                stream.flags.push(message.mark.flags & MOVED_FLAGS);
                cursor.skip_message();
            }
        }
        let state = stream.state()?;
        if bytes <= room && state.len() <= room {
            return Ok(StreamExport::State(state.into()));
        }
        // A message takes a byte beside it, and more than ten on the wire.
        let missing = if bytes <= room { 0 } else { bytes + bytes / 10 };
        Ok(StreamExport::Needs(state.len() + missing + GROWTH_BYTES))
    }
}

/// How far the export of a stream has come when the thread that has the stream is done with it.
#[derive(Debug)]
pub(crate) enum ToExport {
    /// The state is to be made.
    Parts(Box<StreamParts>),
    /// The stream's process has made it.
    Made(StreamExport),
}

impl ToExport {
    /// The outcome, with this room for the state. This takes time.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn outcome(self, room: usize) -> Result<StreamExport> {
        match self {
            Self::Parts(parts) => parts.export(room),
            Self::Made(outcome) => Ok(outcome),
        }
    }
}

impl ExportedStream {
    /// The bytes of its state.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn state(&self) -> Result<Vec<u8>> {
        let mut settings = Settings::default();
        self.config.each_setting(|name, value| settings.add(name, value));
        FORM.encode(&State {
            app: self.name.app.clone(),
            key: self.name.key.clone(),
            settings: settings.states(),
            reserved: self.reserved,
            clock: self.clock.clone(),
            from: self.from.clone(),
            headers: self.headers.iter().map(|(type_id, body)| HeaderState { type_id: *type_id, body }).collect(),
            tail: &self.tail,
            flags: &self.flags,
            publisher_moves: Some(self.publisher_moves),
        })
    }

    /// The stream that this state is of.
    ///
    /// # Errors
    /// [`RRError::Arg`] for what is no exported stream, [`RRError::Version`] for one of a newer form, [`RRError::Limit`] for
    /// one that is larger than any may be, [`RRError::NoMem`].
    pub(crate) fn read(state: &[u8]) -> Result<Self> {
        let State { app, key, settings, reserved, clock, from, headers, tail, flags, publisher_moves } =
            FORM.decode(state, BYTES_MAX)?;
        let publisher_moves = publisher_moves.unwrap_or_default();
        let name = StreamName::checked(&app, &key)?;
        if !from.is_named() || from.position > u64::MAX / 2 {
            return Err(Failure::ours(RRError::Arg, "no log has such a place"));
        }
        let (mut config, mut known) = (StreamConfig::default(), Settings::default());
        config.each_setting(|name, value| known.add(name, value));
        settings::apply(settings, &known, |name, value| config.set(name, value))?;
        if headers.iter().map(|header| header.body.len()).sum::<usize>() > MAX_KEPT_BYTES {
            return Err(Failure::ours(RRError::Limit, "its publisher has more headers than are kept"));
        }
        let headers = headers.iter().map(|header| {
            header.message(0, 0)?;
            Ok((header.type_id, copied(header.body)?))
        });
        let headers = headers.collect::<Result<_>>()?;
        let (tail, flags) = (copied(tail)?, copied(flags)?);
        let config = config.checked();
        let this = Self { name, config, reserved, clock, from, headers, tail, flags, publisher_moves };
        this.messages(|_| Ok(()))?;
        Ok(this)
    }

    /// The headers as messages before the tail.
    pub(in crate::stream) fn header_messages(&self) -> Vec<Moved> {
        let mut first_ms = None;
        let _ = self.messages(|message| {
            first_ms = Some(message.head.timestamp_ms);
            Err(RRError::State.into())
        });
        let timestamp_ms = first_ms.unwrap_or(0);
        let message = |(type_id, body): &(u8, Vec<u8>)| {
            let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let head = MessageHead { type_id: *type_id, timestamp_ms, len, ..MessageHead::default() };
            Moved { head, body: body.clone(), flags: 0 }
        };
        self.headers.iter().map(message).collect()
    }

    /// Gives the messages of the tail, one after another.
    ///
    /// # Errors
    /// [`RRError::Arg`] where the tail is no part of a log, and what `take` says.
    pub(in crate::stream) fn messages(&self, mut take: impl FnMut(&Moved) -> Result<()>) -> Result<()> {
        let no_log = || Failure::ours(RRError::Arg, "the tail is no part of a log");
        let limits = ReadLimits {
            max_message: MAX_MESSAGE_BYTES,
            max_open_bytes: MAX_MESSAGE_BYTES as usize,
            max_chunk_streams: CHUNK_STREAMS,
        };
        let mut reader = ChunkReader::new(limits);
        let mut size = Vec::new();
        let head = MessageHead { type_id: kind::SET_CHUNK_SIZE, len: 4, chunk_stream: 2, ..MessageHead::default() };
        encode(&head, &CHUNK_SIZE.to_be_bytes(), 128, &mut size);
        reader.next(&size, &mut 0).map_err(|_| no_log())?;
        let (mut at, mut flags) = (0, self.flags.iter());
        while at < self.tail.len() {
            let begin = at;
            let Some(head) = reader.next(&self.tail, &mut at).map_err(|_| no_log())? else { return Err(no_log()) };
            // Of the very form that a log has, so that places in it are the same again.
            let as_in_log = head.stream_id == STREAM_ID
                && head.chunk_stream == chunk_stream_of(head.type_id)
                && at - begin == wire_len(&head, CHUNK_SIZE)
                && may_stand_in_log(head.type_id);
            let Some(flags) = flags.next().filter(|&flags| as_in_log && flags & !MOVED_FLAGS == 0) else {
                return Err(no_log());
            };
            take(&Moved { head, body: copied(reader.body(&self.tail))?, flags: *flags })?;
        }
        if flags.next().is_some() { Err(no_log()) } else { Ok(()) }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl ExportedStream {
    /// Its log goes on elsewhere, with all messages of the tail.
    pub(crate) fn goes_on(&self) {
        let (mut messages, mut bytes) = (0, 0);
        let counted = self.messages(|moved| {
            (messages, bytes) = (messages + 1, bytes + moved.body.len());
            Ok(())
        });
        assert!(counted.is_ok() && messages == self.flags.len() && bytes < self.tail.len() + 1);
        assert_eq!(self.header_messages().len(), self.headers.len());
    }

    /// The same without a tail.
    #[cfg(test)]
    pub(crate) fn without_tail(&self) -> Self {
        Self { tail: Vec::new(), flags: Vec::new(), ..self.clone() }
    }

    /// A stream with a header, and a tail of two messages.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let mut tail = Vec::new();
        for (type_id, ts_ms, body) in
            [(kind::VIDEO, 40, &[0x17, 1, 0, 0, 0, 7][..]), (kind::AUDIO, 1 << 25, &[0xAF, 1])]
        {
            let head = MessageHead {
                timestamp_ms: ts_ms,
                type_id,
                stream_id: STREAM_ID,
                len: body.len() as u32,
                chunk_stream: chunk_stream_of(type_id),
            };
            encode(&head, body, CHUNK_SIZE, &mut tail);
        }
        Self {
            name: StreamName { app: b"live".to_vec(), key: b"show".to_vec() },
            config: StreamConfig { cpus: vec![0], grace_ms: 5, ..StreamConfig::default() },
            reserved: true,
            clock: crate::stream::ingest::clock::Clock::new(crate::config::ClockMode::Pass).state(0),
            from: LogPlace { log: b"log".to_vec(), position: 1000 },
            headers: vec![(kind::VIDEO, b"\x17\0\0\0\0avcC".to_vec())],
            tail,
            flags: vec![MOVED_FLAGS, 0],
            publisher_moves: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_stream_is_read_again() {
        let stream = ExportedStream::example();
        assert_eq!(ExportedStream::read(&stream.state().unwrap()), Ok(stream.clone()));
        let mut times = Vec::new();
        stream
            .messages(|moved| {
                times.push((moved.head.type_id, moved.head.timestamp_ms, moved.body.len()));
                Ok(())
            })
            .unwrap();
        assert_eq!(times, [(kind::VIDEO, 40, 6), (kind::AUDIO, 1 << 25, 2)]);
    }

    #[test]
    fn what_no_stream_has_is_refused_in_words() {
        let refused = |change: fn(&mut ExportedStream), wanted: RRError, words: &str| {
            let mut stream = ExportedStream::example();
            change(&mut stream);
            let failure = ExportedStream::read(&stream.state().unwrap()).unwrap_err();
            assert!(failure.kind == wanted && failure.text.contains(words), "{failure}");
        };
        refused(|stream| stream.name.app = b"li\0ve".to_vec(), RRError::Arg, "NUL");
        refused(|stream| stream.config.queue_ms = 1, RRError::Arg, "queue_ms");
        refused(|stream| stream.from.log = vec![7; 300], RRError::Arg, "place");
        refused(|stream| stream.from.position = u64::MAX, RRError::Arg, "place");
        refused(|stream| stream.headers[0].1 = b"\x27\x01\0\0\0".to_vec(), RRError::Arg, "header");
        refused(|stream| stream.headers[0].1.resize(MAX_KEPT_BYTES + 1, 0), RRError::Limit, "headers");
        let no_log = [
            |stream: &mut ExportedStream| stream.tail.truncate(stream.tail.len() - 1),
            |stream: &mut ExportedStream| stream.tail[7] = kind::COMMAND,
            |stream: &mut ExportedStream| stream.tail[8] = 2,
            |stream: &mut ExportedStream| stream.flags[1] = 1,
            |stream: &mut ExportedStream| stream.flags.push(0),
            |stream: &mut ExportedStream| stream.flags.truncate(1),
        ];
        no_log.into_iter().for_each(|change| refused(change, RRError::Arg, "no part of a log"));
    }
}
