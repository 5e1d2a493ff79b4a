//! The part of a snapshot that both RTMP roles share.

use minicbor::{Decode, Encode};

use super::{Aggregate, Flow, MAX_OUTPUT_BYTES, Protocol, SaidList, Timers};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::chunk_header::CHUNK_SIZE_MAX;
use crate::proto::chunk_read::{ChunkReader, ReaderState};
use crate::session::SessionConfig;
use crate::session::timers::Clocks;

/// Most output that a session may have waiting: its own, and one message of the driver's, of the largest size and in
/// small chunks.
pub(in crate::session) const OUTPUT_BYTES: usize = 2 * MAX_OUTPUT_BYTES + (32 << 20);

/// The state that both roles have.
#[derive(Debug, Encode, Decode)]
pub(in crate::session) struct ProtocolState<'a> {
    #[b(0)]
    reader: ReaderState<'a>,
    #[n(1)]
    takes_media: bool,
    #[b(2)]
    #[cbor(with = "minicbor::bytes")]
    out: &'a [u8],
    #[n(3)]
    messages_out: usize,
    #[n(4)]
    chunk_size: u32,
    #[n(5)]
    flow: Flow,
    #[n(6)]
    timers: Timers,
    #[n(7)]
    ignored: u32,
    #[n(8)]
    aggregate: Option<Aggregate>,
    /// Start and end of the message that was given last, within the aggregate.
    #[n(9)]
    part: Option<(usize, usize)>,
}

impl Protocol {
    /// The state between two messages, `with_body` including the body of the last one, which the session still has to
    /// give.
    pub(in crate::session) fn state(&self, with_body: bool) -> Result<ProtocolState<'_>> {
        if self.handshake.is_some() {
            return Err(Failure::ours(RRError::State, "a session has no snapshot before the end of its handshake"));
        }
        Ok(ProtocolState {
            reader: self.reader.state(with_body || self.aggregate.is_some())?,
            takes_media: self.takes_media,
            out: &self.out,
            messages_out: self.messages_out,
            chunk_size: self.chunk_size,
            flow: self.flow,
            timers: self.timers.clone(),
            ignored: self.ignored,
            aggregate: self.aggregate.as_deref().cloned(),
            part: self.part.clone().filter(|_| with_body).map(|part| (part.start, part.end)),
        })
    }

    /// Continues from the state of another process.
    pub(in crate::session) fn from_state(
        state: &ProtocolState<'_>,
        config: &SessionConfig,
        late: &'static str,
        clocks: Clocks,
    ) -> Result<Self> {
        if !(1..=CHUNK_SIZE_MAX).contains(&state.chunk_size) {
            return Err(Failure::ours(RRError::Arg, "no session announces such a chunk size"));
        }
        if state.out.len() > OUTPUT_BYTES {
            return Err(Failure::ours(RRError::Limit, "more output waits than a session can have"));
        }
        state.flow.check()?;
        let mut protocol = Self {
            handshake: None,
            // A message that the peer began while it was allowed to send media may be larger than one that it may begin
            // now.
            reader: ChunkReader::from_state(config.limits(true), &state.reader)?,
            part: state.part.map(|(start, end)| start..end),
            aggregate: state.aggregate.clone().map(Box::new),
            takes_media: state.takes_media,
            out: copied(state.out)?,
            messages_out: state.messages_out.min(state.out.len()),
            chunk_size: state.chunk_size,
            flow: state.flow,
            timers: state.timers.clone().resumed(config.timing, late, clocks),
            said: SaidList::default(),
            ignored: state.ignored,
        };
        protocol.take_media(config, state.takes_media);
        Ok(protocol)
    }
}
