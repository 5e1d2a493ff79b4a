//! Tests of the full queue.

use super::*;

fn moved(kind: EventKind, id: Id, prev: State, state: State) -> Event {
    let mut event = Event::new(kind).moved(prev, state);
    match kind {
        EventKind::Stream => event.stream = id,
        EventKind::Session => event.session = id,
        EventKind::Target => event.target = id,
        _ => {}
    }
    event
}

fn about(kind: EventKind, session: Id, value: i64) -> Event {
    let mut event = Event::new(kind);
    event.session = session;
    event.value = value;
    event
}

/// All waiting events, as (kind, prev, state, value).
fn drain(queue: &mut Queue) -> Vec<(EventKind, State, State, i64)> {
    std::iter::from_fn(|| queue.take()).map(|event| (event.kind, event.prev, event.state, event.value)).collect()
}

const T: EventKind = EventKind::Target;

#[test]
fn below_the_limit_nothing_is_given_up_and_order_is_kept() {
    let mut queue = Queue::new(100);
    for n in 0..50 {
        queue.push(moved(T, 7, State::Connecting, State::Recovering));
        queue.push(about(EventKind::Log, 0, n));
    }
    let events = drain(&mut queue);
    assert_eq!(events.len(), 100);
    assert!(events.iter().filter(|event| event.0 == EventKind::Log).map(|event| event.3).eq(0..50));
    assert!(!queue.is_full() && queue.is_empty());
}

#[test]
fn log_lines_go_first_the_oldest_before_the_others() {
    let mut queue = Queue::new(3);
    queue.push(moved(T, 7, State::Idle, State::Connecting));
    queue.push(about(EventKind::Log, 0, 1));
    queue.push(about(EventKind::Log, 0, 2));
    queue.push(moved(T, 7, State::Connecting, State::Waiting));
    assert_eq!(
        drain(&mut queue),
        [
            (EventKind::Overflow, State::None, State::None, 1),
            (T, State::Idle, State::Connecting, 0),
            (EventKind::Log, State::None, State::None, 2),
            (T, State::Connecting, State::Waiting, 0),
        ]
    );
}

#[test]
fn a_log_line_never_pushes_out_anything_else() {
    let mut queue = Queue::new(2);
    queue.push(moved(T, 7, State::Idle, State::Connecting));
    queue.push(moved(T, 7, State::Connecting, State::Waiting));
    queue.push(about(EventKind::Log, 0, 1));
    assert_eq!(
        drain(&mut queue)[1..],
        [(T, State::Idle, State::Connecting, 0), (T, State::Connecting, State::Waiting, 0)]
    );
}

#[test]
fn repeated_states_fold_to_the_first_prev_and_the_last_state() {
    let mut queue = Queue::new(4);
    queue.push(moved(T, 7, State::None, State::Idle));
    for _ in 0..100 {
        queue.push(moved(T, 7, State::Idle, State::Connecting));
        queue.push(moved(T, 8, State::Waiting, State::InProgress));
        queue.push(moved(T, 7, State::Connecting, State::Idle));
        queue.push(moved(T, 8, State::InProgress, State::Waiting));
    }
    queue.push(moved(T, 7, State::Idle, State::Stopped).last());
    assert_eq!(
        drain(&mut queue),
        [
            (EventKind::Overflow, State::None, State::None, 398),
            (T, State::None, State::Idle, 0),
            (T, State::Idle, State::Idle, 0),
            (T, State::Waiting, State::Waiting, 0),
            (T, State::Idle, State::Stopped, 0),
        ]
    );
    assert!(!queue.is_full());
}

#[test]
fn a_target_and_a_session_of_the_same_number_are_two_objects() {
    let mut queue = Queue::new(1);
    queue.push(moved(T, 7, State::Idle, State::Connecting));
    queue.push(moved(EventKind::Session, 7, State::Idle, State::Handshake));
    queue.push(moved(EventKind::Stream, 7, State::Idle, State::InProgress));
    assert_eq!(drain(&mut queue).len(), 3, "nothing folded, nothing reported");
}

#[test]
fn starts_ends_and_asks_are_never_lost_and_make_the_queue_full() {
    let mut queue = Queue::new(8);
    for id in 1..=100 {
        queue.push(moved(EventKind::Session, id, State::None, State::Handshake));
        queue.push(about(EventKind::ConnectAsk, id, 0));
        queue.push(moved(EventKind::Session, id, State::Handshake, State::Waiting));
        queue.push(moved(EventKind::Session, id, State::Waiting, State::InProgress));
        queue.push(moved(EventKind::Session, id, State::InProgress, State::Stopped).last());
        queue.push(about(EventKind::Log, id, 0));
    }
    assert!(queue.is_full());
    assert_eq!(queue.len(), 400);
    let mut full = Vec::new();
    let events: Vec<Event> = std::iter::from_fn(|| {
        full.push((queue.len(), queue.is_full()));
        queue.take()
    })
    .collect();
    assert_eq!(events[0].kind, EventKind::Overflow);
    for id in 1..=100 {
        let of = |kind| events.iter().filter(move |event| event.session == id && event.kind == kind);
        let states: Vec<_> = of(EventKind::Session).map(|event| (event.prev, event.state)).collect();
        assert_eq!(
            states,
            [
                (State::None, State::Handshake),
                (State::Handshake, State::InProgress),
                (State::InProgress, State::Stopped)
            ]
        );
        assert_eq!(of(EventKind::ConnectAsk).count(), 1);
    }
    assert!(full.iter().all(|&(len, full)| full == (len > 6)), "full until three quarters of the limit: {full:?}");
}

#[test]
fn a_new_ask_of_a_session_replaces_the_one_that_still_waits() {
    let mut queue = Queue::new(100);
    queue.push(about(EventKind::ConnectAsk, 1, 1));
    queue.push(about(EventKind::PublishAsk, 2, 2));
    queue.push(about(EventKind::PublishAsk, 1, 3));
    let asks = drain(&mut queue);
    assert_eq!(
        asks.iter().map(|ask| (ask.0, ask.3)).collect::<Vec<_>>(),
        [(EventKind::Overflow, 1), (EventKind::PublishAsk, 2), (EventKind::PublishAsk, 3),]
    );
    queue.push(about(EventKind::PublishAsk, 1, 4));
    assert_eq!(drain(&mut queue).len(), 1, "an ask that was taken is not replaced");
}

#[test]
fn whatever_peers_do_the_queue_stays_as_small_as_what_lives() {
    let mut queue = Queue::new(64);
    for n in 0..100_000_i64 {
        let id = Id::from(n as u8 % 40) + 1;
        queue.push(match n % 10 {
            0 => about(EventKind::ConnectAsk, id, n),
            1 => about(EventKind::Clock, id, n),
            2 => about(EventKind::Slow, id, n),
            3 => about(EventKind::Tracks, id, n),
            4 => about(EventKind::Wanted, id, n),
            5 => about(EventKind::Unwatched, id, n),
            6 => about(EventKind::Log, id, n),
            7 => about(EventKind::Reconnect, id, n),
            8 => about(EventKind::Next, id, n),
            _ => moved(EventKind::Session, id, State::InProgress, State::Waiting),
        });
        if n % 3 == 0 && n > 50_000 {
            queue.take();
        }
        assert!(queue.len() <= 40 * 6 + 2, "{} after {n}", queue.len());
        let indices = queue.logs.len() + queue.foldable.len() + queue.newest.len() + queue.asks.len();
        assert!(indices <= 6 * queue.len() + 2 * TIDY_SLACK, "{indices} for {}", queue.len());
    }
    while queue.take().is_some() {}
    assert!(queue.is_empty() && queue.newest.is_empty() && queue.asks.is_empty());
}
