//! Group 6 of the C API: the facts of an object, and its counters.

use std::cell::RefCell;
use std::ffi::{CString, c_int, c_void};

use super::rr_server::rr_server;
use super::types::{rr_id, rr_info, rr_stats};
use super::{c_string, names, on_server, write_struct};
use crate::error::{RRError, Result};
use crate::server::report::Info;

thread_local! {
    /// The strings of this thread's last rr_info.
    static STRINGS: RefCell<Option<[CString; 7]>> = const { RefCell::new(None) };
}

/// The facts of an object, by its id; 0 is the server. `size` is the caller's sizeof.
///
/// # Valid
/// The strings until the next rr_info_get on this thread, or the thread's end.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such id, or it has ended; RR_ERR_ARG: `size` is not the size of a struct; RR_ERR_THREAD:
/// the thread is ending and can keep no strings.
///
/// # Safety
/// The contract of all pointers; `size` bytes of `out` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_info_get(s: *mut rr_server, id: rr_id, out: *mut rr_info, size: usize) -> c_int {
    let body = |server: &rr_server| {
        let info = lend(server.core.info(id)?)?;
        // SAFETY: contract.
        unsafe { write_struct(out.cast::<c_void>(), size, &info, "out") }?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// An object's counters, by its id; 0 is the server. `size` is the caller's sizeof.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such id, or it has ended; RR_ERR_ARG: `size` is not the size of a struct.
///
/// # Safety
/// The contract of all pointers; `size` bytes of `out` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stats_get(s: *mut rr_server, id: rr_id, out: *mut rr_stats, size: usize) -> c_int {
    let body = |server: &rr_server| {
        let stats = rr_stats::from(&server.core.stats(id)?);
        // SAFETY: contract.
        unsafe { write_struct(out.cast::<c_void>(), size, &stats, "out") }?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// The server's counters: rr_stats_get with id 0.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `size` is not the size of a struct.
///
/// # Safety
/// The contract of all pointers; `size` bytes of `out` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_stats(s: *mut rr_server, out: *mut rr_stats, size: usize) -> c_int {
    // SAFETY: contract.
    unsafe { rr_stats_get(s, 0, out, size) }
}

/// C's form of the core's info; the strings stay with this thread.
fn lend(info: Info) -> Result<rr_info> {
    let strings =
        [info.app, info.key, info.addr.into(), info.local_addr.into(), info.url.into(), info.agent, info.query];
    let strings = strings.map(c_string);
    let [app, key, addr, local_addr, url, agent, query] = strings.each_ref().map(|string| string.as_ptr());
    // A string's bytes stay where they are when the string moves.
    STRINGS.try_with(|place| place.replace(Some(strings))).map_err(|_| RRError::Thread)?;
    Ok(rr_info {
        id: info.id,
        stream: info.stream,
        kind: info.kind,
        state: info.state as u32,
        error: info.error.map_or(0, |kind| kind.code()),
        role: info.role as u32,
        tls: info.tls.into(),
        caps_ex: info.caps_ex,
        track_count: info.track_count,
        retry_in_ms: info.retry_in_ms,
        codecs: info.codecs,
        user: info.user as *mut c_void,
        app,
        key,
        addr,
        local_addr,
        url,
        agent,
        video_codec: names::codec_or_none(info.video_codec).as_ptr(),
        audio_codec: names::codec_or_none(info.audio_codec).as_ptr(),
        width: info.video.map_or(0, |video| video.width),
        height: info.video.map_or(0, |video| video.height),
        sample_rate: info.audio.map_or(0, |audio| audio.sample_rate),
        channels: info.audio.map_or(0, |audio| audio.channels.into()),
        query,
    })
}
