//! Fuzz target: `rrelay::fuzzing::session_snapshot`, where the promises are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rrelay::fuzzing::session_snapshot(data));
