//! Real programs against the server: their media arrives unchanged, and they end when they should. Each test has its
//! own server, port and folder, and ends its own programs.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]
#![allow(clippy::duplicate_mod, reason = "two parts of the support have the same waiting")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

#[cfg(feature = "rest")]
#[path = "support/backend.rs"]
mod backend;

#[cfg(feature = "rest")]
#[path = "support/live.rs"]
mod live;

#[cfg(feature = "rest")]
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

#[path = "interop/bundled.rs"]
mod bundled;
#[cfg(feature = "rest")]
#[path = "interop/hooks.rs"]
mod hooks;
#[path = "interop/http.rs"]
mod http;
#[path = "interop/join.rs"]
mod join;
#[path = "interop/play.rs"]
mod play;
#[path = "interop/publish.rs"]
mod publish;
#[path = "interop/screens.rs"]
mod screens;
#[cfg(feature = "rest")]
#[path = "interop/stat.rs"]
mod stat;
#[path = "interop/targets.rs"]
mod targets;
#[path = "interop/tls.rs"]
mod tls;
