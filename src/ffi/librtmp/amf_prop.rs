//! The exports of `amf.h`: pointers in, one call, pointers out. Also the dump, which goes to the log.

use std::ffi::{c_char, c_int, c_short, c_uint, c_ushort};

use super::amf::MAX_DEPTH;
use super::amf_decode::{self as decode, as_int};
use super::amf_encode::Output;
use super::ptr::{bytes, given, given_mut, put};
use super::types::*;
use super::{guard, log};

/// What a look-up that finds nothing gives. It is only read: writers look for its address.
struct Invalid(AMFObjectProperty);

// SAFETY: it is never written.
unsafe impl Sync for Invalid {}

static INVALID: Invalid = Invalid(AMFObjectProperty::INVALID);

fn invalid() -> *mut AMFObjectProperty {
    (&raw const INVALID.0).cast_mut()
}

/// A property that may be written.
fn writable<'a>(prop: *mut AMFObjectProperty) -> Option<&'a mut AMFObjectProperty> {
    if std::ptr::eq(prop, invalid()) {
        return None;
    }
    given_mut(prop)
}

/// Runs an encoder on the room between two pointers and gives the pointer after what it wrote, or NULL.
fn encode(start: *mut c_char, end: *mut c_char, body: impl FnOnce(&mut Output<'_>) -> Option<()>) -> *mut c_char {
    guard(std::ptr::null_mut(), || {
        let room = (end as usize).checked_sub(start as usize).filter(|&room| room <= isize::MAX as usize);
        let (false, Some(room)) = (start.is_null(), room) else { return std::ptr::null_mut() };
        // SAFETY: contract of this function.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), room) };
        let mut output = Output::new(buffer);
        if body(&mut output).is_none() {
            return std::ptr::null_mut();
        }
        let len = output.len();
        // SAFETY: no more was written than there is room.
        unsafe { start.add(len) }
    })
}

/// The bytes of a string argument; NULL has none.
fn text<'a>(text: *const AVal) -> &'a [u8] {
    given(text).map_or(&[], |text| text.long_bytes())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeString(output: *mut c_char, end: *mut c_char, value: *const AVal) -> *mut c_char {
    encode(output, end, |output| output.string(text(value)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNumber(output: *mut c_char, end: *mut c_char, value: f64) -> *mut c_char {
    encode(output, end, |output| output.number(value))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeInt16(output: *mut c_char, end: *mut c_char, value: c_short) -> *mut c_char {
    encode(output, end, |output| output.put(&value.to_be_bytes()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeInt24(output: *mut c_char, end: *mut c_char, value: c_int) -> *mut c_char {
    encode(output, end, |output| output.be24(value as u32))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeInt32(output: *mut c_char, end: *mut c_char, value: c_int) -> *mut c_char {
    encode(output, end, |output| output.put(&value.to_be_bytes()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeBoolean(output: *mut c_char, end: *mut c_char, value: c_int) -> *mut c_char {
    encode(output, end, |output| output.boolean(value != 0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedString(
    output: *mut c_char,
    end: *mut c_char,
    name: *const AVal,
    value: *const AVal,
) -> *mut c_char {
    encode(output, end, |output| output.named_string(text(name), text(value)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedNumber(
    output: *mut c_char,
    end: *mut c_char,
    name: *const AVal,
    value: f64,
) -> *mut c_char {
    encode(output, end, |output| output.named_number(text(name), value))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedBoolean(
    output: *mut c_char,
    end: *mut c_char,
    name: *const AVal,
    value: c_int,
) -> *mut c_char {
    encode(output, end, |output| output.named_boolean(text(name), value != 0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Encode(object: *mut AMFObject, start: *mut c_char, end: *mut c_char) -> *mut c_char {
    encode(start, end, |output| output.object(given(object)?))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeEcmaArray(
    object: *mut AMFObject,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    encode(start, end, |output| output.ecma_array(given(object)?, 0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeArray(object: *mut AMFObject, start: *mut c_char, end: *mut c_char) -> *mut c_char {
    encode(start, end, |output| output.strict_array(given(object)?, 0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Encode(
    prop: *mut AMFObjectProperty,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    encode(start, end, |output| output.property(given(prop)?))
}

/// The first `N` bytes; zeroes for NULL.
fn first<const N: usize>(data: *const c_char) -> [u8; N] {
    if data.is_null() {
        return [0; N];
    }
    // SAFETY: contract of this function.
    unsafe { data.cast::<[u8; N]>().read_unaligned() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeInt16(data: *const c_char) -> c_ushort {
    u16::from_be_bytes(first(data))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeInt24(data: *const c_char) -> c_uint {
    decode::be24(&first::<3>(data))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeInt32(data: *const c_char) -> c_uint {
    u32::from_be_bytes(first(data))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeNumber(data: *const c_char) -> f64 {
    f64::from_be_bytes(first(data))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeBoolean(data: *const c_char) -> c_int {
    (first::<1>(data) != [0]).into()
}

/// Points `out` at the `len` bytes behind a length of `head` bytes.
fn behind(data: *const c_char, head: usize, len: c_int, out: *mut AVal) {
    let Some(out) = given_mut(out) else { return };
    *out = AVal::NULL;
    if len > 0 {
        // SAFETY: contract: the string follows its length.
        let start = unsafe { data.add(head) };
        *out = AVal { av_val: start.cast_mut(), av_len: len };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeString(data: *const c_char, out: *mut AVal) {
    behind(data, 2, u16::from_be_bytes(first(data)).into(), out);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeLongString(data: *const c_char, out: *mut AVal) {
    behind(data, 4, u32::from_be_bytes(first(data)) as c_int, out);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Decode(object: *mut AMFObject, buffer: *const c_char, size: c_int, names: c_int) -> c_int {
    guard(-1, || {
        let Some(object) = given_mut(object) else { return -1 };
        *object = AMFObject::EMPTY;
        let Some(data) = bytes(buffer, size) else { return if size <= 0 { 0 } else { -1 } };
        as_int(decode::object(object, data, names != 0))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeArray(
    object: *mut AMFObject,
    buffer: *const c_char,
    size: c_int,
    len: c_int,
    names: c_int,
) -> c_int {
    guard(-1, || {
        let Some(object) = given_mut(object) else { return -1 };
        *object = AMFObject::EMPTY;
        let Some(data) = bytes(buffer, size) else { return -1 };
        as_int(decode::decode(data, |decoder| decoder.array(object, len, names != 0, 0)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Decode(
    prop: *mut AMFObjectProperty,
    buffer: *const c_char,
    size: c_int,
    names: c_int,
) -> c_int {
    guard(-1, || {
        let Some(prop) = writable(prop) else { return -1 };
        *prop = AMFObjectProperty::INVALID;
        let Some(data) = bytes(buffer, size) else { return -1 };
        as_int(decode::decode(data, |decoder| decoder.property(prop, names != 0, 0)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Dump(object: *mut AMFObject) {
    guard((), || given(object).map(log::object).unwrap_or_default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Reset(object: *mut AMFObject) {
    guard((), || given_mut(object).map(AMFObject::reset).unwrap_or_default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_AddProp(object: *mut AMFObject, prop: *const AMFObjectProperty) {
    guard((), || {
        let Some(object) = given_mut(object) else { return };
        let Some(prop) = given(prop) else { return };
        if !object.add(prop) {
            log::error("AMF: out of memory");
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_CountProp(object: *mut AMFObject) -> c_int {
    given(object).map_or(0, |object| object.o_num)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_GetProp(
    object: *mut AMFObject,
    name: *const AVal,
    index: c_int,
) -> *mut AMFObjectProperty {
    guard(invalid(), || {
        let Some(object) = given(object) else { return invalid() };
        let found = match usize::try_from(index) {
            Ok(index) => object.at(index),
            Err(_) => given(name).and_then(|name| object.named(name.bytes())),
        };
        found.map_or_else(invalid, |prop| std::ptr::from_ref(prop).cast_mut())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetType(prop: *mut AMFObjectProperty) -> c_uint {
    given(prop).map_or(AMF_INVALID, |prop| prop.p_type)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_IsValid(prop: *mut AMFObjectProperty) -> c_int {
    given(prop).is_some_and(|prop| prop.p_type != AMF_INVALID).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetNumber(prop: *mut AMFObjectProperty) -> f64 {
    given(prop).map_or(0.0, AMFObjectProperty::number)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetBoolean(prop: *mut AMFObjectProperty) -> c_int {
    given(prop).is_some_and(|prop| prop.bits() != 0.0).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetString(prop: *mut AMFObjectProperty, out: *mut AVal) {
    let value = given(prop).filter(|prop| prop.p_type == AMF_STRING).map_or(AVal::NULL, |p| p.string());
    put(out, value);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetObject(prop: *mut AMFObjectProperty, out: *mut AMFObject) {
    let value = given(prop).filter(|p| p.p_type == AMF_OBJECT).map_or(AMFObject::EMPTY, |p| p.object());
    put(out, value);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetName(prop: *mut AMFObjectProperty, out: *mut AVal) {
    let value = given(prop).map_or(AVal::NULL, |prop| prop.p_name);
    put(out, value);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetName(prop: *mut AMFObjectProperty, name: *const AVal) {
    if let (Some(prop), Some(name)) = (writable(prop), given(name)) {
        prop.p_name = *name;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetNumber(prop: *mut AMFObjectProperty, value: f64) {
    set_value(prop, AMF_NUMBER, AMFValue { p_number: value });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetBoolean(prop: *mut AMFObjectProperty, value: c_int) {
    set_value(prop, AMF_BOOLEAN, AMFValue { p_number: f64::from(u8::from(value != 0)) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetString(prop: *mut AMFObjectProperty, value: *const AVal) {
    if let Some(value) = given(value) {
        set_value(prop, AMF_STRING, AMFValue { p_aval: *value });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetObject(prop: *mut AMFObjectProperty, value: *const AMFObject) {
    if let Some(value) = given(value) {
        set_value(prop, AMF_OBJECT, AMFValue { p_object: *value });
    }
}

fn set_value(prop: *mut AMFObjectProperty, kind: c_uint, value: AMFValue) {
    if let Some(prop) = writable(prop) {
        prop.p_type = kind;
        prop.p_vu = value;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Dump(prop: *mut AMFObjectProperty) {
    guard((), || {
        let Some(prop) = given(prop) else { return };
        if log::wants(log::DEBUG) {
            dump_property(prop, 0);
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Reset(prop: *mut AMFObjectProperty) {
    guard((), || {
        let Some(prop) = writable(prop) else { return };
        prop.object().reset();
        prop.p_vu = AMFValue { p_aval: AVal::NULL };
        prop.p_type = AMF_INVALID;
    });
}

/// Logs an object, a property a record.
pub(super) fn dump(object: &AMFObject, depth: u32) {
    log::debug("(object begin)");
    for prop in object.props() {
        dump_property(prop, depth);
    }
    log::debug("(object end)");
}

/// Bytes of a name and of a value that a dump shows.
const NAME_BYTES: usize = 18;
const VALUE_BYTES: usize = 254;

/// A string as far as C prints it.
fn printed(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn dump_property(prop: &AMFObjectProperty, depth: u32) {
    if matches!(prop.p_type, AMF_NULL | AMF_INVALID) {
        return log::debug(if prop.p_type == AMF_NULL { "Property: NULL" } else { "Property: INVALID" });
    }
    let name = prop.p_name.bytes();
    let name = if name.is_empty() { &b"no-name."[..] } else { printed(name) };
    let name = &name[..name.len().min(NAME_BYTES)];
    let mut value = match prop.p_type {
        AMF_OBJECT => b"OBJECT".to_vec(),
        AMF_ECMA_ARRAY => b"ECMA_ARRAY".to_vec(),
        AMF_STRICT_ARRAY => b"STRICT_ARRAY".to_vec(),
        AMF_NUMBER => format!("NUMBER:\t{:.2}", prop.number()).into_bytes(),
        AMF_BOOLEAN => format!("BOOLEAN:\t{}", if prop.number() == 0.0 { "FALSE" } else { "TRUE" }).into_bytes(),
        AMF_STRING => [b"STRING:\t", printed(prop.string().bytes())].concat(),
        AMF_DATE => format!("DATE:\ttimestamp: {:.2}, UTC offset: {}", prop.number(), prop.p_UTCoffset).into_bytes(),
        kind => format!("INVALID TYPE 0x{kind:02x}").into_bytes(),
    };
    value.truncate(VALUE_BYTES);
    let padding = &[b' '; NAME_BYTES][name.len()..];
    log::record_bytes(log::DEBUG, &[b"Property: <Name: ", padding, name, b", ", &value, b">"].concat());
    if matches!(prop.p_type, AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY) && depth < MAX_DEPTH {
        dump(&prop.object(), depth + 1);
    }
}
