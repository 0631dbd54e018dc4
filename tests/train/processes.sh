# What the tests of training by many processes share, read by them: a folder with pictures and a
# tiny network, and runs in it of $steps steps.
command -v mpirun >/dev/null || { echo "SKIPPED: mpirun is not here"; exit 77; }
[ -e "$BUILD_DIR/libdino_mpi.so" ] || { echo "SKIPPED: this build has no MPI"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Containers run as root and with few cores; MPI never frees all that it takes.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

together() # COUNT COMMAND...
{
    count=$1
    shift
    mpirun --bind-to none -np "$count" "$@" </dev/null
}

fail()
{
    echo "FAILED: $*"
    cat said
    exit 1
}

"$BUILD_DIR/draw" pictures >/dev/null
cat >tiny.yaml <<END
student:
  embed_dim: 64
  depth: 2
  num_heads: 1
  patch_size: 14
  num_register_tokens: 1
  interpolate_antialias: true
  interpolate_offset: 0.0
  layerscale: 0.1
dino:
  head_n_prototypes: 32
  head_bottleneck_dim: 16
  head_hidden_dim: 32
train:
  OFFICIAL_EPOCH_LENGTH: 0
  centering: sinkhorn_knopp
crops:
  global_crops_size: 56
  local_crops_size: 28
  local_crops_number: 2
optim:
  epochs: $steps
  warmup_epochs: 1
  base_lr: 0.001
END

train() # COUNT BATCH RUN [words]: BATCH pictures a step, of all processes together
{
    count=$1 batch=$2 run=$3
    shift 3
    set -- "$DINO" train pictures -o "$run" --config tiny.yaml --readers 1 --threads 1 \
        train.batch_size_per_gpu=$((batch / count)) "$@"
    if [ "$count" = 1 ]; then
        exec "$@" </dev/null
    fi
    exec mpirun --bind-to none -np "$count" "$@" </dev/null
}

last=checkpoints/step-$(printf %08d $steps).safetensors
same_run() # RUN RUN: the same bytes, and the same lines but for what took how long
{
    cmp "$1/$last" "$2/$last" && cmp "$1/teacher.pth" "$2/teacher.pth" || fail "$1 is not $2"
    for run in "$1" "$2"; do
        sed 's/"[a-z]*_time": [0-9.]*, //g' "$run/training_metrics.json" >"$run.lines"
    done
    cmp "$1.lines" "$2.lines" || fail "$1 has other lines than $2"
}

# The first steps' losses, to five digits: what f32 leaves of them where sums round otherwise.
losses()
{
    head -3 "$1/training_metrics.json" | grep -o '"total_loss": [0-9.]*' | cut -c1-21
}

wait_for_steps() # RUN COUNT
{
    for i in $(seq 2000); do
        [ -s "$1/training_metrics.json" ] && [ "$(wc -l <"$1/training_metrics.json")" -ge "$2" ] && return
        sleep 0.02
    done
    fail "$1 does not get to step $2"
}

# One process dies: all end, soon, and the run goes on from its last checkpoint to the bytes of
# the whole one.
killed_and_gone_on() # STEPS [words]: after so many steps
{
    after=$1
    shift
    (train 2 4 killed --save-every 5 "$@") >said 2>&1 &
    mpirun=$!
    wait_for_steps killed "$after"
    children=$(cat /proc/$mpirun/task/$mpirun/children)
    kill -KILL "$(echo "$children" | awk "{ print \$NF }")"
    status=0
    wait $mpirun || status=$?
    [ $status != 0 ] || fail "a dead process is no failure"
    grep -q 'Killed' said || fail "nobody says who died"
    [ ! -e "killed/$last" ] || fail "it was killed too late"
    (train 2 4 killed --save-every 5 "$@") >said 2>&1 || fail "the killed run does not go on"
    grep -q 'goes on from killed/checkpoints' said || fail "it did not go on from a checkpoint"
    same_run whole killed
    echo "a run of which one process was killed ends with the same bytes"
}
