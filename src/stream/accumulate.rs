//! accumulate: the thread (`accmDataThread`) that reads a stream's publisher and appends what it sends to the log.
//!
//! It owns the publisher's socket from the accepted `publish` to its end. It never waits for a consumer: it appends
//! and rings the relay. The connection goes back to the listener when the peer unpublishes and stays.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::Receiver;

use crate::config::{READ_BUDGET_BYTES, READ_BUFFER_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::conn::Pumped;
use crate::net::poll::{Poller, Ready};
use crate::net::socket::half_close;
use crate::proto::flv;
use crate::proto::message::{MessageHead, kind};
use crate::session::{self, Role, State};
use crate::stream::buffer::{Entry, RRBuffer};
use crate::stream::event::EventKind;
use crate::stream::peer::{Order, Peer};
use crate::stream::segment::flag;
use crate::stream::{RRStream, Timeouts};

/// The publisher sits in this slot; the poller has nobody else.
const LIVE: usize = 0;

/// How often timeouts are looked at.
const TICK_MS: u64 = 500;

/// Appends one message to the log, as consumers are to get it: data messages bare, everything verbatim.
pub(super) fn append(
    stream: &RRStream,
    buffer: &mut RRBuffer,
    head: &MessageHead,
    body: &[u8],
    now_us: u64,
) -> Result<()> {
    let facts = flv::facts(head.type_id, body);
    let mut flags = 0;
    for (fact, bit) in [
        (facts.key, flag::KEY),
        (facts.seq_start, flag::SEQ),
        (facts.metadata || facts.side_config, flag::META),
        (facts.set_data_frame, flag::SET_DATA_FRAME),
    ] {
        if fact {
            flags |= bit;
        }
    }
    let entry =
        Entry { ts_ms: head.timestamp_ms, type_id: head.type_id, flags, track: facts.track, arrival_us: now_us };
    match flv::strip_set_data_frame(head.type_id, body) {
        // An AMF3 data message keeps its leading 0.
        Some(bare) if head.type_id == kind::DATA_AMF3 => {
            buffer.append(&entry, &[body.get(..1).unwrap_or_default(), body.get(bare..).unwrap_or_default()])?;
        }
        Some(bare) => buffer.append(&entry, &[body.get(bare..).unwrap_or_default()])?,
        None => buffer.append(&entry, &[body])?,
    }
    count(stream, head, &facts, body.len() as u64, now_us);
    Ok(())
}

fn count(stream: &RRStream, head: &MessageHead, facts: &flv::FrameFacts, bytes: u64, now_us: u64) {
    let counters = &stream.counters;
    counters.message_in(head.type_id, bytes, now_us);
    counters.bytes_in.add(bytes);
    counters.rate_in.add(bytes, now_us);
    let last = counters.last_ts_ms.load(Ordering::Relaxed);
    // The shortest way from the last time to this one, over the wrap at 2^32 if that is shorter.
    let step = head.timestamp_ms.wrapping_sub(last as u32) as i32;
    let ts_ms = if counters.msgs_in.get() == 1 { i64::from(head.timestamp_ms) } else { last + i64::from(step) };
    counters.last_ts_ms.store(ts_ms, Ordering::Relaxed);
    counters.last_media_us.store(clock::wall_us(), Ordering::Relaxed);
    if facts.key && !facts.seq_start && head.type_id == kind::VIDEO {
        let before = counters.last_key_ts_ms.swap(ts_ms, Ordering::Relaxed);
        let interval = u32::try_from(ts_ms - before).unwrap_or(0);
        counters.key_interval_ms.store(interval, Ordering::Relaxed);
    }
    let media = matches!(head.type_id, kind::AUDIO | kind::VIDEO);
    if (media && stream.tracks.note(head.type_id, facts)) || facts.metadata {
        stream.host().event(stream.event(EventKind::Tracks));
    }
}

/// A session whose `publish` was accepted on this message stream.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) peer: Peer,
    pub(super) stream_id: u32,
}

/// The live publisher and what is known of its pace.
#[derive(Debug)]
struct Live {
    peer: Peer,
    stream_id: u32,
    /// More is to be read without being told.
    more: bool,
    since_ms: u64,
    /// When the last media message came; 0 before the first.
    media_ms: u64,
    pinged_ms: u64,
}

/// How the publisher's connection goes on.
enum Fate {
    /// It goes on publishing.
    Stays,
    /// It has unpublished and stays connected.
    Lobby(Option<session::Event>),
    /// It is over.
    Over(Failure),
}

struct Accumulate {
    stream: Arc<RRStream>,
    poller: Poller,
    inbox: Receiver<Arrival>,
    live: Option<Live>,
    timeouts: Timeouts,
    scratch: Box<[u8]>,
}

/// The thread's body; ends when the stream is told to stop.
pub(super) fn run(stream: Arc<RRStream>, poller: Poller, inbox: Receiver<Arrival>) {
    let timeouts = stream.host().timeouts();
    let scratch = vec![0; READ_BUFFER_BYTES].into_boxed_slice();
    let mut this = Accumulate { stream, poller, inbox, live: None, timeouts, scratch };
    this.run();
    this.close();
}

impl Accumulate {
    fn run(&mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        while self.stream.stop_by_ms().is_none() {
            let timeout = self.live.as_ref().map(|live| if live.more { 0 } else { TICK_MS });
            let (stream, inbox) = (&self.stream, &self.inbox);
            let has_work = || !inbox.is_empty() || stream.stop_by_ms().is_some();
            if let Err(failure) = self.poller.wait(timeout, false, has_work, &mut ready) {
                log::error!("accumulate cannot wait: {failure}");
                return;
            }
            // Whatever it is about is looked at below, in every turn; left up, it would turn the next wait into a look.
            self.poller.take_nudge();
            let mut readable = ready.iter().any(|ready| ready.slot == LIVE && ready.readable);
            let mut to_end = ready.iter().any(|ready| ready.slot == LIVE && ready.closed);
            while let Ok(arrival) = self.inbox.try_recv() {
                self.adopt(arrival);
                (readable, to_end) = (true, true);
            }
            let more = self.live.as_ref().is_some_and(|live| live.more);
            (readable, to_end) = (readable || more, to_end || more);
            let writable = ready.iter().any(|ready| ready.slot == LIVE && ready.writable);
            self.turn(readable, to_end, writable);
        }
    }

    /// A publisher comes in; the stream's claim on it was made before.
    fn adopt(&mut self, Arrival { mut peer, stream_id }: Arrival) {
        if let Err(failure) = self.poller.add(&mut peer.conn.socket, LIVE) {
            self.stream.host().session_over(&peer.record, &failure);
            self.stream.release(&peer.record);
            return;
        }
        let prev = peer.record.set_state(State::InProgress);
        peer.record.set_role(Role::Publisher);
        let event = peer.record.event(EventKind::Session).moved(prev, State::InProgress);
        self.stream.host().event(event);
        let now_ms = clock::now_ms();
        self.live = Some(Live { peer, stream_id, more: false, since_ms: now_ms, media_ms: 0, pinged_ms: now_ms });
    }

    fn turn(&mut self, readable: bool, to_end: bool, writable: bool) {
        let Some(mut live) = self.live.take() else { return };
        let mut fate = self.obey(&mut live);
        if matches!(fate, Fate::Stays) && readable {
            fate = self.read(&mut live, to_end);
        }
        if matches!(fate, Fate::Stays) {
            fate = self.tick(&mut live);
        }
        if matches!(fate, Fate::Stays) && (readable || writable || live.peer.conn.has_output()) {
            fate = live.peer.conn.flush().map_or_else(Fate::Over, |_| Fate::Stays);
        }
        match fate {
            Fate::Stays => self.live = Some(live),
            Fate::Lobby(event) => self.let_go(live.peer, event),
            Fate::Over(failure) => self.end(live.peer, &failure),
        }
    }

    fn obey(&self, live: &mut Live) -> Fate {
        while let Some(order) = live.peer.record.next_order() {
            match order {
                Order::Close(text) => return Fate::Over(Failure::ours(RRError::Kicked, text)),
                // Answers to an ask that is over.
                Order::Allow(_) | Order::Deny(..) | Order::Redirect(_) => {}
            }
        }
        Fate::Stays
    }

    fn read(&mut self, live: &mut Live, to_end: bool) -> Fate {
        let now_us = clock::now_us();
        let (stream, record) = (&self.stream, &live.peer.record);
        let mut failed = None;
        let mut took = false;
        let pumped =
            live.peer.conn.pump(
                &mut self.scratch,
                now_us / 1000,
                READ_BUDGET_BYTES,
                to_end,
                |event, body| match event {
                    session::Event::Message(head) => match stream.take(&head, body, now_us) {
                        Ok(()) => {
                            took = true;
                            record.counters.message_in(head.type_id, body.len() as u64, now_us);
                            ControlFlow::Continue(())
                        }
                        Err(failure) => {
                            failed = Some(failure);
                            ControlFlow::Break(event)
                        }
                    },
                    session::Event::Pause { .. } | session::Event::Receive { .. } => ControlFlow::Continue(()),
                    other => ControlFlow::Break(other),
                },
            );
        let bytes_in = live.peer.conn.bytes_in();
        let counters = &live.peer.record.counters;
        counters.rate_in.add(bytes_in - counters.bytes_in.get(), now_us);
        counters.bytes_in.set(bytes_in);
        if took {
            live.media_ms = now_us / 1000;
            self.stream.rouse();
        }
        if let Some(failure) = failed {
            return Fate::Over(failure);
        }
        live.more = false;
        match pumped {
            Ok(Pumped::Drained) => Fate::Stays,
            Ok(Pumped::More) => {
                live.more = true;
                Fate::Stays
            }
            Ok(Pumped::Held(session::Event::EndPublish { .. })) => Fate::Lobby(None),
            Ok(Pumped::Held(event)) => Fate::Lobby(Some(event)),
            Err(failure) => Fate::Over(failure),
        }
    }

    /// Timeouts: the first media, silence, and pings that ask whether the peer is there.
    fn tick(&self, live: &mut Live) -> Fate {
        let now_ms = clock::now_ms();
        let Timeouts { first_data_ms, idle_ms, ping_ms, .. } = self.timeouts;
        if live.media_ms == 0 && now_ms.saturating_sub(live.since_ms) > first_data_ms {
            return Fate::Over(Failure::peers(RRError::Idle, "no media after publish"));
        }
        let silent_ms = now_ms.saturating_sub(live.media_ms.max(live.since_ms));
        if live.media_ms != 0 && silent_ms > idle_ms {
            return Fate::Over(Failure::peers(RRError::Idle, format!("no media for {silent_ms} ms")));
        }
        if ping_ms != 0 && silent_ms > ping_ms.min(idle_ms / 2) && now_ms.saturating_sub(live.pinged_ms) > ping_ms {
            live.pinged_ms = now_ms;
            live.peer.conn.ping(now_ms);
        }
        Fate::Stays
    }

    /// The publisher has unpublished and stays connected.
    fn let_go(&mut self, mut peer: Peer, event: Option<session::Event>) {
        self.poller.remove(&mut peer.conn.socket);
        self.stream.release(&peer.record);
        self.stream.host().reclaim(peer, event);
    }

    /// The publisher's connection is over.
    fn end(&mut self, mut peer: Peer, failure: &Failure) {
        // What the session has to say last (an onStatus) goes out if the socket takes it; the rest is the peer's loss.
        let _ = peer.conn.flush();
        self.poller.remove(&mut peer.conn.socket);
        half_close(&peer.conn.socket);
        self.stream.host().session_over(&peer.record, failure);
        self.stream.release(&peer.record);
    }

    /// The stream stops: the publisher and whoever is still on the way here are closed.
    fn close(&mut self) {
        let failure = Failure::ours(RRError::Kicked, "the stream was stopped");
        // From here on nothing more arrives, so what is drained is all.
        self.stream.close_accumulate();
        let live = self.live.take().map(|live| Arrival { peer: live.peer, stream_id: live.stream_id });
        let waiting: Vec<Arrival> = self.inbox.try_iter().collect();
        for Arrival { mut peer, stream_id } in live.into_iter().chain(waiting) {
            if let Some(session) = peer.conn.server() {
                session.end_publish(stream_id, "NetStream.Publish.Denied", &failure.text);
            }
            self.end(peer, &failure);
        }
    }
}
