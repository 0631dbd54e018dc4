#!/bin/sh
# Each public header compiles alone, without a warning, as strict C11 and as C++17, twice over.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for header in dino dino_train; do
    printf '#include "%s.h"\n#include "%s.h"\nint main(void) { return dino_dtype_size(DINO_F32) == 4 ? 0 : 1; }\n' \
        $header $header >"$work/$header.c"
    cp "$work/$header.c" "$work/$header.cc"
    $CC -std=c11 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -I "$SOURCE_DIR/include" \
        -fsyntax-only "$work/$header.c"
done
echo "C11: clean"
for cxx in c++ g++ clang++; do
    if command -v $cxx >/dev/null; then
        for header in dino dino_train; do
            $cxx -std=c++17 -pedantic -Wall -Wextra -Werror -I "$SOURCE_DIR/include" \
                -fsyntax-only "$work/$header.cc"
        done
        echo "C++17 ($cxx): clean"
        exit 0
    fi
done
echo "SKIPPED: no C++ compiler is here"
