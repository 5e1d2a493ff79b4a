//! Protocol control messages: user control, bandwidths, bytes-read reports, pings, SWF verification; both directions.

use std::ffi::{c_int, c_short, c_uint};

use super::amf_decode::{be16, be32};
use super::commands::Message;
use super::inner::Session;
use super::life::on_session;
use super::log;
use super::send::send_packet;
use super::types::*;

/// Chunk stream of control messages.
const CHANNEL: c_int = 2;

/// User control events (specification 7.1.7, and others of Flash Media Server).
const STREAM_EOF: i32 = 1;
const BUFFER_LENGTH: i32 = 3;
const PING: i32 = 6;
pub(super) const PONG: c_short = 7;
const SWF_REQUEST: i32 = 0x1A;
const SWF_RESPONSE: i32 = 0x1B;
const BUFFER_EMPTY: i32 = 31;

/// Sends a user control event.
pub(super) fn send_ctrl(r: Session, event: c_short, object: u32, time: u32) -> bool {
    let mut message = Message::new();
    message.put(&event.to_be_bytes());
    match i32::from(event) {
        SWF_RESPONSE => message.put(&r.Link.SWFVerificationResponse.get().map(|byte| byte as u8)),
        SWF_REQUEST => message.put(&[object as u8]),
        BUFFER_LENGTH => {
            message.put(&object.to_be_bytes());
            message.put(&time.to_be_bytes());
        }
        _ => message.put(&object.to_be_bytes()),
    }
    if log::wants(log::DEBUG) {
        log::debug(&format!("sending ctrl. type: 0x{event:04x}"));
    }
    send(r, message, 4, 1)
}

fn send(r: Session, mut message: Message, kind: u8, header: u8) -> bool {
    let mut packet = message.packet(CHANNEL, header, kind);
    send_packet(r, &mut packet, false)
}

/// Sends the window after which we expect an acknowledgement.
pub(super) fn send_server_bandwidth(r: Session) -> bool {
    let mut message = Message::new();
    message.put(&r.m_nServerBW.get().to_be_bytes());
    send(r, message, 5, 0)
}

fn send_client_bandwidth(r: Session) -> bool {
    let mut message = Message::new();
    message.put(&r.m_nClientBW.get().to_be_bytes());
    message.put(&[r.m_nClientBW2.get()]);
    send(r, message, 6, 0)
}

/// Whether a report of bytes read is due, once `more` bytes have come.
#[inline]
pub(super) fn is_report_due(r: Session, more: usize) -> bool {
    let unreported = r.m_nBytesIn.get().wrapping_add(more as c_int).wrapping_sub(r.m_nBytesInSent.get());
    r.m_bSendCounter.get() != 0 && unreported > r.m_nClientBW.get() / 10
}

/// Sends a report of bytes read, every tenth of the window. If the peer has gone, the report fails and the session
/// stays open: there may be messages that were read ahead, and the reader finds the connection's end after them.
pub(super) fn report_bytes_read(r: Session) {
    if !is_report_due(r, 0) || !r.is_connected() {
        return;
    }
    r.m_nBytesInSent.set(r.m_nBytesIn.get());
    let mut message = Message::new();
    message.put(&r.m_nBytesIn.get().to_be_bytes());
    r.set_inner(|inner| &inner.is_reporting, true);
    send(r, message, 3, 1);
    r.take_inner(|inner| &inner.is_reporting);
}

/// Takes a new chunk size of the peer.
pub(super) fn on_chunk_size(r: Session, body: &[u8]) {
    if body.len() < 4 {
        return;
    }
    match c_int::try_from(be32(body)) {
        Ok(size) if size > 0 => {
            r.m_inChunkSize.set(size);
            log::debug(&format!("received: chunk size change to {size}"));
        }
        _ => log::error(&format!("the peer set a chunk size of {}", be32(body))),
    }
}

pub(super) fn on_server_bandwidth(r: Session, body: &[u8]) {
    if body.len() >= 4 {
        r.m_nServerBW.set(be32(body) as c_int);
        log::debug(&format!("server BW = {}", r.m_nServerBW.get()));
    }
}

pub(super) fn on_client_bandwidth(r: Session, body: &[u8]) {
    if body.len() >= 4 {
        r.m_nClientBW.set(be32(body) as c_int);
        r.m_nClientBW2.set(body.get(4).copied().unwrap_or(0xFF));
        log::debug(&format!("client BW = {} {}", r.m_nClientBW.get(), r.m_nClientBW2.get()));
    }
}

/// Acts on a user control event of the peer.
pub(super) fn on_ctrl(r: Session, body: &[u8]) {
    if body.len() < 2 {
        return;
    }
    let event = i32::from(be16(body));
    if log::wants(log::DEBUG) {
        log::debug(&format!("received ctrl. type: {event}, len: {}", body.len()));
    }
    if body.len() >= 6 {
        let value = be32(&body[2..]);
        match event {
            STREAM_EOF if r.m_pausing.get() == 1 => r.m_pausing.set(2),
            PING => {
                send_ctrl(r, PONG, value, 0);
            }
            BUFFER_EMPTY if r.Link.lFlags.get() & RTMP_LF_BUFX != 0 => on_buffer_empty(r),
            _ => {}
        }
    }
    if event == SWF_REQUEST {
        if body.get(2).is_some_and(|&kind| kind > 1) {
            log::error(&format!("SWFVerification Type {} request not supported, patches welcome", body[2]));
        } else if r.Link.SWFSize.get() != 0 {
            send_ctrl(r, SWF_RESPONSE as c_short, 0, 0);
        } else {
            log::error("Ignoring SWFVerification request, use --swfVfy!");
        }
    }
}

/// Pauses and resumes after a server's "buffer empty", which makes the server fill our buffer again.
fn on_buffer_empty(r: Session) {
    if r.m_pausing.get() == 0 {
        r.m_pauseStamp.set(r.channel_time(r.m_mediaChannel.get()));
        let stamp = r.m_pauseStamp.get() as c_int;
        super::commands::send_pause(r, true, stamp);
        r.m_pausing.set(1);
    } else if r.m_pausing.get() == 2 {
        let stamp = r.m_pauseStamp.get() as c_int;
        super::commands::send_pause(r, false, stamp);
        r.m_pausing.set(3);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendCtrl(r: *mut RTMP, event: c_short, object: c_uint, time: c_uint) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| send_ctrl(r, event, object, time).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendServerBW(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| send_server_bandwidth(r).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SendClientBW(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| send_client_bandwidth(r).into()) }
}

/// Tells the server how far it may send ahead.
pub(super) fn send_buffer_length(r: Session) -> bool {
    let (stream, time) = (r.m_stream_id.get() as u32, r.m_nBufferMS.get() as u32);
    send_ctrl(r, BUFFER_LENGTH as c_short, stream, time)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_UpdateBufferMS(r: *mut RTMP) {
    // SAFETY: contract.
    unsafe {
        on_session(r, (), |r| {
            send_buffer_length(r);
        })
    };
}
