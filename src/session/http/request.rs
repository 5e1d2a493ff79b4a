//! The head of a request: the stream that is asked for, or the answer to a request that cannot be served.

use percent_encoding::percent_decode;

use crate::proto::command::Connect;
use crate::proto::websocket;

/// Most fields of a head. Browsers send some twenty.
const FIELDS_MAX: usize = 64;

/// The end of a stream's path.
const SUFFIX: &[u8] = b".flv";

/// The argument, and the parameter of `Accept`, that ask for the form for browsers.
const FOR_BROWSER: &str = "for=browser";

/// A request for a stream.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) app: Vec<u8>,
    key: Vec<u8>,
    /// The arguments behind the path, without the one that asks for the form for browsers.
    query: String,
    /// The client understands chunked transfer coding.
    pub(super) chunked: bool,
    /// The answer to a WebSocket's handshake key; `None` for a plain GET.
    pub(super) websocket: Option<String>,
    pub(super) browser: bool,
    /// The address that the client asked, up to the application.
    pub(super) tc_url: Vec<u8>,
    pub(super) agent: Vec<u8>,
    pub(super) page_url: Vec<u8>,
}

/// The result of reading a head so far.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The head's length; `None` while the head is incomplete.
    pub(super) len: Option<usize>,
    /// The request; `None` for OPTIONS.
    pub(super) request: Option<Request>,
}

/// The answer to a request that cannot be served.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: &'static str,
    pub(super) text: &'static str,
    /// Fields of the answer, each with its CRLF.
    pub(super) head: &'static str,
}

fn refusal(status: &'static str, text: &'static str) -> Refusal {
    Refusal { status, text, head: "" }
}

impl Request {
    /// Reads a head. `full`: no more bytes fit, so an incomplete head is refused; `secure`: the connection uses TLS.
    pub(super) fn parse(bytes: &[u8], full: bool, secure: bool) -> Result<Parsed, Refusal> {
        const TOO_LARGE: &str = "431 Request Header Fields Too Large";
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        let len = match head.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if full => return Err(refusal(TOO_LARGE, "The request's head is too long.")),
            Ok(httparse::Status::Partial) => return Ok(Parsed::default()),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(refusal(TOO_LARGE, "The request's head has too many fields."));
            }
            Err(httparse::Error::Version) => {
                return Err(refusal("505 HTTP Version Not Supported", "This server speaks HTTP/1.1 and HTTP/1.0."));
            }
            Err(_) => return Err(refusal("400 Bad Request", "This is not an HTTP request.")),
        };
        let gets = match head.method {
            Some("GET") => true,
            Some("HEAD") => false,
            Some("OPTIONS") => return Ok(Parsed { len: Some(len), ..Parsed::default() }),
            _ => {
                return Err(Refusal {
                    status: "405 Method Not Allowed",
                    text: "Use GET to play a stream.",
                    head: "Allow: GET, HEAD, OPTIONS\r\n",
                });
            }
        };
        let target = head.path.unwrap_or_default();
        let target = if target.starts_with('/') { target } else { without_origin(target) };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
        let (app, key) = stream_of(path)?;
        let field = |name: &str| field(&head, name);
        let accepts_browser_form = field("accept").is_some_and(|accept| contains(accept, FOR_BROWSER));
        let host = field("host").unwrap_or_default();
        let scheme: &[u8] = if secure { b"https://" } else { b"http://" };
        let request = Self {
            tc_url: [scheme, host, b"/", &app].concat(),
            app,
            key,
            query: query.iter().filter(|part| **part != FOR_BROWSER).copied().collect::<Vec<_>>().join("&"),
            chunked: head.version == Some(1),
            websocket: websocket_of(gets, field)?,
            browser: accepts_browser_form || query.contains(&FOR_BROWSER),
            agent: field("user-agent").unwrap_or_default().to_vec(),
            page_url: field("referer").or_else(|| field("origin")).unwrap_or_default().to_vec(),
        };
        Ok(Parsed { len: Some(len), request: Some(request) })
    }

    /// The fields that a `connect` has in RTMP.
    pub(super) fn connect(&self) -> Connect<'_> {
        let Self { app, tc_url, agent, page_url, .. } = self;
        Connect { app, tc_url, flash_ver: agent, page_url, ..Connect::default() }
    }

    /// The rest of a request whose stream its player may have: the name is not needed any more.
    pub(super) fn resumed(chunked: bool, websocket: Option<String>, browser: bool) -> Self {
        Self { chunked, websocket, browser, ..Self::default() }
    }

    /// The key as RTMP has it: with the arguments behind it.
    pub(super) fn key_and_query(&self) -> Vec<u8> {
        let mark = if self.query.is_empty() { "" } else { "?" };
        [&self.key, mark.as_bytes(), self.query.as_bytes()].concat()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let accept = self.websocket.as_ref().map_or(0, String::capacity);
        let texts = [&self.app, &self.tc_url, &self.key, &self.agent, &self.page_url];
        size_of::<Self>() + texts.map(Vec::capacity).iter().sum::<usize>() + self.query.capacity() + accept
    }
}

/// A target in absolute form (RFC 9112, 3.2.2) without scheme and host.
fn without_origin(target: &str) -> &str {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    rest.find(['/', '?']).map_or("/", |at| &rest[at..])
}

/// Application and key of `/app/key.flv`.
fn stream_of(path: &str) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
    let path: Vec<u8> = percent_decode(path.as_bytes()).collect();
    if path.iter().any(|byte| byte.is_ascii_control() || *byte == b'?') {
        return Err(refusal("400 Bad Request", "The stream name has bytes that are not allowed in names."));
    }
    let name = path.strip_prefix(b"/").and_then(|path| path.strip_suffix(SUFFIX)).unwrap_or_default();
    match name.iter().rposition(|&byte| byte == b'/') {
        Some(slash) if slash > 0 && slash + 1 < name.len() => Ok((name[..slash].to_vec(), name[slash + 1..].to_vec())),
        _ => Err(refusal("404 Not Found", "Streams are at /app/key.flv.")),
    }
}

/// The answer to a WebSocket's handshake; `None` for a request that asks for no WebSocket.
fn websocket_of<'a>(gets: bool, field: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Option<String>, Refusal> {
    if !field("upgrade").is_some_and(|upgrade| contains(upgrade, "websocket")) {
        return Ok(None);
    }
    if !gets || !field("connection").is_some_and(|connection| contains(connection, "upgrade")) {
        return Err(refusal("400 Bad Request", "A WebSocket needs GET and Connection: Upgrade."));
    }
    if field("sec-websocket-version") != Some(b"13") {
        return Err(Refusal {
            status: "426 Upgrade Required",
            text: "This server speaks WebSocket version 13.",
            head: "Sec-WebSocket-Version: 13\r\n",
        });
    }
    let accept = field("sec-websocket-key").and_then(websocket::accept);
    accept.map(Some).ok_or_else(|| refusal("400 Bad Request", "Sec-WebSocket-Key is invalid."))
}

fn field<'a>(head: &httparse::Request<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Whether a field's value contains this word, ignoring case.
fn contains(value: &[u8], word: &str) -> bool {
    value.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}
