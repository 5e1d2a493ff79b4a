//! How a stream of unknown length is framed for an HTTP client: not at all, in chunks, or in binary WebSocket frames.
//! This file has the bytes before and after each piece, and those that end the stream.
//!
//! Sources: RFC 9112 7.1, RFC 6455 5.2 and 5.5.1.

use std::io::Write;

/// The ways to frame a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No framing: the end of the connection ends the stream.
    None,
    /// HTTP's chunks.
    Chunked,
    /// Binary frames of a WebSocket, from the server.
    WebSocket,
}

/// Opcodes of WebSocket frames.
pub(crate) mod opcode {
    /// Bytes.
    pub(crate) const BINARY: u8 = 2;
    /// No more follows.
    pub(crate) const CLOSE: u8 = 8;
    /// A ping; the answer is a pong with the same payload.
    pub(crate) const PING: u8 = 9;
    /// The answer to a ping.
    pub(crate) const PONG: u8 = 10;
}

/// The status of a WebSocket that ends normally.
const NORMAL: u16 = 1000;

/// A few bytes in an array, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Short<N> {
    /// Appends bytes. Bytes beyond N are left out, so N must be large enough.
    pub fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.len + bytes.len() <= N, "no room for {} bytes more", bytes.len());
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Framing {
    /// Writes the bytes before a piece of `len` bytes, at most 10.
    pub fn begin<const N: usize>(self, len: usize, out: &mut Short<N>) {
        match self {
            Self::None => {}
            Self::Chunked => {
                let mut text = Short::<10>::default();
                let mut digits = &mut text.bytes[..];
                let before = digits.len();
                // A piece is a tag of less than 2^25 bytes, so seven digits are enough.
                let _ = write!(digits, "{len:x}\r\n");
                text.len = before - digits.len();
                out.put(text.bytes());
            }
            Self::WebSocket => out.put(frame_head(opcode::BINARY, len).bytes()),
        }
    }

    /// The bytes after a piece.
    pub fn behind(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::None | Self::WebSocket => b"",
        }
    }

    /// The bytes after the last piece.
    pub fn end(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Chunked => b"0\r\n\r\n".to_vec(),
            Self::WebSocket => frame(opcode::CLOSE, &NORMAL.to_be_bytes()),
        }
    }
}

/// The head of a server's frame that is a whole message.
fn frame_head(opcode: u8, len: usize) -> Short<10> {
    let mut head = Short::default();
    head.put(&[0x80 | opcode]);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => head.put(&[len]),
        (_, Ok(len)) => {
            head.put(&[126]);
            head.put(&len.to_be_bytes());
        }
        _ => {
            head.put(&[127]);
            head.put(&(len as u64).to_be_bytes());
        }
    }
    head
}

/// A whole frame from the server.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [frame_head(opcode, payload.len()).bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_framed_as_the_specifications_say() {
        let begin = |framing: Framing, len| {
            let mut out = Short::<10>::default();
            framing.begin(len, &mut out);
            out.bytes().to_vec()
        };
        assert_eq!(begin(Framing::None, 70_000), b"");
        assert_eq!(begin(Framing::Chunked, 0x1b), b"1b\r\n");
        assert_eq!(begin(Framing::Chunked, 0x0100_0010), b"1000010\r\n");
        assert_eq!(begin(Framing::WebSocket, 125), [0x82, 125]);
        assert_eq!(begin(Framing::WebSocket, 126), [0x82, 126, 0, 126]);
        assert_eq!(begin(Framing::WebSocket, 65_535), [0x82, 126, 0xff, 0xff]);
        assert_eq!(begin(Framing::WebSocket, 65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(Framing::WebSocket.end(), [0x88, 2, 3, 0xe8]);
        assert_eq!(frame(opcode::PONG, b"hi"), [0x8a, 2, b'h', b'i']);
    }
}
