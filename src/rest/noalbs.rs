//! `GET /noalbs`: the rates of streams that are published, pushed four times a second over a WebSocket in the form that NOALBS'
//! provider `WebSocket` reads: one object of `type` "stats" with `streams`, each with `streamId`, `feed`, `bitrate`, `rtt` and
//! `connected`.
//!
//! A reader whose address has `?feed=` gets only that stream, and is also told if it does not exist. A message is bounded, since
//! peers choose the names in it: where not all streams fit, `leftOut` says how many are missing, those with the longest names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer;
use super::events::Readers;
use super::http::until_true;
use super::model::publisher_rtt_us;
use super::problem::Problem;
use super::request::Query;
use crate::error::RRError;
use crate::net::clock;
use crate::server::RRServer;
use crate::server::slots::kind;
use crate::session::State as ObjectState;
use crate::stream::StreamName;
use crate::stream::event::Id;

/// A stall is reported in less than a second: it counts after half a second, and the report follows within a quarter.
const INTERVAL: Duration = Duration::from_millis(250);
const STALLED_US: i64 = 500_000;

/// A publisher that is silent for this long counts as gone: a new one may replace it after this time (`silent_ms`).
const GONE_US: i64 = 2_000_000;

/// Largest message of a reader, which sends only pings and a close.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Largest list of a message to a reader, enough for some two thousand streams.
const MAX_LIST_BYTES: usize = 256 * 1024;

/// Bytes of a stream in it besides its names, at most.
const FEED_BYTES: usize = 128;

/// A reader that takes nothing for this long is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// A stream's key, or its path as in `live/show`; without it, all streams are reported.
    feed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: i64,
    streams: Vec<Feed>,
    #[serde(rename = "leftOut", skip_serializing_if = "is_none")]
    left_out: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(number: &usize) -> bool {
    *number == 0
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Feed {
    stream_id: String,
    feed: String,
    /// Whole kbit/s of the last two seconds; 0 while nothing comes.
    bitrate: u32,
    /// The publisher's round-trip time in ms, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<f64>,
    connected: bool,
}

/// Rates of streams for NOALBS, four times a second over a WebSocket. The token may stand in the address, as `?token=`.
#[utoipa::path(
    get, path = "/noalbs", params(Wanted),
    responses(
        (status = 101), (status = 426, response = Problem), (status = 429, response = Problem), (status = 501, response = Problem)
    )
)]
pub(crate) async fn get_noalbs(
    State(server): State<Arc<RRServer>>,
    readers: Option<Extension<Readers>>,
    Query(Wanted { feed }): Query<Wanted>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let (room, readers) = Readers::enter(readers)?;
    let upgrade = upgrade.map_err(|rejected| {
        let text = format!("rates are pushed over a WebSocket: {rejected}");
        Problem::new(StatusCode::UPGRADE_REQUIRED, RRError::Arg, text)
    })?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| push(socket, server, feed, readers.stopped, room)))
}

/// Sends rates to the reader until it leaves or the listener stops.
async fn push(
    mut socket: WebSocket,
    server: Arc<RRServer>,
    feed: Option<String>,
    mut stopped: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = until_true(&mut stopped) => return,
            said = socket.recv() => match said {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            _ = ticks.tick() => {
                // Without memory for it, the next one tells more.
                let Some(text) = told(&server, feed.as_deref()) else { continue };
                if !matches!(timeout(WRITE_TIMEOUT, socket.send(Message::Text(text))).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}

fn told(server: &RRServer, wanted: Option<&str>) -> Option<Utf8Bytes> {
    let now_us = clock::wall_us();
    let (mut streams, mut bytes, mut left_out) = (BTreeMap::new(), 0, 0);
    for id in server.list(0, kind::STREAM).unwrap_or_default() {
        // One that has ended meanwhile is none.
        let Some(feed) = feed_of(server, id, wanted, now_us) else { continue };
        let size = feed.bytes();
        bytes += size;
        streams.insert((size, id), feed);
        while bytes > MAX_LIST_BYTES
            && let Some(((longest, _), _)) = streams.pop_last()
        {
            bytes -= longest;
            left_out += 1;
        }
    }
    let told = Told { kind: "stats", timestamp: now_us / 1_000, streams: streams.into_values().collect(), left_out };
    // JSON is UTF-8.
    answer::message(&told).ok()?.try_into().ok()
}

impl Feed {
    /// Most bytes that it takes in JSON.
    fn bytes(&self) -> usize {
        let escaped = |byte: u8| match byte {
            ..b' ' => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        FEED_BYTES + self.stream_id.bytes().chain(self.feed.bytes()).map(escaped).sum::<usize>()
    }
}

fn feed_of(server: &RRServer, id: Id, wanted: Option<&str>, now_us: i64) -> Option<Feed> {
    let info = server.info(id).ok()?;
    if info.state != ObjectState::InProgress {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (app, feed) = (text(&info.app), text(&info.key));
    let stream_id = format!("{app}/{feed}");
    if wanted.is_some_and(|wanted| wanted != feed && wanted != stream_id) {
        return None;
    }
    let stats = server.stats(id).ok()?;
    let silent_us = now_us.saturating_sub(stats.last_media_us);
    let bitrate = if silent_us < STALLED_US { stats.kbps_in } else { 0 };
    let stream = server.stream_named(&StreamName { app: info.app, key: info.key })?;
    let rtt = publisher_rtt_us(server, &stream).map(|rtt_us| f64::from(rtt_us) / 1_000.0);
    Some(Feed { stream_id, feed, bitrate, rtt, connected: silent_us < GONE_US })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::{MAX_NAME_BYTES, ServerConfig};
    use crate::log::LevelFilter;

    #[test]
    fn a_message_is_bounded_and_lacks_those_with_the_longest_names() {
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let create = |key: &[u8]| {
            let id = server.stream_create(b"live", key, None).unwrap();
            server.stream_write(id, 9, 0, &[0x17; 400], false).unwrap();
        };
        let longest = |number: u8| [&vec![1; MAX_NAME_BYTES - 1][..], &[number]].concat();
        (100..110).for_each(|number| create(&longest(number)));
        create(b"show");
        (110..120).for_each(|number| create(&longest(number)));
        let text = told(&server, None).unwrap();
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        let streams = message["streams"].as_array().unwrap();
        assert!(text.len() <= MAX_LIST_BYTES + FEED_BYTES, "{} bytes", text.len());
        assert!(streams.iter().any(|stream| stream["feed"] == "show"), "the one that people look at is missing");
        assert_eq!(message["leftOut"].as_u64().unwrap() as usize + streams.len(), 21);
        let key = String::from_utf8(longest(105)).unwrap();
        let of_one: serde_json::Value = serde_json::from_str(&told(&server, Some(&key)).unwrap()).unwrap();
        assert!(of_one["streams"][0]["feed"] == key && of_one.get("leftOut").is_none(), "one that is asked for");
    }

    #[test]
    fn a_stall_is_told_in_less_than_a_second_and_a_silent_publisher_is_gone_after_two() {
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let id = server.stream_create(b"live", b"show", None).unwrap();
        let after = |silent: Duration| {
            let now_us = server.stats(id).unwrap().last_media_us + silent.as_micros() as i64;
            feed_of(&server, id, None, now_us).unwrap()
        };
        let late = Duration::from_millis(100);
        let by = Instant::now() + Duration::from_secs(60);
        let mut flows = false;
        while !flows {
            assert!(Instant::now() < by, "it has no rate");
            server.stream_write(id, 9, 0, &[0x17; 4_000], false).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            flows = after(Duration::from_millis(400)).bitrate > 0;
        }
        let stalled = after(Duration::from_secs(1) - late - INTERVAL);
        assert_eq!((stalled.bitrate, stalled.connected), (0, true), "the last report before a second has passed");
        assert!(after(Duration::from_secs(2) - late).connected && !after(Duration::from_secs(2) + late).connected);
    }
}
