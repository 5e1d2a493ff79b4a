//! A stream as its subscriptions know it. A connection carries subscriptions and a stream takes connections, so a
//! subscription holds its stream as this trait and knows nothing else of it.

use std::fmt::Debug;

use crate::session::State;
use crate::stream::identity::Identity;
use crate::stream::record::RRSession;
use crate::stream::stats::StreamStats;

/// What a subscription asks of its stream. Nothing here blocks.
pub(crate) trait Subscribed: Debug + Send + Sync {
    /// Which stream it is.
    fn identity(&self) -> &Identity;
    /// Its state.
    fn state(&self) -> State;
    /// How far its log has got, in bytes.
    fn log_position(&self) -> u64;
    /// Its figures.
    fn stats(&self) -> &StreamStats;
    /// A play of this session is over.
    fn leave(&self, record: &RRSession);
}
