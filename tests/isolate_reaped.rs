//! Streams in processes of their own, in a host that takes the exit status of every child: for the library a worker that
//! has ended in order has ended in order all the same, and one that was killed has not.
//!
//! Who takes it is a matter of the whole process, so this is a test program of its own, with one test.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;

use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use isolated::{isolated, program, workers};
use live::{Client, Live, until};
use rrelay::error::RRError;
use rrelay::session::SessionConfig;

/// What the host does with SIGCHLD from here on.
#[allow(unsafe_code, reason = "std sets no signals")]
fn at_ends_of_children(action: libc::sighandler_t) {
    // SAFETY: both actions that are set here are the system's own.
    let before = unsafe { libc::signal(libc::SIGCHLD, action) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Takes the status of a child that has ended. False without any.
#[allow(unsafe_code, reason = "std waits only for a child that it knows")]
fn reaps() -> bool {
    // SAFETY: no status is asked for.
    let pid = unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) };
    pid > 0
}

/// A publisher and a player who have met. After a crash their stream pauses for a moment.
fn meet(live: &Live, number: u32) -> (Client, Client) {
    let mut taken = None;
    until("the publisher is taken", || {
        taken = Client::configured(live.port, "show", true, &SessionConfig::default()).ok();
        taken.is_some()
    });
    let (mut publisher, mut player) = (taken.unwrap(), live.play("show"));
    publisher.key_frame(0, &number.to_be_bytes()).unwrap();
    assert!(player.message().1.ends_with(&number.to_be_bytes()));
    (publisher, player)
}

fn ends(live: &Live) {
    until("the end of the stream and its process", || {
        live.server.stream_find(b"live", b"show").is_err() && workers().is_empty()
    });
}

/// Streams begin and end in order, and one whose worker is killed.
fn all_is_as_usual() {
    let live = Live::new(isolated());
    for turn in 0..3 {
        drop(meet(&live, turn));
        ends(&live);
    }
    let (mut publisher, mut player) = meet(&live, 3);
    kill(workers()[0]);
    publisher.closed();
    player.closed();
    for peer in [&publisher, &player] {
        assert_eq!(live.end_of(&peer.addr()).error, Some(RRError::Worker));
    }
    live.line_with(&["its worker", "its connections are closed"]);
    drop(meet(&live, 4));
    ends(&live);
    live.server.shutdown().unwrap();
    let counts = live.server.worker_counts().unwrap();
    assert_eq!((counts.started, counts.crashed, counts.hung), (5, 1, 0));
    assert_eq!(live.lines_with("its worker"), 1, "{:?}", live.lines.lock().unwrap());
}

#[allow(unsafe_code, reason = "a program that kills would be a child too")]
fn kill(pid: u32) {
    // SAFETY: it is a worker of this process, and nothing else ends that.
    let killed = unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    assert_eq!(killed, 0);
}

#[test]
fn a_host_that_takes_the_status_of_all_its_children_notices_no_difference() {
    // The compiler is a child, too, whose status is wanted.
    program();
    at_ends_of_children(libc::SIG_IGN);
    assert!(Command::new("true").status().is_err(), "the system keeps the status of a child");
    all_is_as_usual();

    at_ends_of_children(libc::SIG_DFL);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                // It is mostly faster than the library.
                if !reaps() {
                    std::thread::yield_now();
                }
            }
        });
        all_is_as_usual();
        over.store(true, Ordering::Release);
    });
}
