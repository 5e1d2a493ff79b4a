//! The server's options: a wrong one is reported before the start, a file may have all options of the command line, and
//! SIGHUP reloads the file.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::program::Room;
use super::support::rml::{Client, inter_frame, key_frame, sequence_header};
use super::support::server::Relay;
use super::support::{PATIENCE, c, until};
use super::{Server, program};

#[test]
fn the_server_says_why_it_cannot_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(program()).args(["--addr", "127.0.0.1", "--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}: ")), "{said}");
    assert_eq!(said.matches("127.0.0.1").count(), 1, "it is said once: {said}");
    let output = Command::new(program()).args(["--addr", "no.such.host.invalid"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("no.such.host.invalid"), "{said}");
    for wrong in [
        &["--port", "65536"][..],
        &["--gop", "x"],
        &["--push", "nowhere"],
        &["--push", "rtmp://host-without-an-app"],
        &["--push", "live=rtmp:///app"],
        &["--log", "loud"],
        &["--nice"],
        &["--max-sessions-ip", "0"],
        &["--mem-limit", "64K"],
        &["--mem-limit", "99999999999G"],
        &["--mem-limit", "1000000"],
        &["--tls", "0", "--cert", "chain.pem"],
        &["--key", "key.pem"],
    ] {
        let (code, said) = refused(wrong);
        assert_eq!(code, Some(2), "{wrong:?}: {said}");
        assert!(said.contains(wrong[0]), "{wrong:?} is not named: {said}");
        let help = if wrong[0] == "--push" { "rtmp://host/app" } else { "default: " };
        assert!(["--tls", "--key"].contains(&wrong[0]) || said.contains(help), "{wrong:?}: no help: {said}");
    }
    for (wrong, words) in [
        (&["extra"][..], "extra: unexpected argument"),
        (&["--no-such"], "--no-such: unknown option"),
        (&["--port", "1", "--port=2"], "--port 2: it is given twice, first on the command line"),
        (&["--show-keys", "--show-keys"], "--show-keys: it is given twice"),
        (&["--show-keys=1"], "--show-keys 1: it takes no value"),
        (&["--push", "rtmp://host:99999/app"], "its port is not a number from 1"),
        (&["--push", "rtmp://host:99999/"], "that is no url of the form"),
        (&["--push", "rtmps://host:0/app"], "its port is not a number from 1"),
        (&["--push", "rtmp://me:12@host:x/app"], "its port is not a number from 1"),
        (&["--push", "rtmp://[::1]:1:2/app"], "its port is not a number from 1"),
        (&["--push", "/live=rtmp://host/app"], "before the = belongs a path"),
        (&["--pin", "abc"], "--pin abc: that is no SHA-256"),
        (&["--ca", "/no/such/file"], "--ca /no/such/file: that cannot be read"),
        (
            &["--push", "rtmp://h/a", "--insecure", "--ca", "Cargo.toml", "--ca", "Cargo.toml"],
            "this push has one already",
        ),
        (&["--start", "here"], "--start here: wrong value"),
        (&["--isolate", "here"], "--isolate here: wrong value"),
        (&["--worker-memory", "64M"], "--worker-memory needs --isolate process"),
        (&["--isolate", "process", "--worker-files", "63"], "--worker-files 63: "),
        (&["--policy", "first"], "--policy first: wrong value"),
        (&["--addr", "127.0.0.1:99999"], "its port is not a number from 1"),
        (&["--config", "/no/such/file"], "--config /no/such/file: No such file"),
        (&["@/no/such/file"], "--config /no/such/file: No such file"),
        (&["--push", "live"], "--push live: a url is wanted, rtmp://host/app"),
        (&["--push", "live=rtmp://host"], "--push live=rtmp://host: that is no url of the form rtmp://host/app"),
    ] {
        let (code, said) = refused(wrong);
        assert!(code == Some(2) && said.contains(words), "{wrong:?}: {said}");
    }
}

/// The exit code and output of a server with wrong options. If the server runs nevertheless, it is ended.
fn refused(options: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(program())
        .args(options)
        .current_dir(c::root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A file of options.
fn file(room: &Room, lines: &str) -> (PathBuf, String) {
    let path = room.file("options");
    fs::write(&path, lines).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (path, name)
}

#[test]
fn a_file_holds_options_one_a_line() {
    let room = Room::new("bundled-file");
    let lines = "# keys do not stand in ps then\n\n addr = 127.0.0.1\r\n--port=0\nshow-keys\n\tpush live=rtmp://127.0.0.1:1/app/hidden\n";
    let (_, name) = file(&room, lines);
    for options in
        [["--config", &name].to_vec(), [&*format!("--config={name}")].to_vec(), [&*format!("@{name}")].to_vec()]
    {
        let server = Server::start_with(&options);
        assert!(server.greeting.contains("live/* -> rtmp://127.0.0.1:1/app/***"), "{}", server.greeting);
        assert!(!server.greeting.contains("Stream keys are not shown"), "{}", server.greeting);
        assert_ne!(server.port, 1935);
    }
}

#[test]
fn a_hang_up_while_the_file_of_options_is_read_ends_nothing() {
    let room = Room::new("bundled-early");
    let path = room.file("options");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Open both ways it waits for nobody, and keeps the server reading.
    let mut fifo = fs::File::options().read(true).write(true).open(&path).unwrap();
    let child = Command::new(program()).arg("--config").arg(&path).stderr(Stdio::piped()).spawn().unwrap();
    let fds = format!("/proc/{}/fd", child.id());
    let reads = || fs::read_dir(&fds).ok()?.flatten().find(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == path));
    until("it reads the file", reads);
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    fifo.write_all(b"no-such thing\n").unwrap();
    drop(fifo);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_fault_in_a_file_of_options_is_reported_with_its_line() {
    let room = Room::new("bundled-file-wrong");
    for (lines, more, words) in [
        ("port 0\n\nport 1\n", &[][..], "--port 1 in FILE, line 3: it is given twice, first in FILE, line 1"),
        ("port 0\n", &["--port", "1"], "--port 1: it is given twice, first in FILE, line 1"),
        ("gop\n", &[], "--gop in FILE, line 1: its value is missing"),
        ("proxy yes\n", &[], "--proxy yes in FILE, line 1: it takes no value"),
        ("# no\nno-such thing\n", &[], "--no-such thing in FILE, line 2: unknown option"),
        ("config other\n", &[], "a file of options cannot name another one"),
        ("push rtmp://host:70000/app\n", &[], "in FILE, line 1: its port is not a number from 1"),
        ("port 0\0\n", &[], "--config FILE: "),
    ] {
        let (_, name) = file(&room, lines);
        let (code, said) = refused(&[&[&*format!("@{name}")], more].concat());
        let said = said.replace(&name, "FILE");
        assert!(code == Some(2) && said.contains(words), "{words}: {said}");
    }
}

#[test]
fn the_server_listens_on_several_addresses_with_ports_of_their_own() {
    let server = Server::start_with(&["--addr", "127.0.0.1", "--addr=127.0.0.2:0", "--addr", "[::1]:0", "--port=0"]);
    let line = server.greeting.lines().next().unwrap().to_owned();
    let mut listening = 0;
    for part in line.split("port ").skip(1) {
        let (port, at) = part.split_once(" at ").unwrap();
        let host = at.trim_end_matches(", ");
        TcpStream::connect(format!("{host}:{port}")).unwrap_or_else(|error| panic!("{host}:{port}: {error}: {line}"));
        listening += 1;
    }
    assert_eq!(listening, 3, "{line}");
    assert!(
        server.greeting.contains(&format!("ffplay rtmp://127.0.0.1:{}/live/show", server.port)),
        "{}",
        server.greeting
    );
}

#[test]
fn sighup_without_a_file_to_read_changes_nothing() {
    let mut server = Server::start(&[]);
    let mut publisher = Client::publish(server.port, "show");
    publisher.send(0, sequence_header(1));
    server.says("IN_PROGRESS");
    for _ in 0..3 {
        server.signal(1);
        server.says("SIGHUP: no option names a file to read again");
    }
    let mut player = Client::play(server.port, "show");
    publisher.send(40, key_frame(1));
    player.wait("it plays", |player| !player.video.is_empty());
    server.signal(15);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn sighup_reloads_the_file_and_names_options_that_wait_for_the_next_start() {
    let (room, first, second) = (Room::new("bundled-file-reload"), Relay::new(), Relay::new());
    let push = |to: &Relay, key: &str| format!("push live=rtmp://127.0.0.1:{}/live/{key}\n", to.port);
    let (path, name) = file(&room, &push(&first, "kept"));
    let mut server = Server::start(&["--config", &name]);
    let mut publisher = Client::publish(server.port, "show");
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    first.has_messages("kept", 2);
    // One push stays, one is new, and a setting that only the start reads changes; then the first push goes.
    fs::write(&path, format!("{}{}grace 5000\n", push(&first, "kept"), push(&second, "new"))).unwrap();
    server.signal(1);
    server.says(&format!("SIGHUP, options were read from: {name}"));
    publisher.send(40, key_frame(2));
    second.has_messages("new", 2);
    first.has_messages("kept", 3);
    assert_eq!(first.server.list(0, rrelay::server::kind::SESSION).unwrap().len(), 1, "its push went on");
    fs::write(&path, format!("{}grace 5000\nlog debug\n", push(&second, "new"))).unwrap();
    server.signal(1);
    server.says("/live of live/***#1: STOPPED");
    second.has_messages("new", 2);
    // A wrong file changes nothing.
    fs::write(&path, "gop x\n").unwrap();
    server.signal(1);
    publisher.send(80, key_frame(3));
    second.has_messages("new", 3);
    server.signal(15);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("SIGHUP, these need a restart: --grace"), "{said}");
    assert!(
        said.contains(&format!("SIGHUP, all options stay as they were: --gop x in {name}, line 1: wrong value")),
        "{said}"
    );
    assert!(said.contains(" DEBUG "), "{said}");
}

/// The column of `--help` at which an option's explanation begins, behind the dashes.
const WORDS: usize = 24 - "  --".len();

/// The beginning of a default, if that is a word or two and not a sentence.
fn short(default: &str) -> Option<String> {
    let first = default.split([';', ')', ',']).next().expect("there is always a first");
    (first.split(' ').count() <= 2).then(|| first.to_owned())
}

/// Form and default of each option in `--help`.
fn in_help(help: &str) -> Vec<(String, Option<String>)> {
    let (_, list) = help.split_once("\n  --").expect("options");
    let list = list.split("\n\n").next().unwrap();
    let option = |text: &str| {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        // A long name has a line of its own.
        let (name, words) = line.split_at_checked(WORDS).filter(|(name, _)| name.ends_with(' ')).unwrap_or((line, ""));
        let words = format!("{words} {rest}").split_whitespace().collect::<Vec<_>>().join(" ");
        let default = words.split_once("default: ").and_then(|(_, default)| short(default));
        (format!("--{}", name.trim()), default)
    };
    list.split("\n  --").map(option).collect()
}

#[test]
fn the_table_of_options_and_help_agree() {
    let output = Command::new(program()).arg("--help").output().unwrap();
    let help = in_help(&String::from_utf8(output.stdout).unwrap());
    let page = fs::read_to_string(c::root().join("docs/rr_server.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `--"));
    // A row may have several options; its default applies to all of them.
    let table: Vec<(String, String)> = rows
        .flat_map(|row| {
            let [_, names, _, default, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
            let names = names.split('`').skip(1).step_by(2).filter(|name| name.starts_with("--"));
            names.map(|name| (name.to_owned(), default.trim().replace('`', ""))).collect::<Vec<_>>()
        })
        .collect();
    let names = |all: Vec<&String>| all.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(table.iter().map(|(name, _)| name).collect()), names(help.iter().map(|(name, _)| name).collect()));
    let defaults = help.iter().filter(|(_, default)| default.is_some()).count();
    assert!(defaults > 15, "{help:?}");
    for ((name, in_table), (_, in_help)) in table.iter().zip(&help) {
        assert!(in_help.is_none() || *in_help == short(in_table), "{name}: {in_table}, {in_help:?}");
    }
}

#[test]
fn a_second_publisher_meets_the_policy_and_a_silent_one_the_idle_time() {
    let mut server = Server::start(&["--policy", "takeover", "--idle", "1000", "--start", "now", "--grace", "60000"]);
    let mut first = Client::publish(server.port, "show");
    first.send(0, sequence_header(1));
    let mut second = Client::publish(server.port, "show");
    second.send(0, sequence_header(2));
    first.wait_over();
    // The peer sends nothing more.
    let line = server.complains("publisher 127.0.0.1");
    assert!(line.contains(": FAILED (silent for too long)"), "{line}");
    server.signal(15);
    assert_eq!(server.end().0, Some(0));

    let mut server = Server::start(&["--policy=standby"]);
    let _first = Client::publish(server.port, "show");
    let _second = Client::publish(server.port, "show");
    server.says("standby 127.0.0.1");
}

#[test]
fn players_begin_where_the_option_says() {
    // What is sent again and again while the player has no frame, and the only kind of frame that can be its first.
    type Frame = fn(u32) -> Vec<u8>;
    for (start, sent, first, from) in [
        ("gop", &[inter_frame as Frame][..], key_frame as Frame, 1),
        ("key", &[inter_frame, key_frame], key_frame, 3),
        ("now", &[inter_frame], inter_frame, 3),
    ] {
        let server = Server::start(&["--start", start]);
        let mut publisher = Client::publish(server.port, "show");
        publisher.send(0, sequence_header(1));
        let mut witness = Client::play(server.port, "show");
        publisher.send(0, key_frame(1));
        publisher.send(0, inter_frame(2));
        witness.wait("all so far", |witness| witness.video.iter().any(|got| got.body == inter_frame(2)));
        let mut player = Client::play(server.port, "show");
        let mut n = 2;
        let got = until("a frame", || {
            for frame in sent {
                n += 1;
                publisher.send(n, frame(n));
            }
            player.read();
            player.video.iter().find(|got| got.body != sequence_header(1)).cloned()
        });
        assert!((from..=n).any(|n| got.body == first(n)), "{start}: {got:?} of {n}");
    }
}

#[test]
fn a_publisher_that_has_fallen_silent_gives_way_after_the_time_of_the_option() {
    let comes_in = |port| {
        let mut second = Client::ask_to_publish(port, "show");
        while !second.started && !second.over {
            second.read();
        }
        second.started
    };
    let all = ["200", "600000", "off"].map(|time| {
        let server = Server::start(&["--silent", time]);
        let first = Client::publish(server.port, "show");
        (server, first)
    });
    let [(short, _first), others @ ..] = &all;
    until("its place", || comes_in(short.port).then_some(()));
    std::thread::sleep(Duration::from_millis(2_500)); // longer than the default
    for (server, _first) in others {
        assert!(!comes_in(server.port));
    }
}

#[test]
fn behind_a_balancer_peers_have_their_own_addresses() {
    let mut server = Server::start(&["--proxy"]);
    let mut peer = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    peer.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 1935\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    server.complains("WARN session 192.0.2.7:4711: FAILED");
}
