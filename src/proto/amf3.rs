//! AMF3 as far as it occurs in RTMP: one value behind AMF0's switch marker 0x11, read into AMF0's [`Value`]s.
//!
//! Reading only, called by [`super::amf0`] alone and bounded by the same limits. Strings and class traits may be
//! references into tables, which live as long as the one value; references to objects are not followed, so nothing
//! can point into itself. Source: AMF3 specification 3.1 to 3.15.

use crate::error::{Failure, Result};
use crate::proto::amf0::{Entries, Reader, Value};

/// A class: its name, whether more members may follow, and the names of the fixed ones.
struct Traits<'a> {
    class: &'a [u8],
    dynamic: bool,
    members: Vec<&'a [u8]>,
}

/// The tables that references point into.
#[derive(Default)]
struct Tables<'a> {
    strings: Vec<&'a [u8]>,
    traits: Vec<Traits<'a>>,
}

/// Reads the AMF3 value that follows the switch marker.
pub(super) fn read<'a>(reader: &mut Reader<'a>, depth: u32) -> Result<Value<'a>> {
    value(reader, &mut Tables::default(), depth + 1)
}

fn value<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>, depth: u32) -> Result<Value<'a>> {
    reader.spend(depth)?;
    Ok(match reader.byte()? {
        0x00 => Value::Undefined,
        0x01 => Value::Null,
        0x02 => Value::Bool(false),
        0x03 => Value::Bool(true),
        0x04 => {
            let raw = u29(reader)?;
            let signed = if raw >= 1 << 28 { f64::from(raw) - f64::from(1u32 << 29) } else { f64::from(raw) };
            Value::Number(signed)
        }
        0x05 => Value::Number(reader.double()?),
        0x06 => Value::String(string(reader, tables)?),
        0x07 | 0x0b => match header(reader)? {
            Header::Reference(index) => Value::Reference(index),
            Header::Inline(len) => Value::Xml(reader.take(len)?),
        },
        0x08 => match header(reader)? {
            Header::Reference(index) => Value::Reference(index),
            Header::Inline(_) => Value::Date(reader.double()?, 0),
        },
        0x09 => array(reader, tables, depth)?,
        0x0a => object(reader, tables, depth)?,
        0x0c => match header(reader)? {
            Header::Reference(index) => Value::Reference(index),
            Header::Inline(len) => Value::LongString(reader.take(len)?),
        },
        marker => return Err(Failure::protocol(format!("AMF3 marker 0x{marker:02x} is not supported"))),
    })
}

/// A U29 whose lowest bit says whether a value follows or an earlier one is meant.
enum Header {
    Inline(usize),
    Reference(u16),
}

fn header(reader: &mut Reader<'_>) -> Result<Header> {
    let raw = u29(reader)?;
    Ok(if raw & 1 == 1 {
        Header::Inline((raw >> 1) as usize)
    } else {
        Header::Reference(u16::try_from(raw >> 1).unwrap_or(u16::MAX))
    })
}

/// One to four bytes, seven bits each but for the last, which has eight (1.3.1).
fn u29(reader: &mut Reader<'_>) -> Result<u32> {
    let mut number = 0;
    for _ in 0..3 {
        let byte = u32::from(reader.byte()?);
        if byte & 0x80 == 0 {
            return Ok(number << 7 | byte);
        }
        number = number << 7 | byte & 0x7f;
    }
    Ok(number << 8 | u32::from(reader.byte()?))
}

fn string<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>) -> Result<&'a [u8]> {
    match header(reader)? {
        Header::Reference(index) => tables
            .strings
            .get(usize::from(index))
            .copied()
            .ok_or_else(|| Failure::protocol("an AMF3 string reference points nowhere")),
        Header::Inline(len) => {
            let bytes = reader.take(len)?;
            if len > 0 {
                tables.strings.push(bytes); // the empty string is never put in the table (1.3.2)
            }
            Ok(bytes)
        }
    }
}

/// Named values up to an empty name.
fn named<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>, depth: u32, entries: &mut Entries<'a>) -> Result<()> {
    loop {
        let name = string(reader, tables)?;
        if name.is_empty() {
            return Ok(());
        }
        entries.push((name, value(reader, tables, depth + 1)?));
    }
}

fn array<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>, depth: u32) -> Result<Value<'a>> {
    let dense = match header(reader)? {
        Header::Reference(index) => return Ok(Value::Reference(index)),
        Header::Inline(count) => count,
    };
    let mut entries = Vec::new();
    named(reader, tables, depth, &mut entries)?;
    let mut values = Vec::new();
    for _ in 0..dense {
        values.push(value(reader, tables, depth + 1)?);
    }
    if entries.is_empty() {
        return Ok(Value::Array(values));
    }
    // Named and numbered values together: AMF0 has no such thing; commands that use it are read for the names.
    Ok(Value::EcmaArray(u32::try_from(entries.len()).unwrap_or(u32::MAX), entries))
}

fn object<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>, depth: u32) -> Result<Value<'a>> {
    let raw = u29(reader)?;
    if raw & 1 == 0 {
        return Ok(Value::Reference(u16::try_from(raw >> 1).unwrap_or(u16::MAX)));
    }
    let index = if raw & 2 == 0 {
        (raw >> 2) as usize
    } else {
        let class = string(reader, tables)?;
        if raw & 4 != 0 {
            // Externalizable: the class alone knows its form. The two that occur hold exactly one value.
            if class.ends_with(b".ArrayCollection") || class.ends_with(b".ObjectProxy") {
                return value(reader, tables, depth + 1);
            }
            return Err(Failure::protocol("an AMF3 object of a class that only Flash can read"));
        }
        let mut members = Vec::new();
        for _ in 0..raw >> 4 {
            reader.spend(depth)?;
            members.push(string(reader, tables)?);
        }
        tables.traits.push(Traits { class, dynamic: raw & 8 != 0, members });
        tables.traits.len() - 1
    };
    let traits = tables.traits.get(index).ok_or_else(|| Failure::protocol("an AMF3 class reference points nowhere"))?;
    let (class, dynamic, count) = (traits.class, traits.dynamic, traits.members.len());
    let mut entries = Vec::new();
    for member in 0..count {
        let name = tables.traits[index].members[member];
        entries.push((name, value(reader, tables, depth + 1)?));
    }
    if dynamic {
        named(reader, tables, depth, &mut entries)?;
    }
    Ok(if class.is_empty() { Value::Object(entries) } else { Value::Typed(class, entries) })
}
