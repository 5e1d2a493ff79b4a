//! Subscribers to a server's events beside the host: the list, and their trait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::stream::event::Event;
use crate::sync::locked;

/// Somebody who is told of events.
///
/// Each has its own bound: what it has no room for it drops by its own rules, and counts. It is told by whichever
/// thread made the event, with no lock of the events held, so of two threads either may come first; the events of one
/// object come in their order. It must not block, nor keep that thread long.
pub(crate) trait Subscriber: Send + Sync {
    /// An event has happened. Whoever wants to keep it copies it.
    fn tell(&self, event: &Event);
}

/// The subscribers. While there are none an event costs one load here.
#[derive(Default)]
pub(super) struct Subscribers {
    any: AtomicBool,
    /// Taken out whole to be told, so that none is told under the lock.
    list: Mutex<Arc<[Arc<dyn Subscriber>]>>,
}

impl Subscribers {
    /// Puts one on the list, where it is not there yet.
    pub(super) fn add(&self, subscriber: &Arc<dyn Subscriber>) {
        self.change(|list| {
            if !list.iter().any(|other| Arc::ptr_eq(other, subscriber)) {
                list.push(Arc::clone(subscriber));
            }
        });
    }

    /// Takes one off the list.
    pub(super) fn remove(&self, subscriber: &Arc<dyn Subscriber>) {
        self.change(|list| list.retain(|other| !Arc::ptr_eq(other, subscriber)));
    }

    /// Takes all off the list.
    pub(super) fn clear(&self) {
        self.change(Vec::clear);
    }

    pub(super) fn tell(&self, event: &Event) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let list = Arc::clone(&locked(&self.list));
        for subscriber in &*list {
            subscriber.tell(event);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn Subscriber>>)) {
        let mut list = locked(&self.list);
        let mut changed = list.to_vec();
        change(&mut changed);
        self.any.store(!changed.is_empty(), Ordering::Release);
        let before = std::mem::replace(&mut *list, changed.into());
        drop(list);
        // The last reference to a subscriber may go here, so the lock is free.
        drop(before);
    }
}
