//! Links between a client and a server: an HTTP server that carries RTMP in posts (RTMPT), a SOCKS4 proxy, and a slow
//! line. They pass on bytes and note the requests. One thread for each connection; loopback only.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long an answer waits for the server's bytes.
const PATIENCE: Duration = Duration::from_millis(3);

/// Send buffers in bytes; the kernel's own would grow to megabytes.
const SEND_BUFFER: usize = 32 * 1024;

/// Listens and serves each connection on its own thread, until it is dropped.
struct Service {
    port: u16,
    over: Arc<AtomicBool>,
}

impl Service {
    fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let (ends, serve) = (Arc::clone(&over), Arc::new(serve));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (socket, serve) = (socket.unwrap(), Arc::clone(&serve));
                socket.set_nodelay(true).unwrap();
                // A small buffer, so that a client that does not read soon stops the tunnel.
                socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER).unwrap();
                std::thread::spawn(move || serve(socket));
            }
        });
        Self { port, over }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Counts of posts by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Posts {
    pub(crate) open: u32,
    pub(crate) send: u32,
    pub(crate) idle: u32,
    pub(crate) close: u32,
}

/// The server's end of RTMPT, in front of a server of RTMP.
pub(crate) struct Tunnel {
    service: Service,
    shared: Arc<Shared>,
}

struct Shared {
    /// The server behind the tunnel.
    port: u16,
    /// Most bytes of an answer.
    answer_bytes: usize,
    /// Additional bytes of an answer's head.
    stuffing: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    posts: Posts,
    /// Connections to the server and the number that the next post must have, by the tunnel's id.
    open: HashMap<String, (TcpStream, u32)>,
}

impl Tunnel {
    /// Makes a tunnel to a port; an answer carries at most this many bytes.
    pub(crate) fn to(port: u16, answer_bytes: usize) -> Self {
        Self::stuffed(port, answer_bytes, 0)
    }

    /// A tunnel whose answers have heads longer by so many bytes: a client that does not read them soon stops the
    /// tunnel.
    pub(crate) fn stuffed(port: u16, answer_bytes: usize, stuffing: usize) -> Self {
        let shared = Arc::new(Shared { port, answer_bytes, stuffing, state: Mutex::default() });
        let own = Arc::clone(&shared);
        Self { service: Service::new(move |socket| while shared.answer(&socket).is_some() {}), shared: own }
    }

    pub(crate) fn port(&self) -> u16 {
        self.service.port
    }

    pub(crate) fn posts(&self) -> Posts {
        self.shared.state.lock().unwrap().posts
    }
}

impl Shared {
    /// Takes one request and answers it; `None` where the connection is over.
    fn answer(&self, mut socket: &TcpStream) -> Option<()> {
        let (path, body) = request(socket)?;
        let mut parts = path.trim_start_matches('/').split('/');
        let (what, id, number) = (parts.next()?, parts.next()?, parts.next().and_then(|text| text.parse().ok()));
        if what == "open" {
            let mut state = self.state.lock().unwrap();
            state.posts.open += 1;
            let id = format!("tunnel{}", state.posts.open);
            let server = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            server.set_nodelay(true).unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            state.open.insert(id.clone(), (server, 0));
            return self.respond(socket, format!("{id}\n").as_bytes());
        }
        let mut server = self.begin(what, id, number?)?;
        match what {
            "send" => {
                server.set_nonblocking(false).unwrap();
                server.write_all(&body).ok()?;
            }
            "close" => {
                // The server's last bytes are read: with bytes unread the connection would be reset, and bytes on their
                // way to the server lost.
                server.shutdown(Shutdown::Write).ok()?;
                let rest = server.try_clone().ok()?;
                std::thread::spawn(move || drain(&rest));
            }
            _ => assert_eq!(body, [0], "the body of {path}"),
        }
        // The answer to a "send" does not wait for the server.
        server.set_nonblocking(what == "send").unwrap();
        let mut answer = vec![0; self.answer_bytes];
        answer[0] = 1; // ask soon again
        match server.read(&mut answer[1..]) {
            Ok(0) => {
                self.respond(socket, &answer[..1])?;
                let _ = socket.flush();
                None
            }
            Ok(got) => self.respond(socket, &answer[..=got]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.respond(socket, &answer[..1])
            }
            Err(_) => None,
        }
    }

    fn respond(&self, mut socket: &TcpStream, body: &[u8]) -> Option<()> {
        let (length, stuffing) = (body.len(), "x".repeat(self.stuffing));
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nX-Stuffing: {stuffing}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-fcs\r\n\r\n"
        );
        socket.write_all(&[head.as_bytes(), body].concat()).ok()
    }

    /// Notes a post of a tunnel and gives the connection it is for.
    fn begin(&self, what: &str, id: &str, number: u32) -> Option<TcpStream> {
        let mut state = self.state.lock().unwrap();
        match what {
            "send" => state.posts.send += 1,
            "idle" => state.posts.idle += 1,
            "close" => state.posts.close += 1,
            _ => return None,
        }
        let (server, next) = state.open.get_mut(id)?;
        assert_eq!(number, *next, "posts are counted");
        *next += 1;
        server.try_clone().ok()
    }
}

/// Reads to the end of a connection.
fn drain(mut socket: &TcpStream) {
    let (mut scrap, deadline) = ([0; 4096], Instant::now() + super::PATIENCE);
    while Instant::now() < deadline {
        match socket.read(&mut scrap) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                std::thread::sleep(PATIENCE);
            }
            Err(_) => return,
        }
    }
}

/// The path and the body of a post.
fn request(mut socket: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let mut body = vec![0; length?.trim().parse().ok()?];
    socket.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// A SOCKS4 proxy.
pub(crate) struct Socks {
    service: Service,
    asked: Arc<Mutex<Vec<SocketAddrV4>>>,
}

impl Socks {
    /// A proxy that connects to any address, or refuses all.
    pub(crate) fn new(refuses: bool) -> Self {
        let asked: Arc<Mutex<Vec<SocketAddrV4>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let service = Service::new(move |mut client| {
            let mut request = [0; 9];
            if client.read_exact(&mut request).is_err() {
                return;
            }
            let [4, 1, high, low, a, b, c, d, 0] = request else { panic!("no request of SOCKS4: {request:?}") };
            let address = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
            noted.lock().unwrap().push(address);
            let server = if refuses { None } else { TcpStream::connect(address).ok() };
            let code = if server.is_some() { 90 } else { 91 };
            if client.write_all(&[0, code, high, low, a, b, c, d]).is_err() {
                return;
            }
            let Some(server) = server else { return };
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(&from, &to));
            pass(&server, &client);
        });
        Self { service, asked }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.service.port)
    }

    /// The addresses that clients asked for.
    pub(crate) fn asked(&self) -> Vec<SocketAddrV4> {
        self.asked.lock().unwrap().clone()
    }
}

/// Passes bytes on until there are no more.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A line that passes a client's bytes on slowly, and the server's at once.
pub(crate) struct SlowLine {
    service: Service,
}

impl SlowLine {
    /// Makes a line to a port.
    pub(crate) fn to(port: u16) -> Self {
        let service = Service::new(move |client| {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
            socket2::SockRef::from(&client).set_recv_buffer_size(SLOW_BYTES).unwrap();
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut &from, &mut &to));
            let mut bytes = vec![0; SLOW_BYTES];
            while let Some(got) = (&client).read(&mut bytes).ok().filter(|&got| got > 0) {
                if (&server).write_all(&bytes[..got]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = server.shutdown(Shutdown::Both);
        });
        Self { service }
    }

    pub(crate) fn port(&self) -> u16 {
        self.service.port
    }
}

/// Bytes taken at a time, and size of the kernel's buffer.
const SLOW_BYTES: usize = 32 * 1024;
