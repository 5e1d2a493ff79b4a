//! AMF3 as far as it occurs in RTMP: one value after AMF0's switch marker 0x11, read into AMF0's [`Value`]s.
//!
//! This module only reads; [`super::amf0`] calls it, and the same limits apply. Strings and class traits may be
//! references into tables, which live as long as the one value; references to objects are not followed, so nothing can
//! point into itself. Source: AMF3 specification 3.1 to 3.15.

use crate::error::{Failure, Result};
use crate::proto::amf::{Header, Text, Token3};
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
    Ok(match reader.rest.token3()? {
        Token3::Undefined => Value::Undefined,
        Token3::Null => Value::Null,
        Token3::Bool(truth) => Value::Bool(truth),
        Token3::Integer(number) => Value::Number(number.into()),
        Token3::Double(number) => Value::Number(number),
        Token3::String(text) => Value::String(tables.string(text)?),
        Token3::Xml(Text::Inline(bytes)) => Value::Xml(bytes),
        Token3::Date(Ok(ms)) => Value::Date(ms, 0),
        Token3::ByteArray(Text::Inline(bytes)) => Value::LongString(bytes),
        Token3::Xml(Text::Reference(index)) | Token3::Date(Err(index)) | Token3::ByteArray(Text::Reference(index)) => {
            Value::Reference(index)
        }
        Token3::Array => array(reader, tables, depth)?,
        Token3::Object => object(reader, tables, depth)?,
        Token3::Unknown(marker) => {
            return Err(Failure::protocol(format!("AMF3 marker 0x{marker:02x} is not supported")));
        }
    })
}

impl<'a> Tables<'a> {
    /// The bytes of a text: looked up if it is a reference, put into the table if it is new.
    fn string(&mut self, text: Text<'a>) -> Result<&'a [u8]> {
        match text {
            Text::Reference(index) => self
                .strings
                .get(usize::from(index))
                .copied()
                .ok_or_else(|| Failure::protocol("an AMF3 string reference points nowhere")),
            Text::Inline(bytes) => {
                if !bytes.is_empty() {
                    self.strings.push(bytes); // the empty string is never put in the table (1.3.2)
                }
                Ok(bytes)
            }
        }
    }
}

fn string<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>) -> Result<&'a [u8]> {
    let text = reader.rest.text3()?;
    tables.string(text)
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
    let dense = match reader.rest.header()? {
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
    // AMF0 has no type for named and numbered values together; commands that use it are read for the names.
    Ok(Value::EcmaArray(u32::try_from(entries.len()).unwrap_or(u32::MAX), entries))
}

fn object<'a>(reader: &mut Reader<'a>, tables: &mut Tables<'a>, depth: u32) -> Result<Value<'a>> {
    let raw = reader.rest.u29()?;
    if raw & 1 == 0 {
        return Ok(Value::Reference(u16::try_from(raw >> 1).unwrap_or(u16::MAX)));
    }
    let index = if raw & 2 == 0 {
        (raw >> 2) as usize
    } else {
        let class = string(reader, tables)?;
        if raw & 4 != 0 {
            // An externalizable class has a form of its own. The two that occur hold exactly one value.
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
