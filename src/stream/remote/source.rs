//! Sources: the targets of a stream that pull instead of push, and the watching that on-demand ones go by.
//!
//! The dialler connects a source and hands it over here; it then is the stream's publisher as any other, in the hands
//! of the accumulate thread. What comes after its end is the dialler's to decide. Nothing here does I/O.

use std::sync::{Arc, Mutex};

use crate::config::{MAX_STANDBYS, PublisherPolicy};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::conn::Conn;
use crate::session::{self, Role, State};
use crate::stream::event::{EventKind, Id};
use crate::stream::front::RRStream;
use crate::stream::handover::NewPublisher;
use crate::stream::ingest::{Claim, Publisher};
use crate::stream::peer::{Peer, RRSession};
use crate::stream::remote::target::Target;
use crate::sync::locked;

/// Paths of the players that a pull repeats to its server. More come together on the busiest streams only, and those
/// have long been pulled: what a loop would add comes first.
const MAX_PATHS_BYTES: usize = 2048;

/// What a player is told whose stream cannot be had.
#[derive(Clone, Debug)]
pub(in crate::stream) struct Refusal {
    pub(in crate::stream) code: &'static str,
    pub(in crate::stream) failure: Failure,
}

#[derive(Debug, Default)]
struct Watch {
    list: Vec<Arc<Target>>,
    players: usize,
    /// Monotonic ms at which the last player left.
    unwatched_ms: Option<u64>,
    /// The host was told that the stream is wanted, and nobody has come to serve it since.
    told_wanted: bool,
    refusal: Option<Refusal>,
}

/// A stream's sources and who they are for. Its lock comes after the book's.
#[derive(Debug, Default)]
pub struct Sources {
    watch: Mutex<Watch>,
}

impl Sources {
    /// The sources.
    pub fn list(&self) -> Vec<Arc<Target>> {
        locked(&self.watch).list.clone()
    }

    /// Whether a source that is not on demand holds the stream, as a publisher would.
    pub(in crate::stream) fn hold(&self) -> bool {
        locked(&self.watch).list.iter().any(|source| !source.plan().config.on_demand && !source.is_stopped())
    }

    /// The stream has ended, and its sources with it.
    pub(in crate::stream) fn clear(&self) {
        locked(&self.watch).list.clear();
    }

    /// Somebody publishes: who waited is served, and the next who waits is worth telling.
    pub(in crate::stream) fn served(&self) {
        let mut watch = locked(&self.watch);
        watch.told_wanted = false;
        watch.refusal = None;
    }

    pub(in crate::stream) fn take_refusal(&self) -> Option<Refusal> {
        locked(&self.watch).refusal.take()
    }

    /// How long nobody has been playing, in ms; 0 while somebody is.
    pub(in crate::stream) fn unwatched_ms(&self, now_ms: u64) -> u64 {
        locked(&self.watch).unwatched_ms.map_or(0, |since| now_ms.saturating_sub(since))
    }
}

impl RRStream {
    /// Adds a source. It is dialled as soon as the stream wants it.
    ///
    /// # Errors
    /// [`RRError::State`] where the stream is ending.
    pub fn add_source(&self, source: &Arc<Target>) -> Result<()> {
        // Within the book's lock: a stream that ends takes all it knows with it.
        let book = locked(&self.book);
        if book.closed {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        source.begin()?;
        locked(&self.sources.watch).list.push(Arc::clone(source));
        drop(book);
        self.upcalls.dial(source);
        Ok(())
    }

    /// Takes a source off the books.
    pub fn remove_source(self: &Arc<Self>, id: Id) {
        locked(&self.sources.watch).list.retain(|source| source.id != id);
        self.check_unused();
    }

    /// Whether a source is to be connected now: nobody publishes, and somebody plays or the source does not ask; or it
    /// is to stand by behind the one that publishes.
    pub fn wants(&self, source: &Target) -> bool {
        let book = locked(&self.book);
        let free = book.publisher.is_none() && !book.closed;
        let stands_by = !free && !book.closed && self.may_stand_by(source) && book.standbys() < MAX_STANDBYS;
        drop(book);
        stands_by || free && (!source.plan().config.on_demand || locked(&self.sources.watch).players > 0)
    }

    /// Whether it waits connected while another publishes. One on demand is connected for those who play, and they are
    /// served.
    fn may_stand_by(&self, source: &Target) -> bool {
        self.config.publisher_policy == PublisherPolicy::Standby && !source.plan().config.on_demand
    }

    /// A player is on the books. The host hears of it where nobody will serve it, once.
    pub(in crate::stream) fn player_came(&self) {
        let free = locked(&self.book).publisher.is_none();
        let mut watch = locked(&self.sources.watch);
        watch.players += 1;
        watch.unwatched_ms = None;
        let serving: Vec<_> = watch.list.iter().filter(|source| source.state() != State::Failed).cloned().collect();
        let tell = free && serving.is_empty() && !std::mem::replace(&mut watch.told_wanted, free);
        drop(watch);
        if tell {
            self.upcalls.event(self.event(EventKind::Wanted));
        }
        if free {
            serving.iter().for_each(|source| self.upcalls.dial(source));
        }
    }

    /// A player is off the books.
    pub(in crate::stream) fn player_left(&self) {
        let mut watch = locked(&self.sources.watch);
        watch.players = watch.players.saturating_sub(1);
        if watch.players > 0 {
            return;
        }
        watch.unwatched_ms = Some(clock::now_ms());
        watch.told_wanted = false;
        drop(watch);
        self.upcalls.event(self.event(EventKind::Unwatched));
    }

    /// A source is being opened for a stream that has no media, or is no longer.
    pub fn opening(&self, on: bool) {
        let (from, to) = if on { (State::Idle, State::Connecting) } else { (State::Connecting, State::Idle) };
        self.move_if(|prev| prev == from, to, |event| event);
    }

    /// A source's settings are others: whoever has it looks at them. Where it has become one on demand, the time without
    /// players begins.
    pub fn source_changed(self: &Arc<Self>) {
        let mut watch = locked(&self.sources.watch);
        if watch.players == 0 {
            watch.unwatched_ms.get_or_insert_with(clock::now_ms);
        }
        drop(watch);
        self.ring_accumulate();
        self.check_unused();
    }

    /// Nobody publishes any more: the sources may.
    pub(in crate::stream) fn call_sources(&self) {
        for source in self.sources.list() {
            self.upcalls.dial(&source);
        }
    }

    /// Nobody will serve the players who wait: they are told why.
    pub fn refuse_players(&self, code: &'static str, failure: Failure) {
        // To them it is ours, whoever caused it.
        let failure = Failure { by_peer: false, ..failure };
        locked(&self.sources.watch).refusal = Some(Refusal { code, failure });
        self.ring_relay();
    }

    /// The paths of those who play, as they told them, and `own` before them, with commas between.
    pub fn paths(&self, own: String) -> Vec<u8> {
        let players = locked(&self.book).from_sess_list.clone();
        let mut paths = own.into_bytes();
        for record in players {
            for step in record.names().via.split(|&byte| byte == b',').filter(|step| !step.is_empty()) {
                let known = paths.split(|&byte| byte == b',').any(|other| other == step);
                if !known && paths.len() + step.len() < MAX_PATHS_BYTES {
                    paths.push(b',');
                    paths.extend(step);
                }
            }
        }
        paths
    }

    /// Takes a source that has had `Play.Start` as the publisher, or as one that stands by.
    ///
    /// # Errors
    /// [`RRError::Exists`] where somebody publishes already and it may not stand by, [`RRError::State`] where the stream
    /// is ending, and [`RRError::Limit`]; the connection is closed then.
    pub fn hand_source(self: &Arc<Self>, source: &Arc<Target>, mut conn: Conn) -> Result<()> {
        let stream_id = conn.client().map_or(1, |session| session.stream_id());
        // It is among the sessions of the stream under the source's id, and in no table of the server's.
        let record = Arc::new(RRSession::new(source.id, source.way().addr, None, conn.socket.local_name()));
        record.rename(|names| (names.app, names.key) = (self.name.app.clone(), self.name.key.clone()));
        let claim = self.claim_for_source(&record, self.may_stand_by(source))?;
        if claim == Claim::Standby {
            // The stream waits for the one that publishes.
            self.opening(false);
        }
        source.move_to(State::Waiting, |event| event);
        let peer = Peer::new(conn, Arc::clone(&record));
        let arrival = NewPublisher { peer, stream_id, claim, source: Some(Arc::clone(source)) };
        self.hand(Box::new(arrival)).map_err(|(_, failure)| {
            self.release(&record);
            failure
        })
    }

    /// A source never takes over.
    fn claim_for_source(self: &Arc<Self>, record: &Arc<RRSession>, may_stand_by: bool) -> Result<Claim> {
        self.relay_link()?;
        let mut book = locked(&self.book);
        if book.closed {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        if book.publisher.is_some() {
            if !may_stand_by || book.standbys() >= MAX_STANDBYS {
                return Err(Failure::ours(RRError::Exists, "the stream has a publisher already"));
            }
            record.set_role(Role::Standby);
            book.from_sess_list.push(Arc::clone(record));
            return Ok(Claim::Standby);
        }
        record.set_role(Role::Source);
        book.publisher = Some(Publisher::Session(record.id));
        book.recovering = false;
        book.from_sess_list.insert(0, Arc::clone(record));
        self.sources.served();
        Ok(Claim::Live)
    }
}

/// Why a source's connection ends, as far as the failure does not say.
#[derive(Debug, Default)]
pub(in crate::stream) enum Goes {
    /// It was lost.
    #[default]
    Lost,
    /// Nobody has been playing for long enough.
    Unwatched,
    /// Its settings want another connection.
    Renewed,
    /// Its server sends it elsewhere, or back to itself; and its words.
    Elsewhere(Option<String>, String),
}

/// What a source's server said that ends the pull.
pub(in crate::stream) fn heard(event: session::Event) -> (Failure, Goes) {
    match event {
        session::Event::Reconnect { url, text } => {
            let failure = Failure::peers(RRError::Closed, format!("the server asks to reconnect: {text}"));
            (failure, Goes::Elsewhere(url, text))
        }
        session::Event::Ended { code, text } => {
            (Failure::peers(RRError::Closed, format!("the server ended it: {code} {text}")), Goes::Lost)
        }
        other => (Failure::peers(RRError::Protocol, format!("the server said {other:?}")), Goes::Lost),
    }
}

/// Its connection is over and the claim is free: the dialler hears why.
pub(in crate::stream) fn over(stream: &RRStream, source: &Arc<Target>, failure: &Failure, goes: Goes, ran_ms: u64) {
    let upcalls = stream.upcalls();
    match goes {
        _ if source.is_stopped() => upcalls.target_over(source),
        Goes::Lost => upcalls.target_lost(source, failure, ran_ms),
        Goes::Unwatched => upcalls.target_released(source),
        Goes::Renewed => upcalls.target_renewed(source),
        Goes::Elsewhere(url, text) => upcalls.target_moved(source, url, &text, ran_ms),
    }
}
