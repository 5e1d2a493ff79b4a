//! How targets and sources move to another process, and how those of another process go on here. The dialler has the
//! history of their tries, and moves those that have no connection; the others move with the thread that has it.

use std::sync::Arc;

use super::{DialState, Dialler};
use crate::error::{Failure, RRError};
use crate::log::told;
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::session::State;
use crate::stream::Delivery;
use crate::stream::event::Id;
use crate::stream::exported;
use crate::stream::exported::target::{About, Pause};
use crate::stream::record::{Caller, TargetExport};
use crate::stream::remote::target::{Resumed, ResumedStage};

impl Dialler {
    /// Gives a target away. One that is being connected is connected anew by the process that gets it.
    pub(super) fn export(&mut self, id: Id, room: usize, caller: Caller<TargetExport>, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (target, history) = (Arc::clone(&job.target), job.backoff.clone());
        let now_ms = clock::now_ms();
        let refuse = |caller: Caller<TargetExport>, kind, text: &'static str| {
            if caller.take() {
                caller.tell(Err(Failure::ours(kind, text)));
            }
        };
        if target.is_stopped() {
            return refuse(caller, RRError::State, "the target is being stopped");
        }
        let pause = match &job.state {
            DialState::Away if target.is_source() => {
                return refuse(caller, RRError::Unsupported, "a connected source stays in its process");
            }
            DialState::Away => {
                let stream = self.core.stream_of(&target);
                // Without a stream the caller learns that there is no answer.
                let _ = stream.map(|stream| stream.deliver(Delivery::ExportTarget { target, history, room, caller }));
                return;
            }
            DialState::Rests if target.state() == State::Failed => Pause::Failed,
            DialState::Rests => Pause::Rests,
            DialState::Waits { at_ms } => Pause::Waits(at_ms.saturating_sub(now_ms)),
            DialState::Resolves { .. } | DialState::Connects { .. } | DialState::Talks { .. } => Pause::Waits(0),
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
                log::info!(target: told::TARGET, "pushing {name} to {} goes on", url.masked());
                job.url = *url;
                job.state = DialState::Away;
            }
        }
    }
}
