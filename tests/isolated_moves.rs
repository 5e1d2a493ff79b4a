//! Streams in processes of their own move to other servers: the promises that other test programs check for streams with
//! threads hold for these too, and they move to and from servers whose streams have threads.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]
#![allow(clippy::duplicate_mod, reason = "each of these programs brings the parts that it uses")]

#[path = "support/c.rs"]
mod c;
#[path = "handover.rs"]
mod handover;
#[path = "handover_http.rs"]
mod handover_http;
#[path = "handover_media.rs"]
mod handover_media;
#[path = "handover_targets.rs"]
mod handover_targets;
#[path = "support/ingest.rs"]
mod ingest;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/secure.rs"]
mod secure;

use std::sync::Arc;
use std::time::Duration;

use ingest::Ingest;
use isolated::{isolated, signal, worker_of, workers};
use live::{Client, Live, until};
use moving::picture;
use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig, TargetConfig, WorkerConfig};
use rrelay::error::RRError;
use rrelay::proto::message::kind;
use rrelay::server::{EventKind, Id, ListenOptions, StreamExport, TargetExport, kind as ids};
use rrelay::session::{Role, State};

/// More bytes than any state here has.
const ROOM: usize = 64 << 20;

/// Players of these streams may be far behind.
fn patient(server: ServerConfig) -> ServerConfig {
    let stream = StreamConfig { queue_bytes: 64 << 20, queue_ms: 600_000, ..StreamConfig::default() };
    ServerConfig { stream: Arc::new(stream), send_ms: 600_000, ..server }
}

/// The numbers of the pictures in these bodies.
fn numbers<'a>(bodies: impl Iterator<Item = &'a Vec<u8>>) -> Vec<u32> {
    let pictures = bodies.filter(|body| body.len() > 9 && body[1] == 1 && body[0] & 0xF == 7);
    pictures.map(|body| u32::from_be_bytes(body[5..9].try_into().unwrap())).collect()
}

fn find(live: &Live, key: &str) -> Id {
    live.server.stream_find(b"live", key.as_bytes()).unwrap()
}

/// A stream with all who are on it goes from one server to another.
fn move_all(here: &Live, there: &Live, key: &str) {
    let targets = moving::all(&here.server, &there.server, find(here, key));
    assert!(targets.iter().all(|(_, is_connected)| *is_connected));
}

#[test]
fn a_stream_moves_between_servers_with_processes_and_with_threads_and_nobody_misses_anything() {
    let servers = [ServerConfig::default(), isolated(), isolated()].map(|config| Live::new(patient(config)));
    let ingest = Ingest::good();
    let mut publisher = servers[0].publish("show");
    publisher.send(kind::VIDEO, 0, b"\x17\0\0\0\0avcC").unwrap();
    publisher.send(kind::VIDEO, 0, &picture(0, 50_000)).unwrap();
    let config = TargetConfig { url: ingest.url(), retry_min_ms: 3_600_000, ..TargetConfig::default() };
    let config = TargetConfig { queue_bytes: 64 << 20, queue_ms: 600_000, retry_max_ms: 3_600_000, ..config };
    servers[0].server.target_add(find(&servers[0], "show"), config).unwrap();
    // One reads, and the other reads nothing until the end.
    let mut players = [(); 2].map(|()| servers[0].play("show"));
    let got = |player: &Client| numbers(player.messages.iter().map(|(_, body)| body));
    let pushed = || ingest.visits().iter().flat_map(|visit| visit.bodies(kind::VIDEO)).collect::<Vec<_>>();
    until("all have begun", || {
        for player in &mut players {
            player.turn(Duration::from_millis(20)).unwrap();
        }
        players.iter().all(|player| got(player) == [0]) && numbers(pushed().iter()) == [0]
    });
    let (mut sent, mut processes) = (1, Vec::new());
    for turn in 0..9 {
        for _ in 0..30 {
            publisher.send(kind::VIDEO, sent * 10, &picture(sent, 50_000)).unwrap();
            sent += 1;
        }
        until("one has a part", || {
            players[0].turn(Duration::from_millis(20)).unwrap();
            got(&players[0]).len() >= sent as usize / 2
        });
        move_all(&servers[turn % 3], &servers[(turn + 1) % 3], "show");
        if turn % 3 < 2 {
            processes.push(worker_of(&publisher));
        }
    }
    let all: Vec<u32> = (0..sent).collect();
    for player in &mut players {
        until("all has come", || {
            player.turn(Duration::from_millis(20)).unwrap();
            got(player).len() >= all.len()
        });
        assert_eq!(got(player), all);
    }
    until("all is pushed", || numbers(pushed().iter()).len() >= all.len());
    assert_eq!(numbers(pushed().iter()), all);
    assert_eq!(ingest.count(), 1, "over one connection");
    assert_eq!(servers.iter().map(Live::sessions).collect::<Vec<_>>(), [3, 0, 0]);
    until("no process is left", || !workers().iter().any(|pid| processes.contains(pid)));
}

#[test]
fn a_publisher_over_tls_is_not_waited_for_where_its_stream_goes() {
    let standing_by = || {
        let policy = PublisherPolicy::Standby;
        // No test waits for so long.
        let stream = StreamConfig { publisher_policy: policy, grace_ms: 600_000, ..StreamConfig::default() };
        Live::new(ServerConfig { stream: Arc::new(stream), ..isolated() })
    };
    let (here, there) = (standing_by(), standing_by());
    let papers = secure::Papers::new("isolated_moves");
    here.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let tls = here.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let _publisher = secure::connect(&secure::trusting(), tls, "show", true);
    let mut standby = here.publish("show");
    let stream = find(&here, "show");
    let sessions = here.server.list(stream, ids::SESSION).unwrap();
    let is_standby = |id: &&Id| here.server.info(**id).unwrap().role == Role::Standby;
    let session = *sessions.iter().find(is_standby).unwrap();
    let over_tls = *sessions.iter().find(|id| **id != session).unwrap();
    there.server.stream_import(&moving::stream(&here.server, stream)).unwrap();
    let failure = here.server.session_export(over_tls, ROOM).map(drop).unwrap_err();
    assert!(failure.kind == RRError::Unsupported && failure.text.contains("TLS"), "{failure}");
    let (fd, state) = moving::session(&here.server, session);
    there.server.session_import(fd, &state).unwrap();
    let mut player = there.play("show");
    standby.key_frame(0, b"follows").unwrap();
    assert_eq!(player.message().1[5..], *b"follows");
}

#[test]
fn a_stream_without_a_process_moves_with_its_settings_and_its_reservation() {
    let (here, there) = (Live::new(isolated()), Live::new(isolated()));
    let config = StreamConfig { gop_ms: 7_000, ..StreamConfig::default() };
    let stream = here.server.stream_create(b"live", b"show", Some(config)).unwrap();
    let StreamExport::Needs(room) = here.server.stream_export(stream, 10, 60_000).unwrap() else { panic!("no room") };
    let StreamExport::State(state) = here.server.stream_export(stream, room, 60_000).unwrap() else { panic!("room") };
    assert_eq!(here.server.worker_counts().unwrap().started, 0);
    let moved = there.server.stream_import(&state).unwrap();
    assert_eq!(there.server.stream_config(moved).unwrap().gop_ms, 7_000);
    let (mut publisher, mut player) = (there.publish("show"), there.play("show"));
    publisher.key_frame(0, b"picture").unwrap();
    assert_eq!(player.message().1[5..], *b"picture");
    drop((publisher, player));
    until("it rests", || there.sessions() == 0 && there.server.info(moved).unwrap().state == State::Idle);
    // The settings and the reservation of a stream whose process makes the state are the server's too.
    let state = moving::stream(&there.server, moved);
    there.server.stream_stop(moved, 0).unwrap();
    until("it has ended", || there.server.info(moved).is_err());
    let moved = there.server.stream_import(&state).unwrap();
    assert_eq!(there.server.stream_config(moved).unwrap().gop_ms, 7_000);
    there.server.stream_export(moved, ROOM, 100).unwrap();
}

#[test]
fn whoever_waits_for_a_process_hears_of_its_end_and_what_cannot_begin_leaves_nothing() {
    let worker = WorkerConfig { hung_ms: Some(3_000), ..isolated().worker };
    let here = Live::new(ServerConfig { worker, ..isolated() });
    let ingest = Ingest::good();
    let stream = here.server.stream_create(b"live", b"show", None).unwrap();
    let mut publisher = here.publish("show");
    publisher.key_frame(0, b"picture").unwrap();
    let state = moving::stream(&here.server, stream);
    here.server.stream_export(stream, ROOM, 1).unwrap();
    let target = TargetConfig { url: ingest.url(), ..TargetConfig::default() };
    let target = here.server.target_add(stream, target).unwrap();
    until("it is pushed", || here.server.info(target).unwrap().state == State::InProgress);

    // It answers nothing, until it is ended for that.
    signal(worker_of(&publisher), "-STOP");
    std::thread::scope(|scope| {
        let of_stream = scope.spawn(|| here.server.stream_export(stream, ROOM, 60_000).map(drop).unwrap_err());
        let of_target = scope.spawn(|| here.server.target_export(target, ROOM));
        assert_eq!(of_stream.join().unwrap().kind, RRError::Worker);
        // The target has no connection any more, and moves without one.
        match of_target.join().unwrap() {
            Ok(TargetExport::Gone { fd: None, .. }) => {}
            other => panic!("{other:?}"),
        }
    });

    let program = Some("/no/such/worker".into());
    let there = Live::new(ServerConfig { worker: WorkerConfig { program, ..WorkerConfig::default() }, ..isolated() });
    let failure = there.server.stream_import(&state).unwrap_err();
    assert!(failure.kind == RRError::Worker && failure.text.contains("/no/such/worker was not started"), "{failure}");
    until("no stream is left", || there.server.list(0, ids::STREAM).unwrap().is_empty());
    assert!(there.events_of(EventKind::Session).is_empty());
    let failure = there.server.stream_import(b"RRst").unwrap_err();
    assert_eq!(failure.kind, RRError::Arg, "{failure}");
}
