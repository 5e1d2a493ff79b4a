//! The memory limit: decides which streams give back memory when media memory is short, and how much each stream may
//! keep. The control thread runs these passes.
//!
//! The steps come in this order: all streams drop their cached groups; the cursors that are furthest behind jump;
//! consumers that hold much private memory are closed; and if publishers still find no room, streams lose their
//! publishers. Until then a publisher that finds no room waits, and so does its peer.
//!
//! Fairness: a stream that has run for a while has a floor, which is the memory that it has needed. New streams, and
//! streams that need more than their floors, share the memory up to seven eighths; the last eighth is for streams
//! within their floors, the oldest first. Streams give back memory according to their use above their floors, so a
//! stream within its floor loses its publisher only if another stream would otherwise find no room within its own
//! floor.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::server::core::Core;
use crate::stream::RRStream;
use crate::stream::memory::GiveUp;

/// Time between two passes: memory that one pass asks for is free by the next.
pub(super) const PASS_MS: u64 = 20;

/// Passes in which cursors jump; each halves what the largest streams hold.
const JUMPS: u32 = 4;

/// Further passes in which consumers with much private memory are closed; there are several, because new consumers may
/// be like them.
const CLOSES: u32 = 4;

/// Passes that wait for the largest streams to give up what they were asked for, before more is asked: a relay may be
/// in a long round.
const WAITS: u32 = 20;

/// Pause after a round that freed just enough, and after a publisher was closed.
const REST_MS: u64 = 100;

/// Time between two updates of the streams' floors.
const FLOORS_MS: u64 = 1_000;

/// The floor of one stream is at most a quarter of the memory that is kept for all floors, or this value if that is
/// more: two segments of the log, enough to keep a stream of any rate going.
const LEAST_FLOOR: u64 = 2 * 256 * 1024;

/// Publishers are closed until this part of the limit will be free (one in so many): closing one at a time would be
/// slower than newcomers come.
const FREED_PART: u64 = 16;

/// The next step of the present round.
#[derive(Debug, Default)]
pub(super) struct MemoryLimit {
    pass: u32,
    next_ms: u64,
    waited: u32,
    refused: u64,
    starved: u64,
    floors_ms: u64,
    busy: bool,
}

impl MemoryLimit {
    /// Whether the next pass is due after [`PASS_MS`].
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Checks the memory and starts the next step, if one is due.
    pub(super) fn look(&mut self, core: &Core) {
        let Some(limit) = core.budget.limit() else { return };
        let (now_ms, refused) = (clock::now_ms(), core.budget.refused());
        if now_ms >= self.floors_ms {
            self.floors_ms = now_ms + FLOORS_MS;
            let set = streams(core).and_then(|all| set_floors(&all, core.budget.kept_for_floors(), now_ms));
            note(&set);
        }
        let short = core.budget.is_short() || refused != self.refused;
        self.busy = short;
        if !short {
            self.pass = 0;
            return;
        }
        core.spares.clear();
        if now_ms < self.next_ms {
            return;
        }
        self.next_ms = now_ms + PASS_MS;
        // Where there is no memory for the list, the next pass tries again.
        let streams = match streams(core) {
            Ok(streams) => streams,
            failed => return note(&failed),
        };
        if self.waited < WAITS && self.pass > 0 && largest(&streams).any(|stream| stream.memory().is_asked()) {
            self.waited += 1;
            return;
        }
        self.waited = 0;
        let still_refused = refused != self.refused;
        self.refused = refused;
        match self.pass {
            0 => streams.iter().for_each(|stream| stream.give_up(GiveUp::Caches)),
            1..=JUMPS => largest(&streams).for_each(|stream| stream.give_up(GiveUp::Cursors)),
            pass if pass <= JUMPS + CLOSES => largest(&streams).for_each(|stream| stream.give_up(GiveUp::Holders)),
            _ => {
                let starved = std::mem::replace(&mut self.starved, core.budget.starved());
                if still_refused {
                    note(&evict(&streams, limit / FREED_PART, starved != self.starved));
                }
                self.next_ms = now_ms + REST_MS;
                self.pass = 0;
                return;
            }
        }
        self.pass += 1;
    }
}

fn streams(core: &Core) -> Result<Vec<Arc<RRStream>>> {
    core.registry().streams.all()
}

/// An empty list with room for so many.
fn list<T>(of: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(of).map_err(|_| Failure::from(RRError::NoMem))?;
    Ok(list)
}

/// Notes that a pass has not been made.
fn note<T>(pass: &Result<T>) {
    if let Err(failure) = pass {
        log::debug!("the memory limit is looked at later: {failure}");
    }
}

/// Sets each running stream's floor to the memory that it has needed, the oldest stream first, as long as `kept` covers
/// the parts of the floors that are unused now.
///
/// # Errors
/// [`RRError::NoMem`]; then nothing has changed.
fn set_floors(streams: &[Arc<RRStream>], kept: u64, now_ms: u64) -> Result<()> {
    let mut living = list(streams.len())?;
    for stream in streams {
        match stream.memory().lived_on(now_ms) {
            Some(lived) => living.push((lived.since_ms, stream.id(), stream.memory(), lived.bytes)),
            None => stream.memory().set_floor(0),
        }
    }
    living.sort_unstable_by_key(|&(since_ms, id, ..)| (since_ms, id));
    let mut left = kept;
    for (_, _, memory, bytes) in living {
        let floor = floor(bytes, memory.used(), kept, &mut left);
        memory.set_floor(floor);
    }
    Ok(())
}

/// The floor of a stream that has needed `bytes`; its unused part is subtracted from `left`, the rest of `kept`.
fn floor(bytes: u64, used: u64, kept: u64, left: &mut u64) -> u64 {
    let wanted = bytes.min(LEAST_FLOOR.max(kept / 4));
    let unused = wanted.saturating_sub(used).min(*left);
    *left -= unused;
    wanted.min(used + unused)
}

/// The streams that use at least half as much as the largest one, measured above their floors if any stream is above
/// its floor.
fn largest(streams: &[Arc<RRStream>]) -> impl Iterator<Item = &Arc<RRStream>> {
    let within_floors = streams.iter().all(|stream| stream.memory().above_floor() == 0);
    let counted = move |stream: &RRStream| {
        if within_floors { stream.memory().used() } else { stream.memory().above_floor() }
    };
    let most = streams.iter().map(|stream| counted(stream)).max().unwrap_or(0);
    streams.iter().filter(move |stream| counted(stream) >= most / 2)
}

/// Closes publishers until `enough` bytes will be free, beginning with streams that use the most above their floors. If
/// no stream is above its floor, this happens only if a stream within its floor `starved`.
///
/// # Errors
/// [`RRError::NoMem`]; then none is closed.
fn evict(streams: &[Arc<RRStream>], enough: u64, starved: bool) -> Result<()> {
    let mut uses = list(streams.len())?;
    uses.extend(streams.iter().map(|stream| (stream.memory().above_floor(), stream.memory().used(), stream)));
    let (mut first, mut closed) = (None, 0);
    for (_, memory, stream) in to_close(uses, enough, starved) {
        // A stream without a publisher is ending, and its memory comes back anyway.
        if stream.has_publisher() {
            stream.evict_publisher();
            first.get_or_insert((stream, memory));
            closed += 1;
        }
    }
    if let Some((stream, memory)) = first {
        let name = stream.masked_name();
        let others = match closed - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        log::warn!(
            "the memory limit is reached: the publisher of {name} is closed, it uses the most ({memory} bytes){others}"
        );
    }
    Ok(())
}

/// Of streams with what each uses above its floor and altogether: those that give up all they use, as [`evict`]
/// says.
fn to_close<T>(mut streams: Vec<(u64, u64, T)>, enough: u64, starved: bool) -> Vec<(u64, u64, T)> {
    if starved && streams.iter().all(|&(above, ..)| above == 0) {
        streams.iter_mut().for_each(|(above, used, _)| *above = *used);
    }
    streams.sort_unstable_by_key(|&(above, ..)| Reverse(above));
    let mut freed = 0;
    let chosen = streams.iter().take_while(|&&(above, used, _)| {
        let goes = above > 0 && freed < enough;
        freed += if goes { used } else { 0 };
        goes
    });
    let count = chosen.count();
    streams.truncate(count);
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    /// What each of these uses.
    fn of_each(closed: Vec<(u64, u64, char)>) -> Vec<(u64, char)> {
        closed.into_iter().map(|(_, used, stream)| (used, stream)).collect()
    }

    #[test]
    fn newcomers_are_closed_in_numbers_until_a_sixteenth_of_the_limit_will_be_free() {
        // 900 newcomers of 80 KB under 64 MiB, and an older stream that uses more than each, within its floor.
        let enough = (64 << 20) / FREED_PART;
        let newcomers = (1..=700).map(|number| (80 * KIB, 80 * KIB, number));
        let streams: Vec<_> = [(0, 500 * KIB, 0)].into_iter().chain(newcomers).collect();
        for starved in [false, true] {
            let closed = to_close(streams.clone(), enough, starved);
            let freed: u64 = closed.iter().map(|(_, used, _)| used).sum();
            assert!(freed >= enough && freed < enough + 80 * KIB, "{freed} in one step");
            assert!(closed.iter().all(|&(.., stream)| stream != 0), "not the one that lives within its floor");
        }
    }

    #[test]
    fn those_that_use_the_most_above_their_floors_go_first() {
        let streams = vec![(10, 900, 'a'), (300, 300, 'b'), (200, 700, 'c'), (0, 5_000, 'd')];
        let closed = |enough| of_each(to_close(streams.clone(), enough, true));
        assert_eq!(closed(1), [(300, 'b')]);
        assert_eq!(closed(301), [(300, 'b'), (700, 'c')]);
        assert_eq!(closed(10_000), [(300, 'b'), (700, 'c'), (900, 'a')], "nobody within its floor");
    }

    #[test]
    fn a_stream_within_its_floor_goes_only_for_another_one_within_its_own() {
        let streams = vec![(0, 200, 'a'), (0, 500, 'b'), (0, 0, 'c')];
        let closed = |enough, starved| of_each(to_close(streams.clone(), enough, starved));
        assert_eq!(closed(600, false), []);
        assert_eq!(closed(400, true), [(500, 'b')], "the one that uses the most");
        assert_eq!(closed(600, true), [(500, 'b'), (200, 'a')]);
    }

    #[test]
    fn floors_are_what_streams_have_lived_on_as_far_as_there_is_room_for_what_they_do_not_use() {
        let kept = 4096 * KIB;
        let mut left = kept;
        assert_eq!(floor(300 * KIB, 500 * KIB, kept, &mut left), 300 * KIB, "it uses more than its floor");
        assert_eq!(left, kept);
        assert_eq!(floor(9_000 * KIB, 0, kept, &mut left), 1024 * KIB, "one has a quarter of what is kept at most");
        assert_eq!(left, 3072 * KIB);
        assert_eq!(floor(800 * KIB, 700 * KIB, kept, &mut left), 800 * KIB);
        assert_eq!(left, 2972 * KIB);
        left = 50 * KIB;
        assert_eq!(floor(800 * KIB, 100 * KIB, kept, &mut left), 150 * KIB, "the rest, and nothing for those behind");
        assert_eq!(floor(800 * KIB, 100 * KIB, kept, &mut left), 100 * KIB, "but what it uses");
        let mut left = 100 * KIB;
        assert_eq!(floor(9_000 * KIB, 0, 600 * KIB, &mut left), 100 * KIB);
        assert_eq!(floor(9_000 * KIB, LEAST_FLOOR, 600 * KIB, &mut left), LEAST_FLOOR, "what a stream goes on with");
    }
}
