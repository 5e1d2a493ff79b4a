//! Controllers by HTTP: `POST {url}/v1/next` with a JSON object, and a JSON object as the answer. The first controller
//! with a valid answer decides; an invalid answer is refused as a whole. `POST {url}/v1/heartbeat` goes to each
//! controller.

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use axum::http::header::AUTHORIZATION;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use super::heartbeat::Heartbeat;
use super::question::{Answer, Controller, Deed, Load, Pending, Question, Why};
use crate::config::{ControllerConfig, MAX_BACKUP_URLS, MAX_DECISION_TARGETS, TargetConfig};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::rest::answer;
use crate::rest::client::{Client, Use, post};
use crate::rest::settings;
use crate::stream::remote::endpoint::Endpoint;
use crate::sync::locked;

/// A controller that gave no answer in time is skipped for this long; otherwise each session would wait for it again.
const SILENT: Duration = Duration::from_secs(5);

/// Time to the next question, if the answer does not give it.
const WAIT_MS: u64 = 5_000;

/// Shortest such time, so that an answer cannot cause a storm of questions.
const MIN_WAIT_MS: u64 = 100;

/// Longest time that an answer is valid.
const MAX_TTL_MS: u64 = 86_400_000;

/// Most characters of an unknown action that an error shows.
const MAX_SHOWN_ACTION: usize = 32;

/// Longest reason.
const MAX_TEXT_BYTES: usize = 1_024;

/// The controllers of one server.
pub(super) struct Http {
    config: ControllerConfig,
    client: Client,
    /// For each controller, the time until which it is skipped.
    silent: Mutex<Vec<Option<Instant>>>,
}

impl Http {
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, [`RRError::Cert`] for roots that cannot be read.
    pub(super) fn new(config: ControllerConfig) -> Result<Self> {
        let client = Client::new(&Use {
            urls: config.urls.iter().map(String::as_str).collect(),
            ca_file: config.ca_file.as_deref(),
            timeout_ms: config.timeout_ms,
            // Heartbeats have their own places.
            kinds: 2 * config.urls.len(),
            max_requests: config.max_requests,
        })?;
        let silent = Mutex::new(vec![None; config.urls.len()]);
        Ok(Self { config, client, silent })
    }

    fn is_silent(&self, place: usize) -> bool {
        let silent = locked(&self.silent);
        silent.get(place).copied().flatten().is_some_and(|until| Instant::now() < until)
    }

    async fn ask(&self, place: usize, url: &str, question: &Question) -> Result<Answer> {
        if self.is_silent(place) {
            return Err(Failure::peers(RRError::Timeout, "it did not answer in time a moment ago"));
        }
        let among = self.client.place(place).await?;
        let request = self.request(&format!("{url}/v1/next"), &Body::of(question, &self.config))?;
        let reply =
            self.client.send(among, request, self.config.secret.as_deref(), true).await.inspect_err(|failure| {
                if failure.kind == RRError::Timeout
                    && let Some(silent) = locked(&self.silent).get_mut(place)
                {
                    *silent = Some(Instant::now() + SILENT);
                }
            })?;
        if !(200..300).contains(&reply.status) {
            return Err(Failure::peers(RRError::Rejected, format!("it answered {}", reply.status)));
        }
        answer(&reply.body, question, self.config.cache_ms)
            .map_err(|failure| Failure::peers(RRError::Protocol, format!("its answer: {}", failure.text)))
    }

    async fn beat(&self, place: usize, url: &str, body: &Beat<'_>) -> std::result::Result<(), String> {
        let told = async {
            let among = self.client.place(self.config.urls.len() + place).await?;
            let request = self.request(&format!("{url}/v1/heartbeat"), body)?;
            let reply = self.client.send(among, request, self.config.secret.as_deref(), false).await?;
            match reply.status {
                200..300 => Ok(()),
                status => Err(Failure::peers(RRError::Rejected, format!("it answered {status}"))),
            }
        };
        told.await.map_err(|failure| format!("{url}: {}", failure.text))
    }

    fn request(&self, url: &str, body: &impl Serialize) -> Result<Request<Bytes>> {
        let no_request = |error: &dyn std::fmt::Display| Failure::ours(RRError::Arg, error.to_string());
        let body = answer::question(body)?;
        let mut request = post(url);
        if let Some(token) = &self.config.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(body).map_err(|error| no_request(&error))
    }
}

impl Controller for Http {
    fn next<'a>(&'a self, question: &'a Question) -> Pending<'a, Result<Answer>> {
        Box::pin(async move {
            let mut failures = Vec::new();
            for (place, url) in self.config.urls.iter().enumerate() {
                match self.ask(place, url, question).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failures.push((url, failure)),
                }
            }
            let kind = failures.last().map_or(RRError::NotFound, |(_, failure)| failure.kind);
            let texts: Vec<String> = failures.iter().map(|(url, failure)| format!("{url}: {}", failure.text)).collect();
            Err(Failure::peers(kind, texts.join("; ")))
        })
    }

    fn heartbeat<'a>(&'a self, beat: &'a Heartbeat) -> Pending<'a, Result<()>> {
        let body = Beat {
            own: self.config.self_url.as_deref().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
            next_ms: self.config.heartbeat_ms.unwrap_or_default(),
            beat,
            time_ms: clock::wall_us() / 1_000,
        };
        Box::pin(async move {
            let beats = self.config.urls.iter().enumerate().map(|(place, url)| self.beat(place, url, &body));
            let failures: Vec<String> =
                join_all(beats).await.into_iter().filter_map(std::result::Result::err).collect();
            if failures.is_empty() { Ok(()) } else { Err(Failure::peers(RRError::Connect, failures.join("; "))) }
        })
    }
}

/// The body of a heartbeat.
#[derive(Debug, Serialize)]
struct Beat<'a> {
    #[serde(rename = "self")]
    own: &'a str,
    version: &'static str,
    /// The time to the next heartbeat.
    next_ms: u32,
    #[serde(flatten)]
    beat: &'a Heartbeat,
    time_ms: i64,
}

/// The body of a question.
#[derive(Debug, Serialize)]
struct Body<'a> {
    why: &'a str,
    app: String,
    key: String,
    /// The address at which other servers reach this one.
    #[serde(rename = "self")]
    own: &'a str,
    /// The role of what is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    tried: &'a [String],
    load: Load,
    /// Wall clock, ms, so that a signed request cannot be replayed later.
    time_ms: i64,
}

impl<'a> Body<'a> {
    fn of(question: &'a Question, config: &'a ControllerConfig) -> Self {
        let role = match question.why {
            Why::Lost { pulls, .. } => Some(if pulls { "source" } else { "target" }),
            _ => None,
        };
        Self {
            why: question.why.word(),
            app: String::from_utf8_lossy(&question.name.app).into_owned(),
            key: String::from_utf8_lossy(&question.name.key).into_owned(),
            own: config.self_url.as_deref().unwrap_or_default(),
            role,
            tried: &question.tried,
            load: question.load,
            time_ms: clock::wall_us() / 1_000,
        }
    }
}

/// The body of an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    action: String,
    #[serde(default, deserialize_with = "settings::or_left_out")]
    urls: Vec<String>,
    ttl_ms: Option<u64>,
    /// Settings of all targets, or of the source, by the names of `rr_target_config`.
    #[serde(default, deserialize_with = "settings::or_left_out")]
    config: Map<String, Json>,
    /// The reason of a refusal.
    #[serde(default, deserialize_with = "settings::or_left_out")]
    text: String,
}

/// Reads an answer.
///
/// # Errors
/// [`RRError::Arg`] for an answer that cannot be carried out completely.
fn answer(body: &[u8], question: &Question, cache_ms: u32) -> Result<Answer> {
    let wrong = |text: String| Failure::peers(RRError::Arg, text);
    let reply: Reply = settings::object(body).map_err(|error| wrong(settings::wrong(&error)))?;
    let usual_ms = if reply.action == "wait" { WAIT_MS } else { u64::from(cache_ms) };
    let ttl_ms = reply.ttl_ms.unwrap_or(usual_ms);
    if ttl_ms > MAX_TTL_MS {
        return Err(wrong(format!("ttl_ms is {ttl_ms}, {MAX_TTL_MS} is the most")));
    }
    if reply.text.len() > MAX_TEXT_BYTES {
        return Err(wrong(format!("text is longer than {MAX_TEXT_BYTES} bytes")));
    }
    let deed = match reply.action.as_str() {
        "relay" => relay(&reply, question)?,
        "pull" => pull(&reply, question)?,
        "reject" | "wait" if !reply.urls.is_empty() || !reply.config.is_empty() => {
            return Err(wrong(format!("{} has neither urls nor config", reply.action)));
        }
        "reject" if reply.text.is_empty() => Deed::Reject("the controller refused".to_owned()),
        "reject" => Deed::Reject(reply.text),
        "wait" => Deed::Wait,
        other => {
            let shown: String = other.escape_debug().take(MAX_SHOWN_ACTION).collect();
            return Err(wrong(format!("action is \"{shown}\", no relay, pull, reject or wait")));
        }
    };
    if !question.why.takes(deed.action()) {
        return Err(wrong(format!("{} answers no {}", deed.action().name(), question.why.word())));
    }
    let least = if deed == Deed::Wait { MIN_WAIT_MS } else { 0 };
    Ok(Answer { deed, ttl: Duration::from_millis(ttl_ms.max(least)) })
}

fn relay(reply: &Reply, question: &Question) -> Result<Deed> {
    if reply.urls.len() > MAX_DECISION_TARGETS {
        return Err(Failure::peers(RRError::Arg, format!("more than {MAX_DECISION_TARGETS} urls")));
    }
    let of_url = |url: &String| settings_of(reply, TargetConfig::default(), url, question);
    Ok(Deed::Relay(reply.urls.iter().map(of_url).collect::<Result<_>>()?))
}

fn pull(reply: &Reply, question: &Question) -> Result<Deed> {
    let backups = match reply.urls.len() {
        0 => return Err(Failure::peers(RRError::Arg, "pull needs a url")),
        urls if urls > 1 + MAX_BACKUP_URLS => {
            return Err(Failure::peers(RRError::Arg, format!("more than {} urls", 1 + MAX_BACKUP_URLS)));
        }
        _ => reply.urls.iter().skip(1).cloned().collect(),
    };
    let usual = TargetConfig { on_demand: true, backup_urls: backups, ..TargetConfig::default() };
    let first = reply.urls.first().map_or("", String::as_str);
    Ok(Deed::Pull(Box::new(settings_of(reply, usual, first, question)?)))
}

/// The settings for one url, which is checked.
fn settings_of(reply: &Reply, usual: TargetConfig, url: &str, question: &Question) -> Result<TargetConfig> {
    // Only a source is on demand.
    let pulls = usual.on_demand;
    if let Some(name) = ["url", "backup_urls"].into_iter().find(|name| reply.config.contains_key(*name)) {
        return Err(Failure::peers(RRError::Arg, format!("config has {name}: urls are apart")));
    }
    let mut object = reply.config.clone();
    object.insert("url".to_owned(), Json::String(url.to_owned()));
    let config = TargetConfig { of_controller: true, ..settings::answered_target(usual, &object)? };
    config.serves(pulls)?;
    Endpoint::new(config.clone(), &question.name.key)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamName;

    fn question(why: Why) -> Question {
        let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
        Question { why, name, load: Load::default(), tried: Vec::new() }
    }

    fn lost(pulls: bool) -> Why {
        Why::Lost { pulls, named: Box::default() }
    }

    #[test]
    fn an_answer_names_targets_or_a_source_with_their_settings() {
        let relay = br#"{"action": "relay", "urls": ["rtmp://a/live", "rtmp://b/live"], "ttl_ms": 7000,
                         "config": {"key": "k", "retry_max_ms": 900}}"#;
        let given = answer(relay, &question(Why::Publish), 1).unwrap();
        let Deed::Relay(targets) = &given.deed else { panic!("{given:?}") };
        assert_eq!((targets.len(), given.ttl), (2, Duration::from_secs(7)));
        assert_eq!((targets[1].url.as_str(), targets[1].retry_max_ms), ("rtmp://b/live", 900));
        assert!(targets.iter().all(|target| target.of_controller && target.key.as_deref() == Some(b"k")));

        let pull = br#"{"action": "pull", "urls": ["rtmp://a/live", "rtmp://b/live"], "config": {"on_demand": false}}"#;
        let given = answer(pull, &question(Why::Play), 1_000).unwrap();
        let Deed::Pull(source) = &given.deed else { panic!("{given:?}") };
        assert_eq!(
            (source.url.as_str(), &source.backup_urls[..]),
            ("rtmp://a/live", &["rtmp://b/live".to_owned()][..])
        );
        assert_eq!((source.on_demand, given.ttl), (false, Duration::from_secs(1)));

        let none = answer(br#"{"action": "relay"}"#, &question(Why::Publish), 1).unwrap();
        assert_eq!(none.deed, Deed::Relay(Vec::new()), "it is pushed nowhere");
        let nulls = br#"{"action": "relay", "urls": null, "ttl_ms": null, "config": null, "text": null}"#;
        assert_eq!(answer(nulls, &question(Why::Publish), 1).unwrap(), none);
        let wait = answer(br#"{"action": "wait", "ttl_ms": 0}"#, &question(Why::Play), 1).unwrap();
        assert_eq!((wait.deed, wait.ttl), (Deed::Wait, Duration::from_millis(MIN_WAIT_MS)));
        let reject = answer(br#"{"action": "reject", "text": "no"}"#, &question(Why::Play), 1).unwrap();
        assert_eq!(reject.deed, Deed::Reject("no".to_owned()));
    }

    #[test]
    fn an_answer_that_cannot_be_carried_out_whole_is_refused() {
        for (body, words) in [
            ("", "EOF"),
            ("yes", "expected"),
            (r#"["relay", ["rtmp://a/live"], null, {}, ""]"#, "not an array"),
            (r#"{"urls": []}"#, "action"),
            (r#"{"action": "explode"}"#, "explode"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live", "http://b/live"]}"#, "rtmp"),
            (r#"{"action": "relay", "urls": ["rtmp://a"]}"#, "application"),
            (r#"{"action": "relay", "urls": "rtmp://a/live"}"#, "sequence"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live"], "config": {"smell": 1}}"#, "smell"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live"], "config": {"url": "rtmp://b/live"}}"#, "url"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live"], "config": {"on_demand": true}}"#, "on_demand"),
            (r#"{"action": "relay", "urls": ["rtmps://a/live"], "config": {"ca_file": "/dev/stdin"}}"#, "ca_file"),
            (r#"{"action": "relay", "urls": ["rtmps://a/live"], "config": {"insecure": true}}"#, "insecure"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live"], "ttl_ms": 86400001}"#, "ttl_ms"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live"], "ttl_ms": -1}"#, "u64"),
            (r#"{"action": "relay", "urls": ["rtmp://a/live"], "more": 1}"#, "more"),
            (r#"{"action": "pull", "urls": ["rtmp://a/live"]}"#, "pull answers no publish"),
            (r#"{"action": "pull"}"#, "url"),
            (r#"{"action": "reject", "urls": ["rtmp://a/live"]}"#, "neither"),
            (r#"{"action": "wait", "config": {"key": "a"}}"#, "neither"),
        ] {
            let failure = answer(body.as_bytes(), &question(Why::Publish), 1).unwrap_err();
            assert!(failure.text.contains(words), "{body}: {failure}");
        }
        let secrets = r#"{"action": "relay", "urls": "rtmp://a/live/stream-key"}"#;
        let long = format!(r#"{{"action": "{0}", "{0}": 1}}"#, "x".repeat(60_000));
        let untold = format!(r#"{{"action": "{}"}}"#, "x".repeat(60_000));
        for body in [secrets, &long, &untold] {
            let failure = answer(body.as_bytes(), &question(Why::Publish), 1).unwrap_err();
            assert!(!failure.text.contains("stream-key") && failure.text.len() < 300, "{failure}");
        }
        let many = vec!["\"rtmp://a/live\""; MAX_DECISION_TARGETS + 1].join(",");
        let many = format!(r#"{{"action": "relay", "urls": [{many}]}}"#);
        assert!(answer(many.as_bytes(), &question(Why::Publish), 1).is_err());
        let source = r#"{"action": "pull", "urls": ["rtmp://a/live"], "config": {"queue_ms": 100}}"#;
        assert!(answer(source.as_bytes(), &question(Why::Play), 1).unwrap_err().text.contains("queue_ms"));
        for (why, wrong) in [(Why::Play, "relay"), (lost(true), "relay"), (lost(false), "pull")] {
            let body = format!(r#"{{"action": "{wrong}", "urls": ["rtmp://a/live"]}}"#);
            assert!(answer(body.as_bytes(), &question(why), 1).is_err());
        }
    }
}
