//! Pipes in memory for the unit tests, which need no sockets: a session has one end, the test the other.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::io::{self, ErrorKind, IoSliceMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bytes on their way to one side.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    ended: bool,
}

/// Both directions, and the wake-up for threads that wait.
#[derive(Default)]
struct Pipe {
    ways: Mutex<[Way; 2]>,
    moved: Condvar,
}

/// One end of a pipe.
#[derive(Clone)]
pub(in super::super) struct End {
    pipe: Arc<Pipe>,
    side: usize,
}

/// The ends that have a descriptor.
static ENDS: Mutex<BTreeMap<c_int, End>> = Mutex::new(BTreeMap::new());

/// A pipe: a descriptor for its first end, and the second end, whose drop frees the descriptor.
pub(in super::super) fn pipe() -> (c_int, Peer) {
    let pipe = Arc::<Pipe>::default();
    let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    // -1 means no descriptor.
    let fd = ends.keys().next().map_or(-2, |lowest| lowest - 1);
    ends.insert(fd, End { pipe: Arc::clone(&pipe), side: 0 });
    (fd, Peer { fd, end: End { pipe, side: 1 } })
}

/// The end of a descriptor, if it is one in memory.
pub(super) fn end(fd: c_int) -> Option<End> {
    if fd >= -1 {
        return None;
    }
    ENDS.lock().unwrap_or_else(PoisonError::into_inner).get(&fd).cloned()
}

impl End {
    /// Runs `body` with both directions: the one to this end, and the one from it.
    fn with<T>(&self, body: impl FnOnce(&mut Way, &mut Way) -> T) -> T {
        let mut ways = self.pipe.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let [a, b] = &mut *ways;
        let result = if self.side == 0 { body(a, b) } else { body(b, a) };
        drop(ways);
        self.pipe.moved.notify_all();
        result
    }

    pub(super) fn receive(&self, buffer: &mut [u8], peek: bool) -> io::Result<usize> {
        self.with(|here, _| {
            if here.bytes.is_empty() && !here.ended {
                return Err(ErrorKind::WouldBlock.into());
            }
            let len = buffer.len().min(here.bytes.len());
            for (place, byte) in buffer.iter_mut().zip(&here.bytes) {
                *place = *byte;
            }
            if !peek {
                here.bytes.drain(..len);
            }
            Ok(len)
        })
    }

    pub(super) fn receive_parts(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for part in parts {
            match self.receive(part, false) {
                Ok(got) => {
                    done += got;
                    // Bytes that came meanwhile must not go into the next part.
                    if got < part.len() {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|_, there| {
            if there.ended {
                return Err(ErrorKind::BrokenPipe.into());
            }
            there.bytes.extend(bytes);
            Ok(bytes.len())
        })
    }

    pub(super) fn wait(&self, events: i16, timeout_ms: c_int) -> bool {
        // A pipe always has room.
        if events & libc::POLLOUT != 0 {
            return true;
        }
        let ways = self.pipe.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        let nothing = |ways: &mut [Way; 2]| ways[self.side].bytes.is_empty() && !ways[self.side].ended;
        let waited = self.pipe.moved.wait_timeout_while(ways, timeout, nothing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn shut_down(&self) {
        self.with(|here, there| {
            here.ended = true;
            there.ended = true;
        });
    }
}

/// The test's end.
pub(in super::super) struct Peer {
    fd: c_int,
    end: End,
}

impl Peer {
    /// Sends, even where the session has closed its end.
    pub(in super::super) fn say(&self, bytes: &[u8]) {
        let _ = self.end.send(bytes);
    }

    /// Ends this side's direction.
    pub(in super::super) fn hang_up(&self) {
        self.end.with(|_, there| there.ended = true);
    }

    /// Takes all bytes that have come.
    pub(in super::super) fn heard(&self) -> Vec<u8> {
        self.end.with(|here, _| here.bytes.drain(..).collect())
    }

    /// Whether the session has closed its end.
    pub(in super::super) fn is_left(&self) -> bool {
        self.end.with(|here, _| here.ended)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end.shut_down();
        ENDS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.fd);
    }
}
