//! The part of HTTP that fetching one file and tunnelling need: urls, a GET request, the head of a response, dates.
//!
//! It is HTTP/1.0 without redirects, and without I/O: bytes in, bytes out. A constant bounds a response's head; the
//! caller bounds its body. Only the librtmp face uses this module; the control API of the relay has a full HTTP
//! library. Sources: RFC 9110, RFC 9112, RFC 1945.

mod date;

pub(crate) use self::date::{date_text, parse_date};

use crate::error::{Failure, RRError, Result};

/// Longest head of a response.
const MAX_HEAD: usize = 16 << 10;

/// Longest host name (DNS allows 253 characters).
const MAX_HOST: usize = 255;

/// Longest `Last-Modified` that is kept; a date has 29 characters.
const MAX_DATE: usize = 63;

/// An `http://` or `https://` url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    /// `https`.
    pub tls: bool,
    /// Name or address, an IPv6 one without its brackets.
    pub host: String,
    /// The port; without one in the url, 80, or 443 with TLS.
    pub port: u16,
    /// The path with its query; `/` if the url has none.
    pub path: String,
}

impl HttpUrl {
    /// Parses a url.
    ///
    /// # Errors
    /// [`RRError::Arg`] if it is malformed: another scheme, no host, a host too long, a bad port, blanks or bytes
    /// outside ASCII.
    pub(crate) fn parse(url: &[u8]) -> Result<Self> {
        let wrong = |text: &'static str| Failure::ours(RRError::Arg, text);
        if !url.iter().all(u8::is_ascii_graphic) {
            return Err(wrong("the url has a blank or a byte that is not ASCII"));
        }
        let url = std::str::from_utf8(url).map_err(|_| wrong("the url is not UTF-8"))?;
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("the url must begin with http:// or https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("the url must begin with http:// or https://")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        let (host, port) = match address.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, after))) => (host, after.strip_prefix(':').unwrap_or(after)),
            Some(None) => return Err(wrong("an IPv6 address must be in brackets")),
            None => address.split_once(':').unwrap_or((address, "")),
        };
        if host.is_empty() || host.len() > MAX_HOST {
            return Err(wrong("the url must have a host of at most 255 characters"));
        }
        let port = match port {
            "" if tls => 443,
            "" => 80,
            port => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port must be 1 to 65535"))?,
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host: host.to_owned(), port, path })
    }
}

/// The bytes that ask for a file; with `modified_since`, only if the file changed after that date.
pub(crate) fn get_request(url: &HttpUrl, agent: &str, modified_since: Option<&[u8]>) -> Vec<u8> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let port = if url.port == if url.tls { 443 } else { 80 } { String::new() } else { format!(":{}", url.port) };
    let mut request =
        format!("GET {} HTTP/1.0\r\nUser-Agent: {agent}\r\nHost: {host}{port}\r\n", url.path).into_bytes();
    // The date came from a server or a file: a line end in it would inject another header into the request.
    if let Some(date) = modified_since.filter(|date| !date.is_empty() && !date.iter().any(u8::is_ascii_control)) {
        request.extend_from_slice(b"If-Modified-Since: ");
        request.extend_from_slice(date);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The fields of a response's head that a fetch needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// 200 and so on.
    pub status: u16,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// `Last-Modified`, empty if there is none or it is too long.
    pub modified: Vec<u8>,
}

impl Head {
    /// Parses a head from the start of `bytes` and returns it with its length; `None` while the head is incomplete.
    ///
    /// # Errors
    /// [`RRError::Protocol`] if the bytes are not HTTP, the length is not a number, or the body is encoded;
    /// [`RRError::Limit`] if the head is too long.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let start = bytes.len().min(7);
        if bytes[..start] != b"HTTP/1."[..start] {
            return Err(Failure::protocol("the answer is not HTTP"));
        }
        let searched = &bytes[..bytes.len().min(MAX_HEAD)];
        let Some(end) = searched.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() < MAX_HEAD {
                Ok(None)
            } else {
                Err(Failure::limit("the head of an HTTP answer is too long"))
            };
        };
        let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines.next().and_then(|line| line.split(|byte| *byte == b' ').nth(1)).and_then(number);
        let status = status.and_then(|status| u16::try_from(status).ok());
        let status = status.ok_or_else(|| Failure::protocol("an HTTP answer has no status"))?;
        let mut head = Self { status, length: None, modified: Vec::new() };
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = number(value).ok_or_else(|| Failure::protocol("Content-Length is not a number"))?;
                if head.length.is_some_and(|before| before != length) {
                    return Err(Failure::protocol("two different Content-Lengths"));
                }
                head.length = Some(length);
            } else if name.eq_ignore_ascii_case(b"last-modified") && value.len() <= MAX_DATE {
                head.modified = value.to_vec();
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") && !value.eq_ignore_ascii_case(b"identity") {
                return Err(Failure::protocol("the answer comes in an encoding that was not asked for"));
            }
        }
        Ok(Some((head, end + 4)))
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Reads a response: first the head, then the body as it comes.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    /// The bytes of a head that is incomplete.
    partial: Vec<u8>,
    head: Option<Head>,
    body: u64,
    max_body: u64,
}

impl ResponseReader {
    /// A reader that takes a body of at most `max_body` bytes.
    pub(crate) fn new(max_body: u64) -> Self {
        Self { partial: Vec::new(), head: None, body: 0, max_body }
    }

    /// Takes the next bytes and returns those that belong to the body.
    ///
    /// # Errors
    /// Those of [`Head::parse`]; [`RRError::Limit`] where the body is longer than allowed.
    pub(crate) fn feed<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        let mut body = input;
        if self.head.is_none() {
            let before = self.partial.len();
            self.partial.extend_from_slice(&input[..input.len().min(MAX_HEAD)]);
            let Some((head, length)) = Head::parse(&self.partial)? else { return Ok(&[]) };
            if head.length.is_some_and(|length| length > self.max_body) {
                return Err(too_long());
            }
            self.head = Some(head);
            self.partial = Vec::new();
            body = &input[length - before..];
        }
        let left = self.head.as_ref().and_then(|head| head.length).map_or(u64::MAX, |length| length - self.body);
        let body = &body[..body.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.body += body.len() as u64;
        if self.body > self.max_body {
            return Err(too_long());
        }
        Ok(body)
    }

    /// The head, once it is complete.
    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether the whole body has come, judged by the head.
    pub(crate) fn is_complete(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.length == Some(self.body) || head.status == 304)
    }

    /// Ends the response: the server has closed the connection.
    ///
    /// # Errors
    /// [`RRError::Closed`] where part of the response is missing.
    pub(crate) fn end(&self) -> Result<()> {
        match &self.head {
            Some(head) if head.length.is_none() || self.is_complete() => Ok(()),
            _ => Err(Failure::peers(RRError::Closed, "the HTTP server closed in the middle of its answer")),
        }
    }
}

fn too_long() -> Failure {
    Failure::limit("the body of an HTTP answer is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = HttpUrl::parse(b"HTTP://user:pw@example.net/a/b.swf?c=d#e").unwrap();
        assert_eq!(url, HttpUrl { tls: false, host: "example.net".into(), port: 80, path: "/a/b.swf?c=d".into() });
        let url = HttpUrl::parse(b"https://[::1]:8443").unwrap();
        assert_eq!(url, HttpUrl { tls: true, host: "::1".into(), port: 8443, path: "/".into() });
        assert_eq!(HttpUrl::parse(b"http://h?x=1").unwrap().path, "/?x=1");
        let long = format!("http://{}/", "h".repeat(256));
        for wrong in
            ["", "http://", "http:///a", "ftp://h/", "http://h:0/", "http://h:x/", "http://[::1", "http://a b/", &long]
        {
            assert_eq!(HttpUrl::parse(wrong.as_bytes()).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
        assert!(HttpUrl::parse(b"http://h/\r\nX: y").is_err());
    }

    #[test]
    fn a_request_names_host_and_date_and_nothing_smuggled() {
        let url = HttpUrl::parse(b"http://h:81/f.swf").unwrap();
        let request = get_request(&url, "agent", Some(b"Sun, 06 Nov 1994 08:49:37 GMT"));
        let expected = "GET /f.swf HTTP/1.0\r\nUser-Agent: agent\r\nHost: h:81\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(String::from_utf8(request).unwrap(), expected);
        let request = get_request(&url, "agent", Some(b"x\r\nEvil: 1"));
        assert!(!String::from_utf8(request).unwrap().contains("Evil"));
    }

    const ANSWER: &[u8] =
        b"HTTP/1.0 200 OK\r\nlast-modified:  yesterday \r\nCONTENT-LENGTH: 5\r\nX\r\n\r\nhello and more";

    #[test]
    fn an_answer_cut_anywhere_gives_the_same_body() {
        for cut in 1..ANSWER.len() {
            let mut reader = ResponseReader::new(5);
            let mut body = Vec::new();
            for piece in ANSWER.chunks(cut) {
                body.extend_from_slice(reader.feed(piece).unwrap());
            }
            assert_eq!(body, b"hello");
            assert_eq!(reader.head().unwrap().modified, b"yesterday");
            assert!(reader.is_complete() && reader.end().is_ok());
        }
        let mut reader = ResponseReader::new(5);
        reader.feed(&ANSWER[..ANSWER.len() - 12]).unwrap();
        assert_eq!(reader.end().unwrap_err().kind, RRError::Closed);
        assert!(ResponseReader::new(5).end().is_err());
    }

    #[test]
    fn an_answer_without_length_ends_with_the_connection() {
        let mut reader = ResponseReader::new(10);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap(), b"abc");
        assert!(!reader.is_complete());
        reader.end().unwrap();
    }

    #[test]
    fn hostile_answers_are_errors() {
        let feed = |bytes: &[u8]| ResponseReader::new(100).feed(bytes).map(<[u8]>::len).unwrap_err().kind;
        assert_eq!(feed(b"SSH-2.0"), RRError::Protocol);
        assert_eq!(feed(b"HTTP/1.0 \r\n\r\n"), RRError::Protocol);
        assert_eq!(feed(b"HTTP/1.0 99999 x\r\n\r\n"), RRError::Protocol);
        for length in ["-1", "x", "", "0x10", "99999999999999999999", "1\r\nContent-Length: 2"] {
            assert_eq!(
                feed(format!("HTTP/1.0 200 x\r\nContent-Length: {length}\r\n\r\n").as_bytes()),
                RRError::Protocol
            );
        }
        assert_eq!(feed(b"HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"), RRError::Protocol);
        assert_eq!(feed(b"HTTP/1.0 200 x\r\nContent-Length: 101\r\n\r\n"), RRError::Limit);
        assert_eq!(feed(&[&b"HTTP/1.0 200 x\r\n\r\n"[..], &[0; 101]].concat()), RRError::Limit);
        let mut reader = ResponseReader::new(100);
        reader.feed(b"HTTP/1.0 200 x\r\n").unwrap();
        let line = [b'a'; 1000];
        let end = (0..100).find_map(|_| reader.feed(&line).map(<[u8]>::len).err()).unwrap();
        assert_eq!(end.kind, RRError::Limit);
    }
}
