//! The fields of Enhanced RTMP in `connect` and its answer.

use std::collections::HashMap;
use std::net::TcpListener;

use rml_amf0::Amf0Value;

use crate::raw::{Raw, picture};
use crate::support::server::Relay;

/// `FourCcInfoMask.CanForward`, all that a relay can do with a codec.
const CAN_FORWARD: f64 = 4.0;
/// `CapsExMask`.
const RECONNECT: u32 = 1;
const MULTITRACK: u32 = 2;
const MOD_EX: u32 = 4;
const NANO_OFFSET: u32 = 8;

fn text(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}

fn map(entries: &[(&str, f64)]) -> Amf0Value {
    Amf0Value::Object(entries.iter().map(|(name, value)| ((*name).to_owned(), Amf0Value::Number(*value))).collect())
}

/// The information object of the answer to a client that sends these fields.
fn answer(relay: &Relay, says: &[(&str, Amf0Value)]) -> HashMap<String, Amf0Value> {
    let mut raw = Raw::connect_saying(relay.port, says);
    raw.wait_connected();
    let [name, transaction, _, Amf0Value::Object(info)] = raw.greeting.as_slice() else { panic!("{:?}", raw.greeting) };
    assert_eq!((name, transaction), (&text("_result"), &Amf0Value::Number(1.0)));
    assert_eq!(info["code"], text("NetConnection.Connect.Success"));
    info.clone()
}

#[test]
fn the_answer_to_enhanced_rtmp_says_that_everything_is_forwarded_and_what_else_is_understood() {
    let relay = Relay::new();
    let list = Amf0Value::StrictArray(vec![text("av01"), text("hvc1"), text("Opus")]);
    let says: [(&str, Amf0Value); 4] = [
        ("fourCcList", list.clone()),
        ("videoFourCcInfoMap", map(&[("av01", 1.0), ("hvc1", 3.0)])),
        ("audioFourCcInfoMap", map(&[("Opus", 2.0)])),
        ("capsEx", Amf0Value::Number((MULTITRACK | MOD_EX).into())),
    ];
    // Each of the four fields alone shows that the peer knows Enhanced RTMP.
    for says in [&says[..], &says[..1], &says[1..2], &says[2..3], &says[3..]] {
        let info = answer(&relay, says);
        for name in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
            assert_eq!(info[name], map(&[("*", CAN_FORWARD)]), "{says:?}");
        }
        assert_eq!(info.get("fourCcList"), says.iter().any(|(name, _)| *name == "fourCcList").then_some(&list));
        let Amf0Value::Number(caps) = info["capsEx"] else { panic!("{info:?}") };
        // Media passes unchanged, with all its extensions; the server side may ask a peer to connect again.
        assert_eq!(caps as u32 & !RECONNECT, MULTITRACK | MOD_EX | NANO_OFFSET, "{says:?}");
    }
}

#[test]
fn a_peer_without_enhanced_rtmp_gets_none_of_its_fields() {
    let info = answer(&Relay::new(), &[]);
    for name in ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"] {
        assert!(!info.contains_key(name), "{name}");
    }
}

#[test]
fn a_target_says_that_it_may_send_any_codec() {
    let relay = Relay::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    relay.push("show", format!("rtmp://127.0.0.1:{}/live/copy", listener.local_addr().unwrap().port()));
    let mut publisher = Raw::publish(relay.port, "show");
    publisher.send(crate::raw::VIDEO, 0, &picture(true, 0, 100));
    let copy = Raw::accept(&listener);
    let [_, _, Amf0Value::Object(says), ..] = copy.greeting.as_slice() else { panic!("{:?}", copy.greeting) };
    assert_eq!(says["fourCcList"], Amf0Value::StrictArray(vec![text("*")]));
    for name in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
        assert_eq!(says[name], map(&[("*", CAN_FORWARD)]));
    }
    let Amf0Value::Number(caps) = says["capsEx"] else { panic!("{says:?}") };
    assert_eq!(caps as u32 & !RECONNECT, MULTITRACK | MOD_EX | NANO_OFFSET);
}
