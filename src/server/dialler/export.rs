//! How targets and sources move to another process, and how those of another process go on here. The dialler has the
//! history of their tries, and moves those that have no connection; the others move with the thread that has it.

use std::sync::Arc;

use super::{DialState, Dialler, Job};
use crate::error::{Failure, RRError};
use crate::log::told;
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::server::inbox::OfferedJob;
use crate::session::State;
use crate::stream::Delivery;
use crate::stream::event::Id;
use crate::stream::exported;
use crate::stream::exported::target::{About, Pause};
use crate::stream::offer::{Offer, Verdict};
use crate::stream::record::{Caller, TargetExport};
use crate::stream::remote::target::{Resumed, ResumedStage};

impl Dialler {
    /// Says how far all targets and sources are, and does nothing more until the verdict. What another process takes then
    /// ends here by news.
    pub(super) fn offer(&mut self, verdict: Arc<Verdict>, caller: &Caller<Vec<OfferedJob>>) {
        if !caller.take() {
            return;
        }
        let now_ms = clock::now_ms();
        let jobs = self.jobs.values().filter(|job| !job.target.is_stopped());
        let offered = jobs.map(|job| OfferedJob {
            target: Arc::clone(&job.target),
            history: job.backoff.clone(),
            pause: job.pause(now_ms),
        });
        caller.tell(Ok(offered.collect()));
        self.offer = Some(Offer::new(verdict, Vec::new()));
    }

    /// Gives a target away. One that is being connected is connected anew by the process that gets it.
    pub(super) fn export(&mut self, id: Id, room: usize, caller: Caller<TargetExport>, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (target, history) = (Arc::clone(&job.target), job.backoff.clone());
        let now_ms = clock::now_ms();
        if target.is_stopped() {
            if caller.take() {
                caller.tell(Err(Failure::ours(RRError::State, "the target is being stopped")));
            }
            return;
        }
        let Some(pause) = job.pause(now_ms) else {
            // Without a stream the caller learns that there is no answer.
            let Some(stream) = self.core.stream_of(&target) else { return };
            if target.is_source() {
                stream.export_source(target, history, (room, false), caller);
            } else {
                let _ = stream.deliver(Delivery::ExportTarget { target, history, room, anew: false, caller });
            }
            return;
        };
        if !caller.take() {
            return;
        }
        let state = About::of(&target, history).paused(pause, now_ms);
        let Some(state) = exported::fitting_or(state, room, &caller, TargetExport::Needs) else { return };
        self.set_state(id, DialState::Rests, io);
        self.jobs.remove(&id);
        self.core.end_exported_target(&target);
        caller.tell(Ok(TargetExport::Gone { fd: None, state }));
    }

    /// Goes on with a target of another process.
    pub(super) fn resume(&mut self, id: Id, resumed: Resumed, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.backoff = resumed.history;
        match resumed.stage {
            ResumedStage::Rests => self.dial(id, io),
            ResumedStage::Waits(ms) => self.set_state(id, DialState::Waits { at_ms: clock::now_ms() + ms }, io),
            ResumedStage::Failed => {}
            ResumedStage::Away(url) => {
                let name = job.target.stream().masked_name();
                let (doing, to) = if job.target.is_source() { ("pulling", "from") } else { ("pushing", "to") };
                log::info!(target: told::TARGET, "{doing} {name} {to} {} goes on", url.masked());
                job.url = *url;
                job.state = DialState::Away;
            }
        }
    }
}

impl Job {
    /// How the target goes on elsewhere: one that is being connected is connected anew. `None` if its connection is not
    /// the dialler's.
    fn pause(&self, now_ms: u64) -> Option<Pause> {
        match &self.state {
            DialState::Away => None,
            DialState::Rests if self.target.state() == State::Failed => Some(Pause::Failed),
            DialState::Rests => Some(Pause::Rests),
            DialState::Waits { at_ms } => Some(Pause::Waits(at_ms.saturating_sub(now_ms))),
            DialState::Held { .. } => Some(Pause::Waits(0)),
            DialState::Resolves { .. } | DialState::Connects { .. } | DialState::Talks { .. } => Some(Pause::Waits(0)),
        }
    }
}
