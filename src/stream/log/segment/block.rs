//! The memory of a segment, and its watch.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use super::shim::Watch;
use crate::error::{Failure, RRError, Result};

/// Memory for a segment's bytes and marks, with the watch on its messages.
pub(super) struct Memory {
    block: Block,
    watch: Watch,
}

impl Memory {
    pub(super) fn none() -> Self {
        Self { block: Block::empty(), watch: Watch::table(0) }
    }

    /// Zeroed memory of so many bytes, a multiple of 8, with a watch on so many messages.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(super) fn zeroed(bytes: usize, messages: usize) -> Result<Self> {
        Ok(Self { block: Block::zeroed(bytes)?, watch: Watch::table(messages) })
    }

    /// Where it begins, aligned to 8 bytes.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.block.start.cast()
    }

    pub(super) fn bytes(&self) -> usize {
        self.block.words * size_of::<u64>()
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }
}

/// Initialised memory, aligned for marks. It hands out no references.
struct Block {
    start: NonNull<u64>,
    words: usize,
}

// SAFETY: a block is the sole owner of its memory, which is plain data.
unsafe impl Send for Block {}
// SAFETY: a shared block gives only addresses; the rules above say who may use them.
unsafe impl Sync for Block {}

impl Block {
    fn empty() -> Self {
        Self { start: NonNull::dangling(), words: 0 }
    }

    /// Zeroed memory of so many bytes, which are a multiple of 8.
    fn zeroed(bytes: usize) -> Result<Self> {
        let words = bytes / size_of::<u64>();
        if words == 0 {
            return Ok(Self::empty());
        }
        let no_memory = || Failure::ours(RRError::NoMem, "no memory for a segment of the log");
        let layout = Layout::array::<u64>(words).map_err(|_| no_memory())?;
        // SAFETY: the layout is not empty: `words` is not 0.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start.cast::<u64>()).ok_or_else(no_memory)?;
        Ok(Self { start, words })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.words == 0 {
            return;
        }
        let layout = Layout::array::<u64>(self.words).expect("the same layout was made when the block was allocated");
        // SAFETY: `start` came from the global allocator with this layout and is freed once.
        unsafe { dealloc(self.start.as_ptr().cast(), layout) };
    }
}
