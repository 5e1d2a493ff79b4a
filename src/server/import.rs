//! How sessions and streams of another process enter a server: a session with an open question waits with the listener
//! for the answer, one that publishes or plays goes to its stream.

use std::sync::Arc;

use crate::config::{Decision, StreamConfig};
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net::clock;
use crate::net::conn::{Conn, Side};
use crate::net::heap;
use crate::net::socket::{Socket, ip_of};
use crate::server::admission::{self, Entry, Wish};
use crate::server::core::Core;
use crate::server::inbox::ToListener;
use crate::server::listener::lend;
use crate::server::source;
use crate::session::{Event as Said, State};
use crate::stream::event::{EventKind, Id};
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::{About, Connected, ExportedTarget, MovedPull, MovedPush, Pause, Stage};
use crate::stream::exported::{Doing, ExportedSession, MovedFeed, Play, Playing, Publishing};
use crate::stream::memory::budget::Charge;
use crate::stream::peer::Peer;
use crate::stream::process::adoption::IsolatedStream;
use crate::stream::record::RRSession;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::remote::target::{News, Resumed, ResumedStage, Target};
use crate::stream::{Claim, Delivery, Pulled, RRStream, Subscription};

/// Time in which the publisher and the players of an imported stream have to come; for this long its place and its tail
/// are kept.
const WITHIN_MS: u64 = 10_000;

/// A session that has its place in a server and has not begun: nothing was read from its connection or written to it,
/// and no event has told of it.
#[derive(Debug)]
pub(super) struct Seated {
    peer: Peer,
    memory: Charge,
    doing: Doing,
}

/// Enters a session on its connection.
///
/// # Errors
/// Those of [`seat`] and [`Seated::begin`].
pub(super) fn enter(core: &Core, exported: ExportedSession, socket: Socket) -> Result<()> {
    seat(core, exported, socket)?.begin(core)
}

/// Gives a session its place.
///
/// # Errors
/// [`RRError::Limit`] and [`RRError::NoMem`] if there is no room for it, [`RRError::NotFound`] if it plays several streams
/// of which one is not here, [`RRError::Unsupported`] if streams cannot share a connection here.
pub(super) fn seat(core: &Core, exported: ExportedSession, socket: Socket) -> Result<Seated> {
    heap::room()?;
    if let Doing::Plays(playing) = &exported.doing {
        can_have(core, playing)?;
    }
    let (counters, bytes_in) = (exported.counters(), exported.conn_bytes_in());
    let ExportedSession { session, unread, doing, addr, local_addr, app_given, .. } = exported;
    let ip = ip_of(&addr).or_else(|| socket.peer_ip());
    let mut conn = Conn::resumed(socket, session.into(), unread, bytes_in);
    if log::log_enabled!(log::Level::Debug) {
        conn.set_name(&addr);
    }
    let memory = core.pending.charge_about(conn.heap_bytes())?;
    let make = |id| Arc::new(RRSession::resumed(id, addr, ip, local_addr, counters));
    let record = core.registry().add_session(ip, make)?;
    let mut peer = Peer::new(conn, Arc::clone(&record));
    if !matches!(doing, Doing::Asks(Said::Connect, _)) {
        admission::note_names(&mut peer, &Wish::Connect, core.config.stream.args);
    }
    if let Some(app) = app_given {
        record.rename(|names| {
            names.app.clone_from(&app);
            names.app_given = Some(app);
        });
    }
    Ok(Seated { peer, memory, doing })
}

impl Seated {
    /// Lets it go on.
    ///
    /// # Errors
    /// [`RRError::State`] if the server has stopped. For a session that publishes or plays, also the refusals of a new
    /// one.
    pub(super) fn begin(self, core: &Core) -> Result<()> {
        let Self { peer, memory, doing } = self;
        let record = Arc::clone(&peer.record);
        log::info!(target: told::SESSION, "{} comes from another process", record.addr);
        let begun = match doing {
            Doing::Asks(question, decision) => {
                record.set_owner(core.listener_wake());
                core.to_listener(ToListener::Imported(peer, memory, question, decision))
            }
            Doing::Rests => {
                record.set_owner(core.listener_wake());
                core.to_listener(ToListener::Back(peer, memory, None))
            }
            Doing::Publishes(publishing) => claim(core, peer, publishing).and_then(|publisher| publisher.begin(core)),
            Doing::Plays(playing) => play(core, peer, playing),
        };
        if begun.is_err() {
            core.registry().remove_session(record.id);
        }
        begun
    }

    /// Lets it take the publisher's place, or stand by, if it publishes; it begins later. Any other session comes back.
    ///
    /// # Errors
    /// The refusals of a new publisher.
    pub(super) fn claim(self, core: &Core) -> Result<std::result::Result<Claimed, Self>> {
        let Self { peer, memory, doing } = self;
        let Doing::Publishes(publishing) = doing else { return Ok(Err(Self { peer, memory, doing })) };
        let record = Arc::clone(&peer.record);
        let claimed = claim(core, peer, publishing);
        if claimed.is_err() {
            core.registry().remove_session(record.id);
        }
        claimed.map(Ok)
    }

    /// Gives the place up; the connection is closed here, and another process may still have it.
    pub(super) fn give_up(self, core: &Core) {
        core.registry().remove_session(self.peer.record.id);
    }
}

/// A publisher that has its place on the stream of its name and has not begun.
#[derive(Debug)]
pub(super) struct Claimed {
    peer: Peer,
    stream: Arc<RRStream>,
    claim: Claim,
    stream_id: u32,
    feed: MovedFeed,
}

/// Gives a session the publisher's place of the stream of its name, or lets it stand by, as if its request had just come.
fn claim(core: &Core, mut peer: Peer, Publishing { stream_id, named, feed }: Publishing) -> Result<Claimed> {
    let (name, record) = (named.stream(), Arc::clone(&peer.record));
    named.note(&record);
    core.access.check(&record, true)?;
    let (stream, claim) =
        admission::enter(core, &mut peer, name, true, Entry::Moved(Some(feed.was())), &Decision::default())?;
    core.events.push(record.event(EventKind::Session).moved(State::None, State::Handshake));
    core.update_state();
    Ok(Claimed { peer, stream, claim, stream_id, feed })
}

impl Claimed {
    /// Lets it go on.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending.
    pub(super) fn begin(self, core: &Core) -> Result<()> {
        let Self { peer, stream, claim, stream_id, feed } = self;
        let record = Arc::clone(&peer.record);
        log::info!(target: told::SESSION, "{} goes on publishing {}", record.addr, stream.masked_name());
        stream.resume_publisher(peer, stream_id, claim, feed).map_err(|(_, failure): (Peer, Failure)| {
            core.end_session(&record, &failure);
            stream.release(&record);
            failure
        })
    }
}

/// Refuses a connection with several plays, or with a question beside one, that cannot go on here.
///
/// # Errors
/// [`RRError::NotFound`] and [`RRError::Unsupported`].
fn can_have(core: &Core, Playing { plays, asks, .. }: &Playing) -> Result<()> {
    if plays.len() == 1 && asks.is_none() {
        return Ok(());
    }
    if core.workers().is_some() && (asks.is_some() || plays.iter().any(|play| play.name != plays[0].name)) {
        let text = "a connection plays one stream where streams have processes of their own (isolate)";
        return Err(Failure::ours(RRError::Unsupported, text));
    }
    let is_here = |play: &Play| core.registry().find(&play.name).is_some();
    if plays.len() > 1 && !plays.iter().all(is_here) {
        let text = "a stream that the session plays is not on this server: import it before";
        return Err(Failure::ours(RRError::NotFound, text));
    }
    Ok(())
}

/// Lets a session continue to play the streams of these names, as if its requests had just come.
fn play(core: &Core, mut peer: Peer, playing: Playing) -> Result<()> {
    let Playing { plays, named, unsent, asks } = playing;
    let record = Arc::clone(&peer.record);
    named.note(&record);
    core.access.check(&record, false)?;
    // All of them, before it enters the first.
    for Play { name, .. } in &plays {
        core.bans.check(&record, name, false, clock::now_ms())?;
        source::may_play(core, name)?;
    }
    peer.subscriptions.reserve_exact(plays.len());
    let mut begun = false;
    for Play { stream_id, name, start, allowed, share } in plays {
        let entered = admission::enter(core, &mut peer, name, false, Entry::Moved(None), &Decision::default());
        let (stream, _) = entered.inspect_err(|failure| {
            if begun {
                core.end_session(&record, failure);
            }
        })?;
        if !std::mem::replace(&mut begun, true) {
            core.events.push(record.event(EventKind::Session).moved(State::None, State::Handshake));
            core.update_state();
        }
        log::info!(target: told::SESSION, "{} goes on playing {}", record.addr, stream.masked_name());
        let of = Arc::<RRStream>::clone(&stream);
        let flv = peer.conn.inbound().and_then(|session| session.flv_form());
        let subscription = Subscription::of_player(of, Arc::clone(&record), stream_id, start, allowed, flv);
        peer.subscriptions.push(subscription.resuming(share));
    }
    peer.unsent = unsent;
    peer.question = asks.map(|(question, decision)| Box::new(lend::asked_elsewhere(question, decision)));
    core.hand_player(peer)
}

/// The stream of a target.
///
/// # Errors
/// [`RRError::NotFound`].
pub(super) fn stream_of(core: &Core, about: &About) -> Result<Arc<RRStream>> {
    let text = "the stream of the target is not on this server: import it before";
    core.registry().find(&about.name).cloned().ok_or_else(|| Failure::ours(RRError::NotFound, text))
}

/// Enters a target on the endpoint of its settings, with its connection if it has one.
///
/// # Errors
/// [`RRError::NotFound`] if its stream is not here, [`RRError::Arg`] if it has a connection and its state says that it
/// has none, or the other way round, [`RRError::Limit`] and [`RRError::NoMem`] if there is no room for it,
/// [`RRError::State`] if the stream is ending.
pub(super) fn enter_target(
    core: &Core,
    exported: ExportedTarget,
    endpoint: Endpoint,
    socket: Option<Socket>,
) -> Result<Id> {
    let ExportedTarget { about, stage } = exported;
    let stream = stream_of(core, &about)?;
    let resumed = |socket, Connected { session, url, unread }: Connected| {
        // What came over it before is in the counters.
        let conn = Conn::resumed(socket, Side::Client(session), unread, 0);
        (ResumedStage::Away(Box::new(url)), conn)
    };
    let (state, stage, connection) = match (stage, socket) {
        (Stage::Pauses(Pause::Rests), None) => (State::Idle, ResumedStage::Rests, None),
        (Stage::Pauses(Pause::Failed), None) => (State::Failed, ResumedStage::Failed, None),
        (Stage::Pauses(Pause::Waits(ms)), None) => {
            let state = if about.error.is_some() { State::Recovering } else { State::Idle };
            (state, ResumedStage::Waits(ms), None)
        }
        (Stage::Pushes(connected, push), Some(socket)) => {
            let (stage, conn) = resumed(socket, connected);
            (State::Idle, stage, Some((conn, Moved::Push(Box::new(push)))))
        }
        (Stage::Pulls(connected, pull), Some(socket)) => {
            let (stage, conn) = resumed(socket, connected);
            (State::Idle, stage, Some((conn, Moved::Pull(pull))))
        }
        (Stage::Pauses(_), Some(_)) => return Err(Failure::ours(RRError::Arg, "the target's state has no connection")),
        (Stage::Pushes(..) | Stage::Pulls(..), None) => {
            return Err(Failure::ours(RRError::Arg, "the connection of the target's state is missing"));
        }
    };
    let news = Resumed { history: about.history.clone(), stage };
    let error = about.error.filter(|_| state != State::Idle);
    let way = about.way.clone();
    let target = core.resume_target(&stream, endpoint, news, |target| {
        let target = if about.pulls { target.pulling() } else { target };
        target.set_url(way.url);
        target.set_addr(way.addr, way.local_addr);
        target.resumed(state, error, (about.connects, about.failures), about.counters())
    })?;
    if let Some((conn, moved)) = connection {
        hand_over(core, &stream, &target, (conn, about.history), moved)
            .inspect_err(|_| core.tell_dialler(&target, News::Over))?;
    }
    Ok(target.id)
}

/// What the thread that gets a connection knows of it.
enum Moved {
    Push(Box<MovedPush>),
    Pull(MovedPull),
}

/// Gives the connection of a target of another process to its stream.
fn hand_over(
    core: &Core,
    stream: &Arc<RRStream>,
    target: &Arc<Target>,
    (mut conn, history): (Conn, Backoff),
    moved: Moved,
) -> Result<()> {
    // The server admits it here; what it holds is charged to its stream later.
    let _memory = core.pending.charge_about(conn.heap_bytes())?;
    let endpoint = target.endpoint();
    match moved {
        Moved::Push(push) => {
            let (target, conn) = (Arc::clone(target), Box::new(conn));
            let delivery = Delivery::Target { target, conn, endpoint, history, moved: Some(push) };
            stream.deliver(delivery).map_err(|(_, failure)| failure)
        }
        Moved::Pull(MovedPull { feed, via, ran_ms }) => {
            target.set_served(endpoint);
            stream.hand_source(target, Pulled { conn, via, history, moved: Some((Box::new(feed), ran_ms)) })
        }
    }
}

/// Makes a stream that continues one of another process.
///
/// # Errors
/// [`RRError::Exists`] if there is a stream of its name, [`RRError::Limit`] and [`RRError::NoMem`] if there is no room
/// for another or for its tail, [`RRError::Arg`] if its settings are not for this server, [`RRError::State`].
pub(super) fn enter_stream(core: &Core, exported: &ExportedStream) -> Result<Arc<RRStream>> {
    // It has its name only when it is complete: no peer comes to it before, and nobody waits meanwhile.
    core.registry().is_free(&exported.name)?;
    let stream = core.make_unnamed(exported.name.clone(), &exported.config, exported.reserved)?;
    log::info!(target: told::STREAM, "{} comes from another process", stream.masked_name());
    let resumed = stream.resume(exported, within_ms(&exported.config)).and_then(|wait| {
        let ended = || Err(Failure::ours(RRError::State, "the stream is ending"));
        wait.map_or(Ok(()), |wait| wait.outcome(|| core.is_closing()).unwrap_or_else(ended))?;
        core.registry().give_name(&stream)
    });
    resumed.inspect_err(|_| give_up_stream(core, &stream))?;
    Ok(stream)
}

/// Makes a stream that runs in a process of its own, which comes from another server. It gets its name when that goes on
/// here ([`Registry::give_name`](super::registry::Registry::give_name)).
///
/// # Errors
/// Those of [`enter_stream`] without [`RRError::Exists`].
pub(super) fn enter_isolated(core: &Core, isolated: &IsolatedStream) -> Result<Arc<RRStream>> {
    let ExportedStream { name, config, reserved, .. } = &isolated.stream;
    let stream = core.make_unnamed(name.clone(), config, *reserved)?;
    log::info!(target: told::STREAM, "{} comes from another process", stream.masked_name());
    Ok(stream)
}

/// Lets the placement be asked again about a stream of another process on which players wait without a publisher: the
/// answer may have come to that process.
pub(super) fn ask_again(core: &Core, stream: &RRStream) {
    let Some(placement) = core.placement.get() else { return };
    if stream.sources().are_watched() && !stream.has_publisher() {
        let config = stream.config();
        // A worker comes with its publisher; only one that it has lost may return.
        let within_ms = if core.workers().is_some() { config.grace_ms.into() } else { within_ms(&config) };
        placement.came(stream.name().clone(), within_ms);
    }
}

/// How long a stream of another process waits for its publisher.
fn within_ms(config: &StreamConfig) -> u64 {
    WITHIN_MS.max(config.grace_ms.into())
}

/// Ends a stream that nobody has come to.
pub(super) fn give_up_stream(core: &Core, stream: &RRStream) {
    stream.stop(0);
    // The name is free at once, for another try.
    core.registry().forget_name(stream);
}
