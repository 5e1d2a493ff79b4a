//! Memory that the allocator keeps after it was freed, and the check whether there is memory for something new.
//!
//! After a peak the holes between blocks in use can be far larger than those blocks, and glibc gives back only what
//! lies at the end of a heap. The server's control thread knows when there was a peak.

use crate::error::{Failure, RRError, Result};

/// Asks the allocator to give the system what it has no use for. It walks the heaps of the whole process, the host's
/// too, so it may take milliseconds; it is for after large peaks. Where the allocator is not glibc's, nothing happens.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // std has no such call
pub(crate) fn give_back() {
    // SAFETY: it takes a number and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Asks the allocator to give the system what it has no use for; not known how here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

/// Memory that must be left before a peer or a stream is taken in. A small allocation that fails ends the process, and
/// whoever lives needs some now and then: newcomers are refused while there is still this much for them.
const ROOM_BYTES: usize = 16 << 20;

/// Whether there is memory for something new: asks the system for it and gives it back untouched, which takes
/// microseconds and leaves the allocator as it is.
///
/// # Errors
/// [`RRError::NoMem`].
#[allow(unsafe_code)] // std has no such call
pub(crate) fn room() -> Result<()> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of our own, which nobody else knows.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), ROOM_BYTES, access, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(Failure::ours(RRError::NoMem, "the process has no memory left for anything new"));
    }
    // SAFETY: the mapping just made, of this length, which nothing points into.
    unsafe { libc::munmap(place, ROOM_BYTES) };
    Ok(())
}
