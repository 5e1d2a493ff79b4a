//! AMF0 as librtmp decodes it: strings stay where they are, in the message's body; only arrays of properties are
//! allocated. Every read is bounded by the data, and nesting by [`MAX_DEPTH`].
//!
//! `proto::amf0` reads the same format for the relay. It is not used here because the places where librtmp stops, what
//! it has collected by then and what it refuses (typed objects, references) are behaviour programs see.

use std::ffi::c_int;

use super::amf::MAX_DEPTH;
use super::types::*;
use super::{amf3, log};

/// The data ended early or makes no sense. What was read before stands in the object.
#[derive(Debug)]
pub(super) struct Bad;

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Bad)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn be16(&mut self) -> Result<u16, Bad> {
        self.take(2).map(be16)
    }

    pub(super) fn be32(&mut self) -> Result<u32, Bad> {
        self.take(4).map(be32)
    }

    pub(super) fn number(&mut self) -> Result<f64, Bad> {
        self.take(8).map(be_f64)
    }

    /// A string behind its 16-bit length; without bytes it is NULL, as librtmp has it.
    fn string(&mut self) -> Result<AVal, Bad> {
        let len = self.be16()?;
        self.take(len.into()).map(in_place)
    }

    /// A string behind its 32-bit length.
    fn long_string(&mut self) -> Result<AVal, Bad> {
        let len = self.be32()?;
        self.take(usize::try_from(len).map_err(|_| Bad)?).map(in_place)
    }
}

/// Points at bytes of the message.
pub(super) fn in_place(text: &[u8]) -> AVal {
    if text.is_empty() { AVal::NULL } else { AVal::of(text) }
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

/// Decodes properties up to the end mark or the end of the data. Gives the bytes taken.
pub(super) fn object(object: &mut AMFObject, data: &[u8], names: bool) -> Result<usize, Bad> {
    object_at(object, data, names, 0)
}

pub(super) fn object_at(object: &mut AMFObject, data: &[u8], names: bool, depth: u32) -> Result<usize, Bad> {
    *object = AMFObject::EMPTY;
    let mut input = Input(data);
    while !input.0.is_empty() {
        if let Some(rest) = input.0.strip_prefix(&[0, 0, AMF_OBJECT_END as u8]) {
            input.0 = rest;
            break;
        }
        let mut prop = AMFObjectProperty::INVALID;
        let taken = property_at(&mut prop, input.0, names, depth)?;
        input.take(taken)?;
        keep(object, &prop)?;
    }
    Ok(data.len() - input.0.len())
}

/// Decodes `len` values of an array.
pub(super) fn array_at(object: &mut AMFObject, data: &[u8], len: u32, names: bool, depth: u32) -> Result<usize, Bad> {
    *object = AMFObject::EMPTY;
    let mut input = Input(data);
    for _ in 0..len {
        let mut prop = AMFObjectProperty::INVALID;
        let taken = property_at(&mut prop, input.0, names, depth)?;
        input.take(taken)?;
        keep(object, &prop)?;
    }
    Ok(data.len() - input.0.len())
}

/// Appends what was decoded; what finds no place is freed.
pub(super) fn keep(object: &mut AMFObject, prop: &AMFObjectProperty) -> Result<(), Bad> {
    if object.add(prop) {
        return Ok(());
    }
    prop.object().reset();
    Err(Bad)
}

/// Decodes one value, with its name if `names`. Gives the bytes taken.
pub(super) fn property_at(prop: &mut AMFObjectProperty, data: &[u8], names: bool, depth: u32) -> Result<usize, Bad> {
    prop.p_name = AVal::NULL;
    let mut input = Input(data);
    if names {
        if data.len() < 4 {
            log::debug("AMF: not enough data for a name and a value");
            return Err(Bad);
        }
        prop.p_name = input.string()?;
    }
    let kind = u32::from(input.byte()?);
    prop.p_type = kind;
    match kind {
        AMF_NUMBER => prop.p_vu = AMFValue { p_number: input.number()? },
        AMF_BOOLEAN => prop.p_vu = AMFValue { p_number: f64::from(u8::from(input.byte()? != 0)) },
        AMF_STRING => prop.p_vu = AMFValue { p_aval: input.string()? },
        AMF_LONG_STRING | AMF_XML_DOC => {
            prop.p_vu = AMFValue { p_aval: input.long_string()? };
            prop.p_type = if kind == AMF_LONG_STRING { AMF_STRING } else { kind };
        }
        AMF_NULL | AMF_UNDEFINED | AMF_UNSUPPORTED => prop.p_type = AMF_NULL,
        AMF_DATE => {
            prop.p_vu = AMFValue { p_number: input.number()? };
            prop.p_UTCoffset = input.be16()? as i16;
        }
        AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY | AMF_AVMPLUS => container(prop, kind, &mut input, depth)?,
        _ => {
            log::error(&format!("AMF: type 0x{kind:02x} is not supported"));
            prop.p_type = AMF_INVALID;
            return Err(Bad);
        }
    }
    Ok(data.len() - input.0.len())
}

/// Decodes what lies inside an object or array. On failure nothing of it is kept.
fn container(prop: &mut AMFObjectProperty, kind: u32, input: &mut Input<'_>, depth: u32) -> Result<(), Bad> {
    prop.p_type = AMF_INVALID;
    if depth >= MAX_DEPTH {
        log::error(&format!("AMF: nested deeper than {MAX_DEPTH} levels"));
        return Err(Bad);
    }
    let mut inner = AMFObject::EMPTY;
    let taken = match kind {
        AMF_OBJECT => object_at(&mut inner, input.0, true, depth + 1),
        AMF_ECMA_ARRAY => {
            // The count is a hint that encoders get wrong; the end mark counts.
            input.be32()?;
            object_at(&mut inner, input.0, true, depth + 1)
        }
        AMF_STRICT_ARRAY => {
            // librtmp's counts have a sign: from half of their range on there is nothing in the array.
            let len = u32::try_from(input.be32()? as i32).unwrap_or(0);
            array_at(&mut inner, input.0, len, false, depth + 1)
        }
        _ => amf3::object_at(&mut inner, input.0, true, depth + 1),
    };
    match taken.and_then(|taken| input.take(taken).map(|_| ())) {
        Ok(()) => {
            prop.p_type = if kind == AMF_AVMPLUS { AMF_OBJECT } else { kind };
            prop.p_vu = AMFValue { p_object: inner };
            Ok(())
        }
        Err(Bad) => {
            inner.reset();
            Err(Bad)
        }
    }
}

/// What a decoder's result is in C: bytes, or -1.
pub(super) fn as_int(result: Result<usize, Bad>) -> c_int {
    result.map_or(-1, |taken| c_int::try_from(taken).unwrap_or(-1))
}
