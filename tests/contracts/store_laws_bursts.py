"""Laws of bursts: more messages than one turn answers, and messages that arrive while a turn runs."""

import random

import pytest

from store import ConversationNotFound, LeaseLost, Store, TurnState
from store.values import TURN_MESSAGES
from tests.contracts.store_words import (
    LEASE,
    OVER,
    ROOM,
    answer,
    message,
    nothing_to_do,
    read,
    reply,
    reread,
    room,
    say,
    take,
    texts,
)

FIFTY = [f"{number:02}" for number in range(50)]


class BurstLaws:
    """Nothing is dropped, ever."""

    async def test_fifty_waiting_messages_are_answered_by_turns_in_order(self, store: Store) -> None:
        conversation_id = await say(store, *FIFTY)
        claims = [await answer(store, f"answer {n}") for n in range(3)]
        assert await nothing_to_do(store)
        ends = [TURN_MESSAGES, 2 * TURN_MESSAGES, 50]
        assert [texts(claim.window)[-1] for claim in claims] == [FIFTY[end - 1] for end in ends]
        expected = [*FIFTY[:20], "answer 0", *FIFTY[20:40], "answer 1", *FIFTY[40:], "answer 2"]
        assert await read(store, conversation_id) == expected

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_shuffled_burst_is_answered_in_the_platforms_order(self, store: Store, seed: int) -> None:
        shuffled = list(FIFTY)
        random.Random(seed).shuffle(shuffled)
        for text in shuffled:
            await store.accept(message(text, position=1000 + int(text)))
        conversation_id = (await answer(store, "answer 0")).hold.conversation_id
        for n in (1, 2):
            await answer(store, f"answer {n}")
        assert await nothing_to_do(store)
        expected = [*FIFTY[:20], "answer 0", *FIFTY[20:40], "answer 1", *FIFTY[40:], "answer 2"]
        assert await read(store, conversation_id) == expected

    async def test_messages_that_arrive_while_a_full_burst_is_answered_wait_behind_it(self, store: Store) -> None:
        await say(store, *FIFTY[:25])
        claim = await take(store)
        await say(store, *FIFTY[25:])
        assert texts(claim.window) == FIFTY[:20]
        await store.settle(claim.hold, TurnState.DONE)
        assert texts((await answer(store)).window)[-20:] == FIFTY[20:40]
        assert texts((await answer(store)).window)[-10:] == FIFTY[40:]
        assert await nothing_to_do(store)

    async def test_exactly_a_full_turn_leaves_nothing_behind(self, store: Store) -> None:
        await say(store, *FIFTY[:TURN_MESSAGES])
        assert texts((await answer(store)).window) == FIFTY[:TURN_MESSAGES]
        assert await nothing_to_do(store)

    async def test_a_full_turn_that_crashed_answers_the_same_messages_again(self, store: Store) -> None:
        await say(store, *FIFTY)
        first = await take(store, lease=OVER)
        again = await take(store)
        assert (again.turn.id, again.window) == (first.turn.id, first.window)
        assert texts(again.window) == FIFTY[:20]

    async def test_a_stopped_burst_that_is_tried_again_is_answered_whole(self, store: Store) -> None:
        conversation_id = await say(store, *FIFTY)
        assert (await store.stop(conversation_id)).queued is not None
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == FIFTY
        assert await store.retry(conversation_id)
        for n in range(3):
            await answer(store, f"answer {n}")
        assert await nothing_to_do(store)
        expected = [*FIFTY[:20], "answer 0", *FIFTY[20:40], "answer 1", *FIFTY[40:], "answer 2"]
        assert await read(store, conversation_id) == expected

    async def test_what_comes_after_a_stopped_burst_is_answered_alone(self, store: Store) -> None:
        conversation_id = await say(store, *FIFTY[:30])
        await store.stop(conversation_id)
        await say(store, "never mind")
        claim = await answer(store, "fine")
        assert {m.text for m in claim.window if m.turn_id == claim.turn.id} == {"never mind"}
        assert await nothing_to_do(store)


class AbsorbLaws:
    """A message that arrives early enough joins the turn that runs."""

    async def test_a_turn_absorbs_what_has_arrived_since(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await say(store, "two", "three")
        absorbed = await store.absorb(claim.hold, window=10)
        assert reread(absorbed) == ["one", "two", "three"]
        assert absorbed is not None
        assert {m.turn_id for m in absorbed.window} == {claim.turn.id}
        await store.finish(claim.hold, reply("to all"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["one", "two", "three", "to all"]
        assert await nothing_to_do(store)

    async def test_a_window_after_absorbing_is_as_long_as_asked_for(self, store: Store) -> None:
        await say(store, "one")
        claim = await take(store)
        await say(store, "two", "three")
        assert reread(await store.absorb(claim.hold, window=2)) == ["two", "three"]

    async def test_nothing_waits_nothing_is_absorbed(self, store: Store) -> None:
        await say(store, "one")
        claim = await take(store)
        await say(store, "another room", key=room("C2"))
        assert await store.absorb(claim.hold, window=10) is None

    async def test_the_queued_turn_goes_with_its_messages(self, store: Store) -> None:
        await say(store, "one")
        claim = await take(store)
        await say(store, "two")
        await store.absorb(claim.hold, window=10)
        assert not (await store.renew(claim.hold, lease=LEASE)).waiting
        status = await store.status()
        assert (status.queued, status.running) == (0, 1)
        assert (await store.stop(claim.hold.conversation_id)).queued is None

    async def test_an_absorbed_message_brings_its_address(self, store: Store) -> None:
        await store.accept(message("one", address="under one"))
        claim = await take(store)
        await store.accept(message("two", address="under two"))
        absorbed = await store.absorb(claim.hold, window=10)
        assert absorbed is not None
        assert absorbed.address == "under two"
        await store.release(claim.hold)
        again = await take(store)
        assert (again.turn.address, texts(again.window)) == ("under two", ["one", "two"])

    async def test_a_late_message_is_absorbed_into_its_place(self, store: Store) -> None:
        await store.accept(message("2", position=20))
        claim = await take(store)
        await store.accept(message("1", position=10))
        assert reread(await store.absorb(claim.hold, window=10)) == ["1", "2"]
        await store.finish(claim.hold, reply("to both"))
        assert await read(store, claim.hold.conversation_id) == ["1", "2", "to both"]

    async def test_a_turn_absorbs_up_to_its_cap_and_no_further(self, store: Store) -> None:
        await say(store, *FIFTY[:15])
        claim = await take(store)
        await say(store, *FIFTY[15:TURN_MESSAGES])
        assert reread(await store.absorb(claim.hold, window=99)) == FIFTY[:TURN_MESSAGES]
        await say(store, "one too many")
        assert await store.absorb(claim.hold, window=99) is None
        assert (await store.renew(claim.hold, lease=LEASE)).waiting
        await store.settle(claim.hold, TurnState.DONE)
        assert texts((await take(store)).window)[-1] == "one too many"

    async def test_a_full_turn_absorbs_nothing_of_a_burst(self, store: Store) -> None:
        await say(store, *FIFTY)
        claim = await take(store)
        assert await store.absorb(claim.hold, window=99) is None
        await store.settle(claim.hold, TurnState.DONE)
        assert texts((await take(store)).window)[-1] == FIFTY[39]

    async def test_a_turn_may_absorb_again_and_again(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        for text in ("two", "three", "four"):
            await say(store, text)
            assert reread(await store.absorb(claim.hold, window=10))[-1] == text
        await store.finish(claim.hold, reply("to all"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["one", "two", "three", "four", "to all"]
        assert await nothing_to_do(store)

    async def test_an_absorbed_turn_that_crashes_answers_all_of_it_again(self, store: Store) -> None:
        await say(store, "one")
        claim = await take(store)
        await say(store, "two")
        await store.absorb(claim.hold, window=10)
        await store.renew(claim.hold, lease=OVER)
        assert texts((await take(store)).window) == ["one", "two"]


class StopLaws:
    """Stopping what waits, what runs, or nothing."""

    async def test_a_queued_turn_is_cancelled_and_its_messages_stay(self, store: Store) -> None:
        conversation_id = await say(store, "never mind")
        stopped = await store.stop(conversation_id)
        assert stopped.running is None
        assert stopped.queued is not None
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == ["never mind"]

    async def test_a_running_turn_is_told_and_the_queued_one_cancelled(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await say(store, "two")
        stopped = await store.stop(conversation_id)
        assert stopped.running == claim.turn.id
        assert stopped.queued not in (None, claim.turn.id)
        renewal = await store.renew(claim.hold, lease=LEASE)
        assert (renewal.stop, renewal.waiting) == (True, False)
        assert await store.absorb(claim.hold, window=10) is None
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == ["one", "two"]

    async def test_a_turn_that_is_delivered_can_be_stopped(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await store.finish(claim.hold, reply("x"))
        assert (await store.stop(conversation_id)).running == claim.turn.id

    async def test_there_may_be_nothing_to_stop(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store)
        for nothing in (conversation_id, 404):
            stopped = await store.stop(nothing)
            assert (stopped.running, stopped.queued) == (None, None)

    async def test_a_stop_touches_no_other_conversation(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await say(store, "two", key=room("C2"))
        await store.stop(conversation_id)
        claim = await take(store)
        assert claim.key == room("C2")
        assert not (await store.renew(claim.hold, lease=LEASE)).stop

    async def test_the_turn_after_a_stopped_one_is_not_stopped(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await store.stop(conversation_id)
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await store.retry(conversation_id)
        again = await take(store)
        assert not (await store.renew(again.hold, lease=LEASE)).stop
        with pytest.raises(LeaseLost):
            await store.renew(claim.hold, lease=LEASE)

    async def test_a_deleted_conversation_has_nothing_to_stop(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await store.delete(conversation_id)
        assert (await store.stop(conversation_id)).queued is None
        with pytest.raises(ConversationNotFound):
            await store.recent(conversation_id, 1)
        assert await store.find(ROOM) is None
