//! Reading figures costs the reader no question to the system; owners ask, and rarely.

use super::live::{Live, until};
use crate::config::ServerConfig;
use crate::net::tcp_info::ASKED;
use crate::server::slots::kind;

#[test]
fn whoever_reads_figures_asks_the_system_nothing() {
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
