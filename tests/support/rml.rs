//! rml_rtmp's client session over a blocking socket: a publisher and a player this project did not write.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use rml_rtmp::time::RtmpTimestamp;

use super::PATIENCE;

/// A key frame of H.264 as FLV has it, with `n` in its body.
pub(crate) fn key_frame(n: u32) -> Vec<u8> {
    [&[0x17, 1, 0, 0, 0][..], &n.to_be_bytes(), &[0xAB; 60]].concat()
}

/// A frame that needs others.
pub(crate) fn inter_frame(n: u32) -> Vec<u8> {
    [&[0x27, 1, 0, 0, 0][..], &n.to_be_bytes(), &[0xCD; 30]].concat()
}

/// An AVC sequence header whose body names its encoder.
pub(crate) fn sequence_header(encoder: u8) -> Vec<u8> {
    vec![0x17, 0, 0, 0, 0, 1, 0x64, 0, encoder]
}

/// A media message a player got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) ts_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// One client connection.
pub(crate) struct Client {
    socket: TcpStream,
    session: ClientSession,
    /// Video messages so far.
    pub(crate) video: Vec<Got>,
    pub(crate) started: bool,
    /// Status codes and other words of the server.
    pub(crate) said: Vec<String>,
    /// The connection has ended.
    pub(crate) over: bool,
}

impl Client {
    fn connect(port: u16) -> Self {
        Self::connect_to(port, "live")
    }

    fn connect_to(port: u16, app: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut handshake = Handshake::new(PeerType::Client);
        socket.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 8192];
        let rest = loop {
            assert!(Instant::now() < deadline, "no handshake");
            let Ok(n) = socket.read(&mut buffer) else { continue };
            assert!(n > 0, "closed in the handshake");
            match handshake.process_bytes(&buffer[..n]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => socket.write_all(&response_bytes).unwrap(),
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    socket.write_all(&response_bytes).unwrap();
                    break remaining_bytes;
                }
            }
        };
        let (session, first) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut client = Self { socket, session, video: Vec::new(), started: false, said: Vec::new(), over: false };
        client.handle(first);
        let results = client.session.handle_input(&rest).unwrap();
        client.handle(results);
        let request = client.session.request_connection(app.to_owned()).unwrap();
        client.handle(vec![request]);
        client.wait("a connection", |client| client.said.iter().any(|word| word == "connected"));
        client
    }

    /// A publisher that has been let in.
    pub(crate) fn publish(port: u16, key: &str) -> Self {
        Self::publish_to(port, "live", key)
    }

    /// A publisher on an application of its own that has been let in.
    pub(crate) fn publish_to(port: u16, app: &str, key: &str) -> Self {
        let mut client = Self::connect_to(port, app);
        client.request_publishing(key);
        client.wait("Publish.Start", |client| client.started);
        client
    }

    /// A publisher that has asked and not read the answer.
    pub(crate) fn ask_to_publish(port: u16, key: &str) -> Self {
        let mut client = Self::connect(port);
        client.request_publishing(key);
        client
    }

    fn request_publishing(&mut self, key: &str) {
        let request = self.session.request_publishing(key.to_owned(), PublishRequestType::Live).unwrap();
        self.handle(vec![request]);
    }

    /// A player that has asked.
    pub(crate) fn ask_to_play(port: u16, key: &str) -> Self {
        let mut client = Self::connect(port);
        let request = client.session.request_playback(key.to_owned()).unwrap();
        client.handle(vec![request]);
        client
    }

    /// A player that has been let in.
    pub(crate) fn play(port: u16, key: &str) -> Self {
        let mut client = Self::ask_to_play(port, key);
        client.wait("Play.Start", |client| client.started);
        client
    }

    /// Ends its publishing and stays connected.
    pub(crate) fn stop_publishing(&mut self) {
        let results = self.session.stop_publishing().unwrap();
        self.handle(results);
    }

    /// Sends metadata that name an encoder.
    pub(crate) fn send_metadata(&mut self, encoder: &str) {
        let mut metadata = rml_rtmp::sessions::StreamMetadata::new();
        metadata.encoder = Some(encoder.to_owned());
        let result = self.session.publish_metadata(&metadata).unwrap();
        self.handle(vec![result]);
    }

    /// Sends one video message.
    pub(crate) fn send(&mut self, ts_ms: u32, body: Vec<u8>) {
        let packet = self.session.publish_video_data(body.into(), RtmpTimestamp::new(ts_ms), false).unwrap();
        self.handle(vec![packet]);
    }

    /// Reads the bytes that have come.
    pub(crate) fn read(&mut self) {
        let mut buffer = [0; 65536];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.over = true,
            Ok(n) => match self.session.handle_input(&buffer[..n]) {
                Ok(results) => self.handle(results),
                Err(error) => self.said.push(error.to_string()),
            },
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => self.over = true,
        }
    }

    /// Reads until `so` gives true.
    pub(crate) fn wait(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(Instant::now() < deadline, "in vain: {what}; heard {:?}, {} frames", self.said, self.video.len());
            assert!(!self.over, "closed while waiting for {what}; heard {:?}", self.said);
            self.read();
        }
    }

    /// Reads until the server has closed the connection.
    pub(crate) fn wait_over(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.over {
            assert!(Instant::now() < deadline, "the connection is still there; heard {:?}", self.said);
            self.read();
        }
    }

    fn handle(&mut self, results: Vec<ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    if self.socket.write_all(&packet.bytes).is_err() {
                        self.over = true;
                    }
                }
                ClientSessionResult::RaisedEvent(event) => self.hear(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    fn hear(&mut self, event: ClientSessionEvent) {
        match event {
            ClientSessionEvent::ConnectionRequestAccepted => self.said.push("connected".to_owned()),
            ClientSessionEvent::PublishRequestAccepted | ClientSessionEvent::PlaybackRequestAccepted => {
                self.started = true;
            }
            ClientSessionEvent::VideoDataReceived { timestamp, data } => {
                self.video.push(Got { ts_ms: timestamp.value, body: data.to_vec() });
            }
            other => self.said.push(format!("{other:?}")),
        }
    }
}
