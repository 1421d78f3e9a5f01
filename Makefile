# The commands for developers. Each target makes everything it needs, including virtual environments; stamp files let a
# second run skip finished steps. CONTRIBUTING.md explains the rest.
#
#   make demo         the example gateway on real HTTP traffic, about 20 s; leaves demo.sqlite3
#   make test         the tests, on the wheel as built     (PYTEST_ARGS="-k ledger -x" to choose)
#   make servers      the servers that tests need, into a cache outside this folder: once, some minutes
#   make test-servers the tests of today's InfluxDB 1.13 and 2.7, which take a quarter of an hour to build, once
#   make check        every static check
#   make coverage     the tests again, with branch coverage; fails below `fail_under` in pyproject.toml
#   make test-oldest  the tests on the oldest trio and attrs that pyproject.toml allows
#   make bench        the cost of recording, alongside other clients; 5 min, or under one with QUICK=1    (BENCH_ARGS="…")
#   make format       fixes the faults that ruff can fix
#   make dist         the sdist and the wheel
#   make clean        away with everything that is made

PYTHON ?= python3
VENV ?= .venv
VENV_CHECK ?= .venv-check
VENV_OLDEST ?= .venv-oldest
VENV_BENCH ?= .venv-bench
PYTEST_ARGS ?=
# Tests run in as many processes as there are cores, and one more: the servers' tests, all in one process, mostly wait.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() or 1, 8) + 1)')
BENCH_ARGS ?=
QUICK ?=
comma := ,
PYTHON_FOLDERS := trio_batchmetrics tests examples tools benchmarks

# What the wheel is made of. Folders are listed too, so that a deleted file counts as a change.
SOURCES := $(shell find trio_batchmetrics -name __pycache__ -prune -o -print) README.md LICENSE pyproject.toml

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
unexport PYTHONPATH  # it could put the source tree before the wheel

.PHONY: demo servers test test-servers check lint layout async house imports mypy mypy-rest pyright pyright-rest verifytypes \
	coverage test-oldest bench format dist clean
.DELETE_ON_ERROR:

# ------------------------------------------------------------------------------------------------------------- running

demo: $(VENV)/demo.stamp
	$(VENV)/bin/python -m examples.gateway

# Without root and without a change to the system. What cannot be had is one line, and its tests are left out.
servers: $(VENV)/pip.stamp
	$(VENV)/bin/python -m tests.servers

# `pytest`, not `python -m pytest`: the latter puts the working copy before the wheel.
IN_PARALLEL := --numprocesses=$(WORKERS) --dist=loadgroup
test: $(VENV)/test.stamp servers
	TEST_THE_WHEEL=1 $(VENV)/bin/pytest $(IN_PARALLEL) $(PYTEST_ARGS)

# The servers that `make test` leaves out, since they take so long to build.
test-servers: export TEST_SLOW_SERVERS = 1
test-servers: $(VENV)/test.stamp servers
	TEST_THE_WHEEL=1 $(VENV)/bin/pytest tests/servers -k "influxdb113 or influxdb27" $(PYTEST_ARGS)

coverage: $(VENV)/test.stamp servers
	$(VENV)/bin/coverage erase
	TEST_THE_WHEEL=1 $(VENV)/bin/coverage run $(VENV)/bin/pytest $(IN_PARALLEL) $(PYTEST_ARGS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

test-oldest: $(VENV_OLDEST)/test.stamp servers
	TEST_THE_WHEEL=1 $(VENV_OLDEST)/bin/pytest $(IN_PARALLEL) $(PYTEST_ARGS)

bench: $(VENV_BENCH)/bench.stamp servers
	$(VENV_BENCH)/bin/python -m benchmarks $(if $(QUICK),--quick) $(BENCH_ARGS)

# ------------------------------------------------------------------------------------------------------------ checking

# The library is checked where nothing but `.[all]` is installed next to the checkers, so that a type cannot come from a
# package that users need not have; the rest is checked against what the tests and the example need.
check: lint layout async house imports mypy mypy-rest pyright pyright-rest verifytypes  # `make -k check` goes on after a fault

lint: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/ruff check .

layout: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/ruff format --check .

async: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/flake8 --isolated --select=ASYNC1,ASYNC2,ASYNC3,ASYNC4 \
		--per-file-ignores="tests/*:ASYNC109,ASYNC110,ASYNC124" $(PYTHON_FOLDERS)

house: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/python tools/check_house.py trio_batchmetrics examples benchmarks

imports: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/lint-imports --no-logo --no-cache

mypy: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/mypy --cache-dir=.mypy_cache/library trio_batchmetrics

mypy-rest: $(VENV_CHECK)/check.stamp $(VENV)/test.stamp
	$(VENV_CHECK)/bin/mypy --cache-dir=.mypy_cache/rest --python-executable=$(VENV)/bin/python $(PYTHON_FOLDERS)

pyright: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/pyright --pythonpath=$(VENV_CHECK)/bin/python trio_batchmetrics

pyright-rest: $(VENV_CHECK)/check.stamp $(VENV)/test.stamp
	$(VENV_CHECK)/bin/pyright --pythonpath=$(VENV)/bin/python tests examples tools benchmarks

# Looks at the wheel: with --verifytypes pyright goes by the first `python` on the PATH, and prints which package it read.
verifytypes: $(VENV_CHECK)/check.stamp
	PATH="$$(cd $(VENV_CHECK)/bin && pwd):$$PATH" pyright --verifytypes trio_batchmetrics --ignoreexternal

format: $(VENV_CHECK)/check.stamp
	$(VENV_CHECK)/bin/ruff check --fix .
	$(VENV_CHECK)/bin/ruff format .

# ------------------------------------------------------------------------------------------------------------- setting up

# A virtual environment with a pip that knows --group (25.1). One that is there already is used as it is.
%/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is %s: try make PYTHON=python3.12" % sys.version.split()[0])'
	test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/python -m pip --version >/dev/null 2>&1 || $*/bin/python -m ensurepip
	$*/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@
.PRECIOUS: %/pip.stamp

$(VENV)/build.stamp: pyproject.toml $(VENV)/pip.stamp
	$(VENV)/bin/pip install --quiet --group build
	@touch $@

# The wheel is built from the sdist, which shows that the sdist is complete.
dist: dist/wheel.stamp
dist/wheel.stamp: $(SOURCES) $(VENV)/build.stamp
	rm -rf dist && mkdir dist
	$(VENV)/bin/python -m build --no-isolation --outdir dist . >dist/build.log 2>&1 || { cat dist/build.log; exit 1; }
	@touch $@

# $(call install,VENV,EXTRAS,ARGUMENTS): what the wheel needs, then the wheel itself, even if its version is there already.
define install
$(1)/bin/pip install --quiet "$$(echo dist/*.whl)[$(2)]" $(3)
$(1)/bin/pip install --quiet --force-reinstall --no-deps dist/*.whl
@touch $@
endef

$(VENV)/demo.stamp: dist/wheel.stamp
	$(call install,$(VENV),demo,)

$(VENV)/test.stamp: dist/wheel.stamp
	$(call install,$(VENV),all$(comma)demo,--group test)

$(VENV_CHECK)/check.stamp: dist/wheel.stamp $(VENV_CHECK)/pip.stamp
	$(call install,$(VENV_CHECK),all,--group check)

$(VENV_OLDEST)/test.stamp: dist/wheel.stamp $(VENV_OLDEST)/pip.stamp tools/oldest.py
	$(VENV_OLDEST)/bin/python tools/oldest.py >$(VENV_OLDEST)/oldest.txt
	$(call install,$(VENV_OLDEST),all$(comma)demo,--group test --constraint $(VENV_OLDEST)/oldest.txt)

$(VENV_BENCH)/bench.stamp: dist/wheel.stamp $(VENV_BENCH)/pip.stamp
	$(call install,$(VENV_BENCH),all,--group bench)

clean:
	rm -rf .venv .venv-check .venv-oldest .venv-bench dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
