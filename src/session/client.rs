//! The client's side of a conversation: we connect, then publish or play one stream.
//!
//! The session takes every step up to `NetStream.Publish.Start` or `NetStream.Play.Start` itself; the driver only moves
//! bytes. A refusal is an error with the server's code, kept at [`ClientSession::refusal`]. The session does no
//! authentication: it recognises a challenge and ends. The module's comment has the driver's duties.

use minicbor::{Decode, Encode};

use super::protocol::{Incoming, Protocol, protocol_methods, user};
use super::timers::{Phase, Timers};
use super::{Event, Said, SessionConfig};
use crate::error::{Failure, RRError, Result};
use crate::mask::{hide_key, mask_url};
use crate::proto::amf0::Value;
use crate::proto::command::{Call, Command, MAX_VIA_BYTES, Status, build};
use crate::proto::handshake::Handshake;
use crate::proto::message::{MessageHead, kind};
use crate::proto::url::RtmpUrl;

mod snapshot;

pub(super) use snapshot::ClientState;

/// The transaction ids of our calls, in their order.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const START: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;
const DELETE_STREAM: f64 = 7.0;

/// The buffer we announce as a player: servers burst that much at the start, and a relay needs no more.
const BUFFER_LENGTH_MS: u32 = 1_000;

/// Error text for a server that does not start the publish or play in time.
const LATE: &str = "no NetStream.Publish.Start or Play.Start within connect_ms";

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
enum Step {
    #[n(0)]
    Handshake,
    #[n(1)]
    Connect,
    #[n(2)]
    Create,
    #[n(3)]
    Start,
    #[n(4)]
    Running,
    /// The server ended the stream; a player waits until the stream begins again.
    #[n(5)]
    Ended,
    #[n(6)]
    Closing,
}

/// A server's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code, for programs, e.g. `NetStream.Publish.BadName`.
    pub code: String,
    /// The server's own words, for people and for a login.
    pub text: String,
    /// `ex.redirect`: where to go instead.
    pub redirect: Option<String>,
}

/// A conversation on a connection that we open.
///
/// - the step: [`next`](Self::next), with [`body`](Self::body) for messages
/// - getters: `stream_id`, `started`, `refusal`, `refusal_code`
/// - end: `close`, then send the output
/// - moving to another process: `snapshot`, `restore`
/// - output: `send_message`, `output`, `take_output`, `consumed`, `note_sent`
#[derive(Debug)]
pub struct ClientSession {
    protocol: Protocol,
    config: SessionConfig,
    publish: bool,
    app: String,
    tc_url: String,
    key: Vec<u8>,
    asks_via: bool,
    step: Step,
    stream_id: u32,
    refusal: Option<Box<Refusal>>,
    /// A message that came in place of Play.Start; `next` gives it after `Started`.
    first_media: Option<MessageHead>,
}

impl ClientSession {
    /// A session that publishes to `url`. Its first bytes are in the output.
    ///
    /// # Errors
    /// [`RRError::Handshake`] where the system gives no random bytes.
    pub fn publish(config: &SessionConfig, url: &RtmpUrl, now_ms: u64) -> Result<Self> {
        Self::new(config, url, true, now_ms)
    }

    /// A session that plays `url`. Its first bytes are in the output.
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish).
    pub fn play(config: &SessionConfig, url: &RtmpUrl, now_ms: u64) -> Result<Self> {
        Self::new(config, url, false, now_ms)
    }

    fn new(config: &SessionConfig, url: &RtmpUrl, publish: bool, now_ms: u64) -> Result<Self> {
        let timers = Timers::new(config.timing, LATE, now_ms);
        let mut protocol = Protocol::new(Handshake::client(), config, timers);
        protocol.start()?;
        Ok(Self {
            protocol,
            config: config.clone(),
            publish,
            app: url.app.clone(),
            tc_url: url.tc_url(),
            key: url.key.clone(),
            asks_via: false,
            step: Step::Handshake,
            stream_id: 0,
            refusal: None,
            first_media: None,
        })
    }

    /// Asks in `connect` through which streams media comes; the answers are [`Event::Via`]. Call it before the first
    /// [`next`](Self::next).
    pub fn ask_via(&mut self) {
        self.asks_via = true;
    }

    /// Takes bytes from `input[*at..]` up to the next event. `None`: all input has been taken.
    ///
    /// # Errors
    /// Every error ends the session. [`RRError::Rejected`] and [`RRError::Auth`]: the server refused, see
    /// [`refusal`](Self::refusal). Other errors are those of [`ServerSession::next`](super::ServerSession::next).
    pub fn next(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<Option<Event>> {
        if let Some(head) = self.first_media.take() {
            return Ok(Some(Event::Message(head)));
        }
        while let Some(incoming) = self.protocol.next(input, at, now_ms)? {
            let event = match incoming {
                Incoming::Handshaken => {
                    self.send_connect();
                    None
                }
                Incoming::User { event: user::STREAM_EOF, .. } => self.ended("StreamEOF", String::new()),
                Incoming::User { .. } => None,
                Incoming::Message(head) => match head.type_id {
                    kind::COMMAND | kind::COMMAND_AMF3 => {
                        let body = self.protocol.command_body(input)?;
                        self.command(&head, &body, now_ms)?
                    }
                    _ => self.message(head, input, now_ms)?,
                },
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Whether [`next`](Self::next) has nothing to do without further input, once all is taken and it has given a message.
    pub(crate) fn is_dry(&self) -> bool {
        self.protocol.is_dry()
    }

    /// Whether it keeps nothing of what it has taken, and has no output.
    pub(crate) fn is_clear(&self) -> bool {
        self.protocol.is_clear()
    }

    fn send_connect(&mut self) {
        self.step = Step::Connect;
        let hello = build::Hello {
            app: self.app.as_bytes(),
            tc_url: &self.tc_url,
            publish: self.publish,
            caps_ex: self.config.caps_ex,
            asks_via: self.asks_via,
        };
        self.protocol.command(0, |out| build::connect(out, CONNECT, &hello));
    }

    /// Takes a media message, which only a player gets. Some servers send media without Play.Start; the first media
    /// then stands for it.
    fn message(&mut self, head: MessageHead, input: &[u8], now_ms: u64) -> Result<Option<Event>> {
        let media = matches!(head.type_id, kind::AUDIO | kind::VIDEO);
        Ok(match self.step {
            Step::Running | Step::Ended if !self.publish => {
                let for_us_alone = build::is_sample_access(head.type_id, self.protocol.body(input));
                if for_us_alone { self.ignore() } else { Some(Event::Message(head)) }
            }
            Step::Start if !self.publish && media => {
                // After `Started` the driver may pass the rest of the input in another buffer.
                self.protocol.keep_body(input)?;
                self.first_media = Some(head);
                Some(self.running(now_ms))
            }
            _ => self.ignore(),
        })
    }

    fn ignore(&mut self) -> Option<Event> {
        self.protocol.ignored = self.protocol.ignored.saturating_add(1);
        None
    }

    fn command(&mut self, head: &MessageHead, body: &[u8], now_ms: u64) -> Result<Option<Event>> {
        let call = Call::parse(head.type_id, body)?;
        self.protocol.said.note(head.stream_id, &call);
        match call.command {
            Command::Result(first, second) => self.result(call.transaction, &first, &second),
            Command::Error(status) => self.error(call.transaction, status),
            Command::Status(status) => self.status(status, now_ms),
            Command::Close => Ok(self.ended("close", String::new())),
            Command::Via(streams) if !self.publish && streams.len() > MAX_VIA_BYTES => {
                Err(Failure::limit("its server pulls it through more servers than are allowed"))
            }
            Command::Via(streams) if !self.publish => Ok(Some(Event::Via(streams.to_vec()))),
            _ if call.name == b"_onbwcheck" => {
                // FMS waits for the answer to its bandwidth check.
                self.protocol.command(0, |out| build::result(out, call.transaction, Value::Undefined));
                Ok(None)
            }
            _ => Ok(self.ignore()),
        }
    }

    fn result(&mut self, transaction: f64, first: &Value<'_>, second: &Value<'_>) -> Result<Option<Event>> {
        if transaction == CONNECT && self.step == Step::Connect {
            self.step = Step::Create;
            self.protocol.announce_window(self.config.window_ack);
            self.protocol.announce_chunk_size(self.config.chunk_size);
            if self.publish {
                let key = self.key.as_slice();
                let key = || [Value::Null, Value::String(key)];
                self.protocol.command(0, |out| build::call(out, "releaseStream", RELEASE_STREAM, &key()));
                self.protocol.command(0, |out| build::call(out, "FCPublish", FC_PUBLISH, &key()));
            }
            self.protocol.command(0, |out| build::call(out, "createStream", CREATE_STREAM, &[Value::Null]));
            return Ok(Some(Event::Connected));
        }
        if transaction == CREATE_STREAM && self.step == Step::Create {
            let Some(id) = second.as_number().or_else(|| first.as_number()) else {
                return Err(Failure::protocol("createStream was answered without a stream id"));
            };
            self.stream_id = id as u32; // a cast saturates; no server counts so far
            self.step = Step::Start;
            let key = self.key.as_slice();
            if self.publish {
                self.protocol.command(self.stream_id, |out| build::publish(out, START, key));
            } else {
                self.protocol.command(self.stream_id, |out| build::play(out, START, key));
                self.protocol.user(user::SET_BUFFER_LENGTH, &[self.stream_id, BUFFER_LENGTH_MS]);
            }
            return Ok(None);
        }
        Ok(None) // the answer to releaseStream and the like
    }

    fn error(&mut self, transaction: f64, status: Status) -> Result<Option<Event>> {
        // Servers without these calls answer with an error, which changes nothing.
        let minor = [RELEASE_STREAM, FC_PUBLISH, FC_UNPUBLISH, DELETE_STREAM].contains(&transaction);
        if minor || !matches!(self.step, Step::Connect | Step::Create | Step::Start) {
            return Ok(self.ignore());
        }
        Err(self.refused(status))
    }

    fn status(&mut self, status: Status, now_ms: u64) -> Result<Option<Event>> {
        if status.code == "NetConnection.Connect.ReconnectRequest" {
            return Ok(Some(Event::Reconnect { url: status.redirect, text: self.shown(&status.description) }));
        }
        if status.is_error() {
            return if self.step == Step::Closing { Ok(self.ignore()) } else { Err(self.refused(status)) };
        }
        Ok(match status.code.as_str() {
            "NetStream.Publish.Start" if self.publish && self.step == Step::Start => Some(self.running(now_ms)),
            "NetStream.Play.Start" | "NetStream.Play.PublishNotify"
                if !self.publish && matches!(self.step, Step::Start | Step::Ended) =>
            {
                Some(self.running(now_ms))
            }
            "NetStream.Play.UnpublishNotify"
            | "NetStream.Play.Stop"
            | "NetStream.Play.Complete"
            | "NetStream.Unpublish.Success"
            | "NetConnection.Connect.Closed" => {
                let text = self.shown(&status.description);
                self.ended(&status.code, text)
            }
            _ => None,
        })
    }

    fn running(&mut self, now_ms: u64) -> Event {
        self.step = Step::Running;
        self.protocol.timers.enter(Phase::Running, now_ms);
        if !self.publish {
            self.protocol.take_media(&self.config, true);
        }
        Event::Started { stream_id: self.stream_id }
    }

    /// A server's text with the key masked: many servers repeat the key, and such texts end up in logs.
    fn shown(&self, words: &str) -> String {
        hide_key(words, &self.key)
    }

    /// Servers announce an end by several messages in a row; the first one counts.
    fn ended(&mut self, code: &str, text: String) -> Option<Event> {
        if self.step != Step::Running {
            return self.ignore();
        }
        self.step = Step::Ended;
        Some(Event::Ended { code: code.to_owned(), text })
    }

    fn refused(&mut self, status: Status) -> Failure {
        let Status { code, description, redirect, .. } = status;
        // Adobe's and Limelight's challenges are in the description.
        let challenge = description.contains("authmod=") || description.contains("AccessManager.Reject");
        let kind = if challenge { RRError::Auth } else { RRError::Rejected };
        let words = self.shown(&description);
        let text = match (code.is_empty(), words.is_empty()) {
            (false, false) => format!("{code}: {words}"),
            (true, true) => "without a reason".to_owned(),
            _ => format!("{code}{words}"),
        };
        // A refusal of a play concerns the stream.
        let absent = !challenge && code.starts_with("NetStream.Play.");
        self.refusal = Some(Box::new(Refusal { code, text: description, redirect }));
        Failure { absent, ..Failure::peers(kind, text) }
    }

    /// Puts the closing commands into the output. The driver must send no media after them.
    pub fn close(&mut self) {
        self.protocol.timers.enter(Phase::Over, 0);
        let step = std::mem::replace(&mut self.step, Step::Closing);
        if !matches!(step, Step::Start | Step::Running | Step::Ended) {
            return;
        }
        let (key, id) = (self.key.as_slice(), self.stream_id);
        if self.publish {
            let values = [Value::Null, Value::String(key)];
            self.protocol.command(0, |out| build::call(out, "FCUnpublish", FC_UNPUBLISH, &values));
        }
        let values = [Value::Null, Value::Number(id.into())];
        self.protocol.command(0, |out| build::call(out, "deleteStream", DELETE_STREAM, &values));
    }

    /// Appends a message of the published stream to the output, in chunks of the announced size and on the stream id
    /// that the server gave. The message is taken whole or not at all.
    ///
    /// # Errors
    /// [`RRError::State`] before `Started` and in a session that plays, [`RRError::Again`] while too much output waits
    /// to be sent, [`RRError::Arg`] for an invalid message or a type that a driver may not send, [`RRError::NoMem`].
    pub fn send_message(&mut self, head: &MessageHead, body: &[u8]) -> Result<()> {
        if !self.publish || self.step != Step::Running {
            return Err(Failure::ours(RRError::State, "nothing is published to this server now"));
        }
        self.protocol.send_message(&MessageHead { stream_id: self.stream_id, ..*head }, body)
    }

    /// The server's url with secrets masked, for logs.
    pub fn shown_url(&self) -> String {
        self.shown(&mask_url(&self.tc_url))
    }

    /// The message stream id that the server gave; 0 before it gave one.
    pub fn stream_id(&self) -> u32 {
        self.stream_id
    }

    /// The url of the connection, without a login: the one of `connect`, with the key.
    ///
    /// # Errors
    /// [`RRError::Arg`] if it is none, which only a session of another process can have.
    pub(crate) fn url(&self) -> Result<RtmpUrl> {
        RtmpUrl::parse(&self.tc_url, Some(&self.key))
    }

    /// Whether its server takes media that it publishes.
    pub(crate) fn publishes(&self) -> bool {
        self.publish && self.started()
    }

    /// Whether its server sends media that it plays.
    pub(crate) fn plays(&self) -> bool {
        !self.publish && self.started()
    }

    /// The chunk size that was announced to the server.
    pub(crate) fn chunk_size(&self) -> u32 {
        self.protocol.chunk_size()
    }

    /// Whether media may flow.
    pub fn started(&self) -> bool {
        self.step == Step::Running
    }

    /// The server's refusal, after [`RRError::Rejected`] or [`RRError::Auth`].
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_deref()
    }

    /// Its code, e.g. `NetStream.Publish.BadName`.
    #[cfg(test)]
    pub(crate) fn refusal_code(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.code.as_str())
    }

    /// Heap in use, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.protocol.heap_bytes()
    }

    protocol_methods!();
}
