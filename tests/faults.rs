//! Network failures: publishers, targets and origins that are lost and return, servers that read nothing, names that
//! change their address. Every message of the show is unique, so that missing, repeated, damaged or late ones are
//! noticed.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "faults/cell.rs"]
mod cell;
#[path = "support/ingest.rs"]
mod ingest;
#[path = "faults/names.rs"]
mod names;
#[path = "faults/origins.rs"]
mod origins;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "faults/publishers.rs"]
mod publishers;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;
#[path = "faults/show.rs"]
mod show;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;
#[path = "faults/targets.rs"]
mod targets;

use std::sync::Arc;

use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};
use rrelay::server::{EventKind, Id};
use rrelay::session::State;

use support::server::Relay;
use support::until;

/// A relay whose streams are kept for 20 s for a publisher that was lost.
fn relay(server: ServerConfig, change: impl FnOnce(&mut StreamConfig)) -> Arc<Relay> {
    let mut stream = StreamConfig { grace_ms: 20_000, ..StreamConfig::default() };
    change(&mut stream);
    Arc::new(Relay::with(ServerConfig { stream: Arc::new(stream), ..server }, "127.0.0.1:0"))
}

/// A target that is tried again soon.
fn soon(url: String) -> TargetConfig {
    TargetConfig { url, retry_min_ms: 100, retry_max_ms: 400, retry_jitter_pct: 0, ..TargetConfig::default() }
}

/// The stream's state according to its events.
fn waits_for_stream(relay: &Relay, state: State) {
    relay.event(&format!("the stream in {state:?}"), |event| event.kind == EventKind::Stream && event.state == state);
}

/// The states a target has gone through since events were last forgotten.
fn states(relay: &Relay, target: Id) -> Vec<State> {
    let of = |kind, id| kind == EventKind::Target && id == target;
    relay.events().iter().filter(|event| of(event.kind, event.target)).map(|event| event.state).collect()
}

/// Waits until a target is in this state now.
fn waits_for_target(relay: &Relay, target: Id, state: State) {
    until(&format!("the target in {state:?}"), || (relay.server.info(target).ok()?.state == state).then_some(()));
}
