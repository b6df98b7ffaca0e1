# Each target installs what it needs, the tools for tests only when you run tests. You only need make and Python 3.11, 3.12 or 3.13.
#
#   make setup       install what the demo, the commands (manage.py) and the local app need, and make local.settings.json
#   make demo        run everything locally: deliver events, queue runs in an emulator, show what happened; PAGE=1 adds a page
#   make start       run the function app on port 7071 (PORT=N for another one)
#   make ado         run the Azure DevOps emulator on port 7080 (ADO_PORT=N); PIPELINES=FILE for pipelines without a file
#   make routes      check routes.yaml, and run the cases of routes.test.yaml; JUNIT=FILE also writes the results there
#   make lint        check formatting, code, types, shell scripts, workflows and spelling
#   make bicep       check infra/ with Microsoft's Bicep compiler, if you have it; BICEP=--write writes what differs
#   make format      let ruff fix and format the code
#   make test        run all tests, except the longest
#   make coverage    run the tests; fail if they run less than 95 % of the code
#   make test-long   run all tests, with more examples, more rounds and longer outages
#   make test-all    run the tests on each Python from 3.11 to 3.13 that is installed
#   make soak        deliver events with faults of all kinds, killed hosts and wrong clocks; SOAK=--help for less or more
#   make bench       compare with the alternatives, in a quarter of an hour; BENCH=--quick for a first look
#   make burst       simulate a burst of a million events, in some minutes
#   make screenshots take the pictures of the operator's page in docs/, with Chromium or Chrome
#   make docs        write the files that are generated from the code
#   make package     build the zip that is deployed, for the app's Python (NEXTSTAGE_PYTHON_VERSION, by default 3.13)
#   make lock        write the lists of packages with hashes, after a change of the app's or the tools' requirements
#   make clean       delete what these targets have installed and built
.DEFAULT_GOAL := help
.PHONY: help setup demo routes test coverage test-long test-all soak bench burst screenshots lint bicep format docs start ado azurite kusto axe runtime aml mlflow package lock clean

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TESTS_READY := $(VENV)/.tests-ready
INSTALL := -m devstack.install
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)

# Finds Python in one version, on the PATH or in pyenv. Each candidate is run, since a shim of pyenv may have no Python.
find_python = $(shell for python in python$(1) python3 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(1)*/bin/python; do \
	$$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(1)")' 2>/dev/null && echo $$python && break; done)

help:
	@sed -n 's/^#   make/make/p' Makefile

# Less than 100 MB. Modules are compiled when they are first imported, since most never are.
$(READY): requirements.txt requirements/tools.txt requirements/page.txt requirements/devstack.txt constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "nextstage needs Python 3.11, 3.12 or 3.13 on the PATH, or PYTHON=/path/to/python"; exit 1; fi
	@$(PYTHON) $(INSTALL) $(VENV) --no-compile -r requirements/devstack.txt
	@touch $@

setup: $(READY) local.settings.json

# Additional packages for the tests and checks.
$(TESTS_READY): requirements/dev.txt constraints.txt $(READY)
	@$(BIN)/python $(INSTALL) $(VENV) -r requirements/dev.txt
	@touch $@

# Additional packages for the benchmarks and their tests.
BENCH_READY := $(VENV)/.bench-ready
$(BENCH_READY): requirements/bench.txt constraints.txt $(TESTS_READY)
	@$(BIN)/python $(INSTALL) $(VENV) -r requirements/bench.txt
	@touch $@

demo: $(READY)
	@$(BIN)/python -m devstack.demo $(if $(PAGE),--page)

routes: $(READY)
	@$(BIN)/python manage.py check
	@$(BIN)/python manage.py test $(if $(JUNIT),--junit-xml "$(JUNIT)")

# Azure Table storage, emulated locally; Microsoft's language service for Kusto, which checks the queries; and axe-core,
# which checks the accessibility of pages. Installed only if npm is available.
NPM_READY := node_modules/.package-lock.json
azurite: $(if $(shell command -v npm),devstack/azurite/$(NPM_READY))
kusto: $(if $(shell command -v npm),devstack/kusto/$(NPM_READY))
axe: $(if $(shell command -v npm),devstack/axe/$(NPM_READY))

devstack/%/$(NPM_READY): devstack/%/package-lock.json
	@echo "installing the npm packages of devstack/$* …"
	@npm ci --prefix devstack/$* --no-audit --no-fund --loglevel=error
	@touch $@

# Microsoft's Functions runtime, without the app's packages. On Python 3.13, as in Azure.
RUNTIME := .venv-runtime
runtime:
	@if [ -n "$(call find_python,3.13)" ]; then $(MAKE) --no-print-directory $(RUNTIME)/.ready; \
	else echo "$(call no_python,3.13): the tests on Microsoft's Functions runtime are skipped"; fi

no_python = Python $(1) was not found on the PATH or in $${PYENV_ROOT:-~/.pyenv}/versions

$(RUNTIME)/.ready: requirements/runtime.txt requirements.txt constraints.txt
	@if [ -z "$(call find_python,3.13)" ]; then echo "$(call no_python,3.13)"; exit 1; fi
	@$(call find_python,3.13) $(INSTALL) $(RUNTIME) -r requirements/runtime.txt
	@touch $@

# The app's Python in Azure, which must be on this machine to compile the modules. Everything is installed with hashes.
APP_PYTHON := $(or $(NEXTSTAGE_PYTHON_VERSION),3.13)
PACKAGE := .venv-package
package: $(PACKAGE)/.ready
	@if [ -z "$(call find_python,$(APP_PYTHON))" ]; then echo "$(call no_python,$(APP_PYTHON))"; exit 1; fi
	@$(PACKAGE)/bin/python -m devstack.package --python-version $(APP_PYTHON) --python "$(call find_python,$(APP_PYTHON))"

$(PACKAGE)/.ready: requirements/package.txt
	@$(PYTHON) $(INSTALL) $(PACKAGE) --require-hashes -r requirements/package.txt
	@touch $@

# Lists of packages with all that they depend on: what is deployed, for each Python that an app in Azure can have; what
# packages it; and what azd installs for the hooks, on any system.
LOCK := .venv-lock
compile = $(LOCK)/bin/uv pip compile --quiet --no-config --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'
lock:
	@$(PYTHON) $(INSTALL) $(LOCK) -r requirements/lock.txt
	@for version in 3.12 3.13; do \
		$(compile) requirements.txt --output-file requirements/azure-$$version.txt --only-binary :all: \
			--python-version $$version --python-platform x86_64-manylinux_2_28 || exit 1; \
	done
	@echo pathspec | $(compile) - --constraints constraints.txt --universal --output-file requirements/package.txt
	@$(compile) requirements/tools.txt requirements/package.txt --constraints constraints.txt --universal \
		--python-version 3.11 --output-file infra/hooks/requirements.txt

# The Azure ML SDK. requirements/aml.txt says why it has its own environment.
AML := .venv-aml/.ready
aml: $(AML)

$(AML): requirements/aml.txt constraints.txt | $(READY)
	@$(PYTHON) $(INSTALL) .venv-aml -r requirements/aml.txt
	@touch $@

# A local MLflow server, and the packages of the sample training. requirements/mlflow.txt explains both.
MLFLOW := .venv-mlflow/.ready
mlflow: $(MLFLOW)

$(MLFLOW): requirements/mlflow.txt components/digits/conda.yml | $(READY)
	@mkdir -p .venv-mlflow && sed -n 's/^      - //p' components/digits/conda.yml > .venv-mlflow/digits.txt
	@$(PYTHON) $(INSTALL) .venv-mlflow --no-deps --no-compile -r .venv-mlflow/digits.txt -r requirements/mlflow.txt
	@touch $@

# Four workers suit two cores: many tests wait for processes and sockets.
PYTEST := -m pytest -n 4 --dist worksteal
# The tests start hundreds of processes, so let them write and share bytecode.
test test-3.%: export PYTHONDONTWRITEBYTECODE =
test: $(BENCH_READY) azurite kusto axe runtime aml
	$(BIN)/python $(PYTEST) $(MEASURE)

# Measuring coverage takes half as long again.
coverage: MEASURE = --cov --cov-report=term
coverage: test

# The numbers are in the tests: see tests/support/effort.py.
test-long: export NEXTSTAGE_TEST_LONG = 1
test-long: mlflow test

# One Python after the other, each with its version of azure-functions.
test-all: azurite kusto axe runtime aml mlflow
	@failed=; for version in 3.11 3.12 3.13; do \
		$(MAKE) --no-print-directory test-$$version || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "test-all: failed on Python$$failed"; exit 1; fi

test-3.%: azurite kusto axe runtime aml mlflow
	@$(if $(call find_python,3.$*),$(MAKE) --no-print-directory .venv-3.$*/.ready,echo "== Python 3.$* was not found")
	@if [ -e .venv-3.$*/.ready ]; then echo "== Python 3.$*"; .venv-3.$*/bin/python $(PYTEST); fi

.venv-3.%/.ready: requirements.txt constraints.txt $(patsubst %,requirements/%.txt,tools page devstack dev bench)
	@$(call find_python,3.$*) $(INSTALL) .venv-3.$* -r requirements/dev.txt -r requirements/bench.txt
	@touch $@

soak: $(READY) azurite
	@$(BIN)/python -m devstack.soak $(SOAK)

bench: $(BENCH_READY) azurite
	@$(BIN)/python -m bench $(BENCH)

burst: $(BENCH_READY)
	@$(BIN)/python -m bench.simulate

screenshots: $(BENCH_READY)
	@$(BIN)/python -m bench.screenshots

lint: $(BENCH_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/shellcheck $$(find . -name '*.sh' -not -path './.venv*' -not -path '*/node_modules/*')
	@if [ -x $(BIN)/actionlint ]; then set -x; $(BIN)/actionlint -shellcheck $(BIN)/shellcheck .github/workflows/*.yml; \
	else echo "actionlint has no package for this system: CI checks the workflows with it"; fi
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/codespell

# The compiler that azd has downloaded, or another one: see devstack/bicep.py.
bicep: $(READY)
	@$(BIN)/python -m devstack.bicep $(BICEP)

format: $(TESTS_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages on commands and settings, the sample events, test.http and the schema.
docs: $(READY)
	@$(BIN)/python -m tools.command_docs
	@$(BIN)/python -m tools.settings_docs
	@$(BIN)/python -m tools.event_files

PORT     ?= 7071
ADO_PORT ?= 7080

local.settings.json:
	cp local.settings.sample.json $@

# Core Tools if they are installed, otherwise the stand-in host. Both have the same URLs.
start: $(READY) local.settings.json
	@if command -v func >/dev/null; then . $(BIN)/activate && exec func start --port $(PORT); \
	else exec $(BIN)/python -m devstack.host --port $(PORT); fi

ado: $(READY)
	@exec $(BIN)/python -m devstack.ado --port $(ADO_PORT) $(if $(PIPELINES),--pipelines "$(PIPELINES)")

clean:
	rm -rf $(VENV) .venv-* dist devstack/*/node_modules .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
