//! Connections that are not sessions yet: those whose PROXY header is pending, and those refused for want of room.

use crate::config::ListenOptions;
use crate::error::Failure;
use crate::net::clock;
use crate::net::socket::Socket;

/// Refused connections are reported this often.
const TURNED_AWAY_MS: u64 = 1_000;

/// A connection whose PROXY header is pending.
#[derive(Debug)]
pub(super) struct ProxyPending {
    pub(super) socket: Socket,
    /// The balancer's address, or what the host said.
    pub(super) name: String,
    pub(super) options: ListenOptions,
    pub(super) bytes: Vec<u8>,
    pub(super) deadline_ms: u64,
}

/// Connections refused for want of room since the last report.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    count: u64,
    told_ms: u64,
    last: String,
}

impl TurnedAway {
    pub(super) fn add(&mut self, addr: &str, failure: &Failure) {
        self.count += 1;
        self.last = format!("{addr}: {failure}");
        self.tell();
    }

    /// One line a second, however many come: a flood must not become a flood of lines.
    pub(super) fn tell(&mut self) {
        let now_ms = clock::now_ms();
        if self.count == 0 || (self.told_ms != 0 && now_ms < self.told_ms + TURNED_AWAY_MS) {
            return;
        }
        self.told_ms = now_ms;
        match std::mem::take(&mut self.count) {
            1 => log::warn!("turned away {}", self.last),
            count => log::warn!("{count} connections turned away, the last {}", self.last),
        }
    }
}
