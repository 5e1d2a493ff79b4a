//! Group 5 of the C API: targets and sources, the connections we open to push a stream on or to pull it.

use std::ffi::{c_int, c_uint};

use super::config::rr_target_config;
use super::rr_server::rr_server;
use super::types::{rr_stream, rr_target};
use super::{Out, convert, on_server};
use crate::config::TargetConfig;
use crate::server::RRRestOut;

/// Pushes a stream to another server, live or not: it connects when the stream has media and comes back by itself when
/// it is lost. Media goes out after the other side has said NetStream.Publish.Start. How it fares comes as
/// RR_EV_TARGET. The best time is the stream's first event (RR_EV_STREAM with prev RR_STATE_NONE): it comes once, and is told
/// before the publisher's media.
///
/// # Waits
/// For the disk, where a url is rtmps: `ca_file` or the system's roots are read before it returns.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: 100000 targets, or the process has no thread or descriptor
/// left for the stream; RR_ERR_NOMEM: the process has no memory left; RR_ERR_STATE: the stream stops; RR_ERR_CERT: with
/// rtmps, ca_file cannot be read or has no certificate, or the system has no roots; RR_ERR_ARG or RR_ERR_VERSION for
/// what else `cfg` says.
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

/// Pulls a stream from another server, which then is the stream's publisher. It waits while somebody else publishes the
/// stream (with RR_PUBLISHER_STANDBY connected, standing by as a publisher would; else, and on demand, not connected),
/// comes back by itself when it is lost, and goes where its server sends it (a redirect at connect, a reconnect
/// request). With RR_TARGET_ON_DEMAND it is connected only while somebody plays, one pull for all, and for
/// unwatched_ms of the stream after; players of a stream that the other server does not have are told so. It may be
/// added at RR_EV_WANTED: players who wait are served. A source that is not on demand keeps its stream, as a publisher
/// would, but one that has brought no media gives way to whoever publishes (silent_ms). A pull of what would come from
/// its own stream, over one server or several that pull from each other, is refused with RR_ERR_REJECTED and tried
/// again: it serves when somebody publishes to another stream of that circle. How it fares comes as RR_EV_TARGET; a
/// source is a target to rr_info_get, rr_stats_get, rr_target_update, rr_target_retry and rr_target_stop.
///
/// # Waits
/// As rr_stream_add_target.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: 100000 targets and sources; RR_ERR_STATE: the stream stops;
/// RR_ERR_CERT: as rr_stream_add_target; RR_ERR_UNSUPPORTED: a setting that only a target heeds, see rr_target_config;
/// RR_ERR_ARG or RR_ERR_VERSION for what else `cfg` says.
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

/// What adding a target and adding a source have in common.
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

/// Gives a target or a source other settings; `cfg` is all of them, as for rr_stream_add_target or rr_stream_add_source.
/// Another url, key, username, password, ca_file, pin_sha256, bind_addr, clock or chunk_size, or RR_TARGET_INSECURE set or
/// not, connects it anew, at once and without a wait; a source's stream and players stay meanwhile, for connect_ms or the
/// stream's grace_ms, whichever is longer. All else is changed while it runs: what media and tracks take away ends now,
/// what they add begins at the next key frame; backup_urls and times count from the next try on.
///
/// # Waits
/// As rr_stream_add_target.
///
/// # Returns
/// RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_CERT, RR_ERR_ARG, RR_ERR_VERSION or, of a source, RR_ERR_UNSUPPORTED
/// for what `cfg` says, as when it was added: it is as before then.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_target_update(s: *mut rr_server, id: rr_target, cfg: *const rr_target_config) -> c_int {
    let body = |server: &rr_server| {
        // SAFETY: contract.
        let config = unsafe { convert::target_config(cfg) }?;
        RRRestOut::UpdateTarget { target: id, config: Box::new(config) }.carry_out(&server.core)?;
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}

/// Makes a target that waits for its next try, or has failed, try now.
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

/// Ends a target; a connected one has `deadline_ms` to take what is there. The stream and everybody else on it do not
/// notice. Returns at once; STOPPED comes as an event.
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
