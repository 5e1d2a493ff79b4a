//! Settings in JSON: an object whose members have the names of the C structs' fields. This module turns JSON into
//! values, and `config` checks them. `schema` describes the same objects for the OpenAPI document.
//!
//! `null` is the default and `"off"` turns a setting off. Choices have names; media are a list of names.

mod schema;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value as Json};

use super::modest;
use crate::config::{Decision, Shape, StreamConfig, TargetConfig, Value};
use crate::error::{Failure, RRError, Result};

/// Longest error text about wrong JSON, in characters: it contains names from the JSON, which may be as long as the
/// whole.
const MAX_WORDS: usize = 200;

/// The body of a request with settings of a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamSettings(pub(crate) Map<String, Json>);

/// The body of a request with all settings of a target or source.
#[derive(Debug, Deserialize)]
pub(crate) struct TargetSettings(pub(crate) Map<String, Json>);

/// The body of a request that changes settings of a target or source.
#[derive(Debug, Deserialize)]
pub(crate) struct TargetChanges(pub(crate) Map<String, Json>);

/// Settings of a stream: `config`, changed by the object's members.
///
/// # Errors
/// [`RRError::Arg`] with the setting's name, its range, and the reason.
pub(crate) fn stream(mut config: StreamConfig, object: &Map<String, Json>) -> Result<StreamConfig> {
    each(object, StreamConfig::shape, |name, value| config.set(name, value))?;
    Ok(config.checked())
}

/// Settings of a target or source: `config`, changed by the object's members.
///
/// # Errors
/// [`RRError::Arg`] with the setting's name, its range, and the reason.
pub(crate) fn target(mut config: TargetConfig, object: &Map<String, Json>) -> Result<TargetConfig> {
    each(object, TargetConfig::shape, |name, value| config.set(name, value))?;
    config.checked()
}

/// As [`target`], for an answer of a controller or a hook.
///
/// # Errors
/// As [`target`]; [`RRError::Arg`] also for settings that only the host may make.
pub(crate) fn answered_target(config: TargetConfig, object: &Map<String, Json>) -> Result<TargetConfig> {
    target(config, object)?.answered()
}

/// Sets one setting of a decision.
///
/// # Errors
/// As [`stream`].
pub(crate) fn decision(decision: &mut Decision, name: &str, given: Json) -> Result<()> {
    each(&Map::from_iter([(name.to_owned(), given)]), Decision::shape, |name, value| decision.set(name, value))
}

/// Reads a JSON object. An array is refused, although serde would read its items as a struct's fields.
///
/// # Errors
/// Of JSON that is not this object.
pub(crate) fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::custom("an object is expected, not an array"));
    }
    modest::check(bytes).map_err(serde::de::Error::custom)?;
    serde_json::from_slice(bytes)
}

/// A member of an answer: `null`, as some programs write empty lists and texts, counts as left out.
///
/// # Errors
/// Of JSON that is not of this type.
pub(crate) fn or_left_out<'a, D, T>(given: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'a>,
    T: Deserialize<'a> + Default,
{
    Option::deserialize(given).map(Option::unwrap_or_default)
}

/// Describes what is wrong with an answer in JSON, without its values, which may be urls with keys.
pub(crate) fn wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let told = match text.rsplit_once(", expected ") {
        Some((before, expected)) if before.starts_with("invalid ") => format!("expected {expected}"),
        _ => text,
    };
    told.chars().take(MAX_WORDS).collect()
}

/// Sets each member of an object; `shape` says what a setting may be.
fn each(
    object: &Map<String, Json>,
    shape: impl Fn(&str) -> Option<Shape>,
    mut set: impl FnMut(&str, Value<'_>) -> Result<()>,
) -> Result<()> {
    for (name, given) in object {
        let refuse = |what: &str| Failure::ours(RRError::Arg, format!("{name} {what}"));
        let shape = shape(name);
        if given.is_number()
            && let Some(what) = instead_of_number(shape.as_ref())
        {
            return Err(refuse(&format!("must be {what}")));
        }
        let texts: Vec<String>;
        let value = match given {
            Json::Null => Value::Default,
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => Value::Number(whole(number).ok_or_else(|| refuse("must be a whole number"))?),
            // Where a setting is text, this is the text.
            Json::String(text) if text == "off" && matches!(shape, Some(Shape::Number { .. })) => Value::Off,
            Json::String(text) => Value::Text(text),
            Json::Array(list) => {
                let all = list.iter().map(|item| item.as_str().map(ToOwned::to_owned));
                texts = all.collect::<Option<_>>().ok_or_else(|| refuse("must be a list of texts"))?;
                Value::Texts(&texts)
            }
            Json::Object(_) => return Err(refuse("cannot be an object")),
        };
        set(name, value)?;
    }
    Ok(())
}

/// A whole number. JSON does not tell 1 from 1.0, and some programs write the latter.
fn whole(number: &Number) -> Option<i128> {
    let fraction = || number.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i128);
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(fraction)
}

/// What a setting is in JSON that is a number in the C API alone.
fn instead_of_number(shape: Option<&Shape>) -> Option<String> {
    match shape? {
        Shape::Flag => Some("true or false".to_owned()),
        Shape::Choice(names) => Some(format!("one of {}", listed(names))),
        Shape::Bits(names) => Some(format!("a list of {}", listed(names))),
        _ => None,
    }
}

fn listed(names: &[(u32, &'static str)]) -> String {
    names.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PublisherPolicy, SlowPolicy, Start, media};

    fn object(text: &str) -> Map<String, Json> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn settings_have_the_names_of_the_c_structs() {
        let given = r#"{"publisher_policy": "takeover", "grace_ms": 5000, "start": "now", "unwatched_ms": "off",
                        "gop_ms": null, "cpus": "0-1"}"#;
        let config = stream(StreamConfig::default(), &object(given)).unwrap();
        assert_eq!((config.publisher_policy, config.grace_ms), (PublisherPolicy::Takeover, 5_000));
        assert_eq!((config.start, config.unwatched_ms, config.cpus), (Start::Now, None, vec![0, 1]));
        let given = r#"{"url": "rtmp://a/b", "key": "k", "media": ["audio", "data"], "backup_urls": ["rtmp://c/d"],
                        "insecure": true, "slow_policy": "stop", "max_kbps": 3000.0, "tracks": 18446744073709551615}"#;
        let config = target(TargetConfig::default(), &object(given)).unwrap();
        assert_eq!((config.url.as_str(), config.key.as_deref()), ("rtmp://a/b", Some(&b"k"[..])));
        assert_eq!((config.media, config.backup_urls.len()), (media::AUDIO | media::DATA, 1));
        assert_eq!((config.insecure, config.slow_policy), (true, SlowPolicy::Stop));
        assert_eq!((config.max_kbps, config.tracks), (Some(3_000), u64::MAX));
    }

    #[test]
    fn a_name_may_be_the_word_that_turns_numbers_off() {
        let given = r#"{"url": "rtmp://a/b", "key": "off", "username": "off", "idle_ms": "off"}"#;
        let config = target(TargetConfig::default(), &object(given)).unwrap();
        assert_eq!((config.key.as_deref(), config.username.as_deref()), (Some(&b"off"[..]), Some("off")));
        let mut decision = Decision::default();
        super::decision(&mut decision, "media", serde_json::json!(["video"])).unwrap();
        super::decision(&mut decision, "start", serde_json::json!("key")).unwrap();
        assert_eq!((decision.media, decision.start), (media::VIDEO, Some(Start::Key)));
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_name() {
        for (given, words) in [
            (r#"{"grace": 1}"#, "grace: a stream has no such setting"),
            (r#"{"grace_ms": "long"}"#, "grace_ms must be a number"),
            (r#"{"grace_ms": 1.5}"#, "grace_ms must be a whole number"),
            (r#"{"grace_ms": -1}"#, "grace_ms is -1"),
            (r#"{"grace_ms": 1e40}"#, "grace_ms is"),
            (r#"{"start": "later"}"#, "start must be one of key, gop, now"),
            (r#"{"start": 1}"#, "start must be one of key, gop, now"),
            (r#"{"cpus": {}}"#, "cpus cannot be an object"),
            (r#"{"cpus": ["0"]}"#, "cpus"),
        ] {
            let failure = stream(StreamConfig::default(), &object(given)).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{given}: {failure}");
        }
        for (given, words) in [
            ("{}", "url must be given"),
            (r#"{"url": 1}"#, "url must be text"),
            (r#"{"url": "rtmp://a/b", "media": ["smell"]}"#, "media must be a list of audio, video, data"),
            (r#"{"url": "rtmp://a/b", "media": 7}"#, "media must be a list of audio, video, data"),
            (r#"{"url": "rtmp://a/b", "insecure": 1}"#, "insecure must be true or false"),
            (r#"{"url": "rtmp://a/b", "insecure": "off"}"#, "insecure must be true or false"),
            (r#"{"url": "rtmp://a/b", "backup_urls": [1]}"#, "backup_urls must be a list of texts"),
        ] {
            let failure = target(TargetConfig::default(), &object(given)).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{given}: {failure}");
        }
    }
}
