//! Reading figures makes no system call; only owners ask the system, and rarely. And what figures say of a stream.

use std::sync::atomic::{AtomicBool, Ordering};

use super::live::{Live, until};
use crate::config::{ServerConfig, StreamConfig};
use crate::fuzzing::tables::bytes;
use crate::net::tcp_info::ASKED;
use crate::server::report::Info;
use crate::server::slots::kind;

#[test]
fn reading_figures_makes_no_system_call() {
    let live = Live::new(ServerConfig::default());
    let mut publisher = live.publish("show");
    let mut players: Vec<_> = (0..20).map(|_| live.play("show")).collect();
    publisher.key_frame(0, b"picture").unwrap();
    players.iter_mut().for_each(|player| drop(player.message()));
    let ids = live.server.list(0, kind::SESSION).unwrap();
    assert_eq!(ids.len(), 21);
    until("the owners have asked", || ids.iter().all(|&id| live.server.stats(id).unwrap().rtt_us > 0));
    for _ in 0..100 {
        ids.iter().for_each(|&id| assert!(live.server.stats(id).unwrap().rtt_us > 0));
        live.server.stats(0).unwrap();
    }
    assert_eq!(ASKED.get(), 0, "the reader has asked the system");
}

#[test]
fn the_counters_of_the_server_do_not_go_back_while_streams_end() {
    let live = Live::new(ServerConfig::default());
    let (server, ends) = (&live.server, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..300 {
                let id = server.stream_create(b"live", n.to_string().as_bytes(), None).unwrap();
                server.stream_write(id, 9, 0, &[0x17; 100], false).unwrap();
                server.stream_stop(id, 0).unwrap();
                until("it has ended", || server.stats(id).is_err());
            }
            ends.store(true, Ordering::Relaxed);
        });
        let mut before = 0;
        while !ends.load(Ordering::Relaxed) {
            let now = server.stats(0).unwrap().msgs_in;
            assert!(now >= before, "{before} messages came, and then {now}");
            before = now;
        }
    });
    assert_eq!(server.stats(0).unwrap().msgs_in, 300);
}

#[test]
fn a_stream_has_no_lag_once_the_player_that_was_behind_has_left() {
    // Nobody jumps, and nobody is closed.
    let stream = StreamConfig { queue_bytes: 64 << 20, queue_ms: 600_000, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: stream.into(), send_ms: 600_000, ..ServerConfig::default() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let mut publisher = live.publish("show");
    let player = live.play("show");
    let lag_ms = || live.server.stats(id).unwrap().queue_ms;
    until("the player is behind", || {
        publisher.key_frame(0, &[1; 100_000]).unwrap();
        lag_ms() > 0
    });
    drop(publisher);
    until("only the player is there", || live.sessions() == 1);
    assert!(lag_ms() > 0);
    drop(player);
    until("nobody is there", || live.sessions() == 0);
    assert_eq!(lag_ms(), 0);
}

#[test]
fn a_stream_says_the_size_of_its_pictures_and_the_rate_of_its_sound() {
    let live = Live::new(ServerConfig::default());
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let shown =
        |info: Info| (info.video.map(|video| (video.width, video.height)), info.audio.map(|audio| audio.sample_rate));
    let write = |type_id, hex: &str| live.server.stream_write(id, type_id, 0, &bytes(hex), false).unwrap();
    assert_eq!(shown(live.server.info(id).unwrap()), (None, None));
    write(9, "17000000000164001effe100186764001eacd940b424d8088000000300800000190f8a14cb01000668fba3cb22c0fdf8f800");
    write(8, "af00121056e500");
    assert_eq!(shown(live.server.info(id).unwrap()), (Some((720, 576)), Some(44_100)));
    // Another encoder, with another size of picture and a codec whose size is not known.
    write(9, "906176303181000c000a0a00000002afff805f0008");
    assert_eq!(shown(live.server.info(id).unwrap()).0, Some((64, 64)));
    write(9, "9076703039010203");
    assert_eq!(shown(live.server.info(id).unwrap()).0, None);
}
