//! Sockets and readiness: what the operating system gives, in the forms the threads above want. System calls that
//! std, mio and socket2 do not have are here, and so is their `unsafe`.

pub mod backlog;
pub mod clock;
pub mod conn;
pub mod event_loop;
pub mod heap;
pub mod http_client;
pub mod poll;
pub mod proxy;
pub mod socket;
pub mod swf;
pub mod tcp_info;
pub mod thread;
pub mod tls;
