//! The reconnect policy of a target: which url is tried next and when, with growing waits, jitter, a cap, a reset after
//! a good run, and an end. It reads no clock and starts no action; the dialler owns one for each target.

use minicbor::{Decode, Encode};

use crate::config::{SlowPolicy, TargetConfig};
use crate::error::{Failure, RRError, Result};

/// How often a server may redirect us without a good run between; after that it counts as a failure. Two servers that
/// redirect to each other would otherwise keep us busy for ever.
const MOVES: u32 = 5;

/// Largest count that is accepted from another process: one that grows from here does not overflow.
const MOST: u32 = 1 << 30;

/// The step after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another try after this many milliseconds.
    Retry(u64),
    /// No further try: the cause does not pass by itself.
    Fatal,
    /// No further try: the configured number or time of tries is used up.
    GiveUp,
}

/// One failed connection, or one failed try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss<'a> {
    /// Why.
    pub failure: &'a Failure,
    /// How long media flowed before it; 0 if it never did.
    pub ran_ms: u64,
    /// Monotonic ms.
    pub now_ms: u64,
    /// A random number, for jitter.
    pub random: u64,
}

/// The history of one target's tries. A round tries every url once; only a failed round makes the wait grow and counts
/// towards giving up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Backoff {
    /// The url to try now.
    url: usize,
    /// Rounds that failed.
    failures_in_row: u32,
    /// When the first failure of the present row was, perhaps in another process and then before this one's clock began.
    since_ms: Option<i64>,
    urls: Vec<Url>,
    moves_in_row: u32,
}

/// The state of one url.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Url {
    /// How often it has refused us in a row.
    refused_in_row: u32,
    /// Another try of this url is of no use.
    fatal: bool,
    /// When media last flowed to this url in a session that the server did not end itself.
    ran_ms: Option<i64>,
}

/// The history for another process, where times are how long ago something was.
#[derive(Debug, Encode, Decode)]
pub(in crate::stream) struct BackoffState {
    #[n(0)]
    url: u32,
    #[n(1)]
    failures_in_row: u32,
    #[n(2)]
    since_ago_ms: Option<u64>,
    #[n(3)]
    #[cbor(with = "crate::proto::cbor::list")]
    urls: Vec<UrlState>,
    #[n(4)]
    moves_in_row: u32,
}

#[derive(Debug, Encode, Decode)]
struct UrlState {
    #[n(0)]
    refused_in_row: u32,
    #[n(1)]
    fatal: bool,
    #[n(2)]
    ran_ago_ms: Option<u64>,
}

impl BackoffState {
    /// The history that another process had, for a target with so many urls.
    ///
    /// # Errors
    /// [`RRError::Arg`] if no target can have it.
    pub(in crate::stream) fn checked(&self, urls: usize, now_ms: u64) -> Result<Backoff> {
        let at = |ago: Option<u64>| ago.map(|ago| moment(now_ms) - moment(ago));
        let counts = self.urls.iter().map(|url| url.refused_in_row);
        let counts = counts.chain([self.failures_in_row, self.moves_in_row]);
        if counts.max().is_some_and(|most| most > MOST) {
            return Err(Failure::ours(RRError::Arg, "no target can have tried so often"));
        }
        let url =
            |url: &UrlState| Url { refused_in_row: url.refused_in_row, fatal: url.fatal, ran_ms: at(url.ran_ago_ms) };
        Ok(Backoff {
            url: (self.url as usize).min(urls.saturating_sub(1)),
            failures_in_row: self.failures_in_row,
            since_ms: at(self.since_ago_ms),
            // Its settings may have had more urls before.
            urls: self.urls.iter().take(urls).map(url).collect(),
            moves_in_row: self.moves_in_row,
        })
    }
}

impl Backoff {
    /// The number of the url to try now.
    pub(crate) fn url(&self) -> usize {
        self.url
    }

    /// The history for another process.
    pub(in crate::stream) fn state(&self, now_ms: u64) -> BackoffState {
        let ago = |at: Option<i64>| at.map(|at| u64::try_from(since(at, now_ms)).unwrap_or(0));
        let url =
            |url: &Url| UrlState { refused_in_row: url.refused_in_row, fatal: url.fatal, ran_ago_ms: ago(url.ran_ms) };
        BackoffState {
            url: u32::try_from(self.url).unwrap_or(0),
            failures_in_row: self.failures_in_row,
            since_ago_ms: ago(self.since_ms),
            urls: self.urls.iter().map(url).collect(),
            moves_in_row: self.moves_in_row,
        }
    }

    /// Forgets all failures: the next try counts as the first.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Forgets all failures after a good run, but not where media has flowed.
    fn recover(&mut self) {
        let urls = self.urls.iter().map(|url| Url { ran_ms: url.ran_ms, ..Url::default() }).collect();
        *self = Self { urls, ..Self::default() };
    }

    /// Stops the count-down to giving up while the stream has nothing to send.
    pub(crate) fn rest(&mut self) {
        self.since_ms = None;
    }

    /// Whether the server may redirect us without a wait; frequent redirects are a failure.
    pub(crate) fn may_move(&mut self, config: &TargetConfig, ran_ms: u64) -> bool {
        if ran_ms >= u64::from(config.retry_reset_ms) {
            self.recover();
        }
        self.moves_in_row += 1;
        self.moves_in_row <= MOVES
    }

    /// The step after a failure at [`url`](Self::url), one of `urls` urls.
    pub(crate) fn after(&mut self, config: &TargetConfig, urls: usize, loss: Loss<'_>) -> Next {
        let urls = urls.max(1);
        if loss.ran_ms >= u64::from(config.retry_reset_ms) {
            // After a good run the first url is tried first again, even if a backup ran.
            let ran = self.url;
            self.recover();
            self.url = ran % urls;
        }
        let since_ms = *self.since_ms.get_or_insert_with(|| moment(loss.now_ms));
        self.urls.resize(urls, Url::default());
        self.url = self.url.min(urls - 1);
        if config.slow_policy == SlowPolicy::Stop && loss.failure.kind == RRError::Slow {
            return Next::Fatal; // the host asked for that, even if other urls could be tried
        }
        self.judge(config, &loss);
        let worth = |url: &Url| !url.fatal;
        let round_goes_on = loss.ran_ms < u64::from(config.retry_reset_ms);
        let later = self.urls.iter().skip(self.url + 1).position(worth).filter(|_| round_goes_on);
        if let Some(ahead) = later {
            self.url += 1 + ahead;
            // The next url of this round is tried at once, if there is time left.
            return if Self::is_late(config, since_ms, loss.now_ms) { Next::GiveUp } else { Next::Retry(0) };
        }
        let Some(first) = self.urls.iter().position(worth) else { return Next::Fatal };
        self.url = first;
        self.failures_in_row += 1;
        let too_often = config.retry_count.is_some_and(|count| self.failures_in_row > count);
        if too_often || Self::is_late(config, since_ms, loss.now_ms) {
            return Next::GiveUp;
        }
        let wait = self.wait(config, loss.random);
        // The last try comes when the time is up, not a whole wait later.
        let left = |total: u32| u64::try_from(i64::from(total) - since(since_ms, loss.now_ms)).unwrap_or(0);
        Next::Retry(wait.min(config.retry_total_ms.map_or(u64::MAX, left)))
    }

    /// Notes what this url's failure says about its next try.
    fn judge(&mut self, config: &TargetConfig, loss: &Loss<'_>) {
        let Some(url) = self.urls.get_mut(self.url) else { return };
        let refused = loss.failure.kind == RRError::Rejected;
        // A server that gives a reason for the end of a session does not hold that session any more.
        if loss.ran_ms > 0 {
            url.ran_ms = (!refused).then_some(moment(loss.now_ms));
        }
        // Servers answer BadName while they hold a lost session. After media has just flowed, that may be our own; at
        // other times one such refusal is not yet fatal.
        let lingers = |ran_ms| config.lingering_ms.is_some_and(|ms| since(ran_ms, loss.now_ms) < ms.into());
        let passes = url.ran_ms.is_some_and(lingers);
        url.refused_in_row = if refused && !passes { url.refused_in_row + 1 } else { 0 };
        url.fatal = !(loss.failure.kind.retriable() || refused && url.refused_in_row < 2 || config.retry_fatal);
    }

    fn is_late(config: &TargetConfig, since_ms: i64, now_ms: u64) -> bool {
        config.retry_total_ms.is_some_and(|total| since(since_ms, now_ms) >= i64::from(total))
    }

    fn wait(&self, config: &TargetConfig, random: u64) -> u64 {
        let doublings = self.failures_in_row.saturating_sub(1).min(20);
        let wait = (u64::from(config.retry_min_ms) << doublings).min(u64::from(config.retry_max_ms));
        let spread = wait * u64::from(config.retry_jitter_pct.min(100)) / 100;
        // Jitter only shortens the wait, so the cap stays a cap.
        wait - if spread == 0 { 0 } else { random % (spread + 1) }
    }
}

/// A time of the clock as one from which earlier ones can be subtracted; far beyond any time that passes it stays where
/// it is.
fn moment(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

/// How long ago a moment was.
fn since(moment_ms: i64, now_ms: u64) -> i64 {
    moment(now_ms) - moment_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TargetConfig {
        TargetConfig { retry_jitter_pct: 0, ..TargetConfig::default() }
    }

    /// The step after failures of this kind, one after the other.
    fn after(backoff: &mut Backoff, config: &TargetConfig, urls: usize, kind: RRError, ran_ms: u64) -> Next {
        let failure = Failure::peers(kind, "as expected");
        backoff.after(config, urls, Loss { failure: &failure, ran_ms, now_ms: 1_000, random: 7 })
    }

    #[test]
    fn waits_double_up_to_the_cap_and_good_running_resets_them() {
        let mut backoff = Backoff::default();
        let waits: Vec<Next> = (0..9).map(|_| after(&mut backoff, &config(), 1, RRError::Io, 29_999)).collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000].map(Next::Retry);
        assert_eq!(waits, expected);
        assert_eq!(after(&mut backoff, &config(), 1, RRError::Io, 30_000), Next::Retry(500));
    }

    #[test]
    fn jitter_stays_below_the_cap_and_above_its_share() {
        let config = TargetConfig::default();
        for random in 0..1000 {
            let mut backoff = Backoff { failures_in_row: 30, ..Backoff::default() };
            let failure = Failure::peers(RRError::Io, "reset");
            let loss = Loss { failure: &failure, ran_ms: 0, now_ms: 0, random: random * 7919 };
            let Next::Retry(wait) = backoff.after(&config, 1, loss) else { panic!("no retry") };
            assert!((24_000..=30_000).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn a_refusal_is_fatal_the_second_time_in_a_row() {
        let mut backoff = Backoff::default();
        assert_eq!(after(&mut backoff, &config(), 1, RRError::Rejected, 0), Next::Retry(500));
        assert_eq!(after(&mut backoff, &config(), 1, RRError::Io, 0), Next::Retry(1000));
        assert_eq!(after(&mut backoff, &config(), 1, RRError::Rejected, 0), Next::Retry(2000), "not in a row");
        assert_eq!(after(&mut backoff, &config(), 1, RRError::Rejected, 0), Next::Fatal);
        let stubborn = TargetConfig { retry_fatal: true, ..config() };
        assert_eq!(after(&mut backoff, &stubborn, 1, RRError::Rejected, 0), Next::Retry(4000));
        assert_eq!(after(&mut backoff, &config(), 1, RRError::Auth, 0), Next::Fatal);
    }

    #[test]
    fn where_media_has_just_flowed_refusals_pass_for_a_while() {
        let (lost, refused) = (Failure::peers(RRError::Io, "reset"), Failure::peers(RRError::Rejected, "BadName"));
        let at = |backoff: &mut Backoff, config: &TargetConfig, failure, ran_ms, now_ms| {
            backoff.after(config, 1, Loss { failure, ran_ms, now_ms, random: 0 })
        };
        for ran_ms in [3_000, 60_000] {
            let mut backoff = Backoff::default();
            assert_eq!(at(&mut backoff, &config(), &lost, ran_ms, 100_000), Next::Retry(500));
            for (now_ms, wait_ms) in [(101_000, 1_000), (103_000, 2_000), (130_000, 4_000), (189_999, 8_000)] {
                assert_eq!(at(&mut backoff, &config(), &refused, 0, now_ms), Next::Retry(wait_ms), "at {now_ms}");
            }
            assert_eq!(at(&mut backoff, &config(), &refused, 0, 190_000), Next::Retry(16_000), "the first at its word");
            assert_eq!(at(&mut backoff, &config(), &refused, 0, 206_000), Next::Fatal);
        }
        let at_their_word = TargetConfig { lingering_ms: None, ..config() };
        let mut backoff = Backoff::default();
        at(&mut backoff, &at_their_word, &lost, 3_000, 100_000);
        assert_eq!(at(&mut backoff, &at_their_word, &refused, 0, 101_000), Next::Retry(1_000));
        assert_eq!(at(&mut backoff, &at_their_word, &refused, 0, 102_000), Next::Fatal);
        // A session that the server itself has ended does not linger, however long it ran.
        let mut backoff = Backoff::default();
        assert_eq!(at(&mut backoff, &config(), &refused, 3_000, 100_000), Next::Retry(500));
        assert_eq!(at(&mut backoff, &config(), &refused, 3_000, 104_000), Next::Fatal);
        // This does not apply to another url, which has never run.
        let mut backoff = Backoff::default();
        at(&mut backoff, &config(), &lost, 60_000, 100_000);
        backoff.reset();
        assert_eq!(at(&mut backoff, &config(), &refused, 0, 101_000), Next::Retry(500));
        assert_eq!(at(&mut backoff, &config(), &refused, 0, 102_000), Next::Fatal);
    }

    #[test]
    fn backup_urls_are_tried_at_once_and_one_round_is_one_failure() {
        let config = TargetConfig { retry_count: Some(1), ..config() };
        let mut backoff = Backoff::default();
        let steps: Vec<_> =
            (0..5).map(|_| (backoff.url(), after(&mut backoff, &config, 3, RRError::Connect, 0))).collect();
        let now = Next::Retry(0);
        assert_eq!(steps, [(0, now), (1, now), (2, Next::Retry(500)), (0, now), (1, now)]);
        assert_eq!(after(&mut backoff, &config, 3, RRError::Connect, 0), Next::GiveUp);
    }

    #[test]
    fn a_url_that_refuses_for_good_leaves_the_others_to_try() {
        let mut backoff = Backoff::default();
        assert_eq!(after(&mut backoff, &config(), 2, RRError::Auth, 0), Next::Retry(0));
        assert_eq!((backoff.url(), after(&mut backoff, &config(), 2, RRError::Io, 0)), (1, Next::Retry(500)));
        assert_eq!((backoff.url(), after(&mut backoff, &config(), 2, RRError::Auth, 0)), (1, Next::Fatal));
    }

    #[test]
    fn a_lost_backup_that_ran_well_gives_the_first_url_its_right_back() {
        let mut backoff = Backoff::default();
        after(&mut backoff, &config(), 2, RRError::Io, 0);
        assert_eq!(backoff.url(), 1);
        assert_eq!(after(&mut backoff, &config(), 2, RRError::Io, 60_000), Next::Retry(500));
        assert_eq!(backoff.url(), 0);
    }

    #[test]
    fn a_target_gives_up_with_a_last_try_when_its_time_is_up() {
        let config = TargetConfig { retry_total_ms: Some(1_200), ..config() };
        let mut backoff = Backoff::default();
        let failure = Failure::peers(RRError::Connect, "refused");
        let mut at = |now_ms| backoff.after(&config, 1, Loss { failure: &failure, ran_ms: 0, now_ms, random: 0 });
        assert_eq!(at(10_000), Next::Retry(500));
        assert_eq!(at(10_500), Next::Retry(700), "not 1000: the time ends before");
        assert_eq!(at(11_200), Next::GiveUp);
    }

    #[test]
    fn too_slow_ends_it_where_the_host_says_so() {
        let config = TargetConfig { slow_policy: SlowPolicy::Stop, retry_fatal: true, ..config() };
        assert_eq!(after(&mut Backoff::default(), &config, 3, RRError::Slow, 90_000), Next::Fatal);
        assert_eq!(after(&mut Backoff::default(), &self::config(), 1, RRError::Slow, 0), Next::Retry(500));
    }

    #[test]
    fn servers_that_send_us_to_each_other_are_a_failure() {
        let mut backoff = Backoff::default();
        let moves = (0..20).take_while(|_| backoff.may_move(&config(), 0)).count();
        assert_eq!(moves, 5);
        assert!(backoff.may_move(&config(), 30_000), "after a good run it may again");
    }
}
