//! The end of a worker that does not end by itself: a thread that sees that the server has ended, and the time at which the
//! worker should have ended then. A server ends a worker that hangs; one without a server has only this.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::error::Result;
use crate::net::clock;
use crate::net::fd_channel::FdChannel;
use crate::sync::spawn;

/// How often it looks whether the server is there.
const LOOK_MS: u64 = 1_000;

/// What the thread is told.
enum News {
    /// The worker is to have ended at this time, monotonic ms.
    Ends(u64),
    /// There is a server, at the other end of this channel.
    Serves(Arc<FdChannel>),
}

/// The way to the thread, which ends with it.
pub(super) struct Deadman(Sender<News>);

impl Deadman {
    /// Starts the thread. It calls `ends` once nobody has told it anything for this long after the server's end.
    ///
    /// # Errors
    /// [`RRError::Limit`](crate::error::RRError::Limit) if the system has no thread left.
    pub(super) fn start(server: Arc<FdChannel>, within_ms: u64, ends: impl FnOnce() + Send + 'static) -> Result<Self> {
        let (news, inbox) = unbounded();
        spawn("deadmanThread", move || watch(server, within_ms, &inbox, ends), |_| {})?;
        Ok(Self(news))
    }

    /// The worker is to have ended at this time, monotonic ms.
    pub(super) fn ends_by(&self, by_ms: u64) {
        // The thread ends before its way only with the process.
        let _ = self.0.send(News::Ends(by_ms));
    }

    /// There is another server, at the other end of this channel.
    pub(super) fn serves(&self, server: &Arc<FdChannel>) {
        let _ = self.0.send(News::Serves(Arc::clone(server)));
    }
}

fn watch(mut server: Arc<FdChannel>, within_ms: u64, news: &Receiver<News>, ends: impl FnOnce()) {
    let mut by_ms = None;
    loop {
        let now_ms = clock::now_ms();
        if by_ms.is_none() && server.is_over() {
            by_ms = Some(now_ms + within_ms);
        }
        let wait_ms = by_ms.map_or(LOOK_MS, |by_ms| by_ms.saturating_sub(now_ms));
        match news.recv_timeout(Duration::from_millis(wait_ms)) {
            Ok(News::Ends(other_ms)) => by_ms = Some(other_ms),
            Ok(News::Serves(other)) => (server, by_ms) = (other, None),
            Err(RecvTimeoutError::Timeout) if by_ms.is_some_and(|by_ms| clock::now_ms() >= by_ms) => return ends(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// It, the server's end, and whether it ends the process.
    fn starting(within_ms: u64) -> (Deadman, OwnedFd, Receiver<()>) {
        let ((here, server), (tells, told)) = (FdChannel::pair().unwrap(), unbounded());
        let ends = move || tells.send(()).unwrap();
        (Deadman::start(Arc::new(here), within_ms, ends).unwrap(), server, told)
    }

    #[test]
    fn a_worker_that_has_not_ended_in_time_after_its_server_is_ended() {
        let long_ms = 600_000;
        let (_deadman, server, told) = starting(1);
        assert!(told.recv_timeout(Duration::from_millis(3 * LOOK_MS)).is_err(), "it has a server");
        drop(server);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(()));

        // Whoever it is told of has another time.
        let (deadman, server, told) = starting(long_ms);
        drop(server);
        deadman.ends_by(clock::now_ms());
        assert_eq!(told.recv_timeout(PATIENCE), Ok(()));
        let (deadman, server, told) = starting(1);
        drop(server);
        deadman.ends_by(clock::now_ms() + long_ms);
        let (here, server) = FdChannel::pair().unwrap();
        deadman.serves(&Arc::new(here));
        assert!(told.recv_timeout(Duration::from_millis(3 * LOOK_MS)).is_err(), "it has another server");
        drop(server);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(()));

        let (deadman, server, told) = starting(1);
        drop((deadman, server));
        assert_eq!(told.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "it has ended without that");
    }
}
