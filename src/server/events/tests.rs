//! Tests of the event queue, its fd and the event thread.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc;

use super::*;
use crate::config::LOG_LINES;
use crate::log::Level;
use crate::session::State;
use crate::stream::event::EventKind;

/// An event without a previous state, which is never folded.
fn numbered(kind: EventKind, id: u64, value: i64) -> Event {
    let mut event = Event::new(kind);
    event.session = id;
    event.value = value;
    event
}

fn by_queue(limit: u32) -> Events {
    Events::start(EventsConfig { limit, ..EventsConfig::default() }).unwrap()
}

fn by_callback(callback: impl Fn(&Event) + Send + 'static) -> Events {
    Events::start(EventsConfig { callback: Some(Box::new(callback)), ..EventsConfig::default() }).unwrap()
}

/// Whether the fd is readable within `timeout_ms`, as a host's poll(2) sees it.
fn readable(events: &Events, timeout_ms: i32) -> bool {
    crate::net::poll::is_readable(events.raw_fd().unwrap(), timeout_ms)
}

/// A sink that sends lines to the test, and the events to which it belongs.
fn with_sink(level: LevelFilter, log_events: LevelFilter) -> (Events, mpsc::Receiver<String>) {
    let events = Events::start(EventsConfig { log_events, ..EventsConfig::default() }).unwrap();
    let (sender, lines) = mpsc::channel();
    let sink = move |level, module: &str, line: &str| {
        assert!(in_callback());
        sender.send(format!("{level} {module} {line}")).unwrap();
    };
    events.set_log(level, LogSink::Callback(Box::new(sink))).unwrap();
    (events, lines)
}

const SOON: Duration = Duration::from_secs(40);

#[test]
fn the_fd_is_readable_exactly_while_an_event_waits() {
    let events = by_queue(10);
    assert!(!readable(&events, 0));
    events.push(numbered(EventKind::Session, 1, 1));
    events.push(numbered(EventKind::Session, 1, 2));
    assert!(readable(&events, 0));
    assert_eq!(events.next(0).unwrap().unwrap().value, 1);
    assert!(readable(&events, 0));
    assert_eq!(events.next(-1).unwrap().unwrap().value, 2);
    assert!(!readable(&events, 0));
    assert!(events.next(0).unwrap().is_none());
}

#[test]
fn next_waits_for_the_given_time() {
    let events = by_queue(10);
    let start = Instant::now();
    assert!(events.next(60).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(60));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            events.push(numbered(EventKind::Session, 1, 7));
        });
        assert_eq!(events.next(-1).unwrap().unwrap().value, 7);
    });
}

#[test]
fn a_wake_makes_one_next_give_nothing_and_is_not_lost() {
    let events = by_queue(10);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            events.wake();
        });
        assert!(events.next(-1).unwrap().is_none());
    });
    // The wake comes before anybody waits, and with an event, which comes first.
    events.wake();
    assert!(readable(&events, 0));
    events.push(numbered(EventKind::Session, 1, 7));
    assert_eq!(events.next(-1).unwrap().unwrap().value, 7);
    assert!(readable(&events, 0));
    assert!(events.next(-1).unwrap().is_none());
    assert!(!readable(&events, 0));
}

#[test]
fn a_second_taker_is_refused_and_the_first_goes_on() {
    let events = by_queue(10);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| events.next(-1).unwrap().unwrap().value);
        while !locked(&events.shared.inner).taking {
            std::thread::yield_now();
        }
        assert_eq!(events.next(0).unwrap_err().kind, RRError::Thread);
        assert_eq!(events.next(-1).unwrap_err().kind, RRError::Thread);
        events.push(numbered(EventKind::Session, 1, 7));
        assert_eq!(first.join().unwrap(), 7);
    });
    assert!(events.next(0).unwrap().is_none(), "the place is free again");
}

/// `producers` threads push `each` events and now and then a log line or wake; the taker polls the fd as a host does.
#[test]
fn under_stress_no_event_is_lost_and_the_fd_never_lies() {
    const PRODUCERS: u64 = 4;
    const EACH: i64 = 5_000;
    let events = by_queue(64);
    let mut seen = vec![0_i64; PRODUCERS as usize];
    std::thread::scope(|scope| {
        for id in 0..PRODUCERS {
            let events = &events;
            scope.spawn(move || {
                for value in 1..=EACH {
                    events.push(numbered(EventKind::Session, id, value));
                    if value % 97 == 0 {
                        events.push(numbered(EventKind::Log, id, value));
                        std::thread::yield_now();
                    }
                }
            });
        }
        while seen.iter().sum::<i64>() < EACH * PRODUCERS as i64 {
            assert!(readable(&events, 5_000), "the fd sleeps on waiting events: {seen:?}");
            // This is the only taker, and nothing wakes it without an event, so readable means an event.
            let mut event = events.next(0).unwrap();
            assert!(event.is_some(), "the fd is readable without an event");
            while let Some(taken) = event {
                if taken.kind == EventKind::Session {
                    let seen = &mut seen[taken.session as usize];
                    assert_eq!(taken.value, *seen + 1, "in order, none missing");
                    *seen += 1;
                }
                event = events.next(0).unwrap();
            }
        }
    });
    while events.next(0).unwrap().is_some() {}
    assert!(!readable(&events, 0) && !events.is_full());
}

#[test]
fn a_taker_that_blocks_gets_every_event_of_many_producers() {
    let events = by_queue(1 << 16);
    std::thread::scope(|scope| {
        for id in 0..4 {
            let events = &events;
            scope.spawn(move || (0..2_000).for_each(|value| events.push(numbered(EventKind::Session, id, value))));
        }
        for _ in 0..8_000 {
            assert!(events.next(5_000).unwrap().is_some());
        }
    });
    assert!(events.next(0).unwrap().is_none());
}

#[test]
fn while_events_are_held_the_host_gets_none_and_then_all_in_their_order() {
    let events = by_queue(10);
    events.push(numbered(EventKind::Session, 1, 1));
    let (one, other) = (events.hold(), events.hold());
    events.push(numbered(EventKind::Session, 1, 2));
    assert!(!readable(&events, 0) && events.next(0).unwrap().is_none() && events.next(20).unwrap().is_none());
    drop(other);
    assert!(!readable(&events, 0));
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| [1, 2].map(|_| events.next(-1).unwrap().unwrap().value));
        drop(one);
        assert_eq!(taken.join().unwrap(), [1, 2]);
    });
    let (sender, taken) = mpsc::channel();
    let events = by_callback(move |event| sender.send(event.value).unwrap());
    let held = events.hold();
    events.push(numbered(EventKind::Session, 1, 3));
    assert!(taken.recv_timeout(Duration::from_millis(20)).is_err());
    drop(held);
    assert_eq!(taken.recv_timeout(SOON), Ok(3));
    // A server that ends keeps nothing from its host.
    let _held = events.hold();
    events.push(numbered(EventKind::Session, 1, 4));
    events.stop(5_000).unwrap();
    assert_eq!(taken.try_recv(), Ok(4));
}

#[test]
fn a_full_queue_says_so_and_tells_when_there_is_room() {
    let told = Arc::new(AtomicU32::new(0));
    let on_room = Arc::clone(&told);
    let on_room: Box<dyn Fn() + Send + Sync> = Box::new(move || {
        on_room.fetch_add(1, Ordering::SeqCst);
    });
    let events = Events::start(EventsConfig { limit: 8, on_room: Some(on_room), ..EventsConfig::default() }).unwrap();
    for id in 1..=9 {
        assert!(!events.is_full());
        events.push(numbered(EventKind::Session, id, 0).moved(State::None, State::Handshake));
    }
    assert!(events.is_full());
    while events.is_full() {
        assert_eq!(told.load(Ordering::SeqCst), 0);
        assert!(events.next(0).unwrap().is_some());
    }
    assert_eq!(told.load(Ordering::SeqCst), 1);
    assert_eq!(std::iter::from_fn(|| events.next(0).unwrap()).count(), 6);
    assert_eq!(told.load(Ordering::SeqCst), 1, "once for each time it was full");
}

#[test]
fn with_a_callback_events_come_only_by_it_and_in_order() {
    let (sender, values) = mpsc::channel();
    let events = by_callback(move |event| {
        assert_eq!(std::thread::current().name(), Some("eventThread"));
        sender.send((event.value, in_callback())).unwrap();
    });
    (0..1_000).for_each(|value| events.push(numbered(EventKind::Session, 1, value)));
    assert!((0..1_000).all(|value| values.recv_timeout(SOON).unwrap() == (value, true)));
    assert_eq!(events.next(0).unwrap_err().kind, RRError::State);
    assert_eq!(events.raw_fd().unwrap_err().kind, RRError::State);
    assert!(!in_callback() && refuse_in_callback().is_ok());
}

#[test]
fn inside_a_callback_what_would_block_is_refused_and_the_rest_works() {
    let (results, result) = mpsc::channel();
    let other = Arc::new(by_queue(10));
    let inner = Arc::clone(&other);
    let events = by_callback(move |_| {
        inner.push(numbered(EventKind::Session, 1, 7));
        results
            .send((inner.next(1), inner.next(0), inner.stop(0), inner.set_log(LevelFilter::Off, LogSink::None)))
            .unwrap();
    });
    events.push(numbered(EventKind::Session, 1, 1));
    let (waiting, looking, stopping, log) = result.recv_timeout(SOON).unwrap();
    assert_eq!(waiting.unwrap_err().kind, RRError::Thread);
    assert_eq!(looking.unwrap().unwrap().value, 7);
    assert_eq!(stopping.unwrap_err().kind, RRError::Thread);
    log.unwrap();
}

#[test]
fn a_panicking_callback_ends_nothing_and_is_logged() {
    let (sender, values) = mpsc::channel();
    let events = by_callback(move |event| {
        assert!(event.value != 1, "as expected");
        sender.send(event.value).unwrap();
    });
    let (log, lines) = mpsc::channel();
    let sink = move |_: Level, _: &str, line: &str| {
        log.send(line.to_owned()).unwrap();
        assert!(!line.contains("host"), "the sink panics too");
    };
    events.set_log(LevelFilter::Error, LogSink::Callback(Box::new(sink))).unwrap();
    (0..3).for_each(|value| events.push(numbered(EventKind::Session, 1, value)));
    assert_eq!([values.recv_timeout(SOON), values.recv_timeout(SOON)], [Ok(0), Ok(2)]);
    assert_eq!(lines.recv_timeout(SOON).unwrap(), "the host's event callback panicked: as expected");
    assert_eq!(lines.recv_timeout(SOON).unwrap(), "the host's log callback panicked: the sink panics too");
    assert!(lines.recv_timeout(Duration::from_millis(100)).is_err(), "a broken sink is reported once");
    let _log = RRLog::enter(events.log());
    log::error!("fine again");
    assert_eq!(lines.recv_timeout(SOON).unwrap(), "fine again");
}

#[test]
fn lines_come_to_the_sink_at_its_level_and_as_events_at_theirs() {
    let (events, lines) = with_sink(LevelFilter::Info, LevelFilter::Warn);
    {
        let _log = RRLog::enter(events.log());
        log::warn!("one {}", 1);
        log::info!("two");
        log::debug!("three");
    }
    let module = "server::events::tests";
    assert_eq!(lines.recv_timeout(SOON).unwrap(), format!("WARN {module} one 1"));
    assert_eq!(lines.recv_timeout(SOON).unwrap(), format!("INFO {module} two"));
    let event = events.next(5_000).unwrap().unwrap();
    assert_eq!((event.kind, event.level), (EventKind::Log, 2));
    assert_eq!(event.text, format!("{module}: one 1").into_bytes());
    events.stop(1_000).unwrap();
    assert_eq!(lines.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected), "the sink went with the thread");
    assert_eq!(events.next(0).unwrap_err().kind, RRError::Closed);
}

#[test]
fn a_line_that_becomes_an_event_of_the_callback_comes_at_once() {
    let (sender, told) = mpsc::channel();
    let callback: EventFn =
        Box::new(move |event| sender.send(String::from_utf8_lossy(&event.text).into_owned()).unwrap());
    let config = EventsConfig { log_events: LevelFilter::Info, callback: Some(callback), ..EventsConfig::default() };
    let events = Events::start(config).unwrap();
    let _log = RRLog::enter(events.log());
    // This holds whichever kind has its turn, because nothing else wakes the thread.
    for number in 0..10 {
        log::info!("line {number}");
        let text = told.recv_timeout(SOON).unwrap();
        assert!(text.ends_with(&format!(": line {number}")), "{text}");
    }
}

#[test]
fn repeated_lines_are_summed_up_by_the_event_thread_without_being_asked() {
    let (events, lines) = with_sink(LevelFilter::Info, LevelFilter::Off);
    let _log = RRLog::enter(events.log());
    (0..50).for_each(|_| log::warn!("again"));
    let module = "server::events::tests";
    assert_eq!(lines.recv_timeout(SOON).unwrap(), format!("WARN {module} again"));
    assert_eq!(lines.recv_timeout(SOON).unwrap(), format!("WARN {module} again... (repeated 49 times)"));
    log::warn!("again");
    events.stop(1_000).unwrap();
    assert_eq!(
        lines.recv_timeout(SOON).unwrap(),
        format!("WARN {module} again... (repeated 1 times)"),
        "not lost by a stop"
    );
}

#[test]
fn a_stuck_sink_blocks_no_thread_and_missed_lines_are_counted() {
    let events = by_queue(10);
    let (go, gate) = mpsc::channel::<()>();
    let (sender, lines) = mpsc::channel();
    let (enter, entered) = mpsc::channel();
    let sink = move |_: Level, _: &str, line: &str| {
        enter.send(()).unwrap();
        let _ = gate.recv();
        sender.send(line.to_owned()).unwrap();
    };
    events.set_log(LevelFilter::Info, LogSink::Callback(Box::new(sink))).unwrap();
    let _log = RRLog::enter(events.log());
    let total = LOG_LINES + 500;
    log::info!("line 0");
    entered.recv_timeout(SOON).unwrap();
    (1..total).for_each(|n| log::info!("line {n}"));
    events.push(numbered(EventKind::Session, 1, 7));
    assert_eq!(events.next(0).unwrap().unwrap().value, 7);
    drop(go);
    let mut kept = 0;
    let dropped = loop {
        let line = lines.recv_timeout(SOON).unwrap();
        if let Some((count, _)) = line.split_once(" log lines dropped") {
            break count.parse::<usize>().unwrap();
        }
        assert_eq!(line, format!("line {kept}"));
        kept += 1;
    };
    assert_eq!(kept + dropped, total);
}

#[test]
fn stop_delivers_what_is_queued() {
    let (sender, values) = mpsc::channel();
    let events = by_callback(move |event| {
        std::thread::sleep(Duration::from_micros(100));
        sender.send(event.value).unwrap();
    });
    (0..500).for_each(|value| events.push(numbered(EventKind::Session, 1, value)));
    events.stop(5_000).unwrap();
    events.push(numbered(EventKind::Session, 1, -1));
    assert!(values.into_iter().eq(0..500), "all, and none after the stop");
    events.stop(0).unwrap();
}

#[test]
fn stop_ends_a_waiting_taker_but_leaves_it_what_is_queued() {
    let events = by_queue(10);
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| events.next(-1));
        while !locked(&events.shared.inner).taking {
            std::thread::yield_now();
        }
        events.stop(1_000).unwrap();
        assert_eq!(taker.join().unwrap().unwrap_err().kind, RRError::Closed);
    });
    let events = by_queue(10);
    events.push(numbered(EventKind::Session, 1, 7));
    events.stop(1_000).unwrap();
    assert_eq!(events.next(-1).unwrap().unwrap().value, 7);
    assert_eq!(events.next(-1).unwrap_err().kind, RRError::Closed);
}

#[test]
fn a_callback_that_never_returns_is_left_behind_and_calls_nothing_more() {
    let (go, gate) = mpsc::channel::<()>();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let events = by_callback(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = gate.recv();
    });
    (0..10).for_each(|value| events.push(numbered(EventKind::Session, 1, value)));
    while calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let start = Instant::now();
    assert_eq!(events.stop(50).unwrap_err().kind, RRError::Timeout);
    assert!(start.elapsed() < SOON);
    drop(go);
    drop(events);
    // The callback, with its counter, is dropped when the thread ends.
    while Arc::strong_count(&calls) > 1 {
        std::thread::yield_now();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_changed_sink_is_not_running_when_the_change_returns() {
    let events = by_queue(10);
    let running = Arc::new(AtomicBool::new(false));
    let _log = RRLog::enter(events.log());
    for round in 0..20 {
        let inside = Arc::clone(&running);
        let sink = move |_: Level, _: &str, _: &str| {
            inside.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            inside.store(false, Ordering::SeqCst);
        };
        events.set_log(LevelFilter::Info, LogSink::Callback(Box::new(sink))).unwrap();
        (0..10).for_each(|n| log::info!("{round} {n}"));
        std::thread::sleep(Duration::from_millis(3));
        events.set_log(LevelFilter::Info, LogSink::None).unwrap();
        assert!(!running.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(3));
        assert!(!running.load(Ordering::SeqCst), "nor is it called again");
    }
}

/// Keeps the first few events by number, and counts the rest.
struct Recorder {
    most: usize,
    kept: Mutex<Vec<i64>>,
    dropped: AtomicU32,
}

impl Recorder {
    fn new(most: usize) -> (Arc<Self>, Arc<dyn Subscriber>) {
        let recorder = Arc::new(Self { most, kept: Mutex::default(), dropped: AtomicU32::new(0) });
        (Arc::clone(&recorder), recorder)
    }

    fn kept(&self) -> Vec<i64> {
        locked(&self.kept).clone()
    }
}

impl Subscriber for Recorder {
    fn tell(&self, event: &Event) {
        let mut kept = locked(&self.kept);
        if kept.len() < self.most {
            kept.push(event.value);
        } else {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn each_subscriber_has_a_bound_of_its_own_and_the_host_loses_nothing_by_it() {
    let events = by_queue(100);
    let ((small, one), (large, two)) = (Recorder::new(3), Recorder::new(1_000));
    events.subscribe(&one);
    events.subscribe(&two);
    events.subscribe(&two);
    (0..10).for_each(|value| events.push(numbered(EventKind::Session, 1, value)));
    assert_eq!((small.kept(), small.dropped.load(Ordering::SeqCst)), (vec![0, 1, 2], 7));
    assert_eq!(large.kept(), Vec::from_iter(0..10), "each event once, however often it subscribed");
    assert!((0..10).all(|value| events.next(0).unwrap().unwrap().value == value));
    // A host that takes no events costs the subscribers none: its queue folds and drops, theirs do not.
    (10..200).for_each(|value| events.push(numbered(EventKind::Clock, 1, value)));
    assert_eq!(large.kept().len(), 200);
    assert!(events.next(0).unwrap().is_some_and(|event| event.kind == EventKind::Overflow));
}

#[test]
fn subscribers_come_and_go_while_events_are_delivered() {
    let events = by_queue(100);
    let ((early, one), (late, two)) = (Recorder::new(100), Recorder::new(100));
    events.push(numbered(EventKind::Session, 1, 0));
    events.subscribe(&one);
    events.push(numbered(EventKind::Session, 1, 1));
    events.subscribe(&two);
    events.unsubscribe(&one);
    events.push(numbered(EventKind::Session, 1, 2));
    events.stop(1_000).unwrap();
    events.push(numbered(EventKind::Session, 1, 3));
    assert_eq!((early.kept(), late.kept()), (vec![1], vec![2]));
    assert_eq!(Arc::strong_count(&two), 2, "the events keep none after their end");
}

/// Takes an event, makes one, and removes itself: it would wait for ever if it were called under a lock.
struct Caller {
    events: Arc<Events>,
    itself: Mutex<Option<Arc<dyn Subscriber>>>,
    taken: mpsc::Sender<i64>,
}

impl Subscriber for Caller {
    fn tell(&self, event: &Event) {
        let Some(itself) = locked(&self.itself).take() else { return };
        self.events.unsubscribe(&itself);
        self.events.push(numbered(EventKind::Session, 2, event.value + 1));
        self.taken.send(self.events.next(0).unwrap().unwrap().value).unwrap();
    }
}

#[test]
fn no_lock_is_held_while_a_subscriber_gets_an_event() {
    let events = Arc::new(by_queue(100));
    let (taken, values) = mpsc::channel();
    let caller = Arc::new(Caller { events: Arc::clone(&events), itself: Mutex::default(), taken });
    let subscriber: Arc<dyn Subscriber> = Arc::<Caller>::clone(&caller);
    *locked(&caller.itself) = Some(Arc::clone(&subscriber));
    events.subscribe(&subscriber);
    events.push(numbered(EventKind::Session, 1, 6));
    assert_eq!(values.recv_timeout(SOON), Ok(7), "made and taken from inside, before the one that was told");
    assert_eq!(events.next(0).unwrap().unwrap().value, 6);
}

#[test]
fn events_stand_in_the_log_at_debug_and_no_longer_than_that() {
    let (events, lines) = with_sink(LevelFilter::Debug, LevelFilter::Off);
    let _log = RRLog::enter(events.log());
    let moved = |from, to| numbered(EventKind::Server, 0, 0).moved(from, to);
    events.push(moved(State::None, State::Idle));
    let line = lines.recv_timeout(SOON).unwrap();
    assert!(line.starts_with("DEBUG") && line.ends_with("NONE -> IDLE"), "{line}");
    let (sender, lines) = mpsc::channel();
    let sink = move |_: Level, _: &str, line: &str| sender.send(line.to_owned()).unwrap();
    events.set_log(LevelFilter::Info, LogSink::Callback(Box::new(sink))).unwrap();
    events.push(moved(State::Idle, State::Stopping));
    log::info!("after");
    assert_eq!(lines.recv_timeout(SOON).unwrap(), "after");
}
