//! The bytes of AMF0 and AMF3: markers, lengths and payloads, one step at a time. No values, no memory, no nesting.
//!
//! Two readers use this module: `amf0` and `amf3` beside this file make values for the relay, and librtmp's face makes
//! properties that point into the message. Each reader has its own rules for objects, references, limits and errors.
//! Source: AMF0 specification 2, AMF3 specification 1.3 and 3.

use crate::error::{Failure, Result};

/// Data that is read from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(pub &'a [u8]);

/// One AMF0 value, or the beginning of an object or array, whose contents follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    /// 0x00
    Number(f64),
    /// 0x01
    Bool(bool),
    /// 0x02
    String(&'a [u8]),
    /// 0x03: names and values up to [`OBJECT_END`].
    Object,
    /// 0x04
    MovieClip,
    /// 0x05
    Null,
    /// 0x06
    Undefined,
    /// 0x07
    Reference(u16),
    /// 0x08: a count that senders get wrong; names and values follow, up to [`OBJECT_END`].
    EcmaArray(u32),
    /// 0x0a: this many values follow.
    StrictArray(u32),
    /// 0x0b: milliseconds since 1970 and a time zone.
    Date(f64, i16),
    /// 0x0c
    LongString(&'a [u8]),
    /// 0x0d
    Unsupported,
    /// 0x0e
    RecordSet,
    /// 0x0f
    Xml(&'a [u8]),
    /// 0x10: a class name; names and values follow, up to [`OBJECT_END`].
    Typed(&'a [u8]),
    /// 0x11: an AMF3 value follows.
    Amf3,
    /// No marker, or the end of an object (0x09) where a value should be.
    Unknown(u8),
}

/// The end of an object: an empty name and a marker.
pub(crate) const OBJECT_END: [u8; 3] = [0, 0, 0x09];

/// A length or count of AMF3, or a reference to an earlier value by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The value follows and has this length or count.
    Inline(usize),
    /// The number of an earlier value.
    Reference(u16),
}

/// Text or bytes of AMF3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// The text itself.
    Inline(&'a [u8]),
    /// The number of an earlier text.
    Reference(u16),
}

/// One AMF3 value, or the marker of one whose head and contents follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token3<'a> {
    /// 0x00
    Undefined,
    /// 0x01
    Null,
    /// 0x02, 0x03
    Bool(bool),
    /// 0x04: 29 bits with a sign.
    Integer(i32),
    /// 0x05
    Double(f64),
    /// 0x06
    String(Text<'a>),
    /// 0x07, 0x0b
    Xml(Text<'a>),
    /// 0x08: milliseconds since 1970; `Err` is a reference.
    Date(std::result::Result<f64, u16>),
    /// 0x09
    Array,
    /// 0x0a
    Object,
    /// 0x0c
    ByteArray(Text<'a>),
    /// Anything else.
    Unknown(u8),
}

impl<'a> Cursor<'a> {
    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`crate::error::RRError::Protocol`] if the data ends before; then nothing is taken. The methods below fail in
    /// the same way, but keep what they took before the end.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| Failure::protocol("an AMF value is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A big-endian number of 16 bits.
    pub(crate) fn be16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// A big-endian number of 32 bits.
    pub(crate) fn be32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A big-endian IEEE 754 number of 64 bits.
    pub(crate) fn double(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// Bytes after a length of 16 bits: strings and names.
    pub(crate) fn short_string(&mut self) -> Result<&'a [u8]> {
        let len = self.be16()?;
        self.take(len.into())
    }

    fn long_string(&mut self) -> Result<&'a [u8]> {
        let len = self.be32()?;
        self.take(len as usize)
    }

    /// Takes the end of an object, if it is next.
    pub(crate) fn object_end(&mut self) -> bool {
        let rest = self.0.strip_prefix(&OBJECT_END);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// An AMF0 value.
    pub(crate) fn token(&mut self) -> Result<Token<'a>> {
        Ok(match self.byte()? {
            0x00 => Token::Number(self.double()?),
            0x01 => Token::Bool(self.byte()? != 0),
            0x02 => Token::String(self.short_string()?),
            0x03 => Token::Object,
            0x04 => Token::MovieClip,
            0x05 => Token::Null,
            0x06 => Token::Undefined,
            0x07 => Token::Reference(self.be16()?),
            0x08 => Token::EcmaArray(self.be32()?),
            0x0a => Token::StrictArray(self.be32()?),
            0x0b => Token::Date(self.double()?, i16::from_be_bytes(self.array()?)),
            0x0c => Token::LongString(self.long_string()?),
            0x0d => Token::Unsupported,
            0x0e => Token::RecordSet,
            0x0f => Token::Xml(self.long_string()?),
            0x10 => Token::Typed(self.short_string()?),
            0x11 => Token::Amf3,
            marker => Token::Unknown(marker),
        })
    }

    /// A U29: one to four bytes, seven bits each, except that a fourth has eight (1.3.1).
    pub(crate) fn u29(&mut self) -> Result<u32> {
        let mut number = 0;
        for _ in 0..3 {
            let byte = u32::from(self.byte()?);
            if byte & 0x80 == 0 {
                return Ok(number << 7 | byte);
            }
            number = number << 7 | byte & 0x7f;
        }
        Ok(number << 8 | u32::from(self.byte()?))
    }

    /// A U29 as a signed number; one of four bytes has 29 bits.
    pub(crate) fn integer(&mut self) -> Result<i32> {
        // The highest of 29 bits is the sign: shift it to the sign bit of i32 and back.
        self.u29().map(|raw| (raw << 3) as i32 >> 3)
    }

    /// A U29 whose lowest bit says whether a value follows or an earlier one is referenced.
    pub(crate) fn header(&mut self) -> Result<Header> {
        let raw = self.u29()?;
        let value = raw >> 1;
        Ok(if raw & 1 == 1 {
            Header::Inline(value as usize)
        } else {
            Header::Reference(u16::try_from(value).unwrap_or(u16::MAX))
        })
    }

    /// Text or bytes of AMF3.
    pub(crate) fn text3(&mut self) -> Result<Text<'a>> {
        Ok(match self.header()? {
            Header::Inline(len) => Text::Inline(self.take(len)?),
            Header::Reference(index) => Text::Reference(index),
        })
    }

    /// An AMF3 value.
    pub(crate) fn token3(&mut self) -> Result<Token3<'a>> {
        Ok(match self.byte()? {
            0x00 => Token3::Undefined,
            0x01 => Token3::Null,
            0x02 => Token3::Bool(false),
            0x03 => Token3::Bool(true),
            0x04 => Token3::Integer(self.integer()?),
            0x05 => Token3::Double(self.double()?),
            0x06 => Token3::String(self.text3()?),
            0x07 | 0x0b => Token3::Xml(self.text3()?),
            0x08 => match self.header()? {
                Header::Reference(index) => Token3::Date(Err(index)),
                Header::Inline(_) => Token3::Date(Ok(self.double()?)),
            },
            0x09 => Token3::Array,
            0x0a => Token3::Object,
            0x0c => Token3::ByteArray(self.text3()?),
            marker => Token3::Unknown(marker),
        })
    }
}
