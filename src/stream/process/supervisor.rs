//! What a stream knows of its worker: whether it may start, and whether it lives. Times come as arguments; any thread may
//! ask.

use std::sync::{Arc, Mutex};

use super::starts::{Row, Starting, Starts};
use super::watchdog::{Due, Watchdog};
use crate::error::Result;
use crate::sync::locked;

/// The supervision of one stream's worker.
#[derive(Debug)]
pub(in crate::stream) struct Supervisor {
    starts: Arc<Starts>,
    /// The stream's name: crashes are remembered by it, because the stream may end with its worker.
    name: Vec<u8>,
    hung_ms: Option<u32>,
    running: Mutex<Option<Running>>,
}

/// A worker that starts or runs.
#[derive(Debug)]
struct Running {
    /// `None` once the worker has greeted.
    starting: Option<Starting>,
    since_ms: u64,
    watchdog: Watchdog,
}

impl Supervisor {
    /// Supervises the worker of the stream of this name; it hangs if it owes an answer for `hung_ms`.
    pub(in crate::stream) fn new(starts: Arc<Starts>, name: Vec<u8>, hung_ms: Option<u32>) -> Self {
        Self { starts, name, hung_ms, running: Mutex::default() }
    }

    /// Whether a worker may be started, or there is one.
    ///
    /// # Errors
    /// [`RRError::Again`](crate::error::RRError::Again) while the pause after crashes is not over, with the reason, for
    /// the peers that need the worker.
    pub(in crate::stream) fn may_start(&self, now_ms: u64) -> Result<()> {
        if locked(&self.running).is_some() {
            return Ok(());
        }
        self.starts.may_start(&self.name, now_ms)
    }

    /// Begins a start: `None`, or after how many ms to ask again, where too many workers of the server start at the
    /// moment.
    pub(in crate::stream) fn starting(&self, now_ms: u64) -> Option<u64> {
        match self.starts.start(now_ms) {
            Ok(starting) => {
                let watchdog = Watchdog::new(self.hung_ms, now_ms);
                *locked(&self.running) = Some(Running { starting: Some(starting), since_ms: now_ms, watchdog });
                None
            }
            Err(wait_ms) => Some(wait_ms),
        }
    }

    /// Notes a worker that another process has started, so long ago, and left to this one.
    pub(in crate::stream) fn adopted(&self, ran_ms: u64, now_ms: u64) {
        let mut watchdog = Watchdog::new(self.hung_ms, now_ms);
        watchdog.greeted();
        let since_ms = now_ms.saturating_sub(ran_ms);
        *locked(&self.running) = Some(Running { starting: None, since_ms, watchdog });
    }

    /// How long the worker has run, and the crashes of those before it in a row.
    pub(super) fn past(&self, now_ms: u64) -> (u64, Option<Row>) {
        let since_ms = locked(&self.running).as_ref().map_or(now_ms, |running| running.since_ms);
        (now_ms.saturating_sub(since_ms), self.starts.row(&self.name, now_ms))
    }

    /// Goes on with the crashes of a stream that another server has left to this one.
    pub(in crate::stream) fn go_on(&self, row: Row, now_ms: u64) {
        self.starts.go_on(&self.name, row, now_ms);
    }

    /// Notes the greeting of the worker.
    pub(in crate::stream) fn began(&self) {
        if let Some(running) = &mut *locked(&self.running) {
            running.starting = None;
            running.watchdog.greeted();
        }
    }

    /// Notes the end of the worker; `crash` says in words how it ended, unless the stream has stopped it. A worker that
    /// could not be started has crashed too.
    pub(in crate::stream) fn ended(&self, crash: Option<&str>, now_ms: u64) {
        let Some(running) = locked(&self.running).take() else { return };
        if let Some(how) = crash {
            self.starts.crashed(&self.name, how, now_ms.saturating_sub(running.since_ms), now_ms);
        }
    }

    /// What is due. It is asked at least every second, from the start of the worker to its end.
    pub(in crate::stream) fn due(&self, now_ms: u64) -> Due {
        let due = locked(&self.running).as_mut().map_or(Due::Nothing, |running| running.watchdog.look(now_ms));
        if due == Due::Hung {
            self.starts.hung();
        }
        due
    }

    /// Takes the answer to a ping. False if it was not asked for: no worker of this library says so.
    #[must_use]
    pub(in crate::stream) fn answered(&self, ping: u64) -> bool {
        locked(&self.running).as_mut().is_some_and(|running| running.watchdog.answer(ping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_hangs_is_found_and_its_stream_has_another_one_after_the_pause() {
        let starts = Arc::<Starts>::default();
        let supervisor = Supervisor::new(Arc::clone(&starts), b"live/a".to_vec(), Some(3_000));
        for (start_ms, pause_ms) in [(1_000, 0), (20_000, 1_000)] {
            assert!(supervisor.may_start(start_ms).is_ok());
            assert_eq!(supervisor.starting(start_ms), None);
            supervisor.began();
            assert_eq!(supervisor.due(start_ms), Due::Ping(1));
            assert!(supervisor.answered(1) && !supervisor.answered(2));
            let looks = (1..).map(|n| (n, supervisor.due(start_ms + n * 1_000)));
            let (hung_s, _) = looks.take(10).find(|(_, due)| *due == Due::Hung).unwrap();
            assert_eq!(hung_s, 4, "3 s after the ping that it owes an answer to");
            assert_ne!(supervisor.due(start_ms + 5_000), Due::Hung, "that is said once");
            let end_ms = start_ms + 5_000;
            assert!(supervisor.may_start(end_ms).is_ok(), "it is still there");
            supervisor.ended(Some("killed by signal 9 (SIGKILL)"), end_ms);
            assert_eq!(supervisor.due(end_ms), Due::Nothing);
            // The stream has ended; another one has its name.
            let supervisor = Supervisor::new(Arc::clone(&starts), b"live/a".to_vec(), Some(3_000));
            assert_eq!(supervisor.may_start(end_ms).is_err(), pause_ms > 0);
            assert!(supervisor.may_start(end_ms + pause_ms).is_ok());
        }
        let counts = starts.counts();
        assert_eq!((counts.started, counts.crashed, counts.hung), (2, 2, 2));
    }

    #[test]
    fn a_worker_that_the_stream_stops_has_not_crashed() {
        let starts = Arc::<Starts>::default();
        let supervisor = Supervisor::new(Arc::clone(&starts), b"live/a".to_vec(), None);
        for now_ms in 1..5 {
            assert_eq!(supervisor.starting(now_ms * 1_000), None);
            supervisor.ended(None, now_ms * 1_000);
        }
        assert!(supervisor.may_start(4_000).is_ok());
        assert_eq!(starts.counts().crashed, 0);
    }
}
