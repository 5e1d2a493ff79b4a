//! What the media memory of a server may come to, counted in bytes of capacity.
//!
//! Whoever holds segments, tails or half-read messages holds a [`Charge`] for them, which gives the bytes back when it
//! is dropped. It does not allocate the memory itself and decides nothing about who has to give way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Failure, RRError, Result};

/// A shared counter with a limit. Clones count into the same one; a [`child`](Self::child) counts by itself and into
/// its parent. Any thread may charge and give back.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    used: AtomicU64,
    limit: u64,
    parent: Option<Budget>,
}

impl Budget {
    /// A budget of its own. `None` counts without a bound.
    pub fn new(limit_bytes: Option<u64>) -> Self {
        let limit = limit_bytes.unwrap_or(u64::MAX);
        Self(Arc::new(Counter { used: AtomicU64::new(0), limit, parent: None }))
    }

    /// A counter without a limit of its own whose bytes count in this one too: a stream's share of its server's.
    pub fn child(&self) -> Self {
        Self(Arc::new(Counter { used: AtomicU64::new(0), limit: u64::MAX, parent: Some(self.clone()) }))
    }

    /// Bytes charged at this moment.
    pub fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// The bound in bytes, if there is one.
    pub fn limit(&self) -> Option<u64> {
        (self.0.limit != u64::MAX).then_some(self.0.limit)
    }

    /// Takes `bytes` from the budget.
    ///
    /// # Errors
    /// [`RRError::Limit`] where they would pass a limit, here or above; nothing is charged then.
    pub fn charge(&self, bytes: u64) -> Result<Charge> {
        self.take(bytes)?;
        Ok(Charge { budget: self.clone(), bytes })
    }

    /// Counts `bytes` in every counter up to the root, or in none.
    fn take(&self, bytes: u64) -> Result<()> {
        let mut counter = Some(self);
        while let Some(Self(now)) = counter {
            let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= now.limit);
            if now.used.fetch_update(Relaxed, Relaxed, fits).is_err() {
                self.give_back(bytes, Some(now));
                return Err(Failure::ours(RRError::Limit, "the memory limit of the server is reached"));
            }
            counter = now.parent.as_ref();
        }
        Ok(())
    }

    /// Takes `bytes` off every counter from here up, ending before `end`.
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

/// Bytes taken from a [`Budget`]; dropping gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Charge {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds `bytes` from now on.
    ///
    /// # Errors
    /// [`RRError::Limit`] where growing would pass a limit; the charge stays as it was.
    pub fn resize(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
        } else {
            self.budget.give_back(self.bytes - bytes, None);
        }
        self.bytes = bytes;
        Ok(())
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
}
