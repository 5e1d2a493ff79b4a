//! What the pointers of exports become: references, slices and values, under the contract at the head of the folder.
//!
//! These functions are safe to call within this folder alone: every pointer they get was given to an export by its
//! program, or lies in a structure of the program's, and the contract says what holds for it.

use std::ffi::{CStr, c_char, c_int};

/// What the pointer points to; `None` for NULL.
pub(super) fn given<'a, T>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: contract.
    unsafe { pointer.as_ref() }
}

/// The same, to be written.
pub(super) fn given_mut<'a, T>(pointer: *mut T) -> Option<&'a mut T> {
    // SAFETY: contract.
    unsafe { pointer.as_mut() }
}

/// Writes a result where the program wants it; NULL wants none.
pub(super) fn put<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: contract; what was there is plain data.
        unsafe { out.write(value) };
    }
}

/// `len` bytes of the program's; `None` for NULL and for a length below zero.
pub(super) fn bytes<'a>(start: *const c_char, len: c_int) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    if start.is_null() {
        return None;
    }
    // SAFETY: contract.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// The same, to be written.
pub(super) fn bytes_mut<'a>(start: *mut c_char, len: c_int) -> Option<&'a mut [u8]> {
    let len = usize::try_from(len).ok()?;
    if start.is_null() {
        return None;
    }
    // SAFETY: contract.
    Some(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) })
}

/// The bytes of a C string; `None` for NULL.
pub(super) fn c_string<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: contract.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The entry of a table, which must have so many.
pub(super) fn entry<'a, T>(table: *mut T, index: usize) -> &'a mut T {
    // SAFETY: contract: the entry is within the table.
    let place = unsafe { table.add(index) };
    // SAFETY: as above; tables of this library are set from their beginning.
    unsafe { &mut *place }
}
