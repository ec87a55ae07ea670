# Everything runs in .venv, made here from Python >= 3.11 and wheels; no compiler is needed.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXAMPLE := examples/gloo-ddp-input-fault
PYTEST_ARGS ?=
SPREAD := -n auto --maxprocesses 8 --dist worksteal

.PHONY: help demo test soak check env clean

help:
	@echo "make demo   audit a recorded job of examples/ and write a briefing to demo-audit/"
	@echo "make test   run the tests (LOADPATH_DATA=FOLDER adds those on further recordings)"
	@echo "make soak   read damaged and hostile records by the thousand (LOADPATH_SOAK_SEED=N: others)"
	@echo "make check  formatting, lint, import contracts, types, docstrings, dependencies"
	@echo "make env    only make $(VENV)"
	@echo "make clean  remove $(VENV), caches and demo-audit/"

demo: $(VENV)/.core
	@$(BIN)/loadpath audit $(EXAMPLE) --out demo-audit --force
	@test -s demo-audit/briefing.html
	@echo "The briefing: $(CURDIR)/demo-audit/briefing.html"

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(SPREAD) $(PYTEST_ARGS)

soak: $(VENV)/.dev
	@$(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@$(BIN)/numpydoc lint $$(find src -name '*.py' | sort)
	@$(BIN)/deptry src

env: $(VENV)/.dev

$(VENV)/.core: pyproject.toml
	@test -n "$(PYTHON)" || { echo "loadpath needs Python 3.11 or newer, and no python3 on PATH is. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "loadpath needs Python 3.11 or newer; $(PYTHON) is older. Name a newer one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Making $(VENV) (once; about a minute) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --prefer-binary --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@$(PIP) install --prefer-binary --group dev
	@touch $@

clean:
	@rm -rf $(VENV) demo-audit .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
