//! Streams that are known to be absent at the moment, and the number that identifies this server to pulls.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Mutex;

use crate::stream::StreamName;
use crate::stream::event::Id;
use crate::sync::locked;

/// How long a server's answer "no such stream" is kept: many players that ask at once cause one pull, and a stream that
/// begins is found soon.
pub(super) const ABSENT_MS: u64 = 1_000;

/// Most absent streams that are remembered. More in one second are guesses at names; for each of these the source is
/// asked.
const MAX_ABSENT: usize = 4_096;

/// Streams known to be absent, by path, each with the end of its time.
#[derive(Debug)]
pub(super) struct Absent {
    paths: Mutex<HashMap<Vec<u8>, u64>>,
    /// This server's number among the servers that a pull may run through.
    node: u64,
}

impl Default for Absent {
    fn default() -> Self {
        // The system seeds this: two servers have the same number once in 2^64.
        Self { paths: Mutex::default(), node: RandomState::new().build_hasher().finish() }
    }
}

impl Absent {
    pub(super) fn note(&self, name: &StreamName, now_ms: u64) {
        let mut paths = locked(&self.paths);
        if paths.len() >= MAX_ABSENT {
            paths.retain(|_, until| *until > now_ms);
        }
        // Without memory for the entry the source is asked each time.
        if paths.len() < MAX_ABSENT && paths.try_reserve(1).is_ok() {
            paths.insert(name.path(), now_ms + ABSENT_MS);
        }
    }

    pub(super) fn holds(&self, name: &StreamName, now_ms: u64) -> bool {
        let mut paths = locked(&self.paths);
        let Some(&until) = paths.get(&name.path()) else { return false };
        if until <= now_ms {
            paths.remove(&name.path());
        }
        until > now_ms
    }

    /// A stream of this server in the form of `rrVia`.
    pub(super) fn step(&self, stream: Id) -> String {
        format!("{:016x}.{stream:x}", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_stream_stays_absent_for_a_second_and_the_memory_of_it_is_bounded() {
        let absent = Absent::default();
        let name = |n: usize| StreamName { app: b"live".to_vec(), key: n.to_string().into_bytes() };
        absent.note(&name(0), 5_000);
        assert!(absent.holds(&name(0), 5_999) && !absent.holds(&name(1), 5_000));
        assert!(!absent.holds(&name(0), 6_000));
        for n in 0..MAX_ABSENT + 10 {
            absent.note(&name(n), 7_000);
        }
        assert_eq!(locked(&absent.paths).len(), MAX_ABSENT);
        absent.note(&name(MAX_ABSENT + 10), 8_000);
        assert_eq!(locked(&absent.paths).len(), 1, "what is past makes room");
    }
}
