//! From a TCP connection to `Publish.Start` or `Play.Start`: the session, a login if the server wants one, and
//! redirects.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::race::Runner;
use super::{DialState, Dialler, Job};
use crate::config::READ_BUFFER_BYTES;
use crate::error::{Failure, RRError};
use crate::log::told;
use crate::mask::hide_key;
use crate::net::clock;
use crate::net::conn::{Conn, Pumped, Side};
use crate::net::event_loop::Io;
use crate::proto::auth;
use crate::server::{secure, source};
use crate::session::{ClientSession, Event as Said, Refusal, SessionConfig, State, Timing};
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::{Delivery, Pulled};

/// Most reads, of a scratch buffer each, in one turn. The messages of a server before `Publish.Start` fit many times
/// into one.
const READS: usize = 4;

impl Dialler {
    pub(super) fn connected(&mut self, id: Id, winner: Runner, io: &mut Io<'_>) {
        let Runner { mut socket, slot, address } = winner;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let DialState::Connects { by_ms, .. } = job.state else { return };
        job.target.set_addr(address.to_string(), socket.local_name());
        job.target.move_to(State::Handshake, |event| event);
        let timing = Timing { handshake_ms: by_ms.saturating_sub(clock::now_ms()), ..self.session.timing };
        let config = SessionConfig { chunk_size: job.endpoint.config.chunk_size, timing, ..self.session.clone() };
        let session = secure::put_on_target(&mut socket, &job.endpoint, &job.url).and_then(|()| {
            if job.target.is_source() {
                source::session(&config, &job.url)
            } else {
                ClientSession::publish(&config, &job.url, clock::now_ms())
            }
        });
        match session {
            Ok(session) => {
                let conn = Box::new(Conn::new(socket, Side::Client(Box::new(session))));
                job.state = DialState::Talks { conn, slot, address, by_ms, memory: self.core.dialling.nothing() };
                self.talk(id, io);
            }
            Err(failure) => {
                self.slots.try_remove(slot);
                self.failed(id, &failure, 0, io);
            }
        }
    }

    pub(super) fn talk(&mut self, id: Id, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Job { state: DialState::Talks { conn, memory, .. }, via, .. } = &mut **job else { return };
        let budget = READS * READ_BUFFER_BYTES;
        let pumped = conn.pump(io.scratch, clock::now_ms(), budget, true, |event, _| match event {
            Said::Started { .. } | Said::Reconnect { .. } | Said::Ended { .. } => ControlFlow::Break(event),
            Said::Via(streams) => {
                *via = streams;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        });
        let counted = memory.follow(conn.heap_bytes());
        match counted.and(pumped).and_then(|pumped| conn.flush().map(|_| pumped)) {
            Ok(Pumped::Drained) => {}
            Ok(Pumped::More) => {
                let text = "the server sends much and takes no media";
                self.failed(id, &Failure::peers(RRError::Protocol, text), 0, io);
            }
            Ok(Pumped::Event(Said::Started { .. })) => self.started(id, io),
            Ok(Pumped::Event(Said::Reconnect { url, text })) => self.moved(id, url.as_deref(), &text, 0, io),
            Ok(Pumped::Event(event)) => {
                let failure =
                    Failure::peers(RRError::Closed, format!("the server ended it before it began: {event:?}"));
                self.failed(id, &failure, 0, io);
            }
            Err(failure) => {
                let refusal = conn.client().and_then(|session| session.refusal().cloned());
                self.refused(id, &failure, refusal, io);
            }
        }
    }

    /// Hands over a connection after `Publish.Start` or `Play.Start`: to the relay, or, of a source, to its stream's
    /// accumulate.
    fn started(&mut self, id: Id, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let DialState::Talks { mut conn, slot, .. } = std::mem::replace(&mut job.state, DialState::Away) else {
            return;
        };
        io.remove(&mut conn.socket);
        self.slots.try_remove(slot);
        let target = Arc::clone(&job.target);
        if target.is_source() {
            let (via, history) = (std::mem::take(&mut job.via), job.backoff.clone());
            let pulled = Pulled { conn: *conn, via, history, moved: None };
            match source::started(&self.core, &target, &job.endpoint, pulled, &job.url) {
                Ok(()) => {}
                Err(failure) if failure.kind == RRError::Exists => self.rest(id, io),
                Err(failure) => self.failed(id, &failure, 0, io),
            }
            return;
        }
        target.connects.fetch_add(1, Ordering::Relaxed);
        log::info!(target: told::TARGET, "pushing {} to {}", target.stream().masked_name(), job.url.masked());
        let (endpoint, history) = (Arc::clone(&job.endpoint), job.backoff.clone());
        let delivery = Delivery::Target { target: Arc::clone(&target), conn, endpoint, history, moved: None };
        let Some(stream) = self.core.stream_of(&target) else { return self.rest(id, io) };
        if let Err((_, failure)) = stream.deliver(delivery) {
            self.failed(id, &failure, 0, io);
        }
    }

    /// Handles a refusal by the server, which may be a redirect or a challenge to log in.
    fn refused(&mut self, id: Id, failure: &Failure, refusal: Option<Refusal>, io: &mut Io<'_>) {
        match refusal {
            Some(Refusal { redirect: Some(url), text, .. }) => self.moved(id, Some(&url), &text, 0, io),
            Some(refusal) if failure.kind == RRError::Auth => {
                if let Err(failure) = self.log_in(id, &refusal, failure, io) {
                    self.failed(id, &failure, 0, io);
                }
            }
            _ => self.failed(id, failure, 0, io),
        }
    }

    /// Answers a challenge: connects to the same address again, with a longer query after the application.
    fn log_in(&mut self, id: Id, refusal: &Refusal, failure: &Failure, io: &mut Io<'_>) -> Result<(), Failure> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        let DialState::Talks { address, by_ms, .. } = job.state else { return Ok(()) };
        let config = &job.endpoint.config;
        let user = config.username.as_ref().or(job.url.user.as_ref()).map_or("", String::as_str);
        let password = config.password.as_ref().or(job.url.password.as_ref()).map_or("", String::as_str);
        // The number comes from the system's random numbers; it only has to differ each time.
        let [a, b, c, d, ..] = RandomState::new().hash_one(id).to_ne_bytes();
        let (app, text) = (job.url.app.as_bytes(), refusal.text.as_bytes());
        match auth::answer(app, user.as_bytes(), password.as_bytes(), text, [a, b, c, d]) {
            auth::Answer::Retry(query) => {
                job.url.app = String::from_utf8_lossy(&auth::with_query(app, &query)).into_owned();
                self.connect(id, vec![address], by_ms, io);
                Ok(())
            }
            auth::Answer::Refused(reason) => Err(Failure { text: reason.text().into(), ..failure.clone() }),
            auth::Answer::NotAuth => Err(failure.clone()),
        }
    }

    /// Follows a redirect to `reference`, or to the same url again. It is no failure, so the try comes at once, but
    /// only a limited number of times. `ran_ms` is 0 if media never began.
    pub(super) fn moved(&mut self, id: Id, reference: Option<&str>, text: &str, ran_ms: u64, io: &mut Io<'_>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.target.is_stopped() {
            self.forget(id, io);
            return;
        }
        let bare = auth::bare(job.url.app.as_bytes()).len();
        job.url.app.truncate(bare); // a login's query is valid for one connection only
        let there = match reference {
            Some(reference) => job.url.elsewhere(reference),
            None => Ok(job.url.clone()),
        };
        let may = job.backoff.may_move(&job.endpoint.config, ran_ms);
        match there {
            Ok(url) if job.url.tls && !url.tls => {
                let text = format!("the server redirects us from rtmps to {}, which is not encrypted", url.tc_url());
                self.failed(id, &Failure::peers(RRError::Rejected, text), ran_ms, io);
            }
            Ok(url) if may => {
                log::info!(target: told::TARGET, "target {}: the server redirects us to {}", job.url.masked(), url.masked());
                let event = Event { kind: EventKind::Reconnect, ..job.target.event() };
                let text = hide_key(text, &job.url.key).into_bytes();
                self.core.events.push(Event { url: url.tc_url().into_bytes(), text, ..event });
                job.elsewhere = Some(url);
                self.dial(id, io);
            }
            Ok(_) => {
                // A redirect before the start of the media counts as a refusal.
                let kind = if ran_ms == 0 { RRError::Rejected } else { RRError::Closed };
                self.failed(
                    id,
                    &Failure::peers(kind, "servers redirect us from one to another without end"),
                    ran_ms,
                    io,
                );
            }
            Err(failure) => {
                let text = format!("the server redirects us to an invalid url: {}", failure.text);
                self.failed(id, &Failure::peers(RRError::Closed, text), ran_ms, io);
            }
        }
    }
}
