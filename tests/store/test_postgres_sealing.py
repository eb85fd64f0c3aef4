"""A sealed store on PostgreSQL: nothing that was said is readable in its tables' files, and only its keys open it.

It is sealed anew as a file is (`tests/store/test_sqlite_sealing.py`), with several processes that may come at once.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

import store.postgres_in_use as in_use
import store.postgres_reseal as resealing
import store.postgres_scrubbing as scrubbing
from store import KeyRefused, Store, StoreBusy, StoreUnavailable, open_store
from store.postgres_setup import LOCK, version
from tests.contracts.store_laws_attachments import AttachmentLaws
from tests.contracts.store_laws_edits import ReviseLaws
from tests.contracts.store_laws_keeping import ExportLaws, PersonaLaws
from tests.contracts.store_laws_texts import DurableLaws, TextLaws
from tests.contracts.store_laws_turns import ClaimLaws, FinishLaws
from tests.contracts.store_words import Reopen, message, read, room, say
from tests.engines.postgres import PostgresServer
from tests.engines.transaction_pooler import TransactionPooler
from tests.store.canaries import (
    CANARY,
    NEW,
    OLD,
    ROOM_KEY,
    SAID,
    WRONG,
    everything,
    fill,
    talk_of_the_canary,
)
from tests.store.conftest import EMPTY
from tests.store.other_process import python
from tests.store.test_postgres_erasing import found

pytestmark = pytest.mark.anyio

SEALED_WITH = "SELECT number FROM seal ORDER BY 1"


@pytest.fixture
def address(postgres: PostgresServer, postgres_template: str) -> str:
    """The address of an empty store of its own, whose files are looked into."""
    return postgres.database(like=postgres_template)


@pytest.fixture(scope="module")
def sealed(postgres: PostgresServer, postgres_template: str) -> str:
    """The address of a store whose key is entered once."""
    return postgres.database(like=postgres_template)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who is in the way goes, so nobody waits for them."""
    monkeypatch.setattr(in_use, "GOING_SECONDS", 0.0)


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def contents(url: str) -> list[list[tuple[object, ...]]]:
    """All that stands in the tables and the names of the functions."""
    statements = [f"SELECT * FROM {table} ORDER BY 1" for table in ("conversation", "message", "attachment", "seal")]  # noqa: S608
    return [run(url, text) for text in (*statements, "SELECT proname FROM pg_proc WHERE proname LIKE 'parley%' ORDER BY 1")]


async def there(url: str, statement: str) -> None:
    while not run(url, statement):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


class TestSealed(ClaimLaws, FinishLaws, AttachmentLaws, ReviseLaws, PersonaLaws, ExportLaws, TextLaws, DurableLaws):
    """The laws of all that goes through the seal."""

    @pytest.fixture
    async def store(self, sealed: str) -> AsyncIterator[Store]:
        run(sealed, EMPTY.replace("<> 'alembic_version'", "NOT IN ('alembic_version', 'seal')"))
        store = await open_store(sealed, keys=[OLD])
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, store: Store, sealed: str) -> AsyncIterator[Reopen]:
        opened = [store]

        async def again() -> Store:
            await opened[-1].aclose()
            opened.append(await open_store(sealed, keys=[OLD]))
            return opened[-1]

        yield again
        await opened[-1].aclose()

    async def test_what_is_said_is_nowhere_in_the_files(self, address: str, postgres: PostgresServer) -> None:
        store = await open_store(address, keys=[OLD])
        await talk_of_the_canary(store)
        assert found(postgres, address, CANARY) == []
        await store.aclose()
        assert found(postgres, address, CANARY) == []


class TestKeys:
    """Whoever lacks a key is refused before anything is changed."""

    async def refused(self, address: str, keys: Sequence[bytes], words: str) -> None:
        before = contents(address)
        with pytest.raises(KeyRefused, match=words) as told:
            await open_store(address, keys=keys)
        assert not any(key.hex() in str(told.value) for key in keys)
        assert contents(address) == before

    async def test_no_key_or_a_wrong_one_is_refused(self, address: str) -> None:
        await fill(address, [OLD])
        await self.refused(address, [], "set ENCRYPTION_KEY")
        await self.refused(address, [WRONG], "ENCRYPTION_KEY=new,old")
        await self.refused(address, [WRONG, NEW], "ENCRYPTION_KEY=new,old")
        assert await everything(address, [OLD]) == SAID


class TestTurningOn:
    """A store that had no key is sealed before it is served, and what stood there in plain is gone."""

    async def test_what_was_plain_is_sealed_and_gone_from_the_files(self, address: str, postgres: PostgresServer) -> None:
        await fill(address, [])
        assert found(postgres, address, CANARY) != []
        steps: list[tuple[int, int]] = []
        store = await open_store(address, keys=[NEW], progress=lambda done, total: steps.append((done, total)))
        assert found(postgres, address, CANARY) == [], "as soon as it is served"
        await store.aclose()
        assert steps[-1][0] == steps[-1][1] >= len(SAID)
        assert steps == sorted(steps)
        assert run(address, SEALED_WITH) == [(1,)]
        assert await everything(address, [NEW]) == SAID
        with pytest.raises(KeyRefused):
            await open_store(address)

    async def test_large_tables_are_written_anew_as_well(
        self, address: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = await open_store(address)
        for n in range(60):
            await store.accept(message(CANARY * (n * 37 % 400), key=room(f"C{n % 9}"), address="there"))
        await store.aclose()
        monkeypatch.setattr(scrubbing, "REWRITTEN", 0)
        await (await open_store(address, keys=[NEW])).aclose()
        assert found(postgres, address, CANARY) == []

    async def test_everything_comes_back_as_it_was(self, address: str) -> None:
        store = await open_store(address)
        conversation_id = await talk_of_the_canary(store)
        before = await store.recent(conversation_id, 100), await store.find(ROOM_KEY)
        await store.aclose()
        for keys in ([OLD], [NEW, OLD], [NEW]):
            store = await open_store(address, keys=keys)
            after = await store.recent(conversation_id, 100), await store.find(ROOM_KEY)
            await store.aclose()
            assert after == before

    async def test_it_is_done_in_batches_of_any_size(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resealing, "ROWS", 2)
        monkeypatch.setattr(resealing, "FILES", 1)
        await fill(address, [])
        steps: list[int] = []
        await (await open_store(address, keys=[NEW], progress=lambda done, total: steps.append(done))).aclose()
        assert len(steps) > 3
        assert await everything(address, [NEW]) == SAID

    async def test_the_second_start_has_nothing_left_to_do(self, address: str) -> None:
        await fill(address, [])
        await fill(address, [NEW])
        steps: list[tuple[int, int]] = []
        before = contents(address)
        await (await open_store(address, keys=[NEW], progress=lambda *step: steps.append(step))).aclose()
        assert steps == []
        assert contents(address) == before

    @pytest.mark.parametrize("batch", [1, 3, 5, 8])
    async def test_killed_in_the_middle_the_next_start_goes_on(
        self, address: str, postgres: PostgresServer, batch: int
    ) -> None:
        await fill(address, [])
        with python(DIES_WHILE_SEALING, address, NEW.hex(), batch) as (process, _):
            assert process.wait(30) == -signal.SIGKILL
        with pytest.raises(KeyRefused):
            await open_store(address)
        assert await everything(address, [NEW]) == SAID
        assert found(postgres, address, CANARY) == []

    async def test_killed_in_the_middle_it_may_go_on_with_yet_another_key(
        self, address: str, postgres: PostgresServer
    ) -> None:
        await fill(address, [])
        with python(DIES_WHILE_SEALING, address, OLD.hex(), 2) as (process, _):
            process.wait(30)
        with pytest.raises(KeyRefused):
            await open_store(address, keys=[NEW])
        assert await everything(address, [NEW, OLD]) == SAID
        assert await everything(address, [NEW]) == SAID
        assert found(postgres, address, CANARY) == []

    async def test_what_is_damaged_is_left_as_it_is_and_the_rest_is_sealed(self, address: str) -> None:
        await fill(address, [OLD])
        run(address, "UPDATE message SET text = 'bm90aGluZw==' WHERE role = 1 AND ending <> ''")
        run(address, "UPDATE message SET sealed = 7 WHERE id = 1")
        damaged = "SELECT text, sealed FROM message WHERE sealed = 7 OR text = 'bm90aGluZw==' ORDER BY id"
        before = run(address, damaged)
        await (await open_store(address, keys=[NEW, OLD])).aclose()
        assert len(before) > 1
        assert run(address, damaged) == before
        assert run(address, "SELECT count(*) > 0 FROM message WHERE sealed = 2") == [(True,)]


class TestRotation:
    """A new key takes the old one's place; the old one is needed once more, and never again."""

    async def test_the_old_key_is_needed_for_one_start(self, address: str) -> None:
        await fill(address, [OLD])
        with pytest.raises(KeyRefused, match="old"):
            await open_store(address, keys=[NEW])
        assert await everything(address, [NEW, OLD]) == SAID
        assert run(address, SEALED_WITH) == [(2,)]
        assert await everything(address, [NEW]) == SAID
        with pytest.raises(KeyRefused):
            await open_store(address, keys=[OLD])

    async def test_killed_in_the_middle_it_goes_on_or_back(self, address: str) -> None:
        await fill(address, [OLD])
        with python(DIES_WHILE_SEALING, address, f"{NEW.hex()},{OLD.hex()}", 3) as (process, _):
            assert process.wait(30) == -signal.SIGKILL
        for keys in ([OLD], [NEW]):
            with pytest.raises(KeyRefused):
                await open_store(address, keys=keys)
        assert await everything(address, [OLD, NEW]) == SAID
        assert await everything(address, [OLD]) == SAID

    async def test_keys_that_are_not_needed_do_no_harm(self, address: str) -> None:
        await fill(address, [OLD, WRONG, NEW])
        assert await everything(address, [OLD]) == SAID
        assert await everything(address, [NEW, WRONG, OLD, OLD]) == SAID
        assert await everything(address, [NEW]) == SAID


class TestOthers:
    """One does it, alone; those who come at the same time wait for it, and those with another key are kept out for good."""

    def test_processes_that_start_at_once_with_a_new_key_are_all_served(self, address: str) -> None:
        asyncio.run(fill(address, [OLD]))
        command = [sys.executable, "-c", STARTS, address, f"{NEW.hex()},{OLD.hex()}"]
        starting = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
            )
            for _ in range(3)
        ]
        told = [process.communicate(timeout=60) for process in starting]
        assert [process.returncode for process in starting] == [0] * 3, [errors for _, errors in told]
        assert sorted(out for out, _ in told) == ["None\n", "None\n", "sealed\n"], "one did it"
        assert asyncio.run(everything(address, [NEW])) == SAID

    @pytest.mark.usefixtures("hurried")
    async def test_while_a_parley_is_connected_it_is_refused_and_nothing_is_changed(self, address: str) -> None:
        running = await open_store(address)
        conversation_id = await say(running, "hello")
        before = contents(address)
        with pytest.raises(StoreBusy, match="running Parley"):
            await open_store(address, keys=[NEW])
        assert contents(address) == before
        assert await read(running, conversation_id) == ["hello"]
        await running.aclose()
        await (await open_store(address, keys=[NEW])).aclose()

    async def test_who_is_not_seen_reads_and_writes_nothing_any_more(self, address: str) -> None:
        """Behind a pooler a connection may be called anything."""
        unseen = await open_store(f"{address}?application_name=somebody")
        await talk_of_the_canary(unseen)
        assert await everything(address, [NEW]) == SAID
        for call in (unseen.accept(message("plain")), unseen.recent(1, 10), unseen.check()):
            with pytest.raises(StoreUnavailable, match="start it again"):
                await call
        assert await everything(address, [NEW]) == SAID, "the functions are there again, by other names"
        with pytest.raises(StoreUnavailable, match="start it again"):
            await unseen.accept(message("plain"))
        assert run(address, "SELECT count(*) FROM message WHERE sealed = 0") == [(0,)]
        await unseen.aclose()
        assert version(1) != version() != version(2)

    async def test_a_call_that_was_under_way_did_all_or_nothing(self, address: str) -> None:
        unseen = await open_store(f"{address}?application_name=somebody")
        conversation_id = await talk_of_the_canary(unseen)
        async with await psycopg.AsyncConnection.connect(address) as locking:
            await locking.execute("SELECT 1 FROM conversation FOR UPDATE")
            late = asyncio.create_task(unseen.accept(message("said in the last moment", address="there")))
            await there(address, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            opening = asyncio.create_task(open_store(address, keys=[NEW]))
            await there(address, SEALED_WITH)
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

    async def test_what_is_written_in_the_last_moment_is_waited_for_and_sealed(self, address: str) -> None:
        await fill(address, [])
        async with (
            await psycopg.AsyncConnection.connect(address, autocommit=True) as gate,
            await psycopg.AsyncConnection.connect(address, autocommit=True) as late,
        ):
            await gate.execute("SELECT pg_advisory_lock(7)")
            writing = asyncio.create_task(late.execute(LATE))
            await there(address, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            opening = asyncio.create_task(open_store(address, keys=[NEW]))
            await there(address, SEALED_WITH)
            await gate.execute("SELECT pg_advisory_unlock(7)")
            await writing
            store = await opening
        conversation = await store.find(ROOM_KEY)
        assert conversation is not None
        assert await read(store, conversation.id) == [f"{CANARY} late", *SAID[1:]]
        await store.aclose()

    async def test_one_that_never_ends_is_in_the_way(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        await fill(address, [OLD])
        monkeypatch.setattr(resealing, "CALLS", timedelta(0))
        with psycopg.connect(address, autocommit=True) as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM message")
            with pytest.raises(StoreUnavailable, match="older state"):
                await open_store(address, keys=[NEW, OLD])
        assert await everything(address, [NEW, OLD]) == SAID

    async def test_whoever_waits_for_the_lock_does_not_keep_what_was_erased(self, address: str) -> None:
        """A statement that waits in the server holds on to an older state."""
        await fill(address, [])
        with psycopg.connect(address) as holder:
            holder.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            opening = [asyncio.create_task(open_store(address, keys=[NEW])) for _ in range(2)]
            await there(address, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'parley start' OFFSET 1")
            assert run(address, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'") == []
        for store in await asyncio.gather(*opening):
            await store.aclose()

    async def test_it_works_through_a_pooler_when_nobody_was_there_before(
        self, address: str, postgres: PostgresServer
    ) -> None:
        await fill(address, [])
        with TransactionPooler.before(postgres) as pooler:
            assert await everything(pooler.url(address), [NEW]) == SAID
        assert found(postgres, address, CANARY) == []
        assert await everything(address, [NEW]) == SAID


LATE = f"""
DO $$ BEGIN
  PERFORM pg_advisory_lock(7);
  UPDATE message SET text = '{CANARY} late', sealed = 0 WHERE id = 1;
END $$"""  # noqa: S608
DIES_WHILE_SEALING = """
import asyncio, signal, store.postgres_reseal
from store import open_store
address, keys, batch = sys.argv[1:]
store.postgres_reseal.ROWS = store.postgres_reseal.FILES = 1
def die(done, total):
    if done >= min(int(batch), total):
        tell(done=done)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(open_store(address, keys=[bytes.fromhex(key) for key in keys.split(",")], progress=die))
"""
STARTS = """
import asyncio, sys
from store import open_store
async def main():
    steps = []
    keys = [bytes.fromhex(key) for key in sys.argv[2].split(",")]
    store = await open_store(sys.argv[1], keys=keys, progress=lambda *step: steps.append(step))
    await store.aclose()
    print("sealed" if steps else None)
asyncio.run(main())
"""
