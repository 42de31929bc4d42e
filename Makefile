# Each target sets up .venv when needed and reuses the one that another target made.
# It needs Python 3.11 or newer and make. To choose a Python: make test PYTHON=/path/to/python3

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
DOCS_READY := $(VENV)/.installed-docs
# The first Python that is new enough; looked up only when .venv has to be made.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test lint bench docs clean

demo: $(READY)
	$(BIN)/python -m adaptvis demo --out out/demo

test: $(READY)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python tests/bench.py

docs: $(DOCS_READY)
	$(BIN)/python docs/build.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

clean:
	rm -rf out site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# A .venv whose pip does not answer was left half-made and is made again. The stamp comes last, so that an
# installation that was cut off is taken up where it stopped.
$(READY): pyproject.toml
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { \
	echo "no Python 3.11 or newer with venv was found: install one, or say" \
	"make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[yolo,dev]'
	@touch $@

# What builds the site comes on top of the rest, when it is first asked for.
$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[yolo,dev,docs]'
	@touch $@
