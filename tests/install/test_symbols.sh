#!/bin/sh
# What the libraries show and hide: libdino.so offers the functions of dino.h and dino_train.h,
# each with its version, and nothing else; the objects hold no mutable globals.
set -eu
for tool in nm objdump; do
    command -v $tool >/dev/null || { echo "SKIPPED: $tool is not here"; exit 77; }
done
: "$SOURCE_DIR" "$BUILD_DIR" # a pipeline would not stop at a missing one
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n '/DINO_API/,/;/p' "$SOURCE_DIR/include/dino.h" "$SOURCE_DIR/include/dino_train.h" | tr '\n' ' ' | tr ';' '\n' |
    sed -n 's/.*DINO_API.*[ *]\(dino_[a-z0-9_]*\)(.*/\1@@DINO_0/p' | sort >"$work/promised"
nm -D --defined-only "$BUILD_DIR/libdino.so" | awk '$2 != "A" { print $3 }' | sort >"$work/offered"
[ -s "$work/promised" ] || { echo "no function found in the headers"; exit 1; }
if ! diff "$work/promised" "$work/offered" >"$work/difference"; then
    echo "the headers (<) and libdino.so (>) differ:"
    cat "$work/difference"
    exit 1
fi
echo "$(wc -l <"$work/offered") functions, all of the headers"

# What the processor can do is found once a process and never changes: cpu_features may keep it.
# Sanitizers and coverage add counters of their own.
case $(nm "$BUILD_DIR/libdino.a" 2>/dev/null) in
*__asan_* | *__gcov_*) exit 0 ;;
esac
objdump -t "$BUILD_DIR/libdino.a" >"$work/symbols"
<"$work/symbols" awk '/file format/ { object = $1 } object !~ /^cpu_features/ { print object, $0 }' |
    grep -E '[[:space:]]O[[:space:]]+\.(data|bss|tdata|tbss)(\.[^r][^[:space:]]*)?[[:space:]]' >"$work/globals" || true
if [ -s "$work/globals" ]; then
    echo "mutable globals:"
    cat "$work/globals"
    exit 1
fi
echo "no mutable globals"
