//! The server's control by HTTP: the server says where the page is, and its token opens it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::support::program::Room;
use super::support::rml::Client;
use super::{Server, program};

/// The status and the whole answer of one request.
fn answer(port: u16, path: &str, token: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer}")), answer)
}

fn status(port: u16, path: &str, token: &str) -> u16 {
    answer(port, path, token).0
}

/// The port and the rest of the page's address in the greeting.
fn page(server: &Server) -> (u16, String) {
    let (_, rest) = server.greeting.split_once("http://127.0.0.1:").expect("the page's address is said");
    let (port, rest) = rest.lines().next().unwrap().split_once('/').unwrap();
    (port.parse().unwrap(), rest.to_owned())
}

#[test]
fn the_server_says_where_its_page_is_and_the_token() {
    let server = Server::start(&["--rest", "127.0.0.1:0"]);
    let (port, rest) = page(&server);
    let token = rest.strip_prefix("#token=").expect("it is said");
    assert!(server.greeting.contains(&format!("'Authorization: Bearer {token}'")), "{}", server.greeting);
    assert_eq!(status(port, "/", ""), 200);
    assert_eq!(status(port, "/v1/streams", token), 200);
    assert_eq!(status(port, "/v1/streams", "wrong-token"), 401);
    let other = Server::start(&["--rest=0"]);
    assert!(!page(&other).1.contains(token), "each start has its own");
    assert!(!Server::start(&[]).greeting.contains("http://"), "off until asked for");
}

#[test]
fn readers_that_cannot_send_a_token_are_let_in_by_an_option() {
    const READERS: [(&str, u16); 3] = [("/metrics", 200), ("/stat", 200), ("/noalbs", 426)];
    let server = Server::start(&["--rest=0", "--rest-open-readers", "--rest-key-labels"]);
    let (port, _) = page(&server);
    for (path, open) in READERS {
        assert_eq!(status(port, path, "wrong-token"), open, "{path}");
    }
    assert_eq!(status(port, "/v1/streams", "wrong-token"), 401, "nothing else is open");
    let _publisher = Client::publish(server.port, "show");
    let (_, text) = answer(port, "/metrics", "");
    assert!(text.contains("app=\"live\",key=\"show\""), "{text}");
    let closed = Server::start(&["--rest=0"]);
    for (path, _) in READERS {
        assert_eq!(status(page(&closed).0, path, "wrong-token"), 401, "{path}");
    }
}

#[test]
fn a_file_keeps_the_token_over_starts() {
    let room = Room::new("bundled-token");
    let path = room.file("token");
    let name = path.to_str().unwrap();
    for _ in 0..2 {
        let server = Server::start(&["--rest", "127.0.0.1:0", "--token-file", name]);
        let token = fs::read_to_string(&path).unwrap().trim().to_owned();
        assert!(!server.greeting.contains(&token) && server.greeting.contains(name), "{}", server.greeting);
        fs::write(&path, "token-of-the-user\n").unwrap();
        assert_eq!(
            status(page(&server).0, "/v1/streams", &token),
            200,
            "what is written later counts at the next start"
        );
        if token == "token-of-the-user" {
            return;
        }
    }
    panic!("the second start did not read the file");
}

#[test]
fn the_server_says_why_there_is_no_control() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let room = Room::new("bundled-no-token");
    let path = room.file("token");
    fs::write(&path, "short").unwrap();
    for (options, code, words) in [
        (&["--rest", &*taken][..], 1, &*taken),
        (&["--rest", "0", "--token-file", path.to_str().unwrap()], 1, "token: 8 to 256"),
        (&["--rest", "0", "--token-file", "/no/such/folder/token"], 1, "/no/such/folder/token"),
        (&["--token-file", "token"], 2, "--token-file needs --rest"),
        (&["--rest-open-readers"], 2, "--rest-open-readers needs --rest"),
        (&["--rest-key-labels"], 2, "--rest-key-labels needs --rest"),
        (&["--rest", "127.0.0.1:99999"], 2, "its port is not a number from 1"),
        (&["--self", "rtmp://a"], 2, "--self needs --controller"),
        (&["--controller", "ftp://a"], 1, "cannot use the controllers: "),
        (&["--controller", "http://a", "--self", "http://b"], 1, "self_url"),
        (&["--controller", "http://a", "--controller-timeout", "99"], 2, "--controller-timeout 99: wrong value"),
        (&["--controller", "http://a", "--controller-token", "/no/such/file"], 2, "/no/such/file: No such file"),
    ] {
        let output =
            Command::new(program()).args(["--addr", "127.0.0.1", "--port", "0"]).args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{options:?}: {said}");
    }
}
