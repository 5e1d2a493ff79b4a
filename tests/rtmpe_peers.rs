//! RTMPE and signed handshakes against the distribution's rtmpdump, which checks our signatures and encrypts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rrelay::proto::rtmpe::{Done, Handshake, RANDOM_BYTES, Signed, SwfId};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one handshake to rtmpdump; gives its result and the first bytes behind it, decrypted.
fn serve(scheme: &str, more: &[&str]) -> (Done, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("{scheme}://{}/app/key", listener.local_addr().expect("it is bound"));
    let child = Command::new("rtmpdump")
        .args(["--quiet", "--timeout", "10", "-o", "/dev/null", "-r", &url])
        .args(more)
        .stdin(Stdio::null())
        .spawn()
        .expect("rtmpdump is installed by tests/setup.sh");
    let _running = Running(child);
    let (mut socket, _) = listener.accept().expect("rtmpdump connects");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("ten seconds are a timeout");
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| (at * 7 + at / 251) as u8);
    let mut handshake = Handshake::server(Some(SwfId { hash: [0x5a; 32], size: 123_456 }), 1, &random);
    let mut buffer = [0; 4096];
    let mut read = |socket: &mut std::net::TcpStream| {
        let n = socket.read(&mut buffer).expect("rtmpdump talks");
        assert!(n > 0, "rtmpdump left");
        buffer[..n].to_vec()
    };
    loop {
        socket.write_all(handshake.output()).expect("rtmpdump listens");
        handshake.consumed(usize::MAX);
        let bytes = read(&mut socket);
        let mut at = 0;
        if let Some(mut done) = handshake.feed(&bytes, &mut at).expect("rtmpdump signs") {
            let mut rest = bytes[at..].to_vec();
            while rest.len() < 24 {
                rest.extend(read(&mut socket));
            }
            if let Some(ciphers) = &mut done.ciphers {
                ciphers.read.apply(&mut rest);
            }
            return (done, rest);
        }
    }
}

#[test]
fn rtmpdump_takes_our_encrypted_handshake_and_we_read_its_connect() {
    let (done, rest) = serve("rtmpe", &[]);
    assert_eq!((done.kind, done.signed), (8, Signed::Valid));
    assert_eq!(&rest[12..22], b"\x02\0\x07connect");
}

#[test]
fn rtmpdump_takes_our_signed_handshake() {
    let hash = "5a".repeat(32);
    let (done, rest) = serve("rtmp", &["-w", &hash, "-x", "123456"]);
    assert_eq!((done.kind, done.signed, done.ciphers.is_none()), (3, Signed::Valid, true));
    assert_eq!(&rest[12..22], b"\x02\0\x07connect");
}
