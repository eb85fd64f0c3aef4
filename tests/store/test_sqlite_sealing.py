"""A sealed store on SQLite: all laws hold, nothing that was said is readable in its files, and only its keys open it."""

import signal
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from store import SMALL_FILE, SMALL_FILES, KeyRefused, NotOurs, Store, open_store
from store.sqlite_copy import back_up, examine, restore
from tests.contracts.store_laws import DurableStoreLaws, StoreLaws
from tests.contracts.store_words import AT, Reopen, answer, message, room, take
from tests.store.canaries import (
    CANARY,
    NEW,
    OLD,
    ROOM_KEY,
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


class TestSealedFile(DurableStoreLaws):
    """One file, sealed."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "parley.db"

    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[Store]:
        store = await open_store(url(path), keys=[OLD])
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, store: Store, path: Path) -> AsyncIterator[Reopen]:
        opened = [store]

        async def again() -> Store:
            await opened[-1].aclose()
            opened.append(await open_store(url(path), keys=[OLD]))
            return opened[-1]

        yield again
        await opened[-1].aclose()

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
    async def store(self) -> AsyncIterator[Store]:
        store = await open_store("sqlite:///:memory:", keys=[OLD])
        yield store
        await store.aclose()


class TestKeys:
    """Whoever lacks a key is refused before one byte is changed."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "parley.db"

    async def refused(self, path: Path, keys: Sequence[bytes], words: str) -> None:
        before = contents(path.parent)
        with pytest.raises(KeyRefused, match=words) as told:
            await open_store(url(path), keys=keys)
        assert str(path) in str(told.value)
        assert not any(key.hex() in str(told.value) for key in keys)
        assert contents(path.parent) == before

    async def test_no_key_or_a_wrong_one_is_refused(self, path: Path) -> None:
        await fill(path, [OLD])
        await self.refused(path, [], "set ENCRYPTION_KEY")
        await self.refused(path, [WRONG], "ENCRYPTION_KEY=new,old")
        await self.refused(path, [WRONG, NEW], "ENCRYPTION_KEY=new,old")
        assert await everything(path, [OLD]) == SAID

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

    async def test_the_refusal_lets_go_of_the_file(self, path: Path) -> None:
        await fill(path, [OLD])
        for _ in range(3):
            await self.refused(path, [], "encrypted")
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


class TestTurningOn:
    """A store that had no key is sealed before it is served, and what stood there in plain is gone."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "parley.db"

    async def test_what_was_plain_is_sealed_and_gone_from_the_files(self, path: Path) -> None:
        await fill(path, [])
        assert seen_in(path.parent) == ["parley.db"]
        steps: list[tuple[int, int]] = []
        store = await open_store(url(path), keys=[NEW], progress=lambda done, total: steps.append((done, total)))
        assert seen_in(path.parent) == [], "as soon as it is served"
        await store.aclose()
        assert seen_in(path.parent) == []
        assert steps[-1][0] == steps[-1][1] >= len(SAID)
        assert steps == sorted(steps)
        assert await everything(path, [NEW]) == SAID
        with pytest.raises(KeyRefused):
            await open_store(url(path))

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

    async def test_everything_comes_back_as_it_was(self, path: Path) -> None:
        store = await open_store(url(path))
        conversation_id = await talk_of_the_canary(store)
        before = await store.recent(conversation_id, 100), await store.find(ROOM_KEY)
        await store.aclose()
        for keys in ([OLD], [NEW, OLD], [NEW]):
            store = await open_store(url(path), keys=keys)
            after = await store.recent(conversation_id, 100), await store.find(ROOM_KEY)
            await store.aclose()
            assert after == before

    async def test_the_second_start_has_nothing_left_to_do(self, path: Path) -> None:
        await fill(path, [])
        await fill(path, [NEW])
        steps: list[tuple[int, int]] = []
        await (await open_store(url(path), keys=[NEW], progress=lambda *step: steps.append(step))).aclose()
        assert steps == []

    @pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
    async def test_killed_in_the_middle_the_next_start_goes_on(
        self, path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(path, [])
        with python(DIES_WHILE_SEALING, path, NEW.hex(), batch) as (process, _):
            assert process.wait(30) == -signal.SIGKILL
        with pytest.raises(KeyRefused):
            await open_store(url(path))
        assert await everything(path, [NEW]) == SAID
        assert seen_in(path.parent) == []

    async def test_killed_in_the_middle_it_may_go_on_with_yet_another_key(self, path: Path) -> None:
        await fill(path, [])
        with python(DIES_WHILE_SEALING, path, OLD.hex(), 2) as (process, _):
            process.wait(30)
        with pytest.raises(KeyRefused):
            await open_store(url(path), keys=[NEW])
        assert await everything(path, [NEW, OLD]) == SAID
        assert await everything(path, [NEW]) == SAID
        assert seen_in(path.parent) == []


class TestRotation:
    """A new key takes the old one's place; the old one is needed once more, and never again."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "parley.db"

    async def test_the_old_key_is_needed_for_one_start(self, path: Path) -> None:
        await fill(path, [OLD])
        with pytest.raises(KeyRefused, match="old"):
            await open_store(url(path), keys=[NEW])
        assert await everything(path, [NEW, OLD]) == SAID
        assert await everything(path, [NEW]) == SAID
        with pytest.raises(KeyRefused):
            await open_store(url(path), keys=[OLD])

    async def test_killed_in_the_middle_it_goes_on_or_back(self, path: Path) -> None:
        await fill(path, [OLD])
        with python(DIES_WHILE_SEALING, path, f"{NEW.hex()},{OLD.hex()}", 3) as (process, _):
            assert process.wait(30) == -signal.SIGKILL
        for keys in ([OLD], [NEW]):
            with pytest.raises(KeyRefused):
                await open_store(url(path), keys=keys)
        assert await everything(path, [OLD, NEW]) == SAID
        assert await everything(path, [OLD]) == SAID

    async def test_keys_that_are_not_needed_do_no_harm(self, path: Path) -> None:
        await fill(path, [OLD, WRONG, NEW])
        assert await everything(path, [OLD]) == SAID
        assert await everything(path, [NEW, WRONG, OLD, OLD]) == SAID
        assert await everything(path, [NEW]) == SAID


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
DIES_WHILE_SEALING = """
import asyncio, signal, store.sqlite_reseal
from store import open_store
path, keys, batch = sys.argv[1:]
store.sqlite_reseal.ROWS = store.sqlite_reseal.FILES = 1
def die(done, total):
    if done >= min(int(batch), total):
        tell(done=done)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(open_store(f"sqlite:///{path}", keys=[bytes.fromhex(key) for key in keys.split(",")], progress=die))
"""
