//! The part of RTMP that this program's peers need, on both sides, without code of the measured library, so that the
//! load is the same for every build.
//!
//! A player over HTTP is a peer too, with a reader of its own.
//!
//! Bodies of media are not kept: a reader gives the beginning of each.

use crate::flv;

/// Bytes of C1 and S1, and of C2 and S2.
const HELLO_BYTES: usize = 1536;

/// Chunk size of everything that is sent here: every message is one chunk.
pub(crate) const CHUNK_BYTES: u32 = 60_000;

/// Bytes of a body that a reader keeps. Commands are smaller.
const KEPT_BYTES: usize = 2048;

/// Message types.
pub(crate) mod kind {
    pub(crate) const CHUNK_SIZE: u8 = 1;
    pub(crate) const ACK: u8 = 3;
    pub(crate) const USER: u8 = 4;
    pub(crate) const WINDOW: u8 = 5;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const COMMAND: u8 = 20;
}

/// One message, as a first header and its chunks.
pub(crate) fn put(out: &mut Vec<u8>, type_id: u8, stream_id: u32, chunk_stream: u8, ts_ms: u32, body: &[u8]) {
    assert!(body.len() <= CHUNK_BYTES as usize && ts_ms < 0xFF_FFFF, "what is sent here is small and short");
    out.push(chunk_stream);
    out.extend_from_slice(&ts_ms.to_be_bytes()[1..]);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&stream_id.to_le_bytes());
    out.extend_from_slice(body);
}

/// The state of one chunk stream.
#[derive(Default)]
struct Channel {
    id: u32,
    extended: bool,
    len: usize,
    type_id: u8,
    /// Bytes of the message that have come.
    come: usize,
    head: Vec<u8>,
}

/// Reads chunks of any kind and reports each message.
pub(crate) struct Reader {
    chunk_size: usize,
    channels: Vec<Channel>,
    /// The bytes of an incomplete header.
    header: Vec<u8>,
    /// The channel of the chunk being read, and the bytes of it that are missing.
    inside: Option<(usize, usize)>,
}

impl Reader {
    fn new() -> Self {
        Self { chunk_size: 128, channels: Vec::new(), header: Vec::with_capacity(18), inside: None }
    }

    /// Takes all of `input`; `on` gets the type and the first bytes of each message that is complete.
    fn read(&mut self, mut input: &[u8], on: &mut impl FnMut(u8, &[u8])) {
        while !input.is_empty() {
            let (at, left) = match self.inside.take() {
                Some(inside) => inside,
                None => match self.begin(&mut input) {
                    Some(chunk) => chunk,
                    None => return,
                },
            };
            let n = left.min(input.len());
            let channel = &mut self.channels[at];
            let keep = n.min(KEPT_BYTES.saturating_sub(channel.head.len()));
            channel.head.extend_from_slice(&input[..keep]);
            channel.come += n;
            input = &input[n..];
            if channel.come == channel.len {
                if let (kind::CHUNK_SIZE, Some(size)) = (channel.type_id, channel.head.first_chunk()) {
                    self.chunk_size = u32::from_be_bytes(*size) as usize;
                }
                on(channel.type_id, &channel.head);
                channel.head.clear();
                channel.come = 0;
            } else if n < left {
                self.inside = Some((at, left - n));
            }
        }
    }

    /// Takes a header: the channel and the bytes of its chunk. `None`: the header is incomplete, and the input is used
    /// up.
    fn begin(&mut self, input: &mut &[u8]) -> Option<(usize, usize)> {
        loop {
            let (id, short) = match *self.header.as_slice() {
                [first, ..] if first & 0x3F > 1 => (Some(u32::from(first & 0x3F)), 1),
                [first, low, ..] if first & 0x3F == 0 => (Some(64 + u32::from(low)), 2),
                [first, low, high, ..] if first & 0x3F == 1 => (Some(64 + u32::from(low) + 256 * u32::from(high)), 3),
                _ => (None, 0),
            };
            if let Some(id) = id {
                let at = self.channels.iter().position(|channel| channel.id == id).unwrap_or_else(|| {
                    self.channels.push(Channel { id, ..Channel::default() });
                    self.channels.len() - 1
                });
                let format = self.header[0] >> 6;
                let fields = [11, 7, 3, 0][usize::from(format)];
                if self.header.len() >= short + fields {
                    let channel = &mut self.channels[at];
                    if format < 3 {
                        channel.extended = self.header[short..short + 3] == [0xFF; 3];
                    }
                    if self.header.len() == short + fields + if channel.extended { 4 } else { 0 } {
                        if format < 2 {
                            let len = &self.header[short + 3..short + 6];
                            channel.len = u32::from_be_bytes([0, len[0], len[1], len[2]]) as usize;
                            channel.type_id = self.header[short + 6];
                        }
                        self.header.clear();
                        return Some((at, self.chunk_size.min(channel.len - channel.come)));
                    }
                }
            }
            let (first, rest) = input.split_first()?;
            self.header.push(*first);
            *input = rest;
        }
    }
}

/// AMF0, as far as commands need it.
mod amf {
    pub(super) fn string(out: &mut Vec<u8>, text: &str) {
        out.push(2);
        bare(out, text);
    }

    fn bare(out: &mut Vec<u8>, text: &str) {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn number(out: &mut Vec<u8>, number: f64) {
        out.push(0);
        out.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn null(out: &mut Vec<u8>) {
        out.push(5);
    }

    pub(super) fn object(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
        out.push(3);
        for (name, value) in fields {
            bare(out, name);
            string(out, value);
        }
        out.extend_from_slice(&[0, 0, 9]);
    }

    /// A command's name, its transaction, and what follows.
    pub(super) fn head(body: &[u8]) -> Option<(&[u8], f64, &[u8])> {
        let (name, rest) = text(body)?;
        let (transaction, rest) = rest.strip_prefix(&[0])?.split_first_chunk()?;
        Some((name, f64::from_be_bytes(*transaction), rest))
    }

    /// A string, and what follows.
    pub(super) fn text(body: &[u8]) -> Option<(&[u8], &[u8])> {
        let (len, rest) = body.strip_prefix(&[2])?.split_first_chunk()?;
        rest.split_at_checked(u16::from_be_bytes(*len).into())
    }
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Bytes of the peer's hello that are still to come.
    Hello(usize),
    Commands,
    Running,
}

/// Which end of a conversation this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Plays,
    Publishes,
    /// The peer opened it.
    Serves,
}

/// A step of the conversation that the owner acts on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// As a client: the server accepted, on this message stream.
    Started(u32),
    /// As a server: the peer publishes this, and has been let in.
    Publishes(&'a str),
    /// As a server: the peer plays this, and has been let in.
    Plays(&'a str),
    /// Media or data: its type and the first bytes of its body.
    Media(u8, &'a [u8]),
}

/// One conversation: bytes in, events and bytes out.
pub(crate) struct Peer {
    side: Side,
    key: String,
    step: Step,
    /// The peer's C1 or S1, which goes back to it.
    hello: Vec<u8>,
    reader: Reader,
    /// The reader of a player over HTTP, in place of everything about RTMP.
    tags: Option<flv::Reader>,
    /// Bytes for the peer.
    pub(crate) out: Vec<u8>,
    stream_id: u32,
    bytes_in: u64,
    acknowledged: u64,
    window: u64,
}

impl Peer {
    pub(crate) fn new(side: Side, key: &str) -> Self {
        let mut out = Vec::new();
        if side != Side::Serves {
            out.push(3);
            out.resize(1 + HELLO_BYTES, 0);
        }
        // A client reads S0, S1 and S2, a server C0, C1 and C2.
        Self {
            side,
            key: key.to_owned(),
            step: Step::Hello(1 + 2 * HELLO_BYTES),
            hello: Vec::new(),
            reader: Reader::new(),
            tags: None,
            out,
            stream_id: 1,
            bytes_in: 0,
            acknowledged: 0,
            window: u64::MAX,
        }
    }

    /// A player over HTTP.
    pub(crate) fn over_http(key: &str) -> Self {
        Self { tags: Some(flv::Reader::new()), out: flv::request(key), ..Self::new(Side::Plays, key) }
    }

    /// Bytes that came so far.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Takes all of `input`.
    pub(crate) fn take(&mut self, mut input: &[u8], on: &mut impl FnMut(Event<'_>)) {
        self.bytes_in += input.len() as u64;
        if let Some(tags) = &mut self.tags {
            return tags.read(input, &mut |type_id, body| on(Event::Media(type_id, body)));
        }
        if let Step::Hello(left) = self.step {
            let n = left.min(input.len());
            self.hello.extend_from_slice(&input[..n]);
            input = &input[n..];
            self.greet(left, left - n);
            if left > n {
                return;
            }
        }
        let mut reader = std::mem::replace(&mut self.reader, Reader::new());
        reader.read(input, &mut |type_id, head| match type_id {
            kind::AUDIO | kind::VIDEO | kind::DATA => on(Event::Media(type_id, head)),
            kind::COMMAND => self.command(head, on),
            kind::USER => {
                if let Some(time) = head.strip_prefix(&[0, 6]) {
                    put(&mut self.out, kind::USER, 0, 2, 0, &[&[0, 7], time].concat());
                }
            }
            kind::WINDOW => {
                let window = head.first_chunk().map_or(u32::MAX, |window| u32::from_be_bytes(*window));
                self.window = u64::from(window / 2).max(1);
            }
            _ => {}
        });
        self.reader = reader;
        if self.bytes_in - self.acknowledged >= self.window {
            self.acknowledged = self.bytes_in;
            put(&mut self.out, kind::ACK, 0, 2, 0, &(self.bytes_in as u32).to_be_bytes());
        }
    }

    /// Answers the peer's hello as it grows: `before` bytes of it were missing, `now` are.
    fn greet(&mut self, before: usize, now: usize) {
        // C0 and C1, or S0 and S1, have arrived.
        if before > HELLO_BYTES && now <= HELLO_BYTES {
            if self.side == Side::Serves {
                self.out.push(3);
                self.out.resize(self.out.len() + HELLO_BYTES, 0);
            }
            self.out.extend_from_slice(&self.hello[1..=HELLO_BYTES]);
        }
        self.step = Step::Hello(now);
        if now == 0 {
            self.hello = Vec::new();
            self.step = Step::Commands;
            put(&mut self.out, kind::CHUNK_SIZE, 0, 2, 0, &CHUNK_BYTES.to_be_bytes());
            if self.side != Side::Serves {
                let connect = [("app", "live"), ("tcUrl", "rtmp://127.0.0.1/live"), ("flashVer", "LNX 9,0,124,2")];
                self.call(0, "connect", 1.0, |out| amf::object(out, &connect));
            }
        }
    }

    fn call(&mut self, stream_id: u32, name: &str, transaction: f64, values: impl FnOnce(&mut Vec<u8>)) {
        let mut body = Vec::new();
        amf::string(&mut body, name);
        amf::number(&mut body, transaction);
        values(&mut body);
        put(&mut self.out, kind::COMMAND, stream_id, 3, 0, &body);
    }

    fn command(&mut self, body: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let Some((name, transaction, rest)) = amf::head(body) else { return };
        if self.side == Side::Serves {
            return self.serve(name, transaction, rest, on);
        }
        let says = |code: &str| rest.windows(code.len()).any(|part| part == code.as_bytes());
        match (name, transaction) {
            (b"_result", 1.0) => self.call(0, "createStream", 2.0, amf::null),
            (b"_result", 2.0) => {
                let number = rest.strip_prefix(&[5, 0]).and_then(|number| number.first_chunk());
                self.stream_id = number.map_or(1.0, |number| f64::from_be_bytes(*number)) as u32;
                let (key, publishes) = (self.key.clone(), self.side == Side::Publishes);
                self.call(self.stream_id, if publishes { "publish" } else { "play" }, 3.0, |out| {
                    amf::null(out);
                    amf::string(out, &key);
                    if publishes {
                        amf::string(out, "live");
                    }
                });
            }
            (b"_error", _) => panic!("refused: {}", String::from_utf8_lossy(rest)),
            (b"onStatus", _) if says(".BadName") || says(".Failed") || says(".Denied") => {
                panic!("refused: {}", String::from_utf8_lossy(rest))
            }
            (b"onStatus", _)
                if self.step == Step::Commands && (says("NetStream.Publish.Start") || says("NetStream.Play.Start")) =>
            {
                self.step = Step::Running;
                on(Event::Started(self.stream_id));
            }
            _ => {}
        }
    }

    fn serve(&mut self, name: &[u8], transaction: f64, rest: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let status = |code: &'static str| {
            move |out: &mut Vec<u8>| {
                amf::null(out);
                amf::object(out, &[("level", "status"), ("code", code), ("description", "-")]);
            }
        };
        let key = || rest.strip_prefix(&[5]).and_then(amf::text).and_then(|(key, _)| str::from_utf8(key).ok());
        match name {
            b"connect" => self.call(0, "_result", transaction, status("NetConnection.Connect.Success")),
            b"createStream" => self.call(0, "_result", transaction, |out| {
                amf::null(out);
                amf::number(out, 1.0);
            }),
            b"publish" => {
                self.call(1, "onStatus", 0.0, status("NetStream.Publish.Start"));
                self.step = Step::Running;
                on(Event::Publishes(key().unwrap_or_default()));
            }
            b"play" => {
                self.call(1, "onStatus", 0.0, status("NetStream.Play.Start"));
                self.step = Step::Running;
                on(Event::Plays(key().unwrap_or_default()));
            }
            _ => {}
        }
    }
}
