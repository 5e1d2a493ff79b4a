//! How a worker is offered to another process. It describes what it has and then tells nothing more; the proxy does nothing
//! until the verdict. Media goes on meanwhile.

use std::sync::Arc;

use super::super::adoption::{Described, IsolatedStream, OfferedProcess, OfferedWorker, Run};
use super::super::wire::ToWorker;
use super::moving::{Moving, Pausing};
use super::{ORDER_MS, Proxy, refuse};
use crate::error::{Failure, RRError, Result};
use crate::net::event_loop::Io;
use crate::stream::offer::{Offer, Verdict};
use crate::stream::record::Caller;

impl Proxy {
    /// Offers the worker. Whoever has come before goes along.
    pub(super) fn offer(&mut self, verdict: Arc<Verdict>, caller: Caller<OfferedProcess>, io: &mut Io<'_>) {
        self.take_publishers(io);
        // An order that came before is passed on here: afterwards it would find nobody.
        self.look_for_orders(io.now_us / 1000);
        if !self.moving.is_no() || self.stream.book().host_publishes() {
            let failure = Failure::ours(RRError::State, "the host publishes it, or it moves already");
            return refuse(&caller, failure);
        }
        let due_ms = io.now_us / 1000 + ORDER_MS;
        let pausing = |caller| Moving::pausing(Arc::clone(&verdict), caller, due_ms);
        match &mut self.worker {
            Some(link) if link.is_ending() => self.moving = pausing(caller),
            Some(link) => match link.send(&ToWorker::Pause, None) {
                Ok(()) => self.moving = pausing(caller),
                Err(failure) => refuse(&caller, failure),
            },
            None => {
                self.moving = pausing(caller);
                self.goes_without_worker();
            }
        }
    }

    /// Takes a message of the description. It is checked here as the other process checks it, which would refuse the
    /// streams of all workers because of one that has gone wrong.
    ///
    /// # Errors
    /// Those of [`Described::read`], and [`RRError::Protocol`] for more than the worker has.
    pub(super) fn describes_more(&mut self, body: Vec<u8>) -> Result<()> {
        let of = Described::read(&body, &self.session, self.stream.name())?.handle();
        let (sessions, targets) = (&self.sessions, &self.targets);
        self.moving.take(body, of, |id| sessions.contains_key(&id) || targets.contains_key(&id))
    }

    /// Offers the worker, which has described itself.
    ///
    /// # Errors
    /// [`RRError::Protocol`] if nobody has asked it to.
    pub(super) fn is_described_whole(&mut self, now_us: u64) -> Result<()> {
        let description = self.moving.whole(self.sessions.len() + self.targets.len())?;
        let offered = self.worker.as_ref().map(|link| {
            let (process, channel) = link.second_fds()?;
            Ok(OfferedWorker { description, process, channel })
        });
        self.offers(offered.transpose(), now_us);
        Ok(())
    }

    /// Offers the stream without a worker, if the worker has ended before it had described itself, or there was none.
    pub(super) fn goes_without_worker(&mut self) {
        self.offers(Ok(None), crate::net::clock::now_us());
    }

    fn offers(&mut self, worker: Result<Option<OfferedWorker>>, now_us: u64) {
        if !matches!(self.moving, Moving::Pausing(_)) {
            return;
        }
        let (ran_ms, crashes) = self.supervisor.past(now_us / 1000);
        let offered = worker.and_then(|worker| {
            let isolated = IsolatedStream {
                stream: self.without_log(self.stream.book().is_reserved(), now_us),
                runs: worker.is_some(),
                run: Run {
                    last_handle: self.last_handle,
                    mem_limit: self.mem_limit,
                    max_message: self.session.max_message,
                    ran_ms,
                },
                crashes,
            };
            Ok(OfferedProcess {
                state: isolated.state()?,
                worker,
                sessions: self.sessions.len(),
                targets: self.targets.values().map(|entry| entry.target.id).collect(),
                has_pumps: !self.pumps.is_empty(),
            })
        });
        if let Moving::Pausing(Pausing { verdict, caller, .. }) = std::mem::replace(&mut self.moving, Moving::No) {
            // Where that has failed, or nobody waits any more, the verdict is that it stays.
            self.moving = Moving::Offered(Offer::new(verdict, Vec::new()));
            if caller.take() {
                caller.tell(offered);
            }
        }
    }

    /// Carries the verdict out.
    pub(super) fn settle(&mut self, io: &Io<'_>) {
        let Moving::Offered(offer) = &self.moving else { return };
        if offer.is_open() {
            return;
        }
        if offer.is_taken() {
            self.moving = Moving::Gone;
            return self.let_go(io);
        }
        self.moving = Moving::No;
        let had = self.sessions.len() + self.targets.len();
        if let Some(Err(failure)) = self.worker.as_mut().map(|link| link.resume(had)) {
            self.end_worker(&failure);
        }
    }

    /// Lets go of the worker that another process has taken, and of all that it has.
    fn let_go(&mut self, io: &Io<'_>) {
        let stream = Arc::clone(&self.stream);
        for (_, entry) in self.targets.drain() {
            if let Some(record) = &entry.record {
                stream.book().lose(record, false);
            }
            stream.upcalls().target_exported(&entry.target);
        }
        for (_, entry) in self.sessions.drain() {
            stream.upcalls().session_exported(&entry.record);
            if entry.publishes() {
                stream.book().lose(&entry.record, false);
            }
        }
        if let Some(link) = self.worker.take() {
            link.leave_to_another(io);
        }
        // A worker answers before it describes itself. Nobody waits for one that has not.
        self.waits.end(&Failure::ours(RRError::Again, "another process has just taken the stream over"));
        self.supervisor.ended(None, io.now_us / 1000);
        self.forget_worker();
    }
}
