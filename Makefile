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
QUALITY = $(RUN)/python -m pip install --disable-pip-version-check -q --no-build-isolation -e '.[quality]'
COMPOSE := docker compose --file docker/compose.yaml
SOURCES := setup.py $(wildcard parsers/*.pyx parsers/*.pxd parsers/*.h)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install start logs health generate-data stop test-deploy test-coverage lint-fix \
  security sbom wheels release-check \
  setup-local test test-unit test-integration test-crash lint types fuzz asan \
  build wheel golden docs benchmark clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1  /p' $(MAKEFILE_LIST) | awk '{ printf "  %-18s", $$1; $$1 = ""; print }'

install: $(BUILT)  ## environment, extension modules and the tools of development
	@$(MAKE) --no-print-directory $(TOOLS)

start:  ## the whole stack in containers: Cassandra, PostgreSQL, sidecar, monitoring; needs Docker
	@$(COMPOSE) up --build --detach --wait
	@echo "status http://127.0.0.1:8080  Grafana http://127.0.0.1:3000  Jaeger http://127.0.0.1:16686"

logs:  ## what the stack's sidecar says
	@$(COMPOSE) logs --follow --tail=100 cdc-tail

health:  ## state of every container, and what the sidecar does
	@$(COMPOSE) ps
	@$(COMPOSE) exec cdc-tail cdc-tail status

generate-data:  ## writes of a small shop to the stack's Cassandra, SECONDS=30
	@$(COMPOSE) exec cdc-tail python -m cdc_tail.local.generate --seconds $(or $(SECONDS),30)

stop:  ## end the stack; VOLUMES=1 removes its data too
	@$(COMPOSE) down $(if $(VOLUMES),--volumes)

setup-local: $(BUILT)  ## real Cassandra -> commit log -> PostgreSQL on this machine; KEEP=1 leaves it running
	@$(RUN)/cdc-tail demo

test: $(BUILT)  ## every test, with real Cassandra nodes and a real PostgreSQL
	@$(RUN)/pytest -m "not long"

test-unit: $(BUILT)  ## tests that need no server; seconds
	@$(RUN)/pytest tests/unit

test-integration: $(BUILT)  ## tests against real servers
	@$(RUN)/pytest tests/integration

test-crash: $(BUILT)  ## tests that kill processes, the long ones too; CDC_TAIL_KILLS=100, CDC_TAIL_ROUNDS=20, CDC_TAIL_HISTORIES=200
	@$(RUN)/pytest -m "crash or long"

test-deploy: $(BUILT)  ## image, compose file, chart, alerts and dashboards, by the real programs
	@$(RUN)/python -m pip install --disable-pip-version-check -q --no-build-isolation -e '.[deploy]'
	@$(RUN)/python -m tests.tools.programs
	@$(RUN)/pytest tests/deploy

lint: $(BUILT) $(TOOLS)  ## style of Python and Cython, direction of imports
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@PATH="$(CURDIR)/$(RUN):$$PATH" cython-lint parsers/*.pyx parsers/*.pxd
	@$(RUN)/lint-imports

lint-fix: $(BUILT) $(TOOLS)  ## what the linters can put right by themselves
	@$(RUN)/ruff check --fix .
	@$(RUN)/ruff format .

types: $(BUILT) $(TOOLS)  ## mypy --strict
	@$(RUN)/mypy

asan: $(BUILT)  ## tests of the compiled modules under address and undefined-behaviour sanitizers
	@tests/tools/asan.sh

build: $(BUILT)  ## environment and extension modules, in place

test-coverage: $(BUILT)  ## lines of Python and Cython that tests reach; COVER="tests/unit" for a part
	@$(QUALITY)
	@tests/tools/coverage.sh $(COVER)

security: $(BUILT)  ## known weaknesses of dependencies, and doubtful code
	@$(QUALITY)
	@$(RUN)/bandit -q -r cdc_tail sinks checkpoints parsers -c pyproject.toml
	@$(RUN)/python -m tests.tools.audit

sbom: $(BUILT)  ## bill of materials of an installation, CycloneDX, in build/sbom.json
	@$(QUALITY)
	@mkdir -p build && rm -rf build/sbom-environment && $(RUN)/python -m venv build/sbom-environment
	@# What the project needs, not the project: that would compile it anew.
	@$(RUN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *(one for extra in ("encryption", "tracing", "vault") for one in p["optional-dependencies"][extra]), sep="\n")' \
	  | build/sbom-environment/bin/pip install --disable-pip-version-check -q -r /dev/stdin
	@build/sbom-environment/bin/pip uninstall --disable-pip-version-check -q -y pip setuptools
	@$(RUN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-file build/sbom.json build/sbom-environment/bin/python
	@rm -r build/sbom-environment

wheels: $(ENVIRONMENT)  ## manylinux wheels of every Python, by cibuildwheel; needs Docker
	@$(RUN)/python -m pip install --disable-pip-version-check -q 'cibuildwheel>=2.22'
	@$(RUN)/cibuildwheel --platform linux --output-dir dist

release-check: $(BUILT)  ## TAG=v1.2.3: program, chart and changelog agree; notes in build/release-notes.md
	@test -n "$(TAG)" || { echo "Which one? make release-check TAG=v1.2.3"; exit 2; }
	@$(RUN)/python -m tests.tools.release $(TAG) build/release-notes.md

wheel: $(ENVIRONMENT)  ## dist/cdc_tail-*.whl
	@$(RUN)/pip wheel -q --no-deps --wheel-dir dist .

fuzz: $(BUILT)  ## the decoder under libFuzzer, ASan and UBSan: FUZZ_SECONDS=3600 of CPU; needs clang
	@$(RUN)/python -m tests.fuzz

golden: $(BUILT)  ## record the golden segments that are missing, with real nodes
	@$(RUN)/python -m tests.tools.record --missing

benchmark: $(BUILT) $(BENCH)  ## everything that is said to be fast, measured; BENCHMARK="apply --quick" for less
	@$(RUN)/python -m benchmarks $(BENCHMARK)

docs: $(BUILT)  ## write the generated pages and dashboards anew, build the site into build/site
	@$(RUN)/python -m cdc_tail.reference_pages .
	@$(RUN)/python -m deploy.dashboards
	@$(RUN)/python -c 'import material' 2>/dev/null || $(RUN)/python -m pip install \
	  --disable-pip-version-check -q --no-build-isolation -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict --quiet

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
