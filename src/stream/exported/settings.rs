//! Settings in a state, by their names: a library passes over those that it does not know, and those that a state lacks
//! have their defaults.

use minicbor::{Decode, Encode};

use crate::config::Value;
use crate::error::Result;

/// A setting by its name.
#[derive(Debug, Encode, Decode)]
pub(super) struct SettingState<'a> {
    #[b(0)]
    name: &'a str,
    #[b(1)]
    value: ValueState<'a>,
}

#[derive(Debug, Encode, Decode)]
enum ValueState<'a> {
    #[n(0)]
    Default,
    #[n(1)]
    Off,
    #[n(2)]
    Number(#[n(0)] i64),
    #[n(3)]
    Text(#[b(0)] &'a str),
    #[n(4)]
    Flag(#[n(0)] bool),
    /// A number above those of [`Self::Number`].
    #[n(5)]
    Large(#[n(0)] u64),
    #[n(6)]
    Bytes(
        #[b(0)]
        #[cbor(with = "minicbor::bytes")]
        &'a [u8],
    ),
    #[n(7)]
    Texts(
        #[b(0)]
        #[cbor(with = "crate::proto::cbor::list")]
        Vec<&'a str>,
    ),
}

/// Settings with values of their own, from which a state borrows.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(&'static str, Owned)>);

#[derive(Debug)]
enum Owned {
    Default,
    Off,
    Number(i128),
    Flag(bool),
    Text(String),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

impl Settings {
    /// Adds a setting.
    pub(super) fn add(&mut self, name: &'static str, value: Value<'_>) {
        let value = match value {
            Value::Default => Owned::Default,
            Value::Off => Owned::Off,
            Value::Number(number) => Owned::Number(number),
            Value::Flag(flag) => Owned::Flag(flag),
            Value::Text(text) => Owned::Text(text.to_owned()),
            Value::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
            Value::Texts(texts) => Owned::Texts(texts.to_vec()),
        };
        self.0.push((name, value));
    }

    /// Their states.
    pub(super) fn states(&self) -> Vec<SettingState<'_>> {
        self.0.iter().map(|(name, value)| SettingState { name, value: value.state() }).collect()
    }
}

impl Owned {
    fn state(&self) -> ValueState<'_> {
        match self {
            Self::Default => ValueState::Default,
            Self::Off => ValueState::Off,
            Self::Number(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => ValueState::Number(number),
                (_, Ok(number)) => ValueState::Large(number),
                // No setting has such a number.
                _ => ValueState::Default,
            },
            Self::Flag(flag) => ValueState::Flag(*flag),
            Self::Text(text) => ValueState::Text(text),
            Self::Bytes(bytes) => ValueState::Bytes(bytes),
            Self::Texts(texts) => ValueState::Texts(texts.iter().map(String::as_str).collect()),
        }
    }
}

/// Gives the settings of a state whose names are `known`.
///
/// # Errors
/// Those of `set`.
pub(super) fn apply(
    settings: Vec<SettingState<'_>>,
    known: &Settings,
    mut set: impl FnMut(&str, Value<'_>) -> Result<()>,
) -> Result<()> {
    let is_known = |name: &str| known.0.iter().any(|(known, _)| *known == name);
    for SettingState { name, value } in settings.into_iter().filter(|setting| is_known(setting.name)) {
        match value {
            ValueState::Default => set(name, Value::Default),
            ValueState::Off => set(name, Value::Off),
            ValueState::Number(number) => set(name, Value::Number(number.into())),
            ValueState::Large(number) => set(name, Value::Number(number.into())),
            ValueState::Flag(flag) => set(name, Value::Flag(flag)),
            ValueState::Text(text) => set(name, Value::Text(text)),
            ValueState::Bytes(bytes) => set(name, Value::Bytes(bytes)),
            ValueState::Texts(texts) => {
                let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
                set(name, Value::Texts(&texts))
            }
        }?;
    }
    Ok(())
}
