//! rrelay: an RTMP relay that lives inside other people's programs.
//!
//! Data flows one way:
//!
//! ```text
//! socket -> chunk reader -> message -> session -> accumulate -> RRBuffer -> relay -> sockets
//! ```
//!
//! Modules in layer order; each imports only those before it, and `tests/tidy.rs` holds them to it:
//! [`error`], [`config`], [`sync`], [`proto`].

pub mod config;
pub mod error;
pub mod proto;
pub mod sync;
