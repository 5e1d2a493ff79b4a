//! Commands: reads bodies of message types 20 and 17 into a [`Call`]; [`build`] makes the bodies that we send.
//!
//! Reading is lenient, because peers are careless: a command may have fewer values than the specification asks for, or
//! others; a missing value gets the default that other servers use. Only AMF beyond its limits is an error. The session
//! decides when a command is allowed; this module has no state. Source: RTMP specification 7.2, Enhanced RTMP v2
//! "Enhancing NetConnection connect Command" and "Reconnect Request".

use crate::error::Result;
use crate::proto::amf0::{self, LIMITS, Value};
use crate::proto::message::kind;

pub mod build;
#[cfg(test)]
mod tests;

/// `capsEx`: the peer acts on reconnect requests.
pub const CAPS_RECONNECT: u32 = 0x01;
/// `capsEx`: multitrack is understood.
pub const CAPS_MULTITRACK: u32 = 0x02;
/// `capsEx`: the ModEx signal is understood.
pub const CAPS_MODEX: u32 = 0x04;
/// `capsEx`: nanosecond offsets are understood.
pub const CAPS_NANO: u32 = 0x08;

/// `FourCcInfoMask.CanForward`: a relay can forward any codec.
pub const CAN_FORWARD: u32 = 0x04;

/// The name of our own extension between relays. A relay that pulls sends a true field of this name in `connect`, to be
/// told through which streams of which servers the media comes. The command of this name tells it. Other peers ignore
/// both.
pub const VIA: &str = "rrVia";

/// Longest list of streams through which media comes, in bytes: some 50 servers in a row.
pub const MAX_VIA_BYTES: usize = 2_048;

/// Longest text kept from a field of a status, in bytes: the text goes to events and logs, and stays with its target.
/// Login challenges, which come in such texts, have three values of some dozen bytes.
const MAX_WORDS_BYTES: usize = 4_096;

/// One received command.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<'a> {
    /// The name; empty where the first value is not a string.
    pub name: &'a [u8],
    /// The transaction id, which the answer repeats; 0 asks for no answer, and stands for a missing id.
    pub transaction: f64,
    /// The command's meaning.
    pub command: Command<'a>,
}

/// A command's meaning. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// `connect`: opens the conversation.
    Connect(Box<Connect<'a>>),
    /// `createStream`: asks for a message stream id.
    CreateStream,
    /// `releaseStream`: publishers send it before `publish`; no action is needed.
    ReleaseStream(&'a [u8]),
    /// `FCPublish`: publishers send it before `publish`; no action is needed.
    FcPublish(&'a [u8]),
    /// `FCUnpublish`: the publish of that key ends.
    FcUnpublish(&'a [u8]),
    /// `FCSubscribe`: an announcement of players at CDNs.
    FcSubscribe(&'a [u8]),
    /// `getStreamLength`: the length of a recording.
    GetStreamLength(&'a [u8]),
    /// `_checkbw`: a bandwidth check; it is answered, but nothing is measured.
    CheckBandwidth,
    /// `publish`.
    Publish {
        /// The stream key, bytes untouched.
        key: &'a [u8],
        /// `live`, `record`, `append`, or another word; `live` if there was none.
        kind: &'a [u8],
    },
    /// `play`, and `play2` (its transitions in terms of `play`).
    Play {
        /// The stream key, bytes untouched.
        key: &'a [u8],
        /// The part of the stream.
        part: Part,
    },
    /// `pause`, `pauseRaw`.
    Pause {
        /// True pauses, false resumes.
        on: bool,
        /// The player's position.
        at_ms: i64,
    },
    /// `seek`.
    Seek(i64),
    /// `receiveAudio`.
    ReceiveAudio(bool),
    /// `receiveVideo`.
    ReceiveVideo(bool),
    /// `closeStream` with that id, or for the message's own stream if none is given. Also `publish(false)` and
    /// `play(false)`.
    CloseStream(Option<u32>),
    /// `deleteStream`: closes like `closeStream`, and frees the id.
    DeleteStream(Option<u32>),
    /// `set_playlist`, which librtmp sends: ignored, because the `play` after it names the stream.
    SetPlaylist,
    /// `_result`: an answer, with its third and fourth value.
    Result(Value<'a>, Value<'a>),
    /// `_error`: a refusal.
    Error(Status),
    /// `onStatus`, and its kin `onFCPublish`, `onFCUnpublish`, `onFCSubscribe`, `onFCUnsubscribe`.
    Status(Status),
    /// `onBWDone`.
    BandwidthDone,
    /// `close`: the server announces that it closes the connection.
    Close,
    /// [`VIA`]: the streams through which media comes, separated by commas.
    Via(&'a [u8]),
    /// Anything else.
    Other,
}

/// The fields of a `connect` command that have names here; the body keeps all fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect<'a> {
    /// `app`, as sent: often with a query, sometimes with the key.
    pub app: &'a [u8],
    /// `tcUrl`
    pub tc_url: &'a [u8],
    /// `flashVer`: the peer's program.
    pub flash_ver: &'a [u8],
    /// `swfUrl`
    pub swf_url: &'a [u8],
    /// `pageUrl`
    pub page_url: &'a [u8],
    /// `objectEncoding`: 0 or 3.
    pub object_encoding: f64,
    /// `capsEx` (`CAPS_*`).
    pub caps_ex: u32,
    /// `fourCcList`; `*` means any.
    pub four_cc_list: Vec<&'a [u8]>,
    /// `videoFourCcInfoMap`: each FourCC with the bits of `FourCcInfoMask`.
    pub video_four_cc: Vec<(&'a [u8], u32)>,
    /// `audioFourCcInfoMap`: each FourCC with the bits of `FourCcInfoMask`.
    pub audio_four_cc: Vec<(&'a [u8], u32)>,
    /// [`VIA`]
    pub asks_via: bool,
}

impl<'a> Connect<'a> {
    /// The application without its query, and without the trailing slash of some clients.
    pub fn app_name(&self) -> &'a [u8] {
        let name = split_query(self.app).0;
        name.strip_suffix(b"/").unwrap_or(name)
    }

    /// The query of the application, or else of the url: some clients put it only into the url.
    pub fn query(&self) -> &'a [u8] {
        match split_query(self.app).1 {
            [] => split_query(self.tc_url).1,
            query => query,
        }
    }

    /// Whether the peer sent any field of Enhanced RTMP, and thus understands them in an answer.
    pub fn speaks_enhanced(&self) -> bool {
        self.caps_ex != 0
            || !(self.four_cc_list.is_empty() && self.video_four_cc.is_empty() && self.audio_four_cc.is_empty())
    }
}

fn split_query(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&bytes[..mark], &bytes[mark + 1..]),
        None => (bytes, &[]),
    }
}

/// The information object of an onStatus or `_error`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// The code, for programs, e.g. `NetStream.Publish.BadName`.
    pub code: String,
    /// The text, for people.
    pub description: String,
    /// `ex.redirect`: where to go instead; or `tcUrl` of a reconnect request.
    pub redirect: Option<String>,
}

impl Status {
    /// Whether the status is a refusal. Some servers omit the level, or write it as `_error`.
    pub fn is_error(&self) -> bool {
        self.level.ends_with("error")
    }

    fn read(values: &[Value<'_>]) -> Self {
        // The information object is the last object: after a null, after an empty object, or by itself.
        let Some(info) = values.iter().rev().find(|value| !value.entries().is_empty()) else {
            let words = values.iter().find_map(Value::as_bytes).map(text);
            return Self { description: words.unwrap_or_default(), ..Self::default() };
        };
        let field = |name| info.get(name).and_then(Value::as_bytes).map(text);
        // A url is never cut off as texts are: a part of it would lead to another place.
        let url = |value: Option<&Value<'_>>| {
            value.and_then(Value::as_bytes).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let redirect = url(info.get("ex").and_then(|ex| ex.get("redirect")));
        Self {
            level: field("level").unwrap_or_default(),
            code: field("code").unwrap_or_default(),
            description: field("description").or_else(|| field("details")).unwrap_or_default(),
            redirect: redirect.or_else(|| url(info.get("tcUrl"))).filter(|url| !url.is_empty()),
        }
    }
}

/// A peer's bytes as text: cut at [`MAX_WORDS_BYTES`], with replacement characters for bytes that are not UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_WORDS_BYTES).unwrap_or(bytes)).into_owned()
}

/// The part of a stream that a player asks for, in the numbers of its `play`; `None`: the player has left it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The time to begin at.
    pub start: Option<i64>,
    /// The length.
    pub duration: Option<i64>,
    /// False: play after the stream that is playing now.
    pub reset: Option<bool>,
}

impl Part {
    /// Where to begin; -2000: live or, without a live stream, recorded; -1000: live only.
    pub fn start_ms(&self) -> i64 {
        self.start.map_or(-2_000, play_time)
    }

    /// How long to play; negative: to the end.
    pub fn duration_ms(&self) -> i64 {
        self.duration.map_or(-1_000, play_time)
    }

    /// Whether the play replaces the one that runs; false: it follows that one.
    pub fn resets(&self) -> bool {
        self.reset.unwrap_or(true)
    }
}

/// A time of `play` in milliseconds. The specification counts in seconds, but real peers count in milliseconds; only -2
/// and -1 certainly have the specification's meaning.
fn play_time(number: i64) -> i64 {
    if number == -2 || number == -1 { number * 1_000 } else { number }
}

impl<'a> Call<'a> {
    /// Reads the body of a command message; `type_id` is `kind::COMMAND` or `kind::COMMAND_AMF3`.
    ///
    /// # Errors
    /// [`crate::error::RRError::Limit`] past the AMF limits. A malformed body is not an error: the values before the
    /// fault are used.
    pub fn parse(type_id: u8, body: &'a [u8]) -> Result<Self> {
        // Type 17 begins with a format byte, 0 (AMF0) from every known peer; some peers omit it.
        let body = match body {
            [0, rest @ ..] if type_id == kind::COMMAND_AMF3 => rest,
            _ => body,
        };
        let mut values = Vec::new();
        if let Err(failure) = amf0::read_values(body, &LIMITS, &mut values)
            && amf0::is_limit(&failure)
        {
            return Err(failure);
        }
        let name = values.first().and_then(Value::as_bytes).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        Ok(Call { name, transaction, command: command(name, values.get(2..).unwrap_or_default()) })
    }
}

/// Reads the values after name and transaction id.
fn command<'a>(name: &[u8], values: &[Value<'a>]) -> Command<'a> {
    // The first value is the command object, nearly always null; some peers omit it.
    let args = match values {
        [Value::String(_) | Value::LongString(_) | Value::Number(_) | Value::Bool(_), ..] => values,
        [_, rest @ ..] => rest,
        [] => values,
    };
    let string = |n: usize| args.get(n).and_then(Value::as_bytes);
    let number = |n: usize| args.get(n).and_then(Value::as_number);
    let truth = |n: usize| args.get(n).and_then(Value::as_bool);
    let key = string(0).unwrap_or_default();
    match name {
        b"connect" => Command::Connect(Box::new(values.first().map(connect).unwrap_or_default())),
        b"createStream" | b"initStream" => Command::CreateStream,
        b"releaseStream" => Command::ReleaseStream(key),
        b"FCPublish" => Command::FcPublish(key),
        b"FCUnpublish" => Command::FcUnpublish(key),
        b"FCSubscribe" => Command::FcSubscribe(key),
        b"getStreamLength" => Command::GetStreamLength(key),
        b"_checkbw" | b"checkBandwidth" => Command::CheckBandwidth,
        // False in place of a key ends the running publish or play.
        b"publish" | b"play" if truth(0) == Some(false) => Command::CloseStream(None),
        b"publish" => Command::Publish { key, kind: string(1).unwrap_or(b"live") },
        b"play" => {
            let part = Part { start: number(1).map(whole), duration: number(2).map(whole), reset: truth(3) };
            Command::Play { key, part }
        }
        b"play2" => play2(args.first().or_else(|| values.first())),
        b"pause" | b"pauseRaw" => Command::Pause { on: truth(0).unwrap_or(true), at_ms: number(1).map_or(0, whole) },
        b"seek" => Command::Seek(number(0).map_or(0, whole)),
        b"receiveAudio" => Command::ReceiveAudio(truth(0).unwrap_or(true)),
        b"receiveVideo" => Command::ReceiveVideo(truth(0).unwrap_or(true)),
        b"closeStream" => Command::CloseStream(number(0).and_then(stream_id)),
        b"deleteStream" => Command::DeleteStream(number(0).and_then(stream_id)),
        b"set_playlist" => Command::SetPlaylist,
        b"_result" => {
            let value = |n: usize| values.get(n).cloned().unwrap_or(Value::Undefined);
            Command::Result(value(0), value(1))
        }
        b"_error" => Command::Error(Status::read(values)),
        b"onStatus" | b"onFCPublish" | b"onFCUnpublish" | b"onFCSubscribe" | b"onFCUnsubscribe" => {
            Command::Status(Status::read(values))
        }
        b"onBWDone" => Command::BandwidthDone,
        b"close" => Command::Close,
        name if name == VIA.as_bytes() => Command::Via(key),
        _ => Command::Other,
    }
}

fn connect<'a>(object: &Value<'a>) -> Connect<'a> {
    let string = |name| object.get(name).and_then(Value::as_bytes).unwrap_or_default();
    let number = |name| object.get(name).and_then(Value::as_number).unwrap_or(0.0);
    let map = |name| {
        let entries = object.get(name).map(Value::entries).unwrap_or_default();
        entries.iter().map(|(four_cc, mask)| (*four_cc, mask.as_number().map_or(0, bits))).collect()
    };
    let four_cc_list = match object.get("fourCcList") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_bytes).collect(),
        Some(other) => other.entries().iter().filter_map(|(_, four_cc)| four_cc.as_bytes()).collect(),
        None => Vec::new(),
    };
    Connect {
        app: string("app"),
        tc_url: string("tcUrl"),
        flash_ver: string("flashVer"),
        swf_url: string("swfUrl"),
        page_url: string("pageUrl"),
        object_encoding: number("objectEncoding"),
        caps_ex: bits(number("capsEx")),
        four_cc_list,
        video_four_cc: map("videoFourCcInfoMap"),
        audio_four_cc: map("audioFourCcInfoMap"),
        asks_via: object.get(VIA).and_then(Value::as_bool).unwrap_or_default(),
    }
}

/// `play2` as `play`: its `transition` becomes `reset`.
fn play2<'a>(parameters: Option<&Value<'a>>) -> Command<'a> {
    let field = |name| parameters.and_then(|object| object.get(name));
    let transition = field("transition").and_then(Value::as_bytes).unwrap_or_default();
    if transition == b"stop" {
        return Command::CloseStream(None);
    }
    let number = |name| field(name).and_then(Value::as_number).map(whole);
    Command::Play {
        key: field("streamName").and_then(Value::as_bytes).unwrap_or_default(),
        part: Part { start: number("start"), duration: number("len"), reset: Some(!transition.starts_with(b"append")) },
    }
}

/// A number as an integer. The cast saturates and turns NaN into 0.
fn whole(number: f64) -> i64 {
    number as i64
}

fn bits(number: f64) -> u32 {
    number as u32
}

fn stream_id(number: f64) -> Option<u32> {
    (number >= 0.0 && number <= f64::from(u32::MAX)).then_some(number as u32)
}
