//! Spare memory: that of segments which nobody holds any more, kept for the next segments of all streams of a server.
//! Fresh memory costs a fault for each of its pages, which is more than to write a message into it.
//!
//! This file decides what is kept and for how long. Spare memory stays charged to the server, not to a stream. It is at most
//! as much as segments have, so it goes with them, and it is given back when more than half of the server's limit is
//! used. When memory of some size is missing, as much of other sizes is given back, so logs never take more than they have
//! taken at once.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::block::Memory;
use super::shim::{Arc, Mutex, MutexGuard, locked};
use crate::stream::memory::budget::Charge;

/// The sizes that are kept are the powers of two below 2 to the power of this: up to 256 KiB. A larger segment is for one
/// large message.
const SIZES: usize = 19;

/// The spare memory of a server. Clones share it.
#[derive(Clone)]
pub(crate) struct Spares(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    /// Bytes of the segments in use whose memory will be kept.
    used: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    /// By the logarithm of their size. What was given last is taken first, because it may still be in a cache.
    of_size: [Vec<Spare>; SIZES],
    bytes: usize,
}

/// What nobody holds any more.
struct Spare {
    memory: Memory,
    _charge: Charge,
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spares")
    }
}

impl Default for Spares {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::new(Kept::default()), used: AtomicUsize::new(0) }))
    }
}

impl Spares {
    /// Memory of so many bytes, with whatever its last user has left in it, if some is kept.
    pub(super) fn take(&self, bytes: usize) -> Option<Memory> {
        let size = size(bytes)?;
        let mut kept = self.kept();
        let found = kept.of_size.get_mut(size).and_then(Vec::pop);
        let less = kept.bytes.saturating_sub(bytes);
        if found.is_some() {
            kept.bytes = less;
        }
        drop(kept);
        if found.is_none() {
            self.keep(less);
        }
        found.map(|spare| spare.memory)
    }

    /// Notes that a segment has memory of so many bytes.
    pub(super) fn note(&self, bytes: usize) {
        if size(bytes).is_some() {
            self.0.used.fetch_add(bytes, Relaxed);
        }
    }

    /// Keeps the memory of a segment that nobody holds any more, or frees it.
    pub(super) fn give(&self, memory: Memory, charge: Charge) {
        let bytes = memory.bytes();
        let Some(size) = size(bytes) else { return };
        self.0.used.fetch_sub(bytes, Relaxed);
        let charge = charge.of_root();
        if charge.is_tight() {
            drop((memory, charge));
            return self.clear();
        }
        let mut kept = self.kept();
        let Some(list) = kept.of_size.get_mut(size) else { return };
        if list.try_reserve(1).is_err() {
            return;
        }
        list.push(Spare { memory, _charge: charge });
        kept.bytes += bytes;
        // It is read under the lock: the last of several that give at once sees what all have subtracted.
        let used = self.0.used.load(Relaxed);
        let is_over = kept.bytes > used;
        drop(kept);
        if is_over {
            self.keep(used);
        }
    }

    /// Gives all spare memory back.
    pub(crate) fn clear(&self) {
        self.keep(0);
    }

    /// Gives spare memory back until at most so many bytes are left.
    fn keep(&self, most: usize) {
        // The lock is held for each list's end only, because freeing may be a system call.
        loop {
            let spare = self.kept().excess(most);
            if spare.is_none() {
                break;
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        locked(&self.0.kept)
    }
}

impl Kept {
    /// Of the largest memory one that is kept for long, if all together is more than so many bytes.
    fn excess(&mut self, most: usize) -> Option<Spare> {
        if self.bytes <= most {
            return None;
        }
        let largest = self.of_size.iter_mut().rev().find(|list| !list.is_empty())?;
        let spare = largest.swap_remove(0);
        self.bytes -= spare.memory.bytes();
        Some(spare)
    }
}

/// The place of a size in the lists, if memory of that size is kept.
fn size(bytes: usize) -> Option<usize> {
    let size = bytes.checked_ilog2()? as usize;
    (bytes.is_power_of_two() && size < SIZES).then_some(size)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
