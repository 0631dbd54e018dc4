#!/bin/sh
# The rules that a machine can check, over every committed file. Prints each offence and fails
# if there is one. With --fix it only runs clang-format -i.
set -u
cd "$(dirname "$0")/.." || exit 1

offences=$(mktemp)
trap 'rm -f "$offences"' EXIT
offence() # text on standard input, its rule as the argument
{
    found=$(cat)
    [ -z "$found" ] && return
    { echo "style: $1:"; echo "$found" | sed 's/^/    /'; } >>"$offences"
}

c_files=$(git ls-files -co --exclude-standard '*.c' '*.h' '*.cu')
room_files=$(git ls-files -co --exclude-standard 'src/*.c' 'src/*.h' 'src/*.cu' 'cli/*.c' 'cli/*.h')
text_files=$(git ls-files -co --exclude-standard '*.c' '*.h' '*.cu' '*.sh' '*.awk' '*.txt' '*.cmake' '*.md' \
    '*.json' '*.py' Makefile .ci | grep -v '^tests/data/\|^fuzz/corpus/')

# clang-format's output changes with its version: 14 is what Debian 12 and Ubuntu 24.04 share.
format=
for tool in clang-format-14 clang-format; do
    if $tool --version 2>/dev/null | grep -q 'version 14\.'; then
        format=$tool
        break
    fi
done
if [ -z "$format" ]; then
    echo "style: clang-format 14 is not here: tools/setup.sh check installs it" >&2
    exit 1
fi
if [ "${1:-}" = --fix ]; then
    $format -i $c_files
    exit
fi

$format --dry-run -Werror $c_files 2>&1 | grep 'error:' | offence "clang-format (make fmt mends it)"

LC_ALL=C grep -nE '[[:blank:]]+$' $text_files | offence "blank at the end of a line"
LC_ALL=C grep -n "$(printf '\t')" $(echo "$text_files" | grep -v '^Makefile$') | offence "tab"
LC_ALL=C grep -n "$(printf '\r')" $text_files | offence "carriage return"
LC_ALL=C grep -nP '\xe2\x80[\x8b-\x8f\xa8-\xaf]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf|\xc2\xa0|\xc2\xad' \
    $text_files | offence "invisible Unicode"
grep -nE '\b(TODO|FIXME|XXX)\b' $c_files | offence "unfinished work belongs in an issue"

banned='strcpy|strncpy|strcat|strncat|sprintf|vsprintf|gets|alloca|strtok|atoi|atol|atof|tmpnam|mktemp|rand|srand'
grep -nE "(^|[^a-zA-Z0-9_])($banned)\(" $c_files | offence "banned function"
loud='printf|vprintf|puts|putchar|perror|exit|_exit|abort|system|popen|setlocale|signal'
[ -d src ] && grep -nE "(^|[^a-zA-Z0-9_.>])($loud)\(|\b(stdout|stderr)\b" \
    $(echo "$room_files" | grep '^src/') | grep -v ':[[:blank:]]*\(/\?\*\|//\)' |
    offence "the library never prints, exits or touches the process"

wc -l $c_files $(echo "$text_files" | grep '\.sh$\|\.cmake$\|\.py$') |
    awk '$2 != "total" && $1 > 600' | offence "more than 600 lines"
echo "$c_files" | grep -v '^tests/data/' | sed 's|.*/||' | sort | uniq -d |
    offence "one name, one file"

# Conditional compilation: include guards, and the few places that need more.
awk '
    FNR == 1 { depth = 0 }
    /^#[ ]*if/ {
        guard = $0 ~ /^#ifndef [A-Z0-9_]+_H$/ || $0 ~ /__cplusplus/
        allowed = FILENAME ~ /cpu_features\.[ch]$|cpu\/(kernels|gemm|attend)_|cpu_onednn|^include\// ||
                  $0 ~ /HAVE_[A-Z]+/
        if (!guard && !allowed) print FILENAME ":" FNR ": " $0
    }' $room_files | offence "#if where it may not be"

awk -f tools/check_rooms.awk tools/rooms.txt $room_files | offence "room rule"

if command -v ctags >/dev/null && ctags --version | grep -q Universal; then
    ctags -x --_xformat='%n %{end} %N %F' --kinds-C=f $room_files 2>/dev/null |
        awk '$2 - $1 + 1 > 60 { print $4 ":" $1 ": " $3 " has " $2 - $1 + 1 " lines" }' |
        offence "a function fits a screen (60 lines)"
fi

git ls-files -co --exclude-standard | grep -iE '\.(jpe?g)$' | grep -v '^tests/data/\|^fuzz/corpus/' | offence "photographs stay out"
size=$(git ls-files -co --exclude-standard -z tests/data | xargs -0 -r cat | wc -c)
[ "$size" -le $((4 << 20)) ] || echo "tests/data has $size bytes" | offence "4 MiB of test data"

if [ -s "$offences" ]; then
    cat "$offences"
    exit 1
fi
echo "style: clean"
