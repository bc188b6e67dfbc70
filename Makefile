# Stagecoach. `make help` lists what there is to make; docs/ARCHITECTURE.md says what lives where.
#
# Each folder becomes one static library and may link only against those below it, so a wrong arrow fails twice: here and in
# `make check`. Variants (debug, sanitizers, arm64) are the same rules with another BUILD folder and other flags.

BUILD   ?= build
CC      ?= gcc
PKG     ?= pkg-config
PREFIX  ?= /usr/local
VERSION := $(shell cat VERSION)

OPTIMISE ?= -O2
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla -Wwrite-strings
WERROR   ?= -Werror
# -ffp-contract=off: a multiply and an add are fused only where the source says so; results do not depend on the compiler.
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE -DSTAGECOACH_VERSION='"$(VERSION)"' $(OPTIMISE) -g $(WARN) $(WERROR) -ffp-contract=off \
             -pthread -fno-math-errno -I. -I$(BUILD) $(CFLAGS)

MACHINE := $(shell $(CC) -dumpmachine)

LIBS_base   := libsodium
LIBS_model  := jansson libjpeg libpng
LIBS_proto  := libprotobuf-c
LIBS_daemon := libzmq yaml-0.1

# the libraries, highest first: each may use those after it
MODULES := daemon proto partitioner model kernels base
SOURCES_base        := $(wildcard base/*.c)
SOURCES_kernels     := $(wildcard kernels/*.c kernels/*/*.c)
SOURCES_model       := $(wildcard model/*.c)
SOURCES_partitioner := $(wildcard partitioner/*.c)
SOURCES_proto       := $(wildcard proto/*.c)
SOURCES_daemon      := $(filter-out daemon/main.c,$(wildcard daemon/*.c daemon/*/*.c))
SOURCES             := $(foreach m,$(MODULES),$(SOURCES_$(m))) daemon/main.c

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
library = $(BUILD)/lib$(1).a
libraries = $(foreach m,$(1),$(call library,$(m)))

EXTERNAL = $(shell $(PKG) --libs $(LIBS_daemon) $(LIBS_proto) $(LIBS_model) $(LIBS_base)) $(BLAS) -lm -pthread
BLAS    ?= -lopenblas

.PHONY: all help
all: $(BUILD)/stagecoach ## build build/stagecoach
help: ## this list
	@awk -F':.*## ' '/^[a-z0-9_-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- libraries ----
define module_rules
$(call library,$(1)): $(call objects,$(SOURCES_$(1)))$(if $(filter proto,$(1)), $(BUILD)/proto/stagecoach.pb-c.o)
	@rm -f $$@
	@ar rcsD $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_FILE) -MMD -MP -c $< -o $@

# vector code is compiled for its instruction set and called only after a run-time check (kernels/dispatch.c)
ifneq ($(filter x86_64%,$(MACHINE)),)
$(BUILD)/kernels/vector/avx2.o: CFLAGS_FILE = -O3 -mavx2 -mfma -mf16c
$(BUILD)/kernels/vector/avx512.o: CFLAGS_FILE = -O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
endif
$(BUILD)/kernels/vector/neon.o: CFLAGS_FILE = -O3

# ---- protocol buffers: generated into the build folder, never committed ----
$(BUILD)/proto/stagecoach.pb-c.c: proto/stagecoach.proto
	@mkdir -p $(@D)
	@echo "  PB   $<"
	@protoc-c --c_out=$(BUILD) $<
$(BUILD)/proto/stagecoach.pb-c.h: $(BUILD)/proto/stagecoach.pb-c.c
$(BUILD)/proto/stagecoach.pb-c.o: $(BUILD)/proto/stagecoach.pb-c.c
	@$(CC) $(CFLAGS_ALL) -Wno-cast-qual -Wno-shadow -c $< -o $@
$(call objects,$(SOURCES_proto)): | $(BUILD)/proto/stagecoach.pb-c.c

# ---- the binary ----
$(BUILD)/stagecoach: $(BUILD)/daemon/main.o $(call libraries,$(MODULES))
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(EXTERNAL)

# ---- unit tests: test/FOLDER/test_*.c, one program each, linked with FOLDER and what lies below it ----
BELOW_base        := base
BELOW_kernels     := kernels base
BELOW_model       := model kernels base
BELOW_partitioner := partitioner base
BELOW_proto       := proto base
BELOW_core        := daemon proto partitioner model kernels base
BELOW_daemon      := daemon proto partitioner model kernels base
TEST_SOURCES := $(wildcard test/*/test_*.c)
TESTS        := $(patsubst %.c,$(BUILD)/%,$(TEST_SOURCES))
test_folder = $(word 2,$(subst /, ,$(1)))
define test_rules
$(BUILD)/$(1:.c=): $(BUILD)/$(1:.c=.o) $(call libraries,$(BELOW_$(call test_folder,$(1))))
	@echo "  LD   $$@"
	@$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS) -o $$@ $$^ $$(TEST_EXTERNAL_$(call test_folder,$(1))) -lm -pthread
endef
TEST_EXTERNAL_base        = -lcmocka $(shell $(PKG) --libs $(LIBS_base))
TEST_EXTERNAL_kernels     = $(TEST_EXTERNAL_base) $(BLAS)
TEST_EXTERNAL_model       = $(TEST_EXTERNAL_kernels) $(shell $(PKG) --libs $(LIBS_model))
TEST_EXTERNAL_partitioner = $(TEST_EXTERNAL_base)
TEST_EXTERNAL_proto       = $(TEST_EXTERNAL_base) $(shell $(PKG) --libs $(LIBS_proto))
TEST_EXTERNAL_core        = -lcmocka $(EXTERNAL)
TEST_EXTERNAL_daemon      = -lcmocka $(EXTERNAL)
$(foreach t,$(TEST_SOURCES),$(eval $(call test_rules,$(t))))

.PHONY: tests clean
tests: $(TESTS) $(BUILD)/stagecoach ## build every test program
clean: ## remove build folders
	rm -rf build build-*

-include scripts/make/*.mk
-include $(patsubst %.c,$(BUILD)/%.d,$(SOURCES) $(TEST_SOURCES))
