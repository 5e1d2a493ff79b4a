//! The server's side of a conversation: a peer connects, then publishes or plays.
//!
//! The session answers everything that needs no decision; `connect`, `publish` and `play` become questions to the
//! driver. A connection either publishes one stream at a time or plays one or more. The module's comment has the
//! driver's duties.

use minicbor::{Decode, Encode};

use super::inbound::Inbound;
use super::protocol::{Incoming, Protocol, protocol_methods, user};
use super::timers::{Phase, Question, Timers};
use super::{Event, Said, SessionConfig};
use crate::config::CHUNK_SIZE;
use crate::error::{Failure, RRError, Result};
use crate::proto::amf0::Value;
use crate::proto::command::{CAPS_RECONNECT, Call, Command, Connect, build};
use crate::proto::handshake::Handshake;
use crate::proto::message::{MessageHead, kind};

mod info;
mod snapshot;
mod streams;

use info::ConnectInfo;
pub(super) use snapshot::ServerState;
pub(crate) use streams::STREAMS_MAX;
use streams::{Mode, Next, Streams};

/// Most commands of a peer that neither publishes nor plays. Encoders need about six, players with several tries some
/// dozen.
const COMMANDS_MAX: u32 = 1_000;

/// How many publishes and plays a connection may begin at once, and the time in milliseconds after which it may begin
/// one more. Each takes a peer 60 bytes, and costs a hand-over between threads and some events for the host. No viewer
/// changes channels that fast.
const BEGINS_AT_ONCE: u64 = 100;
const BEGIN_EVERY_MS: u64 = 100;

/// Longest `connect` in bytes: it is kept as long as the peer stays. One with tokens in every url stays below 16 KiB.
const CONNECT_MAX_BYTES: usize = 32 * 1024;

/// Longest stream key in bytes. Signed queries of CDNs stay below 2 KiB.
const KEY_MAX_BYTES: usize = 4_096;

/// Error text for a peer that does not connect in time.
const LATE: &str = "no connect in time";

/// The limit of Set Peer Bandwidth: dynamic (5.4.5), as servers send it.
const BANDWIDTH_DYNAMIC: u8 = 2;

/// The question that waits for the driver's answer.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
enum Ask {
    #[n(0)]
    Nothing,
    #[n(1)]
    Connect {
        #[n(0)]
        transaction: f64,
    },
    #[n(2)]
    Stream,
}

/// A conversation on a connection that a peer opened.
///
/// - the step: [`next`](Self::next), with [`body`](Self::body) for messages
/// - answers: `accept_connect`, `reject_connect`, `accept_publish`, `accept_play`, `reject_stream`
/// - news for the peer: `end_publish`, `end_play`, `reconnect_request`
/// - time: `next_timeout`, `handle_timeout`, `asked`
/// - moving to another process: `snapshot`, `restore`
/// - output: `send_message`, `output`, `take_output`, `consumed`, `note_sent`
#[derive(Debug)]
pub struct ServerSession {
    protocol: Protocol,
    config: SessionConfig,
    info: Option<ConnectInfo>,
    ask: Ask,
    connected: bool,
    finished: bool,
    streams: Streams,
    commands: u32,
    /// The moment up to which its publishes and plays count, if each lasted [`BEGIN_EVERY_MS`].
    begun_until_ms: u64,
}

impl ServerSession {
    /// A session before its first byte.
    pub fn new(config: &SessionConfig, now_ms: u64) -> Self {
        Self {
            protocol: Protocol::new(Handshake::server(), config, Timers::new(config.timing, LATE, now_ms)),
            config: config.clone(),
            info: None,
            ask: Ask::Nothing,
            connected: false,
            finished: false,
            streams: Streams::default(),
            commands: 0,
            begun_until_ms: 0,
        }
    }

    /// Takes bytes from `input[*at..]` up to the next event. `None`: all input has been taken.
    ///
    /// # Errors
    /// They end the session, except [`RRError::State`], which means that a question waits for its answer.
    /// [`RRError::Handshake`], [`RRError::Protocol`] and [`RRError::Limit`] are the peer's fault.
    pub fn next(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<Option<Event>> {
        if self.finished {
            *at = input.len();
            return Ok(None);
        }
        if self.ask != Ask::Nothing {
            return Err(Failure::ours(RRError::State, "the peer's question waits for its answer"));
        }
        if let Some(next) = self.streams.due() {
            self.count_begin(now_ms)?;
            return Ok(Some(self.ask_play(next)));
        }
        while let Some(incoming) = self.protocol.next(input, at, now_ms)? {
            let event = match incoming {
                Incoming::Handshaken => None,
                Incoming::User { event: user::SET_BUFFER_LENGTH, first, second } => {
                    self.streams.set_buffer_length(first, second);
                    None
                }
                Incoming::User { .. } => None,
                Incoming::Message(head) => match head.type_id {
                    kind::COMMAND | kind::COMMAND_AMF3 => {
                        let body = self.protocol.command_body(input)?;
                        self.command(&head, body)?
                    }
                    type_id if !self.connected => {
                        return Err(Failure::protocol(format!("a message of type {type_id} before connect")));
                    }
                    _ if self.streams.takes_media(head.stream_id) => {
                        self.protocol.timers.media(now_ms);
                        Some(Event::Message(head))
                    }
                    _ => self.ignore(),
                },
            };
            if let Some(Event::Publish { .. } | Event::Play { .. }) = event {
                self.count_begin(now_ms)?;
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Whether [`next`](Self::next) has nothing to do without further input, once all is taken and it has given a message.
    pub(crate) fn is_dry(&self) -> bool {
        self.protocol.is_dry() && !self.streams.has_queue()
    }

    /// Whether it keeps nothing of what it has taken, and has no output.
    pub(crate) fn is_clear(&self) -> bool {
        self.protocol.is_clear()
    }

    fn count_begin(&mut self, now_ms: u64) -> Result<()> {
        let until_ms = self.begun_until_ms.max(now_ms);
        if until_ms - now_ms >= BEGINS_AT_ONCE * BEGIN_EVERY_MS {
            return Err(Failure::limit("it begins publishes or plays too fast, one publish or play after another"));
        }
        self.begun_until_ms = until_ms + BEGIN_EVERY_MS;
        Ok(())
    }

    fn ignore(&mut self) -> Option<Event> {
        self.protocol.ignored = self.protocol.ignored.saturating_add(1);
        None
    }

    #[cold]
    fn command(&mut self, head: &MessageHead, body: Vec<u8>) -> Result<Option<Event>> {
        if !self.streams.busy() {
            self.commands += 1;
            if self.commands > COMMANDS_MAX {
                return Err(Failure::limit("too many commands without publish or play"));
            }
        }
        let call = Call::parse(head.type_id, &body)?;
        self.protocol.said.note(head.stream_id, &call);
        if !self.connected {
            let Command::Connect(connect) = &call.command else {
                let name = String::from_utf8_lossy(call.name.get(..32).unwrap_or(call.name)).into_owned();
                return Err(Failure::protocol(format!("the command '{name}' before connect")));
            };
            if body.len() > CONNECT_MAX_BYTES {
                return Err(Failure::limit(format!("a connect of {} bytes", body.len())));
            }
            let (transaction, info) = (call.transaction, ConnectInfo::new(connect, head.type_id));
            self.set_ask(Ask::Connect { transaction });
            self.info = Some(ConnectInfo { body: body.into_boxed_slice(), ..info });
            return Ok(Some(Event::Connect));
        }
        let (transaction, stream_id) = (call.transaction, head.stream_id);
        let event = match call.command {
            Command::CreateStream => {
                match self.streams.create() {
                    Some(id) => self.answer(transaction, Value::Number(id.into())),
                    None => self.protocol.command(0, |out| {
                        let text = format!("at most {STREAMS_MAX} streams");
                        build::error(out, transaction, "NetConnection.Call.Failed", &text);
                    }),
                }
                None
            }
            Command::ReleaseStream(_) => {
                self.answer(transaction, Value::Undefined);
                None
            }
            Command::FcPublish(key) => {
                self.answer(transaction, Value::Undefined);
                self.on_fc("onFCPublish", "NetStream.Publish.Start", key);
                None
            }
            Command::FcSubscribe(key) => {
                self.answer(transaction, Value::Undefined);
                self.on_fc("onFCSubscribe", "NetStream.Play.Start", key);
                None
            }
            Command::FcUnpublish(key) => {
                self.answer(transaction, Value::Undefined);
                self.on_fc("onFCUnpublish", "NetStream.Unpublish.Success", key);
                match self.streams.publishing_key(key) {
                    Some(id) => self.close(id, false),
                    None => None,
                }
            }
            Command::GetStreamLength(_) | Command::CheckBandwidth => {
                self.answer(transaction, Value::Number(0.0)); // live streams have no length
                None
            }
            Command::Publish { key, kind } => self.publish(stream_id, key, kind)?,
            Command::Play { key, part } => self.play(Next::new(stream_id, key, part))?,
            Command::CloseStream(id) => self.close(id.unwrap_or_else(|| self.streams.own(stream_id)), false),
            Command::DeleteStream(id) => self.close(id.unwrap_or(stream_id), true),
            Command::Pause { on, at_ms } if self.streams.plays(stream_id) => {
                let code = if on { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
                self.status(stream_id, "status", code, "");
                Some(Event::Pause { stream_id, on, at_ms })
            }
            Command::Seek(_) if self.streams.plays(stream_id) => {
                self.status(stream_id, "status", "NetStream.Seek.Notify", "Live: the position stays.");
                None
            }
            Command::ReceiveAudio(on) if self.streams.plays(stream_id) => {
                Some(Event::Receive { stream_id, audio: Some(on), video: None })
            }
            Command::ReceiveVideo(on) if self.streams.plays(stream_id) => {
                Some(Event::Receive { stream_id, audio: None, video: Some(on) })
            }
            // Answers to calls that we never made, a second connect, playlists, and unknown commands are ignored. We
            // never send onBWDone: ffmpeg and librtmp only answer it with _checkbw, and Flash players without a handler
            // for it fail.
            _ => self.ignore(),
        };
        Ok(event)
    }

    fn publish(&mut self, stream_id: u32, key: &[u8], kind: &[u8]) -> Result<Option<Event>> {
        let stream_id = self.streams.of_message(stream_id)?;
        let refusal = if self.streams.publishing().is_some() {
            Some(("NetStream.Publish.BadName", "This connection publishes already."))
        } else if self.streams.playing().is_some() {
            Some(("NetStream.Publish.Denied", "This connection plays; publish on another one."))
        } else if key.len() > KEY_MAX_BYTES {
            Some(("NetStream.Publish.BadName", "The name is too long."))
        } else {
            None
        };
        if let Some((code, text)) = refusal {
            self.status(stream_id, "error", code, text);
            return Ok(self.ignore());
        }
        self.set_ask(Ask::Stream);
        self.streams.set(stream_id, Mode::AskedPublish { key: key.to_vec() });
        Ok(Some(Event::Publish { stream_id, key: key.to_vec(), kind: kind.to_vec() }))
    }

    fn play(&mut self, mut next: Next) -> Result<Option<Event>> {
        let stream_id = self.streams.of_message(next.stream_id)?;
        next.stream_id = stream_id;
        let refusal = if self.streams.publishing().is_some() {
            Some("This connection publishes; play on another one.")
        } else if next.key.len() > KEY_MAX_BYTES {
            Some("The name is too long.")
        } else if !next.part().resets() && self.streams.plays(stream_id) {
            if self.streams.queue(next) {
                return Ok(None);
            }
            self.status(stream_id, "error", "NetStream.Play.Failed", "Too many names wait.");
            return Ok(self.ignore());
        } else {
            None
        };
        if let Some(text) = refusal {
            self.status(stream_id, "error", "NetStream.Play.Failed", text);
            return Ok(self.ignore());
        }
        self.streams.forget_queue(stream_id);
        Ok(Some(self.ask_play(next)))
    }

    fn ask_play(&mut self, next: Next) -> Event {
        let part = next.part();
        let Next { stream_id, key, .. } = next;
        self.set_ask(Ask::Stream);
        self.streams.set(stream_id, Mode::AskedPlay { reset: part.resets() });
        Event::Play { stream_id, key, part }
    }

    /// The peer closes a stream; `delete` frees its id too.
    fn close(&mut self, stream_id: u32, delete: bool) -> Option<Event> {
        let mode = self.streams.close(stream_id, delete)?;
        self.rest_if_idle();
        match mode {
            Mode::Publish { .. } => {
                self.protocol.take_media(&self.config, false);
                self.status(stream_id, "status", "NetStream.Unpublish.Success", "");
                Some(Event::EndPublish { stream_id })
            }
            Mode::Play => Some(Event::EndPlay { stream_id }),
            _ => None,
        }
    }

    fn answer(&mut self, transaction: f64, value: Value<'_>) {
        self.protocol.command(0, |out| build::result(out, transaction, value));
    }

    fn on_fc(&mut self, name: &str, code: &str, key: &[u8]) {
        self.protocol.command(0, |out| build::on_fc(out, name, code, key));
    }

    fn status(&mut self, stream_id: u32, level: &str, code: &str, text: &str) {
        self.protocol.command(stream_id, |out| build::on_status(out, level, code, text, Vec::new()));
    }

    fn set_ask(&mut self, ask: Ask) {
        let question = if ask == Ask::Nothing { Question::None } else { Question::Open };
        self.protocol.timers.set_question(question);
        self.ask = ask;
    }

    /// Lets a peer that no longer publishes or plays rest: it stays as long as it answers pings.
    fn rest_if_idle(&mut self) {
        let rests = matches!(self.protocol.timers.phase(), Phase::Between { .. });
        if self.connected && !rests && !self.streams.busy() {
            self.protocol.timers.enter_between();
        }
    }

    fn begin(&mut self, stream_id: u32, mode: Mode) {
        self.set_ask(Ask::Nothing);
        self.commands = 0;
        self.streams.set(stream_id, mode);
    }

    /// Appends a message for a player to the output, in chunks of the announced size. The message is taken whole or not
    /// at all.
    ///
    /// # Errors
    /// [`RRError::State`] if its stream does not play, [`RRError::Again`] while too much output waits to be sent,
    /// [`RRError::Arg`] for an invalid message or a type that a driver may not send, [`RRError::NoMem`].
    pub fn send_message(&mut self, head: &MessageHead, body: &[u8]) -> Result<()> {
        if !self.streams.plays(head.stream_id) {
            return Err(Failure::ours(RRError::State, format!("stream {} does not play", head.stream_id)));
        }
        self.protocol.send_message(head, body)
    }

    /// Whether the RTMP handshake is over.
    pub fn handshaken(&self) -> bool {
        self.protocol.handshaken()
    }

    /// Whether this question is the one that waits for its answer, compared by what the session keeps of it.
    pub(crate) fn asks(&self, question: &Event) -> bool {
        match (self.ask, question) {
            (Ask::Connect { .. }, Event::Connect) => true,
            (Ask::Stream, Event::Publish { stream_id, key, .. }) => {
                matches!(self.streams.mode(*stream_id), Some(Mode::AskedPublish { key: asked }) if asked == key)
            }
            (Ask::Stream, Event::Play { stream_id, key, part }) => {
                let asked = Mode::AskedPlay { reset: part.resets() };
                self.streams.mode(*stream_id) == Some(&asked) && key.len() <= KEY_MAX_BYTES
            }
            _ => false,
        }
    }

    /// Whether it publishes on this message stream, and asks nothing.
    pub(crate) fn publishes(&self, stream_id: u32) -> bool {
        self.ask == Ask::Nothing && !self.finished && self.streams.publishing() == Some(stream_id)
    }

    /// Whether it plays on these message streams and on no other, and this is all that it asks.
    pub(crate) fn plays(&self, stream_ids: &[u32], asks: Option<&Event>) -> bool {
        let asks_this = asks.map_or(self.ask == Ask::Nothing, |question| self.asks(question));
        asks_this && !self.finished && self.streams.play_alone(stream_ids)
    }

    /// Whether the peer was told the chunk size that a log's messages have.
    pub(crate) fn chunks_as_logs(&self) -> bool {
        self.protocol.chunk_size() == CHUNK_SIZE
    }

    /// Whether it publishes or plays.
    pub(crate) fn is_busy(&self) -> bool {
        self.streams.busy()
    }

    /// Whether the peer was refused, so that no further event will come.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// The peer's `capsEx`.
    pub fn peer_caps_ex(&self) -> u32 {
        self.info.as_ref().map_or(0, |info| info.caps_ex)
    }

    /// The player's buffer length, as it last announced it.
    pub fn buffer_length_ms(&self, stream_id: u32) -> Option<u32> {
        self.streams.buffer_length_ms(stream_id)
    }

    /// Heap in use, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let info = self.info.as_ref().map_or(0, ConnectInfo::heap_bytes);
        self.protocol.heap_bytes() + self.streams.heap_bytes() + info
    }

    protocol_methods!();
}

impl Inbound for ServerSession {
    fn connect(&self) -> Option<Connect<'_>> {
        self.info.as_ref().map(ConnectInfo::fields)
    }

    fn connected(&self) -> bool {
        self.connected
    }

    /// Without this call an open question waits for ever, apart from the deadline of `connect`. A host that is asked
    /// anew in another process has the whole time again.
    fn asked(&mut self, now_ms: u64) {
        self.protocol.timers.asked(now_ms);
    }

    fn accept_connect(&mut self, now_ms: u64) {
        let Ask::Connect { transaction } = self.ask else { return };
        self.set_ask(Ask::Nothing);
        let Some(info) = &self.info else { return };
        self.connected = true;
        self.protocol.timers.enter(Phase::Between { since_ms: now_ms }, now_ms);
        self.protocol.announce_window(self.config.window_ack);
        self.protocol.limit_peer(self.config.window_ack, BANDWIDTH_DYNAMIC);
        self.protocol.announce_chunk_size(self.config.chunk_size);
        let caps_ex = self.config.caps_ex;
        self.protocol.command(0, |out| build::connect_result(out, transaction, &info.fields(), caps_ex));
    }

    /// Later input is ignored; the driver sends the output and closes.
    fn reject_connect(&mut self, code: &str, text: &str, redirect: Option<&str>) {
        let Ask::Connect { transaction } = self.ask else { return };
        self.set_ask(Ask::Nothing);
        self.finished = true;
        self.protocol.timers.enter(Phase::Over, 0);
        let code = if code.is_empty() { "NetConnection.Connect.Rejected" } else { code };
        self.protocol.command(0, |out| build::connect_error(out, transaction, code, text, redirect));
    }

    fn accept_publish(&mut self, stream_id: u32, now_ms: u64) {
        let Some(Mode::AskedPublish { key }) = self.streams.mode(stream_id) else { return };
        let mode = Mode::Publish { key: key.clone() };
        self.begin(stream_id, mode);
        self.protocol.timers.enter(Phase::Publishing { since_ms: now_ms, media_ms: None }, now_ms);
        self.protocol.take_media(&self.config, true);
        self.protocol.user(user::STREAM_BEGIN, &[stream_id]);
        self.status(stream_id, "status", "NetStream.Publish.Start", "Publishing.");
    }

    fn accept_play(&mut self, stream_id: u32, now_ms: u64) {
        let Some(&Mode::AskedPlay { reset }) = self.streams.mode(stream_id) else { return };
        self.begin(stream_id, Mode::Play);
        self.protocol.timers.enter(Phase::Running, now_ms);
        self.protocol.slim();
        self.protocol.user(user::STREAM_BEGIN, &[stream_id]);
        if reset {
            self.status(stream_id, "status", "NetStream.Play.Reset", "Playing and resetting.");
        }
        self.status(stream_id, "status", "NetStream.Play.Start", "Playing.");
        self.protocol.data(stream_id, build::sample_access);
    }

    fn asks_via(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.asks_via)
    }

    fn tell_via(&mut self, stream_id: u32, streams: &[u8]) {
        self.protocol.command(stream_id, |out| build::via(out, streams));
    }

    /// An onStatus of level error with `code`, e.g. `NetStream.Publish.BadName`, `NetStream.Play.StreamNotFound`, at
    /// which encoders and players stop. The connection stays open, and the stream is idle.
    fn reject_stream(&mut self, stream_id: u32, code: &str, text: &str) {
        let Some(Mode::AskedPublish { .. } | Mode::AskedPlay { .. }) = self.streams.mode(stream_id) else { return };
        self.set_ask(Ask::Nothing);
        self.streams.set(stream_id, Mode::Idle);
        self.rest_if_idle();
        self.status(stream_id, "error", code, text);
    }

    fn unheard(&mut self, now_ms: u64) {
        self.protocol.timers.unheard(now_ms);
    }

    /// An onStatus of level error. Later messages of the publish are ignored.
    fn end_publish(&mut self, stream_id: u32, code: &str, text: &str) {
        let Some(Mode::Publish { .. }) = self.streams.mode(stream_id) else { return };
        self.streams.set(stream_id, Mode::Idle);
        self.rest_if_idle();
        self.status(stream_id, "error", code, text);
    }

    /// Sends StreamEOF and the status messages that make players stop. A queued play follows with the next call of
    /// [`next`](Self::next), which needs no input for it.
    fn end_play(&mut self, stream_id: u32) {
        if !self.streams.plays(stream_id) {
            return;
        }
        self.streams.set(stream_id, Mode::Idle);
        self.rest_if_idle();
        self.protocol.user(user::STREAM_EOF, &[stream_id]);
        if !self.streams.has_queued(stream_id) {
            self.status(stream_id, "status", "NetStream.Play.UnpublishNotify", "The publisher has left.");
            self.status(stream_id, "status", "NetStream.Play.Stop", "Stopped.");
        }
    }

    /// Sends the refusal that [`reject_stream`](Self::reject_stream) would have sent.
    fn fail_play(&mut self, stream_id: u32, code: &str, text: &str) {
        if self.streams.plays(stream_id) {
            self.streams.set(stream_id, Mode::Idle);
            self.rest_if_idle();
            self.status(stream_id, "error", code, text);
        }
    }

    fn reconnect_request(&mut self, url: Option<&str>, text: &str) -> bool {
        let able = self.connected && self.peer_caps_ex() & CAPS_RECONNECT != 0;
        if able {
            self.protocol.command(0, |out| build::reconnect_request(out, url, text));
        }
        able
    }
}
