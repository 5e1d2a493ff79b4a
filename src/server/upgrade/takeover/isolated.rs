//! A stream that comes with its worker, and how that goes on under this server.

use std::sync::Arc;

use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::server::core::Core;
use crate::session::State;
use crate::stream::RRStream;
use crate::stream::event::EventKind;
use crate::stream::process::adoption::{Adoption, IsolatedTarget};
use crate::stream::record::Order;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::{News, Resumed, ResumedStage};

/// What peers are told whose TLS ends in the process that has handed over.
const RECONNECT: &str = "the server is being replaced";

/// A stream with what has come of its worker: its sessions have their places, its targets do not yet.
pub(super) struct Isolated {
    pub(super) stream: Arc<RRStream>,
    /// `None` if the stream has no worker at the moment.
    pub(super) worker: Option<Box<Adoption>>,
    pub(super) targets: Vec<(Box<IsolatedTarget>, Endpoint)>,
}

impl Isolated {
    /// Gives the places up. The worker, if its process has let go of it, ends with its channel.
    pub(super) fn give_up(self, core: &Core) {
        for session in self.worker.into_iter().flat_map(|worker| worker.sessions) {
            core.registry().remove_session(session.record.id);
        }
    }
}

/// Lets a worker go on under this server.
pub(super) fn begin(
    core: &Core,
    stream: &Arc<RRStream>,
    mut worker: Box<Adoption>,
    targets: Vec<(Box<IsolatedTarget>, Endpoint)>,
) {
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
            hooks.began(record, stream, !plays);
        }
    }
    let mut targets = targets.into_iter();
    let entered = targets.try_for_each(|(target, endpoint)| enter_target(core, stream, &mut worker, &target, endpoint));
    let adopted = match entered {
        Ok(()) => stream.adopt(worker),
        // A worker with somebody whom its server does not know is of no use.
        Err(failure) => Err((worker, failure)),
    };
    if let Err((worker, failure)) = adopted {
        log::error!("the process of {} could not be taken over: {failure}", stream.masked_name());
        let failure = Failure::ours(RRError::Worker, failure.text);
        worker.sessions.iter().for_each(|session| core.end_session(&session.record, &failure));
        worker.targets.iter().for_each(|lost| core.tell_dialler(&lost.target, News::Lost(failure.clone(), 0)));
        return;
    }
    for (record, plays) in records {
        if let Err(failure) = core.access.check(&record, !plays) {
            let _ = record.order(Order::Close(failure.text.into_owned()));
        } else if record.tls() && record.reconnects() {
            let _ = record.order(Order::Reconnect(None, RECONNECT.to_owned()));
        }
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
