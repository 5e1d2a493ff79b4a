//! Fetches and hashes a player's SWF file, with the cache that librtmp's programs share. It blocks; only the librtmp
//! face uses it, and the relay never does.
//!
//! Everything is bounded: the file, the answer's head, each wait, and the whole fetch. Redirects are not followed. If
//! the cache cannot be read or written, the file is fetched again; nothing else fails.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::error::{Failure, RRError, Result};
use crate::net::http_client::{HttpLink, Patience};
use crate::net::tls::Trust;
use crate::proto::http_client::{HttpUrl, ResponseReader, get_request};
use crate::proto::rtmpe::SwfId;
use crate::proto::swf::SwfHasher;
use crate::proto::swf::cache::{Cache, Entry, MAX_BYTES};

/// Longest file, compressed or not. Players are a few megabytes.
const MAX_FILE: u64 = 64 << 20;

/// The bound of the whole fetch, in multiples of the bound of one wait.
const WAITS: u32 = 12;

const DAY_S: i64 = 86_400;

/// Where and how long to look.
#[derive(Clone, Debug)]
pub(crate) struct Fetch<'a> {
    /// A cached result younger than this is used without asking the server; 0 always asks.
    pub age_days: u32,
    /// The cache, usually `~/.swfinfo`.
    pub cache: Option<&'a Path>,
    /// Unix seconds now.
    pub now_s: i64,
    /// How long to wait for the server.
    pub patience: Patience<'a>,
    /// For `https` urls.
    pub trust: &'a Trust,
}

/// The time limits of a fetch in which one wait may take `timeout`, and which ends when `stopped` returns true.
pub(crate) fn patience(timeout: Duration, stopped: &dyn Fn() -> bool) -> Patience<'_> {
    Patience { each: timeout, all: timeout * WAITS, stopped }
}

/// Size and HMAC of the file at `url`.
///
/// # Errors
/// [`RRError::Arg`] for a bad url; [`RRError::Resolve`], [`RRError::Connect`], [`RRError::Cert`], [`RRError::Tls`],
/// [`RRError::Timeout`], [`RRError::Closed`], [`RRError::Io`] on the way; [`RRError::NotFound`] (404) or
/// [`RRError::Rejected`] as the server says; [`RRError::Protocol`] or [`RRError::Limit`] for what it sends.
pub(crate) fn hash(url: &[u8], fetch: &Fetch<'_>) -> Result<SwfId> {
    let target = HttpUrl::parse(url)?;
    let mut cache = fetch.cache.map(read_cache).unwrap_or_default();
    let known = cache.find(url).cloned();
    if let Some(entry) = known.as_ref().filter(|entry| is_fresh(entry, fetch)) {
        return Ok(entry.swf);
    }
    let since = known.as_ref().map(|entry| entry.modified.as_slice());
    let (swf, modified) = match get(&target, since, fetch)? {
        Some(found) => found,
        None => known
            .map(|entry| (entry.swf, entry.modified))
            .ok_or_else(|| Failure::protocol("\"not modified\", although the request had no date"))?,
    };
    cache.put(Entry { url: url.to_vec(), checked_s: fetch.now_s, modified, swf });
    if let Some(Err(error)) = fetch.cache.map(|path| write_cache(path, &cache.to_bytes())) {
        log::debug!("the cache of SWF hashes cannot be written: {error}");
    }
    Ok(swf)
}

fn is_fresh(entry: &Entry, fetch: &Fetch<'_>) -> bool {
    let age_s = fetch.now_s.saturating_sub(entry.checked_s);
    entry.checked_s > 0 && (0..i64::from(fetch.age_days) * DAY_S).contains(&age_s)
}

fn read_cache(path: &Path) -> Cache {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES as u64).read_to_end(&mut text));
    read.map_or_else(|_| Cache::default(), |_| Cache::parse(&text))
}

/// Writes the cache into a new file in the same folder and moves it into place, so that another program never reads
/// half of it.
fn write_cache(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    fs::write(&beside, text)?;
    fs::rename(&beside, path).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Asks the server; `None` if the file has not changed.
fn get(url: &HttpUrl, since: Option<&[u8]>, fetch: &Fetch<'_>) -> Result<Option<(SwfId, Vec<u8>)>> {
    let mut link = HttpLink::open(url, fetch.trust, fetch.patience)?;
    link.write(&get_request(url, "Mozilla/5.0", since))?;
    let mut answer = ResponseReader::new(MAX_FILE);
    let mut hasher = SwfHasher::new(MAX_FILE);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = link.read(&mut buffer)?;
        if n == 0 {
            answer.end()?;
        }
        let body = answer.feed(buffer.get(..n).unwrap_or_default())?;
        match answer.head().map(|head| head.status) {
            None => {}
            Some(200) => hasher.push(body)?,
            Some(304) => return Ok(None),
            Some(404) => return Err(Failure::peers(RRError::NotFound, "the SWF file does not exist (status 404)")),
            Some(status) => {
                return Err(Failure::peers(
                    RRError::Rejected,
                    format!("the HTTP server answered with status {status}"),
                ));
            }
        }
        if n == 0 || answer.is_complete() {
            let modified = answer.head().map(|head| head.modified.clone()).unwrap_or_default();
            return Ok(Some((hasher.finish()?, modified)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{self, JoinHandle};
    use std::time::Instant;

    use super::*;
    use crate::net::reserved::Reserved;

    const FILE: &[u8] = b"FWS\x08\x01\x02\x03\x04 the rest of a player";

    /// Answers one connection for each text, and returns the requests.
    fn server(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
        server_at("127.0.0.1:0".parse().unwrap(), answers)
    }

    fn server_at(address: SocketAddr, answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://{}/player.swf", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let mut buffer = [0; 4096];
                let n = socket.read(&mut buffer).unwrap();
                requests.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
                socket.write_all(&answer).unwrap();
            }
            requests
        });
        (url, thread)
    }

    fn answer(head: &str, body: &[u8]) -> Vec<u8> {
        [head.as_bytes(), b"\r\n\r\n", body].concat()
    }

    fn ask(url: &str, cache: Option<&Path>, age_days: u32, now_s: i64) -> Result<SwfId> {
        ask_within(Duration::from_secs(20), url, cache, age_days, now_s)
    }

    fn ask_within(time: Duration, url: &str, cache: Option<&Path>, age_days: u32, now_s: i64) -> Result<SwfId> {
        let patience = patience(time, &|| false);
        hash(url.as_bytes(), &Fetch { age_days, cache, now_s, patience, trust: &Trust::default() })
    }

    fn expected() -> SwfId {
        let mut hasher = SwfHasher::new(1000);
        hasher.push(FILE).unwrap();
        hasher.finish().unwrap()
    }

    #[test]
    fn a_file_is_fetched_once_then_asked_for_by_date_then_not_at_all_while_young() {
        let cache = std::env::temp_dir().join(format!("rrelay-swfinfo-{}", std::process::id()));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let reserved = Reserved::new();
        let answers = vec![
            answer(&format!("HTTP/1.0 200 OK\r\nLast-Modified: {date}"), FILE),
            answer("HTTP/1.1 304 Not Modified", b""),
        ];
        let (url, server) = server_at(reserved.address(), answers);
        let now_s = 1_000_000_000;
        assert_eq!(ask(&url, Some(&cache), 0, now_s).unwrap(), expected());
        assert_eq!(ask(&url, Some(&cache), 0, now_s + DAY_S).unwrap(), expected());
        let requests = server.join().unwrap();
        assert!(!requests[0].contains("If-Modified-Since"));
        assert!(requests[1].contains(&format!("If-Modified-Since: {date}\r\n")));
        // The server is gone: only the cache can answer, and only while it is young.
        assert_eq!(ask(&url, Some(&cache), 2, now_s + 2 * DAY_S).unwrap(), expected());
        assert_eq!(ask(&url, Some(&cache), 2, now_s + 3 * DAY_S).unwrap_err().kind, RRError::Connect);
        assert_eq!(ask(&url, None, 2, now_s + DAY_S).unwrap_err().kind, RRError::Connect);
        fs::remove_file(&cache).unwrap();
    }

    #[test]
    fn each_failure_has_a_kind_of_its_own() {
        let length = format!("HTTP/1.0 200 OK\r\nContent-Length: {}", FILE.len() + 1);
        for (bytes, kind) in [
            (answer("HTTP/1.0 404 Not Found", b""), RRError::NotFound),
            (answer("HTTP/1.0 302 Found\r\nLocation: http://x/", b""), RRError::Rejected),
            (answer("HTTP/1.0 304 Not Modified", b""), RRError::Protocol),
            (answer(&length, FILE), RRError::Closed),
            (answer("HTTP/1.0 200 OK", b"FWS"), RRError::Protocol),
            (answer("HTTP/1.0 200 OK\r\nContent-Length: 99999999999", b""), RRError::Limit),
            (b"HTTP/1.0 200".to_vec(), RRError::Closed),
            (b"what?".to_vec(), RRError::Protocol),
        ] {
            let (url, server) = server(vec![bytes.clone()]);
            let failure = ask(&url, None, 0, 0).unwrap_err();
            assert_eq!(failure.kind, kind, "{failure}: {}", String::from_utf8_lossy(&bytes));
            server.join().unwrap();
        }
        assert_eq!(ask("rtmp://h/", None, 0, 0).unwrap_err().kind, RRError::Arg);
    }

    #[test]
    fn a_silent_server_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let began = Instant::now();
        let failure = ask_within(Duration::from_millis(500), &url, None, 0, 0).unwrap_err();
        assert_eq!(failure.kind, RRError::Timeout);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
