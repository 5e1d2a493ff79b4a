//! Players by WebSocket over TLS, with a client that is not ours: tungstenite over rustls.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::http::{Way, tags};
use super::raw::{PATIENCE, VIDEO, last_player, picture};
use super::secure::Papers;
use super::{Show, TARGET};
use rrelay::server::ListenOptions;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A WebSocket to a server whose certificate is verified; or the status of its refusal.
fn connected(port: u16, papers: &Papers, target: &str) -> Result<WebSocket<Tls>, u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&papers.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let tls = StreamOwned::new(ClientConnection::new(config, name).unwrap(), socket);
    match tungstenite::client(format!("wss://127.0.0.1:{port}{target}"), tls) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_player_by_websocket_over_tls_gets_what_one_without_gets_and_its_pings_are_answered() {
    let papers = Papers::new("wss");
    let show = Show::new();
    show.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let options = ListenOptions { http: true, tls: true, ..ListenOptions::default() };
    let port = show.server.listen("127.0.0.1:0", options).unwrap();
    assert_eq!(connected(port, &papers, "/live/show.png").err(), Some(404));
    let mut plain = show.player(Way::WebSocket, TARGET, 1);
    show.headers();
    // The answer comes with the first picture.
    show.write(VIDEO, 0, &picture(true, 0, 30_000));
    let mut secure = connected(port, &papers, TARGET).unwrap();
    let session = last_player(&show.server, show.id, 2);
    assert!(show.server.info(session).unwrap().tls);
    for n in 1..30 {
        show.write(VIDEO, n * 40, &picture(n % 10 == 0, n, 30_000));
    }
    secure.send(Message::Ping(vec![7; 125].into())).unwrap();
    let (mut flv, mut is_answered, mut is_ended) = (Vec::new(), false, false);
    while !is_ended {
        match secure.read().unwrap() {
            Message::Binary(bytes) => flv.extend_from_slice(&bytes),
            Message::Pong(bytes) => {
                assert_eq!(bytes[..], [7; 125]);
                is_answered = true;
                show.end();
            }
            Message::Close(_) => is_ended = true,
            other => panic!("{other:?}"),
        }
    }
    let expected = plain.rest();
    assert!(expected.len() > 30 && is_answered);
    assert_eq!(flv[..13], plain.file_header.unwrap()[..]);
    assert!(tags(&flv[13..]) == expected, "byte for byte");
}
