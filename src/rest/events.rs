//! `GET /v1/events`: what the server tells, as server-sent events. Each reader is a subscriber of its own: a queue with
//! bounds, out of which what it does not take in time falls, oldest first; it is told how much that was.
//!
//! DESIGN. Whichever thread makes an event copies it into the reader's queue and wakes its [`Notify`], which blocks on
//! nothing; `restThread` sleeps until then, makes JSON of what waits, and goes on as the reader's socket takes it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::http::until_true;
use super::model::{self, Told};
use super::problem::Problem;
use crate::error::RRError;
use crate::server::RRServer;
use crate::server::events::Subscriber;
use crate::stream::event::Event;
use crate::sync::locked;

/// Readers of one listener at a time: pages and programs that watch are few, and each may hold [`MAX_BYTES`].
const MAX_READERS: usize = 32;

/// Events that may wait for a reader: thousands of peers come or go within one of its round trips.
const MAX_EVENTS: usize = 4096;

/// Bytes of names, addresses and words that may wait for a reader.
const MAX_BYTES: usize = 512 * 1024;

/// A silent line tells its reader this often that it is there, and finds out whether the reader is.
const KEEP_ALIVE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });

/// A browser comes back after this time.
const RETRY: Duration = Duration::from_secs(2);

/// The readers of one listener: room for them, and the sign for their end.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    room: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Readers {
    pub(crate) fn new(stopped: watch::Receiver<bool>) -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_READERS)), stopped }
    }
}

/// What waits for one reader.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
    lost: u64,
}

/// What a reader gets next.
#[derive(Debug)]
enum Next {
    Event(Box<Event>),
    /// So many events before the next one were not kept.
    Lost(u64),
}

/// One reader's queue.
#[derive(Debug, Default)]
struct Feed {
    waiting: Mutex<Waiting>,
    woken: Notify,
}

impl Subscriber for Feed {
    fn tell(&self, event: &Event) {
        // Copied before the lock. What a session said behind a `?` is for the host alone.
        let event = Event { query: Vec::new(), ..event.clone() };
        let mut given_up = Vec::new();
        let mut waiting = locked(&self.waiting);
        waiting.bytes += weight(&event);
        waiting.events.push_back(event);
        while waiting.events.len() > MAX_EVENTS || waiting.bytes > MAX_BYTES {
            let Some(oldest) = waiting.events.pop_front() else { break };
            waiting.bytes -= weight(&oldest);
            waiting.lost += 1;
            given_up.push(oldest);
        }
        drop(waiting);
        self.woken.notify_one();
    }
}

impl Feed {
    fn take(&self) -> Option<Next> {
        let mut waiting = locked(&self.waiting);
        if waiting.lost > 0 {
            return Some(Next::Lost(std::mem::take(&mut waiting.lost)));
        }
        let event = waiting.events.pop_front()?;
        waiting.bytes -= weight(&event);
        Some(Next::Event(Box::new(event)))
    }

    async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            // A wake between the look and the wait is kept.
            self.woken.notified().await;
        }
    }
}

fn weight(event: &Event) -> usize {
    event.app.len() + event.key.len() + event.addr.len() + event.url.len() + event.text.len()
}

/// A reader's place on the list of subscribers; it leaves the list with its connection.
struct Subscription {
    server: Arc<RRServer>,
    feed: Arc<Feed>,
    stopped: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
}

impl Subscription {
    fn new(server: Arc<RRServer>, stopped: watch::Receiver<bool>, room: OwnedSemaphorePermit) -> Self {
        let feed = Arc::new(Feed::default());
        server.subscribe(&as_subscriber(&feed));
        Self { server, feed, stopped, _room: room }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Frame, Infallible>> {
        unfold(self, async |mut subscription: Self| {
            let next = tokio::select! {
                () = until_true(&mut subscription.stopped) => return None,
                next = subscription.feed.next() => next,
            };
            Some((Ok(frame(next)), subscription))
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.server.unsubscribe(&as_subscriber(&self.feed));
    }
}

fn as_subscriber(feed: &Arc<Feed>) -> Arc<dyn Subscriber> {
    Arc::<Feed>::clone(feed)
}

fn frame(next: Next) -> Frame {
    match next {
        Next::Event(event) => {
            let told = model::told(&event);
            // Strings and numbers become JSON always.
            Frame::default().event(told.kind).json_data(told).unwrap_or_default()
        }
        Next::Lost(count) => Frame::default().event("lost").data(format!("{{\"count\":{count}}}")),
    }
}

/// What happens from here on, as server-sent events: `event` is its kind in lower case, `data` a JSON object. A reader that
/// is too slow loses the oldest of what waits for it and is told by `event: lost` with a `count`; what holds then it asks
/// for anew. A line that is silent gets a comment every ten seconds.
#[utoipa::path(
    get, path = "/v1/events",
    responses(
        (status = 200, body = Told, content_type = "text/event-stream"),
        (status = 429, body = Problem), (status = 501, body = Problem)
    )
)]
pub(crate) async fn get_events(
    State(server): State<Arc<RRServer>>,
    readers: Option<Extension<Readers>>,
) -> Result<impl IntoResponse, Problem> {
    let Some(Extension(Readers { room, stopped })) = readers else {
        let text = "an answer without an end comes over a listener of ours alone: the host has events by its own calls";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, RRError::Unsupported, text));
    };
    let room = room.try_acquire_owned().map_err(|_| {
        let text = format!("{MAX_READERS} others read events already: close one");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, RRError::Limit, text)
    })?;
    let events = Subscription::new(server, stopped, room).into_stream();
    let first = futures_util::stream::iter([Ok(Frame::default().comment("from here on").retry(RETRY))]);
    let events = futures_util::StreamExt::chain(first, events);
    // Web servers before us must not collect what is told at once.
    let headers = [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::event::EventKind;

    fn event(number: i64, text: usize) -> Event {
        let mut event = Event::new(EventKind::Stream);
        event.value = number;
        event.text = vec![b'x'; text];
        event
    }

    #[test]
    fn a_reader_that_takes_nothing_loses_the_oldest_and_is_told() {
        for (events, text, kept) in [(MAX_EVENTS + 10, 0, MAX_EVENTS), (600, 1024, MAX_BYTES / 1024)] {
            let feed = Feed::default();
            for number in 0..events {
                feed.tell(&event(i64::try_from(number).unwrap(), text));
            }
            let lost = events - kept;
            assert!(matches!(feed.take(), Some(Next::Lost(count)) if count == lost as u64), "{events}");
            for number in lost..events {
                let Some(Next::Event(next)) = feed.take() else { panic!("{number} is lost") };
                assert_eq!(next.value, i64::try_from(number).unwrap());
            }
            assert!(feed.take().is_none() && locked(&feed.waiting).bytes == 0);
        }
    }

    #[test]
    fn credentials_are_kept_nowhere() {
        let feed = Feed::default();
        feed.tell(&Event { query: b"secret".to_vec(), ..event(1, 0) });
        assert!(matches!(feed.take(), Some(Next::Event(event)) if event.query.is_empty()));
    }
}
