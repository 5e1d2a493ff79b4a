//! A stream as its subscriptions see it. A stream takes connections, which carry subscriptions, and a subscription
//! holds its stream; this trait between them avoids an import circle in `stream/`.

use std::fmt::Debug;

use crate::session::State;
use crate::stream::identity::Identity;
use crate::stream::record::RRSession;

/// What a subscription asks of its stream. No call blocks.
pub(crate) trait Subscribed: Debug + Send + Sync {
    /// The stream's identity.
    fn identity(&self) -> &Identity;
    /// Its state.
    fn state(&self) -> State;
    /// How far its log has got, in bytes.
    fn log_position(&self) -> u64;
    /// The name of its log, which no other log has.
    fn log_name(&self) -> Vec<u8>;
    /// Notes that a play of this session is over.
    fn leave(&self, record: &RRSession);
}
