//! The open matters: each has one task, and the sessions that wait for its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Setup;
use crate::error::{Failure, RRError, Result};
use crate::stream::event::Id;
use crate::sync::locked;

/// The subject of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Matter {
    /// The stream with this path begins.
    Publish(Vec<u8>),
    /// A session wants to play the stream with this path, and nothing feeds it.
    Play(Vec<u8>),
    /// This target or source is lost.
    Lost(Id),
    /// The host asks about this stream.
    Host(Id),
}

/// A waiting session, and the number of its question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) session: Id,
}

/// The progress of a matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first question waits for its time, or for somebody who wants it earlier.
    Begins,
    /// The question is on its way.
    Asks,
    /// The answer is being carried out for the sessions that waited for it.
    Answers,
    /// The matter waits until it is time to ask again.
    Sleeps,
}

/// An open matter, which has a task.
pub(super) struct Open {
    waiting: Vec<Waiting>,
    pub(super) step: Step,
    /// The settings under which it is asked.
    setup: Arc<Setup>,
    /// The word that the host gave.
    word: String,
    /// The question is wanted at once; whoever sets this wakes the task.
    at_once: bool,
    wake: Arc<Notify>,
    /// The time of the first question, unless it is wanted earlier.
    from: Instant,
}

impl Open {
    /// A new matter, which is asked at once.
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        Self {
            waiting: Vec::new(),
            step: Step::Asks,
            setup,
            word: String::new(),
            at_once: false,
            wake: Arc::default(),
            from: Instant::now(),
        }
    }

    fn ask_at_once(&mut self) {
        self.at_once = true;
        self.wake.notify_one();
    }
}

/// What happens to a session that wants to wait for an answer.
pub(super) enum Comes {
    /// The matter is new; the caller starts its task.
    Begins,
    /// The session waits for a question that is asked under these settings.
    Waits(Arc<Setup>),
    /// The session need not wait, because the matter has been answered.
    Passes,
}

/// The table of open matters.
#[derive(Default)]
pub(super) struct Matters(Mutex<HashMap<Matter, Open>>);

impl Matters {
    pub(super) fn table(&self) -> MutexGuard<'_, HashMap<Matter, Open>> {
        locked(&self.0)
    }

    fn change(&self, matter: &Matter, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.table().get_mut(matter) {
            change(open);
        }
    }

    // ---- who comes

    /// Adds a session that wants to wait; `setup` are the settings for a question from now on.
    pub(super) fn wait(&self, matter: Matter, waiting: Waiting, setup: Arc<Setup>) -> Comes {
        let publishes = matches!(matter, Matter::Publish(_));
        match self.table().entry(matter) {
            Entry::Vacant(place) => {
                place.insert(Open::new(setup)).waiting.push(waiting);
                Comes::Begins
            }
            Entry::Occupied(mut place) => match place.get_mut() {
                open if open.step == Step::Asks => {
                    open.waiting.push(waiting);
                    Comes::Waits(Arc::clone(&open.setup))
                }
                // The question was asked for another publisher, its answer does not reach this player any more, or it
                // has not been asked.
                open if publishes || matches!(open.step, Step::Answers | Step::Begins) => {
                    open.waiting.push(waiting);
                    open.ask_at_once();
                    Comes::Waits(setup)
                }
                _ => Comes::Passes,
            },
        }
    }

    /// Notes a question of the host. True if the matter is new; then the caller starts its task.
    ///
    /// # Errors
    /// [`RRError::Again`] if the host's earlier question has no answer yet.
    pub(super) fn host_asks(&self, matter: Matter, word: &str, setup: Arc<Setup>) -> Result<bool> {
        let mut table = self.table();
        let open = match table.entry(matter) {
            Entry::Vacant(place) => {
                place.insert(Open::new(setup)).word = word.to_owned();
                return Ok(true);
            }
            Entry::Occupied(place) => place.into_mut(),
        };
        if open.step == Step::Asks {
            return Err(Failure::ours(RRError::Again, "an earlier question about the stream has no answer yet"));
        }
        open.word = word.to_owned();
        open.ask_at_once();
        Ok(false)
    }

    /// Opens a matter whose first question is asked then, or as soon as it is wanted at once. True if the matter is new; then the caller starts its task.
    pub(super) fn begin(&self, matter: Matter, setup: Arc<Setup>, from: Instant) -> bool {
        match self.table().entry(matter) {
            Entry::Vacant(place) => {
                place.insert(Open { step: Step::Begins, from, ..Open::new(setup) });
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// All resting matters are asked at once, because the controller that let them wait has been replaced.
    pub(super) fn wake_all(&self) {
        let rests = |open: &&mut Open| matches!(open.step, Step::Begins | Step::Sleeps);
        self.table().values_mut().filter(rests).for_each(Open::ask_at_once);
    }

    // ---- a matter's task

    /// The wake of the matter's task, and the time of its first question, unless the task is woken earlier.
    pub(super) fn begun(&self, matter: &Matter) -> Option<(Arc<Notify>, Instant)> {
        self.table().get(matter).map(|open| (Arc::clone(&open.wake), open.from))
    }

    /// Whether a session waits, and the host's word.
    pub(super) fn asked(&self, matter: &Matter) -> Option<(bool, String)> {
        self.table().get(matter).map(|open| (!open.waiting.is_empty(), open.word.clone()))
    }

    /// Marks the matter as being asked, under these settings.
    pub(super) fn asks(&self, matter: &Matter, setup: &Arc<Setup>) {
        self.change(matter, |open| {
            (open.step, open.at_once, open.setup) = (Step::Asks, false, Arc::clone(setup));
        });
    }

    /// Takes the sessions that wait for the answer that has come.
    pub(super) fn take_waiting(&self, matter: &Matter) -> Vec<Waiting> {
        let mut taken = Vec::new();
        self.change(matter, |open| {
            open.step = Step::Answers;
            taken = std::mem::take(&mut open.waiting);
        });
        taken
    }

    /// Puts the matter to rest until it is time to ask again.
    pub(super) fn sleeps(&self, matter: &Matter) {
        self.change(matter, |open| open.step = Step::Sleeps);
    }

    /// Makes the task ask at once.
    pub(super) fn ask_at_once(&self, matter: &Matter) {
        self.change(matter, Open::ask_at_once);
    }

    /// Whether the question is wanted at once.
    pub(super) fn is_wanted_at_once(&self, matter: &Matter) -> bool {
        self.table().get(matter).is_some_and(|open| open.at_once)
    }

    /// Closes a matter. Returns false, and leaves it open, if a session waits for it or the question is wanted at once.
    pub(super) fn close(&self, matter: &Matter) -> bool {
        let mut table = self.table();
        let closes = table.get(matter).is_none_or(|open| !open.at_once && open.waiting.is_empty());
        if closes {
            table.remove(matter);
        }
        closes
    }
}
