//! RRBuffer: the log between a stream's two threads. [`segment`] is the memory with its one writer and many readers,
//! [`buffer`] the writer's side, [`cursor`] a reader's place; [`lineage`] knows the places of a log that goes on from another
//! process's.
//!
//! The log knows nothing of sessions, threads or sockets.

pub(crate) mod buffer;
pub(crate) mod cursor;
pub(in crate::stream) mod lineage;
#[allow(unsafe_code, reason = "one writer and many readers share the bytes of a segment without a lock")]
pub(crate) mod segment;
