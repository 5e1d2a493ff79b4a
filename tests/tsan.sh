#!/usr/bin/env bash
# Tests under ThreadSanitizer: tsan.sh TARGET_DIR. The unit tests, those that go through the C functions, and those of the
# relay with players, publishers, targets and sources over loopback.
set -eu
cd "$(dirname "$0")/.."
target_dir=$1

command -v rustup >/dev/null 2>&1 && rustup toolchain list | grep -q '^nightly' || {
    echo "ThreadSanitizer needs a nightly toolchain, and there is none: rustup toolchain install nightly" >&2
    exit 1
}
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
build_std=()
flags="-Zsanitizer=thread"
if [ -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library" ]; then
    build_std=(-Zbuild-std)
else
    # Without the standard library's source it stays uninstrumented: its own locks and counts are seen as system calls
    # and atomics only, and what that misleads is named in tsan.supp.
    flags="$flags -Cunsafe-allow-abi-mismatch=sanitizer"
fi
export RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target_dir"
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp halt_on_error=0 exitcode=66 allocator_may_return_null=1 ${TSAN_OPTIONS:-}"
# The fuzz bodies are one thread each and count what they manage in a time: nothing to see here, and too slow.
cargo +nightly test "${build_std[@]}" --target "$triple" --lib -- --skip fuzzing::
cargo +nightly test "${build_std[@]}" --target "$triple" --test threads --test playing \
    --test slow_players --test streams --test plays --test publisher_ends --test sources --test targets
