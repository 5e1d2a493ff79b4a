//! Fuzz target: `rrelay::fuzzing::worker_messages`, where the promises are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rrelay::fuzzing::worker_messages(data));
