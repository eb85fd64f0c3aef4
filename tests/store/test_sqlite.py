"""The laws of the store on SQLite, in a file and in memory, and what is SQLite's own about them."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import store.sqlite_conversations as conversations
import store.sqlite_sql as sql
from store import Attachment, Feedback, Installation, LeaseLost, Store, open_store
from store.values import TURN_MESSAGES
from tests.contracts.store_laws import DurableStoreLaws, StoreLaws
from tests.contracts.store_words import AT, Opens, Reopen, answer, message, named, nothing_to_do, room, say, take

pytestmark = pytest.mark.anyio


class TestSqliteFile(DurableStoreLaws):
    """One file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "store" / "parley.db"

    @pytest.fixture
    def opens(self, path: Path) -> Opens:
        path.parent.mkdir()
        return partial(open_store, f"sqlite:///{path}")

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

    async def test_a_retracted_text_is_nowhere_in_the_files(self, store: Store, path: Path) -> None:
        file = Attachment(number=0, name="wombat.txt", media_type="text/plain", size=6, url="", data=b"wombat")
        await store.accept(message("wombat", message_id="M-1", address="there", attachments=(file,)))
        await answer(store, "wombat, too")
        await say(store, "something else")
        assert any(b"wombat" in file.read_bytes() for file in path.parent.iterdir())
        await store.retract([named("M-1")])
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

    async def test_a_workspace_that_was_purged_is_nowhere_in_the_files(self, store: Store, path: Path) -> None:
        await say(store, *[f"wombat {n}" for n in range(40)])
        await answer(store, "wombat, too")
        await say(store, "something else", key=room("C1", workspace="T2"))
        await store.put_installation(Installation(platform="slack", workspace="T1", data=b"wombat", at=AT))
        await store.purge_workspace("slack", "T1")
        assert not any(b"wombat" in file.read_bytes() for file in path.parent.iterdir())

    async def test_a_large_workspace_is_purged_in_portions(self, store: Store, monkeypatch) -> None:
        monkeypatch.setattr("store.sqlite_workspaces.CONVERSATIONS", 3)
        monkeypatch.setattr("store.sqlite.PURGE_ROWS", 5)
        for n in range(20):
            await say(store, "hello", key=room(f"C{n}", workspace=f"T{n % 2}"))
            await answer(store)
        groups = store.groups  # type: ignore[attr-defined]
        assert await store.purge_workspace("slack", "T1") == 10
        assert store.groups - groups >= 1 + 7 + 40 // 5  # type: ignore[attr-defined]
        assert len(await store.conversations_of("slack", "T0", "U-Ann", limit=100)) == 10

    async def test_what_waits_in_a_workspace_whose_purge_broke_off_can_be_edited_and_deleted(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [named(f"M-{number}") for number in range(TURN_MESSAGES + 2)]
        for name in names:
            await store.accept(message("hello", message_id=name.id))
        with monkeypatch.context() as broken:
            broken.setattr(conversations, "purge", lambda *args: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                await store.purge_workspace("slack", "T1")
        await store.revise(names[-1], "hello again")
        await store.retract(names)
        assert await nothing_to_do(store)
        assert await store.purge_workspace("slack", "T1") == 1

    async def test_a_persons_conversations_are_found_without_looking_through_all(self, store: Store) -> None:
        def plan(db: sqlite3.Connection) -> list[str]:
            rows = db.execute("EXPLAIN QUERY PLAN " + sql.CONVERSATION + sql.OF_PERSON, ("slack", "T1", "U1", 9))
            return [row[3] for row in rows]

        steps = await store._writer.alone(plan)  # type: ignore[attr-defined]
        assert any("conversation_of_user" in step for step in steps)
        assert any("participant_author" in step for step in steps)
        assert not [step for step in steps if step.startswith("SCAN") and "subquery" not in step.lower()]

    async def test_the_file_is_set_up_to_survive_a_power_cut(self, store: Store, path: Path) -> None:
        def settings(db: sqlite3.Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "mmap_size")
            return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await store._writer.alone(settings) == ["wal", 2, 1, 1, 0]  # type: ignore[attr-defined]

    async def test_no_law_leaves_orphans(self, store: Store, path: Path) -> None:
        file = Attachment(number=0, name="a", media_type="text/plain", size=1, url="", data=b"x")
        conversation_id = await store.accept(message("hello", attachments=(file,)))
        assert conversation_id is not None
        await store.accept(message("deleted", message_id="M-1", attachments=(file,)))
        claim = await take(store)
        await store.record_part(claim.hold, 0, "P")
        await store.put_feedback(claim.turn.id, "U1", Feedback.BAD, at=AT)
        await store.retract([named("M-1")])
        await store.delete(conversation_id)
        await store.aclose()
        with closing(sqlite3.connect(path)) as db:
            for table in ("conversation", "participant", "message", "attachment", "turn", "part", "feedback"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608


class TestSqliteMemory(StoreLaws):
    """No file at all."""

    @pytest.fixture
    def opens(self) -> Opens:
        return partial(open_store, "sqlite:///:memory:")

    async def test_two_stores_in_memory_share_nothing(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        other = await open_store("sqlite:///:memory:")
        try:
            with pytest.raises(LookupError):
                await other.recent(conversation_id, 1)
        finally:
            await other.aclose()
