//! Any function from any thread at any time: several threads use every function on two servers at once, and one thread
//! each takes the events. `make tsan` runs this under ThreadSanitizer.

#![allow(unsafe_code, reason = "the C functions are called as C calls them")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one host's round is one block, as it would be in C")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rrelay::ffi::config::{rr_config_kind, rr_server_config, rr_target_config};
use rrelay::ffi::event::{rr_event, rr_event_flag, rr_event_type};
use rrelay::ffi::rr_base::{rr_config_init, rr_last_error};
use rrelay::ffi::rr_event::{rr_event_fd, rr_event_next, rr_event_wake};
use rrelay::ffi::rr_info::{rr_info_get, rr_server_stats, rr_stats_get};
use rrelay::ffi::rr_server::{
    rr_server, rr_server_free, rr_server_list, rr_server_listen, rr_server_log_librtmp, rr_server_new,
    rr_server_set_log, rr_server_state, rr_server_stop,
};
use rrelay::ffi::rr_session::{rr_session_allow, rr_session_close};
use rrelay::ffi::rr_stream::{rr_stream_create, rr_stream_find, rr_stream_stop, rr_stream_write};
use rrelay::ffi::rr_target::{rr_stream_add_source, rr_stream_add_target, rr_target_retry, rr_target_stop};
use rrelay::ffi::types::{rr_error, rr_frame, rr_info, rr_state, rr_stats};

const PANIC: c_int = rr_error::RR_ERR_PANIC as c_int;
const THREADS: u64 = 4;
const ROUNDS: u64 = 60;

/// Calls that succeeded, so that a test of nothing but refusals does not pass.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static TARGETS: AtomicU64 = AtomicU64::new(0);
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// A server that may be used from any thread, as the header says.
#[derive(Clone, Copy)]
struct Shared(*mut rr_server);
// SAFETY: the header promises it, and the test is about that promise.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Asserts that a call did not give RR_ERR_PANIC; other errors come of the other threads' calls.
fn calm(code: c_int) -> c_int {
    // SAFETY: rr_last_error never gives NULL.
    let detail = unsafe { CStr::from_ptr(rr_last_error()) };
    assert_ne!(code, PANIC, "{detail:?}");
    code
}

fn new_server() -> Shared {
    let mut server = null_mut();
    // SAFETY: zero is a valid rr_server_config.
    let mut config: rr_server_config = unsafe { std::mem::zeroed() };
    let kind = rr_config_kind::RR_CFG_SERVER as c_int;
    // SAFETY: the struct is there, with its size.
    assert_eq!(unsafe { rr_config_init(kind, (&raw mut config).cast(), size_of_val(&config)) }, 0);
    config.user = 7 as *mut c_void;
    // SAFETY: both are there.
    assert_eq!(unsafe { rr_server_new(&config, &mut server) }, 0);
    // SAFETY: a server and a string.
    assert!(unsafe { rr_server_listen(server, c"127.0.0.1:0".as_ptr(), 0) } > 0);
    Shared(server)
}

fn frame(body: &[u8], ts_ms: i64) -> rr_frame {
    rr_frame { r#type: 9, ts_ms, data: body.as_ptr(), len: body.len(), ..rr_frame::empty() }
}

fn target_config(url: &CStr) -> rr_target_config {
    rr_target_config { url: url.as_ptr(), retry_min_ms: 5, retry_max_ms: 20, ..rr_target_config::defaults() }
}

/// Everything a host may do, in an order that differs from thread to thread.
fn host(server: Shared, thread: u64) {
    let s = server.0;
    let (header, key) = ([0x17, 0, 0, 0, 0, 1, 2, 3], [0x17_u8; 600]);
    // Nobody listens there: each try fails at once.
    let url = c"rtmp://127.0.0.1:1/live/show";
    for round in 0..ROUNDS {
        let name = CString::new(format!("k{}", (thread + round) % 5)).expect("no NUL");
        let (mut stream, mut target, mut ids) = (0, 0, [0; 16]);
        let (mut info, mut stats): (rr_info, rr_stats);
        // SAFETY: zero is a valid value of both; every pointer below is to something that lives through the call.
        unsafe {
            info = std::mem::zeroed();
            stats = std::mem::zeroed();
            calm(rr_stream_create(s, c"live".as_ptr(), name.as_ptr(), null(), &mut stream));
            calm(rr_stream_write(s, stream, &frame(&header, round as i64)));
            let added = calm(rr_stream_add_target(s, stream, &target_config(url), &mut target));
            TARGETS.fetch_add(u64::from(added == 0), Ordering::Relaxed);
            let mut source = 0;
            calm(rr_stream_add_source(s, stream, &target_config(url), &mut source));
            calm(rr_target_stop(s, source, 0));
            for ts in 0..10 {
                let written = calm(rr_stream_write(s, stream, &frame(&key, round as i64 * 100 + ts)));
                WRITTEN.fetch_add(u64::from(written == 0), Ordering::Relaxed);
            }
            calm(rr_stats_get(s, stream, &mut stats, size_of_val(&stats)));
            calm(rr_info_get(s, target, &mut info, size_of_val(&info)));
            calm(rr_server_stats(s, &mut stats, size_of_val(&stats)));
            let count = calm(rr_server_list(s, 0, 2 + (round % 3) as c_int, ids.as_mut_ptr(), ids.len()));
            for &id in ids.iter().take(usize::try_from(count).unwrap_or(0)) {
                calm(rr_info_get(s, id, &mut info, size_of_val(&info)));
                calm(rr_session_close(s, id, null(), 0));
                calm(rr_session_allow(s, id, null()));
            }
            calm(rr_target_retry(s, target));
            calm(rr_server_set_log(s, (round % 2) as c_int, Some(log), null_mut()));
            calm(rr_server_log_librtmp(s, (round % 2) as c_int));
            calm(rr_event_wake(s));
            calm(rr_server_state(s));
            if round % 3 == thread % 3 {
                calm(rr_target_stop(s, target, 5));
            }
            if round % 4 == thread % 4 {
                calm(rr_stream_stop(s, stream, 5));
            }
            calm(rr_stream_find(s, c"live".as_ptr(), name.as_ptr(), &mut stream));
        }
    }
}

static LINES: AtomicU64 = AtomicU64::new(0);

/// Counts log lines, and reads them.
unsafe extern "C" fn log(_: *mut c_void, _: c_int, module: *const std::ffi::c_char, line: *const std::ffi::c_char) {
    // SAFETY: both are strings during the call.
    let length = unsafe { CStr::from_ptr(module).count_bytes() + CStr::from_ptr(line).count_bytes() };
    LINES.fetch_add(length as u64, Ordering::Relaxed);
}

/// Takes all events until the server has stopped; each object's states follow one another and none comes after its
/// last.
fn take(server: Shared, stopped: &AtomicBool) {
    let mut states: HashMap<(u32, u64), (u32, bool)> = HashMap::new();
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        let mut event: *const rr_event = null();
        // SAFETY: the server lives until this thread has ended.
        let code = unsafe { rr_event_next(server.0, &mut event, 1000) };
        if code != 1 {
            assert!(event.is_null() && calm(code) >= 0, "{code}");
            continue;
        }
        EVENTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: valid until the next call.
        let event = unsafe { *event };
        let id = match event.r#type {
            1 => 0,
            2 => event.stream,
            3 => event.session,
            4 => event.target,
            _ => continue,
        };
        let last = event.flags & rr_event_flag::RR_EVF_LAST as u32 != 0;
        if let Some((_, ended)) = states.insert((event.r#type, id), (event.state, last)) {
            assert!(!ended, "type {} id {id:#x}: state {} after its last", event.r#type, event.state);
        }
        let server_type = rr_event_type::RR_EV_SERVER as u32;
        if event.r#type == server_type && event.state == rr_state::RR_STATE_STOPPED as u32 {
            stopped.store(true, Ordering::Relaxed);
            return;
        }
    }
}

#[test]
fn any_call_from_any_thread() {
    let servers = [new_server(), new_server()];
    let stopped = [const { AtomicBool::new(false) }; 2];
    std::thread::scope(|scope| {
        for (server, stopped) in servers.iter().zip(&stopped) {
            scope.spawn(move || take(*server, stopped));
        }
        let hosts: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || host(servers[usize::from(thread % 2 == 0)], thread)))
            .collect();
        for thread in hosts {
            thread.join().expect("no host thread fails");
        }
        for server in servers {
            // SAFETY: the server is there.
            unsafe {
                assert!(rr_event_fd(server.0) >= 0);
                assert_eq!(rr_server_stop(server.0, null(), 200), 0);
            }
        }
    });
    for (server, stopped) in servers.into_iter().zip(&stopped) {
        // SAFETY: the last call, and all threads have ended.
        unsafe { rr_server_free(server.0) };
        assert!(stopped.load(Ordering::Relaxed), "the stop was not told");
    }
    let seen = [&WRITTEN, &TARGETS, &EVENTS].map(|count| count.load(Ordering::Relaxed));
    assert!(seen.iter().all(|&count| count >= ROUNDS), "messages, targets, events: {seen:?}");
}
