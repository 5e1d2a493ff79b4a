//! A client of HTTP-FLV that shares no code with the crate: it writes a request, takes the body out of its framing, and
//! reads the tags.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::raw::{Got, PATIENCE};

/// How the body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.0: up to the end of the connection.
    Close,
    /// HTTP/1.1: chunks.
    Chunks,
    /// Binary frames.
    WebSocket,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Close, Self::Chunks, Self::WebSocket];

    fn request(self, target: &str) -> String {
        match self {
            Self::Close => format!("GET {target} HTTP/1.0\r\n\r\n"),
            Self::Chunks => format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            Self::WebSocket => format!(
                "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
        }
    }
}

pub(crate) struct Http {
    pub(crate) socket: TcpStream,
    way: Way,
    /// Bytes that have come and are still in their framing.
    raw: Vec<u8>,
    /// The body up to where tags were read.
    flv: Vec<u8>,
    /// All bytes that have come.
    pub(crate) received: u64,
    pub(crate) head: String,
    /// Whether the framing said that this was all.
    pub(crate) ended: bool,
    /// The file's header.
    pub(crate) file_header: Option<Vec<u8>>,
}

/// Sends a request as it is and gives all that comes until the end.
pub(crate) fn ask(port: u16, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server need not read the rest after its refusal.
    let _ = socket.write_all(request);
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(answer).unwrap()
}

impl Http {
    /// Asks for a stream, and does not read.
    pub(crate) fn ask_for(port: u16, way: Way, target: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(way.request(target).as_bytes()).unwrap();
        let (raw, flv, head) = (Vec::new(), Vec::new(), String::new());
        Self { socket, way, raw, flv, received: 0, head, ended: false, file_header: None }
    }

    /// Reads once; false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = vec![0; 256 * 1024];
        let n = match self.socket.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error} after {} bytes", self.received),
        };
        self.received += n as u64;
        self.raw.extend_from_slice(&buffer[..n]);
        if self.head.is_empty() {
            let Some(end) = self.raw.windows(4).position(|window| window == b"\r\n\r\n") else { return n > 0 };
            self.head = String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap();
        }
        while self.take_piece() {}
        n > 0
    }

    /// Removes the framing of one piece.
    fn take_piece(&mut self) -> bool {
        let (begin, len, behind) = match self.way {
            Way::Close => (0, self.raw.len(), 0),
            Way::Chunks => {
                let Some(line) = self.raw.windows(2).position(|window| window == b"\r\n") else { return false };
                let digits = std::str::from_utf8(&self.raw[..line]).unwrap();
                (line + 2, usize::from_str_radix(digits, 16).unwrap(), 2)
            }
            Way::WebSocket => {
                let number = |at: usize, len: usize| {
                    self.raw
                        .get(at..at + len)?
                        .iter()
                        .try_fold(0, |number: usize, byte| Some(number << 8 | usize::from(*byte)))
                };
                let (Some(first), Some(short)) = (number(0, 1), number(1, 1)) else { return false };
                let (begin, len) = match short {
                    126 => (4, number(2, 2)),
                    127 => (10, number(2, 8)),
                    len => (2, Some(len)),
                };
                let Some(len) = len else { return false };
                match first {
                    0x82 => (begin, len, 0),
                    0x88 => (begin, 0, len),
                    other => panic!("a frame that begins with {other:x}"),
                }
            }
        };
        if self.raw.len() < begin + len + behind || self.raw.is_empty() {
            return false;
        }
        self.flv.extend_from_slice(&self.raw[begin..begin + len]);
        self.ended |= len == 0;
        self.raw.drain(..begin + len + behind);
        true
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Got> {
        loop {
            if self.file_header.is_none() && self.flv.len() >= 13 {
                self.file_header = Some(self.flv.drain(..13).collect());
            }
            if let Some(got) = self.file_header.as_ref().and_then(|_| tag(&self.flv)) {
                self.flv.drain(..got.body.len() + 15);
                return Some(got);
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// The next message that is not a header.
    pub(crate) fn frame(&mut self) -> Got {
        loop {
            let got = self.next().expect("media comes");
            if got.body.get(1) != Some(&0) && got.type_id != super::raw::DATA {
                return got;
            }
        }
    }

    /// All messages up to the end.
    pub(crate) fn rest(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// The tags of a stream behind its file header; the last one is complete.
pub(crate) fn tags(mut flv: &[u8]) -> Vec<Got> {
    let mut all = Vec::new();
    while let Some(got) = tag(flv) {
        flv = &flv[got.body.len() + 15..];
        all.push(got);
    }
    assert!(flv.is_empty(), "{} bytes are no tag", flv.len());
    all
}

/// The tag at the beginning, if it is complete.
fn tag(flv: &[u8]) -> Option<Got> {
    let head = flv.get(..11)?;
    let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    let tail = flv.get(11 + len..15 + len)?;
    assert_eq!(tail, (11 + len as u32).to_be_bytes(), "the size behind a tag");
    assert_eq!(head[8..], [0, 0, 0], "the stream of a tag");
    let ts_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
    Some(Got { type_id: head[0], ts_ms, body: flv[11..11 + len].to_vec() })
}
