//! The form of a session's snapshot: magic, version, and the state as CBOR.
//!
//! It may come from another process, of another version of this library. Fields have numbers, for good: a reader passes
//! over those it does not know, and takes an `Option` that is missing for `None`, so that fields can be added behind
//! the others. A change that an older reader would misunderstand raises the version. Nothing in a snapshot is trusted:
//! each part checks its own state, and memory follows the bytes that are there.

use std::convert::Infallible;

use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Decoder, Encode};

use super::SessionConfig;
use super::client::ClientState;
use super::protocol::{OUTPUT_BYTES, ProtocolState};
use super::server::ServerState;
use crate::error::{Failure, RRError, Result};

/// The first bytes of every snapshot.
const MAGIC: &[u8; 4] = b"RRss";

/// The version that is written.
const VERSION: u16 = 1;

/// Bound on a snapshot's bytes beside bodies and output: the `connect`, names, chunk streams, numbers.
const REST_BYTES: usize = 512 * 1024;

/// All of a session.
#[derive(Debug, Encode, Decode)]
pub(super) struct Snapshot<'a> {
    /// The moment, on the clock of whoever made it.
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
/// [`RRError::NoMem`].
pub(super) fn encode(snapshot: &Snapshot<'_>) -> Result<Vec<u8>> {
    let mut count = Count(0);
    write(snapshot, &mut count);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count.0).map_err(|_| RRError::NoMem)?;
    write(snapshot, &mut Bytes(&mut bytes));
    Ok(bytes)
}

/// The snapshot in these bytes.
///
/// # Errors
/// [`RRError::Version`] where it is newer than this library, [`RRError::Limit`] where it is longer than one under these
/// settings can be, [`RRError::Arg`] where it is none.
pub(super) fn decode<'a>(bytes: &'a [u8], config: &SessionConfig) -> Result<Snapshot<'a>> {
    let most = config.max_open_bytes.saturating_add(config.max_message as usize + OUTPUT_BYTES + REST_BYTES);
    if bytes.len() > most {
        let text = format!("a snapshot of {} bytes; at most {most} are taken", bytes.len());
        return Err(Failure::ours(RRError::Limit, text));
    }
    let malformed =
        |what: &dyn std::fmt::Display| Failure::ours(RRError::Arg, format!("this is no session's snapshot: {what}"));
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err(malformed(&"it does not begin as one")) };
    let mut decoder = Decoder::new(rest);
    match decoder.u16().map_err(|error| malformed(&error))? {
        VERSION => {}
        0 => return Err(malformed(&"it has no version")),
        version => {
            let text = format!("a session's snapshot of version {version}; this library reads up to {VERSION}");
            return Err(Failure::ours(RRError::Version, text));
        }
    }
    let snapshot = decoder.decode().map_err(|error| malformed(&error))?;
    if decoder.position() != rest.len() {
        return Err(malformed(&"something stands behind it"));
    }
    Ok(snapshot)
}

fn write(snapshot: &Snapshot<'_>, out: &mut impl Write<Error = Infallible>) {
    let Ok(()) = out.write_all(MAGIC);
    let mut encoder = Encoder::new(out);
    // Neither the writers nor the states refuse anything.
    let written = encoder.u16(VERSION).and_then(|encoder| encoder.encode(snapshot)).map(drop);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> std::result::Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// Appends what is written, where there is room for it already.
struct Bytes<'a>(&'a mut Vec<u8>);

impl Write for Bytes<'_> {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> std::result::Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
