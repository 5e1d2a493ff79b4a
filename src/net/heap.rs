//! What the allocator keeps of memory that was given back to it.
//!
//! After a peak the holes between blocks in use can be far larger than those blocks, and glibc gives back only what lies
//! at the end of a heap. The server's control thread knows when there was a peak.

/// Asks the allocator to give the system what it has no use for. It walks the heaps of the whole process, the host's
/// too, so it may take milliseconds; it is for after large peaks. Where the allocator is not glibc's, nothing happens.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // std has no such call
pub fn give_back() {
    // SAFETY: it takes a number and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Asks the allocator to give the system what it has no use for; not known how here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
