//! The handle of a session, and the library's own part of one: fields that have no place in the public structure.
//! `m_clientID`, which no program touches, points to that part; it is made when first needed and freed by `RTMP_Close`
//! and `RTMP_Free`.

use std::cell::Cell;
use std::ffi::c_int;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use super::flv_write::Writing;
use super::mem::Block;
use super::tunnel::Tunnelled;
use super::types::{AVal, RTMP, RTMPPacket};
use crate::proto::chunk_header::{HEADER_MAX_BYTES, Previous};
use crate::proto::rtmpe::Ciphers;

/// A chunk whose body has not completely arrived.
#[derive(Clone, Copy)]
pub(super) struct OpenChunk {
    /// Its chunk stream.
    pub(super) channel: u32,
    /// Bytes of the chunk that are missing.
    pub(super) missing: u32,
    /// Its header, for programs that pass chunks on.
    pub(super) header: [u8; HEADER_MAX_BYTES],
    /// Bytes of the header.
    pub(super) header_len: usize,
    /// Where its payload begins in the message.
    pub(super) from: u32,
}

/// The library's own part of a session. Every field is a cell, as a session's are.
#[derive(Default)]
pub(super) struct Inner {
    /// Both directions' ciphers, once an encrypted handshake is done.
    pub(super) ciphers: Cell<Option<Box<Ciphers>>>,
    /// The tunnel of a session in HTTP.
    pub(super) tunnel: Cell<Option<Box<Tunnelled>>>,
    /// The chunk that is being read, if any.
    pub(super) open_chunk: Cell<Option<OpenChunk>>,
    /// Bytes set aside for messages that are not complete.
    pub(super) open_bytes: Cell<u64>,
    /// The buffer in which a message is put together for one system call.
    pub(super) out: Cell<Vec<u8>>,
    /// The library made the socket, not the program.
    pub(super) own_socket: Cell<bool>,
    /// The program polls the socket itself: bytes for a later call must stay in the socket ([`super::ahead`]).
    pub(super) exact: Cell<bool>,
    /// Bytes of an exact session that were read ahead and that the kernel still keeps: those taken from `m_sb` since,
    /// and those left in it.
    pub(super) peeked: Cell<usize>,
    /// The last read was a large one ([`super::ahead`]).
    pub(super) flows: Cell<bool>,
    /// The larger buffer for reading ahead, once `sb_buf` was too small.
    pub(super) ahead: Cell<Option<Block>>,
    /// The least length of this buffer from the next read on.
    pub(super) ahead_wanted: Cell<usize>,
    /// Reads in a row that fit `sb_buf`.
    pub(super) small_reads: Cell<u32>,
    /// A report of bytes read is being sent: meanwhile a lost peer does not end the session.
    pub(super) is_reporting: Cell<bool>,
    /// The state of `RTMP_Write` between two slices.
    pub(super) writing: Cell<Writing>,
}

/// The memory of one incoming chunk stream. The packet comes first: the public table points at it.
#[repr(C)]
pub(super) struct ChannelIn {
    pub(super) packet: RTMPPacket,
    pub(super) previous: Previous,
    /// Capacity of the half-read body, in bytes.
    pub(super) room: u32,
    /// A header was seen.
    pub(super) used: bool,
}

/// The memory of one outgoing chunk stream. The packet comes first: the public table points at it.
#[repr(C)]
pub(super) struct ChannelOut {
    /// The message that was sent last, without its body.
    pub(super) packet: RTMPPacket,
    /// The milliseconds that every reader adds for a next message without a time in its header. `None` if readers
    /// differ: after a full header with a time other than 0 the specification (5.3.1.2.4) adds that time once more, and
    /// nginx-rtmp adds nothing.
    pub(super) repeats_ms: Option<u32>,
}

/// A session during a call: the pointer that the program gave.
///
/// A call hands copies of the handle to its functions. The handle gives access to the session's fields, which are cells
/// and atomics, so no reference to a session has to be exclusive, and none outlives an expression. Functions that give
/// references to a session's tables, bodies and buffers are `unsafe` and state how long the references hold.
#[derive(Clone, Copy)]
pub(super) struct Session(NonNull<RTMP>);

impl Session {
    /// The session of an export; `None` for NULL.
    ///
    /// # Safety
    /// The contract of all pointers: `r` is NULL or a session, which does not move as long as a copy of the handle
    /// is used. Meanwhile other threads touch only `m_sb.life`, and read `m_sb.sb_socket`.
    #[inline]
    pub(super) unsafe fn new(r: *mut RTMP) -> Option<Self> {
        NonNull::new(r).map(Self)
    }

    /// The program's pointer.
    pub(super) fn pointer(self) -> *mut RTMP {
        self.0.as_ptr()
    }

    /// The library's own part, if it exists.
    ///
    /// # Safety
    /// The result is not used once the session may have been closed, which frees the part: no call is made meanwhile.
    #[inline]
    unsafe fn part<'a>(self) -> Option<&'a Inner> {
        // SAFETY: NULL, or from the Box in `part_made`, and taken back only by `drop_inner`.
        unsafe { self.m_clientID.get().start().cast::<Inner>().as_ref() }
    }

    /// The library's own part, made if it does not exist.
    ///
    /// # Safety
    /// That of [`part`](Self::part).
    unsafe fn part_made<'a>(self) -> &'a Inner {
        if self.m_clientID.get().start().is_null() {
            let made = Box::into_raw(Box::<Inner>::default());
            // SAFETY: no string: its length is 0.
            self.m_clientID.set(unsafe { AVal::new(made.cast(), 0) });
        }
        // SAFETY: from the Box above.
        unsafe { &*self.m_clientID.get().start().cast() }
    }

    /// A field of the library's own part; its default if there is no such part.
    #[inline]
    pub(super) fn inner<T: Copy + Default>(self, field: fn(&Inner) -> &Cell<T>) -> T {
        // SAFETY: `field` captures nothing, so it has no session to close.
        unsafe { self.part() }.map_or_else(T::default, |inner| field(inner).get())
    }

    /// Takes a field's value, and leaves the default.
    #[inline]
    pub(super) fn take_inner<T: Default>(self, field: fn(&Inner) -> &Cell<T>) -> T {
        // SAFETY: `field` captures nothing, so it has no session to close.
        unsafe { self.part() }.map_or_else(T::default, |inner| field(inner).take())
    }

    /// Sets a field. The part is made if it does not exist.
    #[inline]
    pub(super) fn set_inner<T>(self, field: fn(&Inner) -> &Cell<T>, value: T) {
        // SAFETY: `field` captures nothing, and what is dropped in its place knows no session.
        field(unsafe { self.part_made() }).set(value);
    }

    /// Whether a field has a value.
    pub(super) fn has_inner<T>(self, field: fn(&Inner) -> &Cell<Option<T>>) -> bool {
        // SAFETY: `field` captures nothing, so it has no session to close.
        unsafe { self.part() }.is_some_and(|inner| {
            let value = field(inner).take();
            let there = value.is_some();
            field(inner).set(value);
            there
        })
    }

    /// Frees the library's own part.
    pub(super) fn drop_inner(self) {
        let inner = self.m_clientID.replace(AVal::NULL).start();
        // The bytes read ahead may be in the part's buffer.
        self.m_sb.sb_start.set(self.m_sb.sb_buf.get().cast());
        self.m_sb.sb_size.set(0);
        if !inner.is_null() {
            // SAFETY: from the Box in `part_made`, and forgotten by the session; references to it end with the
            // expression they are used in.
            drop(unsafe { Box::<Inner>::from_raw(inner.cast()) });
        }
    }

    /// The time of the last message on a chunk stream, in milliseconds; 0 if there was none.
    pub(super) fn channel_time(self, channel: c_int) -> u32 {
        let times = self.m_channelTimestamp.get();
        match usize::try_from(channel) {
            Ok(index) if channel < self.m_channelsAllocatedIn.get() && !times.is_null() => {
                // SAFETY: within the table.
                let time = unsafe { times.add(index) };
                // SAFETY: as above.
                (unsafe { time.read() }) as u32
            }
            _ => 0,
        }
    }
}

impl Deref for Session {
    type Target = RTMP;

    #[inline]
    fn deref(&self) -> &RTMP {
        // SAFETY: contract of `new`. All of it are cells and atomics, so this says nothing about who else writes there.
        unsafe { self.0.as_ref() }
    }
}

/// Grows a table to `len` entries of zero bytes. False without memory.
///
/// # Safety
/// `table` is NULL or from here, with `old` entries, none of which anybody refers to; zero bytes are a valid entry.
pub(super) unsafe fn grow_table<T>(table: &Cell<*mut T>, old: c_int, len: usize) -> bool {
    let old = usize::try_from(old).unwrap_or(0);
    // SAFETY: contract of this function.
    let Some(new) = (unsafe { super::mem::grow(table.get(), len) }) else { return false };
    table.set(new);
    // SAFETY: the new entries lie within the table.
    let fresh = unsafe { new.add(old) };
    // SAFETY: as above; zero bytes are valid.
    unsafe { ptr::write_bytes(fresh, 0, len - old) };
    true
}
