//! What the host changes while another process takes over is there afterwards or was refused: nothing is answered with
//! success and lost. The same holds for requests by HTTP.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;
#[path = "support/successor.rs"]
mod successor;

use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use isolated::isolated;
use live::{Client, Live, until};
use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};
use rrelay::error::{RRError, Result};
use rrelay::server::{Id, RRServer, State, kind};
use socket2::SockRef;
use successor::Silent;

/// So many changes of each kind are made before a hand-over begins.
const BEFORE: u32 = 5;

/// Most targets and streams that are added: there must be room for all.
const MOST: u32 = 200;

/// The settings of a target that waits for its stream.
fn pushed(port: u32) -> TargetConfig {
    TargetConfig { url: format!("rtmp://127.0.0.1:{port}/live/copy"), ..TargetConfig::default() }
}

fn named(number: u32) -> Vec<u8> {
    format!("made{number}").into_bytes()
}

/// A kind of change, with its number, and how often one was made.
struct Kind {
    change: fn(&RRServer, u32) -> Result<()>,
    /// The last one that was answered with success.
    made: AtomicU32,
}

fn show(server: &RRServer) -> Result<Id> {
    server.stream_find(b"live", b"show")
}

/// The first target.
fn target_of(server: &RRServer) -> Result<Id> {
    server.target_find(show(server)?, &pushed(1).url, None)
}

fn kinds() -> [Kind; 4] {
    let update: fn(&RRServer, u32) -> _ = |server, number| {
        server.target_update(target_of(server)?, TargetConfig { max_kbps: Some(1_000 + number), ..pushed(1) })
    };
    let settings: fn(&RRServer, u32) -> _ = |server, number| {
        let stream = show(server)?;
        let was = server.stream_config(stream)?;
        server.stream_change(stream, &was, StreamConfig { queue_ms: 1_000 + number, ..was.clone() })
    };
    let add: fn(&RRServer, u32) -> _ = |server, number| match number {
        ..=MOST => server.target_add(show(server)?, pushed(1 + number)).map(drop),
        _ => Err(RRError::Limit.into()),
    };
    let create: fn(&RRServer, u32) -> _ = |server, number| match number {
        ..=MOST => server.stream_create(b"live", &named(number), None).map(drop),
        _ => Err(RRError::Limit.into()),
    };
    [update, settings, add, create].map(|change| Kind { change, made: AtomicU32::new(0) })
}

impl Kind {
    fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    /// Changes until it is refused.
    fn until_refused(&self, server: &RRServer) -> RRError {
        for number in 1.. {
            match (self.change)(server, number) {
                Ok(()) => self.made.store(number, Ordering::SeqCst),
                Err(failure) => return failure.kind,
            }
        }
        unreachable!("the numbers are more than enough")
    }
}

/// Asserts that the server has all that was made.
fn has_all(server: &RRServer, [updates, settings, added, created]: [u32; 4]) {
    let stream = show(server).unwrap();
    assert_eq!(server.target_config(target_of(server).unwrap()).unwrap().max_kbps, Some(1_000 + updates));
    assert_eq!(server.stream_config(stream).unwrap().queue_ms, 1_000 + settings);
    let targets = 1 + added as usize;
    assert_eq!(server.list(stream, kind::TARGET).unwrap().len(), targets);
    for number in 1..=created {
        server.stream_find(b"live", &named(number)).unwrap();
    }
}

fn begun(config: &ServerConfig) -> Live {
    let live = Live::new(config.clone());
    let stream = live.server.stream_create(b"live", b"show", None).unwrap();
    live.server.target_add(stream, pushed(1)).unwrap();
    live
}

#[test]
fn what_was_changed_before_another_process_took_over_is_there_and_the_rest_was_refused() {
    for config in [ServerConfig::default(), isolated()] {
        let (old, new) = (begun(&config), RRServer::new(config, rrelay::server::LevelFilter::Off, None).unwrap());
        let kinds = kinds();
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let changes = kinds.each_ref().map(|kind| scope.spawn(|| kind.until_refused(&old.server)));
            until("some are made", || kinds.iter().all(|kind| kind.made() >= BEFORE));
            scope.spawn(|| new.take_over(theirs.into(), 30_000).unwrap());
            old.server.hand_over(ours.into(), 30_000, 30_000).unwrap();
            for refused in changes.map(|change| change.join().unwrap()) {
                // All of those that add something may have been made.
                assert!(matches!(refused, RRError::NotFound | RRError::State | RRError::Limit), "{refused:?}");
            }
        });
        has_all(&new, kinds.each_ref().map(Kind::made));
    }
}

#[test]
fn changes_go_on_where_no_other_process_has_taken_over() {
    for config in [ServerConfig::default(), isolated()] {
        let old = begun(&config);
        let over = AtomicBool::new(false);
        let [update, settings, ..] = kinds();
        let goes_on = |kind: &Kind| {
            while !over.load(Ordering::SeqCst) {
                let number = kind.made() + 1;
                (kind.change)(&old.server, number).unwrap();
                kind.made.store(number, Ordering::SeqCst);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| goes_on(&update));
            scope.spawn(|| goes_on(&settings));
            for _ in 0..5 {
                let before = [update.made(), settings.made()];
                // It has a stream of that name, and so it refuses.
                let new = begun(&config);
                let (ours, theirs) = UnixStream::pair().unwrap();
                scope.spawn(move || {
                    assert_eq!(new.server.take_over(theirs.into(), 30_000).unwrap_err().kind, RRError::Exists)
                });
                assert_eq!(old.server.hand_over(ours.into(), 30_000, 30_000).unwrap_err().kind, RRError::Exists);
                until("changes are made again", || update.made() > before[0] && settings.made() > before[1]);
            }
            over.store(true, Ordering::SeqCst);
        });
        has_all(&old.server, [update.made(), settings.made(), 0, 0]);
    }
}

#[test]
fn a_session_that_was_closed_just_before_is_closed_wherever_it_is_then() {
    for config in [ServerConfig::default(), isolated()] {
        let (old, new) = (begun(&config), RRServer::new(config, rrelay::server::LevelFilter::Off, None).unwrap());
        let mut players: Vec<_> = (0..40).map(|_| old.play("show")).collect();
        let sessions = old.server.list(0, kind::SESSION).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| new.take_over(theirs.into(), 30_000).unwrap());
            // The new server is ready as soon as something comes from it.
            SockRef::from(&ours).peek(&mut [MaybeUninit::uninit()]).unwrap();
            sessions.iter().for_each(|&session| old.server.session_close(session, "enough", 0).unwrap());
            old.server.hand_over(ours.into(), 30_000, 30_000).unwrap();
        });
        until("the new server has none of them", || new.list(0, kind::SESSION).unwrap().is_empty());
        players.iter_mut().for_each(Client::closed);
    }
}

/// Message type 9.
fn write(server: &RRServer, stream: Id) -> Result<()> {
    server.stream_write(stream, 9, 0, &[0x17, 1, 0, 0, 0], false)
}

/// Publishes one stream after another, until that is refused.
fn publishes_until_refused(server: &RRServer, made: &AtomicU32) -> Result<()> {
    loop {
        let stream = server.stream_create(b"live", &named(made.load(Ordering::SeqCst)), None)?;
        write(server, stream)?;
        until("it is in the log", || server.stats(stream).unwrap().msgs_in == 1);
        made.fetch_add(1, Ordering::SeqCst);
        server.stream_stop(stream, 0)?;
    }
}

#[test]
fn what_the_host_writes_while_another_process_takes_over_is_in_the_log_or_was_refused() {
    for config in [ServerConfig::default(), isolated()] {
        let (old, new) = (begun(&config), RRServer::new(config, rrelay::server::LevelFilter::Off, None).unwrap());
        // It stays with its publisher, the host, and so the server is there for a while.
        write(&old.server, old.server.stream_create(b"live", b"stays", None).unwrap()).unwrap();
        let _player = old.play("stays");
        let made = AtomicU32::new(0);
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let publishes = scope.spawn(|| publishes_until_refused(&old.server, &made));
            until("some are published", || made.load(Ordering::SeqCst) >= BEFORE);
            scope.spawn(|| new.take_over(theirs.into(), 30_000).unwrap());
            old.server.hand_over(ours.into(), 30_000, 30_000).unwrap();
            let refused = publishes.join().unwrap().unwrap_err().kind;
            assert!(matches!(refused, RRError::NotFound | RRError::State), "{refused:?}");
        });
        assert!(new.stream_find(b"live", b"stays").is_err());
    }
}

#[test]
fn the_host_goes_on_publishing_while_it_is_open_which_process_has_the_streams() {
    for config in [ServerConfig::default(), isolated()] {
        let old = begun(&config);
        let [has, begins] = [b"has", &b"begins"[..]].map(|key| old.server.stream_create(b"live", key, None).unwrap());
        write(&old.server, has).unwrap();
        let (mut successor, end) = Silent::new();
        let comes = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let handed = scope.spawn(|| old.server.hand_over(end, 30_000, 0));
            successor.is_greeted();
            let first = scope.spawn(|| {
                comes.store(true, Ordering::SeqCst);
                write(&old.server, begins)
            });
            until("the other begins", || comes.load(Ordering::SeqCst));
            (0..100).for_each(|_| write(&old.server, has).unwrap());
            assert!(!first.is_finished(), "it waits");
            drop(successor);
            handed.join().unwrap().unwrap_err();
            first.join().unwrap().unwrap();
        });
        let messages = || [has, begins].map(|stream| old.server.stats(stream).unwrap().msgs_in);
        until("all is there", || messages() == [101, 1]);
    }
}

#[test]
fn a_server_that_is_stopped_while_another_process_takes_over_stops_in_time() {
    for config in [ServerConfig::default(), isolated()] {
        let old = begun(&config);
        let mut publisher = old.publish("show");
        publisher.key_frame(0, &[7; 100]).unwrap();
        let (mut successor, end) = Silent::new();
        std::thread::scope(|scope| {
            let handed = scope.spawn(|| old.server.hand_over(end, 60_000, 0));
            successor.is_greeted();
            old.server.stop(None, 0).unwrap();
            assert_eq!(handed.join().unwrap().unwrap_err().kind, RRError::State);
            until("it has stopped", || old.server.state() == State::Stopped);
        });
        publisher.closed();
    }
}

#[test]
fn a_server_that_is_stopped_does_not_wait_for_the_greeting_of_another_process() {
    // Nothing has come of it, or a part.
    for said in [&[][..], &[1, 0, 0]] {
        let old = begun(&ServerConfig::default());
        let (mut successor, end) = UnixStream::pair().unwrap();
        successor.write_all(said).unwrap();
        end.set_nonblocking(true).unwrap();
        let same = end.try_clone().unwrap();
        std::thread::scope(|scope| {
            let handed = scope.spawn(|| old.server.hand_over(end.into(), 60_000, 0));
            until("it has the socket", || !SockRef::from(&same).nonblocking().unwrap());
            old.server.stop(None, 0).unwrap();
            assert_eq!(handed.join().unwrap().unwrap_err().kind, RRError::State);
        });
    }
}

#[test]
fn a_server_that_is_stopped_does_not_wait_for_room_in_the_socket_to_another_process() {
    for config in [ServerConfig::default(), isolated()] {
        let old = begun(&config);
        for number in 0..MOST {
            old.server.stream_create(b"live", &named(number), None).unwrap();
        }
        let (mut successor, end) = Silent::new();
        // The system makes it as small as it can.
        SockRef::from(&end).set_send_buffer_size(1).unwrap();
        std::thread::scope(|scope| {
            let handed = scope.spawn(|| old.server.hand_over(end, 60_000, 0));
            successor.is_greeted();
            old.server.stop(None, 0).unwrap();
            assert_eq!(handed.join().unwrap().unwrap_err().kind, RRError::State);
        });
    }
}
