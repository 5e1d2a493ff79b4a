//! `RTMP_HashSWF` beside the original's: the same hashes of the same files, and one cache that both read and write.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::hostile::program;
use super::linked;
use crate::support::c::good;
use crate::support::program::Room;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A player of so many bytes, as it is or compressed.
fn player(len: usize, compressed: bool) -> Vec<u8> {
    let body: Vec<u8> = (0..len - 8).map(|at| (at / 3 % 251) as u8).collect();
    let rest = [&[8][..], &(len as u32).to_le_bytes()].concat();
    if !compressed {
        return [&b"FWS"[..], &rest, &body].concat();
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&body).unwrap();
    [&b"CWS"[..], &rest, &encoder.finish().unwrap()].concat()
}

/// An HTTP server on loopback that knows two players and keeps what it was asked, for as long as the test program runs.
struct Web {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let asked = Arc::clone(&requests);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = BufReader::new(socket.unwrap());
                let mut request = String::new();
                while !request.ends_with("\r\n\r\n") && socket.read_line(&mut request).unwrap() > 0 {}
                let answer = answer(&request);
                asked.lock().unwrap().push(request);
                // The client may have closed already.
                let _ = socket.get_mut().write_all(&answer);
            }
        });
        Self { address, requests }
    }

    /// The requests since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(request: &str) -> Vec<u8> {
    let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
    let body = match path {
        "/plain.swf" => player(100_000, false),
        "/compressed.swf" => player(300_000, true),
        _ => return b"HTTP/1.0 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec(),
    };
    if request.contains("If-Modified-Since: ") {
        return b"HTTP/1.0 304 Not Modified\r\n\r\n".to_vec();
    }
    let head = format!("HTTP/1.0 200 OK\r\nLast-Modified: {DATE}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

/// The library that hashes.
#[derive(Clone, Copy, Debug)]
enum By {
    Us,
    TheOriginal,
}

/// Runs `RTMP_HashSWF` with this home directory.
fn hash(by: By, home: &Path, url: &str, age_days: u32) -> String {
    let mut command = Command::new(program("hash"));
    command.arg(url).arg(age_days.to_string()).env("HOME", home);
    match by {
        By::Us => command.env("LD_LIBRARY_PATH", linked::folder()),
        // The package rtmpdump (tests/setup.sh) brings the original, where the loader finds it.
        By::TheOriginal => command.env_remove("LD_LIBRARY_PATH"),
    };
    let output = command.output().unwrap();
    good(&output, &format!("{by:?} {url}"));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_player_has_the_hash_that_the_original_computes() {
    let (room, web) = (Room::new("librtmp-swf"), Web::start());
    for name in ["plain.swf", "compressed.swf", "plain.swf?a=query", "compressed.swf?b"] {
        let url = format!("{}/{name}", web.address);
        let [ours, theirs] = [(By::Us, "ours"), (By::TheOriginal, "theirs")].map(|(by, home)| {
            let home = room.file(home);
            fs::create_dir_all(&home).unwrap();
            hash(by, &home, &url, 0)
        });
        let size = if name.starts_with('p') { 100_000 } else { 300_000 };
        assert!(ours.starts_with(&format!("0 {size} ")), "{name}: {ours}");
        assert_eq!(ours, theirs, "{name}");
    }
    // The cache has urls without their queries.
    for home in ["ours", "theirs"] {
        let cache = fs::read_to_string(room.file(home).join(".swfinfo")).unwrap();
        assert_eq!(cache.lines().count(), 10, "two entries of five lines: {cache}");
    }
    let gone = format!("{}/gone.swf", web.address);
    assert_eq!(hash(By::Us, &room.file("ours"), &gone, 0), "-1");
}

#[test]
fn one_cache_serves_both_libraries() {
    let (room, web) = (Room::new("librtmp-swf-cache"), Web::start());
    let url = format!("{}/compressed.swf", web.address);
    for (number, (writer, reader)) in [(By::Us, By::TheOriginal), (By::TheOriginal, By::Us)].into_iter().enumerate() {
        let home = room.file(&number.to_string());
        fs::create_dir_all(&home).unwrap();
        let fetched = hash(writer, &home, &url, 30);
        assert!(fetched.starts_with("0 300000 "), "{fetched}");
        assert_eq!(web.asked().len(), 1);
        assert_eq!(hash(reader, &home, &url, 30), fetched, "{reader:?} after {writer:?}");
        assert_eq!(web.asked(), Vec::<String>::new(), "what is young is not asked for");
        assert_eq!(hash(reader, &home, &url, 0), fetched);
        let asked = web.asked();
        assert!(asked.len() == 1 && asked[0].contains(&format!("If-Modified-Since: {DATE}\r\n")), "{asked:?}");
    }
}
