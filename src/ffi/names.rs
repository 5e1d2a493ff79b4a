//! Names and sentences as C strings. The sentences come from the core's error enum.

use std::ffi::{CStr, CString};
use std::sync::OnceLock;

use crate::error::RRError;

/// Names of the states, by number.
const STATES: [&CStr; 11] = [
    c"NONE",
    c"IDLE",
    c"ACCEPTING",
    c"CONNECTING",
    c"HANDSHAKE",
    c"WAITING",
    c"IN_PROGRESS",
    c"RECOVERING",
    c"STOPPING",
    c"STOPPED",
    c"FAILED",
];

/// Names of the event types, by number.
const EVENTS: [&CStr; 18] = [
    c"NONE",
    c"SERVER",
    c"STREAM",
    c"SESSION",
    c"TARGET",
    c"CONNECT_ASK",
    c"PUBLISH_ASK",
    c"PLAY_ASK",
    c"WANTED",
    c"UNWATCHED",
    c"TRACKS",
    c"SLOW",
    c"CLOCK",
    c"RECONNECT",
    c"NEXT",
    c"LOG",
    c"OVERFLOW",
    c"UPGRADE",
];

/// Names of the roles, by number.
const ROLES: [&CStr; 6] = [c"none", c"publisher", c"standby", c"player", c"target", c"source"];

/// Names of the kinds of objects, by number.
const KINDS: [&CStr; 5] = [UNKNOWN, c"server", c"stream", c"session", c"target"];

/// Names of the codecs: Enhanced RTMP's FourCCs, and those that `proto::frame` maps older ids to.
const CODECS: [(&[u8; 4], &CStr); 24] = [
    (b"avc1", c"H.264"),
    (b"hvc1", c"H.265"),
    (b"vvc1", c"H.266"),
    (b"av01", c"AV1"),
    (b"vp08", c"VP8"),
    (b"vp09", c"VP9"),
    (b"FLV1", c"Sorenson H.263"),
    (b"FSV1", c"Screen Video"),
    (b"FSV2", c"Screen Video 2"),
    (b"VP6F", c"VP6"),
    (b"VP6A", c"VP6 with alpha"),
    (b"mp4a", c"AAC"),
    (b".mp3", c"MP3"),
    (b"Opus", c"Opus"),
    (b"fLaC", c"FLAC"),
    (b"ac-3", c"AC-3"),
    (b"ec-3", c"E-AC-3"),
    (b"lpcm", c"PCM"),
    (b"adpc", c"ADPCM"),
    (b"alaw", c"G.711 A-law"),
    (b"ulaw", c"G.711 mu-law"),
    (b"nmos", c"Nellymoser"),
    (b"spex", c"Speex"),
    (b"apv1", c"APV"),
];

/// The name of unknown numbers.
const UNKNOWN: &CStr = c"UNKNOWN";

/// The name of a state.
pub(super) fn state(value: i32) -> &'static CStr {
    named(&STATES, value)
}

/// The name of an event type.
pub(super) fn event(value: i32) -> &'static CStr {
    named(&EVENTS, value)
}

/// The name of a role.
pub(super) fn role(value: i32) -> &'static CStr {
    named(&ROLES, value)
}

/// The name of a kind of objects.
pub(super) fn kind(value: i32) -> &'static CStr {
    named(&KINDS, value)
}

/// The name of the codec of a FourCC.
pub(super) fn codec(four_cc: u32) -> &'static CStr {
    CODECS.iter().find(|(code, _)| u32::from_be_bytes(**code) == four_cc).map_or(UNKNOWN, |(_, name)| name)
}

/// The name of the codec of a FourCC; "" for 0, which means none.
pub(super) fn codec_or_none(four_cc: u32) -> &'static CStr {
    if four_cc == 0 { c"" } else { codec(four_cc) }
}

fn named(names: &[&'static CStr], value: i32) -> &'static CStr {
    usize::try_from(value).ok().and_then(|at| names.get(at).copied()).unwrap_or(UNKNOWN)
}

/// The sentence of an error number; every number from 0 on is a success.
pub(super) fn error(code: i32) -> &'static CStr {
    // C strings of the core's sentences, made once: Rust's have no NUL.
    static SENTENCES: OnceLock<Vec<(i32, CString)>> = OnceLock::new();
    if code >= 0 {
        return c"no error";
    }
    let sentences = SENTENCES
        .get_or_init(|| RRError::ALL.map(|kind| (kind.code(), super::c_string(kind.sentence().into()))).into());
    sentences.iter().find(|(number, _)| *number == code).map_or(c"unknown error", |(_, sentence)| sentence)
}
