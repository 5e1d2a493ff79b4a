//! The settings as the OpenAPI document describes them. What a setting may be comes from the check that reads it
//! ([`Shape`]), its default from the config struct, and its words from the comment of the struct's field. A default is
//! the property's `default` only where what is left out has it; elsewhere the words name it.

use std::mem::take;

use serde_json::{Value as Json, json};
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{Number, PartialSchema, ToSchema};

use super::{StreamSettings, TargetChanges, TargetSettings};
use crate::config::{Shape, StreamConfig, TargetConfig, Value};

impl ToSchema for StreamSettings {}

impl PartialSchema for StreamSettings {
    fn schema() -> RefOr<Schema> {
        let words = "Settings by the names of `rr_stream_config`: `null` is the default, `\"off\"` turns one off.";
        let example = json!({"publisher_policy": "takeover", "grace_ms": 10000});
        let mut settings = Settings::new(words, example, LeftOut::Stays, StreamConfig::schema());
        StreamConfig::default().each_setting(|name, default| settings.add(name, StreamConfig::shape(name), &default));
        settings.object.into()
    }
}

impl ToSchema for TargetSettings {}

impl PartialSchema for TargetSettings {
    fn schema() -> RefOr<Schema> {
        let words = "Settings by the names of `rr_target_config`: `null` is the default, `\"off\"` turns one off.";
        let example = json!({"url": "rtmp://127.0.0.1:1936/live", "key": "show"});
        let settings = of_target(words, example, LeftOut::HasDefault);
        settings.required.into_iter().fold(settings.object, ObjectBuilder::required).into()
    }
}

impl ToSchema for TargetChanges {}

impl PartialSchema for TargetChanges {
    fn schema() -> RefOr<Schema> {
        let words = "Settings that change, in the form of `TargetSettings`; the others stay.";
        of_target(words, json!({"media": ["audio"], "max_kbps": 3000}), LeftOut::Stays).object.into()
    }
}

fn of_target(words: &str, example: Json, left_out: LeftOut) -> Settings {
    let mut settings = Settings::new(words, example, left_out, TargetConfig::schema());
    TargetConfig::default().each_setting(|name, default| settings.add(name, TargetConfig::shape(name), &default));
    settings
}

/// What becomes of a setting that a request leaves out.
#[derive(Clone, Copy)]
enum LeftOut {
    /// It has its default.
    HasDefault,
    /// It stays as it is, or as the server has it.
    Stays,
}

/// An object whose properties are settings.
struct Settings {
    object: ObjectBuilder,
    /// Those that must be given.
    required: Vec<&'static str>,
    left_out: LeftOut,
    /// The schema of the config struct, made from the comments of its fields: the words of the properties.
    fields: RefOr<Schema>,
}

impl Settings {
    fn new(words: &str, example: Json, left_out: LeftOut, fields: RefOr<Schema>) -> Self {
        let object = ObjectBuilder::new().description(Some(words)).examples([example]);
        let object = object.additional_properties(Some(AdditionalProperties::FreeForm(false)));
        Self { object, required: Vec::new(), left_out, fields }
    }

    fn add(&mut self, name: &'static str, shape: Option<Shape>, default: &Value<'_>) {
        let Some(shape) = shape else { return };
        let mut words = self.words_of(name);
        let default = shown(&shape, default);
        match self.left_out {
            _ if matches!(shape, Shape::Text { required: true, .. }) => self.required.push(name),
            LeftOut::HasDefault => words.default = Some(default),
            LeftOut::Stays if default.is_null() => {}
            LeftOut::Stays => {
                words.description = words.description.map(|words| format!("{words} The default is `{default}`."));
            }
        }
        self.object = take(&mut self.object).property(name, property(&shape, words));
    }

    fn words_of(&self, name: &str) -> Words {
        let RefOr::T(Schema::Object(fields)) = &self.fields else { return Words::default() };
        let (description, example) = match fields.properties.get(name) {
            Some(RefOr::T(Schema::Object(field))) => (field.description.clone(), field.example.clone()),
            Some(RefOr::T(Schema::Array(field))) => (field.description.clone(), field.example.clone()),
            _ => (None, None),
        };
        Words { description, example, default: None }
    }
}

/// The parts of a property that do not depend on its type.
#[derive(Default)]
struct Words {
    description: Option<String>,
    example: Option<Json>,
    default: Option<Json>,
}

/// A value in JSON.
fn shown(shape: &Shape, value: &Value<'_>) -> Json {
    match (value, shape) {
        (Value::Default | Value::Bytes(_), _) => Json::Null,
        (Value::Off, _) => json!("off"),
        (Value::Flag(flag), _) => json!(flag),
        (Value::Text(text), _) => json!(text),
        (Value::Texts(texts), _) => json!(texts),
        (Value::Number(given), Shape::Choice(names)) => {
            names.iter().find(|(number, _)| i128::from(*number) == *given).map_or(Json::Null, |(_, name)| json!(name))
        }
        (Value::Number(given), Shape::Bits(names)) => {
            names.iter().filter(|(bit, _)| given & i128::from(*bit) != 0).map(|(_, name)| *name).collect()
        }
        (Value::Number(number), _) => number_of(*number),
    }
}

/// A number of a setting; the largest that a setting can have is that of 64 bits.
fn number_of<N: From<i64> + From<u64>>(number: i128) -> N {
    i64::try_from(number).map_or_else(|_| u64::try_from(number).unwrap_or(u64::MAX).into(), N::from)
}

fn property(shape: &Shape, words: Words) -> Schema {
    let Words { description, example, default } = words;
    let or_null = |kind| SchemaType::from_iter([kind, Type::Null]);
    let plain = ObjectBuilder::new();
    let object = match shape {
        Shape::Number { from, to, off: true } => {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            let off = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["off"]));
            let either = OneOfBuilder::new()
                .item(number.minimum(Some(number_of::<Number>(*from))).maximum(Some(number_of::<Number>(*to))))
                .item(off)
                .item(ObjectBuilder::new().schema_type(Type::Null));
            return either.description(description).examples(example).default(default).into();
        }
        Shape::Address => {
            let address = |format| {
                let format = Some(SchemaFormat::KnownFormat(format));
                ObjectBuilder::new().schema_type(Type::String).format(format)
            };
            let either = OneOfBuilder::new()
                .item(address(KnownFormat::Ipv4))
                .item(address(KnownFormat::Ipv6))
                .item(ObjectBuilder::new().schema_type(Type::Null));
            return either.description(description).examples(example).default(default).into();
        }
        Shape::Bits(names) => {
            let names = names.iter().map(|(_, name)| *name);
            let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
            return list(name).description(description).examples(example).default(default).into();
        }
        Shape::Texts { count, bytes } => {
            let text = ObjectBuilder::new().schema_type(Type::String).max_length(*bytes);
            return list(text)
                .max_items(Some(*count))
                .description(description)
                .examples(example)
                .default(default)
                .into();
        }
        Shape::Number { from, to, off: false } => plain
            .schema_type(or_null(Type::Integer))
            .minimum(Some(number_of::<Number>(*from)))
            .maximum(Some(number_of::<Number>(*to))),
        Shape::Choice(names) => {
            let names = names.iter().map(|(_, name)| json!(name)).chain([Json::Null]);
            plain.schema_type(or_null(Type::String)).enum_values(Some(names))
        }
        Shape::Flag => plain.schema_type(or_null(Type::Boolean)),
        Shape::Text { bytes, required: true } => plain.schema_type(Type::String).max_length(*bytes),
        Shape::Text { bytes, required: false } => plain.schema_type(or_null(Type::String)).max_length(*bytes),
    };
    object.description(description).examples(example).default(default).into()
}

fn list(item: ObjectBuilder) -> ArrayBuilder {
    Array::builder().schema_type(SchemaType::from_iter([Type::Array, Type::Null])).items(item)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::error::Result;
    use crate::rest::settings::{each, object, whole};

    /// Settings of a kind: how the document describes them, and how they are set.
    struct Kind {
        schema: Json,
        shape: fn(&str) -> Option<Shape>,
        set: fn(&str, Value<'_>) -> Result<()>,
    }

    impl Kind {
        fn all() -> [Self; 3] {
            let set_stream: fn(&str, Value<'_>) -> _ = |name, value| StreamConfig::default().set(name, value);
            let set_target: fn(&str, Value<'_>) -> _ = |name, value| TargetConfig::default().set(name, value);
            [
                (StreamSettings::schema(), StreamConfig::shape as fn(&str) -> _, set_stream),
                (TargetSettings::schema(), TargetConfig::shape, set_target),
                (TargetChanges::schema(), TargetConfig::shape, set_target),
            ]
            .map(|(schema, shape, set)| Self { schema: serde_json::to_value(schema).unwrap(), shape, set })
        }

        fn properties(&self) -> &serde_json::Map<String, Json> {
            self.schema["properties"].as_object().unwrap()
        }

        /// Whether it is accepted in a body, however it is written.
        fn accepts(&self, name: &str, value: &Json) -> bool {
            let reads = |body: &str| {
                object::<serde_json::Map<_, _>>(body.as_bytes())
                    .is_ok_and(|object| each(&object, self.shape, self.set).is_ok())
            };
            let shortest = json!({ name: value }).to_string();
            let accepted = reads(&shortest);
            assert_eq!(reads(&longest(&shortest)), accepted, "{shortest} as it is written longest");
            accepted
        }
    }

    /// JSON without escapes with an escape for each character of its texts.
    fn longest(json: &str) -> String {
        let mut in_text = false;
        let escaped = |character: char| {
            in_text ^= character == '"';
            if in_text && character != '"' { format!("\\u{:04x}", u32::from(character)) } else { character.into() }
        };
        json.chars().map(escaped).collect()
    }

    /// Whether a value is valid by a schema, as far as these schemas go.
    fn is_valid(schema: &Json, value: &Json) -> bool {
        if let Some(list) = schema["oneOf"].as_array() {
            return list.iter().filter(|schema| is_valid(schema, value)).count() == 1;
        }
        let kind = match value {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(number) if whole(number).is_none() => "number",
            Json::Number(_) => "integer",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        };
        let is_type =
            schema["type"] == kind || schema["type"].as_array().is_some_and(|kinds| kinds.contains(&kind.into()));
        let is_named = schema["enum"].as_array().is_none_or(|names| names.contains(value));
        let number = |value: &Json| value.as_number().and_then(whole);
        let at_least = number(&schema["minimum"]).is_none_or(|least| number(value).is_none_or(|value| value >= least));
        let at_most = number(&schema["maximum"]).is_none_or(|most| number(value).is_none_or(|value| value <= most));
        let most = |name: &str, size: usize| schema[name].as_u64().is_none_or(|most| size as u64 <= most);
        let fits = match value {
            Json::String(text) => {
                let of_format = match schema["format"].as_str() {
                    Some("ipv4") => text.parse::<Ipv4Addr>().is_ok(),
                    Some("ipv6") => text.parse::<Ipv6Addr>().is_ok(),
                    other => other.is_none(),
                };
                of_format && most("maxLength", text.len())
            }
            Json::Array(list) => {
                most("maxItems", list.len()) && list.iter().all(|item| is_valid(&schema["items"], item))
            }
            _ => true,
        };
        is_type && is_named && at_least && at_most && fits
    }

    /// Values to try for a property: those at its bounds, those just beyond, and those of other types.
    fn tried(property: &Json) -> Vec<Json> {
        let mut values =
            vec![json!(null), json!(true), json!(1.5), json!("off"), json!("smell"), json!({}), json!([1])];
        values.extend([json!("192.0.2.7"), json!("::1"), json!("0-3,8"), json!([]), json!(["audio", "data"])]);
        values.extend([json!(-1), json!(0), json!(1), json!(128.0), json!(7), json!(u32::MAX), json!(u64::MAX)]);
        for schema in [property].into_iter().chain(property["oneOf"].as_array().into_iter().flatten()) {
            values.extend(schema["enum"].as_array().cloned().unwrap_or_default());
            for bound in [&schema["minimum"], &schema["maximum"]] {
                values
                    .extend(bound.as_i64().into_iter().flat_map(|bound| [bound - 1, bound, bound + 1]).map(Json::from));
            }
            let texts = |bytes: u64| [bytes, bytes + 1].map(|bytes| "x".repeat(bytes as usize));
            values.extend(schema["maxLength"].as_u64().into_iter().flat_map(texts).map(Json::from));
            let long = schema["items"]["maxLength"].as_u64();
            values.extend(long.into_iter().flat_map(texts).map(|text| json!([text])));
            let lists = |items: u64| [items, items + 1].map(|items| json!(vec!["x"; items as usize]));
            values.extend(schema["maxItems"].as_u64().into_iter().flat_map(lists));
        }
        values
    }

    #[test]
    fn a_setting_is_accepted_where_the_document_allows_it_and_nowhere_else() {
        for kind in Kind::all() {
            for (name, property) in kind.properties() {
                for value in tried(property) {
                    let (valid, accepted) = (is_valid(property, &value), kind.accepts(name, &value));
                    // The form of a list of CPUs is only described in words.
                    let of_form = name != "cpus" || !value.is_string();
                    assert!(valid == accepted || (valid && !of_form), "{name}: {value} is valid: {valid}");
                }
                assert!(property["description"].is_string(), "{name} has no words");
            }
        }
    }

    #[test]
    fn the_document_has_all_settings_and_no_others() {
        let [stream, target, changes] = Kind::all();
        for (kind, fields) in [(&stream, StreamConfig::schema()), (&target, TargetConfig::schema())] {
            let fields = serde_json::to_value(fields).unwrap();
            let names: BTreeSet<&String> = kind.properties().keys().collect();
            assert_eq!(names, fields["properties"].as_object().unwrap().keys().collect(), "each field is a setting");
            assert_eq!(kind.schema["additionalProperties"], false);
            assert!(!kind.accepts("smell", &Json::Null));
        }
        assert!(changes.properties().keys().eq(target.properties().keys()));
        assert_eq!((&target.schema["required"], &changes.schema["required"]), (&json!(["url"]), &Json::Null));
        assert_eq!(stream.properties()["start"]["enum"], json!(["key", "gop", "now", null]));
        assert_eq!(stream.properties()["queue_ms"]["minimum"], 100);
        assert_eq!(target.properties()["media"]["default"], json!(["audio", "video", "data"]));
        assert_eq!(target.properties()["tracks"]["maximum"], u64::MAX);
    }

    #[test]
    fn a_default_is_that_of_what_is_left_out() {
        let [stream, target, changes] = Kind::all();
        for (name, property) in target.properties() {
            assert!(name == "url" || is_valid(property, &property["default"]), "{name}: {}", property["default"]);
        }
        for kind in [&stream, &changes] {
            let with_default = kind.properties().iter().find(|(_, property)| property.get("default").is_some());
            assert_eq!(with_default, None, "what is left out stays");
        }
        let words = stream.properties()["args"]["description"].as_str().unwrap();
        assert!(words.ends_with(". The default is `\"apart\"`."), "{words}");
    }
}
