"""Moving a store from SQLite to PostgreSQL and back: nothing is lost, nothing is doubled, whatever happens meanwhile."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import (
    AuditEntry,
    Charge,
    Days,
    Feedback,
    Installation,
    Limit,
    Order,
    Payer,
    Period,
    Role,
    Setting,
    Store,
    StoreBusy,
    StoreDenied,
    Unit,
    UsageBy,
    Watermark,
    moving,
    open_store,
)
from store import sqlite_ledger as ledgers
from store.moving import Compared
from store.moving_open import refuse_in_use, refuse_nothing, refuse_same, source_at, target_at
from store.moving_tables import TABLES
from store.postgres_moving import LOCK as MOVING
from store.schema import metadata
from store.sqlite_copy import back_up, restore
from tests.contracts.store_words import AT, ROOM, answer, message, named, read, reply, room, say, take
from tests.engines.postgres import PostgresServer
from tests.store.canaries import CANARY, OLD, ROOM_KEY, talk_of_the_canary
from tests.store.files import make_store, read_all, url
from tests.store.other_process import python

pytestmark = pytest.mark.anyio

EVER = Days(first=date(2020, 1, 1), last=date(2100, 1, 1))
MONEY = Limit(payer=Payer.WORKSPACE, unit=Unit.MONEY, period=Period.DAY, amount=1000)
OTHER = room("C2", user="U-Bob")
GONE = room("C3")


class Killed(Exception):
    """What ends a move in the middle."""


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """An empty database, in which nothing was made yet."""
    return postgres.database()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small stores have many of them."""
    tables = tuple(replace(table, page=2) for table in TABLES)
    monkeypatch.setattr(moving, "TABLES", tables)
    monkeypatch.setattr(moving, "_TOLD_EVERY", 3)


async def fill(store: Store) -> None:
    """Leave something in every table."""
    await talk_of_the_canary(store)
    for number, author in enumerate(["Ann", "Bob", "Cid"] * 4):
        await store.accept(message(f"question {number}", key=ROOM_KEY, author=author, message_id=f"Q{number}"))
    claim = await answer(store, "an answer", post="P1")
    await store.put_feedback(claim.hold.turn_id, "U-Ann", Feedback.GOOD, at=AT)
    await say(store, "of another", key=OTHER)
    claim = await take(store)
    await store.reserve(claim.hold, Order(author_id="U-Bob", tokens=100, money=900, limits=(MONEY,)))
    charge = Charge(author_id="U-Bob", prompt_tokens=30, completion_tokens=12, money=850)
    await store.finish(claim.hold, reply("paid for"), charge=charge)
    await say(store, "to be forgotten", key=GONE)
    gone = await store.find(GONE)
    assert gone is not None
    await store.delete(gone.id)
    await store.retract([named("Q3")])
    setting = Setting(platform="slack", workspace="T1", channel="C1", subject="", name="trigger", value="every")
    await store.put_setting(setting, author_id="U-Ann", action="channel", at=AT)
    await store.audit(
        AuditEntry(
            platform="slack",
            workspace="T1",
            channel="C1",
            author_id="U-Ann",
            action="show",
            target="1",
            before="",
            after="",
            allowed=False,
            at=AT,
        )
    )
    await store.mark("slack", [Watermark(workspace="T1", channel="C1", thread="", position=77)], at=AT)
    await store.remember("slack/T1/name", "Ünïcode \\ \t\n'quoted' 🐨")
    await store.put_installation(Installation(platform="slack", workspace="T1", user="", data=bytes(range(256)), at=AT))


async def filled(path: Path, keys: Sequence[bytes] = ()) -> None:
    store = await open_store(url(path), keys=keys)
    try:
        await fill(store)
    finally:
        await store.aclose()


async def seen(address: str, keys: Sequence[bytes] = ()) -> dict[str, object]:
    """What the store at an address says of itself."""
    store = await open_store(address, keys=keys)
    try:
        here, other = await store.find(ROOM_KEY), await store.find(OTHER)
        assert here is not None
        assert other is not None
        return {
            "conversations": (here, other),
            "said": (await store.recent(here.id, 1000), await store.recent(other.id, 1000)),
            "records": [await store.record("slack", "T1", one.id) for one in (here, other)],
            "usage": [await store.usage("slack", "T1", by=by, days=EVER, limit=100) for by in UsageBy],
            "standing": await store.standing("slack", "T1", "C2", "U-Bob"),
            "settings": (await store.settings("slack"), await store.settings_version()),
            "audit": await store.audit_log("slack", "T1", limit=100),
            "watermarks": await store.watermarks("slack"),
            "note": await store.recall("slack/T1/name"),
            "installations": await store.installations("slack"),
            "opinions": await store.opinions("slack", "T1", "U-Ann"),
            "located": await store.locate(named("Q5", key=ROOM_KEY)),
            "forgotten": await store.find(GONE),
        }
    finally:
        await store.aclose()


def moved(source: str, target: str, progress: moving.Progress = lambda done, total: None) -> tuple[Compared, ...]:
    with closing(source_at(source)) as taken, closing(target_at(target)) as given:
        return moving.move(taken, given, progress)


def all_equal(compared: Sequence[Compared]) -> bool:
    return all(table.equal for table in compared)


def dump(path: Path) -> dict[str, list[Any]]:
    """Everything in a file but leases, which nobody has after a move."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE conversation SET lease_until = 0")
        return {table.name: sorted(db.execute(f"SELECT * FROM {table.name}"), key=repr) for table in TABLES}  # noqa: S608


def count(database: str, table: str) -> int:
    with psycopg.connect(database) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0])  # noqa: S608


def test_everything_in_the_schema_is_moved() -> None:
    assert {table.name: set(table.columns) for table in TABLES} == {
        table.name: {column.name for column in table.columns} for table in metadata.tables.values()
    }
    for table in TABLES:
        key = list(metadata.tables[table.name].primary_key.columns)
        assert table.by in ("", key[0].name)
        assert not table.by or key[0].type.python_type is int
        assert table.numbered == (metadata.tables[table.name].autoincrement_column is not None)


def test_what_rows_belong_to_is_moved_before_them() -> None:
    order = [table.name for table in TABLES]
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            assert order.index(key.column.table.name) < order.index(table.name)


@pytest.mark.parametrize("keys", [(), (OLD,)], ids=["plain", "sealed"])
async def test_a_store_goes_to_postgresql_and_comes_back_as_it_was(
    path: Path, tmp_path: Path, database: str, keys: Sequence[bytes]
) -> None:
    await filled(path, keys)
    before = await seen(url(path), keys)
    assert [name for name, rows in dump(path).items() if not rows] == ([] if keys else ["seal"])

    there = moved(url(path), database)
    assert all_equal(there)
    assert {one.table: one.rows for one in there} == {name: len(rows) for name, rows in dump(path).items()}
    assert await seen(database, keys) == before

    back = tmp_path / "back.db"
    assert all_equal(moved(database, url(back)))
    assert await seen(url(back), keys) == before
    assert dump(back) == dump(path)
    if keys:
        assert CANARY.encode() not in back.read_bytes()


async def test_a_store_goes_from_one_server_to_another(path: Path, database: str, postgres: PostgresServer) -> None:
    await filled(path)
    other = postgres.database()
    assert all_equal(moved(url(path), database))
    assert all_equal(moved(database, other))
    assert await seen(other) == await seen(database)


async def test_people_go_on_talking_where_the_store_was_moved_to(path: Path, tmp_path: Path, database: str) -> None:
    await filled(path)
    store = await open_store(url(path))
    conversation = await store.get_or_create(room("C9"), at=AT)
    await store.delete(conversation.id)
    await store.aclose()
    for source, target in ((url(path), database), (database, url(tmp_path / "back.db"))):
        assert all_equal(moved(source, target))
        store = await open_store(target)
        try:
            new = await store.get_or_create(room(f"new in {target}"), at=AT)
            assert new.id > conversation.id, "an id is never used again"
            conversation = new
            await store.append(new.id, Role.USER, "hello", at=AT)
            here = await store.find(ROOM_KEY)
            assert here is not None
            assert (await answer(store, "and on")).hold.conversation_id
            assert await store.once("an event", at=AT) is (target == database)
        finally:
            await store.aclose()


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("to_postgres", [True, False], ids=["to PostgreSQL", "to SQLite"])
async def test_a_move_that_was_ended_anywhere_goes_on(path: Path, tmp_path: Path, database: str, to_postgres: bool) -> None:
    await filled(path)
    source, target = url(path), database
    if not to_postgres:
        assert all_equal(moved(source, target))
        source, target = target, url(tmp_path / "back.db")
    before = await seen(source)
    ended, nth = 0, 1
    while True:
        calls = iter(range(1, nth + 1))

        def end(done: int, total: int, calls: Iterator[int] = calls, last: int = nth) -> None:
            assert 0 <= done <= total
            if next(calls, last) == last:
                raise Killed

        try:
            assert all_equal(moved(source, target, end))
            break
        except Killed:
            ended, nth = ended + 1, nth + 3
        with pytest.raises(StoreDenied, match="half moved"):
            await open_store(target)
    assert ended > 10
    assert await seen(target) == before


@pytest.mark.parametrize("to_postgres", [True, False], ids=["to PostgreSQL", "to SQLite"])
async def test_a_process_that_was_killed_leaves_a_move_that_goes_on(
    path: Path, tmp_path: Path, database: str, to_postgres: bool
) -> None:
    await filled(path)
    target = database if to_postgres else url(tmp_path / "there.db")
    code = """
import signal, itertools
from contextlib import closing
from dataclasses import replace
from store import moving
from store.moving_open import source_at, target_at
moving.TABLES = tuple(replace(table, page=2) for table in moving.TABLES)
calls = itertools.count(1)
def progress(done, total):
    if next(calls) == int(sys.argv[3]):
        tell(done=done)
        os.kill(os.getpid(), signal.SIGKILL)
with closing(source_at(sys.argv[1])) as source, closing(target_at(sys.argv[2])) as target:
    moving.move(source, target, progress)
"""
    with python(code, url(path), target, 8) as (process, told):
        assert process.wait(20) == -signal.SIGKILL
    assert told["done"]
    with pytest.raises(StoreDenied, match="half moved"):
        await open_store(target)
    assert all_equal(moved(url(path), target))
    assert await seen(target) == await seen(url(path))


@pytest.mark.usefixtures("small_pages")
async def test_a_source_that_was_used_meanwhile_is_noticed(path: Path, database: str) -> None:
    await filled(path)

    def end(done: int, total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        moved(url(path), database, end)
    store = await open_store(url(path))
    here = await store.find(ROOM_KEY)
    assert here is not None
    await store.append(here.id, Role.USER, "one more", at=AT)
    await store.aclose()
    compared = moved(url(path), database)
    assert [one.table for one in compared if not one.equal] == ["conversation"]
    with pytest.raises(StoreDenied, match="half moved"):
        await open_store(database)


@pytest.mark.parametrize("to_postgres", [True, False], ids=["PostgreSQL", "SQLite"])
async def test_a_target_that_holds_something_is_left_alone(
    path: Path, tmp_path: Path, database: str, to_postgres: bool
) -> None:
    await filled(path)
    target = database if to_postgres else url(tmp_path / "other.db")
    store = await open_store(target)
    conversation = await say(store, "mine", key=OTHER)
    await store.aclose()
    with pytest.raises(StoreDenied, match="not empty"):
        moved(url(path), target)
    store = await open_store(target)
    assert await read(store, conversation) == ["mine"]
    await store.aclose()


async def test_an_empty_store_may_be_moved_to_and_be_moved(path: Path, tmp_path: Path, database: str) -> None:
    await (await open_store(url(path), keys=[OLD])).aclose()
    await (await open_store(database, keys=[OLD])).aclose()
    assert all_equal(moved(url(path), database))
    await (await open_store(database, keys=[OLD])).aclose()
    assert all_equal(moved(database, url(tmp_path / "back.db")))


async def test_a_target_of_another_move_is_left_alone(path: Path, tmp_path: Path, database: str) -> None:
    await filled(path)
    other = tmp_path / "other.db"
    await filled(other)

    def end(done: int, total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        moved(url(other), database, end)
    with pytest.raises(StoreDenied, match=r"half moved from .*other\.db"):
        moved(url(path), database)
    assert all_equal(moved(url(other), database))


def test_what_is_no_store_is_not_moved(path: Path, tmp_path: Path, database: str) -> None:
    for address in (url(path), database):
        with pytest.raises(StoreDenied, match="nothing to move"):
            refuse_nothing(address)
    assert list(tmp_path.iterdir()) == []
    for address in ("mysql://host/name", "parley.db", "sqlite:///:memory:"):
        with pytest.raises(StoreDenied):
            refuse_nothing(address)
        with pytest.raises(StoreDenied):
            target_at(address)
    for one, other in ((url(path), f"sqlite:///{tmp_path}/./parley.db"), (database, f"{database}?connect_timeout=1")):
        with pytest.raises(StoreDenied, match="itself"):
            refuse_same(one, other)


async def test_a_store_in_use_is_not_moved(path: Path, database: str) -> None:
    for address in (url(path), database):
        store = await open_store(address)
        await say(store, "hello")
        claim = await take(store)
        with pytest.raises(StoreBusy):
            source_at(address)
        await store.release(claim.hold)
        await store.aclose()
        with closing(source_at(address)), pytest.raises(StoreBusy):
            source_at(address)
        source_at(address).close()


async def test_a_move_that_has_just_ended_is_waited_for(postgres: PostgresServer, database: str) -> None:
    """A server that is busy notices later that somebody has hung up."""
    await (await open_store(database)).aclose()
    async with await psycopg.AsyncConnection.connect(database) as going:
        await going.execute(f"SELECT pg_advisory_xact_lock({MOVING})".encode())
        taking = asyncio.create_task(asyncio.to_thread(source_at, database))
        while not (taking.done() or postgres.execute(TRIED)):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        await going.rollback()
    (await taking).close()


TRIED = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory_xact_lock%' AND state LIKE 'idle%'"


async def test_a_database_that_a_parley_is_connected_to_is_in_use(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await open_store(database)
    monkeypatch.setattr("store.postgres_in_use.GOING_SECONDS", 0.0)
    with pytest.raises(StoreBusy, match="running Parley"):
        refuse_in_use(database)
    monkeypatch.undo()
    await store.aclose()
    with closing(source_at(database)):
        refuse_in_use(database)


async def test_nobody_writes_to_a_database_while_it_is_moved(database: str) -> None:
    store = await open_store(database)
    await store.aclose()
    hurried = psycopg.connect(database, options="-c lock_timeout=10ms")
    with closing(source_at(database)), hurried as db, pytest.raises(psycopg.errors.LockNotAvailable):
        db.execute("INSERT INTO note (name, text) VALUES ('a', 'b')")


async def test_an_account_on_several_rows_is_one_in_a_file(path: Path, tmp_path: Path, database: str) -> None:
    await filled(path)
    assert all_equal(moved(url(path), database))
    with psycopg.connect(database) as db:
        db.execute(
            "INSERT INTO account (period, platform, workspace, payer, subject, turns, prompt_tokens, money) "
            "SELECT period, platform, workspace, payer, n::text, 1, 10, n FROM account, generate_series(1, 3) n "
            "WHERE payer IN ('workspace', 'all')"
        )
    before = await seen(database)
    back = tmp_path / "back.db"
    assert all_equal(moved(database, url(back)))
    assert await seen(url(back)) == before
    assert len(dump(back)["account"]) == len(dump(path)["account"]) < count(database, "account")


async def test_what_an_older_program_queued_beside_a_newer_one_is_found_where_it_was_moved_to(
    path: Path, database: str
) -> None:
    store = await open_store(database)
    for number in range(100):
        await say(store, f"hello from {number}", key=room(f"C{number}"))
    await store.aclose()
    with psycopg.connect(database, autocommit=True) as db:  # it knows nothing of these columns
        db.execute("UPDATE turn SET queued_platform = NULL, queued_workspace = NULL, queued_channel = NULL WHERE id < 90")
    assert all_equal(moved(database, url(path)))
    store = await open_store(url(path))
    try:
        assert {(await take(store)).key.channel for _ in range(100)} == {f"C{number}" for number in range(100)}
    finally:
        await store.aclose()


async def test_what_was_erased_stays_gone_in_an_older_copy_of_where_it_was_moved_to(
    path: Path, tmp_path: Path, database: str
) -> None:
    await make_store(path, "to be forgotten")
    older, back = tmp_path / "older.db", tmp_path / "back.db"
    back_up(path, older, lambda done, total: None)
    store = await open_store(url(path))
    conversation = await store.find(ROOM)
    assert conversation is not None
    await store.delete(conversation.id)
    await store.aclose()
    assert all_equal(moved(url(path), database))
    assert all_equal(moved(database, url(back)))
    written, damaged = ledgers.read(ledgers.beside(back))
    assert damaged == 0
    assert set(written) == set(ledgers.read(ledgers.beside(path))[0])
    restore(older, back, at=datetime.now(UTC), progress=lambda done, total: None)
    assert await read_all(back) == []
