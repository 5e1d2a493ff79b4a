//! A stream as its subscriptions know it. A stream takes connections, which carry subscriptions, and a subscription holds
//! its stream: with this trait between them the files of `stream/` import each other in no circle.

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
