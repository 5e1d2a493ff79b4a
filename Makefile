# The project's commands; `make help` lists them. Continuous integration calls the same targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Where cargo builds. Absolute, for the sub-commands that change directory.
TARGET := $(abspath $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target))
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)
SOVERSION := $(shell sed -n 's/^const SOVERSION: u32 = \([0-9]*\);$$/\1/p' build.rs)
SONAME := librrelay.so.$(SOVERSION)

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
DESTDIR ?=

CC ?= cc
CARGO ?= cargo
CFLAGS ?= -O2 -g
C_STRICT := -std=c99 -Wall -Wextra -Wpedantic -Werror
SERVER_C := $(wildcard c-examples/rr_server*.c)
SERVER_H := $(wildcard c-examples/rr_server*.h)

# $(call need,program,what to do)
need = command -v $(firstword $(1)) >/dev/null 2>&1 || { \
	echo "rrelay needs '$(firstword $(1))', which is not on this machine: $(2)" >&2; exit 1; }
need_cc = $(call need,$(CC),install a C compiler (Debian and Ubuntu: apt install gcc).)
need_cargo = $(call need,$(CARGO),install Rust from https://rustup.rs and open a new shell.)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)$$/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: run
run: build ## build and start the bundled server, with its web page on port 8080 and players over HTTP on 8000; options in ARGS="--port 1936 --push rtmp://host/app/key"
	@exec "$(TARGET)/rr_server" $(if $(findstring --rest,$(ARGS)),,--rest 127.0.0.1:8080) \
		$(if $(findstring --http,$(ARGS)),,--http 127.0.0.1:8000) $(ARGS)

.PHONY: build
build: ## build the library (release), its worker program, and the bundled server, target/rr_server
	@$(need_cargo)
	@$(need_cc)
	$(CARGO) build --release --lib
	@ln -sf librrelay.so "$(TARGET)/release/$(SONAME)"
	@$(MAKE) --no-print-directory "$(TARGET)/rr_server" "$(TARGET)/release/rrelay-worker"

# The server finds the library beside it, wherever the tree is moved to.
$(TARGET)/rr_server: $(SERVER_C) $(SERVER_H) include/rrelay.h $(TARGET)/release/librrelay.so
	$(CC) $(C_STRICT) $(CFLAGS) -pthread -Iinclude $(SERVER_C) -o "$@" \
		-L"$(TARGET)/release" -l:$(SONAME) -Wl,-rpath,'$$ORIGIN/release' $(LDFLAGS)

# Beside the library, which looks for it there.
$(TARGET)/release/rrelay-worker: c-examples/rrelay_worker.c include/rrelay.h $(TARGET)/release/librrelay.so
	$(CC) $(C_STRICT) $(CFLAGS) -Iinclude $< -o "$@" -L"$(TARGET)/release" -l:$(SONAME) -Wl,-rpath,'$$ORIGIN' $(LDFLAGS)

.PHONY: examples
examples: build ## build the other programs of c-examples, in target: basic_server, publish_file
	@$(MAKE) --no-print-directory "$(TARGET)/basic_server" "$(TARGET)/publish_file"

$(TARGET)/basic_server: $(wildcard c-examples/basic_server*.[ch])
$(TARGET)/publish_file: c-examples/publish_file.c
$(TARGET)/basic_server $(TARGET)/publish_file: include/rrelay.h $(wildcard include/librtmp/*.h) $(TARGET)/release/librrelay.so
	$(CC) $(C_STRICT) $(CFLAGS) -pthread -Iinclude $(filter %.c,$^) -o "$@" \
		-L"$(TARGET)/release" -l:$(SONAME) -Wl,-rpath,'$$ORIGIN/release' $(LDFLAGS)

.PHONY: librtmp
librtmp: build ## build librtmp.so.1 for programs that use librtmp, in target/librtmp (cargo feature librtmp)
	@packaging/librtmp.sh "$(TARGET)/release/librrelay.a" "$(TARGET)/librtmp"
	@echo 'librtmp.so.1 is in $(TARGET)/librtmp. To try it: LD_LIBRARY_PATH="$(TARGET)/librtmp" rtmpdump ...'

# Test programs that start programs of others, or that take long: `make test` and `make soak` run them.
LATER := bundled_server chaos cycles faults handover_media hooks interop isolate_orphans isolated_moves large_allocations librtmp limits memory \
	memory_given_back openapi page plays readme rtmpe_peers several_relays shared_loops soak sources streams
CHECKED := $(filter-out $(LATER),$(basename $(notdir $(wildcard tests/*.rs))))

.PHONY: check
check: ## format, clippy, and the quick tests that need no other programs and no root, in two minutes
	@$(need_cargo)
	@$(need_cc)
	@$(call need,c++,install a C++ compiler (Debian and Ubuntu: apt install g++).)
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test --no-fail-fast --lib $(CHECKED:%=--test %) -- --skip valgrind --skip rtmpdump

# A step that fails does not keep the later ones from running.
.PHONY: test
test: setup ## run everything: install tools, check format and lints, run tests and models of the lock-free parts
	@failed=; for step in lint suite bare loom; do $(MAKE) --no-print-directory $$step || failed="$$failed $$step"; done; \
		[ -z "$$failed" ] || { echo "make test: failed:$$failed" >&2; exit 1; }

.PHONY: suite
suite: ## run all tests that need no nightly toolchain; a part of make test
	@$(need_cargo)
	$(CARGO) test --no-fail-fast

.PHONY: bare
bare: ## test the library without librtmp's symbols (no cargo feature librtmp): its exports, and C programs on it
	@$(need_cargo)
	CARGO_TARGET_DIR="$(TARGET)/bare" $(CARGO) test --no-fail-fast --no-default-features --test exports --test c_programs

.PHONY: setup
setup: ## install the missing programs that the tests need (ffmpeg, rtmpdump, nginx ...), by apt and pip
	@$(need_cargo)
	@CARGO_TARGET_DIR="$(TARGET)" tests/setup.sh

.PHONY: lint
lint: ## check format, clippy and the crate's documentation; warnings are errors
	@$(need_cargo)
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --document-private-items

.PHONY: header
header: ## generate include/rrelay.h from the definitions in src/ffi
	@$(need_cargo)
	RR_BLESS=1 $(CARGO) test --test header

.PHONY: openapi
openapi: ## generate docs/openapi.json, the description of control by HTTP, from the routes in src/rest
	@$(need_cargo)
	RR_BLESS=1 $(CARGO) test --lib the_committed_openapi_document

.PHONY: vendor
vendor: ## fetch the web page's player, mpegts.js, from npm; VERSION=1.8.2 for another version
	@$(call need,npm,install Node.js (Debian and Ubuntu: apt install npm).)
	@src/rest/page/vendor/update.sh $(if $(findstring command line,$(origin VERSION)),$(VERSION))

.PHONY: loom
loom: ## run loom models: every interleaving of the threads at a segment of the log, and at the sleep of a thread
	@# Without the feature rest: tokio has no sockets under that cfg.
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$(TARGET)/loom" $(CARGO) test --no-default-features --features librtmp --lib \
		-- stream::log::segment net::sleep

.PHONY: tsan
tsan: ## run unit tests and tests over loopback under ThreadSanitizer, TESTS="--test sources" for a part; needs a nightly toolchain
	@tests/tsan.sh "$(TARGET)/tsan" $(TESTS)

.PHONY: aarch64
aarch64: ## build for aarch64 and run most tests in an emulator; names the programs that it needs
	@tests/aarch64.sh "$(TARGET)/aarch64"

.PHONY: miri
miri: ## run unit tests of the segment and of librtmp sessions under Miri; needs a nightly toolchain with miri
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { \
		echo "Miri is not on this machine: rustup toolchain install nightly --component miri rust-src" >&2; exit 1; }
	CARGO_TARGET_DIR="$(TARGET)/miri" $(CARGO) +nightly miri test --no-default-features --lib stream::log::segment
	CARGO_TARGET_DIR="$(TARGET)/miri" $(CARGO) +nightly miri test --lib ffi::librtmp::tests

.PHONY: valgrind
valgrind: ## run the C programs of both faces under valgrind; a part of make test
	@$(need_cargo)
	@$(call need,valgrind,make setup installs it.)
	@failed=0; $(CARGO) test --test c_programs || failed=1; \
		$(CARGO) test --test librtmp -- hostile promises transports || failed=1; exit $$failed

.PHONY: stress
stress: setup ## run the test suite RR_STRESS_RUNS=10 times beside two busy loops; TESTS="--test sources" for a part of it
	@tests/stress.sh $(TESTS)

.PHONY: soak
soak: ## run an hour of load and failures, SECONDS=600 for ten minutes; fails if memory, threads or descriptors grow
	@$(need_cargo)
	RR_SOAK_SECONDS=$(if $(SECONDS),$(SECONDS),3600) $(CARGO) test --release --test soak -- --nocapture

.PHONY: bench
bench: build ## run the benches of docs/cost.md and of librtmp's face, and leave their figures in target/bench.txt; takes 45 minutes
	@set -o pipefail; { $(MAKE) --no-print-directory bench-fanout && $(CARGO) bench --bench codec --bench rest && \
		$(CARGO) bench --bench librtmp -- 5 200; } | tee "$(TARGET)/bench.txt"

.PHONY: bench-fanout
bench-fanout: build ## run only the fan-out bench, whose options BENCH="--help" lists: BENCH="--rows 50x4 --beside before=../before/target/rr_server"
	$(CARGO) bench --bench fanout -- --server "$(TARGET)/rr_server" $(BENCH)

.PHONY: bench-tls
bench-tls: ## measure records and handshakes of TLS by themselves, with ring and with aws-lc
	@$(need_cargo)
	@$(need_cc)
	CARGO_TARGET_DIR="$(TARGET)/tls" $(CARGO) run --release --manifest-path benches/tls/Cargo.toml

.PHONY: bench-uring
bench-uring: ## measure what a send to each of many sockets costs by calls and by io_uring
	@$(need_cc)
	@mkdir -p "$(TARGET)"
	$(CC) -std=gnu11 -Wall -Wextra -Wpedantic -Werror -O2 benches/uring/uring.c -o "$(TARGET)/uring"
	"$(TARGET)/uring"

.PHONY: bench-quick
bench-quick: build ## run a short part of the benches of chunks, the fan-out and librtmp's face in some two minutes
	$(CARGO) bench --bench codec
	$(CARGO) bench --bench fanout -- --server "$(TARGET)/rr_server" --quick $(BENCH)
	$(CARGO) bench --bench librtmp -- 3 60 unpinned

.PHONY: fuzz
fuzz: ## run cargo-fuzz on each target, FUZZ_SECONDS=60 each; needs cargo-fuzz and a nightly toolchain
	@$(need_cargo)
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { \
		echo "cargo-fuzz is not on this machine: cargo install cargo-fuzz. The same bodies run in make test." >&2; exit 1; }
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { \
		echo "cargo-fuzz needs a nightly toolchain: rustup toolchain install nightly." >&2; exit 1; }
	@set -e; for target in $$($(CARGO) fuzz list); do echo "== $$target"; mkdir -p "fuzz/corpus/$$target"; \
		$(CARGO) +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- \
			-max_total_time=$${FUZZ_SECONDS:-60} -timeout=60 -print_final_stats=1; done

.PHONY: seeds
seeds: ## generate fuzz/seeds from the golden tables in tests/vectors
	@$(need_cargo)
	RR_BLESS=1 $(CARGO) test --lib fuzzing::seeds

.PHONY: install
install: ## install library, headers, pkg-config and CMake files, server, worker; PREFIX=/usr/local DESTDIR= LIBRTMP=1
	@if command -v $(firstword $(CARGO)) >/dev/null 2>&1; then $(MAKE) --no-print-directory build $(if $(LIBRTMP),librtmp); \
		elif [ ! -x "$(TARGET)/rr_server" ]; then $(need_cargo); fi # root often has no cargo: then what is built goes in
	@packaging/install.sh "$(TARGET)" "$(VERSION)" "$(SOVERSION)" "$(DESTDIR)" "$(PREFIX)" "$(LIBDIR)" "$(INCLUDEDIR)" "$(BINDIR)"
	@[ -z "$(LIBRTMP)" ] || packaging/install-librtmp.sh "$(TARGET)/librtmp" "$(DESTDIR)" "$(PREFIX)" "$(LIBDIR)" "$(INCLUDEDIR)"

.PHONY: clean
clean: ## remove built files
	$(CARGO) clean
	rm -f "$(TARGET)/rr_server" "$(TARGET)/basic_server" "$(TARGET)/publish_file"
