//! Counters that one thread writes and any thread reads, and rates over about two seconds.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::proto::message::kind;

/// How long one window of a rate lasts; a rate is that of the last whole window.
const WINDOW_US: u64 = 1_000_000;

/// A number only its owner changes: no locked instruction on the hot path.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; owner only.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets; owner only.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many per second, over the last whole window of a second. Written by one thread.
#[derive(Debug, Default)]
pub struct Rate {
    window: Count,
    current: Count,
    last: Count,
}

impl Rate {
    /// Counts at a moment; owner only.
    pub fn add(&self, n: u64, now_us: u64) {
        let (window, seen) = (now_us / WINDOW_US, self.window.get());
        if window != seen {
            self.last.set(if window == seen + 1 { self.current.get() } else { 0 });
            self.current.set(0);
            self.window.set(window);
        }
        self.current.add(n);
    }

    /// The count of the last whole window; 0 when nothing was counted since.
    pub fn per_second(&self, now_us: u64) -> u64 {
        match (now_us / WINDOW_US).wrapping_sub(self.window.get()) {
            0 => self.last.get(),
            1 => self.current.get(),
            _ => 0,
        }
    }

    /// The same of bytes, in kbit/s.
    pub fn kbps(&self, now_us: u64) -> u32 {
        u32::try_from(self.per_second(now_us).saturating_mul(8) / 1000).unwrap_or(u32::MAX)
    }
}

/// Everything that is counted about a session, a stream or a target.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes from the network.
    pub bytes_in: Count,
    /// Bytes to the network.
    pub bytes_out: Count,
    /// Messages taken.
    pub msgs_in: Count,
    /// Messages given.
    pub msgs_out: Count,
    /// Audio bodies.
    pub audio_bytes: Count,
    /// Video bodies.
    pub video_bytes: Count,
    /// Data bodies.
    pub data_bytes: Count,
    /// Messages jumped over.
    pub dropped_msgs: Count,
    /// Their bytes.
    pub dropped_bytes: Count,
    /// How often it jumped.
    pub dropped_runs: Count,
    /// Bytes that wait.
    pub queue_bytes: Count,
    /// Messages that wait.
    pub queue_msgs: Count,
    /// Age of the oldest waiting byte.
    pub queue_ms: Count,
    /// The oldest it ever was.
    pub queue_ms_max: Count,
    /// Messages of unknown type.
    pub unknown_msgs: Count,
    /// Jumps of the publisher's time.
    pub clock_jumps: Count,
    /// When the last jump was reported, monotonic.
    pub clock_told_us: Count,
    /// Rate in.
    pub rate_in: Rate,
    /// Rate out.
    pub rate_out: Rate,
    /// Rate of audio bodies.
    pub rate_audio: Rate,
    /// Rate of video bodies.
    pub rate_video: Rate,
    /// Timestamp of the newest message, unwrapped.
    pub last_ts_ms: AtomicI64,
    /// Timestamp of the newest key frame, unwrapped.
    pub last_key_ts_ms: AtomicI64,
    /// Wall clock of the newest message.
    pub last_media_us: AtomicI64,
    /// Between the last two key frames.
    pub key_interval_ms: AtomicU32,
    /// Rate of video messages.
    pub rate_frames: Rate,
    /// Wall clock of the beginning.
    pub started_us: i64,
}

impl Counters {
    /// Counters that begin now.
    pub fn new(started_us: i64) -> Self {
        Self { started_us, ..Self::default() }
    }

    /// One message came in; owner only.
    pub fn message_in(&self, type_id: u8, bytes: u64, now_us: u64) {
        self.msgs_in.add(1);
        match type_id {
            kind::AUDIO => {
                self.audio_bytes.add(bytes);
                self.rate_audio.add(bytes, now_us);
            }
            kind::VIDEO => {
                self.video_bytes.add(bytes);
                self.rate_video.add(bytes, now_us);
                self.rate_frames.add(1, now_us);
            }
            kind::DATA | kind::DATA_AMF3 => self.data_bytes.add(bytes),
            _ => self.unknown_msgs.add(1),
        }
    }

    /// Bytes went out; owner only.
    pub fn sent(&self, bytes: u64, now_us: u64) {
        self.bytes_out.add(bytes);
        self.rate_out.add(bytes, now_us);
    }
}

/// What one consumer was sent that its [`Counters`] do not know yet. It lies beside what sending touches anyway, while the
/// counters of thousands of consumers are thousands of cache lines: they are written once in a while, not per message.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes and messages ever sent.
    sent: (u64, u64),
    /// What of it the counters know.
    told: (u64, u64),
    at_us: u64,
}

impl Tally {
    /// Notes what was sent. The counters are brought up to date where a second begins, so that each rate's window gets
    /// what belongs to it.
    pub fn sent(&mut self, bytes: u64, messages: u64, now_us: u64, counters: &Counters) {
        if now_us / WINDOW_US != self.at_us / WINDOW_US {
            self.report(counters);
        }
        self.at_us = now_us;
        self.sent = (self.sent.0 + bytes, self.sent.1 + messages);
    }

    /// Bytes and messages ever sent.
    pub fn total(&self) -> (u64, u64) {
        self.sent
    }

    /// Brings the counters up to date; the owner calls it a few times a second and at the end.
    pub fn report(&mut self, counters: &Counters) {
        if self.sent != self.told {
            counters.sent(self.sent.0 - self.told.0, self.at_us);
            counters.msgs_out.add(self.sent.1 - self.told.1);
            self.told = self.sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_puts_each_byte_into_the_second_it_was_sent_in() {
        let (counters, mut tally) = (Counters::default(), Tally::default());
        tally.sent(125_000, 3, 10_900_000, &counters);
        assert_eq!(counters.bytes_out.get(), 0);
        tally.sent(1, 1, 11_000_000, &counters);
        assert_eq!((counters.bytes_out.get(), counters.msgs_out.get()), (125_000, 3));
        tally.report(&counters);
        assert_eq!((counters.bytes_out.get(), counters.msgs_out.get()), (125_001, 4));
        assert_eq!(counters.rate_out.kbps(11_200_000), 1000);
    }

    #[test]
    fn a_rate_is_that_of_the_last_whole_second() {
        let rate = Rate::default();
        rate.add(125_000, 10_200_000);
        assert_eq!(rate.kbps(10_900_000), 0, "the first window is not over");
        assert_eq!(rate.kbps(11_500_000), 1000);
        rate.add(1, 11_600_000);
        assert_eq!(rate.kbps(11_700_000), 1000);
        assert_eq!(rate.kbps(14_000_000), 0, "nothing came for two seconds");
    }
}
