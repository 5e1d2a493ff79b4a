//! A client session's snapshot.

use minicbor::{Decode, Encode};

use super::{ClientSession, LATE, Step};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::message::MessageHead;
use crate::session::SessionConfig;
use crate::session::protocol::Protocol;
use crate::session::snapshot::{self, Side, Snapshot};
use crate::session::timers::Clocks;

/// Longest url and longest key of a server that a snapshot may have, in bytes.
const NAME_MAX_BYTES: usize = 64 * 1024;

/// The state that only a client session has. The fields of `connect` are not part of it: a snapshot is taken after the
/// handshake, and `connect` has gone out by then.
#[derive(Debug, Encode, Decode)]
pub(in crate::session) struct ClientState<'a> {
    #[n(0)]
    publish: bool,
    #[b(1)]
    tc_url: &'a str,
    #[b(2)]
    #[cbor(with = "minicbor::bytes")]
    key: &'a [u8],
    #[n(3)]
    step: Step,
    #[n(4)]
    stream_id: u32,
    #[n(5)]
    first_media: Option<MessageHead>,
}

impl ClientSession {
    /// Everything that a session in another process needs to continue this one, between two events, including output
    /// that waits. Not included are input that `next` has not taken, the body of a message that was given, and bytes
    /// that the driver sends itself.
    ///
    /// # Errors
    /// [`RRError::State`] before the end of the handshake (it depends on random bytes of our own), and after the
    /// session has ended because the peer's chunks could not be read or the server refused it; [`RRError::NoMem`].
    pub fn snapshot(&self, now_ms: u64) -> Result<Vec<u8>> {
        if self.refusal.is_some() {
            return Err(Failure::ours(RRError::State, "the server refused this session"));
        }
        let state = ClientState {
            publish: self.publish,
            tc_url: &self.tc_url,
            key: &self.key,
            step: self.step,
            stream_id: self.stream_id,
            first_media: self.first_media,
        };
        let protocol = self.protocol.state(self.first_media.is_some())?;
        snapshot::encode(&Snapshot { at_ms: now_ms, protocol, side: Side::Client(state) })
    }

    /// Restores the session of a snapshot with these settings and on this clock, on which the snapshot was taken at
    /// `now_ms`. Where this clock began after a moment that the session remembers, the session's deadlines are late by
    /// the difference.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are not the snapshot of a client session, [`RRError::Version`] for one of a
    /// newer form, [`RRError::Limit`] for one that holds more than `config` allows, [`RRError::NoMem`].
    pub fn restore(config: &SessionConfig, snapshot: &[u8], now_ms: u64) -> Result<Self> {
        let Snapshot { at_ms, protocol, side } = snapshot::decode(snapshot, config)?;
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        let Side::Client(state) = side else { return impossible("it is a server session's snapshot") };
        let ClientState { publish, tc_url, key, step, stream_id, first_media } = state;
        if tc_url.len() > NAME_MAX_BYTES || key.len() > NAME_MAX_BYTES {
            return Err(Failure::ours(RRError::Limit, "its url is too long"));
        }
        let clocks = Clocks { from_ms: at_ms, to_ms: now_ms };
        let protocol = Protocol::from_state(&protocol, config, LATE, clocks)?;
        if step == Step::Handshake || protocol.timers.has_question() {
            return impossible("no client can be in that state");
        }
        let fits = |first_media: MessageHead| protocol.body(&[]).len() == first_media.len as usize;
        if first_media.is_some_and(|first_media| publish || !fits(first_media)) {
            return impossible("no client can hold that message back");
        }
        Ok(Self {
            protocol,
            config: config.clone(),
            publish,
            app: String::new(),
            tc_url: tc_url.to_owned(),
            key: copied(key)?,
            asks_via: false, // `connect` has said it already
            step,
            stream_id,
            refusal: None,
            first_media,
        })
    }
}
