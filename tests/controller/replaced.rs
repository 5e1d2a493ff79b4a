//! A server that asks while another process takes over.

use super::backend::Backend;
use super::live::until;
use super::successor::Silent;
use super::{Node, at, nothing, relay, value};
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
