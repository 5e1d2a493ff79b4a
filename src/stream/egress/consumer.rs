//! One consumer: a player's connection or a target's, with one subscription for each message stream.
//!
//! A consumer sends in three separate steps: [`plan`](Consumer::plan) asks the subscriptions for their next bytes,
//! [`write`](Consumer::write) gives those to the connection, [`advance`](Consumer::advance) notes how many bytes the
//! connection took. For a plain player a run is all new bytes of the log, in one call. With several subscriptions,
//! whole messages alternate. The relay owns consumers and decides when they send, where they begin and when they leave.

use std::io;
use std::sync::Arc;

use crate::error::{Failure, RRError, Result, copied};
use crate::net::clock;
use crate::net::conn::Conn;
use crate::net::socket::BareSocket;
use crate::session;
use crate::stream::egress::private::Private;
use crate::stream::egress::push::Push;
use crate::stream::egress::subscription::{Next, Subscription, Taken};
use crate::stream::event::Id;
use crate::stream::event::{Event, EventKind};
use crate::stream::exported::target::{About, MovedPush};
use crate::stream::exported::{self, Doing, Named, Playing};
use crate::stream::log::buffer::Head;
use crate::stream::log::cursor::{Cursor, Lag};
use crate::stream::memory::budget::Budget;
use crate::stream::peer::OpenQuestion;
use crate::stream::record::RRSession;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::stats::{Counters, Sent, Tally};

/// The peer of a consumer.
#[derive(Debug)]
pub(in crate::stream) enum Who {
    /// A session that plays.
    Player(Arc<RRSession>),
    /// A target we push to.
    Target(Arc<Target>),
}

impl Who {
    pub(in crate::stream) fn counters(&self) -> &Counters {
        match self {
            Self::Player(record) => &record.counters,
            Self::Target(target) => &target.counters,
        }
    }

    /// The event that this subscription jumped over `dropped` messages; 0 means that it has caught up again.
    pub(in crate::stream) fn slow_event(&self, subscription: &Subscription, dropped: i64) -> Event {
        let about = match self {
            Self::Player(record) => record.event(EventKind::Slow),
            Self::Target(target) => Event { kind: EventKind::Slow, ..target.event() },
        };
        Event { stream: subscription.stream().id(), value: dropped, ..about }
    }
}

/// A consumer's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Plan {
    /// Send these bytes.
    Send(Run),
    /// Send nothing: everything published has been sent.
    Nothing,
    /// Send nothing: the socket takes no more now.
    Blocked,
    /// Send nothing until this time, in monotonic microseconds: the consumer is collecting.
    Collects(u64),
    /// Send nothing until this time, in monotonic microseconds: the rate is used up.
    Limited(u64),
}

/// Bytes to send: where they are and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) struct Run {
    private: bool,
    len: usize,
}

/// A player or a target. A pass touches hundreds of these for each message, so the fields that it needs lie together, in
/// this order: from the end of `conn` to the beginning of `private`.
#[repr(C)]
pub(in crate::stream) struct Consumer {
    pub(in crate::stream) who: Who,
    /// The target's settings and state, if the consumer is a target.
    pub(in crate::stream) push: Option<Box<Push>>,
    /// The number of the last change of the media's way that the peer was told, if the peer is a relay that asks for
    /// it.
    pub(in crate::stream) told_via: Option<u32>,
    /// Bytes that a target received over its earlier connections.
    received_before: u64,
    /// The question that is open about the peer's last command; until the answer nothing more is read.
    pub(in crate::stream) question: Option<Box<OpenQuestion>>,
    pub(in crate::stream) conn: Conn,
    /// At least one; a target has exactly one.
    pub(in crate::stream) subscriptions: Vec<Subscription>,
    /// The subscription being sent: the half-sent message, and the private bytes, belong to it.
    current: usize,
    /// The latest time of its close, once its peer has been told of the end.
    pub(in crate::stream) close_by_ms: Option<u64>,
    /// A command of the peer that waits until the consumer is between two messages.
    pub(in crate::stream) said: Option<Box<session::Event>>,
    /// When the socket last took something.
    pub(in crate::stream) progress_ms: u64,
    /// The socket took less than all; the poller reports when it takes more.
    pub(in crate::stream) blocked: bool,
    /// The listener is to take the consumer back, for the answer or because none came in time.
    pub(in crate::stream) is_due: bool,
    tally: Tally,
    /// Messages and bytes of the relay's own stream that were sent and not yet counted there.
    sent: Sent,
    private: Private,
}

impl Consumer {
    pub(in crate::stream) fn new(
        mut conn: Conn,
        who: Who,
        subscriptions: Vec<Subscription>,
        budget: &Budget,
        now_ms: u64,
    ) -> Self {
        let told_via = conn.inbound().is_some_and(|session| session.asks_via()).then_some(0);
        let received_before = if let Who::Target(target) = &who { target.counters.bytes_in.get() } else { 0 };
        Self {
            conn,
            who,
            subscriptions,
            current: 0,
            blocked: false,
            progress_ms: now_ms,
            close_by_ms: None,
            told_via,
            push: None,
            said: None,
            question: None,
            is_due: false,
            private: Private::new(budget),
            tally: Tally::default(),
            sent: Sent::default(),
            received_before,
        }
    }

    // ---- another process

    /// Sends these bytes first: what another process had still to send to it.
    pub(in crate::stream) fn resume(&mut self, unsent: Vec<u8>) {
        self.private.fill(unsent);
    }

    /// The state with which another process continues a player; `log` is the name of its stream's log.
    ///
    /// # Errors
    /// [`RRError::Unsupported`] if it cannot continue elsewhere, [`RRError::State`] if it is about to end,
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn state(&mut self, log: &[u8], now_ms: u64) -> Result<Vec<u8>> {
        self.settle();
        let about_to = || Failure::ours(RRError::State, "it is about to play something else, or to end");
        let (Who::Player(record), Some(newest)) = (&self.who, self.subscriptions.last()) else {
            return Err(about_to());
        };
        if self.said.is_some() || self.close_by_ms.is_some() {
            return Err(about_to());
        }
        let named = Named::of_player(record, newest.stream().name());
        let play = |subscription: &Subscription| {
            if subscription.is_foreign() { subscription.play(&subscription.log_name()) } else { subscription.play(log) }
        };
        let mut plays = self.subscriptions.iter().map(play).collect::<Result<Vec<_>>>()?;
        let mut unsent = copied(self.private.rest())?;
        // A message is half sent only of the current one, which comes first.
        let current = self.current.min(plays.len());
        let (before, from_current) = self.subscriptions.split_at(current);
        let (plays_before, plays_from_current) = plays.split_at_mut(current);
        let in_turn = from_current.iter().zip(plays_from_current).chain(before.iter().zip(plays_before));
        for (subscription, play) in in_turn {
            subscription.unsent(&mut play.share, &mut unsent)?;
        }
        let asks = self.question.as_ref().and_then(|question| question.asks.clone());
        let doing = Doing::Plays(Playing { plays, named, unsent, asks });
        exported::state_of(&mut self.conn, record, &doing, now_ms)
    }

    /// The other streams that it plays.
    pub(in crate::stream) fn foreign_streams(&self) -> Vec<Id> {
        let foreign = self.subscriptions.iter().filter(|subscription| subscription.is_foreign());
        foreign.map(|subscription| subscription.stream().id()).collect()
    }

    /// Counts what was sent, and takes the session's output to its place between two messages, before headers that are
    /// due.
    fn settle(&mut self) {
        self.count_sent();
        self.tally.report(self.who.counters());
        if self.is_between() && self.conn.has_output() {
            self.private.fill(self.conn.take_output());
        }
    }

    /// The state with which another process continues a target with this history; `log` is the name of its stream's log.
    ///
    /// # Errors
    /// [`RRError::State`] if it is about to end, [`RRError::NoMem`], and those of [`Conn::client_snapshot`].
    pub(in crate::stream) fn push_state(&mut self, log: &[u8], history: Backoff, now_ms: u64) -> Result<Vec<u8>> {
        self.settle();
        let (Who::Target(target), Some(push), [subscription]) = (&self.who, &self.push, &*self.subscriptions) else {
            return Err(Failure::ours(RRError::State, "it is no target"));
        };
        target.counters.received(self.received_before, self.conn.bytes_in(), now_ms * 1000);
        let (mut share, mut unsent) = (subscription.share(log)?, copied(self.private.rest())?);
        subscription.unsent(&mut share, &mut unsent)?;
        let push = MovedPush { share, unsent, ran_ms: push.ran_ms(now_ms) };
        About::of(target, history).pushing(&mut self.conn, &push, now_ms)
    }

    // ---- subscriptions

    /// The subscriptions of the relay's own stream.
    pub(in crate::stream) fn own(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.subscriptions.iter_mut().filter(|subscription| !subscription.is_foreign())
    }

    /// Whether a subscription of the relay's own stream is left.
    pub(in crate::stream) fn has_own(&self) -> bool {
        self.subscriptions.iter().any(|subscription| !subscription.is_foreign())
    }

    /// The subscription on this message stream.
    pub(in crate::stream) fn on_stream(&mut self, stream_id: u32) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.stream_id() == stream_id)
    }

    /// Follows the logs of other streams.
    #[inline]
    pub(in crate::stream) fn follow(&mut self, now_us: u64) {
        if self.subscriptions.len() > 1 {
            self.subscriptions.iter_mut().for_each(|subscription| subscription.follow(now_us));
        }
    }

    /// Removes the subscriptions for which `goes` is true; only between two messages.
    pub(in crate::stream) fn remove(&mut self, mut goes: impl FnMut(&Subscription) -> bool) -> Vec<Subscription> {
        debug_assert!(self.is_between(), "nothing may be half sent");
        self.count_sent();
        // Whoever hears of the end reads the figures at once.
        self.tally.report(self.who.counters());
        let mut gone = Vec::new();
        let mut at = 0;
        while let Some(subscription) = self.subscriptions.get(at) {
            if goes(subscription) {
                gone.push(self.subscriptions.remove(at));
            } else {
                at += 1;
            }
        }
        self.current = 0;
        gone
    }

    /// Whether one of the subscriptions is at its end, and nothing is half sent.
    pub(in crate::stream) fn has_ended(&self) -> bool {
        self.subscriptions.iter().any(Subscription::has_ended) && self.is_between()
    }

    /// Whether the relay has to act on the consumer: a subscription has ended, the peer sent a command or the listener is
    /// to take the consumer back, and nothing is half sent.
    #[inline]
    pub(in crate::stream) fn is_done(&self) -> bool {
        self.has_ended() || (self.stops() && self.is_between())
    }

    /// Whether no further message begins, because the relay has to act on the consumer.
    fn stops(&self) -> bool {
        self.said.is_some() || self.is_due
    }

    /// Sends the session's last output, and ends our side of the connection as soon as all of it has gone.
    pub(in crate::stream) fn finish(&mut self) {
        // The failure of a socket shows when the socket is read.
        self.blocked = !self.conn.finish().unwrap_or(true);
    }

    /// Whether the consumer is between two messages, with nothing half sent.
    pub(in crate::stream) fn is_between(&self) -> bool {
        self.private.is_empty() && self.subscriptions.get(self.current).is_none_or(Subscription::is_between)
    }

    // ---- sending: plan, write, advance

    /// Plans the next bytes to send; the relay's join index has read up to `home`.
    ///
    /// # Errors
    /// Errors of the socket, of memory and of its limit; each ends the consumer.
    pub(in crate::stream) fn plan(&mut self, home: Head, now_us: u64) -> Result<Plan> {
        let begins = !self.stops();
        loop {
            let Some(current) = self.subscriptions.get_mut(self.current) else { return Ok(Plan::Nothing) };
            if !self.private.is_empty() {
                let len = current.within_rate(self.private.rest().len(), now_us);
                return Ok(len.map_or_else(Plan::Limited, |len| Plan::Send(Run { private: true, len })));
            }
            // Ciphertext that TLS still holds goes out before new bytes.
            if !self.conn.flush_tls()? {
                return Ok(Plan::Blocked);
            }
            if self.conn.has_output() && current.is_between() {
                self.private.fill(self.conn.take_output());
                continue;
            }
            match self.plan_media(begins, home, now_us)? {
                Next::Private => {}
                Next::Log(len) => return Ok(Plan::Send(Run { private: false, len })),
                Next::Nothing => return Ok(Plan::Nothing),
                Next::Collects(until) => return Ok(Plan::Collects(until)),
                Next::Limited(until) => return Ok(Plan::Limited(until)),
            }
        }
    }

    /// Asks each subscription in turn until one has something; if none has, returns the earliest time at which one may
    /// have.
    fn plan_media(&mut self, begins: bool, home: Head, now_us: u64) -> Result<Next> {
        let mut next = Next::Nothing;
        let subscriptions = self.subscriptions.as_mut_slice();
        let count = subscriptions.len();
        for _ in 0..count {
            let Some(subscription) = subscriptions.get_mut(self.current) else { break };
            match subscription.plan(&mut self.private, begins, home, now_us)? {
                something @ (Next::Log(_) | Next::Private) => return Ok(something),
                waits @ (Next::Collects(until) | Next::Limited(until)) => {
                    if !subscription.is_between() {
                        return Ok(waits);
                    }
                    let sooner = !matches!(next, Next::Collects(other) | Next::Limited(other) if other <= until);
                    next = if sooner { waits } else { next };
                }
                Next::Nothing => {}
            }
            self.current = after(self.current, count);
        }
        Ok(next)
    }

    /// Gives the bytes of a plan to the connection, which may take fewer.
    ///
    /// # Errors
    /// Errors of the socket; each ends the consumer.
    pub(in crate::stream) fn write(&mut self, run: Run) -> Result<Taken> {
        if run.private {
            let bytes = self.private.rest().get(..run.len).unwrap_or_default();
            return Ok(Taken::of(self.conn.write(bytes)?));
        }
        let Some(subscription) = self.subscriptions.get_mut(self.current) else { return Ok(Taken::default()) };
        subscription.write(run.len, &mut self.conn, &mut self.private)
    }

    /// Notes how much of a plan the connection took. False if the socket takes no more now.
    pub(in crate::stream) fn advance(&mut self, run: Run, taken: Taken, now_us: u64) -> bool {
        self.blocked = taken.run < run.len;
        let subscriptions = self.subscriptions.as_mut_slice();
        let count = subscriptions.len();
        if let Some(subscription) = subscriptions.get_mut(self.current).filter(|_| taken.run > 0) {
            if run.private {
                self.private.advance(taken.run);
                subscription.spend(taken.sent);
            } else {
                subscription.advance(taken);
            }
            let sent = subscription.take_sent();
            self.tally.sent(sent, now_us, self.who.counters());
            if !subscription.is_foreign() {
                self.sent += sent;
            }
            self.progress_ms = now_us / 1000;
            if self.private.is_empty() && subscription.is_between() {
                self.current = after(self.current, count);
            }
        }
        !self.blocked
    }

    /// Sends until there is, up to `head` at least, nothing more, the socket takes no more, or `runs` runs have been
    /// sent. Returns the last plan: what the consumer waits for, or what is left to send.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan) and [`write`](Self::write).
    pub(in crate::stream) fn send(&mut self, mut runs: usize, head: Head, now_us: u64) -> Result<Plan> {
        loop {
            match self.plan(head, now_us)? {
                Plan::Send(run) if runs > 0 => {
                    let taken = self.write(run)?;
                    if !self.advance(run, taken, now_us) {
                        return Ok(Plan::Blocked);
                    }
                    if self.has_sent_all(head) {
                        return Ok(Plan::Nothing);
                    }
                    runs -= 1;
                }
                plan => {
                    self.blocked = plan == Plan::Blocked;
                    return Ok(plan);
                }
            }
        }
    }

    /// Its socket, its place and for how long it collects, if what it is sent next are the log's own bytes from there on and
    /// nothing else.
    pub(in crate::stream) fn in_step(&mut self) -> Option<(BareSocket, &Cursor, u64)> {
        let is_asked_about = self.question.is_some() || self.stops();
        let is_free = !self.blocked && self.close_by_ms.is_none() && !is_asked_about && !self.has_more();
        let [subscription] = self.subscriptions.as_slice() else { return None };
        let place = subscription.in_step().filter(|_| is_free)?;
        Some((self.conn.socket.bare()?, place, subscription.merge_us()))
    }

    /// Takes one that was [in step](Self::in_step) to this place: what is before it was sent, the last of it at this time.
    /// The relay has counted that for the stream.
    pub(in crate::stream) fn catch_up(&mut self, place: &Cursor, sent_us: u64) {
        let sent = self.subscriptions.first_mut().map_or_else(Sent::default, |one| one.catch_up(place));
        if sent.bytes > 0 {
            self.conn.note_sent(sent.bytes);
            self.tally.sent(sent, sent_us, self.who.counters());
            self.progress_ms = sent_us / 1000;
        }
    }

    /// Notes how much of `len` bytes of the log its socket has taken.
    ///
    /// # Errors
    /// The error of the socket, which ends the consumer.
    pub(in crate::stream) fn note_written(&mut self, result: io::Result<usize>, len: usize, now_us: u64) -> Result<()> {
        let taken = Taken::of(self.conn.written(result)?);
        self.advance(Run { private: false, len }, taken, now_us);
        Ok(())
    }

    /// Whether the next plan would be to send nothing, as far as that shows without making it: the one subscription is at
    /// `head`, and nothing else waits.
    pub(in crate::stream) fn has_sent_all(&mut self, head: Head) -> bool {
        let has_more = self.has_more();
        match self.subscriptions.as_mut_slice() {
            [subscription] if !has_more => subscription.reaches(head),
            _ => false,
        }
    }

    /// Whether something is to be sent besides the log.
    fn has_more(&mut self) -> bool {
        !self.private.is_empty() || self.conn.has_output() || self.conn.socket.holds_ciphertext()
    }

    /// Whether the consumer itself causes its backlog: its socket takes nothing, or its rate limit holds it back.
    pub(in crate::stream) fn is_stuck(&self, now_us: u64) -> bool {
        self.blocked || self.subscriptions.iter().any(|subscription| subscription.is_limited(now_us))
    }

    // ---- figures

    /// Counts the bytes and messages sent of all subscriptions.
    fn count_sent(&mut self) {
        for subscription in &mut self.subscriptions {
            let sent = subscription.take_sent();
            self.tally.sent(sent, clock::now_us(), self.who.counters());
            if !subscription.is_foreign() {
                self.sent += sent;
            }
        }
    }

    /// The messages and bytes of the relay's own stream sent since the last call.
    pub(in crate::stream) fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Updates the queue's figures; called periodically.
    pub(in crate::stream) fn measure(&mut self, head: Head, now_us: u64) {
        self.private.recount(self.conn.heap_bytes());
        let mut behind = Lag { bytes: self.private.rest().len() as u64, ..Lag::default() };
        for subscription in &mut self.subscriptions {
            subscription.note_place();
            // A paused subscription has no backlog.
            let head = subscription.head(head);
            let lag = if subscription.is_paused() { Lag::default() } else { subscription.lag(head, now_us) };
            behind.bytes += lag.bytes + subscription.tail_bytes().0 as u64;
            behind.messages += lag.messages;
            behind.ms = behind.ms.max(if lag.bytes == 0 { 0 } else { lag.ms });
        }
        let counters = self.who.counters();
        self.tally.report(counters);
        counters.queue_bytes.set(behind.bytes);
        counters.queue_msgs.set(behind.messages);
        counters.queue_ms.set(behind.ms);
        counters.queue_ms_max.set(counters.queue_ms_max.get().max(behind.ms));
        counters.received(self.received_before, self.conn.bytes_in(), now_us);
        if counters.msgs_out.get() > 0 {
            counters.last_media_us.set(self.progress_ms * 1000);
            // The timestamp of the last subscription represents all plays of the connection.
            if let Some(ts_ms) = self.subscriptions.iter().rev().find_map(Subscription::passed_ts_ms) {
                counters.sent_time(ts_ms);
            }
        }
        counters.tcp.refresh(&self.conn, now_us / 1000);
    }

    /// Private memory of a consumer whose socket has taken nothing for `ms`; 0 if the socket took something since.
    pub(in crate::stream) fn idle_bytes(&self, now_ms: u64, ms: u64) -> usize {
        let idle = self.blocked && now_ms.saturating_sub(self.progress_ms) >= ms;
        let tails = || self.subscriptions.iter().map(|subscription| subscription.tail_bytes().1).sum::<usize>();
        if idle { self.private.capacity() + tails() } else { 0 }
    }

    /// The connection, its peer and its subscriptions, to hand to the listener or another relay, or to close.
    pub(in crate::stream) fn into_parts(mut self) -> (Conn, Who, Vec<Subscription>) {
        self.count_sent();
        self.tally.report(self.who.counters());
        (self.conn, self.who, self.subscriptions)
    }
}

/// The index of the next turn after `current`, among `count`.
fn after(current: usize, count: usize) -> usize {
    if current + 1 < count { current + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Consumer, Subscription};
    use crate::session::ServerSession;
    use crate::stream::record::RRSession;

    /// Thousands of players wait for hours, and each has one of these. A field that few players need belongs behind a
    /// pointer, which is empty for all others.
    #[test]
    fn each_part_of_an_idle_player_is_small() {
        let sizes =
            [size_of::<Consumer>(), size_of::<Subscription>(), size_of::<RRSession>(), size_of::<ServerSession>()];
        let most = [336, 288, 480, 784];
        assert!(sizes.iter().zip(most).all(|(size, most)| *size <= most), "{sizes:?} bytes; at most {most:?}");
    }
}
