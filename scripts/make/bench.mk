# Benchmarks beside `make bench` (the Makefile's rule runs scripts/bench with what is built here).

bench: $(BUILD)/test/kernels/test_kernels $(BENCHES)

.PHONY: bench-engines
PYTHON ?= python3
bench-engines: all ## race PyTorch and ONNX Runtime (about 40 minutes; see scripts/bench_engines.py)
	@STAGECOACH=$(CURDIR)/$(BUILD)/stagecoach $(PYTHON) scripts/bench_engines.py $(BENCH_OPTIONS)
