//! Parts for tests of sources: servers whose hosts take their events, streams that are fed, publishers, players.

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "../support/threading.rs"]
mod threading;
#[path = "../support/wait.rs"]
mod wait;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::error::{Failure, RRError};
use rrelay::proto::message::MessageHead;
use rrelay::proto::url::RtmpUrl;
use rrelay::server::{Event, Id, LevelFilter, ListenOptions, RRServer, kind};
use rrelay::session::{ClientSession, Event as Said, SessionConfig, State};

/// How long the tests wait to see that nothing happens.
pub(crate) const A_WHILE: Duration = Duration::from_millis(700);

pub(crate) const VIDEO: u8 = 9;

pub(crate) type React = Box<dyn Fn(&RRServer, &Event) + Send>;

/// A server with a host that takes its events.
pub(crate) struct Server {
    pub(crate) server: Arc<RRServer>,
    pub(crate) port: u16,
    events: Arc<Mutex<Vec<Event>>>,
    end: Arc<AtomicBool>,
    host: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(config: ServerConfig, react: React) -> Self {
        Self::on(0, config, react)
    }

    pub(crate) fn plain() -> Self {
        Self::new(ServerConfig::default(), Box::new(|_, _| ()))
    }

    pub(crate) fn on(port: u16, config: ServerConfig, react: React) -> Self {
        let server = Arc::new(RRServer::new(threading::threaded(config), LevelFilter::Off, None).unwrap());
        let port = server.listen(&format!("127.0.0.1:{port}"), ListenOptions::default()).unwrap();
        let (events, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let host = {
            let (server, events, end) = (Arc::clone(&server), Arc::clone(&events), Arc::clone(&end));
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    if let Ok(Some(event)) = server.next_event(20) {
                        events.lock().unwrap().push(event.clone());
                        react(&server, &event);
                    }
                }
            })
        };
        Self { server, port, events, end, host: Some(host) }
    }

    pub(crate) fn url(&self, key: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{key}", self.port)
    }

    pub(crate) fn stream(&self, key: &str, config: StreamConfig) -> Id {
        self.server.stream_create(b"live", key.as_bytes(), Some(threading::spread(config))).unwrap()
    }

    /// The number of events for which `is` holds.
    pub(crate) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.lock().unwrap().iter().filter(|event| is(event)).count()
    }

    pub(crate) fn await_event(&self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        wait::until(what, || self.events.lock().unwrap().iter().find(|event| is(event)).cloned())
    }

    pub(crate) fn sessions(&self) -> usize {
        self.server.list(0, kind::SESSION).unwrap().len()
    }

    pub(crate) fn state_of(&self, id: Id) -> State {
        self.server.info(id).map_or(State::None, |info| info.state)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.host.take().map(JoinHandle::join);
        self.server.shutdown().unwrap();
    }
}

/// Waits until `so` gives true.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    wait::until(what, || so().then_some(()));
}

/// A host that publishes a stream: numbered key frames, forty a second, the first before anything else happens.
pub(crate) struct Feeder {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    pub(crate) fn start(origin: &Server, key: &str) -> Self {
        Self::counting_from(0, origin, key)
    }

    /// The first key frame has this number.
    pub(crate) fn counting_from(first: u32, origin: &Server, key: &str) -> Self {
        let id = origin.server.stream_create(b"live", key.as_bytes(), None).unwrap();
        let (server, end) = (Arc::clone(&origin.server), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&end);
        let feed = move |n| server.stream_write(id, VIDEO, i64::from(n) * 25, &frame(n), false);
        feed(first).unwrap();
        let thread = std::thread::spawn(move || {
            for n in first + 1.. {
                std::thread::sleep(Duration::from_millis(25));
                if ended.load(Ordering::Relaxed) || feed(n).is_err() {
                    return;
                }
            }
        });
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) fn frame(n: u32) -> Vec<u8> {
    let mut body = vec![0x17, 1, 0, 0, 0];
    body.extend(n.to_be_bytes());
    body.resize(400, 0xAB);
    body
}

/// A player of a server.
pub(crate) struct Player {
    socket: TcpStream,
    session: ClientSession,
    pub(crate) started: bool,
    /// Number and time of each frame.
    pub(crate) frames: Vec<(u32, u32)>,
    pub(crate) over: Option<Failure>,
}

impl Player {
    pub(crate) fn of(server: &Server, key: &str) -> Self {
        let url = RtmpUrl::parse(&server.url(key), None).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let session = ClientSession::play(&SessionConfig::default(), &url, 0).unwrap();
        let mut player = Self { socket, session, started: false, frames: Vec::new(), over: None };
        player.flush();
        player
    }

    pub(crate) fn flush(&mut self) {
        let out = self.session.take_output();
        let _ = self.socket.write_all(&out);
    }

    /// Reads the bytes that have come.
    pub(crate) fn look(&mut self) {
        let mut buffer = [0; 32 * 1024];
        let read = match self.socket.read(&mut buffer) {
            Ok(0) => return self.ends(Failure::peers(RRError::Closed, "closed")),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(error) => return self.ends(Failure::peers(RRError::Io, error.to_string())),
        };
        let input = &buffer[..read];
        let mut at = 0;
        loop {
            match self.session.next(input, &mut at, 0) {
                Ok(None) => break,
                Ok(Some(Said::Started { .. })) => self.started = true,
                Ok(Some(Said::Message(head))) if head.type_id == VIDEO => {
                    let body = self.session.body(input);
                    let number = body[5..9].try_into().map(u32::from_be_bytes).unwrap();
                    assert_eq!(body, frame(number), "untouched");
                    self.frames.push((number, head.timestamp_ms));
                }
                Ok(Some(Said::Ended { code, .. })) => return self.ends(Failure::peers(RRError::Closed, code)),
                Ok(Some(_)) => {}
                Err(failure) => return self.ends(failure),
            }
        }
        self.flush();
    }

    pub(crate) fn ends(&mut self, failure: Failure) {
        self.over.get_or_insert(failure);
    }

    pub(crate) fn sees(&mut self, more: usize) {
        let enough = self.frames.len() + more;
        until("frames", || {
            self.look();
            assert!(self.over.is_none(), "{:?}", self.over);
            self.frames.len() >= enough
        });
    }

    pub(crate) fn is_refused(&mut self) -> Failure {
        wait::until("a refusal", || {
            self.look();
            self.over.clone()
        })
    }
}

/// An encoder that has been let in and sends nothing more.
pub(crate) struct Publisher {
    socket: TcpStream,
    session: ClientSession,
}

impl Publisher {
    pub(crate) fn of(server: &Server, key: &str) -> Self {
        let url = RtmpUrl::parse(&server.url(key), None).unwrap();
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let mut session = ClientSession::publish(&SessionConfig::default(), &url, 0).unwrap();
        let mut buffer = [0; 8 * 1024];
        while !session.started() {
            socket.write_all(&session.take_output()).unwrap();
            let read = socket.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "refused");
            let mut at = 0;
            while session.next(&buffer[..read], &mut at, 0).unwrap().is_some() {}
        }
        Self { socket, session }
    }

    pub(crate) fn sends(&mut self, number: u32) {
        let body = frame(number);
        let len = u32::try_from(body.len()).unwrap();
        let head = MessageHead { type_id: VIDEO, timestamp_ms: number * 25, len, chunk_stream: 6, stream_id: 0 };
        self.session.send_message(&head, &body).unwrap();
        self.socket.write_all(&self.session.take_output()).unwrap();
    }
}
