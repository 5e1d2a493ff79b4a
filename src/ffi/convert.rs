//! C's config structs turned into the core's settings: 0 is the default, RR_OFF is off, strings are read. The core's
//! `config` checks each value, and refuses it with the setting's name.

use std::ffi::c_char;
use std::sync::Arc;

use super::config::{
    rr_config_kind, rr_controller_config, rr_decision, rr_hooks_config, rr_server_config, rr_stream_config,
    rr_target_config,
};
use super::event::rr_event_fn;
use super::types::{rr_frame, rr_hooks_flag, rr_listen_flag, rr_target_flag};
use super::{Sized32, opt_bytes, opt_text, read_struct, text, texts};
use crate::config::{
    AccessConfig, ControllerConfig, Decision, HooksConfig, ListenOptions, MAX_ACCESS_RULES, MAX_BACKUP_URLS,
    MAX_CONTROLLERS, OFF, ServerConfig, StreamConfig, TargetConfig, Value,
};
use crate::error::{Failure, RRError, Result};
use crate::log::{LevelFilter, level_filter};

// SAFETY: repr(C), size and kind first, no padding (layout.rs), only numbers and pointers.
unsafe impl Sized32 for rr_stream_config {
    const NAME: &'static str = "rr_stream_config";
    const KIND: u16 = rr_config_kind::RR_CFG_STREAM as u16;
}
// SAFETY: as above.
unsafe impl Sized32 for rr_target_config {
    const NAME: &'static str = "rr_target_config";
    const KIND: u16 = rr_config_kind::RR_CFG_TARGET as u16;
}
// SAFETY: as above; a function pointer is an Option, so zero is valid.
unsafe impl Sized32 for rr_server_config {
    const NAME: &'static str = "rr_server_config";
    const KIND: u16 = rr_config_kind::RR_CFG_SERVER as u16;
}
// SAFETY: as above.
unsafe impl Sized32 for rr_decision {
    const NAME: &'static str = "rr_decision";
    const KIND: u16 = rr_config_kind::RR_CFG_DECISION as u16;
}
// SAFETY: as above.
unsafe impl Sized32 for rr_frame {
    const NAME: &'static str = "rr_frame";
    const KIND: u16 = rr_config_kind::RR_CFG_FRAME as u16;
}

// SAFETY: as above.
unsafe impl Sized32 for rr_hooks_config {
    const NAME: &'static str = "rr_hooks_config";
    const KIND: u16 = rr_config_kind::RR_CFG_HOOKS as u16;
}

// SAFETY: as above.
unsafe impl Sized32 for rr_controller_config {
    const NAME: &'static str = "rr_controller_config";
    const KIND: u16 = rr_config_kind::RR_CFG_CONTROLLER as u16;
}

/// A number of a config struct, as a setting's value: 0 is the default, RR_OFF off.
trait Number: Copy {
    fn given(self) -> Value<'static>;
}

impl Number for u32 {
    fn given(self) -> Value<'static> {
        match self {
            0 => Value::Default,
            OFF => Value::Off,
            number => Value::Number(number.into()),
        }
    }
}

impl Number for u64 {
    fn given(self) -> Value<'static> {
        if self == 0 { Value::Default } else { Value::Number(self.into()) }
    }
}

impl Number for i32 {
    fn given(self) -> Value<'static> {
        if self == 0 { Value::Default } else { Value::Number(self.into()) }
    }
}

/// Sets the settings that have the same names as these number fields of a C struct.
macro_rules! give {
    ($c:ident to $config:ident: $($field:ident)*) => {
        $($config.set(stringify!($field), $c.$field.given())?;)*
    };
}

/// Text of a config struct, as a setting's value: NULL is the default.
///
/// # Safety
/// The contract of all pointers.
unsafe fn given_text<'a>(pointer: *const c_char, name: &str) -> Result<Value<'a>> {
    // SAFETY: contract.
    Ok(unsafe { opt_text(pointer, name) }?.map_or(Value::Default, Value::Text))
}

fn argument(text: String) -> Failure {
    Failure::ours(RRError::Arg, text)
}

/// Refuses bits outside `known`.
fn bits(name: &str, value: u32, known: u32) -> Result<u32> {
    if value & !known == 0 { Ok(value) } else { Err(argument(format!("{name} has unknown bits: {value:#x}"))) }
}

/// Refuses a reserved field that is not 0: a newer version of the struct gives it a meaning that is unknown here.
fn reserved(name: &str, value: u32) -> Result<()> {
    let unknown = || Failure::ours(RRError::Version, format!("{name}: its reserved field is in use"));
    if value == 0 { Ok(()) } else { Err(unknown()) }
}

/// The core's settings of a stream; NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn stream_config(pointer: *const rr_stream_config) -> Result<Option<StreamConfig>> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else { return Ok(None) };
    bits("flags", c.flags, 0)?;
    let mut config = StreamConfig { user: c.user as usize, ..StreamConfig::default() };
    // SAFETY: contract.
    config.set("cpus", unsafe { given_text(c.cpus, "cpus") }?)?;
    give!(c to config: publisher_policy grace_ms gop_bytes gop_ms max_kbps unwatched_ms nice merge_ms clock start
        queue_bytes queue_ms slow_ms args key_wait_ms silent_ms metadata relay_threads);
    Ok(Some(config.checked()))
}

/// The core's settings of a target.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn target_config(pointer: *const rr_target_config) -> Result<TargetConfig> {
    // SAFETY: contract.
    let c = unsafe { read_struct(pointer) }?.ok_or_else(|| super::is_null("cfg"))?;
    let mut config = TargetConfig { user: c.user as usize, ..TargetConfig::default() };
    // SAFETY: contract.
    config.set("url", Value::Text(unsafe { text(c.url, "url") }?))?;
    // SAFETY: contract.
    config.set("key", unsafe { opt_bytes(c.key) }.map_or(Value::Default, Value::Bytes))?;
    // SAFETY: contract.
    let urls = unsafe { texts(c.backup_urls, "backup_urls", MAX_BACKUP_URLS) }?;
    config.set("backup_urls", Value::Texts(&urls))?;
    for (name, pointer) in [
        ("username", c.username),
        ("password", c.password),
        ("ca_file", c.ca_file),
        ("pin_sha256", c.pin_sha256),
        ("bind_addr", c.bind_addr),
    ] {
        // SAFETY: contract.
        config.set(name, unsafe { given_text(pointer, name) }?)?;
    }
    let flags = [
        ("insecure", rr_target_flag::RR_TARGET_INSECURE as u32),
        ("retry_fatal", rr_target_flag::RR_TARGET_RETRY_FATAL as u32),
        ("on_demand", rr_target_flag::RR_TARGET_ON_DEMAND as u32),
        ("send_args", rr_target_flag::RR_TARGET_ARGS as u32),
    ];
    bits("flags", c.flags, flags.iter().fold(0, |known, (_, flag)| known | flag))?;
    for (name, flag) in flags {
        config.set(name, Value::Flag(c.flags & flag != 0))?;
    }
    give!(c to config: retry_min_ms retry_max_ms retry_jitter_pct retry_count retry_total_ms retry_reset_ms connect_ms
        send_ms idle_ms queue_bytes queue_ms slow_policy slow_ms start clock media tracks max_kbps chunk_size merge_ms
        lingering_ms);
    config.checked()
}

/// The delivery of a server's events, which is not part of the core's settings.
#[derive(Debug)]
pub(super) struct EventSetup {
    /// The host's callback.
    pub(super) on_event: rr_event_fn,
    /// Log lines up to this level also come as events.
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
    bits("flags", c.flags, 0)?;
    reserved(rr_server_config::NAME, c.reserved0)?;
    let unknown = || argument(format!("log_events is {}, not one of RR_LOG_*", c.log_events));
    let log_events = i32::try_from(c.log_events).ok().and_then(level_filter).ok_or_else(unknown)?;
    let mut config = ServerConfig { user: c.user as usize, ..ServerConfig::default() };
    if let Some(stream) = stream {
        config.stream = Arc::new(stream);
    }
    give!(c to config: mem_limit event_limit max_sessions max_sessions_ip max_streams max_message ask ask_ms ask_default
        handshake_ms first_data_ms idle_ms ping_ms send_ms threads isolate worker_memory worker_files worker_hung_ms
        worker_orphan_ms);
    // SAFETY: contract.
    config.set("worker", unsafe { given_text(c.worker, "worker") }?)?;
    // SAFETY: contract.
    config.set("worker_dir", unsafe { given_text(c.worker_dir, "worker_dir") }?)?;
    Ok((config.checked()?, EventSetup { on_event: c.on_event, log_events }))
}

/// The core's settings of hooks; NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn hooks_config(pointer: *const rr_hooks_config) -> Result<Option<HooksConfig>> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else { return Ok(None) };
    reserved(rr_hooks_config::NAME, c.reserved0)?;
    let mut config = HooksConfig::default();
    for (name, pointer) in [
        ("on_connect", c.on_connect),
        ("on_publish", c.on_publish),
        ("on_play", c.on_play),
        ("on_publish_done", c.on_publish_done),
        ("on_play_done", c.on_play_done),
        ("on_update", c.on_update),
        ("on_target_state", c.on_target_state),
        ("ca_file", c.ca_file),
    ] {
        // SAFETY: contract.
        config.set(name, unsafe { given_text(pointer, name) }?)?;
    }
    // SAFETY: contract.
    config.set("secret", unsafe { opt_bytes(c.secret) }.map_or(Value::Default, Value::Bytes))?;
    let flags = [
        ("fail_open", rr_hooks_flag::RR_HOOKS_FLAG_FAIL_OPEN as u32),
        ("get", rr_hooks_flag::RR_HOOKS_FLAG_GET as u32),
        ("strict_update", rr_hooks_flag::RR_HOOKS_FLAG_STRICT_UPDATE as u32),
        ("relay_redirect", rr_hooks_flag::RR_HOOKS_FLAG_RELAY_REDIRECT as u32),
    ];
    bits("flags", c.flags, flags.iter().fold(0, |known, (_, flag)| known | flag))?;
    for (name, flag) in flags {
        config.set(name, Value::Flag(c.flags & flag != 0))?;
    }
    give!(c to config: dialect timeout_ms update_ms retry_ms max_requests);
    config.checked().map(Some)
}

/// The core's access settings: who may publish and play.
///
/// # Safety
/// The contract of all pointers; `rules` is NULL or a list ended by NULL.
pub(super) unsafe fn access_config(rules: *const *const c_char, publish_keys: *const c_char) -> Result<AccessConfig> {
    let mut config = AccessConfig::default();
    // SAFETY: contract.
    config.set("rules", Value::Texts(&unsafe { texts(rules, "rules", MAX_ACCESS_RULES) }?))?;
    // SAFETY: contract.
    config.set("publish_keys", unsafe { given_text(publish_keys, "publish_keys") }?)?;
    Ok(config)
}

/// The core's settings of the controller; NULL is `None`.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn controller_config(pointer: *const rr_controller_config) -> Result<Option<ControllerConfig>> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else { return Ok(None) };
    bits("flags", c.flags, 0)?;
    let mut config = ControllerConfig::default();
    // SAFETY: contract.
    let urls = unsafe { texts(c.urls, "urls", MAX_CONTROLLERS) }?;
    config.set("urls", Value::Texts(&urls))?;
    for (name, pointer) in [("token", c.token), ("ca_file", c.ca_file), ("self_url", c.self_url)] {
        // SAFETY: contract.
        config.set(name, unsafe { given_text(pointer, name) }?)?;
    }
    // SAFETY: contract.
    config.set("secret", unsafe { opt_bytes(c.secret) }.map_or(Value::Default, Value::Bytes))?;
    give!(c to config: timeout_ms heartbeat_ms cache_ms max_requests);
    config.checked().map(Some)
}

/// The core's decision; NULL is one that changes nothing.
///
/// # Safety
/// The contract of all pointers.
pub(super) unsafe fn decision(pointer: *const rr_decision) -> Result<Decision> {
    // SAFETY: contract.
    let Some(c) = (unsafe { read_struct(pointer) })? else { return Ok(Decision::default()) };
    bits("flags", c.flags, 0)?;
    // SAFETY: contract.
    let stream = unsafe { stream_config(c.stream) }?.map(Arc::new);
    let mut decision = Decision { user: c.user as usize, stream, ..Decision::default() };
    // SAFETY: contract.
    decision.set("rename", unsafe { opt_bytes(c.rename) }.map_or(Value::Default, Value::Bytes))?;
    give!(c to decision: media start);
    Ok(decision)
}

/// Flags of the listening calls.
pub(super) fn listen_flags(flags: u32) -> Result<ListenOptions> {
    let (tls, proxy) = (rr_listen_flag::RR_LISTEN_TLS as u32, rr_listen_flag::RR_LISTEN_PROXY as u32);
    let reuse_port = rr_listen_flag::RR_LISTEN_REUSEPORT as u32;
    let http = rr_listen_flag::RR_LISTEN_HTTP as u32;
    let flags = bits("flags", flags, tls | proxy | reuse_port | http)?;
    Ok(ListenOptions {
        reuse_port: flags & reuse_port != 0,
        proxy: flags & proxy != 0,
        tls: flags & tls != 0,
        http: flags & http != 0,
    })
}
