//! rrelay: an RTMP relay that lives inside other people's programs.
//!
//! Data flows one way:
//!
//! ```text
//! socket -> chunk reader -> message -> session -> accumulate -> RRBuffer -> relay -> sockets
//! ```
//!
//! Hosts are programs in C, C++ and what calls C: the contract with them is `include/rrelay.h`. A Rust program may use what
//! stands below: [`RRServer`](server::RRServer) in [`server`] with what it takes and gives, its settings in [`config`] and
//! its errors in [`error`](mod@error), and control by HTTP in `rest`. All else is internal; some of it is public because
//! this crate's own tests, benches and fuzz targets reach it, and is not documented here.
//!
//! Modules in layer order; each imports only those before it, and `tests/tidy.rs` holds them to it: `error`, `mask`,
//! `config`, `sync`, `log`, `proto`, `session`, `net`, `stream`, `server`, `rest`, `ffi`.

// So that what integration tests share can be used by tests in the crate too.
#[cfg(test)]
extern crate self as rrelay;

pub mod config;
pub mod error;
#[doc(hidden)]
pub mod ffi;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod mask;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod proto;
#[cfg(feature = "rest")]
pub mod rest;
pub mod server;
#[doc(hidden)]
pub mod session;
mod stream;
mod sync;
