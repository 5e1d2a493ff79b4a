//! The load tool: the publisher and all players, in one thread. It reads what arrives, message by message, and says what
//! the server's CPU time was between two moments and how old each message was that was sent between them. Players that
//! stall are more of them, of whom nothing is ever read once they play.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rrelay::net::clock;
use rrelay::net::conn::{Conn, Side};
use rrelay::net::poll::{Poller, Ready};
use rrelay::net::socket::Socket;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::url::RtmpUrl;
use rrelay::session::{ClientSession, Event, SessionConfig};
use socket2::{Domain, Type};

use crate::media::{self, Media};
use crate::servers::itself;
use crate::system::cpu_ns;

/// Connections that are being set up at one time.
const COMING: usize = 50;

/// Media before the measured time: everybody has it and has had its start.
const WARM: Duration = Duration::from_secs(2);

/// After the measured time: messages sent within it may still be on their way.
const AFTER: Duration = Duration::from_millis(1500);

/// Everybody is connected within this time, or the round is given up.
const CONNECT: Duration = Duration::from_secs(30);

/// What a player that stalls lets the kernel keep for it, in bytes: the system makes the most of it that it must.
const STALLED_BYTES: usize = 4096;

/// What one round gave.
pub(crate) struct Report {
    pub(crate) cpu_s_per_gb: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Messages that arrived, of those sent in the measured time.
    pub(crate) delivered_pct: f64,
    /// Of one core, this tool's own share.
    pub(crate) load_busy_pct: f64,
}

/// Runs the load tool in a process of its own.
pub(crate) fn start(
    bare: bool,
    port: u16,
    pid: u32,
    players: u32,
    stalled: u32,
    seconds: u32,
) -> Result<Report, String> {
    let words = [u32::from(bare), port.into(), pid, players, stalled, seconds].map(|word| word.to_string());
    let mut args = vec!["as", "load"];
    args.extend(words.iter().map(String::as_str));
    let output = itself(&args).stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[cpu_s_per_gb, p50_ms, p90_ms, p99_ms, max_ms, delivered_pct, load_busy_pct] = figures.as_slice() else {
        return Err(format!("the load tool failed: {line}"));
    };
    Ok(Report { cpu_s_per_gb, p50_ms, p90_ms, p99_ms, max_ms, delivered_pct, load_busy_pct })
}

/// The load tool's own `main`.
pub(crate) fn main(args: &[&str]) {
    let [bare, port, server, players, stalled, seconds] = *args else {
        panic!("bare port pid players stalled seconds");
    };
    let players = crate::number(players) as usize;
    let mut load = Load::new(bare == "1", crate::number(port), players);
    // Before all others, so that they come first wherever somebody is first.
    let _stalled: Vec<Conn> = (0..crate::number(stalled)).map(|_| stalled_player(load.port)).collect();
    load.connect_all(players);
    let samples = load.run(crate::number(server), Duration::from_secs(crate::number(seconds).into()));
    println!("{samples}");
}

/// One connection.
enum Link {
    /// RTMP.
    Spoken(Box<Conn>),
    /// Chunks alone, for the floor.
    Bare(Socket, Box<ChunkReader>, u64),
}

/// A connection that has had `Play.Start` and is never read again.
fn stalled_player(port: u32) -> Conn {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket is left");
    socket.set_recv_buffer_size(STALLED_BYTES).expect("it is a socket");
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port as u16)).into()).expect("loopback connects");
    let session = ClientSession::play(&SessionConfig::default(), &url(port), clock::now_ms());
    let session = Box::new(session.expect("the system has random bytes"));
    let mut conn = Conn::new(Socket::adopt(socket.into()).expect("it is connected"), Side::Client(session));
    let (mut started, mut scratch) = (false, [0; STALLED_BYTES]);
    while !started {
        conn.flush().expect("the server stays");
        let pumped = conn.pump(&mut scratch, clock::now_ms(), usize::MAX, false, |event, _| {
            started |= matches!(event, Event::Started { .. });
            ControlFlow::Continue(())
        });
        pumped.expect("the server stays");
        std::thread::sleep(Duration::from_millis(1));
    }
    conn
}

fn url(port: u32) -> RtmpUrl {
    RtmpUrl::parse(&format!("rtmp://127.0.0.1:{port}/live/bench"), None).expect("well formed")
}

struct Load {
    bare: bool,
    port: u32,
    poller: Poller,
    ready: Vec<Ready>,
    links: Vec<Link>,
    started: usize,
    stream_id: u32,
    begun: Instant,
    scratch: Box<[u8]>,
    /// Bytes the publisher's socket did not take yet.
    rest: Vec<u8>,
    /// Of messages sent since this moment and before the next one, the ages in microseconds.
    window_ns: (u64, u64),
    ages_us: Vec<u32>,
}

impl Load {
    fn new(bare: bool, port: u32, players: usize) -> Self {
        Self {
            bare,
            port,
            poller: Poller::new().expect("it starts"),
            ready: Vec::new(),
            links: Vec::with_capacity(players + 1),
            started: 0,
            stream_id: 1,
            begun: Instant::now(),
            scratch: vec![0; 64 * 1024].into_boxed_slice(),
            rest: Vec::new(),
            window_ns: (u64::MAX, u64::MAX),
            ages_us: Vec::new(),
        }
    }

    /// All players, and then the publisher, which is the last link.
    fn connect_all(&mut self, players: usize) {
        while self.started <= players {
            let coming = self.links.len() - self.started;
            if coming < COMING && self.links.len() < players {
                self.connect(false);
            } else if self.started == players && self.links.len() == players {
                self.connect(true);
            }
            self.turn(if coming < COMING { 0 } else { 10 });
            assert!(self.begun.elapsed() < CONNECT, "{} of {players} players are connected", self.started);
        }
    }

    fn connect(&mut self, publish: bool) {
        let address = ([127, 0, 0, 1], self.port as u16).into();
        let mut socket = Socket::connect(address).expect("loopback connects");
        let slot = self.links.len();
        self.poller.add(&mut socket, slot).expect("it is new");
        if self.bare {
            // The floor asks nothing; the first byte waits for the connection to stand.
            while !socket.connect_result().expect("loopback connects") {
                std::thread::yield_now();
            }
            let limits = ReadLimits { max_message: 1 << 24, max_open_bytes: 1 << 24, max_chunk_streams: 64 };
            let mut reader = ChunkReader::new(limits);
            let mut announce = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
            announce.extend_from_slice(&media::CHUNK_SIZE.to_be_bytes());
            reader.next(&announce, &mut 0).expect("well formed");
            let written = socket.write(if publish { b"P" } else { b"Q" }).expect("a new socket takes a byte");
            assert_eq!(written, 1);
            self.links.push(Link::Bare(socket, Box::new(reader), 0));
            self.started += 1;
            return;
        }
        let url = url(self.port);
        let config = SessionConfig::default();
        let now_ms = clock::now_ms();
        let session = if publish {
            ClientSession::publish(&config, &url, now_ms)
        } else {
            ClientSession::play(&config, &url, now_ms)
        };
        let session = Box::new(session.expect("the system has random bytes"));
        self.links.push(Link::Spoken(Box::new(Conn::new(socket, Side::Client(session)))));
    }

    /// Waits, then reads whatever is there.
    fn turn(&mut self, timeout_ms: u64) {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(Some(timeout_ms), false, || false, &mut ready).expect("it waits");
        for ready in &ready {
            self.serve(*ready);
        }
        self.ready = ready;
    }

    fn serve(&mut self, ready: Ready) {
        let window_ns = self.window_ns;
        let (begun, ages_us) = (self.begun, &mut self.ages_us);
        let mut take = |type_id: u8, body: &[u8]| {
            if let Some(sent) = media::sent_ns(type_id, body).filter(|sent| (window_ns.0..window_ns.1).contains(sent)) {
                let age_ns = begun.elapsed().as_nanos() as u64 - sent;
                ages_us.push((age_ns / 1000) as u32);
            }
        };
        match &mut self.links[ready.slot] {
            Link::Spoken(conn) => {
                if !ready.readable {
                    conn.flush().expect("the server stays");
                    return;
                }
                let (started, stream_id) = (&mut self.started, &mut self.stream_id);
                let budget = usize::MAX;
                let pumped = conn.pump(&mut self.scratch, clock::now_ms(), budget, ready.closed, |event, body| {
                    match event {
                        Event::Message(head) => take(head.type_id, body),
                        Event::Started { stream_id: id } => {
                            *started += 1;
                            *stream_id = id;
                        }
                        _ => {}
                    }
                    ControlFlow::Continue(())
                });
                pumped.expect("the server stays");
                conn.flush().expect("the server stays");
            }
            Link::Bare(socket, reader, bytes) if ready.readable => {
                while let Ok(n @ 1..) = socket.read(&mut self.scratch) {
                    *bytes += n as u64;
                    let (input, mut at) = (&self.scratch[..n], 0);
                    while let Some(head) = reader.next(input, &mut at).expect("well formed") {
                        take(head.type_id, reader.body(input));
                    }
                    if n < self.scratch.len() {
                        break;
                    }
                }
            }
            Link::Bare(..) => {}
        }
    }

    /// Publishes, and gives the figures as a line.
    fn run(&mut self, server: u32, measured: Duration) -> String {
        let players = self.links.len() - 1;
        let mut media = Media::new(self.stream_id);
        media.headers(&mut self.rest);
        self.flush();
        let start = self.begun.elapsed();
        let (from, to) = (start + WARM, start + WARM + measured);
        self.window_ns = (from.as_nanos() as u64, to.as_nanos() as u64);
        self.ages_us.reserve(players * (measured.as_secs() as usize + 1) * 90);
        let me = std::process::id();
        let (mut first, mut last) = (None, None);
        let mut sent = 0_u64;
        loop {
            let now = self.begun.elapsed();
            if first.is_none() && now >= from {
                first = Some((cpu_ns(server), self.received(), cpu_ns(me), now));
            }
            if last.is_none() && now >= to {
                last = Some((cpu_ns(server), self.received(), cpu_ns(me), now));
            }
            if now >= to + AFTER {
                break;
            }
            let due = start + Duration::from_micros(media.due_us());
            if now >= due {
                let now_ns = now.as_nanos() as u64;
                sent += u64::from((self.window_ns.0..self.window_ns.1).contains(&now_ns));
                media.next(now_ns, &mut self.rest);
                self.flush();
                self.turn(0);
            } else {
                self.turn((due - now).as_millis() as u64);
            }
        }
        let (Some(first), Some(last)) = (first, last) else { return String::new() };
        let cpu_s_per_gb = (last.0 - first.0) as f64 / (last.1 - first.1) as f64;
        let load_busy = 100.0 * (last.2 - first.2) as f64 / (last.3 - first.3).as_nanos() as f64;
        let ages = &mut self.ages_us;
        ages.sort_unstable();
        let at = |part: f64| {
            let index = (ages.len() as f64 * part) as usize;
            f64::from(ages.get(index.min(ages.len().saturating_sub(1))).copied().unwrap_or(0)) / 1000.0
        };
        let delivered = 100.0 * ages.len() as f64 / (sent * players as u64) as f64;
        format!("{cpu_s_per_gb} {} {} {} {} {delivered} {load_busy}", at(0.5), at(0.9), at(0.99), at(1.0))
    }

    /// Bytes all players have got so far.
    fn received(&self) -> u64 {
        let players = self.links.len() - 1;
        self.links[..players]
            .iter()
            .map(|link| match link {
                Link::Spoken(conn) => conn.bytes_in(),
                Link::Bare(_, _, bytes) => *bytes,
            })
            .sum()
    }

    /// Writes what the publisher has to send.
    fn flush(&mut self) {
        let Some(publisher) = self.links.last_mut() else { return };
        while !self.rest.is_empty() {
            let n = match publisher {
                Link::Spoken(conn) => conn.write(&self.rest).expect("the server stays"),
                Link::Bare(socket, ..) => socket.write(&self.rest).ok(),
            };
            let Some(n) = n else { return };
            self.rest.drain(..n);
        }
    }
}
