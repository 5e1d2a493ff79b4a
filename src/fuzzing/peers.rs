//! Fuzz bodies for a client's inputs other than RTMP messages: logins, signed handshakes, HTTP and its tunnel, players'
//! files, urls.

use super::XorShift;
use crate::error::RRError;
use crate::mask;
use crate::proto::auth::{self, Answer};
use crate::proto::handshake;
use crate::proto::http_client::{HttpUrl, ResponseReader, date_text, get_request, parse_date};
use crate::proto::rtmpe::{Done, Handshake, Options, RANDOM_BYTES, Signed, SwfId};
use crate::proto::rtmpt::Tunnel;
use crate::proto::swf::SwfHasher;
use crate::proto::swf::cache::{self, Cache};
use crate::proto::url::RtmpUrl;

/// Longest body or file that is accepted.
const MAX_BODY: u64 = 1 << 20;

/// `data` cut into pieces, at places that its own bytes choose.
fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut random = XorShift::new(data.iter().fold(7, |sum, &byte| sum * 31 % 0xFFFF_FFFB + u64::from(byte)));
    let (mut rest, mut all) = (data, Vec::new());
    while !rest.is_empty() {
        let most = if random.below(2) == 0 { 4 } else { 2_000 };
        let (piece, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
        all.push(piece);
        rest = after;
    }
    all
}

/// Fuzz body: a server that refuses repeatedly, with one description a line, gets at most two answers, without a blank
/// or a line end, and never the password.
///
/// # Panics
/// If a check fails.
pub fn auth(data: &[u8]) {
    const PASSWORD: &[u8] = b"s3cr3t~passw0rd";
    const APPS: [&[u8]; 3] = [b"live", b"live/one", b"live?a=b"];
    let Some((&setup, rest)) = data.split_first() else { return };
    let base = APPS[usize::from(setup) % APPS.len()];
    let (mut app, mut answers) = (base.to_vec(), 0);
    for description in rest.split(|&byte| byte == b'\n') {
        let Answer::Retry(query) = auth::answer(&app, b"joe", PASSWORD, description, [1, 2, 3, 4]) else { continue };
        answers += 1;
        assert!(answers <= 2, "a third answer, to {description:?}");
        assert!(query.len() < 2048 && query.starts_with(b"authmod="));
        assert!(query.iter().all(|&byte| byte > b' '), "{query:?}");
        let shown = |text: &[u8]| text.windows(PASSWORD.len()).any(|part| part == PASSWORD);
        assert!(shown(description) || !shown(&query), "the password is shown");
        app = auth::with_query(&app, &query);
        assert_eq!(auth::bare(&app), base, "the next answer takes the place of this one");
    }
}

/// The parts of a handshake's end that can be compared.
type Outcome = Option<(u8, [u8; 4], Signed, bool, bool, Option<[u8; 42]>)>;

fn outcome(done: &Done) -> Outcome {
    Some((done.kind, done.peer_version, done.signed, done.echo_matches, done.ciphers.is_some(), done.swf_response))
}

/// One side of a handshake, with the options that `setup` chooses.
fn side(client: bool, setup: u8) -> Handshake {
    let mut numbers = XorShift::new(u64::from(client));
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|_| numbers.number() as u8);
    let swf = (setup & 4 != 0).then_some(SwfId { hash: [7; 32], size: 99 });
    if client {
        Handshake::client(Options { signed: setup & 1 != 0, encrypted: setup & 2 != 0, swf }, 5, &random)
    } else {
        Handshake::server(swf, 6, &random)
    }
}

/// Feeds pieces of a wire to a handshake; returns the bytes that the handshake sent, its result, and how many bytes it
/// took.
fn shake(mut hand: Handshake, pieces: &[&[u8]]) -> (Vec<u8>, Result<Outcome, RRError>, usize) {
    let (mut sent, mut taken) = (hand.output().to_vec(), 0);
    hand.consumed(sent.len());
    for piece in pieces {
        let mut at = 0;
        let result = hand.feed(piece, &mut at);
        assert!(at <= piece.len());
        taken += at;
        sent.extend_from_slice(hand.output());
        hand.consumed(usize::MAX);
        match result {
            Ok(Some(done)) => return (sent, Ok(outcome(&done)), taken),
            Ok(None) => assert_eq!(at, piece.len(), "what it waits for is all taken"),
            Err(failure) => {
                assert!(matches!(hand.feed(b"x", &mut 0), Err(again) if again.kind == RRError::State));
                return (sent, Err(failure.kind), taken);
            }
        }
    }
    (sent, Ok(None), taken)
}

/// [`shake`] for the relay's own handshake, which draws its own random bytes: the bytes sent can only be counted.
fn shake_plain(client: bool, pieces: &[&[u8]]) -> (usize, Result<bool, RRError>, usize) {
    let mut hand = if client { handshake::Handshake::client() } else { handshake::Handshake::server() };
    let (mut sent, mut taken) = (Vec::new(), 0);
    if client {
        hand.start(&mut sent).expect("random bytes");
    }
    for piece in pieces {
        let mut at = 0;
        let result = hand.feed(piece, &mut at, &mut sent);
        taken += at;
        match result {
            Ok(false) => assert_eq!(at, piece.len(), "what it waits for is all taken"),
            Ok(true) => return (sent.len(), Ok(true), taken),
            Err(failure) => {
                assert!(failure.by_peer, "{failure}");
                return (sent.len(), Err(failure.kind), taken);
            }
        }
    }
    (sent.len(), Ok(false), taken)
}

/// Fuzz body: handshakes of both sides, the relay's and librtmp's, end the same however their bytes are cut, and take
/// no byte after the handshake. A second form runs two sides of librtmp's against each other, with changes in transit
/// that the input names; without a change they agree.
///
/// # Panics
/// If a check fails.
pub fn rtmpe(data: &[u8]) {
    let Some((&setup, rest)) = data.split_first() else { return };
    if setup & 8 != 0 {
        return pair(setup, rest);
    }
    let client = setup & 16 == 0;
    let plain = shake_plain(client, &[rest]);
    assert!(plain.2 <= handshake::HANDSHAKE_BYTES && plain.0 <= handshake::HANDSHAKE_BYTES);
    assert_eq!(plain, shake_plain(client, &pieces(rest)));
    let whole = shake(side(client, setup), &[rest]);
    assert!(whole.2 <= 1 + 2 * 1536);
    let cut = shake(side(client, setup), &pieces(rest));
    assert_eq!((&whole.0, whole.1), (&cut.0, cut.1));
}

fn pair(setup: u8, changes: &[u8]) {
    let (mut client, mut server) = (side(true, setup), side(false, setup));
    let (mut ends, mut crossed, mut changed) = ([None, None], 0, false);
    let mut ciphers = [None, None];
    for turn in 0..8 {
        let to_server = turn % 2 == 0;
        let (from, to) = if to_server { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let mut wire = from.output().to_vec();
        from.consumed(wire.len());
        for change in changes.chunks_exact(3) {
            let at = usize::from(u16::from_be_bytes([change[0], change[1]])).wrapping_sub(crossed);
            if let Some(byte) = wire.get_mut(at).filter(|_| change[2] != 0) {
                *byte ^= change[2];
                changed = true;
            }
        }
        crossed += wire.len();
        match to.feed(&wire, &mut 0) {
            Ok(None) => {}
            Ok(Some(done)) => {
                ends[usize::from(to_server)] = outcome(&done);
                ciphers[usize::from(to_server)] = done.ciphers;
            }
            Err(failure) => {
                assert!(changed || ends[usize::from(to_server)].is_some(), "two of ours do not agree: {failure}");
                if failure.kind != RRError::State {
                    return;
                }
            }
        }
    }
    if changed {
        return;
    }
    let [Some(of_client), Some(of_server)] = ends else { panic!("two of ours do not come to an end: {ends:?}") };
    assert_eq!((of_client.0, of_client.2, of_client.4), (of_server.0, of_server.2, of_server.4));
    if let [Some(mut client), Some(mut server)] = ciphers {
        let mut text = *b"what one side writes, the other reads";
        client.write.apply(&mut text);
        server.read.apply(&mut text);
        assert_eq!(&text, b"what one side writes, the other reads");
    }
}

/// Reads a response in pieces; returns its body, whether it is complete, and the error.
fn response(pieces: &[&[u8]]) -> (Vec<u8>, bool, Option<RRError>) {
    let (mut reader, mut body) = (ResponseReader::new(MAX_BODY), Vec::new());
    for piece in pieces {
        match reader.feed(piece) {
            Ok(part) => body.extend_from_slice(part),
            Err(failure) => return (Vec::new(), false, Some(failure.kind)),
        }
    }
    assert!(body.len() as u64 <= MAX_BODY && (reader.head().is_some() || body.is_empty()));
    (body, reader.is_complete(), None)
}

/// Feeds answers in pieces to a tunnel, which has sent many posts if it is `open`; returns the RTMP, the id and the
/// error.
fn tunnel(open: bool, pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>, Option<RRError>) {
    let (mut tunnel, mut all, mut posts) = (Tunnel::new("h", 80), Vec::new(), Vec::new());
    tunnel.open(&mut posts);
    if open {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc\n";
        tunnel.feed(answer, &mut 0, &mut Vec::new()).expect("an answer");
        (0..32).for_each(|_| tunnel.idle(&mut posts).expect("it is open"));
    }
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() {
            let (before, mut plain) = (at, Vec::new());
            let result = tunnel.feed(piece, &mut at, &mut plain);
            all.extend_from_slice(&plain);
            if let Err(failure) = result {
                return (all, tunnel.id().to_vec(), Some(failure.kind));
            }
            assert!(before < at && at <= piece.len() && plain.len() < 1 << 17);
        }
    }
    posts.clear();
    tunnel.close(&mut posts);
    assert!(posts.iter().filter(|&&byte| byte == b'\n').count() <= 9, "one post of so many lines");
    (all, tunnel.id().to_vec(), None)
}

/// Fuzz body: responses, tunnels, urls and dates of HTTP: any bytes, cut anywhere, within bounds.
///
/// # Panics
/// If a check fails.
pub fn http(data: &[u8]) {
    assert_eq!(response(&[data]), response(&pieces(data)));
    for open in [true, false] {
        assert_eq!(tunnel(open, &[data]), tunnel(open, &pieces(data)));
    }
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if let Ok(url) = HttpUrl::parse(line) {
        let request = get_request(&url, "agent", Some(data));
        let lines = request.windows(2).filter(|pair| pair == b"\r\n").count();
        assert!((4..=5).contains(&lines) && url.port != 0, "{:?}", String::from_utf8_lossy(&request));
    }
    // Dates of the year 0 can be read but not written.
    if let Some(time_s) = parse_date(line).filter(|time_s| *time_s >= -62_135_596_800) {
        assert_eq!(parse_date(date_text(time_s).as_bytes()), Some(time_s));
    }
}

fn hash(pieces: &[&[u8]]) -> Result<SwfId, RRError> {
    let mut hasher = SwfHasher::new(MAX_BODY);
    pieces.iter().try_for_each(|piece| hasher.push(piece)).map_err(|failure| failure.kind)?;
    hasher.finish().map_err(|failure| failure.kind)
}

/// Fuzz body: a player's file has one hash however it is cut; the cache of hashes is read, and written the same.
///
/// # Panics
/// If a check fails.
pub fn swf(data: &[u8]) {
    let whole = hash(&[data]);
    assert_eq!(whole, hash(&pieces(data)));
    assert!(whole.is_err() || whole.is_ok_and(|swf| u64::from(swf.size) <= MAX_BODY));
    let written = Cache::parse(data).to_bytes();
    assert!(written.len() <= cache::MAX_BYTES);
    // The first writing turns control characters into blanks and drops those at an end; a second one changes nothing.
    let read = Cache::parse(&written).to_bytes();
    assert_eq!(Cache::parse(&read).to_bytes(), read, "what was read and written stays");
}

/// Fuzz body: the relay's parser and librtmp's take any url. A second line is a server's redirect.
///
/// # Panics
/// If a check fails.
pub fn urls(data: &[u8]) {
    #[cfg(feature = "librtmp")]
    crate::ffi::librtmp::fuzz::url(data);
    let text = String::from_utf8_lossy(data);
    for shown in [mask::escape(data), mask::mask_url(&text)] {
        assert!(!shown.chars().any(mask::is_forging), "what is shown forges no line: {shown:?}");
        assert!(shown.len() <= 10 * text.len() + 64);
    }
    let (text, reference) = text.split_once('\n').unwrap_or((&text, "/elsewhere"));
    let Ok(url) = RtmpUrl::parse(text, None) else { return };
    let again = RtmpUrl::parse(&url.tc_url(), Some(&url.key)).expect("our own url is one");
    assert_eq!((again.tls, &again.host, again.port, &again.app), (url.tls, &url.host, url.port, &url.app));
    let shown = mask::mask_key(&url.key);
    assert!(shown.len() <= 3 * 6 + 3, "of the key its first three bytes at most, escaped: {url:?}");
    assert!(url.masked().ends_with(&shown), "{url:?}");
    if let Ok(other) = url.elsewhere(reference) {
        assert_eq!(other.key, url.key);
        assert!(
            other.host == url.host || other.user.is_none() || reference.contains('@'),
            "the login is not for others"
        );
    }
}

/// The bytes that one of our sides sends to the other in a whole handshake, after the fuzz body's setup byte.
#[cfg(test)]
pub(super) fn wire_of(client: bool, setup: u8) -> Vec<u8> {
    let (mut client_side, mut server_side) = (side(true, setup), side(false, setup));
    let mut sent = [Vec::new(), Vec::new()];
    for turn in 0..4 {
        let (from, to) =
            if turn % 2 == 0 { (&mut client_side, &mut server_side) } else { (&mut server_side, &mut client_side) };
        let wire = from.output().to_vec();
        from.consumed(wire.len());
        // The last turns are expected to fail, because the handshake is over.
        let _ = to.feed(&wire, &mut 0);
        sent[turn % 2].extend(wire);
    }
    let role = if client { 0 } else { 16 };
    [&[setup | role][..], &sent[usize::from(client)]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{mutate_corpus, seeds};

    fn body_of_seeds(seeds: &[Vec<u8>], seed: u64, body: fn(&[u8])) {
        let tried = mutate_corpus(seeds, seed, 1_000, body);
        assert!(tried > 50, "only {tried} inputs");
    }

    #[test]
    fn logins_keep_their_promises_on_mutated_refusals() {
        body_of_seeds(&seeds::refusals(), 16, auth);
    }

    #[test]
    fn signed_handshakes_keep_their_promises_on_mutated_packets() {
        // Key agreement is slow in a debug build: seeds with encryption run once each, without mutations.
        let (encrypted, others): (Vec<_>, Vec<_>) = seeds::handshakes().into_iter().partition(|seed| seed[0] & 2 != 0);
        encrypted.iter().for_each(|seed| rtmpe(seed));
        body_of_seeds(&others, 17, rtmpe);
    }

    #[test]
    fn http_and_its_tunnel_keep_their_promises_on_mutated_answers() {
        body_of_seeds(&seeds::answers(), 18, http);
    }

    #[test]
    fn players_files_keep_their_promises_mutated() {
        body_of_seeds(&seeds::players(), 19, swf);
    }

    #[test]
    fn urls_keep_their_promises_mutated() {
        body_of_seeds(&seeds::urls(), 20, urls);
    }
}
