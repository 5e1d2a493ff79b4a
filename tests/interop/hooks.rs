//! nginx-rtmp and our server with the same back end: the requests of both are compared field by field.

use std::sync::Arc;
use std::time::Duration;

use rml_amf0::Amf0Value;
use rrelay::config::{Dialect, HooksConfig, ServerConfig};
use rrelay::rest::Rest;
use rrelay::server::{LevelFilter, ListenOptions, RRServer};
use rrelay::session::SessionConfig;

use crate::backend::{Asked, Backend, redirect, status};
use crate::live::Client as Player;
use crate::raw::Raw;
use crate::support::flv::VIDEO;
use crate::support::nginx::Nginx;
use crate::support::program::Room;
use crate::support::rml::{Client, key_frame};
use crate::support::server::Relay;
use crate::support::until;

/// Characters with a meaning in forms, and a word with non-ASCII characters.
const KEY: &str = "s+h&o;w#1=%20_\u{e9}/x?token=a%20b&y=[1]&z";

/// The values that differ between the servers: port, numbers, clock.
const OWN: [&str; 5] = ["tcurl", "clientid", "epoch", "time", "timestamp"];

const HOOKS: [&str; 6] = ["on_connect", "on_publish", "on_play", "on_publish_done", "on_play_done", "on_update"];

/// A publisher and a player come and go; gives the first request of each call.
fn requests_of(backend: &Backend, port: u16) -> Vec<Asked> {
    let mut publisher = Client::publish(port, KEY);
    publisher.send(40, key_frame(7));
    // A player whose play command has its arguments, as players send it.
    let player = Player::configured(port, KEY, false, &SessionConfig::default()).unwrap();
    until("updates of both", || {
        let calls: Vec<_> = backend.at("on_update").iter().filter_map(|asked| asked.field("call")).collect();
        ["update_publish", "update_play"].iter().all(|call| calls.iter().any(|other| other == call)).then_some(())
    });
    drop(player);
    until("the player's end", || backend.at("on_play_done").pop());
    drop(publisher);
    until("the publisher's end", || backend.at("on_publish_done").pop());
    let mut first: Vec<Asked> = Vec::new();
    for asked in backend.asked() {
        if first.iter().all(|other| other.field("call") != asked.field("call")) {
            first.push(asked);
        }
    }
    first.sort_by_key(|asked| asked.field("call"));
    first
}

/// All hooks of ours at one back end, as nginx-rtmp's.
fn all_hooks(backend: &Backend) -> HooksConfig {
    let url = |hook: &str| Some(backend.url(hook));
    HooksConfig {
        on_connect: url("on_connect"),
        on_publish: url("on_publish"),
        on_play: url("on_play"),
        on_publish_done: url("on_publish_done"),
        on_play_done: url("on_play_done"),
        on_update: url("on_update"),
        dialect: Dialect::Nginx,
        update_ms: Some(1_000),
        ..HooksConfig::default()
    }
}

/// A server of ours with hooks, and its port.
fn hooked(config: HooksConfig) -> (Rest, u16) {
    let server = Arc::new(RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap());
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    let rest = Rest::new(server);
    rest.set_hooks(Some(config)).unwrap();
    (rest, port)
}

/// The requests are the same, field by field, but for what each server has of its own.
fn assert_same(ours: &[Asked], theirs: &[Asked]) {
    let calls = |all: &[Asked]| all.iter().map(|asked| (asked.field("call"), asked.field("name"))).collect::<Vec<_>>();
    assert_eq!(calls(ours), calls(theirs));
    for (ours, theirs) in ours.iter().zip(theirs) {
        let head = |asked: &Asked| {
            let target: Vec<_> = asked.line.split(['?', ' ']).take(2).map(str::to_owned).collect();
            let headers = asked.headers.iter().filter(|(name, _)| name != "Host" && name != "Content-Length");
            let names: Vec<_> = asked.headers.iter().map(|(name, _)| name.clone()).collect();
            (target, asked.line.ends_with(" HTTP/1.0"), headers.cloned().collect::<Vec<_>>(), names)
        };
        assert_eq!(head(ours), head(theirs), "{theirs:?}");
        let fields = |asked: &Asked| {
            let own = |(name, value): (String, String)| {
                let value = if OWN.contains(&name.as_str()) { String::new() } else { value };
                (name, value)
            };
            asked.fields().into_iter().map(own).collect::<Vec<_>>()
        };
        assert_eq!(fields(ours), fields(theirs), "{theirs:?}");
        // Without its port the address is the same too.
        let tc_url = |asked: &Asked| {
            let url = asked.field("tcurl").unwrap();
            url.split_once("127.0.0.1:")
                .map(|(_, rest)| rest.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
        };
        assert_eq!(tc_url(ours), tc_url(theirs));
    }
}

#[test]
fn a_back_end_of_nginx_rtmp_gets_the_same_requests() {
    for get in [false, true] {
        let room = Room::new(if get { "hooks-get" } else { "hooks-post" });
        let theirs = Backend::new(|_| status("200 OK"));
        let hooks = HOOKS.map(|hook| format!("{hook} {};", theirs.url(hook))).join(" ");
        let method = if get { "get" } else { "post" };
        let nginx = Nginx::notifies(&room, &format!("{hooks} notify_method {method}; notify_update_timeout 1s;"));
        let theirs = requests_of(&theirs, nginx.port);

        let ours = Backend::new(|_| status("200 OK"));
        let config = HooksConfig { get, ..all_hooks(&ours) };
        let (_rest, port) = hooked(config);
        let ours = requests_of(&ours, port);

        assert_eq!(ours.len(), 7, "one of each call");
        assert_same(&ours, &theirs);
    }
}

/// The fields of the question about a play that are the player's own numbers, for some players.
fn numbers_of_plays(backend: &Backend, port: u16) -> Vec<[Option<String>; 3]> {
    let number = Amf0Value::Number;
    let sent = [
        vec![],
        vec![number(-2.0)],
        vec![number(-2_000.0), number(-1.0), Amf0Value::Boolean(true)],
        vec![number(1_500.0), number(10_000.0), Amf0Value::Boolean(false)],
    ];
    let ask = |(n, sent): (usize, &Vec<Amf0Value>)| {
        let _player = Raw::asks_to_play(port, "show", sent);
        let play = until("a question", || backend.at("on_play").into_iter().nth(n));
        ["start", "duration", "reset"].map(|name| play.field(name))
    };
    sent.iter().enumerate().map(ask).collect()
}

#[test]
fn the_numbers_of_a_play_are_told_as_by_nginx_rtmp() {
    let room = Room::new("hooks-numbers");
    let theirs = Backend::new(|_| status("200 OK"));
    let nginx = Nginx::notifies(&room, &format!("on_play {};", theirs.url("on_play")));
    let ours = Backend::new(|_| status("200 OK"));
    let (_rest, port) = hooked(all_hooks(&ours));
    assert_eq!(numbers_of_plays(&ours, port), numbers_of_plays(&theirs, nginx.port));
}

/// What a back end says that sends streams elsewhere: to another name, or to another server.
fn sends_away(far: u16) -> Backend {
    Backend::new(move |asked| match (asked.path(), asked.field("name").as_deref()) {
        ("/on_publish", Some("renamed")) | ("/on_play", Some("alias")) => redirect("given"),
        ("/on_publish", Some("pushed")) => redirect(&format!("rtmp://127.0.0.1:{far}/live/copy")),
        ("/on_play", Some("pulled")) => redirect(&format!("rtmp://127.0.0.1:{far}/live/origin")),
        _ => status("200 OK"),
    })
}

/// Streams go where the back end sends them; gives what it was asked of each publisher and player, by call and name. nginx-rtmp
/// tells of its own connections too, and those are left out.
fn sent_away(backend: &Backend, port: u16, far: &Relay) -> Vec<Asked> {
    let send = |publisher: &mut Client, n: &mut u32| {
        *n += 1;
        publisher.send(*n * 40, key_frame(*n));
    };
    let plays = |key: &str, publisher: &mut Client| {
        let mut player = Player::configured(port, key, false, &SessionConfig::default()).unwrap();
        let mut n = 0;
        until(&format!("{key} plays"), || {
            send(publisher, &mut n);
            player.turn(Duration::from_millis(10)).unwrap();
            player.messages.iter().any(|(head, _)| head.type_id == VIDEO).then_some(())
        });
        player
    };
    let mut renamed = Client::publish(port, "renamed");
    let alias = plays("alias", &mut renamed);
    let mut origin = Client::publish(far.port, "origin");
    let pulled = plays("pulled", &mut origin);
    let mut pushed = Client::publish(port, "pushed");
    let mut n = 0;
    until("what is pushed arrives", || {
        send(&mut pushed, &mut n);
        let stats = far.server.stats(far.stream("copy")?).ok()?;
        (stats.msgs_in > 0).then_some(())
    });
    let own = |asked: &Asked| match asked.path() {
        "/on_publish" | "/on_publish_done" => {
            ["renamed", "pushed"].contains(&&*asked.field("name").unwrap_or_default())
        }
        "/on_play" | "/on_play_done" => ["alias", "pulled"].contains(&&*asked.field("name").unwrap_or_default()),
        _ => false,
    };
    let dones = |count: usize| {
        until("their ends", || {
            let done = ["on_publish_done", "on_play_done"].into_iter().flat_map(|hook| backend.at(hook));
            (done.filter(own).count() >= count).then_some(())
        });
    };
    drop((alias, pulled));
    dones(2);
    drop((renamed, pushed, origin));
    dones(4);
    let mut asked: Vec<Asked> = backend.asked().into_iter().filter(own).collect();
    asked.sort_by_key(|asked| (asked.field("call"), asked.field("name")));
    asked
}

#[test]
fn a_redirected_stream_causes_the_same_requests_as_with_nginx_rtmp() {
    for relay_redirect in [false, true] {
        let room = Room::new(if relay_redirect { "hooks-away-named" } else { "hooks-away" });
        let far = Relay::new();
        let theirs = sends_away(far.port);
        let hooks = HOOKS.map(|hook| format!("{hook} {};", theirs.url(hook))).join(" ");
        let named = if relay_redirect { "on" } else { "off" };
        let nginx = Nginx::notifies(&room, &format!("{hooks} notify_relay_redirect {named};"));
        let theirs = sent_away(&theirs, nginx.port, &far);
        drop(nginx);

        let far = Relay::new();
        let ours = sends_away(far.port);
        let (_rest, port) = hooked(HooksConfig { relay_redirect, ..all_hooks(&ours) });
        let ours = sent_away(&ours, port, &far);
        assert_eq!(ours.len(), 8, "a question and an end of each");
        assert_same(&ours, &theirs);
    }
}
