//! From `RTMP_Alloc` to `RTMP_Free`, and the rule that lets another thread close a session.
//!
//! Every call on a session counts itself in [`Life`] (padding in C). If no call is running, `RTMP_Close` closes at
//! once, and calls that begin meanwhile wait. If one is running, `RTMP_Close` marks the session [`CLOSING`] and shuts
//! the socket down, so that the running call fails soon, and the last call that leaves does the closing. The mark
//! [`HANDS_ON_FD`] keeps the descriptor open while the foreign thread shuts it down, so that its number cannot belong
//! to another file meanwhile.
//!
//! Programs pass a session to `RTMP_Init` or `RTMP_Free` when their own `RTMP_Close` has returned, even if another
//! thread closes it too. So a close that finds another one running returns when that is over, a closing thread's last
//! access is one store, and `RTMP_Free` waits for closes that have not returned.
//!
//! A thread that closes a session while another thread's call is running uses only the addresses of [`Life`] and of the
//! descriptor, which are atomics. Only counted calls, and a close that has found none running, make a [`Session`],
//! which gives access to the rest.
//!
//! A call that only takes bytes from memory does not count itself: it raises [`Life::quick`], which costs half as much,
//! and a close waits for that.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::{offset_of, size_of};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, Ordering};
use std::time::Duration;

use super::inner::{ChannelIn, ChannelOut, Session};
use super::types::*;
use super::{commands, guard, mem};

/// A close from another thread waits for the running call.
const CLOSING: u16 = 1 << 15;
/// Another thread is using the descriptor.
const HANDS_ON_FD: u16 = 1 << 14;
/// A close is running, and other calls wait.
const ENDING: u16 = 1 << 13;
/// How often a call checks whether the close that it waits for is done.
const CLOSE_LOOK: Duration = Duration::from_millis(1);
/// The count of running calls.
const CALLS: u16 = ENDING - 1;

/// The count of calls that use a session, and their marks.
#[repr(C)]
pub struct Life {
    /// Calls, and the marks above.
    running: AtomicU16,
    /// A quick call is running: it makes no system call and calls no function of the program.
    quick: AtomicBool,
    /// Closes that wait for the one that is running. They do not count as calls, because they do nothing else.
    waiting: AtomicU8,
}

impl Life {
    /// Whether another thread wants the running call to end.
    pub(super) fn is_closing(&self) -> bool {
        self.running.load(Ordering::Relaxed) & CLOSING != 0
    }

    /// Counts a call, once no close is running in another thread.
    #[inline]
    fn enter(&self, r: *const RTMP) {
        loop {
            let state = self.running.load(Ordering::Relaxed);
            if state & ENDING != 0 && !closes_here(r) {
                // A close may wait for the other side: for seconds.
                std::thread::sleep(CLOSE_LOOK);
            } else if self.running.compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}

thread_local! {
    /// The session this thread is closing: a log callback may make calls on it.
    static CLOSES: Cell<*const RTMP> = const { Cell::new(ptr::null()) };
}

#[cold]
fn closes_here(r: *const RTMP) -> bool {
    CLOSES.get() == r
}

impl Life {
    /// Ends the count of a waiting close, unless the session was set up again meanwhile.
    fn wait_no_more(&self) {
        let _ = self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |count| count.checked_sub(1));
    }

    /// Begins with no users.
    fn begin(&self) {
        self.running.store(0, Ordering::SeqCst);
        self.quick.store(false, Ordering::SeqCst);
        self.waiting.store(0, Ordering::SeqCst);
    }

    /// Waits for closes of other threads that have not returned.
    fn wait_for_closes(&self, r: *const RTMP) {
        let closes = || self.running.load(Ordering::SeqCst) & ENDING != 0 || self.waiting.load(Ordering::SeqCst) != 0;
        while closes() && !closes_here(r) {
            std::thread::sleep(CLOSE_LOOK);
        }
    }
}

/// The initial values of a session.
const BUFFER_MS: c_int = 30_000;
const BANDWIDTH_BYTES: c_int = 2_500_000;
const TIMEOUT_S: c_int = 30;
const SWF_AGE_DAYS: c_int = 30;
const AUDIO_CODECS: f64 = 3191.0;
const VIDEO_CODECS: f64 = 252.0;

/// Programs can check in this variable whether TLS was set up; the library does not use it.
#[unsafe(no_mangle)]
pub static RTMP_TLS_ctx: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The [`Life`] of a session. Its fields are atomics, so a reference that is no longer used may outlive the session,
/// which belongs to the program again as soon as the last call has left.
///
/// # Safety
/// `r` is a session.
#[inline]
unsafe fn life<'a>(r: *mut RTMP) -> &'a Life {
    // SAFETY: contract of this function; the reference is only to this field.
    unsafe { &(*r).m_sb.life }
}

/// Runs a call on a session. For NULL it returns `otherwise`.
///
/// # Safety
/// The contract of all pointers: `r` is NULL or a session, on which other threads call only `RTMP_Close`.
pub(super) unsafe fn on_session<T>(r: *mut RTMP, otherwise: T, body: impl FnOnce(Session) -> T) -> T {
    // SAFETY: contract of this function. A foreign close touches only atomics as long as the call is counted.
    let Some(session) = (unsafe { Session::new(r) }) else { return otherwise };
    // SAFETY: as above.
    let life = unsafe { life(r) };
    life.enter(r);
    let result = guard(otherwise, || body(session));
    // SAFETY: as above; counted by `enter`.
    unsafe { leave(session, life) };
    result
}

/// [`on_session`] for a call that mostly takes bytes from memory: `quick` tries that first; it must not panic, wait, or
/// call the program.
///
/// # Safety
/// That of [`on_session`].
#[inline]
pub(super) unsafe fn on_session_quickly<T, A>(
    r: *mut RTMP,
    otherwise: T,
    argument: &mut A,
    quick: impl FnOnce(Session, &mut A) -> Option<T>,
    body: impl FnOnce(Session, &mut A) -> T,
) -> T {
    // SAFETY: contract of this function. A foreign close waits for `quick` to fall.
    let Some(session) = (unsafe { Session::new(r) }) else { return otherwise };
    // SAFETY: as above.
    let life = unsafe { life(r) };
    life.quick.swap(true, Ordering::SeqCst);
    // A close that begins after this waits until `quick` is cleared.
    let done = match life.running.load(Ordering::SeqCst) {
        0 => quick(session, argument),
        _ => None,
    };
    life.quick.store(false, Ordering::Release);
    match done {
        Some(result) => result,
        // SAFETY: contract of this function.
        None => unsafe { on_session(r, otherwise, |r| body(r, argument)) },
    }
}

/// Ends a call; the last call does the closing that another thread asked for.
///
/// # Safety
/// The contract of all pointers; this call is counted.
#[inline]
unsafe fn leave(r: Session, life: &Life) {
    loop {
        let state = life.running.load(Ordering::Acquire);
        let closes = state & CLOSING != 0 && state & CALLS == 1;
        let next = if closes { state | ENDING } else { without_one(state) };
        if life.running.compare_exchange(state, next, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            if closes {
                // SAFETY: contract of this function; ENDING is set, and no other call is running.
                unsafe { end(r, life) };
            }
            return;
        }
    }
}

/// The state with one call less. The count may be 0 already, if the program's log function has set up the session again
/// within the call.
fn without_one(state: u16) -> u16 {
    if state & CALLS == 0 { state } else { state - 1 }
}

/// Closes the session, lets new calls begin, and ends the caller's call.
///
/// # Safety
/// The contract of all pointers; the caller is the only call that is counted, and has set [`ENDING`].
#[cold]
unsafe fn end(r: Session, life: &Life) {
    while life.quick.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    let outer = CLOSES.replace(r.pointer());
    guard((), || close_session(r, false));
    CLOSES.set(outer);
    // This clears `CLOSING` too, because a close that was requested meanwhile is done. From now on the session may
    // belong to the program again.
    let done = |state: u16| Some(without_one(state & !(ENDING | CLOSING)));
    let _ = life.running.fetch_update(Ordering::SeqCst, Ordering::Relaxed, done);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Close(r: *mut RTMP) {
    if r.is_null() {
        return;
    }
    // SAFETY: contract: a session.
    let life = unsafe { life(r) };
    let running = &life.running;
    life.waiting.fetch_add(1, Ordering::SeqCst);
    let state = loop {
        let state = running.load(Ordering::Acquire);
        if state & CALLS == 0 {
            if running.compare_exchange(state, (state + 1) | ENDING, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                life.wait_no_more();
                // SAFETY: contract: a session; no other call is running, and none begins.
                if let Some(session) = unsafe { Session::new(r) } {
                    // SAFETY: as above.
                    unsafe { end(session, life) };
                }
                return;
            }
            continue;
        }
        let marked = state | CLOSING | HANDS_ON_FD;
        if state & HANDS_ON_FD != 0 {
            std::thread::yield_now();
        } else if running.compare_exchange(state, marked, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            break state;
        }
    };
    // SAFETY: contract: a session; the reference is only to this field.
    let fd = unsafe { &(*r).m_sb.sb_socket }.load(Ordering::SeqCst);
    if fd != -1 {
        // The descriptor stays open while HANDS_ON_FD is set.
        super::system::shut_down(fd);
    }
    running.fetch_and(!HANDS_ON_FD, Ordering::SeqCst);
    // `CLOSING` makes a running close hurry; this one returns when that is over.
    while state & ENDING != 0 && running.load(Ordering::SeqCst) & ENDING != 0 && !closes_here(r) {
        std::thread::sleep(CLOSE_LOOK);
    }
    life.wait_no_more();
}

impl RTMPSockBuf {
    /// Stores the descriptor in the session.
    pub(super) fn put_socket(&self, fd: c_int) {
        self.sb_socket.store(fd, Ordering::SeqCst);
    }

    /// Removes the descriptor from the session, once no other thread uses it.
    pub(super) fn take_socket(&self) -> c_int {
        let fd = self.sb_socket.swap(-1, Ordering::SeqCst);
        while self.life.running.load(Ordering::SeqCst) & HANDS_ON_FD != 0 {
            std::thread::yield_now();
        }
        fd
    }
}

/// Ends the conversation, after telling the server, and frees its memory. Chunk sizes, bandwidths and the program's
/// strings in `Link` stay; with `keep_url` the strings that a login made stay too.
pub(super) fn close_session(r: Session, keep_url: bool) {
    if r.is_connected() {
        say_goodbye(r);
    }
    forget(r, keep_url);
}

/// Ends the conversation without closing commands, after a message that was only partly sent: the other side would take
/// them for the rest of that message, and sending them would wait for the time-out again.
pub(super) fn break_off(r: Session) {
    forget(r, false);
}

/// Tells the server that the stream ends.
fn say_goodbye(r: Session) {
    let published = r.is_publisher();
    super::tunnel::hurry(r);
    if r.m_stream_id.get() > 0 {
        let stream = r.m_stream_id.replace(-1);
        if !r.m_sb.wait_for_room() {
            return;
        }
        // A send that fails closes the session, and later sends do nothing.
        if published {
            commands::fc_unpublish(r);
        }
        commands::delete_stream(r, stream);
    }
    super::tunnel::close(r);
    if published {
        r.m_sb.linger();
    }
}

/// Closes the socket and frees the conversation's memory.
fn forget(r: Session, keep_url: bool) {
    r.m_sb.close();
    r.m_stream_id.set(-1);
    r.m_nBWCheckCounter.set(0);
    r.m_nBytesIn.set(0);
    r.m_nBytesInSent.set(0);
    reset_reading(r);
    let mut half = r.m_write.get();
    r.m_write.set(RTMPPacket { m_body: ptr::null_mut(), m_nBytesRead: 0, ..half });
    free_packet_body(&mut half);
    free_channels(r);
    free_calls(r);
    r.m_numInvokes.set(0);
    r.m_bPlaying.set(0);
    r.m_sb.sb_size.set(0);
    r.m_msgCounter.set(0);
    r.m_resplen.set(0);
    r.m_unackd.set(0);
    r.drop_inner();
    if !keep_url {
        free_made(&r.Link.tcUrl, &r.Link.lFlags, RTMP_LF_FTCU);
        free_made(&r.Link.app, &r.Link.lFlags, RTMP_LF_FAPU);
        let made = r.Link.playpath0.replace(AVal::NULL).start();
        if !made.is_null() && ptr::eq(made, r.Link.playpath.get().start()) {
            r.Link.playpath.set(AVal::NULL);
        }
        // SAFETY: from the C allocator, and forgotten.
        unsafe { mem::free(made) };
    }
}

/// Frees a string that this library made.
fn free_made(text: &Cell<AVal>, flags: &Cell<c_int>, bit: c_int) {
    if flags.get() & bit != 0 {
        flags.set(flags.get() & !bit);
        let made = text.replace(AVal::NULL).start();
        // SAFETY: the flag says that it is from the C allocator and ours, and the session has forgotten it.
        unsafe { mem::free(made) };
    }
}

/// Frees the bytes that `RTMP_Read` holds, and resets its state.
fn reset_reading(r: Session) {
    let kept = r.m_read.buf.replace(ptr::null_mut());
    // SAFETY: made only by `RTMP_Read`, from the C allocator, and forgotten.
    unsafe { mem::free(kept) };
    r.m_read.bufpos.set(ptr::null_mut());
    r.m_read.buflen.set(0);
    r.m_read.dataType.set(0);
    r.m_read.flags.set(0);
    r.m_read.status.set(0);
    r.m_read.nResumeTS.set(0);
    r.m_read.nIgnoredFrameCounter.set(0);
    r.m_read.nIgnoredFlvFrameCounter.set(0);
}

/// Frees a packet's body.
pub(super) fn free_packet_body(packet: &mut RTMPPacket) {
    let body = std::mem::replace(&mut packet.m_body, ptr::null_mut());
    // SAFETY: contract: 18 bytes after a block of the C allocator.
    unsafe { mem::free_body(body) };
}

fn free_channels(r: Session) {
    let (channels_in, len_in) = (r.m_vecChannelsIn.replace(ptr::null_mut()), r.m_channelsAllocatedIn.replace(0));
    let (channels_out, len_out) = (r.m_vecChannelsOut.replace(ptr::null_mut()), r.m_channelsAllocatedOut.replace(0));
    let times = r.m_channelTimestamp.replace(ptr::null_mut());
    // SAFETY: the table is ours, and forgotten.
    for channel in unsafe { taken(channels_in, len_in) } {
        // SAFETY: made from a Box by the reader.
        let mut channel = unsafe { Box::from_raw(channel.cast::<ChannelIn>()) };
        free_packet_body(&mut channel.packet);
    }
    // SAFETY: as above.
    for channel in unsafe { taken(channels_out, len_out) } {
        // SAFETY: made from a Box by the sender. Its body was never kept.
        drop(unsafe { Box::from_raw(channel.cast::<ChannelOut>()) });
    }
    // SAFETY: made together with the first table, and forgotten.
    unsafe { mem::free(times) };
}

/// The entries of a table that are not NULL. The table is freed.
///
/// # Safety
/// `table` is NULL or from [`super::inner::grow_table`] with `len` entries, and not used again.
unsafe fn taken(table: *mut *mut RTMPPacket, len: c_int) -> Vec<*mut RTMPPacket> {
    let len = if table.is_null() { 0 } else { usize::try_from(len).unwrap_or(0) };
    let mut entries = Vec::new();
    for index in 0..len {
        // SAFETY: contract of this function.
        let entry = unsafe { table.add(index) };
        // SAFETY: as above.
        let entry = unsafe { entry.read() };
        if !entry.is_null() {
            entries.push(entry);
        }
    }
    // SAFETY: contract of this function.
    unsafe { mem::free(table) };
    entries
}

fn free_calls(r: Session) {
    while r.m_numCalls.get() > 0 {
        super::calls::remove(r, 0);
    }
    let table = r.m_methodCalls.replace(ptr::null_mut());
    // SAFETY: made by `calls`, from the C allocator, and forgotten.
    unsafe { mem::free(table) };
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_Alloc() -> *mut RTMP {
    mem::zeroed()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Free(r: *mut RTMP) {
    if r.is_null() {
        return;
    }
    // SAFETY: contract: a session.
    unsafe { life(r) }.wait_for_closes(r);
    // SAFETY: contract: the caller gives the session up.
    if let Some(session) = unsafe { Session::new(r) } {
        guard((), || {
            // A socket that the program made stays open.
            if !session.inner(|inner| &inner.own_socket) {
                session.m_sb.put_socket(-1);
            }
            close_session(session, false);
        });
    }
    // SAFETY: contract: from RTMP_Alloc.
    unsafe { mem::free(r) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Init(r: *mut RTMP) {
    if r.is_null() {
        return;
    }
    let before = offset_of!(RTMP, m_sb) + offset_of!(RTMPSockBuf, life);
    let behind = before + size_of::<Life>();
    // SAFETY: contract: memory for a session; what was there is not looked at. Likewise below.
    unsafe { ptr::write_bytes(r.cast::<u8>(), 0, before) };
    // SAFETY: as above.
    let rest = unsafe { r.cast::<u8>().add(behind) };
    // SAFETY: as above.
    unsafe { ptr::write_bytes(rest, 0, size_of::<RTMP>() - behind) };
    // SAFETY: as above. Another thread's close of the session that was here may be about to return.
    unsafe { life(r) }.begin();
    // SAFETY: zero bytes are a session.
    let Some(r) = (unsafe { Session::new(r) }) else { return };
    r.m_sb.put_socket(-1);
    r.m_inChunkSize.set(RTMP_DEFAULT_CHUNKSIZE);
    r.m_outChunkSize.set(RTMP_DEFAULT_CHUNKSIZE);
    r.m_nBufferMS.set(BUFFER_MS);
    r.m_nClientBW.set(BANDWIDTH_BYTES);
    r.m_nClientBW2.set(2);
    r.m_nServerBW.set(BANDWIDTH_BYTES);
    r.m_fAudioCodecs.set(AUDIO_CODECS);
    r.m_fVideoCodecs.set(VIDEO_CODECS);
    r.Link.timeout.set(TIMEOUT_S);
    r.Link.swfAge.set(SWF_AGE_DAYS);
    RTMP_TLS_Init();
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_TLS_Init() {
    static MARK: u8 = 0;
    RTMP_TLS_ctx.store((&raw const MARK).cast_mut().cast(), Ordering::Relaxed);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_EnableWrite(r: *mut RTMP) {
    // SAFETY: contract.
    if let Some(r) = unsafe { Session::new(r) } {
        r.Link.protocol.set(r.Link.protocol.get() | RTMP_FEATURE_WRITE);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_IsConnected(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { Session::new(r) }.is_some_and(|r| r.is_connected()).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Socket(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { Session::new(r) }.map_or(-1, |r| r.m_sb.socket())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_IsTimedout(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { Session::new(r) }.map_or(0, |r| r.m_sb.sb_timedout.get())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_GetDuration(r: *mut RTMP) -> f64 {
    // SAFETY: contract.
    unsafe { Session::new(r) }.map_or(0.0, |r| r.m_fDuration.get())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SetBufferMS(r: *mut RTMP, size: c_int) {
    // SAFETY: contract.
    if let Some(r) = unsafe { Session::new(r) } {
        r.m_nBufferMS.set(size);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_LibVersion() -> c_int {
    RTMP_LIB_VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_UserInterrupt() {
    RTMP_ctrlC.store(TRUE, Ordering::Relaxed);
}

/// Milliseconds of a clock that only goes forward. It wraps after 49 days.
#[unsafe(no_mangle)]
pub extern "C" fn RTMP_GetTime() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: our own value.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000) as u32
}
