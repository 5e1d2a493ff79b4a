//! The newest headers of a publisher, metadata and sequence headers. They go out before its messages when these begin
//! in another log: after a standby has taken over, or in another process.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::error::{Failure, RRError, Result, copied};
use crate::proto::message::{MessageHead, kind};
use crate::stream::ingest::Incoming;

/// Headers kept: metadata and one sequence header for each track of a rich multitrack encoder.
const MAX_KEPT: usize = 32;

/// Most bytes of all these headers together.
pub(in crate::stream) const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// A header of a publisher: its key and its content.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    head: MessageHead,
    metadata: bool,
    track: u8,
    body: Bytes,
}

/// The headers of one publisher, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KeptHeaders {
    list: Vec<Kept>,
    has_video: bool,
}

/// The kept headers in the form for another process.
#[derive(Debug, Encode, Decode)]
pub(in crate::stream) struct KeptState<'a> {
    #[b(0)]
    #[cbor(with = "crate::proto::cbor::list")]
    list: Vec<HeaderState<'a>>,
    #[n(1)]
    has_video: bool,
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(in crate::stream) struct HeaderState<'a> {
    #[n(0)]
    pub(in crate::stream) type_id: u8,
    #[b(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(in crate::stream) body: &'a [u8],
}

impl<'a> HeaderState<'a> {
    /// The header as a message that comes at this time.
    ///
    /// # Errors
    /// [`RRError::Arg`] where it is none.
    pub(in crate::stream) fn message(&self, timestamp_ms: u32, now_us: u64) -> Result<Incoming<'a>> {
        let len = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        let head = MessageHead { type_id: self.type_id, timestamp_ms, len, ..MessageHead::default() };
        let message = Incoming::new(head, self.body, now_us);
        if message.is_header() { Ok(message) } else { Err(Failure::ours(RRError::Arg, "a header is none")) }
    }
}

impl KeptHeaders {
    /// Looks at a message. True where the publisher could begin with it: a key frame, or any sound of a publisher without
    /// pictures.
    pub(in crate::stream) fn look(&mut self, message: &Incoming<'_>) -> bool {
        let type_id = message.head.type_id;
        self.has_video |= type_id == kind::VIDEO;
        if message.is_header() {
            self.keep(message);
            return false;
        }
        match type_id {
            kind::VIDEO => message.facts.key,
            kind::AUDIO => !self.has_video,
            _ => false,
        }
    }

    #[cold]
    fn keep(&mut self, message: &Incoming<'_>) {
        let (head, body) = (message.head, message.body);
        let (metadata, track) = (message.facts.metadata, message.facts.track);
        let same = |kept: &Kept| (kept.head.type_id, kept.metadata, kept.track) == (head.type_id, metadata, track);
        // Many encoders send theirs again before each key frame: that costs a comparison.
        if self.list.iter().any(|kept| same(kept) && kept.body == body) {
            return;
        }
        self.list.retain(|kept| !same(kept));
        let used: usize = self.list.iter().map(|kept| kept.body.len()).sum();
        if self.list.len() < MAX_KEPT && used + body.len() <= MAX_KEPT_BYTES {
            self.list.push(Kept { head, metadata, track, body: Bytes::copy_from_slice(body) });
        }
    }

    /// The headers, with the time of the message that follows.
    pub(in crate::stream) fn before(&self, next: &Incoming<'_>) -> impl Iterator<Item = Incoming<'_>> {
        let (timestamp_ms, now_us) = (next.head.timestamp_ms, next.now_us);
        self.list.iter().map(move |kept| Incoming::new(MessageHead { timestamp_ms, ..kept.head }, &kept.body, now_us))
    }

    /// The headers for another process.
    pub(in crate::stream) fn state(&self) -> KeptState<'_> {
        let list = self.list.iter().map(|kept| HeaderState { type_id: kept.head.type_id, body: &kept.body }).collect();
        KeptState { list, has_video: self.has_video }
    }

    /// The headers of another process.
    ///
    /// # Errors
    /// [`RRError::Arg`] for what is no header, [`RRError::Limit`] for more than are kept, [`RRError::NoMem`].
    pub(in crate::stream) fn from_state(state: &KeptState<'_>) -> Result<Self> {
        let used: usize = state.list.iter().map(|header| header.body.len()).sum();
        if state.list.len() > MAX_KEPT || used > MAX_KEPT_BYTES {
            return Err(Failure::ours(RRError::Limit, "a publisher has more headers than are kept"));
        }
        let mut list = Vec::new();
        for header in &state.list {
            let message = header.message(0, 0)?;
            let (head, metadata, track) = (message.head, message.facts.metadata, message.facts.track);
            let same = |kept: &Kept| (kept.head.type_id, kept.metadata, kept.track) == (head.type_id, metadata, track);
            if list.iter().any(same) {
                return Err(Failure::ours(RRError::Arg, "a header is there twice"));
            }
            list.push(Kept { head, metadata, track, body: Bytes::from(copied(message.body)?) });
        }
        Ok(Self { list, has_video: state.has_video })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const SOUND: (u8, &[u8]) = (kind::AUDIO, b"\xaf\0\x12\x10");

    fn refused(list: &[(u8, &[u8])], wanted: RRError) {
        let list = list.iter().map(|&(type_id, body)| HeaderState { type_id, body }).collect();
        let failure = KeptHeaders::from_state(&KeptState { list, has_video: false }).unwrap_err();
        assert_eq!(failure.kind, wanted, "{failure}");
    }

    #[test]
    fn headers_of_another_process_are_headers_each_once_and_no_more_than_are_kept() {
        let mut kept = KeptHeaders::default();
        let (type_id, body) = SOUND;
        let head = MessageHead { type_id, len: 4, ..MessageHead::default() };
        kept.look(&Incoming::new(head, body, 0));
        assert_eq!(KeptHeaders::from_state(&kept.state()), Ok(kept.clone()));
        refused(&[SOUND, SOUND], RRError::Arg);
        refused(&[(kind::AUDIO, b"\xaf\x01sound")], RRError::Arg);
        refused(&vec![SOUND; MAX_KEPT + 1], RRError::Limit);
        refused(&[(kind::VIDEO, &[&b"\x17\0\0\0\0"[..], &vec![0; MAX_KEPT_BYTES]].concat())], RRError::Limit);
    }
}
