//! Where the streams of a server under test run: the program `shared_loops` has the tests of other programs too, on servers
//! whose streams share loops.

use rrelay::config::ServerConfig;

/// These settings, with loops that streams share where the test is one of that program.
pub(crate) fn threaded(config: ServerConfig) -> ServerConfig {
    let shares = module_path!().starts_with("shared_loops");
    ServerConfig { threads: config.threads.or_else(|| shares.then_some(2)), ..config }
}
