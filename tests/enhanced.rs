//! Enhanced RTMP: HEVC, AV1, Opus, many tracks and ModEx through the relay, as real encoders made the frames. What
//! the messages are is said by files that are kept (`tests/vectors/media`) and by a reader that knows nothing of the
//! crate.

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
