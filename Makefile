# `make` alone lists what there is. The environment is made on first use: with uv where it is installed, else with
# python3 -m venv and pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
SEEDS ?= 10000
FROM ?= 1
.PHONY: help run test simulate mutants chaos check fmt lint type openapi bench clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: $(VENV)/installed ## run the example goal: a swarm audits this Python environment
	PURSUIT_SANDBOX=$${PURSUIT_SANDBOX:-$$($(BIN)/python -c 'from config.sandbox import probe; print("none" if probe() else "bubblewrap")')} \
	$(BIN)/pursuit run --file examples/audit/goal.yaml --input env=$(VENV) --out results/audit

test: $(VENV)/installed ## run the tests
	@# real time, real processes: a machine that stands still for a moment gets a second try, which is shown
	$(BIN)/python -m pytest --reruns 1 tests/chaos tests/end_to_end
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/store tests/simulation tests/mutants tests/upgrade

simulate: $(VENV)/installed ## the simulator over SEEDS=10000 seeds, from FROM=1 on
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM)

mutants: $(VENV)/installed ## break one line at a time: who notices?
	$(BIN)/python -m tests.mutants

chaos: $(VENV)/installed ## all of the chaos tests, with those that take minutes; about half an hour
	$(BIN)/python -m pytest tests/chaos -m "long or not long"

check: lint type test ## what CI runs

fmt: $(VENV)/installed ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/installed ## style and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

type: $(VENV)/installed ## types
	$(BIN)/mypy

openapi: $(VENV)/installed ## write docs/openapi.json anew, after a meant change of the API
	$(BIN)/python -m tests.openapi

bench: $(VENV)/installed ## the figures of docs/performance.md
	$(BIN)/python -m benchmarks

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache results

$(VENV)/installed: pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@
