"""Laws of conversations and of the order in them."""

import asyncio
import itertools
import random
from datetime import timedelta, timezone

import pytest

from store import ConversationKey, ConversationNotFound, Role, Store, TurnState
from tests.contracts.store_words import (
    AT,
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


class ConversationLaws:
    """What a conversation is, how it begins and ends."""

    async def test_get_or_create_gives_many_concurrent_callers_one_conversation(self, store: Store) -> None:
        found = await asyncio.gather(*(store.get_or_create(ROOM, at=AT) for _ in range(64)))
        assert {conversation.id for conversation in found} == {found[0].id}
        assert await store.find(ROOM) == found[0]

    async def test_get_or_create_and_accept_at_once_agree(self, store: Store) -> None:
        calls = [store.get_or_create(ROOM, at=AT) if n % 2 else store.accept(message(f"{n}")) for n in range(32)]
        results = await asyncio.gather(*calls)
        assert len({result if isinstance(result, int) else result.id for result in results if result is not None}) == 1

    async def test_keys_that_differ_in_any_part_are_two_conversations(self, store: Store) -> None:
        parts = ("platform", "workspace", "channel", "thread", "user")
        plain = dict.fromkeys(parts, "a")
        keys = [ConversationKey(**plain)]
        keys += [ConversationKey(**{**plain, part: "b"}) for part in parts]
        keys += [ConversationKey(**{**plain, part: ""}) for part in parts[1:]]
        keys += [ConversationKey(**{**plain, one: "ab", other: ""}) for one, other in itertools.pairwise(parts[1:])]
        keys += [ConversationKey(**{**plain, one: "A"}) for one in parts]
        found = await asyncio.gather(*(store.get_or_create(key, at=AT) for key in keys))
        assert len({conversation.id for conversation in found}) == len(keys)
        assert [conversation.key for conversation in found] == keys

    async def test_a_new_conversation_knows_its_key_and_its_beginning(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        assert (conversation.key, conversation.created_at, conversation.active_at) == (ROOM, AT, AT)
        assert (conversation.ended_at, conversation.expired_at) == (None, None)

    async def test_find_makes_nothing(self, store: Store) -> None:
        assert await store.find(ROOM) is None
        assert await store.find(ROOM) is None

    async def test_activity_never_goes_back(self, store: Store) -> None:
        await say(store, "now", at=AT)
        await say(store, "said earlier, delivered later", at=AT - MINUTE)
        conversation = await store.find(ROOM)
        assert conversation is not None
        assert conversation.active_at == AT

    async def test_times_of_other_zones_come_back_in_utc(self, store: Store) -> None:
        kathmandu = timezone(timedelta(hours=5, minutes=45))
        conversation = await store.get_or_create(ROOM, at=AT.astimezone(kathmandu).replace(microsecond=123457))
        assert conversation.created_at == AT.replace(microsecond=123457)
        assert conversation.created_at.utcoffset() == timedelta()

    async def test_naive_times_are_refused(self, store: Store) -> None:
        naive = AT.replace(tzinfo=None)
        conversation_id = await say(store, "hello")
        for refused in (
            lambda: store.get_or_create(room("C2"), at=naive),
            lambda: store.append(conversation_id, Role.USER, "x", at=naive),
            lambda: store.accept(message("x", at=naive)),
            lambda: store.end(conversation_id, at=naive),
            lambda: store.expire(before=naive, at=AT, limit=1),
            lambda: store.expire(before=AT, at=naive, limit=1),
            lambda: store.purge(before=naive, limit=1),
            lambda: store.forget_events(before=naive, limit=1),
        ):
            with pytest.raises(ValueError, match="zone"):
                await refused()
        assert await read(store, conversation_id) == ["hello"]
        assert await store.find(room("C2")) is None

    async def test_append_puts_a_message_behind_all_others(self, store: Store) -> None:
        conversation_id = await say(store, "first")
        await store.accept(message("far ahead", position=1_700_000_000_000_000))
        told = await store.append(conversation_id, Role.ASSISTANT, "by the way", at=AT - MINUTE)
        again = await store.append(conversation_id, Role.USER, "imported", at=AT)
        assert await read(store, conversation_id) == ["first", "far ahead", "by the way", "imported"]
        assert (told, again) == await store.recent(conversation_id, 2)
        assert (told.role, told.at, again.role) == (Role.ASSISTANT, AT - MINUTE, Role.USER)

    async def test_append_queues_nothing(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        await store.append(conversation.id, Role.USER, "told, not asked", at=AT)
        assert await nothing_to_do(store)

    async def test_append_to_a_missing_conversation_stores_nothing(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        with pytest.raises(ConversationNotFound):
            await store.append(conversation_id + 1, Role.USER, "lost", at=AT)
        other = await store.get_or_create(room("C2"), at=AT)
        assert other.id == conversation_id + 1 or await read(store, other.id) == []
        assert await store.recent(other.id, 10) == ()

    async def test_many_appends_at_once_keep_every_message(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        await asyncio.gather(*(store.append(conversation.id, Role.USER, f"{n}", at=AT) for n in range(50)))
        assert sorted(map(int, await read(store, conversation.id))) == list(range(50))

    async def test_the_message_after_an_end_opens_a_new_conversation(self, store: Store) -> None:
        old = await say(store, "before")
        await answer(store, "an answer")
        await store.end(old, at=AT)
        assert await store.find(ROOM) is None
        new = await say(store, "after")
        assert new != old
        assert await read(store, new) == ["after"]
        assert await read(store, old) == ["before", "an answer"]
        assert texts((await take(store)).window) == ["after"]

    async def test_get_or_create_after_an_end_makes_a_new_conversation(self, store: Store) -> None:
        old = await store.get_or_create(ROOM, at=AT)
        await store.end(old.id, at=AT)
        assert (await store.get_or_create(ROOM, at=AT)).id != old.id

    async def test_an_ended_conversation_may_be_ended_again_and_still_finishes_its_turn(self, store: Store) -> None:
        old = await say(store, "hello")
        await store.end(old, at=AT)
        await store.end(old, at=AT + MINUTE)
        assert (await answer(store, "late, but here")).hold.conversation_id == old
        assert await read(store, old) == ["hello", "late, but here"]

    async def test_a_missing_conversation_can_not_be_ended_or_read(self, store: Store) -> None:
        with pytest.raises(ConversationNotFound):
            await store.end(404, at=AT)
        with pytest.raises(LookupError):
            await store.recent(404, 1)

    async def test_a_deletion_takes_its_messages_along_and_nothing_else(self, store: Store) -> None:
        gone, kept = await say(store, "one", "two"), await say(store, "three", key=room("C2"))
        await answer(store, "an answer")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "P1")
        assert await store.delete(gone) == 3
        with pytest.raises(ConversationNotFound):
            await store.recent(gone, 10)
        assert await store.find(ROOM) is None
        assert await read(store, kept) == ["three"]
        await store.finish(claim.hold, reply("still here"))
        await store.settle(claim.hold, TurnState.DONE)
        assert await read(store, kept) == ["three", "still here"]

    async def test_deleting_what_is_not_there_is_no_error(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        assert await store.delete(conversation_id) == 1
        assert await store.delete(conversation_id) == 0
        assert await store.delete(404) == 0

    async def test_a_deleted_message_delivered_again_stays_deleted(self, store: Store) -> None:
        erased = message("please forget this")
        conversation_id = await store.accept(erased)
        assert conversation_id is not None
        await store.delete(conversation_id)
        assert await store.accept(erased) is None
        assert await nothing_to_do(store)

    async def test_ids_of_deleted_conversations_and_turns_are_not_given_again(self, store: Store) -> None:
        first = await say(store, "one")
        turn = await take(store)
        await store.delete(first)
        second = await say(store, "two")
        assert second > first
        assert (await take(store)).turn.id > turn.turn.id


class OrderLaws:
    """What `recent` shows, and in which order."""

    async def test_recent_is_the_last_n_oldest_first(self, store: Store) -> None:
        conversation_id = await say(store, *"abcde")
        assert texts(await store.recent(conversation_id, 3)) == ["c", "d", "e"]
        assert texts(await store.recent(conversation_id, 1)) == ["e"]
        assert texts(await store.recent(conversation_id, 99)) == list("abcde")

    @pytest.mark.parametrize("n", [0, -1])
    async def test_recent_refuses_less_than_one(self, store: Store, n: int) -> None:
        conversation_id = await say(store, "a")
        with pytest.raises(ValueError):
            await store.recent(conversation_id, n)

    async def test_recent_of_an_empty_conversation_is_empty(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        assert await store.recent(conversation.id, 5) == ()

    @pytest.mark.parametrize("seed", range(3))
    async def test_the_order_is_the_platforms_whatever_the_arrival_and_the_clock(self, store: Store, seed: int) -> None:
        chance = random.Random(seed)
        numbers = list(range(15))
        chance.shuffle(numbers)
        for number in numbers:
            moment = AT + chance.randint(-99, 99) * MINUTE
            await store.accept(message(f"{number}", position=10**15 + number, at=moment))
        claim = await take(store)
        assert texts(claim.window) == [f"{number}" for number in range(15)]
        assert await store.recent(claim.hold.conversation_id, 100) == claim.window

    async def test_a_message_without_a_position_goes_last(self, store: Store) -> None:
        await store.accept(message("by the platform", position=500))
        conversation_id = await say(store, "last")
        await store.accept(message("earlier", position=400))
        await say(store, "very last")
        await store.append(conversation_id, Role.ASSISTANT, "and this", at=AT)
        assert await read(store, conversation_id) == ["earlier", "by the platform", "last", "very last", "and this"]

    async def test_an_answer_stands_directly_behind_the_last_message_it_answers(self, store: Store) -> None:
        await store.accept(message("1", position=10))
        claim = await take(store)
        await store.accept(message("2", position=20))
        await store.finish(claim.hold, reply("to 1"))
        await store.settle(claim.hold, TurnState.DONE)
        await answer(store, "to 2")
        assert await read(store, claim.hold.conversation_id) == ["1", "to 1", "2", "to 2"]

    async def test_a_late_message_of_the_same_turn_goes_before_it(self, store: Store) -> None:
        await store.accept(message("2", position=20))
        await store.accept(message("1", position=10))
        claim = await answer(store, "to both")
        assert texts(claim.window) == ["1", "2"]
        assert await read(store, claim.hold.conversation_id) == ["1", "2", "to both"]

    async def test_a_message_later_than_the_answers_to_later_ones_is_answered_in_its_place(self, store: Store) -> None:
        await store.accept(message("3", position=30))
        await answer(store, "to 3")
        await store.accept(message("2", position=20))
        claim = await answer(store, "to 2")
        assert texts(claim.window) == ["2"]
        assert await read(store, claim.hold.conversation_id) == ["2", "to 2", "3", "to 3"]

    async def test_a_window_ends_with_the_last_message_of_its_turn(self, store: Store) -> None:
        await say(store, "a", "b")
        await answer(store, "A")
        await say(store, "c", "d")
        await take(store, lease=OVER)
        await say(store, "not yet")
        claim = await take(store, window=3)
        assert texts(claim.window) == ["A", "c", "d"]
        assert {m.turn_id for m in claim.window[1:]} == {claim.turn.id}

    async def test_a_message_comes_back_as_it_was_given(self, store: Store) -> None:
        given = message("hello", position=77, author="Zoë")
        conversation_id = await store.accept(given)
        assert conversation_id is not None
        (kept,) = await store.recent(conversation_id, 1)
        assert (kept.conversation_id, kept.role, kept.position) == (conversation_id, Role.USER, 77)
        assert (kept.author_id, kept.author_name, kept.text, kept.at) == ("U-Zoë", "Zoë", "hello", AT)
