//! A stream's book: its publisher, standbys, players and targets, and whether new peers are still admitted.
//!
//! All changes are made under one lock, so two peers that come at once cannot both become the publisher. The book sends
//! no events and wakes no thread; the front does so once the lock is free. The lock comes after the registry's and
//! before that of the sources.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::config::{MAX_STANDBYS, PublisherPolicy};
use crate::error::{Failure, RRError, Result};
use crate::session::Role;
use crate::stream::event::Id;
use crate::stream::record::RRSession;
use crate::stream::remote::target::Target;
use crate::sync::locked;

/// The publisher of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Publisher {
    Session(Id),
    Host,
}

/// The place that a new publisher gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The newcomer is the publisher and replaces an earlier one, if any.
    Live,
    /// The newcomer stands by until the present publisher has gone.
    Standby,
}

/// The result of the host's claim to publish, made with each of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum HostClaim {
    /// The host is the publisher already.
    Had,
    /// The host is the publisher from here on.
    New,
    /// The host does not publish, and may not begin now.
    Closed,
    /// Nobody publishes, and the host does not begin either.
    None,
}

/// The place that the stream has for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Room {
    /// Nobody publishes.
    Live,
    /// Somebody publishes, and one more may stand by.
    Standby,
    None,
}

/// Who publishes a stream and who stands by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::stream) struct Places {
    /// The session that publishes; 0 means none.
    pub(in crate::stream) live: Id,
    /// The publisher's place is kept.
    pub(in crate::stream) recovering: bool,
    /// The standbys.
    pub(in crate::stream) standbys: Vec<Id>,
}

/// The book of one stream. Any thread may call what is here.
#[derive(Debug)]
pub(crate) struct Book {
    page: Mutex<Page>,
    /// The publisher the host wants live; 0 means none.
    switch_to: AtomicU64,
}

#[derive(Debug, Default)]
struct Page {
    publisher: Option<Publisher>,
    /// The publisher was lost, and the grace window is running.
    recovering: bool,
    /// The grace window is that of a publisher that comes here from another process: those that stood by for it there
    /// do so here too.
    awaits_moved: bool,
    /// Sessions that peers opened to us: first the publisher, then standbys and players.
    from_sess_list: Vec<Arc<RRSession>>,
    /// Sessions that we open to others: the controller's relays first, of which the first is the stream's next hop.
    to_sess_list: Vec<Arc<Target>>,
    /// The host created the stream, so it exists also without peers.
    reserved: bool,
    /// The book is closed: no new peer is admitted.
    closed: bool,
}

impl Page {
    /// The controller's relays stand first, in its order, whatever else the stream is pushed to.
    fn sort_targets(&mut self) {
        self.to_sess_list.sort_by_cached_key(|target| !target.endpoint().config.of_controller);
    }

    fn still_open(&self) -> Result<()> {
        if self.closed { Err(Failure::ours(RRError::State, "the stream is ending")) } else { Ok(()) }
    }

    fn standbys(&self) -> usize {
        self.from_sess_list.iter().filter(|record| record.role() == Role::Standby).count()
    }

    fn is_wanted(&self) -> bool {
        self.publisher.is_some() || self.recovering || self.reserved
    }

    fn is_unused(&self) -> bool {
        !self.is_wanted() && self.from_sess_list.is_empty() && !self.closed
    }

    /// Whether nobody publishes or is to, and nothing is pushed anywhere.
    fn has_players_alone(&self) -> bool {
        let plays = |record: &Arc<RRSession>| matches!(record.role(), Role::None | Role::Player);
        let publishes = self.publisher.is_some() || self.recovering || !self.from_sess_list.iter().all(plays);
        !publishes && self.to_sess_list.is_empty()
    }

    fn publishes(&self, record: &RRSession) -> bool {
        self.publisher == Some(Publisher::Session(record.id))
    }

    fn publisher_record(&self) -> Option<&Arc<RRSession>> {
        self.from_sess_list.iter().find(|record| self.publishes(record))
    }

    /// Whether the publisher is a session (of a peer or of a source) that has sent nothing since `since_ms`.
    fn is_silent(&self, since_ms: Option<u64>) -> bool {
        self.publisher_record().zip(since_ms).is_some_and(|(record, since_ms)| record.read_ms() <= since_ms)
    }

    /// Whether the publisher's place is taken: by the publisher or, if that has gone, by one that is about to follow: a
    /// standby, or the live one that was to be replaced by the one that has gone.
    fn is_taken(&self) -> bool {
        self.publisher.is_some() || (self.recovering && self.may_follow())
    }

    /// Whether this place in another process is the one that the stream awaits.
    fn is_awaited(&self, was: Option<Claim>) -> bool {
        self.awaits_moved && was == Some(Claim::Live)
    }

    /// Whether one with this place in another process stands by for a publisher that is still on its way here.
    fn precedes(&self, was: Option<Claim>) -> bool {
        self.awaits_moved && was == Some(Claim::Standby)
    }

    fn may_follow(&self) -> bool {
        let follows = |record: &Arc<RRSession>| matches!(record.role(), Role::Publisher | Role::Standby | Role::Source);
        self.from_sess_list.iter().any(follows)
    }

    fn room(&self, may_stand_by: bool) -> Room {
        match self.is_taken() {
            _ if self.closed => Room::None,
            false if !(self.awaits_moved && may_stand_by) => Room::Live,
            _ if may_stand_by && self.standbys() < MAX_STANDBYS => Room::Standby,
            _ => Room::None,
        }
    }

    fn set_publisher(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
        (self.recovering, self.awaits_moved) = (false, false);
    }

    fn enter(&mut self, record: &Arc<RRSession>, claim: Claim, role: Role) {
        record.set_role(role);
        match claim {
            Claim::Live => {
                self.set_publisher(Publisher::Session(record.id));
                self.from_sess_list.insert(0, Arc::clone(record));
            }
            Claim::Standby => self.from_sess_list.push(Arc::clone(record)),
        }
    }
}

impl Book {
    /// An empty book. With `reserved` the stream exists also without peers.
    pub(in crate::stream) fn new(reserved: bool) -> Self {
        Self { page: Mutex::new(Page { reserved, ..Page::default() }), switch_to: AtomicU64::new(0) }
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        locked(&self.page)
    }

    // ---- players

    /// Adds a player to the book.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending.
    pub(in crate::stream) fn admit(&self, record: &Arc<RRSession>) -> Result<()> {
        let mut page = self.page();
        page.still_open()?;
        page.from_sess_list.push(Arc::clone(record));
        Ok(())
    }

    /// Removes one play of this session, which may play the stream more than once.
    pub(in crate::stream) fn leave(&self, record: &RRSession) {
        let mut page = self.page();
        if let Some(at) = page.from_sess_list.iter().position(|other| other.id == record.id) {
            page.from_sess_list.remove(at);
        }
    }

    /// The publisher, the standbys and the players, including sources that publish or stand by.
    pub(in crate::stream) fn sessions(&self) -> Vec<Arc<RRSession>> {
        self.page().from_sess_list.clone()
    }

    // ---- the publisher

    /// Whether somebody publishes.
    pub(crate) fn has_publisher(&self) -> bool {
        self.page().publisher.is_some()
    }

    /// The session that publishes.
    fn publisher(&self) -> Option<Arc<RRSession>> {
        self.page().publisher_record().cloned()
    }

    /// The id of the session that publishes, also if it is a source's.
    #[cfg(any(feature = "rest", test))]
    pub(crate) fn publisher_id(&self) -> Option<Id> {
        self.publisher().map(|record| record.id)
    }

    /// The arguments (`?args`) of the session that publishes; empty if there is none or it sent none.
    pub(crate) fn publisher_query(&self) -> Vec<u8> {
        self.publisher().map(|record| record.names().query).unwrap_or_default()
    }

    /// The streams through which the publisher's media comes; empty if the publisher is not a source.
    pub(in crate::stream) fn publisher_via(&self) -> Vec<u8> {
        self.publisher().map(|record| record.names().via).unwrap_or_default()
    }

    /// Makes a session the publisher, or a standby, according to the policy. Even if the policy is to reject, a
    /// publisher that has sent nothing since `silent_since_ms` is replaced: it may have lost its network and be the one
    /// that comes again. `was` is its place in another process, if it comes from there.
    ///
    /// # Errors
    /// [`RRError::Exists`] if there is an active publisher and the policy is to reject, [`RRError::Limit`] with too
    /// many standbys, [`RRError::State`] if the stream is ending.
    pub(in crate::stream) fn claim(
        &self,
        record: &Arc<RRSession>,
        policy: PublisherPolicy,
        silent_since_ms: Option<u64>,
        was: Option<Claim>,
    ) -> Result<Claim> {
        let mut page = self.page();
        page.still_open()?;
        let claim = match policy {
            _ if page.precedes(was) && page.standbys() < MAX_STANDBYS => Claim::Standby,
            _ if page.is_awaited(was) || !page.is_taken() => Claim::Live,
            PublisherPolicy::Takeover => Claim::Live,
            PublisherPolicy::Reject if page.is_silent(silent_since_ms) => Claim::Live,
            PublisherPolicy::Reject => return Err(taken()),
            PublisherPolicy::Standby if page.standbys() < MAX_STANDBYS => Claim::Standby,
            PublisherPolicy::Standby => {
                return Err(Failure::ours(RRError::Limit, "too many publishers stand by already"));
            }
        };
        page.enter(record, claim, if claim == Claim::Live { Role::Publisher } else { Role::Standby });
        Ok(claim)
    }

    /// Makes a source the publisher, or a standby; unlike a session ([`claim`](Self::claim)) a source never takes over.
    ///
    /// # Errors
    /// [`RRError::Exists`] if there is a publisher and the source may not stand by, [`RRError::State`].
    pub(in crate::stream) fn claim_for_source(
        &self,
        record: &Arc<RRSession>,
        may_stand_by: bool,
        was: Option<Claim>,
    ) -> Result<Claim> {
        let mut page = self.page();
        page.still_open()?;
        let room = if page.is_awaited(was) { Room::Live } else { page.room(may_stand_by) };
        let (claim, role) = match room {
            Room::Live => (Claim::Live, Role::Source),
            Room::Standby => (Claim::Standby, Role::Standby),
            Room::None => return Err(taken()),
        };
        page.enter(record, claim, role);
        Ok(claim)
    }

    /// The place that is free for a source now.
    pub(in crate::stream) fn room(&self, may_stand_by: bool) -> Room {
        self.page().room(may_stand_by)
    }

    /// Makes the host the publisher, unless the message is its end. Without `may_begin` nothing changes.
    ///
    /// # Errors
    /// [`RRError::Exists`] if a session publishes, [`RRError::State`] if the stream is ending.
    pub(in crate::stream) fn claim_for_host(&self, ends: bool, may_begin: bool) -> Result<HostClaim> {
        let mut page = self.page();
        match page.publisher {
            Some(Publisher::Host) => Ok(HostClaim::Had),
            _ if !may_begin => Ok(HostClaim::Closed),
            Some(Publisher::Session(_)) => Err(Failure::ours(RRError::Exists, "a session publishes this stream")),
            None if ends => Ok(HostClaim::None),
            None => {
                page.still_open()?;
                page.set_publisher(Publisher::Host);
                Ok(HostClaim::New)
            }
        }
    }

    /// Ends the host's publish. `None` if it did not publish; otherwise whether a standby follows, whose place is then
    /// kept.
    pub(in crate::stream) fn end_host(&self) -> Option<bool> {
        let mut page = self.page();
        page.publisher.take_if(|publisher| *publisher == Publisher::Host)?;
        page.recovering = page.standbys() > 0;
        Some(page.recovering)
    }

    /// Removes a session that published or stood by. With `keep` its place stays open, for the grace window or for one
    /// that may follow, until [`give_up_waiting`](Self::give_up_waiting). True if it was the publisher.
    pub(in crate::stream) fn lose(&self, record: &RRSession, keep: bool) -> bool {
        let mut page = self.page();
        page.from_sess_list.retain(|other| other.id != record.id);
        let was_live = page.publishes(record);
        if was_live {
            page.publisher = None;
            page.recovering = keep;
        }
        was_live
    }

    /// Makes a standby the publisher; false if another one has come first.
    pub(in crate::stream) fn succeed(&self, record: &RRSession) -> bool {
        let mut page = self.page();
        let free = page.publisher.is_none() && !page.closed;
        if free {
            page.set_publisher(Publisher::Session(record.id));
        }
        free
    }

    /// Whether the host is the publisher.
    pub(crate) fn host_publishes(&self) -> bool {
        self.page().publisher == Some(Publisher::Host)
    }

    /// Exchanges the publisher and a standby, as the host asked; false if `from` is not the publisher.
    pub(in crate::stream) fn exchange(&self, from: &RRSession, to: &RRSession) -> bool {
        let mut page = self.page();
        let publishes = page.publishes(from);
        if publishes {
            page.publisher = Some(Publisher::Session(to.id));
        }
        publishes
    }

    /// Whether nobody publishes while the grace window keeps the publisher's place.
    pub(in crate::stream) fn is_recovering(&self) -> bool {
        self.page().recovering
    }

    /// Keeps the publisher's place, for a stream that continues from another process. With `for_publisher`, those that
    /// stood by there get it only once that publisher has come and gone, or has not come.
    pub(in crate::stream) fn keep_place(&self, for_publisher: bool) {
        let mut page = self.page();
        page.recovering = page.publisher.is_none();
        page.awaits_moved = page.recovering && for_publisher;
    }

    /// Whether the place is kept for a publisher that comes from another process.
    pub(in crate::stream) fn awaits_moved(&self) -> bool {
        self.page().awaits_moved
    }

    /// Whether there is a publisher at work whose connection can move to another process.
    pub(crate) fn publisher_can_move(&self) -> bool {
        let moves = |record: &Arc<RRSession>| matches!(record.role(), Role::Publisher | Role::Source) && !record.tls();
        self.page().from_sess_list.iter().any(moves)
    }

    /// Gives up the publisher's place; true if the grace window had kept it.
    pub(in crate::stream) fn give_up_waiting(&self) -> bool {
        let mut page = self.page();
        page.awaits_moved = false;
        std::mem::take(&mut page.recovering)
    }

    /// Notes, for accumulate, that the host wants this publisher or standby live. The caller wakes accumulate.
    ///
    /// # Errors
    /// [`RRError::NotFound`] if it neither publishes nor stands by here, [`RRError::State`] while the host publishes.
    pub(in crate::stream) fn want_live(&self, id: Id) -> Result<()> {
        let page = self.page();
        let publishes =
            |record: &Arc<RRSession>| matches!(record.role(), Role::Publisher | Role::Standby | Role::Source);
        if !page.from_sess_list.iter().any(|record| record.id == id && publishes(record)) {
            return Err(Failure::ours(RRError::NotFound, "that session does not publish to this stream"));
        }
        if page.publisher == Some(Publisher::Host) {
            let text = "the host publishes this stream; a standby follows when the host ends";
            return Err(Failure::ours(RRError::State, text));
        }
        self.switch_to.store(id, Ordering::Release);
        Ok(())
    }

    /// Whether this session still has the publisher's place.
    pub(in crate::stream) fn is_publisher(&self, record: &RRSession) -> bool {
        self.page().publishes(record)
    }

    /// Takes the note of the publisher that the host wants live.
    pub(in crate::stream) fn take_switch(&self) -> Option<Id> {
        Some(self.switch_to.swap(0, Ordering::AcqRel)).filter(|&id| id != 0)
    }

    /// Keeps the host's request until accumulate has the publishers concerned, or the host requests another one.
    ///
    /// While the host publishes, no such request holds.
    pub(in crate::stream) fn keep_switch(&self, id: Id) {
        let page = self.page();
        if page.publisher != Some(Publisher::Host) && page.from_sess_list.iter().any(|record| record.id == id) {
            let _ = self.switch_to.compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    // ---- another process

    /// Who publishes and who stands by, for the process that has the stream's records.
    pub(in crate::stream) fn places(&self) -> Places {
        let page = self.page();
        let live = match page.publisher {
            Some(Publisher::Session(id)) => id,
            Some(Publisher::Host) | None => 0,
        };
        let standbys = page.from_sess_list.iter().filter(|record| record.role() == Role::Standby);
        Places { live, recovering: page.recovering, standbys: standbys.map(|record| record.id).collect() }
    }

    /// Takes over who publishes and who stands by in the process that has the stream's connections. One that `is_on_way`
    /// there keeps its place.
    pub(in crate::stream) fn follow(
        &self,
        places: &Places,
        is_on_way: impl Fn(Id) -> bool,
        is_source: impl Fn(Id) -> bool,
    ) {
        let mut page = self.page();
        for record in &page.from_sess_list {
            if record.id == places.live {
                record.set_role(if is_source(record.id) { Role::Source } else { Role::Publisher });
            } else if places.standbys.contains(&record.id) {
                record.set_role(Role::Standby);
            }
        }
        match page.publisher {
            Some(Publisher::Host) => return,
            Some(Publisher::Session(id)) if is_on_way(id) => return,
            _ => {}
        }
        let live = page.from_sess_list.iter().find(|record| record.id == places.live);
        page.publisher = live.map(|record| Publisher::Session(record.id));
        page.recovering = places.recovering;
    }

    /// Whether the host wants it, and nobody is on it.
    pub(in crate::stream) fn is_prepared(&self) -> bool {
        let page = self.page();
        page.reserved && page.has_players_alone() && page.from_sess_list.is_empty() && !page.closed
    }

    /// Whether players wait on it, and the host does not want it otherwise.
    pub(in crate::stream) fn is_awaited(&self) -> bool {
        let page = self.page();
        !page.reserved && page.has_players_alone()
    }

    /// Adds those who publish and stand by in a process that comes to this stream from another server.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, or somebody has come before.
    pub(in crate::stream) fn enter_adopted(
        &self,
        records: Vec<Arc<RRSession>>,
        places: &Places,
        is_source: impl Fn(Id) -> bool,
    ) -> Result<()> {
        let mut page = self.page();
        page.still_open()?;
        if page.is_taken() || !page.from_sess_list.is_empty() {
            return Err(Failure::ours(RRError::State, "somebody has come to the stream before its process"));
        }
        records.iter().for_each(|record| record.set_role(Role::Standby));
        page.from_sess_list = records;
        drop(page);
        self.follow(places, |_| false, is_source);
        Ok(())
    }

    // ---- targets

    /// Adds a target to the book and sends its first event.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, or the target was stopped already.
    pub(in crate::stream) fn add_target(&self, target: &Arc<Target>) -> Result<()> {
        let mut page = self.page();
        page.still_open()?;
        // This runs under the lock, so that a stop from now on finds the target on the book.
        target.begin()?;
        page.to_sess_list.push(Arc::clone(target));
        page.sort_targets();
        Ok(())
    }

    /// Puts new targets in the place of another one: so many `before` it, and the others behind it.
    pub(crate) fn put_in_place(&self, of: Id, new: &[Id], before: usize) {
        let mut page = self.page();
        let all = std::mem::take(&mut page.to_sess_list);
        let (mut new, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|target| new.contains(&target.id));
        let behind = new.split_off(before.min(new.len()));
        let at = others.iter().position(|target| target.id == of).unwrap_or(others.len());
        let after = others.split_off((at + 1).min(others.len()));
        others.splice(at..at, new);
        page.to_sess_list = [others, behind, after].concat();
        page.sort_targets();
    }

    /// Takes a target off the book.
    pub(crate) fn remove_target(&self, id: Id) {
        self.page().to_sess_list.retain(|target| target.id != id);
    }

    /// The targets.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        self.page().to_sess_list.clone()
    }

    /// How many targets there are.
    pub(crate) fn target_count(&self) -> usize {
        self.page().to_sess_list.len()
    }

    /// Removes all targets of a stream that has ended.
    pub(in crate::stream) fn forget_targets(&self) {
        self.page().to_sess_list.clear();
    }

    // ---- whether anybody may come

    /// Whether only players that wait for a publisher keep the stream.
    pub(crate) fn is_only_waited_for(&self) -> bool {
        let page = self.page();
        !page.is_wanted() && !page.closed
    }

    /// Whether the stream exists also without peers.
    pub(crate) fn is_reserved(&self) -> bool {
        self.page().reserved
    }

    /// Runs `what`, which must not happen once the book is closed, under the lock.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, and the errors of `what`.
    pub(crate) fn while_open(&self, what: impl FnOnce() -> Result<()>) -> Result<()> {
        let page = self.page();
        page.still_open()?;
        what()
    }

    /// [`while_open`](Self::while_open), and lets the stream exist also without peers from then on.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, and the errors of `what`.
    pub(crate) fn reserve_with(&self, what: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut page = self.page();
        page.still_open()?;
        what()?;
        page.reserved = true;
        Ok(())
    }

    /// Whether the stream has no peers and expects none; `is_kept` says whether something other than the book keeps the
    /// stream.
    pub(in crate::stream) fn is_unused(&self, is_kept: impl FnOnce() -> bool) -> bool {
        let page = self.page();
        page.is_unused() && !is_kept()
    }

    /// Closes the book if the stream still has no peers; true if it did.
    pub(in crate::stream) fn retire(&self, is_kept: impl FnOnce() -> bool) -> bool {
        let mut page = self.page();
        let unused = page.is_unused() && !is_kept();
        page.closed |= unused;
        unused
    }

    /// Closes the book: no new peer is admitted.
    pub(in crate::stream) fn close(&self) {
        self.page().closed = true;
    }
}

fn taken() -> Failure {
    Failure::ours(RRError::Exists, "the stream has a publisher already")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_gives_way_only_where_it_has_been_silent_and_may_be_replaced() {
        let book = Book::new(false);
        let session = |id| Arc::new(RRSession::new(id, String::new(), None, String::new()));
        let (first, second, third) = (session(1), session(2), session(3));
        let reject = PublisherPolicy::Reject;
        first.set_read(1_000);
        assert_eq!(book.claim(&first, reject, Some(0), None).unwrap(), Claim::Live);
        second.set_read(3_000);
        assert_eq!(book.claim(&second, reject, None, None).unwrap_err().kind, RRError::Exists, "it may stay for ever");
        assert_eq!(
            book.claim(&second, reject, Some(999), None).unwrap_err().kind,
            RRError::Exists,
            "it has sent since"
        );
        assert_eq!(book.claim(&second, reject, Some(1_000), None).unwrap(), Claim::Live);
        assert!(!book.lose(&first, false), "the second publishes");
        assert_eq!(book.claim(&third, reject, Some(2_999), None).unwrap_err().kind, RRError::Exists);
        book.lose(&second, false);
        book.claim_for_host(false, true).unwrap();
        assert_eq!(
            book.claim(&third, reject, Some(u64::MAX), None).unwrap_err().kind,
            RRError::Exists,
            "the host stays"
        );
    }

    #[test]
    fn no_publisher_overtakes_a_standby_behind_the_host() {
        let book = Book::new(false);
        let session = |id| Arc::new(RRSession::new(id, String::new(), None, String::new()));
        let policy = PublisherPolicy::Standby;
        book.claim_for_host(false, true).unwrap();
        let first = session(1);
        assert_eq!(book.claim(&first, policy, None, None).unwrap(), Claim::Standby);
        assert_eq!(book.end_host(), Some(true));
        // Accumulate has not seen the request yet.
        assert_eq!(book.claim(&session(2), policy, None, None).unwrap(), Claim::Standby);
        assert_eq!(book.claim_for_source(&session(3), false, None).unwrap_err().kind, RRError::Exists);
        assert!(book.succeed(&first));
        book.lose(&first, true);
        book.lose(&session(2), true);
        assert_eq!(book.claim(&session(4), policy, None, None).unwrap(), Claim::Live, "nobody is left to follow");
    }

    #[test]
    fn a_host_that_may_not_begin_goes_on_publishing_and_publishes_nothing_once_that_has_ended() {
        let book = Book::new(false);
        book.claim_for_host(false, true).unwrap();
        assert_eq!(book.claim_for_host(false, false).unwrap(), HostClaim::Had);
        assert_eq!(book.end_host(), Some(false));
        for ends in [false, true] {
            assert_eq!(book.claim_for_host(ends, false).unwrap(), HostClaim::Closed);
            assert!(!book.host_publishes());
        }
        assert_eq!(book.claim_for_host(false, true).unwrap(), HostClaim::New);
    }

    #[test]
    fn a_place_that_is_kept_for_a_moved_publisher_is_not_for_those_who_stood_by() {
        let session = |id| Arc::new(RRSession::new(id, String::new(), None, String::new()));
        let (reject, takeover, stood_by) = (PublisherPolicy::Reject, PublisherPolicy::Takeover, Some(Claim::Standby));
        let book = Book::new(false);
        book.keep_place(true);
        assert_eq!((book.room(true), book.room(false)), (Room::Standby, Room::Live));
        assert_eq!(book.claim_for_source(&session(1), true, stood_by).unwrap(), Claim::Standby);
        assert_eq!(book.claim(&session(2), takeover, None, stood_by).unwrap(), Claim::Standby);
        assert_eq!(book.claim(&session(3), reject, None, Some(Claim::Live)).unwrap(), Claim::Live);
        assert!(!book.awaits_moved() && book.is_publisher(&session(3)));
        let book = Book::new(false);
        book.keep_place(false);
        assert_eq!(book.claim(&session(1), reject, None, stood_by).unwrap(), Claim::Live, "nobody is awaited");
    }

    #[test]
    fn a_switch_is_kept_for_one_that_is_on_its_way_until_the_host_wants_another() {
        let book = Book::new(false);
        let session = |id| Arc::new(RRSession::new(id, String::new(), None, String::new()));
        for id in [1, 2, 3] {
            let record = session(id);
            book.claim(&record, PublisherPolicy::Standby, None, None).unwrap();
            record.set_role(if id == 1 { Role::Publisher } else { Role::Standby });
        }
        book.want_live(2).unwrap();
        assert_eq!((book.take_switch(), book.take_switch()), (Some(2), None));
        book.keep_switch(2);
        assert_eq!(book.take_switch(), Some(2));
        book.want_live(3).unwrap();
        book.keep_switch(2);
        assert_eq!(book.take_switch(), Some(3), "the host has wanted another since");
        book.lose(&session(2), false);
        book.keep_switch(2);
        assert_eq!(book.take_switch(), None, "it has gone");
    }
}
