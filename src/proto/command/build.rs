//! The command and data bodies that both roles send. Each function appends one body to `out`; the same arguments give
//! the same bytes.

use super::{CAN_FORWARD, Connect, VIA};
use crate::proto::amf0::{Entries, Value, write_value};
use crate::proto::message::kind;

/// The name that FMS gives itself; peers that read it expect a version of at least 3.
const FMS_VER: &[u8] = b"FMS/3,0,1,123";
/// FMS's capability bits, which old players look at.
const CAPABILITIES: f64 = 31.0;

/// A command: name, transaction id and the values after it.
pub fn call(out: &mut Vec<u8>, name: &str, transaction: f64, values: &[Value<'_>]) {
    write_value(&Value::String(name.as_bytes()), out);
    write_value(&Value::Number(transaction), out);
    values.iter().for_each(|value| write_value(value, out));
}

/// `_result` with null and one value.
pub fn result(out: &mut Vec<u8>, transaction: f64, value: Value<'_>) {
    call(out, "_result", transaction, &[Value::Null, value]);
}

/// `_error` with null and an information object of level error.
pub fn error(out: &mut Vec<u8>, transaction: f64, code: &str, text: &str) {
    call(out, "_error", transaction, &[Value::Null, info("error", code, text, Vec::new())]);
}

/// The answer that accepts a `connect`. Peers that sent fields of Enhanced RTMP get such fields too: they say that a
/// relay forwards any codec, and `caps_ex`.
pub fn connect_result(out: &mut Vec<u8>, transaction: f64, connect: &Connect<'_>, caps_ex: u32) {
    let properties = Value::Object(vec![
        (b"fmsVer", Value::String(FMS_VER)),
        (b"capabilities", Value::Number(CAPABILITIES)),
        (b"mode", Value::Number(1.0)),
    ]);
    let mut more = vec![(b"objectEncoding".as_slice(), Value::Number(connect.object_encoding))];
    if connect.speaks_enhanced() {
        let any = || Value::Object(vec![(b"*", Value::Number(CAN_FORWARD.into()))]);
        if !connect.four_cc_list.is_empty() {
            let list = connect.four_cc_list.iter().map(|four_cc| Value::String(four_cc));
            more.push((b"fourCcList", Value::Array(list.collect())));
        }
        more.push((b"videoFourCcInfoMap", any()));
        more.push((b"audioFourCcInfoMap", any()));
        more.push((b"capsEx", Value::Number(caps_ex.into())));
    }
    let info = info("status", "NetConnection.Connect.Success", "Connection succeeded.", more);
    call(out, "_result", transaction, &[properties, info]);
}

/// The answer that refuses a `connect`; `redirect` sends the peer to another url (`ex.code` 302, as FMS sends it).
pub fn connect_error(out: &mut Vec<u8>, transaction: f64, code: &str, text: &str, redirect: Option<&str>) {
    let ex = redirect.map(|url| {
        let target =
            vec![(b"code".as_slice(), Value::Number(302.0)), (b"redirect".as_slice(), Value::String(url.as_bytes()))];
        (b"ex".as_slice(), Value::Object(target))
    });
    let info = info("error", code, text, ex.into_iter().collect());
    call(out, "_error", transaction, &[Value::Null, info]);
}

/// `onStatus`; `more` goes after level, code and description.
pub fn on_status(out: &mut Vec<u8>, level: &str, code: &str, text: &str, more: Entries<'_>) {
    call(out, "onStatus", 0.0, &[Value::Null, info(level, code, text, more)]);
}

/// `onFCPublish`, `onFCUnpublish`, `onFCSubscribe`.
pub fn on_fc(out: &mut Vec<u8>, name: &str, code: &str, key: &[u8]) {
    let info = vec![
        (b"level".as_slice(), Value::String(b"status")),
        (b"code".as_slice(), Value::String(code.as_bytes())),
        (b"description".as_slice(), Value::String(key)),
    ];
    call(out, name, 0.0, &[Value::Null, Value::Object(info)]);
}

/// Enhanced RTMP's request that the peer connect again, to `url` if given.
pub fn reconnect_request(out: &mut Vec<u8>, url: Option<&str>, text: &str) {
    let more = url.map(|url| (b"tcUrl".as_slice(), Value::String(url.as_bytes())));
    on_status(out, "status", "NetConnection.Connect.ReconnectRequest", text, more.into_iter().collect());
}

/// [`VIA`]: the streams through which media comes, separated by commas.
pub fn via(out: &mut Vec<u8>, streams: &[u8]) {
    call(out, VIA, 0.0, &[Value::Null, Value::String(streams)]);
}

const SAMPLE_ACCESS: &[u8] = b"|RtmpSampleAccess";

/// The data message `|RtmpSampleAccess`: players may look at the samples. Without it Flash players stay black.
pub fn sample_access(out: &mut Vec<u8>) {
    for value in [Value::String(SAMPLE_ACCESS), Value::Bool(true), Value::Bool(true)] {
        write_value(&value, out);
    }
}

/// Whether a message is `|RtmpSampleAccess`. A server sends one to each of its players, so such a message belongs to
/// the connection and not to the stream.
pub fn is_sample_access(type_id: u8, body: &[u8]) -> bool {
    let bare = match type_id {
        kind::DATA => Some(body),
        // AMF0 after the format byte 0.
        kind::DATA_AMF3 => body.strip_prefix(&[0]),
        _ => None,
    };
    bare.and_then(|bare| bare.strip_prefix(&[2, 0, SAMPLE_ACCESS.len() as u8]))
        .is_some_and(|name| name.starts_with(SAMPLE_ACCESS))
}

/// The values for a client's `connect`.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    /// The application.
    pub app: &'a [u8],
    /// The url without the key.
    pub tc_url: &'a str,
    /// True for publishers, which call themselves an encoder and send fewer fields than players.
    pub publish: bool,
    /// `capsEx`.
    pub caps_ex: u32,
    /// Whether the client asks for [`VIA`].
    pub asks_via: bool,
}

/// `connect`, as encoders and players in the field send it, with the fields of Enhanced RTMP.
pub fn connect(out: &mut Vec<u8>, transaction: f64, hello: &Hello<'_>) {
    let mut fields: Entries<'_> = vec![(b"app", Value::String(hello.app))];
    if hello.publish {
        fields.push((b"type", Value::String(b"nonprivate")));
        fields.push((b"flashVer", Value::String(b"FMLE/3.0 (compatible; rrelay)")));
    } else {
        fields.push((b"flashVer", Value::String(b"LNX 9,0,124,2")));
    }
    fields.push((b"tcUrl", Value::String(hello.tc_url.as_bytes())));
    if !hello.publish {
        fields.push((b"fpad", Value::Bool(false)));
        fields.push((b"capabilities", Value::Number(15.0)));
        fields.push((b"audioCodecs", Value::Number(4071.0))); // every codec id of the FLV specification
        fields.push((b"videoCodecs", Value::Number(252.0)));
        fields.push((b"videoFunction", Value::Number(1.0)));
    }
    fields.push((b"fourCcList", Value::Array(vec![Value::String(b"*")])));
    let any = || Value::Object(vec![(b"*", Value::Number(CAN_FORWARD.into()))]);
    fields.push((b"videoFourCcInfoMap", any()));
    fields.push((b"audioFourCcInfoMap", any()));
    fields.push((b"capsEx", Value::Number(hello.caps_ex.into())));
    if hello.asks_via {
        fields.push((VIA.as_bytes(), Value::Bool(true)));
    }
    call(out, "connect", transaction, &[Value::Object(fields)]);
}

/// `publish` for live streaming.
pub fn publish(out: &mut Vec<u8>, transaction: f64, key: &[u8]) {
    call(out, "publish", transaction, &[Value::Null, Value::String(key), Value::String(b"live")]);
}

/// `play` of a live stream, or else of a recording: start -2, the default that every server understands.
pub fn play(out: &mut Vec<u8>, transaction: f64, key: &[u8]) {
    call(out, "play", transaction, &[Value::Null, Value::String(key), Value::Number(-2_000.0)]);
}

fn info<'a>(level: &'a str, code: &'a str, text: &'a str, more: Entries<'a>) -> Value<'a> {
    let mut entries: Entries<'a> = vec![
        (b"level", Value::String(level.as_bytes())),
        (b"code", Value::String(code.as_bytes())),
        (b"description", Value::String(text.as_bytes())),
    ];
    entries.extend(more);
    Value::Object(entries)
}
