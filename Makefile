# make run      serve on http://127.0.0.1:8080 until Ctrl-C      (make run ARGS="--port 9000 --config my.yaml")
# make test     every check and every test; what CI runs   (make tests ARGS=--every-row runs large tests whole)
# make clients  other people's programs (Node SDKs, Codex) against a served gateway; needs node and npm: docs/clients.md
# make format   lay the code out, and repair what the linter can repair
# make lock     write requirements/*.txt anew from pyproject.toml and requirements/*.in   (ARGS=--upgrade for newer versions)
# make bench    what the gateway costs, and with ARGS=--peers what others cost beside it: docs/performance.md
# make soak     20 minutes of mixed load with faults: what grows, what is left over   (ARGS="--minutes 5" for less)
# make clean    remove everything that the others made
#
# Any Python from 3.11 on will do: make test PYTHON=python3.13

PYTHON ?= python3
ARGS   ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install
# Empty when PYTHON is missing or too old; the rule of the stamp below then says so.
VERSION := $(shell $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# The stamps stand in .venv and go with it. This one is named for the Python that made it: another one makes it anew.
MADE := .venv/made-with-$(VERSION)

.PHONY: help run test types tests clients format lock bench soak clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

run: .venv/ready-to-run
	@exec $(BIN)/aigateway serve $(ARGS)

test: .venv/ready-to-test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs=2 types tests

# Side by side: the tests leave a core idle now and then, for they wait for sockets. Three at once keep two cores busy.
types: .venv/ready-to-test
	$(BIN)/mypy

tests: .venv/ready-to-test
	$(BIN)/pytest --numprocesses=3 --dist=worksteal --cov --cov-report=term-missing:skip-covered --durations=10 $(ARGS)

clients: .venv/ready-to-test
	@exec scripts/clients $(ARGS)

format: .venv/ready-to-test
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

lock:
	PYTHON=$(PYTHON) scripts/lock $(ARGS)

bench: .venv/ready-to-test
	@$(BIN)/python -m bench $(ARGS)
	@exec $(BIN)/python -m bench.state

soak: .venv/ready-to-test
	@exec $(BIN)/python -m bench.soak $(ARGS)

clean:
	rm -rf .venv .venv-lock build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(MADE):
	@test -n "$(VERSION)" || { echo "aigateway needs Python 3.11 or newer, and '$(PYTHON)' is not that; try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "making .venv with Python $(VERSION)"
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/ready-to-run: $(MADE) pyproject.toml requirements/build.txt requirements/runtime.txt
	@echo "installing what the gateway needs (once, half a minute)"
	@$(PIP) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# pip would compile on one core. What is not for this Python stays as it is.
.venv/ready-to-test: $(MADE) pyproject.toml requirements/test.txt
	@echo "installing what the tests need (once, half a minute)"
	@$(PIP) --no-compile --require-hashes -r requirements/test.txt
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
