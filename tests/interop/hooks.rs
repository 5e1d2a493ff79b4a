//! nginx-rtmp beside us, with one and the same back end: what it is asked and told by both is compared field by field.

use std::sync::Arc;

use rrelay::config::{Dialect, HooksConfig, ServerConfig};
use rrelay::rest::Rest;
use rrelay::server::{LevelFilter, ListenOptions, RRServer};
use rrelay::session::SessionConfig;

use crate::backend::{Asked, Backend, status};
use crate::live::Client as Player;
use crate::support::nginx::Nginx;
use crate::support::program::Room;
use crate::support::rml::{Client, key_frame};
use crate::support::until;

/// Characters that forms have a meaning for, and a word beyond ASCII.
const KEY: &str = "s+h&o;w#1=%20_\u{e9}/x?token=a%20b&y=[1]&z";

/// What each server has of its own: its port, its numbers, its clock.
const OWN: [&str; 5] = ["tcurl", "clientid", "epoch", "time", "timestamp"];

const HOOKS: [&str; 6] = ["on_connect", "on_publish", "on_play", "on_publish_done", "on_play_done", "on_update"];

/// A publisher and a player come and go; gives the first request of each call.
fn requests_of(backend: &Backend, port: u16) -> Vec<Asked> {
    let mut publisher = Client::publish(port, KEY);
    publisher.send(40, key_frame(7));
    // One that says what it wants of the stream, as players do.
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
        let url = |hook: &str| Some(ours.url(hook));
        let server = Arc::new(RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap());
        let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
        let rest = Rest::new(server);
        let config = HooksConfig {
            on_connect: url("on_connect"),
            on_publish: url("on_publish"),
            on_play: url("on_play"),
            on_publish_done: url("on_publish_done"),
            on_play_done: url("on_play_done"),
            on_update: url("on_update"),
            dialect: Dialect::Nginx,
            get,
            update_ms: Some(1_000),
            ..HooksConfig::default()
        };
        rest.set_hooks(Some(config)).unwrap();
        let ours = requests_of(&ours, port);

        assert_eq!(ours.len(), 7, "one of each call");
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
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
}
