//! A relay server in this process: on a port of the kernel's choice, its events kept, its states awaited.

use std::sync::{Arc, Mutex};

use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::server::{Event, EventKind, Id, LevelFilter, ListenOptions, RRServer, kind};
use rrelay::session::{Role, State};

use super::threading::threaded;
use super::until;

/// A server and its events so far.
pub(crate) struct Relay {
    pub(crate) server: Arc<RRServer>,
    pub(crate) port: u16,
    host: &'static str,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Relay {
    pub(crate) fn new() -> Self {
        Self::with(ServerConfig::default(), "127.0.0.1:0")
    }

    pub(crate) fn with(config: ServerConfig, listen: &str) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let told = Arc::clone(&events);
        let keep = move |event: &Event| told.lock().unwrap().push(event.clone());
        let server = Arc::new(RRServer::new(threaded(config), LevelFilter::Off, Some(Box::new(keep))).unwrap());
        if std::env::var_os("RR_LOG").is_some() {
            server.set_log(LevelFilter::Debug, rrelay::server::LogSink::Stderr).unwrap();
        }
        let port = server.listen(listen, ListenOptions::default()).unwrap();
        let host = if listen.starts_with("[::1]") { "[::1]" } else { "127.0.0.1" };
        Self { server, port, host, events }
    }

    pub(crate) fn url(&self, key: &str) -> String {
        format!("rtmp://{}:{}/live/{key}", self.host, self.port)
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Drops the events so far.
    pub(crate) fn forget_events(&self) {
        self.events.lock().unwrap().clear();
    }

    /// Waits for an event, which may have come already.
    pub(crate) fn event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        until(what, || self.events.lock().unwrap().iter().find(|event| wanted(event)).cloned())
    }

    pub(crate) fn asks(&self, kind: EventKind) -> Event {
        self.event("somebody asks", |event| event.kind == kind)
    }

    pub(crate) fn stream(&self, key: &str) -> Option<Id> {
        self.server.stream_find(b"live", key.as_bytes()).ok()
    }

    /// Sessions of a role that are on a stream.
    pub(crate) fn count(&self, key: &str, role: Role) -> usize {
        let Some(stream) = self.stream(key) else { return 0 };
        let sessions = self.server.list(stream, kind::SESSION).unwrap_or_default();
        // A session that has ended since the list was made counts as gone.
        let there = |state| matches!(state, State::Waiting | State::InProgress);
        sessions
            .into_iter()
            .filter_map(|id| self.server.info(id).ok())
            .filter(|info| info.role == role && there(info.state))
            .count()
    }

    /// Waits until so many players are on the stream.
    pub(crate) fn has_players(&self, key: &str, count: usize) {
        until(&format!("{count} players on {key}"), || (self.count(key, Role::Player) == count).then_some(()));
    }

    /// Waits until so many messages of a publisher have come in.
    pub(crate) fn has_messages(&self, key: &str, count: u64) {
        until(&format!("{count} messages on {key}"), || {
            let stats = self.server.stats(self.stream(key)?).ok()?;
            (stats.msgs_in >= count).then_some(())
        });
    }

    /// Adds a push target to a stream, which is made if it is not there.
    pub(crate) fn push(&self, key: &str, url: String) -> Id {
        let stream = self.server.stream_create(b"live", key.as_bytes(), None).unwrap();
        let config =
            TargetConfig { url, retry_min_ms: 50, retry_max_ms: 100, retry_jitter_pct: 0, ..TargetConfig::default() };
        self.server.target_add(stream, config).unwrap()
    }

    /// Waits until a target has been in this state, now or before.
    pub(crate) fn target_was(&self, target: Id, state: State) -> Event {
        self.event(&format!("target {target} in {state:?}"), |event| {
            event.kind == EventKind::Target && event.target == target && event.state == state
        })
    }

    /// Waits until a target that had media has ended its publish in order.
    pub(crate) fn target_ended_media(&self, target: Id) {
        self.target_was(target, State::InProgress);
        until("the target is let go", || {
            let info = self.server.info(target).ok();
            info.is_none_or(|info| matches!(info.state, State::Idle | State::Stopped)).then_some(())
        });
    }
}

impl Drop for Relay {
    /// Prints the server's events if the test fails.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for kind in [kind::STREAM, kind::SESSION, kind::TARGET] {
            for id in self.server.list(0, kind).unwrap_or_default() {
                eprintln!("{:?}\n    {:?}", self.server.info(id), self.server.stats(id));
            }
        }
        for event in self.events() {
            eprintln!(
                "{:?} {:?} -> {:?} {:?} session {:x}",
                event.kind, event.prev, event.state, event.error, event.session
            );
        }
    }
}
