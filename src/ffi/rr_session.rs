//! Group 3 of the C API: the host's answers about sessions, closing them, and exporting them to other processes.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::IntoRawFd;

use super::config::rr_decision;
use super::rr_server::{rr_server, take_fd};
use super::types::rr_session;
use super::{Out, Room, convert, guard, on_server, opt_text, reference, slice, text};
use crate::server::{Export, RRRestOut};

/// Allows a session that waits for an answer (RR_EV_CONNECT_ASK, _PUBLISH_ASK, _PLAY_ASK). `d` may be NULL: it is
/// allowed as it asked.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it waits for no answer (this one came too late, or twice);
/// RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in `d`.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_allow(s: *mut rr_server, id: rr_session, d: *const rr_decision) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let decision = Box::new(unsafe { convert::decision(d) }?);
        RRRestOut::Allow { session: id, decision }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Refuses a session that waits for an answer. `code` is the RTMP status code for the peer
/// ("NetStream.Publish.Denied"), NULL means the usual one; `text` is for people, NULL for none.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND, RR_ERR_STATE or RR_ERR_AGAIN as rr_session_allow; RR_ERR_ARG: `code` or `text` is not
/// UTF-8.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_deny(
    s: *mut rr_server,
    id: rr_session,
    code: *const c_char,
    text: *const c_char,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let code = unsafe { opt_text(code, "code") }?.unwrap_or("");
        // SAFETY: contract.
        let text = unsafe { opt_text(text, "text") }?.unwrap_or("");
        let (code, text) = (code.to_owned(), text.to_owned());
        RRRestOut::Deny { session: id, code, text }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Redirects a session that waits for an answer to another server: at CONNECT_ASK as a redirect in the refusal, at
/// PUBLISH_ASK and PLAY_ASK as a refusal, followed by a reconnect request if the peer understands it.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND, RR_ERR_STATE or RR_ERR_AGAIN as rr_session_allow; RR_ERR_ARG: `url` is NULL or not UTF-8.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_redirect(s: *mut rr_server, id: rr_session, url: *const c_char) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let url = unsafe { text(url, "url") }?.to_owned();
        RRRestOut::Redirect { session: id, url }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Asks a session's peer to connect again (Enhanced RTMP), to `url`, or to the same server if that is NULL. The peer
/// leaves when it has done so; until then the session goes on. `text` is for people, NULL for none.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_UNSUPPORTED: the peer did not announce that it understands this;
/// RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG: `url` or `text` is not UTF-8.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_reconnect(
    s: *mut rr_server,
    id: rr_session,
    url: *const c_char,
    text: *const c_char,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let url = unsafe { opt_text(url, "url") }?;
        // SAFETY: contract.
        let text = unsafe { opt_text(text, "text") }?.unwrap_or("");
        let (url, text) = (url.map(ToOwned::to_owned), text.to_owned());
        RRRestOut::ReconnectSession { session: id, url, text }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Closes a session; its end comes as an event with RR_ERR_KICKED. What is on its way to a peer whose play has ended still
/// arrives; it has two seconds for that. `text` is for people and logs, NULL for none. With
/// `ban_ms` above 0, peers from its address may not do the same (publish or play) on the same stream for this long, and
/// are told so; at most 86400000. There may be 4096 bans at a time.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG: `text` is
/// not UTF-8, or `ban_ms` is above a day; RR_ERR_STATE: with a ban, the session neither publishes nor plays, or its
/// address is not known; RR_ERR_LIMIT: there are too many bans. On failure it is not closed.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_close(
    s: *mut rr_server,
    id: rr_session,
    text: *const c_char,
    ban_ms: u32,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let text = unsafe { opt_text(text, "text") }?.unwrap_or("");
        RRRestOut::CloseSession { session: id, text: text.to_owned(), ban_ms }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Exports a session that waits for an answer (RR_EV_CONNECT_ASK, _PUBLISH_ASK, _PLAY_ASK), publishes or plays, to be
/// continued by another process or by another server of this process: `*fd` becomes its open connection, which the host
/// then owns, and `blob` gets its state, of `*len` bytes, both for rr_session_import. Before the call `*len` is the
/// room at `blob`: a few hundred bytes for a session that waits, for others somewhat more and the message that is half
/// read or half sent; `blob` may be NULL if it is 0. The session ends here: its last event has the state
/// RR_STATE_STOPPED and the error RR_OK, which no other end has. Its peer notices nothing, unless all descriptors of
/// the connection are closed before it is imported, for example because the process that holds them ends: then the
/// connection is closed. For its stream here an exported publisher is lost: its place is kept for grace_ms, and players
/// get the rest of the log before they are told, unless the stream moves too (rr_stream_export, called before). The
/// state may contain credentials (`?args`). Sessions over TLS cannot be exported. On failure `*fd` is -1, and the
/// session stays here as before.
///
/// # Waits
/// Briefly, for the thread that owns the session. Where streams run in processes, for one that hangs until it
/// is ended for that (worker_hung_ms).
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it neither waits for an answer, publishes nor plays when this
/// call is carried out, it is about to do something else, or its server ends; RR_ERR_LIMIT: there is too little room at
/// `blob`, and `*len` becomes the size that is needed; RR_ERR_UNSUPPORTED: it is over TLS, it waits for an answer
/// over HTTP, or hooks gave targets to the stream that it asks for; RR_ERR_AGAIN: eight calls about it wait for its
/// thread, or an answer to it has just come.
///
/// # Safety
/// The contract of all pointers; `*len` bytes fit `blob`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_export(
    s: *mut rr_server,
    id: rr_session,
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
        match server.core.session_export(id, room.bytes)? {
            Export::Gone { fd: open, state } => {
                // SAFETY: contract.
                unsafe { room.take(&state) };
                // SAFETY: contract.
                unsafe { fd.set(open.into_raw_fd()) };
                Ok(0)
            }
            // SAFETY: contract.
            Export::Needs(bytes) => Err(unsafe { room.falls_short("session", bytes) }),
        }
    })
}

/// Continues a session that rr_session_export gave: `fd` is its connection, which the library owns from now on, also on
/// failure, and `blob` its state of `len` bytes. An open question is asked here again: of this server's hooks, then of
/// the host according to `ask`, with the whole of ask_ms; earlier decisions of hooks stay in force (name, start, kinds
/// of media). About a session that publishes or plays no question is asked. A publisher publishes the stream of its
/// name here, or stands by, according to that stream's publisher policy; its headers come before its next message, and
/// its media continues without a gap. A player continues at the same message if its stream was imported before by
/// rr_stream_import; otherwise it gets the rest of its last message, and begins as a new player does. One that plays
/// several streams continues with all of them, and with the question about one more, which is asked again. In everything
/// else it is like a session that was accepted here: it has an id of this server, and max_sessions, max_sessions_ip,
/// bans and rr_server_set_access apply to it; its peer's address stays the same. User pointers are not transferred. The
/// state is checked like any foreign input; its format has a version, so that processes with different versions of the
/// library can exchange it.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `fd` is not a connected stream socket, or `blob` is not a session's state; RR_ERR_VERSION: the
/// state has a newer format than this library reads; RR_ERR_LIMIT: max_sessions, max_sessions_ip or max_streams, a
/// state larger than max_message allows, or connections come faster than the server takes them; RR_ERR_STATE: the
/// server is stopping. For a session that publishes or plays also RR_ERR_EXISTS: the stream has a publisher, and its
/// policy is to reject others; RR_ERR_REJECTED, RR_ERR_AUTH: a ban or rr_server_set_access refuses it. For one that
/// plays several streams also RR_ERR_NOT_FOUND: one of them is not here, and none of its plays has begun;
/// RR_ERR_UNSUPPORTED: streams have processes of their own here, and these are several.
///
/// # Safety
/// The contract of all pointers; `len` bytes are readable at `blob`; nobody else closes `fd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_session_import(s: *mut rr_server, fd: c_int, blob: *const c_void, len: usize) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let fd = unsafe { take_fd(fd) }?;
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        let _log = server.core.enter_log();
        // SAFETY: contract.
        let state = unsafe { slice(blob.cast(), len, "blob") }?;
        server.core.session_import(fd, state)?;
        Ok(0)
    })
}
