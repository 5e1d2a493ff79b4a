//! The times at which a session acts on its own: its deadlines, and the pings that ask whether the peer is still there.
//!
//! [`Timers`] counts on the caller's clock and does no I/O: [`Timers::due`] gives a [`Due`], on which the owner of the
//! output acts.

use minicbor::{Decode, Encode};

use crate::config::ServerConfig;
use crate::error::{Failure, RRError, Result};

/// Pings in a row that may stay unanswered. A session whose peer has to answer ends when the next ping is due.
pub const PINGS_LOST: u32 = 2;

/// The value of a time that is turned off in a config.
const OFF_MS: u64 = u32::MAX as u64;

/// The times of one session, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Server: from the beginning to a `connect`. Client: from the beginning to `Publish.Start` or `Play.Start`.
    pub handshake_ms: u64,
    /// How long a question may wait for the host once the host has it.
    pub ask_ms: u64,
    /// From an accepted publish to its first media.
    pub first_data_ms: u64,
    /// A publisher that sends no media for this long is closed.
    pub idle_ms: u64,
    /// Silent peers get a ping this often; 0 turns pings off.
    pub ping_ms: u64,
}

impl From<&ServerConfig> for Timing {
    fn from(config: &ServerConfig) -> Self {
        Self {
            handshake_ms: config.handshake_ms.into(),
            ask_ms: config.ask_ms.into(),
            first_data_ms: config.first_data_ms.into(),
            idle_ms: config.idle_ms.into(),
            ping_ms: config.ping_ms.into(),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::from(&ServerConfig::default())
    }
}

impl Timing {
    fn pings(&self) -> bool {
        self.ping_ms > 0 && self.ping_ms < OFF_MS
    }
}

/// The phase of a conversation; it decides which deadlines and pings apply.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(super) enum Phase {
    /// The handshake and the first commands, with a deadline.
    #[n(0)]
    Opening {
        #[n(0)]
        since_ms: u64,
    },
    /// Connected, with nothing published or played. The session lasts while the peer answers pings.
    #[n(1)]
    Between {
        #[n(0)]
        since_ms: u64,
    },
    /// The peer publishes. Only media keeps the session alive, because many encoders do not answer pings.
    #[n(2)]
    Publishing {
        #[n(0)]
        since_ms: u64,
        #[n(1)]
        media_ms: Option<u64>,
    },
    /// The peer plays, or we publish to it or play from it. The session lasts while the peer answers pings.
    #[n(3)]
    Running,
    /// Nothing more is due.
    #[n(4)]
    Over,
}

/// The state of a question to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(super) enum Question {
    #[n(0)]
    None,
    /// The session has asked and reads nothing until the answer.
    #[n(1)]
    Open,
    /// The host has the question, and has until `by_ms`.
    #[n(2)]
    Asked {
        #[n(0)]
        by_ms: u64,
    },
}

/// Two clocks: the moment `from_ms` on one is `to_ms` on the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

impl Clocks {
    /// A past moment on the other clock. A moment before that clock began becomes 0.
    fn past(self, at_ms: u64) -> u64 {
        self.to_ms.saturating_sub(self.from_ms.saturating_sub(at_ms))
    }

    /// A moment, on the other clock, that may lie in the future, by `most_ms` at most.
    pub(super) fn future(self, at_ms: u64, most_ms: u64) -> u64 {
        match at_ms.checked_sub(self.from_ms) {
            Some(left_ms) => self.to_ms.saturating_add(left_ms.min(most_ms)),
            None => self.past(at_ms),
        }
    }
}

/// The earlier of two times of which either may not come.
pub(super) fn earliest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The action that [`Timers::due`] finds due.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    Nothing,
    /// A ping.
    Ping,
    /// The host has not answered in time. Reported once for each question.
    Unanswered,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Timers {
    #[cbor(skip)]
    timing: Timing,
    /// Error text for a peer that does not finish [`Phase::Opening`] in time.
    #[cbor(skip)]
    late: &'static str,
    #[n(0)]
    phase: Phase,
    #[n(1)]
    question: Question,
    #[n(2)]
    last_heard_ms: u64,
    /// The moment when a ping was last due.
    #[n(3)]
    pinged_ms: u64,
    /// The moment when a ping was last written, and the stamp that it carries.
    #[n(4)]
    written_ms: u64,
    #[n(5)]
    stamp: u32,
    #[n(6)]
    unanswered: u32,
    #[n(7)]
    rtt_ms: Option<u32>,
}

impl Timers {
    pub(super) fn new(timing: Timing, late: &'static str, now_ms: u64) -> Self {
        Self {
            timing,
            late,
            phase: Phase::Opening { since_ms: now_ms },
            question: Question::None,
            last_heard_ms: now_ms,
            pinged_ms: now_ms,
            written_ms: 0,
            stamp: 0,
            unanswered: 0,
            rtt_ms: None,
        }
    }

    /// Continues with these timers on another clock.
    pub(super) fn resumed(self, timing: Timing, late: &'static str, clocks: Clocks) -> Self {
        Self {
            timing,
            late,
            phase: match self.phase {
                Phase::Opening { since_ms } => Phase::Opening { since_ms: clocks.past(since_ms) },
                Phase::Between { since_ms } => Phase::Between { since_ms: clocks.past(since_ms) },
                Phase::Publishing { since_ms, media_ms } => Phase::Publishing {
                    since_ms: clocks.past(since_ms),
                    media_ms: media_ms.map(|media_ms| clocks.past(media_ms)),
                },
                Phase::Running | Phase::Over => self.phase,
            },
            question: match self.question {
                Question::Asked { by_ms } => Question::Asked { by_ms: clocks.future(by_ms, timing.ask_ms) },
                Question::None | Question::Open => self.question,
            },
            last_heard_ms: clocks.past(self.last_heard_ms),
            pinged_ms: clocks.past(self.pinged_ms),
            written_ms: clocks.past(self.written_ms),
            ..self
        }
    }

    /// Whether a question to the driver is open.
    pub(super) fn has_question(&self) -> bool {
        self.question != Question::None
    }

    /// Whether these can be the timers of a player that has got media (`plays`) or waits for its first.
    pub(super) fn fits_player(&self, plays: bool) -> bool {
        if plays { self.phase == Phase::Running } else { matches!(self.phase, Phase::Opening { .. }) }
    }

    /// Goes to another phase. Earlier pings no longer count, since a publisher may have left them unanswered.
    pub(super) fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.phase = phase;
        self.unanswered = 0;
        self.pinged_ms = now_ms;
    }

    /// Goes to [`Phase::Between`]. The caller gives no time, so the phase begins at the latest moment that was seen.
    pub(super) fn enter_between(&mut self) {
        let since_ms = self.last_heard_ms.max(self.pinged_ms);
        self.enter(Phase::Between { since_ms }, since_ms);
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn set_question(&mut self, question: Question) {
        self.question = question;
    }

    /// Starts the host's time to answer the open question, or starts it again.
    pub(super) fn asked(&mut self, now_ms: u64) {
        if self.question != Question::None {
            self.question = Question::Asked { by_ms: now_ms.saturating_add(self.timing.ask_ms) };
        }
    }

    /// Notes that bytes came.
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.last_heard_ms = now_ms;
    }

    pub(super) fn last_heard_ms(&self) -> u64 {
        self.last_heard_ms
    }

    /// Notes that a media message came.
    pub(super) fn media(&mut self, now_ms: u64) {
        if let Phase::Publishing { media_ms, .. } = &mut self.phase {
            *media_ms = Some(now_ms);
        }
    }

    /// Notes that the driver does not read at the moment, so that the silence is not the publisher's.
    pub(super) fn unheard(&mut self, now_ms: u64) {
        if let Phase::Publishing { since_ms, media_ms } = &mut self.phase {
            *media_ms.as_mut().unwrap_or(since_ms) = now_ms;
        }
    }

    /// Notes that a ping is written now, and returns its stamp.
    pub(super) fn ping(&mut self, now_ms: u64) -> u32 {
        self.written_ms = now_ms;
        self.stamp = now_ms as u32; // a ping has 32 bits of time
        self.stamp
    }

    /// Takes the answer to a ping, which carries that ping's stamp.
    pub(super) fn pong(&mut self, stamp: u32, now_ms: u64) {
        if self.unanswered > 0 && stamp == self.stamp {
            self.rtt_ms = Some(u32::try_from(now_ms.saturating_sub(self.written_ms)).unwrap_or(u32::MAX));
        }
        self.unanswered = 0;
    }

    pub(super) fn rtt_ms(&self) -> Option<u32> {
        self.rtt_ms
    }

    /// When [`due`](Self::due) has something, if nothing happens before.
    pub(super) fn next_ms(&self) -> Option<u64> {
        match self.question {
            Question::Asked { by_ms } => return Some(by_ms),
            Question::Open if !matches!(self.phase, Phase::Opening { .. }) => return None,
            Question::Open | Question::None => {}
        }
        earliest(self.deadline_ms(), self.next_ping_ms())
    }

    fn deadline_ms(&self) -> Option<u64> {
        let Timing { handshake_ms, first_data_ms, idle_ms, .. } = self.timing;
        match self.phase {
            Phase::Opening { since_ms } => Some(since_ms.saturating_add(handshake_ms)),
            Phase::Publishing { since_ms, media_ms: None } => Some(since_ms.saturating_add(first_data_ms)),
            Phase::Publishing { media_ms: Some(media_ms), .. } => Some(media_ms.saturating_add(idle_ms)),
            // Without pings a peer that rests cannot be told from one that is gone, so silence has a bound.
            Phase::Between { since_ms } if !self.timing.pings() => {
                Some(since_ms.max(self.last_heard_ms).saturating_add(idle_ms))
            }
            Phase::Between { .. } | Phase::Running | Phase::Over => None,
        }
    }

    fn next_ping_ms(&self) -> Option<u64> {
        let Timing { ping_ms, idle_ms, .. } = self.timing;
        let after = |at_ms: u64| at_ms.max(self.pinged_ms).saturating_add(ping_ms);
        match self.phase {
            _ if !self.timing.pings() => None,
            Phase::Between { .. } | Phase::Running => Some(after(self.last_heard_ms)),
            // The ping goes out early enough that the peer's system acknowledges its bytes before the publisher's
            // deadline; our TCP figures show that.
            Phase::Publishing { since_ms, media_ms } => {
                let silent_from_ms = media_ms.unwrap_or(since_ms);
                let silent_ms = silent_from_ms.saturating_add(ping_ms.min(idle_ms / 2));
                Some(silent_ms.max(self.pinged_ms.saturating_add(ping_ms)))
            }
            Phase::Opening { .. } | Phase::Over => None,
        }
    }

    /// The action that is due now.
    ///
    /// # Errors
    /// The session's end: [`RRError::Timeout`] where it did not open in time, [`RRError::Idle`] where the peer is
    /// silent.
    pub(super) fn due(&mut self, now_ms: u64) -> Result<Due> {
        if self.next_ms().is_none_or(|next_ms| now_ms < next_ms) {
            return Ok(Due::Nothing);
        }
        if let Question::Asked { .. } = self.question {
            self.question = Question::Open;
            return Ok(Due::Unanswered);
        }
        if self.deadline_ms().is_some_and(|deadline_ms| now_ms >= deadline_ms) {
            return Err(self.too_late(now_ms));
        }
        if !matches!(self.phase, Phase::Publishing { .. }) && self.unanswered >= PINGS_LOST {
            return Err(Failure::peers(RRError::Idle, "does not answer pings"));
        }
        self.pinged_ms = now_ms;
        self.unanswered = self.unanswered.saturating_add(1);
        Ok(Due::Ping)
    }

    fn too_late(&self, now_ms: u64) -> Failure {
        match self.phase {
            Phase::Publishing { media_ms: None, .. } => Failure::peers(RRError::Idle, "no media after publish"),
            Phase::Publishing { media_ms: Some(media_ms), .. } => {
                Failure::peers(RRError::Idle, format!("no media for {} ms", now_ms.saturating_sub(media_ms)))
            }
            Phase::Between { since_ms } => {
                let silent_ms = now_ms.saturating_sub(since_ms.max(self.last_heard_ms));
                Failure::peers(RRError::Idle, format!("sent nothing for {silent_ms} ms, and pings are off"))
            }
            Phase::Opening { .. } | Phase::Running | Phase::Over => Failure::peers(RRError::Timeout, self.late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing =
        Timing { handshake_ms: 10_000, ask_ms: 5_000, first_data_ms: 30_000, idle_ms: 20_000, ping_ms: 15_000 };

    fn timers(phase: Phase) -> Timers {
        let mut timers = Timers::new(TIMING, "too late", 0);
        timers.enter(phase, 0);
        timers
    }

    /// Every action that came due, and the failure at the end, each with its moment.
    type Seen = (Vec<(u64, Due)>, Option<(u64, String)>);

    /// Every action due up to `until_ms`, each at its announced moment.
    fn run(timers: &mut Timers, until_ms: u64) -> Seen {
        let mut seen = Vec::new();
        while let Some(at_ms) = timers.next_ms().filter(|&at_ms| at_ms <= until_ms) {
            assert_eq!(timers.due(at_ms - 1).unwrap(), Due::Nothing, "not before it is announced for");
            match timers.due(at_ms) {
                Ok(due) => seen.push((at_ms, due)),
                Err(failure) => return (seen, Some((at_ms, failure.text.into_owned()))),
            }
        }
        (seen, None)
    }

    #[test]
    fn a_peer_that_does_not_open_in_time_ends_with_that_text() {
        let mut timers = Timers::new(TIMING, "too late", 100);
        timers.heard(9_000);
        assert_eq!(run(&mut timers, 60_000), (vec![], Some((10_100, "too late".to_owned()))));
    }

    #[test]
    fn a_peer_that_rests_or_plays_ends_at_the_ping_after_two_it_has_not_answered() {
        for phase in [Phase::Between { since_ms: 0 }, Phase::Running] {
            let (seen, end) = run(&mut timers(phase), 200_000);
            assert_eq!(seen, [(15_000, Due::Ping), (30_000, Due::Ping)]);
            assert_eq!(end, Some((45_000, "does not answer pings".to_owned())));
        }
    }

    #[test]
    fn a_peer_that_answers_pings_lives_and_its_round_trip_is_known() {
        let mut timers = timers(Phase::Between { since_ms: 0 });
        for round in 1..100_u64 {
            let at_ms = timers.next_ms().unwrap();
            assert_eq!(timers.due(at_ms).unwrap(), Due::Ping, "round {round}");
            timers.ping(at_ms);
            timers.heard(at_ms + 40);
            timers.pong(at_ms as u32, at_ms + 40);
        }
        assert_eq!(timers.rtt_ms(), Some(40));
    }

    #[test]
    fn a_publisher_is_pinged_and_only_its_silence_ends_it() {
        let mut timers = timers(Phase::Publishing { since_ms: 0, media_ms: None });
        assert_eq!(
            run(&mut timers, 200_000),
            (vec![(15_000, Due::Ping)], Some((30_000, "no media after publish".into())))
        );
        timers.media(30_000);
        let (seen, end) = run(&mut timers, 200_000);
        assert_eq!(seen, [(40_000, Due::Ping)]);
        assert_eq!(end, Some((50_000, "no media for 20000 ms".to_owned())));
    }

    #[test]
    fn pings_that_a_publisher_left_unanswered_are_not_held_against_it_when_it_stays() {
        let mut timers = timers(Phase::Publishing { since_ms: 0, media_ms: None });
        for at_ms in (18_000..=360_000).step_by(18_000) {
            assert_eq!(timers.due(at_ms).unwrap(), Due::Ping);
            timers.media(at_ms);
        }
        timers.heard(360_000);
        timers.enter_between();
        assert_eq!(run(&mut timers, 390_000).1, None);
    }

    #[test]
    fn a_question_stops_every_clock_but_the_hosts() {
        let mut timers = timers(Phase::Between { since_ms: 0 });
        timers.set_question(Question::Open);
        assert_eq!(timers.next_ms(), None);
        timers.asked(1_000);
        assert_eq!(run(&mut timers, 200_000), (vec![(6_000, Due::Unanswered)], None));
        timers.asked(10_000);
        timers.asked(11_000);
        assert_eq!(timers.next_ms(), Some(16_000), "somebody else was asked");
        timers.set_question(Question::None);
        timers.asked(12_000);
        assert_eq!(timers.next_ms(), Some(15_000), "nobody is asked anything");
    }

    #[test]
    fn without_pings_a_peer_that_rests_has_the_idle_time() {
        for ping_ms in [0, OFF_MS] {
            let mut timers = Timers::new(Timing { ping_ms, ..TIMING }, "too late", 0);
            timers.enter_between();
            timers.heard(5_000);
            let (seen, end) = run(&mut timers, 200_000);
            assert!(seen.is_empty());
            assert_eq!(end, Some((25_000, "sent nothing for 20000 ms, and pings are off".to_owned())));
        }
    }
}
