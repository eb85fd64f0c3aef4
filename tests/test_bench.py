"""The bench runs and prints its table. No time is asserted: those are for `make bench` and for people to judge."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_a_quick_run_without_the_other_stores_prints_every_table(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    options = ["--quick", "--no-peers", "--directory", str(tmp_path), "--markdown", str(report)]

    done = subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    words = (
        "the limit",
        "Parley",
        "turns/s",
        "p50 ms",
        "p99 ms",
        "commits",
        "hops",
        "Growth",
        "Expiry",
        "pgbench",
        "flooded",
    )
    for word in words:
        assert word in report.read_text(encoding="utf-8")
    for title in ("Speed", "Growth", "Expiry", "PostgreSQL", "Claims"):
        assert title in done.stdout
    assert list(tmp_path.iterdir()) == [report], "the databases are removed"
