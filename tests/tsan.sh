#!/usr/bin/env bash
# Tests under ThreadSanitizer: tsan.sh TARGET_DIR [cargo's words for what to test]. Without such words the unit tests, those
# that go through the C functions, those of the relay with players, publishers, targets and sources over loopback (of streams
# with threads of their own and of streams that share loops), those of control from many threads at once, those of
# players over HTTP and of the readers of figures, those of a controller and of hooks, with the processes of streams, and
# those of changes while a server is replaced.
#
# ThreadSanitizer has to see the standard library's locks. Where the toolchain has the library's source it is compiled with
# the rest; where not (or with RR_TSAN_COMPILED=1), tests/tsan/std_sync.c tells of what the compiled library does. Either way tests/sanitizer.rs is run
# first: the race planted there has to be found and nothing else, or a run would mean nothing.
set -eu
cd "$(dirname "$0")/.."
target_dir=$1
shift

fail() {
    printf 'ThreadSanitizer: %s\n' "$@" >&2
    exit 1
}
SOURCE="Its source makes this run: rustup component add rust-src --toolchain nightly"

command -v rustup >/dev/null 2>&1 && rustup toolchain list | grep -q '^nightly' ||
    fail "there is no nightly toolchain: rustup toolchain install nightly --component rust-src"
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
library=$(rustc +nightly --print sysroot)/lib/rustlib
[ -e "$library/$triple/lib/librustc-nightly_rt.tsan.a" ] || fail "this toolchain has none for $triple"
mkdir -p "$target_dir"

build_std=() flags="-Zsanitizer=thread --cfg rr_tsan"
if [ -d "$library/src/rust/library" ] && [ "${RR_TSAN_COMPILED:-0}" != 1 ]; then
    build_std=(-Zbuild-std)
else
    case $triple in x86_64-*) ;; *) fail "std_sync.c is written for x86-64, and the library has no source here." "$SOURCE" ;; esac
    command -v readelf >/dev/null 2>&1 || fail "readelf is missing: apt install binutils"
    readelf -sW "$library/$triple"/lib/libstd-*.rlib 2>/dev/null |
        awk '$4 == "FUNC" && $5 == "GLOBAL" && $7 != "UND" { print $8 }' | sort -u >"$target_dir/std-functions"
    object=$target_dir/std_sync.o
    names=() wraps=" -Clink-arg=$object -Clink-arg=-Wl,--wrap=__tsan_atomic64_fetch_sub"
    # NAME=what its mangled name contains, to the end or to a hash.
    for function in \
        MUTEX_LOCK=3std3sys4sync5mutex5futex.*5Mutex14lock_contended \
        RWLOCK_READ=3std3sys4sync6rwlock5futex.*6RwLock14read_contended \
        RWLOCK_WRITE=3std3sys4sync6rwlock5futex.*6RwLock15write_contended \
        CONDVAR_WAIT=3std3sys4sync7condvar5futex.*7Condvar4wait \
        CONDVAR_WAIT_TIMEOUT=3std3sys4sync7condvar5futex.*7Condvar12wait_timeout \
        ONCE_CALL=3std3sys4sync4once5futex.*4Once4call \
        BARRIER_WAIT=3std4sync7barrier.*7Barrier4wait \
        SCOPE_END=3std6thread6scoped.*9ScopeData29decrement_num_running_threads; do
        name=$(grep -E "${function#*=}(17h[0-9a-f]{16}E)?\$" "$target_dir/std-functions" || true)
        [ -n "$name" ] && [ "$(wc -l <<<"$name")" -eq 1 ] ||
            fail "in this toolchain's standard library there is no ${function#*=}, which std_sync.c stands in for." "$SOURCE"
        names+=("-D${function%%=*}=$name")
        wraps+=" -Clink-arg=-Wl,--wrap=$name"
    done
    ${CC:-cc} -O2 -c "${names[@]}" tests/tsan/std_sync.c -o "$object"
    flags+=" -Cunsafe-allow-abi-mismatch=sanitizer$wraps"
fi
export RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target_dir"
# C programs on the library, as the workers of streams, are linked with it (tests/support/c.rs).
export RR_TSAN_RUNTIME="$library/$triple/lib/librustc-nightly_rt.tsan.a"
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan/suppressions halt_on_error=0 exitcode=66 allocator_may_return_null=1 ${TSAN_OPTIONS:-}"
run() { cargo +nightly test "${build_std[@]}" --target "$triple" "$@"; }

said=$target_dir/planted.log
run --no-run --test sanitizer || fail "the tests cannot be built so."
if run --test sanitizer -- a_planted_race >"$said" 2>&1 || ! grep -q 'ThreadSanitizer: data race' "$said"; then
    fail "the race planted in tests/sanitizer.rs was not reported, so nothing here would be. What was said: $said"
fi
run --test sanitizer -- --skip a_planted_race ||
    fail "it reports what is in order: it does not see this toolchain's locks, and its reports mean nothing." "$SOURCE"
echo "ThreadSanitizer: the planted race was reported, and nothing that is in order."

if [ $# -gt 0 ]; then
    run --no-fail-fast "$@"
    exit
fi
status=0
# The fuzz bodies are one thread each and count what they manage in a time, as one more does: nothing to see here.
run --lib -- --skip fuzzing:: --skip mutated_headers_are_taken_or_refused_within_bounds || status=1
run --no-fail-fast --test threads --test playing --test slow_players --test streams --test plays --test publisher_ends \
    --test sources --test targets --test shared_loops --test shared_loops_end --test several_relays --test several_relays_end \
    --test control_at_once --test controller --test handover_changes --test hooks --test http_flv --test metrics \
    --test noalbs --test stat || status=1
exit $status
