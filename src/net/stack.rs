//! A thread's stack. The system leaves it each page that was touched once, also after the calls that went so deep have
//! returned.

use std::mem::MaybeUninit;
use std::ptr::{null_mut, with_exposed_provenance_mut};

/// What stays below the frame of the call that gives pages back: room for the frames of the system call.
const MARGIN_BYTES: usize = 1024;

/// The stack of one thread.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Its lowest address, at a page's begin.
    lowest: usize,
    bytes: usize,
    page: usize,
}

impl Stack {
    /// That of the calling thread; `None` if the system does not tell where it is.
    #[allow(unsafe_code)] // std does not know where a stack is
    pub(crate) fn of_caller() -> Option<Self> {
        // SAFETY: gives the calling thread's id.
        let thread = unsafe { libc::pthread_self() };
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the thread lives, and there is room for the attributes.
        if unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: the call has succeeded, so it has made the attributes.
        let mut attributes: libc::pthread_attr_t = unsafe { attributes.assume_init() };
        let (mut lowest, mut bytes) = (null_mut(), 0);
        // SAFETY: the attributes are made, and there is room for both results.
        let status = unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut lowest, &raw mut bytes) };
        // SAFETY: the attributes are made, and nobody uses them afterwards.
        unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
        // SAFETY: takes an integer only.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        (status == 0 && page.is_power_of_two()).then(|| {
            let (begin, end) = (lowest.addr(), lowest.addr() + bytes);
            let lowest = begin.next_multiple_of(page);
            Self { lowest, bytes: end.saturating_sub(lowest), page }
        })
    }

    /// Gives the pages below the caller's frame back to the system. In another thread than its own it does nothing.
    #[inline(never)]
    #[allow(unsafe_code)] // std has no such call
    pub(crate) fn give_back(&self) {
        let here = 0_u8;
        let here = (&raw const here).addr();
        let end = here.saturating_sub(MARGIN_BYTES) & !(self.page - 1);
        let Some(unused) = end.checked_sub(self.lowest).filter(|&unused| unused < self.bytes) else { return };
        // SAFETY: these pages lie in the stack of the calling thread, below all its frames and below that of this call,
        // because stacks grow down on each machine that this is built for. So nobody has data there.
        unsafe { libc::madvise(with_exposed_provenance_mut(self.lowest), unused, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
impl Stack {
    /// How much of it takes memory.
    #[allow(unsafe_code)] // std cannot ask which pages are there
    pub(crate) fn resident_bytes(&self) -> usize {
        let mut there = vec![0_u8; self.bytes / self.page];
        let bytes = there.len() * self.page;
        // SAFETY: it reads nothing of the range, which has a byte of `there` for each page.
        let status = unsafe { libc::mincore(with_exposed_provenance_mut(self.lowest), bytes, there.as_mut_ptr()) };
        assert_eq!(status, 0);
        there.iter().filter(|&&page| page & 1 == 1).count() * self.page
    }
}

/// Uses so many bytes of the stack.
#[cfg(test)]
#[inline(never)]
pub(crate) fn go_deep(bytes: usize) {
    let frame = std::hint::black_box([1_u8; 4096]);
    if let Some(bytes) = bytes.checked_sub(frame.len()) {
        go_deep(bytes);
    }
    std::hint::black_box(&frame);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    const DEEP_BYTES: usize = 512 * 1024;

    #[test]
    fn what_is_below_the_caller_is_given_back_and_can_be_used_again() {
        let stack = Stack::of_caller().unwrap();
        for _ in 0..3 {
            let kept = std::hint::black_box([7_u8; 10_000]);
            go_deep(DEEP_BYTES);
            assert!(stack.resident_bytes() >= DEEP_BYTES);
            stack.give_back();
            assert!(stack.resident_bytes() < DEEP_BYTES / 2);
            assert_eq!(kept, [7; 10_000]);
        }
    }

    #[test]
    fn another_thread_gives_nothing_back() {
        let stack = Stack::of_caller().unwrap();
        go_deep(DEEP_BYTES);
        std::thread::scope(|scope| scope.spawn(|| stack.give_back()).join().unwrap());
        assert!(stack.resident_bytes() >= DEEP_BYTES);
    }
}
