#!/bin/sh
# Installs what the build needs on Debian 12 and Ubuntu 24.04 or later (the names are the same
# on both); with `check` also what style, sanitizers and fuzzing need. Says what to install
# where it may not do so itself. Does nothing, quickly, when all is there.
set -eu

# libdnnl-dev only recommends OpenCL's headers, but its CMake files insist on them.
packages="gcc libc6-dev make cmake ninja-build pkg-config libdnnl-dev ocl-icd-opencl-dev
    libopenblas-dev liblapacke-dev libjpeg-dev libpng-dev zlib1g-dev libwebp-dev
    libjansson-dev libminizip-dev libarchive-dev libyaml-dev libcurl4-openssl-dev libcmocka-dev"
if [ "${1:-}" = check ]; then
    packages="$packages g++ clang llvm libomp-dev clang-format-14 universal-ctags ccache git
        libopenmpi-dev openmpi-bin"
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup: no apt-get here; the Debian names of what is needed:" $packages
    exit 0 # the configure step tells what is really missing
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=none
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root="sudo"
else
    echo "setup: these packages are missing, and root is needed to install them:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi
echo "setup: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update -q &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get failed; what is missing:$missing" >&2
    exit 1
fi
