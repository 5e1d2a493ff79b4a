//! A minimal relay: the cost of relaying without any check, bound, count or log. One thread, epoll; each publisher's
//! chunks go to the stream's players as they came, with one call of `send` for all bytes of one read, or of the
//! collecting time; no allocation per message.
//!
//! This relay works only with the load tool, which sends every message in one chunk with a full header.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::rtmp::{Event, Peer, Side};
use crate::system::{Epoll, Ready};

/// Header of a full chunk on a low chunk stream.
const HEADER_BYTES: usize = 12;

/// The token of the listener.
const LISTENER: usize = usize::MAX;

/// The use of a connection.
enum Use {
    Unknown(Box<Peer>),
    /// Publishes the stream of this place.
    Publisher(usize),
    /// A player, or a target.
    Taker,
}

struct Link {
    socket: TcpStream,
    what: Use,
    /// Bytes that the socket did not take yet.
    rest: Vec<u8>,
}

impl Link {
    /// Sends, or keeps what the socket does not take.
    fn send(&mut self, bytes: &[u8]) {
        let n = if self.rest.is_empty() { self.socket.write(bytes).unwrap_or(0) } else { 0 };
        if n < bytes.len() {
            self.rest.extend_from_slice(&bytes[n..]);
        }
    }

    fn flush(&mut self) {
        while !self.rest.is_empty() {
            let Ok(n) = self.socket.write(&self.rest) else { return };
            self.rest.drain(..n);
        }
    }
}

#[derive(Default)]
struct Stream {
    takers: Vec<usize>,
    /// Bytes read from the publisher and not sent yet.
    came: Vec<u8>,
    /// The stream is in `due`.
    is_due: bool,
}

/// The command that shows the use of a connection.
enum Begins {
    Publishes(String),
    Plays(String),
    Target,
}

struct Relay {
    epoll: Epoll,
    listener: TcpListener,
    links: Vec<Link>,
    streams: Vec<Stream>,
    names: HashMap<String, usize>,
    scratch: Box<[u8]>,
    merge: Duration,
    /// Streams that collect, with the moment at which their bytes are sent.
    due: VecDeque<(Instant, usize)>,
    /// The port of targets, and their number.
    push: (u16, usize),
}

/// Relays until it is killed.
pub(crate) fn main(port: u16, merge_ms: u32, sink_port: u16, targets: usize) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    listener.set_nonblocking(true).expect("it is a socket");
    let epoll = Epoll::new();
    epoll.add(&listener, LISTENER);
    let mut relay = Relay {
        epoll,
        listener,
        links: Vec::new(),
        streams: Vec::new(),
        names: HashMap::new(),
        scratch: vec![0; 64 * 1024].into_boxed_slice(),
        merge: Duration::from_millis(merge_ms.into()),
        due: VecDeque::new(),
        push: (sink_port, targets),
    };
    let mut ready = Vec::new();
    loop {
        let timeout = relay.due.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        relay.epoll.wait(timeout, &mut ready);
        for ready in &ready {
            relay.serve(*ready);
        }
        while let Some(&(_, stream)) = relay.due.front().filter(|(at, _)| *at <= Instant::now()) {
            relay.due.pop_front();
            relay.streams[stream].is_due = false;
            relay.pass_on(stream);
        }
    }
}

impl Relay {
    fn add(&mut self, socket: TcpStream, peer: Peer) {
        socket.set_nonblocking(true).expect("it is a socket");
        socket.set_nodelay(true).expect("it is a socket");
        self.epoll.add(&socket, self.links.len());
        let mut link = Link { socket, what: Use::Unknown(Box::new(peer)), rest: Vec::new() };
        if let Use::Unknown(peer) = &mut link.what {
            link.rest = std::mem::take(&mut peer.out);
        }
        link.flush();
        self.links.push(link);
    }

    fn serve(&mut self, ready: Ready) {
        if ready.token == LISTENER {
            while let Ok((socket, _)) = self.listener.accept() {
                self.add(socket, Peer::new(Side::Serves, ""));
            }
            return;
        }
        if ready.readable {
            self.read(ready.token);
        }
        if ready.writable {
            self.links[ready.token].flush();
        }
    }

    fn read(&mut self, at: usize) {
        let mut came_of = None;
        loop {
            let link = &mut self.links[at];
            // No more bytes, or the peer has gone. A peer that has gone stays in the tables: the process serves one
            // load.
            let Ok(n @ 1..) = link.socket.read(&mut self.scratch) else { break };
            match &mut link.what {
                Use::Publisher(stream) => {
                    self.streams[*stream].came.extend_from_slice(&self.scratch[..n]);
                    came_of = Some(*stream);
                }
                Use::Unknown(_) => self.talk(at, n),
                Use::Taker => {}
            }
            if n < self.scratch.len() {
                break;
            }
        }
        let Some(stream) = came_of else { return };
        if self.merge.is_zero() {
            self.pass_on(stream);
        } else if !std::mem::replace(&mut self.streams[stream].is_due, true) {
            self.due.push_back((Instant::now() + self.merge, stream));
        }
    }

    /// Takes `n` bytes of a connection whose use is not known yet.
    fn talk(&mut self, at: usize, n: usize) {
        let link = &mut self.links[at];
        let Use::Unknown(peer) = &mut link.what else { return };
        let mut begins = None;
        peer.take(&self.scratch[..n], &mut |event| match event {
            Event::Publishes(key) => begins = Some(Begins::Publishes(key.to_owned())),
            Event::Plays(key) => begins = Some(Begins::Plays(key.to_owned())),
            Event::Started(_) => begins = Some(Begins::Target),
            Event::Media(..) => {}
        });
        let out = std::mem::take(&mut peer.out);
        link.send(&out);
        match begins {
            None => {}
            Some(Begins::Plays(key)) => {
                link.what = Use::Taker;
                let stream = self.stream(key);
                self.streams[stream].takers.push(at);
            }
            // There is one stream where there are targets.
            Some(Begins::Target) => {
                link.what = Use::Taker;
                self.streams[0].takers.push(at);
            }
            Some(Begins::Publishes(key)) => {
                let stream = self.stream(key);
                self.links[at].what = Use::Publisher(stream);
                let (port, targets) = self.push;
                for target in 0..targets {
                    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the load tool listens");
                    self.add(socket, Peer::new(Side::Publishes, &format!("t{target}")));
                }
            }
        }
    }

    fn stream(&mut self, key: String) -> usize {
        *self.names.entry(key).or_insert_with(|| {
            self.streams.push(Stream::default());
            self.streams.len() - 1
        })
    }

    /// Sends all complete messages to all players and targets.
    fn pass_on(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let mut whole = 0;
        while let Some(&[high, middle, low]) = stream.came.get(whole + 4..whole + 7) {
            let end = whole + HEADER_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
            if end > stream.came.len() {
                break;
            }
            whole = end;
        }
        if whole > 0 {
            for &taker in &stream.takers {
                self.links[taker].send(&stream.came[..whole]);
            }
            stream.came.drain(..whole);
        }
    }
}
