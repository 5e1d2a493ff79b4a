//! A client session's snapshot.

use minicbor::{Decode, Encode};

use super::{ClientSession, LATE, Step};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::message::MessageHead;
use crate::session::SessionConfig;
use crate::session::protocol::Protocol;
use crate::session::snapshot::{self, Side, Snapshot};
use crate::session::timers::Clocks;

/// Longest url and key of a server that are taken, in bytes.
const NAME_MAX_BYTES: usize = 64 * 1024;

/// What only a client session has. What `connect` says is not among it: a snapshot comes after the handshake, and
/// `connect` goes out with that.
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
    /// Everything that a session elsewhere needs to go on from here, between two events; output that waits is among it. What
    /// is not: input that `next` has not taken, the body of a message that was given, and what the driver sends itself.
    ///
    /// # Errors
    /// [`RRError::State`] before the handshake is over, which depends on random bytes of our own, and where the session has
    /// ended because the peer's chunks could not be read or the server refused it; [`RRError::NoMem`].
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

    /// The session that a snapshot is of, under the settings and on the clock given here; `now_ms` is the moment of the
    /// snapshot. On a clock that began later than what the session remembers, its deadlines are late by what is missing.
    ///
    /// # Errors
    /// [`RRError::Arg`] for what is no client session's snapshot, [`RRError::Version`] for one of a newer form,
    /// [`RRError::Limit`] for one that holds more than `config` allows, [`RRError::NoMem`].
    pub fn restore(config: &SessionConfig, snapshot: &[u8], now_ms: u64) -> Result<Self> {
        let Snapshot { at_ms, protocol, side } = snapshot::decode(snapshot, config)?;
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        let Side::Client(state) = side else { return impossible("it is a server session's snapshot") };
        let ClientState { publish, tc_url, key, step, stream_id, first_media } = state;
        if tc_url.len() > NAME_MAX_BYTES || key.len() > NAME_MAX_BYTES {
            return Err(Failure::ours(RRError::Limit, "its url is longer than is taken"));
        }
        let clocks = Clocks { from_ms: at_ms, to_ms: now_ms };
        let protocol = Protocol::from_state(&protocol, config, LATE, clocks)?;
        if step == Step::Handshake || protocol.timers.has_question() {
            return impossible("no client is in that state");
        }
        let fits = |first_media: MessageHead| protocol.body(&[]).len() == first_media.len as usize;
        if first_media.is_some_and(|first_media| publish || !fits(first_media)) {
            return impossible("no client holds that message back");
        }
        Ok(Self {
            protocol,
            config: config.clone(),
            publish,
            app: String::new(),
            tc_url: tc_url.to_owned(),
            key: copied(key)?,
            asks_via: false, // said, with `connect`
            step,
            stream_id,
            refusal: None,
            first_media,
        })
    }
}
