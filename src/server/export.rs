//! What moves to another process and comes from one: the calls that export and import sessions, streams and targets.
//! Each waits for the thread that owns the object.

use std::os::fd::OwnedFd;

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::heap;
use crate::net::socket::Socket;
use crate::server::{RRServer, import};
use crate::session::{SessionConfig, State};
use crate::stream::event::Id;
use crate::stream::exported::ExportedSession;
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::ExportedTarget;
use crate::stream::record::{Caller, Export, Order, TargetExport};
use crate::stream::remote::endpoint::Trusts;
use crate::stream::remote::target::News;
use crate::stream::{RRStream, StreamExport, StreamState};

/// The refusal for a session that cannot be exported at this moment.
const NOT_NOW: &str = "it is ending, or neither asks, publishes nor plays, and goes on elsewhere only then";

/// Longest hold of a stream: after a longer one, encoders take the server for dead.
const MAX_HOLD_MS: u32 = 60_000;

impl RRServer {
    /// Exports a session that waits for an answer, publishes or plays to another process: returns its open connection,
    /// and the state with which [`Self::session_import`] continues there. The session then ends here, and its last
    /// event says so; the stream of a publisher has then lost it. The call waits for the thread that owns the session,
    /// until a turn of that thread ends.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::State`] if it does none of these; [`RRError::Unsupported`] for a session that
    /// cannot move: over TLS, with a question over HTTP, or with targets; [`RRError::Again`]. Then, and with [`Export::Needs`], the session stays as it was.
    pub fn session_export(&self, id: Id, room: usize) -> Result<Export> {
        let session = self.session(id)?;
        if !matches!(session.state(), State::Waiting | State::InProgress) {
            return Err(Failure::ours(RRError::State, NOT_NOW));
        }
        let (caller, wait) = Caller::new();
        session.order(Order::Export { room, caller })?;
        // A thread that has ended in a panic drops no order.
        wait.outcome(|| self.core.is_closing()).unwrap_or_else(|| {
            self.session(id)?;
            Err(Failure::ours(RRError::State, NOT_NOW))
        })
    }

    /// Imports a session that [`Self::session_export`] gave in another process. An open question is asked here again,
    /// of hooks and then of the host. A session that publishes or plays continues with the stream of the same name: a
    /// publisher according to that stream's policy, a player at the same message if the stream was imported before
    /// ([`Self::stream_import`]), otherwise as a new player. The server owns the fd from now on, also on failure.
    ///
    /// # Errors
    /// [`RRError::Arg`] if the fd is not a connected stream socket or the state is invalid, [`RRError::Version`] if it
    /// is newer than this library, [`RRError::Limit`] if it is larger than the settings allow or there is no room for
    /// another session, [`RRError::NoMem`], [`RRError::State`] once the server stops. For a session that publishes or
    /// plays also [`RRError::Exists`] if the stream has a publisher already, [`RRError::Rejected`] and
    /// [`RRError::Auth`] if it is refused, [`RRError::Limit`] if there is no room for another stream. For one that plays
    /// several streams also [`RRError::NotFound`] if one of them is not here, and [`RRError::Unsupported`] where they would
    /// have processes of their own.
    pub fn session_import(&self, fd: OwnedFd, state: &[u8]) -> Result<()> {
        self.core.still_open()?;
        let socket = Socket::adopt_connected(fd)?;
        let config = SessionConfig::from(&self.core.config);
        import::enter(&self.core, ExportedSession::read(&config, state, clock::now_ms())?, socket)
    }

    /// Exports a stream: returns the state with which [`Self::stream_import`] continues in another process. The stream
    /// is on hold for `hold_ms`: its publisher is not read, so that it and the players can be exported by
    /// [`Self::session_export`] in the meantime. Sessions that are still here afterwards continue here.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Arg`] for 0 or a time above a minute, [`RRError::State`] if the stream is
    /// ending, [`RRError::NoMem`]. Where streams have processes of their own also [`RRError::Worker`] if its process ends,
    /// and [`RRError::Again`] while that is taken over by another server, or is ending. Then, and with [`StreamExport::Needs`], the stream is on hold only if it was before.
    pub fn stream_export(&self, id: Id, room: usize, hold_ms: u32) -> Result<StreamExport> {
        if !(1..=MAX_HOLD_MS).contains(&hold_ms) {
            let text =
                format!("hold_ms is {hold_ms}: it goes from 1 to {MAX_HOLD_MS}, since publishers wait that long");
            return Err(Failure::ours(RRError::Arg, text));
        }
        let stream = self.stream(id)?;
        if stream.life().is_stopping() {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        let (caller, wait) = Caller::new();
        let hold = stream.hold(hold_ms);
        let is_lost = || self.core.is_closing() || self.stream(id).is_err();
        let exported = stream.export(room, caller).and_then(|()| {
            let ended = || Err(Failure::ours(RRError::State, "the stream is ending"));
            wait.outcome(is_lost).unwrap_or_else(ended)?.outcome(room)
        });
        let exported = match exported {
            Ok(StreamExport::State(state)) if self.core.workers().is_some() => known_here(&stream, state, room),
            other => other,
        };
        if !matches!(exported, Ok(StreamExport::State(_))) {
            stream.end_hold(&hold);
        }
        exported
    }

    /// Imports a stream that [`Self::stream_export`] gave in another process, before its publisher and its players
    /// come. Returns its id.
    ///
    /// # Errors
    /// [`RRError::Arg`] if the state is invalid or its settings are not for this server, [`RRError::Version`] if it is
    /// newer than this library, [`RRError::Exists`] if there is a stream of its name, [`RRError::Limit`] and
    /// [`RRError::NoMem`] if there is no room, [`RRError::State`] once the server stops. Where streams have processes of
    /// their own also [`RRError::Worker`] if its process ends, and [`RRError::Again`] while that may not be started.
    pub fn stream_import(&self, state: &[u8]) -> Result<Id> {
        self.core.still_open()?;
        import::enter_stream(&self.core, &ExportedStream::read(state)?).map(|stream| stream.id())
    }

    /// Exports a target or source to another process: returns its state, secrets included, and its open connection
    /// where it has one that can move. Without a connection the state has what remains of its wait. Over TLS it is
    /// connected anew by [`Self::target_import`], because the keys stay here. The target then ends here, and its last
    /// event says so. The call waits for the dialler and for the thread that owns the connection, until a turn of these
    /// threads ends.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::State`] if it is being stopped, or its stream or the server ends; where its stream
    /// has a process of its own also [`RRError::Again`] while that ends or goes to another server. Then, and with
    /// [`TargetExport::Needs`], it stays as it was.
    pub fn target_export(&self, id: Id, room: usize) -> Result<TargetExport> {
        let target = self.target(id)?;
        let (caller, wait) = Caller::new();
        self.core.tell_dialler(&target, News::Export { room, caller });
        let is_lost = || self.core.is_closing() || self.target(id).is_err();
        wait.outcome(is_lost).unwrap_or_else(|| {
            self.target(id)?;
            Err(Failure::ours(RRError::State, "its stream is ending, or it is exported by another call"))
        })
    }

    /// Imports a target or source that [`Self::target_export`] gave in another process, with its connection if there was
    /// one, on the stream of the same name. A connected target continues at the same message if the stream was imported
    /// before ([`Self::stream_import`]), otherwise as a newly connected one. The server owns the fd from now on, also on
    /// failure. Returns its id.
    ///
    /// # Errors
    /// [`RRError::NotFound`] if there is no stream of that name, [`RRError::Arg`] if the fd is not a connected stream
    /// socket or the state is invalid, [`RRError::Version`] if it is newer than this library, [`RRError::Limit`] if it
    /// is larger than the settings allow or there are too many targets, [`RRError::Cert`] if the file of its roots
    /// cannot be read, [`RRError::Unsupported`], [`RRError::NoMem`], [`RRError::State`] once the server stops. For a
    /// connected source also [`RRError::Exists`] if the stream has a publisher and [`RRError::Rejected`] if its media
    /// would come from its own stream.
    pub fn target_import(&self, fd: Option<OwnedFd>, state: &[u8]) -> Result<Id> {
        self.core.still_open()?;
        let socket = fd.map(Socket::adopt_connected).transpose()?;
        let config = SessionConfig::from(&self.core.config);
        let exported = ExportedTarget::read(&config, state, clock::now_ms())?;
        heap::room()?;
        let endpoint = exported.about.endpoint(&mut Trusts::default())?;
        import::enter_target(&self.core, exported, endpoint, socket)
    }
}

/// The state that a stream's process has made, with what this server knows better: the settings, whether the stream exists by
/// the host's wish, and whether the publisher, whose TLS would end here, can move.
fn known_here(stream: &RRStream, state: StreamState, room: usize) -> Result<StreamExport> {
    let no_stream = |failure: Failure| {
        Failure::ours(RRError::Worker, format!("the stream's process has made no state of it: {}", failure.text))
    };
    let mut exported = ExportedStream::read(&state).map_err(no_stream)?;
    drop(state);
    if exported.name != *stream.name() {
        return Err(no_stream(Failure::ours(RRError::Worker, "it is of another stream")));
    }
    exported.config = (*stream.config()).clone();
    exported.reserved = stream.book().is_reserved();
    exported.publisher_moves = stream.book().publisher_can_move();
    let state = exported.state()?;
    Ok(if state.len() > room { StreamExport::Needs(state.len()) } else { StreamExport::State(state.into()) })
}
