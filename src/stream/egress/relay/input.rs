//! Commands of consumers: pauses, changes of kinds of media, the end of a play, answers, closing commands.

use std::ops::ControlFlow;

use super::Relay;
use super::pass::RUNS;
use crate::config::READ_LITTLE_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::net::conn::Pumped;
use crate::net::event_loop::Io;
use crate::session;
use crate::stream::egress::consumer::Who;
use crate::stream::egress::push::Parting;
use crate::stream::peer::{Leave, Stays};

impl Relay {
    /// Reads the peer's last messages after sending has failed. A server that refuses or redirects us says so before it
    /// closes, and the next step depends on that, so its message becomes the failure.
    pub(super) fn last_words(&mut self, slot: usize, failure: Failure, io: &mut Io<'_>) -> Failure {
        let is_target = self.consumers.get(slot).is_some_and(|consumer| matches!(consumer.who, Who::Target(_)));
        match is_target.then(|| self.read(slot, true, io)) {
            Some(Err(Leave::Over(said))) => said,
            _ => failure,
        }
    }

    pub(super) fn read(&mut self, slot: usize, to_end: bool, io: &mut Io<'_>) -> Stays {
        let now_us = io.now_us;
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        if consumer.said.is_some() || consumer.question.is_some() {
            return Ok(());
        }
        let mut changes = Vec::new();
        let conn = &mut consumer.conn;
        let pumped = conn.pump(io.scratch, now_us / 1000, READ_LITTLE_BYTES, to_end, |event, _| match event {
            session::Event::Pause { .. } | session::Event::Receive { .. } => {
                changes.push(event);
                ControlFlow::Continue(())
            }
            // Media of a consumer is ignored.
            session::Event::Message(_) => ControlFlow::Continue(()),
            other => ControlFlow::Break(other),
        });
        if !changes.is_empty() {
            self.pass.unchanged = false;
            self.change(slot, &changes, now_us);
        }
        match pumped? {
            Pumped::Drained => {}
            Pumped::More => io.again(slot),
            Pumped::Event(event) => {
                self.pass.unchanged = false;
                if self.on_event(slot, event)? {
                    self.between(slot, io);
                    return Ok(());
                }
                // Commands after this one may have been read from the socket already.
                io.again(slot);
            }
        }
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        let has_output = consumer.conn.has_output();
        self.pass.unchanged &= !has_output;
        // Answers go out at once, unless they must wait for the end of a half-sent message.
        if has_output && !consumer.is_stuck(now_us) && consumer.close_by_ms.is_none() {
            let sent = consumer.send(RUNS, self.join_index.head(), now_us);
            self.stream.stats().outgoing(self.number).sent(consumer.take_sent(), now_us);
            self.pass.until.note(sent?);
        }
        Ok(())
    }

    /// Applies pauses and changes of the kinds of media.
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
        // A subscription that has kept its place continues there.
        self.place(slot, now_us);
    }

    /// Takes an event that ends the consumer's subscription. True if the relay must act on it now, because the consumer
    /// is between two messages.
    fn on_event(&mut self, slot: usize, event: session::Event) -> Result<bool> {
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(false) };
        match (&consumer.who, event) {
            (Who::Player(_), event) => {
                consumer.said = Some(Box::new(event));
                Ok(consumer.is_between())
            }
            (Who::Target(_), session::Event::Ended { code, text }) => {
                Err(Failure::peers(RRError::Closed, format!("{code} {text}")))
            }
            (Who::Target(_), session::Event::Reconnect { url, text }) => {
                self.part(slot, Parting::Moved { url, text });
                Ok(false)
            }
            (Who::Target(_), _) => Ok(false),
        }
    }
}
