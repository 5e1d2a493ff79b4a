//! Group 7 of the C API: the entry of processes that carry a stream of another process's server.

use std::ffi::{c_char, c_int};

use super::{guard, opt_bytes};
use crate::stream::process::worker;

/// Carries one stream of the server that started this process, and returns when the stream has ended. Call it first of
/// all in main, where the program is the worker of its own server, and before any thread is started:
///
/// `int code = rr_worker_main(argc, argv);`
///
/// `if (code != RR_ERR_ARG) return code < 0 ? 1 : code;`
///
/// From here on the process ends with the one that started it, unless that has a worker_dir, and ignores SIGHUP, SIGINT,
/// SIGTERM, SIGUSR1, SIGUSR2 and SIGPIPE: its end is that process's affair.
///
/// # Threads
/// The thread of main, which it keeps. A process is a worker once.
///
/// # Waits
/// For the end of the stream.
///
/// # Returns
/// The status for main to return; RR_ERR_ARG: these are not the arguments of a worker, so the program goes on as usual;
/// RR_ERR_STATE: the server that started it has ended; RR_ERR_IO: the system refused a call; RR_ERR_VERSION: the server
/// runs another version of the library; another error: why the stream could not run.
///
/// # Safety
/// The contract of all pointers; `argv` has `argc` strings, as main gets them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_worker_main(argc: c_int, argv: *const *mut c_char) -> c_int {
    guard(|| {
        let count = if argv.is_null() { 0 } else { usize::try_from(argc).unwrap_or(0) };
        let argument = |n| {
            // SAFETY: contract: `n` is below `argc`.
            let place = unsafe { argv.add(n) };
            // SAFETY: as above.
            let argument = unsafe { *place };
            // SAFETY: contract.
            unsafe { opt_bytes(argument) }.unwrap_or_default().to_vec()
        };
        let arguments: Vec<Vec<u8>> = (0..count).map(argument).collect();
        worker::main(&arguments)
    })
}
