//! Group 4 of the C API: streams, and the host as a publisher.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::config::rr_stream_config;
use super::rr_server::rr_server;
use super::types::{rr_frame, rr_frame_flag, rr_id, rr_stream};
use super::{Out, Room, bytes, convert, is_null, on_server, read_struct, slice};
use crate::server::{RRRestOut, StreamExport};

/// Makes a stream that exists with or without peers, so that targets can be added before its publisher comes, or for
/// rr_stream_write. If the stream exists already, its id is returned and it no longer ends with its publisher. `cfg`
/// may be NULL: the server's settings.
///
/// # Returns
/// RR_OK; RR_ERR_EXISTS: it exists and `cfg` is given; RR_ERR_LIMIT: max_streams; RR_ERR_STATE: the server is stopping;
/// RR_ERR_ARG: a name is NULL or longer than 4096 bytes, or a part of `app/key` is "." or ".."; RR_ERR_ARG or
/// RR_ERR_VERSION: a wrong setting in `cfg`.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_create(
    s: *mut rr_server,
    app: *const c_char,
    key: *const c_char,
    cfg: *const rr_stream_config,
    out: *mut rr_stream,
) -> c_int {
    let body = |server: &rr_server| {
        let out = Out::new(out, "out")?;
        // SAFETY: contract.
        let app = unsafe { bytes(app, "app") }?;
        // SAFETY: contract.
        let key = unsafe { bytes(key, "key") }?;
        // SAFETY: contract.
        let config = unsafe { convert::stream_config(cfg) }?.map(Box::new);
        let (app, key) = (app.to_vec(), key.to_vec());
        let id = RRRestOut::CreateStream { app, key, config }.carry_out(&server.core)?;
        // SAFETY: contract.
        unsafe { out.set(id) };
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Finds the id of a stream by application and key.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_ARG: a name is NULL or longer than 4096 bytes.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_find(
    s: *mut rr_server,
    app: *const c_char,
    key: *const c_char,
    out: *mut rr_stream,
) -> c_int {
    let body = |server: &rr_server| {
        let out = Out::new(out, "out")?;
        // SAFETY: contract.
        let app = unsafe { bytes(app, "app") }?;
        // SAFETY: contract.
        let key = unsafe { bytes(key, "key") }?;
        let id = server.core.stream_find(app, key)?;
        // SAFETY: contract.
        unsafe { out.set(id) };
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Stops a stream: its publisher is closed, and players and targets have `deadline_ms` to take the remaining media.
/// Returns at once; STOPPED comes as an event.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_stop(s: *mut rr_server, id: rr_stream, deadline_ms: c_uint) -> c_int {
    let body = |server: &rr_server| {
        RRRestOut::StopStream { stream: id, deadline_ms }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Exports a stream, to be continued by another process or by another server of this process: `blob` gets its state, of
/// `*len` bytes: its name and settings, what new players begin with (headers, cached group), and the messages that its
/// players and targets have not got yet. Before the call `*len` is the room at `blob`, which may be NULL if it is 0. The
/// state has at most queue_bytes, the stream's or the largest of its targets, and gop_bytes together, and some KiB. For
/// `hold_ms` the stream is on hold: its publisher is not read and waits, and messages that came before go to the
/// players. In that time export its targets by rr_target_export, and its sessions by rr_session_export, the publisher
/// and the players, and then stop the stream. Sessions and targets that are still here after that time continue here,
/// and a publisher that has moved is then lost. User pointers are not transferred. On failure the stream is on hold only if it
/// was before.
///
/// # Waits
/// For the stream's thread, which answers between two turns of its peers: for a moment. Where streams run in processes,
/// for one that hangs until it is ended for that (worker_hung_ms).
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: there is too little room at `blob`, and `*len` becomes the
/// size that is needed, or the process has no thread or descriptor left; RR_ERR_ARG: `hold_ms` is 0 or above a minute;
/// RR_ERR_STATE: the stream is stopping; RR_ERR_NOMEM: the process has no memory left. Where streams run in processes
/// (RR_ISOLATE_PROCESS) also RR_ERR_WORKER: its process ends, or does not answer; RR_ERR_AGAIN: its process is just
/// ending, goes to another server, or may not be started.
///
/// # Safety
/// The contract of all pointers; `*len` bytes fit `blob`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_export(
    s: *mut rr_server,
    id: rr_stream,
    hold_ms: c_uint,
    blob: *mut c_void,
    len: *mut usize,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let room = unsafe { Room::new(blob, len) }?;
        match server.core.stream_export(id, room.bytes, hold_ms)? {
            StreamExport::State(state) => {
                // SAFETY: contract.
                unsafe { room.take(&state) };
                Ok(0)
            }
            // SAFETY: contract.
            StreamExport::Needs(bytes) => Err(unsafe { room.falls_short("stream", bytes) }),
        }
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Continues a stream that rr_stream_export gave, `len` bytes at `blob`: it exists at once, with the same settings, and
/// `out`, which may be NULL, gets its id. Import its targets and sessions afterwards, in any order, by rr_target_import
/// and rr_session_import: the publisher continues where the log ends, and each player and target at its own message, so
/// none of them misses a message or gets one twice. The stream waits ten seconds for them (or grace_ms, if that is
/// longer); one that comes later, or was further behind than the state reaches, begins as a new one does. Publishers and
/// sources that stood by get the publisher's place only if the publisher does not come.
///
/// # Waits
/// Where streams run in processes, for the start of the stream's own.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `blob` is not a stream's state, or its settings cannot be those of a stream of this server;
/// RR_ERR_VERSION: the state has a newer format than this library reads; RR_ERR_EXISTS: a stream of that name exists
/// already; RR_ERR_LIMIT: max_streams, mem_limit, a state of more than 2 GiB, or the process has no thread or
/// descriptor left; RR_ERR_NOMEM: the process has no memory left; RR_ERR_STATE: the server is stopping. Where streams
/// run in processes (RR_ISOLATE_PROCESS) also RR_ERR_WORKER: the new one ends; RR_ERR_AGAIN: it may not be started yet.
///
/// # Safety
/// The contract of all pointers; `len` bytes are readable at `blob`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_import(
    s: *mut rr_server,
    blob: *const c_void,
    len: usize,
    out: *mut rr_stream,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let state = unsafe { slice(blob.cast(), len, "blob") }?;
        let id = server.core.stream_import(state)?;
        if let Ok(out) = Out::new(out, "out") {
            // SAFETY: contract.
            unsafe { out.set(id) };
        }
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Makes a standby publisher (RR_PUBLISHER_STANDBY) the live one, from its next key frame on; the previous one stands
/// by from then on. `source` is its session, or a source of rr_stream_add_source.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream, or that session or source does not publish to it; RR_ERR_STATE: the host
/// publishes it; a standby follows when the host ends.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_switch(s: *mut rr_server, id: rr_stream, source: rr_id) -> c_int {
    let body = |server: &rr_server| {
        RRRestOut::Switch { stream: id, source }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Publishes a message, with the host as the publisher. Only `type` (8, 9, 18 or 15), `ts_ms` (not negative), `data`,
/// `len` and RR_FRAME_END in `flags` are used; the body is copied and passed on unchanged. RR_FRAME_END, with or
/// without a body, ends the publish.
///
/// # Threads
/// Any; messages that several threads write at the same time come in either order.
///
/// # Waits
/// For rr_server_handover, if one is under way and the host does not publish the stream yet.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream, or another process has it now; RR_ERR_EXISTS: a session publishes;
/// RR_ERR_ARG: a wrong type, a negative ts_ms, a body larger than max_message, or `f` is not set up;
/// RR_ERR_VERSION: `f` is newer than the library; RR_ERR_LIMIT: mem_limit, or the stream is on hold for
/// rr_stream_export (the message may be written again later), or the process has no thread or descriptor left for
/// the stream, or the stream's own process (RR_ISOLATE_PROCESS) does not take messages that fast; RR_ERR_NOMEM: the
/// process has no memory left; RR_ERR_STATE: the stream is stopping; RR_ERR_WORKER, once: that process has ended,
/// so the headers have to be written again; RR_ERR_AGAIN: it may be started again after a pause.
///
/// # Safety
/// The contract of all pointers; `len` bytes of `data` are readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_write(s: *mut rr_server, id: rr_stream, f: *const rr_frame) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let frame: rr_frame = unsafe { read_struct(f) }?.ok_or_else(|| is_null("f"))?;
        // SAFETY: contract.
        let data = unsafe { slice(frame.data, frame.len, "data") }?;
        let end = frame.flags & rr_frame_flag::RR_FRAME_END as u8 != 0;
        server.core.stream_write(id, frame.r#type, frame.ts_ms, data, end)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}
