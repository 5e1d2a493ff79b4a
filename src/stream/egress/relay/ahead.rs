//! Loading the memory of consumers before it is needed.

use crate::net::cache::prefetch;
use crate::stream::egress::consumer::Consumer;

/// These consumers with their slots. The memory of the next two is loaded while one is served: between two passes the
/// kernel's work for hundreds of sockets has displaced it from the processor's cache.
pub(super) fn ahead<'a>(
    mut rest: impl Iterator<Item = (usize, &'a mut Box<Consumer>)>,
) -> impl Iterator<Item = (usize, &'a mut Box<Consumer>)> {
    let mut coming = [rest.next(), rest.next()];
    std::iter::from_fn(move || {
        let [next, second] = &mut coming;
        let now = std::mem::replace(next, second.take());
        *second = rest.next();
        if let Some((_, consumer)) = second {
            prefetch(&***consumer);
        }
        if let Some(subscription) = next.as_ref().and_then(|(_, consumer)| consumer.subscriptions.first()) {
            prefetch(subscription);
        }
        now
    })
}
