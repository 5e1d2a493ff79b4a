//! Tests that those in step get what all others get, with the same figures.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Start, StreamConfig, media};
use crate::error::RRError;
use crate::fuzzing::worker::Nobody;
use crate::net::conn::{Conn, Side};
use crate::net::socket::Socket;
use crate::proto::message::kind;
use crate::session::{ServerSession, SessionConfig};
use crate::stream::egress::consumer::Who;
use crate::stream::egress::join::{JoinIndex, Seen};
use crate::stream::egress::relay::Relay;
use crate::stream::egress::relay::pass::Pass;
use crate::stream::egress::subscribed::Alone;
use crate::stream::egress::subscription::Subscription;
use crate::stream::front::RRStream;
use crate::stream::log::buffer::{Entry, RRBuffer};
use crate::stream::memory::budget::Budget;
use crate::stream::name::StreamName;
use crate::stream::record::RRSession;
use crate::stream::threading::Threading;

/// After this time, what a player waits for does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A relay's consumers, with the log and what a pass needs.
struct Bed {
    log: RRBuffer,
    /// The memory of the log.
    budget: Budget,
    join_index: JoinIndex,
    consumers: Consumers,
    pass: Pass,
    peers: Vec<Peer>,
}

/// The other end of a player's connection.
struct Peer {
    socket: TcpStream,
    /// Bytes it has read.
    bytes: u64,
}

impl Bed {
    /// With this many players, who collect for `merge_ms`, after a pass in which there was nothing to send.
    fn new(players: usize, merge_ms: u32) -> Self {
        let budget = Budget::new(None);
        let log = RRBuffer::new(budget.clone());
        let join_index = JoinIndex::new(log.cursor(), 0, 0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut consumers = Consumers::default();
        let mut peers = Vec::new();
        let config = StreamConfig { merge_ms, ..StreamConfig::default() };
        let stream = Arc::new(Alone::new(config));
        for number in 1..=players as u64 {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            peers.push(Peer { socket, bytes: 0 });
            let socket = Socket::adopt(listener.accept().unwrap().0.into()).unwrap();
            let session = ServerSession::new(&SessionConfig::default(), 0);
            let record = Arc::new(RRSession::new(number, String::new(), None, String::new()));
            let all = media::ALL;
            let mut subscription =
                Subscription::of_player(stream.clone(), Arc::clone(&record), 1, Start::Key, all, None);
            subscription.join(&join_index.here(), 0);
            let conn = Conn::new(socket, Side::Server(Box::new(session)));
            let consumer = Consumer::new(conn, Who::Player(record), vec![subscription], &Budget::new(None), 0);
            consumers.vacant_entry().insert(Box::new(consumer));
        }
        let mut bed = Self { log, budget, join_index, consumers, pass: Pass::default(), peers };
        bed.run(0);
        bed
    }

    fn put(&mut self, bytes: usize, at_ms: u64) {
        let entry = Entry { type_id: kind::AUDIO, arrival_us: at_ms * 1000, ..Entry::default() };
        self.log.append(&entry, &[&vec![0xAF; bytes]]).unwrap();
        self.join_index.advance();
    }

    fn run(&mut self, now_ms: u64) {
        self.pass.run(&mut self.consumers, &self.join_index, u64::MAX, now_ms * 1000);
    }

    /// What has come to this player by now. More of what was sent may be on its way.
    fn arrived(&mut self, player: usize) -> Vec<u8> {
        let peer = &mut self.peers[player];
        let mut bytes = Vec::new();
        peer.socket.set_nonblocking(true).unwrap();
        assert_eq!(peer.socket.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.socket.set_nonblocking(false).unwrap();
        peer.bytes += bytes.len() as u64;
        bytes
    }

    /// What this player has not read yet of the log up to `position`. It is sent that, and no more.
    fn received(&mut self, player: usize, position: u64) -> Vec<u8> {
        let peer = &mut self.peers[player];
        let mut bytes = vec![0; (position - peer.bytes) as usize];
        peer.socket.read_exact(&mut bytes).unwrap();
        peer.bytes = position;
        assert_eq!(self.arrived(player).len(), 0, "{player}");
        bytes
    }

    /// What this player has not read yet of the log, all of which it is sent.
    fn received_all(&mut self, player: usize) -> Vec<u8> {
        self.received(player, self.log.head().position)
    }

    /// Messages and bytes in the figures of this player, its backlog, and when its socket last took something.
    fn figures(&mut self, player: usize, now_ms: u64) -> [u64; 5] {
        let head = self.join_index.head();
        let consumer = self.consumers.get_mut(player).unwrap();
        consumer.measure(head, now_ms * 1000);
        let counters = consumer.who.counters();
        let (msgs, bytes) = (counters.msgs_out.get(), counters.bytes_out.get());
        [msgs, bytes, counters.queue_bytes.get(), counters.queue_msgs.get(), consumer.progress_ms]
    }
}

#[test]
fn those_in_step_get_the_same_bytes_and_figures_as_those_who_are_not() {
    let mut bed = Bed::new(3, 0);
    for at_ms in (10..=1_500).step_by(10) {
        bed.put(at_ms as usize, at_ms);
        // The first one is never in step, and somebody asks for the second one.
        bed.consumers.get_mut(0).unwrap().subscriptions.first_mut().unwrap().pause(true);
        bed.consumers.get_mut(1).unwrap();
        bed.consumers.plan_in_step(bed.join_index.head(), at_ms * 1000).unwrap();
        assert_eq!(bed.consumers.in_step(), 2, "{at_ms}");
        bed.consumers.get_mut(0).unwrap().subscriptions.first_mut().unwrap().pause(false);
        bed.run(at_ms);
        assert_eq!(bed.received_all(0), bed.received_all(1));
    }
    let Sent { msgs, bytes } = bed.pass.sent;
    let expected = [150, bed.log.head().position, 0, 0, 1_500];
    assert_eq!([msgs, bytes], [3 * expected[0], 3 * expected[1]]);
    let rates = [0, 1, 2].map(|player| {
        assert_eq!(bed.figures(player, 1_510), expected, "{player}");
        bed.consumers.get(player).unwrap().who.counters().rate_out.per_second(1_510_000)
    });
    assert_eq!(rates, [rates[0]; 3], "each step of time has had the same bytes");
    (0..3).for_each(|player| drop(bed.consumers.try_remove(player)));
    assert!(bed.consumers.in_step.place.is_none(), "nobody's place keeps no part of the log");
}

#[test]
fn those_somebody_has_asked_for_stay_in_step_unless_that_changed_what_they_are_sent() {
    let mut bed = Bed::new(4, 0);
    bed.put(10, 10);
    let head = bed.join_index.head();
    // One stays as it is, one is paused, and one goes to another place, at which it still is when somebody asks again.
    bed.consumers.get_mut(0).unwrap();
    bed.consumers.get_mut(1).unwrap().subscriptions.first_mut().unwrap().pause(true);
    bed.consumers.get_mut(2).unwrap().catch_up(&bed.join_index.here().cursor, 10_000);
    let consumer = bed.consumers.get_mut(2).unwrap();
    assert_eq!(consumer.in_step().unwrap().1.head(), head);
    bed.consumers.plan_in_step(head, 10_000).unwrap();
    assert_eq!(bed.consumers.in_step.members.iter().map(|member| member.slot).collect::<Vec<_>>(), [3, 0]);
    bed.run(10);
    for (player, bytes) in [head.position, 0, 0, head.position].into_iter().enumerate() {
        bed.received(player, bytes);
    }
}

#[test]
fn those_in_step_stay_so_with_each_segment_and_keep_none_that_they_have_been_sent() {
    for (merge_ms, times) in [(0, 200), (4_900, 4)] {
        let mut bed = Bed::new(2, merge_ms);
        let (mut sent, mut sends) = (0, 0);
        for at_ms in (100..=20_000).step_by(100) {
            bed.put(1_000, at_ms);
            bed.run(at_ms);
            assert!(!bed.pass.until.unfinished);
            assert_eq!(bed.consumers.in_step(), 2, "{at_ms}");
            let by_now = bed.pass.sent.bytes / 2;
            assert_eq!(bed.received(0, by_now), bed.received(1, by_now));
            if by_now > sent {
                (sent, sends) = (by_now, sends + 1);
                assert_eq!(sent, bed.log.head().position);
            }
        }
        assert_eq!(sends, times);
        let (kept, all) = (bed.budget.used(), bed.log.head().position);
        assert!(kept < 40_000, "{kept} of {all}");
    }
}

#[test]
fn one_whose_socket_takes_no_more_gets_out_of_step_and_the_rest_later() {
    let mut bed = Bed::new(2, 0);
    let mut read = Vec::new();
    let mut at_ms = 0;
    while !bed.consumers.get(1).unwrap().blocked {
        at_ms += 1;
        bed.put(50_000, at_ms);
        bed.run(at_ms);
        read.extend(bed.received_all(0));
    }
    assert_eq!(bed.consumers.in_step(), 1);
    let mut late = Vec::new();
    while late.len() < read.len() {
        at_ms += 1;
        late.extend(bed.arrived(1));
        bed.consumers.get_mut(1).unwrap().blocked = false;
        bed.run(at_ms);
    }
    assert!(late == read);
    assert_eq!(bed.consumers.in_step(), 2);
    assert_eq!(bed.pass.sent.bytes, 2 * bed.log.head().position);
    let messages = bed.log.head().messages;
    assert_eq!(bed.figures(1, at_ms)[..4], [messages, read.len() as u64, 0, 0]);
}

#[test]
fn one_whose_peer_has_gone_is_reported_once_and_the_others_go_on() {
    let mut bed = Bed::new(3, 0);
    assert_eq!(bed.consumers.in_step(), 3);
    drop(bed.peers.remove(1));
    let mut at_ms = 0;
    while bed.pass.met.failed.is_empty() {
        at_ms += 1;
        bed.put(10, at_ms);
        bed.run(at_ms);
    }
    let failed = std::mem::take(&mut bed.pass.met.failed);
    assert_eq!(failed.iter().map(|(slot, failure)| (*slot, failure.kind)).collect::<Vec<_>>(), [(1, RRError::Closed)]);
    assert_eq!(bed.consumers.in_step(), 2);
    bed.consumers.try_remove(1).unwrap();
    for peer in [0, 1] {
        bed.received_all(peer);
    }
}

#[test]
fn those_who_collect_stay_in_step_until_they_are_due() {
    let mut bed = Bed::new(2, 20);
    bed.put(10, 100);
    bed.put(10, 110);
    bed.run(119);
    assert_eq!((bed.pass.sent.bytes, bed.pass.until.collected_us), (0, Some(120_000)));
    bed.run(120);
    bed.received_all(0);
    assert_eq!((bed.consumers.in_step(), bed.pass.until.collected_us), (2, None));
}

#[test]
fn who_hears_of_the_end_of_a_play_finds_all_that_was_sent_in_the_figures() {
    let mut bed = Bed::new(1, 0);
    for at_ms in 10..20 {
        bed.put(10, at_ms);
        bed.run(at_ms);
    }
    let consumer = bed.consumers.get_mut(0).unwrap();
    assert_eq!(consumer.remove(|_| true).len(), 1);
    let counters = consumer.who.counters();
    assert_eq!([counters.msgs_out.get(), counters.bytes_out.get()], [10, bed.log.head().position]);
}

#[test]
fn those_in_step_are_checked_every_second_time_and_when_somebody_calls() {
    let mut bed = Bed::new(3, 1_000);
    bed.consumers.get_mut(1).unwrap().subscriptions.first_mut().unwrap().pause(true);
    bed.put(10, 100);
    bed.run(110);
    let checks = [false, false, false, true, false, true, true].map(|nudged| bed.consumers.slots_to_check(nudged));
    let (some, all) = (vec![1], vec![0, 1, 2]);
    assert_eq!(checks.each_ref(), [&some, &all, &some, &all, &some, &all, &all]);
    let head = bed.join_index.head();
    assert_eq!(bed.consumers.lag_ms_in_step(head, 350_000), 250);
    bed.run(1_100);
    assert_eq!(bed.consumers.lag_ms_in_step(head, 1_200_000), 0, "they have been sent all");
}

#[test]
fn what_a_pass_may_not_send_any_more_is_left_to_the_next_one() {
    let mut bed = Bed::new(2, 0);
    bed.put(1_000, 10);
    bed.pass.run(&mut bed.consumers, &bed.join_index, 1_500, 10_000);
    assert!(bed.pass.until.unfinished);
    assert_eq!(bed.pass.sent.bytes, 0);
    bed.run(11);
    assert_eq!(bed.received_all(0), bed.received_all(1));
    assert!(!bed.pass.until.unfinished);
}

#[test]
fn one_who_collects_is_sent_all_that_had_come_in_however_many_runs_and_passes() {
    let mut bed = Bed::new(2, 10_000);
    for number in 0..60 {
        bed.put(3_500, 100 + number * 100);
    }
    bed.run(10_100);
    assert!(bed.pass.until.unfinished, "the log has more segments than a pass sends");
    while bed.pass.until.unfinished {
        bed.arrived(0);
        bed.run(10_100);
    }
    bed.received_all(0);
    let sent = bed.pass.sent.bytes;
    bed.put(10, 10_200);
    bed.run(10_200);
    assert_eq!((bed.pass.sent.bytes, bed.pass.until.collected_us), (sent, Some(20_200_000)));
}

#[test]
fn those_in_step_stay_so_while_others_wait_for_a_place() {
    let Bed { log, join_index, consumers, peers: _peers, .. } = Bed::new(4, 0);
    let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
    let (config, budget) = (StreamConfig::default(), Budget::new(None));
    let stream = Arc::new(RRStream::new(7, name, config, true, budget, Threading::Own, Arc::new(Nobody)));
    let mut relay = Relay::new(stream, log.cursor());
    relay.consumers = consumers;
    let head = join_index.head();
    for slot in [0, 1] {
        let subscription = relay.consumers.get_mut(slot).unwrap().subscriptions.first_mut().unwrap();
        subscription.jump(None, head);
        subscription.pause(slot == 0);
    }
    let seen = Seen { messages: 1, ..Seen::default() };
    relay.place_waiting(&seen, 0);
    assert_eq!((relay.consumers.in_step(), relay.has_waiting), (2, true));
    drop(relay.consumers.try_remove(1));
    relay.place_waiting(&seen, 0);
    assert_eq!((relay.consumers.in_step(), relay.has_waiting), (2, false), "the other one is paused");
    relay.consumers.get_mut(0).unwrap().subscriptions.iter_mut().for_each(|subscription| subscription.pause(false));
    relay.place(0, 0);
    assert_eq!((relay.consumers.in_step(), relay.has_waiting), (2, true));
}
