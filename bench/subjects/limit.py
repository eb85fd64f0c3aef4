"""The limit: sqlite3 by hand. Parley's schema, PRAGMAs and statements, and none of its Python.

Synchronous, one thread, rows as tuples. The conversations of a group go through each step together: one transaction with
64 messages accepted and claimed, one with 64 finishes, one with 64 settles. That is what group commit makes of Parley's 64
workers; a turn can't be one transaction, since the model is called between claim and finish, and people between finish and
settle.
"""

import itertools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import store.sqlite_sql as sql
from bench.filling import PLATFORM, fill, key_of
from bench.workload import ANSWER, QUESTION, WINDOW, Job, Result, Timing, chosen, result
from store.sqlite_writer import PRAGMAS

LEASE_US = 60_000_000


def prepare(job: Job) -> None:
    """Make the file as Parley does and fill it."""
    fill(Path(job.place, "store.db"), conversations=job.conversations, messages=job.messages)


def measure(job: Job) -> Result:
    """Time turns in groups of `workers`."""
    with closing(sqlite3.connect(Path(job.place, "store.db"), isolation_level=None, cached_statements=256)) as db:
        for pragma in PRAGMAS:
            db.execute(pragma)
        keys = [key_of(number) for number in range(job.conversations)]
        columns = [(key.platform, key.workspace, key.channel, key.thread, key.user) for key in keys]
        tails = ["\x1f".join(("", "m", key.channel, key.workspace, key.platform)) for key in keys]
        conversations = itertools.cycle(chosen(job))
        numbers = itertools.count(time.time_ns())
        turns = _Turns(db, columns, tails, numbers)
        for _ in range(max(1, job.warmup // job.workers)):
            turns.group(list(itertools.islice(conversations, job.workers)))
        timing = Timing(turns=0, seconds=0.0, cpu=0.0, latencies=[])
        cpu, start = time.process_time(), time.perf_counter()
        before = start
        while timing.turns < job.turns if job.turns else before - start < job.seconds:
            turns.group(list(itertools.islice(conversations, job.workers)))
            after = time.perf_counter()
            timing.latencies.extend([after - before] * job.workers)
            timing.turns += job.workers
            before = after
        timing.seconds, timing.cpu = before - start, time.process_time() - cpu
    return result(timing, hops=0, commits=3 / job.workers, setup="WAL, FULL, Parley's own PRAGMAs")


class _Turns:
    def __init__(
        self,
        db: sqlite3.Connection,
        columns: list[tuple[str, str, str, str, str]],
        tails: list[str],
        numbers: Iterator[int],
    ) -> None:
        self._execute = db.cursor().execute
        self._columns = columns
        self._tails = tails
        self._numbers = numbers
        self._event_tail = f"\x1fe\x1fW\x1f{PLATFORM}"

    def group(self, conversations: list[int]) -> None:
        """Take each of the conversations through one turn."""
        execute = self._execute
        now = time.time_ns() // 1000
        held = []
        execute("BEGIN IMMEDIATE")
        for conversation in conversations:
            name = str(next(self._numbers))
            names = (name + self._event_tail, name + self._tails[conversation], now)
            assert execute(sql.SEE_TWO, names).rowcount == 2
            touched = execute(sql.TOUCH, (*self._columns[conversation], now, None)).fetchone()
            conversation_id, position, epoch, *_ = touched
            platform, workspace, channel, *_ = self._columns[conversation]
            waits = (conversation_id, platform, workspace, channel, now, None)
            assert execute(sql.MUST_WAIT, waits).fetchone() is None
            turn_id, _ = execute(sql.BEGIN, (conversation_id, "address", now, position, now)).fetchone()
            values = (conversation_id, position, 0, turn_id, name, "U1", "Mina 민아", QUESTION, "complete", now, 0, 0, 0)
            assert execute(sql.ADD_MESSAGE, values).rowcount == 1
            execute(sql.HOLD, (conversation_id, now + LEASE_US))
            window = execute(sql.WINDOW, (conversation_id, position, 1, WINDOW)).fetchall()
            window.reverse()
            held.append((turn_id, conversation_id, epoch + 1, window))
        execute("COMMIT")

        execute("BEGIN IMMEDIATE")
        now = time.time_ns() // 1000
        for turn_id, _, epoch, _ in held:
            assert execute(sql.PUT_ANSWER, (turn_id, epoch, now, ANSWER, "complete", 0)).rowcount == 1
            execute(sql.FINISH, (turn_id, "model", 100, 100))
        execute("COMMIT")

        execute("BEGIN IMMEDIATE")
        now = time.time_ns() // 1000
        for turn_id, conversation_id, epoch, _ in held:
            assert execute(sql.LET_GO, (conversation_id, epoch, now)).rowcount == 1
            execute(sql.SETTLE, (turn_id, "done", now))
        execute("COMMIT")
