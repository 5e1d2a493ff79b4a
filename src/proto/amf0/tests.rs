//! Tests of the AMF readers and the encoder, most of them by the table in `tests/vectors/amf0.txt`.

use super::*;
use crate::fuzzing::tables::table;

const TABLE: &str = include_str!("../../../tests/vectors/amf0.txt");

/// A value as the tables write it.
pub(crate) fn notation(value: &Value<'_>) -> String {
    fn text(bytes: &[u8]) -> String {
        let escape = |chunk: std::str::Utf8Chunk<'_>| {
            let bad: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
            let good = chunk.valid().chars();
            let good: String =
                good.map(|c| if c.is_control() { format!("\\x{:02x}", c as u32) } else { c.into() }).collect();
            good + &bad
        };
        bytes.utf8_chunks().map(escape).collect()
    }
    fn entries(entries: &[(&[u8], Value<'_>)]) -> String {
        let list: Vec<String> =
            entries.iter().map(|(name, value)| format!("{}: {}", text(name), notation(value))).collect();
        format!("{{{}}}", list.join(", "))
    }
    match value {
        Value::Number(number) => format!("{number}"),
        Value::Bool(truth) => format!("{truth}"),
        Value::String(bytes) => format!("\"{}\"", text(bytes)),
        Value::Object(list) => entries(list),
        Value::MovieClip => "movieclip".into(),
        Value::Null => "null".into(),
        Value::Undefined => "undefined".into(),
        Value::Reference(index) => format!("ref({index})"),
        Value::EcmaArray(count, list) => format!("ecma({count}){}", entries(list)),
        Value::Array(values) => format!("[{}]", values.iter().map(notation).collect::<Vec<_>>().join(", ")),
        Value::Date(ms, zone) => format!("date({ms}, {zone})"),
        Value::LongString(bytes) => format!("long\"{}\"", text(bytes)),
        Value::Unsupported => "unsupported".into(),
        Value::RecordSet => "recordset".into(),
        Value::Xml(bytes) => format!("xml\"{}\"", text(bytes)),
        Value::Typed(class, list) => format!("{}{}", text(class), entries(list)),
    }
}

fn read_all(data: &[u8]) -> Result<Vec<Value<'_>>> {
    let mut values = Vec::new();
    read_values(data, &LIMITS, &mut values).map(|()| values)
}

#[test]
fn every_value_of_the_table_is_read_whole_and_written_back_the_same() {
    for vector in table(TABLE) {
        let (value, used) = read_value(&vector.bytes, &LIMITS).unwrap();
        assert_eq!(notation(&value), vector.meaning, "{}", vector.name);
        assert_eq!(used, vector.bytes.len(), "{}", vector.name);
        if vector.two_way() {
            let mut out = Vec::new();
            write_value(&value, &mut out);
            assert_eq!(out, vector.bytes, "{}", vector.name);
        }
    }
}

#[test]
fn every_value_cut_short_is_an_error_or_the_forgiven_missing_end_and_never_a_panic() {
    for vector in table(TABLE) {
        for len in 0..vector.bytes.len() {
            if let Err(failure) = read_value(&vector.bytes[..len], &LIMITS) {
                assert_eq!(failure.kind, RRError::Protocol, "{} at {len}", vector.name);
            }
        }
    }
}

#[test]
fn values_read_before_an_error_are_kept() {
    let mut values = Vec::new();
    let failure = read_values(&[0x05, 0x01, 0x01, 0x42], &LIMITS, &mut values).unwrap_err();
    assert_eq!((failure.kind, values), (RRError::Protocol, vec![Value::Null, Value::Bool(true)]));
}

#[test]
fn a_nest_of_ten_thousand_is_refused_in_every_form_before_the_stack_is_in_danger() {
    let forms: [&[u8]; 4] = [b"\x0a\0\0\0\x01", b"\x03\0\x01a", b"\x08\0\0\0\x01\0\x01a", b"\x10\0\x01C\0\x01a"];
    for form in forms {
        assert_eq!(read_all(&form.repeat(10_000)).unwrap_err().kind, RRError::Limit);
        read_all(&form.repeat(32)).unwrap_err(); // cut off, but not too deep
    }
    let amf3 = [&[0x11][..], &[0x09, 0x03, 0x01].repeat(10_000)].concat();
    assert_eq!(read_all(&amf3).unwrap_err().kind, RRError::Limit);
    let amf3 = [&[0x11][..], &[0x0a, 0x0b, 0x01, 0x03, b'a'].repeat(10_000)].concat();
    assert_eq!(read_all(&amf3).unwrap_err().kind, RRError::Limit);
    let thirty_two = [&[0x0a, 0, 0, 0, 1].repeat(32)[..], &[0x05]].concat();
    assert_eq!(read_all(&thirty_two).unwrap().len(), 1, "the depth that is promised");
}

#[test]
fn sixteen_megabytes_of_nulls_cost_no_more_than_the_limit() {
    let nulls = vec![0x05; 16 << 20];
    let mut values = Vec::new();
    assert_eq!(read_values(&nulls, &LIMITS, &mut values).unwrap_err().kind, RRError::Limit);
    assert_eq!(values.len(), 4096);
    let array = [&[0x0a, 0xff, 0xff, 0xff, 0xff][..], &nulls].concat();
    assert_eq!(read_all(&array).unwrap_err().kind, RRError::Limit);
}

#[test]
fn claimed_counts_and_lengths_reserve_nothing() {
    for claim in
        [&b"\x0a\xff\xff\xff\xff"[..], b"\x0c\xff\xff\xff\xff", b"\x02\xff\xff", b"\x11\x09\xff\xff\xff\xff\x01"]
    {
        assert_eq!(read_all(claim).unwrap_err().kind, RRError::Protocol);
    }
    let traits = b"\x11\x0a\xff\xff\xff\xf3\x01"; // half a billion members that are not there
    assert_eq!(read_all(traits).unwrap_err().kind, RRError::Protocol);
}

#[test]
fn a_string_too_long_for_its_length_field_becomes_a_long_string() {
    let long = vec![b'x'; 65_536];
    let mut out = Vec::new();
    write_value(&Value::String(&long), &mut out);
    assert_eq!(read_all(&out).unwrap(), [Value::LongString(&long)]);
}

#[test]
fn lookups_find_the_first_of_a_name_in_any_kind_of_object() {
    let object = Value::EcmaArray(0, vec![(b"a", Value::Number(1.0)), (b"a", Value::Null), (b"b", Value::Bool(true))]);
    assert_eq!(object.get("a").and_then(Value::as_number), Some(1.0));
    assert_eq!(object.get("b").and_then(Value::as_bool), Some(true));
    assert_eq!(object.get("c"), None);
    assert_eq!(Value::Null.get("a"), None);
}
