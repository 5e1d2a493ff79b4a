//! Whole conversations: the same C program (`talk.c`) on the distribution's librtmp and on ours against the same peer.
//! Every byte that it sends and every result it prints are equal, but for the handshake's time and random bytes. So are
//! a client's warnings: `publish_begins` has an answer that no call waits for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rrelay::proto::rtmpe::{Handshake, RANDOM_BYTES, Signed, SwfId};

use super::differ::driver;
use super::linked;
use crate::support::c::good;

/// The two libraries.
fn libraries() -> [&'static Path; 2] {
    [linked::original(), linked::folder()]
}

/// The program on one of the libraries.
fn talk(library: &Path, arguments: &[&str]) -> Command {
    static PROGRAM: OnceLock<std::path::PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(|| driver("talk")));
    command.args(arguments).env("LD_LIBRARY_PATH", library).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A chunk that is a whole message.
fn message(channel: u8, kind: u8, time: u32, stream: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![channel];
    bytes.extend_from_slice(&time.to_be_bytes()[1..]);
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, stream, 0, 0, 0]);
    bytes.extend_from_slice(body);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [&[2][..], &(value.len() as u16).to_be_bytes(), value.as_bytes()].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

/// A command on the connection.
fn command(name: &str, transaction: f64, rest: &[&[u8]]) -> Vec<u8> {
    message(3, 20, 0, 0, &[text(name), number(transaction), rest.concat()].concat())
}

fn object(name: &str, value: &[u8]) -> Vec<u8> {
    [&[3][..], &(name.len() as u16).to_be_bytes(), name.as_bytes(), value, b"\0\0\x09"].concat()
}

fn status(code: &str) -> Vec<u8> {
    message(5, 20, 0, 1, &[text("onStatus"), number(0.0), vec![5], object("code", &text(code))].concat())
}

/// A server's messages up to the moment when a player plays. `create` is the transaction of its createStream.
fn play_begins(create: f64) -> Vec<u8> {
    [
        message(2, 1, 0, 0, &4096u32.to_be_bytes()),
        message(2, 5, 0, 0, &2_500_000u32.to_be_bytes()),
        message(2, 6, 0, 0, b"\0\x26\x25\xa0\x02"),
        command("onBWDone", 0.0, &[&[5]]),
        command("_result", 1.0, &[&[5], &object("code", &text("NetConnection.Connect.Success"))]),
        message(2, 4, 0, 0, b"\0\x06\x01\x02\x03\x04"),
        message(2, 4, 0, 0, b"\0\x1a\0"),
        command("_result", create, &[&[5], &number(1.0)]),
        message(2, 4, 0, 0, b"\0\0\0\0\0\x01"),
        status("NetStream.Play.Reset"),
        status("NetStream.Play.Start"),
    ]
    .concat()
}

fn publish_begins() -> Vec<u8> {
    [
        message(2, 1, 0, 0, &4096u32.to_be_bytes()),
        command("_result", 1.0, &[&[5], &object("code", &text("NetConnection.Connect.Success"))]),
        command("onBWDone", 0.0, &[&[5]]),
        command("_result", 2.0, &[&[5, 6]]),
        command("_result", 4.0, &[&[5], &number(1.0)]),
        command("onFCPublish", 0.0, &[&[5]]),
        status("NetStream.Publish.Start"),
    ]
    .concat()
}

fn media(from_ms: u32) -> Vec<u8> {
    let metadata = [text("onMetaData"), object("duration", &number(10.0))].concat();
    let mut bytes = message(5, 18, 0, 1, &metadata);
    for frame in 0..6u32 {
        let time = from_ms + frame * 40;
        bytes.extend(message(6, 9, time, 1, &[&[0x17, 1, 0, 0, 0][..], &[frame as u8; 200]].concat()));
        bytes.extend(message(7, 8, time, 1, &[&[0xAF, 1][..], &[frame as u8; 40]].concat()));
    }
    bytes
}

/// One library's part of a conversation.
#[derive(PartialEq, Eq)]
struct Said {
    /// All connections' bytes behind the handshake, in hexadecimal numbers.
    wire: Vec<String>,
    printed: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a server's or client's first handshake message.
fn hello() -> Vec<u8> {
    (0..1536u32).map(|at| if at < 8 { 0 } else { (at * 7 % 251) as u8 }).collect()
}

/// Serves one connection of a client: the handshake, then all of `script`. Gives the bytes behind the handshake.
fn serve(mut stream: TcpStream, script: &[u8]) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut first = vec![0; 1537];
    stream.read_exact(&mut first).unwrap();
    assert_eq!((first[0], &first[5..9]), (3, &[0; 4][..]), "a plain handshake");
    stream.write_all(&[&[3][..], &hello(), &first[1..]].concat()).unwrap();
    let mut echo = vec![0; 1536];
    stream.read_exact(&mut echo).unwrap();
    let first_wrong = echo.iter().zip(&hello()).position(|(a, b)| a != b);
    assert_eq!(first_wrong, None, "what was sent comes back");
    // The client may close before the script's end.
    let _ = stream.write_all(script);
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    hex(&rest)
}

/// Runs a client on both libraries against `script`, and asserts that it got as far as the command `last`.
fn clients_agree(actions: &str, script: &[u8], last: &str) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let [theirs, ours] = libraries().map(|library| {
        let actions = actions.replace("PORT", &port);
        let arguments: Vec<&str> = ["client"].into_iter().chain(actions.split('|').map(str::trim)).collect();

        let child = talk(library, &arguments).spawn().unwrap();
        let wire = vec![serve(listener.accept().unwrap().0, script)];
        let output = child.wait_with_output().unwrap();
        good(&output, actions.as_str());
        Said { wire, printed: String::from_utf8_lossy(&output.stdout).into_owned() }
    });
    assert!(theirs.wire[0].contains(&hex(&text(last))), "{actions}: it has not said {last}: {:?}", theirs.wire);
    agree(actions, &theirs, &ours);
}

fn agree(what: &str, theirs: &Said, ours: &Said) {
    for (line, (their, our)) in theirs.printed.lines().zip(ours.printed.lines()).enumerate() {
        assert!(their == our, "{what}: line {line}\n< {their}\n> {our}");
    }
    assert!(theirs.printed == ours.printed, "{what}: one printed more");
    assert!(theirs.wire == ours.wire, "{what}\n< {:?}\n> {:?}", theirs.wire, ours.wire);
}

#[test]
fn a_player_says_the_same() {
    let url = "url|rtmp://127.0.0.1:PORT/app/key timeout=10";
    let whole = [play_begins(3.0), media(0), status("NetStream.Play.Stop")].concat();
    clients_agree(&format!("{url}|connect|stream|0|read|20|show"), &whole, "play");
    clients_agree(&format!("{url}|connect|sip|300|show|close|show"), &whole, "play");
    clients_agree(&format!("{url} live=1|connect|stream|0|read|4|close|close|show"), &whole, "play");
    clients_agree(&format!("{url} start=5 stop=9 playlist=1|connect|stream|0|read|5|show"), &whole, "play");
    clients_agree(&format!("{url} subscribe=sub|connect|stream|700|read|5|show"), &whole, "play");
    let options =
        "swfUrl=http://s/p.swf pageUrl=http://p/ tcUrl=rtmp://t/u flashver=LNX\\2010 app=other/inst playpath=mp4:x";
    clients_agree(&format!("{url} {options}|connect|stream|0|read|3"), &whole, "play");
    let extras = "conn=B:1 conn=S:str conn=O:1 conn=NN:n:2 conn=NO:o:1 conn=NS:s:v conn=O:0 conn=O:0 conn=Z: conn=N:3";
    clients_agree(&format!("{url} {extras}|auth|secret|encoding|3|connect|stream|0|read|3|show"), &whole, "play");
    clients_agree(&format!("{url} jtv=usher token=secret|connect|stream|0|read|3|show"), &whole, "play");
    // A connect command of the program's own takes no transaction of the library's.
    let own = [play_begins(2.0), media(0), status("NetStream.Play.Stop")].concat();
    clients_agree(&format!("{url}|connect-with|stream|0|read|3|show"), &own, "play");
    clients_agree(&format!("{url}|connect|bandwidth|600|stream|0|bandwidth|600|read|9|show"), &whole, "play");
    clients_agree(&format!("{url}|adopt|PORT|stream|0|read|9|show"), &whole, "play");
}

#[test]
fn pausing_seeking_and_other_streams_say_the_same() {
    let url = "url|rtmp://127.0.0.1:PORT/app/key timeout=10|connect|stream|0|read|3";
    let seen = [play_begins(3.0), media(0)].concat();
    let paused = [&seen[..], &status("NetStream.Pause.Notify"), &media(200), &status("NetStream.Play.Stop")].concat();
    clients_agree(&format!("{url}|pause|1|read|3|pause|0|read|20|show"), &paused, "play");
    let sought = [&seen[..], &status("NetStream.Seek.Notify"), &media(5000), &status("NetStream.Play.Stop")].concat();
    clients_agree(&format!("{url}|seek|5000|read|20|show"), &sought, "play");
    let empty =
        [&seen[..], &message(2, 4, 0, 0, b"\0\x1f\0\0\0\x01"), &message(2, 4, 0, 0, b"\0\x01\0\0\0\x01")].concat();
    let empty =
        [&empty[..], &message(2, 4, 0, 0, b"\0\x1f\0\0\0\x01"), &media(240), &status("NetStream.Play.Stop")].concat();
    clients_agree(&format!("{url}|buffer|read|20|show"), &empty, "play");
    let again = [
        &seen[..],
        &command("_result", 6.0, &[&[5], &number(2.0)]),
        &status("NetStream.Play.Start"),
        &media(900),
        &status("NetStream.Play.Complete"),
    ]
    .concat();
    clients_agree(&format!("{url}|again|900|read|20|show"), &again, "play");
    clients_agree(&format!("{url}|delete|create|show|read|20|show"), &again, "play");
}

#[test]
fn a_publisher_says_the_same() {
    let url = "url|rtmp://127.0.0.1:PORT/app/key timeout=10|publish";
    let bye = command("close", 0.0, &[&[5]]);
    clients_agree(&format!("{url}|connect|stream|0|write|write|close|show"), &publish_begins(), "publish");
    clients_agree(
        &format!("{url}|connect|stream|0|write|show|read|1|show"),
        &[publish_begins(), bye.clone()].concat(),
        "publish",
    );
    clients_agree(&format!("{url}|adopt|PORT|stream|0|write|show"), &publish_begins(), "publish");
    let refused = [command("_error", 1.0, &[&[5], &object("description", &text("[ no ] : you may not"))]), bye.clone()];
    clients_agree(&format!("{url}|connect|stream|0|show"), &refused.concat(), "connect");
    let denied = [publish_begins(), status("NetStream.Publish.BadName"), bye].concat();
    clients_agree(&format!("{url}|connect|stream|0|read|1|show"), &denied, "publish");
}

#[test]
fn clients_that_are_refused_or_left_say_the_same() {
    let url = "url|rtmp://127.0.0.1:PORT/app/key timeout=10|connect|stream|0|read|2|show";
    let begin = play_begins(3.0);
    let connected = command("_result", 1.0, &[&[5, 5]]);
    for code in [
        "NetStream.Failed",
        "NetStream.Play.Failed",
        "NetStream.Play.StreamNotFound",
        "NetConnection.Connect.InvalidApp",
        "NetStream.Play.UnpublishNotify",
        "NetStream.Play.Complete",
    ] {
        clients_agree(url, &[connected.clone(), status(code)].concat(), "connect");
        clients_agree(url, &[begin.clone(), status(code)].concat(), "connect");
    }
    let no = command("_error", 1.0, &[&[5], &object("description", &text("no"))]);
    clients_agree(url, &[no, command("close", 0.0, &[&[5]])].concat(), "connect");
    clients_agree(url, &command("onFCUnsubscribe", 0.0, &[&[5]]), "connect");
}

/// Serves one connection of a client that signs its handshake; the server knows the player file. Gives the bytes behind
/// the handshake, and the right answer to a server that asks for the file.
fn serve_signed(mut stream: TcpStream, player: SwfId, script: &[u8]) -> (String, String) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| (at * 7 + at / 251) as u8);
    let mut handshake = Handshake::server(Some(player), 0, &random);
    let done = loop {
        let output = handshake.output().to_vec();
        stream.write_all(&output).unwrap();
        handshake.consumed(output.len());
        let mut input = vec![0; handshake.want()];
        stream.read_exact(&mut input).unwrap();
        if let Some(done) = handshake.feed(&input, &mut 0).unwrap() {
            break done;
        }
    };
    assert_eq!(done.signed, Signed::Valid);
    stream.write_all(script).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    (hex(&rest), hex(&done.swf_response.unwrap()))
}

#[test]
fn a_server_that_verifies_the_player_gets_its_answer() {
    let player = SwfId { hash: [0x5A; 32], size: 123_456 };
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("rtmp://127.0.0.1:{}/app/key timeout=10", listener.local_addr().unwrap().port());
    let script = [play_begins(3.0), media(0), status("NetStream.Play.Stop")].concat();
    let [theirs, ours] = libraries().map(|library| {
        let arguments = ["client", "url", &url, "swf", "123456", "connect", "stream", "0", "read", "20"];
        let child = talk(library, &arguments).spawn().unwrap();
        let (wire, answer) = serve_signed(listener.accept().unwrap().0, player, &script);
        let output = child.wait_with_output().unwrap();
        good(&output, "talk");
        assert!(wire.contains(&("001b".to_owned() + &answer)), "no answer {answer} in {wire}");
        Said { wire: vec![wire], printed: String::from_utf8_lossy(&output.stdout).into_owned() }
    });
    agree("a verified player", &theirs, &ours);
}

/// A client's bytes behind the handshake.
fn a_clients_words() -> Vec<u8> {
    let connect = [&[3, 0, 3][..], b"app", &text("live"), b"\0\x0eobjectEncoding", &number(0.0), b"\0\0\x09"].concat();
    let flex = [&[0][..], &text("FCSubscribe"), &number(4.0), &[5], &text("key")].concat();
    [
        command("connect", 1.0, &[&connect]),
        message(2, 5, 0, 0, &2_500_000u32.to_be_bytes()),
        message(2, 4, 0, 0, b"\0\x03\0\0\0\0\0\0\x01\x2c"),
        message(2, 1, 0, 0, &300u32.to_be_bytes()),
        command("createStream", 2.0, &[&[5]]),
        message(3, 17, 0, 0, &flex),
        message(8, 20, 0, 1, &[text("play"), number(0.0), vec![5], text("key"), number(-2000.0)].concat()),
        message(2, 4, 0, 0, b"\0\x06\0\0\0\x07"),
        message(2, 3, 0, 0, &5000u32.to_be_bytes()),
        message(4, 9, 40, 1, &[0x27; 250]),
        message(4, 18, 40, 1, &[text("@setDataFrame"), text("onMetaData"), object("x", &[1, 1])].concat()),
    ]
    .concat()
}

#[test]
fn a_server_says_the_same() {
    let [theirs, ours] = libraries().map(|library| {
        let mut child = talk(library, &["server"]).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        out.read_line(&mut port).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&[&[3][..], &hello()].concat()).unwrap();
        let mut first = vec![0; 1 + 2 * 1536];
        stream.read_exact(&mut first).unwrap();
        assert_eq!((first[0], &first[5..9]), (3, &[0; 4][..]), "a plain handshake");
        assert!(first[1537..] == hello(), "what was sent comes back");
        stream.write_all(&[&first[1..1537], &a_clients_words()].concat()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let mut printed = String::new();
        out.read_to_string(&mut printed).unwrap();
        assert!(child.wait().unwrap().success(), "{printed}");
        Said { wire: vec![hex(&rest)], printed }
    });
    agree("a server", &theirs, &ours);
    assert!(theirs.wire[0].len() > 2000, "it has played");
}

/// One request of a tunnelled client: its head and its body. `None` where the client is gone.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let len =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; len.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Serves a tunnelled client: a piece of `script` for every request behind the handshake. Gives its requests.
fn serve_tunnel(stream: TcpStream, script: &[Vec<u8>]) -> Vec<String> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut pieces = script.iter();
    let mut hands = 0;
    let mut said = Vec::new();
    let mut stream = BufReader::new(stream);
    while let Some((head, mut body)) = request(&mut stream) {
        let mut answer = if head.starts_with("POST /open/") { b"anid\n".to_vec() } else { vec![1] };
        if head.starts_with("POST /send/") && hands == 0 {
            assert_eq!(body.len(), 1537);
            answer.extend([&[3][..], &hello(), &body.split_off(1)].concat());
            hands = 1;
        } else if head.starts_with("POST /send/") && hands == 1 {
            assert!(body == hello(), "what was sent comes back");
            hands = 2;
        } else if hands == 2 {
            answer.extend(pieces.next().into_iter().flatten());
        }
        said.push(format!("{head}{}", hex(&body)));
        let reply =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-fcs\r\nContent-Length: {}\r\n\r\n", answer.len());
        if stream.get_mut().write_all(&[reply.as_bytes(), &answer].concat()).is_err() {
            break;
        }
    }
    said
}

#[test]
fn a_tunnelled_player_says_the_same() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("rtmpt://127.0.0.1:{}/app/key timeout=10", listener.local_addr().unwrap().port());
    let script = [vec![], vec![], play_begins(3.0), vec![], media(0), vec![], media(240)];
    let [theirs, ours] = libraries().map(|library| {
        let arguments = ["client", "url", &url, "connect", "stream", "0", "read", "20", "shut", "show"];
        let child = talk(library, &arguments).spawn().unwrap();
        let wire = serve_tunnel(listener.accept().unwrap().0, &script);
        let output = child.wait_with_output().unwrap();
        good(&output, "talk");
        Said { wire, printed: String::from_utf8_lossy(&output.stdout).into_owned() }
    });
    for (their, our) in theirs.wire.iter().zip(&ours.wire) {
        assert!(their == our, "< {their}\n> {our}");
    }
    assert!(theirs.wire.iter().any(|request| request.contains(&hex(&text("play")))), "it has said play");
    agree("a tunnelled player", &theirs, &ours);
}
