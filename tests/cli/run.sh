# Run one case of the program's tests: sh run.sh [--update] cases/NAME.sh
#
# The case runs in an empty folder with `dino` in its PATH and helpers.sh read. What it prints
# must be NAME.stdout, or nothing where that file is missing; its exit status is NAME.exit, or
# 0. It may leave no temporary files. --update writes what it prints into NAME.stdout.
set -u
update=
[ "$1" = --update ] && { update=yes; shift; }
case_file=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")" && pwd)
stem=${case_file%.sh}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/work" "$scratch/home"

export PATH="$(dirname "$DINO"):$PATH" HOME="$scratch/home" LC_ALL=C
export TOOLS="${TOOLS:-$BUILD_DIR}" DATA="$SOURCE_DIR/tests/data" GOLDEN="$SOURCE_DIR/../shared/golden"
export SCRATCH="$scratch" OMP_WAIT_POLICY=passive
unset DINO_MODEL DINO_CACHE XDG_CACHE_HOME DINO_ISA http_proxy https_proxy all_proxy

(cd "$scratch/work" && sh -u -c '. "$0"; . "$1"' "$here/helpers.sh" "$case_file") \
    >"$scratch/stdout" 2>"$scratch/stderr" </dev/null
status=$?
[ $status -eq 77 ] && { cat "$scratch/stdout"; exit 77; }

failed=0
left=$(find "$scratch/work" "$scratch/home" -name '*.tmp-*')
if [ -n "$left" ]; then
    echo "temporary files are left: $left"
    failed=1
fi
wanted=0
[ -e "$stem.exit" ] && wanted=$(cat "$stem.exit")
if [ "$status" != "$wanted" ]; then
    echo "exit status $status, wanted $wanted"
    failed=1
fi
if [ -s "$scratch/stderr" ]; then
    echo "standard error:"
    cat "$scratch/stderr"
    failed=1
fi
if [ -n "$update" ]; then
    cp "$scratch/stdout" "$stem.stdout"
    [ -s "$stem.stdout" ] || rm "$stem.stdout"
    exit $failed
fi
[ -e "$stem.stdout" ] && wanted=$stem.stdout || wanted=/dev/null
diff -u "$wanted" "$scratch/stdout" || failed=1
exit $failed
