//! Publishers that are read late, however they come and wherever their stream runs.

use std::io::Write;
use std::time::Instant;

use super::super::live::{Client, Live, command, until};
use super::super::secure::Papers;
use super::{LONG_MS, Late, collect, live, settle, show};
use crate::config::{ServerConfig, StreamConfig, TargetConfig};
use crate::proto::amf0::Value;
use crate::server::ListenOptions;

/// The publisher is not read as long as all collect, whatever it sends and however often its stream's threads are called; and
/// it is read at once when a target comes that does not collect. `arrive` waits until what it has sent, so many messages, has
/// come to the stream's server.
fn is_read_late_until_somebody_does_not_collect(mut late: Late, arrive: impl Fn(u64)) {
    let logged = late.stream.logged();
    for number in 0..20 {
        late.publisher.key_frame(4_040 + u32::from(number) * 40, &[number]).unwrap();
    }
    // The one before these waits, too.
    arrive(logged + 21);
    settle(&late.stream);
    assert_eq!((late.stream.logged(), late.stream.is_read_late()), (logged, true));

    let there = Live::new(ServerConfig::default());
    let mut at_once = there.play("away");
    let url = format!("rtmp://127.0.0.1:{}/live/away", there.port);
    let config = TargetConfig { url, merge_ms: Some(0), ..TargetConfig::default() };
    late.live.server.target_add(late.stream.id(), config).unwrap();
    late.is_read(logged + 20);
    late.publisher.key_frame(5_000, b"at once").unwrap();
    while !at_once.message().1.ends_with(b"at once") {}
    late.is_in_time();
    assert!(!late.stream.is_read_late());
    collect(&late.live, &late.stream, 0);
    late.gets_all();
    for number in 0..20 {
        assert!(late.player.message().1.ends_with(&[number]));
    }
}

/// Another server, which passes on what is published there.
struct Other(Live);

impl Other {
    /// Waits until so many messages have been sent on.
    fn sends(&self, messages: u64) {
        let stream = show(&self.0.server);
        until("it has them", || stream.logged() == messages);
        settle(&stream);
    }

    fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live/show", self.0.port)
    }
}

#[test]
fn one_that_publishes_here_is_read_late() {
    is_read_late_until_somebody_does_not_collect(Late::new(StreamConfig::default()), |_| ());
}

#[test]
fn one_on_a_loop_that_streams_share_is_read_late() {
    let live = Live::new(ServerConfig { threads: Some(1), ..ServerConfig::default() });
    let publisher = live.publish("show");
    is_read_late_until_somebody_does_not_collect(Late::of(live, publisher, LONG_MS), |_| ());
}

#[test]
fn one_over_tls_is_read_late() {
    let papers = Papers::new("read-late");
    let (other, live) = (Other(Live::new(ServerConfig::default())), live(StreamConfig::default()));
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = live.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let publisher = other.0.publish("show");
    let url = format!("rtmps://127.0.0.1:{port}/live/show");
    let config = TargetConfig { url, insecure: true, ..TargetConfig::default() };
    other.0.server.target_add(show(&other.0.server).id(), config).unwrap();
    is_read_late_until_somebody_does_not_collect(Late::of(live, publisher, LONG_MS), |messages| other.sends(messages));
}

#[test]
fn a_source_is_read_late() {
    let (other, live) = (Other(Live::new(ServerConfig::default())), live(StreamConfig::default()));
    let publisher = other.0.publish("show");
    let stream = live.server.stream_create(b"live", b"show", None).unwrap();
    live.server.source_add(stream, TargetConfig { url: other.url(), ..TargetConfig::default() }).unwrap();
    is_read_late_until_somebody_does_not_collect(Late::of(live, publisher, LONG_MS), |messages| other.sends(messages));
}

/// A server with publishers of "show" and "other", and a connection that plays one of them, which has begun.
fn two_streams(played: &str) -> (Live, Client, Client, Client) {
    let stream = StreamConfig { relay_threads: Some(1), ..StreamConfig::default() };
    // Nobody leaves for having said nothing.
    let config = ServerConfig { stream: stream.into(), idle_ms: 600_000, ping_ms: 0, ..ServerConfig::default() };
    let live = Live::new(config);
    let (mut show, mut other) = (live.publish("show"), live.publish("other"));
    let mut player = live.play(played);
    for publisher in [&mut show, &mut other] {
        publisher.key_frame(0, b"before").unwrap();
    }
    assert!(player.message().1.ends_with(b"before"));
    (live, show, other, player)
}

/// A connection that plays `more` too, and is then with the relay of that stream.
fn plays_more(player: &mut Client, more: &str) {
    let calls = [
        command(0, "createStream", 20.0, &[Value::Null]),
        command(2, "play", 21.0, &[Value::Null, Value::String(more.as_bytes())]),
    ];
    player.socket.write_all(&calls.concat()).unwrap();
}

#[test]
fn a_stream_that_is_played_on_connections_of_other_streams_is_read_at_once() {
    let (live, publisher, _other, mut player) = two_streams("show");
    plays_more(&mut player, "other");
    assert_eq!(player.message().0.stream_id, 2, "its connection is with the other stream's relay");
    let stream = show(&live.server);
    let mut plain = live.play("show");
    assert!(plain.message().1.ends_with(b"before"));
    collect(&live, &stream, LONG_MS);
    let mut late = Late { since: Instant::now(), live, stream, publisher, player: plain };
    let logged = late.stream.logged();
    for number in 1..=20 {
        late.publisher.key_frame(number as u32 * 40, b"at once").unwrap();
        late.is_read(logged + number - 1);
        settle(&late.stream);
        assert!(!late.stream.is_read_late());
    }
    drop(player);
    until("it is read late", || {
        late.publisher.key_frame(4_000, b"late").unwrap();
        settle(&late.stream);
        late.stream.is_read_late()
    });
}

#[test]
fn a_stream_is_read_late_also_where_its_players_play_others() {
    let (live, publisher, _other, mut player) = two_streams("other");
    let other = live.server.stream(live.server.stream_find(b"live", b"other").unwrap()).unwrap();
    collect(&live, &other, LONG_MS);
    settle(&other);
    plays_more(&mut player, "show");
    assert_eq!(player.message().0.stream_id, 2, "its connection is with this stream's relay");
    let late = Late::with(live, publisher, player, LONG_MS);
    is_read_late_until_somebody_does_not_collect(late, |_| ());
}
