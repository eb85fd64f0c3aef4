"""Laws of a long queue: whoever claims finds the oldest turn that can be had, however many before it have to wait."""

import asyncio

import pytest

from store import ON, PAUSED, Claim, ConversationKey, Setting, Spot, Store, TurnState
from store.rows import FIRST_ONES
from tests.contracts.store_words import AT, LEASE, OVER, PLATFORMS, answer, message, nothing_to_do, room, say, take

MANY = FIRST_ONES + 6
"""More than a claim looks at one by one."""
FREE = room("C1", workspace="T2")


async def pause(store: Store, platform: str = "slack", workspace: str = "T1", channel: str = "", value: str = ON) -> None:
    setting = Setting(platform=platform, workspace=workspace, channel=channel, name=PAUSED, value=value)
    await store.put_setting(setting, author_id="U-Op", at=AT)


async def flood(store: Store, *keys: ConversationKey) -> None:
    await asyncio.gather(*(say(store, "hello", key=key) for key in keys))


async def begin(store: Store, most: int) -> Claim | None:
    return await store.claim(lease=LEASE, window=1, platforms=PLATFORMS, per_workspace=most)


def rooms(workspace: str = "T1", channel: str = "") -> list[ConversationKey]:
    """Name `MANY` conversations of a workspace, in channels of their own or in threads of one."""
    return [room(channel or f"C{n}", workspace=workspace, thread=f"{n}" if channel else "") for n in range(MANY)]


class QueueLaws:
    """A turn is claimed in its order among those that can be had, and those that can't are stepped over."""

    @pytest.mark.parametrize("paused", [{}, {"channel": "C1"}], ids=["workspace", "channel"])
    async def test_what_waits_behind_many_paused_ones_is_claimed_and_they_are_once_it_is_over(
        self, store: Store, paused: dict[str, str]
    ) -> None:
        await flood(store, *rooms(channel="C1"))
        await say(store, "hello", key=FREE)
        await pause(store, **paused)
        assert (await take(store)).key == FREE
        assert await nothing_to_do(store)
        await pause(store, **paused, value="")
        claimed = {(await take(store)).key for _ in range(MANY)}
        assert claimed == set(rooms(channel="C1"))
        assert await nothing_to_do(store)

    async def test_what_waits_behind_a_full_workspace_is_claimed(self, store: Store) -> None:
        await flood(store, *rooms())
        await say(store, "hello", key=FREE)
        first, second = await begin(store, 1), await begin(store, 1)
        assert first is not None
        assert second is not None
        assert [first.key.workspace, second.key] == ["T1", FREE]
        assert await begin(store, 1) is None
        await store.settle(first.hold, TurnState.DONE)
        third = await begin(store, 1)
        assert third is not None
        assert third.key.workspace == "T1"

    @pytest.mark.parametrize("many", [1, MANY])
    async def test_workspaces_that_are_left_out_are_stepped_over_but_what_was_begun_there_goes_on(
        self, store: Store, many: int
    ) -> None:
        await flood(store, *rooms()[:many])
        gone = await store.claim(lease=OVER, window=1, platforms=PLATFORMS)
        assert gone is not None
        await flood(store, *rooms("T3")[:many])
        await say(store, "hello", key=FREE)
        but = [Spot(platform="slack", workspace="T1"), Spot(platform="slack", workspace="T3")]

        async def next_one() -> Claim | None:
            return await store.claim(lease=LEASE, window=1, platforms=PLATFORMS, but=but)

        first, second = await next_one(), await next_one()
        assert first is not None
        assert second is not None
        assert [first.hold.turn_id, second.key] == [gone.hold.turn_id, FREE]
        assert await next_one() is None
        if many > 1:
            assert (await take(store)).key.workspace == "T1"

    async def test_what_waits_behind_a_platform_that_is_not_asked_for_is_claimed(self, store: Store) -> None:
        await flood(store, *rooms())
        key = room("D1", platform="discord", workspace="")
        await say(store, "hello", key=key)
        claim = await store.claim(lease=LEASE, window=1, platforms=("discord",))
        assert claim is not None
        assert claim.key == key

    async def test_behind_those_that_wait_it_is_the_oldest_of_all_workspaces_that_is_claimed(self, store: Store) -> None:
        await flood(store, *rooms())
        keys = [room(f"C{n}", workspace=f"T{4 - n % 3}") for n in range(9)]
        for key in keys:
            await say(store, "hello", key=key)
        await pause(store)
        await pause(store, workspace="T3", channel="C1")
        assert keys[1].workspace == "T3", "the oldest of its workspace is paused by its channel"
        assert [(await take(store)).key for _ in range(8)] == [key for key in keys if key != keys[1]]

    async def test_behind_those_that_wait_a_turn_whose_holder_is_gone_has_its_place_too(self, store: Store) -> None:
        await flood(store, *rooms())
        await pause(store)
        await say(store, "first", key=FREE)
        lost = await take(store, lease=OVER)
        await say(store, "second", key=room("C2", workspace="T2"))
        again = await take(store)
        assert (again.turn.id, again.recovered) == (lost.turn.id, True)
        assert (await take(store)).key == room("C2", workspace="T2")

    async def test_what_is_queued_again_is_found_behind_them_too(self, store: Store) -> None:
        await flood(store, *rooms())
        await pause(store)
        conversation_id = await say(store, "hello", key=FREE)
        await answer(store)
        assert await nothing_to_do(store)
        assert await store.retry(conversation_id)
        assert (await take(store)).key == FREE

    async def test_of_many_that_claim_at_once_behind_them_each_has_a_turn_of_its_own(self, store: Store) -> None:
        await flood(store, *rooms())
        await pause(store)
        await flood(store, *rooms("T2")[:20])
        claims = await asyncio.gather(*(begin(store, 99) for _ in range(20)))
        keys = [claim.key for claim in claims if claim is not None]
        rest = [(await take(store)).key for _ in range(20 - len(keys))]
        assert {*keys, *rest} == set(rooms("T2")[:20])
        accepted = await store.accept_and_claim(message(key=room("C99")), lease=LEASE, window=1)
        assert accepted is not None
        assert accepted.claim is None, "paused"
