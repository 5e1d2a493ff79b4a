//! The calls of a stream's threads to their server, as a trait: the stream layer knows no server. A stream names itself
//! by its id, so nothing here leads back to the stream.

use std::sync::Arc;

use crate::error::Failure;
use crate::session;
use crate::stream::event::{EventSink, Id};
use crate::stream::peer::Peer;
use crate::stream::record::RRSession;
use crate::stream::remote::target::Target;

/// The way up. Nothing here blocks, and no lock of the stream is held while calling but for events.
pub(crate) trait Upcalls: EventSink {
    /// The session goes back to the listener's thread; `event` is to be handled first.
    fn reclaim(&self, peer: Peer, event: Option<session::Event>);
    /// A player's connection goes to the stream that its newest subscription is of; where that cannot take it, the
    /// session is over.
    fn pass_on(&self, peer: Peer);
    /// The session's connection is closed.
    fn session_over(&self, record: &Arc<RRSession>, cause: &Failure);
    /// The stream has media: connect this target. Or it may want this source.
    fn dial(&self, target: &Arc<Target>);
    /// A connected target was lost after `ran_ms` of media.
    fn target_lost(&self, target: &Arc<Target>, cause: &Failure, ran_ms: u64);
    /// A target was closed in order, because its stream has no media for now.
    fn target_released(&self, target: &Arc<Target>);
    /// A target, or a source, was closed after `ran_ms` of media because its server sent it elsewhere: to `url`, or to
    /// the same place again.
    fn target_moved(&self, target: &Arc<Target>, url: Option<String>, text: &str, ran_ms: u64);
    /// A target was closed in order, because its new settings want another connection.
    fn target_renewed(&self, target: &Arc<Target>);
    /// A target that was told to stop has been flushed and closed.
    fn target_over(&self, target: &Arc<Target>);
    /// The session publishes or plays the stream no more, and goes on.
    fn session_left(&self, record: &RRSession, stream: Id);
    /// Nobody publishes the stream and nobody plays it.
    fn stream_unused(&self, stream: Id);
    /// A thread of the stream has ended, the last one, or one that takes the other with it.
    fn stream_over(&self, stream: Id);
    /// The calling thread works for this server: log records are its.
    fn enter_thread(&self);
    /// A stream of this server as relays that pull it know it, and no other stream of any server.
    fn step(&self, stream: Id) -> String;
    /// Timeouts of consumers and publishers.
    fn timeouts(&self) -> Timeouts;
}

/// The server's timeouts that the stream's threads keep, in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// A publisher that is silent for this long is gone.
    pub idle_ms: u64,
    /// Silent peers are pinged this often.
    pub ping_ms: u64,
    /// A consumer whose socket takes nothing for this long is closed.
    pub send_ms: u64,
}
