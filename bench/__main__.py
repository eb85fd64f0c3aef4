"""Runs the bench: `python -m bench --help`."""

import argparse
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.postgres import a_server, run_claims, run_postgres, version_of
from bench.postgres_report import claim_verdicts, claims_table, postgres_table, postgres_verdict
from bench.repetitions import PEERS_PYTHON, Place, contenders, run_expiry, run_growth, run_speed
from bench.report import Report, expiry_table, growth_table, markdown, show, speed_table, verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print the tables."""
    options = _options(arguments)
    progress_console = Console(stderr=True)
    with_peers = not options.no_peers and PEERS_PYTHON.exists()
    place = Place(Path(tempfile.mkdtemp(prefix="parley-bench-", dir=options.directory)))
    started = time.perf_counter()
    report = Report(machine=_machine(place.root))
    try:
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=progress_console,
        ) as progress:
            if "speed" in options.only:
                subjects = contenders(peers=with_peers)
                speed = run_speed(
                    place,
                    progress,
                    subjects,
                    repetitions=options.repetitions,
                    seconds=options.seconds,
                    conversations=options.conversations,
                    workers=options.workers,
                )
                report.tables.append(speed_table(subjects, speed, options.workers, options.conversations))
                report.verdicts += verdicts(subjects, speed)
            large = place.root / "large"
            if "growth" in options.only:
                growth = run_growth(
                    place,
                    progress,
                    large,
                    repetitions=options.repetitions,
                    turns=options.turns,
                    small=options.small,
                    large_messages=options.large,
                    working_set=options.conversations,
                )
                report.tables.append(growth_table(growth, options.small, options.large, report))
            if "expiry" in options.only:
                expiry = run_expiry(place, progress, large, large_messages=options.large)
                report.tables.append(expiry_table(expiry, report))
            if "postgres" in options.only:
                with a_server() as server:
                    report.machine += f", {version_of(server)}"
                    turns = run_postgres(
                        server,
                        progress,
                        repetitions=options.repetitions,
                        seconds=options.seconds,
                        conversations=options.conversations,
                        workers=options.workers,
                    )
                    report.tables.append(postgres_table(turns, options.workers, options.conversations))
                    report.verdicts.append(postgres_verdict(turns))
                    claims = run_claims(
                        server,
                        progress,
                        repetitions=options.repetitions,
                        turns=options.claims,
                        waiting=options.waiting,
                    )
                    report.tables.append(claims_table(claims, options.claims, options.waiting))
                    report.verdicts += claim_verdicts(claims)
    finally:
        shutil.rmtree(place.root, ignore_errors=True)
    report.seconds = time.perf_counter() - started
    if not with_peers:
        report.notes.append("Without the other stores: `make bench` sets them up in .venv-bench.")
    show(report, Console(width=max(120, progress_console.width)))
    if options.markdown:
        options.markdown.write_text(markdown(report), encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Turns per second of Parley's store, beside others."
    )
    parser.add_argument("--repetitions", type=int, default=5, help="interleaved repetitions of each store (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed seconds of a repetition (3)")
    parser.add_argument("--turns", type=int, default=4000, help="timed turns of a repetition of the growth part (4,000)")
    parser.add_argument("--conversations", type=int, default=1000, help="conversations in use (1,000)")
    parser.add_argument("--workers", type=int, default=64, help="conversations at once (64)")
    parser.add_argument("--small", type=int, default=10_000, help="messages in the small store (10,000)")
    parser.add_argument(
        "--large", type=int, default=2_000_000, help="messages in the large store (2,000,000); half goes stale"
    )
    parser.add_argument("--claims", type=int, default=40, help="claims of a repetition from each queue on PostgreSQL (40)")
    parser.add_argument("--waiting", type=int, default=100_000, help="what waits in its long queues (100,000)")
    parser.add_argument("--only", type=_parts, default=_PARTS, help=f"parts to run ({','.join(_PARTS)})")
    parser.add_argument("--no-peers", action="store_true", help="leave the other stores out")
    parser.add_argument("--directory", type=Path, help="where the databases are made (the system's temporary directory)")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the tables to PATH as well")
    parser.add_argument(
        "--quick", action="store_true", help="tiny numbers, to see whether it runs: its figures mean nothing"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.repetitions, options.seconds, options.turns, options.conversations = 1, 0.2, 128, 100
        options.small, options.large = 2000, 8000
        options.claims, options.waiting = 5, 200
    return options


_PARTS = ("speed", "growth", "expiry", "postgres")


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if not set(parts) <= set(_PARTS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(_PARTS)}")
    return parts


def _machine(directory: Path) -> str:
    cores = os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {cores} cores, "
        f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"an fdatasync of 256 KiB takes {_sync_ms(directory):.2f} ms (median)"
    )


def _sync_ms(directory: Path) -> float:
    probe = directory / "probe"
    times = []
    with probe.open("wb") as file:
        for _ in range(50):
            file.write(os.urandom(262_144))
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    probe.unlink()
    return sorted(times)[len(times) // 2] * 1e3


if __name__ == "__main__":
    sys.exit(main())
