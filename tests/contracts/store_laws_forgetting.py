"""Laws of forgetting: what a person said goes, with what came of it alone, and nothing brings it back."""

import asyncio

import pytest

from store import (
    ConversationFilter,
    ConversationNotFound,
    Feedback,
    Forgotten,
    LeaseLost,
    Role,
    Store,
    TurnState,
    UnstorableText,
)
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    ROOM,
    Reopen,
    answer,
    ask,
    message,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
    texts,
)

NOW = AT + 1000 * MINUTE
MINE = room("C1", user="U-Ann")


async def forget(store: Store, author: str = "U-Ann", workspace: str = "T1") -> Forgotten:
    return await store.forget_person("slack", workspace, author, at=NOW)


class ForgetPersonLaws:
    """All that a person said in a workspace, until a time."""

    async def test_a_persons_own_conversations_go_whole(self, store: Store) -> None:
        ids = []
        for key in (MINE, room("D1"), room("C1", thread="1")):
            ids.append(await say(store, "one", "two", key=key))
            await answer(store)
        await store.end(ids[0], at=AT)
        await store.expire_now("slack", "T1", ids[1], at=AT)
        assert await forget(store) == Forgotten(conversations=3, messages=9)
        for id_ in ids:
            with pytest.raises(ConversationNotFound):
                await store.recent(id_, 1)
        assert await nothing_to_do(store)
        assert await store.conversations("slack", "T1", ConversationFilter(), limit=9) == ()

    async def test_of_a_shared_conversation_only_theirs_goes(self, store: Store) -> None:
        id_ = await say(store, "Ann's own")
        await answer(store, "to Ann")
        await store.accept(message("Bob's own", author="Bob"))
        await answer(store, "to Bob")
        await say(store, "Ann's part")
        await store.accept(message("Bob's part", author="Bob"))
        await answer(store, "to both")
        assert await forget(store) == Forgotten(conversations=0, messages=3)
        assert await read(store, id_) == ["Bob's own", "to Bob", "Bob's part", "to both"]
        assert await store.conversations_of("slack", "T1", "U-Ann", limit=9) == ()
        record = await store.record("slack", "T1", id_)
        assert record is not None
        assert record.people == ("U-Bob",)

    async def test_a_shown_answer_that_came_of_theirs_alone_is_taken_back(self, store: Store) -> None:
        await store.accept(message("Bob's own", author="Bob"))
        await answer(store)
        await say(store, "Ann's own")
        shown = await answer(store, post="post")
        await forget(store)
        claim = await take(store)
        assert (claim.turn.id, claim.turn.state, dict(claim.parts)) == (shown.turn.id, TurnState.DELIVERING, {0: "post"})
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)

    async def test_whoever_carries_out_a_turn_of_theirs_alone_loses_it(self, store: Store) -> None:
        await say(store, "hello", key=MINE)
        claim = await take(store)
        await say(store, "and more", key=MINE)
        assert await forget(store) == Forgotten(conversations=1, messages=2)
        with pytest.raises(LeaseLost):
            await store.finish(claim.hold, reply("a ghost's"))
        with pytest.raises(LeaseLost):
            await store.renew(claim.hold, lease=LEASE)
        assert await nothing_to_do(store)

    async def test_whoever_carries_out_a_turn_in_a_shared_conversation_is_told(self, store: Store) -> None:
        await store.accept(message("Bob's own", author="Bob"))
        await answer(store)
        id_ = await say(store, "Ann's own")
        claim = await take(store)
        await forget(store)
        assert (await store.renew(claim.hold, lease=LEASE)).retracted
        assert not await store.finish(claim.hold, reply("to Ann"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, id_) == ["Bob's own", "hi"]

    async def test_more_than_a_turn_holds_goes_as_well(self, store: Store) -> None:
        await say(store, *[f"{n}" for n in range(45)], key=MINE)
        for n in range(45):
            await store.accept(message(f"{n}", author="Ann" if n % 9 else "Bob"))
        assert await forget(store) == Forgotten(conversations=1, messages=85)
        claim = await take(store)
        assert texts(claim.window) == ["0", "9", "18", "27", "36"]

    async def test_what_was_said_later_stays(self, store: Store) -> None:
        early = await ask(store, "early", "M-1", key=MINE)
        await store.accept(message("late", key=MINE, at=NOW + MINUTE))
        shared = await say(store, "early")
        await store.accept(message("late", at=NOW + MINUTE))
        await store.accept(message("his", author="Bob"))
        late = await say(store, "late", key=room("C2", user="U-Ann"), at=NOW + MINUTE)
        assert await forget(store) == Forgotten(conversations=0, messages=2)
        assert [await read(store, id_) for id_ in (early, shared, late)] == [["late"], ["late", "his"], ["late"]]

    async def test_nobody_elses_is_touched(self, store: Store) -> None:
        keys = [room("C1", user="U-Bob"), room("C2"), room("C1", user="U-Ann", workspace="T2")]
        kept = [await store.accept(message("kept", key=key, author="Bob")) for key in keys[:2]]
        kept.append(await say(store, "kept", key=keys[2]))
        other = await store.accept(message("kept", key=room("C1", user="U-Ann", platform="discord")))
        told = await store.get_or_create(room("C5"), at=AT)
        await store.append(told.id, Role.USER, "kept", at=AT)
        await say(store, "goes", key=MINE)
        assert await forget(store) == Forgotten(conversations=1, messages=1)
        for id_ in (*kept, other, told.id):
            assert id_ is not None
            assert await read(store, id_) == ["kept"]

    async def test_what_they_think_of_answers_goes(self, store: Store) -> None:
        turns = []
        for key, author in ((room("C1"), "Bob"), (room("C2"), "Bob"), (room("C1", workspace="T2"), "Bob")):
            await store.accept(message("hello", key=key, author=author))
            turns.append((await answer(store)).turn.id)
            for user in ("U-Ann", "U-Bob"):
                assert await store.put_feedback(turns[-1], user, Feedback.GOOD, at=AT)
        await store.put_feedback(turns[1], "U-Ann", Feedback.BAD, at=NOW + MINUTE)
        assert await forget(store) == Forgotten(conversations=0, messages=0)
        left = []
        for turn_id in turns:
            facts = await store.facts(turn_id)
            assert facts is not None
            left.append(sorted(facts.feedback))
        assert left == [["U-Bob"], ["U-Ann", "U-Bob"], ["U-Ann", "U-Bob"]]

    async def test_a_redelivery_brings_nothing_back(self, store: Store) -> None:
        own, shared = message("own", key=MINE), message("shared")
        await store.accept(message("his", author="Bob"))
        for given in (own, shared):
            await store.accept(given)
        await forget(store)
        for given in (own, shared):
            assert await store.accept(given) is None
        assert await store.find(MINE) is None

    async def test_they_may_speak_again(self, store: Store) -> None:
        old = await say(store, "before", key=MINE)
        await forget(store)
        new = await say(store, "after", key=MINE, at=NOW + MINUTE)
        assert new != old
        assert texts((await answer(store)).window) == ["after"]

    async def test_forgetting_again_finds_nothing(self, store: Store) -> None:
        await say(store, "hello", key=MINE)
        await forget(store)
        assert await forget(store) == Forgotten(conversations=0, messages=0)
        assert await forget(store, "U-Nobody") == Forgotten(conversations=0, messages=0)

    async def test_somebody_has_to_be_named(self, store: Store) -> None:
        await store.append((await store.get_or_create(ROOM, at=AT)).id, Role.USER, "kept", at=AT)
        with pytest.raises(ValueError):
            await forget(store, "")
        with pytest.raises(UnstorableText):
            await forget(store, "a\0b")
        with pytest.raises(ValueError, match="zone"):
            await store.forget_person("slack", "T1", "U-Ann", at=NOW.replace(tzinfo=None))

    async def test_others_are_served_while_much_is_forgotten(self, store: Store) -> None:
        for n in range(60):
            await say(store, "mine", key=room(f"C{n}", user="U-Ann"))
        forgetting = asyncio.create_task(forget(store))
        served = 0
        while not forgetting.done():
            assert await store.accept(message("meanwhile", author="Bob")) is not None
            served += 1
        assert await forgetting == Forgotten(conversations=60, messages=60)
        assert served > 1

    async def test_whoever_gives_up_may_go_on_later(self, store: Store) -> None:
        for n in range(60):
            await say(store, "mine", key=room(f"C{n}", user="U-Ann"))
        forgetting = asyncio.create_task(forget(store))
        while len(await store.conversations("slack", "T1", ConversationFilter(), limit=100)) == 60:
            assert not forgetting.done()
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
        await forget(store)
        assert await store.conversations_with("slack", "T1", "U-Ann", limit=50) == ()
        assert await nothing_to_do(store)


class ScrubLaws:
    """What was erased is gone from the files; what is kept is not."""

    async def test_scrubbing_changes_nothing_of_what_is_kept(self, store: Store) -> None:
        await store.scrub()
        kept = await say(store, "kept")
        await answer(store)
        gone = await say(store, "gone", key=room("C2"))
        await store.delete(gone)
        await store.scrub()
        assert await read(store, kept) == ["kept", "hi"]
        assert await say(store, "more") == kept


class DurableForgettingLaws:
    """It stays gone after closing and opening."""

    async def test_what_was_forgotten_is_forgotten_after_reopening(self, store: Store, reopen: Reopen) -> None:
        own, shared = message("own", key=MINE), message("shared")
        await store.accept(message("his", author="Bob"))
        for given in (own, shared):
            await store.accept(given)
        await forget(store)
        store = await reopen()
        for given in (own, shared):
            assert await store.accept(given) is None
        conversation = await store.find(ROOM)
        assert conversation is not None
        assert await read(store, conversation.id) == ["his"]
        # Older copies are refused what they never saw; this store saw it all, and takes what comes late.
        assert await say(store, "said before, delivered after", key=MINE)
