//! What consumers say: pauses and kinds of media, the end of a play, answers, goodbyes.

use std::ops::ControlFlow;

use super::{Fate, Relay};
use crate::config::READ_LITTLE_BYTES;
use crate::error::{Failure, RRError};
use crate::net::conn::Pumped;
use crate::net::poll::Ready;
use crate::session;
use crate::stream::egress::consumer::Who;
use crate::stream::egress::push::Parting;

impl Relay {
    pub(super) fn read_all(&mut self, ready: &[Ready], now_us: u64) {
        for slot in self.more.take() {
            self.read_one(slot, true, now_us);
        }
        for ready in ready {
            if ready.readable && !self.more.has(ready.slot) {
                self.read_one(ready.slot, ready.closed, now_us);
            }
        }
    }

    fn read_one(&mut self, slot: usize, to_end: bool, now_us: u64) {
        let fate = self.read(slot, to_end, now_us);
        if !matches!(fate, Fate::Stays) {
            self.leave(slot, fate, now_us);
        }
    }

    /// Sending has failed: the peer is gone. A server that refuses us or sends us elsewhere says so before it goes, and
    /// what comes next depends on it.
    pub(super) fn last_words(&mut self, slot: usize, failure: Failure, now_us: u64) -> Fate {
        let is_target = self.consumers.get(slot).is_some_and(|consumer| matches!(consumer.who, Who::Target(_)));
        match is_target.then(|| self.read(slot, true, now_us)) {
            Some(Fate::Over(said)) => Fate::Over(said),
            _ => Fate::Over(failure),
        }
    }

    fn read(&mut self, slot: usize, to_end: bool, now_us: u64) -> Fate {
        let Some(consumer) = self.consumers.get_mut(slot) else { return Fate::Stays };
        if consumer.said.is_some() {
            return Fate::Stays;
        }
        let mut changes = Vec::new();
        let conn = consumer.sink.rtmp();
        let pumped = conn.pump(&mut self.scratch, now_us / 1000, READ_LITTLE_BYTES, to_end, |event, _| match event {
            session::Event::Pause { .. } | session::Event::Receive { .. } => {
                changes.push(event);
                ControlFlow::Continue(())
            }
            // A consumer has no media to tell us.
            session::Event::Message(_) => ControlFlow::Continue(()),
            other => ControlFlow::Break(other),
        });
        if !changes.is_empty() {
            self.change(slot, &changes, now_us);
        }
        match pumped {
            Ok(Pumped::Drained) => {}
            Ok(Pumped::More) => self.more.push(slot),
            Ok(Pumped::Held(event)) => match self.on_event(slot, event) {
                // What stands behind it has been read from the socket already.
                Fate::Stays => self.more.push(slot),
                fate => return fate,
            },
            Err(failure) => return Fate::Over(failure),
        }
        let Some(consumer) = self.consumers.get_mut(slot) else { return Fate::Stays };
        // Answers leave at once, unless they must wait for the end of a message on its way.
        if consumer.sink.rtmp().has_output() && !consumer.is_stuck(now_us) && consumer.close_by_ms.is_none() {
            let sent = consumer.send(now_us);
            self.stream.stats().sent(consumer.take_sent(), now_us);
            if let Err(failure) = sent {
                return Fate::Over(failure);
            }
        }
        Fate::Stays
    }

    /// Pauses, and kinds of media that are wanted or not.
    fn change(&mut self, slot: usize, changes: &[session::Event], now_us: u64) {
        let Some(consumer) = self.consumers.get_mut(slot) else { return };
        for change in changes {
            match *change {
                session::Event::Pause { stream_id, on, .. } => {
                    if let Some(subscription) = consumer.on_stream(stream_id) {
                        subscription.pause(on);
                    }
                }
                session::Event::Receive { stream_id, audio, video } => {
                    if let Some(subscription) = consumer.on_stream(stream_id) {
                        subscription.receive(audio, video, &self.join_index);
                        self.filters_pending |= subscription.wants_key_frame();
                    }
                }
                _ => {}
            }
        }
        // One that has kept its place goes on there by itself.
        self.place(slot, now_us);
    }

    /// A consumer says something that ends its consuming.
    fn on_event(&mut self, slot: usize, event: session::Event) -> Fate {
        let Some(consumer) = self.consumers.get_mut(slot) else { return Fate::Stays };
        match (&consumer.who, event) {
            (Who::Player(_), event) => {
                consumer.said = Some(event);
                if consumer.is_between() { Fate::Between } else { Fate::Stays }
            }
            (Who::Target(_), session::Event::Ended { code, text }) => {
                Fate::Over(Failure::peers(RRError::Closed, format!("{code} {text}")))
            }
            (Who::Target(_), session::Event::Reconnect { url, text }) => {
                self.part(slot, Parting::Moved { url, text });
                Fate::Stays
            }
            (Who::Target(_), _) => Fate::Stays,
        }
    }
}
