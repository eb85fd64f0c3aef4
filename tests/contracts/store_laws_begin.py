"""Laws of taking a message in and beginning its turn in one transaction."""

import asyncio

import pytest

from store import LeaseLost, Store, TurnState, UnstorableText
from tests.contracts.store_words import (
    AT,
    LEASE,
    OVER,
    ROOM,
    answer,
    message,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
    texts,
)


class BeginLaws:
    """As `accept`; and claimed at once when no turn of the conversation is open or held."""

    async def test_a_message_is_taken_and_its_turn_is_ours(self, store: Store) -> None:
        accepted = await store.accept_and_claim(message("hello"), lease=LEASE, window=10)
        assert accepted is not None
        assert accepted.claim is not None
        assert texts(accepted.claim.window) == ["hello"]
        assert accepted.claim.turn.attempts == 1
        assert accepted.claim.turn.state is TurnState.RUNNING
        assert accepted.claim.key == ROOM
        assert await nothing_to_do(store)
        await store.finish(accepted.claim.hold, reply("hi"))
        await store.settle(accepted.claim.hold, TurnState.DONE)
        assert await read(store, accepted.conversation_id) == ["hello", "hi"]

    async def test_what_is_known_already_begins_nothing(self, store: Store) -> None:
        event = message("hello")
        assert await store.accept_and_claim(event, lease=LEASE, window=10) is not None
        assert await store.accept_and_claim(event, lease=LEASE, window=10) is None
        assert await store.accept(event) is None

    async def test_while_a_turn_runs_the_next_one_is_queued(self, store: Store) -> None:
        first = await store.accept_and_claim(message("one"), lease=LEASE, window=10)
        second = await store.accept_and_claim(message("two"), lease=LEASE, window=10)
        assert first is not None
        assert first.claim is not None
        assert second is not None
        assert second.claim is None
        await store.finish(first.claim.hold, reply("1"))
        await store.settle(first.claim.hold, TurnState.DONE)
        assert texts((await take(store)).window) == ["one", "1", "two"]

    async def test_a_queued_turn_takes_the_message_along(self, store: Store) -> None:
        await say(store, "one")
        second = await store.accept_and_claim(message("two"), lease=LEASE, window=10)
        assert second is not None
        assert second.claim is None
        assert texts((await take(store)).window) == ["one", "two"]

    async def test_a_crashed_turn_comes_before_the_new_one(self, store: Store) -> None:
        await store.accept_and_claim(message("one"), lease=OVER, window=10)
        second = await store.accept_and_claim(message("two"), lease=LEASE, window=10)
        assert second is not None
        assert second.claim is None
        recovered = await take(store)
        assert recovered.recovered
        assert texts(recovered.window) == ["one"]

    async def test_of_many_at_once_in_one_conversation_one_begins(self, store: Store) -> None:
        results = await asyncio.gather(*(store.accept_and_claim(message(str(n)), lease=LEASE, window=10) for n in range(20)))
        assert sum(result is not None and result.claim is not None for result in results) == 1

    async def test_conversations_do_not_keep_each_other_from_beginning(self, store: Store) -> None:
        for channel in ("C1", "C2", "C3"):
            accepted = await store.accept_and_claim(message(key=room(channel)), lease=LEASE, window=10)
            assert accepted is not None
            assert accepted.claim is not None

    async def test_a_late_message_is_read_with_what_came_before_it_in_the_platforms_order(self, store: Store) -> None:
        first = await store.accept_and_claim(message("late", position=9), lease=LEASE, window=10)
        assert first is not None
        assert first.claim is not None
        await store.settle(first.claim.hold, TurnState.FAILED)
        second = await store.accept_and_claim(message("early", position=5), lease=LEASE, window=10)
        assert second is not None
        assert second.claim is not None
        assert texts(second.claim.window) == ["early"]

    async def test_a_message_to_a_conversation_at_rest_begins_its_turn_at_once(self, store: Store) -> None:
        given = message("hello", key=room("C9"), address="C9")
        accepted = await store.accept_and_claim(given, lease=LEASE, window=10)
        assert accepted is not None
        claim = accepted.claim
        assert claim is not None
        assert await nothing_to_do(store)
        assert accepted.conversation_id == claim.turn.conversation_id == claim.hold.conversation_id
        assert (claim.key, texts(claim.window), claim.window[0].turn_id) == (room("C9"), ["hello"], claim.turn.id)
        assert (claim.turn.state, claim.turn.attempts, claim.turn.address) == (TurnState.RUNNING, 1, "C9")
        assert (claim.turn.queued_at, claim.turn.error, claim.answer) == (AT, "", None)
        assert (dict(claim.parts), claim.recovered) == ({}, False)
        await store.finish(claim.hold, reply("hi"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, accepted.conversation_id) == ["hello", "hi"]
        assert await nothing_to_do(store)

    async def test_a_turn_that_was_begun_at_once_is_fenced_and_recovered_like_any_other(self, store: Store) -> None:
        await say(store, "before")
        await answer(store)
        accepted = await store.accept_and_claim(message("hello"), lease=OVER, window=1)
        assert accepted is not None
        assert accepted.claim is not None
        assert texts(accepted.claim.window) == ["hello"]
        with pytest.raises(LeaseLost):
            await store.finish(accepted.claim.hold, reply("too late"))
        again = await take(store)
        assert (again.turn.id, again.turn.attempts, again.recovered) == (accepted.claim.turn.id, 2, True)
        assert again.hold.epoch > accepted.claim.hold.epoch

    async def test_copies_that_arrive_at_once_begin_one_turn(self, store: Store) -> None:
        given = message("hello")
        calls = [store.accept_and_claim(given, lease=LEASE, window=9) for _ in range(16)]
        calls += [store.accept(given) for _ in range(16)]
        results = await asyncio.gather(*calls)
        assert sum(result is not None for result in results) == 1
        conversation = await store.find(ROOM)
        assert conversation is not None
        assert await read(store, conversation.id) == ["hello"]
        status = await store.status()
        assert status.queued + status.running == 1

    async def test_what_is_refused_begins_nothing(self, store: Store) -> None:
        await store.accept(message("hello", position=7))
        await answer(store)
        assert await store.accept_and_claim(message("hello", position=7), lease=LEASE, window=9) is None
        with pytest.raises(UnstorableText):
            await store.accept_and_claim(message("\0"), lease=LEASE, window=9)
        assert await nothing_to_do(store)
        assert (await store.status()).running == 0
