# Each target sets up .venv when needed and reuses the one that another target made.
# It needs Python 3.11 or newer and make. To choose a Python: make test PYTHON=/path/to/python3

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
DOCS_READY := $(VENV)/.installed-docs
# The first Python that is new enough; looked up only when .venv has to be made.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# What `make newest` and `make floor` run of the tests; all of them unless said otherwise: make newest TESTS="-m compat"
TESTS :=
# torch and torchvision come in pairs: the lock stops at the newest pair that everything has been run on.
LOCK_AT_MOST := 'torch<=2.14.1' 'torchvision<=0.29.1'

.PHONY: demo test lint bench docs lock newest floor clean

demo: $(READY)
	$(BIN)/python -m adaptvis demo --out out/demo

test: $(READY)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python tests/bench/bench.py

docs: $(DOCS_READY)
	$(BIN)/python docs/scripts/build.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

# Exact versions of everything, for every system and Python that is supported; the two commands install these.
lock: $(READY)
	@mkdir -p out
	@printf '%s\n' $(LOCK_AT_MOST) > out/lock-at-most.txt
	$(BIN)/uv pip compile --quiet --universal --all-extras --upgrade --no-annotate --constraints out/lock-at-most.txt \
		--custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

# The newest versions that the declared ranges allow, in an environment of its own, and whether everything holds there.
newest: $(READY)
	$(BIN)/uv venv --quiet --seed --allow-existing --python $(BIN)/python $(VENV)-newest
	$(BIN)/uv pip install --quiet --upgrade --python $(VENV)-newest/bin/python -e '.[yolo,onnx,dev]'
	$(call prove,newest)

# The lowest versions that are declared, and whether everything holds there.
floor: $(READY)
	@mkdir -p out
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(BIN)/python --extra yolo --extra onnx \
		--output-file out/floor.txt pyproject.toml
	$(BIN)/uv venv --quiet --seed --allow-existing --python $(BIN)/python $(VENV)-floor
	$(BIN)/uv pip install --quiet --python $(VENV)-floor/bin/python --constraints out/floor.txt -e '.[yolo,onnx,dev]'
	$(call prove,floor)

# The self-check of all families, the tests, and, if these were all, a row in the table of proved versions.
define prove
	$(VENV)-$(1)/bin/python -m interp selfcheck --all-families
	PROVING_VERSIONS=$(1) OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(VENV)-$(1)/bin/python -m pytest -n 2 \
		--junitxml=out/$(1).xml $(TESTS)
	$(if $(TESTS),,$(VENV)-$(1)/bin/python tests/helpers/record_versions.py $(1) out/$(1).xml)
endef

clean:
	rm -rf out site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

# A .venv whose pip does not answer was left half-made and is made again. The stamp comes last, so that an
# installation that was cut off is taken up where it stopped.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { \
	echo "no Python 3.11 or newer with venv was found: install one, or say" \
	"make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[yolo,dev]'
	@touch $@

# What builds the site comes on top of the rest, when it is first asked for.
$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt --no-build-isolation \
		-e '.[yolo,dev,docs]'
	@touch $@
