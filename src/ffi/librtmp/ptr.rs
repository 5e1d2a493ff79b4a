//! Pointers of exports as references, slices and values, under the contract at the head of the folder.
//!
//! Arguments that are only read, or that only this call writes, are `Option<&T>` and `Option<&mut T>` in the signatures
//! of the exports, which state the contract exactly. The functions here are for all others: results, which may be
//! uninitialised, counted bytes, C strings.

use std::ffi::{CStr, c_char, c_int};

/// Writes a result to the program's pointer, unless that is NULL.
///
/// # Safety
/// `out` is NULL or may be written. What was there is plain data.
pub(super) unsafe fn put<T: Copy>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: contract of this function.
        unsafe { out.write(value) };
    }
}

/// `len` bytes of the program; `None` for NULL and for a negative length.
///
/// # Safety
/// `start` is NULL or has this many bytes, which nobody writes as long as they are used.
pub(super) unsafe fn bytes<'a>(start: *const c_char, len: c_int) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    if start.is_null() {
        return None;
    }
    // SAFETY: contract of this function.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// `len` bytes of the program that are to be written; `None` for NULL and for a negative length.
///
/// # Safety
/// `start` is NULL or has this many bytes, which are the caller's alone as long as it uses them.
pub(super) unsafe fn bytes_mut<'a>(start: *mut c_char, len: c_int) -> Option<&'a mut [u8]> {
    let len = usize::try_from(len).ok()?;
    if start.is_null() {
        return None;
    }
    // SAFETY: contract of this function.
    Some(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) })
}

/// The bytes of a C string; `None` for NULL.
///
/// # Safety
/// `text` is NULL or ends with a zero, and nobody writes it as long as the bytes are used.
pub(super) unsafe fn c_string<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: contract of this function.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}
