//! The proxy's link to its worker: the process, the channel to it, and what waits until it has started.

use std::os::fd::OwnedFd;

use log::LevelFilter;

use super::super::supervisor::Supervisor;
use super::super::wire::{GoOn, LAST_MESSAGES, Largest, ToWorker, kind};
use super::super::workers::Workers;
use crate::config::StreamConfig;
use crate::error::{Failure, RRError, Result};
use crate::log::told;
use crate::net::event_loop::Io;
use crate::net::fd_channel::FdChannel;
use crate::net::fd_channel::queue::{FdQueue, Next};
use crate::net::process::{End, Limits, Process, default_program};

/// The slots of the channel, of the process and of pumps in the poller.
pub(super) const CHANNEL: usize = 0;
pub(super) const END: usize = 1;
pub(super) const PUMPS: usize = 2;

/// Most messages that wait for the start.
const WAITING: usize = 4096;

/// What waits for a worker that is busy.
const BUSY_BYTES: usize = 1 << 20;

/// What a worker may say in a second, and at once. Thousands of players that come or go together cost a few messages
/// each; a session that goes back has its half-read messages with it.
const MESSAGES: Allowed = Allowed { a_second: 5_000, at_once: 50_000 };
const BYTES: Allowed = Allowed { a_second: 32 << 20, at_once: 256 << 20 };

/// What a worker may put into the log: those of other streams have their room in it too.
const LINES: Allowed = Allowed { a_second: 200, at_once: 2_000 };

/// A process and the channel to it.
struct Running {
    process: Process,
    queue: FdQueue,
    /// When the other end of the channel was found closed.
    closed_ms: Option<u64>,
}

enum Stage {
    /// It is not to start before this time.
    Waits {
        messages: Vec<(u8, Vec<u8>, Option<OwnedFd>)>,
        at_ms: u64,
    },
    Runs(Box<Running>),
    /// It could not be started, for this reason, or is needed no more.
    Failed(Option<Failure>),
}

/// The link to one worker.
pub(super) struct Link {
    stage: Stage,
    level: LevelFilter,
    /// Why it was killed.
    fault: Option<String>,
    messages: Bucket,
    /// Messages that it may say beside.
    overdue: u64,
    bytes: Bucket,
    lines: Bucket,
    /// Log lines that were too many, since the last that was not.
    lines_lost: u64,
    /// It has said that it ends in order.
    is_done: bool,
}

/// That the process has ended, or was never started.
pub(super) struct Ended(Option<End>);

impl Link {
    /// A link that begins with this message.
    pub(super) fn new(begin: (u8, Vec<u8>), level: LevelFilter) -> Self {
        let (kind, body) = begin;
        Self::at(Stage::Waits { messages: vec![(kind, body, None)], at_ms: 0 }, level)
    }

    /// The link to a worker that another process has left to this one, and that is paused.
    ///
    /// # Errors
    /// [`RRError::Io`] if the system refuses.
    pub(super) fn adopted(process: Process, channel: FdChannel, level: LevelFilter, io: &Io<'_>) -> Result<Self> {
        Ok(Self::at(Stage::Runs(Box::new(Running::new(process, channel, io)?)), level))
    }

    fn at(stage: Stage, level: LevelFilter) -> Self {
        let (messages, bytes, lines) = (Bucket::new(MESSAGES), Bucket::new(BYTES), Bucket::new(LINES));
        Self { stage, level, fault: None, messages, overdue: 0, bytes, lines, lines_lost: 0, is_done: false }
    }

    /// Lets a worker go on that was paused, and has so many sessions and targets: all of them may have ended meanwhile, which it
    /// tells at once.
    pub(super) fn resume(&mut self, had: usize) -> Result<()> {
        self.overdue = (had * LAST_MESSAGES) as u64;
        let bound = matches!(&self.stage, Stage::Runs(running) if running.process.is_child());
        self.level = log::max_level();
        self.send(&ToWorker::Resume { bound, level: self.level as u32 }, None)
    }

    /// The process, and another descriptor of this end of the channel, for another process.
    ///
    /// # Errors
    /// [`RRError::State`] if it does not run, [`RRError::Limit`] if this process has no descriptor left.
    pub(super) fn second_fds(&self) -> Result<(OwnedFd, OwnedFd)> {
        match &self.stage {
            Stage::Runs(running) if !self.is_ending() => Ok((running.process.second_fd()?, running.queue.second_fd()?)),
            _ => Err(Failure::ours(RRError::State, "its process is just ending")),
        }
    }

    /// Leaves the worker to another process.
    pub(super) fn leave_to_another(self, io: &Io<'_>) {
        if let Stage::Runs(running) = self.stage {
            // As long as another process has the channel too, the poller would go on reporting it.
            io.watch().remove_fd(&running.queue);
            io.watch().remove_fd(&running.process);
            running.process.leave();
        }
    }

    /// Notes that it ends in order.
    pub(super) fn is_done(&mut self) {
        self.is_done = true;
    }

    /// Whether it waits for its start.
    pub(super) fn waits(&self) -> bool {
        matches!(self.stage, Stage::Waits { .. })
    }

    /// Whether nobody new can come to it.
    pub(super) fn is_ending(&self) -> bool {
        let is_gone = match &self.stage {
            Stage::Waits { .. } => false,
            Stage::Runs(running) => running.closed_ms.is_some(),
            Stage::Failed(_) => true,
        };
        is_gone || self.fault.is_some()
    }

    /// Why nobody new can come to it.
    pub(super) fn refusal(&self) -> Failure {
        let ending = || Failure::ours(RRError::Again, "the process of the stream is just ending: try again");
        match &self.stage {
            Stage::Failed(Some(cause)) => cause.clone(),
            _ => ending(),
        }
    }

    /// Whether it has closed its channel before this time (ms), and still runs.
    pub(super) fn has_closed_before(&self, ms: u64) -> bool {
        matches!(&self.stage, Stage::Runs(running) if running.closed_ms.is_some_and(|closed_ms| closed_ms < ms))
    }

    /// Whether so much waits for the worker that what can wait should.
    pub(super) fn is_busy(&self) -> bool {
        match &self.stage {
            Stage::Waits { messages, .. } => messages.len() >= WAITING / 4,
            Stage::Runs(_) => self.waiting_bytes() >= BUSY_BYTES,
            Stage::Failed(_) => false,
        }
    }

    /// The bytes that wait for the worker.
    pub(super) fn waiting_bytes(&self) -> usize {
        match &self.stage {
            Stage::Waits { messages, .. } => messages.iter().map(|(_, body, _)| body.len()).sum(),
            Stage::Runs(running) => running.queue.waiting_bytes(),
            Stage::Failed(_) => 0,
        }
    }

    /// The bytes that have come of a message that is not whole.
    pub(super) fn arriving_bytes(&self) -> usize {
        match &self.stage {
            Stage::Runs(running) => running.queue.arriving_bytes(),
            Stage::Waits { .. } | Stage::Failed(_) => 0,
        }
    }

    /// Starts the worker, if it waits and may start now.
    pub(super) fn start(
        &mut self,
        workers: &Workers,
        supervisor: &Supervisor,
        stream: &StreamConfig,
        now_ms: u64,
        io: &mut Io<'_>,
    ) -> Result<()> {
        let Stage::Waits { messages, at_ms } = &mut self.stage else { return Ok(()) };
        if now_ms < *at_ms {
            return Ok(());
        }
        if let Some(wait_ms) = supervisor.starting(now_ms) {
            *at_ms = now_ms + wait_ms;
            io.tick_by(at_ms.saturating_mul(1000));
            return Ok(());
        }
        let messages = std::mem::take(messages);
        let running = Running::start(workers, stream, io);
        match running {
            Ok(running) => self.stage = Stage::Runs(Box::new(running)),
            Err(failure) => {
                self.stage = Stage::Failed(Some(failure));
                return Ok(());
            }
        }
        messages.into_iter().try_for_each(|(kind, body, fd)| self.push(kind, body, fd))
    }

    /// Sends a message, at the end of the round or once the worker has started.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the worker does not take its messages.
    pub(super) fn send(&mut self, message: &ToWorker<'_>, fd: Option<OwnedFd>) -> Result<()> {
        let (kind, body) = message.encode()?;
        self.push(kind, body, fd)
    }

    /// Sends the order to go on with a stream, like [`Self::send`].
    pub(super) fn go_on(&mut self, GoOn(message): GoOn) -> Result<()> {
        self.push(kind::STREAM, message, None)
    }

    fn push(&mut self, kind: u8, body: Vec<u8>, fd: Option<OwnedFd>) -> Result<()> {
        match &mut self.stage {
            Stage::Waits { messages, .. } if messages.len() >= WAITING => {
                Err(Failure::ours(RRError::Limit, "too many wait for the process of the stream"))
            }
            Stage::Waits { messages, .. } => {
                messages.push((kind, body, fd));
                Ok(())
            }
            Stage::Runs(running) => running.queue.push(kind, body, fd),
            Stage::Failed(_) => Ok(()),
        }
    }

    /// Lets the worker know which log lines are wanted, if that has changed.
    pub(super) fn set_level(&mut self, level: LevelFilter) -> Result<()> {
        if std::mem::replace(&mut self.level, level) == level {
            return Ok(());
        }
        self.send(&ToWorker::Level(level as u32), None)
    }

    /// Sends what the socket takes; `left` is what is left of the turn.
    pub(super) fn flush(&mut self, left: &mut usize) -> Result<()> {
        match &mut self.stage {
            Stage::Runs(running) if self.fault.is_none() => running.queue.flush(left),
            _ => Ok(()),
        }
    }

    /// The next message of the worker; none once it is killed. The number of those by which it describes itself is bounded
    /// by its sessions, and the bytes of the stream's state by whoever has asked for it. `left` is what is left of the turn.
    ///
    /// # Errors
    /// [`RRError::Limit`] if it says too much, and those of [`FdQueue::next`].
    pub(super) fn receive(&mut self, largest: Largest, describes: bool, now_us: u64, left: &mut usize) -> Result<Next> {
        let Stage::Runs(running) = &mut self.stage else { return Ok(Next::Nothing) };
        if self.fault.is_some() || running.closed_ms.is_some() {
            return Ok(Next::Nothing);
        }
        match running.queue.next(|kind| largest.bytes_max(kind), left) {
            Ok(Next::Message(message)) => {
                self.may_say(u64::from(!describes), now_us)?;
                let is_bounded = message.kind == kind::STREAM;
                self.bytes.take(if is_bounded { 0 } else { message.body.len() as u64 }, now_us)?;
                Ok(Next::Message(message))
            }
            Ok(other) => Ok(other),
            Err(failure) if failure.kind == RRError::Closed => {
                // It is ending, or of no use any more.
                running.closed_ms = Some(now_us / 1000);
                Ok(Next::Nothing)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Counts messages.
    ///
    /// # Errors
    /// [`RRError::Limit`] if they are too many.
    fn may_say(&mut self, messages: u64, now_us: u64) -> Result<()> {
        let overdue = messages.min(self.overdue);
        self.overdue -= overdue;
        self.messages.take(messages - overdue, now_us)
    }

    /// Whether a log line of the worker may pass; then also how many have not, since the last one. `lost` is how many
    /// the worker itself has lost.
    pub(super) fn passes_line(&mut self, lost: u64, now_us: u64) -> Option<u64> {
        self.lines_lost = self.lines_lost.saturating_add(lost);
        if self.lines.take(1, now_us).is_err() {
            self.lines_lost = self.lines_lost.saturating_add(1);
            return None;
        }
        Some(std::mem::take(&mut self.lines_lost))
    }

    /// Kills the worker because of this.
    pub(super) fn kill(&mut self, cause: &Failure) {
        if self.fault.is_none() {
            self.fault = Some(format!("is ended: {cause}"));
            match &mut self.stage {
                Stage::Runs(running) => running.process.kill(),
                Stage::Waits { .. } => self.stage = Stage::Failed(None),
                Stage::Failed(_) => {}
            }
        }
    }

    /// Gives the start up, because the stream stops.
    pub(super) fn give_up(&mut self) {
        self.stage = Stage::Failed(None);
    }

    /// Whether the process has ended.
    pub(super) fn has_ended(&mut self) -> Option<Ended> {
        match &mut self.stage {
            Stage::Waits { .. } => None,
            Stage::Failed(_) => Some(Ended(None)),
            Stage::Runs(running) => running.process.ended().map(|end| Ended(Some(end))),
        }
    }

    /// How it has ended, unless it was in order. What it has said before was received.
    pub(super) fn how(&mut self, Ended(end): &Ended) -> Option<String> {
        let how = match (&self.stage, end) {
            (Stage::Failed(cause), _) => cause.as_ref().map(|failure| format!("cannot be started: {failure}")),
            // The system does not tell everybody how it was.
            (_, Some(end)) if self.is_done && (end.is_ok() || *end == End::Unknown) => None,
            (_, Some(end @ End::Exited(_))) => Some(format!("ended by itself: {end}")),
            (_, Some(end)) => Some(format!("was {end}")),
            (_, None) => None,
        };
        self.fault.take().or(how)
    }

    /// Takes it out of the poller.
    pub(super) fn leave(self, io: &Io<'_>) {
        if let Stage::Runs(running) = self.stage {
            io.watch().remove_fd(&running.queue);
            io.watch().remove_fd(&running.process);
        }
    }
}

impl Running {
    fn start(workers: &Workers, stream: &StreamConfig, io: &Io<'_>) -> Result<Self> {
        let config = &workers.config.worker;
        let program = config.program.clone().map_or_else(default_program, Ok)?;
        let (process, fd) = Process::spawn(&program, &Limits::of(config, stream))?;
        log::debug!(target: told::STREAM, "the worker {} has started", process.pid());
        Self::new(process, FdChannel::adopt(fd)?, io)
    }

    fn new(process: Process, channel: FdChannel, io: &Io<'_>) -> Result<Self> {
        let queue = FdQueue::new(channel)?;
        io.watch().add_raw(&queue, CHANNEL)?;
        io.watch().add_fd(&process, END)?;
        Ok(Self { process, queue, closed_ms: None })
    }
}

/// How much of something is allowed.
#[derive(Clone, Copy)]
struct Allowed {
    a_second: u64,
    at_once: u64,
}

/// What is left of it.
struct Bucket {
    allowed: Allowed,
    left: u64,
    at_us: u64,
}

impl Bucket {
    fn new(allowed: Allowed) -> Self {
        Self { allowed, left: allowed.at_once, at_us: 0 }
    }

    /// Takes some.
    ///
    /// # Errors
    /// [`RRError::Limit`] if so much is not left.
    fn take(&mut self, some: u64, now_us: u64) -> Result<()> {
        let Allowed { a_second, at_once } = self.allowed;
        let more = now_us.saturating_sub(self.at_us).saturating_mul(a_second) / 1_000_000;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(at_once);
            self.at_us = now_us;
        }
        self.left = self
            .left
            .checked_sub(some)
            .ok_or_else(|| Failure::ours(RRError::Limit, "it tells more than a worker has to tell"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_too_much_is_found_and_who_says_much_for_a_moment_is_not() {
        let mut bucket = Bucket::new(Allowed { a_second: 100, at_once: 1_000 });
        let mut takes = |some, at_us| bucket.take(some, at_us).is_ok();
        assert!(takes(1_000, 1_000_000) && !takes(1, 1_000_000));
        assert!(takes(100, 2_000_000) && !takes(1, 2_000_000));
        assert!(takes(1_000, 60_000_000) && !takes(1, 60_000_001));
    }

    #[test]
    fn a_worker_may_tell_the_ends_of_all_whom_it_had_while_nobody_listened() {
        let had = 60_000;
        let mut link = Link::new((1, Vec::new()), LevelFilter::Off);
        link.resume(had).unwrap();
        let mut says = || link.may_say(1, 1_000_000).is_ok();
        assert!((0..2 * had as u64 + MESSAGES.at_once).all(|_| says()));
        assert!(!says());
    }

    #[test]
    fn log_lines_that_are_too_many_are_counted_and_do_not_pass() {
        let mut link = Link::new((1, Vec::new()), LevelFilter::Off);
        assert!((0..LINES.at_once).all(|_| link.passes_line(0, 1_000_000) == Some(0)));
        assert!((0..5).all(|_| link.passes_line(0, 1_000_000).is_none()));
        assert_eq!(link.passes_line(7, 2_000_000), Some(12), "with those that the worker has lost itself");
        assert_eq!(link.passes_line(0, 2_000_000), Some(0));
    }
}
