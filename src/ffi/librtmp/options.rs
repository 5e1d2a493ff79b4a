//! The settings of a session: urls with options, single options, and `RTMP_SetupStream`. Strings are not copied; they
//! belong to the program.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_uint};

use super::amf::MAX_DEPTH;
use super::inner::Session;
use super::ptr::{bytes_mut, c_string};
use super::types::*;
use super::{guard, log, mem, tls, url};

const DEFAULT_PORT: u16 = 1935;
const TLS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
const SOCKS_PORT: u16 = 1080;

const DEFAULT_FLASH_VERSION: &[u8; 14] = b"LNX 10,0,32,18";

/// A constant string, in the form from which programs copy it.
#[repr(transparent)]
pub struct Constant(AVal);

// SAFETY: it and what it points to are never written.
unsafe impl Sync for Constant {}

#[unsafe(no_mangle)]
pub static RTMP_DefaultFlashVer: Constant =
    // SAFETY: the text never goes.
    Constant(unsafe { AVal::new(DEFAULT_FLASH_VERSION.as_ptr().cast_mut().cast(), 14) });

/// The kind of an option's value.
enum Kind {
    Text(fn(&RTMP) -> &Cell<AVal>),
    Number(fn(&RTMP) -> &Cell<c_int>),
    Flag(c_int),
    /// A flag of this library, which librtmp lacks.
    OwnFlag(c_int),
    Connect,
}

const OPTIONS: [(&str, Kind, &str); 21] = [
    ("socks", Kind::Text(|r| &r.Link.sockshost), "use this SOCKS4 proxy"),
    ("app", Kind::Text(|r| &r.Link.app), "application on the server"),
    ("tcUrl", Kind::Text(|r| &r.Link.tcUrl), "url of the application"),
    ("pageUrl", Kind::Text(|r| &r.Link.pageUrl), "url of the web page that plays"),
    ("swfUrl", Kind::Text(|r| &r.Link.swfUrl), "url of the player"),
    ("flashver", Kind::Text(|r| &r.Link.flashVer), "version of Flash that is told"),
    ("conn", Kind::Connect, "append this value to the connect command"),
    ("playpath", Kind::Text(|r| &r.Link.playpath), "name of the stream on the server"),
    ("playlist", Kind::Flag(RTMP_LF_PLST), "set a playlist before play"),
    ("live", Kind::Flag(RTMP_LF_LIVE), "the stream is live: no resuming"),
    ("subscribe", Kind::Text(|r| &r.Link.subscribepath), "stream to subscribe to"),
    ("jtv", Kind::Text(|r| &r.Link.usherToken), "token of Justin.tv"),
    ("token", Kind::Text(|r| &r.Link.token), "key of SecureToken"),
    ("swfVfy", Kind::Flag(RTMP_LF_SWFV), "verify the player"),
    ("swfAge", Kind::Number(|r| &r.Link.swfAge), "days that a hash of the player is kept"),
    ("start", Kind::Number(|r| &r.Link.seekTime), "where to begin, in milliseconds"),
    ("stop", Kind::Number(|r| &r.Link.stopTime), "where to end, in milliseconds"),
    ("buffer", Kind::Number(|r| &r.m_nBufferMS), "buffer time in milliseconds"),
    ("timeout", Kind::Number(|r| &r.Link.timeout), "time-out in seconds"),
    ("tlsInsecure", Kind::OwnFlag(tls::INSECURE), "accept any certificate"),
    ("pubUser", Kind::Text(|r| &r.Link.pubUser), "user name of the publisher"),
];

/// The option that must never be shown.
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

/// Sets one option. False for an unknown option and for a malformed `conn` value.
pub(super) fn set(r: Session, name: &[u8], value: AVal) -> bool {
    if name.eq_ignore_ascii_case(PASSWORD.as_bytes()) {
        r.Link.pubPasswd.set(value);
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
        Kind::Text(field) => field(&r).set(value),
        Kind::Number(field) => field(&r).set(number(value.bytes())),
        Kind::Flag(bit) => {
            if is_true(value.bytes()) {
                r.Link.lFlags.set(r.Link.lFlags.get() | bit);
            }
        }
        Kind::OwnFlag(bit) => {
            if is_true(value.bytes()) {
                r.Link.pFlags.set(r.Link.pFlags.get() | bit);
            }
        }
        Kind::Connect => {
            // SAFETY: contract: strings of `Link` outlive the session.
            if unsafe { connect_value(&r.Link, value.bytes()) }.is_none() {
                log::error(&format!("conn={} cannot be read", value.shown()));
                return false;
            }
        }
    }
    true
}

/// Appends one value to the connect command's extras, inside the object that is open.
///
/// # Safety
/// The text outlives the session.
unsafe fn connect_value(link: &RTMP_LNK, text: &[u8]) -> Option<()> {
    // The depth is negative if more objects were closed than opened. Values with names are accepted then too, and go to
    // the outermost level.
    let depth = u32::try_from(link.edepth.get()).unwrap_or(0);
    let (kind, name, value) = match text {
        [kind, b':', value @ ..] => (*kind, AVal::NULL, value),
        [b'N', kind, b':', rest @ ..] if link.edepth.get() != 0 => {
            let colon = rest.iter().position(|&byte| byte == b':')?;
            // SAFETY: contract of this function.
            (*kind, unsafe { AVal::of(&rest[..colon]) }, &rest[colon + 1..])
        }
        _ => return None,
    };
    let mut prop = AMFObjectProperty { p_name: name, ..AMFObjectProperty::INVALID };
    (prop.p_type, prop.p_vu) = match kind {
        b'B' => (AMF_BOOLEAN, AMFValue { p_number: url::leading_number(value) as c_int as f64 }),
        // SAFETY: contract of this function.
        b'S' => (AMF_STRING, AMFValue { p_aval: unsafe { AVal::of(value) } }),
        b'N' => (AMF_NUMBER, AMFValue { p_number: leading_float(value) }),
        b'Z' if name.start().is_null() => (AMF_NULL, AMFValue { p_aval: AVal::NULL }),
        b'O' if !name.start().is_null() || url::leading_number(value) != 0 => {
            (AMF_OBJECT, AMFValue { p_object: AMFObject::EMPTY })
        }
        b'O' => {
            link.edepth.set(link.edepth.get().checked_sub(1)?);
            return Some(());
        }
        _ => return None,
    };
    if depth >= MAX_DEPTH {
        return None;
    }
    let mut extras = link.extras.get();
    let added = innermost(&mut extras, depth)?.add(&prop);
    link.extras.set(extras);
    if !added {
        return None;
    }
    if prop.p_type == AMF_OBJECT {
        link.edepth.set(link.edepth.get() + 1);
    }
    Some(())
}

/// The last property's object, `depth` levels down.
fn innermost(object: &mut AMFObject, depth: u32) -> Option<&mut AMFObject> {
    let mut open = object;
    for _ in 0..depth {
        let last = usize::try_from(open.count()).ok()?.checked_sub(1)?;
        open.at(last).filter(|prop| prop.p_type == AMF_OBJECT)?;
        // SAFETY: within the array.
        let prop = unsafe { open.start().add(last) };
        // SAFETY: the array is the session's, and this the one reference into it.
        let prop = unsafe { &mut *prop };
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

/// The default port of a protocol.
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
fn set_socks(link: &RTMP_LNK) {
    let text = link.sockshost.get();
    let text = text.bytes();
    if text.is_empty() {
        link.sockshost.set(AVal::NULL);
        link.socksport.set(0);
        return;
    }
    let (host, port) = match text.iter().position(|&byte| byte == b':') {
        Some(colon) => (&text[..colon], u16::try_from(url::leading_number(&text[colon + 1..])).unwrap_or(0)),
        None => (text, SOCKS_PORT),
    };
    // SAFETY: a part of what it was.
    link.sockshost.set(unsafe { AVal::of(host) });
    link.socksport.set(port);
    log::debug(&format!("Connecting via SOCKS proxy: {}:{port}", String::from_utf8_lossy(host)));
}

/// Separates the url from its options and sets both.
///
/// # Safety
/// The buffer outlives the session.
unsafe fn set_url(r: Session, buffer: &mut [u8]) -> bool {
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
    r.Link.protocol.set(parsed.protocol);
    if let Some(host) = parsed.host {
        // SAFETY: contract of this function, likewise below.
        r.Link.hostname.set(unsafe { AVal::of(host) });
    }
    r.Link.port.set(parsed.port as u16);
    // SAFETY: as above.
    r.Link.app.set(parsed.app.map_or(AVal::NULL, |app| unsafe { AVal::of(app) }));
    r.Link.playpath0.set(if parsed.playpath.is_empty() {
        AVal::NULL
    } else {
        mem::copy(&url::playpath(parsed.playpath))
    });
    r.Link.playpath.set(r.Link.playpath0.get());

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
        // SAFETY: as above.
        let value = unsafe { AVal::new(value.as_mut_ptr().cast(), len as c_int) };
        if !set(r, name, value) {
            return false;
        }
        options = after;
    }
    // SAFETY: as above.
    unsafe { finish_url(r, url) };
    true
}

/// Derives the fields that depend on url and options.
///
/// # Safety
/// The url outlives the session.
unsafe fn finish_url(r: Session, url: &[u8]) {
    if r.Link.tcUrl.get().is_empty() {
        let app = r.Link.app.get();
        let app = app.bytes();
        if app.is_empty() {
            // SAFETY: contract of this function.
            r.Link.tcUrl.set(unsafe { AVal::of(url) });
        } else if url.as_ptr_range().contains(&app.as_ptr()) {
            let len = app.as_ptr() as usize - url.as_ptr() as usize + app.len();
            // SAFETY: contract of this function.
            r.Link.tcUrl.set(unsafe { AVal::of(&url[..len]) });
        } else {
            r.Link.tcUrl.set(mem::copy(&own_tc_url(&r.Link)));
            r.Link.lFlags.set(r.Link.lFlags.get() | RTMP_LF_FTCU);
        }
    }
    set_socks(&r.Link);
    if r.Link.port.get() == 0 {
        r.Link.port.set(default_port(r.Link.protocol.get()));
    }
}

/// The application's url, if the program's url does not contain it.
pub(super) fn own_tc_url(link: &RTMP_LNK) -> Vec<u8> {
    let scheme =
        usize::try_from(link.protocol.get() & 0xF).ok().and_then(|index| url::SCHEMES.get(index)).unwrap_or(&"rtmp");
    let host = link.hostname.get();
    let host = host.bytes();
    let (open, close) = if host.contains(&b':') { ("[", "]") } else { ("", "") };
    let port = format!("{close}:{}/", link.port.get());
    [scheme.as_bytes(), b"://", open.as_bytes(), host, port.as_bytes(), link.app.get().bytes()].concat()
}

/// Decodes `\xx` in place and returns the new length. `None`: an escape is cut off.
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
pub unsafe extern "C" fn RTMP_SetOpt(r: *mut RTMP, name: Option<&AVal>, value: Option<&AVal>) -> c_int {
    guard(FALSE, || {
        // SAFETY: contract.
        let Some(r) = (unsafe { Session::new(r) }) else { return FALSE };
        let (Some(name), Some(value)) = (name, value) else { return FALSE };
        set(r, name.bytes(), *value).into()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SetupURL(r: *mut RTMP, url: *mut c_char) -> c_int {
    guard(FALSE, || {
        // SAFETY: contract.
        let Some(r) = (unsafe { Session::new(r) }) else { return FALSE };
        // SAFETY: contract: a C string.
        let Some(len) = unsafe { c_string(url) }.and_then(|text| c_int::try_from(text.len()).ok()) else {
            return FALSE;
        };
        // SAFETY: contract: it may be written.
        let Some(buffer) = (unsafe { bytes_mut(url, len) }) else { return FALSE };
        // SAFETY: contract: it outlives the session.
        if !unsafe { set_url(r, buffer) } {
            return FALSE;
        }
        if r.Link.lFlags.get() & RTMP_LF_SWFV != 0 && !r.Link.swfUrl.get().is_empty() {
            super::swf::verify(&r.Link);
        }
        TRUE
    })
}

/// Sets a field to a given string; an empty string keeps the value of an earlier option.
fn take(field: &Cell<AVal>, value: Option<&AVal>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        field.set(*value);
    }
}

#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments)] // The interface.
pub unsafe extern "C" fn RTMP_SetupStream(
    r: *mut RTMP,
    protocol: c_int,
    host: Option<&AVal>,
    port: c_uint,
    sockshost: Option<&AVal>,
    playpath: Option<&AVal>,
    tcUrl: Option<&AVal>,
    swfUrl: Option<&AVal>,
    pageUrl: Option<&AVal>,
    app: Option<&AVal>,
    auth: Option<&AVal>,
    swfSHA256Hash: Option<&AVal>,
    swfSize: u32,
    flashVer: Option<&AVal>,
    subscribepath: Option<&AVal>,
    usherToken: Option<&AVal>,
    dStart: c_int,
    dStop: c_int,
    bLiveStream: c_int,
    timeout: c_long,
) {
    guard((), || {
        // SAFETY: contract.
        let Some(r) = (unsafe { Session::new(r) }) else { return };
        let link = &r.Link;
        for (field, given) in [
            (&link.tcUrl, tcUrl),
            (&link.swfUrl, swfUrl),
            (&link.pageUrl, pageUrl),
            (&link.app, app),
            (&link.auth, auth),
            (&link.subscribepath, subscribepath),
            (&link.usherToken, usherToken),
            (&link.hostname, host),
            (&link.playpath, playpath),
            (&link.sockshost, sockshost),
        ] {
            take(field, given);
        }
        link.flashVer.set(RTMP_DefaultFlashVer.0);
        take(&link.flashVer, flashVer);
        if auth.is_some_and(|auth| !auth.is_empty()) {
            link.lFlags.set(link.lFlags.get() | RTMP_LF_AUTH);
        }
        match swfSHA256Hash.and_then(|hash| hash.bytes().first_chunk()) {
            Some(hash) if swfSize > 0 => {
                link.SWFHash.set(*hash);
                link.SWFSize.set(swfSize);
            }
            _ => link.SWFSize.set(0),
        }
        if bLiveStream != 0 {
            link.lFlags.set(link.lFlags.get() | RTMP_LF_LIVE);
        }
        link.seekTime.set(dStart);
        link.stopTime.set(dStop);
        link.timeout.set(timeout as c_int);
        link.protocol.set(protocol);
        link.port.set(port as u16);
        log_setup(link);
        set_socks(link);
        if link.port.get() == 0 {
            link.port.set(default_port(protocol));
        }
    });
}

/// Logs the settings, to help people whose stream does not play.
fn log_setup(link: &RTMP_LNK) {
    if !log::wants(log::DEBUG) {
        return;
    }
    let scheme = usize::try_from(link.protocol.get() & 0xF).ok().and_then(|index| url::SCHEMES.get(index));
    log::debug(&format!("Protocol : {}", scheme.unwrap_or(&"").to_uppercase()));
    log::debug(&format!("Hostname : {}", link.hostname.get().shown()));
    log::debug(&format!("Port     : {}", link.port.get()));
    log::debug(&format!("Playpath : {}", link.playpath.get().shown()));
    for (name, value) in [
        ("tcUrl   ", &link.tcUrl),
        ("swfUrl  ", &link.swfUrl),
        ("pageUrl ", &link.pageUrl),
        ("app     ", &link.app),
        ("auth    ", &link.auth),
        ("subscribepath", &link.subscribepath),
        ("NetStream.Authenticate.UsherToken", &link.usherToken),
        ("flashVer", &link.flashVer),
    ] {
        // The default version is not logged.
        let value = value.get();
        if !value.is_empty() && value.start() != RTMP_DefaultFlashVer.0.start() {
            log::debug(&format!("{name} : {}", value.shown()));
        }
    }
    for (name, value_ms) in [("StartTime", link.seekTime.get()), ("StopTime ", link.stopTime.get())] {
        if value_ms > 0 {
            log::debug(&format!("{name}     : {value_ms} msec"));
        }
    }
    log::debug(&format!("live     : {}", if link.lFlags.get() & RTMP_LF_LIVE != 0 { "yes" } else { "no" }));
    log::debug(&format!("timeout  : {} sec", link.timeout.get()));
    if link.SWFSize.get() != 0 {
        log::debug("SWFSHA256:");
        log::hex(log::DEBUG, &link.SWFHash.get());
        log::debug(&format!("SWFSize  : {}", link.SWFSize.get()));
    }
}
