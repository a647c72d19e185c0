# Everything from a bare clone; needs Python 3.11 or newer with venv, and make. `make PYTHON=python3.12 ...` picks one.

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
READY := .venv/.ready
LOCK := requirements.lock
BENCHMARKS = $(subst _,-,$(sort $(basename $(notdir $(shell grep -l '^ *figure."' benchmarks/*.py)))))
UV_VERSION = $(shell sed -n 's/^uv==\([^ ]*\).*/\1/p' $(LOCK))

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-slow lint format bench docs lock clean

help:
	@echo "make demo        the whole way, from a synthetic cortex to an analyst's answers"
	@echo "make serve       the Dagster UI, the API and the file server on what the demo made"
	@echo "make test        the fast tests;  make test-slow: the others"
	@echo "make lint        ruff and mypy;  make format: ruff's repairs"
	@echo "make bench NAME=$$(echo $(BENCHMARKS) | tr ' ' '|')"
	@echo "make docs        write docs/reference/ anew from the code"
	@echo "make lock        pin the dependencies anew;  make clean: remove what these made"

setup: $(READY)

demo: $(READY)
	$(BIN)/feature-registry demo

serve: $(READY)
	$(BIN)/feature-registry up --dagster

test: $(READY)
	$(BIN)/pytest -m "not slow" -n $(JOBS) --dist worksteal

# The Dagster UI is looked at in Debian's Chromium; without it, those tests are skipped and say so.
test-slow: $(READY)
	@test -x /usr/bin/chromium || { test "$$(id -u)" = 0 && apt-get install -qq -y chromium > /dev/null; } || \
		echo "no Chromium, so the Dagster UI is not tested; on Debian: apt-get install chromium" >&2
	$(BIN)/pytest -m slow

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	@test -n "$(filter $(NAME),$(BENCHMARKS))" || { echo "Which one? NAME= one of $(BENCHMARKS)" >&2; exit 2; }
	$(BIN)/python -m benchmarks.$(subst -,_,$(NAME))

docs: $(READY)
	$(BIN)/python -m docs.generate

# No address of an index is written: the lock serves whoever uses a mirror.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header pyproject.toml --output-file $(LOCK)
	@! grep -n '://' $(LOCK) || { echo "$(LOCK) holds an address" >&2; exit 1; }

clean:
	rm -rf .venv .feature_registry .dagster .bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find feature_registry feature_registry_tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than 3.11; name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# uv takes seconds where pip takes minutes; pip does it where uv cannot be had or does not reach the index.
# --no-deps: the lock is complete, and pip takes no `name[extra]` for the locked `name` where hashes are required.
$(READY): $(BIN)/python $(LOCK) pyproject.toml
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || \
		echo "no uv; pip takes its place, which is slower"
	@echo "installing $(LOCK) into .venv"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --requirement $(LOCK) || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
