//! The state of the server itself: IDLE, ACCEPTING and IN_PROGRESS follow its listeners and sessions, until it stops.

use std::sync::atomic::Ordering;

use crate::error::Failure;
use crate::server::core::Core;
use crate::server::listening::Listening;
use crate::session::State;
use crate::stream::event::{Event, EventKind};

impl Core {
    pub(super) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::None)
    }

    /// Adds a listener to the list.
    pub(super) fn listens(&self, listening: Listening) {
        self.listening.add(listening);
        self.update_state();
    }

    /// Updates the state from the number of listeners and sessions; called when one has come or gone.
    pub(super) fn update_state(&self) {
        // The registry stays locked meanwhile, so that of two threads with a change each, the one that sees both
        // changes sets the state last.
        let registry = self.registry();
        let to = if !registry.sessions.is_empty() {
            State::InProgress
        } else if self.listening.any() {
            State::Accepting
        } else {
            State::Idle
        };
        let from = self.state();
        let runs = matches!(from, State::Idle | State::Accepting | State::InProgress);
        if runs
            && from != to
            && self.state.compare_exchange(from.number(), to.number(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            self.events.push(self.moved(from, to));
        }
    }

    /// Moves the server's state towards its end.
    pub(super) fn move_to(&self, to: State, failure: Option<&Failure>) {
        let legal = |from| State::from_number(from).filter(|from| from.may_become(to)).map(|_| to.number());
        if let Ok(from) = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, legal) {
            let event = self.moved(State::from_number(from).unwrap_or_default(), to);
            self.events.push(match failure {
                Some(failure) => event.because(failure),
                None => event,
            });
        }
    }

    fn moved(&self, from: State, to: State) -> Event {
        Event { user: self.config.user, ..Event::new(EventKind::Server).moved(from, to) }
    }
}
