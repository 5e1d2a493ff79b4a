//! A segment of the log: bytes and marks that one writer fills while many readers read, without a lock.
//!
//! This module owns the memory, the publishing of messages, the link to the next segment and the freeing of chains. It
//! does not know chunks, limits of budgets, cursors or joining; only [`buffer`](super::buffer) and the cursor use it.
//!
//! # The rules
//!
//! The bytes and the marks of a segment are plain memory shared by threads. These rules make that sound:
//!
//! 1. **One writer.** Only `SegmentWriter::start` and `SegmentWriter::roll` make a segment, each with exactly one
//!    writer for it; a writer is not `Clone`, and every write needs `&mut SegmentWriter`. Readers hold `Arc<Segment>`,
//!    which can only read.
//! 2. **`published` divides the memory.** It holds `marks << 32 | bytes` and only grows. Bytes below `bytes` and marks
//!    below `marks` are never written again as long as the segment lives; only the writer touches the memory above. So
//!    a reader's `&[u8]` and the writer's `&mut [u8]` never overlap.
//! 3. **One release store publishes a message**, after its bytes and its mark are complete. Readers learn a length from
//!    an acquire load and from nothing else, so everything they see below it happened before.
//! 4. **A segment is sealed by its `next`.** The writer sets `next` after its last publication in this segment and
//!    never publishes there again. A reader that has seen `next` must load `published` once more before it leaves: what
//!    that load gives is final.
//! 5. **All memory is initialised**: it is allocated zeroed, and a mark is valid for every bit pattern.
//! 6. **Freeing is flat.** A segment owns the next one. The drop of a chain is a loop, whoever drops it.
//! 7. **Bytes may outlive their segment.** They are in a `Bytes` of their own, which the segment shares with every
//!    `Tail`: a few published bytes of one message, kept without what follows them. Rule 2 holds as long as either
//!    lives; the charge belongs to the bytes.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::{Failure, RRError, Result};
use crate::stream::memory::budget::Charge;

mod shim;
pub(in crate::stream) use shim::Arc;
use shim::{AtomicBool, AtomicU64, OnceLock, Watch, into_inner};

/// Bits of [`Mark::flags`].
pub(crate) mod flag {
    /// A key frame: decoding can begin here.
    pub(crate) const KEY: u8 = 1;
    /// A sequence header: a decoder's configuration.
    pub(crate) const SEQ: u8 = 2;
    /// Metadata: `onMetaData`, or a codec's own kind of it.
    pub(crate) const META: u8 = 4;
    /// The body begins with `@setDataFrame`.
    pub(crate) const SET_DATA_FRAME: u8 = 8;
    /// The first message of another publisher: all earlier headers are void.
    pub(crate) const NEW_PUBLISHER: u8 = 16;
    /// Metadata that does not end as AMF0 prescribes: players get it repaired.
    pub(crate) const FLAWED: u8 = 32;
    /// Enhanced RTMP's multitrack form: the place of a track is known only with the whole body.
    pub(crate) const MULTITRACK: u8 = 64;
    /// The first message behind an end that consumers are told of: whoever follows the stream from before ends here.
    pub(crate) const AFTER_END: u8 = 128;
}

/// The facts of one message in a segment, in 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Mark {
    /// Monotonic arrival time in microseconds.
    pub arrival_us: u64,
    /// Where its first chunk header begins, in bytes from the segment's first.
    pub start: u32,
    /// Its bytes on the wire, headers included. Never 0.
    pub len: u32,
    /// RTMP timestamp in milliseconds.
    pub ts_ms: u32,
    /// RTMP message type.
    pub type_id: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Track of a multitrack message, else 0.
    pub track: u8,
}

impl Mark {
    /// Where the next message begins, in bytes from the segment's first.
    pub(crate) fn end(&self) -> u32 {
        self.start + self.len
    }

    /// Whether any of these [`flag`] bits is set.
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// How much of a segment can be read: whole messages only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Published {
    /// Marks, that is messages.
    pub marks: u32,
    /// Bytes.
    pub bytes: u32,
}

/// The readers' end of a segment.
pub(in crate::stream) struct Segment {
    /// Absolute position in the log of the first byte.
    base: u64,
    /// Number in the log of the first message.
    first_message: u64,
    bytes: Arc<Bytes>,
    marks: Block<Mark>,
    /// `marks << 32 | bytes`.
    published: AtomicU64,
    /// A message with [`flag::FLAWED`] is, or is about to be, published. Set before that message, and never unset.
    flawed: AtomicBool,
    /// The same for a message with [`flag::AFTER_END`].
    ended: AtomicBool,
    next: OnceLock<Arc<Self>>,
}

/// The memory for a segment's bytes.
struct Bytes {
    block: Block<u8>,
    watch: Watch,
    /// Returns the segment's capacity to the budget when dropped.
    _charge: Option<Charge>,
}

/// The rest of one message, without the log that follows.
pub(in crate::stream) struct Tail {
    bytes: Arc<Bytes>,
    /// The index of the message's mark.
    number: u32,
    mark: Mark,
    /// Where the rest begins. It ends with the message.
    start: u32,
}

impl Tail {
    /// The bytes of the tail.
    pub(in crate::stream) fn bytes(&self) -> &[u8] {
        self.message().get(self.sent()..).unwrap_or_default()
    }

    /// All bytes of the message.
    pub(in crate::stream) fn message(&self) -> &[u8] {
        self.bytes.watch.read(self.number as usize + 1);
        // SAFETY: `Segment::tail` takes only a published mark, whose bytes are published, so the pointer stays in the
        // block.
        let start = unsafe { self.bytes.block.start.add(self.mark.start as usize) };
        // SAFETY: as for `Segment::bytes`; `self` keeps the block alive (rule 7).
        unsafe { slice::from_raw_parts(start.as_ptr(), self.mark.len as usize) }
    }

    /// The message's mark.
    pub(in crate::stream) fn mark(&self) -> Mark {
        self.mark
    }

    /// How many bytes of the message are before the rest.
    pub(in crate::stream) fn sent(&self) -> usize {
        (self.start - self.mark.start) as usize
    }

    /// Takes `bytes` bytes off the front, which were sent.
    pub(in crate::stream) fn advance(&mut self, bytes: usize) {
        let end = self.mark.end();
        let start = u32::try_from(bytes).map_or(end, |bytes| self.start.saturating_add(bytes));
        self.start = start.min(end);
    }

    /// Bytes of memory that the tail keeps alive: its segment's.
    pub(in crate::stream) fn held_bytes(&self) -> usize {
        self.bytes.block.len
    }
}

impl Segment {
    /// Absolute position in the log of the first byte.
    pub(in crate::stream) fn base(&self) -> u64 {
        self.base
    }

    /// Number in the log of the first message.
    pub(in crate::stream) fn first_message(&self) -> u64 {
        self.first_message
    }

    /// How much can be read now.
    pub(in crate::stream) fn published(&self) -> Published {
        let both = self.published.load(Acquire);
        // Truncation is the layout of the word.
        Published { marks: (both >> 32) as u32, bytes: both as u32 }
    }

    /// The published bytes.
    pub(in crate::stream) fn bytes(&self) -> &[u8] {
        let now = self.published();
        self.bytes.watch.read(now.marks as usize);
        // SAFETY: rules 2 and 3: `now.bytes` was published, so these bytes are in the block, are initialised (5) and
        // are not written while the segment lives, which the borrow of `self` keeps it.
        unsafe { slice::from_raw_parts(self.bytes.block.start.as_ptr(), now.bytes as usize) }
    }

    /// The bytes between `start`, a place in the published message of this index, and that message's end.
    pub(in crate::stream) fn tail(&self, mark: u32, start: u32) -> Option<Tail> {
        let (number, mark) = (mark, *self.marks().get(mark as usize)?);
        let within = mark.start <= start && start < mark.end();
        within.then(|| Tail { bytes: Arc::clone(&self.bytes), number, mark, start })
    }

    /// The published marks, in the order of their messages.
    pub(in crate::stream) fn marks(&self) -> &[Mark] {
        let now = self.published();
        self.bytes.watch.read(now.marks as usize);
        // SAFETY: as for `bytes`, with `now.marks` and the block of marks.
        unsafe { slice::from_raw_parts(self.marks.start.as_ptr(), now.marks as usize) }
    }

    /// Whether a message with [`flag::FLAWED`] is among those published. True for every such message that the caller
    /// has seen published; it may become true just before such a message is published.
    pub(in crate::stream) fn has_flawed(&self) -> bool {
        self.flawed.load(Relaxed)
    }

    /// The same for messages with [`flag::AFTER_END`].
    pub(in crate::stream) fn has_end(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The next segment. Once there is one, a *later* result of [`published`](Self::published) is final.
    pub(in crate::stream) fn next(&self) -> Option<&Arc<Self>> {
        self.next.get()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // The compiler's own drop would recurse once for each later segment.
        let mut next = self.next.take();
        while let Some(segment) = next {
            // A segment that still has readers keeps the rest of the chain, which its last reader frees. Any other
            // segment is dropped here, detached from the chain.
            next = into_inner(segment).and_then(|mut last| last.next.take());
        }
    }
}

/// The right to write: exists once for each log.
pub(in crate::stream) struct SegmentWriter {
    segment: Arc<Segment>,
    /// The value of `segment.published`; only this writer stores there.
    done: Published,
}

impl SegmentWriter {
    /// The writer of a new log. Its first segment is empty, so a stream without media costs no memory.
    pub(in crate::stream) fn start() -> Self {
        Self::over(Segment {
            base: 0,
            first_message: 0,
            bytes: Arc::new(Bytes { block: Block::empty(), watch: Watch::table(0), _charge: None }),
            marks: Block::empty(),
            published: AtomicU64::new(0),
            flawed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            next: OnceLock::new(),
        })
    }

    /// Seals the segment and continues with a new one of this size, which keeps `charge` until it is freed.
    ///
    /// # Errors
    /// [`RRError::NoMem`]; the writer stays in the old segment and may continue there.
    pub(in crate::stream) fn roll(&mut self, bytes: u32, marks: u32, charge: Charge) -> Result<()> {
        let bytes =
            Bytes { block: Block::zeroed(bytes as usize)?, watch: Watch::table(marks as usize), _charge: Some(charge) };
        let next = Self::over(Segment {
            base: self.segment.base + u64::from(self.done.bytes),
            first_message: self.segment.first_message + u64::from(self.done.marks),
            bytes: Arc::new(bytes),
            marks: Block::zeroed(marks as usize)?,
            published: AtomicU64::new(0),
            flawed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            next: OnceLock::new(),
        });
        let linked = self.segment.next.set(Arc::clone(&next.segment));
        debug_assert!(linked.is_ok(), "only this writer sets `next`, and leaves the segment then");
        *self = next;
        Ok(())
    }

    /// The unpublished rest of the bytes: the next message is written to its beginning.
    pub(in crate::stream) fn tail(&mut self) -> &mut [u8] {
        let (capacity, done) = (self.segment.bytes.block.len, self.done.bytes as usize);
        // SAFETY: `done` <= capacity by `publish`, so the pointer stays in the block or just after it.
        let start = unsafe { self.segment.bytes.block.start.add(done) };
        // SAFETY: the rest of the block is initialised (rule 5), and by rule 2 no other thread touches it: readers end
        // at `done`, and this is the one writer, exclusively borrowed for as long as the slice lives.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), capacity - done) }
    }

    /// Number of marks that are left in this segment.
    pub(in crate::stream) fn marks_left(&self) -> usize {
        self.segment.marks.len - self.done.marks as usize
    }

    /// Publishes the first `mark.len` bytes of [`tail`](Self::tail) as one message. `mark.start` is filled in here.
    ///
    /// # Panics
    /// If the bytes or the marks do not suffice: the caller has to check both before.
    pub(in crate::stream) fn publish(&mut self, mut mark: Mark) {
        let index = self.done.marks as usize;
        assert!(self.marks_left() > 0, "a message is published only if a mark is left for it");
        assert!(
            mark.len as usize <= self.segment.bytes.block.len - self.done.bytes as usize,
            "a message lies in its segment"
        );
        mark.start = self.done.bytes;
        if mark.has(flag::FLAWED) {
            // The release store below orders this store.
            self.segment.flawed.store(true, Relaxed);
        }
        if mark.has(flag::AFTER_END) {
            self.segment.ended.store(true, Relaxed);
        }
        self.segment.bytes.watch.wrote(index);
        // SAFETY: `index` < marks.len, so the pointer is in the block.
        let slot = unsafe { self.segment.marks.start.add(index) };
        // SAFETY: the slot is not published, so only this writer touches it (rule 2).
        unsafe { slot.write(mark) };
        self.done = Published { marks: self.done.marks + 1, bytes: self.done.bytes + mark.len };
        let both = u64::from(self.done.marks) << 32 | u64::from(self.done.bytes);
        self.segment.published.store(both, Release);
    }

    /// A reader's handle on the segment that is being written.
    pub(in crate::stream) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The published part of the segment that is being written.
    pub(in crate::stream) fn published(&self) -> Published {
        self.done
    }

    fn over(segment: Segment) -> Self {
        Self { segment: Arc::new(segment), done: Published { marks: 0, bytes: 0 } }
    }
}

/// Zeroed memory for `len` values that are valid as zeros and need no drop. It hands out no references.
struct Block<T: Copy> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a block is the sole owner of its memory, and its values are plain data.
unsafe impl<T: Copy + Send> Send for Block<T> {}
// SAFETY: a shared block gives only addresses; the rules above say who may use them.
unsafe impl<T: Copy + Sync> Sync for Block<T> {}

impl<T: Copy> Block<T> {
    fn empty() -> Self {
        Self { start: NonNull::dangling(), len: 0 }
    }

    fn zeroed(len: usize) -> Result<Self> {
        if len == 0 {
            return Ok(Self::empty());
        }
        let no_memory = || Failure::ours(RRError::NoMem, "no memory for a segment of the log");
        let layout = Layout::array::<T>(len).map_err(|_| no_memory())?;
        // SAFETY: the layout is not empty: `len` is not 0, and the two types used here have a size.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start.cast::<T>()).ok_or_else(no_memory)?;
        Ok(Self { start, len })
    }
}

impl<T: Copy> Drop for Block<T> {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        let layout = Layout::array::<T>(self.len).expect("the same layout was made when the block was allocated");
        // SAFETY: `start` came from the global allocator with this layout and is freed once.
        unsafe { dealloc(self.start.as_ptr().cast(), layout) };
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
