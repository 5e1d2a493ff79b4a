//! Handshakes between a client and a server in memory. Each side's CPU time is taken by itself.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig};
use rustls::{ServerConnection, SupportedProtocolVersion, version};

use crate::{Provider, ROUNDS, line, median, now_us, providers};

/// Handshakes of one round.
const HANDSHAKES: usize = 60;

/// Tickets of a full handshake of TLS 1.3, as rrelay's ports for HTTP send them.
const TLS13_TICKETS: usize = 2;

/// The server's name.
const HOST: &str = "bench.test";

/// One row: both sides' settings.
struct Case {
    name: String,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    kind: HandshakeKind,
    rounds: Vec<(f64, f64)>,
}

pub(crate) fn run() {
    println!("| handshake | server | client |\n|---|---|---|");
    let mut cases = Vec::new();
    for (key_name, key) in [("ECDSA P-256", &PKCS_ECDSA_P256_SHA256), ("RSA 2048", &PKCS_RSA_SHA256)] {
        let key = KeyPair::generate_for(key).expect("a key can be made");
        for provider in providers() {
            for (version_name, version) in [("TLS 1.3", &version::TLS13), ("TLS 1.2", &version::TLS12)] {
                for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                    let (server, mut client) = configs(&provider, &key, version);
                    if kind == HandshakeKind::Full {
                        client.resumption = Resumption::disabled();
                    }
                    let name = format!("{kind:?}, {version_name}, {key_name}, {}", provider.name);
                    cases.push(Case { name, server, client: Arc::new(client), kind, rounds: Vec::new() });
                }
            }
        }
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            handshake(case); // gets the first ticket
            let mut sums = (0.0, 0.0);
            for _ in 0..HANDSHAKES {
                let (server, client, kind) = handshake(case);
                assert_eq!(kind, case.kind, "{}", case.name);
                sums = (sums.0 + server, sums.1 + client);
            }
            case.rounds.push((sums.0 / HANDSHAKES as f64, sums.1 / HANDSHAKES as f64));
        }
    }
    for Case { name, rounds, .. } in &cases {
        let (servers, clients) = rounds.iter().copied().unzip();
        line(name, [median(servers), median(clients)]);
    }
}

/// Settings of a server with this key, and of a client that trusts it.
pub(crate) fn configs(
    provider: &Provider,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
) -> (Arc<ServerConfig>, ClientConfig) {
    let params = CertificateParams::new(vec![HOST.to_owned()]).expect("it is a name");
    let certificate = params.self_signed(key).expect("a certificate can be made").der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("it is a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("it is a key");
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider.crypto))
        .with_protocol_versions(&[version])
        .expect("every provider has it")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    server.ticketer = (provider.ticketer)().expect("there are random bytes");
    server.send_tls13_tickets = TLS13_TICKETS;
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider.crypto))
        .with_protocol_versions(&[version])
        .expect("every provider has it")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), client)
}

/// One handshake: the server's time, the client's, and whether it was full.
fn handshake(case: &Case) -> (f64, f64, HandshakeKind) {
    let (server, times) = connect(&case.server, &case.client);
    (times.server_us, times.client_us, server.handshake_kind().expect("it is over"))
}

/// The CPU time of each side.
pub(crate) struct Times {
    server_us: f64,
    client_us: f64,
}

/// A connection up to the end of its handshake, with the tickets behind it.
pub(crate) fn connect(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (ServerConnection, Times) {
    let begun = now_us();
    let name = ServerName::try_from(HOST).expect("it is a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("the settings are good");
    let between = now_us();
    let mut server = ServerConnection::new(Arc::clone(server)).expect("the settings are good");
    let mut times = Times { client_us: between - begun, server_us: now_us() - between };
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let begun = now_us();
        take(&mut client, &wire);
        wire.clear();
        give(&mut client, &mut wire);
        let between = now_us();
        take(&mut server, &wire);
        wire.clear();
        give(&mut server, &mut wire);
        times.client_us += between - begun;
        times.server_us += now_us() - between;
    }
    let begun = now_us();
    take(&mut client, &wire);
    times.client_us += now_us() - begun;
    (server, times)
}

fn take<Data>(side: &mut ConnectionCommon<Data>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        side.read_tls(&mut bytes).expect("it comes from memory");
        side.process_new_packets().expect("the peer speaks TLS");
    }
}

fn give<Data>(side: &mut ConnectionCommon<Data>, wire: &mut Vec<u8>) {
    while side.wants_write() {
        side.write_tls(wire).expect("it goes into memory");
    }
}
