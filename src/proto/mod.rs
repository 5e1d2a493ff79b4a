//! RTMP without I/O: bytes in, values out, and back. No sockets, no threads, no clock, no log.
#![forbid(unsafe_code)]

pub mod message;
