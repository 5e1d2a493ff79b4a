//! The settings of a running stream change: for those who come, and for the players that are there. Streams in processes
//! of their own take them as well.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;

use isolated::isolated;
use live::{Client, Live, until};
use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig};
use rrelay::error::RRError;
use rrelay::server::{Id, RRRestOut, kind as ids};
use rrelay::session::{SessionConfig, State};

/// A server for each place where streams can run, with a stream that never counts a publisher as silent.
fn each_place(test: impl Fn(&Live, Id)) {
    for config in [ServerConfig::default(), isolated()] {
        let live = Live::new(config);
        let config =
            StreamConfig { silent_ms: None, queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
        let stream = live.server.stream_create(b"live", b"show", Some(config)).unwrap();
        test(&live, stream);
    }
}

/// Changes settings of the stream.
fn change(live: &Live, stream: Id, change: impl FnOnce(&mut StreamConfig)) {
    let was = Box::new(live.server.stream_config(stream).unwrap());
    let mut config = was.clone();
    change(&mut config);
    let request = RRRestOut::ChangeStream { stream, was, config };
    assert_eq!(request.carry_out(&live.server).unwrap(), stream);
}

/// The session of this peer.
fn session_of(live: &Live, peer: &Client) -> Id {
    let sessions = live.server.list(0, ids::SESSION).unwrap();
    sessions.into_iter().find(|&id| live.server.info(id).is_ok_and(|info| info.addr == peer.addr())).unwrap()
}

/// A player that is at its stream's relay.
fn joined(live: &Live) -> Client {
    let player = live.play("show");
    let session = session_of(live, &player);
    until("it is at the relay", || {
        let state = live.server.info(session).unwrap().state;
        matches!(state, State::Waiting | State::InProgress)
    });
    player
}

fn picture(n: u32) -> Vec<u8> {
    n.to_be_bytes().repeat(200)
}

/// The number of the next picture.
fn next(player: &mut Client) -> u32 {
    u32::from_be_bytes(player.message().1[5..9].try_into().unwrap())
}

#[test]
fn those_who_come_find_the_new_settings() {
    each_place(|live, stream| {
        let mut publisher = live.publish("show");
        let mut number = 0;
        let mut send = |publisher: &mut Client| {
            number += 1;
            publisher.key_frame(number * 40, &picture(number)).unwrap();
            number
        };
        let first = send(&mut publisher);
        let mut player = joined(live);
        assert_eq!(next(&mut player), first, "a player begins with the cached picture");
        let refused = || Client::configured(live.port, "show", true, &SessionConfig::default()).err().unwrap();
        assert_eq!(refused().kind, RRError::Rejected);

        change(live, stream, |config| {
            config.gop_bytes = 0;
            config.publisher_policy = PublisherPolicy::Takeover;
            config.grace_ms = 3_600_000;
        });
        until("a player begins with the next picture", || {
            let mut late = joined(live);
            let newest = send(&mut publisher);
            next(&mut late) == newest
        });
        let mut second = live.publish("show");
        publisher.closed();
        assert_eq!(live.end_of(&publisher.addr()).error, Some(RRError::TakenOver));
        let newest = send(&mut second);
        until("the picture of the second one", || next(&mut player) == newest);

        drop(second);
        until("the publisher is missed", || live.server.info(stream).unwrap().state == State::Recovering);
        let mut third = live.publish("show");
        let newest = send(&mut third);
        until("the picture of the third one", || next(&mut player) == newest);
    });
}

#[test]
fn players_that_are_there_get_the_new_bounds() {
    each_place(|live, stream| {
        let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
        publisher.key_frame(0, &picture(0)).unwrap();
        assert_eq!(next(&mut player), 0);
        let session = session_of(live, &player);
        let mut ts_ms = 0;
        let mut send = || {
            ts_ms += 40;
            publisher.key_frame(ts_ms, &vec![7; 200_000]).unwrap();
        };
        until("it is far behind", || {
            send();
            live.server.stats(session).unwrap().queue_bytes > 4 << 20
        });
        assert_eq!(live.server.stats(session).unwrap().dropped_msgs, 0, "within its bounds it gets everything");
        change(live, stream, |config| config.queue_bytes = 1 << 20);
        until("it jumps", || live.server.stats(session).unwrap().dropped_msgs > 0);
    });
}
