//! The state of a session that continues in another process: everything that its driver holds besides the open
//! connection, as bytes.
//!
//! It comes from another process, perhaps of another version: its form is that of all states (`proto::cbor`), and every
//! value is checked before it is used. It does not contain the user pointer, which means nothing elsewhere, or ids.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::config::{Decision, MAX_NAME_BYTES, READ_BUFFER_BYTES, Value};
use crate::error::{Failure, RRError, Result, copied};
use crate::log::told;
use crate::net::conn::Conn;
use crate::net::socket::{Socket, ip_of};
use crate::net::{clock, heap};
use crate::proto::cbor::{self, Form};
use crate::server::admission::{self, Wish};
use crate::server::core::Core;
use crate::server::inbox::ToListener;
use crate::session::{Event as Said, ServerSession, SessionConfig};
use crate::stream::peer::Peer;
use crate::stream::record::RRSession;
use crate::stream::stats::Counters;

const FORM: Form = Form { magic: b"RRex", version: 1, name: "an exported session" };

/// Most bytes that an owner may have read and the session has not seen: no thread reads more at once.
const UNREAD_BYTES: usize = READ_BUFFER_BYTES;

/// Longest address for people. Addresses of sockets are far shorter, and a host's text is bounded by this.
const ADDR_BYTES: usize = 1024;

/// Bound on the bytes besides the snapshot and the unread bytes: key and names, addresses, numbers.
const REST_BYTES: usize = 4 * cbor::bytes::MAX_BYTES;

/// Largest count that is accepted: a count that grows from here does not overflow.
const COUNT_MAX: u64 = 1 << 60;

/// The open question of the session.
#[derive(Debug, Encode, Decode)]
enum Question {
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

/// The session's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
struct Counted {
    #[n(0)]
    bytes_in: u64,
    #[n(1)]
    bytes_out: u64,
    #[n(2)]
    msgs_in: u64,
    #[n(3)]
    msgs_out: u64,
    #[n(4)]
    audio_bytes: u64,
    #[n(5)]
    video_bytes: u64,
    #[n(6)]
    data_bytes: u64,
    /// Bytes of the connection, including those of the opening.
    #[n(7)]
    conn_bytes_in: u64,
    /// When the session began, wall clock.
    #[n(8)]
    started_us: i64,
}

#[derive(Debug, Encode, Decode)]
struct State<'a> {
    #[b(0)]
    #[cbor(with = "minicbor::bytes")]
    snapshot: &'a [u8],
    #[b(1)]
    #[cbor(with = "minicbor::bytes")]
    unread: &'a [u8],
    #[n(2)]
    question: Question,
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
    question: Said,
    addr: &'a str,
    local_addr: &'a str,
    counted: Counted,
    app_given: Option<Vec<u8>>,
    decision: &'a Decision,
}

impl Beside<'_> {
    fn encode(self, snapshot: &[u8]) -> Result<Vec<u8>> {
        let Self { unread, question, addr, local_addr, counted, app_given, decision } = self;
        let question = match question {
            Said::Publish { stream_id, key, mut kind } => {
                kind.truncate(cbor::bytes::MAX_BYTES);
                Question::Publish { stream_id, key, kind }
            }
            Said::Play { stream_id, key, start_ms, duration_ms, reset } => {
                Question::Play { stream_id, key, start_ms, duration_ms, reset }
            }
            _ => Question::Connect,
        };
        let given = |name: Option<Vec<u8>>| name.map(|name| Given { name });
        let decided = Decided {
            rename: given(decision.rename.clone()),
            media: decision.media,
            start: decision.start.map_or(0, |start| start.number()),
        };
        let app_given = given(app_given);
        FORM.encode(&State { snapshot, unread, question, addr, local_addr, counted, app_given, decided })
    }
}

/// The state of a session with this open question and this decision of hooks.
///
/// # Errors
/// [`RRError::Unsupported`] for a session that cannot continue elsewhere, [`RRError::NoMem`].
pub(super) fn state_of(peer: &mut Peer, wish: &Wish, decision: &Decision, now_ms: u64) -> Result<Vec<u8>> {
    let unsupported = |what: &'static str| Err(Failure::ours(RRError::Unsupported, what));
    if !peer.subscriptions.is_empty() {
        return unsupported("it plays other streams, so it stays in this process");
    }
    if decision.stream.is_some() || !decision.targets.is_empty() || !decision.sources.is_empty() {
        return unsupported("hooks have given its stream targets or sources, so it stays in this process");
    }
    let record = &peer.record;
    let counted = Counted { conn_bytes_in: peer.conn.bytes_in(), ..Counted::of(&record.counters) };
    let app_given = record.names().app_given;
    let (snapshot, unread) = peer.conn.snapshot(now_ms)?;
    let (addr, local_addr) = (&shown(&record.addr), &shown(&record.local_addr));
    Beside { unread, question: wish.event(), addr, local_addr, counted, app_given, decision }.encode(&snapshot)
}

/// The part of an address that goes along: a host may give any text, and the importing process accepts a limited
/// length.
fn shown(addr: &str) -> String {
    addr.chars().filter(|one| !one.is_control()).take(ADDR_BYTES / char::MAX.len_utf8()).collect()
}

/// A checked session of another process, before it enters a server.
#[derive(Debug)]
pub(crate) struct ExportedSession {
    session: Box<ServerSession>,
    unread: Vec<u8>,
    question: Said,
    addr: String,
    local_addr: String,
    counted: Counted,
    app_given: Option<Vec<u8>>,
    decision: Box<Decision>,
}

impl ExportedSession {
    /// Reads the session of a state, under these settings and on this clock.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are not an exported session, [`RRError::Version`] for one of a newer form,
    /// [`RRError::Limit`] for one that holds more than `config` allows, [`RRError::NoMem`].
    pub(crate) fn read(config: &SessionConfig, state: &[u8], now_ms: u64) -> Result<Self> {
        let impossible = |what: &'static str| Failure::ours(RRError::Arg, what);
        let most = config.snapshot_bytes_max().saturating_add(UNREAD_BYTES + REST_BYTES);
        let state: State<'_> = FORM.decode(state, most)?;
        let session = Box::new(ServerSession::restore(config, state.snapshot, now_ms)?);
        let question = match state.question {
            Question::Connect => Said::Connect,
            Question::Publish { stream_id, key, kind } => Said::Publish { stream_id, key, kind },
            Question::Play { stream_id, key, start_ms, duration_ms, reset } => {
                Said::Play { stream_id, key, start_ms, duration_ms, reset }
            }
        };
        if !session.asks(&question) {
            return Err(impossible("the session does not have the question that the state names"));
        }
        // Plays belong to the driver, which stays in the other process.
        if session.is_busy() {
            return Err(impossible("the session publishes or plays, and such sessions are not exported"));
        }
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
            question,
            addr: state.addr.to_owned(),
            local_addr: state.local_addr.to_owned(),
            counted: state.counted,
            app_given,
            decision: Box::new(state.decided.checked()?),
        })
    }

    /// Enters a server on its connection; the server asks its question.
    ///
    /// # Errors
    /// [`RRError::Limit`] and [`RRError::NoMem`] if there is no room for it, [`RRError::State`] if the server has
    /// stopped.
    pub(super) fn enter(self, core: &Core, socket: Socket) -> Result<()> {
        heap::room()?;
        let Self { session, unread, question, addr, local_addr, counted, app_given, decision } = self;
        let ip = ip_of(&addr).or_else(|| socket.peer_ip());
        let mut conn = Conn::resumed(socket, session, unread, counted.conn_bytes_in);
        if log::log_enabled!(log::Level::Debug) {
            conn.set_name(&addr);
        }
        let memory = core.pending.charge_about(conn.heap_bytes())?;
        let make = |id| Arc::new(RRSession::resumed(id, addr, ip, local_addr, counted.counters()));
        let record = core.registry().add_session(ip, make)?;
        record.set_owner(core.listener_wake());
        let mut peer = Peer::new(conn, Arc::clone(&record));
        if question != Said::Connect {
            admission::note_names(&mut peer, &Wish::Connect, core.config.stream.args);
        }
        if let Some(app) = app_given {
            record.rename(|names| {
                names.app.clone_from(&app);
                names.app_given = Some(app);
            });
        }
        log::info!(target: told::SESSION, "{} comes from another process", record.addr);
        let sent = core.to_listener(ToListener::Imported(peer, memory, question, decision));
        if sent.is_err() {
            core.registry().remove_session(record.id);
        }
        sent
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

impl Counted {
    fn of(counters: &Counters) -> Self {
        Self {
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            msgs_in: counters.msgs_in.get(),
            msgs_out: counters.msgs_out.get(),
            audio_bytes: counters.audio_bytes.get(),
            video_bytes: counters.video_bytes.get(),
            data_bytes: counters.data_bytes.get(),
            conn_bytes_in: 0,
            started_us: counters.started_us,
        }
    }

    /// Refuses counters that no session can have.
    fn check(&self) -> Result<()> {
        let Self {
            bytes_in,
            bytes_out,
            msgs_in,
            msgs_out,
            audio_bytes,
            video_bytes,
            data_bytes,
            conn_bytes_in,
            started_us,
        } = *self;
        let counts = [bytes_in, bytes_out, msgs_in, msgs_out, audio_bytes, video_bytes, data_bytes, conn_bytes_in];
        if counts.iter().any(|&count| count > COUNT_MAX) || started_us < 0 {
            return Err(Failure::ours(RRError::Arg, "no session can have these counters"));
        }
        Ok(())
    }

    fn counters(self) -> Counters {
        let counters = Counters::new(self.started_us.min(clock::wall_us()));
        counters.bytes_in.set(self.bytes_in);
        counters.bytes_out.set(self.bytes_out);
        counters.msgs_in.set(self.msgs_in);
        counters.msgs_out.set(self.msgs_out);
        counters.audio_bytes.set(self.audio_bytes);
        counters.video_bytes.set(self.video_bytes);
        counters.data_bytes.set(self.data_bytes);
        counters
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl ExportedSession {
    /// Its state, encoded again.
    pub(crate) fn state(&self, now_ms: u64) -> Result<Vec<u8>> {
        let Self { session, unread, question, addr, local_addr, counted, app_given, decision } = self;
        let (question, app_given) = (question.clone(), app_given.clone());
        Beside { unread, question, addr, local_addr, counted: *counted, app_given, decision }
            .encode(&session.snapshot(now_ms)?)
    }

    /// The session, and the bytes that it has not seen.
    pub(crate) fn into_session(self) -> (ServerSession, Vec<u8>) {
        (*self.session, self.unread)
    }
}

#[cfg(test)]
impl ExportedSession {
    /// A session with this question and these unread bytes.
    pub(crate) fn asking(session: ServerSession, question: Said, unread: &[u8]) -> Self {
        Self {
            session: Box::new(session),
            unread: unread.to_vec(),
            question,
            addr: "192.0.2.7:4711".to_owned(),
            local_addr: "192.0.2.1:1935".to_owned(),
            counted: Counted { started_us: 1_700_000_000_000_000, ..Counted::default() },
            app_given: Some(b"given".to_vec()),
            decision: Box::new(Decision { rename: Some(b"name".to_vec()), ..Decision::default() }),
        }
    }
}

#[cfg(test)]
mod tests;
