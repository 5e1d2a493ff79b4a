//! The exports of `amf.h`: pointers in, one call, pointers out; and the dump to the log.

use std::ffi::{c_char, c_int, c_short, c_uint, c_ushort};

use super::amf::MAX_DEPTH;
use super::amf_decode::{self as decode, as_int};
use super::amf_encode::Output;
use super::ptr::{bytes, put};
use super::types::*;
use super::{guard, log};

/// The result of a look-up that finds nothing. Functions that write recognise its address and do not write to it.
struct Invalid(AMFObjectProperty);

// SAFETY: it is never written.
unsafe impl Sync for Invalid {}

static INVALID: Invalid = Invalid(AMFObjectProperty::INVALID);

fn invalid() -> *mut AMFObjectProperty {
    (&raw const INVALID.0).cast_mut()
}

/// A property that may be written.
///
/// # Safety
/// `prop` is NULL, the result of a look-up, or the program's; nobody else refers to it as long as the result is used.
unsafe fn writable<'a>(prop: *mut AMFObjectProperty) -> Option<&'a mut AMFObjectProperty> {
    if std::ptr::eq(prop, invalid()) {
        return None;
    }
    // SAFETY: contract of this function.
    unsafe { prop.as_mut() }
}

/// Runs an encoder on the room between two pointers and returns the pointer after the bytes written, or NULL.
///
/// # Safety
/// The contract of all pointers: NULL, or the room between the two is this call's.
unsafe fn encode(
    start: *mut c_char,
    end: *mut c_char,
    body: impl FnOnce(&mut Output<'_>) -> Option<()>,
) -> *mut c_char {
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
fn text(text: Option<&AVal>) -> &[u8] {
    text.map_or(&[], AVal::bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeString(output: *mut c_char, end: *mut c_char, value: Option<&AVal>) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.string(text(value))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNumber(output: *mut c_char, end: *mut c_char, value: f64) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.number(value)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeInt16(output: *mut c_char, end: *mut c_char, value: c_short) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.put(&value.to_be_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeInt24(output: *mut c_char, end: *mut c_char, value: c_int) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.be24(value as u32)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeInt32(output: *mut c_char, end: *mut c_char, value: c_int) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.put(&value.to_be_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeBoolean(output: *mut c_char, end: *mut c_char, value: c_int) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.boolean(value != 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedString(
    output: *mut c_char,
    end: *mut c_char,
    name: Option<&AVal>,
    value: Option<&AVal>,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.named_string(text(name), text(value))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedNumber(
    output: *mut c_char,
    end: *mut c_char,
    name: Option<&AVal>,
    value: f64,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.named_number(text(name), value)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedBoolean(
    output: *mut c_char,
    end: *mut c_char,
    name: Option<&AVal>,
    value: c_int,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.named_boolean(text(name), value != 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Encode(object: Option<&AMFObject>, start: *mut c_char, end: *mut c_char) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.object(object?)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeEcmaArray(
    object: Option<&AMFObject>,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.ecma_array(object?, 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeArray(
    object: Option<&AMFObject>,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.strict_array(object?, 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Encode(
    prop: Option<&AMFObjectProperty>,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.property(prop?)) }
}

/// The first `N` bytes; zeroes for NULL.
///
/// # Safety
/// `data` is NULL or has this many bytes.
unsafe fn first<const N: usize>(data: *const c_char) -> [u8; N] {
    if data.is_null() {
        return [0; N];
    }
    // SAFETY: contract of this function.
    unsafe { data.cast::<[u8; N]>().read_unaligned() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeInt16(data: *const c_char) -> c_ushort {
    // SAFETY: contract.
    u16::from_be_bytes(unsafe { first(data) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeInt24(data: *const c_char) -> c_uint {
    // SAFETY: contract.
    decode::be24(&unsafe { first::<3>(data) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeInt32(data: *const c_char) -> c_uint {
    // SAFETY: contract.
    u32::from_be_bytes(unsafe { first(data) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeNumber(data: *const c_char) -> f64 {
    // SAFETY: contract.
    f64::from_be_bytes(unsafe { first(data) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeBoolean(data: *const c_char) -> c_int {
    // SAFETY: contract.
    (unsafe { first::<1>(data) } != [0]).into()
}

/// Points `out` at the `len` bytes after a length of `head` bytes.
///
/// # Safety
/// The contract of all pointers: `data` is NULL or has this many bytes behind the head, `out` is NULL or may be written.
unsafe fn behind(data: *const c_char, head: usize, len: c_int, out: *mut AVal) {
    let mut string = AVal::NULL;
    if len > 0 {
        // SAFETY: contract of this function.
        let start = unsafe { data.add(head) };
        // SAFETY: as above.
        string = unsafe { AVal::new(start.cast_mut(), len) };
    }
    // SAFETY: as above.
    unsafe { put(out, string) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeString(data: *const c_char, out: *mut AVal) {
    // SAFETY: contract.
    let len = u16::from_be_bytes(unsafe { first(data) });
    // SAFETY: contract: the string follows its length.
    unsafe { behind(data, 2, len.into(), out) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeLongString(data: *const c_char, out: *mut AVal) {
    // SAFETY: contract.
    let len = u32::from_be_bytes(unsafe { first(data) });
    // SAFETY: contract: the string follows its length.
    unsafe { behind(data, 4, len as c_int, out) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Decode(object: *mut AMFObject, buffer: *const c_char, size: c_int, names: c_int) -> c_int {
    guard(-1, || {
        // SAFETY: contract.
        unsafe { put(object, AMFObject::EMPTY) };
        // SAFETY: contract; it holds an object now.
        let Some(object) = (unsafe { object.as_mut() }) else { return -1 };
        // SAFETY: contract.
        let Some(data) = (unsafe { bytes(buffer, size) }) else { return if size <= 0 { 0 } else { -1 } };
        // SAFETY: contract: whoever has the object keeps the data.
        as_int(unsafe { decode::object(object, data, names != 0) })
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
        // SAFETY: contract.
        unsafe { put(object, AMFObject::EMPTY) };
        // SAFETY: contract; it holds an object now.
        let Some(object) = (unsafe { object.as_mut() }) else { return -1 };
        // SAFETY: contract.
        let Some(data) = (unsafe { bytes(buffer, size) }) else { return -1 };
        // SAFETY: contract: whoever has the object keeps the data.
        as_int(unsafe { decode::decode(data, |decoder| decoder.array(object, len, names != 0, 0)) })
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
        if !std::ptr::eq(prop, invalid()) {
            // SAFETY: contract.
            unsafe { put(prop, AMFObjectProperty::INVALID) };
        }
        // SAFETY: contract; it holds a property now.
        let Some(prop) = (unsafe { writable(prop) }) else { return -1 };
        // SAFETY: contract.
        let Some(data) = (unsafe { bytes(buffer, size) }) else { return -1 };
        // SAFETY: contract: whoever has the property keeps the data.
        as_int(unsafe { decode::decode(data, |decoder| decoder.property(prop, names != 0, 0)) })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Dump(object: Option<&AMFObject>) {
    guard((), || object.map(log::object).unwrap_or_default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Reset(object: Option<&mut AMFObject>) {
    guard((), || object.map(AMFObject::reset).unwrap_or_default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_AddProp(object: Option<&mut AMFObject>, prop: Option<&AMFObjectProperty>) {
    guard((), || {
        let (Some(object), Some(prop)) = (object, prop) else { return };
        if !object.add(prop) {
            log::error("AMF: out of memory");
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_CountProp(object: Option<&AMFObject>) -> c_int {
    object.map_or(0, |object| object.count())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_GetProp(
    object: Option<&AMFObject>,
    name: Option<&AVal>,
    index: c_int,
) -> *mut AMFObjectProperty {
    guard(invalid(), || {
        let Some(object) = object else { return invalid() };
        let found = match usize::try_from(index) {
            Ok(index) => object.at(index),
            Err(_) => name.and_then(|name| object.named(name.bytes())),
        };
        found.map_or_else(invalid, |prop| std::ptr::from_ref(prop).cast_mut())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetType(prop: Option<&AMFObjectProperty>) -> c_uint {
    prop.map_or(AMF_INVALID, |prop| prop.p_type)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_IsValid(prop: Option<&AMFObjectProperty>) -> c_int {
    prop.is_some_and(|prop| prop.p_type != AMF_INVALID).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetNumber(prop: Option<&AMFObjectProperty>) -> f64 {
    prop.map_or(0.0, AMFObjectProperty::number)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetBoolean(prop: Option<&AMFObjectProperty>) -> c_int {
    prop.is_some_and(|prop| prop.bits() != 0.0).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetString(prop: Option<&AMFObjectProperty>, out: *mut AVal) {
    let value = prop.filter(|prop| prop.p_type == AMF_STRING).map_or(AVal::NULL, |p| p.string());
    // SAFETY: contract.
    unsafe { put(out, value) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetObject(prop: Option<&AMFObjectProperty>, out: *mut AMFObject) {
    let value = prop.filter(|p| p.p_type == AMF_OBJECT).map_or(AMFObject::EMPTY, |p| p.object());
    // SAFETY: contract.
    unsafe { put(out, value) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetName(prop: Option<&AMFObjectProperty>, out: *mut AVal) {
    let value = prop.map_or(AVal::NULL, |prop| prop.p_name);
    // SAFETY: contract.
    unsafe { put(out, value) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetName(prop: *mut AMFObjectProperty, name: Option<&AVal>) {
    // SAFETY: contract.
    if let (Some(prop), Some(name)) = (unsafe { writable(prop) }, name) {
        prop.p_name = *name;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetNumber(prop: *mut AMFObjectProperty, value: f64) {
    // SAFETY: contract.
    unsafe { set_value(prop, AMF_NUMBER, AMFValue { p_number: value }) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetBoolean(prop: *mut AMFObjectProperty, value: c_int) {
    // SAFETY: contract.
    unsafe { set_value(prop, AMF_BOOLEAN, AMFValue { p_number: f64::from(u8::from(value != 0)) }) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetString(prop: *mut AMFObjectProperty, value: Option<&AVal>) {
    if let Some(value) = value {
        // SAFETY: contract.
        unsafe { set_value(prop, AMF_STRING, AMFValue { p_aval: *value }) };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetObject(prop: *mut AMFObjectProperty, value: Option<&AMFObject>) {
    if let Some(value) = value {
        // SAFETY: contract.
        unsafe { set_value(prop, AMF_OBJECT, AMFValue { p_object: *value }) };
    }
}

/// Sets the value of a property.
///
/// # Safety
/// That of [`writable`]; the value is of this kind.
unsafe fn set_value(prop: *mut AMFObjectProperty, kind: c_uint, value: AMFValue) {
    // SAFETY: contract of this function.
    if let Some(prop) = unsafe { writable(prop) } {
        prop.p_type = kind;
        prop.p_vu = value;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Dump(prop: Option<&AMFObjectProperty>) {
    guard((), || {
        let Some(prop) = prop else { return };
        if log::wants(log::DEBUG) {
            dump_property(prop, 0);
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Reset(prop: *mut AMFObjectProperty) {
    guard((), || {
        // SAFETY: contract.
        let Some(prop) = (unsafe { writable(prop) }) else { return };
        prop.object().reset();
        prop.p_vu = AMFValue { p_aval: AVal::NULL };
        prop.p_type = AMF_INVALID;
    });
}

/// Logs an object, one record for each property.
pub(super) fn dump(object: &AMFObject, depth: u32) {
    log::debug("(object begin)");
    for prop in object.props() {
        dump_property(prop, depth);
    }
    log::debug("(object end)");
}

/// Most bytes of a name and of a value that a dump shows.
const NAME_BYTES: usize = 18;
const VALUE_BYTES: usize = 254;

/// A string up to its first NUL, where C stops printing.
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
