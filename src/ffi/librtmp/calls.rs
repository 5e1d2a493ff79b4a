//! The calls that wait for an answer: `m_methodCalls`, a table programs can see, in the C allocator's memory.

use std::ffi::c_int;

use super::ptr::given_mut;
use super::types::*;
use super::{guard, mem};

/// The table grows by so many calls. It is part of what programs see.
const STEP: usize = 16;

fn table(r: &RTMP) -> &[RTMP_METHOD] {
    let len = usize::try_from(r.m_numCalls).unwrap_or(0);
    if r.m_methodCalls.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: contract: m_numCalls entries.
    unsafe { std::slice::from_raw_parts(r.m_methodCalls, len) }
}

/// So many calls wait for an answer at most. A server that makes a player pause and never says what became of it has
/// one more remembered each time.
const MAX_CALLS: usize = 1024;

/// Remembers a call until its answer, or until there are too many newer ones.
pub(super) fn queue(r: &mut RTMP, method: &[u8], transaction: c_int) {
    if table(r).len() >= MAX_CALLS {
        remove(r, 0);
    }
    let len = usize::try_from(r.m_numCalls).unwrap_or(0);
    if len % STEP == 0 {
        // SAFETY: the table is ours, from the C allocator.
        let Some(grown) = (unsafe { mem::grow(r.m_methodCalls, len + STEP) }) else { return };
        r.m_methodCalls = grown;
    }
    // SAFETY: the table has room up to the next multiple of STEP.
    let place = unsafe { r.m_methodCalls.add(len) };
    // SAFETY: as above.
    unsafe { place.write(RTMP_METHOD { name: mem::copy(method), num: transaction }) };
    r.m_numCalls += 1;
}

/// Takes out the call of this transaction and gives its name.
pub(super) fn take(r: &mut RTMP, transaction: f64) -> Option<Vec<u8>> {
    let index = table(r).iter().position(|call| call.num == transaction as c_int)?;
    let name = table(r)[index].name.bytes().to_vec();
    remove(r, index);
    Some(name)
}

/// Forgets the first call of this name.
pub(super) fn forget(r: &mut RTMP, name: &[u8]) {
    if let Some(index) = table(r).iter().position(|call| call.name.bytes() == name) {
        remove(r, index);
    }
}

/// Takes out one call and frees its name.
pub(super) fn remove(r: &mut RTMP, index: usize) {
    if let Some(call) = table(r).get(index) {
        // SAFETY: the name is a copy of ours.
        unsafe { mem::free(call.name.av_val) };
        erase(r, index);
    }
}

fn erase(r: &mut RTMP, index: usize) {
    let len = table(r).len();
    if index < len {
        // SAFETY: within the table.
        let place = unsafe { r.m_methodCalls.add(index) };
        // SAFETY: as above.
        let next = unsafe { place.add(1) };
        // SAFETY: the entries behind the one that goes.
        unsafe { std::ptr::copy(next, place, len - index - 1) };
        r.m_numCalls -= 1;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_DropRequest(r: *mut RTMP, index: c_int, freeit: c_int) {
    guard((), || {
        let Some(r) = given_mut(r) else { return };
        let Ok(index) = usize::try_from(index) else { return };
        if freeit != 0 { remove(r, index) } else { erase(r, index) }
    });
}
