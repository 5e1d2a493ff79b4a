//! A setting as the C API or the REST side gives it, and the checks that turn it into a field's value. Every refusal
//! names the setting, its range, and the reason. The checks also describe what they allow ([`Shape`]), so that a
//! description of the settings cannot differ from the checks.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use super::limits::{MAX_NAME_BYTES, MAX_URL_BYTES};
use crate::error::{Failure, RRError, Result};

/// The value given for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The setting's default.
    Default,
    /// Turns the setting off.
    Off,
    /// A number, a choice by its number, or bits.
    Number(i128),
    /// Yes or no.
    Flag(bool),
    /// Text: an address, a url, a list, a choice by its name.
    Text(&'a str),
    /// Bytes that are passed on untouched: a stream key.
    Bytes(&'a [u8]),
    /// Several texts, or bits by their names.
    Texts(&'a [String]),
}

/// What a setting may be, besides its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A whole number.
    Number {
        /// The least.
        from: i128,
        /// The largest.
        to: i128,
        /// Whether it may also be off.
        off: bool,
    },
    /// One of these, by its number in the C API or its name.
    Choice(Vec<(u32, &'static str)>),
    /// Any of these, as bits of a number or by their names.
    Bits(Vec<(u32, &'static str)>),
    /// Yes or no.
    Flag,
    /// Text.
    Text {
        /// Most bytes; `None`: any number.
        bytes: Option<usize>,
        /// Whether it must be given, because it has no default.
        required: bool,
    },
    /// An IPv4 or IPv6 address.
    Address,
    /// At most `count` texts of at most `bytes` bytes each.
    Texts {
        /// Most texts.
        count: usize,
        /// Most bytes of one text; `None`: any number.
        bytes: Option<usize>,
    },
}

/// A choice: the number of the C API, the name, and what it means here.
pub(super) type Choice<T> = (u32, &'static str, T);

/// The value of a choice, by its number.
pub(super) fn of_choice<T: PartialEq>(chosen: T, choices: &[Choice<T>]) -> Value<'static> {
    let number = choices.iter().find(|(_, _, choice)| *choice == chosen).map(|(number, _, _)| *number);
    number.map_or(Value::Default, |number| Value::Number(number.into()))
}

/// A time or limit of 32 bits that is never reached: "off" in fields without an `Option`.
pub(crate) const OFF: u32 = u32::MAX;

const HOUR_MS: u32 = 3_600_000;
const DAY_MS: u32 = 24 * HOUR_MS;

/// The range of a number, and the reason for its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    from: i128,
    to: i128,
    why: &'static str,
}

impl Range {
    /// All numbers of 32 bits but 0 and the largest.
    pub(super) const ANY: Self = Self::new(1, OFF - 1, "0 is the default, and the largest number of 32 bits is off");
    /// Waits of a stream for a peer that may come back.
    pub(super) const DAY_MS: Self = Self::new(1, DAY_MS, "nobody comes back after a day; use off");
    /// Times of media.
    pub(super) const HOUR_MS: Self = Self::new(1, HOUR_MS, "an hour is too long for live media");
    /// Memory of one queue or cache.
    pub(super) const CACHE_BYTES: Self = Self::new(1, 1 << 30, "one cache must not take all memory");
    /// Lag in bytes.
    pub(super) const QUEUE_BYTES: Self =
        Self::new(65_536, 1 << 30, "less than one message of a good stream would make every consumer jump for ever");
    /// Lag in time.
    pub(super) const QUEUE_MS: Self =
        Self::new(100, 600_000, "below that lies network jitter, and more than ten minutes is a recording, not a lag");
    /// Collecting before sending.
    pub(super) const MERGE_MS: Self = Self::new(1, 10_000, "longer collecting would look like a stall");
    /// A rate.
    pub(super) const KBPS: Self =
        Self::new(8, 10_000_000, "below 8 kbit/s nothing can be heard, 10 Gbit/s is beyond one connection");
    /// Connecting.
    pub(super) const CONNECT_MS: Self = Self::new(
        100,
        600_000,
        "a connection takes at least that long, and nobody waits more than ten minutes for one",
    );

    pub(super) const fn new(from: u32, to: u32, why: &'static str) -> Self {
        Self { from: from as i128, to: to as i128, why }
    }

    /// From `from`, which may be negative, to `to`.
    pub(super) const fn signed(from: i32, to: i32, why: &'static str) -> Self {
        Self { from: from as i128, to: to as i128, why }
    }

    /// At least `from`, without an upper end.
    pub(super) const fn from(from: u64, why: &'static str) -> Self {
        Self { from: from as i128, to: u64::MAX as i128, why }
    }
}

/// The longest text of a setting, in bytes, and the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest {
    bytes: usize,
    why: &'static str,
}

impl Longest {
    /// A url.
    pub(super) const URL: Self = Self::new(MAX_URL_BYTES, "no server takes a longer url");
    /// A stream key.
    pub(super) const KEY: Self = Self::new(MAX_NAME_BYTES, "no server takes a longer stream key");
    /// A file's name.
    pub(super) const PATH: Self = Self::new(4_096, "no file has a longer name");
    /// A name or password.
    pub(super) const LOGIN: Self = Self::new(1_024, "nobody has a longer name or password");
    /// SHA-256 in hexadecimal or base64.
    pub(super) const HASH: Self = Self::new(64, "SHA-256 has 64 hexadecimal digits");

    const fn new(bytes: usize, why: &'static str) -> Self {
        Self { bytes, why }
    }
}

/// A setting's name with the value given for it. The check that reads the value notes what it allows.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    pub(super) name: &'a str,
    pub(super) value: Value<'a>,
    longest: Cell<Option<usize>>,
    shape: RefCell<Option<Shape>>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(name: &'a str, value: Value<'a>) -> Self {
        Self { name, value, longest: Cell::new(None), shape: RefCell::new(None) }
    }

    /// What a setting may be, as its check says; `None` for a name that no setting has. `check` is the `take` of a
    /// config struct, which passes the setting to its check.
    pub(super) fn shape_of(name: &'a str, check: impl FnOnce(&Self) -> Result<()>) -> Option<Shape> {
        let asked = Self::new(name, Value::Default);
        // A setting without a default refuses this value, after its check has noted what it allows.
        let _ = check(&asked);
        asked.shape.into_inner()
    }

    /// Notes what this setting's check allows.
    fn is(&self, shape: Shape) {
        self.shape.replace(Some(shape));
    }

    /// The refusal of this setting's value; `what` follows the setting's name in the text.
    pub(super) fn refuse(&self, what: &str) -> Failure {
        Failure::ours(RRError::Arg, format!("{} {what}", self.name))
    }

    /// The refusal of a name that no setting has.
    pub(super) fn unknown(&self, of: &str) -> Failure {
        Failure::ours(RRError::Arg, format!("{}: a {of} has no such setting", self.name))
    }

    /// A number within `range`; `off` is the number for [`Value::Off`], or `None` where the setting cannot be off.
    pub(super) fn number<T>(&self, default: T, range: Range, off: Option<T>) -> Result<T>
    where
        T: TryFrom<i128>,
    {
        self.is(Shape::Number { from: range.from, to: range.to, off: off.is_some() });
        match self.value {
            Value::Default => Ok(default),
            Value::Off => off.ok_or_else(|| self.refuse("cannot be off")),
            Value::Number(number) => {
                let within = (range.from..=range.to).contains(&number);
                within.then(|| T::try_from(number).ok()).flatten().ok_or_else(|| {
                    let Range { from, to, why } = range;
                    if to == i128::from(u64::MAX) {
                        return self.refuse(&format!("is {number}, the least is {from}: {why}"));
                    }
                    self.refuse(&format!("is {number}, allowed are {from} to {to}: {why}"))
                })
            }
            _ => Err(self.refuse("must be a number")),
        }
    }

    /// A number within `range`; `None` for [`Value::Off`].
    pub(super) fn optional(&self, default: Option<u32>, range: Range) -> Result<Option<u32>> {
        self.is(Shape::Number { from: range.from, to: range.to, off: true });
        match self.value {
            Value::Default => Ok(default),
            Value::Off => Ok(None),
            _ => self.number(0, range, None).map(Some),
        }
    }

    /// One of several choices by number or name; `family` is the C API's name for their constants.
    pub(super) fn choice<T: Copy>(&self, default: T, family: &str, choices: &[Choice<T>]) -> Result<T> {
        self.is(Shape::Choice(choices.iter().map(|(number, name, _)| (*number, *name)).collect()));
        let no_name = || {
            let names: Vec<&str> = choices.iter().map(|(_, name, _)| *name).collect();
            self.refuse(&format!("must be one of {}", names.join(", ")))
        };
        match self.value {
            Value::Default => Ok(default),
            Value::Text(text) => {
                choices.iter().find(|(_, name, _)| *name == text).map(|(_, _, choice)| *choice).ok_or_else(no_name)
            }
            Value::Off | Value::Number(_) => {
                let number = if let Value::Number(number) = self.value { number } else { i128::from(OFF) };
                let found = choices.iter().find(|(known, _, _)| i128::from(*known) == number);
                let no_number = || self.refuse(&format!("is {number}, not one of {family}"));
                found.map(|(_, _, choice)| *choice).ok_or_else(no_number)
            }
            _ => Err(no_name()),
        }
    }

    /// Any of several bits, as a number or by their names.
    pub(super) fn bits(&self, default: u32, known: &[(u32, &'static str)]) -> Result<u32> {
        self.is(Shape::Bits(known.to_vec()));
        let all = known.iter().fold(0, |all, (bit, _)| all | bit);
        match self.value {
            Value::Default => Ok(default),
            Value::Off | Value::Number(_) => {
                let bits = if let Value::Number(number) = self.value { number } else { i128::from(OFF) };
                let known_alone = u32::try_from(bits).ok().filter(|bits| bits & !all == 0);
                known_alone.ok_or_else(|| self.refuse(&format!("has unknown bits: {bits:#x}")))
            }
            Value::Texts(texts) => texts.iter().try_fold(0, |bits, text| {
                let found = known.iter().find(|(_, name)| name == text).map(|(bit, _)| bits | bit);
                found.ok_or_else(|| self.no_bits(known))
            }),
            _ => Err(self.no_bits(known)),
        }
    }

    fn no_bits(&self, known: &[(u32, &str)]) -> Failure {
        let names: Vec<&str> = known.iter().map(|(_, name)| *name).collect();
        self.refuse(&format!("must be a list of {}", names.join(", ")))
    }

    pub(super) fn flag(&self, default: bool) -> Result<bool> {
        self.is(Shape::Flag);
        match self.value {
            Value::Default => Ok(default),
            Value::Off => Ok(false),
            Value::Flag(flag) => Ok(flag),
            Value::Number(number @ (0 | 1)) => Ok(number == 1),
            Value::Number(number) => Err(self.refuse(&format!("is {number}, allowed are 0 and 1"))),
            _ => Err(self.refuse("must be true or false")),
        }
    }

    /// The setting, if no text of it is longer than this.
    pub(super) fn within(&self, longest: Longest) -> Result<&Self> {
        let bytes = match self.value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Texts(texts) => texts.iter().map(String::len).max().unwrap_or(0),
            _ => 0,
        };
        let Longest { bytes: most, why } = longest;
        self.longest.set(Some(most));
        if bytes > most {
            return Err(self.refuse(&format!("has {bytes} bytes, at most {most} are allowed: {why}")));
        }
        Ok(self)
    }

    /// Text; `None` for [`Value::Default`].
    pub(super) fn text(&self) -> Result<Option<&str>> {
        self.is(Shape::Text { bytes: self.longest.get(), required: false });
        match self.value {
            Value::Default => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(self.refuse("must be text")),
        }
    }

    pub(super) fn owned_text(&self) -> Result<Option<String>> {
        Ok(self.text()?.map(ToOwned::to_owned))
    }

    /// Text that must be given.
    pub(super) fn required_text(&self) -> Result<String> {
        let text = self.owned_text();
        self.is(Shape::Text { bytes: self.longest.get(), required: true });
        text?.ok_or_else(|| self.refuse("must be given"))
    }

    /// An IPv4 or IPv6 address; `None` for [`Value::Default`].
    pub(super) fn address(&self) -> Result<Option<IpAddr>> {
        let no_address = |text: &str| self.refuse(&format!("is \"{text}\", not an IPv4 or IPv6 address"));
        let parse = |text: &str| text.parse().map_err(|_| no_address(text));
        let address = self.text()?.map(parse).transpose();
        self.is(Shape::Address);
        address
    }

    /// Bytes; `None` for [`Value::Default`].
    pub(super) fn bytes(&self) -> Result<Option<Vec<u8>>> {
        self.is(Shape::Text { bytes: self.longest.get(), required: false });
        match self.value {
            Value::Default => Ok(None),
            Value::Text(text) => Ok(Some(text.as_bytes().to_vec())),
            Value::Bytes(bytes) => Ok(Some(bytes.to_vec())),
            _ => Err(self.refuse("must be text")),
        }
    }

    /// At most `most` texts.
    pub(super) fn texts(&self, most: usize) -> Result<Vec<String>> {
        self.is(Shape::Texts { count: most, bytes: self.longest.get() });
        match self.value {
            Value::Default => Ok(Vec::new()),
            Value::Texts(texts) if texts.len() <= most => Ok(texts.to_vec()),
            Value::Texts(_) => Err(self.refuse(&format!("has more than {most} entries"))),
            _ => Err(self.refuse("must be a list of texts")),
        }
    }
}
