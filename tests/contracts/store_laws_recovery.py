"""Laws of what happens after a crash, a planned stop, or a second try."""

import pytest

from store import LeaseLost, Store, TurnState
from tests.contracts.store_words import (
    LEASE,
    OVER,
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


class RecoveryLaws:
    """An unfinished turn is taken up again, with all that was done for it."""

    async def test_a_running_turn_is_claimed_again_with_its_attempts_counted(self, store: Store) -> None:
        await say(store, "hello")
        claims = [await take(store, lease=OVER) for _ in range(4)]
        assert [claim.turn.attempts for claim in claims] == [1, 2, 3, 4]
        assert {claim.turn.id for claim in claims} == {claims[0].turn.id}
        assert len({claim.hold.epoch for claim in claims}) == 4
        assert {claim.turn.state for claim in claims} == {TurnState.RUNNING}

    async def test_a_claim_tells_whether_somebody_held_the_turn_before(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        assert not (await take(store, lease=OVER)).recovered
        again = await take(store)
        assert again.recovered
        await store.release(again.hold)
        again = await take(store)
        assert again.recovered
        await store.settle(again.hold, TurnState.DONE)
        await store.retry(conversation_id)
        assert not (await take(store)).recovered, "a second try begins anew; its parts are all recorded"

    async def test_the_parts_that_are_posted_are_handed_over(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post 0")
        await store.record_part(claim.hold, 1, "post 1")
        await store.record_part(claim.hold, 0, "post 0 anew")
        await store.renew(claim.hold, lease=OVER)
        again = await take(store)
        assert dict(again.parts) == {0: "post 0 anew", 1: "post 1"}
        await store.record_part(again.hold, 2, "post 2")
        await store.renew(again.hold, lease=OVER)
        assert dict((await take(store)).parts) == {0: "post 0 anew", 1: "post 1", 2: "post 2"}

    async def test_a_delivering_turn_is_claimed_again_with_its_answer(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post 0")
        await store.finish(claim.hold, reply("the answer"))
        await store.renew(claim.hold, lease=OVER)
        again = await take(store)
        assert (again.turn.id, again.turn.state, again.turn.attempts) == (claim.turn.id, TurnState.DELIVERING, 2)
        assert (again.answer, dict(again.parts), again.turn.error) == (reply("the answer"), {0: "post 0"}, "")
        assert texts(again.window) == ["hello"]
        await store.settle(again.hold, TurnState.DONE)
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == ["hello", "the answer"]

    async def test_a_delivering_turn_is_claimed_again_with_its_error(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, None, error="model_down")
        await store.renew(claim.hold, lease=OVER)
        again = await take(store)
        assert (again.turn.state, again.turn.error, again.answer) == (TurnState.DELIVERING, "model_down", None)

    async def test_a_lost_turn_comes_before_the_queued_one_of_its_conversation(self, store: Store) -> None:
        await say(store, "one")
        lost = await take(store, lease=OVER)
        await say(store, "two")
        again = await take(store)
        assert again.turn.id == lost.turn.id
        assert await nothing_to_do(store)
        await store.settle(again.hold, TurnState.DONE)
        assert (await take(store)).turn.id != lost.turn.id

    async def test_a_lost_turn_does_not_keep_the_others_waiting(self, store: Store) -> None:
        await say(store, "one")
        await take(store)
        await say(store, "two", key=room("C2"))
        assert (await take(store)).key == room("C2")

    async def test_parking_sets_a_turn_aside_for_good(self, store: Store) -> None:
        await say(store, "poison")
        for _ in range(3):
            await take(store, lease=OVER)
        await store.settle((await take(store)).hold, TurnState.PARKED)
        assert await nothing_to_do(store)

    async def test_a_release_does_not_count_the_attempt(self, store: Store) -> None:
        await say(store, "hello")
        for _ in range(3):
            claim = await take(store)
            assert claim.turn.attempts == 1
            await store.release(claim.hold)
        await take(store, lease=OVER)
        assert (await take(store)).turn.attempts == 2

    async def test_a_released_turn_is_handed_over_with_its_parts(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post 0")
        await store.release(claim.hold)
        again = await take(store)
        assert (again.turn.id, again.turn.state, dict(again.parts)) == (claim.turn.id, TurnState.RUNNING, {0: "post 0"})

    async def test_a_released_turn_keeps_its_answer_and_its_place(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, reply("the answer"))
        await store.release(claim.hold)
        await say(store, "meanwhile")
        again = await take(store)
        assert (again.turn.id, again.turn.attempts, again.answer) == (claim.turn.id, 1, reply("the answer"))
        with pytest.raises(LeaseLost):
            await store.settle(claim.hold, TurnState.DONE)


class RetryLaws:
    """The same messages, answered anew."""

    async def test_a_retry_answers_the_same_messages_and_replaces_the_answer(self, store: Store) -> None:
        conversation_id = await say(store, "one", "two")
        first = await answer(store, "bad")
        assert await store.retry(conversation_id)
        assert await read(store, conversation_id) == ["one", "two", "bad"], "the old answer stays until there is a new one"
        again = await take(store)
        assert (again.turn.id, again.turn.attempts, again.turn.state) == (first.turn.id, 1, TurnState.RUNNING)
        assert (texts(again.window), again.answer) == (["one", "two"], None)
        await store.finish(again.hold, reply("good"))
        await store.settle(again.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["one", "two", "good"]

    async def test_the_parts_of_a_retried_turn_are_edited_in_place(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post 0")
        await store.finish(claim.hold, reply("bad"))
        await store.settle(claim.hold, TurnState.DONE)
        await store.retry(conversation_id)
        assert dict((await take(store)).parts) == {0: "post 0"}

    async def test_the_parts_of_a_failed_turn_are_edited_in_place(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "thinking...")
        await store.finish(claim.hold, None, error="model_down")
        await store.settle(claim.hold, TurnState.FAILED)
        assert await store.retry(conversation_id)
        again = await take(store)
        assert (dict(again.parts), again.turn.error) == ({0: "thinking..."}, "")

    @pytest.mark.parametrize("state", [state for state in TurnState if state.final])
    async def test_every_settled_turn_can_be_tried_again(self, store: Store, state: TurnState) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await store.settle(claim.hold, state)
        assert await store.retry(conversation_id)
        assert (await take(store)).turn.id == claim.turn.id

    async def test_the_last_turn_is_tried_again(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store, "to one")
        await say(store, "two")
        await answer(store, "to two")
        await store.retry(conversation_id)
        claim = await answer(store, "to two, better")
        assert texts(claim.window) == ["one", "to one", "two"]
        assert await read(store, conversation_id) == ["one", "to one", "two", "to two, better"]

    async def test_there_is_nothing_to_try_again_without_a_turn_or_while_one_is_open(self, store: Store) -> None:
        assert not await store.retry(404)
        conversation_id = await say(store, "one")
        assert not await store.retry(conversation_id), "queued"
        claim = await take(store)
        assert not await store.retry(conversation_id), "running"
        await store.finish(claim.hold, reply("x"))
        assert not await store.retry(conversation_id), "delivering"
        await store.settle(claim.hold, TurnState.DONE)
        assert await store.retry(conversation_id)
        assert not await store.retry(conversation_id), "queued again"

    async def test_a_message_after_a_retry_joins_it_and_the_old_answer_is_not_left_behind(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store, "bad")
        await store.retry(conversation_id)
        await say(store, "two")
        claim = await take(store)
        assert texts(claim.window) == ["one", "two"], "the window does not hold the answer that is to be replaced"
        await store.finish(claim.hold, reply("good"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["one", "two", "good"]

    async def test_a_retry_that_absorbs_leaves_no_old_answer_behind(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store, "bad")
        await store.retry(conversation_id)
        claim = await take(store)
        for text in ("two", "three"):
            await say(store, text)
            assert reread(await store.absorb(claim.hold, window=10))[-1] == text
        await store.finish(claim.hold, reply("good"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["one", "two", "three", "good"]

    async def test_a_retry_that_was_joined_and_then_absorbs_leaves_no_old_answer_behind(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store, "bad")
        await store.retry(conversation_id)
        await say(store, "two")
        claim = await take(store, lease=OVER)
        claim = await take(store)
        await say(store, "three")
        await store.absorb(claim.hold, window=10)
        await store.finish(claim.hold, reply("good"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["one", "two", "three", "good"]

    async def test_a_full_turn_that_is_tried_again_and_joined_leaves_no_old_answer_behind(self, store: Store) -> None:
        said = [f"{number:02}" for number in range(20)]
        for number in said:
            await store.accept(message(number, position=100 + int(number)))
        conversation_id = (await answer(store, "bad")).hold.conversation_id
        await store.retry(conversation_id)
        await store.accept(message("late", position=50))
        assert texts((await answer(store, "good")).window) == ["late", *said[:19]]
        await answer(store, "rest")
        assert await read(store, conversation_id) == ["late", *said[:19], "good", said[19], "rest"]
        assert await nothing_to_do(store)

    async def test_who_claims_a_turn_that_was_stopped_before_its_holder_died_is_told(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        assert not (await take(store, lease=OVER)).stop
        await store.stop(conversation_id)
        claim = await take(store)
        assert claim.stop
        await store.settle(claim.hold, TurnState.CANCELLED)
        await store.retry(conversation_id)
        assert not (await take(store)).stop

    async def test_a_retry_that_fails_keeps_the_old_answer(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store, "an answer")
        await store.retry(conversation_id)
        claim = await take(store)
        await store.finish(claim.hold, None, error="model_down")
        await store.settle(claim.hold, TurnState.FAILED)
        assert await read(store, conversation_id) == ["one", "an answer"]

    async def test_a_crashed_retry_is_a_turn_like_any_other(self, store: Store) -> None:
        conversation_id = await say(store, "one")
        await answer(store, "bad")
        await store.retry(conversation_id)
        await take(store, lease=OVER)
        again = await take(store)
        assert (again.turn.attempts, again.answer) == (2, None)
        assert not (await store.renew(again.hold, lease=LEASE)).stop
