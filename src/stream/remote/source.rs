//! Sources: the targets of a stream that pull instead of push, and the watching that on-demand ones go by.
//!
//! The dialler connects a source; the source then is the stream's publisher as any other, in the hands of the
//! accumulate thread. What comes after its end is the dialler's to decide. Nothing here does I/O.

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
pub(crate) struct Sources {
    watch: Mutex<Watch>,
}

impl Sources {
    /// The sources.
    pub(crate) fn list(&self) -> Vec<Arc<Target>> {
        locked(&self.watch).list.clone()
    }

    /// Whether a source that is not on demand holds the stream, as a publisher would.
    pub(in crate::stream) fn hold(&self) -> bool {
        locked(&self.watch).list.iter().any(|source| !source.endpoint().config.on_demand && !source.is_stopped())
    }

    pub(in crate::stream) fn add(&self, source: &Arc<Target>) {
        locked(&self.watch).list.push(Arc::clone(source));
    }

    pub(in crate::stream) fn remove(&self, id: Id) {
        locked(&self.watch).list.retain(|source| source.id != id);
    }

    /// The stream has ended, and its sources with it.
    pub(in crate::stream) fn clear(&self) {
        locked(&self.watch).list.clear();
    }

    /// Notes that the stream has a publisher: waiting players are served, and the host hears of the next one that
    /// waits.
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

    /// A player came. Where `free`, nobody publishes: gives whether the host is to hear that the stream is wanted,
    /// because nothing will serve it and it was not told before; and the sources that may.
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

    /// A player left; true where it was the last.
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

    /// Whether anybody plays.
    pub(crate) fn are_watched(&self) -> bool {
        locked(&self.watch).players > 0
    }

    /// One has other settings. Where it has become one on demand, the time without players begins.
    pub(in crate::stream) fn changed(&self) {
        let mut watch = locked(&self.watch);
        if watch.players == 0 {
            watch.unwatched_ms.get_or_insert_with(clock::now_ms);
        }
    }

    /// Notes why no source will serve the waiting players; the relay tells them.
    pub(in crate::stream) fn refuse_players(&self, code: &'static str, failure: Failure) {
        // To them it is ours, whoever caused it.
        let failure = Failure { by_peer: false, ..failure };
        locked(&self.watch).refusal = Some(Refusal { code, failure });
    }
}

/// Whether media that comes through the streams `via` may feed the stream `own`.
///
/// # Errors
/// [`RRError::Rejected`] where that is one of them: a loop.
pub(in crate::stream) fn may_come_via(via: &[u8], own: &str) -> Result<()> {
    let mut steps = via.split(|&byte| byte == b',');
    if !steps.any(|step| step == own.as_bytes()) {
        return Ok(());
    }
    let others = steps.count();
    let text = match others {
        0 => "a loop: this is the very stream that it is to feed".to_owned(),
        _ => format!("a loop: its server pulls it from the stream that it is to feed, over {others} streams"),
    };
    // Another stream of the circle may get a publisher of its own at any time, and the circle is none then.
    Err(Failure { absent: true, ..Failure::peers(RRError::Rejected, text) })
}

/// Why a source's connection ends, as far as the failure does not say.
#[derive(Debug, Default)]
pub(in crate::stream) enum Goes {
    /// The connection was lost.
    #[default]
    Lost,
    /// Nobody has been playing for long enough.
    Unwatched,
    /// Its settings want another connection.
    Renewed,
    /// Its server sends it elsewhere, or back to itself; and its words.
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

/// Its connection is over and the claim is free: the dialler hears why.
pub(in crate::stream) fn over(upcalls: &dyn Upcalls, source: &Arc<Target>, failure: &Failure, goes: Goes, ran_ms: u64) {
    match goes {
        _ if source.is_stopped() => upcalls.target_over(source),
        Goes::Lost => upcalls.target_lost(source, failure, ran_ms),
        Goes::Unwatched => upcalls.target_released(source),
        Goes::Renewed => upcalls.target_renewed(source),
        Goes::Elsewhere(url, text) => upcalls.target_moved(source, url, &text, ran_ms),
    }
}
