//! Whether a worker hangs: it is pinged, and has to answer. Times come as arguments.

/// How often a worker is pinged.
const PING_MS: u64 = 1_000;

/// Longest time between two looks that counts whole. In a longer one the host itself stood still, with all that it would have
/// read: stopped by a debugger, or with the whole machine. It counts as the time between two pings, which is less than any
/// worker may owe an answer for.
const LOOK_MS: u64 = 2 * PING_MS;

/// Longest time from the start of a worker that may otherwise owe an answer for ever to its greeting: a program that never
/// greets is no worker, and would keep its place among those that start.
const GREETING_MS: u64 = 60_000;

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// A ping with this number.
    Ping(u64),
    /// The worker has not answered in time: it is to be killed. This comes once.
    Hung,
}

/// The pings of one worker, which owes a greeting at first.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// How long the worker may owe an answer; `None`: for ever.
    hung_ms: Option<u64>,
    looked_ms: u64,
    ping_at_ms: u64,
    has_greeted: bool,
    sent: u64,
    answered: u64,
    /// How long the worker has owed an answer.
    silent_ms: u64,
    is_hung: bool,
}

impl Watchdog {
    /// Watches a worker that starts now.
    pub(super) fn new(hung_ms: Option<u32>, now_ms: u64) -> Self {
        let hung_ms = hung_ms.map(u64::from);
        Self {
            hung_ms,
            looked_ms: now_ms,
            ping_at_ms: 0,
            has_greeted: false,
            sent: 0,
            answered: 0,
            silent_ms: 0,
            is_hung: false,
        }
    }

    /// Takes the greeting.
    pub(super) fn greeted(&mut self) {
        (self.has_greeted, self.silent_ms) = (true, 0);
    }

    /// Looks at the time; at least every second.
    pub(super) fn look(&mut self, now_ms: u64) -> Due {
        let passed_ms = Some(now_ms.saturating_sub(self.looked_ms)).filter(|ms| *ms <= LOOK_MS).unwrap_or(PING_MS);
        self.looked_ms = now_ms;
        if !self.has_greeted || self.sent > self.answered {
            self.silent_ms += passed_ms;
        }
        let most_ms = self.hung_ms.or_else(|| (!self.has_greeted).then_some(GREETING_MS));
        if !self.is_hung && most_ms.is_some_and(|most_ms| self.silent_ms >= most_ms) {
            self.is_hung = true;
            return Due::Hung;
        }
        if !self.has_greeted || now_ms < self.ping_at_ms {
            return Due::Nothing;
        }
        self.ping_at_ms = now_ms + PING_MS;
        self.sent += 1;
        Due::Ping(self.sent)
    }

    /// Takes the answer to a ping. False if no ping with this number waits for one: no worker of this library says so.
    pub(super) fn answer(&mut self, number: u64) -> bool {
        let is_awaited = (self.answered + 1..=self.sent).contains(&number);
        if is_awaited {
            (self.answered, self.silent_ms) = (number, 0);
        }
        is_awaited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 500 ms from one time to another, and gives the pings and when the worker was hung.
    fn run(watchdog: &mut Watchdog, from_ms: u64, to_ms: u64) -> (Vec<u64>, Option<u64>) {
        let mut pings = Vec::new();
        for now_ms in (from_ms..=to_ms).step_by(500) {
            match watchdog.look(now_ms) {
                Due::Ping(number) => pings.push(number),
                Due::Hung => return (pings, Some(now_ms)),
                Due::Nothing => {}
            }
        }
        (pings, None)
    }

    #[test]
    fn a_worker_that_answers_goes_on_and_one_that_does_not_is_hung() {
        let mut watchdog = Watchdog::new(Some(10_000), 0);
        watchdog.greeted();
        assert_eq!(run(&mut watchdog, 0, 9_500), ((1..=10).collect(), None));
        assert!(watchdog.answer(10));
        assert_eq!(run(&mut watchdog, 10_000, 19_500), ((11..=20).collect(), None), "its time begins anew");
        assert!(watchdog.answer(11), "a late answer is one too");
        let (pings, hung_at_ms) = run(&mut watchdog, 20_000, 60_000);
        assert_eq!((pings.len(), hung_at_ms), (10, Some(29_500)));
    }

    #[test]
    fn a_worker_that_never_greets_is_hung() {
        let mut watchdog = Watchdog::new(Some(10_000), 0);
        assert_eq!(run(&mut watchdog, 0, 60_000), (vec![], Some(10_000)));
        let mut patient = Watchdog::new(None, 0);
        assert_eq!(run(&mut patient, 0, 90_000), (vec![], Some(GREETING_MS)));
        let mut greeting = Watchdog::new(None, 0);
        greeting.greeted();
        assert_eq!(run(&mut greeting, 0, 90_000).1, None);
    }

    #[test]
    fn time_in_which_the_host_stood_still_is_not_the_workers() {
        let mut watchdog = Watchdog::new(Some(10_000), 0);
        watchdog.greeted();
        assert_eq!(watchdog.look(0), Due::Ping(1));
        assert_eq!(watchdog.look(3_600_000), Due::Ping(2));
        assert!(watchdog.answer(2));
        assert_eq!(watchdog.look(3_600_500), Due::Nothing);
        // The shortest time that may be set.
        let mut strict = Watchdog::new(Some(2_000), 0);
        strict.greeted();
        assert_eq!((strict.look(0), strict.look(3_600_000)), (Due::Ping(1), Due::Ping(2)));
        assert_eq!(run(&mut strict, 3_600_500, 3_700_000).1, Some(3_601_000), "but time in which it could answer is");
    }

    #[test]
    fn an_answer_that_was_not_asked_for_is_refused() {
        let mut watchdog = Watchdog::new(None, 0);
        watchdog.greeted();
        assert!(!watchdog.answer(0) && !watchdog.answer(1));
        assert_eq!(watchdog.look(0), Due::Ping(1));
        assert!(!watchdog.answer(2) && watchdog.answer(1) && !watchdog.answer(1));
    }
}
