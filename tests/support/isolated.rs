//! Servers whose streams run in processes of their own, and a look at these processes.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what cannot be done here has failed the test")]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use rrelay::config::{Isolate, ServerConfig, WorkerConfig};
use rrelay::session::SessionConfig;

use super::c;
use super::live::{Client, until};

/// The worker of this build.
pub(crate) fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| c::worker(concat!(env!("CARGO_CRATE_NAME"), "-worker"))).clone()
}

pub(crate) fn isolated() -> ServerConfig {
    let worker = WorkerConfig { program: Some(program()), ..WorkerConfig::default() };
    ServerConfig { isolate: Isolate::Process, worker, ..ServerConfig::default() }
}

/// The processes that this one has started and that run a worker.
pub(crate) fn workers() -> Vec<u32> {
    workers_of(std::process::id())
}

/// Those that this process has started, in the order of their numbers.
pub(crate) fn workers_of(server: u32) -> Vec<u32> {
    let me = server.to_string();
    let is_ours = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = words.split(|&byte| byte == 0);
        words.nth(1) == Some(b"--rrelay-worker") && words.next() == Some(me.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut ours: Vec<u32> = all.filter(is_ours).collect();
    ours.sort_unstable();
    ours
}

/// The worker that has the connection of this peer.
pub(crate) fn worker_of(peer: &Client) -> u32 {
    let mut found = None;
    until("a worker with the connection", || {
        found = workers().into_iter().find(|pid| has_connection(*pid, peer));
        found.is_some()
    });
    found.unwrap()
}

/// Whether a process has our end of the connection of this peer, by its socket's number in the system's table.
pub(crate) fn has_connection(pid: u32, peer: &Client) -> bool {
    // Another connection, which may be over, can have one of these ports, but not both.
    let port = |addr: std::net::SocketAddr| format!(":{:04X}", addr.port());
    let (here, there) = (port(peer.socket.peer_addr().unwrap()), port(peer.socket.local_addr().unwrap()));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_ours = |line: &&str| {
        let mut ends = line.split_whitespace().skip(1);
        ends.next().is_some_and(|local| local.ends_with(&here)) && ends.next().is_some_and(|to| to.ends_with(&there))
    };
    let ours = table.lines().find(is_ours);
    let Some(number) = ours.and_then(|line| line.split_whitespace().nth(9)) else { return false };
    let wanted = format!("socket:[{number}]");
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
}

pub(crate) fn kill(pid: u32) {
    signal(pid, "-KILL");
}

pub(crate) fn signal(pid: u32, name: &str) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// A publisher of "show", once it is taken.
pub(crate) fn taken(port: u16) -> Client {
    let mut taken = None;
    until("the publisher is taken", || {
        taken = Client::configured(port, "show", true, &SessionConfig::default()).ok();
        taken.is_some()
    });
    taken.unwrap()
}

/// Kills the process of the stream "show", and gives the number of crashes in a row for which the next publisher is refused.
pub(crate) fn crash(mut publisher: Client, port: u16, process_of: impl Fn(&Client) -> u32) -> u32 {
    let (mut kills, mut refused) = (0, None);
    until("the next publisher is refused", || {
        kill(process_of(&publisher));
        kills += 1;
        publisher.closed();
        loop {
            match Client::configured(port, "show", true, &SessionConfig::default()) {
                // This took so long that the pause was over.
                Ok(next) => {
                    publisher = next;
                    return false;
                }
                Err(failure) if failure.text.contains("ended in a row") => {
                    refused = Some(failure.text.into_owned());
                    return true;
                }
                // The end of the last one is not known yet.
                Err(_) => {}
            }
        }
    });
    let text = refused.unwrap();
    let (before, _) = text.split_once(" workers of this stream ended in a row").unwrap();
    before.rsplit(' ').next().unwrap().parse::<u32>().unwrap() + 1 - kills
}
