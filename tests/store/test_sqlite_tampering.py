"""A sealed store that somebody else wrote into: it is told, by the conversation, and nobody else is kept waiting."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from store import KeyRefused, StoreDamaged, TurnState, open_store
from store.sealing import Seal
from store.values import DAMAGED
from tests.contracts.store_words import LEASE, message, read, room, say, take, texts
from tests.store.canaries import (
    CANARY,
    NEW,
    OLD,
    ROOM_KEY,
    WRONG,
    fill,
)
from tests.store.files import url

pytestmark = pytest.mark.anyio


class TestTampering:
    """What somebody else wrote into the file is never taken for what was said."""

    @pytest.fixture
    async def path(self, path: Path) -> Path:
        await fill(path, [OLD])
        return path

    async def refused(self, path: Path, statement: str, *values: object, keys: Sequence[bytes] = (OLD,)) -> None:
        """Change the file; then the conversation is refused by name, and others are served."""
        with closing(sqlite3.connect(path)) as db:
            assert db.execute(statement, values).rowcount >= 1
            db.commit()
        store = await open_store(url(path), keys=keys)
        try:
            conversation = await store.find(ROOM_KEY)
            assert conversation is not None
            with pytest.raises(StoreDamaged, match=f"conversation {conversation.id}\\b"):
                await store.recent(conversation.id, 100)
            other = await say(store, "hello", key=room("elsewhere"))
            assert await read(store, other) == ["hello"]
        finally:
            await store.aclose()

    async def test_a_changed_character(self, path: Path) -> None:
        await self.refused(
            path, "UPDATE message SET text = substr(text, 1, 20) || 'AAAA' || substr(text, 25) WHERE role = 0"
        )

    async def test_a_plain_text(self, path: Path) -> None:
        await self.refused(path, "UPDATE message SET text = 'I owe you', sealed = 0 WHERE role = 1")

    @pytest.mark.parametrize("keys", [[OLD], [NEW, OLD]], ids=["one key", "while the key is changed"])
    async def test_a_plain_text_that_says_it_is_sealed(self, path: Path, keys: list[bytes]) -> None:
        await self.refused(path, "UPDATE message SET text = 'I owe you' WHERE role = 1", keys=keys)

    async def test_a_plain_text_is_not_sealed_with_the_next_key(self, path: Path) -> None:
        await self.refused(path, "UPDATE message SET text = 'I owe you', sealed = 0 WHERE role = 1", keys=[NEW, OLD])

    async def test_an_answer_that_is_passed_off_as_a_message(self, path: Path) -> None:
        await self.refused(
            path, "UPDATE message SET text = (SELECT text FROM message WHERE role = 1 LIMIT 1) WHERE role = 0"
        )

    async def test_a_text_of_another_conversation(self, path: Path) -> None:
        store = await open_store(url(path), keys=[OLD])
        other = await say(store, "pay Bob", key=room("elsewhere too"))
        await store.aclose()
        await self.refused(
            path,
            "UPDATE message SET text = (SELECT text FROM message WHERE conversation_id = ?1) "
            "WHERE conversation_id <> ?1 AND role = 0",
            other,
        )

    @pytest.mark.parametrize("column", ["name", "url", "data"])
    async def test_a_changed_part_of_a_file(self, path: Path, column: str) -> None:
        await self.refused(path, f"UPDATE attachment SET {column} = CAST('AAAA' || {column} AS BLOB)")  # noqa: S608

    @pytest.mark.parametrize("value", ["7", "x'00'", "'x'", "''"])
    async def test_something_else_in_the_place_of_a_files_data(self, path: Path, value: str) -> None:
        await self.refused(path, f"UPDATE attachment SET data = {value}")  # noqa: S608

    @pytest.mark.parametrize("value", ["7", "x'00'", "'x'", "''"])
    async def test_something_else_in_the_place_of_a_text(self, path: Path, value: str) -> None:
        await self.refused(path, f"UPDATE message SET text = {value}")  # noqa: S608

    async def test_an_address_in_the_place_of_a_name(self, path: Path) -> None:
        await self.refused(path, "UPDATE attachment SET name = url")

    async def test_a_damaged_conversation_keeps_nobody_else_waiting(self, path: Path) -> None:
        """Its turn is the oldest one: it fails, which can be told, and the others go on."""
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE turn SET state = 'queued', stop = 0")
            db.execute("UPDATE message SET text = 'AAAA' WHERE role = 0")
            db.commit()
        store = await open_store(url(path), keys=[OLD])
        await say(store, "hello", key=room("elsewhere"))
        failed = await take(store)
        assert (failed.turn.state, failed.turn.error, failed.window) == (TurnState.DELIVERING, DAMAGED, ())
        await store.settle(failed.hold, TurnState.FAILED)
        assert texts((await take(store)).window) == ["hello"]
        begun = await store.accept_and_claim(message("again"), lease=LEASE, window=20)
        assert begun is not None
        assert begun.claim is not None
        assert (begun.claim.turn.state, begun.claim.turn.error) == (TurnState.DELIVERING, DAMAGED)
        await store.aclose()

    async def test_bytes_that_are_no_text_at_all(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE message SET text = CAST(x'ff776f6d626174' AS TEXT) WHERE role = 0")
            db.commit()
        store = await open_store(url(path), keys=[OLD])
        conversation = await store.find(ROOM_KEY)
        assert conversation is not None
        with pytest.raises(StoreDamaged) as told:
            await store.recent(conversation.id, 100)
        assert CANARY not in str(told.value)
        await store.aclose()

    async def test_a_row_of_plain_texts_can_not_be_entered_without_the_key(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            for proof in ("", "plain", Seal(WRONG).proof(0)):
                db.execute("INSERT OR REPLACE INTO seal (number, proof, at) VALUES (0, ?, 0)", (proof,))
                db.commit()
                with pytest.raises(KeyRefused):
                    await open_store(url(path), keys=[OLD])
