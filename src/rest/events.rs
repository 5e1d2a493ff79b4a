//! `GET /v1/events`: the server's events as server-sent events. Recent events are kept once for all readers of a
//! listener, within bounds; each reader has a position among them. A reader that is too slow, or was away for too long,
//! is told how many events it has missed.
//!
//! DESIGN. The thread that makes an event adds a copy to the kept events and signals this on a channel that never
//! blocks. `restThread` wakes, makes JSON of the events that a reader has not had, and sends as fast as the reader's
//! socket takes it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::http::until_true;
use super::model::{self, Told};
use super::problem::Problem;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::server::RRServer;
use crate::server::events::Subscriber;
use crate::stream::event::Event;
use crate::sync::locked;

/// Most readers of one listener at a time; few pages and programs watch.
const MAX_READERS: usize = 32;

/// Most events that are kept: thousands of peers may come or go within a reader's round-trip time, or while it
/// reconnects.
const MAX_EVENTS: usize = 4096;

/// Most bytes of names, addresses and texts that are kept.
const MAX_BYTES: usize = 512 * 1024;

/// A connection without events gets a comment this often, which also shows whether the reader is still there.
const KEEP_ALIVE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });

/// A browser reconnects after this time.
const RETRY: Duration = Duration::from_secs(2);

/// The readers of one listener: their places, the kept events, and the signal for their end.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    room: Arc<Semaphore>,
    told: Arc<Subscribed>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Readers {
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn new(server: Arc<RRServer>, stopped: watch::Receiver<bool>) -> Result<Self> {
        Ok(Self { room: Arc::new(Semaphore::new(MAX_READERS)), told: Arc::new(Subscribed::new(server)?), stopped })
    }

    /// Takes a place for a reader with an endless answer, and the signal for its end. It refuses if there is no
    /// listener or no free place.
    pub(crate) fn enter(
        readers: Option<Extension<Self>>,
    ) -> std::result::Result<(OwnedSemaphorePermit, Self), Problem> {
        let Some(Extension(readers)) = readers else {
            let text = "an endless answer needs the library's own listener; the host gets events by its own calls";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, RRError::Unsupported, text));
        };
        let room = Arc::clone(&readers.room).try_acquire_owned().map_err(|_| {
            let text = format!("{MAX_READERS} readers of events or rates are connected already: close one");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, RRError::Limit, text)
        })?;
        Ok((room, readers))
    }
}

/// Stands in an id in place of an event's number for the position before the first event.
const BEGIN: &str = "begin";

/// The subscription that fills the kept events, as long as readers may come.
#[derive(Debug)]
struct Subscribed {
    server: Arc<RRServer>,
    recent: Arc<Recent>,
}

impl Subscribed {
    fn new(server: Arc<RRServer>) -> Result<Self> {
        let recent = Arc::new(Recent::new(clock::wall_us())?);
        server.subscribe(&as_subscriber(&recent));
        Ok(Self { server, recent })
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.server.unsubscribe(&as_subscriber(&self.recent));
    }
}

fn as_subscriber(recent: &Arc<Recent>) -> Arc<dyn Subscriber> {
    Arc::<Recent>::clone(recent)
}

/// The recent events. Events have numbers from 0; the ids that readers see also contain the run.
#[derive(Debug)]
struct Recent {
    run: i64,
    kept: Mutex<Kept>,
    /// Signals that there are new events.
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the first kept event.
    first: u64,
}

impl Kept {
    /// The number of the next event.
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

/// What a reader gets next, with the number of the last event that it then knows.
#[derive(Debug)]
enum Next {
    Event(u64, Arc<Event>),
    /// This many events before the next one are no longer kept.
    Lost(u64, u64),
}

impl Recent {
    /// Events are added by threads that carry media, so the memory of their table is taken here.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    fn new(run: i64) -> Result<Self> {
        let mut kept = Kept::default();
        kept.events.try_reserve_exact(MAX_EVENTS).map_err(|_| Failure::from(RRError::NoMem))?;
        Ok(Self { run, kept: Mutex::new(kept), news: watch::Sender::new(()) })
    }

    /// Returns what comes at a position, and moves the position on; `None`: nothing yet.
    fn at(&self, place: &mut u64) -> Option<Next> {
        let kept = locked(&self.kept);
        if *place < kept.first {
            let lost = kept.first - *place;
            *place = kept.first;
            return Some(Next::Lost(kept.first - 1, lost));
        }
        let event = kept.events.get(usize::try_from(*place - kept.first).ok()?)?;
        *place += 1;
        Some(Next::Event(*place - 1, Arc::clone(event)))
    }

    /// The number of the next event.
    fn next(&self) -> u64 {
        locked(&self.kept).next()
    }

    fn id(&self, number: u64) -> String {
        self.id_at(number + 1)
    }

    /// The id with which a reader comes back to this place: that of the event before it, if there is one.
    fn id_at(&self, place: u64) -> String {
        match place.checked_sub(1) {
            Some(number) => format!("{:x}-{number}", self.run),
            None => format!("{:x}-{BEGIN}", self.run),
        }
    }

    /// The position after the event with this id; `None` for an id of another run, or a malformed one.
    fn behind(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        let place = if number == BEGIN { 0 } else { number.parse::<u64>().ok()?.checked_add(1)? };
        (i64::from_str_radix(run, 16) == Ok(self.run) && place <= self.next()).then_some(place)
    }
}

impl Subscriber for Recent {
    fn tell(&self, event: &Event) {
        // The copy is made before the lock is taken. The `?args` of a session are only for the host.
        let event = Arc::new(Event { query: Vec::new(), ..event.clone() });
        let mut given_up = Vec::new();
        let mut kept = locked(&self.kept);
        kept.bytes += weight(&event);
        while kept.events.len() >= MAX_EVENTS || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.events.pop_front() else { break };
            kept.bytes -= weight(&oldest);
            kept.first += 1;
            given_up.push(oldest);
        }
        kept.events.push_back(event);
        drop(kept);
        self.news.send_replace(());
    }
}

fn weight(event: &Event) -> usize {
    event.app.len() + event.key.len() + event.addr.len() + event.url.len() + event.text.len()
}

/// One reader.
struct Reader {
    told: Arc<Subscribed>,
    /// The number of the event that it gets next.
    place: u64,
    news: watch::Receiver<()>,
    stopped: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Option<Next> {
        loop {
            // Events from now on are seen in the next lines, or wake this reader.
            self.news.borrow_and_update();
            if let Some(next) = self.told.recent.at(&mut self.place) {
                return Some(next);
            }
            tokio::select! {
                () = until_true(&mut self.stopped) => return None,
                _ = self.news.changed() => {}
            }
        }
    }

    fn into_stream(self) -> impl Stream<Item = std::result::Result<Frame, Infallible>> {
        unfold(self, async |mut reader: Self| {
            if *reader.stopped.borrow() {
                return None;
            }
            let next = reader.next().await?;
            // A reader that has much to catch up on takes turns with the other requests of its thread.
            tokio::task::coop::consume_budget().await;
            let frame = reader.frame(&next);
            Some((Ok(frame), reader))
        })
    }

    fn frame(&self, next: &Next) -> Frame {
        let recent = &self.told.recent;
        match next {
            Next::Event(number, event) => {
                let told = model::told(event);
                // Making JSON of strings and numbers never fails.
                Frame::default().id(recent.id(*number)).event(told.kind).json_data(told).unwrap_or_default()
            }
            Next::Lost(number, count) => lost(*count).id(recent.id(*number)),
        }
    }
}

fn lost(count: u64) -> Frame {
    Frame::default().event("lost").data(format!("{{\"count\":{count}}}"))
}

/// Events from now on, as server-sent events: `event` is the kind in lower case, `data` a JSON object. A reader that
/// reconnects with `Last-Event-ID` continues after that event. A reader that was too slow or away for too long gets
/// `event: lost` with the `count` of events that it missed, and should request the current state again. If the id is of
/// another run of the relay, `count` is 0, and the kept events of this run follow. A connection without events gets a
/// comment every ten seconds.
#[utoipa::path(
    get, path = "/v1/events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the reader has had")),
    responses(
        (status = 200, body = Told, content_type = "text/event-stream"),
        (status = 429, response = Problem), (status = 501, response = Problem)
    )
)]
pub(crate) async fn get_events(
    readers: Option<Extension<Readers>>,
    headers: HeaderMap,
) -> std::result::Result<impl IntoResponse, Problem> {
    let (room, Readers { told, stopped, .. }) = Readers::enter(readers)?;
    let (news, now) = (told.recent.news.subscribe(), told.recent.next());
    let (place, first) = match headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default()) {
        None => (now, None),
        Some(id) => match told.recent.behind(id) {
            Some(place) => (place, None),
            None => (0, Some(lost(0).id(told.recent.id_at(0)))),
        },
    };
    // A reader that leaves before its first event comes back to this position too.
    let hello = Frame::default().comment("from here on").retry(RETRY).id(told.recent.id_at(place));
    let events = Reader { told, place, news, stopped, _room: room }.into_stream();
    let first = futures_util::stream::iter([Some(hello), first].into_iter().flatten().map(Ok));
    let events = futures_util::StreamExt::chain(first, events);
    // Web servers before us must not buffer the events.
    let headers = [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt as _;

    use super::*;
    use crate::config::ServerConfig;
    use crate::log::LevelFilter;
    use crate::stream::event::EventKind;

    fn event(number: i64, text: usize) -> Event {
        let mut event = Event::new(EventKind::Stream);
        event.value = number;
        event.text = vec![b'x'; text];
        event
    }

    #[test]
    fn a_reader_that_takes_nothing_loses_the_oldest_events_and_learns_their_number() {
        for (events, text, kept) in [(MAX_EVENTS + 10, 0, MAX_EVENTS), (600, 1024, MAX_BYTES / 1024)] {
            let recent = Recent::new(1).unwrap();
            for number in 0..events {
                recent.tell(&event(i64::try_from(number).unwrap(), text));
            }
            let lost = events - kept;
            let mut place = 0;
            let last = u64::try_from(lost - 1).unwrap();
            assert!(
                matches!(recent.at(&mut place), Some(Next::Lost(number, count)) if (number, count) == (last, last + 1))
            );
            for number in lost..events {
                let Some(Next::Event(at, next)) = recent.at(&mut place) else { panic!("{number} is lost") };
                assert_eq!((at, next.value), (number as u64, i64::try_from(number).unwrap()));
            }
            assert!(recent.at(&mut place).is_none() && locked(&recent.kept).bytes == kept * text);
        }
    }

    #[test]
    fn an_id_is_a_position_only_in_its_own_run() {
        let recent = Recent::new(0xab).unwrap();
        (0..3).for_each(|number| recent.tell(&event(number, 0)));
        assert_eq!((recent.behind("ab-0"), recent.behind(&recent.id(2))), (Some(1), Some(3)));
        assert_eq!(recent.behind(&recent.id_at(0)), Some(0));
        for id in ["ab-3", "ac-0", "17", "", "-", "ab-", "ab--1", "ab-18446744073709551615", "zz-1"] {
            assert_eq!(recent.behind(id), None, "{id}");
        }
    }

    #[test]
    fn credentials_are_kept_nowhere() {
        let recent = Recent::new(1).unwrap();
        recent.tell(&Event { query: b"secret".to_vec(), ..event(1, 0) });
        assert!(matches!(recent.at(&mut 0), Some(Next::Event(0, event)) if event.query.is_empty()));
    }

    #[test]
    fn a_reader_with_much_to_catch_up_on_lets_others_have_their_turns() {
        let server = Arc::new(RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap());
        let (_stop, stopped) = watch::channel(false);
        let readers = Readers::new(server, stopped).unwrap();
        let (room, Readers { told, stopped, .. }) = Readers::enter(Some(Extension(readers))).unwrap();
        (0..MAX_EVENTS).for_each(|number| told.recent.tell(&event(number as i64, 0)));
        let news = told.recent.news.subscribe();
        let reader = Reader { told, place: 0, news, stopped, _room: room };
        let (read, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(MAX_EVENTS)));
        let (count, other) = (Arc::clone(&read), Arc::clone(&seen));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move {
            let reads = tokio::spawn(async move {
                let mut events = pin!(reader.into_stream());
                while count.load(Ordering::Relaxed) < MAX_EVENTS && events.next().await.is_some() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            // As many turns as a request takes.
            let asks = tokio::spawn(async move {
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                other.store(read.load(Ordering::Relaxed), Ordering::Relaxed);
            });
            asks.await.unwrap();
            reads.await.unwrap();
        });
        let seen = seen.load(Ordering::Relaxed);
        assert!(seen < MAX_EVENTS / 2, "{seen} events were read before another request's turns");
    }
}
