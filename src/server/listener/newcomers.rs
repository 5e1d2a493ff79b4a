//! Connections that are not sessions yet: those whose PROXY header is pending, and those refused for lack of room.

use crate::config::ListenOptions;
use crate::error::Failure;
use crate::net::clock;
use crate::net::socket::Socket;

/// Refused connections are reported this often.
const REFUSED_REPORT_MS: u64 = 1_000;

/// A connection whose PROXY header is pending.
#[derive(Debug)]
pub(super) struct ProxyPending {
    pub(super) socket: Socket,
    /// The balancer's address, or the one that the host gave.
    pub(super) name: String,
    pub(super) options: ListenOptions,
    pub(super) bytes: Vec<u8>,
    pub(super) deadline_ms: u64,
}

/// Connections refused for lack of room since the last report.
#[derive(Debug, Default)]
pub(super) struct RefusedConnections {
    count: u64,
    told_ms: u64,
    last: String,
}

impl RefusedConnections {
    pub(super) fn add(&mut self, addr: &str, failure: &Failure) {
        self.count += 1;
        self.last = format!("{addr}: {failure}");
        self.tell();
    }

    /// Logs one line a second, so that a flood of connections does not become a flood of lines.
    pub(super) fn tell(&mut self) {
        let now_ms = clock::now_ms();
        if self.count == 0 || (self.told_ms != 0 && now_ms < self.told_ms + REFUSED_REPORT_MS) {
            return;
        }
        self.told_ms = now_ms;
        log::warn!("connections refused: {}, the last {}", std::mem::take(&mut self.count), self.last);
    }
}
