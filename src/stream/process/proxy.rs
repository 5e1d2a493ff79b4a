//! The proxy: the task that stands for a stream's two tasks while they run in a process of their own, the worker.
//!
//! The stream of the server keeps its book, its records, targets, state and figures, and all that peers and the host may
//! do is decided with them. Whoever would go to one of the two tasks comes to the proxy, which makes its state, as for
//! another server, and sends it with the connection to the worker. From then on the proxy owns the record: it passes on
//! the host's orders, and notes what the worker says. The worker cannot do anything but that: what it says is checked,
//! and is only about those that the proxy has sent to it.
//!
//! A worker can go on under another server: its proxy here offers it (`offer`), and the one there takes it over
//! (`adopted`).

mod adopted;
mod arrivals;
mod export;
mod link;
mod moving;
mod offer;
mod pump;
mod reports;
#[cfg(test)]
mod tests;
mod waits;

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam::channel::Receiver;

use self::link::Link;
use self::moving::Moving;
use self::pump::Pumps;
use self::waits::{TargetOrder, Waits};
use super::host::HostMessages;
use super::supervisor::Supervisor;
use super::watchdog::Due;
use super::wire::{Handle, ToWorker, cut, impossible};
use super::workers::Workers;
use crate::config::{READ_BUDGET_BYTES, READ_LITTLE_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::net::conn::Conn;
use crate::net::event_loop::{Io, Task};
use crate::net::fd_channel::queue::Next;
use crate::net::poll::Ready;
use crate::net::socket::half_close;
use crate::session::SessionConfig;
use crate::stream::book::Places;
use crate::stream::egress::subscription::Subscription;
use crate::stream::exported::target::{About, Pause};
use crate::stream::front::RRStream;
use crate::stream::handover::{Delivery, ForAccumulate};
use crate::stream::memory::budget::Charge;
use crate::stream::record::{Caller, Export, Order, RRSession};
use crate::stream::relays::LEAD;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::source::{self, Goes};
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

/// How long a worker may take to end, past the deadline of its stream.
const END_MS: u64 = 1_500;

/// Most messages of a worker in one turn.
const MESSAGES: usize = 256;

/// Most turns for what a worker has said before its end.
const LAST_TURNS: usize = 16;

/// How long a worker may take to close its publisher and to use less memory.
const EVICT_MS: u64 = 10_000;

/// How long a worker may take to do what it is asked: to take somebody, to close a session, to end a target whose time is
/// over.
const ORDER_MS: u64 = 30_000;

/// Longest time between two looks at the worker that counts for its deadlines: after a longer one this process stood still, and
/// perhaps the worker with it, or nothing was to be done until another process had decided.
const LOOK_MS: u64 = 2_000;

/// What the worker does not do.
const STAYS: &str = "it runs in a process of its own, and stays there";

/// A session that the worker has.
struct WorkerSession {
    record: Arc<RRSession>,
    /// A player's place on the book. A publisher has none.
    subscriptions: Vec<Subscription>,
    /// Its connection, until the worker has said that it has it.
    conn: Option<Conn>,
    /// Who waits for its export, and the room for its state.
    export: Option<(usize, Caller<Export>)>,
    /// Why the host has closed it.
    closing: Option<String>,
    /// When the worker must have taken it, or closed it, monotonic ms.
    due_ms: Option<u64>,
}

impl WorkerSession {
    /// One that is on its way to the worker.
    fn sent(record: Arc<RRSession>, subscriptions: Vec<Subscription>, conn: Conn, now_ms: u64) -> Self {
        let due_ms = Some(now_ms + ORDER_MS);
        Self { record, subscriptions, conn: Some(conn), export: None, closing: None, due_ms }
    }

    fn publishes(&self) -> bool {
        self.subscriptions.is_empty()
    }
}

/// A target or source that the worker has.
struct WorkerTarget {
    target: Arc<Target>,
    /// The settings that the worker knows.
    endpoint: Arc<Endpoint>,
    /// The record of a source, which is on the book.
    record: Option<Arc<RRSession>>,
    conn: Option<Conn>,
    is_stopped: bool,
    /// When the worker must have taken it, or ended it, monotonic ms.
    due_ms: Option<u64>,
    /// Since when it has had media at most, monotonic ms.
    since_ms: u64,
    /// Its export.
    export: Option<TargetOrder>,
}

impl WorkerTarget {
    /// One that is on its way to the worker at this time, after it has had media for so long.
    fn sent(
        target: Arc<Target>,
        endpoint: Arc<Endpoint>,
        record: Option<Arc<RRSession>>,
        conn: Conn,
        (now_ms, ran_ms): (u64, u64),
    ) -> Self {
        let (due_ms, since_ms) = (Some(now_ms + ORDER_MS), now_ms.saturating_sub(ran_ms));
        let (is_stopped, export) = (false, None);
        Self { target, endpoint, record, conn: Some(conn), is_stopped, due_ms, since_ms, export }
    }
}

/// The task; only its loop's thread uses its fields.
pub(crate) struct Proxy {
    stream: Arc<RRStream>,
    workers: Arc<Workers>,
    supervisor: Arc<Supervisor>,
    host: Arc<HostMessages>,
    publishers: Receiver<Box<ForAccumulate>>,
    worker: Option<Link>,
    /// The last handle that was given.
    last_handle: Handle,
    sessions: HashMap<Handle, WorkerSession>,
    targets: HashMap<Handle, WorkerTarget>,
    /// Those of connections over TLS.
    pumps: Pumps,
    /// The memory of the worker, as it says.
    memory: Charge,
    /// What waits here for the worker.
    waiting: Charge,
    /// The worker was asked to close its publisher, and is to use less than this from this time on.
    evicts: Option<(u64, u64)>,
    /// The most memory that the worker uses.
    mem_limit: Option<u64>,
    /// The settings of its sessions.
    session: SessionConfig,
    /// Who publishes and stands by, by their handles, and by which way media comes, as it has said last.
    last_places: (Places, Vec<u8>),
    /// Targets were closed for lack of media: they are dialled again when media comes.
    has_idle_targets: bool,
    /// How often the settings that the worker has had changed, and whether the host wants the stream also without peers;
    /// `None` if nobody knows which it has.
    sent_changes: Option<(u64, bool)>,
    /// The deadline that the worker knows.
    sent_stop_ms: Option<u64>,
    /// Until when the worker appends nothing, as it knows, monotonic us.
    sent_hold_us: u64,
    moving: Moving,
    /// When it was last looked at, monotonic ms.
    looked_ms: u64,
    /// The stream comes from another server, or its state goes to one.
    waits: Waits,
    /// What the worker says is its description, with which it comes from another process.
    is_described: bool,
    over: bool,
}

impl Proxy {
    pub(in crate::stream) fn new(
        stream: Arc<RRStream>,
        workers: Arc<Workers>,
        supervisor: Arc<Supervisor>,
        host: Arc<HostMessages>,
        publishers: Receiver<Box<ForAccumulate>>,
    ) -> Self {
        let (memory, waiting) = (stream.memory().budget().nothing(), stream.memory().budget().nothing());
        let (mem_limit, session) = (workers.mem_limit(), workers.session.clone());
        Self {
            stream,
            workers,
            supervisor,
            host,
            publishers,
            worker: None,
            last_handle: 0,
            sessions: HashMap::new(),
            targets: HashMap::new(),
            pumps: Pumps::default(),
            memory,
            waiting,
            evicts: None,
            mem_limit,
            session,
            last_places: Default::default(),
            has_idle_targets: false,
            sent_changes: None,
            sent_stop_ms: None,
            sent_hold_us: 0,
            moving: Moving::No,
            looked_ms: 0,
            waits: Waits::default(),
            is_described: false,
            over: false,
        }
    }
}

impl Task for Proxy {
    type Message = Box<Delivery>;

    const TICK_MS: u64 = 250;
    const SCRATCH_BYTES: usize = READ_LITTLE_BYTES;

    fn wants_ticks(&self) -> bool {
        let has_work = self.worker.is_some() || !self.pumps.is_empty() || !self.host.is_empty();
        has_work || self.stream.stop_by_ms().is_some()
    }

    fn is_paused(&self) -> bool {
        self.moving.is_open()
    }

    fn on_message(&mut self, delivery: Box<Delivery>, io: &mut Io<'_>) {
        let refused = || Failure::ours(RRError::Unsupported, STAYS);
        self.settle(io);
        // What the host has published before somebody came goes first.
        self.take_host_messages(io);
        // Whoever comes finds the settings that the stream had when they came.
        if self.moving.is_no()
            && let Err(failure) = self.order_settings(io.now_us / 1000)
        {
            self.end_worker(&failure);
        }
        match *delivery {
            Delivery::Player(peer) => self.take_player(peer, io),
            Delivery::Target { target, conn, endpoint, history, moved } => {
                self.take_target(target, *conn, (endpoint, history), moved, io);
            }
            Delivery::OfferProcess { verdict, caller } => self.offer(verdict, caller, io),
            Delivery::Adopt(adoption) => self.adopt(adoption, io),
            Delivery::GoOn { message, memory: _memory, caller } => self.go_on(message, caller, io),
            Delivery::Export { room, caller, .. } => self.export_stream(room, caller, io.now_us),
            Delivery::ExportTarget { target, history, room, caller, .. } => {
                self.export_target(&target, history, (room, caller), io.now_us / 1000);
            }
            Delivery::Offer { caller, .. } => refuse(&caller, refused()),
            // This comes to relays only.
            Delivery::Refuse(_) => {}
        }
    }

    fn begin_round(&mut self, _ready: &[Ready], io: &mut Io<'_>) {
        self.settle(io);
        self.take_publishers(io);
        self.take_host_messages(io);
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        if ready.slot >= link::PUMPS {
            return self.pumps.turn(ready, io);
        }
        self.receive(io);
        if ready.slot == link::END {
            self.look_for_end(io);
        }
    }

    fn on_tick(&mut self, _nudged: bool, io: &mut Io<'_>) {
        let now_ms = io.now_us / 1000;
        self.look_for_orders(now_ms);
        self.watch(now_ms, io);
        self.look_for_end(io);
        self.pumps.look(io);
    }

    fn end_round(&mut self, inbox: &Receiver<Box<Delivery>>, io: &mut Io<'_>) {
        let mut left = READ_BUDGET_BYTES;
        if let Some(Err(failure)) = self.worker.as_mut().map(|link| link.flush(&mut left)) {
            // Why the socket has failed shows when the process has ended.
            log::debug!("{}: {failure}", self.stream.masked_name());
            self.look_for_end(io);
        }
        if left == 0 {
            // The poller does not report again that the socket takes more.
            io.again(link::CHANNEL);
        }
        // Where there is no room, others are asked to give memory up, and it counts from a later round on: it is there
        // already, and bounded.
        let on_their_way = |link: &Link| link.waiting_bytes() + link.arriving_bytes();
        let _ = self.waiting.follow(self.worker.as_ref().map_or(0, on_their_way) + self.moving.bytes());
        // Whoever has offered it may have given up before the worker had described itself.
        self.settle(io);
        let now_ms = io.now_us / 1000;
        let stops = self.stream.stop_by_ms();
        let is_idle = self.worker.is_none() && inbox.is_empty() && self.publishers.is_empty();
        // Connections over TLS that have moved have what they had otherwise in the time of the stream's end: their pumps.
        let pumps = self.moving.is_gone() && !self.pumps.is_empty();
        self.over = is_idle && stops.is_some_and(|by_ms| !pumps || now_ms >= by_ms);
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn on_end(&mut self, inbox: &Receiver<Box<Delivery>>, io: &mut Io<'_>) {
        self.stream.close_accumulate();
        self.stream.close_relay(LEAD);
        let failure = Failure::ours(RRError::Kicked, "the stream was stopped");
        for target in self.stream.sources().list().into_iter().chain(self.stream.book().targets()) {
            target.stop(0);
        }
        while let Ok(delivery) = inbox.try_recv() {
            match *delivery {
                Delivery::Player(peer) => self.refuse_player(peer, &failure),
                Delivery::Target { target, .. } => self.stream.upcalls().target_over(&target),
                Delivery::Adopt(adoption) => self.end_adopted(*adoption, &failure),
                Delivery::Export { .. }
                | Delivery::Offer { .. }
                | Delivery::ExportTarget { .. }
                | Delivery::OfferProcess { .. }
                | Delivery::GoOn { .. }
                | Delivery::Refuse(_) => {}
            }
        }
        while let Ok(message) = self.publishers.try_recv() {
            if let ForAccumulate::Publisher(publisher) = *message {
                self.refuse_publisher(*publisher, &failure);
            }
        }
        self.drop_all(&failure);
        self.pumps.finish(io);
        if let Some(link) = self.worker.take() {
            link.leave(io);
        }
        self.stream.upcalls().stream_over(self.stream.id());
    }
}

impl Proxy {
    // ---- orders of the host, and other news from this side

    fn look_for_orders(&mut self, now_ms: u64) {
        if self.moving.is_no()
            && let Err(failure) = self.pass_on_orders(now_ms)
        {
            self.end_worker(&failure);
        }
    }

    fn pass_on_orders(&mut self, now_ms: u64) -> Result<()> {
        self.order_sessions(now_ms)?;
        self.order_targets(now_ms)?;
        self.order_settings(now_ms)?;
        self.order_hold(now_ms)?;
        let Some(link) = &mut self.worker else { return Ok(()) };
        if let Some(id) = self.stream.book().take_switch() {
            let session = self.sessions.iter().find(|(_, entry)| entry.record.id == id).map(|(handle, _)| *handle);
            let source = || self.targets.iter().find(|(_, entry)| entry.target.id == id).map(|(handle, _)| *handle);
            if let Some(handle) = session.or_else(source) {
                link.send(&ToWorker::Switch(handle), None)?;
            }
        }
        if let Some(refusal) = self.stream.sources().take_refusal() {
            let (code, text) = (refusal.code, cut(&refusal.failure.text));
            link.send(&ToWorker::Refuse { code, text }, None)?;
        }
        if let Some(what) = self.stream.memory().asked(LEAD) {
            link.send(&ToWorker::GiveUp(what as u8), None)?;
        }
        // The host learns that at its next message.
        if !self.stream.book().host_publishes() && self.stream.memory().eviction().is_some() {
            link.send(&ToWorker::Evict, None)?;
            self.evicts = Some((now_ms + EVICT_MS, self.memory.bytes()));
        }
        let entry = self.sessions.values().map(|entry| &entry.record.counters);
        let all = entry.chain(self.targets.values().map(|entry| &entry.target.counters));
        let looks = all.map(|counters| &counters.tcp.looked_at);
        if looks.fold(false, |any, looks| looks.swap(false, std::sync::atomic::Ordering::Relaxed) | any) {
            link.send(&ToWorker::Look, None)?;
        }
        link.set_level(log::max_level())?;
        if let Some(by_ms) = self.stream.stop_by_ms().filter(|by_ms| self.sent_stop_ms != Some(*by_ms)) {
            self.sent_stop_ms = Some(by_ms);
            link.send(&ToWorker::Stop(by_ms.saturating_sub(now_ms)), None)?;
        }
        Ok(())
    }

    /// How often the stream's settings have changed, and whether the host wants it also without peers.
    fn changes(&self) -> (u64, bool) {
        (self.stream.identity().changes(), self.stream.book().is_reserved())
    }

    /// Passes on new settings of the stream.
    fn order_settings(&mut self, now_ms: u64) -> Result<()> {
        let changes = self.changes();
        if self.worker.is_none() || self.sent_changes == Some(changes) {
            return Ok(());
        }
        let state = self.without_log(changes.1, now_ms * 1000).state()?;
        let Some(link) = &mut self.worker else { return Ok(()) };
        link.send(&ToWorker::Settings { state: &state }, None)?;
        self.sent_changes = Some(changes);
        Ok(())
    }

    fn order_sessions(&mut self, now_ms: u64) -> Result<()> {
        let Some(link) = &mut self.worker else { return Ok(()) };
        for (&id, entry) in &mut self.sessions {
            while let Some(order) = entry.record.next_order() {
                match order {
                    Order::Close(text) => {
                        link.send(&ToWorker::Close { id, text: cut(&text) }, None)?;
                        (entry.closing, entry.due_ms) = (Some(text), Some(now_ms + ORDER_MS));
                    }
                    Order::Reconnect(url, text) => {
                        let (url, text) = (url.as_deref().map(cut), cut(&text));
                        link.send(&ToWorker::Reconnect { id, url, text }, None)?;
                    }
                    Order::Export { caller, .. } if entry.record.tls() => {
                        let text = "a connection over TLS stays in its process, which has its keys";
                        refuse(&caller, Failure::ours(RRError::Unsupported, text));
                    }
                    Order::Export { room, caller } if entry.export.is_none() && caller.take() => {
                        (entry.export, entry.due_ms) = (Some((room, caller)), Some(now_ms + ORDER_MS));
                        link.send(&ToWorker::Export { id, room: room as u64 }, None)?;
                    }
                    // A second export: its caller learns that it is not possible now. The others are answers to a
                    // question that is over.
                    Order::Export { .. }
                    | Order::Allow(_)
                    | Order::Deny(..)
                    | Order::Redirect(_)
                    | Order::Answer(..) => {}
                }
            }
        }
        Ok(())
    }

    /// Passes on stops and new settings of targets and sources.
    fn order_targets(&mut self, now_ms: u64) -> Result<()> {
        let Some(link) = &mut self.worker else { return Ok(()) };
        for (&id, entry) in &mut self.targets {
            if let Some(by_ms) = entry.target.stop_by_ms() {
                if !std::mem::replace(&mut entry.is_stopped, true) {
                    link.send(&ToWorker::StopTarget { id, within_ms: by_ms.saturating_sub(now_ms) }, None)?;
                    entry.due_ms = Some(by_ms.max(now_ms).saturating_add(ORDER_MS));
                }
                continue;
            }
            let endpoint = entry.target.endpoint();
            if !Arc::ptr_eq(&endpoint, &entry.endpoint) {
                entry.endpoint = endpoint;
                let state = About::of(&entry.target, Backoff::default()).paused(Pause::Rests, now_ms)?;
                link.send(&ToWorker::UpdateTarget { id, state: &state }, None)?;
            }
        }
        Ok(())
    }

    // ---- the worker's life

    /// Pings the worker, and ends one that hangs or takes too long to end.
    fn watch(&mut self, now_ms: u64, io: &mut Io<'_>) {
        let Some(link) = &mut self.worker else { return };
        if link.waits() && self.stream.stop_by_ms().is_some() {
            return link.give_up();
        }
        let waited = link.waits();
        let is_late = self.stream.stop_by_ms().is_some_and(|by_ms| now_ms > by_ms.saturating_add(END_MS));
        if let Err(failure) = link.start(&self.workers, &self.supervisor, &self.stream.config(), now_ms, io) {
            return self.end_worker(&failure);
        }
        if waited {
            // A worker that has just started gets the orders only now.
            self.begin_deadlines_anew(now_ms);
        }
        if self.is_found_overdue(now_ms) {
            return self.end_worker(&Failure::ours(RRError::Timeout, "it does not do what it is asked"));
        }
        if !self.moving.is_no() {
            // A worker that describes itself answers nothing else.
            return;
        }
        let Some(link) = &mut self.worker else { return };
        if self.evicts.is_some_and(|(by_ms, _)| now_ms >= by_ms)
            && let Some((_, bytes)) = self.evicts.take()
            && self.memory.bytes() >= bytes
        {
            return self.end_worker(&Failure::ours(RRError::Limit, "it gives no memory up"));
        }
        if link.has_closed_before(now_ms.saturating_sub(END_MS)) {
            return self.end_worker(&Failure::ours(RRError::Closed, "it has closed its channel and does not end"));
        }
        match self.supervisor.due(now_ms) {
            Due::Hung => self.end_worker(&Failure::ours(RRError::Timeout, "it hangs")),
            _ if is_late => self.end_worker(&Failure::ours(RRError::Timeout, "it took too long to end")),
            Due::Ping(number) => {
                if let Err(failure) = link.send(&ToWorker::Ping(number), None) {
                    self.end_worker(&failure);
                }
            }
            Due::Nothing => {}
        }
    }

    /// Looks whether the worker is overdue. Time in which nobody looked is not its own.
    fn is_found_overdue(&mut self, now_ms: u64) -> bool {
        let looked_ms = std::mem::replace(&mut self.looked_ms, now_ms);
        if now_ms > looked_ms + LOOK_MS {
            self.begin_deadlines_anew(now_ms);
        }
        self.is_overdue(now_ms)
    }

    /// Gives the worker the whole of its time for all that it is asked.
    fn begin_deadlines_anew(&mut self, now_ms: u64) {
        let sessions = self.sessions.values_mut().map(|entry| &mut entry.due_ms);
        let all = sessions.chain(self.targets.values_mut().map(|entry| &mut entry.due_ms));
        let all = all.chain([&mut self.waits.due_ms]).flatten().chain(self.moving.due_ms_mut());
        all.for_each(|due_ms| *due_ms = (*due_ms).max(now_ms + ORDER_MS));
        if let Some((by_ms, _)) = &mut self.evicts {
            *by_ms = (*by_ms).max(now_ms + EVICT_MS);
        }
    }

    /// Whether the worker has not done in time what it was asked.
    fn is_overdue(&self, now_ms: u64) -> bool {
        let sessions = self.sessions.values().map(|entry| entry.due_ms);
        let all = sessions.chain(self.targets.values().map(|entry| entry.due_ms));
        all.chain([self.moving.due_ms(), self.waits.due_ms]).flatten().any(|due_ms| now_ms >= due_ms)
    }

    /// Kills the worker because of this; its end comes soon.
    fn end_worker(&mut self, cause: &Failure) {
        if let Some(link) = &mut self.worker {
            link.kill(cause);
        }
    }

    /// Takes what the worker says; true if there may be more, which has another turn.
    fn receive(&mut self, io: &mut Io<'_>) -> bool {
        let mut left = READ_BUDGET_BYTES;
        for _ in 0..MESSAGES {
            let (describes, largest) = (self.moving.describes(), self.largest());
            let Some(link) = &mut self.worker else { return false };
            let received = match link.receive(largest, describes, io.now_us, &mut left) {
                Ok(Next::Message(message)) => self.take_report(message, io.now_us),
                Ok(Next::Nothing) => return false,
                Ok(Next::More) => break,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = received {
                self.end_worker(&failure);
            }
        }
        io.again(link::CHANNEL);
        true
    }

    /// Notes the end of the worker, if it has ended. What it has said before has been received.
    fn look_for_end(&mut self, io: &mut Io<'_>) {
        if self.moving.is_open() {
            return;
        }
        let Some(link) = &mut self.worker else { return };
        let Some(ended) = link.has_ended() else { return };
        for _ in 0..LAST_TURNS {
            if !self.receive(io) {
                break;
            }
        }
        let Some(mut link) = self.worker.take() else { return };
        let how = link.how(&ended);
        link.leave(io);
        let (name, now_ms) = (self.stream.masked_name(), io.now_us / 1000);
        let stops = self.sent_stop_ms.take().is_some();
        let failure = match how {
            None if stops => {
                log::debug!("{name}: its worker has ended");
                self.supervisor.ended(None, now_ms);
                Failure::ours(RRError::Kicked, "the stream was stopped")
            }
            how => {
                let how = how.unwrap_or_else(|| "ended by itself".to_owned());
                // No event of the stream says this.
                log::error!("{name}: its worker {how}; its connections are closed");
                self.supervisor.ended(Some(&how), now_ms);
                Failure::ours(RRError::Worker, format!("it {how}"))
            }
        };
        self.forget_worker();
        if self.stream.book().host_publishes() {
            self.host.fail();
            self.stream.end_host();
        }
        self.drop_all(&failure);
        self.goes_without_worker();
    }

    /// Forgets what was known of a worker that is here no more.
    fn forget_worker(&mut self) {
        let _ = self.memory.follow(0);
        (self.evicts, self.last_places) = Default::default();
        self.has_idle_targets = false;
        self.sent_hold_us = 0;
        self.mem_limit = self.workers.mem_limit();
        self.session = self.workers.session.clone();
    }

    /// A handle for one that is sent to the worker.
    fn next_handle(&mut self) -> Handle {
        self.last_handle += 1;
        self.last_handle
    }

    /// Ends all that the worker had.
    fn drop_all(&mut self, failure: &Failure) {
        let stream = Arc::clone(&self.stream);
        // No target is dialled for a stream without media.
        stream.life().rests();
        stream.ingest().tracks().clear();
        self.waits.end(failure);
        for (_, entry) in self.targets.drain() {
            drop(entry.conn);
            match &entry.record {
                Some(record) => {
                    stream.book().lose(record, false);
                    source::over(&**stream.upcalls(), &entry.target, failure, Goes::Lost, 0);
                }
                None if entry.target.is_stopped() => stream.upcalls().target_over(&entry.target),
                None => stream.upcalls().target_lost(&entry.target, failure, 0),
            }
            if let Some(order) = entry.export {
                order.give_back(&**stream.upcalls(), &entry.target);
            }
        }
        for (_, mut entry) in self.sessions.drain() {
            if let Some(conn) = &mut entry.conn {
                half_close(&mut conn.socket);
            }
            stream.book().lose(&entry.record, false);
            stream.upcalls().session_over(&entry.record, failure);
        }
        stream.give_up_waiting();
        stream.call_sources();
        stream.check_unused();
    }
}

/// Handles of the publisher, the player and the target of a proxy that is tried without a process; they have the same ids.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::stream) const IDS: [Handle; 3] = [1, 2, 3];

#[cfg(any(test, feature = "fuzzing"))]
impl Proxy {
    /// Notes that the worker has these.
    pub(in crate::stream) fn has(&mut self, publisher: Arc<RRSession>, player: Arc<RRSession>, target: Arc<Target>) {
        let policy = crate::config::PublisherPolicy::Reject;
        let claimed = self.stream.book().claim(&publisher, policy, None, None);
        assert!(claimed.is_ok() && self.stream.book().admit(&player).is_ok());
        for record in [publisher, player] {
            let (subscriptions, conn, export, closing) = (Vec::new(), None, None, None);
            let entry = WorkerSession { record, subscriptions, conn, export, closing, due_ms: None };
            self.last_handle = self.last_handle.max(entry.record.id);
            self.sessions.insert(entry.record.id, entry);
        }
        let (endpoint, export) = (target.endpoint(), Some(TargetOrder::wanted()));
        let (record, conn, is_stopped, due_ms, since_ms) = (None, None, false, None, 0);
        let entry = WorkerTarget { target, endpoint, record, conn, is_stopped, due_ms, since_ms, export };
        self.waits = Waits::wanted();
        self.targets.insert(entry.target.id, entry);
    }

    /// Takes a message without a descriptor.
    ///
    /// # Errors
    /// Those for which the worker is ended.
    pub(crate) fn receives(&mut self, body: &[u8]) -> Result<()> {
        let kind = super::wire::ToServer::decode(body)?.kind();
        let message = crate::net::fd_channel::Message { kind, body: body.to_vec(), fd: None };
        self.take_report(message, crate::net::clock::now_us())
    }

    /// Checks that nobody but those whom the worker had is on the book.
    ///
    /// # Panics
    /// If a check fails.
    pub(crate) fn is_sound(&self) {
        let places = self.stream.book().places();
        let is_known = |id: &Handle| IDS.contains(id);
        assert!(places.live == 0 || is_known(&places.live));
        assert!(places.standbys.iter().all(is_known));
        assert!(self.sessions.keys().all(is_known) && self.targets.keys().all(is_known));
    }
}

/// Tells whoever waits for an export why there is none.
fn refuse<T>(caller: &Caller<T>, failure: Failure) {
    if caller.take() {
        caller.tell(Err(failure));
    }
}

/// The refusal of what is said about somebody that the worker does not have.
fn not_its() -> Failure {
    impossible("it speaks of somebody that it does not have")
}
