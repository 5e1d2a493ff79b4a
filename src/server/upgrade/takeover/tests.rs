//! Predecessors that do not keep to what was agreed.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::*;
use crate::config::ServerConfig;
use crate::log::LevelFilter;
use crate::server::RRServer;
use crate::stream::exported::target::Pause;

fn soon() -> u64 {
    clock::now_ms() + 30_000
}

/// Takes over from a predecessor that does this after the greetings, with the other end of the socket by which it would
/// say that it has decided otherwise.
fn take_over_from(within_ms: u32, predecessor: impl FnOnce(FdChannel, FdChannel) + Send) -> Failure {
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
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
    let failure = take_over_from(200, |channel, stop| {
        drop(channel);
        assert!(stop.receive(|_| 0, soon()).unwrap().is_none(), "until the successor has given up");
    });
    assert_eq!(failure.kind, RRError::Timeout, "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
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
