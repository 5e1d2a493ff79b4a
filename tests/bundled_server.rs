//! The bundled server from its user's view: its usage, its orderly stop, and the errors that keep it from starting.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "bundled_server/access.rs"]
mod access;
#[cfg(feature = "rest")]
#[path = "support/backend.rs"]
mod backend;
#[path = "bundled_server/churn.rs"]
mod churn;
#[cfg(feature = "rest")]
#[path = "bundled_server/control.rs"]
mod control;
#[cfg(feature = "rest")]
#[path = "bundled_server/hooks.rs"]
mod hooks;
#[path = "bundled_server/http.rs"]
mod http;
#[path = "bundled_server/options.rs"]
mod options;
#[path = "bundled_server/outputs.rs"]
mod outputs;
#[path = "bundled_server/push.rs"]
mod push;
#[path = "support/secure.rs"]
mod secure;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;
#[cfg(feature = "rest")]
#[path = "bundled_server/topology.rs"]
mod topology;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::rml::{Client, key_frame, sequence_header};
use support::{PATIENCE, c};

/// Frames published to a player that reads nothing: more than two sockets can buffer, and less than the allowed lag of
/// a player.
const FRAMES: u32 = 40;
const FRAME_BYTES: usize = 60_000;
/// Words of the greeting's last line.
const GREETING_END: &str = "Ctrl-C";

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| c::build_sanitized("server-run", &c::server_sources()))
}

/// Lines of a pipe as they come, read by a thread so that the writer never waits.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    // The thread ends with the program, or with the receiver.
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line + "\n"))
    });
    lines
}

/// A running server, killed when the test is over.
struct Server {
    child: Child,
    /// The pipe behind the greeting, which is not read before `read_on`.
    unread: Option<BufReader<ChildStdout>>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    port: u16,
    greeting: String,
    /// The lines since the greeting.
    said: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        Self::start_with(&[&["--addr", "127.0.0.1", "--port", "0"], options].concat())
    }

    /// A server with these options and no others.
    fn start_with(options: &[&str]) -> Self {
        let mut server = Self::start_unread(options);
        server.read_on();
        server
    }

    /// Starts a server and reads its greeting, but nothing more of stdout or stderr before [`Self::read_on`].
    fn start_unread(options: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was just built");
        let mut unread = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut greeting = String::new();
        while !greeting.contains(GREETING_END) {
            assert_ne!(unread.read_line(&mut greeting).expect("text"), 0, "it greets: {greeting}");
        }
        let (_, rest) = greeting.split_once("listens on port ").expect("the port is said");
        let port = rest.split([',', ' ', '\n']).next().expect("a word").parse().expect("a number");
        let (stdout, stderr) = (channel().1, channel().1);
        Self { child, unread: Some(unread), stdout, stderr, port, greeting, said: String::new() }
    }

    fn read_on(&mut self) {
        self.stdout = lines(self.unread.take().expect("once"));
        self.stderr = lines(self.child.stderr.take().expect("stderr is piped"));
    }

    /// Waits for a new line on stdout with this text, and gives the line.
    fn says(&mut self, what: &str) -> String {
        Self::waits(&self.stdout, &mut self.said, what)
    }

    /// Waits for a new line on stderr with this text, and gives the line.
    fn complains(&mut self, what: &str) -> String {
        Self::waits(&self.stderr, &mut self.said, what)
    }

    fn waits(lines: &Receiver<String>, said: &mut String, what: &str) -> String {
        loop {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error}; never said \"{what}\":\n{said}"));
            said.push_str(&line);
            if line.contains(what) {
                return line;
            }
        }
    }

    fn signal(&self, number: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // The program kill spares these tests an `unsafe` call.
        let status =
            Command::new("kill").args([format!("-{number}"), pid.to_string()]).status().expect("kill is there");
        assert!(status.success());
    }

    /// All output after the greeting, the log last, of a server that has ended.
    fn rest(&mut self) -> String {
        if self.unread.is_some() {
            self.read_on();
        }
        let mut rest = std::mem::take(&mut self.said);
        rest.extend(self.stdout.iter());
        rest.extend(self.stderr.iter());
        rest
    }

    /// The exit code, or none if the server does not end in time, and all output after the greeting, the log last.
    fn end(mut self) -> (Option<i32>, String) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return (status.code(), self.rest());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        (None, String::new())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_prints_its_usage() {
    let server = Server::start(&["--push", "live=rtmp://127.0.0.1:1/app"]);
    for word in [
        format!("ffplay rtmp://127.0.0.1:{}/live/show", server.port),
        format!("-f flv rtmp://127.0.0.1:{}/live/show", server.port),
        "live/* -> rtmp://127.0.0.1:1/app".to_owned(),
    ] {
        assert!(server.greeting.contains(&word), "{word} is not in:\n{}", server.greeting);
    }
    TcpStream::connect(("127.0.0.1", server.port)).expect("it listens where it says");
}

#[test]
fn the_server_never_shows_the_keys_it_pushes_with() {
    let urls =
        ["rtmp://me:hidden@127.0.0.1:1/app/hidden", "rtmp://127.0.0.1:1/two?hidden", "rtmp://127.0.0.1:1/t/{key}"];
    let server = Server::start(&["--push", urls[0], "--push", urls[1], "--push", urls[2]]);
    assert!(!server.greeting.contains("hidden"), "{}", server.greeting);
    for shown in ["rtmp://127.0.0.1:1/app/***", "rtmp://127.0.0.1:1/two?***", "rtmp://127.0.0.1:1/t/{key}"] {
        assert!(server.greeting.contains(shown), "{shown} is not in:\n{}", server.greeting);
    }
}

#[test]
fn the_server_shows_no_more_of_a_stream_key_than_the_log_and_no_control_characters() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let push = format!("rtmp://{}/app?sesame", far.local_addr().unwrap());
    // The second push has a good url, but a file of roots without any.
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let refused = ["--push", "rtmps://127.0.0.1:1/app/sesame", "--ca", roots];
    let options = [&["--push", &push, "--log", "debug"][..], &refused].concat();
    for (extra, long, short, target) in [
        (&[][..], " live/abc***#2:", " live/***#1:", "/app?*** of live/abc***#2:"),
        (&["--show-keys"], " live/abc-sesame-??[2J:", " live/sesame:", "/app?sesame of live/abc-sesame-??[2J:"),
    ] {
        let mut server = Server::start(&[&options[..], extra].concat());
        let _short = Client::publish(server.port, "sesame");
        server.says(short);
        let mut publisher = Client::publish(server.port, "abc-sesame-\n\u{1b}[2J");
        server.says(long);
        publisher.send(0, sequence_header(1));
        server.says(target);
        server.signal(15);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("push to rtmps://127.0.0.1:1/app/***: "), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert!(said.contains("sesame") == extra.contains(&"--show-keys"), "{said}");
    }
}

#[test]
fn streams_with_hidden_keys_differ_by_a_number() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::start(&["--push", &format!("rtmp://{}/app", far.local_addr().unwrap())]);
    assert!(server.greeting.contains("--show-keys"), "{}", server.greeting);
    let mut publishers = Vec::new();
    for (key, number) in [("one", "#1"), ("two", "#2")] {
        let mut publisher = Client::publish(server.port, key);
        publisher.send(0, sequence_header(1));
        let _player = Client::play(server.port, key);
        // The lines may come in any order.
        let tagged = format!(" live/***{number}: ");
        let mut wanted = vec!["publisher 127.0.0.1", "/app of", "player 127.0.0.1"];
        while !wanted.is_empty() {
            let line = server.says(&tagged);
            wanted.retain(|subject| !line.contains(subject));
        }
        publishers.push(publisher);
    }
    let shown = Server::start(&["--show-keys"]);
    assert!(!shown.greeting.contains("Stream keys"), "{}", shown.greeting);
}

#[test]
fn a_session_that_has_ended_its_publish_or_play_is_shown_as_idle() {
    let mut server = Server::start(&[]);
    let _player = Client::play(server.port, "show");
    let mut publisher = Client::publish(server.port, "show");
    publisher.send(0, sequence_header(1));
    server.says("stream live/***#1: IN_PROGRESS");
    publisher.stop_publishing();
    let mut said = String::new();
    while !(said.contains("publisher ") && said.contains("player ")) {
        said += &server.says("live/***#1: IDLE");
    }
    server.signal(15);
    let (code, said) = server.end();
    assert!(code == Some(0) && !said.contains("HANDSHAKE"), "nothing is known then: {said}");
    let last = said.lines().filter(|line| line.contains("STOPPED") || line.contains("FAILED"));
    let (sessions, rest): (Vec<&str>, Vec<&str>) = last.partition(|line| line.contains("127.0.0.1"));
    assert!(sessions.len() == 2 && !rest.is_empty(), "{said}");
    for role in ["publisher ", "player "] {
        assert!(sessions.iter().any(|line| line.contains(role) && line.contains("live/***#1:")), "{role}: {said}");
    }
}

#[test]
fn the_server_prints_only_new_tracks() {
    let mut server = Server::start(&[]);
    let mut player = Client::play(server.port, "show");
    let line = server.says("WANTED");
    assert!(line.trim_end().ends_with(": WANTED"), "{line}");
    let mut publisher = Client::publish(server.port, "show");
    publisher.send(0, sequence_header(1));
    server.says(": tracks avc1");
    publisher.send_metadata("other words, no other tracks");
    publisher.send(1, sequence_header(2));
    player.wait("the second header", |player| player.video.len() == 2);
    // The library tells tracks at most four times a second: a wrong line would be there by now.
    std::thread::sleep(Duration::from_secs(1));
    drop(player);
    let line = server.says("UNWATCHED");
    assert!(line.trim_end().ends_with(": UNWATCHED"), "{line}");
    server.signal(15);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches(": tracks").count(), 1, "{said}");
}

#[test]
fn the_server_serves_rtmps_beside_rtmp() {
    let papers = secure::Papers::new("bundled");
    let [cert, key] = [&papers.certificate, &papers.key].map(|file| file.to_str().unwrap());
    let server = Server::start(&["--tls", "0", "--cert", cert, "--key", key]);
    let (_, rest) = server.greeting.split_once("rtmps://, on port ").expect("the port is said");
    let port = rest.lines().next().unwrap().parse().unwrap();
    assert_ne!(port, server.port);
    let config = secure::trusting();
    // Both get the server's acceptance.
    let _publisher = secure::connect(&config, port, "show", true);
    let _player = secure::connect(&config, port, "show", false);
    TcpStream::connect(("127.0.0.1", server.port)).expect("rtmp is there all the same");
    // A key that belongs to another certificate.
    let other = secure::Papers::new("bundled-other");
    let output = Command::new(program())
        .args(["--addr", "127.0.0.1", "--port", "0", "--tls", "0", "--cert", cert, "--key"])
        .arg(&other.key)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(cert), "{said}");
}

#[test]
fn sighup_reloads_the_certificate() {
    let [papers, newer] = ["bundled-reload", "bundled-newer"].map(secure::Papers::new);
    let [cert, key] = [&papers.certificate, &papers.key].map(|file| file.to_str().unwrap());
    let mut server = Server::start(&["--tls", "0", "--cert", cert, "--key", key]);
    let (_, rest) = server.greeting.split_once("rtmps://, on port ").expect("the port is said");
    let port: u16 = rest.lines().next().unwrap().parse().unwrap();
    let shown = || {
        let connect = format!("127.0.0.1:{port}");
        let output = Command::new("openssl").args(["s_client", "-connect", &connect]).stdin(Stdio::null()).output();
        let output = String::from_utf8_lossy(&output.expect("tests/setup.sh installs it").stdout).into_owned();
        let (_, rest) = output.split_once("-----BEGIN CERTIFICATE-----").expect("it shows one");
        rest.split_once("-----END").unwrap().0.split_whitespace().collect::<String>()
    };
    let file = |path| std::fs::read_to_string(path).unwrap().split_whitespace().collect::<String>();
    let first = shown();
    assert!(file(&papers.certificate).contains(&first));
    // A certificate without its key is reported, and changes nothing.
    std::fs::copy(&newer.certificate, &papers.certificate).unwrap();
    server.signal(1);
    let line = server.complains("SIGHUP, the certificate stays as it was: ");
    assert!(line.contains(cert) || line.contains(key), "{line}");
    assert_eq!(shown(), first);
    std::fs::copy(&newer.key, &papers.key).unwrap();
    server.signal(1);
    server.says("SIGHUP: new connections");
    assert!(shown() != first && file(&newer.certificate).contains(&shown()));
    TcpStream::connect(("127.0.0.1", server.port)).expect("it goes on");
}

#[test]
fn the_server_bounds_the_sessions_of_one_address() {
    let mut server = Server::start(&["--max-sessions-ip", "1", "--mem-limit", "16M"]);
    let _first = Client::publish(server.port, "show");
    server.says("publisher ");
    let mut second = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // A silent peer is closed too, but later.
    second.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
    let end = second.read(&mut [0; 1]);
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(end.as_ref().is_ok_and(|got| *got == 0) || end.as_ref().is_err_and(reset), "{end:?}");
}

#[test]
fn a_signal_stops_it_in_order() {
    for number in [2, 15] {
        let server = Server::start(&[]);
        let _idle = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        server.signal(number);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "signal {number}: {said}");
        assert!(said.contains("server: ACCEPTING") && said.contains("server: STOPPED"), "{said}");
    }
}

#[test]
fn a_second_signal_stops_it_at_once() {
    // The drain may take an hour. A player that reads nothing delays it until the player is closed, after 20 seconds.
    let mut server = Server::start(&["--drain", "3600000"]);
    let player = Client::play(server.port, "show");
    let mut publisher = Client::publish(server.port, "show");
    server.says("player");
    let mut witness = Client::play(server.port, "show");
    publisher.send(0, sequence_header(1));
    for n in 1..=FRAMES {
        publisher.send(n * 40, [key_frame(n), vec![0; FRAME_BYTES]].concat());
    }
    // Another player that gets the last frame shows that the server has all of them.
    witness.wait("the last frame", |witness| witness.video.last().is_some_and(|got| got.ts_ms == FRAMES * 40));
    drop(witness);
    server.signal(15);
    server.says("STOPPING");
    publisher.wait_over();
    // A stop that does not wait for the player would have ended by now.
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.child.try_wait().unwrap().is_none(), "the player has not taken what was published");
    server.signal(2);
    let (code, said) = server.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("server: STOPPED"), "{said}");
    drop(player);
}
