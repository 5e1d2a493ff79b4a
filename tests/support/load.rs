//! Streams with players under load: each player knows whether it has got every message once.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what cannot be done here has failed the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rrelay::proto::message::kind;

use super::live::{Client, PATIENCE};

/// A picture of this number; every tenth one is a key frame.
fn picture(number: u32) -> Vec<u8> {
    let kind: &[u8] = if number.is_multiple_of(10) { &[0x17, 1, 0, 0, 0] } else { &[0x27, 1, 0, 0, 0] };
    [kind, &number.to_be_bytes(), &vec![number as u8; 3_000]].concat()
}

/// What comes behind the last picture.
const LAST: &[u8] = b"\xaf\x01the last";

/// How much media may be on its way to a player, ms: players over librtmp give up when nothing has come for this time, and
/// others wait longer.
const PATIENCE_OF_PLAYERS_MS: u32 = 30_000;

/// A publisher that sends a picture each `every_ms` until `stop` is set, or it is closed, and counts them. The result is the
/// number of pictures; the connection stays open.
fn publishing(
    mut publisher: Client,
    every_ms: u32,
    stop: &Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
) -> JoinHandle<(Client, u32)> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Acquire) && publisher.send(kind::VIDEO, number * every_ms, &picture(number)).is_ok()
        {
            number += 1;
            sent.store(number, Ordering::Release);
            std::thread::sleep(Duration::from_millis(every_ms.into()));
        }
        let _ = publisher.send(kind::AUDIO, number * every_ms, LAST);
        (publisher, number)
    })
}

/// What a player has got.
pub(crate) struct Played {
    /// The numbers of the pictures.
    pub(crate) numbers: Vec<u32>,
    /// The last message has come; otherwise it was closed before.
    pub(crate) whole: bool,
    /// The longest time without a message.
    pub(crate) pause: Duration,
    /// How many pictures had been sent behind the one that came, at most.
    behind: u32,
    _client: Client,
}

/// A player that reads until the last message, or until it is closed.
pub(crate) fn playing(client: Client) -> JoinHandle<Played> {
    following(client, Arc::default())
}

/// [`playing`] a stream of which so many pictures have been sent.
fn following(mut client: Client, sent: Arc<AtomicU32>) -> JoinHandle<Played> {
    std::thread::spawn(move || {
        let (mut numbers, mut pause, mut whole, mut closed) = (Vec::new(), Duration::ZERO, false, false);
        let mut behind = 0;
        let (mut last, mut silent_since) = (None, Instant::now());
        while !whole && !closed {
            // What has come before the end counts too.
            closed = client.turn(Duration::from_millis(50)).is_err();
            while let Some((head, body)) = client.messages.pop_front() {
                let now = Instant::now();
                silent_since = now;
                pause = pause.max(last.map_or(Duration::ZERO, |last| now - last));
                last = Some(now);
                match head.type_id {
                    kind::VIDEO => {
                        let number = u32::from_be_bytes(body[5..9].try_into().unwrap());
                        assert!(body == picture(number), "picture {number} is another one than was sent");
                        numbers.push(number);
                        behind = behind.max(sent.load(Ordering::Acquire).saturating_sub(number));
                    }
                    kind::AUDIO => whole |= body == LAST,
                    _ => {}
                }
            }
            assert!(silent_since.elapsed() < PATIENCE, "nothing comes any more, and the connection stays open");
        }
        Played { numbers, whole, pause, behind, _client: client }
    })
}

/// Streams with players on a server, under load.
pub(crate) struct Load {
    every_ms: u32,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<(Client, u32)>>,
    players: Vec<(usize, JoinHandle<Played>)>,
}

impl Load {
    pub(crate) fn on(port: u16, streams: usize, players: usize, every_ms: u32) -> Self {
        let stop = Arc::default();
        let client = |stream, publish| Client::new(port, &format!("show{stream}"), publish);
        let publishers: Vec<_> = (0..streams).map(|stream| client(stream, true)).collect();
        // They are there before the first picture, so they get all of them.
        let player = |stream| (0..players).map(move |_| (stream, client(stream, false)));
        let players: Vec<_> = (0..streams).flat_map(player).collect();
        let sent: Vec<Arc<AtomicU32>> = publishers.iter().map(|_| Arc::default()).collect();
        let players =
            players.into_iter().map(|(stream, player)| (stream, following(player, Arc::clone(&sent[stream]))));
        let players = players.collect();
        let publishers = publishers.into_iter().zip(sent);
        let publishers = publishers.map(|(publisher, sent)| publishing(publisher, every_ms, &stop, sent)).collect();
        Self { every_ms, stop, publishers, players }
    }

    /// Ends the load: everybody has got everything, once, and before a player would have given up, counted in the media that was
    /// sent meanwhile. Returns the longest time without a message.
    pub(crate) fn end(self) -> Duration {
        let mut longest = Duration::ZERO;
        let most = PATIENCE_OF_PLAYERS_MS / self.every_ms;
        for (stream, all, played) in self.played() {
            assert!(played.whole, "a player of stream {stream} was closed");
            assert_eq!(played.numbers, (0..all).collect::<Vec<_>>(), "a player of stream {stream}");
            assert!(played.behind < most, "a player of stream {stream} was {} pictures behind", played.behind);
            longest = longest.max(played.pause);
        }
        longest
    }

    /// The streams whose publishers were closed.
    pub(crate) fn closed(&self) -> Vec<usize> {
        let publishers = self.publishers.iter().enumerate();
        publishers.filter(|(_, publisher)| publisher.is_finished()).map(|(stream, _)| stream).collect()
    }

    /// Ends the load, where these streams were cut: from the key frame at which it began, each player has got every
    /// picture once, until it was closed or, on the other streams, until the last one.
    pub(crate) fn end_but(self, cut: &[usize]) {
        for (stream, all, played) in self.played() {
            let (is_cut, first) = (cut.contains(&stream), played.numbers.first().copied().unwrap_or_default());
            let until = if is_cut { first + played.numbers.len() as u32 } else { all };
            assert_eq!(played.whole, !is_cut, "a player of stream {stream}");
            assert!(first.is_multiple_of(10), "a player of stream {stream} begins with {first}");
            assert_eq!(played.numbers, (first..until).collect::<Vec<_>>(), "a player of stream {stream}");
        }
    }

    /// Ends the load, where a process was killed: until its connection was closed, everybody has got everything, once.
    /// Returns how many were closed.
    pub(crate) fn end_cut(self) -> usize {
        let mut closed = 0;
        for (stream, _, played) in self.played() {
            let numbers = &played.numbers;
            assert_eq!(*numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "a player of stream {stream}");
            closed += usize::from(!played.whole);
        }
        closed
    }

    fn played(self) -> Vec<(usize, u32, Played)> {
        self.stop.store(true, Ordering::Release);
        let publishers: Vec<_> = self.publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
        let players = self.players.into_iter();
        players.map(|(stream, player)| (stream, publishers[stream].1, player.join().unwrap())).collect()
    }
}
