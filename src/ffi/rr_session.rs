//! Group 3 of the C API: the host's answers about sessions, and closing them.

use std::ffi::{c_char, c_int};

use super::config::rr_decision;
use super::rr_server::rr_server;
use super::types::rr_session;
use super::{convert, on_server, opt_text, text};
use crate::server::RRRestOut;

/// Lets in a session that asks (RR_EV_CONNECT_ASK, _PUBLISH_ASK, _PLAY_ASK). `d` may be NULL: as asked.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it asks nothing (the answer came too late, or twice);
/// RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG or RR_ERR_VERSION for what `d` says.
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

/// Refuses a session that asks. `code` is the RTMP status code the peer gets ("NetStream.Publish.Denied"), NULL the
/// usual one; `text` is for people, NULL for none.
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

/// Sends a session that asks to another server: at CONNECT_ASK as a redirect in the refusal, at PUBLISH_ASK and
/// PLAY_ASK as a refusal, followed by a reconnect request where the peer understands it.
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

/// Asks a session's peer to connect again (E-RTMP), to `url`, or to where it is if that is NULL. It leaves when it has;
/// until then all goes on. `text` is for people, NULL for none.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_UNSUPPORTED: the peer did not say that it understands; RR_ERR_AGAIN:
/// eight calls about it wait for its thread; RR_ERR_ARG: `url` or `text` is not UTF-8.
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

/// Closes a session; its end comes as an event with RR_ERR_KICKED. `text` is for people and logs, NULL for none. With
/// `ban_ms` above 0, whoever comes from its address may not do the same (publish or play) on the same stream for so long,
/// and is told; 86400000 is the most. 4096 bans fit.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG: `text` is
/// not UTF-8, or `ban_ms` is above a day; RR_ERR_STATE: there is to be a ban, and it neither publishes nor plays, or its
/// address is not known; RR_ERR_LIMIT: so many bans stand already. It is not closed then.
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
