//! A stream with pictures and no key frames: a log line tells the operator that players wait.

use super::live::{Live, until};
use crate::config::{ServerConfig, StreamConfig};
use crate::proto::message::kind;

#[test]
fn players_that_wait_for_a_key_frame_in_vain_are_logged_once() {
    let stream = StreamConfig { gop_bytes: 0, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: stream.into(), ..ServerConfig::default() });
    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"0").unwrap();
    until("it is there", || live.server.stats(0).unwrap().msgs_in == 1);
    let mut players = [live.play("show"), live.play("show")];
    let mut ts_ms = 0;
    let mut picture = || {
        ts_ms += 10;
        publisher.send(kind::VIDEO, ts_ms, &[0x27, 1, 0, 0, 0, 9]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    until("it is told", || {
        picture();
        live.lines_with("live/***: no key frame for ") > 0
    });
    live.line_with(&["live/***: no key frame for ", " s, and 2 players or targets wait for one"]);
    (0..60).for_each(|_| picture());
    assert_eq!(live.lines_with("no key frame"), 1, "{:?}", live.lines.lock().unwrap());
    publisher.key_frame(10_000, b"1").unwrap();
    assert!(players.iter_mut().all(|player| player.message().0.timestamp_ms == 10_000), "the waiting is over");
}
