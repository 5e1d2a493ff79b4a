//! The librtmp face: the symbols of `librtmp.so.1` over this crate's protocol code. The relay face and this one do not
//! use each other.
//!
//! Each export converts its pointers once and makes one call. The functions below the exports work on values, on
//! references that belong only to this call, and on the handle of a session, whose fields are cells and atomics
//! (`Session` in `inner.rs`). All state that programs see is in the public structures; the rest is reached by a pointer
//! that no program touches (`inner.rs`).
//!
//! # The contract of all pointers
//!
//! - A pointer is NULL or points to a value of its type, for the whole call. Where librtmp would read through NULL,
//!   this face does nothing and reports failure: no program can depend on the crash.
//! - An `AVal` that is not NULL has `av_len` readable bytes. The library does not copy them: they must outlive their
//!   use, in `RTMP_LNK` the whole session.
//! - An `RTMP` was given to `RTMP_Init` (or comes from `RTMP_Alloc`), and does not move while it is connected.
//! - `m_body` of a packet to send has 18 writable bytes before it, which this face does not use.
//! - Memory that one side has from the C allocator may be freed by the other: bodies (18 bytes before them), property
//!   arrays, playpaths.
//! - There is one call at a time per session, except `RTMP_Close`: a close from another thread shuts the socket down,
//!   and the running call then fails and finishes the closing.
//!
//! A comment `SAFETY: contract` refers to these.

// The C names are used verbatim.
#![allow(non_snake_case)]
// Exports are reached only through the symbol table.
#![allow(unreachable_pub)]
#![allow(missing_docs)] // The headers include/librtmp/*.h document the functions, for their callers.
#![allow(clippy::missing_safety_doc)] // The contract above is the whole of it.

mod ahead;
mod amf;
mod amf3;
mod amf_decode;
mod amf_encode;
mod amf_prop;
mod calls;
mod client;
mod commands;
mod connect;
mod control;
mod flv_read;
mod flv_write;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod http;
mod inner;
mod invoke;

mod life;
pub(crate) mod log;
mod mem;
mod options;
mod ptr;
mod recv;
mod send;
mod sock;
mod swf;
mod system;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod tunnel;
pub mod types;
mod url;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::panic_text;

/// Runs the body of an export and lets no panic into the program: after a panic it logs a line and returns `otherwise`.
fn guard<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            #[cfg(any(test, feature = "fuzzing"))]
            fuzz::PANICS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            log::error(&format!("internal error: {}", panic_text(panic.as_ref())));
            otherwise
        }
    }
}
