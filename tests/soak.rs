//! A server under load and with failures, for some seconds among the other tests, for an hour by `make soak`. Prints
//! the process's memory, threads and descriptors every ten seconds, and fails where those grow or media stops.

#![allow(clippy::unwrap_used, reason = "what cannot be done has failed the test")]

#[path = "support/live.rs"]
mod live;
#[path = "support/process.rs"]
mod process;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use live::{Client, Live, raw, shaken, until};
use process::{holds, rss_kib};
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::server::kind;
use rrelay::session::SessionConfig;

/// Streams that run throughout, each of 25 frames a second and about 2 Mbit/s, with so many players.
const STREAMS: usize = 4;
const PLAYERS: usize = 10;
const FRAME_BYTES: usize = 10_000;

/// Growth is measured after this time, when everything has been used once.
const WARM: Duration = Duration::from_secs(60);

/// The time without RR_SOAK_SECONDS: enough to see that media passes despite the failures, and that the end leaves
/// nothing; growth shows only after a longer time.
const SHORT_SECONDS: u64 = 5;

const REPORT: Duration = Duration::from_secs(10);

/// One stream: every frame that its publisher sends must come out at each of its players.
fn stream(port: u16, number: usize, over: Arc<AtomicBool>, passed: Arc<AtomicU64>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let key = format!("steady{number}");
        let mut publisher = Client::new(port, &key, true);
        let mut players: Vec<Client> = (0..PLAYERS).map(|_| Client::new(port, &key, false)).collect();
        let began = Instant::now();
        let mut body = vec![7; FRAME_BYTES];
        for frame in 0_u32.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(u64::from(frame) * 40).saturating_sub(began.elapsed()));
            body[..5].copy_from_slice(&[if frame % 50 == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
            body[5..9].copy_from_slice(&frame.to_be_bytes());
            publisher.send(9, frame * 40, &body).expect("a steady publisher was closed");
            publisher.turn(Duration::from_millis(0)).expect("a steady publisher was closed");
            for player in &mut players {
                assert_eq!(player.message().1[5..9], frame.to_be_bytes(), "a frame was lost");
                passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

/// The publisher of "passing", back after less than half a second: a publisher that leaves frees the name soon.
fn returns(live: &Live) -> Client {
    let mut came = None;
    until("a publisher that left has made room", || {
        came = Client::configured(live.port, "passing", true, &SessionConfig::default()).ok();
        came.is_some()
    });
    came.unwrap()
}

/// Peers that come and go, are kicked, stall, or send invalid bytes.
fn trouble(live: Arc<Live>, over: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stalled: Vec<Client> = Vec::new();
        for round in 0_usize.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            match round % 6 {
                0 => {
                    let mut publisher = returns(&live);
                    let mut player = live.play("passing");
                    let _ = publisher.key_frame(0, &[7; 5_000]);
                    player.message();
                    if let Some(&id) = live.server.list(0, kind::SESSION).unwrap().last() {
                        // The newest session is one of these two peers.
                        let _ = live
                            .server
                            .info(id)
                            .map(|info| (info.key == b"passing").then(|| live.server.session_close(id, "", 0)));
                    }
                }
                1 => drop(live.play(&format!("steady{}", round % STREAMS))),
                2 => {
                    stalled.push(live.play(&format!("steady{}", round % STREAMS)));
                    if stalled.len() > 8 {
                        stalled.remove(0);
                    }
                }
                3 => {
                    let _ = shaken(live.port).write_all(&[round as u8; 3_000]);
                }
                4 => drop(raw(live.port)),
                _ => {
                    live.server.stats(0).unwrap();
                    live.server.list(0, kind::SESSION).unwrap().iter().for_each(|&id| drop(live.server.stats(id)));
                }
            }
        }
    })
}

#[test]
fn nothing_grows() {
    let seconds = std::env::var("RR_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SHORT_SECONDS);
    let fresh = holds();
    let stream_config = StreamConfig { queue_bytes: 1 << 20, queue_ms: 2_000, ..StreamConfig::default() };
    let config = ServerConfig {
        stream: Arc::new(stream_config),
        handshake_ms: 3_000,
        send_ms: 5_000,
        mem_limit_bytes: Some(256 << 20),
        ..ServerConfig::default()
    };
    let live = Arc::new(Live::new(config));
    let (over, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut threads: Vec<_> =
        (0..STREAMS).map(|number| stream(live.port, number, Arc::clone(&over), Arc::clone(&passed))).collect();
    threads.push(trouble(Arc::clone(&live), Arc::clone(&over)));

    let began = Instant::now();
    let mut warm = None;
    println!("     s  rss KiB  fds  threads  sessions  media KiB  in kbit/s  out kbit/s  frames/s");
    let mut frames = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(REPORT.min(Duration::from_secs(seconds).saturating_sub(began.elapsed())));
        live.events.lock().unwrap().clear();
        live.lines.lock().unwrap().clear();
        let (now, rss, stats) = (holds(), rss_kib(), live.server.stats(0).unwrap());
        let passed_now = passed.load(Ordering::Relaxed);
        println!(
            "{:6} {rss:8} {:4} {:8} {:9} {:10} {:10} {:11} {:9}",
            began.elapsed().as_secs(),
            now.fds,
            now.threads,
            stats.sessions,
            stats.queue_bytes / 1024,
            stats.kbps_in,
            stats.kbps_out,
            (passed_now - frames) / REPORT.as_secs(),
        );
        assert!(passed_now > frames, "no frame got through in {REPORT:?}");
        frames = passed_now;
        assert!(threads.iter().all(|thread| !thread.is_finished()), "a peer has failed");
        if began.elapsed() > WARM {
            let (rss_warm, warm) = *warm.get_or_insert((rss, now));
            // The margin is for peers that come and go, with some hundred KiB of media each.
            assert!(rss < rss_warm + rss_warm / 5 + 32 * 1024, "memory grows: {rss_warm} KiB when warm, {rss} now");
            assert!(now.fds < warm.fds + 60, "descriptors grow: {} when warm, {} now", warm.fds, now.fds);
            assert!(now.threads < warm.threads + 8, "threads grow: {} when warm, {} now", warm.threads, now.threads);
        }
    }
    over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    until("all have gone", || live.sessions() == 0);
    drop(live);
    until("a server that is gone leaves nothing", || holds() == fresh);
}
