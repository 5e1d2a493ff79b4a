//! Arguments that look valid and are not: the call refuses them and changes nothing.

use crate::config::{ServerConfig, TargetConfig};
use crate::error::RRError;
use crate::log::LevelFilter;
use crate::server::RRServer;

/// The low bits of a negative time would be a jump of 49 days for all players.
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

/// An empty name would reach the other server, and be refused there or, worse, accepted.
#[test]
fn a_url_without_an_application_is_refused() {
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let good = || TargetConfig { url: "rtmp://127.0.0.1:1/live".to_owned(), ..TargetConfig::default() };
    let target = server.target_add(stream, good()).unwrap();
    for url in ["rtmp://127.0.0.1:1", "rtmp://127.0.0.1:1/", "rtmp://127.0.0.1:1//", "rtmp://127.0.0.1:1/?token=1"] {
        for key in [None, Some(b"key".to_vec())] {
            let wrong = TargetConfig { url: url.to_owned(), key, ..TargetConfig::default() };
            let backup = TargetConfig { backup_urls: vec![url.to_owned()], ..good() };
            for config in [wrong, backup] {
                for result in [
                    server.target_add(stream, config.clone()).map(drop),
                    server.source_add(stream, config.clone()).map(drop),
                    server.target_update(target, config),
                ] {
                    let failure = result.unwrap_err();
                    assert_eq!((failure.kind, &*failure.text), (RRError::Arg, "url names no application"), "{url}");
                }
            }
        }
    }
    server.shutdown().unwrap();
}
