//! A server of one stored film, as Flash Media Server plays it and as librtmp's resumed downloads need it: a play from
//! a position begins at the key frame before it, and times begin at 0 there. Chunks are written by hand, commands are
//! read by rml_rtmp and rml_amf0. One thread for each connection; loopback only.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::ChunkDeserializer;

use super::flv::{DATA, Tag};

const CHUNK_SIZE: u8 = 1;
const CONTROL: u8 = 4;
const COMMAND: u8 = 20;

/// Larger than any message of these tests: each is one chunk.
const ONE_CHUNK: u32 = 1 << 24;

/// The request of a player.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Play {
    pub(crate) name: String,
    /// Where to begin, in milliseconds.
    pub(crate) start: f64,
    /// The number of pauses and resumes.
    pub(crate) pauses: usize,
}

/// A command with its transaction and what follows its object.
pub(crate) type Command = (String, f64, Vec<Amf0Value>);

/// The commands of all players.
#[derive(Default)]
struct Heard {
    plays: Vec<Play>,
    commands: Vec<Command>,
}

pub(crate) struct Stored {
    pub(crate) port: u16,
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
}

impl Stored {
    pub(crate) fn new(tags: &[Tag]) -> Self {
        Self::start(tags, false)
    }

    /// A server that reports an empty buffer in the midst of a film, and continues when the player has paused and
    /// resumed, with the last message repeated: librtmp's method to be served faster.
    pub(crate) fn that_runs_dry(tags: &[Tag]) -> Self {
        Self::start(tags, true)
    }

    fn start(tags: &[Tag], runs_dry: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, over): (Arc<Mutex<Heard>>, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (noted, ends, tags): (_, _, Arc<[Tag]>) = (Arc::clone(&heard), Arc::clone(&over), tags.into());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (noted, tags, socket) = (Arc::clone(&noted), Arc::clone(&tags), socket.unwrap());
                socket.set_read_timeout(Some(super::PATIENCE)).unwrap();
                std::thread::spawn(move || {
                    let mut player = Player { socket, reader: ChunkDeserializer::new(), tags, runs_dry, noted };
                    player.serve();
                });
            }
        });
        Self { port, heard, over }
    }

    pub(crate) fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/vod/film", self.port)
    }

    /// The plays so far.
    pub(crate) fn plays(&self) -> Vec<Play> {
        self.heard.lock().unwrap().plays.clone()
    }

    /// The commands so far, plays too.
    pub(crate) fn commands(&self) -> Vec<Command> {
        self.heard.lock().unwrap().commands.clone()
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One connection.
struct Player {
    socket: TcpStream,
    reader: ChunkDeserializer,
    tags: Arc<[Tag]>,
    runs_dry: bool,
    noted: Arc<Mutex<Heard>>,
}

impl Player {
    /// Answers until the player is gone.
    fn serve(&mut self) {
        let mut hello = vec![0; 1537];
        if self.socket.read_exact(&mut hello).is_err() {
            return;
        }
        let own = [&[3][..], &[0; 8], &[0x5a; 1528]].concat();
        self.write(&[&own, &hello[1..]].concat());
        let mut echo = vec![0; 1536];
        if self.socket.read_exact(&mut echo).is_err() {
            return;
        }
        self.message(2, CHUNK_SIZE, 0, 0, &ONE_CHUNK.to_be_bytes());
        while let Some((name, transaction, arguments)) = self.command() {
            match name.as_str() {
                "connect" => {
                    let status = status("NetConnection.Connect.Success");
                    self.say(0, "_result", transaction, &[Amf0Value::Null, status]);
                }
                "getStreamLength" => {
                    let length_s = f64::from(self.tags.last().map_or(0, |tag| tag.ts_ms)) / 1000.0;
                    self.say(0, "_result", transaction, &[Amf0Value::Null, Amf0Value::Number(length_s)]);
                    self.say(0, "double", 77.0, &[Amf0Value::Null, Amf0Value::Number(length_s)]);
                }
                "createStream" => self.say(0, "_result", transaction, &[Amf0Value::Null, Amf0Value::Number(1.0)]),
                "play" => {
                    let name = arguments.first().and_then(|value| value.clone().get_string()).unwrap_or_default();
                    let start = arguments.get(1).and_then(|value| value.clone().get_number()).unwrap_or(0.0);
                    self.noted.lock().unwrap().plays.push(Play { name, start, pauses: 0 });
                    self.play(start.max(0.0) as u32);
                }
                _ => {}
            }
        }
    }

    /// Sends headers at 0, then everything from the last key frame that is not after `start_ms`.
    fn play(&mut self, start_ms: u32) {
        let tags = Arc::clone(&self.tags);
        let begin = tags.iter().rposition(|tag| tag.is_key_frame() && tag.ts_ms <= start_ms);
        let begin = begin.filter(|_| start_ms > 0).unwrap_or(0);
        let origin_ms = if begin == 0 { 0 } else { tags[begin].ts_ms };
        self.message(2, CONTROL, 0, 0, &[0, 0, 0, 0, 0, 1]); // the stream begins
        self.say(1, "onStatus", 0.0, &[Amf0Value::Null, status("NetStream.Play.Start")]);
        for header in tags[..begin].iter().filter(|tag| tag.is_header()) {
            self.tag(header, 0);
        }
        let middle = begin + (tags.len() - begin) / 2;
        let dry = (middle..tags.len() - 1).find(|&at| tags[at].ts_ms < tags[at + 1].ts_ms);
        for (at, tag) in tags.iter().enumerate().skip(begin) {
            let ts_ms = tag.ts_ms - origin_ms;
            self.tag(tag, ts_ms);
            if self.runs_dry && Some(at) == dry {
                self.message(2, CONTROL, 0, 0, &[0, 31, 0, 0, 0, 1]); // the buffer is empty
                self.paused(true);
                self.say(1, "onStatus", 0.0, &[Amf0Value::Null, status("NetStream.Pause.Notify")]);
                self.paused(false);
                self.say(1, "onStatus", 0.0, &[Amf0Value::Null, status("NetStream.Unpause.Notify")]);
                self.noted.lock().unwrap().plays.last_mut().unwrap().pauses += 1;
                self.tag(tag, ts_ms);
            }
        }
        self.say(1, "onStatus", 0.0, &[Amf0Value::Null, status("NetStream.Play.Stop")]);
    }

    /// Waits until the player pauses or resumes.
    fn paused(&mut self, paused: bool) {
        while let Some((name, _, arguments)) = self.command() {
            if name == "pause" && arguments.first() == Some(&Amf0Value::Boolean(paused)) {
                return;
            }
        }
    }

    /// The next command; `None` when the player is gone.
    fn command(&mut self) -> Option<Command> {
        let mut bytes = Vec::new();
        loop {
            while let Some(message) = self.reader.get_next_message(&bytes).ok()? {
                bytes.clear();
                if message.type_id != COMMAND {
                    continue;
                }
                let values = rml_amf0::deserialize(&mut &message.data[..]).ok()?;
                if let [Amf0Value::Utf8String(name), Amf0Value::Number(transaction), _, rest @ ..] = values.as_slice() {
                    let command = (name.clone(), *transaction, rest.to_vec());
                    self.noted.lock().unwrap().commands.push(command.clone());
                    return Some(command);
                }
            }
            bytes.resize(4096, 0);
            let got = self.socket.read(&mut bytes).ok().filter(|&got| got > 0)?;
            bytes.truncate(got);
        }
    }

    fn tag(&mut self, tag: &Tag, ts_ms: u32) {
        let channel = if tag.kind == DATA { 5 } else { 6 };
        self.message(channel, tag.kind, 1, ts_ms, &tag.body);
    }

    fn say(&mut self, stream: u8, name: &str, transaction: f64, rest: &[Amf0Value]) {
        let mut values = vec![Amf0Value::Utf8String(name.to_owned()), Amf0Value::Number(transaction)];
        values.extend_from_slice(rest);
        self.message(3, COMMAND, stream, 0, &rml_amf0::serialize(&values).unwrap());
    }

    /// A message of one chunk with a full header.
    fn message(&mut self, channel: u8, kind: u8, stream: u8, ts_ms: u32, body: &[u8]) {
        let [_, t1, t2, t3] = ts_ms.to_be_bytes();
        let [_, l1, l2, l3] = u32::try_from(body.len()).unwrap().to_be_bytes();
        self.write(&[&[channel, t1, t2, t3, l1, l2, l3, kind, stream, 0, 0, 0][..], body].concat());
    }

    /// Writes bytes. An error is ignored: the next read shows that the player has gone.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }
}

fn status(code: &str) -> Amf0Value {
    let entry = |name: &str, value: &str| (name.to_owned(), Amf0Value::Utf8String(value.to_owned()));
    Amf0Value::Object([entry("level", "status"), entry("code", code)].into())
}
