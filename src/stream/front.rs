//! RRStream: one live stream. Its log (RRBuffer), the two threads around it, and the book-keeping of who is on it.
//!
//! `accumulate` reads the publisher and appends to the log; `relay` follows the log and feeds players and targets.
//! The two share the log and the few words here, and nothing else. What they cannot do themselves (events, the
//! listener, dialling) they ask of [`Upcalls`], which the server is.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::config::StreamConfig;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::session::{Role, State};
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::handover::{Delivery, NewPublisher};
use crate::stream::ingest::Publisher;
use crate::stream::ingest::clock::Clock;
use crate::stream::link::Link;
use crate::stream::log::buffer::{Head, RRBuffer};
use crate::stream::log::cursor::Cursor;
use crate::stream::memory::budget::Budget;
use crate::stream::memory::{GiveUp, Memory};
use crate::stream::name::StreamName;
use crate::stream::peer::RRSession;
use crate::stream::remote::source::Sources;
use crate::stream::remote::target::Target;
use crate::stream::stats::StreamStats;
use crate::stream::tracks::Tracks;
use crate::stream::upcalls::Upcalls;
use crate::sync::locked;

/// How long a stream whose publisher has gone may take to bring the last messages to its consumers.
const FLUSH_MS: u64 = 5_000;

/// No end, or none yet.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) publisher: Option<Publisher>,
    /// The publisher was lost, and the grace window runs.
    pub(super) recovering: bool,
    /// Sessions others opened to us: the publisher first, then players.
    pub(super) from_sess_list: Vec<Arc<RRSession>>,
    /// Sessions we open to others.
    pub(super) to_sess_list: Vec<Arc<Target>>,
    /// Exists by the host's wish, with or without peers.
    pub(super) reserved: bool,
    /// Nobody may come any more.
    pub(super) closed: bool,
    pub(super) accumulate: Option<Link<Box<NewPublisher>>>,
    pub(super) relay: Option<Link<Delivery>>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Book {
    pub(super) fn standbys(&self) -> usize {
        self.from_sess_list.iter().filter(|record| record.role() == Role::Standby).count()
    }

    fn is_unused(&self) -> bool {
        let wanted = self.publisher.is_some() || self.recovering || self.reserved;
        !wanted && self.from_sess_list.is_empty() && !self.closed
    }
}

/// The way into the log: whoever publishes holds this lock for each message.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) buffer: RRBuffer,
    pub(super) clock: Clock,
}

/// One live stream.
#[derive(Debug)]
pub struct RRStream {
    /// Its id.
    pub(super) id: Id,
    /// Its name.
    pub(super) name: StreamName,
    /// Its settings.
    pub(super) config: StreamConfig,
    pub(super) stats: StreamStats,
    pub(super) memory: Memory,
    /// What it carries.
    pub(super) tracks: Tracks,
    pub(super) upcalls: Arc<dyn Upcalls>,
    pub(super) state: AtomicU32,
    pub(super) moving: Mutex<()>,
    /// Log position at which the last publisher ended; `NEVER` while one is live or none has been.
    pub(super) ended_at: AtomicU64,
    /// Monotonic ms by which all is to be over; `NEVER` while it runs.
    pub(super) stop_by_ms: AtomicU64,
    /// The publisher the host wants live; 0 is none.
    pub(super) switch_to: AtomicU64,
    pub(super) intake: Mutex<Intake>,
    pub(super) book: Mutex<Book>,
    pub(super) sources: Sources,
    #[cfg(test)]
    pub(crate) fault_injection: crate::stream::fault_injection::FaultInjection,
}

impl RRStream {
    /// A stream nobody is on yet. Its threads start when they are first needed.
    pub fn new(
        id: Id,
        name: StreamName,
        config: StreamConfig,
        reserved: bool,
        budget: Budget,
        upcalls: Arc<dyn Upcalls>,
    ) -> Self {
        let clock_mode = config.clock;
        Self {
            id,
            name,
            config,
            stats: StreamStats::new(clock::wall_us()),
            tracks: Tracks::default(),
            upcalls,
            state: AtomicU32::new(State::Idle.number()),
            moving: Mutex::default(),
            ended_at: AtomicU64::new(NEVER),
            stop_by_ms: AtomicU64::new(NEVER),
            switch_to: AtomicU64::new(0),
            intake: Mutex::new(Intake { buffer: RRBuffer::new(budget.clone()), clock: Clock::new(clock_mode) }),
            memory: Memory::new(budget),
            book: Mutex::new(Book { reserved, ..Book::default() }),
            sources: Sources::default(),
            #[cfg(test)]
            fault_injection: crate::stream::fault_injection::FaultInjection::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Its settings.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Its figures.
    pub fn stats(&self) -> &StreamStats {
        &self.stats
    }

    /// What it carries.
    pub fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// Its memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What it is pulled from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// What its relay is to give up, because the server's memory is short.
    pub fn give_up(&self, what: GiveUp) {
        self.memory.ask(what);
        self.ring_relay();
    }

    /// The publisher is to be closed: this stream uses the most memory.
    pub fn evict_publisher(&self) {
        self.memory.evict();
        self.ring_accumulate();
    }

    /// The server it belongs to.
    pub fn upcalls(&self) -> &Arc<dyn Upcalls> {
        &self.upcalls
    }

    /// The name for log lines: the key is a secret.
    pub fn masked_name(&self) -> String {
        format!("{}/{}", crate::log::escape(&self.name.app), crate::log::mask_key(&self.name.key))
    }

    /// The state.
    pub fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::None)
    }

    /// An event about this stream, with everything known of it.
    pub fn event(&self, kind: EventKind) -> Event {
        let state = self.state();
        Event {
            stream: self.id,
            user: self.config.user,
            app: self.name.app.clone(),
            key: self.name.key.clone(),
            ..Event::new(kind).moved(state, state)
        }
    }

    /// Moves on and tells the host. A stream that has stopped stays so.
    pub fn move_to(&self, state: State, change: impl FnOnce(Event) -> Event) {
        self.move_if(|prev| prev != State::Stopped, state, change);
    }

    /// Moves on from states that `from` is true for. Looked at, moved and told as one: nobody else's move, and no other
    /// event of this stream, comes between.
    pub(super) fn move_if(&self, from: impl FnOnce(State) -> bool, state: State, change: impl FnOnce(Event) -> Event) {
        let _moving = locked(&self.moving);
        let prev = self.state();
        if prev == state || !from(prev) {
            return;
        }
        self.state.store(state.number(), Ordering::Release);
        // Only queues it; nothing of the host's runs under the lock.
        self.upcalls.event(change(self.event(EventKind::Stream).moved(prev, state)));
    }

    /// By when all is to be over, monotonic ms; `None` while it runs.
    pub fn stop_by_ms(&self) -> Option<u64> {
        Some(self.stop_by_ms.load(Ordering::Acquire)).filter(|&at| at != NEVER)
    }

    pub(in crate::stream) fn ended_at(&self) -> Option<u64> {
        Some(self.ended_at.load(Ordering::Acquire)).filter(|&at| at != NEVER)
    }

    // ---- players and targets

    /// Puts a player on the books; it counts as a watcher from here on.
    ///
    /// # Errors
    /// [`RRError::State`] where the stream is ending.
    pub fn admit(&self, record: &Arc<RRSession>) -> Result<()> {
        let mut book = locked(&self.book);
        if book.closed {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        book.from_sess_list.push(Arc::clone(record));
        drop(book);
        record.set_stream(self.id);
        self.player_came();
        Ok(())
    }

    /// A player has left.
    pub fn leave(self: &Arc<Self>, record: &RRSession) {
        let mut book = locked(&self.book);
        // One of them: a session may play the stream twice.
        if let Some(at) = book.from_sess_list.iter().position(|other| other.id == record.id) {
            book.from_sess_list.remove(at);
        }
        drop(book);
        self.player_left();
        self.check_unused();
    }

    /// Sessions on it: the publisher, those that stand by, and the players.
    pub fn sessions(&self) -> usize {
        let book = locked(&self.book);
        // Sources are among them while they publish or stand by, and are counted with the targets.
        let sources = self.sources.list();
        let is_source = |record: &RRSession| sources.iter().any(|source| source.id == record.id);
        book.from_sess_list.iter().filter(|record| !is_source(record)).count()
    }

    /// Adds a target. It is dialled as soon as the stream has media, which is at once where it has.
    ///
    /// # Errors
    /// [`RRError::State`] where the stream is ending.
    pub fn add_target(self: &Arc<Self>, target: &Arc<Target>) -> Result<()> {
        self.relay_link()?;
        let mut book = locked(&self.book);
        if book.closed {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        // In the lock: whoever stops it from here on finds it on the books.
        target.begin()?;
        book.to_sess_list.push(Arc::clone(target));
        drop(book);
        if matches!(self.state(), State::InProgress | State::Recovering) {
            self.upcalls.dial(target);
        }
        Ok(())
    }

    /// Takes a target off the books.
    pub fn remove_target(&self, id: Id) {
        locked(&self.book).to_sess_list.retain(|target| target.id != id);
    }

    /// The targets.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        locked(&self.book).to_sess_list.clone()
    }

    /// How many targets it has.
    pub fn target_count(&self) -> usize {
        locked(&self.book).to_sess_list.len()
    }

    /// Rings accumulate: the stream wants to be looked at.
    pub fn ring_accumulate(&self) {
        let accumulate = locked(&self.book).accumulate.as_ref().map(|link| Arc::clone(&link.wake));
        if let Some(wake) = accumulate {
            wake.wake();
        }
    }

    /// Rings the relay: a target or a stop flag wants to be looked at.
    pub fn ring_relay(&self) {
        let relay = locked(&self.book).relay.clone();
        if let Some(relay) = relay {
            relay.wake.wake();
        }
    }

    // ---- the end

    /// Whether only players keep it, who wait for a publisher.
    pub fn is_only_waited_for(&self) -> bool {
        let book = locked(&self.book);
        book.publisher.is_none() && !book.recovering && !book.reserved && !book.closed
    }

    /// From now on it exists without peers too.
    pub fn reserve(&self) {
        locked(&self.book).reserved = true;
    }

    fn is_unused(&self, book: &Book) -> bool {
        book.is_unused() && !self.sources.hold()
    }

    pub(in crate::stream) fn check_unused(self: &Arc<Self>) {
        let unused = self.is_unused(&locked(&self.book));
        if unused {
            self.upcalls.stream_unused(self);
        }
    }

    /// Closes the books if still nobody is there; true where that was so. The caller then calls [`Self::stop`].
    pub fn retire(&self) -> bool {
        let mut book = locked(&self.book);
        let unused = self.is_unused(&book);
        book.closed |= unused;
        unused
    }

    /// Ends the stream: the publisher is closed now, consumers get what is in the log until the deadline. The
    /// [`Upcalls`] hears of it when it is over.
    pub fn stop(self: &Arc<Self>, deadline_ms: u64) {
        let by = clock::now_ms().saturating_add(deadline_ms).min(NEVER - 1);
        let first = self.stop_by_ms.fetch_min(by, Ordering::AcqRel) == NEVER;
        let mut book = locked(&self.book);
        book.closed = true;
        let (accumulate, relay) = (book.accumulate.clone(), book.relay.clone());
        drop(book);
        if first {
            self.move_if(|prev| !matches!(prev, State::Failed | State::Stopped), State::Stopping, |event| event);
        }
        self.end_host();
        if let Some(link) = &accumulate {
            link.wake.wake();
        }
        match &relay {
            Some(link) => link.wake.wake(),
            // The relay is always started before the accumulate thread, so neither is there.
            None if first => self.upcalls.stream_over(self, None),
            None => {}
        }
    }

    /// Ends it as unused: consumers that still have something to come get a moment.
    pub fn stop_unused(self: &Arc<Self>) {
        self.stop(FLUSH_MS);
    }

    /// The threads, to be joined by the server's control thread.
    pub fn take_threads(&self) -> Vec<JoinHandle<()>> {
        let mut book = locked(&self.book);
        // The links go too, so that what still sits in the inboxes is closed.
        book.accumulate = None;
        book.relay = None;
        // Targets and sources hold the stream: it must not hold them any longer than it lives.
        book.to_sess_list.clear();
        self.sources.clear();
        std::mem::take(&mut book.threads)
    }

    // ---- the log

    /// Tells the relay that there is media.
    pub(in crate::stream) fn rouse(&self) {
        let relay = locked(&self.book).relay.clone();
        if let Some(relay) = relay {
            relay.wake.wake_for_data();
        }
    }

    pub(in crate::stream) fn head(&self) -> Head {
        locked(&self.intake).buffer.head()
    }

    /// How far the log has got, in bytes.
    pub fn log_position(&self) -> u64 {
        self.head().position
    }

    pub(in crate::stream) fn first_cursor(&self) -> Cursor {
        locked(&self.intake).buffer.cursor()
    }

    /// A thread of the stream panicked: the stream is FAILED, whoever is still on it is closed, all else lives on.
    pub(in crate::stream) fn panicked(self: &Arc<Self>, text: &str) {
        let failure = Failure::ours(RRError::Panic, text.to_owned());
        ::log::error!("stream failed: {failure}");
        let sessions = {
            let mut book = locked(&self.book);
            book.closed = true;
            book.from_sess_list.clone()
        };
        self.move_to(State::Failed, |event| event.because(&failure));
        // The thread's connections closed as it fell; whoever the other thread has ends a second time, unheard.
        // One whose connection is with another stream's relay loses what it played of this one and no more.
        let elsewhere = |record: &RRSession| record.stream() != 0 && record.stream() != self.id;
        for record in sessions.iter().filter(|record| !elsewhere(record)) {
            self.upcalls.session_over(record, &failure);
        }
        self.stop(0);
        self.upcalls.stream_over(self, Some(text));
    }
}
