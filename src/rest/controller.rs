//! The controller: asks where streams are pushed to and pulled from, and carries out the answers.
//!
//! DESIGN. `nextThread` has a runtime of its own for all questions of one server. Each open question is a task: it
//! asks, has the answer carried out as an RRRestOut, and asks again if the answer is to wait or if there is none; it
//! ends with an answer that leaves nothing to ask. Sessions that wait for the same question share it. A question is
//! asked only while it applies: while the stream is still published or has waiting players, or the target is still
//! lost.
//!
//! A failure here changes nothing that runs: without an answer, sessions are let in and targets go on trying by
//! themselves.
//!
//! Bounds: for each stream one question about publishing, one about playing and one of the host's, and one for each
//! target; a session waits for at most one. `matters` has the open questions, `deeds` carries out answers, `memory`
//! keeps them, `http` sends requests, `worker` has the thread.
//!
//! An answer belongs to the settings under which it was asked; with these settings it is forgotten. Settings that are
//! set again without a change keep it.

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
use self::question::{Answer, Controller, Deed, Loads, Question, Why};
use super::client::of_back_end;
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

/// The listener waits this much longer than a question may take before it lets the session in itself.
const MARGIN_MS: u64 = 1_000;

/// The time to the next question if there was no answer.
const AGAIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// Most losses of targets that wait to be handled.
const MAX_LOSSES: usize = 4_096;

/// Longest word that the host gives as the reason.
const MAX_WORD_BYTES: usize = 64;

/// The settings, the registry that is made from them, and the answers under them. A second kind of registry gets a
/// constructor beside [`Self::by_http`].
struct Setup {
    controller: Arc<dyn Controller>,
    /// Longest time of a question.
    longest_ms: u64,
    /// What the registry is made from.
    config: ControllerConfig,
    /// Shared by all setups of equal settings, one after another.
    memory: Arc<Mutex<Memory>>,
}

impl Setup {
    fn new(controller: Arc<dyn Controller>, config: ControllerConfig) -> Self {
        let longest_ms = u64::from(config.timeout_ms) * config.urls.len() as u64;
        Self { controller, longest_ms, config, memory: Arc::default() }
    }

    /// # Errors
    /// Those of [`Http::new`].
    fn by_http(config: ControllerConfig) -> Result<Self> {
        Ok(Self::new(Arc::new(Http::new(config.clone())?), config))
    }

    /// Whether answers under these settings are those under the others.
    fn shares_answers(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        locked(&self.memory)
    }
}

/// The loss of a target's or source's connection, or a failed try to connect.
struct Loss {
    target: Id,
    /// The url in the form that events show.
    url: Vec<u8>,
}

/// The part that the server's threads call.
struct Desk {
    server: Weak<RRServer>,
    setup: Mutex<Arc<Setup>>,
    matters: Matters,
    loads: Loads,
    tasks: Tasks,
    losses: mpsc::Sender<Loss>,
    /// Wakes the heartbeat, because the settings have changed.
    changed: Notify,
    itself: Weak<Self>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The settings hold secrets, so they are not printed.
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&locked(&self.setup))
    }

    /// Sets settings for questions from now on. If they are other ones, matters that wait because the previous
    /// controllers said so are asked at once.
    fn change(&self, mut setup: Setup) {
        let mut place = locked(&self.setup);
        let is_other = place.config != setup.config;
        if !is_other {
            setup.memory = Arc::clone(&place.memory);
        }
        *place = Arc::new(setup);
        drop(place);
        if is_other {
            self.matters.wake_all();
        }
        self.changed.notify_one();
    }

    /// Starts the task of a new matter.
    fn see_to(&self, matter: Matter, name: StreamName) {
        if let Some(desk) = self.itself.upgrade() {
            self.tasks.spawn(|stopping| see_to(desk, matter, name, stopping));
        }
    }

    /// The reason of a matter's question now; `None` if there is nothing left to ask.
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

    /// The question of a matter as it is now, under these settings; `None` if there is nothing left to ask.
    fn question(&self, server: &RRServer, setup: &Setup, matter: &Matter, name: &StreamName) -> Option<Question> {
        let why = self.why(server, matter, name)?;
        let tried = setup.memory().tried(name);
        Some(Question { why, name: name.clone(), load: self.loads.of(server, clock::now_ms()), tried })
    }

    /// Whether there is still something to ask.
    fn is_left(&self, matter: &Matter, name: &StreamName) -> bool {
        self.server.upgrade().is_some_and(|server| self.why(&server, matter, name).is_some())
    }

    /// Puts the matter to rest. If the settings have changed since it was asked, it is asked again at once.
    fn sleeps(&self, matter: &Matter, setup: &Arc<Setup>) {
        self.matters.sleeps(matter);
        // The settings are compared after the matter rests, so that a later change finds it resting.
        if !setup.shares_answers(&self.setup()) {
            self.matters.ask_at_once(matter);
        }
    }

    /// Carries out an answer that was given under these settings, and reports it. Returns the time to ask again.
    async fn answered(
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
                let instead = if stands.is_some() { "the last answer is used" } else { "nothing changes" };
                log::warn!(target: told::STREAM, "controller, {}: {}; {instead}", shown(), of_back_end(&failure));
                (stands, Some(failure))
            }
        };
        let waiting = self.matters.take_waiting(matter);
        if let Some(answer) = &answer {
            let url = answer.deed.url().map(mask_url).unwrap_or_default();
            log::info!(target: told::STREAM, "controller, {}: {} {url}", shown(), answer.deed.action().name());
        }
        let deed = answer.as_ref().map(|answer| &answer.deed);
        if let Err(not_done) = deeds::carry_out(server, matter, question, deed, &waiting).await {
            log::warn!(target: told::STREAM, "controller, {}: the answer cannot be carried out: {not_done}", shown());
            failure = Some(not_done);
        }
        server.tell(deeds::event(server, matter, question, answer.as_ref(), failure.as_ref(), &waiting));
        match (&answer, matter) {
            (Some(Answer { deed: Deed::Wait, ttl }), _) => Some(*ttl),
            (None, Matter::Publish(_) | Matter::Play(_) | Matter::Lost(_)) => Some(AGAIN),
            _ => None,
        }
    }

    /// Handles the loss of a target or source. If a controller named it, the controller is asked for a replacement.
    fn lost(&self, server: &RRServer, Loss { target, url }: Loss) {
        let Ok(config) = server.target_config(target) else { return };
        let Some(info) = server.info(target).ok().filter(|_| config.of_controller) else { return };
        let name = StreamName { app: info.app, key: info.key };
        let setup = self.setup();
        let pause = setup.memory().note_tried(&name, named_as(&config, &url));
        let matter = Matter::Lost(target);
        if self.matters.begin(matter.clone(), setup, Instant::now() + pause) {
            self.see_to(matter, name);
        }
    }

    /// Asks because the host wants it.
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

/// The url of a lost connection, in the form that the controller named. If a server redirected us, it is the first url.
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

    fn came(&self, name: StreamName, within_ms: u64) {
        let matter = Matter::Play(name.path());
        if self.matters.begin(matter.clone(), self.setup(), Instant::now() + Duration::from_millis(within_ms)) {
            self.see_to(matter, name);
        }
    }
}

impl Subscriber for Desk {
    fn tell(&self, event: &Event) {
        let lost = event.kind == EventKind::Target && matches!(event.state, State::Recovering | State::Failed);
        let loss = || Loss { target: event.target, url: event.url.clone() };
        if lost && self.losses.try_send(loss()).is_err() {
            log::warn!("controller: {MAX_LOSSES} lost targets wait for a question, one was skipped");
        }
    }
}

/// Handles a matter until there is nothing left to ask.
async fn see_to(desk: Arc<Desk>, matter: Matter, name: StreamName, mut stopping: watch::Receiver<bool>) {
    let Some((wake, from)) = desk.matters.begun(&matter) else { return };
    tokio::select! {
        () = tokio::time::sleep_until(from) => {}
        () = wake.notified() => {}
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
                        Err(Failure::ours(RRError::State, "the controller was removed"))
                    }
                };
                let Some(server) = desk.server.upgrade() else { return };
                desk.answered(&server, &setup, &matter, &question, answer).await
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
            // A matter that ends meanwhile is not kept until that time.
            let look = until.min(Instant::now() + AGAIN);
            tokio::select! {
                () = tokio::time::sleep_until(look) => if look == until || !desk.is_left(&matter, &name) { break },
                // The wake may belong to a question that has been asked already.
                () = wake.notified() => if desk.matters.is_wanted_at_once(&matter) { break },
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }
}

/// Handles lost targets, one after another.
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
            let Some(ms) = setup.config.heartbeat_ms else { return std::future::pending().await };
            let Some(beat) = desk.server.upgrade().map(|server| Heartbeat::of(&server)) else { return };
            if let Err(failure) = setup.controller.heartbeat(&beat).await {
                log::warn!("the heartbeat failed: {}", of_back_end(&failure));
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

/// The controller of one server, and the thread on which it is asked.
#[derive(Debug)]
pub(super) struct NextThread(Seated<Desk>);

impl NextThread {
    /// Starts asking.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] if the
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
                loads: Loads::default(),
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

    /// Sets other settings for questions from now on.
    ///
    /// # Errors
    /// As [`Self::start`]; the previous settings stay.
    pub(super) fn change(&self, config: ControllerConfig) -> Result<()> {
        self.0.desk().change(Setup::by_http(config)?);
        Ok(())
    }

    /// Asks about a stream because the host wants it.
    ///
    /// # Errors
    /// [`RRError::Arg`] for an invalid word, [`RRError::NotFound`], [`RRError::Again`] if an earlier question has no
    /// answer yet.
    pub(super) fn ask(&self, server: &RRServer, stream: Id, why: &str) -> Result<()> {
        self.0.desk().ask(server, stream, why)
    }
}

#[cfg(test)]
mod tests;
