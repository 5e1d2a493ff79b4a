//! A push target, or a source that pulls, as everybody sees it: what is to be reached, how it goes, what is to be told
//! of it. The dialler connects it, the relay feeds it, [`backoff`] says when the next try is due; nothing here does I/O.

pub mod backoff;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::config::TargetConfig;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::tls::{ClientConfig, Trust};
use crate::proto::url::RtmpUrl;
use crate::session::{Role, State};
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::identity::Identity;
use crate::stream::stats::Counters;
use crate::sync::locked;

/// Something the dialler is to know about a target.
#[derive(Clone, Debug)]
pub enum News {
    /// The stream has media: connect, if that has not begun.
    Dial,
    /// The relay lost the connection, after so many ms.
    Lost(Failure, u64),
    /// The relay closed it in order, because the stream has no media for now.
    Released,
    /// The server sent it elsewhere, and it was closed.
    Moved {
        /// Where to; `None`: to the same place again.
        url: Option<String>,
        /// The server's words.
        text: String,
        /// After so many ms.
        ran_ms: u64,
    },
    /// The host wants a try now.
    Retry,
    /// The host wants it gone.
    Stop,
    /// Its settings are others now.
    Updated,
    /// The relay closed it because its new settings want a new connection.
    Renewed,
    /// It is gone: whoever had it has closed it.
    Over,
}

/// What a target is to do: its settings and the places they name.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The settings.
    pub config: TargetConfig,
    url: RtmpUrl,
    backups: Vec<RtmpUrl>,
    tls: OnceLock<ClientConfig>,
}

impl Plan {
    /// Reads the urls; `own_key` is the stream's, for those that end with the application.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, and one without an application.
    pub fn new(config: TargetConfig, own_key: &[u8]) -> Result<Self> {
        let read = |url: &String| {
            let mut url = RtmpUrl::parse(url, config.key.as_deref())?;
            if url.app.split('?').next().is_none_or(|app| app.trim_matches('/').is_empty()) {
                return Err(Failure::ours(RRError::Arg, "url names no application"));
            }
            if config.key.is_none() && url.key.is_empty() {
                url.key = own_key.to_vec();
            }
            Ok(url)
        };
        let url = read(&config.url)?;
        let backups = config.backup_urls.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { url, backups, config, tls: OnceLock::new() })
    }

    /// As [`Self::new`], and whom it cannot trust (a file that holds no roots) is told now, not by the first try.
    ///
    /// # Errors
    /// As [`Self::new`] and [`Self::tls`].
    pub fn ready(config: TargetConfig, own_key: &[u8]) -> Result<Self> {
        let plan = Self::new(config, own_key)?;
        if (0..plan.urls()).any(|index| plan.url(index).tls) {
            plan.tls()?;
        }
        Ok(plan)
    }

    /// What its connections over TLS share: made at the first call, which reads the roots.
    ///
    /// # Errors
    /// As [`ClientConfig::new`].
    pub fn tls(&self) -> Result<ClientConfig> {
        if let Some(made) = self.tls.get() {
            return Ok(made.clone());
        }
        let made = ClientConfig::new(&Trust {
            ca_file: self.config.ca_file.as_ref().map(PathBuf::from),
            pin_sha256: self.config.pin_sha256.clone(),
            insecure: self.config.insecure,
        })?;
        Ok(self.tls.get_or_init(|| made).clone())
    }

    /// How many urls there are.
    pub fn urls(&self) -> usize {
        1 + self.backups.len()
    }

    /// Where it goes: 0 is the url, the backups follow; beyond them it is the url again.
    pub fn url(&self, index: usize) -> &RtmpUrl {
        index.checked_sub(1).and_then(|backup| self.backups.get(backup)).unwrap_or(&self.url)
    }
}

/// Which place a target is at, for people.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The url that is tried or connected, without key and login; empty before the first try.
    pub url: String,
    /// The address; empty before there is one.
    pub addr: String,
    /// Our own address on that connection.
    pub local_addr: String,
}

/// Whether connections to this url are over TLS.
pub fn is_tls(url: &str) -> bool {
    url.starts_with("rtmps:")
}

/// News of the host's that may wait for one target; each kind comes once in the time the dialler takes for a turn.
const MAX_NEWS: usize = 16;

/// One push target of one stream. Shared; the state is moved by whichever thread has it in hand.
#[derive(Debug)]
pub struct Target {
    /// Its id.
    pub id: Id,
    /// [`Role::Target`] or [`Role::Source`].
    pub role: Role,
    stream: Arc<Identity>,
    /// Counters, written by the relay while it is connected.
    pub counters: Counters,
    /// Connections that got as far as `Publish.Start`.
    pub connects: AtomicU32,
    /// Tries that failed and connections that were lost.
    pub failures: AtomicU32,
    /// Monotonic ms of the next try; 0 while none is due.
    pub next_try_ms: AtomicU64,
    plan: Mutex<Arc<Plan>>,
    /// What its connection was made for; of a source.
    served: Mutex<Option<Arc<Plan>>>,
    state: AtomicU32,
    /// Held from a move to its event, so that events come in the order of the moves, the last one last.
    moving: Mutex<()>,
    /// Monotonic ms by which it is to be gone; `u64::MAX` while it is wanted.
    stop_by_ms: AtomicU64,
    news: Mutex<VecDeque<News>>,
    /// What is or was connected.
    way: Mutex<Way>,
    /// Why it is in its state; 0 where all is well.
    error: AtomicI32,
}

impl Target {
    /// A target that waits for its stream to have media.
    pub fn new(id: Id, stream: Arc<Identity>, plan: Plan) -> Self {
        Self {
            id,
            role: Role::Target,
            stream,
            counters: Counters::new(clock::wall_us()),
            connects: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            next_try_ms: AtomicU64::new(0),
            plan: Mutex::new(Arc::new(plan)),
            served: Mutex::default(),
            state: AtomicU32::new(State::Idle.number()),
            moving: Mutex::default(),
            stop_by_ms: AtomicU64::new(u64::MAX),
            news: Mutex::default(),
            way: Mutex::default(),
            error: AtomicI32::new(0),
        }
    }

    /// A source that waits for its stream to want it.
    #[must_use]
    pub fn pulling(self) -> Self {
        Self { role: Role::Source, ..self }
    }

    /// The stream it takes from, or feeds.
    pub fn stream(&self) -> &Identity {
        &self.stream
    }

    /// Whether it pulls.
    pub fn is_source(&self) -> bool {
        self.role == Role::Source
    }

    /// The state.
    pub fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::None)
    }

    /// What it is to do now.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&locked(&self.plan))
    }

    /// Other settings from now on; the dialler and the relay are to be told.
    pub fn set_plan(&self, plan: Plan) {
        *locked(&self.plan) = Arc::new(plan);
    }

    /// Notes what its connection was made for.
    pub fn set_served(&self, plan: Arc<Plan>) {
        *locked(&self.served) = Some(plan);
    }

    /// Whether the connection it was last handed over with does for what it is to do now.
    pub fn is_served(&self) -> bool {
        let (plan, served) = (self.plan(), locked(&self.served));
        served.as_ref().is_none_or(|served| Arc::ptr_eq(served, &plan) || served.config.same_way(&plan.config))
    }

    /// Tells the target's first event, as it comes on its stream's book.
    ///
    /// # Errors
    /// [`RRError::State`] where the host has found it in a list and has stopped it already: then its last event may have
    /// been told.
    pub(in crate::stream) fn begin(&self) -> Result<()> {
        let _moving = locked(&self.moving);
        if self.is_stopped() {
            return Err(Failure::ours(RRError::State, "stopped before it began"));
        }
        self.stream.tell(self.event().moved(State::None, State::Idle));
        Ok(())
    }

    /// Moves on and tells the host; a target that has ended stays ended.
    pub fn move_to(&self, state: State, change: impl FnOnce(Event) -> Event) {
        // Looked at, moved and told as one, so that nothing comes after the last event.
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

    /// Moves on because of something; `wait_ms` is the time to the next try.
    pub fn move_because(&self, state: State, failure: &Failure, wait_ms: u64) {
        self.move_to(state, |event| Event {
            value: i64::try_from(wait_ms).unwrap_or(i64::MAX),
            ..event.because(failure)
        });
    }

    /// Why it is in its state, where that is a failure.
    pub fn last_error(&self) -> Option<RRError> {
        RRError::from_code(self.error.load(Ordering::Relaxed))
    }

    /// An event about this target, with everything known of it.
    pub fn event(&self) -> Event {
        let plan = self.plan();
        let way = self.way();
        let url = if way.url.is_empty() { plan.url(0).tc_url() } else { way.url };
        let tls = is_tls(&url);
        Event {
            target: self.id,
            stream: self.stream.id(),
            role: self.role,
            user: if plan.config.user == 0 { self.stream.config().user } else { plan.config.user },
            app: self.stream.name().app.clone(),
            key: self.stream.name().key.clone(),
            url: url.into_bytes(),
            addr: way.addr.into_bytes(),
            ..Event::new(EventKind::Target).over_tls(tls)
        }
    }

    /// What is or was connected, for people.
    pub fn way(&self) -> Way {
        locked(&self.way).clone()
    }

    /// Notes the url being tried; nothing is connected.
    pub fn set_url(&self, url: String) {
        *locked(&self.way) = Way { url, ..Way::default() };
    }

    /// Notes the address being connected, and from which of ours where that is known.
    pub fn set_addr(&self, addr: String, local_addr: String) {
        let mut way = locked(&self.way);
        (way.addr, way.local_addr) = (addr, local_addr);
    }

    /// The host wants it gone within so many ms.
    pub fn stop(&self, deadline_ms: u64) {
        let by = clock::now_ms().saturating_add(deadline_ms).min(u64::MAX - 1);
        self.stop_by_ms.fetch_min(by, Ordering::AcqRel);
    }

    /// By when the host wants it gone, monotonic ms.
    pub fn stop_by_ms(&self) -> Option<u64> {
        Some(self.stop_by_ms.load(Ordering::Acquire)).filter(|&by| by != u64::MAX)
    }

    /// Whether the host wants it gone.
    pub fn is_stopped(&self) -> bool {
        self.stop_by_ms().is_some()
    }

    /// Leaves news for the dialler, which the caller wakes afterwards.
    pub fn tell(&self, news: News) {
        let mut waiting = locked(&self.news);
        let same = |other: &News| std::mem::discriminant(other) == std::mem::discriminant(&news);
        let repeats = waiting.back().is_some_and(same);
        // Only the host can say the same over and over; what the relay says comes once for each connection.
        let by_host = matches!(news, News::Retry | News::Updated | News::Stop);
        if repeats {
            waiting.pop_back();
        } else if by_host && waiting.len() >= MAX_NEWS {
            return;
        }
        waiting.push_back(news);
    }

    /// The oldest news; for the dialler.
    pub fn next_news(&self) -> Option<News> {
        locked(&self.news).pop_front()
    }
}
