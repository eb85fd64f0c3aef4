"""Laws of deleted messages: they are erased with the answers that came of them alone, and what is shown is taken back."""

import asyncio

import pytest

from store import RETRACTED, Attachment, Claim, Ending, LeaseLost, Store, TurnState
from store.values import TURN_MESSAGES
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    OVER,
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
    texts,
)

BURST = [f"{number:02}" for number in range(45)]
FINAL = [state for state in TurnState if state.final]


def to_take_back(claim: Claim) -> bool:
    """Is there nothing to say in this turn, and all that is shown to be taken back?"""
    assert (claim.turn.error == RETRACTED) == (claim.turn.error != "")
    if not claim.turn.error:
        return False
    assert (claim.turn.state, claim.answer, claim.recovered) == (TurnState.DELIVERING, None, True)
    return True


class RetractLaws:
    """A turn that loses its last message is cancelled."""

    async def test_a_message_is_erased_with_the_answer_that_came_of_it_alone(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store, "to one")
        await ask(store, "two", "M-2")
        await answer(store, "to two")
        assert await store.retract([named("M-1")]) == (conversation_id,)
        assert await read(store, conversation_id) == ["two", "to two"]

    async def test_an_answer_to_others_as_well_stays(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await ask(store, "two", "M-2")
        claim = await answer(store, "to both", post="post")
        await store.retract([named("M-1")])
        assert await read(store, conversation_id) == ["two", "to both"]
        assert await nothing_to_do(store)
        await store.retract([named("M-2")])
        assert await read(store, conversation_id) == []
        again = await take(store)
        assert to_take_back(again)
        assert again.turn.id == claim.turn.id

    async def test_an_answer_stands_behind_the_last_message_that_is_left(self, store: Store) -> None:
        for position in (10, 30):
            await store.accept(message(f"{position}", message_id=f"{position}", position=position))
        await answer(store, "to 10 and 30")
        await store.accept(message("20", position=20))
        conversation_id = (await answer(store, "to 20")).hold.conversation_id
        assert await read(store, conversation_id) == ["10", "20", "to 20", "30", "to 10 and 30"]
        await store.retract([named("30")])
        assert await read(store, conversation_id) == ["10", "to 10 and 30", "20", "to 20"]

    async def test_a_reply_that_is_shown_is_claimed_once_more_to_be_taken_back(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await answer(store, post="post")
        await store.retract([named("M-1")])
        assert await store.busy(conversation_id)
        again = await take(store)
        assert to_take_back(again)
        assert (again.turn.id, again.turn.address, dict(again.parts)) == (claim.turn.id, "to one", {0: "post"})
        assert texts(again.window) == []
        await store.record_part(again.hold, 1, "another that was found")
        await store.settle(again.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)
        assert not await store.busy(conversation_id)
        facts = await store.facts(claim.turn.id)
        assert facts is not None
        assert (facts.state, facts.authors, facts.ending) == (TurnState.CANCELLED, frozenset(), None)

    async def test_what_may_stand_there_though_nobody_knows_its_name_is_taken_back(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await store.finish(claim.hold, reply("a post that the platform never answered"))
        await store.settle(claim.hold, TurnState.UNDELIVERABLE)
        await store.retract([named("M-1")])
        again = await take(store)
        assert to_take_back(again)
        await store.settle(again.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    @pytest.mark.parametrize("state", [state for state in FINAL if state is not TurnState.UNDELIVERABLE])
    async def test_of_a_turn_that_showed_nothing_there_is_nothing_to_take_back(self, store: Store, state: TurnState) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await store.settle(claim.hold, state)
        await store.retract([named("M-1")])
        assert await nothing_to_do(store)
        facts = await store.facts(claim.turn.id)
        assert facts is not None
        assert facts.state is TurnState.CANCELLED

    async def test_a_queued_turn_is_cancelled(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await store.retract([named("M-1")])
        assert await nothing_to_do(store)
        assert not await store.busy(conversation_id)
        assert (await store.status()).queued == 0

    async def test_a_queued_turn_answers_what_is_left(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await ask(store, "two", "M-2")
        await store.retract([named("M-2")])
        assert texts((await answer(store, "to one")).window) == ["one"]
        assert await read(store, conversation_id) == ["one", "to one"]
        assert await nothing_to_do(store)

    async def test_a_turn_that_is_queued_again_takes_its_old_reply_back(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store, post="post")
        await store.retry(conversation_id)
        await store.retract([named("M-1")])
        again = await take(store)
        assert to_take_back(again)
        assert dict(again.parts) == {0: "post"}

    @pytest.mark.parametrize("gone", [[0], [19], [20], [44], list(range(20)), list(range(19, 45)), list(range(0, 45, 2))])
    async def test_what_waits_behind_a_full_turn_is_answered_whatever_else_is_retracted(
        self, store: Store, gone: list[int]
    ) -> None:
        for text in BURST:
            conversation_id = await ask(store, text, text)
        await store.retract([named(BURST[n]) for n in gone])
        left = [text for n, text in enumerate(BURST) if n not in gone]
        expected = []
        for n in range(0, len(left), TURN_MESSAGES):
            await answer(store, f"answer {n}")
            expected += [*left[n : n + TURN_MESSAGES], f"answer {n}"]
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == expected

    async def test_what_comes_after_a_burst_was_retracted_is_answered_with_what_is_left(self, store: Store) -> None:
        for text in BURST[:22]:
            await ask(store, text, text)
        await store.retract([named(text) for text in BURST[:10]])
        await say(store, "and this")
        assert texts((await answer(store)).window) == [*BURST[10:22], "and this"]
        assert await nothing_to_do(store)

    async def test_a_stopped_burst_loses_what_is_retracted(self, store: Store) -> None:
        for text in BURST:
            conversation_id = await ask(store, text, text)
        await store.stop(conversation_id)
        await store.retract([named(text) for text in BURST[30:]])
        assert await store.retry(conversation_id)
        assert texts((await answer(store)).window) == BURST[:20]
        assert texts((await answer(store)).window)[-10:] == BURST[20:30]
        assert await nothing_to_do(store)

    async def test_a_full_turn_has_room_again(self, store: Store) -> None:
        for text in BURST[:TURN_MESSAGES]:
            await ask(store, text, text)
        claim = await take(store)
        await store.retract([named(BURST[0])])
        await say(store, "one more")
        absorbed = await store.absorb(claim.hold, window=99)
        assert absorbed is not None
        assert texts(absorbed.window) == [*BURST[1:TURN_MESSAGES], "one more"]

    async def test_a_retraction_touches_nothing_else(self, store: Store) -> None:
        for key in (ROOM, room("C2"), room("C1", workspace="T2"), room("C1", platform="discord")):
            await ask(store, "hello", "M-1", key=key)
            await answer(store, post="post")
        await store.retract([named("M-1")])
        assert to_take_back(await take(store))
        assert await nothing_to_do(store)
        for key in (room("C2"), room("C1", workspace="T2"), room("C1", platform="discord")):
            conversation = await store.find(key)
            assert conversation is not None
            assert await read(store, conversation.id) == ["hello", "hi"]

    async def test_many_messages_of_many_conversations_are_retracted_at_once(self, store: Store) -> None:
        ids = []
        for channel in ("C1", "C2"):
            for number in range(3):
                conversation_id = await ask(store, f"{number}", f"{number}", key=room(channel))
            ids.append(conversation_id)
        names = [named(f"{number}", key=room(channel)) for number in range(2) for channel in ("C2", "C1")]
        assert await store.retract([*names, named("of nobody")]) == tuple(ids)
        assert [await read(store, conversation_id) for conversation_id in ids] == [["2"], ["2"]]

    async def test_a_name_that_is_not_kept_here_is_no_error(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        await answer(store, post="post")
        assert await store.retract([]) == ()
        assert await store.retract([named("M-404"), named(""), named("post")]) == ()
        assert await read(store, conversation_id) == ["hello", "hi"]

    async def test_a_redelivery_does_not_bring_a_retracted_message_back(self, store: Store) -> None:
        given = message("one", message_id="M-1", position=7)
        conversation_id = await store.accept(given)
        assert conversation_id is not None
        assert await store.retract([named("M-1")]) == (conversation_id,)
        assert await store.accept(given) is None
        assert await store.accept_and_claim(given, lease=LEASE, window=9) is None
        assert await store.retract([named("M-1")]) == ()
        assert await read(store, conversation_id) == []
        assert await nothing_to_do(store)

    async def test_a_message_that_is_deleted_before_it_arrives_does_not_come_in(self, store: Store) -> None:
        late, elsewhere = message("one", message_id="M-1"), message("two", message_id="M-1", key=room("C2"))
        assert await store.retract([named("M-1"), named("M-2", key=room(""))]) == ()
        assert await store.accept(late) is None
        assert await store.accept_and_claim(late, lease=LEASE, window=9) is None
        assert await store.accept(elsewhere) is not None
        assert await store.accept(message("three", message_id="M-2", key=room("C3"))) is not None

    async def test_a_message_that_is_deleted_while_it_arrives_is_not_kept(self, store: Store) -> None:
        for number in range(20):
            key, name = room(f"C{number}"), f"M-{number}"
            coming = [store.accept(message("one", message_id=name, key=key)), store.retract([named(name, key=key)])]
            await asyncio.gather(*(coming if number % 2 else reversed(coming)))
            found = await store.find(key)
            assert found is None or await read(store, found.id) == []
        assert await nothing_to_do(store)

    async def test_attachments_go_with_their_message(self, store: Store) -> None:
        file = Attachment(number=0, name="a", media_type="text/plain", size=1, url="u", data=b"x")
        await store.accept(message("one", message_id="M-1", attachments=(file,)))
        claim = await take(store)
        await store.retract([named("M-1")])
        await store.keep_attachment(claim.hold, claim.window[0].id, 0, b"too late")
        assert (await store.recent(claim.hold.conversation_id, 9)) == ()

    async def test_the_turn_before_is_the_last_one_again(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        first = await answer(store, "to one")
        await ask(store, "two", "M-2")
        await answer(store, "to two")
        await store.retract([named("M-2")])
        assert await store.retry(conversation_id)
        assert (await take(store)).turn.id == first.turn.id

    async def test_there_is_nothing_to_try_again_when_everything_is_retracted(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store)
        await store.retract([named("M-1")])
        assert not await store.retry(conversation_id)

    async def test_a_message_at_a_retracted_ones_position_is_a_new_one(self, store: Store) -> None:
        await store.accept(message("one", message_id="M-1", position=7))
        conversation_id = (await answer(store, "to one", post="post")).hold.conversation_id
        await store.retract([named("M-1")])
        assert await store.accept(message("two", position=7)) == conversation_id
        assert to_take_back(await take(store, lease=OVER))


class TakeBackLaws:
    """Whoever holds a turn that is retracted learns of it, and it does not end before somebody knew."""

    async def test_a_holder_is_told_by_its_renewal_and_when_it_finishes(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await store.retract([named("M-1")])
        renewal = await store.renew(claim.hold, lease=LEASE)
        assert (renewal.stop, renewal.retracted) == (True, True)
        await store.record_part(claim.hold, 0, "post")
        assert not await store.finish(claim.hold, reply("to one"))
        assert await read(store, conversation_id) == []
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_an_error_is_not_kept_either(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await store.retract([named("M-1")])
        assert not await store.finish(claim.hold, None, error="model_down")
        await store.renew(claim.hold, lease=OVER)
        assert to_take_back(await take(store))

    async def test_a_finished_turn_of_which_something_is_left_is_not_retracted(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        await ask(store, "two", "M-2")
        claim = await take(store)
        await store.retract([named("M-1")])
        renewal = await store.renew(claim.hold, lease=LEASE)
        assert (renewal.stop, renewal.retracted) == (False, False)
        assert await store.finish(claim.hold, reply("to both"))
        assert await read(store, claim.hold.conversation_id) == ["two", "to both"]

    @pytest.mark.parametrize("state", FINAL)
    async def test_a_holder_that_was_not_told_does_not_end_it(self, store: Store, state: TurnState) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post")
        assert await store.finish(claim.hold, reply("to o", Ending.STOPPED))
        await store.retract([named("M-1")])
        await store.record_part(claim.hold, 1, "what it showed meanwhile")
        await store.settle(claim.hold, state)
        with pytest.raises(LeaseLost):
            await store.settle(claim.hold, state)
        assert await read(store, conversation_id) == []
        again = await take(store)
        assert to_take_back(again)
        assert dict(again.parts) == {0: "post", 1: "what it showed meanwhile"}

    @pytest.mark.parametrize("state", FINAL)
    async def test_a_holder_that_was_told_ends_it_as_cancelled_whatever_it_says(
        self, store: Store, state: TurnState
    ) -> None:
        """Else a reply that can't be taken back, since its channel is gone, would be claimed for ever."""
        await ask(store, "one", "M-1")
        claim = await answer(store, post="post")
        await store.retract([named("M-1")])
        again = await take(store)
        await store.settle(again.hold, state)
        assert await nothing_to_do(store)
        facts = await store.facts(claim.turn.id)
        assert facts is not None
        assert facts.state is TurnState.CANCELLED

    async def test_whoever_takes_a_reply_back_may_crash_or_hand_it_over(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        await answer(store, post="post")
        await store.retract([named("M-1")])
        claims = [await take(store, lease=OVER) for _ in range(3)]
        assert [to_take_back(claim) for claim in claims] == [True] * 3
        assert [claim.turn.attempts for claim in claims] == [1, 2, 3], "of this task, not of what went before"
        claim = await take(store)
        await store.release(claim.hold)
        claim = await take(store)
        assert (to_take_back(claim), claim.turn.attempts) == (True, 4)
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_a_crashed_turn_that_is_retracted_is_recovered_to_be_taken_back(self, store: Store) -> None:
        """Its holder may have posted something that is not recorded."""
        await ask(store, "one", "M-1")
        crashed = await take(store, lease=OVER)
        await store.retract([named("M-1")])
        again = await take(store)
        assert to_take_back(again)
        assert (again.turn.id, again.turn.attempts) == (crashed.turn.id, 2)

    async def test_a_retracted_turn_absorbs_nothing(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await store.retract([named("M-1")])
        await ask(store, "two", "M-2")
        assert await store.absorb(claim.hold, window=9) is None
        assert not await store.finish(claim.hold, reply("to one"))
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert texts((await answer(store)).window) == ["two"]

    async def test_a_revision_is_overtaken_by_a_retraction(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await store.revise(named("M-1"), "revised")
        await store.retract([named("M-1")])
        assert not await store.finish(claim.hold, reply("to o", Ending.STOPPED))
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_a_stop_does_not_overtake_a_retraction(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await store.retract([named("M-1")])
        stopped = await store.stop(conversation_id)
        assert (stopped.running, stopped.queued) == (None, None)
        assert not await store.finish(claim.hold, reply("to o", Ending.STOPPED))

    async def test_while_a_reply_waits_to_be_taken_back_its_conversation_is_at_work(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store)
        await ask(store, "two", "M-2")
        await answer(store, post="post")
        await store.retract([named("M-2")])
        assert not await store.retry(conversation_id)
        assert (await store.expire(before=AT + MINUTE, at=AT, limit=9)).expired == 0
        accepted = await store.accept_and_claim(message("three"), lease=LEASE, window=9)
        assert accepted is not None
        assert accepted.claim is None, "first what is shown is taken back"
        claim = await take(store)
        assert to_take_back(claim)
        assert await nothing_to_do(store), "no two holders share a conversation"
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert texts((await answer(store)).window) == ["one", "hi", "three"]

    async def test_any_number_of_replies_may_wait_to_be_taken_back(self, store: Store) -> None:
        turns = []
        for number in range(3):
            await ask(store, f"{number}", f"{number}")
            turns.append((await answer(store, post=f"post {number}")).turn.id)
        await store.retract([named(f"{number}") for number in range(3)])
        for turn_id in turns:
            claim = await take(store)
            assert to_take_back(claim)
            assert claim.turn.id == turn_id
            await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_the_reply_of_an_expired_conversation_is_taken_back_before_it_is_purged(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        await answer(store, post="post")
        await store.expire(before=AT + MINUTE, at=AT, limit=9)
        await store.retract([named("M-1")])
        claim = await take(store)
        assert to_take_back(claim)
        assert await store.purge(before=AT + MINUTE, limit=9) == 0
        await store.renew(claim.hold, lease=LEASE)
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await store.purge(before=AT + MINUTE, limit=9) == 2
