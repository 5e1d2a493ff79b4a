//! Settings of a stream.

use super::choices::{Args, ClockMode, Metadata, PublisherPolicy, Start};
use super::value::{OFF, Range, Setting, Shape, Value, of_choice};
use crate::error::Result;

/// CPU numbers that a set can hold: those of Linux's cpu_set_t.
const CPUS: usize = 1024;

/// Settings of one stream. What the fields' comments say is also in the OpenAPI document; off is `None`, 0, or the
/// largest number.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "rest", derive(utoipa::ToSchema))]
pub struct StreamConfig {
    /// The host's pointer as a number; never touched.
    #[cfg_attr(feature = "rest", schema(ignore))]
    pub user: usize,
    /// The treatment of a second publisher: it is refused, takes over, or stands by until the first is gone.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub publisher_policy: PublisherPolicy,
    /// A publisher that has sent nothing for this long, in ms, is replaced by a new one that the policy would otherwise
    /// refuse.
    pub silent_ms: Option<u32>,
    /// How long players and targets stay without a publisher, in ms; if off, they are closed at once.
    pub grace_ms: u32,
    /// The largest cached group of pictures, in bytes; off keeps no group.
    pub gop_bytes: u32,
    /// The longest cached group of pictures, in ms; off keeps no group.
    pub gop_ms: u32,
    /// A publisher that sends more kbit/s than this for 10 s is closed.
    pub max_kbps: u32,
    /// The treatment of timestamps: they pass unchanged, begin at 0, or lose the jumps that all tracks make.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub clock: ClockMode,
    /// A source on demand is closed this long after the last player left, in ms; if off, it stays connected.
    pub unwatched_ms: Option<u32>,
    /// Nice value of the stream's threads or process; a value below 0 needs a privilege.
    pub nice: i32,
    /// Media is collected this long before it is sent, in ms; if off, it is sent at once.
    pub merge_ms: u32,
    /// Where players begin: at the next key frame, at the cached group of pictures, or at the newest message.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub start: Start,
    /// A player's lag bound in bytes; past it the player jumps to a key frame.
    pub queue_bytes: u32,
    /// A player's lag bound in ms.
    pub queue_ms: u32,
    /// A player that stays past its bound for this long, in ms, is closed.
    pub slow_ms: u32,
    /// CPUs that the stream's threads or process may use; without a list, any.
    #[cfg_attr(feature = "rest", schema(value_type = String, example = "0-3,8"))]
    pub cpus: Vec<usize>,
    /// The treatment of `?args` behind names: apart from the name, part of the key, or dropped. Only the server's
    /// stream settings count, because a name is read before its stream exists.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub args: Args,
    /// If video comes for this long, in ms, without a key frame, those who join get sound at once; if off, they wait
    /// for the key frame.
    pub key_wait_ms: u32,
    /// How players get metadata that does not end as AMF0 prescribes: mended, or byte for byte.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub metadata: Metadata,
    /// Most threads that send to the stream's players; by default one, and more for many players.
    pub relay_threads: Option<u32>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            user: 0,
            publisher_policy: PublisherPolicy::Reject,
            silent_ms: Some(2_000), // a running encoder sends several times a second
            grace_ms: 0,
            gop_bytes: 8 * 1024 * 1024, // 10 s at 6 Mbit/s, a long group of a high-quality stream
            gop_ms: 10_000,             // a longer group means a misconfigured encoder
            max_kbps: 0,
            clock: ClockMode::Pass,
            unwatched_ms: Some(10_000), // after a page reload the stream is still running
            nice: 0,
            merge_ms: 0,                  // latency first: the host chooses cost
            start: Start::Gop,            // a picture at once is what viewers expect
            queue_bytes: 4 * 1024 * 1024, // 5 s at 6 Mbit/s
            queue_ms: 5_000,              // beyond this a live viewer wants the present, not the past
            slow_ms: 30_000,              // nobody watches half a minute of jumps
            cpus: Vec::new(),
            args: Args::Apart,  // as part of the name a token would be shown, matched and pushed on
            key_wait_ms: 5_000, // longer than most groups, and about as long as a viewer waits
            metadata: Metadata::Mended, // a player that refuses the metadata shows nothing at all
            relay_threads: None, // few streams are larger than one processor, and nobody knows which will be
        }
    }
}

impl StreamConfig {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`](crate::error::RRError::Arg) with the name, what the setting may be, and why.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<()> {
        self.take(&Setting::new(name, value))
    }

    /// What the setting of this name may be; `None` if there is none.
    pub fn shape(name: &str) -> Option<Shape> {
        Setting::shape_of(name, |asked| Self::default().take(asked))
    }

    fn take(&mut self, given: &Setting<'_>) -> Result<()> {
        let default = Self::default();
        match given.name {
            "publisher_policy" => {
                let choices = PublisherPolicy::CHOICES;
                self.publisher_policy = given.choice(default.publisher_policy, "RR_PUBLISHER_*", &choices)?;
            }
            "silent_ms" => self.silent_ms = given.optional(default.silent_ms, Range::DAY_MS)?,
            "grace_ms" => self.grace_ms = given.number(default.grace_ms, Range::DAY_MS, Some(0))?,
            "gop_bytes" => self.gop_bytes = given.number(default.gop_bytes, Range::CACHE_BYTES, Some(0))?,
            "gop_ms" => self.gop_ms = given.number(default.gop_ms, Range::HOUR_MS, Some(0))?,
            "max_kbps" => self.max_kbps = given.number(default.max_kbps, Range::ANY, Some(0))?,
            "clock" => self.clock = given.choice(default.clock, "RR_CLOCK_*", &ClockMode::CHOICES)?,
            "unwatched_ms" => self.unwatched_ms = given.optional(default.unwatched_ms, Range::DAY_MS)?,
            "nice" => {
                const NICE: Range = Range::signed(-20, 19, "the system has no other values");
                self.nice = given.number(default.nice, NICE, Some(0))?;
            }
            "merge_ms" => self.merge_ms = given.number(default.merge_ms, Range::MERGE_MS, Some(0))?,
            "start" => self.start = given.choice(default.start, "RR_START_*", &Start::CHOICES)?,
            "queue_bytes" => self.queue_bytes = given.number(default.queue_bytes, Range::QUEUE_BYTES, None)?,
            "queue_ms" => self.queue_ms = given.number(default.queue_ms, Range::QUEUE_MS, None)?,
            "slow_ms" => self.slow_ms = given.number(default.slow_ms, Range::ANY, Some(OFF))?,
            "args" => self.args = given.choice(default.args, "RR_ARGS_*", &Args::CHOICES)?,
            "key_wait_ms" => self.key_wait_ms = given.number(default.key_wait_ms, Range::HOUR_MS, Some(0))?,
            "metadata" => self.metadata = given.choice(default.metadata, "RR_METADATA_*", &Metadata::CHOICES)?,
            "relay_threads" => {
                const THREADS: Range = Range::new(1, 16, "no stream needs more threads to send than that");
                let off = given.value == Value::Off;
                self.relay_threads = if off { Some(1) } else { given.optional(default.relay_threads, THREADS)? };
            }
            "cpus" => self.cpus = given.text()?.map(|list| cpus(given, list)).transpose()?.unwrap_or_default(),
            _ => return Err(given.unknown("stream")),
        }
        Ok(())
    }

    /// Gives each setting by its name, as [`set`](Self::set) takes it; without the host's pointer.
    pub(crate) fn each_setting(&self, mut give: impl FnMut(&'static str, Value<'_>)) {
        let number = |number: u32, off: u32| if number == off { Value::Off } else { Value::Number(number.into()) };
        let optional = |number: Option<u32>| number.map_or(Value::Off, |number| Value::Number(number.into()));
        let cpus = self.cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        give("publisher_policy", of_choice(self.publisher_policy, &PublisherPolicy::CHOICES));
        give("silent_ms", optional(self.silent_ms));
        give("grace_ms", number(self.grace_ms, 0));
        give("gop_bytes", number(self.gop_bytes, 0));
        give("gop_ms", number(self.gop_ms, 0));
        give("max_kbps", number(self.max_kbps, 0));
        give("clock", of_choice(self.clock, &ClockMode::CHOICES));
        give("unwatched_ms", optional(self.unwatched_ms));
        give("nice", if self.nice == 0 { Value::Off } else { Value::Number(self.nice.into()) });
        give("merge_ms", number(self.merge_ms, 0));
        give("start", of_choice(self.start, &Start::CHOICES));
        give("queue_bytes", number(self.queue_bytes, OFF));
        give("queue_ms", number(self.queue_ms, OFF));
        give("slow_ms", number(self.slow_ms, OFF));
        give("args", of_choice(self.args, &Args::CHOICES));
        give("key_wait_ms", number(self.key_wait_ms, 0));
        give("metadata", of_choice(self.metadata, &Metadata::CHOICES));
        give("relay_threads", self.relay_threads.map_or(Value::Default, |number| Value::Number(number.into())));
        give("cpus", if cpus.is_empty() { Value::Default } else { Value::Text(&cpus) });
    }

    /// The first setting in which the other ones differ that a stream keeps from its beginning on: a log has one clock,
    /// and threads and processes are started where they run.
    pub(crate) fn fixed_in(&self, other: &Self) -> Option<&'static str> {
        let fixed = [
            ("clock", self.clock == other.clock),
            ("nice", self.nice == other.nice),
            ("cpus", self.cpus == other.cpus),
            ("relay_threads", self.relay_threads == other.relay_threads),
        ];
        fixed.into_iter().find(|(_, is_same)| !is_same).map(|(name, _)| name)
    }

    /// The settings, with those that depend on each other made to agree.
    #[must_use]
    pub fn checked(mut self) -> Self {
        if self.gop_ms == 0 {
            self.gop_bytes = 0; // no group fits a time of 0
        }
        self
    }
}

/// "0-3,8" as CPU numbers.
fn cpus(given: &Setting<'_>, list: &str) -> Result<Vec<usize>> {
    let wrong = || given.refuse(&format!("is \"{list}\", not a list like \"0-3,8\" of numbers below {CPUS}"));
    let number = |digits: &str| digits.parse().ok().filter(|&cpu: &usize| cpu < CPUS).ok_or_else(wrong);
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_given_by_name_make_the_same_settings() {
        let others = StreamConfig {
            user: 0,
            publisher_policy: PublisherPolicy::Standby,
            silent_ms: None,
            grace_ms: 5,
            gop_bytes: 0,
            gop_ms: 7,
            max_kbps: 8,
            clock: ClockMode::Repair,
            unwatched_ms: Some(9),
            nice: -3,
            merge_ms: 10,
            start: Start::Now,
            queue_bytes: 70_000,
            queue_ms: 200,
            slow_ms: OFF,
            cpus: vec![0, 3],
            args: Args::Drop,
            key_wait_ms: 0,
            metadata: Metadata::Verbatim,
            relay_threads: Some(3),
        };
        for config in [StreamConfig::default(), others] {
            let mut again = StreamConfig { grace_ms: 77, gop_ms: 78, silent_ms: Some(79), ..StreamConfig::default() };
            config.each_setting(|name, value| again.set(name, value).unwrap());
            assert_eq!(again, config);
        }
    }
}
