//! From `RTMP_Alloc` to `RTMP_Free`, and the rule that lets another thread close a session.
//!
//! Every call on a session counts itself in [`Life`] (padding in C). `RTMP_Close` closes at once where no call is
//! running, and calls that begin meanwhile wait; else it marks the session [`CLOSING`] and shuts the socket down, so that
//! the running call fails soon, and the last call that leaves does the closing. The mark [`HANDS_ON_FD`] keeps the
//! descriptor open while the foreign thread shuts it down: its number cannot belong to another file meanwhile.
//!
//! Programs give a session to `RTMP_Init` or `RTMP_Free` when their own `RTMP_Close` has returned, whoever else closes
//! it. So a close that meets another one returns when that is over, what a closing thread does last is one store, and
//! `RTMP_Free` waits for closes that have not returned.
//!
//! A call that only takes what lies in memory does not count itself: it raises [`Life::quick`], which costs half as much,
//! and a close waits for that.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU16, Ordering};
use std::time::Duration;

use super::inner::{ChannelIn, ChannelOut};
use super::ptr::{entry, given, given_mut};
use super::types::*;
use super::{commands, guard, mem};

/// A close from another thread waits for the running call.
const CLOSING: u16 = 1 << 15;
/// Another thread is using the descriptor.
const HANDS_ON_FD: u16 = 1 << 14;
/// A close is running, and other calls wait.
const ENDING: u16 = 1 << 13;
/// How often a call looks whether the close it waits for is done.
const CLOSE_LOOK: Duration = Duration::from_millis(1);
/// The count of running calls.
const CALLS: u16 = ENDING - 1;

/// Who uses a session now.
#[repr(C)]
pub struct Life {
    /// Calls, and the marks above.
    running: AtomicU16,
    /// A quick call is running: it makes no system call and calls nothing of the program's.
    quick: AtomicBool,
    /// Closes that wait for the one that is running. They are no calls: nothing is left to do for them.
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
    /// Takes a close out of the count, unless the session was set up anew meanwhile.
    fn wait_no_more(&self) {
        let _ = self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |count| count.checked_sub(1));
    }

    /// Waits for closes of other threads that have not returned.
    fn wait_for_closes(&self, r: *const RTMP) {
        let closes = || self.running.load(Ordering::SeqCst) & ENDING != 0 || self.waiting.load(Ordering::SeqCst) != 0;
        while closes() && !closes_here(r) {
            std::thread::sleep(CLOSE_LOOK);
        }
    }
}

/// What sessions begin with.
const BUFFER_MS: c_int = 30_000;
const BANDWIDTH_BYTES: c_int = 2_500_000;
const TIMEOUT_S: c_int = 30;
const SWF_AGE_DAYS: c_int = 30;
const AUDIO_CODECS: f64 = 3191.0;
const VIDEO_CODECS: f64 = 252.0;

/// Programs can look whether TLS was set up; nothing here needs it.
#[unsafe(no_mangle)]
pub static RTMP_TLS_ctx: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Runs a call on a session. NULL gives `otherwise`.
pub(super) fn on_session<T>(r: *mut RTMP, otherwise: T, body: impl FnOnce(&mut RTMP) -> T) -> T {
    if r.is_null() {
        return otherwise;
    }
    // SAFETY: contract: a session.
    let life = unsafe { &(*r).m_sb.life };
    life.enter(r);
    let result = guard(otherwise, || {
        // SAFETY: contract: one call at a time; a foreign close touches atomics alone.
        body(unsafe { &mut *r })
    });
    // SAFETY: contract, as above.
    unsafe { leave(r, life) };
    result
}

/// The same, for a call that most often has next to nothing to do: that is tried first, by `quick`, which must not
/// panic, wait, or call anything of the program's.
#[inline]
pub(super) fn on_session_quickly<T, A>(
    r: *mut RTMP,
    otherwise: T,
    argument: &mut A,
    quick: impl FnOnce(&mut RTMP, &mut A) -> Option<T>,
    body: impl FnOnce(&mut RTMP, &mut A) -> T,
) -> T {
    if r.is_null() {
        return otherwise;
    }
    // SAFETY: contract: a session.
    let life = unsafe { &(*r).m_sb.life };
    life.quick.swap(true, Ordering::SeqCst);
    // Whoever begins to close after this waits for `quick` to fall.
    let done = match life.running.load(Ordering::SeqCst) {
        // SAFETY: contract: one call at a time; a foreign close touches atomics alone.
        0 => quick(unsafe { &mut *r }, argument),
        _ => None,
    };
    life.quick.store(false, Ordering::Release);
    match done {
        Some(result) => result,
        None => on_session(r, otherwise, |r| body(r, argument)),
    }
}

/// Ends a call; the last one does the closing that was asked for.
///
/// # Safety
/// The contract of all pointers; this call is counted.
#[inline]
unsafe fn leave(r: *mut RTMP, life: &Life) {
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

/// One call less. None is left where the program has set the session up anew within a call of its log function.
fn without_one(state: u16) -> u16 {
    if state & CALLS == 0 { state } else { state - 1 }
}

/// Closes the session, lets calls begin again, and ends the caller's.
///
/// # Safety
/// The contract of all pointers; the caller is the only call that is counted, and has set [`ENDING`].
#[cold]
unsafe fn end(r: *mut RTMP, life: &Life) {
    while life.quick.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    let outer = CLOSES.replace(r);
    guard((), || {
        // SAFETY: contract of this function.
        close_session(unsafe { &mut *r }, false);
    });
    CLOSES.set(outer);
    // What was asked for meanwhile is done as well. The session may be another's from here on.
    let done = |state: u16| Some(without_one(state & !(ENDING | CLOSING)));
    let _ = life.running.fetch_update(Ordering::SeqCst, Ordering::Relaxed, done);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Close(r: *mut RTMP) {
    if r.is_null() {
        return;
    }
    // SAFETY: contract: a session.
    let life = unsafe { &(*r).m_sb.life };
    let running = &life.running;
    life.waiting.fetch_add(1, Ordering::SeqCst);
    let state = loop {
        let state = running.load(Ordering::Acquire);
        if state & CALLS == 0 {
            if running.compare_exchange(state, (state + 1) | ENDING, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                life.wait_no_more();
                // SAFETY: contract: a session; no other call is running, and none begins.
                return unsafe { end(r, life) };
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
    // SAFETY: contract: a session.
    let socket = unsafe { &raw mut (*r).m_sb.sb_socket };
    // SAFETY: its owner reads and writes this field too, hence as an atomic.
    let fd = unsafe { AtomicI32::from_ptr(socket) }.load(Ordering::SeqCst);
    if fd != -1 {
        // SAFETY: the descriptor stays open while HANDS_ON_FD is set.
        unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
    }
    running.fetch_and(!HANDS_ON_FD, Ordering::SeqCst);
    // The mark makes a close that is running hurry.
    while state & ENDING != 0 && running.load(Ordering::SeqCst) & ENDING != 0 && !closes_here(r) {
        std::thread::sleep(CLOSE_LOOK);
    }
    life.wait_no_more();
}

impl RTMPSockBuf {
    /// Gives the session its descriptor.
    pub(super) fn put_socket(&mut self, fd: c_int) {
        // SAFETY: our own field; a foreign close reads it as an atomic.
        unsafe { AtomicI32::from_ptr(&raw mut self.sb_socket) }.store(fd, Ordering::SeqCst);
    }

    /// Takes the descriptor out of the session, once no other thread has its hands on it.
    pub(super) fn take_socket(&mut self) -> c_int {
        // SAFETY: our own field; a foreign close reads it as an atomic.
        let fd = unsafe { AtomicI32::from_ptr(&raw mut self.sb_socket) }.swap(-1, Ordering::SeqCst);
        while self.life.running.load(Ordering::SeqCst) & HANDS_ON_FD != 0 {
            std::thread::yield_now();
        }
        fd
    }
}

/// Ends the conversation, with a farewell, and frees what belongs to it. Chunk sizes, bandwidths and the strings of
/// `Link` stay; with `keep_url` the ones that authentication made, too.
pub(super) fn close_session(r: &mut RTMP, keep_url: bool) {
    if r.is_connected() {
        say_farewell(r);
    }
    forget(r, keep_url);
}

/// The same without a word, after a message that was not sent wholly: the other side would take a farewell for the rest
/// of it, and it would wait as long once more.
pub(super) fn break_off(r: &mut RTMP) {
    forget(r, false);
}

/// Tells the server that the stream ends, as far as it listens.
fn say_farewell(r: &mut RTMP) {
    let published = r.is_publisher();
    super::tunnel::hurry(r);
    if r.m_stream_id > 0 {
        let stream = std::mem::replace(&mut r.m_stream_id, -1);
        if !r.m_sb.wait_for_room() {
            return;
        }
        // Sending that fails ends the session.
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

/// Closes the socket and frees what belongs to the conversation.
fn forget(r: &mut RTMP, keep_url: bool) {
    r.m_sb.close();
    r.m_stream_id = -1;
    r.m_nBWCheckCounter = 0;
    (r.m_nBytesIn, r.m_nBytesInSent) = (0, 0);
    reset_reading(r);
    r.m_write.m_nBytesRead = 0;
    free_packet_body(&mut r.m_write);
    free_channels(r);
    free_calls(r);
    r.m_numInvokes = 0;
    r.m_bPlaying = 0;
    r.m_sb.sb_size = 0;
    (r.m_msgCounter, r.m_resplen, r.m_unackd) = (0, 0, 0);
    r.drop_inner();
    if !keep_url {
        free_made(&mut r.Link.tcUrl, &mut r.Link.lFlags, RTMP_LF_FTCU);
        free_made(&mut r.Link.app, &mut r.Link.lFlags, RTMP_LF_FAPU);
        let made = std::mem::replace(&mut r.Link.playpath0, AVal::NULL).av_val;
        if !made.is_null() && ptr::eq(made, r.Link.playpath.av_val) {
            r.Link.playpath = AVal::NULL;
        }
        // SAFETY: from the C allocator, and forgotten.
        unsafe { mem::free(made) };
    }
}

/// Frees a string that this library made.
fn free_made(text: &mut AVal, flags: &mut c_int, bit: c_int) {
    if *flags & bit != 0 {
        *flags &= !bit;
        // SAFETY: the flag says that it is from the C allocator and ours.
        unsafe { mem::free(text.av_val) };
        *text = AVal::NULL;
    }
}

/// Forgets what `RTMP_Read` holds.
fn reset_reading(r: &mut RTMP) {
    // SAFETY: made by `RTMP_Read` alone, from the C allocator.
    unsafe { mem::free(r.m_read.buf) };
    r.m_read.buf = ptr::null_mut();
    r.m_read.bufpos = ptr::null_mut();
    r.m_read.buflen = 0;
    r.m_read.dataType = 0;
    r.m_read.flags = 0;
    r.m_read.status = 0;
    r.m_read.nResumeTS = 0;
    r.m_read.nIgnoredFrameCounter = 0;
    r.m_read.nIgnoredFlvFrameCounter = 0;
}

/// Frees a packet's body.
pub(super) fn free_packet_body(packet: &mut RTMPPacket) {
    let body = std::mem::replace(&mut packet.m_body, ptr::null_mut());
    // SAFETY: contract: 18 bytes after a block of the C allocator.
    unsafe { mem::free_body(body) };
}

fn free_channels(r: &mut RTMP) {
    for index in 0..usize::try_from(r.m_channelsAllocatedIn).unwrap_or(0) {
        let channel = *entry(r.m_vecChannelsIn, index);
        if !channel.is_null() {
            // SAFETY: made from a Box by the reader, and forgotten.
            let mut channel = unsafe { Box::from_raw(channel.cast::<ChannelIn>()) };
            free_packet_body(&mut channel.packet);
        }
    }
    for index in 0..usize::try_from(r.m_channelsAllocatedOut).unwrap_or(0) {
        let packet = *entry(r.m_vecChannelsOut, index);
        if !packet.is_null() {
            // SAFETY: made from a Box by the sender, and forgotten. Its body was never kept.
            drop(unsafe { Box::from_raw(packet.cast::<ChannelOut>()) });
        }
    }
    // SAFETY: the tables are ours, from the C allocator; likewise the next two.
    unsafe { mem::free(r.m_vecChannelsIn) };
    // SAFETY: as above.
    unsafe { mem::free(r.m_vecChannelsOut) };
    // SAFETY: as above.
    unsafe { mem::free(r.m_channelTimestamp) };
    (r.m_vecChannelsIn, r.m_vecChannelsOut, r.m_channelTimestamp) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    (r.m_channelsAllocatedIn, r.m_channelsAllocatedOut) = (0, 0);
}

fn free_calls(r: &mut RTMP) {
    while r.m_numCalls > 0 {
        super::calls::remove(r, 0);
    }
    // SAFETY: made by `calls`, from the C allocator.
    unsafe { mem::free(r.m_methodCalls) };
    r.m_methodCalls = ptr::null_mut();
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
    unsafe { &(*r).m_sb.life }.wait_for_closes(r);
    guard((), || {
        // SAFETY: contract: the caller gives the session up.
        let r = unsafe { &mut *r };
        // A socket that the program brought stays its own.
        if !r.inner_ref().is_some_and(|inner| inner.own_socket) {
            r.m_sb.sb_socket = -1;
        }
        close_session(r, false);
    });
    // SAFETY: contract: from RTMP_Alloc.
    unsafe { mem::free(r) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Init(r: *mut RTMP) {
    if r.is_null() {
        return;
    }
    // SAFETY: contract: memory for a session; what was there is not looked at.
    unsafe { ptr::write_bytes(r, 0, 1) };
    // SAFETY: zero bytes are a session.
    let r = unsafe { &mut *r };
    r.m_sb.sb_socket = -1;
    r.m_inChunkSize = RTMP_DEFAULT_CHUNKSIZE;
    r.m_outChunkSize = RTMP_DEFAULT_CHUNKSIZE;
    r.m_nBufferMS = BUFFER_MS;
    r.m_nClientBW = BANDWIDTH_BYTES;
    r.m_nClientBW2 = 2;
    r.m_nServerBW = BANDWIDTH_BYTES;
    r.m_fAudioCodecs = AUDIO_CODECS;
    r.m_fVideoCodecs = VIDEO_CODECS;
    r.Link.timeout = TIMEOUT_S;
    r.Link.swfAge = SWF_AGE_DAYS;
    RTMP_TLS_Init();
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_TLS_Init() {
    static MARK: u8 = 0;
    RTMP_TLS_ctx.store((&raw const MARK).cast_mut().cast(), Ordering::Relaxed);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_EnableWrite(r: *mut RTMP) {
    if let Some(r) = given_mut(r) {
        r.Link.protocol |= RTMP_FEATURE_WRITE;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_IsConnected(r: *mut RTMP) -> c_int {
    given(r).is_some_and(RTMP::is_connected).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Socket(r: *mut RTMP) -> c_int {
    given(r).map_or(-1, |r| r.m_sb.sb_socket)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_IsTimedout(r: *mut RTMP) -> c_int {
    given(r).map_or(0, |r| r.m_sb.sb_timedout)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_GetDuration(r: *mut RTMP) -> f64 {
    given(r).map_or(0.0, |r| r.m_fDuration)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_SetBufferMS(r: *mut RTMP, size: c_int) {
    if let Some(r) = given_mut(r) {
        r.m_nBufferMS = size;
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
