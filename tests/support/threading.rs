//! Where the streams of a server under test run: the programs `shared_loops` and `several_relays` have the tests of other
//! programs too, on servers whose streams share loops, or have several relays each.

use std::sync::Arc;

use rrelay::config::{ServerConfig, StreamConfig};

/// These settings, with loops that streams share, or with several relays for each stream, where the test is one of such a
/// program.
pub(crate) fn threaded(config: ServerConfig) -> ServerConfig {
    let shares = module_path!().starts_with("shared_loops");
    let stream = Arc::new(spread(StreamConfig::clone(&config.stream)));
    ServerConfig { threads: config.threads.or_else(|| shares.then_some(2)), stream, ..config }
}

/// The settings of one stream, likewise.
#[allow(dead_code, reason = "not every test program makes streams with settings of their own")]
pub(crate) fn spread(config: StreamConfig) -> StreamConfig {
    let spreads = module_path!().starts_with("several_relays");
    StreamConfig { relay_threads: config.relay_threads.or_else(|| spreads.then_some(2)), ..config }
}
