//! The state of a session that continues in another process: everything that its driver holds besides the open
//! connection, as bytes. A session is exported while it waits for an answer, publishes or plays; its owner makes the
//! state, between two events. What it plays is in `plays`; the state of a stream is in `stream`.
//!
//! It comes from another process, perhaps of another version: its form is that of all states (`proto::cbor`), and every
//! value is checked before it is used. It does not contain the user pointer, which means nothing elsewhere, or ids.

mod counted;
mod feed;
mod named;
mod plays;
mod settings;
pub(crate) mod stream;
pub(crate) mod target;

use minicbor::{Decode, Encode};

use counted::Counted;
pub(crate) use feed::MovedFeed;
use feed::OwedState;
pub(crate) use named::Named;
use plays::{AskState, PlayState};
pub(crate) use plays::{Play, Playing, Share};

#[cfg(test)]
use crate::config::Start;
use crate::config::{Decision, MAX_NAME_BYTES, READ_BUFFER_BYTES, Value, media};
use crate::error::{Failure, RRError, Result, copied};
use crate::net::conn::{Conn, Side};
use crate::proto::cbor::{self, Form};
use crate::proto::command::Part;
#[cfg(test)]
use crate::proto::message::{MessageHead, kind};
use crate::session::{
    Event as Said, HTTP_STREAM_ID, HttpSession, Inbound, PLAYS_MAX, ServerSession, SessionConfig, is_of_http,
};
#[cfg(test)]
use crate::stream::egress::tags::Tags;
use crate::stream::egress::tags::TagsState;
#[cfg(test)]
use crate::stream::ingest::Incoming;
#[cfg(test)]
use crate::stream::ingest::kept::KeptHeaders;
use crate::stream::ingest::kept::{KeptState, MAX_KEPT_BYTES};
use crate::stream::log::lineage::LogPlace;
use crate::stream::record::{Caller, Export, RRSession};
use crate::stream::stats::Counters;

/// The version of a session's state. Sessions that do not ask are of version 2, players over HTTP of version 3,
/// connections with several plays, or with a question beside a play, of version 4, and questions about a play that has
/// left out values, of version 5.
pub(crate) const VERSION: u16 = 5;

const FORM: Form = Form { magic: b"RRex", version: VERSION, name: "an exported session" };

/// Most bytes that an owner may have read and the session has not seen: no thread reads more at once.
const UNREAD_BYTES: usize = READ_BUFFER_BYTES;

/// Longest address for people. Addresses of sockets are far shorter, and a host's text is bounded by this.
const ADDR_BYTES: usize = 1024;

/// Bound on the bytes besides the snapshot and the unread bytes: headers, key and names, addresses, numbers.
const REST_BYTES: usize = MAX_KEPT_BYTES + 8 * cbor::bytes::MAX_BYTES;

/// Bound on the bytes of the plays beside one: the headers that each is to get, and names.
const PLAYS_BYTES: usize = (PLAYS_MAX - 1) * (MAX_KEPT_BYTES + 4 * MAX_NAME_BYTES);

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
        start: Option<i64>,
        #[n(3)]
        duration: Option<i64>,
        #[n(4)]
        reset: Option<bool>,
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
    /// Several plays, or a question beside one; one alone has the older form above.
    #[n(6)]
    PlaysMore {
        #[n(0)]
        #[cbor(with = "crate::proto::cbor::list")]
        plays: Vec<PlayState>,
        #[n(1)]
        named: Named,
        /// What it is to get before the next message of any log.
        #[b(2)]
        #[cbor(with = "minicbor::bytes")]
        unsent: &'a [u8],
        #[n(3)]
        asks: Option<AskState>,
    },
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
    /// It plays, and may ask for a further play.
    Plays(Playing),
}

impl Doing {
    /// What hooks have decided about its question.
    fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Asks(_, decision) | Self::Plays(Playing { asks: Some((_, decision)), .. }) => Some(decision),
            _ => None,
        }
    }
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
        let decided = doing.decision().map_or_else(Decided::default, |decision| Decided {
            rename: given(decision.rename.clone()),
            media: decision.media,
            start: decision.start.map_or(0, |start| start.number()),
        });
        let doing = match doing {
            Doing::Asks(question, _) => DoingState::of_question(question.clone()),
            Doing::Rests => DoingState::Rests,
            Doing::Publishes(publishing) => DoingState::of_publisher(publishing),
            Doing::Plays(playing) => DoingState::of_player(playing),
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

    fn of_player(Playing { plays, named, unsent, asks }: &'a Playing) -> Self {
        let named = named.clone();
        let mut plays: Vec<PlayState> = plays.iter().map(PlayState::of).collect();
        let asks = asks.as_ref().and_then(|(question, _)| AskState::of(question));
        match plays.pop() {
            Some(only) if plays.is_empty() && asks.is_none() => {
                let PlayState { stream_id, start, allowed, media, missing, paused, place, waits, tags, .. } = only;
                Self::Plays { stream_id, named, start, allowed, media, missing, paused, place, waits, unsent, tags }
            }
            newest => {
                plays.extend(newest);
                Self::PlaysMore { plays, named, unsent, asks }
            }
        }
    }

    fn of_question(question: Said) -> Self {
        match question {
            Said::Publish { stream_id, key, mut kind } => {
                kind.truncate(cbor::bytes::MAX_BYTES);
                Self::Publish { stream_id, key, kind }
            }
            Said::Play { stream_id, key, part: Part { start, duration, reset } } => {
                Self::Play { stream_id, key, start, duration, reset }
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
            Self::Play { stream_id, key, start, duration, reset } => {
                Said::Play { stream_id, key, part: Part { start, duration, reset } }
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
                named.check()?;
                let (app, key) = (named.app.clone(), named.key.clone());
                let play =
                    PlayState { stream_id, app, key, start, allowed, media, missing, paused, place, waits, tags };
                return checked_plays(vec![play], named, unsent, None, session).map(Doing::Plays);
            }
            Self::PlaysMore { plays, named, unsent, asks } => {
                named.check()?;
                let decision = decided.checked()?;
                let asks = asks.map(|ask| (ask.question(), Box::new(decision)));
                return checked_plays(plays, named, unsent, asks, session).map(Doing::Plays);
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

/// What a session plays, where it does that.
fn checked_plays(
    plays: Vec<PlayState>,
    named: Named,
    unsent: &[u8],
    asks: Option<(Said, Box<Decision>)>,
    session: &MovedSession,
) -> Result<Playing> {
    let impossible = |what: &'static str| Err(Failure::ours(RRError::Arg, what));
    let stream_ids: Vec<u32> = plays.iter().map(|play| play.stream_id).collect();
    if stream_ids.is_empty() || !session.plays(&stream_ids, asks.as_ref().map(|(question, _)| question)) {
        return impossible("the session does not play, or ask for, what it is said to, or does more");
    }
    let over_http = session.rtmp().is_none();
    if plays.iter().any(|play| play.tags.is_some() != over_http || play.tags.is_some_and(|tags| !tags.is_possible())) {
        return impossible("a player over HTTP gets tags, and no other does");
    }
    if !session.rtmp().is_none_or(|session| session.chunks_as_logs()) {
        return impossible("another chunk size was announced to the player than logs have");
    }
    let plays = plays.into_iter().map(PlayState::checked).collect::<Result<_>>()?;
    Ok(Playing { plays, named, unsent: copied(unsent)?, asks })
}

/// The state of a session that does this.
///
/// # Errors
/// [`RRError::Unsupported`] for a session that cannot go on elsewhere, [`RRError::NoMem`].
pub(crate) fn state_of(conn: &mut Conn, record: &RRSession, doing: &Doing, now_ms: u64) -> Result<Vec<u8>> {
    let unsupported = |what: &'static str| Err(Failure::ours(RRError::Unsupported, what));
    if let Some(decision) = doing.decision()
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

    /// Whether it plays on these message streams and on no other, and this is all that it asks.
    fn plays(&self, stream_ids: &[u32], asks: Option<&Said>) -> bool {
        match self {
            Self::Rtmp(session) => session.plays(stream_ids, asks),
            Self::Http(session) => stream_ids == [HTTP_STREAM_ID] && asks.is_none() && session.plays(),
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
        config.snapshot_bytes_max().saturating_add(messages + UNREAD_BYTES + REST_BYTES + PLAYS_BYTES)
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
        Self::playing_each(session, &[stream_id], None, unread)
    }

    /// A session that plays on each of these message streams, and asks this besides.
    pub(crate) fn playing_each(session: ServerSession, stream_ids: &[u32], asks: Option<Said>, unread: &[u8]) -> Self {
        let plays = stream_ids.iter().map(|&stream_id| {
            let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
            let (media, missing) = (media::AUDIO, media::VIDEO);
            let share = Share { media, missing, paused: true, place, waits: true, ..Share::fresh() };
            let (start, allowed) = (Start::Now, media::AUDIO | media::VIDEO);
            Play { stream_id, name: Named::example().stream(), start, allowed, share }
        });
        let decision = Decision { rename: Some(b"name".to_vec()), ..Decision::default() };
        let asks = asks.map(|question| (question, Box::new(decision)));
        let (plays, named) = (plays.collect(), Named::example());
        let playing = Playing { plays, named, unsent: b"unsent".to_vec(), asks };
        Self::doing(session, Doing::Plays(playing), unread)
    }

    /// A player over HTTP, with that of its input unread.
    pub(crate) fn playing_over_http(session: HttpSession, unread: &[u8]) -> Self {
        let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
        let form = session.flv_form().expect("it gets FLV");
        let tags = Some(Tags::new(form).state());
        let share = Share { tags, place, waits: false, ..Share::fresh() };
        let (named, start, allowed) = (Named::example(), Start::Gop, media::ALL);
        let plays = vec![Play { stream_id: HTTP_STREAM_ID, name: named.stream(), start, allowed, share }];
        let playing = Playing { plays, named, unsent: b"half a tag".to_vec(), asks: None };
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
