"""Laws of taking messages in: what arrives twice is stored once, and is answered once."""

import asyncio

import pytest

from store import Store, UnstorableText
from tests.contracts.store_words import (
    AT,
    MINUTE,
    ROOM,
    answer,
    message,
    nothing_to_do,
    read,
    room,
    say,
    take,
    texts,
)


class AcceptLaws:
    """One transaction: dedupe, get or create, append, queue a turn."""

    async def test_an_event_delivered_twice_is_stored_and_answered_once(self, store: Store) -> None:
        event = message("hello")
        conversation_id = await store.accept(event)
        assert conversation_id is not None
        assert await store.accept(event) is None
        await answer(store)
        assert await store.accept(event) is None
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == ["hello", "hi"]

    async def test_one_message_as_two_events_is_stored_and_answered_once(self, store: Store) -> None:
        assert await store.accept(message("@bot hello", message_id="1700.1")) is not None
        assert await store.accept(message("@bot hello", message_id="1700.1")) is None
        claim = await answer(store)
        assert texts(claim.window) == ["@bot hello"]
        assert await nothing_to_do(store)

    async def test_copies_that_arrive_at_once_are_stored_once(self, store: Store) -> None:
        copies = [message("hello", event_id=f"E-{n % 2}", message_id="M-1") for n in range(32)]
        results = await asyncio.gather(*(store.accept(copy) for copy in copies))
        (conversation_id,) = [result for result in results if result is not None]
        assert await read(store, conversation_id) == ["hello"]
        await answer(store)
        assert await nothing_to_do(store)

    async def test_a_message_id_counts_within_its_channel_and_workspace(self, store: Store) -> None:
        for key in (ROOM, room("C2"), room("C1", workspace="T2"), room("C1", platform="discord")):
            assert await store.accept(message(key=key, message_id="1700.1")) is not None

    async def test_an_event_id_counts_within_its_workspace(self, store: Store) -> None:
        assert await store.accept(message(event_id="Ev1")) is not None
        assert await store.accept(message(event_id="Ev1", key=room("C2"))) is None
        assert await store.accept(message(event_id="Ev1", key=room("C1", workspace="T2"))) is not None
        assert await store.accept(message(event_id="Ev1", key=room("C1", platform="discord"))) is not None

    async def test_the_same_message_in_another_thread_of_its_channel_is_known(self, store: Store) -> None:
        assert await store.accept(message(message_id="1700.1")) is not None
        assert await store.accept(message(message_id="1700.1", key=room("C1", thread="1700.1"))) is None

    async def test_an_event_named_like_a_message_is_no_duplicate(self, store: Store) -> None:
        assert await store.accept(message(event_id="same", message_id="same")) is not None

    async def test_without_event_ids_the_message_id_alone_decides(self, store: Store) -> None:
        assert await store.accept(message("a", event_id="", message_id="1")) is not None
        assert await store.accept(message("b", event_id="", message_id="2")) is not None
        assert await store.accept(message("a", event_id="", message_id="1")) is None

    async def test_two_messages_at_one_position_are_the_same_message(self, store: Store) -> None:
        conversation_id = await store.accept(message("hello", position=7))
        assert conversation_id is not None
        assert await store.accept(message("hello", position=7)) is None
        assert await read(store, conversation_id) == ["hello"]
        assert texts((await answer(store)).window) == ["hello"]
        assert await store.accept(message("hello", position=7)) is None
        assert await nothing_to_do(store)

    async def test_a_refused_duplicate_leaves_nothing_behind(self, store: Store) -> None:
        await store.accept(message("first", event_id="Ev1", message_id="1", position=1, at=AT))
        refused = message("second", event_id="Ev1", message_id="2", position=2, at=AT + MINUTE, address="elsewhere")
        assert await store.accept(refused) is None
        conversation = await store.find(ROOM)
        assert conversation is not None
        assert conversation.active_at == AT
        assert (await take(store)).turn.address == "to first"
        genuine = message("second", event_id="Ev2", message_id="2", position=2)
        assert await store.accept(genuine) == conversation.id, "its id was not seen: only another delivery was refused"

    async def test_messages_that_wait_make_up_one_turn(self, store: Store) -> None:
        conversation_id = await say(store, "one", "two", "three")
        claim = await answer(store, "to all three")
        assert texts(claim.window) == ["one", "two", "three"]
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == ["one", "two", "three", "to all three"]

    async def test_the_newest_address_is_where_the_answer_goes(self, store: Store) -> None:
        await store.accept(message("one", address="reply under one"))
        await store.accept(message("two", address="reply under two"))
        assert (await take(store)).turn.address == "reply under two"

    async def test_accept_finds_the_conversation_that_is_there(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        assert await store.accept(message("hello", at=AT + MINUTE)) == conversation.id
        found = await store.find(ROOM)
        assert found is not None
        assert found.active_at == AT + MINUTE

    @pytest.mark.parametrize("bad", ["nul \0 inside", "half \ud83d a pair", "\udc00", "\0"])
    async def test_what_can_not_be_stored_is_refused_in_every_part(self, store: Store, bad: str) -> None:
        for refused in (
            lambda: message(bad, address="there"),
            lambda: message(author=bad),
            lambda: message(address=bad),
            lambda: message(event_id=bad),
            lambda: message(message_id=bad),
            lambda: message(key=room(bad)),
        ):
            with pytest.raises(UnstorableText):
                await store.accept(refused())
        assert await store.find(ROOM) is None
        assert await nothing_to_do(store)
