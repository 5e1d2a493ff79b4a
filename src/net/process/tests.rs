//! Promises of processes: what they get, what they may use, and how their end is known.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::*;

/// A shell that runs this script as a worker; the channel's number is `$3`. It is bash, because other shells know no
/// descriptors above 9.
fn start(script: &str, limits: &Limits) -> (Process, UnixStream) {
    let mut command = Command::new("bash");
    command.args(["-c", script, "worker"]);
    let (process, channel) = Process::start(command, limits).unwrap();
    let channel = UnixStream::from(channel);
    channel.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (process, channel)
}

fn said(channel: &mut UnixStream) -> String {
    let mut said = String::new();
    channel.read_to_string(&mut said).unwrap();
    said
}

fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        match found() {
            Some(found) => return found,
            None if begun.elapsed() > Duration::from_secs(30) => panic!("{what}"),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_process_that_was_left_to_this_one_is_ended_by_it_and_its_end_is_seen() {
    let (process, _channel) = start("sleep 60", &Limits::default());
    let mut adopted = Process::adopt(process.second_fd().unwrap()).unwrap();
    let pid = process.pid();
    process.leave();
    assert!(exists(pid) && adopted.ended().is_none(), "it goes on");
    assert_eq!((adopted.pid(), adopted.is_child()), (pid, false));
    adopted.kill();
    assert_eq!(eventually("it ends", || adopted.ended()), End::Unknown);
    eventually("the one that started it reaps it", || (!exists(pid)).then_some(()));
    let file = fs::File::open("/dev/null").unwrap();
    assert_eq!(Process::adopt(file.into()).unwrap_err().kind, RRError::Arg);
}

#[test]
fn a_worker_gets_its_channel_and_none_of_the_hosts_descriptors() {
    // As a host opens files that does not think of exec.
    let hosts = fs::File::open("/dev/null").unwrap();
    SockRef::from(&hosts).set_cloexec(false).unwrap();
    let number = hosts.as_raw_fd();
    let script = format!("test -e /proc/self/fd/{number} && echo \"$1: inherited\" >&$3 || echo \"$1: alone\" >&$3");
    let (mut process, mut channel) = start(&script, &Limits::default());
    assert_eq!(said(&mut channel), "--rrelay-worker: alone\n");
    assert_eq!(eventually("it ends", || process.ended()), End::Exited(0));
}

#[test]
fn the_end_of_a_worker_is_said_in_words_and_leaves_nothing_behind() {
    for (script, words) in [
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "killed by signal 9 (SIGKILL)"),
        ("kill -SEGV $$", "killed by signal 11 (SIGSEGV)"),
    ] {
        let (mut process, _channel) = start(script, &Limits::default());
        let pid = process.pid();
        assert_eq!(eventually(script, || process.ended()).to_string(), words);
        assert!(!exists(pid), "it was reaped");
        process.kill();
        assert_eq!(process.ended().map(|end| (end.to_string(), end.is_ok())), Some((words.to_owned(), false)));
    }
}

#[test]
fn a_worker_that_stands_still_is_killed_and_one_that_nobody_holds_is_gone() {
    let (mut process, mut channel) = start("kill -STOP $$", &Limits::default());
    assert_eq!(process.ended(), None);
    process.kill();
    assert_eq!(said(&mut channel), "", "the channel ends with it");
    assert_eq!(eventually("it is killed", || process.ended()), End::Killed(libc::SIGKILL));
    let (process, _channel) = start("read line <&$3", &Limits::default());
    let pid = process.pid();
    assert!(exists(pid));
    drop(process);
    eventually("it is reaped", || (!exists(pid)).then_some(()));
}

#[test]
fn a_pidfd_is_readable_once_its_process_has_ended() {
    let (mut process, mut channel) = start("read line <&$3", &Limits::default());
    assert!(!is_readable(process.as_raw_fd(), 0));
    channel.write_all(b"\n").unwrap();
    assert!(is_readable(process.as_raw_fd(), 30_000));
    assert_eq!(process.ended(), Some(End::Exited(0)));
}

#[test]
fn limits_hold_before_the_first_message_is_read() {
    let script =
        "read line <&$3; { ulimit -n; ulimit -d; nice; sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status; } >&$3";
    let allowed = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap();
    let cpu: usize = allowed.split([',', '-']).next().unwrap().parse().unwrap();
    let limits = Limits { memory_bytes: Some(64 << 20), files: Some(50), nice: 19, cpus: vec![cpu] };
    let (_process, mut channel) = start(script, &limits);
    channel.write_all(b"\n").unwrap();
    assert_eq!(said(&mut channel), format!("50\n65536\n19\n{cpu}\n"));
}

#[test]
fn what_cannot_be_started_is_named() {
    let program = Path::new("/nowhere/rrelay-worker");
    let failure = Process::spawn(program, &Limits::default()).unwrap_err();
    assert_eq!(failure.kind, RRError::Io);
    assert!(failure.text.starts_with("the worker /nowhere/rrelay-worker was not started: No such file"), "{failure}");
    for (errno, kind) in
        [(libc::EAGAIN, RRError::Limit), (libc::EMFILE, RRError::Limit), (libc::ENOMEM, RRError::NoMem)]
    {
        assert_eq!(failed(program, &io::Error::from_raw_os_error(errno)).kind, kind);
    }
}

#[test]
fn a_file_that_is_no_program_is_refused_before_the_fork() {
    for file in ["/etc/passwd", "/etc", "/nonexistent/rrelay-worker"] {
        assert!(check(Path::new(file)).is_err(), "{file}");
        let failure = Process::spawn(Path::new(file), &Limits::default()).unwrap_err();
        assert_eq!((failure.kind, failure.text.contains(file)), (RRError::Io, true), "{failure}");
    }
    check(Path::new("/bin/sh")).unwrap();
    check(Path::new("sh")).unwrap();
}

#[test]
fn the_file_of_this_code_is_found() {
    assert_eq!(library(), std::env::current_exe().ok());
}
