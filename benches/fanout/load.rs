//! The load tool: publishers, players and the servers' push targets, in one thread of a process of its own. The tool
//! reads all messages that arrive, and gives the server's CPU time between two moments and the age of each message sent
//! between them. Stalled players come in addition; nothing is read from them once they play.

mod times;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::media::{self, Media};
use crate::rtmp::{Event, Peer, Side, kind};
use crate::servers::{Papers, itself};
use crate::shape::Shape;
use crate::system::{Epoll, Ready, cpu_ns, family, own_bytes, resident_bytes};

/// Most connections that are being set up at a time.
const COMING: usize = 50;

/// Media before the measured time, in which every consumer begins.
const WARM: Duration = Duration::from_millis(1000);

/// The wait after the measured time, in addition to the server's collecting time, for messages that are still on their
/// way.
const AFTER: Duration = Duration::from_millis(500);

/// All connections must be made within this time, or the round is abandoned.
const CONNECT: Duration = Duration::from_secs(60);

/// Most messages that are sent in a row before sockets are read.
const AT_ONCE: usize = 16;

/// How long idle players rest before the server's memory is measured.
const REST: Duration = Duration::from_millis(1500);

/// The receive buffer of a stalled player, in bytes; the system raises it to its own minimum.
const STALLED_BYTES: usize = 4096;

/// The figures of one round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// The server's CPU seconds for each gigabyte that consumers received.
    pub(crate) cost: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Messages that arrived, of those sent in the measured time.
    pub(crate) delivered_pct: f64,
    /// The server's share of one processor, and the load tool's own.
    pub(crate) server_busy_pct: f64,
    pub(crate) load_busy_pct: f64,
    /// The server's memory for each stream with its players, or for each idle player.
    pub(crate) kib: f64,
    /// The server's memory for each stream before its first media.
    pub(crate) bare_kib: f64,
    /// From a player's connection to a stream that runs to its first picture.
    pub(crate) join_ms: f64,
    /// From the connection of a new stream's publisher to the first picture at its player.
    pub(crate) begin_ms: f64,
    /// From the publisher's `send` of a message until the server has sent it to all players, while nobody reads.
    pub(crate) pass_ms: f64,
}

impl Report {
    /// All figures, in the order of the load tool's line.
    fn fields(&mut self) -> [&mut f64; 11] {
        let Self { cost, p50_ms, p99_ms, delivered_pct, server_busy_pct, load_busy_pct, .. } = self;
        let Self { kib, bare_kib, join_ms, begin_ms, pass_ms, .. } = self;
        [cost, p50_ms, p99_ms, delivered_pct, server_busy_pct, load_busy_pct, kib, bare_kib, join_ms, begin_ms, pass_ms]
    }
}

/// A server's process and ports.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) http_port: u16,
    /// The port that the server pushes to.
    pub(crate) sink_port: u16,
}

/// Runs the load tool in a process of its own.
pub(crate) fn start(server: Server, shape: &Shape, seconds: f64, papers: &Papers) -> Result<Report, String> {
    let Server { pid, port, tls_port, http_port, sink_port } = server;
    let ports = [port, tls_port, http_port, sink_port].map(|port| port.to_string()).join(",");
    let words = [pid.to_string(), ports, seconds.to_string()];
    let mut args = vec!["as", "load"];
    args.extend(words.iter().map(String::as_str));
    let (shape, certificate) = (shape.to_words(), papers.certificate.to_str().expect("a plain path"));
    args.extend([shape.as_str(), certificate]);
    let output = itself(&args).stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let mut report = Report::default();
    let fields = report.fields();
    if figures.len() != fields.len() {
        return Err(format!("the load tool failed: {line}"));
    }
    fields.into_iter().zip(figures).for_each(|(field, figure)| *field = figure);
    Ok(report)
}

/// The load tool's own `main`.
pub(crate) fn main(args: &[&str]) {
    let [pid, ports, seconds, shape, certificate] = *args else {
        panic!("pid ports seconds shape certificate");
    };
    let number = |word: &str| word.parse::<u32>().expect("a number");
    let ports: Vec<u16> = ports.split(',').map(|port| number(port) as u16).collect();
    let &[port, tls_port, http_port, sink_port] = ports.as_slice() else { panic!("{ports:?}") };
    let server = Server { pid: number(pid), port, tls_port, http_port, sink_port };
    let shape = Shape::from_words(shape);
    let mut load = Load::new(server, shape, certificate);
    let mut report = if shape.idle { load.idle() } else { load.run(seconds.parse().expect("seconds")) };
    println!("{}", report.fields().map(|field| field.to_string()).join(" "));
}

/// The use of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Player,
    /// Publishes the stream of this number.
    Publisher,
    /// Opened by the server, to push.
    Sink,
    /// A player whose socket is not read once it plays.
    Stalled,
    /// A player whose messages' ages do not count.
    Crowd,
}

/// One connection.
struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    peer: Peer,
    what: Use,
    started: bool,
    /// When it had its first picture, if it plays.
    first_picture: Option<Instant>,
    /// Bytes that the socket did not take yet.
    rest: Vec<u8>,
}

impl Link {
    /// Writes the waiting bytes.
    fn flush(&mut self) {
        self.rest.append(&mut self.peer.out);
        if let Some(tls) = &mut self.tls {
            if !self.rest.is_empty() && !tls.is_handshaking() {
                let n = tls.writer().write(&self.rest).expect("it goes into memory");
                self.rest.drain(..n);
            }
            while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok_and(|n| n > 0) {}
            return;
        }
        while !self.rest.is_empty() {
            match self.socket.write(&self.rest) {
                Ok(n) => drop(self.rest.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server stays: {error}"),
            }
        }
    }

    /// Reads the available bytes into `scratch`, and passes each piece to the peer.
    fn pump(&mut self, scratch: &mut [u8], on: &mut impl FnMut(Event<'_>)) {
        loop {
            let read = match &mut self.tls {
                None => self.socket.read(scratch),
                Some(tls) => loop {
                    match tls.reader().read(scratch) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        read => break read,
                    }
                    match tls.read_tls(&mut self.socket) {
                        Ok(1..) => drop(tls.process_new_packets().expect("the server speaks TLS")),
                        read => break read,
                    }
                },
            };
            match read {
                Ok(0) => panic!("the server closed a connection"),
                Ok(n) => {
                    self.peer.take(&scratch[..n], on);
                    if n < scratch.len() && self.tls.is_none() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server stays: {error}"),
            }
        }
    }
}

struct Load {
    server: Server,
    shape: Shape,
    tls: Option<Arc<ClientConfig>>,
    sinks: Option<TcpListener>,
    epoll: Epoll,
    ready: Vec<Ready>,
    links: Vec<Link>,
    /// Connections that have begun to publish or play.
    started: usize,
    begun: Instant,
    scratch: Box<[u8]>,
    /// The measured time: messages sent from the first moment on and before the second have their ages kept.
    window_ns: (u64, u64),
    ages_us: Vec<u32>,
}

/// A stream that is published.
struct Feed {
    media: Media,
    /// The connection over which it is published, and when it began.
    publisher: usize,
    from_us: u64,
}

/// The streams that are published, and when each sends its next message.
#[derive(Default)]
struct Feeds {
    all: Vec<Feed>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

/// The token of the listener for pushes.
const SINKS: usize = usize::MAX;

impl Load {
    fn new(server: Server, shape: Shape, certificate: &str) -> Self {
        let epoll = Epoll::new();
        let sinks = (shape.targets > 0).then(|| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, server.sink_port)).expect("the port is free");
            listener.set_nonblocking(true).expect("it is a socket");
            epoll.add(&listener, SINKS);
            listener
        });
        let tls = shape.tls.then(|| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(certificate).expect("it was just made")).expect("a certificate");
            Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
        });
        Self {
            server,
            shape,
            tls,
            sinks,
            epoll,
            ready: Vec::new(),
            links: Vec::new(),
            started: 0,
            begun: Instant::now(),
            scratch: vec![0; 64 * 1024].into_boxed_slice(),
            window_ns: (u64::MAX, u64::MAX),
            ages_us: Vec::new(),
        }
    }

    /// Opens a connection; its conversation begins.
    fn connect(&mut self, what: Use, key: &str) {
        let tls = self.tls.as_ref().filter(|_| what != Use::Publisher).map(|config| {
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            Box::new(ClientConnection::new(Arc::clone(config), name).expect("a plain configuration"))
        });
        let by_http = self.shape.http && what == Use::Player;
        let port = match () {
            () if by_http => self.server.http_port,
            () if tls.is_some() => self.server.tls_port,
            () => self.server.port,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = if what == Use::Stalled {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(STALLED_BYTES).expect("it is a socket");
            socket.connect(&address.into()).expect("loopback connects");
            socket.into()
        } else {
            TcpStream::connect(address).expect("loopback connects")
        };
        let peer = match what {
            Use::Publisher => Peer::new(Side::Publishes, key),
            _ if by_http => Peer::over_http(key),
            _ => Peer::new(Side::Plays, key),
        };
        self.add(socket, tls, peer, what);
        if by_http {
            // The answer comes with the first media.
            self.started += 1;
            self.links.last_mut().expect("it was just added").started = true;
        }
    }

    fn add(&mut self, socket: TcpStream, tls: Option<Box<ClientConnection>>, peer: Peer, what: Use) {
        socket.set_nodelay(true).expect("it is a socket");
        socket.set_nonblocking(true).expect("it is a socket");
        self.epoll.add(&socket, self.links.len());
        let mut link = Link { socket, tls, peer, what, started: false, first_picture: None, rest: Vec::new() };
        link.flush();
        self.links.push(link);
    }

    /// Waits, then reads all ready sockets.
    fn turn(&mut self, timeout: Duration) {
        let mut ready = std::mem::take(&mut self.ready);
        self.epoll.wait(Some(timeout), &mut ready);
        for ready in &ready {
            if ready.token == SINKS {
                while let Ok((socket, _)) = self.sinks.as_ref().expect("it was added").accept() {
                    self.add(socket, None, Peer::new(Side::Serves, ""), Use::Sink);
                }
            } else {
                self.serve(*ready);
            }
        }
        self.ready = ready;
    }

    fn serve(&mut self, ready: Ready) {
        let link = &mut self.links[ready.token];
        if link.started && link.what == Use::Stalled {
            return;
        }
        if ready.readable {
            let (window_ns, now_ns) = (self.window_ns, self.begun.elapsed().as_nanos() as u64);
            let (started, ages_us, consumes) =
                (&mut self.started, &mut self.ages_us, [Use::Player, Use::Sink].contains(&link.what));
            let (mut begins, mut has_picture) = (false, link.first_picture.is_some());
            link.pump(&mut self.scratch, &mut |event| match event {
                Event::Media(type_id, body) if consumes => {
                    let sent = media::sent_ns(type_id, body);
                    has_picture |= type_id == kind::VIDEO && sent.is_some();
                    if let Some(sent) = sent.filter(|sent| (window_ns.0..window_ns.1).contains(sent)) {
                        ages_us.push((now_ns.saturating_sub(sent) / 1000) as u32);
                    }
                }
                Event::Started(_) | Event::Publishes(_) => begins = true,
                _ => {}
            });
            if has_picture && link.first_picture.is_none() {
                link.first_picture = Some(Instant::now());
            }
            if begins {
                *started += 1;
                link.started = true;
            }
        }
        link.flush();
    }

    /// Opens this many connections, a few at a time, and waits until all of them have begun.
    fn connect_all(&mut self, keys: impl Iterator<Item = (Use, String)>) {
        for (what, key) in keys {
            self.connect(what, &key);
            // The server's accept queue is short: a slow server gets time.
            while self.links.len() - self.started >= COMING {
                self.turn(Duration::from_millis(10));
                self.is_in_time();
            }
            self.turn(Duration::ZERO);
        }
        while self.started < self.links.len() {
            self.turn(Duration::from_millis(10));
            self.is_in_time();
        }
    }

    fn is_in_time(&self) {
        let (started, all) = (self.started, self.links.len());
        assert!(self.begun.elapsed() < CONNECT, "{started} of {all} connections have begun, the others do not");
    }

    /// Players that wait for a stream without a publisher.
    fn idle(&mut self) -> Report {
        let players = self.shape.players;
        // The first players pay for the stream itself, so the measured ones come after them.
        let key = || (Use::Player, "idle".to_owned());
        self.connect_all((0..COMING).map(|_| key()));
        self.rest(REST);
        let before = resident_bytes(self.server.pid);
        self.connect_all((0..players).map(|_| key()));
        self.rest(REST);
        let grown = resident_bytes(self.server.pid).saturating_sub(before);
        Report { kib: grown as f64 / 1024.0 / players as f64, ..Report::default() }
    }

    /// Reads for so long.
    fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(Duration::from_millis(20));
        }
    }

    /// Connects all peers, sends media for the measured time, and returns the figures.
    fn run(&mut self, measured_s: f64) -> Report {
        let Shape { streams, players, kbps, stalled, crowd, targets, merge_ms, .. } = self.shape;
        let fresh = own_bytes(self.server.pid);
        // Stalled players come before all others, so that they are first in every list of the server.
        let stalling = (0..stalled).map(|_| (Use::Stalled, "s0".to_owned()));
        let crowding = (0..crowd).map(|_| (Use::Crowd, "s0".to_owned()));
        let playing = (0..streams * players).map(|at| (Use::Player, format!("s{}", at % streams)));
        let publishing = (0..streams).map(|stream| (Use::Publisher, format!("s{stream}")));
        let first_publisher = if self.shape.http { 0 } else { stalled + crowd + streams * players };
        if self.shape.http {
            // A player over HTTP cannot get a stream that has no publisher yet.
            self.connect_all(publishing);
            self.connect_all(playing);
        } else {
            self.connect_all(stalling.chain(crowding).chain(playing).chain(publishing));
        }

        let bare = own_bytes(self.server.pid).saturating_sub(fresh);
        let mut feeds = Feeds::default();
        let start_us = self.begun.elapsed().as_micros() as u64;
        // The streams send at different moments.
        let phase_us = |stream: usize| (stream as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 49;
        for stream in 0..streams {
            self.begin(&mut feeds, first_publisher + stream, kbps, start_us + phase_us(stream));
        }
        let measured = Duration::from_secs_f64(measured_s);
        let after = AFTER + Duration::from_millis(merge_ms.into());
        let start = self.begun.elapsed();
        let (me, mut sent) = (std::process::id(), 0_u64);
        let (mut from, mut first, mut last) = (None, None, None);
        loop {
            let now = self.begun.elapsed();
            if from.is_none()
                && self.links.iter().filter(|link| link.what == Use::Sink && link.started).count() == targets
            {
                let opens = now + WARM;
                self.window_ns = (opens.as_nanos() as u64, (opens + measured).as_nanos() as u64);
                from = Some(opens);
            }
            assert!(from.is_some() || now < start + CONNECT, "the server does not push to all of its targets");
            let look = |load: &Self| {
                (family(load.server.pid).into_iter().map(cpu_ns).sum::<u64>(), load.received(), cpu_ns(me), now)
            };
            if first.is_none() && from.is_some_and(|from| now >= from) {
                first = Some(look(self));
            }
            if last.is_none() && from.is_some_and(|from| now >= from + measured) {
                last = Some(look(self));
            }
            if from.is_some_and(|from| now >= from + measured + after) {
                break;
            }
            sent += self.feed(&mut feeds);
        }
        let grown = own_bytes(self.server.pid).saturating_sub(fresh);
        let (join_ms, begin_ms) = if self.shape.starts { self.starts(&mut feeds) } else { (0.0, 0.0) };
        let pass_ms = if self.shape.relay_threads > 0 { self.pass_ms(&mut feeds) } else { 0.0 };
        let (Some(first), Some(last)) = (first, last) else { unreachable!("the loop has passed both") };
        let consumers = (players + targets) as u64;
        let ages = &mut self.ages_us;
        ages.sort_unstable();
        let at = |part: f64| {
            let index = (ages.len() as f64 * part) as usize;
            f64::from(ages.get(index.min(ages.len().saturating_sub(1))).copied().unwrap_or(0)) / 1000.0
        };
        let took = (last.3 - first.3).as_nanos() as f64;
        Report {
            cost: (last.0 - first.0) as f64 / (last.1 - first.1) as f64,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            delivered_pct: 100.0 * ages.len() as f64 / (sent * consumers) as f64,
            server_busy_pct: 100.0 * (last.0 - first.0) as f64 / took,
            load_busy_pct: 100.0 * (last.2 - first.2) as f64 / took,
            kib: grown as f64 / 1024.0 / streams as f64,
            bare_kib: bare as f64 / 1024.0 / streams as f64,
            join_ms,
            begin_ms,
            pass_ms,
        }
    }

    /// Begins to publish over this connection, from a moment on.
    fn begin(&mut self, feeds: &mut Feeds, publisher: usize, kbps: u32, from_us: u64) {
        let (media, link) = (Media::new(1, kbps), &mut self.links[publisher]);
        media.headers(&mut link.rest);
        link.flush();
        feeds.due.push(Reverse((from_us, feeds.all.len())));
        feeds.all.push(Feed { media, publisher, from_us });
    }

    /// Sends what is due, and reads what has come. Returns how many messages were sent in the measured time.
    fn feed(&mut self, feeds: &mut Feeds) -> u64 {
        let (mut wait, mut sent) = (Duration::ZERO, 0);
        for _ in 0..AT_ONCE {
            let Some(Reverse((due_us, stream))) = feeds.due.peek().copied() else {
                unreachable!("each stream is in it")
            };
            let (at, now) = (Duration::from_micros(due_us), self.begun.elapsed());
            if now < at {
                wait = at - now;
                break;
            }
            let feed = &mut feeds.all[stream];
            let (now_ns, link) = (now.as_nanos() as u64, &mut self.links[feed.publisher]);
            sent += u64::from((self.window_ns.0..self.window_ns.1).contains(&now_ns));
            feed.media.next(now_ns, &mut link.rest);
            link.flush();
            feeds.due.pop();
            feeds.due.push(Reverse((feed.from_us + feed.media.due_us(), stream)));
        }
        self.turn(wait);
        sent
    }

    /// Bytes that consumers have received so far.
    fn received(&self) -> u64 {
        self.links.iter().filter(|link| link.what != Use::Publisher).map(|link| link.peer.bytes_in()).sum()
    }
}
