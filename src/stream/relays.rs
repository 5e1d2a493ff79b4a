//! The relays of a stream, as its other threads reach them: a link to each, and what each has.
//!
//! The first relay leads. All that is for the stream's relays comes to it. It starts the others, gives them players, and
//! passes on what concerns them too. Media, a stop and other calls wake all that run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::StreamConfig;
use crate::net::poll::Pulse;
use crate::stream::further_relays::{AUTOMATIC, FurtherRelays, RelayPlace};
use crate::stream::handover::Delivery;
use crate::stream::link::Link;
use crate::stream::threading::{Running, Threading};

/// The number of the relay that leads.
pub(in crate::stream) const LEAD: usize = 0;

/// When another relay is started, where the settings do not say how many a stream has: once each has so many consumers.
/// With fewer, one thread serves a good stream within a few milliseconds, and each further thread is woken for each
/// message.
const AUTOMATIC_FROM: usize = if cfg!(test) { 3 } else { 500 };

/// When the relay that leads starts another one.
#[derive(Debug)]
pub(in crate::stream) struct Spread {
    /// Once each relay has so many consumers.
    from: usize,
    /// Most relays that there is room for.
    room: usize,
    /// The settings do not say how many.
    is_automatic: bool,
    /// The processors; `None` as long as nobody has looked.
    processors: Option<usize>,
}

impl Spread {
    /// As the settings say: with a number of relays in them, whenever a player comes, as long as there are fewer.
    pub(in crate::stream) fn of(config: &StreamConfig, relays: &Relays) -> Self {
        let room = relays.most();
        match config.relay_threads {
            Some(_) => Self { from: 0, room, is_automatic: false, processors: None },
            None => Self { from: AUTOMATIC_FROM, room, is_automatic: true, processors: None },
        }
    }

    /// Never.
    pub(in crate::stream) fn none() -> Self {
        Self { from: usize::MAX, room: 1, is_automatic: false, processors: None }
    }

    /// The start has failed: the next is tried with twice as many consumers.
    pub(in crate::stream) fn put_off(&mut self) {
        self.from = self.from.max(1).saturating_mul(2);
    }

    /// The place of another one, if it does so now that there are this many, each with at least so many consumers.
    pub(in crate::stream) fn another(
        &mut self,
        relays: usize,
        consumers: usize,
        further: &Arc<FurtherRelays>,
    ) -> Option<RelayPlace> {
        if relays >= self.room || consumers < self.from {
            return None;
        }
        if !self.is_automatic {
            return Some(RelayPlace::default());
        }
        further.place(relays, *self.processors.get_or_insert_with(|| further.processors()))
    }
}

/// The relays of one stream, by their numbers.
#[derive(Debug)]
pub(in crate::stream) struct Relays {
    ends: Box<[RelayEnd]>,
    /// The stream's tasks share a loop: accumulate's turns are in the relay's thread.
    share_loop: bool,
    /// Log position of the last end of a publisher that consumers are told of; 0 before the first.
    told_end: AtomicU64,
}

#[derive(Debug, Default)]
struct RelayEnd {
    link: Link<Delivery>,
    /// Consumers that it has, or that are on their way to it.
    consumers: AtomicUsize,
    /// Its subscriptions that waited for a key frame at its last look.
    awaiting_key_frame: AtomicUsize,
    /// The largest lag of a subscription at its last look, bytes.
    lag_bytes: AtomicU64,
    /// The most private memory that a consumer held at its last look while its socket took nothing, bytes.
    held_bytes: AtomicUsize,
}

/// How many relays a stream with these settings has at most. On a shared loop more would not send more.
fn most(config: &StreamConfig, threading: &Threading) -> usize {
    match threading {
        Threading::Own => config.relay_threads.map_or(AUTOMATIC, |number| number as usize),
        Threading::Shared(_) | Threading::Process(_) => 1,
    }
}

impl Relays {
    /// Room for the relays of a stream with these settings, none of which runs.
    pub(in crate::stream) fn new(config: &StreamConfig, threading: &Threading) -> Self {
        Self {
            ends: (0..most(config, threading).max(1)).map(|_| RelayEnd::default()).collect(),
            share_loop: matches!(threading, Threading::Shared(_)),
            told_end: AtomicU64::new(0),
        }
    }

    /// How many there can be.
    pub(in crate::stream) fn most(&self) -> usize {
        self.ends.len()
    }

    /// How many have been started: those with the lowest numbers.
    pub(in crate::stream) fn made(&self) -> usize {
        self.running().count()
    }

    fn running(&self) -> impl Iterator<Item = &RelayEnd> {
        self.ends.iter().take_while(|end| end.link.is_made())
    }

    fn end(&self, number: usize) -> &RelayEnd {
        // There is at least one.
        self.ends.get(number).unwrap_or(&self.ends[LEAD])
    }

    /// The link to this one.
    pub(in crate::stream) fn link(&self, number: usize) -> &Link<Delivery> {
        &self.end(number).link
    }

    /// The link to the one that leads.
    pub(in crate::stream) fn lead(&self) -> &Link<Delivery> {
        self.link(LEAD)
    }

    // ---- wakes; none takes a lock

    /// Wakes all for media.
    pub(in crate::stream) fn wake_for_data(&self) {
        self.running().for_each(|end| end.link.wake_for_data());
    }

    /// Has new media sent: where there is one relay and its thread sleeps, or is accumulate's, by accumulate, which calls
    /// this. If accumulate comes again when the consumers have collected, that time may be returned to it: see
    /// [`Wake::turn_for_data`](crate::net::poll::Wake::turn_for_data).
    pub(in crate::stream) fn turn_for_data(&self, comes_again: bool, now_us: u64) -> Option<u64> {
        if self.ends.get(1).is_some_and(|second| second.link.is_made()) {
            self.wake_for_data();
            return None;
        }
        self.lead().turn_for_data(self.share_loop, comes_again, now_us)
    }

    /// Wakes all for something other than media.
    pub(in crate::stream) fn wake(&self) {
        self.running().for_each(|end| end.link.wake());
    }

    /// Calls all, to see whether they go on.
    pub(in crate::stream) fn pulses(&self) -> impl Iterator<Item = Pulse> {
        self.running().filter_map(|end| end.link.pulse())
    }

    // ---- who has how many

    /// Counts a consumer that this one gets.
    pub(in crate::stream) fn came(&self, number: usize) {
        self.end(number).consumers.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a consumer that has left this one, or has not come.
    pub(in crate::stream) fn left(&self, number: usize) {
        self.end(number).consumers.fetch_sub(1, Ordering::Relaxed);
    }

    /// The one with the fewest consumers, and their number.
    pub(in crate::stream) fn emptiest(&self) -> (usize, usize) {
        let counts = self.running().map(|end| end.consumers.load(Ordering::Relaxed));
        counts.enumerate().min_by_key(|&(_, count)| count).unwrap_or((LEAD, 0))
    }

    /// Notes how many subscriptions of this one wait for a key frame.
    pub(in crate::stream) fn note_awaiting_key_frame(&self, number: usize, waiting: usize) {
        self.end(number).awaiting_key_frame.store(waiting, Ordering::Relaxed);
    }

    /// How many subscriptions of all wait for a key frame.
    pub(in crate::stream) fn awaiting_key_frame(&self) -> usize {
        self.running().map(|end| end.awaiting_key_frame.load(Ordering::Relaxed)).sum()
    }

    // ---- who holds how much memory

    /// Notes what the consumers of this one hold that hold most: the largest lag, and the most private memory.
    pub(in crate::stream) fn note_held(&self, number: usize, lag_bytes: u64, held_bytes: usize) {
        let end = self.end(number);
        end.lag_bytes.store(lag_bytes, Ordering::Relaxed);
        end.held_bytes.store(held_bytes, Ordering::Relaxed);
    }

    /// The largest lag and the most private memory of a consumer in all others, bytes.
    pub(in crate::stream) fn most_held(&self, besides: usize) -> (u64, usize) {
        let most = |(lag, held): (u64, usize), end: &RelayEnd| {
            (lag.max(end.lag_bytes.load(Ordering::Relaxed)), held.max(end.held_bytes.load(Ordering::Relaxed)))
        };
        let others = self.running().enumerate().filter(|(number, _)| *number != besides);
        others.map(|(_, end)| end).fold((0, 0), most)
    }

    // ---- the end of a publisher

    /// Notes an end of a publisher that consumers are told of, and wakes all but the relay that leads, which calls this.
    pub(in crate::stream) fn tell_end(&self, end: u64) {
        self.told_end.store(end, Ordering::Release);
        self.running().skip(1).for_each(|end| end.link.wake());
    }

    /// The last such end; 0 before the first.
    pub(in crate::stream) fn told_end(&self) -> u64 {
        self.told_end.load(Ordering::Acquire)
    }

    // ---- the end

    /// Prevents the start of those that have not been started; others go on. True if none was ever started.
    pub(in crate::stream) fn refuse(&self) -> bool {
        let mut none = true;
        for end in &self.ends {
            none &= end.link.refuse();
        }
        none
    }

    /// Whether all but the one that leads have ended, or have never run.
    pub(in crate::stream) fn others_are_over(&self) -> bool {
        self.running().skip(1).all(|end| end.link.is_closed())
    }

    /// Closes the links and returns the running tasks, to be waited for.
    pub(in crate::stream) fn take_running(&self) -> impl Iterator<Item = Running> {
        self.ends.iter().filter_map(|end| end.link.take_running())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_streams_with_threads_of_their_own_have_several_relays() {
        let config = |relay_threads| StreamConfig { relay_threads, ..StreamConfig::default() };
        assert_eq!(most(&config(None), &Threading::Own), 4);
        assert_eq!(most(&config(Some(1)), &Threading::Own), 1);
        assert_eq!(most(&config(Some(7)), &Threading::Own), 7);
    }

    #[test]
    fn a_stream_that_is_to_have_several_relays_gets_them_with_its_first_players() {
        let config = StreamConfig { relay_threads: Some(3), ..StreamConfig::default() };
        let mut spread = Spread::of(&config, &Relays::new(&config, &Threading::Own));
        let further = Arc::default();
        let wants = [(1, 0), (2, 0), (3, 0), (3, 1000)]
            .map(|(relays, consumers)| spread.another(relays, consumers, &further).is_some());
        assert_eq!(wants, [true, true, false, false]);
    }

    #[test]
    fn after_a_start_that_failed_the_next_is_tried_with_twice_as_many_players() {
        let config = StreamConfig { relay_threads: Some(2), ..StreamConfig::default() };
        let mut spread = Spread::of(&config, &Relays::new(&config, &Threading::Own));
        let mut tries = Vec::new();
        for consumers in 0..100 {
            if spread.another(1, consumers, &Arc::default()).is_some() {
                tries.push(consumers);
                spread.put_off();
            }
        }
        assert_eq!(tries, [0, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn those_that_were_not_started_are_refused() {
        let config = StreamConfig { relay_threads: Some(3), ..StreamConfig::default() };
        let relays = Relays::new(&config, &Threading::Own);
        assert_eq!((relays.most(), relays.made(), relays.emptiest()), (3, 0, (LEAD, 0)));
        assert!(relays.others_are_over() && relays.refuse() && relays.refuse());
    }
}
