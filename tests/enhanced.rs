//! Enhanced RTMP: HEVC, AV1, Opus, many tracks and ModEx through the relay, with frames of real encoders. The messages
//! are kept in files (`tests/vectors/media`), and a reader that shares no code with the crate takes them apart.

#![allow(unsafe_code, reason = "a C function is called as C calls it")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "enhanced/connect.rs"]
mod connect;
#[path = "enhanced/mp4.rs"]
mod mp4;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;
#[path = "enhanced/read.rs"]
mod read;
#[path = "enhanced/relaying.rs"]
mod relaying;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;
#[path = "enhanced/vectors.rs"]
mod vectors;
#[path = "enhanced/wrap.rs"]
mod wrap;
