#!/bin/sh
# The device "cuda" on a machine with an NVIDIA GPU, in verbs of at most ten minutes each:
#
#     tools/gpu.sh pack|pack-train [FILE]    here: program, plug-in, tests, their libraries and golden
#                                   files into an archive (build/gpu.tar.xz) of less than 64 MiB, for
#                                   a machine that has nothing but a driver, cuBLASLt and the tools
#     gpu/gpu.sh test|sanitize|bench [LOGS]    there, beside what was unpacked
#     gpu/gpu.sh train|bench-train [LOGS]      the same of training, from pack-train
#
# Or all of it where the tree was built: tools/gpu.sh test [LOGS]. LOGS (.) gets the full output,
# standard output a line a step and a table last. 0 if every step passed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tests="test_op_points test_op_rows test_op_linear test_op_attend test_op_device test_tiny_models
    test_full_models test_full_precisions"
train_tests="test_train_ops test_train_loss test_train_net test_op_train test_train_step
    test_train_together"

pack() # FILE PROGRAMS GOLDEN
{
    cd "$here/.." || exit 1
    archive=$(realpath "${1:-build/gpu.tar.xz}")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/gpu/lib" "$work/gpu/build" "$work/shared/golden"
    cmake --build build --target dino dino_cuda $2 >&2 || exit 1
    for file in dino libdino_cuda.so $2; do
        cp "build/$file" "$work/gpu/build/" || exit 1
    done
    strip "$work"/gpu/build/*
    # everything they load but the C library and CUDA's own
    ldd "$work"/gpu/build/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv|libcublas[^/]*|libcuda[^/]*)\.so' |
        while read -r library; do cp -L "$library" "$work/gpu/lib/"; done
    cp -r tests "$work/gpu/tests"
    cp tools/gpu.sh bench/gpu_compare.py bench/gpu_train_compare.py "$work/gpu/"
    for part in $3; do cp -r ../shared/golden/$part "$work/shared/golden/" || exit 1; done
    pwd >"$work/gpu/source_dir"
    tar -C "$work" -cJf "$archive" gpu shared
    echo "$(du -m "$archive" | cut -f 1) MiB: $archive"
}

# Where the programs are, and where the tests look for their data, of which some must be there.
settle() # GOLDEN...
{
    golden=$here/../../shared/golden
    if [ -f "$here/source_dir" ]; then
        root=$here
        bench=$here
        export LD_LIBRARY_PATH="$here/lib:${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64"
        built=$(cat "$here/source_dir")
        shared=$(dirname "$built")/shared
        golden=$shared/golden
        mkdir -p "$(dirname "$built")"
        [ -e "$built/tests" ] || ln -sfn "$here" "$built"
        [ -e "$golden" ] || ln -sfn "$here/../shared" "$shared"
    else
        root=$here/..
        bench=$here/../bench
    fi
    for part in "$@"; do
        [ -e "$golden/$part" ] && continue
        echo "$golden/$part is missing: the tests would skip what they are for"
        exit 1
    done
    export DINO_TEST_DEVICE=cuda DINO_TEST_MIRROR=1 DINO_TEST_MEASURE=1
    deadline=$(($(date +%s) + 570))
}

# A line, the output to LOGS/NAME; no step goes beyond the verb's ten minutes.
step() # NAME LIMIT COMMAND...
{
    name=$1 limit=$2
    shift 2
    begun=$(date +%s)
    if [ "$limit" -gt $((deadline - begun)) ]; then
        limit=$((deadline - begun))
    fi
    if [ "$limit" -lt 1 ]; then
        failed=$((failed + 1))
        echo "$name: FAILED, no time was left" | tee -a "$logs/summary"
        return
    fi
    timeout "$limit" "$@" >"$logs/$name" 2>&1
    status=$?
    verdict=passed
    [ $status = 0 ] || verdict="FAILED ($status)" failed=$((failed + 1))
    echo "$name: $verdict after $(($(date +%s) - begun)) s" | tee -a "$logs/summary"
    [ $status = 0 ] || grep -E 'ERROR|FAILED|dino:|error' "$logs/$name" | head -n 8
    grep '^SKIPPED' "$logs/$name" | head -n 8
}

run_tests()
{
    step doctor 60 "$root/build/dino" doctor
    grep -i cuda "$logs/doctor"
    for test in $tests; do step "$test" 180 "$root/build/$test"; done
    DINO_TEST_GIANT=1 step giant 240 "$root/build/test_full_models" vitg14_is_as_exact_as_pytorch
    step same_bits 60 sh "$here/gpu.sh" same_bits "$logs"
    cat "$logs"/test_full_* "$logs/giant" 2>/dev/null | grep -E 'allowed|cosine'
    worst_of_operations
}

run_train_tests()
{
    step resumed 120 sh "$here/gpu.sh" resumed "$logs"
    for test in $train_tests; do step "$test" 180 "$root/build/$test"; done
    worst_of_operations
}

# Of each, for tests/ops/tolerances.h.
worst_of_operations()
{
    cat "$logs"/test_op_* | awk '/^MEASURE/ { for (i = 2; $i != "l2" && i < NF; i++); key = ""
        for (j = 2; j < i; j++) key = key " " $j
        if ($(i + 1) > l2[key]) l2[key] = $(i + 1); if ($(i + 3) > most[key]) most[key] = $(i + 3) }
        END { for (key in l2) print "worst" key, "l2", l2[key], "max", most[key] }' | sort
}

# Two runs of a model give the same bytes.
same_bits()
{
    for i in 1 2; do
        "$root/build/dino" embed "$root/tests/data/pictures" --arch vits14 --device cuda \
            --compute bf16 -o "$logs/bits$i.npy" --quiet || return 1
    done
    cmp "$logs/bits1.npy" "$logs/bits2.npy"
}

# Training that is killed and goes on ends with the bytes of training that was not.
resumed()
{
    rm -rf "$logs/whole" "$logs/killed"
    (train whole) || return 1
    train killed &
    pid=$!
    until [ -e "$logs/killed/checkpoints/step-00000003.safetensors" ]; do
        kill -0 $pid || return 1
        sleep 0.01
    done
    kill -9 $pid
    wait $pid
    last=$(printf 'checkpoints/step-%08d.safetensors' "$steps")
    [ ! -e "$logs/killed/$last" ] || { echo "ERROR: it was done before it was killed"; return 1; }
    (train killed) && cmp "$logs/whole/$last" "$logs/killed/$last"
}

# In a subshell, which becomes it, so that a signal reaches it.
train() # FOLDER
{
    exec "$root/build/dino" train "$root/tests/data/pictures" -o "$logs/$1" -q --device cuda \
        --save-every 1 --keep 1000 student.embed_dim=128 student.depth=2 \
        student.num_heads=2 student.drop_path_rate=0.2 dino.head_n_prototypes=512 \
        dino.head_bottleneck_dim=64 dino.head_hidden_dim=128 train.batch_size_per_gpu=4 \
        train.OFFICIAL_EPOCH_LENGTH=$((steps / 2)) optim.epochs=2 optim.warmup_epochs=1 \
        crops.global_crops_size=112 crops.local_crops_size=56 crops.local_crops_number=4
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
    step speed 500 python3 "$bench/gpu_compare.py" --dino "$root/build/dino"
    cat "$logs/speed"
}

# A size a step: what one size takes too long is not lost for the others.
train_benched()
{
    unset DINO_TEST_MIRROR
    for work in S:64 B:64 L:32 g:16; do
        step "train_speed.${work%:*}" 180 python3 "$bench/gpu_train_compare.py" \
            --bench "$root/build/bench_train" --work $work
        cat "$logs/train_speed.${work%:*}"
    done
}

verb=${1:-}
logs=${2:-.}
steps=${STEPS:-60} # of a run that is killed
failed=0
case $verb in
pack) pack "${2:-}" "$tests" "tiny_* full_*"; exit ;;
pack-train) pack "${2:-}" "bench_train $train_tests" train; exit ;;
test | sanitize | bench) settle tiny_t1.pth full_weights.json ;;
train | bench-train) settle train/c1/init.safetensors ;;
same_bits | resumed) # steps of their own, so that timeout can end them
    settle
    unset DINO_TEST_MIRROR
    $verb
    exit
    ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
mkdir -p "$logs"
command -v nvidia-smi >/dev/null &&
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
case $verb in
test) run_tests ;;
train) run_train_tests ;;
sanitize) sanitized ;;
bench) benched ;;
bench-train) train_benched ;;
esac
echo "$failed failed"
[ $failed = 0 ]
