//! A stream's state and its deadline. Each change of the state and its event happen under one lock. The front, not this
//! module, carries out the steps of a stream's end.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::net::clock;
use crate::session::State;
use crate::stream::event::{Event, EventKind};
use crate::stream::identity::Identity;
use crate::sync::locked;

/// No end is set.
const NEVER: u64 = u64::MAX;

/// The state and the deadline of one stream. Any thread may call its methods.
#[derive(Debug)]
pub(crate) struct Life {
    stream: Arc<Identity>,
    state: AtomicU32,
    /// Held from the check of the state to the event of its change, so that events come in the order of the changes.
    moving: Mutex<()>,
    /// When the stream must have ended, monotonic ms; `NEVER` while it runs.
    stop_by_ms: AtomicU64,
    /// The server ends it.
    over: AtomicBool,
}

impl Life {
    /// The life of a stream that is idle.
    pub(in crate::stream) fn new(stream: Arc<Identity>) -> Self {
        let state = AtomicU32::new(State::Idle.number());
        Self {
            stream,
            state,
            moving: Mutex::default(),
            stop_by_ms: AtomicU64::new(NEVER),
            over: AtomicBool::new(false),
        }
    }

    /// The state.
    pub(crate) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::None)
    }

    /// An event about the stream, with all its fields filled in.
    pub(crate) fn event(&self, kind: EventKind) -> Event {
        let state = self.state();
        let name = self.stream.name();
        Event {
            stream: self.stream.id(),
            user: self.stream.config().user,
            app: name.app.clone(),
            key: name.key.clone(),
            ..Event::new(kind).moved(state, state)
        }
    }

    /// Sends an event of this kind about the stream.
    pub(in crate::stream) fn tell(&self, kind: EventKind) {
        self.stream.tell(self.event(kind));
    }

    /// Changes the state and sends the event. A stream that has stopped stays stopped.
    pub(crate) fn move_to(&self, state: State, change: impl FnOnce(Event) -> Event) {
        self.move_if(|_| true, state, change);
    }

    /// Changes the state if `from` is true for the present one and the move is legal. The check, the change and the
    /// event are one step: no other change or event of this stream comes between.
    fn move_if(&self, from: impl FnOnce(State) -> bool, state: State, change: impl FnOnce(Event) -> Event) {
        let _moving = locked(&self.moving);
        let prev = self.state();
        if prev == state || !prev.may_become(state) || !from(prev) {
            return;
        }
        self.state.store(state.number(), Ordering::Release);
        // This only queues the event; no code of the host runs under the lock.
        self.stream.tell(change(self.event(EventKind::Stream).moved(prev, state)));
    }

    fn move_from(&self, from: &[State], state: State) {
        self.move_if(|prev| from.contains(&prev), state, |event| event);
    }

    /// Notes that a source is being opened for a stream without media, or no longer.
    pub(in crate::stream) fn opening(&self, on: bool) {
        let (from, to) = if on { (State::Idle, State::Connecting) } else { (State::Connecting, State::Idle) };
        self.move_from(&[from], to);
    }

    /// Notes that media comes. It costs one load if media has come before.
    pub(in crate::stream) fn flows(&self) {
        if self.state() != State::InProgress {
            self.move_from(&[State::Idle, State::Connecting, State::Recovering], State::InProgress);
        }
    }

    /// Notes that the publisher is lost and may come back, that another one takes over, or that it is to come from
    /// another process.
    pub(in crate::stream) fn recovers(&self) {
        self.move_from(&[State::InProgress, State::Idle], State::Recovering);
    }

    /// Notes that no media is expected.
    pub(in crate::stream) fn rests(&self) {
        self.move_from(&[State::Connecting, State::InProgress, State::Recovering], State::Idle);
    }

    /// Sets the end to at most `deadline_ms` from now; true the first time.
    pub(in crate::stream) fn stop(&self, deadline_ms: u64) -> bool {
        let by = clock::now_ms().saturating_add(deadline_ms).min(NEVER - 1);
        self.stop_by_ms.fetch_min(by, Ordering::AcqRel) == NEVER
    }

    /// Notes that the end has begun.
    pub(in crate::stream) fn stopping(&self) {
        self.move_if(|prev| !matches!(prev, State::Failed | State::Stopped), State::Stopping, |event| event);
    }

    /// When the stream must have ended, monotonic ms; `None` while it runs.
    pub(crate) fn stop_by_ms(&self) -> Option<u64> {
        Some(self.stop_by_ms.load(Ordering::Acquire)).filter(|&at| at != NEVER)
    }

    /// Notes that the server ends the stream, which one of its tasks has left; whether that is known.
    pub(crate) fn note_over(&self) -> bool {
        self.over.swap(true, Ordering::AcqRel)
    }

    /// Whether the server ends it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Whether the end has begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop_by_ms().is_some()
    }
}
