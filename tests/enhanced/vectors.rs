//! The vectors: real encoded frames in E-RTMP messages, kept as FLV files. Here they are made and compared with the
//! files kept, taken apart again and compared with what the encoders made, and shown to the crate's own reader.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rrelay::ffi::rr_frame::rr_frame_parse;
use rrelay::ffi::types::rr_frame;
use rrelay::proto::frame::{self as ours, FrameFacts};

use crate::mp4::{self, Encoded, Sample};
use crate::read::{self, Frame, Packet};
use crate::support::flv::{self, AUDIO, DATA, Tag, VIDEO};
use crate::wrap::{self, END, FRAMES, FRAMES_X, Form, Head, METADATA, Piece, START};

/// A track of a vector.
struct Track {
    id: u8,
    file: &'static str,
    form: Form,
}

/// A vector.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    tracks: &'static [Track],
    /// Whether ModEx has the part of a time below milliseconds.
    nano: bool,
    /// Colours before the pictures, and another extension of no known meaning before key frames.
    extras: bool,
}

const fn track(id: u8, file: &'static str, form: Form) -> Track {
    Track { id, file, form }
}

use Form::{Legacy, ManyTracks, ManyTracksManyCodecs as ManyCodecs, OneTrack, Plain};

/// All vectors. Tracks of one kind, time and form share a message where the form allows that.
pub(crate) const VECTORS: [Vector; 6] = [
    Vector {
        name: "hevc-opus",
        tracks: &[track(0, "hevc.mp4", Plain), track(0, "opus.mp4", Plain)],
        nano: false,
        extras: true,
    },
    Vector {
        name: "av1-aac-modex",
        tracks: &[track(0, "av1.mp4", Plain), track(0, "aac.mp4", Plain)],
        nano: true,
        extras: true,
    },
    Vector {
        name: "one-track",
        tracks: &[
            track(0, "hevc.mp4", Plain),
            track(1, "av1.mp4", OneTrack),
            track(2, "avc.mp4", OneTrack),
            track(3, "avc-small.mp4", OneTrack),
            track(0, "opus.mp4", Plain),
            track(1, "aac.mp4", OneTrack),
            track(7, "opus.mp4", OneTrack),
        ],
        nano: true,
        extras: false,
    },
    Vector {
        name: "many-tracks",
        tracks: &[
            track(0, "avc.mp4", ManyTracks),
            track(1, "avc-small.mp4", ManyTracks),
            track(0, "aac.mp4", ManyTracks),
            track(1, "aac-other.mp4", ManyTracks),
        ],
        nano: false,
        extras: false,
    },
    Vector {
        name: "many-codecs",
        tracks: &[
            track(0, "hevc.mp4", ManyCodecs),
            track(1, "av1.mp4", ManyCodecs),
            track(2, "avc.mp4", ManyCodecs),
            track(0, "opus.mp4", ManyCodecs),
            track(1, "aac.mp4", ManyCodecs),
        ],
        nano: true,
        extras: true,
    },
    Vector {
        name: "legacy-hevc",
        tracks: &[track(0, "hevc.mp4", Legacy), track(0, "aac.mp4", Legacy)],
        nano: false,
        extras: false,
    },
];

impl Vector {
    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/media/{}.flv", self.name))
    }

    /// The messages as they are kept.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        flv::read(&self.path())
    }

    /// The messages made anew.
    fn wrapped(&self) -> Vec<Tag> {
        let sources: Vec<(&Track, Encoded)> = self.tracks.iter().map(|track| (track, mp4::read(track.file))).collect();
        let of = |video| sources.iter().filter(move |(_, encoded)| encoded.is_video() == video);
        let first = |video| of(video).next().unwrap();
        let body = wrap::on_meta_data(first(true).1.four_cc, first(false).1.four_cc);
        let mut tags = vec![Tag { kind: DATA, ts_ms: 0, body }];
        for video in [true, false] {
            if video && self.extras {
                tags.extend(self.all(of(true), video, 0, METADATA, |_| wrap::color_info()));
            }
            tags.extend(self.all(of(video), video, 0, START, |encoded| encoded.config.clone()));
        }
        let mut frames = Vec::new();
        for video in [true, false] {
            let mut left: Vec<(&Track, &Encoded, &Sample)> = of(video)
                .flat_map(|(track, encoded)| encoded.samples.iter().map(move |sample| (*track, encoded, sample)))
                .collect();
            left.sort_by_key(|(_, _, sample)| sample.dts_ns);
            while let Some(&(track, encoded, sample)) = left.first() {
                // Stable: the tracks stay in their order.
                let alone = matches!(track.form, Plain | OneTrack | Legacy);
                let with = |(other, _, its): &(&Track, &Encoded, &Sample)| {
                    other.form == track.form && its.dts_ns == sample.dts_ns && its.key == sample.key
                };
                let group: Vec<_> =
                    if alone { vec![left.remove(0)] } else { left.extract_if(.., |one| with(one)).collect() };
                frames.push(self.frame(track.form, encoded.is_video(), &group));
            }
        }
        frames.sort_by_key(|tag| tag.ts_ms);
        tags.extend(frames);
        let end = tags.last().unwrap().ts_ms;
        for video in [false, true] {
            tags.extend(self.all(of(video), video, end, END, |_| Vec::new()));
        }
        tags
    }

    /// A message for all tracks of a kind, or one for each.
    fn all<'a>(
        &self,
        sources: impl Iterator<Item = &'a (&'a Track, Encoded)>,
        video: bool,
        ts_ms: u32,
        packet: u8,
        payload: impl Fn(&Encoded) -> Vec<u8>,
    ) -> Vec<Tag> {
        let mut messages: Vec<(Form, Vec<Piece>)> = Vec::new();
        for (track, encoded) in sources.filter(|(track, _)| track.form != Legacy || video || packet != END) {
            let piece = Piece { track: track.id, four_cc: encoded.four_cc, payload: payload(encoded) };
            match messages.last_mut() {
                Some((ManyTracks | ManyCodecs, pieces)) => pieces.push(piece),
                _ => messages.push((track.form, vec![piece])),
            }
        }
        let kind = if video { VIDEO } else { AUDIO };
        let message = |(form, pieces): (Form, Vec<Piece>)| {
            let head = Head { video, key: packet != METADATA, packet, form, mod_ex: Vec::new() };
            Tag { kind, ts_ms, body: wrap::message(&head, &pieces) }
        };
        messages.into_iter().map(message).collect()
    }

    /// The frames of one moment in a message.
    fn frame(&self, form: Form, video: bool, group: &[(&Track, &Encoded, &Sample)]) -> Tag {
        let sample = group[0].2;
        // Frames that are shown at once need no composition time, where all of a message do without.
        let at_once = form != Legacy && group.iter().all(|(_, encoded, its)| encoded.reorders() && its.cts_ns == 0);
        let packet = if video && at_once { FRAMES_X } else { FRAMES };
        let pieces = group.iter().map(|(track, encoded, its)| {
            let cts_ms = i32::try_from(its.cts_ns / 1_000_000).unwrap();
            let shifted = video && packet == FRAMES && encoded.reorders();
            let payload = if shifted { wrap::with_cts(cts_ms, &its.bytes) } else { its.bytes.clone() };
            Piece { track: track.id, four_cc: encoded.four_cc, payload }
        });
        let mut mod_ex = Vec::new();
        if self.extras && self.nano && video && sample.key {
            // The first is as large as a size of one byte can say, the second needs two.
            mod_ex.extend([(1, vec![0xee; 255]), (2, vec![0xdd; 256])]);
        }
        if self.nano {
            mod_ex.push((0, ((sample.dts_ns % 1_000_000) as u32).to_be_bytes()[1..].to_vec()));
        }
        let head = Head { video, key: sample.key, packet, form, mod_ex };
        let body = wrap::message(&head, &pieces.collect::<Vec<_>>());
        Tag { kind: if video { VIDEO } else { AUDIO }, ts_ms: (sample.dts_ns / 1_000_000) as u32, body }
    }
}

/// The messages of every vector.
pub(crate) fn all() -> &'static [(&'static Vector, Vec<Tag>)] {
    static ALL: OnceLock<Vec<(&Vector, Vec<Tag>)>> = OnceLock::new();
    ALL.get_or_init(|| VECTORS.iter().map(|vector| (vector, vector.tags())).collect())
}

#[test]
fn the_vectors_are_what_the_wrapper_makes_of_the_encoded_media() {
    let mut bytes = 0;
    for vector in &VECTORS {
        let wrapped = vector.wrapped();
        if std::env::var_os("RR_BLESS").is_some() {
            flv::write(&vector.path(), &wrapped);
        }
        flv::assert_same(&wrapped, &vector.tags());
        bytes += fs::metadata(vector.path()).unwrap().len();
    }
    assert!(bytes < 100_000, "{bytes} bytes");
}

#[test]
fn taken_apart_again_they_are_the_frames_of_the_encoders() {
    for (vector, tags) in all() {
        let mut tracks = read::unpack(tags);
        for Track { id, file, form } in vector.tracks {
            let encoded = mp4::read(file);
            let kind = if encoded.is_video() { VIDEO } else { AUDIO };
            let got = tracks.remove(&(kind, encoded.four_cc, *id)).unwrap_or_else(|| panic!("{} {file}", vector.name));
            assert_eq!(got.config, encoded.config, "{} {file}", vector.name);
            assert_eq!(got.ended, *form != Legacy || kind == VIDEO, "{} {file}", vector.name);
            let expected: Vec<Frame> =
                encoded.samples.iter().map(|sample| frame_of(sample, kind, vector.nano)).collect();
            assert!(got.frames == expected, "{} {file}", vector.name);
        }
        assert!(tracks.is_empty(), "{}: {:?}", vector.name, tracks.keys());
    }
}

fn frame_of(sample: &Sample, kind: u8, nano: bool) -> Frame {
    Frame {
        ts_ms: (sample.dts_ns / 1_000_000) as u32,
        nano_offset: if nano { (sample.dts_ns % 1_000_000) as u32 } else { 0 },
        cts_ms: (sample.cts_ns / 1_000_000) as i32,
        key: kind == VIDEO && sample.key,
        data: sample.bytes.clone(),
    }
}

/// The beginnings of messages, written by hand from the specification, which writer and reader both must agree with.
#[test]
fn the_vectors_begin_as_the_specification_has_it() {
    let begins = |name: &str, kind: u8, number: usize, begin: &[u8]| {
        let (_, tags) = all().iter().find(|(vector, _)| vector.name == name).unwrap();
        let body = &tags.iter().filter(|tag| tag.kind == kind).nth(number).unwrap().body;
        assert!(body.starts_with(begin), "{name} {number}: {:02x?}", &body[..body.len().min(40)]);
    };
    begins("hevc-opus", VIDEO, 0, b"\xa4hvc1\x02\x00\x09colorInfo\x03");
    begins("hevc-opus", VIDEO, 1, b"\x90hvc1\x01");
    begins("hevc-opus", VIDEO, 2, b"\x91hvc1\x00\x00\x42"); // shown 66 ms after its decoding
    begins("hevc-opus", AUDIO, 0, b"\x90OpusOpusHead\x01\x01");
    begins("hevc-opus", AUDIO, 1, b"\x91Opus");
    begins("av1-aac-modex", VIDEO, 1, b"\x90av01\x81");
    begins("av1-aac-modex", VIDEO, 2, &[&[0x97, 0xfe], [0xee; 255].as_slice(), &[0x17, 0xff, 0, 0xff]].concat());
    begins("av1-aac-modex", VIDEO, 3, b"\xa7\x02\x05\x16\x15\x01av01"); // 33.333333 ms
    begins("av1-aac-modex", AUDIO, 0, b"\x90mp4a");
    begins("one-track", VIDEO, 1, b"\x96\x00av01\x01\x81");
    begins("one-track", VIDEO, 4, b"\x97\x02\x00\x00\x00\x01hvc1\x00\x00\x42");
    begins("one-track", VIDEO, 5, b"\x97\x02\x00\x00\x00\x06\x01av01\x01");
    begins("one-track", AUDIO, 1, b"\x95\x00mp4a\x01");
    begins("many-tracks", VIDEO, 0, b"\x96\x10avc1\x00\x00\x00");
    begins("many-tracks", VIDEO, 1, b"\x96\x11avc1\x00\x00");
    begins("many-tracks", AUDIO, 1, b"\x95\x11mp4a\x00\x00\x00");
    begins("many-codecs", VIDEO, 1, b"\x96\x20hvc1\x00\x00\x00");
    begins("many-codecs", AUDIO, 0, b"\x95\x20Opus\x00\x00\x00\x13OpusHead");
    begins("legacy-hevc", VIDEO, 0, b"\x1c\x00\x00\x00\x00\x01");
    begins("legacy-hevc", VIDEO, 1, b"\x1c\x01\x00\x00\x42");
}

/// The independent reader's result for a message, as the crate's facts.
fn expected_facts(tag: &Tag) -> FrameFacts {
    let Some(message) = read::message(tag) else {
        return FrameFacts { metadata: true, ..FrameFacts::default() };
    };
    let first = &message.parts[0];
    FrameFacts {
        key: message.key,
        seq_start: message.packet == Packet::SequenceStart,
        end_of_sequence: message.packet == Packet::SequenceEnd,
        side_config: message.packet == Packet::Config,
        multitrack: message.multitrack,
        codec: u32::from_be_bytes(first.four_cc),
        track: first.track,
        cts_ms: first.cts_ms,
        nano_offset: message.nano_offset,
        ..FrameFacts::default()
    }
}

#[test]
fn the_crate_sees_in_every_message_what_the_reader_sees() {
    for (vector, tags) in all() {
        for (index, tag) in tags.iter().enumerate() {
            let expected = expected_facts(tag);
            let got = ours::facts(tag.kind, &tag.body);
            let many = got.many_tracks;
            assert_eq!(FrameFacts { many_tracks: false, ..got }, expected, "{} {index}: {tag:?}", vector.name);
            let Some(message) = read::message(tag) else { continue };
            assert!(many || message.parts.len() == 1, "{} {index}", vector.name);
            let tracks: Vec<_> = ours::tracks(tag.kind, &tag.body).collect();
            assert_eq!(tracks.len(), message.parts.len(), "{} {index}", vector.name);
            for (track, part) in tracks.iter().zip(&message.parts) {
                assert_eq!((track.id, track.codec), (part.track, u32::from_be_bytes(part.four_cc)));
                // The payload begins with what is before the frame: packet type and composition time.
                let payload = &tag.body[track.start..][..track.len];
                assert!(
                    payload.ends_with(&part.data) && payload.len() <= part.data.len() + 4,
                    "{} {index}",
                    vector.name
                );
            }
        }
    }
}

#[test]
fn rr_frame_parse_says_the_same() {
    for (vector, tags) in all() {
        for (index, tag) in tags.iter().enumerate() {
            let expected = expected_facts(tag);
            let mut frame = rr_frame::empty();
            // SAFETY: the body is readable, the frame is set up.
            let code = unsafe { rr_frame_parse(tag.kind, tag.body.as_ptr().cast(), tag.body.len(), &raw mut frame) };
            assert_eq!(code, 0);
            let flags =
                [expected.key, expected.seq_start, expected.end_of_sequence, expected.metadata, expected.multitrack];
            let flags = flags.into_iter().rev().fold(0_u8, |all, flag| all << 1 | u8::from(flag));
            assert_eq!(
                (frame.r#type, frame.flags, frame.codec, frame.track, frame.cts_ms, frame.len),
                (tag.kind, flags, expected.codec, expected.track, expected.cts_ms, tag.body.len()),
                "{} {index}",
                vector.name
            );
        }
    }
}
