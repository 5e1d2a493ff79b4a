//! Streams in processes of their own: whatever becomes of one process, the other streams lose no message, and nothing is
//! left behind.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[allow(dead_code, clippy::duplicate_mod, reason = "each test program uses a part of it")]
mod support;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use live::Client;
use load::Load;
use rrelay::session::SessionConfig;
use support::program::Room;
use support::reserved::Reserved;
use support::{c, until};

const STREAMS: usize = 20;
const PLAYERS: usize = 2;

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| c::build("chaos-run", &c::server_sources(), c::As::C99))
}

fn worker() -> &'static PathBuf {
    static WORKER: OnceLock<PathBuf> = OnceLock::new();
    WORKER.get_or_init(|| c::worker("chaos-worker"))
}

fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

/// A program, started without the privileges of the tests: limits of processes do not hold for root.
fn unprivileged(program: &str) -> Command {
    let nobody: &[&str] = &["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"];
    let words = if is_root() { nobody } else { &["env"] };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(program);
    command
}

/// A folder with the server, the worker and the library, which a user without privileges reaches wherever this tree is.
struct Programs(PathBuf);

impl Programs {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rrelay-{test}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        open(&folder);
        let library = program().with_file_name("librrelay.so.0");
        for (from, name) in [(program(), "rr_server"), (worker(), "rrelay-worker"), (&library, "librrelay.so.0")] {
            fs::copy(from, folder.join(name)).unwrap();
            open(&folder.join(name));
        }
        Self(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server whose streams run in processes.
struct Server {
    room: Room,
    _programs: Programs,
    child: Child,
    port: u16,
}

impl Server {
    fn start(test: &str, options: &[&str]) -> Self {
        let room = Room::new(test);
        let file = |name| fs::File::create(room.file(name)).unwrap();
        let (out, errors) = (file("out"), file("errors"));
        let mut this = Self::printing_to(test, room, out, errors, "0", options);
        this.says("out", "listens on port ", 1);
        // To print the first time of day the program opens a file for a moment: after that it holds what it will hold.
        this.says("out", ": ACCEPTING", 1);
        let words = this.words("out");
        let (_, rest) = words.split_once("listens on port ").unwrap();
        this.port = rest.split([',', ' ', '\n']).next().unwrap().parse().unwrap();
        this
    }

    fn printing_to(test: &str, room: Room, out: fs::File, errors: fs::File, port: &str, options: &[&str]) -> Self {
        let programs = Programs::new(test);
        let child = unprivileged(&programs.file("rr_server"))
            .args(["--addr", "127.0.0.1", "--port", port, "--isolate", "process"])
            .args(["--worker", &programs.file("rrelay-worker")])
            .args(options)
            .env("LD_LIBRARY_PATH", &programs.0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .unwrap();
        Self { room, _programs: programs, child, port: port.parse().unwrap() }
    }

    fn words(&self, of: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.room.file(of)).unwrap_or_default()).into_owned()
    }

    fn says(&self, of: &str, what: &str, times: usize) {
        until(&format!("it says \"{what}\" {times} times"), || {
            (self.words(of).matches(what).count() >= times).then_some(())
        });
    }

    /// Its workers, also those that have ended and were not reaped.
    fn workers(&self) -> Vec<u32> {
        let server = self.child.id().to_string();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let is_child = |pid: &u32| {
            // The second field, the name, may have blanks and parentheses.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&server)
        };
        pids.filter(is_child).collect()
    }

    fn has_workers(&self, count: usize) {
        until(&format!("it has {count} workers"), || (self.workers().len() == count).then_some(()));
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it lives").count()
    }

    /// Sets its own limit of something; `None` takes the limit away again.
    fn limit(&self, what: &str, most: Option<u32>) {
        let asked = |limit: &str| {
            let output = unprivileged("prlimit").args(["--pid", &self.child.id().to_string(), limit]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        // The hard limit, which stays, is the last but one word.
        let words = asked(what);
        let hard = words.lines().last().unwrap().split_whitespace().nth_back(1).unwrap();
        let soft = most.map_or_else(|| hard.to_owned(), |most| most.to_string());
        asked(&format!("{what}={soft}:"));
    }

    /// A publisher of a stream that was cut, once the server takes it.
    fn publishes_again(&self, stream: usize) -> Client {
        let key = format!("show{stream}");
        until("it can be published again", || Client::configured(self.port, &key, true, &SessionConfig::default()).ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}{}", self.words("out"), self.words("errors"));
        }
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn signal(pid: u32, which: &str) {
    run("kill", &[which, &pid.to_string()]);
}

#[test]
fn workers_that_are_killed_or_hang_end_their_own_streams_and_no_others() {
    let mut server = Server::start("chaos-workers", &["--worker-hung", "5000", "--log", "info"]);
    let before = server.descriptors();
    let load = Load::on(server.port, STREAMS, PLAYERS, 20);
    server.has_workers(STREAMS);
    let random = RandomState::new();
    for round in 1..=3 {
        let workers = server.workers();
        signal(workers[random.hash_one(round) as usize % workers.len()], "-KILL");
        server.says("errors", "killed by signal 9 (SIGKILL)", round);
        until("its publisher is closed", || (load.closed().len() == round).then_some(()));
    }
    let stopped = server.workers()[0];
    signal(stopped, "-STOP");
    server.says("errors", "it hangs", 1);
    until("its publisher is closed", || (load.closed().len() == 4).then_some(()));
    let cut = load.closed();
    server.has_workers(STREAMS - cut.len());
    // The next publisher of such a stream has another worker.
    let mut again = server.publishes_again(cut[0]);
    let mut player = Client::new(server.port, &format!("show{}", cut[0]), false);
    again.key_frame(0, b"again").unwrap();
    assert_eq!(player.message().1[5..], b"again"[..]);
    server.has_workers(STREAMS - cut.len() + 1);
    drop((again, player));
    load.end_but(&cut);
    server.has_workers(0);
    until("it has its descriptors back", || (server.descriptors() == before).then_some(()));
    signal(server.child.id(), "-TERM");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn where_the_system_gives_no_more_processes_or_descriptors_running_streams_go_on() {
    let server = Server::start("chaos-limits", &["--log", "info"]);
    let before = server.descriptors();
    let load = Load::on(server.port, STREAMS, PLAYERS, 20);
    server.has_workers(STREAMS);
    let mut refused = None;
    for (number, what) in ["--nproc", "--nofile"].into_iter().enumerate() {
        // The soft limit of open files counts the highest number and not how many there are.
        server.limit(what, Some(if what == "--nproc" { 1 } else { 3 }));
        if what == "--nproc" {
            // It may be allowed to publish before the start fails.
            let key = format!("more{number}");
            if let Ok(mut client) = Client::configured(server.port, &key, true, &SessionConfig::default()) {
                until("it is closed", || client.turn(Duration::from_millis(5)).err());
            }
            server.says("errors", "RLIMIT_NPROC", 1);
        } else {
            // It waits for the server, which cannot accept it.
            refused = Some(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
        }
        server.limit(what, None);
        drop(refused.take());
        let mut more = until("another stream can run again", || {
            Client::configured(server.port, &format!("later{number}"), true, &SessionConfig::default()).ok()
        });
        let mut player = Client::new(server.port, &format!("later{number}"), false);
        more.key_frame(0, b"later").unwrap();
        assert_eq!(player.message().1[5..], b"later"[..]);
    }
    load.end_but(&[]);
    server.has_workers(0);
    until("it has its descriptors back", || (server.descriptors() == before).then_some(()));
    // Its workers end with a server that is killed.
    let _publisher = Client::new(server.port, "last", true);
    server.has_workers(1);
    let worker = server.workers()[0];
    signal(server.child.id(), "-KILL");
    until("the worker has ended", || (!fs::exists(format!("/proc/{worker}")).unwrap()).then_some(()));
}

#[test]
fn a_disk_that_is_full_of_the_log_harms_no_stream() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    // Nobody can read the port from such a log.
    let reserved = Reserved::new();
    let port = reserved.port.to_string();
    let options = ["--log", "trace"];
    let server = Server::printing_to("chaos-full", Room::new("chaos-full"), full(), full(), &port, &options);
    until("it listens", || TcpStream::connect(("127.0.0.1", server.port)).ok());
    let load = Load::on(server.port, STREAMS, PLAYERS, 20);
    server.has_workers(STREAMS);
    signal(server.workers()[0], "-KILL");
    until("a publisher is closed", || (load.closed().len() == 1).then_some(()));
    let cut = load.closed();
    drop(server.publishes_again(cut[0]));
    load.end_but(&cut);
    server.has_workers(0);
}
