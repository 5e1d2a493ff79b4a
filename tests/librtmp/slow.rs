//! Peers that send all the time, but never enough: calls end in time all the same, or when the program interrupts them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::hostile::program;
use super::linked;
use crate::support::PATIENCE;
use crate::support::program::Room;

/// Answers a connection with `beginning`, and then a byte ten times a second until the other side is gone.
fn dripping(beginning: Vec<u8>, byte: u8) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        drip(stream, &beginning, byte);
    });
    port
}

fn drip(mut stream: TcpStream, beginning: &[u8], byte: u8) {
    let mut alive = stream.write_all(beginning).is_ok();
    while alive {
        thread::sleep(Duration::from_millis(100));
        alive = stream.write_all(&[byte]).is_ok();
    }
}

/// Gives each connection this answer after a while.
fn web_server(answer: Vec<u8>, after: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                thread::sleep(after);
                let _ = stream.write_all(&answer);
            });
        }
    });
    port
}

/// A program on our library.
fn command(name: &'static str) -> Command {
    let mut command = Command::new(program(name));
    command.env("LD_LIBRARY_PATH", linked::folder()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn start(name: &'static str, arguments: &[String]) -> Child {
    command(name).args(arguments).spawn().unwrap()
}

/// Waits for all programs; one that takes longer than any slow machine needs is killed, and fails.
fn all_end(mut programs: Vec<(&str, Child)>) {
    let deadline = Instant::now() + PATIENCE;
    for (what, child) in &mut programs {
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{what}: it goes on and on");
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{what}: {status}");
    }
}

#[test]
fn a_server_that_drips_is_left_after_a_few_time_outs() {
    let tls = [0x16, 3, 3, 0x3F, 0xFF, 2, 0, 0x3F, 0xFB];
    let servers = [
        ("a handshake", "rtmp", vec![3], 0),
        ("an encrypted handshake", "rtmpe", vec![6], 7),
        ("a handshake of TLS", "rtmps", tls.to_vec(), 1),
        ("the head of a tunnel's answer", "rtmpt", b"HTTP/1.1 200 OK\r\nX: ".to_vec(), b'x'),
    ];
    let clients = servers.map(|(what, scheme, beginning, byte)| {
        let url = format!("{scheme}://127.0.0.1:{}/app/play timeout=1", dripping(beginning, byte));
        (what, start("client", &["play".to_owned(), url]))
    });
    all_end(clients.into());
}

#[test]
fn a_client_that_drips_is_left_after_a_few_time_outs() {
    let mut child = start("slow", &["serve".to_owned()]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut port = String::new();
    out.read_line(&mut port).unwrap();
    let client = TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap();
    thread::spawn(move || drip(client, &[3], 0));
    all_end(vec![("a server", child)]);
}

#[test]
fn fetching_a_player_ends_when_the_program_is_interrupted() {
    let room = Room::new("librtmp-slow-interrupt");
    let url = format!("http://127.0.0.1:{}/x.swf", web_server(Vec::new(), Duration::from_secs(60)));
    let mut command = command("slow");
    let child = command.args(["interrupt", &url]).env("HOME", room.file("")).spawn().unwrap();
    all_end(vec![("a fetch", child)]);
}

#[test]
fn signals_of_the_program_do_not_disturb_the_fetching_of_a_player() {
    let room = Room::new("librtmp-slow-ticks");
    let file = [&b"FWS\x09\xf4\x01\0\0"[..], &[7; 492]].concat();
    let answer = [&b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"[..], &file].concat();
    let url = format!("http://127.0.0.1:{}/x.swf", web_server(answer, Duration::from_millis(300)));
    let mut command = command("slow");
    let child = command.args(["ticks", &url]).env("HOME", room.file("")).spawn().unwrap();
    all_end(vec![("a fetch", child)]);
}
