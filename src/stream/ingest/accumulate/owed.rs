//! Messages that a publisher has sent and for which the log has no room at the moment. The connection is not read until
//! they are appended, so they are few: one message, or the headers and the key frame of a publisher that takes over.

use std::collections::VecDeque;

use crate::error::{RRError, Result, copied};
use crate::proto::message::MessageHead;
use crate::stream::ingest::kept::KeptHeaders;
use crate::stream::ingest::{Incoming, Ingest};

/// The messages, oldest first.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Headers that were kept for this moment, no more than a publisher may have, and messages that came from another
    /// process. The publisher is charged for them.
    first: VecDeque<(MessageHead, Vec<u8>, u64)>,
    /// The message that was read last. Its body is still the connection's, which is charged for it.
    last: Option<(MessageHead, u64)>,
}

impl Owed {
    /// The messages that came with a publisher from another process, and arrive now.
    pub(super) fn of(messages: Vec<(MessageHead, Vec<u8>)>, now_us: u64) -> Self {
        let first = messages.into_iter().map(|(head, body)| (head, body, now_us)).collect();
        Self { first, last: None }
    }

    /// Puts headers before the messages, if there are some.
    pub(super) fn lead(&mut self, kept: &KeptHeaders) {
        let Some((head, body, now_us)) = self.first.front().cloned() else { return };
        let next = Incoming::new(head, &body, now_us);
        let headers: Vec<_> = kept.before(&next).map(|header| (header.head, header.body.to_vec(), now_us)).collect();
        headers.into_iter().rev().for_each(|header| self.first.push_front(header));
    }

    /// The messages, for another process; `body` is that of the message that was read last.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(super) fn messages(&self, body: &[u8]) -> Result<Vec<(MessageHead, Vec<u8>)>> {
        let first = self.first.iter().map(|(head, body, _)| (*head, &body[..]));
        let all = first.chain(self.last.map(|(head, _)| (head, body)));
        all.map(|(head, body)| Ok((head, copied(body)?))).collect()
    }

    /// The bytes that are kept here. The message that was read last is the connection's.
    pub(super) fn bytes(&self) -> usize {
        self.first.iter().map(|(_, body, _)| body.len()).sum()
    }

    /// Whether no message waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_none()
    }

    /// Appends the headers to the log that go before `next`, or keeps those for which there is no room.
    ///
    /// # Errors
    /// Those of [`Ingest::push`] except [`RRError::Limit`]; [`RRError::NoMem`] if a header cannot be kept.
    #[cold]
    pub(super) fn push_headers(&mut self, ingest: &Ingest, kept: &KeptHeaders, next: &Incoming<'_>) -> Result<()> {
        kept.before(next).try_for_each(|header| self.push_header(ingest, &header))
    }

    fn push_header(&mut self, ingest: &Ingest, header: &Incoming<'_>) -> Result<()> {
        if !self.finds_room(ingest, header)? {
            self.first.push_back((header.head, copied(header.body)?, header.now_us));
        }
        Ok(())
    }

    /// Appends the message that was read last to the log, or keeps it if there is no room; then the connection must not
    /// be read further.
    ///
    /// # Errors
    /// Those of [`Ingest::push`] except [`RRError::Limit`].
    pub(super) fn push(&mut self, ingest: &Ingest, message: &Incoming<'_>) -> Result<()> {
        if !self.finds_room(ingest, message)? {
            self.last = Some((message.head, message.now_us));
        }
        Ok(())
    }

    /// Appends a message, unless there is no room for it or for those before.
    fn finds_room(&self, ingest: &Ingest, message: &Incoming<'_>) -> Result<bool> {
        if !self.is_empty() {
            return Ok(false);
        }
        match ingest.push(message) {
            Err(failure) if failure.kind == RRError::Limit => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Appends the waiting messages; `body` is that of the message that was read last.
    ///
    /// # Errors
    /// Those of [`Ingest::push`]; the remaining messages still wait.
    pub(super) fn pay(&mut self, ingest: &Ingest, body: &[u8]) -> Result<()> {
        while let Some((head, header, now_us)) = self.first.front() {
            ingest.push(&Incoming::new(*head, header, *now_us))?;
            self.first.pop_front();
        }
        if let Some((head, now_us)) = self.last {
            ingest.push(&Incoming::new(head, body, now_us))?;
            self.last = None;
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
        let large = vec![3; 100_000];
        let head =
            |number: u8| MessageHead { timestamp_ms: number.into(), type_id: kind::VIDEO, ..MessageHead::default() };
        owed.push(&ingest, &Incoming::new(head(1), &[1; 9], 0)).unwrap();
        assert!(owed.is_empty());
        let others = budget.charge(600_000 - budget.used()).unwrap();
        owed.push_header(&ingest, &Incoming::new(head(2), &[2; 100_000], 0)).unwrap();
        assert!(!owed.is_empty());
        // The present segment would have room for a small message.
        owed.push_header(&ingest, &Incoming::new(head(3), &[3; 9], 0)).unwrap();
        owed.push(&ingest, &Incoming::new(head(4), &large, 0)).unwrap();
        assert_eq!(owed.pay(&ingest, &large).unwrap_err().kind, RRError::Limit);
        assert_eq!(ingest.head().messages, 1);
        drop(others);
        owed.pay(&ingest, &large).unwrap();
        assert!(owed.is_empty());
        let mut times = Vec::new();
        while let Some(mark) = reader.mark_here() {
            times.push(mark.ts_ms);
            reader.skip_message();
        }
        assert_eq!(times, [1, 2, 3, 4]);
    }
}
