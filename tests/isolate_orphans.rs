//! Processes of streams whose server is killed go on, if it was set up so, and are the next server's; without one they end
//! after a time.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[cfg(feature = "rest")]
#[path = "support/backend.rs"]
mod backend;
#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[path = "support/reserved.rs"]
mod reserved;
#[path = "support/secure.rs"]
mod secure;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use isolated::{crash, has_connection, isolated, program, taken, workers, workers_of};
use live::{Client, Live, until};
use load::{Load, playing};
use reserved::Reserved;
use rrelay::config::{ListenOptions, ServerConfig, StreamConfig, TargetConfig, WorkerConfig};
use rrelay::error::RRError;
use rrelay::server::{Event, EventKind, Id, Role, State, flag, kind as ids};
use rrelay::session::SessionConfig;
use secure::Papers;

/// Longer than any test runs.
const LONG: &str = "120000";

fn server_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| c::build("orphans-run", &c::server_sources(), c::As::C99))
}

/// A folder in which workers wait, which the server makes, and which is removed afterwards.
struct Folder(PathBuf);

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(test: &str) -> Folder {
    Folder(c::workshop("orphans").join(format!("{test}-{}", std::process::id())))
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Settings of a server that takes the workers of this folder.
fn waiting_in(folder: &Path) -> ServerConfig {
    let config = isolated();
    let worker = WorkerConfig { dir: Some(folder.to_owned()), orphan_ms: 600_000, ..config.worker };
    ServerConfig { worker, ..config }
}

/// The bundled server as a process of its own, whose workers wait in a folder.
struct Host {
    child: Child,
    port: u16,
    log: PathBuf,
    /// Its workers when it was killed.
    workers: Vec<u32>,
    /// Its port where it is the first one there; later ones have the port too.
    _reserved: Option<Reserved>,
}

impl Host {
    fn start(folder: &Path, orphan_ms: &str, options: &[&str]) -> Self {
        let reserved = Reserved::new();
        let mut this = Self::at(reserved.port, folder, orphan_ms, options);
        this._reserved = Some(reserved);
        this
    }

    fn at(port: u16, folder: &Path, orphan_ms: &str, options: &[&str]) -> Self {
        let mut this = Self::starting(port, folder, orphan_ms, options);
        this.says("listens on port");
        let words = this.words();
        let (_, rest) = words.split_once("listens on port ").unwrap();
        this.port = rest.split([',', ' ', '\n']).next().unwrap().parse().unwrap();
        this
    }

    /// One that does not listen yet.
    fn starting(port: u16, folder: &Path, orphan_ms: &str, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = c::workshop("orphans-logs").join(count.to_string());
        let words = File::create(&log).unwrap();
        let child = Command::new(server_program())
            .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--log", "info", "--isolate", "process"])
            .args(["--worker", program().to_str().unwrap(), "--worker-orphan", orphan_ms])
            .args(["--worker-dir", folder.to_str().unwrap()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(words.try_clone().unwrap())
            .stderr(words)
            .spawn()
            .unwrap();
        Self { child, port, log, workers: Vec::new(), _reserved: None }
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    fn says(&self, what: &str) {
        until(&format!("it says \"{what}\""), || self.words().contains(what));
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the system does where memory is short. Its workers, which are so many, go on.
    fn kill(&mut self, workers: usize) {
        self.workers = workers_of(self.pid());
        assert_eq!(self.workers.len(), workers);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn are_gone(&self) {
        until("its processes have ended", || workers_of(self.pid()).is_empty());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        workers_of(self.pid()).into_iter().for_each(isolated::kill);
        if std::thread::panicking() {
            eprintln!("{}", self.words());
        }
    }
}

/// Waits until so many wait in the folder.
fn wait_in(folder: &Path, count: usize) {
    until("they wait for a server", || files(folder) == count);
}

/// A server with a stream, its publisher, and a player that has got its first message.
fn with_a_player(folder: &Path, orphan_ms: &str, options: &[&str]) -> (Host, Client, Client) {
    let host = Host::start(folder, orphan_ms, options);
    let (mut publisher, mut player) = (Client::new(host.port, "show", true), Client::new(host.port, "show", false));
    publisher.key_frame(0, b"first").unwrap();
    assert_eq!(player.message().1[5..], *b"first");
    (host, publisher, player)
}

/// The same after the server was killed: the stream's process waits for another one.
fn orphaned(folder: &Path) -> (Host, Client, Client) {
    let (mut host, publisher, player) = with_a_player(folder, LONG, &[]);
    host.kill(1);
    wait_in(folder, 1);
    (host, publisher, player)
}

/// The stream of this key, once it is there.
fn stream(live: &Live, key: &str) -> Id {
    let mut found = None;
    until("the stream", || {
        found = live.server.stream_find(b"live", key.as_bytes()).ok();
        found.is_some()
    });
    found.unwrap()
}

fn messages(live: &Live, key: &str) -> u64 {
    let stream = live.server.stream_find(b"live", key.as_bytes());
    stream.and_then(|id| live.server.stats(id)).map_or(0, |stats| stats.msgs_in)
}

#[test]
fn media_goes_on_without_a_server_and_on_under_the_next_one() {
    let sink = Live::new(ServerConfig::default());
    let folder = folder("media");
    let push = format!("live=rtmp://127.0.0.1:{}/live/copy-{{key}}", sink.port);
    let mut host = Host::start(&folder, LONG, &["--push", &push]);
    let names = ["copy-show0", "copy-show1"];
    let copies = names.map(|name| playing(sink.play(name)));
    let load = Load::on(host.port, 2, 3, 10);
    until("every push has media", || names.iter().all(|name| messages(&sink, name) > 0));
    assert_eq!(files(&folder), 0, "they have a server");
    host.kill(2);
    wait_in(&folder, 2);
    let before = names.map(|name| messages(&sink, name));
    until("media goes on", || names.iter().zip(before).all(|(name, before)| messages(&sink, name) > before + 20));
    let began = Instant::now();
    let next = Live::new(waiting_in(&folder));
    // It waits a second for them at most, and they come later where that did not suffice.
    let has_waited = began.elapsed() >= Duration::from_secs(1);
    assert!(has_waited || next.sessions() == 2 * (1 + 3), "they are here when it listens");
    until("they are taken over", || next.sessions() == 2 * (1 + 3) && files(&folder) == 0);
    for key in ["show0", "show1"] {
        let targets = next.server.list(stream(&next, key), ids::TARGET).unwrap();
        assert_eq!(targets.len(), 1);
        assert_eq!(next.server.info(targets[0]).unwrap().state, State::InProgress);
        let before = messages(&next, key);
        until("its figures go on", || messages(&next, key) > before + 20);
        assert_eq!(next.server.info(stream(&next, key)).unwrap().state, State::InProgress);
    }
    assert_eq!(workers_of(host.pid()), host.workers, "the processes are the same");
    let pause = load.end();
    for copy in copies {
        let copy = copy.join().unwrap();
        let first = copy.numbers[0];
        assert!(copy.whole && copy.numbers == (first..first + copy.numbers.len() as u32).collect::<Vec<_>>());
    }
    let publishes = |event: &Event| event.role == Role::Publisher && event.state == State::InProgress;
    assert_eq!(sink.events_of(EventKind::Session).into_iter().filter(publishes).count(), 2, "over one connection each");
    println!("the longest time without a message: {} ms", pause.as_millis());
    next.server.stop(None, 0).unwrap();
    host.are_gone();
    assert_eq!((files(&folder), next.server.worker_counts().unwrap().crashed), (0, 0));
}

#[test]
fn what_has_happened_meanwhile_is_the_next_servers_and_so_are_its_calls() {
    let (sink, third) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let folder = folder("calls");
    let push = format!("live=rtmp://127.0.0.1:{}/live/copy", sink.port);
    let mut host = Host::start(&folder, LONG, &["--push", &push]);
    let mut publisher = Client::new(host.port, "show", true);
    let mut players: Vec<Client> = (0..3).map(|_| Client::new(host.port, "show", false)).collect();
    publisher.key_frame(0, b"first").unwrap();
    players.iter_mut().for_each(|player| assert_eq!(player.message().1[5..], *b"first"));
    until("it pushes", || messages(&sink, "copy") > 0);
    host.kill(1);
    wait_in(&folder, 1);
    // One leaves, and the push is closed by its server.
    let left = players.remove(0).addr();
    let pushed = sink.server.list(stream(&sink, "copy"), ids::SESSION).unwrap();
    sink.server.session_close(pushed[0], "enough", 0).unwrap();
    until("the push has gone", || sink.sessions() == 0);
    publisher.key_frame(40, b"second").unwrap();
    players.iter_mut().for_each(|player| assert_eq!(player.message().1[5..], *b"second"));

    let next = Live::new(waiting_in(&folder));
    let show = stream(&next, "show");
    let end = next.end_of(&left);
    assert_eq!((end.role, end.stream, end.error), (Role::Player, show, Some(RRError::Closed)), "{end:?}");
    let sessions = next.server.list(show, ids::SESSION).unwrap();
    let infos: Vec<_> = sessions.iter().map(|&id| next.server.info(id).unwrap()).collect();
    let roles: Vec<_> = infos.iter().map(|info| (info.role, info.addr.clone(), info.state)).collect();
    let wanted = [(Role::Publisher, &publisher), (Role::Player, &players[0]), (Role::Player, &players[1])];
    assert_eq!(roles, wanted.map(|(role, client)| (role, client.addr(), State::InProgress)));
    // The push, which has ended in the meantime, is connected again.
    until("it pushes again", || {
        publisher.key_frame(80, b"third").unwrap();
        messages(&sink, "copy") > 0
    });
    next.server.session_close(sessions[1], "enough", 0).unwrap();
    players.remove(0).closed();
    let url = format!("rtmp://127.0.0.1:{}/live/other", third.port);
    next.server.target_add(show, TargetConfig { url, ..TargetConfig::default() }).unwrap();
    until("the new target has media", || {
        publisher.key_frame(120, b"fourth").unwrap();
        messages(&third, "other") > 0
    });
    // Newcomers come to the same process.
    let mut late = Client::new(next.port, "show", false);
    late.message();
    assert_eq!(next.server.worker_counts().unwrap().started, 0);
    until("its figures", || next.server.stats(show).unwrap().sessions == 3 && messages(&next, "show") >= 3);
    next.server.session_close(sessions[0], "enough", 0).unwrap();
    publisher.closed();
    assert_eq!(next.end_of(&publisher.addr()).error, Some(RRError::Kicked));
    drop((players, late));
    host.are_gone();
    assert_eq!(next.lines_with("its worker"), 0, "{:?}", next.lines.lock().unwrap());
}

#[test]
fn crashes_in_a_row_are_counted_on_by_the_next_server() {
    let folder = folder("crashes");
    let mut host = Host::start(&folder, LONG, &[]);
    let mut publisher = taken(host.port);
    for _ in 0..2 {
        workers_of(host.pid()).into_iter().for_each(isolated::kill);
        publisher.closed();
        publisher = taken(host.port);
    }
    host.kill(1);
    wait_in(&folder, 1);
    let next = Live::new(waiting_in(&folder));
    until("it is there", || next.sessions() == 1);
    let all = || host.workers.iter().copied().chain(workers());
    let process_of = |peer: &Client| all().find(|pid| has_connection(*pid, peer)).unwrap();
    assert_eq!(crash(publisher, next.port, process_of), 3);
}

#[test]
fn sessions_over_tls_end_with_the_server_that_has_their_keys() {
    let papers = Papers::new("orphans");
    let folder = folder("tls");
    let files = [&papers.certificate, &papers.key].map(|file| file.to_str().unwrap());
    let mut host = Host::start(&folder, LONG, &["--tls", "0", "--cert", files[0], "--key", files[1]]);
    let mut publisher = Client::new(host.port, "show", true);
    publisher.key_frame(0, b"first").unwrap();
    host.says("Ctrl-C");
    let words = host.words();
    let (_, rest) = words.split_once("rtmps://, on port ").unwrap();
    let port = rest.split('\n').next().unwrap().parse().unwrap();
    let player = secure::connect(&secure::trusting(), port, "show", false);
    host.says("player");
    host.kill(1);
    wait_in(&folder, 1);
    let next = Live::new(waiting_in(&folder));
    // Whether it still hears of the player is a matter of moments.
    until("the player has gone", || next.sessions() == 1);
    let sessions = next.server.list(stream(&next, "show"), ids::SESSION).unwrap();
    assert_eq!(next.server.info(sessions[0]).unwrap().addr, publisher.addr());
    publisher.key_frame(40, b"second").unwrap();
    until("the publisher goes on", || messages(&next, "show") == 2);
    drop(player);
}

#[test]
fn processes_that_were_handed_over_once_wait_for_another_server_too() {
    let folder = folder("handed");
    let mut host = Host::start(&folder, LONG, &[]);
    let load = Load::on(host.port, 1, 2, 10);
    let workers = workers_of(host.pid());
    isolated::signal(host.pid(), "-USR2");
    host.says("took over 1 streams and 3 sessions");
    assert!(host.child.wait().unwrap().success());
    let successor = running(&folder);
    assert_eq!(successor.len(), 1);
    isolated::kill(successor[0]);
    wait_in(&folder, 1);
    let next = Live::new(waiting_in(&folder));
    until("it is taken over", || next.sessions() == 3);
    assert_eq!(workers_of(host.pid()), workers);
    load.end();
}

#[cfg(feature = "rest")]
#[test]
fn the_next_server_has_the_settings_that_a_stream_had_last() {
    let folder = folder("settings");
    let token = c::workshop("orphans").join(format!("token-{}", std::process::id()));
    fs::write(&token, "token-of-the-user\n").unwrap();
    let mut host = Host::start(&folder, LONG, &["--rest", "127.0.0.1:0", "--token-file", token.to_str().unwrap()]);
    let mut publishers = ["show", "kept", "other"].map(|key| Client::new(host.port, key, true));
    publishers.iter_mut().for_each(|publisher| publisher.key_frame(0, b"first").unwrap());
    host.says("Ctrl-C");
    let words = host.words();
    let (_, rest) = words.split_once("http://127.0.0.1:").unwrap();
    let port: u16 = rest.split(|one: char| !one.is_ascii_digit()).next().unwrap().parse().unwrap();
    // The second one is to exist also without peers, and nothing else of it changes.
    for (key, body) in [("show", "{\"grace_ms\":12345}"), ("kept", "{}")] {
        let mut control = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let head = format!(
            "PUT /v1/streams/live/{key} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer token-of-the-user\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        control.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        control.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
    // The processes have them before whoever comes later.
    for key in ["show", "kept"] {
        Client::new(host.port, key, false).message();
    }
    host.kill(3);
    wait_in(&folder, 3);
    let next = Live::new(waiting_in(&folder));
    let [show, kept, other] = ["show", "kept", "other"].map(|key| stream(&next, key));
    assert_eq!(next.server.stream_config(show).unwrap().grace_ms, 12_345);
    let [_, publisher, last] = publishers;
    drop(publisher);
    until("nobody is on it", || next.server.list(kept, ids::SESSION).unwrap().is_empty());
    drop(last);
    until("the other one has ended", || next.server.info(other).is_err());
    assert!(next.server.info(kept).is_ok());
    let _ = fs::remove_file(token);
}

/// Whether a player gets media before it is closed.
fn gets_media(player: &mut Client) -> bool {
    let mut is_closed = false;
    until("media, or the end", || {
        is_closed = player.turn(Duration::from_millis(10)).is_err();
        is_closed || !player.messages.is_empty()
    });
    !is_closed
}

#[test]
fn a_process_whose_connections_take_all_its_descriptors_is_found_too() {
    let folder = folder("full");
    let (mut host, mut publisher, player) = with_a_player(&folder, LONG, &["--worker-files", "64"]);
    let mut players = vec![player];
    while let Ok(mut player) = Client::configured(host.port, "show", false, &SessionConfig::default())
        && gets_media(&mut player)
    {
        players.push(player);
        assert!(players.len() < 64, "it has more connections than descriptors");
    }
    host.kill(1);
    wait_in(&folder, 1);
    let next = Live::new(waiting_in(&folder));
    until("it is taken over", || next.sessions() == 1 + players.len() as u32);
    publisher.key_frame(40, b"second").unwrap();
    for mut player in players {
        let has_it = |player: &mut Client| player.message().1[5..] == *b"second";
        assert!(has_it(&mut player) || has_it(&mut player));
    }
}

/// The servers that have this folder.
fn running(folder: &Path) -> Vec<u32> {
    let name = folder.to_str().unwrap().as_bytes();
    let has = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words.split(|byte| *byte == 0).any(|word| word == name))
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(has).collect()
}

#[test]
fn without_another_server_they_end_after_their_time_and_leave_nothing_behind() {
    let folder = folder("time");
    // Nothing else ends them.
    let mut host = Host::start(&folder, "4000", &["--idle", "off"]);
    let (mut publisher, mut player) = (Client::new(host.port, "one", true), Client::new(host.port, "one", false));
    let mut other = Client::new(host.port, "other", true);
    publisher.key_frame(0, b"first").unwrap();
    other.key_frame(0, b"first").unwrap();
    player.message();
    let begun = Instant::now();
    host.kill(2);
    wait_in(&folder, 2);
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    [&mut publisher, &mut player, &mut other].into_iter().for_each(Client::closed);
    host.are_gone();
    assert!(begun.elapsed() >= Duration::from_secs(4));
    assert_eq!(files(&folder), 0);
}

#[test]
fn one_with_nothing_left_to_do_ends_before_its_time() {
    let folder = folder("nothing");
    let (host, publisher, player) = orphaned(&folder);
    drop(publisher);
    drop(player);
    host.are_gone();
    assert_eq!(files(&folder), 0);
}

#[test]
fn a_server_that_stops_in_order_takes_its_processes_along() {
    let folder = folder("order");
    let host = Host::start(&folder, LONG, &["--drain", "0"]);
    let mut publisher = Client::new(host.port, "show", true);
    publisher.key_frame(0, b"first").unwrap();
    until("its process", || workers_of(host.pid()).len() == 1);
    isolated::signal(host.pid(), "-TERM");
    publisher.closed();
    host.are_gone();
    assert_eq!(files(&folder), 0);
}

#[test]
fn of_two_servers_each_process_has_exactly_one() {
    let folder = folder("two");
    let mut host = Host::start(&folder, LONG, &[]);
    let load = Load::on(host.port, 6, 2, 20);
    host.kill(6);
    wait_in(&folder, 6);
    let servers = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Live::new(waiting_in(&folder)));
        [start(), start()].map(|server| server.join().unwrap())
    });
    // One that was just asked by the other server may be there a moment later, and removes its file a moment after that.
    until("all are taken", || servers.iter().map(Live::sessions).sum::<u32>() == 6 * 3 && files(&folder) == 0);
    for show in 0..6 {
        let key = format!("show{show}");
        let has = |live: &&Live| live.server.stream_find(b"live", key.as_bytes()).is_ok();
        assert_eq!(servers.iter().filter(has).count(), 1, "{key}");
    }
    assert_eq!(workers_of(host.pid()), host.workers);
    load.end();
}

#[test]
fn a_server_that_is_started_again_goes_on_where_it_was_killed_again_and_again() {
    let sink = Live::new(ServerConfig::default());
    let push = format!("live=rtmp://127.0.0.1:{}/live/copy", sink.port);
    let folder = folder("again");
    let mut host = Host::start(&folder, LONG, &["--push", &push]);
    let first = host.pid();
    let load = Load::on(host.port, 1, 2, 10);
    let port = host.port;
    until("it pushes", || messages(&sink, "copy") > 0);
    let copy = playing(sink.play("copy"));
    host.kill(1);
    let processes = host.workers.clone();
    let mut hosts = vec![host];
    for _ in 0..3 {
        let mut next = Host::at(port, &folder, LONG, &["--push", &push]);
        next.says("goes on here, with 3 sessions");
        // Newcomers go to the same process.
        assert!(playing_once(port) && workers_of(next.pid()).is_empty());
        next.says("STOPPED (closed)");
        next.kill(0);
        hosts.push(next);
    }
    let last = Live::new(waiting_in(&folder));
    // The process may still be noticing the end of the server before.
    until("the last one has it too", || last.sessions() == 3);
    assert_eq!(workers_of(first), processes);
    load.end();
    assert!(copy.join().unwrap().whole);
    let publishes = |event: &Event| event.role == Role::Publisher && event.state == State::InProgress;
    assert_eq!(sink.events_of(EventKind::Session).into_iter().filter(publishes).count(), 1, "over one connection");
}

/// Publishes or plays on a server that may be killed at any moment; what it gets is not looked at.
fn comes_and_goes(port: u16, key: &str, publishes: bool) {
    let Ok(socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return std::thread::sleep(Duration::from_millis(5));
    };
    let begun = std::panic::catch_unwind(|| Client::over(socket, port, key, publishes, &SessionConfig::default()));
    if let Ok(Ok(mut client)) = begun {
        let goes_on = |n: u32| {
            let sent = if publishes { client.key_frame(n * 10, b"guest") } else { Ok(()) };
            sent.is_ok() && client.turn(Duration::from_millis(5)).is_ok()
        };
        (0..10).all(goes_on);
    }
}

#[test]
fn servers_that_are_killed_at_any_moment_lose_no_message_and_leave_nothing_behind() {
    let folder = folder("moments");
    let mut hosts = vec![Host::start(&folder, LONG, &[])];
    let port = hosts[0].port;
    let load = Load::on(port, 4, 2, 10);
    let stops = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (key, publishes) in [("guest", true), ("show0", false), ("show1", false)] {
            let stops = &stops;
            scope.spawn(move || {
                while !stops.load(Ordering::Relaxed) {
                    comes_and_goes(port, key, publishes);
                }
            });
        }
        for moment_ms in [0, 300, 20, 100, 5, 50] {
            // The second one is killed while it starts.
            for starting in [false, true] {
                std::thread::sleep(Duration::from_millis(moment_ms));
                let last = hosts.last_mut().unwrap();
                last.child.kill().unwrap();
                last.child.wait().unwrap();
                hosts.push(match starting {
                    false => Host::starting(port, &folder, LONG, &[]),
                    true => Host::at(port, &folder, LONG, &[]),
                });
            }
        }
        stops.store(true, Ordering::Relaxed);
    });
    load.end();
    hosts.iter().for_each(Host::are_gone);
    until("no socket is left", || files(&folder) == 0);
}

#[test]
fn a_server_that_cannot_start_leaves_them_to_the_next_one() {
    let folder = folder("taken");
    let (mut host, mut publisher, mut player) = with_a_player(&folder, LONG, &[]);
    host.kill(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let (taken, port) = (taken.to_string(), taken.port().to_string());
    for options in [&["--port", &port][..], &["--port", "0", "--http", &taken]] {
        wait_in(&folder, 1);
        let output = Command::new(server_program())
            .args(["--addr", "127.0.0.1", "--isolate", "process", "--worker", program().to_str().unwrap()])
            .args(["--worker-dir", folder.to_str().unwrap(), "--worker-orphan", LONG])
            .args(options)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(workers_of(host.pid()), host.workers, "{output:?}");
    }
    wait_in(&folder, 1);
    let next = Live::new(waiting_in(&folder));
    until("it is taken over", || next.sessions() == 2);
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
}

#[test]
fn a_stream_that_the_host_makes_before_it_listens_is_the_one_that_goes_on() {
    let folder = folder("prepared");
    let (host, mut publisher, mut player) = orphaned(&folder);
    let server = rrelay::server::RRServer::new(waiting_in(&folder), rrelay::server::LevelFilter::Off, None).unwrap();
    let config = StreamConfig { grace_ms: 12_345, ..StreamConfig::default() };
    let show = server.stream_create(b"live", b"show", Some(config)).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    until("its sessions are here", || server.list(show, ids::SESSION).unwrap().len() == 2);
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    assert_eq!(server.stream_config(show).unwrap().grace_ms, 12_345, "it has the settings that the host wants");
    Client::new(port, "show", false).message();
    assert_eq!((server.worker_counts().unwrap().started, workers_of(host.pid())), (0, host.workers.clone()));
    // It is there for as long as the host wants it.
    drop((publisher, player));
    until("its sessions have gone", || server.list(show, ids::SESSION).unwrap().is_empty());
    assert!(server.info(show).is_ok());
}

#[cfg(feature = "rest")]
#[test]
fn the_controller_is_asked_what_the_players_of_a_process_wait_for() {
    let folder = folder("asked");
    let mut host = Host::start(&folder, LONG, &[]);
    let player = Client::new(host.port, "show", false);
    host.says(&format!("player {} live/***#1: WAITING", player.addr()));
    host.kill(1);
    wait_in(&folder, 1);
    let server = rrelay::server::RRServer::new(waiting_in(&folder), rrelay::server::LevelFilter::Off, None).unwrap();
    let server = std::sync::Arc::new(server);
    let answer = r#"{"action": "pull", "urls": ["rtmp://127.0.0.1:9/far"]}"#;
    let backend = backend::Backend::new(move |_| backend::json(answer));
    let mut config = rrelay::config::ControllerConfig { heartbeat_ms: None, ..Default::default() };
    config.set("urls", rrelay::config::Value::Texts(&[backend.url("")])).unwrap();
    let rest = rrelay::rest::Rest::new(std::sync::Arc::clone(&server));
    rest.set_controller(Some(config)).unwrap();
    let show = server.stream_create(b"live", b"show", None).unwrap();
    let began = Instant::now();
    server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    until("it is pulled", || server.list(show, ids::TARGET).unwrap().len() == 1);
    assert!(began.elapsed() < Duration::from_secs(10), "no publisher is on its way");
    assert!(backend.asked()[0].body.contains(r#""why":"play""#), "{:?}", backend.asked());
}

#[test]
fn players_who_wait_for_a_stream_whose_process_is_found_come_to_it() {
    let folder = folder("awaited");
    let (mut host, mut publisher, mut player) = with_a_player(&folder, LONG, &[]);
    // Another server is there already, and somebody waits there.
    let next = Live::new(waiting_in(&folder));
    let mut waits = Client::new(next.port, "show", false);
    until("it waits", || next.sessions() == 1);
    host.kill(1);
    waits.closed();
    let end = next.end_of(&waits.addr());
    assert_eq!(end.error, Some(RRError::Kicked), "{end:?}");
    let mut comes = Client::new(next.port, "show", false);
    comes.message();
    publisher.key_frame(40, b"second").unwrap();
    for player in [&mut player, &mut comes] {
        assert_eq!(player.message().1[5..], *b"second");
    }
    assert_eq!(workers_of(host.pid()), host.workers);
    until("one stream is left", || next.server.list(0, ids::STREAM).unwrap().len() == 1);
}

#[test]
fn a_stream_of_the_host_that_somebody_has_come_to_is_left_to_it_and_the_log_says_so() {
    let folder = folder("exists");
    let (mut host, mut publisher, mut player) = with_a_player(&folder, "6000", &["--idle", "off"]);
    let next = Live::new(waiting_in(&folder));
    next.server.stream_create(b"live", b"show", None).unwrap();
    let mut other = Client::new(next.port, "show", true);
    other.key_frame(0, b"other").unwrap();
    let show = stream(&next, "show");
    until("it runs", || next.server.info(show).unwrap().state == State::InProgress);
    host.kill(1);
    next.line_with(&["cannot be taken over", "a stream of that name is there already"]);
    // What it has goes on until its time is over, and it ends in order.
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    publisher.closed();
    player.closed();
    host.are_gone();
    assert_eq!(files(&folder), 0);
    let tells_of = |event: &Event| event.stream == show;
    assert!(next.events_of(EventKind::Stream).iter().all(tells_of), "the other stream has not begun there");
    other.key_frame(40, b"other").unwrap();
    Client::new(next.port, "show", false).message();
}

/// Whether somebody who comes now gets media.
fn playing_once(port: u16) -> bool {
    !Client::new(port, "show0", false).message().1.is_empty()
}

/// Sends bytes to whoever connects to this socket, and gives the bytes that have come.
fn fake(path: &Path, says: &'static [&'static [u8]]) -> std::thread::JoinHandle<Vec<u8>> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut greeting = vec![0; 64];
        let n = peer.read(&mut greeting).unwrap();
        greeting.truncate(n);
        for bytes in says {
            let _ = peer.write_all(bytes);
        }
        // Until it has had enough.
        let _ = peer.read_to_end(&mut Vec::new());
        greeting
    })
}

#[test]
fn whatever_else_is_in_the_folder_delays_no_server_and_stays_with_its_owner() {
    let folder = folder("hostile");
    let (_host, mut publisher, mut player) = orphaned(&folder);
    let at = |name: &str| folder.join(name);
    let _datagrams = UnixDatagram::bind(at("worker-datagrams")).unwrap();
    fs::write(at("worker-file"), "file").unwrap();
    fs::create_dir(at("worker-folder")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("worker-link")).unwrap();
    let _silent = UnixListener::bind(at("worker-silent")).unwrap();
    const RECORD: &[u8] = b"\x11\0\0\0\0\0\0\x04RRwk";
    let fakes = [
        fake(&at("worker-garbage"), &[b"GET / HTTP/1.1\r\n\r\n"]),
        fake(&at("worker-long"), &[b"\x11\0\0\0\xff\xff\xff\xff"]),
        fake(&at("worker-early"), &[b"\x14\0\0\0\0\0\0\0"]),
        fake(
            &at("worker-nothing"),
            &[
                RECORD,
                b"\x01\0\0\0\0\0\0\x08RRfw\x01\x82\x0f\x80",
                b"\x01\0\0\0\0\0\0\x08RRfw\x01\x82\x12\x80",
                b"\x14\0\0\0\0\0\0\0",
            ],
        ),
        fake(&at("worker-refuses"), &[b"\x12\0\0\0\0\0\0\x0bRRwn\x01\x81\x64\x1b[1mx"]),
    ];
    let next = Live::new(waiting_in(&folder));
    assert_eq!(next.lines_with("worker-silent"), 0, "the start waits for nobody who is silent");
    until("the true one is there", || next.sessions() == 2);
    for greeting in fakes.map(|fake| fake.join().unwrap()) {
        assert_eq!(greeting[0], 16);
        assert_eq!(greeting[8..12], *b"RRhi");
    }
    for name in ["garbage", "long", "early", "refuses", "silent"] {
        next.line_with(&[&format!("worker-{name}"), "is not taken over"]);
    }
    next.line_with(&["worker-nothing", "cannot be taken over"]);
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    assert_eq!(next.server.list(0, ids::STREAM).unwrap().len(), 1);
    let names = ["datagrams", "file", "folder", "link", "silent"];
    assert!(names.iter().all(|name| at(&format!("worker-{name}")).symlink_metadata().is_ok()), "they are others'");
    until("what nobody listens on is removed", || !at("worker-garbage").exists() && !at("worker-early").exists());
}

#[test]
fn what_is_said_in_the_folder_takes_no_more_memory_than_the_server_gives_to_newcomers() {
    static HALF: [&[u8]; 2] = [b"\x11\0\0\0\0\x0f\xff\xff", &[0; 900_000]];
    let folder = folder("memory");
    fs::create_dir_all(&*folder).unwrap();
    fs::set_permissions(&*folder, fs::Permissions::from_mode(0o700)).unwrap();
    // Half a message.
    let _fake = fake(&folder.join("worker-large"), &HALF);
    let next = Live::new(ServerConfig { mem_limit_bytes: Some(2 << 20), ..waiting_in(&folder) });
    next.line_with(&["worker-large is not taken over", "memory"]);
}

#[test]
fn somebody_who_is_no_server_is_sent_away_and_the_process_goes_on_waiting() {
    let folder = folder("strangers");
    let (host, mut publisher, mut player) = orphaned(&folder);
    let socket = fs::read_dir(&*folder).unwrap().next().unwrap().unwrap().path();
    const GREETING: &[u8] = b"\x10\0\0\0\0\0\0\x07RRhi\x01\x81\x05";
    const OTHER: &[u8] = b"\x10\0\0\0\0\0\0\x08RRhi\x01\x81\x18\x63";
    // The rest of what each of them gets.
    let says = |bytes: &[u8]| {
        let mut stranger = None;
        until("it listens", || {
            stranger = UnixStream::connect(&socket).ok();
            stranger.is_some()
        });
        let mut stranger = stranger.unwrap();
        stranger.write_all(bytes).unwrap();
        stranger.shutdown(std::net::Shutdown::Write).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        // It ends with an error where something was not read there.
        while stranger.read(&mut byte).is_ok_and(|n| n > 0) {
            answer.push(byte[0]);
        }
        answer
    };
    for garbage in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\0\0\0\xff\xff\xff\xff",
        b"\x10\0\0\0\0\0\0\x04RRhi",
        b"\x13\0\0\0\0\0\0\0",
    ] {
        let answer = says(garbage);
        assert!(answer.is_empty(), "{garbage:?} gets {answer:?}");
    }
    let refusal = says(OTHER);
    assert!(refusal.windows(10).any(|words| words == b"version 99"), "{refusal:?}");
    // One that asks like a server, and then does not want it, or orders something at once.
    let [asks, orders] =
        [&b""[..], b"\x01\0\0\0\0\0\0\x08RRtw\x01\x82\x0f\x00"].map(|then| says(&[GREETING, then].concat()));
    assert!(asks.len() > 100 && orders.len() > 100, "{} and {}", asks.len(), orders.len());
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    assert_eq!(workers_of(host.pid()), host.workers);
    let next = Live::new(waiting_in(&folder));
    until("it is taken over", || next.sessions() == 2);
    publisher.key_frame(80, b"third").unwrap();
    assert_eq!(player.message().1[5..], *b"third");
    let lasts = |event: &Event| event.flags & flag::LAST != 0;
    assert!(!next.events_of(EventKind::Session).iter().any(lasts));
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_at_once() {
    let folder = c::workshop("orphans-refused").join("file");
    fs::write(&folder, "").unwrap();
    let refused = rrelay::server::RRServer::new(waiting_in(&folder), rrelay::server::LevelFilter::Off, None);
    let failure = refused.err().unwrap();
    assert_eq!(failure.kind, RRError::Io);
    assert!(failure.text.contains(folder.to_str().unwrap()), "{failure}");
}
