//! What a driver tells a conversation that was opened to us, whichever protocol it is in: the answers to its questions,
//! and news.

use super::{ConnectInfo, FlvForm};

/// A conversation that was opened to us. An answer to a question that is not open does nothing.
pub trait Inbound {
    /// The peer's fields of `connect`, from [`Event::Connect`](super::Event::Connect) on.
    fn connect(&self) -> Option<&ConnectInfo>;

    /// Whether the peer was let in.
    fn connected(&self) -> bool;

    /// A host has been asked: from now on it has the time for an answer, and no other deadline runs.
    fn asked(&mut self, now_ms: u64);

    /// Lets the peer in.
    fn accept_connect(&mut self, now_ms: u64);

    /// Turns the peer away, with `redirect` to another url. An empty `code` stands for the usual one.
    fn reject_connect(&mut self, code: &str, text: &str, redirect: Option<&str>);

    /// Lets the peer publish, where the protocol has that.
    fn accept_publish(&mut self, _stream_id: u32, _now_ms: u64) {}

    /// Lets the peer play. Metadata and media are the driver's to send.
    fn accept_play(&mut self, stream_id: u32, now_ms: u64);

    /// Whether the peer is a relay that asks through which streams media comes.
    fn asks_via(&self) -> bool {
        false
    }

    /// Tells a relay, which [asks](Self::asks_via), through which streams the media of a play comes.
    fn tell_via(&mut self, _stream_id: u32, _streams: &[u8]) {}

    /// Refuses a publish or play.
    fn reject_stream(&mut self, stream_id: u32, code: &str, text: &str);

    /// Ends a publish from our side.
    fn end_publish(&mut self, _stream_id: u32, _code: &str, _text: &str) {}

    /// Ends a play from our side.
    fn end_play(&mut self, stream_id: u32);

    /// Ends a play that has been accepted and never had anything.
    fn fail_play(&mut self, stream_id: u32, code: &str, text: &str);

    /// Asks the peer to connect again, elsewhere if `url` is given. False, and nothing said, where it would not understand
    /// that.
    fn reconnect_request(&mut self, url: Option<&str>, text: &str) -> bool;

    /// The form of the FLV stream that the peer is to get; `None` for who gets messages in chunks.
    fn flv_form(&self) -> Option<FlvForm> {
        None
    }

    /// Whether the peer wants media and not only to know whether there is any.
    fn wants_media(&self) -> bool {
        true
    }

    /// There is media for the peer, now or with the next key frame.
    fn begin_media(&mut self, _now_ms: u64) {}

    /// Whether the conversation is over: once the output has gone the driver closes.
    fn is_over(&self) -> bool {
        false
    }
}
