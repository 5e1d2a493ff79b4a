//! Ports that a test keeps. A port that is only found free and given back can be another test's a moment later, or that
//! of a connection that somebody makes.

#![allow(dead_code, reason = "each test program uses a part")]

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that is ours and that nobody listens on. A server that sets SO_REUSEADDR, as servers do, can listen on it
/// while this lives, as often as it likes; whenever none does, connections to it are refused.
pub(crate) struct Reserved {
    pub(crate) socket: Socket,
    pub(crate) port: u16,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { socket, port }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
