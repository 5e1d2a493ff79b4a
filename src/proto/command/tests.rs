//! Tests of the meaning of peers' commands and the exact bytes of ours, by the table in `tests/vectors/commands.txt`.

use super::build::Hello;
use super::*;
use crate::error::RRError;
use crate::fuzzing::tables::table;
use crate::proto::amf0::write_value;

const TABLE: &str = include_str!("../../../tests/vectors/commands.txt");

/// The values of a body in the tables' notation, a space between them.
fn notation(body: &[u8]) -> String {
    let mut values = Vec::new();
    amf0::read_values(body, &LIMITS, &mut values).unwrap();
    values.iter().map(amf0::tests::notation).collect::<Vec<_>>().join(" ")
}

/// The body of a command of those values.
fn body(name: &str, values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    build::call(&mut out, name, 5.0, values);
    out
}

fn parsed(name: &str, values: &[Value<'_>], check: impl FnOnce(Command<'_>)) {
    let body = body(name, values);
    let call = Call::parse(kind::COMMAND, &body).unwrap();
    assert_eq!((call.name, call.transaction), (name.as_bytes(), 5.0));
    check(call.command);
}

/// Every body of ours by the name it has in the table.
fn built() -> Vec<(&'static str, Vec<u8>)> {
    let enhanced = Connect {
        caps_ex: 15,
        four_cc_list: vec![b"av01", b"*"],
        video_four_cc: vec![(b"*", 4)],
        object_encoding: 3.0,
        ..Connect::default()
    };
    let of = |build: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        build(&mut out);
        out
    };
    let hello = |publish| Hello { app: b"live", tc_url: "rtmp://h/live", publish, caps_ex: 14, asks_via: false };
    vec![
        ("our_connect_result", of(&|out| build::connect_result(out, 1.0, &Connect::default(), 14))),
        ("our_connect_result_enhanced", of(&|out| build::connect_result(out, 1.0, &enhanced, 14))),
        ("our_connect_error", of(&|out| build::connect_error(out, 1.0, "NetConnection.Connect.Rejected", "no", None))),
        (
            "our_connect_redirect",
            of(&|out| {
                let url = Some("rtmp://other/live");
                build::connect_error(out, 1.0, "NetConnection.Connect.Rejected", "moved", url);
            }),
        ),
        ("our_result_number", of(&|out| build::result(out, 4.0, Value::Number(1.0)))),
        ("our_result_undefined", of(&|out| build::result(out, 2.0, Value::Undefined))),
        ("our_error", of(&|out| build::error(out, 2.0, "NetConnection.Call.Failed", "too many streams"))),
        (
            "our_on_status_error",
            of(&|out| build::on_status(out, "error", "NetStream.Publish.BadName", "live already", Vec::new())),
        ),
        ("our_play_start", of(&|out| build::on_status(out, "status", "NetStream.Play.Start", "Playing.", Vec::new()))),
        ("our_on_fc_publish", of(&|out| build::on_fc(out, "onFCPublish", "NetStream.Publish.Start", b"key"))),
        ("our_reconnect", of(&|out| build::reconnect_request(out, Some("rtmp://other/live"), "updating"))),
        ("our_reconnect_here", of(&|out| build::reconnect_request(out, None, "updating"))),
        ("our_sample_access", of(&|out| build::sample_access(out))),
        ("our_connect_publisher", of(&|out| build::connect(out, 1.0, &hello(true)))),
        ("our_connect_player", of(&|out| build::connect(out, 1.0, &hello(false)))),
        ("our_publish", of(&|out| build::publish(out, 5.0, b"key?x=1"))),
        ("our_play", of(&|out| build::play(out, 5.0, b"key?x=1"))),
    ]
}

#[test]
fn every_body_of_the_table_has_the_values_it_says_and_is_written_back_the_same() {
    for vector in table(TABLE) {
        assert_eq!(notation(&vector.bytes), vector.meaning, "{}", vector.name);
        let mut values = Vec::new();
        amf0::read_values(&vector.bytes, &LIMITS, &mut values).unwrap();
        let mut out = Vec::new();
        values.iter().for_each(|value| write_value(value, &mut out));
        assert_eq!(out == vector.bytes, vector.two_way(), "{}", vector.name);
    }
}

#[test]
fn our_bodies_are_those_of_the_table_byte_for_byte() {
    let table = table(TABLE);
    for (name, body) in built() {
        let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        let known = table.iter().find(|vector| vector.name == name).map(|vector| &vector.bytes);
        assert_eq!(known, Some(&body), "{name} | {} | {hex} | ours", notation(&body));
    }
    let ours = table.iter().filter(|vector| vector.name.starts_with("our_")).count();
    assert_eq!(ours, built().len(), "no line of ours without its function");
}

#[test]
fn connect_keeps_every_field_that_has_a_name() {
    let object = Value::Object(vec![
        (b"app", Value::String(b"live?x=1")),
        (b"tcUrl", Value::String(b"rtmp://h/live?x=1")),
        (b"flashVer", Value::String(b"FMLE/3.0")),
        (b"swfUrl", Value::String(b"s")),
        (b"pageUrl", Value::String(b"p")),
        (b"objectEncoding", Value::Number(3.0)),
        (b"capsEx", Value::Number(3.0)),
        (b"fourCcList", Value::Array(vec![Value::String(b"av01"), Value::Null])),
        (b"videoFourCcInfoMap", Value::Object(vec![(b"*", Value::Number(4.0))])),
        (b"audioFourCcInfoMap", Value::EcmaArray(1, vec![(b"Opus", Value::Number(1.0))])),
        (b"rrVia", Value::Bool(true)),
    ]);
    parsed("connect", &[object, Value::String(b"extra")], |command| {
        let Command::Connect(connect) = command else { panic!("not a connect") };
        let expected = Connect {
            app: b"live?x=1",
            tc_url: b"rtmp://h/live?x=1",
            flash_ver: b"FMLE/3.0",
            swf_url: b"s",
            page_url: b"p",
            object_encoding: 3.0,
            caps_ex: 3,
            four_cc_list: vec![b"av01"],
            video_four_cc: vec![(b"*", 4)],
            audio_four_cc: vec![(b"Opus", 1)],
            asks_via: true,
        };
        assert_eq!(*connect, expected);
        assert!(connect.speaks_enhanced());
    });
}

#[test]
fn play_understands_milliseconds_the_specifications_words_and_their_absence() {
    let key = Value::String(b"k?a=b");
    let number = Value::Number;
    let asks = |args: &[Value<'static>], as_sent: (Option<i64>, Option<i64>, Option<bool>), meant: (i64, i64, bool)| {
        parsed("play", &[&[Value::Null, key.clone()], args].concat(), |got| {
            let Command::Play { key: b"k?a=b", part } = got else { panic!("{got:?}") };
            assert_eq!((part.start, part.duration, part.reset), as_sent);
            assert_eq!((part.start_ms(), part.duration_ms(), part.resets()), meant);
        });
    };
    asks(&[], (None, None, None), (-2_000, -1_000, true));
    asks(&[number(-1.0)], (Some(-1), None, None), (-1_000, -1_000, true));
    let full = [number(-2_000.0), number(-1.0), Value::Bool(false)];
    asks(&full, (Some(-2_000), Some(-1), Some(false)), (-2_000, -1_000, false));
    let numeric = [number(1_500.0), number(10_000.0), number(0.0)];
    asks(&numeric, (Some(1_500), Some(10_000), Some(false)), (1_500, 10_000, false));
    parsed("play", &[], |got| assert!(matches!(got, Command::Play { key: b"", .. })));
}

#[test]
fn play2_is_play_with_a_transition() {
    let options = |word: &'static [u8]| {
        Value::Object(vec![(b"streamName", Value::String(b"hd")), (b"transition", Value::String(word))])
    };
    for (word, reset) in [(&b"switch"[..], true), (b"reset", true), (b"append", false), (b"appendAndWait", false)] {
        parsed("play2", &[Value::Null, options(word)], |got| {
            let part = Part { reset: Some(reset), ..Part::default() };
            assert_eq!(got, Command::Play { key: b"hd", part });
        });
    }
    parsed("play2", &[Value::Null, options(b"stop")], |got| assert_eq!(got, Command::CloseStream(None)));
    parsed("play2", &[options(b"swap")], |got| assert!(matches!(got, Command::Play { key: b"hd", .. })));
}

#[test]
fn stream_commands_work_with_and_without_their_arguments() {
    let null = || Value::Null;
    let number = Value::Number;
    parsed("closeStream", &[null()], |got| assert_eq!(got, Command::CloseStream(None)));
    parsed("closeStream", &[null(), number(3.0)], |got| assert_eq!(got, Command::CloseStream(Some(3))));
    parsed("deleteStream", &[null(), number(1.0)], |got| assert_eq!(got, Command::DeleteStream(Some(1))));
    parsed("deleteStream", &[number(2.0)], |got| assert_eq!(got, Command::DeleteStream(Some(2))));
    parsed("deleteStream", &[null(), number(f64::NAN)], |got| assert_eq!(got, Command::DeleteStream(None)));
    parsed("deleteStream", &[null(), number(1e300)], |got| assert_eq!(got, Command::DeleteStream(None)));
    parsed("publish", &[null(), Value::String(b"k")], |got| {
        assert_eq!(got, Command::Publish { key: b"k", kind: b"live" });
    });
    parsed("publish", &[Value::String(b"k"), Value::String(b"record")], |got| {
        assert_eq!(got, Command::Publish { key: b"k", kind: b"record" });
    });
    parsed("pauseRaw", &[null(), Value::Bool(false), number(7.0)], |got| {
        assert_eq!(got, Command::Pause { on: false, at_ms: 7 });
    });
    parsed("seek", &[null(), number(-1e300)], |got| assert_eq!(got, Command::Seek(i64::MIN)));
    parsed("receiveAudio", &[null(), Value::Bool(false)], |got| assert_eq!(got, Command::ReceiveAudio(false)));
    parsed("receiveVideo", &[null()], |got| assert_eq!(got, Command::ReceiveVideo(true)));
}

#[test]
fn short_and_odd_commands_are_read_as_far_as_they_go() {
    assert_eq!(Call::parse(kind::COMMAND, b"").unwrap(), Call { name: b"", transaction: 0.0, command: Command::Other });
    for name in [
        "connect",
        "createStream",
        "publish",
        "play",
        "play2",
        "pause",
        "seek",
        "closeStream",
        "_result",
        "_error",
        "onStatus",
    ] {
        let named = [&[2, 0, u8::try_from(name.len()).unwrap()][..], name.as_bytes()].concat();
        let call = Call::parse(kind::COMMAND, &named).unwrap();
        assert_eq!((call.name, call.transaction), (name.as_bytes(), 0.0));
        for odd in [
            Value::Bool(true),
            Value::Array(vec![]),
            Value::Number(f64::INFINITY),
            Value::String(b"x"),
            Value::MovieClip,
        ] {
            let list = vec![odd; 4];
            let body = body(name, &list);
            for len in 0..body.len() {
                Call::parse(kind::COMMAND, &body[..len]).unwrap();
            }
        }
    }
    let no_name = Call::parse(kind::COMMAND, &[5, 5, 5]).unwrap();
    assert_eq!((no_name.name, no_name.command), (&b""[..], Command::Other));
    let too_deep = [b"\x02\0\x07connect".as_slice(), &b"\x03\0\x01a".repeat(40)].concat();
    assert_eq!(Call::parse(kind::COMMAND, &too_deep).unwrap_err().kind, RRError::Limit);
}

#[test]
fn a_type_17_command_is_read_with_and_without_its_format_byte() {
    let plain = body("createStream", &[Value::Null]);
    let clothed = [&[0][..], &plain].concat();
    for body in [&plain, &clothed] {
        assert_eq!(Call::parse(kind::COMMAND_AMF3, body).unwrap().command, Command::CreateStream);
    }
    let amf3 = [&[0][..], b"\x11\x06\x0dresult", &[0x11, 0x04, 0x07]].concat();
    let call = Call::parse(kind::COMMAND_AMF3, &amf3).unwrap();
    assert_eq!((call.name, call.transaction), (&b"result"[..], 7.0));
}

#[test]
fn refusals_are_understood_in_the_shapes_servers_give_them() {
    let mut out = Vec::new();
    build::connect_error(&mut out, 1.0, "NetConnection.Connect.Rejected", "go there", Some("rtmp://b/live"));
    let Command::Error(status) = Call::parse(kind::COMMAND, &out).unwrap().command else { panic!("not an error") };
    assert!(status.is_error());
    assert_eq!(status.code, "NetConnection.Connect.Rejected");
    assert_eq!((status.description.as_str(), status.redirect.as_deref()), ("go there", Some("rtmp://b/live")));

    let info = || Value::Object(vec![(b"level", Value::String(b"_error")), (b"code", Value::String(b"c"))]);
    for values in [vec![info()], vec![Value::Null, info()], vec![Value::Object(vec![]), info(), Value::Null]] {
        parsed("onStatus", &values, |got| {
            let Command::Status(status) = got else { panic!("not a status") };
            assert!(status.is_error() && status.code == "c");
        });
    }
    parsed("_error", &[Value::Null, Value::String(b"only words")], |got| {
        let Command::Error(status) = got else { panic!("not an error") };
        assert_eq!(status.description, "only words");
    });
}

#[test]
fn the_application_is_split_from_its_query_wherever_the_query_is() {
    let connect = |app, tc_url| Connect { app, tc_url, ..Connect::default() };
    let plain = connect(b"live/", b"rtmp://h/live/");
    assert_eq!((plain.app_name(), plain.query()), (&b"live"[..], &b""[..]));
    let with_query = connect(b"live?a=1?b", b"rtmp://h/live?c=2");
    assert_eq!((with_query.app_name(), with_query.query()), (&b"live"[..], &b"a=1?b"[..]));
    assert_eq!(connect(b"live", b"rtmp://h/live?c=2").query(), b"c=2");
}
