//! The facts and figures of an id. This module reads what the owners of the objects have written; it takes the
//! registry's lock only briefly and does not delay media.

use std::sync::atomic::Ordering;

use crate::error::{Failure, RRError, Result};
use crate::mask::mask_start;
use crate::net::clock;
use crate::proto::codec_config::{AudioConfig, VideoConfig};
use crate::proto::message;
use crate::server::core::Core;
use crate::server::figures::{Stats, of_stream, small};
use crate::server::slots::{kind, kind_of};
use crate::session::{Role, State};
use crate::stream::RRStream;
use crate::stream::event::Id;
use crate::stream::record::RRSession;
use crate::stream::remote::target::{Target, is_tls};

/// The facts of an object (`rr_info`).
#[derive(Clone, Debug)]
pub struct Info {
    /// The object.
    pub id: Id,
    /// The stream that the object belongs to; for a stream, its own id.
    pub stream: Id,
    /// [`kind`] as a number.
    pub kind: u32,
    /// The object's state.
    pub state: State,
    /// The error behind its state, if there is one.
    pub error: Option<RRError>,
    /// What a session or a target does.
    pub role: Role,
    /// Whether the object's connection is encrypted.
    pub tls: bool,
    /// The peer's fields of `connect`.
    pub caps_ex: u32,
    /// Tracks of the stream.
    pub track_count: u32,
    /// How long a target still waits for its next try, in milliseconds.
    pub retry_in_ms: u32,
    /// FourCCs of the first tracks.
    pub codecs: [u32; 8],
    /// FourCC of a stream's lowest video track; 0 while it has none.
    pub video_codec: u32,
    /// FourCC of a stream's lowest audio track; 0 while it has none.
    pub audio_codec: u32,
    /// A stream's pictures, according to the sequence header of its lowest video track.
    pub video: Option<VideoConfig>,
    /// A stream's sound, according to the sequence header of its lowest audio track.
    pub audio: Option<AudioConfig>,
    /// The host's pointer.
    pub user: usize,
    /// Application.
    pub app: Vec<u8>,
    /// Stream key.
    pub key: Vec<u8>,
    /// The peer's address.
    pub addr: String,
    /// Our address.
    pub local_addr: String,
    /// The url of a target, without the key.
    pub url: String,
    /// The end of the key with which a target pushes or a source pulls, the rest of it masked.
    pub key_end: String,
    /// The program that the peer claims to be.
    pub agent: Vec<u8>,
    /// The page that it says it is on.
    pub page_url: Vec<u8>,
    /// The file that it says it is.
    pub swf_url: Vec<u8>,
    /// The arguments (`?args`) of a session.
    pub query: Vec<u8>,
}

fn not_found() -> Failure {
    Failure::ours(RRError::NotFound, "no such id, or it has ended")
}

/// The figures of an id; 0 is the server.
pub(super) fn stats(core: &Core, id: Id) -> Result<Stats> {
    let now_us = clock::now_us();
    if id == 0 {
        return of_server(core, now_us);
    }
    let registry = core.registry();
    match kind_of(id) {
        kind::STREAM => {
            let stream = registry.streams.find(id).cloned()?;
            drop(registry);
            Ok(of_stream(&stream, now_us))
        }
        kind::SESSION => {
            let session = registry.sessions.find(id).cloned()?;
            drop(registry);
            Ok(Stats::of(&session.counters, now_us))
        }
        kind::TARGET => {
            let target = registry.targets.find(id).cloned()?;
            drop(registry);
            Ok(Stats {
                connects: target.connects.load(Ordering::Relaxed),
                failures: target.failures.load(Ordering::Relaxed),
                ..Stats::of(&target.counters, now_us)
            })
        }
        _ => Err(not_found()),
    }
}

fn of_server(core: &Core, now_us: u64) -> Result<Stats> {
    let registry = core.registry();
    let mut sum = core.past();
    let streams = registry.streams.all()?;
    let (sessions, targets) = (registry.sessions.len(), registry.targets.len());
    drop(registry);
    for stream in &streams {
        sum.add(&of_stream(stream, now_us));
    }
    Ok(Stats {
        sessions: small(sessions as u64),
        targets: small(targets as u64),
        queue_bytes: core.budget.used(),
        started_us: core.started_us,
        ..sum
    })
}

/// The facts of an object; the id 0 is the server.
pub(super) fn info(core: &Core, id: Id) -> Result<Info> {
    let registry = core.registry();
    match kind_of(id) {
        _ if id == 0 => {
            drop(registry);
            Ok(Info { kind: kind::SERVER.into(), state: core.state(), user: core.config.user, ..nothing(id) })
        }
        kind::STREAM => {
            let stream = registry.streams.find(id).cloned()?;
            drop(registry);
            Ok(info_of_stream(&stream))
        }
        kind::SESSION => {
            let session = registry.sessions.find(id).cloned()?;
            drop(registry);
            Ok(info_of_session(&session))
        }
        kind::TARGET => {
            let target = registry.targets.find(id).cloned()?;
            drop(registry);
            Ok(info_of_target(&target))
        }
        _ => Err(not_found()),
    }
}

fn nothing(id: Id) -> Info {
    Info {
        id,
        stream: 0,
        kind: kind_of(id).into(),
        state: State::None,
        error: None,
        role: Role::None,
        tls: false,
        caps_ex: 0,
        track_count: 0,
        retry_in_ms: 0,
        codecs: [0; 8],
        video_codec: 0,
        audio_codec: 0,
        video: None,
        audio: None,
        user: 0,
        app: Vec::new(),
        key: Vec::new(),
        addr: String::new(),
        local_addr: String::new(),
        url: String::new(),
        key_end: String::new(),
        agent: Vec::new(),
        page_url: Vec::new(),
        swf_url: Vec::new(),
        query: Vec::new(),
    }
}

fn info_of_stream(stream: &RRStream) -> Info {
    let tracks = stream.ingest().tracks().list();
    // The tracks come sorted by number.
    let lowest = |type_id| tracks.iter().find(|track| track.type_id == type_id).map_or(0, |track| track.codec);
    let configs = stream.ingest().tracks().configs();
    let mut codecs = [0; 8];
    for (place, track) in codecs.iter_mut().zip(&tracks) {
        *place = track.codec;
    }
    Info {
        stream: stream.id(),
        state: stream.state(),
        // Only a panic makes a stream fail.
        error: (stream.state() == State::Failed).then_some(RRError::Panic),
        track_count: small(tracks.len() as u64),
        codecs,
        video_codec: lowest(message::kind::VIDEO),
        audio_codec: lowest(message::kind::AUDIO),
        video: configs.video(),
        audio: configs.audio(),
        user: stream.config().user,
        app: stream.name().app.clone(),
        key: stream.name().key.clone(),
        ..nothing(stream.id())
    }
}

fn info_of_session(session: &RRSession) -> Info {
    let names = session.names();
    Info {
        stream: session.stream(),
        state: session.state(),
        role: session.role(),
        tls: session.tls(),
        caps_ex: names.caps_ex,
        user: session.user(),
        app: names.app,
        key: names.key,
        addr: session.addr.clone(),
        local_addr: session.local_addr.clone(),
        url: String::from_utf8_lossy(&names.tc_url).into_owned(),
        agent: names.agent,
        page_url: names.page_url,
        swf_url: names.swf_url,
        query: names.query,
        ..nothing(session.id)
    }
}

fn info_of_target(target: &Target) -> Info {
    let (endpoint, way) = (target.endpoint(), target.way());
    let next_try_ms = target.next_try_ms.load(Ordering::Relaxed);
    let url = if way.url.is_empty() { endpoint.url(0).tc_url() } else { way.url };
    Info {
        stream: target.stream().id(),
        state: target.state(),
        error: target.last_error(),
        role: target.role,
        tls: is_tls(&url),
        retry_in_ms: small(next_try_ms.saturating_sub(clock::now_ms())),
        user: endpoint.config.user,
        app: target.stream().name().app.clone(),
        key: target.stream().name().key.clone(),
        addr: way.addr,
        local_addr: way.local_addr,
        url,
        key_end: mask_start(&endpoint.url(0).key),
        ..nothing(target.id)
    }
}

/// Ids of everything below `parent` (0: the server) of one kind.
///
/// # Errors
/// [`RRError::NoMem`]; there may be tens of thousands.
pub(super) fn list(core: &Core, parent: Id, wanted: u8) -> Result<Vec<Id>> {
    gather(core, wanted, |stream, id| (parent == 0 || stream == parent).then_some(id))
}

/// The ids of everything of one kind below `parent`, each behind the id of its stream, sorted by stream.
///
/// # Errors
/// [`RRError::NoMem`].
#[cfg(feature = "rest")]
pub(super) fn by_stream(core: &Core, parent: Id, wanted: u8) -> Result<Vec<(Id, Id)>> {
    let mut found = gather(core, wanted, |stream, id| (parent == 0 || stream == parent).then_some((stream, id)))?;
    // A stable sort would need memory of its own.
    found.sort_unstable();
    Ok(found)
}

/// What `of` makes of the ids of all objects of one kind and of their streams.
fn gather<T>(core: &Core, wanted: u8, of: impl Fn(Id, Id) -> Option<T>) -> Result<Vec<T>> {
    let registry = core.registry();
    let mut found = Vec::new();
    let mut add = |most: usize, all: &mut dyn Iterator<Item = (Id, Id)>| {
        found.try_reserve_exact(most).map_err(|_| Failure::from(RRError::NoMem))?;
        found.extend(all.filter_map(|(stream, id)| of(stream, id)));
        Ok::<_, Failure>(())
    };
    match wanted {
        kind::STREAM => add(registry.streams.len(), &mut registry.streams.iter().map(|(id, _)| (id, id)))?,
        kind::SESSION => {
            let sessions = &registry.sessions;
            add(sessions.len(), &mut sessions.iter().map(|(id, session)| (session.stream(), id)))?;
        }
        kind::TARGET => {
            let targets = &registry.targets;
            add(targets.len(), &mut targets.iter().map(|(id, target)| (target.stream().id(), id)))?;
        }
        _ => {}
    }
    Ok(found)
}
