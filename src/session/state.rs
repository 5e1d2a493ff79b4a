//! The states and roles of everything that has one, with the numbers of the C API.

/// `RR_STATE_*`: one set of states for servers, streams, sessions, targets and sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum State {
    /// No object.
    #[default]
    None = 0,
    /// Nothing to do yet; or, for a session, no more.
    Idle = 1,
    /// A server that listens and has no session.
    Accepting = 2,
    /// Resolving, TCP, TLS.
    Connecting = 3,
    /// Handshake and commands up to publish or play.
    Handshake = 4,
    /// For an answer of the host, for a publisher, for a key frame.
    Waiting = 5,
    /// Media flows.
    InProgress = 6,
    /// Lost, and expected back.
    Recovering = 7,
    /// Finishing.
    Stopping = 8,
    /// Ended in good order; final.
    Stopped = 9,
    /// Ended by an error; may be started again where that makes sense.
    Failed = 10,
}

impl State {
    /// All states in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Idle,
        Self::Accepting,
        Self::Connecting,
        Self::Handshake,
        Self::Waiting,
        Self::InProgress,
        Self::Recovering,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
    ];

    /// The number of the C API.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The state of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The name without its prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Idle => "IDLE",
            Self::Accepting => "ACCEPTING",
            Self::Connecting => "CONNECTING",
            Self::Handshake => "HANDSHAKE",
            Self::Waiting => "WAITING",
            Self::InProgress => "IN_PROGRESS",
            Self::Recovering => "RECOVERING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether `next` may follow; streams, targets and servers make no other move. Everything can fail or be stopped;
    /// beyond that each state has its followers, those of all kinds of objects together.
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Accepting, Connecting, Failed, Handshake, Idle, InProgress, None, Recovering, Stopped, Stopping, Waiting,
        };
        match (self, next) {
            (Stopped, _) | (_, None) => false,
            (None, _) => true,
            (Stopping, Stopped | Failed) => true,
            (Stopping, _) => false,
            (Failed, Idle | Connecting | Stopping | Stopped) => true,
            (Failed, _) => false,
            (_, Stopping | Stopped | Failed) => true,
            (Idle, Accepting | Connecting | Waiting | InProgress) => true,
            (Accepting, Idle | InProgress) => true,
            (Connecting, Idle | Handshake | InProgress | Recovering) => true,
            // A server may send us elsewhere at any time, and a stream's media may end while its target connects.
            (Handshake, Idle | Connecting | Waiting | InProgress | Recovering) => true,
            (Waiting, Idle | Handshake | InProgress | Recovering) => true,
            (InProgress, Idle | Accepting | Connecting | Handshake | Waiting | Recovering) => true,
            (Recovering, Idle | Connecting | Handshake | Waiting | InProgress) => true,
            _ => false,
        }
    }
}

/// A session's role in its stream (`RR_ROLE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum Role {
    /// Not known yet.
    #[default]
    None = 0,
    /// Feeds the stream.
    Publisher = 1,
    /// Would feed it, if the publisher left.
    Standby = 2,
    /// Was connected to us and takes the stream.
    Player = 3,
    /// We connected to it and push the stream.
    Target = 4,
    /// We connected to it and pull the stream.
    Source = 5,
}

impl Role {
    /// The number of the C API.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Publisher => "publisher",
            Self::Standby => "standby",
            Self::Player => "player",
            Self::Target => "target",
            Self::Source => "source",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_c_api_and_found_again() {
        for (number, state) in (0..).zip(State::ALL) {
            assert_eq!((state.number(), State::from_number(number)), (number, Some(state)));
        }
        assert_eq!(State::from_number(11), None);
        assert_eq!((State::InProgress.number(), State::InProgress.name()), (6, "IN_PROGRESS"));
        assert_eq!((Role::Source.number(), Role::Source.name()), (5, "source"));
    }

    #[test]
    fn a_running_object_can_fail_or_stop_and_a_stopped_one_stays_stopped() {
        for state in State::ALL {
            assert!(!state.may_become(State::None));
            assert!(!State::Stopped.may_become(state));
            if state != State::Stopped {
                assert!(state.may_become(State::Stopped), "{}", state.name());
            }
        }
        assert!(!State::Stopping.may_become(State::InProgress));
        assert!(State::Failed.may_become(State::Idle), "a failed stream can be started again");
        assert!(State::Recovering.may_become(State::InProgress) && State::Recovering.may_become(State::Connecting));
        assert!(!State::Idle.may_become(State::Recovering));
    }
}
