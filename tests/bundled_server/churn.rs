//! Peers that come and go quickly: the server, built with sanitizers, survives them, even if its output is read late.

use std::io::Write;
use std::net::TcpStream;

use super::Server;
use super::support::rml::Client;
use super::support::until;

/// A message on a chunk stream of its own; it fits one chunk.
fn message(kind: u8, stream: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= 128);
    [&[4, 0, 0, 0, 0, 0, body.len() as u8, kind, stream, 0, 0, 0][..], body].concat()
}

fn text(value: &str) -> Vec<u8> {
    [&[2, 0, value.len() as u8][..], value.as_bytes()].concat()
}

fn command(name: &str, transaction: f64, rest: &[u8]) -> Vec<u8> {
    [&text(name)[..], &[0], &transaction.to_be_bytes(), rest].concat()
}

/// All bytes of a peer that publishes or plays, in one piece, without waiting for answers.
fn hasty(verb: &str, key: &str) -> Vec<u8> {
    let connect = [&[3, 0, 3][..], b"app", &text("live"), &[0, 0, 9]].concat();
    let named = [&[5][..], &text(key), &text("live")].concat();
    let mut all = vec![3];
    all.resize(1 + 2 * 1536, 0);
    all.extend(message(20, 0, &command("connect", 1.0, &connect)));
    all.extend(message(20, 0, &command("createStream", 2.0, &[5])));
    all.extend(message(20, 1, &command(verb, 3.0, &named)));
    if verb == "publish" {
        all.extend(message(9, 1, &[0x17, 0, 0, 0, 0, 1]));
        all.extend(message(9, 1, &[0x17, 1, 0, 0, 0, 9, 9]));
    }
    all
}

/// The number of the server's threads: two for each published stream, and some of its own.
pub(super) fn threads(server: &mut Server) -> usize {
    let ended = server.child.try_wait().expect("our child");
    assert!(ended.is_none(), "{ended:?}: {}", server.rest());
    std::fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("it lives").count()
}

/// Connects `count` peers of each kind, each on its own stream, and disconnects them when all have come.
pub(super) fn burst(server: &mut Server, idle: usize, verbs: &[&str], name: &str, count: usize) {
    let mut sockets = Vec::new();
    for number in 0..count {
        for verb in verbs {
            let mut socket = TcpStream::connect(("127.0.0.1", server.port)).expect("it lives");
            socket.write_all(&hasty(verb, &format!("{name}-{number}"))).expect("it lives");
            sockets.push(socket);
        }
    }
    until("all are there", || (threads(server) >= idle + 2 * count).then_some(()));
    drop(sockets);
    until("their streams have ended", || (threads(server) <= idle).then_some(()));
}

#[test]
fn peers_that_come_and_go_while_output_is_read_late_harm_no_memory() {
    let mut server = Server::start_unread(&["--addr", "127.0.0.1", "--port", "0", "--log", "off", "--show-keys"]);
    let idle = threads(&mut server);
    for round in 0..9 {
        burst(&mut server, idle, &["publish"], &format!("early{round}"), 30);
    }
    burst(&mut server, idle, &["publish"], "many", 150);
    server.read_on();
    for round in 0..5 {
        burst(&mut server, idle, &["publish", "play"], &format!("late{round}"), 50);
    }
    let _last = Client::publish(server.port, "last");
    server.says("live/last");
    server.signal(15);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
}
