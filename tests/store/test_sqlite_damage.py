"""Damage and copies of a store's file: what is broken is told and kept, what is copied is whole."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from store import Claim, Store, StoreDamaged, StoreError, TurnState, open_store
from store.migrate import HEAD
from store.sqlite_copy import back_up
from store.sqlite_file import put_in_place
from store.values import DAMAGED
from tests.contracts.store_words import AT, PLATFORMS, answer, message, read, room, say, take
from tests.store.files import make_store, read_all, url

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store in which much was said."""
    path = tmp_path_factory.mktemp("whole") / "parley.db"

    async def fill() -> None:
        store = await open_store(url(path))
        for n in range(30):
            await say(store, "hello " * 50, "how are you", key=room(f"C{n % 7}"))
            await answer(store, "fine " * 80)
        await store.aclose()

    asyncio.run(fill())
    return path.read_bytes()


class TestDamage:
    """A damaged file is told from a whole one, is kept, and stops nobody from putting a copy in its place."""

    @pytest.mark.parametrize("seed", range(12))
    async def test_a_damaged_file_works_or_is_told_and_kept(self, tmp_path: Path, whole: bytes, seed: int) -> None:
        chance = random.Random(seed)
        damaged, path = bytearray(whole), tmp_path / "parley.db"
        at = chance.randrange(100, len(damaged) - 16)
        damaged[at : at + 16] = chance.randbytes(16)
        path.write_bytes(damaged)
        for _ in range(2):
            try:
                store = await open_store(url(path))
            except StoreError as exc:
                refusal = str(exc)
            else:
                refusal = ""
            if refusal:
                assert str(path) in refusal
                assert path.read_bytes() == damaged, "whoever wants to save something finds it as it was"
                continue
            try:
                await use(store)
            finally:
                await store.aclose()
        path.write_bytes(whole)
        await make_store(path)

    @pytest.mark.parametrize("at", [b"CREATE TABLE message", b"CREATE TABLE turn", HEAD.encode()])
    async def test_a_damaged_schema_is_told(self, tmp_path: Path, whole: bytes, at: bytes) -> None:
        path = tmp_path / "parley.db"
        path.write_bytes(whole.replace(at, b"\xef\xc9\x93" + at[3:]))
        with pytest.raises(StoreDamaged, match="restore"):
            await open_store(url(path))

    async def test_a_file_cut_short_is_damaged(self, tmp_path: Path, whole: bytes) -> None:
        path = tmp_path / "parley.db"
        path.write_bytes(whole[: len(whole) // 2])
        try:
            store = await open_store(url(path))
        except StoreDamaged:
            assert path.read_bytes() == whole[: len(whole) // 2]
        else:
            await use(store)
            await store.aclose()


class TestDamageWithin:
    """Damage that only shows when it is read costs the conversation that it is in, and nobody else."""

    @pytest.mark.parametrize("change", ["ending = 'co-plete'", "text = CAST(x'ff41' AS TEXT)", "role = 7 WHERE role = 1"])
    async def test_a_message_that_makes_no_sense_stops_nobody_else(self, tmp_path: Path, change: str) -> None:
        path = tmp_path / "parley.db"
        store = await open_store(url(path))
        await say(store, "hello", key=room("bad"))
        await answer(store)
        await store.aclose()
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"UPDATE message SET {change}")  # noqa: S608
            db.commit()
        store = await open_store(url(path))
        try:
            bad = await say(store, "again", key=room("bad"))
            good = await say(store, "hello", key=room("good"))
            first = await answer_if_it_can_be_read(store)
            assert (first.turn.conversation_id, first.turn.error, first.window) == (bad, DAMAGED, ())
            await answer(store)
            assert await read(store, good) == ["hello", "hi"]
            with pytest.raises(StoreDamaged, match="parley restore BACKUP"):
                await store.recent(bad, 10)
        finally:
            await store.aclose()

    @pytest.mark.parametrize("state", ["qu-ued", "done"])
    async def test_a_turn_in_a_state_that_no_open_turn_has_stops_nobody_else(self, tmp_path: Path, state: str) -> None:
        path = tmp_path / "parley.db"
        store = await open_store(url(path))
        bad = await say(store, "hello", key=room("bad"))
        await store.aclose()
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE turn SET state = ?", (state,))
            db.commit()
        store = await open_store(url(path))
        try:
            good = await say(store, "hello", key=room("good"))
            first = await answer_if_it_can_be_read(store)
            assert (first.turn.conversation_id, first.turn.state, first.turn.error) == (bad, TurnState.DELIVERING, DAMAGED)
            await answer(store)
            assert await read(store, good) == ["hello", "hi"]
        finally:
            await store.aclose()

    async def test_a_file_that_is_not_whole_is_refused_and_not_written_to(self, tmp_path: Path, whole: bytes) -> None:
        path, pages = tmp_path / "parley.db", len(whole) // 4096
        damaged = whole[: 4096 * (pages // 2)] + bytes(4096) + whole[4096 * (pages // 2 + 1) :]
        path.write_bytes(damaged)
        for _ in range(2):
            with pytest.raises(StoreDamaged, match="parley restore BACKUP"):
                await open_store(url(path))
            assert path.read_bytes() == damaged
            assert not path.with_name("parley.db-wal").exists()


class TestJournalDamage:
    """A journal that has lost something that was committed is refused, and kept."""

    @pytest.fixture
    async def killed(self, tmp_path: Path) -> Path:
        """A store as a process leaves it that is killed: with a journal, and the index of that."""
        store = await open_store(url(tmp_path / "living.db"))
        for n in range(20):
            await say(store, f"{n}")
        path = tmp_path / "parley.db"
        for suffix in ("", "-wal", "-shm"):
            shutil.copyfile(tmp_path / f"living.db{suffix}", tmp_path / f"parley.db{suffix}")
        await store.aclose()
        return path

    @pytest.mark.parametrize("seed", range(8))
    async def test_it_is_refused_and_kept(self, killed: Path, seed: int) -> None:
        chance, journal = random.Random(seed), killed.with_name("parley.db-wal")
        damaged = bytearray(journal.read_bytes())
        if seed % 2:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            damaged[chance.randrange(len(damaged))] ^= 1
        journal.write_bytes(damaged)
        before = killed.read_bytes()
        with pytest.raises(StoreDamaged, match="parley restore BACKUP"):
            await open_store(url(killed))
        assert (killed.read_bytes(), journal.read_bytes()) == (before, bytes(damaged))

    async def test_a_whole_one_is_taken_over(self, killed: Path) -> None:
        assert await read_all(killed) == [str(n) for n in range(20)]

    async def test_one_without_an_index_or_with_a_damaged_one_is_taken_over(self, killed: Path) -> None:
        index = killed.with_name("parley.db-shm")
        index.write_bytes(bytes(reversed(index.read_bytes())))
        assert await read_all(killed) == [str(n) for n in range(20)]

    async def test_one_that_ends_in_the_middle_of_a_commit_is_taken_over(self, killed: Path) -> None:
        with killed.with_name("parley.db-wal").open("ab") as journal:
            journal.write(b"\x00\x01" * 3000)
        assert await read_all(killed) == [str(n) for n in range(20)]


async def answer_if_it_can_be_read(store: Store) -> Claim:
    claim = await take(store)
    await store.settle(claim.hold, TurnState.FAILED)
    return claim


async def use(store: Store) -> None:
    """Do what a bot does; every call either works or raises the store's own error."""
    for n in range(7):
        for call in (
            lambda n=n: store.recent(n + 1, 100),
            lambda n=n: store.accept(message("x" * 1000, key=room(f"C{n}"))),
            lambda: store.claim(lease=10 * (AT - AT), window=20, platforms=PLATFORMS),
            store.status,
        ):
            with contextlib.suppress(StoreError):
                await call()


class TestCopies:
    """Backups are whole, and go into place whole."""

    async def test_a_backup_made_while_writing_is_consistent_and_opens(self, tmp_path: Path) -> None:
        store = await open_store(url(tmp_path / "parley.db"))
        conversation_id = await say(store, *[f"{n}" for n in range(50)])

        async def go_on() -> None:
            for n in range(50, 120):
                await say(store, f"{n}")

        writing = asyncio.create_task(go_on())
        backups = [tmp_path / f"backup {n}.db" for n in range(3)]
        for backup in backups:
            await asyncio.to_thread(back_up, tmp_path / "parley.db", backup, lambda done, total: None)
        await writing
        everything = await read(store, conversation_id)
        await store.aclose()
        for backup in backups:
            with closing(sqlite3.connect(backup)) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            kept = await read_all(backup)
            assert len(kept) >= 50
            assert kept == everything[: len(kept)]

    async def test_what_is_put_in_place_replaces_the_store_and_its_journal(self, tmp_path: Path) -> None:
        old, new = tmp_path / "parley.db", tmp_path / "parley.db.new"
        await make_store(old, "from before")
        await make_store(new, "from the backup")
        for journal in ("-wal", "-shm"):
            (tmp_path / f"parley.db{journal}").write_bytes(b"of the old one")
        new.chmod(0o644)
        put_in_place(new, old)
        assert not new.exists()
        assert stat.S_IMODE(old.stat().st_mode) == 0o600
        assert await read_all(old) == ["from the backup"]
