#!/bin/sh
# The device "cuda" on a machine with an NVIDIA GPU, in steps of a few minutes each:
#
#     tools/gpu.sh pack [FILE]      here: program, plug-in, tests, their libraries and golden files
#                                   into one archive (build/gpu.tar.xz) for a machine that has
#                                   nothing but a driver, cuBLASLt and the tools
#     gpu/gpu.sh test|sanitize|bench [LOGS]    there, beside what was unpacked
#
# Or all of it where the tree was built: tools/gpu.sh test [LOGS]. LOGS (.) gets the full output,
# standard output a line a step and a table last. 0 if every step passed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tests="test_op_points test_op_rows test_op_linear test_op_attend test_op_device test_tiny_models
    test_full_models test_full_precisions"

pack()
{
    cd "$here/.." || exit 1
    archive=$(realpath "${1:-build/gpu.tar.xz}")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/gpu/lib" "$work/gpu/build" "$work/shared/golden"
    cp build/dino build/libdino_cuda.so "$work/gpu/build/"
    for test in $tests; do cp "build/$test" "$work/gpu/build/"; done
    strip "$work"/gpu/build/*
    # everything they load but the C library and CUDA's own
    ldd "$work"/gpu/build/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv|libcublas[^/]*|libcuda[^/]*)\.so' |
        while read -r library; do cp -L "$library" "$work/gpu/lib/"; done
    cp -r tests "$work/gpu/tests"
    cp tools/gpu.sh bench/gpu_compare.py "$work/gpu/"
    cp -r ../shared/golden/tiny_* ../shared/golden/full_* "$work/shared/golden/" 2>/dev/null
    pwd >"$work/gpu/source_dir"
    tar -C "$work" -cJf "$archive" gpu shared
    echo "$(du -m "$archive" | cut -f 1) MiB: $archive"
}

# Where the programs are, and where the tests look for their data.
settle()
{
    if [ -f "$here/source_dir" ]; then
        root=$here
        export LD_LIBRARY_PATH="$here/lib:${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64"
        built=$(cat "$here/source_dir")
        if [ ! -e "$built" ]; then
            mkdir -p "$(dirname "$built")"
            ln -s "$here" "$built"
            ln -sfn "$here/../shared" "$(dirname "$built")/shared"
        fi
    else
        root=$here/..
    fi
    export DINO_TEST_DEVICE=cuda DINO_TEST_MIRROR=1 DINO_TEST_MEASURE=1
}

step() # NAME LIMIT COMMAND...: a line, the output to LOGS/NAME
{
    name=$1 limit=$2
    shift 2
    begun=$(date +%s)
    timeout "$limit" "$@" >"$logs/$name" 2>&1
    status=$?
    verdict=passed
    [ $status = 0 ] || verdict="FAILED ($status)" failed=$((failed + 1))
    echo "$name: $verdict after $(($(date +%s) - begun)) s" | tee -a "$logs/summary"
    [ $status = 0 ] || grep -E 'ERROR|FAILED|dino:|error' "$logs/$name" | head -n 8
}

run_tests()
{
    step doctor 60 "$root/build/dino" doctor
    grep -i cuda "$logs/doctor"
    for test in $tests; do step "$test" 180 "$root/build/$test"; done
    DINO_TEST_GIANT=1 step giant 240 "$root/build/test_full_models" vitg14_is_as_exact_as_pytorch
    step same_bits 60 same_bits
    cat "$logs"/test_full_* "$logs/giant" 2>/dev/null | grep -E 'allowed|cosine'
    # the worst of each operation, for tests/ops/tolerances.h
    cat "$logs"/test_op_* | awk '/^MEASURE/ { for (i = 2; $i != "l2"; i++); key = ""
        for (j = 2; j < i; j++) key = key " " $j
        if ($(i + 1) > l2[key]) l2[key] = $(i + 1); if ($(i + 3) > most[key]) most[key] = $(i + 3) }
        END { for (key in l2) print "worst" key, "l2", l2[key], "max", most[key] }' | sort
}

# Two runs of a model give the same bytes.
same_bits()
{
    for i in 1 2; do
        DINO_TEST_MIRROR= "$root/build/dino" embed "$root/tests/data/pictures" --arch vits14 --device cuda \
            --compute bf16 -o "$logs/bits$i.npy" --quiet || return 1
    done
    cmp "$logs/bits1.npy" "$logs/bits2.npy"
}

sanitized()
{
    for tool in memcheck racecheck initcheck synccheck; do
        for test in test_op_rows:put_rows* test_op_rows:mean_rows* test_op_points:swiglu* \
            test_op_attend:packed* test_op_attend:strides* test_op_linear:inputs* \
            test_tiny_models:a_register*; do
            step "$tool.$(echo "$test" | tr ':*' '._')" 120 \
                compute-sanitizer --tool $tool --error-exitcode 9 \
                "$root/build/${test%%:*}" "${test#*:}"
        done
    done
}

benched()
{
    unset DINO_TEST_MIRROR
    step speed 500 python3 "$here/gpu_compare.py" --dino "$root/build/dino"
    cat "$logs/speed"
}

verb=${1:-}
logs=${2:-.}
failed=0
case $verb in
pack) pack "${2:-}"; exit ;;
test | sanitize | bench)
    settle
    mkdir -p "$logs"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    ;;
esac
case $verb in
test) run_tests ;;
sanitize) sanitized ;;
bench) benched ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
echo "$failed failed"
[ $failed = 0 ]
