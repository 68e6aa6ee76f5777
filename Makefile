# Yunku: every command of the project. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
UV     := $(VENV)/bin/uv
STAMPS := $(VENV)/.stamps

# The directories that hold our own Python; those that do not exist are left out.
PACKAGES := $(wildcard kernel services infra catalogue ops samples demo tests)
PROTOS   := $(shell find proto -name '*.proto' 2>/dev/null | LC_ALL=C sort)

# Arguments for `make test`, e.g. make test ARGS='tests/unit -k seal'
ARGS ?=
# Test processes of `make test`: most tests wait for servers, so two fill two cores; each has suites of its own
PROCESSES ?= 2
# Number of kills for `make chaos`
N ?= 300

.PHONY: help
help:  ## this list
	@awk 'BEGIN {FS = ":.*  ## "} /^[a-z-]+:.*  ## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# ---- installing -----------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMPS)/lock $(STAMPS)/proto $(STAMPS)/install $(STAMPS)/system $(STAMPS)/fonts  ## install everything into .venv (instant when nothing changed)

$(VENV)/bin/uv: infra/requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Yunku needs Python 3.11 or newer, this is " + sys.version)'
	@test -x $(PY) || { echo "setup: virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/requirements-uv.lock
	@touch $@

$(STAMPS)/lock: requirements.lock $(VENV)/bin/uv
	@echo "setup: packages of requirements.lock"
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	@mkdir -p $(STAMPS)
	@rm -f $(STAMPS)/install
	@touch $@

# Generated code appears all at once, so that nobody imports half of it.
$(STAMPS)/proto: $(PROTOS) $(STAMPS)/lock
	@echo "setup: messages and stubs of proto/ into gen/"
	@new=$$(mktemp -d $(VENV)/gen.XXXXXX); chmod 755 "$$new"; \
	test -z "$(PROTOS)" || PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m grpc_tools.protoc -I proto \
		--python_out="$$new" --mypy_out=quiet:"$$new" --grpc_python_out="$$new" --mypy_grpc_out=quiet:"$$new" $(PROTOS); \
	old=$$(mktemp -d $(VENV)/gen.XXXXXX); test ! -d gen || mv gen "$$old"; mv "$$new" gen; rm -rf "$$old"
	@touch $@

# The editable install gives the `yunku` command; the .pth makes the repository and gen/ importable from anywhere,
# packages that appear later included (setuptools' own finder knows only those that existed when it ran).
$(STAMPS)/install: pyproject.toml $(STAMPS)/lock $(STAMPS)/proto
	@echo "setup: the yunku command"
	@$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@printf '%s\n' "$(CURDIR)" "$(CURDIR)/gen" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/yunku-tree.pth"
	@touch $@

$(STAMPS)/system: infra/setup/system.sh $(STAMPS)/lock
	@infra/setup/system.sh $(VENV)
	@touch $@

$(STAMPS)/fonts: $(wildcard samples/fonts.py) $(STAMPS)/install
	@test ! -f samples/fonts.py || { echo "setup: Chinese fonts for the sample generator"; $(PY) -W ignore -m samples.fonts ensure >/dev/null; }
	@touch $@

.PHONY: proto
proto: $(STAMPS)/proto  ## generate messages and stubs from proto/ into gen/

.PHONY: lock
lock: $(VENV)/bin/uv  ## resolve requirements*.in again into requirements.lock (hashes, no index addresses)
	@$(UV) pip compile requirements.in requirements-dev.in --generate-hashes --no-emit-index-url --universal \
		--python-version 3.11 --quiet -o requirements.lock

# ---- running --------------------------------------------------------------------------------------------------------

# With REGISTER=1 the demo company's register is filled as soon as the suite is ready, beside it.
.PHONY: up
up: setup  ## start everything in the foreground; Ctrl-C stops it. REGISTER=1 also fills the demo company's register
	@$(if $(REGISTER),($(PY) -m demo.register --wait 300 &);) exec $(PY) -m infra.supervisor up

.PHONY: start
start: setup  ## the same in the background; returns when ready
	@$(PY) -m infra.supervisor start

.PHONY: stop
stop:  ## stop what `make start` started
	@test ! -x $(PY) || $(PY) -m infra.supervisor stop

.PHONY: status
status:  ## processes, ports and health of the running suite
	@$(PY) -m infra.supervisor status

.PHONY: demo
demo: setup  ## run the main job against the running suite as an outside client, then fill the register
	@$(PY) -m demo
	@$(PY) -m demo.register

.PHONY: register
register: setup  ## fill the demo company's register in all nine modules (again: makes nothing twice)
	@$(PY) -m demo.register

.PHONY: docs
docs: setup  ## make the generated documents anew: settings, errors, catalogue, states, OpenAPI, AsyncAPI
	@$(PY) -m kernel.settings
	@$(PY) -m ops.errors_document
	@$(PY) -m ops.catalogue_document
	@$(PY) -m ops.states_document
	@$(PY) -m services.gateway.openapi > docs/openapi.json
	@$(PY) -m ops.asyncapi

# ---- proving --------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: setup  ## ruff, mypy --strict, import rules, buf lint
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy $(PACKAGES)
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/buf lint proto

# pytest's closing line must stay the last one; its exit code 5 (no test ran) is a failure like any other.
.PHONY: test
test: setup lint  ## everything: lint, then all tests on an embedded stack of their own
	@$(PY) -m pytest -n $(PROCESSES) --dist loadfile $(ARGS)

.PHONY: bench
bench: setup  ## measure and print figures and ratios
	@$(PY) -m tests.bench

.PHONY: bench-lists
bench-lists: setup  ## lists over 1,000,000 certificates: figures beside the limit, and the plans
	@$(PY) -m tests.bench.bench_lists

.PHONY: chaos
chaos: setup  ## kill -9 processes at random points under load, N times, then check all invariants
	@YUNKU_CHAOS_KILLS=$(N) $(PY) -m pytest tests/chaos --timeout=0 -s $(ARGS)
