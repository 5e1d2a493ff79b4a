//! Packets in: `RTMP_ReadPacket`, one chunk a call, over [`crate::proto::chunk_header`].
//!
//! A time-out loses nothing: a header is taken only when it is complete, and the next call continues a chunk that is
//! incomplete. The bytes come from [`super::ahead`]. Memory for a body grows with the bytes that come.

use std::ffi::c_int;
use std::ptr;

use super::ahead::{count, discard_peeked, fill, read_into};
use super::inner::{ChannelIn, OpenChunk, Session, grow_table};
use super::life::{close_session, free_packet_body, on_session_quickly};
use super::send::TABLE_STEP;
use super::types::*;
use super::{control, log, mem};
use crate::proto::chunk_header::{ChunkHeader, HEADER_MAX_BYTES, Previous, Step, parse_header};

/// First capacity of a body, doubled as bytes come.
const FIRST_ROOM_BYTES: u32 = 64 * 1024;

/// Most memory of all half-read messages of a session together: four of the largest.
const MAX_OPEN_BYTES: u64 = 4 * (MAX_BODY_BYTES as u64 + 1);

impl Session {
    /// The memory of an incoming chunk stream.
    ///
    /// # Safety
    /// The result is the only reference to it, and is not used once the session may have been closed.
    #[inline]
    unsafe fn channel_in<'a>(self, channel: u32) -> Option<&'a mut ChannelIn> {
        let index = usize::try_from(channel).ok()?;
        if index >= usize::try_from(self.m_channelsAllocatedIn.get()).unwrap_or(0) {
            return None;
        }
        // SAFETY: within the table.
        let entry = unsafe { self.m_vecChannelsIn.get().add(index) };
        // SAFETY: as above.
        let channel = unsafe { entry.read() }.cast::<ChannelIn>();
        // SAFETY: NULL, or made below; contract of this function.
        unsafe { channel.as_mut() }
    }

    /// Makes the entry of an incoming chunk stream, if there is none. False: no memory.
    fn make_channel_in(self, channel: u32) -> bool {
        // SAFETY: only looked whether it is there.
        if unsafe { self.channel_in(channel) }.is_some() {
            return true;
        }
        let index = channel as usize;
        if index >= usize::try_from(self.m_channelsAllocatedIn.get()).unwrap_or(0) {
            let len = index + TABLE_STEP;
            let old = self.m_channelsAllocatedIn.get();
            // SAFETY: the table is ours with `old` entries, and NULL is a valid one.
            let grown = unsafe { grow_table(&self.m_vecChannelsIn, old, len) };
            // SAFETY: the table is ours with `old` entries, and 0 is a valid one.
            if !grown || !unsafe { grow_table(&self.m_channelTimestamp, old, len) } {
                return false;
            }
            self.m_channelsAllocatedIn.set(len as c_int);
        }
        let made = Box::into_raw(Box::new(ChannelIn {
            packet: RTMPPacket::EMPTY,
            previous: Previous::default(),
            room: 0,
            used: false,
        }));
        // SAFETY: within the table.
        let entry = unsafe { self.m_vecChannelsIn.get().add(index) };
        // SAFETY: as above.
        unsafe { entry.write(made.cast()) };
        true
    }
}

/// Reads the next header. Its bytes stay in `m_sb`, complete or not.
fn read_header(r: Session) -> Option<ChunkHeader> {
    loop {
        // SAFETY: parsing reads no more.
        let ahead = unsafe { r.m_sb.buffered() };
        let step = parse_header(ahead, |channel| {
            // SAFETY: parsing closes nothing, and asks once.
            let entry = unsafe { r.channel_in(channel) }?;
            entry.used.then_some(&entry.previous)
        });
        match step {
            Ok(Step::Header(header)) => return Some(header),
            Ok(Step::Need(more)) => {
                if !fill(r, more) {
                    return None;
                }
            }
            Err(failure) => {
                log::error(&format!("RTMP: {failure}"));
                close_session(r, false);
                return None;
            }
        }
    }
}

/// Counts a header's bytes as librtmp reads them, part by part: first byte, rest of the chunk stream's number, the
/// fields, the extended time. The reports show servers at which part a window ended.
fn count_header(r: Session, header: &ChunkHeader) {
    if r.m_bSendCounter.get() == 0 {
        return count(r, header.size);
    }
    let number = match header.chunk_stream {
        0..64 => 0,
        64..320 => 1,
        _ => 2,
    };
    let fields = [11, 7, 3, 0][usize::from(header.fmt & 3)];
    let extended = header.size.saturating_sub(1 + number + fields);
    for part in [1, number, fields, extended] {
        count(r, part);
        control::report_bytes_read(r);
    }
}

/// Applies a new header to its chunk stream.
fn begin(r: Session, given: &RTMPPacket) -> Option<OpenChunk> {
    let header = read_header(r)?;
    if !r.make_channel_in(header.chunk_stream) {
        log::error("out of memory");
        return None;
    }
    // SAFETY: copied at once.
    let ahead = unsafe { r.m_sb.buffered() };
    let mut raw = [0; HEADER_MAX_BYTES];
    match ahead.first_chunk() {
        // The copy takes bytes after the header too, because a copy of constant length needs no call.
        Some(bytes) => raw = *bytes,
        None => raw[..header.size].copy_from_slice(&ahead[..header.size]),
    }
    r.m_sb.consume(header.size);
    count_header(r, &header);
    // A report that could not be sent may have ended the session.
    if !r.is_connected() {
        return None;
    }
    // SAFETY: nothing below closes the session, or looks for the entry.
    let entry = unsafe { r.channel_in(header.chunk_stream) }?;
    let packet = &mut entry.packet;
    if header.starts {
        // A new message discards a half-read one of the same chunk stream.
        free_packet_body(packet);
        set_aside(r, std::mem::take(&mut entry.room), 0);
        let stream = if header.fmt == 1 && !entry.used { given.m_nInfoField2 as u32 } else { header.next.stream_id };
        entry.previous = Previous { stream_id: stream, ..header.next };
        *packet = RTMPPacket {
            m_headerType: header.fmt,
            m_packetType: header.next.type_id,
            m_hasAbsTimestamp: (header.fmt == 0).into(),
            m_nChannel: header.chunk_stream as c_int,
            m_nTimeStamp: header.next.field_ms,
            m_nInfoField2: stream as i32,
            m_nBodySize: header.next.len,
            ..RTMPPacket::EMPTY
        };
        entry.used = true;
    } else {
        entry.previous = header.next;
    }
    Some(OpenChunk {
        channel: header.chunk_stream,
        missing: chunk_size(r).min(packet.m_nBodySize - packet.m_nBytesRead),
        header: raw,
        header_len: header.size,
        from: packet.m_nBytesRead,
    })
}

/// The peer's chunk size in bytes, at least 1.
fn chunk_size(r: Session) -> u32 {
    u32::try_from(r.m_inChunkSize.get()).unwrap_or(0).max(1)
}

/// Takes the next chunk if it is of the most frequent kind: it continues a message, is completely in `m_sb`, and the
/// body has room for it. Sessions with small chunks spend most of their time here. False: nothing was taken, and
/// [`read_packet`] has to handle it. This function does not panic, and logs nothing.
#[inline]
fn go_on(r: Session, given: &mut RTMPPacket) -> bool {
    try_go_on(r, given).is_some()
}

#[inline]
fn try_go_on(r: Session, given: &mut RTMPPacket) -> Option<()> {
    // SAFETY: nothing below reads more, or closes the session.
    let bytes = unsafe { r.m_sb.buffered() };
    let first = *bytes.first()?;
    let channel = u32::from(first & 0x3F);
    // SAFETY: nothing below closes the session, or looks for the entry.
    let entry = unsafe { r.channel_in(channel) }?;
    let (wanted, header_len) = entry.previous.continuation(channel)?;
    let packet = &mut entry.packet;
    let from = packet.m_nBytesRead;
    let len = chunk_size(r).min(packet.m_nBodySize.checked_sub(from)?);
    let end = from + len;
    let chunk_len = header_len + len as usize;
    let body = bytes.get(header_len..chunk_len)?;
    let of_this_kind = first == wanted && end <= entry.room;
    if !of_this_kind || !given.m_chunk.is_null() || control::is_report_due(r, chunk_len) {
        return None;
    }
    if end == packet.m_nBodySize && log::wants(log::DEBUG2) {
        return None;
    }
    if r.inner(|inner| &inner.open_chunk).is_some() || (bytes.len() == chunk_len && r.inner(|inner| &inner.exact)) {
        return None;
    }
    // SAFETY: within the body, which has room for so many bytes.
    let place = unsafe { packet.m_body.add(from as usize) };
    // SAFETY: as above; the body and what was read ahead lie apart.
    unsafe { mem::copy_chunk(body, place) };
    packet.m_nBytesRead = end;
    r.m_sb.consume(chunk_len);
    count(r, chunk_len);
    if end < packet.m_nBodySize {
        *given = RTMPPacket { m_body: ptr::null_mut(), m_chunk: ptr::null_mut(), ..*packet };
    } else {
        hand_over(r, entry, given);
    }
    Some(())
}

/// Counts the capacity of an unfinished message: `new` bytes instead of `old`.
#[inline]
fn set_aside(r: Session, old: u32, new: u32) {
    if old != new {
        let open = r.inner(|inner| &inner.open_bytes).saturating_sub(old.into());
        r.set_inner(|inner| &inner.open_bytes, open + u64::from(new));
    }
}

/// Makes room for `len` bytes of the body. False if the session's bound or the memory does not allow that.
fn reserve(r: Session, entry: &mut ChannelIn, len: u32) -> bool {
    // An empty body needs no memory either: both lengths are 0.
    if len <= entry.room {
        return true;
    }
    let old = if entry.room == 0 { ptr::null_mut() } else { entry.packet.m_body };
    let room = len.max(FIRST_ROOM_BYTES).max(entry.room.saturating_mul(2)).min(entry.packet.m_nBodySize);
    let others = r.inner(|inner| &inner.open_bytes).saturating_sub(entry.room.into());
    if others + u64::from(room) > MAX_OPEN_BYTES {
        log::error(&format!("RTMP: unfinished messages of more than {MAX_OPEN_BYTES} bytes"));
        return false;
    }
    // SAFETY: the body is ours or NULL.
    let Some(body) = (unsafe { mem::grow_body(old, room) }) else {
        log::error("out of memory");
        return false;
    };
    set_aside(r, entry.room, room);
    entry.packet.m_body = body;
    entry.room = room;
    true
}

/// Reads one chunk into `packet`. False: nothing came in time, or the session is closed.
pub(super) fn read_packet(r: Session, packet: &mut RTMPPacket) -> bool {
    // SAFETY: handing over closes nothing.
    let Some(entry) = (unsafe { read_chunk(r, packet) }) else { return false };
    if hand_over(r, entry, packet) && log::wants(log::DEBUG2) {
        log::record(log::DEBUG2, &format!("RTMP_ReadPacket: fd={}, size={}", r.m_sb.socket(), packet.m_nBodySize));
        // SAFETY: the packet is the caller's.
        log::hex_and_text(log::DEBUG2, unsafe { packet.body() });
    }
    if r.m_sb.sb_size.get() == 0 {
        discard_peeked(r);
    }
    control::report_bytes_read(r);
    true
}

/// Reads one chunk of any kind, or the rest of a chunk that was begun.
///
/// # Safety
/// The result is not used once the session may have been closed.
unsafe fn read_chunk<'a>(r: Session, packet: &mut RTMPPacket) -> Option<&'a mut ChannelIn> {
    let chunk = match r.take_inner(|inner| &inner.open_chunk) {
        Some(chunk) => chunk,
        None => begin(r, packet)?,
    };
    if chunk.missing > 0 {
        // SAFETY: making room closes nothing.
        let entry = unsafe { r.channel_in(chunk.channel) }?;
        if !reserve(r, entry, entry.packet.m_nBytesRead + chunk.missing) {
            close_session(r, false);
            return None;
        }
        let from = entry.packet.m_nBytesRead as usize;
        // SAFETY: within the room that was made.
        let start = unsafe { entry.packet.m_body.add(from) };
        // SAFETY: as above.
        let got = unsafe { read_into(r, start.cast(), chunk.missing as usize) };
        count(r, got);
        if got < chunk.missing as usize && !r.is_connected() {
            return None;
        }
        // SAFETY: the session was not closed.
        let entry = unsafe { r.channel_in(chunk.channel) }?;
        entry.packet.m_nBytesRead += got as u32;
        if got < chunk.missing as usize {
            let rest = OpenChunk { missing: chunk.missing - got as u32, ..chunk };
            r.set_inner(|inner| &inner.open_chunk, Some(rest));
            return None;
        }
    }
    // SAFETY: nothing closes the session from here on, and contract of this function.
    let entry = unsafe { r.channel_in(chunk.channel) }?;
    // SAFETY: contract: NULL, or the program's.
    if let Some(raw) = unsafe { packet.m_chunk.as_mut() } {
        show(&entry.packet, &chunk, raw);
    }
    Some(entry)
}

/// Gives a program the chunk as it came.
fn show(message: &RTMPPacket, chunk: &OpenChunk, raw: &mut RTMPChunk) {
    raw.c_headerSize = chunk.header_len as c_int;
    for (place, &byte) in raw.c_header.iter_mut().zip(&chunk.header[..chunk.header_len]) {
        *place = byte as _;
    }
    raw.c_chunkSize = (message.m_nBytesRead - chunk.from) as c_int;
    raw.c_chunk = if message.m_body.is_null() {
        ptr::null_mut()
    } else {
        // SAFETY: within the body.
        unsafe { message.m_body.add(chunk.from as usize) }
    };
}

/// Fills the caller's packet, with the body if that is complete, and returns whether it is. It does not panic.
#[inline]
fn hand_over(r: Session, entry: &mut ChannelIn, packet: &mut RTMPPacket) -> bool {
    let whole = entry.packet.m_nBytesRead == entry.packet.m_nBodySize;
    *packet = RTMPPacket { m_chunk: packet.m_chunk, ..entry.packet };
    if !whole {
        packet.m_body = ptr::null_mut();
        return false;
    }
    if packet.m_body.is_null() && matches!(packet.m_packetType, 17 | 20) {
        // Servers read the first byte of a command without checking its length.
        packet.m_body = mem::body(0).unwrap_or(ptr::null_mut());
    }
    if !packet.m_body.is_null() {
        // Programs print strings of a body with %s.
        // SAFETY: there is room for a zero behind each body.
        let end = unsafe { packet.m_body.add(packet.m_nBodySize as usize) };
        // SAFETY: as above.
        unsafe { end.write(0) };
    }
    packet.m_nTimeStamp = entry.previous.timestamp_ms;
    entry.previous.open = false;
    entry.packet.m_body = ptr::null_mut();
    entry.packet.m_nBytesRead = 0;
    entry.packet.m_hasAbsTimestamp = 0;
    set_aside(r, std::mem::take(&mut entry.room), 0);
    // SAFETY: this table has an entry for each of the other's.
    let time = unsafe { r.m_channelTimestamp.get().add(packet.m_nChannel as usize) };
    // SAFETY: as above.
    unsafe { time.write(packet.m_nTimeStamp as c_int) };
    true
}

/// Runs a reader on the program's packet or, if that is NULL, on one that is discarded.
pub(super) fn with_packet<T>(packet: Option<&mut RTMPPacket>, read: impl FnOnce(&mut RTMPPacket) -> T) -> T {
    if let Some(packet) = packet {
        return read(packet);
    }
    let mut own = RTMPPacket::EMPTY;
    let result = read(&mut own);
    free_packet_body(&mut own);
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_ReadPacket(r: *mut RTMP, packet: Option<&mut RTMPPacket>) -> c_int {
    with_packet(packet, |packet| {
        // SAFETY: contract.
        unsafe {
            on_session_quickly(
                r,
                FALSE,
                packet,
                |r, packet| go_on(r, packet).then_some(TRUE),
                |r, packet| read_packet(r, packet).into(),
            )
        }
    })
}
