//! What a driver tells a conversation that was opened to us, whichever protocol it is in: the answers to its questions,
//! and news.

use super::{ConnectInfo, FlvForm, ServerSession};

/// A conversation that was opened to us.
pub trait Inbound {
    /// The peer's fields of `connect`, from [`Event::Connect`](super::Event::Connect) on.
    fn connect(&self) -> Option<&ConnectInfo>;

    /// Whether the peer was let in.
    fn connected(&self) -> bool;

    /// The host has been asked: from now on it has the time for an answer, and no other deadline runs.
    fn asked(&mut self, now_ms: u64);

    /// Lets the peer in.
    fn accept_connect(&mut self, now_ms: u64);

    /// Turns the peer away, with `redirect` to another url. An empty `code` stands for the usual one.
    fn reject_connect(&mut self, code: &str, text: &str, redirect: Option<&str>);

    /// Lets the peer publish.
    fn accept_publish(&mut self, stream_id: u32, now_ms: u64);

    /// Lets the peer play. Metadata and media are the driver's to send.
    fn accept_play(&mut self, stream_id: u32, now_ms: u64);

    /// Whether the peer is a relay that asks through which streams media comes.
    fn asks_via(&self) -> bool;

    /// Tells a relay that asks through which streams the media of a play comes.
    fn tell_via(&mut self, stream_id: u32, streams: &[u8]);

    /// Refuses a publish or play.
    fn reject_stream(&mut self, stream_id: u32, code: &str, text: &str);

    /// Ends a publish from our side.
    fn end_publish(&mut self, stream_id: u32, code: &str, text: &str);

    /// Ends a play from our side.
    fn end_play(&mut self, stream_id: u32);

    /// Ends a play that has been accepted and never had anything.
    fn fail_play(&mut self, stream_id: u32, code: &str, text: &str);

    /// Asks the peer to connect again, elsewhere if `url` is given. False where it would not understand that.
    fn reconnect_request(&mut self, url: Option<&str>, text: &str) -> bool;

    /// The form of the FLV stream that the peer is to get; `None` for who gets messages in chunks.
    fn flv_form(&self) -> Option<FlvForm> {
        None
    }

    /// Whether the peer wants media and not only to know whether there is any.
    fn wants_media(&self) -> bool {
        true
    }

    /// The first media is about to be sent.
    fn begin_media(&mut self, _now_ms: u64) {}

    /// Whether the conversation is over: once the output has gone the driver closes.
    fn is_over(&self) -> bool {
        false
    }
}

impl Inbound for ServerSession {
    fn connect(&self) -> Option<&ConnectInfo> {
        Self::connect(self)
    }

    fn connected(&self) -> bool {
        Self::connected(self)
    }

    fn asked(&mut self, now_ms: u64) {
        Self::asked(self, now_ms);
    }

    fn accept_connect(&mut self, now_ms: u64) {
        Self::accept_connect(self, now_ms);
    }

    fn reject_connect(&mut self, code: &str, text: &str, redirect: Option<&str>) {
        Self::reject_connect(self, code, text, redirect);
    }

    fn asks_via(&self) -> bool {
        Self::asks_via(self)
    }

    fn tell_via(&mut self, stream_id: u32, streams: &[u8]) {
        Self::tell_via(self, stream_id, streams);
    }

    fn accept_publish(&mut self, stream_id: u32, now_ms: u64) {
        Self::accept_publish(self, stream_id, now_ms);
    }

    fn accept_play(&mut self, stream_id: u32, now_ms: u64) {
        Self::accept_play(self, stream_id, now_ms);
    }

    fn reject_stream(&mut self, stream_id: u32, code: &str, text: &str) {
        Self::reject_stream(self, stream_id, code, text);
    }

    fn end_publish(&mut self, stream_id: u32, code: &str, text: &str) {
        Self::end_publish(self, stream_id, code, text);
    }

    fn end_play(&mut self, stream_id: u32) {
        Self::end_play(self, stream_id);
    }

    fn fail_play(&mut self, stream_id: u32, code: &str, text: &str) {
        Self::fail_play(self, stream_id, code, text);
    }

    fn reconnect_request(&mut self, url: Option<&str>, text: &str) -> bool {
        Self::reconnect_request(self, url, text)
    }
}
