//! Translates positions in a log of another process into positions in the log that continues it here.

use minicbor::{Decode, Encode};

use crate::proto::message::MessageHead;
use crate::stream::log::segment::flag;

/// Longest name of a log.
const NAME_BYTES: usize = 256;

/// A message of another process's log.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::stream) struct Moved {
    pub(in crate::stream) head: MessageHead,
    pub(in crate::stream) body: Vec<u8>,
    /// Of [`MOVED_FLAGS`], those that it had there.
    pub(in crate::stream) flags: u8,
}

/// What a message's bytes in the log do not say.
pub(in crate::stream) const MOVED_FLAGS: u8 = flag::NEW_PUBLISHER | flag::SET_DATA_FRAME;

/// A place in a log, whichever process has that.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct LogPlace {
    /// The log's name, which no other log has.
    #[n(0)]
    #[cbor(with = "crate::proto::cbor::bytes")]
    pub(crate) log: Vec<u8>,
    /// Bytes of the log before it.
    #[n(1)]
    pub(crate) position: u64,
}

impl LogPlace {
    /// Whether a log may have such a name.
    pub(crate) fn is_named(&self) -> bool {
        self.log.len() <= NAME_BYTES
    }
}

/// The log that a log goes on from, and the part of it that came along.
#[derive(Clone, Debug)]
pub(in crate::stream) struct Lineage {
    /// Where the part began, in the old log.
    pub(in crate::stream) from: LogPlace,
    /// Its bytes.
    pub(in crate::stream) bytes: u64,
    /// Where it stands here.
    pub(in crate::stream) here: u64,
}

impl Lineage {
    /// A place of the old log, in this one; `None` where it did not come along.
    pub(in crate::stream) fn place_of(&self, place: &LogPlace) -> Option<u64> {
        let at = place.position.checked_sub(self.from.position)?;
        (place.log == self.from.log && at <= self.bytes).then_some(self.here + at)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_came_along_is_found_and_no_other() {
        let from = LogPlace { log: b"a".to_vec(), position: 100 };
        let lineage = Lineage { from: from.clone(), bytes: 50, here: 7 };
        let place = |position| lineage.place_of(&LogPlace { position, ..from.clone() });
        assert_eq!([99, 100, 120, 150, 151].map(place), [None, Some(7), Some(27), Some(57), None]);
        assert_eq!(lineage.place_of(&LogPlace { log: b"b".to_vec(), position: 120 }), None);
    }
}
