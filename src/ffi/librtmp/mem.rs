//! Memory shared with programs: it comes from the C allocator, because programs free memory of the library, and the
//! library frees memory of programs.

use std::ffi::c_char;
use std::ptr;

use super::types::{AVal, RTMP_MAX_HEADER_SIZE};
use crate::proto::chunk_header::CHUNK_SIZE_DEFAULT;

/// Grows (or makes, from NULL) an array to `len` elements; new elements are not initialised. `None`: no memory; then
/// the old array stays.
///
/// # Safety
/// `old` is NULL or from the C allocator.
pub(super) unsafe fn grow<T>(old: *mut T, len: usize) -> Option<*mut T> {
    let bytes = len.checked_mul(size_of::<T>())?;
    // SAFETY: contract of this function.
    let new = unsafe { libc::realloc(old.cast(), bytes) };
    (!new.is_null()).then_some(new.cast())
}

/// Frees memory of the C allocator; does nothing for NULL.
///
/// # Safety
/// `pointer` is NULL or from the C allocator, and not used again.
pub(super) unsafe fn free<T>(pointer: *mut T) {
    // SAFETY: contract of this function.
    unsafe { libc::free(pointer.cast()) };
}

/// Zeroed memory that the library owns, freed on drop.
pub(super) struct Block {
    start: ptr::NonNull<c_char>,
    len: usize,
}

impl Block {
    /// `len` bytes. `None`: no memory.
    pub(super) fn new(len: usize) -> Option<Self> {
        // SAFETY: calloc takes any numbers.
        let start = ptr::NonNull::new(unsafe { libc::calloc(1, len) }.cast())?;
        Some(Self { start, len })
    }

    /// The first byte.
    pub(super) fn start(&self) -> *mut c_char {
        self.start.as_ptr()
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: from `new`, and not used again.
        unsafe { free(self.start.as_ptr()) };
    }
}

/// One zeroed `T`. NULL without memory.
pub(super) fn zeroed<T>() -> *mut T {
    // SAFETY: calloc takes any numbers.
    unsafe { libc::calloc(1, size_of::<T>()) }.cast()
}

/// A zeroed body of `len` bytes with room for a header before it and a zero after it, as `RTMPPacket_Free` frees it.
pub(super) fn body(len: u32) -> Option<*mut c_char> {
    let bytes = len as usize + RTMP_MAX_HEADER_SIZE + 1;
    // SAFETY: calloc takes any numbers.
    let block: *mut c_char = unsafe { libc::calloc(1, bytes) }.cast();
    // SAFETY: the block is longer than the header.
    (!block.is_null()).then(|| unsafe { block.add(RTMP_MAX_HEADER_SIZE) })
}

/// Grows a body to `len` bytes with a zero after them; NULL makes a new one. New bytes are not initialised.
///
/// # Safety
/// `old` is NULL or from [`body`] or this function.
pub(super) unsafe fn grow_body(old: *mut c_char, len: u32) -> Option<*mut c_char> {
    let block = if old.is_null() {
        old
    } else {
        // SAFETY: a body begins so many bytes after its block.
        unsafe { old.sub(RTMP_MAX_HEADER_SIZE) }
    };
    // SAFETY: the block is the allocator's.
    let block = unsafe { grow(block, len as usize + RTMP_MAX_HEADER_SIZE + 1) }?;
    // SAFETY: within the block.
    let body = unsafe { block.add(RTMP_MAX_HEADER_SIZE) };
    // SAFETY: as above: there is room for a zero.
    let end = unsafe { body.add(len as usize) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    Some(body)
}

/// Copies a chunk's payload into its place. The most frequent small size is copied inline.
///
/// # Safety
/// `place` has as many writable bytes, and they lie apart from `chunk`.
#[inline]
pub(super) unsafe fn copy_chunk(chunk: &[u8], place: *mut c_char) {
    const PART: usize = 16;
    const { assert!((CHUNK_SIZE_DEFAULT as usize).is_multiple_of(PART)) };
    let place = place.cast::<[u8; PART]>();
    if chunk.len() == CHUNK_SIZE_DEFAULT as usize {
        for (at, part) in chunk.as_chunks::<PART>().0.iter().enumerate() {
            // SAFETY: contract of this function.
            let place = unsafe { place.add(at) };
            // SAFETY: as above.
            unsafe { place.write_unaligned(*part) };
        }
    } else {
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(chunk.as_ptr(), place.cast(), chunk.len()) };
    }
}

/// Frees a body; does nothing for NULL.
///
/// # Safety
/// `body` is NULL, from this file, or from a program that follows the 18 byte rule; and not used again.
pub(super) unsafe fn free_body(body: *mut c_char) {
    if !body.is_null() {
        // SAFETY: a body begins so many bytes after its block.
        let block = unsafe { body.sub(RTMP_MAX_HEADER_SIZE) };
        // SAFETY: contract of this function.
        unsafe { free(block) };
    }
}

/// A copy of `text` with a zero after it, which `free()` frees. [`AVal::NULL`] without memory.
pub(super) fn copy(text: &[u8]) -> AVal {
    // SAFETY: calloc takes any numbers.
    let block: *mut c_char = unsafe { libc::calloc(1, text.len() + 1) }.cast();
    if block.is_null() {
        return AVal::NULL;
    }
    // SAFETY: the block is new and long enough.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), block.cast(), text.len()) };
    // SAFETY: whoever takes the copy frees it, when nobody uses it any more.
    unsafe { AVal::new(block, i32::try_from(text.len()).unwrap_or(0)) }
}
