//! A player's cost in memory: no allocation per message, very little memory while no media comes, and over TLS the
//! accounted amount. Counted in a real server with players on loopback; the threads of the players do not count.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]
// A counting allocator implements an unsafe trait.
#![allow(unsafe_code)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;
#[path = "support/secure.rs"]
mod secure;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use raw::{AUDIO, PATIENCE, Raw, VIDEO, last_player, picture, relay, until};
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::net::conn::Conn;
use rrelay::server::ListenOptions;

struct Counting;

/// Allocations of all threads that count.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Bytes of those allocations.
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Bytes that are allocated, by all threads that count.
static LIVE: AtomicI64 = AtomicI64::new(0);
/// The counters belong to the whole process: one test at a time.
static GATE: Mutex<()> = Mutex::new(());

thread_local! {
    static IS_PLAYER: Cell<bool> = const { Cell::new(false) };
}

fn note(bytes: usize) {
    if !IS_PLAYER.get() {
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
        LIVE.fetch_add(bytes as i64, Relaxed);
    }
}

fn note_freed(bytes: usize) {
    if !IS_PLAYER.get() {
        LIVE.fetch_sub(bytes as i64, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches atomics and a thread-local without a
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note_freed(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        note_freed(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages of one count.
const MESSAGES: u32 = 1_000;

/// Allocations that these messages may cause, with any number of players: 18 for the six segments of the log that their
/// megabyte fills, as many again as a reserve, and two in each tick of the relay, four times a second.
fn allowed(time: Duration) -> u64 {
    36 + 2 * (time.as_millis() as u64 / 250 + 1)
}

/// Allocations of the server while [`MESSAGES`] go to so many players, each message by itself, and how long that took.
fn allocations_with(players: usize, threads: Option<u32>) -> (u64, Duration) {
    let (server, port) = relay(StreamConfig::default(), ServerConfig { threads, ..ServerConfig::default() });
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    IS_PLAYER.set(true);
    let mut sockets: Vec<TcpStream> = (0..players).map(|_| Raw::play(port, "show").socket).collect();
    let mut buffer = vec![0; 1 << 20];
    let body = picture(true, 1, 1_000);
    let wire_bytes = body.len() + 12;
    let mut drain = |sockets: &mut Vec<TcpStream>, mut bytes: usize| {
        while bytes > 0 {
            let piece = bytes.min(buffer.len());
            sockets.iter_mut().for_each(|socket| socket.read_exact(&mut buffer[..piece]).unwrap());
            bytes -= piece;
        }
    };
    last_player(&server, stream, players);
    let mut count = (0, Duration::ZERO);
    // The first hundred let buffers grow to their size and the first segments pass.
    for (round, messages) in [(0, 100), (1, MESSAGES)] {
        IS_PLAYER.set(false);
        let (before, begun) = (COUNT.load(Relaxed), Instant::now());
        for number in 0..messages {
            server.stream_write(stream, VIDEO, i64::from(round * 100 + number), &body, false).unwrap();
            // A pause, so that the relay finds one message at a time.
            std::thread::sleep(Duration::from_micros(300));
        }
        IS_PLAYER.set(true);
        drain(&mut sockets, wire_bytes * messages as usize);
        count = (COUNT.load(Relaxed) - before, begun.elapsed());
    }
    IS_PLAYER.set(false);
    let expected = u64::from(100 + MESSAGES) * players as u64;
    until("the figures", || (server.stats(stream).unwrap().msgs_out == expected).then_some(()));
    count
}

#[test]
fn no_allocation_per_message_and_player() {
    let _gate = GATE.lock().unwrap();
    // With threads of the stream's own, and on a shared loop.
    for (players, threads) in [(1, None), (50, None), (1, Some(1)), (50, Some(1))] {
        let (count, time) = allocations_with(players, threads);
        println!("{count} allocations for {MESSAGES} messages to {players} players in {time:?}");
        assert!(count <= allowed(time), "{count} allocations with {players} players in {time:?}, threads {threads:?}");
    }
}

/// A large key frame in the form for browsers goes out of the log as any message: with twenty players the server allocates
/// less than three times what one copy takes.
#[test]
fn no_copy_of_a_large_message_for_a_player_in_a_browser() {
    const PLAYERS: usize = 20;
    const LARGE: usize = 1 << 20;
    let _gate = GATE.lock().unwrap();
    let (server, _) = relay(StreamConfig::default(), ServerConfig::default());
    let port = server.listen("127.0.0.1:0", ListenOptions { http: true, ..ListenOptions::default() }).unwrap();
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let write = |type_id, ts_ms, body: &[u8]| server.stream_write(stream, type_id, ts_ms, body, false).unwrap();
    write(AUDIO, 0, &[0xaf, 0, 0x12, 0x10]);
    write(VIDEO, 0, b"\x90hvc1\x01");
    write(AUDIO, 0, &[0xaf, 1, 7]);
    write(VIDEO, 0, b"\x93hvc1\x02");
    IS_PLAYER.set(true);
    let request = b"GET /live/show.flv?for=browser HTTP/1.0\r\n\r\n";
    let mut sockets: Vec<TcpStream> = (0..PLAYERS)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.write_all(request).unwrap();
            socket
        })
        .collect();
    let mut begin = [0; 4096];
    for socket in &mut sockets {
        let mut len = 0;
        while !begin[..len].ends_with(&[2, 0, 0, 0, 17]) {
            len += socket.read(&mut begin[len..]).unwrap();
        }
    }
    let body = [&[0x93][..], b"hvc1", &vec![7; LARGE]].concat();
    IS_PLAYER.set(false);
    let before = BYTES.load(Relaxed);
    write(VIDEO, 40, &body);
    IS_PLAYER.set(true);
    let mut tag = vec![0; 11 + body.len() + 4];
    for socket in &mut sockets {
        socket.read_exact(&mut tag).unwrap();
        assert!(tag[11..11 + body.len()] == body);
    }
    let allocated = BYTES.load(Relaxed) - before;
    IS_PLAYER.set(false);
    assert!(allocated < 3 * LARGE as u64, "{allocated} bytes for {PLAYERS} players");
}

/// A host pays for this with every player that waits, so it is bounded closely: a field that few players need belongs
/// behind a pointer, and a buffer is given back when it is not used.
#[test]
fn an_idle_player_costs_less_than_2_and_a_half_kib() {
    const PLAYERS: usize = 500;
    let _gate = GATE.lock().unwrap();
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let mut sockets: Vec<TcpStream> = Vec::with_capacity(PLAYERS + 1);
    sockets.push(Raw::play(port, "show").socket);
    last_player(&server, stream, 1);
    let before = LIVE.load(Relaxed);
    sockets.extend((0..PLAYERS).map(|_| Raw::play(port, "show").socket));
    last_player(&server, stream, PLAYERS + 1);
    // A tick of the relay frees the buffers of the answers that let them play.
    until("little is held", || {
        let each = (LIVE.load(Relaxed) - before) / PLAYERS as i64;
        println!("{each} bytes for each idle player");
        (1..2560).contains(&each).then_some(())
    });
}

#[test]
fn the_memory_of_a_player_over_tls_is_accounted_for() {
    const PLAYERS: usize = 40;
    let _gate = GATE.lock().unwrap();
    let (server, _) = relay(StreamConfig::default(), ServerConfig::default());
    let papers = secure::Papers::new("player-costs");
    server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    IS_PLAYER.set(true);
    let config = secure::trusting();
    let mut players: Vec<Conn> = Vec::with_capacity(PLAYERS + 1);
    let mut join = |players_now| {
        while players.len() < players_now {
            players.push(secure::connect(&config, port, "show", false));
        }
        last_player(&server, stream, players_now);
    };
    let figures = || (LIVE.load(Relaxed), server.stats(0).unwrap().queue_bytes as i64);
    join(1);
    // The relay counts what its consumers hold four times a second.
    let before = until("one is accounted for", || Some(figures()).filter(|(_, accounted)| *accounted > 0));
    join(PLAYERS + 1);
    // Beside TLS there are the 2 KiB that every player holds.
    until("all are accounted for", || {
        let after = figures();
        let (held, accounted) = ((after.0 - before.0) / PLAYERS as i64, (after.1 - before.1) / PLAYERS as i64);
        println!("{held} bytes for each idle player over TLS, {accounted} accounted for");
        (accounted > 0 && (held - 4096..held + 4096).contains(&accounted)).then_some(())
    });
    IS_PLAYER.set(false);
}

/// Every name that a peer asks for makes a stream, also without a publisher: names are cheap for peers.
#[test]
fn a_stream_that_is_waited_for_costs_less_than_12_kib() {
    const STREAMS: usize = 100;
    let _gate = GATE.lock().unwrap();
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let mut sockets: Vec<TcpStream> = Vec::with_capacity(STREAMS + 1);
    let mut wait_for = |name: String| {
        sockets.push(Raw::play(port, &name).socket);
        let stream = until("the stream", || server.stream_find(b"live", name.as_bytes()).ok());
        last_player(&server, stream, 1);
    };
    wait_for("first".to_owned());
    let before = LIVE.load(Relaxed);
    (0..STREAMS).for_each(|number| wait_for(format!("show{number}")));
    let each = (LIVE.load(Relaxed) - before) / STREAMS as i64;
    println!("{each} bytes for each stream with a player who waits");
    assert!((1..12 * 1024).contains(&each), "{each} bytes");
}

/// A stream with threads of its own, its publisher and a player, before any media: records, connections and two event loops
/// that sleep. Buffers to read into belong to threads that read.
#[test]
fn a_stream_with_a_publisher_and_a_player_allocates_less_than_16_kib() {
    const STREAMS: usize = 50;
    let _gate = GATE.lock().unwrap();
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let mut sockets: Vec<TcpStream> = Vec::with_capacity(2 * STREAMS + 2);
    let mut begin = |name: &str| {
        sockets.push(Raw::publish(port, name).socket);
        sockets.push(Raw::play(port, name).socket);
        let stream = server.stream_find(b"live", name.as_bytes()).unwrap();
        last_player(&server, stream, 1);
    };
    begin("first");
    let before = LIVE.load(Relaxed);
    (0..STREAMS).for_each(|number| begin(&format!("show{number}")));
    until("little is held", || {
        let each = (LIVE.load(Relaxed) - before) / STREAMS as i64;
        println!("{each} bytes for each stream");
        (1..16 * 1024).contains(&each).then_some(())
    });
}
