//! Takes messages apart, written from the Enhanced RTMP v2 specification ("Enhanced Audio", "Enhanced Video") and the
//! FLV specification (E.4.2, E.4.3). This reader shares no code with the crate or with the writer of the messages, and
//! takes only messages that are exactly as specified.

use std::collections::BTreeMap;

use crate::support::flv::{self, AUDIO, Tag, VIDEO};

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    SequenceStart,
    CodedFrames,
    SequenceEnd,
    /// Colours (video), speaker layout (audio).
    Config,
}

/// One track's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) four_cc: [u8; 4],
    pub(crate) track: u8,
    pub(crate) cts_ms: i32,
    pub(crate) data: Vec<u8>,
}

/// A media message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) packet: Packet,
    /// The frame type of a picture.
    pub(crate) key: bool,
    pub(crate) multitrack: bool,
    pub(crate) nano_offset: u32,
    pub(crate) parts: Vec<Part>,
}

/// A body that is read from its front.
struct Bits<'a>(&'a [u8]);

impl<'a> Bits<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        assert!(len <= self.0.len(), "{len} bytes more are announced, {} are there", self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number(&mut self, len: usize) -> usize {
        self.take(len).iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte))
    }

    /// Two of four bits.
    fn halves(&mut self) -> (u8, u8) {
        let byte = self.take(1)[0];
        (byte / 16, byte % 16)
    }

    fn four_cc(&mut self) -> [u8; 4] {
        self.take(4).try_into().unwrap()
    }

    fn signed24(&mut self) -> i32 {
        let number = self.number(3) as i32;
        if number < 0x80_0000 { number } else { number - 0x100_0000 }
    }
}

/// A media message; `None` for data.
pub(crate) fn message(tag: &Tag) -> Option<Message> {
    let mut bits = Bits(&tag.body);
    let (high, low) = match tag.kind {
        AUDIO | VIDEO => bits.halves(),
        _ => return None,
    };
    let video = tag.kind == VIDEO;
    let message = match (video, high) {
        (true, 8..) => {
            let frame_type = high - 8;
            assert!(matches!(frame_type, 1 | 2) || low == 4, "a frame type, {frame_type}");
            enhanced(&mut bits, true, frame_type == 1, low)
        }
        (false, 9) => enhanced(&mut bits, false, false, low),
        _ => legacy(&mut bits, video, high, low),
    };
    Some(message)
}

fn enhanced(bits: &mut Bits<'_>, video: bool, key: bool, mut packet_type: u8) -> Message {
    let mut nano_offset = 0;
    while packet_type == 7 {
        let mut size = bits.number(1) + 1;
        if size == 256 {
            size = bits.number(2) + 1;
        }
        let data = bits.take(size);
        let (extension, next) = bits.halves();
        if extension == 0 {
            nano_offset = Bits(data).number(3) as u32;
            assert!(nano_offset <= 999_999);
        }
        packet_type = next;
    }
    let multitrack = packet_type == if video { 6 } else { 5 };
    let mut form = None;
    if multitrack {
        let (kind, inner) = bits.halves();
        assert!(kind <= 2, "a kind of multitrack, {kind}");
        (form, packet_type) = (Some(kind), inner);
    }
    let mut four_cc = if form == Some(2) { [0; 4] } else { bits.four_cc() };
    let packet = match (video, packet_type) {
        (_, 0) => Packet::SequenceStart,
        (_, 1) | (true, 3) => Packet::CodedFrames,
        (_, 2) => Packet::SequenceEnd,
        (_, 4) => Packet::Config,
        other => panic!("a packet type, {other:?}"),
    };
    let mut parts = Vec::new();
    loop {
        if form == Some(2) {
            four_cc = bits.four_cc();
        }
        let known: &[&[u8; 4]] = if video { &[b"hvc1", b"av01", b"avc1"] } else { &[b"Opus", b"mp4a"] };
        assert!(known.contains(&&four_cc), "a FourCC, {four_cc:?}");
        let track = if multitrack { bits.number(1) as u8 } else { 0 };
        let len = if form.is_some_and(|form| form != 0) { bits.number(3) } else { bits.0.len() };
        let mut payload = Bits(bits.take(len));
        let shifted = video && packet_type == 1 && &four_cc != b"av01";
        let cts_ms = if shifted { payload.signed24() } else { 0 };
        parts.push(Part { four_cc, track, cts_ms, data: payload.0.to_vec() });
        if bits.0.is_empty() {
            break;
        }
    }
    Message { packet, key: key && packet == Packet::CodedFrames, multitrack, nano_offset, parts }
}

fn legacy(bits: &mut Bits<'_>, video: bool, high: u8, low: u8) -> Message {
    let four_cc = match (video, high, low) {
        (true, 1 | 2, 7) => *b"avc1",
        (true, 1 | 2, 12) => *b"hvc1",
        (false, 10, 15) => *b"mp4a",
        other => panic!("a codec, {other:?}"),
    };
    let packet = match bits.number(1) {
        0 => Packet::SequenceStart,
        1 => Packet::CodedFrames,
        2 if video => Packet::SequenceEnd,
        other => panic!("a packet type, {other}"),
    };
    let cts_ms = if video { bits.signed24() } else { 0 };
    let key = video && high == 1 && packet == Packet::CodedFrames;
    let part = Part { four_cc, track: 0, cts_ms, data: bits.0.to_vec() };
    Message { packet, key, multitrack: false, nano_offset: 0, parts: vec![part] }
}

/// A track: message type, FourCC, track id.
pub(crate) type Name = (u8, [u8; 4], u8);

/// A track, put together from its messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The configuration in force at the end.
    pub(crate) config: Vec<u8>,
    pub(crate) frames: Vec<Frame>,
    /// Whether its sequence has ended.
    pub(crate) ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) ts_ms: u32,
    pub(crate) nano_offset: u32,
    pub(crate) cts_ms: i32,
    pub(crate) key: bool,
    pub(crate) data: Vec<u8>,
}

/// The tracks that some messages carry. No frame comes without a configuration, or after the end.
pub(crate) fn unpack(tags: &[Tag]) -> BTreeMap<Name, Unpacked> {
    let mut tracks: BTreeMap<Name, Unpacked> = BTreeMap::new();
    for tag in tags.iter().filter(|tag| tag.kind != flv::DATA) {
        let message = message(tag).unwrap();
        for part in message.parts {
            let track = tracks.entry((tag.kind, part.four_cc, part.track)).or_default();
            assert!(!track.ended, "{tag:?} after the end");
            match message.packet {
                Packet::SequenceStart => track.config = part.data,
                Packet::CodedFrames => {
                    assert!(!track.config.is_empty(), "{tag:?} before the configuration");
                    track.frames.push(Frame {
                        ts_ms: tag.ts_ms,
                        nano_offset: message.nano_offset,
                        cts_ms: part.cts_ms,
                        key: message.key,
                        data: part.data,
                    });
                }
                Packet::SequenceEnd => track.ended = true,
                Packet::Config => {}
            }
        }
    }
    tracks
}
