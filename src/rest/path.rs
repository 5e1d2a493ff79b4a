//! Streams in paths: `/v1/streams/{app}/{key}`, percent-encoded. An application or key may have any byte, also slashes.
//! Neither consists only of dots (`StreamName`), which clients would read as a step upward. An empty one is a coded slash, which
//! names the same stream: clients and proxies do not keep empty segments.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Bytes that are percent-encoded in a path segment: all except letters, digits and four signs.
const CODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for an empty application or key.
const EMPTY: &[u8] = b"/";

/// A stream's application and key as two segments.
pub(crate) fn of_stream(app: &[u8], key: &[u8]) -> String {
    format!("{}/{}", coded(app), coded(key))
}

/// A percent-encoded segment.
fn coded(bytes: &[u8]) -> String {
    percent_encode(if bytes.is_empty() { EMPTY } else { bytes }, CODED).to_string()
}

/// The bytes of one segment.
pub(crate) fn decoded(segment: &str) -> Vec<u8> {
    let bytes: Vec<u8> = percent_decode_str(segment).collect();
    if bytes == EMPTY { Vec::new() } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_from_its_path() {
        for (app, key) in
            [("live", "show"), ("a/b", "c d?x=%41&y"), ("ä", "\u{1}"), ("x", "-._~"), ("", "only"), ("only", "")]
        {
            let path = of_stream(app.as_bytes(), key.as_bytes());
            let (one, two) = path.split_once('/').unwrap();
            assert_eq!((decoded(one), decoded(two)), (app.into(), key.into()), "{path}");
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
            assert!(!one.is_empty() && !two.is_empty(), "{path}");
        }
        assert_eq!(of_stream(b"\xff", b"\x00"), "%FF/%00");
        assert_eq!(of_stream(b"", b""), "%2F/%2F");
    }
}
