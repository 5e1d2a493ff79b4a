//! `RTMP_Write`: an FLV file, in slices cut anywhere, as messages.

use std::ffi::{c_char, c_int};

use super::amf_decode::be24;
use super::inner::Session;
use super::life::{free_packet_body, on_session};
use super::mem;
use super::ptr::bytes;
use super::send::send_packet;
use super::types::*;
use crate::proto::frame::SET_DATA_FRAME;

const INFO: u8 = 18;

/// Chunk stream of published messages.
const CHANNEL: c_int = 4;

/// Sizes in bytes: the part before a file's first tag, a tag's head, and the part after a tag's data.
const FILE_HEAD: usize = 13;
const TAG_HEAD: usize = 11;
const TAG_TAIL: u8 = 4;

/// The state between two slices: a half-written head, and the end of the previous tag.
#[derive(Clone, Copy, Default)]
pub(super) struct Writing {
    head: [u8; FILE_HEAD],
    len: usize,
    /// Bytes after a tag's data that have not come.
    tail: u8,
    /// The slices are inside a tag's data.
    open: bool,
}

impl Writing {
    /// Takes bytes of a head, and returns the head when it is complete.
    fn head(&mut self, input: &mut &[u8]) -> Option<[u8; FILE_HEAD]> {
        if self.head[..self.len].starts_with(b"FLV") && input.starts_with(b"FLV") {
            // librtmp refuses a cut file head, so programs written for it pass the head again from its start.
            self.len = 0;
        }
        while let Some((&byte, rest)) = input.split_first() {
            self.head[self.len] = byte;
            self.len += 1;
            *input = rest;
            let whole = if self.head[0] == b'F' { FILE_HEAD } else { TAG_HEAD };
            if self.len == whole {
                self.len = 0;
                return Some(self.head);
            }
        }
        None
    }
}

/// Takes all of `input`. False: a message could not be sent.
fn write(r: Session, mut input: &[u8]) -> bool {
    while !input.is_empty() {
        let mut writing = r.inner(|inner| &inner.writing);
        if writing.tail > 0 {
            let len = input.len().min(writing.tail.into());
            writing.tail -= len as u8;
            input = &input[len..];
            r.set_inner(|inner| &inner.writing, writing);
        } else if !writing.open {
            let head = writing.head(&mut input);
            r.set_inner(|inner| &inner.writing, writing);
            let Some(head) = head else { break };
            if head.starts_with(b"FLV") {
                continue;
            }
            if !begin(r, &head) {
                return false;
            }
            if r.m_write.get().m_nBodySize == 0 && !finish(r) {
                return false;
            }
        } else if !go_on(r, &mut input) {
            return false;
        }
    }
    true
}

/// Begins a message from a tag's head.
fn begin(r: Session, head: &[u8; FILE_HEAD]) -> bool {
    let kind = head[0];
    let prefix = if kind == INFO { &SET_DATA_FRAME[..] } else { &[] };
    let len = be24(&head[1..]) + prefix.len() as u32;
    let time = be24(&head[4..]) | u32::from(head[7]) << 24;
    let stream = r.m_stream_id.get();
    let mut old = r.m_write.take();
    free_packet_body(&mut old);
    let Some(body) = mem::body(len) else { return false };
    let absolute = kind == INFO || (matches!(kind, 8 | 9) && time == 0);
    let packet = RTMPPacket {
        m_headerType: if absolute { 0 } else { 1 },
        m_packetType: kind,
        m_nChannel: CHANNEL,
        m_nTimeStamp: time,
        m_nInfoField2: stream,
        m_nBodySize: len,
        m_nBytesRead: prefix.len() as u32,
        m_body: body,
        ..RTMPPacket::EMPTY
    };
    // SAFETY: the body is longer than the prefix, which is a part of it.
    unsafe { std::ptr::copy_nonoverlapping(prefix.as_ptr(), body.cast(), prefix.len()) };
    r.m_write.set(packet);
    set_open(r, true, 0);
    true
}

fn go_on(r: Session, input: &mut &[u8]) -> bool {
    let mut packet = r.m_write.get();
    let len = input.len().min((packet.m_nBodySize - packet.m_nBytesRead) as usize);
    // SAFETY: within the body.
    let target = unsafe { packet.m_body.add(packet.m_nBytesRead as usize) };
    // SAFETY: as above; the input is the program's.
    unsafe { std::ptr::copy_nonoverlapping(input.as_ptr(), target.cast(), len) };
    packet.m_nBytesRead += len as u32;
    r.m_write.set(packet);
    *input = &input[len..];
    packet.m_nBytesRead < packet.m_nBodySize || finish(r)
}

/// Sends the message and then expects the end of its tag.
fn finish(r: Session) -> bool {
    let mut packet = r.m_write.take();
    let sent = send_packet(r, &mut packet, false);
    free_packet_body(&mut packet);
    packet.m_nBytesRead = 0;
    r.m_write.set(packet);
    if sent {
        set_open(r, false, TAG_TAIL);
    }
    sent
}

/// Sets whether the slices are inside a tag's data, and how many bytes after it have not come.
fn set_open(r: Session, open: bool, tail: u8) {
    let writing = r.inner(|inner| &inner.writing);
    r.set_inner(|inner| &inner.writing, Writing { open, tail, ..writing });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Write(r: *mut RTMP, data: *const c_char, size: c_int) -> c_int {
    // SAFETY: contract.
    let data = unsafe { bytes(data, size) };
    // SAFETY: contract.
    unsafe {
        on_session(r, -1, |r| match data {
            None => 0,
            Some(data) if write(r, data) => size,
            Some(_) => -1,
        })
    }
}
