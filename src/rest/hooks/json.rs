//! Our own dialect: a JSON object goes by POST, and a JSON object comes back.
//!
//! The answer to a question is 200 with an object that has an `action`: `allow` (also without a body, or by 204),
//! `deny` with `text` and `code`, `redirect` with `url`. `allow` may rename, and may add targets and sources, whose
//! settings have the names of the C structs. 4xx denies too, with the `text` of its object. Any other answer is a
//! failure of the back end.

use axum::body::Bytes;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{About, Act, Call, SoFar, Verdict};
use crate::config::{Decision, TargetConfig, Value};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::rest::answer;
use crate::rest::client::{Reply, of_back_end, post};
use crate::rest::model::id_text;
use crate::rest::nginx::client_number;
use crate::rest::settings;
use crate::server::figures::Stats;
use crate::server::hooks::Wanted;
use crate::stream::event::Event;

/// The header with the number of a notification, which is the same at each try.
const DELIVERY: &str = "x-rrelay-delivery";

/// The body of a request.
#[derive(Debug, Serialize)]
struct Body {
    /// `on_publish` ...
    hook: &'static str,
    /// Wall clock, ms, so that a signed request cannot be replayed later.
    time_ms: i64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Session(Box<Session>),
    Target(Box<Target>),
}

/// The session that a request is about.
#[derive(Debug, Serialize)]
struct Session {
    session: String,
    /// The small number of the connection, as in `/stat` and `/control`.
    client: u64,
    addr: String,
    local_addr: String,
    tls: bool,
    app: String,
    /// The stream key; absent at connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The `?args`, which are credentials.
    query: String,
    agent: String,
    tc_url: String,
    page_url: String,
    swf_url: String,
    #[serde(flatten)]
    wanted: Option<Wish>,
    #[serde(flatten)]
    act: Option<Running>,
    #[serde(flatten)]
    over: Option<Over>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Wish {
    Publish {
        #[serde(rename = "type")]
        kind: String,
    },
    Play {
        start_ms: i64,
        duration_ms: i64,
        reset: bool,
    },
}

#[derive(Debug, Serialize)]
struct Running {
    role: &'static str,
    stream: String,
    running_ms: u64,
    stats: Stats,
}

/// The end of a publish or play.
#[derive(Debug, Serialize)]
struct Over {
    /// Null if the session goes on, or left in order.
    error: Option<&'static str>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Target {
    target: String,
    stream: String,
    role: &'static str,
    app: String,
    key: String,
    url: String,
    addr: String,
    state: &'static str,
    previous: &'static str,
    error: Option<&'static str>,
    reason: String,
    /// With RECOVERING: ms to the next try.
    value: i64,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn session(about: &About) -> Session {
    let names = &about.names;
    Session {
        session: id_text(about.session.id),
        client: client_number(about.session.id),
        addr: about.session.addr.clone(),
        local_addr: about.session.local_addr.clone(),
        tls: about.session.tls(),
        app: text(&names.app),
        key: Some(text(&names.key)),
        query: text(&names.query),
        agent: text(&names.agent),
        tc_url: text(&names.tc_url),
        page_url: text(&names.page_url),
        swf_url: text(&names.swf_url),
        wanted: None,
        act: None,
        over: None,
    }
}

fn running(act: &Act, SoFar { ran, stats }: SoFar) -> Session {
    let running = Running {
        role: if act.publishes { "publisher" } else { "player" },
        stream: id_text(act.stream),
        running_ms: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
        stats,
    };
    Session { act: Some(running), ..session(&act.about) }
}

fn target(event: &Event) -> Target {
    Target {
        target: id_text(event.target),
        stream: id_text(event.stream),
        role: event.role.name(),
        app: text(&event.app),
        key: text(&event.key),
        url: crate::mask::mask_url(&text(&event.url)),
        addr: text(&event.addr),
        state: event.state.name(),
        previous: event.prev.name(),
        error: event.error.map(RRError::name),
        reason: text(&event.text),
        value: event.value,
    }
}

fn what(call: &Call) -> What {
    let session = match call {
        Call::Ask(about, Wanted::Connect) => Session { key: None, ..session(about) },
        Call::Ask(about, Wanted::Publish { kind }) => {
            Session { wanted: Some(Wish::Publish { kind: text(kind) }), ..session(about) }
        }
        Call::Ask(about, Wanted::Play { part }) => {
            let (start_ms, duration_ms) = (part.start_ms(), part.duration_ms());
            let wish = Wish::Play { start_ms, duration_ms, reset: part.resets() };
            Session { wanted: Some(wish), ..session(about) }
        }
        Call::Update(act) => running(act, act.so_far()),
        Call::Done(act, ended) => {
            let so_far = SoFar { ran: ended.at.saturating_duration_since(act.since), stats: ended.stats };
            let cause = ended.cause.as_ref();
            let over = Over {
                error: cause.filter(|cause| cause.kind != RRError::Closed).map(|cause| cause.kind.name()),
                reason: cause.map(|cause| cause.text.to_string()).unwrap_or_default(),
            };
            Session { over: Some(over), ..running(act, so_far) }
        }
        Call::Target(event) => return What::Target(Box::new(target(event))),
    };
    What::Session(Box::new(session))
}

/// The request of a call.
///
/// # Errors
/// [`RRError::Arg`] if the url is not a valid address; those of [`answer::question`].
pub(super) fn request(url: &str, call: &Call, delivery: &str) -> Result<Request<Bytes>> {
    let body = Body { hook: call.hook().name(), time_ms: clock::wall_us() / 1_000, what: what(call) };
    let no_request = |error: &dyn std::fmt::Display| Failure::ours(RRError::Arg, format!("{url}: {error}"));
    post(url).header(DELIVERY, delivery).body(answer::question(&body)?).map_err(|error| no_request(&error))
}

/// The body of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Answer {
    action: Option<String>,
    /// The text of a denial, for the peer.
    #[serde(deserialize_with = "settings::or_left_out")]
    text: String,
    #[serde(deserialize_with = "settings::or_left_out")]
    code: String,
    /// The target of a redirect.
    url: Option<String>,
    /// Another key; at connect another application.
    rename: Option<String>,
    #[serde(deserialize_with = "settings::or_left_out")]
    targets: Vec<Map<String, Json>>,
    #[serde(deserialize_with = "settings::or_left_out")]
    sources: Vec<Map<String, Json>>,
    /// Where a player begins, and the media that it may have.
    start: Option<Json>,
    media: Option<Json>,
}

fn answer(reply: &Reply) -> Result<Answer> {
    if reply.body.trim_ascii().is_empty() {
        return Ok(Answer::default());
    }
    let no_answer = |error| {
        let why = settings::wrong(&error);
        Failure::peers(RRError::Protocol, format!("its answer is not a valid answer of a hook: {why}"))
    };
    let given: Json = match settings::object(&reply.body) {
        Ok(given) => given,
        // Its words are out of bounds, and it denies nevertheless.
        Err(_) if denies(&reply.body) => return Ok(Answer { action: Some("deny".to_owned()), ..Answer::default() }),
        Err(error) => return Err(no_answer(error)),
    };
    let text = |name: &str| given.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    if text("action") == "deny" {
        // The rest of the answer does not matter: a denial with an unknown member must not let a peer in.
        return Ok(Answer {
            action: Some("deny".to_owned()),
            text: text("text"),
            code: text("code"),
            ..Answer::default()
        });
    }
    serde_json::from_value(given).map_err(no_answer)
}

/// Whether the action of an answer is to deny, whatever else is in it.
fn denies(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Action {
        action: String,
    }
    serde_json::from_slice::<Action>(body).is_ok_and(|given| given.action == "deny")
}

/// The meaning of an answer to a question.
///
/// # Errors
/// [`RRError::Rejected`] for an unexpected status, [`RRError::Protocol`] and [`RRError::Arg`] for an invalid body.
pub(super) fn verdict(call: &Call, reply: &Reply) -> Result<Verdict> {
    match reply.status {
        200..300 => {}
        400..500 => {
            let given = answer(reply).unwrap_or_default();
            let said_no = || format!("{} denied it ({})", call.hook().name(), reply.status);
            let text = if given.text.is_empty() { said_no() } else { given.text };
            return Ok(Verdict::Deny { code: given.code, text });
        }
        status => return Err(Failure::peers(RRError::Rejected, format!("the back end answered {status}"))),
    }
    let answer = answer(reply)?;
    match answer.action.as_deref() {
        None | Some("allow") => allowed(answer),
        Some("deny") => Ok(Verdict::Deny { code: answer.code, text: answer.text }),
        Some("redirect") => {
            let no_url = || Failure::peers(RRError::Arg, "a redirect needs a url");
            answer.url.filter(|url| !url.is_empty()).map(Verdict::Redirect).ok_or_else(no_url)
        }
        Some(other) => Err(Failure::peers(RRError::Arg, format!("action is \"{other}\", no allow, deny or redirect"))),
    }
}

fn allowed(answer: Answer) -> Result<Verdict> {
    let mut decision = Decision::default();
    if let Some(rename) = &answer.rename {
        decision.set("rename", Value::Text(rename))?;
    }
    for (name, given) in [("start", answer.start), ("media", answer.media)] {
        if let Some(given) = given {
            settings::decision(&mut decision, name, given)?;
        }
    }
    let configs = |list: Vec<Map<String, Json>>| {
        list.iter().map(|object| settings::answered_target(TargetConfig::default(), object)).collect::<Result<Vec<_>>>()
    };
    decision.targets = configs(answer.targets)?;
    decision.sources = configs(answer.sources)?;
    Ok(Verdict::Allow(Box::new(decision)))
}

/// The reason why an answer to an update ends the session: it denies.
pub(super) fn ends(reply: &Reply) -> Option<String> {
    let answer = answer(reply).inspect_err(|failure| log::warn!("on_update: {}", of_back_end(failure))).ok()?;
    let denies = (200..300).contains(&reply.status) && answer.action.as_deref() == Some("deny");
    denies.then(|| if answer.text.is_empty() { "on_update denied it".to_owned() } else { answer.text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::event::EventKind;

    #[test]
    fn a_denial_is_one_whatever_is_beside_it() {
        let call = Call::Target(Box::new(Event::new(EventKind::Target)));
        let long = "x".repeat(100_000);
        for beside in [format!(r#""text": "{long}""#), format!(r#""{long}": 1"#), r#""urls": [1, {}]"#.to_owned()] {
            let body = format!(r#"{{{beside}, "action": "deny"}}"#);
            let judged = verdict(&call, &Reply { status: 200, location: None, body: body.into() });
            assert!(matches!(judged, Ok(Verdict::Deny { .. })), "{judged:?}");
        }
        let allows = format!(r#"{{"action": "allow", "text": "{long}"}}"#);
        assert!(verdict(&call, &Reply { status: 200, location: None, body: allows.into() }).is_err());
    }

    #[test]
    fn what_is_null_in_an_answer_is_left_out() {
        let call = Call::Target(Box::new(Event::new(EventKind::Target)));
        let names = ["action", "text", "code", "url", "rename", "targets", "sources", "start", "media"];
        let nulls = names.map(|name| format!(r#""{name}": null"#)).join(", ");
        let reply = Reply { status: 200, location: None, body: format!("{{{nulls}}}").into() };
        assert_eq!(verdict(&call, &reply).unwrap(), Verdict::allow());
    }

    #[test]
    fn an_answer_names_no_file_of_this_machine_and_weakens_no_tls() {
        let call = Call::Target(Box::new(Event::new(EventKind::Target)));
        let judged = |list: &str, setting: &str| {
            let body = format!(r#"{{"{list}": [{{"url": "rtmps://a/live", {setting}}}]}}"#);
            verdict(&call, &Reply { status: 200, location: None, body: body.into() })
        };
        for list in ["targets", "sources"] {
            for (setting, name) in [(r#""ca_file": "/dev/stdin""#, "ca_file"), (r#""insecure": true"#, "insecure")] {
                let failure = judged(list, setting).unwrap_err();
                assert!(failure.kind == RRError::Arg && failure.text.contains(name), "{failure}");
            }
            let usual = judged(list, r#""ca_file": null, "insecure": false, "pin_sha256": "pin""#);
            assert!(matches!(usual, Ok(Verdict::Allow(_))), "{usual:?}");
        }
    }
}
