//! Names and sentences as C strings. The sentences come from the core's error enum; nothing is written twice.

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

/// Names of the event types, by number. The controller's place (14) is empty.
const EVENTS: [&CStr; 17] = [
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
    UNKNOWN,
    c"LOG",
    c"OVERFLOW",
];

/// What has no name.
const UNKNOWN: &CStr = c"UNKNOWN";

/// The name of a state.
pub(super) fn state(value: i32) -> &'static CStr {
    named(&STATES, value)
}

/// The name of an event type.
pub(super) fn event(value: i32) -> &'static CStr {
    named(&EVENTS, value)
}

fn named(names: &[&'static CStr], value: i32) -> &'static CStr {
    usize::try_from(value).ok().and_then(|at| names.get(at).copied()).unwrap_or(UNKNOWN)
}

/// The sentence of an error number; good results say so.
pub(super) fn error(code: i32) -> &'static CStr {
    // Made once: the sentences are Rust strings without the NUL that C wants.
    static SENTENCES: OnceLock<Vec<(i32, CString)>> = OnceLock::new();
    if code >= 0 {
        return c"no error";
    }
    let sentences = SENTENCES
        .get_or_init(|| RRError::ALL.map(|kind| (kind.code(), super::c_string(kind.sentence().into()))).into());
    sentences.iter().find(|(number, _)| *number == code).map_or(c"unknown error", |(_, sentence)| sentence)
}
