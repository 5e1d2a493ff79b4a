//! RTMP without I/O: bytes in, values out, and back. No sockets, no threads, no clock, no log.
#![forbid(unsafe_code)]

pub mod amf;
pub mod amf0;
mod amf3;
pub mod auth;
pub mod browser;
pub(crate) mod cbor;
mod chunk_buffers;
pub mod chunk_header;
pub mod chunk_read;
pub mod chunk_write;
pub mod codec_config;
pub mod command;
pub mod flv;
pub mod frame;
pub mod framing;
pub mod handshake;
pub mod http_client;
pub mod message;
pub mod metadata;
pub mod rtmpe;
pub mod rtmpt;
pub mod socks4;
pub mod swf;
pub mod url;
pub mod websocket;
