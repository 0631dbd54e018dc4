#!/bin/sh
# Training by many processes, on this machine: the steps of two and of three processes against
# those of one, which test_comm does in each of them; then whole runs, killed and resumed, with
# the same number of processes and with another.
set -eu
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

for count in 2 3; do
    together $count timeout 300 "$BUILD_DIR/test_comm" >said 2>&1 || fail "$count processes"
    passed=$(grep -c '\[  PASSED  \] [1-9]' said)
    [ "$passed" = $count ] || fail "$passed of $count processes passed"
    echo "$count processes have the gradients, parameters and losses of one"
done

"$BUILD_DIR/draw" pictures >/dev/null
cat >tiny.yaml <<'END'
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
  epochs: 60
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

last=checkpoints/step-00000060.safetensors
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

(train 2 4 whole) >said 2>&1 || fail "a run of two"
[ "$(grep -c 'dino train: 6 pictures' said)" = 1 ] || fail "more than one process speaks"
grep -q '2 processes, each with 1 thread,' said || fail "the plan does not name the processes"
(train 1 4 alone) >said 2>&1 || fail "a run of one"
losses whole >a
losses alone >b
cmp a b || { paste a b; fail "two processes are not one with twice the batch"; }
echo "a run of two processes begins as one process with twice the batch"

wait_for_steps() # RUN COUNT
{
    for i in $(seq 2000); do
        [ -s "$1/training_metrics.json" ] && [ "$(wc -l <"$1/training_metrics.json")" -ge "$2" ] && return
        sleep 0.02
    done
    fail "$1 does not get to step $2"
}

# One process dies: all end, soon, and the run goes on from its last checkpoint.
(train 2 4 killed --save-every 5) >said 2>&1 &
mpirun=$!
wait_for_steps killed 12
children=$(cat /proc/$mpirun/task/$mpirun/children)
kill -KILL "$(echo "$children" | awk "{ print \$NF }")"
status=0
wait $mpirun || status=$?
[ $status != 0 ] || fail "a dead process is no failure"
grep -q 'Killed' said || fail "nobody says who died"
[ ! -e "killed/$last" ] || fail "it was killed too late"
(train 2 4 killed --save-every 5) >said 2>&1 || fail "the killed run does not go on"
grep -q 'goes on from killed/checkpoints' said || fail "it did not go on from a checkpoint"
same_run whole killed
echo "a run of which one process was killed ends with the same bytes"

# Asked to stop, all save and end together.
(train 2 4 stopped) >said 2>&1 &
mpirun=$!
wait_for_steps stopped 10
kill -USR1 $mpirun
wait $mpirun && fail "stopped, yet no failure"
grep -q 'stopped: saved at step [0-9]* of 60; the same command goes on' said || fail "stopped and not saved"

# Another number of processes goes on where these were, if the batch stays.
cp -r stopped fewer
cp -r stopped more
(train 2 4 stopped) >said 2>&1 || fail "the stopped run does not go on"
same_run whole stopped
(train 1 4 fewer) >said 2>&1 || fail "one process does not go on where two were"
(train 4 4 more) >said 2>&1 || fail "four processes do not go on where two were"
for run in fewer more; do
    [ "$(wc -l <$run/training_metrics.json)" = 60 ] && [ -e $run/$last ] || fail "$run is not whole"
done
status=0
(train 2 8 stopped) >said 2>&1 || status=$?
[ $status != 0 ] && [ "$(grep -c 'its steps take 4 pictures, now they would take 8' said)" = 1 ] ||
    fail "another batch is not refused by one line"
echo "a stopped run goes on with two, one and four processes"

# An error is told once, and nobody waits for the others.
status=0
(train 2 4 nowhere --knn-train missing --knn-val missing --knn-every 1) >said 2>&1 || status=$?
[ $status != 0 ] && [ "$(grep -c '^dino train: missing' said)" = 1 ] || fail "the error of one"
echo "an error of one process ends all, and is told once"
