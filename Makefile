# One target per job; `make` lists them. Needs Python 3.11 to 3.13, a C compiler and git.

# The first Python that is new enough and can make environments and build extensions.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
  $$python -c 'import ensurepip, pathlib, sys, sysconfig, venv; sys.exit(not (3, 11) <= \
    sys.version_info[:2] <= (3, 13) or not pathlib.Path(sysconfig.get_path("include"), \
    "Python.h").exists())' 2>/dev/null && echo $$python && break; done)
VENV := .venv
RUN := $(VENV)/bin
# Stamps: what is up to date is not done again. A changed source rebuilds only what it reaches.
ENVIRONMENT := $(VENV)/.cdc-tail-installed
TOOLS := $(VENV)/.cdc-tail-tools
BENCH := $(VENV)/.cdc-tail-bench
BUILT := $(VENV)/.cdc-tail-built
SOURCES := setup.py $(wildcard parsers/*.pyx parsers/*.pxd parsers/*.h)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup-local test test-unit test-integration test-crash lint types fuzz asan \
  build wheel golden docs benchmark clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1  /p' $(MAKEFILE_LIST) | awk '{ printf "  %-18s", $$1; $$1 = ""; print }'

setup-local: $(BUILT)  ## real Cassandra -> commit log -> PostgreSQL on this machine; KEEP=1 leaves it running
	@$(RUN)/cdc-tail demo

test: $(BUILT)  ## every test, with real Cassandra nodes and a real PostgreSQL
	@$(RUN)/pytest

test-unit: $(BUILT)  ## tests that need no server; seconds
	@$(RUN)/pytest tests/unit

test-integration: $(BUILT)  ## tests against real servers
	@$(RUN)/pytest tests/integration

test-crash: $(BUILT)  ## tests that kill processes
	@$(RUN)/pytest tests/crash

lint: $(BUILT) $(TOOLS)  ## style of Python and Cython, direction of imports
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@PATH="$(CURDIR)/$(RUN):$$PATH" cython-lint parsers/*.pyx parsers/*.pxd
	@$(RUN)/lint-imports

types: $(BUILT) $(TOOLS)  ## mypy --strict
	@$(RUN)/mypy

asan: $(BUILT)  ## tests of the compiled modules under address and undefined-behaviour sanitizers
	@tests/tools/asan.sh

build: $(BUILT)  ## environment and extension modules, in place

wheel: $(ENVIRONMENT)  ## dist/cdc_tail-*.whl
	@$(RUN)/pip wheel -q --no-deps --wheel-dir dist .

fuzz: $(BUILT)  ## the decoder under libFuzzer, ASan and UBSan: FUZZ_SECONDS=3600 of CPU; needs clang
	@$(RUN)/python -m tests.fuzz

golden: $(BUILT)  ## record the golden segments that are missing, with real nodes
	@$(RUN)/python -m tests.tools.record --missing

benchmark: $(BUILT) $(BENCH)  ## everything that is said to be fast, measured; BENCHMARK="apply --quick" for less
	@$(RUN)/python -m benchmarks $(BENCHMARK)

docs: $(BUILT)  ## write the generated pages anew
	@$(RUN)/python -m cdc_tail.reference_pages .

clean:  ## remove what was built and the environment; downloads in the cache stay
	rm -rf build dist *.egg-info parsers/*.c parsers/*.so $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(ENVIRONMENT): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 with its headers and venv was found; name one: make PYTHON=..."; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) and building; a minute or two, once"
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@$(RUN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(RUN)/python -m pip install --disable-pip-version-check -q -r /dev/stdin
	@# With the environment's own Cython, as later builds are: else the next one builds everything.
	@$(RUN)/python -m pip install --disable-pip-version-check --no-build-isolation -e '.[test]'
	@touch $@ $(BUILT)

$(TOOLS): $(ENVIRONMENT)
	@$(RUN)/python -m pip install --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

$(BENCH): $(ENVIRONMENT)
	@# Not the project again: that would compile everything anew.
	@$(RUN)/python -c 'import tomllib; print(*(one for one in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"] if not one.startswith("cdc-tail")), sep="\n")' \
	  | $(RUN)/python -m pip install --disable-pip-version-check -q -r /dev/stdin
	@touch $@

$(BUILT): $(ENVIRONMENT) $(SOURCES)
	@# A fresh environment comes with them built, which make could not know when it began.
	@if [ ! -e $@ ] || [ -n "$$(find $(SOURCES) -newer $@)" ]; then \
	  echo "Building the extension modules"; $(RUN)/python setup.py -q build_ext --inplace; fi
	@touch $@
