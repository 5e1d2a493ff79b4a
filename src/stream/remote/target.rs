//! A push target, or a source that pulls, as all threads see it: its endpoint, state, counters and events. The dialler
//! connects it, the relay feeds it, [`backoff`] says when the next try is due; this file does no I/O.

pub(crate) mod backoff;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::config::TargetConfig;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::proto::url::RtmpUrl;
use crate::session::{Role, State};
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::identity::Identity;
use crate::stream::record::{Caller, TargetExport};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::stats::Counters;
use crate::sync::locked;

/// What the dialler has to know of a target that goes on from another process.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// The history of its tries.
    pub history: Backoff,
    /// What it does.
    pub stage: ResumedStage,
}

/// What a target that goes on from another process does.
#[derive(Debug)]
pub(crate) enum ResumedStage {
    /// It waits for its stream.
    Rests,
    /// Its next try is due after so many ms.
    Waits(u64),
    /// It has failed for good.
    Failed,
    /// The stream's thread has its connection to this url.
    Away(Box<RtmpUrl>),
}

/// News about a target for the dialler.
#[derive(Debug)]
pub(crate) enum News {
    /// It goes on from another process; the first of all news.
    Resume(Box<Resumed>),
    /// It is to go on in another process.
    Export {
        /// The largest size of its state, in bytes.
        room: usize,
        /// Who waits for the outcome.
        caller: Caller<TargetExport>,
    },
    /// The stream has media: connect, if that has not begun.
    Dial,
    /// The relay lost the connection, after this many ms.
    Lost(Failure, u64),
    /// The relay closed the connection, because the stream has no media for now.
    Released,
    /// The server redirected the target, and its connection was closed.
    Moved {
        /// The new url; `None`: the same url again.
        url: Option<String>,
        /// The server's text.
        text: String,
        /// How long media flowed, in ms.
        ran_ms: u64,
    },
    /// The host wants a try now.
    Retry,
    /// The host stops the target.
    Stop,
    /// Its settings have changed.
    Updated,
    /// The relay closed the connection because new settings need a new one.
    Renewed,
    /// The owner of the connection has closed it.
    Over,
}

/// The url and the addresses of a target's connection, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Way {
    /// The url that is tried or connected, without key and login; empty before the first try.
    pub url: String,
    /// The address; empty while it is unknown.
    pub addr: String,
    /// Our own address on that connection.
    pub local_addr: String,
}

/// Whether connections to this url are over TLS.
pub(crate) fn is_tls(url: &str) -> bool {
    url.starts_with("rtmps:")
}

/// Most news from the host that may wait for one target; usually each kind comes at most once between two turns of the
/// dialler.
const MAX_NEWS: usize = 16;

/// One push target of one stream. It is shared; the thread that owns the connection changes the state.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its id.
    pub id: Id,
    /// [`Role::Target`] or [`Role::Source`].
    pub role: Role,
    stream: Arc<Identity>,
    /// Counters, written by the relay while it is connected.
    pub counters: Counters,
    /// Connections that got as far as `Publish.Start`.
    pub connects: AtomicU32,
    /// Failed tries and lost connections.
    pub failures: AtomicU32,
    /// Monotonic ms of the next try; 0 while none is due.
    pub next_try_ms: AtomicU64,
    endpoint: Mutex<Arc<Endpoint>>,
    /// The endpoint that a source's connection was made for.
    served: Mutex<Option<Arc<Endpoint>>>,
    state: AtomicU32,
    /// Held from a change of the state to its event, so that events come in the order of the changes.
    moving: Mutex<()>,
    /// When the target must have ended, monotonic ms; `u64::MAX` while it is not stopped.
    stop_by_ms: AtomicU64,
    news: Mutex<VecDeque<News>>,
    /// The connection in use, or the last one.
    way: Mutex<Way>,
    /// The error behind its state; 0 if there is none.
    error: AtomicI32,
}

impl Target {
    /// A target that waits for its stream to have media.
    pub(crate) fn new(id: Id, stream: Arc<Identity>, endpoint: Endpoint) -> Self {
        Self {
            id,
            role: Role::Target,
            stream,
            counters: Counters::new(clock::wall_us()),
            connects: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            next_try_ms: AtomicU64::new(0),
            endpoint: Mutex::new(Arc::new(endpoint)),
            served: Mutex::default(),
            state: AtomicU32::new(State::Idle.number()),
            moving: Mutex::default(),
            stop_by_ms: AtomicU64::new(u64::MAX),
            news: Mutex::default(),
            way: Mutex::default(),
            error: AtomicI32::new(0),
        }
    }

    /// Makes it one that goes on from another process in this state, with what was counted there.
    #[must_use]
    pub(crate) fn resumed(
        self,
        state: State,
        error: Option<RRError>,
        (connects, failures): (u32, u32),
        counters: Counters,
    ) -> Self {
        Self {
            state: AtomicU32::new(state.number()),
            error: AtomicI32::new(error.map_or(0, RRError::code)),
            connects: AtomicU32::new(connects),
            failures: AtomicU32::new(failures),
            counters,
            ..self
        }
    }

    /// Its connections and its failures so far.
    pub(crate) fn tries(&self) -> (u32, u32) {
        (self.connects.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// Makes it a source that waits until its stream needs it.
    #[must_use]
    pub(crate) fn pulling(self) -> Self {
        Self { role: Role::Source, ..self }
    }

    /// The stream that a target takes from, or that a source feeds.
    pub(crate) fn stream(&self) -> &Identity {
        &self.stream
    }

    /// Whether it pulls.
    pub(crate) fn is_source(&self) -> bool {
        self.role == Role::Source
    }

    /// The state.
    pub(crate) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::None)
    }

    /// Its present endpoint and settings.
    pub(crate) fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&locked(&self.endpoint))
    }

    /// Changes the settings; the caller tells the dialler and the relay.
    pub(crate) fn set_endpoint(&self, endpoint: Endpoint) {
        *locked(&self.endpoint) = Arc::new(endpoint);
    }

    /// [`Self::set_endpoint`], if the settings are still these.
    ///
    /// # Errors
    /// [`RRError::Again`] if they are not.
    pub(crate) fn change_endpoint(&self, was: &TargetConfig, endpoint: Endpoint) -> Result<()> {
        let mut current = locked(&self.endpoint);
        if *was != current.config {
            return Err(Failure::ours(RRError::Again, "the target's settings have changed meanwhile"));
        }
        *current = Arc::new(endpoint);
        Ok(())
    }

    /// Notes the endpoint that its connection was made for.
    pub(crate) fn set_served(&self, endpoint: Arc<Endpoint>) {
        *locked(&self.served) = Some(endpoint);
    }

    /// Whether the last connection that was handed over fits the present settings.
    pub(crate) fn is_served(&self) -> bool {
        let (endpoint, served) = (self.endpoint(), locked(&self.served));
        served.as_ref().is_none_or(|served| Arc::ptr_eq(served, &endpoint) || served.config.same_way(&endpoint.config))
    }

    /// Sends the target's first event, as it is added to its stream's book.
    ///
    /// # Errors
    /// [`RRError::State`] if the host has found it in a list and stopped it already; then its last event may have been
    /// sent.
    pub(in crate::stream) fn begin(&self) -> Result<()> {
        let _moving = locked(&self.moving);
        if self.is_stopped() {
            return Err(Failure::ours(RRError::State, "stopped before it began"));
        }
        // One that goes on from another process may begin in another state than Idle.
        let event = Event { error: self.last_error(), ..self.event().moved(State::None, self.state()) };
        self.stream.tell(event);
        Ok(())
    }

    /// Changes the state and sends the event; a target that has ended stays ended.
    pub(crate) fn move_to(&self, state: State, change: impl FnOnce(Event) -> Event) {
        // The check, the change and the event are one step, so that nothing comes after the last event.
        let _moving = locked(&self.moving);
        let prev = self.state();
        if prev == state || !prev.may_become(state) {
            return;
        }
        self.state.store(state.number(), Ordering::Release);
        let event = change(self.event().moved(prev, state));
        self.error.store(event.error.map_or(0, RRError::code), Ordering::Relaxed);
        self.stream.tell(event);
    }

    /// Changes the state because of a failure; `wait_ms` is the time to the next try.
    pub(crate) fn move_because(&self, state: State, failure: &Failure, wait_ms: u64) {
        self.move_to(state, |event| Event {
            value: i64::try_from(wait_ms).unwrap_or(i64::MAX),
            ..event.because(failure)
        });
    }

    /// The error behind its state, if there is one.
    pub(crate) fn last_error(&self) -> Option<RRError> {
        RRError::from_code(self.error.load(Ordering::Relaxed))
    }

    /// An event about this target, with all its fields filled in.
    pub(crate) fn event(&self) -> Event {
        let endpoint = self.endpoint();
        let way = self.way();
        let url = if way.url.is_empty() { endpoint.url(0).tc_url() } else { way.url };
        let tls = is_tls(&url);
        Event {
            target: self.id,
            stream: self.stream.id(),
            role: self.role,
            user: if endpoint.config.user == 0 { self.stream.config().user } else { endpoint.config.user },
            app: self.stream.name().app.clone(),
            key: self.stream.name().key.clone(),
            url: url.into_bytes(),
            addr: way.addr.into_bytes(),
            ..Event::new(EventKind::Target).over_tls(tls)
        }
    }

    /// The connection in use, or the last one, for people.
    pub(crate) fn way(&self) -> Way {
        locked(&self.way).clone()
    }

    /// Notes the url that is tried, before it is connected.
    pub(crate) fn set_url(&self, url: String) {
        *locked(&self.way) = Way { url, ..Way::default() };
    }

    /// Notes the address that is being connected to, and our own address if that is known.
    pub(crate) fn set_addr(&self, addr: String, local_addr: String) {
        let mut way = locked(&self.way);
        (way.addr, way.local_addr) = (addr, local_addr);
    }

    /// Stops the target within at most `deadline_ms`.
    pub(crate) fn stop(&self, deadline_ms: u64) {
        let by = clock::now_ms().saturating_add(deadline_ms).min(u64::MAX - 1);
        self.stop_by_ms.fetch_min(by, Ordering::AcqRel);
    }

    /// When the stopped target must have ended, monotonic ms; `None` while it is not stopped.
    pub(crate) fn stop_by_ms(&self) -> Option<u64> {
        Some(self.stop_by_ms.load(Ordering::Acquire)).filter(|&by| by != u64::MAX)
    }

    /// Whether the host has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop_by_ms().is_some()
    }

    /// Leaves news for the dialler, which the caller wakes afterwards.
    pub(crate) fn tell(&self, news: News) {
        let mut waiting = locked(&self.news);
        let same = |other: &News| std::mem::discriminant(other) == std::mem::discriminant(&news);
        let repeats = waiting.back().is_some_and(same);
        // Only the host can repeat itself; news from the relay comes once for each connection.
        let by_host = matches!(news, News::Retry | News::Updated | News::Stop | News::Export { .. });
        if repeats {
            waiting.pop_back();
        } else if by_host && waiting.len() >= MAX_NEWS {
            return;
        }
        waiting.push_back(news);
    }

    /// The oldest news; for the dialler.
    pub(crate) fn next_news(&self) -> Option<News> {
        locked(&self.news).pop_front()
    }
}
