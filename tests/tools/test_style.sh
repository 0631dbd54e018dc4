#!/bin/sh
# tools/check_style.sh finds what it is there to find: a clean tree passes, and each offence,
# alone in a small repository, fails with its file and rule.
set -eu
clang-format-14 --version >/dev/null 2>&1 || { echo "SKIPPED: clang-format-14 is not here"; exit 77; }
command -v git >/dev/null || { echo "SKIPPED: git is not here"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tools" "$work/src/base" "$work/src/format" "$work/tests/data" "$work/tests/unit"
cp "$SOURCE_DIR"/tools/check_style.sh "$SOURCE_DIR"/tools/check_rooms.awk "$SOURCE_DIR"/tools/rooms.txt "$work/tools"
cp "$SOURCE_DIR"/.clang-format "$work"
cd "$work"
git init -q .
failures=$work/failures

check() # SENTENCE FILE RULE, the file's text on standard input
{
    mkdir -p "$(dirname "$2")"
    cat >"$2"
    if sh tools/check_style.sh >out 2>&1; then
        echo "FAILED: $1: it passed" >>"$failures"
    elif ! grep -qF "$3" out || ! grep -qF "${2##*/}" out; then
        { echo "FAILED: $1: wanted \"$3\" and $2 in:"; cat out; } >>"$failures"
    fi
    rm -f "$2" out
}

printf '/* Clean. */\n#include "base/error.h"\n\nint one;\n' >src/base/clean.c
sh tools/check_style.sh >out || { echo "FAILED: a clean tree passes"; cat out; } >>"$failures"
rm -f out

printf 'int  two;\n' | check "a badly laid out line" src/base/a.c clang-format
printf 'int two; \n' | check "a trailing blank" src/base/a.c "blank at the end"
printf '# a\n\tb\n' | check "a tab" tools/a.sh tab
printf '# a\r\n' | check "a carriage return" tools/a.sh "carriage return"
printf '# a\342\200\213b\n' | check "a zero-width space" tools/a.sh "invisible"
printf '# a\342\200\256b\n' | check "a bidi override" tools/a.sh "invisible"
printf '/* TO''DO: later */\n' | check "unfinished work" src/base/a.c "unfinished"
printf 'int f = strcpy(0, 0);\n' | check "a banned function" src/base/a.c "banned"
printf 'int f = printf("");\n' | check "a library that prints" src/base/a.c "never prints"
printf 'int f = abort();\n' | check "a library that exits" src/base/a.c "never prints"
printf 'int f = fputs("", stderr);\n' | check "a library that writes to stderr" src/base/a.c "never prints"
printf '#include "format/tensors.h"\n' | check "a room that looks up" src/base/a.c "must not include"
printf '#include "train/loader.h"\n' | check "a room that does not exist yet" src/format/a.c "must not include"
printf '#include "error.h"\n' | check "an include without its room" src/base/a.c "with its room"
printf '#ifdef FAST\nint two;\n#endif\n' | check "a conditional" src/base/a.c "#if where"
printf 'int two;\n' | check "a name used twice" src/format/clean.c "one name, one file"
seq 601 | sed 's/.*/int v&;/' | check "a file too long" src/base/a.c "600 lines"
{ echo 'void f(int *x)'; echo '{'; seq 60 | sed 's/.*/    *x += &;/'; echo '}'; } |
    check "a function too long" src/base/a.c "60 lines"
printf 'x' | check "a photograph" docs/cat.jpg photographs

if [ -s "$failures" ]; then
    cat "$failures"
    exit 1
fi
