# Every target sets up what it needs. Nothing but python3 (3.11 to 3.13) and make has to be there.
#   make demo    the whole thing on this machine, no cloud: events in, pipeline runs out, a table of what happened
#   make test    all tests                         make lint    formatting, lint, types
#   make coverage   all tests, and how much of the code they run
#   make test-long   all tests with larger numbers: more examples, more rounds, longer outages
#   make soak    five thousand events against faults of all kinds and hosts that are killed; SOAK="--minutes 10" for more
#   make start   the function app on port 7071     make ado     the Azure DevOps emulator on port 7080
#   make package the zip as it is deployed         make test-all   the tests on each Python from 3.11 to 3.13 there is
#   make bench   what it takes, against the alternatives, in a quarter of an hour; BENCH=--quick for a look, BENCH=--help
.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-long test-all soak bench burst lint format docs start ado azurite runtime aml package clean

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)

# The Python of one version, from the PATH or from pyenv. Each is tried: pyenv's shims are there without their Python.
find_python = $(shell for python in python$(1) python3 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(1)*/bin/python; do \
	$$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(1)")' 2>/dev/null && echo $$python && break; done)

help:
	@sed -n '2,9s/^#   //p' Makefile

$(READY): requirements.txt requirements/tools.txt requirements/dev.txt constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "nextstage needs Python 3.11, 3.12 or 3.13 on the PATH, or PYTHON=/path/to/python"; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "installing the pinned requirements into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

# What only the measurements need, and their tests.
MEASURING := $(VENV)/.measuring
$(MEASURING): requirements/bench.txt constraints.txt $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt
	@touch $@

demo: $(READY)
	@$(BIN)/python -m devstack.demo

# Azure Table storage on this machine, where npm is there to install it.
AZURITE := devstack/azurite/node_modules/.package-lock.json
azurite: $(if $(shell command -v npm),$(AZURITE))

$(AZURITE): devstack/azurite/package-lock.json
	@echo "installing Azurite into devstack/azurite …"
	@npm ci --prefix devstack/azurite --no-audit --no-fund --loglevel=error
	@touch $@

# Microsoft's Functions runtime, and nothing of the app: Azure deploys on Python 3.13.
RUNTIME := .venv-runtime
runtime:
	@if [ -n "$(call find_python,3.13)" ]; then $(MAKE) --no-print-directory $(RUNTIME)/.ready; \
	else echo "$(NO_3_13): the tests on Microsoft's Functions runtime do not run"; fi

NO_3_13 = there is no Python 3.13 on the PATH or under $${PYENV_ROOT:-~/.pyenv}/versions

$(RUNTIME)/.ready: requirements/runtime.txt requirements.txt constraints.txt
	@if [ -z "$(call find_python,3.13)" ]; then echo "$(NO_3_13)"; exit 1; fi
	@$(call find_python,3.13) -m venv $(RUNTIME)
	@echo "installing Microsoft's Functions runtime into $(RUNTIME) …"
	@$(RUNTIME)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/runtime.txt
	@touch $@

package: $(READY) $(RUNTIME)/.ready
	@$(BIN)/python -m devstack.package --python $(RUNTIME)/bin/python

# The Azure ML SDK; why apart, is said in requirements/aml.txt.
AML := .venv-aml/.ready
aml: $(AML)

$(AML): requirements/aml.txt constraints.txt | $(READY)
	@$(PYTHON) -m venv .venv-aml
	@echo "installing the Azure ML SDK into .venv-aml …"
	@.venv-aml/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/aml.txt
	@touch $@

# Three workers suit two cores: many tests wait for processes and sockets.
PYTEST := -m pytest -n 3 --dist worksteal
# They start hundreds of processes: none should have to compile what it imports.
test test-3.%: export PYTHONDONTWRITEBYTECODE =
test: $(MEASURING) azurite runtime aml
	$(BIN)/python $(PYTEST) $(MEASURE)

# To measure takes half as long again.
coverage: MEASURE = --cov --cov-report=term
coverage: test

# With more payloads, examples and rounds, and a longer outage: tests/support/long.py.
test-long: export NEXTSTAGE_TEST_LONG = 1
test-long: test

# The same tests, one Python after the other, each with the azure-functions that belongs to it.
test-all: azurite runtime aml
	@failed=; for version in 3.11 3.12 3.13; do \
		$(MAKE) --no-print-directory test-$$version || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "test-all: failed on Python$$failed"; exit 1; fi

test-3.%: azurite runtime aml
	@$(if $(call find_python,3.$*),$(MAKE) --no-print-directory .venv-3.$*/.ready,echo "== no Python 3.$* is there")
	@if [ -e .venv-3.$*/.ready ]; then echo "== Python 3.$*"; .venv-3.$*/bin/python $(PYTEST); fi

.venv-3.%/.ready: requirements.txt requirements/tools.txt requirements/dev.txt requirements/bench.txt constraints.txt
	@$(call find_python,3.$*) -m venv .venv-3.$*
	@.venv-3.$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt -r requirements/bench.txt
	@touch $@

soak: $(READY) azurite
	@$(BIN)/python -m devstack.soak $(SOAK)

bench: $(MEASURING) azurite
	@$(BIN)/python -m bench $(BENCH)

# The simulation of a burst, and its plot.
burst: $(MEASURING)
	@$(BIN)/python -m bench.simulate

lint: $(MEASURING)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/shellcheck $$(find . -name '*.sh' -not -path './.venv*' -not -path '*/node_modules/*')

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Everything that is generated from the code: the pages on commands and settings, sample events, test.http, the schema.
docs: $(READY)
	@$(BIN)/python -m tools.command_docs
	@$(BIN)/python -m tools.settings_docs
	@$(BIN)/python -m tools.event_files

local.settings.json:
	cp local.settings.sample.json $@

# Core Tools where they are installed, else our own stand-in: the same URLs.
start: $(READY) local.settings.json
	@if command -v func >/dev/null; then . $(BIN)/activate && exec func start --port 7071; \
	else exec $(BIN)/python -m devstack.host --port 7071; fi

ado: $(READY)
	@exec $(BIN)/python -m devstack.ado --port 7080

clean:
	rm -rf $(VENV) .venv-* dist devstack/azurite/node_modules .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
