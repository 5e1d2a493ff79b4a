//! The few facts of an audio, video or data body that joining and statistics need; everything else is opaque.
//!
//! No function here fails: a body that cannot be read is not a key frame and has no codec. Bodies are never changed.
//! Sources: FLV specification E.4.2, E.4.3 and E.4.4, Enhanced RTMP v1 and v2 "Enhanced Audio" and "Enhanced Video";
//! the codec ids 12 to 14 are in neither, but encoders use them.

use crate::proto::message::kind;

#[cfg(test)]
mod tests;

/// The facts of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameFacts {
    /// A video frame that can be decoded without others.
    pub key: bool,
    /// A codec's configuration, which joiners need first.
    pub seq_start: bool,
    /// The codec's stream ends here; a new configuration may follow.
    pub end_of_sequence: bool,
    /// Colour metadata (HDR) or the multichannel layout, which joiners need besides the configuration.
    pub side_config: bool,
    /// `onMetaData`, bare or wrapped.
    pub metadata: bool,
    /// A data message wrapped in `@setDataFrame`, as publishers send it.
    pub set_data_frame: bool,
    /// The message is in Enhanced RTMP's multitrack form.
    pub multitrack: bool,
    /// More than one track in this message; `track` and `codec` are those of the first track; [`tracks`] lists all.
    pub many_tracks: bool,
    /// A command frame (start or end of seeking): no picture.
    pub command: bool,
    /// The FourCC as a big-endian number, with legacy ids mapped to one; 0 if there is none.
    pub codec: u32,
    /// The track id; 0 outside multitrack.
    pub track: u8,
    /// Presentation minus decoding time, video only.
    pub cts_ms: i32,
    /// ModEx: nanoseconds to add to the timestamp.
    pub nano_offset: u32,
}

impl FrameFacts {
    /// Whether these are the facts of a key frame, given the message's type.
    pub fn is_key_frame(&self, type_id: u8) -> bool {
        self.key && !self.seq_start && type_id == kind::VIDEO
    }
}

/// One track of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// The track id.
    pub id: u8,
    /// The FourCC, big-endian.
    pub codec: u32,
    /// Where the track's payload begins in the body.
    pub start: usize,
    /// Bytes of the payload; if it is cut off, of the part that is present.
    pub len: usize,
}

/// A FourCC as a number.
pub const fn four_cc(code: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*code)
}

/// Packet types of Enhanced RTMP; first those with the same meaning for audio and video.
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
/// Coded frames whose composition time is 0; video only.
pub(super) const CODED_FRAMES_X: u8 = 3;
const VIDEO_METADATA: u8 = 4;
const AUDIO_MULTICHANNEL: u8 = 4;
const VIDEO_TS_SEQUENCE_START: u8 = 5;
const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;

/// `soundFormat` 9: the Enhanced RTMP header follows.
pub(super) const EX_AUDIO: u8 = 9;
/// Frame types (FLV E.4.3.1).
const FRAME_KEY: u8 = 1;
const FRAME_GENERATED_KEY: u8 = 4;
pub(super) const FRAME_COMMAND: u8 = 5;

/// The facts of one message body.
pub fn facts(type_id: u8, body: &[u8]) -> FrameFacts {
    match (type_id, body) {
        (kind::AUDIO, [first, rest @ ..]) if first >> 4 == EX_AUDIO => audio_enhanced(*first, rest),
        (kind::AUDIO, [first, rest @ ..]) => audio_legacy(*first, rest),
        (kind::VIDEO, [first, rest @ ..]) if first & 0x80 != 0 => video_enhanced(*first, rest),
        (kind::VIDEO, [first, rest @ ..]) => video_legacy(*first, rest),
        (kind::DATA | kind::DATA_AMF3, _) => {
            let bare = strip_set_data_frame(type_id, body);
            let name = match bare {
                Some(at) => data_string(&body[at..]).map(|(name, _)| name).unwrap_or_default(),
                None => data_name(type_id, body),
            };
            FrameFacts { set_data_frame: bare.is_some(), metadata: name == b"onMetaData", ..FrameFacts::default() }
        }
        _ => FrameFacts::default(),
    }
}

fn audio_legacy(first: u8, rest: &[u8]) -> FrameFacts {
    let codec = match first >> 4 {
        0 | 3 => four_cc(b"lpcm"),
        1 => four_cc(b"adpc"),
        2 | 14 => four_cc(b".mp3"),
        4..=6 => four_cc(b"nmos"),
        7 => four_cc(b"alaw"),
        8 => four_cc(b"ulaw"),
        10 => four_cc(b"mp4a"),
        11 => four_cc(b"spex"),
        13 => four_cc(b"Opus"), // used by some Chinese CDNs
        _ => 0,
    };
    let configured = matches!(first >> 4, 10 | 13);
    FrameFacts { codec, seq_start: configured && rest.first() == Some(&0), ..FrameFacts::default() }
}

fn video_legacy(first: u8, rest: &[u8]) -> FrameFacts {
    let frame = first >> 4;
    let codec = match first & 0x0f {
        2 => four_cc(b"FLV1"),
        3 => four_cc(b"FSV1"),
        4 => four_cc(b"VP6F"),
        5 => four_cc(b"VP6A"),
        6 => four_cc(b"FSV2"),
        7 => four_cc(b"avc1"),
        12 => four_cc(b"hvc1"),
        13 => four_cc(b"av01"),
        14 => four_cc(b"vvc1"),
        _ => 0,
    };
    let mut facts = FrameFacts { codec, command: frame == FRAME_COMMAND, ..FrameFacts::default() };
    let key = matches!(frame, FRAME_KEY | FRAME_GENERATED_KEY);
    if !matches!(first & 0x0f, 7 | 12..=14) {
        facts.key = key;
        return facts;
    }
    // AVCVIDEOPACKET: packet type and composition time before the data; later codec ids use the same layout.
    match rest.first() {
        Some(0) => facts.seq_start = !facts.command,
        Some(1) => facts.key = key,
        Some(2) => facts.end_of_sequence = true,
        _ => {}
    }
    facts.cts_ms = rest.get(1..4).map_or(0, signed24);
    facts
}

/// The fields between the first byte and the payload.
struct ExHeader<'a> {
    packet: u8,
    /// A command frame: one byte follows, and no tracks.
    command: bool,
    /// The multitrack type: 0 one track, 1 several tracks of one codec, 2 several tracks of several codecs.
    multitrack: Option<u8>,
    codec: u32,
    nano_offset: u32,
    /// The payload (in multitrack it begins with the first track's head); `None` if the header is cut off.
    rest: Option<&'a [u8]>,
}

/// Reads the header. `command_frame` comes from the frame type and is ignored for metadata packets.
fn ex_header(mut packet: u8, multitrack_type: u8, command_frame: bool, mut rest: &[u8]) -> ExHeader<'_> {
    let mut header = ExHeader { packet, command: false, multitrack: None, codec: 0, nano_offset: 0, rest: None };
    while packet == MOD_EX {
        // The size minus one is in one byte or, if that is 255, in the next two.
        let (len, at) = match rest {
            [0xff, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])) + 1, 3),
            [len, ..] if *len != 0xff => (usize::from(*len) + 1, 1),
            _ => return header,
        };
        let (Some(data), Some(next)) = (rest.get(at..at + len), rest.get(at + len)) else { return header };
        if next >> 4 == 0 && len >= 3 {
            header.nano_offset = unsigned24(data);
        }
        packet = next & 0x0f;
        rest = &rest[at + len + 1..];
    }
    header.packet = packet;
    if command_frame && packet != VIDEO_METADATA {
        header.command = true;
        header.rest = Some(rest);
        return header;
    }
    if packet == multitrack_type {
        let [kinds, after @ ..] = rest else { return header };
        header.multitrack = Some(kinds >> 4);
        header.packet = kinds & 0x0f;
        rest = after;
        if kinds >> 4 == 2 {
            header.codec = rest.first_chunk().map_or(0, four_cc); // that of the first track, read again with the track
            header.rest = Some(rest);
            return header;
        }
    }
    if let Some((code, after)) = rest.split_first_chunk() {
        header.codec = four_cc(code);
        header.rest = Some(after);
    }
    header
}

impl ExHeader<'_> {
    fn track(&self) -> u8 {
        let at = if self.multitrack == Some(2) { 4 } else { 0 };
        match (self.multitrack, self.rest) {
            (Some(_), Some(rest)) => rest.get(at).copied().unwrap_or(0),
            _ => 0,
        }
    }

    /// Where the first track's payload begins.
    fn payload(&self) -> &[u8] {
        let head = match self.multitrack {
            None => 0,
            Some(0) => 1,
            Some(2) => 8,
            Some(_) => 4,
        };
        self.rest.and_then(|rest| rest.get(head..)).unwrap_or_default()
    }

    fn facts(&self) -> FrameFacts {
        FrameFacts {
            multitrack: self.multitrack.is_some(),
            many_tracks: self.multitrack.is_some_and(|kind| kind != 0),
            codec: self.codec,
            track: self.track(),
            nano_offset: self.nano_offset,
            ..FrameFacts::default()
        }
    }
}

fn audio_enhanced(first: u8, rest: &[u8]) -> FrameFacts {
    let header = ex_header(first & 0x0f, AUDIO_MULTITRACK, false, rest);
    let mut facts = header.facts();
    if header.rest.is_some() {
        facts.seq_start = header.packet == SEQUENCE_START;
        facts.end_of_sequence = header.packet == SEQUENCE_END;
        facts.side_config = header.packet == AUDIO_MULTICHANNEL;
    }
    facts
}

fn video_enhanced(first: u8, rest: &[u8]) -> FrameFacts {
    let frame = first >> 4 & 0x07;
    let header = ex_header(first & 0x0f, VIDEO_MULTITRACK, frame == FRAME_COMMAND, rest);
    let mut facts = header.facts();
    facts.command = header.command;
    if header.rest.is_none() || header.command {
        return facts;
    }
    match header.packet {
        SEQUENCE_START | VIDEO_TS_SEQUENCE_START => facts.seq_start = true,
        SEQUENCE_END => facts.end_of_sequence = true,
        VIDEO_METADATA => facts.side_config = true,
        // Coded frames (1, and 3 without a composition time) and unknown packet types depend on the frame type.
        _ => facts.key = matches!(frame, FRAME_KEY | FRAME_GENERATED_KEY),
    }
    // Only the codecs with reordered pictures have a composition time.
    let reorders = [four_cc(b"avc1"), four_cc(b"hvc1"), four_cc(b"vvc1")].contains(&header.codec);
    if header.packet == CODED_FRAMES && reorders {
        facts.cts_ms = header.payload().get(..3).map_or(0, signed24);
    }
    facts
}

/// The packet type of an Enhanced RTMP body, of its frame or its tracks; `None` for the older form, for a command
/// frame, and if the header is cut off.
pub fn packet_type(type_id: u8, body: &[u8]) -> Option<u8> {
    let header = enhanced_header(type_id, body)?;
    header.rest.filter(|_| !header.command).map(|_| header.packet)
}

/// The header of an Enhanced RTMP body; `None` for the older form.
fn enhanced_header(type_id: u8, body: &[u8]) -> Option<ExHeader<'_>> {
    match (type_id, body) {
        (kind::AUDIO, [first, rest @ ..]) if first >> 4 == EX_AUDIO => {
            Some(ex_header(first & 0x0f, AUDIO_MULTITRACK, false, rest))
        }
        (kind::VIDEO, [first, rest @ ..]) if first & 0x80 != 0 => {
            Some(ex_header(first & 0x0f, VIDEO_MULTITRACK, first >> 4 & 0x07 == FRAME_COMMAND, rest))
        }
        _ => None,
    }
}

/// The tracks of an audio or video message: one outside multitrack, none if the body cannot be read.
pub fn tracks(type_id: u8, body: &[u8]) -> impl Iterator<Item = Track> + '_ {
    let header = enhanced_header(type_id, body);
    let (form, codec, rest) = match &header {
        Some(header) => (header.multitrack, header.codec, header.rest),
        None if matches!(type_id, kind::AUDIO | kind::VIDEO) && !body.is_empty() => {
            (None, facts(type_id, body).codec, Some(&body[1..]))
        }
        None => (None, 0, None),
    };
    let mut at = rest.map_or(body.len(), |rest| body.len() - rest.len());
    let mut done = rest.is_none();
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let Some(form) = form else {
            done = true;
            return Some(Track { id: 0, codec, start: at, len: body.len() - at });
        };
        let codec = if form == 2 { body.get(at..)?.first_chunk().map(four_cc)? } else { codec };
        at += if form == 2 { 4 } else { 0 };
        let id = *body.get(at)?;
        at += 1;
        let len = if form == 0 {
            done = true;
            body.len() - at
        } else {
            let len = unsigned24(body.get(at..at + 3)?) as usize;
            at += 3;
            len.min(body.len() - at)
        };
        let start = at;
        at += len;
        Some(Track { id, codec, start, len })
    })
}

/// The name of a data message: its first string, empty where it has none.
pub fn data_name(type_id: u8, body: &[u8]) -> &[u8] {
    data_string(&body[data_start(type_id, body)..]).map(|(name, _)| name).unwrap_or_default()
}

/// `@setDataFrame` as an AMF0 string: before a data message, it asks the server to keep that message for later joiners.
pub const SET_DATA_FRAME: &[u8; 16] = b"\x02\x00\x0d@setDataFrame";

/// Where the inner message begins in one that is wrapped in `@setDataFrame`; `None` if the message is not wrapped. The
/// inner part has no format byte, so it goes out as type 18 and not as type 15.
pub fn strip_set_data_frame(type_id: u8, body: &[u8]) -> Option<usize> {
    let start = data_start(type_id, body);
    match data_string(&body[start..]) {
        Some((b"@setDataFrame", len)) => Some(start + len),
        _ => None,
    }
}

/// Where the AMF of a data message begins. Type 15 begins with a format byte, 0 from every known peer; some peers omit
/// it.
pub fn data_start(type_id: u8, body: &[u8]) -> usize {
    usize::from(type_id == kind::DATA_AMF3 && body.first() == Some(&0))
}

/// The string at the head of `data`, AMF0, or AMF3 after the switch marker, and the bytes it takes with its markers.
fn data_string(data: &[u8]) -> Option<(&[u8], usize)> {
    match data {
        [0x02, high, low, rest @ ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            Some((rest.get(..len)?, 3 + len))
        }
        [0x11, 0x06, head, rest @ ..] if head & 0x81 == 0x01 => {
            let len = usize::from(head >> 1); // up to 63 bytes: all names of interest are short
            Some((rest.get(..len)?, 3 + len))
        }
        _ => None,
    }
}

fn unsigned24(bytes: &[u8]) -> u32 {
    bytes.iter().take(3).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn signed24(bytes: &[u8]) -> i32 {
    let number = unsigned24(bytes).cast_signed();
    if number >= 1 << 23 { number - (1 << 24) } else { number }
}
