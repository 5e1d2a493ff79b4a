//! The figures of streams, sessions and targets: counters that one task writes and any thread reads, and rates over
//! the last two seconds.
//!
//! Readers take no lock and make no system call; the values that they read of one object may be from slightly different
//! moments.

mod rate;
mod received;
pub(in crate::stream) mod reported;

use std::ops::AddAssign;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use crate::net::conn::Conn;
use rate::STEP_US;
pub(crate) use rate::{Count, Rate};
pub(crate) use received::ReceivedMedia;

/// How often the system is asked about a connection whose figures are being read.
const SAMPLE_MS: u64 = 1_000;

/// How often the system is asked about a connection whose figures nobody reads: a first reader gets figures of at most
/// this age.
const SAMPLE_UNSEEN_MS: u64 = 10_000;

/// The system's figures of a connection, written by its owner at most once a second.
#[derive(Debug, Default)]
pub(crate) struct TcpFigures {
    /// Round trip time, smoothed.
    pub rtt_us: AtomicU32,
    /// Mean deviation of the round trip time.
    pub rtt_var_us: AtomicU32,
    /// Segments retransmitted so far.
    pub retransmits: AtomicU32,
    /// Bytes sent that the peer has not acknowledged.
    pub unacked_bytes: AtomicU32,
    /// The figures have been read since they were written. A reader that comes every second gets fresh ones; for
    /// figures that nobody reads the system is asked rarely.
    pub looked_at: AtomicBool,
    /// When they were written; 0 means never.
    sampled_ms: Count,
}

impl TcpFigures {
    /// Asks the system, if it is time to; owner only. A value that the system does not have (the round trip of a unix
    /// socket) is taken from the last ping.
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
    /// Messages received.
    pub msgs_in: Count,
    /// Messages sent.
    pub msgs_out: Count,
    /// The media received; made with its first message, since most sessions are players and send none.
    media: OnceLock<Box<ReceivedMedia>>,
    /// Messages and bytes jumped over.
    pub dropped: Drops,
    /// Bytes that wait to be sent.
    pub queue_bytes: Count,
    /// Messages that wait to be sent.
    pub queue_msgs: Count,
    /// Age of the oldest waiting byte.
    pub queue_ms: Count,
    /// The largest such age so far.
    pub queue_ms_max: Count,
    /// Rate in.
    pub rate_in: Rate,
    /// Rate out.
    pub rate_out: Rate,
    /// Timestamp of the newest message, unwrapped.
    pub last_ts_ms: AtomicI64,
    /// When the newest message came or went, monotonic; 0 before the first.
    pub last_media_us: Count,
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

    /// Notes the timestamp of a message that came, unwrapped: the step from the last one goes over the wrap at 2^32 if
    /// that is shorter; owner only.
    pub(crate) fn time(&self, ts_ms: u32, key_frame: bool) {
        let last = self.last_ts_ms.load(Ordering::Relaxed);
        let step = ts_ms.wrapping_sub(last as u32) as i32;
        let ts_ms = if self.msgs_in.get() == 1 { i64::from(ts_ms) } else { last + i64::from(step) };
        self.last_ts_ms.store(ts_ms, Ordering::Relaxed);
        if key_frame {
            self.receiving().key_frame(ts_ms);
        }
    }

    /// Notes the timestamp of the last message sent, unwrapped in the same way; owner only.
    pub(crate) fn sent_time(&self, ts_ms: u32) {
        let last = self.last_ts_ms.load(Ordering::Relaxed);
        let step = ts_ms.wrapping_sub(last as u32) as i32;
        self.last_ts_ms.store(if last == 0 { ts_ms.into() } else { last + i64::from(step) }, Ordering::Relaxed);
    }

    /// Counts one received message, and the picture of this track if it has one; owner only.
    pub(crate) fn message_in(&self, type_id: u8, bytes: u64, picture: Option<u8>, now_us: u64) {
        self.msgs_in.add(1);
        self.receiving().message(type_id, bytes, picture, now_us);
    }

    /// What was counted of received media; `None` if none came.
    pub(crate) fn received_media(&self) -> Option<&ReceivedMedia> {
        self.media.get().map(|media| &**media)
    }

    /// The counters of received media, to count some; owner only.
    pub(crate) fn receiving(&self) -> &ReceivedMedia {
        self.media.get_or_init(Box::default)
    }

    /// Counts the bytes that the connection in use has received, and those of the connections before; owner only.
    pub(crate) fn received(&self, before: u64, since: u64, now_us: u64) {
        let new = (before + since).saturating_sub(self.bytes_in.get());
        if new > 0 {
            self.bytes_in.add(new);
            self.rate_in.add(new, now_us);
        }
    }

    /// Counts bytes that were sent; owner only.
    pub(crate) fn sent(&self, bytes: u64, now_us: u64) {
        self.bytes_out.add(bytes);
        self.rate_out.add(bytes, now_us);
    }
}

/// A number of sent messages and bytes.
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

/// Counts what was jumped over. This is the counter of drops for a consumer, for a stream, and between relays.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    msgs: Count,
    bytes: Count,
    runs: Count,
}

impl Drops {
    /// Adds to the count; owner only.
    pub(crate) fn add(&self, dropped: Dropped) {
        self.msgs.add(dropped.msgs);
        self.bytes.add(dropped.bytes);
        self.runs.add(dropped.runs);
    }

    /// The total.
    pub(crate) fn get(&self) -> Dropped {
        Dropped { msgs: self.msgs.get(), bytes: self.bytes.get(), runs: self.runs.get() }
    }
}

/// Messages and bytes that were jumped over, in one or more jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Messages.
    pub msgs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Jumps.
    pub runs: u64,
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, more: Self) {
        self.msgs += more.msgs;
        self.bytes += more.bytes;
        self.runs += more.runs;
    }
}

impl Dropped {
    /// The difference to an earlier total.
    #[must_use]
    pub(crate) fn since(self, before: Self) -> Self {
        let Self { msgs, bytes, runs } = self;
        Self { msgs: msgs - before.msgs, bytes: bytes - before.bytes, runs: runs - before.runs }
    }
}

/// A stream's figures: incoming from its publisher, outgoing to all its consumers.
#[derive(Debug)]
pub(crate) struct StreamStats {
    incoming: Counters,
    outgoing: Box<[Outgoing]>,
}

/// Counters of all consumers of one relay, which writes them.
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
    /// The lag of the consumer that is furthest behind.
    lag_ms: Count,
}

/// What all consumers of a stream got, of whichever relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentToAll {
    /// Messages and bytes.
    pub sent: Sent,
    /// The rate of the bytes.
    pub kbps: u32,
    /// What consumers jumped over.
    pub dropped: Dropped,
}

impl Outgoing {
    /// Counts what was sent; only the relay calls it.
    pub(in crate::stream) fn sent(&self, sent: Sent, now_us: u64) {
        if sent != Sent::default() {
            self.bytes.add(sent.bytes);
            self.msgs.add(sent.msgs);
            self.rate.add(sent.bytes, now_us);
        }
    }
}

impl StreamStats {
    /// Figures that begin now, of a stream with at most this many relays.
    pub(in crate::stream) fn new(started_us: i64, relays: usize) -> Self {
        let outgoing = (0..relays.max(1)).map(|_| Outgoing::default()).collect();
        Self { incoming: Counters::new(started_us), outgoing }
    }

    /// Counters of the publisher, written by the thread that publishes; and the largest lag of a consumer.
    pub(crate) fn incoming(&self) -> &Counters {
        &self.incoming
    }

    /// Counters of the consumers of the relay with this number.
    pub(in crate::stream) fn outgoing(&self, relay: usize) -> &Outgoing {
        self.outgoing.get(relay).unwrap_or(&self.outgoing[0])
    }

    /// What all consumers got until now.
    pub(crate) fn sent_to_all(&self, now_us: u64) -> SentToAll {
        self.outgoing.iter().fold(SentToAll::default(), |mut all, outgoing| {
            all.sent += Sent { msgs: outgoing.msgs.get(), bytes: outgoing.bytes.get() };
            all.kbps = all.kbps.saturating_add(outgoing.rate.kbps(now_us));
            all.dropped += outgoing.dropped.get();
            all
        })
    }

    /// Sets the lag of the consumer of this relay that is furthest behind. The first relay also sets that of the stream;
    /// only the relays call it.
    pub(in crate::stream) fn lag(&self, relay: usize, ms: u64) {
        self.outgoing(relay).lag_ms.set(ms);
        if relay == 0 {
            let most_ms = self.outgoing.iter().map(|outgoing| outgoing.lag_ms.get()).max().unwrap_or(ms);
            self.incoming.queue_ms.set(most_ms);
            self.incoming.queue_ms_max.set(self.incoming.queue_ms_max.get().max(most_ms));
        }
    }
}

/// Counts what one consumer was sent and its [`Counters`] do not have yet. A tally is in memory that sending touches
/// anyway; the counters of thousands of consumers are thousands of cache lines, so they are updated now and then, not
/// for each message.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sent: Sent,
    /// The end of the rate's step in which that was sent.
    step_end_us: u64,
}

impl Tally {
    /// The end of the rate's step at this time.
    pub(crate) fn step_end_us(now_us: u64) -> u64 {
        (now_us / STEP_US + 1) * STEP_US
    }

    /// Notes what was sent. The counters are updated when a step of the rate begins, so that each step gets its own
    /// bytes.
    pub(crate) fn sent(&mut self, sent: Sent, now_us: u64, counters: &Counters) {
        if now_us >= self.step_end_us {
            self.report(counters);
            self.step_end_us = Self::step_end_us(now_us);
        }
        self.sent += sent;
    }

    /// Updates the counters; the owner calls it a few times a second and at the end.
    pub(crate) fn report(&mut self, counters: &Counters) {
        if self.sent != Sent::default() {
            let Sent { msgs, bytes } = std::mem::take(&mut self.sent);
            counters.sent(bytes, self.step_end_us - 1);
            counters.msgs_out.add(msgs);
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
    fn the_system_is_asked_at_most_once_a_second_and_rarely_if_figures_are_not_read() {
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
}
