//! The states and roles of everything that has one, with the numbers of the C API.

/// `RR_STATE_*`: one set of states for servers, streams, sessions, targets and sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum State {
    /// There is no object.
    #[default]
    None = 0,
    /// Nothing to do yet; for a session also: nothing to do any more.
    Idle = 1,
    /// The server listens and has no session.
    Accepting = 2,
    /// Looks up the name, connects by TCP, sets up TLS.
    Connecting = 3,
    /// Does the handshake and the commands up to publish or play.
    Handshake = 4,
    /// Waits for an answer of the host, for a publisher, or for a key frame.
    Waiting = 5,
    /// Media flows.
    InProgress = 6,
    /// The connection is lost and expected back.
    Recovering = 7,
    /// Is about to end.
    Stopping = 8,
    /// Ended normally; final.
    Stopped = 9,
    /// Ended by an error; some objects can be started again.
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

    /// The state with this number.
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

    /// Whether `next` may follow this state; streams, targets and servers make no other move. Everything can fail or be
    /// stopped. Beyond that, each state lists its followers, for all kinds of objects together.
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
            // A stream that comes from another process waits for its publisher.
            (Idle, Accepting | Connecting | Waiting | InProgress | Recovering) => true,
            (Accepting, Idle | InProgress) => true,
            (Connecting, Idle | Handshake | InProgress | Recovering) => true,
            // A server may redirect us at any time, and a stream's media may end while its target connects.
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
    /// The role is not known yet.
    #[default]
    None = 0,
    /// Feeds the stream.
    Publisher = 1,
    /// Would feed the stream if the publisher left.
    Standby = 2,
    /// Opened the connection and takes the stream.
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
        assert!(!State::Idle.may_become(State::Handshake));
    }
}
