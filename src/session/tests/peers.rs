//! rml_rtmp's sessions as independent peers: the same conversations with an independent implementation at the other
//! end.

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession as RmlClient, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    ServerSession as RmlServer, ServerSessionConfig, ServerSessionEvent, ServerSessionResult,
};
use rml_rtmp::time::RtmpTimestamp;

use super::super::{ClientSession, Event, ServerSession, SessionConfig};
use super::pair::head;
use crate::error::RRError;
use crate::proto::message::kind;
use crate::proto::url::RtmpUrl;

/// Drives our server session: says yes, keeps the events.
struct OurServer {
    session: ServerSession,
    events: Vec<(Event, Vec<u8>)>,
}

impl OurServer {
    fn take(&mut self, input: &[u8]) -> Vec<u8> {
        let mut at = 0;
        while let Some(event) = self.session.next(input, &mut at, 0).unwrap() {
            let body = if matches!(event, Event::Message(_)) { self.session.body(input).to_vec() } else { Vec::new() };
            super::pair::yes(&mut self.session, &event);
            self.events.push((event, body));
        }
        self.session.take_output()
    }
}

/// rml_rtmp's handshake as a client against `server`; returns what the server sent after it.
fn rml_handshake(server: &mut OurServer) -> Vec<u8> {
    let mut handshake = Handshake::new(PeerType::Client);
    let mut to_server = handshake.generate_outbound_p0_and_p1().unwrap();
    loop {
        let answer = server.take(&to_server);
        match handshake.process_bytes(&answer).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => to_server = response_bytes,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                server.take(&response_bytes);
                return remaining_bytes;
            }
        }
    }
}

/// An rml client connected to our server session.
struct RmlToUs {
    server: OurServer,
    client: RmlClient,
    seen: Vec<ClientSessionEvent>,
}

impl RmlToUs {
    fn connected() -> Self {
        let session = ServerSession::new(&SessionConfig::default(), 0);
        let mut server = OurServer { session, events: Vec::new() };
        rml_handshake(&mut server);
        let (client, first) = RmlClient::new(ClientSessionConfig::new()).unwrap();
        let mut link = Self { server, client, seen: Vec::new() };
        link.carry(first);
        let connect = link.client.request_connection("live".to_owned()).unwrap();
        link.carry(vec![connect]);
        link
    }

    /// Carries results to our server, and its answers back, until neither side sends any more.
    fn carry(&mut self, results: Vec<ClientSessionResult>) {
        let mut waiting = results;
        while !waiting.is_empty() {
            let mut to_server = Vec::new();
            for result in waiting.drain(..) {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => to_server.extend(packet.bytes),
                    ClientSessionResult::RaisedEvent(event) => self.seen.push(event),
                    ClientSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
            let answer = self.server.take(&to_server);
            waiting = self.client.handle_input(&answer).unwrap();
        }
    }

    fn saw(&self, event: &ClientSessionEvent) -> bool {
        self.seen.contains(event)
    }
}

#[test]
fn an_rml_client_publishes_to_our_server_session() {
    let mut link = RmlToUs::connected();
    assert!(link.saw(&ClientSessionEvent::ConnectionRequestAccepted));
    let publish = link.client.request_publishing("key?a=b".to_owned(), PublishRequestType::Live).unwrap();
    link.carry(vec![publish]);
    assert!(link.saw(&ClientSessionEvent::PublishRequestAccepted));
    let body: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
    let video = link.client.publish_video_data(Bytes::from(body.clone()), RtmpTimestamp::new(40), false).unwrap();
    link.carry(vec![video]);
    let stop = link.client.stop_publishing().unwrap();
    link.carry(stop);
    let events: Vec<_> = link.server.events.iter().map(|(event, body)| (event.clone(), body.len())).collect();
    let [(Event::Connect, _), (publish, _), (Event::Message(head), len), (Event::EndPublish { stream_id: 1 }, _)] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(*publish, Event::Publish { stream_id: 1, key: b"key?a=b".to_vec(), kind: b"live".to_vec() });
    assert_eq!((head.type_id, head.timestamp_ms, *len), (kind::VIDEO, 40, body.len()));
    assert_eq!(link.server.events[2].1, body);
}

#[test]
fn an_rml_client_plays_from_our_server_session() {
    let mut link = RmlToUs::connected();
    let play = link.client.request_playback("key".to_owned()).unwrap();
    link.carry(vec![play]);
    assert!(link.saw(&ClientSessionEvent::PlaybackRequestAccepted));
    let body = vec![7; 70_000];
    link.server.session.send_message(&head(kind::AUDIO, 1, 11, &body), &body).unwrap();
    let results = link.client.handle_input(&link.server.session.take_output()).unwrap();
    link.carry(results);
    assert!(link.saw(&ClientSessionEvent::AudioDataReceived { timestamp: RtmpTimestamp::new(11), data: body.into() }));
}

/// Our client session connected to an rml server; gives the server's events and what our client ended with.
fn our_client_to_rml(
    mut client: ClientSession,
    accept: bool,
) -> (Vec<Event>, Vec<ServerSessionEvent>, Option<RRError>) {
    let mut handshake = Some(Handshake::new(PeerType::Server));
    let (mut server, first) = RmlServer::new(ServerSessionConfig::new()).unwrap();
    let mut results = first;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut sent_media = false;
    for _ in 0..40 {
        let to_server = client.take_output();
        let mut to_client = Vec::new();
        let mut input = to_server;
        if let Some(shaking) = &mut handshake {
            match shaking.process_bytes(&input).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    to_client.extend(response_bytes);
                    input = Vec::new();
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    to_client.extend(response_bytes);
                    input = remaining_bytes;
                    handshake = None;
                }
            }
        }
        if handshake.is_none() {
            results.extend(server.handle_input(&input).unwrap());
            for result in std::mem::take(&mut results) {
                match result {
                    ServerSessionResult::OutboundResponse(packet) => to_client.extend(packet.bytes),
                    ServerSessionResult::RaisedEvent(event) => {
                        let asked = match &event {
                            ServerSessionEvent::ConnectionRequested { request_id, .. } => Some((*request_id, true)),
                            ServerSessionEvent::PublishStreamRequested { request_id, .. }
                            | ServerSessionEvent::PlayStreamRequested { request_id, .. } => Some((*request_id, accept)),
                            _ => None,
                        };
                        match asked {
                            Some((id, true)) => results.extend(server.accept_request(id).unwrap()),
                            Some((id, false)) => {
                                results
                                    .extend(server.reject_request(id, "NetStream.Publish.BadName", "taken").unwrap());
                            }
                            None => {}
                        }
                        theirs.push(event);
                    }
                    ServerSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
        }
        let mut at = 0;
        loop {
            match client.next(&to_client, &mut at, 0) {
                Ok(Some(event)) => ours.push(event),
                Ok(None) => break,
                Err(failure) => {
                    assert_eq!(client.refusal_code(), Some("NetStream.Publish.BadName"));
                    return (ours, theirs, Some(failure.kind));
                }
            }
        }
        if client.started() && !sent_media {
            sent_media = true;
            if let Err(failure) = client.send_message(&head(kind::AUDIO, 0, 9, b"sound"), b"sound") {
                assert_eq!(failure.kind, RRError::State, "a player sends no media");
            }
            results.extend(server.handle_input(&client.take_output()).unwrap());
            client.close();
        }
    }
    (ours, theirs, None)
}

fn url() -> RtmpUrl {
    RtmpUrl::parse("rtmp://h/live/key", None).unwrap()
}

#[test]
fn our_client_session_publishes_to_an_rml_server() {
    let client = ClientSession::publish(&SessionConfig::default(), &url(), 0).unwrap();
    let (ours, theirs, failed) = our_client_to_rml(client, true);
    assert_eq!(ours[..2], [Event::Connected, Event::Started { stream_id: 1 }]);
    assert_eq!(failed, None);
    assert!(theirs.iter().any(|event| matches!(
        event,
        ServerSessionEvent::AudioDataReceived { data, stream_key, .. } if data == &b"sound"[..] && stream_key == "key"
    )));
    assert!(theirs.iter().any(|event| matches!(event, ServerSessionEvent::PublishStreamFinished { .. })));
}

#[test]
fn our_client_session_plays_from_an_rml_server() {
    let client = ClientSession::play(&SessionConfig::default(), &url(), 0).unwrap();
    let (ours, theirs, failed) = our_client_to_rml(client, true);
    assert_eq!(ours[..2], [Event::Connected, Event::Started { stream_id: 1 }]);
    assert_eq!(failed, None);
    assert!(theirs.iter().any(|event| matches!(event, ServerSessionEvent::PlayStreamFinished { .. })));
}

#[test]
fn an_rml_servers_odd_refusal_is_a_refusal() {
    for publish in [true, false] {
        let config = SessionConfig::default();
        let client =
            if publish { ClientSession::publish(&config, &url(), 0) } else { ClientSession::play(&config, &url(), 0) };
        let (_, _, failed) = our_client_to_rml(client.unwrap(), false);
        assert_eq!(failed, Some(RRError::Rejected));
    }
}
