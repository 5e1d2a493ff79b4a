//! nginx-rtmp's `/stat` and `/control`, before those who read and call them: each reads as the programs do that people have.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/flv.rs"]
mod flv;
#[path = "support/live.rs"]
mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use live::{Client, Live, PATIENCE, until};
use quick_xml::events::Event;
use rrelay::config::ServerConfig;
use rrelay::proto::command::CAPS_RECONNECT;
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::{ListenOptions, Role, kind};
use rrelay::session::{Event as Said, SessionConfig};
use serde::Deserialize;

const TOKEN: &str = "token-of-tests";

/// What NOALBS' provider `Nginx` takes out of `/stat`, by serde over quick-xml as it does: one server, and of a stream its
/// name, the rate of its pictures, and facts of both pictures and sound or none.
#[derive(Debug, Deserialize)]
struct Rtmp {
    server: Server,
}

#[derive(Debug, Deserialize)]
struct Server {
    application: Vec<Application>,
}

#[derive(Debug, Deserialize)]
struct Application {
    name: String,
    live: Option<Streams>,
}

#[derive(Debug, Deserialize)]
struct Streams {
    stream: Option<Vec<Stream>>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    name: String,
    bw_video: u32,
    meta: Option<Meta>,
    active: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    video: Video,
    audio: Audio,
}

#[derive(Debug, Deserialize)]
struct Video {
    width: u32,
    height: u32,
    frame_rate: f64,
    codec: String,
    profile: Option<String>,
    compat: Option<u32>,
    level: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Audio {
    codec: Option<String>,
    profile: Option<String>,
    channels: Option<u32>,
    sample_rate: Option<u32>,
}

/// A request without a token in its head; gives status and body.
fn ask(port: u16, method: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = if method == "GET" { String::new() } else { format!("Authorization: Bearer {TOKEN}\r\n") };
    write!(socket, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn stat(port: u16) -> String {
    let (status, xml) = ask(port, "GET", &format!("/stat?token={TOKEN}"));
    assert_eq!(status, 200, "{xml}");
    xml
}

/// The stream as NOALBS finds it; `None` where it takes it for offline.
fn noalbs(xml: &str, app: &str, key: &str) -> Option<Stream> {
    let rtmp: Rtmp = quick_xml::de::from_str(xml).ok()?;
    let apps = rtmp.server.application.into_iter().filter(|application| application.name == app);
    let streams = apps.filter_map(|application| application.live?.stream).flatten();
    streams.into_iter().find(|stream| stream.name == key && stream.active.is_some())
}

/// Every element by its path, with the text in it, in order.
fn elements(xml: &str) -> Vec<(String, String)> {
    let mut reader = quick_xml::Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    let (mut path, mut found, mut at): (Vec<String>, Vec<(String, String)>, Vec<usize>) = Default::default();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                assert_eq!(start.attributes().count(), 0, "nginx-rtmp has no attributes");
                path.push(start.name().as_ref().to_owned());
                at.push(found.len());
                found.push((path.join("/"), String::new()));
            }
            Event::Text(text) => {
                if let Some(&at) = at.last() {
                    found[at].1 += text.trim();
                }
            }
            Event::End(_) => {
                path.pop();
                at.pop();
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

const STREAM: &str = "rtmp/server/application/live/stream";

/// A server with pictures and sound at `live/show` from a publisher with two players, and its `/stat` at a port.
struct Shown {
    live: Live,
    rest: u16,
    publisher: Client,
    players: Vec<Client>,
    ts_ms: u32,
    _rest: Rest,
}

impl Shown {
    fn new() -> Self {
        let live = Live::new(ServerConfig::default());
        let rest = Rest::new(Arc::clone(&live.server));
        let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
        let mut publisher = live.publish("show");
        // AVC's and AAC's sequence headers: 720 x 576, High; 44100 samples of two channels.
        let avc = [
            0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 0x18, 0x67, 0x64, 0, 0x1e, 0xac, 0xd9, 0x40, 0xb4, 0x24,
            0xd8, 8, 0x80, 0, 0, 3, 0, 0x80, 0, 0, 0x19, 0xf, 0x8a, 0x14, 0xcb, 1, 0, 6, 0x68, 0xfb, 0xa3, 0xcb, 0x22,
            0xc0, 0xfd, 0xf8, 0xf8, 0,
        ];
        publisher.send(9, 0, &avc).unwrap();
        publisher.send(8, 0, &[0xaf, 0, 0x12, 0x10, 0x56, 0xe5, 0]).unwrap();
        let players = vec![live.play("show"), live.play("show")];
        Self { live, rest: port, publisher, players, ts_ms: 0, _rest: rest }
    }

    /// Sends media until `/stat` is as wanted; gives it.
    fn flows_until(&mut self, what: &str, so: impl Fn(&str) -> bool) -> String {
        let mut xml = String::new();
        until(what, || {
            for _ in 0..5 {
                self.ts_ms += 40;
                self.publisher.key_frame(self.ts_ms, &[7; 4_000]).unwrap();
                for player in &mut self.players {
                    let _ = player.turn(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            xml = stat(self.rest);
            so(&xml)
        });
        xml
    }
}

#[test]
fn noalbs_finds_streams_their_rates_and_codecs_in_its_own_structs() {
    let mut shown = Shown::new();
    // Sound alone has no `meta`, and codecs that nginx-rtmp never had are no number in a text's place.
    let server = Arc::clone(&shown.live.server);
    let radio = server.stream_create(b"other", b"radio", None).unwrap();
    server.stream_write(radio, 8, 0, &[0xaf, 0, 0x12, 0x10, 0x56, 0xe5, 0], false).unwrap();
    let new = server.stream_create(b"other", b"new & <improved>", None).unwrap();
    let film = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/media/hevc-opus.flv");
    for tag in flv::read(film.as_ref()) {
        server.stream_write(new, tag.kind, tag.ts_ms.into(), &tag.body, false).unwrap();
    }
    server.stream_create(b"idle", b"nobody", None).unwrap();
    let has_rates = |xml: &str| {
        let Some(Stream { bw_video, meta: Some(meta), .. }) = noalbs(xml, "live", "show") else { return false };
        bw_video / 1024 > 0 && meta.video.frame_rate > 0.0
    };
    let xml = shown.flows_until("rates", has_rates);
    let Meta { video, audio } = noalbs(&xml, "live", "show").unwrap().meta.unwrap();
    assert_eq!((video.width, video.height, video.codec.as_str()), (720, 576, "H264"));
    assert_eq!((video.profile.as_deref(), video.compat, video.level), (Some("High"), Some(0), Some(3.0)));
    assert_eq!((audio.codec.as_deref(), audio.profile.as_deref()), (Some("AAC"), Some("LC")));
    assert_eq!((audio.channels, audio.sample_rate), (Some(2), Some(44_100)));
    assert!(noalbs(&xml, "other", "radio").unwrap().meta.is_none());
    let Meta { video, audio } = noalbs(&xml, "other", "new & <improved>").unwrap().meta.unwrap();
    assert_eq!((video.codec.as_str(), video.width, video.compat), ("H265", 64, None));
    assert_eq!((audio.codec.as_deref(), audio.channels.is_some()), (Some("Opus"), true));
    assert!(noalbs(&xml, "idle", "nobody").is_none() && noalbs(&xml, "other", "show").is_none());
    drop(shown.publisher);
    until("who has gone is offline", || noalbs(&stat(shown.rest), "live", "show").is_none());
}

#[test]
fn a_server_without_streams_is_no_error_for_noalbs() {
    let live = Live::new(ServerConfig::default());
    let rest = Rest::new(Arc::clone(&live.server));
    let xml = stat(rest.listen(":0", TOKEN, RestOptions::default()).unwrap());
    let Rtmp { server } = quick_xml::de::from_str(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let named = server.application.iter().any(|application| !application.name.is_empty());
    assert!(!named && noalbs(&xml, "live", "show").is_none(), "{xml}");
}

#[test]
fn readers_by_path_and_by_place_find_what_they_look_for() {
    let mut shown = Shown::new();
    let played = |xml: &str| {
        let all = elements(xml);
        let of = |path: &str| all.iter().find(|(found, _)| found == path).map_or("", |(_, text)| text).to_owned();
        ["bw_in", "bw_out", "bytes_out"].iter().all(|name| !matches!(&*of(&format!("rtmp/{name}")), "" | "0"))
            && of(&format!("{STREAM}/nclients")) == "3"
    };
    let xml = shown.flows_until("figures of all", played);
    let all = elements(&xml);
    let number = |path: &str| -> u64 {
        let (_, text) = all.iter().find(|(found, _)| found == path).unwrap_or_else(|| panic!("{path} in {xml}"));
        text.parse().unwrap_or_else(|_| panic!("{path} is {text}"))
    };
    // nginx_rtmp_prometheus: the sums, and every `stream` wherever it is, with its application two above it.
    for name in ["bytes_in", "bytes_out", "bw_in", "bw_out", "uptime", "naccepted"] {
        number(&format!("rtmp/{name}"));
    }
    let streams: Vec<_> = all.iter().filter(|(path, _)| path.ends_with("/stream")).collect();
    assert!(streams.len() == 1 && streams[0].0 == STREAM, "{streams:?}");
    for name in ["bytes_in", "bytes_out", "bw_in", "bw_out", "time"] {
        number(&format!("{STREAM}/{name}"));
    }
    // In the order of nginx-rtmp: a publisher and two players.
    let inner = format!("{STREAM}/");
    let children: Vec<_> =
        all.iter().filter_map(|(path, _)| path.strip_prefix(&inner).filter(|name| !name.contains('/'))).collect();
    let traffic = ["name", "time", "bw_in", "bytes_in", "bw_out", "bytes_out", "bw_audio", "bw_video"];
    let rest = ["client", "client", "client", "meta", "nclients", "publishing", "active"];
    assert_eq!(children, [&traffic[..], &rest].concat());
    // Monitors that count in the text: the second `bytes_in` is the stream's, the first `time` too; `name` is the application's
    // and then the stream's.
    let place = |name: &str, n: usize| {
        let rest = xml.split(&format!("<{name}>")).nth(n).unwrap();
        rest.split(&format!("</{name}>")).next().unwrap().to_owned()
    };
    assert_eq!(place("bytes_in", 1), number("rtmp/bytes_in").to_string());
    assert_eq!(place("bytes_in", 2), number(&format!("{STREAM}/bytes_in")).to_string());
    assert_eq!(place("time", 1), number(&format!("{STREAM}/time")).to_string());
    assert_eq!([place("name", 1), place("name", 2)], ["live", "show"]);
}

#[test]
fn connections_that_have_gone_stay_in_the_count_of_accepted_ones() {
    let Shown { live, rest, publisher, players, _rest, .. } = Shown::new();
    let accepted = || elements(&stat(rest)).into_iter().find(|(path, _)| path == "rtmp/naccepted").unwrap().1;
    assert_eq!(accepted(), "3");
    drop((publisher, players));
    until("all have gone", || live.sessions() == 0);
    assert_eq!(accepted(), "3");
    drop(live.publish("show"));
    assert_eq!(accepted(), "4");
    // One that the host has accepted.
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(own.local_addr().unwrap()).unwrap();
    live.server.accept_fd(own.accept().unwrap().0.into(), None, ListenOptions::default()).unwrap();
    assert_eq!(accepted(), "5");
    drop(peer);
    live.server.accept_fd(own.into(), None, ListenOptions::default()).unwrap_err();
    assert_eq!(accepted(), "5", "a socket that is refused is no connection");
}

#[test]
fn a_client_is_dropped_by_its_number_of_stat() {
    let mut shown = Shown::new();
    let xml = shown.flows_until("all are there", |xml| xml.matches("<client>").count() == 3);
    let all = elements(&xml);
    // The publisher says so behind its number.
    let mut number = "";
    for (path, text) in &all {
        match path.strip_prefix(&format!("{STREAM}/client/")) {
            Some("id") => number = text,
            Some("publishing") => break,
            _ => {}
        }
    }
    let drop_it = |filter: &str| ask(shown.rest, "POST", &format!("/control/drop/{filter}"));
    assert_eq!(drop_it(&format!("subscriber?clientid={number}")), (200, "0".to_owned()), "it is a publisher");
    assert_eq!(drop_it(&format!("publisher?app=live&name=show&clientid={number}")), (200, "1".to_owned()));
    shown.publisher.closed();
    until("it counts no longer", || drop_it(&format!("client?clientid={number}")) == (200, "0".to_owned()));
    let (status, reason) = ask(shown.rest, "POST", "/control/redirect/client");
    assert!(status == 400 && reason.contains("newname is missing"), "{status} {reason}");
    for filter in ["app=other", "app=&name=", "app=&addr=", "app=&clientid="] {
        assert_eq!(drop_it(&format!("subscriber?{filter}")), (200, "0".to_owned()), "{filter}");
    }
    let mut begins = live::shaken(shown.live.port);
    begins.write_all(&live::connect()).unwrap();
    until("it is connected", || {
        let sessions = shown.live.server.list(0, kind::SESSION).unwrap();
        let infos = sessions.into_iter().filter_map(|id| shown.live.server.info(id).ok());
        infos.filter(|info| info.role == Role::None && info.app == b"live").count() == 1
    });
    assert_eq!(drop_it("client?app=live&name="), (200, "0".to_owned()), "it neither publishes nor plays");
    assert_eq!(drop_it("subscriber?app=&addr=127.0.0.1"), (200, "2".to_owned()), "an empty application is any");
    for player in &mut shown.players {
        player.closed();
    }
}

#[test]
fn a_redirect_asks_a_peer_that_understands_it_to_connect_again_and_closes_any_other() {
    let live = Live::new(ServerConfig::default());
    let rest = Rest::new(Arc::clone(&live.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    let mut publisher = live.publish("show");
    let follows = SessionConfig { caps_ex: CAPS_RECONNECT, ..SessionConfig::default() };
    let mut follower = Client::configured(live.port, "show", false, &follows).unwrap();
    let mut other = live.play("show");
    let redirect = |what: &str| ask(port, "POST", &format!("/control/redirect/{what}"));
    assert_eq!(redirect("subscriber?app=live&name=absent&newname=next"), (200, "0".to_owned()));
    assert_eq!(redirect("subscriber?app=live&name=show&newname=next"), (200, "2".to_owned()));
    other.closed();
    let url = format!("rtmp://127.0.0.1:{}/live/next", live.port);
    let asked = |said: &Said| matches!(said, Said::Reconnect { url: Some(to), .. } if *to == url);
    until("the request to reconnect", || {
        follower.turn(Duration::from_millis(10)).unwrap();
        follower.said.iter().any(asked)
    });
    publisher.key_frame(0, &[7; 100]).unwrap();
    assert_eq!(follower.message().1[5..], [7; 100], "it plays on until it follows");
    assert_eq!(redirect("publisher?newname=next"), (200, "1".to_owned()));
    publisher.closed();
}
