//! What accumulate does for the relay while the relay's thread sleeps, or if both are on one loop: it has appended media, and
//! sends it. This spares waking the relay's thread, or a round of the relay, for each message.
//!
//! The relay's thread keeps all else: it reads sockets, hears which of them take more again, keeps the deadlines and acts on
//! what a pass has found. It is called where this leaves something to it.

use super::Relay;

/// Most consumers, here and on connections of other relays, for whom accumulate sends. As long as it sends, it reads no
/// publisher; and where there are more consumers, waking the relay's thread is a small part of the cost.
const AUDIENCE: usize = if cfg!(test) { 8 } else { 500 };

/// Most consumers over TLS among them. Encrypting makes a pass longer, so waking the relay's thread is a small part of its
/// cost sooner.
const AUDIENCE_OVER_TLS: usize = if cfg!(test) { 2 } else { 16 };

/// Accumulate leaves the rest of a pass to the relay's thread once it has sent this many bytes.
const BYTES: u64 = if cfg!(test) { 32 << 10 } else { 4 << 20 };

impl Relay {
    /// Sends new media in accumulate's thread. False if the relay's thread is to be called.
    pub(super) fn send_for_accumulate(&mut self, now_us: u64) -> bool {
        if !(self.is_light() && self.is_immediate() && self.is_settled()) {
            return false;
        }
        #[cfg(test)]
        self.stream.fault_injection().pass(crate::stream::fault_injection::In::MediaTurn);
        self.take_settings();
        self.read_log(now_us);
        #[cfg(test)]
        self.stream.fault_injection().stand(crate::stream::fault_injection::In::MediaTurn);
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

    /// Whether media goes out when it comes. Where all consumers collect it, the relay's thread would be called with each
    /// message, for its deadline.
    fn is_immediate(&self) -> bool {
        self.consumers.is_empty() || self.pass.until.is_immediate()
    }

    /// Whether nothing waits for the relay's thread: neither findings of the last pass, nor the verdict about consumers that
    /// another process may have.
    fn is_settled(&self) -> bool {
        self.pass.met.is_nothing() && self.offer.is_none()
    }
}
