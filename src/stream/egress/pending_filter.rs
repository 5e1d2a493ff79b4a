//! Filter changes that take effect at a later place in the log: kinds that a player wants again, kinds and tracks that
//! a target's new settings let through. Each takes effect together with its headers: pictures from a key frame on,
//! sound from the end of the log at the time of the request.
//!
//! This module reads no log and sends nothing. A subscription owns its filters; the owner of the join index tells them
//! of key frames.

use crate::stream::egress::join::JoinPoint;

/// One pending change.
pub(in crate::stream) struct PendingFilter {
    /// Kinds that are sent in addition from there on, bits of [`media`](crate::config::media).
    pub(in crate::stream) media: u32,
    /// Tracks that are sent in addition from there on.
    pub(in crate::stream) tracks: u64,
    /// The place; `None` until the next key frame has come.
    at: Option<JoinPoint>,
}

/// The pending changes: usually none, and then nothing is allocated.
#[derive(Default)]
pub(in crate::stream) struct PendingFilters {
    list: Vec<PendingFilter>,
    /// How far the join index has looked: a subscription that waits for a key frame must not pass one that it has not
    /// been told of.
    indexed: u64,
}

impl PendingFilters {
    /// Adds these kinds and tracks from `at` on, or from the next key frame.
    pub(in crate::stream) fn add(&mut self, media: u32, tracks: u64, at: Option<JoinPoint>) {
        self.list.push(PendingFilter { media, tracks, at });
    }

    /// The kinds that pending changes will add.
    pub(in crate::stream) fn media(&self) -> u32 {
        self.list.iter().fold(0, |media, filter| media | filter.media)
    }

    /// The tracks that pending changes will add.
    pub(in crate::stream) fn tracks(&self) -> u64 {
        self.list.iter().fold(0, |tracks, filter| tracks | filter.tracks)
    }

    /// Cancels these kinds.
    pub(in crate::stream) fn drop_media(&mut self, media: u32) {
        self.list.iter_mut().for_each(|filter| filter.media &= !media);
        self.list.retain(|filter| filter.media != 0);
    }

    /// Notes that the consumer has left its place in the log and has no next one yet. Pending changes take effect where
    /// it begins again; until then they hold no part of the log, so a consumer may wait without end.
    pub(in crate::stream) fn let_go(&mut self) {
        self.list.iter_mut().for_each(|filter| filter.at = None);
    }

    /// Drops all pending changes.
    pub(in crate::stream) fn clear(&mut self) {
        self.list.clear();
    }

    /// Whether no change is to come.
    pub(in crate::stream) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a change waits for a key frame.
    pub(in crate::stream) fn want_key(&self) -> bool {
        self.list.iter().any(|filter| filter.at.is_none())
    }

    /// Notes how far the join index has looked; all key frames up to there have been reported.
    pub(in crate::stream) fn indexed(&mut self, position: u64) {
        self.indexed = position;
    }

    /// Notes a key frame. The consumer, which is at `position`, cannot use a key frame that it has passed.
    pub(in crate::stream) fn key(&mut self, key: &JoinPoint, position: u64) {
        if key.cursor.position() >= position {
            self.list.iter_mut().filter(|filter| filter.at.is_none()).for_each(|filter| filter.at = Some(key.clone()));
        }
    }

    /// How many bytes from `position` on may be sent before the next check for a change.
    #[inline]
    pub(in crate::stream) fn distance(&self, position: u64) -> u64 {
        if self.list.is_empty() { u64::MAX } else { self.way_to_next(position) }
    }

    fn way_to_next(&self, position: u64) -> u64 {
        let place = |filter: &PendingFilter| filter.at.as_ref().map_or(self.indexed, |point| point.cursor.position());
        self.list.iter().map(place).min().map_or(u64::MAX, |place| place.saturating_sub(position))
    }

    /// The change whose place `position` has reached, with that place.
    #[inline]
    pub(in crate::stream) fn reached(&mut self, position: u64) -> Option<(PendingFilter, JoinPoint)> {
        if self.list.is_empty() { None } else { self.take_reached(position) }
    }

    fn take_reached(&mut self, position: u64) -> Option<(PendingFilter, JoinPoint)> {
        let is_here =
            |filter: &PendingFilter| filter.at.as_ref().is_some_and(|point| position >= point.cursor.position());
        let mut filter = self.list.remove(self.list.iter().position(is_here)?);
        filter.at.take().map(|point| (filter, point))
    }

    /// Takes all changes, for a consumer that begins again and gets all headers there.
    pub(in crate::stream) fn all(&mut self) -> impl Iterator<Item = PendingFilter> {
        std::mem::take(&mut self.list).into_iter()
    }
}
