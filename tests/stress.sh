#!/usr/bin/env bash
# The suite again and again on a busy machine: stress.sh [cargo's words for what to test, "--test sources" for one program].
# Two busy loops run beside it. RR_STRESS_RUNS is how often (10). What failed is listed at the end with how often it did,
# and the words of each run stay in the folder that is named there; the exit code is 0 where nothing failed.
set -u
cd "$(dirname "$0")/.."
runs=${RR_STRESS_RUNS:-10}
case $runs in '' | *[!0-9]* | 0) echo "RR_STRESS_RUNS=$runs is no number of runs" >&2 && exit 2 ;; esac
words=${CARGO_TARGET_DIR:-target}/stress
mkdir -p "$words"
rm -f "$words"/run-*.log
cargo test --no-run "$@" || exit 1

loops=()
end() { [ ${#loops[@]} -eq 0 ] || kill "${loops[@]}" 2>/dev/null; }
trap end EXIT
trap 'exit 130' INT TERM
for _ in 1 2; do
    (while :; do :; done) &
    loops+=($!)
done

bad=0
for ((run = 1; run <= runs; run++)); do
    begun=$SECONDS log=$words/run-$run.log
    # A run that hangs is one that failed.
    if timeout --kill-after=10 "${RR_STRESS_SECONDS:-5400}" cargo test --no-fail-fast "$@" >"$log" 2>&1; then
        how="nothing failed"
    else
        how="FAILED, exit code $?" bad=$((bad + 1))
    fi
    echo "run $run of $runs: $how, $((SECONDS - begun)) s"
done

# A test by its name with its program, and a program that ended otherwise than by a failed test (a signal, a hang).
failed=$(awk '
    /^ *Running / { program = $2 == "unittests" ? "--lib" : $2 }
    /^test .* \.\.\. FAILED$/ { print program ": " $2 }
    /process didn.t exit successfully/ && /signal/ { sub(/.*\(signal/, "ended by (signal"); print program ": " $0 }
' "$words"/run-*.log | sort | uniq -c | sort -rn)
echo
if [ $bad -eq 0 ]; then
    echo "Nothing failed in $runs run(s)."
    exit 0
fi
echo "$bad of $runs run(s) failed. How often each of these did:"
echo "${failed:-  (no test by name: see the words)}"
echo "The words of each run: $words"
exit 1
