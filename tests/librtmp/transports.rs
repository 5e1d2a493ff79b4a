//! A client's session with TLS that verifies, and a publisher's login.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::hostile::{message, program, refusal, shake_hands, text, watched};
use super::linked;
use crate::support::c::good;
use crate::support::program::Room;
use crate::support::reserved::Reserved;
use crate::support::until;

/// Runs client and server of C against each other over TLS and gives how many messages the server got.
fn messages_over_tls(room: &Room, options: &str, environment: Option<(&str, &str)>) -> u32 {
    let (certificate, key) = (room.file("cert.pem"), room.file("key.pem"));
    let mut server = Command::new(program("server"))
        .arg("1")
        .args([&certificate, &key])
        .env("LD_LIBRARY_PATH", linked::folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let mut client = Command::new(program("client"));
    client.arg("play").arg(format!("rtmps://localhost:{}/app/play timeout=20 {options}", line.trim()));
    client.env("LD_LIBRARY_PATH", linked::folder());
    client.env_remove("RRELAY_TLS_INSECURE");
    client.envs(environment);
    good(&client.output().unwrap(), "client");
    line.clear();
    out.read_line(&mut line).unwrap();
    server.wait().unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

/// Makes `cert.pem`, which nobody has signed, and `key.pem`.
pub(crate) fn certificate(room: &Room) {
    certificate_with(room, &["-addext", "basicConstraints=critical,CA:FALSE"]);
}

fn certificate_with(room: &Room, options: &[&str]) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost"]).args(options);
    openssl.arg("-keyout").arg(room.file("key.pem")).arg("-out").arg(room.file("cert.pem"));
    good(&openssl.output().unwrap(), "openssl");
}

#[test]
fn rtmps_verifies_unless_an_option_turns_that_off() {
    let room = Room::new("librtmp-rtmps");
    certificate(&room);
    assert_eq!(messages_over_tls(&room, "", None), 0, "nobody has signed this certificate");
    assert_eq!(messages_over_tls(&room, "tlsInsecure=1", None), 1);
    assert_eq!(messages_over_tls(&room, "", Some(("RRELAY_TLS_INSECURE", "1"))), 1);
    let roots = room.file("cert.pem");
    assert_eq!(
        messages_over_tls(&room, "", Some(("RRELAY_CA_FILE", roots.to_str().unwrap()))),
        1,
        "it is among the roots that were named"
    );
}

/// The command in README makes a certificate that is marked as an authority's.
#[test]
fn the_usual_self_signed_certificate_is_accepted_where_it_is_named() {
    let room = Room::new("librtmp-rtmps-usual");
    certificate_with(&room, &[]);
    assert_eq!(messages_over_tls(&room, "", None), 0, "nobody has named it");
    let roots = room.file("cert.pem");
    assert_eq!(messages_over_tls(&room, "", Some(("RRELAY_CA_FILE", roots.to_str().unwrap()))), 1);
}

/// librtmp takes a session ticket of TLS 1.3 for an error.
#[test]
fn a_server_of_openssl_may_send_tickets() {
    let room = Room::new("librtmp-tickets");
    certificate(&room);
    let reserved = Reserved::new();
    let port = reserved.port;
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-tls1_3", "-num_tickets", "5", "-accept", &port.to_string()])
        .arg("-cert")
        .arg(room.file("cert.pem"))
        .arg("-key")
        .arg(room.file("key.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("openssl listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    let mut client = Command::new(program("client"));
    client.args(["play", &format!("rtmps://localhost:{port}/app/key timeout=10 tlsInsecure=1")]);
    client.env("LD_LIBRARY_PATH", linked::folder()).stdout(Stdio::piped()).stderr(Stdio::null());
    let client = client.spawn().unwrap();
    let mut from = server.stdout.take().unwrap();
    let mut to = server.stdin.take().unwrap();
    let mut hello = vec![0; 1537];
    from.read_exact(&mut hello).unwrap();
    to.write_all(&[&[3][..], &[0; 1536], &hello[1..]].concat()).unwrap();
    from.read_exact(&mut hello[1..]).unwrap();
    let code = |code: &str| {
        let object = [b"\x03\0\x04code", &text(code)[..], b"\0\0\x09"].concat();
        message(20, &[text("onStatus"), vec![0; 9], vec![5], object].concat())
    };
    let media = [message(9, &[0x17; 100]), message(8, &[0xAF; 100])].concat();
    let script = [code("NetStream.Play.Start"), media, code("NetStream.Play.Stop")];
    to.write_all(&script.concat()).unwrap();
    let output = client.wait_with_output().unwrap();
    let _ = server.kill();
    let _ = server.wait();
    good(&output, "client");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("read {}\n", 13 + 2 * 115));
}

/// Reads a client's connect command, as text.
fn connect_of(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().unwrap();
    shake_hands(&mut stream, true);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = vec![0; 4096];
    let mut got = 0;
    while !bytes[..got].ends_with(b"\0\0\x09") {
        let more = stream.read(&mut bytes[got..]).unwrap();
        assert!(more > 0);
        got += more;
    }
    // A chunk header (0xC3) may stand anywhere in the text.
    let text = bytes[..got].iter().filter(|&&byte| byte != 0xC3).copied().collect::<Vec<u8>>();
    (stream, String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_server_at_an_ipv6_address_is_reached() {
    let listener = TcpListener::bind(("::1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Command::new(program("client"));
    client.args(["play", &format!("rtmp://{address}/app/key timeout=5")]).env("LD_LIBRARY_PATH", linked::folder());
    let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (stream, words) = connect_of(&listener);
    assert!(words.contains(&format!("rtmp://{address}/app")), "{words}");
    drop(stream);
    assert!(client.wait().unwrap().success());
}

#[test]
fn a_publisher_logs_in_when_the_server_asks() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("rtmp://{}/app/play timeout=5 pubUser=me pubPasswd=secret", listener.local_addr().unwrap());
    let mut client =
        watched("client").args(["publish", &url]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut first, words) = connect_of(&listener);
    assert!(!words.contains("authmod"), "{words}");
    let ask = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    first.write_all(&refusal(&text(ask))).unwrap();
    let (mut second, words) = connect_of(&listener);
    assert!(words.contains("authmod=adobe&user=me") && !words.contains("response="), "{words}");
    let challenge = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=me&salt=c2FsdA==\
        &challenge=Y2hhbGxlbmdl&opaque=b3BhcXVl";
    second.write_all(&refusal(&text(challenge))).unwrap();
    let (mut third, words) = connect_of(&listener);
    assert!(words.contains("response=") && words.contains("opaque=b3BhcXVl") && !words.contains("secret"), "{words}");
    third.write_all(&message(20, &[text("close"), vec![5]].concat())).unwrap();
    drop(third);
    assert!(client.wait().unwrap().success());
}
