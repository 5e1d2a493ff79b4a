//! Hooks by HTTP: asks back ends whether a peer may connect, publish or play, and notifies them of updates and ends.
//!
//! DESIGN. `hooksThread` has a runtime of its own for all requests of one server. The listener asks and goes on; the
//! answer becomes an RRRestOut, which the listener's thread carries out. The deadline of a question includes its wait
//! for a free place among the requests of its hook; without an answer the default applies, and if this thread hangs,
//! the listener applies it. Each publish and play has a task here from its beginning to its end: it sends updates, and
//! after the last update's answer one `done`. Notifications about targets go one after another.
//!
//! Bounds: one question and some plays for each session, [`MAX_ACTS`] tasks, [`MAX_RETRIES`] notifications that wait
//! for another try, [`MAX_TARGET_TELLS`] waiting notifications about targets, the answer's length. The dialects
//! (`json`, `nginx`) check answers; `client` sends requests, `worker` has the thread.

mod json;
mod nginx;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::client::{Client, Place, Reply, Use, of_back_end};
use super::worker::{self, Seated, Tasks};
use crate::config::{Decision, Dialect, HooksConfig};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::server::events::Subscriber;
use crate::server::figures::Stats;
use crate::server::hooks::{Hooks, Question, Wanted};
use crate::server::place::Patience;
use crate::server::{RRRestOut, RRServer};
use crate::stream::RRStream;
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::record::{Names, RRSession};
use crate::sync::locked;

/// Most publishes and plays that are followed at a time, until their end is reported. Further ones are not reported.
const MAX_ACTS: usize = 100_000;

/// Most notifications that wait for another try: peers that come and go while a back end is down must not fill the
/// memory.
const MAX_RETRIES: usize = 4_096;

/// Most notifications about targets that wait for a back end.
const MAX_TARGET_TELLS: usize = 4_096;

/// The listener waits this much longer than a request may take, before it applies the default itself.
const MARGIN_MS: u64 = 1_000;

/// First wait before a notification is repeated; the wait doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });
/// Longest wait before a notification is repeated.
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// One of the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Connect,
    Publish,
    Play,
    PublishDone,
    PlayDone,
    Update,
    TargetState,
}

impl Hook {
    const ALL: [Self; 7] =
        [Self::Connect, Self::Publish, Self::Play, Self::PublishDone, Self::PlayDone, Self::Update, Self::TargetState];

    fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Publish => "on_publish",
            Self::Play => "on_play",
            Self::PublishDone => "on_publish_done",
            Self::PlayDone => "on_play_done",
            Self::Update => "on_update",
            Self::TargetState => "on_target_state",
        }
    }
}

/// The session that a request is about.
#[derive(Clone, Debug)]
struct About {
    session: Arc<RRSession>,
    /// The session's names, as they were when the session asked or began.
    names: Arc<Names>,
}

/// A publish or play that was granted.
#[derive(Clone, Debug)]
struct Act {
    about: About,
    stream: Id,
    publishes: bool,
    since: Instant,
    /// The act's place among all, held until the last notification is sent.
    _place: Arc<OwnedSemaphorePermit>,
}

impl Act {
    fn so_far(&self) -> SoFar {
        SoFar { ran: self.since.elapsed(), stats: stats(&self.about.session) }
    }
}

/// The figures of a publish or play at one moment.
#[derive(Clone, Copy, Debug)]
struct SoFar {
    ran: Duration,
    stats: Stats,
}

fn stats(session: &RRSession) -> Stats {
    Stats::of(&session.counters, clock::now_us())
}

/// The end of a publish or play.
#[derive(Clone, Debug)]
struct Ended {
    /// When it was. The notification may come later, and again.
    at: Instant,
    stats: Stats,
    /// The cause, if the session has ended too.
    cause: Option<Failure>,
}

impl Ended {
    fn now(session: &RRSession, cause: Option<&Failure>) -> Box<Self> {
        Box::new(Self { at: Instant::now(), stats: stats(session), cause: cause.cloned() })
    }
}

/// A question or notification for a back end.
#[derive(Clone, Debug)]
enum Call {
    Ask(About, Wanted),
    Update(Act),
    /// A publish or play is over.
    Done(Act, Box<Ended>),
    Target(Box<Event>),
}

impl Call {
    fn hook(&self) -> Hook {
        match self {
            Self::Ask(_, Wanted::Connect) => Hook::Connect,
            Self::Ask(_, Wanted::Publish { .. }) => Hook::Publish,
            Self::Ask(_, Wanted::Play { .. }) => Hook::Play,
            Self::Update(_) => Hook::Update,
            Self::Done(act, _) if act.publishes => Hook::PublishDone,
            Self::Done(..) => Hook::PlayDone,
            Self::Target(_) => Hook::TargetState,
        }
    }
}

/// The meaning of a back end's answer to a question.
#[derive(Debug, PartialEq)]
enum Verdict {
    Allow(Box<Decision>),
    Deny { code: String, text: String },
    Redirect(String),
}

impl Verdict {
    fn allow() -> Self {
        Self::Allow(Box::default())
    }

    /// The request that carries this verdict out for a session.
    fn of(self, session: Id) -> RRRestOut {
        match self {
            Self::Allow(decision) => RRRestOut::Allow { session, decision },
            Self::Deny { code, text } => RRRestOut::Deny { session, code, text },
            Self::Redirect(url) => RRRestOut::Redirect { session, url },
        }
    }
}

/// The settings, and what is made from them.
#[derive(Debug)]
struct Setup {
    config: HooksConfig,
    client: Client,
    /// The free places of [`MAX_RETRIES`].
    retries: Semaphore,
}

impl Setup {
    fn url(&self, hook: Hook) -> Option<&str> {
        let place = Hook::ALL.iter().position(|other| *other == hook)?;
        self.config.urls().get(place).copied().flatten()
    }

    /// The request of a call.
    ///
    /// # Errors
    /// [`RRError::Arg`] if the peer's values are too long for an address, [`RRError::NoMem`], [`RRError::Limit`] while other
    /// requests and answers take all the memory that they may.
    fn request(&self, call: &Call, delivery: &str) -> Result<Request<Bytes>> {
        let url = self.url(call.hook()).ok_or(RRError::NotFound)?;
        match self.config.dialect {
            Dialect::Json => json::request(url, call, delivery),
            Dialect::Nginx => nginx::request(url, call, self.config.get),
        }
    }

    /// Makes and sends the request of a call.
    ///
    /// # Errors
    /// Those of [`Self::request`] and of the client.
    async fn exchange(&self, call: &Call, delivery: &str) -> Result<Reply> {
        let place = self.client.place(call.hook() as usize).await?;
        self.send(place, call.hook(), self.request(call, delivery)?).await
    }

    async fn send(&self, place: Place<'_>, hook: Hook, request: Request<Bytes>) -> Result<Reply> {
        // Of the answer to a notification only the status counts: a fault after it must not repeat the notification.
        let is_read = matches!(hook, Hook::Connect | Hook::Publish | Hook::Play | Hook::Update);
        let whole = is_read && self.config.dialect == Dialect::Json;
        self.client.send(place, request, self.config.secret.as_deref(), whole).await
    }

    /// Asks; an invalid answer of a back end is a failure. A peer about whom no question can be asked is denied,
    /// because the default that lets in is only for failures of back ends.
    async fn ask(&self, call: &Call, by: Instant) -> Result<Verdict> {
        let place = self.client.place_by(call.hook() as usize, by).await?;
        let request = match self.request(call, &delivery()) {
            Ok(request) => request,
            Err(failure) if failure.kind == RRError::Limit => return Err(failure),
            Err(failure) => {
                log::warn!("{} cannot be asked about this peer: {failure}", call.hook().name());
                let text = match failure.kind {
                    RRError::NoMem => "there is no memory for the question",
                    _ => "the peer's values are too long for a question",
                };
                return Ok(Verdict::Deny { code: String::new(), text: text.to_owned() });
            }
        };
        let reply = self.send(place, call.hook(), request).await?;
        let verdict = match self.config.dialect {
            Dialect::Json => json::verdict(call, &reply),
            Dialect::Nginx => nginx::verdict(call, &reply, self.config.relay_redirect),
        };
        verdict.map_err(|failure| match failure.kind {
            RRError::Arg => Failure::peers(RRError::Protocol, format!("its answer: {}", failure.text)),
            _ => failure,
        })
    }

    /// Sends a notification, and repeats it if it fails, for the configured time and as long as there is a free place
    /// to wait.
    async fn tell(&self, call: &Call, stopping: &mut watch::Receiver<bool>) {
        let (name, delivery, until) =
            (call.hook().name(), delivery(), Instant::now() + Duration::from_millis(self.config.retry_ms.into()));
        let (mut wait, mut place) = (RETRY_FIRST, None);
        loop {
            let failure = match self.exchange(call, &delivery).await {
                Ok(reply) if reply.status < 500 => return,
                Ok(reply) => Failure::peers(RRError::Rejected, format!("the back end answered {}", reply.status)),
                // Another try makes no other request of the same values.
                Err(failure) if failure.kind == RRError::Arg => {
                    log::warn!("{name} failed: {failure}");
                    return;
                }
                Err(failure) => failure,
            };
            place = place.or_else(|| self.retries.try_acquire().ok());
            let gives_up = place.is_none() || Instant::now() + wait > until;
            if gives_up || tokio::time::timeout(wait, stopping.wait_for(|stopping| *stopping)).await.is_ok() {
                log::warn!("{name} failed: {}", of_back_end(&failure));
                return;
            }
            wait = (wait * 2).min(RETRY_LONGEST);
        }
    }

    /// Notifies that a session goes on. Returns the text of a back end that wants it to end.
    async fn update(&self, call: &Call) -> Option<String> {
        match (self.config.dialect, self.exchange(call, &delivery()).await) {
            (Dialect::Json, Ok(reply)) => json::ends(&reply),
            (Dialect::Nginx, Ok(reply)) if self.config.fail_open && reply.status / 100 == 5 => {
                log::warn!("on_update failed: the back end answered with status {}", reply.status);
                None
            }
            (Dialect::Nginx, Ok(reply)) => nginx::ends(&reply, self.config.strict_update),
            // A request without a free place or room was never sent, and an answer without room not read: the back end
            // has not failed.
            (Dialect::Nginx, Err(failure)) if !self.config.fail_open && failure.kind != RRError::Limit => {
                Some(format!("on_update was not answered: {}", of_back_end(&failure)))
            }
            (_, Err(failure)) => {
                log::warn!("on_update failed: {}", of_back_end(&failure));
                None
            }
        }
    }

    /// The verdict about a session whose back end failed.
    fn default_of(&self, wanted: &Wanted, failure: &Failure) -> Verdict {
        if self.config.fail_open {
            return Verdict::allow();
        }
        Verdict::Deny { code: wanted.failed().to_owned(), text: in_its_place(failure).to_owned() }
    }
}

/// What a peer is told that is refused because its back end failed: that it is not the peer's fault, and what helps. The details
/// are in the log.
fn in_its_place(failure: &Failure) -> &'static str {
    match failure.kind {
        RRError::Limit | RRError::NoMem => "this server has no room for a question to its back end: try again later",
        RRError::Timeout => "the back end of this server did not answer in time: try again later",
        RRError::Connect => "the back end of this server cannot be reached: try again later, or tell its operator",
        _ => "the back end of this server gave no valid answer: tell its operator, whose log has the reason",
    }
}

/// A number for each notification, the same at each try, by which a back end recognises repetitions.
fn delivery() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{:016x}{number:08x}", RandomState::new().build_hasher().finish())
}

/// A publish or play in the table.
struct Running {
    stream: Id,
    end: oneshot::Sender<Box<Ended>>,
}

#[derive(Default)]
struct Table {
    acts: HashMap<Id, Vec<Running>>,
    /// The number of publishes and plays that were not followed.
    passed_over: u64,
}

/// The part that the server's threads call.
struct Desk {
    server: Weak<RRServer>,
    setup: Mutex<Arc<Setup>>,
    table: Mutex<Table>,
    /// The free places of [`MAX_ACTS`].
    acts: Arc<Semaphore>,
    tasks: Tasks,
    targets: mpsc::Sender<Box<Event>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The settings hold a secret, so they are not printed.
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&locked(&self.setup))
    }

    fn take(&self, session: Id, stream: Id) -> Option<Running> {
        let mut table = locked(&self.table);
        let acts = table.acts.get_mut(&session)?;
        let place = acts.iter().position(|act| act.stream == stream)?;
        let act = acts.remove(place);
        if acts.is_empty() {
            table.acts.remove(&session);
        }
        Some(act)
    }
}

impl Hooks for Desk {
    fn ask(&self, question: Question) -> Option<Patience> {
        let setup = self.setup();
        let names = Arc::new(question.session.names());
        let wanted = question.wanted.clone();
        let call = Call::Ask(About { session: Arc::clone(&question.session), names }, question.wanted);
        setup.url(call.hook())?;
        let by_ms = clock::now_ms() + u64::from(setup.config.timeout_ms) + MARGIN_MS;
        let patience = Patience { by_ms, allow: setup.config.fail_open };
        // The time counts from here, also where the thread has much to do before it begins with this.
        let by = setup.client.deadline();
        let (server, number, session) = (Weak::clone(&self.server), question.number, question.session.id);
        self.tasks.spawn(|stopping| async move {
            // Held until the task ends.
            let _stopping = stopping;
            let verdict = setup.ask(&call, by).await.unwrap_or_else(|failure| {
                log::warn!("{} failed: {}", call.hook().name(), of_back_end(&failure));
                setup.default_of(&wanted, &failure)
            });
            let Some(server) = server.upgrade() else { return };
            let Err(failure) = server.answer_question(number, verdict.of(session)) else { return };
            if failure.kind == RRError::NotFound {
                return;
            }
            log::warn!("{}: the answer cannot be carried out: {failure}", call.hook().name());
            let _ = server.answer_question(number, setup.default_of(&wanted, &failure).of(session));
        });
        Some(patience)
    }

    fn began(&self, session: &Arc<RRSession>, stream: &RRStream, publishes: bool, moved: bool) {
        let setup = self.setup();
        let done = if publishes { Hook::PublishDone } else { Hook::PlayDone };
        let updates = setup.url(Hook::Update).and(setup.config.update_ms);
        if updates.is_none() && setup.url(done).is_none() {
            return;
        }
        let Ok(place) = Arc::clone(&self.acts).try_acquire_owned() else {
            let mut table = locked(&self.table);
            table.passed_over += 1;
            if table.passed_over == 1 {
                log::warn!("{MAX_ACTS} publishes and plays are followed for hooks; others are not reported");
            }
            return;
        };
        let (end, ended) = oneshot::channel();
        locked(&self.table).acts.entry(session.id).or_default().push(Running { stream: stream.id(), end });
        let mut names = session.names();
        if names.key_asked.is_empty() {
            names.key_asked.clone_from(&names.key);
        }
        (names.app, names.key) = (stream.name().app.clone(), stream.name().key.clone());
        let about = About { session: Arc::clone(session), names: Arc::new(names) };
        let mut since = Instant::now();
        if moved {
            // When the act began is not known here. Peers ask for theirs as soon as they have connected.
            let connected_us = clock::wall_us().saturating_sub(session.counters.started_us);
            let ran = Duration::from_micros(u64::try_from(connected_us).unwrap_or(0));
            since = since.checked_sub(ran).unwrap_or(since);
        }
        let act = Act { about, stream: stream.id(), publishes, since, _place: Arc::new(place) };
        let server = Weak::clone(&self.server);
        self.tasks.spawn(|stopping| follow(act, setup, updates, ended, server, stopping));
    }

    fn ended(&self, session: &RRSession, stream: Id) {
        if let Some(act) = self.take(session.id, stream) {
            let _ = act.end.send(Ended::now(session, None));
        }
    }

    fn over(&self, session: &RRSession, cause: &Failure) {
        let acts = locked(&self.table).acts.remove(&session.id);
        for act in acts.unwrap_or_default() {
            let _ = act.end.send(Ended::now(session, Some(cause)));
        }
    }

    fn moved(&self, session: &RRSession) {
        // Nothing is sent to those that follow them, so they stop and report no end.
        let acts = locked(&self.table).acts.remove(&session.id);
        drop(acts);
    }
}

impl Subscriber for Desk {
    fn tell(&self, event: &Event) {
        if event.kind == EventKind::Target
            && self.setup().url(Hook::TargetState).is_some()
            && self.targets.try_send(Box::new(event.clone())).is_err()
        {
            log::warn!("on_target_state: {MAX_TARGET_TELLS} notifications wait, one was dropped");
        }
    }
}

/// Follows a publish or play until it has ended, and reports its end.
async fn follow(
    act: Act,
    setup: Arc<Setup>,
    updates: Option<u32>,
    mut ended: oneshot::Receiver<Box<Ended>>,
    server: Weak<RRServer>,
    mut stopping: watch::Receiver<bool>,
) {
    let end = loop {
        let pause = async {
            match updates {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            end = &mut ended => match end {
                Ok(end) => break end,
                // The hooks were removed, or the session is in another process; it goes on.
                Err(_) => return,
            },
            () = pause => {}
        }
        // The end does not interrupt an update: the `done` comes after the update's answer.
        let Some(text) = setup.update(&Call::Update(act.clone())).await else { continue };
        let Some(server) = server.upgrade() else { continue };
        let close = RRRestOut::CloseSession { session: act.about.session.id, text, ban_ms: 0 };
        let _begun = super::begun(&server).await;
        if let Err(failure) = close.carry_out(&server)
            && failure.kind != RRError::NotFound
        {
            log::warn!("on_update: the session is not closed: {failure}");
        }
    };
    let call = Call::Done(act, end);
    if setup.url(call.hook()).is_some() {
        setup.tell(&call, &mut stopping).await;
    }
}

/// Sends notifications about targets, one after another, until the hooks are removed and nothing waits.
async fn tell_of_targets(desk: Arc<Desk>, mut events: mpsc::Receiver<Box<Event>>, mut stopping: watch::Receiver<bool>) {
    loop {
        let stops = *stopping.borrow();
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            _ = stopping.changed(), if !stops => continue,
            () = std::future::ready(()), if stops => None,
        };
        let Some(event) = event else { return };
        let setup = desk.setup();
        if setup.url(Hook::TargetState).is_some() {
            setup.tell(&Call::Target(event), &mut stopping).await;
        }
    }
}

impl worker::Desk for Desk {
    fn server(&self) -> &Weak<RRServer> {
        &self.server
    }

    fn take_place(self: Arc<Self>, server: &RRServer) {
        server.set_hooks(self);
    }

    fn leave_place(self: Arc<Self>, server: &RRServer) {
        let hooks: Arc<dyn Hooks> = self;
        server.remove_hooks(&hooks);
    }

    /// Stops following everything.
    fn left(&self) {
        let before = std::mem::take(&mut *locked(&self.table));
        // The table's senders are dropped after the lock is released.
        drop(before);
    }
}

/// The hooks of one server, and their thread, whose end waits for the remaining notifications.
#[derive(Debug)]
pub(super) struct HooksThread(Seated<Desk>);

impl HooksThread {
    /// Starts to ask and notify back ends.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] if the
    /// process has no thread or fd left.
    pub(super) fn start(server: &Arc<RRServer>, config: HooksConfig) -> Result<Self> {
        let setup = Setup::new(config)?;
        let seated = Seated::start(server, "hooksThread", "hooksResolver", |tasks| {
            let (targets, events) = mpsc::channel(MAX_TARGET_TELLS);
            let desk = Arc::new(Desk {
                server: Arc::downgrade(server),
                setup: Mutex::new(Arc::new(setup)),
                table: Mutex::default(),
                acts: Arc::new(Semaphore::new(MAX_ACTS)),
                tasks,
                targets,
            });
            desk.tasks.spawn(|stopping| tell_of_targets(Arc::clone(&desk), events, stopping));
            desk
        });
        Ok(Self(seated?))
    }

    /// Sets other settings for what begins from now on; publishes and plays that have begun keep the settings they
    /// began with.
    ///
    /// # Errors
    /// Those of [`Self::start`]; then the previous settings stay.
    pub(super) fn change(&self, config: HooksConfig) -> Result<()> {
        let setup = Arc::new(Setup::new(config)?);
        *locked(&self.0.desk().setup) = setup;
        Ok(())
    }
}

impl Setup {
    fn new(config: HooksConfig) -> Result<Self> {
        let client = Client::new(&Use {
            urls: config.urls().into_iter().flatten().collect(),
            ca_file: config.ca_file.as_deref(),
            timeout_ms: config.timeout_ms,
            kinds: Hook::ALL.len(),
            max_requests: config.max_requests,
        })?;
        Ok(Self { config, client, retries: Semaphore::new(MAX_RETRIES) })
    }
}

#[cfg(test)]
mod tests;
