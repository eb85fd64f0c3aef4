"""Laws of a conversation's end: when its time is up, what is erased, and in which portions."""

from datetime import datetime

import pytest

from store import ConversationKey, ConversationNotFound, Expired, Role, Spot, Store, TurnState
from tests.contracts.store_words import AT, MINUTE, ROOM, answer, message, nothing_to_do, read, room, say, take

NOW = AT + 1000 * MINUTE


T1 = Spot(platform="slack", workspace="T1")
C1 = Spot(platform="slack", workspace="T1", channel="C1")


def is_within(key: ConversationKey, spot: Spot) -> bool:
    return (key.platform, key.workspace) == (spot.platform, spot.workspace) and spot.channel in ("", key.channel)


async def expire_all(
    store: Store, *, limit: int, before: datetime = NOW, within: Spot | None = None, but: tuple[Spot, ...] = ()
) -> list[Expired]:
    """Let batches go on until there is no next one."""
    batches = [await store.expire(before=before, at=NOW, limit=limit, within=within, but=but)]
    while batches[-1].next is not None:
        since = batches[-1].next
        batches.append(await store.expire(before=before, at=NOW, limit=limit, within=within, but=but, since=since))
        assert len(batches) < 100
    return batches


class ExpireLaws:
    """Exactly the idle ones, never one with an open turn."""

    async def test_exactly_the_idle_conversations_expire(self, store: Store) -> None:
        for n in range(6):
            await store.get_or_create(room(f"C{n}"), at=AT + n * MINUTE)
        assert (await store.expire(before=AT + 3 * MINUTE, at=NOW, limit=100)).expired == 3
        assert [await store.find(room(f"C{n}")) is None for n in range(6)] == [True] * 3 + [False] * 3
        assert (await store.expire(before=AT + 3 * MINUTE, at=NOW, limit=100)).expired == 0

    async def test_activity_of_any_kind_keeps_a_conversation(self, store: Store) -> None:
        spoken = await say(store, "hello", at=AT)
        await answer(store)
        told = await store.get_or_create(room("C2"), at=AT)
        await say(store, "again", at=AT + 9 * MINUTE)
        await answer(store)
        await store.append(told.id, Role.ASSISTANT, "by the way", at=AT + 9 * MINUTE)
        assert (await store.expire(before=AT + 9 * MINUTE, at=NOW, limit=100)).expired == 0
        assert (await store.expire(before=AT + 10 * MINUTE, at=NOW, limit=100)).expired == 2
        assert await read(store, spoken) == ["hello", "hi", "again", "hi"]

    async def test_a_conversation_with_an_open_turn_does_not_expire(self, store: Store) -> None:
        for n in range(4):
            await say(store, "hello", key=room(f"C{n}"))
        queued, running, delivering, released = [await take(store) for _ in range(4)]
        await store.settle(queued.hold, TurnState.DONE)
        await say(store, "again", key=queued.key)
        await store.renew(running.hold, lease=MINUTE)
        await store.finish(delivering.hold, None, error="x")
        await store.release(released.hold)
        assert (await store.expire(before=NOW, at=NOW, limit=100)).expired == 0
        for claim in (running, delivering):
            await store.settle(claim.hold, TurnState.DONE)
        assert (await store.expire(before=NOW, at=NOW, limit=100)).expired == 2
        assert await store.find(running.key) is None
        assert await store.find(queued.key) is not None

    async def test_expiry_is_bounded_and_takes_the_oldest_first(self, store: Store) -> None:
        for n in (3, 0, 4, 1, 2):
            await store.get_or_create(room(f"C{n}"), at=AT + n * MINUTE)
        assert (await store.expire(before=NOW, at=NOW, limit=2)).expired == 2
        assert [await store.find(room(f"C{n}")) is None for n in range(5)] == [True, True, False, False, False]
        assert (await store.expire(before=NOW, at=NOW, limit=2)).expired == 2
        assert (await store.expire(before=NOW, at=NOW, limit=2)).expired == 1

    async def test_open_turns_among_the_oldest_do_not_hide_the_others(self, store: Store) -> None:
        for n in range(5):
            await say(store, "hello", key=room(f"C{n}"), at=AT)
        await store.get_or_create(room("idle"), at=AT + MINUTE)
        assert [batch.expired for batch in await expire_all(store, limit=2)] == [0, 0, 1]
        assert await store.find(room("idle")) is None

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    @pytest.mark.parametrize("within", [None, T1, C1, Spot(platform="slack", workspace="")])
    async def test_batches_look_at_each_once_and_expire_exactly_what_is_due(
        self, store: Store, limit: int, within: Spot | None
    ) -> None:
        keys = [
            room(channel, workspace=workspace, platform=platform, thread=thread)
            for platform, workspace in (("slack", "T1"), ("slack", "T2"), ("slack", ""), ("discord", "T1"))
            for channel in ("C1", "C2")
            for thread in ("", "1", "2")
        ]
        for n, key in enumerate(keys):
            await store.get_or_create(key, at=AT + (n % 4) * MINUTE)
        batches = await expire_all(store, before=AT + 3 * MINUTE, limit=limit, within=within)
        assert all(batch.looked_at <= limit for batch in batches)
        old = {key for n, key in enumerate(keys) if n % 4 != 3 and (within is None or is_within(key, within))}
        assert sum(batch.expired for batch in batches) == len(old)
        assert {key for key in keys if await store.find(key) is None} == old
        looked = sum(batch.looked_at for batch in batches)
        assert looked <= len(keys)
        assert sum(batch.expired for batch in await expire_all(store, before=NOW, limit=limit)) == len(keys) - len(old)

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_spots_with_a_time_of_their_own_are_spared(self, store: Store, limit: int) -> None:
        keys = [room(f"C{n}", workspace=f"T{m}", thread=thread) for n in (1, 2) for m in (1, 2) for thread in ("", "1")]
        for key in keys:
            await store.get_or_create(key, at=AT)
        but = (C1, Spot(platform="slack", workspace="T2"), Spot(platform="discord", workspace="T1"))
        assert sum(batch.expired for batch in await expire_all(store, limit=limit, but=but)) == 2
        assert {key.channel for key in keys if await store.find(key) is None} == {"C2"}
        spared = await expire_all(store, limit=limit, within=T1, but=(C1,))
        assert sum(batch.expired for batch in spared) == 0
        assert sum(batch.expired for batch in await expire_all(store, limit=limit, within=T1)) == 2

    async def test_what_expires_while_batches_go_on_hides_nothing(self, store: Store) -> None:
        for n in range(6):
            await store.get_or_create(room("C1", thread=f"{n}"), at=AT)
        first = await store.expire(before=NOW, at=NOW, limit=2, within=C1)
        gone = await store.find(room("C1", thread="3"))
        assert gone is not None
        await store.delete(gone.id)
        second = await store.expire(before=NOW, at=NOW, limit=2, within=C1, since=first.next)
        third = await store.expire(before=NOW, at=NOW, limit=2, within=C1, since=second.next)
        assert [batch.expired for batch in (first, second, third)] == [2, 2, 1]
        assert third.next is None

    async def test_ended_conversations_expire_too(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        await store.end(conversation.id, at=AT + MINUTE)
        assert (await store.expire(before=NOW, at=NOW, limit=10)).expired == 1
        assert await store.purge(before=NOW + MINUTE, limit=10) == 1

    async def test_an_expired_conversation_is_readable_until_purged_and_its_key_moves_on(self, store: Store) -> None:
        old = await say(store, "hello")
        await answer(store)
        await store.expire(before=NOW, at=NOW, limit=10)
        assert await read(store, old) == ["hello", "hi"]
        new = await say(store, "good morning")
        assert new != old
        assert await read(store, new) == ["good morning"]

    async def test_an_expired_conversation_is_not_tried_again(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        await answer(store)
        await store.expire(before=NOW, at=NOW, limit=10)
        assert not await store.retry(conversation_id)
        assert await nothing_to_do(store)

    async def test_an_expired_conversation_can_be_deleted_at_once(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        await answer(store)
        await store.expire(before=NOW, at=NOW, limit=10)
        assert await store.delete(conversation_id) == 2
        assert await store.purge(before=NOW + MINUTE, limit=10) == 0


class PurgeLaws:
    """Erasing in portions."""

    async def test_only_what_expired_before_the_cut_is_purged(self, store: Store) -> None:
        early, late = await store.get_or_create(ROOM, at=AT), await store.get_or_create(room("C2"), at=AT + MINUTE)
        alive = await store.get_or_create(room("C3"), at=NOW)
        await store.expire(before=AT + MINUTE, at=NOW, limit=10)
        await store.expire(before=AT + 2 * MINUTE, at=NOW + MINUTE, limit=10)
        assert await store.purge(before=NOW, limit=10) == 0
        assert await store.purge(before=NOW + MINUTE, limit=10) == 1
        with pytest.raises(ConversationNotFound):
            await store.recent(early.id, 1)
        assert await store.recent(late.id, 1) == ()
        assert await store.recent(alive.id, 1) == ()

    async def test_a_purge_erases_at_most_so_many_rows_at_once(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        for n in range(25):
            await store.append(conversation.id, Role.USER, f"{n}", at=AT)
        await store.expire(before=NOW, at=NOW, limit=10)
        gone, portions = 0, 0
        while portion := await store.purge(before=NOW + MINUTE, limit=10):
            assert portion <= 10
            gone, portions = gone + portion, portions + 1
            if gone < 25:
                assert len(await read(store, conversation.id)) == 25 - gone, "it goes when the last of its messages has gone"
        assert (gone, portions) == (26, 3)
        with pytest.raises(ConversationNotFound):
            await store.recent(conversation.id, 1)

    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    async def test_a_purge_goes_on_until_nothing_is_left_and_touches_nothing_else(self, store: Store, limit: int) -> None:
        kept = await say(store, "kept", at=NOW, key=room("kept"))
        await answer(store)
        for n in range(4):
            await say(store, *"ab"[: n % 3], "c", key=room(f"C{n}"))
            claim = await take(store)
            await store.record_part(claim.hold, 0, "P")
            await store.settle(claim.hold, TurnState.DONE)
            await store.get_or_create(room(f"empty {n}"), at=AT)
        assert (await store.expire(before=NOW, at=NOW, limit=100)).expired == 8
        while gone := await store.purge(before=NOW + MINUTE, limit=limit):
            assert gone <= limit
        assert await read(store, kept) == ["kept", "hi"]
        for conversation_id in range(kept + 1, kept + 9):
            with pytest.raises(ConversationNotFound):
                await store.recent(conversation_id, 1)
        assert (await store.expire(before=NOW, at=NOW, limit=100)).expired == 0

    async def test_the_events_of_a_purged_conversation_stay_known(self, store: Store) -> None:
        event = message("hello")
        await store.accept(event)
        await answer(store)
        await store.expire(before=NOW, at=NOW, limit=10)
        while await store.purge(before=NOW + MINUTE, limit=10):
            pass
        assert await store.accept(event) is None
        assert await store.find(ROOM) is None

    async def test_events_are_forgotten_in_time_and_in_portions(self, store: Store) -> None:
        for n in range(5):
            await store.accept(message(f"{n}", event_id=f"Ev{n}", message_id=f"{n}", at=AT + n * MINUTE))
        cut = AT + 3 * MINUTE
        assert [await store.forget_events(before=cut, limit=4) for _ in range(3)] == [4, 2, 0]
        assert await store.accept(message("again", event_id="Ev4", message_id="new")) is None
        assert await store.accept(message("again", event_id="new", message_id="3")) is None
        assert await store.accept(message("again", event_id="Ev0", message_id="0")) is not None
