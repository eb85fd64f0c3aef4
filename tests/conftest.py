"""What every test has: asyncio as the one async backend, and no way out of this machine."""

import os
import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.contracts", "tests.e2e.trial", "tests.trials")

# Property tests try new cases at every run of a developer's; CI tries the same ones each time, so that what they find by
# luck does not hold up a change that has nothing to do with it. The machines are busy: no deadlines.
settings.register_profile("developer", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")

_REPORTS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parley")
    group.addoption("--trial-kills", type=int, default=200, help="how often the kill trial kills (default: 200)")
    group.addoption("--trial-queue", type=int, default=100_000, help="how many messages wait at once (default: 100000)")
    # CI makes the same choices each time, as with properties: new ones are tried at the desk and by `make trials`.
    seed = 1 if os.environ.get("CI") else None
    group.addoption("--trial-seed", type=int, default=seed, help="the seed of a trial to repeat; by default a new one")


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say something that stands at the end of the run, whatever is captured."""
    return request.config.stash.setdefault(_REPORTS, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if reports := terminalreporter.config.stash.get(_REPORTS, []):
        terminalreporter.section("trials")
        for text in reports:
            terminalreporter.write_line(text)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}  # as `parley run`


def pytest_report_header() -> str:
    return f"sqlite: {sqlite3.sqlite_version}"
