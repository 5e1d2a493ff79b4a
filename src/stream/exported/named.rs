//! The names of a session that goes on in another process.

use minicbor::{Decode, Encode};

use crate::error::Result;
use crate::stream::name::StreamName;
use crate::stream::record::{Names, RRSession};

/// The names of a session that has a stream, of which its `connect` does not tell.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Named {
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(super) app: Vec<u8>,
    #[n(1)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(super) key: Vec<u8>,
    #[n(2)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(super) key_asked: Vec<u8>,
    #[n(3)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(super) query: Vec<u8>,
}

impl Named {
    /// The names of a session that plays this stream as its newest. Where the session's own names are those of another
    /// request, one that is asked about or over, they are not these.
    pub(in crate::stream) fn of_player(record: &RRSession, stream: &StreamName) -> Self {
        let named = Self::of(record);
        if named.stream() == *stream {
            return named;
        }
        let (app, key, query) = (stream.app.clone(), stream.key.clone(), record.names().app_query);
        Self { app, key, key_asked: Vec::new(), query }
    }

    /// The names of a session.
    pub(in crate::stream) fn of(record: &RRSession) -> Self {
        let Names { app, key, key_asked, query, .. } = record.names();
        Self { app, key, key_asked, query }
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        let [app, key, key_asked, query] = [&b"live"[..], b"show", b"key", b"token=1"].map(<[u8]>::to_vec);
        Self { app, key, key_asked, query }
    }

    /// Refuses names that no session with a stream can have.
    pub(super) fn check(&self) -> Result<()> {
        let Self { app, key, key_asked, query } = self;
        // What was asked for, and the arguments, name nothing here: they may have parts that no name may have.
        StreamName::fits(key_asked).and_then(|()| StreamName::fits(query))?;
        StreamName::checked(app, key).map(drop)
    }

    /// The stream's name.
    pub(crate) fn stream(&self) -> StreamName {
        StreamName { app: self.app.clone(), key: self.key.clone() }
    }

    /// Gives a session these names.
    pub(crate) fn note(self, record: &RRSession) {
        let Self { app, key, key_asked, query } = self;
        record.rename(|names| (names.app, names.key, names.key_asked, names.query) = (app, key, key_asked, query));
    }
}
