//! Who publishes a stream: claims, standbys, the grace window, the host as a publisher, and the way into the log.
//!
//! A claim is made by the listener's thread and kept in the book; the accumulate thread begins, loses and passes on the
//! feed. All moves of the book are made under its lock, so two who come at once cannot both be the publisher.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::{MAX_STANDBYS, PublisherPolicy};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::proto::flv;
use crate::proto::message::MessageHead;
use crate::session::{Role, State};
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::front::{NEVER, RRStream};
use crate::stream::ingest::append;
use crate::stream::peer::RRSession;
use crate::sync::locked;

/// Timestamp jumps are reported at most this often.
const JUMP_REPORT_US: u64 = 1_000_000;

/// Who feeds the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Publisher {
    Session(Id),
    Host,
}

/// What a publisher that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the publisher; one that was there is replaced.
    Live,
    /// It waits until the one that is there has gone.
    Standby,
}

impl RRStream {
    /// Makes a session the publisher, or one that stands by, as the stream's policy says.
    ///
    /// # Errors
    /// [`RRError::Exists`] where there is one and the policy is to reject, [`RRError::Limit`] with too many standbys,
    /// [`RRError::State`] where the stream is ending.
    pub fn claim(self: &Arc<Self>, record: &Arc<RRSession>) -> Result<Claim> {
        // Before the first byte: the relay's first cursor has to stand where the log begins.
        self.relay_link()?;
        let mut book = locked(&self.book);
        if book.closed {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        let claim = match (&book.publisher, self.config.publisher_policy) {
            (None, _) | (Some(_), PublisherPolicy::Takeover) => Claim::Live,
            (Some(_), PublisherPolicy::Standby) => Claim::Standby,
            (Some(_), PublisherPolicy::Reject) => {
                return Err(Failure::ours(RRError::Exists, "the stream has a publisher already"));
            }
        };
        match claim {
            Claim::Live => {
                record.set_role(Role::Publisher);
                book.publisher = Some(Publisher::Session(record.id));
                book.recovering = false;
                book.from_sess_list.insert(0, Arc::clone(record));
                self.sources.served();
            }
            Claim::Standby if book.standbys() >= MAX_STANDBYS => {
                return Err(Failure::ours(RRError::Limit, "as many publishers as may stand by do so already"));
            }
            Claim::Standby => {
                record.set_role(Role::Standby);
                book.from_sess_list.push(Arc::clone(record));
            }
        }
        drop(book);
        record.set_stream(self.id);
        Ok(claim)
    }

    /// Whoever holds the claim begins to send: headers of the one before are forgotten where its first message stands.
    pub(in crate::stream) fn begin_feed(&self) {
        // One that was meant for the publisher before.
        let _ = self.memory.eviction();
        let mut intake = locked(&self.intake);
        intake.buffer.new_publisher();
        intake.clock.begin();
        // Under the lock: the relay takes an end for one, or it has been none.
        self.ended_at.store(NEVER, Ordering::Release);
        drop(intake);
        self.tracks.clear();
    }

    /// The publisher has gone and nobody follows: consumers get what is there and are told.
    pub(in crate::stream) fn end_feed(&self) {
        let intake = locked(&self.intake);
        self.ended_at.store(intake.buffer.head().position, Ordering::Release);
        drop(intake);
        self.move_if(
            |prev| matches!(prev, State::Connecting | State::InProgress | State::Recovering),
            State::Idle,
            |event| event,
        );
        self.ring_relay();
    }

    /// The relay tells the consumers of this end, so that nobody is left who would notice another clock. False where
    /// another publisher has begun meanwhile: for them the stream has gone on, and its time goes on too.
    pub(in crate::stream) fn take_end(&self, end: u64) -> bool {
        let mut intake = locked(&self.intake);
        let stands = self.ended_at.load(Ordering::Acquire) == end;
        if stands {
            intake.clock.forget();
        }
        stands
    }

    /// A session that published or stood by has gone. With `keep` its place stays open for the grace window; true where
    /// it was the publisher.
    pub(in crate::stream) fn lose(&self, record: &RRSession, keep: bool) -> bool {
        let mut book = locked(&self.book);
        book.from_sess_list.retain(|other| other.id != record.id);
        let was_live = book.publisher == Some(Publisher::Session(record.id));
        if was_live {
            book.publisher = None;
            book.recovering = keep;
        }
        was_live
    }

    /// A session that stood by is the publisher from now on; false where another has come first.
    pub(in crate::stream) fn succeed(&self, record: &Arc<RRSession>) -> bool {
        let mut book = locked(&self.book);
        let free = book.publisher.is_none() && !book.closed;
        if free {
            book.publisher = Some(Publisher::Session(record.id));
            book.recovering = false;
        }
        free
    }

    /// The publisher and one that stands by change places, by the host's wish.
    pub(in crate::stream) fn exchange(&self, from: &RRSession, to: &RRSession) -> bool {
        let mut book = locked(&self.book);
        let held = book.publisher == Some(Publisher::Session(from.id));
        if held {
            book.publisher = Some(Publisher::Session(to.id));
        }
        held
    }

    /// The publisher or standby that was let in has gone before it could begin, or has ended; called by whoever held
    /// it. A source may have its place.
    pub fn release(self: &Arc<Self>, record: &RRSession) {
        if self.lose(record, false) {
            self.end_feed();
        }
        self.call_sources();
        self.check_unused();
    }

    /// The publisher is lost and may be back, or another steps in.
    pub(in crate::stream) fn recovers(&self) {
        self.move_if(|prev| matches!(prev, State::InProgress | State::Idle), State::Recovering, |event| event);
    }

    /// Nobody publishes, and the place is kept.
    pub(in crate::stream) fn is_recovering(&self) -> bool {
        locked(&self.book).recovering
    }

    /// The grace window is over.
    pub(in crate::stream) fn give_up_waiting(self: &Arc<Self>) {
        let waited = std::mem::take(&mut locked(&self.book).recovering);
        if waited {
            self.end_feed();
            self.check_unused();
        }
    }

    /// Wants this standby, a session or a source, live from its next key frame.
    ///
    /// # Errors
    /// [`RRError::NotFound`] where it does not stand by on this stream, [`RRError::State`] while the host publishes.
    pub fn switch(&self, id: Id) -> Result<()> {
        let book = locked(&self.book);
        let by_host = book.publisher == Some(Publisher::Host);
        let publishes =
            |record: &Arc<RRSession>| matches!(record.role(), Role::Publisher | Role::Standby | Role::Source);
        let known = book.from_sess_list.iter().any(|record| record.id == id && publishes(record));
        let accumulate = book.accumulate.clone();
        drop(book);
        if !known {
            return Err(Failure::ours(RRError::NotFound, "that session does not publish to this stream"));
        }
        if by_host {
            let text = "the host publishes this stream: whoever stands by follows when it ends";
            return Err(Failure::ours(RRError::State, text));
        }
        self.switch_to.store(id, Ordering::Release);
        if let Some(link) = accumulate {
            link.wake.wake();
        }
        Ok(())
    }

    /// The publisher the host wants live, once.
    pub(in crate::stream) fn take_switch(&self) -> Option<Id> {
        Some(self.switch_to.swap(0, Ordering::AcqRel)).filter(|&id| id != 0)
    }

    /// Whether somebody publishes.
    pub fn has_publisher(&self) -> bool {
        locked(&self.book).publisher.is_some()
    }

    /// The arguments (`?args`) of the session that publishes; empty where none does or it sent none.
    pub fn publisher_query(&self) -> Vec<u8> {
        let publisher = {
            let book = locked(&self.book);
            book.from_sess_list.iter().find(|record| record.role() == Role::Publisher).cloned()
        };
        publisher.map(|record| record.names().query).unwrap_or_default()
    }

    // ---- the host as a publisher

    /// A message of the host's own. The first makes the host the publisher; `end` makes it go.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a time below 0, [`RRError::Exists`] where a session publishes, [`RRError::State`] where the
    /// stream is ending, or what appending says.
    pub fn write(self: &Arc<Self>, type_id: u8, ts_ms: i64, body: &[u8], end: bool) -> Result<()> {
        let carries = !(end && body.is_empty());
        if carries && ts_ms < 0 {
            return Err(Failure::ours(RRError::Arg, format!("ts_ms is {ts_ms}, below 0")));
        }
        self.claim_for_host(!carries)?;
        if carries {
            // The wire's clock wraps at 2^32 ms; the low bits are it.
            let head = MessageHead { timestamp_ms: ts_ms as u32, type_id, ..MessageHead::default() };
            self.take(&head, body, clock::now_us())?;
            self.rouse();
        }
        if end {
            self.end_host();
            self.check_unused();
        }
        Ok(())
    }

    fn claim_for_host(self: &Arc<Self>, ends: bool) -> Result<()> {
        self.relay_link()?;
        let mut book = locked(&self.book);
        match book.publisher {
            Some(Publisher::Host) => {
                drop(book);
                let Some(failure) = self.memory.eviction() else { return Ok(()) };
                self.end_host();
                self.check_unused();
                return Err(failure);
            }
            Some(Publisher::Session(_)) => {
                return Err(Failure::ours(RRError::Exists, "a session publishes this stream"));
            }
            None if ends => return Ok(()),
            None if book.closed => return Err(Failure::ours(RRError::State, "the stream is ending")),
            None => {}
        }
        book.publisher = Some(Publisher::Host);
        book.recovering = false;
        drop(book);
        self.sources.served();
        self.begin_feed();
        Ok(())
    }

    /// The host publishes no more, if it did. One that stands by follows.
    pub(in crate::stream) fn end_host(&self) {
        let mut book = locked(&self.book);
        if book.publisher != Some(Publisher::Host) {
            return;
        }
        book.publisher = None;
        book.recovering = book.standbys() > 0;
        let follows = book.recovering;
        drop(book);
        if follows {
            self.recovers();
            self.ring_accumulate();
        } else {
            self.end_feed();
        }
        self.call_sources();
    }

    // ---- the way into the log

    /// Appends one message of the publisher's to the log and counts it.
    pub(in crate::stream) fn take(&self, head: &MessageHead, body: &[u8], now_us: u64) -> Result<()> {
        // Before the append: the relay has targets dialled when it sees the message, and the dialler asks for the state.
        if self.state() != State::InProgress {
            self.move_if(
                |prev| matches!(prev, State::Idle | State::Connecting | State::Recovering),
                State::InProgress,
                |event| event,
            );
        }
        let facts = flv::facts(head.type_id, body);
        let header = facts.metadata || facts.seq_start || facts.side_config;
        let mut intake = locked(&self.intake);
        let stamped = intake.clock.stamp(head.type_id, header, head.timestamp_ms, now_us);
        let head = MessageHead { timestamp_ms: stamped.ts_ms, ..*head };
        append::append(self, &mut intake.buffer, &head, &facts, body, now_us)?;
        drop(intake);
        if log::log_enabled!(log::Level::Trace) {
            let (name, ts_ms) = (self.masked_name(), stamped.ts_ms);
            log::trace!("{name}: message of type {} at {ts_ms} ms, {} bytes", head.type_id, body.len());
        }
        if let Some(jump_ms) = stamped.jump_ms {
            self.report_jump(jump_ms, now_us);
        }
        Ok(())
    }

    fn report_jump(&self, jump_ms: i64, now_us: u64) {
        self.stats.incoming().clock_jumps.add(1);
        let told = self.stats.incoming().clock_told_us.get();
        if told == 0 || now_us.saturating_sub(told) > JUMP_REPORT_US {
            self.stats.incoming().clock_told_us.set(now_us);
            log::warn!("the publisher's time jumped by {jump_ms} ms");
            self.upcalls.event(Event { value: jump_ms, ..self.event(EventKind::Clock) });
        }
    }
}
