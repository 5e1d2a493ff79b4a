//! How media comes into a stream. [`Ingest`] is the way into the log, the same for sessions, sources and the host: the
//! writer, the clock that corrects timestamps, and the figures and events of messages. Beside it is the accumulate
//! task, which reads publishers.
//!
//! This folder does not know consumers: the relay is only woken after an append, and what the relay asks (the end of
//! the log, the end of the publisher) is answered without a lock.

pub(crate) mod accumulate;
pub(crate) mod clock;
pub(in crate::stream) mod kept;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::config::Metadata;
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net;
use crate::proto::frame::{self, FrameFacts};
use crate::proto::message::{MessageHead, kind};
use crate::proto::metadata;
use crate::stream::event::{Event, EventKind};
use crate::stream::identity::Identity;
use crate::stream::ingest::clock::{Clock, ClockState};
use crate::stream::life::Life;
use crate::stream::log::buffer::{Entry, Head, RRBuffer};
use crate::stream::log::cursor::Cursor;
use crate::stream::log::lineage::{Lineage, LogPlace, Moved};
use crate::stream::log::segment::{Spares, flag};
use crate::stream::memory::budget::Budget;
use crate::stream::stats::StreamStats;
use crate::stream::tracks::{self, Tracks};
use crate::sync::locked;

/// Timestamp jumps are reported at most this often.
const JUMP_REPORT_US: u64 = 1_000_000;

/// No publisher has ended, or another one has begun since.
const NOT_ENDED: u64 = u64::MAX;

/// The end of the last publisher has been told to the stream's consumers.
const END_TAKEN: u64 = u64::MAX - 1;

/// One message of a publisher with its facts, worked out once.
#[derive(Clone, Copy, Debug)]
pub(in crate::stream) struct Incoming<'a> {
    pub(in crate::stream) head: MessageHead,
    pub(in crate::stream) facts: FrameFacts,
    /// The track that the message has a picture of, the lowest of several.
    pub(in crate::stream) picture: Option<u8>,
    pub(in crate::stream) body: &'a [u8],
    /// When it was read, monotonic.
    pub(in crate::stream) now_us: u64,
    /// From when on consumers collect it: when it was read, or before that.
    from_us: u64,
}

impl<'a> Incoming<'a> {
    /// Works out the facts of a message that has just come.
    pub(in crate::stream) fn new(head: MessageHead, body: &'a [u8], now_us: u64) -> Self {
        let facts = frame::facts(head.type_id, body);
        let picture = tracks::of_picture(head.type_id, &facts, body);
        Self { head, facts, picture, body, now_us, from_us: now_us }
    }

    /// Lets consumers collect it from this time on, at which it may have come.
    pub(in crate::stream) fn collected_from(self, from_us: u64) -> Self {
        Self { from_us, ..self }
    }

    /// Whether consumers need the message before they can begin: metadata or a codec's configuration.
    pub(in crate::stream) fn is_header(&self) -> bool {
        self.facts.metadata || self.facts.seq_start || self.facts.side_config
    }
}

/// The way into the log of one stream, and the state of what went in.
#[derive(Debug)]
pub(crate) struct Ingest {
    stream: Arc<Identity>,
    life: Arc<Life>,
    stats: Arc<StreamStats>,
    tracks: Tracks,
    /// The publishing thread holds this lock for each message; apart from that only the creation of the relay's first
    /// cursor takes it.
    writer: Mutex<Writer>,
    /// The log's end, for threads that must not wait for the ingest lock. It may be one message behind the writer.
    position: AtomicU64,
    messages: AtomicU64,
    /// Log position at which the last publisher ended, [`NOT_ENDED`] or [`END_TAKEN`].
    ended_at: AtomicU64,
    /// Until then nothing is appended, because the log moves to another process; written under the writer's lock.
    held_until_us: AtomicU64,
    /// The log of another process that this one goes on from.
    lineage: OnceLock<Lineage>,
}

#[derive(Debug)]
struct Writer {
    buffer: RRBuffer,
    clock: Clock,
}

impl Ingest {
    /// An empty log, charged to `budget`, which shares spare memory with others.
    pub(in crate::stream) fn new(
        stream: Arc<Identity>,
        life: Arc<Life>,
        stats: Arc<StreamStats>,
        budget: Budget,
        spares: Spares,
    ) -> Self {
        let buffer = RRBuffer::with_spares(budget, spares);
        let writer = Mutex::new(Writer { buffer, clock: Clock::new(stream.config().clock) });
        Self {
            stream,
            life,
            stats,
            tracks: Tracks::default(),
            writer,
            position: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            ended_at: AtomicU64::new(NOT_ENDED),
            held_until_us: AtomicU64::new(0),
            lineage: OnceLock::new(),
        }
    }

    /// Appends one message of the publisher to the log and counts it. The caller wakes the relay afterwards.
    ///
    /// # Errors
    /// Those of [`RRBuffer::append`]: [`RRError::Limit`] if there is no room now. Then
    /// nothing has changed, and the same call may be repeated.
    pub(in crate::stream) fn push(&self, message: &Incoming<'_>) -> Result<()> {
        // This comes before the append, because the relay has targets dialled when it sees the message, and the dialler
        // checks the state.
        self.life.flows();
        let Incoming { head, now_us, .. } = *message;
        let mends = message.facts.metadata && self.stream.config().metadata == Metadata::Mended;
        let mut writer = locked(&self.writer);
        // It may have arrived in the hold, and have waited since.
        if self.is_held(now_us) && self.is_held(net::clock::now_us()) {
            return Err(held());
        }
        let stamped = writer.clock.stamp(head.type_id, message.is_header(), head.timestamp_ms, now_us);
        append(&mut writer.buffer, message, stamped.ts_ms, mends, 0)?;
        let end = writer.buffer.head();
        self.position.store(end.position, Ordering::Release);
        self.messages.store(end.messages, Ordering::Release);
        // This runs under the lock, because the host may write from several threads at once.
        self.count(message, stamped.ts_ms);
        if let Some(jump_ms) = stamped.jump_ms {
            self.report_jump(jump_ms, now_us);
        }
        drop(writer);
        if log::log_enabled!(log::Level::Trace) {
            let (name, ts_ms) = (self.stream.masked_name(), stamped.ts_ms);
            log::trace!("{name}: message of type {} at {ts_ms} ms, {} bytes", head.type_id, message.body.len());
        }
        Ok(())
    }

    fn count(&self, message: &Incoming<'_>, ts_ms: u32) {
        let Incoming { head, facts, picture, body, now_us, .. } = message;
        let (counters, bytes) = (self.stats.incoming(), body.len() as u64);
        counters.message_in(head.type_id, bytes, *picture, *now_us);
        counters.bytes_in.add(bytes);
        counters.rate_in.add(bytes, *now_us);
        counters.time(ts_ms, facts.is_key_frame(head.type_id));
        counters.last_media_us.set(*now_us);
        let media = matches!(head.type_id, kind::AUDIO | kind::VIDEO);
        self.tell_tracks_if(media && self.tracks.note(head.type_id, facts, body), *now_us);
    }

    #[cold]
    fn report_jump(&self, jump_ms: i64, now_us: u64) {
        let media = self.stats.incoming().receiving();
        media.clock_jumps.add(1);
        let told = media.clock_told_us.get();
        if told == 0 || now_us.saturating_sub(told) > JUMP_REPORT_US {
            media.clock_told_us.set(now_us);
            log::warn!(target: told::STREAM, "the publisher's time jumped by {jump_ms} ms");
            self.stream.tell(Event { value: jump_ms, ..self.life.event(EventKind::Clock) });
        }
    }

    /// The tracks of the publisher.
    pub(crate) fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// Sends the event for a change of the tracks that was held back, because many were sent just before.
    pub(in crate::stream) fn tell_tracks(&self, now_us: u64) {
        self.tell_tracks_if(false, now_us);
    }

    #[inline]
    fn tell_tracks_if(&self, changed: bool, now_us: u64) {
        if self.tracks.tells(changed, now_us) {
            self.tell_of_tracks();
        }
    }

    #[cold]
    fn tell_of_tracks(&self) {
        let text = self.tracks.text().into_bytes();
        self.stream.tell(Event { text, ..self.life.event(EventKind::Tracks) });
    }

    // ---- begin and end of publishers

    /// Begins a publisher: its first message is marked, and readers forget the previous publisher's headers there.
    pub(in crate::stream) fn begin(&self) {
        let mut writer = locked(&self.writer);
        writer.buffer.new_publisher();
        if self.ended_at.swap(NOT_ENDED, Ordering::AcqRel) == END_TAKEN {
            // No consumer is left that would notice a jump of the time: those who have not heard of the end find it in the
            // log.
            writer.clock.forget();
            writer.buffer.ended();
        }
        writer.clock.begin();
        drop(writer);
        self.tracks.clear();
    }

    /// Notes the publisher's end without a successor: consumers get the rest of the log and are told of the end.
    pub(in crate::stream) fn end(&self) {
        let writer = locked(&self.writer);
        let position = writer.buffer.head().position;
        // An end that was taken stays taken until another publisher begins.
        let _ =
            self.ended_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| (at != END_TAKEN).then_some(position));
    }

    /// Log position at which the last publisher ended; `None` while one sends, and once the end has been taken. The
    /// relay calls it; it takes no lock.
    pub(in crate::stream) fn ended_at(&self) -> Option<u64> {
        Some(self.ended_at.load(Ordering::Acquire)).filter(|&at| at < END_TAKEN)
    }

    /// Notes that the relays tell their consumers of this end, so the next publisher may begin at another time
    /// unnoticed. False if another publisher has begun meanwhile: for the consumers the stream has gone on, and so its time goes
    /// on. Takes no lock.
    pub(in crate::stream) fn take_end(&self, end: u64) -> bool {
        self.ended_at.compare_exchange(end, END_TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    // ---- another process

    /// Appends nothing until then, so that the log does not change while it moves to another process; 0 ends the hold. Returns
    /// until when nothing was to be appended before.
    pub(in crate::stream) fn hold(&self, until_us: u64) -> u64 {
        let _writer = locked(&self.writer);
        self.held_until_us.swap(until_us, Ordering::AcqRel)
    }

    /// Puts the hold until then in the place of this one, if that is there.
    pub(in crate::stream) fn hold_again(&self, this_us: u64, until_us: u64) {
        let _writer = locked(&self.writer);
        let _ = self.held_until_us.compare_exchange(this_us, until_us, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Until when nothing is appended, monotonic us; a time in the past, or 0, if it is.
    pub(in crate::stream) fn held_until_us(&self) -> u64 {
        self.held_until_us.load(Ordering::Acquire)
    }

    /// Whether nothing is appended now.
    pub(in crate::stream) fn is_held(&self, now_us: u64) -> bool {
        now_us < self.held_until_us.load(Ordering::Acquire)
    }

    /// For how long nothing is appended.
    pub(in crate::stream) fn held_ms(&self, now_ms: u64) -> u64 {
        (self.held_until_us.load(Ordering::Acquire) / 1000).saturating_sub(now_ms)
    }

    /// The stream's time, for another process.
    pub(in crate::stream) fn clock_state(&self, now_us: u64) -> ClockState {
        locked(&self.writer).clock.state(now_us)
    }

    /// Goes on from the log of another process: with its time, these headers, and the messages of it that came along,
    /// which stood at `from` there. The log is empty.
    ///
    /// # Errors
    /// Those of [`RRBuffer::append`]; the log is of no use then.
    pub(in crate::stream) fn resume(
        &self,
        from: LogPlace,
        clock: &ClockState,
        headers: &[Moved],
        messages: impl FnOnce(&mut dyn FnMut(&Moved) -> Result<()>) -> Result<()>,
        now_us: u64,
    ) -> Result<()> {
        let mends = self.stream.config().metadata == Metadata::Mended;
        let mut writer = locked(&self.writer);
        writer.clock.resume(clock, now_us);
        writer.buffer.new_publisher();
        let Writer { buffer, .. } = &mut *writer;
        let mut take = |Moved { head, body, flags }: &Moved| {
            let message = Incoming::new(*head, body, now_us);
            self.tracks.note(head.type_id, &message.facts, body);
            append(buffer, &message, head.timestamp_ms, mends, *flags)?;
            Ok(buffer.head().position)
        };
        let mut here = 0;
        for header in headers {
            here = take(header)?;
        }
        messages(&mut |message| take(message).map(drop))?;
        let end = writer.buffer.head();
        self.position.store(end.position, Ordering::Release);
        self.messages.store(end.messages, Ordering::Release);
        let _ = self.lineage.set(Lineage { from, bytes: end.position - here, here });
        Ok(())
    }

    /// Whether the log has all up to this place of another process's log, and nothing behind that.
    pub(in crate::stream) fn ends_at(&self, place: &LogPlace) -> bool {
        self.place_of(place) == Some(self.head().position)
    }

    /// A place in the log of another process that this one goes on from, where it came along.
    pub(in crate::stream) fn place_of(&self, place: &LogPlace) -> Option<u64> {
        self.lineage.get()?.place_of(place)
    }

    // ---- the log's end

    /// The end of the log, for measuring; takes no lock. A reader of the log itself may already see more.
    pub(in crate::stream) fn head(&self) -> Head {
        Head { position: self.position.load(Ordering::Acquire), messages: self.messages.load(Ordering::Acquire) }
    }

    /// A cursor at the end of the log. This takes the ingest lock, so only the start of the relay calls it.
    pub(in crate::stream) fn cursor(&self) -> Cursor {
        locked(&self.writer).buffer.cursor()
    }
}

/// The refusal of a message while nothing is appended.
pub(in crate::stream) fn held() -> Failure {
    Failure::ours(RRError::Limit, "the stream goes on in another process")
}

/// Appends a message: data messages without `@setDataFrame`, everything else unchanged. With `mends`, metadata that
/// does not end as it should is marked for repair. `flags` are added to those that the message itself shows.
fn append(buffer: &mut RRBuffer, message: &Incoming<'_>, ts_ms: u32, mends: bool, flags: u8) -> Result<()> {
    let Incoming { head, facts, body, from_us, .. } = message;
    // What is known to have had it has it no more.
    let is_wrapped = facts.set_data_frame && flags & flag::SET_DATA_FRAME == 0;
    let bare = if is_wrapped { frame::strip_set_data_frame(head.type_id, body) } else { None };
    let flawed = mends && facts.metadata && {
        let start = bare.unwrap_or_else(|| frame::data_start(head.type_id, body));
        metadata::mend(body.get(start..).unwrap_or_default()).is_some()
    };
    let mut flags = flags;
    for (fact, bit) in [
        (facts.key, flag::KEY),
        (facts.seq_start, flag::SEQ),
        (facts.metadata || facts.side_config, flag::META),
        (facts.set_data_frame, flag::SET_DATA_FRAME),
        (flawed, flag::FLAWED),
        (facts.multitrack, flag::MULTITRACK),
    ] {
        if fact {
            flags |= bit;
        }
    }
    let entry = Entry { ts_ms, type_id: head.type_id, flags, track: facts.track, arrival_us: *from_us };
    match bare.and_then(|bare| body.get(bare..)) {
        // An AMF3 data message keeps its leading 0.
        Some(bare) if head.type_id == kind::DATA_AMF3 => {
            buffer.append(&entry, &[body.get(..1).unwrap_or_default(), bare])
        }
        Some(bare) => buffer.append(&entry, &[bare]),
        None => buffer.append(&entry, &[body]),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
