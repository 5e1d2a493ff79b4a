//! A player's messages: the join points, pausing, muting, kinds of media that the host allows, and the form of data
//! messages for each side.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use raw::{AUDIO, DATA, DATA_AMF3, Got, Raw, VIDEO, last_player, picture, relay, until};
use rml_amf0::Amf0Value;
use rrelay::config::{Decision, Metadata, ServerConfig, Start, StreamConfig, TargetConfig, ask, media};
use rrelay::server::{Event, EventKind, LevelFilter, ListenOptions, LogSink, RRServer};
use rrelay::session::State;

/// How long the tests wait to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

/// A fed stream. Each message is told by its first bytes and its time.
struct Show {
    server: RRServer,
    port: u16,
    id: u64,
    /// A player that is there from the beginning: the relay has seen every message that this player has.
    witness: Raw,
}

const METADATA: &[u8] = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09";
const VIDEO_HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1, 66, 0, 30];
const AUDIO_HEADER: &[u8] = &[0xAF, 0, 0x11, 0x90];

impl Show {
    fn new(start: Start) -> Self {
        let (server, port) = relay(StreamConfig { start, ..StreamConfig::default() }, ServerConfig::default());
        let id = server.stream_create(b"live", b"show", None).unwrap();
        let witness = Raw::play(port, "show");
        last_player(&server, id, 1);
        Self { server, port, id, witness }
    }

    /// A show that has had headers and a group at 1000.
    fn begun(start: Start) -> Self {
        let show = Self::new(start);
        show.headers();
        show.group(1000);
        show
    }

    /// A show with a player that was there from its beginning, has seen all of it, and is paused now.
    fn paused(start: Start) -> (Self, Raw) {
        let show = Self::new(start);
        let mut player = Raw::play(show.port, "show");
        last_player(&show.server, show.id, 2);
        show.headers();
        show.group(1000);
        read_to(&mut player, 1030);
        pause(&mut player, true);
        (show, player)
    }

    fn write(&self, type_id: u8, ts_ms: i64, body: &[u8]) {
        self.server.stream_write(self.id, type_id, ts_ms, body, false).unwrap();
    }

    fn headers(&self) {
        self.write(DATA, 0, METADATA);
        self.write(VIDEO, 0, VIDEO_HEADER);
        self.write(AUDIO, 0, AUDIO_HEADER);
    }

    /// A key frame at `ts_ms`, then sound and two pictures that need it, 10 ms apart.
    fn group(&self, ts_ms: u32) {
        self.write(VIDEO, ts_ms.into(), &picture(true, ts_ms, 100));
        self.write(AUDIO, i64::from(ts_ms) + 10, &[0xAF, 1, 7]);
        for ts_ms in [ts_ms + 20, ts_ms + 30] {
            self.write(VIDEO, ts_ms.into(), &picture(false, ts_ms, 100));
        }
    }

    /// A player that comes after everything that was written.
    fn play(&mut self) -> Raw {
        let newest = self.server.stats(self.id).unwrap().last_ts_ms;
        while i64::from(self.witness.media().ts_ms) != newest {}
        let player = Raw::play(self.port, "show");
        last_player(&self.server, self.id, 2);
        player
    }
}

/// A message's sign: `m`etadata, `v` and `a` headers, `K`ey frame, `P`icture, `S`ound, with its time.
fn sign(got: &Got) -> String {
    let sign = match (got.type_id, got.body.as_slice()) {
        (DATA, body) if body == METADATA => 'm',
        (VIDEO, [0x17, 0, ..]) => 'v',
        (AUDIO, [_, 0, ..]) => 'a',
        (VIDEO, [0x17, ..]) => 'K',
        (VIDEO, _) => 'P',
        (AUDIO, _) => 'S',
        other => panic!("{other:?}"),
    };
    format!("{sign}{}", got.ts_ms)
}

/// The signs of all messages up to the one of time `last`.
fn read_to(player: &mut Raw, last: u32) -> String {
    let mut signs = Vec::new();
    loop {
        let got = player.media();
        signs.push(sign(&got));
        if got.ts_ms == last {
            return signs.join(" ");
        }
    }
}

#[test]
fn gop_begins_at_the_cached_key_frame() {
    let mut show = Show::begun(Start::Gop);
    show.group(2000);
    let mut player = show.play();
    show.group(3000);
    assert_eq!(read_to(&mut player, 3030), "m0 v2000 a2000 K2000 S2010 P2020 P2030 K3000 S3010 P3020 P3030");
}

#[test]
fn key_begins_at_the_next_key_frame() {
    let mut show = Show::begun(Start::Key);
    let mut player = show.play();
    show.write(VIDEO, 1040, &picture(false, 4, 100));
    show.group(2000);
    assert_eq!(read_to(&mut player, 2030), "m0 v2000 a2000 K2000 S2010 P2020 P2030");
}

#[test]
fn now_begins_with_whatever_comes() {
    let mut show = Show::begun(Start::Now);
    let mut player = show.play();
    // The headers come at once, and show that the player has its place.
    let headers: Vec<String> = (0..3).map(|_| sign(&player.media())).collect();
    assert_eq!(headers, ["m0", "v1030", "a1030"]);
    show.write(VIDEO, 1040, &picture(false, 4, 100));
    show.group(2000);
    assert_eq!(read_to(&mut player, 2030), "P1040 K2000 S2010 P2020 P2030");
}

#[test]
fn time_wraps_at_two_to_the_thirty_two_for_who_was_there_and_who_comes_then() {
    let mut show = Show::new(Start::Gop);
    show.headers();
    let begin = (1 << 32) - 20;
    // Of several chunks, whose heads repeat the long timestamp.
    show.write(VIDEO, begin, &picture(true, 1, 150_000));
    show.write(AUDIO, begin + 10, &[0xAF, 1, 7]);
    show.write(VIDEO, begin + 20, &picture(false, 2, 70_000));
    show.write(VIDEO, begin + 30, &picture(false, 3, 100));
    let group = "K4294967276 S4294967286 P0 P10";
    assert_eq!(read_to(&mut show.witness, 10), format!("m0 v0 a0 {group}"));
    let mut late = Raw::play(show.port, "show");
    assert_eq!(read_to(&mut late, 10), format!("m0 v4294967276 a4294967276 {group}"));
    pause(&mut late, true);
    show.write(VIDEO, begin + 40, &picture(false, 4, 100));
    show.group(40);
    assert_eq!(late.media_within(SILENCE), None);
    pause(&mut late, false);
    assert_eq!(read_to(&mut late, 70), "m0 v40 a40 K40 S50 P60 P70");
}

/// Pauses or resumes; the answer shows that the relay has read the command.
fn pause(player: &mut Raw, on: bool) {
    player.command(1, "pause", 0.0, Amf0Value::Null, &[Amf0Value::Boolean(on), Amf0Value::Number(0.0)]);
    player.wait_status(if on { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" });
}

#[test]
fn a_paused_player_gets_nothing_and_goes_on_at_a_picture() {
    let mut show = Show::begun(Start::Gop);
    let mut player = show.play();
    read_to(&mut player, 1030);
    pause(&mut player, true);
    show.group(2000);
    show.group(3000);
    assert_eq!(player.media_within(SILENCE), None);
    pause(&mut player, false);
    show.group(4000);
    let signs = read_to(&mut player, 4030);
    let (headers, rest) = signs.split_at("m0 v3000 a3000 ".len());
    assert_eq!((headers, rest), ("m0 v3000 a3000 ", "K3000 S3010 P3020 P3030 K4000 S4010 P4020 P4030"));
}

#[test]
fn after_a_short_pause_nothing_is_shown_twice_and_nothing_is_missing() {
    for start in [Start::Gop, Start::Key, Start::Now] {
        let (mut show, mut player) = Show::paused(start);
        for ts_ms in [1040, 1050, 1060] {
            show.write(VIDEO, ts_ms, &picture(false, 4, 100));
        }
        assert_eq!(player.media_within(SILENCE), None);
        // Resuming twice, or without a pause, changes nothing.
        pause(&mut player, false);
        pause(&mut show.witness, false);
        show.group(2000);
        let signs = read_to(&mut player, 2030);
        assert_eq!(signs, "P1040 P1050 P1060 K2000 S2010 P2020 P2030", "{start:?}");
        let signs = read_to(&mut show.witness, 2030);
        assert_eq!(signs.matches('K').count(), 2, "{start:?}: {signs}");
        assert!(signs.ends_with("P1030 P1040 P1050 P1060 K2000 S2010 P2020 P2030"), "{start:?}: {signs}");
    }
}

#[test]
fn after_a_long_pause_a_player_goes_on_as_its_start_says_and_never_back() {
    for (start, expected) in [
        (Start::Gop, "m0 v2000 a2000 K2000 S2010 P2020 P2030 K3000 S3010 P3020 P3030"),
        (Start::Key, "m0 v3000 a3000 K3000 S3010 P3020 P3030"),
        (Start::Now, "m0 v2030 a2030 K3000 S3010 P3020 P3030"),
    ] {
        let (show, mut player) = Show::paused(start);
        show.write(VIDEO, 1040, &picture(false, 4, 100));
        show.group(2000);
        assert_eq!(player.media_within(SILENCE), None);
        pause(&mut player, false);
        // The player's headers show that it has its place, except where it waits for the next key frame.
        let first = if start == Start::Key { String::new() } else { sign(&player.media()) + " " };
        show.group(3000);
        assert_eq!(first + &read_to(&mut player, 3030), expected, "{start:?}");
    }
}

#[test]
fn a_paused_player_without_a_kept_group_waits_for_the_next_key_frame() {
    let (server, port) = relay(StreamConfig { gop_bytes: 0, ..StreamConfig::default() }, ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut player = Raw::play(port, "show");
    last_player(&server, id, 1);
    let mut show = Show { server, port, id, witness: Raw::play(port, "show") };
    show.headers();
    show.group(1000);
    read_to(&mut player, 1030);
    pause(&mut player, true);
    show.write(VIDEO, 1040, &picture(false, 4, 100));
    assert_eq!(player.media_within(SILENCE), None);
    pause(&mut player, false);
    show.write(VIDEO, 1050, &picture(false, 5, 100));
    read_to(&mut show.witness, 1050);
    show.group(2000);
    assert_eq!(read_to(&mut player, 2030), "m0 v2000 a2000 K2000 S2010 P2020 P2030");
}

#[test]
fn a_paused_player_hears_of_the_end() {
    let mut show = Show::begun(Start::Gop);
    let mut player = show.play();
    read_to(&mut player, 1030);
    pause(&mut player, true);
    show.write(VIDEO, 1040, &picture(false, 4, 100));
    show.server.stream_write(show.id, VIDEO, 0, &[], true).unwrap();
    player.wait_status("NetStream.Play.UnpublishNotify");
    assert_eq!(player.media_within(SILENCE), None);
}

/// Asks for kinds of media. The command has no answer; the answer to a later pause shows that it was read.
fn want(player: &mut Raw, what: &str, on: bool) {
    player.command(1, what, 0.0, Amf0Value::Null, &[Amf0Value::Boolean(on)]);
    pause(player, true);
    pause(player, false);
}

#[test]
fn kinds_that_a_player_wants_again_come_with_their_header_and_video_at_a_key_frame() {
    let mut show = Show::begun(Start::Gop);
    let mut player = show.play();
    read_to(&mut player, 1030);
    want(&mut player, "receiveAudio", false);
    show.group(2000);
    assert_eq!(read_to(&mut player, 2030), "K2000 P2020 P2030");
    want(&mut player, "receiveVideo", false);
    // The sound's header changes meanwhile.
    show.write(AUDIO, 2040, &[0xAF, 0, 0x12, 0x10]);
    read_to(&mut show.witness, 2040);
    want(&mut player, "receiveAudio", true);
    show.write(AUDIO, 2050, &[0xAF, 1, 7]);
    show.group(3000);
    let header = player.media();
    assert_eq!((header.type_id, header.ts_ms, &header.body[..]), (AUDIO, 2040, &[0xAF, 0, 0x12, 0x10][..]));
    assert_eq!(read_to(&mut player, 3010), "S2050 S3010");
    want(&mut player, "receiveVideo", true);
    // In the middle of a group, no picture can be shown yet.
    show.write(VIDEO, 3040, &picture(false, 4, 100));
    show.write(AUDIO, 3050, &[0xAF, 1, 7]);
    show.group(4000);
    assert_eq!(read_to(&mut player, 4030), "S3050 v4000 K4000 S4010 P4020 P4030");
    // Asking for media and refusing it at once has no lasting effect.
    want(&mut player, "receiveVideo", false);
    want(&mut player, "receiveVideo", true);
    want(&mut player, "receiveVideo", false);
    show.group(5000);
    assert_eq!(read_to(&mut player, 5010), "S5010");
}

#[test]
fn a_paused_player_that_is_to_get_more_holds_nothing_of_the_log() {
    let mut show = Show::new(Start::Gop);
    show.headers();
    show.group(1000);
    let mut player = show.play();
    read_to(&mut player, 1030);
    want(&mut player, "receiveAudio", false);
    pause(&mut player, true);
    player.command(1, "receiveAudio", 0.0, Amf0Value::Null, &[Amf0Value::Boolean(true)]);
    pause(&mut player, true); // its answer shows that the wish before has been read
    for frame in 0..60 {
        show.write(VIDEO, 2000 + frame * 40, &picture(true, frame as u32, 200_000));
        show.witness.media();
    }
    let held = || show.server.stats(0).unwrap().queue_bytes;
    until("the log is let go", || (held() < 3_000_000).then_some(()));
    pause(&mut player, false);
    show.group(5000);
    let signs = read_to(&mut player, 5010);
    assert!(signs.ends_with("K5000 S5010"), "what it wanted comes where it goes on: {signs}");
}

/// Lets a player in to these kinds; `ask` makes it ask.
fn let_in<T: Send>(server: &RRServer, media: u32, ask: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let asks = |event: &Event| event.kind == EventKind::PlayAsk;
        let event = until("the ask", || server.next_event(10).unwrap().filter(asks));
        server.session_allow(event.session, Decision { media, ..Decision::default() }).unwrap();
        asking.join().unwrap()
    })
}

#[test]
fn the_host_limits_players_to_some_kinds_from_the_first_message_on() {
    let config = ServerConfig { ask: ask::PLAY, ..ServerConfig::default() };
    let server = RRServer::new(config, LevelFilter::Off, None).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let witness = let_in(&server, media::ALL, || Raw::play(port, "show"));
    last_player(&server, id, 1);
    let mut show = Show { server, port, id, witness };
    show.headers();
    show.group(1000);
    read_to(&mut show.witness, 1030);
    let mut sound = let_in(&show.server, media::AUDIO, || Raw::play(port, "show"));
    let mut pictures = let_in(&show.server, media::VIDEO, || Raw::play(port, "show"));
    let mut both = let_in(&show.server, media::AUDIO | media::DATA, || Raw::play(port, "show"));
    last_player(&show.server, id, 4);
    show.group(2000);
    assert_eq!(read_to(&mut sound, 2010), "a1000 S1010 S2010");
    assert_eq!(read_to(&mut pictures, 2030), "v1000 K1000 P1020 P1030 K2000 P2020 P2030");
    assert_eq!(read_to(&mut both, 2010), "m0 a1000 S1010 S2010");

    // A player does not get more than the host allows by wanting more.
    sound.command(1, "receiveVideo", 0.0, Amf0Value::Null, &[Amf0Value::Boolean(true)]);
    // Nor does it get more by a second play: each play keeps its own kinds, whichever relay owns the connection.
    sound.command(0, "createStream", 5.0, Amf0Value::Null, &[]);
    let name = [Amf0Value::Utf8String("show".to_owned())];
    let_in(&show.server, media::VIDEO, || {
        sound.command(2, "play", 0.0, Amf0Value::Null, &name);
        sound.wait_status("NetStream.Play.Start");
    });
    let caught_up = read_to(&mut sound, 2030);
    assert_eq!(caught_up, "v2000 K2000 P2020 P2030");
    show.group(3000);
    let mut signs: Vec<String> = (0..4).map(|_| sign(&sound.media())).collect();
    signs.sort();
    assert_eq!(signs, ["K3000", "P3020", "P3030", "S3010"]);
    assert_eq!(sound.media_within(SILENCE), None);
}

/// An AMF0 string.
fn text(value: &str) -> Vec<u8> {
    [&[2, 0, value.len() as u8], value.as_bytes()].concat()
}

#[test]
fn data_messages_come_all_in_order_bare_to_players_and_wrapped_to_targets() {
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut player = Raw::play(port, "show");
    last_player(&server, id, 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live/copy", listener.local_addr().unwrap().port());
    let target = server.target_add(id, TargetConfig { url, ..TargetConfig::default() }).unwrap();
    let mut publisher = Raw::publish(port, "show");
    // The first message makes the target connect; the push begins with this key frame.
    publisher.send(VIDEO, 0, &picture(true, 0, 100));
    let mut copy = Raw::accept(&listener);
    until("the target's turn", || (server.info(target).unwrap().state == State::InProgress).then_some(()));

    let wrapped = |body: &[u8]| [text("@setDataFrame"), body.to_vec()].concat();
    let amf3 = |body: &[u8]| [&[0], body].concat();
    let cue = [text("onCuePoint"), text("a")].concat();
    let odd = b"\x02\x00\x03\xFF\xFE\xFD\x05".to_vec(); // a name that is no UTF-8
    let none = vec![0x05]; // no name at all
    let sent = [
        (DATA, wrapped(METADATA), METADATA.to_vec()),
        (DATA, cue.clone(), cue.clone()),
        (DATA_AMF3, amf3(&wrapped(METADATA)), amf3(METADATA)),
        (DATA, wrapped(&cue), cue.clone()),
        (DATA, odd.clone(), odd),
        (DATA, none.clone(), none),
        (DATA_AMF3, amf3(&cue), amf3(&cue)),
    ];
    for ((type_id, body, _), ts_ms) in sent.iter().zip(1..) {
        publisher.send(*type_id, ts_ms, body);
    }
    assert_eq!(player.media().type_id, VIDEO);
    assert_eq!(copy.media().type_id, VIDEO);
    for ((type_id, body, bare), ts_ms) in sent.into_iter().zip(1..) {
        assert_eq!(player.media(), Got { type_id, ts_ms, body: bare });
        assert_eq!(copy.media(), Got { type_id, ts_ms, body }, "a target gets what was published");
    }
}

#[test]
fn where_key_frames_stay_away_a_joiner_gets_sound_at_once_and_pictures_with_the_next_one() {
    let stream = StreamConfig { gop_bytes: 0, key_wait_ms: 100, ..StreamConfig::default() };
    let (server, port) = relay(stream, ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let mut witness = Raw::play(port, "show");
    last_player(&server, id, 1);
    let write = |type_id, ts_ms: u32, body: &[u8]| server.stream_write(id, type_id, ts_ms.into(), body, false).unwrap();
    for (type_id, body) in [(DATA, METADATA), (VIDEO, VIDEO_HEADER), (AUDIO, AUDIO_HEADER)] {
        write(type_id, 0, body);
    }
    write(VIDEO, 1000, &picture(true, 1000, 100));
    // A player that came before the relay has seen the key frame would begin there.
    while !sign(&witness.media()).starts_with('K') {}
    let (mut player, mut ts_ms, mut signs) = (Raw::play(port, "show"), 1000, String::new());
    last_player(&server, id, 2);
    let mut kinds_up_to = |last: &str, key: bool| {
        until("what it is to get", || {
            ts_ms += 10;
            write(VIDEO, ts_ms, &picture(key && !signs.contains('K'), ts_ms, 100));
            write(AUDIO, ts_ms, &[0xAF, 1, 7]);
            signs.extend(player.media_within(Duration::from_millis(10)).map(|got| sign(&got).remove(0)));
            signs.ends_with(last).then_some(())
        });
        std::mem::take(&mut signs)
    };
    assert_eq!(kinds_up_to("SSS", false), "mvaSSS", "the headers of all, and sound");
    let with_key = kinds_up_to("P", true);
    assert!(with_key.trim_start_matches('S').starts_with("vK"), "{with_key}");
}

#[test]
fn players_get_metadata_that_ends_as_it_should_and_targets_what_came() {
    // An object without its end mark in an array, and a null behind it.
    let open = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01\x00\x01k\x03\x00\x01n\x05\x00\x00\x09";
    let whole = [&open[..], b"\x00\x00\x09"].concat();
    let behind = [&whole[..], b"\x05"].concat();
    for (metadata, is_mended) in [(Metadata::Mended, true), (Metadata::Verbatim, false)] {
        let (server, port) = relay(StreamConfig { metadata, ..StreamConfig::default() }, ServerConfig::default());
        let (line, lines) = channel();
        let sink = Box::new(move |_, _: &str, text: &str| line.send(text.to_owned()).unwrap_or_default());
        server.set_log(LevelFilter::Info, LogSink::Callback(sink)).unwrap();
        let id = server.stream_create(b"live", b"show", None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtmp://127.0.0.1:{}/live/copy", listener.local_addr().unwrap().port());
        let target = server.target_add(id, TargetConfig { url, ..TargetConfig::default() }).unwrap();
        let mut early = Raw::play(port, "show");
        last_player(&server, id, 1);
        let write = |type_id, ts_ms, body: &[u8]| server.stream_write(id, type_id, ts_ms, body, false).unwrap();
        write(DATA, 0, open);
        write(VIDEO, 0, &picture(true, 0, 100));
        let mut copy = Raw::accept(&listener);
        until("the target's turn", || (server.info(target).unwrap().state == State::InProgress).then_some(()));
        let mut late = Raw::play(port, "show");
        last_player(&server, id, 2);
        write(DATA, 10, &behind);
        write(VIDEO, 20, &picture(false, 20, 100));

        let data = |ts_ms, body: &[u8]| Got { type_id: DATA, ts_ms, body: body.to_vec() };
        for player in [&mut early, &mut late] {
            assert_eq!(player.media(), data(0, if is_mended { &whole } else { open }), "in the log or as a header");
            assert_eq!(sign(&player.media()), "K0");
            assert_eq!(player.media(), data(10, if is_mended { &whole } else { &behind }));
            assert_eq!(sign(&player.media()), "P20", "and all goes on behind it");
        }
        let wrapped = |body: &[u8]| [text("@setDataFrame"), body.to_vec()].concat();
        assert_eq!(copy.media(), data(0, &wrapped(open)));
        assert_eq!(sign(&copy.media()), "K0");
        assert_eq!(copy.media(), data(10, &wrapped(&behind)));
        // The log says it once, however often such metadata comes. Lines keep their order; the last is the server's end.
        drop(server);
        let said = lines.iter().filter(|line| line.contains("metadata does not end as it should")).count();
        assert_eq!(said, usize::from(is_mended));
    }
}
