//! Who is measured: the floor, rrelay with several collecting times, nginx-rtmp. Each in a process of its own.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::server::{ListenOptions, RRServer};

use crate::load::{self, Report};

/// Where Debian and Ubuntu put the module (libnginx-mod-rtmp).
const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// Header of a full chunk on a low chunk stream, which all messages of the load tool have.
const HEADER_BYTES: usize = 12;

/// One who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// Writes each message to each socket and does nothing else.
    Floor,
    /// rrelay, collecting for so many milliseconds.
    Rrelay(u32),
    /// nginx-rtmp as it comes, with one worker.
    Nginx,
}

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Contestant> {
    let mut all = vec![Contestant::Floor, Contestant::Rrelay(0), Contestant::Rrelay(25), Contestant::Rrelay(300)];
    if Path::new(NGINX_MODULE).exists() {
        all.push(Contestant::Nginx);
    } else {
        println!("  nginx-rtmp is not on this machine (make setup installs it)");
    }
    all
}

impl Contestant {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Floor => "floor".to_owned(),
            Self::Rrelay(merge_ms) => format!("rrelay, merge {merge_ms}"),
            Self::Nginx => "nginx-rtmp".to_owned(),
        }
    }

    /// One round: a fresh server, the load tool on it, both gone at the end.
    pub(crate) fn run(self, players: u32, seconds: u32) -> Result<Report, String> {
        let server = Running::start(self)?;
        load::start(self == Self::Floor, server.port, server.child.id(), players, 0, seconds)
    }
}

/// A server's process; it ends with this.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    /// What it prints after its port.
    out: Option<BufReader<ChildStdout>>,
    folder: Option<std::path::PathBuf>,
}

impl Running {
    fn start(contestant: Contestant) -> Result<Self, String> {
        let merge;
        let role: &[&str] = match contestant {
            Contestant::Floor => &["as", "floor"],
            Contestant::Rrelay(merge_ms) => {
                merge = merge_ms.to_string();
                &["as", "rrelay", &merge]
            }
            Contestant::Nginx => return Self::nginx(),
        };
        Self::itself(role)
    }

    /// This program in the role of a server.
    pub(crate) fn itself(role: &[&str]) -> Result<Self, String> {
        let mut child = itself(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(text)?;
        let out = child.stdout.take().map(BufReader::new);
        let mut running = Self { child, port: 0, out, folder: None };
        running.port = running.read_number()?;
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a [`bounded`] one says when it is asked: the most it has accounted for, in bytes, and the messages that it
    /// has dropped.
    pub(crate) fn ask(&mut self) -> Result<(u64, u64), String> {
        self.child.stdin.as_mut().expect("it is piped").write_all(b"\n").map_err(text)?;
        Ok((self.read_number()?, self.read_number()?))
    }

    fn read_number<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, String> {
        let mut line = String::new();
        self.out.as_mut().expect("it is piped").read_line(&mut line).map_err(text)?;
        line.trim().parse().map_err(text)
    }

    fn nginx() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("rrelay-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(text)?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(text)?.port();
        let config = format!(
            "load_module {NGINX_MODULE};\ndaemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\n\
             events {{ worker_connections 16384; }}\n\
             rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), config).map_err(text)?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(text)?;
        let running = Self { child, port, out: None, folder: Some(folder) };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(5) {
                return Err("does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// This program again, with other arguments.
pub(crate) fn itself(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running program has a file"));
    command.args(args);
    command
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Tells the parent the port.
fn announce(port: u16) {
    println!("{port}");
    io::stdout().flush().expect("the parent listens");
}

/// The relay in this process, until the parent goes.
pub(crate) fn rrelay(merge_ms: u32) {
    let stream = StreamConfig { merge_ms, ..StreamConfig::default() };
    let _server = listening(ServerConfig { stream: stream.into(), ..ServerConfig::default() });
    // The parent kills us; should it vanish, its end of the pipe closes.
    let _ = io::stdin().read(&mut [0]);
}

/// The relay with a bound on its memory; for each byte from the parent it prints what it has accounted for at most, and
/// what it has dropped.
pub(crate) fn bounded(limit_bytes: u64) {
    let server = listening(ServerConfig { mem_limit_bytes: Some(limit_bytes), ..ServerConfig::default() });
    let seen = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let (most, dropped) = &*Arc::clone(&seen);
    std::thread::spawn(move || {
        loop {
            let stats = server.stats(0).expect("the server is there");
            seen.0.fetch_max(stats.queue_bytes, Ordering::Relaxed);
            seen.1.store(stats.dropped_msgs, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    while let Ok(1) = io::stdin().read(&mut [0]) {
        println!("{}\n{}", most.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed));
    }
}

fn listening(config: ServerConfig) -> RRServer {
    let ignore = Box::new(|_: &rrelay::stream::event::Event| {});
    let server = RRServer::new(config, rrelay::log::LevelFilter::Off, Some(ignore)).expect("it starts");
    announce(server.listen("127.0.0.1:0", ListenOptions::default()).expect("a port is free"));
    server
}

/// A player of the floor and what its socket did not take yet.
struct Taker {
    stream: mio::net::TcpStream,
    rest: VecDeque<u8>,
}

/// The floor: whoever says `P` first is the publisher, all others get each of its messages with one write.
pub(crate) fn floor() {
    let mut poll = Poll::new().expect("it starts");
    let mut events = Events::with_capacity(256);
    let mut listener = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE).expect("it is new");
    announce(listener.local_addr().expect("it is bound").port());
    let mut takers: Vec<Taker> = Vec::new();
    let (mut publisher, mut pending) = (usize::MAX, Vec::new());
    let mut scratch = vec![0; 64 * 1024];
    loop {
        if poll.poll(&mut events, None).is_err() {
            return;
        }
        for event in &events {
            if event.token().0 == usize::MAX {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(takers.len()), both).expect("it is new");
                    takers.push(Taker { stream, rest: VecDeque::new() });
                }
                continue;
            }
            let slot = event.token().0;
            if event.is_readable() {
                while let Ok(n @ 1..) = takers[slot].stream.read(&mut scratch) {
                    if slot == publisher {
                        pending.extend_from_slice(&scratch[..n]);
                    } else if scratch[0] == b'P' {
                        publisher = slot;
                        pending.extend_from_slice(&scratch[1..n]);
                    }
                    if n < scratch.len() {
                        break;
                    }
                }
                if slot == publisher {
                    pass_on(&mut pending, publisher, &mut takers);
                }
            }
            if event.is_writable() {
                let taker = &mut takers[slot];
                while let (first @ [_, ..], _) = taker.rest.as_slices() {
                    let Ok(n) = taker.stream.write(first) else { break };
                    taker.rest.drain(..n);
                }
            }
        }
    }
}

/// Writes every whole message to everybody.
fn pass_on(pending: &mut Vec<u8>, publisher: usize, takers: &mut [Taker]) {
    let mut at = 0;
    while let Some(&[high, middle, low]) = pending.get(at + 4..at + 7).and_then(|len| len.first_chunk::<3>()) {
        let end = at + HEADER_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
        let Some(message) = pending.get(at..end) else { break };
        for (slot, taker) in takers.iter_mut().enumerate() {
            if slot == publisher {
                continue;
            }
            let n = if taker.rest.is_empty() { taker.stream.write(message).unwrap_or(0) } else { 0 };
            taker.rest.extend(&message[n..]);
        }
        at = end;
    }
    pending.drain(..at);
}
