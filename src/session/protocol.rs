//! The part below commands that both RTMP roles share: handshake, chunks, acknowledgements, pings, aggregates, and the
//! output.
//!
//! The protocol answers protocol control and user control messages by itself (specification 5.4, 7.1.7) and gives all
//! other messages to the session above. It does not interpret commands.

use std::ops::Range;

use minicbor::{Decode, Encode};

use super::SessionConfig;
use super::flow::Flow;
use super::said::SaidList;
use super::timers::{self, Due, Timers};
use crate::config::MAX_OPEN_BYTES_COMMAND;
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::chunk_header::{CHUNK_SIZE_DEFAULT, CHUNK_STREAM_MAX, CHUNK_STREAM_MIN};
use crate::proto::chunk_read::ChunkReader;
use crate::proto::chunk_write;
use crate::proto::handshake::Handshake;
use crate::proto::message::{MessageHead, is_media, kind};

/// Events of user control messages.
pub(super) mod user {
    /// A stream begins.
    pub(crate) const STREAM_BEGIN: u16 = 0;
    /// The data of a stream has ended.
    pub(crate) const STREAM_EOF: u16 = 1;
    /// The player's buffer length, in ms.
    pub(crate) const SET_BUFFER_LENGTH: u16 = 3;
    pub(super) const PING: u16 = 6;
    pub(super) const PONG: u16 = 7;
}

/// Most output that may wait to be sent: a peer that asks without reading the answers is closed, and a driver's message
/// is refused. Handshake and connect answers are below 5 KiB together.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// Larger output buffers are freed when they are empty.
const KEEP_OUTPUT_BYTES: usize = 512;

/// A peer that sends nothing for this long may be waiting for an acknowledgement. Shorter pauses come from the network.
const STILL_MS: u64 = 500;

/// Bytes of a tag's head in an aggregate, and of the back pointer after its data.
const TAG_HEAD_BYTES: usize = 11;
const TAG_TAIL_BYTES: usize = 4;

/// An event for the session above.
pub(super) enum Incoming {
    /// The handshake is over.
    Handshaken,
    /// Any message except protocol and user control; its body is at [`Protocol::body`].
    Message(MessageHead),
    /// A user control event that is not a ping: its first number, and its second or 0.
    User { event: u16, first: u32, second: u32 },
}

/// An aggregate message being unpacked.
#[derive(Clone, Debug, Encode, Decode)]
struct Aggregate {
    #[n(0)]
    head: MessageHead,
    #[n(1)]
    at: usize,
    /// The first tag's timestamp, which corresponds to the aggregate's own.
    #[n(2)]
    base_ms: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Protocol {
    handshake: Option<Box<Handshake>>,
    reader: ChunkReader,
    /// The body within the reader's body, while an aggregate is unpacked.
    part: Option<Range<usize>>,
    aggregate: Option<Box<Aggregate>>,
    /// Whether the peer may send media, with the larger limits.
    takes_media: bool,
    out: Vec<u8>,
    /// An upper bound on the bytes of the driver's messages in `out`.
    messages_out: usize,
    chunk_size: u32,
    flow: Flow,
    pub(super) timers: Timers,
    pub(super) said: SaidList,
    pub(super) ignored: u32,
}

impl Protocol {
    pub(super) fn new(handshake: Handshake, config: &SessionConfig, timers: Timers) -> Self {
        Self {
            handshake: Some(Box::new(handshake)),
            reader: ChunkReader::new(config.limits(false)),
            part: None,
            aggregate: None,
            takes_media: false,
            out: Vec::new(),
            messages_out: 0,
            chunk_size: CHUNK_SIZE_DEFAULT,
            flow: Flow::default(),
            timers,
            said: SaidList::default(),
            ignored: 0,
        }
    }

    /// Client: puts the first handshake bytes into the output.
    pub(super) fn start(&mut self) -> Result<()> {
        if let Some(handshake) = &mut self.handshake {
            handshake.start(&mut self.out)?;
            self.flow.handshake(self.out.len());
        }
        Ok(())
    }

    pub(super) fn handshaken(&self) -> bool {
        self.handshake.is_none()
    }

    /// Sets whether the peer may send media, and its limits accordingly.
    pub(super) fn take_media(&mut self, config: &SessionConfig, takes_media: bool) {
        self.takes_media = takes_media;
        self.reader.set_limits(config.limits(takes_media));
    }

    /// Frees memory that a peer that sends little does not need.
    pub(super) fn slim(&mut self) {
        self.reader.release_spare();
    }

    /// The next event for the session above; `None` when all input has been taken.
    pub(super) fn next(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<Option<Incoming>> {
        if *at < input.len() {
            self.timers.heard(now_ms);
        }
        loop {
            if self.out.len() - self.messages_out > MAX_OUTPUT_BYTES {
                return Err(Failure::limit("the peer asks faster than it takes answers"));
            }
            if let Some(handshake) = &mut self.handshake {
                let before = self.out.len();
                let done = handshake.feed(input, at, &mut self.out)?;
                self.flow.handshake(self.out.len() - before);
                if !done {
                    return Ok(None);
                }
                self.handshake = None;
                return Ok(Some(Incoming::Handshaken));
            }
            self.part = None;
            if self.aggregate.is_some() {
                if let Some(head) = self.next_of_aggregate(input) {
                    return Ok(Some(Incoming::Message(head)));
                }
                self.aggregate = None;
            }
            let before = *at;
            let found = self.reader.next(input, at)?;
            self.flow.receive(*at - before);
            if self.flow.is_ack_due() {
                self.write_ack();
            }
            let Some(head) = found else { return Ok(None) };
            match head.type_id {
                kind::SET_CHUNK_SIZE | kind::ABORT => {}
                kind::ACK | kind::WINDOW_ACK | kind::PEER_BANDWIDTH => self.window(head.type_id, input),
                kind::USER_CONTROL => {
                    if let Some(incoming) = self.user_control(input, now_ms) {
                        return Ok(Some(incoming));
                    }
                }
                kind::AGGREGATE => {
                    self.reader.keep_body(input)?;
                    self.aggregate = Some(Box::new(Aggregate { head, at: 0, base_ms: None }));
                }
                _ => return Ok(Some(Incoming::Message(head))),
            }
        }
    }

    /// Whether [`next`](Self::next) has nothing to do without further input, once all is taken and it has given a message.
    pub(super) fn is_dry(&self) -> bool {
        // The reader keeps the body of an aggregate that is being unpacked.
        self.reader.is_dry()
    }

    /// Whether it keeps nothing of what it has taken, and has no output.
    pub(super) fn is_clear(&self) -> bool {
        self.is_dry() && self.reader.open_bytes() == 0 && self.out.is_empty()
    }

    /// The body of the message just given; `input` as in [`Protocol::next`].
    pub(super) fn body<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        let whole = self.reader.body(input);
        match &self.part {
            Some(part) => whole.get(part.clone()).unwrap_or_default(),
            None => whole,
        }
    }

    /// Keeps the body until the next call of [`Protocol::next`] that takes input, also if the driver passes another
    /// buffer meanwhile.
    pub(super) fn keep_body(&mut self, input: &[u8]) -> Result<()> {
        self.reader.keep_body(input)
    }

    /// A copy of a command's body. It is bounded, because commands are small even where messages may be large.
    pub(super) fn command_body(&self, input: &[u8]) -> Result<Vec<u8>> {
        let body = self.body(input);
        if body.len() > MAX_OPEN_BYTES_COMMAND {
            return Err(Failure::limit(format!("a command of {} bytes", body.len())));
        }
        copied(body)
    }

    /// The next audio, video or data tag; an aggregate holds no others (7.1.6).
    #[cold]
    fn next_of_aggregate(&mut self, input: &[u8]) -> Option<MessageHead> {
        let aggregate = self.aggregate.as_mut()?;
        let body = self.reader.body(input);
        loop {
            let rest = body.get(aggregate.at..).filter(|rest| !rest.is_empty())?;
            let Some((tag, data)) = rest.split_first_chunk::<TAG_HEAD_BYTES>() else {
                self.ignored = self.ignored.saturating_add(1);
                return None;
            };
            let len = u32::from_be_bytes([0, tag[1], tag[2], tag[3]]);
            let time_ms = u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]);
            let start = aggregate.at + TAG_HEAD_BYTES;
            let end = start + len as usize;
            aggregate.at = end + TAG_TAIL_BYTES;
            let base_ms = *aggregate.base_ms.get_or_insert(time_ms);
            if data.len() < len as usize || !is_media(tag[0]) {
                self.ignored = self.ignored.saturating_add(1);
                continue;
            }
            self.part = Some(start..end);
            let timestamp_ms = aggregate.head.timestamp_ms.wrapping_add(time_ms.wrapping_sub(base_ms));
            return Some(MessageHead { timestamp_ms, type_id: tag[0], len, ..aggregate.head });
        }
    }

    /// When an acknowledgement is due to a peer that announced no window: such a peer may still keep to our limit, and
    /// has stopped after sending much of it.
    fn still_ms(&self) -> Option<u64> {
        self.flow.may_wait().then(|| self.timers.last_heard_ms().saturating_add(STILL_MS))
    }

    #[cold]
    fn write_ack(&mut self) {
        let total = self.flow.acknowledge();
        self.control(kind::ACK, &total.to_be_bytes());
    }

    /// Limits what the peer may send without an acknowledgement.
    pub(super) fn limit_peer(&mut self, bytes: u32, limit_type: u8) {
        self.flow.set_allowance(bytes);
        let [a, b, c, d] = bytes.to_be_bytes();
        self.control(kind::PEER_BANDWIDTH, &[a, b, c, d, limit_type]);
    }

    #[cold]
    fn window(&mut self, type_id: u8, input: &[u8]) {
        let Some(value) = self.reader.body(input).first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else { return };
        match type_id {
            kind::ACK => self.flow.acknowledged(value),
            kind::WINDOW_ACK if value > 0 => self.flow.set_peer_window(value),
            // We answer a limit on us with the window that we use (5.4.5).
            kind::PEER_BANDWIDTH if value > 0 && value != self.flow.our_window() => self.announce_window(value),
            _ => {}
        }
    }

    #[cold]
    fn user_control(&mut self, input: &[u8], now_ms: u64) -> Option<Incoming> {
        let body = self.reader.body(input);
        let (event, numbers) = body.split_first_chunk()?;
        let event = u16::from_be_bytes(*event);
        let first = u32::from_be_bytes(*numbers.first_chunk()?);
        let second =
            numbers.get(4..8).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
        match event {
            user::PING => self.user(user::PONG, &[first]),
            user::PONG => self.timers.pong(first, now_ms),
            _ => return Some(Incoming::User { event, first, second }),
        }
        None
    }

    /// Writes a protocol control message.
    pub(super) fn control(&mut self, type_id: u8, body: &[u8]) {
        self.write(type_id, CONTROL_CHUNK_STREAM, 0, body);
    }

    /// Writes a user control message.
    pub(super) fn user(&mut self, event: u16, numbers: &[u32]) {
        let mut body = event.to_be_bytes().to_vec();
        numbers.iter().for_each(|number| body.extend_from_slice(&number.to_be_bytes()));
        self.control(kind::USER_CONTROL, &body);
    }

    /// Writes a command whose body `build` appends.
    pub(super) fn command(&mut self, stream_id: u32, build: impl FnOnce(&mut Vec<u8>)) {
        let mut body = Vec::new();
        build(&mut body);
        self.write(kind::COMMAND, COMMAND_CHUNK_STREAM, stream_id, &body);
    }

    /// Writes a data message whose body `build` appends.
    pub(super) fn data(&mut self, stream_id: u32, build: impl FnOnce(&mut Vec<u8>)) {
        let mut body = Vec::new();
        build(&mut body);
        self.write(kind::DATA, DATA_CHUNK_STREAM, stream_id, &body);
    }

    pub(super) fn announce_window(&mut self, bytes: u32) {
        self.flow.set_our_window(bytes);
        self.control(kind::WINDOW_ACK, &bytes.to_be_bytes());
    }

    /// Announces our chunk size and uses it from the next message on.
    pub(super) fn announce_chunk_size(&mut self, bytes: u32) {
        self.control(kind::SET_CHUNK_SIZE, &bytes.to_be_bytes());
        self.chunk_size = bytes;
    }

    fn write(&mut self, type_id: u8, chunk_stream: u32, stream_id: u32, body: &[u8]) {
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let head = MessageHead { timestamp_ms: 0, type_id, stream_id, len, chunk_stream };
        chunk_write::encode(&head, body, self.chunk_size, &mut self.out);
    }

    /// Appends a message of the driver's.
    pub(super) fn send_message(&mut self, head: &MessageHead, body: &[u8]) -> Result<()> {
        let refused = |kind, text| Err(Failure::ours(kind, text));
        if head.len as usize != body.len() || head.len >= 1 << 24 {
            return refused(RRError::Arg, "the message's head and body differ in length");
        }
        if !(CHUNK_STREAM_MIN..=CHUNK_STREAM_MAX).contains(&head.chunk_stream) {
            return refused(RRError::Arg, "the chunk stream id is out of range");
        }
        if matches!(head.type_id, 0..=kind::PEER_BANDWIDTH | kind::COMMAND | kind::COMMAND_AMF3) {
            return refused(RRError::Arg, "only the session sends control messages and commands");
        }
        if self.out.len() >= MAX_OUTPUT_BYTES {
            return refused(RRError::Again, "too much output waits to be sent");
        }
        let bytes = chunk_write::wire_len(head, self.chunk_size);
        self.out.try_reserve(bytes).map_err(|_| RRError::NoMem)?;
        chunk_write::encode(head, body, self.chunk_size, &mut self.out);
        self.messages_out += bytes;
        Ok(())
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.out
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        self.flow.consumed(self.out.len());
        self.messages_out = 0;
        std::mem::take(&mut self.out)
    }

    pub(super) fn lend_output(&mut self) -> Vec<u8> {
        self.messages_out = 0;
        std::mem::take(&mut self.out)
    }

    pub(super) fn consumed(&mut self, bytes: usize) {
        let bytes = bytes.min(self.out.len());
        self.flow.consumed(bytes);
        self.out.drain(..bytes);
        self.messages_out = self.messages_out.min(self.out.len());
        if self.out.is_empty() && self.out.capacity() > KEEP_OUTPUT_BYTES {
            self.out = Vec::new();
        }
    }

    pub(super) fn note_sent(&mut self, bytes: u64) {
        self.flow.media_sent(bytes);
    }

    pub(super) fn unacked(&self) -> Option<u64> {
        self.flow.unacked()
    }

    pub(super) fn sent(&self) -> u64 {
        self.flow.sent()
    }

    pub(super) fn may_be_unread(&self) -> u32 {
        self.flow.may_be_unread()
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        timers::earliest(self.timers.next_ms(), self.still_ms())
    }

    /// Does what is due. True if the host has not answered the open question in time.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) -> Result<bool> {
        if self.still_ms().is_some_and(|still_ms| now_ms >= still_ms) {
            self.write_ack();
        }
        match self.timers.due(now_ms)? {
            Due::Nothing => return Ok(false),
            Due::Unanswered => return Ok(true),
            // While the peer does not take output, a second ping would tell no more than the first.
            Due::Ping if !self.out.is_empty() => {}
            Due::Ping => {
                let stamp = self.timers.ping(now_ms);
                self.user(user::PING, &[stamp]);
            }
        }
        Ok(false)
    }

    pub(super) fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    pub(super) fn received(&self) -> u64 {
        self.flow.received()
    }

    /// Heap in use, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.reader.heap_bytes() + self.out.capacity()
    }
}

const CONTROL_CHUNK_STREAM: u32 = 2; // 5.4: the one for control messages
const COMMAND_CHUNK_STREAM: u32 = 3;
const DATA_CHUNK_STREAM: u32 = 5;

mod snapshot;

pub(super) use snapshot::{OUTPUT_BYTES, ProtocolState};

/// The methods that both sessions forward to their [`Protocol`], documented once.
macro_rules! protocol_methods {
    () => {
        /// The body of the [`Event::Message`] that `next` has just given; `input` must be the same as in that call.
        pub fn body<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
            self.protocol.body(input)
        }

        /// Keeps that body: from now on `body` gives it with any input, until the next call of `next`.
        ///
        /// # Errors
        /// [`RRError::NoMem`](crate::error::RRError::NoMem).
        pub fn keep_body(&mut self, input: &[u8]) -> crate::error::Result<()> {
            self.protocol.keep_body(input)
        }

        /// Bytes for the peer.
        pub fn output(&self) -> &[u8] {
            self.protocol.output()
        }

        /// Takes the bytes for the peer out of the output.
        pub fn take_output(&mut self) -> Vec<u8> {
            self.protocol.take_output()
        }

        /// Takes the bytes for the peer without counting them as sent; the driver counts them with
        /// [`note_sent`](Self::note_sent) when it sends them.
        pub fn lend_output(&mut self) -> Vec<u8> {
            self.protocol.lend_output()
        }

        /// The first `bytes` of the output have been sent.
        pub fn consumed(&mut self, bytes: usize) {
            self.protocol.consumed(bytes);
        }

        /// The driver sent this many bytes itself (media), which the peer will acknowledge too.
        pub fn note_sent(&mut self, bytes: u64) {
            self.protocol.note_sent(bytes);
        }

        /// Bytes sent and not acknowledged; `None` before the peer's first acknowledgement.
        pub fn unacked(&self) -> Option<u64> {
            self.protocol.unacked()
        }

        /// When [`handle_timeout`](Self::handle_timeout) is to be called, on the clock given to `next` and `new`,
        /// unless something happens before. `None`: no deadline or ping is pending.
        pub fn next_timeout(&self) -> Option<u64> {
            self.protocol.next_timeout()
        }

        /// Does what is due at `now_ms`; it may put a ping into the output. Calling it too early does nothing.
        ///
        /// # Errors
        /// Every error ends the session: the peer missed a deadline, is silent, or does not answer pings.
        pub fn handle_timeout(&mut self, now_ms: u64) -> Result<Option<Event>> {
            Ok(self.protocol.handle_timeout(now_ms)?.then_some(Event::Unanswered))
        }

        /// How long the last answered ping took.
        pub fn rtt_ms(&self) -> Option<u32> {
            self.protocol.timers.rtt_ms()
        }

        /// Bytes sent, including those that the driver sent itself.
        pub fn sent(&self) -> u64 {
            self.protocol.sent()
        }

        /// How many bytes of the peer may wait at the socket: it may wait for the acknowledgement of more.
        pub fn may_be_unread(&self) -> u32 {
            self.protocol.may_be_unread()
        }

        /// Bytes received after the handshake.
        pub fn received(&self) -> u64 {
            self.protocol.received()
        }

        /// Sets whether the peer's commands are kept for [`take_said`](Self::take_said). At first they are not.
        pub fn report_commands(&mut self, wanted: bool) {
            self.protocol.said.want(wanted);
        }

        /// The commands since the last call. A driver that wants them takes them after each `next`, since their number
        /// is bounded only by the input.
        pub fn take_said(&mut self) -> Vec<Said> {
            self.protocol.said.take()
        }

        /// Number of messages and commands that were ignored.
        pub fn ignored(&self) -> u32 {
            self.protocol.ignored
        }
    };
}
pub(super) use protocol_methods;
