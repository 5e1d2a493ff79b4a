//! The exports of `amf.h`: pointers in, one call, pointers out. Also the dump, which goes to the log.

use std::ffi::{c_char, c_int, c_short, c_uint, c_ushort};

use super::amf::MAX_DEPTH;
use super::amf_decode::{self as decode, as_int};
use super::amf_encode::Output;
use super::amf3::data;
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
///
/// # Safety
/// The contract of all pointers.
unsafe fn writable<'a>(prop: *mut AMFObjectProperty) -> Option<&'a mut AMFObjectProperty> {
    if std::ptr::eq(prop, invalid()) {
        return None;
    }
    // SAFETY: contract.
    unsafe { prop.as_mut() }
}

/// Runs an encoder on the room between two pointers and gives the pointer after what it wrote, or NULL.
///
/// # Safety
/// The contract of all pointers; what lies between the two is writable.
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
///
/// # Safety
/// The contract of all pointers.
unsafe fn text<'a>(text: *const AVal) -> &'a [u8] {
    // SAFETY: contract.
    unsafe { text.as_ref() }.map_or(&[], |text| text.long_bytes())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeString(output: *mut c_char, end: *mut c_char, value: *const AVal) -> *mut c_char {
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
    name: *const AVal,
    value: *const AVal,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.named_string(text(name), text(value))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedNumber(
    output: *mut c_char,
    end: *mut c_char,
    name: *const AVal,
    value: f64,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.named_number(text(name), value)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeNamedBoolean(
    output: *mut c_char,
    end: *mut c_char,
    name: *const AVal,
    value: c_int,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(output, end, |output| output.named_boolean(text(name), value != 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Encode(object: *mut AMFObject, start: *mut c_char, end: *mut c_char) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.object(object.as_ref()?)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeEcmaArray(
    object: *mut AMFObject,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.ecma_array(object.as_ref()?, 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_EncodeArray(object: *mut AMFObject, start: *mut c_char, end: *mut c_char) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.strict_array(object.as_ref()?, 0)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Encode(
    prop: *mut AMFObjectProperty,
    start: *mut c_char,
    end: *mut c_char,
) -> *mut c_char {
    // SAFETY: contract.
    unsafe { encode(start, end, |output| output.property(prop.as_ref()?)) }
}

/// The first `N` bytes; zeroes for NULL.
///
/// # Safety
/// The contract of all pointers; `N` bytes are readable.
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

/// Points `out` at the `len` bytes behind a length of `head` bytes.
///
/// # Safety
/// The contract of all pointers.
unsafe fn behind(data: *const c_char, head: usize, len: c_int, out: *mut AVal) {
    // SAFETY: contract.
    let Some(out) = (unsafe { out.as_mut() }) else { return };
    *out = AVal::NULL;
    if len > 0 {
        // SAFETY: contract: the string follows its length.
        let start = unsafe { data.add(head) };
        *out = AVal { av_val: start.cast_mut(), av_len: len };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeString(data: *const c_char, out: *mut AVal) {
    // SAFETY: contract.
    unsafe { behind(data, 2, AMF_DecodeInt16(data).into(), out) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_DecodeLongString(data: *const c_char, out: *mut AVal) {
    // SAFETY: contract.
    unsafe { behind(data, 4, AMF_DecodeInt32(data) as c_int, out) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Decode(object: *mut AMFObject, buffer: *const c_char, size: c_int, names: c_int) -> c_int {
    guard(-1, || {
        // SAFETY: contract.
        let Some(object) = (unsafe { object.as_mut() }) else { return -1 };
        *object = AMFObject::EMPTY;
        // SAFETY: contract.
        let Some(data) = (unsafe { data(buffer, size) }) else { return if size == 0 { 0 } else { -1 } };
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
        // SAFETY: contract.
        let Some(object) = (unsafe { object.as_mut() }) else { return -1 };
        *object = AMFObject::EMPTY;
        // SAFETY: contract.
        let Some(data) = (unsafe { data(buffer, size) }) else { return -1 };
        as_int(decode::array_at(object, data, u32::try_from(len).unwrap_or(0), names != 0, 0))
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
        // SAFETY: contract.
        let Some(prop) = (unsafe { writable(prop) }) else { return -1 };
        *prop = AMFObjectProperty::INVALID;
        // SAFETY: contract.
        let Some(data) = (unsafe { data(buffer, size) }) else { return -1 };
        as_int(decode::property_at(prop, data, names != 0, 0))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Dump(object: *mut AMFObject) {
    // SAFETY: contract.
    guard((), || unsafe { object.as_ref() }.map(log::object).unwrap_or_default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_Reset(object: *mut AMFObject) {
    // SAFETY: contract.
    guard((), || unsafe { object.as_mut() }.map(AMFObject::reset).unwrap_or_default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_AddProp(object: *mut AMFObject, prop: *const AMFObjectProperty) {
    guard((), || {
        // SAFETY: contract.
        let Some(object) = (unsafe { object.as_mut() }) else { return };
        // SAFETY: contract.
        let Some(prop) = (unsafe { prop.as_ref() }) else { return };
        if !object.add(prop) {
            log::error("AMF: out of memory");
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_CountProp(object: *mut AMFObject) -> c_int {
    // SAFETY: contract.
    unsafe { object.as_ref() }.map_or(0, |object| object.o_num)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMF_GetProp(
    object: *mut AMFObject,
    name: *const AVal,
    index: c_int,
) -> *mut AMFObjectProperty {
    guard(invalid(), || {
        // SAFETY: contract.
        let Some(object) = (unsafe { object.as_ref() }) else { return invalid() };
        let found = match usize::try_from(index) {
            Ok(index) => object.at(index),
            // SAFETY: contract.
            Err(_) => unsafe { name.as_ref() }.and_then(|name| object.named(name.bytes())),
        };
        found.map_or(invalid(), |prop| std::ptr::from_ref(prop).cast_mut())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetType(prop: *mut AMFObjectProperty) -> c_uint {
    // SAFETY: contract.
    unsafe { prop.as_ref() }.map_or(AMF_INVALID, |prop| prop.p_type)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_IsValid(prop: *mut AMFObjectProperty) -> c_int {
    // SAFETY: contract.
    unsafe { prop.as_ref() }.is_some_and(|prop| prop.p_type != AMF_INVALID).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetNumber(prop: *mut AMFObjectProperty) -> f64 {
    // SAFETY: contract.
    unsafe { prop.as_ref() }.map_or(0.0, AMFObjectProperty::number)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetBoolean(prop: *mut AMFObjectProperty) -> c_int {
    // SAFETY: contract.
    unsafe { prop.as_ref() }.is_some_and(|prop| prop.number() != 0.0).into()
}

/// Writes a result where the program wants it.
///
/// # Safety
/// The contract of all pointers.
unsafe fn set<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: contract; what was there is the program's plain data.
        unsafe { out.write(value) };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetString(prop: *mut AMFObjectProperty, out: *mut AVal) {
    // SAFETY: contract.
    let value = unsafe { prop.as_ref() }.filter(|prop| prop.p_type == AMF_STRING).map_or(AVal::NULL, |p| p.string());
    // SAFETY: contract.
    unsafe { set(out, value) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetObject(prop: *mut AMFObjectProperty, out: *mut AMFObject) {
    // SAFETY: contract.
    let value = unsafe { prop.as_ref() }.filter(|p| p.p_type == AMF_OBJECT).map_or(AMFObject::EMPTY, |p| p.object());
    // SAFETY: contract.
    unsafe { set(out, value) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_GetName(prop: *mut AMFObjectProperty, out: *mut AVal) {
    // SAFETY: contract.
    let value = unsafe { prop.as_ref() }.map_or(AVal::NULL, |prop| prop.p_name);
    // SAFETY: contract.
    unsafe { set(out, value) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetName(prop: *mut AMFObjectProperty, name: *const AVal) {
    // SAFETY: contract.
    if let (Some(prop), Some(name)) = unsafe { (writable(prop), name.as_ref()) } {
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
pub unsafe extern "C" fn AMFProp_SetString(prop: *mut AMFObjectProperty, value: *const AVal) {
    // SAFETY: contract.
    if let Some(value) = unsafe { value.as_ref() } {
        // SAFETY: contract.
        unsafe { set_value(prop, AMF_STRING, AMFValue { p_aval: *value }) };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_SetObject(prop: *mut AMFObjectProperty, value: *const AMFObject) {
    // SAFETY: contract.
    if let Some(value) = unsafe { value.as_ref() } {
        // SAFETY: contract.
        unsafe { set_value(prop, AMF_OBJECT, AMFValue { p_object: *value }) };
    }
}

/// # Safety
/// The contract of all pointers.
unsafe fn set_value(prop: *mut AMFObjectProperty, kind: c_uint, value: AMFValue) {
    // SAFETY: contract.
    if let Some(prop) = unsafe { writable(prop) } {
        prop.p_type = kind;
        prop.p_vu = value;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn AMFProp_Dump(prop: *mut AMFObjectProperty) {
    guard((), || {
        // SAFETY: contract.
        let Some(prop) = (unsafe { prop.as_ref() }) else { return };
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

/// Logs an object, a property a record.
pub(super) fn dump(object: &AMFObject, depth: u32) {
    log::debug("(object begin)");
    for prop in object.props() {
        dump_property(prop, depth);
    }
    log::debug("(object end)");
}

/// Longest name a dump shows.
const NAME_BYTES: usize = 18;

fn dump_property(prop: &AMFObjectProperty, depth: u32) {
    let name = prop.p_name.bytes();
    let name = if name.is_empty() { &b"no-name."[..] } else { &name[..name.len().min(NAME_BYTES)] };
    let name = format!("Name: {:>18}, ", String::from_utf8_lossy(name));
    let value = match prop.p_type {
        AMF_OBJECT => "OBJECT".to_owned(),
        AMF_ECMA_ARRAY => "ECMA_ARRAY".to_owned(),
        AMF_STRICT_ARRAY => "STRICT_ARRAY".to_owned(),
        AMF_NUMBER => format!("NUMBER:\t{:.2}", prop.number()),
        AMF_BOOLEAN => format!("BOOLEAN:\t{}", if prop.number() == 0.0 { "FALSE" } else { "TRUE" }),
        AMF_STRING => format!("STRING:\t{}", prop.string().shown().chars().take(255).collect::<String>()),
        AMF_DATE => format!("DATE:\ttimestamp: {:.2}, UTC offset: {}", prop.number(), prop.p_UTCoffset),
        AMF_NULL => "NULL".to_owned(),
        AMF_INVALID => "INVALID".to_owned(),
        kind => format!("INVALID TYPE 0x{kind:02x}"),
    };
    log::debug(&format!("Property: <{name}{value}>"));
    if matches!(prop.p_type, AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY) && depth < MAX_DEPTH {
        dump(&prop.object(), depth + 1);
    }
}
