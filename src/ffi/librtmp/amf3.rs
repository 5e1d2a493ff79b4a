//! AMF3 as far as librtmp decodes it: values, strings in place, sealed and dynamic objects; no references, arrays or
//! byte arrays. Every read is bounded by the data.

use std::ffi::{c_char, c_int};

use super::amf::MAX_DEPTH;
use super::amf_decode::{Bad, Input, as_int, in_place, keep};
use super::ptr::{bytes, given, given_mut};
use super::types::*;
use super::{guard, log, mem};

/// The name that an externalizable object's one value gets.
const EXTERNAL_NAME: &[u8] = b"DEFAULT_ATTRIBUTE";

/// Room of a class definition's name list grows by so many names.
const STEP: usize = 16;

impl Input<'_> {
    /// A whole number of up to 29 bits, sign included (AMF3 specification 1.3.1).
    fn integer(&mut self) -> Result<i32, Bad> {
        let mut value: u32 = 0;
        for _ in 0..3 {
            let byte = self.byte()?;
            value = value << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value as i32);
            }
        }
        value = value << 8 | u32::from(self.byte()?);
        // 29 bits, the highest of them the sign.
        Ok((value << 3) as i32 >> 3)
    }
}

impl<'a> Input<'a> {
    /// A string in place.
    fn string3(&mut self) -> Result<&'a [u8], Bad> {
        self.string3_or_none().map(Option::unwrap_or_default)
    }

    /// The same; a reference to an earlier one gives none.
    fn string3_or_none(&mut self) -> Result<Option<&'a [u8]>, Bad> {
        let head = self.integer()? as u32 & 0x1FFF_FFFF;
        if head & 1 == 0 {
            log::debug(&format!("AMF3: string reference {} is not followed", head >> 1));
            return Ok(None);
        }
        self.take((head >> 1) as usize).map(Some)
    }
}

/// Decodes one AMF3 value, with its name if `names`. Gives the bytes taken; an empty name ends an object and leaves the
/// value as it was.
fn property_at(prop: &mut AMFObjectProperty, data: &[u8], names: bool, depth: u32) -> Result<usize, Bad> {
    prop.p_name = AVal::NULL;
    let mut input = Input(data);
    if names {
        prop.p_name = in_place(input.string3()?);
        if prop.p_name.is_empty() {
            return Ok(data.len() - input.0.len());
        }
    }
    match input.byte()? {
        0 | 1 => prop.p_type = AMF_NULL,
        kind @ (2 | 3) => number(prop, AMF_BOOLEAN, f64::from(kind - 2)),
        4 => number(prop, AMF_NUMBER, input.integer()?.into()),
        5 => number(prop, AMF_NUMBER, input.number()?),
        6 | 7 | 11 => {
            prop.p_vu = AMFValue { p_aval: input.string3_or_none()?.map_or(AVal::NULL, AVal::of) };
            prop.p_type = AMF_STRING;
        }
        8 => {
            let reference = input.integer()?;
            if reference & 1 == 0 {
                log::debug("AMF3: a date reference is not followed");
                number(prop, AMF_NUMBER, 0.0);
            } else {
                number(prop, AMF_NUMBER, input.number()?);
            }
        }
        10 => {
            prop.p_type = AMF_INVALID;
            if depth >= MAX_DEPTH {
                log::error(&format!("AMF3: nested deeper than {MAX_DEPTH} levels"));
                return Err(Bad);
            }
            let mut inner = AMFObject::EMPTY;
            match object_at(&mut inner, input.0, false, depth + 1) {
                Ok(taken) => {
                    input.take(taken)?;
                    prop.p_vu = AMFValue { p_object: inner };
                    prop.p_type = AMF_OBJECT;
                }
                Err(Bad) => {
                    inner.reset();
                    return Err(Bad);
                }
            }
        }
        kind => {
            log::debug(&format!("AMF3: type 0x{kind:02x} is not supported"));
            prop.p_type = AMF_INVALID;
            return Err(Bad);
        }
    }
    Ok(data.len() - input.0.len())
}

fn number(prop: &mut AMFObjectProperty, kind: u32, value: f64) {
    prop.p_vu = AMFValue { p_number: value };
    prop.p_type = kind;
}

/// Decodes an object, behind its type byte if `marked`. Gives the bytes taken.
pub(super) fn object_at(object: &mut AMFObject, data: &[u8], marked: bool, depth: u32) -> Result<usize, Bad> {
    *object = AMFObject::EMPTY;
    let mut input = Input(data);
    if marked && input.byte()? != 10 {
        log::error("AMF3: this is not an object");
    }
    let head = input.integer()? as u32 & 0x1FFF_FFFF;
    if head & 3 != 3 {
        log::debug("AMF3: an object or class reference is not followed");
        return Ok(data.len() - input.0.len());
    }
    let (external, dynamic, sealed) = (head & 4 != 0, head & 8 != 0, head >> 4);
    // The class's name.
    input.string3()?;
    let names = input;
    for _ in 0..sealed {
        input.string3()?;
    }
    if external {
        let mut prop = AMFObjectProperty::INVALID;
        let taken = property_at(&mut prop, input.0, false, depth)?;
        input.take(taken)?;
        prop.p_name = AVal::of(EXTERNAL_NAME);
        keep(object, &prop)?;
        return Ok(data.len() - input.0.len());
    }
    let mut names = names;
    for _ in 0..sealed {
        let mut prop = AMFObjectProperty::INVALID;
        let taken = property_at(&mut prop, input.0, false, depth)?;
        input.take(taken)?;
        prop.p_name = in_place(names.string3()?);
        keep(object, &prop)?;
    }
    let mut last = AMFObjectProperty { p_type: AMF_NUMBER, ..AMFObjectProperty::INVALID };
    if !dynamic {
        return Ok(data.len() - input.0.len());
    }
    loop {
        let taken = property_at(&mut last, input.0, true, depth)?;
        input.take(taken)?;
        let end = last.p_name.is_empty();
        if end && last.object().o_num > 0 {
            // librtmp repeats the last value, nameless, at the end of a dynamic object. An inner object must not have
            // two owners.
            last.p_type = AMF_NULL;
        }
        keep(object, &last)?;
        if end {
            break;
        }
    }
    Ok(data.len() - input.0.len())
}

/// The longest data an interface without a length is trusted to have.
const LONGEST: usize = 4;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3ReadInteger(data: *const c_char, value: *mut i32) -> c_int {
    guard(0, || {
        let Some(value) = given_mut(value) else { return 0 };
        let bytes = integer_bytes(data);
        let mut input = Input(&bytes[..]);
        match input.integer() {
            Ok(number) => {
                *value = number;
                (LONGEST - input.0.len()) as c_int
            }
            Err(Bad) => 0,
        }
    })
}

/// The bytes of one integer, which says itself where it ends: none after its last is read.
fn integer_bytes(data: *const c_char) -> [u8; LONGEST] {
    let mut bytes = [0; LONGEST];
    if !data.is_null() {
        for (index, place) in bytes.iter_mut().enumerate() {
            // SAFETY: contract of this function: the byte before said that this one follows.
            let at = unsafe { data.cast::<u8>().add(index) };
            // SAFETY: as above.
            *place = unsafe { at.read() };
            if *place & 0x80 == 0 {
                break;
            }
        }
    }
    bytes
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3ReadString(data: *const c_char, text: *mut AVal) -> c_int {
    guard(0, || {
        let Some(text) = given_mut(text) else { return 0 };
        *text = AVal::NULL;
        if data.is_null() {
            return 0;
        }
        let bytes = integer_bytes(data);
        let mut input = Input(&bytes[..]);
        let Ok(head) = input.integer() else { return 0 };
        let taken = LONGEST - input.0.len();
        let head = head as u32 & 0x1FFF_FFFF;
        if head & 1 == 0 {
            return taken as c_int;
        }
        let len = (head >> 1) as usize;
        // SAFETY: contract: the string follows its length.
        let start = unsafe { data.add(taken) };
        *text = AVal { av_val: start.cast_mut(), av_len: len as c_int };
        (taken + len) as c_int
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3_Decode(
    object: *mut AMFObject,
    buffer: *const c_char,
    size: c_int,
    marked: c_int,
) -> c_int {
    guard(-1, || {
        let Some(object) = given_mut(object) else { return -1 };
        *object = AMFObject::EMPTY;
        let Some(data) = bytes(buffer, size) else { return -1 };
        as_int(object_at(object, data, marked != 0, 0))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3Prop_Decode(
    prop: *mut AMFObjectProperty,
    buffer: *const c_char,
    size: c_int,
    names: c_int,
) -> c_int {
    guard(-1, || {
        let Some(prop) = given_mut(prop) else { return -1 };
        let Some(data) = bytes(buffer, size) else { return -1 };
        as_int(property_at(prop, data, names != 0, 0))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3CD_AddProp(class: *mut AMF3ClassDef, prop: *const AVal) {
    guard((), || {
        let Some(class) = given_mut(class) else { return };
        let Some(prop) = given(prop) else { return };
        let Ok(len) = usize::try_from(class.cd_num) else { return };
        if len % STEP == 0 {
            // SAFETY: contract: the list is the C allocator's.
            let Some(props) = (unsafe { mem::grow(class.cd_props, len + STEP) }) else { return };
            class.cd_props = props;
        }
        if class.cd_props.is_null() {
            return;
        }
        // SAFETY: the list has room up to the next multiple of STEP.
        let place = unsafe { class.cd_props.add(len) };
        // SAFETY: as above.
        unsafe { place.write(*prop) };
        class.cd_num += 1;
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3CD_GetProp(class: *mut AMF3ClassDef, index: c_int) -> *mut AVal {
    static NONE: NoName = NoName(AVal::NULL);
    let none = (&raw const NONE.0).cast_mut();
    guard(none, || {
        let Some(class) = given(class) else { return none };
        if index < 0 || index >= class.cd_num || class.cd_props.is_null() {
            return none;
        }
        // SAFETY: contract: cd_num names lie at cd_props.
        unsafe { class.cd_props.add(index as usize) }
    })
}

/// An empty name that is only read.
struct NoName(AVal);

// SAFETY: it is never written.
unsafe impl Sync for NoName {}
