//! Resolves names to addresses. A look-up blocks and cannot be cancelled, so a few threads do only this; they share
//! nothing but their jobs, and the end of the server does not wait for them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::error::{Failure, RRError, Result};
use crate::net::addresses::MAX_ADDRESSES;
use crate::net::clock;
use crate::net::poll::Wake;
use crate::stream::event::Id;

/// Look-ups at one time. A name server that does not answer occupies one thread for some seconds.
const THREADS: usize = 4;

/// Look-ups that may wait for a thread.
const QUEUE: usize = 1024;

/// A look-up to be done.
#[derive(Debug)]
struct Question {
    target: Id,
    /// The number of the try, which distinguishes its answer from those to earlier tries.
    round: u64,
    host: String,
    port: u16,
    /// After this time nobody waits for the answer, monotonic ms.
    by_ms: u64,
}

/// The result of a look-up.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) target: Id,
    pub(super) round: u64,
    pub(super) addresses: Result<Vec<SocketAddr>>,
}

/// The handle to the threads.
#[derive(Debug)]
pub(super) struct Resolver {
    questions: Sender<Question>,
    jobs: Receiver<Question>,
    answered: Sender<Answer>,
    pub(super) answers: Receiver<Answer>,
    wake: Arc<Wake>,
    threads: usize,
}

impl Resolver {
    /// A resolver that calls `wake` with every answer.
    pub(super) fn new(wake: Arc<Wake>) -> Self {
        let (questions, jobs) = bounded(QUEUE);
        let (answered, answers) = bounded(QUEUE + THREADS);
        Self { questions, jobs, answered, answers, wake, threads: 0 }
    }

    /// Asks for a name's addresses; the caller waits until `by_ms` (monotonic). An address instead of a name is
    /// answered at once, without a thread.
    ///
    /// # Errors
    /// [`RRError::Limit`] if too many wait or no thread can be started.
    pub(super) fn ask(
        &mut self,
        target: Id,
        round: u64,
        (host, port): (&str, u16),
        by_ms: u64,
    ) -> Result<Option<Vec<SocketAddr>>> {
        if let Ok(ip) = host.parse() {
            return Ok(Some(vec![SocketAddr::new(ip, port)]));
        }
        self.questions
            .try_send(Question { target, round, host: host.to_owned(), port, by_ms })
            .map_err(|_| Failure::ours(RRError::Limit, "too many names wait to be resolved"))?;
        if self.threads < THREADS {
            let (jobs, answered, wake) = (self.jobs.clone(), self.answered.clone(), Arc::clone(&self.wake));
            // The thread is detached on purpose: it may be in the C library's look-up for longer than the server lives.
            drop(crate::sync::spawn(
                "resolverThread",
                move || {
                    crate::net::thread::block_signals();
                    serve(&jobs, &answered, &wake);
                },
                |_| {},
            )?);
            self.threads += 1;
        }
        Ok(None)
    }
}

fn serve(jobs: &Receiver<Question>, answered: &Sender<Answer>, wake: &Wake) {
    // The loop ends when the resolver is dropped and all questions are taken.
    while let Ok(Question { target, round, host, port, by_ms }) = jobs.recv() {
        if clock::now_ms() >= by_ms {
            // The question waited behind slow look-ups and is too late; the thread goes on with those still in time.
            continue;
        }
        let addresses = match (host.as_str(), port).to_socket_addrs() {
            Ok(found) => Ok(found.take(MAX_ADDRESSES).collect()),
            Err(error) => Err(Failure::ours(RRError::Resolve, format!("{host}: {error}"))),
        };
        // Where many answers wait, the thread does, too, until the dialler has taken some; with the dialler it ends.
        if answered.send(Answer { target, round, addresses }).is_err() {
            return;
        }
        wake.wake();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::net::poll::Poller;

    #[test]
    fn a_thread_goes_on_once_there_is_room_for_its_answers_again() {
        let wake = Poller::new(1).unwrap().wake().unwrap();
        let ((questions, jobs), (answered, answers)) = (bounded(QUEUE), bounded(1));
        for target in 1..=5 {
            let by_ms = clock::now_ms() + 60_000;
            questions.send(Question { target, round: 1, host: "localhost".to_owned(), port: 1, by_ms }).unwrap();
        }
        drop(questions);
        let thread = std::thread::spawn(move || serve(&jobs, &answered, &wake));
        while !answers.is_full() && !thread.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(answers.iter().map(|answer| answer.target).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        thread.join().unwrap();
    }

    #[test]
    fn a_name_whose_time_is_over_takes_no_thread_from_those_who_wait() {
        let wake = Poller::new(1).unwrap().wake().unwrap();
        let (questions, jobs) = bounded(QUEUE);
        let (answered, answers) = bounded(QUEUE);
        for (target, by_ms) in [(1, clock::now_ms()), (2, clock::now_ms() + 60_000), (3, 0)] {
            questions.send(Question { target, round: 1, host: "localhost".to_owned(), port: 1, by_ms }).unwrap();
        }
        drop(questions);
        serve(&jobs, &answered, &wake);
        let asked: Vec<Id> = answers.try_iter().map(|answer| answer.target).collect();
        assert_eq!(asked, [2]);
    }
}
