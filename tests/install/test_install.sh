#!/bin/sh
# A user's view: install into an empty prefix, then build and run a program against it through
# pkg-config (shared and static) and through find_package.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

cmake --install "$BUILD_DIR" --prefix "$prefix" >"$work/log" || { cat "$work/log"; exit 1; }
lib=$(dirname "$(find "$prefix" -name libdino.a)")
version=$(sed -n 's/.*DINO_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' "$SOURCE_DIR/include/dino.h" | paste -sd.)
for file in "$prefix/include/dino.h" "$prefix/include/dino_train.h" "$lib/libdino.so.${version%%.*}" "$lib/libdino.so" \
    "$lib/pkgconfig/dino.pc" "$lib/cmake/dino/dinoConfig.cmake" \
    "$prefix/bin/dino" "$prefix/share/man/man1/dino.1"; do
    [ -e "$file" ] || { echo "not installed: $file"; exit 1; }
done

[ ! -e "$BUILD_DIR/libdino_mpi.so" ] || [ -e "$lib/libdino_mpi.so" ] || { echo "the plug-in for MPI is not installed"; exit 1; }
"$prefix/bin/dino" version | grep -qF "$version" || { echo "the program has another version"; exit 1; }

# The model: the one that was installed, in whatever folder.
shipped=share/dino/models/dino-tiny
for file in model.safetensors config.json preprocessor_config.json README.md; do
    [ -e "$prefix/$shipped/$file" ] || { echo "not installed: $shipped/$file"; exit 1; }
done
"$prefix/bin/dino" doctor | grep -q "^model  *$prefix/$shipped$" || { echo "the installed model is not used"; exit 1; }
mkdir "$work/moved"
cp -r "$prefix/bin" "$prefix/share" "$work/moved"
"$work/moved/bin/dino" doctor | grep -q "^model  *$work/moved/$shipped$" || { echo "moved, it is not found"; exit 1; }
export SHIPPED="$prefix/$shipped"

# The .pc file knows the prefix of the configure step; a moved tree is told by pkg-config.
sed "s|^prefix=.*|prefix=$prefix|; s|^libdir=.*|libdir=$lib|; s|^includedir=.*|includedir=$prefix/include|" \
    "$lib/pkgconfig/dino.pc" >"$work/dino.pc"
export PKG_CONFIG_PATH="$work"
[ "$(pkg-config --modversion dino)" = "$version" ] || { echo "dino.pc has another version"; exit 1; }

cat >"$work/user.c" <<'END'
#include <dino.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    enum dino_dtype dtype;
    struct dino_error err = {0};
    char path[4096];
    if (strcmp(dino_version(), WANTED) != 0 || !dino_dtype_parse("bf16", &dtype))
        return 1;
    if (!dino_shipped_model(path, sizeof path, &err) || strcmp(path, getenv("SHIPPED")) != 0) {
        printf("%s%s instead of %s\n", path, err.message, getenv("SHIPPED"));
        return 1;
    }
    printf("dino %s, bf16 has %zu bytes\n", dino_version(), dino_dtype_size(dtype));
    return dino_dtype_size(dtype) == 2 ? 0 : 1;
}
END
flags="-std=c11 -Wall -Werror -DWANTED=\"$version\" ${USER_FLAGS:-}"

$CC $flags "$work/user.c" -o "$work/shared" $(pkg-config --cflags --libs dino)
LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$work/shared"
LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} ldd "$work/shared" | grep -q "$lib/libdino.so.0" || { echo "not linked to the shared library"; exit 1; }

$CC $flags "$work/user.c" -o "$work/static" $(pkg-config --cflags dino) "$lib/libdino.a" \
    $(pkg-config --static --libs-only-l --libs-only-other dino | sed 's/-ldino//')
cp "$work/static" "$prefix/bin/static"
"$prefix/bin/static"
ldd "$work/static" | grep -q libdino && { echo "the static program wants libdino.so"; exit 1; }

cat >"$work/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(user C)
find_package(dino $version REQUIRED)
foreach(kind dino static)
    add_executable(user_\${kind} user.c)
    target_compile_definitions(user_\${kind} PRIVATE WANTED="$version")
    target_link_libraries(user_\${kind} PRIVATE dino::\${kind})
endforeach()
END
cmake -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_C_FLAGS="${USER_FLAGS:-}" >"$work/log" 2>&1 &&
    cmake --build "$work/build" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/user_dino"
cp "$work/build/user_static" "$prefix/bin"
"$prefix/bin/user_static"

# DESTDIR stages the same tree elsewhere.
DESTDIR=$work/stage cmake --install "$BUILD_DIR" --prefix /usr >/dev/null
[ -f "$work/stage/usr/include/dino.h" ] || { echo "DESTDIR is not honoured"; exit 1; }
echo "installed, found and linked four ways"
