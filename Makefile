# Verbs only: the build itself is CMakeLists.txt, its variants CMakePresets.json.
PREFIX ?= /usr/local
TIME ?= 60
launcher := $(if $(shell command -v ccache),-DCMAKE_C_COMPILER_LAUNCHER=ccache)

.PHONY: all setup demo test check bench fuzz fmt measure install clean help

all: setup # build the program and the library into build/
	@mkdir -p build && cmake --preset release $(launcher) -DCMAKE_INSTALL_PREFIX=$(PREFIX) \
	    >build/configure.log || { cat build/configure.log; exit 1; }
	@cmake --build build

setup: # install what is missing (apt), or say what to install
	@sh tools/setup.sh

demo: all # show what the network sees in pictures
	@sh tools/demo.sh

test: all # prove the build right
	@ctest --test-dir build --output-on-failure --parallel 2

check: all # style, rooms, sizes, sanitizers: what must hold before a change lands
	@sh tools/check_style.sh
	@cmake --preset dev $(launcher) >/dev/null && cmake --build --preset dev
	@ctest --preset dev --parallel 2

bench: all # measure this machine
	@build/dino bench --arch vits14

fuzz: # every fuzz target, TIME seconds each (default 60)
	@sh tools/setup.sh check
	@cmake --preset fuzz $(launcher) >/dev/null && cmake --build --preset fuzz
	@sh tools/fuzz.sh build-fuzz $(TIME)

fmt: # clang-format every C file
	@sh tools/check_style.sh --fix

measure: # sizes of files and functions
	@sh tools/measure.sh

install: all # into PREFIX (/usr/local), below DESTDIR
	@cmake --install build --prefix $(PREFIX)

clean: # remove what was built
	@rm -rf build build-dev build-fuzz build-coverage

help: # this list
	@sed -n 's/^\([a-z]*\):[^#=]*# \(.*\)/make \1\t\2/p' Makefile | expand -t 16
