//! Players of streams with three relays, and of such with two.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::message::kind::{AUDIO, VIDEO};
use rrelay::server::{EventKind, Id, flag, kind};
use rrelay::session::{Event as Said, Role};

use super::live::{Client, Live, command, until};
use super::load::Load;
use super::moving;

const VIDEO_HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f";
const AUDIO_HEADER: &[u8] = b"\xaf\0\x12\x10";

fn server_with(relay_threads: u32, config: ServerConfig) -> Live {
    let stream = StreamConfig { relay_threads: Some(relay_threads), ..StreamConfig::clone(&config.stream) };
    Live::new(ServerConfig { stream: Arc::new(stream), ..config })
}

fn server(relay_threads: u32) -> Live {
    server_with(relay_threads, ServerConfig::default())
}

fn play(live: &Live, players: usize) -> Vec<Client> {
    (0..players).map(|_| live.play("show")).collect()
}

fn show(live: &Live) -> Id {
    live.server.stream_find(b"live", b"show").unwrap()
}

/// The sessions that play the stream.
fn players(live: &Live) -> Vec<Id> {
    let all = live.server.list(show(live), kind::SESSION).unwrap().into_iter();
    all.filter(|&id| live.server.info(id).is_ok_and(|info| info.role == Role::Player)).collect()
}

/// The media that comes next.
fn media(player: &mut Client, count: usize) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    until("media", || {
        while got.len() < count
            && let Some((head, body)) = player.messages.pop_front()
        {
            if matches!(head.type_id, VIDEO | AUDIO) {
                got.push(body);
            }
        }
        if got.len() < count {
            player.turn(Duration::from_millis(20)).unwrap();
        }
        got.len() == count
    });
    got
}

fn picture(is_key: bool, number: u32) -> Vec<u8> {
    let kind: &[u8] = if is_key { &[0x17, 1, 0, 0, 0] } else { &[0x27, 1, 0, 0, 0] };
    [kind, &number.to_be_bytes().repeat(300 + (number as usize % 7) * 40)].concat()
}

#[test]
fn every_player_gets_every_message_and_a_late_one_the_headers_and_the_group() {
    let live = server(3);
    let mut publisher = live.publish("show");
    let mut early = play(&live, 7);
    live.line_with(&["has 3 relay threads"]);
    let mut sent = vec![VIDEO_HEADER.to_vec(), AUDIO_HEADER.to_vec()];
    sent.extend((0..195).map(|number| picture(number % 30 == 0, number)));
    for (number, body) in (0..).zip(&sent) {
        publisher.send(if body == AUDIO_HEADER { AUDIO } else { VIDEO }, number, body).unwrap();
    }
    for player in &mut early {
        assert!(media(player, sent.len()) == sent, "a player has got something else than was sent");
    }
    let mut late = play(&live, 6);
    let group = [&sent[..2], &sent[2 + 180..]].concat();
    for player in &mut late {
        assert!(media(player, group.len()) == group, "a late player begins elsewhere");
    }
    let more: Vec<_> = (195..300).map(|number| picture(number % 30 == 0, number)).collect();
    more.iter().for_each(|body| publisher.send(VIDEO, 7_000, body).unwrap());
    for player in early.iter_mut().chain(&mut late) {
        assert!(media(player, more.len()) == more);
    }
    until("the figures of the stream are those of all its players", || {
        let stats = |id| live.server.stats(id).unwrap();
        let all: Vec<_> = players(&live).into_iter().map(stats).collect();
        let (msgs, bytes) = (all.iter().map(|of| of.msgs_out).sum::<u64>(), all.iter().map(|of| of.bytes_out).sum());
        let stream = stats(show(&live));
        all.len() == 13 && msgs >= 13 * 105 && (stream.msgs_out, stream.bytes_out) == (msgs, bytes)
    });
}

#[test]
fn orders_and_commands_reach_each_player() {
    let live = server(3);
    let mut publisher = live.publish("show");
    let mut all = play(&live, 6);
    publisher.key_frame(0, b"0").unwrap();
    all.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"0")));
    // A paused player gets nothing, and answers come after what was sent before.
    for player in &mut all {
        let pause = |on, ms| command(1, "pause", 0.0, &[Value::Null, Value::Bool(on), Value::Number(ms)]);
        player.socket.write_all(&pause(true, 0.0)).unwrap();
    }
    let end = "closed in its turn";
    for number in 1..=6_u8 {
        let mut player = all.remove(0);
        let addr = player.addr();
        let id = players(&live).into_iter().find(|&id| live.server.info(id).unwrap().addr == addr).unwrap();
        live.server.session_close(id, end, 0).unwrap();
        player.closed();
        assert_eq!(live.end_of(&addr).error, Some(RRError::Kicked));
        until("the others stay", || live.sessions() == 7 - u32::from(number));
    }
    let mut player = live.play("show");
    publisher.key_frame(40, b"1").unwrap();
    until("it plays on", || player.message().1.ends_with(b"1"));
}

#[test]
fn players_that_wait_for_nobody_are_refused_by_each_relay() {
    let live = server(3);
    live.server.stream_create(b"live", b"show", None).unwrap();
    let mut all = play(&live, 5);
    live.line_with(&["has 3 relay threads"]);
    live.server.players_refuse(show(&live), "nobody will come").unwrap();
    for player in &mut all {
        let mut refusal = None;
        until("it is refused", || {
            refusal = player.turn(Duration::from_millis(5)).err();
            refusal.is_some()
        });
        let refusal = refusal.unwrap().text;
        assert!(refusal.contains("nobody will come"), "{refusal}");
    }
}

/// What a player has heard: its media, and with `None` that the stream has ended.
fn heard(player: &mut Client) -> Vec<Option<Vec<u8>>> {
    let mut heard = Vec::new();
    until("the end of the stream", || {
        let _ = player.turn(Duration::from_millis(20));
        let is_over = player.said.iter().any(|said| matches!(said, Said::Ended { .. }));
        // What came in the same turn came before the end: nothing comes behind it.
        heard.extend(player.messages.drain(..).map(|(_, body)| Some(body)));
        is_over
    });
    let ends = player.said.iter().filter(|said| matches!(said, Said::Ended { .. })).count();
    heard.extend(vec![None; ends]);
    heard
}

#[test]
fn the_end_of_a_publisher_is_the_same_for_all_players_however_soon_another_one_begins() {
    let (mut told, mut untold) = (0, 0);
    for round in 0..40_u32 {
        let live = server(3);
        let id = live.server.stream_create(b"live", b"show", None).unwrap();
        let write = |body: &[u8], end| live.server.stream_write(id, VIDEO, 0, body, end).unwrap();
        let mut early = play(&live, 6);
        write(&picture(true, 0), false);
        for player in &mut early {
            assert_eq!(media(player, 1), [picture(true, 0)]);
        }
        write(&picture(false, 1), true);
        // The relay that leads may have seen the end before the next begins, or not.
        let by = std::time::Instant::now() + Duration::from_micros(u64::from(round) * 10);
        while std::time::Instant::now() < by {}
        write(&picture(true, 2), false);
        let mut late = live.play("show");
        write(&picture(false, 3), true);
        let first: Vec<_> = early.iter_mut().map(heard).collect();
        let one = vec![Some(picture(false, 1)), None];
        let both = [&one[..1], &[Some(picture(true, 2)), Some(picture(false, 3)), None]].concat();
        assert!(first.iter().all(|heard| *heard == one) || first.iter().all(|heard| *heard == both), "round {round}");
        let second = heard(&mut late);
        if first[0] == one {
            told += 1;
            assert!(second == both[1..], "round {round}: a player of the second one has nothing of the first one's");
        } else {
            untold += 1;
            // The stream has gone on, and the group before may be the newest where a relay has not read on.
            assert!(second.ends_with(&both[1..]), "round {round}");
        }
    }
    println!("{told} ends were told, {untold} were not");
}

#[test]
fn a_stream_that_stops_gives_all_players_the_rest() {
    let stream = StreamConfig { queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
    let live = server_with(3, ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let mut publisher = live.publish("show");
    // The first two are with the other relays, and the next two with the one that leads.
    let mut of_others = play(&live, 2);
    let mut of_lead = play(&live, 2);
    // More than sockets take.
    let pictures: Vec<_> =
        (0..100_u32).map(|number| [&[0x17, 1, 0, 0, 0][..], &number.to_be_bytes().repeat(50_000)].concat()).collect();
    pictures.iter().for_each(|body| publisher.send(VIDEO, 0, body).unwrap());
    let id = show(&live);
    until("all are in the log", || live.server.stats(id).unwrap().msgs_in == 100);
    live.server.stream_stop(id, 600_000).unwrap();
    let rest: Vec<_> = pictures.into_iter().map(Some).chain([None]).collect();
    for player in &mut of_lead {
        assert!(heard(player) == rest);
    }
    // The relay that leads has nobody left. It waits for the others: meanwhile, other streams end.
    for _ in 0..20 {
        let other = live.server.stream_create(b"live", b"other", None).unwrap();
        let _player = live.play("other");
        live.server.stream_stop(other, 0).unwrap();
        until("the other stream has ended", || live.server.info(other).is_err());
        assert!(live.server.info(id).is_ok(), "the stream is over, and players have not got the rest");
    }
    for player in &mut of_others {
        assert!(heard(player) == rest);
    }
    until("the stream has ended", || live.server.info(id).is_err());
    let ends = live.events_of(EventKind::Stream).into_iter();
    assert_eq!(ends.filter(|event| event.stream == id && event.flags & flag::LAST != 0).count(), 1);
}

#[test]
fn all_relays_give_up_memory() {
    let stream = StreamConfig { queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
    let config = ServerConfig { mem_limit_bytes: Some(16 << 20), stream: Arc::new(stream), ..ServerConfig::default() };
    let live = server_with(2, config);
    let mut publisher = live.publish("show");
    // These do not read.
    let stalled = play(&live, 4);
    publisher.send(VIDEO, 0, &picture(true, 0)).unwrap();
    let body = vec![7; 60_000];
    let have_jumped = |live: &Live| {
        let all = players(live);
        all.len() == 4 && all.into_iter().all(|id| live.server.stats(id).is_ok_and(|of| of.dropped_msgs > 0))
    };
    let mut number = 0;
    until("each of them has jumped", || {
        number += 1;
        publisher.key_frame(number, &body).unwrap();
        number % 50 == 0 && have_jumped(&live)
    });
    assert!(live.server.stats(0).unwrap().queue_bytes <= 16 << 20);
    drop(stalled);
}

/// Hands one server over to another one.
fn hand_over(here: &Live, there: &Live) {
    assert_eq!(moving::hand_over(&here.server, &there.server), (Ok(()), Ok(())));
}

#[test]
fn players_of_all_relays_go_on_in_another_server() {
    let (here, there, further) = (server(3), server(3), server(2));
    let load = Load::on(here.port, 1, 7, 5);
    here.line_with(&["has 3 relay threads"]);
    hand_over(&here, &there);
    there.line_with(&["has 3 relay threads"]);
    until("all are there", || there.sessions() == 8);
    hand_over(&there, &further);
    until("all are with the last", || further.sessions() == 8);
    load.end();
}

#[test]
fn a_target_is_changed_and_players_of_all_relays_go_on() {
    let (sink, live) = (Live::new(ServerConfig::default()), server(3));
    let mut publisher = live.publish("show");
    let mut all = play(&live, 5);
    let url = |key: &str| format!("rtmp://127.0.0.1:{}/live/{key}", sink.port);
    let config = TargetConfig { url: url("one"), ..TargetConfig::default() };
    let target = live.server.target_add(show(&live), config).unwrap();
    let mut number = 0;
    for key in ["one", "two"] {
        if number > 0 {
            let config = TargetConfig { url: url(key), ..TargetConfig::default() };
            live.server.target_update(target, config).unwrap();
        }
        let mut watches = sink.play(key);
        until("it is pushed there", || {
            number += 1;
            publisher.key_frame(number, &number.to_be_bytes()).unwrap();
            let _ = watches.turn(Duration::from_millis(10));
            watches.messages.iter().any(|(head, _)| head.type_id == VIDEO)
        });
    }
    for player in &mut all {
        let got = media(player, number as usize);
        let sent = (1..=number).map(|number| [&[0x17, 1, 0, 0, 0][..], &number.to_be_bytes()].concat());
        assert!(got.into_iter().eq(sent));
    }
}
