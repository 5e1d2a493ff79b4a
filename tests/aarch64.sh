#!/usr/bin/env bash
# The library for aarch64, built here and run under an emulator: aarch64.sh TARGET_DIR. The unit tests, the structures and
# the answers of librtmp's face against the original's, C programs on both faces, and media over loopback. An emulator on
# another processor does not show what an order of memory accesses weaker than its own would; loom's models are for that.
set -eu
cd "$(dirname "$0")/.."
target_dir=$1
triple=aarch64-unknown-linux-gnu
system=/usr/aarch64-linux-gnu

if [ "$(uname -m)" = aarch64 ]; then
    echo "This machine is one: make test tries everything here." >&2
    exit 1
fi
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need aarch64-linux-gnu-gcc "a C compiler for aarch64 (Debian and Ubuntu: apt install gcc-aarch64-linux-gnu)"
need aarch64-linux-gnu-g++ "a C++ compiler for aarch64 (Debian and Ubuntu: apt install g++-aarch64-linux-gnu)"
[ -e "$system/lib/libc.so.6" ] || missing+=("a C library for aarch64 in $system (apt install libc6-dev-arm64-cross)")
need qemu-aarch64 "an emulator (Debian and Ubuntu: apt install qemu-user)"
# Without a standard library for aarch64 it is built, from its source, which takes a nightly toolchain.
cargo=(cargo) build_std=()
if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
    cargo=(cargo +nightly) build_std=(-Zbuild-std)
    [ -d "$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ] ||
        missing+=("Rust's library (rustup target add $triple, or its source with a nightly toolchain:
    rustup toolchain install nightly --component rust-src)")
fi
if [ ${#missing[@]} -ne 0 ]; then
    echo "To build and run for aarch64 there is missing:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
make --no-print-directory setup

# Tests compile C programs and run them. What they call `cc` compiles for aarch64 and leaves a script that runs the
# program in the emulator; what they call valgrind runs it unwatched.
tools=$target_dir/tools
mkdir -p "$tools"
for language in cc:gcc c++:g++; do
    cat >"$tools/${language%:*}" <<EOT
#!/usr/bin/env bash
set -eu
aarch64-linux-gnu-${language#*:} "\$@"
out=
for argument; do
    case \$argument in -c | -E | -S | -shared) exit 0 ;; esac
    [ "\${before:-}" != -o ] || out=\$(realpath "\$argument")
    before=\$argument
done
[ -n "\$out" ] || exit 0
mv "\$out" "\$out.aarch64"
printf '#!/bin/sh\nexec qemu-aarch64 -L $system "%s" "\$@"\n' "\$out.aarch64" >"\$out"
chmod +x "\$out"
EOT
done
cat >"$tools/valgrind" <<'EOT'
#!/bin/sh
while :; do case $1 in -*) shift ;; *) break ;; esac; done
exec "$@"
EOT
cat >"$tools/run" <<EOT
#!/bin/sh
PATH="$tools:\$PATH" exec qemu-aarch64 -L $system "\$@"
EOT
chmod +x "$tools"/*
ln -sfn "$(command -v aarch64-linux-gnu-nm)" "$tools/nm"

# Some optimization, since an emulator takes its time; the checks of a debug build all the same.
export CARGO_TARGET_DIR="$target_dir" CARGO_PROFILE_DEV_OPT_LEVEL=1
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$tools/run"
# A program that fails does not keep the later ones from running.
failed=0
run() { "${cargo[@]}" test "${build_std[@]}" --target "$triple" --no-fail-fast "$@" || failed=1; }

# Left out: what counts how much is done in a time, and what waits for a round trip, of which qemu passes on none;
# what needs valgrind; of the interop what has to happen at once; of librtmp's face what runs the programs or the library of
# this machine's own processor.
run --lib -- --skip fuzzing:: --skip mutated_headers_are_taken_or_refused_within_bounds \
    --skip a_tcp_connection_has_a_round_trip_and_a_unix_socket_has_none --skip reading_figures_makes_no_system_call
run --test exports --test threads --test streams --test playing --test sources
run --test interop -- play:: publish::what_ tls::
run --test targets -- --skip figures_of_a_target_grow_over_all_its_connections
run --test c_programs -- --skip the_c_programs_are_clean_under_valgrind
run --test librtmp -- surface:: hostile:: promises:: transports:: publish_file:: basic_server:: \
    a_publisher_that_is_not_let_in_says_why_and_ends a_server_that_never_has_enough_of_a_login_is_left
exit $failed
