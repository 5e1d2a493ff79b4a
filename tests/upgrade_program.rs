//! The bundled server is replaced by a new one at SIGUSR2: publishers and players go on without a reconnect, whatever
//! becomes of the two processes, as far as somebody has their connections.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[allow(dead_code, clippy::duplicate_mod, reason = "each test program uses a part of it")]
mod support;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use live::{Client, Live};
use load::{Load, playing};
use rrelay::config::ServerConfig;
use rrelay::server::{EventKind, Role, State};
use support::program::Room;
use support::{c, until};

/// How the programs are built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Built {
    /// With sanitizers, which end a program at its first wrong access.
    Sanitized,
    /// For programs before which another library is loaded, as sanitizers do not allow, and for times.
    Plain,
}

impl Built {
    fn build(self, name: &str, sources: &[PathBuf]) -> PathBuf {
        match self {
            Self::Sanitized => c::build_sanitized(&format!("{name}-sanitized"), sources),
            Self::Plain => c::build(name, sources, c::As::C99),
        }
    }

    fn server(self) -> &'static PathBuf {
        static PROGRAMS: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
        PROGRAMS[self as usize].get_or_init(|| self.build("upgrade-run", &c::server_sources()))
    }

    /// The options of a server whose streams have processes.
    fn in_processes(self) -> [&'static str; 4] {
        static WORKERS: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
        let worker = WORKERS[self as usize].get_or_init(|| self.build("upgrade-worker", &[c::worker_source()]));
        ["--isolate", "process", "--worker", worker.to_str().unwrap()]
    }
}

/// A running server and those that have replaced it; all of them write to one file.
struct Servers {
    room: Room,
    first: Child,
    port: u16,
}

impl Servers {
    /// A server that was started from a file of its own, which a test may replace.
    fn start(test: &str, built: Built, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut this = Self::launch(test, built, |file, log| {
            let mut program = Command::new(file);
            program.args(["--addr", "127.0.0.1", "--port", "0"]).args(options).envs(environment.iter().copied());
            program.stdin(Stdio::null()).stdout(log);
            program
        });
        this.says("listens on port", 1);
        let words = this.words();
        let (_, rest) = words.split_once("listens on port ").unwrap();
        this.port = rest.split([',', ' ', '\n']).next().unwrap().parse().unwrap();
        this
    }

    /// Starts what `command` makes of the program's file and of the file for its words.
    fn launch(test: &str, built: Built, command: impl FnOnce(&Path, fs::File) -> Command) -> Self {
        let room = Room::new(test);
        let (file, log) = (room.file("rr_server"), fs::File::create(room.file("log")).unwrap());
        fs::hard_link(built.server(), &file).unwrap();
        let first = command(&file, log.try_clone().unwrap())
            .args(["--log", "info", "--upgrade-drain", "2000"])
            .env("LD_LIBRARY_PATH", built.server().parent().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { room, first, port: 0 }
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.room.file("log")).unwrap()).into_owned()
    }

    /// Waits until they have said this so many times.
    fn says(&self, what: &str, times: usize) {
        until(&format!("they say \"{what}\" {times} times"), || {
            (self.words().matches(what).count() >= times).then_some(())
        });
    }

    /// The processes of these servers.
    fn running(&self) -> Vec<u32> {
        let file = self.room.file("rr_server");
        let name = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).ok();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| name(*pid).is_some_and(|name| name.starts_with(file.to_str().unwrap().as_bytes()));
        pids.filter(is_ours).collect()
    }

    fn signal(pid: u32, which: &str) {
        let status = Command::new("kill").arg(which).arg(pid.to_string()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for pid in self.running() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ = self.first.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.words());
        }
    }
}

#[test]
fn streams_with_players_and_pushes_go_on_through_five_upgrades_of_the_program_in_a_row() {
    let sink = Live::new(ServerConfig::default());
    let push = |copy: u32| format!("live=rtmp://127.0.0.1:{}/live/copy{copy}-{{key}}", sink.port);
    let mut servers = Servers::start("upgrade-five", Built::Plain, &["--push", &push(1), "--push", &push(2)], &[]);
    let names = (1..=2).flat_map(|copy| (0..STREAMS).map(move |show| format!("copy{copy}-show{show}")));
    let names: Vec<_> = names.collect();
    let copies: Vec<_> = names.iter().map(|name| playing(sink.play(name))).collect();
    let load = Load::on(servers.port, STREAMS, 10, 40);
    has_media(&sink, &names);
    let mut running = servers.first.id();
    for turn in 1..=5 {
        Servers::signal(running, "-USR2");
        servers.says("took over 20 streams", turn);
        if turn == 1 {
            assert!(servers.first.wait().unwrap().success());
        }
        until("the old one has ended", || (servers.running().len() == 1).then_some(()));
        running = servers.running()[0];
        // The new one is where the old one was.
        drop(Client::new(servers.port, "show0", false));
    }
    let pause = load.end();
    copies.into_iter().for_each(|copy| is_whole(&copy.join().unwrap()));
    assert_eq!(publishers(&sink), 2 * STREAMS, "each push over one connection");
    for line in servers.words().lines().filter(|line| line.contains("paused for")) {
        println!("{line}");
    }
    println!("the longest time without a message: {} ms", pause.as_millis());
}

#[test]
fn processes_of_streams_go_on_through_upgrades_of_the_program_in_a_row() {
    let sink = Live::new(ServerConfig::default());
    let push = format!("live=rtmp://127.0.0.1:{}/live/copy-{{key}}", sink.port);
    let options = [&["--push", &push][..], &Built::Sanitized.in_processes()].concat();
    let mut servers = Servers::start("upgrade-isolated", Built::Sanitized, &options, &[]);
    let names = ["copy-show0", "copy-show1"].map(str::to_owned);
    let copies: Vec<_> = names.iter().map(|name| playing(sink.play(name))).collect();
    let load = Load::on(servers.port, 2, 3, 10);
    has_media(&sink, &names);
    let mut running = servers.first.id();
    let workers = children(running);
    assert_eq!(workers.len(), 2);
    for turn in 1..=3 {
        Servers::signal(running, "-USR2");
        servers.says("took over 2 streams and 8 sessions", turn);
        if turn == 1 {
            assert!(servers.first.wait().unwrap().success());
        }
        until("the old one has ended", || (servers.running().len() == 1).then_some(()));
        running = servers.running()[0];
        assert!(workers.iter().all(|pid| Path::new("/proc").join(pid.to_string()).exists()));
    }
    let pause = load.end();
    copies.into_iter().for_each(|copy| is_whole(&copy.join().unwrap()));
    assert_eq!(publishers(&sink), 2, "each push over one connection");
    println!("the longest time without a message: {} ms", pause.as_millis());
    // A server that is killed takes its processes along.
    Servers::signal(running, "-KILL");
    let is_gone = |pid: &u32| !Path::new("/proc").join(pid.to_string()).exists();
    until("its processes have ended", || workers.iter().all(is_gone).then_some(()));
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let of_threads = fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let all = of_threads.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Number of streams in the upgrades in a row.
const STREAMS: usize = 20;

/// How many have begun to publish to this server.
fn publishers(sink: &Live) -> usize {
    let events = sink.events_of(EventKind::Session).into_iter();
    events.filter(|event| event.role == Role::Publisher && event.state == State::InProgress).count()
}

/// Waits until each of these streams of a server has media. A push to it that is just being connected would be connected
/// anew.
fn has_media(sink: &Live, names: &[String]) {
    let has = |name: &String| {
        let stream = sink.server.stream_find(b"live", name.as_bytes());
        stream.and_then(|id| sink.server.stats(id)).is_ok_and(|stats| stats.msgs_in > 0)
    };
    until("every push has media", || names.iter().all(has).then_some(()));
}

/// Holds that a copy has every message from its first one on, once.
fn is_whole(copied: &load::Played) {
    let first = copied.numbers[0];
    assert!(copied.whole && copied.numbers == (first..first + copied.numbers.len() as u32).collect::<Vec<_>>());
}

#[test]
fn a_push_goes_along_once_and_is_the_new_ones() {
    let sink = Live::new(ServerConfig::default());
    let url = format!("live=rtmp://127.0.0.1:{}/live/copy-{{key}}", sink.port);
    let servers = Servers::start("upgrade-push", Built::Sanitized, &["--push", &url], &[]);
    let copy = playing(sink.play("copy-show0"));
    let load = Load::on(servers.port, 1, 1, 5);
    has_media(&sink, &["copy-show0".to_owned()]);
    Servers::signal(servers.first.id(), "-USR2");
    servers.says("took over 1 streams", 1);
    load.end();
    is_whole(&copy.join().unwrap());
    assert_eq!(publishers(&sink), 1, "over one connection");
}

#[cfg(feature = "rest")]
#[test]
fn a_request_by_http_upgrades_too_and_the_new_server_is_asked_by_http_next() {
    let token = c::workshop("upgrade-token").join("token");
    fs::write(&token, "token-of-the-user\n").unwrap();
    let reserved = support::reserved::Reserved::new();
    let rest = reserved.address().to_string();
    let servers = Servers::start(
        "upgrade-http",
        Built::Sanitized,
        &["--rest", &rest, "--token-file", token.to_str().unwrap()],
        &[],
    );
    let load = Load::on(servers.port, 1, 1, 5);
    let ask = || {
        let mut socket = TcpStream::connect(&rest).ok()?;
        let head = "POST /v1/upgrade HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer token-of-the-user\r\n\r\n";
        socket.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        answer.contains(" 202 ").then_some(())
    };
    for turn in 1..=2 {
        // The new one has the port as soon as the old one has given it up.
        until("it is asked", ask);
        servers.says("took over 1 streams", turn);
        until("the old one has ended", || (servers.running().len() == 1).then_some(()));
    }
    load.end();
}

/// As systemd starts a service: the sockets at 3 and 4, named by the environment.
const BY_SYSTEMD: &str = r#"exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_PID=$$; exec "$0" "$@""#;

#[test]
fn sockets_of_systemd_are_used_and_it_hears_when_the_server_is_ready_and_which_process_is_the_main_one() {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [rtmp, http] = sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
    let path = c::workshop("upgrade-systemd").join("notify");
    let _ = fs::remove_file(&path);
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let notice = || {
        let mut room = [0; 256];
        let len = systemd.recv(&mut room).unwrap();
        String::from_utf8(room[..len].to_vec()).unwrap()
    };
    let mut servers = Servers::launch("upgrade-systemd-run", Built::Sanitized, |file, _| {
        let mut shell = Command::new("bash");
        let [rtmp, http] = sockets.map(OwnedFd::from);
        shell.args(["-c", BY_SYSTEMD]).arg(file).stdin(rtmp).stdout(http).env("NOTIFY_SOCKET", &path);
        shell.envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "rtmp:http")]);
        shell
    });
    assert_eq!(notice(), "READY=1");
    let load = Load::on(rtmp, 1, 2, 5);
    let plays_over_http = || {
        let mut socket = TcpStream::connect(("127.0.0.1", http)).unwrap();
        socket.write_all(b"GET /live/show0.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    };
    plays_over_http();
    Servers::signal(servers.first.id(), "-USR2");
    let mut notices = vec![notice(), notice()];
    assert!(servers.first.wait().unwrap().success());
    // The new server may be ready before the old one has named it.
    let running = servers.running();
    notices.sort();
    assert_eq!(notices, [format!("MAINPID={}", running[0]), "READY=1".to_owned()]);
    plays_over_http();
    load.end();
}

#[test]
fn a_new_program_that_fails_leaves_everything_as_it_was() {
    let servers = Servers::start("upgrade-fails", Built::Sanitized, &[], &[]);
    let load = Load::on(servers.port, 2, 2, 5);
    let file = servers.room.file("rr_server");
    let running = servers.first.id();
    let replace = |how: &dyn Fn()| {
        // A running program cannot be written to, but its name can be another file's.
        fs::remove_file(&file).unwrap();
        how();
    };
    let script = |text: &str| {
        fs::write(&file, format!("#!/usr/bin/env bash\n{text}\n")).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&file).status().unwrap().success());
    };
    let cases: [(&dyn Fn(), &str); 4] = [
        (&|| fs::write(&file, "no program").unwrap(), "cannot be started"),
        (&|| script("exit 3"), "has ended before it took over"),
        (&|| script("printf 'HTTP/1.1 400 Bad Request' >&$RR_SERVER_TAKEOVER; sleep 60"), "is no message"),
        (&|| script("printf '\\001\\0\\0\\0\\0\\0\\0\\0' >&$RR_SERVER_TAKEOVER; sleep 60"), "this is not the greeting"),
    ];
    for (turn, (how, why)) in cases.into_iter().enumerate() {
        replace(how);
        Servers::signal(running, "-USR2");
        servers.says("this server goes on", turn + 1);
        let words = servers.words();
        let last = words.lines().rfind(|line| line.contains("this server goes on")).unwrap();
        assert!(last.contains(why), "{why}: {last}");
    }
    // And now one that does not fail.
    replace(&|| fs::hard_link(Built::Sanitized.server(), &file).unwrap());
    Servers::signal(running, "-USR2");
    servers.says("took over 2 streams", 1);
    load.end();
}

/// Where the running server sends: a greeting, a listening socket, for each of two streams it, its publisher and two
/// players, and the end. It receives a greeting and READY.
const RUNNING_SENDS: usize = 1 + 1 + 2 * 4 + 1;

/// The same where each of the two streams has a process, which says eight things of itself, is one, and has a channel.
const ISOLATED_SENDS: usize = 1 + 1 + 2 * (1 + 7 + 1 + 1) + 1;

#[test]
fn a_new_server_that_is_killed_at_any_step_has_taken_nothing() {
    is_killed_as_new("upgrade-kill-new", &[], RUNNING_SENDS);
}

#[test]
fn a_new_server_that_is_killed_at_any_step_has_taken_no_process() {
    is_killed_as_new("upgrade-kill-new-isolated", &Built::Plain.in_processes(), ISOLATED_SENDS);
}

fn is_killed_as_new(test: &str, options: &[&str], running_sends: usize) {
    let library = killer();
    let sends = (1..=2).map(|at| format!("send {at}"));
    for when in (1..=running_sends).map(|at| format!("receive {at}")).chain(sends) {
        let environment = [("LD_PRELOAD", library.to_str().unwrap()), ("KILL_SUCCESSOR", &when)];
        let servers = Servers::start(test, Built::Plain, options, &environment);
        let load = Load::on(servers.port, 2, 2, 5);
        Servers::signal(servers.first.id(), "-USR2");
        servers.says("this server goes on", 1);
        until("it is gone", || (servers.running().len() == 1).then_some(()));
        load.end();
    }
}

#[test]
fn what_a_running_server_has_handed_over_goes_on_where_it_is_killed_at_any_step() {
    is_killed_as_running("upgrade-kill-old", &[], RUNNING_SENDS);
}

#[test]
fn processes_that_a_running_server_has_handed_over_go_on_where_it_is_killed_at_any_step() {
    is_killed_as_running("upgrade-kill-old-isolated", &Built::Plain.in_processes(), ISOLATED_SENDS);
}

fn is_killed_as_running(test: &str, options: &[&str], running_sends: usize) {
    let library = killer();
    let sends = (1..=running_sends).map(|at| (format!("send {at}"), at));
    for (when, step) in sends.chain([("receive 2".to_owned(), running_sends + 1)]) {
        let environment = [("LD_PRELOAD", library.to_str().unwrap()), ("KILL_RUNNING", &when)];
        let mut servers = Servers::start(test, Built::Plain, options, &environment);
        let load = Load::on(servers.port, 2, 2, 5);
        Servers::signal(servers.first.id(), "-USR2");
        assert!(!servers.first.wait().unwrap().success());
        // It had sent so many messages; the first two are no session.
        if step <= 2 {
            servers.says("cannot take over", 1);
        } else {
            servers.says("took over", 1);
            assert!(step > running_sends || servers.words().contains("was killed"), "{when}");
            // Nobody waits longer for the connection than the system takes to close it; the listening socket is there.
            drop(playing(Client::new(servers.port, "other", false)));
        }
        let closed = load.end_cut();
        assert!(step < running_sends || closed == 0, "{when}: all was handed over, and {closed} were closed");
    }
}

/// The library that kills a server at a step.
fn killer() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let library = c::workshop("upgrade-killer").join("killed.so");
        let source = c::root().join("tests/c/killed.c");
        let output =
            c::compiler(c::As::C99).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").output();
        c::good(&output.unwrap(), "killed.c");
        library
    };
    LIBRARY.get_or_init(build).clone()
}
