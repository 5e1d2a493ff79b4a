//! The limit on a server's media memory, counted in bytes of capacity.
//!
//! Owners of segments, tails, half-read messages or TLS connections hold a [`Charge`] for them, which returns the bytes
//! when it is dropped. A budget allocates no memory itself and does not decide who has to free some.
//!
//! The last eighth of a server's memory is kept for streams within their floors, which the memory limit sets to what
//! each stream has needed. So running streams find room when newcomers no longer do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Failure, RRError, Result};

/// A shared counter with a limit. Clones share one counter; a [`child`](Self::child) has its own and also counts into
/// its parent. Any thread may charge and give back.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Counter>);

struct Counter {
    used: AtomicU64,
    limit: u64,
    /// Above this mark memory is short.
    mark: u64,
    /// Above the mark there is room only for children within their floors.
    keeps: bool,
    /// The bytes that a child may use even when memory is short.
    floor: AtomicU64,
    /// The peak since the last query.
    peak: AtomicU64,
    refused: AtomicU64,
    /// The refusals to children within their floors.
    starved: AtomicU64,
    /// Refusals of this budget, here or in a parent, make no other stream give back memory.
    modest: bool,
    parent: Option<Budget>,
    alarm: Option<Alarm>,
}

/// Called, from any thread and with locks of streams held, when memory becomes short or a charge was refused.
pub(crate) type Alarm = Box<dyn Fn() + Send + Sync>;

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counter({} of {})", self.used.load(Relaxed), self.limit)
    }
}

/// Half-read messages and private buffers are counted in steps of this many bytes, so that smaller changes cost
/// nothing.
const STEP_BYTES: u64 = 4096;

impl Budget {
    /// A budget without a parent. `None` counts without a bound.
    #[cfg(any(test, feature = "fuzzing", feature = "rest"))]
    pub(crate) fn new(limit_bytes: Option<u64>) -> Self {
        Self::made(limit_bytes, false, None, None)
    }

    /// A server's budget: the part above seven eighths is for children within their floors, and `alarm` is called when
    /// memory becomes short.
    pub(crate) fn of_server(limit_bytes: Option<u64>, alarm: Alarm) -> Self {
        Self::made(limit_bytes, false, None, Some(alarm))
    }

    fn made(limit: Option<u64>, modest: bool, parent: Option<Self>, alarm: Option<Alarm>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self(Arc::new(Counter {
            used: AtomicU64::new(0),
            limit,
            mark: limit - limit / 8,
            keeps: alarm.is_some(),
            floor: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            starved: AtomicU64::new(0),
            modest,
            parent,
            alarm,
        }))
    }

    /// A counter without a limit of its own whose bytes also count in this one: a stream's share of its server's.
    pub(crate) fn child(&self) -> Self {
        Self::made(None, false, Some(self.clone()), None)
    }

    /// A [`child`](Self::child) for consumers, which can be refused: its refusals count only in its own
    /// [`refused`](Self::refused), so no other stream gives back memory for them.
    pub(crate) fn modest(&self) -> Self {
        Self::made(None, true, Some(self.clone()), None)
    }

    /// A [`modest`](Self::modest) budget limited to a quarter of this one, so that the rest is left to others.
    pub(crate) fn quarter(&self) -> Self {
        Self::made(self.limit().map(|limit| limit / 4), true, Some(self.clone()), None)
    }

    /// Whether nearly all is used, here or in a parent.
    pub(crate) fn is_short(&self) -> bool {
        self.used() >= self.0.mark || self.0.parent.as_ref().is_some_and(Self::is_short)
    }

    /// Whether more than half is used, here or in a parent: other streams may need the rest at any moment.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() > self.0.limit / 2 || self.0.parent.as_ref().is_some_and(Self::is_tight)
    }

    /// Sets how much this child may use even when its server's memory is short.
    pub(crate) fn set_floor(&self, bytes: u64) {
        self.0.floor.store(bytes, Relaxed);
    }

    /// How much this child uses above its floor.
    pub(crate) fn above_floor(&self) -> u64 {
        self.used().saturating_sub(self.0.floor.load(Relaxed))
    }

    /// The bytes that are kept for children within their floors.
    pub(crate) fn kept_for_floors(&self) -> u64 {
        self.0.limit - self.0.mark
    }

    /// How many charges were refused so far, here or in a child.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// How many charges were refused to a child within its floor.
    pub(crate) fn starved(&self) -> u64 {
        self.0.starved.load(Relaxed)
    }

    /// Bytes charged at this moment.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// The highest use since the last call.
    pub(crate) fn take_peak(&self) -> u64 {
        let used = self.used();
        self.0.peak.swap(used, Relaxed).max(used)
    }

    /// The bound in bytes, if there is one.
    pub(crate) fn limit(&self) -> Option<u64> {
        (self.0.limit != u64::MAX).then_some(self.0.limit)
    }

    /// A charge of 0 bytes, for memory that grows and shrinks.
    pub(crate) fn nothing(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    /// Takes `bytes` from the budget.
    ///
    /// # Errors
    /// [`RRError::Limit`] if they would exceed a limit, here or in a parent; then nothing is charged.
    pub(crate) fn charge(&self, bytes: u64) -> Result<Charge> {
        self.take(bytes)?;
        Ok(Charge { budget: self.clone(), bytes })
    }

    /// Takes about `bytes`, as [`Charge::follow`] counts them.
    ///
    /// # Errors
    /// Those of [`charge`](Self::charge).
    pub(crate) fn charge_about(&self, bytes: usize) -> Result<Charge> {
        let mut charge = self.nothing();
        charge.follow(bytes)?;
        Ok(charge)
    }

    /// Counts `bytes` in every counter up to the root, or in none.
    fn take(&self, bytes: u64) -> Result<()> {
        let mut counter = Some(self);
        let mut within_floor = false;
        while let Some(Self(now)) = counter {
            let most = if now.keeps && !within_floor { now.mark } else { now.limit };
            let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= most);
            let Ok(before) = now.used.fetch_update(Relaxed, Relaxed, fits) else {
                self.give_back(bytes, Some(now));
                let whose = if self.0.modest { &self.0 } else { now };
                whose.refused.fetch_add(1, Relaxed);
                whose.starved.fetch_add(within_floor.into(), Relaxed);
                whose.alarm();
                return Err(Failure::ours(RRError::Limit, "the memory limit of the server is reached"));
            };
            now.tell(before, bytes);
            within_floor |= !self.0.modest && before + bytes <= now.floor.load(Relaxed);
            counter = now.parent.as_ref();
        }
        Ok(())
    }

    /// Subtracts `bytes` from every counter from here to the root, ending before `end`.
    fn give_back(&self, bytes: u64, end: Option<&Arc<Counter>>) {
        let mut counter = Some(self);
        while let Some(Self(now)) = counter {
            if end.is_some_and(|end| Arc::ptr_eq(end, now)) {
                return;
            }
            now.used.fetch_sub(bytes, Relaxed);
            counter = now.parent.as_ref();
        }
    }
}

impl Counter {
    /// Notes the peak, and raises the alarm if `bytes` more than `before` pass the mark.
    fn tell(&self, before: u64, bytes: u64) {
        let now = before.saturating_add(bytes);
        // Usually there is no new peak, and then no locked instruction is needed.
        if now > self.peak.load(Relaxed) {
            self.peak.fetch_max(now, Relaxed);
        }
        if before < self.mark && self.mark - before <= bytes {
            self.alarm();
        }
    }

    fn alarm(&self) {
        if let Some(alarm) = &self.alarm {
            alarm();
        }
    }
}

/// Bytes taken from a [`Budget`]; dropping returns them.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Charge {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same bytes, charged to the server and to no stream of it.
    pub(crate) fn of_root(mut self) -> Self {
        let mut root = &self.budget;
        while let Some(parent) = &root.0.parent {
            root = parent;
        }
        let root = root.clone();
        self.budget.give_back(self.bytes, Some(&root.0));
        self.budget = root;
        self
    }

    /// [`Budget::is_tight`] of the budget that is charged.
    pub(crate) fn is_tight(&self) -> bool {
        self.budget.is_tight()
    }

    /// Changes the charge to `bytes`.
    ///
    /// # Errors
    /// [`RRError::Limit`] if growing would exceed a limit; then the charge stays as it was.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
        } else {
            self.budget.give_back(self.bytes - bytes, None);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Changes the charge to about `bytes`, for buffers that grow and shrink all the time. Changes within a step of 4
    /// KiB are not counted.
    ///
    /// # Errors
    /// Those of [`resize`](Self::resize).
    pub(crate) fn follow(&mut self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64 / STEP_BYTES * STEP_BYTES;
        if bytes == self.bytes { Ok(()) } else { self.resize(bytes) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes, None);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_counts_in_its_server_and_gives_back() {
        let server = Budget::new(Some(100));
        let (a, b) = (server.child(), server.child());
        let first = a.charge(60).unwrap();
        assert_eq!(b.charge(41).unwrap_err().kind, RRError::Limit);
        assert_eq!((a.used(), b.used(), server.used()), (60, 0, 60), "a refused charge leaves no trace");
        let second = b.charge(40).unwrap();
        drop(first);
        assert_eq!((server.take_peak(), server.take_peak(), a.take_peak()), (100, 40, 60));
        assert_eq!((a.used(), b.used(), server.used()), (0, 40, 40));
        drop(second);
        assert_eq!(server.used(), 0);
        assert_eq!((server.limit(), a.limit()), (Some(100), None));
    }

    #[test]
    fn a_charge_grows_only_within_the_limit() {
        let budget = Budget::new(Some(10));
        let mut charge = budget.charge(4).unwrap();
        charge.resize(10).unwrap();
        assert!(charge.resize(11).is_err());
        assert_eq!((charge.bytes(), budget.used()), (10, 10));
        charge.resize(1).unwrap();
        assert_eq!(budget.used(), 1);
        assert!(budget.charge(u64::MAX).is_err(), "a sum past 2^64 is past the limit");
    }

    #[test]
    fn a_budget_tells_when_memory_becomes_short_and_when_it_refuses() {
        let alarms = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&alarms);
        let server = Budget::of_server(Some(800), Box::new(move || count.store(count.load(Relaxed) + 1, Relaxed)));
        let stream = server.child();
        let first = stream.charge(699).unwrap();
        assert_eq!((alarms.load(Relaxed), server.is_short()), (0, false));
        let second = stream.charge(1).unwrap();
        assert_eq!((alarms.load(Relaxed), server.is_short()), (1, true), "seven eighths");
        assert!(stream.charge(101).is_err());
        assert_eq!((alarms.load(Relaxed), server.refused()), (2, 1));
        drop((first, second));
        assert!(!server.is_short());
    }

    #[test]
    fn peers_that_neither_publish_nor_play_yet_may_hold_a_quarter() {
        let alarms = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&alarms);
        let server = Budget::of_server(Some(800), Box::new(move || count.store(count.load(Relaxed) + 1, Relaxed)));
        let consumers = server.quarter();
        let consumer = consumers.charge(200).unwrap();
        assert!(consumers.charge(1).is_err());
        assert_eq!((consumers.refused(), server.refused(), server.used()), (1, 0, 200));
        let media = server.child().charge(500).unwrap();
        let before = alarms.load(Relaxed);
        drop(consumer);
        let other = server.child().charge(200).unwrap();
        assert!(consumers.charge(1).is_err(), "nothing is left of the whole");
        assert_eq!((consumers.refused(), server.refused(), server.used(), consumers.used()), (2, 0, 700, 0));
        assert!(alarms.load(Relaxed) <= before + 1, "the alarm is for what is taken, not for them");
        drop((media, other));
        let stream = server.child();
        let player = stream.modest();
        stream.set_floor(800);
        let all = player.charge(700).unwrap();
        assert!(player.charge(1).is_err() && player.is_short(), "the floor is the publisher's");
        assert_eq!((player.refused(), stream.refused(), server.refused(), stream.used()), (1, 0, 0, 700));
        drop(all);
        assert!(Budget::new(None).quarter().charge(1 << 40).is_ok(), "without a limit there is no quarter of it");
    }

    #[test]
    fn memory_that_newcomers_leave_is_for_streams_within_their_floors() {
        let server = Budget::of_server(Some(800), Box::new(|| ()));
        let (old, new) = (server.child(), server.child());
        let lives_on = old.charge(50).unwrap();
        old.set_floor(100);
        let flood = new.charge(650).unwrap();
        assert!(new.charge(1).is_err(), "a newcomer has no more than seven eighths");
        assert_eq!((server.refused(), server.starved(), new.above_floor(), old.above_floor()), (1, 0, 650, 0));
        let next = old.charge(50).unwrap();
        assert!(old.charge(1).is_err(), "nor has one that wants more than it has lived on");
        assert_eq!((server.starved(), server.used(), server.kept_for_floors()), (0, 750, 100));
        old.set_floor(200);
        assert!(old.charge(51).is_err());
        assert_eq!((server.refused(), server.starved()), (3, 1), "floors may be more than there is");
        drop((lives_on, flood, next));
        assert_eq!(server.used(), 0);
    }

    #[test]
    fn buffers_are_followed_in_steps() {
        let server = Budget::new(Some(10_000));
        let mut charge = server.child().nothing();
        charge.follow(4095).unwrap();
        assert_eq!(server.used(), 0);
        charge.follow(9_000).unwrap();
        assert_eq!(server.used(), 8192);
        assert!(charge.follow(20_000).is_err());
        assert_eq!(server.used(), 8192);
        charge.follow(0).unwrap();
        assert_eq!(server.used(), 0);
    }
}
