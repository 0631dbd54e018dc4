#!/bin/sh
# Training by many processes, on this machine: the steps of two and of three processes against
# those of one, which test_comm does in each of them.
set -eu
command -v mpirun >/dev/null || { echo "SKIPPED: mpirun is not here"; exit 77; }
[ -e "$BUILD_DIR/libdino_mpi.so" ] || { echo "SKIPPED: this build has no MPI"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Containers run as root and with few cores; MPI never frees all that it takes.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
together() # COUNT COMMAND...
{
    count=$1
    shift
    mpirun --bind-to none -np "$count" "$@" </dev/null
}

for count in 2 3; do
    if ! together $count timeout 300 "$BUILD_DIR/test_comm" >"$work/said" 2>&1; then
        cat "$work/said"
        exit 1
    fi
    passed=$(grep -c '\[  PASSED  \] [1-9]' "$work/said")
    [ "$passed" = $count ] || { echo "$passed of $count processes passed"; exit 1; }
    echo "$count processes have the gradients, parameters and losses of one"
done
