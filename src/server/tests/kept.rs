//! A message for which the log has no room stops the reading and is stored once, by its connection, which is charged
//! for it.

use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;

use crate::fuzzing::{conversation, seeds};
use crate::net::conn::{Conn, Pumped, Side};
use crate::net::socket::Socket;
use crate::proto::amf0::Value;
use crate::proto::chunk_write;
use crate::proto::command::build;
use crate::proto::message::{MessageHead, kind};
use crate::session::{Event as Said, Inbound, ServerSession, SessionConfig};

fn wire(type_id: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    let mut wire = Vec::new();
    chunk_write::encode(
        &MessageHead { timestamp_ms: 0, type_id, stream_id: 1, len, chunk_stream: 3 },
        body,
        128,
        &mut wire,
    );
    wire
}

#[test]
fn its_connection_has_its_body_until_more_is_read() {
    let mut session = ServerSession::new(&SessionConfig::default(), 0);
    let hello = conversation(&seeds::server_conversations()[0]);
    assert_eq!(session.next(&hello, &mut 0, 0).unwrap(), Some(Said::Connect));
    session.accept_connect(0);
    let mut publish = Vec::new();
    build::call(&mut publish, "publish", 0.0, &[Value::Null, Value::String(b"show")]);
    assert!(matches!(session.next(&wire(kind::COMMAND, &publish), &mut 0, 0), Ok(Some(Said::Publish { .. }))));
    session.accept_publish(1, 0);
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let mut conn = Conn::new(Socket::adopt_connected(ours.into()).unwrap(), Side::Server(Box::new(session)));
    let mut scratch = vec![0; 64 * 1024];
    for len in [60, 100_000] {
        let body = vec![0x17; len];
        peer.write_all(&[wire(kind::VIDEO, &body), wire(kind::VIDEO, &[1])].concat()).unwrap();
        let mut pump =
            |conn: &mut Conn| conn.pump(&mut scratch, 0, 1 << 20, true, |event, _| ControlFlow::Break(event));
        assert!(matches!(pump(&mut conn), Ok(Pumped::Event(Said::Message(_)))));
        assert_eq!(conn.body(), body);
        let held = conn.heap_bytes();
        assert!((len..2 * len + 64 * 1024).contains(&held), "{held}");
        assert!(matches!(pump(&mut conn), Ok(Pumped::Event(Said::Message(_)))));
        assert_eq!(conn.body(), [1]);
    }
}
