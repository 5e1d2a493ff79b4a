//! rrelay: an RTMP relay that runs inside a host program.
//!
//! Data flows one way:
//!
//! ```text
//! socket -> chunk reader -> message -> session -> accumulate -> RRBuffer -> relay -> sockets
//! ```
//!
//! Hosts are programs in C, C++ and languages that can call C; their interface is `include/rrelay.h`. A Rust program
//! may use these public items: [`RRServer`](server::RRServer) in [`server`] with its parameter and result types, its
//! settings in [`config`] and its errors in [`error`](mod@error), and control by HTTP in `rest`. Everything else is
//! internal; some of it is public but undocumented, because this crate's own tests, benches and fuzz targets use it.
//!
//! Modules in layer order; each imports only those before it, and `tests/tidy.rs` holds them to it: `error`, `mask`,
//! `config`, `sync`, `log`, `proto`, `session`, `net`, `stream`, `server`, `rest`, `ffi`.

// This lets tests in the crate use the helpers of the integration tests.
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
