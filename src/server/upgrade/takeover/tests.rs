//! Predecessors that do not keep to what was agreed.

use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::*;
use crate::config::{Isolate, ServerConfig};
use crate::log::LevelFilter;
use crate::net::process::Process;
use crate::server::RRServer;
use crate::stream::StreamName;
use crate::stream::exported::target::Pause;
use crate::stream::process::adoption::IsolatedStream;
use crate::sync::locked;

fn soon() -> u64 {
    clock::now_ms() + 30_000
}

/// Takes over from a predecessor that does this after the greetings, with the other end of the socket by which it would
/// say that it has decided otherwise.
fn take_over_from(within_ms: u32, predecessor: impl FnOnce(FdChannel, FdChannel) + Send) -> Failure {
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    take_over_by(&server, within_ms, predecessor)
}

fn take_over_by(server: &RRServer, within_ms: u32, predecessor: impl FnOnce(FdChannel, FdChannel) + Send) -> Failure {
    let (channel, theirs) = FdChannel::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let greeting = channel.receive(|_| 1 << 16, soon()).unwrap().unwrap();
            assert_eq!(greeting.kind, kind::HELLO);
            let (stop, end) = FdChannel::pair().unwrap();
            channel.send(kind::HELLO, &Hello::ours(false).unwrap(), Some(end.as_fd()), soon()).unwrap();
            drop(end);
            predecessor(channel, stop);
        });
        server.take_over(theirs, within_ms).unwrap_err()
    })
}

#[test]
fn one_that_ends_a_single_socket_does_not_hold_the_successor_up() {
    let begun = Instant::now();
    let failure = take_over_from(2_000, |channel, stop| {
        drop(channel);
        assert!(stop.receive(|_| 0, soon()).unwrap().is_none(), "until the successor has given up");
    });
    assert_eq!(failure.kind, RRError::Timeout, "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_target_whose_stream_has_not_come_is_refused_before_anything_is_taken() {
    let target = ExportedTarget::pausing(Pause::Rests).state(clock::now_ms()).unwrap();
    let failure = take_over_from(30_000, |channel, _stop| {
        channel.send(kind::TARGET, &target, None, soon()).unwrap();
        // It may be refused before this.
        let _ = channel.send(kind::END, &[], None, soon());
        assert_eq!(channel.receive(|_| 1 << 16, soon()).unwrap().map(|answer| answer.kind), Some(kind::REFUSED));
    });
    assert_eq!(failure.kind, RRError::NotFound, "{failure}");
}

#[test]
fn a_server_that_stops_takes_nothing_over() {
    for says_all in [false, true] {
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let failure = take_over_by(&server, 60_000, |channel, _stop| {
            server.stop(None, 60_000).unwrap();
            if says_all {
                // It may be refused before this.
                let _ = channel.send(kind::END, &[], None, soon());
            }
            assert_eq!(channel.receive(|_| 1 << 16, soon()).unwrap().map(|answer| answer.kind), Some(kind::REFUSED));
        });
        assert_eq!(failure.kind, RRError::State, "{failure}");
    }
}

/// A process that sleeps.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a worker come, which is a process that sleeps.
fn adopting(entering: &mut Entering<'_>) -> (Sleeper, FdChannel) {
    let process = Sleeper(Command::new("sleep").arg("600").spawn().unwrap());
    let (channel, theirs) = FdChannel::pair().unwrap();
    entering.adopts = true;
    entering.take_isolated(&IsolatedStream::example_record(&show())).unwrap();
    entering.worker().unwrap().take_process(Process::open(process.0.id()).unwrap()).unwrap();
    entering.worker().unwrap().take_channel(theirs).unwrap();
    (process, channel)
}

fn show() -> StreamName {
    StreamName { app: b"live".to_vec(), key: b"show".to_vec() }
}

fn isolating() -> RRServer {
    let config = ServerConfig { isolate: Isolate::Process, ..ServerConfig::default() };
    RRServer::new(config, LevelFilter::Off, None).unwrap()
}

#[test]
fn a_server_whose_streams_have_processes_takes_no_stream_without_one() {
    let server = isolating();
    let state = ExportedStream::example().state().unwrap();
    let message = Message { kind: kind::STREAM, body: state, fd: None };
    assert_eq!(Entering::new(&server.core).take(message).unwrap_err().kind, RRError::Protocol);
}

#[test]
fn nobody_finds_the_stream_of_a_worker_before_the_worker_has_come_to_it() {
    let server = isolating();
    let mut entering = Entering::new(&server.core);
    let (_process, _channel) = adopting(&mut entering);
    let opening = locked(&server.core.opening);
    std::thread::scope(|scope| {
        let (tells, told) = std::sync::mpsc::channel();
        let comes = scope.spawn(move || {
            tells.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            entering.begin();
            entering
        });
        let thread = std::path::Path::new("/proc").join(told.recv().unwrap()).join("stat");
        let by_ms = soon();
        // It has to wait for the lock, and cannot come to its end.
        while !comes.is_finished() && !std::fs::read_to_string(&thread).is_ok_and(|stat| stat.contains(") S ")) {
            assert!(clock::now_ms() < by_ms, "it neither waits nor ends");
            std::thread::yield_now();
        }
        assert_eq!(server.stream_find(b"live", b"show").unwrap_err().kind, RRError::NotFound);
        drop(opening);
        assert!(comes.join().unwrap().failed.is_none());
    });
    assert!(server.stream_find(b"live", b"show").is_ok());
}

#[test]
fn a_worker_that_cannot_go_on_after_others_have_heard_of_it_ends_and_its_name_is_free() {
    let server = isolating();
    let mut entering = Entering::new(&server.core);
    let (mut process, _channel) = adopting(&mut entering);
    entering.isolated[0].stream.stop(0);
    entering.begin();
    assert_eq!(entering.failed.take().map(|failure| failure.kind), Some(RRError::State));
    let began = Instant::now();
    while process.0.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "it is not killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(server.stream_create(b"live", b"show", None).is_ok());
}

#[test]
fn a_worker_comes_to_the_stream_that_the_host_has_prepared_for_it() {
    let server = isolating();
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut entering = Entering::new(&server.core);
    let (_process, _channel) = adopting(&mut entering);
    entering.begin();
    assert!(entering.failed.is_none());
    assert_eq!(server.stream_find(b"live", b"show"), Ok(id));
    // Now it has a process.
    let mut second = Entering::new(&server.core);
    second.adopts = true;
    assert_eq!(second.take_isolated(&IsolatedStream::example_record(&show())).unwrap_err().kind, RRError::Exists);
}
