//! Subscriptions to another stream: one connection may play several streams, and the relay of one of these streams owns
//! the connection.
//!
//! The owner reads the other stream's log like any reader, with a second [`JoinIndex`], which shows where the
//! subscription may begin. A [`Registration`] at that stream's relay tells the owner what the log does not: that there
//! is new media, where the stream ends, and that memory is short. The owner leaves the counts of what it sent in the
//! registration, because figures have one writer, that relay; and a place up to which it needs
//! the log no more, so that what it needs goes along when that stream moves to another process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::stream::egress::join::JoinIndex;
use crate::stream::log::cursor::Cursor;
use crate::stream::record::RRSession;
use crate::stream::stats::{Dropped, Drops, Outgoing, Sent};
use crate::sync::locked;

/// The end of a stream that has not ended.
const NEVER: u64 = u64::MAX;

/// One subscription's entry in the list that a stream's relay wakes. That relay and the connection's owner share the
/// entry; for media they take no lock.
pub(in crate::stream) struct Registration {
    /// The session, through which the connection's owner is woken.
    record: Arc<RRSession>,
    ended_at: AtomicU64,
    lets_go: AtomicBool,
    gone: AtomicBool,
    /// Bytes and messages sent that the stream has not counted yet.
    sent_bytes: AtomicU64,
    sent_messages: AtomicU64,
    /// All that was jumped over; the owner writes it.
    dropped: Drops,
    /// The log is needed from here on, or from a later place. The owner moves it on a few times a second.
    place: Mutex<Option<Cursor>>,
}

impl Registration {
    /// Counts what was sent; called by the owner.
    pub(in crate::stream) fn count_sent(&self, sent: Sent) {
        self.sent_bytes.fetch_add(sent.bytes, Ordering::Relaxed);
        self.sent_messages.fetch_add(sent.msgs, Ordering::Relaxed);
    }

    /// Counts a jump; called by the owner.
    pub(in crate::stream) fn count_dropped(&self, dropped: Dropped) {
        self.dropped.add(dropped);
    }

    /// Notes from where on the log is needed; called by the owner.
    pub(in crate::stream) fn note_place(&self, place: Option<Cursor>) {
        let before = std::mem::replace(&mut *locked(&self.place), place);
        // Outside the lock: this may free segments.
        drop(before);
    }
}

/// A registration, as the stream's relay keeps it.
struct Registered {
    registration: Arc<Registration>,
    /// The part of the drops that the stream has counted.
    counted: Dropped,
}

impl Registered {
    fn report(&mut self, outgoing: &Outgoing, now_us: u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let Registration { sent_bytes, sent_messages, dropped, .. } = &*self.registration;
        outgoing.sent(Sent { bytes: take(sent_bytes), msgs: take(sent_messages) }, now_us);
        let dropped = dropped.get();
        if dropped != self.counted {
            outgoing.dropped.add(dropped.since(self.counted));
            self.counted = dropped;
        }
    }
}

/// The registrations at one stream; its relay owns them.
#[derive(Default)]
pub(in crate::stream) struct Registrations(Vec<Registered>);

impl Registrations {
    /// Adds a registration.
    pub(in crate::stream) fn add(&mut self, registration: Arc<Registration>) {
        self.0.push(Registered { registration, counted: Dropped::default() });
    }

    /// How many there are.
    pub(in crate::stream) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells all registrations the end of the stream, if any, wakes their owners if there is something `new`, and
    /// counts what they were sent.
    #[inline]
    pub(in crate::stream) fn tell(&mut self, new: bool, end: Option<u64>, outgoing: &Outgoing, now_us: u64) {
        if !self.0.is_empty() {
            self.tell_each(new, end, outgoing, now_us);
        }
    }

    #[cold]
    fn tell_each(&mut self, new: bool, end: Option<u64>, outgoing: &Outgoing, now_us: u64) {
        self.0.retain_mut(|registered| {
            let registration = &registered.registration;
            if let Some(end) = end {
                registration.ended_at.fetch_min(end, Ordering::Release);
            }
            if new || end.is_some() {
                registration.record.wake_owner_for_log();
            }
            let stays = !registration.gone.load(Ordering::Acquire);
            // `gone` was read before the report: an owner that set it had counted its last bytes before.
            registered.report(outgoing, now_us);
            stays
        });
    }

    /// The places from which on the subscriptions need the log.
    pub(in crate::stream) fn places(&self) -> impl Iterator<Item = Cursor> {
        self.0.iter().filter_map(|registered| locked(&registered.registration.place).clone())
    }

    /// Makes all subscriptions release the log, because memory is short, and begin again at a later key frame.
    pub(in crate::stream) fn let_go(&self) {
        for Registered { registration, .. } in &self.0 {
            registration.lets_go.store(true, Ordering::Release);
            registration.record.wake_owner_for_log();
        }
    }
}

impl Drop for Registrations {
    /// Ends all registrations at once: a relay that has panicked cannot tell where its stream ends.
    fn drop(&mut self) {
        for Registered { registration, .. } in &self.0 {
            let ended = &registration.ended_at;
            if ended.compare_exchange(NEVER, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                registration.record.wake_owner_for_log();
            }
        }
    }
}

/// The part of a subscription that exists while another stream's relay owns its connection.
pub(in crate::stream) struct Foreign {
    pub(in crate::stream) join_index: JoinIndex,
    /// The stream's publisher is sending.
    pub(in crate::stream) live: bool,
    registration: Arc<Registration>,
    /// How often the stream's settings had changed when they were taken last; `None` before the first time.
    settings_changes: Option<u64>,
}

impl Foreign {
    /// Made when a connection leaves the stream's own relay, from that relay's join index; `live` says whether media
    /// flows.
    pub(in crate::stream) fn new(join_index: &JoinIndex, live: bool, record: Arc<RRSession>) -> Self {
        let registration = Registration {
            record,
            ended_at: AtomicU64::new(NEVER),
            lets_go: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            sent_messages: AtomicU64::new(0),
            dropped: Drops::default(),
            place: Mutex::default(),
        };
        let registration = Arc::new(registration);
        Self { join_index: join_index.fork(), live, registration, settings_changes: None }
    }

    /// Whether the stream, whose settings have changed so often, may have others than those that were taken; true once.
    pub(in crate::stream) fn has_changed(&mut self, changes: u64) -> bool {
        self.settings_changes.replace(changes) != Some(changes)
    }

    pub(in crate::stream) fn registration(&self) -> &Arc<Registration> {
        &self.registration
    }

    /// The log position at which the stream has ended, if it has.
    pub(in crate::stream) fn ended_at(&self) -> Option<u64> {
        Some(self.registration.ended_at.load(Ordering::Acquire)).filter(|&at| at != NEVER)
    }

    /// Whether the subscription has to release the log; true once for each request.
    pub(in crate::stream) fn take_let_go(&self) -> bool {
        let lets_go = &self.registration.lets_go;
        lets_go.load(Ordering::Relaxed) && lets_go.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.registration.note_place(None);
        self.registration.gone.store(true, Ordering::Release);
    }
}
