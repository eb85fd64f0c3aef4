"""What the peers share: their connections made durable, their thread hops and commits counted. Standard library only.

Every one of them reaches SQLite through `sqlite3.connect`, so that is where `synchronous=FULL` is set and read back.
"""

import asyncio
import importlib
import resource
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.workload import Job, Result, Timing, drive, result

COUNTED_TURNS = 128
"""Turns, beside the timed ones, whose commits are counted by SQLite's own trace."""


@dataclass
class Counts:
    """What was seen since the start of the process."""

    hops: int = 0
    commits: int = 0
    tracing: bool = False


def full_durability(counts: Counts) -> None:
    """Set `synchronous=FULL` on every connection that this process makes from now on."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def durable(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.execute("PRAGMA synchronous = FULL")
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        if counts.tracing:
            connection.set_trace_callback(lambda sql: _count_commit(counts, sql))
        return connection

    sqlite3.__dict__["connect"] = durable
    sqlite3.dbapi2.__dict__["connect"] = durable


def count_hops(counts: Counts) -> None:
    """Count the jobs that are handed to another thread: by asyncio, and by aiosqlite where it is there."""
    in_executor = asyncio.BaseEventLoop.run_in_executor

    def counted_in_executor(self: Any, *args: Any) -> Any:
        counts.hops += 1
        return in_executor(self, *args)

    asyncio.BaseEventLoop.run_in_executor = counted_in_executor  # type: ignore[assignment, method-assign]
    try:
        connection = importlib.import_module("aiosqlite.core").Connection
    except ImportError:
        return
    execute = connection._execute

    def counted_execute(self: Any, *args: Any, **options: Any) -> Any:
        counts.hops += 1
        return execute(self, *args, **options)

    connection._execute = counted_execute


def allow_descriptors() -> None:
    """Raise this process's limit of open files as far as it may: some peers keep several connections a conversation."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


Turn = Callable[[int], Awaitable[None]]


class Peer:
    """What a peer's file implements; made inside the event loop."""

    setup: str

    async def open(self, job: Job, path: str) -> None:
        """Connect, and make the kept objects of every conversation."""
        raise NotImplementedError

    async def fill(self, job: Job) -> None:
        """Store `messages` messages in every conversation."""
        raise NotImplementedError

    async def turn(self, conversation: int) -> None:
        """Read the last 20, append the user's message, append the answer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError


def prepare_peer(job: Job, make: Callable[[], Peer]) -> None:
    """Fill the peer's file by its own methods."""
    allow_descriptors()

    async def run() -> None:
        peer = make()
        await peer.open(job, f"{job.place}/peer.db")
        await peer.fill(job)
        await peer.close()

    asyncio.run(run())


def measure_peer(job: Job, make: Callable[[], Peer]) -> Result:
    """Time the peer's turns, then count the commits of a few more on connections of their own."""
    allow_descriptors()
    counts = Counts()
    full_durability(counts)
    count_hops(counts)
    hops_before = 0

    def warmed() -> None:
        nonlocal hops_before
        hops_before = counts.hops

    async def run(job: Job) -> tuple[Timing, int, str]:
        peer = make()
        await peer.open(job, f"{job.place}/peer.db")
        timing = await drive(peer.turn, job, warmed=warmed)
        hops = counts.hops - hops_before
        await peer.close()
        return timing, hops, peer.setup

    timing, hops, setup = asyncio.run(run(job))
    counts.tracing = True
    counted, _, _ = asyncio.run(run(replace(job, warmup=0, turns=COUNTED_TURNS, seconds=0.0)))
    return result(timing, hops=hops / timing.turns, commits=counts.commits / counted.turns, setup=setup)


def _count_commit(counts: Counts, sql: str) -> None:
    if sql.lstrip().upper().startswith("COMMIT"):
        counts.commits += 1
