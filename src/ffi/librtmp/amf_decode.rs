//! AMF0 as librtmp decodes it: strings stay where they are, in the message's body; only arrays of properties are
//! allocated. Every read is bounded by the data, nesting by [`MAX_DEPTH`], and all values together by [`MAX_VALUES`].
//!
//! `proto::amf` reads the bytes, also for the relay's reader (`proto::amf0`). The two readers differ, because programs
//! can see where librtmp stops, what it has collected by then and what it refuses (typed objects, references).

use std::ffi::c_int;

use super::amf::{MAX_DEPTH, STEP};
use super::types::*;
use super::{amf3, log};
use crate::error::Failure;
use crate::proto::amf::{Cursor, Token};

/// Values in one message, counted by the capacity of their arrays: 14 MiB of properties. The largest real messages are
/// metadata with a day's key frames.
const MAX_VALUES: u32 = 1 << 18;

/// The data is cut off or malformed. The object keeps the values read before.
#[derive(Debug)]
pub(super) struct Bad;

impl From<Failure> for Bad {
    fn from(_: Failure) -> Self {
        Self
    }
}

/// Data that is being decoded.
pub(super) struct Decoder<'a> {
    pub(super) input: Cursor<'a>,
    values_left: u32,
}

/// Decodes with `body` and returns the number of bytes taken.
///
/// # Safety
/// The data outlives every use of what is decoded: its strings lie there.
pub(super) unsafe fn decode<'a>(
    data: &'a [u8],
    body: impl FnOnce(&mut Decoder<'a>) -> Result<(), Bad>,
) -> Result<usize, Bad> {
    let mut decoder = Decoder { input: Cursor(data), values_left: MAX_VALUES };
    body(&mut decoder)?;
    Ok(data.len() - decoder.input.0.len())
}

/// Points at bytes of the message.
pub(super) fn in_place(text: &[u8]) -> AVal {
    if text.is_empty() {
        return AVal::NULL;
    }
    // SAFETY: contract of `decode`, which makes the only decoders there are.
    unsafe { AVal::of(text) }
}

pub(super) fn be16(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |&bytes| u16::from_be_bytes(bytes))
}

pub(super) fn be24(bytes: &[u8]) -> u32 {
    match bytes {
        [a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]),
        _ => 0,
    }
}

pub(super) fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |&bytes| u32::from_be_bytes(bytes))
}

pub(super) fn be_f64(bytes: &[u8]) -> f64 {
    bytes.first_chunk().map_or(0.0, |&bytes| f64::from_be_bytes(bytes))
}

/// Decodes properties up to the end mark or the end of the data. Returns the number of bytes taken.
///
/// # Safety
/// That of [`decode`].
pub(super) unsafe fn object(object: &mut AMFObject, data: &[u8], names: bool) -> Result<usize, Bad> {
    // SAFETY: contract of this function.
    unsafe { decode(data, |decoder| decoder.object(object, names, 0)) }
}

impl Decoder<'_> {
    fn object(&mut self, object: &mut AMFObject, names: bool, depth: u32) -> Result<(), Bad> {
        *object = AMFObject::EMPTY;
        while !self.input.0.is_empty() && !self.input.object_end() {
            let mut prop = AMFObjectProperty::INVALID;
            self.property(&mut prop, names, depth)?;
            self.keep(object, &prop)?;
        }
        Ok(())
    }

    /// Decodes `len` values of an array.
    pub(super) fn array(&mut self, object: &mut AMFObject, len: i32, names: bool, depth: u32) -> Result<(), Bad> {
        *object = AMFObject::EMPTY;
        for _ in 0..len {
            let mut prop = AMFObjectProperty::INVALID;
            self.property(&mut prop, names, depth)?;
            self.keep(object, &prop)?;
        }
        Ok(())
    }

    /// Appends a decoded property, or frees it if it finds no place.
    pub(super) fn keep(&mut self, object: &mut AMFObject, prop: &AMFObjectProperty) -> Result<(), Bad> {
        let room = if (object.count() as usize).is_multiple_of(STEP) { STEP as u32 } else { 0 };
        if let Some(left) = self.values_left.checked_sub(room)
            && object.add(prop)
        {
            self.values_left = left;
            return Ok(());
        }
        log::error("AMF: too many values");
        prop.object().reset();
        Err(Bad)
    }

    /// Decodes one value, with its name if `names`.
    pub(super) fn property(&mut self, prop: &mut AMFObjectProperty, names: bool, depth: u32) -> Result<(), Bad> {
        prop.p_name = AVal::NULL;
        if names {
            if self.input.0.len() < 4 {
                log::debug("AMF: not enough data for a name and a value");
                return Err(Bad);
            }
            prop.p_name = in_place(self.input.short_string()?);
        }
        let kind = u32::from(*self.input.0.first().ok_or(Bad)?);
        prop.p_type = kind;
        match self.input.token()? {
            Token::Number(number) => prop.p_vu = AMFValue { p_number: number },
            Token::Bool(truth) => prop.p_vu = AMFValue { p_number: f64::from(u8::from(truth)) },
            Token::String(text) | Token::Xml(text) => prop.p_vu = AMFValue { p_aval: in_place(text) },
            Token::LongString(text) => {
                prop.p_vu = AMFValue { p_aval: in_place(text) };
                prop.p_type = AMF_STRING;
            }
            Token::Null | Token::Undefined | Token::Unsupported => prop.p_type = AMF_NULL,
            Token::Date(ms, zone) => {
                prop.p_vu = AMFValue { p_number: ms };
                prop.p_UTCoffset = zone;
            }
            // The count of an ECMA array is a hint that encoders get wrong; the end mark decides.
            Token::Object | Token::EcmaArray(_) => {
                self.container(prop, kind, depth, |inside, inner, depth| inside.object(inner, true, depth))?;
            }
            // librtmp's counts are signed: a count in the upper half of the range means an empty array.
            Token::StrictArray(len) => {
                self.container(prop, kind, depth, |inside, inner, depth| {
                    inside.array(inner, len as i32, false, depth)
                })?;
            }
            Token::Amf3 => self
                .container(prop, AMF_OBJECT, depth, |inside, inner, depth| amf3::object(inside, inner, true, depth))?,
            Token::MovieClip | Token::Reference(_) | Token::RecordSet | Token::Typed(_) | Token::Unknown(_) => {
                log::error(&format!("AMF: type 0x{kind:02x} is not supported"));
                prop.p_type = AMF_INVALID;
                return Err(Bad);
            }
        }
        Ok(())
    }

    /// Decodes the inside of an object or array. On failure no part of it is kept.
    pub(super) fn container(
        &mut self,
        prop: &mut AMFObjectProperty,
        kind: u32,
        depth: u32,
        contents: impl FnOnce(&mut Self, &mut AMFObject, u32) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        prop.p_type = AMF_INVALID;
        if depth >= MAX_DEPTH {
            log::error(&format!("AMF: nested deeper than {MAX_DEPTH} levels"));
            return Err(Bad);
        }
        let mut inner = AMFObject::EMPTY;
        if let Err(Bad) = contents(self, &mut inner, depth + 1) {
            inner.reset();
            return Err(Bad);
        }
        prop.p_type = kind;
        prop.p_vu = AMFValue { p_object: inner };
        Ok(())
    }
}

/// A decoder's result in C: bytes taken, or -1.
pub(super) fn as_int(result: Result<usize, Bad>) -> c_int {
    result.map_or(-1, |taken| c_int::try_from(taken).unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::librtmp::amf::Owned;

    #[test]
    fn a_message_of_nothing_but_values_has_a_bound() {
        let nulls = vec![AMF_NULL as u8; MAX_VALUES as usize + 1];
        let mut read = Owned(AMFObject::EMPTY);
        // SAFETY: the data outlives the object.
        assert!(unsafe { object(&mut read.0, &nulls, false) }.is_err());
        assert_eq!(read.0.count(), MAX_VALUES as c_int);
        read.0.reset();
        // SAFETY: as above.
        assert_eq!(unsafe { object(&mut read.0, &nulls[1..], false) }.ok(), Some(MAX_VALUES as usize));
    }

    #[test]
    fn a_message_of_small_objects_makes_no_more_of_itself_than_one_of_values() {
        let small = b"\x03\0\x01a\x05\0\0\x09".repeat(MAX_VALUES as usize / 2);
        let mut read = Owned(AMFObject::EMPTY);
        // SAFETY: the data outlives the object.
        assert!(unsafe { object(&mut read.0, &small, false) }.is_err());
        let room = |object: &AMFObject| object.props().len().next_multiple_of(STEP);
        let taken = room(&read.0) + read.0.props().iter().map(|prop| room(&prop.object())).sum::<usize>();
        assert!(taken <= MAX_VALUES as usize, "room for {taken} values");
    }
}
