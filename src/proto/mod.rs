//! RTMP without I/O: bytes in, values out, and back. No sockets, no threads, no clock, no log.
#![forbid(unsafe_code)]

pub(crate) mod amf;
pub mod amf0;
mod amf3;
pub(crate) mod auth;
pub(crate) mod browser;
pub(crate) mod cbor;
mod chunk_buffers;
pub(crate) mod chunk_header;
pub mod chunk_read;
pub mod chunk_write;
pub(crate) mod codec_config;
pub mod command;
pub(crate) mod flv;
pub mod frame;
pub(crate) mod framing;
pub mod handshake;
#[cfg(any(feature = "librtmp", feature = "fuzzing", test))]
pub(crate) mod http_client;
pub mod message;
pub(crate) mod metadata;
pub mod rtmpe;
#[cfg(any(feature = "librtmp", feature = "fuzzing", test))]
pub(crate) mod rtmpt;
#[cfg(any(feature = "librtmp", feature = "fuzzing", test))]
pub(crate) mod socks4;
#[cfg(any(feature = "librtmp", feature = "fuzzing", test))]
pub(crate) mod swf;
pub mod url;
pub(crate) mod websocket;
