//! The matters that are open: each has one task, and those who wait for its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Setup;
use crate::error::{Failure, RRError, Result};
use crate::stream::event::Id;
use crate::sync::locked;

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Matter {
    /// The stream of this path begins.
    Publish(Vec<u8>),
    /// The stream of this path is to be played, and nothing feeds it.
    Play(Vec<u8>),
    /// This target or source is lost.
    Lost(Id),
    /// The host asks about this stream.
    Host(Id),
}

/// A session that waits, and the number of its question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) session: Id,
}

/// How far a matter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The question is on its way.
    Asks,
    /// The answer is being carried out, for those who waited for it.
    Answers,
    /// It waits until it is time to ask again.
    Sleeps,
}

/// A matter that has a task.
pub(super) struct Open {
    waiting: Vec<Waiting>,
    pub(super) step: Step,
    /// The settings that it is asked under.
    setup: Arc<Setup>,
    /// The host's word.
    word: String,
    /// Somebody wants it asked at once, and wakes the task.
    at_once: bool,
    wake: Arc<Notify>,
    /// When it is asked first.
    from: Instant,
}

impl Open {
    /// One that is asked about first at `from`.
    pub(super) fn new(setup: Arc<Setup>, from: Instant) -> Self {
        Self {
            waiting: Vec::new(),
            step: Step::Asks,
            setup,
            word: String::new(),
            at_once: false,
            wake: Arc::default(),
            from,
        }
    }

    fn ask_at_once(&mut self) {
        self.at_once = true;
        self.wake.notify_one();
    }
}

/// What becomes of a session that comes to wait.
pub(super) enum Comes {
    /// The matter is a new one, which a task is to see to.
    Begins,
    /// It waits for a question that is asked under these settings.
    Waits(Arc<Setup>),
    /// It need not wait: those before it do not either.
    Passes,
}

/// The table of them.
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

    /// A session comes to wait; `setup` is what a question is asked under from now on.
    pub(super) fn wait(&self, matter: Matter, waiting: Waiting, setup: Arc<Setup>) -> Comes {
        let publishes = matches!(matter, Matter::Publish(_));
        match self.table().entry(matter) {
            Entry::Vacant(place) => {
                place.insert(Open::new(setup, Instant::now())).waiting.push(waiting);
                Comes::Begins
            }
            Entry::Occupied(mut place) => match place.get_mut() {
                open if open.step == Step::Asks => {
                    open.waiting.push(waiting);
                    Comes::Waits(Arc::clone(&open.setup))
                }
                // Another one publishes than the one that was asked about, or one plays whom the answer no longer reaches.
                open if publishes || open.step == Step::Answers => {
                    open.waiting.push(waiting);
                    open.ask_at_once();
                    Comes::Waits(setup)
                }
                _ => Comes::Passes,
            },
        }
    }

    /// The host has something to ask. True where the matter is a new one, which a task is to see to.
    ///
    /// # Errors
    /// [`RRError::Again`] where its question before has no answer yet.
    pub(super) fn host_asks(&self, matter: Matter, word: &str, setup: Arc<Setup>) -> Result<bool> {
        let mut table = self.table();
        let open = match table.entry(matter) {
            Entry::Vacant(place) => {
                place.insert(Open::new(setup, Instant::now())).word = word.to_owned();
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

    /// Something is to be asked from then on. True where the matter is a new one, which a task is to see to.
    pub(super) fn begin(&self, matter: Matter, setup: Arc<Setup>, from: Instant) -> bool {
        match self.table().entry(matter) {
            Entry::Vacant(place) => {
                place.insert(Open::new(setup, from));
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// All that rest are asked about at once: whoever let them wait is asked no more.
    pub(super) fn wake_all(&self) {
        self.table().values_mut().filter(|open| open.step == Step::Sleeps).for_each(Open::ask_at_once);
    }

    // ---- a matter's task

    /// What wakes the task, and when it is to ask first.
    pub(super) fn begun(&self, matter: &Matter) -> Option<(Arc<Notify>, Instant)> {
        self.table().get(matter).map(|open| (Arc::clone(&open.wake), open.from))
    }

    /// Whether somebody waits, and the host's word.
    pub(super) fn asked(&self, matter: &Matter) -> Option<(bool, String)> {
        self.table().get(matter).map(|open| (!open.waiting.is_empty(), open.word.clone()))
    }

    /// The matter is asked about from here on, under these settings.
    pub(super) fn asks(&self, matter: &Matter, setup: &Arc<Setup>) {
        self.change(matter, |open| {
            (open.step, open.at_once, open.setup) = (Step::Asks, false, Arc::clone(setup));
        });
    }

    /// Those who wait for the answer that is there.
    pub(super) fn take_waiting(&self, matter: &Matter) -> Vec<Waiting> {
        let mut taken = Vec::new();
        self.change(matter, |open| {
            open.step = Step::Answers;
            taken = std::mem::take(&mut open.waiting);
        });
        taken
    }

    /// The matter rests until it is time to ask again.
    pub(super) fn sleeps(&self, matter: &Matter) {
        self.change(matter, |open| open.step = Step::Sleeps);
    }

    /// Has it asked at once.
    pub(super) fn ask_at_once(&self, matter: &Matter) {
        self.change(matter, Open::ask_at_once);
    }

    /// Whether somebody wants it asked at once.
    pub(super) fn is_wanted_at_once(&self, matter: &Matter) -> bool {
        self.table().get(matter).is_some_and(|open| open.at_once)
    }

    /// Closes a matter, unless somebody waits for it or wants it asked at once; false then.
    pub(super) fn close(&self, matter: &Matter) -> bool {
        let mut table = self.table();
        let closes = table.get(matter).is_none_or(|open| !open.at_once && open.waiting.is_empty());
        if closes {
            table.remove(matter);
        }
        closes
    }
}
