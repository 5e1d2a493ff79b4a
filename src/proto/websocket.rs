//! The server's side of WebSockets, as far as sending a stream of bytes needs it: the answer to the handshake's key,
//! and a reader of the client's frames, which ignores data frames. [`framing`](super::framing) makes the frames that
//! the server sends.
//!
//! Clients' frames are bounded, and data frames are skipped without being collected. Source: RFC 6455.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minicbor::{Decode, Encode};
use sha1::{Digest, Sha1};

use crate::error::{Failure, Result};
use crate::proto::framing::opcode;

/// What is hashed with the client's key (1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's key, decoded.
const KEY_BYTES: usize = 16;

/// The longest payload of a control frame (5.5).
const CONTROL_MAX_BYTES: u64 = 125;

/// The longest frame of data: players have no data to send.
const DATA_MAX_BYTES: u64 = 64 * 1024;

/// The answer to `Sec-WebSocket-Key`; `None` if the key is invalid.
pub(crate) fn accept(key: &[u8]) -> Option<String> {
    STANDARD.decode(key).ok().filter(|key| key.len() == KEY_BYTES)?;
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    Some(STANDARD.encode(hash))
}

/// Whether this can be such an answer, which goes into the head of a message as it is.
pub(crate) fn is_answer(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|hash| hash.len() == Sha1::output_size())
}

/// A control frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A ping with this payload, which the pong repeats.
    Ping(Vec<u8>),
    /// A pong with this payload.
    Pong(Vec<u8>),
    /// The client closes; the payload has its status and reason.
    Close(Vec<u8>),
}

/// Reads a client's frames, in whatever pieces they come.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(crate) struct Reader {
    /// The part of the head that has come.
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    head: Vec<u8>,
    /// The frame that is being read.
    #[n(1)]
    frame: Option<Frame>,
}

#[derive(Clone, Debug, Encode, Decode)]
struct Frame {
    #[n(0)]
    opcode: u8,
    #[n(1)]
    mask: [u8; 4],
    /// The bytes of the frame that have come, and those that are missing.
    #[n(2)]
    at: u64,
    #[n(3)]
    left: u64,
    /// The payload of a control frame.
    #[n(4)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    payload: Vec<u8>,
}

impl Reader {
    /// Whether a client's frames can have brought it to this state.
    pub(crate) fn is_possible(&self) -> bool {
        let fits = |frame: &Frame| {
            let (control, len) = (frame.opcode >= opcode::CLOSE, frame.at.saturating_add(frame.left));
            frame.opcode <= opcode::PONG
                && frame.left > 0
                && len <= if control { CONTROL_MAX_BYTES } else { DATA_MAX_BYTES }
                && frame.payload.len() as u64 == if control { frame.at } else { 0 }
        };
        let head_is_open = matches!(begin(&self.head), Ok(None));
        head_is_open && self.frame.as_ref().is_none_or(|frame| self.head.is_empty() && fits(frame))
    }

    /// Takes bytes from `input[*at..]` up to the end of the next control frame; `None`: all input has been taken.
    ///
    /// # Errors
    /// [`RRError::Protocol`](crate::error::RRError::Protocol), [`RRError::Limit`](crate::error::RRError::Limit).
    pub(crate) fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Said>> {
        loop {
            if self.frame.is_none() {
                let Some(byte) = input.get(*at) else { return Ok(None) };
                *at += 1;
                self.head.push(*byte);
                self.frame = begin(&self.head)?;
                if self.frame.is_none() {
                    continue;
                }
                self.head.clear();
            }
            let Some(frame) = &mut self.frame else { return Ok(None) };
            let rest = input.get(*at..).unwrap_or_default();
            let len = usize::try_from(frame.left).map_or(rest.len(), |left| left.min(rest.len()));
            if frame.opcode >= opcode::CLOSE {
                let masked = rest.iter().take(len).zip(frame.at..);
                frame.payload.extend(masked.map(|(byte, place)| byte ^ frame.mask[(place % 4) as usize]));
            }
            *at += len;
            frame.at += len as u64;
            frame.left -= len as u64;
            if frame.left > 0 {
                return Ok(None);
            }
            match self.frame.take() {
                Some(Frame { opcode: opcode::PING, payload, .. }) => return Ok(Some(Said::Ping(payload))),
                Some(Frame { opcode: opcode::PONG, payload, .. }) => return Ok(Some(Said::Pong(payload))),
                Some(Frame { opcode: opcode::CLOSE, payload, .. }) => return Ok(Some(Said::Close(payload))),
                _ => {}
            }
        }
    }
}

/// The frame of a head; `None` if the head is incomplete.
fn begin(head: &[u8]) -> Result<Option<Frame>> {
    let [first, second, rest @ ..] = head else { return Ok(None) };
    let opcode = first & 0x0f;
    if first & 0x70 != 0 || !matches!(opcode, 0..=2 | opcode::CLOSE..=opcode::PONG) {
        return Err(Failure::protocol("a WebSocket frame of an unknown kind"));
    }
    if second & 0x80 == 0 {
        return Err(Failure::protocol("a WebSocket frame of a client that is not masked"));
    }
    let (len, mask) = match second & 0x7f {
        126 => (rest.first_chunk().map(|len| u64::from(u16::from_be_bytes(*len))), rest.get(2..6)),
        127 => (rest.first_chunk().map(|len| u64::from_be_bytes(*len)), rest.get(8..12)),
        len => (Some(u64::from(len)), rest.get(..4)),
    };
    let (Some(len), Some(mask)) = (len, mask) else { return Ok(None) };
    let control = opcode >= opcode::CLOSE;
    if control && (len > CONTROL_MAX_BYTES || first & 0x80 == 0) {
        return Err(Failure::protocol("a WebSocket control frame that is long or in parts"));
    }
    if len > DATA_MAX_BYTES {
        return Err(Failure::limit(format!("a WebSocket frame of {len} bytes")));
    }
    let mask = mask.try_into().unwrap_or_default();
    Ok(Some(Frame { opcode, mask, at: 0, left: len, payload: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RRError;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let head = match payload.len() {
            len @ 0..126 => vec![first, 0x80 | len as u8],
            len => [&[first, 0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
        };
        let body: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        [head, mask.to_vec(), body].concat()
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_the_specification() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for wrong in [&b""[..], b"abc", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZTEyMzQ="] {
            assert_eq!(accept(wrong), None);
        }
    }

    #[test]
    fn control_frames_are_found_wherever_the_input_is_cut_and_data_is_skipped() {
        let input = [
            masked(0x89, b"ping"),
            masked(0x01, &[7; 300]),
            masked(0x80, b"the rest of it"),
            masked(0x8a, b""),
            masked(0x88, &[3, 0xe8]),
        ]
        .concat();
        for step in [1, 2, 7, input.len()] {
            let (mut reader, mut said) = (Reader::default(), Vec::new());
            for part in input.chunks(step) {
                let mut at = 0;
                while let Some(one) = reader.next(part, &mut at).unwrap() {
                    said.push(one);
                }
                assert_eq!(at, part.len());
            }
            assert_eq!(said, [Said::Ping(b"ping".into()), Said::Pong(vec![]), Said::Close(vec![3, 0xe8])], "{step}");
        }
    }

    #[test]
    fn what_a_client_may_not_send_ends_it() {
        let end = |input: &[u8]| Reader::default().next(input, &mut 0).unwrap_err().kind;
        assert_eq!(end(&[0x82, 1, 0]), RRError::Protocol, "not masked");
        assert_eq!(end(&masked(0x83, b"")), RRError::Protocol, "an unknown opcode");
        assert_eq!(end(&masked(0xc2, b"")), RRError::Protocol, "compressed");
        assert_eq!(end(&masked(0x09, b"")), RRError::Protocol, "a ping in parts");
        assert_eq!(end(&masked(0x89, &[0; 126])), RRError::Protocol, "a long ping");
        assert_eq!(end(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]), RRError::Limit);
    }
}
