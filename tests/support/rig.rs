//! A server with one stream that the test feeds, and its events.

#![allow(dead_code, reason = "each test program uses a part")]

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "threading.rs"]
mod threading;
#[path = "wait.rs"]
mod wait;

use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};
use rrelay::server::{Event, EventKind, Id, LevelFilter, RRServer, flag};
use rrelay::session::State;

use threading::{spread, threaded};
pub(crate) use wait::{PATIENCE, until};

pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;

/// A key frame with `n` in its body, of `len` bytes.
pub(crate) fn key_frame(n: u32, len: usize) -> Vec<u8> {
    frame(0x17, n, len)
}

/// A frame that needs others.
pub(crate) fn inter_frame(n: u32, len: usize) -> Vec<u8> {
    frame(0x27, n, len)
}

fn frame(first: u8, n: u32, len: usize) -> Vec<u8> {
    let filling = (0..len as u32).map(|at| at.wrapping_mul(31).wrapping_add(n) as u8);
    [&[first, 1, 0, 0, 0][..], &n.to_be_bytes(), &filling.collect::<Vec<_>>()].concat()
}

pub(crate) const VIDEO_HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f];
pub(crate) const AUDIO_HEADER: &[u8] = &[0xaf, 0, 0x12, 0x10];

/// An AAC frame with `n` in it.
pub(crate) fn sound(n: u32) -> Vec<u8> {
    [&[0xaf, 1][..], &n.to_be_bytes(), &[0x21; 40]].concat()
}

/// A push that is tried again soon.
pub(crate) fn push(url: &str) -> TargetConfig {
    TargetConfig {
        url: url.to_owned(),
        retry_min_ms: 40,
        retry_max_ms: 200,
        retry_jitter_pct: 0,
        ..TargetConfig::default()
    }
}

pub(crate) struct Rig {
    pub(crate) server: RRServer,
    pub(crate) stream: Id,
    /// All events so far.
    pub(crate) events: Vec<Event>,
    /// Video frames so far.
    pub(crate) frames: u32,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(StreamConfig::default())
    }

    pub(crate) fn with(config: StreamConfig) -> Self {
        let server = RRServer::new(threaded(ServerConfig::default()), LevelFilter::Off, None).unwrap();
        let stream = server.stream_create(b"live", b"show", Some(spread(config))).unwrap();
        Self { server, stream, events: Vec::new(), frames: 0 }
    }

    pub(crate) fn write(&self, type_id: u8, ts_ms: u32, body: &[u8]) {
        self.server.stream_write(self.stream, type_id, ts_ms.into(), body, false).unwrap();
    }

    /// Writes headers and a key frame at this time, so that there is a join point.
    pub(crate) fn begin(&mut self, ts_ms: u32) {
        self.write(VIDEO, ts_ms, VIDEO_HEADER);
        self.write(AUDIO, ts_ms, AUDIO_HEADER);
        self.frame(ts_ms, 1_000);
    }

    /// One video frame, every tenth a key frame.
    pub(crate) fn frame(&mut self, ts_ms: u32, len: usize) -> Vec<u8> {
        let make = if self.frames.is_multiple_of(10) { key_frame } else { inter_frame };
        let body = make(self.frames, len);
        self.frames += 1;
        self.write(VIDEO, ts_ms, &body);
        body
    }

    pub(crate) fn take_events(&mut self) {
        // After a shut-down the last call gives an error.
        while let Ok(Some(event)) = self.server.next_event(0) {
            self.events.push(event);
        }
    }

    /// The events of one target about a change of its state.
    pub(crate) fn moves(&mut self, target: Id) -> Vec<Event> {
        self.take_events();
        let of = |event: &&Event| event.target == target && event.kind == EventKind::Target;
        self.events.iter().filter(of).cloned().collect()
    }

    pub(crate) fn states(&mut self, target: Id) -> Vec<State> {
        self.moves(target).iter().map(|event| event.state).collect()
    }

    /// Waits until the target has been in this state, and gives the event.
    pub(crate) fn wait_for(&mut self, target: Id, state: State) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.moves(target).into_iter().find(|event| event.state == state) {
                return event;
            }
            assert!(Instant::now() < deadline, "not {state:?}: {:?}", self.moves(target));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the target has reached this state so many times.
    pub(crate) fn wait_times(&mut self, target: Id, state: State, times: usize) {
        let count = |states: Vec<State>| states.iter().filter(|&&now| now == state).count() >= times;
        until(&format!("{state:?} {times} times"), || count(self.states(target)).then_some(()));
    }

    /// The number of the target's events that end its id.
    pub(crate) fn lasts(&mut self, target: Id) -> usize {
        self.moves(target).iter().filter(|event| event.flags & flag::LAST != 0).count()
    }
}
