//! Reading ahead: bytes from the socket, TLS or tunnel go, decrypted, into `m_sb` and into bodies. [`super::recv`]
//! reads the chunks in them.
//!
//! `m_sb.sb_size` counts the bytes read ahead, and programs check it before they wait for the socket. A program that
//! waits without checking has an exact session ([`super::inner`]): there the kernel keeps bytes that are read ahead
//! until all of them are taken, so that the socket stays readable while any are left.

use std::ffi::{c_char, c_int};
use std::io;

use super::inner::Session;
use super::life::close_session;
use super::types::*;
use super::{log, mem};

/// A buffer that one read has filled is replaced by one that is this many times larger, up to [`AHEAD_BYTES`]: this
/// saves system calls for a fast download, and does not happen with a live stream.
const AHEAD_STEP: usize = 4;
const AHEAD_BYTES: usize = AHEAD_STEP * AHEAD_STEP * AHEAD_STEP * RTMP_BUFFER_CACHE_SIZE;

/// Largest buffer of an encrypted session: bytes are decrypted when they are read, and more of them would delay the
/// first message.
const AHEAD_ENCRYPTED_BYTES: usize = AHEAD_STEP * RTMP_BUFFER_CACHE_SIZE;

/// After this many reads in a row that fit `sb_buf`, a larger buffer is freed: many streams need one only for the burst
/// at their beginning.
const SMALL_READS: u32 = 256;

/// A read of at least this size belongs to a stream that comes faster than it plays, so the next read may gather more.
const MUCH_BYTES: usize = 2 * RTMP_BUFFER_CACHE_SIZE;

/// If the rest of a chunk is longer than this, it is read directly into the body, even if one read cannot fill both the
/// body and `m_sb`.
const DIRECT_BYTES: usize = RTMP_BUFFER_CACHE_SIZE / 2;

/// A read's result, for [`conclude`]: bytes, or `None` at the peer's end.
type Came = io::Result<Option<usize>>;

/// Reads into `first` and then into `second` from wherever the session's bytes come, decrypted.
fn receive(r: Session, first: &mut [u8], second: &mut [u8]) -> Came {
    let timeout_s = r.Link.timeout.get();
    r.m_sb.sb_timedout.set(FALSE);
    let result = match super::tunnel::receive(r, first) {
        Some(result) => result,
        None => {
            let flows = r.inner(|inner| &inner.flows);
            let result = r.m_sb.gather(first, second, timeout_s, flows);
            r.set_inner(|inner| &inner.flows, result.as_ref().is_ok_and(|&got| got >= MUCH_BYTES));
            result
        }
    };
    decrypt(r, result?, first, second)
}

/// Decrypts the bytes of a read.
fn decrypt(r: Session, got: usize, first: &mut [u8], second: &mut [u8]) -> Came {
    if got == 0 && !(first.is_empty() && second.is_empty()) {
        return Ok(None);
    }
    if let Some(mut ciphers) = r.take_inner(|inner| &inner.ciphers) {
        let in_first = got.min(first.len());
        ciphers.read.apply(&mut first[..in_first]);
        ciphers.read.apply(&mut second[..got - in_first]);
        r.set_inner(|inner| &inner.ciphers, Some(ciphers));
    }
    Ok(Some(got))
}

/// Ends the session after an error or the peer's end; returns `None` then, and if nothing came in time. The end frees
/// the memory that was read into, so the caller must hold no reference to it.
fn conclude(r: Session, came: Came) -> Option<usize> {
    match came {
        Ok(Some(got)) => Some(got),
        Ok(None) => {
            log::debug("RTMP socket closed by peer");
            close_session(r, false);
            None
        }
        Err(error) if super::sock::is_timeout(&error) => {
            r.m_sb.sb_timedout.set(TRUE);
            None
        }
        Err(error) => {
            if error.kind() != io::ErrorKind::ConnectionAborted {
                log::error(&format!("RTMP recv error: {error}"));
            }
            close_session(r, false);
            None
        }
    }
}

/// How a session reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Into the body and `m_sb` at once.
    Plain,
    /// First into one, then into the other: a TLS session or a tunnel fills one buffer at a time.
    Wrapped,
    /// Exact, from the socket.
    Peek,
    /// Exact, from a TLS session or a tunnel: only as much as is needed.
    Sip,
}

fn way(r: Session) -> Way {
    let plain = r.m_sb.sb_ssl.get().is_null() && !r.has_inner(|inner| &inner.tunnel);
    match (r.inner(|inner| &inner.exact), plain) {
        (false, true) => Way::Plain,
        (false, false) => Way::Wrapped,
        (true, true) => Way::Peek,
        (true, false) => Way::Sip,
    }
}

/// Free memory of the session for reading ahead, which no other code touches during a read.
///
/// # Safety
/// The result is not used after another read, after bytes are taken, or once the session is closed.
unsafe fn room<'a>(r: Session) -> &'a mut [u8] {
    // The old block lives until `free_part_of` has moved its bytes.
    let _old = resize(r);
    let (start, len) = match larger(r) {
        None => r.m_sb.free_part(),
        // SAFETY: the block is so long; what was read ahead lies there, in the old one or in `sb_buf`.
        Some((start, len)) => unsafe { r.m_sb.free_part_of(start, len) },
    };
    // SAFETY: the free part of either buffer, and contract of this function.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

/// Makes the buffer as large as wanted, and returns the old one.
fn resize(r: Session) -> Option<mem::Block> {
    let wanted = r.take_inner(|inner| &inner.ahead_wanted);
    if r.inner(|inner| &inner.small_reads) >= SMALL_READS && r.m_sb.buffered_len() == 0 {
        r.take_inner(|inner| &inner.small_reads);
        return r.take_inner(|inner| &inner.ahead);
    }
    if wanted <= ahead_len(r) {
        return None;
    }
    // If there is no memory, the old buffer stays.
    let block = mem::Block::new(wanted)?;
    let old = r.take_inner(|inner| &inner.ahead);
    r.set_inner(|inner| &inner.ahead, Some(block));
    old
}

/// The larger buffer for reading ahead, if there is one: its start and length.
fn larger(r: Session) -> Option<(*mut c_char, usize)> {
    let block = r.take_inner(|inner| &inner.ahead)?;
    let place = (block.start(), block.len());
    r.set_inner(|inner| &inner.ahead, Some(block));
    Some(place)
}

/// Length of the buffer for reading ahead.
fn ahead_len(r: Session) -> usize {
    larger(r).map_or(RTMP_BUFFER_CACHE_SIZE, |(_, len)| len)
}

/// Counts bytes that were read ahead. A read that fills its room makes the next buffer larger; many small reads free a
/// larger buffer.
fn count_ahead(r: Session, got: usize, room: usize) {
    r.m_sb.sb_size.set(r.m_sb.sb_size.get() + got as c_int);
    let len = ahead_len(r);
    let small = r.inner(|inner| &inner.small_reads).saturating_add(1);
    r.set_inner(|inner| &inner.small_reads, if got < RTMP_BUFFER_CACHE_SIZE { small } else { 0 });
    let most = if r.has_inner(|inner| &inner.ciphers) { AHEAD_ENCRYPTED_BYTES } else { AHEAD_BYTES };
    if got == room && room > len / 2 && len < most {
        r.set_inner(|inner| &inner.ahead_wanted, len * AHEAD_STEP);
    }
}

/// Reads at least one byte more into `m_sb`; `need` bytes are wanted now. False where [`conclude`] returns `None`.
pub(super) fn fill(r: Session, need: usize) -> bool {
    let way = way(r);
    if way == Way::Peek {
        // A peek would return the bytes again that are in `m_sb` already.
        discard_peeked(r);
    }
    // SAFETY: used up before `conclude`, which may close the session.
    let room = unsafe { room(r) };
    let len = if way == Way::Sip { need.min(room.len()) } else { room.len() };
    let room = &mut room[..len];
    let came = if way == Way::Peek {
        let timeout_s = r.Link.timeout.get();
        r.m_sb.sb_timedout.set(FALSE);
        r.m_sb.peek(room, timeout_s).and_then(|got| decrypt(r, got, room, &mut []))
    } else {
        receive(r, room, &mut [])
    };
    let Some(got) = conclude(r, came) else { return false };
    if way == Way::Peek {
        r.set_inner(|inner| &inner.peeked, got);
        r.m_sb.sb_size.set(r.m_sb.sb_size.get() + got as c_int);
    } else {
        count_ahead(r, got, len);
    }
    true
}

/// Makes the kernel drop the bytes that were peeked at, once all of them are taken or belong to the message being read.
/// Bytes for a later call stay with the kernel until then, so that the socket is readable.
pub(super) fn discard_peeked(r: Session) {
    let len = r.take_inner(|inner| &inner.peeked);
    r.m_sb.discard(len);
}

/// Reads `len` bytes to `start`, those read ahead first; bytes beyond them go into `m_sb`. Returns fewer if the rest
/// did not come; then the session may be closed, and that memory freed.
///
/// # Safety
/// `len` bytes at `start` are writable, no part of `m_sb`, and live until the session is closed.
pub(super) unsafe fn read_into(r: Session, start: *mut u8, len: usize) -> usize {
    let mut done = 0;
    while done < len {
        // SAFETY: contract; the session is not closed while the loop goes on.
        let rest = unsafe { start.add(done) };
        // SAFETY: as above.
        let rest = unsafe { std::slice::from_raw_parts_mut(rest, len - done) };
        // SAFETY: copied at once.
        let ahead = unsafe { r.m_sb.buffered() };
        if !ahead.is_empty() {
            let len = ahead.len().min(rest.len());
            rest[..len].copy_from_slice(&ahead[..len]);
            r.m_sb.consume(len);
            done += len;
            continue;
        }
        let way = way(r);
        if rest.len() < DIRECT_BYTES && matches!(way, Way::Wrapped | Way::Peek) {
            if !fill(r, rest.len()) {
                break;
            }
            continue;
        }
        if way == Way::Peek {
            discard_peeked(r);
        }
        // SAFETY: used up before `conclude`, which may close the session.
        let ahead = if way == Way::Plain { unsafe { room(r) } } else { &mut [] };
        let room = ahead.len();
        let wanted = rest.len();
        let came = receive(r, rest, ahead);
        let Some(got) = conclude(r, came) else { break };
        let in_rest = got.min(wanted);
        count_ahead(r, got - in_rest, room);
        done += in_rest;
    }
    done
}

/// Fills `buffer` and reads no byte more, for handshakes: the bytes after them may be encrypted. False if the bytes do
/// not come, or if `late`, which is called after each read, returns true.
pub(super) fn read_exact(r: Session, buffer: &mut [u8], mut late: impl FnMut() -> bool) -> bool {
    // SAFETY: copied at once.
    let ahead = unsafe { r.m_sb.buffered() };
    let mut done = ahead.len().min(buffer.len());
    buffer[..done].copy_from_slice(&ahead[..done]);
    r.m_sb.consume(done);
    while done < buffer.len() {
        let came = receive(r, &mut buffer[done..], &mut []);
        let Some(got) = conclude(r, came) else { break };
        done += got;
        if late() && done < buffer.len() {
            r.m_sb.sb_timedout.set(TRUE);
            break;
        }
    }
    count(r, done);
    done == buffer.len()
}

/// Counts bytes that were taken.
#[inline]
pub(super) fn count(r: Session, len: usize) {
    r.m_nBytesIn.set(r.m_nBytesIn.get().wrapping_add(len as c_int));
}
