//! Connecting to a name with several addresses: the tries begin one after the other at short intervals, and the first
//! that connects wins ([`crate::net::addresses`]). So an unreachable address family costs a quarter of a second, not a
//! timeout.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use slab::Slab;

use crate::error::{Failure, RRError};
use crate::net::addresses::{alternate, step_ms};
use crate::net::poll::Watch;
use crate::net::socket::Socket;
use crate::stream::event::Id;

/// One connection attempt.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) socket: Socket,
    /// Its slot in the poller.
    pub(super) slot: usize,
    pub(super) address: SocketAddr,
}

/// The state of the race.
#[derive(Debug)]
pub(super) enum Lap {
    Running,
    Won(Box<Runner>),
    /// All attempts have failed; the reason of the last one.
    Lost(Failure),
}

/// The addresses of one try.
#[derive(Debug)]
pub(super) struct Race {
    runners: Vec<Runner>,
    waiting: VecDeque<SocketAddr>,
    /// When the next attempt begins.
    next_ms: u64,
    /// The time between two attempts.
    step_ms: u64,
    bind: Option<IpAddr>,
    last: Failure,
}

impl Race {
    /// A race that has not begun and may take `time_ms`; the first [`step`](Self::step) begins it.
    pub(super) fn new(addresses: Vec<SocketAddr>, bind: Option<IpAddr>, time_ms: u64) -> Self {
        let fits = |address: &SocketAddr| bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
        let none = if addresses.is_empty() { "the name has no address" } else { "no address of bind_addr's family" };
        let waiting = alternate(addresses.into_iter().filter(fits).collect());
        let step_ms = step_ms(time_ms, waiting.len());
        Self { runners: Vec::new(), waiting, next_ms: 0, step_ms, bind, last: Failure::ours(RRError::Resolve, none) }
    }

    /// When the race must be checked without a report of the poller; `u64::MAX` for never.
    pub(super) fn due_ms(&self) -> u64 {
        if self.waiting.is_empty() { u64::MAX } else { self.next_ms }
    }

    /// The address of the latest attempt, for people.
    pub(super) fn newest(&self) -> Option<SocketAddr> {
        self.runners.last().map(|runner| runner.address)
    }

    /// Checks the running attempts and begins the next one if it is due.
    pub(super) fn step(&mut self, watch: Watch<'_>, slots: &mut Slab<Id>, id: Id, now_ms: u64) -> Lap {
        let mut at = 0;
        while let Some(runner) = self.runners.get(at) {
            match runner.socket.connect_result() {
                Ok(false) => at += 1,
                Ok(true) => {
                    let winner = self.runners.swap_remove(at);
                    self.stop(watch, slots);
                    return Lap::Won(Box::new(winner));
                }
                Err(failure) => {
                    let Runner { mut socket, slot, address } = self.runners.swap_remove(at);
                    watch.remove(&mut socket);
                    slots.try_remove(slot);
                    self.last = Failure { text: format!("{address}: {}", failure.text).into(), ..failure };
                    self.next_ms = now_ms; // no need to wait for that one
                }
            }
        }
        while now_ms >= self.next_ms
            && let Some(address) = self.waiting.pop_front()
        {
            let entry = slots.vacant_entry();
            let begun = Socket::connect_from(address, self.bind).and_then(|mut socket| {
                watch.add(&mut socket, entry.key())?;
                Ok(socket)
            });
            match begun {
                Ok(socket) => {
                    self.runners.push(Runner { socket, slot: entry.key(), address });
                    entry.insert(id);
                    self.next_ms = now_ms + self.step_ms;
                }
                Err(failure) => self.last = failure,
            }
        }
        if self.runners.is_empty() && self.waiting.is_empty() { Lap::Lost(self.last.clone()) } else { Lap::Running }
    }

    /// Ends the running attempts.
    pub(super) fn stop(&mut self, watch: Watch<'_>, slots: &mut Slab<Id>) {
        for mut runner in self.runners.drain(..) {
            watch.remove(&mut runner.socket);
            slots.try_remove(runner.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;
    use crate::net::poll::Poller;
    use crate::net::reserved::Reserved;
    use std::net::TcpListener;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const TIME_MS: u64 = 1_000;

    /// A race in a time of the test's own, so that nothing depends on how busy the machine is.
    struct Run {
        race: Race,
        poller: Poller,
        slots: Slab<Id>,
    }

    impl Run {
        fn new(race: Race) -> Self {
            Self { race, poller: Poller::new(1).unwrap(), slots: Slab::new() }
        }

        fn step(&mut self, now_ms: u64) -> Lap {
            self.race.step(self.poller.watch(0), &mut self.slots, 7, now_ms)
        }

        /// The end of the race, if the time stands still meanwhile.
        fn end(&mut self, now_ms: u64) -> Lap {
            let by_ms = clock::now_ms() + 40_000;
            loop {
                match self.step(now_ms) {
                    Lap::Running => {}
                    lap => {
                        let kept = usize::from(matches!(lap, Lap::Won(_)));
                        assert_eq!(self.slots.len(), kept, "whoever did not win is forgotten");
                        return lap;
                    }
                }
                assert!(clock::now_ms() < by_ms, "no end");
                self.poller.poll(Some(std::time::Duration::from_millis(100))).unwrap();
            }
        }
    }

    fn run(race: Race) -> Lap {
        Run::new(race).end(0)
    }

    /// A listener that accepts no more connections: its queue is full, so the kernel lets further ones wait.
    fn black_hole() -> (TcpListener, Vec<std::net::TcpStream>) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let fill = || std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200));
        let queue: Vec<_> = std::iter::from_fn(|| fill().ok()).take(16).collect();
        assert!(queue.len() < 16, "the queue has no end");
        (listener, queue)
    }

    #[test]
    fn an_address_that_leads_nowhere_costs_a_quarter_of_a_second() {
        let (nowhere, _queue) = black_hole();
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = good.local_addr().unwrap();
        let mut run = Run::new(Race::new(vec![nowhere.local_addr().unwrap(), to], None, TIME_MS));
        for now_ms in [1_000, 1_249] {
            assert!(matches!(run.step(now_ms), Lap::Running));
            assert_eq!((run.race.newest(), run.race.due_ms()), (nowhere.local_addr().ok(), 1_250));
        }
        let Lap::Won(winner) = run.end(1_250) else { panic!("it connects") };
        assert_eq!(winner.address, to);
    }

    #[test]
    fn an_address_that_refuses_costs_nothing() {
        let reserved = Reserved::new();
        let closed = reserved.address();
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let lap = run(Race::new(vec![closed, good.local_addr().unwrap()], None, TIME_MS));
        assert!(matches!(lap, Lap::Won(_)), "{lap:?}");
        let lap = run(Race::new(vec![closed, closed], None, TIME_MS));
        let Lap::Lost(failure) = lap else { panic!("{lap:?}") };
        assert_eq!(failure.kind, RRError::Connect);
        assert!(failure.text.contains(&closed.to_string()), "{failure}");
    }

    #[test]
    fn an_attempt_connects_from_the_address_it_is_bound_to() {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let from: IpAddr = "127.0.0.7".parse().unwrap();
        let mut to = addresses(&["[::1]:9"]);
        to.push(good.local_addr().unwrap());
        let lap = run(Race::new(to, Some(from), TIME_MS));
        assert!(matches!(lap, Lap::Won(_)), "the other family is left out: {lap:?}");
        assert_eq!(good.accept().unwrap().1.ip(), from);
        let lap = run(Race::new(addresses(&["[::1]:9"]), Some(from), TIME_MS));
        assert!(matches!(lap, Lap::Lost(failure) if failure.text.contains("bind_addr")));
    }
}
