//! An RTMP ingest with a script, made of rml_rtmp's chunks, messages and handshake, which this project did not write.
//! The ingest answers as the test wants and keeps every message. One thread for each connection; loopback only.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{MessagePayload, RtmpMessage};
use rml_rtmp::time::RtmpTimestamp;

/// An ingest's behaviour on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The message stream id that the ingest returns.
    pub(crate) stream_id: u32,
    /// The code with which it answers `publish`, or `None` for Publish.Start.
    pub(crate) refuse: Option<&'static str>,
    /// The reason for refusing a `connect` with this application; `None` accepts.
    pub(crate) login: fn(app: &str) -> Option<String>,
    /// The behaviour after Publish.Start.
    pub(crate) then: Then,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Then {
    /// Reads everything.
    Read,
    /// Reads nothing more.
    Stall,
    /// Resets the connection after a time.
    Reset(Duration),
    /// Resets the connection when it has had so many messages of media.
    ResetAt(usize),
    /// Sends an error with this code behind Publish.Start and resets the connection at once.
    SayAndReset(&'static str),
    /// Redirects the publisher at the first media.
    Elsewhere(Option<String>),
}

impl Default for Script {
    fn default() -> Self {
        Self { stream_id: 1, refuse: None, login: |_| None, then: Then::Read }
    }
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) type_id: u8,
    pub(crate) stream_id: u32,
    pub(crate) ts_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// The record of one connection.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) at: Instant,
    pub(crate) from: String,
    /// The fields of `connect`.
    pub(crate) app: String,
    pub(crate) tc_url: String,
    pub(crate) caps_ex: u32,
    pub(crate) key: String,
    /// The chunk size that the publisher announced.
    pub(crate) chunk_size: u32,
    /// Media and data.
    pub(crate) media: Vec<Got>,
    /// Names of commands, in their order.
    pub(crate) commands: Vec<String>,
    pub(crate) over: bool,
}

impl Visit {
    /// The bodies of one message type.
    pub(crate) fn bodies(&self, type_id: u8) -> Vec<Vec<u8>> {
        self.media.iter().filter(|got| got.type_id == type_id).map(|got| got.body.clone()).collect()
    }
}

pub(crate) struct Ingest {
    pub(crate) port: u16,
    address: SocketAddr,
    visits: Arc<Mutex<Vec<Visit>>>,
    over: Arc<AtomicBool>,
}

impl Ingest {
    /// Listens; `script` gives the behaviour on the connection of each number, from 0.
    pub(crate) fn new(script: impl Fn(usize) -> Script + Send + 'static) -> Self {
        Self::at("127.0.0.1:0", script)
    }

    /// Listens at an address.
    pub(crate) fn at(address: &str, script: impl Fn(usize) -> Script + Send + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (visits, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (shared, ends) = (Arc::clone(&visits), Arc::clone(&over));
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (socket, script) = (socket.unwrap(), script(number));
                shared.lock().unwrap().push(Visit {
                    at: Instant::now(),
                    from: socket.peer_addr().unwrap().ip().to_string(),
                    app: String::new(),
                    tc_url: String::new(),
                    caps_ex: 0,
                    key: String::new(),
                    chunk_size: 128,
                    media: Vec::new(),
                    commands: Vec::new(),
                    over: false,
                });
                let (visits, ends) = (Arc::clone(&shared), Arc::clone(&ends));
                std::thread::spawn(move || {
                    let mut one = Connection::new(socket, script, number, visits, ends);
                    one.serve();
                    one.visit(|visit| visit.over = true);
                });
            }
        });
        Self { port: address.port(), address, visits, over }
    }

    /// An ingest that accepts every publisher and reads everything.
    pub(crate) fn good() -> Self {
        Self::new(|_| Script::default())
    }

    pub(crate) fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live/key", self.port)
    }

    pub(crate) fn visits(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.visits.lock().unwrap()
    }

    pub(crate) fn count(&self) -> usize {
        self.visits().len()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

struct Connection {
    socket: TcpStream,
    script: Script,
    number: usize,
    visits: Arc<Mutex<Vec<Visit>>>,
    ends: Arc<AtomicBool>,
    reader: ChunkDeserializer,
    writer: ChunkSerializer,
    started: Option<Instant>,
    asked: bool,
}

impl Connection {
    fn new(
        socket: TcpStream,
        script: Script,
        number: usize,
        visits: Arc<Mutex<Vec<Visit>>>,
        ends: Arc<AtomicBool>,
    ) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let (reader, writer) = (ChunkDeserializer::new(), ChunkSerializer::new());
        Self { socket, script, number, visits, ends, reader, writer, started: None, asked: false }
    }

    fn visit(&self, change: impl FnOnce(&mut Visit)) {
        change(&mut self.visits.lock().unwrap()[self.number]);
    }

    /// The next bytes; `None` at the end.
    fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => None,
            Ok(n) => Some(buffer[..n].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Some(Vec::new()),
            Err(_) => None,
        }
    }

    fn serve(&mut self) {
        let mut handshake = Some(Handshake::new(PeerType::Server));
        while !self.ends.load(Ordering::Relaxed) {
            if let (Some(since), Then::Reset(after)) = (self.started, &self.script.then)
                && since.elapsed() >= *after
            {
                let socket = socket2::SockRef::from(&self.socket);
                socket.set_linger(Some(Duration::ZERO)).unwrap(); // so that closing resets
                return;
            }
            if let Then::ResetAt(messages) = self.script.then
                && self.visits.lock().unwrap()[self.number].media.len() >= messages
            {
                let socket = socket2::SockRef::from(&self.socket);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            if let (Some(_), Then::SayAndReset(code)) = (self.started, &self.script.then) {
                self.socket.set_nodelay(true).unwrap(); // or the reset overtakes it
                self.say("onStatus", 0.0, Amf0Value::Null, vec![status("error", code, "that was all", None)]);
                let socket = socket2::SockRef::from(&self.socket);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            if self.started.is_some() && self.script.then == Then::Stall {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let Some(mut bytes) = self.read() else { return };
            if let Some(mut shaking) = handshake.take() {
                match shaking.process_bytes(&bytes).unwrap() {
                    HandshakeProcessResult::InProgress { response_bytes } => {
                        self.write(&response_bytes);
                        handshake = Some(shaking);
                        continue;
                    }
                    HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                        self.write(&response_bytes);
                        bytes = remaining_bytes;
                    }
                }
            }
            let mut bytes = &bytes[..];
            while let Some(message) = self.reader.get_next_message(bytes).unwrap() {
                bytes = &[];
                self.take(&message);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    fn say(&mut self, name: &str, transaction: f64, first: Amf0Value, rest: Vec<Amf0Value>) {
        let message = RtmpMessage::Amf0Command {
            command_name: name.to_owned(),
            transaction_id: transaction,
            command_object: first,
            additional_arguments: rest,
        };
        let payload = message.into_message_payload(RtmpTimestamp::new(0), 0).unwrap();
        let packet = self.writer.serialize(&payload, false, false).unwrap();
        self.write(&packet.bytes);
    }

    fn take(&mut self, message: &MessagePayload) {
        match message.to_rtmp_message() {
            Ok(RtmpMessage::SetChunkSize { size }) => {
                self.reader.set_max_chunk_size(size as usize).unwrap();
                self.visit(|visit| visit.chunk_size = size);
            }
            Ok(RtmpMessage::Amf0Command { command_name, transaction_id, command_object, additional_arguments }) => {
                self.visit(|visit| visit.commands.push(command_name.clone()));
                self.command(&command_name, transaction_id, command_object, &additional_arguments);
            }
            _ if matches!(message.type_id, 8 | 9 | 15 | 18) => {
                let got = Got {
                    type_id: message.type_id,
                    stream_id: message.message_stream_id,
                    ts_ms: message.timestamp.value,
                    body: message.data.to_vec(),
                };
                self.visit(|visit| visit.media.push(got));
                if let (Then::Elsewhere(url), false) = (self.script.then.clone(), self.asked) {
                    self.asked = true;
                    let url = url.map(|url| ("tcUrl".to_owned(), Amf0Value::Utf8String(url)));
                    let status = status("status", "NetConnection.Connect.ReconnectRequest", "going down", url);
                    self.say("onStatus", 0.0, Amf0Value::Null, vec![status]);
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, name: &str, transaction: f64, object: Amf0Value, rest: &[Amf0Value]) {
        match name {
            "connect" => {
                let fields = object.get_object_properties().unwrap();
                let text = |name| fields.get(name).and_then(|value| value.clone().get_string()).unwrap_or_default();
                let number = |name| fields.get(name).and_then(|value| value.clone().get_number()).unwrap_or(0.0);
                self.visit(|visit| {
                    (visit.app, visit.tc_url, visit.caps_ex) = (text("app"), text("tcUrl"), number("capsEx") as u32);
                });
                match (self.script.login)(&text("app")) {
                    Some(words) => {
                        let status = status("error", "NetConnection.Connect.Rejected", &words, None);
                        self.say("_error", transaction, Amf0Value::Null, vec![status]);
                    }
                    None => {
                        let status = status("status", "NetConnection.Connect.Success", "welcome", None);
                        self.say("_result", transaction, Amf0Value::Object(HashMap::new()), vec![status]);
                    }
                }
            }
            "createStream" => {
                let id = Amf0Value::Number(self.script.stream_id.into());
                self.say("_result", transaction, Amf0Value::Null, vec![id]);
            }
            "publish" => {
                let key = rest.first().and_then(|value| value.clone().get_string()).unwrap_or_default();
                self.visit(|visit| visit.key = key);
                let (level, code) = match self.script.refuse {
                    Some(code) => ("error", code),
                    None => ("status", "NetStream.Publish.Start"),
                };
                self.say("onStatus", 0.0, Amf0Value::Null, vec![status(level, code, "as the script says", None)]);
                self.started = self.script.refuse.is_none().then(Instant::now);
            }
            _ => {}
        }
    }
}

fn status(level: &str, code: &str, text: &str, more: Option<(String, Amf0Value)>) -> Amf0Value {
    let entry = |name: &str, value: &str| (name.to_owned(), Amf0Value::Utf8String(value.to_owned()));
    let fields = [entry("level", level), entry("code", code), entry("description", text)];
    Amf0Value::Object(fields.into_iter().chain(more).collect())
}
