//! Packets out: `RTMP_SendPacket`, `RTMP_SendChunk`, and the last steps of every send: encryption, tunnel, socket.
//!
//! A message is put together with all its chunk headers in one buffer of the session and leaves in one system call. The
//! packet's body is only read, so one body can go to many sessions.

use std::ffi::c_int;
use std::io;

use super::inner::{ChannelOut, Session, grow_table};
use super::life::{break_off, close_session, free_packet_body, on_session};
use super::ptr::bytes;
use super::types::*;
use super::{amf_decode, calls, guard, log, mem};
use crate::proto::amf::Cursor;
use crate::proto::chunk_header::CHUNK_STREAM_MAX;
use crate::proto::chunk_write::{encode_as, wire_len};
use crate::proto::message::MessageHead;

/// Header types of a chunk.
const LARGE: u8 = 0;
const MEDIUM: u8 = 1;
const SMALL: u8 = 2;
const MINIMUM: u8 = 3;

/// Largest send buffer that is kept for the next message.
const KEPT_BYTES: usize = 256 * 1024;

/// Tables of chunk streams grow to this many entries beyond the needed one.
pub(super) const TABLE_STEP: usize = 10;

/// The table entry for the last message of a chunk stream; the table grows if it is too short. `None`: no memory.
fn last_sent(r: Session, channel: usize) -> Option<*mut *mut ChannelOut> {
    if channel >= usize::try_from(r.m_channelsAllocatedOut.get()).unwrap_or(0) {
        let len = channel + TABLE_STEP;
        // SAFETY: the table is ours; NULL entries are valid.
        if !unsafe { grow_table(&r.m_vecChannelsOut, r.m_channelsAllocatedOut.get(), len) } {
            return None;
        }
        r.m_channelsAllocatedOut.set(len as c_int);
    }
    // SAFETY: within the table.
    Some(unsafe { r.m_vecChannelsOut.get().add(channel) }.cast())
}

/// Makes the header as short as the last message allows. Returns the time to write: the message's own, or the step from
/// the last message's time.
///
/// A header without a time (type 3) makes readers add the last step once more. As in librtmp, a message with the last
/// message's time gets such a header, but only if readers add 0; otherwise the step 0 is written. A type 3 that the
/// program asks for is kept if the step equals the last one.
fn compress(packet: &mut RTMPPacket, last: Option<&ChannelOut>) -> u32 {
    let Some(ChannelOut { packet: before, repeats_ms }) = last.filter(|_| packet.m_headerType != LARGE) else {
        return packet.m_nTimeStamp;
    };
    let step = packet.m_nTimeStamp.wrapping_sub(before.m_nTimeStamp);
    let same = before.m_nBodySize == packet.m_nBodySize && before.m_packetType == packet.m_packetType;
    if same && packet.m_headerType == MEDIUM {
        packet.m_headerType = SMALL;
    }
    let repeats = *repeats_ms == Some(step);
    if packet.m_headerType == SMALL && step == 0 && repeats {
        packet.m_headerType = MINIMUM;
    } else if packet.m_headerType == MINIMUM && !repeats {
        packet.m_headerType = SMALL;
    }
    step
}

/// The record of a message for its chunk stream; `time` is the time in its header.
fn remember(packet: &RTMPPacket, time: u32) -> ChannelOut {
    let repeats_ms = (packet.m_headerType != LARGE || time == 0).then_some(time);
    let packet = RTMPPacket { m_body: std::ptr::null_mut(), m_chunk: std::ptr::null_mut(), ..*packet };
    ChannelOut { packet, repeats_ms }
}

/// Sends one message, and changes its header type to the one that was used.
pub(super) fn send_packet(r: Session, packet: &mut RTMPPacket, queue: bool) -> bool {
    let Some(channel) = usize::try_from(packet.m_nChannel).ok().filter(|&id| id <= CHUNK_STREAM_MAX as usize) else {
        log::error(&format!("there is no chunk stream {}", packet.m_nChannel));
        return false;
    };
    if packet.m_nBodySize > MAX_BODY_BYTES || (packet.m_body.is_null() && packet.m_nBodySize > 0) {
        log::error(&format!("a message of {} bytes cannot be sent", packet.m_nBodySize));
        return false;
    }
    let Some(place) = last_sent(r, channel) else { return false };
    // SAFETY: an entry of the table.
    let last = unsafe { place.read() };
    // SAFETY: NULL, or made below; nothing is sent meanwhile.
    let time = compress(packet, unsafe { last.as_ref() });
    if packet.m_headerType > MINIMUM {
        log::error(&format!("there is no header type {}", packet.m_headerType));
        return false;
    }
    let chunk_size = u32::try_from(r.m_outChunkSize.get()).unwrap_or(0).max(1);
    let mut out = r.take_inner(|inner| &inner.out);
    out.clear();
    let head = MessageHead {
        chunk_stream: channel as u32,
        timestamp_ms: time,
        len: packet.m_nBodySize,
        type_id: packet.m_packetType,
        stream_id: packet.m_nInfoField2 as u32,
    };
    if out.try_reserve(wire_len(&head, chunk_size)).is_err() {
        log::error("out of memory");
        return false;
    }
    // SAFETY: contract: the body is the program's, for the whole call.
    let body = unsafe { packet.body() };
    encode_as(packet.m_headerType, &head, body, chunk_size, &mut out);
    if log::wants(log::DEBUG2) {
        log::record(log::DEBUG2, &format!("RTMP_SendPacket: fd={}, size={}", r.m_sb.socket(), packet.m_nBodySize));
        log::hex_and_text(log::DEBUG2, &out);
    }
    let sent = send_bytes(r, &mut out);
    if !sent {
        return false;
    }
    out.shrink_to(KEPT_BYTES);
    r.set_inner(|inner| &inner.out, out);
    if packet.m_packetType == 20 {
        note_call(r, body, queue);
    }
    let kept = remember(packet, time);
    // `place` is still valid: sending does not move the table, and the function has returned above if a send closed the
    // session.
    if last.is_null() {
        // SAFETY: an entry of the table.
        unsafe { place.write(Box::into_raw(Box::new(kept))) };
    } else {
        // SAFETY: made by the line above.
        unsafe { last.write(kept) };
    }
    true
}

/// Logs a command, and queues it if its answer is expected.
fn note_call(r: Session, body: &[u8], queue: bool) {
    let mut input = Cursor(body.get(1..).unwrap_or_default());
    let Ok(method) = input.short_string() else { return };
    if log::wants(log::DEBUG) {
        log::debug(&format!("Invoking {}", String::from_utf8_lossy(method)));
    }
    if queue {
        let transaction = amf_decode::be_f64(input.0.get(1..).unwrap_or_default());
        calls::queue(r, method, transaction as c_int);
    }
}

/// Encrypts, wraps and sends. On failure the session is closed.
pub(super) fn send_bytes(r: Session, bytes: &mut [u8]) -> bool {
    if let Some(mut ciphers) = r.take_inner(|inner| &inner.ciphers) {
        ciphers.write.apply(bytes);
        r.set_inner(|inner| &inner.ciphers, Some(ciphers));
    }
    send_raw(r, bytes)
}

/// [`send_bytes`] without encryption, for handshakes.
pub(super) fn send_raw(r: Session, bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return true;
    }
    if !r.is_connected() {
        // The session is closed, as after every send that fails.
        close_session(r, false);
        return false;
    }
    let timeout_s = r.Link.timeout.get();
    let result = match super::tunnel::post(r, bytes) {
        Some(result) => result,
        None => r.m_sb.send_all(bytes, timeout_s),
    };
    let Err(error) = result else { return true };
    let has_gone = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
    if has_gone && r.inner(|inner| &inner.is_reporting) {
        log::debug(&format!("the peer takes no report: {error}"));
        return false;
    }
    if error.kind() != io::ErrorKind::ConnectionAborted {
        let code = error.raw_os_error().map_or_else(|| error.to_string(), |code| code.to_string());
        log::error(&format!("WriteN, RTMP send error {code} ({} bytes)", bytes.len()));
    }
    break_off(r);
    false
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendPacket(r: *mut RTMP, packet: Option<&mut RTMPPacket>, queue: c_int) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| packet.is_some_and(|packet| send_packet(r, packet, queue != 0)).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendChunk(r: *mut RTMP, chunk: Option<&RTMPChunk>) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| chunk.is_some_and(|chunk| send_chunk(r, chunk)).into()) }
}

fn send_chunk(r: Session, chunk: &RTMPChunk) -> bool {
    let Some(header) = usize::try_from(chunk.c_headerSize).ok().and_then(|len| chunk.c_header.get(..len)) else {
        return false;
    };
    let mut out: Vec<u8> = header.iter().map(|&byte| byte as u8).collect();
    // SAFETY: contract: so many bytes.
    out.extend_from_slice(unsafe { bytes(chunk.c_chunk, chunk.c_chunkSize) }.unwrap_or_default());
    send_bytes(r, &mut out)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPPacket_Reset(packet: Option<&mut RTMPPacket>) {
    let Some(p) = packet else { return };
    (p.m_headerType, p.m_packetType, p.m_hasAbsTimestamp) = (0, 0, 0);
    (p.m_nChannel, p.m_nTimeStamp, p.m_nInfoField2) = (0, 0, 0);
    (p.m_nBodySize, p.m_nBytesRead) = (0, 0);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPPacket_Alloc(packet: Option<&mut RTMPPacket>, size: u32) -> c_int {
    guard(FALSE, || {
        let Some(packet) = packet else { return FALSE };
        let Some(body) = mem::body(size) else { return FALSE };
        packet.m_body = body;
        packet.m_nBytesRead = 0;
        TRUE
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPPacket_Free(packet: Option<&mut RTMPPacket>) {
    guard((), || packet.map(free_packet_body).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::chunk_header::{Previous, Step, parse_header};

    /// Writes messages of one chunk stream, given by the requested header type and time. Returns the types that were
    /// written, and the times as readers see them: by the specification, and nginx-rtmp's.
    fn written(messages: &[(u8, u32)]) -> (Vec<u8>, Vec<u32>, Vec<u32>) {
        let (mut last, mut previous) = (None::<ChannelOut>, None::<Previous>);
        let (mut types, mut times, mut nginx_times, mut nginx) = (Vec::new(), Vec::new(), Vec::new(), (0, 0));
        for &(fmt, time) in messages {
            let mut packet = RTMPPacket {
                m_headerType: fmt,
                m_packetType: 8,
                m_nTimeStamp: time,
                m_nChannel: 4,
                ..RTMPPacket::EMPTY
            };
            let field = compress(&mut packet, last.as_ref());
            let head = MessageHead { timestamp_ms: field, type_id: 8, stream_id: 1, len: 0, chunk_stream: 4 };
            let mut bytes = Vec::new();
            encode_as(packet.m_headerType, &head, &[], 128, &mut bytes);
            let Ok(Step::Header(header)) = parse_header(&bytes, |_| previous.as_ref()) else { panic!("{bytes:02x?}") };
            assert_eq!(header.size, bytes.len(), "{bytes:02x?}");
            previous = Some(header.next);
            types.push(header.fmt);
            times.push(header.next.timestamp_ms);
            // nginx-rtmp keeps no step after a type 0.
            nginx = match header.fmt {
                0 => (header.next.field_ms, 0),
                3 => (nginx.0 + nginx.1, nginx.1),
                _ => (nginx.0.wrapping_add(header.next.field_ms), header.next.field_ms),
            };
            nginx_times.push(nginx.0);
            last = Some(remember(&packet, field));
        }
        (types, times, nginx_times)
    }

    #[test]
    fn times_are_read_as_they_were_written_whatever_step_came_before() {
        for (messages, types) in [
            (&[(0, 0), (1, 33), (1, 33), (1, 33), (1, 66), (1, 66), (1, 100)][..], &[0, 2, 2, 3, 2, 2, 2][..]),
            (&[(0, 0), (1, 0), (1, 40)], &[0, 3, 2]),
            (&[(0, 40), (1, 40), (1, 40), (1, 80)], &[0, 2, 3, 2]),
            (&[(0, 40), (1, 80), (3, 120), (3, 120), (3, 120)], &[0, 2, 3, 2, 3]),
            (&[(0, 40), (3, 80)], &[0, 2]),
            (&[(0, 80), (1, 40), (1, 40), (1, 30)], &[0, 2, 2, 2]),
            (&[(0, 5), (1, 0x0200_0005), (1, 0x0200_0005), (1, 0x0200_0005)], &[0, 2, 2, 3]),
        ] {
            let times: Vec<u32> = messages.iter().map(|&(_, time)| time).collect();
            let (written_types, read, read_by_nginx) = written(messages);
            assert_eq!((read, read_by_nginx), (times.clone(), times), "{messages:?}");
            assert_eq!(written_types, types, "{messages:?}");
        }
    }
}
