//! A list that is too large for an answer is given in parts. The test has its own process, because answers have a bound for the
//! process.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

use std::sync::Arc;

use rrelay::config::{MAX_NAME_BYTES, ServerConfig};
use rrelay::rest::Rest;
use rrelay::server::{LevelFilter, RRServer};

/// Streams whose list is larger than an answer may be: each has some 70 KiB in JSON.
const MANY: usize = 1_000;

#[test]
fn a_list_that_is_too_large_says_how_it_is_had_in_parts() {
    let config = ServerConfig { threads: Some(1), ..ServerConfig::default() };
    let server = Arc::new(RRServer::new(config, LevelFilter::Off, None).unwrap());
    let app = vec![1; MAX_NAME_BYTES];
    for number in 0..MANY {
        let key = format!("{number:\u{1}>MAX_NAME_BYTES$}");
        server.stream_create(&app, key.as_bytes(), None).unwrap();
    }
    let rest = Rest::new(Arc::clone(&server));
    let refusal = rest.handle("GET", "/v1/streams", b"").unwrap();
    let words = String::from_utf8_lossy(&refusal.body).into_owned();
    assert!(refusal.status == 507 && words.contains("RR_ERR_LIMIT"), "{} {words}", refusal.status);
    assert!(words.contains("limit=100") && words.contains("after="), "{words}");
    drop(refusal);

    let (mut ids, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let part = rest.handle("GET", &format!("/v1/streams?limit=100&after={after}"), b"").unwrap();
        assert_eq!(part.status, 200);
        let part: serde_json::Value = serde_json::from_slice(&part.body).unwrap();
        let part = part.as_array().unwrap();
        assert!(part.len() <= 100, "{} streams", part.len());
        ids.extend(part.iter().map(|stream| stream["id"].as_str().unwrap().to_owned()));
        if part.len() < 100 {
            break;
        }
        after.clone_from(ids.last().unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), MANY);
}
