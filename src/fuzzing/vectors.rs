//! Reads the golden vectors of `tests/vectors`: the one table behind decode tests, encode tests and fuzz seeds.

use super::Message;
use crate::error::RRError;
use crate::proto::message::MessageHead;

/// One entry of `tests/vectors/chunk.txt`, whose head explains the format.
#[derive(Debug, Default)]
pub(crate) struct Vector {
    /// The fact that the vector shows.
    pub name: String,
    /// Specification section, or the program that sent the bytes.
    pub origin: String,
    /// The bytes on the wire.
    pub bytes: Vec<u8>,
    /// The messages in the bytes.
    pub messages: Vec<Message>,
    /// The error that ends the reading.
    pub error: Option<RRError>,
    /// The chunk size at which our writer makes these bytes.
    pub encode: Option<u32>,
    /// Abandoned messages.
    pub discarded: u64,
}

/// The vectors of the chunk layer.
///
/// # Panics
/// If the table is malformed.
pub(crate) fn chunk() -> Vec<Vector> {
    let mut vectors: Vec<Vector> = Vec::new();
    for line in include_str!("../../tests/vectors/chunk.txt").lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            vectors.push(Vector { name: name.trim_end_matches(']').to_owned(), ..Vector::default() });
            continue;
        }
        let (Some((field, value)), Some(vector)) = (line.split_once('='), vectors.last_mut()) else {
            panic!("neither a name nor a field: {line}");
        };
        let value = value.trim();
        match field.trim() {
            "origin" => vector.origin = value.to_owned(),
            "bytes" => vector.bytes.extend(bytes(value)),
            "message" => vector.messages.push(message(value)),
            "error" if value == "protocol" => vector.error = Some(RRError::Protocol),
            "error" if value == "limit" => vector.error = Some(RRError::Limit),
            "encode" => vector.encode = Some(number(value)),
            "discarded" => vector.discarded = number(value).into(),
            _ => panic!("not understood: {line}"),
        }
    }
    vectors
}

/// `csid=4 ts=1000 type=8 stream=1 body=aabb`
fn message(text: &str) -> Message {
    let Some((fields, body)) = text.split_once("body=") else { panic!("no body: {text}") };
    let body = bytes(body);
    let mut head = MessageHead { len: body.len() as u32, ..MessageHead::default() };
    for field in fields.split_whitespace() {
        match field.split_once('=') {
            Some(("csid", value)) => head.chunk_stream = number(value),
            Some(("ts", value)) => head.timestamp_ms = number(value),
            Some(("type", value)) => head.type_id = number(value) as u8,
            Some(("stream", value)) => head.stream_id = number(value),
            _ => panic!("not understood: {field}"),
        }
    }
    (head, body)
}

/// Hex digits in pairs, white space, and `@a+n` for n bytes counting from a modulo 251.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split_whitespace().filter(|word| *word != "-") {
        let mut parts = word.split('@');
        let hex = parts.next().unwrap_or_default();
        assert!(hex.len().is_multiple_of(2) && hex.is_ascii(), "half a byte: {word}");
        out.extend((0..hex.len()).step_by(2).map(|at| match u8::from_str_radix(&hex[at..at + 2], 16) {
            Ok(byte) => byte,
            Err(error) => panic!("{word}: {error}"),
        }));
        for part in parts {
            let Some((from, count)) = part.split_once('+') else { panic!("not understood: {word}") };
            let from = number(from);
            out.extend((from..from + number(count)).map(|value| (value % 251) as u8));
        }
    }
    out
}

fn number(text: &str) -> u32 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(number) => number,
        Err(error) => panic!("{text}: {error}"),
    }
}
