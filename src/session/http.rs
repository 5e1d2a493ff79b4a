//! A player over HTTP: one request for one stream as FLV, by GET or as a WebSocket, and the head of the answer.
//!
//! A driver treats a player over HTTP like any other conversation: the request becomes a `connect` and a `play`, so the
//! host is asked as for any player. The driver sends the body of the answer, in the form that
//! [`flv_form`](HttpSession::flv_form) names. The answer's head is written when there is media, because until then the
//! stream may turn out to be absent. A connection has one request; a HEAD is answered without media. Sources: RFC 9110,
//! RFC 9112, RFC 6455, and the common behaviour of HTTP-FLV servers. Another format over HTTP (MPEG-TS, say) needs no
//! session of its own: `request` has the suffixes, this file the Content-Type, and [`FlvForm`] says what the relay
//! sends.

mod request;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use self::snapshot::is_of_http;

use self::request::{Parsed, Refusal, Request};
use super::inbound::Inbound;
use super::timers::{Due, Phase, Question, Timers};
use super::{Event, Said, Timing};
use crate::error::{Failure, RRError, Result};
use crate::proto::command::{Connect, Part};
use crate::proto::framing::{Framing, frame, opcode};
use crate::proto::websocket;

/// Longest head of a request in bytes: heads with cookies and tokens in urls are shorter.
const HEAD_MAX_BYTES: usize = 8 * 1024;

/// Most bytes that a client may send after its request; they are ignored.
const REST_MAX_BYTES: usize = 64 * 1024;

/// Most output that may wait to be sent: a client that pings without reading the answers is closed.
const OUTPUT_MAX_BYTES: usize = 16 * 1024;

/// The message stream id of the only stream that a session has.
pub(crate) const STREAM_ID: u32 = 1;

/// Error texts for a client that sends no request in time, and for a stream from which nothing comes.
const LATE: &str = "no request in time";
const NO_MEDIA: &str = "no media in time";

/// Header fields of all answers: pages of any origin may read them, and caches keep nothing.
const COMMON: &str = "Cache-Control: no-store\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\nAccess-Control-Allow-Headers: *\r\n\
    Access-Control-Expose-Headers: *\r\n";

/// The form in which a player gets a stream as FLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlvForm {
    /// How the tags are cut on the wire.
    pub framing: Framing,
    /// True for players in browsers, which must get only what they understand.
    pub browser: bool,
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The session waits for the request's head.
    Request,
    /// The driver has been asked to let the peer in.
    AskedConnect,
    /// The peer is let in; the question for the stream comes next.
    Connected,
    /// The driver has been asked for the stream.
    AskedPlay,
    /// The peer may have the stream; no media has come.
    Waiting,
    /// The answer's head is in the output.
    Playing,
    /// The answer is complete.
    Over,
}

/// A conversation with a player over HTTP. It has the methods of the RTMP sessions.
#[derive(Debug)]
pub struct HttpSession {
    timing: Timing,
    timers: Timers,
    stage: Stage,
    /// The request's head, as far as it has come.
    head: Vec<u8>,
    request: Option<Box<Request>>,
    frames: websocket::Reader,
    /// The answer is only a head, as for HEAD.
    head_only: bool,
    /// The connection is TLS.
    secure: bool,
    /// Bytes that came after the request.
    rest: usize,
    out: Vec<u8>,
    sent: u64,
    /// The session has answered the request itself, for this reason, which the driver still has to be told.
    answered: Option<(RRError, String)>,
    /// Where the driver wants the peer to go.
    elsewhere: Option<String>,
}

impl HttpSession {
    /// A session before its first byte, `secure` means that the connection uses TLS.
    pub fn new(timing: Timing, secure: bool, now_ms: u64) -> Self {
        Self {
            timing,
            secure,
            head_only: false,
            timers: Timers::new(timing, LATE, now_ms),
            stage: Stage::Request,
            head: Vec::new(),
            request: None,
            frames: websocket::Reader::default(),
            rest: 0,
            out: Vec::new(),
            sent: 0,
            answered: None,
            elsewhere: None,
        }
    }

    /// Takes bytes from `input[*at..]` up to the next event. `None`: all input has been taken.
    ///
    /// # Errors
    /// Every error ends the session, as in RTMP sessions.
    pub fn next(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<Option<Event>> {
        if *at < input.len() {
            self.timers.heard(now_ms);
        }
        match self.stage {
            Stage::Request => {
                self.read_head(input, at);
                Ok(match self.answered.take() {
                    Some((error, text)) => Some(Event::Answered { error, text }),
                    None => (self.stage == Stage::AskedConnect).then_some(Event::Connect),
                })
            }
            Stage::AskedConnect | Stage::AskedPlay => {
                Err(Failure::ours(RRError::State, "the peer's question waits for its answer"))
            }
            Stage::Connected => {
                self.ask(Stage::AskedPlay);
                let key = self.request.as_ref().map(|request| request.key_and_query()).unwrap_or_default();
                let part = Part { start: Some(-1_000), ..Part::default() };
                Ok(Some(Event::Play { stream_id: STREAM_ID, key, part }))
            }
            Stage::Waiting | Stage::Playing => self.read_rest(input, at, now_ms).map(|()| None),
            Stage::Over => {
                *at = input.len();
                Ok(None)
            }
        }
    }

    /// Takes the bytes of the request's head, and none after it.
    fn read_head(&mut self, input: &[u8], at: &mut usize) {
        let new = input.get(*at..).unwrap_or_default();
        let before = self.head.len();
        let taken = new.len().min(HEAD_MAX_BYTES - before);
        self.head.extend_from_slice(&new[..taken]);
        let parsed = Request::parse(&self.head, self.head.len() == HEAD_MAX_BYTES, self.secure);
        if let Ok(Parsed { len: None, .. }) = parsed {
            *at += taken;
            return;
        }
        let len = parsed.as_ref().ok().and_then(|parsed| parsed.len);
        *at += len.map_or(new.len(), |len| len.saturating_sub(before));
        self.head_only = self.head.starts_with(b"HEAD ");
        self.head = Vec::new();
        match parsed {
            Ok(Parsed { request: Some(request), .. }) => {
                self.request = Some(Box::new(request));
                self.ask(Stage::AskedConnect);
            }
            Ok(_) => {
                self.answer("200 OK", "Content-Length: 0\r\n", "");
                self.answered = Some((RRError::Closed, "OPTIONS was answered".to_owned()));
            }
            Err(Refusal { status, text, head }) => {
                self.answer(status, head, text);
                self.answered = Some((RRError::Protocol, format!("{status}: {text}")));
            }
        }
    }

    /// Takes what a player sends after its request: control frames of a WebSocket. Anything else is ignored.
    fn read_rest(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<()> {
        if self.framing() != Framing::WebSocket {
            self.rest += input.len() - *at;
            *at = input.len();
            if self.rest > REST_MAX_BYTES {
                return Err(Failure::protocol("a player over HTTP sends too much after its request"));
            }
            return Ok(());
        }
        while let Some(said) = self.frames.next(input, at)? {
            match said {
                // There is no WebSocket before the handshake has been answered.
                _ if self.stage == Stage::Waiting => {
                    return Err(Failure::protocol("a frame before the WebSocket is open"));
                }
                websocket::Said::Ping(payload) => self.out.extend(frame(opcode::PONG, &payload)),
                websocket::Said::Pong(payload) => {
                    if let Ok(stamp) = payload.try_into() {
                        self.timers.pong(u32::from_be_bytes(stamp), now_ms);
                    }
                }
                websocket::Said::Close(payload) => {
                    let status = payload.get(..2).unwrap_or_default();
                    self.out.extend(frame(opcode::CLOSE, status));
                    self.finish();
                    return Err(Failure::peers(RRError::Closed, "the peer closed the WebSocket"));
                }
            }
            if self.out.len() > OUTPUT_MAX_BYTES {
                return Err(Failure::limit("the peer asks faster than it takes answers"));
            }
        }
        Ok(())
    }

    fn framing(&self) -> Framing {
        match self.request.as_deref() {
            Some(Request { websocket: Some(_), .. }) => Framing::WebSocket,
            Some(Request { chunked: true, .. }) => Framing::Chunked,
            _ => Framing::None,
        }
    }

    fn ask(&mut self, stage: Stage) {
        self.stage = stage;
        self.timers.set_question(Question::Open);
    }

    fn granted(&mut self, stage: Stage) {
        self.stage = stage;
        self.timers.set_question(Question::None);
    }

    fn finish(&mut self) {
        self.granted(Stage::Over);
        self.timers.enter(Phase::Over, 0);
    }

    /// Puts a whole answer into the output; nothing follows the answer.
    fn answer(&mut self, status: &str, head: &str, text: &str) {
        let length = match text {
            "" => String::new(),
            text => format!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", text.len() + 1),
        };
        self.out.extend(format!("HTTP/1.1 {status}\r\n{COMMON}{head}{length}\r\n").as_bytes());
        if !self.head_only && !text.is_empty() {
            self.out.extend(text.as_bytes());
            self.out.push(b'\n');
        }
        self.finish();
    }

    /// Refuses the request: with a redirect, if the driver named an address, or with the status for `code`.
    fn refuse(&mut self, code: &str, text: &str) {
        match self.elsewhere.take().filter(|url| is_location(url)) {
            Some(url) => self.answer("302 Found", &format!("Location: {url}\r\n"), text),
            None if code.ends_with(".StreamNotFound") => self.answer("404 Not Found", "", text),
            None => self.answer("403 Forbidden", "", text),
        }
    }

    /// Puts the head of the answer into the output; media follows it.
    fn begin_answer(&mut self) {
        let of_websocket = self.request.as_ref().and_then(|request| request.websocket.as_ref());
        let head = match (of_websocket, self.framing()) {
            (Some(accept), _) => format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            ),
            (None, framing) => {
                let chunks = if framing == Framing::Chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
                format!("HTTP/1.1 200 OK\r\n{COMMON}Content-Type: video/x-flv\r\n{chunks}\r\n")
            }
        };
        self.out.extend(head.as_bytes());
    }

    // ---- the methods that RTMP sessions have too

    /// A player over HTTP sends no messages.
    pub fn body<'a>(&'a self, _input: &'a [u8]) -> &'a [u8] {
        &[]
    }

    /// There are none to keep.
    ///
    /// # Errors
    /// None.
    pub fn keep_body(&mut self, _input: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Bytes for the peer.
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// Takes the bytes for the peer out of the output.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.sent += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Takes the bytes for the peer without counting them as sent; the driver counts them with
    /// [`note_sent`](Self::note_sent) when it sends them.
    pub fn lend_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The first `bytes` of the output have been sent.
    pub fn consumed(&mut self, bytes: usize) {
        let bytes = bytes.min(self.out.len());
        self.sent += bytes as u64;
        self.out.drain(..bytes);
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }

    /// The driver sent this many bytes itself.
    pub fn note_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Bytes sent, including those that the driver sent itself.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes of the peer may wait at the socket: nothing is acknowledged in this protocol.
    pub fn may_be_unread(&self) -> u32 {
        u32::MAX
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, unless something happens before.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// Does what is due at `now_ms`: pings a WebSocket, and answers a peer that missed a deadline.
    ///
    /// # Errors
    /// Every error ends the session: no request in time, no media in time, pings without an answer.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<Option<Event>> {
        match self.timers.due(now_ms) {
            Ok(Due::Nothing) => Ok(None),
            Ok(Due::Unanswered) => Ok(Some(Event::Unanswered)),
            Ok(Due::Ping) => {
                // While the peer does not take output, a second ping would tell no more than the first.
                if self.out.is_empty() {
                    let stamp = self.timers.ping(now_ms);
                    self.out.extend(frame(opcode::PING, &stamp.to_be_bytes()));
                }
                Ok(None)
            }
            Err(failure) => {
                match self.stage {
                    Stage::Waiting => {
                        self.answer("404 Not Found", "", "Nothing comes from this stream.");
                        return Err(Failure::ours(RRError::NotFound, NO_MEDIA));
                    }
                    Stage::Playing | Stage::Over => {}
                    _ => self.answer("408 Request Timeout", "", "No request came in time."),
                }
                Err(failure)
            }
        }
    }

    /// How long the last answered ping took.
    pub fn rtt_ms(&self) -> Option<u32> {
        self.timers.rtt_ms()
    }

    /// A player over HTTP sends no commands.
    pub fn report_commands(&mut self, _wanted: bool) {}

    /// A player over HTTP sends no commands.
    pub fn take_said(&mut self) -> Vec<Said> {
        Vec::new()
    }

    /// Heap in use, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |request| request.heap_bytes());
        self.head.capacity() + self.out.capacity() + request
    }
}

/// Whether a url may go into an answer's head and is of use to an HTTP client.
fn is_location(url: &str) -> bool {
    (url.starts_with("http://") || url.starts_with("https://")) && url.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Inbound for HttpSession {
    fn connect(&self) -> Option<Connect<'_>> {
        self.request.as_deref().map(Request::connect)
    }

    fn connected(&self) -> bool {
        !matches!(self.stage, Stage::Request | Stage::AskedConnect)
    }

    fn asked(&mut self, now_ms: u64) {
        self.timers.asked(now_ms);
    }

    fn accept_connect(&mut self, _now_ms: u64) {
        if self.stage == Stage::AskedConnect {
            self.granted(Stage::Connected);
        }
    }

    fn reject_connect(&mut self, code: &str, text: &str, redirect: Option<&str>) {
        if self.stage == Stage::AskedConnect {
            self.elsewhere = redirect.map(str::to_owned);
            self.refuse(code, text);
        }
    }

    fn accept_play(&mut self, _stream_id: u32, now_ms: u64) {
        if self.stage == Stage::AskedPlay {
            // Only a WebSocket has pings.
            let ping_ms = if self.framing() == Framing::WebSocket { self.timing.ping_ms } else { 0 };
            self.timers = Timers::new(Timing { ping_ms, ..self.timing }, NO_MEDIA, now_ms);
            self.granted(Stage::Waiting);
        }
    }

    fn reject_stream(&mut self, _stream_id: u32, code: &str, text: &str) {
        if self.stage == Stage::AskedPlay {
            self.refuse(code, text);
        }
    }

    fn end_play(&mut self, _stream_id: u32) {
        match self.stage {
            Stage::Waiting => self.answer("404 Not Found", "", "The stream has ended."),
            Stage::Playing => {
                self.out.extend(self.framing().end());
                self.finish();
            }
            _ => {}
        }
    }

    fn fail_play(&mut self, stream_id: u32, code: &str, text: &str) {
        match self.stage {
            Stage::Waiting => self.refuse(code, text),
            _ => self.end_play(stream_id),
        }
    }

    fn reconnect_request(&mut self, url: Option<&str>, _text: &str) -> bool {
        // Only the answer's head can carry a redirect; once media flows there is no place for it.
        self.elsewhere = url.map(str::to_owned);
        false
    }

    fn flv_form(&self) -> Option<FlvForm> {
        let browser = self.request.as_ref().is_some_and(|request| request.browser);
        Some(FlvForm { framing: self.framing(), browser })
    }

    fn wants_media(&self) -> bool {
        !self.head_only
    }

    fn begin_media(&mut self, now_ms: u64) {
        if self.stage == Stage::Waiting {
            self.begin_answer();
            if self.wants_media() {
                self.stage = Stage::Playing;
                self.timers.enter(Phase::Running, now_ms);
            } else {
                self.finish();
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }
}
