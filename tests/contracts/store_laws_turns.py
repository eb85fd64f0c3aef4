"""Laws of turns: who holds one, what a holder may do, and what happens to one who holds no longer."""

import asyncio
from datetime import timedelta

import pytest

from store import Answer, Ending, LeaseLost, Store, TurnState, UnstorableText
from tests.contracts.store_words import (
    AT,
    FENCED,
    LEASE,
    MINUTE,
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

FINAL = [state for state in TurnState if state.final]


class ClaimLaws:
    """One holder a conversation, many conversations at once."""

    async def test_there_is_nothing_to_claim_in_an_empty_store(self, store: Store) -> None:
        assert await nothing_to_do(store)

    async def test_a_claim_tells_all_that_a_turn_takes(self, store: Store) -> None:
        key = room("C9", thread="1700.1", user="U1")
        conversation_id = await store.accept(message("hello", key=key, address="C9/1700.1"))
        claim = await take(store)
        assert claim.key == key
        assert claim.turn.id == claim.hold.turn_id
        assert conversation_id == claim.turn.conversation_id == claim.hold.conversation_id
        assert (claim.turn.state, claim.turn.attempts, claim.turn.error) == (TurnState.RUNNING, 1, "")
        assert (claim.turn.address, claim.turn.queued_at) == ("C9/1700.1", AT)
        assert (claim.answer, dict(claim.parts), texts(claim.window)) == (None, {}, ["hello"])

    async def test_no_two_holders_share_a_conversation(self, store: Store) -> None:
        await say(store, "one")
        claim = await take(store)
        await say(store, "two")
        assert await nothing_to_do(store)
        await store.settle(claim.hold, TurnState.DONE)
        assert texts((await take(store)).window) == ["one", "two"]
        assert await nothing_to_do(store)

    async def test_many_claimers_at_once_get_different_conversations(self, store: Store) -> None:
        rooms = [await say(store, "hello", key=room(f"C{n}")) for n in range(8)]
        claims = await asyncio.gather(*(store.claim(lease=LEASE, window=5, platforms=["slack"]) for _ in range(20)))
        assert sorted(claim.hold.conversation_id for claim in claims if claim) == rooms

    async def test_conversations_are_taken_in_the_order_of_their_waiting(self, store: Store) -> None:
        for channel in ("C3", "C1", "C2"):
            await say(store, "hello", key=room(channel))
        await say(store, "and more", key=room("C3"))
        assert [(await take(store)).key.channel for _ in range(3)] == ["C3", "C1", "C2"]

    async def test_only_the_platforms_asked_for_are_claimed(self, store: Store) -> None:
        await say(store, "hello", key=room("C1", platform="slack"))
        await say(store, "hello", key=room("C1", platform="discord"))
        assert await nothing_to_do(store, [])
        assert await nothing_to_do(store, ["console"])
        claim = await store.claim(lease=LEASE, window=1, platforms={"discord"})
        assert claim is not None
        assert claim.key.platform == "discord"
        assert await nothing_to_do(store, ["discord", "console"])
        assert (await take(store)).key.platform == "slack"

    async def test_a_renewal_extends_the_lease_from_now(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        for _ in range(3):
            await store.renew(claim.hold, lease=timedelta(hours=1))
        assert await nothing_to_do(store)
        await store.renew(claim.hold, lease=OVER)
        assert (await take(store)).turn.id == claim.turn.id

    async def test_a_renewal_tells_of_waiting_messages(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        assert not (await store.renew(claim.hold, lease=LEASE)).waiting
        await say(store, "one more thing")
        renewal = await store.renew(claim.hold, lease=LEASE)
        assert (renewal.waiting, renewal.stop) == (True, False)

    async def test_a_conversation_is_busy_while_a_turn_of_it_is_open(self, store: Store) -> None:
        assert not await store.busy(404)
        conversation_id = await say(store, "hello")
        assert await store.busy(conversation_id), "queued"
        claim = await take(store)
        assert await store.busy(conversation_id), "running"
        await store.finish(claim.hold, reply("hi"))
        assert await store.busy(conversation_id), "delivering"
        await store.settle(claim.hold, TurnState.DONE)
        assert not await store.busy(conversation_id)
        await store.retry(conversation_id)
        assert await store.busy(conversation_id), "queued again"

    async def test_status_counts_what_waits_and_runs(self, store: Store) -> None:
        status = await store.status()
        assert (status.queued, status.running, status.oldest_queued_at) == (0, 0, None)
        for n in range(3):
            await say(store, "hello", key=room(f"C{n}"), at=AT + n * MINUTE)
        await take(store)
        status = await store.status()
        assert (status.queued, status.running, status.oldest_queued_at) == (2, 1, AT + MINUTE)
        assert status.engine
        assert status.place

    async def test_check_finds_nothing_wrong_and_changes_nothing(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        await store.check()
        assert await read(store, conversation_id) == ["hello"]


class FenceLaws:
    """A holder that was paused past its lease writes nothing."""

    @pytest.mark.parametrize("call", FENCED)
    async def test_a_holder_whose_lease_is_over_leaves_no_trace(self, store: Store, call: str) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store, lease=OVER)
        await say(store, "waiting")
        with pytest.raises(LeaseLost):
            await FENCED[call](store, claim.hold)
        await self.no_trace(store, conversation_id, attempts=2)

    @pytest.mark.parametrize("call", FENCED)
    async def test_a_holder_whose_turn_was_taken_leaves_no_trace(self, store: Store, call: str) -> None:
        conversation_id = await say(store, "hello")
        ghost = await take(store, lease=OVER)
        successor = await take(store)
        assert successor.turn.id == ghost.turn.id
        await say(store, "waiting")
        with pytest.raises(LeaseLost):
            await FENCED[call](store, ghost.hold)
        assert not (await store.renew(successor.hold, lease=OVER)).stop
        await self.no_trace(store, conversation_id, attempts=3)

    @pytest.mark.parametrize("call", FENCED)
    async def test_a_holder_that_has_settled_holds_no_longer(self, store: Store, call: str) -> None:
        conversation_id = await say(store, "hello")
        claim = await answer(store)
        await say(store, "waiting")
        with pytest.raises(LeaseLost):
            await FENCED[call](store, claim.hold)
        assert await read(store, conversation_id) == ["hello", "hi", "waiting"]
        successor = await take(store)
        with pytest.raises(LeaseLost):
            await FENCED[call](store, claim.hold)
        assert not (await store.renew(successor.hold, lease=LEASE)).stop
        assert dict(successor.parts) == {}

    @pytest.mark.parametrize("call", FENCED)
    async def test_a_deletion_takes_the_lease_from_a_running_turn(self, store: Store, call: str) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.delete(conversation_id)
        with pytest.raises(LeaseLost):
            await FENCED[call](store, claim.hold)
        assert await store.find(ROOM) is None
        assert await nothing_to_do(store)

    async def no_trace(self, store: Store, conversation_id: int, *, attempts: int) -> None:
        assert await read(store, conversation_id) == ["hello", "waiting"]
        claim = await take(store)
        assert texts(claim.window) == ["hello"]
        assert (claim.turn.state, claim.turn.error, claim.turn.attempts) == (TurnState.RUNNING, "", attempts)
        assert (claim.answer, dict(claim.parts)) == (None, {})
        assert (await store.renew(claim.hold, lease=LEASE)).waiting

    async def test_of_many_that_settle_one_does(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        settled = await asyncio.gather(*(store.settle(claim.hold, TurnState.DONE) for _ in range(8)), return_exceptions=True)
        assert settled.count(None) == 1
        assert sum(isinstance(outcome, LeaseLost) for outcome in settled) == 7


class FinishLaws:
    """What a turn says, and how it ends."""

    async def test_a_finished_turn_has_its_answer_in_the_history(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, reply("cut sho", Ending.LENGTH))
        kept = (await store.recent(conversation_id, 1))[0]
        assert (kept.role, kept.text, kept.ending, kept.turn_id) == ("assistant", "cut sho", "length", claim.turn.id)

    @pytest.mark.parametrize("ending", list(Ending))
    async def test_every_ending_comes_back(self, store: Store, ending: Ending) -> None:
        conversation_id = await say(store, "hello")
        await store.finish((await take(store)).hold, reply("x", ending))
        assert (await store.recent(conversation_id, 1))[0].ending is ending

    async def test_finishing_again_replaces_the_answer(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, reply("a draft"))
        await store.finish(claim.hold, reply("the answer", Ending.STOPPED))
        assert await read(store, conversation_id) == ["hello", "the answer"]
        assert (await store.recent(conversation_id, 1))[0].ending is Ending.STOPPED

    async def test_an_error_in_its_stead_leaves_the_answer_of_an_earlier_try(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, reply("an answer"))
        await store.finish(claim.hold, None, error="model_down")
        assert await read(store, conversation_id) == ["hello", "an answer"]
        await store.renew(claim.hold, lease=OVER)
        again = await take(store)
        assert (again.turn.state, again.turn.error, again.answer) == (TurnState.DELIVERING, "model_down", None)

    async def test_an_answer_after_an_error_clears_the_error(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, None, error="model_down")
        await store.finish(claim.hold, reply("after all"))
        await store.renew(claim.hold, lease=OVER)
        again = await take(store)
        assert (again.turn.error, again.answer) == ("", reply("after all"))

    async def test_an_error_alone_adds_nothing_to_the_history(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, None, error="model_down")
        await store.settle(claim.hold, TurnState.FAILED)
        assert await read(store, conversation_id) == ["hello"]

    async def test_an_answer_and_an_error_or_neither_is_refused(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        with pytest.raises(ValueError):
            await store.finish(claim.hold, reply("x"), error="y")
        with pytest.raises(ValueError):
            await store.finish(claim.hold, None)
        assert await read(store, conversation_id) == ["hello"]

    async def test_an_answer_may_be_empty(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        await store.finish((await take(store)).hold, Answer(text="", ending=Ending.REFUSED))
        assert await read(store, conversation_id) == ["hello", ""]

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_what_can_not_be_stored_is_refused_and_the_turn_goes_on(self, store: Store, bad: str) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        for refused in (
            store.finish(claim.hold, reply(bad)),
            store.finish(claim.hold, Answer(text="x", ending=Ending.COMPLETE, model=bad)),
            store.finish(claim.hold, None, error=bad),
            store.record_part(claim.hold, 0, bad),
        ):
            with pytest.raises(UnstorableText):
                await refused
        assert await read(store, conversation_id) == ["hello"]
        await store.release(claim.hold)
        again = await take(store)
        assert (again.turn.state, dict(again.parts)) == (TurnState.RUNNING, {})

    @pytest.mark.parametrize("state", FINAL)
    async def test_a_settled_turn_lets_go_of_its_conversation(self, store: Store, state: TurnState) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.settle(claim.hold, state)
        assert await nothing_to_do(store)
        with pytest.raises(LeaseLost):
            await store.settle(claim.hold, state)
        await say(store, "next")
        assert (await take(store)).turn.id != claim.turn.id

    @pytest.mark.parametrize("state", [state for state in TurnState if not state.final])
    async def test_a_turn_is_settled_only_with_a_final_state(self, store: Store, state: TurnState) -> None:
        await say(store, "hello")
        claim = await take(store)
        with pytest.raises(ValueError):
            await store.settle(claim.hold, state)
        await store.settle(claim.hold, TurnState.DONE)
