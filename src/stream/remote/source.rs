//! Sources: the targets of a stream that pull instead of push, and the count of watchers that on-demand sources depend
//! on.
//!
//! The dialler connects a source; it then is the stream's publisher like any other, owned by the accumulate thread. The
//! dialler decides what happens after its end. This file does no I/O.

use std::sync::{Arc, Mutex};

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::session::{self, State};
use crate::stream::event::Id;
use crate::stream::remote::target::Target;
use crate::stream::upcalls::Upcalls;
use crate::sync::locked;

/// The refusal of a player whose stream cannot be pulled.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(in crate::stream) code: &'static str,
    pub(in crate::stream) failure: Failure,
}

#[derive(Debug, Default)]
struct Watch {
    list: Vec<Arc<Target>>,
    players: usize,
    /// When the last player left, monotonic ms.
    unwatched_ms: Option<u64>,
    /// The host was told that the stream is wanted, and no publisher has come since.
    told_wanted: bool,
    refusal: Option<Refusal>,
    /// The last refusal, which holds until then for players that were admitted before it and come after it; monotonic ms.
    held: Option<(u64, Refusal)>,
}

/// A stream's sources, and the players that they serve. Its lock comes after the book's.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    watch: Mutex<Watch>,
}

impl Sources {
    /// The sources.
    pub(crate) fn list(&self) -> Vec<Arc<Target>> {
        locked(&self.watch).list.clone()
    }

    /// Whether a source that is not on demand keeps the stream, as a publisher would.
    pub(in crate::stream) fn hold(&self) -> bool {
        locked(&self.watch).list.iter().any(|source| !source.endpoint().config.on_demand && !source.is_stopped())
    }

    pub(in crate::stream) fn add(&self, source: &Arc<Target>) {
        locked(&self.watch).list.push(Arc::clone(source));
    }

    pub(in crate::stream) fn remove(&self, id: Id) {
        locked(&self.watch).list.retain(|source| source.id != id);
    }

    /// Removes all sources of a stream that has ended.
    pub(in crate::stream) fn clear(&self) {
        locked(&self.watch).list.clear();
    }

    /// Notes that the stream has a publisher: waiting players are served, and the host is told of the next player that
    /// waits.
    pub(in crate::stream) fn served(&self) {
        let mut watch = locked(&self.watch);
        watch.told_wanted = false;
        watch.refusal = None;
        watch.held = None;
    }

    pub(in crate::stream) fn take_refusal(&self) -> Option<Refusal> {
        locked(&self.watch).refusal.take()
    }

    /// How long there has been no player, in ms; 0 while there is one.
    pub(in crate::stream) fn unwatched_ms(&self, now_ms: u64) -> u64 {
        locked(&self.watch).unwatched_ms.map_or(0, |since| now_ms.saturating_sub(since))
    }

    /// Notes a new player. `free` means that there is no publisher: then the result says whether to tell the host that
    /// the stream is wanted (nothing will serve it, and the host was not told before), and which sources may serve it.
    pub(in crate::stream) fn player_came(&self, free: bool) -> (bool, Vec<Arc<Target>>) {
        let mut watch = locked(&self.watch);
        watch.players += 1;
        watch.unwatched_ms = None;
        if !free {
            return (false, Vec::new());
        }
        let serving: Vec<_> = watch.list.iter().filter(|source| source.state() != State::Failed).cloned().collect();
        let tell = serving.is_empty() && !std::mem::replace(&mut watch.told_wanted, true);
        (tell, serving)
    }

    /// Notes that a player left; true if it was the last.
    pub(in crate::stream) fn player_left(&self) -> bool {
        let mut watch = locked(&self.watch);
        watch.players = watch.players.saturating_sub(1);
        if watch.players > 0 {
            return false;
        }
        watch.unwatched_ms = Some(clock::now_ms());
        watch.told_wanted = false;
        true
    }

    /// Whether there are players.
    pub(crate) fn are_watched(&self) -> bool {
        locked(&self.watch).players > 0
    }

    /// Notes that a source's settings have changed. If it has become on demand, the time without players begins.
    pub(in crate::stream) fn changed(&self) {
        let mut watch = locked(&self.watch);
        if watch.players == 0 {
            watch.unwatched_ms.get_or_insert_with(clock::now_ms);
        }
    }

    /// Notes why no source will serve the waiting players; the relay tells the players. Until `until_ms` it holds for those
    /// too that come to the relay later.
    pub(in crate::stream) fn refuse_players(&self, code: &'static str, failure: Failure, until_ms: u64) {
        // To the players it is our failure, whoever caused it.
        let refusal = Refusal { code, failure: Failure { by_peer: false, ..failure } };
        let mut watch = locked(&self.watch);
        watch.held = Some((until_ms, refusal.clone()));
        watch.refusal = Some(refusal);
    }

    /// Notes that a player has come to the relay. True if its refusal came before it: the relay is to tell it.
    pub(in crate::stream) fn player_waits(&self, now_ms: u64) -> bool {
        let mut watch = locked(&self.watch);
        let held = watch.held.as_ref().filter(|(until_ms, _)| now_ms < *until_ms);
        let Some((_, refusal)) = held.cloned() else { return false };
        watch.refusal = Some(refusal);
        true
    }
}

/// Checks that media that comes through the streams `via` may feed the stream `own`.
///
/// # Errors
/// [`RRError::Rejected`] if `own` is one of them: a loop.
pub(in crate::stream) fn may_come_via(via: &[u8], own: &str) -> Result<()> {
    let mut steps = via.split(|&byte| byte == b',');
    if !steps.any(|step| step == own.as_bytes()) {
        return Ok(());
    }
    let others = steps.count();
    let text = match others {
        0 => "a loop: the source is the stream that it is to feed".to_owned(),
        _ => format!("a loop: its server pulls it from the stream that it is to feed, through {others} streams"),
    };
    // Another stream of the loop may get a publisher of its own at any time; then there is no loop.
    Err(Failure { absent: true, ..Failure::peers(RRError::Rejected, text) })
}

/// Why a source's connection ends, in addition to the failure.
#[derive(Debug, Default)]
pub(in crate::stream) enum Goes {
    /// The connection was lost.
    #[default]
    Lost,
    /// Nobody has played for the time that is set.
    Unwatched,
    /// Its settings need another connection.
    Renewed,
    /// Its server redirects it, or asks it to reconnect; with the server's text.
    Elsewhere(Option<String>, String),
}

/// The failure in a message of a source's server that ends the pull.
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

/// Tells the dialler why the source's connection has ended; the claim has been released.
pub(in crate::stream) fn over(upcalls: &dyn Upcalls, source: &Arc<Target>, failure: &Failure, goes: Goes, ran_ms: u64) {
    match goes {
        _ if source.is_stopped() => upcalls.target_over(source),
        Goes::Lost => upcalls.target_lost(source, failure, ran_ms),
        Goes::Unwatched => upcalls.target_released(source),
        Goes::Renewed => upcalls.target_renewed(source),
        Goes::Elsewhere(url, text) => upcalls.target_moved(source, url, &text, ran_ms),
    }
}
