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

# The tests that mostly wait for platforms and processes run beside the others, and are shown when both are through: one
# after the other they took over 15 minutes on two cores.
WAITING := tests/adapters tests/e2e tests/fakes_discord tests/fakes_slack
test: setup lint
	@log=$$(mktemp); \
	$(BIN)/python -m pytest $(WAITING) >"$$log" 2>&1 & waiting=$$!; \
	$(BIN)/python -m pytest $(WAITING:%=--ignore=%); others=$$?; \
	wait $$waiting; waiting=$$?; \
	cat "$$log"; rm "$$log"; \
	exit $$((others | waiting))

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The long form of the trials that `make test` runs for 30 seconds.
trials: setup
	$(BIN)/python -m pytest -m trial --trial-kills 2000 --trial-queue 100000

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
