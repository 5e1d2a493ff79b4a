//! The state of a target or source that goes on in another process: its settings with their secrets, the history of its
//! tries, and its connection where that can move, or else what remains of its wait.
//!
//! It is checked like all states that come from another process. A target at work makes it together with the dialler,
//! which has the history, and the owner of its connection.

use minicbor::{Decode, Encode};

use super::counted::COUNT_MAX;
use super::feed::check_place;
use super::settings::{self, SettingState, Settings};
use super::{ADDR_BYTES, Counted, MovedFeed, OwedState, REST_BYTES, Share, UNREAD_BYTES, shown};
use crate::config::{TargetConfig, media};
use crate::error::{Failure, RRError, Result, copied};
use crate::net::conn::Conn;
use crate::proto::cbor::{self, Form};
use crate::proto::command::MAX_VIA_BYTES;
#[cfg(test)]
use crate::proto::message::{MessageHead, kind};
use crate::proto::url::RtmpUrl;
use crate::session::{ClientSession, SessionConfig};
use crate::stream::egress::rewrite::Zero;
#[cfg(test)]
use crate::stream::ingest::kept::KeptHeaders;
use crate::stream::ingest::kept::KeptState;
use crate::stream::log::lineage::LogPlace;
use crate::stream::name::StreamName;
use crate::stream::remote::endpoint::{Endpoint, Trusts};
use crate::stream::remote::target::backoff::{Backoff, BackoffState};
use crate::stream::remote::target::{Target, Way};
use crate::stream::stats::Counters;

/// The version of a target's state.
pub(crate) const VERSION: u16 = 1;

const FORM: Form = Form { magic: b"RRta", version: VERSION, name: "an exported target" };

/// Longest wait that is accepted: no setting allows a longer one.
const WAIT_MS: u64 = 86_400_000;

/// Longest url for people; those of settings are shorter.
const URL_BYTES: usize = 16 * 1024;

/// Most connections or failures: a count that grows from here does not overflow.
const TRIES: u32 = 1 << 30;

/// Bound on the bytes of the settings: urls, keys and passwords.
const SETTINGS_BYTES: usize = 32 * cbor::bytes::MAX_BYTES;

/// What the target does.
#[derive(Debug, Encode, Decode)]
enum StageState<'a> {
    #[n(0)]
    Rests,
    #[n(1)]
    Waits {
        #[n(0)]
        ms: u64,
    },
    #[n(2)]
    Failed,
    #[n(3)]
    Pushes {
        #[b(0)]
        #[cbor(with = "minicbor::bytes")]
        snapshot: &'a [u8],
        #[b(1)]
        #[cbor(with = "minicbor::bytes")]
        unread: &'a [u8],
        #[n(2)]
        ran_ms: u64,
        #[n(3)]
        media: u32,
        #[n(4)]
        missing: u32,
        #[n(5)]
        tracks: u64,
        #[n(6)]
        missing_tracks: u64,
        #[n(7)]
        clock: Option<Zero>,
        #[n(8)]
        place: Option<LogPlace>,
        #[n(9)]
        waits: bool,
        #[b(10)]
        #[cbor(with = "minicbor::bytes")]
        unsent: &'a [u8],
    },
    #[n(4)]
    Pulls {
        #[b(0)]
        #[cbor(with = "minicbor::bytes")]
        snapshot: &'a [u8],
        #[b(1)]
        #[cbor(with = "minicbor::bytes")]
        unread: &'a [u8],
        #[n(2)]
        ran_ms: u64,
        /// The streams that its media comes through.
        #[n(3)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        via: Vec<u8>,
        #[b(4)]
        kept: KeptState<'a>,
        /// The end of its stream's log, where it is the one that fills it.
        #[n(5)]
        place: Option<LogPlace>,
        /// What it has sent and the log has not got.
        #[b(6)]
        #[cbor(with = "crate::proto::cbor::list")]
        owed: Vec<OwedState<'a>>,
    },
}

#[derive(Debug, Encode, Decode)]
struct State<'a> {
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    app: Vec<u8>,
    #[n(1)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    key: Vec<u8>,
    #[n(2)]
    pulls: bool,
    #[b(3)]
    #[cbor(with = "crate::proto::cbor::list")]
    settings: Vec<SettingState<'a>>,
    #[n(4)]
    of_controller: bool,
    #[n(5)]
    history: BackoffState,
    #[n(6)]
    counted: Counted,
    #[n(7)]
    connects: u32,
    #[n(8)]
    failures: u32,
    /// The number of the error behind its state; 0 if there is none.
    #[n(9)]
    error: i32,
    /// The connection in use, or the last one.
    #[b(10)]
    url: &'a str,
    #[b(11)]
    addr: &'a str,
    #[b(12)]
    local_addr: &'a str,
    #[b(13)]
    stage: StageState<'a>,
}

/// A target apart from what it does at the moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct About {
    /// The name of its stream.
    pub(crate) name: StreamName,
    /// It is a source.
    pub(crate) pulls: bool,
    /// Its settings.
    pub(crate) config: TargetConfig,
    /// The history of its tries.
    pub(crate) history: Backoff,
    /// The connection in use, or the last one.
    pub(crate) way: Way,
    /// Its connections so far.
    pub(crate) connects: u32,
    /// Its failures so far.
    pub(crate) failures: u32,
    /// The error behind its state.
    pub(crate) error: Option<RRError>,
    counted: Counted,
}

/// What a target without a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Its stream has no media, or does not need it.
    Rests,
    /// Its next try is due after so many ms.
    Waits(u64),
    /// It has failed for good.
    Failed,
}

/// What the relay knows of a connected target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MovedPush {
    /// What of the stream it has had.
    pub(in crate::stream) share: Share,
    /// What it is to get before the next message of the log: the rest of one, headers, answers.
    pub(in crate::stream) unsent: Vec<u8>,
    /// How long media has flowed to it.
    pub(in crate::stream) ran_ms: u64,
}

/// What accumulate knows of a connected source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MovedPull {
    /// What it knows of every publisher.
    pub(crate) feed: MovedFeed,
    /// The streams that its media comes through.
    pub(crate) via: Vec<u8>,
    /// How long media has come from it.
    pub(crate) ran_ms: u64,
}

impl About {
    /// What is to be known of a target with this history.
    pub(crate) fn of(target: &Target, history: Backoff) -> Self {
        let Way { url, addr, local_addr } = target.way();
        let (connects, failures) = target.tries();
        Self {
            name: target.stream().name().clone(),
            pulls: target.is_source(),
            config: target.endpoint().config.clone(),
            history,
            way: Way {
                url: shown(&url, URL_BYTES),
                addr: shown(&addr, ADDR_BYTES),
                local_addr: shown(&local_addr, ADDR_BYTES),
            },
            connects,
            failures,
            error: target.last_error(),
            counted: Counted::of(&target.counters),
        }
    }

    /// The endpoint of its settings, with what they need of this machine: the files that they name, mainly.
    ///
    /// # Errors
    /// Those of [`Endpoint::ready_among`].
    pub(crate) fn endpoint(&self, trusts: &mut Trusts) -> Result<Endpoint> {
        Endpoint::ready_among(self.config.clone(), &self.name.key, trusts)
    }

    /// The state of a target without a connection that can move.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn paused(&self, pause: Pause, now_ms: u64) -> Result<Vec<u8>> {
        let stage = match pause {
            Pause::Rests => StageState::Rests,
            Pause::Waits(ms) => StageState::Waits { ms: ms.min(WAIT_MS) },
            Pause::Failed => StageState::Failed,
        };
        self.encode(stage, now_ms)
    }

    /// The state of a connected target.
    ///
    /// # Errors
    /// Those of [`Conn::client_snapshot`].
    pub(in crate::stream) fn pushing(&self, conn: &mut Conn, push: &MovedPush, now_ms: u64) -> Result<Vec<u8>> {
        let (snapshot, unread) = conn.client_snapshot(now_ms)?;
        self.encode(push.stage(&snapshot, unread), now_ms)
    }

    /// The state of a connected source.
    ///
    /// # Errors
    /// Those of [`Conn::client_snapshot`].
    pub(in crate::stream) fn pulling(&self, conn: &mut Conn, pull: &MovedPull, now_ms: u64) -> Result<Vec<u8>> {
        let (snapshot, unread) = conn.client_snapshot(now_ms)?;
        self.encode(pull.stage(&snapshot, unread), now_ms)
    }

    fn encode(&self, stage: StageState<'_>, now_ms: u64) -> Result<Vec<u8>> {
        let mut settings = Settings::default();
        self.config.each_setting(|name, value| settings.add(name, value));
        FORM.encode(&State {
            app: self.name.app.clone(),
            key: self.name.key.clone(),
            pulls: self.pulls,
            settings: settings.states(),
            of_controller: self.config.of_controller,
            history: self.history.state(now_ms),
            counted: self.counted,
            connects: self.connects,
            failures: self.failures,
            error: self.error.map_or(0, RRError::code),
            url: &self.way.url,
            addr: &self.way.addr,
            local_addr: &self.way.local_addr,
            stage,
        })
    }

    /// Its counters, which go on from what was counted elsewhere.
    pub(crate) fn counters(&self) -> Counters {
        self.counted.counters()
    }
}

impl MovedPush {
    /// What the relay knows of a target that has just been connected.
    pub(in crate::stream) fn new() -> Self {
        Self { share: Share::fresh(), unsent: Vec::new(), ran_ms: 0 }
    }

    fn stage<'a>(&'a self, snapshot: &'a [u8], unread: &'a [u8]) -> StageState<'a> {
        let Share { media, missing, tracks, missing_tracks, clock, place, waits, .. } = self.share.clone();
        let (ran_ms, unsent) = (self.ran_ms, &self.unsent);
        StageState::Pushes {
            snapshot,
            unread,
            ran_ms,
            media,
            missing,
            tracks,
            missing_tracks,
            clock,
            place,
            waits,
            unsent,
        }
    }
}

impl MovedPull {
    fn stage<'a>(&'a self, snapshot: &'a [u8], unread: &'a [u8]) -> StageState<'a> {
        let Self { feed, via, ran_ms } = self;
        StageState::Pulls {
            snapshot,
            unread,
            ran_ms: *ran_ms,
            via: via.clone(),
            kept: feed.kept.state(),
            place: feed.place.clone(),
            owed: feed.owed(),
        }
    }
}

/// A checked target of another process, before it enters a server.
#[derive(Debug)]
pub(crate) struct ExportedTarget {
    /// The target.
    pub(crate) about: About,
    /// What it does.
    pub(crate) stage: Stage,
}

/// What a target of another process does.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It has no connection.
    Pauses(Pause),
    /// It is connected, and what the relay knows of it.
    Pushes(Connected, MovedPush),
    /// It is a connected source, and what accumulate knows of it.
    Pulls(Connected, MovedPull),
}

/// A connection that was opened in another process.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The session.
    pub(crate) session: Box<ClientSession>,
    /// The url that it is connected to.
    pub(crate) url: RtmpUrl,
    /// The bytes of its server that were read and that the session has not seen.
    pub(crate) unread: Vec<u8>,
}

impl ExportedTarget {
    /// Most bytes of a state under these settings.
    pub(crate) fn bytes_max(config: &SessionConfig) -> usize {
        let messages = (config.max_message as usize).saturating_mul(2);
        config.snapshot_bytes_max().saturating_add(messages + UNREAD_BYTES + REST_BYTES + SETTINGS_BYTES)
    }

    /// Reads the target of a state. Sessions of targets have these settings, apart from the chunk size.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are not an exported target, [`RRError::Version`] for one of a newer form,
    /// [`RRError::Limit`] for one that holds more than `config` allows, [`RRError::Unsupported`] for settings that such
    /// a target cannot have, [`RRError::NoMem`].
    pub(crate) fn read(config: &SessionConfig, state: &[u8], now_ms: u64) -> Result<Self> {
        Self::read_over(false, config, state, now_ms)
    }

    /// The same for a target whose TLS, if it has it, ends in the process that has made the state.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub(in crate::stream) fn read_plain(config: &SessionConfig, state: &[u8], now_ms: u64) -> Result<Self> {
        Self::read_over(true, config, state, now_ms)
    }

    fn read_over(is_plain: bool, config: &SessionConfig, state: &[u8], now_ms: u64) -> Result<Self> {
        let state: State<'_> = FORM.decode(state, Self::bytes_max(config))?;
        let name = StreamName::checked(&state.app, &state.key)?;
        let (mut settings, mut known) = (TargetConfig::default(), Settings::default());
        settings.each_setting(|name, value| known.add(name, value));
        settings::apply(state.settings, &known, |name, value| settings.set(name, value))?;
        settings.of_controller = state.of_controller;
        settings.serves(state.pulls)?;
        let endpoint = Endpoint::new(settings.checked()?, &name.key)?;
        let history = state.history.checked(endpoint.urls(), now_ms)?;
        state.counted.check()?;
        if state.connects.max(state.failures) > TRIES {
            return Err(impossible("no target can have tried so often"));
        }
        let way = [(state.url, URL_BYTES), (state.addr, ADDR_BYTES), (state.local_addr, ADDR_BYTES)];
        if way.iter().any(|(text, most)| text.len() > *most || text.contains(char::is_control)) {
            return Err(impossible("an address is too long, or has characters that cannot be shown"));
        }
        let [url, addr, local_addr] = way.map(|(text, _)| text.to_owned());
        let stage = state.stage.checked(config, state.pulls, &endpoint, history.url(), now_ms)?;
        if let (Stage::Pushes(Connected { url, .. }, _) | Stage::Pulls(Connected { url, .. }, _), false) =
            (&stage, is_plain)
            && url.tls
        {
            return Err(impossible("a connection over TLS does not move"));
        }
        let about = About {
            name,
            pulls: state.pulls,
            config: endpoint.config,
            history,
            way: Way { url, addr, local_addr },
            connects: state.connects,
            failures: state.failures,
            error: RRError::from_code(state.error),
            counted: state.counted,
        };
        Ok(Self { about, stage })
    }
}

impl StageState<'_> {
    fn checked(
        self,
        config: &SessionConfig,
        pulls: bool,
        endpoint: &Endpoint,
        index: usize,
        now_ms: u64,
    ) -> Result<Stage> {
        let connected = |snapshot, unread: &[u8]| {
            let connected = Connected::checked(config, endpoint, index, snapshot, unread, now_ms)?;
            let session = &connected.session;
            if pulls != session.plays() || pulls == session.publishes() {
                return Err(impossible("the session does not do what such a target does"));
            }
            Ok(connected)
        };
        Ok(match self {
            Self::Rests => Stage::Pauses(Pause::Rests),
            Self::Waits { ms } if ms <= WAIT_MS => Stage::Pauses(Pause::Waits(ms)),
            Self::Waits { .. } => return Err(impossible("no target waits that long")),
            Self::Failed => Stage::Pauses(Pause::Failed),
            Self::Pushes {
                snapshot,
                unread,
                ran_ms,
                media,
                missing,
                tracks,
                missing_tracks,
                clock,
                place,
                waits,
                unsent,
            } => {
                check_place(place.as_ref())?;
                if (media | missing) & !media::ALL != 0 {
                    return Err(impossible("there are no such kinds of media"));
                }
                if clock.is_some_and(|clock: Zero| !clock.is_possible()) {
                    return Err(impossible("no clock can have come so far"));
                }
                let (tags, paused) = (None, false);
                let share = Share { media, missing, tracks, missing_tracks, clock, tags, paused, place, waits };
                let push = MovedPush { share, unsent: copied(unsent)?, ran_ms: ran_ms.min(COUNT_MAX) };
                Stage::Pushes(connected(snapshot, unread)?, push)
            }
            Self::Pulls { snapshot, unread, ran_ms, via, kept, place, owed } => {
                if via.len() > MAX_VIA_BYTES {
                    return Err(Failure::ours(RRError::Limit, "its media comes through more streams than are allowed"));
                }
                let feed = MovedFeed::checked(&kept, place, &owed)?;
                let pull = MovedPull { feed, via, ran_ms: ran_ms.min(COUNT_MAX) };
                Stage::Pulls(connected(snapshot, unread)?, pull)
            }
        })
    }
}

impl Connected {
    fn checked(
        config: &SessionConfig,
        endpoint: &Endpoint,
        index: usize,
        snapshot: &[u8],
        unread: &[u8],
        now_ms: u64,
    ) -> Result<Self> {
        let chunk_size = endpoint.config.chunk_size;
        let session = ClientSession::restore(&SessionConfig { chunk_size, ..config.clone() }, snapshot, now_ms)?;
        if session.chunk_size() != chunk_size {
            return Err(impossible("another chunk size was announced to its server than the settings have"));
        }
        let (of_host, mut url) = (endpoint.url(index), session.url()?);
        // A server that ours has redirected us to never gets the login.
        if of_host.host == url.host {
            (url.user, url.password) = (of_host.user.clone(), of_host.password.clone());
        }
        if unread.len() > UNREAD_BYTES {
            return Err(Failure::ours(RRError::Limit, "it has more unread bytes than is possible"));
        }
        Ok(Self { session: Box::new(session), url, unread: copied(unread)? })
    }
}

fn impossible(what: &'static str) -> Failure {
    Failure::ours(RRError::Arg, what)
}

#[cfg(any(test, feature = "fuzzing"))]
impl ExportedTarget {
    /// Its state, encoded again.
    pub(crate) fn state(&self, now_ms: u64) -> Result<Vec<u8>> {
        match &self.stage {
            Stage::Pauses(pause) => self.about.paused(*pause, now_ms),
            Stage::Pushes(Connected { session, unread, .. }, push) => {
                self.about.encode(push.stage(&session.snapshot(now_ms)?, unread), now_ms)
            }
            Stage::Pulls(Connected { session, unread, .. }, pull) => {
                self.about.encode(pull.stage(&session.snapshot(now_ms)?, unread), now_ms)
            }
        }
    }
}

#[cfg(test)]
impl ExportedTarget {
    /// A target that pauses so, with settings of every kind.
    pub(crate) fn pausing(pause: Pause) -> Self {
        let config = TargetConfig {
            url: "rtmp://me:secret@192.0.2.1/app".to_owned(),
            key: Some(b"key".to_vec()),
            backup_urls: vec!["rtmp://192.0.2.2/app".to_owned()],
            tracks: u64::MAX,
            from_zero: true,
            retry_fatal: true,
            of_controller: true,
            ..TargetConfig::default()
        };
        let failure = Failure::peers(RRError::Rejected, "no");
        let mut history = Backoff::default();
        let loss = crate::stream::remote::target::backoff::Loss { failure: &failure, ran_ms: 5, now_ms: 7, random: 0 };
        history.after(&config, 2, loss);
        let about = About {
            name: StreamName { app: b"live".to_vec(), key: b"show".to_vec() },
            pulls: false,
            config,
            history,
            way: Way { url: "rtmp://192.0.2.2/app".to_owned(), addr: "192.0.2.2:1935".to_owned(), ..Way::default() },
            connects: 3,
            failures: 4,
            error: Some(RRError::Rejected),
            counted: Counted { bytes_out: 9, started_us: 1, ..Counted::default() },
        };
        Self { about, stage: Stage::Pauses(pause) }
    }

    /// A target with this session.
    pub(crate) fn pushing(session: ClientSession, unread: &[u8]) -> Self {
        let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
        let share = Share {
            media: media::AUDIO,
            missing: media::VIDEO,
            tracks: 1,
            missing_tracks: 2,
            clock: Some(Zero::default()),
            tags: None,
            paused: false,
            place,
            waits: false,
        };
        let push = MovedPush { share, unsent: b"unsent".to_vec(), ran_ms: 5 };
        Self { stage: Stage::Pushes(Connected::of(session, unread), push), ..Self::pausing(Pause::Rests) }
    }

    /// A source with this session.
    pub(crate) fn pulling(session: ClientSession, unread: &[u8]) -> Self {
        let head = MessageHead { type_id: kind::AUDIO, timestamp_ms: 7, len: 2, ..MessageHead::default() };
        let place = Some(LogPlace { log: b"log".to_vec(), position: 9 });
        let feed = MovedFeed { kept: KeptHeaders::default(), place, owed: vec![(head, b"\xaf\x01".to_vec())] };
        let pull = MovedPull { feed, via: b"a,b".to_vec(), ran_ms: 5 };
        let mut source = Self::pausing(Pause::Rests);
        source.about.pulls = true;
        let TargetConfig { url, backup_urls, .. } = source.about.config;
        source.about.config = TargetConfig { on_demand: true, url, backup_urls, ..TargetConfig::default() };
        Self { stage: Stage::Pulls(Connected::of(session, unread), pull), ..source }
    }
}

#[cfg(test)]
impl Connected {
    fn of(session: ClientSession, unread: &[u8]) -> Self {
        let url = session.url().expect("a session's own url");
        Self { session: Box::new(session), url, unread: unread.to_vec() }
    }
}

#[cfg(test)]
mod tests;
