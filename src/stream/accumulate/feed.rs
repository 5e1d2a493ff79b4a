//! One publisher's connection as accumulate holds it: its pace, its timeouts, and what is kept of it while it stands by.

use bytes::Bytes;

use crate::config::OVER_RATE_MS;
use crate::error::{Failure, RRError, Result};
use crate::proto::flv;
use crate::proto::message::{MessageHead, kind};
use crate::stream::Timeouts;
use crate::stream::peer::Peer;

/// Headers kept of a standby: metadata and one sequence header for each track of a rich multitrack encoder.
const MAX_KEPT: usize = 32;

/// All of them together, in bytes.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// A header of a standby: who it is for, and what it says.
#[derive(Debug)]
struct Kept {
    type_id: u8,
    metadata: bool,
    track: u8,
    body: Bytes,
}

/// What is kept of a publisher that stands by: the headers that its messages will need when it steps in.
#[derive(Debug, Default)]
pub(super) struct Headers {
    list: Vec<Kept>,
    has_video: bool,
}

impl Headers {
    /// Looks at a message that is not taken. True where the publisher could begin with it: a key frame, or any sound
    /// of a publisher without pictures.
    pub(super) fn look(&mut self, head: &MessageHead, body: &[u8]) -> bool {
        let facts = flv::facts(head.type_id, body);
        self.has_video |= head.type_id == kind::VIDEO;
        if facts.seq_start || facts.metadata || facts.side_config {
            self.keep(head.type_id, facts.metadata, facts.track, body);
            return false;
        }
        match head.type_id {
            kind::VIDEO => facts.key,
            kind::AUDIO => !self.has_video,
            _ => false,
        }
    }

    fn keep(&mut self, type_id: u8, metadata: bool, track: u8, body: &[u8]) {
        self.list.retain(|kept| (kept.type_id, kept.metadata, kept.track) != (type_id, metadata, track));
        let used: usize = self.list.iter().map(|kept| kept.body.len()).sum();
        if self.list.len() < MAX_KEPT && used + body.len() <= MAX_KEPT_BYTES {
            self.list.push(Kept { type_id, metadata, track, body: Bytes::copy_from_slice(body) });
        }
    }

    /// Gives what was kept, in the order it came, with the time of the message that follows.
    pub(super) fn replay(
        &mut self,
        before: &MessageHead,
        mut give: impl FnMut(&MessageHead, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for Kept { type_id, body, .. } in std::mem::take(&mut self.list) {
            let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
            give(&MessageHead { type_id, len, ..*before }, &body)?;
        }
        Ok(())
    }
}

/// A publisher's connection.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) peer: Peer,
    pub(super) stream_id: u32,
    pub(super) kept: Headers,
    since_ms: u64,
    /// When the last media message came; 0 before the first.
    media_ms: u64,
    pinged_ms: u64,
    /// Since when it is above its rate.
    over_since_ms: Option<u64>,
}

impl Feed {
    pub(super) fn new(peer: Peer, stream_id: u32, now_ms: u64) -> Self {
        Self {
            peer,
            stream_id,
            kept: Headers::default(),
            since_ms: now_ms,
            media_ms: 0,
            pinged_ms: now_ms,
            over_since_ms: None,
        }
    }

    /// Counts what a turn of reading brought.
    pub(super) fn count(&mut self, took: bool, now_us: u64) {
        let bytes_in = self.peer.conn.bytes_in();
        let counters = &self.peer.record.counters;
        counters.rate_in.add(bytes_in - counters.bytes_in.get(), now_us);
        counters.bytes_in.set(bytes_in);
        if took {
            self.media_ms = now_us / 1000;
        }
    }

    /// Timeouts: the first media, silence, pings that ask whether the peer is there; and the rate.
    pub(super) fn check(&mut self, now_ms: u64, timeouts: Timeouts, max_kbps: u32) -> Result<()> {
        let Timeouts { first_data_ms, idle_ms, ping_ms, .. } = timeouts;
        if self.media_ms == 0 && now_ms.saturating_sub(self.since_ms) > first_data_ms {
            return Err(Failure::peers(RRError::Idle, "no media after publish"));
        }
        let silent_ms = now_ms.saturating_sub(self.media_ms.max(self.since_ms));
        if self.media_ms != 0 && silent_ms > idle_ms {
            return Err(Failure::peers(RRError::Idle, format!("no media for {silent_ms} ms")));
        }
        if ping_ms != 0 && silent_ms > ping_ms.min(idle_ms / 2) && now_ms.saturating_sub(self.pinged_ms) > ping_ms {
            self.pinged_ms = now_ms;
            self.peer.conn.ping(now_ms);
        }
        let kbps = self.peer.record.counters.rate_in.kbps(now_ms * 1000);
        if max_kbps == 0 || kbps <= max_kbps {
            self.over_since_ms = None;
            return Ok(());
        }
        let since = *self.over_since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since) >= OVER_RATE_MS {
            return Err(Failure::limit(format!("{kbps} kbit/s, max_kbps is {max_kbps}")));
        }
        Ok(())
    }
}
