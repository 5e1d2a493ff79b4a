//! A show whose messages are all different: its messages, its senders, its players, and the comparison of both ends.
//!
//! Sound and picture take turns, 10 ms apart, a key frame every 200 ms. Each message's body has the number of the
//! publisher's life, the message's number in that life, and bytes that follow from both.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rrelay::server::Id;

use crate::ingest::{Ingest, Visit};
use crate::raw::{AUDIO, COMMAND, DATA, DATA_AMF3, Got, Raw, VIDEO};
use crate::support::server::Relay;
use crate::support::until;

/// From one message to the next.
pub(crate) const STEP_MS: u32 = 10;

/// Messages from one key frame to the next.
pub(crate) const GROUP: u32 = 20;

const KEY_BYTES: usize = 30_000;
const INTER_BYTES: usize = 4_000;
const SOUND_BYTES: usize = 300;

/// `onMetaData` with one number, which is filled in.
const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x04life\0";
const END_OF_OBJECT: &[u8] = b"\0\0\x09";
const SET_DATA_FRAME: &[u8] = b"\x02\0\x0d@setDataFrame";

/// The headers of one life: metadata, picture, sound.
fn headers(life: u32) -> [(u8, Vec<u8>); 3] {
    let metadata = [METADATA, &f64::from(life).to_be_bytes(), END_OF_OBJECT].concat();
    let picture = [&[0x17, 0, 0, 0, 0][..], &life.to_be_bytes()].concat();
    let sound = [&[0xaf, 0][..], &life.to_be_bytes()].concat();
    [(DATA, metadata), (VIDEO, picture), (AUDIO, sound)]
}

/// The message of this number.
fn message(life: u32, number: u32) -> (u8, Vec<u8>) {
    let (type_id, head, len) = match number {
        n if n.is_multiple_of(GROUP) => (VIDEO, &[0x17, 1, 0, 0, 0][..], KEY_BYTES),
        n if n.is_multiple_of(2) => (VIDEO, &[0x27, 1, 0, 0, 0][..], INTER_BYTES),
        _ => (AUDIO, &[0xaf, 1][..], SOUND_BYTES),
    };
    let mut body = [head, &life.to_be_bytes(), &number.to_be_bytes()].concat();
    let mut random = u64::from(life) << 32 | u64::from(number) | 1;
    while body.len() < len {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.extend(random.to_be_bytes());
    }
    (type_id, body)
}

/// The clock of a publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Of its headers.
    pub(crate) headers_ms: u32,
    /// Of its first frame.
    pub(crate) first_ms: u32,
}

/// Sends one life of the show at its own pace, until told to end or until the connection takes no more.
pub(crate) struct Sender {
    end: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// An encoder: publishes to `live/show` on a port.
    pub(crate) fn encoder(port: u16, life: u32, times: Times) -> Self {
        let raw = Raw::publish(port, "show");
        Self::start(life, times, Self::over(raw))
    }

    /// An encoder that asks again as long as it is refused.
    pub(crate) fn persistent_encoder(port: u16, life: u32) -> Self {
        let raw = until("the publisher is let in", || Raw::try_publish(port, "show"));
        Self::start(life, Times::default(), Self::over(raw))
    }

    /// A show that the host publishes.
    pub(crate) fn host(relay: &Arc<Relay>, stream: Id, life: u32) -> Self {
        let relay = Arc::clone(relay);
        Self::start(life, Times::default(), move |type_id, ts_ms, body| {
            relay.server.stream_write(stream, type_id, ts_ms.into(), body, false).is_ok()
        })
    }

    fn over(mut raw: Raw) -> impl FnMut(u8, u32, &[u8]) -> bool + Send {
        raw.socket.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        move |type_id, ts_ms, body| raw.try_send(type_id, ts_ms, body)
    }

    fn start(life: u32, times: Times, mut take: impl FnMut(u8, u32, &[u8]) -> bool + Send + 'static) -> Self {
        let (end, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ended, counter) = (Arc::clone(&end), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            for (type_id, body) in headers(life) {
                if !take(type_id, times.headers_ms, &body) {
                    return;
                }
            }
            let begun = Instant::now();
            for number in 0.. {
                let (type_id, body) = message(life, number);
                if ended.load(Ordering::SeqCst) || !take(type_id, times.first_ms.wrapping_add(number * STEP_MS), &body)
                {
                    return;
                }
                counter.store(number + 1, Ordering::SeqCst);
                let next = begun + Duration::from_millis(u64::from((number + 1) * STEP_MS));
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Self { end, sent, thread: Some(thread) }
    }

    /// Messages sent, headers not counted.
    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What a player has received.
#[derive(Debug, Default)]
struct Heard {
    media: Listener,
    /// Commands since it plays.
    commands: Vec<String>,
    over: bool,
}

/// A player of `live/show` that reads all there is.
pub(crate) struct Player {
    heard: Arc<Mutex<Heard>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Player {
    pub(crate) fn new(port: u16) -> Self {
        let mut raw = Raw::play(port, "show");
        let (heard, end) = (Arc::new(Mutex::new(Heard::default())), Arc::new(AtomicBool::new(false)));
        let (tell, ended) = (Arc::clone(&heard), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                match raw.next_within(Duration::from_millis(20)) {
                    Some(got) if crate::raw::is_sample_access(&got) => {}
                    Some(got) if matches!(got.type_id, AUDIO | VIDEO | DATA | DATA_AMF3) => {
                        tell.lock().unwrap().media.take(&got);
                    }
                    Some(got) if got.type_id == COMMAND => {
                        tell.lock().unwrap().commands.push(String::from_utf8_lossy(&got.body).into_owned());
                    }
                    Some(got) => {
                        raw.answer_ping(&got);
                    }
                    None if raw.is_closed() => {
                        tell.lock().unwrap().over = true;
                        return;
                    }
                    None => {}
                }
            }
        });
        Self { heard, end, thread: Some(thread) }
    }

    /// The runs that have been received so far.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.heard.lock().expect("what it hears is in order").media.runs.clone()
    }

    /// Waits until this many messages of a life have come.
    pub(crate) fn hears(&self, life: u32, count: u32) {
        until(&format!("a player hears {count} messages of life {life}"), || {
            let ran = self.runs().last().filter(|run| run.life == life).map_or(0, Run::len);
            assert!(!self.heard.lock().unwrap().over, "the player was closed");
            (ran >= count).then_some(())
        });
    }

    /// Asserts that the player is connected and has had no command.
    pub(crate) fn notices_nothing(&self) {
        let heard = self.heard.lock().unwrap();
        assert!(!heard.over, "the player was closed");
        assert!(heard.commands.is_empty(), "{:?}", heard.commands);
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Headers and what followed them without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) life: u32,
    /// Numbers of its first message and of its last.
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Their times.
    pub(crate) begin_ms: u32,
    pub(crate) end_ms: u32,
}

impl Run {
    pub(crate) fn len(&self) -> u32 {
        self.last + 1 - self.first
    }

    /// Whether a decoder can begin with it.
    pub(crate) fn begins_with_a_picture(&self) -> bool {
        self.first.is_multiple_of(GROUP)
    }
}

/// The messages of one connection, as runs, checked as they come. Each run begins with all three headers of its life,
/// once; within it no message is missing, doubled or damaged, and times are the sender's; over all runs time never goes
/// back.
#[derive(Debug, Default)]
struct Listener {
    runs: Vec<Run>,
    /// Headers since the last message: their lives and kinds.
    lead: Vec<(u32, u8)>,
    now_ms: Option<u32>,
}

impl Listener {
    fn take(&mut self, got: &Got) {
        let type_id = got.type_id;
        // Metadata is of the whole stream and may have time 0; the clock of all other messages may wrap.
        if type_id != DATA {
            let now_ms = self.now_ms.replace(got.ts_ms).unwrap_or(got.ts_ms);
            assert!(got.ts_ms.wrapping_sub(now_ms) < u32::MAX / 2, "time goes back from {now_ms} to {}", got.ts_ms);
        }
        if let Some(life) = header_of(got) {
            self.lead.push((life, type_id));
            return;
        }
        let at = if type_id == AUDIO { 2 } else { 5 };
        let number_at = |at: usize| u32::from_be_bytes(*got.body[at..].first_chunk().unwrap());
        let (life, number) = (number_at(at), number_at(at + 4));
        assert!(message(life, number) == (type_id, got.body.clone()), "message {number} of life {life} is damaged");
        match self.runs.last_mut().filter(|_| self.lead.is_empty()) {
            Some(run) => {
                assert_eq!((life, number), (run.life, run.last + 1), "missing, doubled or out of place after {run:?}");
                let age_ms = (number - run.first) * STEP_MS;
                assert_eq!(got.ts_ms, run.begin_ms.wrapping_add(age_ms), "the time of {number} in {run:?}");
                (run.last, run.end_ms) = (number, got.ts_ms);
            }
            None => {
                self.lead.sort_unstable();
                assert_eq!(self.lead, [(life, AUDIO), (life, VIDEO), (life, DATA)], "the headers before {number}");
                self.lead.clear();
                self.runs.push(Run { life, first: number, last: number, begin_ms: got.ts_ms, end_ms: got.ts_ms });
            }
        }
    }
}

/// The life of a header; `None` for other messages.
fn header_of(got: &Got) -> Option<u32> {
    let life = match got.type_id {
        DATA => {
            let at = METADATA.len();
            f64::from_be_bytes(*got.body[at..].first_chunk().unwrap()) as u32
        }
        AUDIO if got.body[1] == 0 => u32::from_be_bytes(*got.body[2..].first_chunk().unwrap()),
        VIDEO if got.body[1] == 0 => u32::from_be_bytes(*got.body[5..].first_chunk().unwrap()),
        _ => return None,
    };
    assert!(headers(life).contains(&(got.type_id, got.body.clone())), "a damaged header: {got:?}");
    Some(life)
}

/// The runs of one connection to an ingest.
pub(crate) fn visit_runs(visit: &Visit) -> Vec<Run> {
    let mut listener = Listener::default();
    for got in &visit.media {
        let body = got.body.strip_prefix(SET_DATA_FRAME).unwrap_or(&got.body).to_vec();
        listener.take(&Got { type_id: got.type_id, ts_ms: got.ts_ms, body });
    }
    listener.runs
}

/// Waits until so many messages of a life have come, in its last run, over one connection to an ingest.
pub(crate) fn gets(ingest: &Ingest, visit: usize, life: u32, count: u32) -> Run {
    until(&format!("{count} messages of life {life} on connection {visit}"), || {
        let visits = ingest.visits();
        // The count comes first, because checking many messages takes time.
        let visit = visits.get(visit).filter(|visit| visit.media.len() >= count as usize)?;
        visit_runs(visit).last().copied().filter(|run| run.life == life && run.len() >= count)
    })
}
