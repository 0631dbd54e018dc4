#!/bin/sh
# Training by many processes with a GPU each - emulated ones, whose memory the host cannot touch,
# with an emulated NCCL between them: steps against those of one process, which test_comm does in
# each of them; then whole runs, over NCCL and through the host, killed and gone on; and what is
# refused.
set -eu
steps=12
. "$SOURCE_DIR/tests/train/processes.sh"
[ -e "$BUILD_DIR/emulated/libnccl_emulated.so" ] || { echo "SKIPPED: no emulated GPU"; exit 77; }
export DINO_PLUGINS="$BUILD_DIR/emulated" DINO_NCCL="$BUILD_DIR/emulated/libnccl_emulated.so"

cat >on_own_gpu <<'END'
DINO_TEST_DEVICE=cuda:$OMPI_COMM_WORLD_LOCAL_RANK exec "$@"
END
on_gpus() # COUNT PROGRAM TEST
{
    DINO_EMULATE_GPUS=$1 together $1 sh on_own_gpu timeout 500 "$BUILD_DIR/$2" "$3" \
        >said 2>&1 || fail "$3 on $1 GPUs"
    passed=$(grep -c '\[  PASSED  \] [1-9]' said)
    [ "$passed" = $1 ] || fail "$passed of $1 processes passed $3"
}
on_gpus 3 test_transfers numbers_in_device_memory_travel_as_those_of_the_host
on_gpus 2 test_comm many_processes_are_one_with_the_whole_batch_in_f32
on_gpus 3 test_comm steps_of_many_processes_have_the_same_bits_every_time
echo "processes with a GPU each have the gradients, parameters and losses of one"

export DINO_EMULATE=guarded
gpu="--device cuda --dtype f32"
(train 2 4 whole $gpu) >said 2>&1 || fail "a run on two GPUs"
grep -q '2 processes, each with' said || fail "the plan does not name the processes"
grep -q 'gradients travel over NCCL' said || fail "it does not train over NCCL"
(train 1 4 alone $gpu) >said 2>&1 || fail "a run on one GPU"
losses whole >a
losses alone >b
[ "$(wc -l <a)" = 3 ] && cmp a b || { paste a b; fail "two GPUs are not one with twice the batch"; }
echo "a run on two GPUs begins as one with twice the batch"

# Through the host sums are added in the same order.
(DINO_NCCL=missing.so; train 2 4 staged $gpu) >said 2>&1 || fail "a run without NCCL"
[ "$(grep -c 'gradients travel over MPI, through the host (no NCCL: missing.so' said)" = 1 ] ||
    fail "it does not say that there is no NCCL"
same_run whole staged
echo "a run without NCCL ends with the same bytes"

killed_and_gone_on 6 $gpu

# A GPU that is lost in the middle ends all, and its process says so.
cat >second_is_lost <<'END'
[ "$OMPI_COMM_WORLD_RANK" = 0 ] || export DINO_EMULATE=fading
exec "$@"
END
status=0
timeout 100 mpirun --bind-to none -np 2 sh second_is_lost "$DINO" train pictures -o lost \
    --config tiny.yaml --readers 1 train.batch_size_per_gpu=2 $gpu </dev/null >said 2>&1 || status=$?
[ $status != 0 ] && [ $status != 124 ] || fail "a lost GPU is no failure, or is waited for"
grep -q '^dino train: process 1: cuda:1 failed at' said || fail "nobody says which GPU was lost"
[ -s lost/training_metrics.json ] || fail "it was lost before the first step"
echo "a lost GPU ends all"

refused() # TEXT COUNT [words]
{
    text=$1 count=$2
    shift 2
    status=0
    (train $count $count nowhere "$@") >said 2>&1 || status=$?
    [ $status != 0 ] && [ "$(grep -c "^dino train: $text" said)" = 1 ] || fail "not refused: $text"
    [ ! -e nowhere ] || fail "a refused run left a folder"
}
refused 'processes 0 and 2 would share a GPU: each needs its own' 3 --device cuda
refused 'processes 0 and 1 would share a GPU: each needs its own' 2 --device cuda:1
DINO_EMULATE=no-gpu refused 'device cuda:0: this machine has no\|device cuda: this machine has no' 2 --device cuda
echo "more processes than GPUs are refused"
