//! A certificate made for one test, and peers over TLS that do not verify certificates.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what cannot be done here has failed the test")]

use rcgen::PublicKeyData;
use sha2::{Digest, Sha256};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rrelay::net::conn::{Conn, Side};
use rrelay::net::socket::Socket;
use rrelay::net::tls::{ClientConfig, TlsStream, Trust};
use rrelay::proto::url::RtmpUrl;
use rrelay::session::{ClientSession, Event, SessionConfig};

/// Longer than a handshake takes on any machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A self-signed certificate for 127.0.0.1 and its key, in files that are deleted with this object.
pub(crate) struct Papers {
    folder: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The SHA-256 of the public key, in hexadecimal digits.
    pub(crate) pin: String,
}

impl Papers {
    pub(crate) fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rrelay-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let digest = Sha256::digest(made.signing_key.subject_public_key_info());
        let pin = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { folder, certificate, key, pin }
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The settings of a test's peers.
pub(crate) fn trusting() -> ClientConfig {
    ClientConfig::new(&Trust { insecure: true, ..Trust::default() }).unwrap()
}

/// A connection over TLS that publishes or plays `key` in `live`, up to the server's acceptance.
pub(crate) fn connect(config: &ClientConfig, port: u16, key: &str, publish: bool) -> Conn {
    connect_as(&SessionConfig::default(), config, port, key, publish)
}

/// [`connect`] with settings of its session.
pub(crate) fn connect_as(usual: &SessionConfig, config: &ClientConfig, port: u16, key: &str, publish: bool) -> Conn {
    let mut socket = Socket::adopt(TcpStream::connect(("127.0.0.1", port)).unwrap().into()).unwrap();
    socket.secure(TlsStream::client(config, "127.0.0.1").unwrap());
    let url = RtmpUrl::parse(&format!("rtmps://127.0.0.1:{port}/live/{key}"), None).unwrap();
    let session = if publish { ClientSession::publish(usual, &url, 0) } else { ClientSession::play(usual, &url, 0) };
    let mut conn = Conn::new(socket, Side::Client(Box::new(session.unwrap())));
    let by = Instant::now() + PATIENCE;
    while !turn(&mut conn) {
        assert!(Instant::now() < by, "the server did not let {key} begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    conn
}

/// One round of writing and reading; true where the server's acceptance came in it.
fn turn(conn: &mut Conn) -> bool {
    let (mut started, mut scratch) = (false, [0; 4096]);
    conn.flush().unwrap();
    conn.pump(&mut scratch, 0, 1 << 20, false, |event, _| {
        started |= matches!(event, Event::Started { .. });
        ControlFlow::Continue(())
    })
    .unwrap();
    conn.flush().unwrap();
    started
}

/// Reads until a message with these last bytes has come.
pub(crate) fn has(conn: &mut Conn, end: &[u8]) {
    let (mut has_it, mut scratch, by) = (false, [0; 4096], Instant::now() + PATIENCE);
    while !has_it {
        assert!(Instant::now() < by, "it did not come");
        let pumped = conn.pump(&mut scratch, 0, 1 << 20, false, |event, body| {
            has_it |= matches!(event, Event::Message(_)) && body.ends_with(end);
            ControlFlow::Continue(())
        });
        pumped.unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}
