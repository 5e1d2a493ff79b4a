//! What accumulate does for the relay while the relay's thread sleeps, or if both are on one loop: it has appended media, and
//! sends it. This spares waking the relay's thread, or a round of the relay, for each message.
//!
//! The relay's thread keeps all else: it reads sockets, hears which of them take more again, keeps the deadlines and acts on
//! what a pass has found. It is called where this leaves something to it.

use super::Relay;
use crate::net::event_loop::Task;

/// Most consumers, here and on connections of other relays, for whom accumulate sends. As long as it sends, it reads no
/// publisher; and where there are more consumers, waking the relay's thread is a small part of the cost.
const AUDIENCE: usize = if cfg!(test) { 8 } else { 500 };

/// Most consumers over TLS among them. Encrypting makes a pass longer, so waking the relay's thread is a small part of its
/// cost sooner.
const AUDIENCE_OVER_TLS: usize = if cfg!(test) { 2 } else { 16 };

/// Accumulate leaves the rest of a pass to the relay's thread once it has sent this many bytes.
const BYTES: u64 = if cfg!(test) { 32 << 10 } else { 4 << 20 };

/// How late accumulate may be with what consumers have collected before the relay's thread, if it is awake, sends without it.
const LATE_US: u64 = 20_000;

impl Relay {
    /// Sends new media in accumulate's thread. False if the relay's thread is to be called.
    pub(super) fn send_for_accumulate(&mut self, now_us: u64, comes_again: bool) -> bool {
        let collects = !self.is_immediate();
        if !self.is_settled() || if collects { !comes_again } else { !self.is_light() } {
            return false;
        }
        #[cfg(test)]
        self.stream.fault_injection().pass(crate::stream::fault_injection::In::MediaTurn);
        self.take_settings();
        self.read_log(now_us);
        #[cfg(test)]
        self.stream.fault_injection().stand(crate::stream::fault_injection::In::MediaTurn);
        // What other streams bring for players here wakes the relay's own thread.
        if collects && !self.pass.is_due_by_own(now_us) {
            return true;
        }
        if collects && !self.is_light() {
            return false;
        }
        self.send(BYTES, now_us);
        #[cfg(test)]
        if let Some(slot) = self.stream.fault_injection().take_failure() {
            self.pass.met.failed.push((slot, crate::error::RRError::Io.into()));
        }
        self.pass.met.is_nothing()
    }

    /// Whether a pass is short.
    fn is_light(&self) -> bool {
        // What a player of several streams gets of the others is not counted against `BYTES`.
        self.over_tls <= AUDIENCE_OVER_TLS
            && self.consumers.len() + self.registrations.len() <= AUDIENCE
            && !self.pass.until.follows
    }

    /// Whether media goes out when it comes. Where all consumers collect it, and accumulate does not come again when they
    /// have, the relay's thread would be called with each message, for its deadline.
    fn is_immediate(&self) -> bool {
        self.consumers.is_empty() || self.pass.until.is_immediate()
    }

    /// Whether accumulate keeps the time at which the consumers have collected, and the relay needs it earlier: one of them
    /// collects for a shorter time, or not at all, or they have been sent to meanwhile.
    pub(super) fn is_ahead_of_accumulate(&self) -> bool {
        let kept_us = self.stream.relays().lead().kept_us();
        kept_us.is_some_and(|kept_us| self.is_lead() && self.collects_until().is_none_or(|at_us| at_us < kept_us))
    }

    /// Whether a pass that is due only because consumers have collected is left to accumulate, which keeps that time and is about
    /// to bring what has come up to now.
    pub(super) fn leaves_pass(&self, now_us: u64) -> bool {
        let kept_us = self.stream.relays().lead().kept_us();
        self.is_lead()
            && kept_us.is_some_and(|kept_us| now_us < kept_us + LATE_US)
            && self.pass.is_due_by_collecting(now_us)
    }

    /// Calls accumulate, which may have put off reading its publisher until the consumers have collected, to read it now. The
    /// relay's own thread keeps that time from now on.
    pub(super) fn hurry_accumulate(&self) {
        let lead = self.stream.relays().lead();
        if lead.kept_us().is_some() {
            lead.keeps_itself();
            self.stream.wake_accumulate();
        }
    }

    /// Whether nothing waits for the relay's thread: neither findings of the last pass, nor the verdict about consumers that
    /// another process may have.
    fn is_settled(&self) -> bool {
        self.pass.met.is_nothing() && self.offer.is_none()
    }
}
