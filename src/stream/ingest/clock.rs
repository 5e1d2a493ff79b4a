//! A stream's clock: the correction of timestamps on their way into the log.
//!
//! Three modes. *Pass* leaves a publisher's time as it is. *Zero* lets every stream begin at 0. *Repair* also removes
//! jumps: when both tracks jump by more than a second, time goes on as if they had not jumped. In all modes a publisher
//! that follows another one while players stay continues that one's time: its last time plus the gap on the wall clock,
//! never backwards. Audio and video that are out of order are not changed, because interleaving looks like this.
//!
//! The first message that is neither a header nor data at 0 shows where a publisher's time begins: many encoders send
//! headers at 0, whatever their clock says, and servers send those that pull from them various data at 0.

use minicbor::{Decode, Encode};

use crate::config::ClockMode;
use crate::proto::message::kind;

/// A larger step of one track, in either direction, is a jump.
const JUMP_MS: i64 = 1_000;

/// A corrected timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    /// The timestamp in the log.
    pub ts_ms: u32,
    /// By how much the publisher's time jumped here, if it did.
    pub jump_ms: Option<i64>,
}

/// One track's time as it came, and when it came.
#[derive(Clone, Copy, Debug)]
struct Track {
    ts_ms: u32,
    arrival_us: u64,
}

/// The newest message's time, as it went into the log.
#[derive(Clone, Copy, Debug)]
struct Last {
    ts_ms: u32,
    arrival_us: u64,
}

/// The clock of one stream. Pure: time comes in as an argument.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    mode: ClockMode,
    offset_ms: u32,
    /// The offset before a repair that only one track has asked for so far, and that track.
    unconfirmed: Option<(u32, usize)>,
    tracks: [Option<Track>; 2],
    last: Option<Last>,
    /// The publisher has not yet sent a message that shows its time.
    begins: bool,
}

/// A moment of a clock for another process: a time, and how long ago that was.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
struct Moment {
    #[n(0)]
    ts_ms: u32,
    #[n(1)]
    ago_us: u64,
}

impl Moment {
    fn arrival_us(self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.ago_us)
    }
}

/// A clock for another process, which has a mode of its own.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(in crate::stream) struct ClockState {
    #[n(0)]
    offset_ms: u32,
    /// The offset before a repair, and whether pictures asked for it.
    #[n(1)]
    unconfirmed: Option<(u32, bool)>,
    #[n(2)]
    sound: Option<Moment>,
    #[n(3)]
    picture: Option<Moment>,
    #[n(4)]
    last: Option<Moment>,
    #[n(5)]
    begins: bool,
}

/// The distance from `from` to `to`, over the wrap at 2^32 if that is shorter.
fn step(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from) as i32)
}

impl Clock {
    /// A clock before its first timestamp.
    pub(crate) fn new(mode: ClockMode) -> Self {
        Self { mode, begins: true, ..Self::default() }
    }

    /// The clock for another process.
    pub(in crate::stream) fn state(&self, now_us: u64) -> ClockState {
        let moment = |ts_ms, arrival_us| Moment { ts_ms, ago_us: now_us.saturating_sub(arrival_us) };
        let [sound, picture] = self.tracks.map(|track| track.map(|track| moment(track.ts_ms, track.arrival_us)));
        ClockState {
            offset_ms: self.offset_ms,
            unconfirmed: self.unconfirmed.map(|(offset_ms, track)| (offset_ms, track == 1)),
            sound,
            picture,
            last: self.last.map(|last| moment(last.ts_ms, last.arrival_us)),
            begins: self.begins,
        }
    }

    /// Continues from the clock of another process.
    pub(in crate::stream) fn resume(&mut self, state: &ClockState, now_us: u64) {
        let track = |moment: Moment| Track { ts_ms: moment.ts_ms, arrival_us: moment.arrival_us(now_us) };
        *self = Self {
            mode: self.mode,
            offset_ms: state.offset_ms,
            unconfirmed: state.unconfirmed.map(|(offset_ms, picture)| (offset_ms, usize::from(picture))),
            tracks: [state.sound.map(track), state.picture.map(track)],
            last: state.last.map(|last| Last { ts_ms: last.ts_ms, arrival_us: last.arrival_us(now_us) }),
            begins: state.begins,
        };
    }

    /// Notes that another publisher begins. Its time continues that of the one before.
    pub(crate) fn begin(&mut self) {
        self.begins = true;
        self.tracks = [None; 2];
        self.unconfirmed = None;
    }

    /// Notes that no player is left to notice a jump: the next publisher's time is taken as it is.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.mode);
    }

    /// The timestamp for the log. A `header` is metadata or a sequence header.
    pub(crate) fn stamp(&mut self, type_id: u8, header: bool, ts_ms: u32, now_us: u64) -> Stamped {
        if self.begins {
            let header = header || (ts_ms == 0 && !matches!(type_id, kind::AUDIO | kind::VIDEO));
            self.begins = header;
            self.offset_ms = match (self.last, self.mode) {
                (Some(last), _) => {
                    let gap_ms = (now_us.saturating_sub(last.arrival_us) / 1000).clamp(1, u64::from(u32::MAX / 4));
                    last.ts_ms.wrapping_add(gap_ms as u32).wrapping_sub(ts_ms)
                }
                (None, ClockMode::Zero) => ts_ms.wrapping_neg(),
                (None, _) => 0,
            };
            if header {
                // A header's timestamp says nothing about the time that follows.
                return Stamped { ts_ms: ts_ms.wrapping_add(self.offset_ms), jump_ms: None };
            }
        }
        let jump_ms = self.look(type_id, ts_ms, now_us);
        let out = ts_ms.wrapping_add(self.offset_ms);
        self.last = match self.last {
            // This keeps the newest time, which need not be the newest message's, because tracks are out of order.
            Some(last) if step(last.ts_ms, out) < 0 && jump_ms.is_none() => Some(last),
            _ => Some(Last { ts_ms: out, arrival_us: now_us }),
        };
        Stamped { ts_ms: out, jump_ms }
    }

    /// Looks for a jump, and removes it in *repair* mode.
    fn look(&mut self, type_id: u8, ts_ms: u32, now_us: u64) -> Option<i64> {
        let index = match type_id {
            kind::AUDIO => 0,
            kind::VIDEO => 1,
            _ => return None,
        };
        let before = self.tracks.get(index).copied().flatten();
        let other = self.tracks.get(1 - index).copied().flatten();
        if let Some(track) = self.tracks.get_mut(index) {
            *track = Some(Track { ts_ms, arrival_us: now_us });
        }
        self.confirm(index, ts_ms, other);
        let before = before?;
        let jump_ms = step(before.ts_ms, ts_ms);
        if jump_ms.abs() <= JUMP_MS || self.is_a_pause(ts_ms, before, other, now_us) {
            return None;
        }
        if self.mode == ClockMode::Repair && self.unconfirmed.is_none_or(|(_, first)| first == index) {
            let elapsed_ms = (now_us.saturating_sub(before.arrival_us) / 1000).clamp(1, JUMP_MS as u64) as u32;
            let last = self.last.map_or(0, |last| last.ts_ms);
            self.unconfirmed.get_or_insert((self.offset_ms, index));
            if other.is_none() {
                self.unconfirmed = None;
            }
            self.offset_ms = last.wrapping_add(elapsed_ms).wrapping_sub(ts_ms);
        }
        Some(jump_ms)
    }

    /// Whether a step is only a pause: the track was silent, and continues in step with the wall clock or with the
    /// other track.
    fn is_a_pause(&self, ts_ms: u32, before: Track, other: Option<Track>, now_us: u64) -> bool {
        let waited_ms = i64::try_from(now_us.saturating_sub(before.arrival_us) / 1000).unwrap_or(i64::MAX);
        let in_time = (step(before.ts_ms, ts_ms) - waited_ms).abs() <= JUMP_MS;
        in_time || other.is_some_and(|other| step(other.ts_ms, ts_ms).abs() <= JUMP_MS)
    }

    /// Confirms the repair of one track's jump if the other track has jumped as well, and otherwise takes it back.
    fn confirm(&mut self, index: usize, ts_ms: u32, first: Option<Track>) {
        let Some((offset_before, asked)) = self.unconfirmed.filter(|&(_, asked)| asked != index) else { return };
        debug_assert_ne!(asked, index);
        self.unconfirmed = None;
        if first.is_some_and(|first| step(first.ts_ms, ts_ms).abs() > JUMP_MS) {
            self.offset_ms = offset_before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: u8 = kind::VIDEO;
    const A: u8 = kind::AUDIO;

    /// Feeds (type, timestamp) pairs 20 ms apart and returns the corrected timestamps.
    fn run(clock: &mut Clock, begin_us: u64, messages: &[(u8, u32)]) -> Vec<u32> {
        let stamp = |(i, &(t, ts))| clock.stamp(t, false, ts, begin_us + i as u64 * 20_000).ts_ms;
        messages.iter().enumerate().map(stamp).collect()
    }

    #[test]
    fn pass_changes_nothing_within_a_publisher() {
        let mut clock = Clock::new(ClockMode::Pass);
        let times = [(V, 500), (A, 480), (V, 540), (A, 90_000), (V, 10), (V, u32::MAX), (V, 5)];
        let expected: Vec<u32> = times.iter().map(|t| t.1).collect();
        assert_eq!(run(&mut clock, 0, &times), expected);
    }

    #[test]
    fn zero_begins_at_zero_and_keeps_distances() {
        let mut clock = Clock::new(ClockMode::Zero);
        assert_eq!(run(&mut clock, 0, &[(V, 70_000), (A, 70_010), (V, 70_040)]), [0, 10, 40]);
    }

    #[test]
    fn a_publisher_that_follows_continues_the_time_and_never_goes_back() {
        for mode in [ClockMode::Pass, ClockMode::Zero, ClockMode::Repair] {
            let mut clock = Clock::new(mode);
            let first = run(&mut clock, 0, &[(V, 1000), (A, 990), (V, 1040)]);
            clock.begin();
            // The second publisher comes 3 s later and begins at 0 again.
            let second = run(&mut clock, 3_040_000, &[(V, 0), (A, 5), (V, 40)]);
            assert_eq!(second, [first[2] + 3000, first[2] + 3005, first[2] + 3040], "{mode:?}");
            clock.forget();
            assert_eq!(run(&mut clock, 9_000_000, &[(V, 7)]), [if mode == ClockMode::Zero { 0 } else { 7 }]);
        }
    }

    #[test]
    fn headers_at_zero_say_nothing_about_the_time_that_follows() {
        for mode in [ClockMode::Pass, ClockMode::Zero, ClockMode::Repair] {
            let mut clock = Clock::new(mode);
            let mut stamp = |header, ts_ms, now_ms: u64| clock.stamp(V, header, ts_ms, now_ms * 1000);
            assert_eq!(stamp(true, 0, 0).ts_ms, 0, "{mode:?}");
            let first = if mode == ClockMode::Zero { 0 } else { 700_000 };
            assert_eq!(stamp(false, 700_000, 5), Stamped { ts_ms: first, jump_ms: None }, "{mode:?}");
            assert_eq!(stamp(false, 700_040, 45).ts_ms, first + 40, "{mode:?}");
            // Later they are treated like all messages.
            assert_eq!(stamp(true, 700_080, 85).ts_ms, first + 80, "{mode:?}");
            clock.begin();
            let mut stamp = |header, ts_ms, now_ms: u64| clock.stamp(V, header, ts_ms, now_ms * 1000);
            assert_eq!(stamp(true, 0, 3_085).ts_ms, first + 3_080, "{mode:?}");
            assert_eq!(clock.stamp(kind::DATA, false, 0, 3_085_000).ts_ms, first + 3_080, "{mode:?}");
            let mut stamp = |header, ts_ms, now_ms: u64| clock.stamp(V, header, ts_ms, now_ms * 1000);
            assert_eq!(stamp(true, 900_000, 3_095).ts_ms, first + 3_090, "{mode:?}");
            assert_eq!(stamp(false, 900_000, 3_105), Stamped { ts_ms: first + 3_100, jump_ms: None }, "{mode:?}");
        }
    }

    #[test]
    fn repair_mends_a_jump_that_both_tracks_make() {
        let mut clock = Clock::new(ClockMode::Repair);
        let out =
            run(&mut clock, 0, &[(V, 50_000), (A, 50_000), (V, 50_040), (A, 50_023), (V, 0), (A, 3), (V, 40), (A, 26)]);
        assert_eq!(out[..4], [50_000, 50_000, 50_040, 50_023]);
        for pair in out[4..].windows(2) {
            assert!(step(pair[0], pair[1]).abs() < 100, "{out:?}");
        }
        assert!(step(out[2], out[4]) > 0 && step(out[2], out[4]) <= 1000, "{out:?}");
    }

    #[test]
    fn repair_does_not_change_a_jump_of_one_track() {
        let mut clock = Clock::new(ClockMode::Repair);
        let out =
            run(&mut clock, 0, &[(V, 1000), (A, 1000), (V, 1040), (A, 90_000), (V, 1080), (A, 90_020), (V, 1120)]);
        assert_eq!((out[4], out[6]), (1080, 1120), "video goes on as it was: {out:?}");
    }

    #[test]
    fn audio_and_video_out_of_order_are_no_jump() {
        let mut clock = Clock::new(ClockMode::Repair);
        let times = [(V, 1000), (A, 400), (V, 1040), (A, 1100), (V, 1080), (A, 420)];
        let expected: Vec<u32> = times.iter().map(|t| t.1).collect();
        assert_eq!(run(&mut clock, 0, &times), expected);
    }

    #[test]
    fn a_jump_is_reported_once_and_a_pause_in_time_is_none() {
        let mut clock = Clock::new(ClockMode::Pass);
        assert_eq!(clock.stamp(V, false, 0, 0).jump_ms, None);
        assert_eq!(clock.stamp(V, false, 40, 40_000).jump_ms, None);
        assert_eq!(clock.stamp(V, false, 60_040, 60_040_000).jump_ms, None, "a minute of silence, in time");
        assert_eq!(clock.stamp(V, false, 10, 60_080_000).jump_ms, Some(-60_030));
        assert_eq!(clock.stamp(V, false, 50, 60_120_000).jump_ms, None);
    }

    #[test]
    fn a_clock_goes_on_in_another_process_wherever_it_was() {
        let times = [(V, 50_000), (A, 50_000), (V, 50_040), (A, 50_023), (V, 0), (A, 3), (V, 40), (A, 26)];
        for mode in [ClockMode::Pass, ClockMode::Zero, ClockMode::Repair] {
            let expected = run(&mut Clock::new(mode), 0, &times);
            for cut in 0..=times.len() {
                let mut here = Clock::new(mode);
                let first = run(&mut here, 0, &times[..cut]);
                // The other process's clock of the system began later.
                let mut there = Clock::new(mode);
                let now_us = cut as u64 * 20_000;
                there.resume(&here.state(now_us), now_us + 7_000_000);
                let rest = run(&mut there, now_us + 7_000_000, &times[cut..]);
                assert_eq!([first, rest].concat(), expected, "{mode:?}, cut at {cut}");
            }
        }
    }

    #[test]
    fn the_wrap_at_two_to_the_thirty_two_is_no_jump() {
        let mut clock = Clock::new(ClockMode::Repair);
        assert_eq!(run(&mut clock, 0, &[(V, u32::MAX - 10), (V, 9), (V, 29)]), [u32::MAX - 10, 9, 29]);
    }
}
