//! Group 8 of the C API: control by HTTP.

use std::ffi::{c_char, c_int, c_uint, c_void};

use bytes::Bytes;

use super::config::{rr_controller_config, rr_hooks_config};
use super::rr_server::rr_server;
use super::types::rr_stream;
use super::{Out, convert, guard, on_server, opt_bytes, slice, text};
use crate::config::{ControllerConfig, HooksConfig};
use crate::error::{Failure, RRError, Result};

/// Serves control by HTTP on an address: "127.0.0.1:8080", `"[::1]:8080"`, "0.0.0.0:8080"; a port without an address
/// ("8080", ":8080") means loopback, port 0 takes any free one. Requests carry `token` as "Authorization: Bearer
/// TOKEN"; it has 8 to 256 visible ASCII characters (rr_rest_token makes one). /v1/openapi.json lists the requests.
/// `flags` are RR_REST_*. Each address has a thread of its own, separate from media. It may be called several times,
/// with different tokens.
///
/// # Returns
/// The port; RR_ERR_ARG: not an address, or no token; RR_ERR_IO: the system refused the address (in use, no
/// permission); RR_ERR_LIMIT: the process has no thread or descriptor left; RR_ERR_UNSUPPORTED: the library was built
/// without it.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_rest_listen(
    s: *mut rr_server,
    addr: *const c_char,
    token: *const c_char,
    flags: c_uint,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let addr = unsafe { text(addr, "addr") }?;
        // SAFETY: contract.
        let token = unsafe { text(token, "token") }?;
        listen(server, addr, token, flags)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Reads or makes a token for rr_rest_listen: the one in `file`, without surrounding white space. If there is no such
/// file, a new token is written to one that only its owner may read; without `file` (NULL) each call makes a new token
/// and stores it nowhere. `out` has `size` bytes, including the NUL; RR_TOKEN_BYTES are always enough. No server is
/// needed.
///
/// # Waits
/// For the disk, if `file` is given.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: the file holds no token, or `out` is too small for it; RR_ERR_IO: the file can neither be read
/// nor created; RR_ERR_UNSUPPORTED: the library was built without it.
///
/// # Safety
/// The contract of all pointers; `size` bytes of `out` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_rest_token(file: *const c_char, out: *mut c_char, size: usize) -> c_int {
    guard(|| {
        Out::new(out, "out")?;
        // SAFETY: contract.
        let token = token(unsafe { opt_bytes(file) })?;
        if token.len() >= size {
            return Err(Failure::ours(RRError::Arg, format!("size: {} bytes are needed", token.len() + 1)));
        }
        // SAFETY: contract, and it has room for the token and a NUL; the host's bytes are not ours.
        unsafe { std::ptr::copy_nonoverlapping(token.as_ptr(), out.cast::<u8>(), token.len()) };
        // SAFETY: as above.
        let end = unsafe { out.add(token.len()) };
        // SAFETY: as above.
        unsafe { end.write(0) };
        Ok(0)
    })
}

/// Ends control by HTTP on all addresses.
///
/// # Waits
/// For its threads; requests in progress have half a second.
///
/// # Returns
/// RR_OK, also if nothing listens; RR_ERR_UNSUPPORTED: the library was built without it.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_rest_stop(s: *mut rr_server) -> c_int {
    // SAFETY: contract.
    unsafe { on_server(s, stop) }
}

/// Answers one request for a host that has its own web server; the host must have authorised it. `path` begins with a
/// slash and may have a query; `body` may be NULL if `len` is 0. `*out` is the answer's body with a NUL after it,
/// `*out_len` its length without the NUL. The request is carried out on the calling thread.
///
/// # Waits
/// As the calls that the request stands for.
///
/// # Valid
/// `*out` until rr_free; the caller owns it.
///
/// # Returns
/// The HTTP status; RR_ERR_ARG: not a method or path; RR_ERR_LIMIT: the body is longer than 256 KiB; RR_ERR_NOMEM;
/// RR_ERR_UNSUPPORTED: the library was built without it. On failure `*out` is NULL.
///
/// # Safety
/// The contract of all pointers; `len` bytes of `body` are readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_rest_handle(
    s: *mut rr_server,
    method: *const c_char,
    path: *const c_char,
    body: *const c_char,
    len: usize,
    out: *mut *mut c_char,
    out_len: *mut usize,
) -> c_int {
    let answer = |server: &rr_server| {
        let (place, length) = (Out::new(out, "out")?, Out::new(out_len, "out_len")?);
        // SAFETY: contract.
        unsafe { place.set(std::ptr::null_mut()) };
        // SAFETY: contract.
        unsafe { length.set(0) };
        // SAFETY: contract.
        let method = unsafe { text(method, "method") }?;
        // SAFETY: contract.
        let path = unsafe { text(path, "path") }?;
        // SAFETY: contract.
        let body = unsafe { slice(body.cast::<u8>(), len, "body") }?;
        let (status, answer) = handle(server, method, path, body)?;
        let given = copied(&answer)?;
        // SAFETY: contract.
        unsafe { Out::new(out, "out")?.set(given) };
        // SAFETY: contract.
        unsafe { Out::new(out_len, "out_len")?.set(answer.len()) };
        Ok(status)
    };
    // SAFETY: contract.
    unsafe { on_server(s, answer) }
}

/// Frees an answer of rr_rest_handle; each answer is freed once. `p` may be NULL; no server is needed.
///
/// # Safety
/// `p` came from this library's rr_rest_handle and is freed once, or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_free(p: *mut c_void) {
    // SAFETY: contract: it came from malloc in `copied`.
    unsafe { libc::free(p) };
}

/// Sets the back ends that are asked by HTTP whether peers may connect, publish or play, and are notified of the
/// outcome. It may be called again to replace them; publishes and plays that have begun keep the back ends with which
/// they began. NULL removes all; notifications that are still waiting then have two seconds, as at rr_server_free.
///
/// Hooks are asked before the host: RR_EV_CONNECT_ASK, RR_EV_PUBLISH_ASK and RR_EV_PLAY_ASK come for sessions that
/// hooks allow, with the name that the hooks gave, and the host's decision is combined with theirs. Until then the
/// session's state does not change (RR_STATE_HANDSHAKE, or RR_STATE_IDLE after an earlier publish or play), and answers
/// of the host give RR_ERR_STATE. A session that is allowed with targets gets all of them or is refused; a target that
/// its stream has already, with the same url and key, is not added again.
///
/// For each publish and play that began while hooks were set, on_publish_done or on_play_done is notified once, after
/// the last update, unless its tries fail for retry_ms, the hooks are removed before it ends, or 100000 others were
/// followed when it began. For one that moves to another process, the hooks of that process are. At most 4096 notifications wait for another try. One thread of the library sends all
/// requests; a slow back end delays only the sessions that it was asked about.
///
/// # Waits
/// For the disk, if an address is https: ca_file or the system's roots are read. With NULL, for that thread, two
/// seconds at most.
///
/// # Returns
/// RR_OK; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in `cfg`; RR_ERR_UNSUPPORTED: a setting that only
/// RR_HOOKS_NGINX has, or the library was built without hooks; RR_ERR_CERT: with https, ca_file cannot be read or has
/// no certificate, or the system has no roots; RR_ERR_LIMIT: the process has no thread or descriptor left. On failure
/// nothing changes.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_hooks_set(s: *mut rr_server, cfg: *const rr_hooks_config) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        hooks(server, unsafe { convert::hooks_config(cfg) }?)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Sets the controllers that are asked by HTTP where streams go next; NULL removes them. docs/controller.md has the
/// protocol. A controller is asked when a session is about to publish a stream that has no publisher (after hooks and
/// the host; the session waits), when a session wants to play a stream that nothing feeds (likewise), when a target or
/// source that a controller has named is lost, and by rr_controller_ask. Its answer is carried out and reported by
/// RR_EV_NEXT.
///
/// If no controller gives a valid answer, the last answer about the stream is used while it is valid; otherwise
/// everything goes on as if there were no controller, and the question is asked again after ten seconds. Running
/// streams, targets and sources are not touched. One thread of the library asks, and sends heartbeats.
///
/// # Waits
/// For the disk, if an address is https: ca_file or the system's roots are read. With NULL, for that thread, two
/// seconds at most.
///
/// # Returns
/// RR_OK; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in `cfg`; RR_ERR_CERT: with https, ca_file cannot be read or
/// has no certificate, or the system has no roots; RR_ERR_LIMIT: the process has no thread or descriptor left;
/// RR_ERR_UNSUPPORTED: the library was built without it. On failure nothing changes.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_controller_set(s: *mut rr_server, cfg: *const rr_controller_config) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        controller(server, unsafe { convert::controller_config(cfg) }?)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Asks the controller about a stream, with a word of the host as the reason: 1 to 64 letters, digits or any of `_-.`.
/// The answer is carried out like one to the library's own questions and comes as RR_EV_NEXT; RR_NEXT_REJECT only comes
/// as the event. After RR_NEXT_WAIT the question is asked again when the time has come.
///
/// # Returns
/// RR_OK: the question has been sent; RR_ERR_ARG: `why` is not such a word; RR_ERR_NOT_FOUND: no such stream;
/// RR_ERR_STATE: there is no controller; RR_ERR_AGAIN: an earlier question about the stream has no answer yet;
/// RR_ERR_UNSUPPORTED: the library was built without it.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_controller_ask(s: *mut rr_server, stream: rr_stream, why: *const c_char) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        ask_controller(server, stream, unsafe { text(why, "why") }?)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Bytes in memory of C's allocator, with a NUL after them.
fn copied(bytes: &[u8]) -> Result<*mut c_char> {
    // SAFETY: malloc takes any size; its result is checked.
    let place = unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>();
    if place.is_null() {
        return Err(RRError::NoMem.into());
    }
    // SAFETY: the place has room for the bytes and one more, and overlaps nothing.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    // SAFETY: the last byte of the place.
    let end = unsafe { place.add(bytes.len()) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    Ok(place.cast())
}

#[cfg(feature = "rest")]
fn listen(server: &rr_server, addr: &str, token: &str, flags: c_uint) -> Result<c_int> {
    use super::types::rr_rest_flag;
    use crate::rest::RestOptions;
    let (open, labels) = (rr_rest_flag::RR_REST_OPEN_READERS as c_uint, rr_rest_flag::RR_REST_KEY_LABELS as c_uint);
    if flags & !(open | labels) != 0 {
        return Err(Failure::ours(RRError::Arg, format!("flags: unknown bits {:#x}", flags & !(open | labels))));
    }
    let options = RestOptions { readers_open: flags & open != 0, key_labels: flags & labels != 0 };
    Ok(server.rest.listen(addr, token, options)?.into())
}

#[cfg(feature = "rest")]
fn token(file: Option<&[u8]>) -> Result<String> {
    use std::os::unix::ffi::OsStrExt;
    crate::rest::token(file.map(|name| std::path::Path::new(std::ffi::OsStr::from_bytes(name))))
}

#[cfg(feature = "rest")]
#[allow(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn stop(server: &rr_server) -> Result<c_int> {
    server.rest.stop();
    Ok(0)
}

#[cfg(feature = "rest")]
fn handle(server: &rr_server, method: &str, path: &str, body: &[u8]) -> Result<(c_int, Bytes)> {
    let answer = server.rest.handle(method, path, body)?;
    Ok((answer.status.into(), answer.body))
}

#[cfg(feature = "rest")]
fn hooks(server: &rr_server, config: Option<HooksConfig>) -> Result<c_int> {
    server.rest.set_hooks(config)?;
    Ok(0)
}

#[cfg(feature = "rest")]
fn controller(server: &rr_server, config: Option<ControllerConfig>) -> Result<c_int> {
    server.rest.set_controller(config)?;
    Ok(0)
}

#[cfg(feature = "rest")]
fn ask_controller(server: &rr_server, stream: rr_stream, why: &str) -> Result<c_int> {
    server.rest.ask_controller(stream, why)?;
    Ok(0)
}

#[cfg(not(feature = "rest"))]
fn controller(_: &rr_server, _: Option<ControllerConfig>) -> Result<c_int> {
    Err(unsupported())
}

#[cfg(not(feature = "rest"))]
fn ask_controller(_: &rr_server, _: rr_stream, _: &str) -> Result<c_int> {
    Err(unsupported())
}

#[cfg(not(feature = "rest"))]
fn hooks(_: &rr_server, _: Option<HooksConfig>) -> Result<c_int> {
    Err(unsupported())
}

#[cfg(not(feature = "rest"))]
fn unsupported() -> Failure {
    Failure::ours(RRError::Unsupported, "this build has no control by HTTP")
}

#[cfg(not(feature = "rest"))]
fn listen(_: &rr_server, _: &str, _: &str, _: c_uint) -> Result<c_int> {
    Err(unsupported())
}

#[cfg(not(feature = "rest"))]
fn token(_: Option<&[u8]>) -> Result<String> {
    Err(unsupported())
}

#[cfg(not(feature = "rest"))]
fn stop(_: &rr_server) -> Result<c_int> {
    Err(unsupported())
}

#[cfg(not(feature = "rest"))]
fn handle(_: &rr_server, _: &str, _: &str, _: &[u8]) -> Result<(c_int, Bytes)> {
    Err(unsupported())
}
