//! The dialler: connects targets up to `Publish.Start` and hands them to their stream's relay; decides the next step
//! after a failure. The dialler knows every target from its beginning to its end, whichever thread owns its connection.

mod export;
mod race;
mod talk;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::READ_BUFFER_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net::clock;
use crate::net::conn::Conn;
use crate::net::event_loop::{Io, Task};
use crate::net::poll::Ready;
use crate::proto::url::RtmpUrl;
use crate::server::core::Core;
use crate::server::inbox::ToDialler;
use crate::server::resolver::Resolver;
use crate::server::source;
use crate::session::{SessionConfig, State};
use crate::stream::event::Id;
use crate::stream::memory::budget::Charge;
use crate::stream::offer::Offer;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::backoff::{Backoff, Loss, Next};
use crate::stream::remote::target::{News, Target};

use race::{Lap, Race};

/// The state of a target in the dialler.
enum DialState {
    /// The target's stream has no media, or the target has failed for good.
    Rests,
    /// The next try is due at this time.
    Waits { at_ms: u64 },
    /// The source is to be connected, once the hold of its stream has ended, at this time at the latest.
    Held { until_ms: u64 },
    /// The host name is being looked up.
    Resolves { by_ms: u64 },
    /// TCP connects to one of the addresses.
    Connects { race: Race, by_ms: u64 },
    /// RTMP runs up to `Publish.Start`. The session's deadline is `by_ms`; a login gets the rest of that time.
    Talks { conn: Box<Conn>, slot: usize, address: SocketAddr, by_ms: u64, memory: Charge },
    /// The stream's thread owns the connection.
    Away,
}

impl DialState {
    /// When the target must be checked without news, monotonic ms.
    fn due_ms(&self) -> Option<u64> {
        match self {
            Self::Rests | Self::Away => None,
            Self::Waits { at_ms } => Some(*at_ms),
            Self::Held { until_ms } => Some(*until_ms),
            Self::Connects { race, by_ms } => Some(race.due_ms().min(*by_ms)),
            Self::Resolves { by_ms } => Some(*by_ms),
            Self::Talks { conn, .. } => conn.next_timeout(),
        }
    }
}

struct Job {
    target: Arc<Target>,
    backoff: Backoff,
    state: DialState,
    round: u64,
    /// The endpoint of the present try.
    endpoint: Arc<Endpoint>,
    /// The url of the try: one of the endpoint's urls with the additions of a login, or the url of a redirect.
    url: RtmpUrl,
    /// The url of a redirect, for the next try.
    elsewhere: Option<RtmpUrl>,
    /// The streams through which a source's media will come, as its server has named them so far.
    via: Vec<u8>,
}

impl Job {
    fn new(target: Arc<Target>) -> Self {
        let endpoint = target.endpoint();
        let url = endpoint.url(0).clone();
        Self {
            target,
            backoff: Backoff::default(),
            state: DialState::Rests,
            round: 0,
            endpoint,
            url,
            elsewhere: None,
            via: Vec::new(),
        }
    }
}

/// The task of `dialThread`; only that thread uses its fields.
pub(super) struct Dialler {
    core: Arc<Core>,
    jobs: HashMap<Id, Box<Job>>,
    /// The ids of the jobs that are looked at. It has room for all jobs, and is empty in between.
    looked_at: Vec<Id>,
    /// The target of each socket in the poller.
    slots: Slab<Id>,
    resolver: Resolver,
    session: SessionConfig,
    random: u64,
    /// While another process decides whether it takes the targets, nothing changes.
    offer: Option<Offer>,
}

impl Dialler {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let resolver = Resolver::new(core.dial_wake());
        let session = SessionConfig::from(&core.config);
        Self {
            core,
            jobs: HashMap::new(),
            looked_at: Vec::new(),
            slots: Slab::new(),
            resolver,
            session,
            random: clock::now_us() | 1,
            offer: None,
        }
    }
}

impl Task for Dialler {
    type Message = ToDialler;

    /// The dialler needs no ticks: each job has its own deadline, and everything else comes as news.
    const TICK_MS: u64 = 1_000;
    const SCRATCH_BYTES: usize = READ_BUFFER_BYTES;

    fn wants_ticks(&self) -> bool {
        false
    }

    fn next_timeout(&self) -> Option<u64> {
        self.jobs.values().filter_map(|job| job.state.due_ms()).min().map(|due_ms| due_ms.saturating_mul(1_000))
    }

    fn is_paused(&self) -> bool {
        self.offer.as_ref().is_some_and(Offer::is_open)
    }

    fn on_message(&mut self, message: ToDialler, io: &mut Io<'_>) {
        let target = match message {
            ToDialler::Target(target) => target,
            ToDialler::Offer { verdict, caller } => {
                // News that came before is taken here: afterwards it would find nobody.
                self.on_tick(true, io);
                return self.offer(verdict, &caller);
            }
        };
        // The target has ended before the dialler took it.
        let Some(target) = target.upgrade() else { return };
        let id = target.id;
        if let Err(failure) = self.make_room() {
            self.core.end_target(&target, &failure);
            return;
        }
        self.jobs.insert(id, Box::new(Job::new(target)));
        // A wake for news that came before the target was known here has passed already.
        self.take_news(id, io);
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        if let Some(&id) = self.slots.get(ready.slot) {
            self.step(id, io);
        }
    }

    /// Acts on everything that is due.
    fn end_round(&mut self, _inbox: &Receiver<ToDialler>, io: &mut Io<'_>) {
        let now_ms = clock::now_ms();
        let is_due = |job: &Job| job.state.due_ms().is_some_and(|due_ms| now_ms >= due_ms);
        let mut due = std::mem::take(&mut self.looked_at);
        due.extend(self.jobs.iter().filter(|(_, job)| is_due(job)).map(|(id, _)| *id));
        for id in due.drain(..) {
            let timeout = |what: &str| Failure::peers(RRError::Timeout, format!("{what} within connect_ms"));
            match self.jobs.get_mut(&id).map(|job| &mut job.state) {
                Some(DialState::Waits { .. } | DialState::Held { .. }) => self.dial(id, io),
                Some(DialState::Connects { by_ms, .. }) if now_ms < *by_ms => self.race(id, io),
                Some(DialState::Connects { .. }) => self.failed(id, &timeout("no TCP connection"), 0, io),
                Some(DialState::Resolves { .. }) => self.failed(id, &timeout("the name was not resolved"), 0, io),
                Some(DialState::Talks { conn, .. }) => {
                    if let Err(failure) = conn.handle_timeout(now_ms) {
                        self.failed(id, &failure, 0, io);
                    }
                }
                _ => {}
            }
        }
        self.looked_at = due;
    }

    /// Takes news of targets and answers of the resolver.
    fn on_tick(&mut self, _nudged: bool, io: &mut Io<'_>) {
        let mut ids = std::mem::take(&mut self.looked_at);
        ids.extend(self.jobs.keys().copied());
        for id in ids.drain(..) {
            self.take_news(id, io);
        }
        self.looked_at = ids;
        while let Ok(answer) = self.resolver.answers.try_recv() {
            // A later try of the same target has another number.
            if self.jobs.get(&answer.target).is_some_and(|job| job.round == answer.round) {
                self.resolved(answer.target, answer.addresses, io);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.core.is_closing()
    }

    fn on_end(&mut self, _inbox: &Receiver<ToDialler>, _io: &mut Io<'_>) {}
}

impl Dialler {
    /// Takes the memory that one more job needs in the tables.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    fn make_room(&mut self) -> Result<()> {
        let no_memory = |_| Failure::ours(RRError::NoMem, "there is no memory for another target");
        self.jobs.try_reserve(1).map_err(no_memory)?;
        self.looked_at.try_reserve(self.jobs.len() + 1).map_err(no_memory)
    }

    // ---- news

    fn take_news(&mut self, id: Id, io: &mut Io<'_>) {
        while let Some(news) = self.jobs.get(&id).and_then(|job| job.target.next_news()) {
            self.take_one(id, news, io);
        }
    }

    fn take_one(&mut self, id: Id, news: News, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match news {
            News::Resume(resumed) => self.resume(id, *resumed, io),
            News::Export { room, caller } => self.export(id, room, caller, io),
            News::Dial if matches!(job.state, DialState::Rests) && job.target.state() != State::Failed => {
                self.dial(id, io)
            }
            News::Dial if matches!(job.state, DialState::Held { .. }) => self.dial(id, io),
            News::Retry if matches!(job.state, DialState::Rests | DialState::Waits { .. } | DialState::Held { .. }) => {
                job.backoff.reset();
                self.dial(id, io);
            }
            News::Renewed if matches!(job.state, DialState::Away) => self.renew(id, io),
            // If the relay or accumulate owns the connection, they act on the change.
            News::Updated if !matches!(job.state, DialState::Away) => {
                let other = !job.endpoint.config.same_way(&job.target.endpoint().config);
                match job.target.state() {
                    // A source that is no longer on demand may be needed at once.
                    State::Idle if job.target.is_source() => self.dial(id, io),
                    State::Idle => {}
                    _ if other => self.renew(id, io),
                    _ => {}
                }
            }
            // Another publisher feeds the stream now.
            News::Lost(failure, _) if matches!(job.state, DialState::Away) && yields(&job.target, &failure) => {
                self.rest(id, io);
            }
            News::Lost(failure, ran_ms) if matches!(job.state, DialState::Away) => {
                self.failed(id, &failure, ran_ms, io)
            }
            News::Released if matches!(job.state, DialState::Away) => self.rest(id, io),
            News::Moved { url, text, ran_ms } if matches!(job.state, DialState::Away) => {
                self.moved(id, url.as_deref(), &text, ran_ms.max(1), io); // it ran, even if only briefly
            }
            News::Stop if matches!(job.state, DialState::Away) => {}
            News::Stop | News::Over => self.forget(id, io),
            _ => {}
        }
    }

    /// Lets a target rest whose stream has no media, or a source that its stream does not need, until that changes.
    fn rest(&mut self, id: Id, io: &mut Io<'_>) {
        self.set_state(id, DialState::Rests, io);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.backoff.rest();
        job.elsewhere = None;
        let target = Arc::clone(&job.target);
        target.move_to(State::Idle, |event| event);
        let Some(stream) = self.core.stream_of(&target).filter(|_| target.is_source()) else { return };
        if !stream.has_publisher() {
            stream.opening(false);
        }
        // Players that came while the source was being closed could not make it connect.
        if stream.wants(&target) {
            self.dial(id, io);
        }
    }

    /// Begins anew with changed settings; failures under the old ones do not count.
    fn renew(&mut self, id: Id, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.backoff.reset();
        job.elsewhere = None;
        self.dial(id, io);
    }

    fn forget(&mut self, id: Id, io: &mut Io<'_>) {
        self.set_state(id, DialState::Rests, io);
        if let Some(job) = self.jobs.remove(&id) {
            self.core.end_target(&job.target, &Failure::ours(RRError::Kicked, "the target was stopped"));
        }
    }

    /// Goes to another state; the resources of the previous one are released.
    fn set_state(&mut self, id: Id, state: DialState, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.target.next_try_ms.store(if let DialState::Waits { at_ms } = state { at_ms } else { 0 }, Ordering::Relaxed);
        match std::mem::replace(&mut job.state, state) {
            DialState::Connects { mut race, .. } => race.stop(io.watch(), &mut self.slots),
            DialState::Talks { mut conn, slot, .. } => {
                io.remove(&mut conn.socket);
                self.slots.try_remove(slot);
            }
            _ => {}
        }
    }

    // ---- one try

    fn dial(&mut self, id: Id, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let target = Arc::clone(&job.target);
        // A stream that has ended needs no target.
        let stream = self.core.stream_of(&target);
        if target.is_source() {
            let Some(stream) = stream.as_ref().filter(|stream| stream.wants(&target)) else {
                self.set_state(id, DialState::Rests, io);
                target.move_to(State::Idle, |event| event);
                return;
            };
            // It is to follow whoever moves to another process.
            if let Some(until_ms) = stream.held_until_ms() {
                return self.set_state(id, DialState::Held { until_ms }, io);
            }
            stream.opening(true);
        }
        // This also holds in the grace window of a lost publisher: targets are kept then, so a lost one is connected
        // again.
        let Some(stream) = stream
            .filter(|stream| target.is_source() || matches!(stream.state(), State::InProgress | State::Recovering))
        else {
            self.rest(id, io);
            return;
        };
        job.round += 1;
        job.via.clear();
        let round = job.round;
        job.endpoint = target.endpoint();
        let index = job.backoff.url();
        job.url = job.elsewhere.take().unwrap_or_else(|| job.endpoint.url(index).clone());
        if job.endpoint.config.send_args {
            job.url.add_query(&stream.book().publisher_query());
        }
        target.set_url(job.url.tc_url());
        let by_ms = clock::now_ms() + u64::from(job.endpoint.config.connect_ms);
        let (host, port) = (job.url.host.clone(), job.url.port);
        target.move_to(State::Connecting, |event| event);
        self.set_state(id, DialState::Resolves { by_ms }, io);
        match self.resolver.ask(id, round, (&host, port), by_ms) {
            Ok(None) => {}
            Ok(Some(addresses)) => self.resolved(id, Ok(addresses), io),
            Err(failure) => self.failed(id, &failure, 0, io),
        }
    }

    fn resolved(&mut self, id: Id, addresses: Result<Vec<SocketAddr>>, io: &mut Io<'_>) {
        let Some(DialState::Resolves { by_ms }) = self.jobs.get(&id).map(|job| &job.state) else { return };
        let by_ms = *by_ms;
        match addresses {
            Ok(addresses) => self.connect(id, addresses, by_ms, io),
            Err(failure) => self.failed(id, &failure, 0, io),
        }
    }

    /// Connects to the first address that accepts a connection.
    fn connect(&mut self, id: Id, addresses: Vec<SocketAddr>, by_ms: u64, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let race = Race::new(addresses, job.endpoint.config.bind_addr, by_ms.saturating_sub(clock::now_ms()));
        self.set_state(id, DialState::Connects { race, by_ms }, io);
        self.race(id, io);
    }

    /// Handles a socket that is ready.
    fn step(&mut self, id: Id, io: &mut Io<'_>) {
        match self.jobs.get(&id).map(|job| &job.state) {
            Some(DialState::Connects { .. }) => self.race(id, io),
            Some(DialState::Talks { .. }) => self.talk(id, io),
            _ => {}
        }
    }

    fn race(&mut self, id: Id, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let DialState::Connects { race, .. } = &mut job.state else { return };
        match race.step(io.watch(), &mut self.slots, id, clock::now_ms()) {
            Lap::Running => {
                if let Some(address) = race.newest() {
                    job.target.set_addr(address.to_string(), String::new());
                }
            }
            Lap::Won(winner) => self.connected(id, *winner, io),
            Lap::Lost(failure) => self.failed(id, &failure, 0, io),
        }
    }

    // ---- failures and deadlines

    fn failed(&mut self, id: Id, failure: &Failure, ran_ms: u64, io: &mut Io<'_>) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.random >> 33;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let target = Arc::clone(&job.target);
        target.failures.fetch_add(1, Ordering::Relaxed);
        let endpoint = target.endpoint();
        let loss = Loss { failure, ran_ms, now_ms: clock::now_ms(), random };
        let next = if target.is_source() {
            if let Some(stream) = self.core.stream_of(&target) {
                stream.opening(false);
            }
            source::after(&self.core, &target, &endpoint, &mut job.backoff, loss)
        } else {
            job.backoff.after(&endpoint.config, endpoint.urls(), loss)
        };
        let name = job.url.masked();
        if target.is_stopped() {
            self.forget(id, io);
            return;
        }
        match next {
            Next::Retry(wait_ms) => {
                log::warn!(target: told::TARGET, "target {name}: {failure}; next try in {wait_ms} ms");
                self.set_state(id, DialState::Waits { at_ms: clock::now_ms() + wait_ms }, io);
                target.move_because(State::Recovering, failure, wait_ms);
            }
            Next::Fatal => {
                log::error!(target: told::TARGET, "target {name}: {failure}; this does not pass by itself, so there is no further try");
                self.set_state(id, DialState::Rests, io);
                target.move_because(State::Failed, failure, 0);
            }
            Next::GiveUp => {
                log::error!(target: told::TARGET, "target {name}: {failure}; tried as often, or as long, as configured");
                self.set_state(id, DialState::Rests, io);
                let give_up = Failure { kind: RRError::GiveUp, ..failure.clone() };
                target.move_because(State::Failed, &give_up, 0);
            }
        }
    }
}

/// Whether a source gave way to another publisher, which is not a failure.
fn yields(target: &Target, failure: &Failure) -> bool {
    target.is_source() && failure.kind == RRError::TakenOver
}
