//! The dialect of nginx-rtmp's notify module: the requests on the wire, the effect of each answer, and its traps.

use super::backend::{Answer, Asked, Backend, redirect, status};
use super::live::{Client, until};
use super::raw::Raw;
use super::{Hooked, all};
use rml_amf0::Amf0Value;
use rrelay::config::{Dialect, HooksConfig};
use rrelay::error::{Failure, RRError};
use rrelay::server::kind;
use rrelay::session::SessionConfig;

fn begin(hooked: &Hooked, key: &str, publish: bool) -> Result<Client, Failure> {
    Client::configured(hooked.live.port, key, publish, &SessionConfig::default())
}

fn names(asked: &Asked) -> Vec<String> {
    asked.fields().into_iter().map(|(name, _)| name).collect()
}

const COMMON: [&str; 6] = ["app", "flashver", "swfurl", "tcurl", "pageurl", "addr"];

fn fields_of(call: &str) -> Vec<&'static str> {
    let own: &[&str] = match call {
        "connect" => &["epoch", "call"],
        "publish" => &["clientid", "call", "name", "type", "token"],
        "play" => &["clientid", "call", "name", "start", "duration", "reset", "token"],
        "update_publish" => &["clientid", "call", "time", "timestamp", "name", "token"],
        _ => &["clientid", "call", "name", "token"],
    };
    [&COMMON, own].concat()
}

#[test]
fn requests_have_its_fields_in_its_order_by_post_and_by_get() {
    for get in [false, true] {
        let backend = Backend::new(|_| status("200 OK"));
        let config = HooksConfig {
            get,
            on_update: Some(backend.url("on_update")),
            update_ms: Some(1_000),
            ..all(&backend, Dialect::Nginx)
        };
        let hooked = Hooked::new(config);
        let mut publisher = begin(&hooked, "show?token=a%20b&name=other&app=x", true).unwrap();
        publisher.key_frame(40, &[7; 100]).unwrap();
        let frame_is_told = |asked: &Asked| asked.field("timestamp").as_deref() == Some("40");
        until("an update", || backend.at("on_update").iter().any(frame_is_told));
        drop(begin(&hooked, "show?token=c", false).unwrap());
        drop(publisher);
        until("both ends", || backend.at("on_publish_done").len() + backend.at("on_play_done").len() == 2);
        for asked in backend.asked() {
            let call = asked.field("call").unwrap();
            assert_eq!(names(&asked), fields_of(&call), "{call}");
            let method = if get { "GET" } else { "POST" };
            assert!(asked.line.starts_with(method) && asked.line.ends_with("HTTP/1.0"), "{}", asked.line);
            let headers: Vec<&str> = asked.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(headers, ["Host", "Content-Type", "Connection", "Content-Length"], "{call}");
            assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
            assert_eq!(asked.header("connection"), Some("Close"));
            assert_eq!(asked.body.is_empty(), get);
            assert_eq!(asked.field("addr").as_deref(), Some("127.0.0.1"));
        }
        let publish = backend.at("on_publish").remove(0);
        for (name, is) in [("app", "live"), ("name", "show"), ("type", "live"), ("token", "a%20b")] {
            assert_eq!(publish.field(name).as_deref(), Some(is), "{name}");
        }
        let play = backend.at("on_play").remove(0);
        assert_eq!(play.field("start").as_deref(), Some("4294965296"), "the player's -2000 in 32 bits");
        let update = backend.at("on_update").into_iter().find(frame_is_told).unwrap();
        assert!(update.field("time").unwrap().parse::<u32>().unwrap() >= 1, "seconds since it began");
    }
}

#[test]
fn the_numbers_of_a_play_are_those_that_the_player_sent() {
    let backend = Backend::new(|_| status("200 OK"));
    let hooked = Hooked::new(all(&backend, Dialect::Nginx));
    let number = Amf0Value::Number;
    for (n, (sent, told)) in [
        (vec![], ["0", "0", "0"]),
        (vec![number(-2.0)], ["4294967294", "0", "0"]),
        (vec![number(-2_000.0), number(-1.0), Amf0Value::Boolean(true)], ["4294965296", "4294967295", "1"]),
        (vec![number(1_500.0), number(10_000.0), Amf0Value::Boolean(false)], ["1500", "10000", "0"]),
    ]
    .into_iter()
    .enumerate()
    {
        let _player = Raw::asks_to_play(hooked.live.port, "show", &sent);
        until("it is asked", || backend.at("on_play").len() > n);
        let play = backend.at("on_play").remove(n);
        let fields = ["start", "duration", "reset"].map(|name| play.field(name).unwrap());
        assert_eq!(fields, told, "{sent:?}");
    }
}

#[test]
fn the_first_digit_of_the_status_decides() {
    for (said, lets_in) in [
        ("200 OK", true),
        ("204 No Content", true),
        ("302 Found", true),
        ("404 Not Found", false),
        ("500 Internal Server Error", false),
    ] {
        let backend = Backend::new(move |_| status(said));
        for hook in ["on_connect", "on_publish"] {
            let mut config = HooksConfig { dialect: Dialect::Nginx, ..HooksConfig::default() };
            let place = if hook == "on_connect" { &mut config.on_connect } else { &mut config.on_publish };
            *place = Some(backend.url(hook));
            let hooked = Hooked::new(config);
            let begun = begin(&hooked, "show", true);
            assert_eq!(begun.is_ok(), lets_in, "{hook}: {said}");
            if let Err(failure) = begun {
                assert!(failure.text.contains("Net"), "the encoder is told: {failure}");
            }
        }
    }
    let silent = Backend::new(|asked| if asked.path() == "/on_publish" { Answer::Close } else { status("200 OK") });
    let hooked = Hooked::new(all(&silent, Dialect::Nginx));
    assert!(begin(&hooked, "show", true).is_err(), "an empty answer is no");
}

#[test]
fn an_answer_counts_when_it_is_there_and_not_when_its_connection_closes() {
    let backend = Backend::new(|_| Answer::Open("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nand so".to_owned()));
    let config = HooksConfig { timeout_ms: 60_000, ..all(&backend, Dialect::Nginx) };
    let hooked = Hooked::new(config);
    // A client that waits for the end of the connection gets no answer in time, and the session is refused.
    begin(&hooked, "show", true).unwrap();
}

#[test]
fn a_back_end_drops_a_session_by_the_number_in_its_request() {
    let backend = Backend::new(|_| status("200 OK"));
    let hooked = Hooked::new(all(&backend, Dialect::Nginx));
    let mut publisher = begin(&hooked, "show", true).unwrap();
    let mut player = begin(&hooked, "show", false).unwrap();
    for (session, hook) in [(&mut player, "on_play"), (&mut publisher, "on_publish")] {
        let number = backend.at(hook)[0].field("clientid").unwrap();
        let answer = hooked.rest.handle("POST", &format!("/control/drop/client?app=live&clientid={number}"), b"");
        assert_eq!(answer.unwrap().body, "1", "{hook}");
        session.closed();
    }
}

#[test]
fn a_redirect_gives_another_name_or_another_application() {
    let backend = Backend::new(|asked| match asked.path() {
        "/on_connect" => redirect("other"),
        "/on_publish" => redirect("given"),
        _ => status("200 OK"),
    });
    let hooked = Hooked::new(all(&backend, Dialect::Nginx));
    let publisher = begin(&hooked, "show", true).unwrap();
    assert!(hooked.live.server.stream_find(b"other", b"given").is_ok());
    let publish = backend.at("on_publish").remove(0);
    assert_eq!((publish.field("app").as_deref(), publish.field("name").as_deref()), (Some("other"), Some("show")));
    drop(publisher);
    until("its end is told", || backend.at("on_publish_done").len() == 1);
    assert_eq!(
        backend.at("on_publish_done")[0].field("name").as_deref(),
        Some("show"),
        "under the name that it asked for"
    );
}

#[test]
fn a_redirect_to_another_server_pushes_there_or_pulls_from_there() {
    for relay_redirect in [false, true] {
        let away = Hooked::new(all(&Backend::new(|_| status("200 OK")), Dialect::Nginx));
        let url = format!("rtmp://127.0.0.1:{}/live/far", away.live.port);
        let name = if relay_redirect { md5(&url) } else { "show".to_owned() };
        let backend = Backend::new(move |asked| match asked.path() {
            "/on_publish" | "/on_play" => redirect(&url),
            _ => status("200 OK"),
        });
        let hooked = Hooked::new(HooksConfig { relay_redirect, ..all(&backend, Dialect::Nginx) });
        let mut publisher = begin(&hooked, "show", true).unwrap();
        publisher.key_frame(0, &[7; 100]).unwrap();
        let mut far = begin(&away, "far", false).unwrap();
        assert_eq!(far.message().1[5..], [7; 100], "it is pushed on");
        let server = &hooked.live.server;
        let stream = server.stream_find(b"live", name.as_bytes()).unwrap();
        assert_eq!(server.list(stream, kind::TARGET).unwrap().len(), 1);
        drop((publisher, far));
        until("the push has left", || away.live.server.stream_find(b"live", b"far").is_err());
        let mut origin = begin(&away, "far", true).unwrap();
        origin.key_frame(0, &[8; 100]).unwrap();
        let mut player = begin(&hooked, "show", false).unwrap();
        assert_eq!(player.message().1[5..], [8; 100], "it is pulled");
    }
}

fn md5(text: &str) -> String {
    use md5::Digest;
    md5::Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_update_that_is_answered_by_no_ends_the_session() {
    for (said, strict_update, ends) in [
        ("200 OK", true, false),
        ("302 Found", false, false),
        ("302 Found", true, true),
        ("403 Forbidden", false, true),
    ] {
        let backend =
            Backend::new(move |asked| if asked.path() == "/on_update" { status(said) } else { status("200 OK") });
        let config = HooksConfig {
            on_update: Some(backend.url("on_update")),
            update_ms: Some(1_000),
            strict_update,
            ..all(&backend, Dialect::Nginx)
        };
        let hooked = Hooked::new(config);
        let mut publisher = begin(&hooked, "show", true).unwrap();
        publisher.key_frame(0, &[7; 100]).unwrap();
        if ends {
            assert_eq!(hooked.live.end_of(&publisher.addr()).error, Some(RRError::Kicked), "{said}");
        } else {
            until("a second update", || backend.at("on_update").len() >= 2);
            assert_eq!(hooked.live.sessions(), 1, "{said}, strict: {strict_update}");
        }
    }
}

#[test]
fn a_back_end_that_answers_no_update_ends_the_session_unless_it_fails_open() {
    for (fail_open, answers) in [(false, false), (true, false), (false, true), (true, true)] {
        let backend = Backend::new(move |asked| match asked.path() {
            "/on_update" if answers => status("502 Bad Gateway"),
            "/on_update" => Answer::Close,
            _ => status("200 OK"),
        });
        let config = HooksConfig {
            on_update: Some(backend.url("on_update")),
            update_ms: Some(1_000),
            fail_open,
            ..all(&backend, Dialect::Nginx)
        };
        let hooked = Hooked::new(config);
        let mut publisher = begin(&hooked, "show", true).unwrap();
        publisher.key_frame(0, &[7; 100]).unwrap();
        if fail_open {
            until("a second update", || backend.at("on_update").len() >= 2);
            assert_eq!(hooked.live.sessions(), 1);
        } else {
            assert_eq!(hooked.live.end_of(&publisher.addr()).error, Some(RRError::Kicked));
        }
    }
}
