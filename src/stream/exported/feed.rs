//! What accumulate knows of a publisher or source that goes on in another process: its headers, and what the log has not
//! got.

use minicbor::{Decode, Encode};

use crate::config::MAX_MESSAGE_BYTES;
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::message::MessageHead;
use crate::stream::book::Claim;
use crate::stream::ingest::kept::{KeptHeaders, KeptState};
use crate::stream::log::buffer::may_stand_in_log;
use crate::stream::log::lineage::LogPlace;

/// What accumulate knows of a publisher.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MovedFeed {
    /// The headers that its messages need in another log.
    pub(in crate::stream) kept: KeptHeaders,
    /// The end of its stream's log, where it is the one that fills it.
    pub(in crate::stream) place: Option<LogPlace>,
    /// What it has sent and the log has not got.
    pub(in crate::stream) owed: Vec<(MessageHead, Vec<u8>)>,
}

/// A message that the log has not got.
#[derive(Debug, Encode, Decode)]
pub(super) struct OwedState<'a> {
    #[n(0)]
    type_id: u8,
    #[n(1)]
    timestamp_ms: u32,
    #[b(2)]
    #[cbor(with = "minicbor::bytes")]
    body: &'a [u8],
}

impl MovedFeed {
    /// Its place in the other process.
    pub(crate) fn was(&self) -> Claim {
        if self.place.is_some() { Claim::Live } else { Claim::Standby }
    }

    /// What the log has not got, for a state.
    pub(super) fn owed(&self) -> Vec<OwedState<'_>> {
        self.owed.iter().map(OwedState::of).collect()
    }

    /// What a state has of it.
    ///
    /// # Errors
    /// [`RRError::Arg`] and [`RRError::Limit`] for what no publisher can have, [`RRError::NoMem`].
    pub(super) fn checked(kept: &KeptState<'_>, place: Option<LogPlace>, owed: &[OwedState<'_>]) -> Result<Self> {
        check_place(place.as_ref())?;
        let owed = owed.iter().map(OwedState::checked).collect::<Result<_>>()?;
        Ok(Self { kept: KeptHeaders::from_state(kept)?, place, owed })
    }
}

impl<'a> OwedState<'a> {
    fn of((head, body): &'a (MessageHead, Vec<u8>)) -> Self {
        Self { type_id: head.type_id, timestamp_ms: head.timestamp_ms, body }
    }

    fn checked(&self) -> Result<(MessageHead, Vec<u8>)> {
        let len = u32::try_from(self.body.len()).ok().filter(|&len| len <= MAX_MESSAGE_BYTES);
        let Some(len) = len.filter(|_| may_stand_in_log(self.type_id)) else {
            return Err(Failure::ours(RRError::Arg, "a message that waits for its log is none"));
        };
        let head =
            MessageHead { type_id: self.type_id, timestamp_ms: self.timestamp_ms, len, ..MessageHead::default() };
        Ok((head, copied(self.body)?))
    }
}

/// Refuses a place in a log that no log can have.
pub(super) fn check_place(place: Option<&LogPlace>) -> Result<()> {
    if place.is_none_or(|place| place.is_named()) {
        return Ok(());
    }
    Err(Failure::ours(RRError::Arg, "no log has such a name"))
}
