//! Hooks by HTTP: back ends that are asked whether a peer may connect, publish or play, and told of what comes of it.
//!
//! DESIGN. `hooksThread` has a runtime of its own for all requests of one server. The listener asks and goes on; the answer
//! is an RRRestOut, which the listener's thread carries out. A question has a deadline that includes its wait for a place
//! among the requests of its hook; without an answer the default is done, by the listener itself should this thread hang.
//! What a session publishes or plays has a task here from its beginning to its end: updates, then one done, in this
//! order, and the done after the last update's answer. Tells of targets go one after another.
//!
//! Bounds: one question and some plays a session, [`MAX_ACTS`] tasks, [`MAX_RETRIES`] tells that wait for another try,
//! [`MAX_TARGET_TELLS`] tells of targets that wait, the answer's length. What a back end does is checked by the dialects
//! (`json`, `nginx`); the wire is `client`'s, the thread `worker`'s.

mod json;
mod nginx;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::client::{Client, Reply, Use};
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

/// Publishes and plays that are followed at one time, until their end is told. More than this are not told of.
const MAX_ACTS: usize = 100_000;

/// Tells that wait for another try: peers that come and go while a back end is down must not fill the memory.
const MAX_RETRIES: usize = 4_096;

/// Tells of targets that wait for a back end.
const MAX_TARGET_TELLS: usize = 4_096;

/// The listener waits this much longer than a request may take, before it does the default itself.
const MARGIN_MS: u64 = 1_000;

/// First wait before a tell is tried again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });
/// Longest such wait.
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

/// Whom a request is about.
#[derive(Clone, Debug)]
struct About {
    session: Arc<RRSession>,
    /// The session's names, as they were when it asked or began.
    names: Names,
}

/// A publish or play that was granted.
#[derive(Clone, Debug)]
struct Act {
    about: About,
    stream: Id,
    publishes: bool,
    since: Instant,
    /// The act's room among all, up to the end of the last tell.
    _place: Arc<OwnedSemaphorePermit>,
}

impl Act {
    fn stats(&self) -> Stats {
        Stats::of(&self.about.session.counters, clock::now_us())
    }
}

/// What a back end is asked or told.
#[derive(Clone, Debug)]
enum Call {
    Ask(About, Wanted),
    Update(Act),
    /// A publish or play is over; why, where its session has ended with it.
    Done(Act, Option<Failure>),
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

/// What a back end's answer to a question comes to.
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

    /// The answer for this session.
    fn of(self, session: Id) -> RRRestOut {
        match self {
            Self::Allow(decision) => RRRestOut::Allow { session, decision },
            Self::Deny { code, text } => RRRestOut::Deny { session, code, text },
            Self::Redirect(url) => RRRestOut::Redirect { session, url },
        }
    }
}

/// Settings with what is made of them.
#[derive(Debug)]
struct Setup {
    config: HooksConfig,
    client: Client,
    /// Room for those of [`MAX_RETRIES`].
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
    /// [`RRError::Arg`] where what the peer has sent is too long for an address.
    fn request(&self, call: &Call, delivery: &str) -> Result<Request<Bytes>> {
        let url = self.url(call.hook()).ok_or(RRError::NotFound)?;
        match self.config.dialect {
            Dialect::Json => json::request(url, call, delivery),
            Dialect::Nginx => nginx::request(url, call, self.config.get),
        }
    }

    async fn send(&self, hook: Hook, request: Request<Bytes>) -> Result<Reply> {
        let whole = self.config.dialect == Dialect::Json;
        self.client.send(hook as usize, request, self.config.secret.as_deref(), whole).await
    }

    /// Asks; a back end that does not answer as it should is a failure. Whoever makes the question impossible is denied: a
    /// default that lets in is for back ends that fail.
    async fn ask(&self, call: &Call) -> Result<Verdict> {
        let request = match self.request(call, &delivery()) {
            Ok(request) => request,
            Err(failure) => {
                log::warn!("{} cannot be asked about this peer: {failure}", call.hook().name());
                return Ok(Verdict::Deny {
                    code: String::new(),
                    text: "what was sent is too long to be asked about".to_owned(),
                });
            }
        };
        let reply = self.send(call.hook(), request).await?;
        match self.config.dialect {
            Dialect::Json => json::verdict(call, &reply),
            Dialect::Nginx => nginx::verdict(call, &reply, self.config.relay_redirect),
        }
    }

    /// Tells, and again where that fails, for the time that is set and while there is room to wait.
    async fn tell(&self, call: &Call, stopping: &mut watch::Receiver<bool>) {
        let (name, delivery, until) =
            (call.hook().name(), delivery(), Instant::now() + Duration::from_millis(self.config.retry_ms.into()));
        let (mut wait, mut place) = (RETRY_FIRST, None);
        loop {
            let request = match self.request(call, &delivery) {
                Ok(request) => request,
                Err(failure) => {
                    log::warn!("{name} was told nobody: {failure}");
                    return;
                }
            };
            let failure = match self.send(call.hook(), request).await {
                Ok(reply) if reply.status < 500 => return,
                Ok(reply) => Failure::peers(RRError::Rejected, format!("the back end answered {}", reply.status)),
                Err(failure) => failure,
            };
            place = place.or_else(|| self.retries.try_acquire().ok());
            let gives_up = place.is_none() || Instant::now() + wait > until;
            if gives_up || tokio::time::timeout(wait, stopping.wait_for(|stopping| *stopping)).await.is_ok() {
                log::warn!("{name} was told nobody: {failure}");
                return;
            }
            wait = (wait * 2).min(RETRY_LONGEST);
        }
    }

    /// Tells that a session goes on; the words of a back end that wants it to end.
    async fn update(&self, call: &Call) -> Option<String> {
        let reply = match self.request(call, &delivery()) {
            Ok(request) => self.send(call.hook(), request).await,
            Err(failure) => Err(failure),
        };
        match (self.config.dialect, reply) {
            (Dialect::Json, Ok(reply)) => json::ends(&reply),
            (Dialect::Nginx, Ok(reply)) => nginx::ends(&reply, self.config.strict_update),
            // A request that found no place was never sent: that is no answer of the back end's.
            (Dialect::Nginx, Err(failure)) if !self.config.fail_open && failure.kind != RRError::Limit => {
                Some(format!("on_update was not answered: {failure}"))
            }
            (_, Err(failure)) => {
                log::warn!("on_update was told nobody: {failure}");
                None
            }
        }
    }

    /// What becomes of a session whose back end failed.
    fn default_of(&self, wanted: &Wanted, failure: &Failure) -> Verdict {
        if self.config.fail_open {
            return Verdict::allow();
        }
        let text = format!("nobody could be asked: {}", failure.kind.sentence());
        Verdict::Deny { code: wanted.failed().to_owned(), text }
    }
}

/// A number for each thing that is told, the same at each try: by it a back end knows what it was told already.
fn delivery() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{:016x}{number:08x}", RandomState::new().build_hasher().finish())
}

/// A publish or play, as the table has it.
struct Running {
    stream: Id,
    end: oneshot::Sender<Option<Failure>>,
}

#[derive(Default)]
struct Table {
    acts: HashMap<Id, Vec<Running>>,
    /// How many were not followed.
    passed_over: u64,
}

/// What the server's threads call.
struct Desk {
    server: Weak<RRServer>,
    setup: Mutex<Arc<Setup>>,
    table: Mutex<Table>,
    /// Room for those of [`MAX_ACTS`].
    acts: Arc<Semaphore>,
    tasks: Tasks,
    targets: mpsc::Sender<Box<Event>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings hold a secret.
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
        let names = question.session.names();
        let wanted = question.wanted.clone();
        let call = Call::Ask(About { session: Arc::clone(&question.session), names }, question.wanted);
        setup.url(call.hook())?;
        let timeout_ms = u64::from(setup.config.timeout_ms);
        let patience = Patience { by_ms: clock::now_ms() + timeout_ms + MARGIN_MS, allow: setup.config.fail_open };
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let (server, number, session) = (Weak::clone(&self.server), question.number, question.session.id);
        self.tasks.spawn(|stopping| async move {
            // Held to the end.
            let _stopping = stopping;
            let asked = tokio::time::timeout_at(deadline, setup.ask(&call)).await;
            let asked = asked.unwrap_or_else(|_| Err(Failure::peers(RRError::Timeout, "no answer in time")));
            let verdict = asked.unwrap_or_else(|failure| {
                log::warn!("{} failed: {failure}", call.hook().name());
                setup.default_of(&wanted, &failure)
            });
            let Some(server) = server.upgrade() else { return };
            let Err(failure) = server.answer_question(number, verdict.of(session)) else { return };
            if failure.kind == RRError::NotFound {
                return;
            }
            log::warn!("{}: what was answered cannot be done: {failure}", call.hook().name());
            let _ = server.answer_question(number, setup.default_of(&wanted, &failure).of(session));
        });
        Some(patience)
    }

    fn began(&self, session: &Arc<RRSession>, stream: &RRStream, publishes: bool) {
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
                log::warn!("{MAX_ACTS} publishes and plays are followed for hooks; of others they hear nothing");
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
        let about = About { session: Arc::clone(session), names };
        let act = Act { about, stream: stream.id(), publishes, since: Instant::now(), _place: Arc::new(place) };
        let server = Weak::clone(&self.server);
        self.tasks.spawn(|stopping| follow(act, setup, updates, ended, server, stopping));
    }

    fn ended(&self, session: &RRSession, stream: Id) {
        if let Some(act) = self.take(session.id, stream) {
            let _ = act.end.send(None);
        }
    }

    fn over(&self, session: &RRSession, cause: &Failure) {
        let acts = locked(&self.table).acts.remove(&session.id);
        for act in acts.unwrap_or_default() {
            let _ = act.end.send(Some(cause.clone()));
        }
    }
}

impl Subscriber for Desk {
    fn tell(&self, event: &Event) {
        if event.kind == EventKind::Target
            && self.setup().url(Hook::TargetState).is_some()
            && self.targets.try_send(Box::new(event.clone())).is_err()
        {
            log::warn!("on_target_state: {MAX_TARGET_TELLS} tells wait, one was dropped");
        }
    }
}

/// Follows a publish or play until it has ended, and tells of that.
async fn follow(
    act: Act,
    setup: Arc<Setup>,
    updates: Option<u32>,
    mut ended: oneshot::Receiver<Option<Failure>>,
    server: Weak<RRServer>,
    mut stopping: watch::Receiver<bool>,
) {
    let cause = loop {
        let pause = async {
            match updates {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            cause = &mut ended => match cause {
                Ok(cause) => break cause,
                // The session goes on, and the hooks are taken off.
                Err(_) => return,
            },
            () = pause => {}
        }
        // An update is not given up for the end: the done comes after the update's answer.
        let Some(text) = setup.update(&Call::Update(act.clone())).await else { continue };
        let Some(server) = server.upgrade() else { continue };
        let close = RRRestOut::CloseSession { session: act.about.session.id, text, ban_ms: 0 };
        if let Err(failure) = close.carry_out(&server)
            && failure.kind != RRError::NotFound
        {
            log::warn!("on_update: the session is not closed: {failure}");
        }
    };
    let call = Call::Done(act, cause);
    if setup.url(call.hook()).is_some() {
        setup.tell(&call, &mut stopping).await;
    }
}

/// Tells of targets, one after another, until the hooks are taken off and nothing waits.
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

    /// Follows nothing from now on.
    fn left(&self) {
        let before = std::mem::take(&mut *locked(&self.table));
        // The table's senders are dropped without the lock.
        drop(before);
    }
}

/// The hooks of one server, and the thread that they run on, whose end waits for what is still to be told.
#[derive(Debug)]
pub(super) struct HooksThread(Seated<Desk>);

impl HooksThread {
    /// Starts asking and telling.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a url that is none, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] where the
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

    /// Other settings for what begins from now on; what has begun goes on with those it began with.
    ///
    /// # Errors
    /// Those of [`Self::start`]; the settings before stay then.
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
mod tests {
    use super::*;

    #[test]
    fn a_tell_that_finds_no_room_to_wait_is_given_up() {
        // Nobody listens on a port that is bound only.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let on_target_state = Some(format!("http://127.0.0.1:{port}/"));
        let setup = Setup::new(HooksConfig { on_target_state, retry_ms: 3_600_000, ..HooksConfig::default() }).unwrap();
        let all = setup.retries.try_acquire_many(MAX_RETRIES as u32).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_stop, mut stopping) = watch::channel(false);
        let call = Call::Target(Box::new(Event::new(EventKind::Target)));
        let mut tell =
            |within| runtime.block_on(async { tokio::time::timeout(within, setup.tell(&call, &mut stopping)).await });
        assert!(tell(Duration::from_secs(30)).is_ok(), "it does not wait for an hour");
        drop(all);
        assert!(tell(Duration::from_millis(200)).is_err(), "with room it waits");
        assert_eq!(setup.retries.available_permits(), MAX_RETRIES, "and leaves its place");
    }
}
