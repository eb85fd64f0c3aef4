"""Runs the repetitions: each in a fresh process, on a fresh copy of what its subject filled once, the subjects in turns."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import Progress

from bench.workload import WINDOW, Job, Result

ROOT = Path(__file__).resolve().parent.parent
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
TOO_LONG = 900
"""Seconds after which a child is given up."""


@dataclass(frozen=True)
class Contender:
    """One row of the speed table."""

    title: str
    subject: str
    peer: bool = False
    option: str = ""


LIMIT = Contender("sqlite3 by hand, synchronous, group commit (the limit)", "limit")
PARLEY = Contender("**Parley**: accept and claim, finish, settle", "parley")
PARLEY_FULL = Contender("Parley: with absorb and record_part as well", "parley", option="full")
PEERS = (
    Contender("OpenAI Agents SDK, SQLiteSession", "agents_sqlite", peer=True),
    Contender("OpenAI Agents SDK, SQLAlchemySession", "agents_sqlalchemy", peer=True),
    Contender("LangGraph, AsyncSqliteSaver: 1 get, 2 puts", "langgraph_saver", peer=True),
    Contender("LangGraph, AsyncSqliteSaver: as a graph of one node calls it", "langgraph_saver", peer=True, option="graph"),
)


def contenders(*, peers: bool) -> list[Contender]:
    """Name the rows of the speed table."""
    return [LIMIT, PARLEY, PARLEY_FULL, *(PEERS if peers else ())]


class Place:
    """A temporary directory in which every repetition gets a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def copy(self, source: Path) -> Path:
        """Copy what was filled, on disk for good, so that nobody's time pays for the writing."""
        target = self.root / "repetition"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        sync(target)
        return target


def run_speed(
    place: Place,
    progress: Progress,
    subjects: list[Contender],
    *,
    repetitions: int,
    seconds: float,
    conversations: int,
    workers: int,
) -> dict[Contender, list[Result]]:
    """Time every contender `repetitions` times, in turns."""
    results: dict[Contender, list[Result]] = {subject: [] for subject in subjects}
    task = progress.add_task("speed", total=len({s.subject for s in subjects}) + repetitions * len(subjects))
    for subject in subjects:
        if not (place.root / subject.subject).exists():
            progress.update(task, description=f"filling: {subject.subject}")
            _prepare(place.root / subject.subject, subject, conversations)
            progress.advance(task)
    for repetition in range(repetitions):
        for subject in subjects:
            progress.update(task, description=f"speed: {subject.subject}")
            job = Job(
                subject=subject.subject,
                action="measure",
                place=str(place.copy(place.root / subject.subject)),
                conversations=conversations,
                workers=workers,
                seconds=seconds,
                seed=repetition,
                options={subject.option: 1} if subject.option else {},
            )
            results[subject].append(measured(job, peer=subject.peer))
            progress.advance(task)
    progress.update(task, description="speed")
    return results


def run_growth(
    place: Place,
    progress: Progress,
    large: Path,
    *,
    repetitions: int,
    turns: int,
    small: int,
    large_messages: int,
    working_set: int,
) -> tuple[list[Result], list[Result]]:
    """Time turns in a small store and in a large one, in turns; the large one is filled once and used again."""
    task = progress.add_task("growth", total=2 + repetitions * 2)
    few = place.root / "small"
    progress.update(task, description=f"filling {small:,} messages")
    _prepare(few, PARLEY, small // WINDOW)
    progress.advance(task)
    progress.update(task, description=f"filling {large_messages:,} messages")
    fill_large(large, large_messages)
    progress.advance(task)
    progress.update(task, description="growth")
    results: tuple[list[Result], list[Result]] = ([], [])
    many = large_messages // WINDOW
    for repetition in range(repetitions):
        where = ((place.copy(few), small // WINDOW, 0), (large, many, min(working_set, many // 4)))
        for (store, conversations, used), found in zip(where, results, strict=True):
            job = Job(
                subject=PARLEY.subject,
                action="measure",
                place=str(store),
                conversations=conversations,
                working_set=used,
                turns=turns,
                seed=repetition,
            )
            found.append(measured(job))
            progress.advance(task)
    return results


def run_expiry(place: Place, progress: Progress, large: Path, *, large_messages: int) -> Result:
    """Expire and purge the stale half of the large store while turns go on."""
    task = progress.add_task("expiry", total=2)
    progress.update(task, description=f"filling {large_messages:,} messages")
    fill_large(large, large_messages)
    progress.advance(task)
    progress.update(task, description="expiry")
    conversations = large_messages // WINDOW
    job = Job(
        subject="expiry",
        action="measure",
        place=str(large),
        conversations=conversations,
        working_set=min(1000, conversations // 4),
    )
    found = measured(job)
    progress.advance(task)
    return found


def fill_large(large: Path, messages: int) -> None:
    """Make the large store, half of it stale, unless this run made it already."""
    if not large.exists():
        _prepare(large, PARLEY, messages // WINDOW, {"half_stale": 1})


def sync(directory: Path) -> None:
    """Bring the files of a directory to the disk."""
    for path in directory.iterdir():
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _prepare(target: Path, subject: Contender, conversations: int, options: dict[str, float] | None = None) -> None:
    target.mkdir()
    job = Job(
        subject=subject.subject,
        action="prepare",
        place=str(target),
        conversations=conversations,
        options=options or {},
    )
    _child(job, peer=subject.peer)
    sync(target)


def measured(job: Job, *, peer: bool = False) -> Result:
    """Carry a job out in a process of its own."""
    return Result(**json.loads(_child(job, peer=peer)))


def _child(job: Job, *, peer: bool) -> str:
    python = str(PEERS_PYTHON) if peer else sys.executable
    done = subprocess.run(
        [python, "-m", "bench.child"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=TOO_LONG,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{job.subject} failed:\n{done.stderr[-4000:]}")
    return done.stdout.splitlines()[-1]
