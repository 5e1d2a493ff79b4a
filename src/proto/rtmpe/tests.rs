//! The handshakes of both roles against each other, cut at every place, and against peers that break them.

use super::*;

fn random(seed: u8) -> [u8; RANDOM_BYTES] {
    let mut state = u32::from(seed) + 1;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

const SWF: SwfId = SwfId { hash: [0x5a; 32], size: 123_456 };

/// Moves bytes between two sides, at most `cut` at a time, until both are done.
fn converse(client: &mut Handshake, server: &mut Handshake, cut: usize) -> Result<(Done, Done)> {
    let (mut ends, mut turns) = ([None, None], 0);
    while ends.iter().any(Option::is_none) {
        turns += 1;
        assert!(turns < 10_000, "they wait for each other");
        for (side, end) in ends.iter_mut().enumerate() {
            let (from, to) = if side == 0 { (&mut *server, &mut *client) } else { (&mut *client, &mut *server) };
            let bytes = from.output()[..from.output().len().min(cut)].to_vec();
            from.consumed(bytes.len());
            let mut at = 0;
            if !bytes.is_empty()
                && let Some(done) = to.feed(&bytes, &mut at)?
            {
                *end = Some(done);
            }
            assert_eq!(at, bytes.len());
        }
    }
    let [Some(client), Some(server)] = ends else { unreachable!("both are there") };
    Ok((client, server))
}

fn pair(options: Options, seed: u8) -> (Handshake, Handshake) {
    (Handshake::client(options, 1, &random(seed)), Handshake::server(Some(SWF), 2, &random(seed ^ 0xff)))
}

fn assert_ciphers_fit(client: &mut Done, server: &mut Done) {
    let (client, server) = (client.ciphers.as_mut().unwrap(), server.ciphers.as_mut().unwrap());
    for (write, read) in [(&mut client.write, &mut server.read), (&mut server.write, &mut client.read)] {
        let mut bytes = *b"from one side to the other";
        write.apply(&mut bytes);
        assert_ne!(&bytes, b"from one side to the other");
        read.apply(&mut bytes);
        assert_eq!(&bytes, b"from one side to the other");
    }
}

#[test]
fn a_plain_handshake_echoes() {
    let (mut client, mut server) = pair(Options::default(), 1);
    assert_eq!(client.output().len(), 1537);
    assert_eq!(&client.output()[..9], [&[3, 0, 0, 0, 1, 0, 0, 0, 0][..]].concat());
    let (c, s) = converse(&mut client, &mut server, 4096).unwrap();
    for done in [&c, &s] {
        assert!(done.echo_matches && done.ciphers.is_none() && done.swf_response.is_none());
        assert_eq!((done.kind, done.signed), (3, Signed::Plain));
    }
}

#[test]
fn a_signed_handshake_is_valid_on_both_sides_and_gives_the_same_player_answer() {
    let (mut client, mut server) = pair(Options { swf: Some(SWF), ..Options::default() }, 2);
    let (c, s) = converse(&mut client, &mut server, 4096).unwrap();
    assert_eq!((c.kind, c.signed, c.peer_version), (3, Signed::Valid, SERVER_VERSION));
    assert_eq!((s.kind, s.signed, s.peer_version), (3, Signed::Valid, CLIENT_VERSION));
    assert!(c.ciphers.is_none() && s.ciphers.is_none());
    let response = c.swf_response.unwrap();
    assert_eq!(response, s.swf_response.unwrap());
    assert_eq!(&response[..10], [1, 1, 0, 1, 0xe2, 0x40, 0, 1, 0xe2, 0x40]);
}

#[test]
fn encrypted_handshakes_of_all_types_agree_on_keys() {
    for (seed, kind) in [(3, None), (4, Some(6)), (5, Some(8)), (6, Some(9))] {
        let (mut client, mut server) = pair(Options { encrypted: true, ..Options::default() }, seed);
        server.answer_kind = kind;
        let (mut c, mut s) = converse(&mut client, &mut server, 4096).unwrap();
        let kind = kind.unwrap_or(8); // a client of version 128 gets type 8
        assert_eq!((c.kind, s.kind), (kind, kind));
        assert_eq!((c.signed, s.signed), (Signed::Valid, Signed::Valid));
        assert_ciphers_fit(&mut c, &mut s);
    }
}

#[test]
fn cuts_change_nothing() {
    for cut in [1, 2, 1535, 1536, 1537, 1538] {
        let (mut client, mut server) = pair(Options { encrypted: true, ..Options::default() }, 7);
        let (mut c, mut s) = converse(&mut client, &mut server, cut).unwrap();
        assert_ciphers_fit(&mut c, &mut s);
    }
}

#[test]
fn the_handshake_takes_no_byte_behind_it_and_wants_exactly_what_it_needs() {
    let (mut client, mut server) = pair(Options::default(), 8);
    assert_eq!(server.want(), 1537);
    let mut at = 0;
    let first = client.output().to_vec();
    assert!(server.feed(&first, &mut at).unwrap().is_none());
    assert_eq!(server.want(), 1536);
    let mut rest = server.output()[1..1537].to_vec();
    rest.extend_from_slice(b"chunk");
    let mut at = 0;
    assert!(server.feed(&rest, &mut at).unwrap().is_some());
    assert_eq!((at, server.want()), (1536, 0));
    assert_eq!(server.feed(b"more", &mut 0).unwrap_err().kind, RRError::State);
    client.consumed(usize::MAX);
    assert!(client.output().is_empty());
}

#[test]
fn a_client_with_a_version_that_never_signs_is_served_and_marked() {
    let mut server = Handshake::server(None, 0, &random(9));
    let mut hello = vec![3];
    hello.extend_from_slice(&[0, 0, 0, 0, 9, 0, 124, 2]);
    hello.extend_from_slice(&[0x77; 1528]);
    server.feed(&hello, &mut 0).unwrap();
    assert_eq!(server.output()[5..9], NO_VERSION, "such a client must not be made to look for a signature");
    assert_eq!(&server.output()[1537..], &hello[1..], "it gets its echo");
    let done = server.feed(&[0; 1536], &mut 0).unwrap().unwrap();
    assert_eq!((done.signed, done.peer_version), (Signed::Invalid, [9, 0, 124, 2]));
}

#[test]
fn a_server_without_signatures_makes_an_encrypting_client_plain() {
    let mut client = Handshake::client(Options { encrypted: true, swf: Some(SWF), signed: true }, 0, &random(10));
    client.consumed(1537);
    let mut answer = vec![3];
    answer.extend_from_slice(&[0; 1536]);
    client.feed(&answer, &mut 0).unwrap();
    assert_eq!(client.output(), [0; 1536]);
    let done = client.feed(&[1; 1536], &mut 0).unwrap().unwrap();
    assert!(done.ciphers.is_none() && done.swf_response.is_none() && !done.echo_matches);
    assert_eq!((done.kind, done.signed), (3, Signed::Plain));
}

#[test]
fn an_unknown_type_and_an_encrypted_handshake_without_a_right_signature_are_refused() {
    let fails = |bytes: &[u8], side: &mut Handshake| {
        let failure = side.feed(bytes, &mut 0).unwrap_err();
        assert_eq!((failure.kind, failure.by_peer), (RRError::Handshake, true));
        assert_eq!(side.feed(bytes, &mut 0).unwrap_err().kind, RRError::State);
    };
    for kind in [0, 1, 4, 5, 7, 9, b'G', 255] {
        fails(&[kind], &mut Handshake::server(None, 0, &random(11)));
    }
    for kind in [6, 8] {
        let mut hello = vec![kind];
        hello.extend_from_slice(&[128; 1536]);
        fails(&hello, &mut Handshake::server(None, 0, &random(12)));
        fails(&hello, &mut Handshake::client(Options { encrypted: true, ..Options::default() }, 0, &random(13)));
    }
    let (mut client, mut server) = pair(Options { encrypted: true, ..Options::default() }, 14);
    server.feed(client.output(), &mut 0).unwrap();
    let mut answer = server.output().to_vec();
    *answer.last_mut().unwrap() ^= 1;
    fails(&answer, &mut client);
    fails(&[0; 1536], &mut server);
}

#[test]
fn a_key_that_gives_the_secret_away_is_refused() {
    let (client, mut server) = pair(Options { encrypted: true, ..Options::default() }, 15);
    let mut hello = *client.ours;
    for weak in [[0; KEY_BYTES], [0xff; KEY_BYTES]] {
        let at = Scheme::KeyFirst.key_at(&hello);
        hello[at..at + KEY_BYTES].copy_from_slice(&weak);
        Scheme::KeyFirst.sign(&mut hello, CLIENT_NAME);
        let bytes = [&[6][..], &hello].concat();
        assert!(server.feed(&bytes, &mut 0).unwrap_err().text.contains("Diffie-Hellman"));
        server = Handshake::server(None, 0, &random(16));
    }
}

#[test]
fn no_bytes_make_either_side_panic() {
    for seed in 0..40 {
        let noise = random(seed);
        let mut hello = vec![[3, 6, 8, 9][usize::from(seed % 4)]];
        hello.extend_from_slice(&noise[..1536]);
        hello.extend_from_slice(&noise[..1536]);
        for encrypted in [false, true] {
            let options = Options { encrypted, signed: seed % 2 == 0, swf: None };
            let _ = Handshake::client(options, 0, &random(seed ^ 1)).feed(&hello, &mut 0);
        }
        let _ = Handshake::server(None, 0, &random(seed ^ 2)).feed(&hello, &mut 0);
    }
}
