//! The state of a session that continues in another process: everything that its driver holds besides the open
//! connection, as bytes. A session is exported while it waits for an answer, publishes or plays; its owner makes the
//! state, between two events. The state of a stream is in `stream`.
//!
//! It comes from another process, perhaps of another version: its form is that of all states (`proto::cbor`), and every
//! value is checked before it is used. It does not contain the user pointer, which means nothing elsewhere, or ids.

mod counted;
mod feed;
mod named;
mod settings;
pub(crate) mod stream;
pub(crate) mod target;

use minicbor::{Decode, Encode};

use counted::Counted;
pub(crate) use feed::MovedFeed;
use feed::{OwedState, check_place};
pub(crate) use named::Named;

use crate::config::{Decision, MAX_NAME_BYTES, READ_BUFFER_BYTES, Start, Value, media};
use crate::error::{Failure, RRError, Result, copied};
use crate::net::conn::{Conn, Side};
use crate::proto::cbor::{self, Form};
#[cfg(test)]
use crate::proto::message::{MessageHead, kind};
use crate::session::{Event as Said, HTTP_STREAM_ID, HttpSession, Inbound, ServerSession, SessionConfig, is_of_http};
use crate::stream::egress::rewrite::Zero;
#[cfg(test)]
use crate::stream::egress::tags::Tags;
use crate::stream::egress::tags::TagsState;
use crate::stream::egress::track_mask;
#[cfg(test)]
use crate::stream::ingest::Incoming;
#[cfg(test)]
use crate::stream::ingest::kept::KeptHeaders;
use crate::stream::ingest::kept::{KeptState, MAX_KEPT_BYTES};
use crate::stream::log::lineage::LogPlace;
use crate::stream::record::{Caller, Export, RRSession};
use crate::stream::stats::Counters;

/// The version of a session's state. Sessions that do not ask are of version 2, players over HTTP of version 3.
pub(crate) const VERSION: u16 = 3;

const FORM: Form = Form { magic: b"RRex", version: VERSION, name: "an exported session" };

/// Most bytes that an owner may have read and the session has not seen: no thread reads more at once.
const UNREAD_BYTES: usize = READ_BUFFER_BYTES;

/// Longest address for people. Addresses of sockets are far shorter, and a host's text is bounded by this.
const ADDR_BYTES: usize = 1024;

/// Bound on the bytes besides the snapshot and the unread bytes: headers, key and names, addresses, numbers.
const REST_BYTES: usize = MAX_KEPT_BYTES + 8 * cbor::bytes::MAX_BYTES;

/// Bytes by which a state may grow while its session waits: its time stamps are numbers that need more bytes later.
pub(in crate::stream) const GROWTH_BYTES: usize = 16;

/// What the session does: it waits with a question, publishes or plays.
#[derive(Debug, Encode, Decode)]
enum DoingState<'a> {
    #[n(0)]
    Connect,
    #[n(1)]
    Publish {
        #[n(0)]
        stream_id: u32,
        #[n(1)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        key: Vec<u8>,
        #[n(2)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        kind: Vec<u8>,
    },
    #[n(2)]
    Play {
        #[n(0)]
        stream_id: u32,
        #[n(1)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        key: Vec<u8>,
        #[n(2)]
        start_ms: i64,
        #[n(3)]
        duration_ms: i64,
        #[n(4)]
        reset: bool,
    },
    #[n(3)]
    Publishes {
        #[n(0)]
        stream_id: u32,
        #[n(1)]
        named: Named,
        #[b(2)]
        kept: KeptState<'a>,
        /// The end of its stream's log, where it is the one that fills it.
        #[n(3)]
        place: Option<LogPlace>,
        /// What it has sent and the log has not got.
        #[b(4)]
        #[cbor(with = "crate::proto::cbor::list")]
        owed: Vec<OwedState<'a>>,
    },
    #[n(4)]
    Plays {
        #[n(0)]
        stream_id: u32,
        #[n(1)]
        named: Named,
        #[n(2)]
        start: u32,
        /// Kinds that it may have, that it gets, and that it is to get besides.
        #[n(3)]
        allowed: u32,
        #[n(4)]
        media: u32,
        #[n(5)]
        missing: u32,
        #[n(6)]
        paused: bool,
        /// The next message's place, or where it waits behind; `None` where it has never begun.
        #[n(7)]
        place: Option<LogPlace>,
        #[n(8)]
        waits: bool,
        /// What it is to get before that.
        #[b(9)]
        #[cbor(with = "minicbor::bytes")]
        unsent: &'a [u8],
        /// Only over HTTP.
        #[n(10)]
        tags: Option<TagsState>,
    },
    #[n(5)]
    Rests,
}

/// The refusal to export a session that waits for an answer while it plays.
pub(crate) fn asks_beside_plays() -> Failure {
    Failure::ours(RRError::Unsupported, "it plays other streams, so it stays in this process")
}

/// What an exported session does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doing {
    /// It is connected, and asks nothing.
    Rests,
    /// It asks this, about which hooks have decided that.
    Asks(Said, Box<Decision>),
    /// It publishes.
    Publishes(Publishing),
    /// It plays.
    Plays(Playing),
}

/// What a session publishes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publishing {
    /// The message stream.
    pub(crate) stream_id: u32,
    /// Its stream's name, and the one it asked for.
    pub(crate) named: Named,
    /// The rest, for accumulate.
    pub(crate) feed: MovedFeed,
}

/// What a session plays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Playing {
    /// The message stream.
    pub(crate) stream_id: u32,
    /// Its stream's name.
    pub(crate) named: Named,
    /// Where it begins, where it has to begin anew.
    pub(crate) start: Start,
    /// Kinds that it may have.
    pub(crate) allowed: u32,
    /// What of the stream it has had, and what it wants.
    pub(crate) share: Share,
    /// What it is to get before the next message of the log: the rest of one, headers, answers.
    pub(crate) unsent: Vec<u8>,
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
    fn fresh() -> Self {
        let (media, missing, tracks, missing_tracks) = (media::ALL, 0, track_mask::ALL, 0);
        let (clock, tags, paused, place, waits) = (None, None, false, None, true);
        Self { media, missing, tracks, missing_tracks, clock, tags, paused, place, waits }
    }
}

/// A name that was given to the session instead of its own.
#[derive(Debug, Encode, Decode)]
struct Given {
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    name: Vec<u8>,
}

/// The hooks' decision about the question; numbers are those of the C API, and 0 is the default.
#[derive(Debug, Encode, Decode)]
struct Decided {
    #[n(0)]
    rename: Option<Given>,
    #[n(1)]
    media: u32,
    #[n(2)]
    start: u32,
}

impl Default for Decided {
    fn default() -> Self {
        Self { rename: None, media: media::ALL, start: 0 }
    }
}

#[derive(Debug, Encode, Decode)]
struct State<'a> {
    #[b(0)]
    #[cbor(with = "minicbor::bytes")]
    snapshot: &'a [u8],
    #[b(1)]
    #[cbor(with = "minicbor::bytes")]
    unread: &'a [u8],
    #[b(2)]
    doing: DoingState<'a>,
    #[b(3)]
    addr: &'a str,
    #[b(4)]
    local_addr: &'a str,
    #[n(5)]
    counted: Counted,
    /// The application that the session was connected to, if it is another than the one it asked for.
    #[n(6)]
    app_given: Option<Given>,
    #[n(7)]
    decided: Decided,
}

/// The parts of the state besides the snapshot.
struct Beside<'a> {
    unread: &'a [u8],
    doing: &'a Doing,
    addr: &'a str,
    local_addr: &'a str,
    counted: Counted,
    app_given: Option<Vec<u8>>,
}

impl Beside<'_> {
    fn encode(self, snapshot: &[u8]) -> Result<Vec<u8>> {
        let Self { unread, doing, addr, local_addr, counted, app_given } = self;
        let given = |name: Option<Vec<u8>>| name.map(|name| Given { name });
        let (doing, decided) = match doing {
            Doing::Asks(question, decision) => {
                let decided = Decided {
                    rename: given(decision.rename.clone()),
                    media: decision.media,
                    start: decision.start.map_or(0, |start| start.number()),
                };
                (DoingState::of_question(question.clone()), decided)
            }
            Doing::Rests => (DoingState::Rests, Decided::default()),
            Doing::Publishes(publishing) => (DoingState::of_publisher(publishing), Decided::default()),
            Doing::Plays(playing) => (DoingState::of_player(playing), Decided::default()),
        };
        let app_given = given(app_given);
        FORM.encode(&State { snapshot, unread, doing, addr, local_addr, counted, app_given, decided })
    }
}

impl<'a> DoingState<'a> {
    fn of_publisher(Publishing { stream_id, named, feed }: &'a Publishing) -> Self {
        Self::Publishes {
            stream_id: *stream_id,
            named: named.clone(),
            kept: feed.kept.state(),
            place: feed.place.clone(),
            owed: feed.owed(),
        }
    }

    fn of_player(Playing { stream_id, named, start, allowed, share, unsent }: &'a Playing) -> Self {
        let Share { media, missing, tags, paused, place, waits, .. } = share.clone();
        let (stream_id, named, start, allowed) = (*stream_id, named.clone(), start.number(), *allowed);
        Self::Plays { stream_id, named, start, allowed, media, missing, paused, place, waits, unsent, tags }
    }

    fn of_question(question: Said) -> Self {
        match question {
            Said::Publish { stream_id, key, mut kind } => {
                kind.truncate(cbor::bytes::MAX_BYTES);
                Self::Publish { stream_id, key, kind }
            }
            Said::Play { stream_id, key, start_ms, duration_ms, reset } => {
                Self::Play { stream_id, key, start_ms, duration_ms, reset }
            }
            _ => Self::Connect,
        }
    }

    /// What it stands for, where the session does that.
    fn checked(self, session: &MovedSession, decided: Decided) -> Result<Doing> {
        let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
        let question = match self {
            Self::Rests => {
                if !session.rtmp().is_some_and(|session| session.connected() && !session.is_busy()) {
                    return impossible("the session is not connected, or publishes or plays");
                }
                return Ok(Doing::Rests);
            }
            Self::Connect => Said::Connect,
            Self::Publish { stream_id, key, kind } => Said::Publish { stream_id, key, kind },
            Self::Play { stream_id, key, start_ms, duration_ms, reset } => {
                Said::Play { stream_id, key, start_ms, duration_ms, reset }
            }
            Self::Publishes { stream_id, named, kept, place, owed } => {
                if !session.rtmp().is_some_and(|session| session.publishes(stream_id)) {
                    return impossible("the session does not publish what it is said to publish");
                }
                named.check()?;
                let feed = MovedFeed::checked(&kept, place, &owed)?;
                return Ok(Doing::Publishes(Publishing { stream_id, named, feed }));
            }
            Self::Plays { stream_id, named, start, allowed, media, missing, paused, place, waits, unsent, tags } => {
                if !session.plays(stream_id) {
                    return impossible("the session does not play what it is said to play, or plays more");
                }
                if tags.is_some() != session.rtmp().is_none() || tags.is_some_and(|tags| !tags.is_possible()) {
                    return impossible("a player over HTTP gets tags, and no other does");
                }
                if !session.rtmp().is_none_or(|session| session.chunks_as_logs()) {
                    return impossible("another chunk size was announced to the player than logs have");
                }
                named.check()?;
                check_place(place.as_ref())?;
                if (media | missing) & !allowed != 0 || allowed & !media::ALL != 0 {
                    return impossible("there are no such kinds of media, or it may not have them");
                }
                let mut decision = Decision::default();
                decision.set("start", Value::Number(start.into()))?;
                let (start, unsent) = (decision.start.unwrap_or_default(), copied(unsent)?);
                let share = Share { media, missing, tags, paused, place, waits, ..Share::fresh() };
                return Ok(Doing::Plays(Playing { stream_id, named, start, allowed, share, unsent }));
            }
        };
        let Some(session) = session.rtmp() else {
            return impossible("a player over HTTP that waits for an answer stays in its process");
        };
        if !session.asks(&question) {
            return impossible("the session does not have the question that the state names");
        }
        // What it plays is with its driver, which stays.
        if session.is_busy() {
            return impossible("the session publishes or plays, and cannot have a question then");
        }
        Ok(Doing::Asks(question, Box::new(decided.checked()?)))
    }
}

/// The state of a session that does this.
///
/// # Errors
/// [`RRError::Unsupported`] for a session that cannot go on elsewhere, [`RRError::NoMem`].
pub(crate) fn state_of(conn: &mut Conn, record: &RRSession, doing: &Doing, now_ms: u64) -> Result<Vec<u8>> {
    let unsupported = |what: &'static str| Err(Failure::ours(RRError::Unsupported, what));
    if let Doing::Asks(_, decision) = doing
        && (decision.stream.is_some() || !decision.targets.is_empty() || !decision.sources.is_empty())
    {
        return unsupported("hooks have given its stream targets or sources, so it stays in this process");
    }
    let counted = Counted { conn_bytes_in: conn.bytes_in(), ..Counted::of(&record.counters) };
    let app_given = record.names().app_given;
    let (snapshot, unread) = conn.snapshot(now_ms)?;
    let (addr, local_addr) = (&shown(&record.addr, ADDR_BYTES), &shown(&record.local_addr, ADDR_BYTES));
    Beside { unread, doing, addr, local_addr, counted, app_given }.encode(&snapshot)
}

/// The state, where it is there and has room; otherwise whoever waits for the outcome learns why the session stays.
pub(crate) fn fitting(state: Result<Vec<u8>>, room: usize, caller: &Caller<Export>) -> Option<Vec<u8>> {
    fitting_or(state, room, caller, Export::Needs)
}

/// The same for another outcome, which `needs` makes of the bytes that are enough.
pub(crate) fn fitting_or<T>(
    state: Result<Vec<u8>>,
    room: usize,
    caller: &Caller<T>,
    needs: impl FnOnce(usize) -> T,
) -> Option<Vec<u8>> {
    match state {
        Ok(state) if state.len() <= room => Some(state),
        other => {
            caller.tell(other.map(|state| needs(state.len() + GROWTH_BYTES)));
            None
        }
    }
}

/// The part of a text for people that goes along, at most so many bytes: a host may give any text, and the importing
/// process accepts a limited length.
fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().filter(|one| !one.is_control()).collect();
    let end = (0..=most.min(shown.len())).rev().find(|&end| shown.is_char_boundary(end));
    shown.truncate(end.unwrap_or(0));
    shown
}

/// A session that a peer opened, of one of the protocols.
#[derive(Debug)]
pub(crate) enum MovedSession {
    /// Over RTMP.
    Rtmp(Box<ServerSession>),
    /// A player over HTTP.
    Http(Box<HttpSession>),
}

impl MovedSession {
    fn rtmp(&self) -> Option<&ServerSession> {
        match self {
            Self::Rtmp(session) => Some(session),
            Self::Http(_) => None,
        }
    }

    fn plays(&self, stream_id: u32) -> bool {
        match self {
            Self::Rtmp(session) => session.plays(stream_id),
            Self::Http(session) => stream_id == HTTP_STREAM_ID && session.plays(),
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn snapshot(&self, now_ms: u64) -> Result<Vec<u8>> {
        match self {
            Self::Rtmp(session) => session.snapshot(now_ms),
            Self::Http(session) => session.snapshot(now_ms),
        }
    }
}

impl From<MovedSession> for Side {
    fn from(session: MovedSession) -> Self {
        match session {
            MovedSession::Rtmp(session) => Self::Server(session),
            MovedSession::Http(session) => Self::Http(session),
        }
    }
}

/// A checked session of another process, before it enters a server.
#[derive(Debug)]
pub(crate) struct ExportedSession {
    /// The session itself.
    pub(crate) session: MovedSession,
    /// The bytes of its peer that were read and that it has not seen.
    pub(crate) unread: Vec<u8>,
    /// What it does.
    pub(crate) doing: Doing,
    /// Its peer's address.
    pub(crate) addr: String,
    /// The address that its peer dialled.
    pub(crate) local_addr: String,
    /// The application that it was connected to instead of the one it asked for.
    pub(crate) app_given: Option<Vec<u8>>,
    counted: Counted,
}

impl ExportedSession {
    /// Most bytes of a state under these settings.
    pub(crate) fn bytes_max(config: &SessionConfig) -> usize {
        // Beside the half-read messages, one that waits to be sent, and one, of any size, that waits for its log.
        let messages = (config.max_message as usize).saturating_mul(2);
        config.snapshot_bytes_max().saturating_add(messages + UNREAD_BYTES + REST_BYTES)
    }

    /// Reads the session of a state, under these settings and on this clock.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are not an exported session, [`RRError::Version`] for one of a newer form,
    /// [`RRError::Limit`] for one that holds more than `config` allows, [`RRError::NoMem`].
    pub(crate) fn read(config: &SessionConfig, state: &[u8], now_ms: u64) -> Result<Self> {
        let impossible = |what: &'static str| Failure::ours(RRError::Arg, what);
        let most = Self::bytes_max(config);
        let state: State<'_> = FORM.decode(state, most)?;
        let session = if is_of_http(state.snapshot) {
            MovedSession::Http(Box::new(HttpSession::restore(config.timing, state.snapshot, now_ms)?))
        } else {
            MovedSession::Rtmp(Box::new(ServerSession::restore(config, state.snapshot, now_ms)?))
        };
        let doing = state.doing.checked(&session, state.decided)?;
        if state.unread.len() > UNREAD_BYTES
            || [state.addr, state.local_addr].iter().any(|addr| addr.len() > ADDR_BYTES)
        {
            return Err(Failure::ours(
                RRError::Limit,
                "it has more unread bytes, or a longer address, than is possible",
            ));
        }
        if [state.addr, state.local_addr].iter().any(|addr| addr.contains(char::is_control)) {
            return Err(impossible("an address has characters that cannot be shown"));
        }
        state.counted.check()?;
        let app_given = state.app_given.map(|given| given.name);
        if app_given.as_ref().is_some_and(|app| app.len() > MAX_NAME_BYTES || app.contains(&0)) {
            return Err(impossible("the application that it was given is invalid"));
        }
        Ok(Self {
            session,
            unread: copied(state.unread)?,
            doing,
            addr: state.addr.to_owned(),
            local_addr: state.local_addr.to_owned(),
            counted: state.counted,
            app_given,
        })
    }

    /// Its counters, which go on from what was counted elsewhere.
    pub(crate) fn counters(&self) -> Counters {
        self.counted.counters()
    }

    /// The bytes that were read from its connection since the beginning.
    pub(crate) fn conn_bytes_in(&self) -> u64 {
        self.counted.conn_bytes_in
    }
}

impl Decided {
    fn checked(self) -> Result<Decision> {
        let mut decision = Decision::default();
        if let Some(Given { name }) = &self.rename {
            decision.set("rename", Value::Bytes(name))?;
        }
        decision.set("media", Value::Number(self.media.into()))?;
        if self.start != 0 {
            decision.set("start", Value::Number(self.start.into()))?;
        }
        Ok(decision)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl ExportedSession {
    /// Its state, encoded again.
    pub(crate) fn state(&self, now_ms: u64) -> Result<Vec<u8>> {
        let Self { session, unread, doing, addr, local_addr, counted, app_given } = self;
        let app_given = app_given.clone();
        Beside { unread, doing, addr, local_addr, counted: *counted, app_given }.encode(&session.snapshot(now_ms)?)
    }

    /// The session, and the bytes that it has not seen.
    pub(crate) fn into_session(self) -> (MovedSession, Vec<u8>) {
        (self.session, self.unread)
    }
}

#[cfg(test)]
impl ExportedSession {
    /// A session with this question and these unread bytes.
    pub(crate) fn asking(session: ServerSession, question: Said, unread: &[u8]) -> Self {
        let decision = Decision { rename: Some(b"name".to_vec()), ..Decision::default() };
        Self::doing(session, Doing::Asks(question, Box::new(decision)), unread)
    }

    /// A session that publishes on this message stream, with that of its input unread.
    pub(crate) fn publishing(session: ServerSession, stream_id: u32, unread: &[u8]) -> Self {
        let named = Named::example();
        let mut kept = KeptHeaders::default();
        for (type_id, body) in [(kind::AUDIO, &b"\xaf\0\x12\x10"[..]), (kind::VIDEO, b"\x17\0\0\0\0avcC")] {
            let head = MessageHead { type_id, len: body.len() as u32, ..MessageHead::default() };
            kept.look(&Incoming::new(head, body, 0));
        }
        let head = MessageHead { type_id: kind::AUDIO, timestamp_ms: 7, len: 2, ..MessageHead::default() };
        let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
        let feed = MovedFeed { kept, place, owed: vec![(head, b"\xaf\x01".to_vec())] };
        Self::doing(session, Doing::Publishes(Publishing { stream_id, named, feed }), unread)
    }

    /// A session that plays on this message stream, with that of its input unread.
    pub(crate) fn playing(session: ServerSession, stream_id: u32, unread: &[u8]) -> Self {
        let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
        let (media, missing) = (media::AUDIO, media::VIDEO);
        let share = Share { media, missing, paused: true, place, waits: true, ..Share::fresh() };
        let (named, start, allowed) = (Named::example(), Start::Now, media::AUDIO | media::VIDEO);
        let playing = Playing { stream_id, named, start, allowed, share, unsent: b"unsent".to_vec() };
        Self::doing(session, Doing::Plays(playing), unread)
    }

    /// A player over HTTP, with that of its input unread.
    pub(crate) fn playing_over_http(session: HttpSession, unread: &[u8]) -> Self {
        let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
        let form = session.flv_form().expect("it gets FLV");
        let tags = Some(Tags::new(form).state());
        let share = Share { tags, place, waits: false, ..Share::fresh() };
        let (named, start, allowed) = (Named::example(), Start::Gop, media::ALL);
        let playing =
            Playing { stream_id: HTTP_STREAM_ID, named, start, allowed, share, unsent: b"half a tag".to_vec() };
        Self::of(MovedSession::Http(Box::new(session)), Doing::Plays(playing), unread)
    }

    fn doing(session: ServerSession, doing: Doing, unread: &[u8]) -> Self {
        Self::of(MovedSession::Rtmp(Box::new(session)), doing, unread)
    }

    fn of(session: MovedSession, doing: Doing, unread: &[u8]) -> Self {
        Self {
            session,
            unread: unread.to_vec(),
            doing,
            addr: "192.0.2.7:4711".to_owned(),
            local_addr: "192.0.2.1:1935".to_owned(),
            counted: Counted { started_us: 1_700_000_000_000_000, ..Counted::default() },
            app_given: Some(b"given".to_vec()),
        }
    }
}

#[cfg(test)]
mod tests;
