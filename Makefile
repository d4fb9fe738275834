PYTHON ?= python3
# Half of what a test does is to wait, for the disk or another process.
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed

.PHONY: demo test test-faults fuzz check bench bench-full clean
.DELETE_ON_ERROR:

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# What only the benches need: nothing else waits for it.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(PYTEST)

# What takes minutes: kills and cancellations at every moment, many processes.
test-faults: $(STAMP)
	$(PYTEST) -m long

fuzz: $(STAMP)
	$(BIN)/python -m pytest -m fuzz

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH_STAMP)
	$(BIN)/python perf/suite.py --short $(ARGS)

bench-full: $(BENCH_STAMP)
	$(BIN)/python perf/suite.py $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
