//! The commands a client sends, each a message of its own shape; and the exports that send just one.

use std::ffi::c_int;

use super::amf_encode::Output;
use super::inner::Session;
use super::life::on_session;
use super::send::send_packet;
use super::types::*;

/// Chunk streams by their content.
const COMMANDS: c_int = 3;
const PUBLISH: c_int = 4;
const PLAY: c_int = 8;

const LARGE: u8 = 0;
const MEDIUM: u8 = 1;
const INVOKE: u8 = 20;

/// Room of a message that holds strings of known lengths: each costs at most five bytes, a number nine.
const SPARE_BYTES: usize = 512;

/// A message body that is being written.
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(64) }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes AMF with `room` bytes of space. False: it did not fit.
    pub(super) fn encode(&mut self, room: usize, body: impl FnOnce(&mut Output<'_>) -> Option<()>) -> bool {
        let start = self.bytes.len();
        self.bytes.resize(start + room, 0);
        let mut output = Output::new(&mut self.bytes[start..]);
        let good = body(&mut output).is_some();
        let len = output.len();
        self.bytes.truncate(start + len);
        good
    }

    /// A packet over the bytes, which must outlive it.
    pub(super) fn packet(&mut self, channel: c_int, header: u8, kind: u8) -> RTMPPacket {
        RTMPPacket {
            m_headerType: header,
            m_packetType: kind,
            m_nChannel: channel,
            m_nBodySize: self.bytes.len() as u32,
            m_body: self.bytes.as_mut_ptr().cast(),
            ..RTMPPacket::EMPTY
        }
    }
}

/// The properties in which commands differ.
#[derive(Clone, Copy)]
struct Shape {
    channel: c_int,
    header: u8,
    /// Message stream id.
    stream: c_int,
    /// The call waits for an answer.
    queue: bool,
}

/// A command about the connection, unanswered.
const PLAIN: Shape = Shape { channel: COMMANDS, header: MEDIUM, stream: 0, queue: false };

/// Sends a command: name, the next transaction, null, and the values that `rest` writes, with `room` bytes beyond the
/// usual.
fn command(
    r: Session,
    name: &[u8],
    shape: Shape,
    room: usize,
    rest: impl FnOnce(&mut Output<'_>) -> Option<()>,
) -> bool {
    r.m_numInvokes.set(r.m_numInvokes.get().wrapping_add(1));
    let transaction = f64::from(r.m_numInvokes.get());
    answer(r, name, transaction, shape, room, rest)
}

/// Sends a command with a given transaction: an answer has that of the call it answers.
fn answer(
    r: Session,
    name: &[u8],
    transaction: f64,
    shape: Shape,
    room: usize,
    rest: impl FnOnce(&mut Output<'_>) -> Option<()>,
) -> bool {
    let mut message = Message::new();
    let good = message.encode(SPARE_BYTES + room, |output| {
        output.string(name)?;
        output.number(transaction)?;
        output.null()?;
        rest(output)
    });
    if !good {
        return false;
    }
    let mut packet = message.packet(shape.channel, shape.header, INVOKE);
    packet.m_nInfoField2 = shape.stream;
    send_packet(r, &mut packet, shape.queue)
}

/// A command with one string.
fn with_text(r: Session, name: &[u8], text: &[u8], shape: Shape) -> bool {
    command(r, name, shape, text.len(), |output| output.string(text))
}

pub(super) fn release_stream(r: Session) -> bool {
    let path = r.Link.playpath.get();
    with_text(r, b"releaseStream", path.bytes(), PLAIN)
}

pub(super) fn fc_publish(r: Session) -> bool {
    let path = r.Link.playpath.get();
    with_text(r, b"FCPublish", path.bytes(), PLAIN)
}

pub(super) fn fc_unpublish(r: Session) -> bool {
    let path = r.Link.playpath.get();
    with_text(r, b"FCUnpublish", path.bytes(), PLAIN)
}

pub(super) fn fc_subscribe(r: Session, path: &[u8]) -> bool {
    with_text(r, b"FCSubscribe", path, Shape { queue: true, ..PLAIN })
}

pub(super) fn usher_token(r: Session) -> bool {
    let token = r.Link.usherToken.get();
    with_text(r, b"NetStream.Authenticate.UsherToken", token.bytes(), PLAIN)
}

pub(super) fn secure_token_response(r: Session, response: &[u8]) -> bool {
    answer(r, b"secureTokenResponse", 0.0, PLAIN, response.len(), |output| output.string(response))
}

pub(super) fn create_stream(r: Session) -> bool {
    command(r, b"createStream", Shape { queue: true, ..PLAIN }, 0, |_| Some(()))
}

pub(super) fn delete_stream(r: Session, stream: c_int) -> bool {
    command(r, b"deleteStream", PLAIN, 0, |output| output.number(stream.into()))
}

pub(super) fn publish(r: Session) -> bool {
    let path = r.Link.playpath.get();
    let path = path.bytes();
    let shape = Shape { channel: PUBLISH, header: LARGE, stream: r.m_stream_id.get(), queue: true };
    command(r, b"publish", shape, path.len(), |output| {
        output.string(path)?;
        output.string(b"live")
    })
}

/// `play`'s start time for live streams only.
const LIVE_START_MS: f64 = -1000.0;

pub(super) fn play(r: Session) -> bool {
    let path = r.Link.playpath.get();
    let path = path.bytes();
    let (live, from, to) = (r.Link.lFlags.get() & RTMP_LF_LIVE != 0, r.Link.seekTime.get(), r.Link.stopTime.get());
    let shape = Shape { channel: PLAY, header: LARGE, stream: r.m_stream_id.get(), queue: true };
    command(r, b"play", shape, path.len(), |output| {
        output.string(path)?;
        output.number(if live { LIVE_START_MS } else { from.max(0).into() })?;
        if to != 0 {
            output.number(f64::from(to) - f64::from(from))?;
        }
        Some(())
    })
}

/// Sends the playlist that `play` will go through. This command has no transaction.
pub(super) fn set_playlist(r: Session) -> bool {
    let path = r.Link.playpath.get();
    let path = path.bytes();
    let shape = Shape { channel: PLAY, header: LARGE, stream: r.m_stream_id.get(), queue: true };
    answer(r, b"set_playlist", 0.0, shape, path.len(), |output| {
        output.put(&[AMF_ECMA_ARRAY as u8, 0, 0, 0, AMF_OBJECT as u8])?;
        output.named_string(b"0", path)?;
        output.end_mark()
    })
}

pub(super) fn send_pause(r: Session, on: bool, time: c_int) -> bool {
    let shape = Shape { channel: PLAY, queue: true, ..PLAIN };
    command(r, b"pause", shape, 0, |output| {
        output.boolean(on)?;
        output.number(time.into())
    })
}

/// Pauses at the media's current time, or resumes from there.
pub(super) fn pause(r: Session, on: bool) -> bool {
    if on {
        r.m_pauseStamp.set(r.channel_time(r.m_mediaChannel.get()));
    }
    let stamp = r.m_pauseStamp.get() as c_int;
    send_pause(r, on, stamp)
}

fn seek(r: Session, time: c_int) -> bool {
    r.m_read.flags.set(r.m_read.flags.get() | RTMP_READ_SEEKING);
    r.m_read.nResumeTS.set(0);
    let shape = Shape { channel: PLAY, queue: true, ..PLAIN };
    command(r, b"seek", shape, 0, |output| output.number(time.into()))
}

pub(super) fn check_bandwidth(r: Session) -> bool {
    command(r, b"_checkbw", Shape { header: LARGE, ..PLAIN }, 0, |_| Some(()))
}

pub(super) fn check_bandwidth_result(r: Session, transaction: f64) -> bool {
    let count = f64::from(r.m_nBWCheckCounter.get());
    r.m_nBWCheckCounter.set(r.m_nBWCheckCounter.get().wrapping_add(1));
    answer(r, b"_result", transaction, PLAIN, 0, |output| output.number(count))
}

pub(super) fn pong(r: Session, transaction: f64) -> bool {
    answer(r, b"pong", transaction, PLAIN, 0, |_| Some(()))
}

/// Sends the connect command, its fields in librtmp's order.
pub(super) fn connect(r: Session) -> bool {
    r.m_numInvokes.set(r.m_numInvokes.get().wrapping_add(1));
    let transaction = f64::from(r.m_numInvokes.get());
    let publisher = r.is_publisher();
    let encoding = (r.m_fEncoding.get() != 0.0 || r.m_bSendEncoding.get() != 0).then_some(r.m_fEncoding.get());
    let codecs = (r.m_fAudioCodecs.get(), r.m_fVideoCodecs.get());
    let link = &r.Link;
    let strings =
        [link.app.get(), link.flashVer.get(), link.swfUrl.get(), link.tcUrl.get(), link.pageUrl.get(), link.auth.get()];
    let extras = extras_room(&link.extras.get(), 0);
    let room = SPARE_BYTES + strings.iter().map(|text| text.bytes().len()).sum::<usize>() + extras;
    let mut message = Message::new();
    let good = message.encode(room, |output| {
        output.string(b"connect")?;
        output.number(transaction)?;
        output.put(&[AMF_OBJECT as u8])?;
        output.named_string(b"app", link.app.get().bytes())?;
        if publisher {
            output.named_string(b"type", b"nonprivate")?;
        }
        for (name, text) in
            [(&b"flashVer"[..], link.flashVer.get()), (b"swfUrl", link.swfUrl.get()), (b"tcUrl", link.tcUrl.get())]
        {
            if !text.is_empty() {
                output.named_string(name, text.bytes())?;
            }
        }
        if !publisher {
            output.named_boolean(b"fpad", false)?;
            output.named_number(b"capabilities", 15.0)?;
            output.named_number(b"audioCodecs", codecs.0)?;
            output.named_number(b"videoCodecs", codecs.1)?;
            output.named_number(b"videoFunction", 1.0)?;
            if !link.pageUrl.get().is_empty() {
                output.named_string(b"pageUrl", link.pageUrl.get().bytes())?;
            }
        }
        if let Some(encoding) = encoding {
            output.named_number(b"objectEncoding", encoding)?;
        }
        output.end_mark()?;
        if !link.auth.get().is_empty() {
            output.boolean(link.lFlags.get() & RTMP_LF_AUTH != 0)?;
            output.string(link.auth.get().bytes())?;
        }
        link.extras.get().props().iter().try_for_each(|prop| output.property(prop))
    });
    if !good {
        super::log::error("the connect command cannot be encoded");
        return false;
    }
    let mut packet = message.packet(COMMANDS, LARGE, INVOKE);
    send_packet(r, &mut packet, true)
}

/// Most bytes that extras may take.
fn extras_room(object: &AMFObject, depth: u32) -> usize {
    let inner = |prop: &AMFObjectProperty| if depth < 128 { extras_room(&prop.object(), depth + 1) } else { 0 };
    object
        .props()
        .iter()
        .map(|prop| 32 + prop.p_name.bytes().len() + prop.string().bytes().len() + inner(prop))
        .sum::<usize>()
        .min(MAX_BODY_BYTES as usize)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendCreateStream(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| create_stream(r).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendSeek(r: *mut RTMP, time: c_int) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| seek(r, time).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendPause(r: *mut RTMP, on: c_int, time: c_int) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| send_pause(r, on != 0, time).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Pause(r: *mut RTMP, on: c_int) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| pause(r, on != 0).into()) }
}
