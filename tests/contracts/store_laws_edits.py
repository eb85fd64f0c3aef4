"""Laws of messages that a platform names later: they are found again, and an edit asks the last question anew."""

import pytest

from store import Ending, LeaseLost, MessageName, Redo, Revised, Role, Store, TurnState, UnstorableText
from tests.contracts.store_words import (
    AT,
    LEASE,
    OVER,
    ROOM,
    answer,
    ask,
    message,
    named,
    nothing_to_do,
    read,
    reply,
    reread,
    room,
    say,
    take,
    texts,
)

FINAL = [state for state in TurnState if state.final]


class LocateLaws:
    """A platform's name leads to a user's message, or to a part of an answer."""

    async def test_a_users_message_is_found_by_its_name(self, store: Store) -> None:
        conversation_id = await ask(store, "hello", "M-1")
        claim = await answer(store)
        located = await store.locate(named("M-1"))
        assert located is not None
        assert (located.conversation.id, located.conversation.key) == (conversation_id, ROOM)
        assert (located.role, located.turn_id) == (Role.USER, claim.turn.id)

    async def test_every_part_of_an_answer_is_found_by_its_name(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        for number in range(3):
            await store.record_part(claim.hold, number, f"post {number}")
        for number in range(3):
            located = await store.locate(named(f"post {number}"))
            assert located is not None
            assert (located.conversation.id, located.role, located.turn_id) == (
                conversation_id,
                Role.ASSISTANT,
                claim.turn.id,
            )

    async def test_a_message_that_waits_behind_a_full_turn_has_none_yet(self, store: Store) -> None:
        await say(store, *[f"{n}" for n in range(20)])
        await ask(store, "one too many", "late")
        located = await store.locate(named("late"))
        assert located is not None
        assert located.turn_id is None

    async def test_a_name_counts_within_its_platform_workspace_and_channel(self, store: Store) -> None:
        await ask(store, "hello", "M-1")
        await answer(store, post="post")
        for name in ("M-1", "post"):
            assert await store.locate(named(name)) is not None
            for elsewhere in (room("C2"), room("C1", workspace="T2"), room("C1", platform="discord")):
                assert await store.locate(named(name, key=elsewhere)) is None

    async def test_without_a_channel_a_name_counts_within_its_workspace(self, store: Store) -> None:
        conversation_id = await ask(store, "hello", "M-1")
        await answer(store, post="post")
        for name in ("M-1", "post"):
            located = await store.locate(MessageName(platform="slack", workspace="T1", channel="", id=name))
            assert located is not None
            assert located.conversation.id == conversation_id
            assert await store.locate(MessageName(platform="slack", workspace="T2", channel="", id=name)) is None

    async def test_a_threads_message_is_named_by_the_channel_around_it(self, store: Store) -> None:
        conversation_id = await ask(store, "hello", "M-1", key=room("C1", thread="1700.1"))
        located = await store.locate(named("M-1", key=room("C1")))
        assert located is not None
        assert located.conversation.id == conversation_id

    async def test_a_message_of_an_ended_conversation_is_found(self, store: Store) -> None:
        conversation_id = await ask(store, "hello", "M-1")
        await store.end(conversation_id, at=AT)
        located = await store.locate(named("M-1"))
        assert located is not None
        assert located.conversation.ended_at == AT

    async def test_what_is_not_kept_here_is_not_found(self, store: Store) -> None:
        conversation_id = await ask(store, "hello", "M-1")
        await answer(store, post="post")
        await store.append(conversation_id, Role.USER, "told", at=AT)
        for name in ("", "M-2"):
            assert await store.locate(named(name)) is None
        await store.delete(conversation_id)
        for name in ("M-1", "post"):
            assert await store.locate(named(name)) is None

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_a_name_that_can_not_be_stored_is_refused(self, store: Store, bad: str) -> None:
        with pytest.raises(UnstorableText):
            await store.locate(named(bad))


class FactsLaws:
    """What people may act on."""

    async def test_facts_tell_a_turns_state_and_who_asked(self, store: Store) -> None:
        for author in ("Ann", "Bob", "Ann"):
            await store.accept(message(author=author))
        claim = await take(store)
        await store.accept(message(author="Eve"))
        facts = await store.facts(claim.turn.id)
        assert facts is not None
        assert facts.conversation == await store.find(ROOM)
        assert (facts.state, facts.authors, facts.ending) == (TurnState.RUNNING, {"U-Ann", "U-Bob"}, None)

    @pytest.mark.parametrize("state", FINAL)
    async def test_facts_tell_how_a_turn_ended(self, store: Store, state: TurnState) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.finish(claim.hold, reply("cut sho", Ending.LENGTH))
        await store.settle(claim.hold, state)
        facts = await store.facts(claim.turn.id)
        assert facts is not None
        assert (facts.state, facts.ending) == (state, Ending.LENGTH)

    async def test_the_latest_turn_is_the_one_after_which_none_was_queued(self, store: Store) -> None:
        await say(store, "one")
        first = await answer(store)
        await say(store, "elsewhere", key=room("C2"))
        assert await self.latest(store, first.turn.id)
        await say(store, "two")
        assert not await self.latest(store, first.turn.id)

    async def test_a_turn_is_the_latest_again_when_what_came_later_is_retracted(self, store: Store) -> None:
        await say(store, "one")
        first = await answer(store)
        await ask(store, "two", "M-2")
        await store.retract([named("M-2")])
        assert await self.latest(store, first.turn.id)

    async def test_there_are_no_facts_of_no_turn(self, store: Store) -> None:
        assert await store.facts(404) is None

    async def latest(self, store: Store, turn_id: int) -> bool:
        facts = await store.facts(turn_id)
        assert facts is not None
        return facts.latest


class ReviseLaws:
    """An edit of the last question asks it anew; any other only changes what was said."""

    async def test_a_revised_question_is_answered_anew_in_place(self, store: Store) -> None:
        conversation_id = await ask(store, "waht?", "M-1")
        first = await answer(store, "pardon?", post="post")
        assert await store.revise(named("M-1"), "what?") == Revised(conversation_id=conversation_id, redo=Redo.AGAIN)
        assert await read(store, conversation_id) == ["what?", "pardon?"], "the old answer stays until there is a new one"
        again = await take(store)
        assert (again.turn.id, again.turn.attempts, dict(again.parts)) == (first.turn.id, 1, {0: "post"})
        assert (texts(again.window), again.answer) == (["what?"], None)
        await store.finish(again.hold, reply("that"))
        await store.settle(again.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["what?", "that"]
        assert await nothing_to_do(store)

    @pytest.mark.parametrize("state", FINAL)
    async def test_however_the_last_turn_ended_a_revision_asks_again(self, store: Store, state: TurnState) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await store.settle(claim.hold, state)
        await self.asks_again(store, "M-1")
        assert (await take(store)).turn.id == claim.turn.id

    async def test_a_question_that_was_stopped_before_its_answer_is_asked_by_a_revision(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await store.stop(conversation_id)
        await self.asks_again(store, "M-1")
        assert texts((await take(store)).window) == ["revised"]

    async def test_the_same_text_changes_nothing(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store)
        assert await store.revise(named("M-1"), "one") == Revised(conversation_id=conversation_id, redo=Redo.SAME)
        assert await nothing_to_do(store)

    async def test_an_earlier_question_is_changed_and_not_asked_again(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store, "to one")
        await ask(store, "two", "M-2")
        await answer(store, "to two")
        assert await store.revise(named("M-1"), "1") == Revised(conversation_id=conversation_id, redo=Redo.KEPT)
        assert await nothing_to_do(store)
        assert await read(store, conversation_id) == ["1", "to one", "two", "to two"]

    async def test_a_question_is_not_the_last_once_another_waits(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await ask(store, "two", "M-2")
        revised = await store.revise(named("M-1"), "1")
        assert revised is not None
        assert revised.redo is Redo.KEPT
        assert not (await store.renew(claim.hold, lease=LEASE)).stop

    async def test_any_of_the_messages_of_the_last_turn_asks_again(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await ask(store, "two", "M-2")
        await answer(store, "bad")
        await self.asks_again(store, "M-1")
        claim = await answer(store, "good")
        assert texts(claim.window) == ["revised", "two"]
        assert await read(store, conversation_id) == ["revised", "two", "good"]

    async def test_a_question_of_an_ended_conversation_is_not_asked_again(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store)
        await store.end(conversation_id, at=AT)
        assert await store.revise(named("M-1"), "1") == Revised(conversation_id=conversation_id, redo=Redo.KEPT)
        assert await nothing_to_do(store)

    async def test_a_question_that_still_waits_is_asked_once_with_its_new_text(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        await self.asks_again(store, "M-1")
        assert texts((await answer(store)).window) == ["revised"]
        assert await nothing_to_do(store)

    async def test_a_message_that_waits_behind_a_full_turn_is_read_with_its_new_text(self, store: Store) -> None:
        await say(store, *[f"{n}" for n in range(20)])
        await ask(store, "one too many", "late")
        await self.asks_again(store, "late")
        await answer(store)
        assert texts((await answer(store)).window)[-1] == "revised"
        assert await nothing_to_do(store)

    async def test_a_turn_that_runs_is_told_to_stop_and_carried_out_anew(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post")
        await self.asks_again(store, "M-1")
        renewal = await store.renew(claim.hold, lease=LEASE)
        assert (renewal.stop, renewal.retracted) == (True, False)
        assert await store.finish(claim.hold, reply("to o", Ending.STOPPED))
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await store.busy(conversation_id)
        again = await take(store)
        assert (again.turn.id, again.turn.attempts, again.turn.state) == (claim.turn.id, 1, TurnState.RUNNING)
        assert (texts(again.window), dict(again.parts), again.answer) == (["revised"], {0: "post"}, None)
        assert not (await store.renew(again.hold, lease=LEASE)).stop
        await store.finish(again.hold, reply("to the revised one"))
        await store.settle(again.hold, TurnState.DONE)
        assert await read(store, conversation_id) == ["revised", "to the revised one"]
        assert await nothing_to_do(store)

    async def test_a_turn_that_is_delivered_is_shown_and_then_carried_out_anew(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await store.finish(claim.hold, reply("to one"))
        await self.asks_again(store, "M-1")
        await store.renew(claim.hold, lease=OVER)
        recovered = await take(store)
        assert (recovered.turn.state, recovered.answer) == (TurnState.DELIVERING, reply("to one"))
        await store.settle(recovered.hold, TurnState.DONE)
        await answer(store, "better")
        assert await read(store, conversation_id) == ["revised", "better"]
        assert await nothing_to_do(store)

    async def test_a_revised_turn_whose_holder_crashed_begins_anew_once(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        await take(store, lease=OVER)
        await self.asks_again(store, "M-1")
        again = await take(store)
        assert texts(again.window) == ["revised"]
        assert not (await store.renew(again.hold, lease=LEASE)).stop
        await store.settle(again.hold, TurnState.DONE)
        assert await nothing_to_do(store)

    async def test_a_revised_question_begins_with_no_attempts_though_the_old_one_killed_each_time(
        self, store: Store
    ) -> None:
        await ask(store, "one", "M-1")
        for _ in range(3):
            await take(store, lease=OVER)
        await self.asks_again(store, "M-1")
        again = await take(store, lease=OVER)
        assert (again.turn.attempts, again.recovered) == (1, True)
        assert (await take(store)).turn.attempts == 2

    async def test_a_revised_turn_ends_as_it_is_when_another_waits_by_then(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await self.asks_again(store, "M-1")
        await ask(store, "two", "M-2")
        await store.settle(claim.hold, TurnState.CANCELLED)
        successor = await answer(store)
        assert successor.turn.id != claim.turn.id
        assert texts(successor.window) == ["revised", "two"]
        assert await nothing_to_do(store)

    async def test_a_revised_turn_ends_as_it_is_when_its_conversation_has_ended_by_then(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await self.asks_again(store, "M-1")
        await store.end(conversation_id, at=AT)
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_a_stop_after_a_revision_is_the_last_word(self, store: Store) -> None:
        conversation_id = await ask(store, "one", "M-1")
        claim = await take(store)
        await self.asks_again(store, "M-1")
        await store.stop(conversation_id)
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_a_revised_turn_absorbs_what_comes_and_begins_anew_with_it(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await self.asks_again(store, "M-1")
        await ask(store, "two", "M-2")
        assert reread(await store.absorb(claim.hold, window=9)) == ["revised", "two"]
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert texts((await answer(store)).window) == ["revised", "two"]
        assert await nothing_to_do(store)

    async def test_a_turn_that_is_to_begin_anew_is_fenced_like_any_other(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        claim = await take(store)
        await self.asks_again(store, "M-1")
        await store.settle(claim.hold, TurnState.CANCELLED)
        with pytest.raises(LeaseLost):
            await store.settle(claim.hold, TurnState.CANCELLED)

    async def test_what_is_not_kept_here_is_not_revised(self, store: Store) -> None:
        await ask(store, "one", "M-1")
        await answer(store, post="post")
        for name in (named("M-2"), named("post"), named("M-1", key=room("C2"))):
            assert await store.revise(name, "new") is None
        await store.retract([named("M-1")])
        assert await store.revise(named("M-1"), "new") is None

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_a_text_that_can_not_be_stored_is_refused_and_nothing_is_asked(self, store: Store, bad: str) -> None:
        conversation_id = await ask(store, "one", "M-1")
        await answer(store)
        with pytest.raises(UnstorableText):
            await store.revise(named("M-1"), bad)
        assert await read(store, conversation_id) == ["one", "hi"]
        assert await nothing_to_do(store)

    async def asks_again(self, store: Store, message_id: str) -> None:
        revised = await store.revise(named(message_id), "revised")
        assert revised is not None
        assert revised.redo is Redo.AGAIN
