//! The queue of events: what is folded or dropped when it is full, and in which order. It uses no lock, fd or clock.
//!
//! Nothing is lost below the limit. Above it:
//!
//! 1. the oldest log lines are dropped;
//! 2. two events of one object and subject become one, oldest first: the older is removed and the newer keeps its own
//!    place; a change of state keeps the `prev` of the first (IDLE -> CONNECTING, CONNECTING -> WAITING become IDLE ->
//!    WAITING). The first event of an object (`prev` NONE) and its end (flag LAST) are never folded;
//! 3. when that does not help, the queue grows past its limit and counts as full until it is down to three quarters.
//!
//! One [`EventKind::Overflow`] event reports how many were lost; it comes before the events that still wait.
//!
//! Bound: past the limit a live object has at most one waiting event of each kind that folds, plus its start. Questions
//! are never dropped, but a session has one open question at a time, so its new question replaces an older one that
//! still waits (which was answered by default). Only starts and ends of objects can thus grow, and while the queue is
//! full the listener starts nothing new.

use std::collections::{BTreeMap, HashMap, TryReserveError, VecDeque};

use crate::session::State;
use crate::stream::event::{Event, EventKind, Id, flag};

/// Events with the same subject can be folded: a kind and an object.
type Subject = (EventKind, Id);

/// An event's place in the order of the queue; it counts from 0 and is never reused.
type Seq = u64;

/// How many outdated entries the lists of places may hold before they are cleaned up.
const TIDY_SLACK: usize = 64;

#[derive(Debug)]
struct Queued {
    event: Event,
    subject: Option<Subject>,
    /// The next event of the same subject, if one came while this one waited.
    newer: Option<Seq>,
}

/// Events in order, with the rules of the full queue.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    waiting: BTreeMap<Seq, Queued>,
    next_seq: Seq,
    /// The newest waiting event of each subject.
    newest: HashMap<Subject, Seq>,
    /// Events that have a newer one of their subject, in the order in which they got it; may name events that were
    /// taken.
    foldable: VecDeque<Seq>,
    /// Log lines, oldest first; may name events that were taken.
    logs: VecDeque<Seq>,
    /// The waiting question of each session.
    asks: HashMap<Id, Seq>,
    /// Lost since the last report.
    lost_lines: u64,
    folded: u64,
    full: bool,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            waiting: BTreeMap::new(),
            next_seq: 0,
            newest: HashMap::new(),
            foldable: VecDeque::new(),
            logs: VecDeque::new(),
            asks: HashMap::new(),
            lost_lines: 0,
            folded: 0,
            full: false,
        }
    }

    /// Whether [`Queue::take`] would return an event.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost_lines == 0 && self.folded == 0
    }

    /// Events that wait, the report of lost ones not counted.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the queue is full although it has folded and dropped: nothing new may start.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Puts an event at the end and makes room for it.
    pub(super) fn push(&mut self, event: Event) {
        let seq = self.next_seq;
        self.next_seq += 1;
        // If there is no memory for the indices, the event waits without them: it is never folded or, if it is a log
        // line, dropped.
        let indexed = self.reserve().is_ok();
        match event.kind {
            EventKind::Log if !indexed => {
                self.lost_lines += 1;
                return;
            }
            EventKind::Log => self.logs.push_back(seq),
            EventKind::ConnectAsk | EventKind::PublishAsk | EventKind::PlayAsk if indexed => {
                self.replace_ask(event.session, seq);
            }
            _ => {}
        }
        let subject = subject(&event).filter(|_| indexed);
        if let Some(older) = subject.and_then(|subject| self.newest.insert(subject, seq))
            && let Some(older_event) = self.waiting.get_mut(&older)
        {
            older_event.newer = Some(seq);
            self.foldable.push_back(older);
        }
        self.waiting.insert(seq, Queued { event, subject, newer: None });
        while self.waiting.len() > self.limit {
            if !self.give_up_one() {
                self.full = true;
                break;
            }
        }
        self.tidy();
    }

    /// Takes the report of lost events, if there is one, or else the oldest event.
    pub(super) fn take(&mut self) -> Option<Event> {
        if self.lost_lines + self.folded > 0 {
            return Some(self.report());
        }
        let (seq, queued) = self.waiting.pop_first()?;
        self.forget(seq, &queued);
        if self.waiting.len() <= self.limit / 4 * 3 {
            self.full = false;
        }
        Some(queued.event)
    }

    /// Reserves room for one more event in every index.
    fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.logs.try_reserve(1)?;
        self.foldable.try_reserve(1)?;
        self.newest.try_reserve(1)?;
        self.asks.try_reserve(1)
    }

    fn report(&mut self) -> Event {
        let (lines, folded) = (std::mem::take(&mut self.lost_lines), std::mem::take(&mut self.folded));
        let mut event = Event::new(EventKind::Overflow);
        event.value = i64::try_from(lines + folded).unwrap_or(i64::MAX);
        event.text =
            format!("events are not taken fast enough: {lines} log lines dropped, {folded} events folded").into_bytes();
        event
    }

    /// Removes an older question of this session that still waits: it is pointless, and an answer to it would count as
    /// the answer to the new one.
    fn replace_ask(&mut self, session: Id, seq: Seq) {
        if let Some(older) = self.asks.insert(session, seq)
            && self.waiting.remove(&older).is_some()
        {
            self.folded += 1;
        }
    }

    /// Makes the queue one event shorter, if that is possible without losing an event that must not be lost.
    fn give_up_one(&mut self) -> bool {
        while let Some(seq) = self.logs.pop_front() {
            if self.waiting.remove(&seq).is_some() {
                self.lost_lines += 1;
                return true;
            }
        }
        while let Some(seq) = self.foldable.pop_front() {
            let Some(older) = self.waiting.remove(&seq) else { continue };
            // The newer event still waits: events are taken in order, and it can be folded into a still newer one only
            // after this one was folded.
            if let Some(newer) = older.newer.and_then(|newer| self.waiting.get_mut(&newer))
                && is_move(newer.event.kind)
            {
                newer.event.prev = older.event.prev;
            }
            self.folded += 1;
            return true;
        }
        false
    }

    /// Removes an event that was taken from the indices.
    fn forget(&mut self, seq: Seq, queued: &Queued) {
        if let Some(subject) = queued.subject
            && self.newest.get(&subject) == Some(&seq)
        {
            self.newest.remove(&subject);
        }
        if self.asks.get(&queued.event.session) == Some(&seq) {
            self.asks.remove(&queued.event.session);
        }
        self.tidy();
    }

    /// Keeps the lists of places about as small as the queue.
    fn tidy(&mut self) {
        let most = 2 * self.waiting.len() + TIDY_SLACK;
        for places in [&mut self.logs, &mut self.foldable] {
            if places.len() > most {
                places.retain(|seq| self.waiting.contains_key(seq));
            }
        }
        // Once a burst has been taken, its memory is freed.
        if self.waiting.is_empty() {
            self.logs.clear();
            self.logs.shrink_to(TIDY_SLACK);
            self.foldable.clear();
            self.foldable.shrink_to(TIDY_SLACK);
            self.newest.clear();
            self.newest.shrink_to(TIDY_SLACK);
            self.asks.shrink_to(TIDY_SLACK);
        }
    }
}

/// Whether the event says that an object's state moved.
fn is_move(kind: EventKind) -> bool {
    matches!(kind, EventKind::Server | EventKind::Stream | EventKind::Session | EventKind::Target)
}

/// The subject by which an event is folded; `None` for an event that is never folded.
fn subject(event: &Event) -> Option<Subject> {
    let owner = [event.target, event.session, event.stream].into_iter().find(|&id| id != 0).unwrap_or(0);
    let subject = match event.kind {
        kind if event.flags & flag::LAST != 0 || (is_move(kind) && event.prev == State::None) => return None,
        kind @ (EventKind::Server | EventKind::Upgrade) => (kind, 0),
        kind @ EventKind::Session => (kind, event.session),
        kind @ EventKind::Target => (kind, event.target),
        kind @ (EventKind::Stream | EventKind::Tracks) => (kind, event.stream),
        // Both tell whether somebody watches; only the latest one counts.
        EventKind::Wanted | EventKind::Unwatched => (EventKind::Wanted, event.stream),
        // The subject is the stream or, before there is a stream, the session.
        kind @ EventKind::Next if event.stream != 0 => (kind, event.stream),
        kind @ EventKind::Next => (kind, event.session),
        kind @ (EventKind::Slow | EventKind::Clock | EventKind::Reconnect) => (kind, owner),
        EventKind::ConnectAsk | EventKind::PublishAsk | EventKind::PlayAsk | EventKind::Log | EventKind::Overflow => {
            return None;
        }
    };
    Some(subject)
}

#[cfg(test)]
mod tests;
