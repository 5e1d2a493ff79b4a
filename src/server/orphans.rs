//! Workers that have lost their server, in the folder of the settings (`worker_dir`): a server looks for them when it begins to
//! listen, and then every second, and takes them over with all that they have.
//!
//! A thread of its own talks to them, to many at a time, and waits for none. Others may put anything into the folder: what
//! is there has a bound, who says something else than a worker is sent away, and who was sent away or has gone is tried
//! again after a pause that grows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crossbeam::channel::{Receiver, Sender, bounded};
use slab::Slab;

use crate::config::MAX_MESSAGE_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::event_loop::{EventLoop, Io, Task};
use crate::net::fd_channel::FdChannel;
use crate::net::folder::{Folder, Found};
use crate::net::poll::{Ready, Wake};
use crate::server::core::Core;
use crate::server::upgrade::takeover::orphans::adopt;
use crate::session::SessionConfig;
use crate::stream::exported::ExportedSession;
use crate::stream::exported::target::ExportedTarget;
use crate::stream::memory::budget::Charge;
use crate::stream::process::orphan::{NAME, TALK_MS, Talk, Turn};
use crate::stream::record::Caller;
use crate::sync::locked;

/// How long a server that begins to listen waits for the workers that it finds. Those that take longer come later, unless
/// somebody else has the names of their streams by then.
const FIRST_MS: u64 = 1_000;

/// For how long it looks more often, and how often: a worker may notice the end of its server only after the next one has
/// begun, and then must come before somebody else has the name of its stream.
const SOON_MS: u64 = 5_000;
const OFTEN_MS: u64 = 100;

/// Most conversations at a time, and most bytes that are kept of them together.
const TALKS: usize = 64;
const BYTES: usize = 128 << 20;

/// Most warnings after a look: anybody can make names.
const WARNINGS: u32 = 10;

/// The pause before the second try of the same worker, and the longest.
const FIRST_PAUSE_MS: u64 = 1_000;
const MAX_PAUSE_MS: u64 = 60_000;

/// An order to look at once, from the thread that waits for the outcome.
type Look = Caller<()>;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Orphans {
    orders: Sender<Look>,
    wake: Arc<Wake>,
    has_begun: Mutex<bool>,
}

impl Orphans {
    /// The thread's loop, if the settings name a folder, and the way to it.
    ///
    /// # Errors
    /// [`RRError::Io`] if the folder cannot be used, [`RRError::Limit`] if the process has no descriptor left.
    pub(super) fn new(core: &Arc<Core>, failed: Box<dyn FnOnce(&str) + Send>) -> Result<Option<(Self, EventLoop)>> {
        let Some(dir) = core.config.worker.dir.as_deref() else { return Ok(None) };
        let mut event_loop = EventLoop::new()?;
        let (orders, inbox) = bounded(1);
        let wake = event_loop.wake()?;
        event_loop.add(Search::new(Arc::clone(core), Folder::make(dir)?), inbox, Arc::clone(&wake), failed);
        Ok(Some((Self { orders, wake, has_begun: Mutex::new(false) }, event_loop)))
    }

    /// Lets the thread begin to look, and waits a moment for those that it finds; once. Whoever calls it meanwhile waits too.
    pub(super) fn begin(&self) {
        let mut has_begun = locked(&self.has_begun);
        if std::mem::replace(&mut *has_begun, true) {
            return;
        }
        let (caller, wait) = Caller::new();
        let by_ms = clock::now_ms() + FIRST_MS;
        if self.orders.try_send(caller).is_ok() {
            self.wake.wake();
            // Those that have not come by then come later.
            let _ = wait.outcome(|| clock::now_ms() >= by_ms);
        }
    }

    /// Lets the thread see that the server ends.
    pub(super) fn wake(&self) {
        self.wake.wake();
    }
}

/// A worker that was tried.
struct Tried {
    count: u32,
    again_ms: u64,
}

/// A conversation.
struct Candidate {
    name: String,
    talk: Talk,
    process: OwnedFd,
    by_ms: u64,
}

/// The task of the thread; only that thread uses its fields.
struct Search {
    core: Arc<Core>,
    folder: Folder,
    /// The largest state of a session or target.
    state: usize,
    /// Names that wait for a conversation.
    found: VecDeque<String>,
    candidates: Slab<Candidate>,
    tried: HashMap<String, Tried>,
    waits: Option<Look>,
    begun_ms: Option<u64>,
    /// The warnings since the last look.
    warnings: u32,
    /// All names in the folder could be read at the last look.
    is_whole: bool,
    /// The memory of conversations.
    memory: Charge,
}

impl Search {
    fn new(core: Arc<Core>, folder: Folder) -> Self {
        // Workers may take larger messages than new sessions here.
        let config = SessionConfig::from(&core.config).with_messages_of(MAX_MESSAGE_BYTES);
        let memory = core.pending.nothing();
        Self {
            core,
            folder,
            state: ExportedSession::bytes_max(&config).max(ExportedTarget::bytes_max(&config)),
            found: VecDeque::new(),
            candidates: Slab::new(),
            tried: HashMap::new(),
            waits: None,
            begun_ms: None,
            warnings: 0,
            is_whole: true,
            memory,
        }
    }

    /// Whether workers may come: not to a server that stops, or that another one just takes over.
    fn is_open(&self) -> bool {
        self.core.still_open().is_ok() && !self.core.moves.load(Ordering::Acquire)
    }

    /// Looks who is there.
    fn look(&mut self) {
        if !self.is_open() {
            return;
        }
        self.warnings = 0;
        let now_ms = clock::now_ms();
        let names = self.folder.names(NAME);
        let is_whole = names.as_ref().is_ok_and(|names| names.is_whole);
        let was_whole = std::mem::replace(&mut self.is_whole, is_whole);
        let names: HashSet<String> = match names {
            Ok(names) => {
                if was_whole && !is_whole {
                    log::warn!("not all workers may be found: their folder has too many other files");
                }
                names.list.into_iter().collect()
            }
            Err(failure) => {
                if was_whole {
                    log::warn!("no worker can be taken over: {failure}");
                }
                return;
            }
        };
        // One whose server has let go of it in the middle is there again in a moment.
        self.tried.retain(|name, tried| names.contains(name) || now_ms < tried.again_ms);
        let is_due = |name: &String| self.tried.get(name).is_none_or(|tried| now_ms >= tried.again_ms);
        let talks: HashSet<&String> = self.candidates.iter().map(|(_, candidate)| &candidate.name).collect();
        self.found = names.iter().filter(|name| is_due(name) && !talks.contains(name)).cloned().collect();
    }

    /// Begins conversations with those who wait for one.
    fn greet(&mut self, io: &Io<'_>) {
        while self.candidates.len() < TALKS {
            let Some(name) = self.found.pop_front() else { return };
            match self.folder.connect(&name) {
                Found::Stale => log::debug!("what was left of a worker that has gone was removed: {name}"),
                Found::Process(connection, process) => {
                    self.note_try(&name);
                    let begun = FdChannel::adopt(connection).and_then(Talk::begin);
                    let entry = self.candidates.vacant_entry();
                    match begun.and_then(|talk| io.watch().add_raw(talk.channel(), entry.key()).map(|()| talk)) {
                        Ok(talk) => {
                            entry.insert(Candidate { name, talk, process, by_ms: clock::now_ms() + TALK_MS });
                        }
                        Err(failure) => log::debug!("the worker {name} was not reached: {failure}"),
                    }
                }
                Found::Nobody => {}
                Found::Other(failure) => {
                    self.note_try(&name);
                    self.warn(&name, "is not taken over", &failure);
                }
            }
        }
    }

    fn note_try(&mut self, name: &str) {
        let tried = self.tried.entry(name.to_owned()).or_insert(Tried { count: 0, again_ms: 0 });
        let pause_ms = FIRST_PAUSE_MS.checked_shl(tried.count).filter(|_| tried.count < 16).unwrap_or(MAX_PAUSE_MS);
        tried.count = tried.count.saturating_add(1);
        tried.again_ms = clock::now_ms() + pause_ms.min(MAX_PAUSE_MS);
    }

    /// Takes what a candidate has said.
    fn turn(&mut self, slot: usize, io: &mut Io<'_>) {
        let others: usize = self.candidates.iter().filter(|(key, _)| *key != slot).map(|(_, it)| it.talk.bytes()).sum();
        let Some(candidate) = self.candidates.get_mut(slot) else { return };
        let turn = candidate.talk.turn(self.state, BYTES.saturating_sub(others));
        let bytes = others + candidate.talk.bytes();
        match turn.and_then(|turn| self.memory.follow(bytes).map(|()| turn)) {
            Ok(Turn::Waits) => {}
            Ok(Turn::More) => io.again(slot),
            Ok(Turn::Over) => {
                if let Some(Candidate { name, talk, process, .. }) = self.leave(slot, io)
                    && let Err(failure) = self.adopt(talk, process)
                {
                    self.warn(&name, "cannot be taken over", &failure);
                }
            }
            // Another server has it, or it has gone.
            Err(failure) if failure.kind == RRError::Closed => drop(self.leave(slot, io)),
            Err(failure) => self.give_up(slot, &failure, io),
        }
    }

    fn adopt(&self, talk: Talk, process: OwnedFd) -> Result<()> {
        if !self.is_open() {
            return Err(Failure::ours(RRError::State, "the server stops, or is being handed over"));
        }
        // The host hears of a stream with all that belongs to it.
        let _held = self.core.events.hold();
        adopt(&self.core, talk.into_orphan(), process)
    }

    fn give_up(&mut self, slot: usize, failure: &Failure, io: &Io<'_>) {
        if let Some(Candidate { name, .. }) = self.leave(slot, io) {
            self.warn(&name, "is not taken over", failure);
        }
    }

    /// Says once of each why it does not come: it may be tried for as long as it is there.
    fn warn(&mut self, name: &str, what: &str, failure: &Failure) {
        let is_first = self.tried.get(name).is_none_or(|tried| tried.count == 1);
        self.warnings += u32::from(is_first);
        let level = if is_first && self.warnings <= WARNINGS { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "what waits as {name} {what}: {failure}");
    }

    fn leave(&mut self, slot: usize, io: &Io<'_>) -> Option<Candidate> {
        let candidate = self.candidates.try_remove(slot)?;
        io.watch().remove_fd(candidate.talk.channel());
        // Less finds room always.
        let _ = self.memory.follow(self.candidates.iter().map(|(_, it)| it.talk.bytes()).sum());
        Some(candidate)
    }
}

impl Task for Search {
    type Message = Look;

    const TICK_MS: u64 = 1_000;
    const SCRATCH_BYTES: usize = 0;

    fn wants_ticks(&self) -> bool {
        self.begun_ms.is_some()
    }

    fn next_timeout(&self) -> Option<u64> {
        self.candidates.iter().map(|(_, candidate)| candidate.by_ms).min().map(|by_ms| by_ms.saturating_mul(1_000))
    }

    fn on_message(&mut self, look: Look, io: &mut Io<'_>) {
        (self.begun_ms, self.waits) = (Some(io.now_us / 1000), Some(look));
        self.look();
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        self.turn(ready.slot, io);
    }

    fn on_tick(&mut self, _nudged: bool, io: &mut Io<'_>) {
        let Some(begun_ms) = self.begun_ms else { return };
        if self.found.is_empty() {
            self.look();
        }
        if io.now_us / 1000 < begun_ms + SOON_MS {
            io.tick_by(io.now_us + OFTEN_MS * 1_000);
        }
    }

    fn end_round(&mut self, _inbox: &Receiver<Look>, io: &mut Io<'_>) {
        let now_ms = clock::now_ms();
        let is_late = |(slot, candidate): (usize, &Candidate)| (now_ms >= candidate.by_ms).then_some(slot);
        for slot in self.candidates.iter().filter_map(is_late).collect::<Vec<_>>() {
            self.give_up(slot, &Failure::ours(RRError::Timeout, "it takes too long"), io);
        }
        self.greet(io);
        if self.found.is_empty()
            && self.candidates.is_empty()
            && let Some(look) = self.waits.take()
        {
            look.take();
            look.tell(Ok(()));
        }
    }

    fn is_over(&self) -> bool {
        self.core.is_closing()
    }

    fn on_end(&mut self, _inbox: &Receiver<Look>, io: &mut Io<'_>) {
        for slot in self.candidates.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.leave(slot, io);
        }
    }
}
