//! The tail of a log that came along from another process, kept for the consumers that are to come from there.

use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::Cursor;

/// The tail.
pub(super) struct Tail {
    /// Its first message.
    begin: Cursor,
    /// Whoever has not come by then finds it gone, monotonic us.
    until_us: u64,
}

impl Tail {
    pub(super) fn new(begin: Cursor, until_us: u64) -> Self {
        Self { begin, until_us }
    }

    /// Whether nobody is to come for it any more, or it keeps more than so many bytes of the log, which ends at `head`.
    pub(super) fn is_over(&self, head: Head, bound: u64, now_us: u64) -> bool {
        now_us >= self.until_us || head.position.saturating_sub(self.begin.position()) > bound
    }

    /// A cursor at the message that begins at this position.
    pub(super) fn message_at(&self, position: u64) -> Option<Cursor> {
        let mut cursor = self.begin.clone();
        while cursor.position() < position && cursor.skip_message() {}
        (cursor.position() == position).then_some(cursor)
    }
}
