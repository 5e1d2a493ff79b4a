//! The consumers of a relay, and those of them who are *in step*.
//!
//! Most consumers are plain players that have been sent everything: a pass sends each of them the same bytes of the log, from
//! the same place. Of these the relay keeps the common place, and a list of sockets with little memory for each, so that a
//! pass need not look at the consumers themselves: the kernel's work for hundreds of sockets displaces them from the
//! processor's cache each time. What a consumer itself says of its place and its figures is then old. Whoever asks for it to
//! change it gets it brought up to date and out of step, so nobody else knows of this; the next pass takes it in again, unless
//! that has changed what it is to be sent.

use std::io;

use slab::{Slab, VacantEntry};

use crate::error::Failure;
use crate::net::socket::BareSocket;
use crate::stream::egress::consumer::Consumer;
use crate::stream::egress::relay::ahead::ahead;
use crate::stream::egress::subscription::Next;
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::Cursor;
use crate::stream::stats::{Sent, Tally};

/// All consumers of a relay by their slots.
#[derive(Default)]
pub(super) struct Consumers {
    all: Slab<Box<Consumer>>,
    in_step: InStep,
    /// Those whom a pass has found to be in step, until its end.
    found: Found,
    /// The last tick has not checked those in step.
    unchecked: bool,
}

/// Those in step.
#[derive(Default)]
struct InStep {
    /// Where all of them are, and those are whom somebody has asked for; `None` where nobody is in step.
    place: Option<Cursor>,
    members: Vec<Member>,
    /// The slots of those whom somebody has asked for since the last pass.
    asked_for: Vec<usize>,
    /// The index in `members` by the slot.
    indices: Vec<Option<usize>>,
    /// The slots of those whose sockets do not take all that they are sent, and what came of that; empty between sends.
    others: Vec<(usize, io::Result<usize>)>,
    /// From where on the consumers themselves keep the log.
    kept_from: u64,
    /// They are sent what is before this log position without collecting any longer.
    due_to: u64,
    /// For how long all of them collect.
    merge_us: u64,
    /// When they were last sent something.
    sent_us: u64,
    /// Until when what they are sent counts as of one time.
    until_us: u64,
}

struct Member {
    slot: usize,
    socket: BareSocket,
}

/// Consumers that may get in step, all at one place.
#[derive(Default)]
pub(super) struct Found {
    place: Option<Cursor>,
    merge_us: u64,
    members: Vec<Member>,
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Room for another consumer.
    pub(super) fn vacant_entry(&mut self) -> VacantEntry<'_, Box<Consumer>> {
        self.all.vacant_entry()
    }

    /// A consumer to look at. Its place and its figures may be old.
    pub(super) fn get(&self, slot: usize) -> Option<&Consumer> {
        self.all.get(slot).map(|consumer| &**consumer)
    }

    /// All consumers to look at. The places and figures of those who are not blocked may be old.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Consumer)> {
        self.all.iter().map(|(slot, consumer)| (slot, &**consumer))
    }

    /// A consumer, up to date.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Consumer> {
        self.put_out_of_step(slot);
        self.all.get_mut(slot).map(|consumer| &mut **consumer)
    }

    /// All consumers, up to date.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Consumer)> {
        self.put_all_out_of_step();
        self.all.iter_mut().map(|(slot, consumer)| (slot, &mut **consumer))
    }

    /// Removes a consumer, up to date.
    pub(super) fn try_remove(&mut self, slot: usize) -> Option<Box<Consumer>> {
        self.put_out_of_step(slot);
        let removed = self.all.try_remove(slot);
        if self.all.is_empty() {
            self.in_step.end();
        }
        removed
    }

    fn put_out_of_step(&mut self, slot: usize) {
        let in_step = &mut self.in_step;
        if in_step.remove(slot)
            && let (Some(consumer), Some(place)) = (self.all.get_mut(slot), &in_step.place)
        {
            consumer.catch_up(place, in_step.sent_us);
            in_step.asked_for.push(slot);
        }
    }

    /// Puts all out of step, until a pass finds them at one place again: they are about to leave it, and nothing is to keep it.
    pub(super) fn leave_place(&mut self) {
        self.put_all_out_of_step();
        self.in_step.end();
    }

    fn put_all_out_of_step(&mut self) {
        while let Some(member) = self.in_step.members.last() {
            self.put_out_of_step(member.slot);
        }
    }

    /// Takes those in step again whom somebody has asked for and who are as before.
    fn take_back(&mut self) {
        let Self { all, in_step, .. } = self;
        let Some(place) = &in_step.place else { return };
        let (at, merge_us) = (place.position(), in_step.merge_us);
        let mut asked_for = std::mem::take(&mut in_step.asked_for);
        for slot in asked_for.drain(..) {
            if let Some((socket, place, merges_us)) = all.get_mut(slot).and_then(|consumer| consumer.in_step())
                && (place.position(), merges_us) == (at, merge_us)
            {
                in_step.add(Member { slot, socket });
            }
        }
        in_step.asked_for = asked_for;
        if in_step.members.is_empty() {
            in_step.end();
        }
    }

    /// Brings all in step up to date.
    fn catch_up(&mut self) {
        let Self { all, in_step, .. } = self;
        let Some(place) = &in_step.place else { return };
        for (_, consumer) in ahead(all.iter_mut().filter(|(slot, _)| in_step.has(*slot))) {
            consumer.catch_up(place, in_step.sent_us);
        }
        in_step.kept_from = place.keeps_from();
    }

    /// The slots of those that a tick is to check. Those in step have no deadlines but the long ones of their sessions, so every
    /// second tick is enough for them, except where `all` are to be checked.
    pub(super) fn slots_to_check(&mut self, all: bool) -> Vec<usize> {
        self.unchecked = !all && !self.unchecked;
        let left_out = if self.unchecked { self.in_step.members.len() } else { 0 };
        let mut slots = Vec::with_capacity(self.all.len() - left_out);
        let all = self.all.iter().map(|(slot, _)| slot);
        slots.extend(all.filter(|&slot| !self.unchecked || !self.in_step.has(slot)));
        slots
    }

    /// The age of what those in step are to be sent next; 0 if there is nothing, or nobody is in step.
    pub(super) fn lag_ms_in_step(&mut self, head: Head, now_us: u64) -> u64 {
        let lag = self.in_step.place.as_mut().map(|place| place.lag(head, now_us)).unwrap_or_default();
        if lag.bytes == 0 { 0 } else { lag.ms }
    }

    // ---- for a pass

    /// Plans what all in step are sent next, `None` if nobody is in step. Where it is not as simple as that, nobody is in step
    /// any more.
    pub(super) fn plan_in_step(&mut self, head: Head, now_us: u64) -> Option<Next> {
        self.take_back();
        // Figures are counted in steps of time.
        if now_us >= self.in_step.until_us {
            self.catch_up();
            self.in_step.until_us = Tally::step_end_us(now_us);
        }
        let next = self.in_step.plan(head, now_us);
        if self.in_step.is_in_another_segment() {
            // Their own places would keep the memory of the segment before.
            self.catch_up();
        }
        if next.is_none() {
            self.leave_place();
        }
        next
    }

    /// Whether all in step have been sent all up to `head`.
    pub(super) fn have_sent_all(&self, head: Head) -> bool {
        self.in_step.place.as_ref().is_none_or(|place| place.position() >= head.position)
    }

    /// How many are in step.
    pub(super) fn in_step(&self) -> usize {
        self.in_step.members.len()
    }

    /// For how long all in step collect.
    pub(super) fn merge_us(&self) -> u64 {
        self.in_step.merge_us
    }

    /// The consumers that are not in step, with their slots, and where to note who of them may be.
    pub(super) fn out_of_step(&mut self) -> (impl Iterator<Item = (usize, &mut Box<Consumer>)>, &mut Found) {
        let Self { all, in_step, found, .. } = self;
        let some_are = in_step.members.len() < all.len();
        let all = some_are.then(|| all.iter_mut()).into_iter().flatten();
        (all.filter(|(slot, _)| !in_step.has(*slot)), found)
    }

    /// Sends the planned bytes of the log to all in step, and puts those out of step whose sockets do not take them all.
    /// Returns what was sent, and notes in `failed` whose sockets have failed.
    pub(super) fn send_in_step(&mut self, len: usize, now_us: u64, failed: &mut Vec<(usize, Failure)>) -> Sent {
        let Self { all, in_step, .. } = self;
        let Some(place) = &mut in_step.place else { return Sent::default() };
        let before = place.clone();
        let run = before.ahead(len);
        let mut others = std::mem::take(&mut in_step.others);
        for Member { slot, socket } in &in_step.members {
            let result = socket.send(run);
            if !matches!(result, Ok(taken) if taken == len) {
                others.push((*slot, result));
            }
        }
        place.advance(len);
        let each = Sent { msgs: place.message_number() - before.message_number(), bytes: len as u64 };
        let whole = (in_step.members.len() - others.len()) as u64;
        let mut sent = Sent { msgs: each.msgs * whole, bytes: each.bytes * whole };
        for (slot, result) in others.drain(..) {
            in_step.remove(slot);
            let Some(consumer) = all.get_mut(slot) else { continue };
            consumer.catch_up(&before, in_step.sent_us);
            let noted = consumer.note_written(result, len, now_us);
            sent += consumer.take_sent();
            if let Err(failure) = noted {
                failed.push((slot, failure));
            }
        }
        in_step.others = others;
        in_step.sent_us = now_us;
        if in_step.members.is_empty() {
            in_step.end();
        }
        sent
    }

    /// Takes in those that were found to be where those in step are now.
    pub(super) fn take_in_found(&mut self, now_us: u64) {
        self.in_step.take_in(&mut self.found, now_us);
    }
}

impl InStep {
    fn has(&self, slot: usize) -> bool {
        self.indices.get(slot).copied().flatten().is_some()
    }

    /// Removes a member. False if it is none.
    fn remove(&mut self, slot: usize) -> bool {
        let Some(index) = self.indices.get_mut(slot).and_then(Option::take) else { return false };
        self.members.swap_remove(index);
        if let Some(moved) = self.members.get(index)
            && let Some(at) = self.indices.get_mut(moved.slot)
        {
            *at = Some(index);
        }
        true
    }

    fn add(&mut self, member: Member) {
        if self.indices.len() <= member.slot {
            self.indices.resize(member.slot + 1, None);
        }
        if let Some(index) = self.indices.get_mut(member.slot) {
            *index = Some(self.members.len());
            self.members.push(member);
        }
    }

    /// Forgets the place of nobody, since a place keeps the log from there on.
    fn end(&mut self) {
        self.place = None;
        self.asked_for.clear();
    }

    /// Whether the place is no more in the segment that its members keep.
    fn is_in_another_segment(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.keeps_from() != self.kept_from)
    }

    /// What all are sent next. `None` if that is not simple: nobody is there, or not everybody is sent the next message as it
    /// is.
    fn plan(&mut self, head: Head, now_us: u64) -> Option<Next> {
        let place = self.place.as_mut()?;
        let left = head.position.saturating_sub(place.position());
        let due_us = place.mark_here().map(|mark| mark.arrival_us + self.merge_us);
        let collects = self.merge_us > 0 && place.position() >= self.due_to;
        if let Some(due_us) = due_us.filter(|&due_us| collects && now_us < due_us) {
            return Some(Next::Collects(due_us));
        }
        self.due_to = head.position;
        let run = place.run().len();
        let len = run + place.beyond(run).len();
        // This comes after the run is read: what another publisher sends goes to nobody before the end of the one before.
        if place.may_pass_end() {
            return None;
        }
        // What comes during a pass is left to the next one where all collect, as for anybody else.
        let len = if self.merge_us > 0 { len.min(usize::try_from(left).ok()?) } else { len };
        match len {
            0 if left > 0 => None,
            0 => Some(Next::Nothing),
            len => Some(Next::Log(len)),
        }
    }

    /// Takes in those that were found at the same place, or all of them if nobody is in step.
    fn take_in(&mut self, found: &mut Found, now_us: u64) {
        let Some(place) = found.place.take() else { return };
        let fits = match &self.place {
            Some(own) => own.position() == place.position() && self.merge_us == found.merge_us,
            None => true,
        };
        if !fits {
            return found.members.clear();
        }
        if self.place.is_none() {
            self.kept_from = place.keeps_from();
            (self.place, self.merge_us, self.sent_us, self.due_to) = (Some(place), found.merge_us, now_us, 0);
            self.until_us = Tally::step_end_us(now_us);
        }
        for member in found.members.drain(..) {
            self.add(member);
        }
    }
}

impl Found {
    /// Notes a consumer that has been sent everything, if it can be in step with those noted before.
    pub(super) fn note(&mut self, slot: usize, consumer: &mut Consumer, head: Head) {
        if !consumer.has_sent_all(head) {
            return;
        }
        let Some((socket, place, merge_us)) = consumer.in_step() else { return };
        match &self.place {
            Some(common) if common.position() != place.position() || self.merge_us != merge_us => return,
            Some(_) => {}
            None => (self.place, self.merge_us) = (Some(place.clone()), merge_us),
        }
        self.members.push(Member { slot, socket });
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
