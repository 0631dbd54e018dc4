#!/bin/sh
# Runs every libFuzzer program of a build folder for SECONDS over a copy of its corpus.
# usage: tools/fuzz.sh BUILD SECONDS. What breaks one is kept in BUILD/crashes/.
set -eu
cd "$(dirname "$0")/.."
build=$1
seconds=$2
mkdir -p "$build/crashes" "$build/seeds"

export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
export build seconds
one='
    name=$1
    seeds=fuzz/corpus/${name#fuzz_}
    work=$build/seeds/$name
    mkdir -p "$work"
    if OMP_NUM_THREADS=1 "$build/$name" -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="$build/crashes/$name-" \
        "$work" $([ -d "$seeds" ] && echo "$seeds") >"$build/$name.log" 2>&1; then
        echo "$name: $(sed -n "s/^stat::number_of_executed_units: *//p" "$build/$name.log") inputs, clean"
    else
        echo "$name: FAILED"
        tail -n 40 "$build/$name.log"
        exit 1
    fi'

names=$(ls fuzz/fuzz_*.c 2>/dev/null | sed 's|.*/||; s|\.c$||')
if [ -z "$names" ]; then
    echo "fuzz: no targets" >&2
    exit 1
fi
echo "$names" | xargs -P 2 -n 1 sh -c "$one" fuzz
