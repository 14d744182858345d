# The words of this project. Everything is installed into .venv; only Python ≥ 3.11 is needed.
PYTHON ?= python3
BIN := .venv/bin

# How many test files run at once, each on one thread.
JOBS ?= 2

.PHONY: demo demo-seeds test check slow lowest newest kills audit bench picture screenshots docs clean

demo: .venv/.installed  ## generate the bags, run every arm, write the report
	$(BIN)/headstart demo --out runs/demo

demo-seeds: .venv/.installed  ## the demo on ten sets of bags, into runs/demo-seeds.md; hours
	mkdir -p runs
	$(BIN)/python docs/studies/demo_seeds.py runs/demo-seeds > runs/demo-seeds.md

test: check  ## everything that CI holds
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

check: .venv/.installed-test  ## style, types and dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	.ci/dead_code

slow: .venv/.installed-test  ## the long trials
	$(BIN)/python -m pytest -m slow

# Old libraries warn of each other; that is not ours to mend. PYTHON=python3.13 tries another Python.
lowest:  ## the tests with the lowest versions of libraries that are allowed, in .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip compile --quiet pyproject.toml --extra all --no-deps \
	  --resolution lowest-direct -o .venv-lowest/lowest.txt
	VIRTUAL_ENV=.venv-lowest .venv-lowest/bin/uv pip install --quiet --compile-bytecode \
	  -c .venv-lowest/lowest.txt -e '.[all,test]'
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE .venv-lowest/bin/python -m pytest -W default \
	  -n $(JOBS) --dist loadfile --no-loadscope-reorder

newest:  ## the tests with the newest versions, in .venv-newest
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=.venv-newest .venv-newest/bin/uv pip install --quiet --compile-bytecode --upgrade -e '.[all,test]'
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE .venv-newest/bin/python -m pytest \
	  -n $(JOBS) --dist loadfile --no-loadscope-reorder

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

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,test]'
	touch $@

bench: .venv/.installed-test  ## the figures of benchmarks/README.md, on a CPU
	benchmarks/cpu.sh

picture:  ## draw docs/architecture.svg from the source
	$(PYTHON) docs/architecture.py

docs: .venv/.installed-docs  ## the documents as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

RUN ?= runs/demo/bags
screenshots: .venv/.installed-test  ## pictures of the report of RUN, into runs/screenshots
	$(BIN)/python docs/screenshots.py $(RUN) runs/screenshots

clean:  ## forget the environment and the runs
	rm -rf .venv runs site
