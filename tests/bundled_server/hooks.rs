//! The server asks and tells the back ends that its options name, and after SIGHUP those that its file names then.

use std::fs;

use super::Server;
use super::backend::{Backend, json, status};
use super::support::program::Room;
use super::support::rml::Client;
use super::support::until;

#[test]
fn it_asks_who_may_publish_and_tells_of_the_end() {
    let backend = Backend::new(|asked| match asked.field("name").as_deref() {
        Some("denied") => status("403 Forbidden"),
        _ => status("200 OK"),
    });
    let (publish, done) = (backend.url("on_publish"), backend.url("done"));
    let server = Server::start(&["--notify", "nginx", "--on-publish", &publish, "--on-publish-done", &done]);
    let mut denied = Client::ask_to_publish(server.port, "denied");
    denied.wait_over();
    assert!(!denied.started);
    drop(Client::publish(server.port, "show"));
    until("the end is told", || backend.at("done").pop());
    assert_eq!(backend.at("done")[0].field("call").as_deref(), Some("publish_done"));
    assert_eq!(backend.at("on_publish").len(), 2);
}

#[test]
fn sighup_changes_who_is_asked() {
    let (room, backend) = (Room::new("bundled-hooks"), Backend::new(|_| json("{}")));
    let path = room.file("options");
    let write = |hook: &str| fs::write(&path, format!("on-play {}\n", backend.url(hook))).unwrap();
    write("before");
    let mut server = Server::start(&["--config", path.to_str().unwrap()]);
    drop(Client::play(server.port, "show"));
    assert_eq!(backend.at("before").len(), 1);
    write("after");
    server.signal(1);
    server.says("SIGHUP, options are read");
    drop(Client::play(server.port, "show"));
    assert_eq!((backend.at("before").len(), backend.at("after").len()), (1, 1));
}
