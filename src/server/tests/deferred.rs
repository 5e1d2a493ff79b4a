//! Publishers that are read late, because all who play collect: what ends that, and that it delays nothing else.

mod ways;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::live::{Client, Live, until};
use super::stalled::Stalled;
use crate::config::{PublisherPolicy, ServerConfig, StreamConfig};
use crate::net::socket::acknowledges_within_us;
use crate::proto::message::kind;
use crate::server::RRServer;
use crate::server::slots;
use crate::session::Role;
use crate::stream::RRStream;
use crate::stream::fault_injection::In;
use crate::stream::record::Export;

/// The longest time that there is. What players wait for in these tests comes before it is over.
const LONG_MS: u32 = 10_000;

fn live(stream: StreamConfig) -> Live {
    let stream = StreamConfig { relay_threads: Some(1), ..stream };
    Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() })
}

fn show(server: &RRServer) -> Arc<RRStream> {
    server.stream(server.stream_find(b"live", b"show").unwrap()).unwrap()
}

fn collect(live: &Live, stream: &RRStream, merge_ms: u32) {
    let was = live.server.stream_config(stream.id()).unwrap();
    live.server.stream_change(stream.id(), &was, StreamConfig { merge_ms, ..was.clone() }).unwrap();
}

/// Lets each thread of the stream do what there is to do.
fn settle(stream: &RRStream) {
    // A thread that is at work has asked its poller before the first call.
    for _ in 0..2 {
        let pulses = stream.pulses();
        until("its threads go on", || pulses.iter().all(|pulse| pulse.has_passed()));
    }
}

/// A server with a publisher and a player that have begun, and whose publisher is read late. Whatever the publisher sends
/// from now on is in the socket.
struct Late {
    live: Live,
    stream: Arc<RRStream>,
    publisher: Client,
    player: Client,
    since: Instant,
}

impl Late {
    fn new(config: StreamConfig) -> Self {
        Self::collecting(config, LONG_MS)
    }

    fn collecting(config: StreamConfig, merge_ms: u32) -> Self {
        let live = live(config);
        let publisher = live.publish("show");
        Self::of(live, publisher, merge_ms)
    }

    fn of(live: Live, publisher: Client, merge_ms: u32) -> Self {
        let player = live.play("show");
        Self::with(live, publisher, player, merge_ms)
    }

    /// With a player that has all that was sent before.
    fn with(live: Live, mut publisher: Client, mut player: Client, merge_ms: u32) -> Self {
        let stream = show(&live.server);
        let mut sent = stream.logged();
        let mut got = sent;
        let mut send = |publisher: &mut Client| {
            publisher.key_frame(sent as u32 * 40, b"before").unwrap();
            until("it is in the log", || stream.logged() > sent);
            sent = stream.logged();
            sent
        };
        let mut since = Instant::now();
        // Accumulate keeps the time only if the relay's thread sleeps when a message comes.
        until("it is read late", || {
            collect(&live, &stream, 0);
            let sent = send(&mut publisher);
            while got < sent {
                assert!(player.message().1.ends_with(b"before"));
                got += 1;
            }
            collect(&live, &stream, merge_ms);
            since = Instant::now();
            // The pass for the first message may be the relay's.
            (0..2).any(|_| {
                send(&mut publisher);
                settle(&stream);
                stream.is_read_late()
            })
        });
        publisher.key_frame(4_000, b"late").unwrap();
        Self { live, stream, publisher, player, since }
    }

    /// The player gets all that was sent.
    fn gets_all(&mut self) {
        while !self.player.message().1.ends_with(b"late") {}
        self.is_in_time();
    }

    /// Waits until the publisher, which had this many messages in the log, has been read.
    fn is_read(&self, before: u64) {
        until("it is read", || self.stream.logged() > before);
        self.is_in_time();
    }

    fn is_in_time(&self) {
        assert!(self.since.elapsed() < Duration::from_millis(LONG_MS.into()), "it was waited for");
    }
}

#[test]
fn a_player_that_comes_has_the_publisher_read() {
    let late = Late::new(StreamConfig::default());
    let logged = late.stream.logged();
    let _second = late.live.play("show");
    late.is_read(logged);
}

#[test]
fn players_that_collect_no_more_have_the_publisher_read() {
    let mut late = Late::new(StreamConfig::default());
    collect(&late.live, &late.stream, 0);
    late.gets_all();
    late.publisher.key_frame(4_040, b"at once").unwrap();
    assert!(late.player.message().1.ends_with(b"at once"));
}

#[test]
fn an_end_of_the_publisher_is_noticed_at_once_and_what_it_sent_before_goes_out() {
    let mut late = Late::new(StreamConfig::default());
    late.publisher.socket.shutdown(std::net::Shutdown::Both).unwrap();
    late.gets_all();
    until("it has left", || late.live.sessions() == 1);
}

#[test]
fn a_stop_sends_what_the_publisher_has_sent_before() {
    let mut late = Late::new(StreamConfig::default());
    late.live.server.stream_stop(late.stream.id(), LONG_MS).unwrap();
    late.gets_all();
}

#[test]
fn who_takes_over_comes_after_what_the_publisher_has_sent_before() {
    let mut late = Late::new(StreamConfig { publisher_policy: PublisherPolicy::Takeover, ..StreamConfig::default() });
    let logged = late.stream.logged();
    let _second = late.live.publish("show");
    late.is_read(logged);
    collect(&late.live, &late.stream, 0);
    late.gets_all();
}

#[test]
fn who_follows_by_a_switch_comes_after_what_the_publisher_has_sent_before_and_either_is_then_read_at_once() {
    let live = live(StreamConfig { publisher_policy: PublisherPolicy::Standby, ..StreamConfig::default() });
    let publisher = live.publish("show");
    let of_publisher = show(&live.server).book().publisher_id().unwrap();
    let mut standby = live.publish("show");
    let of_standby =
        *live.server.list(0, slots::kind::SESSION).unwrap().iter().find(|&&id| id != of_publisher).unwrap();
    until("it stands by", || live.server.info(of_standby).unwrap().role == Role::Standby);
    let mut late = Late::of(live, publisher, LONG_MS);
    let logged = late.stream.logged();
    late.live.server.stream_switch(late.stream.id(), of_standby).unwrap();
    late.is_read(logged);
    standby.key_frame(4_040, b"from the standby").unwrap();
    late.is_read(logged + 1);
    late.live.server.stream_switch(late.stream.id(), of_publisher).unwrap();
    until("it is to follow", || late.stream.book().publisher_id() == Some(of_publisher));
    late.publisher.key_frame(4_080, b"from the first again").unwrap();
    late.is_read(logged + 2);
    collect(&late.live, &late.stream, 0);
    late.gets_all();
    assert!(late.player.message().1.ends_with(b"from the standby"));
}

#[test]
fn a_publisher_is_read_once_it_has_sent_much() {
    let mut late = Late::new(StreamConfig::default());
    let logged = late.stream.logged();
    // Many small messages: each time so much has come, a whole one is among it, wherever in them the read before has ended.
    let much: Vec<u8> = (1..=20).flat_map(|n| late.publisher.wire(kind::VIDEO, 4_000 + n * 40, &[7; 10_000])).collect();
    late.publisher.session.note_sent(much.len() as u64);
    late.publisher.socket.write_all(&much).unwrap();
    late.is_read(logged);
}

fn acknowledged_within_us(publisher: &Client) -> Option<u32> {
    acknowledges_within_us(publisher.socket.local_addr().unwrap())
}

#[test]
fn a_publisher_that_is_read_at_once_is_acknowledged_as_usual() {
    let live = live(StreamConfig::default());
    let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
    for at in 0..3 {
        publisher.key_frame(at * 40, b"at once").unwrap();
        assert!(player.message().1.ends_with(b"at once"));
    }
    assert_eq!(acknowledged_within_us(&publisher), Some(200_000));
}

#[test]
fn a_publisher_is_acknowledged_soon_as_long_as_it_is_read_late() {
    let mut late = Late::new(StreamConfig::default());
    until("it is acknowledged soon", || acknowledged_within_us(&late.publisher) == Some(8_000));
    collect(&late.live, &late.stream, 0);
    late.gets_all();
    until("it is acknowledged as usual", || acknowledged_within_us(&late.publisher) == Some(200_000));
}

#[test]
fn a_publisher_is_read_with_half_of_the_window_that_it_has_announced_meanwhile() {
    let mut late = Late::new(StreamConfig::default());
    let logged = late.stream.logged();
    late.publisher.send(kind::WINDOW_ACK, 0, &20_000_u32.to_be_bytes()).unwrap();
    late.publisher.key_frame(4_040, &[7; 70_000]).unwrap();
    late.is_read(logged + 1);
    settle(&late.stream);
    assert!(late.stream.is_read_late());
    late.publisher.key_frame(4_080, &[7; 5_000]).unwrap();
    settle(&late.stream);
    assert_eq!(late.stream.logged(), logged + 2);
    late.publisher.key_frame(4_120, &[7; 6_000]).unwrap();
    late.is_read(logged + 3);
}

#[test]
fn a_publisher_that_leaves_for_another_process_is_read_at_once_there() {
    let there = live(StreamConfig::default());
    let mut late = Late::new(StreamConfig::default());
    let mut player = there.play("show");
    let session = late.stream.book().publisher_id().unwrap();
    let Export::Gone { fd, state } = late.live.server.session_export(session, 1 << 20).unwrap() else {
        panic!("there was room")
    };
    there.server.session_import(fd, &state).unwrap();
    while !player.message().1.ends_with(b"late") {}
    late.publisher.key_frame(4_040, b"there").unwrap();
    assert!(player.message().1.ends_with(b"there"));
}

#[test]
fn it_is_read_when_all_have_collected_also_where_the_relay_does_nothing() {
    loop {
        let late = Late::collecting(StreamConfig::default(), 300);
        let logged = late.stream.logged();
        let _stalled = Stalled::relay(&late.stream, 0);
        if late.stream.is_read_late() {
            return late.is_read(logged);
        }
    }
}

#[test]
fn the_relay_sends_what_it_has_if_accumulate_does_not_come() {
    loop {
        let mut late = Late::collecting(StreamConfig::default(), 300);
        let stalled = Stalled::order(&late.stream, In::Accumulate);
        late.stream.wake_accumulate();
        until("accumulate stands still", || late.stream.fault_injection().is_stalled());
        if late.stream.is_read_late() {
            // Only the relay can send what has come before.
            assert!(late.player.message().1.ends_with(b"before"));
            assert_eq!(late.publisher.key_frame(4_040, b"late").ok(), Some(()));
            drop(stalled);
            return late.gets_all();
        }
    }
}
