//! The server asks and notifies the back ends of its options, and after SIGHUP those that its file names then.

use std::fs;
use std::process::Command;

use hmac::{Hmac, Mac};
use md5::Digest;
use sha2::Sha256;

use super::backend::{Answer, Asked, Backend, json, redirect, status};
use super::support::program::Room;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::server::Relay;
use super::support::until;
use super::{Server, program};

#[test]
fn it_asks_whether_a_peer_may_publish_and_reports_the_end() {
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
    server.says("SIGHUP, options were read from");
    drop(Client::play(server.port, "show"));
    assert_eq!((backend.at("before").len(), backend.at("after").len()), (1, 1));
}

/// The header of a request with this body.
fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let hex = |byte: &u8| format!("{byte:02x}");
    format!("sha256={}", mac.finalize().into_bytes().iter().map(hex).collect::<String>())
}

#[test]
fn requests_are_signed_with_the_secret_of_the_file_and_states_of_pushes_are_reported() {
    let (room, backend) = (Room::new("bundled-hooks-secret"), Backend::new(|_| json("{}")));
    let path = room.file("secret");
    fs::write(&path, "the first one\r\n").unwrap();
    let (publish, state) = (backend.url("publish"), backend.url("state"));
    let mut server = Server::start(&[
        "--on-publish",
        &publish,
        "--on-target-state",
        &state,
        "--hooks-secret",
        path.to_str().unwrap(),
        "--push",
        "rtmp://127.0.0.1:1/app",
    ]);
    let signed_with = |at: &str, secret: &str| {
        let asked = until("it is asked or told", || backend.at(at).pop());
        assert_eq!(asked.header("x-rrelay-signature"), Some(&*signature(secret, &asked.body)), "{at}");
    };
    let publisher = Client::publish(server.port, "show");
    signed_with("publish", "the first one");
    signed_with("state", "the first one");
    drop(publisher);
    fs::write(&path, "another").unwrap();
    server.signal(1);
    server.says("SIGHUP: the files of secrets, tokens and roots were read again");
    drop(Client::publish(server.port, "next"));
    signed_with("publish", "another");
}

#[test]
fn a_silent_back_end_lets_in_only_where_it_may() {
    let backend = Backend::new(|_| Answer::Silence);
    let options = ["--on-publish", &backend.url("publish"), "--hooks-timeout", "100"];
    let server = Server::start(&options);
    let mut refused = Client::ask_to_publish(server.port, "show");
    refused.wait_over();
    assert!(!refused.started);
    let server = Server::start(&[&options[..], &["--hooks-fail-open"]].concat());
    drop(Client::publish(server.port, "show"));
    assert_eq!(backend.at("publish").len(), 2);
}

#[test]
fn updates_come_as_often_as_the_options_say_and_by_get_where_they_do() {
    let backend = Backend::new(|_| status("200 OK"));
    let options =
        ["--notify=nginx", "--notify-method=get", "--hooks-update=1000", "--on-update", &backend.url("update")];
    let server = Server::start(&options);
    let _publisher = Client::publish(server.port, "show");
    let asked = until("two updates", || (backend.at("update").len() >= 2).then(|| backend.at("update")));
    for update in asked {
        assert!(update.line.starts_with("GET /update?") && update.body.is_empty(), "{}", update.line);
        assert_eq!(update.field("call").as_deref(), Some("update_publish"));
    }
}

#[test]
fn a_redirect_as_the_answer_to_an_update_ends_a_session_only_where_the_option_says_so() {
    let backend = Backend::new(|asked| match asked.path() {
        "/update" => redirect("elsewhere"),
        _ => status("200 OK"),
    });
    let options = ["--notify=nginx", "--hooks-update=1000", "--on-update", &backend.url("update")];
    let server = Server::start(&options);
    let mut publisher = Client::publish(server.port, "show");
    until("another update after its answer", || (backend.at("update").len() >= 2).then_some(()));
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    let mut player = Client::play(server.port, "show");
    player.wait("it goes on", |player| !player.video.is_empty());
    let server = Server::start(&[&options[..], &["--notify-update-strict"]].concat());
    Client::publish(server.port, "strict").wait_over();
    let strict = |update: &&Asked| update.field("name").as_deref() == Some("strict");
    assert_eq!(backend.at("update").iter().filter(strict).count(), 1);
}

#[test]
fn a_stream_that_is_redirected_has_the_md5_of_the_address_as_name_only_where_the_option_says_so() {
    let far = Relay::new();
    let url = far.url("far");
    let hash: String = md5::Md5::digest(&url).iter().map(|byte| format!("{byte:02x}")).collect();
    let location = url.clone();
    let backend = Backend::new(move |_| redirect(&location));
    let options = ["--notify=nginx", "--on-publish", &backend.url("publish")];
    for (more, name) in [(&[][..], "show"), (&["--notify-relay-redirect"], &*hash)] {
        let server = Server::start(&[&options[..], more].concat());
        let mut publisher = Client::publish(server.port, "show");
        publisher.send(0, sequence_header(1));
        publisher.send(0, key_frame(1));
        for (port, key) in [(far.port, "far"), (server.port, name)] {
            let mut player = Client::play(port, key);
            player.wait("its media", |player| !player.video.is_empty());
        }
        drop((publisher, server));
        until("the push has left", || far.stream("far").is_none().then_some(()));
    }
}

#[test]
fn options_of_hooks_that_would_do_nothing_end_the_start() {
    let room = Room::new("bundled-hooks-wrong");
    let empty = room.file("empty");
    fs::write(&empty, "\n").unwrap();
    for (options, code, words) in [
        (&["--hooks-timeout", "100"][..], 2, "--hooks-timeout needs a hook such as --on-publish"),
        (&["--on-play=http://h/", "--hooks-timeout", "99"], 2, "--hooks-timeout 99: wrong value"),
        (&["--on-play=http://h/", "--notify-method", "put"], 2, "--notify-method put: wrong value"),
        (&["--on-play=http://h/", "--hooks-secret", "/no/such/file"], 2, "/no/such/file: No such file"),
        (&["--on-play=http://h/", "--hooks-secret", empty.to_str().unwrap()], 2, "that file is empty"),
        (&["--on-play=http://h/", "--notify-method", "get"], 1, "cannot use the hooks: "),
        (&["--on-play=https://h/", "--hooks-ca", "/no/such/ca.pem"], 1, "/no/such/ca.pem"),
    ] {
        let output = Command::new(program()).args(["--port", "0"]).args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{options:?}: {said}");
    }
}
