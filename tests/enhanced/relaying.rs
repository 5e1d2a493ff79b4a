//! The vectors through the relay: to players that wait, to players that come late, to a target, over three hops, and to
//! the players of the distribution, which keep what they cannot decode.

use std::collections::BTreeMap;
use std::net::TcpListener;

use rrelay::session::State;

use crate::raw::{Got, Raw};
use crate::read::{self, Name, Packet};
use crate::support::PATIENCE;
use crate::support::flv::{self, AUDIO, DATA, Tag, VIDEO, assert_same};
use crate::support::media::{gstreamer_plays, rtmpdump_plays};
use crate::support::program::Room;
use crate::support::server::Relay;
use crate::vectors;

/// As encoders send metadata.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

fn wrapped(tag: &Tag) -> Vec<u8> {
    if tag.kind == DATA { [SET_DATA_FRAME, &tag.body].concat() } else { tag.body.clone() }
}

fn publish(publisher: &mut Raw, tags: &[Tag]) {
    for tag in tags {
        publisher.send(tag.kind, tag.ts_ms, &wrapped(tag));
    }
}

/// Reads on until the message `last` has come.
fn read_to(peer: &mut Raw, last: &Tag) -> Vec<Tag> {
    let mut tags = Vec::new();
    loop {
        let Some(Got { type_id, ts_ms, body }) = peer.media_within(crate::raw::PATIENCE) else {
            panic!("{last:?} does not come; what came is {tags:#?}");
        };
        tags.push(Tag { kind: type_id, ts_ms, body });
        if tags.last() == Some(last) {
            return tags;
        }
    }
}

/// The first message of the second half of the second group: a joiner there has one key frame before the newest.
fn middle(tags: &[Tag]) -> usize {
    tags.iter().position(|tag| tag.ts_ms >= 600).unwrap()
}

/// The track whose key frames are join points: the lowest.
fn join_track(tags: &[Tag]) -> u8 {
    let pictures = tags.iter().filter(|tag| tag.kind == VIDEO).filter_map(read::message);
    pictures.map(|message| message.parts[0].track).min().unwrap()
}

fn is_join_point(tag: &Tag, track: u8) -> bool {
    let has = |message: read::Message| message.key && message.parts.iter().any(|part| part.track == track);
    tag.kind == VIDEO && read::message(tag).is_some_and(has)
}

/// The headers that a decoder needs first: the metadata, and each track's last configuration and last colours.
fn headers(tags: &[Tag]) -> BTreeMap<(Name, bool), Vec<u8>> {
    let mut headers = BTreeMap::new();
    for tag in tags {
        let Some(message) = read::message(tag) else {
            headers.insert(((tag.kind, *b"meta", 0), false), tag.body.clone());
            continue;
        };
        for part in message.parts {
            let place = ((tag.kind, part.four_cc, part.track), message.packet == Packet::Config);
            match message.packet {
                Packet::SequenceStart | Packet::Config => {
                    headers.insert(place, part.data);
                }
                _ => {}
            }
        }
    }
    headers
}

/// Asserts what a joiner gets: first all headers in force, each once and as it was published, metadata at 0 and the
/// others at the join point's time; then, from a key frame on, everything. Gives the place of that key frame in
/// `published`.
fn assert_joined(published: &[Tag], arrived: &[Tag]) -> usize {
    let is_frame = |tag: &Tag| read::message(tag).is_some_and(|message| message.packet == Packet::CodedFrames);
    let lead = arrived.iter().position(is_frame).unwrap();
    let (lead, run) = arrived.split_at(lead);
    let begin = published.iter().position(|tag| *tag == run[0]).expect("the first frame is a published one");
    assert!(is_join_point(&run[0], join_track(published)), "{:?}", run[0]);
    assert_eq!(headers(lead), headers(&published[..begin]));
    for (index, header) in lead.iter().enumerate() {
        assert_eq!(header.ts_ms, if header.kind == DATA { 0 } else { run[0].ts_ms }, "{header:?}");
        assert!(published[..begin].iter().any(|tag| tag.kind == header.kind && tag.body == header.body), "{header:?}");
        assert!(!lead[..index].iter().any(|tag| tag.body == header.body), "{header:?} comes twice");
    }
    assert_eq!(lead[0].kind, DATA, "metadata comes first");
    assert_same(&published[begin..], run);
    begin
}

#[test]
fn an_early_player_gets_every_message_and_a_late_one_all_headers_and_the_newest_group() {
    for (vector, tags) in vectors::all() {
        let relay = Relay::new();
        let mut early = Raw::play(relay.port, "show");
        relay.has_players("show", 1);
        let mut publisher = Raw::publish(relay.port, "show");
        let middle = middle(tags);
        publish(&mut publisher, &tags[..middle]);
        let mut arrived = read_to(&mut early, &tags[middle - 1]);
        let mut late = Raw::play(relay.port, "show");
        relay.has_players("show", 2);
        publish(&mut publisher, &tags[middle..]);
        let last = tags.last().unwrap();
        arrived.extend(read_to(&mut early, last));
        assert_same(tags, &arrived);

        let begin = assert_joined(tags, &read_to(&mut late, last));
        let track = join_track(tags);
        let newest = tags[..middle].iter().rposition(|tag| is_join_point(tag, track)).unwrap();
        assert_eq!(begin, newest, "{}", vector.name);
        assert!(tags[begin].ts_ms == 400, "{}: there are key frames before and after", vector.name);
    }
}

#[test]
fn a_target_gets_the_same_with_its_metadata_as_encoders_send_it() {
    for (_, tags) in vectors::all() {
        let relay = Relay::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtmp://127.0.0.1:{}/live/copy", listener.local_addr().unwrap().port());
        let target = relay.push("show", url);
        let mut publisher = Raw::publish(relay.port, "show");
        let middle = middle(tags);
        publish(&mut publisher, &tags[..middle]);
        let mut copy = Raw::accept(&listener);
        relay.target_was(target, State::InProgress);
        publish(&mut publisher, &tags[middle..]);
        let mut arrived = read_to(&mut copy, tags.last().unwrap());
        assert!(arrived[0].body.starts_with(SET_DATA_FRAME));
        for tag in arrived.iter_mut().filter(|tag| tag.kind == DATA) {
            tag.body.drain(..SET_DATA_FRAME.len());
        }
        assert_joined(tags, &arrived);
    }
}

#[test]
fn three_hops_change_nothing() {
    let hops = [Relay::new(), Relay::new(), Relay::new()];
    for (index, (_, tags)) in vectors::all().iter().enumerate() {
        let key = format!("show{index}");
        for (from, to) in hops.iter().zip(&hops[1..]) {
            from.push(&key, to.url(&key));
        }
        let mut player = Raw::play(hops[2].port, &key);
        hops[2].has_players(&key, 1);
        let mut publisher = Raw::publish(hops[0].port, &key);
        publish(&mut publisher, tags);
        let arrived = read_to(&mut player, tags.last().unwrap());
        assert_joined(tags, &arrived);
        // Taken apart at the far end, the frames are the encoders', as far back as it was joined.
        let (published, arrived) = (read::unpack(tags), read::unpack(&arrived));
        assert_eq!(published.keys().collect::<Vec<_>>(), arrived.keys().collect::<Vec<_>>());
        for (name, track) in &arrived {
            assert!(published[name].frames.ends_with(&track.frames), "{name:?}");
            assert_eq!(published[name].config, track.config, "{name:?}");
        }
    }
}

#[test]
fn the_host_learns_every_track_with_its_codec_and_the_distance_of_key_frames() {
    let relay = Relay::new();
    for (vector, tags) in vectors::all() {
        let mut player = Raw::play(relay.port, vector.name);
        relay.has_players(vector.name, 1);
        let mut publisher = Raw::publish(relay.port, vector.name);
        publish(&mut publisher, tags);
        read_to(&mut player, tags.last().unwrap());
        let mut expected: Vec<Name> = read::unpack(tags).into_keys().collect();
        expected.sort_by_key(|&(kind, _, track)| (kind == AUDIO, track));
        let expected: Vec<u32> = expected.iter().map(|(_, four_cc, _)| u32::from_be_bytes(*four_cc)).collect();
        let stream = relay.stream(vector.name).unwrap();
        assert_eq!(relay.server.stats(stream).unwrap().key_interval_ms, 400, "{}", vector.name);
        let info = relay.server.info(stream).unwrap();
        assert_eq!(info.track_count as usize, expected.len(), "{}", vector.name);
        assert_eq!(info.codecs[..expected.len()], expected, "{}", vector.name);
    }
}

/// Neither program can decode these codecs; both keep the messages they get.
#[test]
fn rtmpdump_and_gstreamer_keep_every_message() {
    let (room, relay) = (Room::new("enhanced"), Relay::new());
    let mut players: Vec<_> = (vectors::all().iter())
        .map(|(vector, _)| {
            let (name, url) = (vector.name, relay.url(vector.name));
            let dump = rtmpdump_plays(&room, &format!("{name}-rtmpdump"), &url);
            (dump, gstreamer_plays(&room, &format!("{name}-rtmp2src"), "rtmp2src", &url))
        })
        .collect();
    for (((dump, dumped), (gst, kept)), (vector, tags)) in players.iter_mut().zip(vectors::all()) {
        relay.has_players(vector.name, 2);
        let mut publisher = Raw::publish(relay.port, vector.name);
        publish(&mut publisher, tags);
        relay.has_messages(vector.name, tags.len() as u64);
        drop(publisher);
        dump.ends_within(PATIENCE);
        gst.ends_well();
        assert_same(&flv::as_librtmp_keeps(tags), &flv::read(dumped));
        let (expected, arrived) = flv::as_rtmp2src_keeps(tags, kept);
        assert_same(&expected, &arrived);
    }
}
