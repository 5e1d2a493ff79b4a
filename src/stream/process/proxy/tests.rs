//! What a proxy demands of its worker.

use super::super::tried;
use super::*;
use crate::config::{ServerConfig, StreamConfig};
use crate::fuzzing::worker::Nobody;
use crate::stream::memory::budget::Budget;
use crate::stream::name::StreamName;
use crate::stream::process::wire::{Cause, ToServer};
use crate::stream::threading::Threading;

#[test]
fn a_worker_that_does_not_close_whom_it_is_to_close_is_overdue() {
    let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
    let budget = Budget::new(None);
    let stream = RRStream::new(7, name, StreamConfig::default(), true, budget, Threading::Own, Arc::new(Nobody));
    let mut proxy = tried::proxy(&Arc::new(stream), &ServerConfig::default());
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
