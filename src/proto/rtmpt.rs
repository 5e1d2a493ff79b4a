//! RTMPT, the client's side: RTMP inside HTTP posts, without I/O.
//!
//! The client sends each piece of RTMP as one `POST`, and the server sends its RTMP in the answers, in the order of the
//! posts; [`Tunnel::idle`] asks a server while the client has nothing to send. The caller has the connection, decides
//! when to ask, and handles the handshake and chunks inside. Lengths are bounded, and an invalid answer is an error.
//!
//! Source: the RTMPT description of Adobe's "RTMP specification" annotations as servers speak it; requests as
//! librtmp 2.4 sends them.

use crate::error::{Failure, RRError, Result};
use crate::proto::http_client::Head;

/// Longest id of a tunnel.
const MAX_ID: usize = 128;

/// Longest answer: the largest RTMP message and some more.
const MAX_ANSWER: u64 = 17 << 20;

/// [`Tunnel::feed`] takes no more input while this many bytes wait for the caller.
const MAX_READY: usize = 64 << 10;

/// The part of an answer that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    /// The id of the tunnel; this many bytes are missing, including the line end.
    Id(u64),
    /// The first byte of a body, which tells how often to ask; this many bytes follow it.
    Interval(u64),
    /// RTMP; this many bytes are missing.
    Body(u64),
}

/// A tunnel over one connection.
#[derive(Debug)]
pub(crate) struct Tunnel {
    host: String,
    /// The tunnel's id with a slash in front; empty until the server gave one.
    id: Vec<u8>,
    at: At,
    /// Bytes of a head or an id that is incomplete.
    partial: Vec<u8>,
    counter: u32,
    unanswered: u32,
    failed: bool,
}

impl Tunnel {
    /// A tunnel to a server, for the `Host` line.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Self {
            host: format!("{host}:{port}"),
            id: Vec::new(),
            at: At::Head,
            partial: Vec::new(),
            counter: 1,
            unanswered: 0,
            failed: false,
        }
    }

    /// Asks for a tunnel. Then [`feed`](Self::feed) until [`is_open`](Self::is_open).
    pub(crate) fn open(&mut self, out: &mut Vec<u8>) {
        self.post("open", &[0], out);
        self.counter = 0;
    }

    /// Sends RTMP.
    ///
    /// # Errors
    /// [`RRError::State`] while the tunnel is not open.
    pub(crate) fn send(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.opened()?;
        self.post("send", bytes, out);
        Ok(())
    }

    /// Asks the server for its RTMP.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub(crate) fn idle(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.opened()?;
        self.post("idle", &[0], out);
        Ok(())
    }

    /// Ends the tunnel; appends nothing if it is not open.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        if self.is_open() {
            self.post("close", &[0], out);
        }
    }

    fn opened(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(Failure::ours(RRError::State, "the tunnel is not open")) }
    }

    fn post(&mut self, what: &str, body: &[u8], out: &mut Vec<u8>) {
        let (id, number, length) = (String::from_utf8_lossy(&self.id), self.counter, body.len());
        let head = format!(
            "POST /{what}{id}/{number} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nUser-Agent: Shockwave Flash\r\n\
             Connection: Keep-Alive\r\nCache-Control: no-cache\r\nContent-type: application/x-fcs\r\n\
             Content-length: {length}\r\n\r\n",
            self.host
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body);
        self.counter = self.counter.wrapping_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Takes answers from `input[*at..]` and appends the RTMP in them to `plain`. Stops before the end of the input
    /// once `plain` has 64 KiB.
    ///
    /// # Errors
    /// [`RRError::Protocol`] or [`RRError::Limit`] for an answer that is not HTTP, not 200 or without a length, has an
    /// empty or huge body or a malformed id, or that answers no post. After an error every call fails.
    pub(crate) fn feed(&mut self, input: &[u8], at: &mut usize, plain: &mut Vec<u8>) -> Result<()> {
        if self.failed {
            return Err(Failure::protocol("the tunnel has failed before"));
        }
        let result = self.take(input, at, plain);
        self.failed = result.is_err();
        result
    }

    fn take(&mut self, input: &[u8], at: &mut usize, plain: &mut Vec<u8>) -> Result<()> {
        while let Some(rest) = input.get(*at..).filter(|rest| !rest.is_empty()) {
            match self.at {
                At::Head => {
                    let before = self.partial.len();
                    self.partial.extend_from_slice(rest);
                    let Some((head, length)) = Head::parse(&self.partial)? else {
                        *at = input.len();
                        return Ok(());
                    };
                    self.partial.clear();
                    *at += length - before;
                    self.at = self.body_of(&head)?;
                }
                At::Id(left) => {
                    let piece = &rest[..rest.len().min(left as usize)]; // at most MAX_ID + 1
                    self.partial.extend_from_slice(piece);
                    *at += piece.len();
                    self.at = At::Id(left - piece.len() as u64);
                    if self.at == At::Id(0) {
                        self.take_id()?;
                    }
                }
                At::Interval(left) => {
                    *at += 1;
                    self.at = if left == 0 { At::Head } else { At::Body(left) };
                }
                At::Body(left) => {
                    if plain.len() >= MAX_READY {
                        return Ok(());
                    }
                    let room = (MAX_READY - plain.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
                    let piece = &rest[..rest.len().min(room)];
                    plain.extend_from_slice(piece);
                    *at += piece.len();
                    let left = left - piece.len() as u64;
                    self.at = if left == 0 { At::Head } else { At::Body(left) };
                }
            }
        }
        Ok(())
    }

    /// The part that follows an answer's head.
    fn body_of(&mut self, head: &Head) -> Result<At> {
        if head.status != 200 {
            return Err(Failure::protocol(format!("the tunnel's server answered with status {}", head.status)));
        }
        self.unanswered = self.unanswered.checked_sub(1).ok_or_else(|| Failure::protocol("an answer to no request"))?;
        match head.length {
            None => Err(Failure::protocol("an answer of the tunnel without a length")),
            Some(0) => Err(Failure::protocol("an empty answer of the tunnel")),
            Some(length) if length > MAX_ANSWER => Err(Failure::limit("an answer of the tunnel is too long")),
            Some(length) if self.is_open() => Ok(At::Interval(length - 1)),
            Some(length) if length > MAX_ID as u64 + 1 => Err(Failure::limit("the tunnel's id is too long")),
            Some(length) => Ok(At::Id(length)),
        }
    }

    /// Takes the id's line. The id goes into the first line of our requests, so it must not contain a line end.
    fn take_id(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.partial);
        let id = line.trim_ascii_end();
        if id.is_empty() || !id.iter().all(u8::is_ascii_graphic) {
            return Err(Failure::protocol("the tunnel's id is not a word"));
        }
        self.id = [b"/", id].concat();
        self.at = At::Head;
        Ok(())
    }

    /// Whether the server gave the tunnel.
    pub(crate) fn is_open(&self) -> bool {
        !self.id.is_empty()
    }

    /// Posts whose answer's head is not complete yet.
    pub(crate) fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Whether an answer has begun and not ended.
    #[cfg(test)]
    fn is_mid_answer(&self) -> bool {
        self.at != At::Head || !self.partial.is_empty()
    }

    /// The id with its slash; empty until the tunnel is open.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn open() -> Tunnel {
        let mut tunnel = Tunnel::new("h", 80);
        tunnel.open(&mut Vec::new());
        tunnel.feed(&answer(b"abc123\n"), &mut 0, &mut Vec::new()).unwrap();
        assert!(tunnel.is_open());
        tunnel
    }

    #[test]
    fn requests_have_the_id_and_count_on() {
        let mut tunnel = Tunnel::new("h", 80);
        let mut out = Vec::new();
        tunnel.open(&mut out);
        let expected = "POST /open/1 HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\nUser-Agent: Shockwave Flash\r\nConnection: Keep-Alive\r\nCache-Control: no-cache\r\nContent-type: application/x-fcs\r\nContent-length: 1\r\n\r\n\0";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(tunnel.send(b"x", &mut Vec::new()).is_err() && tunnel.idle(&mut Vec::new()).is_err());
        let mut tunnel = open();
        for (number, what) in ["send", "idle", "close"].into_iter().enumerate() {
            let mut out = Vec::new();
            match what {
                "send" => tunnel.send(b"rtmp", &mut out).unwrap(),
                "idle" => tunnel.idle(&mut out).unwrap(),
                _ => tunnel.close(&mut out),
            }
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(&format!("POST /{what}/abc123/{number} HTTP/1.1\r\n")), "{text}");
            assert_eq!(text.ends_with("\r\n\r\nrtmp"), what == "send");
        }
        assert_eq!(tunnel.unanswered(), 3);
    }

    #[test]
    fn answers_cut_anywhere_give_the_same_bytes() {
        let stream = [answer(b"\x01he"), answer(b"\x09"), answer(b"\x05llo")].concat();
        for cut in 1..stream.len() {
            let mut tunnel = open();
            for _ in 0..3 {
                tunnel.idle(&mut Vec::new()).unwrap();
            }
            let mut plain = Vec::new();
            for piece in stream.chunks(cut) {
                let mut at = 0;
                tunnel.feed(piece, &mut at, &mut plain).unwrap();
                assert_eq!(at, piece.len());
            }
            assert_eq!((plain.as_slice(), tunnel.unanswered()), (&b"hello"[..], 0));
            assert!(!tunnel.is_mid_answer());
        }
    }

    #[test]
    fn a_large_answer_waits_until_there_is_room() {
        let mut tunnel = open();
        tunnel.idle(&mut Vec::new()).unwrap();
        let bytes = answer(&vec![7; 200_001]);
        let (mut at, mut total) = (0, 0);
        while at < bytes.len() {
            let mut plain = Vec::new();
            tunnel.feed(&bytes, &mut at, &mut plain).unwrap();
            assert!(!plain.is_empty() && plain.len() <= MAX_READY);
            total += plain.len();
        }
        assert_eq!(total, 200_000);
    }

    #[test]
    fn answers_that_cannot_be_right_end_the_tunnel() {
        let head = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        let cases = [
            head("0"),
            head("99999999999"),
            head("-1"),
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            b"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx".to_vec(),
            b"\x03 no HTTP at all".to_vec(),
        ];
        for bytes in &cases {
            let mut tunnel = open();
            tunnel.idle(&mut Vec::new()).unwrap();
            for _ in 0..2 {
                let failure = tunnel.feed(bytes, &mut 0, &mut Vec::new()).unwrap_err();
                assert!(matches!(failure.kind, RRError::Protocol | RRError::Limit));
            }
        }
        for body in [&b"\n"[..], b"a b\n", b"a\r\nX: y\r\n", &[b'a'; 1000]] {
            let mut tunnel = Tunnel::new("h", 80);
            tunnel.open(&mut Vec::new());
            assert!(tunnel.feed(&answer(body), &mut 0, &mut Vec::new()).is_err());
            assert!(!tunnel.is_open());
        }
        assert!(open().feed(&answer(b"x"), &mut 0, &mut Vec::new()).is_err(), "nothing was asked");
    }
}
