//! The parts of a stream that players in browsers accept, and their form: their demultiplexers treat anything unknown
//! as an error and stop.
//!
//! One track of each kind; no ModEx, no multitrack, no command frames, no metadata of codecs; AVC and AAC in FLV's
//! older form, the only one that such players read. Codecs that they do not know are left out. A narrowed body is a few
//! bytes followed by a part of the original body, so no body is copied. The reference is mpegts.js 1.8.2
//! (`src/demux/flv-demuxer.js`).

use crate::proto::frame::{
    self, CODED_FRAMES, CODED_FRAMES_X, EX_AUDIO, FRAME_COMMAND, SEQUENCE_END, SEQUENCE_START, four_cc,
};
use crate::proto::framing::Short;
use crate::proto::message::kind;

/// Most bytes that go before a part of a body.
pub(crate) const LEAD_BYTES: usize = 5;

const AVC1: u32 = four_cc(b"avc1");
const HVC1: u32 = four_cc(b"hvc1");
const AV01: u32 = four_cc(b"av01");
const MP4A: u32 = four_cc(b"mp4a");
const MP3: u32 = four_cc(b".mp3");
const OPUS: u32 = four_cc(b"Opus");
const FLAC: u32 = four_cc(b"fLaC");

/// The track of each kind that a player gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tracks {
    /// The audio track.
    pub audio: u8,
    /// The video track.
    pub video: u8,
}

/// A body as a browser's player takes it: some bytes, then a part of the body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Narrowed {
    /// The bytes before the part.
    pub lead: Short<LEAD_BYTES>,
    /// Where the part begins.
    pub start: usize,
    /// And where it ends.
    pub end: usize,
}

/// Narrows an audio or video message of `len` bytes for a browser's player; `body` has its first bytes, or all bytes of
/// a multitrack message. `None` if such a player gets nothing of it.
pub(crate) fn narrow(type_id: u8, body: &[u8], len: usize, tracks: Tracks) -> Option<Narrowed> {
    let first = *body.first()?;
    let (enhanced, wanted) = match type_id {
        kind::AUDIO => (first >> 4 == EX_AUDIO, tracks.audio),
        kind::VIDEO => (first & 0x80 != 0, tracks.video),
        _ => return None,
    };
    if !enhanced {
        let taken = wanted == 0 && if type_id == kind::AUDIO { audio_as_it_is(body) } else { video_as_it_is(body) };
        return taken.then_some(Narrowed { lead: Short::default(), start: 0, end: len });
    }
    let packet = frame::packet_type(type_id, body)?;
    let track = frame::tracks(type_id, body).find(|track| track.id == wanted)?;
    let frame_type = first & 0x70;
    let lead = match type_id {
        kind::AUDIO => audio(packet, track.codec)?,
        _ => video(packet, frame_type, track.codec)?,
    };
    let end = track.start + track.len;
    // A track that reaches the end of the bytes at hand reaches the end of the message.
    Some(Narrowed { lead, start: track.start, end: if end == body.len() { len } else { end } })
}

/// Whether sound in the older form has a codec that players know: AAC, MP3, PCM.
fn audio_as_it_is(body: &[u8]) -> bool {
    body.first().is_some_and(|first| matches!(first >> 4, 2 | 3 | 10))
}

/// Whether a picture in the older form has a codec that players know: AVC, or HEVC by its usual number.
fn video_as_it_is(body: &[u8]) -> bool {
    let [first, packet, ..] = body else { return false };
    first >> 4 != FRAME_COMMAND && matches!(first & 0x0f, 7 | 12) && *packet <= SEQUENCE_END
}

fn audio(packet: u8, codec: u32) -> Option<Short<LEAD_BYTES>> {
    let mut lead = Short::default();
    match (codec, packet) {
        (MP4A, SEQUENCE_START | CODED_FRAMES) => lead.put(&[0xaf, packet]),
        // 44 kHz, 16 bits, stereo: players read the real values from the frame.
        (MP3, CODED_FRAMES) => lead.put(&[0x2f]),
        (OPUS | FLAC, SEQUENCE_START | CODED_FRAMES | SEQUENCE_END) => {
            lead.put(&[EX_AUDIO << 4 | packet]);
            lead.put(&codec.to_be_bytes());
        }
        _ => return None,
    }
    Some(lead)
}

fn video(packet: u8, frame_type: u8, codec: u32) -> Option<Short<LEAD_BYTES>> {
    let mut lead = Short::default();
    match (codec, packet) {
        (AVC1, SEQUENCE_START | SEQUENCE_END) => lead.put(&[frame_type | 7, packet, 0, 0, 0]),
        // Here the payload begins with the composition time.
        (AVC1, CODED_FRAMES) => lead.put(&[frame_type | 7, 1]),
        (AVC1, CODED_FRAMES_X) => lead.put(&[frame_type | 7, 1, 0, 0, 0]),
        // AV1 has no composition time, so both packet types mean the same, and players know one of them.
        (HVC1, SEQUENCE_START..=CODED_FRAMES_X) | (AV01, SEQUENCE_START..=CODED_FRAMES_X) => {
            let packet = if codec == AV01 && packet == CODED_FRAMES_X { CODED_FRAMES } else { packet };
            lead.put(&[0x80 | frame_type | packet]);
            lead.put(&codec.to_be_bytes());
        }
        _ => return None,
    }
    Some(lead)
}

/// Corrects `hasAudio` and `hasVideo` where the metadata has them: players rely on them, and would wait for ever for a
/// kind that does not come.
pub(crate) fn correct_metadata(body: &mut [u8], audio: bool, video: bool) {
    const BOOLEAN: u8 = 1;
    for (name, is_there) in [(&b"\x00\x08hasAudio"[..], audio), (&b"\x00\x08hasVideo"[..], video)] {
        let Some(at) = body.windows(name.len()).position(|window| window == name) else { continue };
        if let Some([BOOLEAN, value, ..]) = body.get_mut(at + name.len()..) {
            *value = is_there.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_sent(type_id: u8, body: &[u8], tracks: Tracks) -> Option<Vec<u8>> {
        let narrowed = narrow(type_id, body, body.len(), tracks)?;
        let whole = [narrowed.lead.bytes(), &body[narrowed.start..narrowed.end]].concat();
        if !frame::facts(type_id, body).multitrack && body.len() > 20 {
            let of_the_first = narrow(type_id, &body[..20], body.len(), tracks)?;
            let also = [of_the_first.lead.bytes(), &body[of_the_first.start..of_the_first.end]].concat();
            assert_eq!(also, whole, "the first bytes are enough");
        }
        Some(whole)
    }

    fn video_of(body: &[u8]) -> Option<Vec<u8>> {
        as_sent(kind::VIDEO, body, Tracks::default())
    }

    fn audio_of(body: &[u8]) -> Option<Vec<u8>> {
        as_sent(kind::AUDIO, body, Tracks::default())
    }

    fn ex(first: u8, codec: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        [&[first][..], codec, payload].concat()
    }

    #[test]
    fn what_players_know_stays_as_it_is() {
        for body in [&[0x17, 0, 0, 0, 0, 1, 2][..], &[0x27, 1, 0, 0, 9, 3], &[0x1c, 1, 0, 0, 0, 4], &[0x17, 2, 0, 0, 0]]
        {
            assert_eq!(video_of(body).as_deref(), Some(body));
        }
        for body in [&[0xaf, 0, 0x12, 0x10][..], &[0xaf, 1, 9], &[0x2f, 0xff], &[0x3e, 0, 1]] {
            assert_eq!(audio_of(body).as_deref(), Some(body));
        }
        for packet in 0..=3 {
            let body = ex(0x90 | packet, b"hvc1", b"data");
            assert_eq!(video_of(&body), Some(body));
        }
        for packet in 0..=2 {
            let (video, audio) = (ex(0xa0 | packet, b"av01", b"data"), ex(0x90 | packet, b"Opus", b"data"));
            assert_eq!(video_of(&video), Some(video));
            assert_eq!(audio_of(&audio), Some(audio));
        }
    }

    #[test]
    fn avc_and_aac_take_their_older_form() {
        assert_eq!(video_of(&ex(0x90, b"avc1", b"conf")).as_deref(), Some(&b"\x17\0\0\0\0conf"[..]));
        assert_eq!(video_of(&ex(0x91, b"avc1", b"\0\0\x07nal")).as_deref(), Some(&b"\x17\x01\0\0\x07nal"[..]));
        assert_eq!(video_of(&ex(0xa3, b"avc1", b"nal")).as_deref(), Some(&b"\x27\x01\0\0\0nal"[..]));
        assert_eq!(video_of(&ex(0x92, b"avc1", b"")).as_deref(), Some(&b"\x17\x02\0\0\0"[..]));
        assert_eq!(audio_of(&ex(0x90, b"mp4a", b"\x12\x10")).as_deref(), Some(&b"\xaf\0\x12\x10"[..]));
        assert_eq!(audio_of(&ex(0x91, b"mp4a", b"frame")).as_deref(), Some(&b"\xaf\x01frame"[..]));
        assert_eq!(audio_of(&ex(0x91, b".mp3", b"\xff\xfb")).as_deref(), Some(&b"\x2f\xff\xfb"[..]));
        assert_eq!(video_of(&ex(0xa3, b"av01", b"obu")), Some(ex(0xa1, b"av01", b"obu")));
    }

    #[test]
    fn the_first_bytes_say_where_a_body_begins_and_the_length_where_it_ends() {
        let payload = [7; 100];
        for body in [
            [&[0x17, 1, 0, 0, 0][..], &payload].concat(),
            ex(0x93, b"hvc1", &payload),
            [&[0x97, 2, 0, 0, 9, 0x03][..], b"avc1", &payload].concat(),
        ] {
            assert!(video_of(&body).unwrap().ends_with(&payload));
        }
    }

    #[test]
    fn what_would_end_a_player_is_left_out() {
        for body in [
            ex(0x94, b"hvc1", b"hdr"),  // metadata of a codec
            ex(0x90, b"vp09", b"conf"), // codecs that it has no form for
            ex(0x91, b"vvc1", b"data"),
            vec![0xd1, 0], // a command frame
            vec![0x57, 0, 0],
            vec![0x12, 1, 2], // Sorenson
            vec![0x17],
            vec![0x97, 0xff], // a ModEx that is cut off
            vec![],
        ] {
            assert_eq!(video_of(&body), None, "{body:?}");
        }
        for body in
            [ex(0x94, b"Opus", b"\0\x02"), ex(0x91, b"ac-3", b"frame"), ex(0x92, b"mp4a", b""), vec![0x7f, 1], vec![]]
        {
            assert_eq!(audio_of(&body), None, "{body:?}");
        }
    }

    #[test]
    fn one_track_is_taken_out_of_several_and_out_of_mod_ex() {
        // ModEx with nanoseconds before coded frames of AVC.
        let mod_ex = [&[0x97, 2, 0, 0, 9, 0x01][..], b"avc1", b"\0\0\0nal"].concat();
        assert_eq!(video_of(&mod_ex).as_deref(), Some(&b"\x17\x01\0\0\0nal"[..]));
        let one = [&[0x96, 0x01][..], b"hvc1", &[2], b"\0\0\0nal"].concat();
        assert_eq!(video_of(&one), None, "another track");
        let second = Tracks { video: 2, audio: 0 };
        assert_eq!(as_sent(kind::VIDEO, &one, second), Some(ex(0x91, b"hvc1", b"\0\0\0nal")));
        let many = [&[0x96, 0x20][..], b"avc1", &[0, 0, 0, 2], b"aa", b"hvc1", &[1, 0, 0, 3], b"hhh"].concat();
        assert_eq!(video_of(&many).as_deref(), Some(&b"\x17\0\0\0\0aa"[..]));
        assert_eq!(as_sent(kind::VIDEO, &many, Tracks { video: 1, audio: 0 }), Some(ex(0x90, b"hvc1", b"hhh")));
        assert_eq!(as_sent(kind::VIDEO, &[0x17, 1, 0, 0, 0], second), None, "what is not multitrack is track 0");
    }

    #[test]
    fn metadata_is_made_to_say_what_there_is() {
        let mut body = b"..\x00\x08hasAudio\x01\x01\x00\x08hasVideo\x01\x00\x00\x08hasCuePo".to_vec();
        correct_metadata(&mut body, false, true);
        assert_eq!(body, b"..\x00\x08hasAudio\x01\x00\x00\x08hasVideo\x01\x01\x00\x08hasCuePo");
        for whole in [&b"\x00\x08hasAudio"[..], b"\x00\x08hasAudio\x02\x01", b""] {
            let mut body = whole.to_vec();
            correct_metadata(&mut body, false, false);
            assert_eq!(body, whole);
        }
    }
}
