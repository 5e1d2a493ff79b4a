//! `RTMP_ParseURL` and `RTMP_ParsePlaypath`: they read urls exactly as librtmp does, because programs rely on that.
//!
//! `proto::url`, the relay's parser, refuses some urls that this one accepts, and splits the path at other places.

use std::ffi::{c_char, c_int, c_uint};

use super::ptr::{c_string, put};
use super::types::*;
use super::{guard, log, mem};

/// Names of the protocols by number, as written in urls.
pub(super) const SCHEMES: [&str; 9] = ["rtmp", "rtmpt", "rtmpe", "rtmpte", "rtmps", "rtmpts", "", "", "rtmfp"];

/// The longest host name that is accepted, in bytes.
const MAX_HOST_BYTES: usize = 255;

/// A table of seven bytes for each name, including its NUL.
const fn table(upper: bool) -> [[u8; 7]; 9] {
    let mut rows = [[0; 7]; 9];
    let mut row = 0;
    while row < rows.len() {
        let name = SCHEMES[row].as_bytes();
        let mut at = 0;
        while at < name.len() {
            rows[row][at] = if upper { name[at].to_ascii_uppercase() } else { name[at] };
            at += 1;
        }
        row += 1;
    }
    rows
}

#[unsafe(no_mangle)]
pub static RTMPProtocolStrings: [[u8; 7]; 9] = table(true);

#[unsafe(no_mangle)]
pub static RTMPProtocolStringsLower: [[u8; 7]; 9] = table(false);

/// The parts of a url, which point into it.
pub(super) struct Parsed<'a> {
    pub(super) protocol: c_int,
    /// `None` if the name is too long; then the program's value stays.
    pub(super) host: Option<&'a [u8]>,
    /// 0 if the url has no port, or an invalid one.
    pub(super) port: u32,
    pub(super) app: Option<&'a [u8]>,
    /// The rest of the path, before [`playpath`] converts it.
    pub(super) playpath: &'a [u8],
}

fn find(text: &[u8], byte: u8) -> Option<usize> {
    text.iter().position(|&each| each == byte)
}

fn find_text(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The number at the start, read as by `atoi`; 0 if there is none.
pub(super) fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |value, byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    if negative { -value } else { value }
}

fn protocol_of(scheme: &[u8]) -> c_int {
    let known = SCHEMES.iter().position(|name| !name.is_empty() && scheme.eq_ignore_ascii_case(name.as_bytes()));
    known.map_or_else(
        || {
            log::warning(&format!("unknown protocol \"{}\", rtmp is assumed", String::from_utf8_lossy(scheme)));
            0
        },
        |index| index as c_int,
    )
}

/// Splits a url. A url without `://`, or with nothing after it, has at most a protocol, which is the `Err`.
pub(super) fn parse(url: &[u8]) -> Result<Parsed<'_>, c_int> {
    log::debug("Parsing...");
    let mark = find_text(url, b"://");
    let protocol = mark.map_or(0, |at| protocol_of(&url[..at]));
    if mark.is_some() {
        log::debug(&format!("Parsed protocol: {protocol}"));
    }
    let Some(rest) = mark.map(|at| &url[at + 3..]).filter(|rest| !rest.is_empty()) else {
        log::error("RTMP URL: there is no host after ://");
        return Err(protocol);
    };
    let slash = find(rest, b'/');
    let authority = &rest[..slash.unwrap_or(rest.len())];
    let (host, after) = match (authority, find(authority, b']')) {
        // An address in brackets is the host; a colon within it does not begin a port.
        ([b'[', ..], Some(end)) => (&authority[1..end], &authority[end + 1..]),
        _ => authority.split_at(find(authority, b':').unwrap_or(authority.len())),
    };
    let port = match after {
        [b':', digits @ ..] => leading_number(digits),
        _ => 0,
    };
    let mut parsed = Parsed { protocol, host: None, port: 0, app: None, playpath: &[] };
    if host.len() <= MAX_HOST_BYTES {
        parsed.host = Some(host);
        log::debug(&format!("Parsed host    : {}", String::from_utf8_lossy(host)));
    } else {
        log::warning("RTMP URL: the host name is longer than 255 characters");
    }
    match u16::try_from(port) {
        Ok(port) => parsed.port = port.into(),
        Err(_) => log::warning(&format!("RTMP URL: port {port} does not exist")),
    }
    let Some(slash) = slash else {
        log::warning("RTMP URL: there is no application");
        return Ok(parsed);
    };
    let path = &rest[slash + 1..];
    // The question mark of `slist=` may come before the path too.
    let (app, playpath) = match (find(rest, b'?'), find_text(path, b"slist=")) {
        (Some(question), Some(_)) => (path, &rest[question..]),
        _ => {
            let (app, playpath) = path.split_at(app_len(path));
            (app, playpath.strip_prefix(b"/").unwrap_or(playpath))
        }
    };
    log::debug(&format!("Parsed app     : {}", String::from_utf8_lossy(app)));
    (parsed.app, parsed.playpath) = (Some(app), playpath);
    Ok(parsed)
}

/// Length of the application in the path.
fn app_len(path: &[u8]) -> usize {
    if path.starts_with(b"ondemand/") {
        return 8;
    }
    // An application has up to three parts of the path, but never the last part.
    let slashes: Vec<usize> = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
    slashes.iter().take(3).next_back().copied().unwrap_or(path.len())
}

/// A playpath in the form that servers expect: with `mp4:` or `mp3:` in front according to its extension, which is
/// removed, and with `%xx` decoded.
pub(super) fn playpath(text: &[u8]) -> Vec<u8> {
    let listed = if text.first() == Some(&b'?') { find_text(text, b"slist=") } else { None };
    let path = match listed {
        Some(at) => {
            let path = &text[at + 6..];
            &path[..find(path, b'&').unwrap_or(path.len())]
        }
        None => text,
    };
    let end = find(path, b'?').unwrap_or(path.len());
    let ext = end.checked_sub(4).filter(|_| path.len() >= 4);
    let kind = ext.map_or(&b""[..], |at| &path[at..end]);
    let (prefix, mut cut) = match kind {
        b".f4v" | b".mp4" => (&b"mp4:"[..], true),
        b".mp3" => (&b"mp3:"[..], true),
        b".flv" => (&b""[..], listed.is_none()),
        _ => (&b""[..], false),
    };
    let mut out = Vec::with_capacity(path.len() + 4);
    if !prefix.is_empty() && path.starts_with(prefix) {
        cut = false;
    } else {
        out.extend_from_slice(prefix);
    }
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        if cut && Some(at) == ext {
            at += 4;
        } else if let (b'%', Some(value)) = (byte, path.get(at + 1..at + 3).and_then(hex_pair)) {
            out.push(value);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}

/// The byte that two hex digits name.
pub(super) fn hex_pair(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
    u8::try_from(value).ok()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ParseURL(
    url: *const c_char,
    protocol: *mut c_int,
    host: *mut AVal,
    port: *mut c_uint,
    playpath_out: *mut AVal,
    app: *mut AVal,
) -> c_int {
    guard(FALSE, || {
        // SAFETY: contract: a C string.
        let parsed = unsafe { c_string(url) }.ok_or(0).and_then(parse);
        let (named, result) = match &parsed {
            Ok(parsed) => (parsed.protocol, TRUE),
            Err(named) => (*named, FALSE),
        };
        let parsed = parsed.ok();
        // SAFETY: contract; likewise below.
        unsafe { put(protocol, named) };
        // SAFETY: as above.
        unsafe { put(port, parsed.as_ref().map_or(0, |parsed| parsed.port)) };
        if let Some(name) = parsed.as_ref().and_then(|parsed| parsed.host) {
            // SAFETY: contract: a part of the program's url, which the program keeps.
            let name = unsafe { AVal::of(name) };
            // SAFETY: as above.
            unsafe { put(host, name) };
        }
        // The results are set on failure too: the caller frees the playpath, which must be NULL then.
        let name = parsed.as_ref().and_then(|parsed| parsed.app);
        // SAFETY: contract: a part of the program's url, which the program keeps.
        let name = name.map_or(AVal::NULL, |name| unsafe { AVal::of(name) });
        // SAFETY: as above.
        unsafe { put(app, name) };
        let path = parsed.map_or(&[][..], |parsed| parsed.playpath);
        if !playpath_out.is_null() {
            let path = if path.is_empty() { AVal::NULL } else { mem::copy(&playpath(path)) };
            // SAFETY: as above.
            unsafe { put(playpath_out, path) };
        }
        result
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ParsePlaypath(text: Option<&AVal>, out: *mut AVal) {
    guard((), || {
        if !out.is_null() {
            // SAFETY: contract.
            unsafe { put(out, mem::copy(&playpath(text.map_or(&[], AVal::bytes)))) };
        }
    });
}
