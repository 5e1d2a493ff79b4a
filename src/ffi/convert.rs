//! C's config structs turned into the core's: 0 is the default, RR_OFF is off, what is out of range is refused by the
//! field's name.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::config::{rr_decision, rr_server_config, rr_stream_config, rr_target_config};
use super::event::rr_event_fn;
use super::types::{rr_ask, rr_frame, rr_listen_flag, rr_media, rr_target_flag};
use super::{Sized32, opt_bytes, opt_text, read_struct, text, texts};
use crate::config::{
    ClockMode, Decision, ListenOptions, MAX_MESSAGE_BYTES, PublisherPolicy, ServerConfig, SlowPolicy, Start,
    StreamConfig, TargetConfig,
};
use crate::error::{Failure, RRError, Result};
use crate::log::{LevelFilter, level_filter};

/// "Off" in a number of a config struct; the header has it as a macro.
const OFF: u32 = u32::MAX;

const ANY: RangeInclusive<u32> = 1..=OFF - 1;
const HOUR_MS: u32 = 3_600_000;
const DAY_MS: u32 = 24 * HOUR_MS;
/// A lag bound below one message of a good stream would make every player jump for ever.
const QUEUE_BYTES: RangeInclusive<u32> = 65_536..=1 << 30;
const QUEUE_MS: RangeInclusive<u32> = 100..=600_000;
const MERGE_MS: RangeInclusive<u32> = 1..=10_000;
/// Below 8 kbit/s nothing can be heard; 10 Gbit/s is beyond one connection.
const KBPS: RangeInclusive<u32> = 8..=10_000_000;
/// What the protocol begins with, and its largest message.
const CHUNK_BYTES: RangeInclusive<u32> = 128..=MAX_MESSAGE_BYTES;
/// More places than anybody has; a list without its NULL is found out.
const MAX_BACKUP_URLS: usize = 16;
const CONNECT_MS: RangeInclusive<u32> = 100..=600_000;
/// Below this a single key frame would pass the server's limit.
const MIN_MEM_BYTES: u64 = 1 << 20;
/// CPU numbers a set may hold, as Linux's own cpu_set_t.
const CPUS: usize = 1024;

// SAFETY: repr(C), size first, no padding (layout.rs), only numbers and pointers.
unsafe impl Sized32 for rr_stream_config {
    const NAME: &'static str = "rr_stream_config";
}
// SAFETY: as above.
unsafe impl Sized32 for rr_target_config {
    const NAME: &'static str = "rr_target_config";
}
// SAFETY: as above; a function pointer is an Option, so zero is valid.
unsafe impl Sized32 for rr_server_config {
    const NAME: &'static str = "rr_server_config";
}
// SAFETY: as above.
unsafe impl Sized32 for rr_decision {
    const NAME: &'static str = "rr_decision";
}
// SAFETY: as above.
unsafe impl Sized32 for rr_frame {
    const NAME: &'static str = "rr_frame";
}

fn argument(text: String) -> Failure {
    Failure::ours(RRError::Arg, text)
}

/// A number within its range; 0 gives `default`, RR_OFF gives `off`, or is refused where there is none.
fn number(name: &str, value: u32, default: u32, range: RangeInclusive<u32>, off: Option<u32>) -> Result<u32> {
    match value {
        0 => Ok(default),
        OFF => off.ok_or_else(|| argument(format!("{name} cannot be off"))),
        _ if range.contains(&value) => Ok(value),
        _ => Err(argument(format!("{name} is {value}, it goes from {} to {}", range.start(), range.end()))),
    }
}

/// Refuses bits outside `known`.
fn bits(name: &str, value: u32, known: u32) -> Result<u32> {
    if value & !known == 0 { Ok(value) } else { Err(argument(format!("{name} has unknown bits: {value:#x}"))) }
}

/// Reserved fields are for newer versions of the struct; this one must not overlook them.
fn reserved(name: &str, value: u32) -> Result<()> {
    let unknown = || Failure::ours(RRError::Version, format!("{name}: its reserved field is in use"));
    if value == 0 { Ok(()) } else { Err(unknown()) }
}

/// RR_CLOCK_*.
fn clock(value: u32) -> Result<ClockMode> {
    match value {
        0 => Ok(ClockMode::Pass),
        1 => Ok(ClockMode::Zero),
        2 => Ok(ClockMode::Repair),
        _ => Err(argument(format!("clock is {value}, no RR_CLOCK_*"))),
    }
}

/// RR_START_*; `None` is the default.
fn start(value: u32) -> Result<Option<Start>> {
    match value {
        0 => Ok(None),
        1 => Ok(Some(Start::Key)),
        2 => Ok(Some(Start::Gop)),
        3 => Ok(Some(Start::Now)),
        _ => Err(argument(format!("start is {value}, no RR_START_*"))),
    }
}

/// The core's start as RR_START_*.
pub(super) fn start_to_c(start: Start) -> u32 {
    match start {
        Start::Key => 1,
        Start::Gop => 2,
        Start::Now => 3,
    }
}

/// "0-3,8" as CPU numbers.
fn cpus(set: &str) -> Result<Vec<usize>> {
    let wrong = || argument(format!("cpus: \"{set}\" is no list like \"0-3,8\" of numbers below {CPUS}"));
    let number = |digits: &str| digits.parse().ok().filter(|&cpu: &usize| cpu < CPUS).ok_or_else(wrong);
    let mut cpus = Vec::new();
    for part in set.split(',') {
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

/// The core's settings of a stream; NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn stream_config(pointer: *const rr_stream_config) -> Result<Option<StreamConfig>> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else { return Ok(None) };
    // SAFETY: contract.
    let set = unsafe { opt_text(c.cpus, "cpus") }?;
    let default = StreamConfig::default();
    bits("flags", c.flags, 0)?;
    reserved(rr_stream_config::NAME, c.reserved0)?;
    if !(-20..=19).contains(&c.nice) {
        return Err(argument(format!("nice is {}, it goes from -20 to 19", c.nice)));
    }
    let unwatched_ms = default.unwatched_ms.unwrap_or(OFF);
    let mut config = StreamConfig {
        user: c.user as usize,
        publisher_policy: match c.publisher_policy {
            0 => PublisherPolicy::Reject,
            1 => PublisherPolicy::Takeover,
            2 => PublisherPolicy::Standby,
            other => return Err(argument(format!("publisher_policy is {other}, no RR_PUBLISHER_*"))),
        },
        grace_ms: number("grace_ms", c.grace_ms, default.grace_ms, 1..=DAY_MS, Some(0))?,
        gop_bytes: number("gop_bytes", c.gop_bytes, default.gop_bytes, 1..=1 << 30, Some(0))?,
        gop_ms: number("gop_ms", c.gop_ms, default.gop_ms, 1..=HOUR_MS, Some(0))?,
        max_kbps: number("max_kbps", c.max_kbps, default.max_kbps, ANY, Some(0))?,
        clock: clock(c.clock)?,
        unwatched_ms: Some(number("unwatched_ms", c.unwatched_ms, unwatched_ms, 1..=DAY_MS, Some(OFF))?)
            .filter(|&unwatched_ms| unwatched_ms != OFF),
        nice: c.nice,
        merge_ms: number("merge_ms", c.merge_ms, default.merge_ms, MERGE_MS, Some(0))?,
        start: start(c.start)?.unwrap_or(default.start),
        queue_bytes: number("queue_bytes", c.queue_bytes, default.queue_bytes, QUEUE_BYTES, None)?,
        queue_ms: number("queue_ms", c.queue_ms, default.queue_ms, QUEUE_MS, None)?,
        slow_ms: number("slow_ms", c.slow_ms, default.slow_ms, ANY, Some(OFF))?,
        cpus: set.map(cpus).transpose()?.unwrap_or_default(),
    };
    if config.gop_ms == 0 {
        config.gop_bytes = 0; // one of the two bounds off keeps no group
    }
    Ok(Some(config))
}

/// The core's settings of a target.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn target_config(pointer: *const rr_target_config) -> Result<TargetConfig> {
    // SAFETY: contract.
    let c = unsafe { read_struct(pointer) }?.ok_or_else(|| super::is_null("cfg"))?;
    // SAFETY: contract.
    let url = unsafe { text(c.url, "url") }?;
    // SAFETY: contract.
    let key = unsafe { opt_bytes(c.key) };
    // SAFETY: contract.
    let ca_file = unsafe { opt_text(c.ca_file, "ca_file") }?;
    // SAFETY: contract.
    let pin_sha256 = unsafe { opt_text(c.pin_sha256, "pin_sha256") }?;
    let default = TargetConfig::default();
    let known = [
        rr_target_flag::RR_TARGET_INSECURE,
        rr_target_flag::RR_TARGET_RETRY_FATAL,
        rr_target_flag::RR_TARGET_ON_DEMAND,
    ];
    let known = known.into_iter().fold(0, |bits, flag| bits | flag as u32);
    let flags = bits("flags", c.flags, known)?;
    reserved(rr_target_config::NAME, c.reserved0)?;
    // SAFETY: contract.
    let backup_urls = unsafe { texts(c.backup_urls, "backup_urls", MAX_BACKUP_URLS) }?;
    // SAFETY: contract.
    let username = unsafe { opt_text(c.username, "username") }?;
    // SAFETY: contract.
    let password = unsafe { opt_text(c.password, "password") }?;
    // SAFETY: contract.
    let bind_addr = unsafe { opt_text(c.bind_addr, "bind_addr") }?;
    let no_address = |text: &str| argument(format!("bind_addr: \"{text}\" is no IPv4 or IPv6 address"));
    let bind_addr = bind_addr.map(|text| text.parse().map_err(|_| no_address(text))).transpose()?;
    let limit =
        |name, value, range| Ok::<_, Failure>(Some(number(name, value, 0, range, Some(0))?).filter(|&n| n != 0));
    let media = bits("media", c.media, rr_media::RR_MEDIA_ALL as u32)?;
    let retry_count = number("retry_count", c.retry_count, 0, 1..=1_000_000_000, Some(0))?;
    let merge_ms = number("merge_ms", c.merge_ms, OFF, MERGE_MS, Some(0))?;
    let config = TargetConfig {
        user: c.user as usize,
        url: url.to_owned(),
        key: key.map(<[u8]>::to_vec),
        backup_urls,
        username: username.map(ToOwned::to_owned),
        password: password.map(ToOwned::to_owned),
        bind_addr,
        ca_file: ca_file.map(ToOwned::to_owned),
        pin_sha256: pin_sha256.map(ToOwned::to_owned),
        insecure: flags & rr_target_flag::RR_TARGET_INSECURE as u32 != 0,
        retry_min_ms: number("retry_min_ms", c.retry_min_ms, default.retry_min_ms, 1..=HOUR_MS, None)?,
        retry_max_ms: number("retry_max_ms", c.retry_max_ms, default.retry_max_ms, 1..=DAY_MS, None)?,
        retry_jitter_pct: number("retry_jitter_pct", c.retry_jitter_pct, default.retry_jitter_pct, 1..=100, Some(0))?,
        retry_count: (retry_count != 0).then_some(retry_count),
        retry_total_ms: limit("retry_total_ms", c.retry_total_ms, ANY)?,
        retry_reset_ms: number("retry_reset_ms", c.retry_reset_ms, default.retry_reset_ms, ANY, None)?,
        connect_ms: number("connect_ms", c.connect_ms, default.connect_ms, CONNECT_MS, None)?,
        send_ms: (c.send_ms != 0).then_some(c.send_ms), // RR_OFF is a time that never passes
        idle_ms: limit("idle_ms", c.idle_ms, ANY)?,
        queue_bytes: number("queue_bytes", c.queue_bytes, default.queue_bytes, QUEUE_BYTES, None)?,
        queue_ms: number("queue_ms", c.queue_ms, default.queue_ms, QUEUE_MS, None)?,
        start: start(c.start)?.unwrap_or(default.start),
        slow_policy: match c.slow_policy {
            0 => SlowPolicy::Resync,
            1 => SlowPolicy::Reconnect,
            2 => SlowPolicy::Stop,
            other => return Err(argument(format!("slow_policy is {other}, no RR_SLOW_*"))),
        },
        slow_ms: limit("slow_ms", c.slow_ms, ANY)?,
        from_zero: match c.clock {
            0 => false,
            1 => true,
            2 => return Err(argument("clock: RR_CLOCK_REPAIR is for streams, not for targets".to_owned())),
            other => return Err(argument(format!("clock is {other}, no RR_CLOCK_*"))),
        },
        media: if media == 0 { default.media } else { media },
        tracks: c.tracks,
        max_kbps: limit("max_kbps", c.max_kbps, KBPS)?,
        chunk_size: number("chunk_size", c.chunk_size, default.chunk_size, CHUNK_BYTES, None)?,
        retry_fatal: flags & rr_target_flag::RR_TARGET_RETRY_FATAL as u32 != 0,
        merge_ms: (merge_ms != OFF).then_some(merge_ms),
        on_demand: flags & rr_target_flag::RR_TARGET_ON_DEMAND as u32 != 0,
    };
    if config.retry_min_ms > config.retry_max_ms {
        let text = format!("retry_min_ms ({}) is above retry_max_ms ({})", config.retry_min_ms, config.retry_max_ms);
        return Err(argument(text));
    }
    Ok(config)
}

/// How a server's events come: what the core takes beside its settings.
#[derive(Debug)]
pub(super) struct EventSetup {
    /// The host's callback.
    pub(super) on_event: rr_event_fn,
    /// Lines up to this level also come as events.
    pub(super) log_events: LevelFilter,
}

/// The core's settings of a server; NULL is the default.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn server_config(pointer: *const rr_server_config) -> Result<(ServerConfig, EventSetup)> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else {
        return Ok((ServerConfig::default(), EventSetup { on_event: None, log_events: LevelFilter::Off }));
    };
    // SAFETY: contract.
    let stream = unsafe { stream_config(c.stream) }?;
    let default = ServerConfig::default();
    bits("flags", c.flags, 0)?;
    let unknown = || argument(format!("log_events is {}, no RR_LOG_*", c.log_events));
    let log_events = i32::try_from(c.log_events).ok().and_then(level_filter).ok_or_else(unknown)?;
    if c.mem_limit != 0 && c.mem_limit < MIN_MEM_BYTES {
        return Err(argument(format!("mem_limit is {}, it goes from {MIN_MEM_BYTES}", c.mem_limit)));
    }
    if c.ask_default > 1 {
        return Err(argument(format!("ask_default is {}, it is 0 or 1", c.ask_default)));
    }
    let asks = rr_ask::RR_ASK_CONNECT as u32 | rr_ask::RR_ASK_PUBLISH as u32 | rr_ask::RR_ASK_PLAY as u32;
    let time = |name, value, default| number(name, value, default, ANY, Some(OFF));
    let limit = |name, value, default| number(name, value, default, ANY, Some(OFF));
    let per_ip = limit("max_sessions_ip", c.max_sessions_ip, default.max_sessions_ip.unwrap_or(OFF))?;
    let config = ServerConfig {
        user: c.user as usize,
        stream: stream.map_or(default.stream, Arc::new),
        mem_limit_bytes: (c.mem_limit != 0).then_some(c.mem_limit),
        event_limit: number("event_limit", c.event_limit, default.event_limit, 16..=1 << 20, None)?,
        max_sessions: limit("max_sessions", c.max_sessions, default.max_sessions)?,
        max_sessions_ip: (per_ip != OFF).then_some(per_ip),
        max_streams: limit("max_streams", c.max_streams, default.max_streams)?,
        max_message_bytes: number(
            "max_message",
            c.max_message,
            default.max_message_bytes,
            4096..=MAX_MESSAGE_BYTES,
            None,
        )?,
        ask: bits("ask", c.ask, asks)?,
        ask_ms: time("ask_ms", c.ask_ms, default.ask_ms)?,
        ask_default_allow: c.ask_default == 1,
        handshake_ms: time("handshake_ms", c.handshake_ms, default.handshake_ms)?,
        first_data_ms: time("first_data_ms", c.first_data_ms, default.first_data_ms)?,
        idle_ms: time("idle_ms", c.idle_ms, default.idle_ms)?,
        ping_ms: number("ping_ms", c.ping_ms, default.ping_ms, 1000..=OFF - 1, Some(OFF))?,
        send_ms: time("send_ms", c.send_ms, default.send_ms)?,
    };
    Ok((config, EventSetup { on_event: c.on_event, log_events }))
}

/// The core's decision; NULL lets in as asked.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn decision(pointer: *const rr_decision) -> Result<Decision> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else { return Ok(Decision::default()) };
    // SAFETY: contract.
    let rename = unsafe { opt_bytes(c.rename) };
    // SAFETY: contract.
    let stream = unsafe { stream_config(c.stream) }?;
    bits("flags", c.flags, 0)?;
    let (media, default) = (bits("media", c.media, rr_media::RR_MEDIA_ALL as u32)?, Decision::default());
    Ok(Decision {
        user: c.user as usize,
        rename: rename.map(<[u8]>::to_vec),
        stream: stream.map(Arc::new),
        start: start(c.start)?,
        media: if media == 0 { default.media } else { media },
    })
}

/// Flags of the listening calls.
pub(super) fn listen_flags(flags: u32) -> Result<ListenOptions> {
    let (tls, proxy) = (rr_listen_flag::RR_LISTEN_TLS as u32, rr_listen_flag::RR_LISTEN_PROXY as u32);
    let reuse_port = rr_listen_flag::RR_LISTEN_REUSEPORT as u32;
    let flags = bits("flags", flags, tls | proxy | reuse_port)?;
    Ok(ListenOptions { reuse_port: flags & reuse_port != 0, proxy: flags & proxy != 0, tls: flags & tls != 0 })
}
