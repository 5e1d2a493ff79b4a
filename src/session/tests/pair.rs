//! Two sessions with queues between them. The driver here is the smallest one that keeps the contract; it answers every
//! question with yes.

use super::super::{ClientSession, Event, ServerSession, SessionConfig};
use crate::error::Result;
use crate::proto::message::MessageHead;
use crate::proto::url::RtmpUrl;
use crate::session::Inbound;

/// Steps after which a conversation that does not come to rest is a livelock.
const STEPS_MAX: u32 = 200;

/// The events of one side, with the bodies of messages.
pub(super) type Happened = Vec<(Event, Vec<u8>)>;

pub(super) struct Pair {
    pub(super) server: ServerSession,
    pub(super) client: ClientSession,
    pub(super) server_events: Happened,
    pub(super) client_events: Happened,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// All bytes that went each way.
    pub(super) to_server_log: Vec<u8>,
    pub(super) to_client_log: Vec<u8>,
    pub(super) now_ms: u64,
    /// Bytes carried at once; for cutting everywhere.
    pub(super) piece: usize,
    /// The driver's answer on the server's side; it may leave the question open.
    pub(super) answer: fn(&mut ServerSession, &Event),
}

/// The driver's yes to everything.
pub(super) fn yes(server: &mut ServerSession, event: &Event) {
    match event {
        Event::Connect => server.accept_connect(0),
        Event::Publish { stream_id, .. } => server.accept_publish(*stream_id, 0),
        Event::Play { stream_id, .. } => server.accept_play(*stream_id, 0),
        _ => {}
    }
}

/// A client session that wants `live` and `key?token=1/2`.
pub(super) fn client(publish: bool) -> ClientSession {
    let config = SessionConfig::default();
    let url = RtmpUrl::parse("rtmp://example.net/live/key?token=1/2", None).unwrap();
    let client = if publish { ClientSession::publish(&config, &url, 0) } else { ClientSession::play(&config, &url, 0) };
    client.unwrap()
}

impl Pair {
    pub(super) fn new(publish: bool) -> Self {
        let config = SessionConfig::default();
        Self {
            server: ServerSession::new(&config, 0),
            client: client(publish),
            server_events: Vec::new(),
            client_events: Vec::new(),
            to_server: Vec::new(),
            to_client: Vec::new(),
            to_server_log: Vec::new(),
            to_client_log: Vec::new(),
            now_ms: 0,
            piece: usize::MAX,
            answer: yes,
        }
    }

    /// Runs until nothing moves any more.
    pub(super) fn run(&mut self) -> Result<()> {
        for _ in 0..STEPS_MAX {
            if !self.step()? {
                return Ok(());
            }
        }
        panic!("the conversation does not come to rest");
    }

    /// One exchange in each direction. False when nothing moved.
    fn step(&mut self) -> Result<bool> {
        self.now_ms += 10;
        self.to_server.extend(self.client.take_output());
        self.to_client.extend(self.server.take_output());
        let (to_server, to_client) = (std::mem::take(&mut self.to_server), std::mem::take(&mut self.to_client));
        let moved = !(to_server.is_empty() && to_client.is_empty());
        for piece in to_server.chunks(self.piece) {
            self.server_takes(piece)?;
        }
        for piece in to_client.chunks(self.piece) {
            self.client_takes(piece)?;
        }
        self.to_server_log.extend(to_server);
        self.to_client_log.extend(to_client);
        Ok(moved)
    }

    pub(super) fn server_takes(&mut self, input: &[u8]) -> Result<()> {
        let mut at = 0;
        while let Some(event) = self.server.next(input, &mut at, self.now_ms)? {
            let body = body_of(&event, |input| self.server.body(input).to_vec(), input);
            (self.answer)(&mut self.server, &event);
            let is_message = matches!(event, Event::Message(_));
            self.server_events.push((event, body));
            if is_message && at == input.len() && self.server.is_dry() {
                assert_eq!(self.server.next(input, &mut at, self.now_ms), Ok(None), "a driver need not ask again");
            }
        }
        assert_eq!(at, input.len(), "None means that all was taken");
        Ok(())
    }

    pub(super) fn client_takes(&mut self, input: &[u8]) -> Result<()> {
        let mut at = 0;
        while let Some(event) = self.client.next(input, &mut at, self.now_ms)? {
            let body = body_of(&event, |input| self.client.body(input).to_vec(), input);
            let is_message = matches!(event, Event::Message(_));
            self.client_events.push((event, body));
            if is_message && at == input.len() && self.client.is_dry() {
                assert_eq!(self.client.next(input, &mut at, self.now_ms), Ok(None), "a driver need not ask again");
            }
        }
        assert_eq!(at, input.len(), "None means that all was taken");
        Ok(())
    }

    /// The client sends a message, after the output that waits.
    pub(super) fn client_sends(&mut self, type_id: u8, timestamp_ms: u32, body: &[u8]) {
        self.to_server.extend(self.client.take_output());
        self.client.send_message(&head(type_id, 0, timestamp_ms, body), body).unwrap();
    }

    /// The server sends a message on stream 1, after the output that waits.
    pub(super) fn server_sends(&mut self, type_id: u8, timestamp_ms: u32, body: &[u8]) {
        self.to_client.extend(self.server.take_output());
        self.server.send_message(&head(type_id, 1, timestamp_ms, body), body).unwrap();
    }
}

fn body_of<'a>(event: &Event, body: impl FnOnce(&'a [u8]) -> Vec<u8>, input: &'a [u8]) -> Vec<u8> {
    if matches!(event, Event::Message(_)) { body(input) } else { Vec::new() }
}

pub(super) fn head(type_id: u8, stream_id: u32, timestamp_ms: u32, body: &[u8]) -> MessageHead {
    let len = u32::try_from(body.len()).unwrap();
    MessageHead { timestamp_ms, type_id, stream_id, len, chunk_stream: 6 }
}

/// The events without bodies.
pub(super) fn events(happened: &Happened) -> Vec<Event> {
    happened.iter().map(|(event, _)| event.clone()).collect()
}
