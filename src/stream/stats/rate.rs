//! Counts, and rates over the last two seconds. One task writes them, any thread reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A rate is counted in steps this long.
pub(super) const STEP_US: u64 = 500_000;

/// Number of whole steps in a rate: the last two seconds.
const STEPS: u64 = 4;

/// The whole steps and the current one.
const PLACES: usize = STEPS as usize + 1;

/// A number that only its owner changes, so the hot path needs no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds; owner only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets; owner only.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads, from any thread.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A rate per second over the last two seconds. One task writes it.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// The number of the current step since the clock began.
    step: Count,
    counts: [Count; PLACES],
}

impl Rate {
    /// Counts `n` at this moment; owner only. True if this is the first count of its step.
    pub(crate) fn add(&self, n: u64, now_us: u64) -> bool {
        let seen = self.step.get();
        // Whoever counts may have read the clock before the last count.
        let step = (now_us / STEP_US).max(seen);
        if step != seen {
            for stale in (seen + 1..=step).rev().take(PLACES) {
                self.place(stale).set(0);
            }
            self.step.set(step);
        }
        let count = self.place(step);
        count.add(n);
        count.get() == n
    }

    /// The sum over the whole steps of the last two seconds.
    fn sum(&self, now_us: u64) -> u64 {
        let (step, seen) = (now_us / STEP_US, self.step.get());
        // Steps after the last count are empty; places of steps long before it have been reused.
        let whole = step.saturating_sub(STEPS)..step;
        whole.filter(|&at| at <= seen && at + STEPS >= seen).map(|at| self.place(at).get()).sum()
    }

    fn place(&self, step: u64) -> &Count {
        &self.counts[(step % PLACES as u64) as usize]
    }

    /// The mean of the last two seconds.
    pub(crate) fn per_second(&self, now_us: u64) -> u64 {
        self.sum(now_us).saturating_mul(1_000_000) / (STEPS * STEP_US)
    }

    /// The mean of the last two seconds in kbit/s, if bytes are counted.
    pub(crate) fn kbps(&self, now_us: u64) -> u32 {
        u32::try_from(self.per_second(now_us).saturating_mul(8) / 1000).unwrap_or(u32::MAX)
    }
}

/// Frames per second of the lowest track, because one picture may come in several sizes. Whole frames in two seconds
/// would have a resolution of half a frame, so the rate is taken over the time between the first frames of two steps
/// instead of the length of the steps.
#[derive(Debug, Default)]
pub(crate) struct FrameRate {
    frames: Rate,
    /// The track whose frames are counted.
    track: Count,
    /// When the first frame of a step came.
    first_us: [Count; PLACES],
    /// The rate that another process has measured, and when it said so.
    reported: [Count; 2],
}

impl FrameRate {
    /// Counts a frame of this track; owner only. A higher track counts only once the lower ones have been silent for so
    /// long that there is no rate.
    pub(crate) fn add(&self, track: u8, now_us: u64) {
        let silent = now_us / STEP_US > self.frames.step.get() + STEPS;
        if u64::from(track) > self.track.get() && !silent {
            return;
        }
        self.track.set(track.into());
        if self.frames.add(1, now_us) {
            self.first(now_us / STEP_US).set(now_us);
        }
    }

    fn first(&self, step: u64) -> &Count {
        &self.first_us[(step % PLACES as u64) as usize]
    }

    /// Takes over what another process has measured.
    pub(super) fn report(&self, milli: u32, now_us: u64) {
        let [rate, at_us] = &self.reported;
        rate.set(milli.into());
        at_us.set(now_us);
    }

    /// Thousandths of a frame per second, over the last two seconds; 0 if none came in this time.
    pub(crate) fn milli(&self, now_us: u64) -> u32 {
        let [rate, at_us] = &self.reported;
        if at_us.get() != 0 {
            let is_fresh = now_us < at_us.get() + STEPS * STEP_US;
            return if is_fresh { u32::try_from(rate.get()).unwrap_or(u32::MAX) } else { 0 };
        }
        let (step, seen) = (now_us / STEP_US, self.frames.step.get());
        if step > seen + STEPS {
            return 0;
        }
        // The time runs from the first frame of the oldest step that has one to the first frame of the newest.
        let oldest = (seen.saturating_sub(STEPS)..seen).find(|&at| self.frames.place(at).get() > 0);
        let Some(oldest) = oldest else { return 0 };
        let frames: u64 = (oldest..seen).map(|at| self.frames.place(at).get()).sum();
        let time_us = self.first(seen).get().saturating_sub(self.first(oldest).get());
        // If the newest frame is old itself, the silence since then counts too.
        let time_us = time_us + now_us.saturating_sub(self.first(seen).get()).saturating_sub(2 * STEP_US);
        u32::try_from((frames * 1_000_000_000).checked_div(time_us).unwrap_or(0)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_two_seconds() {
        let rate = Rate::default();
        for step in 0..20 {
            rate.add(62_500, 10_000_000 + step * 500_000 + 100);
        }
        // The last step, from 19.5 s on, is not over yet.
        assert_eq!(rate.kbps(19_900_000), 1000);
        assert_eq!(rate.kbps(20_100_000), 1000);
        assert_eq!(rate.kbps(21_100_000), 500, "two of four steps were silent");
        assert_eq!(rate.kbps(22_100_000), 0, "nothing came for two seconds");
        rate.add(125_000, 60_000_000);
        assert_eq!(rate.kbps(60_400_000), 0, "what came before the silence is forgotten");
        assert_eq!(rate.kbps(60_600_000), 500);
        rate.add(125_000, 60_500_001);
        rate.add(125_000, 60_499_999);
        rate.add(125_000, 60_500_002);
        assert_eq!(rate.kbps(61_100_000), 2000, "time that was read before the last count takes nothing away");
    }

    #[test]
    fn frames_per_second_are_finer_than_whole_frames() {
        let ntsc = FrameRate::default();
        for frame in 0..300 {
            ntsc.add(0, 5_000_000 + frame * 1_001_000_000 / 30_000);
        }
        let milli = ntsc.milli(15_000_000);
        assert!((29_960..=29_980).contains(&milli), "{milli}");
        // With only a frame every three seconds at the end, the rate is no longer 30.
        assert!(ntsc.milli(17_000_000) < 29_000);
        assert_eq!(ntsc.milli(18_000_000), 0);
        assert_eq!(FrameRate::default().milli(1_000_000), 0);
        let slides = FrameRate::default();
        for second in 0..10 {
            slides.add(0, 20_000_000 + second * 1_000_000);
        }
        assert_eq!(slides.milli(29_100_000), 1000);
    }

    #[test]
    fn frames_of_the_lowest_track_count_and_when_it_ends_those_of_the_next() {
        let rate = FrameRate::default();
        for frame in 0..100 {
            let now_us = 5_000_000 + frame * 40_000;
            [3, 1, 2].into_iter().for_each(|track| rate.add(track, now_us + u64::from(track) * 100));
        }
        let milli = rate.milli(9_000_000);
        assert!((24_900..=25_100).contains(&milli), "{milli}");
        for frame in 0..200 {
            let now_us = 9_000_000 + frame * 40_000;
            [2, 3].into_iter().for_each(|track| rate.add(track, now_us));
        }
        let milli = rate.milli(17_000_000);
        assert!((24_900..=25_100).contains(&milli), "{milli}");
    }

    #[test]
    fn a_rate_read_while_it_is_written_stays_sane() {
        let rate = std::sync::Arc::new(Rate::default());
        let writer = std::sync::Arc::clone(&rate);
        let thread = std::thread::spawn(move || {
            for n in 0..200_000 {
                writer.add(1, n * 100);
            }
        });
        while !thread.is_finished() {
            assert!(rate.per_second(20_000_000) <= 200_000);
        }
        thread.join().unwrap();
    }
}
