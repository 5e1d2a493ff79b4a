//! One end of an [`FdChannel`] for a task that never waits: messages that the socket does not take yet are kept, within
//! bounds, and a message that comes in parts is put together.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use socket2::{MsgHdr, SockRef};

use super::{FdChannel, HEAD_BYTES, Message, PIECE_BYTES, control, failed, head_of, len_of};
use crate::error::{Failure, RRError, Result};

/// Most messages, and most bytes of them, that wait for the socket. The last one may pass the second bound.
const WAITING: usize = 16 * 1024;
const WAITING_BYTES: usize = 64 << 20;

/// A message that is being sent.
#[derive(Debug)]
struct Leaving {
    head: [u8; HEAD_BYTES],
    body: Vec<u8>,
    fd: Option<OwnedFd>,
    sent: usize,
}

/// A message that is being received.
#[derive(Debug, Default)]
struct Arriving {
    head: [u8; HEAD_BYTES],
    got: usize,
    fd: Option<OwnedFd>,
    body: Vec<u8>,
}

/// What a turn brings.
#[derive(Debug)]
pub(crate) enum Next {
    /// A message.
    Message(Message),
    /// No message is whole, and the poller reports when more has come.
    Nothing,
    /// The turn is over, and more may have come, which the poller does not report again.
    More,
}

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct FdQueue {
    channel: FdChannel,
    leaving: VecDeque<Leaving>,
    leaving_bytes: usize,
    arriving: Arriving,
}

impl FdQueue {
    /// An end that never waits.
    ///
    /// # Errors
    /// [`RRError::Io`] where the system refuses.
    pub(crate) fn new(channel: FdChannel) -> Result<Self> {
        channel.0.set_nonblocking(true).map_err(|error| failed(&error))?;
        Ok(Self { channel, leaving: VecDeque::new(), leaving_bytes: 0, arriving: Arriving::default() })
    }

    /// Another descriptor of this end, for another process.
    ///
    /// # Errors
    /// [`RRError::Limit`] if this process has no descriptor left.
    pub(crate) fn second_fd(&self) -> Result<OwnedFd> {
        self.channel.0.as_fd().try_clone_to_owned().map_err(|error| failed(&error))
    }

    /// Puts a message behind those that wait; [`flush`](Self::flush) sends them.
    ///
    /// # Errors
    /// [`RRError::Limit`] if too many wait: the other end does not take its messages.
    pub(crate) fn push(&mut self, kind: u8, body: Vec<u8>, fd: Option<OwnedFd>) -> Result<()> {
        // The message that is going may be larger, and others may wait until it has gone.
        let going = self.leaving.front().map_or(0, |first| first.body.len());
        if self.leaving.len() >= WAITING || self.leaving_bytes - going >= WAITING_BYTES {
            return Err(Failure::ours(RRError::Limit, "the other process does not take its messages"));
        }
        let head = head_of(kind, &body)?;
        self.leaving_bytes += body.len();
        self.leaving.push_back(Leaving { head, body, fd, sent: 0 });
        Ok(())
    }

    /// The socket itself; what has come of a message that is not whole is lost.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.channel.0.into()
    }

    /// Bytes of messages that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.leaving_bytes
    }

    /// Bytes that have come of a message that is not whole.
    pub(crate) fn arriving_bytes(&self) -> usize {
        self.arriving.body.capacity()
    }

    /// Sends what the socket takes. No more than `left` bytes are sent, which are what is left of the caller's turn; if none are
    /// left, the socket may take more, which the poller does not report again.
    ///
    /// # Errors
    /// [`RRError::Closed`] if the other end is closed, [`RRError::Limit`] if the system carries no more descriptors,
    /// [`RRError::Io`].
    pub(crate) fn flush(&mut self, left: &mut usize) -> Result<()> {
        while let Some(Leaving { head, body, fd, sent }) = self.leaving.front_mut()
            && *left > 0
        {
            let (whole, mut room) = (HEAD_BYTES + body.len(), *left);
            let parts = [
                head.get(*sent..).unwrap_or_default(),
                body.get(sent.saturating_sub(HEAD_BYTES)..).unwrap_or_default(),
            ];
            let parts = parts.map(|part| {
                let part = part.get(..room).unwrap_or(part);
                room -= part.len();
                IoSlice::new(part)
            });
            // The descriptor goes with the first byte.
            let control = fd.as_ref().filter(|_| *sent == 0).map(|fd| control(fd.as_fd()));
            let message = MsgHdr::new().with_buffers(&parts);
            let message = match &control {
                Some(control) => message.with_control(control),
                None => message,
            };
            match SockRef::from(&self.channel.0).sendmsg(&message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) {
                Ok(n) => {
                    *sent += n;
                    *left = left.saturating_sub(n);
                    if *sent >= whole {
                        self.leaving_bytes -= body.len();
                        self.leaving.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// The next message, if it is whole; `most` is the most bytes that a body of a kind may have. No more than `left` bytes are
    /// read, which are what is left of the caller's turn.
    ///
    /// # Errors
    /// [`RRError::Closed`] once the other end is closed, [`RRError::Arg`] for bytes that are no message,
    /// [`RRError::Limit`] for one that is too long, [`RRError::NoMem`], [`RRError::Io`].
    pub(crate) fn next(&mut self, most: impl Fn(u8) -> usize, left: &mut usize) -> Result<Next> {
        match self.take(most, left) {
            Ok(message) => Ok(Next::Message(message)),
            Err(Stop::Empty) => Ok(Next::Nothing),
            Err(Stop::Spent) => Ok(Next::More),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    fn take(&mut self, most: impl Fn(u8) -> usize, left: &mut usize) -> std::result::Result<Message, Stop> {
        let Arriving { head, got, fd, body } = &mut self.arriving;
        while *got < HEAD_BYTES {
            if *left == 0 {
                return Err(Stop::Spent);
            }
            let (n, more) = self.channel.receive_head(head.get_mut(*got..).unwrap_or_default())?;
            if n == 0 {
                return Err(closed());
            }
            *got += n;
            *left = left.saturating_sub(n);
            if fd.is_none() {
                *fd = more;
            }
        }
        let (kind, len) = len_of(*head, most)?;
        while body.len() < len {
            let (filled, piece) = (body.len(), PIECE_BYTES.min(len - body.len()).min(*left));
            if piece == 0 {
                return Err(Stop::Spent);
            }
            body.try_reserve(piece).map_err(|_| Failure::from(RRError::NoMem))?;
            body.resize(filled + piece, 0);
            let read = (&self.channel.0).read(body.get_mut(filled..).unwrap_or_default());
            body.truncate(filled + read.as_ref().map_or(0, |n| *n));
            let n = read?;
            if n == 0 {
                return Err(closed());
            }
            *left -= n;
        }
        let Arriving { fd, body, .. } = std::mem::take(&mut self.arriving);
        Ok(Message { kind, body, fd })
    }
}

impl AsRawFd for FdQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.0.as_raw_fd()
    }
}

/// Why no message is there.
enum Stop {
    Empty,
    Spent,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Empty,
            // There may be something to read, which the poller does not report again.
            io::ErrorKind::Interrupted => Self::Spent,
            _ => Self::Failed(failed(&error)),
        }
    }
}

fn closed() -> Stop {
    Stop::Failed(Failure::ours(RRError::Closed, "the other process has closed the socket"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;
    use crate::net::fd_channel::FdChannel;

    #[test]
    fn messages_larger_than_the_socket_come_whole_and_in_order_with_their_descriptors() {
        let (here, there) = FdChannel::pair().unwrap();
        let (mut here, there) = (FdQueue::new(here).unwrap(), FdChannel::adopt(there).unwrap());
        let large = vec![7; 4 << 20];
        let fd = OwnedFd::from(io::pipe().unwrap().0);
        here.push(1, large.clone(), Some(fd)).unwrap();
        here.push(2, b"end".to_vec(), None).unwrap();
        let reader = std::thread::spawn(move || {
            let next = || there.receive(|_| 8 << 20, clock::now_ms() + 30_000).unwrap().unwrap();
            let (first, second) = (next(), next());
            there.send(3, &[9; 1 << 20], None, clock::now_ms() + 30_000).unwrap();
            (first, second)
        });
        let by_ms = clock::now_ms() + 30_000;
        let answer = loop {
            assert!(clock::now_ms() < by_ms);
            here.flush(&mut { usize::MAX }).unwrap();
            match here.next(|_| 1 << 20, &mut { usize::MAX }).unwrap() {
                Next::Message(message) => break message,
                Next::Nothing => std::thread::yield_now(),
                Next::More => panic!("the turn has no end"),
            }
        };
        let (first, second) = reader.join().unwrap();
        assert!(first.kind == 1 && first.body == large && first.fd.is_some());
        assert!(second.kind == 2 && second.body == b"end" && second.fd.is_none());
        assert!(answer.kind == 3 && answer.body == vec![9; 1 << 20]);
        assert_eq!(here.next(|_| 1, &mut 1).unwrap_err().kind, RRError::Closed, "the reader has dropped its end");
    }

    #[test]
    fn no_turn_takes_more_than_its_share_whatever_has_come() {
        let (here, there) = FdChannel::pair().unwrap();
        let (mut here, there) = (FdQueue::new(here).unwrap(), FdChannel::adopt(there).unwrap());
        let body = vec![7; 50_000];
        there.send(1, &body, None, clock::now_ms() + 30_000).unwrap();
        let share = 1_000;
        for turn in 1..=body.len() / share {
            let mut left = share;
            assert!(matches!(here.next(|_| 1 << 20, &mut left), Ok(Next::More)), "{turn}");
            assert_eq!((left, here.arriving.got + here.arriving.body.len()), (0, turn * share));
        }
        let mut left = share;
        assert!(matches!(here.next(|_| 1 << 20, &mut left), Ok(Next::Message(message)) if message.body == body));
        assert_eq!(left, share - HEAD_BYTES);
        assert!(matches!(here.next(|_| 1 << 20, &mut left), Ok(Next::Nothing)));
    }

    #[test]
    fn no_turn_sends_more_than_its_share_whatever_the_socket_takes() {
        let (here, there) = FdChannel::pair().unwrap();
        let (mut here, there) = (FdQueue::new(here).unwrap(), FdChannel::adopt(there).unwrap());
        let (body, share) = (vec![7; 10_000], 1_000);
        here.push(1, body.clone(), None).unwrap();
        here.push(2, Vec::new(), None).unwrap();
        for turn in 1..=body.len() / share {
            let mut left = share;
            here.flush(&mut left).unwrap();
            assert_eq!((left, here.leaving[0].sent), (0, turn * share));
        }
        let mut left = share;
        here.flush(&mut left).unwrap();
        assert_eq!((left, here.leaving.len()), (share - 2 * HEAD_BYTES, 0), "the rest and the message behind it");
        let next = || there.receive(|_| 1 << 20, clock::now_ms() + 30_000).unwrap().unwrap();
        assert!(next().body == body && next().kind == 2);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (here, _there) = FdChannel::pair().unwrap();
        let mut here = FdQueue::new(here).unwrap();
        let refused = (0..=WAITING).find_map(|_| here.push(1, Vec::new(), None).err());
        assert_eq!(refused.map(|failure| failure.kind), Some(RRError::Limit));
    }

    #[test]
    fn behind_a_message_that_is_larger_than_what_may_wait_others_wait() {
        let (here, _there) = FdChannel::pair().unwrap();
        let mut here = FdQueue::new(here).unwrap();
        here.push(1, vec![7; WAITING_BYTES + 1], None).unwrap();
        here.push(1, b"behind".to_vec(), None).unwrap();
        here.push(1, vec![7; WAITING_BYTES], None).unwrap();
        assert_eq!(here.push(1, Vec::new(), None).unwrap_err().kind, RRError::Limit);
    }
}
