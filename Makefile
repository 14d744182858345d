# The words of this project. Everything is installed into .venv; only Python ≥ 3.11 is needed.
PYTHON ?= python3
BIN := .venv/bin

# How many test files run at once, each on one thread.
JOBS ?= 2

.PHONY: demo demo-seeds test check slow kills audit bench picture screenshots clean

demo: .venv/.installed  ## generate the bags, run every arm, write the report
	$(BIN)/headstart demo --out runs/demo

demo-seeds: .venv/.installed  ## the demo on ten sets of bags, into runs/demo-seeds.md; hours
	mkdir -p runs
	$(BIN)/python docs/studies/demo_seeds.py runs/demo-seeds > runs/demo-seeds.md

test: check  ## everything that CI holds
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: .venv/.installed-test  ## style, types and dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	.ci/dead_code

slow: .venv/.installed-test  ## the long trials
	$(BIN)/python -m pytest -m slow

kills: .venv/.installed-test  ## a small study killed sixty times; prints where, and what differed
	$(BIN)/python tests/kill_harness.py --kills 60

audit: .venv/.installed-test  ## known holes in what is installed, where they can be asked for
	.ci/audit

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "headstart needs Python 3.11 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing headstart into .venv: some minutes and gigabytes, once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,test]'
	touch $@

bench: .venv/.installed-test  ## the figures of benchmarks/README.md, on a CPU
	benchmarks/cpu.sh

picture:  ## draw docs/architecture.svg from the source
	$(PYTHON) docs/architecture.py

RUN ?= runs/demo/bags
screenshots: .venv/.installed-test  ## pictures of the report of RUN, into runs/screenshots
	$(BIN)/python docs/screenshots.py $(RUN) runs/screenshots

clean:  ## forget the environment and the runs
	rm -rf .venv runs
