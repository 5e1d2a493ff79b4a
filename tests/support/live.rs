//! A server on loopback with its events and log lines kept, and peers that talk to it: well-behaved ones over a
//! `ClientSession`, and raw sockets for the others.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what cannot be done here has failed the test")]

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "threading.rs"]
mod threading;
#[path = "wait.rs"]
mod wait;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rrelay::config::ServerConfig;
use rrelay::error::Failure;
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_write;
use rrelay::proto::command::build;
use rrelay::proto::handshake::Handshake;
use rrelay::proto::message::{MessageHead, kind};
use rrelay::proto::url::RtmpUrl;
use rrelay::server::{Event, EventKind, LevelFilter, ListenOptions, LogSink, RRServer, flag};
use rrelay::session::{ClientSession, Event as Said, SessionConfig};

#[allow(unused_imports, reason = "each test program uses a part")]
pub(crate) use threading::{some_of, threaded};
pub(crate) use wait::PATIENCE;

/// Waits until `so` gives true.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    wait::until(what, || so().then_some(()));
}

/// A server under test.
pub(crate) struct Live {
    pub(crate) server: Arc<RRServer>,
    pub(crate) port: u16,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

impl Live {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self::with(config, ListenOptions::default())
    }

    pub(crate) fn with(config: ServerConfig, options: ListenOptions) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&events);
        let taker = Box::new(move |event: &Event| keep.lock().unwrap().push(event.clone()));
        let server = Arc::new(RRServer::new(threaded(config), LevelFilter::Off, Some(taker)).unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&lines);
        let sink = LogSink::Callback(Box::new(move |_, _, line: &str| keep.lock().unwrap().push(line.to_owned())));
        server.set_log(LevelFilter::Info, sink).unwrap();
        let port = server.listen("127.0.0.1:0", options).unwrap();
        Self { server, port, events, lines }
    }

    /// The line of the log that has all these words, once it is there.
    pub(crate) fn line_with(&self, words: &[&str]) -> String {
        let mut found = None;
        let by = Instant::now() + PATIENCE;
        while found.is_none() {
            let lines = self.lines.lock().unwrap();
            found = lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned();
            assert!(found.is_some() || Instant::now() < by, "no line with {words:?} in {lines:#?}");
            drop(lines);
            std::thread::sleep(Duration::from_millis(2));
        }
        found.unwrap()
    }

    pub(crate) fn lines_with(&self, word: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(word)).count()
    }

    pub(crate) fn events_of(&self, kind: EventKind) -> Vec<Event> {
        self.events.lock().unwrap().iter().filter(|event| event.kind == kind).cloned().collect()
    }

    /// The event that ended the session of this address, once it is there.
    pub(crate) fn end_of(&self, addr: &str) -> Event {
        let mut end = None;
        until(&format!("the end of {addr}"), || {
            let mut events = self.events_of(EventKind::Session).into_iter();
            end = events.find(|event| event.flags & flag::LAST != 0 && event.addr == addr.as_bytes());
            end.is_some()
        });
        end.unwrap()
    }

    pub(crate) fn sessions(&self) -> u32 {
        self.server.stats(0).unwrap().sessions
    }

    pub(crate) fn publish(&self, key: &str) -> Client {
        Client::new(self.port, key, true)
    }

    pub(crate) fn play(&self, key: &str) -> Client {
        Client::new(self.port, key, false)
    }
}

fn now_ms() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// A peer that keeps the rules.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) session: ClientSession,
    /// What was read last: so many bytes of this. The room stays, because filling it anew costs a debug build most of
    /// its time.
    read: Vec<u8>,
    len: usize,
    at: usize,
    pub(crate) messages: VecDeque<(MessageHead, Vec<u8>)>,
    pub(crate) said: Vec<Said>,
}

impl Client {
    pub(crate) fn new(port: u16, key: &str, publish: bool) -> Self {
        Self::configured(port, key, publish, &SessionConfig::default()).unwrap()
    }

    /// [`Client::new`] with settings of its own; fails if the server refuses.
    pub(crate) fn configured(port: u16, key: &str, publish: bool, config: &SessionConfig) -> Result<Self, Failure> {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap(), port, key, publish, config)
    }

    /// [`Client::configured`] over a socket that is connected already.
    pub(crate) fn over(
        socket: TcpStream,
        port: u16,
        key: &str,
        publish: bool,
        config: &SessionConfig,
    ) -> Result<Self, Failure> {
        socket.set_nodelay(true).unwrap();
        let url = RtmpUrl::parse(&format!("rtmp://127.0.0.1:{port}/live/{key}"), None).unwrap();
        let session =
            if publish { ClientSession::publish(config, &url, 0) } else { ClientSession::play(config, &url, 0) };
        let mut this = Self {
            socket,
            session: session.unwrap(),
            read: vec![0; 65_536],
            len: 0,
            at: 0,
            messages: VecDeque::new(),
            said: Vec::new(),
        };
        let by = Instant::now() + PATIENCE;
        while !this.session.started() {
            assert!(Instant::now() < by, "the server did not let {key} begin");
            this.turn(Duration::from_millis(20))?;
        }
        Ok(this)
    }

    /// One round of writing and reading. False where nothing came.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<bool, Failure> {
        let out = self.session.take_output();
        self.socket.write_all(&out).map_err(|error| Failure::io("write", &error))?;
        if self.at == self.len {
            self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
            let n = match self.socket.read(&mut self.read) {
                Ok(0) => return Err(Failure::peers(rrelay::error::RRError::Closed, "end")),
                Ok(n) => n,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(Failure::io("read", &error)),
            };
            (self.len, self.at) = (n, 0);
        }
        let read = &self.read[..self.len];
        while let Some(event) = self.session.next(read, &mut self.at, now_ms())? {
            match event {
                Said::Message(head) => self.messages.push_back((head, self.session.body(read).to_vec())),
                other => self.said.push(other),
            }
        }
        self.socket.write_all(&self.session.take_output()).map_err(|error| Failure::io("write", &error))?;
        Ok(true)
    }

    /// The next video message; others are skipped.
    pub(crate) fn message(&mut self) -> (MessageHead, Vec<u8>) {
        let by = Instant::now() + PATIENCE;
        loop {
            while let Some(message) = self.messages.pop_front() {
                if message.0.type_id == kind::VIDEO {
                    return message;
                }
            }
            assert!(Instant::now() < by, "no message came");
            self.turn(Duration::from_millis(50)).unwrap();
        }
    }

    /// Whether such a message has come and was not taken yet.
    pub(crate) fn has_message(&self, such: impl Fn(&(MessageHead, Vec<u8>)) -> bool) -> bool {
        self.messages.iter().any(such)
    }

    /// A message of a publisher's as it goes over the wire.
    pub(crate) fn wire(&self, type_id: u8, ts_ms: u32, body: &[u8]) -> Vec<u8> {
        let stream_id = self.session.stream_id();
        let head = MessageHead { timestamp_ms: ts_ms, type_id, stream_id, len: body.len() as u32, chunk_stream: 6 };
        let mut wire = Vec::new();
        chunk_write::encode(&head, body, SessionConfig::default().chunk_size, &mut wire);
        wire
    }

    /// Sends a message of a publisher's.
    pub(crate) fn send(&mut self, type_id: u8, ts_ms: u32, body: &[u8]) -> std::io::Result<()> {
        let wire = self.wire(type_id, ts_ms, body);
        self.session.note_sent(wire.len() as u64);
        self.socket.write_all(&wire)
    }

    /// A key frame of AVC with these bytes.
    pub(crate) fn key_frame(&mut self, ts_ms: u32, payload: &[u8]) -> std::io::Result<()> {
        self.send(kind::VIDEO, ts_ms, &[&[0x17, 1, 0, 0, 0][..], payload].concat())
    }

    /// The address the server sees.
    pub(crate) fn addr(&self) -> String {
        self.socket.local_addr().unwrap().to_string()
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn closed(&mut self) {
        until("the server closes", || self.turn(Duration::from_millis(10)).is_err());
    }
}

/// Bytes of a whole client handshake done on a raw socket.
pub(crate) fn handshake(socket: &mut TcpStream) {
    let mut handshake = Handshake::client();
    let mut out = Vec::new();
    handshake.start(&mut out).unwrap();
    let mut input = [0; 4096];
    loop {
        socket.write_all(&out).unwrap();
        out.clear();
        let n = socket.read(&mut input).unwrap();
        assert!(n > 0, "closed in the handshake");
        let mut at = 0;
        if handshake.feed(&input[..n], &mut at, &mut out).unwrap() {
            socket.write_all(&out).unwrap();
            return;
        }
    }
}

/// A raw socket, not yet shaken.
pub(crate) fn raw(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A raw socket after the handshake.
pub(crate) fn shaken(port: u16) -> TcpStream {
    let mut socket = raw(port);
    handshake(&mut socket);
    socket
}

/// One message in chunks of 128 bytes.
pub(crate) fn message(type_id: u8, stream_id: u32, chunk_stream: u32, body: &[u8]) -> Vec<u8> {
    let head = MessageHead { timestamp_ms: 0, type_id, stream_id, len: body.len() as u32, chunk_stream };
    let mut wire = Vec::new();
    chunk_write::encode(&head, body, 128, &mut wire);
    wire
}

/// A command.
pub(crate) fn command(stream_id: u32, name: &str, transaction: f64, values: &[Value<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    build::call(&mut body, name, transaction, values);
    message(kind::COMMAND, stream_id, 3, &body)
}

/// `connect` to the application "live".
pub(crate) fn connect() -> Vec<u8> {
    command(0, "connect", 1.0, &[Value::Object(vec![(b"app", Value::String(b"live"))])])
}

/// Whether the server closes this socket; earlier bytes are read and dropped.
pub(crate) fn is_closed(socket: &mut TcpStream) -> bool {
    let by = Instant::now() + PATIENCE;
    let mut input = [0; 65_536];
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while Instant::now() < by {
        match socket.read(&mut input) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}
