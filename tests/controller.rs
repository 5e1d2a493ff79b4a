//! The controller: the questions by HTTP where streams are pushed to and pulled from, the effect of each answer, and
//! what happens without an answer.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/reserved.rs"]
mod reserved;
#[path = "support/successor.rs"]
mod successor;

#[path = "controller/answers.rs"]
mod answers;
#[path = "controller/replaced.rs"]
mod replaced;
#[path = "controller/silence.rs"]
mod silence;

use std::sync::Arc;

use backend::{Answer, Asked, Backend, json};
use live::{Client, Live};
use rrelay::config::{ControllerConfig, ServerConfig, Value};
use rrelay::error::Failure;
use rrelay::rest::Rest;
use rrelay::server::kind;
use rrelay::server::{Event, EventKind, Id};
use rrelay::session::{Role, SessionConfig, State};

/// A server with a controller.
struct Node {
    live: Live,
    rest: Rest,
}

impl Node {
    fn new(config: ControllerConfig) -> Self {
        Self::with(ServerConfig::default(), config)
    }

    fn with(server: ServerConfig, config: ControllerConfig) -> Self {
        let live = Live::new(server);
        let rest = Rest::new(Arc::clone(&live.server));
        rest.set_controller(Some(config)).unwrap();
        Self { live, rest }
    }

    fn begin(&self, key: &str, publish: bool) -> Result<Client, Failure> {
        Client::configured(self.live.port, key, publish, &SessionConfig::default())
    }

    fn stream(&self, key: &str) -> Option<Id> {
        self.live.server.stream_find(b"live", key.as_bytes()).ok()
    }

    /// The targets and sources of a stream, with the urls that they were made with.
    fn targets(&self, key: &str) -> Vec<(Role, String)> {
        let Some(stream) = self.stream(key) else { return Vec::new() };
        let server = &self.live.server;
        let ids = server.list(stream, kind::TARGET).unwrap_or_default();
        let of = |id| Some((server.info(id).ok()?.role, server.target_config(id).ok()?.url));
        ids.into_iter().filter_map(of).collect()
    }

    fn told(&self) -> Vec<Event> {
        self.live.events_of(EventKind::Next)
    }

    fn state(&self, key: &str) -> Option<State> {
        Some(self.live.server.info(self.stream(key)?).ok()?.state)
    }
}

/// One controller, without heartbeats; each question may take long.
fn at(backend: &Backend) -> ControllerConfig {
    at_each(&[backend.url("")])
}

fn at_each(urls: &[String]) -> ControllerConfig {
    let mut config = ControllerConfig { timeout_ms: 30_000, heartbeat_ms: None, ..ControllerConfig::default() };
    config.set("urls", Value::Texts(urls)).unwrap();
    config.set("self_url", Value::Text("rtmp://this.example:1935")).unwrap();
    config
}

fn value(asked: &Asked) -> serde_json::Value {
    serde_json::from_str(&asked.body).unwrap()
}

fn why(asked: &Asked) -> String {
    value(asked)["why"].as_str().unwrap().to_owned()
}

fn relay(urls: &[&str]) -> Answer {
    json(&serde_json::json!({"action": "relay", "urls": urls}).to_string())
}

/// An answer that asks for nothing.
fn nothing() -> Answer {
    relay(&[])
}
