//! The answers and news that a driver gives to a session on a connection that a peer opened, in whichever protocol.

use super::FlvForm;
use crate::proto::command::Connect;

/// A session on a connection that a peer opened. An answer to a question that is not open does nothing.
pub trait Inbound {
    /// The peer's fields of `connect`, from [`Event::Connect`](super::Event::Connect) on.
    fn connect(&self) -> Option<Connect<'_>>;

    /// Whether the peer was let in.
    fn connected(&self) -> bool;

    /// The driver has asked the host. From now on only the time for its answer runs, and no other deadline.
    fn asked(&mut self, now_ms: u64);

    /// Lets the peer in.
    fn accept_connect(&mut self, now_ms: u64);

    /// Refuses the peer; `redirect` sends it to another url. An empty `code` stands for the usual one.
    fn reject_connect(&mut self, code: &str, text: &str, redirect: Option<&str>);

    /// Lets the peer publish, in protocols that have publishing.
    fn accept_publish(&mut self, _stream_id: u32, _now_ms: u64) {}

    /// Lets the peer play. The driver sends metadata and media.
    fn accept_play(&mut self, stream_id: u32, now_ms: u64);

    /// Whether the peer is a relay that asks through which streams media comes.
    fn asks_via(&self) -> bool {
        false
    }

    /// Tells a relay that [asks](Self::asks_via) through which streams the media of a play comes.
    fn tell_via(&mut self, _stream_id: u32, _streams: &[u8]) {}

    /// Refuses a publish or play.
    fn reject_stream(&mut self, stream_id: u32, code: &str, text: &str);

    /// Notes that the driver does not read at the moment: a publisher's time of silence begins anew.
    fn unheard(&mut self, _now_ms: u64) {}

    /// Ends a publish from our side.
    fn end_publish(&mut self, _stream_id: u32, _code: &str, _text: &str) {}

    /// Ends a play from our side.
    fn end_play(&mut self, stream_id: u32);

    /// Ends a play that was accepted but never got media.
    fn fail_play(&mut self, stream_id: u32, code: &str, text: &str);

    /// Asks the peer to connect again, elsewhere if `url` is given. False, and no message sent, if the peer does not
    /// understand such a request.
    fn reconnect_request(&mut self, url: Option<&str>, text: &str) -> bool;

    /// The form of the FLV stream that the peer is to get; `None` for a peer that gets RTMP messages.
    fn flv_form(&self) -> Option<FlvForm> {
        None
    }

    /// Whether the peer wants the media itself; a HEAD request only asks whether there is any.
    fn wants_media(&self) -> bool {
        true
    }

    /// Tells the session that media for the peer follows, now or with the next key frame.
    fn begin_media(&mut self, _now_ms: u64) {}

    /// Whether the conversation is over: the driver sends the output and closes.
    fn is_over(&self) -> bool {
        false
    }
}
