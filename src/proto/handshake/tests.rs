//! Tests of the handshake, between our two roles and against a plain client.

use super::*;

/// Runs the handshake of a client and a server, each fed in pieces of `piece` bytes, with `extra` after the client's
/// part.
fn shake(piece: usize, extra: &[u8]) -> Vec<u8> {
    let (mut client, mut server) = (Handshake::client(), Handshake::server());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.start(&mut to_server).unwrap();
    let (mut server_at, mut client_at) = (0, 0);
    let (mut server_done, mut client_done) = (false, false);
    while !(server_done && client_done) {
        let before = (server_at, client_at, to_server.len(), to_client.len());
        let end = to_server.len().min(server_at + piece);
        server_done = server.feed(&to_server[..end], &mut server_at, &mut to_client).unwrap();
        let end = to_client.len().min(client_at + piece);
        if !client_done && client.feed(&to_client[..end], &mut client_at, &mut to_server).unwrap() {
            client_done = true;
            to_server.extend_from_slice(extra);
        }
        assert_ne!(before, (server_at, client_at, to_server.len(), to_client.len()), "no progress");
    }
    assert_eq!((server_at, client_at, to_client.len()), (HANDSHAKE_BYTES, HANDSHAKE_BYTES, HANDSHAKE_BYTES));
    assert!(server.inner.is_none() && client.inner.is_none(), "nothing is held after the end");
    assert!(server.feed(&to_server, &mut server_at, &mut to_client).unwrap());
    to_server.split_off(server_at)
}

#[test]
fn our_two_roles_complete_whatever_the_pieces_and_leave_what_follows() {
    for piece in [1, 2, 7, 1535, 1536, 1537, 1538, 3072, 3073, 3074, 10_000] {
        assert_eq!(shake(piece, b"chunks"), b"chunks", "pieces of {piece}");
    }
    assert_eq!(shake(10_000, &[]), [0; 0]);
}

#[test]
fn a_digest_client_gets_a_signed_answer_and_a_plain_one_its_own_packet() {
    let mut packet: Vec<u8> = (0..1536).map(|i| (i * 7 % 251) as u8).collect();
    packet[4..8].fill(0); // version 0: the plain handshake
    let mut c0c1 = vec![3];
    c0c1.extend_from_slice(&packet);
    let mut server = Handshake::server();
    let (mut at, mut out) = (0, Vec::new());
    assert!(!server.feed(&c0c1, &mut at, &mut out).unwrap());
    assert_eq!((at, out.len(), out[0]), (1537, HANDSHAKE_BYTES, 3));
    assert_eq!(out[1537..], packet[..], "packet 2 is an echo");
    // A plain client sends our packet 1 back.
    let echo = out[1..1537].to_vec();
    let mut at = 0;
    assert!(server.feed(&echo, &mut at, &mut out).unwrap());
    assert_eq!((at, out.len()), (1536, HANDSHAKE_BYTES));

    let (mut client, mut server) = (Handshake::client(), Handshake::server());
    let (mut c0c1, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    client.start(&mut c0c1).unwrap();
    server.feed(&c0c1, &mut at, &mut out).unwrap();
    assert_ne!(out[1537..], c0c1[1..], "a digest packet is answered with a signature");
}

#[test]
fn another_version_is_refused_without_an_answer() {
    for version in [0, 6, b'G', 0x16] {
        let mut server = Handshake::server();
        let (mut at, mut out) = (0, Vec::new());
        let failure = server.feed(&[version, 3, 3], &mut at, &mut out).unwrap_err();
        assert_eq!((failure.kind, failure.by_peer), (RRError::Handshake, true));
        assert!(out.is_empty());
        assert!(server.feed(&[3], &mut at, &mut out).is_err(), "an error is final");
    }
}

#[test]
fn no_input_is_no_progress() {
    let (mut at, mut out) = (0, Vec::new());
    assert!(!Handshake::server().feed(&[], &mut at, &mut out).unwrap());
    assert!(out.is_empty());
}
