//! The queue of events itself: what is given up when it is full, and in which order. Pure: no lock, no fd, no clock.
//!
//! Nothing is given up below the limit. Above it:
//!
//! 1. the oldest log lines go;
//! 2. two events of one object that say the same kind of thing become one, oldest first: the older goes and the newer
//!    stays in its place; a move of state keeps the `prev` of the first (IDLE -> CONNECTING, CONNECTING -> WAITING
//!    become IDLE -> WAITING). The first event of an object (`prev` NONE) and its end (flag LAST) are never folded;
//! 3. when that does not help the queue grows past its limit and is full until it is down to three quarters.
//!
//! How many were given up is told by one [`EventKind::Overflow`] event, which comes before those still waiting.
//!
//! Bound: of a live object at most one event of each kind that folds waits past the limit, plus its start; asks are
//! never given up, but a session has one open question at a time, so its new ask replaces an older one that still
//! waits (that was answered by default). What can grow is thus starts and ends of objects, and while the queue is full the
//! listener lets nobody start anything.

use std::collections::{BTreeMap, HashMap, TryReserveError, VecDeque};

use crate::session::State;
use crate::stream::event::{Event, EventKind, Id, flag};

/// Which events say the same kind of thing of the same object.
type Subject = (EventKind, Id);

/// Place in the order of all events of the queue; counts from 0 and is never used again.
type Seq = u64;

/// Entries that lists of places may hold beyond those in use before they are tidied.
const TIDY_SLACK: usize = 64;

#[derive(Debug)]
struct Queued {
    event: Event,
    subject: Option<Subject>,
    /// The next event of the same subject, if one came while this waited.
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
    /// Events that have a newer one of their subject, in the order in which they got it; may name taken ones.
    foldable: VecDeque<Seq>,
    /// Log lines, oldest first; may name taken ones.
    logs: VecDeque<Seq>,
    /// The waiting ask of each session.
    asks: HashMap<Id, Seq>,
    /// Given up since the last report.
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

    /// Whether [`Queue::take`] would give an event.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost_lines == 0 && self.folded == 0
    }

    /// Events that wait, the report of lost ones not counted.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether giving up did not help: nobody should start anything new.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Puts an event at the end and makes room for it.
    pub(super) fn push(&mut self, event: Event) {
        let seq = self.next_seq;
        self.next_seq += 1;
        // Where an index finds no memory, the event waits without it: it is not folded, or, a log line, given up.
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

    /// Takes the oldest event, or first the report of those that were given up.
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

    /// Room for one more event in every index.
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

    /// A session's new ask makes the one that still waits pointless, and an answer to that one would be taken as
    /// the answer to this.
    fn replace_ask(&mut self, session: Id, seq: Seq) {
        if let Some(older) = self.asks.insert(session, seq)
            && self.waiting.remove(&older).is_some()
        {
            self.folded += 1;
        }
    }

    /// Makes the queue one event shorter, if that can be done without losing what must not be lost.
    fn give_up_one(&mut self) -> bool {
        while let Some(seq) = self.logs.pop_front() {
            if self.waiting.remove(&seq).is_some() {
                self.lost_lines += 1;
                return true;
            }
        }
        while let Some(seq) = self.foldable.pop_front() {
            let Some(older) = self.waiting.remove(&seq) else { continue };
            // The newer one is still there: places are taken in order, and it can only have been folded into a yet
            // newer one after this one was.
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

    /// Removes what the indices know of an event that was taken.
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

    /// Keeps the lists of places as small as what waits.
    fn tidy(&mut self) {
        let most = 2 * self.waiting.len() + TIDY_SLACK;
        for places in [&mut self.logs, &mut self.foldable] {
            if places.len() > most {
                places.retain(|seq| self.waiting.contains_key(seq));
            }
        }
        // After a burst that was taken, its memory goes back.
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

/// What an event can be folded by; `None` for one that stands for itself.
fn subject(event: &Event) -> Option<Subject> {
    let owner = [event.target, event.session, event.stream].into_iter().find(|&id| id != 0).unwrap_or(0);
    let subject = match event.kind {
        kind if event.flags & flag::LAST != 0 || (is_move(kind) && event.prev == State::None) => return None,
        kind @ EventKind::Server => (kind, 0),
        kind @ EventKind::Session => (kind, event.session),
        kind @ EventKind::Target => (kind, event.target),
        kind @ (EventKind::Stream | EventKind::Tracks) => (kind, event.stream),
        // Both tell whether somebody watches; only the last word counts.
        EventKind::Wanted | EventKind::Unwatched => (EventKind::Wanted, event.stream),
        // Its answers about one stream; before there is a stream, to one session.
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
