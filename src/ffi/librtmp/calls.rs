//! The calls that wait for an answer: `m_methodCalls`, a table that programs see, in the C allocator's memory.

use std::ffi::c_int;

use super::inner::Session;
use super::types::*;
use super::{guard, mem};

/// The table grows by this many calls, which programs can see.
const STEP: usize = 16;

/// The calls that wait.
///
/// # Safety
/// The result is not used once the table has changed, or may have.
unsafe fn table<'a>(r: Session) -> &'a [RTMP_METHOD] {
    let len = usize::try_from(r.m_numCalls.get()).unwrap_or(0);
    if r.m_methodCalls.get().is_null() || len == 0 {
        return &[];
    }
    // SAFETY: contract of this function; the table has so many entries.
    unsafe { std::slice::from_raw_parts(r.m_methodCalls.get(), len) }
}

/// Most calls that wait for an answer. A server that makes a player pause and never answers adds a call each time.
const MAX_CALLS: usize = 1024;

/// Remembers a call until its answer, or until there are too many newer ones.
pub(super) fn queue(r: Session, method: &[u8], transaction: c_int) {
    let mut len = usize::try_from(r.m_numCalls.get()).unwrap_or(0);
    if len >= MAX_CALLS {
        remove(r, 0);
        len -= 1;
    }
    if len % STEP == 0 {
        // SAFETY: the table is ours, from the C allocator.
        let Some(grown) = (unsafe { mem::grow(r.m_methodCalls.get(), len + STEP) }) else { return };
        r.m_methodCalls.set(grown);
    }
    // SAFETY: the table has room up to the next multiple of STEP.
    let place = unsafe { r.m_methodCalls.get().add(len) };
    // SAFETY: as above.
    unsafe { place.write(RTMP_METHOD { name: mem::copy(method), num: transaction }) };
    r.m_numCalls.set(r.m_numCalls.get() + 1);
}

/// Removes the call with this transaction and returns its name.
pub(super) fn take(r: Session, transaction: f64) -> Option<Vec<u8>> {
    // SAFETY: not used after the next line but one.
    let table = unsafe { table(r) };
    let index = table.iter().position(|call| call.num == transaction as c_int)?;
    let name = table[index].name.bytes().to_vec();
    remove(r, index);
    Some(name)
}

/// Removes the first call with this name.
pub(super) fn forget(r: Session, name: &[u8]) {
    // SAFETY: looking for a name changes nothing.
    if let Some(index) = unsafe { table(r) }.iter().position(|call| call.name.bytes() == name) {
        remove(r, index);
    }
}

/// Removes one call and frees its name.
pub(super) fn remove(r: Session, index: usize) {
    // SAFETY: copied at once.
    if let Some(call) = unsafe { table(r) }.get(index).copied() {
        erase(r, index);
        // SAFETY: the name is a copy of ours, and the table has forgotten it.
        unsafe { mem::free(call.name.start()) };
    }
}

fn erase(r: Session, index: usize) {
    let len = usize::try_from(r.m_numCalls.get()).unwrap_or(0);
    if index < len && !r.m_methodCalls.get().is_null() {
        // SAFETY: within the table.
        let place = unsafe { r.m_methodCalls.get().add(index) };
        // SAFETY: as above.
        let next = unsafe { place.add(1) };
        // SAFETY: the entries behind the one that goes.
        unsafe { std::ptr::copy(next, place, len - index - 1) };
        r.m_numCalls.set(r.m_numCalls.get() - 1);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_DropRequest(r: *mut RTMP, index: c_int, freeit: c_int) {
    guard((), || {
        // SAFETY: contract.
        let Some(r) = (unsafe { Session::new(r) }) else { return };
        let Ok(index) = usize::try_from(index) else { return };
        if freeit != 0 { remove(r, index) } else { erase(r, index) }
    });
}
