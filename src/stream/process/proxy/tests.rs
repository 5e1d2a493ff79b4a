//! What a proxy demands of its worker.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::super::tried;
use super::super::wire::kind;
use super::*;
use crate::config::{ServerConfig, Start, StreamConfig, media};
use crate::fuzzing::snapshot::exported_seeds;
use crate::fuzzing::worker::Nobody;
use crate::net::fd_channel::Message;
use crate::stream::exported::stream::{StreamExport, ToExport};
use crate::stream::exported::{Doing, ExportedSession};
use crate::stream::memory::budget::Budget;
use crate::stream::name::StreamName;
use crate::stream::process::wire::{Cause, ToServer};
use crate::stream::record::TargetExport;
use crate::stream::threading::Threading;

/// One whose worker has somebody of each kind, on the stream of this key.
fn proxy(key: &[u8]) -> Proxy {
    let name = StreamName { app: b"live".to_vec(), key: key.to_vec() };
    let budget = Budget::new(None);
    let stream = RRStream::new(7, name, StreamConfig::default(), true, budget, Threading::Own, Arc::new(Nobody));
    tried::proxy(&Arc::new(stream), &ServerConfig::default())
}

#[test]
fn a_worker_that_does_not_close_whom_it_is_to_close_is_overdue() {
    let mut proxy = proxy(b"show");
    let mut link = Link::new((1, vec![0; 100]), log::LevelFilter::Off);
    assert_eq!(link.waiting_bytes(), 100);
    link.send(&ToWorker::Ping(1), None).unwrap();
    assert!(link.waiting_bytes() > 100, "what waits is counted");
    proxy.worker = Some(link);
    let [publisher, ..] = IDS;
    proxy.sessions[&publisher].record.order(Order::Close("kicked".to_owned())).unwrap();
    proxy.pass_on_orders(1_000).unwrap();
    assert!(!proxy.is_overdue(1_000 + ORDER_MS - 1) && proxy.is_overdue(1_000 + ORDER_MS));
    let cause = Failure::ours(RRError::Kicked, "kicked");
    let (_, over) = ToServer::Over { id: publisher, cause: Cause::of(&cause) }.encode().unwrap();
    proxy.receives(&over).unwrap();
    assert!(!proxy.is_overdue(u64::MAX), "it has been closed");
}

#[test]
fn time_in_which_nobody_looked_at_a_worker_is_not_its_own() {
    let mut proxy = proxy(b"show");
    proxy.worker = Some(Link::new((1, Vec::new()), log::LevelFilter::Off));
    let [publisher, ..] = IDS;
    let order = |proxy: &mut Proxy, now_ms| {
        proxy.sessions[&publisher].record.order(Order::Close("kicked".to_owned())).unwrap();
        proxy.pass_on_orders(now_ms).unwrap();
    };
    // The first time at which it is found overdue, from then on.
    let overdue = |proxy: &mut Proxy, from_ms: u64| {
        (from_ms..).step_by(250).take(1_000).find(|now_ms| proxy.is_found_overdue(*now_ms))
    };
    order(&mut proxy, 5_000);
    assert_eq!(overdue(&mut proxy, 5_000), Some(5_000 + ORDER_MS));
    order(&mut proxy, 50_000);
    assert!(!proxy.is_found_overdue(50_000));
    proxy.evicts = Some((51_000, 1));
    assert!(!proxy.is_found_overdue(500_000), "it stood still for minutes");
    assert_eq!(proxy.evicts, Some((500_000 + EVICT_MS, 1)));
    assert_eq!(overdue(&mut proxy, 500_250), Some(500_000 + ORDER_MS));
}

#[test]
fn a_message_of_another_kind_than_it_says_is_refused() {
    let mut proxy = proxy(b"show");
    let mut says = |kind| {
        let (_, body) = ToServer::LinesLost(1).encode().unwrap();
        proxy.take_report(Message { kind, body, fd: None }, 1).map_err(|failure| failure.kind)
    };
    assert_eq!(
        [kind::PLAIN, kind::STATE, kind::STREAM].map(&mut says),
        [Ok(()), Err(RRError::Protocol), Err(RRError::Protocol)]
    );
}

#[test]
fn a_session_leaves_its_worker_as_what_it_is_here_and_within_the_room() {
    let now_us = 1_000_000_000;
    let config = SessionConfig::default();
    let of = |fits: fn(&Doing) -> bool| {
        let is_it = |state: &Vec<u8>| fits(&ExportedSession::read(&config, state, now_us / 1000).unwrap().doing);
        exported_seeds().into_iter().find(is_it).unwrap()
    };
    let (publishing, playing) =
        (of(|doing| matches!(doing, Doing::Publishes(_))), of(|doing| matches!(doing, Doing::Plays(_))));
    let asking = of(|doing| matches!(doing, Doing::Asks(..)));
    let [publisher, player, _] = IDS;
    let says = |key: &[u8], id, state: &[u8], room| {
        let mut proxy = proxy(key);
        let (of, record) = (Arc::clone(&proxy.stream), Arc::clone(&proxy.sessions[&player].record));
        let play = Subscription::of_player(of, record, 1, Start::default(), media::ALL, None);
        proxy.sessions.get_mut(&player).unwrap().subscriptions.push(play);
        let (caller, wait) = Caller::new();
        assert!(caller.take());
        proxy.sessions.get_mut(&id).unwrap().export = Some((room, caller));
        let (kind, body) = ToServer::Exported { id, state }.encode().unwrap();
        let fd = Some(OwnedFd::from(UnixStream::pair().unwrap().0));
        let said = proxy.take_report(Message { kind, body, fd }, now_us).map_err(|failure| failure.kind);
        let outcome = wait.try_outcome().flatten().map(|outcome| outcome.map_err(|failure| failure.kind));
        (said, outcome)
    };
    for (id, state) in [(publisher, &publishing), (player, &playing)] {
        let (said, outcome) = says(b"show", id, state, state.len());
        assert!(said == Ok(()) && matches!(&outcome, Some(Ok(Export::Gone { state: gone, .. })) if gone == state));
        for (key, id, room) in [
            (&b"show"[..], id, state.len() - 1),
            // Another stream, and another role.
            (b"other", id, state.len()),
            (b"show", publisher + player - id, state.len()),
        ] {
            let (said, outcome) = says(key, id, state, room);
            assert!(said == Err(RRError::Protocol) && outcome.is_none(), "{said:?} {outcome:?}");
        }
        assert_eq!(says(b"show", id, &asking, asking.len()).0, Err(RRError::Protocol));
        // It may be the peer that has brought its session to such a state.
        let (said, outcome) = says(b"show", id, b"garbage", 100);
        assert!(said == Ok(()) && matches!(outcome, Some(Err(RRError::Arg))), "{said:?} {outcome:?}");
    }
}

#[test]
fn a_target_whose_state_cannot_be_read_is_lost_and_its_worker_goes_on() {
    let mut proxy = proxy(b"show");
    let [.., target] = IDS;
    let (caller, wait) = Caller::new();
    proxy.targets.get_mut(&target).unwrap().export = Some(TargetOrder { room: 100, caller, anew: true });
    let says = |proxy: &mut Proxy, state: &[u8]| {
        proxy.receives(&ToServer::Exported { id: target, state }.encode().unwrap().1).map_err(|failure| failure.kind)
    };
    assert_eq!(says(&mut proxy, &[0; 101]), Err(RRError::Protocol));
    assert_eq!(says(&mut proxy, b"garbage"), Ok(()));
    assert!(matches!(wait.try_outcome(), Some(Some(Err(failure))) if failure.kind == RRError::Arg));
    assert!(proxy.targets.is_empty());
}

#[test]
fn a_worker_asks_for_more_room_than_there_was_and_for_no_more_than_states_need() {
    let [publisher, _, target] = IDS;
    let room = 1_000;
    for (needs, is_possible) in [(0, false), (1_000, false), (1_001, true), (1 << 40, false), (u64::MAX, false)] {
        let mut proxy = proxy(b"show");
        let (of_session, of_target, of_stream) = (Caller::new(), Caller::new(), Caller::new());
        proxy.sessions.get_mut(&publisher).unwrap().export = Some((room, of_session.0));
        proxy.targets.get_mut(&target).unwrap().export = Some(TargetOrder { room, caller: of_target.0, anew: false });
        proxy.waits.states = [(room, of_stream.0)].into();
        let (needs, cause) = (Some(needs), None);
        let mut says = |message: ToServer<'_>| {
            let said = proxy.receives(&message.encode().unwrap().1);
            assert_eq!(said.map_err(|failure| failure.kind), is_possible.then_some(()).ok_or(RRError::Protocol));
        };
        says(ToServer::Stays { id: publisher, needs, cause: None });
        says(ToServer::Stays { id: target, needs, cause: None });
        says(ToServer::StreamStays { needs, cause });
        let session = matches!(of_session.1.try_outcome(), Some(Some(Ok(Export::Needs(1_001)))));
        let target = matches!(of_target.1.try_outcome(), Some(Some(Ok(TargetExport::Needs(1_001)))));
        let stream = matches!(of_stream.1.try_outcome(), Some(Some(Ok(ToExport::Made(StreamExport::Needs(1_001))))));
        assert_eq!([session, target, stream], [is_possible; 3]);
    }
}

#[test]
fn the_state_of_a_stream_is_handed_on_where_it_lies() {
    let mut proxy = proxy(b"show");
    let (caller, wait) = Caller::new();
    proxy.waits.states = [(1 << 20, caller)].into();
    let (kind, body) = ToServer::Stream { state: &[7; 1000] }.encode().unwrap();
    let lies = body.as_ptr().addr()..body.as_ptr().addr() + body.len();
    proxy.take_report(Message { kind, body, fd: None }, 1).unwrap();
    let Some(Some(Ok(ToExport::Made(StreamExport::State(state))))) = wait.try_outcome() else {
        panic!("there was room")
    };
    assert!(*state == [7; 1000] && lies.contains(&state.as_ptr().addr()));
}
