PYTHON ?= python3
# Tests spend a part of their time waiting for the disk or another process, so use all cores.
SPREAD := -n auto --maxprocesses 4 --dist worksteal
PYTEST = $(BIN)/python -m pytest $(SPREAD)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
DOCS_STAMP := $(VENV)/.docs-installed
DIST_STAMP := $(VENV)/.dist-installed

# The oldest supported Python, from the PATH or pyenv; without one, the usual Python.
LOWEST_PYTHON ?= $(firstword $(shell python3.10 -c '' 2>/dev/null && echo python3.10) \
	$(lastword $(sort $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python))) $(PYTHON))
LOWEST := .venv-lowest
LOWEST_STAMP := $(LOWEST)/.installed

.PHONY: demo test test-quick test-faults test-lowest fuzz check typecheck bench bench-full docs docs-serve dist clean
.DELETE_ON_ERROR:

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Only the benches need these packages.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

# Only the pages need these packages, and only a release needs the next ones.
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

$(DIST_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dist]'
	touch $@

$(LOWEST_STAMP): pyproject.toml tests/lowest.txt
	rm -rf $(LOWEST)
	$(LOWEST_PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/lowest.txt --editable '.[test]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# ARGS: further options of pytest.
test: $(STAMP)
	$(PYTEST) $(ARGS)

# The inner loop, under a minute on 2 cores: the unit tests, the import table, and a sample of whole
# calls. It leaves out the sweeps of the stager, worker processes, kills and faults, the command
# line, the examples, and the comparison with DVCLive. Run `make test` before a change lands.
QUICK := tests/unit tests/meta/test_structure.py tests/meta/test_prose.py \
	$(addprefix tests/integration/,test_submit.py test_returned_artifact.py test_lifetime.py)

test-quick: $(STAMP)
	$(PYTEST) $(QUICK) -k "not cancelled_anywhere and not edges_of_chunks"

# Minutes: kills and cancellations at every moment, many processes, both event loops.
test-faults: $(STAMP)
	$(PYTEST) -m long $(ARGS)

# With the lowest supported version of each dependency.
test-lowest: $(LOWEST_STAMP)
	@$(LOWEST)/bin/python -c 'import sys; v = sys.version_info; print("Python", sys.version.split()[0], "" if v[:2] == (3, 10) else "(there is no python3.10 here: LOWEST_PYTHON=... names one)")'
	$(LOWEST)/bin/python -m pytest $(SPREAD) tests/unit tests/integration tests/contract

fuzz: $(STAMP)
	$(BIN)/python -m pytest -m fuzz

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory typecheck

# The public face has types, all of it, and the examples fit them. PYTHONPATH: of an editable
# install pyright takes the modules, but does not see py.typed.
typecheck: $(STAMP)
	PYTHONPATH=src $(BIN)/pyright --pythonpath $(BIN)/python --verifytypes asynclive --ignoreexternal
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(BENCH_STAMP)
	$(BIN)/python -m perf all --short $(ARGS)

bench-full: $(BENCH_STAMP)
	$(BIN)/python -m perf all $(ARGS)

# Into site/, for site/index.html or any server of files. Any warning is an error.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# On http://127.0.0.1:8000, made anew when a page is saved.
docs-serve: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# Into dist/, and tried in an environment that has nothing else.
dist: $(DIST_STAMP)
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/smoke.py dist/*.whl dist/*.tar.gz

clean:
	rm -rf $(VENV) $(LOWEST) dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
