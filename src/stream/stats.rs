//! Counters that one thread writes and any thread reads, and rates over the last two seconds.
//!
//! Readers take no lock and make no system call; what they see of one object may be some nanoseconds apart.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::net::conn::Conn;
use crate::proto::message::kind;

/// How often the system is asked about a connection that somebody looks at.
const SAMPLE_MS: u64 = 1_000;

/// How often the system is asked about a connection that nobody looks at: a first look finds figures this old at most.
const SAMPLE_UNSEEN_MS: u64 = 10_000;

/// A rate is counted in steps this long.
const STEP_US: u64 = 500_000;

/// Whole steps a rate is over: the last two seconds.
const STEPS: u64 = 4;

/// The whole steps and the one being counted.
const PLACES: usize = STEPS as usize + 1;

/// A number only its owner changes: no locked instruction on the hot path.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds; owner only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets; owner only.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads, from any thread.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many per second, over the last two seconds. Written by one thread.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// The step being counted, by its number since the clock began.
    step: Count,
    counts: [Count; PLACES],
}

impl Rate {
    /// Counts at a moment; owner only. True where this is the first of its step.
    pub(crate) fn add(&self, n: u64, now_us: u64) -> bool {
        let (step, seen) = (now_us / STEP_US, self.step.get());
        if step != seen {
            for stale in (seen + 1..=step).rev().take(PLACES) {
                self.place(stale).set(0);
            }
            self.step.set(step);
        }
        let count = self.place(step);
        count.add(n);
        count.get() == n
    }

    /// The sum of the last two whole seconds, in steps.
    fn sum(&self, now_us: u64) -> u64 {
        let (step, seen) = (now_us / STEP_US, self.step.get());
        // Steps after the last count are empty; those long before it have been counted over.
        let whole = step.saturating_sub(STEPS)..step;
        whole.filter(|&at| at <= seen && at + STEPS >= seen).map(|at| self.place(at).get()).sum()
    }

    fn place(&self, step: u64) -> &Count {
        &self.counts[(step % PLACES as u64) as usize]
    }

    /// The mean of the last two seconds.
    pub(crate) fn per_second(&self, now_us: u64) -> u64 {
        self.sum(now_us) * 1_000_000 / (STEPS * STEP_US)
    }

    /// The mean of the last two seconds in kbit/s, where bytes are counted.
    pub(crate) fn kbps(&self, now_us: u64) -> u32 {
        u32::try_from(self.per_second(now_us).saturating_mul(8) / 1000).unwrap_or(u32::MAX)
    }
}

/// Frames per second of the lowest track: of one picture that comes in many sizes, one counts. Whole frames of two
/// seconds would be half a frame coarse, so the time between the first frames of two steps counts, and not the steps'
/// own length.
#[derive(Debug, Default)]
pub(crate) struct FrameRate {
    frames: Rate,
    /// The track whose frames are counted.
    track: Count,
    /// When the first frame of a step came.
    first_us: [Count; PLACES],
}

impl FrameRate {
    /// A frame of this track came; owner only. A higher track counts where the lower ones have been silent for so long
    /// that there is no rate.
    pub(crate) fn add(&self, track: u8, now_us: u64) {
        let silent = now_us / STEP_US > self.frames.step.get() + STEPS;
        if u64::from(track) > self.track.get() && !silent {
            return;
        }
        self.track.set(track.into());
        if self.frames.add(1, now_us) {
            self.first(now_us / STEP_US).set(now_us);
        }
    }

    fn first(&self, step: u64) -> &Count {
        &self.first_us[(step % PLACES as u64) as usize]
    }

    /// Thousandths of a frame per second, over the last two seconds; 0 where none came for so long.
    pub(crate) fn milli(&self, now_us: u64) -> u32 {
        let (step, seen) = (now_us / STEP_US, self.frames.step.get());
        if step > seen + STEPS {
            return 0;
        }
        // From the first frame of the oldest step with one to the first frame of the newest.
        let oldest = (seen.saturating_sub(STEPS)..seen).find(|&at| self.frames.place(at).get() > 0);
        let Some(oldest) = oldest else { return 0 };
        let frames: u64 = (oldest..seen).map(|at| self.frames.place(at).get()).sum();
        let time_us = self.first(seen).get().saturating_sub(self.first(oldest).get());
        // Where the newest frame is old itself, the silence since then counts.
        let time_us = time_us + now_us.saturating_sub(self.first(seen).get()).saturating_sub(2 * STEP_US);
        u32::try_from((frames * 1_000_000_000).checked_div(time_us).unwrap_or(0)).unwrap_or(u32::MAX)
    }
}

/// The system's figures of a connection, written by its owner at most once a second.
#[derive(Debug, Default)]
pub(crate) struct TcpFigures {
    /// Round trip time, smoothed.
    pub rtt_us: AtomicU32,
    /// Its mean deviation.
    pub rtt_var_us: AtomicU32,
    /// Segments sent again since the beginning.
    pub retransmits: AtomicU32,
    /// Bytes sent that the peer has not acknowledged.
    pub unacked_bytes: AtomicU32,
    /// Somebody has read them since they were written: whoever looks every second gets fresh ones, and for those nobody
    /// looks at the system is asked rarely.
    pub looked_at: AtomicBool,
    /// When they were written; 0 is never.
    sampled_ms: Count,
}

impl TcpFigures {
    /// Asks the system, if it is time to; owner only. What it does not know (a unix socket's round trip) is taken from
    /// the last ping.
    pub(crate) fn refresh(&self, conn: &Conn, now_ms: u64) {
        let every_ms = if self.looked_at.load(Ordering::Relaxed) { SAMPLE_MS } else { SAMPLE_UNSEEN_MS };
        let sampled_ms = self.sampled_ms.get();
        if sampled_ms != 0 && now_ms < sampled_ms + every_ms {
            return;
        }
        self.sampled_ms.set(now_ms.max(1));
        self.looked_at.store(false, Ordering::Relaxed);
        let facts = conn.tcp_facts();
        self.rtt_us.store(facts.rtt_us, Ordering::Relaxed);
        self.rtt_var_us.store(facts.rtt_var_us, Ordering::Relaxed);
        self.retransmits.store(facts.retransmits, Ordering::Relaxed);
        self.unacked_bytes.store(facts.unacked_bytes, Ordering::Relaxed);
    }
}

/// Everything that is counted about a session, a stream or a target.
#[derive(Debug, Default)]
pub(crate) struct Counters {
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
    /// Messages and bytes jumped over.
    pub dropped: Drops,
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
    /// Rate of video frames.
    pub rate_frames: FrameRate,
    /// The system's figures of the connection.
    pub tcp: TcpFigures,
    /// Wall clock of the beginning.
    pub started_us: i64,
}

impl Counters {
    /// Counters that begin now.
    pub(crate) fn new(started_us: i64) -> Self {
        Self { started_us, ..Self::default() }
    }

    /// The time of the message that came just now, the shortest way from the last one, over the wrap at 2^32 if that is
    /// shorter; owner only.
    pub(crate) fn time(&self, ts_ms: u32, key_frame: bool) {
        let last = self.last_ts_ms.load(Ordering::Relaxed);
        let step = ts_ms.wrapping_sub(last as u32) as i32;
        let ts_ms = if self.msgs_in.get() == 1 { i64::from(ts_ms) } else { last + i64::from(step) };
        self.last_ts_ms.store(ts_ms, Ordering::Relaxed);
        if key_frame {
            self.key_frame(ts_ms);
        }
    }

    /// The time of the message that was sent last, the shortest way from the one noted before; owner only.
    pub(crate) fn sent_time(&self, ts_ms: u32) {
        let last = self.last_ts_ms.load(Ordering::Relaxed);
        let step = ts_ms.wrapping_sub(last as u32) as i32;
        self.last_ts_ms.store(if last == 0 { ts_ms.into() } else { last + i64::from(step) }, Ordering::Relaxed);
    }

    /// A key frame came. Tracks mostly have theirs at one time, each in a message of its own: these are one.
    fn key_frame(&self, ts_ms: i64) {
        let before = self.last_key_ts_ms.swap(ts_ms, Ordering::Relaxed);
        if ts_ms != before {
            self.key_interval_ms.store(u32::try_from(ts_ms - before).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// One message came in, with a picture of this track if with any; owner only.
    pub(crate) fn message_in(&self, type_id: u8, bytes: u64, picture: Option<u8>, now_us: u64) {
        self.msgs_in.add(1);
        match type_id {
            kind::AUDIO => {
                self.audio_bytes.add(bytes);
                self.rate_audio.add(bytes, now_us);
            }
            kind::VIDEO => {
                self.video_bytes.add(bytes);
                self.rate_video.add(bytes, now_us);
                if let Some(track) = picture {
                    self.rate_frames.add(track, now_us);
                }
            }
            kind::DATA | kind::DATA_AMF3 => self.data_bytes.add(bytes),
            _ => self.unknown_msgs.add(1),
        }
    }

    /// Counts the bytes that the connection in use has received, and those of the connections before; owner only.
    pub(crate) fn received(&self, before: u64, since: u64, now_us: u64) {
        let new = (before + since).saturating_sub(self.bytes_in.get());
        if new > 0 {
            self.bytes_in.add(new);
            self.rate_in.add(new, now_us);
        }
    }

    /// Bytes went out; owner only.
    pub(crate) fn sent(&self, bytes: u64, now_us: u64) {
        self.bytes_out.add(bytes);
        self.rate_out.add(bytes, now_us);
    }
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Messages.
    pub msgs: u64,
    /// Bytes.
    pub bytes: u64,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.msgs += more.msgs;
        self.bytes += more.bytes;
    }
}

/// Counts what was jumped over: the one counter of drops, for a consumer, for a stream, and between relays.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    msgs: Count,
    bytes: Count,
    runs: Count,
}

impl Drops {
    /// Counts; owner only.
    pub(crate) fn add(&self, dropped: Dropped) {
        self.msgs.add(dropped.msgs);
        self.bytes.add(dropped.bytes);
        self.runs.add(dropped.runs);
    }

    /// All that was counted.
    pub(crate) fn get(&self) -> Dropped {
        Dropped { msgs: self.msgs.get(), bytes: self.bytes.get(), runs: self.runs.get() }
    }
}

/// What was jumped over, in one jump or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Messages.
    pub msgs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Jumps.
    pub runs: u64,
}

impl Dropped {
    /// What has been counted since `before`.
    #[must_use]
    pub(crate) fn since(self, before: Self) -> Self {
        let Self { msgs, bytes, runs } = self;
        Self { msgs: msgs - before.msgs, bytes: bytes - before.bytes, runs: runs - before.runs }
    }
}

/// A stream's figures: in as its publisher sends, out as all its consumers get.
#[derive(Debug, Default)]
pub(crate) struct StreamStats {
    incoming: Counters,
    outgoing: Outgoing,
}

/// Counters of all consumers of a stream, written by the relay.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Bytes to players and targets together.
    pub bytes: Count,
    /// Messages.
    pub msgs: Count,
    /// Rate of the bytes.
    pub rate: Rate,
    /// Messages and bytes that consumers jumped over.
    pub dropped: Drops,
}

impl StreamStats {
    /// Figures that begin now.
    pub(in crate::stream) fn new(started_us: i64) -> Self {
        Self { incoming: Counters::new(started_us), outgoing: Outgoing::default() }
    }

    /// Counters of the publisher, written by the thread that publishes; and the largest lag of a consumer.
    pub(crate) fn incoming(&self) -> &Counters {
        &self.incoming
    }

    /// Counters of the consumers.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Counts what went out; by the relay.
    pub(in crate::stream) fn sent(&self, sent: Sent, now_us: u64) {
        if sent != Sent::default() {
            self.outgoing.bytes.add(sent.bytes);
            self.outgoing.msgs.add(sent.msgs);
            self.outgoing.rate.add(sent.bytes, now_us);
        }
    }

    /// Counts what consumers jumped over; by the relay.
    pub(in crate::stream) fn dropped(&self, dropped: Dropped) {
        self.outgoing.dropped.add(dropped);
    }

    /// The lag of the consumer that is furthest behind; by the relay.
    pub(in crate::stream) fn lag(&self, ms: u64) {
        self.incoming.queue_ms.set(ms);
        self.incoming.queue_ms_max.set(self.incoming.queue_ms_max.get().max(ms));
    }
}

/// What one consumer was sent that its [`Counters`] do not know yet. It lies beside what sending touches anyway, while
/// the counters of thousands of consumers are thousands of cache lines: they are written once in a while, not per
/// message.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// All that was ever sent.
    sent: Sent,
    /// The part that the counters have.
    told: Sent,
    at_us: u64,
}

impl Tally {
    /// Notes what was sent. The counters are brought up to date where a rate's step begins, so that each step gets what
    /// belongs to it.
    pub(crate) fn sent(&mut self, sent: Sent, now_us: u64, counters: &Counters) {
        if now_us / STEP_US != self.at_us / STEP_US {
            self.report(counters);
        }
        self.at_us = now_us;
        self.sent += sent;
    }

    /// Brings the counters up to date; the owner calls it a few times a second and at the end.
    pub(crate) fn report(&mut self, counters: &Counters) {
        if self.sent != self.told {
            counters.sent(self.sent.bytes - self.told.bytes, self.at_us);
            counters.msgs_out.add(self.sent.msgs - self.told.msgs);
            self.told = self.sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::conn::Side;
    use crate::net::socket::Socket;
    use crate::net::tcp_info::ASKED;
    use crate::session::{ServerSession, SessionConfig};

    #[test]
    fn the_system_is_asked_once_a_second_at_most_and_rarely_where_nobody_looks() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let session = Box::new(ServerSession::new(&SessionConfig::default(), 0));
        let conn = Conn::new(Socket::adopt(client.into()).unwrap(), Side::Server(session));
        let figures = TcpFigures::default();
        let ask = |from_ms: u64, to_ms: u64, looks: bool| {
            let before = ASKED.get();
            for now_ms in (from_ms..to_ms).step_by(50) {
                figures.looked_at.store(looks, Ordering::Relaxed);
                figures.refresh(&conn, now_ms);
            }
            ASKED.get() - before
        };
        assert_eq!(ask(50, 10_050, true), 10);
        assert_eq!(ask(10_050, 60_050, false), 5);
    }

    #[test]
    fn a_tally_puts_each_byte_into_the_step_it_was_sent_in() {
        let (counters, mut tally) = (Counters::default(), Tally::default());
        tally.sent(Sent { msgs: 3, bytes: 125_000 }, 10_900_000, &counters);
        assert_eq!(counters.bytes_out.get(), 0);
        tally.sent(Sent { msgs: 1, bytes: 1 }, 11_000_000, &counters);
        assert_eq!((counters.bytes_out.get(), counters.msgs_out.get()), (125_000, 3));
        tally.report(&counters);
        assert_eq!((counters.bytes_out.get(), counters.msgs_out.get()), (125_001, 4));
        assert_eq!(counters.rate_out.kbps(11_500_000), 500, "125 kB within two seconds");
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_two_seconds() {
        let rate = Rate::default();
        for step in 0..20 {
            rate.add(62_500, 10_000_000 + step * 500_000 + 100);
        }
        // The last step, from 19.5 s on, is not over yet.
        assert_eq!(rate.kbps(19_900_000), 1000);
        assert_eq!(rate.kbps(20_100_000), 1000);
        assert_eq!(rate.kbps(21_100_000), 500, "two of four steps were silent");
        assert_eq!(rate.kbps(22_100_000), 0, "nothing came for two seconds");
        rate.add(125_000, 60_000_000);
        assert_eq!(rate.kbps(60_400_000), 0, "what came before the silence is forgotten");
        assert_eq!(rate.kbps(60_600_000), 500);
    }

    #[test]
    fn frames_per_second_are_finer_than_whole_frames() {
        let ntsc = FrameRate::default();
        for frame in 0..300 {
            ntsc.add(0, 5_000_000 + frame * 1_001_000_000 / 30_000);
        }
        let milli = ntsc.milli(15_000_000);
        assert!((29_960..=29_980).contains(&milli), "{milli}");
        // A frame every three seconds at the end of it is no stream of 30 frames.
        assert!(ntsc.milli(17_000_000) < 29_000);
        assert_eq!(ntsc.milli(18_000_000), 0);
        assert_eq!(FrameRate::default().milli(1_000_000), 0);
        let slides = FrameRate::default();
        for second in 0..10 {
            slides.add(0, 20_000_000 + second * 1_000_000);
        }
        assert_eq!(slides.milli(29_100_000), 1000);
    }

    #[test]
    fn frames_of_the_lowest_track_count_and_when_it_ends_those_of_the_next() {
        let rate = FrameRate::default();
        for frame in 0..100 {
            let now_us = 5_000_000 + frame * 40_000;
            [3, 1, 2].into_iter().for_each(|track| rate.add(track, now_us + u64::from(track) * 100));
        }
        let milli = rate.milli(9_000_000);
        assert!((24_900..=25_100).contains(&milli), "{milli}");
        for frame in 0..200 {
            let now_us = 9_000_000 + frame * 40_000;
            [2, 3].into_iter().for_each(|track| rate.add(track, now_us));
        }
        let milli = rate.milli(17_000_000);
        assert!((24_900..=25_100).contains(&milli), "{milli}");
    }

    #[test]
    fn a_rate_read_while_it_is_written_stays_sane() {
        let rate = std::sync::Arc::new(Rate::default());
        let writer = std::sync::Arc::clone(&rate);
        let thread = std::thread::spawn(move || {
            for n in 0..200_000 {
                writer.add(1, n * 100);
            }
        });
        while !thread.is_finished() {
            assert!(rate.per_second(20_000_000) <= 200_000);
        }
        thread.join().unwrap();
    }
}
