//! The record of a session, as all threads see it: id, role, state, counters, orders.
//!
//! The record is shared by all threads; the connection belongs to one thread at a time. A thread that is not the owner
//! leaves an [`Order`] in the record and wakes the owner. Orders travel with the session, so none is lost if the
//! session is handed over at that moment.

mod names;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::config::Decision;
use crate::error::{Failure, RRError, Result};
use crate::mask::{escape, mask_key};
use crate::net::clock;
use crate::net::poll::Wake;
use crate::proto::command::CAPS_RECONNECT;
use crate::session::{Role, State};
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::stats::Counters;
use crate::sync::locked;
use names::KeptNames;

pub(crate) use names::Names;

/// Most orders that wait for one session: an answer, a close, and some repetitions.
const MAX_ORDERS: usize = 8;

/// How often a waiting export checks that the session's owner still exists.
const EXPORT_LOOK: Duration = Duration::from_millis(100);

/// An order of the host for a session.
#[derive(Debug)]
pub(crate) enum Order {
    /// The answer yes to a question.
    Allow(Box<Decision>),
    /// The answer no to a question, with onStatus code and text.
    Deny(String, String),
    /// The answer to a question with a redirect to this url.
    Redirect(String),
    /// Ask the peer to connect again, elsewhere if a url is given; with a text for people.
    Reconnect(Option<String>, String),
    /// Close it.
    Close(String),
    /// The answer of hooks, or of the controller, to the question with this number: one of the three answers above.
    #[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "hooks and the controller are of that feature"))]
    Answer(u64, Box<Self>),
    /// Export the session to another process while it waits for an answer. An owner that cannot do so drops the sender.
    Export {
        /// The largest size of its state, in bytes.
        room: usize,
        /// Who waits for the outcome.
        caller: Caller<Export>,
    },
}

impl Order {
    /// Whether it answers a question.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Allow(_) | Self::Deny(..) | Self::Redirect(_) | Self::Answer(..))
    }
}

/// The owner's end of an export of a session or stream, whose caller waits for the outcome. Either the owner takes the
/// order or the caller stops waiting, so nothing is exported without a caller.
#[derive(Debug)]
pub(crate) struct Caller<T> {
    outcome: Sender<Result<T>>,
    settled: Arc<AtomicBool>,
}

/// The caller's end of an export.
#[derive(Debug)]
pub(crate) struct Wait<T> {
    outcome: Receiver<Result<T>>,
    settled: Arc<AtomicBool>,
}

impl<T> Caller<T> {
    /// Both ends.
    pub(crate) fn new() -> (Self, Wait<T>) {
        let (sender, receiver) = bounded(1);
        let settled = Arc::<AtomicBool>::default();
        (Self { outcome: sender, settled: Arc::clone(&settled) }, Wait { outcome: receiver, settled })
    }

    /// Takes the order; false where the caller has given up.
    pub(crate) fn take(&self) -> bool {
        !self.settled.swap(true, Ordering::AcqRel)
    }

    /// The order as nobody has taken it, for another owner, who may take it.
    #[must_use]
    pub(crate) fn untaken(self) -> Self {
        self.settled.store(false, Ordering::Release);
        self
    }

    /// Tells the outcome.
    pub(crate) fn tell(&self, outcome: Result<T>) {
        // The caller waits: the order was taken.
        let _ = self.outcome.send(outcome);
    }
}

impl<T> Wait<T> {
    /// The outcome, if there is one yet; `None` in it where the owner cannot export the session.
    pub(crate) fn try_outcome(&self) -> Option<Option<Result<T>>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(Some(outcome)),
            Err(TryRecvError::Disconnected) => Some(None),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// The outcome; `None` where the owner cannot export the session, or takes no orders any more. `is_lost` is asked again and
    /// again whether the owner may have ended without a word.
    pub(crate) fn outcome(&self, is_lost: impl Fn() -> bool) -> Option<Result<T>> {
        loop {
            match self.outcome.recv_timeout(EXPORT_LOOK) {
                Ok(outcome) => return Some(outcome),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if is_lost() && !self.settled.swap(true, Ordering::AcqRel) => {
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// The outcome of an export.
#[derive(Debug)]
pub enum Export {
    /// The session has ended here; another process continues it with its connection and state.
    Gone {
        /// The open connection.
        fd: OwnedFd,
        /// The state.
        state: Vec<u8>,
    },
    /// The state needs this much room, more than was given. The session is unchanged.
    Needs(usize),
}

/// The outcome of the export of a target or source.
#[derive(Debug)]
pub enum TargetExport {
    /// The target has ended here; another process continues it with its state and, where it has one that can move, its
    /// connection.
    Gone {
        /// The open connection.
        fd: Option<OwnedFd>,
        /// The state.
        state: Vec<u8>,
    },
    /// The state needs this much room, more than was given. The target is unchanged.
    Needs(usize),
}

#[derive(Debug, Default)]
struct Post {
    owner: Option<Arc<Wake>>,
    orders: VecDeque<Order>,
    /// The session is over: no owner will read what is left here.
    closed: bool,
}

/// One session that a peer opened to us.
#[derive(Debug)]
pub(crate) struct RRSession {
    /// Its id.
    pub id: Id,
    /// The peer's address.
    pub addr: String,
    /// The peer's address without port, if it has one.
    pub ip: Option<IpAddr>,
    /// Our address.
    pub local_addr: String,
    /// Counters, written by the owner.
    pub counters: Counters,
    role: AtomicU32,
    wish: AtomicU32,
    state: AtomicU32,
    stream: AtomicU64,
    /// Its present or last stream, for events about the session.
    told_stream: AtomicU64,
    /// When bytes last came from it as a publisher, monotonic.
    read_ms: AtomicU64,
    user: AtomicUsize,
    tls: AtomicBool,
    names: Mutex<KeptNames>,
    post: Mutex<Post>,
    /// Orders wait; read without the lock.
    mail: AtomicU32,
}

impl RRSession {
    /// A session that has just been accepted.
    pub(crate) fn new(id: Id, addr: String, ip: Option<IpAddr>, local_addr: String) -> Self {
        Self::resumed(id, addr, ip, local_addr, Counters::new(clock::wall_us()))
    }

    /// A session that continues with these counters.
    pub(crate) fn resumed(id: Id, addr: String, ip: Option<IpAddr>, local_addr: String, counters: Counters) -> Self {
        Self {
            id,
            addr,
            ip,
            local_addr,
            counters,
            role: AtomicU32::new(Role::None.number()),
            wish: AtomicU32::new(Role::None.number()),
            state: AtomicU32::new(State::Handshake.number()),
            stream: AtomicU64::new(0),
            told_stream: AtomicU64::new(0),
            read_ms: AtomicU64::new(0),
            user: AtomicUsize::new(0),
            tls: AtomicBool::new(false),
            names: Mutex::default(),
            post: Mutex::default(),
            mail: AtomicU32::new(0),
        }
    }

    /// When bytes last came from it as a publisher, monotonic ms; before the first bytes, when it became the publisher.
    /// For a source only media counts, and before the first it is 0.
    pub(crate) fn read_ms(&self) -> u64 {
        self.read_ms.load(Ordering::Relaxed)
    }

    /// Notes that bytes came from it, or that it publishes from now on; owner only.
    pub(in crate::stream) fn set_read(&self, now_ms: u64) {
        // 0 means never.
        self.read_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// Publisher, player ...
    pub(crate) fn role(&self) -> Role {
        role_of(self.role.load(Ordering::Relaxed))
    }

    /// Sets the role; owner only.
    pub(crate) fn set_role(&self, role: Role) {
        self.role.store(role.number(), Ordering::Relaxed);
    }

    /// Notes the role that the peer has asked for and has not been granted yet, or `None`; owner only. From then on
    /// events no longer name the session's previous stream.
    pub(crate) fn set_wish(&self, role: Role) {
        self.wish.store(role.number(), Ordering::Relaxed);
        self.forget_stream_if_asking();
    }

    /// Lets events no longer name the session's previous stream, if the peer has asked for a role; owner only.
    pub(crate) fn forget_stream_if_asking(&self) {
        if self.wish() != Role::None {
            self.told_stream.store(self.stream(), Ordering::Relaxed);
        }
    }

    /// The role that the peer has asked for and has not been granted yet, or `None`.
    pub(crate) fn wish(&self) -> Role {
        role_of(self.wish.load(Ordering::Relaxed))
    }

    /// What the session does, for people: "publishing live/key***".
    pub(crate) fn doing(&self) -> String {
        let names = self.names();
        let app = escape(&names.app);
        let verb = match (self.role(), self.wish()) {
            (Role::None, Role::Publisher) => "wants to publish",
            (Role::None, Role::Player) => "wants to play",
            (Role::Publisher, _) => "publishing",
            (Role::Standby, _) => "standing by to publish",
            (Role::Player, _) => "playing",
            _ if app.is_empty() => return "has not said what it wants".to_owned(),
            _ => return format!("connected to {app}"),
        };
        format!("{verb} {app}/{}", mask_key(&names.key))
    }

    /// The state.
    pub(crate) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Relaxed)).unwrap_or(State::None)
    }

    /// Sets the state and returns the previous one; owner only.
    pub(crate) fn set_state(&self, state: State) -> State {
        let prev = self.state();
        debug_assert!(prev == state || prev.may_become(state), "a session went from {prev:?} to {state:?}");
        self.state.store(state.number(), Ordering::Relaxed);
        prev
    }

    /// The stream that it publishes to or plays; 0 means none.
    pub(crate) fn stream(&self) -> Id {
        self.stream.load(Ordering::Relaxed)
    }

    /// Sets the stream; owner only.
    pub(crate) fn set_stream(&self, stream: Id) {
        self.stream.store(stream, Ordering::Relaxed);
        if stream != 0 {
            self.told_stream.store(stream, Ordering::Relaxed);
        }
    }

    /// The host's pointer.
    pub(crate) fn user(&self) -> usize {
        self.user.load(Ordering::Relaxed)
    }

    /// Sets the host's pointer.
    pub(crate) fn set_user(&self, user: usize) {
        self.user.store(user, Ordering::Relaxed);
    }

    /// Whether the connection is encrypted.
    pub(crate) fn tls(&self) -> bool {
        self.tls.load(Ordering::Relaxed)
    }

    /// Sets whether the connection is encrypted; owner only.
    pub(crate) fn set_tls(&self, tls: bool) {
        self.tls.store(tls, Ordering::Relaxed);
    }

    /// The names.
    pub(crate) fn names(&self) -> Names {
        locked(&self.names).get()
    }

    /// Changes the names; owner only.
    pub(crate) fn rename(&self, change: impl FnOnce(&mut Names)) {
        let mut kept = locked(&self.names);
        let mut names = kept.get();
        change(&mut names);
        *kept = names.into();
    }

    /// Whether the peer said at connect that it understands the reconnect request.
    pub(crate) fn reconnects(&self) -> bool {
        locked(&self.names).caps_ex() & CAPS_RECONNECT != 0
    }

    /// An event about this session, with all its fields filled in; after the end of a publish or play it still has the
    /// role and the stream of that.
    pub(crate) fn event(&self, kind: EventKind) -> Event {
        let names = self.names();
        let state = self.state();
        Event {
            session: self.id,
            stream: self.told_stream.load(Ordering::Relaxed),
            role: self.role(),
            user: self.user(),
            app: names.app,
            key: names.key,
            url: names.tc_url,
            query: names.query,
            addr: self.addr.clone().into_bytes(),
            ..Event::new(kind).moved(state, state).over_tls(self.tls())
        }
    }

    /// Sets the owner that is to be woken. The thread that hands the session over calls this before.
    pub(crate) fn set_owner(&self, owner: Arc<Wake>) {
        let before = locked(&self.post).owner.replace(owner);
        // The old wake is dropped outside the lock, because its last holder gives back the task's number under another
        // lock.
        drop(before);
    }

    /// Wakes the owner because another stream that the session plays has new media.
    pub(in crate::stream) fn wake_owner_for_log(&self) {
        let owner = locked(&self.post).owner.clone();
        if let Some(owner) = owner {
            owner.wake_for_data();
        }
    }

    /// Leaves an order and wakes the owner.
    ///
    /// # Errors
    /// [`RRError::Again`] if too many wait already, [`RRError::NotFound`] if the session is over.
    pub(crate) fn order(&self, order: Order) -> Result<()> {
        let owner = {
            let mut post = locked(&self.post);
            if post.closed {
                return Err(Failure::ours(RRError::NotFound, "the session has ended"));
            }
            if post.orders.len() >= MAX_ORDERS {
                return Err(Failure::ours(RRError::Again, "the session has not handled earlier calls yet"));
            }
            post.orders.push_back(order);
            // This is set under the lock, like its counterpart in `next_order`, so that it matches the queue.
            self.mail.store(1, Ordering::Release);
            post.owner.clone()
        };
        if let Some(owner) = owner {
            owner.wake();
        }
        Ok(())
    }

    /// Closes the record of a session that is over: waiting orders are dropped, and new ones are refused.
    pub(crate) fn close_post(&self) {
        let mut post = locked(&self.post);
        post.closed = true;
        post.orders.clear();
        self.mail.store(0, Ordering::Release);
    }

    /// Whether orders wait; owner only.
    pub(in crate::stream) fn has_orders(&self) -> bool {
        self.mail.load(Ordering::Acquire) != 0
    }

    /// The oldest order; owner only. It costs one load if there is none.
    pub(crate) fn next_order(&self) -> Option<Order> {
        self.next_order_that(|_| true)
    }

    /// The oldest order that answers no question; owner only. Answers wait for the next owner, and so does an export
    /// behind one.
    pub(in crate::stream) fn next_order_beside_answers(&self) -> Option<Order> {
        let mut answered = false;
        self.next_order_that(|order| {
            let waits = order.is_answer() || (answered && matches!(order, Order::Export { .. }));
            answered |= order.is_answer();
            !waits
        })
    }

    fn next_order_that(&self, fits: impl FnMut(&Order) -> bool) -> Option<Order> {
        if self.mail.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut post = locked(&self.post);
        let order = post.orders.iter().position(fits).and_then(|at| post.orders.remove(at));
        if post.orders.is_empty() {
            // Most sessions get one order at most, the answer to their question.
            post.orders = VecDeque::new();
            self.mail.store(0, Ordering::Release);
        }
        order
    }
}

/// The role with this number.
fn role_of(number: u32) -> Role {
    [Role::Publisher, Role::Standby, Role::Player, Role::Target, Role::Source]
        .into_iter()
        .find(|role| role.number() == number)
        .unwrap_or(Role::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_question_an_export_waits_behind_the_answer_and_other_orders_do_not() {
        let session = RRSession::new(1, "peer".to_owned(), None, "here".to_owned());
        let export = || Order::Export { room: 0, caller: Caller::new().0 };
        let allow = || Order::Allow(Box::default());
        for order in [export(), allow(), export(), Order::Close(String::new())] {
            session.order(order).unwrap();
        }
        assert!(matches!(session.next_order_beside_answers(), Some(Order::Export { .. })));
        assert!(matches!(session.next_order_beside_answers(), Some(Order::Close(_))));
        assert!(session.next_order_beside_answers().is_none());
        assert!(matches!(session.next_order(), Some(Order::Allow(_))));
        assert!(matches!(session.next_order_beside_answers(), Some(Order::Export { .. })));
        assert!(!session.has_orders());
    }
}
