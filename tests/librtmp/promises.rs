//! The improvements on librtmp that `docs/librtmp.md` lists, by C programs under valgrind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::hostile::{program, shake_hands, watched};
use super::linked;
use crate::support::c::good;
use crate::support::program::Room;

/// Runs one part of `promises.c`.
fn kept(name: &str) {
    let output = watched("promises").arg(name).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {words}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(words, "good\n");
}

#[test]
fn a_body_is_only_read() {
    kept("body");
}

#[test]
fn a_time_out_loses_nothing_wherever_it_comes() {
    kept("cuts");
}

#[test]
fn connecting_and_sending_end_after_the_time_out_and_no_send_is_a_signal() {
    kept("waits");
}

#[test]
fn a_server_that_reads_no_more_holds_up_no_close_and_gets_nothing_after_half_a_message() {
    kept("goodbye");
}

#[test]
fn a_timer_of_the_program_makes_no_time_out_shorter() {
    kept("signals");
}

#[test]
fn a_session_that_is_freed_unclosed_leaves_nothing_and_keeps_hands_off_the_programs_socket() {
    kept("freed");
}

#[test]
fn properties_can_be_set_and_lists_grow() {
    kept("properties");
}

#[test]
fn calls_without_an_answer_have_a_bound() {
    kept("calls");
}

#[test]
fn a_value_that_is_no_number_shows_no_address() {
    kept("numbers");
}

#[test]
fn unfinished_messages_have_a_bound() {
    // With 400 MB of address space: eight messages of 15 MB each that never end must not be held whole.
    let mut server = Command::new("sh");
    server.args(["-c", "ulimit -v 400000; exec \"$0\" 1"]).arg(program("server"));
    server.env("LD_LIBRARY_PATH", linked::folder()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = server.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut port = Vec::new();
    while !port.ends_with(b"\n") {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        port.push(byte[0]);
    }
    let port: u16 = String::from_utf8_lossy(&port).trim().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    shake_hands(&mut stream, false);
    let mut refused = stream.write_all(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\x00\xf0\0\0").is_err();
    let chunk = vec![0x55; 0xF0_0000];
    for channel in 4..24 {
        let head = [channel, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0];
        refused = refused || stream.write_all(&[&head[..], &chunk].concat()).is_err();
    }
    assert!(refused, "300 MB were taken");
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && words.contains("unfinished messages of more than"),
        "{}: {words}",
        output.status
    );
}

/// Serves each answer to two requests, cut at `cut`.
fn web_server(answer: Vec<u8>, cut: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.set_nodelay(true);
            let _ = stream.read(&mut [0; 4096]);
            let (one, other) = answer.split_at(cut.min(answer.len()));
            let _ = stream.write_all(one);
            thread::sleep(Duration::from_millis(20));
            let _ = stream.write_all(other);
        }
    });
    port
}

/// An answer with a small uncompressed player.
fn player(date: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nLast-Modified: {date}\r\nContent-Length: 500\r\n\r\n");
    [head.as_bytes(), b"FWS\x09\xf4\x01\0\0", &[7; 492]].concat()
}

#[test]
fn no_answer_of_a_web_server_harms_a_program() {
    let room = Room::new("librtmp-fetch");
    let long = "x".repeat(300);
    let good_one = player("Sun, 22 Nov 2026 10:00:00 GMT");
    let head_len = good_one.len() - 500;
    for (answer, cut, path) in [
        (good_one.clone(), 1, "/x.swf"),
        (good_one.clone(), head_len + 3, "/x.swf"),
        (good_one, head_len, ""),
        (player(&long), 20, "/x.swf"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nFWS".to_vec(), 40, "/x.swf"),
        (b"HTTP/1.1 200 OK\r\n\r\nCWS".to_vec(), 9, "/x.swf"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(), 9, "/x.swf"),
        (long.clone().into_bytes(), 100, "/x.swf"),
        (Vec::new(), 0, "/x.swf"),
    ] {
        let url = format!("http://127.0.0.1:{}{path}", web_server(answer, cut));
        let output = watched("fetch").arg(&url).env("HOME", room.file("")).output().unwrap();
        good(&output, &url);
    }
    let output = watched("fetch").arg(format!("http://{long}/x.swf")).env("HOME", room.file("")).output().unwrap();
    good(&output, "a host name without end");
}
