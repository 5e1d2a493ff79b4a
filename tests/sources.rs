//! Sources: a stream pulled from another server, always or while it has players, and the events about it.

#![allow(clippy::unwrap_used, reason = "what fails ends the test, where it stands")]

#[path = "sources/circles.rs"]
mod circles;
#[path = "support/reserved.rs"]
mod reserved;
#[path = "sources/rig.rs"]
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reserved::Reserved;
use rig::{A_WHILE, Feeder, Player, Publisher, React, Server, until};
use rrelay::config::{
    Decision, MAX_STANDBYS, PublisherPolicy, ServerConfig, SlowPolicy, Start, StreamConfig, TargetConfig, ask, media,
};
use rrelay::error::RRError;
use rrelay::server::{Event, EventKind, Id, flag, kind};
use rrelay::session::State;

fn source(url: String, on_demand: bool) -> TargetConfig {
    TargetConfig { url, on_demand, retry_min_ms: 50, retry_max_ms: 200, ..TargetConfig::default() }
}

fn unwatched(ms: u32) -> StreamConfig {
    StreamConfig { unwatched_ms: Some(ms), ..StreamConfig::default() }
}

fn is(kind: EventKind) -> impl Fn(&Event) -> bool {
    move |event| event.kind == kind
}

#[test]
fn on_demand_one_pull_serves_all_who_ask_and_ends_when_nobody_is_left() {
    let (origin, edge) = (Server::plain(), Server::plain());
    let _feeder = Feeder::start(&origin, "show");
    let stream = edge.stream("show", unwatched(300));
    let id = edge.server.source_add(stream, source(origin.url("show"), true)).unwrap();
    let refused = edge.server.target_add(stream, source(origin.url("show"), true));
    assert_eq!(refused.unwrap_err().kind, RRError::Arg, "on demand is nothing for a target");
    std::thread::sleep(A_WHILE);
    assert_eq!((origin.sessions(), edge.state_of(id)), (0, State::Idle), "nobody asks, nobody is asked");

    let mut players: Vec<Player> = (0..3).map(|_| Player::of(&edge, "show")).collect();
    for player in &mut players {
        player.sees(10);
        assert!(player.frames.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "no frame is missing or doubled");
    }
    until("one pull for three", || (origin.sessions(), edge.state_of(id)) == (1, State::InProgress));
    let info = edge.server.info(id).unwrap();
    assert_eq!((info.role.name(), info.stream), ("source", stream));
    until("its figures", || {
        let stats = edge.server.stats(id).unwrap();
        stats.video_bytes > 4_000 && stats.bytes_in > stats.video_bytes && stats.connects == 1
    });

    players.truncate(1);
    players[0].sees(40);
    assert_eq!(edge.count(is(EventKind::Unwatched)), 0, "one is left");
    drop(players);
    edge.await_event("UNWATCHED", is(EventKind::Unwatched));
    until("the pull has ended", || origin.sessions() == 0 && edge.state_of(id) == State::Idle);

    Player::of(&edge, "show").sees(5);
    assert_eq!(edge.server.stats(id).unwrap().connects, 2, "and begins again");
    until("the second player is gone", || edge.count(is(EventKind::Unwatched)) == 2);
    assert_eq!(edge.count(is(EventKind::Wanted)), 0, "the source serves it, the host need not");

    edge.server.target_stop(id, 0).unwrap();
    let ends = |event: &Event| event.target == id && event.flags & flag::LAST != 0;
    let end = edge.await_event("its end", ends);
    assert_eq!((end.kind, end.state), (EventKind::Target, State::Stopped));
    until("the pull has ended", || origin.sessions() == 0);
    assert_eq!(edge.count(ends), 1);
    assert_eq!(edge.server.info(id).unwrap_err().kind, RRError::NotFound);
}

#[test]
fn a_host_that_hears_wanted_adds_a_source_and_those_who_wait_are_served() {
    let origin = Server::plain();
    let _feeder = Feeder::start(&origin, "show");
    let config = ServerConfig { stream: Arc::new(unwatched(200)), ..ServerConfig::default() };
    let edge = Server::new(config, Box::new(|_, _| ()));
    let mut players = [Player::of(&edge, "show"), Player::of(&edge, "show")];
    until("both wait", || {
        players.iter_mut().for_each(Player::look);
        players.iter().all(|player| player.started)
    });
    let wanted = edge.await_event("WANTED", is(EventKind::Wanted));
    assert_eq!((wanted.app.as_slice(), wanted.key.as_slice()), (&b"live"[..], &b"show"[..]));
    std::thread::sleep(A_WHILE);
    assert_eq!(edge.count(is(EventKind::Wanted)), 1, "once until it is served");

    let id = edge.server.source_add(wanted.stream, source(origin.url("show"), true)).unwrap();
    players.iter_mut().for_each(|player| player.sees(5));
    drop(players);
    let last = |about: Id| move |event: &Event| event.flags & flag::LAST != 0 && event.stream == about;
    edge.await_event("the stream ends: nobody reserved it", |event| {
        event.kind == EventKind::Stream && last(wanted.stream)(event)
    });
    edge.await_event("its source with it", |event| event.target == id && last(wanted.stream)(event));
    until("the pull has ended", || origin.sessions() == 0);
    assert_eq!((edge.count(is(EventKind::Wanted)), edge.count(is(EventKind::Unwatched))), (1, 1));
    assert_eq!(edge.count(|event| event.target == id && event.flags & flag::LAST != 0), 1);

    let mut again = Player::of(&edge, "show");
    until("WANTED again", || {
        again.look();
        edge.count(is(EventKind::Wanted)) == 2
    });
}

#[test]
fn players_continue_when_the_origin_is_lost_and_comes_back() {
    let reserved = Reserved::new();
    let starts = || Server::on(reserved.port, ServerConfig::default(), Box::new(|_, _| ()));
    let origin = starts();
    let feeder = Feeder::start(&origin, "show");
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig { grace_ms: 20_000, ..StreamConfig::default() });
    let id = edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    until("always on, without players", || edge.state_of(id) == State::InProgress);
    let mut player = Player::of(&edge, "show");
    player.sees(10);

    drop((feeder, origin));
    edge.await_event("it waits for the next try", |event| event.target == id && event.state == State::Recovering);
    let before = player.frames.len();
    let origin = starts();
    let _feeder = Feeder::counting_from(1_000_000, &origin, "show");
    player.sees(20);
    assert!(player.frames[before..].iter().any(|(number, _)| *number >= 1_000_000), "from the new origin");
    assert!(player.frames.windows(2).all(|pair| pair[1].1 >= pair[0].1), "time never goes back: {:?}", player.frames);
    let stats = edge.server.stats(id).unwrap();
    assert!(stats.connects == 2 && stats.failures > 0, "{stats:?}");
    assert_eq!(edge.count(|event| event.flags & flag::LAST != 0), 0, "nothing has ended");
}

#[test]
fn a_stream_that_the_origin_lacks_is_asked_for_once_a_second() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let deny: React = Box::new(move |server, event| {
        if event.kind == EventKind::PlayAsk {
            counter.fetch_add(1, Ordering::Relaxed);
            server.session_deny(event.session, "NetStream.Play.StreamNotFound", "no such show").unwrap();
        }
    });
    let origin = Server::new(ServerConfig { ask: ask::PLAY, ..ServerConfig::default() }, deny);
    let edge = Server::plain();
    let stream = edge.stream("none", StreamConfig::default());
    let id = edge.server.source_add(stream, source(origin.url("none"), true)).unwrap();

    let begun = Instant::now();
    let mut waiting = [Player::of(&edge, "none"), Player::of(&edge, "none")];
    for player in &mut waiting {
        let failure = player.is_refused();
        assert!(failure.text.starts_with("NetStream.Play.StreamNotFound"), "{failure}");
    }
    assert!(Player::of(&edge, "none").is_refused().text.starts_with("NetStream.Play.StreamNotFound"));
    if begun.elapsed() < Duration::from_millis(900) {
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
    assert_ne!(edge.state_of(id), State::Failed, "it may begin at any time");
    std::thread::sleep(Duration::from_millis(1_300));
    let before = asked.load(Ordering::Relaxed);
    Player::of(&edge, "none").is_refused();
    assert_eq!(asked.load(Ordering::Relaxed), before + 1, "and is asked again");
}

#[test]
fn a_redirect_is_followed_and_one_without_end_is_not() {
    let origin = Server::plain();
    let _feeder = Feeder::start(&origin, "show");
    let elsewhere = format!("rtmp://127.0.0.1:{}/live", origin.port);
    let send: React = Box::new(move |server, event| {
        if event.kind == EventKind::ConnectAsk {
            server.session_redirect(event.session, &elsewhere).unwrap();
        }
    });
    let front = Server::new(ServerConfig { ask: ask::CONNECT, ..ServerConfig::default() }, send);
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig::default());
    let id = edge.server.source_add(stream, source(front.url("show"), true)).unwrap();
    Player::of(&edge, "show").sees(5);
    let told = edge.await_event("RECONNECT", is(EventKind::Reconnect));
    assert_eq!(
        (told.target, String::from_utf8(told.url).unwrap()),
        (id, format!("rtmp://127.0.0.1:{}/live", origin.port))
    );

    // A redirect at play is a reconnect request.
    let elsewhere = format!("rtmp://127.0.0.1:{}/live", origin.port);
    let send: React = Box::new(move |server, event| {
        if event.kind == EventKind::PlayAsk {
            server.session_redirect(event.session, &elsewhere).unwrap();
        }
    });
    let front = Server::new(ServerConfig { ask: ask::PLAY, ..ServerConfig::default() }, send);
    let stream = edge.stream("moved", StreamConfig::default());
    let config =
        TargetConfig { key: Some(b"show".to_vec()), ..source(format!("rtmp://127.0.0.1:{}/live", front.port), true) };
    edge.server.source_add(stream, config).unwrap();
    Player::of(&edge, "moved").sees(5);

    let round: React = Box::new(|server, event| {
        if event.kind == EventKind::ConnectAsk {
            server.session_redirect(event.session, "/live").unwrap();
        }
    });
    let front = Server::new(ServerConfig { ask: ask::CONNECT, ..ServerConfig::default() }, round);
    let stream = edge.stream("round", StreamConfig::default());
    let id = edge.server.source_add(stream, source(front.url("round"), false)).unwrap();
    let end = edge.await_event("it gives up", |event| event.target == id && event.state == State::Failed);
    assert_eq!(end.error, Some(RRError::Rejected));
    let connects = front.count(is(EventKind::ConnectAsk));
    assert!(connects <= 12, "{connects}: twice the way with its detours");
}

#[test]
fn a_pull_that_leads_back_to_its_own_stream_is_refused() {
    let (one, two) = (Server::plain(), Server::plain());
    let mirror = one.stream("mirror", StreamConfig::default());
    let id = one.server.source_add(mirror, source(one.url("mirror"), false)).unwrap();
    let refused = |id| move |event: &Event| event.target == id && event.error == Some(RRError::Rejected);
    let end = one.await_event("it is refused", refused(id));
    assert!(String::from_utf8_lossy(&end.text).contains("loop"), "{:?}", end.text);

    // One stream from another of the same server is not a loop.
    let _feeder = Feeder::start(&one, "show");
    let copy = one.stream("copy", StreamConfig::default());
    one.server.source_add(copy, source(one.url("show"), false)).unwrap();
    Player::of(&one, "copy").sees(5);

    // Over two servers: the source that closes the circle is refused, and waiting players are told.
    let add = |(from, to): (&Server, &Server)| {
        let stream = from.stream("ring", StreamConfig::default());
        from.server.source_add(stream, source(to.url("ring"), true)).unwrap()
    };
    let sources = [(&one, &two), (&two, &one)].map(add);
    let refusal = Player::of(&one, "ring").is_refused();
    assert!(refusal.text.starts_with("NetStream.Play.StreamNotFound"), "{refusal}");
    let of_ring = |event: &Event| sources.iter().any(|&id| refused(id)(event));
    until("one of the two is refused", || one.count(of_ring) + two.count(of_ring) > 0);
    until("both rest", || one.state_of(sources[0]) == State::Idle && two.state_of(sources[1]) == State::Idle);
    let _feeder = Feeder::start(&two, "ring");
    Player::of(&one, "ring").sees(5);
}

#[test]
fn a_source_gives_way_to_a_takeover_and_pulls_again_after_it() {
    let (origin, edge) = (Server::plain(), Server::plain());
    let _feeder = Feeder::start(&origin, "show");
    let config = StreamConfig { publisher_policy: PublisherPolicy::Takeover, ..StreamConfig::default() };
    let stream = edge.stream("show", config);
    let id = edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    until("it pulls", || edge.state_of(id) == State::InProgress);
    let publisher = Publisher::of(&edge, "show");
    until("it rests", || edge.state_of(id) == State::Idle && origin.sessions() == 0);
    assert_eq!(edge.server.stats(id).unwrap().failures, 0, "that is no failure");
    drop(publisher);
    until("it pulls again", || edge.state_of(id) == State::InProgress);

    // A source ends with its stream, in every state.
    let dead = source("rtmp://127.0.0.1:1/live/dead".to_owned(), false);
    let lost = edge.server.source_add(edge.stream("dead", StreamConfig::default()), dead).unwrap();
    until("it waits for its next try", || edge.state_of(lost) == State::Recovering);
    for (stream, source) in [(b"show", id), (b"dead", lost)] {
        edge.server.stream_stop(edge.server.stream_find(b"live", stream).unwrap(), 100).unwrap();
        edge.await_event("its end", |event| event.target == source && event.flags & flag::LAST != 0);
    }
    until("the pull has ended", || origin.sessions() == 0);
    std::thread::sleep(A_WHILE);
    assert_eq!(edge.count(|event| event.target != 0 && event.flags & flag::LAST != 0), 2, "one end each");
}

#[test]
fn a_publisher_goes_before_a_source() {
    let (origin, edge) = (Server::plain(), Server::plain());
    let _feeder = Feeder::start(&origin, "show");
    let own = Feeder::start(&edge, "show");
    let stream = edge.server.stream_find(b"live", b"show").unwrap();
    let id = edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    std::thread::sleep(A_WHILE);
    assert_eq!((edge.state_of(id), origin.sessions()), (State::Idle, 0));
    drop(own);
    edge.server.stream_write(stream, 0, 0, &[], true).unwrap();
    until("its turn", || edge.state_of(id) == State::InProgress);
    Player::of(&edge, "show").sees(5);
}

#[test]
fn a_source_with_another_url_is_connected_anew_at_once_and_players_stay() {
    let (first, second, edge) = (Server::plain(), Server::plain(), Server::plain());
    let _feeder = Feeder::start(&first, "show");
    let stream = edge.stream("show", StreamConfig::default());
    let id = edge.server.source_add(stream, source(first.url("show"), true)).unwrap();
    let mut player = Player::of(&edge, "show");
    player.sees(40);
    let _other = Feeder::counting_from(1_000_000, &second, "show");
    let before = player.frames.len();
    edge.server.target_update(id, source(second.url("show"), true)).unwrap();
    until("the first is left", || first.sessions() == 0);
    player.sees(5);
    until("from the second", || {
        player.look();
        player.frames[before..].iter().any(|(number, _)| *number >= 1_000_000)
    });
    assert!(
        player.over.is_none() && player.frames.windows(2).all(|pair| pair[1].1 >= pair[0].1),
        "{:?}",
        player.frames
    );
    let stats = edge.server.stats(id).unwrap();
    assert_eq!((stats.connects, stats.failures), (2, 0), "nothing was lost");
    assert_eq!(edge.count(|event| event.flags & flag::LAST != 0), 0, "nothing has ended");

    // These settings change without a new connection.
    let again = TargetConfig { retry_min_ms: 70, user: 7, ..source(second.url("show"), true) };
    edge.server.target_update(id, again).unwrap();
    player.sees(30);
    assert_eq!((edge.server.stats(id).unwrap().connects, edge.server.info(id).unwrap().user), (2, 7));
}

#[test]
fn a_source_may_become_one_on_demand_and_back() {
    let (origin, edge) = (Server::plain(), Server::plain());
    let _feeder = Feeder::start(&origin, "show");
    let stream = edge.stream("show", unwatched(200));
    let id = edge.server.source_add(stream, source(origin.url("show"), true)).unwrap();
    std::thread::sleep(A_WHILE);
    assert_eq!((edge.state_of(id), origin.sessions()), (State::Idle, 0));
    edge.server.target_update(id, source(origin.url("show"), false)).unwrap();
    until("it pulls for nobody", || edge.state_of(id) == State::InProgress);
    assert_eq!(edge.count(|event| event.target == id && event.prev == State::None && event.state == State::Idle), 1);
    edge.server.target_update(id, source(origin.url("show"), true)).unwrap();
    until("it leaves, since nobody plays", || edge.state_of(id) == State::Idle && origin.sessions() == 0);
}

#[test]
fn settings_that_a_source_does_not_heed_are_refused_by_name() {
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig::default());
    let plain = || source("rtmp://127.0.0.1:1/live/show".to_owned(), true);
    let id = edge.server.source_add(stream, plain()).unwrap();
    for (name, config) in [
        ("send_ms", TargetConfig { send_ms: Some(1), ..plain() }),
        ("idle_ms", TargetConfig { idle_ms: Some(1), ..plain() }),
        ("queue_bytes", TargetConfig { queue_bytes: 100_000, ..plain() }),
        ("queue_ms", TargetConfig { queue_ms: 500, ..plain() }),
        ("slow_policy", TargetConfig { slow_policy: SlowPolicy::Stop, ..plain() }),
        ("slow_ms", TargetConfig { slow_ms: Some(1), ..plain() }),
        ("start", TargetConfig { start: Start::Now, ..plain() }),
        ("clock", TargetConfig { from_zero: true, ..plain() }),
        ("media", TargetConfig { media: media::AUDIO, ..plain() }),
        ("tracks", TargetConfig { tracks: 1, ..plain() }),
        ("max_kbps", TargetConfig { max_kbps: Some(8), ..plain() }),
        ("merge_ms", TargetConfig { merge_ms: Some(8), ..plain() }),
    ] {
        edge.server.target_add(stream, TargetConfig { on_demand: false, ..config.clone() }).unwrap();
        let refused =
            [edge.server.source_add(stream, config.clone()), edge.server.target_update(id, config).map(|()| id)];
        for failure in refused.map(Result::unwrap_err) {
            assert!(failure.kind == RRError::Unsupported && failure.text.starts_with(name), "{name}: {failure}");
        }
    }
}

#[test]
fn a_source_stands_by_behind_a_publisher_and_can_be_switched_to_and_back() {
    let origin = Server::plain();
    let _feeder = Feeder::start(&origin, "show");
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig { publisher_policy: PublisherPolicy::Standby, ..unwatched(300) });
    let write = |n: u32| edge.server.stream_write(stream, rig::VIDEO, 0, &rig::frame(n), false);
    write(1_000_000).unwrap();
    let id = edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    let idle = edge.server.source_add(stream, source(origin.url("show"), true)).unwrap();
    until("it stands by", || edge.state_of(id) == State::Waiting && origin.sessions() == 1);
    let mut player = Player::of(&edge, "show");
    player.sees(1);
    std::thread::sleep(A_WHILE);
    player.look();
    assert_eq!(player.frames.len(), 1, "it is not heard");
    assert_eq!(edge.state_of(idle), State::Idle, "who plays is served: nothing is demanded");
    assert_eq!(edge.server.info(id).unwrap().role.name(), "source");
    assert_eq!(edge.server.stats(stream).unwrap().sessions, 1, "the player");

    // The host ends; the source follows, and the players stay.
    edge.server.stream_write(stream, rig::VIDEO, 0, &[], true).unwrap();
    player.sees(20);
    // The state moves in another thread than the frames.
    until("it publishes", || edge.state_of(id) == State::InProgress);
    assert!(player.frames[1..].windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{:?}", player.frames);

    // A second source stands by: the stream switches to it, and back.
    let other = edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    until("the other stands by", || edge.state_of(other) == State::Waiting);
    for (to, from) in [(other, id), (id, other)] {
        edge.server.stream_switch(stream, to).unwrap();
        until("the switch", || (edge.state_of(to), edge.state_of(from)) == (State::InProgress, State::Waiting));
        player.sees(5);
    }
    edge.server.stream_switch(stream, id).unwrap();
    edge.server.target_stop(id, 0).unwrap();
    until("the one that stands by follows", || edge.state_of(other) == State::InProgress);
    player.sees(20);
    assert!(player.frames.windows(2).all(|pair| pair[0].1 <= pair[1].1), "time never goes back");
}

#[test]
fn a_source_that_finds_no_place_to_stand_by_gets_the_next_one_that_is_free() {
    let origin = Server::plain();
    let _feeder = Feeder::start(&origin, "show");
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig { publisher_policy: PublisherPolicy::Standby, ..unwatched(300) });
    edge.server.stream_write(stream, rig::VIDEO, 0, &rig::frame(1), false).unwrap();
    let add = || edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    let mut standing: Vec<Id> = (0..MAX_STANDBYS).map(|_| add()).collect();
    until("all places are taken", || standing.iter().all(|&id| edge.state_of(id) == State::Waiting));
    let late = add();
    std::thread::sleep(A_WHILE);
    assert_eq!(edge.state_of(late), State::Idle);
    edge.server.target_stop(standing.pop().unwrap(), 0).unwrap();
    until("it stands by in its place", || edge.state_of(late) == State::Waiting);
    assert_eq!(edge.server.stats(late).unwrap().failures, 0, "waiting for a place is no failure");

    // A standby becomes the publisher: its place is free too.
    let later = add();
    std::thread::sleep(A_WHILE);
    assert_eq!(edge.state_of(later), State::Idle);
    edge.server.stream_write(stream, rig::VIDEO, 40, &[], true).unwrap();
    standing.extend([late, later]);
    let count = |state| standing.iter().filter(|&&id| edge.state_of(id) == state).count();
    until("the last one stands by too", || (count(State::InProgress), count(State::Waiting)) == (1, MAX_STANDBYS));
}

#[test]
fn a_source_that_the_host_stops_is_not_waited_for_and_one_that_is_lost_is() {
    let origin = Server::plain();
    let _feeder = Feeder::start(&origin, "show");
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig { grace_ms: 600_000, ..StreamConfig::default() });
    let id = edge.server.source_add(stream, source(origin.url("show"), false)).unwrap();
    let mut player = Player::of(&edge, "show");
    player.sees(5);
    let lost = is_stream_in(State::Recovering);
    origin
        .server
        .list(0, kind::SESSION)
        .unwrap()
        .iter()
        .for_each(|&id| origin.server.session_close(id, "", 0).unwrap());
    edge.await_event("the grace window", lost);
    player.sees(5);
    assert_eq!(edge.count(lost), 1);

    edge.server.target_stop(id, 0).unwrap();
    edge.await_event("the end of the media", is_stream_in(State::Idle));
    until("the player is told", || {
        player.look();
        player.over.is_some()
    });
    assert_eq!(edge.count(lost), 1, "it means it: there is nobody to wait for");
}

#[test]
fn players_stay_for_the_grace_window_where_the_origin_lacks_the_stream_meanwhile() {
    let (lacks, denied) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (lacking, counter) = (Arc::clone(&lacks), Arc::clone(&denied));
    let react: React = Box::new(move |server, event| match event.kind {
        EventKind::PlayAsk if lacking.load(Ordering::Relaxed) => {
            counter.fetch_add(1, Ordering::Relaxed);
            server.session_deny(event.session, "NetStream.Play.StreamNotFound", "no such show").unwrap();
        }
        EventKind::PlayAsk => server.session_allow(event.session, Decision::default()).unwrap(),
        _ => {}
    });
    let origin = Server::new(ServerConfig { ask: ask::PLAY, ..ServerConfig::default() }, react);
    let feeder = Feeder::start(&origin, "show");
    let edge = Server::plain();
    let stream = edge.stream("show", StreamConfig { grace_ms: 600_000, ..StreamConfig::default() });
    edge.server.source_add(stream, source(origin.url("show"), true)).unwrap();
    let mut player = Player::of(&edge, "show");
    player.sees(5);

    lacks.store(true, Ordering::Relaxed);
    drop(feeder);
    let id = origin.server.stream_find(b"live", b"show").unwrap();
    origin.server.stream_write(id, rig::VIDEO, 600_000, &[], true).unwrap();
    until("it is asked for again and again", || denied.load(Ordering::Relaxed) >= 3);
    lacks.store(false, Ordering::Relaxed);
    let _feeder = Feeder::start(&origin, "show");
    player.sees(5);
}

/// Whether an event tells that a stream has come to this state.
fn is_stream_in(state: State) -> impl Fn(&Event) -> bool + Copy {
    move |event| event.kind == EventKind::Stream && event.state == state && event.prev != State::None
}
