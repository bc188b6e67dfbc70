# The checks, and the variants of the build that they run: each has a build folder of its own.

.PHONY: check check-fast tidy test-asan test-tsan fuzz arm64
check: ## every check: layers, format, linters, warnings, sanitizers, short fuzz runs
	+@scripts/check fast slow
check-fast: ## the half of `check` that takes seconds
	+@scripts/check fast
tidy: ## clang-tidy
	+@scripts/check tidy

VARIANT = $(MAKE) --no-print-directory WERROR= OPTIMISE=-O1 OPTIMISE_VECTOR=-O1
test-asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	+@E2E_PATIENCE=300 TEST_TIMEOUT=1500 ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(VARIANT) test BUILD=build-asan CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'
# It is some fifty times slower, so that everything may take longer; where the kernel spreads addresses wider than the sanitizer's shadow allows, setarch -R holds them still.
test-tsan: ## every test under ThreadSanitizer
	+@E2E_PATIENCE=300 TEST_TIMEOUT=1500 TSAN_OPTIONS=suppressions=$(CURDIR)/scripts/tsan.txt:halt_on_error=1 \
	  $$(setarch -R true 2>/dev/null && echo setarch -R) $(VARIANT) test BUILD=build-tsan CFLAGS='-fsanitize=thread'

FUZZ_SECONDS ?= 30
fuzz: ## look for new failing inputs, FUZZ_SECONDS=30 a target
	+@$(VARIANT) fuzzers BUILD=build-fuzz CC=clang CFLAGS='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all'
	@for name in $(FUZZ_NAMES); do \
	  mkdir -p build-fuzz/found/$$name test/fuzz/corpus/$$name && \
	  echo "  FUZZ $$name, $(FUZZ_SECONDS) s" && \
	  { build-fuzz/test/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
	      -artifact_prefix=build-fuzz/$$name- build-fuzz/found/$$name test/fuzz/corpus/$$name >build-fuzz/$$name.log 2>&1 || \
	    { cat build-fuzz/$$name.log; exit 1; }; } || exit 1; \
	done

arm64: ## cross-build for arm64 and run the tests under qemu, also on a plain Cortex-A53
	+@scripts/cross_arm64
