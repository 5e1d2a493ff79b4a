//! The controller: who is asked where a stream goes next and where it comes from, and what is done with the answers.
//!
//! DESIGN. `nextThread` has a runtime of its own for all questions of one server. Each open question is a task, which ends with
//! an answer that leaves nothing to ask: it asks, has the answer carried out as an RRRestOut, and asks again where the answer is
//! to wait, or where there is none. Sessions that wait for one question share it. A question is asked only while there is
//! something to answer: the stream is still published, still waited for, the target still lost.
//!
//! Whoever fails here changes nothing that runs: without an answer sessions are let in, targets go on trying by themselves.
//!
//! Bounds: one question a stream for each of publishing, playing and the host's word, and one a target; each session waits for
//! one. What is remembered is `memory`'s, the wire `http`'s, the thread `worker`'s.

mod heartbeat;
mod http;
mod memory;
mod question;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use self::heartbeat::Heartbeat;
use self::http::Http;
use self::memory::Memory;
use self::question::{Answer, Controller, Deed, Load, Question, Why};
use super::worker::{Tasks, Worker};
use crate::config::{ControllerConfig, Decision};
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::mask::{escape, mask_key, mask_url};
use crate::net::clock;
use crate::proto::url::RtmpUrl;
use crate::server::events::Subscriber;
use crate::server::place::Patience;
use crate::server::placement::{Placement, Placing};
use crate::server::slots::kind;
use crate::server::{RRRestOut, RRServer};
use crate::session::{Role, State};
use crate::stream::StreamName;
use crate::stream::event::{Action, Event, EventKind, Id};
use crate::sync::locked;

/// The listener waits this much longer than a question may take, before it lets the session in itself.
const MARGIN_MS: u64 = 1_000;

/// The time to the next question, where there is no answer.
const AGAIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// Where a relay of the stream was lost within this time before, a loss is asked about after it: a controller that names relays
/// which are lost at once is not asked without end.
const LOSS_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 1_000 });

/// Losses of targets that wait to be looked at.
const MAX_LOSSES: usize = 4_096;

/// Longest word of the host's.
const MAX_WORD_BYTES: usize = 64;

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Matter {
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
struct Waiting {
    number: u64,
    session: Id,
}

/// How far a matter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The question is on its way.
    Asks,
    /// The answer is being carried out, for those who waited for it.
    Answers,
    /// It waits until it is time to ask again.
    Sleeps,
}

/// A matter that has a task.
#[derive(Debug)]
struct Open {
    waiting: Vec<Waiting>,
    step: Step,
    /// The host's word.
    word: String,
    /// Somebody wants it asked at once, and wakes the task.
    at_once: bool,
    wake: Arc<Notify>,
    /// When it is asked first.
    from: Instant,
}

impl Open {
    fn new(waiting: Vec<Waiting>, word: &str) -> Self {
        Self {
            waiting,
            step: Step::Asks,
            word: word.to_owned(),
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

/// Settings with what is made of them.
struct Setup {
    controller: Arc<dyn Controller>,
    /// What a question may take.
    longest_ms: u64,
    heartbeat_ms: Option<u32>,
}

impl Setup {
    /// # Errors
    /// Those of [`Http::new`].
    fn new(config: ControllerConfig) -> Result<Self> {
        let longest_ms = u64::from(config.timeout_ms) * config.urls.len() as u64;
        let heartbeat_ms = config.heartbeat_ms;
        Ok(Self { controller: Arc::new(Http::new(config)?), longest_ms, heartbeat_ms })
    }
}

/// What the server's threads call.
struct Desk {
    server: Weak<RRServer>,
    setup: Mutex<Arc<Setup>>,
    table: Mutex<HashMap<Matter, Open>>,
    memory: Mutex<Memory>,
    tasks: Tasks,
    losses: mpsc::Sender<Id>,
    /// Wakes the heartbeat: the settings are others.
    changed: Notify,
    itself: Weak<Self>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings hold secrets.
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&locked(&self.setup))
    }

    /// Begins a matter that is not open yet.
    fn open(&self, table: &mut HashMap<Matter, Open>, matter: Matter, name: StreamName, open: Open) {
        let Some(desk) = self.itself.upgrade() else { return };
        table.insert(matter.clone(), open);
        self.tasks.spawn(|stopping| see_to(desk, matter, name, stopping));
    }

    /// Why a matter is asked about now; `None` where there is nothing left to ask.
    fn why(&self, server: &RRServer, matter: &Matter, name: &StreamName) -> Option<Why> {
        let (waited_for, word) = {
            let table = locked(&self.table);
            let open = table.get(matter)?;
            (!open.waiting.is_empty(), open.word.clone())
        };
        match matter {
            Matter::Publish(_) => {
                let goes_on = || server.stream_named(name).is_some_and(|stream| stream.has_publisher());
                (waited_for || goes_on()).then_some(Why::Publish)
            }
            Matter::Play(_) => (waited_for || is_waited_for(server, name)).then_some(Why::Play),
            Matter::Lost(target) => Some(Why::Lost { pulls: lost(server, *target)? == Role::Source }),
            Matter::Host(stream) => server.info(*stream).ok().map(|_| Why::Host(word)),
        }
    }

    /// The question that a matter is now; `None` where there is nothing left to ask.
    fn question(&self, server: &RRServer, matter: &Matter, name: &StreamName) -> Option<Question> {
        let why = self.why(server, matter, name)?;
        let tried = locked(&self.memory).tried(name);
        Some(Question { why, name: name.clone(), load: Load::of(server), tried })
    }

    /// Whether there is something to ask still.
    fn is_left(&self, matter: &Matter, name: &StreamName) -> bool {
        self.server.upgrade().is_some_and(|server| self.why(&server, matter, name).is_some())
    }

    /// Those who wait for the answer that is there.
    fn take_waiting(&self, matter: &Matter) -> Vec<Waiting> {
        let mut table = locked(&self.table);
        let Some(open) = table.get_mut(matter) else { return Vec::new() };
        open.step = Step::Answers;
        std::mem::take(&mut open.waiting)
    }

    /// Whether somebody wants it asked at once.
    fn is_wanted_at_once(&self, matter: &Matter) -> bool {
        locked(&self.table).get(matter).is_some_and(|open| open.at_once)
    }

    /// The matter rests until it is time to ask again.
    fn sleeps(&self, matter: &Matter) {
        if let Some(open) = locked(&self.table).get_mut(matter) {
            open.step = Step::Sleeps;
        }
    }

    /// Closes a matter, unless somebody waits for it or wants it asked at once; false then.
    fn close(&self, matter: &Matter) -> bool {
        let mut table = locked(&self.table);
        let closes = table.get(matter).is_none_or(|open| !open.at_once && open.waiting.is_empty());
        if closes {
            table.remove(matter);
        }
        closes
    }

    /// The matter is asked about again from here on.
    fn asks_again(&self, matter: &Matter) {
        if let Some(open) = locked(&self.table).get_mut(matter) {
            (open.step, open.at_once) = (Step::Asks, false);
        }
    }

    /// Does what was answered, and tells of it. Gives when to ask again.
    fn answered(
        &self,
        server: &RRServer,
        matter: &Matter,
        question: &Question,
        answer: Result<Answer>,
    ) -> Option<Duration> {
        let shown = || {
            let name = &question.name;
            format!("{} of {}/{}", question.why.word(), escape(&name.app), mask_key(&name.key))
        };
        let (answer, mut failure) = match answer {
            Ok(answer) => {
                locked(&self.memory).keep(question, &answer);
                (Some(answer), None)
            }
            Err(failure) => {
                let stands = locked(&self.memory).answer(question);
                let instead = if stands.is_some() { "the answer before is taken" } else { "all goes on as it is" };
                log::warn!(target: told::STREAM, "controller, {}: {failure}; {instead}", shown());
                (stands, Some(failure))
            }
        };
        let waiting = self.take_waiting(matter);
        if let Some(answer) = &answer {
            let url = answer.deed.url().map(mask_url).unwrap_or_default();
            log::info!(target: told::STREAM, "controller, {}: {} {url}", shown(), answer.deed.action().name());
        }
        if let Err(not_done) = carry_out(server, matter, question, answer.as_ref().map(|answer| &answer.deed), &waiting)
        {
            log::warn!(target: told::STREAM, "controller, {}: what was answered cannot be done: {not_done}", shown());
            failure = Some(not_done);
        }
        server.tell(event(server, matter, question, answer.as_ref(), failure.as_ref(), &waiting));
        match (&answer, matter) {
            (Some(Answer { deed: Deed::Wait, ttl }), _) => Some(*ttl),
            (None, Matter::Publish(_) | Matter::Play(_) | Matter::Lost(_)) => Some(AGAIN),
            _ => None,
        }
    }

    /// A target or source was lost. Where a controller has named it, that is asked for another.
    fn lost(&self, server: &RRServer, target: Id) {
        let Ok(config) = server.target_config(target) else { return };
        let Some(info) = server.info(target).ok().filter(|_| config.of_controller) else { return };
        let name = StreamName { app: info.app, key: info.key };
        let before = locked(&self.memory).note_tried(&name, config.url);
        let from = before.map_or_else(Instant::now, |before| before + LOSS_PAUSE);
        let matter = Matter::Lost(target);
        let mut table = locked(&self.table);
        if !table.contains_key(&matter) {
            self.open(&mut table, matter, name, Open { from, ..Open::new(Vec::new(), "") });
        }
    }

    /// Asks by the host's word.
    fn ask(&self, server: &RRServer, stream: Id, why: &str) -> Result<()> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !(1..=MAX_WORD_BYTES).contains(&why.len()) || !why.bytes().all(good) {
            let text = format!("why: 1 to {MAX_WORD_BYTES} letters, digits or any of _-.");
            return Err(Failure::ours(RRError::Arg, text));
        }
        let not_found = || Failure::ours(RRError::NotFound, "no such stream, or it has ended");
        let info =
            server.info(stream).ok().filter(|info| info.kind == u32::from(kind::STREAM)).ok_or_else(not_found)?;
        let matter = Matter::Host(stream);
        let mut table = locked(&self.table);
        match table.get_mut(&matter) {
            Some(open) if open.step == Step::Asks => {
                return Err(Failure::ours(RRError::Again, "an earlier question about the stream has no answer yet"));
            }
            Some(open) => {
                open.word = why.to_owned();
                open.ask_at_once();
            }
            None => {
                let name = StreamName { app: info.app, key: info.key };
                self.open(&mut table, matter, name, Open::new(Vec::new(), why));
            }
        }
        Ok(())
    }
}

impl Placement for Desk {
    fn ask(&self, question: Placing) -> Option<Patience> {
        let Placing { number, session, name, publishes } = question;
        let path = name.path();
        let matter = if publishes { Matter::Publish(path) } else { Matter::Play(path) };
        let waiting = Waiting { number, session };
        let mut table = locked(&self.table);
        match table.get_mut(&matter) {
            Some(open) if open.step == Step::Asks => open.waiting.push(waiting),
            // Another one publishes than the one that was asked about, or one plays whom the answer no longer reaches.
            Some(open) if publishes || open.step == Step::Answers => {
                open.waiting.push(waiting);
                open.ask_at_once();
            }
            // It waits as those before do.
            Some(_) => return None,
            None => self.open(&mut table, matter, name, Open::new(vec![waiting], "")),
        }
        drop(table);
        Some(Patience { by_ms: clock::now_ms() + self.setup().longest_ms + MARGIN_MS, allow: true })
    }
}

impl Subscriber for Desk {
    fn tell(&self, event: &Event) {
        let lost = event.kind == EventKind::Target && matches!(event.state, State::Recovering | State::Failed);
        if lost && self.losses.try_send(event.target).is_err() {
            log::warn!("controller: {MAX_LOSSES} lost targets wait to be asked about, one was passed over");
        }
    }
}

/// Sees to a matter until there is nothing left to ask.
async fn see_to(desk: Arc<Desk>, matter: Matter, name: StreamName, mut stopping: watch::Receiver<bool>) {
    let begun = locked(&desk.table).get(&matter).map(|open| (Arc::clone(&open.wake), open.from));
    let Some((wake, from)) = begun else { return };
    tokio::select! {
        () = tokio::time::sleep_until(from) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    loop {
        desk.asks_again(&matter);
        let question = desk.server.upgrade().and_then(|server| desk.question(&server, &matter, &name));
        let pause = match question {
            Some(question) => {
                let setup = desk.setup();
                let answer = tokio::select! {
                    answer = setup.controller.next(&question) => answer,
                    _ = stopping.wait_for(|stopping| *stopping) => {
                        Err(Failure::ours(RRError::State, "the controller was taken off"))
                    }
                };
                let Some(server) = desk.server.upgrade() else { return };
                desk.answered(&server, &matter, &question, answer)
            }
            None => None,
        };
        if *stopping.borrow() {
            return;
        }
        let Some(pause) = pause else {
            if desk.close(&matter) {
                return;
            }
            continue;
        };
        desk.sleeps(&matter);
        let until = Instant::now() + pause;
        loop {
            // What has ended meanwhile is not kept until then.
            let look = until.min(Instant::now() + AGAIN);
            tokio::select! {
                () = tokio::time::sleep_until(look) => if look == until || !desk.is_left(&matter, &name) { break },
                // A wake may be that of a question that has been asked already.
                () = wake.notified() => if desk.is_wanted_at_once(&matter) { break },
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }
}

/// Looks at lost targets, one after another.
async fn see_losses(desk: Arc<Desk>, mut losses: mpsc::Receiver<Id>, mut stopping: watch::Receiver<bool>) {
    loop {
        let target = tokio::select! {
            target = losses.recv() => target,
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let (Some(target), Some(server)) = (target, desk.server.upgrade()) else { return };
        desk.lost(&server, target);
    }
}

/// Sends heartbeats.
async fn beat(desk: Arc<Desk>, mut stopping: watch::Receiver<bool>) {
    loop {
        let setup = desk.setup();
        let pause = async {
            let Some(ms) = setup.heartbeat_ms else { return std::future::pending().await };
            let Some(beat) = desk.server.upgrade().map(|server| Heartbeat::of(&server)) else { return };
            if let Err(failure) = setup.controller.heartbeat(&beat).await {
                log::warn!("the heartbeat was not heard: {failure}");
            }
            tokio::time::sleep(Duration::from_millis(ms.into())).await;
        };
        tokio::select! {
            () = pause => {}
            () = desk.changed.notified() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Whether somebody plays this stream, and nothing feeds it nor is going to.
fn is_waited_for(server: &RRServer, name: &StreamName) -> bool {
    let Some(stream) = server.stream_named(name) else { return false };
    let sources = stream.sources();
    let fed = sources.list().iter().any(|source| source.state() != State::Failed);
    !stream.has_publisher() && !fed && sources.are_watched()
}

/// What is lost; `None` where it is not any more, or has ended.
fn lost(server: &RRServer, target: Id) -> Option<Role> {
    let info = server.info(target).ok()?;
    let tries = matches!(info.state, State::Recovering | State::Failed | State::Connecting | State::Handshake);
    tries.then_some(info.role)
}

/// Does what is to be done, for those who wait or for the stream that is there. Without an answer those who wait are let in.
///
/// # Errors
/// Why it cannot be done; nothing was then, and those who wait are let in all the same.
fn carry_out(
    server: &RRServer,
    matter: &Matter,
    question: &Question,
    deed: Option<&Deed>,
    waiting: &[Waiting],
) -> Result<()> {
    if waiting.is_empty() {
        return deed.map_or(Ok(()), |deed| carry_out_at_stream(server, matter, question, deed));
    }
    let mut done = Ok(());
    for Waiting { number, session } in waiting.iter().copied() {
        let allow = |decision| RRRestOut::Allow { session, decision: Box::new(decision) };
        let order = match deed {
            Some(Deed::Relay(targets)) => allow(Decision { targets: targets.clone(), ..Decision::default() }),
            Some(Deed::Pull(source)) => allow(Decision { sources: vec![(**source).clone()], ..Decision::default() }),
            Some(Deed::Reject(text)) => RRRestOut::Deny { session, code: String::new(), text: text.clone() },
            Some(Deed::Wait) | None => allow(Decision::default()),
        };
        match server.answer_question(number, order) {
            Err(failure) if failure.kind != RRError::NotFound => {
                done = Err(failure);
                // Who cannot be answered either has gone.
                let _ = server.answer_question(number, allow(Decision::default()));
            }
            _ => {}
        }
    }
    // Those whom an answer before has let in wait on the stream.
    match deed.filter(|_| matches!(matter, Matter::Play(_)) && is_waited_for(server, &question.name)) {
        Some(deed) => {
            let on_stream = carry_out_at_stream(server, matter, question, deed);
            done.and(on_stream)
        }
        None => done,
    }
}

fn carry_out_at_stream(server: &RRServer, matter: &Matter, question: &Question, deed: &Deed) -> Result<()> {
    let named = || server.stream_named(&question.name).map(|stream| stream.id());
    let (stream, instead_of) = match matter {
        Matter::Publish(_) | Matter::Play(_) => (named(), None),
        Matter::Host(stream) => (Some(*stream), None),
        // It may be back.
        Matter::Lost(target) => match lost(server, *target).and_then(|_| server.info(*target).ok()) {
            Some(info) => (Some(info.stream), Some(*target)),
            None => return Ok(()),
        },
    };
    // The stream has ended, and nothing is to be done.
    let Some(stream) = stream else { return Ok(()) };
    let (targets, sources) = match (deed, matter) {
        (Deed::Relay(targets), _) => (targets.clone(), Vec::new()),
        (Deed::Pull(source), _) => (Vec::new(), vec![(**source).clone()]),
        (Deed::Reject(text), Matter::Publish(_)) => return close_publisher(server, stream, text),
        (Deed::Reject(text), Matter::Play(_)) => {
            return RRRestOut::RefusePlayers { stream, text: text.clone() }.carry_out(server).map(drop);
        }
        (Deed::Reject(_) | Deed::Wait, _) => return Ok(()),
    };
    RRRestOut::Open { stream, targets, sources, instead_of }.carry_out(server).map(drop)
}

/// The publisher that was let in to wait is refused after all.
fn close_publisher(server: &RRServer, stream: Id, text: &str) -> Result<()> {
    for session in server.list(stream, kind::SESSION)? {
        if server.info(session).is_ok_and(|info| info.role == Role::Publisher) {
            RRRestOut::CloseSession { session, text: text.to_owned(), ban_ms: 0 }.carry_out(server)?;
        }
    }
    Ok(())
}

/// What the host is told.
fn event(
    server: &RRServer,
    matter: &Matter,
    question: &Question,
    answer: Option<&Answer>,
    failure: Option<&Failure>,
    waiting: &[Waiting],
) -> Event {
    let mut event = Event::new(EventKind::Next);
    if let Some(failure) = failure {
        event = event.because(failure);
    }
    let words = match (failure, answer.map(|answer| &answer.deed)) {
        (Some(failure), _) => failure.text.to_string(),
        (None, Some(Deed::Reject(text))) => text.clone(),
        (None, deed) => deed.map_or(Action::None, Deed::action).name().to_owned(),
    };
    let url = answer.and_then(|answer| RtmpUrl::parse(answer.deed.url()?, None).ok());
    let lost = if let Matter::Lost(target) = matter { *target } else { 0 };
    let session = waiting.first().map_or(0, |waiting| waiting.session);
    let about = server.info(if lost == 0 { session } else { lost }).ok().filter(|info| info.id != 0);
    Event {
        action: answer.map_or(Action::None, |answer| answer.deed.action()),
        stream: server.stream_named(&question.name).map_or(0, |stream| stream.id()),
        session,
        target: lost,
        role: about.as_ref().map_or(Role::None, |info| info.role),
        addr: about.map_or_else(Vec::new, |info| info.addr.into_bytes()),
        app: question.name.app.clone(),
        key: question.name.key.clone(),
        url: url.map(|url| url.tc_url().into_bytes()).unwrap_or_default(),
        value: answer.map_or(0, |answer| i64::try_from(answer.ttl.as_millis()).unwrap_or(i64::MAX)),
        text: format!("{}: {words}", question.why.word()).into_bytes(),
        ..event
    }
}

/// The controller of one server, and the thread that it is asked on.
#[derive(Debug)]
pub(super) struct NextThread {
    desk: Arc<Desk>,
    /// Its end waits for the tasks.
    _worker: Worker,
}

impl NextThread {
    /// Starts asking.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a url that is none, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] where the
    /// process has no thread or fd left.
    pub(super) fn start(server: &Arc<RRServer>, config: ControllerConfig) -> Result<Self> {
        Self::with(server, Setup::new(config)?)
    }

    fn with(server: &Arc<RRServer>, setup: Setup) -> Result<Self> {
        let worker = Worker::start(server, "nextThread", "nextResolver")?;
        let (losses, lost) = mpsc::channel(MAX_LOSSES);
        let desk = Arc::new_cyclic(|itself| Desk {
            server: Arc::downgrade(server),
            setup: Mutex::new(Arc::new(setup)),
            table: Mutex::default(),
            memory: Mutex::default(),
            tasks: worker.tasks().clone(),
            losses,
            changed: Notify::new(),
            itself: Weak::clone(itself),
        });
        desk.tasks.spawn(|stopping| see_losses(Arc::clone(&desk), lost, stopping));
        desk.tasks.spawn(|stopping| beat(Arc::clone(&desk), stopping));
        let running = Self { desk, _worker: worker };
        server.set_placement(Arc::<Desk>::clone(&running.desk));
        server.subscribe(&running.subscriber());
        Ok(running)
    }

    /// Other settings for what is asked from now on.
    ///
    /// # Errors
    /// As [`Self::start`]; the settings before stay.
    pub(super) fn change(&self, config: ControllerConfig) -> Result<()> {
        let setup = Arc::new(Setup::new(config)?);
        *locked(&self.desk.setup) = setup;
        // Other controllers, other answers.
        *locked(&self.desk.memory) = Memory::default();
        self.desk.changed.notify_one();
        Ok(())
    }

    /// Asks about a stream by the host's word.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a word that is none, [`RRError::NotFound`], [`RRError::Again`] where an earlier question has no
    /// answer yet.
    pub(super) fn ask(&self, server: &RRServer, stream: Id, why: &str) -> Result<()> {
        self.desk.ask(server, stream, why)
    }

    fn subscriber(&self) -> Arc<dyn Subscriber> {
        Arc::<Desk>::clone(&self.desk)
    }
}

impl Drop for NextThread {
    fn drop(&mut self) {
        let Some(server) = self.desk.server.upgrade() else { return };
        let placement: Arc<dyn Placement> = Arc::<Desk>::clone(&self.desk);
        server.remove_placement(&placement);
        server.unsubscribe(&self.subscriber());
    }
}

#[cfg(test)]
mod tests;
