//! The calls of a stream's threads to their server, as a trait, because the stream layer does not know the server. A
//! stream names itself by its id, so no call holds a reference to the stream.

use std::sync::Arc;

use crate::error::Failure;
use crate::session;
use crate::stream::event::{EventSink, Id};
use crate::stream::further_relays::FurtherRelays;
use crate::stream::log::segment::Spares;
use crate::stream::peer::Peer;
use crate::stream::record::{Caller, RRSession, TargetExport};
use crate::stream::remote::target::Target;

/// The calls from a stream to its server. No call blocks, and no lock of the stream is held during a call, except for
/// events.
pub(crate) trait Upcalls: EventSink {
    /// Gives the session back to the listener's thread, which handles `event` first.
    fn reclaim(&self, peer: Peer, event: Option<session::Event>);
    /// Gives a player's connection to the stream that is to have it next; if that stream cannot take it, the session
    /// ends.
    fn pass_on(&self, peer: Peer);
    /// Reports that the session's connection is closed.
    fn session_over(&self, record: &Arc<RRSession>, cause: &Failure);
    /// Another process goes on with the session.
    fn session_exported(&self, record: &RRSession);
    /// Asks the dialler to connect this target, because the stream has media, or this source, because the stream may
    /// need it.
    fn dial(&self, target: &Arc<Target>);
    /// Reports that a connected target was lost after `ran_ms` of media.
    fn target_lost(&self, target: &Arc<Target>, cause: &Failure, ran_ms: u64);
    /// Reports that a target was closed because its stream has no media for now.
    fn target_released(&self, target: &Arc<Target>);
    /// Reports that a target or source was closed after `ran_ms` of media because its server redirected it: to `url`,
    /// or to the same url again.
    fn target_moved(&self, target: &Arc<Target>, url: Option<String>, text: &str, ran_ms: u64);
    /// Reports that a target was closed because its new settings need another connection.
    fn target_renewed(&self, target: &Arc<Target>);
    /// Another process goes on with the target.
    fn target_exported(&self, target: &Arc<Target>);
    /// Gives the dialler an order to export a target back, because its connection has ended meanwhile.
    fn target_export(&self, target: &Arc<Target>, room: usize, caller: Caller<TargetExport>);
    /// Reports that a stopped target has been flushed and closed.
    fn target_over(&self, target: &Arc<Target>);
    /// Reports that the session no longer publishes or plays the stream, and goes on.
    fn session_left(&self, record: &RRSession, stream: Id);
    /// Reports that the stream has neither a publisher nor players.
    fn stream_unused(&self, stream: Id);
    /// Reports that a task of the stream has ended: the last one, or one whose end ends the other too.
    fn stream_over(&self, stream: Id);
    /// Notes that the calling thread works for this server, so that its log records go there.
    fn enter_thread(&self);
    /// A name for a stream of this server that is unique among all servers, for relays that pull it.
    fn step(&self, stream: Id) -> String;
    /// Timeouts of consumers and publishers.
    fn timeouts(&self) -> Timeouts;
    /// The spare memory of the logs of all streams.
    fn spares(&self) -> Spares;
    /// The relays beside the first ones that all streams have together.
    fn further_relays(&self) -> Arc<FurtherRelays>;
}

/// The server's timeouts that the stream's threads keep, in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// A publisher that is silent for this long is closed.
    pub idle_ms: u64,
    /// Silent peers are pinged this often.
    pub ping_ms: u64,
    /// A consumer whose socket takes nothing for this long is closed.
    pub send_ms: u64,
}
