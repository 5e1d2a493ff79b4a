//! Group 2 of the C API: taking events, and the descriptor that says when.

use std::ffi::c_int;
use std::ptr::null;
use std::sync::TryLockError;

use super::event::{Lent, rr_event};
use super::rr_server::rr_server;
use super::{Out, guard, on_server, reference};
use crate::error::{Failure, RRError, Result};

/// A descriptor that is readable while an event waits, for the host's own loop (poll, epoll, libuv, asyncio). It may
/// also be readable while no event waits. The host must not read or close it.
///
/// # Valid
/// Until rr_server_free, which closes it.
///
/// # Returns
/// The descriptor; RR_ERR_STATE: events come by on_event.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_event_fd(s: *mut rr_server) -> c_int {
    // SAFETY: contract.
    unsafe { on_server(s, |server| server.core.event_fd()) }
}

/// Takes the next event; `*ev` is NULL when there is none.
///
/// # Threads
/// One at a time; inside a callback only with a `timeout_ms` of 0.
///
/// # Waits
/// For an event, `timeout_ms` at most: 0 not at all, -1 for ever.
///
/// # Valid
/// `*ev` and its strings until the next rr_event_next on this server, from any thread, or rr_server_free.
///
/// # Returns
/// 1 an event, 0 none; RR_ERR_STATE: events come by on_event; RR_ERR_THREAD: another thread is taking events, or the
/// call would wait inside a callback; RR_ERR_CLOSED: the server has stopped and all events have been taken.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_event_next(s: *mut rr_server, ev: *mut *const rr_event, timeout_ms: c_int) -> c_int {
    guard(|| {
        // SAFETY: contract. The event before ends with this call, also where it fails.
        unsafe { Out::new(ev, "ev")?.set(null()) };
        // SAFETY: contract.
        let server = unsafe { reference(s, "s") }?;
        let (pointer, found) = take(server, timeout_ms)?;
        // SAFETY: contract.
        unsafe { Out::new(ev, "ev")?.set(pointer) };
        Ok(found)
    })
}

/// Takes an event and keeps it in the server until the next one is taken.
fn take(server: &rr_server, timeout_ms: c_int) -> Result<(*const rr_event, c_int)> {
    let mut lent = match server.lent.try_lock() {
        Ok(lent) => lent,
        Err(TryLockError::Poisoned(lent)) => lent.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::ours(RRError::Thread, "another thread is taking events"));
        }
    };
    *lent = None;
    let Some(event) = server.core.next_event(timeout_ms)? else { return Ok((null(), 0)) };
    Ok((lent.insert(Lent::new(event)).event(), 1))
}

/// Makes a waiting rr_event_next return 0, or the next call of it if none waits.
///
/// # Returns
/// RR_OK.
///
/// # Safety
/// The contract of all pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_event_wake(s: *mut rr_server) -> c_int {
    let body = |server: &rr_server| {
        server.core.wake_events();
        Ok(0)
    };
    // SAFETY: contract.
    unsafe { on_server(s, body) }
}
