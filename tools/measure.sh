#!/bin/sh
# Sizes of files and functions, as CONTRIBUTING.md counts them.
set -eu
cd "$(dirname "$0")/.."

for folder in include src cli tests fuzz examples; do
    files=$(git ls-files "$folder/*.c" "$folder/*.h" "$folder/*.cu" | grep -v replay.c || true)
    [ -n "$files" ] || continue
    wc -l $files | awk '$2 != "total" { print $1 }' | sort -n | awk -v folder="$folder" '
        { lines[NR] = $1; sum += $1 }
        END { printf "%-9s %3d files  %6d lines  median %3d  largest %3d\n", folder, NR, sum,
                     lines[int((NR + 1) / 2)], lines[NR] }'
done

if ! ctags --version 2>/dev/null | grep -q Universal; then
    echo "functions: universal-ctags is not here"
    exit 0
fi
ctags -x --_xformat='%n %{end}' --kinds-C=f $(git ls-files 'src/*.c' 'cli/*.c') |
    awk '{ print $2 - $1 + 1 }' | sort -n | awk '
        { lines[NR] = $1 }
        END { printf "functions %3d in src and cli  median %d  95 of 100 within %d  longest %d\n",
                     NR, lines[int((NR + 1) / 2)], lines[int(NR * 0.95 + 0.999)], lines[NR] }'
