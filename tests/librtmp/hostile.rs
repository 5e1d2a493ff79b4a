//! Hostile peers: messages that crashed librtmp, or made it read and write out of bounds, are errors here, or harmless.
//! C programs on our library run under valgrind; a memory error or a leak fails the test as a crash does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::linked;
use crate::support::c::{good, root};
use crate::support::program::Room;

/// The C programs.
pub(crate) fn program(name: &'static str) -> PathBuf {
    static ROOM: OnceLock<Room> = OnceLock::new();
    let room = ROOM.get_or_init(|| {
        let room = Room::new("librtmp-hostile");
        for name in ["client", "server", "foreign_close", "promises", "fetch", "hash", "reading", "slow"] {
            let mut cc = Command::new("cc");
            cc.args(["-std=gnu99", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]);
            cc.arg(root().join(format!("tests/librtmp/{name}.c"))).arg("-o").arg(room.file(name));
            cc.arg("-I").arg(root().join("include")).arg("-L").arg(linked::folder()).args(["-lrtmp", "-lpthread"]);
            good(&cc.output().unwrap(), name);
        }
        room
    });
    room.file(name)
}

/// A command that runs one of the programs on our library under valgrind: a memory error or a leak ends it with 99.
pub(crate) fn watched(name: &'static str) -> Command {
    let version = Command::new("valgrind").arg("--version").output();
    version.expect("valgrind is there (tests/setup.sh installs it)");
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=99", "--main-stacksize=8388608"]);
    command.args([
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect",
        "--show-leak-kinds=definite,indirect",
    ]);
    command.arg(program(name)).env("LD_LIBRARY_PATH", linked::folder());
    command
}

/// A chunk with a full header.
fn full(channel: u8, kind: u8, len: usize, payload: &[u8]) -> Vec<u8> {
    let mut chunk = vec![channel, 0, 0, 0];
    chunk.extend_from_slice(&(len as u32).to_be_bytes()[1..]);
    chunk.extend_from_slice(&[kind, 1, 0, 0, 0]);
    chunk.extend_from_slice(payload);
    chunk
}

/// A whole message in chunks of 65536 bytes, behind a Set Chunk Size.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = full(2, 1, 4, &65_536u32.to_be_bytes());
    let mut chunks = body.chunks(65_536);
    bytes.extend(full(3, kind, body.len(), chunks.next().unwrap_or_default()));
    for chunk in chunks {
        bytes.push(0xC3);
        bytes.extend_from_slice(chunk);
    }
    bytes
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [&[2][..], &(value.len() as u16).to_be_bytes(), value.as_bytes()].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

fn deep() -> Vec<u8> {
    let mut body = [text("onStatus"), number(0.0)].concat();
    for _ in 0..300_000 {
        body.extend_from_slice(b"\x03\0\x01d");
    }
    body
}

/// `_result` to connect with a secureToken of these bytes.
fn token(value: &[u8]) -> Vec<u8> {
    let object = [b"\x03\0\x0bsecureToken", value, b"\0\0\x09"].concat();
    message(20, &[text("_result"), number(1.0), vec![5], object].concat())
}

/// `_error` to connect with a description of these bytes.
pub(crate) fn refusal(description: &[u8]) -> Vec<u8> {
    let object = [b"\x03\0\x0bdescription", description, b"\0\0\x09"].concat();
    message(20, &[text("_error"), number(1.0), vec![5], object].concat())
}

/// Messages for either side in place of a conversation.
fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let filler = vec![0x77; 128];
    let grow = [full(6, 9, 200, &filler), full(6, 9, 0xFF_FFFF, &filler), vec![0xC6; 60_000]].concat();
    let channels: Vec<u8> = (0..3000u32)
        .flat_map(|id| {
            let mut chunk = full(0, 9, 0xFF_FFFF, &filler);
            chunk.splice(0..1, [1, id as u8, (id >> 8) as u8]);
            chunk
        })
        .collect();
    let amf3 = [&b"\x11\x0a\x0b\x01\x03a\x06\xff\xff\xff\xff"[..], b"\x11\x0a\xff\xff\xff\x7f"].concat();
    vec![
        ("a message that grows while it is read", grow),
        ("objects nested without end", message(20, &deep())),
        ("data nested without end", message(18, &deep())),
        ("unfinished messages on thousands of chunk streams", channels),
        ("a header that continues nothing", vec![0xC9; 400]),
        (
            "bandwidth messages of one byte",
            [message(5, b"x"), message(6, b"x"), message(1, b"x"), message(4, b"x")].concat(),
        ),
        ("a chunk size of zero and below", [message(1, &[0; 4]), message(1, &[0xFF; 4])].concat()),
        ("AMF3 that ends early", [message(20, &amf3), message(17, &amf3), message(18, &amf3)].concat()),
        (
            "strings and arrays that end early",
            [
                message(20, b"\x02\xff\xffab"),
                message(18, b"\x0a\xff\xff\xff\xff\x05"),
                message(20, b"\x0c\xff\xff\xff\xff"),
                message(18, b"\x02\0\x0aonMetaData\x08\xff\xff\xff\xff\0\x01"),
                message(20, b"\x02"),
                message(17, b""),
            ]
            .concat(),
        ),
        (
            "tags shorter than their heads",
            [
                message(22, b"\x08"),
                message(22, b"\x08\0\0\0\0\0\0\0\0\0"),
                message(22, b"\x09\xff\xff\xff\0\0\0\0\0\0\0\x01\x02"),
                message(22, b"\x12\0\0\x04\0\0\0\0\0\0\0\x02\xff\xffa\0\0\0\x0f"),
            ]
            .concat(),
        ),
        (
            "a play without a name",
            [
                message(20, &[text("connect"), number(1.0), vec![5]].concat()),
                message(20, &[text("play"), number(2.0), vec![5]].concat()),
                message(20, &[text("play"), number(2.0), vec![5, 5]].concat()),
            ]
            .concat(),
        ),
        ("commands without a body", [message(20, b""), message(17, b""), message(20, b"")].concat()),
        (
            "audio and video without a body",
            [message(8, b""), message(9, b""), message(8, b"x"), message(9, b"x")].concat(),
        ),
        (
            "a call of nothing and a stream that is no number",
            [
                message(20, &[text("_result"), vec![5]].concat()),
                message(20, &[text("_result"), text("x")].concat()),
                message(20, &text("onStatus")),
                message(20, &[text("onStatus"), number(0.0), vec![5], text("x")].concat()),
            ]
            .concat(),
        ),
    ]
}

/// Answers for clients that have sent connect.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an error without a description", message(20, &[text("_error"), number(1.0), vec![5, 5]].concat())),
        ("an error whose description is null", refusal(b"\x05")),
        ("a login without its parts", refusal(&text("[ authmod=adobe ] : ?reason=needauth"))),
        ("a login that is cut", refusal(&text("[ authmod=llnw ] : ?reason=needauth&user=&nonce"))),
        ("an empty token", token(b"\x02\0\0")),
        ("a token of odd length", token(&text("0011223"))),
        ("a token that is a number", token(&number(1.0))),
        ("a token that is an object", token(b"\x03\0\0\x09")),
    ]
}

/// The plain handshake of a server, or of a client.
pub(crate) fn shake_hands(stream: &mut TcpStream, server: bool) {
    let mut hello = vec![0; 1537];
    if server {
        stream.read_exact(&mut hello).unwrap();
    }
    let mut own = vec![0u8; 1537];
    own[0] = 3;
    stream.write_all(&own).unwrap();
    if !server {
        stream.read_exact(&mut hello).unwrap();
    }
    stream.write_all(&hello[1..]).unwrap();
    let mut echo = vec![0; 1536];
    stream.read_exact(&mut echo).unwrap();
}

/// Sends an attack and waits until the other side closes, which it may do at any time.
fn attack(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Asserts that a program has survived all attacks. Valgrind's start is most of a run's time, so one process takes
/// many; it prints `== n` before each.
fn survived(child: Child, attacks: &[(&'static str, Vec<u8>)]) {
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let place = words.find("==99").or_else(|| words.rfind("== ")).unwrap_or(0);
    let last =
        words[..place].rfind("== ").and_then(|at| words[at + 3..].lines().next()?.parse().ok()).unwrap_or(0usize);
    let what = attacks.get(last).map_or("no attack", |(what, _)| what);
    let tail = &words[words.len().saturating_sub(3000)..];
    assert!(output.status.success(), "near {what}: {}\n{tail}", output.status);
}

/// A client that visits hostile servers, one after the other.
fn client_survives(attacks: &[(&'static str, Vec<u8>)], options: &str, mode: &str) {
    let servers: Vec<TcpListener> = attacks.iter().map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
    let mut command = watched("client");
    command.arg(mode);
    for server in &servers {
        command.arg(format!("rtmp://{}/app/play timeout=5 {options}", server.local_addr().unwrap()));
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The output is more than a pipe holds.
    let watch = std::thread::spawn({
        let attacks = attacks.to_vec();
        move || survived(child, &attacks)
    });
    for (server, (_, bytes)) in servers.into_iter().zip(attacks) {
        let (mut stream, _) = server.accept().unwrap();
        shake_hands(&mut stream, true);
        // A login makes the client come again; nobody listens then.
        drop(server);
        attack(stream, bytes);
    }
    watch.join().unwrap();
}

#[test]
fn a_client_survives_every_server() {
    client_survives(&[attacks(), answers()].concat(), "token=secret", "play");
    client_survives(&answers(), "pubUser=u pubPasswd=p", "publish");
}

#[test]
fn a_server_survives_every_client() {
    let attacks = attacks();
    let mut command = watched("server");
    let mut child =
        command.arg(attacks.len().to_string()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    let watch = std::thread::spawn({
        let attacks = attacks.clone();
        move || survived(child, &attacks)
    });
    for (_, bytes) in &attacks {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        shake_hands(&mut stream, false);
        attack(stream, bytes);
    }
    watch.join().unwrap();
}

#[test]
fn another_thread_may_close_at_any_time() {
    let output = watched("foreign_close").output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good\n");
}

#[test]
fn messages_in_small_chunks_arrive_and_a_program_that_polls_misses_none() {
    for arguments in [&["ahead"][..], &["exact"], &["exact", "unix"], &["gone"]] {
        let output = watched("reading").args(arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {words}", output.status);
    }
}

#[test]
fn a_tunnel_survives_every_answer() {
    let answers = [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\nxxxxxxxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 500 no\r\nContent-Length: 1\r\n\r\nx",
        b"nonsense",
    ];
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("rtmpt://{}/app/play timeout=5", listener.local_addr().unwrap());
    let mut command = watched("client");
    command.arg("play").args(vec![url; answers.len()]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    for answer in answers {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        attack(stream, answer);
    }
    survived(child, &answers.map(|answer| ("an answer", answer.to_vec())));
}
