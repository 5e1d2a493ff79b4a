//! The facts of media bodies, form by form.

use super::*;
use crate::fuzzing::tables::bytes;

fn video(hex: &str) -> FrameFacts {
    facts(kind::VIDEO, &bytes(hex))
}

fn audio(hex: &str) -> FrameFacts {
    facts(kind::AUDIO, &bytes(hex))
}

#[test]
fn legacy_avc_tells_configuration_key_frame_and_composition_time() {
    let base = FrameFacts { codec: four_cc(b"avc1"), ..FrameFacts::default() };
    assert_eq!(video("17 00 000000 0142"), FrameFacts { seq_start: true, ..base });
    assert_eq!(video("17 01 000050 00"), FrameFacts { key: true, cts_ms: 80, ..base });
    assert_eq!(video("27 01 ffffd8 00"), FrameFacts { cts_ms: -40, ..base });
    assert_eq!((video("27 01 800000").cts_ms, video("27 01 7fffff").cts_ms), (-8_388_608, 8_388_607));
    assert_eq!(video("17 02 000000"), FrameFacts { end_of_sequence: true, ..base });
    assert_eq!(video("57 00"), FrameFacts { command: true, ..base }, "a seek mark is not a configuration");
    assert_eq!(video("17"), base, "cut off: not a key frame");
}

#[test]
fn legacy_ids_map_to_four_ccs() {
    for (hex, code, key) in [
        ("1c 01 000000", b"hvc1", true),
        ("1d 01 000000", b"av01", true),
        ("1e 01 000000", b"vvc1", true),
        ("12 00", b"FLV1", true),
        ("22 00", b"FLV1", false),
        ("14 00", b"VP6F", true),
        ("47 01 000000", b"avc1", true),
    ] {
        let got = video(hex);
        assert_eq!((got.codec, got.key, got.seq_start), (four_cc(code), key, false), "{hex}");
    }
    for (hex, code, seq_start) in [
        ("af 00 1210", b"mp4a", true),
        ("af 01 21", b"mp4a", false),
        ("2f ff", b".mp3", false),
        ("e2 00", b".mp3", false),
        ("72 00", b"alaw", false),
        ("8e 00", b"ulaw", false),
        ("b2 00", b"spex", false),
        ("df 00", b"Opus", true),
    ] {
        let got = audio(hex);
        assert_eq!((got.codec, got.seq_start, got.key), (four_cc(code), seq_start, false), "{hex}");
    }
}

#[test]
fn enhanced_video_packets_tell_their_kind_codec_and_composition_time() {
    let hevc = FrameFacts { codec: four_cc(b"hvc1"), ..FrameFacts::default() };
    assert_eq!(video("90 68766331 01"), FrameFacts { seq_start: true, ..hevc });
    assert_eq!(video("91 68766331 000028 00"), FrameFacts { key: true, cts_ms: 40, ..hevc });
    assert_eq!(video("a1 68766331 ffffff 00"), FrameFacts { cts_ms: -1, ..hevc });
    assert_eq!(video("93 68766331 00"), FrameFacts { key: true, ..hevc });
    assert_eq!(video("a3 68766331 00"), hevc);
    assert_eq!(video("92 68766331"), FrameFacts { end_of_sequence: true, ..hevc });
    assert_eq!(video("d4 68766331 02"), FrameFacts { side_config: true, ..hevc }, "the frame type means nothing here");
    let behind = video("d7 02 000001 04 68766331 02");
    assert_eq!(behind, FrameFacts { side_config: true, nano_offset: 1, ..hevc }, "nor behind an extension");
    let av1 = FrameFacts { codec: four_cc(b"av01"), ..FrameFacts::default() };
    assert_eq!(video("91 61763031 123456"), FrameFacts { key: true, ..av1 }, "AV1 has no composition time");
    assert_eq!(video("95 61763031 00"), FrameFacts { seq_start: true, ..av1 }, "as MPEG-2 TS");
    assert_eq!(video("d1 00"), FrameFacts { command: true, ..FrameFacts::default() });
    assert_eq!(video("91 6876"), FrameFacts::default(), "cut off");
}

#[test]
fn enhanced_audio_packets_tell_their_kind_and_codec() {
    let opus = FrameFacts { codec: four_cc(b"Opus"), ..FrameFacts::default() };
    assert_eq!(audio("90 4f707573 00"), FrameFacts { seq_start: true, ..opus });
    assert_eq!(audio("91 4f707573 00"), opus);
    assert_eq!(audio("92 4f707573"), FrameFacts { end_of_sequence: true, ..opus });
    assert_eq!(audio("94 4f707573 0102"), FrameFacts { side_config: true, ..opus });
    let track = FrameFacts { multitrack: true, track: 3, ..opus };
    assert_eq!(audio("95 00 4f707573 03 00"), FrameFacts { seq_start: true, ..track });
    assert_eq!(audio("95 01 4f707573 03 00"), track);
}

#[test]
fn multitrack_video_tells_its_tracks_and_the_first_ones_codec() {
    let avc = FrameFacts { codec: four_cc(b"avc1"), multitrack: true, ..FrameFacts::default() };
    assert_eq!(video("96 01 61766331 02 000010 00"), FrameFacts { key: true, track: 2, cts_ms: 16, ..avc });
    let many = video("96 11 61766331 01 000005 000020 aabb 02 000004 000000 cc");
    assert_eq!(many, FrameFacts { key: true, many_tracks: true, track: 1, cts_ms: 32, ..avc });
    let codecs = video("96 20 68766331 01 000002 aabb 61763031 04 000001 cc");
    let expected = FrameFacts { codec: four_cc(b"hvc1"), seq_start: true, many_tracks: true, track: 1, ..avc };
    assert_eq!(codecs, expected);
}

#[test]
fn the_tracks_of_a_message_are_listed_with_their_payloads() {
    let list = |type_id, hex: &str| {
        let body = bytes(hex);
        tracks(type_id, &body)
            .map(|track| (track.id, track.codec, body[track.start..][..track.len].to_vec()))
            .collect::<Vec<_>>()
    };
    let (avc, av1, hevc) = (four_cc(b"avc1"), four_cc(b"av01"), four_cc(b"hvc1"));
    assert_eq!(list(kind::VIDEO, "17 01 000000 aa"), [(0, avc, vec![1, 0, 0, 0, 0xaa])]);
    assert_eq!(list(kind::VIDEO, "93 68766331 aa"), [(0, hevc, vec![0xaa])]);
    assert_eq!(list(kind::VIDEO, "96 03 61766331 02 aa"), [(2, avc, vec![0xaa])]);
    assert_eq!(
        list(kind::VIDEO, "96 20 68766331 01 000002 aabb 61763031 04 000001 cc"),
        [(1, hevc, vec![0xaa, 0xbb]), (4, av1, vec![0xcc])]
    );
    assert_eq!(
        list(kind::VIDEO, "96 13 61766331 01 ffffff aabb"),
        [(1, avc, vec![0xaa, 0xbb])],
        "cut to what is there"
    );
    assert_eq!(list(kind::VIDEO, "96 13 61766331 01 00"), []);
    assert_eq!(list(kind::AUDIO, ""), []);
    assert_eq!(list(kind::DATA, "02 0000"), []);
}

#[test]
fn mod_ex_is_stepped_over_and_its_nanoseconds_are_read() {
    let base = FrameFacts { codec: four_cc(b"avc1"), key: true, nano_offset: 999_999, ..FrameFacts::default() };
    assert_eq!(video("97 02 0f423f 01 61766331 000000"), base);
    assert_eq!(video("97 02 0f423f 06 01 61766331 05 000000"), FrameFacts { multitrack: true, track: 5, ..base });
    let twice = video("97 02 0f423f 07 00 aa 13 61766331");
    assert_eq!(twice, base, "an unknown extension behind a known one");
    let long = format!("97 ff 00ff {} 13 61766331", "00".repeat(256));
    assert_eq!(video(&long), FrameFacts { nano_offset: 0, ..base });
    assert_eq!(audio("97 02 000001 01 4f707573").nano_offset, 1);
    for cut in ["97", "97 02", "97 02 0f42", "97 02 0f423f", "97 ff 00", "97 ff ffff 00"] {
        assert!(!video(cut).key, "{cut}");
    }
}

#[test]
fn data_messages_are_recognised_by_name_bare_or_wrapped_in_amf0_and_amf3() {
    let bare = bytes("02 000a 6f6e4d65746144617461 05");
    let wrapped = [bytes("02 000d 40736574446174614672616d65"), bare.clone()].concat();
    let amf3 = [vec![0], wrapped.clone()].concat();
    assert_eq!(data_name(kind::DATA, &bare), b"onMetaData");
    assert_eq!(data_name(kind::DATA, &wrapped), b"@setDataFrame");
    assert_eq!(data_name(kind::DATA_AMF3, &amf3), b"@setDataFrame");
    assert_eq!(strip_set_data_frame(kind::DATA, &bare), None);
    for (type_id, body) in [(kind::DATA, &wrapped), (kind::DATA_AMF3, &amf3), (kind::DATA_AMF3, &wrapped)] {
        let at = strip_set_data_frame(type_id, body).unwrap();
        assert_eq!(&body[at..], &bare[..]);
        let got = facts(type_id, body);
        assert!(got.metadata && got.set_data_frame);
    }
    let got = facts(kind::DATA, &bare);
    assert!(got.metadata && !got.set_data_frame);
    let switched = bytes("00 11 06 15 6f6e4d65746144617461");
    assert_eq!(data_name(kind::DATA_AMF3, &switched), b"onMetaData");
    for odd in ["", "00", "05", "02 0005 61", "02 000d 40736574446174614672616d65"] {
        assert!(!facts(kind::DATA, &bytes(odd)).metadata, "{odd}");
    }
}

#[test]
fn no_body_of_any_length_panics() {
    for type_id in 0..=u8::MAX {
        for first in 0..=u8::MAX {
            for len in 0..12 {
                let body = [vec![first], vec![first; len]].concat();
                facts(type_id, &body);
                assert!(tracks(type_id, &body).count() <= 12);
            }
        }
    }
}
