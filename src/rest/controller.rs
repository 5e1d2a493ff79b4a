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
//! one. The open ones are `matters`', what is done with answers is `deeds`', what is remembered `memory`'s, the wire `http`'s, the
//! thread `worker`'s.
//!
//! An answer belongs to the settings that it was asked under: what is remembered of it goes with them.

mod deeds;
mod heartbeat;
mod http;
mod matters;
mod memory;
mod question;

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use self::heartbeat::Heartbeat;
use self::http::Http;
use self::matters::{Comes, Matter, Matters, Waiting};
use self::memory::Memory;
use self::question::{Answer, Controller, Deed, Load, Question, Why};
use super::worker::{self, Seated, Tasks};
use crate::config::{ControllerConfig, TargetConfig};
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::mask::{escape, mask_key, mask_url};
use crate::net::clock;
use crate::proto::url::RtmpUrl;
use crate::server::RRServer;
use crate::server::events::Subscriber;
use crate::server::place::Patience;
use crate::server::placement::{Placement, Placing};
use crate::server::slots::kind;
use crate::session::{Role, State};
use crate::stream::StreamName;
use crate::stream::event::{Event, EventKind, Id};
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

/// Settings with what is made of them, and what was answered under them.
struct Setup {
    controller: Arc<dyn Controller>,
    /// What a question may take.
    longest_ms: u64,
    heartbeat_ms: Option<u32>,
    memory: Mutex<Memory>,
}

impl Setup {
    fn new(controller: Arc<dyn Controller>, longest_ms: u64, heartbeat_ms: Option<u32>) -> Self {
        Self { controller, longest_ms, heartbeat_ms, memory: Mutex::default() }
    }

    /// # Errors
    /// Those of [`Http::new`].
    fn by_http(config: ControllerConfig) -> Result<Self> {
        let longest_ms = u64::from(config.timeout_ms) * config.urls.len() as u64;
        let heartbeat_ms = config.heartbeat_ms;
        Ok(Self::new(Arc::new(Http::new(config)?), longest_ms, heartbeat_ms))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        locked(&self.memory)
    }
}

/// A connection of a target or source was lost, or a try of one failed.
struct Loss {
    target: Id,
    /// The url, as events show it.
    url: Vec<u8>,
}

/// What the server's threads call.
struct Desk {
    server: Weak<RRServer>,
    setup: Mutex<Arc<Setup>>,
    matters: Matters,
    tasks: Tasks,
    losses: mpsc::Sender<Loss>,
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

    /// Other settings for what is asked from now on. Who rests by the word of the controllers before is asked about at once.
    fn change(&self, setup: Setup) {
        *locked(&self.setup) = Arc::new(setup);
        self.matters.wake_all();
        self.changed.notify_one();
    }

    /// Gives a matter that begins its task.
    fn see_to(&self, matter: Matter, name: StreamName) {
        if let Some(desk) = self.itself.upgrade() {
            self.tasks.spawn(|stopping| see_to(desk, matter, name, stopping));
        }
    }

    /// Why a matter is asked about now; `None` where there is nothing left to ask.
    fn why(&self, server: &RRServer, matter: &Matter, name: &StreamName) -> Option<Why> {
        let (waited_for, word) = self.matters.asked(matter)?;
        match matter {
            Matter::Publish(_) => {
                let goes_on = || server.stream_named(name).is_some_and(|stream| stream.has_publisher());
                (waited_for || goes_on()).then_some(Why::Publish)
            }
            Matter::Play(_) => (waited_for || deeds::is_waited_for(server, name)).then_some(Why::Play),
            Matter::Lost(target) => {
                let pulls = deeds::lost(server, *target)? == Role::Source;
                Some(Why::Lost { pulls, named: Box::new(server.target_config(*target).ok()?) })
            }
            Matter::Host(stream) => server.info(*stream).ok().map(|_| Why::Host(word)),
        }
    }

    /// The question that a matter is now, under these settings; `None` where there is nothing left to ask.
    fn question(&self, server: &RRServer, setup: &Setup, matter: &Matter, name: &StreamName) -> Option<Question> {
        let why = self.why(server, matter, name)?;
        let tried = setup.memory().tried(name);
        Some(Question { why, name: name.clone(), load: Load::of(server), tried })
    }

    /// Whether there is something to ask still.
    fn is_left(&self, matter: &Matter, name: &StreamName) -> bool {
        self.server.upgrade().is_some_and(|server| self.why(&server, matter, name).is_some())
    }

    /// The matter rests. Where the settings are others than it was asked under, it is asked about at once.
    fn sleeps(&self, matter: &Matter, setup: &Arc<Setup>) {
        self.matters.sleeps(matter);
        // Looked at after that: settings that come later find it resting.
        if !Arc::ptr_eq(setup, &self.setup()) {
            self.matters.ask_at_once(matter);
        }
    }

    /// Does what was answered under these settings, and tells of it. Gives when to ask again.
    fn answered(
        &self,
        server: &RRServer,
        setup: &Setup,
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
                setup.memory().keep(question, &answer);
                (Some(answer), None)
            }
            Err(failure) => {
                let stands = setup.memory().answer(question);
                let instead = if stands.is_some() { "the answer before is taken" } else { "all goes on as it is" };
                log::warn!(target: told::STREAM, "controller, {}: {failure}; {instead}", shown());
                (stands, Some(failure))
            }
        };
        let waiting = self.matters.take_waiting(matter);
        if let Some(answer) = &answer {
            let url = answer.deed.url().map(mask_url).unwrap_or_default();
            log::info!(target: told::STREAM, "controller, {}: {} {url}", shown(), answer.deed.action().name());
        }
        let deed = answer.as_ref().map(|answer| &answer.deed);
        if let Err(not_done) = deeds::carry_out(server, matter, question, deed, &waiting) {
            log::warn!(target: told::STREAM, "controller, {}: what was answered cannot be done: {not_done}", shown());
            failure = Some(not_done);
        }
        server.tell(deeds::event(server, matter, question, answer.as_ref(), failure.as_ref(), &waiting));
        match (&answer, matter) {
            (Some(Answer { deed: Deed::Wait, ttl }), _) => Some(*ttl),
            (None, Matter::Publish(_) | Matter::Play(_) | Matter::Lost(_)) => Some(AGAIN),
            _ => None,
        }
    }

    /// A target or source was lost. Where a controller has named it, that is asked for another.
    fn lost(&self, server: &RRServer, Loss { target, url }: Loss) {
        let Ok(config) = server.target_config(target) else { return };
        let Some(info) = server.info(target).ok().filter(|_| config.of_controller) else { return };
        let name = StreamName { app: info.app, key: info.key };
        let setup = self.setup();
        let before = setup.memory().note_tried(&name, named_as(&config, &url));
        let from = before.map_or_else(Instant::now, |before| before + LOSS_PAUSE);
        let matter = Matter::Lost(target);
        if self.matters.begin(matter.clone(), setup, from) {
            self.see_to(matter, name);
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
        if self.matters.host_asks(Matter::Host(stream), why, self.setup())? {
            self.see_to(Matter::Host(stream), StreamName { app: info.app, key: info.key });
        }
        Ok(())
    }
}

/// Which of its urls a connection was to, as the controller has named it. Where a server has sent us elsewhere, the first.
fn named_as(config: &TargetConfig, url: &[u8]) -> String {
    let place = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    let shown = place(&String::from_utf8_lossy(url));
    let is_it =
        |named: &&String| RtmpUrl::parse(named, config.key.as_deref()).is_ok_and(|url| place(&url.tc_url()) == shown);
    config.backup_urls.iter().find(is_it).filter(|_| !is_it(&&config.url)).unwrap_or(&config.url).clone()
}

impl Placement for Desk {
    fn ask(&self, question: Placing) -> Option<Patience> {
        let Placing { number, session, name, publishes } = question;
        let path = name.path();
        let matter = if publishes { Matter::Publish(path) } else { Matter::Play(path) };
        let setup = match self.matters.wait(matter.clone(), Waiting { number, session }, self.setup()) {
            Comes::Begins => {
                self.see_to(matter, name);
                self.setup()
            }
            Comes::Waits(setup) => setup,
            Comes::Passes => return None,
        };
        Some(Patience { by_ms: clock::now_ms() + setup.longest_ms + MARGIN_MS, allow: true })
    }
}

impl Subscriber for Desk {
    fn tell(&self, event: &Event) {
        let lost = event.kind == EventKind::Target && matches!(event.state, State::Recovering | State::Failed);
        let loss = || Loss { target: event.target, url: event.url.clone() };
        if lost && self.losses.try_send(loss()).is_err() {
            log::warn!("controller: {MAX_LOSSES} lost targets wait to be asked about, one was passed over");
        }
    }
}

/// Sees to a matter until there is nothing left to ask.
async fn see_to(desk: Arc<Desk>, matter: Matter, name: StreamName, mut stopping: watch::Receiver<bool>) {
    let Some((wake, from)) = desk.matters.begun(&matter) else { return };
    tokio::select! {
        () = tokio::time::sleep_until(from) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    loop {
        let setup = desk.setup();
        desk.matters.asks(&matter, &setup);
        let question = desk.server.upgrade().and_then(|server| desk.question(&server, &setup, &matter, &name));
        let pause = match question {
            Some(question) => {
                let answer = tokio::select! {
                    answer = setup.controller.next(&question) => answer,
                    _ = stopping.wait_for(|stopping| *stopping) => {
                        Err(Failure::ours(RRError::State, "the controller was taken off"))
                    }
                };
                let Some(server) = desk.server.upgrade() else { return };
                desk.answered(&server, &setup, &matter, &question, answer)
            }
            None => None,
        };
        if *stopping.borrow() {
            return;
        }
        let Some(pause) = pause else {
            if desk.matters.close(&matter) {
                return;
            }
            continue;
        };
        desk.sleeps(&matter, &setup);
        let until = Instant::now() + pause;
        loop {
            // What has ended meanwhile is not kept until then.
            let look = until.min(Instant::now() + AGAIN);
            tokio::select! {
                () = tokio::time::sleep_until(look) => if look == until || !desk.is_left(&matter, &name) { break },
                // A wake may be that of a question that has been asked already.
                () = wake.notified() => if desk.matters.is_wanted_at_once(&matter) { break },
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }
}

/// Looks at lost targets, one after another.
async fn see_losses(desk: Arc<Desk>, mut losses: mpsc::Receiver<Loss>, mut stopping: watch::Receiver<bool>) {
    loop {
        let loss = tokio::select! {
            loss = losses.recv() => loss,
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let (Some(loss), Some(server)) = (loss, desk.server.upgrade()) else { return };
        desk.lost(&server, loss);
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

impl worker::Desk for Desk {
    fn server(&self) -> &Weak<RRServer> {
        &self.server
    }

    fn take_place(self: Arc<Self>, server: &RRServer) {
        server.set_placement(self);
    }

    fn leave_place(self: Arc<Self>, server: &RRServer) {
        let placement: Arc<dyn Placement> = self;
        server.remove_placement(&placement);
    }
}

/// The controller of one server, and the thread that it is asked on.
#[derive(Debug)]
pub(super) struct NextThread(Seated<Desk>);

impl NextThread {
    /// Starts asking.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a url that is none, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] where the
    /// process has no thread or fd left.
    pub(super) fn start(server: &Arc<RRServer>, config: ControllerConfig) -> Result<Self> {
        Self::with(server, Setup::by_http(config)?)
    }

    fn with(server: &Arc<RRServer>, setup: Setup) -> Result<Self> {
        let seated = Seated::start(server, "nextThread", "nextResolver", |tasks| {
            let (losses, lost) = mpsc::channel(MAX_LOSSES);
            let desk = Arc::new_cyclic(|itself| Desk {
                server: Arc::downgrade(server),
                setup: Mutex::new(Arc::new(setup)),
                matters: Matters::default(),
                tasks,
                losses,
                changed: Notify::new(),
                itself: Weak::clone(itself),
            });
            desk.tasks.spawn(|stopping| see_losses(Arc::clone(&desk), lost, stopping));
            desk.tasks.spawn(|stopping| beat(Arc::clone(&desk), stopping));
            desk
        });
        Ok(Self(seated?))
    }

    /// Other settings for what is asked from now on.
    ///
    /// # Errors
    /// As [`Self::start`]; the settings before stay.
    pub(super) fn change(&self, config: ControllerConfig) -> Result<()> {
        self.0.desk().change(Setup::by_http(config)?);
        Ok(())
    }

    /// Asks about a stream by the host's word.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a word that is none, [`RRError::NotFound`], [`RRError::Again`] where an earlier question has no
    /// answer yet.
    pub(super) fn ask(&self, server: &RRServer, stream: Id, why: &str) -> Result<()> {
        self.0.desk().ask(server, stream, why)
    }
}

#[cfg(test)]
mod tests;
