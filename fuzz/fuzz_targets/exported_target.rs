//! Fuzz target: `rrelay::fuzzing::exported_target`, where the promises are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rrelay::fuzzing::exported_target(data));
