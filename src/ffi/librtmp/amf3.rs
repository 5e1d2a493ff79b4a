//! AMF3 as far as librtmp decodes it: values, strings in place, sealed and dynamic objects; no references, arrays or
//! byte arrays. Every read is bounded by the data.

use std::ffi::{c_char, c_int};

use super::amf_decode::{Bad, Decoder, as_int, decode, in_place};
use super::ptr::{bytes, put};
use super::types::*;
use super::{guard, log, mem};
use crate::proto::amf::{Cursor, Header, Text, Token3};

/// The name that an externalizable object's one value gets.
const EXTERNAL_NAME: &[u8] = b"DEFAULT_ATTRIBUTE";

/// The capacity of a class definition's name list grows by this many names.
const STEP: usize = 16;

/// A string in place; a reference to an earlier string is not followed and gives none.
fn text_of(text: Text<'_>) -> AVal {
    match text {
        // SAFETY: strings of a decoded object lie in the message, and whoever has the object keeps that.
        Text::Inline(bytes) => unsafe { AVal::of(bytes) },
        Text::Reference(index) => {
            log::debug(&format!("AMF3: string reference {index} is not followed"));
            AVal::NULL
        }
    }
}

/// A name in place; without bytes it is NULL.
fn name(decoder: &mut Decoder<'_>) -> Result<AVal, Bad> {
    let name = text_of(decoder.input.text3()?);
    Ok(if name.is_empty() { AVal::NULL } else { name })
}

/// Decodes one AMF3 value, with its name if `names`; an empty name ends an object and leaves the value as it was.
fn property(decoder: &mut Decoder<'_>, prop: &mut AMFObjectProperty, names: bool, depth: u32) -> Result<(), Bad> {
    prop.p_name = AVal::NULL;
    if names {
        prop.p_name = name(decoder)?;
        if prop.p_name.is_empty() {
            return Ok(());
        }
    }
    match decoder.input.token3()? {
        Token3::Undefined | Token3::Null => prop.p_type = AMF_NULL,
        Token3::Bool(truth) => number(prop, AMF_BOOLEAN, f64::from(u8::from(truth))),
        Token3::Integer(value) => number(prop, AMF_NUMBER, value.into()),
        Token3::Double(value) => number(prop, AMF_NUMBER, value),
        Token3::String(text) | Token3::Xml(text) => {
            prop.p_vu = AMFValue { p_aval: text_of(text) };
            prop.p_type = AMF_STRING;
        }
        Token3::Date(value) => {
            if value.is_err() {
                log::debug("AMF3: a date reference is not followed");
            }
            number(prop, AMF_NUMBER, value.unwrap_or(0.0));
        }
        Token3::Object => {
            decoder.container(prop, AMF_OBJECT, depth, |inside, inner, depth| object(inside, inner, false, depth))?;
        }
        Token3::Array | Token3::ByteArray(_) | Token3::Unknown(_) => {
            log::debug("AMF3: arrays, byte arrays and later types are not supported");
            prop.p_type = AMF_INVALID;
            return Err(Bad);
        }
    }
    Ok(())
}

fn number(prop: &mut AMFObjectProperty, kind: u32, value: f64) {
    prop.p_vu = AMFValue { p_number: value };
    prop.p_type = kind;
}

/// Decodes an object, after its type byte if `marked`.
pub(super) fn object(decoder: &mut Decoder<'_>, object: &mut AMFObject, marked: bool, depth: u32) -> Result<(), Bad> {
    *object = AMFObject::EMPTY;
    if marked && decoder.input.byte()? != 10 {
        log::error("AMF3: this is not an object");
    }
    let head = decoder.input.u29()?;
    if head & 3 != 3 {
        log::debug("AMF3: an object or class reference is not followed");
        return Ok(());
    }
    let (external, dynamic, sealed) = (head & 4 != 0, head & 8 != 0, head >> 4);
    // The class name is not used.
    decoder.input.text3()?;
    let mut names = decoder.input;
    for _ in 0..sealed {
        decoder.input.text3()?;
    }
    if external {
        let mut prop = AMFObjectProperty::INVALID;
        property(decoder, &mut prop, false, depth)?;
        prop.p_name = AVal::fixed(EXTERNAL_NAME);
        return decoder.keep(object, &prop);
    }
    for _ in 0..sealed {
        let mut prop = AMFObjectProperty::INVALID;
        property(decoder, &mut prop, false, depth)?;
        if let Text::Inline(bytes) = names.text3()? {
            prop.p_name = in_place(bytes);
        }
        decoder.keep(object, &prop)?;
    }
    if !dynamic {
        return Ok(());
    }
    let mut last = AMFObjectProperty { p_type: AMF_NUMBER, ..AMFObjectProperty::INVALID };
    loop {
        property(decoder, &mut last, true, depth)?;
        let end = last.p_name.is_empty();
        if end && last.object().count() > 0 {
            // librtmp repeats the last value, without a name, at the end of a dynamic object. Here the copy becomes a
            // null if it is an object, because the object would have two owners.
            last.p_type = AMF_NULL;
        }
        decoder.keep(object, &last)?;
        if end {
            return Ok(());
        }
    }
}

/// The longest integer: the functions below get no length, and read no further.
const LONGEST: usize = 4;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3ReadInteger(data: *const c_char, value: *mut i32) -> c_int {
    guard(0, || {
        if value.is_null() {
            return 0;
        }
        // SAFETY: contract.
        let bytes = unsafe { integer_bytes(data) };
        let mut input = Cursor(&bytes[..]);
        let Ok(number) = input.integer() else { return 0 };
        // SAFETY: contract.
        unsafe { put(value, number) };
        (LONGEST - input.0.len()) as c_int
    })
}

/// The bytes of one integer, whose top bits mark its end: no byte after the last is read.
///
/// # Safety
/// `data` is NULL or such an integer.
unsafe fn integer_bytes(data: *const c_char) -> [u8; LONGEST] {
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
        // SAFETY: contract.
        unsafe { put(text, AVal::NULL) };
        if data.is_null() || text.is_null() {
            return 0;
        }
        // SAFETY: contract.
        let bytes = unsafe { integer_bytes(data) };
        let mut input = Cursor(&bytes[..]);
        let Ok(head) = input.header() else { return 0 };
        let taken = LONGEST - input.0.len();
        let Header::Inline(len) = head else { return taken as c_int };
        // SAFETY: contract: the string follows its length.
        let start = unsafe { data.add(taken) };
        // SAFETY: as above.
        let string = unsafe { AVal::new(start.cast_mut(), len as c_int) };
        // SAFETY: contract.
        unsafe { put(text, string) };
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
        // SAFETY: contract.
        unsafe { put(object, AMFObject::EMPTY) };
        // SAFETY: contract; it holds an object now.
        let Some(object) = (unsafe { object.as_mut() }) else { return -1 };
        // SAFETY: contract.
        let Some(data) = (unsafe { bytes(buffer, size) }) else { return -1 };
        // SAFETY: contract: whoever has the object keeps the data.
        as_int(unsafe { decode(data, |decoder| self::object(decoder, object, marked != 0, 0)) })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3Prop_Decode(
    prop: Option<&mut AMFObjectProperty>,
    buffer: *const c_char,
    size: c_int,
    names: c_int,
) -> c_int {
    guard(-1, || {
        let Some(prop) = prop else { return -1 };
        // SAFETY: contract.
        let Some(data) = (unsafe { bytes(buffer, size) }) else { return -1 };
        // SAFETY: contract: whoever has the property keeps the data.
        as_int(unsafe { decode(data, |decoder| property(decoder, prop, names != 0, 0)) })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF3CD_AddProp(class: Option<&mut AMF3ClassDef>, prop: Option<&AVal>) {
    guard((), || {
        let (Some(class), Some(prop)) = (class, prop) else { return };
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
pub unsafe extern "C" fn AMF3CD_GetProp(class: Option<&AMF3ClassDef>, index: c_int) -> *mut AVal {
    static NONE: NoName = NoName(AVal::NULL);
    let none = (&raw const NONE.0).cast_mut();
    guard(none, || {
        let Some(class) = class else { return none };
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
