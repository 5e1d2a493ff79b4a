//! Figures that another process counts: a stream in a process of its own counts there, and its server shows them.

use std::sync::atomic::Ordering;

use minicbor::{Decode, Encode};

use super::{Counters, Dropped, Outgoing, SentToAll};
use crate::error::{Failure, RRError, Result};

/// Largest figure that is accepted: sums of such figures do not overflow soon.
const MOST: u64 = 1 << 50;

/// The figures of one connection, or of a stream's incoming media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub(in crate::stream) struct Figures {
    #[n(0)]
    bytes_in: u64,
    #[n(1)]
    bytes_out: u64,
    #[n(2)]
    msgs_in: u64,
    #[n(3)]
    msgs_out: u64,
    #[n(4)]
    dropped_msgs: u64,
    #[n(5)]
    dropped_bytes: u64,
    #[n(6)]
    dropped_runs: u64,
    #[n(7)]
    queue_bytes: u64,
    #[n(8)]
    queue_msgs: u64,
    #[n(9)]
    queue_ms: u64,
    #[n(10)]
    queue_ms_max: u64,
    #[n(11)]
    last_ts_ms: i64,
    /// On the machine's clock, which both processes read.
    #[n(12)]
    last_media_us: u64,
    #[n(13)]
    rtt_us: u32,
    #[n(14)]
    rtt_var_us: u32,
    #[n(15)]
    retransmits: u32,
    #[n(16)]
    unacked_bytes: u32,
    #[n(17)]
    media: Option<MediaFigures>,
}

/// What was counted of received media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
struct MediaFigures {
    #[n(0)]
    audio_bytes: u64,
    #[n(1)]
    video_bytes: u64,
    #[n(2)]
    data_bytes: u64,
    #[n(3)]
    unknown_msgs: u64,
    #[n(4)]
    clock_jumps: u64,
    #[n(5)]
    frames_milli: u32,
    #[n(6)]
    last_key_ts_ms: i64,
    #[n(7)]
    key_interval_ms: u32,
}

impl Figures {
    /// What these counters have.
    pub(in crate::stream) fn of(counters: &Counters, now_us: u64) -> Self {
        let (tcp, dropped) = (&counters.tcp, counters.dropped.get());
        let media = counters.received_media().map(|media| MediaFigures {
            audio_bytes: media.audio_bytes.get(),
            video_bytes: media.video_bytes.get(),
            data_bytes: media.data_bytes.get(),
            unknown_msgs: media.unknown_msgs.get(),
            clock_jumps: media.clock_jumps.get(),
            frames_milli: media.rate_frames.milli(now_us),
            last_key_ts_ms: media.last_key_ts_ms.load(Ordering::Relaxed),
            key_interval_ms: media.key_interval_ms.load(Ordering::Relaxed),
        });
        Self {
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            msgs_in: counters.msgs_in.get(),
            msgs_out: counters.msgs_out.get(),
            dropped_msgs: dropped.msgs,
            dropped_bytes: dropped.bytes,
            dropped_runs: dropped.runs,
            queue_bytes: counters.queue_bytes.get(),
            queue_msgs: counters.queue_msgs.get(),
            queue_ms: counters.queue_ms.get(),
            queue_ms_max: counters.queue_ms_max.get(),
            last_ts_ms: counters.last_ts_ms.load(Ordering::Relaxed),
            last_media_us: counters.last_media_us.get(),
            rtt_us: tcp.rtt_us.load(Ordering::Relaxed),
            rtt_var_us: tcp.rtt_var_us.load(Ordering::Relaxed),
            retransmits: tcp.retransmits.load(Ordering::Relaxed),
            unacked_bytes: tcp.unacked_bytes.load(Ordering::Relaxed),
            media,
        }
    }

    /// What a stream's consumers got together.
    pub(in crate::stream) fn of_outgoing(SentToAll { sent, dropped, .. }: SentToAll) -> Self {
        Self {
            bytes_out: sent.bytes,
            msgs_out: sent.msgs,
            dropped_msgs: dropped.msgs,
            dropped_bytes: dropped.bytes,
            dropped_runs: dropped.runs,
            ..Self::default()
        }
    }

    /// Whether messages have come since these counters were noted.
    pub(in crate::stream) fn has_more(&self, counters: &Counters) -> bool {
        self.msgs_in > counters.msgs_in.get()
    }

    /// Refuses figures that nothing can have.
    ///
    /// # Errors
    /// [`RRError::Arg`].
    pub(in crate::stream) fn check(&self) -> Result<()> {
        let media = self.media.unwrap_or_default();
        let counts = [
            [self.bytes_in, self.bytes_out, self.msgs_in, self.msgs_out, self.queue_bytes],
            [self.dropped_msgs, self.dropped_bytes, self.dropped_runs, self.queue_msgs, self.queue_ms],
            [self.queue_ms_max, 0, 0, 0, 0],
            [media.audio_bytes, media.video_bytes, media.data_bytes, media.unknown_msgs, media.clock_jumps],
        ];
        let is_too_much = counts.as_flattened().iter().any(|&count| count > MOST);
        let times = [self.last_ts_ms, media.last_key_ts_ms];
        if is_too_much || times.iter().any(|at| at.unsigned_abs() > MOST) {
            return Err(Failure::ours(RRError::Arg, "no stream can have these figures"));
        }
        Ok(())
    }

    /// Gives these figures to new counters: what was counted before this process knew of it is in no rate.
    pub(in crate::stream) fn begin(&self, counters: &Counters, now_us: u64) {
        counters.bytes_in.set(self.bytes_in);
        counters.bytes_out.set(self.bytes_out);
        if let Some(reported) = &self.media {
            let media = counters.receiving();
            media.audio_bytes.set(reported.audio_bytes);
            media.video_bytes.set(reported.video_bytes);
        }
        self.note(counters, now_us);
    }

    /// The same for what a stream's consumers got together.
    pub(in crate::stream) fn begin_outgoing(&self, outgoing: &Outgoing, now_us: u64) {
        outgoing.bytes.set(self.bytes_out);
        self.note_outgoing(outgoing, now_us);
    }

    /// Gives these figures to the counters that stand for the other process's here.
    pub(in crate::stream) fn note(&self, counters: &Counters, now_us: u64) {
        let rated = |count: &super::Count, rate: Option<&super::Rate>, new: u64| {
            let more = new.saturating_sub(count.get());
            if let Some(rate) = rate.filter(|_| more > 0) {
                rate.add(more, now_us);
            }
            count.set(new);
        };
        rated(&counters.bytes_in, Some(&counters.rate_in), self.bytes_in);
        rated(&counters.bytes_out, Some(&counters.rate_out), self.bytes_out);
        rated(&counters.msgs_in, None, self.msgs_in);
        rated(&counters.msgs_out, None, self.msgs_out);
        self.note_dropped(&counters.dropped);
        counters.queue_bytes.set(self.queue_bytes);
        counters.queue_msgs.set(self.queue_msgs);
        counters.queue_ms.set(self.queue_ms);
        counters.queue_ms_max.set(self.queue_ms_max);
        counters.last_ts_ms.store(self.last_ts_ms, Ordering::Relaxed);
        // The time of this round may lie before that of the other process.
        counters.last_media_us.set(self.last_media_us.min(now_us));
        let tcp = &counters.tcp;
        tcp.rtt_us.store(self.rtt_us, Ordering::Relaxed);
        tcp.rtt_var_us.store(self.rtt_var_us, Ordering::Relaxed);
        tcp.retransmits.store(self.retransmits, Ordering::Relaxed);
        tcp.unacked_bytes.store(self.unacked_bytes, Ordering::Relaxed);
        let Some(reported) = &self.media else { return };
        let media = counters.receiving();
        rated(&media.audio_bytes, Some(&media.rate_audio), reported.audio_bytes);
        rated(&media.video_bytes, Some(&media.rate_video), reported.video_bytes);
        media.data_bytes.set(reported.data_bytes);
        media.unknown_msgs.set(reported.unknown_msgs);
        media.clock_jumps.set(reported.clock_jumps);
        media.rate_frames.report(reported.frames_milli, now_us);
        media.last_key_ts_ms.store(reported.last_key_ts_ms, Ordering::Relaxed);
        media.key_interval_ms.store(reported.key_interval_ms, Ordering::Relaxed);
    }

    /// The same for what a stream's consumers got together.
    pub(in crate::stream) fn note_outgoing(&self, outgoing: &Outgoing, now_us: u64) {
        let more = self.bytes_out.saturating_sub(outgoing.bytes.get());
        if more > 0 {
            outgoing.rate.add(more, now_us);
        }
        outgoing.bytes.set(self.bytes_out);
        outgoing.msgs.set(self.msgs_out);
        self.note_dropped(&outgoing.dropped);
    }

    fn note_dropped(&self, drops: &super::Drops) {
        let before = drops.get();
        drops.add(Dropped {
            msgs: self.dropped_msgs.saturating_sub(before.msgs),
            bytes: self.dropped_bytes.saturating_sub(before.bytes),
            runs: self.dropped_runs.saturating_sub(before.runs),
        });
    }
}
