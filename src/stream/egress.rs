//! How media leaves a stream: the relay thread, its consumers, the join index that knows where they may begin, and what
//! differs for one of them.
//!
//! It knows nothing of publishers: it follows the log.

pub(in crate::stream) mod consumer;
pub(in crate::stream) mod guest;
pub mod join;
mod pending_filter;
mod push;
mod rate_limit;
pub mod relay;
mod rewrite;
