//! A stream that comes with its worker, and how that goes on under this server.

use std::sync::Arc;

use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::server::core::Core;
use crate::session::State;
use crate::stream::event::EventKind;
use crate::stream::process::adoption::{Adoption, IsolatedTarget};
use crate::stream::record::Order;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::{News, Resumed, ResumedStage};
use crate::stream::{RRStream, StreamName};
use crate::sync::locked;

/// What peers are told whose TLS ends in the process that has handed over.
const RECONNECT: &str = "the server is being replaced";

/// What players are told who wait on a stream whose process is just found.
const COMES_AGAIN: &str = "the stream is there now: connect again";

/// A stream with what has come of its worker: its sessions have their places, its targets do not yet.
pub(super) struct Isolated {
    pub(super) stream: Arc<RRStream>,
    /// The stream was made for it.
    pub(super) is_new: bool,
    /// `None` if the stream has no worker at the moment.
    pub(super) worker: Option<Box<Adoption>>,
    pub(super) targets: Vec<(Box<IsolatedTarget>, Endpoint)>,
}

impl Isolated {
    /// Gives the places up. The worker, if its process has let go of it, ends with its channel or waits for another server.
    pub(super) fn give_up(self, core: &Core) {
        self.worker.into_iter().for_each(|worker| give_up(core, *worker));
    }
}

fn give_up(core: &Core, worker: Adoption) {
    for session in worker.sessions {
        core.registry().remove_session(session.record.id);
    }
}

/// Lets a worker go on under this server.
///
/// # Errors
/// Why it does not. If somebody was told of it, it is killed. A stream that was made for it is of no use.
pub(super) fn begin(
    core: &Core,
    (stream, is_new): (&Arc<RRStream>, bool),
    mut worker: Box<Adoption>,
    targets: Vec<(Box<IsolatedTarget>, Endpoint)>,
) -> Result<()> {
    // Whoever finds the stream from here on enters it when the worker has come to it.
    let _opening = locked(&core.opening);
    if let Err(failure) = enter_name(core, stream, is_new) {
        give_up(core, *worker);
        return Err(failure);
    }
    let records: Vec<_> =
        worker.sessions.iter().map(|session| (Arc::clone(&session.record), session.plays())).collect();
    for (record, _) in &records {
        core.events.push(record.event(EventKind::Session).moved(State::None, State::Handshake));
    }
    core.update_state();
    // This comes first: from the adoption on any of them may end, which is told of what has begun alone.
    for (record, plays) in &records {
        log::info!(target: told::SESSION, "{} goes on {}", record.addr, record.doing());
        if let Some(hooks) = core.hooks.get() {
            hooks.began(record, stream, !plays, true);
        }
    }
    let mut targets = targets.into_iter();
    let entered = targets.try_for_each(|(target, endpoint)| enter_target(core, stream, &mut worker, &target, endpoint));
    let adopted = match entered {
        Ok(()) => stream.adopt(worker),
        // A worker with somebody whom its server does not know is of no use.
        Err(failure) => Err((worker, failure)),
    };
    if let Err((mut worker, failure)) = adopted {
        // Those who were told of it are told that it has ended, so it does, and does not wait for another server.
        worker.kill();
        let lost = Failure::ours(RRError::Worker, failure.text.clone());
        worker.sessions.iter().for_each(|session| core.end_session(&session.record, &lost));
        worker.targets.iter().for_each(|of_worker| core.tell_dialler(&of_worker.target, News::Over));
        return Err(failure);
    }
    for (record, plays) in records {
        if let Err(failure) = core.access.check(&record, !plays) {
            let _ = record.order(Order::Close(failure.text.into_owned()));
        } else if record.tls() && record.reconnects() {
            let _ = record.order(Order::Reconnect(None, RECONNECT.to_owned()));
        }
    }
    Ok(())
}

/// The stream to which a worker of this name may come, that has lost its server: one that the host has made for it, with the
/// settings that the host wants. `None` if it has one of its own.
///
/// # Errors
/// [`RRError::Exists`] if somebody else has the name.
pub(super) fn place_of(core: &Core, name: &StreamName) -> Result<Option<Arc<RRStream>>> {
    let named = core.registry().find(name).cloned();
    match named {
        Some(named) if named.is_prepared() => Ok(Some(named)),
        Some(named) if !named.is_awaited() => core.registry().is_free(name).map(|()| None),
        _ => Ok(None),
    }
}

/// Lets a stream be found by its name, if it is not yet. One that players wait on gives the name up, since this is what they wait
/// for; they are to come again.
///
/// # Errors
/// [`RRError::Exists`] if somebody else has the name, or has come to the stream; then nothing has changed.
fn enter_name(core: &Core, stream: &RRStream, is_new: bool) -> Result<()> {
    let named = core.registry().find(stream.name()).cloned();
    match named {
        Some(named) if named.id() == stream.id() => match is_new || named.is_prepared() {
            true => Ok(()),
            false => core.registry().is_free(stream.name()),
        },
        Some(named) if named.is_awaited() => {
            let mut registry = core.registry();
            registry.forget_name(&named);
            registry.give_name(stream)?;
            drop(registry);
            named.send_away(COMES_AGAIN);
            Ok(())
        }
        _ => core.registry().give_name(stream),
    }
}

/// Gives a target or source of a worker its place.
fn enter_target(
    core: &Core,
    stream: &Arc<RRStream>,
    worker: &mut Adoption,
    described: &IsolatedTarget,
    endpoint: Endpoint,
) -> Result<()> {
    let IsolatedTarget { about, url, .. } = described;
    let news = Resumed { history: about.history.clone(), stage: ResumedStage::Away(Box::new(url.clone())) };
    let target = core.resume_target(stream, endpoint, news, |target| {
        let target = if about.pulls { target.pulling() } else { target };
        target.set_url(about.way.url.clone());
        target.set_addr(about.way.addr.clone(), about.way.local_addr.clone());
        target.resumed(State::Idle, None, (about.connects, about.failures), described.counters())
    })?;
    worker.add_target(described, target);
    Ok(())
}
