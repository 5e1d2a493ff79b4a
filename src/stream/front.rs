//! RRStream: one live stream, as other code holds it. It is a small front over the stream's parts: the book (its
//! peers), the ingest (the way into the log), memory, figures, sources, its life (state and end), and the links to its
//! threads. Methods that touch several parts are here; callers use a single part directly.
//!
//! `accumulate` reads publishers and pushes what comes into the log; `relay` follows the log and feeds players and
//! targets. For what they cannot do themselves (events, the listener, dialling) they call [`Upcalls`], which the server
//! implements. The threads are started in [`entry`](super::entry), by the first peer that needs them.

use std::sync::Arc;

use crate::config::{PublisherPolicy, StreamConfig};
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net::clock;
use crate::session::State;
use crate::stream::book::{Book, Room};
use crate::stream::egress::subscribed::Subscribed;
use crate::stream::event::{Event, EventKind, Id};
#[cfg(test)]
use crate::stream::fault_injection::FaultInjection;
use crate::stream::handover::{Delivery, ForAccumulate};
use crate::stream::identity::Identity;
use crate::stream::ingest::Ingest;
use crate::stream::life::Life;
use crate::stream::link::{Link, refused};
use crate::stream::log::lineage::LogPlace;
use crate::stream::memory::budget::Budget;
use crate::stream::memory::{GiveUp, Memory};
use crate::stream::name::StreamName;
use crate::stream::peer::Peer;
use crate::stream::record::{Order, RRSession};
use crate::stream::relays::{LEAD, Relays};
use crate::stream::remote::source::{self, Sources};
use crate::stream::remote::target::Target;
use crate::stream::stats::StreamStats;
use crate::stream::threading::{Running, Threading};
use crate::stream::upcalls::Upcalls;

/// How long a stream without a publisher may take to send the last messages to its consumers.
const FLUSH_MS: u64 = 5_000;

/// One live stream. Any thread may call its methods; none blocks.
#[derive(Debug)]
pub(crate) struct RRStream {
    identity: Arc<Identity>,
    life: Arc<Life>,
    stats: Arc<StreamStats>,
    book: Book,
    ingest: Ingest,
    memory: Memory,
    sources: Sources,
    threading: Threading,
    accumulate: Link<ForAccumulate>,
    relays: Relays,
    upcalls: Arc<dyn Upcalls>,
    #[cfg(test)]
    fault_injection: FaultInjection,
}

/// A hold of a stream, and the one in whose place it is. The default one holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    until_us: u64,
    before_us: u64,
}

impl RRStream {
    /// A stream without peers; with `reserved` it exists also without them.
    pub(crate) fn new(
        id: Id,
        name: StreamName,
        config: StreamConfig,
        reserved: bool,
        budget: Budget,
        threading: Threading,
        upcalls: Arc<dyn Upcalls>,
    ) -> Self {
        let identity = Arc::new(Identity::new(id, name, config, Arc::<dyn Upcalls>::clone(&upcalls)));
        let life = Arc::new(Life::new(Arc::clone(&identity)));
        let relays = Relays::new(&identity.config(), &threading);
        let stats = Arc::new(StreamStats::new(clock::wall_us(), relays.most()));
        let (its_life, its_stats, spares) = (Arc::clone(&life), Arc::clone(&stats), upcalls.spares());
        Self {
            ingest: Ingest::new(Arc::clone(&identity), its_life, its_stats, budget.clone(), spares.clone()),
            book: Book::new(reserved),
            memory: Memory::new(budget, spares, relays.most()),
            sources: Sources::default(),
            threading,
            accumulate: Link::default(),
            relays,
            identity,
            life,
            stats,
            upcalls,
            #[cfg(test)]
            fault_injection: FaultInjection::default(),
        }
    }

    // ---- its parts

    /// Its identity.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Its id.
    pub(crate) fn id(&self) -> Id {
        self.identity.id()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &StreamName {
        self.identity.name()
    }

    /// Its settings.
    pub(crate) fn config(&self) -> Arc<StreamConfig> {
        self.identity.config()
    }

    /// Gives it other settings in the place of `was` while it runs, all or none.
    ///
    /// # Errors
    /// [`RRError::Again`] if it has others than `was`, [`RRError::Exists`] with the setting that cannot change.
    pub(crate) fn set_config(&self, was: &StreamConfig, config: StreamConfig) -> Result<()> {
        self.identity.set_config(was, config)?;
        self.wake_relays();
        Ok(())
    }

    /// The name for log lines: the key is a secret.
    pub(crate) fn masked_name(&self) -> String {
        self.identity.masked_name()
    }

    /// Its state, and when it is to end.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// Its state.
    pub(crate) fn state(&self) -> State {
        self.life.state()
    }

    /// When the stream must have ended, monotonic ms; `None` while it runs.
    pub(crate) fn stop_by_ms(&self) -> Option<u64> {
        self.life.stop_by_ms()
    }

    /// An event about the stream, with all its fields filled in.
    pub(crate) fn event(&self, kind: EventKind) -> Event {
        self.life.event(kind)
    }

    /// Its figures.
    pub(crate) fn stats(&self) -> &StreamStats {
        &self.stats
    }

    /// The book of sessions and targets.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// The way into its log.
    pub(crate) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The sources that the stream is pulled from.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The server it belongs to.
    pub(crate) fn upcalls(&self) -> &Arc<dyn Upcalls> {
        &self.upcalls
    }

    /// Where a test orders its threads to panic.
    #[cfg(test)]
    pub(crate) fn fault_injection(&self) -> &FaultInjection {
        &self.fault_injection
    }

    /// How many hand-overs wait for its first relay.
    #[cfg(test)]
    pub(crate) fn waiting_for_relay(&self) -> usize {
        self.relays().lead().waiting()
    }

    /// Whether accumulate has put off reading the publisher until consumers have collected.
    #[cfg(test)]
    pub(crate) fn is_read_late(&self) -> bool {
        self.relays().lead().kept_us().is_some()
    }

    /// How many messages the log has had.
    #[cfg(test)]
    pub(crate) fn logged(&self) -> u64 {
        self.ingest().head().messages
    }

    /// Calls all its threads, to see whether they go on.
    #[cfg(test)]
    pub(crate) fn pulses(&self) -> Vec<crate::net::poll::Pulse> {
        self.accumulate.pulse().into_iter().chain(self.relays.pulses()).collect()
    }

    /// How many hand-overs wait for accumulate.
    #[cfg(test)]
    pub(crate) fn waiting_for_accumulate(&self) -> usize {
        self.accumulate.waiting()
    }

    /// Where its tasks run.
    pub(in crate::stream) fn threading(&self) -> &Threading {
        &self.threading
    }

    /// The link to the accumulate task.
    pub(in crate::stream) fn accumulate(&self) -> &Link<ForAccumulate> {
        &self.accumulate
    }

    /// Its relays.
    pub(in crate::stream) fn relays(&self) -> &Relays {
        &self.relays
    }

    // ---- wakes; none takes a lock

    /// Wakes accumulate to look at the stream.
    pub(crate) fn wake_accumulate(&self) {
        self.accumulate.wake();
    }

    /// Wakes the relays to look at a target or a stop.
    pub(crate) fn wake_relays(&self) {
        self.relays.wake();
    }

    // ---- players

    /// How many sessions the stream has: the publisher, the standbys and the players.
    pub(crate) fn sessions(&self) -> usize {
        // Sources are in the book while they publish or stand by, but count as targets.
        let sources = self.sources.list();
        let is_source = |record: &RRSession| sources.iter().any(|source| source.id == record.id);
        self.book.sessions().iter().filter(|record| !is_source(record)).count()
    }

    /// Hands a player's connection, whose newest subscription is to this stream, over to the relay that leads, which
    /// runs, since the player was admitted.
    ///
    /// # Errors
    /// The peer, with the reason, if the relay cannot take it.
    pub(crate) fn hand_player(&self, mut peer: Peer) -> std::result::Result<(), (Box<Peer>, Failure)> {
        peer.record.set_stream(self.id());
        peer.log_end = self.ingest.head().position;
        match self.hand_to_relay(LEAD, Delivery::Player(peer)) {
            Err((Delivery::Player(peer), failure)) => Err((Box::new(peer), failure)),
            _ => {
                if self.sources.player_waits(clock::now_ms()) {
                    self.relays.lead().wake();
                }
                Ok(())
            }
        }
    }

    /// Hands something over to the relay with this number, which runs.
    ///
    /// # Errors
    /// The delivery, with the reason, if that thread cannot take it.
    #[allow(clippy::result_large_err, reason = "what was not taken goes back whole, once in a connection's life")]
    pub(in crate::stream) fn hand_to_relay(
        &self,
        number: usize,
        delivery: Delivery,
    ) -> std::result::Result<(), (Delivery, Failure)> {
        let sent = self.relays.link(number).send(delivery, |delivery, wake| match delivery {
            Delivery::Player(peer) => peer.record.set_owner(Arc::clone(wake)),
            Delivery::Adopt(adoption) => {
                adoption.sessions.iter().for_each(|session| session.record.set_owner(Arc::clone(wake)));
            }
            _ => {}
        });
        sent.map_err(|back| (back, refused()))
    }

    // ---- publishers

    /// Whether somebody publishes.
    pub(crate) fn has_publisher(&self) -> bool {
        self.book.has_publisher()
    }

    /// Notes that the publisher begins to send.
    pub(in crate::stream) fn begin_feed(&self) {
        // Drops an eviction that was meant for the previous publisher.
        let _ = self.memory.eviction();
        self.ingest.begin();
    }

    /// Ends the feed of a publisher that is gone without a successor: consumers get the rest of the log and are told of
    /// the end.
    pub(in crate::stream) fn end_feed(&self) {
        self.ingest.end();
        self.life.rests();
        self.relays.lead().wake();
    }

    /// Releases the place of a publisher or standby that has ended, or has gone before it could begin; called by the
    /// owner of its connection. A source may take the place.
    pub(crate) fn release(&self, record: &RRSession) {
        if self.book.lose(record, false) {
            self.end_feed();
        }
        self.call_sources();
        self.check_unused();
    }

    /// Ends the grace window.
    pub(in crate::stream) fn give_up_waiting(&self) {
        if self.book.give_up_waiting() {
            self.end_feed();
            self.call_sources();
            self.check_unused();
        }
    }

    /// Ends the host's publish, if there is one. A standby follows.
    pub(in crate::stream) fn end_host(&self) {
        let Some(follows) = self.book.end_host() else { return };
        if follows {
            self.life.recovers();
            self.accumulate.wake();
        } else {
            self.end_feed();
        }
        self.call_sources();
    }

    /// Makes this standby, a session or a source, live from its next key frame.
    ///
    /// # Errors
    /// [`RRError::NotFound`] if it does not stand by on this stream, [`RRError::State`] while the host publishes.
    pub(crate) fn switch(&self, id: Id) -> Result<()> {
        self.book.want_live(id)?;
        self.accumulate.wake();
        Ok(())
    }

    // ---- sources

    /// Adds a source. It is dialled as soon as the stream needs it.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending.
    pub(crate) fn add_source(&self, source: &Arc<Target>) -> Result<()> {
        // This happens while the book is open, because a stream that ends takes all its sources with it.
        self.book.while_open(|| {
            source.begin()?;
            self.sources.add(source);
            Ok(())
        })?;
        self.upcalls.dial(source);
        Ok(())
    }

    /// Removes a source from the stream.
    pub(crate) fn remove_source(&self, id: Id) {
        self.sources.remove(id);
        self.check_unused();
    }

    /// Notes that a source's settings have changed: the owner of its connection checks them.
    pub(crate) fn source_changed(&self) {
        self.sources.changed();
        self.accumulate.wake();
        self.check_unused();
    }

    /// Whether a source is to be connected now: either there is no publisher, and somebody plays or the source is not
    /// on demand; or the source is to stand by for the publisher.
    pub(crate) fn wants(&self, source: &Target) -> bool {
        match self.book.room(self.may_stand_by(source)) {
            Room::Standby => true,
            Room::Live => !source.endpoint().config.on_demand || self.sources.are_watched(),
            Room::None => false,
        }
    }

    /// Whether the source stays connected as a standby while another publishes. A source on demand does not, because
    /// the players it would be connected for are served.
    pub(in crate::stream) fn may_stand_by(&self, source: &Target) -> bool {
        self.config().publisher_policy == PublisherPolicy::Standby && !source.endpoint().config.on_demand
    }

    /// Notes that a source is being opened, or no longer.
    pub(crate) fn opening(&self, on: bool) {
        self.life.opening(on);
    }

    /// Asks the sources to publish, because there is no publisher any more. Those of a stream on hold are dialled when
    /// the hold ends ([`Self::held_until_ms`]).
    pub(in crate::stream) fn call_sources(&self) {
        self.sources.list().iter().for_each(|source| self.upcalls.dial(source));
    }

    /// Refuses waiting players, with the reason, because nothing will serve them. A player that was admitted before may come
    /// to its relay after this; it is refused too, if it comes before `until_ms`, up to which nobody is admitted.
    pub(crate) fn refuse_players(&self, code: &'static str, failure: Failure, until_ms: u64) {
        self.sources.refuse_players(code, failure, until_ms);
        self.relays.lead().wake();
    }

    /// The streams through which its media comes, ending with this stream, separated by commas; for relays that pull
    /// it.
    pub(crate) fn via(&self) -> Vec<u8> {
        let mut via = self.book.publisher_via();
        if !via.is_empty() {
            via.push(b',');
        }
        via.extend(self.upcalls.step(self.id()).into_bytes());
        via
    }

    /// The end of its log, by a name that no other log has.
    pub(in crate::stream) fn log_place(&self) -> LogPlace {
        LogPlace { log: self.log_name(), position: self.ingest.head().position }
    }

    /// Notes the streams through which a source's media comes. Relays that pull this stream are told at the next tick
    /// of its relay, however often this changes.
    ///
    /// # Errors
    /// [`RRError::Rejected`] if this stream is one of them.
    pub(in crate::stream) fn comes_via(&self, record: &RRSession, via: &[u8]) -> Result<()> {
        source::may_come_via(via, &self.upcalls.step(self.id()))?;
        record.rename(|names| names.via = via.to_vec());
        Ok(())
    }

    // ---- another process

    /// Puts the stream on hold for this long, because it moves to another process: nothing is appended, and its
    /// publisher is not read. 0 ends the hold.
    pub(crate) fn hold(&self, hold_ms: u32) -> Hold {
        let until_us = if hold_ms == 0 { 0 } else { clock::now_us() + u64::from(hold_ms) * 1000 };
        let before_us = self.ingest.hold(until_us);
        self.hold_changed();
        Hold { until_us, before_us }
    }

    /// Ends this hold: the one before it goes on, and one that has come since stays.
    pub(crate) fn end_hold(&self, hold: &Hold) {
        self.ingest.hold_again(hold.until_us, hold.before_us);
        self.hold_changed();
    }

    /// Sources that wait for the end of the hold look when it is.
    fn hold_changed(&self) {
        self.accumulate.wake();
        self.call_sources();
    }

    /// Until when the stream is on hold, monotonic ms; `None` if it is not. Its sources are not dialled before: they are to follow
    /// whoever moves meanwhile.
    pub(crate) fn held_until_ms(&self) -> Option<u64> {
        let until_us = self.ingest.held_until_us();
        (clock::now_us() < until_us).then(|| until_us.div_ceil(1000))
    }

    // ---- memory

    /// Makes the relays give up memory, because the server's is short.
    pub(crate) fn give_up(&self, what: GiveUp) {
        self.memory.ask(what, self.relays.made());
        self.relays.wake();
    }

    /// Closes the publisher, because this stream uses the most memory.
    pub(crate) fn evict_publisher(&self) {
        self.memory.evict();
        self.accumulate.wake();
    }

    // ---- the end

    /// Whether the host has made it, and nobody has come to it yet, and no target or source was added.
    pub(crate) fn is_prepared(&self) -> bool {
        !self.relays.lead().is_made() && self.book.is_prepared() && self.sources.list().is_empty()
    }

    /// Closes the sessions of peers, for this reason.
    pub(crate) fn send_away(&self, text: &str) {
        for session in self.book.sessions() {
            // One that has ended is gone already.
            let _ = session.order(Order::Close(text.to_owned()));
        }
    }

    /// Whether all that there is of it are players that wait for a publisher.
    pub(crate) fn is_awaited(&self) -> bool {
        self.book.is_awaited() && self.sources.list().is_empty()
    }

    /// Tells the server if the stream has no peers any more.
    pub(in crate::stream) fn check_unused(&self) {
        if self.book.is_unused(|| self.sources.hold()) {
            self.upcalls.stream_unused(self.id());
        }
    }

    /// Closes the book if there are still no peers; true if it did. The caller then calls [`Self::stop_unused`].
    pub(crate) fn retire(&self) -> bool {
        self.book.retire(|| self.sources.hold())
    }

    /// Stops the stream: the publisher is closed now, and consumers get the rest of the log until the deadline. The
    /// [`Upcalls`] are told when the stream has ended.
    pub(crate) fn stop(&self, deadline_ms: u64) {
        let first = self.life.stop(deadline_ms);
        self.book.close();
        // A thread that has not been started is never started now. The relay is always started before accumulate, so if
        // it was not started, neither was, and the stream ends here.
        self.accumulate.refuse();
        let no_threads = self.relays.refuse();
        if first {
            self.life.stopping();
        }
        self.end_host();
        self.accumulate.wake();
        self.relays.wake();
        if first && no_threads {
            self.upcalls.stream_over(self.id());
        }
    }

    /// Stops it as unused: consumers that still have messages to get have a moment.
    pub(crate) fn stop_unused(&self) {
        self.stop(FLUSH_MS);
    }

    /// Closes the inbox of accumulate and the book.
    pub(in crate::stream) fn close_accumulate(&self) {
        self.book.close();
        self.accumulate.close();
    }

    /// Closes the inbox of the relay with this number, which ends, and the book.
    pub(in crate::stream) fn close_relay(&self, number: usize) {
        self.book.close();
        self.memory.relay_gone(number);
        self.relays.link(number).close();
    }

    /// Notes a panic in a task of the stream: the stream is FAILED and its peers are closed; everything else goes on.
    pub(in crate::stream) fn panicked(&self, text: &str) {
        let failure = Failure::ours(RRError::Panic, text.to_owned());
        ::log::error!(target: told::STREAM, "stream failed: {failure}");
        self.book.close();
        self.life.move_to(State::Failed, |event| event.because(&failure));
        // The task's connections close as it is dropped. Sessions of the other task end a second time, which is not
        // reported. A session whose connection is with another stream's relay loses only its play of this stream.
        let elsewhere = |record: &RRSession| record.stream() != 0 && record.stream() != self.id();
        for record in self.book.sessions().iter().filter(|record| !elsewhere(record)) {
            self.upcalls.session_over(record, &failure);
        }
        self.stop(0);
        self.upcalls.stream_over(self.id());
    }

    /// Its tasks, for which the server's control thread waits; the stream's references to other objects are
    /// dropped.
    pub(crate) fn take_running(&self) -> Vec<Running> {
        self.book.forget_targets();
        self.sources.clear();
        self.accumulate.take_running().into_iter().chain(self.relays.take_running()).collect()
    }
}

impl Subscribed for RRStream {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn state(&self) -> State {
        self.life.state()
    }

    /// This takes no lock.
    fn log_position(&self) -> u64 {
        self.ingest.head().position
    }

    fn log_name(&self) -> Vec<u8> {
        self.upcalls.step(self.id()).into_bytes()
    }

    fn leave(&self, record: &RRSession) {
        self.book.leave(record);
        self.upcalls.session_left(record, self.id());
        if self.sources.player_left() {
            self.life.tell(EventKind::Unwatched);
        }
        self.check_unused();
    }
}
