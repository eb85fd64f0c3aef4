"""What a trial ran on, as far as it matters to its figures: nothing that says whose machine it is."""

import os
import platform
import sqlite3

from tests.engines.postgres import installed_version


def this_machine() -> str:
    """Name cores, memory and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, PostgreSQL {installed_version()}"
    )
