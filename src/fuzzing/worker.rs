//! Fuzz body for the messages between a server and the process of one of its streams.

use std::sync::Arc;

use crate::config::{ServerConfig, StreamConfig};
use crate::error::{Failure, RRError};
#[cfg(test)]
use crate::fuzzing::snapshot::running_client;
use crate::session;
use crate::stream::FurtherRelays;
use crate::stream::event::{Event, EventSink, Id};
#[cfg(test)]
use crate::stream::exported::stream::ExportedStream;
#[cfg(test)]
use crate::stream::exported::target::{ExportedTarget, Pause};
use crate::stream::log::segment::Spares;
use crate::stream::memory::budget::Budget;
use crate::stream::peer::Peer;
use crate::stream::process::tried;
use crate::stream::record::{Caller, RRSession, TargetExport};
use crate::stream::remote::target::Target;
use crate::stream::threading::Threading;
use crate::stream::{RRStream, StreamName, Timeouts, Upcalls};

/// Fuzz body: messages of a hostile worker, each after its length in two bytes, are refused or taken; what was taken
/// is only about those that the worker has. A message that is read is encoded again in the same way, in both directions.
///
/// # Panics
/// If a check fails.
pub fn worker_messages(data: &[u8]) {
    let upcalls: Arc<dyn Upcalls> = Arc::new(Nobody);
    let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
    let (config, budget) = (StreamConfig::default(), Budget::new(Some(1 << 20)));
    let stream = Arc::new(RRStream::new(7, name, config, true, budget, Threading::Own, upcalls));
    let server = ServerConfig::default();
    let mut proxy = tried::proxy(&stream, &server);
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(behind.len());
        let (message, behind) = behind.split_at(len);
        rest = behind;
        tried::reads(message, &stream, &server);
        if let Err(failure) = proxy.receives(message) {
            let known = [RRError::Arg, RRError::Version, RRError::Limit, RRError::NoMem, RRError::Protocol];
            assert!(!failure.by_peer && known.contains(&failure.kind), "{failure}");
            // Its worker is ended.
            break;
        }
    }
    proxy.is_sound();
}

/// A server that does nothing.
#[derive(Debug)]
pub(crate) struct Nobody;

impl EventSink for Nobody {
    fn event(&self, _event: Event) {}
}

impl Upcalls for Nobody {
    fn reclaim(&self, _peer: Peer, _event: Option<session::Event>) {}
    fn pass_on(&self, _peer: Peer) {}
    fn session_over(&self, _record: &Arc<RRSession>, _cause: &Failure) {}
    fn session_exported(&self, _record: &RRSession) {}
    fn dial(&self, _target: &Arc<Target>) {}
    fn target_lost(&self, _target: &Arc<Target>, _cause: &Failure, _ran_ms: u64) {}
    fn target_released(&self, _target: &Arc<Target>) {}
    fn target_moved(&self, _target: &Arc<Target>, _url: Option<String>, _text: &str, _ran_ms: u64) {}
    fn target_renewed(&self, _target: &Arc<Target>) {}
    fn target_exported(&self, _target: &Arc<Target>) {}
    fn target_export(&self, _target: &Arc<Target>, _room: usize, _caller: Caller<TargetExport>) {}
    fn target_over(&self, _target: &Arc<Target>) {}
    fn session_left(&self, _record: &RRSession, _stream: Id) {}
    fn stream_unused(&self, _stream: Id) {}
    fn stream_over(&self, _stream: Id) {}
    fn enter_thread(&self) {}
    fn step(&self, _stream: Id) -> String {
        String::new()
    }
    fn timeouts(&self) -> Timeouts {
        Timeouts { idle_ms: 0, ping_ms: 0, send_ms: 0 }
    }
    fn spares(&self) -> Spares {
        Spares::default()
    }

    fn further_relays(&self) -> Arc<FurtherRelays> {
        Arc::default()
    }
}

/// A message of each kind, by itself and all together.
#[cfg(test)]
pub(super) fn worker_seeds() -> Vec<Vec<u8>> {
    let of =
        |message: Vec<u8>| [&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes()[..], &message].concat();
    let pushing = ExportedTarget::pushing(running_client(true), b"unread").state(0).unwrap_or_default();
    let paused = ExportedTarget::pausing(Pause::Waits(7)).state(0).unwrap_or_default();
    let stream = ExportedStream::example().state().unwrap_or_default();
    let mut seeds: Vec<Vec<u8>> = tried::messages(&pushing, &paused, &stream).into_iter().map(of).collect();
    seeds.push(seeds.concat());
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::mutate_corpus;

    #[test]
    fn messages_of_workers_keep_their_promises_when_they_are_mutated() {
        let seeds = worker_seeds();
        assert!(seeds.len() > 10);
        let tried = mutate_corpus(&seeds, 25, 2_000, worker_messages);
        assert!(tried > 100, "{tried}");
    }

    #[test]
    fn a_worker_says_each_of_its_messages_and_is_heard() {
        let [all @ .., _] = worker_seeds().try_into().map(|all: [Vec<u8>; SEEDS]| all).unwrap();
        all.iter().for_each(|seed| worker_messages(seed));
    }

    const SEEDS: usize = 26;
}
