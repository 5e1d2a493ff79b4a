//! Tests of a server that need access to its internals.

#[path = "../../tests/support/live.rs"]
pub(super) mod live;
#[path = "../../tests/support/secure.rs"]
mod secure;

mod arguments;
mod deferred;
mod ending;
#[cfg(feature = "rest")]
mod exports;
mod failed_stream;
mod figures;
mod gone;
#[cfg(feature = "rest")]
mod held;
mod imports;
mod kept;
mod media_turns;
mod missing_key_frame;
mod moved_orders;
mod orders;
mod records;
mod relays;
mod requests;
mod stalled;
mod states;
mod stream_export;
mod waiting;
mod words;

use crate::config::{ServerConfig, TargetConfig};
use crate::log::LevelFilter;
use crate::server::RRServer;

/// A signal that the host handles must not interrupt a thread of ours, nor run the host's handler on its small stack.
#[test]
fn no_thread_of_a_server_takes_the_hosts_signals() {
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let stream = server.stream_create(b"live", b"signals", None).unwrap();
    server.stream_write(stream, 9, 0, &[0x17, 1, 0, 0, 0], false).unwrap();
    let config = TargetConfig { url: "rtmp://localhost:1/live/x".to_owned(), ..TargetConfig::default() };
    server.target_add(stream, config).unwrap();
    let wanted = ["listenerThread", "dialThread", "controlThread", "eventThread", "relayDataThread", "resolverThread"];
    live::until("all threads run, and none of them without SIGTERM blocked", || {
        let (mut blocked, mut open) = (Vec::new(), Vec::new());
        for task in std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok) {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let mask =
                read("status").lines().find_map(|line| line.strip_prefix("SigBlk:").map(str::trim).map(str::to_owned));
            let mask = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
            let name = read("comm").trim().to_owned();
            let is_blocked = mask & (1 << (libc::SIGTERM - 1)) != 0;
            if is_blocked { &mut blocked } else { &mut open }.push(name);
        }
        let is_in = |names: &[String], wanted: &str| names.iter().any(|name| name == wanted);
        wanted.iter().all(|name| is_in(&blocked, name) && !is_in(&open, name))
    });
    server.shutdown().unwrap();
}
