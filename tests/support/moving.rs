//! How tests move what a server has to another server by the calls that a host has for it, one by one or all at once.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what cannot be done here has failed the test")]

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "wait.rs"]
mod wait;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rrelay::error::Result;
use rrelay::server::{Export, Id, RRServer, StreamExport, TargetExport, kind as ids};

/// More bytes than any state in the tests has.
const ROOM: usize = 128 << 20;

/// Longer than any move takes.
const HOLD_MS: u32 = 60_000;
const WITHIN_MS: u32 = 30_000;
const DRAIN_MS: u32 = 30_000;

/// Hands a server over to another one; what the two calls say.
pub(crate) fn hand_over(here: &RRServer, there: &RRServer) -> (Result<()>, Result<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| there.take_over(theirs.into(), WITHIN_MS));
        let handed = here.hand_over(ours.into(), WITHIN_MS, DRAIN_MS);
        (handed, taking.join().unwrap())
    })
}

/// A session on its way.
pub(crate) fn session(server: &RRServer, id: Id) -> (OwnedFd, Vec<u8>) {
    match server.session_export(id, ROOM).unwrap() {
        Export::Gone { fd, state } => (fd, state),
        Export::Needs(bytes) => panic!("a state of {bytes} bytes"),
    }
}

/// A target on its way, with its connection if that goes along.
pub(crate) fn target(server: &RRServer, id: Id) -> (Option<OwnedFd>, Vec<u8>) {
    match server.target_export(id, ROOM).unwrap() {
        TargetExport::Gone { fd, state } => (fd, state),
        TargetExport::Needs(bytes) => panic!("a state of {bytes} bytes"),
    }
}

/// A stream on its way, which is on hold from then on.
pub(crate) fn stream(server: &RRServer, id: Id) -> Vec<u8> {
    match server.stream_export(id, ROOM, HOLD_MS).unwrap() {
        StreamExport::State(state) => state.to_vec(),
        StreamExport::Needs(bytes) => panic!("a stream of {bytes} bytes"),
    }
}

/// A stream that has moved ends here.
pub(crate) fn end(server: &RRServer, stream: Id) {
    server.stream_stop(stream, 0).unwrap();
    wait::until("the stream that has moved has ended", || server.info(stream).is_err().then_some(()));
}

/// A stream with all who are on it goes from one server to another. Returns the ids that its targets have there, and whether
/// each came with its connection.
pub(crate) fn all(here: &RRServer, there: &RRServer, id: Id) -> Vec<(Id, bool)> {
    there.stream_import(&stream(here, id)).unwrap();
    let targets = here.list(id, ids::TARGET).unwrap().into_iter().map(|id| {
        let (fd, state) = target(here, id);
        let is_connected = fd.is_some();
        (there.target_import(fd, &state).unwrap(), is_connected)
    });
    let targets = targets.collect();
    for id in here.list(id, ids::SESSION).unwrap() {
        let (fd, state) = session(here, id);
        there.session_import(fd, &state).unwrap();
    }
    end(here, id);
    targets
}

/// The body of a picture with this number, every tenth of which is a key frame.
pub(crate) fn picture(number: u32, bytes: usize) -> Vec<u8> {
    let kind: &[u8] = if number.is_multiple_of(10) { &[0x17, 1, 0, 0, 0] } else { &[0x27, 1, 0, 0, 0] };
    [kind, &number.to_be_bytes(), &vec![number as u8; bytes]].concat()
}
