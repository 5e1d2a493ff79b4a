//! `RTMP_Read`: the stream as an FLV file, one media message a call, also from where an earlier download stopped.

use std::ffi::{c_char, c_int};
use std::ptr;

use super::amf::Owned;
use super::amf_decode::{self as decode, be24};
use super::client::{Outcome, next_media};
use super::inner::Session;
use super::life::{free_packet_body, on_session};
use super::ptr::{bytes, bytes_mut};
use super::types::*;
use super::{log, mem};

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const INFO: u8 = 18;
const TAGS: u8 = 22;

/// Bytes of a tag before and after its data.
const TAG_HEAD: usize = 11;
const TAG_TAIL: usize = 4;

/// The file's head, whose fifth byte has the bits for audio and video.
const FILE_HEAD: [u8; 13] = [b'F', b'L', b'V', 1, 0, 0, 0, 0, 9, 0, 0, 0, 0];

/// Most bytes kept back until audio and video are both seen, for the head's bits.
const PROBE_BYTES: usize = 128 * 1024;

/// Most messages that a resumed download skips while it looks for the place where it stopped.
const MAX_SKIPPED: u32 = 50;

/// Reads FLV into `out`. Returns the number of bytes, or -1 with `errno` set.
fn read(r: Session, out: &mut [u8]) -> c_int {
    match r.m_read.status.get() {
        RTMP_READ_EOF | RTMP_READ_COMPLETE => return 0,
        RTMP_READ_ERROR => return invalid(),
        _ => {}
    }
    if r.m_read.flags.get() & RTMP_READ_HEADER == 0 {
        if r.m_read.flags.get() & RTMP_READ_RESUME == 0
            && let Err(status) = probe(r)
        {
            r.m_read.status.set(status);
            return if status == RTMP_READ_ERROR { invalid() } else { 0 };
        }
        r.m_read.flags.set(r.m_read.flags.get() | RTMP_READ_HEADER);
    }
    if r.m_read.flags.get() & RTMP_READ_SEEKING != 0 {
        hold(r, &[]);
    }
    let mut done = take_kept(r, out);
    while done < out.len() {
        let mut tags = Vec::new();
        match next_tags(r, &mut tags) {
            Ok(()) if tags.is_empty() => {}
            Ok(()) => {
                let len = tags.len().min(out.len() - done);
                out[done..done + len].copy_from_slice(&tags[..len]);
                done += len;
                hold(r, &tags[len..]);
                break;
            }
            Err(status) => {
                r.m_read.status.set(status);
                break;
            }
        }
    }
    c_int::try_from(done).unwrap_or(c_int::MAX)
}

fn invalid() -> c_int {
    // SAFETY: the thread's own errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { errno.write(libc::EINVAL) };
    -1
}

/// Reads until the file's head can be written, and keeps the head with the tags read.
fn probe(r: Session) -> Result<(), i8> {
    let mut file = FILE_HEAD.to_vec();
    while r.m_read.timestamp.get() == 0 && r.m_read.dataType.get() != 5 && file.len() < PROBE_BYTES {
        next_tags(r, &mut file)?;
    }
    file[4] = r.m_read.dataType.get();
    hold(r, &file);
    Ok(())
}

/// Keeps `bytes` for the next call, replacing those kept before.
fn hold(r: Session, bytes: &[u8]) {
    let old = r.m_read.buf.get();
    let kept = if bytes.is_empty() { ptr::null_mut() } else { mem::copy(bytes).start() };
    r.m_read.buf.set(kept);
    r.m_read.bufpos.set(kept);
    r.m_read.buflen.set(if kept.is_null() { 0 } else { bytes.len() as u32 });
    // SAFETY: made only above, from the C allocator, and forgotten.
    unsafe { mem::free(old) };
}

/// Copies kept bytes to `out`.
fn take_kept(r: Session, out: &mut [u8]) -> usize {
    if r.m_read.buf.get().is_null() {
        return 0;
    }
    let len = out.len().min(r.m_read.buflen.get() as usize);
    // SAFETY: buflen bytes are left at bufpos.
    let kept = unsafe { std::slice::from_raw_parts(r.m_read.bufpos.get().cast::<u8>(), len) };
    out[..len].copy_from_slice(kept);
    r.m_read.buflen.set(r.m_read.buflen.get() - len as u32);
    if r.m_read.buflen.get() == 0 {
        hold(r, &[]);
    } else {
        // SAFETY: still within what is kept.
        r.m_read.bufpos.set(unsafe { r.m_read.bufpos.get().add(len) });
    }
    len
}

/// Reads one media message and appends it as tags, if it is for the file.
fn next_tags(r: Session, out: &mut Vec<u8>) -> Result<(), i8> {
    let mut packet = RTMPPacket::EMPTY;
    let result = match next_media(r, &mut packet) {
        Outcome::Nothing => Err(RTMP_READ_EOF),
        Outcome::Ended => Err(RTMP_READ_COMPLETE),
        Outcome::Media => media(r, &packet, out),
    };
    free_packet_body(&mut packet);
    result
}

fn media(r: Session, packet: &RTMPPacket, out: &mut Vec<u8>) -> Result<(), i8> {
    // SAFETY: the caller frees it.
    let body = unsafe { packet.body() };
    let kind = packet.m_packetType;
    note_kind(r, kind);
    let empty = match kind {
        VIDEO => body.len() <= 5,
        AUDIO => body.len() <= 1,
        _ => false,
    };
    if empty || r.m_read.flags.get() & RTMP_READ_SEEKING != 0 {
        return Ok(());
    }
    let Some(body) = resume(r, packet, body)? else { return Ok(()) };
    if out.try_reserve(body.len() + TAG_HEAD + TAG_TAIL).is_err() {
        log::error("out of memory");
        return Err(RTMP_READ_ERROR);
    }
    if kind == TAGS {
        return copy_tags(r, packet, body, out);
    }
    let time = r.m_read.nResumeTS.get().wrapping_add(packet.m_nTimeStamp);
    out.push(kind);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&tag_time(time));
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(body);
    out.extend_from_slice(&((TAG_HEAD + body.len()) as u32).to_be_bytes());
    note_time(r, packet, time);
    Ok(())
}

fn note_kind(r: Session, kind: u8) {
    r.m_read.dataType.set(
        r.m_read.dataType.get()
            | match kind {
                AUDIO => 4,
                VIDEO => 1,
                _ => 0,
            },
    );
}

fn note_time(r: Session, packet: &RTMPPacket, time: u32) {
    let live = r.Link.lFlags.get() & RTMP_LF_LIVE != 0;
    r.m_read.timestamp.set(if live { packet.m_nTimeStamp } else { time });
}

/// The time field of a tag: 24 bits, then the highest eight.
fn tag_time(time: u32) -> [u8; 4] {
    let [high, a, b, c] = time.to_be_bytes();
    [a, b, c, high]
}

fn time_of(tag: &[u8]) -> u32 {
    be24(&tag[4..]) | u32::from(tag[7]) << 24
}

/// Copies tags that came in one message: their times are shifted to the message's time, and their ends are written
/// anew.
fn copy_tags(r: Session, packet: &RTMPPacket, body: &[u8], out: &mut Vec<u8>) -> Result<(), i8> {
    if body.len() < TAG_HEAD {
        return Ok(());
    }
    let shift = packet.m_nTimeStamp.wrapping_sub(time_of(body)).wrapping_add(r.m_read.nResumeTS.get());
    let mut rest = body;
    let mut time = packet.m_nTimeStamp;
    while rest.len() > TAG_HEAD {
        let len = be24(&rest[1..]) as usize;
        let Some(data) = rest.get(TAG_HEAD..TAG_HEAD + len) else {
            log::error("a tag is longer than its message");
            return Err(RTMP_READ_ERROR);
        };
        time = time_of(rest).wrapping_add(shift);
        note_kind(r, rest[0]);
        out.extend_from_slice(&rest[..4]);
        out.extend_from_slice(&tag_time(time));
        out.extend_from_slice(&rest[8..TAG_HEAD]);
        out.extend_from_slice(data);
        out.extend_from_slice(&((TAG_HEAD + len) as u32).to_be_bytes());
        rest = rest.get(TAG_HEAD + len + TAG_TAIL..).unwrap_or_default();
    }
    note_time(r, packet, time);
    Ok(())
}

/// Filters the messages of a resumed download; `None` skips a message that the file has. After the seek a server begins
/// at time 0 again, and must send the file's last frame there.
fn resume<'a>(r: Session, packet: &RTMPPacket, body: &'a [u8]) -> Result<Option<&'a [u8]>, i8> {
    if r.m_read.flags.get() & RTMP_READ_RESUME == 0 || r.m_read.flags.get() & RTMP_READ_NO_IGNORE != 0 {
        return Ok(Some(body));
    }
    let kind = packet.m_packetType;
    if packet.m_nTimeStamp == 0 && kind == INFO && differs(r, body) {
        log::error("FLV Stream metadata doesn't match!");
        return Err(RTMP_READ_ERROR);
    }
    // SAFETY: contract: the program's, for the whole call.
    let frame = unsafe { bytes_of(r.m_read.initialFrame.get(), r.m_read.nInitialFrameSize.get()) };
    if kind == TAGS {
        return resume_tags(r, body, frame);
    }
    if r.m_read.flags.get() & RTMP_READ_GOTKF == 0 && !frame.is_empty() {
        if packet.m_nTimeStamp == 0 && kind == r.m_read.initialFrameType.get() && body == frame {
            log::debug("Checked keyframe successfully!");
            r.m_read.flags.set(r.m_read.flags.get() | RTMP_READ_GOTKF);
            return Ok(None);
        }
        r.m_read.nIgnoredFrameCounter.set(r.m_read.nIgnoredFrameCounter.get() + 1);
        if r.m_read.nIgnoredFrameCounter.get() > MAX_SKIPPED {
            log::error("Couldn't find keyframe to resume from!");
            return Err(RTMP_READ_ERROR);
        }
        return Ok(None);
    }
    if packet.m_nTimeStamp == 0 {
        return Ok(None);
    }
    r.m_read.flags.set(r.m_read.flags.get() | RTMP_READ_NO_IGNORE);
    Ok(Some(body))
}

/// The tags of one message after the file's last frame; `None` skips the message.
fn resume_tags<'a>(r: Session, body: &'a [u8], frame: &[u8]) -> Result<Option<&'a [u8]>, i8> {
    let mut rest = body;
    while rest.len() > TAG_HEAD {
        let end = TAG_HEAD + be24(&rest[1..]) as usize;
        let Some(data) = rest.get(TAG_HEAD..end) else { break };
        let found = rest[0] == r.m_read.initialFrameType.get() && data == frame;
        rest = rest.get(end + TAG_TAIL..).unwrap_or_default();
        if found {
            r.m_read.flags.set(r.m_read.flags.get() | RTMP_READ_GOTFLVK | RTMP_READ_GOTKF | RTMP_READ_NO_IGNORE);
            return Ok((!rest.is_empty()).then_some(rest));
        }
    }
    r.m_read.nIgnoredFlvFrameCounter.set(r.m_read.nIgnoredFlvFrameCounter.get() + 1);
    if r.m_read.nIgnoredFlvFrameCounter.get() > MAX_SKIPPED {
        log::error("Couldn't find keyframe to resume from!");
        return Err(RTMP_READ_ERROR);
    }
    Ok(None)
}

/// Whether a message is metadata that differs from the file's.
fn differs(r: Session, body: &[u8]) -> bool {
    // SAFETY: contract: the program's, for the whole call.
    let known = unsafe { bytes_of(r.m_read.metaHeader.get(), r.m_read.nMetaHeaderSize.get()) };
    if known.is_empty() || known == body {
        return false;
    }
    let mut object = Owned(AMFObject::EMPTY);
    // SAFETY: the body outlives the object.
    unsafe { decode::object(&mut object.0, body, false) }.is_ok() && object.0.string_at(0) == b"onMetaData"
}

/// The bytes of a program's buffer with this length.
///
/// # Safety
/// That of [`bytes`](fn@bytes).
unsafe fn bytes_of<'a>(start: *const c_char, len: u32) -> &'a [u8] {
    let Ok(len) = c_int::try_from(len) else { return &[] };
    // SAFETY: contract of this function.
    unsafe { bytes(start, len) }.unwrap_or_default()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Read(r: *mut RTMP, buffer: *mut c_char, size: c_int) -> c_int {
    // SAFETY: contract.
    let buffer = unsafe { bytes_mut(buffer, size) }.unwrap_or_default();
    // SAFETY: contract.
    unsafe { on_session(r, -1, |r| read(r, buffer)) }
}
