//! What accumulate sends for the relay while the relay's thread sleeps, and what it leaves to that thread.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::live::{Client, Live, command, until};
use super::secure;
use super::stalled::Stalled;
use crate::config::{ServerConfig, StreamConfig, TargetConfig};
use crate::proto::amf0::Value;
use crate::server::slots::kind;
use crate::server::{ListenOptions, RRServer};
use crate::stream::RRStream;
use crate::stream::fault_injection::In;

/// A stream with one relay.
fn config() -> StreamConfig {
    StreamConfig { relay_threads: Some(1), ..StreamConfig::default() }
}

fn live(stream: StreamConfig) -> Live {
    Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() })
}

fn show(server: &RRServer) -> Arc<RRStream> {
    server.stream(server.stream_find(b"live", b"show").unwrap()).unwrap()
}

/// Sends pictures, each once all have the one before, so that the relay's thread sleeps mostly. From now on it is a panic if
/// accumulate sends.
fn never_by_accumulate(live: &Live, publisher: &mut Client, mut all_have: impl FnMut(u8)) {
    let stream = show(&live.server);
    stream.fault_injection().set(In::MediaTurn);
    for number in 0..50 {
        publisher.key_frame(u32::from(number) * 40, &[number]).unwrap();
        all_have(number);
    }
}

/// Sends pictures until accumulate sends, which is a panic.
fn at_last_by_accumulate(publisher: &mut Client) {
    until("accumulate sends", || publisher.key_frame(4_000, b"0").is_err());
}

#[test]
fn accumulate_sends_to_a_few_players_and_not_to_many() {
    let live = live(config());
    let mut publisher = live.publish("show");
    let mut players: Vec<_> = (0..9).map(|_| live.play("show")).collect();
    never_by_accumulate(&live, &mut publisher, |number| {
        players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(&[number])));
    });
    drop(players.pop());
    until("one has left", || live.sessions() == 9);
    at_last_by_accumulate(&mut publisher);
}

#[test]
fn accumulate_encrypts_for_a_few_players_and_not_for_many() {
    let papers = secure::Papers::new("media-turns");
    let live = live(config());
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = live.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let mut publisher = live.publish("show");
    let mut plain = live.play("show");
    let mut secret: Vec<_> = (0..3).map(|_| secure::connect(&secure::trusting(), port, "show", false)).collect();
    never_by_accumulate(&live, &mut publisher, |number| {
        assert!(plain.message().1.ends_with(&[number]));
        secret.iter_mut().for_each(|player| secure::has(player, &[number]));
    });
    drop(secret.pop());
    until("one has left", || live.sessions() == 4);
    at_last_by_accumulate(&mut publisher);
}

#[test]
fn accumulate_sends_what_players_collect() {
    let live = live(StreamConfig { merge_ms: 10, ..config() });
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    // The first picture wakes the relay's thread anyway; from the pass for it on the player collects.
    publisher.key_frame(0, b"first").unwrap();
    assert!(player.message().1.ends_with(b"first"));
    show(&live.server).fault_injection().set(In::MediaTurn);
    at_last_by_accumulate(&mut publisher);
}

#[test]
fn collecting_takes_one_pass_for_each_time_of_sending() {
    const MERGE_MS: u32 = 10;
    const TIMES: usize = 100;
    let live = live(StreamConfig { merge_ms: MERGE_MS, ..config() });
    let mut publisher = live.publish("show");
    let mut players = [live.play("show"), live.play("show")];
    publisher.key_frame(0, b"first").unwrap();
    players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"first")));
    let stream = show(&live.server);
    let (begun, before) = (Instant::now(), stream.fault_injection().passes());
    for number in 0..TIMES {
        publisher.key_frame(number as u32 * 40, &[number as u8]).unwrap();
        players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(&[number as u8])));
    }
    let passes = stream.fault_injection().passes() - before;
    // A tick, every 250 ms, brings one more; the round in which the last players came may, too.
    let ticks = begun.elapsed().as_millis() as usize / 250 + 2;
    assert!(passes <= TIMES + ticks + 2, "{passes} passes with {ticks} ticks");
}

#[test]
fn accumulate_leaves_the_rest_of_a_large_pass_to_the_relay() {
    let live = live(config());
    let mut publisher = live.publish("show");
    let mut players = [live.play("show"), live.play("show"), live.play("show")];
    publisher.key_frame(0, b"first").unwrap();
    players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"first")));
    // Those without sound are not in step, or all of them would be left to the relay.
    for player in &mut players {
        let no_sound = [Value::Null, Value::Bool(false)];
        player.socket.write_all(&command(player.session.stream_id(), "receiveAudio", 0.0, &no_sound)).unwrap();
    }
    let stream = show(&live.server);
    until("accumulate sends a picture", || {
        let stalled = Stalled::order(&stream, In::Relay(0));
        publisher.key_frame(40, &[7; 40_000]).unwrap();
        until("the relay is called", || stream.fault_injection().is_stalled());
        // What accumulate has sent is in the players' sockets.
        let has_it = |player: &mut Client| {
            while player.messages.is_empty() && player.turn(Duration::from_millis(1)).unwrap() {}
            !player.messages.is_empty()
        };
        let have_it = players.iter_mut().map(has_it).filter(|&has_it| has_it).count();
        assert!(have_it < 2, "{have_it} players have it already");
        drop(stalled);
        players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(&[7; 40_000])));
        have_it == 1
    });
}

#[test]
fn a_player_that_is_lost_while_accumulate_sends_leaves_alone() {
    let live = live(config());
    let mut publisher = live.publish("show");
    let mut players = vec![live.play("show"), live.play("show")];
    publisher.key_frame(0, b"first").unwrap();
    players.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"first")));
    let stream = show(&live.server);
    let stalled = Stalled::order(&stream, In::MediaTurn);
    until("accumulate stands still", || {
        publisher.key_frame(40, b"second").unwrap();
        stream.fault_injection().is_stalled()
    });
    // The lost one has unread bytes, so its socket is reset, and sending to it fails.
    let lost = players.remove(0);
    let addr = lost.addr();
    drop(lost);
    let port = live.port;
    let comes = std::thread::spawn(move || Client::new(port, "show", false));
    until("a new one is on its way", || live.server.list(stream.id(), kind::SESSION).unwrap().len() == 4);
    drop(stalled);
    live.end_of(&addr);
    players.push(comes.join().unwrap());
    publisher.key_frame(80, b"third").unwrap();
    for player in &mut players {
        while !player.message().1.ends_with(b"third") {}
    }
}

#[test]
fn who_comes_is_not_taken_for_one_that_accumulate_could_not_send_to() {
    let (live, other) = (live(config()), Live::new(ServerConfig::default()));
    let mut publisher = live.publish("show");
    let stream = show(&live.server);
    let url = format!("rtmp://127.0.0.1:{}/live/show", other.port);
    let target = live.server.target_add(stream.id(), TargetConfig { url, ..TargetConfig::default() }).unwrap();
    let mut there = other.play("show");
    publisher.key_frame(0, b"first").unwrap();
    assert!(there.message().1.ends_with(b"first"), "the target has the first slot");
    let stalled = Stalled::order(&stream, In::MediaTurn);
    until("accumulate stands still", || {
        publisher.key_frame(40, b"second").unwrap();
        stream.fault_injection().is_stalled()
    });
    let server = Arc::clone(&live.server);
    let export = std::thread::spawn(move || server.target_export(target, 1 << 20).map(drop));
    until("the target is to go", || stream.waiting_for_relay() == 1);
    let port = live.port;
    let comes = std::thread::spawn(move || Client::new(port, "show", false));
    until("a player is to come", || stream.waiting_for_relay() == 2);
    stream.fault_injection().fail(0);
    drop(stalled);
    let mut player = comes.join().unwrap();
    publisher.key_frame(80, b"third").unwrap();
    while !player.message().1.ends_with(b"third") {}
    export.join().unwrap().unwrap();
}
