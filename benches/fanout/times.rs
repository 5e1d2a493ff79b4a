//! How long what happens now and then takes: a player's first picture, and one message to very many players.

use std::time::{Duration, Instant};

use super::{Feeds, Load, Use};
use crate::shape::Shape;
use crate::system::cpu_ns;

/// How many players come to streams that run, and how many new streams begin, where the time of that is measured.
const STARTS: usize = 9;

/// How many single messages are sent where the time of a pass is measured, and how long the server must rest until the
/// pass is taken for done: the system adds up the time of a thread that runs only at its ticks, every 10 ms at most.
const PASSES: usize = 25;
const RESTS: Duration = Duration::from_millis(15);

/// How long all players are read between two such messages.
const BETWEEN: Duration = Duration::from_millis(60);

impl Load {
    /// How long it takes, in ms, until a player of a stream that runs has its first picture, and how long until the
    /// player of a new stream has it. Medians.
    pub(super) fn starts(&mut self, feeds: &mut Feeds) -> (f64, f64) {
        let Shape { streams, kbps, .. } = self.shape;
        let (mut joins, mut begins) = (Vec::new(), Vec::new());
        for at in 0..STARTS {
            joins.push(self.first_picture_ms(feeds, &format!("s{}", at * 7 % streams), Instant::now()));
            let (came, key) = (Instant::now(), format!("new{at}"));
            self.connect(Use::Publisher, &key);
            let publisher = self.links.len() - 1;
            while !self.links[publisher].started {
                self.feed(feeds);
                self.is_in_time();
            }
            let now_us = self.begun.elapsed().as_micros() as u64;
            self.begin(feeds, publisher, kbps, now_us);
            begins.push(self.first_picture_ms(feeds, &key, came));
        }
        (median(joins), median(begins))
    }

    /// How long it takes, in ms, until the server has sent a message of the first stream to all players, with all
    /// processors: this program reads only after that. The server is done when its CPU time stays as it is. Median.
    pub(super) fn pass_ms(&mut self, feeds: &mut Feeds) -> f64 {
        let (pid, mut times) = (self.server.pid, Vec::new());
        for _ in 0..PASSES {
            self.rest(BETWEEN);
            let (before, begun) = (cpu_ns(pid), Instant::now());
            let (feed, now_ns) = (&mut feeds.all[0], self.begun.elapsed().as_nanos() as u64);
            let link = &mut self.links[feed.publisher];
            feed.media.next(now_ns, &mut link.rest);
            link.flush();
            let (mut last, mut at) = (before, Instant::now());
            while last == before || at.elapsed() < RESTS {
                let now = cpu_ns(pid);
                if now != last {
                    (last, at) = (now, Instant::now());
                }
                std::thread::sleep(Duration::from_micros(50));
                self.is_in_time();
            }
            times.push((at - begun).as_secs_f64() * 1e3);
        }
        median(times)
    }

    /// The time from a moment until a new player of this stream has its first picture.
    fn first_picture_ms(&mut self, feeds: &mut Feeds, key: &str, from: Instant) -> f64 {
        self.connect(Use::Player, key);
        let player = self.links.len() - 1;
        loop {
            if let Some(at) = self.links[player].first_picture {
                return (at - from).as_secs_f64() * 1e3;
            }
            self.feed(feeds);
            self.is_in_time();
        }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
