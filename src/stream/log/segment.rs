//! A segment of the log: bytes and marks that one writer fills while many readers read, without a lock.
//!
//! This module owns the memory, the publishing of messages, the link to the next segment and the freeing of chains;
//! [`spares`] keeps memory for its next use. It does not know chunks, limits of budgets, cursors or joining; only [`buffer`](super::buffer) and the cursor use it.
//!
//! # The rules
//!
//! The bytes and the marks of a segment are plain memory shared by threads. These rules make that sound:
//!
//! 1. **One writer.** Only `SegmentWriter::start` and `SegmentWriter::roll` make a segment, each with exactly one
//!    writer for it; a writer is not `Clone`, and every write needs `&mut SegmentWriter`. Readers hold `Arc<Segment>`,
//!    which can only read.
//! 2. **`published` divides the memory.** It holds `marks << 32 | bytes` and only grows. Bytes below `bytes` and marks
//!    below `marks` are never written again as long as anybody holds them; only the writer touches the memory above. So
//!    a reader's `&[u8]` and the writer's `&mut [u8]` never overlap.
//! 3. **One release store publishes a message**, after its bytes and its mark are complete. Readers learn a length from
//!    an acquire load and from nothing else, so everything they see below it happened before.
//! 4. **A segment is sealed by its `next`.** The writer sets `next` after its last publication in this segment and
//!    never publishes there again. A reader that has seen `next` must load `published` once more before it leaves: what
//!    that load gives is final.
//! 5. **All memory is initialised**: it is allocated zeroed, or has been another segment's, and a mark has no padding and is
//!    valid for every bit pattern.
//! 6. **Freeing is flat.** A segment owns the next one. The drop of a chain is a loop, whoever drops it.
//! 7. **Bytes may outlive their segment.** They are in a `Content` of their own, which the segment shares with every
//!    `Tail`: a few published bytes of one message, kept without what follows them. Rule 2 holds as long as either
//!    lives; the charge belongs to the content.
//! 8. **Only the last holder gives memory on.** The drop of a `Content` moves its memory out, to the spares or back to the
//!    allocator, and the spares' lock orders all that was read of it before whatever its next segment's writer writes.

use std::mem::offset_of;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::Result;
use crate::stream::memory::budget::{Budget, Charge};

mod block;
mod shim;
mod spares;
use block::Memory;
pub(in crate::stream) use shim::Arc;
use shim::{AtomicBool, AtomicU64, OnceLock, into_inner};
pub(crate) use spares::Spares;

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
    /// 0. In place of padding: memory that marks were in may be that of another segment's bytes.
    pub reserved: u8,
}

// The last byte is a field's, and so are those before it: there is no padding.
const _: () = assert!(size_of::<Mark>() == 24 && offset_of!(Mark, reserved) == 23);

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
    content: Arc<Content>,
    /// `marks << 32 | bytes`.
    published: AtomicU64,
    /// A message with [`flag::FLAWED`] is, or is about to be, published. Set before that message, and never unset.
    flawed: AtomicBool,
    /// The same for a message with [`flag::AFTER_END`].
    ended: AtomicBool,
    next: OnceLock<Arc<Self>>,
}

/// The memory of a segment: its bytes, and behind them its marks.
struct Content {
    memory: Memory,
    size: Size,
    /// The whole memory; `None` in the first segment of a log, which has none.
    charge: Option<Charge>,
    spares: Spares,
}

impl Content {
    /// # Errors
    /// `RRError::Limit`, `RRError::NoMem`.
    fn new(size: Size, budget: &Budget, spares: &Spares) -> Result<Self> {
        let bytes = size.memory();
        if budget.is_tight() {
            spares.clear();
        }
        let spare = spares.take(bytes);
        let charge = budget.charge(bytes as u64).or_else(|_| {
            spares.clear();
            budget.charge(bytes as u64)
        })?;
        let memory = match spare {
            Some(memory) => memory,
            None => Memory::zeroed(bytes, size.marks as usize)?,
        };
        spares.note(bytes);
        Ok(Self { memory, size, charge: Some(charge), spares: spares.clone() })
    }

    /// The address of a byte, which is one of the content's.
    fn byte(&self, at: usize) -> NonNull<u8> {
        debug_assert!(at <= self.size.bytes as usize, "an address in the bytes or just after them");
        // SAFETY: the bytes are the beginning of the block, or all of it, so this stays in it or is just after it.
        unsafe { self.memory.start().add(at) }
    }

    /// The address of a mark, which is one of the content's.
    fn mark(&self, at: usize) -> NonNull<Mark> {
        debug_assert!(at <= self.size.marks as usize, "an address in the marks or just after them");
        // SAFETY: the bytes are the beginning of the block.
        let first = unsafe { self.memory.start().add(self.size.bytes as usize) };
        // SAFETY: the marks follow the bytes in the block, and `Size` makes them aligned.
        unsafe { first.cast::<Mark>().add(at) }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::none());
        if let Some(charge) = self.charge.take() {
            self.spares.give(memory, charge);
        }
    }
}

/// What a segment has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Size {
    /// A multiple of 8, because the marks follow the bytes.
    bytes: u32,
    marks: u32,
}

impl Size {
    /// Room for so many marks, and bytes in the rest of `memory` bytes, which are a multiple of 8.
    pub(in crate::stream) fn within(memory: u32, marks: u32) -> Self {
        let of_marks = marks * size_of::<Mark>() as u32;
        debug_assert!(memory.is_multiple_of(8) && of_marks <= memory, "the marks are in the memory, and aligned");
        Self { bytes: memory - of_marks, marks }
    }

    /// Room for so many marks and at least so many bytes.
    pub(in crate::stream) fn of(bytes: u32, marks: u32) -> Self {
        Self { bytes: bytes.next_multiple_of(8), marks }
    }

    /// Marks of a segment.
    #[cfg(all(test, not(loom)))]
    pub(in crate::stream) fn marks(self) -> u32 {
        self.marks
    }

    /// Bytes of a segment.
    pub(in crate::stream) fn bytes(self) -> u32 {
        self.bytes
    }

    /// Bytes of memory for both.
    fn memory(self) -> usize {
        self.bytes as usize + self.marks as usize * size_of::<Mark>()
    }
}

/// The rest of one message, without the log that follows.
pub(in crate::stream) struct Tail {
    content: Arc<Content>,
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
        self.content.memory.watch().read(self.number as usize + 1);
        let start = self.content.byte(self.mark.start as usize);
        // SAFETY: as for `Segment::bytes`, since `Segment::tail` takes only a published mark; `self` keeps the content alive
        // (rule 7).
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
        self.content.memory.bytes()
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
        self.content.memory.watch().read(now.marks as usize);
        // SAFETY: rules 2 and 3: `now.bytes` was published, so these bytes are in the block, are initialised (5) and
        // are not written while the content lives, which the borrow of `self` keeps it.
        unsafe { slice::from_raw_parts(self.content.byte(0).as_ptr(), now.bytes as usize) }
    }

    /// The bytes between `start`, a place in the published message of this index, and that message's end.
    pub(in crate::stream) fn tail(&self, mark: u32, start: u32) -> Option<Tail> {
        let (number, mark) = (mark, *self.marks().get(mark as usize)?);
        let within = mark.start <= start && start < mark.end();
        within.then(|| Tail { content: Arc::clone(&self.content), number, mark, start })
    }

    /// The published marks, in the order of their messages.
    pub(in crate::stream) fn marks(&self) -> &[Mark] {
        let now = self.published();
        self.content.memory.watch().read(now.marks as usize);
        // SAFETY: as for `bytes`, with `now.marks` and the marks of the block.
        unsafe { slice::from_raw_parts(self.content.mark(0).as_ptr(), now.marks as usize) }
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
    pub(in crate::stream) fn start(spares: Spares) -> Self {
        let content = Content { memory: Memory::none(), size: Size::of(0, 0), charge: None, spares };
        Self::over(0, 0, content)
    }

    /// Seals the segment and continues with a new one of this size, whose memory is charged to `budget` until it is freed.
    ///
    /// # Errors
    /// `RRError::Limit` and `RRError::NoMem`; the writer stays in the old segment and may continue there.
    pub(in crate::stream) fn roll(&mut self, size: Size, budget: &Budget) -> Result<()> {
        let content = Content::new(size, budget, &self.segment.content.spares)?;
        let base = self.segment.base + u64::from(self.done.bytes);
        let next = Self::over(base, self.segment.first_message + u64::from(self.done.marks), content);
        let linked = self.segment.next.set(Arc::clone(&next.segment));
        debug_assert!(linked.is_ok(), "only this writer sets `next`, and leaves the segment then");
        *self = next;
        Ok(())
    }

    /// The unpublished rest of the bytes: the next message is written to its beginning.
    pub(in crate::stream) fn tail(&mut self) -> &mut [u8] {
        let (capacity, done) = (self.segment.content.size.bytes as usize, self.done.bytes as usize);
        let start = self.segment.content.byte(done);
        // SAFETY: the rest of the block is initialised (rule 5), and by rule 2 no other thread touches it: readers end
        // at `done`, and this is the one writer, exclusively borrowed for as long as the slice lives.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), capacity - done) }
    }

    /// Number of marks that are left in this segment.
    pub(in crate::stream) fn marks_left(&self) -> usize {
        (self.segment.content.size.marks - self.done.marks) as usize
    }

    /// Publishes the first `mark.len` bytes of [`tail`](Self::tail) as one message. `mark.start` is filled in here.
    ///
    /// # Panics
    /// If the bytes or the marks do not suffice: the caller has to check both before.
    pub(in crate::stream) fn publish(&mut self, mut mark: Mark) {
        let index = self.done.marks as usize;
        assert!(self.marks_left() > 0, "a message is published only if a mark is left for it");
        assert!(mark.len <= self.segment.content.size.bytes - self.done.bytes, "a message lies in its segment");
        mark.start = self.done.bytes;
        if mark.has(flag::FLAWED) {
            // The release store below orders this store.
            self.segment.flawed.store(true, Relaxed);
        }
        if mark.has(flag::AFTER_END) {
            self.segment.ended.store(true, Relaxed);
        }
        self.segment.content.memory.watch().wrote(index);
        let slot = self.segment.content.mark(index);
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

    fn over(base: u64, first_message: u64, content: Content) -> Self {
        let segment = Segment {
            base,
            first_message,
            content: Arc::new(content),
            published: AtomicU64::new(0),
            flawed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            next: OnceLock::new(),
        };
        Self { segment: Arc::new(segment), done: Published { marks: 0, bytes: 0 } }
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
