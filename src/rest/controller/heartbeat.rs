//! Heartbeats: regular reports of this server's load and streams to the controller.

use serde::Serialize;

use super::question::Load;
use crate::server::RRServer;
use crate::server::slots::kind;

/// Longest list of streams in one heartbeat, as an upper bound of its bytes in JSON. The heartbeat says how many
/// streams are left out.
const MAX_BYTES: usize = 1024 * 1024;

/// Bytes of a stream besides its name.
const STREAM_BYTES: usize = 256;

/// Most bytes that one byte of a name becomes in JSON.
const ESCAPED_BYTES: usize = 6;

/// A stream.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StreamState {
    pub(super) app: String,
    pub(super) key: String,
    /// `IN_PROGRESS`, `IDLE` ...
    pub(super) state: &'static str,
    pub(super) sessions: u32,
    pub(super) targets: u32,
    pub(super) kbps_in: u32,
    pub(super) kbps_out: u32,
}

/// A heartbeat.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Heartbeat {
    pub(super) load: Load,
    pub(super) streams: Vec<StreamState>,
    /// The number of streams that are not listed.
    pub(super) left_out: usize,
}

impl Heartbeat {
    /// The heartbeat of this moment.
    pub(super) fn of(server: &RRServer) -> Self {
        let mut beat = Self { load: Load::of(server), ..Self::default() };
        let mut bytes = 0;
        for id in server.list(0, kind::STREAM).unwrap_or_default() {
            // A stream that ends meanwhile is left out.
            let (Ok(info), Ok(stats)) = (server.info(id), server.stats(id)) else { continue };
            bytes += STREAM_BYTES + ESCAPED_BYTES * (info.app.len() + info.key.len());
            if bytes > MAX_BYTES {
                beat.left_out += 1;
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            beat.streams.push(StreamState {
                app: text(&info.app),
                key: text(&info.key),
                state: info.state.name(),
                sessions: stats.sessions,
                targets: stats.targets,
                kbps_in: stats.kbps_in,
                kbps_out: stats.kbps_out,
            });
        }
        beat
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MAX_NAME_BYTES, ServerConfig};
    use crate::log::LevelFilter;

    #[test]
    fn a_heartbeat_is_bounded_and_says_what_it_leaves_out() {
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let longest = vec![1; MAX_NAME_BYTES - 3];
        for n in 100..180_u8 {
            server.stream_create(&longest, &[longest.clone(), vec![n]].concat(), None).unwrap();
        }
        server.stream_create(b"live", b"show", None).unwrap();
        let beat = Heartbeat::of(&server);
        assert_eq!((beat.load.streams, beat.streams.len() + beat.left_out), (81, 81));
        assert!(beat.left_out > 0 && !beat.streams.is_empty());
        let bytes = serde_json::to_vec(&beat).unwrap().len();
        assert!(bytes <= MAX_BYTES + STREAM_BYTES, "{bytes}");
    }
}
