//! The tail of a log that came along from another process, kept for the consumers that are to come from there.

use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::Cursor;

/// The tail.
#[derive(Clone)]
pub(super) struct Tail {
    /// Its first message.
    begin: Cursor,
    /// Bytes of it that came along.
    bytes: u64,
    /// Whoever has not come by then finds it gone, monotonic us.
    until_us: u64,
}

impl Tail {
    pub(super) fn new(begin: Cursor, bytes: u64, until_us: u64) -> Self {
        Self { begin, bytes, until_us }
    }

    /// Whether nobody is to come for it any more, or it keeps more of the log, which ends at `head`, than twice `bound`
    /// or what came along.
    pub(super) fn is_over(&self, head: Head, bound: u64, now_us: u64) -> bool {
        let most = self.bytes.max(bound).saturating_mul(2);
        now_us >= self.until_us || head.position.saturating_sub(self.begin.position()) > most
    }

    /// A cursor at the message that begins at this position.
    pub(super) fn message_at(&self, position: u64) -> Option<Cursor> {
        let mut cursor = self.begin.clone();
        while cursor.position() < position && cursor.skip_message() {}
        (cursor.position() == position).then_some(cursor)
    }
}
