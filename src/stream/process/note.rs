//! What a server knows of a session from its opening, as a note that goes with the session to the worker: another process
//! that takes the worker over makes its record of the session from it.

use minicbor::{Decode, Encode};

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::proto::cbor::Form;
use crate::stream::name::StreamName;
use crate::stream::record::{Names, RRSession};
use crate::stream::stats::Counters;

const FORM: Form = Form { magic: b"RRsn", version: 1, name: "a session's note" };

/// Most bytes of a note.
const BYTES: usize = 128 * 1024;

/// Longest address for people.
const ADDR_BYTES: usize = 1024;

#[derive(Debug, Default, Encode, Decode)]
struct State<'a> {
    #[b(0)]
    addr: &'a str,
    #[b(1)]
    local_addr: &'a str,
    #[n(2)]
    tls: bool,
    /// When the session began, wall clock.
    #[n(3)]
    started_us: i64,
    /// Its names, in the order of [`texts`].
    #[n(4)]
    #[cbor(with = "crate::proto::cbor::list")]
    names: Vec<Text>,
    #[n(5)]
    has_app_given: bool,
    #[n(6)]
    caps_ex: u32,
}

#[derive(Debug, Encode, Decode)]
#[cbor(transparent)]
struct Text(
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    Vec<u8>,
);

/// What is known of a session from its opening.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::stream) struct Note {
    pub(in crate::stream) addr: String,
    pub(in crate::stream) local_addr: String,
    pub(in crate::stream) tls: bool,
    pub(in crate::stream) names: Names,
    started_us: i64,
}

impl Note {
    /// What is known of this session.
    pub(super) fn of(record: &RRSession) -> Self {
        Self {
            addr: shown(&record.addr),
            local_addr: shown(&record.local_addr),
            tls: record.tls(),
            names: record.names(),
            started_us: record.counters.started_us,
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let Self { addr, local_addr, tls, names, started_us } = self;
        let (has_app_given, caps_ex) = (names.app_given.is_some(), names.caps_ex);
        let mut names = names.clone();
        let texts = texts(&mut names).map(|text| Text(std::mem::take(text)));
        FORM.encode(&State {
            addr,
            local_addr,
            tls: *tls,
            started_us: *started_us,
            names: texts.into(),
            has_app_given,
            caps_ex,
        })
    }

    /// The note in these bytes, of a session of this stream.
    ///
    /// # Errors
    /// [`RRError::Arg`], [`RRError::Version`] and [`RRError::Limit`] for what no session has.
    pub(super) fn read(bytes: &[u8], stream: &StreamName) -> Result<Self> {
        let impossible = |what: &'static str| Failure::ours(RRError::Arg, what);
        let state: State<'_> = FORM.decode(bytes, BYTES)?;
        let addrs = [state.addr, state.local_addr];
        if addrs.iter().any(|addr| addr.len() > ADDR_BYTES || addr.contains(char::is_control)) {
            return Err(impossible("an address is too long, or has characters that cannot be shown"));
        }
        if state.started_us < 0 {
            return Err(impossible("no session began before the clock"));
        }
        let mut names = Names { caps_ex: state.caps_ex, ..Names::default() };
        let places = texts(&mut names);
        if state.names.len() != places.len() {
            return Err(impossible("a session has other names"));
        }
        for (place, Text(text)) in places.into_iter().zip(state.names) {
            StreamName::fits(&text)?;
            *place = text;
        }
        names.app_given = names.app_given.filter(|_| state.has_app_given);
        if (&names.app, &names.key) != (&stream.app, &stream.key) {
            return Err(impossible("a session is of another stream than its worker"));
        }
        Ok(Self {
            addr: state.addr.to_owned(),
            local_addr: state.local_addr.to_owned(),
            tls: state.tls,
            names,
            started_us: state.started_us,
        })
    }

    /// Counters that begin when the session did.
    pub(super) fn counters(&self) -> Counters {
        Counters::new(self.started_us.min(clock::wall_us()))
    }
}

/// The texts among the names of a session whose media comes from a peer.
fn texts(names: &mut Names) -> [&mut Vec<u8>; 11] {
    let Names { app, app_given, key, key_asked, app_query, query, agent, tc_url, tc_query, page_url, swf_url, .. } =
        names;
    let given = app_given.get_or_insert_default();
    [app, given, key, key_asked, app_query, query, agent, tc_url, tc_query, page_url, swf_url]
}

/// The part of an address that goes along.
fn shown(addr: &str) -> String {
    let end = (0..=ADDR_BYTES.min(addr.len())).rev().find(|&end| addr.is_char_boundary(end));
    addr.get(..end.unwrap_or(0)).unwrap_or_default().chars().filter(|one| !one.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_again_and_one_of_another_stream_is_refused() {
        let record = RRSession::new(7, "192.0.2.7:4711".to_owned(), None, "192.0.2.1:1935".to_owned());
        record.set_tls(true);
        let text = |text: &str| text.as_bytes().to_vec();
        for app_given in [None, Some(text("given"))] {
            record.rename(|names| {
                *names = Names {
                    app: text("live"),
                    app_given: app_given.clone(),
                    key: text("show"),
                    key_asked: text("asked"),
                    app_query: text("a=1"),
                    query: text("b=2"),
                    agent: text("agent"),
                    tc_url: text("rtmp://192.0.2.1/live"),
                    tc_query: text("c=3"),
                    page_url: text("page"),
                    swf_url: text("swf"),
                    caps_ex: 7,
                    via: Vec::new(),
                };
            });
            let (note, name) = (Note::of(&record), |key| StreamName { app: text("live"), key: text(key) });
            let bytes = note.encode().unwrap();
            assert_eq!(Note::read(&bytes, &name("show")), Ok(note.clone()));
            assert_eq!((note.names, note.tls), (record.names(), true));
            assert_eq!(Note::read(&bytes, &name("other")).unwrap_err().kind, RRError::Arg);
            assert_eq!(Note::read(&bytes[..bytes.len() - 1], &name("show")).unwrap_err().kind, RRError::Arg);
        }
    }
}
