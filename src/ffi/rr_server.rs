//! Group 1 of the C API: the server itself. The handle is defined here; `crate::server` does the work.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::config::rr_server_config;
use super::event::{Lent, rr_event_fn};
use super::types::{rr_id, rr_kind, rr_log_fn};
use super::{Out, convert, guard, is_null, keep_error, on_server, opt_text, reference, text};
use crate::error::{Failure, RRError, Result};
use crate::log::{Level, level_filter};
use crate::server::events::{EventFn, LogSink};
use crate::server::{RRRestOut, RRServer};

/// Listeners, streams and everything on them, events, log. Two servers in one process are independent of each other.
pub struct rr_server {
    pub(super) core: Arc<RRServer>,
    #[cfg(feature = "rest")]
    pub(super) rest: crate::rest::Rest,
    /// The event on loan to the host.
    pub(super) lent: Mutex<Option<Lent>>,
}

/// Makes a server. Its threads run, but it does not listen yet. `cfg` may be NULL.
///
/// # Valid
/// `*out` until rr_server_free.
///
/// # Returns
/// RR_OK; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in `cfg`; RR_ERR_LIMIT: the process has no thread or descriptor
/// left; RR_ERR_IO: worker_dir cannot be used. On failure `*out` is NULL.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_new(cfg: *const rr_server_config, out: *mut *mut rr_server) -> c_int {
    guard(|| {
        let place = Out::new(out, "out")?;
        // SAFETY: contract.
        unsafe { place.set(std::ptr::null_mut()) };
        // SAFETY: contract.
        let (config, extra) = unsafe { convert::server_config(cfg) }?;
        let callback = extra.on_event.and_then(|on_event| event_fn(Some(on_event), config.user));
        let core = Arc::new(RRServer::new(config, extra.log_events, callback)?);
        #[cfg(feature = "rest")]
        let rest = crate::rest::Rest::new(Arc::clone(&core));
        let server = Box::new(rr_server {
            core,
            #[cfg(feature = "rest")]
            rest,
            lent: Mutex::default(),
        });
        // SAFETY: contract.
        unsafe { Out::new(out, "out")?.set(Box::into_raw(server)) };
        Ok(0)
    })
}

/// Stops the server at once, joins its threads and frees it, with the last event of rr_event_next. `s` may be NULL.
///
/// # Threads
/// It must be the last call on a server, made once and while no other call on it runs. Inside a callback it only sets
/// rr_last_error, because the event thread cannot wait for itself.
///
/// # Waits
/// For the server's threads; with hooks, two seconds at most for what back ends are still to be told; for a running
/// callback, one second. A callback that has not returned by then is abandoned, which rr_last_error reports, and no
/// callback is called any more.
///
/// # Safety
/// The contract of all pointers; no other call on this server runs or follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_free(s: *mut rr_server) {
    if s.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        if let Err(failure) = server.core.shutdown() {
            if failure.kind == RRError::Thread {
                return Err(failure);
            }
            keep_error(&failure);
        }
        // SAFETY: contract: it came from rr_server_new, and this is the last call.
        drop(unsafe { Box::from_raw(s) });
        Ok(0)
    });
}

/// Listens: "127.0.0.1:1935", `"[::1]:1935"`, "name:1935"; `"[::]:1935"`, ":1935" and "1935" take IPv4 and IPv6; port 0
/// takes any free one. A port must be given. `flags` are RR_LISTEN_*; RR_LISTEN_TLS needs an earlier rr_server_set_tls.
/// It may be called several times.
///
/// # Waits
/// For the name service, if `addr` has a name.
///
/// # Returns
/// The port; RR_ERR_ARG: not an address, or unknown flags; RR_ERR_RESOLVE: the name has no address; RR_ERR_IO: the
/// system refused it (in use, no permission); RR_ERR_STATE: the server is stopping, or there is no certificate.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_listen(s: *mut rr_server, addr: *const c_char, flags: c_uint) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let addr = unsafe { text(addr, "addr") }?;
        Ok(c_int::from(server.core.listen(addr, convert::listen_flags(flags)?)?))
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Listens on a socket that is bound and listens already (inherited, or systemd's). The library owns it from now on,
/// also on failure. `flags`: RR_LISTEN_PROXY, RR_LISTEN_TLS, RR_LISTEN_HTTP or 0.
///
/// # Returns
/// The port, 0 for a unix socket; RR_ERR_ARG: not a listening socket, or unknown flags; RR_ERR_STATE: the server is
/// stopping, or there is no certificate.
///
/// # Safety
/// The contract of all pointers; nobody else closes `fd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_listen_fd(s: *mut rr_server, fd: c_int, flags: c_uint) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let fd = unsafe { take_fd(fd) }?;
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        let _log = server.core.enter_log();
        Ok(c_int::from(server.core.listen_fd(fd, convert::listen_flags(flags)?)?))
    })
}

/// Takes a connection that the host accepted; unix sockets are accepted too. The library owns it from now on, also on
/// failure. `peer` is the address to show, NULL takes the socket's; with RR_LISTEN_PROXY in `flags` the PROXY header,
/// which comes first, has the address. With RR_LISTEN_TLS the peer speaks TLS (after that header), with RR_LISTEN_HTTP
/// it is a player over HTTP.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: not a connected stream socket, `peer` is not UTF-8, or unknown flags; RR_ERR_LIMIT: max_sessions,
/// or connections come faster than the server takes them; RR_ERR_STATE: the server is stopping, or there is no
/// certificate.
///
/// # Safety
/// The contract of all pointers; nobody else closes `fd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_accept_fd(
    s: *mut rr_server,
    fd: c_int,
    peer: *const c_char,
    flags: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let fd = unsafe { take_fd(fd) }?;
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        let _log = server.core.enter_log();
        // SAFETY: contract.
        let peer = unsafe { opt_text(peer, "peer") }?;
        server.core.accept_fd(fd, peer, convert::listen_flags(flags)?)?;
        Ok(0)
    })
}

/// Sets the certificate that RR_LISTEN_TLS shows: two PEM files, the certificate followed by its chain, and its key. It
/// may be called again at any time when the files have changed; later connections get the new certificate.
///
/// # Waits
/// For the disk: both files are read before it returns, and not later.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: a path is NULL or not UTF-8; RR_ERR_CERT: a file cannot be read, or they do not belong together;
/// then the previous certificate stays.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_set_tls(
    s: *mut rr_server,
    cert_pem: *const c_char,
    key_pem: *const c_char,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let (chain, key) = (unsafe { text(cert_pem, "cert_pem") }?, unsafe { text(key_pem, "key_pem") }?);
        server.core.set_tls(Path::new(chain), Path::new(key))?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Sets who may publish and play from now on; running sessions go on. It may be called again. `rules` is a list ended
/// by NULL; the first rule that matches a peer decides, and a peer that no rule matches is allowed. A rule is "allow"
/// or "deny", then "publish" or "play" or neither for both, then an address, a network or "all": "allow publish
/// 10.0.0.0/8", "allow publish fd00::/8", "deny publish all". A peer without an address (a unix socket) matches only
/// "all". `publish_keys` is a file of the stream keys that may publish, one a line; empty lines and lines that begin
/// with # are ignored. A key is the part of a stream's path after the application; a key with ?arguments
/// ("show?pass=abc") is for publishers that send the same, while players need only "show" (with
/// RR_ARGS_KEY the whole). With RR_ARGS_DROP nobody can send such a key, and a log line says so. NULL means no rules,
/// or any key.
///
/// Peers are checked before hooks and the host are asked, and a refused peer is told why: by RTMP with
/// NetStream.Publish.Denied or NetStream.Play.Failed, over HTTP with 403. Its end comes as an event, with
/// RR_ERR_REJECTED for its address or RR_ERR_AUTH for its key. Keys are compared in constant time.
///
/// # Waits
/// For the disk: the file is read before it returns, and not later.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: a malformed rule, more than 4096 rules, a text that is not UTF-8, or a file without a key that
/// could be sent, with more than 10000 keys or larger than a MiB; RR_ERR_IO: the file cannot be read. On failure the
/// previous settings stay.
///
/// # Safety
/// The contract of all pointers; `rules` is NULL or a list ended by NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_set_access(
    s: *mut rr_server,
    rules: *const *const c_char,
    publish_keys: *const c_char,
) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        server.core.set_access(unsafe { convert::access_config(rules, publish_keys) }?)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Stops in order: no new peer is accepted, streams have `deadline_ms` to send their last messages, then everything is
/// closed and the state is STOPPED, which comes as an event. Returns at once; a second call may shorten the deadline.
/// With a `reconnect_url` streams go on until shortly before the deadline, or until all peers have left, and peers that
/// understand Enhanced RTMP's reconnect request are asked to connect to that url. NULL: no peer is asked.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `reconnect_url` is not UTF-8.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_stop(s: *mut rr_server, reconnect_url: *const c_char, deadline_ms: c_uint) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let reconnect_url = unsafe { opt_text(reconnect_url, "reconnect_url") }?.map(ToOwned::to_owned);
        RRRestOut::Drain { reconnect_url, deadline_ms }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Hands the server over to another process, without a peer noticing: the listening sockets, the streams, the sessions
/// that publish, play or wait for an answer, and the targets and sources. `fd` is one end of a connected unix stream
/// socket; at its other end the other process calls rr_server_takeover. The library owns it from now on, also on
/// failure. `within_ms` (1 to 60000) is how long this may take. `fd` is readable as soon as the other process is ready,
/// or has ended; a host may wait for that before it calls this. Then streams stand still until the other process has
/// everything, mostly for some tens of milliseconds. Calls that change streams, targets or sessions, but for answers of
/// the host, wait until then, and so does the message of rr_stream_write with which the host begins to publish. If the
/// other process has taken over, they give RR_ERR_NOT_FOUND for what has moved. rr_server_stop ends the hand-over with
/// RR_ERR_STATE, unless the other process has taken over: then that goes on.
///
/// With RR_OK the server stops: every session and target that moved has ended here with RR_OK as its error, and what
/// cannot move (sessions over TLS, and a stream whose publisher cannot move or is the host, with its players and
/// targets) has `drain_ms` to leave. Peers among them that understand Enhanced RTMP's
/// reconnect request are asked to connect to the same url again, where the other process is. The state STOPPED comes as
/// an event when all have left, or at the end of that time. If the other process is of an older version that cannot
/// read the sessions, it gets the listening sockets, and all sessions stay.
///
/// Where streams run in processes (RR_ISOLATE_PROCESS), these go on under the other server, with everything in them, and
/// nothing of them stands still. Connections over TLS go along as long as this process carries their bytes, `drain_ms` at
/// most. The other server must have its streams in processes too; otherwise it gets the listening sockets only.
///
/// On failure the server goes on as before, with the same ids and without any event, also if the other process ends or
/// is killed at any moment. If this process is killed, the other one goes on with what it has got.
///
/// # Waits
/// For the other process, `within_ms` at most.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: not a connected unix stream socket, or `within_ms` is out of its range; RR_ERR_STATE: the server is
/// stopping, or is being handed over; RR_ERR_CLOSED: the other process has ended; RR_ERR_TIMEOUT: it took too long;
/// RR_ERR_PROTOCOL: it sent something else; RR_ERR_VERSION: it is too old; RR_ERR_THREAD: inside a callback; any other
/// error with which the other process has refused.
///
/// # Safety
/// The contract of all pointers; nobody else closes `fd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_handover(
    s: *mut rr_server,
    fd: c_int,
    within_ms: c_uint,
    drain_ms: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let fd = unsafe { take_fd(fd) }?;
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        server.core.hand_over(fd, within_ms, drain_ms)?;
        Ok(0)
    })
}

/// Takes over a server from another process, which calls rr_server_handover at the other end of this unix stream socket.
/// The library owns `fd` from now on, also on failure. Call it before rr_server_listen, and after rr_server_set_tls if
/// the other server listens with TLS. The listening sockets keep their flags. The streams keep their settings; the
/// sessions have new ids here, and their events come as those of new sessions. Bans and rr_server_set_access of this
/// server apply to them. Targets and sources have their settings and what remains of their waits, and keep their
/// connections, except over TLS, where they connect anew. User pointers do not come along.
///
/// Everything that comes is checked completely before the other process lets go of it. A stop that comes afterwards, before this
/// returns, ends in order all that has come.
///
/// # Waits
/// For the other process, `within_ms` (1 to 60000) at most.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: not a connected unix stream socket, `within_ms` is out of its range, or what came is malformed;
/// RR_ERR_VERSION: the other process is newer and sends what this library cannot read; RR_ERR_EXISTS: one of the streams
/// is here already; RR_ERR_LIMIT, RR_ERR_NOMEM: there is no room for all; RR_ERR_STATE: the server is stopping, or there
/// is no certificate; RR_ERR_CLOSED, RR_ERR_TIMEOUT, RR_ERR_PROTOCOL: the other process has ended, is too slow or sends
/// something else; RR_ERR_THREAD: inside a callback. On failure this server has nothing of the other one, which goes on.
///
/// # Safety
/// The contract of all pointers; nobody else closes `fd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_takeover(s: *mut rr_server, fd: c_int, within_ms: c_uint) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let fd = unsafe { take_fd(fd) }?;
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        server.core.take_over(fd, within_ms)?;
        Ok(0)
    })
}

/// The server's RR_STATE_*.
///
/// # Returns
/// The state.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_state(s: *mut rr_server) -> c_int {
    // SAFETY: contract.
    unsafe { on_server(s, |server| Ok(server.core.state() as c_int)) }
}

/// Sets where this server's log lines go, and up to which RR_LOG_* level; before the first call they are dropped. NULL
/// for `fn` means stderr, RR_LOG_OFF means no lines. When it returns RR_OK, the previous sink has returned and will not
/// be called again; if this is called inside a callback, the previous sink may still be in its last call. Stream keys
/// and tokens are hidden in the lines.
///
/// # Waits
/// For the previous sink, if it is running, two seconds at most; inside a callback not at all.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: no such level; RR_ERR_TIMEOUT: the previous sink has not returned yet, and the new one is set.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_set_log(
    s: *mut rr_server,
    level: c_int,
    r#fn: rr_log_fn,
    user: *mut c_void,
) -> c_int {
    let body = |server: &rr_server| {
        let unknown = || Failure::ours(RRError::Arg, format!("level: {level} is not one of RR_LOG_*"));
        let filter = level_filter(level).ok_or_else(unknown)?;
        server.core.set_log(filter, log_sink(r#fn, user as usize))?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Sets whether the log lines of librtmp's interface in this process (RTMP_Log, and the library's own lines there) come
/// to this server's log: to the same function, stderr or events as the server's own lines, with the module "librtmp",
/// from any thread. `on` is 1 or 0 (the initial value). Meanwhile RTMP_LogSetCallback and RTMP_LogSetOutput get
/// nothing. The level of RTMP_LogSetLevel (initially only errors) and then the server's level decide which lines come:
/// RTMP_LOGCRIT and ERROR as RR_LOG_ERROR, WARNING, INFO and DEBUG under these names, DEBUG2 and ALL as RR_LOG_TRACE;
/// RTMP_LogPrintf as RR_LOG_INFO and RTMP_LogStatus as RR_LOG_DEBUG, one line for each of their lines. Keys and tokens
/// are not hidden in these lines. One server of the process gets them, the last that asked, until it is freed.
///
/// Lines that a log function itself logs by RTMP_Log go where librtmp's own calls say. So a log function that only
/// calls RTMP_Log(level, "%s: %s", module, line) sends the server's lines to librtmp's callback or output instead; the
/// levels have the same numbers there. (A host that takes RR_EV_LOG by rr_event_next must not log it by RTMP_Log: each
/// line would cause the next.)
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `on` is neither 0 nor 1; RR_ERR_UNSUPPORTED: the library was built without librtmp's interface.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_log_librtmp(s: *mut rr_server, on: c_int) -> c_int {
    let body = |server: &rr_server| {
        if !matches!(on, 0 | 1) {
            return Err(Failure::ours(RRError::Arg, format!("on: {on} is neither 0 nor 1")));
        }
        if cfg!(not(feature = "librtmp")) {
            return Err(Failure::ours(RRError::Unsupported, "this build has no librtmp interface"));
        }
        server.core.log_librtmp(on == 1);
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// The ids of one `kind` (RR_KIND_STREAM, _SESSION or _TARGET): of the whole server if `parent` is 0, otherwise of that
/// stream. The first `cap` ids are written to `out`, which may be NULL if `cap` is 0.
///
/// # Returns
/// How many there are, which may be more than `cap`; RR_ERR_ARG: no such kind; RR_ERR_NOT_FOUND: no such parent.
///
/// # Safety
/// The contract of all pointers; `cap` ids fit `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_server_list(
    s: *mut rr_server,
    parent: rr_id,
    kind: c_int,
    out: *mut rr_id,
    cap: usize,
) -> c_int {
    let body = |server: &rr_server| {
        if out.is_null() && cap > 0 {
            return Err(is_null("out"));
        }
        let kinds = rr_kind::RR_KIND_STREAM as c_int..=rr_kind::RR_KIND_TARGET as c_int;
        let unknown = || Failure::ours(RRError::Arg, format!("kind: {kind} is not an RR_KIND_* that can be listed"));
        let kind = u8::try_from(kind).ok().filter(|&kind| kinds.contains(&c_int::from(kind))).ok_or_else(unknown)?;
        let ids = server.core.list(parent, kind)?;
        let fit = ids.len().min(cap);
        // SAFETY: contract: `cap` ids fit, and the list is ours.
        unsafe { std::ptr::copy_nonoverlapping(ids.as_ptr(), out, fit) };
        Ok(c_int::try_from(ids.len()).unwrap_or(c_int::MAX))
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Takes ownership of the descriptor.
///
/// # Safety
/// Nobody else closes it.
pub(super) unsafe fn take_fd(fd: c_int) -> Result<OwnedFd> {
    // SAFETY: asks about a number; no memory is concerned.
    if fd < 0 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(Failure::ours(RRError::Arg, format!("fd: {fd} is not open")));
    }
    // SAFETY: it is open, and the host has given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The host's event callback in the core's form.
fn event_fn(on_event: rr_event_fn, user: usize) -> Option<EventFn> {
    let on_event = on_event?;
    Some(Box::new(move |event| {
        let lent = Lent::new(event.clone());
        // SAFETY: the host's function, as it gave it; the event lives until the call is over.
        unsafe { on_event(user as *mut c_void, lent.event()) };
    }))
}

/// The host's log callback in the core's form.
fn log_sink(sink: rr_log_fn, user: usize) -> LogSink {
    let Some(sink) = sink else { return LogSink::Stderr };
    LogSink::Callback(Box::new(move |level: Level, module: &str, line: &str| {
        let module: CString = super::c_string(module.into());
        let line = super::c_string(line.into());
        // SAFETY: the host's function, as it gave it; the strings live until the call is over.
        unsafe { sink(user as *mut c_void, level as c_int, module.as_ptr(), line.as_ptr()) };
    }))
}
