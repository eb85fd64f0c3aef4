"""What every test has: asyncio as the one async backend, and no way out of this machine."""

import sqlite3

import pytest

pytest.register_assert_rewrite("tests.contracts")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_report_header() -> str:
    return f"sqlite: {sqlite3.sqlite_version}"
