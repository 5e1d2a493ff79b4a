//! What was counted of a session or target that goes on in another process.

use minicbor::{Decode, Encode};

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::stream::stats::{Count, Counters, ReceivedMedia};

/// Largest count that is accepted: a count that grows from here does not overflow.
pub(super) const COUNT_MAX: u64 = 1 << 60;

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub(super) struct Counted {
    #[n(0)]
    pub(super) bytes_in: u64,
    #[n(1)]
    pub(super) bytes_out: u64,
    #[n(2)]
    pub(super) msgs_in: u64,
    #[n(3)]
    pub(super) msgs_out: u64,
    #[n(4)]
    pub(super) audio_bytes: u64,
    #[n(5)]
    pub(super) video_bytes: u64,
    #[n(6)]
    pub(super) data_bytes: u64,
    /// Bytes of the connection, including those of the opening.
    #[n(7)]
    pub(super) conn_bytes_in: u64,
    /// When the session began, wall clock.
    #[n(8)]
    pub(super) started_us: i64,
}

impl Counted {
    /// What these counters have.
    pub(super) fn of(counters: &Counters) -> Self {
        let media =
            |count: fn(&ReceivedMedia) -> &Count| counters.received_media().map_or(0, |media| count(media).get());
        Self {
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            msgs_in: counters.msgs_in.get(),
            msgs_out: counters.msgs_out.get(),
            audio_bytes: media(|media| &media.audio_bytes),
            video_bytes: media(|media| &media.video_bytes),
            data_bytes: media(|media| &media.data_bytes),
            conn_bytes_in: 0,
            started_us: counters.started_us,
        }
    }

    /// Refuses counters that no session can have.
    pub(super) fn check(&self) -> Result<()> {
        let Self {
            bytes_in,
            bytes_out,
            msgs_in,
            msgs_out,
            audio_bytes,
            video_bytes,
            data_bytes,
            conn_bytes_in,
            started_us,
        } = *self;
        let counts = [bytes_in, bytes_out, msgs_in, msgs_out, audio_bytes, video_bytes, data_bytes, conn_bytes_in];
        if counts.iter().any(|&count| count > COUNT_MAX) || started_us < 0 {
            return Err(Failure::ours(RRError::Arg, "no session can have these counters"));
        }
        Ok(())
    }

    /// Counters that go on from there.
    pub(super) fn counters(self) -> Counters {
        let counters = Counters::new(self.started_us.min(clock::wall_us()));
        counters.bytes_in.set(self.bytes_in);
        counters.bytes_out.set(self.bytes_out);
        counters.msgs_in.set(self.msgs_in);
        counters.msgs_out.set(self.msgs_out);
        if self.msgs_in > 0 {
            let media = counters.receiving();
            media.audio_bytes.set(self.audio_bytes);
            media.video_bytes.set(self.video_bytes);
            media.data_bytes.set(self.data_bytes);
        }
        counters
    }
}
