# Stagecoach. `make help` lists what there is to make; docs/ARCHITECTURE.md says what lives where.
#
# Each folder becomes one static library and may link only against those below it, so a wrong arrow fails twice: here and in
# `make check`. Variants (debug, sanitizers, arm64) are the same rules with another BUILD folder and other flags.

BUILD   ?= build
PKG     ?= pkg-config
PREFIX  ?= /usr/local
VERSION := $(shell cat VERSION)

OPTIMISE ?= -O2
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla -Wwrite-strings
WERROR   ?= -Werror
# -ffp-contract=off: a multiply and an add are fused only where the source says so; results do not depend on the compiler.
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE -DSTAGECOACH_VERSION='"$(VERSION)"' $(OPTIMISE) -g $(WARN) $(WERROR) -ffp-contract=off \
             -pthread -fno-math-errno -I. -I$(BUILD) $(CFLAGS_EXTERNAL) $(CFLAGS)

# ---- what the goals need is installed first (a look that takes milliseconds when all is there) ----
GOALS       := $(or $(MAKECMDGOALS),all)
SETUP_build := all install demo lab
SETUP_test  := test tests test-asan test-tsan bench bench-engines
SETUP_check := check check-fast tidy fuzz
SETUP_arm64 := arm64
GROUPS := $(foreach g,build test check arm64,$(if $(filter $(SETUP_$g),$(GOALS)),$g))
ifeq ($(findstring n,$(filter-out -%,$(firstword $(MAKEFLAGS)))),)
ifneq ($(shell for g in $(GROUPS); do scripts/setup $$g >&2 || echo failed; done),)
$(error scripts/setup could not install what is missing)
endif
endif

ifeq ($(origin CC),default)
CC := $(if $(shell command -v gcc),gcc,cc)
endif
# as many jobs as cores; a -j on the command line wins, and a make within make shares its parent's
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# ---- what others wrote ----
LIBRARIES := libzmq yaml-0.1 libprotobuf-c jansson libjpeg libpng libsodium
CFLAGS_EXTERNAL := $(shell $(PKG) --cflags $(filter-out libzmq,$(LIBRARIES)) openblas 2>/dev/null)
BLAS     ?= $(or $(shell $(PKG) --libs openblas 2>/dev/null),-lopenblas)
EXTERNAL := -Wl,--as-needed $(shell $(PKG) --libs $(LIBRARIES) 2>/dev/null) $(BLAS) -lm -pthread

# ---- the libraries, highest first: each may use those after it ----
MODULES := daemon proto partitioner model kernels base
SOURCES_base        := $(wildcard base/*.c)
SOURCES_kernels     := $(wildcard kernels/*.c kernels/*/*.c)
SOURCES_model       := $(wildcard model/*.c)
SOURCES_partitioner := $(wildcard partitioner/*.c)
SOURCES_proto       := $(wildcard proto/*.c)
SOURCES_daemon      := $(filter-out daemon/main.c,$(wildcard daemon/*.c daemon/*/*.c))
SOURCES             := $(foreach m,$(MODULES),$(SOURCES_$(m))) daemon/main.c

objects   = $(patsubst %.c,$(BUILD)/%.o,$(1))
library   = $(BUILD)/lib$(1).a
libraries = $(foreach m,$(1),$(call library,$(m)))

.PHONY: all help
all: $(BUILD)/stagecoach ## build build/stagecoach (plain `make` does this)
help: ## this list
	@awk -F':.*## ' '/^[a-z0-9_-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(filter %Makefile %.mk,$(MAKEFILE_LIST))
	@echo "  BUILD=folder CC=compiler CFLAGS=... OPTIMISE=-O2 WERROR= PREFIX=/usr/local DESTDIR= can be given to each"

define module_rules
$(call library,$(1)): $(call objects,$(SOURCES_$(1)))$(if $(filter proto,$(1)), $(BUILD)/proto/stagecoach.pb-c.o)
	@rm -f $$@
	@ar rcsD $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_FILE) -MMD -MP -c $< -o $@

# vector code is compiled for its instruction set and called only after a run-time check (kernels/dispatch.c)
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
ifneq ($(filter x86_64%,$(MACHINE)),)
FLAGS_AVX2   := -mavx2 -mfma -mf16c
FLAGS_AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
endif
OPTIMISE_VECTOR ?= -O3
$(BUILD)/kernels/vector/%:       CFLAGS_FILE = $(OPTIMISE_VECTOR)
# the portable set is for checking, not for speed, and slow to compile; the sanitizers would take minutes for its unrolled
# loops, and the native set instruments the same templates
$(BUILD)/kernels/vector/portable.o: CFLAGS_FILE = $(if $(findstring -fsanitize,$(CFLAGS)),-fno-sanitize=all)
$(BUILD)/kernels/vector/avx2%:   CFLAGS_FILE = $(OPTIMISE_VECTOR) $(FLAGS_AVX2)
$(BUILD)/kernels/vector/avx512%: CFLAGS_FILE = $(OPTIMISE_VECTOR) $(FLAGS_AVX512)

# everything is compiled again when the compiler or its flags change
STAMP = $(CC) $(MACHINE) $(CFLAGS_ALL) $(LDFLAGS) $(EXTERNAL) $(OPTIMISE_VECTOR) $(FLAGS_AVX2) $(FLAGS_AVX512)
.PHONY: FORCE
$(BUILD)/flags: FORCE
	@$(shell mkdir -p $(@D))$(file >$@.new,$(STAMP))if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# ---- protocol buffers: generated into the build folder, never committed ----
$(BUILD)/proto/stagecoach.pb-c.c: proto/stagecoach.proto
	@mkdir -p $(@D)
	@echo "  PB   $<"
	@protoc-c --c_out=$(BUILD) $<
$(BUILD)/proto/stagecoach.pb-c.h: $(BUILD)/proto/stagecoach.pb-c.c ;
$(BUILD)/proto/stagecoach.pb-c.o: $(BUILD)/proto/stagecoach.pb-c.c $(BUILD)/flags
	@$(CC) $(CFLAGS_ALL) -Wno-cast-qual -Wno-shadow -c $< -o $@
$(call objects,$(SOURCES_proto)): | $(BUILD)/proto/stagecoach.pb-c.c

# ---- the binary ----
$(BUILD)/stagecoach: $(BUILD)/daemon/main.o $(call libraries,$(MODULES))
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(EXTERNAL)

# ---- what a person does with it ----
.PHONY: demo bench install uninstall clean
demo: all ## classify the sample pictures with a coordinator and four stages
	@STAGECOACH=$(BUILD)/stagecoach scripts/demo
bench: all ## measure this machine (scripts/bench)
	@STAGECOACH=$(BUILD)/stagecoach scripts/bench
install: all ## install the binary and its manual page below $(DESTDIR)$(PREFIX)
	$(BUILD)/stagecoach --manual > $(BUILD)/stagecoach.1
	install -D -m 755 $(BUILD)/stagecoach $(DESTDIR)$(PREFIX)/bin/stagecoach
	install -D -m 644 $(BUILD)/stagecoach.1 $(DESTDIR)$(PREFIX)/share/man/man1/stagecoach.1
uninstall: ## remove what install installed
	rm -f $(DESTDIR)$(PREFIX)/bin/stagecoach $(DESTDIR)$(PREFIX)/share/man/man1/stagecoach.1
clean: ## remove build folders
	rm -rf build build-*

include scripts/make/test.mk
include scripts/make/check.mk
-include scripts/make/bench.mk
-include scripts/make/e2e.mk
-include scripts/make/lab.mk
-include $(patsubst %.c,$(BUILD)/%.d,$(SOURCES) $(TEST_SOURCES) $(FUZZ_SOURCES))
