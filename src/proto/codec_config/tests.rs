//! Sequence headers made by encoders (x264, x265, SVT-AV1, ffmpeg's aac and libopus), and damaged ones.

use super::*;
use crate::fuzzing::tables::bytes;

fn picture(hex: &str) -> Option<(u32, u32, u8, u8)> {
    video(&bytes(hex)).map(|config| (config.width, config.height, config.profile, config.level))
}

#[test]
fn pictures_have_the_size_that_was_encoded() {
    for (hex, width, height, profile, level) in [
        // Cropped, and with emulation prevention bytes.
        (
            "170000000001640020ffe1001b67640020acd94056061e6f011000000300100000030320f183196001000668ebe3cb22c0fdf8f800",
            1366,
            768,
            100,
            32,
        ),
        // 4:4:4 with scaling lists.
        (
            "170000000001f4000affe1001967f4000a919b28e4f1b1f808800000030080000019078912cb01000868ebe3c44c000440fff8f800",
            100,
            50,
            244,
            10,
        ),
        // Interlaced.
        (
            "17000000000164001effe100186764001eacd940b424d8088000000300800000190f8a14cb01000668fba3cb22c0fdf8f800",
            720,
            576,
            100,
            30,
        ),
        // HEVC in Enhanced RTMP, one track of a multitrack message, and the legacy id 12.
        (HEVC, 64, 64, 1, 30),
        (
            "1c000000000101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e95\
             9009a10001002842010101600000030090000003000003001ea020810596564924caf0168080000003008000000f04a20001000744\
             01c172b42240",
            64,
            64,
            1,
            30,
        ),
        ("906176303181000c000a0a00000002afff805f0008", 64, 64, 0, 0),
    ] {
        assert_eq!(picture(hex), Some((width, height, profile, level)), "{hex}");
    }
}

const HEVC: &str = "90687663310101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e95\
                    9009a10001002842010101600000030090000003000003001ea020810596564924caf0168080000003008000000f04a2000100\
                    074401c172b42240";

#[test]
fn sound_has_the_rate_and_channels_that_were_encoded() {
    let sound = |hex: &str| audio(&bytes(hex)).map(|config| (config.sample_rate, config.channels, config.object_type));
    assert_eq!(sound("af00121056e500"), Some((44_100, 2, 2)));
    assert_eq!(sound("af00138856e500"), Some((22_050, 1, 2)));
    assert_eq!(sound("906d7034611188"), Some((48_000, 1, 2)));
    // HE-AAC: 24 kHz and SBR to 48 kHz; an escaped rate of 12345.
    assert_eq!(sound("af002b118800"), Some((48_000, 2, 5)));
    assert_eq!(sound("af00178018 1c90".replace(' ', "").as_str()), Some((12_345, 2, 2)));
    assert_eq!(sound("904f7075734f707573486561640101380180bb0000000000"), Some((48_000, 1, 0)));
}

#[test]
fn a_body_without_sequence_header_has_no_size_and_a_cut_one_no_invented_size() {
    assert_eq!(picture("1701000000"), None, "a frame");
    assert_eq!(picture(""), None);
    assert_eq!(video(&bytes("27010000000123")), None);
    assert_eq!(audio(&bytes("af0112")), None);
    assert_eq!(picture("1700000000"), None);
    assert_eq!(picture("170000000001640020ff"), None);
    assert_eq!(picture("170000000001640020ffe1"), Some((0, 0, 100, 32)));
    assert_eq!(picture("17000000000142001effe100086742001eda744f4000"), Some((0, 0, 66, 30)), "cropped to nothing");
    let whole = bytes(HEVC);
    for len in 0..whole.len() {
        if let Some(config) = video(&whole[..len]) {
            assert!(matches!((config.width, config.height), (0, 0) | (64, 64)), "{len}");
        }
    }
}
