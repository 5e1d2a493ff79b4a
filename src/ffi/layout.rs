//! Size and place of every field of the C structs, asserted at compile time on 64-bit machines: the library reads the
//! structs that C programs were compiled with.
//!
//! A struct's fields fill it wholly and its size is a multiple of 8, so a field added later always changes the size;
//! the growth rule of the config structs depends on that. Where the core has a struct of the same fields, one list of
//! fields serves for the conversion too.

use super::config::{
    rr_controller_config, rr_decision, rr_hooks_config, rr_server_config, rr_stream_config, rr_target_config,
};
use super::event::rr_event;
use super::types::{rr_frame, rr_info, rr_stats};
use crate::server::figures::Stats;

/// Asserts that the fields named, in this order, fill the struct without a gap, and that its size is this multiple of
/// 8.
macro_rules! no_padding {
    ($type:ty, $size:expr, $($field:ident : $kind:ty),+ $(,)?) => {
        #[cfg(target_pointer_width = "64")]
        const _: () = {
            let mut at = 0;
            $(
                assert!(std::mem::offset_of!($type, $field) == at, stringify!($type: $field));
                at += size_of::<$kind>();
            )+
            assert!(at == size_of::<$type>() && at.is_multiple_of(8) && at == $size);
        };
    };
}

/// Asserts that a struct has no padding, and converts the core's struct with fields of the same names into it.
macro_rules! mirror {
    ($type:ty, $core:ty, $size:expr, $($field:ident : $kind:ty),+ $(,)?) => {
        no_padding!($type, $size, $($field : $kind),+);
        impl From<&$core> for $type {
            fn from(core: &$core) -> Self {
                Self { $($field: core.$field),+ }
            }
        }
    };
}

type P = *const u8;

no_padding!(rr_stream_config, 96, size: u16, kind: u16, flags: u32, user: P, publisher_policy: u32, grace_ms: u32, gop_bytes: u32,
    gop_ms: u32, max_kbps: u32, unwatched_ms: u32, nice: i32, merge_ms: u32, clock: u32, start: u32, queue_bytes: u32,
    queue_ms: u32, slow_ms: u32, args: u32, cpus: P, key_wait_ms: u32, silent_ms: u32, metadata: u32,
    relay_threads: u32);
no_padding!(rr_target_config, 168, size: u16, kind: u16, flags: u32, user: P, url: P, key: P, backup_urls: P, username: P,
    password: P, ca_file: P, pin_sha256: P, bind_addr: P, retry_min_ms: u32, retry_max_ms: u32, retry_jitter_pct: u32,
    retry_count: u32, retry_total_ms: u32, retry_reset_ms: u32, connect_ms: u32, send_ms: u32, idle_ms: u32,
    queue_bytes: u32, queue_ms: u32, slow_policy: u32, slow_ms: u32, start: u32, clock: u32, media: u32, tracks: u64,
    max_kbps: u32, chunk_size: u32, merge_ms: u32, lingering_ms: u32);
no_padding!(rr_server_config, 144, size: u16, kind: u16, flags: u32, user: P, on_event: P, stream: P, mem_limit: u64,
    event_limit: u32, log_events: u32, max_sessions: u32, max_sessions_ip: u32, max_streams: u32, max_message: u32,
    ask: u32, ask_ms: u32, ask_default: u32, handshake_ms: u32, first_data_ms: u32, idle_ms: u32, ping_ms: u32,
    send_ms: u32, threads: u32, isolate: u32, worker: P, worker_memory: u64, worker_files: u32, worker_hung_ms: u32,
    worker_dir: P, worker_orphan_ms: u32, reserved0: u32);
no_padding!(rr_decision, 40, size: u16, kind: u16, flags: u32, user: P, rename: P, stream: P, media: u32, start: u32);
no_padding!(rr_hooks_config, 104, size: u16, kind: u16, flags: u32, on_connect: P, on_publish: P, on_play: P,
    on_publish_done: P, on_play_done: P, on_update: P, on_target_state: P, secret: P, ca_file: P, dialect: u32,
    timeout_ms: u32, update_ms: u32, retry_ms: u32, max_requests: u32, reserved0: u32);
no_padding!(rr_controller_config, 64, size: u16, kind: u16, flags: u32, urls: P, token: P, secret: P, ca_file: P, self_url: P,
    timeout_ms: u32, heartbeat_ms: u32, cache_ms: u32, max_requests: u32);
no_padding!(rr_frame, 40, size: u16, kind: u16, r#type: u8, track: u8, flags: u8, reserved0: u8, codec: u32, cts_ms: i32,
    ts_ms: i64, data: P, len: usize);
mirror!(rr_stats, Stats, 200, bytes_in: u64, bytes_out: u64, msgs_in: u64, msgs_out: u64, audio_bytes: u64,
    video_bytes: u64, data_bytes: u64, dropped_msgs: u64, dropped_bytes: u64, dropped_runs: u64, queue_bytes: u64,
    queue_msgs: u64, started_us: i64, last_media_us: i64, last_ts_ms: i64, last_key_ts_ms: i64, queue_ms: u32,
    queue_ms_max: u32, kbps_in: u32, kbps_out: u32, audio_kbps: u32, video_kbps: u32, fps_milli: u32,
    key_interval_ms: u32, rtt_us: u32, rtt_var_us: u32, retransmits: u32, unacked_bytes: u32, connects: u32,
    failures: u32, unknown_msgs: u32, clock_jumps: u32, sessions: u32, targets: u32);
no_padding!(rr_info, 176, id: u64, stream: u64, kind: u32, state: u32, error: i32, role: u32, tls: u32, caps_ex: u32,
    track_count: u32, retry_in_ms: u32, codecs: [u32; 8], user: P, app: P, key: P, addr: P, local_addr: P, url: P,
    agent: P, video_codec: P, audio_codec: P, width: u32, height: u32, sample_rate: u32, channels: u32, query: P);
no_padding!(rr_event, 128, r#type: u32, error: i32, state: u32, prev: u32, flags: u32, level: u32, stream: u64,
    session: u64, target: u64, user: P, time_us: i64, value: i64, app: P, key: P, addr: P, url: P, text: P, role: u32,
    action: u32, query: P);
