"""A sealed store on SQLite: all laws hold, nothing that was said is readable in its files, and only its keys open it."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from store import SMALL_FILE, SMALL_FILES, KeyRefused, NotOurs, Store, open_store
from store.sqlite_copy import back_up, examine, restore
from tests.contracts.store_laws import DurableStoreLaws, StoreLaws
from tests.contracts.store_laws_sealing import KeyLaws, RotationLaws, TurningOnLaws, refused
from tests.contracts.store_words import AT, Opens, answer, message, room, take
from tests.store.canaries import (
    CANARY,
    NEW,
    OLD,
    SAID,
    WRONG,
    contents,
    everything,
    file,
    fill,
    seen_in,
    talk_of_the_canary,
)
from tests.store.files import url
from tests.store.other_process import python

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Where a sealed store may be, in a directory of its own."""

    path: Path

    @property
    def address(self) -> str:
        return url(self.path)

    @property
    def name(self) -> str:
        return str(self.path)

    def contents(self) -> dict[str, bytes]:
        return contents(self.path.parent)

    def readable(self) -> list[str]:
        return seen_in(self.path.parent)

    def seals(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as db:
            return [number for (number,) in db.execute("SELECT number FROM seal ORDER BY 1")]


@pytest.fixture
def place(path: Path) -> File:
    return File(path=path)


class TestSealedFile(DurableStoreLaws):
    """One file, sealed."""

    @pytest.fixture
    def opens(self, path: Path) -> Opens:
        return partial(open_store, url(path), keys=[OLD])

    async def test_what_is_said_is_nowhere_in_the_files(self, store: Store, path: Path, tmp_path: Path) -> None:
        await talk_of_the_canary(store)
        back_up(path, tmp_path / "backup.db", lambda done, total: None)
        assert (tmp_path / "parley.db-wal").stat().st_size
        assert seen_in(tmp_path) == []
        await store.aclose()
        assert seen_in(tmp_path) == []
        assert CANARY.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())

    async def test_files_are_small_or_large_as_they_are_without_their_seal(self, store: Store) -> None:
        for n in range(SMALL_FILES):
            await store.accept(message(f"{n}", attachments=(file(b"x" * SMALL_FILE),)))
        claim = await take(store)
        assert [len(kept.data or b"") for said in claim.window for kept in said.attachments] == [SMALL_FILE] * 20
        conversation = claim.hold.conversation_id
        window = await store.recent(conversation, 100)
        assert [bool(kept.data) for said in window for kept in said.attachments] == [True] * SMALL_FILES


class TestSealedMemory(StoreLaws):
    """In memory there is nothing to read, and nothing else is different."""

    @pytest.fixture
    def opens(self) -> Opens:
        return partial(open_store, "sqlite:///:memory:", keys=[OLD])


class TestKeys(KeyLaws):
    """Whoever lacks a key is refused before one byte is changed."""

    async def test_a_store_that_crashed_is_refused_with_its_journal_as_it_was(self, path: Path) -> None:
        with python(CRASHES_SEALED, path, OLD.hex()) as (process, _):
            process.kill()
            process.wait()
        assert path.with_name("parley.db-wal").stat().st_size
        before = {name: kept for name, kept in contents(path.parent).items() if not name.endswith("-shm")}
        for keys in ([], [WRONG]):
            with pytest.raises(KeyRefused):
                await open_store(url(path), keys=keys)
            after = contents(path.parent)
            assert {name: after[name] for name in before} == before
        assert await everything(path, [OLD]) == ["hello"]

    async def test_the_refusal_lets_go_of_the_file(self, path: Path, place: File) -> None:
        await fill(path, [OLD])
        for _ in range(3):
            await refused(place, [], "encrypted")
        assert await everything(path, [OLD]) == SAID

    async def test_another_programs_file_is_refused_untouched_whatever_the_key(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE seal (number, proof)")
        before = contents(path.parent)
        for keys in ([], [OLD]):
            with pytest.raises(NotOurs):
                await open_store(url(path), keys=keys)
        assert contents(path.parent) == before

    async def test_a_key_of_another_length_is_refused_before_the_file_is_made(self, path: Path) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            await open_store(url(path), keys=[b"short"])
        assert not path.exists()

    async def test_the_key_is_nowhere_in_the_files(self, path: Path) -> None:
        await fill(path, [OLD])
        kept = b"".join(contents(path.parent).values())
        assert OLD not in kept
        assert OLD.hex().encode() not in kept.lower()

    async def test_backups_are_counted_and_restored_without_the_key_and_opened_with_it(
        self, path: Path, tmp_path: Path
    ) -> None:
        await fill(path, [OLD])
        backup = tmp_path / "backup.db"
        back_up(path, backup, lambda done, total: None)
        assert examine(backup) == len(SAID)
        restore(backup, tmp_path / "restored.db", at=AT, progress=lambda done, total: None)
        with pytest.raises(KeyRefused):
            await open_store(url(tmp_path / "restored.db"))
        assert await everything(tmp_path / "restored.db", [OLD]) == SAID


class TestTurningOn(TurningOnLaws):
    """A store that had no key is sealed before it is served, and what stood there in plain is gone."""

    async def test_no_trace_of_many_texts_that_came_and_went_is_left(self, path: Path) -> None:
        """Pages are split and joined; SQLite leaves bytes of rows behind in them."""
        store = await open_store(url(path))
        for n in range(1, 400):
            await store.accept(message(CANARY * (n * 37 % 200), key=room(f"C{n % 9}"), address="there"))
            if n % 5 == 0:
                await answer(store, CANARY * (n * 53 % 300))
        await store.aclose()
        await (await open_store(url(path), keys=[NEW])).aclose()
        assert seen_in(path.parent) == []


class TestRotation(RotationLaws):
    """A new key takes the old one's place in the file."""


CRASHES_SEALED = """
import asyncio
from store import open_store
from tests.contracts.store_words import say
async def main():
    store = await open_store(f"sqlite:///{sys.argv[1]}", keys=[bytes.fromhex(sys.argv[2])])
    await say(store, "hello")
    tell(done=True)
    sys.stdin.read()
asyncio.run(main())
"""
