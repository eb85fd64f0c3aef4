"""The writing connection: commits in groups, and nobody in a group pays for another's failure, cancellation or full disk."""

import asyncio
import contextlib
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiosqlite
import pytest

from store import StoreClosed, StoreDamaged, StoreDenied, StoreUnavailable
from store.sqlite_writer import GROUP, SqliteWriter, translated
from tests.store.other_process import run_python

pytestmark = pytest.mark.anyio


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[SqliteWriter]:
    writer = await SqliteWriter.open(f"file:{tmp_path}/w.db?mode=rwc", place="w.db")
    await writer.run(lambda db: db.execute("CREATE TABLE t (x UNIQUE)"))
    yield writer
    await writer.aclose()


def put(x: object) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute("INSERT INTO t VALUES (?)", (x,)).rowcount


async def rows(writer: SqliteWriter) -> list[object]:
    return await writer.run(lambda db: [x for (x,) in db.execute("SELECT x FROM t ORDER BY rowid")])


class Gate:
    """Keeps the writer's thread busy until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, db: sqlite3.Connection) -> None:
        self.reached.set()
        self.opened.wait()


@contextlib.asynccontextmanager
async def busy(writer: SqliteWriter) -> AsyncIterator[Gate]:
    """Hold the writer inside a group; what is handed in meanwhile gathers for the next one."""
    gate = Gate()
    held = asyncio.create_task(writer.run(gate))
    await asyncio.to_thread(gate.reached.wait)
    try:
        yield gate
    finally:
        gate.opened.set()
        await asyncio.gather(held, return_exceptions=True)


async def test_the_private_call_of_aiosqlite_is_there() -> None:
    """When this fails after an upgrade of aiosqlite, look at `SqliteWriter._hop`: it needs a way to run one function in the
    connection's thread with the `sqlite3.Connection` as its argument, behind everything queued before it. Change `_hop`, or
    go back to the version range of pyproject.toml."""
    async with aiosqlite.connect(":memory:") as connection:
        seen = await connection._execute(lambda db: (db, threading.current_thread()), connection._conn)
        assert isinstance(seen[0], sqlite3.Connection)
        assert seen[1] is not threading.main_thread()


async def test_concurrent_calls_share_a_commit(writer: SqliteWriter) -> None:
    before = writer.groups
    await asyncio.gather(*(writer.run(put(n)) for n in range(64)))
    assert writer.groups - before == 1
    assert await rows(writer) == list(range(64))


async def test_what_gathers_during_a_commit_makes_up_the_next_group(writer: SqliteWriter) -> None:
    before = writer.groups
    async with busy(writer):
        waiting = [asyncio.create_task(writer.run(put(n))) for n in range(100)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert writer.groups - before == 2


async def test_a_group_has_a_size(writer: SqliteWriter) -> None:
    before = writer.groups
    await asyncio.gather(*(writer.run(put(n)) for n in range(2 * GROUP + 1)))
    assert writer.groups - before == 3
    assert await rows(writer) == list(range(2 * GROUP + 1))


async def test_one_that_fails_hurts_only_itself(writer: SqliteWriter) -> None:
    def wrong(db: sqlite3.Connection) -> None:
        put("half done")(db)
        raise KeyError("mine")

    await writer.run(put("there"))
    calls = [put(1), wrong, put(2), put("there"), lambda db: db.execute("nonsense"), put(3)]
    results = await asyncio.gather(*(writer.run(call) for call in calls), return_exceptions=True)
    assert [type(result) for result in results] == [int, KeyError, int, StoreUnavailable, StoreUnavailable, int]
    assert isinstance(results[3], StoreUnavailable)
    assert isinstance(results[3].__cause__, sqlite3.IntegrityError)
    assert await rows(writer) == ["there", 1, 2, 3]


@pytest.mark.parametrize(
    "strange", [StopIteration(), MemoryError(), RecursionError(), ExceptionGroup("two", [ValueError()])]
)
async def test_no_exception_stops_the_writer(writer: SqliteWriter, strange: Exception) -> None:
    def raise_it(db: sqlite3.Connection) -> None:
        raise strange

    failed, kept = await asyncio.gather(writer.run(raise_it), writer.run(put("kept")), return_exceptions=True)
    assert isinstance(failed, RuntimeError if isinstance(strange, StopIteration) else type(strange))
    assert kept == 1
    assert await rows(writer) == ["kept"]


async def test_a_hop_that_fails_stops_nobody_from_trying_again(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(work: object) -> object:
        raise OSError("the thread is gone")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_hop", broken)
        results = await asyncio.gather(*(writer.run(put(n)) for n in range(3)), return_exceptions=True)
        assert {type(result) for result in results} == {OSError}
    await writer.run(put("again"))
    assert await rows(writer) == ["again"]


async def test_a_call_cancelled_before_it_ran_is_left_out(writer: SqliteWriter) -> None:
    async with busy(writer):
        waiting = [asyncio.create_task(writer.run(put(n))) for n in range(4)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        waiting[2].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await rows(writer) == [0, 3]


async def test_a_call_cancelled_while_it_runs_is_carried_out_whole(writer: SqliteWriter) -> None:
    gate = Gate()

    def two(db: sqlite3.Connection) -> None:
        put("first")(db)
        gate(db)
        put("second")(db)

    running = asyncio.create_task(writer.run(two))
    await asyncio.to_thread(gate.reached.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.opened.set()
    assert await rows(writer) == ["first", "second"]


@pytest.mark.parametrize("seed", range(5))
async def test_no_cancellation_leaves_a_transaction_open(writer: SqliteWriter, seed: int) -> None:
    chance = random.Random(seed)
    for n in range(100):
        task = asyncio.create_task(writer.run(put(n)))
        for _ in range(chance.randrange(80)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not await writer.alone(lambda db: db.in_transaction)
    await writer.run(put("after"))
    assert (await rows(writer))[-1] == "after"


async def test_work_alone_runs_between_groups(writer: SqliteWriter) -> None:
    async with busy(writer):
        alone = asyncio.create_task(writer.alone(lambda db: db.in_transaction))
        await asyncio.sleep(0)
    assert await alone is False


async def test_work_alone_that_fails_is_translated(writer: SqliteWriter) -> None:
    with pytest.raises(StoreUnavailable, match=r"w\.db"):
        await writer.alone(lambda db: db.execute("nonsense"))


class TestClosing:
    """Closing finishes what was handed in."""

    async def test_what_was_handed_in_is_committed(self, writer: SqliteWriter, tmp_path: Path) -> None:
        async with busy(writer):
            waiting = [asyncio.create_task(writer.run(put(n))) for n in range(2 * GROUP)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(writer.aclose())
            await asyncio.sleep(0)
            with pytest.raises(StoreClosed):
                await writer.run(put("too late"))
        await closing
        assert await asyncio.gather(*waiting) == [1] * (2 * GROUP)
        with contextlib.closing(sqlite3.connect(tmp_path / "w.db")) as db:
            assert db.execute("SELECT count(*) FROM t").fetchone() == (2 * GROUP,)

    async def test_every_caller_waits_until_it_is_closed(self, writer: SqliteWriter) -> None:
        async with busy(writer):
            closers = [asyncio.create_task(writer.aclose()) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not any(closer.done() for closer in closers)
        await asyncio.gather(*closers)

    async def test_a_cancelled_closing_goes_on(self, writer: SqliteWriter) -> None:
        async with busy(writer):
            waiting = asyncio.create_task(writer.run(put("x")))
            await asyncio.sleep(0)
            closing = asyncio.create_task(writer.aclose())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
        assert await waiting == 1
        await writer.aclose()
        with pytest.raises(StoreClosed):
            await writer.alone(put("y"))

    async def test_no_journal_is_left_beside_a_closed_file(self, writer: SqliteWriter, tmp_path: Path) -> None:
        await writer.run(put(1))
        await writer.aclose()
        assert [path.name for path in tmp_path.iterdir()] == ["w.db"]


class TestFullDisk:
    """Nothing of the call is kept, everything before it is, and it works again when there is space."""

    async def test_a_full_database_is_unavailable_until_there_is_space(self, writer: SqliteWriter) -> None:
        def pages(limit: int) -> Callable[[sqlite3.Connection], object]:
            return lambda db: db.execute(f"PRAGMA max_page_count = {limit}").fetchone()

        await writer.run(put("before"))
        await writer.alone(pages(20))
        large = [put(f"{n}" * 100_000) for n in range(3)]
        results = await asyncio.gather(
            *(writer.run(call) for call in [large[0], put("small"), large[1]]), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreUnavailable, int, StoreUnavailable]
        assert "full" in str(results[0])
        assert await rows(writer) == ["before", "small"]
        await writer.alone(pages(1_000_000))
        await asyncio.gather(*(writer.run(call) for call in large))
        assert len(await rows(writer)) == 5

    async def test_a_disk_that_takes_no_more_is_unavailable_until_it_does(self, tmp_path: Path) -> None:
        told = run_python(FULL_DISK, tmp_path / "parley.db")
        assert told["failed"] == ["StoreUnavailable"] * 3
        assert told["check"] == "StoreUnavailable"
        assert told["before"] > 10
        assert told["readable"] == told["before"]
        assert told["after"] == told["before"] + 50
        assert told["reopened"] == told["after"]


FULL_DISK = """
import asyncio, resource
from store import StoreError, open_store
from tests.contracts.store_words import message, say

async def main(path):
    store = await open_store(f"sqlite:///{path}")
    await say(store, "hello")
    (soft, hard), limit = resource.getrlimit(resource.RLIMIT_FSIZE), 1_000_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    before, failed = 1, []
    while len(failed) < 3:
        try:
            conversation = await store.accept(message("x" * 5000, event_id=f"E-{before}", message_id=f"M-{before}"))
            before += 1
        except StoreError as exc:
            failed.append(type(exc).__name__)
    check = "fine"
    while check == "fine":  # it writes a page each time: less than a message, so it may fit in a little longer
        try:
            await store.check()
        except StoreError as exc:
            check = type(exc).__name__
    readable = len(await store.recent(conversation, 100_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = [await store.accept(message("y", event_id=f"E-{n}", message_id=f"M-{n}")) for n in range(before, before + 50)]
    assert None not in again, "what failed was not seen"
    after = len(await store.recent(conversation, 100_000))
    await store.aclose()
    store = await open_store(f"sqlite:///{path}")
    reopened = len(await store.recent(conversation, 100_000))
    await store.aclose()
    tell(failed=failed, check=check, before=before, readable=readable, after=after, reopened=reopened)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_BUSY, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailable),
        (sqlite3.SQLITE_LOCKED, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailable),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StoreDenied),
        (sqlite3.SQLITE_CANTOPEN, StoreDenied),
        (sqlite3.SQLITE_CORRUPT_VTAB, StoreDamaged),
        (sqlite3.SQLITE_NOTADB, StoreDamaged),
        (sqlite3.SQLITE_ERROR, StoreUnavailable),
    ],
)
def test_what_sqlite_says_is_translated_with_the_place(code: int, kind: type[Exception]) -> None:
    said = sqlite3.OperationalError("as SQLite says")
    said.sqlite_errorcode = code
    error = translated(said, "/var/parley.db")
    assert type(error) is kind
    assert "/var/parley.db" in str(error)


async def test_a_group_waits_once_for_another_programs_lock(writer: SqliteWriter, tmp_path: Path) -> None:
    attempts = 0

    def count(statement: str) -> None:
        nonlocal attempts
        attempts += statement.startswith("BEGIN")

    await writer.alone(lambda db: db.execute("PRAGMA busy_timeout = 1").fetchall())
    await writer.alone(lambda db: db.set_trace_callback(count))
    with contextlib.closing(sqlite3.connect(tmp_path / "w.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(writer.run(put(n)) for n in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        assert attempts == 1
        other.execute("ROLLBACK")
    await writer.run(put("works again"))
    assert await rows(writer) == ["works again"]
