//! The one error type of the crate: a kind with a stable number, and a sentence for people.
//!
//! Errors come from input: whatever arrives from the network or over the C ABI and cannot be accepted becomes an error.
//! A panic is a bug.

use std::borrow::Cow;
use std::fmt;

/// Kinds of errors, with the numbers of the C API (`RR_ERR_*`). Numbers are grouped by origin and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum RRError {
    /// An argument is NULL, out of range or malformed.
    Arg = -1,
    /// A struct, or the state of a session, is newer than this library and uses something unknown to it.
    Version = -2,
    /// The call is not possible in the object's present state.
    State = -3,
    /// There is no such stream, session, target or server, or its id has ended.
    NotFound = -4,
    /// The object exists already.
    Exists = -5,
    /// There is nothing to do now; try again later. This is not a failure.
    Again = -6,
    /// Memory could not be allocated.
    NoMem = -7,
    /// A configured limit was reached.
    Limit = -8,
    /// The call is not allowed in this thread.
    Thread = -9,
    /// This build does not have that feature.
    Unsupported = -10,
    /// A bug in this library: a panic was caught.
    Panic = -11,
    /// The object or the connection is closed.
    Closed = -12,
    /// The process in which the stream ran has ended.
    Worker = -13,
    /// A deadline passed.
    Timeout = -20,
    /// A socket failed.
    Io = -21,
    /// A name could not be resolved.
    Resolve = -22,
    /// No connection could be made.
    Connect = -23,
    /// TLS failed.
    Tls = -24,
    /// The certificate was not accepted.
    Cert = -25,
    /// The RTMP handshake failed.
    Handshake = -30,
    /// The peer broke the protocol.
    Protocol = -31,
    /// Authentication was refused.
    Auth = -32,
    /// The peer (or the host) refused the request.
    Rejected = -33,
    /// Another publisher took over.
    TakenOver = -34,
    /// The peer was too slow for too long.
    Slow = -35,
    /// The peer was silent for too long.
    Idle = -36,
    /// The host closed it.
    Kicked = -37,
    /// The configured number or time of tries is used up.
    GiveUp = -38,
    // Last added: GiveUp = -38.
}

impl RRError {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 28] = [
        Self::Arg,
        Self::Version,
        Self::State,
        Self::NotFound,
        Self::Exists,
        Self::Again,
        Self::NoMem,
        Self::Limit,
        Self::Thread,
        Self::Unsupported,
        Self::Panic,
        Self::Closed,
        Self::Worker,
        Self::Timeout,
        Self::Io,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Cert,
        Self::Handshake,
        Self::Protocol,
        Self::Auth,
        Self::Rejected,
        Self::TakenOver,
        Self::Slow,
        Self::Idle,
        Self::Kicked,
        Self::GiveUp,
    ];

    /// The number of the C API, always below zero.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The kind with this number of the C API.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name in the C API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arg => "RR_ERR_ARG",
            Self::Version => "RR_ERR_VERSION",
            Self::State => "RR_ERR_STATE",
            Self::NotFound => "RR_ERR_NOT_FOUND",
            Self::Exists => "RR_ERR_EXISTS",
            Self::Again => "RR_ERR_AGAIN",
            Self::NoMem => "RR_ERR_NOMEM",
            Self::Limit => "RR_ERR_LIMIT",
            Self::Thread => "RR_ERR_THREAD",
            Self::Unsupported => "RR_ERR_UNSUPPORTED",
            Self::Panic => "RR_ERR_PANIC",
            Self::Closed => "RR_ERR_CLOSED",
            Self::Worker => "RR_ERR_WORKER",
            Self::Timeout => "RR_ERR_TIMEOUT",
            Self::Io => "RR_ERR_IO",
            Self::Resolve => "RR_ERR_RESOLVE",
            Self::Connect => "RR_ERR_CONNECT",
            Self::Tls => "RR_ERR_TLS",
            Self::Cert => "RR_ERR_CERT",
            Self::Handshake => "RR_ERR_HANDSHAKE",
            Self::Protocol => "RR_ERR_PROTOCOL",
            Self::Auth => "RR_ERR_AUTH",
            Self::Rejected => "RR_ERR_REJECTED",
            Self::TakenOver => "RR_ERR_TAKEN_OVER",
            Self::Slow => "RR_ERR_SLOW",
            Self::Idle => "RR_ERR_IDLE",
            Self::Kicked => "RR_ERR_KICKED",
            Self::GiveUp => "RR_ERR_GIVE_UP",
        }
    }

    /// One sentence for people, without a full stop.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Arg => "invalid argument",
            Self::Version => "newer than this library",
            Self::State => "not possible in this state",
            Self::NotFound => "not found, or ended",
            Self::Exists => "exists already",
            Self::Again => "nothing to do now, try again",
            Self::NoMem => "out of memory",
            Self::Limit => "a configured limit was reached",
            Self::Thread => "not allowed from this thread",
            Self::Unsupported => "not supported by this build",
            Self::Panic => "internal error (a panic was caught)",
            Self::Closed => "closed",
            Self::Worker => "the process of the stream has ended",
            Self::Timeout => "timed out",
            Self::Io => "input/output error",
            Self::Resolve => "the name could not be resolved",
            Self::Connect => "no connection could be made",
            Self::Tls => "TLS failed",
            Self::Cert => "the certificate was not accepted",
            Self::Handshake => "the RTMP handshake failed",
            Self::Protocol => "the peer broke the protocol",
            Self::Auth => "authentication was refused",
            Self::Rejected => "refused",
            Self::TakenOver => "another publisher took over",
            Self::Slow => "too slow for too long",
            Self::Idle => "silent for too long",
            Self::Kicked => "closed by the host",
            Self::GiveUp => "gave up after the configured tries",
        }
    }

    /// Whether another try makes sense for a target that ended with this error (API rule "retriable or not").
    pub fn retriable(self) -> bool {
        matches!(
            self,
            Self::Again
                | Self::NoMem
                | Self::Limit
                | Self::Closed
                | Self::Worker
                | Self::Timeout
                | Self::Io
                | Self::Resolve
                | Self::Connect
                | Self::Handshake
                | Self::Slow
                | Self::Idle
        )
    }
}

/// An error with its detail: programs act on the kind, the text explains it to people, and `by_peer` says whose fault
/// it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of error.
    pub kind: RRError,
    /// The detail, for people: what happened and what to do about it.
    pub text: Cow<'static, str>,
    /// True if the peer caused it (by its bytes, its answer, or its leaving).
    pub by_peer: bool,
    /// True if it concerns a stream at the peer, which may begin at any time, and not the connection.
    pub absent: bool,
}

/// The result of fallible functions of this crate.
pub type Result<T> = std::result::Result<T, Failure>;

// Making a failure is cold and a call of its own, so that the code before and after the checks is dense.
impl Failure {
    /// A failure on our side or the host's.
    #[cold]
    #[inline(never)]
    pub fn ours(kind: RRError, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into(), by_peer: false, absent: false }
    }

    /// A failure the peer caused.
    #[cold]
    #[inline(never)]
    pub fn peers(kind: RRError, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into(), by_peer: true, absent: false }
    }

    /// The peer broke the protocol.
    #[cold]
    pub fn protocol(text: impl Into<Cow<'static, str>>) -> Self {
        Self::peers(RRError::Protocol, text)
    }

    /// The peer exceeded one of our limits.
    #[cold]
    pub fn limit(text: impl Into<Cow<'static, str>>) -> Self {
        Self::peers(RRError::Limit, text)
    }

    /// A system call failed.
    #[cold]
    pub fn io(what: &str, error: &std::io::Error) -> Self {
        Self::ours(RRError::Io, format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return f.write_str(self.kind.sentence());
        }
        write!(f, "{}: {}", self.kind.sentence(), self.text)
    }
}

impl std::error::Error for Failure {}

impl From<RRError> for Failure {
    #[cold]
    fn from(kind: RRError) -> Self {
        Self::ours(kind, "")
    }
}

/// A copy of bytes whose number a peer decides.
///
/// # Errors
/// [`RRError::NoMem`] if there is no memory; a plain copy would then end the process.
pub fn copied(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    let none = |_| Failure::ours(RRError::NoMem, format!("no memory for {} bytes", bytes.len()));
    copy.try_reserve_exact(bytes.len()).map_err(none)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_found_again() {
        for kind in RRError::ALL {
            assert_eq!(RRError::from_code(kind.code()), Some(kind));
            assert!(kind.code() < 0 && !kind.sentence().is_empty());
        }
        assert_eq!(RRError::from_code(0), None);
    }
}
