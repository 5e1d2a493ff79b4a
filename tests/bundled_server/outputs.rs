//! The server's output without a reader: a reader that ends, descriptors that are closed at the start, pipes that are
//! not read. The server serves nevertheless, and signals work.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::churn::{burst, threads};
use super::support::reserved::Reserved;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::{PATIENCE, until};
use super::{Server, program};

/// Sends bytes that are not RTMP, and waits until the server closes.
fn provoke(port: u16) -> String {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let name = peer.local_addr().unwrap().to_string();
    peer.write_all(b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = peer.read_to_end(&mut Vec::new());
    name
}

/// Asserts that the server relays.
fn serves(port: u16, key: &str) {
    let mut player = Client::play(port, key);
    let mut publisher = Client::publish(port, key);
    publisher.send(0, sequence_header(1));
    publisher.send(40, key_frame(1));
    player.wait("it has the stream", |player| player.video.last().is_some_and(|got| got.ts_ms == 40));
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill is there");
    assert!(status.success());
}

/// The exit code, once the program has ended.
fn code(mut child: Child) -> Option<i32> {
    until("it ends", || child.try_wait().expect("our child")).code()
}

#[test]
fn a_reader_that_goes_ends_nothing() {
    let mut child = Command::new(program())
        .args(["--addr", "127.0.0.1", "--port", "0", "--log", "debug"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    while !greeting.contains("Ctrl-C") {
        assert_ne!(reader.read_line(&mut greeting).unwrap(), 0, "{greeting}");
    }
    let port = greeting.split_once("port ").unwrap().1.lines().next().unwrap().parse().unwrap();
    drop((reader, child.stderr.take()));
    for round in 0..3 {
        provoke(port);
        serves(port, &format!("show{round}"));
    }
    signal(&child, "-TERM");
    assert_eq!(code(child), Some(0));
}

#[test]
fn it_serves_with_descriptors_that_are_closed_at_the_start() {
    for closed in ["<&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        let reserved = Reserved::new();
        let port = reserved.port.to_string();
        let run = format!("exec \"$0\" --addr 127.0.0.1 --port {port} --log debug {closed}");
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &run]).arg(program()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = shell.spawn().unwrap();
        until("it listens", || TcpStream::connect(("127.0.0.1", reserved.port)).ok());
        provoke(reserved.port);
        serves(reserved.port, "show");
        signal(&child, "-TERM");
        assert_eq!(code(child), Some(0), "{closed}");
    }
}

/// Length of a stream's key that makes long lines.
const LONG: usize = 60;

/// A server with much output that is not read.
fn talkative() -> Server {
    let options = ["--addr", "127.0.0.1", "--port", "0", "--log", "trace", "--show-keys", "--drain", "3600000"];
    Server::start_unread(&options)
}

#[test]
fn unread_lines_stop_neither_new_peers_nor_signals() {
    let mut server = talkative();
    let (idle, long) = (threads(&mut server), "k".repeat(LONG));
    // A pipe holds 64 KiB and the server 256 KiB of lines; each of these makes a kilobyte of them.
    for round in 0..6 {
        burst(&mut server, idle, &["publish"], &format!("{long}{round}"), 100);
    }
    serves(server.port, "show");
    server.read_on();
    // In place of dropped lines, the server prints their number.
    until("there is room again", || {
        serves(server.port, "again");
        let lines: Vec<String> = server.stdout.try_iter().collect();
        lines.iter().any(|line| line.contains(" lines were dropped here)")).then_some(())
    });
    server.signal(15);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn an_orderly_stop_and_one_at_once_need_no_reader() {
    for (signals, expected) in [(1, 0), (2, 1)] {
        let mut server = talkative();
        let (idle, long) = (threads(&mut server), "k".repeat(LONG));
        burst(&mut server, idle, &["publish"], &long, 100);
        let player = Client::play(server.port, "show");
        let mut publisher = Client::publish(server.port, "show");
        publisher.send(0, sequence_header(1));
        if signals == 1 {
            drop((player, publisher));
            server.signal(15);
        } else {
            // A player that reads nothing delays the stop. Another player that gets the last frame shows that the
            // server has all of them.
            let mut witness = Client::play(server.port, "show");
            for number in 1..=super::FRAMES {
                publisher.send(number * 40, [key_frame(number), vec![0; super::FRAME_BYTES]].concat());
            }
            let last = super::FRAMES * 40;
            witness.wait("the last frame", |witness| witness.video.last().is_some_and(|got| got.ts_ms == last));
            drop(witness);
            server.signal(15);
            publisher.wait_over();
            server.signal(15);
            drop(player);
        }
        let child = std::mem::replace(&mut server.child, Command::new("true").spawn().unwrap());
        assert_eq!(code(child), Some(expected));
    }
}

/// The lines of stdout and stderr about a peer without RTMP and a running stream.
fn lines(options: &[&str]) -> (Vec<String>, Vec<String>, String) {
    let reserved = Reserved::new();
    let port = reserved.port.to_string();
    let child = Command::new(program())
        .args(["--addr", "127.0.0.1", "--port", &port])
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it listens", || TcpStream::connect(("127.0.0.1", reserved.port)).ok());
    let name = provoke(reserved.port);
    serves(reserved.port, "show\"\u{7}\u{e9}");
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (out.lines().map(str::to_owned).collect(), err.lines().map(str::to_owned).collect(), name)
}

#[test]
fn a_failure_is_printed_once_on_stderr_and_lines_have_date_and_zone() {
    for level in ["off", "warn", "info"] {
        let (out, err, name) = lines(&["--log", level]);
        let about = |lines: &[String]| lines.iter().filter(|line| line.contains(&name)).cloned().collect::<Vec<_>>();
        assert_eq!(about(&out), [""; 0]);
        let said = about(&err);
        assert!(said.len() == 1 && said[0].contains(" WARN session ") && said[0].contains(": FAILED ("), "{said:?}");
        let (_, events) = out.split_at(out.iter().rposition(String::is_empty).unwrap() + 1);
        assert!(events.len() > 5, "{out:?}");
        for line in events.iter().chain(&err) {
            // 2026-11-29T12:34:56.789+01:00
            let shape: String = line.chars().take(30).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape.replace('-', "+"), "0000+00+00T00:00:00.000+00:00 ", "{line}");
        }
    }
}

#[test]
fn a_probe_that_connects_and_goes_is_worth_no_line_but_at_debug() {
    for (level, expected) in [("info", 0), ("debug", 1)] {
        let server = Server::start(&["--log", level]);
        let peer = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let name = format!("{} left without sending anything", peer.local_addr().unwrap());
        let address = peer.local_addr().unwrap().to_string();
        drop(peer);
        serves(server.port, "show");
        server.signal(15);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.matches(&name).count(), expected, "{said}");
        let loud = |line: &&str| line.contains(&address) && !line.contains(" DEBUG ");
        assert_eq!(said.lines().filter(loud).count(), 0, "{said}");
    }
}

#[test]
fn lines_for_journald_begin_with_their_level() {
    let (out, err, name) = lines(&["--format", "journal", "--log", "debug"]);
    assert!(out.iter().all(|line| line.starts_with("<6>")), "{out:?}");
    assert!(out.iter().any(|line| line.starts_with("<6>start: rr_server ")), "{out:?}");
    assert!(err.iter().any(|line| line.starts_with("<4>WARN session ") && line.contains(&name)), "{err:?}");
    assert!(err.iter().any(|line| line.starts_with("<7>DEBUG ")), "{err:?}");
    assert!(err.iter().all(|line| ["<3>", "<4>", "<6>", "<7>"].iter().any(|level| line.starts_with(level))), "{err:?}");
}

#[test]
fn lines_may_be_json() {
    let (out, err, name) = lines(&["--format", "json", "--log", "debug"]);
    let read = "import json, sys\nfor line in sys.stdin:\n    o = json.loads(line)\n    o['time'], o['level']\n    \
                print(o.get('who'), o.get('state'), o.get('addr'), o.get('key'), o['level'])";
    let mut python = Command::new("python3");
    let mut python = python.args(["-c", read]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let all = out.iter().chain(&err).fold(String::new(), |all, line| all + line + "\n");
    python.stdin.take().unwrap().write_all(all.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{all}");
    assert!(said.contains(&format!("session FAILED {name} None warn\n")), "{said}");
    assert!(said.contains("stream IN_PROGRESS None sho***#1 info\n"), "{said}");
}
