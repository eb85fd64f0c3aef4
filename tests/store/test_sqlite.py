"""The laws of the store on SQLite, in a file and in memory, and what is SQLite's own about them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from store import LeaseLost, Store, open_store
from tests.contracts.store_laws import DurableStoreLaws, StoreLaws
from tests.contracts.store_words import Reopen, answer, say, take

pytestmark = pytest.mark.anyio


class TestSqliteFile(DurableStoreLaws):
    """One file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "store" / "parley.db"

    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[Store]:
        path.parent.mkdir()
        store = await open_store(f"sqlite:///{path}")
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, store: Store, path: Path) -> AsyncIterator[Reopen]:
        opened = [store]

        async def again() -> Store:
            await opened[-1].aclose()
            opened.append(await open_store(f"sqlite:///{path}"))
            return opened[-1]

        yield again
        await opened[-1].aclose()

    async def test_a_lease_is_void_after_reopening(self, store: Store, reopen: Reopen) -> None:
        """One process holds the file, so the holder is gone: nobody waits for its lease to run out."""
        await say(store, "hello")
        gone = await take(store)
        store = await reopen()
        with pytest.raises(LeaseLost):
            await store.record_part(gone.hold, 0, "from beyond")
        again = await take(store)
        assert (again.turn.id, again.turn.attempts, dict(again.parts)) == (gone.turn.id, 2, {})

    async def test_concurrent_calls_share_commits(self, store: Store) -> None:
        groups = store.groups  # type: ignore[attr-defined]
        await asyncio.gather(*(store.check() for _ in range(64)))
        assert store.groups - groups <= 4  # type: ignore[attr-defined]

    async def test_a_deleted_text_is_nowhere_in_the_files(self, store: Store, path: Path) -> None:
        conversation_id = await say(store, *[f"wombat {n}" for n in range(40)])
        await answer(store, "wombat, too")
        await say(store, "something else")
        assert any(b"wombat" in file.read_bytes() for file in path.parent.iterdir())
        await store.delete(conversation_id)
        assert not any(b"wombat" in file.read_bytes() for file in path.parent.iterdir())

    async def test_a_purged_text_is_nowhere_in_the_file_once_it_is_closed(self, store: Store, path: Path) -> None:
        from tests.contracts.store_laws_lifetime import MINUTE, NOW

        await say(store, *[f"wombat {n}" for n in range(40)])
        for _ in range(2):
            await answer(store, "wombat, too")
        await store.expire(before=NOW, at=NOW, limit=10)
        while await store.purge(before=NOW + MINUTE, limit=10):
            pass
        await store.aclose()
        assert not any(b"wombat" in file.read_bytes() for file in path.parent.iterdir())

    async def test_the_file_is_set_up_to_survive_a_power_cut(self, store: Store, path: Path) -> None:
        def settings(db: sqlite3.Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "mmap_size")
            return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await store._writer.alone(settings) == ["wal", 2, 1, 1, 0]  # type: ignore[attr-defined]

    async def test_no_law_leaves_orphans(self, store: Store, path: Path) -> None:
        conversation_id = await say(store, "hello")
        await store.record_part((await take(store)).hold, 0, "P")
        await store.delete(conversation_id)
        await store.aclose()
        with closing(sqlite3.connect(path)) as db:
            for table in ("conversation", "message", "turn", "part"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608


class TestSqliteMemory(StoreLaws):
    """No file at all."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = await open_store("sqlite:///:memory:")
        yield store
        await store.aclose()

    async def test_two_stores_in_memory_share_nothing(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        other = await open_store("sqlite:///:memory:")
        try:
            with pytest.raises(LookupError):
                await other.recent(conversation_id, 1)
        finally:
            await other.aclose()
