//! Settings in JSON: an object whose members have the names of the C structs' fields. This module turns JSON into
//! values, and `config` checks them.
//!
//! `null` is the default and `"off"` turns a setting off. Choices have names; media are a list of names.

use serde_json::{Map, Value as Json};

use crate::config::{Decision, StreamConfig, TargetConfig, Value, media};
use crate::error::{Failure, RRError, Result};

/// Names of choices in JSON, with the numbers of the C API.
const CHOICES: [(&str, &[(&str, i128)]); 6] = [
    ("publisher_policy", &[("reject", 0), ("takeover", 1), ("standby", 2)]),
    ("clock", &[("pass", 0), ("zero", 1), ("repair", 2)]),
    ("start", &[("key", 1), ("gop", 2), ("now", 3)]),
    ("args", &[("apart", 0), ("key", 1), ("drop", 2)]),
    ("metadata", &[("mended", 0), ("verbatim", 1)]),
    ("slow_policy", &[("resync", 0), ("reconnect", 1), ("stop", 2)]),
];

/// Longest error text about wrong JSON, in characters: it contains names from the JSON, which may be as long as the
/// whole.
const MAX_WORDS: usize = 200;

const MEDIA: [(&str, u32); 3] = [("audio", media::AUDIO), ("video", media::VIDEO), ("data", media::DATA)];

/// Settings of a stream: `config`, changed by the object's members.
///
/// # Errors
/// [`RRError::Arg`] with the setting's name, its range, and the reason.
pub(crate) fn stream(mut config: StreamConfig, object: &Map<String, Json>) -> Result<StreamConfig> {
    each(object, |name, value| config.set(name, value))?;
    Ok(config.checked())
}

/// Settings of a target or source: `config`, changed by the object's members.
///
/// # Errors
/// [`RRError::Arg`] with the setting's name, its range, and the reason.
pub(crate) fn target(mut config: TargetConfig, object: &Map<String, Json>) -> Result<TargetConfig> {
    each(object, |name, value| config.set(name, value))?;
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
    each(&Map::from_iter([(name.to_owned(), given)]), |name, value| decision.set(name, value))
}

/// Reads a JSON object. An array is refused, although serde would read its items as a struct's fields.
///
/// # Errors
/// Of JSON that is not this object.
pub(crate) fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::custom("an object is expected, not an array"));
    }
    serde_json::from_slice(bytes)
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

fn each(object: &Map<String, Json>, mut set: impl FnMut(&str, Value<'_>) -> Result<()>) -> Result<()> {
    for (name, given) in object {
        let refuse = |what: &str| Failure::ours(RRError::Arg, format!("{name} {what}"));
        let texts: Vec<String>;
        let value = match given {
            Json::Null => Value::Default,
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                Value::Number(whole.ok_or_else(|| refuse("must be a whole number"))?)
            }
            Json::String(text) if text == "off" => Value::Off,
            Json::String(text) => named(name, text)?.map_or(Value::Text(text), Value::Number),
            Json::Array(list) if name == "media" => {
                Value::Number(kinds(list).ok_or_else(|| refuse("must be a list of \"audio\", \"video\" and \"data\""))?)
            }
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

/// The number of a choice by its name; `None` if the setting is not a choice.
fn named(setting: &str, text: &str) -> Result<Option<i128>> {
    let Some((_, choices)) = CHOICES.iter().find(|(name, _)| *name == setting) else { return Ok(None) };
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    found.map(Some).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Failure::ours(RRError::Arg, format!("{setting} must be one of {}", names.join(", ")))
    })
}

fn kinds(list: &[Json]) -> Option<i128> {
    list.iter().try_fold(0, |bits, item| {
        let kind = MEDIA.iter().find(|(name, _)| item.as_str() == Some(name))?;
        Some(bits | i128::from(kind.1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Args, Metadata, PublisherPolicy, SlowPolicy, Start};

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
                        "insecure": true, "slow_policy": "stop", "max_kbps": 3000, "tracks": 18446744073709551615}"#;
        let config = target(TargetConfig::default(), &object(given)).unwrap();
        assert_eq!((config.url.as_str(), config.key.as_deref()), ("rtmp://a/b", Some(&b"k"[..])));
        assert_eq!((config.media, config.backup_urls.len()), (media::AUDIO | media::DATA, 1));
        assert_eq!((config.insecure, config.slow_policy), (true, SlowPolicy::Stop));
        assert_eq!((config.max_kbps, config.tracks), (Some(3_000), u64::MAX));
    }

    #[test]
    fn every_choice_can_be_named() {
        for (setting, choices) in CHOICES {
            for (name, number) in choices {
                let by_name = object(&format!(r#"{{"url": "rtmp://a/b", "{setting}": "{name}"}}"#));
                let by_number = object(&format!(r#"{{"url": "rtmp://a/b", "{setting}": {number}}}"#));
                if setting == "slow_policy" {
                    let [one, other] =
                        [&by_name, &by_number].map(|given| target(TargetConfig::default(), given).unwrap());
                    assert_eq!(format!("{one:?}"), format!("{other:?}"), "{setting}: {name}");
                } else {
                    let stream = |mut given: Map<String, Json>| {
                        given.remove("url");
                        stream(StreamConfig::default(), &given).unwrap()
                    };
                    assert_eq!(stream(by_name), stream(by_number), "{setting}: {name}");
                }
            }
        }
        let given = r#"{"args": "drop", "metadata": "verbatim"}"#;
        let config = stream(StreamConfig::default(), &object(given)).unwrap();
        assert_eq!((config.args, config.metadata), (Args::Drop, Metadata::Verbatim));
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_name() {
        for (given, words) in [
            (r#"{"grace": 1}"#, "grace: a stream has no such setting"),
            (r#"{"grace_ms": "long"}"#, "grace_ms must be a number"),
            (r#"{"grace_ms": 1.5}"#, "grace_ms must be a whole number"),
            (r#"{"grace_ms": -1}"#, "grace_ms is -1"),
            (r#"{"start": "later"}"#, "start must be one of key, gop, now"),
            (r#"{"cpus": {}}"#, "cpus cannot be an object"),
            (r#"{"cpus": ["0"]}"#, "cpus"),
        ] {
            let failure = stream(StreamConfig::default(), &object(given)).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{given}: {failure}");
        }
        for (given, words) in [
            ("{}", "url must be given"),
            (r#"{"url": 1}"#, "url must be text"),
            (r#"{"url": "rtmp://a/b", "media": ["smell"]}"#, "media must be a list"),
            (r#"{"url": "rtmp://a/b", "backup_urls": [1]}"#, "backup_urls must be a list of texts"),
        ] {
            let failure = target(TargetConfig::default(), &object(given)).unwrap_err();
            assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{given}: {failure}");
        }
    }
}
