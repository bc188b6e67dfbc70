# Tests: unit tests, replays of the fuzz corpus, and end-to-end scripts; all run by scripts/run_tests.

# ---- unit tests: test/FOLDER/test_*.c, one program each, linked with the folder's other .c files and with FOLDER's library
#      and those below it. A test folder that is not named here gets every library. bench_*.c are built in the same way, so
#      that they stay whole, but run by hand. ----
BELOW_base        := base
BELOW_kernels     := kernels base
BELOW_model       := model kernels base
BELOW_partitioner := partitioner base
BELOW_proto       := proto base
UNIT_SOURCES  := $(wildcard test/*/test_*.c)
BENCH_SOURCES := $(wildcard test/*/bench_*.c)
FUZZ_SOURCES  := $(wildcard test/fuzz/*.c)
UNITS         := $(patsubst %.c,$(BUILD)/%,$(UNIT_SOURCES))
BENCHES       := $(patsubst %.c,$(BUILD)/%,$(BENCH_SOURCES))
test_folder   = $(word 2,$(subst /, ,$(1)))
test_support  = $(filter-out $(UNIT_SOURCES) $(BENCH_SOURCES) $(FUZZ_SOURCES),$(wildcard $(dir $(1))*.c))
define unit_rules
$(BUILD)/$(1:.c=): $(BUILD)/$(1:.c=.o) $(call objects,$(call test_support,$(1))) \
                   $(call libraries,$(or $(BELOW_$(call test_folder,$(1))),$(MODULES)))
	@echo "  LD   $$@"
	@$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS) -o $$@ $$^ -lcmocka $$(EXTERNAL)
endef
$(foreach t,$(UNIT_SOURCES) $(BENCH_SOURCES),$(eval $(call unit_rules,$(t))))

# ---- fuzz targets: test/fuzz/fuzz_X.c. With replay.c each becomes a program that runs the inputs in test/fuzz/corpus/X;
#      with libFuzzer (make fuzz) one that looks for new ones. ----
FUZZ_NAMES   := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
REPLAYS      := $(FUZZ_NAMES:%=$(BUILD)/test/fuzz/replay_%)
FUZZERS      := $(FUZZ_NAMES:%=$(BUILD)/test/fuzz/fuzz_%)
$(REPLAYS): $(BUILD)/test/fuzz/replay_%: $(BUILD)/test/fuzz/fuzz_%.o $(BUILD)/test/fuzz/replay.o $(call libraries,$(MODULES))
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(EXTERNAL)
$(FUZZERS): $(BUILD)/test/fuzz/fuzz_%: $(BUILD)/test/fuzz/fuzz_%.o $(call libraries,$(MODULES))
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(EXTERNAL)

# ---- end to end: executable test/e2e/test_*.sh, given the binary as $STAGECOACH ----
E2E := $(wildcard test/e2e/test_*.sh)

TEST_SOURCES := $(UNIT_SOURCES) $(BENCH_SOURCES) $(foreach d,$(sort $(dir $(UNIT_SOURCES))),$(call test_support,$(d)x))
TESTS        := $(UNITS) $(REPLAYS) $(E2E)
BINARY       := $(if $(wildcard daemon/main.c),$(BUILD)/stagecoach)

.PHONY: test tests test-programs fuzzers
tests: $(UNITS) $(BENCHES) $(REPLAYS) $(BINARY) ## build every test program
test: tests ## build and run every test: unit, fuzz corpus, end to end
	@STAGECOACH=$(BUILD)/stagecoach scripts/run_tests $(TESTS)
test-programs: $(UNITS) $(REPLAYS) # those that a machine with another processor can run, under $RUNNER
	@scripts/run_tests $(UNITS) $(REPLAYS)
fuzzers: $(FUZZERS)
