# Everything a fresh machine needs: Python ≥ 3.11, pip and make.
#   make demo      train, distil, evaluate and compare on embedded street scenes
#   make web       the page that runs models in browsers, built into the package; needs Node.js and npm
#   make test      the tests, under 10 minutes on two cores
#   make test-all  also the heavy ones
#   make test-312  the tests on Python 3.12, in an environment of their own, where that is installed
#   make lint      ruff, strict types, no pin of a release that is known to be bad, and the documentation
#   make docs      the documentation as a site, in build/site; warnings are errors
#   make install   the environment with all extras and the test oracles

PYTHON ?= python3
PYTHON312 ?= python3.12
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
DEMO ?= demo

.PHONY: demo web test test-all test-312 lint docs install

demo: $(RUNTIME)
	$(BIN)/effiseg demo --out $(DEMO)

web:
	cd web && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent build

test: $(DEVELOPMENT)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not heavy" -n 2

test-all: $(DEVELOPMENT)
	$(BIN)/python -m pytest --timeout 1800

test-312:
	@if $(PYTHON312) -c "" 2>/dev/null; then $(MAKE) test PYTHON=$(PYTHON312) VENV=.venv-312; \
	else echo "make test-312: no Python 3.12 answers to $(PYTHON312); nothing was tested on it"; fi

lint: $(DEVELOPMENT) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/check_pins.py

docs: $(DEVELOPMENT)
	$(BIN)/mkdocs build --strict --quiet

install: $(DEVELOPMENT)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "effiseg needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(DEVELOPMENT): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable ".[all]" --group dev --group docs
	touch $(RUNTIME) $@
