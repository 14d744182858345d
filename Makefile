# The words of this project. Everything is installed into .venv; only Python ≥ 3.11 is needed.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= all,test

.PHONY: setup demo test check slow bench clean

setup: .venv/.stamp-$(subst $(comma),-,$(EXTRAS))  ## install headstart into .venv

comma := ,
.venv/.stamp-%: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("headstart needs Python 3.11 or later") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[$(subst -,$(comma),$*)]'
	touch $@

demo: setup  ## generate the bags, run every arm, write the report
	$(BIN)/headstart demo --out runs/demo

test: setup check  ## everything that CI holds
	$(BIN)/python -m pytest

check: setup  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: setup  ## the long trials
	$(BIN)/python -m pytest -m slow

clean:  ## forget the environment and the runs
	rm -rf .venv runs
