//! A push target, or a source that pulls: what is to be reached, how it goes, and when the next try is due. The dialler connects it, the
//! relay feeds it; nothing here does I/O.

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
use crate::stream::RRStream;
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::meter::Counters;
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
    /// It is gone: whoever had it has closed it.
    Over,
}

/// News that may wait for one target; each kind comes once in the time the dialler takes for a turn.
const MAX_NEWS: usize = 16;

/// One push target of one stream. Shared; the state is moved by whichever thread has it in hand.
#[derive(Debug)]
pub struct Target {
    /// Its id.
    pub id: Id,
    /// [`Role::Target`] or [`Role::Source`].
    pub role: Role,
    /// The stream it takes from, or feeds.
    pub stream: Arc<RRStream>,
    /// Its settings.
    pub config: TargetConfig,
    /// Where it goes.
    pub url: RtmpUrl,
    /// Counters, written by the relay while it is connected.
    pub counters: Counters,
    /// Connections that got as far as `Publish.Start`.
    pub connects: AtomicU32,
    /// Tries that failed and connections that were lost.
    pub failures: AtomicU32,
    /// Monotonic ms of the next try; 0 while none is due.
    pub next_try_ms: AtomicU64,
    state: AtomicU32,
    moving: Mutex<()>,
    /// Monotonic ms by which it is to be gone; `u64::MAX` while it is wanted.
    stop_by_ms: AtomicU64,
    news: Mutex<VecDeque<News>>,
    /// The address that is or was connected.
    addr: Mutex<String>,
    /// Why it is in its state; 0 where all is well.
    error: AtomicI32,
    tls: OnceLock<ClientConfig>,
}

impl Target {
    /// A target that waits for its stream to have media.
    pub fn new(id: Id, stream: Arc<RRStream>, config: TargetConfig, url: RtmpUrl) -> Self {
        Self {
            id,
            role: Role::Target,
            stream,
            config,
            url,
            counters: Counters::new(clock::wall_us()),
            connects: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            next_try_ms: AtomicU64::new(0),
            state: AtomicU32::new(State::Idle.number()),
            moving: Mutex::default(),
            stop_by_ms: AtomicU64::new(u64::MAX),
            news: Mutex::default(),
            addr: Mutex::default(),
            error: AtomicI32::new(0),
            tls: OnceLock::new(),
        }
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

    /// The same as a source: it waits for its stream to want it.
    #[must_use]
    pub fn pulling(self) -> Self {
        Self { role: Role::Source, ..self }
    }

    /// Whether it pulls.
    pub fn is_source(&self) -> bool {
        self.role == Role::Source
    }

    /// The state.
    pub fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::None)
    }

    /// Moves on and tells the host; a target that has ended stays ended.
    pub fn move_to(&self, state: State, change: impl FnOnce(Event) -> Event) {
        // Looked at, moved and told as one, so that nothing comes after the last event.
        let _moving = locked(&self.moving);
        let prev = self.state();
        if prev == state || prev == State::Stopped {
            return;
        }
        self.state.store(state.number(), Ordering::Release);
        let event = change(self.event().moved(prev, state));
        self.error.store(event.error.map_or(0, RRError::code), Ordering::Relaxed);
        self.stream.host().event(event);
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
        Event {
            target: self.id,
            stream: self.stream.id,
            user: if self.config.user == 0 { self.stream.config.user } else { self.config.user },
            app: self.stream.name.app.clone(),
            key: self.stream.name.key.clone(),
            url: self.url.tc_url().into_bytes(),
            addr: self.addr().into_bytes(),
            ..Event::new(EventKind::Target).over_tls(self.url.tls)
        }
    }

    /// The address that is or was connected, for people.
    pub fn addr(&self) -> String {
        locked(&self.addr).clone()
    }

    /// Notes the address being connected.
    pub fn set_addr(&self, addr: String) {
        *locked(&self.addr) = addr;
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

    /// Leaves news for the dialler, which is to be rung afterwards.
    pub fn tell(&self, news: News) {
        let mut waiting = locked(&self.news);
        if waiting.len() < MAX_NEWS {
            waiting.push_back(news);
        } else if let Some(last) = waiting.back_mut() {
            // So many at once say the same; the newest is what counts.
            *last = news;
        }
    }

    /// The oldest news; for the dialler.
    pub fn next_news(&self) -> Option<News> {
        locked(&self.news).pop_front()
    }
}

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another try after so many milliseconds.
    Retry(u64),
    /// None: this cause does not pass by itself.
    Fatal,
    /// None: tried as often as was configured.
    GiveUp,
}

/// The reconnect policy: growing back-off with jitter, a cap, a reset after good running, and an end.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures_in_row: u32,
    refused_in_row: u32,
}

impl Backoff {
    /// What comes after a failure. `ran_ms` is how long media flowed before it; `random` is any number, for jitter.
    pub fn after(&mut self, config: &TargetConfig, failure: &Failure, ran_ms: u64, random: u64) -> Next {
        if ran_ms >= u64::from(config.retry_reset_ms) {
            *self = Self::default();
        }
        self.failures_in_row += 1;
        // Some ingests answer BadName while the old session times out: once is not fatal.
        self.refused_in_row = if failure.kind == RRError::Rejected { self.refused_in_row + 1 } else { 0 };
        let once_refused = failure.kind == RRError::Rejected && self.refused_in_row < 2;
        if !(failure.kind.retriable() || once_refused || config.retry_fatal) {
            return Next::Fatal;
        }
        if config.retry_count.is_some_and(|count| self.failures_in_row > count) {
            return Next::GiveUp;
        }
        let doublings = (self.failures_in_row - 1).min(20);
        let wait = (u64::from(config.retry_min_ms) << doublings).min(u64::from(config.retry_max_ms));
        let spread = wait * u64::from(config.retry_jitter_pct.min(100)) / 100;
        // Jitter takes away only, so the cap stays a cap.
        Next::Retry(wait - if spread == 0 { 0 } else { random % (spread + 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TargetConfig {
        TargetConfig { retry_jitter_pct: 0, ..TargetConfig::default() }
    }

    fn io() -> Failure {
        Failure::peers(RRError::Io, "reset")
    }

    #[test]
    fn waits_double_up_to_the_cap_and_good_running_resets_them() {
        let mut backoff = Backoff::default();
        let waits: Vec<Next> = (0..9).map(|_| backoff.after(&config(), &io(), 0, 7)).collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000].map(Next::Retry);
        assert_eq!(waits, expected);
        assert_eq!(backoff.after(&config(), &io(), 30_000, 7), Next::Retry(500));
    }

    #[test]
    fn jitter_stays_below_the_cap_and_above_its_share() {
        let config = TargetConfig::default();
        for random in 0..1000 {
            let mut backoff = Backoff { failures_in_row: 30, refused_in_row: 0 };
            let Next::Retry(wait) = backoff.after(&config, &io(), 0, random * 7919) else { panic!("no retry") };
            assert!((24_000..=30_000).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn a_refusal_is_fatal_the_second_time_in_a_row() {
        let refused = Failure::peers(RRError::Rejected, "NetStream.Publish.BadName");
        let mut backoff = Backoff::default();
        assert!(matches!(backoff.after(&config(), &refused, 0, 0), Next::Retry(_)));
        assert_eq!(backoff.after(&config(), &refused, 0, 0), Next::Fatal);
        let stubborn = TargetConfig { retry_fatal: true, ..config() };
        assert!(matches!(backoff.after(&stubborn, &refused, 0, 0), Next::Retry(_)));
    }

    #[test]
    fn it_gives_up_after_the_configured_tries() {
        let config = TargetConfig { retry_count: Some(2), ..config() };
        let mut backoff = Backoff::default();
        assert!(matches!(backoff.after(&config, &io(), 0, 0), Next::Retry(_)));
        assert!(matches!(backoff.after(&config, &io(), 0, 0), Next::Retry(_)));
        assert_eq!(backoff.after(&config, &io(), 0, 0), Next::GiveUp);
    }
}
