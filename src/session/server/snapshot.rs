//! A server session's snapshot.

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

use super::info::ConnectInfo;
use super::streams::Streams;
use super::{Ask, BEGIN_EVERY_MS, BEGINS_AT_ONCE, COMMANDS_MAX, CONNECT_MAX_BYTES, LATE, ServerSession};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::command::{Call, Command};
use crate::session::SessionConfig;
use crate::session::protocol::Protocol;
use crate::session::snapshot::{self, Side, Snapshot};
use crate::session::timers::Clocks;

/// The state that only a server session has.
#[derive(Debug, Encode, Decode)]
pub(in crate::session) struct ServerState<'a> {
    /// The body of `connect`, from which its fields are read again.
    #[b(0)]
    connect: Option<&'a ByteSlice>,
    #[n(1)]
    connect_type: u8,
    #[n(2)]
    ask: Ask,
    #[n(3)]
    connected: bool,
    #[n(4)]
    finished: bool,
    #[n(5)]
    streams: Streams,
    #[n(6)]
    commands: u32,
    #[n(7)]
    begun_until_ms: u64,
}

impl ServerSession {
    /// Everything that a session in another process needs to continue this one, between two events, including output
    /// that waits. Not included are input that `next` has not taken, the body of a message that was given, and bytes
    /// that the driver sends itself.
    ///
    /// # Errors
    /// [`RRError::State`] before the end of the handshake (it depends on random bytes of our own), and after the
    /// session has ended because the peer's chunks could not be read; [`RRError::NoMem`].
    pub fn snapshot(&self, now_ms: u64) -> Result<Vec<u8>> {
        let state = ServerState {
            connect: self.info.as_ref().map(|info| (&*info.body).into()),
            connect_type: self.info.as_ref().map_or(0, |info| info.type_id),
            ask: self.ask,
            connected: self.connected,
            finished: self.finished,
            streams: self.streams.clone(),
            commands: self.commands,
            begun_until_ms: self.begun_until_ms,
        };
        snapshot::encode(&Snapshot { at_ms: now_ms, protocol: self.protocol.state(false)?, side: Side::Server(state) })
    }

    /// Restores the session of a snapshot with these settings and on this clock, on which the snapshot was taken at
    /// `now_ms`. Where this clock began after a moment that the session remembers, the session's deadlines are late by
    /// the difference.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are not the snapshot of a server session, [`RRError::Version`] for one of a
    /// newer form, [`RRError::Limit`] for one that holds more than `config` allows, [`RRError::NoMem`].
    pub fn restore(config: &SessionConfig, snapshot: &[u8], now_ms: u64) -> Result<Self> {
        let Snapshot { at_ms, protocol, side } = snapshot::decode(snapshot, config)?;
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        let Side::Server(state) = side else { return impossible("it is a client session's snapshot") };
        let clocks = Clocks { from_ms: at_ms, to_ms: now_ms };
        let protocol = Protocol::from_state(&protocol, config, LATE, clocks)?;
        let info = state.connect.map(|body| read_connect(body, state.connect_type)).transpose()?;
        let ServerState { ask, connected, finished, streams, commands, begun_until_ms, .. } = state;
        let order = match ask {
            Ask::Nothing => !connected || !finished,
            Ask::Connect { .. } => !connected && !finished,
            Ask::Stream => connected && !finished,
        };
        let needs_info = connected || ask != Ask::Nothing;
        if !order
            || needs_info != info.is_some() && !finished
            || protocol.timers.has_question() != (ask != Ask::Nothing)
        {
            return impossible("no session can have that question in that state");
        }
        if commands > COMMANDS_MAX || !connected && !streams.is_empty() {
            return impossible("no peer may send so many commands before it publishes or plays");
        }
        streams.check(ask == Ask::Stream)?;
        Ok(Self {
            protocol,
            config: config.clone(),
            info,
            ask,
            connected,
            finished,
            streams,
            commands,
            begun_until_ms: clocks.future(begun_until_ms, (BEGINS_AT_ONCE + 1) * BEGIN_EVERY_MS),
        })
    }
}

fn read_connect(body: &[u8], type_id: u8) -> Result<ConnectInfo> {
    if body.len() > CONNECT_MAX_BYTES {
        return Err(Failure::ours(RRError::Limit, "its connect is too long"));
    }
    match Call::parse(type_id, body).map(|call| call.command) {
        Ok(Command::Connect(connect)) => {
            Ok(ConnectInfo { body: copied(body)?.into_boxed_slice(), ..ConnectInfo::new(&connect, type_id) })
        }
        _ => Err(Failure::ours(RRError::Arg, "its connect is malformed")),
    }
}
