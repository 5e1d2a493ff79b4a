//! The log shows what happened, and no secrets.

use super::live::{Client, Live, until};
use crate::config::{ServerConfig, ask};
use crate::log::LevelFilter;
use crate::server::events::LogSink;
use crate::session::SessionConfig;

const KEY: &str = "show_me_nothing_of_this";

fn at(level: LevelFilter, config: ServerConfig) -> Live {
    let live = Live::new(config);
    let keep = std::sync::Arc::clone(&live.lines);
    let sink = LogSink::Callback(Box::new(move |_, module, line: &str| {
        keep.lock().unwrap().push(format!("{module}: {line}"));
    }));
    live.server.set_log(level, sink).unwrap();
    live
}

/// A publisher of three messages, and a player.
fn show(live: &Live) {
    let mut publisher = live.publish(KEY);
    for n in 0..3 {
        publisher.key_frame(n * 40, b"frame").unwrap();
    }
    until("they are there", || live.server.stats(0).unwrap().msgs_in == 3);
    let mut player = live.play(KEY);
    player.message();
}

#[test]
fn debug_lines_show_requests_and_decisions_but_no_key() {
    let live = at(LevelFilter::Debug, ServerConfig::default());
    show(&live);
    for words in [
        &["net::conn: 127.0.0.1:", " says connect to live (transaction 1, stream 0)"][..],
        &[" says publish of sho*** (transaction ", ", stream 1)"],
        &[" says play of sho*** (transaction "],
        &["session 127.0.0.1:", ": NONE -> HANDSHAKE"],
        &["stream live/sho***: IDLE -> IN_PROGRESS"],
    ] {
        live.line_with(words);
    }
    assert_eq!(live.lines_with(KEY), 0, "{:#?}", live.lines.lock().unwrap());
    assert_eq!(live.lines_with("message of type"), 0, "that is for TRACE");
}

#[test]
fn trace_has_a_line_for_every_message_that_is_published_and_none_of_other_libraries() {
    let live = at(LevelFilter::Trace, ServerConfig::default());
    show(&live);
    for ts_ms in [0, 40, 80] {
        live.line_with(&[&format!("live/sho***: message of type 9 at {ts_ms} ms, 10 bytes")]);
    }
    assert_eq!(live.lines_with(KEY), 0);
    assert_eq!(live.lines_with("mio"), 0, "{:#?}", live.lines.lock().unwrap());
}

#[test]
fn debug_has_the_hosts_decisions() {
    let asks = ServerConfig { ask: ask::PLAY, ask_ms: 1, ask_default_allow: false, ..ServerConfig::default() };
    let live = at(LevelFilter::Debug, asks);
    assert!(Client::configured(live.port, KEY, false, &SessionConfig::default()).is_err());
    live.line_with(&[" PlayAsk HANDSHAKE -> WAITING"]);
    live.line_with(&["127.0.0.1:", " wants to play live/sho***: denied: nobody allowed it in time"]);
    assert_eq!(live.lines_with(KEY), 0, "{:#?}", live.lines.lock().unwrap());
}

#[test]
fn the_event_of_a_refused_session_names_the_stream_it_wanted() {
    let asks =
        ServerConfig { ask: ask::PLAY | ask::PUBLISH, ask_ms: 1, ask_default_allow: false, ..ServerConfig::default() };
    let live = at(LevelFilter::Info, asks);
    for publish in [false, true] {
        let refused = Client::configured(live.port, KEY, publish, &SessionConfig::default());
        assert!(refused.is_err());
        let wish = if publish { "publish" } else { "play" };
        let words = format!(" (wants to {wish} live/sho***) was closed by us: refused: nobody allowed it in time");
        live.line_with(&["127.0.0.1:", &words]);
    }
    let mut web_client = std::net::TcpStream::connect(("127.0.0.1", live.port)).unwrap();
    std::io::Write::write_all(&mut web_client, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    live.line_with(&[" (has not said what it wants) was closed because of the peer: "]);
}
