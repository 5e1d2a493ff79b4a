//! The C ABI: exported functions, their structs, and all code that touches raw pointers.
//!
//! An export has four steps: check and convert the arguments, one call into the core, convert the result, return. An
//! export holds no lock and makes no decision. Its body runs in `guard`, which lets no panic into the host. Nothing
//! outside this folder imports from it.
//!
//! # The contract of all pointers
//!
//! This applies to every exported function; a function's own comment adds only its special rules.
//!
//! - A pointer argument is NULL or points to a value of its type, readable (and, where it is not `const`, writable) for
//!   the whole call. NULL gives `RR_ERR_ARG` unless the function gives NULL a meaning.
//! - A string ends with NUL and does not change during the call. The library copies strings. From the host it keeps
//!   only `user` pointers, which it never follows, and callbacks with their `user` pointers.
//! - A config struct begins with its `size`; that many bytes are readable.
//! - An `rr_server` pointer came from `rr_server_new` and has not been given to `rr_server_free`. Any thread may use
//!   the server.
//! - Strings and events that the host borrows live as long as the function says, and the host does not write to them.
//!
//! The helpers below turn pointers into references and values under this contract; a comment `SAFETY: contract` refers
//! to it.

// Rust uses the C names verbatim, so that there is one name to search for.
#![allow(non_camel_case_types)]
// This folder is where pointers of the host become references.
#![allow(unsafe_code)]

pub mod config;
mod convert;
pub mod event;
mod layout;
/// cbindgen:ignore
#[cfg(feature = "librtmp")]
pub mod librtmp;
mod names;
pub mod rr_base;
pub mod rr_event;
pub mod rr_frame;
pub mod rr_info;
pub mod rr_rest;
pub mod rr_server;
pub mod rr_session;
pub mod rr_stream;
pub mod rr_target;
pub mod rr_worker;
pub mod types;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::error::{Failure, RRError, Result};
use crate::sync::panic_text;

/// Largest `size` of a struct. The structs of every version are far smaller; a larger `size` was not initialised.
const MAX_STRUCT_BYTES: usize = 4096;

thread_local! {
    static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Runs the body of an export. A failure becomes its number, with the detail kept for `rr_last_error`; a panic becomes
/// `RR_ERR_PANIC`.
fn guard(body: impl FnOnce() -> Result<c_int>) -> c_int {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::ours(RRError::Panic, panic_text(panic.as_ref()).to_owned()),
    };
    let code = failure.kind.code();
    keep_error(&failure);
    code
}

/// Runs the body of an export that works on a server; log records of the body go to that server.
///
/// # Safety
/// The contract of all pointers.
unsafe fn on_server(
    server: *mut rr_server::rr_server,
    body: impl FnOnce(&rr_server::rr_server) -> Result<c_int>,
) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let server = unsafe { reference(server, "s") }?;
        let _log = server.core.enter_log();
        body(server)
    })
}

/// Keeps the failure's text for this thread's `rr_last_error`.
fn keep_error(failure: &Failure) {
    let text = c_string(failure.to_string().into_bytes());
    // A thread that is ending has no place for the text any more; its caller gets only the number.
    let _ = LAST_ERROR.try_with(|last| last.replace(Some(text)));
}

/// The text of this thread's last failure, kept until its next one.
fn last_error() -> *const c_char {
    LAST_ERROR
        .try_with(|last| last.borrow().as_ref().map_or(c"".as_ptr(), |text| text.as_ptr()))
        .unwrap_or(c"".as_ptr())
}

/// A C string of these bytes. A NUL inside becomes U+FFFD, because a name cut there would look like another one.
fn c_string(bytes: Vec<u8>) -> CString {
    CString::new(bytes).unwrap_or_else(|error| {
        let mut shown = Vec::new();
        for byte in error.into_vec() {
            if byte == 0 { shown.extend_from_slice("\u{FFFD}".as_bytes()) } else { shown.push(byte) }
        }
        CString::new(shown).unwrap_or_default()
    })
}

fn is_null(name: &str) -> Failure {
    Failure::ours(RRError::Arg, format!("{name} is NULL"))
}

/// The pointer as a reference.
///
/// # Safety
/// The contract of all pointers.
unsafe fn reference<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| is_null(name))
}

/// Memory of the host for a result, possibly uninitialised.
struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    fn new(pointer: *mut T, name: &str) -> Result<Self> {
        NonNull::new(pointer).map(Self).ok_or_else(|| is_null(name))
    }

    /// # Safety
    /// The contract of all pointers.
    unsafe fn set(self, value: T) {
        // SAFETY: contract; the old value is the host's plain data and is not dropped.
        unsafe { self.0.write(value) }
    }
}

/// The host's room for a state, whose size goes where that of the room stands.
struct Room {
    blob: *mut u8,
    bytes: usize,
    len: Out<usize>,
}

impl Room {
    /// The `*len` bytes at `blob`, which may be NULL if there are none.
    ///
    /// # Safety
    /// The contract of all pointers.
    unsafe fn new(blob: *mut c_void, len: *mut usize) -> Result<Self> {
        // SAFETY: contract.
        let bytes = *unsafe { reference(len, "len") }?;
        if blob.is_null() && bytes > 0 {
            return Err(is_null("blob"));
        }
        Ok(Self { blob: blob.cast(), bytes, len: Out::new(len, "len")? })
    }

    /// Gives the host a state.
    ///
    /// # Safety
    /// The contract of all pointers: `bytes` fit.
    ///
    /// # Panics
    /// If the state is longer than that: it may be the work of another process.
    unsafe fn take(self, state: &[u8]) {
        assert!(state.len() <= self.bytes, "a state of {} bytes came for {}", state.len(), self.bytes);
        // SAFETY: contract: they fit, and where `blob` is NULL there are none.
        unsafe { std::ptr::copy_nonoverlapping(state.as_ptr(), self.blob, state.len()) };
        // SAFETY: contract.
        unsafe { self.len.set(state.len()) };
    }

    /// Tells the host how much room the state of this object needs.
    ///
    /// # Safety
    /// The contract of all pointers.
    unsafe fn falls_short(self, of: &str, needs: usize) -> Failure {
        // SAFETY: contract.
        unsafe { self.len.set(needs) };
        let text = format!("the {of}'s state does not fit {} bytes; {needs} are enough", self.bytes);
        Failure::ours(RRError::Limit, text)
    }
}

/// The bytes of a string; NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
unsafe fn opt_bytes<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: contract, and not NULL.
    Some(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// The bytes of a string that must be given.
///
/// # Safety
/// The contract of all pointers.
unsafe fn bytes<'a>(pointer: *const c_char, name: &str) -> Result<&'a [u8]> {
    // SAFETY: contract.
    unsafe { opt_bytes(pointer) }.ok_or_else(|| is_null(name))
}

/// A string that is text (an address, a url); NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
unsafe fn opt_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    // SAFETY: contract.
    let Some(bytes) = (unsafe { opt_bytes(pointer) }) else { return Ok(None) };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Failure::ours(RRError::Arg, format!("{name} is not UTF-8: {error}")))?;
    Ok(Some(text))
}

/// Text that must be given.
///
/// # Safety
/// The contract of all pointers.
unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: contract.
    unsafe { opt_text(pointer, name) }?.ok_or_else(|| is_null(name))
}

/// A list of at most `most` texts, ended by NULL; a NULL list is empty.
///
/// # Safety
/// The contract of all pointers; up to `most + 1` pointers are readable, fewer where a NULL ends them.
unsafe fn texts(list: *const *const c_char, name: &str, most: usize) -> Result<Vec<String>> {
    let mut found = Vec::new();
    while !list.is_null() {
        // SAFETY: the entries before were not NULL, so this one is there.
        let place = unsafe { list.add(found.len()) };
        // SAFETY: as above.
        let entry = unsafe { *place };
        // SAFETY: contract.
        let Some(text) = (unsafe { opt_text(entry, name) })? else { break };
        if found.len() == most {
            return Err(Failure::ours(RRError::Arg, format!("{name} has more than {most} entries")));
        }
        found.push(text.to_owned());
    }
    Ok(found)
}

/// `len` bytes; with a `len` of 0 the pointer may be NULL.
///
/// # Safety
/// The contract of all pointers; `len` bytes are readable.
unsafe fn slice<'a>(pointer: *const u8, len: usize, name: &str) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(is_null(name));
    }
    if len > isize::MAX as usize {
        return Err(Failure::ours(RRError::Arg, format!("{name}: {len} bytes are more than the address space has")));
    }
    // SAFETY: contract; not NULL, and no longer than a slice may be.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A struct that begins with its `size` and `kind` and may grow at its end.
///
/// # Safety
/// `repr(C)`, a `u16` size and a `u16` kind first, without padding, valid with all bytes zero, and valid with any bytes
/// that C may write.
unsafe trait Sized32: Copy {
    const NAME: &'static str;
    /// RR_CFG_*.
    const KIND: u16;
}

/// Reads a struct by the growth rule: fields that an older host's struct lacks are zero; fields that only a newer
/// host's struct has must be zero, otherwise `RR_ERR_VERSION`. NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
unsafe fn read_struct<T: Sized32>(pointer: *const T) -> Result<Option<T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: contract: every such struct begins with its size and kind, whatever its length.
    let [size, kind] = unsafe { pointer.cast::<[u16; 2]>().read_unaligned() };
    let size = usize::from(size);
    if !(size_of::<u64>()..=MAX_STRUCT_BYTES).contains(&size) {
        let text = format!("{}: size is {size}; was it set up with rr_config_init?", T::NAME);
        return Err(Failure::ours(RRError::Arg, text));
    }
    if kind != T::KIND {
        let text = match config::name_of(kind.into()) {
            Some(other) => format!("{}: it was set up as {other}", T::NAME),
            None => format!("{}: kind is {kind}; was it set up with rr_config_init?", T::NAME),
        };
        return Err(Failure::ours(RRError::Arg, text));
    }
    // SAFETY: contract: `size` bytes are readable.
    let given = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    let known = size.min(size_of::<T>());
    if given[known..].iter().any(|&byte| byte != 0) {
        let text =
            format!("{}: this library knows only {} of its {size} bytes, and the rest is not zero", T::NAME, known);
        return Err(Failure::ours(RRError::Version, text));
    }
    // SAFETY: zero is a valid value of every `Sized32`.
    let mut value: T = unsafe { std::mem::zeroed() };
    // SAFETY: `known` bytes are within both; they do not overlap; every value is valid for a `Sized32`.
    unsafe { std::ptr::copy_nonoverlapping(given.as_ptr(), (&raw mut value).cast::<u8>(), known) };
    Ok(Some(value))
}

/// Writes a struct into the host's `size` bytes: as much as fits, zeroes after it.
///
/// # Safety
/// The contract of all pointers; `size` bytes are writable. `T` has no padding.
unsafe fn write_struct<T: Copy>(pointer: *mut c_void, size: usize, value: &T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(is_null(name));
    }
    if !(size_of::<u64>()..=MAX_STRUCT_BYTES).contains(&size) {
        return Err(Failure::ours(RRError::Arg, format!("{name}: {size} is not the size of this struct")));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: contract: `size` bytes are writable.
    unsafe { pointer.cast::<u8>().write_bytes(0, size) };
    // SAFETY: `known` bytes are within both, and the host's memory does not overlap `value`.
    unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(value).cast::<u8>(), pointer.cast::<u8>(), known) };
    Ok(())
}

#[cfg(test)]
mod tests;
