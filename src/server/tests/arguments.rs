//! Arguments that look right and are not: they are refused where they are given, and change nothing.

use crate::config::ServerConfig;
use crate::error::RRError;
use crate::log::LevelFilter;
use crate::server::RRServer;

/// The low bits of a negative time would be a jump of 49 days to all who play.
#[test]
fn a_message_from_before_the_beginning_of_time_is_refused() {
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let write = |ts_ms: i64| server.stream_write(stream, 9, ts_ms, &[0x17, 1, 0, 0, 0], false);
    write(40).unwrap();
    for ts_ms in [-1, i64::MIN] {
        assert_eq!(write(ts_ms).unwrap_err().kind, RRError::Arg);
    }
    write(1 << 32).unwrap();
    server.stream_write(stream, 9, -1, &[], true).unwrap();
    server.shutdown().unwrap();
}
