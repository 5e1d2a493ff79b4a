//! How a worker that another process has left to this one comes to the proxy.

use std::sync::Arc;

use super::super::adoption::{AdoptedSession, AdoptedTarget, Adoption, Run};
use super::link::Link;
use super::{Proxy, WorkerSession, WorkerTarget};
use crate::config::{Start, media};
use crate::error::{Failure, RRError, Result};
use crate::net::event_loop::Io;
use crate::net::fd_channel::Message;
use crate::stream::egress::subscription::Subscription;
use crate::stream::front::RRStream;

/// The message stream of a player whose own one only its worker has to know.
const STREAM_ID: u32 = 1;

impl Proxy {
    /// Takes a worker over. What it has is on the book already.
    pub(super) fn adopt(&mut self, mut adoption: Box<Adoption>, io: &mut Io<'_>) {
        if self.worker.is_some() || !self.moving.is_no() {
            let failure = Failure::ours(RRError::State, "the stream has a process already");
            return self.end_adopted(*adoption, &failure);
        }
        self.take_in(&mut adoption);
        if let Err(failure) = self.take_over(&mut adoption, io) {
            let name = self.stream.masked_name();
            log::error!("{name}: its worker cannot be taken over: {failure}; its connections are closed");
            match self.worker.is_some() {
                // All that it has ends with it.
                true => self.end_worker(&failure),
                false => self.drop_all(&Failure::ours(RRError::Worker, failure.text)),
            }
        }
    }

    /// Ends all that a worker has that cannot be taken over, and the worker.
    pub(super) fn end_adopted(&mut self, mut adoption: Adoption, failure: &Failure) {
        self.take_in(&mut adoption);
        adoption.kill();
        self.drop_all(failure);
    }

    /// Notes whom the worker has.
    fn take_in(&mut self, adoption: &mut Adoption) {
        for AdoptedSession { handle, plays, record, .. } in adoption.sessions.drain(..) {
            let mut subscriptions = Vec::new();
            if plays {
                let of = Arc::<RRStream>::clone(&self.stream);
                let record = Arc::clone(&record);
                subscriptions.push(Subscription::of_player(of, record, STREAM_ID, Start::default(), media::ALL, None));
            }
            let entry = WorkerSession { record, subscriptions, conn: None, export: None, closing: None, due_ms: None };
            self.sessions.insert(handle, entry);
        }
        let feeds = self.stream.book().sessions();
        for AdoptedTarget { handle, target, since_ms, .. } in adoption.targets.drain(..) {
            let record = feeds.iter().find(|record| record.id == target.id).cloned();
            let endpoint = target.endpoint();
            let entry = WorkerTarget {
                target,
                endpoint,
                record,
                conn: None,
                is_stopped: false,
                due_ms: None,
                since_ms,
                export: None,
            };
            self.targets.insert(handle, entry);
        }
    }

    fn take_over(&mut self, adoption: &mut Adoption, io: &mut Io<'_>) -> Result<()> {
        let parts = adoption.parts()?;
        let Run { last_handle, mem_limit, max_message, ran_ms } = parts.run;
        (self.last_handle, self.mem_limit) = (last_handle, mem_limit);
        self.session = self.workers.session.with_messages_of(max_message);
        let link = Link::adopted(parts.process, parts.channel, log::max_level(), io)?;
        self.supervisor.adopted(ran_ms, io.now_us / 1000);
        let had = self.sessions.len() + self.targets.len();
        let link = self.worker.insert(link);
        link.resume(had)?;
        self.is_described = true;
        let mut others = parts.others.into_iter();
        let taken = others.try_for_each(|body| {
            let message = Message { kind: super::super::wire::kind::PLAIN, body, fd: None };
            self.take_report(message, io.now_us)
        });
        self.is_described = false;
        taken
    }
}
