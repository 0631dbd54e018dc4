#!/bin/sh
# dino.h compiles alone, without a warning, as strict C11 and as C++17, twice over.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#include "dino.h"\n#include "dino.h"\nint main(void) { return dino_dtype_size(DINO_F32) == 4 ? 0 : 1; }\n' \
    >"$work/alone.c"
cp "$work/alone.c" "$work/alone.cc"

$CC -std=c11 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -I "$SOURCE_DIR/include" \
    -fsyntax-only "$work/alone.c"
echo "C11: clean"
for cxx in c++ g++ clang++; do
    if command -v $cxx >/dev/null; then
        $cxx -std=c++17 -pedantic -Wall -Wextra -Werror -I "$SOURCE_DIR/include" -fsyntax-only \
            "$work/alone.cc"
        echo "C++17 ($cxx): clean"
        exit 0
    fi
done
echo "SKIPPED: no C++ compiler is here"
