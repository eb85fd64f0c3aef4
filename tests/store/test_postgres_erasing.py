"""Erasing on PostgreSQL: what becomes of the bytes in its files, and no older copy of a database brings anything back."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import store.postgres_scrubbing as scrubbing
from store import Attachment, Feedback, StoreUnavailable, TurnState
from store.postgres import PostgresStore
from store.rows import LAST, us_of
from store.tombstones import KEPT, Kind, Tombstone, new_key
from tests.contracts.store_words import (
    AT,
    MINUTE,
    PLATFORMS,
    ROOM,
    answer,
    ask,
    message,
    named,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
)
from tests.engines.postgres import PostgresServer

pytestmark = pytest.mark.anyio

NOW = AT + 1000 * MINUTE
MINE = room("C1", user="U-Ann")
REPEATABLE = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM message"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url)
    try:
        yield store
    finally:
        await store.aclose()


def found(postgres: PostgresServer, url: str, canary: str) -> list[str]:
    """Name the files of a database in which a canary stands, without the server's journal, which is of all databases."""
    database = url.rpartition("/")[2]
    postgres.execute("CHECKPOINT")
    ((oid,),) = postgres.execute("SELECT oid FROM pg_database WHERE datname = current_database()", database=database)
    files = (Path(postgres.data) / "base" / str(oid)).iterdir()
    return [file.name for file in files if canary.encode() in _bytes(file)]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # a server drops tables that were written anew, and its caches, whenever it likes
        return b""


class TestBytes:
    """A raw scan of the tables' files after scrubbing."""

    async def test_nothing_of_a_forgotten_person_is_in_any_file_of_a_table(
        self, postgres: PostgresServer, own_url: str
    ) -> None:
        chance = random.Random(7)
        async with opened(own_url) as store:
            for _ in range(200):
                who = chance.randrange(4)
                key = room(f"C{chance.randrange(3)}", user=f"U-wombat-{who}" if chance.random() < 0.4 else "")
                file = Attachment(
                    number=0,
                    name=f"name-of-{who}.txt",
                    media_type="text/plain",
                    size=1,
                    url=f"https://url-of-{who}",
                    data=f"data-of-{who} ".encode() + chance.randbytes(chance.choice([9, 9000])),
                )
                given = message(
                    f"text-of-{who} " + chance.randbytes(chance.choice([9, 9000])).hex(),
                    key=key,
                    author=f"wombat-{who}",
                    address="there",
                    attachments=(file,),
                )
                assert await store.accept(given) is not None
            while (claim := await store.claim(lease=MINUTE, window=1, platforms=PLATFORMS)) is not None:
                await store.finish(claim.hold, reply("an answer"))
                await store.settle(claim.hold, TurnState.DONE)
            for who in (1, 3):
                await store.forget_person("slack", "T1", f"U-wombat-{who}", at=NOW)
            await store.scrub()
            for what in ("text", "data", "name", "url"):
                assert [bool(found(postgres, own_url, f"{what}-of-{who}")) for who in range(4)] == [True, False, True, False]
            assert [bool(found(postgres, own_url, f"wombat-{who}")) for who in range(4)] == [True, False, True, False]

    async def test_every_erasure_is_scrubbed_by_the_store_itself(
        self, postgres: PostgresServer, own_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scrubbing, "SCRUB_AFTER", timedelta(milliseconds=1))
        async with opened(own_url) as store:
            gone = await say(store, "wombat in a conversation")
            await store.accept(message("wombat retracted", key=room("C2"), message_id="M-retracted", address="there"))
            await store.accept(message("wombat revised", key=room("C3"), message_id="M-revised", address="there"))
            shown = await say(store, "hello", key=room("C4"))
            for _ in range(4):
                claim = await take(store)
                await store.finish(claim.hold, reply("wombat answered"))
                await store.finish(claim.hold, reply("answered"))
                await store.settle(claim.hold, TurnState.DONE)
            await store.put_persona(shown, "You are a wombat.")
            await store.delete(gone)
            await store.retract([named("M-retracted", key=room("C2"))])
            await store.revise(named("M-revised", key=room("C3")), "hello")
            await store.put_persona(shown, "")
            while found(postgres, own_url, "wombat"):  # noqa: ASYNC110 - nobody tells when the bytes are gone
                await asyncio.sleep(0.01)
            assert await read(store, shown) == ["hello", "answered"]

    async def test_what_was_erased_last_is_gone_when_the_store_is_closed(
        self, postgres: PostgresServer, own_url: str
    ) -> None:
        async with opened(own_url) as store:
            await store.delete(await say(store, "wombat"))
        assert found(postgres, own_url, "wombat") == []

    async def test_while_an_older_state_is_read_scrubbing_says_so_and_is_tried_again(
        self, postgres: PostgresServer, own_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scrubbing, "READERS", timedelta(0))
        async with opened(own_url) as store:
            id_ = await say(store, "wombat")
            with psycopg.connect(own_url, autocommit=True) as reader:
                reader.execute(REPEATABLE)
                await store.delete(id_)
                with pytest.raises(StoreUnavailable, match="older state"):
                    await store.scrub()
                assert found(postgres, own_url, "wombat") != []
                reader.execute("COMMIT")
            await store.scrub()
            assert found(postgres, own_url, "wombat") == []

    async def test_a_table_in_use_is_left_alone_and_tried_again(self, own_url: str) -> None:
        async with opened(own_url) as store:
            id_ = await say(store, "wombat")
            with psycopg.connect(own_url, autocommit=True) as user:
                user.execute("BEGIN; LOCK TABLE message IN ACCESS SHARE MODE")  # as pg_dump does, all the time
                with pytest.raises(StoreUnavailable, match="message"):
                    await store.scrub()
                assert await read(store, id_) == ["wombat"]
            await store.scrub()

    async def test_large_tables_are_scrubbed_while_they_are_in_use(
        self, postgres: PostgresServer, own_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scrubbing, "REWRITTEN", 0)
        async with opened(own_url) as store:
            gone = await say(store, "wombat")
            await say(store, "kept", key=room("C2"))
            await store.delete(gone)
            with psycopg.connect(own_url, autocommit=True) as user:
                user.execute("BEGIN; LOCK TABLE message IN ACCESS SHARE MODE")
                await store.scrub()
            database = own_url.rpartition("/")[2]
            ((vacuumed,),) = postgres.execute(
                "SELECT count(*) FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL", database=database
            )
            assert vacuumed == len(scrubbing.TABLES)

    async def test_others_are_served_while_the_store_is_scrubbed(
        self, own_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scrubbing, "LOCKING", "3s")  # else it may give up, and comes again in 5 s
        async with opened(own_url) as store:
            working = [asyncio.create_task(say(store, *"abcdefghij", key=room(f"C{n}"))) for n in range(8)]
            for _ in range(5):
                await store.scrub()
            for n, id_ in enumerate(await asyncio.gather(*working)):
                assert await read(store, id_) == list("abcdefghij"), n


class TestOlderCopies:
    """A database is put in the place of a newer one, and told what was erased from that."""

    async def test_what_was_erased_stays_gone(self, postgres: PostgresServer, own_url: str) -> None:
        async with opened(own_url) as store:
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
        older = postgres.database(like=own_url)
        async with opened(own_url) as store:
            await store.forget_person("slack", "T1", "U-Ann", at=NOW)
            await store.delete(deleted)
            await store.retract([named("M-4", key=room("C4"))])
            stones = await store.tombstones()
        async with opened(older) as store:
            await store.put_back(stones)
        for _ in range(2):
            async with opened(older) as store:
                assert await read(store, shared) == ["his", "hi"]
                assert await read(store, kept) == ["kept"]
                for gone in (own, deleted):
                    assert await store.record("slack", "T1", gone) is None
                facts = await store.facts(turn)
                assert facts is not None
                assert facts.feedback == {}
                assert found(postgres, older, "wombat") == []
                assert found(postgres, older, "U-Ann") == []
                assert names(await store.tombstones()) == names(stones)

    async def test_what_the_copy_never_saw_is_not_taken_in_again(self, postgres: PostgresServer, own_url: str) -> None:
        """The platform still has it, and whoever catches up from the copy's watermarks finds it there."""
        older = postgres.database(like=own_url)
        own = message("own", key=MINE)
        deleted = [message("one", author="Bob"), message("two", author="Bob", at=AT + MINUTE)]
        undone = message("undone", author="Bob", key=room("C4"))
        async with opened(own_url) as store:
            for given in (own, *deleted, undone):
                await store.accept(given)
            await store.forget_person("slack", "T1", "U-Ann", at=NOW)
            conversation = await store.find(ROOM)
            assert conversation is not None
            await store.delete(conversation.id)
            await store.retract([named(undone.message_id, key=room("C4"))])
            stones = await store.tombstones()
        async with opened(older) as store:
            await store.put_back(stones)
        for _ in range(2):
            async with opened(older) as store:
                for given in (own, *deleted, undone):
                    assert await store.accept(given) is None
                    assert await store.accept_and_claim(given, lease=MINUTE, window=1) is None
                assert await nothing_to_do(store)
        async with opened(older) as store:
            assert await store.accept(message("later", key=MINE, at=NOW + MINUTE)) is not None
            assert await store.accept(message("later", author="Bob", at=AT + 2 * MINUTE)) is not None

    async def test_a_conversation_that_got_the_number_of_an_erased_one_stays(
        self, postgres: PostgresServer, own_url: str
    ) -> None:
        older = postgres.database(like=own_url)
        async with opened(own_url) as store:
            erased = await say(store, "erased")
            await store.delete(erased)
            stones = await store.tombstones()
        async with opened(older) as store:
            assert await say(store, "another", at=AT + MINUTE) == erased
            await store.put_back(stones)
        async with opened(older) as store:
            assert await read(store, erased) == ["another"]

    async def test_tombstones_of_two_stores_live_side_by_side(self, postgres: PostgresServer, own_url: str) -> None:
        """Each copy had erased nothing yet when it was made, so each has a key of its own."""
        async with opened(own_url) as store:
            ids = [await say(store, "wombat", key=room(f"C{n}")) for n in range(3)]
        stones: list[Tombstone] = []
        for id_ in ids[:2]:
            url = postgres.database(like=own_url)
            async with opened(url) as store:
                await store.delete(id_)
                stones += await store.tombstones()
        async with opened(own_url) as store:
            await store.put_back(stones)
        async with opened(own_url) as store:
            assert [await store.record("slack", "T1", id_) is None for id_ in ids] == [True, True, False]

    async def test_what_a_process_left_to_be_forgotten_is_forgotten_at_the_next_opening(self, own_url: str) -> None:
        async with opened(own_url) as store:
            for n in range(60):
                await say(store, "mine", key=room(f"C{n}", user="U-Ann"))
            forgetting = asyncio.create_task(store.forget_person("slack", "T1", "U-Ann", at=NOW))
            while len(await store.conversations_with("slack", "T1", "U-Ann", limit=50)) == 50:
                assert not forgetting.done()
            forgetting.cancel()
            await asyncio.gather(forgetting, return_exceptions=True)
        async with opened(own_url) as store:
            assert await store.conversations_with("slack", "T1", "U-Ann", limit=50) == ()
            assert await nothing_to_do(store)
            assert [stone.kind for stone in await store.tombstones()] == [Kind.KEY, Kind.PERSON]


class TestTombstones:
    """The table `forgotten`."""

    async def test_it_tells_nothing(self, postgres: PostgresServer, own_url: str) -> None:
        async with opened(own_url) as store:
            id_ = await ask(store, "wombat", "M-1", key=MINE)
            await store.retract([named("M-1", key=MINE)])
            await store.delete(id_)
            await store.forget_person("slack", "T1", "U-Ann", at=NOW)
        rows = postgres.execute("SELECT name FROM forgotten", database=own_url.rpartition("/")[2])
        assert sorted(str(name).partition(" ")[0] for (name,) in rows) == sorted(Kind)
        for word in ("U-Ann", "C1", "M-1", "T1", "wombat", "slack"):
            assert not any(word in str(name) for (name,) in rows)

    async def test_a_store_has_one_key_however_many_erase_at_once(self, own_url: str) -> None:
        async with opened(own_url) as one, opened(own_url) as another:
            ids = [await say(one, "wombat", key=room(f"C{n}")) for n in range(8)]
            await asyncio.gather(*((one, another)[n % 2].delete(id_) for n, id_ in enumerate(ids)))
            assert len((await one.tombstones()).of(Kind.KEY)) == 1
            assert len((await another.tombstones()).of(Kind.CONVERSATION)) == len(ids)

    async def test_what_is_older_than_any_copy_is_dropped(self, own_url: str) -> None:
        now = datetime.now(UTC)
        old, young = us_of(now - KEPT - MINUTE), us_of(now - KEPT + MINUTE)
        stones = [Tombstone("message 00", LAST, old), Tombstone("message 01", LAST, young), new_key(old)]
        async with opened(own_url) as store:
            with psycopg.connect(own_url, autocommit=True) as db, db.cursor() as rows:
                for stone in stones:
                    rows.execute("INSERT INTO forgotten VALUES (%s, %s, %s)", (stone.name, stone.until, stone.at))
        async with opened(own_url) as store:
            assert names(await store.tombstones()) == {stone.name for stone in stones[1:]}


def names(stones: Iterable[Tombstone]) -> set[str]:
    return {stone.name for stone in stones}
