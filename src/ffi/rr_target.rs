//! Group 5 of the C API: targets and sources, the connections that we open to push a stream on or to pull one.

use std::ffi::{c_int, c_uint};

use super::config::rr_target_config;
use super::rr_server::rr_server;
use super::types::{rr_stream, rr_target};
use super::{Out, convert, on_server};
use crate::config::TargetConfig;
use crate::server::RRRestOut;

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
        RRRestOut::UpdateTarget { target: id, config: Box::new(config) }.carry_out(&server.core)?;
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
