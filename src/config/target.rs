//! Settings of a target or a source.

use std::net::IpAddr;

use super::choices::{SlowPolicy, Start, media};
use super::limits::{CHUNK_SIZE, MAX_MESSAGE_BYTES};
use super::value::{Longest, OFF, Range, Setting, Shape, Value, of_choice};
use crate::error::{Failure, RRError, Result};

/// Most backup urls of one target: more than anybody has, and few enough to stop at in a C list that lacks its NULL.
pub const MAX_BACKUP_URLS: usize = 16;

/// Settings of one push target, or of a source that pulls; [`TargetConfig::serves`] refuses the settings that do not
/// apply. What the fields' comments say is also in the OpenAPI document; off is `None`, 0, or the largest number.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "rest", derive(utoipa::ToSchema))]
pub struct TargetConfig {
    /// The host's pointer as a number; never touched.
    #[cfg_attr(feature = "rest", schema(ignore))]
    pub user: usize,
    /// The url, `rtmp://host[:port]/app[/key]` or `rtmps://`.
    #[cfg_attr(feature = "rest", schema(example = "rtmp://127.0.0.1:1936/live"))]
    pub url: String,
    /// The stream key, passed on byte for byte. Without it, the key is the part of the url after the application or,
    /// where there is none, the key of the stream that the target or source belongs to.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub key: Option<Vec<u8>>,
    /// A PEM file of roots that are trusted instead of the system's.
    pub ca_file: Option<String>,
    /// SHA-256 of the server's public key (SubjectPublicKeyInfo), in hexadecimal or base64. It replaces the check of
    /// the certificate; with `ca_file`, both must hold.
    pub pin_sha256: Option<String>,
    /// The server's certificate is not verified.
    pub insecure: bool,
    /// More urls, tried in turn after `url`; `key` holds for them too.
    pub backup_urls: Vec<String>,
    /// Name for Adobe or Limelight authentication; without it, the url's.
    pub username: Option<String>,
    /// Password for that authentication; without it, the url's.
    pub password: Option<String>,
    /// Local address to connect from.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub bind_addr: Option<IpAddr>,
    /// The first wait after a failure, in ms; it doubles from there.
    pub retry_min_ms: u32,
    /// The longest wait, in ms; not below `retry_min_ms`.
    pub retry_max_ms: u32,
    /// Random part of each wait, in percent of the wait.
    pub retry_jitter_pct: u32,
    /// Failures in a row before giving up; one try of all urls counts as one.
    pub retry_count: Option<u32>,
    /// Time from the first failure of a row to giving up, in ms.
    pub retry_total_ms: Option<u32>,
    /// A connection that ran this long, in ms, resets the wait.
    pub retry_reset_ms: u32,
    /// For this long, in ms, after media has flowed to a url, refusals of that server are retried, since it may still
    /// hold the lost session. If off, every refusal is final.
    pub lingering_ms: Option<u32>,
    /// Time for the name look-up, TCP and RTMP until the server takes media, in ms.
    pub connect_ms: u32,
    /// A target whose socket takes nothing for this long, in ms, is lost; the default is the server's time.
    pub send_ms: Option<u32>,
    /// A target without media for this long, in ms, is closed until media comes again.
    pub idle_ms: Option<u32>,
    /// Lag bound in bytes; past it the slow policy applies.
    pub queue_bytes: u32,
    /// Lag bound in ms.
    pub queue_ms: u32,
    /// The treatment of a target past its lag bound: it jumps to a key frame, is closed and connected again, or is
    /// stopped.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub slow_policy: SlowPolicy,
    /// How long, in ms, the target jumps to key frames before it is reconnected or stopped; if off, for ever with the
    /// policy `resync`, and not at all with the others.
    pub slow_ms: Option<u32>,
    /// Where the push begins: at the next key frame, at the cached group of pictures, or at the newest message.
    #[cfg_attr(feature = "rest", schema(value_type = String))]
    pub start: Start,
    /// Whether timestamps pass unchanged, or those of each connection begin at 0.
    #[cfg_attr(feature = "rest", schema(rename = "clock"))]
    pub from_zero: bool,
    /// Kinds of messages to send.
    pub media: u32,
    /// Tracks to send: bit n for the multitrack id n, bit 0 also for media without multitrack; 0 sends all.
    pub tracks: u64,
    /// Highest rate to send at, in kbit/s; a stream with a higher rate makes the target lag.
    pub max_kbps: Option<u32>,
    /// Chunk size to this server, in bytes.
    pub chunk_size: u32,
    /// Retry also after errors that are fatal by default.
    pub retry_fatal: bool,
    /// Media is collected this long before it is sent, in ms; the default is the stream's time, and off sends at once.
    pub merge_ms: Option<u32>,
    /// For sources: connect only while somebody plays.
    pub on_demand: bool,
    /// For targets: send the publisher's `?args` with the key.
    pub send_args: bool,
    /// The controller named this target or source, and is asked for another one when this one is lost. A host cannot
    /// set this field, and a target that the host changes is the host's own from then on.
    #[cfg_attr(feature = "rest", schema(ignore))]
    pub of_controller: bool,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            user: 0,
            url: String::new(),
            key: None,
            ca_file: None,
            pin_sha256: None,
            insecure: false,
            backup_urls: Vec::new(),
            username: None,
            password: None,
            bind_addr: None,
            retry_min_ms: 500,    // a restarted server is back within a second
            retry_max_ms: 30_000, // spares an ingest server that is down for an hour
            retry_jitter_pct: 20, // spreads out the reconnects of targets that were lost together
            retry_count: None,    // a push is expected to recover
            retry_total_ms: None,
            retry_reset_ms: 30_000,     // half a minute of media proves the connection
            lingering_ms: Some(90_000), // servers usually notice a lost peer within a minute
            connect_ms: 10_000,         // a slow TLS ingest across the world answers within 3 s
            send_ms: None,
            idle_ms: None,
            queue_bytes: 8 * 1024 * 1024,
            queue_ms: 10_000, // ingests tolerate more lag than viewers
            slow_policy: SlowPolicy::Resync,
            slow_ms: None,
            start: Start::Gop,
            from_zero: false,
            media: media::ALL,
            tracks: 0,
            max_kbps: None,
            chunk_size: CHUNK_SIZE,
            retry_fatal: false,
            merge_ms: None,
            on_demand: false,
            send_args: false,
            of_controller: false,
        }
    }
}

impl TargetConfig {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the name, what the setting may be, and why.
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
            "url" => self.url = given.within(Longest::URL)?.required_text()?,
            "key" => self.key = given.within(Longest::KEY)?.bytes()?,
            "ca_file" => self.ca_file = given.within(Longest::PATH)?.owned_text()?,
            "pin_sha256" => self.pin_sha256 = given.within(Longest::HASH)?.owned_text()?,
            "insecure" => self.insecure = given.flag(default.insecure)?,
            "backup_urls" => self.backup_urls = given.within(Longest::URL)?.texts(MAX_BACKUP_URLS)?,
            "username" => self.username = given.within(Longest::LOGIN)?.owned_text()?,
            "password" => self.password = given.within(Longest::LOGIN)?.owned_text()?,
            "bind_addr" => self.bind_addr = given.address()?,
            "retry_min_ms" => {
                const FIRST: Range = Range::new(1, 3_600_000, "a first wait of more than an hour is no retry");
                self.retry_min_ms = given.number(default.retry_min_ms, FIRST, None)?;
            }
            "retry_max_ms" => {
                const LONGEST: Range = Range::new(1, 86_400_000, "less than one try a day means giving up");
                self.retry_max_ms = given.number(default.retry_max_ms, LONGEST, None)?;
            }
            "retry_jitter_pct" => {
                const PERCENT: Range = Range::new(1, 100, "it is a part of each wait, in percent");
                self.retry_jitter_pct = given.number(default.retry_jitter_pct, PERCENT, Some(0))?;
            }
            "retry_count" => {
                const COUNT: Range = Range::new(1, 1_000_000_000, "a larger number means never giving up; use off");
                self.retry_count = given.optional(default.retry_count, COUNT)?;
            }
            "retry_total_ms" => self.retry_total_ms = given.optional(default.retry_total_ms, Range::ANY)?,
            "lingering_ms" => self.lingering_ms = given.optional(default.lingering_ms, Range::DAY_MS)?,
            "retry_reset_ms" => self.retry_reset_ms = given.number(default.retry_reset_ms, Range::ANY, None)?,
            "connect_ms" => self.connect_ms = given.number(default.connect_ms, Range::CONNECT_MS, None)?,
            "send_ms" => {
                // Off is a time that never passes; the default, `None`, takes the server's time.
                let off = given.value == Value::Off;
                self.send_ms = if off { Some(OFF) } else { given.optional(default.send_ms, Range::ANY)? };
            }
            "idle_ms" => self.idle_ms = given.optional(default.idle_ms, Range::ANY)?,
            "queue_bytes" => self.queue_bytes = given.number(default.queue_bytes, Range::QUEUE_BYTES, None)?,
            "queue_ms" => self.queue_ms = given.number(default.queue_ms, Range::QUEUE_MS, None)?,
            "slow_policy" => {
                self.slow_policy = given.choice(default.slow_policy, "RR_SLOW_*", &SlowPolicy::CHOICES)?;
            }
            "slow_ms" => self.slow_ms = given.optional(default.slow_ms, Range::ANY)?,
            "start" => self.start = given.choice(default.start, "RR_START_*", &Start::CHOICES)?,
            "clock" => {
                if given.value == Value::Number(2) {
                    return Err(given.refuse("is RR_CLOCK_REPAIR, which is for streams, not for targets"));
                }
                let choices = [(0, "pass", false), (1, "zero", true)];
                self.from_zero = given.choice(default.from_zero, "RR_CLOCK_*", &choices)?;
            }
            "media" => self.media = given.bits(default.media, &media::NAMES)?,
            "tracks" => {
                const TRACKS: Range = Range::from(0, "each bit stands for a track");
                self.tracks = given.number(default.tracks, TRACKS, None)?;
            }
            "max_kbps" => self.max_kbps = given.optional(default.max_kbps, Range::KBPS)?,
            "chunk_size" => {
                // From the protocol's initial chunk size to its largest message.
                const CHUNK: Range = Range::new(128, MAX_MESSAGE_BYTES, "RTMP allows no other sizes");
                self.chunk_size = given.number(default.chunk_size, CHUNK, None)?;
            }
            "retry_fatal" => self.retry_fatal = given.flag(default.retry_fatal)?,
            "merge_ms" => {
                // Off sends at once; the default, `None`, takes the stream's time.
                let off = given.value == Value::Off;
                self.merge_ms = if off { Some(0) } else { given.optional(default.merge_ms, Range::MERGE_MS)? };
            }
            "send_args" => self.send_args = given.flag(default.send_args)?,
            "on_demand" => self.on_demand = given.flag(default.on_demand)?,
            _ => return Err(given.unknown("target")),
        }
        Ok(())
    }

    /// Gives each setting by its name, as [`set`](Self::set) takes it, secrets included; without the host's pointer and
    /// [`of_controller`](Self::of_controller), which `set` does not know.
    pub(crate) fn each_setting(&self, mut give: impl FnMut(&'static str, Value<'_>)) {
        let number = |number: u32| Value::Number(number.into());
        let optional = |number: Option<u32>| number.map_or(Value::Off, |number| Value::Number(number.into()));
        // Where `None` is the default, and another number stands for off.
        let inherited = |number: Option<u32>, off: u32| match number {
            None => Value::Default,
            Some(number) if number == off => Value::Off,
            Some(number) => Value::Number(number.into()),
        };
        let text = |text: &Option<String>, give: &mut dyn FnMut(Value<'_>)| {
            give(text.as_deref().map_or(Value::Default, Value::Text));
        };
        give("url", Value::Text(&self.url));
        give("key", self.key.as_deref().map_or(Value::Default, Value::Bytes));
        text(&self.ca_file, &mut |value| give("ca_file", value));
        text(&self.pin_sha256, &mut |value| give("pin_sha256", value));
        give("insecure", Value::Flag(self.insecure));
        give("backup_urls", Value::Texts(&self.backup_urls));
        text(&self.username, &mut |value| give("username", value));
        text(&self.password, &mut |value| give("password", value));
        text(&self.bind_addr.map(|addr| addr.to_string()), &mut |value| give("bind_addr", value));
        give("retry_min_ms", number(self.retry_min_ms));
        give("retry_max_ms", number(self.retry_max_ms));
        give("retry_jitter_pct", if self.retry_jitter_pct == 0 { Value::Off } else { number(self.retry_jitter_pct) });
        give("retry_count", optional(self.retry_count));
        give("retry_total_ms", optional(self.retry_total_ms));
        give("retry_reset_ms", number(self.retry_reset_ms));
        give("lingering_ms", optional(self.lingering_ms));
        give("connect_ms", number(self.connect_ms));
        give("send_ms", inherited(self.send_ms, OFF));
        give("idle_ms", optional(self.idle_ms));
        give("queue_bytes", number(self.queue_bytes));
        give("queue_ms", number(self.queue_ms));
        give("slow_policy", of_choice(self.slow_policy, &SlowPolicy::CHOICES));
        give("slow_ms", optional(self.slow_ms));
        give("start", of_choice(self.start, &Start::CHOICES));
        give("clock", Value::Number(self.from_zero.into()));
        give("media", number(self.media));
        give("tracks", Value::Number(self.tracks.into()));
        give("max_kbps", optional(self.max_kbps));
        give("chunk_size", number(self.chunk_size));
        give("retry_fatal", Value::Flag(self.retry_fatal));
        give("merge_ms", inherited(self.merge_ms, 0));
        give("on_demand", Value::Flag(self.on_demand));
        give("send_args", Value::Flag(self.send_args));
    }

    /// The settings, if those that depend on each other agree.
    ///
    /// # Errors
    /// [`RRError::Arg`] where the first wait is above the longest, and where there is no url.
    pub fn checked(self) -> Result<Self> {
        let (min, max) = (self.retry_min_ms, self.retry_max_ms);
        if min > max {
            return Err(Failure::ours(RRError::Arg, format!("retry_min_ms ({min}) is above retry_max_ms ({max})")));
        }
        if self.url.is_empty() {
            return Err(Failure::ours(RRError::Arg, "url must be given"));
        }
        Ok(self)
    }

    /// Refuses settings that would do nothing in a target, or in a source (`pulls`).
    ///
    /// # Errors
    /// [`RRError::Unsupported`] for a target's setting in a source, [`RRError::Arg`] for a source's in a target.
    pub fn serves(&self, pulls: bool) -> Result<()> {
        if !pulls && self.on_demand {
            return Err(Failure::ours(RRError::Arg, "on_demand is for sources: a target always waits for media"));
        }
        let Some(name) = self.not_for_sources().filter(|_| pulls) else { return Ok(()) };
        Err(Failure::ours(RRError::Unsupported, format!("{name} is for targets: a source has no use for it")))
    }

    /// Refuses settings that only the host may make: those that name a file of this machine, and those that weaken TLS.
    /// A back end that answers questions decides where streams go, but not which files this machine reads nor which
    /// servers it trusts without proof.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the setting's name.
    #[cfg(feature = "rest")]
    pub(crate) fn answered(self) -> Result<Self> {
        let refuse = |text| Err(Failure::peers(RRError::Arg, text));
        if self.ca_file.is_some() {
            return refuse("ca_file names a file of this machine, which is not for an answer to say: use pin_sha256");
        }
        if self.insecure {
            return refuse(
                "insecure is not for an answer to say: use pin_sha256, or rtmp where nothing is to be checked",
            );
        }
        Ok(self)
    }

    /// The first setting about sending that is not the default; a source sends nothing.
    fn not_for_sources(&self) -> Option<&'static str> {
        let default = Self::default();
        let settings = [
            ("send_ms", self.send_ms != default.send_ms),
            ("idle_ms", self.idle_ms != default.idle_ms),
            ("queue_bytes", self.queue_bytes != default.queue_bytes),
            ("queue_ms", self.queue_ms != default.queue_ms),
            ("slow_policy", self.slow_policy != default.slow_policy),
            ("slow_ms", self.slow_ms != default.slow_ms),
            ("start", self.start != default.start),
            ("clock", self.from_zero != default.from_zero),
            ("media", self.media != default.media),
            ("tracks", self.tracks != default.tracks),
            ("max_kbps", self.max_kbps != default.max_kbps),
            ("merge_ms", self.merge_ms != default.merge_ms),
            ("RR_TARGET_ARGS", self.send_args),
        ];
        settings.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// Heap that the texts take, in bytes.
    #[cfg(feature = "rest")]
    pub(crate) fn heap_bytes(&self) -> usize {
        let texts = [&self.ca_file, &self.pin_sha256, &self.username, &self.password];
        let texts = texts.into_iter().flatten().chain([&self.url]).chain(&self.backup_urls);
        let backups = self.backup_urls.capacity() * size_of::<String>();
        texts.map(String::capacity).sum::<usize>() + backups + self.key.as_ref().map_or(0, Vec::capacity)
    }

    /// Whether both are for the same stream at the same server. Where one is there already, the other is not added.
    pub fn same_place(&self, other: &Self) -> bool {
        (&self.url, &self.key) == (&other.url, &other.key)
    }

    /// Whether a connection made for `other` serves these settings too, because they differ only in settings that can
    /// change while it runs.
    pub fn same_way(&self, other: &Self) -> bool {
        let way =
            |config: &Self| (config.from_zero, config.chunk_size, config.bind_addr, config.insecure, config.send_args);
        let trust = |config: &Self| (config.ca_file.clone(), config.pin_sha256.clone());
        (&self.url, &self.key, &self.username, &self.password)
            == (&other.url, &other.key, &other.username, &other.password)
            && way(self) == way(other)
            && trust(self) == trust(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_given_as_they_are_taken() {
        let text = |text: &str| Some(text.to_owned());
        let others = TargetConfig {
            user: 0,
            url: "rtmps://host/app".to_owned(),
            key: Some(b"key\xff".to_vec()),
            ca_file: text("/roots.pem"),
            pin_sha256: text("pin"),
            insecure: true,
            backup_urls: vec!["rtmp://backup/app".to_owned(), "rtmp://other/app".to_owned()],
            username: text("me"),
            password: text("secret"),
            bind_addr: Some(IpAddr::from([192, 0, 2, 7])),
            retry_min_ms: 1,
            retry_max_ms: 2,
            retry_jitter_pct: 0,
            retry_count: Some(3),
            retry_total_ms: Some(4),
            retry_reset_ms: 5,
            lingering_ms: None,
            connect_ms: 600,
            send_ms: Some(OFF),
            idle_ms: Some(7),
            queue_bytes: 1 << 20,
            queue_ms: 800,
            slow_policy: SlowPolicy::Stop,
            slow_ms: Some(9),
            start: Start::Key,
            from_zero: true,
            media: media::AUDIO,
            tracks: u64::MAX,
            max_kbps: Some(10),
            chunk_size: 4096,
            retry_fatal: true,
            merge_ms: Some(0),
            on_demand: true,
            send_args: true,
            of_controller: false,
        };
        let plain = TargetConfig { url: "rtmp://host/app".to_owned(), ..TargetConfig::default() };
        for config in [plain, others.clone()] {
            let mut again = TargetConfig { send_ms: Some(11), merge_ms: Some(12), ..others.clone() };
            config.each_setting(|name, value| again.set(name, value).unwrap());
            assert_eq!(again, config);
        }
    }
}
