//! A peer that does nothing by itself: handshake, chunks and AMF by rml_rtmp, the conversation by the test. The peer
//! reads only when the test asks, acknowledges nothing, and returns every message unchanged.

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "threading.rs"]
mod threading;
#[allow(clippy::duplicate_mod, reason = "some test programs have it twice: a loop and a figure")]
#[path = "wait.rs"]
mod wait;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::server::{LevelFilter, ListenOptions, RRServer, kind};
use rrelay::session::{Role, State};

pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;
pub(crate) const DATA_AMF3: u8 = 15;
pub(crate) const COMMAND: u8 = 20;

use threading::threaded;
pub(crate) use wait::{PATIENCE, until};

/// Larger than any message sent here.
const CHUNK_SIZE: u32 = 256 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) type_id: u8,
    pub(crate) ts_ms: u32,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    reader: ChunkDeserializer,
    writer: ChunkSerializer,
    got: VecDeque<Got>,
    /// The values of an accepted client's `connect`, or of the server's answer.
    pub(crate) greeting: Vec<Amf0Value>,
}

impl Raw {
    fn shake(mut socket: TcpStream, role: PeerType) -> Self {
        socket.set_nodelay(true).unwrap();
        let mut handshake = Handshake::new(role);
        socket.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        let rest = loop {
            let n = socket.read(&mut buffer).unwrap();
            assert_ne!(n, 0, "closed in the handshake");
            match handshake.process_bytes(&buffer[..n]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => socket.write_all(&response_bytes).unwrap(),
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    socket.write_all(&response_bytes).unwrap();
                    break remaining_bytes;
                }
            }
        };
        let (reader, writer) = (ChunkDeserializer::new(), ChunkSerializer::new());
        let mut raw = Self { socket, reader, writer, got: VecDeque::new(), greeting: Vec::new() };
        raw.take(&rest);
        // rml_rtmp cannot cut a message into chunks when told to write whole headers: none may be longer than a chunk.
        let size = raw.writer.set_max_chunk_size(CHUNK_SIZE, RtmpTimestamp::new(0)).unwrap();
        raw.socket.write_all(&size.bytes).unwrap();
        raw
    }

    /// A client that has connected to `live` and has made its stream 1.
    fn connect(port: u16) -> Self {
        let mut raw = Self::connect_saying(port, &[]);
        raw.command(0, "createStream", 2.0, Amf0Value::Null, &[]);
        raw
    }

    /// A client that sends these fields when it connects to `live`. The answer is not read.
    pub(crate) fn connect_saying(port: u16, more: &[(&str, Amf0Value)]) -> Self {
        let mut raw = Self::shake(TcpStream::connect(("127.0.0.1", port)).unwrap(), PeerType::Client);
        let url = Amf0Value::Utf8String(format!("rtmp://127.0.0.1:{port}/live"));
        let usual = [("app", Amf0Value::Utf8String("live".to_owned())), ("tcUrl", url)];
        let object = usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone()));
        raw.command(0, "connect", 1.0, Amf0Value::Object(object.collect()), &[]);
        raw
    }

    /// Reads on until the answer to `connect`, which is kept as the greeting.
    pub(crate) fn wait_connected(&mut self) {
        while self.greeting.is_empty() {
            let got = self.next().expect("an answer");
            if got.type_id == COMMAND {
                self.greeting = rml_amf0::deserialize(&mut got.body.as_slice()).unwrap();
            }
        }
    }

    pub(crate) fn play(port: u16, key: &str) -> Self {
        let mut raw = Self::asks_to_play(port, key, &[]);
        raw.wait_status("NetStream.Play.Start");
        raw
    }

    /// A client that has sent `play` with these values behind the key. The answer is not read.
    pub(crate) fn asks_to_play(port: u16, key: &str, more: &[Amf0Value]) -> Self {
        let mut raw = Self::connect(port);
        let args = [&[Amf0Value::Utf8String(key.to_owned())], more].concat();
        raw.command(1, "play", 0.0, Amf0Value::Null, &args);
        raw
    }

    pub(crate) fn publish(port: u16, key: &str) -> Self {
        let mut raw = Self::connect(port);
        let args = [key, "live"].map(|arg| Amf0Value::Utf8String(arg.to_owned()));
        raw.command(1, "publish", 0.0, Amf0Value::Null, &args);
        raw.wait_status("NetStream.Publish.Start");
        raw
    }

    /// [`Self::publish`]; `None` where the server refuses.
    pub(crate) fn try_publish(port: u16, key: &str) -> Option<Self> {
        let mut raw = Self::connect(port);
        let args = [key, "live"].map(|arg| Amf0Value::Utf8String(arg.to_owned()));
        raw.command(1, "publish", 0.0, Amf0Value::Null, &args);
        loop {
            let got = raw.next()?;
            let says =
                |code: &str| got.type_id == COMMAND && got.body.windows(code.len()).any(|part| part == code.as_bytes());
            if says("NetStream.Publish.Start") {
                return Some(raw);
            }
            if says("NetStream.Publish.BadName") {
                return None;
            }
        }
    }

    /// The server's side: takes one client and accepts its commands until it publishes.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut raw = Self::shake(listener.accept().unwrap().0, PeerType::Server);
        loop {
            let got = raw.next().expect("the client goes on");
            if got.type_id != COMMAND {
                continue;
            }
            let values = rml_amf0::deserialize(&mut got.body.as_slice()).unwrap();
            let [Amf0Value::Utf8String(name), Amf0Value::Number(transaction), ..] = values.as_slice() else {
                panic!("{values:?}")
            };
            match name.as_str() {
                "connect" => {
                    raw.greeting = values.clone();
                    raw.command(0, "_result", *transaction, Amf0Value::Null, &[Amf0Value::Null]);
                }
                "createStream" => raw.command(0, "_result", *transaction, Amf0Value::Null, &[Amf0Value::Number(1.0)]),
                "publish" => {
                    let status = [("level", "status"), ("code", "NetStream.Publish.Start")];
                    let status = status.map(|(name, value)| (name.to_owned(), Amf0Value::Utf8String(value.to_owned())));
                    raw.command(1, "onStatus", 0.0, Amf0Value::Null, &[Amf0Value::Object(status.into())]);
                    return raw;
                }
                _ => {}
            }
        }
    }

    pub(crate) fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        object: Amf0Value,
        args: &[Amf0Value],
    ) {
        let mut values = vec![Amf0Value::Utf8String(name.to_owned()), Amf0Value::Number(transaction), object];
        values.extend_from_slice(args);
        let body = rml_amf0::serialize(&values).unwrap();
        self.send_on(stream_id, COMMAND, 0, &body);
    }

    /// Sends a message on the stream.
    pub(crate) fn send(&mut self, type_id: u8, ts_ms: u32, body: &[u8]) {
        self.send_on(1, type_id, ts_ms, body);
    }

    /// [`Self::send`]; false where the connection does not take the message.
    pub(crate) fn try_send(&mut self, type_id: u8, ts_ms: u32, body: &[u8]) -> bool {
        let bytes = self.packet(1, type_id, ts_ms, body);
        self.socket.write_all(&bytes).is_ok()
    }

    fn send_on(&mut self, message_stream_id: u32, type_id: u8, ts_ms: u32, body: &[u8]) {
        let bytes = self.packet(message_stream_id, type_id, ts_ms, body);
        self.socket.write_all(&bytes).unwrap();
    }

    fn packet(&mut self, message_stream_id: u32, type_id: u8, ts_ms: u32, body: &[u8]) -> Vec<u8> {
        let timestamp = RtmpTimestamp::new(ts_ms);
        let payload = MessagePayload { timestamp, type_id, message_stream_id, data: body.to_vec().into() };
        self.writer.serialize(&payload, true, false).unwrap().bytes
    }

    /// Answers a ping; false where the message is none.
    pub(crate) fn answer_ping(&mut self, got: &Got) -> bool {
        let ping = (got.type_id == 4).then(|| got.body.strip_prefix(&[0, 6])).flatten();
        let Some(time) = ping else { return false };
        let bytes = self.packet(0, 4, 0, &[&[0, 7], time].concat());
        // Where it cannot be sent, the next read says so.
        let _ = self.socket.write_all(&bytes);
        true
    }

    /// Whether the other side has closed and no byte of it is left to read.
    pub(crate) fn is_closed(&self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        match self.socket.peek(&mut [0]) {
            Ok(n) => n == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while let Some(payload) = self.reader.get_next_message(bytes).expect("whole messages, one after another") {
            bytes = &[];
            if let (1, Some(size)) = (payload.type_id, payload.data.first_chunk()) {
                self.reader.set_max_chunk_size(u32::from_be_bytes(*size) as usize).unwrap();
            }
            let (type_id, ts_ms) = (payload.type_id, payload.timestamp.value);
            self.got.push_back(Got { type_id, ts_ms, body: payload.data.to_vec() });
        }
    }

    /// The next message; `None` where none comes within `patience`, or the other side has closed.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Got> {
        let until = Instant::now() + patience;
        let mut buffer = vec![0; 64 * 1024];
        while self.got.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.take(&buffer[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
        self.got.pop_front()
    }

    fn next(&mut self) -> Option<Got> {
        self.next_within(PATIENCE)
    }

    /// The next media or data message.
    pub(crate) fn media(&mut self) -> Got {
        self.media_within(PATIENCE).expect("media comes")
    }

    pub(crate) fn media_within(&mut self, patience: Duration) -> Option<Got> {
        loop {
            let got = self.next_within(patience)?;
            if matches!(got.type_id, AUDIO | VIDEO | DATA | DATA_AMF3) && !is_sample_access(&got) {
                return Some(got);
            }
        }
    }

    /// Reads on until an onStatus of this code.
    pub(crate) fn wait_status(&mut self, code: &str) {
        let mut seen = VecDeque::new();
        loop {
            let got = self.next().unwrap_or_else(|| panic!("{code} does not come; what came is {seen:?}"));
            let found = got.type_id == COMMAND && got.body.windows(code.len()).any(|part| part == code.as_bytes());
            seen.push_back(got);
            if found {
                // Media from before the status is kept for later reads.
                let media = seen.into_iter().filter(|got| got.type_id != COMMAND);
                self.got = media.chain(std::mem::take(&mut self.got)).collect();
                return;
            }
        }
    }
}

/// The end of `|RtmpSampleAccess` true true, which servers send before media.
const SAMPLE_ACCESS: &[u8] = b"RtmpSampleAccess\x01\x01\x01\x01";

/// Whether a message is this one.
pub(crate) fn is_sample_access(got: &Got) -> bool {
    got.body.ends_with(SAMPLE_ACCESS)
}

/// A picture: key frame or not, a number, and a body that can be checked.
pub(crate) fn picture(key: bool, number: u32, len: usize) -> Vec<u8> {
    let mut body = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    body.extend_from_slice(&number.to_be_bytes());
    body.resize(len.max(9), number as u8);
    body
}

/// The number of a picture, where its body is whole; `None` for a sequence header.
pub(crate) fn number_of(got: &Got) -> Option<u32> {
    if got.body[1] == 0 {
        return None;
    }
    let number = u32::from_be_bytes(*got.body[5..].first_chunk().unwrap());
    assert!(got.body[9..].iter().all(|&byte| byte == number as u8), "the body of {number} is damaged");
    Some(number)
}

/// A server on a free port, and the port. Its events are not taken.
pub(crate) fn relay(stream: StreamConfig, server: ServerConfig) -> (RRServer, u16) {
    let config = threaded(ServerConfig { stream: stream.into(), ..server });
    let server = RRServer::new(config, LevelFilter::Off, Some(Box::new(|_| {}))).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    (server, port)
}

/// The player that has been on a stream for the shortest time, once the relay has it.
pub(crate) fn last_player(server: &RRServer, stream: u64, players: usize) -> u64 {
    until("the player", || {
        let sessions = server.list(stream, kind::SESSION).unwrap();
        let playing = |id: &&u64| {
            let info = server.info(**id);
            info.is_ok_and(|info| info.role == Role::Player && info.state != State::Handshake)
        };
        (sessions.iter().filter(playing).count() == players).then(|| sessions[sessions.len() - 1])
    })
}
