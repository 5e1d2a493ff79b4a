//! The control thread: waits for the tasks of streams that have ended, keeps the memory limit, trims the heap after a
//! peak, and carries out an orderly stop.
//!
//! Only the control thread joins stream threads; a stream's task reports its own end and returns.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::server::core::Core;
use crate::server::heap_trim::HeapTrim;
use crate::server::memory_limit::{MemoryLimit, PASS_MS};
use crate::session::State;
use crate::stream::RRStream;
use crate::stream::remote::target::News;
use crate::stream::threading::Running;
use crate::sync::locked;

/// How long a stop waits past its deadline for threads that are just ending.
const GRACE_MS: u64 = 2_000;

/// How long the end of the server waits for the threads of its streams. They wait for nothing but the processor; a
/// longer wait would be a fault of ours, and the host must not hang because of it.
const JOIN_MS: u64 = 30_000;

pub(super) fn run(core: &Arc<Core>) {
    let mut memory_limit = MemoryLimit::default();
    let mut peak = HeapTrim::default();
    let mut closing_ms = None;
    loop {
        if core.is_closing() {
            let since_ms = *closing_ms.get_or_insert_with(clock::now_ms);
            let left = core.registry().streams.len();
            let late = clock::now_ms() > since_ms + JOIN_MS;
            if late && left > 0 {
                log::error!("{left} streams have not ended; their memory and connections are lost");
            }
            if late || left == 0 {
                return;
            }
        }
        let (streams, unlisted) = {
            let mut reap = locked(&core.reap);
            if reap.streams.is_empty() && !reap.unlisted && !reap.nudge {
                // A stop has deadlines to keep; otherwise the thread waits until it is woken.
                let wait = match core.stop_by_ms() {
                    Some(_) => 20,
                    None if memory_limit.is_busy() => PASS_MS,
                    None => 1_000,
                };
                let waited = core.reaped.wait_timeout(reap, Duration::from_millis(wait));
                reap = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            }
            reap.nudge = false;
            (std::mem::take(&mut reap.streams), std::mem::take(&mut reap.unlisted))
        };
        streams.iter().for_each(|stream| end(core, stream));
        if unlisted {
            let mut at = 0;
            while let Some((stream, next)) = core.next_stream(at) {
                at = next;
                if stream.life().is_over() {
                    end(core, &stream);
                }
            }
        }
        memory_limit.look(core);
        peak.look(&core.budget);
        core.end_drain();
        let running = !matches!(core.state(), State::Stopped | State::Failed);
        if let Some(by) = core.stop_by_ms().filter(|_| running)
            && (core.is_empty() || clock::now_ms() > by.saturating_add(GRACE_MS))
        {
            core.stopped();
        }
    }
}

/// Ends a stream one of whose tasks has ended, or which has none.
fn end(core: &Arc<Core>, stream: &Arc<RRStream>) {
    let targets = stream.book().targets().into_iter().chain(stream.sources().list());
    let targets: Vec<_> = targets.collect();
    // One of the stream's two tasks may have ended on its own; the stop makes the other one end too.
    stream.stop(0);
    stream.take_running().into_iter().for_each(Running::wait);
    for target in targets {
        target.stop(0);
        // The control thread does this, because the dialler may end before it gets the news.
        core.end_target(&target, &Failure::ours(RRError::Kicked, "the stream has ended"));
        core.tell_dialler(&target, News::Over);
    }
    core.end_stream(stream);
}
