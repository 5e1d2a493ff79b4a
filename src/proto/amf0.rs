//! AMF0, the encoding of commands and data messages: bytes to [`Value`]s and back.
//!
//! Values borrow from the input, keep their order and are bounded in depth and number, so neither deep nesting nor
//! sixteen megabytes of nulls cost more than the limits allow. Strings are bytes: peers send Latin-1 and worse. Media
//! metadata is never re-encoded for passing on; the encoder writes our own commands, always the same bytes for the same
//! value. The `amf3` module reads AMF3 after the switch marker. Both read bytes through `amf`, as librtmp's face does.
//! Markers: AMF0 specification, 2.1.

use crate::error::{Failure, RRError, Result};
use crate::proto::amf::{Cursor, OBJECT_END, Token};
use crate::proto::amf3;

#[cfg(test)]
pub(crate) mod tests;

/// Named values in the order of the wire.
pub type Entries<'a> = Vec<(&'a [u8], Value<'a>)>;

/// One AMF value. AMF3 values come in the form of their AMF0 counterpart (a byte array as a long string).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// 0x00
    Number(f64),
    /// 0x01
    Bool(bool),
    /// 0x02, and 0x0c when encoding more than 65535 bytes.
    String(&'a [u8]),
    /// 0x03
    Object(Entries<'a>),
    /// 0x04, reserved in the specification.
    MovieClip,
    /// 0x05
    Null,
    /// 0x06
    Undefined,
    /// 0x07: the number of an earlier object; never resolved.
    Reference(u16),
    /// 0x08: the count that the sender claimed (often wrong) and the actual entries.
    EcmaArray(u32, Entries<'a>),
    /// 0x0a
    Array(Vec<Self>),
    /// 0x0b: milliseconds since 1970 and a time zone that the specification reserves.
    Date(f64, i16),
    /// 0x0c
    LongString(&'a [u8]),
    /// 0x0d
    Unsupported,
    /// 0x0e, reserved in the specification.
    RecordSet,
    /// 0x0f
    Xml(&'a [u8]),
    /// 0x10: class name and entries.
    Typed(&'a [u8], Entries<'a>),
}

/// Limits on one message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How deep objects and arrays may nest.
    pub depth: u32,
    /// Values and names together, at all depths.
    pub elements: u32,
}

/// For commands: real ones nest 3 deep and hold some dozens of values.
pub const LIMITS: Limits = Limits { depth: 32, elements: 4096 };

impl<'a> Value<'a> {
    /// The bytes of a string of either length.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::String(bytes) | Value::LongString(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value as peers mean it: a boolean, or a number other than 0.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            Value::Number(number) => Some(*number != 0.0),
            _ => None,
        }
    }

    /// The named values of an object, typed object or ECMA array; empty for anything else.
    pub fn entries(&self) -> &[(&'a [u8], Self)] {
        match self {
            Value::Object(entries) | Value::EcmaArray(_, entries) | Value::Typed(_, entries) => entries,
            _ => &[],
        }
    }

    /// The first value with that name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }
}

/// Reads one value at the head of `data` and returns it with the number of bytes it took.
///
/// # Errors
/// Those of [`read_values`].
pub fn read_value<'a>(data: &'a [u8], limits: &Limits) -> Result<(Value<'a>, usize)> {
    let mut reader = Reader::new(data, limits);
    let value = reader.value(0)?;
    Ok((value, data.len() - reader.rest.0.len()))
}

/// Reads values until `data` ends and appends them to `out`. On an error `out` keeps what was read before it.
///
/// # Errors
/// [`RRError::Limit`] past `limits`; [`RRError::Protocol`] for an unknown marker or a value that is cut off. An object
/// or ECMA array may end with the data, without its end marker.
pub fn read_values<'a>(data: &'a [u8], limits: &Limits, out: &mut Vec<Value<'a>>) -> Result<()> {
    let mut reader = Reader::new(data, limits);
    while !reader.rest.0.is_empty() {
        out.push(reader.value(0)?);
    }
    Ok(())
}

/// The unread data and the unspent element limit; shared with the AMF3 reader.
pub(super) struct Reader<'a> {
    pub(super) rest: Cursor<'a>,
    max_depth: u32,
    elements_left: u32,
}

impl<'a> Reader<'a> {
    fn new(data: &'a [u8], limits: &Limits) -> Self {
        Self { rest: Cursor(data), max_depth: limits.depth, elements_left: limits.elements }
    }

    /// Accounts for one value or name at `depth`.
    pub(super) fn spend(&mut self, depth: u32) -> Result<()> {
        if depth > self.max_depth {
            return Err(Failure::limit("AMF values nest too deep"));
        }
        self.elements_left =
            self.elements_left.checked_sub(1).ok_or_else(|| Failure::limit("too many AMF values in one message"))?;
        Ok(())
    }

    fn value(&mut self, depth: u32) -> Result<Value<'a>> {
        self.spend(depth)?;
        Ok(match self.rest.token()? {
            Token::Number(number) => Value::Number(number),
            Token::Bool(truth) => Value::Bool(truth),
            Token::String(bytes) => Value::String(bytes),
            Token::Object => Value::Object(self.entries(depth)?),
            Token::MovieClip => Value::MovieClip,
            Token::Null => Value::Null,
            Token::Undefined => Value::Undefined,
            Token::Reference(index) => Value::Reference(index),
            Token::EcmaArray(claimed) => Value::EcmaArray(claimed, self.entries(depth)?),
            Token::StrictArray(count) => {
                let mut values = Vec::new(); // the count is only a claim: memory grows with the values that come
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::Array(values)
            }
            Token::Date(ms, zone) => Value::Date(ms, zone),
            Token::LongString(bytes) => Value::LongString(bytes),
            Token::Unsupported => Value::Unsupported,
            Token::RecordSet => Value::RecordSet,
            Token::Xml(bytes) => Value::Xml(bytes),
            Token::Typed(class) => Value::Typed(class, self.entries(depth)?),
            Token::Amf3 => amf3::read(self, depth)?,
            Token::Unknown(marker) => return Err(Failure::protocol(format!("unknown AMF0 marker 0x{marker:02x}"))),
        })
    }

    /// Names and values up to the end marker (empty name, 0x09), or to the end of the data, since some encoders forget
    /// the marker.
    fn entries(&mut self, depth: u32) -> Result<Entries<'a>> {
        let mut entries = Vec::new();
        loop {
            if self.rest.0.len() < 3 {
                self.rest = Cursor(&[]); // not even an end marker fits
                return Ok(entries);
            }
            if self.rest.object_end() {
                return Ok(entries);
            }
            let name = self.rest.short_string()?;
            entries.push((name, self.value(depth + 1)?));
        }
    }
}

/// Whether this module refused a value as too large, not as malformed.
pub fn is_limit(failure: &Failure) -> bool {
    failure.kind == RRError::Limit
}

/// Appends one value. Strings beyond 65535 bytes become long strings; names beyond that are cut.
pub fn write_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(0x00);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Bool(truth) => out.extend_from_slice(&[0x01, u8::from(*truth)]),
        Value::String(bytes) => match u16::try_from(bytes.len()) {
            Ok(len) => {
                out.push(0x02);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Err(_) => write_long(0x0c, bytes, out),
        },
        Value::Object(entries) => {
            out.push(0x03);
            write_entries(entries, out);
        }
        Value::MovieClip => out.push(0x04),
        Value::Null => out.push(0x05),
        Value::Undefined => out.push(0x06),
        Value::Reference(index) => {
            out.push(0x07);
            out.extend_from_slice(&index.to_be_bytes());
        }
        Value::EcmaArray(count, entries) => {
            out.push(0x08);
            out.extend_from_slice(&count.to_be_bytes());
            write_entries(entries, out);
        }
        Value::Array(values) => {
            out.push(0x0a);
            out.extend_from_slice(&len32(values.len()).to_be_bytes());
            values.iter().for_each(|value| write_value(value, out));
        }
        Value::Date(ms, zone) => {
            out.push(0x0b);
            out.extend_from_slice(&ms.to_be_bytes());
            out.extend_from_slice(&zone.to_be_bytes());
        }
        Value::LongString(bytes) => write_long(0x0c, bytes, out),
        Value::Unsupported => out.push(0x0d),
        Value::RecordSet => out.push(0x0e),
        Value::Xml(bytes) => write_long(0x0f, bytes, out),
        Value::Typed(class, entries) => {
            out.push(0x10);
            write_name(class, out);
            write_entries(entries, out);
        }
    }
}

fn write_name(name: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&name[..len.into()]);
}

fn write_long(marker: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(&len32(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn write_entries(entries: &[(&[u8], Value<'_>)], out: &mut Vec<u8>) {
    for (name, value) in entries {
        write_name(name, out);
        write_value(value, out);
    }
    out.extend_from_slice(&OBJECT_END);
}

/// A length as 32 bits; values are parts of a message, which is below 16 MiB.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
