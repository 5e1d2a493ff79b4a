//! Peers that take a thread's time: floods of messages of a byte, and TLS records with hardly any plaintext. The cost
//! of a turn of reading is bounded, so the thread's other peers get their turns soon.

#![allow(clippy::unwrap_used, reason = "what cannot be done has failed the test")]

#[path = "support/live.rs"]
mod live;
#[path = "support/secure.rs"]
mod secure;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use live::{Live, command, connect, message, shaken, until};
use rrelay::config::ServerConfig;
use rrelay::net::conn::{Conn, Pumped, Side};
use rrelay::net::socket::Socket;
use rrelay::net::tls::{ServerConfig as Certificate, TlsStream};
use rrelay::proto::amf0::Value;
use rrelay::proto::message::kind;
use rrelay::server::ListenOptions;
use rrelay::session::{ServerSession, SessionConfig};

/// Players that flood the stream they play.
const FLOODERS: usize = 24;

/// How long a message may take during the flood. One turn of each flooder at 64 KiB takes many times that.
const SOON: Duration = Duration::from_secs(5);

/// Peers that begin a TLS handshake at one moment. Each costs the server about as much as a hundred joins.
const HELLOS: usize = 300;

/// How often they begin, until the player has been there before half of them.
const TRIES: usize = 5;

/// Messages without a body: one byte each, but for the first.
fn empty_messages(count: usize) -> Vec<u8> {
    let mut wire = message(kind::ACK, 0, 4, &[]);
    wire.resize(wire.len() + count, 0xC4);
    wire
}

#[test]
fn players_that_flood_their_stream_keep_the_other_players_of_it_waiting_no_longer_than_their_turns() {
    let live = Live::new(ServerConfig::default());
    let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
    let over = Arc::new(AtomicBool::new(false));
    let flooders: Vec<_> = (0..FLOODERS)
        .map(|_| {
            let mut socket = shaken(live.port);
            socket.write_all(&connect()).unwrap();
            socket.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
            socket.write_all(&command(1, "play", 3.0, &[Value::Null, Value::String(b"show")])).unwrap();
            let mut answers = socket.try_clone().unwrap();
            std::thread::spawn(move || while answers.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
            socket
        })
        .collect();
    until("all play", || live.lines_with(" plays ") == FLOODERS + 1);
    let floods: Vec<_> = flooders
        .into_iter()
        .map(|mut socket| {
            let (wire, over) = (empty_messages(1 << 20), Arc::clone(&over));
            socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
            std::thread::spawn(move || {
                let mut at = 0;
                while !over.load(Ordering::Relaxed) {
                    at = if at == wire.len() { wire.len() / 2 } else { at };
                    at += socket.write(&wire[at..]).unwrap_or(0);
                }
            })
        })
        .collect();
    for number in 0..15_u32 {
        let sent = Instant::now();
        publisher.key_frame(number * 40, &number.to_be_bytes()).unwrap();
        assert_eq!(player.message().0.timestamp_ms, number * 40);
        assert!(sent.elapsed() < SOON, "a message took {:?}", sent.elapsed());
    }
    over.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}

#[test]
fn a_turn_of_reading_ends_by_the_ciphertext_it_took_not_by_what_was_in_it() {
    const RECORDS: usize = 20_000;
    const BUDGET: usize = 4096;
    let papers = secure::Papers::new("turns");
    let certificate = Certificate::from_pem(&papers.certificate, &papers.key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut socket = Socket::adopt(listener.accept().unwrap().0.into()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let written = Arc::clone(&done);
    let peer = std::thread::spawn(move || {
        let mut tls = TlsStream::client(&secure::trusting(), "127.0.0.1").unwrap();
        tls.handshake(&mut client).unwrap();
        // A handshake, then messages without a body, a record for each byte.
        let wire = [vec![3], vec![0; 3072], empty_messages(RECORDS)].concat();
        wire.chunks(1).for_each(|byte| assert_eq!(tls.write(&mut client, byte).unwrap(), 1));
        written.store(true, Ordering::Relaxed);
        while client.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
    });
    socket.secure(TlsStream::server(&certificate).unwrap());
    let mut conn = Conn::new(socket, Side::Server(Box::new(ServerSession::new(&SessionConfig::default(), 0))));
    let mut scratch = [0; BUDGET];
    let (mut most, began) = (0, Instant::now());
    let all = 3073 + empty_messages(RECORDS).len();
    // Reading begins slowly, so that much waits to be read. What the peer has written may still be on its way when it is done.
    while (conn.bytes_in() as usize) < all {
        assert!(began.elapsed() < live::PATIENCE, "{} of {all} bytes came", conn.bytes_in());
        turn(&mut conn, &mut scratch, &mut most);
        if !done.load(Ordering::Relaxed) {
            conn.flush().unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(conn.bytes_in() as usize, all, "nothing else came");
    // A record of one byte has more than 20 around it.
    assert!(most <= 2 * BUDGET as u64 / 20, "{most} bytes in one turn");
    drop(conn);
    peer.join().unwrap();
}

/// The first bytes of a TLS client.
fn hello() -> Vec<u8> {
    struct Kept(Vec<u8>);
    impl Read for Kept {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
    }
    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut kept = Kept(Vec::new());
    let error = TlsStream::client(&secure::trusting(), "127.0.0.1").unwrap().handshake(&mut kept).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    kept.0
}

#[test]
fn a_joiner_does_not_wait_for_everybodys_tls_handshakes() {
    let (live, papers) = (Live::new(ServerConfig::default()), secure::Papers::new("hellos"));
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = live.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let hello = hello();
    let mut answered = Vec::new();
    // While this thread does not get its turns from the kernel, the server goes on answering.
    while answered.len() < TRIES && answered.iter().all(|&count| count >= HELLOS / 2) {
        until("nobody is here", || live.sessions() == 0);
        let mut begin: Vec<TcpStream> = (0..HELLOS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        until("all are here", || live.sessions() as usize == HELLOS);
        begin.iter_mut().for_each(|socket| socket.write_all(&hello).unwrap());
        let _player = live.play("show");
        let is_answered = |socket: &&TcpStream| {
            socket.set_nonblocking(true).unwrap();
            socket.peek(&mut [0]).is_ok()
        };
        answered.push(begin.iter().filter(is_answered).count());
        // The TLS peers have their turns too.
        until("all are answered", || begin.iter().all(|socket| socket.peek(&mut [0]).is_ok()));
    }
    assert!(answered.iter().any(|&count| count < HELLOS / 2), "{answered:?} were answered before it played");
}

fn turn(conn: &mut Conn, scratch: &mut [u8], most: &mut u64) -> Pumped {
    let before = conn.bytes_in();
    let budget = scratch.len();
    let pumped = conn.pump(scratch, 0, budget, true, |_, _| ControlFlow::Continue(())).unwrap();
    *most = (*most).max(conn.bytes_in() - before);
    pumped
}
