//! Tests of what all exports share: the guard, the growth rule, the defaults, the fields that are refused.

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

use super::config::*;
use super::rr_base::*;
use super::types::*;
use super::*;
use crate::config::{ControllerConfig, Decision, Dialect, HooksConfig, ServerConfig, StreamConfig, TargetConfig};

/// This thread's last error, as text.
fn detail() -> String {
    // SAFETY: rr_last_error never gives NULL, and nothing fails while it is read.
    unsafe { CStr::from_ptr(rr_last_error()) }.to_str().unwrap().to_owned()
}

fn c_text(pointer: *const c_char) -> &'static str {
    // SAFETY: only given static strings.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap()
}

fn stream(change: impl FnOnce(&mut rr_stream_config)) -> Result<StreamConfig> {
    let mut c = rr_stream_config::defaults();
    change(&mut c);
    // SAFETY: a whole struct of this version.
    unsafe { convert::stream_config(&c) }.map(|config| config.expect("not NULL"))
}

fn target(change: impl FnOnce(&mut rr_target_config)) -> Result<TargetConfig> {
    let mut c = rr_target_config::defaults();
    c.url = c"rtmp://127.0.0.1/live/show".as_ptr();
    change(&mut c);
    // SAFETY: a whole struct of this version.
    unsafe { convert::target_config(&c) }
}

fn server(change: impl FnOnce(&mut rr_server_config)) -> Result<ServerConfig> {
    let mut c = rr_server_config::defaults();
    change(&mut c);
    // SAFETY: a whole struct of this version.
    unsafe { convert::server_config(&c) }.map(|(config, _)| config)
}

fn decision(change: impl FnOnce(&mut rr_decision)) -> Result<Decision> {
    let mut c = rr_decision::defaults();
    change(&mut c);
    // SAFETY: a whole struct of this version.
    unsafe { convert::decision(&c) }
}

fn hooks(change: impl FnOnce(&mut rr_hooks_config)) -> Result<HooksConfig> {
    let mut c = rr_hooks_config::defaults();
    c.on_play = c"http://127.0.0.1/".as_ptr();
    change(&mut c);
    // SAFETY: a whole struct of this version.
    unsafe { convert::hooks_config(&c) }.map(|config| config.expect("not NULL"))
}

/// A struct of zeroes.
fn zero<T: Sized32>() -> T {
    // SAFETY: zero is a valid value of every `Sized32`.
    unsafe { std::mem::zeroed() }
}

/// Asserts that the failure is of this kind and names the field.
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: RRError, field: &str) {
    let failure = result.expect_err(field);
    assert_eq!(failure.kind, kind, "{field}: {failure}");
    assert!(failure.text.contains(field), "{field} is not named: {failure}");
}

#[test]
fn a_state_that_is_longer_than_the_room_for_it_is_not_written() {
    let (mut blob, mut len) = ([7_u8; 4], 2_usize);
    let takes = |state: &[u8], blob: &mut [u8], len: &mut usize| {
        guard(|| {
            // SAFETY: more bytes than `len` says are writable.
            let room = unsafe { Room::new(blob.as_mut_ptr().cast(), len) }?;
            // SAFETY: as above.
            unsafe { room.take(state) };
            Ok(0)
        })
    };
    assert_eq!(takes(&[1; 3], &mut blob, &mut len), rr_error::RR_ERR_PANIC as c_int);
    assert_eq!((blob, len), ([7; 4], 2));
    assert_eq!(takes(&[1], &mut blob, &mut len), 0);
    assert_eq!((blob, len), ([1, 7, 7, 7], 1));
}

#[test]
fn a_panic_stops_at_the_border() {
    assert_eq!(guard(|| panic!("as expected")), rr_error::RR_ERR_PANIC as c_int);
    assert!(detail().contains("as expected"), "{}", detail());
    assert_eq!(guard(|| Ok(7)), 7);
    assert!(detail().contains("as expected"), "a good call keeps the last error");
}

#[test]
fn the_last_error_is_the_threads_own() {
    assert_eq!(guard(|| Err(is_null("cfg"))), RRError::Arg.code());
    assert_eq!(detail(), "invalid argument: cfg is NULL");
    std::thread::spawn(|| assert_eq!(detail(), "")).join().unwrap();
}

#[test]
fn a_nul_inside_a_name_does_not_make_it_another() {
    assert_eq!(c_string(b"secret\0x".to_vec()).as_bytes(), "secret\u{FFFD}x".as_bytes());
    assert_eq!(c_string(b"show\xff".to_vec()).as_bytes(), b"show\xff");
}

#[test]
fn names_and_sentences_match_the_core() {
    for kind in RRError::ALL {
        assert_eq!(c_text(rr_strerror(kind.code())), kind.sentence());
    }
    assert_eq!(c_text(rr_strerror(0)), "no error");
    assert_eq!(c_text(rr_strerror(1935)), "no error");
    assert_eq!(c_text(rr_strerror(-9999)), "unknown error");
    assert_eq!(c_text(rr_name(1, rr_state::RR_STATE_IN_PROGRESS as c_int)), "IN_PROGRESS");
    assert_eq!(c_text(rr_name(1, rr_state::RR_STATE_FAILED as c_int)), "FAILED");
    assert_eq!(c_text(rr_name(2, event::rr_event_type::RR_EV_UPGRADE as c_int)), "UPGRADE");
    assert_eq!(c_text(rr_name(2, event::rr_event_type::RR_EV_TRACKS as c_int)), "TRACKS");
    for (what, value) in [(1, 11), (1, -1), (2, 18), (0, 0), (99, 1), (2, i32::MIN)] {
        assert_eq!(c_text(rr_name(what, value)), "UNKNOWN");
    }
}

#[test]
fn error_numbers_are_the_cores() {
    for (c, core) in [
        (rr_error::RR_ERR_ARG, RRError::Arg),
        (rr_error::RR_ERR_CLOSED, RRError::Closed),
        (rr_error::RR_ERR_WORKER, RRError::Worker),
        (rr_error::RR_ERR_CERT, RRError::Cert),
        (rr_error::RR_ERR_GIVE_UP, RRError::GiveUp),
    ] {
        assert_eq!(c as i32, core.code());
    }
}

#[test]
fn states_and_events_have_the_cores_numbers() {
    use super::event::rr_event_type as ev;
    use crate::session::State;
    use crate::stream::event::EventKind as Kind;
    for (c, core) in [
        (rr_state::RR_STATE_IDLE, State::Idle),
        (rr_state::RR_STATE_ACCEPTING, State::Accepting),
        (rr_state::RR_STATE_CONNECTING, State::Connecting),
        (rr_state::RR_STATE_HANDSHAKE, State::Handshake),
        (rr_state::RR_STATE_WAITING, State::Waiting),
        (rr_state::RR_STATE_IN_PROGRESS, State::InProgress),
        (rr_state::RR_STATE_RECOVERING, State::Recovering),
        (rr_state::RR_STATE_STOPPING, State::Stopping),
        (rr_state::RR_STATE_STOPPED, State::Stopped),
        (rr_state::RR_STATE_FAILED, State::Failed),
    ] {
        assert_eq!(c as u32, core as u32, "{core:?}");
    }
    for (c, core) in [
        (ev::RR_EV_SERVER, Kind::Server),
        (ev::RR_EV_STREAM, Kind::Stream),
        (ev::RR_EV_SESSION, Kind::Session),
        (ev::RR_EV_TARGET, Kind::Target),
        (ev::RR_EV_CONNECT_ASK, Kind::ConnectAsk),
        (ev::RR_EV_PUBLISH_ASK, Kind::PublishAsk),
        (ev::RR_EV_PLAY_ASK, Kind::PlayAsk),
        (ev::RR_EV_WANTED, Kind::Wanted),
        (ev::RR_EV_UNWATCHED, Kind::Unwatched),
        (ev::RR_EV_TRACKS, Kind::Tracks),
        (ev::RR_EV_SLOW, Kind::Slow),
        (ev::RR_EV_CLOCK, Kind::Clock),
        (ev::RR_EV_RECONNECT, Kind::Reconnect),
        (ev::RR_EV_LOG, Kind::Log),
        (ev::RR_EV_OVERFLOW, Kind::Overflow),
        (ev::RR_EV_UPGRADE, Kind::Upgrade),
    ] {
        assert_eq!(c as u32, core as u32, "{core:?}");
    }
}

#[test]
fn an_events_strings_live_as_long_as_it_does() {
    use crate::stream::event::{Event, EventKind};
    let mut event = Event::new(EventKind::Target).because(&Failure::peers(RRError::Rejected, "no"));
    (event.app, event.key, event.user, event.value) = (b"live".to_vec(), b"k\xff".to_vec(), 77, -3);
    let lent = Some(event::Lent::new(event));
    let moved = Box::new(lent);
    let pointer = moved.as_ref().as_ref().unwrap().event();
    // SAFETY: `moved` lives.
    let c = unsafe { *pointer };
    assert_eq!((c.r#type, c.error, c.user as usize, c.value), (4, RRError::Rejected.code(), 77, -3));
    assert_eq!(c.flags, event::rr_event_flag::RR_EVF_BY_PEER as u32);
    assert_eq!((c_text(c.app), c_text(c.text), c_text(c.url)), ("live", "no", ""));
    // SAFETY: `moved` lives.
    assert_eq!(unsafe { CStr::from_ptr(c.key) }.to_bytes(), b"k\xff");
}

#[test]
fn the_version_is_cargos() {
    assert_eq!(c_text(rr_version_string()), env!("CARGO_PKG_VERSION"));
    let v = rr_version();
    assert_eq!(format!("{}.{}.{}", v >> 16, v >> 8 & 255, v & 255), env!("CARGO_PKG_VERSION"));
}

#[test]
fn written_defaults_zeroes_and_null_are_the_cores_defaults() {
    let start = StreamConfig::default();
    assert_eq!(stream(|_| ()).unwrap(), start);
    assert_eq!(server(|_| ()).unwrap(), ServerConfig::default());
    assert_eq!(decision(|_| ()).unwrap(), Decision::default());
    let url = "rtmp://127.0.0.1/live/show".to_owned();
    assert_eq!(target(|_| ()).unwrap(), TargetConfig { url: url.clone(), ..TargetConfig::default() });
    assert_eq!(stream(|c| *c = rr_stream_config { size: c.size, kind: c.kind, ..zero() }).unwrap(), start);
    assert_eq!(
        server(|c| *c = rr_server_config { size: c.size, kind: c.kind, ..zero() }).unwrap(),
        ServerConfig::default()
    );
    assert_eq!(decision(|c| *c = rr_decision { size: c.size, kind: c.kind, ..zero() }).unwrap(), Decision::default());
    let zeroes = target(|c| *c = rr_target_config { size: c.size, kind: c.kind, url: c.url, ..zero() });
    assert_eq!(zeroes.unwrap(), TargetConfig { url, ..TargetConfig::default() });
}

#[test]
fn a_null_config_is_the_default_but_for_a_target() {
    // SAFETY: NULL may be given, here and below.
    assert_eq!(unsafe { convert::server_config(null()) }.unwrap().0, ServerConfig::default());
    // SAFETY: as above.
    assert_eq!(unsafe { convert::decision(null()) }.unwrap(), Decision::default());
    // SAFETY: as above.
    assert!(unsafe { convert::stream_config(null()) }.unwrap().is_none());
    // SAFETY: as above.
    refused(unsafe { convert::target_config(null()) }, RRError::Arg, "cfg");
}

#[test]
fn off_is_off() {
    const OFF: u32 = u32::MAX;
    assert_eq!(stream(|c| c.gop_bytes = OFF).unwrap().gop_bytes, 0);
    assert_eq!(stream(|c| c.gop_ms = OFF).unwrap().gop_bytes, 0);
    assert_eq!(stream(|c| c.unwatched_ms = OFF).unwrap().unwatched_ms, None);
    assert_eq!(stream(|c| c.slow_ms = OFF).unwrap().slow_ms, OFF);
    assert_eq!(target(|c| c.merge_ms = OFF).unwrap().merge_ms, Some(0));
    assert_eq!(target(|c| c.retry_count = OFF).unwrap().retry_count, None);
    assert_eq!(target(|c| c.max_kbps = OFF).unwrap().max_kbps, None);
    assert_eq!(target(|c| c.idle_ms = OFF).unwrap().idle_ms, None);
    assert_eq!(target(|c| c.send_ms = OFF).unwrap().send_ms, Some(OFF));
    assert_eq!(target(|c| c.retry_jitter_pct = OFF).unwrap().retry_jitter_pct, 0);
    assert_eq!(server(|c| c.max_sessions_ip = OFF).unwrap().max_sessions_ip, None);
    assert_eq!(server(|c| c.idle_ms = OFF).unwrap().idle_ms, OFF);
    assert_eq!(server(|c| c.threads = OFF).unwrap().threads, None);
    assert_eq!(server(|c| c.threads = 2).unwrap().threads, Some(2));
    refused(stream(|c| c.queue_bytes = OFF), RRError::Arg, "queue_bytes");
    refused(server(|c| c.event_limit = OFF), RRError::Arg, "event_limit");
}

#[test]
fn values_arrive() {
    let config = stream(|c| {
        (c.publisher_policy, c.grace_ms, c.start, c.merge_ms, c.nice) = (1, 2, 3, 25, -5);
        c.cpus = c"0-3,8,2".as_ptr();
        c.user = 77 as *mut c_void;
    })
    .unwrap();
    assert_eq!(config.publisher_policy, crate::config::PublisherPolicy::Takeover);
    assert_eq!((config.grace_ms, config.start, config.merge_ms), (2, crate::config::Start::Now, 25));
    assert_eq!((config.nice, config.cpus, config.user), (-5, vec![0, 1, 2, 3, 8], 77));
    let config = target(|c| {
        c.key = c"a?b=\xff".as_ptr();
        (c.retry_count, c.flags, c.merge_ms) = (3, 11, 7);
        (c.ca_file, c.pin_sha256) = (c"roots.pem".as_ptr(), c"pin".as_ptr());
    })
    .unwrap();
    assert_eq!((config.ca_file.as_deref(), config.pin_sha256.as_deref()), (Some("roots.pem"), Some("pin")));
    assert!(config.insecure && config.send_args && !config.on_demand && convert::listen_flags(1).unwrap().tls);
    assert_eq!(config.key.as_deref(), Some(&b"a?b=\xff"[..]));
    assert_eq!((config.retry_count, config.retry_fatal, config.merge_ms), (Some(3), true, Some(7)));
    let urls = [c"rtmp://b/live".as_ptr(), c"rtmp://c/live".as_ptr(), null()];
    let config = target(|c| {
        (c.backup_urls, c.bind_addr) = (urls.as_ptr(), c"::1".as_ptr());
        (c.username, c.password) = (c"me".as_ptr(), c"secret".as_ptr());
        (c.retry_total_ms, c.send_ms, c.idle_ms, c.slow_policy, c.slow_ms) = (1, 2, 3, 2, 4);
        (c.clock, c.media, c.tracks, c.max_kbps, c.chunk_size) = (1, 3, 1 << 63, 8, 128);
    });
    let expected = TargetConfig {
        url: "rtmp://127.0.0.1/live/show".to_owned(),
        backup_urls: vec!["rtmp://b/live".to_owned(), "rtmp://c/live".to_owned()],
        bind_addr: Some("::1".parse().unwrap()),
        username: Some("me".to_owned()),
        password: Some("secret".to_owned()),
        retry_total_ms: Some(1),
        send_ms: Some(2),
        idle_ms: Some(3),
        slow_policy: crate::config::SlowPolicy::Stop,
        slow_ms: Some(4),
        from_zero: true,
        media: 3,
        tracks: 1 << 63,
        max_kbps: Some(8),
        chunk_size: 128,
        ..TargetConfig::default()
    };
    assert_eq!(config.unwrap(), expected);
    let inner = rr_stream_config { grace_ms: 9, ..rr_stream_config::defaults() };
    assert_eq!(server(|c| c.stream = &inner).unwrap().stream.grace_ms, 9);
    assert_eq!(decision(|c| c.stream = &inner).unwrap().stream.unwrap().grace_ms, 9);
    assert_eq!(decision(|c| c.rename = c"new".as_ptr()).unwrap().rename.as_deref(), Some(&b"new"[..]));
    assert_eq!(decision(|c| c.media = 1).unwrap().media, 1);
}

#[test]
fn controllers_arrive() {
    let urls = [c"http://a:1/".as_ptr(), c"https://b".as_ptr(), null()];
    let controller = |change: &dyn Fn(&mut rr_controller_config)| {
        let mut c = rr_controller_config { urls: urls.as_ptr(), ..rr_controller_config::defaults() };
        change(&mut c);
        // SAFETY: a whole struct of this version.
        unsafe { convert::controller_config(&c) }.map(|config| config.expect("not NULL"))
    };
    let urls = vec!["http://a:1".to_owned(), "https://b".to_owned()];
    let usual = ControllerConfig { urls: urls.clone(), ..ControllerConfig::default() };
    assert_eq!(controller(&|_| {}).unwrap(), usual);
    // SAFETY: NULL is allowed.
    assert!(unsafe { convert::controller_config(null()) }.unwrap().is_none());
    let config = controller(&|c| {
        (c.token, c.secret, c.ca_file) = (c"token".as_ptr(), c"se\xffcret".as_ptr(), c"roots.pem".as_ptr());
        c.self_url = c"rtmp://10.0.0.5".as_ptr();
        (c.timeout_ms, c.heartbeat_ms, c.cache_ms, c.max_requests) = (100, u32::MAX, u32::MAX, 7);
    });
    let expected = ControllerConfig {
        urls,
        token: Some("token".to_owned()),
        secret: Some(b"se\xffcret".to_vec()),
        ca_file: Some("roots.pem".to_owned()),
        self_url: Some("rtmp://10.0.0.5".to_owned()),
        timeout_ms: 100,
        heartbeat_ms: None,
        cache_ms: 0,
        max_requests: 7,
    };
    assert_eq!(config.unwrap(), expected);
    refused(controller(&|c| c.flags = 1), RRError::Arg, "flags");
    refused(controller(&|c| c.urls = null()), RRError::Arg, "urls");
    refused(controller(&|c| c.self_url = c"http://a".as_ptr()), RRError::Arg, "self_url");
}

#[test]
fn hooks_arrive() {
    let on_play = Some("http://127.0.0.1/".to_owned());
    assert_eq!(hooks(|_| {}).unwrap(), HooksConfig { on_play: on_play.clone(), ..HooksConfig::default() });
    // SAFETY: NULL is allowed.
    assert!(unsafe { convert::hooks_config(null()) }.unwrap().is_none());
    let config = hooks(|c| {
        (c.flags, c.dialect, c.timeout_ms, c.update_ms, c.retry_ms, c.max_requests) =
            (15, 1, 100, u32::MAX, u32::MAX, 7);
        (c.on_connect, c.on_publish) = (c"http://a/".as_ptr(), c"http://b/".as_ptr());
        (c.on_publish_done, c.on_play_done) = (c"http://c/".as_ptr(), c"http://d/".as_ptr());
        (c.on_update, c.on_target_state) = (c"http://e/".as_ptr(), c"https://f/".as_ptr());
        (c.secret, c.ca_file) = (c"se\xffcret".as_ptr(), c"roots.pem".as_ptr());
    });
    let url = |url: &str| Some(url.to_owned());
    let expected = HooksConfig {
        on_connect: url("http://a/"),
        on_publish: url("http://b/"),
        on_play,
        on_publish_done: url("http://c/"),
        on_play_done: url("http://d/"),
        on_update: url("http://e/"),
        on_target_state: url("https://f/"),
        secret: Some(b"se\xffcret".to_vec()),
        ca_file: url("roots.pem"),
        dialect: Dialect::Nginx,
        get: true,
        strict_update: true,
        relay_redirect: true,
        fail_open: true,
        timeout_ms: 100,
        update_ms: None,
        retry_ms: 0,
        max_requests: 7,
    };
    assert_eq!(config.unwrap(), expected);
    refused(hooks(|c| c.flags = 16), RRError::Arg, "flags");
    refused(hooks(|c| c.dialect = 2), RRError::Arg, "dialect");
    refused(hooks(|c| c.reserved0 = 1), RRError::Version, "reserved");
    refused(hooks(|c| c.flags = 2), RRError::Unsupported, "get");
}

#[test]
fn a_setting_out_of_range_is_refused_by_its_name() {
    use RRError::Arg;
    refused(stream(|c| c.flags = 1), Arg, "flags");
    refused(stream(|c| c.publisher_policy = 3), Arg, "publisher_policy");
    refused(stream(|c| c.nice = 20), Arg, "nice");
    refused(stream(|c| c.start = 4), Arg, "start");
    refused(stream(|c| c.metadata = 2), Arg, "metadata");
    refused(stream(|c| c.clock = 3), Arg, "clock");
    refused(stream(|c| c.merge_ms = 10_001), Arg, "merge_ms");
    refused(stream(|c| c.queue_ms = 99), Arg, "queue_ms");
    refused(stream(|c| c.args = 3), Arg, "args");
    for set in [c"", c"a", c"3-1", c"0-", c"1024", c"0,,1", c"-1", c"0-1-2"] {
        refused(stream(|c| c.cpus = set.as_ptr()), Arg, "cpus");
    }
    refused(stream(|c| c.cpus = c"\xff".as_ptr()), Arg, "cpus");
    refused(target(|c| c.url = null()), Arg, "url");
    refused(target(|c| c.flags = 16), Arg, "flags");
    refused(decision(|c| c.media = 8), Arg, "media");
    refused(target(|c| c.media = 8), Arg, "media");
    refused(target(|c| c.retry_min_ms = 40_000), Arg, "retry_min_ms");
    refused(target(|c| c.retry_jitter_pct = 101), Arg, "retry_jitter_pct");
    refused(target(|c| c.slow_policy = 3), Arg, "slow_policy");
    refused(target(|c| c.clock = 2), Arg, "clock");
    refused(target(|c| c.chunk_size = 127), Arg, "chunk_size");
    refused(target(|c| c.chunk_size = 1 << 24), Arg, "chunk_size");
    refused(target(|c| c.max_kbps = 7), Arg, "max_kbps");
    refused(target(|c| c.bind_addr = c"host".as_ptr()), Arg, "bind_addr");
    let urls = [c"rtmp://b/live".as_ptr(); 17];
    refused(target(|c| c.backup_urls = urls.as_ptr()), Arg, "backup_urls");
    refused(target(|c| c.lingering_ms = 86_400_001), Arg, "lingering_ms");
    refused(stream(|c| c.relay_threads = 17), Arg, "relay_threads");
    refused(server(|c| c.log_events = 6), Arg, "log_events");
    refused(server(|c| c.ask = 8), Arg, "ask");
    refused(server(|c| c.ask_default = 2), Arg, "ask_default");
    refused(server(|c| c.max_message = 1 << 24), Arg, "max_message");
    refused(server(|c| c.mem_limit = 1), Arg, "mem_limit");
    refused(server(|c| c.isolate = 2), Arg, "isolate");
    refused(server(|c| (c.isolate, c.worker_memory) = (1, 1)), Arg, "worker_memory");
    refused(server(|c| (c.isolate, c.worker_files) = (1, 1)), Arg, "worker_files");
    refused(server(|c| (c.isolate, c.worker_hung_ms) = (1, 1)), Arg, "worker_hung_ms");
    refused(server(|c| (c.isolate, c.worker) = (1, c"\xff".as_ptr())), Arg, "worker");
    refused(server(|c| (c.isolate, c.worker_dir) = (1, c"\xff".as_ptr())), Arg, "worker_dir");
    refused(server(|c| (c.isolate, c.worker_orphan_ms) = (1, 1)), Arg, "worker_orphan_ms");
    refused(server(|c| c.worker_files = 64), Arg, "worker_files");
    refused(convert::listen_flags(16), Arg, "flags");
}

/// The range in a field's comment, if it has one: "n to m", "to m" (from 1 on) or "from n".
fn documented_range(doc: &str) -> Option<(i128, Option<i128>)> {
    let words: Vec<&str> = doc.split("Default:").next()?.split([' ', ',', ';']).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let number = |word: Option<&&str>| word.and_then(|word| word.trim_end_matches([':', '.']).parse::<i128>().ok());
    words.iter().enumerate().find_map(|(at, &word)| match word {
        "to" => number(words.get(at + 1))
            .map(|to| (number(at.checked_sub(1).and_then(|at| words.get(at))).unwrap_or(1), Some(to))),
        "from" => number(words.get(at + 1)).map(|from| (from, None)),
        _ => None,
    })
}

/// The range in a field's comment, which C programmers read, is the core's range of the setting.
#[test]
fn documented_ranges_are_the_cores() {
    use crate::config::Value::Number;
    let (mut owner, mut doc, mut seen) = ("", String::new(), Vec::new());
    for line in include_str!("config.rs").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub struct ") {
            owner = name.trim_end_matches(" {");
        }
        if let Some(text) = line.strip_prefix("/// ") {
            doc = format!("{doc} {text}");
            continue;
        }
        let doc = std::mem::take(&mut doc);
        let field = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')).map(|(field, _)| field);
        let (Some(field), Some((from, to))) = (field, documented_range(&doc)) else { continue };
        let set = |number: i128| match owner {
            "rr_stream_config" => StreamConfig::default().set(field, Number(number)),
            "rr_target_config" => TargetConfig::default().set(field, Number(number)),
            "rr_server_config" => ServerConfig::default().set(field, Number(number)),
            "rr_hooks_config" => HooksConfig::default().set(field, Number(number)),
            "rr_controller_config" => ControllerConfig::default().set(field, Number(number)),
            _ => panic!("{owner} has a range"),
        };
        for (number, good) in [(from, true), (from - 1, false)] {
            assert_eq!(set(number).is_ok(), good, "{owner}.{field} = {number}: {doc}");
        }
        for (number, good) in to.into_iter().flat_map(|to| [(to, true), (to + 1, false)]) {
            assert_eq!(set(number).is_ok(), good, "{owner}.{field} = {number}: {doc}");
        }
        seen.push(field);
    }
    assert!(seen.len() >= 20 && seen.contains(&"ping_ms") && seen.contains(&"nice"), "{seen:?}");
}

#[test]
fn structs_grow_by_the_rule() {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Newer {
        known: rr_decision,
        later: u64,
    }
    let mut newer = Newer { known: rr_decision::defaults(), later: 5 };
    let size = size_of::<Newer>();
    // SAFETY: `size` bytes are there.
    let init = unsafe { rr_config_init(4, (&raw mut newer).cast(), size) };
    assert_eq!((init, newer.known.size as usize, newer.later), (0, size, 0));
    // SAFETY: the struct is as long as its size says, here and below.
    assert!(unsafe { convert::decision((&raw const newer).cast()) }.is_ok(), "an unknown tail of zeroes is fine");
    newer.later = 1;
    // SAFETY: as above.
    refused(unsafe { convert::decision((&raw const newer).cast()) }, RRError::Version, "rr_decision");

    let mut older = rr_decision { rename: c"lost".as_ptr(), ..rr_decision::defaults() };
    older.size = 16; // up to and with `user`
    // SAFETY: as above.
    assert_eq!(unsafe { convert::decision(&older) }.unwrap().rename, None, "beyond an older struct's end is nothing");
    for size in [0, 4, 7, 4097, u16::MAX] {
        older.size = size;
        // SAFETY: refused before anything beyond the size is read.
        refused(unsafe { convert::decision(&older) }, RRError::Arg, "size");
    }
}

#[test]
fn a_struct_that_was_set_up_as_another_is_refused_by_whoever_takes_it() {
    refused(
        stream(|c| c.kind = rr_server_config::KIND),
        RRError::Arg,
        "rr_stream_config: it was set up as rr_server_config",
    );
    refused(target(|c| c.kind = types::rr_frame::KIND), RRError::Arg, "rr_target_config: it was set up as rr_frame");
    refused(server(|c| c.kind = rr_decision::KIND), RRError::Arg, "rr_server_config: it was set up as rr_decision");
    refused(
        decision(|c| c.kind = rr_target_config::KIND),
        RRError::Arg,
        "rr_decision: it was set up as rr_target_config",
    );
    refused(decision(|c| c.kind = 0), RRError::Arg, "rr_config_init");
    refused(decision(|c| c.kind = u16::MAX), RRError::Arg, "rr_config_init");
}

#[test]
fn init_writes_no_byte_too_many() {
    let mut bytes = [0xAA_u8; 64];
    // SAFETY: 16 bytes are there.
    assert_eq!(unsafe { rr_config_init(4, bytes.as_mut_ptr().cast(), 16) }, 0);
    assert_eq!((bytes[0], bytes[8], bytes[16]), (16, 0, 0xAA));
    for (kind, size) in [(4, 0), (4, 7), (4, 4097), (5, 40), (0, 40), (4 | 2 << 8, 40), (5 | 4 << 8, 40), (-1, 40)] {
        // SAFETY: refused before anything is written.
        let code = unsafe { rr_config_init(kind, bytes.as_mut_ptr().cast(), size) };
        assert_eq!((code, bytes[0]), (RRError::Arg.code(), 16), "{kind} {size}");
    }
    // SAFETY: NULL is refused.
    assert_eq!(unsafe { rr_config_init(4, null_mut(), 40) }, RRError::Arg.code());
}
