#!/bin/sh
# Training by many processes, on this machine: the steps of two and of three processes against
# those of one, which test_transfers and test_comm
# do in each of them; then whole runs, killed and resumed, with
# the same number of processes and with another.
set -eu
steps=60
. "$SOURCE_DIR/tests/train/processes.sh"

for count in 2 3; do
    for program in test_transfers test_comm; do
        together $count timeout 300 "$BUILD_DIR/$program" >said 2>&1 || fail "$program, $count processes"
        passed=$(grep -c '\[  PASSED  \] [1-9]' said)
        [ "$passed" = $count ] || fail "$passed of $count processes passed $program"
    done
    echo "$count processes have the gradients, parameters and losses of one"
done

(train 2 4 whole) >said 2>&1 || fail "a run of two"
[ "$(grep -c 'dino train: 6 pictures' said)" = 1 ] || fail "more than one process speaks"
grep -q '2 processes, each with 1 thread,' said || fail "the plan does not name the processes"
(train 1 4 alone) >said 2>&1 || fail "a run of one"
losses whole >a
losses alone >b
cmp a b || { paste a b; fail "two processes are not one with twice the batch"; }
echo "a run of two processes begins as one process with twice the batch"

killed_and_gone_on 12

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
