# What people type. Everything stands on `setup`, which does nothing when nothing changed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run test lint bench trials lock clean

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

run: setup
	@$(BIN)/parley run

# The tests that mostly wait for platforms and processes, and those that wait for disks and PostgreSQL, run beside the others,
# and are shown when those are through: one after the other they took over 20 minutes on two cores.
WAITING := tests/adapters tests/e2e
STORES := tests/store
test: setup lint
	@waited=$$(mktemp); stored=$$(mktemp); \
	$(BIN)/python -m pytest $(WAITING) >"$$waited" 2>&1 & waiting=$$!; \
	$(BIN)/python -m pytest $(STORES) >"$$stored" 2>&1 & stores=$$!; \
	$(BIN)/python -m pytest $(WAITING:%=--ignore=%) $(STORES:%=--ignore=%); others=$$?; \
	wait $$stores; stores=$$?; \
	wait $$waiting; waiting=$$?; \
	cat "$$stored" "$$waited"; rm "$$stored" "$$waited"; \
	exit $$((others | stores | waiting))

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The long forms of the trials that `make test` runs for a few minutes; TRIALS chooses some of them, or options such as
# `TRIALS="poison --seed 7"` and `TRIALS=--publish`.
trials: setup
	@$(BIN)/python -m tests.trials $(TRIALS); trials=$$?; \
	$(BIN)/python -m pytest tests/e2e -m trial --trial-kills 2000 --trial-queue 100000; kills=$$?; \
	exit $$((trials | kills))

bench: setup .venv-bench/.ready
	$(BIN)/python -m bench

# The stores that the bench compares with stand in an environment of their own: Parley needs none of them.
.venv-bench/.ready: requirements/bench.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	touch $@

# Needs `uv` on the path; every lock is universal, with hashes and without index addresses.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url
lock:
	$(LOCK) --extra local --extra postgres pyproject.toml -o requirements/run.txt
	$(LOCK) --extra local --extra postgres --extra dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/run.txt requirements/bench.in -o requirements/bench.txt

clean:
	rm -rf .venv .venv-bench .mypy_cache .pytest_cache .ruff_cache .hypothesis
