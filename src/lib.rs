//! rrelay: an RTMP relay that lives inside other people's programs.
//!
//! Data flows one way:
//!
//! ```text
//! socket -> chunk reader -> message -> session -> accumulate -> RRBuffer -> relay -> sockets
//! ```
//!
//! Modules in layer order; each imports only those before it, and `tests/tidy.rs` holds them to it:
//! [`error`], [`config`], [`mask`], [`sync`], [`mod@log`], [`proto`], [`session`], [`net`], [`stream`], [`server`], [`ffi`].

// So that what integration tests share can be used by tests in the crate too.
#[cfg(test)]
extern crate self as rrelay;

pub mod config;
pub mod error;
pub mod ffi;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod log;
pub mod mask;
pub mod net;
pub mod proto;
#[cfg(feature = "rest")]
pub mod rest;
pub mod server;
pub mod session;
pub mod stream;
pub mod sync;
