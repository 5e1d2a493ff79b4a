//! The form of a session's snapshot. Nothing in a snapshot is trusted: each part checks its own state, and allocates
//! only for bytes that are present.

use minicbor::{Decode, Encode};

use super::SessionConfig;
use super::client::ClientState;
use super::protocol::{OUTPUT_BYTES, ProtocolState};
use super::server::ServerState;
use crate::error::Result;
use crate::proto::cbor::Form;

const FORM: Form = Form { magic: b"RRss", version: 1, name: "a session's snapshot" };

/// Bound on a snapshot's bytes apart from bodies and output: the `connect`, names, chunk streams, numbers.
const REST_BYTES: usize = 512 * 1024;

/// The whole state of a session.
#[derive(Debug, Encode, Decode)]
pub(super) struct Snapshot<'a> {
    /// The moment of the snapshot, on the clock of the process that took it.
    #[n(0)]
    pub(super) at_ms: u64,
    #[b(1)]
    pub(super) protocol: ProtocolState<'a>,
    #[b(2)]
    pub(super) side: Side<'a>,
}

/// The parts that the roles do not share.
#[derive(Debug, Encode, Decode)]
pub(super) enum Side<'a> {
    #[n(0)]
    Server(#[b(0)] ServerState<'a>),
    #[n(1)]
    Client(#[b(0)] ClientState<'a>),
}

/// The bytes of a snapshot.
///
/// # Errors
/// [`RRError::NoMem`](crate::error::RRError::NoMem).
pub(super) fn encode(snapshot: &Snapshot<'_>) -> Result<Vec<u8>> {
    FORM.encode(snapshot)
}

/// The snapshot in these bytes.
///
/// # Errors
/// Those of [`Form::decode`]; the bound is that of one under these settings.
pub(super) fn decode<'a>(bytes: &'a [u8], config: &SessionConfig) -> Result<Snapshot<'a>> {
    FORM.decode(bytes, bytes_max(config))
}

/// The most bytes that a snapshot under these settings has.
pub(super) fn bytes_max(config: &SessionConfig) -> usize {
    config.max_open_bytes.saturating_add(config.max_message as usize + OUTPUT_BYTES + REST_BYTES)
}
