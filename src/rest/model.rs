//! Servers, streams, sessions and targets as JSON. The values come from `server::report`, and the C header explains
//! them. Keys are shown whole, because a client with the token may also end and change the streams.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::path;
use crate::error::{RRError, Result};
use crate::server::figures::Stats;
use crate::server::report::Info;
use crate::server::slots::kind;
use crate::server::{ListenOptions, Listening, RRServer};
use crate::stream::RRStream;
use crate::stream::event::{Event, Id, flag};

/// An id as text: many programs lose the low bits of large numbers in JSON.
pub(crate) fn id_text(id: Id) -> String {
    id.to_string()
}

/// TCP's round-trip time to the stream's publisher, if there is one and it is known.
pub(crate) fn publisher_rtt_us(server: &RRServer, stream: &RRStream) -> Option<u32> {
    let publisher = stream.book().publisher_id()?;
    server.stats(publisher).ok().map(|stats| stats.rtt_us).filter(|&rtt_us| rtt_us > 0)
}

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stream<'a> {
    /// Its id.
    pub(crate) id: String,
    /// The stream's path below `/v1/streams/`: application and key, percent-encoded. Exact even if they are not UTF-8.
    #[schema(example = "live/show")]
    pub(crate) path: String,
    /// Application.
    pub(crate) app: String,
    /// Stream key.
    pub(crate) key: String,
    /// `IN_PROGRESS`, `IDLE` ...
    pub(crate) state: &'static str,
    /// The error of a failed stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'static str>,
    /// FourCCs of its tracks, eight at most.
    #[schema(example = json!(["avc1", "mp4a"]))]
    pub(crate) codecs: Vec<String>,
    /// Width of its pictures in pixels, 0 while it is not known.
    pub(crate) width: u32,
    /// Height of its pictures in pixels, 0 while it is not known.
    pub(crate) height: u32,
    /// Audio samples per second, 0 while the rate is not known.
    pub(crate) sample_rate: u32,
    /// Audio channels.
    pub(crate) channels: u8,
    /// Sessions on it.
    #[schema(value_type = Vec<Session>)]
    pub(crate) sessions: Each<'a, Session>,
    /// Targets and sources.
    #[schema(value_type = Vec<Target>)]
    pub(crate) targets: Each<'a, Target>,
    /// Its figures.
    pub(crate) stats: Stats,
}

/// A session: a connection that a peer opened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: String,
    /// The stream's id, `0` for none.
    pub(crate) stream: String,
    /// `publisher`, `standby`, `player` or `none`.
    pub(crate) role: &'static str,
    /// Its state.
    pub(crate) state: &'static str,
    /// Application.
    pub(crate) app: String,
    /// Stream key.
    pub(crate) key: String,
    /// The peer's address.
    pub(crate) addr: String,
    /// Our address.
    pub(crate) local_addr: String,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// The program that the peer claims to be; the first 512 bytes.
    pub(crate) agent: String,
    /// Its figures.
    pub(crate) stats: Stats,
}

/// A target or a source: a connection that the relay opens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Target {
    /// Its id.
    pub(crate) id: String,
    /// The stream's id.
    pub(crate) stream: String,
    /// `target` or `source`.
    pub(crate) role: &'static str,
    /// Its state.
    pub(crate) state: &'static str,
    /// Its last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'static str>,
    /// The error's sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_text: Option<&'static str>,
    /// The url in use, without key and login.
    pub(crate) url: String,
    /// The end of its key, by which people tell targets of one server apart, behind `***` for the rest. A key under
    /// sixteen bytes is hidden whole.
    #[schema(example = "***x7Qk")]
    pub(crate) key: String,
    /// The server's address.
    pub(crate) addr: String,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// Time until the next try, in ms.
    pub(crate) retry_in_ms: u32,
    /// Its figures.
    pub(crate) stats: Stats,
}

/// An event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Told {
    /// `server`, `stream`, `session` or `target`: its state changed. `connect_ask`, `publish_ask`, `play_ask`: a peer
    /// waits for the host's decision. `wanted`, `unwatched`: players have come to a stream without a publisher, or have
    /// left it. `tracks`, `slow`, `clock`, `reconnect`, `next`: as RR_EV_TRACKS and so on.
    pub(crate) kind: &'static str,
    /// When, in microseconds since 1970.
    pub(crate) time_us: i64,
    /// The object's state now.
    pub(crate) state: &'static str,
    /// Its state before.
    pub(crate) prev: &'static str,
    /// The error, if something failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'static str>,
    /// The error's sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_text: Option<&'static str>,
    /// Text for people.
    pub(crate) text: String,
    /// This is the last event of its object; the id ends with it.
    pub(crate) last: bool,
    /// Whether the peer caused it.
    pub(crate) by_peer: bool,
    /// The stream's id, `0` for none.
    pub(crate) stream: String,
    /// The session's id, `0` for none.
    pub(crate) session: String,
    /// The target's or source's id, `0` for none.
    pub(crate) target: String,
    /// The role of the session or target at the stream.
    pub(crate) role: &'static str,
    /// The action of the controller's answer (only `next`): `relay`, `pull`, `reject`, `wait`, or `none` if it has not
    /// answered.
    pub(crate) action: &'static str,
    /// Depends on the kind: milliseconds to the next try, dropped messages, the clock's jump in ms ...
    pub(crate) value: i64,
    /// Application.
    pub(crate) app: String,
    /// Stream key.
    pub(crate) key: String,
    /// The peer's address.
    pub(crate) addr: String,
    /// The url of a target, without key and login.
    pub(crate) url: String,
}

/// The server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Server {
    /// The library's version.
    pub(crate) version: &'static str,
    /// Its state.
    pub(crate) state: &'static str,
    /// Number of streams.
    pub(crate) streams: usize,
    /// The listening sockets for media, in the order in which they were opened.
    pub(crate) listeners: Vec<Listener>,
    /// Sums over all streams.
    pub(crate) stats: Stats,
}

/// A listening socket for media.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Listener {
    /// `rtmp`, `rtmps`, or `http` and `https` for players over HTTP.
    pub(crate) scheme: &'static str,
    /// The address that it is bound to.
    #[schema(example = "0.0.0.0")]
    pub(crate) address: String,
    /// Its port.
    pub(crate) port: u16,
    /// Each connection must begin with a balancer's PROXY header, so only balancers can connect.
    pub(crate) proxy: bool,
}

/// A FourCC as text, with `?` for bytes that are not visible.
pub(crate) fn fourcc(codec: u32) -> String {
    let shown = |byte: u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
    codec.to_be_bytes().into_iter().map(shown).collect()
}

/// Text of a peer, with replacement characters for what is not UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

pub(crate) fn server(server: &RRServer) -> Result<Server> {
    Ok(Server {
        version: env!("CARGO_PKG_VERSION"),
        state: server.info(0)?.state.name(),
        streams: server.list(0, kind::STREAM)?.len(),
        listeners: server.listeners().into_iter().map(listener).collect(),
        stats: server.stats(0)?,
    })
}

fn listener(listening: Listening) -> Listener {
    Listener {
        scheme: scheme(listening.options),
        address: listening.address.ip().to_string(),
        port: listening.address.port(),
        proxy: listening.options.proxy,
    }
}

/// The scheme of such a listener's urls.
pub(crate) fn scheme(options: ListenOptions) -> &'static str {
    match (options.http, options.tls) {
        (false, false) => "rtmp",
        (false, true) => "rtmps",
        (true, false) => "http",
        (true, true) => "https",
    }
}

/// The part of a list that is wanted; without any of these, all of it. An object that is there all the time is in exactly one
/// of the parts, and one that ends meanwhile takes no other's place.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// The list goes on behind the object with this id, in the order of ids: the last one of the part before. `0` begins.
    #[param(value_type = Option<String>)]
    after: Option<Id>,
    /// Most objects, in the order of ids. Fewer are the end of the list.
    #[param(value_type = Option<u32>, minimum = 1)]
    limit: Option<NonZeroU32>,
}

impl Part {
    /// Sorts the objects of a list by id, and takes out those before the part.
    fn begin<T>(self, list: &mut Vec<T>, id: fn(&T) -> Id) {
        if self.after.is_none() && self.limit.is_none() {
            return;
        }
        list.sort_unstable_by_key(id);
        let before = list.partition_point(|one| id(one) <= self.after.unwrap_or(0));
        list.drain(..before);
    }

    fn most(self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.get() as usize)
    }
}

/// Objects that are made one after another while their list is written, so that the list needs no memory but that of
/// its text. Objects that end meanwhile are left out.
#[derive(Debug)]
pub(crate) struct Each<'a, T> {
    server: &'a RRServer,
    /// The object's ids, each behind that of its stream.
    ids: &'a [(Id, Id)],
    /// How many are written at most.
    most: usize,
    of: fn(Info, Stats) -> T,
}

impl<T: Serialize> Serialize for Each<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let one = |&(_, id): &(Id, Id)| Some((self.of)(self.server.info(id).ok()?, self.server.stats(id).ok()?));
        serializer.collect_seq(self.ids.iter().filter_map(one).take(self.most))
    }
}

/// The ids of objects of a kind, sorted by stream: of one stream, or of all, where they are listed once, because listing
/// those of one stream visits all of them.
#[derive(Debug)]
pub(crate) struct ByStream<'a> {
    server: &'a RRServer,
    ids: Vec<(Id, Id)>,
}

impl<'a> ByStream<'a> {
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn new(server: &'a RRServer, parent: Id, kind: u8) -> Result<Self> {
        Ok(Self { server, ids: server.list_by_stream(parent, kind)? })
    }

    /// The ids of those of one stream, each behind the stream's.
    pub(crate) fn of(&self, stream: Id) -> &[(Id, Id)] {
        let begin = self.ids.partition_point(|&(of, _)| of < stream);
        let rest = &self.ids[begin..];
        &rest[..rest.partition_point(|&(of, _)| of == stream)]
    }

    fn each<T>(&self, stream: Id, of: fn(Info, Stats) -> T) -> Each<'_, T> {
        Each { server: self.server, ids: self.of(stream), most: usize::MAX, of }
    }
}

/// Sessions, targets and sources, of one stream or of all, by their streams.
#[derive(Debug)]
pub(crate) struct Peers<'a> {
    server: &'a RRServer,
    sessions: ByStream<'a>,
    targets: ByStream<'a>,
}

impl<'a> Peers<'a> {
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn of(server: &'a RRServer, parent: Id) -> Result<Self> {
        let by_stream = |kind| ByStream::new(server, parent, kind);
        Ok(Self { server, sessions: by_stream(kind::SESSION)?, targets: by_stream(kind::TARGET)? })
    }

    /// A stream with those that it has.
    ///
    /// # Errors
    /// [`RRError::NotFound`] if it has ended.
    pub(crate) fn stream(&self, id: Id) -> Result<Stream<'_>> {
        let peers = (self.sessions.each(id, session_of), self.targets.each(id, target_of));
        Ok(stream_of(self.server.info(id)?, self.server.stats(id)?, peers))
    }
}

/// All streams.
#[derive(Debug)]
pub(crate) struct Streams<'a> {
    ids: Vec<Id>,
    peers: Peers<'a>,
    part: Part,
}

impl<'a> Streams<'a> {
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn new(server: &'a RRServer, part: Part) -> Result<Self> {
        let mut ids = server.list(0, kind::STREAM)?;
        part.begin(&mut ids, |&id| id);
        Ok(Self { ids, peers: Peers::of(server, 0)?, part })
    }
}

impl Serialize for Streams<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ids.iter().filter_map(|&id| self.peers.stream(id).ok()).take(self.part.most()))
    }
}

/// The objects of a kind, of one stream or of all.
#[derive(Debug)]
pub(crate) struct Listed<'a, T> {
    all: ByStream<'a>,
    part: Part,
    of: fn(Info, Stats) -> T,
}

impl<T: Serialize> Serialize for Listed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Each { server: self.all.server, ids: &self.all.ids, most: self.part.most(), of: self.of }.serialize(serializer)
    }
}

/// The sessions of the server.
///
/// # Errors
/// [`RRError::NoMem`].
pub(crate) fn sessions(server: &RRServer, part: Part) -> Result<Listed<'_, Session>> {
    let mut all = ByStream::new(server, 0, kind::SESSION)?;
    part.begin(&mut all.ids, |&(_, id)| id);
    Ok(Listed { all, part, of: session_of })
}

/// Targets and sources of a stream.
///
/// # Errors
/// [`RRError::NoMem`].
pub(crate) fn targets(server: &RRServer, stream: Id) -> Result<Listed<'_, Target>> {
    Ok(Listed { all: ByStream::new(server, stream, kind::TARGET)?, part: Part::default(), of: target_of })
}

/// One session.
pub(crate) fn session(server: &RRServer, id: Id) -> Result<Session> {
    Ok(session_of(server.info(id)?, server.stats(id)?))
}

/// One target or source.
pub(crate) fn target(server: &RRServer, id: Id) -> Result<Target> {
    Ok(target_of(server.info(id)?, server.stats(id)?))
}

fn stream_of<'a>(info: Info, stats: Stats, (sessions, targets): (Each<'a, Session>, Each<'a, Target>)) -> Stream<'a> {
    let listed = usize::try_from(info.track_count).unwrap_or(usize::MAX);
    Stream {
        id: id_text(info.id),
        path: path::of_stream(&info.app, &info.key),
        app: text(info.app),
        key: text(info.key),
        state: info.state.name(),
        error: info.error.map(RRError::name),
        codecs: info.codecs.iter().take(listed).map(|&codec| fourcc(codec)).collect(),
        width: info.video.map_or(0, |video| video.width),
        height: info.video.map_or(0, |video| video.height),
        sample_rate: info.audio.map_or(0, |audio| audio.sample_rate),
        channels: info.audio.map_or(0, |audio| audio.channels),
        sessions,
        targets,
        stats,
    }
}

fn session_of(info: Info, stats: Stats) -> Session {
    Session {
        id: id_text(info.id),
        stream: id_text(info.stream),
        role: info.role.name(),
        state: info.state.name(),
        app: text(info.app),
        key: text(info.key),
        addr: info.addr,
        local_addr: info.local_addr,
        tls: info.tls,
        agent: text(info.agent),
        stats,
    }
}

fn target_of(info: Info, stats: Stats) -> Target {
    Target {
        id: id_text(info.id),
        stream: id_text(info.stream),
        role: info.role.name(),
        state: info.state.name(),
        error: info.error.map(RRError::name),
        error_text: info.error.map(RRError::sentence),
        url: crate::mask::mask_url(&info.url),
        key: info.key_end,
        addr: info.addr,
        tls: info.tls,
        retry_in_ms: info.retry_in_ms,
        stats,
    }
}

pub(crate) fn told(event: &Event) -> Told {
    Told {
        kind: event.kind.name(),
        time_us: event.time_us,
        state: event.state.name(),
        prev: event.prev.name(),
        error: event.error.map(RRError::name),
        error_text: event.error.map(RRError::sentence),
        text: text(event.text.clone()),
        last: event.flags & flag::LAST != 0,
        by_peer: event.flags & flag::BY_PEER != 0,
        stream: id_text(event.stream),
        session: id_text(event.session),
        target: id_text(event.target),
        role: event.role.name(),
        action: event.action.name(),
        value: event.value,
        app: text(event.app.clone()),
        key: text(event.key.clone()),
        addr: text(event.addr.clone()),
        url: crate::mask::mask_url(&String::from_utf8_lossy(&event.url)),
    }
}
