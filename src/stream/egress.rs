//! How media leaves a stream: the relay thread, its consumers with their subscriptions and sinks, the join index that
//! knows where they may begin, and the rewriting of messages for single consumers.
//!
//! This folder does not know publishers: the relay follows the log.

mod consumer;
mod foreign;
pub(crate) mod join;
mod lag_watch;
mod pending_filter;
mod position;
mod private;
mod push;
mod rate_limit;
pub(crate) mod relay;
pub(in crate::stream) mod rewrite;
pub(crate) mod subscribed;
pub(crate) mod subscription;
pub(in crate::stream) mod tags;
pub(in crate::stream) mod track_mask;
