//! Memory that the allocator keeps after it was freed, and the check whether there is memory for something new.
//!
//! After a peak the holes between used blocks can be far larger than the blocks, and glibc gives back only memory at
//! the end of a heap. The server's control thread knows when there was a peak.

use crate::error::{Failure, RRError, Result};

/// Asks the allocator to return unused memory to the system. The call walks the heaps of the whole process, the host's
/// too, and may take milliseconds, so it is meant for use after large peaks. With another allocator than glibc's it
/// does nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // std has no such call
pub(crate) fn give_back() {
    // SAFETY: it takes a number and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Asks the allocator to return unused memory to the system; does nothing on this platform.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

/// Memory that must be available before a server begins, and before a new peer or stream is accepted. A small allocation that fails ends the
/// process, and running streams allocate now and then, so new ones are refused while this much is still left for them.
const ROOM_BYTES: usize = 16 << 20;

/// Checks that there is memory for something new: maps it and unmaps it untouched, which takes microseconds and does
/// not involve the allocator.
///
/// # Errors
/// [`RRError::NoMem`].
#[allow(unsafe_code)] // std has no such call
pub(crate) fn room() -> Result<()> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new private mapping; nothing else refers to it.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), ROOM_BYTES, access, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(Failure::ours(RRError::NoMem, "too little memory is left for anything new"));
    }
    // SAFETY: the mapping was just made with this length, and nothing points into it.
    unsafe { libc::munmap(place, ROOM_BYTES) };
    Ok(())
}
