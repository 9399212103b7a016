# Each target does all the set-up that it needs, also on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := mmdebstrap uidmap util-linux
TEST_PACKAGES := $(PACKAGES) shellcheck chromium
# a folder with train/ and validation/; empty: phantoms
DATA ?=
DEMO ?= demo
# names of benches; empty: all
BENCH ?=
# more words for pytest, such as PYTEST='-k pool -x'
PYTEST ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test soak bench notebooks data docs clean
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo [DATA=DIR]   from cookiecutter to a trained network on the local pool
demo: $(VENV)/.kit
	@sh tools/need.sh $(PACKAGES)
	@$(BIN)/osgdl demo --out $(DEMO) $(if $(DATA),--data $(DATA))

## make test              what CI runs: ruff, mypy, every tier of tests
test: $(VENV)/.dev
	@sh tools/need.sh $(TEST_PACKAGES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@sh tools/test.sh $(PYTEST)

## make soak              the full count of every counted trial
soak: $(VENV)/.dev
	@sh tools/need.sh $(TEST_PACKAGES)
	@sh tools/test.sh --soak $(PYTEST)

## make bench [BENCH=step] claims of speed and quality, each beside a peer in one run; all, or those named
bench: $(VENV)/.bench
	@$(if $(filter match,$(or $(BENCH),match)),sh tools/need.sh $(PACKAGES))
	$(BIN)/python -m benchmarks.run $(BENCH)

## make notebooks         the tutorial, run from top to bottom on the local pool and stored with its outputs
notebooks: $(VENV)/.dev
	@sh tools/need.sh $(PACKAGES)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/notebooks.py notebooks/*.ipynb

## make setup             .venv alone: the kit, the trainer's libraries, the tools
setup: $(VENV)/.dev

## make data              the JSON that templates and jobs read, and the pages of docs/ that are made: rules, commands
data: $(VENV)/.kit
	$(BIN)/python -m submit.data_json
	$(BIN)/python -m tools.rules_page
	$(BIN)/python -m tools.commands_page

## make docs              the site, in build/docs; fails on a link that leads nowhere
docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet docs build/docs
	@echo build/docs/index.html

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON): Python 3.11 or newer is needed; make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || sh tools/need.sh python3-venv
	$(PYTHON) -m venv $(VENV)

# The demo trains inside the image: TensorFlow is for the tests
$(VENV)/.kit: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[train,dev,docs]'
	@touch $@ $(VENV)/.kit $(VENV)/.docs

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.kit

# The peers
$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[train,bench]'
	@touch $@ $(VENV)/.kit

## make clean             the pool down, the demo and caches of tools away; the pool's own cache stays
clean:
	-$(BIN)/osgdl pool down --yes
	rm -rf $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
