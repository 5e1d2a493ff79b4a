//! The form in which a player over HTTP continues in another process.

use minicbor::{Decode, Encode};

use super::request::Request;
use super::{HttpSession, NO_MEDIA, OUTPUT_MAX_BYTES, REST_MAX_BYTES, Stage};
use crate::error::{Failure, RRError, Result, copied};
use crate::proto::cbor::Form;
use crate::proto::websocket;
use crate::session::Timing;
use crate::session::timers::{Clocks, Timers};

const FORM: Form = Form { magic: b"RRsh", version: 1, name: "a snapshot of a player over HTTP" };

/// Bound on a snapshot: output, and the fields of a request's head.
const SNAPSHOT_BYTES: usize = 2 * OUTPUT_MAX_BYTES + 64 * 1024;

/// Most bytes that were sent to a player so far.
const SENT_MAX: u64 = 1 << 60;

#[derive(Debug, Encode, Decode)]
struct State<'a> {
    /// The moment of the snapshot, on the clock of the process that took it.
    #[n(0)]
    at_ms: u64,
    /// The answer's head is in the output.
    #[n(1)]
    plays: bool,
    /// The answer is chunked, or that to a WebSocket's handshake.
    #[n(2)]
    chunked: bool,
    #[b(3)]
    websocket: Option<&'a str>,
    #[n(4)]
    browser: bool,
    #[n(5)]
    head_only: bool,
    #[n(6)]
    frames: websocket::Reader,
    #[n(7)]
    rest: u64,
    #[b(8)]
    #[cbor(with = "minicbor::bytes")]
    out: &'a [u8],
    #[n(9)]
    sent: u64,
    #[n(10)]
    timers: Timers,
    /// What the request says about the player.
    #[n(11)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    app: Vec<u8>,
    #[n(12)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    tc_url: Vec<u8>,
    #[n(13)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    flash_ver: Vec<u8>,
    #[n(14)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    page_url: Vec<u8>,
}

/// Whether these bytes are a snapshot of a player over HTTP, and not of another session.
pub(crate) fn is_of_http(snapshot: &[u8]) -> bool {
    snapshot.starts_with(FORM.magic)
}

impl HttpSession {
    /// Everything that a session in another process needs to continue this one, between two events, once its player may
    /// have the stream. Not included are input that `next` has not taken, and bytes that the driver sends itself.
    ///
    /// # Errors
    /// [`RRError::Unsupported`] before that, [`RRError::State`] once the answer is complete, [`RRError::NoMem`].
    pub fn snapshot(&self, now_ms: u64) -> Result<Vec<u8>> {
        let plays = match self.stage {
            Stage::Waiting => false,
            Stage::Playing => true,
            Stage::Over => return Err(Failure::ours(RRError::State, "the answer to the player is complete")),
            _ => return Err(Failure::ours(RRError::Unsupported, "a player over HTTP stays until it plays")),
        };
        let Some(request) = &self.request else {
            return Err(Failure::ours(RRError::State, "it has sent no request"));
        };
        FORM.encode(&State {
            at_ms: now_ms,
            plays,
            chunked: request.chunked,
            websocket: request.websocket.as_deref(),
            browser: request.browser,
            head_only: self.head_only,
            frames: self.frames.clone(),
            rest: self.rest as u64,
            out: &self.out,
            sent: self.sent,
            timers: self.timers.clone(),
            app: copied(&request.app)?,
            tc_url: copied(&request.tc_url)?,
            flash_ver: copied(&request.agent)?,
            page_url: copied(&request.page_url)?,
        })
    }

    /// Restores the session of a snapshot with these times and on this clock, on which the snapshot was taken at
    /// `now_ms`.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are not such a snapshot, [`RRError::Version`] for one of a newer form,
    /// [`RRError::Limit`] for one that is too large, [`RRError::NoMem`].
    pub fn restore(timing: Timing, snapshot: &[u8], now_ms: u64) -> Result<Self> {
        let state: State<'_> = FORM.decode(snapshot, SNAPSHOT_BYTES)?;
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        if state.rest > REST_MAX_BYTES as u64 || state.sent > SENT_MAX || !state.frames.is_possible() {
            return impossible("no player can have sent, or been sent, so much");
        }
        if state.websocket.is_some_and(|accept| !websocket::is_answer(accept)) || state.plays && state.head_only {
            return impossible("no player can have asked for the stream so");
        }
        if state.timers.has_question() || !state.timers.fits_player(state.plays) {
            return impossible("no player over HTTP can be in that state");
        }
        // Only a WebSocket has pings.
        let ping_ms = if state.websocket.is_some() { timing.ping_ms } else { 0 };
        let clocks = Clocks { from_ms: state.at_ms, to_ms: now_ms };
        let State { app, tc_url, flash_ver, page_url, .. } = state;
        let websocket = state.websocket.map(str::to_owned);
        let mut request = Request::resumed(state.chunked, websocket, state.browser);
        (request.app, request.tc_url, request.agent, request.page_url) = (app, tc_url, flash_ver, page_url);
        Ok(Self {
            timers: state.timers.resumed(Timing { ping_ms, ..timing }, NO_MEDIA, clocks),
            stage: if state.plays { Stage::Playing } else { Stage::Waiting },
            request: Some(Box::new(request)),
            frames: state.frames,
            head_only: state.head_only,
            rest: state.rest as usize,
            out: copied(state.out)?,
            sent: state.sent,
            ..Self::new(timing, false, now_ms)
        })
    }

    /// Whether its player may have the stream.
    pub(crate) fn plays(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Playing)
    }
}
