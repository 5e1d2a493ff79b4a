//! The figures of streams and sessions as one struct, and their sums. This file reads what the owners of the objects
//! have written, without locks of the server.

use std::sync::atomic::Ordering;

use crate::net::clock;
use crate::stream::RRStream;
use crate::stream::stats::{Counters, ReceivedMedia};

/// Figures of a server, stream, session or target (`rr_stats`); the C header says what each field means for which kind
/// of object.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "rest", derive(serde::Serialize, utoipa::ToSchema))]
#[allow(missing_docs, reason = "the C struct of the same fields has the words, and is the manual")]
pub struct Stats {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub msgs_in: u64,
    pub msgs_out: u64,
    pub audio_bytes: u64,
    pub video_bytes: u64,
    pub data_bytes: u64,
    pub dropped_msgs: u64,
    pub dropped_bytes: u64,
    pub dropped_runs: u64,
    pub queue_bytes: u64,
    pub queue_msgs: u64,
    pub started_us: i64,
    pub last_media_us: i64,
    pub last_ts_ms: i64,
    pub last_key_ts_ms: i64,
    pub queue_ms: u32,
    pub queue_ms_max: u32,
    pub kbps_in: u32,
    pub kbps_out: u32,
    pub audio_kbps: u32,
    pub video_kbps: u32,
    pub fps_milli: u32,
    pub key_interval_ms: u32,
    pub rtt_us: u32,
    pub rtt_var_us: u32,
    pub retransmits: u32,
    pub unacked_bytes: u32,
    pub connects: u32,
    pub failures: u32,
    pub unknown_msgs: u32,
    pub clock_jumps: u32,
    pub sessions: u32,
    pub targets: u32,
}

impl Stats {
    pub(crate) fn of(counters: &Counters, now_us: u64) -> Self {
        let tcp = &counters.tcp;
        tcp.looked_at.store(true, Ordering::Relaxed);
        Self {
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            msgs_in: counters.msgs_in.get(),
            msgs_out: counters.msgs_out.get(),
            dropped_msgs: counters.dropped.get().msgs,
            dropped_bytes: counters.dropped.get().bytes,
            dropped_runs: counters.dropped.get().runs,
            queue_bytes: counters.queue_bytes.get(),
            queue_msgs: counters.queue_msgs.get(),
            started_us: counters.started_us,
            last_media_us: match counters.last_media_us.get() {
                0 => 0,
                moment_us => clock::wall_at_us(moment_us),
            },
            last_ts_ms: counters.last_ts_ms.load(Ordering::Relaxed),
            queue_ms: small(counters.queue_ms.get()),
            queue_ms_max: small(counters.queue_ms_max.get()),
            kbps_in: counters.rate_in.kbps(now_us),
            kbps_out: counters.rate_out.kbps(now_us),
            rtt_us: tcp.rtt_us.load(Ordering::Relaxed),
            rtt_var_us: tcp.rtt_var_us.load(Ordering::Relaxed),
            retransmits: tcp.retransmits.load(Ordering::Relaxed),
            unacked_bytes: tcp.unacked_bytes.load(Ordering::Relaxed),
            ..counters.received_media().map(|media| Self::of_media(media, now_us)).unwrap_or_default()
        }
    }

    fn of_media(media: &ReceivedMedia, now_us: u64) -> Self {
        Self {
            audio_bytes: media.audio_bytes.get(),
            video_bytes: media.video_bytes.get(),
            data_bytes: media.data_bytes.get(),
            last_key_ts_ms: media.last_key_ts_ms.load(Ordering::Relaxed),
            audio_kbps: media.rate_audio.kbps(now_us),
            video_kbps: media.rate_video.kbps(now_us),
            fps_milli: media.rate_frames.milli(now_us),
            key_interval_ms: media.key_interval_ms.load(Ordering::Relaxed),
            unknown_msgs: small(media.unknown_msgs.get()),
            clock_jumps: small(media.clock_jumps.get()),
            ..Self::default()
        }
    }

    /// Merges other figures into these: sums counters and rates, and keeps the greater lag.
    pub(super) fn add(&mut self, other: &Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.msgs_in += other.msgs_in;
        self.msgs_out += other.msgs_out;
        self.audio_bytes += other.audio_bytes;
        self.video_bytes += other.video_bytes;
        self.data_bytes += other.data_bytes;
        self.dropped_msgs += other.dropped_msgs;
        self.dropped_bytes += other.dropped_bytes;
        self.dropped_runs += other.dropped_runs;
        self.kbps_in = self.kbps_in.saturating_add(other.kbps_in);
        self.kbps_out = self.kbps_out.saturating_add(other.kbps_out);
        self.audio_kbps = self.audio_kbps.saturating_add(other.audio_kbps);
        self.video_kbps = self.video_kbps.saturating_add(other.video_kbps);
        self.unknown_msgs = self.unknown_msgs.saturating_add(other.unknown_msgs);
        self.clock_jumps = self.clock_jumps.saturating_add(other.clock_jumps);
        self.last_media_us = self.last_media_us.max(other.last_media_us);
        self.queue_ms = self.queue_ms.max(other.queue_ms);
        self.queue_ms_max = self.queue_ms_max.max(other.queue_ms_max);
    }
}

/// A figure in the width that it has in the C struct.
pub(super) fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A stream's figures: incoming from its publisher, outgoing to all its consumers.
pub(super) fn of_stream(stream: &RRStream, now_us: u64) -> Stats {
    let out = stream.stats().sent_to_all(now_us);
    Stats {
        bytes_out: out.sent.bytes,
        msgs_out: out.sent.msgs,
        kbps_out: out.kbps,
        dropped_msgs: out.dropped.msgs,
        dropped_bytes: out.dropped.bytes,
        dropped_runs: out.dropped.runs,
        queue_bytes: stream.memory().used(),
        sessions: small(stream.sessions() as u64),
        targets: small((stream.book().target_count() + stream.sources().list().len()) as u64),
        ..Stats::of(stream.stats().incoming(), now_us)
    }
}
