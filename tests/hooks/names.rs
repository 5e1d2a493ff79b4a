//! The names and statements of peers as back ends are told them, where they are as long as they may be.

use std::io::Write;

use super::backend::{Asked, Backend, json};
use super::live::{command, shaken, until};
use super::{Hooked, all};
use rrelay::config::{Dialect, MAX_NAME_BYTES, MAX_STATEMENT_BYTES, MAX_TC_URL_BYTES};
use rrelay::proto::amf0::Value;

/// The longest key that has `?token` behind it.
const KEY_BYTES: usize = MAX_NAME_BYTES - "?token".len();

/// A text of this many bytes, each of which takes six in JSON.
fn control(bytes: usize) -> String {
    "\u{1}".repeat(bytes)
}

/// A peer whose names are long, and whose statements about itself are longer than what is kept of them, asks to publish.
fn publish(port: u16) -> std::net::TcpStream {
    let mut socket = shaken(port);
    let (app, url, statement) = (format!("live?{}", control(1_000)), control(3_000), control(4_000));
    let url = format!("{url}?{}", control(2_000));
    let text = |text: &'static str, value| (text.as_bytes(), Value::String(value));
    let object = Value::Object(vec![
        text("app", app.as_bytes()),
        text("tcUrl", url.as_bytes()),
        text("flashVer", statement.as_bytes()),
        text("pageUrl", statement.as_bytes()),
        text("swfUrl", statement.as_bytes()),
    ]);
    let key = format!("{}?token", control(KEY_BYTES));
    let publish = [Value::Null, Value::String(key.as_bytes()), Value::String(b"live")];
    socket.write_all(&command(0, "connect", 1.0, &[object])).unwrap();
    socket.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
    socket.write_all(&command(1, "publish", 3.0, &publish)).unwrap();
    socket
}

fn value(asked: &Asked) -> serde_json::Value {
    serde_json::from_str(&asked.body).unwrap()
}

#[test]
fn what_a_peer_says_about_itself_is_cut_and_its_names_and_credentials_are_whole() {
    let backend = Backend::new(|_| json(r#"{"action": "allow"}"#));
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    let _peer = publish(hooked.live.port);
    until("it is asked", || !backend.at("on_publish").is_empty());
    let asked = value(&backend.at("on_publish")[0]);
    for (name, is) in [
        ("app", "live".to_owned()),
        ("key", control(KEY_BYTES)),
        ("query", control(1_000) + "&token"),
        ("tc_url", control(MAX_TC_URL_BYTES)),
        ("agent", control(MAX_STATEMENT_BYTES)),
        ("page_url", control(MAX_STATEMENT_BYTES)),
        ("swf_url", control(MAX_STATEMENT_BYTES)),
    ] {
        let told = asked[name].as_str().unwrap();
        assert!(told == is, "{name} has {} bytes", told.len());
    }
}
