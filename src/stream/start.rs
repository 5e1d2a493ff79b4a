//! Starts a task of a stream: on a thread of its own, which gets the priority and the processors of the stream's settings,
//! or on the loop that the stream shares.

use std::sync::Arc;

use crossbeam::channel::Receiver;

use crate::error::Result;
use crate::net::event_loop::Task;
use crate::net::thread;
use crate::stream::front::RRStream;
use crate::stream::threading::{Running, Spot};
use crate::sync::spawn;

/// Runs one of a stream's tasks, on a thread with this name if it has its own. If the task panics, the stream fails.
///
/// # Errors
/// Those of [`Spot::run`].
pub(in crate::stream) fn run<T: Task>(
    stream: &Arc<RRStream>,
    name: &str,
    spot: Spot<'_>,
    task: T,
    inbox: Receiver<T::Message>,
) -> Result<Running> {
    let failed = || {
        let stream = Arc::clone(stream);
        Box::new(move |text: &str| stream.panicked(text))
    };
    spot.run(task, inbox, failed(), |event_loop| {
        let (stream, on_panic) = (Arc::clone(stream), failed());
        let body = move || {
            stream.upcalls().enter_thread();
            let config = stream.config();
            if let Err(error) = thread::set_nice(thread::CALLER, config.nice) {
                log::warn!("nice {} was refused: {error}", config.nice);
            }
            if let Err(error) = thread::set_cpus(thread::CALLER, &config.cpus) {
                log::warn!("the CPU set was refused: {error}");
            }
            event_loop.run();
        };
        spawn(name, body, on_panic)
    })
}
