//! In which records players over TLS get what the relay sends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::live::{Live, until};
use super::secure;
use super::stalled::Stalled;
use crate::config::{ServerConfig, StreamConfig};
use crate::server::ListenOptions;

/// Most plaintext of a record (RFC 8446, 5.1).
const RECORD_BYTES: usize = 1 << 14;

/// A connection in between, on a port of its own, that keeps what the server sends.
struct Tap {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        std::thread::spawn(move || {
            let (mut player, _) = listener.accept().unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut to_server, mut from_player) = (server.try_clone().unwrap(), player.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_player, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            let mut buffer = [0; 1 << 16];
            while let Ok(n @ 1..) = server.read(&mut buffer) {
                keep.lock().unwrap().extend_from_slice(&buffer[..n]);
                if player.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
        });
        Self { port: own, seen }
    }

    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How much plaintext is in each record behind the first `from` bytes.
    fn records(&self, from: usize) -> Vec<usize> {
        let seen = self.seen.lock().unwrap();
        let (mut rest, mut records) = (&seen[from..], Vec::new());
        while !rest.is_empty() {
            assert_eq!(rest[..3], [23, 3, 3], "a record of data begins so");
            let len = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            records.push(len - 17); // without the type within and the tag
            rest = &rest[5 + len..];
        }
        records
    }
}

#[test]
fn all_that_is_new_for_a_player_is_one_record_up_to_16_kib() {
    let papers = secure::Papers::new("records");
    let stream = StreamConfig { relay_threads: Some(1), ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = live.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let tap = Tap::to(port);
    let mut publisher = live.publish("show");
    let mut player = secure::connect(&secure::trusting(), tap.port, "show", false);
    publisher.key_frame(0, b"first").unwrap();
    secure::has(&mut player, b"first");
    let stream = live.server.stream(live.server.stream_find(b"live", b"show").unwrap()).unwrap();
    let mut ts_ms = 0;
    for (messages, bytes, records) in [(3, 2_000, 1), (1, 36_000, 3)] {
        let stalled = Stalled::relay(&stream, 0);
        let before = tap.seen();
        let sent = messages * bytes;
        for _ in 0..messages {
            ts_ms += 40;
            publisher.key_frame(ts_ms, &vec![ts_ms as u8; bytes]).unwrap();
        }
        until("all are in the log", || live.server.stats(stream.id()).unwrap().last_ts_ms == i64::from(ts_ms));
        assert_eq!(tap.seen(), before, "the relay stands still");
        drop(stalled);
        secure::has(&mut player, &[ts_ms as u8; 2_000]);
        let found = tap.records(before);
        let (last, full) = found.split_last().unwrap();
        assert!(found.len() == records && full.iter().all(|&len| len == RECORD_BYTES), "{found:?}");
        let all = full.iter().sum::<usize>() + last;
        assert!((sent..sent + 100).contains(&all), "{all} bytes for {sent}: {found:?}");
    }
}
