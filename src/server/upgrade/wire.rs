//! The messages of a hand-over, over a unix socket.
//!
//! The new process sends HELLO as soon as it is ready to take over. The old one answers HELLO, then sends records
//! (LISTENER, STREAM, SESSION, TARGET), each with its descriptor, then END. The new one answers READY, with which it
//! has all that was offered, or, at any time, REFUSED. A HELLO lists the records that its sender can read; what the
//! other side cannot read is not sent.
//!
//! Where streams have processes of their own, ISOLATED is in the place of STREAM and of the sessions and targets that the
//! worker has. If there is a worker, its description (REPORTs), its pidfd (PROCESS) and the channel to it (CHANNEL)
//! follow, and with the last it is complete.

use minicbor::{Decode, Encode};

use crate::config::ListenOptions;
use crate::error::{Failure, RRError, Result};
use crate::proto::cbor::Form;
use crate::stream::exported;
use crate::stream::process::adoption;

/// Numbers of the messages, and of the records among them.
pub(super) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const END: u8 = 2;
    pub(crate) const READY: u8 = 3;
    pub(crate) const REFUSED: u8 = 4;
    pub(crate) const LISTENER: u8 = 16;
    pub(crate) const STREAM: u8 = 17;
    pub(crate) const SESSION: u8 = 18;
    pub(crate) const TARGET: u8 = 19;
    pub(crate) const ISOLATED: u8 = 20;
    pub(crate) const REPORT: u8 = 21;
    pub(crate) const PROCESS: u8 = 22;
    pub(crate) const CHANNEL: u8 = 23;
}

/// The records that this library reads, each with its newest version.
const RECORDS: [(u8, u16); 5] = [
    (kind::LISTENER, LISTENER.version),
    (kind::STREAM, exported::stream::VERSION),
    (kind::SESSION, exported::VERSION),
    (kind::TARGET, exported::target::VERSION),
    (kind::ISOLATED, adoption::VERSION),
];

const HELLO: Form = Form { magic: b"RRup", version: 1, name: "the greeting of a hand-over" };

const LISTENER: Form = Form { magic: b"RRls", version: 1, name: "a listening socket's record" };

const REFUSAL: Form = Form { magic: b"RRno", version: 1, name: "a refusal" };

/// Most bytes of a message that is no record, and of a listener's.
const SMALL_BYTES: usize = 16 * 1024;

/// Longest reason of a refusal.
const TEXT_BYTES: usize = 1024;

/// Most bytes of a message of this kind; `session` and `target` are those of their states.
pub(super) fn bytes_max(kind: u8, session: usize, target: usize) -> usize {
    match kind {
        kind::STREAM => exported::stream::BYTES_MAX,
        kind::SESSION => session,
        kind::TARGET => target,
        kind::ISOLATED => adoption::BYTES_MAX,
        kind::REPORT => adoption::report_bytes(session.max(target)),
        _ => SMALL_BYTES,
    }
}

#[derive(Debug, Encode, Decode)]
struct Reads {
    #[n(0)]
    kind: u8,
    #[n(1)]
    version: u16,
}

/// The greeting of each side.
#[derive(Debug, Encode, Decode)]
pub(super) struct Hello {
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::list")]
    reads: Vec<Reads>,
}

impl Hello {
    /// The greeting of this library, for a server whose streams run in processes of their own, or in its own.
    pub(super) fn ours(is_isolated: bool) -> Result<Vec<u8>> {
        let other = if is_isolated { kind::STREAM } else { kind::ISOLATED };
        let records = RECORDS.into_iter().filter(|(kind, _)| *kind != other);
        HELLO.encode(&Self { reads: records.map(|(kind, version)| Reads { kind, version }).collect() })
    }

    pub(super) fn read(body: &[u8]) -> Result<Self> {
        HELLO.decode(body, SMALL_BYTES)
    }

    /// Whether its sender reads the records of this kind that this library writes.
    pub(super) fn reads(&self, kind: u8) -> bool {
        let ours = RECORDS.iter().find(|(ours, _)| *ours == kind);
        ours.is_some_and(|(_, version)| self.reads.iter().any(|reads| reads.kind == kind && reads.version >= *version))
    }

    /// Whether its sender takes workers over that speak as those of this library: a newer one may speak otherwise.
    pub(super) fn takes_workers(&self) -> bool {
        self.reads.iter().any(|reads| reads.kind == kind::ISOLATED && reads.version == adoption::VERSION)
    }
}

#[derive(Debug, Encode, Decode)]
struct ListenerState {
    #[n(0)]
    proxy: bool,
    #[n(1)]
    tls: bool,
    #[n(2)]
    http: bool,
    #[n(3)]
    reuse_port: bool,
}

/// The record of a listening socket.
pub(super) fn listener(options: ListenOptions) -> Result<Vec<u8>> {
    let ListenOptions { reuse_port, proxy, tls, http } = options;
    LISTENER.encode(&ListenerState { proxy, tls, http, reuse_port })
}

/// The options of a listening socket's record.
pub(super) fn listen_options(body: &[u8]) -> Result<ListenOptions> {
    let ListenerState { proxy, tls, http, reuse_port } = LISTENER.decode(body, SMALL_BYTES)?;
    Ok(ListenOptions { reuse_port, proxy, tls, http })
}

#[derive(Debug, Encode, Decode)]
struct RefusalState<'a> {
    #[n(0)]
    code: i32,
    #[b(1)]
    text: &'a str,
}

/// The message by which a side says why it does not go on.
pub(super) fn refusal(failure: &Failure) -> Result<Vec<u8>> {
    let text: String = failure.text.chars().take(TEXT_BYTES / char::MAX.len_utf8()).collect();
    REFUSAL.encode(&RefusalState { code: failure.kind.code(), text: &text })
}

/// What the other side says in a refusal.
pub(super) fn refused(body: &[u8], who: &str) -> Failure {
    let state: Result<RefusalState<'_>> = REFUSAL.decode(body, SMALL_BYTES);
    let (code, text) = state.as_ref().map_or((0, "without a reason"), |state| (state.code, state.text));
    let text: String = text.chars().filter(|one| !one.is_control()).collect();
    let kind = RRError::from_code(code).unwrap_or(RRError::Rejected);
    Failure::peers(kind, format!("{who} refused: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_says_what_its_sender_reads() {
        let ours = Hello::read(&Hello::ours(false).unwrap()).unwrap();
        assert!([kind::LISTENER, kind::STREAM, kind::SESSION, kind::TARGET].iter().all(|&kind| ours.reads(kind)));
        assert!(!ours.reads(kind::END) && !ours.reads(99) && !ours.takes_workers());
        let isolated = Hello::read(&Hello::ours(true).unwrap()).unwrap();
        assert!(isolated.takes_workers() && isolated.reads(kind::TARGET) && !isolated.reads(kind::STREAM));
        let other = Hello { reads: vec![Reads { kind: kind::ISOLATED, version: adoption::VERSION + 1 }] };
        assert!(!other.takes_workers());
        let older = Hello { reads: vec![Reads { kind: kind::SESSION, version: exported::VERSION - 1 }] };
        assert!(!older.reads(kind::SESSION) && !older.reads(kind::STREAM));
        let newer = Hello { reads: vec![Reads { kind: kind::SESSION, version: u16::MAX }] };
        assert!(newer.reads(kind::SESSION));
        assert_eq!(Hello::read(b"RRup").unwrap_err().kind, RRError::Arg);
    }

    #[test]
    fn a_listener_keeps_its_options_and_a_refusal_its_reason() {
        let options = ListenOptions { reuse_port: true, proxy: false, tls: true, http: true };
        assert_eq!(listen_options(&listener(options).unwrap()), Ok(options));
        let failure = Failure::ours(RRError::Limit, "max_sessions (1) is reached");
        let said = refused(&refusal(&failure).unwrap(), "the successor");
        assert_eq!((said.kind, &*said.text), (RRError::Limit, "the successor refused: max_sessions (1) is reached"));
        assert_eq!(refused(b"garbage", "the successor").kind, RRError::Rejected);
    }
}
