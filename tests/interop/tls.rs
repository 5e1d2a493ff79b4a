//! rtmps both ways: programs come to a listener with TLS, targets go to servers with TLS, and media arrives unchanged.
//! Peers are GnuTLS (ffmpeg, rtmpdump), OpenSSL and ourselves.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::net::conn::{Conn, Pumped, Side};
use rrelay::net::socket::Socket;
use rrelay::net::tls::{ClientConfig, TlsStream, Trust};
use rrelay::proto::message::kind;
use rrelay::proto::url::RtmpUrl;
use rrelay::server::{Id, ListenOptions, flag};
use rrelay::session::{ClientSession, Event as Said, SessionConfig, State};
use sha2::{Digest, Sha256};

use crate::support::flv::{self, assert_run_from_join, assert_same};
use crate::support::media::{ffmpeg_plays, ffmpeg_publishes, ffmpeg_publishes_with, media, rtmpdump_plays};
use crate::support::program::Room;
use crate::support::reserved::Reserved;
use crate::support::server::Relay;
use crate::support::{PATIENCE, until};

/// A certificate that signs itself, as `openssl req -x509` makes it, in files, and the pin of its key.
struct Papers {
    certificate: PathBuf,
    key: PathBuf,
    pin: String,
}

impl Papers {
    fn new(room: &Room, name: &str, host: &str) -> Self {
        use rcgen::PublicKeyData;
        let signing_key = rcgen::KeyPair::generate().expect("a key can be made");
        let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).expect("it is a name or an address");
        params.distinguished_name.push(rcgen::DnType::CommonName, name); // issuers are told apart by it
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = params.self_signed(&signing_key).expect("a certificate can be made");
        let (certificate, key) = (room.file(&format!("{name}.pem")), room.file(&format!("{name}.key")));
        std::fs::write(&certificate, made.pem()).expect("our folder can be written");
        std::fs::write(&key, signing_key.serialize_pem()).expect("our folder can be written");
        let digest = Sha256::digest(signing_key.subject_public_key_info());
        Self { certificate, key, pin: digest.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

/// A server that listens with TLS too, on the port that is given.
fn secured(papers: &Papers) -> (Relay, u16) {
    let relay = Relay::new();
    relay.server.set_tls(&papers.certificate, &papers.key).expect("the files are right");
    let options = ListenOptions { tls: true, ..ListenOptions::default() };
    let port = relay.server.listen("127.0.0.1:0", options).expect("a port is free");
    (relay, port)
}

/// A target that is tried once.
fn push(relay: &Relay, port: u16, host: &str, change: impl FnOnce(&mut TargetConfig)) -> Id {
    let stream = relay.server.stream_create(b"live", b"show", None).expect("it is the first");
    let mut config = TargetConfig {
        url: format!("rtmps://{host}:{port}/live/pushed"),
        retry_min_ms: 50,
        retry_max_ms: 100,
        ..TargetConfig::default()
    };
    change(&mut config);
    relay.server.target_add(stream, config).expect("what it trusts can be read")
}

#[test]
fn what_ffmpeg_publishes_over_tls_reaches_players_with_tls_and_without() {
    let room = Room::new("tls-listener");
    let (relay, port) = secured(&Papers::new(&room, "good", "127.0.0.1"));
    let url = format!("rtmps://127.0.0.1:{port}/live/show");
    let (mut plain, plain_file) = rtmpdump_plays(&room, "plain", &relay.url("show"));
    let (mut old, old_file) = rtmpdump_plays(&room, "librtmp", &url);
    let (mut ffmpeg, ffmpeg_file) = ffmpeg_plays(&room, "ffmpeg", &url);
    relay.has_players("show", 3);
    ffmpeg_publishes(&room, "publisher", media(), &url).ends_well();
    plain.ends_within(PATIENCE);
    old.ends_within(PATIENCE);
    ffmpeg.ends_well();
    let expected = flv::as_librtmp_keeps(&media().published);
    assert_same(&expected, &flv::read(&plain_file));
    assert_same(&expected, &flv::read(&old_file));
    assert_same(&flv::frames_since_first(&media().published), &flv::frames_since_first(&flv::read(&ffmpeg_file)));
    let over_tls = |event: &rrelay::server::Event| event.session != 0 && event.flags & flag::TLS != 0;
    let sessions: std::collections::BTreeSet<Id> =
        relay.events().iter().filter(|event| over_tls(event)).map(|event| event.session).collect();
    assert_eq!(sessions.len(), 3, "the publisher and two players");
}

#[test]
fn a_target_pushes_over_tls_to_whom_it_trusts_and_every_message_arrives() {
    let room = Room::new("tls-target");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    let (far, port) = secured(&papers);
    for (round, trust) in ["root", "pin", "insecure"].into_iter().enumerate() {
        let near = Relay::new();
        let target = push(&near, port, "127.0.0.1", |config| match trust {
            "root" => config.ca_file = papers.certificate.to_str().map(ToOwned::to_owned),
            "pin" => config.pin_sha256 = Some(papers.pin.clone()),
            _ => config.insecure = true,
        });
        let (mut player, file) = rtmpdump_plays(&room, &format!("player-{round}"), &far.url("pushed"));
        far.has_players("pushed", 1);
        let publisher = format!("publisher-{round}");
        ffmpeg_publishes_with(&room, &publisher, media(), &["-readrate", "2"], &[], &near.url("show")).ends_well();
        let event = near.target_was(target, State::InProgress);
        assert!(event.flags & flag::TLS != 0);
        assert!(near.server.info(target).expect("it is there").tls);
        player.ends_within(PATIENCE);
        // On a slow machine the target may come to a later group than the first.
        let published = flv::as_librtmp_keeps(&media().published);
        let run = assert_run_from_join(&published, &flv::read(&file));
        assert!(run.start < published.len() / 2 && run.end == published.len(), "{run:?}");
        near.server.shutdown().expect("no callback runs");
        until("the far stream is over", || far.stream("pushed").is_none().then_some(()));
    }
}

#[test]
fn a_source_pulls_over_tls() {
    let room = Room::new("tls-source");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    let (far, port) = secured(&papers);
    let near = Relay::new();
    let stream = near.server.stream_create(b"live", b"pulled", None).expect("it is the first");
    let url = format!("rtmps://127.0.0.1:{port}/live/show");
    let config = TargetConfig { url, pin_sha256: Some(papers.pin.clone()), ..TargetConfig::default() };
    near.server.source_add(stream, config).expect("the pin is one");
    let (mut player, file) = rtmpdump_plays(&room, "player", &near.url("pulled"));
    near.has_players("pulled", 1);
    far.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), &far.url("show")).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
}

#[test]
fn a_target_that_does_not_trust_the_server_fails_at_once_with_the_reason() {
    let room = Room::new("tls-refused");
    let (good, other) = (Papers::new(&room, "good", "127.0.0.1"), Papers::new(&room, "other", "other.test"));
    let (far, port) = secured(&good);
    let (_far_other, other_port) = secured(&other);
    let file = |papers: &Papers| papers.certificate.to_str().map(ToOwned::to_owned);
    for (port, ca_file, pin, reason) in [
        (port, file(&other), None, "marked as an authority's"),
        (port, None, Some(other.pin.clone()), "pinned"),
        (other_port, file(&other), None, "not for 127.0.0.1"),
    ] {
        let near = Relay::new();
        let target = push(&near, port, "127.0.0.1", |config| (config.ca_file, config.pin_sha256) = (ca_file, pin));
        let mut publisher = ffmpeg_publishes_with(&room, "publisher", media(), &["-re"], &[], &near.url("show"));
        let event = near.target_was(target, State::Failed);
        assert_eq!((event.error, event.flags & flag::RETRIABLE), (Some(RRError::Cert), 0));
        let text = String::from_utf8_lossy(&event.text).into_owned();
        assert!(text.contains(reason), "{text}");
        assert!(publisher.is_running(), "the publisher does not notice");
    }
    assert!(far.stream("pushed").is_none());
}

#[test]
fn openssl_takes_our_targets_connection() {
    let room = Room::new("tls-openssl");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    let reserved = Reserved::new();
    let words = room.file("openssl.log");
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &reserved.port.to_string()]);
    command.arg("-cert").arg(&papers.certificate).arg("-key").arg(&papers.key);
    command.stdin(Stdio::piped()).stdout(File::create(&words).expect("our folder can be written"));
    let mut server = command.spawn().expect("openssl is installed"); // it lives as long as its stdin is open
    let near = Relay::new();
    push(&near, reserved.port, "127.0.0.1", |config| config.pin_sha256 = Some(papers.pin.clone()));
    let _publisher = ffmpeg_publishes_with(&room, "publisher", media(), &["-re"], &[], &near.url("show"));
    let said = until("the first bytes of a handshake", || {
        let said = std::fs::read(&words).unwrap_or_default();
        (said.len() >= 1537).then_some(said)
    });
    server.kill().expect("it is our own");
    server.wait().expect("it is our own");
    assert_eq!(said[0], 3, "version of the handshake, after nothing else");
}

/// OpenSSL's server sends tickets of both versions. A target takes them, and comes back with one when its connection ends.
#[test]
fn our_target_resumes_its_session_with_openssl() {
    let room = Room::new("tls-target-tickets");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    for version in ["-tls1_2", "-tls1_3"] {
        let reserved = Reserved::new();
        let [certificate, key] = [&papers.certificate, &papers.key].map(|path| path.to_str().expect("a plain path"));
        let accept = reserved.port.to_string();
        let args = ["s_server", version, "-accept", &accept, "-cert", certificate, "-key", key];
        let mut server = room.start_typed(&format!("openssl{version}"), "openssl", &args);
        let near = Relay::new();
        push(&near, reserved.port, "127.0.0.1", |config| config.pin_sha256 = Some(papers.pin.clone()));
        let _publisher = ffmpeg_publishes_with(&room, "publisher", media(), &["-re"], &[], &near.url("show"));
        server.says("CIPHER is");
        assert!(!server.words().contains("Reused session-id"), "there was no session before");
        server.type_in("q\n"); // this ends the connection, behind the tickets
        server.says("Reused session-id");
    }
}

/// TLS 1.2 has tickets on every port, TLS 1.3 on those for HTTP.
#[test]
fn openssl_resumes_its_session_with_a_ticket() {
    let room = Room::new("tls-tickets");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    let (relay, rtmps) = secured(&papers);
    let options = ListenOptions { tls: true, http: true, ..ListenOptions::default() };
    let https = relay.server.listen("127.0.0.1:0", options).expect("a port is free");
    for (port, version) in [(rtmps, "-tls1_2"), (https, "-tls1_2"), (https, "-tls1_3")] {
        let session = room.file(&format!("{port}{version}"));
        let connect = |option: &str| {
            let mut client = Command::new("openssl");
            client
                .args(["s_client", "-ign_eof", version, "-connect", &format!("127.0.0.1:{port}"), option])
                .arg(&session);
            let mut client = client
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it is installed");
            // No port takes this for more than a beginning of a request: it answers, if at all, and closes.
            let mut words = client.stdin.take().expect("it is piped");
            words.write_all(b"GET /live/none.flv HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            let output = client.wait_with_output().expect("it ends when the server closes");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let first = connect("-sess_out");
        assert!(first.contains("New, TLSv1") && first.contains("TLS session ticket:"), "{version} on {port}: {first}");
        let second = connect("-sess_in");
        assert!(second.contains("Reused, TLSv1"), "{version} on {port}: {second}");
    }
}

#[test]
fn a_player_with_tls_that_stalls_in_the_middle_gets_every_message() {
    let room = Room::new("tls-stall");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    let (relay, port) = secured(&papers);
    let mut conn = small_player(&papers, port, b"");
    let mut scratch = vec![0; 16 << 10];
    let (mut bytes, mut over, mut told) = (0, false, None);
    let mut turn = |conn: &mut Conn| {
        let pumped = conn.pump(&mut scratch, 0, 4096, true, |event, body| {
            match event {
                Said::Message(head) if head.type_id != kind::DATA => bytes += body.len(),
                Said::Ended { .. } => over = true,
                _ => {}
            }
            std::ops::ControlFlow::Continue(())
        });
        let flushed = conn.flush();
        if pumped.is_err() {
            told = pumped.err();
        } else if matches!(pumped, Ok(Pumped::Drained)) {
            assert!(flushed.is_ok());
            std::thread::sleep(Duration::from_millis(1));
        }
        (bytes, over, told.clone())
    };
    until("the player plays", || {
        turn(&mut conn);
        (relay.count("show", rrelay::session::Role::Player) == 1).then_some(())
    });
    ffmpeg_publishes_with(&room, "publisher", media(), &[], &[], &relay.url("show")).ends_well();
    std::thread::sleep(Duration::from_millis(500)); // all is sent, as far as the kernel takes it, and nothing is read
    let (got, ..) = turn(&mut conn);
    let media = media().published.iter().filter(|tag| tag.kind != flv::DATA);
    let expected: usize = media.map(|tag| tag.body.len()).sum();
    assert!(got < expected / 2, "it did not stall: {got} of {expected} bytes");
    until("the end of the stream", || {
        let (_, over, told) = (0..20).map(|_| turn(&mut conn)).last().unwrap_or_default();
        assert!(told.is_none(), "{told:?}");
        over.then_some(())
    });
    assert_eq!(turn(&mut conn).0, expected);
}

/// A player of our own whose kernel takes little ahead of it; it sends some bytes before all others.
fn small_player(papers: &Papers, port: u16, first: &[u8]) -> Conn {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    let mut socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("it is not connected yet");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(&address.into()).expect("the server listens");
    socket.write_all(first).expect("the kernel takes a line");
    let mut socket = Socket::adopt(OwnedFd::from(socket)).expect("it is connected");
    let trust = Trust { pin_sha256: Some(papers.pin.clone()), ..Trust::default() };
    let config = ClientConfig::new(&trust).expect("the pin is one");
    socket.secure(TlsStream::client(&config, "127.0.0.1").expect("it is an address"));
    let url = RtmpUrl::parse(&format!("rtmps://127.0.0.1:{port}/live/show"), None).expect("it is a url");
    let session = ClientSession::play(&SessionConfig::default(), &url, 0).expect("there are random bytes");
    Conn::new(socket, Side::Client(Box::new(session)))
}

#[test]
fn a_proxy_header_comes_before_tls_and_says_whose_the_connection_is() {
    let room = Room::new("tls-proxy");
    let papers = Papers::new(&room, "good", "127.0.0.1");
    let (relay, _) = secured(&papers);
    let options = ListenOptions { tls: true, proxy: true, ..ListenOptions::default() };
    let port = relay.server.listen("127.0.0.1:0", options).expect("a port is free");
    let mut conn = small_player(&papers, port, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n");
    let mut scratch = vec![0; 16 << 10];
    until("the player plays", || {
        conn.pump(&mut scratch, 0, 4096, true, |_, _| std::ops::ControlFlow::Continue(())).expect("it goes well");
        conn.flush().expect("it goes well");
        (relay.count("show", rrelay::session::Role::Player) == 1).then_some(())
    });
    let event = relay.event("its address", |event| event.session != 0 && event.addr == b"192.0.2.7:4711");
    assert!(relay.server.info(event.session).expect("it is there").tls);
}

#[test]
fn a_peer_that_speaks_plain_rtmp_to_tls_costs_one_session_and_nothing_else() {
    let room = Room::new("tls-plain-peer");
    let (relay, port) = secured(&Papers::new(&room, "good", "127.0.0.1"));
    let plain = format!("rtmp://127.0.0.1:{port}/live/show");
    ffmpeg_publishes(&room, "wrong", media(), &plain).fails_within(PATIENCE);
    let over = relay.event("the session is over", |event| event.session != 0 && event.flags & flag::LAST != 0);
    assert_eq!(over.error, Some(RRError::Tls));
    let (mut player, file) = rtmpdump_plays(&room, "player", &relay.url("show"));
    relay.has_players("show", 1);
    let url = format!("rtmps://127.0.0.1:{port}/live/show");
    ffmpeg_publishes(&room, "right", media(), &url).ends_well();
    player.ends_within(PATIENCE);
    assert_same(&flv::as_librtmp_keeps(&media().published), &flv::read(&file));
}

#[test]
fn tls_without_a_certificate_or_with_a_bad_one_is_refused_by_the_call() {
    let room = Room::new("tls-no-certificate");
    let (one, other) = (Papers::new(&room, "one", "127.0.0.1"), Papers::new(&room, "other", "127.0.0.1"));
    let relay = Relay::with(ServerConfig::default(), "127.0.0.1:0");
    let options = ListenOptions { tls: true, ..ListenOptions::default() };
    let kind = |result: rrelay::error::Result<u16>| result.map_err(|failure| failure.kind);
    assert_eq!(kind(relay.server.listen("127.0.0.1:0", options)), Err(RRError::State));
    let mixed = relay.server.set_tls(&one.certificate, &other.key);
    assert_eq!(mixed.map_err(|failure| failure.kind), Err(RRError::Cert));
    assert_eq!(kind(relay.server.listen("127.0.0.1:0", options)), Err(RRError::State));
    relay.server.set_tls(&one.certificate, &one.key).expect("they belong together");
    relay.server.listen("127.0.0.1:0", options).expect("there is a certificate");
    let stream = relay.server.stream_create(b"live", b"show", None).expect("it is the first");
    let url = "rtmps://127.0.0.1:1/live/x".to_owned();
    for (ca_file, pin_sha256, kind) in
        [(Some("no such file".to_owned()), None, RRError::Cert), (None, Some("zz".to_owned()), RRError::Arg)]
    {
        let config = TargetConfig { url: url.clone(), ca_file, pin_sha256, ..TargetConfig::default() };
        assert_eq!(relay.server.target_add(stream, config).map_err(|failure| failure.kind), Err(kind));
    }
}

#[test]
fn curl_plays_over_https_what_ffmpeg_publishes() {
    let room = Room::new("https");
    let papers = Papers::new(&room, "relay", "127.0.0.1");
    let (relay, _) = secured(&papers);
    let options = ListenOptions { tls: true, http: true, ..ListenOptions::default() };
    let port = relay.server.listen("127.0.0.1:0", options).expect("a port is free");
    relay.server.stream_create(b"live", b"show", None).expect("it is the first");
    let (file, url) = (room.file("player.flv"), format!("https://127.0.0.1:{port}/live/show.flv"));
    let [file_name, roots] = [&file, &papers.certificate].map(|path| path.to_str().expect("a plain path"));
    let mut player = room.start("player", "curl", &["-sS", "--fail", "--cacert", roots, "-o", file_name, &url]);
    relay.has_players("show", 1);
    ffmpeg_publishes(&room, "publisher", media(), &relay.url("show")).ends_well();
    player.ends_well();
    assert_same(&media().published, &flv::read(&file));
}
