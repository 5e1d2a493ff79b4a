//! What players notice of 2,000 requests a second: the p99 latency of the players of one stream, from the publisher's
//! `send` to the player's `recv`, with and without, in turn. It prints the ratio and never fails because of it. And the
//! processor time that the REST thread takes for one request for each of these pages.
//!
//! The clients of the requests would be on other machines. Here they are a process that runs only when
//! nobody else wants a processor, so that on a machine with few processors they take no time from the server.
//!
//! What of the ratio is the machine's and not the requests' shows a third part of each round: in place of the requests, such
//! a process only computes, as often and about as long as the server does for the requests.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rrelay::config::ServerConfig;
use rrelay::rest::{Rest, RestOptions};

use super::live::{Client, Live, until};
use super::{TOKEN, millis};

/// Players of the stream.
const PLAYERS: usize = 50;
/// The stream's media.
const MESSAGES_A_SECOND: u32 = 77;
const MESSAGE_BYTES: usize = 3_000;
/// Requests per second, and the connections that they use in turn; these stay open.
const STORM: u32 = 2_000;
const CONNECTIONS: u32 = 16;
/// For how long the process that only computes does so in place of a request: about as long as the REST thread takes.
const COMPUTED: Duration = Duration::from_micros(150);
/// Rounds, each with nothing, requests, and computing beside the stream, and the time of each of these parts.
const ROUNDS: usize = 7;
const PART: Duration = Duration::from_secs(3);
/// The pages that are requested in turn.
const PAGES: [&str; 4] = ["/v1/server", "/stat", "/v1/streams", "/metrics"];
/// Requests for each page, one after another, that show what one takes; the least mean of the rounds counts.
const REQUESTS: u32 = 500;
/// Threads of the server whose time is shown.
const THREADS: [&str; 3] = ["accmDataThread", "relayDataThread", "restThread"];

/// Measures and prints.
pub(crate) fn run() {
    let live = Live::new(ServerConfig::default());
    let rest = Rest::new(Arc::clone(&live.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).expect("a port");
    println!(
        "\n{PLAYERS} players of a stream with {MESSAGES_A_SECOND} messages a second, without and with {STORM} requests"
    );
    let mut all: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let beside = [None, Some(Beside::Requests(port)), Some(Beside::Computing)];
        for (figures, beside) in all.iter_mut().zip(beside) {
            let words = beside.map_or("with nothing", Beside::words);
            let process = beside.map(Process::begin);
            let (p99, times) = round(&live);
            let rate = process.map_or(0.0, Process::end);
            println!("p99 {:.2} ms {words}, {rate:.0} a second", millis(p99));
            times.print("  ");
            figures.push(p99);
        }
    }
    rest.stop();
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[ROUNDS / 2]
    };
    let [calm, requests, computing] = &all;
    for (with, what) in [(requests, "requests"), (computing, "computing")] {
        let ratios = with.iter().zip(calm).map(|(with, without)| with.as_secs_f64() / without.as_secs_f64()).collect();
        println!(
            "medians of {ROUNDS} rounds: {:.2} ms, with {what} {:.2} ms; of the rounds' ratios {:.2}",
            median(calm.iter().copied().map(millis).collect()),
            median(with.iter().copied().map(millis).collect()),
            median(ratios)
        );
    }
}

/// Measures and prints the REST thread's time for a request for each page, with the same players of a stream at rest.
pub(crate) fn pages() {
    let live = Live::new(ServerConfig::default());
    let rest = Rest::new(Arc::clone(&live.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).expect("a port");
    let mut publisher = live.publish("show");
    publisher.key_frame(0, &[0; 16]).expect("it reads");
    let players: Vec<Client> = (0..PLAYERS).map(|_| live.play("show")).collect();
    let mut reader = Reader::connect(port);
    println!("\nthe REST thread's time for a request, with {PLAYERS} players of a stream");
    for page in PAGES {
        let mut bytes = 0;
        let of_one = (0..ROUNDS).map(|_| {
            let before = Times::now();
            bytes = (0..REQUESTS).map(|_| reader.ask(page)).last().unwrap_or_default();
            Times::now().since(&before, Duration::ZERO).ran("restThread") / REQUESTS
        });
        let least = of_one.min().unwrap_or_default();
        println!("{page:<12} {bytes:>9} bytes {:>7.1} us", least.as_secs_f64() * 1e6);
    }
    drop(players);
    rest.stop();
}

/// What runs beside the stream.
#[derive(Clone, Copy)]
enum Beside {
    /// To the server on this port.
    Requests(u16),
    Computing,
}

impl Beside {
    fn words(self) -> &'static str {
        match self {
            Self::Requests(_) => "with requests",
            Self::Computing => "with computing",
        }
    }
}

/// The process that sends requests or computes.
struct Process(Child);

impl Process {
    fn begin(what: Beside) -> Self {
        let own = std::env::current_exe().expect("the bench's own path");
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(own).arg("as");
        match what {
            Beside::Requests(port) => command.args(["requests", &port.to_string()]),
            Beside::Computing => command.arg("computing"),
        };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("chrt is part of util-linux");
        let mut this = Self(child);
        assert_eq!(this.line(), "begins");
        this
    }

    /// How many requests were answered, or computed, in a second, from its beginning to its end.
    fn end(mut self) -> f64 {
        drop(self.0.stdin.take());
        let rate = self.line().parse().expect("a number");
        let _ = self.0.wait();
        rate
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().expect("it has one")).read_line(&mut line).expect("it says it");
        line.trim().to_owned()
    }
}

/// Sends requests until the standard input ends; prints how many were answered in a second.
pub(crate) fn requests(port: u16) {
    in_turn(|| {
        let (mut reader, mut pages) = (Reader::connect(port), PAGES.iter().cycle());
        move || {
            reader.ask(pages.next().expect("it has no end"));
        }
    });
}

/// Computes as often as requests come, until the standard input ends; prints how often in a second.
pub(crate) fn computing() {
    in_turn(|| {
        || {
            let begun = Instant::now();
            while begun.elapsed() < COMPUTED {
                std::hint::spin_loop();
            }
        }
    });
}

/// Does what `begin` makes, at the rate of the storm, until the standard input ends.
fn in_turn<Turn: FnMut()>(begin: impl Fn() -> Turn + Sync) {
    let (over, done, begun) = (AtomicBool::new(false), AtomicU32::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut turn = begin();
                let (pause, mut due) = (Duration::from_secs(1) * CONNECTIONS / STORM, Instant::now());
                while !over.load(Ordering::Relaxed) {
                    turn();
                    done.fetch_add(1, Ordering::Relaxed);
                    due += pause;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            });
        }
        println!("begins");
        let _ = std::io::stdin().read(&mut [0]);
        over.store(true, Ordering::Relaxed);
    });
    println!("{}", f64::from(done.into_inner()) / begun.elapsed().as_secs_f64());
}

/// A connection that stays open for many requests.
struct Reader {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Reader {
    fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        socket.set_nodelay(true).expect("a socket of TCP");
        Self { socket, answer: vec![0; 64 * 1024] }
    }

    /// One request; gives the answer's size.
    fn ask(&mut self, page: &str) -> usize {
        let head = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        self.socket.write_all(head.as_bytes()).expect("it reads");
        let mut len = 0;
        while !is_whole(&self.answer[..len]) {
            if len == self.answer.len() {
                self.answer.resize(2 * len, 0);
            }
            let n = self.socket.read(&mut self.answer[len..]).expect("it answers");
            assert!(n > 0, "it closed");
            len += n;
        }
        let answer = &self.answer[..len];
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
        len
    }
}

/// Whether an answer is complete, according to the length in its head.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let len = head.split_once("content-length: ").expect("the head has the length").1;
    let len: usize = len.split("\r\n").next().and_then(|len| len.parse().ok()).expect("a number");
    answer.len() >= end + 4 + len
}

/// The p99 of the latencies of one part, and the time of the server's threads in it.
fn round(live: &Live) -> (Duration, Times) {
    let start = Instant::now();
    let mut players: Vec<Client> = Vec::new();
    let mut publisher = live.publish("show");
    publisher.key_frame(0, &[0; 16]).expect("it reads");
    players.resize_with(PLAYERS, || live.play("show"));
    let over = AtomicBool::new(false);
    let (mut all, times) = std::thread::scope(|scope| {
        let threads: Vec<_> = players.into_iter().map(|player| scope.spawn(|| watches(player, start, &over))).collect();
        let (begun, before) = (Instant::now(), Times::now());
        for number in 1.. {
            let due = begun + Duration::from_secs(1) * number / MESSAGES_A_SECOND;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if begun.elapsed() > PART {
                break;
            }
            let mut body = vec![0; MESSAGE_BYTES];
            body[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            publisher.key_frame(number * 13, &body).expect("it reads");
            while publisher.turn(Duration::ZERO).expect("it goes on") {}
        }
        let times = Times::now().since(&before, begun.elapsed());
        over.store(true, Ordering::Relaxed);
        (threads.into_iter().flat_map(|thread| thread.join().expect("a player")).collect::<Vec<_>>(), times)
    });
    drop(publisher);
    until("the stream is over", || live.server.stream_find(b"live", b"show").is_err());
    all.sort();
    (all[all.len() * 99 / 100], times)
}

/// The time of each message to a player.
fn watches(mut player: Client, start: Instant, over: &AtomicBool) -> Vec<Duration> {
    let mut all = Vec::new();
    while !over.load(Ordering::Relaxed) {
        player.turn(Duration::from_millis(100)).expect("it goes on");
        let now = start.elapsed();
        for (_, body) in player.messages.drain(..).filter(|(head, _)| head.len as usize > MESSAGE_BYTES) {
            let sent = u64::from_be_bytes(body[5..13].try_into().expect("eight bytes"));
            all.push(now.saturating_sub(Duration::from_nanos(sent)));
        }
    }
    all
}

/// Of each of the server's threads: how long it has run, and how long it has waited for a processor.
#[derive(Default)]
struct Times {
    over: Duration,
    ran_and_waited: [[Duration; 2]; THREADS.len()],
}

impl Times {
    fn now() -> Self {
        let mut this = Self::default();
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let name = read("comm");
            let Some(place) = THREADS.iter().position(|thread| *thread == name.trim()) else { continue };
            let figures = read("schedstat");
            let nanos = figures.split(' ').map(|number| Duration::from_nanos(number.parse().unwrap_or_default()));
            for (sum, time) in this.ran_and_waited[place].iter_mut().zip(nanos) {
                *sum += time;
            }
        }
        this
    }

    fn since(mut self, before: &Self, over: Duration) -> Self {
        self.over = over;
        for (after, before) in self.ran_and_waited.iter_mut().flatten().zip(before.ran_and_waited.iter().flatten()) {
            *after = after.saturating_sub(*before);
        }
        self
    }

    /// How long a thread has run.
    fn ran(&self, name: &str) -> Duration {
        THREADS
            .iter()
            .zip(&self.ran_and_waited)
            .find(|(thread, _)| **thread == name)
            .map(|(_, [ran, _])| *ran)
            .expect("it is listed")
    }

    fn print(&self, when: &str) {
        let share = |time: Duration| 100.0 * time.as_secs_f64() / self.over.as_secs_f64();
        let of = |(name, [ran, waited]): (&&str, &[Duration; 2])| {
            format!("{name} ran {:.1} %, waited {:.1} %", share(*ran), share(*waited))
        };
        let all: Vec<_> = THREADS.iter().zip(&self.ran_and_waited).map(of).collect();
        println!("{when}: {}", all.join("; "));
    }
}
