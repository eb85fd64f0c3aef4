"""Laws of people: what they think of answers, which conversations are theirs, and what is told only once."""

import asyncio

import pytest

from store import MESSAGES_COUNTED, SUMMARIES, Feedback, Opinion, Role, Store, UnstorableText
from tests.contracts.store_words import AT, MINUTE, ROOM, answer, ask, message, named, read, room, say, take

NOW = AT + 1000 * MINUTE
DIRECT = room("D1")
THREAD = room("C1", thread="t1")


async def thoughts(store: Store, turn_id: int) -> dict[str, Feedback]:
    facts = await store.facts(turn_id)
    assert facts is not None
    return dict(facts.feedback)


async def opinions(store: Store, user: str, *, workspace: str = "T1", after: int | None = 0) -> list[Opinion]:
    found: list[Opinion] = []
    while after is not None:
        portion = await store.opinions("slack", workspace, user, after=after)
        found, after = [*found, *portion.opinions], portion.next
    return found


class FeedbackLaws:
    """One thought for each turn and user, the last one, as long as there is the turn."""

    async def test_the_last_thought_of_each_user_counts(self, store: Store) -> None:
        await say(store, "hello")
        turn_id = (await answer(store)).turn.id
        assert await thoughts(store, turn_id) == {}
        for user, value in (("U1", Feedback.GOOD), ("U2", Feedback.GOOD), ("U1", Feedback.BAD), ("U1", Feedback.BAD)):
            assert await store.put_feedback(turn_id, user, value, at=AT)
        assert await thoughts(store, turn_id) == {"U1": Feedback.BAD, "U2": Feedback.GOOD}

    async def test_of_a_turn_that_is_not_there_nothing_is_kept(self, store: Store) -> None:
        assert not await store.put_feedback(1, "U1", Feedback.GOOD, at=AT)
        await say(store, "hello")
        assert await thoughts(store, (await take(store)).turn.id) == {}

    async def test_it_goes_with_its_turn_and_only_with_that(self, store: Store) -> None:
        gone = await say(store, "hello")
        turns = [(await answer(store)).turn.id]
        await say(store, "hello", key=DIRECT)
        turns.append((await answer(store)).turn.id)
        for turn_id in turns:
            assert await store.put_feedback(turn_id, "U1", Feedback.GOOD, at=AT)
        await store.delete(gone)
        assert not await store.put_feedback(turns[0], "U1", Feedback.GOOD, at=AT)
        assert await thoughts(store, turns[1]) == {"U1": Feedback.GOOD}

    async def test_what_a_person_thinks_is_handed_out_and_of_one_workspace_only(self, store: Store) -> None:
        given = {}
        for channel, workspace in (("C1", "T1"), ("C2", "T1"), ("C1", "T2")):
            conversation_id = await say(store, "hello", key=room(channel, workspace=workspace))
            given[(await answer(store)).turn.id] = conversation_id
        first, second, elsewhere = given
        for turn_id, user, value in (
            (first, "U1", Feedback.BAD),
            (first, "U2", Feedback.GOOD),
            (second, "U1", Feedback.GOOD),
            (elsewhere, "U1", Feedback.GOOD),
        ):
            await store.put_feedback(turn_id, user, value, at=AT)
        assert await opinions(store, "U1") == [
            Opinion(turn_id=first, conversation_id=given[first], value=Feedback.BAD, at=AT),
            Opinion(turn_id=second, conversation_id=given[second], value=Feedback.GOOD, at=AT),
        ]
        assert [opinion.turn_id for opinion in await opinions(store, "U1", after=first)] == [second]
        assert [opinion.turn_id for opinion in await opinions(store, "U1", workspace="T2")] == [elsewhere]
        assert await opinions(store, "U3") == []
        with pytest.raises(ValueError, match="named"):
            await store.opinions("slack", "T1", "")

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_a_user_that_can_not_be_stored_is_refused(self, store: Store, bad: str) -> None:
        with pytest.raises(UnstorableText):
            await store.put_feedback(1, bad, Feedback.GOOD, at=AT)


async def channels_of(store: Store, author: str, *, workspace: str = "T1", limit: int = SUMMARIES) -> list[str]:
    """Tell a person's conversations by their channels and how much was said in each."""
    found = await store.conversations_of("slack", workspace, f"U-{author}", limit=limit)
    return [f"{summary.conversation.key.channel}: {summary.messages}" for summary in found]


class ParticipantLaws:
    """A person's conversations are those of their key and those in which they spoke."""

    async def test_conversations_are_found_by_key_and_by_what_was_said_the_last_active_first(self, store: Store) -> None:
        await say(store, "mine", "more", key=room("C1", user="U-Ann"), at=AT + MINUTE)
        await say(store, "direct", key=DIRECT, at=AT + 3 * MINUTE)
        await store.accept(message("in a thread", key=THREAD, at=AT, author="Ann"))
        await store.accept(message("there, too", key=THREAD, at=AT + 2 * MINUTE, author="Bob"))
        assert await channels_of(store, "Ann") == ["D1: 1", "C1: 2", "C1: 2"]
        assert await channels_of(store, "Ann", limit=1) == ["D1: 1"]
        assert await channels_of(store, "Bob") == ["C1: 2"]
        assert await channels_of(store, "Cid") == []
        (first, *_) = await store.conversations_of("slack", "T1", "U-Ann", limit=9)
        assert first.conversation == await store.find(DIRECT)

    async def test_an_empty_conversation_of_the_key_is_found(self, store: Store) -> None:
        await store.get_or_create(room("C9", user="U-Ann"), at=AT)
        assert await channels_of(store, "Ann") == ["C9: 0"]

    async def test_other_workspaces_and_platforms_are_not_looked_at(self, store: Store) -> None:
        for key in (room("C1", workspace="T2"), room("C2", workspace="T2", user="U-Ann"), room("C3", platform="discord")):
            await say(store, "hello", key=key)
        assert await channels_of(store, "Ann") == []
        assert len(await channels_of(store, "Ann", workspace="T2")) == 2

    async def test_ended_ones_are_listed_and_expired_ones_are_not(self, store: Store) -> None:
        ended = await say(store, "one", key=DIRECT)
        await answer(store)
        await store.end(ended, at=AT + MINUTE)
        await say(store, "two", key=DIRECT, at=AT + 2 * MINUTE)
        assert await channels_of(store, "Ann") == ["D1: 1", "D1: 2"]
        await store.expire(before=AT + MINUTE, at=NOW, limit=9)
        assert await channels_of(store, "Ann") == ["D1: 1"]

    async def test_who_takes_back_all_that_they_said_is_gone(self, store: Store) -> None:
        for n, author in enumerate(("Ann", "Bob", "Ann")):
            await store.accept(message(f"{n}", message_id=f"M-{n}", author=author, key=THREAD))
        await store.retract([named("M-0", key=THREAD)])
        assert await channels_of(store, "Ann") == ["C1: 2"]
        await store.retract([named("M-2", key=THREAD)])
        assert (await channels_of(store, "Ann"), await channels_of(store, "Bob")) == ([], ["C1: 1"])

    async def test_a_deleted_conversation_is_nobodys(self, store: Store) -> None:
        await store.delete(await say(store, "hello", key=DIRECT))
        assert await channels_of(store, "Ann") == []

    async def test_what_nobody_said_is_nobodys(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        await store.append(conversation.id, Role.USER, "told", at=AT)
        with pytest.raises(ValueError, match="somebody"):
            await store.conversations_of("slack", "T1", "", limit=1)

    @pytest.mark.parametrize("limit", [-1, 0, SUMMARIES + 1])
    async def test_a_limit_out_of_bounds_is_refused(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match=str(SUMMARIES)):
            await store.conversations_of("slack", "T1", "U1", limit=limit)

    async def test_many_messages_are_not_counted_to_the_end(self, store: Store) -> None:
        conversation_id = await say(store, "first", key=DIRECT)
        await asyncio.gather(
            *(store.append(conversation_id, Role.ASSISTANT, "and so on", at=AT) for _ in range(MESSAGES_COUNTED))
        )
        assert len(await read(store, conversation_id)) == MESSAGES_COUNTED
        assert await channels_of(store, "Ann") == [f"D1: {MESSAGES_COUNTED}"]


class OnceLaws:
    """A name is told once."""

    async def test_of_many_callers_one_is_the_first(self, store: Store) -> None:
        told = await asyncio.gather(*(store.once("state", at=AT) for _ in range(20)))
        assert sorted(told) == [False] * 19 + [True]
        assert not await store.once("state", at=NOW)
        assert await store.once("another", at=AT)

    async def test_a_message_or_an_event_of_that_name_is_another_thing(self, store: Store) -> None:
        await ask(store, "hello", "1700.1")
        assert await store.once("1700.1", at=AT)
        assert await store.once("E1", at=AT)

    async def test_names_are_forgotten_with_the_events(self, store: Store) -> None:
        await store.once("state", at=AT)
        assert await store.forget_events(before=AT + MINUTE, limit=9) == 1
        assert await store.once("state", at=NOW)

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_a_name_that_can_not_be_stored_is_refused(self, store: Store, bad: str) -> None:
        with pytest.raises(UnstorableText):
            await store.once(bad, at=AT)
