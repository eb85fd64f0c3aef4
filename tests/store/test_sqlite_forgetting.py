"""Erasing on SQLite: nothing of it is left in any byte of the files, and no older copy brings it back."""

import asyncio
import os
import random
import shutil
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

import store.sqlite_scrubbing as scrubbing
from store import Attachment, Feedback, StoreUnavailable
from store.sqlite_copy import restore
from store.sqlite_ledger import beside
from tests.contracts.store_words import (
    AT,
    MINUTE,
    ROOM,
    answer,
    message,
    named,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
)
from tests.store.files import opened

pytestmark = pytest.mark.anyio

NOW = AT + 1000 * MINUTE
MINE = room("C1", user="U-Ann")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "parley.db"


def found(path: Path, canary: str) -> list[str]:
    """Name the files of the store in which a canary stands."""
    return [file.name for file in path.parent.iterdir() if canary.encode() in file.read_bytes()]


async def scrubbed(path: Path) -> None:
    """Wait until the store has scrubbed by itself."""
    while found(path, "wombat"):  # noqa: ASYNC110 - nobody tells: the bytes alone do
        await asyncio.sleep(0.01)


def copy(path: Path, to: Path) -> None:
    """Copy a closed store, as `cp` does."""
    shutil.copy(path, to)


async def erased_since(path: Path, backup: Path) -> int:
    """Copy a store with a conversation that it erases afterwards, and return the conversation's number."""
    store = await opened(path)
    conversation_id = await say(store, "wombat")
    await store.aclose()
    copy(path, backup)
    store = await opened(path)
    await store.delete(conversation_id)
    await store.aclose()
    return conversation_id


class TestBytes:
    """A raw scan of all files finds nothing that was erased."""

    async def test_nothing_of_a_forgotten_person_is_in_any_byte(self, path: Path) -> None:
        """Messages of many people come, grow, move from page to page and go; half of the people are forgotten."""
        chance = random.Random(7)
        store = await opened(path)
        texts = [f"text-of-{n:02}-" for n in range(20)]
        names: list[list[str]] = [[] for _ in texts]
        for number in range(1000):
            who = chance.randrange(20)
            key = room(f"C{chance.randrange(9)}", thread=chance.choice(["", f"{chance.randrange(30)}"]))
            if chance.random() < 0.4:
                key = room(f"C{chance.randrange(9)}", user=f"U-wombat-{who:02}")
            data = f"data-of-{who:02}-".encode() * chance.choice([3, 900])
            file = Attachment(
                number=0,
                name=f"name-of-{who:02}-.txt",
                media_type="text/plain",
                size=len(data),
                url=f"https://files/address-of-{who:02}-",
                data=data,
            )
            given = message(
                texts[who] * chance.choice([1, 5, 20, 300]),
                key=key,
                author=f"wombat-{who:02}",
                message_id=f"M-{chance.randrange(10**9)}-{number}",
                address="there",
                attachments=(file,) if chance.random() < 0.2 else (),
            )
            await store.accept(given)
            names[who].append(given.message_id)
            if chance.random() < 0.3:
                claim = await take(store)
                await store.finish(claim.hold, reply("an answer " * chance.choice([1, 90])))
                await store.settle(claim.hold, claim.turn.state.DONE)
            if chance.random() < 0.1:
                await store.revise(named(chance.choice(names[who]), key=key), texts[who] * chance.choice([1, 30, 200]))
            if chance.random() < 0.1:
                await store.retract([named(chance.choice(names[who]), key=key)])
        for who in range(10):
            await store.forget_person("slack", "T1", f"U-wombat-{who:02}", at=NOW)
        for who in range(20):
            left = [
                canary
                for canary in (f"text-of-{who:02}-", f"name-of-{who:02}-", f"address-of-{who:02}-", f"data-of-{who:02}-")
                if found(path, canary)
            ]
            assert len(left) == (0 if who < 10 else 4), (who, left)
        for who in range(10):
            assert not found(path, f"wombat-{who:02}"), "neither the id nor the name"
        await store.aclose()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    async def test_pages_that_are_written_after_a_scrub_bring_nothing_back(self, path: Path) -> None:
        """SQLite keeps pages in memory as they were, and would write them back with what stood in their gaps."""
        store = await opened(path)
        chance = random.Random(3)
        kept = []
        for number in range(400):
            await say(store, "wombat " * chance.choice([2, 40]), key=room(f"{chance.randrange(10**6)}", thread=f"{number}"))
            kept.append(message("kept " * chance.choice([2, 40]), author="Bob", key=room(f"{number}"), address="there"))
            await store.accept(kept[-1])
        await store.forget_person("slack", "T1", "U-Ann", at=NOW)
        assert not found(path, "wombat")
        for given in kept:
            await store.revise(named(given.message_id, key=given.key), given.text.replace("kept", "KEPT"))
        assert not found(path, "wombat")
        await store.aclose()
        assert not found(path, "wombat")

    @pytest.mark.parametrize("erasure", ["revise", "finish", "retry", "purge", "persona", "purge_workspace", "retract"])
    async def test_every_erasure_is_scrubbed_by_the_store_itself(
        self, path: Path, erasure: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scrubbing, "SCRUB_AFTER", MINUTE * 0)
        store = await opened(path)
        conversation_id = await store.accept(message("wombat one", message_id="M-1", address="there"))
        assert conversation_id is not None
        await store.put_persona(conversation_id, "kept")
        match erasure:
            case "revise":
                await store.revise(named("M-1"), "revised")
            case "retract":
                await store.retract([named("M-1")])
            case "finish":
                await store.revise(named("M-1"), "x")
                claim = await take(store)
                for text in ("wombat first", "second"):
                    await store.finish(claim.hold, reply(text))
            case "retry":
                await store.revise(named("M-1"), "x")
                await answer(store, "wombat first")
                await store.retry(conversation_id)
                await answer(store, "second")
            case "persona":
                await store.revise(named("M-1"), "x")
                for persona in ("a wombat", "a poet"):
                    await store.put_persona(conversation_id, persona)
            case "purge":
                await answer(store, "wombat, too")
                await store.expire(before=NOW, at=NOW, limit=9)
                while await store.purge(before=NOW + MINUTE, limit=9):
                    pass
            case "purge_workspace":
                await store.purge_workspace("slack", "T1")
        await scrubbed(path)
        await store.aclose()

    async def test_while_an_older_state_is_read_scrubbing_says_so_and_is_tried_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("SCRUB_AFTER", "SCRUB_AGAIN"):
            monkeypatch.setattr(scrubbing, name, MINUTE / 6000)
        store = await opened(path)
        conversation_id = await say(store, "wombat")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM message").fetchone()
            await store.delete(conversation_id)
            with pytest.raises(StoreUnavailable, match="older state"):
                await store.scrub()
            assert found(path, "wombat")
            assert await say(store, "others are served")
            reader.execute("COMMIT")
        await scrubbed(path)
        await store.aclose()

    async def test_what_was_erased_last_is_gone_from_a_closed_store(self, path: Path) -> None:
        store = await opened(path)
        await store.accept(message("wombat", message_id="M-1", address="there"))
        await store.revise(named("M-1"), "revised")
        await store.aclose()
        assert not found(path, "wombat")

    async def test_what_was_erased_just_before_a_crash_is_scrubbed_after_it(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = await opened(path)
        await store.accept(message("wombat", message_id="M-1", address="there"))
        await store.revise(named("M-1"), "revised")
        shutil.copytree(path.parent, tmp_path / "crashed")
        await store.aclose()
        crashed = tmp_path / "crashed" / path.name
        assert found(crashed, "wombat")
        monkeypatch.setattr(scrubbing, "SCRUB_AFTER", MINUTE * 0)
        store = await opened(crashed)
        await scrubbed(crashed)
        await store.aclose()

    async def test_scrubbing_takes_no_lock_from_the_store(self, path: Path) -> None:
        """A process that closes a file loses all its locks on it: SQLite's, too, if that were the store's own file."""
        store = await opened(path)
        await store.delete(await say(store, "hello"))
        await store.delete(await say(store, "hello"))
        if not Path("/proc/locks").exists():
            pytest.skip("only Linux tells who holds a lock")
        locks = Path("/proc/locks").read_text()
        inode = os.stat(path).st_ino
        assert any(f":{inode} " in line and "POSIX" in line for line in locks.splitlines())
        await store.aclose()

    async def test_large_stores_are_scrubbed_in_slices(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scrubbing, "SLICE", 65536)
        store = await opened(path)
        for n in range(100):
            await say(store, "wombat " * 400, key=room(f"C{n}"))
        await store.forget_person("slack", "T1", "U-Ann", at=NOW)
        assert path.stat().st_size > 4 * 65536
        assert not found(path, "wombat")
        await store.aclose()

    async def test_scrubbing_takes_no_more_memory_where_the_store_is_large(self, path: Path) -> None:
        store = await opened(path)
        for n in range(100):
            await say(store, "wombat " * 4000, key=room(f"C{n}"))
        tracemalloc.start()
        try:
            await store.scrub()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < path.stat().st_size / 4
        await store.aclose()


class TestOlderCopies:
    """An older copy of the store in the place of the newer one: what was erased since is erased from it, too."""

    @pytest.mark.parametrize("way", ["cp", "restore"])
    async def test_what_was_erased_stays_gone(self, path: Path, tmp_path: Path, way: str) -> None:
        store = await opened(path)
        own = await say(store, "wombat one", key=MINE)
        shared = await store.accept(message("his", author="Bob"))
        assert shared is not None
        turn = (await answer(store), await answer(store))[1].turn.id
        await store.put_feedback(turn, "U-Ann", Feedback.GOOD, at=AT)
        await store.accept(message("wombat two", address="there"))
        await answer(store, "to a wombat")
        deleted = await store.accept(message("wombat three", author="Bob", key=room("C3")))
        await store.accept(message("wombat four", author="Bob", key=room("C4"), message_id="M-4", address="there"))
        kept = await store.accept(message("kept", author="Bob", key=room("C4")))
        assert deleted is not None
        assert kept is not None
        await store.aclose()
        copy(path, tmp_path / "backup.db")

        store = await opened(path)
        await store.forget_person("slack", "T1", "U-Ann", at=NOW)
        await store.delete(deleted)
        await store.retract([named("M-4", key=room("C4"))])
        await store.aclose()

        if way == "cp":
            copy(tmp_path / "backup.db", path)
        else:
            restore(tmp_path / "backup.db", path, at=AT, progress=lambda done, size: None)
        for _ in range(2):
            store = await opened(path)
            assert await read(store, shared) == ["his", "hi"]
            assert await read(store, kept) == ["kept"]
            for gone in (own, deleted):
                assert await store.record("slack", "T1", gone) is None
            facts = await store.facts(turn)
            assert facts is not None
            assert facts.feedback == {}
            assert found(path, "wombat") == []
            assert found(path, "U-Ann") == []
            await store.aclose()

    async def test_what_the_copy_never_saw_is_not_taken_in_again(self, path: Path, tmp_path: Path) -> None:
        """The platform still has it, and whoever catches up from the copy's watermarks finds it there."""
        store = await opened(path)
        await store.aclose()
        copy(path, tmp_path / "backup.db")
        store = await opened(path)
        own = message("own", key=MINE)
        deleted = [message("one", author="Bob"), message("two", author="Bob", at=AT + MINUTE)]
        undone = message("undone", author="Bob", key=room("C4"))
        for given in (own, *deleted, undone):
            await store.accept(given)
        await store.forget_person("slack", "T1", "U-Ann", at=NOW)
        conversation = await store.find(ROOM)
        assert conversation is not None
        await store.delete(conversation.id)
        await store.retract([named(undone.message_id, key=room("C4"))])
        await store.aclose()
        copy(tmp_path / "backup.db", path)
        for _ in range(2):
            store = await opened(path)
            for given in (own, *deleted, undone):
                assert await store.accept(given) is None
                assert await store.accept_and_claim(given, lease=MINUTE, window=1) is None
            assert await nothing_to_do(store)
            await store.aclose()
        store = await opened(path)
        assert await store.accept(message("later", key=MINE, at=NOW + MINUTE)) is not None
        assert await store.accept(message("later", author="Bob", at=AT + 2 * MINUTE)) is not None
        await store.aclose()

    async def test_a_conversation_that_got_the_number_of_an_erased_one_stays(self, path: Path, tmp_path: Path) -> None:
        store = await opened(path)
        await store.aclose()
        copy(path, tmp_path / "backup.db")
        store = await opened(path)
        erased = await say(store, "erased")
        await store.delete(erased)
        await store.aclose()
        copy(tmp_path / "backup.db", path)
        store = await opened(path)
        assert await say(store, "another", at=AT + MINUTE) == erased
        await store.aclose()
        (tmp_path / "store" / "parley.db.forgotten").rename(tmp_path / "ledger")
        with closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM forgotten")
            db.commit()
        (tmp_path / "ledger").rename(tmp_path / "store" / "parley.db.forgotten")
        store = await opened(path)
        assert await read(store, erased) == ["another"]
        await store.aclose()

    async def test_a_restore_carries_over_what_only_the_replaced_store_knows(self, path: Path, tmp_path: Path) -> None:
        conversation_id = await erased_since(path, tmp_path / "backup.db")
        beside(path).unlink()
        restore(tmp_path / "backup.db", path, at=AT, progress=lambda done, size: None)
        store = await opened(path)
        assert await store.record("slack", "T1", conversation_id) is None
        await store.aclose()

    async def test_a_store_that_is_damaged_is_replaced_with_what_its_ledger_knows(self, path: Path, tmp_path: Path) -> None:
        conversation_id = await erased_since(path, tmp_path / "backup.db")
        path.write_bytes(path.read_bytes()[:4096])
        restore(tmp_path / "backup.db", path, at=AT, progress=lambda done, size: None)
        store = await opened(path)
        assert await store.record("slack", "T1", conversation_id) is None
        await store.aclose()

    async def test_an_erasure_that_a_crash_cut_short_is_carried_out_at_the_next_opening(self, path: Path) -> None:
        """The ledger is written first: a tombstone of which the tables know nothing is an erasure that was begun."""
        store = await opened(path)
        first = await say(store, "to make a ledger", key=room("C9"))
        await store.delete(first)
        await say(store, "wombat", key=MINE)
        await store.aclose()
        before = path.read_bytes()
        store = await opened(path)
        await store.forget_person("slack", "T1", "U-Ann", at=NOW)
        await store.aclose()
        path.write_bytes(before)
        store = await opened(path)
        assert await store.find(MINE) is None
        assert not found(path, "wombat")
        await store.aclose()

    async def test_two_ledgers_keys_live_side_by_side(self, path: Path, tmp_path: Path) -> None:
        """A copy of a store that had lost its ledger has a key of its own."""
        store = await opened(path)
        ids = [await say(store, "wombat", key=room(f"C{n}")) for n in range(3)]
        await store.aclose()
        copy(path, tmp_path / "backup.db")
        for id_ in ids[:2]:
            store = await opened(path)
            await store.delete(id_)
            await store.aclose()
            beside(path).rename(tmp_path / f"ledger {id_}")
            copy(tmp_path / "backup.db", path)
        beside(path).write_bytes(b"".join((tmp_path / f"ledger {id_}").read_bytes() for id_ in ids[:2]))
        store = await opened(path)
        assert [await store.record("slack", "T1", id_) is None for id_ in ids] == [True, True, False]
        await store.delete(ids[2])
        await store.aclose()
        copy(tmp_path / "backup.db", path)
        store = await opened(path)
        assert [await store.record("slack", "T1", id_) is None for id_ in ids] == [True, True, True]
        await store.aclose()
