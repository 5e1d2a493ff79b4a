//! Tests of what a subscription sends in a pass.

use super::*;
use crate::proto::message::kind;
use crate::stream::egress::subscribed::Alone;
use crate::stream::log::buffer::{Entry, RRBuffer};
use crate::stream::memory::budget::Budget;

/// A subscription that collects for `merge_ms`, with its log and the join index of its relay.
fn subscription(merge_ms: u32) -> (RRBuffer, JoinIndex, Subscription) {
    let log = RRBuffer::new(Budget::new(None));
    let join_index = JoinIndex::new(log.cursor(), 0, 0);
    let config = TargetConfig { merge_ms: Some(merge_ms), ..TargetConfig::default() };
    let mut subscription = Subscription::of_target(Arc::new(Alone::new(StreamConfig::default())), 1, &config, 0);
    subscription.position.go_to(join_index.cursor());
    (log, join_index, subscription)
}

fn put(log: &mut RRBuffer, at_ms: u64) {
    let entry = Entry { type_id: kind::AUDIO, arrival_us: at_ms * 1000, ..Entry::default() };
    log.append(&entry, &[&[0xAF, 1, 7]]).unwrap();
}

#[test]
fn a_message_that_comes_during_a_pass_waits_for_the_next_one_where_media_is_collected() {
    for (merge_ms, goes) in [(20, 2), (0, 3)] {
        let (mut log, mut join_index, mut subscription) = subscription(merge_ms);
        let mut private = Private::new(&Budget::new(None));
        put(&mut log, 0);
        put(&mut log, 10);
        join_index.advance();
        let head = join_index.head();
        put(&mut log, 20);
        let message = log.head().position / 3;
        let mut plan = |head, now_ms: u64| subscription.plan(&mut private, true, head, now_ms * 1000).unwrap();
        assert_eq!(plan(head, 20), Next::Log((goes * message) as usize), "{merge_ms} ms");
        if goes == 2 {
            subscription.advance(Taken::of(Some((goes * message) as usize)));
            assert!(subscription.reaches(head), "it has sent what the pass sends");
            join_index.advance();
            let next = subscription.plan(&mut private, true, join_index.head(), 30_000).unwrap();
            assert_eq!(next, Next::Collects(40_000), "the message is collected from when it came");
        }
    }
}

#[test]
fn what_is_half_sent_goes_out_whole_where_the_end_was_set_by_one_who_has_not_seen_it() {
    let (mut log, mut join_index, mut subscription) = subscription(0);
    let mut private = Private::new(&Budget::new(None));
    put(&mut log, 0);
    join_index.advance();
    let end = join_index.head();
    put(&mut log, 10);
    put(&mut log, 20);
    let message = log.head().position as usize / 3;
    subscription.advance(Taken::of(Some(message + 5)));
    subscription.end_at(end.position);
    assert_eq!(subscription.plan(&mut private, true, end, 20_000).unwrap(), Next::Log(message - 5));
    assert!(!subscription.has_ended());
    subscription.advance(Taken::of(Some(message - 5)));
    assert_eq!(subscription.plan(&mut private, true, end, 20_000).unwrap(), Next::Nothing);
    assert!(subscription.has_ended());
}
