# Every target sets up what it needs. Nothing but python3 (3.11 to 3.13) and make has to be there.
#   make demo    the whole thing on this machine, no cloud: events in, pipeline runs out, a table of what happened
#   make test    all tests, with coverage          make lint    formatting, lint, types
#   make soak    five thousand events against faults of all kinds and hosts that are killed; SOAK="--minutes 10" for more
#   make start   the function app on port 7071     make ado     the Azure DevOps emulator on port 7080
.DEFAULT_GOAL := help
.PHONY: help demo test soak lint format start ado azurite clean

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)

help:
	@sed -n '2,5s/^#   //p' Makefile

$(READY): requirements.txt requirements-tools.txt requirements-dev.txt constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "nextstage needs Python 3.11, 3.12 or 3.13 on the PATH, or PYTHON=/path/to/python"; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "installing the pinned requirements into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
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

test: $(READY) azurite
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

soak: $(READY) azurite
	@$(BIN)/python -m devstack.soak $(SOAK)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

local.settings.json:
	cp local.settings.sample.json $@

# Core Tools where they are installed, else our own stand-in: the same URLs.
start: $(READY) local.settings.json
	@if command -v func >/dev/null; then . $(BIN)/activate && exec func start --port 7071; \
	else exec $(BIN)/python -m devstack.host --port 7071; fi

ado: $(READY)
	@exec $(BIN)/python -m devstack.ado --port 7080

clean:
	rm -rf $(VENV) devstack/azurite/node_modules .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
