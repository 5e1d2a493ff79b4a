//! What a connection plays when it goes on in another process: each play with how far it has got, and what all of them
//! have in common.

use minicbor::{Decode, Encode};

use super::feed::check_place;
use super::named::Named;
use crate::config::{Decision, Start, Value, media};
use crate::error::{Failure, RRError, Result};
use crate::proto::command::Part;
use crate::session::Event as Said;
use crate::stream::egress::rewrite::Zero;
use crate::stream::egress::tags::TagsState;
use crate::stream::egress::track_mask;
use crate::stream::log::lineage::LogPlace;
use crate::stream::name::StreamName;

/// What a connection plays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Playing {
    /// Its plays, each on a message stream of its own, in the order in which they began. There is at least one.
    pub(crate) plays: Vec<Play>,
    /// The names of the newest.
    pub(crate) named: Named,
    /// What it is to get before the next message of a log: the rest of one, headers, answers.
    pub(crate) unsent: Vec<u8>,
    /// The play that it asks for besides, about which hooks have decided that.
    pub(crate) asks: Option<(Said, Box<Decision>)>,
}

/// One play.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Play {
    /// The message stream.
    pub(crate) stream_id: u32,
    /// The stream's name.
    pub(crate) name: StreamName,
    /// Where it begins, where it has to begin anew.
    pub(crate) start: Start,
    /// Kinds that it may have.
    pub(crate) allowed: u32,
    /// What of the stream it has had, and what it wants.
    pub(crate) share: Share,
}

/// What a player or target has had of a stream, and what it wants of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// Kinds that it gets.
    pub(in crate::stream) media: u32,
    /// Kinds that it gets besides from the next key frame on, or the end of the log.
    pub(in crate::stream) missing: u32,
    /// Tracks that it gets, and those that it gets besides from the next key frame on. A player gets all.
    pub(in crate::stream) tracks: u64,
    pub(in crate::stream) missing_tracks: u64,
    /// The clock of a target whose time begins at 0.
    pub(in crate::stream) clock: Option<Zero>,
    /// The tags of a player over HTTP.
    pub(in crate::stream) tags: Option<TagsState>,
    /// It is paused.
    pub(in crate::stream) paused: bool,
    /// The next message's place, or where it waits behind; `None` where it has never begun.
    pub(in crate::stream) place: Option<LogPlace>,
    /// It waits behind the place for one to begin at.
    pub(in crate::stream) waits: bool,
}

impl Share {
    /// That of a player or target that has had nothing.
    pub(super) fn fresh() -> Self {
        let (media, missing, tracks, missing_tracks) = (media::ALL, 0, track_mask::ALL, 0);
        let (clock, tags, paused, place, waits) = (None, None, false, None, true);
        Self { media, missing, tracks, missing_tracks, clock, tags, paused, place, waits }
    }
}

/// The state of a play.
#[derive(Debug, Encode, Decode)]
pub(super) struct PlayState {
    #[n(0)]
    pub(super) stream_id: u32,
    #[n(1)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(super) app: Vec<u8>,
    #[n(2)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(super) key: Vec<u8>,
    #[n(3)]
    pub(super) start: u32,
    /// Kinds that it may have, that it gets, and that it is to get besides.
    #[n(4)]
    pub(super) allowed: u32,
    #[n(5)]
    pub(super) media: u32,
    #[n(6)]
    pub(super) missing: u32,
    #[n(7)]
    pub(super) paused: bool,
    /// The next message's place, or where it waits behind; `None` where it has never begun.
    #[n(8)]
    pub(super) place: Option<LogPlace>,
    #[n(9)]
    pub(super) waits: bool,
    /// Only over HTTP.
    #[n(10)]
    pub(super) tags: Option<TagsState>,
}

impl PlayState {
    pub(super) fn of(Play { stream_id, name, start, allowed, share }: &Play) -> Self {
        let Share { media, missing, tags, paused, place, waits, .. } = share.clone();
        let (app, key) = (name.app.clone(), name.key.clone());
        let (stream_id, start, allowed) = (*stream_id, start.number(), *allowed);
        Self { stream_id, app, key, start, allowed, media, missing, paused, place, waits, tags }
    }

    /// The play, where it is one that a player can have.
    pub(super) fn checked(self) -> Result<Play> {
        let Self { stream_id, app, key, start, allowed, media, missing, paused, place, waits, tags } = self;
        let name = StreamName::checked(&app, &key)?;
        check_place(place.as_ref())?;
        if (media | missing) & !allowed != 0 || allowed & !media::ALL != 0 {
            let text = "there are no such kinds of media, or it may not have them";
            return Err(Failure::ours(RRError::Arg, text));
        }
        let mut decision = Decision::default();
        decision.set("start", Value::Number(start.into()))?;
        let share = Share { media, missing, tags, paused, place, waits, ..Share::fresh() };
        Ok(Play { stream_id, name, start: decision.start.unwrap_or_default(), allowed, share })
    }
}

/// The state of the question about a further play.
#[derive(Debug, Encode, Decode)]
pub(super) struct AskState {
    #[n(0)]
    stream_id: u32,
    #[n(1)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    key: Vec<u8>,
    #[n(2)]
    start: Option<i64>,
    #[n(3)]
    duration: Option<i64>,
    #[n(4)]
    reset: Option<bool>,
}

impl AskState {
    /// That of this question; a connection that plays asks for no publish.
    pub(super) fn of(question: &Said) -> Option<Self> {
        match question.clone() {
            Said::Play { stream_id, key, part: Part { start, duration, reset } } => {
                Some(Self { stream_id, key, start, duration, reset })
            }
            _ => None,
        }
    }

    pub(super) fn question(self) -> Said {
        let Self { stream_id, key, start, duration, reset } = self;
        Said::Play { stream_id, key, part: Part { start, duration, reset } }
    }
}
