//! Reads the encoded media that the vectors are made from: MP4 files of one track, as ffmpeg writes them. The reader
//! knows no FLV and no RTMP, and gives the encoder's own frames.

use std::fs;
use std::path::Path;

/// One encoded track.
pub(crate) struct Encoded {
    pub(crate) four_cc: [u8; 4],
    /// The decoder's configuration in the form that E-RTMP carries.
    pub(crate) config: Vec<u8>,
    pub(crate) samples: Vec<Sample>,
}

/// One frame. Times are in nanoseconds, cut to whole ones; decoding begins at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) dts_ns: u64,
    pub(crate) cts_ns: i64,
    pub(crate) key: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Encoded {
    pub(crate) fn is_video(&self) -> bool {
        matches!(&self.four_cc, b"hvc1" | b"av01" | b"avc1")
    }

    /// Pictures that are decoded in another order than they are shown have a composition time.
    pub(crate) fn reorders(&self) -> bool {
        matches!(&self.four_cc, b"hvc1" | b"avc1")
    }
}

/// The file of this name among the vectors.
pub(crate) fn read(name: &str) -> Encoded {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/media").join(name);
    let file = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let media = find(&file, &["moov", "trak", "mdia"]);
    let timescale = u64::from(u32_at(find(media, &["mdhd"]), 12));
    let table = find(media, &["minf", "stbl"]);
    let entry = &find(table, &["stsd"])[8..];
    let four_cc = *entry[4..].first_chunk().unwrap();
    let config = config(&four_cc, &entry[8..u32_at(entry, 0) as usize]);

    let sizes = numbers(find(table, &["stsz"]), 8, 1);
    let mut offsets = Vec::new();
    let chunks = numbers(find(table, &["stco"]), 4, 1);
    let runs = numbers(find(table, &["stsc"]), 4, 3);
    let mut next = 0;
    for (chunk, &offset) in (1..).zip(&chunks) {
        let run = runs.chunks(3).rev().find(|run| run[0] <= chunk).unwrap();
        let mut at = offset as usize;
        for _ in 0..run[1] {
            offsets.push(at);
            at += sizes[next] as usize;
            next += 1;
        }
    }
    let durations = run_lengths(find(table, &["stts"]));
    let shifts = child(table, "ctts").map(run_lengths);
    let keys = child(table, "stss").map(|body| numbers(body, 4, 1));

    let ns = |units: u64| units * 1_000_000_000 / timescale;
    let mut dts = 0;
    let mut samples = Vec::new();
    for (index, (&at, &size)) in offsets.iter().zip(&sizes).enumerate() {
        samples.push(Sample {
            dts_ns: ns(dts),
            cts_ns: shifts.as_ref().map_or(0, |shifts| ns(u64::from(shifts[index])).cast_signed()),
            key: keys.as_ref().is_none_or(|keys| keys.contains(&(index as u32 + 1))),
            bytes: file[at..at + size as usize].to_vec(),
        });
        dts += u64::from(durations[index]);
    }
    assert!(samples.len() > 20 && samples.len() == sizes.len(), "{name} has its frames");
    Encoded { four_cc, config, samples }
}

/// The body of E-RTMP v2's SequenceStart, from a sample entry.
fn config(four_cc: &[u8; 4], entry: &[u8]) -> Vec<u8> {
    let (picture, sound) = (entry.get(78..).unwrap_or_default(), entry.get(28..).unwrap_or_default());
    match four_cc {
        b"hvc1" => find(picture, &["hvcC"]).to_vec(),
        b"avc1" => find(picture, &["avcC"]).to_vec(),
        b"av01" => find(picture, &["av1C"]).to_vec(),
        b"mp4a" => {
            let esds = &find(sound, &["esds"])[4..];
            let stream = &descriptor(esds, 3)[3..];
            descriptor(&descriptor(stream, 4)[13..], 5).to_vec()
        }
        b"Opus" => {
            // The box has the fields of the ID header (RFC 7845 5.1) in the other byte order.
            let own = find(sound, &["dOps"]);
            let [_, channels, skip_high, skip_low, r3, r2, r1, r0, gain_high, gain_low, rest @ ..] = own else {
                panic!("{own:?}")
            };
            let mut head = b"OpusHead".to_vec();
            head.extend([1, *channels, *skip_low, *skip_high, *r0, *r1, *r2, *r3, *gain_low, *gain_high]);
            head.extend(rest);
            head
        }
        other => panic!("{other:?}"),
    }
}

/// The body of an MPEG-4 descriptor with this tag, which is the first one here.
fn descriptor(bytes: &[u8], tag: u8) -> &[u8] {
    assert_eq!(bytes[0], tag);
    let (mut at, mut len) = (1, 0);
    loop {
        len = len << 7 | usize::from(bytes[at] & 0x7f);
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return &bytes[at..at + len];
        }
    }
}

fn find<'a>(within: &'a [u8], path: &[&str]) -> &'a [u8] {
    path.iter().fold(within, |within, name| child(within, name).unwrap_or_else(|| panic!("there is no {name}")))
}

/// The body of the first box of this name.
fn child<'a>(mut within: &'a [u8], name: &str) -> Option<&'a [u8]> {
    while within.len() >= 8 {
        let size = u32_at(within, 0) as usize;
        if &within[4..8] == name.as_bytes() {
            return Some(&within[8..size]);
        }
        within = &within[size..];
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().unwrap())
}

/// A table of records of `width` numbers, the count of records at `at`.
fn numbers(table: &[u8], at: usize, width: usize) -> Vec<u32> {
    let count = u32_at(table, at) as usize * width;
    (0..count).map(|index| u32_at(table, at + 4 + index * 4)).collect()
}

/// A table of runs, one number for each sample.
fn run_lengths(table: &[u8]) -> Vec<u32> {
    let runs = numbers(table, 4, 2);
    runs.chunks(2).flat_map(|run| std::iter::repeat_n(run[1], run[0] as usize)).collect()
}
