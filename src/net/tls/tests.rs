//! TLS of both sides in memory, with certificates made here: which peers are accepted, which errors are reported, and
//! that neither cuts nor a blocked transport lose a byte.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};
use rustls::HandshakeKind;
use sha2::{Digest, Sha256};

use super::*;

/// A folder of certificates: a root, and servers' certificates by name.
struct Papers {
    folder: PathBuf,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rrelay-tls-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "root of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("root.pem"), root.pem()).unwrap();
        Self { folder, root }
    }

    /// A certificate for `host`, changed as wanted; returns the server that shows it and the pin of its key.
    fn server(
        &self,
        host: &str,
        self_signed: bool,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (ServerConfig, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut params);
        let certificate =
            if self_signed { params.self_signed(&key).unwrap() } else { params.signed_by(&key, &self.root).unwrap() };
        let (chain, private) = (self.folder.join(format!("{host}.pem")), self.folder.join(format!("{host}.key")));
        std::fs::write(&chain, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        let pin = Sha256::digest(key.subject_public_key_info()).iter().map(|byte| format!("{byte:02x}")).collect();
        (ServerConfig::from_pem(&chain, &private).unwrap(), pin)
    }

    fn trust(&self) -> Trust {
        Trust { ca_file: Some(self.folder.join("root.pem")), ..Trust::default() }
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The bytes on their way in one direction; at most `room` fit.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    closed: bool,
}

/// A transport that never blocks: takes and gives little at a time.
struct End<'a> {
    incoming: &'a mut Pipe,
    outgoing: &'a mut Pipe,
    room: usize,
}

impl Read for End<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.bytes.is_empty() && !self.incoming.closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.room);
        self.incoming.bytes.read(&mut buffer[..length])
    }
}

impl Write for End<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room.saturating_sub(self.outgoing.bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outgoing.bytes.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client and a server with two pipes between them.
struct Pair {
    client: TlsStream,
    server: TlsStream,
    up: Pipe,
    down: Pipe,
    room: usize,
}

impl Pair {
    fn new(trust: &Trust, server: &ServerConfig, host: &str, room: usize) -> Self {
        let client = TlsStream::client(&ClientConfig::new(trust).unwrap(), host).unwrap();
        Self { client, server: TlsStream::server(server).unwrap(), up: Pipe::default(), down: Pipe::default(), room }
    }

    fn client<R>(&mut self, act: impl FnOnce(&mut TlsStream, &mut End<'_>) -> R) -> R {
        let mut end = End { incoming: &mut self.down, outgoing: &mut self.up, room: self.room };
        act(&mut self.client, &mut end)
    }

    fn server<R>(&mut self, act: impl FnOnce(&mut TlsStream, &mut End<'_>) -> R) -> R {
        let mut end = End { incoming: &mut self.up, outgoing: &mut self.down, room: self.room };
        act(&mut self.server, &mut end)
    }

    /// Both sides' ends of the handshake.
    fn shake(&mut self) -> (io::Result<()>, io::Result<()>) {
        let waits =
            |result: &io::Result<()>| result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        for _ in 0..100_000 {
            let client = self.client(|tls, end| tls.handshake(end));
            let server = self.server(|tls, end| tls.handshake(end));
            if !waits(&client) && (!waits(&server) || client.is_err()) {
                let server = if client.is_err() { self.server(|tls, end| tls.handshake(end)) } else { server };
                return (client, server);
            }
        }
        panic!("the handshake does not end")
    }

    /// Sends all from one side to the other, as far as the pipe's room lets it, step by step.
    fn carry(&mut self, from_client: bool, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut got, mut buffer) = (0, Vec::new(), [0; 777]);
        for _ in 0..1_000_000 {
            if got.len() == bytes.len() {
                return got;
            }
            let rest = &bytes[sent..];
            let written = if from_client {
                self.client(|tls, end| if rest.is_empty() { tls.flush(end).map(|_| 0) } else { tls.write(end, rest) })
            } else {
                self.server(|tls, end| if rest.is_empty() { tls.flush(end).map(|_| 0) } else { tls.write(end, rest) })
            };
            match written {
                Ok(n) => sent += n,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            let read = if from_client {
                self.server(|tls, end| tls.read(end, &mut buffer))
            } else {
                self.client(|tls, end| tls.read(end, &mut buffer))
            };
            match read {
                Ok(n) => got.extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        panic!("bytes got lost")
    }
}

fn refusal(trust: &Trust, server: &ServerConfig, host: &str) -> Failure {
    let (client, server) = Pair::new(trust, server, host, usize::MAX).shake();
    assert!(server.is_err(), "the server hears of it");
    failure(&client.unwrap_err(), "handshake")
}

#[test]
fn a_trusted_certificate_for_the_right_name_is_accepted_and_bytes_arrive_however_they_are_cut() {
    let papers = Papers::new("good");
    let (server, _) = papers.server("good.test", false, |_| {});
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at / 7) as u8).collect();
    for room in [1_000, 17, usize::MAX] {
        let mut pair = Pair::new(&papers.trust(), &server, "good.test", room);
        let (client, server) = pair.shake();
        client.unwrap();
        server.unwrap();
        let bytes = if room == 17 { &bytes[..20_000] } else { &bytes[..] };
        assert_eq!(pair.carry(true, bytes), bytes);
        assert_eq!(pair.carry(false, bytes), bytes);
    }
}

#[test]
fn an_address_is_a_name_too() {
    let papers = Papers::new("ip");
    let (server, _) = papers.server("127.0.0.1", false, |_| {});
    Pair::new(&papers.trust(), &server, "127.0.0.1", usize::MAX).shake().0.unwrap();
    let config = ClientConfig::new(&papers.trust()).unwrap();
    TlsStream::client(&config, "[::1]").unwrap();
    TlsStream::client(&config, "trailing.dot.").unwrap();
    assert_eq!(TlsStream::client(&config, "no name").unwrap_err().kind, RRError::Arg);
    assert_eq!(TlsStream::client(&config, "").unwrap_err().kind, RRError::Arg);
}

#[test]
fn a_certificate_that_is_not_right_is_refused_with_the_reason() {
    let papers = Papers::new("bad");
    let (other, _) = papers.server("other.test", false, |_| {});
    let (expired, _) = papers.server("old.test", false, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let (future, _) = papers.server("new.test", false, |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params.not_after = rcgen::date_time_ymd(4001, 1, 1);
    });
    let (own, _) = papers.server("own.test", true, |_| {});
    let (authority, _) = papers.server("ca.test", true, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let failure = refusal(&papers.trust(), &authority, "ca.test");
    let reason = "the certificate was not accepted: it is marked as an authority's and not as a server's (CA:TRUE); name \
                  the certificate itself as ca_file or pin its key by pin_sha256 to trust it, or have one with CA:FALSE";
    assert_eq!((failure.kind, failure.to_string().as_str()), (RRError::Cert, reason));
    for (server, host, reason) in [
        (&other, "good.test", "not for good.test but for"),
        (&expired, "old.test", "has expired"),
        (&future, "new.test", "not valid yet"),
        (&own, "own.test", "issuer is not trusted"),
    ] {
        let failure = refusal(&papers.trust(), server, host);
        assert_eq!((failure.kind, failure.by_peer), (RRError::Cert, true), "{failure}");
        assert!(failure.text.contains(reason), "{failure}");
    }
    let (good, _) = papers.server("good.test", false, |_| {});
    assert!(Pair::new(&papers.trust(), &good, "good.test", usize::MAX).shake().0.is_ok());
}

/// What `openssl req -x509` makes, by default, is marked as an authority's.
#[test]
fn the_usual_self_signed_certificate_is_trusted_where_it_is_named_or_pinned() {
    let papers = Papers::new("usual");
    let usual = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (own, pin) = papers.server("own.test", true, usual);
    let (twin, _) = papers.server("twin.test", true, usual);
    let (old, old_pin) = papers.server("old.test", true, |params| {
        usual(params);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let named = |name: &str| Trust { ca_file: Some(papers.folder.join(name)), ..Trust::default() };
    let pinned = |pin: &str, trust: Trust| Trust { pin_sha256: Some(pin.to_owned()), ..trust };
    for trust in [named("own.test.pem"), pinned(&pin, Trust::default()), pinned(&pin, named("own.test.pem"))] {
        Pair::new(&trust, &own, "own.test", usize::MAX).shake().0.unwrap();
    }
    for (trust, server, host, reason) in [
        (named("own.test.pem"), &own, "other.test", "not for other.test but for"),
        (named("own.test.pem"), &twin, "twin.test", "marked as an authority's"),
        (named("old.test.pem"), &old, "old.test", "has expired"),
        (pinned(&old_pin, named("own.test.pem")), &own, "own.test", "pinned"),
        (pinned(&pin, named("twin.test.pem")), &own, "own.test", "marked as an authority's"),
        (papers.trust(), &own, "own.test", "marked as an authority's"),
    ] {
        let failure = refusal(&trust, server, host);
        assert!(failure.kind == RRError::Cert && failure.text.contains(reason), "{failure}");
    }
}

#[test]
fn the_system_does_not_trust_our_root() {
    let papers = Papers::new("system");
    let (good, _) = papers.server("good.test", false, |_| {});
    let failure = match ClientConfig::new(&Trust::default()) {
        Ok(_) => refusal(&Trust::default(), &good, "good.test"),
        Err(failure) => failure, // a system without roots says so
    };
    assert_eq!(failure.kind, RRError::Cert);
}

#[test]
fn a_pinned_key_is_trusted_whoever_signed_it_and_no_other_is() {
    let papers = Papers::new("pin");
    let (own, pin) = papers.server("own.test", true, |_| {});
    let (good, good_pin) = papers.server("good.test", false, |_| {});
    let pinned = |pin: &str| Trust { pin_sha256: Some(pin.to_owned()), ..Trust::default() };
    let both = |pin: &str| Trust { pin_sha256: Some(pin.to_owned()), ..papers.trust() };
    Pair::new(&pinned(&pin), &own, "any.test", usize::MAX).shake().0.unwrap();
    Pair::new(&both(&good_pin), &good, "good.test", usize::MAX).shake().0.unwrap();
    for (trust, server, host, reason) in [
        (pinned(&good_pin), &own, "own.test", "pinned"),
        (both(&pin), &good, "good.test", "pinned"),
        (both(&pin), &own, "own.test", "not trusted"),
        (both(&good_pin), &good, "wrong.test", "not for wrong.test"),
    ] {
        let failure = refusal(&trust, server, host);
        assert!(failure.kind == RRError::Cert && failure.text.contains(reason), "{failure}");
    }
}

#[test]
fn the_switch_for_insecure_accepts_anything() {
    let papers = Papers::new("insecure");
    let (own, _) = papers.server("own.test", true, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let trust = Trust { insecure: true, ..papers.trust() };
    let mut pair = Pair::new(&trust, &own, "whatever.test", usize::MAX);
    pair.shake().0.unwrap();
    assert_eq!(pair.carry(true, b"hello"), b"hello");
}

#[test]
fn session_tickets_are_no_data_and_no_error() {
    let papers = Papers::new("tickets");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut pair = Pair::new(&papers.trust(), &server.with_tls13_tickets(), "good.test", usize::MAX);
    let (client, shaken) = pair.shake();
    client.unwrap();
    shaken.unwrap();
    assert!(!pair.down.bytes.is_empty(), "the tickets are on their way, and nothing else");
    let mut buffer = [0; 100];
    let error = pair.client(|tls, end| tls.read(end, &mut buffer)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(pair.down.bytes.is_empty());
    assert_eq!(pair.carry(false, b"data"), b"data");
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.shake().0.unwrap();
    assert!(pair.down.bytes.is_empty(), "a server of RTMP sends none");
}

/// Settings of a client that speaks one version of TLS, as other programs have them.
fn client_of(version: &'static rustls::SupportedProtocolVersion, papers: &Papers) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(papers.root.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// How the handshake of a client with `config` went; the client has read what the server sent behind it.
fn handshake_of(config: &Arc<rustls::ClientConfig>, server: &ServerConfig) -> HandshakeKind {
    let name = ServerName::try_from("good.test").unwrap();
    let client = TlsStream::new(ClientConnection::new(Arc::clone(config), name).unwrap().into());
    let server = TlsStream::server(server).unwrap();
    let mut pair = Pair { client, server, up: Pipe::default(), down: Pipe::default(), room: usize::MAX };
    pair.shake().0.unwrap();
    assert_eq!(pair.carry(false, b"media"), b"media");
    pair.server.tls.handshake_kind().unwrap()
}

#[test]
fn a_client_that_comes_back_with_a_ticket_resumes_its_session() {
    let papers = Papers::new("resumes");
    let (rtmp, _) = papers.server("good.test", false, |_| {});
    let http = rtmp.with_tls13_tickets();
    for (version, server) in
        [(&rustls::version::TLS12, &rtmp), (&rustls::version::TLS12, &http), (&rustls::version::TLS13, &http)]
    {
        let client = client_of(version, &papers);
        let kinds = [(); 3].map(|()| handshake_of(&client, server));
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed], "{version:?}");
    }
    // A server whose certificate was read anew has other keys: it takes the ticket for none.
    let client = client_of(&rustls::version::TLS12, &papers);
    assert_eq!(handshake_of(&client, &rtmp), HandshakeKind::Full);
    let (other, _) = papers.server("good.test", false, |_| {});
    assert_eq!([(); 2].map(|()| handshake_of(&client, &other)), [HandshakeKind::Full, HandshakeKind::Resumed]);
}

/// A server that kept sessions would have to forget the first of so many.
#[test]
fn a_session_is_resumed_however_many_came_after_it() {
    let papers = Papers::new("many-sessions");
    let (server, _) = papers.server("good.test", false, |_| {});
    let first = client_of(&rustls::version::TLS12, &papers);
    assert_eq!(handshake_of(&first, &server), HandshakeKind::Full);
    for _ in 0..260 {
        handshake_of(&client_of(&rustls::version::TLS12, &papers), &server);
    }
    assert_eq!(handshake_of(&first, &server), HandshakeKind::Resumed);
}

#[test]
fn the_ciphertext_that_is_held_is_bounded() {
    let papers = Papers::new("bound");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.shake().0.unwrap();
    pair.up.bytes.clear();
    pair.room = 10; // from now on the transport takes 10 bytes and no more
    let bytes = vec![0; 1 << 20];
    let taken = pair.client(|tls, end| tls.write(end, &bytes)).unwrap();
    assert!(taken > 0 && taken <= HELD_BYTES, "{taken}");
    for _ in 0..3 {
        let error = pair.client(|tls, end| tls.write(end, &bytes)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    assert!(!pair.client(|tls, end| tls.flush(end)).unwrap());
}

/// Takes all it is given, and keeps what each call has brought.
#[derive(Default)]
struct Calls(Vec<Vec<u8>>);

impl Read for Calls {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Calls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.push(parts.iter().flat_map(|part| part.iter().copied()).collect());
        Ok(self.0.last().map_or(0, Vec::len))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much plaintext is in each record.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut records = Vec::new();
    while let [23, 3, 3, high, low, ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        records.push(len - 17); // without the type within and the tag
        bytes = &bytes[5 + len..];
    }
    assert!(bytes.is_empty(), "records of data and nothing else");
    records
}

#[test]
fn bytes_are_one_record_up_to_16_kib_and_leave_by_one_call() {
    let papers = Papers::new("records");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.shake().0.unwrap();
    const FULL: usize = 1 << 14;
    for (len, expected) in [
        (1, vec![1]),
        (FULL, vec![FULL]),
        (FULL + 1, vec![FULL, 1]),
        (60_000, vec![FULL, FULL, FULL, 60_000 - 3 * FULL]),
        (4 * FULL, vec![FULL; 4]),
    ] {
        let bytes = vec![7; len];
        let mut calls = Calls::default();
        assert_eq!(pair.server.write(&mut calls, &bytes).unwrap(), len);
        assert_eq!((calls.0.len(), records(&calls.0.concat())), (1, expected.clone()));
        // Places in memory do not show in records.
        let (one, other) = bytes.split_at(len / 3);
        let mut calls = Calls::default();
        let written = pair.server.write_vectored(&mut calls, &mut [IoSlice::new(one), IoSlice::new(other)]).unwrap();
        assert_eq!(written, len);
        assert_eq!((calls.0.len(), records(&calls.0.concat())), (1, expected));
    }
}

#[test]
fn a_good_bye_and_a_cut_both_end_the_stream_after_its_last_bytes() {
    let papers = Papers::new("bye");
    let (server, _) = papers.server("good.test", false, |_| {});
    for polite in [true, false] {
        let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
        pair.shake().0.unwrap();
        pair.client(|tls, end| tls.write(end, b"last")).unwrap();
        if polite {
            pair.client(|tls, end| tls.close(end));
        }
        pair.up.closed = true;
        let mut buffer = [0; 100];
        assert_eq!(pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap(), 4);
        for _ in 0..2 {
            assert_eq!(pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap(), 0, "{polite}");
        }
    }
}

#[test]
fn a_peer_that_does_not_speak_tls_or_leaves_is_an_error_each_time_it_is_asked() {
    let papers = Papers::new("noise");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut buffer = [0; 100];
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.up.bytes.extend([3; 1537]); // RTMP on a TLS port
    for _ in 0..2 {
        let error = pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap_err();
        assert_eq!(failure(&error, "read").kind, RRError::Tls);
    }
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.down.closed = true;
    for _ in 0..2 {
        let error = pair.client(|tls, end| tls.read(end, &mut buffer)).unwrap_err();
        assert_eq!(failure(&error, "read").kind, RRError::Closed);
    }
    assert_eq!(failure(&io::ErrorKind::TimedOut.into(), "connect").kind, RRError::Timeout);
    assert_eq!(failure(&io::ErrorKind::ConnectionReset.into(), "read").kind, RRError::Io);
}

#[test]
fn plaintext_that_waits_to_be_read_is_counted() {
    let papers = Papers::new("buffered");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.shake().0.unwrap();
    pair.client(|tls, end| tls.write(end, b"0123456789")).unwrap();
    assert_eq!(pair.server.buffered(), 0);
    let mut buffer = [0; 4];
    assert_eq!(pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap(), 4);
    assert_eq!(pair.server.buffered(), 6);
}

#[test]
fn the_memory_it_holds_follows_what_waits_in_both_directions() {
    let papers = Papers::new("memory");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    pair.shake().0.unwrap();
    let idle = IDLE_BYTES..IDLE_BYTES + 4096;
    assert!(idle.contains(&pair.server.heap_bytes()), "{}", pair.server.heap_bytes());
    // Outgoing: ciphertext that the transport does not take.
    pair.room = 1_000;
    pair.down.bytes.clear();
    let written = pair.server(|tls, end| tls.write(end, &[7; 40_000])).unwrap();
    let held = pair.server.heap_bytes() - IDLE_BYTES;
    assert!((written - 1_000..written + 4_096).contains(&held), "{held} of {written} bytes");
    pair.room = usize::MAX;
    assert!(pair.server(|tls, end| tls.flush(end)).unwrap());
    assert!(idle.contains(&pair.server.heap_bytes()));
    // Incoming: a half-received record, and the rest of a whole one that was not read.
    let mut buffer = vec![0; 10_000];
    pair.client(|tls, end| tls.write(end, &[7; 16_000])).unwrap();
    let rest = pair.up.bytes.split_off(9_000);
    let waits = pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap_err();
    assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
    assert!(pair.server.heap_bytes() >= IDLE_BYTES + 9_000);
    pair.up.bytes.extend(rest);
    assert_eq!(pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap(), 10_000);
    assert!(pair.server.heap_bytes() >= IDLE_BYTES + 6_000);
    assert_eq!(pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap(), 6_000);
    pair.client(|tls, end| tls.write(end, &[7; 10])).unwrap();
    assert_eq!(pair.server(|tls, end| tls.read(end, &mut buffer)).unwrap(), 10);
    assert!(idle.contains(&pair.server.heap_bytes()), "{}", pair.server.heap_bytes());
}

#[test]
fn bytes_read_before_the_session_come_first() {
    let papers = Papers::new("before");
    let (server, _) = papers.server("good.test", false, |_| {});
    let mut pair = Pair::new(&papers.trust(), &server, "good.test", usize::MAX);
    let waits = pair.client(|tls, end| tls.handshake(end)).unwrap_err();
    assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
    let hello: Vec<u8> = pair.up.bytes.drain(..).collect();
    let (read, unread) = hello.split_at(100);
    pair.server.put_back(read).unwrap();
    pair.up.bytes.extend(unread);
    pair.shake().0.unwrap();
    assert_eq!(pair.carry(true, b"hello"), b"hello");
    let mut other = TlsStream::server(&server).unwrap();
    assert_eq!(other.put_back(b"GET / HTTP/1.0\r\n\r\n").unwrap_err().kind, RRError::Tls);
}

#[test]
fn files_that_are_not_there_or_not_right_are_named() {
    let papers = Papers::new("files");
    let (_, _) = papers.server("good.test", false, |_| {});
    let (_, _) = papers.server("other.test", false, |_| {});
    let path = |name: &str| papers.folder.join(name);
    std::fs::write(path("empty.pem"), "nothing here").unwrap();
    for (chain, key, named) in [
        ("missing.pem", "good.test.key", "missing.pem"),
        ("empty.pem", "good.test.key", "empty.pem"),
        ("good.test.pem", "empty.pem", "empty.pem"),
        ("good.test.pem", "other.test.key", "good.test.pem"),
    ] {
        let failure = ServerConfig::from_pem(&path(chain), &path(key)).unwrap_err();
        assert!(failure.kind == RRError::Cert && failure.text.contains(named), "{failure}");
    }
    for file in ["missing.pem", "empty.pem"] {
        let trust = Trust { ca_file: Some(path(file)), ..Trust::default() };
        let failure = ClientConfig::new(&trust).unwrap_err();
        assert!(failure.kind == RRError::Cert && failure.text.contains(file), "{failure}");
    }
    let endless = Trust { ca_file: Some("/dev/zero".into()), ..Trust::default() };
    let failure = ClientConfig::new(&endless).unwrap_err();
    assert!(failure.kind == RRError::Cert && failure.text.contains("longer than"), "{failure}");
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_reported_with_a_sentence() {
    let papers = Papers::new("mismatch");
    papers.server("one.test", false, |_| {});
    papers.server("two.test", false, |_| {});
    let (chain, key) = (papers.folder.join("one.test.pem"), papers.folder.join("two.test.key"));
    let failure = ServerConfig::from_pem(&chain, &key).unwrap_err();
    assert_eq!(failure.kind, RRError::Cert);
    assert_eq!(
        failure.text,
        format!("{}: the key in {} belongs to another certificate", chain.display(), key.display())
    );
}
