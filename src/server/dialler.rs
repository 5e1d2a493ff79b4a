//! The dialler: connects targets up to `Publish.Start` and hands them to their stream's relay; decides what comes after
//! a failure. Every target is known here from its first day to its last, whoever has its connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::READ_BUFFER_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::conn::{Conn, Pumped, Side};
use crate::net::poll::{Poller, Ready};
use crate::net::socket::Socket;
use crate::server::core::Core;
use crate::server::resolver::Resolver;
use crate::server::secure;
use crate::server::source::{self, Detour};
use crate::session::{ClientSession, Event as Said, Refusal, SessionConfig, State};
use crate::stream::Delivery;
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::target::{Backoff, News, Next, Target};

/// How often deadlines are looked at while something is under way.
const TICK_MS: u64 = 50;

/// An address among several gets at least this long.
const MIN_ADDRESS_MS: u64 = 1_000;

/// Where a target is.
enum Phase {
    /// Its stream has no media, or it has failed for good.
    Rests,
    /// The next try is due then.
    Waits { at_ms: u64 },
    /// Its name is being looked up.
    Resolves { by_ms: u64 },
    /// TCP.
    Connects { socket: Socket, slot: usize, rest: Vec<SocketAddr>, address_by_ms: u64, by_ms: u64 },
    /// RTMP up to `Publish.Start`.
    Talks { conn: Box<Conn>, slot: usize, by_ms: u64 },
    /// The relay has it.
    Away,
}

struct Job {
    target: Arc<Target>,
    backoff: Backoff,
    phase: Phase,
    round: u64,
    detour: Detour,
}

struct Dialler {
    core: Arc<Core>,
    poller: Poller,
    inbox: Receiver<Arc<Target>>,
    jobs: HashMap<Id, Job>,
    /// Which target a socket of the poller is of.
    slots: Slab<Id>,
    resolver: Resolver,
    session: SessionConfig,
    scratch: Box<[u8]>,
    random: u64,
}

pub(super) fn run(core: Arc<Core>, poller: Poller, inbox: Receiver<Arc<Target>>) {
    let resolver = Resolver::new(core.dial_wake());
    let session = SessionConfig { max_message: core.config.max_message_bytes, ..SessionConfig::default() };
    let mut this = Dialler {
        core,
        poller,
        inbox,
        jobs: HashMap::new(),
        slots: Slab::new(),
        resolver,
        session,
        scratch: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
        random: clock::now_us() | 1,
    };
    this.run();
}

impl Dialler {
    fn run(&mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        while !self.core.is_closing() {
            let timeout = self.timeout_ms();
            let (inbox, core) = (&self.inbox, &self.core);
            let has_work = || !inbox.is_empty() || core.is_closing();
            if let Err(failure) = self.poller.wait(timeout, false, has_work, &mut ready) {
                log::error!("the dialler cannot wait: {failure}");
                return;
            }
            while let Ok(target) = self.inbox.try_recv() {
                let job = Job {
                    target: Arc::clone(&target),
                    backoff: Backoff::default(),
                    phase: Phase::Rests,
                    round: 0,
                    detour: Detour::default(),
                };
                self.jobs.insert(target.id, job);
            }
            if self.poller.take_nudge() {
                self.hear();
            }
            while let Ok(answer) = self.resolver.answers.try_recv() {
                let current = self
                    .jobs
                    .get(&answer.target)
                    .is_some_and(|job| job.round == answer.round && matches!(job.phase, Phase::Resolves { .. }));
                if current {
                    self.resolved(answer.target, answer.addresses);
                }
            }
            for ready in &ready {
                if let Some(&id) = self.slots.get(ready.slot) {
                    self.step(id);
                }
            }
            self.tick();
        }
    }

    fn timeout_ms(&self) -> Option<u64> {
        let now_ms = clock::now_ms();
        self.jobs
            .values()
            .filter_map(|job| match &job.phase {
                Phase::Rests | Phase::Away => None,
                Phase::Waits { at_ms } => Some(at_ms.saturating_sub(now_ms)),
                Phase::Resolves { .. } | Phase::Connects { .. } | Phase::Talks { .. } => Some(TICK_MS),
            })
            .min()
    }

    // ---- news

    fn hear(&mut self) {
        let ids: Vec<Id> = self.jobs.keys().copied().collect();
        for id in ids {
            while let Some(news) = self.jobs.get(&id).and_then(|job| job.target.next_news()) {
                self.hear_one(id, news);
            }
        }
    }

    fn hear_one(&mut self, id: Id, news: News) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match news {
            News::Dial if matches!(job.phase, Phase::Rests) && job.target.state() != State::Failed => self.dial(id),
            News::Retry if matches!(job.phase, Phase::Rests | Phase::Waits { .. }) => self.dial(id),
            // Somebody else publishes the stream now.
            News::Lost(failure, _) if matches!(job.phase, Phase::Away) && yields(&job.target, &failure) => {
                self.rest(id)
            }
            News::Lost(failure, ran_ms) if matches!(job.phase, Phase::Away) => self.failed(id, &failure, ran_ms),
            News::Released if matches!(job.phase, Phase::Away) => self.rest(id),
            News::Moved { url, text, ran_ms } if matches!(job.phase, Phase::Away) => {
                self.moved(id, url.as_deref(), &text, ran_ms);
            }
            News::Stop if matches!(job.phase, Phase::Away) => {}
            News::Stop | News::Over => self.forget(id),
            _ => {}
        }
    }

    /// Its stream has no media, or wants no source: nothing is to be done until that changes.
    fn rest(&mut self, id: Id) {
        self.set_phase(id, Phase::Rests);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.detour.end();
        job.target.move_to(State::Idle, |event| event);
        if job.target.is_source() && !job.target.stream.has_publisher() {
            job.target.stream.opening(false);
        }
        // Players who came while the source was leaving rang for it in vain.
        if job.target.is_source() && job.target.stream.wants(&job.target) {
            self.dial(id);
        }
    }

    /// A source's server sends it to another url, or to its own again.
    fn moved(&mut self, id: Id, reference: Option<&str>, text: &str, ran_ms: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let target = Arc::clone(&job.target);
        if ran_ms >= u64::from(target.config.retry_reset_ms) {
            job.detour.arrived();
        }
        let followed = job.detour.follow(&target.url, reference);
        let url = job.detour.url(&target.url).clone();
        self.set_phase(id, Phase::Rests);
        match followed {
            Ok(()) => {
                log::info!("source of {} is sent to {}", target.stream.masked_name(), url.masked());
                let event = Event { kind: EventKind::Reconnect, url: url.tc_url().into_bytes(), ..target.event() };
                self.core.events.push(Event { text: text.as_bytes().to_vec(), ..event });
                self.dial(id);
            }
            Err(failure) => self.failed(id, &failure, 0),
        }
    }

    fn forget(&mut self, id: Id) {
        self.set_phase(id, Phase::Rests);
        if let Some(job) = self.jobs.remove(&id) {
            self.core.end_target(&job.target, None);
        }
    }

    /// Goes to another phase; what the one before held is let go.
    fn set_phase(&mut self, id: Id, phase: Phase) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.target.next_try_ms.store(if let Phase::Waits { at_ms } = phase { at_ms } else { 0 }, Ordering::Relaxed);
        match std::mem::replace(&mut job.phase, phase) {
            Phase::Connects { mut socket, slot, .. } => {
                self.poller.remove(&mut socket);
                self.slots.try_remove(slot);
            }
            Phase::Talks { mut conn, slot, .. } => {
                self.poller.remove(&mut conn.socket);
                self.slots.try_remove(slot);
            }
            _ => {}
        }
    }

    // ---- a try

    fn dial(&mut self, id: Id) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let target = Arc::clone(&job.target);
        if target.is_source() && !target.stream.wants(&target) {
            self.set_phase(id, Phase::Rests);
            target.move_to(State::Idle, |event| event);
            return;
        }
        if !target.is_source() && target.stream.state() != State::InProgress {
            self.rest(id);
            return;
        }
        if target.is_source() {
            target.stream.opening(true);
        }
        job.round += 1;
        let round = job.round;
        target.move_to(State::Connecting, |event| event);
        let by_ms = clock::now_ms() + u64::from(target.config.connect_ms);
        self.set_phase(id, Phase::Resolves { by_ms });
        let (host, port) = match self.jobs.get(&id).map(|job| job.detour.url(&target.url)) {
            Some(url) => (url.host.clone(), url.port),
            None => return,
        };
        match self.resolver.ask(id, round, &host, port) {
            Ok(None) => {}
            Ok(Some(addresses)) => self.resolved(id, Ok(addresses)),
            Err(failure) => self.failed(id, &failure, 0),
        }
    }

    fn resolved(&mut self, id: Id, addresses: Result<Vec<SocketAddr>>) {
        let Some(Job { phase: Phase::Resolves { by_ms }, .. }) = self.jobs.get(&id) else { return };
        let by_ms = *by_ms;
        match addresses {
            Ok(addresses) => self.connect(id, addresses, by_ms, None),
            Err(failure) => self.failed(id, &failure, 0),
        }
    }

    /// Connects to the first address that lets itself be connected to.
    fn connect(&mut self, id: Id, mut addresses: Vec<SocketAddr>, by_ms: u64, last: Option<Failure>) {
        let mut last = last.unwrap_or_else(|| Failure::ours(RRError::Resolve, "the name has no address"));
        while !addresses.is_empty() {
            let address = addresses.remove(0);
            let entry = self.slots.vacant_entry();
            let slot = entry.key();
            let begun = Socket::connect(address).and_then(|mut socket| {
                self.poller.add(&mut socket, slot)?;
                Ok(socket)
            });
            match begun {
                Ok(socket) => {
                    entry.insert(id);
                    let now_ms = clock::now_ms();
                    let share = by_ms.saturating_sub(now_ms) / (addresses.len() as u64 + 1);
                    let address_by_ms = now_ms + share.max(MIN_ADDRESS_MS);
                    if let Some(job) = self.jobs.get(&id) {
                        job.target.set_addr(address.to_string());
                    }
                    self.set_phase(id, Phase::Connects { socket, slot, rest: addresses, address_by_ms, by_ms });
                    return;
                }
                Err(failure) => last = failure,
            }
        }
        self.failed(id, &last, 0);
    }

    /// A socket has something to say.
    fn step(&mut self, id: Id) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match &mut job.phase {
            Phase::Connects { socket, .. } => match socket.connect_result() {
                Ok(false) => {}
                Ok(true) => self.connected(id),
                Err(failure) => self.next_address(id, failure),
            },
            Phase::Talks { .. } => self.talk(id),
            _ => {}
        }
    }

    fn next_address(&mut self, id: Id, failure: Failure) {
        let Some(Job { phase: Phase::Connects { rest, by_ms, .. }, .. }) = self.jobs.get_mut(&id) else { return };
        let (rest, by_ms) = (std::mem::take(rest), *by_ms);
        self.set_phase(id, Phase::Resolves { by_ms });
        self.connect(id, rest, by_ms, Some(failure));
    }

    fn connected(&mut self, id: Id) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Phase::Connects { mut socket, slot, by_ms, .. } = std::mem::replace(&mut job.phase, Phase::Rests) else {
            return;
        };
        job.target.move_to(State::Handshake, |event| event);
        let url = job.detour.url(&job.target.url);
        let secured = secure::put_on_target(&mut socket, &job.target, url);
        let session = secured.and_then(|()| match job.target.is_source() {
            true => source::session(&self.core, &self.session, &job.target, url),
            false => ClientSession::publish(&self.session, url, clock::now_ms()),
        });
        match session {
            Ok(session) => {
                let conn = Box::new(Conn::new(socket, Side::Client(Box::new(session))));
                job.phase = Phase::Talks { conn, slot, by_ms };
                self.talk(id);
            }
            Err(failure) => {
                self.slots.try_remove(slot);
                self.failed(id, &failure, 0);
            }
        }
    }

    fn talk(&mut self, id: Id) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Phase::Talks { conn, .. } = &mut job.phase else { return };
        let pumped = conn.pump(&mut self.scratch, clock::now_ms(), READ_BUFFER_BYTES, true, |event, _| match event {
            Said::Started { .. } | Said::Reconnect { .. } | Said::Ended { .. } => ControlFlow::Break(event),
            _ => ControlFlow::Continue(()),
        });
        match pumped.and_then(|pumped| conn.flush().map(|_| pumped)) {
            // With a read budget of one buffer, More means that the peer talks a lot: the next turn goes on.
            Ok(Pumped::Drained | Pumped::More) => {}
            Ok(Pumped::Held(Said::Started { .. })) => self.started(id),
            Ok(Pumped::Held(Said::Reconnect { url, text })) if job.target.is_source() => {
                self.moved(id, url.as_deref(), &text, 0);
            }
            Ok(Pumped::Held(event)) => {
                let failure =
                    Failure::peers(RRError::Closed, format!("the server ended it before it began: {event:?}"));
                self.failed(id, &failure, 0);
            }
            Err(failure) => match conn.client().and_then(|session| session.refusal().cloned()) {
                Some(Refusal { redirect: Some(url), text, .. }) if job.target.is_source() => {
                    self.moved(id, Some(&url), &text, 0);
                }
                _ => self.failed(id, &failure, 0),
            },
        }
    }

    /// The server said `Publish.Start`: the relay may send.
    fn started(&mut self, id: Id) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Phase::Talks { mut conn, slot, .. } = std::mem::replace(&mut job.phase, Phase::Away) else { return };
        self.poller.remove(&mut conn.socket);
        self.slots.try_remove(slot);
        let target = Arc::clone(&job.target);
        if target.is_source() {
            match source::started(&target, *conn) {
                Ok(()) => {}
                Err(failure) if failure.kind == RRError::Exists => self.rest(id),
                Err(failure) => self.failed(id, &failure, 0),
            }
            return;
        }
        target.connects.fetch_add(1, Ordering::Relaxed);
        log::info!("pushing {} to {}", target.stream.masked_name(), target.url.masked());
        if let Err((_, failure)) = target.stream.deliver(Delivery::Target { target: Arc::clone(&target), conn }) {
            self.failed(id, &failure, 0);
        }
    }

    // ---- failures and time

    fn failed(&mut self, id: Id, failure: &Failure, ran_ms: u64) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.random >> 33;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let target = Arc::clone(&job.target);
        target.failures.fetch_add(1, Ordering::Relaxed);
        job.detour.end();
        let next = if target.is_source() {
            target.stream.opening(false);
            source::after(&self.core, &target, &mut job.backoff, failure, (ran_ms, random))
        } else {
            job.backoff.after(&target.config, failure, ran_ms, random)
        };
        let name = target.url.masked();
        if target.is_stopped() {
            self.forget(id);
            return;
        }
        match next {
            Next::Retry(wait_ms) => {
                log::warn!("target {name}: {failure}; next try in {wait_ms} ms");
                self.set_phase(id, Phase::Waits { at_ms: clock::now_ms() + wait_ms });
                target.move_because(State::Recovering, failure, wait_ms);
            }
            Next::Fatal => {
                log::error!("target {name}: {failure}; that does not pass by itself, no further try");
                self.set_phase(id, Phase::Rests);
                target.move_because(State::Failed, failure, 0);
            }
            Next::GiveUp => {
                log::error!("target {name}: {failure}; tried as often as configured");
                self.set_phase(id, Phase::Rests);
                let give_up = Failure { kind: RRError::GiveUp, ..failure.clone() };
                target.move_because(State::Failed, &give_up, 0);
            }
        }
    }

    fn tick(&mut self) {
        let now_ms = clock::now_ms();
        let late = |id: &Id, job: &Job| {
            let (due, address) = match &job.phase {
                Phase::Waits { at_ms } => (*at_ms, false),
                Phase::Resolves { by_ms } | Phase::Talks { by_ms, .. } => (*by_ms, false),
                Phase::Connects { address_by_ms, by_ms, .. } => (*address_by_ms.min(by_ms), address_by_ms < by_ms),
                Phase::Rests | Phase::Away => return None,
            };
            (now_ms >= due).then_some((*id, address))
        };
        let due: Vec<(Id, bool)> = self.jobs.iter().filter_map(|(id, job)| late(id, job)).collect();
        for (id, next_address) in due {
            let timeout = |what: &str| Failure::peers(RRError::Timeout, format!("{what} within connect_ms"));
            match self.jobs.get(&id).map(|job| &job.phase) {
                Some(Phase::Waits { .. }) => self.dial(id),
                Some(Phase::Connects { .. }) if next_address => self.next_address(id, timeout("no TCP connection")),
                Some(Phase::Connects { .. }) => self.failed(id, &timeout("no TCP connection"), 0),
                Some(Phase::Resolves { .. }) => self.failed(id, &timeout("the name was not resolved"), 0),
                Some(Phase::Talks { .. }) => self.failed(id, &timeout("no NetStream.Publish.Start or Play.Start"), 0),
                _ => {}
            }
        }
    }
}

/// A source that gave way to another publisher has not failed.
fn yields(target: &Target, failure: &Failure) -> bool {
    target.is_source() && failure.kind == RRError::TakenOver
}
