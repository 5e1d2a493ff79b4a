//! The ways to a stream's two threads, which start when they are first needed.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, TrySendError, unbounded};

use crate::error::{Failure, RRError, Result};
use crate::net::poll::{Poller, Wake};
use crate::stream::egress::relay;
use crate::stream::front::{Book, RRStream};
use crate::stream::handover::{Delivery, NewPublisher};
use crate::stream::ingest::{Claim, accumulate};
use crate::stream::peer::Peer;
use crate::sync::{locked, spawn};

/// Hand-overs that may wait for one thread. More at one moment means that the thread does not run: they are refused.
const INBOX: usize = 4096;

/// The way to one of the stream's threads.
#[derive(Debug)]
pub(super) struct Link<T> {
    inbox: Sender<T>,
    pub(super) wake: Arc<Wake>,
}

impl<T> Clone for Link<T> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<T> Link<T> {
    /// To be called under the book's lock alone, which makes the bound exact. It is kept here and not by the channel:
    /// one that is bounded by itself takes the memory of all its places when it is made, for every stream that anybody
    /// asks for.
    fn send(&self, item: T) -> std::result::Result<(), T> {
        if self.inbox.len() >= INBOX {
            return Err(item);
        }
        self.inbox.try_send(item).map_err(TrySendError::into_inner)
    }
}

/// Why a hand-over was not taken.
fn refused() -> Failure {
    Failure::ours(RRError::Limit, "the stream's thread has ended or is overrun")
}

impl RRStream {
    /// Hands the publisher's connection over to the accumulate thread.
    ///
    /// # Errors
    /// The peer, with the reason, where that thread cannot take it.
    pub fn hand_publisher(
        self: &Arc<Self>,
        peer: Peer,
        stream_id: u32,
        claim: Claim,
    ) -> std::result::Result<(), (Peer, Failure)> {
        let arrival = NewPublisher { peer, stream_id, claim, source: None };
        self.hand(Box::new(arrival)).map_err(|(back, failure)| (back.peer, failure))
    }

    /// The same for anybody who is to publish.
    pub(super) fn hand(
        self: &Arc<Self>,
        arrival: Box<NewPublisher>,
    ) -> std::result::Result<(), (Box<NewPublisher>, Failure)> {
        if let Err(failure) = self.accumulate_link() {
            return Err((arrival, failure));
        }
        let book = locked(&self.book);
        // Sent under the lock: a thread that ends takes its link away before it looks into its inbox a last time.
        let Some(link) = book.accumulate.clone() else { return Err((arrival, refused())) };
        arrival.peer.record.set_owner(Arc::clone(&link.wake));
        link.send(arrival).map_err(|back| (back, refused()))?;
        drop(book);
        link.wake.wake();
        Ok(())
    }

    /// Hands something over to the relay thread.
    ///
    /// # Errors
    /// The delivery, with the reason, where that thread cannot take it.
    #[allow(clippy::result_large_err, reason = "what was not taken goes back whole, once in a connection's life")]
    pub fn deliver(self: &Arc<Self>, delivery: Delivery) -> std::result::Result<(), (Delivery, Failure)> {
        if let Err(failure) = self.relay_link() {
            return Err((delivery, failure));
        }
        let book = locked(&self.book);
        // Under the lock, as above.
        let Some(link) = book.relay.clone() else { return Err((delivery, refused())) };
        if let Delivery::Player(peer) = &delivery {
            peer.record.set_owner(Arc::clone(&link.wake));
        }
        link.send(delivery).map_err(|back| (back, refused()))?;
        drop(book);
        link.wake.wake();
        Ok(())
    }

    /// Hands a player's connection over to the relay of the stream that its newest subscription is of; there is one at
    /// least.
    ///
    /// # Errors
    /// The peer, with the reason, where that stream cannot take it.
    pub fn hand_player(peer: Peer) -> std::result::Result<(), (Box<Peer>, Failure)> {
        let Some(newest) = peer.subscriptions.last() else { return Err((Box::new(peer), refused())) };
        let stream = Arc::clone(newest.stream());
        peer.record.set_stream(stream.id());
        match stream.deliver(Delivery::Player(peer)) {
            Err((Delivery::Player(peer), failure)) => Err((Box::new(peer), failure)),
            _ => Ok(()),
        }
    }

    /// The accumulate thread takes no more.
    pub(super) fn close_accumulate(&self) {
        let mut book = locked(&self.book);
        book.closed = true;
        book.accumulate = None;
    }

    /// The relay thread takes no more.
    pub(super) fn close_relay(&self) {
        let mut book = locked(&self.book);
        book.closed = true;
        book.relay = None;
    }

    pub(super) fn accumulate_link(self: &Arc<Self>) -> Result<Link<Box<NewPublisher>>> {
        self.link(|book| &mut book.accumulate, "accmDataThread", |_| accumulate::run)
    }

    pub(super) fn relay_link(self: &Arc<Self>) -> Result<Link<Delivery>> {
        // The cursor is made here and not in the thread, which may run for the first time when media has come already.
        self.link(
            |book| &mut book.relay,
            "relayDataThread",
            |stream| {
                let cursor = stream.first_cursor();
                move |stream, poller, inbox| relay::run(stream, poller, inbox, cursor)
            },
        )
    }

    /// The way to a thread, which is started if this is the first use of it.
    fn link<T, F>(
        self: &Arc<Self>,
        place: impl Fn(&mut Book) -> &mut Option<Link<T>>,
        name: &str,
        body: impl FnOnce(&Self) -> F,
    ) -> Result<Link<T>>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Self>, Poller, Receiver<T>) + Send + 'static,
    {
        if let Some(link) = place(&mut locked(&self.book)) {
            return Ok(link.clone());
        }
        // Made outside the lock (system calls); of two that race the second throws its poller away.
        let poller = Poller::new()?;
        let (sender, receiver) = unbounded();
        let link = Link { inbox: sender, wake: poller.waker() };
        let mut book = locked(&self.book);
        if let Some(link) = place(&mut book) {
            return Ok(link.clone());
        }
        if book.closed {
            return Err(Failure::ours(RRError::State, "the stream is ending"));
        }
        let (stream, failed) = (Arc::clone(self), Arc::clone(self));
        let body = body(self);
        let thread = spawn(
            name,
            move || {
                stream.upcalls().enter_thread();
                if let Err(error) = crate::net::thread::set_nice(stream.config().nice) {
                    log::warn!("nice {} was refused: {error}", stream.config().nice);
                }
                if let Err(error) = crate::net::thread::set_cpus(&stream.config().cpus) {
                    log::warn!("the CPU set was refused: {error}");
                }
                body(stream, poller, receiver);
            },
            move |text| failed.panicked(text),
        )?;
        book.threads.push(thread);
        *place(&mut book) = Some(link.clone());
        Ok(link)
    }
}
