"""Messages wait on disk, not in memory: a queue of any length costs no more than the store's own page cache."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.queueing import EACH
from tests.e2e.zygote import ROOT

ANSWERS = 1000
MIB = 60
"""The page cache of the store (64 MB at most) is most of it; the messages as Python objects would take more."""


@pytest.mark.trial
def test_a_hundred_thousand_messages_wait_on_disk_and_are_worked_off_from_there(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    messages: int = request.config.getoption("--trial-queue")
    command = [sys.executable, "-m", "tests.e2e.queueing", str(tmp_path), str(messages), str(ANSWERS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = {step["step"]: step for step in map(json.loads, done.stdout.splitlines())}

    assert told["queued"]["queued"] == messages // EACH
    assert told["queued"]["mib"] - told["begun"]["mib"] < MIB
    assert told["worked"]["mib"] - told["begun"]["mib"] < MIB
    with closing(sqlite3.connect(tmp_path / "parley.db")) as db:
        (said,) = db.execute("SELECT count(*) FROM message WHERE role = 0").fetchone()
        (answered,) = db.execute("SELECT count(*) FROM message WHERE role = 1").fetchone()
        left = dict(db.execute("SELECT state, count(*) FROM turn GROUP BY state").fetchall())
    assert said == messages
    assert ANSWERS <= answered == left["done"]
    assert set(left) == {"done", "queued"}
