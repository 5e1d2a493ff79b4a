//! The library's own part of a session: what has no place in the public structure. It hangs on `m_clientID`, which no
//! program touches, is made when first needed and freed by `RTMP_Close` and `RTMP_Free`.

use std::ffi::c_int;
use std::ptr;

use super::ptr::entry;
use super::types::{AVal, RTMP, RTMPPacket};
use crate::proto::chunk_header::{HEADER_MAX_BYTES, Previous};
use crate::proto::rtmpe::Ciphers;

/// A chunk whose body has not wholly arrived.
#[derive(Clone, Copy)]
pub(super) struct OpenChunk {
    /// Its chunk stream.
    pub(super) channel: u32,
    /// Bytes of it that are missing.
    pub(super) missing: u32,
    /// Its header, for programs that pass chunks on.
    pub(super) header: [u8; HEADER_MAX_BYTES],
    /// Bytes of the header.
    pub(super) header_len: usize,
    /// Where its payload begins in the message.
    pub(super) from: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Inner {
    /// Both directions' ciphers, once an encrypted handshake is done.
    pub(super) ciphers: Option<Ciphers>,
    /// RTMP in HTTP.
    pub(super) tunnel: Option<super::tunnel::Tunnelled>,
    /// The chunk that is being read.
    pub(super) open_chunk: Option<OpenChunk>,
    /// Bytes set aside for messages that are not complete.
    pub(super) open_bytes: u64,
    /// Where messages are put together for one system call.
    pub(super) out: Vec<u8>,
    /// The socket was made here, not by the program.
    pub(super) own_socket: bool,
    /// The program polls the socket itself: none may be taken from it that a later call needs ([`super::ahead`]).
    pub(super) exact: bool,
    /// Bytes that were read ahead in an exact session and that the kernel still keeps: those of `m_sb` and, before them,
    /// what was taken.
    pub(super) peeked: usize,
    /// The last read brought much at once.
    pub(super) flows: bool,
    /// The larger buffer for what is read ahead, once `sb_buf` was too small; `None` before.
    pub(super) ahead: Option<super::mem::Block>,
    /// Bytes that buffer is to have at the next read, where it has fewer.
    pub(super) ahead_wanted: usize,
    /// Reads in a row for which `sb_buf` were enough.
    pub(super) small_reads: u32,
    /// A report of bytes read is being sent: the peer's end does not end the session.
    pub(super) is_reporting: bool,
    /// What `RTMP_Write` has of a tag.
    pub(super) writing: super::flv_write::Writing,
}

/// What one incoming chunk stream remembers. The packet comes first: the public table points at it.
#[repr(C)]
pub(super) struct ChannelIn {
    pub(super) packet: RTMPPacket,
    pub(super) previous: Previous,
    /// Bytes the half-read body has room for.
    pub(super) room: u32,
    /// A header was seen.
    pub(super) used: bool,
}

/// What one outgoing chunk stream remembers. The packet comes first: the public table points at it.
#[repr(C)]
pub(super) struct ChannelOut {
    /// The message that was sent last, without its body.
    pub(super) packet: RTMPPacket,
    /// What every reader adds, in milliseconds, where the next message has no time in its header. `None` after a message
    /// with a full header and a time other than 0: by the specification (5.3.1.2.4) a reader adds that time once more,
    /// nginx-rtmp adds nothing.
    pub(super) repeats_ms: Option<u32>,
}

impl RTMP {
    /// The library's own part, made if it is not there.
    pub(super) fn inner(&mut self) -> &mut Inner {
        if self.m_clientID.av_val.is_null() {
            self.m_clientID.av_val = Box::into_raw(Box::<Inner>::default()).cast();
        }
        // SAFETY: set only above, from a Box, and taken back only by `drop_inner`.
        unsafe { &mut *self.m_clientID.av_val.cast() }
    }

    /// The library's own part, if it is there.
    pub(super) fn inner_ref(&self) -> Option<&Inner> {
        // SAFETY: NULL, or from the Box above.
        unsafe { self.m_clientID.av_val.cast::<Inner>().as_ref() }
    }

    /// Frees the library's own part.
    pub(super) fn drop_inner(&mut self) {
        let inner = std::mem::replace(&mut self.m_clientID, AVal::NULL).av_val;
        // What was read ahead may have been there.
        (self.m_sb.sb_start, self.m_sb.sb_size) = (self.m_sb.sb_buf.as_mut_ptr(), 0);
        if !inner.is_null() {
            // SAFETY: from the Box above, and forgotten by the session.
            drop(unsafe { Box::<Inner>::from_raw(inner.cast()) });
        }
    }

    /// The time of the last message on a chunk stream, in milliseconds; 0 where there was none.
    pub(super) fn channel_time(&self, channel: c_int) -> u32 {
        if channel < 0 || channel >= self.m_channelsAllocatedIn || self.m_channelTimestamp.is_null() {
            return 0;
        }
        *entry(self.m_channelTimestamp, channel as usize) as u32
    }
}

/// Grows a table to `len` entries of zero bytes. False without memory.
///
/// # Safety
/// `table` is NULL or from here, with `old` entries; zero bytes are a valid entry.
pub(super) unsafe fn grow_table<T>(table: &mut *mut T, old: c_int, len: usize) -> bool {
    let old = usize::try_from(old).unwrap_or(0);
    // SAFETY: contract of this function.
    let Some(new) = (unsafe { super::mem::grow(*table, len) }) else { return false };
    *table = new;
    // SAFETY: the new entries lie within the table.
    let fresh = unsafe { new.add(old) };
    // SAFETY: as above; zero bytes are valid.
    unsafe { ptr::write_bytes(fresh, 0, len - old) };
    true
}
