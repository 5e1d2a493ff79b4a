//! Changes of what a consumer gets that take effect at a place of the log: kinds that a player wants again, kinds and
//! tracks that a target's new settings let through. They come with their headers: pictures from a key frame on, sound
//! from wherever the log had got to.
//!
//! It reads no log and sends nothing. Whoever sends owns it; whoever owns the scout tells it of key frames.

use crate::stream::join::JoinPoint;

/// One change.
pub(super) struct Turn {
    /// Kinds that are sent from there on besides the others, bits of [`media`](crate::config::media).
    pub(super) media: u32,
    /// Tracks the same way.
    pub(super) tracks: u64,
    /// Where; `None` until the next key frame has come.
    at: Option<JoinPoint>,
}

/// The changes that are to come: mostly none, and then nothing is allocated.
#[derive(Default)]
pub(super) struct Turns {
    list: Vec<Turn>,
    /// How far the scout has looked: who waits for a key frame must not pass one that nobody has told of.
    scouted: u64,
}

impl Turns {
    /// These kinds and tracks from `at` on, or from the next key frame.
    pub(super) fn add(&mut self, media: u32, tracks: u64, at: Option<JoinPoint>) {
        self.list.push(Turn { media, tracks, at });
    }

    /// The kinds that are to come.
    pub(super) fn media(&self) -> u32 {
        self.list.iter().fold(0, |media, turn| media | turn.media)
    }

    /// These kinds are not wanted after all.
    pub(super) fn drop_media(&mut self, media: u32) {
        self.list.iter_mut().for_each(|turn| turn.media &= !media);
        self.list.retain(|turn| turn.media != 0);
    }

    /// It has left its place in the log, for another that is not known yet, and gets what is to come where it begins
    /// anew. Until then nothing of the log is held: who waits may do so for as long as he likes.
    pub(super) fn let_go(&mut self) {
        self.list.iter_mut().for_each(|turn| turn.at = None);
    }

    /// Nothing is to come.
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// Whether a key frame is waited for.
    pub(super) fn want_key(&self) -> bool {
        self.list.iter().any(|turn| turn.at.is_none())
    }

    /// The scout has looked so far and has told of all key frames.
    pub(super) fn scouted(&mut self, position: u64) {
        self.scouted = position;
    }

    /// A key frame has come. One that `position`, which the consumer has got to, is past already is of no use.
    pub(super) fn key(&mut self, key: &JoinPoint, position: u64) {
        if key.cursor.position() >= position {
            self.list.iter_mut().filter(|turn| turn.at.is_none()).for_each(|turn| turn.at = Some(key.clone()));
        }
    }

    /// How many bytes from `position` on are sent before a change is to be looked for again.
    pub(super) fn distance(&self, position: u64) -> u64 {
        let place = |turn: &Turn| turn.at.as_ref().map_or(self.scouted, |point| point.cursor.position());
        self.list.iter().map(place).min().map_or(u64::MAX, |place| place.saturating_sub(position))
    }

    /// A change whose place `position` has come to, with that place.
    pub(super) fn reached(&mut self, position: u64) -> Option<(Turn, JoinPoint)> {
        let is_here = |turn: &Turn| turn.at.as_ref().is_some_and(|point| position >= point.cursor.position());
        let mut turn = self.list.remove(self.list.iter().position(is_here)?);
        turn.at.take().map(|point| (turn, point))
    }

    /// All of them, for a consumer that begins anew, which gets all headers then.
    pub(super) fn all(&mut self) -> impl Iterator<Item = Turn> {
        std::mem::take(&mut self.list).into_iter()
    }
}
