//! A target gets the stream's messages, byte for byte, or exactly the part of them that the host asked for.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/ingest.rs"]
mod ingest;
#[path = "support/rig.rs"]
mod rig;

use std::time::{Duration, Instant};

use ingest::{Got, Ingest, Script};
use rig::{AUDIO, AUDIO_HEADER, DATA, Rig, VIDEO, VIDEO_HEADER, inter_frame, key_frame, push, sound, until};
use rrelay::config::{SlowPolicy, Start, TargetConfig, media};
use rrelay::session::State;

/// `onMetaData` with one number, bare.
const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x05width\0\x40\x94\0\0\0\0\0\0\0\0\x09";
const CUE: &[u8] = b"\x02\0\x0aonCuePoint\x05";

/// Metadata as servers want it.
fn wrapped() -> Vec<u8> {
    [b"\x02\0\x0d@setDataFrame", METADATA].concat()
}

/// A stream's beginning and some more, with bodies around all chunk sizes.
fn program() -> Vec<(u8, u32, Vec<u8>)> {
    let mut all = vec![
        (DATA, 7_000, METADATA.to_vec()),
        (VIDEO, 7_000, VIDEO_HEADER.to_vec()),
        (AUDIO, 7_000, AUDIO_HEADER.to_vec()),
        (VIDEO, 7_000, key_frame(0, 150_000)),
    ];
    let lens = [1, 119, 120, 4_087, 4_088, 59_990, 59_991, 59_992, 60_000, 70_000, 130_000];
    for (n, &len) in (1..).zip(&lens) {
        let ts_ms = 7_000 + n * 40;
        all.push((AUDIO, ts_ms - 15, sound(n)));
        all.push((VIDEO, ts_ms, inter_frame(n, len)));
        all.push((DATA, ts_ms, CUE.to_vec()));
    }
    all
}

/// The program's messages that a target with these settings gets.
fn gets(config: TargetConfig, stream_id: u32) -> (Vec<Got>, u32) {
    let ingest = Ingest::new(move |_| Script { stream_id, ..Script::default() });
    let rig = Rig::new();
    rig.server.target_add(rig.stream, TargetConfig { url: ingest.url(), ..config.clone() }).unwrap();
    let program = program();
    for (type_id, ts_ms, body) in &program {
        rig.write(*type_id, *ts_ms, body);
    }
    let kinds = [(AUDIO, media::AUDIO), (VIDEO, media::VIDEO), (DATA, media::DATA)];
    let wants = |type_id| kinds.iter().any(|(kind, bit)| *kind == type_id && config.media & bit != 0);
    let count = program.iter().filter(|(type_id, ..)| wants(*type_id)).count();
    until("all of it", || (ingest.visits().first()?.media.len() >= count).then_some(()));
    std::thread::sleep(Duration::from_millis(30));
    let visits = ingest.visits();
    (visits[0].media.clone(), visits[0].chunk_size)
}

/// The program as it should arrive.
fn expected(stream_id: u32, clock: impl Fn(u32) -> u32, wants: impl Fn(u8) -> bool) -> Vec<Got> {
    let one = |(type_id, ts_ms, body): (u8, u32, Vec<u8>)| {
        // Metadata describes the whole stream, so at the beginning it has time 0.
        let (ts_ms, body) = if body == METADATA { (0, wrapped()) } else { (clock(ts_ms), body) };
        Got { type_id, stream_id, ts_ms, body }
    };
    program().into_iter().filter(|(type_id, ..)| wants(*type_id)).map(one).collect()
}

#[test]
fn media_arrives_byte_equal_whatever_stream_id_and_chunk_size() {
    for (stream_id, chunk_size) in [(1, 60_000), (7, 60_000), (1, 128), (1, 4_096), (3, 65_536), (1, 16_777_215)] {
        let (got, announced) = gets(TargetConfig { chunk_size, ..push("") }, stream_id);
        let expected = expected(stream_id, |ts_ms| ts_ms, |_| true);
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let head = |got: &Got| format!("type {} ts {} len {}", got.type_id, got.ts_ms, got.body.len());
            let (is, not) = (head(got), head(expected));
            assert!(got == expected, "message {at} of stream id {stream_id}, chunk size {chunk_size}: {is}, not {not}");
        }
        assert_eq!((got.len(), announced), (expected.len(), chunk_size));
    }
}

#[test]
fn only_the_wanted_kinds_arrive() {
    for (bits, type_ids) in
        [(media::AUDIO, &[AUDIO][..]), (media::VIDEO, &[VIDEO]), (media::VIDEO | media::DATA, &[VIDEO, DATA])]
    {
        let (got, _) = gets(TargetConfig { media: bits, ..push("") }, 1);
        assert!(got == expected(1, |ts_ms| ts_ms, |type_id| type_ids.contains(&type_id)), "media {bits}");
    }
}

#[test]
fn a_clock_from_zero_begins_at_zero() {
    let (got, _) = gets(TargetConfig { from_zero: true, ..push("") }, 1);
    assert!(got == expected(1, |ts_ms| ts_ms - 7_000, |_| true));
}

#[test]
fn a_clock_from_zero_begins_with_the_first_frame_whatever_time_headers_have() {
    let (ingest, rig) = (Ingest::good(), Rig::new());
    let config = TargetConfig { from_zero: true, ..push(&ingest.url()) };
    rig.server.target_add(rig.stream, config).unwrap();
    rig.write(DATA, 0, METADATA);
    rig.write(VIDEO, 0, VIDEO_HEADER);
    rig.write(AUDIO, 0, AUDIO_HEADER);
    rig.write(VIDEO, 700_000, &key_frame(0, 100));
    rig.write(AUDIO, 700_010, &sound(1));
    rig.write(DATA, 0, METADATA); // again, as some encoders send it
    rig.write(VIDEO, 700_040, &inter_frame(1, 100));
    let times = until("all of it", || {
        let visits = ingest.visits();
        let media = &visits.first()?.media;
        (media.len() >= 7).then(|| media.iter().map(|got| got.ts_ms).collect::<Vec<_>>())
    });
    assert_eq!(times, [0, 0, 0, 0, 10, 10, 40]);
}

/// One track of a multitrack video message: HEVC, a key frame or its header.
fn track(id: u8, header: bool, n: u8) -> Vec<u8> {
    [&[0x96, u8::from(!header)][..], b"hvc1", &[id, n, 1, 2, 3]].concat()
}

#[test]
fn only_the_wanted_tracks_arrive() {
    let (ingest, rig) = (Ingest::good(), Rig::new());
    let config = TargetConfig { tracks: 0b1010, ..push(&ingest.url()) };
    rig.server.target_add(rig.stream, config).unwrap();
    for id in 0..5 {
        rig.write(VIDEO, 0, &track(id, true, 0));
    }
    rig.write(VIDEO, 0, VIDEO_HEADER);
    for id in 0..5 {
        rig.write(VIDEO, 0, &track(id, false, 1));
    }
    rig.write(VIDEO, 40, &key_frame(1, 50)); // not multitrack: track 0
    let both = [&[0x96, 0x11][..], b"hvc1", &[0, 0, 0, 1, 9, 3, 0, 0, 1, 9]].concat();
    let neither = [&[0x96, 0x11][..], b"hvc1", &[0, 0, 0, 1, 9, 2, 0, 0, 1, 9]].concat();
    rig.write(VIDEO, 80, &neither);
    rig.write(VIDEO, 80, &both);
    let bodies = until("the message of many tracks", || {
        let bodies = ingest.visits().first()?.bodies(VIDEO);
        (bodies.last() == Some(&both)).then_some(bodies)
    });
    let (one, three) = (|header, n| track(1, header, n), |header, n| track(3, header, n));
    let headers = &bodies[..2];
    assert_eq!(headers, [one(true, 0), three(true, 0)], "headers of other tracks stay away too");
    assert!(!bodies.contains(&track(0, false, 1)) && !bodies.contains(&neither));
    assert!(!bodies.iter().any(|body| body[0] == 0x17), "what is not multitrack is track 0");
}

#[test]
fn filters_change_while_it_runs_and_new_media_begins_at_a_key_frame_with_its_header() {
    let (ingest, mut rig) = (Ingest::good(), Rig::new());
    let with = |bits| TargetConfig { media: bits, ..push(&ingest.url()) };
    let target = rig.server.target_add(rig.stream, with(media::AUDIO)).unwrap();
    rig.begin(0);
    rig.wait_for(target, State::InProgress);
    let mut n = 0;
    let mut both_until = |rig: &mut Rig, what: &str, done: &dyn Fn(&[Got]) -> bool| {
        until(what, || {
            n += 1;
            rig.write(AUDIO, n * 20, &sound(n));
            rig.frame(n * 20, 200);
            done(&ingest.visits()[0].media).then_some(())
        });
    };
    both_until(&mut rig, "sound", &|got| got.len() > 30);
    assert!(ingest.visits()[0].bodies(VIDEO).is_empty());
    rig.server.target_update(target, with(media::ALL)).unwrap();
    both_until(&mut rig, "pictures", &|got| got.iter().filter(|got| got.type_id == VIDEO).count() > 30);
    {
        let visits = ingest.visits();
        let pictures = visits[0].bodies(VIDEO);
        assert_eq!(pictures[0], VIDEO_HEADER);
        assert_eq!(pictures[1][..2], [0x17, 1], "a key frame comes first");
        let numbers: Vec<u8> = pictures[1..].iter().map(|body| body[8]).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "and no frame is left out after it");
        let sounds: Vec<Vec<u8>> = visits[0].bodies(AUDIO).into_iter().filter(|body| body[1] == 1).collect();
        let number = |body: &Vec<u8>| u32::from_be_bytes(body[2..6].try_into().unwrap());
        assert!(sounds.windows(2).all(|pair| number(&pair[1]) == number(&pair[0]) + 1), "the sound has no gap");
    }
    rig.server.target_update(target, with(media::VIDEO)).unwrap();
    both_until(&mut rig, "silence", &|got| got.iter().rev().take(20).all(|got| got.type_id == VIDEO));
    assert_eq!(ingest.count(), 1, "all on one connection");
    assert_eq!(rig.states(target).last(), Some(&State::InProgress));
}

#[test]
fn another_url_reconnects_at_once_and_in_order() {
    let (one, other, mut rig) = (Ingest::good(), Ingest::good(), Rig::new());
    let slow = |url: &str| TargetConfig { retry_min_ms: 60_000, retry_max_ms: 60_000, ..push(url) };
    let target = rig.server.target_add(rig.stream, slow(&one.url())).unwrap();
    rig.begin(0);
    rig.wait_for(target, State::InProgress);
    let key = Some(b"other?x=1".to_vec());
    let new = TargetConfig { key, ..slow(&format!("rtmp://127.0.0.1:{}/app", other.port)) };
    rig.server.target_update(target, new).unwrap();
    rig.wait_times(target, State::InProgress, 2);
    assert!(!rig.states(target).contains(&State::Recovering), "no failure");
    {
        let visits = other.visits();
        assert_eq!((visits[0].app.as_str(), visits[0].key.as_str()), ("app", "other?x=1"));
    }
    until("goodbye", || one.visits()[0].commands.join(" ").ends_with("FCUnpublish deleteStream").then_some(()));
    let wrong = rig.server.target_update(target, push("http://no")).unwrap_err();
    assert_eq!(wrong.kind, rrelay::error::RRError::Arg);
    assert_eq!((one.count(), other.count()), (1, 1), "a refused update changes nothing");
}

#[test]
fn no_more_than_max_kbps_is_sent_and_what_is_beyond_it_is_lag() {
    let (ingest, mut rig) = (Ingest::good(), Rig::new());
    let capped = TargetConfig {
        max_kbps: Some(800), // 100,000 bytes a second
        queue_bytes: 100_000,
        slow_policy: SlowPolicy::Reconnect,
        slow_ms: Some(60_000),
        ..push(&ingest.url())
    };
    let target = rig.server.target_add(rig.stream, capped.clone()).unwrap();
    rig.begin(0);
    rig.wait_for(target, State::InProgress);
    let begin = Instant::now();
    // Until more was sent than the limit's reserve, and something was dropped, however slowly a loaded machine feeds
    // it.
    let bytes = until("more than it may have at once, and a jump over what is too much", || {
        let ts_ms = rig.frames * 10;
        rig.frame(ts_ms, 5_000); // some 500,000 bytes a second
        std::thread::sleep(Duration::from_millis(10));
        let stats = rig.server.stats(target).unwrap();
        let enough = begin.elapsed() > Duration::from_millis(1_500) && stats.bytes_out > 120_000;
        (enough && stats.dropped_runs > 0).then_some(stats.bytes_out)
    });
    let most = 100_000.0 * (begin.elapsed().as_secs_f64() + 1.5);
    assert!((bytes as f64) < most, "{bytes} of {most}");
    rig.server.target_update(target, TargetConfig { max_kbps: None, ..capped }).unwrap();
    until("all there is", || {
        let ts_ms = rig.frames * 10;
        let last = rig.frame(ts_ms, 5_000);
        std::thread::sleep(Duration::from_millis(20));
        (ingest.visits()[0].bodies(VIDEO).last() == Some(&last)).then_some(())
    });
    assert_eq!(ingest.count(), 1);
}

#[test]
fn a_target_that_comes_to_a_running_stream_begins_where_its_start_says() {
    let mut rig = Rig::new();
    rig.begin(1_000);
    let seen = Ingest::good();
    let witness = rig.server.target_add(rig.stream, push(&seen.url())).unwrap();
    rig.wait_for(witness, State::InProgress);
    rig.write(VIDEO, 1_040, &inter_frame(1, 100));
    rig.write(VIDEO, 1_080, &inter_frame(2, 100));
    until("the relay is at the newest frame", || (seen.visits()[0].bodies(VIDEO).len() >= 4).then_some(()));
    let starts = [Start::Gop, Start::Key, Start::Now];
    let ingests = starts.map(|_| Ingest::good());
    let targets: Vec<_> = starts
        .iter()
        .zip(&ingests)
        .map(|(&start, to)| rig.server.target_add(rig.stream, TargetConfig { start, ..push(&to.url()) }).unwrap())
        .collect();
    for (at, &target) in targets.iter().enumerate() {
        // The target that waits for a key frame has no media yet; the others get media at once.
        rig.wait_for(target, if at == 1 { State::Waiting } else { State::InProgress });
    }
    // Headers show that a target has its place; the waiting one has its place once its server has its `publish`.
    until("all have their places", || {
        let there =
            |at: usize| ingests[at].visits().first().is_some_and(|visit| visit.commands.iter().any(|c| c == "publish"));
        (0..3).all(there).then_some(())
    });
    rig.write(VIDEO, 1_120, &inter_frame(3, 100));
    rig.write(VIDEO, 1_160, &key_frame(4, 100));
    rig.write(VIDEO, 1_200, &inter_frame(5, 100));
    for (ingest, numbers) in ingests.iter().zip([&[0, 1, 2, 3, 4, 5][..], &[4, 5], &[3, 4, 5]]) {
        let got = until("the newest frame", || {
            let bodies = ingest.visits().first()?.bodies(VIDEO);
            (bodies.last()?.get(8) == Some(&5)).then_some(bodies)
        });
        assert_eq!(got[0], VIDEO_HEADER);
        assert_eq!(got[1..].iter().map(|body| body[8]).collect::<Vec<_>>(), numbers);
    }
}
