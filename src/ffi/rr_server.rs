//! Group 1 of the C API: the server itself. The handle lives here; what it does is `crate::server`'s affair.

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

/// Listeners, streams and everything on them, events, log. Two servers in one process know nothing of each other.
pub struct rr_server {
    pub(super) core: Arc<RRServer>,
    #[cfg(feature = "rest")]
    pub(super) rest: crate::rest::Rest,
    /// The event on loan to the host.
    pub(super) lent: Mutex<Option<Lent>>,
}

/// Makes a server; its threads run, it listens nowhere yet. `cfg` may be NULL.
///
/// # Valid
/// `*out` until rr_server_free.
///
/// # Returns
/// RR_OK; RR_ERR_ARG or RR_ERR_VERSION for what `cfg` says; RR_ERR_LIMIT: the process has no thread or descriptor left.
/// On failure `*out` is NULL.
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

/// Stops the server at once, joins its threads and frees it, with the event that rr_event_next gave last. NULL is fine.
///
/// # Threads
/// The last call on a server, made once and while no other call on it runs. Inside a callback it does nothing but set
/// rr_last_error: the event thread cannot wait for itself.
///
/// # Waits
/// For the server's threads; with hooks, two seconds at most for what back ends are still to be told; for a callback that
/// runs, one second. A callback that has not returned then is left behind,
/// as rr_last_error says, and none is called any more.
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

/// Listens: "127.0.0.1:1935", `"[::1]:1935"`, "name:1935"; `"[::]:1935"`, ":1935" and "1935" take IPv4 and IPv6; port 0 takes
/// any free one. A port must be there.
/// `flags` are RR_LISTEN_*; rr_server_set_tls comes before RR_LISTEN_TLS. May be called several times.
///
/// # Waits
/// For the name service, where `addr` has a name.
///
/// # Returns
/// The port; RR_ERR_ARG: not an address, or unknown flags; RR_ERR_RESOLVE: the name has no address; RR_ERR_IO: the
/// system refused it (in use, no right); RR_ERR_STATE: the server stops, or there is no certificate.
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

/// Listens on a socket that is bound and listens already (inherited, or systemd's). It is the library's from here on,
/// also on failure. `flags`: RR_LISTEN_PROXY, RR_LISTEN_TLS, RR_LISTEN_HTTP or 0.
///
/// # Returns
/// The port, 0 for a unix socket; RR_ERR_ARG: no listening socket, or unknown flags; RR_ERR_STATE: the server stops, or
/// there is no certificate.
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

/// Takes a connection that the host accepted; a unix socket is fine. It is the library's from here on, also on failure.
/// `peer` is the address to show, NULL asks the socket; with RR_LISTEN_PROXY in `flags` the header that comes first says
/// it. With RR_LISTEN_TLS the peer speaks TLS (after that header), with RR_LISTEN_HTTP it is a player over HTTP.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: no connected stream socket, `peer` is not UTF-8, or unknown flags; RR_ERR_LIMIT: max_sessions, or
/// connections come faster than they are taken; RR_ERR_STATE: the server stops, or there is no certificate.
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

/// The certificate that RR_LISTEN_TLS shows: two PEM files, the certificate with the chain behind it, and its key. May be
/// called again at any time, when the files have changed: connections from then on are shown what is in them.
///
/// # Waits
/// For the disk: both files are read before it returns, and not again.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: a path is NULL or not UTF-8; RR_ERR_CERT: a file cannot be read, or they do not belong together
/// (what was shown before is shown on).
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

/// Who may publish and play, from now on, or others from now on where there were some already; whoever runs then runs on.
/// `rules` is a list that NULL ends, in the order in which they are looked at: the first that fits decides, and whom none
/// fits may. A rule is "allow" or "deny", then "publish" or "play" or neither for both, then an address, a network or "all":
/// "allow publish 10.0.0.0/8", "allow publish fd00::/8", "deny publish all". A peer without an address (a unix socket) is
/// in "all" alone. `publish_keys` is a file of the stream keys that may publish, one a line; empty lines and those that begin
/// with # count nothing. A key is what a stream's path has behind its application; one with ?arguments ("show?pass=abc")
/// is that of publishers who send the same, while players need "show" alone. With RR_ARGS_DROP nobody can send such a one, and a line in the log says so. NULL, for either: everybody may, any key may.
///
/// Peers are judged before hooks and the host are asked, and a refused one is told why: by RTMP with
/// NetStream.Publish.Denied or NetStream.Play.Failed, over HTTP with 403. Its end comes as an event, with RR_ERR_REJECTED
/// because of its address and RR_ERR_AUTH because of its key. Keys are compared in a time that does not depend on them.
///
/// # Waits
/// For the disk: the file is read before it returns, and not again.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: what is no rule, more than 4096 of them, a text that is not UTF-8, or a file that holds no key that
/// could be sent, more than 10000 or more than a MiB; RR_ERR_IO: the file cannot be read. What was set before stays then.
///
/// # Safety
/// The contract of all pointers; `rules` is NULL or a list that NULL ends.
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

/// Stops in order: nobody new comes in, streams have `deadline_ms` to bring their last messages out, then all is closed
/// and the state is STOPPED, which comes as an event. Returns at once; a second call may shorten the deadline.
/// With a `reconnect_url` streams go on until shortly before the deadline, or until everybody has left: peers that
/// understand it (E-RTMP) are asked to connect again there. NULL: nobody is asked.
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

/// Where this server's log lines go, and up to which RR_LOG_* level; nowhere before the first call. NULL for `fn` means
/// stderr, RR_LOG_OFF nowhere. When it returns RR_OK the sink before has returned and will not be called again;
/// inside a callback it may be in its last call still. Stream keys and tokens are hidden in the lines.
///
/// # Waits
/// For the sink before, where that runs: two seconds at most, and inside a callback not at all.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: no such level; RR_ERR_TIMEOUT: the sink before has not returned yet, and the new one is set.
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
        let unknown = || Failure::ours(RRError::Arg, format!("level: {level} is no RR_LOG_*"));
        let filter = level_filter(level).ok_or_else(unknown)?;
        server.core.set_log(filter, log_sink(r#fn, user as usize))?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Whether what librtmp's interface logs in this process (RTMP_Log, and all it says itself) comes to this server's log:
/// to the function, the stderr or the events that have the server's own lines, with the module "librtmp", from whatever
/// thread. `on` is 1 or 0 (as at first). While it comes, RTMP_LogSetCallback and RTMP_LogSetOutput get nothing. The
/// level of RTMP_LogSetLevel (at first: errors alone) and then the server's decide what comes: RTMP_LOGCRIT and ERROR as
/// RR_LOG_ERROR, WARNING, INFO and DEBUG under these names, DEBUG2 and ALL as RR_LOG_TRACE; RTMP_LogPrintf as
/// RR_LOG_INFO and RTMP_LogStatus as RR_LOG_DEBUG, a line for each line of theirs. Keys and tokens are not hidden in
/// these. One server of the process has them, the last that asked, until it is freed.
///
/// What a log function itself logs by RTMP_Log goes where librtmp's own calls say. So one that does nothing but
/// RTMP_Log(level, "%s: %s", module, line) brings the server's lines to librtmp's callback or output instead; levels
/// have the same numbers there. (A host that takes RR_EV_LOG by rr_event_next must not log it by RTMP_Log: each line
/// would make the next.)
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `on` is neither; RR_ERR_UNSUPPORTED: the library was built without librtmp's interface.
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

/// The ids of one `kind` (RR_KIND_STREAM, _SESSION or _TARGET): of the whole server where `parent` is 0, else of that
/// stream. The first `cap` are written to `out`, which may be NULL where `cap` is 0.
///
/// # Returns
/// How many there are, also above `cap`; RR_ERR_ARG: no such kind; RR_ERR_NOT_FOUND: no such parent.
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
        let unknown = || Failure::ours(RRError::Arg, format!("kind: {kind} is no RR_KIND_* that can be listed"));
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

/// Makes the descriptor ours.
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
