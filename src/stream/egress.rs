//! How media leaves a stream: the relay thread, its consumers with their subscriptions and sinks, the join index that
//! knows where they may begin, and what differs for one of them.
//!
//! This folder knows nothing of publishers: the relay follows the log.

mod consumer;
mod foreign;
pub(crate) mod join;
mod lag_watch;
mod pending_filter;
mod private;
mod push;
mod rate_limit;
pub(crate) mod relay;
mod rewrite;
pub(crate) mod subscribed;
pub(crate) mod subscription;
mod tags;
mod track_mask;
