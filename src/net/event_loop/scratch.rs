//! The buffers into which tasks read. A loop has one only while its tasks have turns. So the many threads that sleep take no
//! memory for that, and the few that run find one whose pages are there, and maybe in the processor's cache.
//!
//! The buffers belong to the process and are lent. There is one for each loop, made with it, up to [`MOST`]: a thread that
//! runs needs no memory, and waits for no other one unless as many threads as that are in their rounds.

use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::{Failure, RRError, Result};
use crate::sync::locked;

/// The length of each; no task reads more at once.
pub(super) const BYTES: usize = 64 * 1024;

/// Most buffers of a process: far more than there are processors, because the system may stop threads in their rounds.
const MOST: usize = 256;

static OF_PROCESS: Pool = Pool::new();

/// Buffers that are lent.
struct Pool {
    state: Mutex<State>,
    is_back: Condvar,
}

struct State {
    /// What no loop has. What came back last is lent first.
    spare: Vec<Buffer>,
    made: usize,
    loops: usize,
    /// The loops that wait for a buffer.
    waiting: usize,
}

/// A loop's right to a buffer.
pub(super) struct Right(&'static Pool);

impl Pool {
    const fn new() -> Self {
        let state = State { spare: Vec::new(), made: 0, loops: 0, waiting: 0 };
        Self { state: Mutex::new(state), is_back: Condvar::new() }
    }

    fn right(&'static self) -> Result<Right> {
        let mut state = locked(&self.state);
        if state.made <= state.loops && state.made < MOST {
            // All that were made have room when they come back.
            let room = state.made + 1 - state.spare.len();
            state.spare.try_reserve(room).map_err(|_| no_memory())?;
            let buffer = Buffer::new()?;
            state.spare.push(buffer);
            state.made += 1;
        }
        state.loops += 1;
        Ok(Right(self))
    }
}

impl Right {
    /// That of a new loop.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(super) fn new() -> Result<Self> {
        OF_PROCESS.right()
    }

    /// A buffer for one round, with whatever its last user has left in it.
    pub(super) fn take(&self) -> Scratch {
        let mut state = locked(&self.0.state);
        let buffer = loop {
            if let Some(buffer) = state.spare.pop() {
                break buffer;
            }
            state.waiting += 1;
            state = self.0.is_back.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        };
        Scratch { buffer: Some(buffer), from: self.0 }
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        locked(&self.0.state).loops -= 1;
    }
}

/// A loop's buffer for one round.
pub(super) struct Scratch {
    /// `None` only while this is being dropped.
    buffer: Option<Buffer>,
    from: &'static Pool,
}

impl Scratch {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map(Buffer::bytes).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut state = locked(&self.from.state);
        state.spare.extend(self.buffer.take());
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.from.is_back.notify_one();
        }
    }
}

/// Memory of whole pages, of which those that were never written take none.
struct Buffer(NonNull<u8>);

// SAFETY: a buffer is the sole owner of its memory, which is plain data.
#[allow(unsafe_code)]
unsafe impl Send for Buffer {}

fn no_memory() -> Failure {
    Failure::ours(RRError::NoMem, "no memory to read into")
}

impl Buffer {
    #[allow(unsafe_code)] // the allocator would write to it, and put something beside it
    fn new() -> Result<Self> {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping; nothing else refers to it.
        let place = unsafe { libc::mmap(null_mut(), BYTES, access, flags, -1, 0) };
        let place = if place == libc::MAP_FAILED { null_mut() } else { place };
        NonNull::new(place.cast()).map(Self).ok_or_else(no_memory)
    }

    #[allow(unsafe_code)] // the memory is no `Vec`
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this length, is zeroed at first, lives as long as `self`, which is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr(), BYTES) }
    }
}

impl Drop for Buffer {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nobody borrows it.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    static POOL: Pool = Pool::new();

    #[test]
    fn as_many_loops_as_there_are_buffers_have_one_each_and_others_wait() {
        const WAIT: usize = 8;
        let rights: Vec<_> = (0..MOST + WAIT).map(|_| POOL.right().unwrap()).collect();
        let mut lent: Vec<_> = rights.iter().take(MOST).map(Right::take).collect();
        lent.iter_mut().zip(1_usize..).for_each(|(scratch, number)| scratch.bytes().fill(number as u8));
        std::thread::scope(|scope| {
            let waits = |right| scope.spawn(move || Right::take(right).bytes()[0]);
            let waiting: Vec<_> = rights.iter().skip(MOST).map(waits).collect();
            while locked(&POOL.state).waiting < WAIT {
                std::thread::yield_now();
            }
            let is_its = |(scratch, number): (&mut Scratch, usize)| scratch.bytes()[BYTES - 1] == number as u8;
            assert!(lent.iter_mut().zip(1_usize..).all(is_its));
            // Two come back before anybody wakes.
            lent.drain(40..42);
            assert!(waiting.into_iter().all(|thread| matches!(thread.join().unwrap(), 41 | 42)));
        });
        drop((lent, rights));
        let state = locked(&POOL.state);
        assert_eq!((state.spare.len(), state.made, state.loops, state.waiting), (MOST, MOST, 0, 0));
    }

    #[test]
    #[allow(unsafe_code)] // std cannot ask which pages are there
    fn a_buffer_takes_no_memory_before_it_is_written() {
        let mut buffer = Buffer::new().unwrap();
        let pages = |buffer: &Buffer| {
            // SAFETY: takes an integer only.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            let mut there = vec![0_u8; BYTES.div_ceil(page)];
            // SAFETY: it reads nothing of the mapping, which has a byte of `there` for each page.
            let status = unsafe { libc::mincore(buffer.0.as_ptr().cast(), BYTES, there.as_mut_ptr()) };
            assert_eq!(status, 0);
            there.iter().filter(|&&page| page & 1 == 1).count()
        };
        assert_eq!(pages(&buffer), 0);
        buffer.bytes()[BYTES / 2] = 1;
        assert_eq!(pages(&buffer), 1);
        assert_eq!(buffer.bytes().iter().filter(|&&byte| byte != 0).count(), 1);
    }
}
