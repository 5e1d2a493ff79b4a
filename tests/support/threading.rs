//! Where the streams of a server under test run: the programs `shared_loops`, `several_relays` and `isolated_moves` have the
//! tests of other programs too, on servers whose streams share loops, have several relays each, or have processes of their
//! own.

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "c.rs"]
mod c;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rrelay::config::{Isolate, ServerConfig, StreamConfig, WorkerConfig};

/// These settings, with loops that streams share, several relays for each stream, or a process, where the test is one of
/// such a program.
pub(crate) fn threaded(config: ServerConfig) -> ServerConfig {
    let shares = module_path!().starts_with("shared_loops");
    let stream = Arc::new(spread(StreamConfig::clone(&config.stream)));
    let config = ServerConfig { threads: config.threads.or_else(|| shares.then_some(2)), stream, ..config };
    if !module_path!().starts_with("isolated_moves::handover") {
        return config;
    }
    let worker = WorkerConfig { program: Some(worker()), ..config.worker };
    ServerConfig { isolate: Isolate::Process, worker, ..config }
}

/// The step through the places that a test tries, each on streams of its own: a larger one where each has a process.
#[allow(dead_code, reason = "few tests try so many")]
pub(crate) fn some_of(step: usize) -> usize {
    if module_path!().starts_with("isolated_moves::handover") { step * 7 } else { step }
}

/// The worker of this build.
#[allow(dead_code, reason = "not every test program has workers")]
pub(crate) fn worker() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    // Each copy of this file builds its own, and they may do so at the same time.
    PROGRAM.get_or_init(|| c::worker(&module_path!().replace("::", "-"))).clone()
}

/// The settings of one stream, likewise.
#[allow(dead_code, reason = "not every test program makes streams with settings of their own")]
pub(crate) fn spread(config: StreamConfig) -> StreamConfig {
    let spreads = module_path!().starts_with("several_relays");
    StreamConfig { relay_threads: config.relay_threads.or_else(|| spreads.then_some(2)), ..config }
}
