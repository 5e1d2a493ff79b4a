//! A client's reaction to each message: `RTMP_ClientPacket`, and the loops over it up to playing and up to the next
//! media message.

use std::ffi::c_int;
use std::time::Duration;

use super::amf::Owned;
use super::amf_decode::{self as decode, be24};
use super::inner::Session;
use super::life::{free_packet_body, on_session};
use super::ptr::put;
use super::recv::{read_packet, with_packet};
use super::types::*;
use super::{commands, control, guard, invoke, log};

/// A message's meaning for the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing for the caller.
    Nothing = 0,
    /// Media, or metadata.
    Media = 1,
    /// The stream has ended.
    Ended = 2,
}

/// Acts on one whole message.
pub(super) fn client_packet(r: Session, packet: &RTMPPacket) -> Outcome {
    // SAFETY: contract; whoever has the packet keeps its body, also where the session is closed.
    let body = unsafe { packet.body() };
    match packet.m_packetType {
        1 => control::on_chunk_size(r, body),
        4 => control::on_ctrl(r, body),
        5 => control::on_server_bandwidth(r, body),
        6 => control::on_client_bandwidth(r, body),
        8 | 9 => {
            on_media(r, packet.m_nChannel, packet.m_nTimeStamp);
            return Outcome::Media;
        }
        17 => return on_invoke(r, body.get(1..).unwrap_or_default()),
        18 => {
            if on_metadata(r, body) {
                return Outcome::Media;
            }
        }
        20 => return on_invoke(r, body),
        22 => {
            on_tags(r, packet, body);
            return Outcome::Media;
        }
        3 | 15 | 16 | 19 => log::debug(&format!("packet type 0x{:02x} is ignored", packet.m_packetType)),
        kind => log::debug(&format!("unknown packet type received: 0x{kind:02x}")),
    }
    Outcome::Nothing
}

fn on_invoke(r: Session, body: &[u8]) -> Outcome {
    if invoke::on_invoke(r, body) { Outcome::Ended } else { Outcome::Nothing }
}

fn on_media(r: Session, channel: c_int, time: u32) {
    if r.m_mediaChannel.get() == 0 {
        r.m_mediaChannel.set(channel);
    }
    if r.m_pausing.get() == 0 {
        r.m_mediaStamp.set(time);
    }
}

/// Handles several FLV tags in one message.
fn on_tags(r: Session, packet: &RTMPPacket, body: &[u8]) {
    let mut time = packet.m_nTimeStamp;
    let mut rest = body;
    while rest.len() > TAG_HEAD {
        let len = be24(&rest[1..]) as usize;
        let Some(next) = rest.get(TAG_HEAD + len + TAG_TAIL..) else {
            log::warning("a tag ends after its message");
            break;
        };
        match rest[0] {
            18 => {
                on_metadata(r, &rest[TAG_HEAD..TAG_HEAD + len]);
            }
            8 | 9 => time = be24(&rest[4..]) | u32::from(rest[7]) << 24,
            _ => {}
        }
        rest = next;
    }
    if r.m_pausing.get() == 0 {
        r.m_mediaStamp.set(time);
    }
}

/// Bytes of an FLV tag before and after its data.
const TAG_HEAD: usize = 11;
const TAG_TAIL: usize = 4;

/// Reads a data message. True if it is the stream's metadata.
fn on_metadata(r: Session, body: &[u8]) -> bool {
    let mut object = Owned(AMFObject::EMPTY);
    // SAFETY: the body outlives the object.
    if unsafe { decode::object(&mut object.0, body, false) }.is_err() {
        log::error("a data message cannot be decoded");
        return false;
    }
    log::object(&object.0);
    if object.0.string_at(0) != b"onMetaData" {
        return false;
    }
    if log::wants(log::INFO) {
        log::record(log::INFO, "Metadata:");
        show(&object.0, 0);
    }
    if let Some(duration) = find_first(&object.0, b"duration") {
        r.m_fDuration.set(duration.number());
    }
    for (prefix, bit) in [(&b"video"[..], 1), (b"audio", 4)] {
        if find_prefix(&object.0, prefix, 0).is_some() {
            r.m_read.dataType.set(r.m_read.dataType.get() | bit);
        }
    }
    true
}

/// Logs a stream's metadata for people.
fn show(object: &AMFObject, depth: u32) {
    for prop in object.props() {
        let name = prop.p_name.shown();
        match prop.p_type {
            AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY if depth < super::amf::MAX_DEPTH => {
                if !name.is_empty() {
                    log::record(log::INFO, &format!("{name}:"));
                }
                show(&prop.object(), depth + 1);
            }
            AMF_NUMBER => log::record(log::INFO, &format!("  {name:<22.22}{:.2}", prop.number())),
            AMF_BOOLEAN => {
                let text = if prop.number() == 0.0 { "FALSE" } else { "TRUE" };
                log::record(log::INFO, &format!("  {name:<22.22}{text}"));
            }
            AMF_STRING if !name.is_empty() => {
                log::record(log::INFO, &format!("  {name:<22.22}{}", prop.string().shown()));
            }
            _ => {}
        }
    }
}

fn find_first<'a>(object: &'a AMFObject, name: &[u8]) -> Option<&'a AMFObjectProperty> {
    object.find(&|each| each == name, 0)
}

/// The first property whose name begins with `prefix` and is longer; searches objects, but not arrays.
fn find_prefix<'a>(object: &'a AMFObject, prefix: &[u8], depth: u32) -> Option<&'a AMFObjectProperty> {
    for prop in object.props() {
        let name = prop.p_name.bytes();
        if name.len() > prefix.len() && name.starts_with(prefix) {
            return Some(prop);
        }
        if prop.p_type == AMF_OBJECT && depth < super::amf::MAX_DEPTH {
            let inner = prop.object();
            if let Some(found) = find_prefix(&inner, prefix, depth + 1) {
                // SAFETY: contract: inner arrays belong to the outer object and live with it.
                return Some(unsafe { &*std::ptr::from_ref(found) });
            }
        }
    }
    None
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ClientPacket(r: *mut RTMP, packet: Option<&RTMPPacket>) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, 0, |r| packet.map_or(0, |packet| client_packet(r, packet) as c_int)) }
}

/// Writes the property that `find` finds to the program's pointer.
///
/// # Safety
/// `out` is NULL or may be written.
unsafe fn look_up(
    object: Option<&AMFObject>,
    name: Option<&AVal>,
    out: *mut AMFObjectProperty,
    find: impl FnOnce(&AMFObject, &[u8]) -> Option<AMFObjectProperty>,
) -> c_int {
    guard(FALSE, || {
        let (Some(object), Some(name)) = (object, name) else { return FALSE };
        let Some(found) = find(object, name.bytes()) else { return FALSE };
        // SAFETY: contract of this function.
        unsafe { put(out, found) };
        TRUE
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_FindFirstMatchingProperty(
    object: Option<&AMFObject>,
    name: Option<&AVal>,
    out: *mut AMFObjectProperty,
) -> c_int {
    // SAFETY: contract.
    unsafe { look_up(object, name, out, |object, name| find_first(object, name).copied()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_FindPrefixProperty(
    object: Option<&AMFObject>,
    name: Option<&AVal>,
    out: *mut AMFObjectProperty,
) -> c_int {
    // SAFETY: contract.
    unsafe { look_up(object, name, out, |object, name| find_prefix(object, name, 0).copied()) }
}

/// Reads up to the next media message, which `packet` then holds.
pub(super) fn next_media(r: Session, packet: &mut RTMPPacket) -> Outcome {
    let mut outcome = Outcome::Nothing;
    while outcome == Outcome::Nothing && r.is_connected() && read_packet(r, packet) {
        if packet.m_nBytesRead != packet.m_nBodySize || packet.m_nBodySize == 0 {
            free_packet_body(packet);
            continue;
        }
        outcome = client_packet(r, packet);
        if outcome == Outcome::Nothing {
            free_packet_body(packet);
        } else if r.m_pausing.get() == 3 {
            if packet.m_nTimeStamp <= r.m_mediaStamp.get() {
                // This message was repeated by the server after a pause.
                outcome = Outcome::Nothing;
                free_packet_body(packet);
            } else {
                r.m_pausing.set(0);
            }
        }
    }
    if outcome != Outcome::Nothing {
        r.m_bPlaying.set(TRUE as u8);
    } else if r.m_sb.sb_timedout.get() != 0 && r.m_pausing.get() == 0 {
        r.m_pauseStamp.set(r.channel_time(r.m_mediaChannel.get()));
    }
    outcome
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_GetNextMediaPacket(r: *mut RTMP, packet: Option<&mut RTMPPacket>) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, 0, |r| with_packet(packet, |packet| next_media(r, packet) as c_int)) }
}

/// Reads until the server says that the stream plays or is published.
pub(super) fn connect_stream(r: Session, seek_ms: c_int) -> bool {
    if seek_ms > 0 {
        r.Link.seekTime.set(seek_ms);
    }
    r.m_mediaChannel.set(0);
    let mut packet = RTMPPacket::EMPTY;
    while r.m_bPlaying.get() == 0 && r.is_connected() && read_packet(r, &mut packet) {
        if packet.m_nBytesRead != packet.m_nBodySize || packet.m_nBodySize == 0 {
            free_packet_body(&mut packet);
            continue;
        }
        if matches!(packet.m_packetType, 8 | 9 | 18) {
            log::warning("Received FLV packet before play()! Ignoring.");
        } else {
            client_packet(r, &packet);
        }
        free_packet_body(&mut packet);
    }
    r.m_bPlaying.get() != 0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ConnectStream(r: *mut RTMP, seek_ms: c_int) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| connect_stream(r, seek_ms).into()) }
}

fn delete_stream(r: Session) {
    if r.m_stream_id.get() < 0 {
        return;
    }
    r.m_bPlaying.set(0);
    let stream = r.m_stream_id.get();
    commands::delete_stream(r, stream);
    r.m_stream_id.set(-1);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_DeleteStream(r: *mut RTMP) {
    // SAFETY: contract.
    unsafe { on_session(r, (), delete_stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ReconnectStream(r: *mut RTMP, seek_ms: c_int) -> c_int {
    // SAFETY: contract.
    unsafe {
        on_session(r, FALSE, |r| {
            delete_stream(r);
            commands::create_stream(r);
            connect_stream(r, seek_ms).into()
        })
    }
}

/// The time between pausing and resuming.
const TOGGLE_PAUSE: Duration = Duration::from_secs(1);

fn toggle_stream(r: Session) -> bool {
    if r.m_pausing.get() == 0 {
        if r.m_sb.sb_timedout.get() != 0 && r.m_read.status.get() == RTMP_READ_EOF {
            r.m_read.status.set(0);
        }
        if !commands::pause(r, true) {
            return false;
        }
        r.m_pausing.set(1);
        // An interruption is left to the next call, which ends because of it.
        let _ = r.m_sb.rest(TOGGLE_PAUSE);
    }
    let good = commands::pause(r, false);
    r.m_pausing.set(3);
    good
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ToggleStream(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| toggle_stream(r).into()) }
}
