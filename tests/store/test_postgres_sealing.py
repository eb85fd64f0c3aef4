"""A sealed store on PostgreSQL: nothing that was said is readable in its tables' files, and only its keys open it.

It is sealed anew by the laws by which a file is, with several processes that may come at once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import psycopg
import pytest

import store.postgres_in_use as in_use
import store.postgres_reseal as resealing
import store.postgres_scrubbing as scrubbing
from store import StoreBusy, StoreUnavailable, open_store
from store.postgres_setup import LOCK, version
from tests.contracts.store_laws_attachments import AttachmentLaws
from tests.contracts.store_laws_edits import ReviseLaws
from tests.contracts.store_laws_keeping import ExportLaws, PersonaLaws
from tests.contracts.store_laws_sealing import KeyLaws, RotationLaws, TurningOnLaws
from tests.contracts.store_laws_texts import DurableLaws, TextLaws
from tests.contracts.store_laws_turns import ClaimLaws, FinishLaws
from tests.contracts.store_words import Opens, message, read, room, say
from tests.engines.postgres import PostgresServer, execute
from tests.engines.transaction_pooler import TransactionPooler
from tests.store.canaries import (
    CANARY,
    NEW,
    OLD,
    ROOM_KEY,
    SAID,
    everything,
    fill,
    talk_of_the_canary,
)
from tests.store.conftest import EMPTY
from tests.store.other_process import run_at_once
from tests.store.test_postgres_erasing import found

pytestmark = pytest.mark.anyio

SEALED_WITH = "SELECT number FROM seal ORDER BY 1"
FUNCTIONS = "SELECT proname FROM pg_proc WHERE proname LIKE 'parley%' ORDER BY 1"


@pytest.fixture(scope="module")
def sealed(postgres: PostgresServer, postgres_template: str) -> str:
    """The address of a store whose key is entered once."""
    return postgres.database(like=postgres_template)


@contextmanager
def hurried() -> Iterator[None]:
    """Let nobody wait for those who are in the way and don't go, for as long as the body lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_use, "GOING_SECONDS", 0.0)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where an empty store is, in a database of its own whose files are looked into."""

    address: str
    server: PostgresServer

    @property
    def name(self) -> str:
        return self.address.rpartition("@")[2]

    def contents(self) -> list[list[tuple[object, ...]]]:
        """All that stands in the tables and the names of the functions."""
        statements = [f"SELECT * FROM {table} ORDER BY 1" for table in ("conversation", "message", "attachment", "seal")]  # noqa: S608
        return [execute(self.address, text) for text in (*statements, FUNCTIONS)]

    def readable(self) -> list[str]:
        return found(self.server, self.address, CANARY)

    def seals(self) -> list[int]:
        return [int(str(number)) for (number,) in execute(self.address, SEALED_WITH)]


@pytest.fixture
def place(postgres: PostgresServer, own_url: str) -> Database:
    return Database(address=own_url, server=postgres)


async def there(url: str, statement: str) -> None:
    while not execute(url, statement):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


class TestSealed(ClaimLaws, FinishLaws, AttachmentLaws, ReviseLaws, PersonaLaws, ExportLaws, TextLaws, DurableLaws):
    """The laws of all that goes through the seal."""

    @pytest.fixture
    def opens(self, sealed: str) -> Opens:
        execute(sealed, EMPTY.replace("<> 'alembic_version'", "NOT IN ('alembic_version', 'seal')"))
        return partial(open_store, sealed, keys=[OLD])

    async def test_what_is_said_is_nowhere_in_the_files(self, own_url: str, postgres: PostgresServer) -> None:
        store = await open_store(own_url, keys=[OLD])
        await talk_of_the_canary(store)
        assert found(postgres, own_url, CANARY) == []
        await store.aclose()
        assert found(postgres, own_url, CANARY) == []


class TestKeys(KeyLaws):
    """Whoever lacks a key is refused before one row is changed."""


class TestTurningOn(TurningOnLaws):
    """A store that had no key is sealed before it is served, and what stood there in plain is gone."""

    async def test_large_tables_are_written_anew_as_well(
        self, own_url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = await open_store(own_url)
        for n in range(60):
            await store.accept(message(CANARY * (n * 37 % 400), key=room(f"C{n % 9}"), address="there"))
        await store.aclose()
        monkeypatch.setattr(scrubbing, "REWRITTEN", 0)
        await (await open_store(own_url, keys=[NEW])).aclose()
        assert found(postgres, own_url, CANARY) == []

    async def test_it_is_done_in_batches_of_any_size(self, own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resealing, "ROWS", 2)
        monkeypatch.setattr(resealing, "FILES", 1)
        await fill(own_url, [])
        steps: list[int] = []
        await (await open_store(own_url, keys=[NEW], progress=lambda done, total: steps.append(done))).aclose()
        assert len(steps) > 3
        assert await everything(own_url, [NEW]) == SAID

    async def test_what_is_damaged_is_left_as_it_is_and_the_rest_is_sealed(self, own_url: str) -> None:
        await fill(own_url, [OLD])
        execute(own_url, "UPDATE message SET text = 'bm90aGluZw==' WHERE role = 1 AND ending <> ''")
        execute(own_url, "UPDATE message SET sealed = 7 WHERE id = 1")
        damaged = "SELECT text, sealed FROM message WHERE sealed = 7 OR text = 'bm90aGluZw==' ORDER BY id"
        before = execute(own_url, damaged)
        await (await open_store(own_url, keys=[NEW, OLD])).aclose()
        assert len(before) > 1
        assert execute(own_url, damaged) == before
        assert execute(own_url, "SELECT count(*) > 0 FROM message WHERE sealed = 2") == [(True,)]


class TestRotation(RotationLaws):
    """A new key takes the old one's place in the database."""


class TestOthers:
    """One does it, alone; those who come at the same time wait for it, and those with another key are kept out for good."""

    def test_processes_that_start_at_once_with_a_new_key_are_all_served(self, own_url: str) -> None:
        asyncio.run(fill(own_url, [OLD]))
        told = run_at_once(3, STARTS, own_url, f"{NEW.hex()},{OLD.hex()}")
        assert sorted(one["sealed"] for one in told) == [False, False, True], "one did it"
        assert asyncio.run(everything(own_url, [NEW])) == SAID

    async def test_while_a_parley_is_connected_it_is_refused_and_nothing_is_changed(
        self, own_url: str, place: Database
    ) -> None:
        running = await open_store(own_url)
        conversation_id = await say(running, "hello")
        before = place.contents()
        with hurried(), pytest.raises(StoreBusy, match="running Parley"):
            await open_store(own_url, keys=[NEW])
        assert place.contents() == before
        assert await read(running, conversation_id) == ["hello"]
        await running.aclose()
        await (await open_store(own_url, keys=[NEW])).aclose()

    async def test_who_is_not_seen_reads_and_writes_nothing_any_more(self, own_url: str) -> None:
        """Behind a pooler a connection may be called anything."""
        unseen = await open_store(f"{own_url}?application_name=somebody")
        await talk_of_the_canary(unseen)
        assert await everything(own_url, [NEW]) == SAID
        for call in (unseen.accept(message("plain")), unseen.recent(1, 10), unseen.check()):
            with pytest.raises(StoreUnavailable, match="start it again"):
                await call
        assert await everything(own_url, [NEW]) == SAID, "the functions are there again, by other names"
        with pytest.raises(StoreUnavailable, match="start it again"):
            await unseen.accept(message("plain"))
        assert execute(own_url, "SELECT count(*) FROM message WHERE sealed = 0") == [(0,)]
        await unseen.aclose()
        assert version(1) != version() != version(2)

    async def test_a_call_that_was_under_way_did_all_or_nothing(self, own_url: str) -> None:
        unseen = await open_store(f"{own_url}?application_name=somebody")
        conversation_id = await talk_of_the_canary(unseen)
        async with await psycopg.AsyncConnection.connect(own_url) as locking:
            await locking.execute("SELECT 1 FROM conversation FOR UPDATE")
            late = asyncio.create_task(unseen.accept(message("said in the last moment", address="there")))
            await there(own_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            opening = asyncio.create_task(open_store(own_url, keys=[NEW]))
            await there(own_url, SEALED_WITH)
            await locking.rollback()
        store = await opening
        try:
            assert await late == conversation_id
        except StoreUnavailable:
            assert await read(store, conversation_id) == SAID
        else:
            assert await read(store, conversation_id) == [*SAID, "said in the last moment"]
        await store.aclose()
        await unseen.aclose()

    async def test_what_is_written_in_the_last_moment_is_waited_for_and_sealed(self, own_url: str) -> None:
        await fill(own_url, [])
        async with (
            await psycopg.AsyncConnection.connect(own_url, autocommit=True) as gate,
            await psycopg.AsyncConnection.connect(own_url, autocommit=True) as late,
        ):
            await gate.execute("SELECT pg_advisory_lock(7)")
            writing = asyncio.create_task(late.execute(LATE))
            await there(own_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            opening = asyncio.create_task(open_store(own_url, keys=[NEW]))
            await there(own_url, SEALED_WITH)
            await gate.execute("SELECT pg_advisory_unlock(7)")
            await writing
            store = await opening
        conversation = await store.find(ROOM_KEY)
        assert conversation is not None
        assert await read(store, conversation.id) == [f"{CANARY} late", *SAID[1:]]
        await store.aclose()

    async def test_one_that_never_ends_is_in_the_way(self, own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        await fill(own_url, [OLD])
        monkeypatch.setattr(resealing, "CALLS", timedelta(0))
        with psycopg.connect(own_url, autocommit=True) as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM message")
            with pytest.raises(StoreUnavailable, match="older state"):
                await open_store(own_url, keys=[NEW, OLD])
        assert await everything(own_url, [NEW, OLD]) == SAID

    async def test_whoever_waits_for_the_lock_does_not_keep_what_was_erased(self, own_url: str) -> None:
        """A statement that waits in the server holds on to an older state."""
        await fill(own_url, [])
        with psycopg.connect(own_url) as holder:
            holder.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            opening = [asyncio.create_task(open_store(own_url, keys=[NEW])) for _ in range(2)]
            await there(own_url, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'parley start' OFFSET 1")
            assert execute(own_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'") == []
        for store in await asyncio.gather(*opening):
            await store.aclose()

    async def test_it_works_through_a_pooler_when_nobody_was_there_before(
        self, own_url: str, postgres: PostgresServer
    ) -> None:
        await fill(own_url, [])
        with TransactionPooler.before(postgres) as pooler:
            assert await everything(pooler.url(own_url), [NEW]) == SAID
        assert found(postgres, own_url, CANARY) == []
        assert await everything(own_url, [NEW]) == SAID


LATE = f"""
DO $$ BEGIN
  PERFORM pg_advisory_lock(7);
  UPDATE message SET text = '{CANARY} late', sealed = 0 WHERE id = 1;
END $$"""  # noqa: S608
STARTS = """
import asyncio
from store import open_store
async def main():
    steps = []
    keys = [bytes.fromhex(key) for key in sys.argv[2].split(",")]
    store = await open_store(sys.argv[1], keys=keys, progress=lambda *step: steps.append(step))
    await store.aclose()
    tell(sealed=bool(steps))
asyncio.run(main())
"""
