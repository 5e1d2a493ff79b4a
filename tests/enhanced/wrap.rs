//! Writes messages: frames into the bodies of Enhanced RTMP v1 and v2 ("ExVideoTagHeader", "ExAudioTagHeader" and their
//! bodies), and into the old ones. This writer shares no code with the crate, nor with the reader beside it.

pub(crate) const START: u8 = 0;
pub(crate) const FRAMES: u8 = 1;
pub(crate) const END: u8 = 2;
pub(crate) const FRAMES_X: u8 = 3;
pub(crate) const METADATA: u8 = 4;

/// How tracks stand in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The ids of the FLV specification, and 12 for HEVC.
    Legacy,
    /// E-RTMP without a track.
    Plain,
    OneTrack,
    ManyTracks,
    ManyTracksManyCodecs,
}

/// One track's part of a message.
pub(crate) struct Piece {
    pub(crate) track: u8,
    pub(crate) four_cc: [u8; 4],
    pub(crate) payload: Vec<u8>,
}

/// The fields of a message before its tracks.
pub(crate) struct Head {
    pub(crate) video: bool,
    pub(crate) key: bool,
    pub(crate) packet: u8,
    pub(crate) form: Form,
    /// Type and data of each ModEx, in order.
    pub(crate) mod_ex: Vec<(u8, Vec<u8>)>,
}

/// The body of a message.
pub(crate) fn message(head: &Head, pieces: &[Piece]) -> Vec<u8> {
    let frame_type = if head.key { 1 } else { 2 };
    let multitrack = if head.video { 6 } else { 5 };
    let packet = match head.form {
        Form::Legacy => return legacy(head, frame_type, pieces),
        Form::Plain => head.packet,
        _ => multitrack,
    };
    let mut types: Vec<u8> = head.mod_ex.iter().map(|_| 7).collect();
    types.push(packet);
    let lead = if head.video { 0x80 | frame_type << 4 } else { 0x90 };
    let mut body = vec![lead | types[0]];
    for ((kind, data), next) in head.mod_ex.iter().zip(&types[1..]) {
        match data.len() - 1 {
            len @ ..=254 => body.push(len as u8),
            len => {
                body.push(255);
                body.extend((len as u16).to_be_bytes());
            }
        }
        body.extend(data);
        body.push(kind << 4 | next);
    }
    match head.form {
        Form::Legacy | Form::Plain => {}
        Form::OneTrack => body.push(head.packet),
        Form::ManyTracks => body.push(0x10 | head.packet),
        Form::ManyTracksManyCodecs => body.push(0x20 | head.packet),
    }
    if head.form != Form::ManyTracksManyCodecs {
        assert!(pieces.iter().all(|piece| piece.four_cc == pieces[0].four_cc));
        body.extend(pieces[0].four_cc);
    }
    for piece in pieces {
        if head.form == Form::ManyTracksManyCodecs {
            body.extend(piece.four_cc);
        }
        if head.form != Form::Plain {
            body.push(piece.track);
        }
        if matches!(head.form, Form::ManyTracks | Form::ManyTracksManyCodecs) {
            body.extend(&(piece.payload.len() as u32).to_be_bytes()[1..]);
        }
        body.extend(&piece.payload);
    }
    body
}

/// Always with a composition time, and 0 where it means nothing.
fn legacy(head: &Head, frame_type: u8, pieces: &[Piece]) -> Vec<u8> {
    let [piece] = pieces else { panic!("one track") };
    let mut body = match &piece.four_cc {
        b"hvc1" => vec![frame_type << 4 | 12, head.packet],
        b"avc1" => vec![frame_type << 4 | 7, head.packet],
        b"mp4a" => vec![0xaf, head.packet],
        other => panic!("{other:?}"),
    };
    if head.video && head.packet != FRAMES {
        body.extend([0; 3]);
    }
    body.extend(&piece.payload);
    body
}

/// `payload` behind its composition time.
pub(crate) fn with_cts(cts_ms: i32, payload: &[u8]) -> Vec<u8> {
    [&cts_ms.to_be_bytes()[1..], payload].concat()
}

/// AMF0: a string with its marker.
fn string(text: &str) -> Vec<u8> {
    [&[2], name(text).as_slice()].concat()
}

fn name(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn object(fields: &[(&str, f64)]) -> Vec<u8> {
    let mut bytes = vec![3];
    for (field, value) in fields {
        bytes.extend(name(field));
        bytes.push(0);
        bytes.extend(value.to_be_bytes());
    }
    bytes.extend([0, 0, 9]);
    bytes
}

/// `onMetaData` with the FourCCs as numbers, which is how E-RTMP announces codecs there.
pub(crate) fn on_meta_data(video: [u8; 4], audio: [u8; 4]) -> Vec<u8> {
    let code = |four_cc| f64::from(u32::from_be_bytes(four_cc));
    let fields = [("width", 64.0), ("height", 64.0), ("videocodecid", code(video)), ("audiocodecid", code(audio))];
    [string("onMetaData"), object(&fields)].concat()
}

/// The colours of the pictures, as the payload of a metadata packet.
pub(crate) fn color_info() -> Vec<u8> {
    [string("colorInfo"), object(&[("bitDepth", 8.0), ("colorPrimaries", 1.0)])].concat()
}
