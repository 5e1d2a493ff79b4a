//! The conversation by which a server takes over a worker whose own server has ended without stopping it. The worker
//! listens in a folder, serves one server at a time, and the connection becomes the channel between the two.
//!
//! The server greets, and the worker answers with the record of its stream and with its description, as another server would
//! hand them over. Then the server claims it, and the worker says that it is its own: from then on it serves nobody else, so
//! of two servers exactly one gets it. Until it is resumed it goes on as before, and where the channel ends it waits again.

use minicbor::{Decode, Encode};

use super::adoption;
use super::wire::{self, Largest, PROTOCOL, ToServer, cut, impossible, shown};
use crate::config::READ_BUDGET_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::net::fd_channel::queue::{FdQueue, Next};
use crate::net::fd_channel::{FdChannel, Message};
use crate::proto::cbor::Form;

/// The beginning of the names of the workers' sockets.
pub(crate) const NAME: &str = "worker-";

/// How long a conversation may take. A description of thousands of players takes some tens of milliseconds.
pub(crate) const TALK_MS: u64 = 5_000;

/// Most messages in a turn.
const MESSAGES: usize = 256;

/// Kinds of messages before the channel is one between a server and its worker; those of a description are its usual ones.
pub(super) mod kind {
    pub(in crate::stream::process) const GREETING: u8 = 16;
    pub(in crate::stream::process) const RECORD: u8 = 17;
    pub(in crate::stream::process) const REFUSED: u8 = 18;
    pub(in crate::stream::process) const CLAIM: u8 = 19;
    pub(in crate::stream::process) const YOURS: u8 = 20;
}

/// Most bytes of a message that is neither a record nor a part of a description.
pub(super) const SMALL_BYTES: usize = 16 * 1024;

const GREETING: Form = Form { magic: b"RRhi", version: 1, name: "the greeting of a server" };

const REFUSAL: Form = Form { magic: b"RRwn", version: 1, name: "the refusal of a worker" };

#[derive(Debug, Encode, Decode)]
struct Greeting {
    #[n(0)]
    protocol: u16,
}

#[derive(Debug, Encode, Decode)]
struct Refusal<'a> {
    #[b(0)]
    text: &'a str,
}

/// The version of the messages that a server speaks, which greets like this.
///
/// # Errors
/// [`RRError::Arg`], [`RRError::Version`] and [`RRError::Limit`] for what no server says.
pub(super) fn greeted(body: &[u8]) -> Result<u16> {
    let Greeting { protocol } = GREETING.decode(body, SMALL_BYTES)?;
    Ok(protocol)
}

/// The message by which a worker refuses a server.
pub(super) fn refusal(text: &str) -> Result<Vec<u8>> {
    REFUSAL.encode(&Refusal { text: cut(text) })
}

/// A worker that a server may take over: what it says of itself, as another server would hand it over, and the channel.
#[derive(Debug)]
pub(crate) struct Orphan {
    /// The record of its stream.
    pub(crate) record: Vec<u8>,
    /// Its description.
    pub(crate) description: Vec<Vec<u8>>,
    /// The channel to it.
    pub(crate) channel: FdQueue,
}

/// How far a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greets,
    Begins,
    Describes,
    Claims,
    Over,
}

/// What a turn has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The worker says no more at the moment.
    Waits,
    /// It may have said more.
    More,
    /// It is this server's.
    Over,
}

/// A server's side of a conversation. It never waits.
#[derive(Debug)]
pub(crate) struct Talk {
    orphan: Orphan,
    stage: Stage,
    bytes: usize,
}

impl Talk {
    /// Greets a worker.
    ///
    /// # Errors
    /// [`RRError::Closed`] if it has gone, [`RRError::Io`].
    pub(crate) fn begin(channel: FdChannel) -> Result<Self> {
        Self::with(channel, PROTOCOL)
    }

    fn with(channel: FdChannel, protocol: u16) -> Result<Self> {
        let mut channel = FdQueue::new(channel)?;
        channel.push(kind::GREETING, GREETING.encode(&Greeting { protocol })?, None)?;
        channel.flush(&mut { usize::MAX })?;
        let orphan = Orphan { record: Vec::new(), description: Vec::new(), channel };
        Ok(Self { orphan, stage: Stage::Greets, bytes: 0 })
    }

    /// The connection.
    pub(crate) fn channel(&self) -> &FdQueue {
        &self.orphan.channel
    }

    /// The bytes that are kept, also of a message that is not whole.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.orphan.channel.arriving_bytes()
    }

    /// Takes some of what the worker has said, as long as no more than `most` bytes are kept. The largest state has `state`
    /// bytes.
    ///
    /// # Errors
    /// What the worker refuses with; [`RRError::Closed`] if it has gone or serves another server; [`RRError::Arg`],
    /// [`RRError::Protocol`], [`RRError::Limit`] for what no worker says.
    pub(crate) fn turn(&mut self, state: usize, most: usize) -> Result<Turn> {
        let mut left = READ_BUDGET_BYTES;
        for _ in 0..MESSAGES {
            let (stage, room) = (self.stage, most.saturating_sub(self.bytes));
            let bytes_max = |kind| match (stage, kind) {
                (Stage::Greets, kind::RECORD) => adoption::BYTES_MAX.min(room),
                (Stage::Greets, kind::REFUSED) => SMALL_BYTES,
                (Stage::Begins | Stage::Describes, kind) => Largest { state, stream: None }.bytes_max(kind).min(room),
                _ => 0,
            };
            match self.orphan.channel.next(bytes_max, &mut left)? {
                Next::Message(message) => self.take(message)?,
                Next::Nothing => return Ok(Turn::Waits),
                Next::More => return Ok(Turn::More),
            }
            if self.stage == Stage::Over {
                return Ok(Turn::Over);
            }
        }
        Ok(Turn::More)
    }

    fn take(&mut self, Message { kind, body, .. }: Message) -> Result<()> {
        self.stage = match (self.stage, kind) {
            (Stage::Greets, kind::RECORD) => {
                self.bytes += body.len();
                self.orphan.record = body;
                Stage::Begins
            }
            (Stage::Greets, kind::REFUSED) => {
                let Refusal { text } = REFUSAL.decode(&body, SMALL_BYTES)?;
                return Err(Failure::ours(RRError::Version, format!("it refuses: {}", shown(text))));
            }
            (Stage::Begins, _) if matches!(ToServer::decode(&body)?, ToServer::Describes) => Stage::Describes,
            (Stage::Describes, _) => {
                let report = ToServer::decode(&body)?;
                if matches!(report, ToServer::Paused) {
                    self.orphan.channel.push(kind::CLAIM, Vec::new(), None)?;
                    self.orphan.channel.flush(&mut { usize::MAX })?;
                    Stage::Claims
                } else if body.len() > wire::described_bytes(&report) {
                    return Err(Failure::ours(RRError::Limit, "it says more of somebody than there is to say"));
                } else {
                    self.bytes += body.len() + size_of::<Vec<u8>>();
                    self.orphan.description.push(body);
                    Stage::Describes
                }
            }
            (Stage::Claims, kind::YOURS) => Stage::Over,
            _ => return Err(impossible("no worker says that now")),
        };
        Ok(())
    }

    /// The worker that has been taken.
    pub(crate) fn into_orphan(self) -> Orphan {
        self.orphan
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use socket2::SockRef;

    use super::*;
    use crate::net::clock;
    use crate::stream::stats::reported::Figures;

    const MOST: usize = 1 << 20;

    /// Messages of a worker, each with its kind.
    fn usual(message: &ToServer<'_>) -> (u8, Vec<u8>) {
        message.encode().unwrap()
    }

    /// What a server that greets like this makes of a worker that says this; and what that gets.
    fn talk(protocol: u16, said: &[(u8, Vec<u8>)], most: usize) -> (Result<Turn>, Talk, FdChannel) {
        let (here, there) = FdChannel::pair().unwrap();
        let there = FdChannel::adopt(there).unwrap();
        let mut talk = Talk::with(here, protocol).unwrap();
        for (kind, body) in said {
            there.send(*kind, body, None, clock::now_ms() + 30_000).unwrap();
        }
        (talk.turn(1 << 16, most), talk, there)
    }

    fn next(channel: &FdChannel) -> Message {
        channel.receive(|_| SMALL_BYTES, clock::now_ms() + 30_000).unwrap().unwrap()
    }

    #[test]
    fn a_worker_is_taken_once_it_has_described_itself_and_says_that_it_is_the_servers() {
        let session = ToServer::Session {
            id: 1,
            plays: true,
            state: 1,
            silent_ms: 0,
            figures: Figures::default(),
            note: b"note",
        };
        let [begins, of_session, whole] =
            [ToServer::Describes, session, ToServer::Paused].map(|message| usual(&message));
        let all = [(kind::RECORD, b"record".to_vec()), begins, of_session.clone(), whole];
        for count in 0..all.len() {
            let (taken, mut talk, there) = talk(7, &all[..count], MOST);
            assert_eq!(taken, Ok(Turn::Waits), "{count}");
            drop(there);
            assert_eq!(talk.turn(1 << 16, MOST).unwrap_err().kind, RRError::Closed);
        }
        let (taken, mut talk, there) = talk(7, &all, MOST);
        assert_eq!(taken, Ok(Turn::Waits), "it has not said that it is this server's");
        assert_eq!(greeted(&next(&there).body), Ok(7));
        assert_eq!(next(&there).kind, kind::CLAIM);
        there.send(kind::YOURS, &[], None, clock::now_ms() + 30_000).unwrap();
        assert_eq!(talk.turn(1 << 16, MOST), Ok(Turn::Over));
        let orphan = talk.into_orphan();
        assert_eq!((orphan.record, orphan.description), (b"record".to_vec(), vec![of_session.1]));
    }

    #[test]
    fn what_no_worker_says_ends_the_conversation_and_what_is_kept_is_bounded() {
        let (record, yours) = ((kind::RECORD, vec![0; 1_000]), (kind::YOURS, Vec::new()));
        let [begins, whole, ready] =
            [ToServer::Describes, ToServer::Paused, ToServer::Ready].map(|message| usual(&message));
        let refusal = (kind::REFUSED, refusal("another version\x1b").unwrap());
        for (said, most, wanted) in [
            (vec![yours.clone()], MOST, RRError::Protocol),
            (vec![begins.clone()], MOST, RRError::Limit),
            (vec![record.clone(), record.clone()], MOST, RRError::Limit),
            (vec![record.clone(), ready], MOST, RRError::Protocol),
            (vec![record.clone(), whole], MOST, RRError::Protocol),
            (vec![record.clone(), (1, b"garbage".to_vec())], MOST, RRError::Arg),
            (vec![record.clone(), begins.clone(), (1, b"garbage".to_vec())], MOST, RRError::Arg),
            (vec![record.clone(), begins, yours], MOST, RRError::Arg),
            (vec![record], 999, RRError::Limit),
            (vec![refusal], MOST, RRError::Version),
        ] {
            let (taken, ..) = talk(PROTOCOL, &said, most);
            let failure = taken.unwrap_err();
            assert_eq!(failure.kind, wanted, "{said:?}: {failure}");
            assert!(!failure.text.contains(char::is_control), "{failure}");
        }
    }

    #[test]
    fn half_a_message_counts() {
        let (here, there) = FdChannel::pair().unwrap();
        let mut talk = Talk::with(here, PROTOCOL).unwrap();
        let mut there = std::os::unix::net::UnixStream::from(there);
        there.write_all(&[&[kind::RECORD, 0, 0, 0, 0, 0, 0xff, 0xff][..], &[0; 4_000]].concat()).unwrap();
        assert_eq!(talk.turn(1 << 16, MOST), Ok(Turn::Waits));
        assert!(talk.bytes() >= 4_000, "{}", talk.bytes());
    }

    #[test]
    fn whoever_says_much_gets_more_than_one_turn() {
        let [begins, part] = [ToServer::Describes, ToServer::LinesLost(1)].map(|message| usual(&message));
        let parts = std::iter::repeat_n(part, MESSAGES);
        let said: Vec<_> = [(kind::RECORD, Vec::new()), begins].into_iter().chain(parts).collect();
        let (first, mut talk, _there) = talk(PROTOCOL, &said, MOST);
        let turns = [first, talk.turn(1 << 16, MOST)];
        assert_eq!(turns, [Turn::More, Turn::Waits].map(Ok));
    }

    #[test]
    fn a_large_message_gets_more_than_one_turn() {
        let (here, there) = FdChannel::pair().unwrap();
        let mut talk = Talk::with(here, PROTOCOL).unwrap();
        // All of it waits in the socket.
        SockRef::from(&there).set_send_buffer_size(1 << 20).unwrap();
        let there = FdChannel::adopt(there).unwrap();
        there.send(kind::RECORD, &[0; READ_BUDGET_BYTES + 1], None, clock::now_ms() + 30_000).unwrap();
        let turns = [(); 2].map(|()| talk.turn(1 << 16, MOST));
        assert_eq!(turns, [Turn::More, Turn::Waits].map(Ok));
        assert_eq!(talk.stage, Stage::Begins);
    }
}
