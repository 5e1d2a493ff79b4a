//! Group 5 of the C API: targets and sources, the connections that we open to push a stream on or to pull one.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::os::fd::IntoRawFd;

use super::config::rr_target_config;
use super::rr_server::{rr_server, take_fd};
use super::types::{rr_stream, rr_target};
use super::{Out, Room, bytes, convert, guard, on_server, reference, slice, text};
use crate::config::TargetConfig;
use crate::server::{RRRestOut, TargetExport};

/// Pushes a stream to another server, whether the stream is live or not: the target connects when the stream has media,
/// and reconnects by itself when it is lost. Media goes out after the other side has sent NetStream.Publish.Start.
/// Changes of its state come as RR_EV_TARGET. The best time to add targets is the stream's first event (RR_EV_STREAM
/// with prev RR_STATE_NONE): it comes once, and before the publisher's media.
///
/// # Waits
/// For the disk, if a url is rtmps: `ca_file` or the system's roots are read before it returns.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: 100000 targets, or the process has no thread or descriptor
/// left for the stream; RR_ERR_NOMEM: the process has no memory left; RR_ERR_STATE: the stream is stopping;
/// RR_ERR_CERT: with rtmps, ca_file cannot be read or has no certificate, or the system has no roots; RR_ERR_ARG or
/// RR_ERR_VERSION: another wrong setting in `cfg`.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_add_target(
    s: *mut rr_server,
    id: rr_stream,
    cfg: *const rr_target_config,
    out: *mut rr_target,
) -> c_int {
    // SAFETY: contract.
    unsafe { add(s, cfg, out, |config| RRRestOut::AddTarget { stream: id, config }) }
}

/// Pulls a stream from another server, which then is the stream's publisher. A source waits while there is another
/// publisher (with RR_PUBLISHER_STANDBY it is connected and stands by like a publisher; otherwise, and on demand, it is
/// not connected), reconnects by itself when it is lost, and follows its server's redirects (at connect, or by a
/// reconnect request). With RR_TARGET_ON_DEMAND it is connected only while there are players, with one pull for all of
/// them, and for the stream's unwatched_ms after; players of a stream that the other server does not have are told so.
/// It may be added at RR_EV_WANTED: the waiting players are served. A source that is not on demand keeps its stream, as
/// a publisher would, but one that has brought no media gives way to a publisher (silent_ms). A pull in a loop, whose
/// media would come from its own stream through one or more servers, is refused with RR_ERR_REJECTED and tried again;
/// it works once another stream of the loop has a publisher. Changes of its state come as RR_EV_TARGET; rr_info_get,
/// rr_stats_get, rr_target_update, rr_target_retry and rr_target_stop treat a source like a target.
///
/// # Waits
/// As rr_stream_add_target.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: 100000 targets and sources; RR_ERR_STATE: the stream is
/// stopping; RR_ERR_CERT: as rr_stream_add_target; RR_ERR_UNSUPPORTED: a setting that only a target has, see
/// rr_target_config; RR_ERR_ARG or RR_ERR_VERSION: another wrong setting in `cfg`.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_stream_add_source(
    s: *mut rr_server,
    id: rr_stream,
    cfg: *const rr_target_config,
    out: *mut rr_target,
) -> c_int {
    // SAFETY: contract.
    unsafe { add(s, cfg, out, |config| RRRestOut::AddSource { stream: id, config }) }
}

/// Finds a target or source of a stream by `url` and `key`, as rr_target_config had them; `key` may be NULL there too. Of
/// several it is the oldest, targets before sources. After rr_server_takeover and rr_target_import a host finds those
/// again that it had in the other process, and gives them user pointers by rr_target_update.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream, or it has no such target; RR_ERR_ARG: `url` is NULL or not UTF-8, or `key`
/// is longer than 4096 bytes.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_find(
    s: *mut rr_server,
    stream: rr_stream,
    url: *const c_char,
    key: *const c_char,
    out: *mut rr_target,
) -> c_int {
    let body = |server: &rr_server| {
        let out = Out::new(out, "out")?;
        // SAFETY: contract.
        let url = unsafe { text(url, "url") }?;
        // SAFETY: contract.
        let key = if key.is_null() { None } else { Some(unsafe { bytes(key, "key") }?) };
        let id = server.core.target_find(stream, url, key)?;
        // SAFETY: contract.
        unsafe { out.set(id) };
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Adds a target or a source.
///
/// # Safety
/// The contract of all pointers.
unsafe fn add(
    s: *mut rr_server,
    cfg: *const rr_target_config,
    out: *mut rr_target,
    request: impl FnOnce(Box<TargetConfig>) -> RRRestOut,
) -> c_int {
    let body = |server: &rr_server| {
        let out = Out::new(out, "out")?;
        // SAFETY: contract.
        let config = unsafe { convert::target_config(cfg) }?;
        let target = request(Box::new(config)).carry_out(&server.core)?;
        // SAFETY: contract.
        unsafe { out.set(target) };
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Changes the settings of a target or source; `cfg` has all of them, as for rr_stream_add_target or
/// rr_stream_add_source. A change of url, key, username, password, ca_file, pin_sha256, bind_addr, clock, chunk_size or
/// RR_TARGET_INSECURE makes it reconnect at once; a source's stream and players stay meanwhile, for connect_ms or the
/// stream's grace_ms, whichever is longer. Other settings change while it runs: media and tracks that are removed end
/// now, those that are added begin at the next key frame; backup_urls and times apply from the next try on.
///
/// # Waits
/// As rr_stream_add_target.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_CERT, RR_ERR_ARG, RR_ERR_VERSION or, for a source, RR_ERR_UNSUPPORTED:
/// a wrong setting in `cfg`, as when it was added. On failure nothing changes.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_update(s: *mut rr_server, id: rr_target, cfg: *const rr_target_config) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let config = unsafe { convert::target_config(cfg) }?;
        RRRestOut::UpdateTarget { target: id, was: None, config: Box::new(config) }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Starts the next try of a target now, if it waits for it or has failed.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_retry(s: *mut rr_server, id: rr_target) -> c_int {
    let body = |server: &rr_server| {
        RRRestOut::RetryTarget { target: id }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Stops a target; if connected, it has `deadline_ms` to take the remaining media. The stream and its other peers are
/// not affected. Returns at once; STOPPED comes as an event.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_stop(s: *mut rr_server, id: rr_target, deadline_ms: c_uint) -> c_int {
    let body = |server: &rr_server| {
        RRRestOut::StopTarget { target: id, deadline_ms }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Exports a target or source, to be continued by another process or by another server of this process: `*fd` becomes
/// its open connection, which the host then owns, or -1 where it has none that can move, and `blob` gets its state, of
/// `*len` bytes, both for rr_target_import. Before the call `*len` is the room at `blob`, which may be NULL if it is 0:
/// one or two kilobytes, and for a connected target also the message that is half sent. The state has its settings with
/// all secrets, its counters, and the history of its tries: a target that waits goes on with what remains of its wait,
/// one that is being connected is connected anew, and one that has failed stays so. A connected target keeps its
/// connection, and its server notices nothing; so does a connected source, which in its stream is the publisher, or a
/// standby, and is imported like those; over TLS it is connected anew, because the keys stay in their process,
/// and misses what comes meanwhile. The target ends here: its last event has the state RR_STATE_STOPPED and no error,
/// which no other end has. Its stream here goes on without it; export a stream first if it moves too (rr_stream_export).
/// On failure `*fd` is -1, and the target stays here as before.
///
/// # Waits
/// Briefly, for the threads that own the target. Where streams run in processes, for one that hangs until it
/// is ended for that (worker_hung_ms).
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it is being stopped, another call exports it, or its stream or
/// its server ends; RR_ERR_LIMIT: there is too little room at `blob`, and `*len` becomes the size that is needed.
/// Where streams run in processes (RR_ISOLATE_PROCESS) also RR_ERR_AGAIN: the stream's process is just ending, or goes
/// to another server.
///
/// # Safety
/// The contract of all pointers; `*len` bytes fit `blob`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_export(
    s: *mut rr_server,
    id: rr_target,
    fd: *mut c_int,
    blob: *mut c_void,
    len: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: contract.
        unsafe { Out::new(fd, "fd")?.set(-1) };
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        let _log = server.core.enter_log();
        // SAFETY: contract.
        let (fd, room) = (Out::new(fd, "fd")?, unsafe { Room::new(blob, len) }?);
        match server.core.target_export(id, room.bytes)? {
            TargetExport::Gone { fd: open, state } => {
                // SAFETY: contract.
                unsafe { room.take(&state) };
                // SAFETY: contract.
                unsafe { fd.set(open.map_or(-1, IntoRawFd::into_raw_fd)) };
                Ok(0)
            }
            // SAFETY: contract.
            TargetExport::Needs(bytes) => Err(unsafe { room.falls_short("target", bytes) }),
        }
    })
}

/// Continues a target or source that rr_target_export gave: `fd` is its connection, which the library owns from now on,
/// also on failure, or -1 where there was none, and `blob` its state of `len` bytes. It goes on with the stream of the
/// same name, which must exist here; `out`, which may be NULL, gets its id. A connected target continues at the same
/// message if its stream was imported before by rr_stream_import and it comes within the same time as the players;
/// otherwise its server gets the rest of its last message, and then what a newly connected one gets. Its counters go on,
/// and so do its waits. User pointers are not transferred. The state is checked like any foreign input; its format has a
/// version, so that processes with different versions of the library can exchange it.
///
/// # Waits
/// As rr_stream_add_target.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: its stream is not here; RR_ERR_ARG: `fd` is neither -1 nor a connected stream socket, `blob`
/// is not a target's state, or only one of them says that it is connected; RR_ERR_VERSION: the state has a newer format
/// than this library reads; RR_ERR_LIMIT: 100000 targets, a state larger than max_message allows, or targets come faster
/// than the server takes them; RR_ERR_CERT: as rr_stream_add_target; RR_ERR_UNSUPPORTED: a source with a setting that
/// only a target has; RR_ERR_EXISTS: a connected source, and its stream has a publisher for which it may not stand by;
/// RR_ERR_REJECTED: a connected source whose media would come from its own stream; RR_ERR_NOMEM: the process has no
/// memory left; RR_ERR_STATE: the server or the stream is stopping.
///
/// # Safety
/// The contract of all pointers; `len` bytes are readable at `blob`; nobody else closes `fd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_import(
    s: *mut rr_server,
    fd: c_int,
    blob: *const c_void,
    len: usize,
    out: *mut rr_target,
) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let fd = if fd == -1 { None } else { Some(unsafe { take_fd(fd) }?) };
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        let _log = server.core.enter_log();
        // SAFETY: contract.
        let state = unsafe { slice(blob.cast(), len, "blob") }?;
        let id = server.core.target_import(fd, state)?;
        if let Ok(out) = Out::new(out, "out") {
            // SAFETY: contract.
            unsafe { out.set(id) };
        }
        Ok(0)
    })
}
