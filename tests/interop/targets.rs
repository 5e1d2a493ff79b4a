//! Push targets: to nginx, from server to server, added and removed at any time, and lost and reconnected.

use std::fs;

use crate::support::flv::{self, DATA, Tag, assert_run_from_join, assert_same};
use crate::support::media::{
    ffmpeg_publishes, ffmpeg_publishes_with, gstreamer_plays, media, one_group, rtmpdump_plays,
};
use crate::support::nginx::Nginx;
use crate::support::program::Room;
use crate::support::reserved::Reserved;
use crate::support::server::Relay;
use crate::support::{PATIENCE, until};
use rrelay::server::EventKind;
use rrelay::session::{Role, State};

/// The place of the first key frame. A target's run begins at the group that is the newest when it has connected: here
/// where the media is one group, however long that takes.
fn first_key(published: &[Tag]) -> usize {
    published.iter().position(Tag::is_key_frame).unwrap()
}

#[test]
fn nginx_gets_the_stream_pushed() {
    let (room, relay) = (Room::new("nginx"), Relay::new());
    let mut nginx = Nginx::start(&room);
    let url = format!("rtmp://127.0.0.1:{}/live/pushed", nginx.port);
    let (mut player, file) = rtmpdump_plays(&room, "player", &url);
    player.says("Starting");
    let target = relay.push("show", url);
    ffmpeg_publishes_with(&room, "publisher", one_group(), &["-readrate", "3"], &[], &relay.url("show")).ends_well();
    relay.target_ended_media(target);
    // nginx ends players only when it is told to end, and has written everything then.
    nginx.program.terminate();
    nginx.program.ends_within(PATIENCE);
    player.ends_within(PATIENCE);

    // nginx sends players its own metadata, and headers at other times; the frames must be the published ones.
    let published = &one_group().published;
    let arrived = flv::read(&file);
    assert_same(&flv::frames_since_first(&published[first_key(published)..]), &flv::frames_since_first(&arrived));
    let metadata = arrived.iter().find(|tag| tag.kind == DATA).expect("metadata");
    assert_eq!(metadata.body, published[0].body, "nginx copies the metadata it was given");
    let frame = |tags: &[Tag]| tags.iter().find(|tag| tag.is_frame()).unwrap().ts_ms;
    assert_eq!(frame(&arrived), frame(&published[first_key(published)..]), "times are the publisher's");

    // nginx's record begins at time 0 and has audio and video alone.
    let record = flv::read(&room.file("nginx/pushed.flv"));
    assert_same(&flv::frames_since_first(&published[first_key(published)..]), &flv::frames_since_first(&record));
    fs::remove_dir_all(room.file("nginx")).unwrap();
}

#[test]
fn three_hops_change_nothing() {
    let room = Room::new("three-hops");
    let hops = [Relay::new(), Relay::new(), Relay::new()];
    for (from, to) in hops.iter().zip(&hops[1..]) {
        from.push("show", to.url("show"));
    }
    let last = &hops[2];
    let (mut dump, dumped) = rtmpdump_plays(&room, "rtmpdump", &last.url("show"));
    let (mut gst, kept) = gstreamer_plays(&room, "rtmp2src", "rtmp2src", &last.url("show"));
    last.has_players("show", 2);
    ffmpeg_publishes(&room, "publisher", one_group(), &hops[0].url("show")).ends_well();
    dump.ends_within(PATIENCE);
    gst.ends_well();
    let published = &one_group().published;
    for (published, arrived) in
        [(flv::as_librtmp_keeps(published), flv::read(&dumped)), flv::as_rtmp2src_keeps(published, &kept)]
    {
        let run = assert_run_from_join(&published, &arrived);
        assert_eq!(run, first_key(&published)..published.len());
    }
}

#[test]
fn targets_come_and_go_and_the_publisher_does_not_notice() {
    let (room, relay, early, late) = (Room::new("come-and-go"), Relay::new(), Relay::new(), Relay::new());
    let players = [&relay, &early, &late].map(|server| server.url("show"));
    let [(mut own, own_file), (mut one, one_file), (mut two, two_file)] =
        [0, 1, 2].map(|index| rtmpdump_plays(&room, &format!("player-{index}"), &players[index]));
    for server in [&relay, &early, &late] {
        server.has_players("show", 1);
    }
    relay.push("show", early.url("show"));
    let mut publisher =
        ffmpeg_publishes_with(&room, "publisher", media(), &["-readrate", "2"], &[], &relay.url("show"));
    early.has_messages("show", 60);
    let added = relay.push("show", late.url("show"));
    late.has_messages("show", 120);
    relay.server.target_stop(added, 1_000).unwrap();
    two.ends_within(PATIENCE);
    assert!(publisher.is_running() && one.is_running() && own.is_running());
    relay.target_was(added, State::Stopped);
    publisher.ends_well();
    own.ends_within(PATIENCE);
    one.ends_within(PATIENCE);

    let published = flv::as_librtmp_keeps(&media().published);
    assert_same(&published, &flv::read(&own_file));
    let run = assert_run_from_join(&published, &flv::read(&one_file));
    assert!(published[run.start].is_key_frame() && run.end == published.len(), "{run:?}");
    let run = assert_run_from_join(&published, &flv::read(&two_file));
    assert!(run.start > 0 && run.len() > 100 && run.end < published.len(), "{run:?}");
    let ended = || {
        let events = relay.events();
        events.iter().filter(|event| event.kind == EventKind::Session && event.error.is_some()).count()
    };
    until("both have ended", || (ended() >= 2).then_some(()));
    assert_eq!(ended(), 2, "a publisher and a player ended, and nothing else happened to sessions");
}

#[test]
fn a_target_is_reached_as_soon_as_its_server_listens() {
    let (room, relay, far) = (Room::new("nobody"), Relay::new(), Relay::new());
    let reserved = Reserved::new();
    let target = relay.push("show", format!("rtmp://127.0.0.1:{}/live/show", reserved.port));
    let (mut player, file) = rtmpdump_plays(&room, "player", &far.url("show"));
    far.has_players("show", 1);
    let mut publisher =
        ffmpeg_publishes_with(&room, "publisher", media(), &["-readrate", "3"], &[], &relay.url("show"));
    until("two tries in vain", || (relay.server.stats(target).ok()?.failures >= 2).then_some(()));
    reserved.socket.listen(16).unwrap();
    far.server.listen_fd(reserved.socket.into(), rrelay::server::ListenOptions::default()).unwrap();
    relay.target_was(target, State::InProgress);
    publisher.ends_well();
    player.ends_within(PATIENCE);
    let published = flv::as_librtmp_keeps(&media().published);
    let run = assert_run_from_join(&published, &flv::read(&file));
    assert_eq!(run.end, published.len());
    assert_eq!(far.count("show", Role::Publisher), 0);
}
