//! When workers may be started: so many at a time and a second, and after crashes of a stream's workers only after a
//! pause that grows. Times come as arguments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::{Failure, RRError, Result};
use crate::sync::locked;

/// Most workers that start at one time. A start takes some milliseconds of a processor; more of them at once would delay
/// the media of those that run.
const MAX_STARTING: usize = 8;

/// Most starts in a second, for the same reason.
const MAX_A_SECOND: u32 = 20;

/// When to ask again where too many start at the moment.
const AGAIN_MS: u64 = 20;

/// The pause before the second crash in a row is followed by another worker. The first one is followed at once: somebody
/// may have killed the worker by intent.
const FIRST_PAUSE_MS: u64 = 1_000;

/// The longest pause: an operator who has mended the cause does not wait long.
const MAX_PAUSE_MS: u64 = 60_000;

/// A worker that ran for this long, or a stream that was away for this long, begins a new row of crashes.
const CALM_MS: u64 = 120_000;

/// Most streams whose crashes are remembered. Where there are more, the oldest is forgotten.
const MAX_CRASHED: usize = 4_096;

/// A worker that starts: its place among those of the time, until this value is dropped.
#[derive(Debug)]
pub(super) struct Starting(Arc<Starts>);

impl Drop for Starting {
    fn drop(&mut self) {
        locked(&self.0.state).starting -= 1;
    }
}

/// The starts of one server's workers.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    state: Mutex<State>,
}

/// How many workers of a server have started, crashed and hung so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Those whose start was begun.
    pub started: u64,
    /// Those that ended by themselves or could not be started; those that hung are among them.
    pub crashed: u64,
    /// Those that were killed because they did not answer.
    pub hung: u64,
}

#[derive(Debug, Default)]
struct State {
    counts: WorkerCounts,
    starting: usize,
    /// The second that is counted, by its begin, and the starts in it.
    second_ms: u64,
    in_second: u32,
    /// The streams whose workers have crashed, by name.
    crashed: HashMap<Vec<u8>, Crashes>,
}

/// The crashes in a row of a stream's workers, as another server gets to know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Row {
    pub(super) count: u32,
    /// How long ago the last one was.
    pub(super) ago_ms: u64,
    /// How it ended.
    pub(super) how: String,
}

/// The crashes in a row of a stream's workers.
#[derive(Debug, Default)]
struct Crashes {
    count: u32,
    last_ms: u64,
    /// How the last one ended.
    how: String,
}

impl Crashes {
    /// The end of the pause.
    fn until_ms(&self) -> u64 {
        let doubled = FIRST_PAUSE_MS.checked_shl(self.count.saturating_sub(2)).filter(|_| self.count < 32);
        self.last_ms + if self.count < 2 { 0 } else { doubled.unwrap_or(MAX_PAUSE_MS).min(MAX_PAUSE_MS) }
    }

    fn is_forgotten(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms() + CALM_MS
    }
}

impl Starts {
    /// The counts so far.
    pub(crate) fn counts(&self) -> WorkerCounts {
        locked(&self.state).counts
    }

    /// Whether a worker may start for the stream of this name, or has to wait for the end of a pause.
    ///
    /// # Errors
    /// [`RRError::Again`] with the reason, for the peers that need the worker.
    pub(super) fn may_start(&self, stream: &[u8], now_ms: u64) -> Result<()> {
        let state = locked(&self.state);
        let Some(crashes) = state.crashed.get(stream).filter(|crashes| now_ms < crashes.until_ms()) else {
            return Ok(());
        };
        let wait_s = (crashes.until_ms() - now_ms).div_ceil(1_000);
        let Crashes { count, how, .. } = crashes;
        let text = format!(
            "{count} workers of this stream ended in a row, the last one {how}; the next may start in {wait_s} s"
        );
        Err(Failure::ours(RRError::Again, text))
    }

    /// Takes a place for a start.
    ///
    /// # Errors
    /// After how many ms to ask again, where too many workers start at the moment.
    pub(super) fn start(self: &Arc<Self>, now_ms: u64) -> std::result::Result<Starting, u64> {
        let mut state = locked(&self.state);
        if now_ms >= state.second_ms + 1_000 {
            (state.second_ms, state.in_second) = (now_ms, 0);
        }
        if state.in_second >= MAX_A_SECOND {
            return Err(state.second_ms + 1_000 - now_ms);
        }
        if state.starting >= MAX_STARTING {
            return Err(AGAIN_MS);
        }
        state.starting += 1;
        state.in_second += 1;
        state.counts.started += 1;
        Ok(Starting(Arc::clone(self)))
    }

    /// The crashes in a row of this stream's workers, if they are not forgotten.
    pub(super) fn row(&self, stream: &[u8], now_ms: u64) -> Option<Row> {
        let state = locked(&self.state);
        let Crashes { count, last_ms, how } = state.crashed.get(stream).filter(|of| !of.is_forgotten(now_ms))?;
        Some(Row { count: *count, ago_ms: now_ms.saturating_sub(*last_ms), how: how.clone() })
    }

    /// Goes on with the row of another server, which has left the stream to this one.
    pub(super) fn go_on(&self, stream: &[u8], row: Row, now_ms: u64) {
        let mut state = locked(&self.state);
        if let Some(crashes) = state.crashes(stream, now_ms) {
            let Row { count, ago_ms, how } = row;
            *crashes = Crashes { count, last_ms: now_ms.saturating_sub(ago_ms), how };
        }
    }

    /// Notes that a worker hangs.
    pub(super) fn hung(&self) {
        locked(&self.state).counts.hung += 1;
    }

    /// Notes that a stream's worker has crashed, or could not be started, after it ran for so long; `how` is the reason.
    pub(super) fn crashed(&self, stream: &[u8], how: &str, ran_ms: u64, now_ms: u64) {
        let mut state = locked(&self.state);
        state.counts.crashed += 1;
        let Some(crashes) = state.crashes(stream, now_ms) else { return };
        if ran_ms >= CALM_MS || crashes.is_forgotten(now_ms) {
            crashes.count = 0;
        }
        *crashes = Crashes { count: crashes.count.saturating_add(1), last_ms: now_ms, how: how.to_owned() };
    }
}

impl State {
    /// The entry of this stream. Without memory for it its next worker starts at once.
    fn crashes(&mut self, stream: &[u8], now_ms: u64) -> Option<&mut Crashes> {
        if !self.crashed.contains_key(stream) {
            self.make_room(now_ms);
        }
        if self.crashed.len() >= MAX_CRASHED || self.crashed.try_reserve(1).is_err() {
            return None;
        }
        Some(self.crashed.entry(stream.to_vec()).or_default())
    }

    fn make_room(&mut self, now_ms: u64) {
        if self.crashed.len() < MAX_CRASHED {
            return;
        }
        self.crashed.retain(|_, crashes| !crashes.is_forgotten(now_ms));
        let oldest = self.crashed.iter().min_by_key(|(_, crashes)| crashes.last_ms).map(|(stream, _)| stream.clone());
        if let Some(stream) = oldest.filter(|_| self.crashed.len() >= MAX_CRASHED) {
            self.crashed.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_bounded_at_a_time_and_in_a_second() {
        let starts = Arc::new(Starts::default());
        let mut running: Vec<Starting> = (0..MAX_STARTING).map(|_| starts.start(5_000).unwrap()).collect();
        assert_eq!(starts.start(5_100).unwrap_err(), AGAIN_MS);
        for _ in MAX_STARTING..MAX_A_SECOND as usize {
            running.pop();
            running.push(starts.start(5_200).unwrap());
        }
        running.clear();
        assert_eq!(starts.start(5_400).unwrap_err(), 600);
        assert!(starts.start(6_000).is_ok());
        assert_eq!(starts.counts().started, u64::from(MAX_A_SECOND) + 1);
    }

    #[test]
    fn pauses_grow_with_each_crash_of_a_stream_and_its_own_alone() {
        let starts = Starts::default();
        let mut now_ms = 1_000;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            starts.crashed(b"live/a", "was killed by signal 9 (SIGKILL)", 500, now_ms);
            let begun_ms = now_ms;
            while let Err(failure) = starts.may_start(b"live/a", now_ms) {
                assert!(failure.text.contains("the last one was killed by signal 9 (SIGKILL); the next"), "{failure}");
                now_ms += 500;
            }
            pauses.push(now_ms - begun_ms);
            assert!(starts.may_start(b"live/b", begun_ms).is_ok());
            now_ms += 1_000;
        }
        assert_eq!(pauses, [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        starts.crashed(b"live/a", "exit status 1", CALM_MS, now_ms);
        assert!(starts.may_start(b"live/a", now_ms).is_ok(), "a worker that ran for long ends the row");
        for _ in 0..200 {
            starts.crashed(b"live/c", "exit status 1", 0, now_ms);
        }
        assert!(starts.may_start(b"live/c", now_ms + MAX_PAUSE_MS - 1).is_err());
        let later_ms = now_ms + MAX_PAUSE_MS + CALM_MS;
        starts.crashed(b"live/c", "exit status 1", 0, later_ms);
        assert!(starts.may_start(b"live/c", later_ms).is_ok(), "so does a long time without one");
    }

    #[test]
    fn a_row_of_crashes_goes_on_under_another_server() {
        let (here, there) = (Starts::default(), Starts::default());
        assert_eq!(here.row(b"live/a", 1_000), None);
        (1..4).for_each(|n| here.crashed(b"live/a", "exit status 1", 0, n * 1_000));
        let row = here.row(b"live/a", 3_500).unwrap();
        assert_eq!(row, Row { count: 3, ago_ms: 500, how: "exit status 1".to_owned() });
        // Its clock began later than the last crash.
        there.go_on(b"live/a", row.clone(), 100);
        assert!(there.may_start(b"live/a", 100).is_err());
        there.go_on(b"live/a", row, 100_000);
        assert!(there.may_start(b"live/a", 101_499).is_err() && there.may_start(b"live/a", 101_500).is_ok());
        there.crashed(b"live/a", "exit status 1", 0, 102_000);
        assert_eq!(there.row(b"live/a", 102_000).map(|row| row.count), Some(4));
        assert_eq!(there.counts().crashed, 1, "those of this server");
        let later_ms = 102_000 + MAX_PAUSE_MS + CALM_MS;
        assert_eq!(there.row(b"live/a", later_ms), None, "after a long time it is forgotten");
    }

    #[test]
    fn the_memory_of_crashes_is_bounded() {
        let starts = Starts::default();
        for n in 0..=MAX_CRASHED as u64 {
            starts.crashed(&n.to_be_bytes(), "exit status 1", 0, n);
        }
        let state = locked(&starts.state);
        assert_eq!(state.crashed.len(), MAX_CRASHED);
        assert!(!state.crashed.contains_key(&0_u64.to_be_bytes()[..]), "the oldest is forgotten");
    }
}
