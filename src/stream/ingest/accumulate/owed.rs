//! Messages that a publisher has sent and the log has no room for just now. Nothing is read behind them, so they are few:
//! one message, or the headers of a publisher that steps in and its key frame.

use std::collections::VecDeque;

use crate::error::{RRError, Result, copied};
use crate::proto::message::MessageHead;
use crate::stream::ingest::{Incoming, Ingest};

/// The messages, oldest first. They are no charge of their own: as half-read ones they were charged, and they stay so.
#[derive(Debug, Default)]
pub(super) struct Owed(VecDeque<(MessageHead, Vec<u8>, u64)>);

impl Owed {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a message to the log, or keeps it where there is no room.
    ///
    /// # Errors
    /// Those of [`Ingest::push`] but [`RRError::Limit`]; [`RRError::NoMem`] where the message cannot be kept.
    pub(super) fn push(&mut self, ingest: &Ingest, message: &Incoming<'_>) -> Result<()> {
        if self.is_empty() {
            match ingest.push(message) {
                Err(failure) if failure.kind == RRError::Limit => {}
                result => return result,
            }
        }
        self.0.push_back((message.head, copied(message.body)?, message.now_us));
        Ok(())
    }

    /// Appends what was kept.
    ///
    /// # Errors
    /// Those of [`Ingest::push`]; what is left is kept.
    pub(super) fn pay(&mut self, ingest: &Ingest) -> Result<()> {
        while let Some((head, body, now_us)) = self.0.front() {
            ingest.push(&Incoming::new(*head, body, *now_us))?;
            self.0.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::proto::message::kind;
    use crate::stream::ingest::tests::ingest_of;
    use crate::stream::memory::budget::Budget;

    #[test]
    fn what_finds_no_room_is_kept_in_order_and_appended_whole_once_there_is_some() {
        let budget = Budget::new(Some(600_000));
        let (ingest, mut reader) = ingest_of(budget.clone());
        let mut owed = Owed::default();
        let push = |owed: &mut Owed, number: u8, len: usize| {
            let head = MessageHead { timestamp_ms: number.into(), type_id: kind::VIDEO, ..MessageHead::default() };
            owed.push(&ingest, &Incoming::new(head, &vec![number; len], 0)).unwrap();
        };
        push(&mut owed, 1, 9);
        assert!(owed.is_empty());
        let others = budget.charge(600_000 - budget.used()).unwrap();
        push(&mut owed, 2, 100_000);
        // There would be room for this one in the segment that is there.
        push(&mut owed, 3, 9);
        assert!(!owed.is_empty());
        assert_eq!(owed.pay(&ingest).unwrap_err().kind, RRError::Limit);
        assert_eq!(ingest.head().messages, 1);
        drop(others);
        owed.pay(&ingest).unwrap();
        assert!(owed.is_empty());
        let mut times = Vec::new();
        while let Some(mark) = reader.mark_here() {
            times.push(mark.ts_ms);
            reader.skip_message();
        }
        assert_eq!(times, [1, 2, 3]);
    }
}
