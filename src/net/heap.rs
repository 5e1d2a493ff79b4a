//! Memory that the allocator keeps after it was freed, and the check whether there is memory for something new.
//!
//! After a peak the holes between used blocks can be far larger than the blocks, and glibc gives back only memory at
//! the end of a heap. The server's control thread knows when there was a peak.

use std::alloc::{Layout, alloc_zeroed};

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

/// Memory to read into, all zeros. Pages that nobody writes to take no memory as long as the allocator has fresh ones.
///
/// # Errors
/// [`RRError::NoMem`].
#[allow(unsafe_code)] // std has no zeroed vector that may fail
pub(crate) fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    let failure = || Failure::ours(RRError::NoMem, "no memory to read into");
    if bytes == 0 {
        return Ok(Vec::new());
    }
    let layout = Layout::array::<u8>(bytes).map_err(|_| failure())?;
    // SAFETY: the layout has a size, checked above.
    let place = unsafe { alloc_zeroed(layout) };
    if place.is_null() {
        return Err(failure());
    }
    // SAFETY: the global allocator made the block for so many bytes, all of them are initialised, and nothing else has it.
    Ok(unsafe { Vec::from_raw_parts(place, bytes, bytes) })
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// A buffer far larger than what the allocator keeps from others, so it has fresh pages.
    const LARGE: usize = 64 << 20;

    #[test]
    #[allow(unsafe_code)] // std cannot ask which pages are there
    fn memory_to_read_into_takes_none_before_it_is_written() {
        let mut buffer = zeroed(LARGE).unwrap();
        assert_eq!((buffer.len(), zeroed(0).unwrap().len()), (LARGE, 0));
        buffer[LARGE / 2] = 1;
        // SAFETY: takes an integer only.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let begin = buffer.as_mut_ptr().align_offset(page);
        let pages = (LARGE - begin) / page;
        let mut there = vec![0_u8; pages];
        // SAFETY: the range begins at a page, lies in the buffer, and has a byte of `there` for each page.
        let status = unsafe { libc::mincore(buffer[begin..].as_mut_ptr().cast(), pages * page, there.as_mut_ptr()) };
        assert_eq!(status, 0);
        let there = there.iter().filter(|&&page| page & 1 == 1).count();
        // Where the system has huge pages, a page that is written is one of those: 2 or 32 MiB. ThreadSanitizer's allocator
        // writes all of them.
        assert!((1..=pages / 2 + 1).contains(&there) || cfg!(rr_tsan), "{there} of {pages} pages");
        assert_eq!(buffer.iter().filter(|&&byte| byte != 0).count(), 1);
        assert_eq!(zeroed(usize::MAX / 2).unwrap_err().kind, RRError::NoMem);
    }
}
