//! Subscribers to a server's events besides the host: their trait, and the list of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::stream::event::Event;
use crate::sync::locked;

/// A receiver of events.
///
/// Each subscriber has its own bound: it drops events for which it has no room by its own rules, and counts them. The
/// thread that makes an event calls it, with no lock of the events held, so events of two threads may come in either
/// order; the events of one object come in order. A subscriber must not block or take long.
pub(crate) trait Subscriber: Send + Sync {
    /// Takes an event. A subscriber that wants to keep it copies it.
    fn tell(&self, event: &Event);
}

/// The list of subscribers. While it is empty, an event costs one load.
#[derive(Default)]
pub(super) struct Subscribers {
    any: AtomicBool,
    /// The whole list is cloned for each event, so that no subscriber is called under the lock.
    list: Mutex<Arc<[Arc<dyn Subscriber>]>>,
}

impl Subscribers {
    /// Adds a subscriber, if it is not in the list yet.
    pub(super) fn add(&self, subscriber: &Arc<dyn Subscriber>) {
        self.change(|list| {
            if !list.iter().any(|other| Arc::ptr_eq(other, subscriber)) {
                list.push(Arc::clone(subscriber));
            }
        });
    }

    /// Removes a subscriber.
    pub(super) fn remove(&self, subscriber: &Arc<dyn Subscriber>) {
        self.change(|list| list.retain(|other| !Arc::ptr_eq(other, subscriber)));
    }

    /// Removes all subscribers.
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
        // This may drop the last reference to a subscriber, so it happens without the lock.
        drop(before);
    }
}
