//! What an id is, and its figures. Reads what the owners of things wrote; takes the registry's lock for a moment and
//! disturbs nobody's media.

use std::sync::atomic::Ordering;

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::server::core::Core;
use crate::server::slots::{kind, kind_of};
use crate::session::{Role, State};
use crate::stream::RRStream;
use crate::stream::event::Id;
use crate::stream::peer::RRSession;
use crate::stream::remote::target::{Target, is_tls};
use crate::stream::stats::Counters;

/// What an object is (`rr_info`).
#[derive(Clone, Debug)]
pub struct Info {
    /// The object.
    pub id: Id,
    /// The stream it belongs to; of a stream itself.
    pub stream: Id,
    /// [`kind`] as a number.
    pub kind: u32,
    /// Its state.
    pub state: State,
    /// Why it is in that state, where that is a failure.
    pub error: Option<RRError>,
    /// Of a session or a target.
    pub role: Role,
    /// Whether its connection is encrypted.
    pub tls: bool,
    /// What the peer said of itself at connect.
    pub caps_ex: u32,
    /// Tracks of the stream.
    pub track_count: u32,
    /// Of a target that waits for its next try.
    pub retry_in_ms: u32,
    /// FourCCs of the first tracks.
    pub codecs: [u32; 8],
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
    /// Of a target: where it goes, without the key.
    pub url: String,
    /// What program the peer says it is.
    pub agent: Vec<u8>,
}

/// Figures of a server, stream, session or target (`rr_stats`); see the C header for what each means for which.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the C struct of the same fields has the words, and is the manual")]
pub struct Stats {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub msgs_in: u64,
    pub msgs_out: u64,
    pub audio_bytes: u64,
    pub video_bytes: u64,
    pub data_bytes: u64,
    pub dropped_msgs: u64,
    pub dropped_bytes: u64,
    pub dropped_runs: u64,
    pub queue_bytes: u64,
    pub queue_msgs: u64,
    pub started_us: i64,
    pub last_media_us: i64,
    pub last_ts_ms: i64,
    pub last_key_ts_ms: i64,
    pub queue_ms: u32,
    pub queue_ms_max: u32,
    pub kbps_in: u32,
    pub kbps_out: u32,
    pub audio_kbps: u32,
    pub video_kbps: u32,
    pub fps_milli: u32,
    pub key_interval_ms: u32,
    pub rtt_us: u32,
    pub rtt_var_us: u32,
    pub retransmits: u32,
    pub unacked_bytes: u32,
    pub connects: u32,
    pub failures: u32,
    pub unknown_msgs: u32,
    pub clock_jumps: u32,
    pub sessions: u32,
    pub targets: u32,
}

impl Stats {
    fn of(counters: &Counters, now_us: u64) -> Self {
        let tcp = &counters.tcp;
        tcp.looked_at.store(true, Ordering::Relaxed);
        Self {
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            msgs_in: counters.msgs_in.get(),
            msgs_out: counters.msgs_out.get(),
            audio_bytes: counters.audio_bytes.get(),
            video_bytes: counters.video_bytes.get(),
            data_bytes: counters.data_bytes.get(),
            dropped_msgs: counters.dropped_msgs.get(),
            dropped_bytes: counters.dropped_bytes.get(),
            dropped_runs: counters.dropped_runs.get(),
            queue_bytes: counters.queue_bytes.get(),
            queue_msgs: counters.queue_msgs.get(),
            started_us: counters.started_us,
            last_media_us: counters.last_media_us.load(Ordering::Relaxed),
            last_ts_ms: counters.last_ts_ms.load(Ordering::Relaxed),
            last_key_ts_ms: counters.last_key_ts_ms.load(Ordering::Relaxed),
            queue_ms: small(counters.queue_ms.get()),
            queue_ms_max: small(counters.queue_ms_max.get()),
            kbps_in: counters.rate_in.kbps(now_us),
            kbps_out: counters.rate_out.kbps(now_us),
            audio_kbps: counters.rate_audio.kbps(now_us),
            video_kbps: counters.rate_video.kbps(now_us),
            fps_milli: counters.rate_frames.milli(now_us),
            key_interval_ms: counters.key_interval_ms.load(Ordering::Relaxed),
            rtt_us: tcp.rtt_us.load(Ordering::Relaxed),
            rtt_var_us: tcp.rtt_var_us.load(Ordering::Relaxed),
            retransmits: tcp.retransmits.load(Ordering::Relaxed),
            unacked_bytes: tcp.unacked_bytes.load(Ordering::Relaxed),
            unknown_msgs: small(counters.unknown_msgs.get()),
            clock_jumps: small(counters.clock_jumps.get()),
            ..Self::default()
        }
    }

    /// Adds what can be added, and takes the most of a lag: the figures of many as those of one.
    pub(super) fn add(&mut self, other: &Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.msgs_in += other.msgs_in;
        self.msgs_out += other.msgs_out;
        self.audio_bytes += other.audio_bytes;
        self.video_bytes += other.video_bytes;
        self.data_bytes += other.data_bytes;
        self.dropped_msgs += other.dropped_msgs;
        self.dropped_bytes += other.dropped_bytes;
        self.dropped_runs += other.dropped_runs;
        self.kbps_in = self.kbps_in.saturating_add(other.kbps_in);
        self.kbps_out = self.kbps_out.saturating_add(other.kbps_out);
        self.audio_kbps = self.audio_kbps.saturating_add(other.audio_kbps);
        self.video_kbps = self.video_kbps.saturating_add(other.video_kbps);
        self.unknown_msgs = self.unknown_msgs.saturating_add(other.unknown_msgs);
        self.clock_jumps = self.clock_jumps.saturating_add(other.clock_jumps);
        self.last_media_us = self.last_media_us.max(other.last_media_us);
        self.queue_ms = self.queue_ms.max(other.queue_ms);
        self.queue_ms_max = self.queue_ms_max.max(other.queue_ms_max);
    }
}

/// A figure in the width the C struct has for it.
fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn not_found() -> Failure {
    Failure::ours(RRError::NotFound, "no such id, or it has ended")
}

/// The figures of an id; 0 is the server.
pub(super) fn stats(core: &Core, id: Id) -> Result<Stats> {
    let now_us = clock::now_us();
    if id == 0 {
        return Ok(of_server(core, now_us));
    }
    let registry = core.registry();
    match kind_of(id) {
        kind::STREAM => {
            let stream = registry.streams.get(id).cloned().ok_or_else(not_found)?;
            drop(registry);
            Ok(of_stream(&stream, now_us))
        }
        kind::SESSION => {
            let session = registry.sessions.get(id).cloned().ok_or_else(not_found)?;
            drop(registry);
            Ok(Stats::of(&session.counters, now_us))
        }
        kind::TARGET => {
            let target = registry.targets.get(id).cloned().ok_or_else(not_found)?;
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

/// A stream's figures: in as its publisher sends, out as all its consumers get.
pub(super) fn of_stream(stream: &RRStream, now_us: u64) -> Stats {
    Stats {
        bytes_out: stream.bytes_out.get(),
        msgs_out: stream.msgs_out.get(),
        kbps_out: stream.rate_out.kbps(now_us),
        dropped_msgs: stream.dropped_msgs.get(),
        dropped_bytes: stream.dropped_bytes.get(),
        dropped_runs: stream.dropped_runs.get(),
        queue_bytes: stream.memory(),
        sessions: small(stream.sessions() as u64),
        targets: small((stream.target_count() + stream.sources().len()) as u64),
        ..Stats::of(&stream.counters, now_us)
    }
}

fn of_server(core: &Core, now_us: u64) -> Stats {
    let mut sum = core.past();
    let registry = core.registry();
    let streams: Vec<_> = registry.streams.iter().map(|(_, stream)| std::sync::Arc::clone(stream)).collect();
    let (sessions, targets) = (registry.sessions.len(), registry.targets.len());
    drop(registry);
    for stream in &streams {
        sum.add(&of_stream(stream, now_us));
    }
    Stats {
        sessions: small(sessions as u64),
        targets: small(targets as u64),
        queue_bytes: core.budget.used(),
        started_us: core.started_us,
        ..sum
    }
}

/// What an id is; 0 is the server.
pub(super) fn info(core: &Core, id: Id) -> Result<Info> {
    let registry = core.registry();
    match kind_of(id) {
        _ if id == 0 => {
            drop(registry);
            Ok(Info { kind: kind::SERVER.into(), state: core.state(), user: core.config.user, ..nothing(id) })
        }
        kind::STREAM => {
            let stream = registry.streams.get(id).cloned().ok_or_else(not_found)?;
            drop(registry);
            Ok(info_of_stream(&stream))
        }
        kind::SESSION => {
            let session = registry.sessions.get(id).cloned().ok_or_else(not_found)?;
            drop(registry);
            Ok(info_of_session(&session))
        }
        kind::TARGET => {
            let target = registry.targets.get(id).cloned().ok_or_else(not_found)?;
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
        user: 0,
        app: Vec::new(),
        key: Vec::new(),
        addr: String::new(),
        local_addr: String::new(),
        url: String::new(),
        agent: Vec::new(),
    }
}

fn info_of_stream(stream: &RRStream) -> Info {
    let tracks = stream.tracks.list();
    let mut codecs = [0; 8];
    for (place, track) in codecs.iter_mut().zip(&tracks) {
        *place = track.codec;
    }
    Info {
        stream: stream.id,
        state: stream.state(),
        // Nothing but a panic fails a stream.
        error: (stream.state() == State::Failed).then_some(RRError::Panic),
        track_count: small(tracks.len() as u64),
        codecs,
        user: stream.config.user,
        app: stream.name.app.clone(),
        key: stream.name.key.clone(),
        ..nothing(stream.id)
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
        ..nothing(session.id)
    }
}

fn info_of_target(target: &Target) -> Info {
    let (plan, way) = (target.plan(), target.way());
    let next_try_ms = target.next_try_ms.load(Ordering::Relaxed);
    let url = if way.url.is_empty() { plan.url(0).tc_url() } else { way.url };
    Info {
        stream: target.stream.id,
        state: target.state(),
        error: target.last_error(),
        role: target.role,
        tls: is_tls(&url),
        retry_in_ms: small(next_try_ms.saturating_sub(clock::now_ms())),
        user: plan.config.user,
        app: target.stream.name.app.clone(),
        key: target.stream.name.key.clone(),
        addr: way.addr,
        local_addr: way.local_addr,
        url,
        ..nothing(target.id)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl super::RRServer {
    /// For tests and fuzzers: dead once nothing of the server is left.
    pub(crate) fn life(&self) -> std::sync::Weak<dyn std::fmt::Debug> {
        let core: std::sync::Arc<dyn std::fmt::Debug> = std::sync::Arc::<Core>::clone(&self.core);
        std::sync::Arc::downgrade(&core)
    }
}
