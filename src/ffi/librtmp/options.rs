//! What a session is to do: urls with options, single options, and `RTMP_SetupStream`. Strings are not copied: they stay
//! the program's.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint};

use super::amf::MAX_DEPTH;
use super::ptr::{entry, given, given_mut};
use super::types::*;
use super::{guard, log, mem, tls, url};

const DEFAULT_PORT: u16 = 1935;
const TLS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
const SOCKS_PORT: u16 = 1080;

const DEFAULT_FLASH_VERSION: &[u8; 14] = b"LNX 10,0,32,18";

/// A string that never changes, in the shape programs copy it from.
#[repr(transparent)]
pub struct Constant(AVal);

// SAFETY: it and what it points to are never written.
unsafe impl Sync for Constant {}

#[unsafe(no_mangle)]
pub static RTMP_DefaultFlashVer: Constant =
    Constant(AVal { av_val: DEFAULT_FLASH_VERSION.as_ptr().cast_mut().cast(), av_len: 14 });

/// What kind of value an option has, and its explanation for the list that a wrong option gets.
enum Kind {
    Text(fn(&mut RTMP) -> &mut AVal),
    Number(fn(&mut RTMP) -> &mut c_int),
    Flag(c_int),
    /// A flag of this library, which librtmp has not.
    OwnFlag(c_int),
    Connect,
}

const OPTIONS: [(&str, Kind, &str); 21] = [
    ("socks", Kind::Text(|r| &mut r.Link.sockshost), "use this SOCKS4 proxy"),
    ("app", Kind::Text(|r| &mut r.Link.app), "application on the server"),
    ("tcUrl", Kind::Text(|r| &mut r.Link.tcUrl), "url of the application"),
    ("pageUrl", Kind::Text(|r| &mut r.Link.pageUrl), "url of the web page that plays"),
    ("swfUrl", Kind::Text(|r| &mut r.Link.swfUrl), "url of the player"),
    ("flashver", Kind::Text(|r| &mut r.Link.flashVer), "version of Flash that is told"),
    ("conn", Kind::Connect, "append this value to the connect command"),
    ("playpath", Kind::Text(|r| &mut r.Link.playpath), "name of the stream on the server"),
    ("playlist", Kind::Flag(RTMP_LF_PLST), "set a playlist before play"),
    ("live", Kind::Flag(RTMP_LF_LIVE), "the stream is live: no resuming"),
    ("subscribe", Kind::Text(|r| &mut r.Link.subscribepath), "stream to subscribe to"),
    ("jtv", Kind::Text(|r| &mut r.Link.usherToken), "token of Justin.tv"),
    ("token", Kind::Text(|r| &mut r.Link.token), "key of SecureToken"),
    ("swfVfy", Kind::Flag(RTMP_LF_SWFV), "verify the player"),
    ("swfAge", Kind::Number(|r| &mut r.Link.swfAge), "days that a hash of the player is kept"),
    ("start", Kind::Number(|r| &mut r.Link.seekTime), "where to begin, in milliseconds"),
    ("stop", Kind::Number(|r| &mut r.Link.stopTime), "where to end, in milliseconds"),
    ("buffer", Kind::Number(|r| &mut r.m_nBufferMS), "buffer time in milliseconds"),
    ("timeout", Kind::Number(|r| &mut r.Link.timeout), "time-out in seconds"),
    ("tlsInsecure", Kind::OwnFlag(tls::INSECURE), "take any certificate"),
    ("pubUser", Kind::Text(|r| &mut r.Link.pubUser), "user name of the publisher"),
];

/// The password stands apart: it is the option that must never be shown.
const PASSWORD: &str = "pubPasswd";

/// A number as `strtol` reads it: decimal, or hex and octal by their prefix.
fn number(text: &[u8]) -> c_int {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', rest @ ..] => (8, rest),
        _ => (10, digits),
    };
    let value = digits
        .iter()
        .map_while(|&byte| char::from(byte).to_digit(radix))
        .fold(0i64, |value, digit| value.saturating_mul(radix.into()).saturating_add(digit.into()));
    (if negative { -value } else { value }) as c_int
}

fn is_true(text: &[u8]) -> bool {
    ["1", "on", "yes", "true"].iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// Sets one option. False for an unknown one and for a `conn` value that makes no sense.
pub(super) fn set(r: &mut RTMP, name: &[u8], value: AVal) -> bool {
    if name.eq_ignore_ascii_case(PASSWORD.as_bytes()) {
        r.Link.pubPasswd = value;
        return true;
    }
    let Some((_, kind, _)) = OPTIONS.iter().find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes())) else {
        log::error(&format!("Unknown option {}", String::from_utf8_lossy(name)));
        log::error("The options are:");
        for (known, _, text) in &OPTIONS {
            log::error(&format!("{known:>10}  {text}"));
        }
        log::error(&format!("{PASSWORD:>10}  password of the publisher"));
        return false;
    };
    match kind {
        Kind::Text(field) => *field(r) = value,
        Kind::Number(field) => *field(r) = number(value.bytes()),
        Kind::Flag(bit) => {
            if is_true(value.bytes()) {
                r.Link.lFlags |= bit;
            }
        }
        Kind::OwnFlag(bit) => {
            if is_true(value.bytes()) {
                r.Link.pFlags |= bit;
            }
        }
        Kind::Connect => {
            if connect_value(&mut r.Link, value.long_bytes()).is_none() {
                log::error(&format!("conn={} cannot be read", value.shown()));
                return false;
            }
        }
    }
    true
}

/// Appends one value to the connect command's extras, inside the object that stands open.
fn connect_value(link: &mut RTMP_LNK, text: &[u8]) -> Option<()> {
    // Below zero once more was closed than opened: names are taken there, at the outermost level.
    let depth = u32::try_from(link.edepth).unwrap_or(0);
    let (kind, name, value) = match text {
        [kind, b':', value @ ..] => (*kind, AVal::NULL, value),
        [b'N', kind, b':', rest @ ..] if link.edepth != 0 => {
            let colon = rest.iter().position(|&byte| byte == b':')?;
            (*kind, AVal::of(&rest[..colon]), &rest[colon + 1..])
        }
        _ => return None,
    };
    let mut prop = AMFObjectProperty { p_name: name, ..AMFObjectProperty::INVALID };
    (prop.p_type, prop.p_vu) = match kind {
        b'B' => (AMF_BOOLEAN, AMFValue { p_number: url::leading_number(value) as c_int as f64 }),
        b'S' => (AMF_STRING, AMFValue { p_aval: AVal::of(value) }),
        b'N' => (AMF_NUMBER, AMFValue { p_number: leading_float(value) }),
        b'Z' if name.av_val.is_null() => (AMF_NULL, AMFValue { p_aval: AVal::NULL }),
        b'O' if !name.av_val.is_null() || url::leading_number(value) != 0 => {
            (AMF_OBJECT, AMFValue { p_object: AMFObject::EMPTY })
        }
        b'O' => {
            link.edepth = link.edepth.checked_sub(1)?;
            return Some(());
        }
        _ => return None,
    };
    if depth >= MAX_DEPTH {
        return None;
    }
    let open = innermost(&mut link.extras, depth)?;
    if !open.add(&prop) {
        return None;
    }
    if prop.p_type == AMF_OBJECT {
        link.edepth += 1;
    }
    Some(())
}

/// The last property's object, so many levels down.
fn innermost(object: &mut AMFObject, depth: u32) -> Option<&mut AMFObject> {
    let mut open = object;
    for _ in 0..depth {
        let last = usize::try_from(open.o_num).ok()?.checked_sub(1)?;
        open.at(last).filter(|prop| prop.p_type == AMF_OBJECT)?;
        let prop = entry(open.o_props, last);
        // SAFETY: its type says that it is an object.
        open = unsafe { &mut prop.p_vu.p_object };
    }
    Some(open)
}

/// The number at the start, as `strtod` reads it.
fn leading_float(text: &[u8]) -> f64 {
    let text = std::str::from_utf8(text).unwrap_or_default().trim_start();
    (0..=text.len()).rev().filter_map(|end| text.get(..end)?.parse().ok()).next().unwrap_or(0.0)
}

/// The port where none was given.
fn default_port(protocol: c_int) -> u16 {
    if protocol & RTMP_FEATURE_SSL != 0 {
        TLS_PORT
    } else if protocol & RTMP_FEATURE_HTTP != 0 {
        HTTP_PORT
    } else {
        DEFAULT_PORT
    }
}

/// Splits `host:port` of the proxy.
fn set_socks(link: &mut RTMP_LNK) {
    let text = link.sockshost.long_bytes();
    if text.is_empty() {
        link.sockshost = AVal::NULL;
        link.socksport = 0;
        return;
    }
    let (host, port) = match text.iter().position(|&byte| byte == b':') {
        Some(colon) => (&text[..colon], u16::try_from(url::leading_number(&text[colon + 1..])).unwrap_or(0)),
        None => (text, SOCKS_PORT),
    };
    link.sockshost = AVal::of(host);
    link.socksport = port;
}

/// Cuts the url from its options and sets them. The buffer is the program's and stays in use.
fn set_url(r: &mut RTMP, buffer: &'static mut [u8]) -> bool {
    let space = buffer.iter().position(|&byte| byte == b' ');
    let (url, mut options) = match space {
        Some(at) => {
            buffer[at] = 0;
            let (url, rest) = buffer.split_at_mut(at);
            (&*url, &mut rest[1..])
        }
        None => (&*buffer, &mut [][..]),
    };
    let Ok(parsed) = url::parse(url) else { return false };
    r.Link.protocol = parsed.protocol;
    if let Some(host) = parsed.host {
        r.Link.hostname = AVal::of(host);
    }
    r.Link.port = parsed.port as u16;
    r.Link.app = parsed.app.map_or(AVal::NULL, AVal::of);
    r.Link.playpath0 = if parsed.playpath.is_empty() { AVal::NULL } else { mem::copy(&url::playpath(parsed.playpath)) };
    r.Link.playpath = r.Link.playpath0;

    while let Some(equals) = options.iter().position(|&byte| byte == b'=') {
        options[equals] = 0;
        let (name, rest) = options.split_at_mut(equals);
        let rest = &mut rest[1..];
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (value, after) = rest.split_at_mut(end);
        let Some(len) = unescape(value) else { return false };
        if len < value.len() {
            value[len] = 0;
        }
        let spaces = after.iter().take_while(|&&byte| byte == b' ').count();
        let (gap, after) = after.split_at_mut(spaces);
        gap.fill(0);
        if !set(r, name, AVal { av_val: value.as_mut_ptr().cast(), av_len: len as c_int }) {
            return false;
        }
        options = after;
    }
    finish_url(r, url);
    true
}

/// What follows from the url once the options are known.
fn finish_url(r: &mut RTMP, url: &[u8]) {
    if r.Link.tcUrl.is_empty() {
        let app = r.Link.app.long_bytes();
        if app.is_empty() {
            r.Link.tcUrl = AVal::of(url);
        } else if url.as_ptr_range().contains(&app.as_ptr()) {
            let len = app.as_ptr() as usize - url.as_ptr() as usize + app.len();
            r.Link.tcUrl = AVal::of(&url[..len]);
        } else {
            r.Link.tcUrl = mem::copy(&own_tc_url(&r.Link));
            r.Link.lFlags |= RTMP_LF_FTCU;
        }
    }
    set_socks(&mut r.Link);
    if r.Link.port == 0 {
        r.Link.port = default_port(r.Link.protocol);
    }
}

/// The application's url where it is not a part of the one that was given.
pub(super) fn own_tc_url(link: &RTMP_LNK) -> Vec<u8> {
    let scheme = usize::try_from(link.protocol & 0xF).ok().and_then(|index| url::SCHEMES.get(index)).unwrap_or(&"rtmp");
    let host = link.hostname.bytes();
    let (open, close) = if host.contains(&b':') { ("[", "]") } else { ("", "") };
    let port = format!("{close}:{}/", link.port);
    [scheme.as_bytes(), b"://", open.as_bytes(), host, port.as_bytes(), link.app.bytes()].concat()
}

/// Decodes `\xx` in place and gives the new length. `None`: an escape is cut.
fn unescape(text: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    while let Some(&byte) = text.get(from) {
        if byte == b'\\' {
            let digits = text.get(from + 1..from + 3)?;
            text[to] = url::hex_pair(digits).unwrap_or(0);
            from += 3;
        } else {
            text[to] = byte;
            from += 1;
        }
        to += 1;
    }
    Some(to)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SetOpt(r: *mut RTMP, name: *const AVal, value: *mut AVal) -> c_int {
    guard(FALSE, || {
        let Some(r) = given_mut(r) else { return FALSE };
        let (Some(name), Some(value)) = (given(name), given(value)) else { return FALSE };
        set(r, name.bytes(), *value).into()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SetupURL(r: *mut RTMP, url: *mut c_char) -> c_int {
    guard(FALSE, || {
        let Some(r) = given_mut(r) else { return FALSE };
        if url.is_null() {
            return FALSE;
        }
        // SAFETY: contract: a C string.
        let len = unsafe { CStr::from_ptr(url) }.to_bytes().len();
        // SAFETY: contract: it may be written, and outlives the session.
        let buffer = unsafe { std::slice::from_raw_parts_mut(url.cast(), len) };
        if !set_url(r, buffer) {
            return FALSE;
        }
        if r.Link.lFlags & RTMP_LF_SWFV != 0 && !r.Link.swfUrl.is_empty() {
            super::swf::verify(&mut r.Link);
        }
        TRUE
    })
}

/// Takes what is given: an empty string leaves what an earlier option set.
fn take(field: &mut AVal, value: *const AVal) {
    if let Some(value) = given(value).filter(|value| !value.is_empty()) {
        *field = *value;
    }
}

#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // The interface.
pub unsafe extern "C" fn RTMP_SetupStream(
    r: *mut RTMP,
    protocol: c_int,
    host: *mut AVal,
    port: c_uint,
    sockshost: *mut AVal,
    playpath: *mut AVal,
    tcUrl: *mut AVal,
    swfUrl: *mut AVal,
    pageUrl: *mut AVal,
    app: *mut AVal,
    auth: *mut AVal,
    swfSHA256Hash: *mut AVal,
    swfSize: u32,
    flashVer: *mut AVal,
    subscribepath: *mut AVal,
    usherToken: *mut AVal,
    dStart: c_int,
    dStop: c_int,
    bLiveStream: c_int,
    timeout: c_long,
) {
    guard((), || {
        let Some(r) = given_mut(r) else { return };
        let link = &mut r.Link;
        for (field, given) in [
            (&mut link.tcUrl, tcUrl),
            (&mut link.swfUrl, swfUrl),
            (&mut link.pageUrl, pageUrl),
            (&mut link.app, app),
            (&mut link.auth, auth),
            (&mut link.subscribepath, subscribepath),
            (&mut link.usherToken, usherToken),
            (&mut link.hostname, host),
            (&mut link.playpath, playpath),
            (&mut link.sockshost, sockshost),
        ] {
            take(field, given);
        }
        link.flashVer = RTMP_DefaultFlashVer.0;
        take(&mut link.flashVer, flashVer);
        if given(auth).is_some_and(|auth| !auth.is_empty()) {
            link.lFlags |= RTMP_LF_AUTH;
        }
        match given(swfSHA256Hash).and_then(|hash| hash.bytes().first_chunk()) {
            Some(hash) if swfSize > 0 => {
                link.SWFHash = *hash;
                link.SWFSize = swfSize;
            }
            _ => link.SWFSize = 0,
        }
        if bLiveStream != 0 {
            link.lFlags |= RTMP_LF_LIVE;
        }
        (link.seekTime, link.stopTime, link.timeout) = (dStart, dStop, timeout as c_int);
        link.protocol = protocol;
        link.port = port as u16;
        if link.port == 0 {
            link.port = default_port(protocol);
        }
        set_socks(link);
        log_setup(link);
    });
}

/// What people look at when a stream does not play.
fn log_setup(link: &RTMP_LNK) {
    if !log::wants(log::DEBUG) {
        return;
    }
    let scheme = usize::try_from(link.protocol & 0xF).ok().and_then(|index| url::SCHEMES.get(index)).unwrap_or(&"");
    log::debug(&format!("Protocol : {}", scheme.to_uppercase()));
    log::debug(&format!("Hostname : {}", link.hostname.shown()));
    log::debug(&format!("Port     : {}", link.port));
    log::debug(&format!("Playpath : {}", link.playpath.shown()));
    for (name, value) in [("tcUrl", link.tcUrl), ("swfUrl", link.swfUrl), ("pageUrl", link.pageUrl), ("app", link.app)]
    {
        if !value.is_empty() {
            log::debug(&format!("{name:<9}: {}", value.shown()));
        }
    }
    log::debug(&format!("live     : {}", if link.lFlags & RTMP_LF_LIVE != 0 { "yes" } else { "no" }));
    log::debug(&format!("timeout  : {} sec", link.timeout));
}
