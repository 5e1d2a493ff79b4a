//! How bytes from peers or hosts are shown: escaped so that nobody can forge log lines, masked so that stream keys,
//! tokens and passwords do not end up in log files.
//!
//! Pure functions, no state; any layer may call them. Their results are for people and are never parsed again.

/// Keys shorter than this many bytes are hidden whole: three bytes would show too much of them.
const SHORT_KEY_BYTES: usize = 8;

/// Bytes of a longer key that are shown, so that people can tell keys apart.
const SHOWN_KEY_BYTES: usize = 3;

/// Keys shorter than this many bytes do not show their end: four bytes would be too much of them.
const LONG_KEY_BYTES: usize = 16;

/// Bytes at the end of a long key that are shown.
const SHOWN_END_BYTES: usize = 4;

/// Parts of a key with fewer bytes are not hidden in texts.
const LEAST_SECRET_BYTES: usize = 4;

/// The text in place of a hidden part.
const HIDDEN: &str = "***";

/// Whether a character could start a new line, move a terminal's cursor or turn the reading direction, and so make
/// one log line look like another.
pub(crate) fn is_forging(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// Any bytes as text: bytes that are not UTF-8 become `\xNN`, control and direction characters become `\n`, `\u{..}`
/// and the like. The result is at most ten times as long.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut out, c));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02X}"));
        }
    }
    out
}

/// Appends one character, escaped where [`is_forging`] says so.
pub(crate) fn push_escaped(out: &mut String, c: char) {
    if is_forging(c) { out.extend(c.escape_default()) } else { out.push(c) }
}

/// A stream key for people: its first three bytes and `***`; keys under eight bytes are hidden whole.
pub(crate) fn mask_key(key: &[u8]) -> String {
    if key.len() < SHORT_KEY_BYTES {
        return if key.is_empty() { String::new() } else { HIDDEN.to_owned() };
    }
    escape(&key[..SHOWN_KEY_BYTES]) + HIDDEN
}

/// The end of a stream key for people: `***` and its last four bytes, by which one service's keys differ; keys under
/// sixteen bytes, and what stands behind `?`, are hidden whole.
pub(crate) fn mask_start(key: &[u8]) -> String {
    let name = key.split(|&byte| byte == b'?').next().unwrap_or_default();
    let end = if name.len() < LONG_KEY_BYTES { &[] } else { &name[name.len() - SHOWN_END_BYTES..] };
    if key.is_empty() { String::new() } else { HIDDEN.to_owned() + &escape(end) }
}

/// Masks our key in a text of a peer, because servers repeat it when they refuse: the key, its name, its query and each
/// value in the query are masked by [`mask_key`]. Parts under four bytes are not hidden: they are no secret, and would
/// match in any word.
pub(crate) fn hide_key(text: &str, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    let (name, query) = key.split_once('?').unwrap_or((&key, ""));
    let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let mut shown = text.to_owned();
    for part in [key.as_ref(), name, query].into_iter().chain(values) {
        if part.len() >= LEAST_SECRET_BYTES && shown.contains(part) {
            shown = shown.replace(part, &mask_key(part.as_bytes()));
        }
    }
    shown
}

/// A url for people: scheme, host, port and app stay; the key (the last part of a path of two or more parts), values of
/// query parameters, user and password are hidden, and so is everything after a space or `#`. A part that could be a
/// password with unusual characters is hidden.
pub(crate) fn mask_url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        // Anything else before `://` is not a scheme but part of a url within a url, and may contain a password.
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => (Some(scheme), rest),
        _ => (None, url),
    };
    let (rest, tail) = cut(rest, &[' ', '#', '\t', '\r', '\n']);
    let (place, query) = cut(rest, &['?']);
    let (authority, path) = cut(place, &['/']);

    let mut out = String::with_capacity(url.len() + 8);
    if let Some(scheme) = scheme {
        out.push_str(scheme);
        out.push_str("://");
    }
    out.push_str(&shown_authority(authority, rest[authority.len()..].contains('@') || tail.contains('@')));
    out.push_str(&shown_path(path));
    if let Some(pairs) = query.strip_prefix('?') {
        out.push('?');
        out.push_str(&shown_query(pairs));
    }
    if let Some(first) = tail.chars().next() {
        push_escaped(&mut out, first);
        out.push_str(HIDDEN);
    }
    out
}

/// Splits the text before the first of these characters.
fn cut<'a>(text: &'a str, at: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

/// Host and port. `torn`: an `@` comes later, so what looks like a host may be user and half a password.
fn shown_authority(authority: &str, torn: bool) -> String {
    if let Some((_, host)) = authority.rsplit_once('@') {
        return format!("{HIDDEN}@{}", escape(host.as_bytes()));
    }
    let after_brackets = authority.rsplit_once(']').map_or(authority, |(_, port)| port);
    let odd = match after_brackets.split_once(':') {
        Some((_, port)) => torn || !port.bytes().all(|byte| byte.is_ascii_digit()),
        None => false,
    };
    if odd { HIDDEN.to_owned() } else { escape(authority.as_bytes()) }
}

/// The path with its slashes; its last part is the key unless it is the only part (then it is the app).
fn shown_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    // The first of `parts` is the empty text before the first slash.
    let last = parts.iter().rposition(|part| !part.is_empty()).unwrap_or(0);
    let app = parts.iter().position(|part| !part.is_empty()).unwrap_or(0);
    let shown: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| match () {
            () if part.contains('@') => HIDDEN.to_owned(),
            () if at == last && at != app => mask_key(part.as_bytes()),
            () => escape(part.as_bytes()),
        })
        .collect();
    shown.join("/")
}

/// Query parameters with their names; a parameter without a value may itself be the secret, also one that ends in `=`
/// (base64).
fn shown_query(pairs: &str) -> String {
    let shown: Vec<String> = pairs
        .split(['&', ';'])
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.contains(['/', '@', '?']) && value.bytes().any(|byte| byte != b'=') => {
                format!("{}={HIDDEN}", escape(name.as_bytes()))
            }
            _ if pair.is_empty() => String::new(),
            _ => HIDDEN.to_owned(),
        })
        .collect();
    shown.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_three_bytes_and_a_short_one_nothing() {
        assert_eq!(mask_key(b"live_123_secret?token=x"), "liv***");
        assert_eq!(mask_key(b"12345678"), "123***");
        assert_eq!(mask_key(b"1234567"), "***");
        assert_eq!(mask_key(b""), "");
    }

    #[test]
    fn keys_of_one_service_are_told_apart_by_their_ends() {
        assert_eq!(mask_start(b"live_123_secret-AbC"), "***-AbC");
        assert_eq!(mask_start(b"live_123_secret-AbC?token=tok3n"), "***-AbC");
        assert_eq!(mask_start(b"short?with-a-long-token=tok3n"), "***");
        assert_eq!(mask_start(b"123456789012345"), "***");
        assert_eq!(mask_start(b""), "");
    }

    #[test]
    fn a_key_is_hidden_wherever_it_stands_in_words() {
        let hide = |text: &str| hide_key(text, b"live_123_secret?token=tok3n&v=1");
        assert_eq!(hide("live_123_secret is published"), "liv*** is published");
        assert_eq!(hide("/app/live_123_secret?token=tok3n&v=1 is bad"), "/app/liv*** is bad");
        assert_eq!(hide("'tok3n' has expired, 1"), "'***' has expired, 1");
        assert_eq!(hide_key("a stream", b"a"), "a stream");
        assert_eq!(hide_key("a stream", b""), "a stream");
    }

    #[test]
    fn nothing_a_peer_sends_can_forge_a_line() {
        assert_eq!(mask_key(b"\n\x1b[31mERROR"), "\\n\\u{1b}[***");
        assert_eq!(escape(b"a\r\nb\0\x7f\xff\xc3"), "a\\r\\nb\\u{0}\\u{7f}\\xFF\\xC3");
        assert_eq!(escape("é \u{2028}\u{202e}\u{9b}31m".as_bytes()), "é \\u{2028}\\u{202e}\\u{9b}31m");
        let all: Vec<u8> = (0..=255).collect();
        assert!(!escape(&all).chars().any(is_forging));
        assert_eq!(mask_url("rtmp://h\n2/a\tpp/key"), "rtmp://h\\n***", "from a control character on all is hidden");
    }

    #[test]
    fn a_url_shows_where_but_not_what_with() {
        for (url, shown) in [
            ("rtmp://a.example:1936/live/abcdefghij", "rtmp://a.example:1936/live/abc***"),
            ("rtmps://[::1]:443/live/abcdefghij", "rtmps://[::1]:443/live/abc***"),
            ("rtmp://[::1]/live/key", "rtmp://[::1]/live/***"),
            ("rtmp://a/live", "rtmp://a/live"),
            ("rtmp://a/live/", "rtmp://a/live/"),
            ("rtmp://a", "rtmp://a"),
            ("rtmp://a/app/inst/abcdefghij/", "rtmp://a/app/inst/abc***/"),
            ("rtmp://a/live/abcdefghij?token=s3cret&sig=x%20", "rtmp://a/live/abc***?token=***&sig=***"),
            ("rtmp://a/live/abcdefghij?s3cret", "rtmp://a/live/abc***?***"),
            ("rtmp://a/live?c2VjcmV0==&v=1", "rtmp://a/live?***&v=***"),
            ("rtmp://a/live?token=s3cret/abcdefghij?k=s", "rtmp://a/live?token=***"),
            ("rtmp://me:pw@a:1935/live/abcdefghij", "rtmp://***@a:1935/live/abc***"),
            ("rtmp://me@a/live", "rtmp://***@a/live"),
            ("rtmp://a/live/abcdefghij live=1 token=s3cret", "rtmp://a/live/abc*** ***"),
            ("rtmp://a/live#s3cret", "rtmp://a/live#***"),
            ("a.example/live/abcdefghij", "a.example/live/abc***"),
            ("", ""),
        ] {
            assert_eq!(mask_url(url), shown, "{url}");
        }
    }

    #[test]
    fn a_password_with_odd_characters_is_not_shown_in_part() {
        for url in [
            "rtmp://me:s3/cret@a/live",
            "rtmp://me:33/c3ret@a/live",
            "rtmp://me:s3?cret@a/live",
            "rtmp://me:s3#cret@a/live",
            "rtmp://me:s3 cret@a/live",
            "rtmp://me:s3:cret@a/live",
            "rtmp://me:s3@cret@a/live",
            "rtmp://me:33?x=c3ret@a/live",
            "me:s3cret@a/x?to=http://b",
        ] {
            let shown = mask_url(url);
            assert!(!shown.contains("s3") && !shown.contains("33") && !shown.contains("ret"), "{url} -> {shown}");
        }
    }
}
