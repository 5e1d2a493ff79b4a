//! Sockets and readiness: what the operating system offers, in the form that the threads of the upper layers use.
//! System calls that std, mio and socket2 lack are here, with their `unsafe`.

pub(crate) mod addresses;
pub(crate) mod backlog;
pub(crate) mod cache;
mod calls;
pub(crate) mod clock;
pub mod conn;
pub(crate) mod event_loop;
pub(crate) mod fd_channel;
pub(crate) mod folder;
pub(crate) mod heap;
#[cfg(feature = "librtmp")]
pub(crate) mod http_client;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod proxy;
#[cfg(test)]
#[path = "../../tests/support/reserved.rs"]
pub(crate) mod reserved;
mod shim;
mod sleep;
pub mod socket;
pub(crate) mod stack;
#[cfg(feature = "librtmp")]
pub(crate) mod swf;
pub(crate) mod tcp_info;
pub(crate) mod thread;
pub mod tls;
