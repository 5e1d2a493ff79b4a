//! A thread of a stream's process that hangs is noticed as the whole process is: the process is ended, and its stream begins
//! anew.
//!
//! The thread is stopped as a debugger stops it. A stopped thread belongs to the test's thread until it is gone, so this is a
//! test program of its own.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;

use std::fs;
use std::io;

use isolated::{isolated, worker_of, workers};
use live::{Client, Live, until};
use rrelay::config::{ServerConfig, WorkerConfig};
use rrelay::error::RRError;
use rrelay::session::SessionConfig;

/// A thread of a process that stands still.
struct Stopped(libc::pid_t);

impl Stopped {
    /// Stops this thread alone.
    #[allow(unsafe_code, reason = "std stops no threads")]
    fn new(thread: u32) -> Self {
        let thread = thread.cast_signed();
        let trace = |request| {
            let nothing = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: both requests take no memory of this process.
            let done = unsafe { libc::ptrace(request, thread, nothing, nothing) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
        };
        trace(libc::PTRACE_SEIZE);
        trace(libc::PTRACE_INTERRUPT);
        let this = Self(thread);
        assert!(libc::WIFSTOPPED(this.wait()));
        this
    }

    /// Waits until it is gone, and gives the signal that has ended it.
    fn end(self) -> i32 {
        loop {
            let status = self.wait();
            if !libc::WIFSTOPPED(status) {
                assert!(libc::WIFSIGNALED(status), "{status}");
                return libc::WTERMSIG(status);
            }
        }
    }

    #[allow(unsafe_code, reason = "std waits for processes alone")]
    fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: the status is this function's own.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) };
        assert_eq!(waited, self.0, "{}", io::Error::last_os_error());
        status
    }
}

/// The thread of this name.
fn thread_of(process: u32, name: &str) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut named = tasks.flatten().filter(|task| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name);
    named.next().unwrap().file_name().to_str().unwrap().parse().unwrap()
}

/// A publisher and a player who have met. After a crash their stream pauses for a moment.
fn meet(live: &Live, key: &str) -> (Client, Client) {
    let mut taken = None;
    until("the publisher is taken", || {
        taken = Client::configured(live.port, key, true, &SessionConfig::default()).ok();
        taken.is_some()
    });
    let (mut publisher, mut player) = (taken.unwrap(), live.play(key));
    publisher.key_frame(0, b"first").unwrap();
    assert_eq!(player.message().1[5..], *b"first");
    (publisher, player)
}

#[test]
fn a_process_one_of_whose_threads_hangs_is_ended_and_others_do_not_notice() {
    let worker = WorkerConfig { hung_ms: Some(2_000), ..isolated().worker };
    let live = Live::new(ServerConfig { worker, ..isolated() });
    let mut others = meet(&live, "other");
    // Its threads sleep: they have nothing to do.
    let waits = live.play("waits");
    for (turn, name) in ["relayDataThread", "accmDataThread"].into_iter().enumerate() {
        let (mut publisher, mut player) = meet(&live, "show");
        let process = worker_of(&publisher);
        let thread = thread_of(process, name);
        assert_ne!(thread, process, "the main thread goes on");
        let stopped = Stopped::new(thread);
        assert_eq!(stopped.end(), libc::SIGKILL);
        for peer in [&mut publisher, &mut player] {
            peer.closed();
            let end = live.end_of(&peer.addr());
            assert_eq!(end.error, Some(RRError::Worker));
            assert!(String::from_utf8_lossy(&end.text).contains("it hangs"), "{end:?}");
        }
        live.line_with(&["live/***", "its process", name, "has not gone on for a second"]);
        until("the end of the process", || !workers().contains(&process));
        assert_eq!(live.server.worker_counts().unwrap().hung, turn as u64 + 1);
        others.0.key_frame(40, b"others").unwrap();
        assert_eq!(others.1.message().1[5..], *b"others");
    }
    drop(meet(&live, "show"));
    until("all others are there, and they alone", || live.sessions() == 3);
    assert_eq!(live.server.worker_counts().unwrap().hung, 2);
    drop(waits);
}
