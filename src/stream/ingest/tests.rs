//! Tests of the way into the log.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::config::StreamConfig;
use crate::stream::event::EventSink;
use crate::stream::name::StreamName;

#[derive(Debug, Default)]
struct Told(Mutex<Vec<Event>>);

impl EventSink for Told {
    fn event(&self, event: Event) {
        locked(&self.0).push(event);
    }
}

fn ingest() -> (Arc<Ingest>, Cursor, Arc<Told>) {
    let told = Arc::new(Told::default());
    let ingest = ingest_with(Arc::<Told>::clone(&told), Budget::new(None));
    let cursor = ingest.cursor();
    (Arc::new(ingest), cursor, told)
}

fn ingest_with(sink: Arc<dyn EventSink>, budget: Budget) -> Ingest {
    let stream = Arc::new(Identity::new(1, StreamName::default(), StreamConfig::default(), sink));
    let life = Arc::new(Life::new(Arc::clone(&stream)));
    Ingest::new(stream, life, Arc::new(StreamStats::new(0, 1)), budget, Spares::default())
}

/// A log within a budget, and a reader of it.
pub(super) fn ingest_of(budget: Budget) -> (Ingest, Cursor) {
    let ingest = ingest_with(Arc::new(Told::default()), budget);
    let cursor = ingest.cursor();
    (ingest, cursor)
}

/// Pushes a picture and returns its time in the log.
fn push(ingest: &Ingest, reader: &mut Cursor, ts_ms: u32, now_ms: u64) -> u32 {
    let head = MessageHead { timestamp_ms: ts_ms, type_id: kind::VIDEO, ..MessageHead::default() };
    ingest.push(&Incoming::new(head, &[0x17, 1, 0, 0, 0, 9], now_ms * 1000)).unwrap();
    let mark = reader.mark_here().expect("the message is in the log");
    reader.skip_message();
    mark.ts_ms
}

#[test]
fn the_relay_is_answered_while_a_publisher_holds_the_log() {
    let (ingest, mut reader, _) = ingest();
    ingest.begin();
    push(&ingest, &mut reader, 0, 0);
    ingest.end();
    let held = locked(&ingest.writer);
    let (answer, answers) = mpsc::channel();
    let asking = Arc::clone(&ingest);
    let thread = thread::spawn(move || {
        let end = asking.ended_at().expect("it has ended");
        let _ = answer.send((asking.head(), reader.skip_message(), end, asking.take_end(end)));
    });
    let (head, more, end, taken) = answers.recv_timeout(Duration::from_secs(20)).expect("nothing waits for the writer");
    assert_eq!((head.messages, head.position, more, taken), (1, end, false, true));
    drop(held);
    thread.join().unwrap();
}

#[test]
fn a_message_that_came_while_the_log_was_held_is_appended_after_that() {
    let (ingest, mut reader, _) = ingest();
    ingest.begin();
    let came_us = net::clock::now_us();
    let message = || {
        let head = MessageHead { type_id: kind::VIDEO, ..MessageHead::default() };
        ingest.push(&Incoming::new(head, &[0x17, 1, 0, 0, 0, 9], came_us))
    };
    ingest.hold(came_us + 3_600_000_000);
    assert_eq!(message().unwrap_err().kind, RRError::Limit);
    // The hold ends after the message came.
    ingest.hold(came_us + 1);
    while net::clock::now_us() <= came_us {}
    message().unwrap();
    assert!(reader.mark_here().is_some());
}

#[test]
fn what_consumers_collect_from_an_earlier_time_counts_as_of_the_time_when_it_was_read() {
    let (ingest, mut reader, _) = ingest();
    ingest.begin();
    let head = MessageHead { type_id: kind::VIDEO, ..MessageHead::default() };
    ingest.push(&Incoming::new(head, &[0x17, 1, 0, 0, 0, 9], 500_000).collected_from(300_000)).unwrap();
    assert_eq!(reader.mark_here().unwrap().arrival_us, 300_000);
    reader.skip_message();
    assert_eq!(ingest.stats.incoming().last_media_us.get(), 500_000);
    ingest.end();
    ingest.begin();
    assert_eq!(push(&ingest, &mut reader, 0, 520), 20, "the gap is that between the reads");
}

#[test]
fn time_goes_on_with_the_next_publisher_unless_players_saw_the_end() {
    for told in [false, true] {
        let (ingest, mut reader, _) = ingest();
        ingest.begin();
        assert_eq!(push(&ingest, &mut reader, 1_000, 0), 1_000);
        ingest.end();
        let end = ingest.ended_at().unwrap();
        assert_eq!(end, ingest.head().position);
        if told {
            assert!(ingest.take_end(end) && !ingest.take_end(end), "an end is told once");
            assert_eq!(ingest.ended_at(), None);
            // A publisher that was let in is gone before it began.
            ingest.end();
        }
        ingest.begin();
        assert!(!ingest.take_end(end), "another has begun");
        let mut next = reader.clone();
        assert_eq!(push(&ingest, &mut reader, 7, 500), if told { 7 } else { 1_500 });
        let mark = next.mark_here().unwrap();
        assert_eq!(mark.has(flag::AFTER_END), told, "readers that have not heard of the end find it");
    }
}

#[test]
fn a_message_is_counted_and_reported_with_its_facts() {
    let (ingest, mut reader, told) = ingest();
    ingest.begin();
    push(&ingest, &mut reader, 40, 0);
    let counters = ingest.stats.incoming();
    let media = counters.received_media().unwrap();
    assert_eq!((counters.msgs_in.get(), media.video_bytes.get(), counters.bytes_in.get()), (1, 6, 6));
    assert_eq!(media.last_key_ts_ms.load(Ordering::Relaxed), 40);
    let kinds: Vec<EventKind> = locked(&told.0).iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Stream, EventKind::Tracks]);
}
