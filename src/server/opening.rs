//! Opening: compares the targets and sources that an answer names with those of the stream, and adds the missing ones,
//! all of them or none.
//!
//! Targets and sources that run, or try to connect, stay as they are. One that has failed for good is tried again,
//! because a new answer that names it has a reason to.

use std::sync::Arc;

use crate::config::{MAX_DECISION_TARGETS, TargetConfig};
use crate::error::{Failure, RRError, Result};
use crate::server::core::Core;
use crate::session::State;
use crate::stream::RRStream;
use crate::stream::event::Id;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::{News, Target};

/// The targets and sources to open. The caller holds [`Core::opening`] from the moment this is made until it is carried
/// out or dropped.
#[must_use]
#[derive(Default)]
pub(super) struct Opening {
    /// New ones, which are not on the stream yet.
    made: Vec<Arc<Target>>,
    /// Those that have failed, with other settings where the answer may change theirs.
    failed: Vec<(Arc<Target>, Option<Endpoint>)>,
    /// The target whose place the new ones take.
    instead_of: Option<Id>,
    /// How many of the new ones are named before that target, if it is named too.
    before_it: Option<usize>,
}

impl Opening {
    /// What these targets and sources add to the stream, in the place of another one or at the end.
    ///
    /// # Errors
    /// Those of [`Endpoint::new`] and [`Core::new_target`]; nothing is left behind then.
    pub(super) fn of(
        core: &Core,
        stream: &RRStream,
        targets: &[TargetConfig],
        sources: &[TargetConfig],
        instead_of: Option<Id>,
    ) -> Result<Self> {
        let (has_targets, has_sources) = (stream.book().targets(), stream.sources().list());
        let mut opening = Self { instead_of, ..Self::default() };
        let all = targets.iter().map(|config| (config, false));
        for (config, pulls) in all.chain(sources.iter().map(|config| (config, true))) {
            let had = if pulls { &has_sources } else { &has_targets };
            if let Err(failure) = opening.add(core, stream, had, config, pulls) {
                opening.give_up(core);
                return Err(failure);
            }
        }
        Ok(opening)
    }

    fn add(
        &mut self,
        core: &Core,
        stream: &RRStream,
        had: &[Arc<Target>],
        config: &TargetConfig,
        pulls: bool,
    ) -> Result<()> {
        let same = |target: &&Arc<Target>| {
            target.is_source() == pulls && !target.is_stopped() && target.endpoint().config.same_place(config)
        };
        let endpoint = |config| Endpoint::new(config, &stream.name().key);
        let found = had.iter().chain(&self.made).find(same);
        if found.is_some_and(|target| Some(target.id) == self.instead_of) {
            self.before_it.get_or_insert(self.made.len());
        }
        match found {
            Some(target) if target.state() == State::Failed => {
                let before = &target.endpoint().config;
                // What the host has set up stays the host's.
                let may_change = before.of_controller && config.of_controller;
                let other =
                    may_change.then(|| endpoint(TargetConfig { user: before.user, ..config.clone() })).transpose()?;
                self.failed.push((Arc::clone(target), other));
            }
            Some(_) => {}
            None => self.made.push(core.new_target(stream, endpoint(config.clone())?, pulls)?),
        }
        Ok(())
    }

    /// Puts on the stream what was made, and has tried again what has failed.
    ///
    /// # Errors
    /// [`RRError::State`] where the stream ends; it takes with it what it has.
    pub(super) fn carry_out(self, core: &Core, stream: &Arc<RRStream>) -> Result<()> {
        let mut made = self.made.iter();
        while let Some(target) = made.next() {
            if let Err(failure) = core.attach(stream, target) {
                made.for_each(|target| core.forget_target(target));
                return Err(failure);
            }
        }
        if let Some(other) = self.instead_of {
            let made: Vec<Id> = self.made.iter().map(|target| target.id).collect();
            stream.book().put_in_place(other, &made, self.before_it.unwrap_or(made.len()));
        }
        for (target, other) in self.failed {
            if let Some(endpoint) = other {
                target.set_endpoint(endpoint);
            }
            core.tell_dialler(&target, News::Retry);
        }
        Ok(())
    }

    /// Leaves all as it was.
    pub(super) fn give_up(self, core: &Core) {
        self.made.iter().for_each(|target| core.forget_target(target));
    }
}

/// Refuses settings that would have no effect, and logs that, because the error is easily overlooked.
pub(super) fn may_set(config: &TargetConfig, pulls: bool) -> Result<()> {
    config.serves(pulls).inspect_err(|failure| {
        if pulls {
            log::warn!("a source was refused: {failure}");
        }
    })
}

/// Refuses a list of targets and sources if one of them could not be added.
pub(super) fn may_open(targets: &[TargetConfig], sources: &[TargetConfig], key: &[u8]) -> Result<()> {
    if targets.len() + sources.len() > MAX_DECISION_TARGETS {
        let text = format!("targets and sources: at most {MAX_DECISION_TARGETS} together are allowed");
        return Err(Failure::ours(RRError::Arg, text));
    }
    let all = targets.iter().map(|config| (config, false));
    for (config, pulls) in all.chain(sources.iter().map(|config| (config, true))) {
        may_set(config, pulls)?;
        Endpoint::ready(config.clone(), key)?;
    }
    Ok(())
}
