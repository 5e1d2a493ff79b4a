//! A server that asks while another process takes over.

use super::backend::{Backend, json};
use super::live::until;
use super::moving;
use super::successor::Silent;
use super::{Node, at, nothing, relay, value, why};
use rrelay::session::Role;

#[test]
fn an_answer_that_changes_a_stream_waits_for_a_hand_over_and_delays_no_other_question() {
    let backend = Backend::new(|asked| match value(asked)["key"] == "show" {
        true => relay(&["rtmp://127.0.0.1:9/a"]),
        false => nothing(),
    });
    let node = Node::new(at(&backend));
    let [show, other] =
        ["show", "other"].map(|key| node.live.server.stream_create(b"live", key.as_bytes(), None).unwrap());
    let (mut successor, end) = Silent::new();
    std::thread::scope(|scope| {
        let handed = scope.spawn(|| node.live.server.hand_over(end, 60_000, 0));
        successor.is_greeted();
        node.rest.ask_controller(show, "moved").unwrap();
        node.live.line_with(&["controller, moved of live/", "relay rtmp://127.0.0.1"]);
        node.rest.ask_controller(other, "moved").unwrap();
        until("it is asked about the other", || backend.asked().len() == 2);
        assert_eq!(node.targets("show"), []);
        drop(successor);
        handed.join().unwrap().unwrap_err();
    });
    until("it is carried out then", || node.targets("show") == [(Role::Target, "rtmp://127.0.0.1:9/a".to_owned())]);
}

#[test]
fn a_server_that_takes_over_asks_again_about_what_players_wait_for() {
    let waits = Backend::new(|_| json(r#"{"action": "wait", "ttl_ms": 3600000}"#));
    let knows = Backend::new(|_| json(r#"{"action": "pull", "urls": ["rtmp://127.0.0.1:9/far"]}"#));
    let (old, new) = (Node::new(at(&waits)), Node::new(at(&knows)));
    let _player = old.begin("show", false).unwrap();
    until("it is told of", || !old.told().is_empty());
    assert_eq!(moving::hand_over(&old.live.server, &new.live.server), (Ok(()), Ok(())));
    until("it is pulled", || new.targets("show") == [(Role::Source, "rtmp://127.0.0.1:9/far".to_owned())]);
    assert_eq!(why(&knows.asked()[0]), "play");
}
