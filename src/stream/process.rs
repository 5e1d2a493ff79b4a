//! Streams in processes of their own: what a server knows of its workers, the task that stands for a stream's tasks there,
//! and the stream in the worker.

pub(crate) mod adoption;
pub(in crate::stream) mod host;
mod note;
pub(crate) mod orphan;
pub(in crate::stream) mod proxy;
pub(crate) mod starts;
pub(crate) mod supervisor;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod tried;
mod watchdog;
pub(crate) mod wire;
pub(crate) mod worker;
pub(crate) mod workers;
