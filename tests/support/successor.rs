//! A process that does not take over.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rrelay::config::ServerConfig;
use rrelay::server::{LevelFilter, RRServer};

/// It says that it is ready to take over, and then nothing more: as long as it is there, the hand-over is open.
pub(crate) struct Silent {
    socket: UnixStream,
}

impl Silent {
    /// It, and the end for the server that hands over.
    pub(crate) fn new() -> (Self, OwnedFd) {
        let (mut socket, end) = UnixStream::pair().unwrap();
        socket.write_all(&greeting()).unwrap();
        (Self { socket }, end.into())
    }

    /// Waits until it is open which process has the streams.
    pub(crate) fn is_greeted(&mut self) {
        assert_ne!(self.socket.read(&mut [0; 1]).unwrap(), 0);
    }
}

/// What a server says that is ready to take over.
fn greeting() -> Vec<u8> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| server.take_over(theirs.into(), 30_000).unwrap_err());
        let mut greeting = vec![0; 4096];
        let len = ours.read(&mut greeting).unwrap();
        drop(ours);
        greeting.truncate(len);
        greeting
    })
}
