//! The bounds of requests: what is longer is refused, and every setting that may be fits.

use serde_json::json;

use super::super::body;
use super::{Rig, raw};
use crate::config::{MAX_BACKUP_URLS, MAX_NAME_BYTES, MAX_URL_BYTES};

#[test]
fn heads_and_bodies_are_bounded() {
    let rig = Rig::new();
    let long = "x".repeat(body::MAX_BYTES + 1);
    let (status, problem) = rig.ask("POST", "/v1/drain", &long);
    assert_eq!((status, problem["error"].as_str()), (413, Some("RR_ERR_LIMIT")));
    let (status, _) = raw(rig.port, &format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(40_000)));
    assert!(matches!(status, 431 | 0), "{status}");
    assert_eq!(rig.ask("GET", "/v1/server", "").0, 200, "others are served");
}

#[test]
fn the_largest_target_fits_in_a_request() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    let url = |number: usize| format!("rtmp://127.0.0.1:1/{number:x<0$}", MAX_URL_BYTES - 19);
    let urls: Vec<String> = (1..=MAX_BACKUP_URLS).map(url).collect();
    // Each of these characters takes six in JSON.
    let key = "\u{1}".repeat(MAX_NAME_BYTES);
    let body = json!({"url": url(0), "backup_urls": urls, "key": key}).to_string();
    let (status, target) = rig.ask("POST", "/v1/streams/live/show/targets", &body);
    assert_eq!(status, 201, "{target}");
    let config = rig.server.target_config(target["id"].as_str().unwrap().parse().unwrap()).unwrap();
    assert_eq!((config.url.len(), &config.backup_urls), (MAX_URL_BYTES, &urls));
    assert_eq!(config.key.as_deref(), Some(key.as_bytes()));
    rig.server.stream_stop(stream, 0).unwrap();
}
