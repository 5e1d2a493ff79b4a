//! A TCP proxy on loopback that breaks connections as networks do: closes them, resets them, or falls silent without an
//! end. The proxy does not read the bytes that it passes on. Two threads for each connection.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a pump checks whether the network's state has changed.
const LOOK: Duration = Duration::from_millis(5);

/// A connection that is cut ends in the midst of what comes next, or after this long where nothing comes.
const NOTHING_COMES: Duration = Duration::from_millis(100);

/// The state of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Net {
    /// All passes.
    Good,
    /// Connections end, and new ones with them.
    Closes,
    /// Connections are reset, and new ones too.
    Resets,
    /// Nothing passes in either direction and nothing ends; new connections are taken, and silent too.
    Silent,
}

/// The proxy. It ends with all its connections when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    net: AtomicU8,
    over: AtomicBool,
    open: AtomicUsize,
    accepted: AtomicUsize,
    /// Connections up to this number are silent for good.
    forgotten: AtomicUsize,
    /// When the network came to its state.
    since: Mutex<Instant>,
}

impl Shared {
    fn net(&self) -> Net {
        let net = self.net.load(Ordering::SeqCst);
        [Net::Good, Net::Closes, Net::Resets, Net::Silent][usize::from(net)]
    }
}

impl Proxy {
    /// Listens on a port of the kernel's choice and passes on to `port` of 127.0.0.1.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            net: AtomicU8::new(Net::Good as u8),
            over: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            forgotten: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let number = accepting.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let socket = socket.unwrap();
                match accepting.net() {
                    Net::Closes => {}
                    Net::Resets => reset(&socket),
                    Net::Good | Net::Silent => begin(socket, number, &accepting),
                }
            }
        });
        Self { port: own, shared }
    }

    /// Puts the network into this state from now on, for present connections too.
    pub(crate) fn becomes(&self, net: Net) {
        *self.shared.since.lock().unwrap() = Instant::now();
        self.shared.net.store(net as u8, Ordering::SeqCst);
    }

    /// Present connections are silent from now on, whatever the network's state, as where a router has forgotten them.
    pub(crate) fn forgets(&self) {
        self.shared.forgotten.store(self.accepted(), Ordering::SeqCst);
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections that have come so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Makes the close of a socket a reset.
fn reset(socket: &TcpStream) {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// One connection, as its two pumps hold it. The sockets close with the second of them.
struct Link {
    near: TcpStream,
    far: TcpStream,
    number: usize,
    /// The connection is over in both directions.
    dead: AtomicBool,
    shared: Arc<Shared>,
}

fn begin(near: TcpStream, number: usize, shared: &Arc<Shared>) {
    // Where nobody listens the peer sees a close, as through any proxy.
    let Ok(far) = TcpStream::connect(shared.to) else { return };
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(LOOK)).unwrap();
        socket.set_write_timeout(Some(LOOK)).unwrap();
        socket.set_nodelay(true).unwrap();
    }
    shared.open.fetch_add(1, Ordering::SeqCst);
    let link = Arc::new(Link { near, far, number, dead: AtomicBool::new(false), shared: Arc::clone(shared) });
    for outward in [true, false] {
        let link = Arc::clone(&link);
        std::thread::spawn(move || {
            let (from, to) = if outward { (&link.near, &link.far) } else { (&link.far, &link.near) };
            link.pump(from, to);
        });
    }
}

impl Link {
    fn is_silent(&self) -> bool {
        self.shared.net() == Net::Silent || self.number <= self.shared.forgotten.load(Ordering::SeqCst)
    }

    fn pump(&self, mut from: &TcpStream, to: &TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while !self.is_over() {
            if self.is_silent() {
                std::thread::sleep(LOOK);
                continue;
            }
            let read = from.read(&mut buffer);
            let cut = matches!(self.shared.net(), Net::Closes | Net::Resets);
            match read {
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(n) if cut => {
                    self.write(to, &buffer[..n / 2]);
                    return self.end();
                }
                Ok(n) => {
                    if !self.write(to, &buffer[..n]) {
                        return self.end();
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if cut && self.shared.since.lock().unwrap().elapsed() > NOTHING_COMES {
                        return self.end();
                    }
                }
                Err(_) => return self.end(),
            }
        }
        self.end();
    }

    /// False where the other side is gone.
    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.is_over() {
                return false;
            }
            if self.is_silent() {
                std::thread::sleep(LOOK);
                continue;
            }
            match to.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn is_over(&self) -> bool {
        self.dead.load(Ordering::SeqCst) || self.shared.over.load(Ordering::SeqCst)
    }

    fn end(&self) {
        if self.dead.swap(true, Ordering::SeqCst) {
            return;
        }
        for socket in [&self.near, &self.far] {
            if self.shared.net() == Net::Resets {
                reset(socket);
            } else {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
    }
}
