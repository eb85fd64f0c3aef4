"""A workspace that has little running does not wait for the queue of one that has much."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.shares import MOST, RECENT, Shares, spot_of
from store import ConversationKey, Spot
from tests.chat.chatting import SETTINGS, Chat, chatting, until
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

EIGHT = replace(SETTINGS, concurrent=8)


def key(workspace: object, channel: object = "C1") -> ConversationKey:
    return ConversationKey(platform="p", workspace=f"W{workspace}", channel=f"{channel}")


def spot(workspace: object) -> Spot:
    return Spot(platform="p", workspace=f"W{workspace}")


async def say(chat: Chat, workspace: str, channel: str) -> None:
    said = chat.message("Hello", channel=channel)
    await chat.intake.take(replace(said, address=replace(said.address, workspace=workspace)))


async def test_who_asks_while_another_workspace_has_a_long_queue_is_answered_at_once() -> None:
    over = asyncio.Event()
    async with chatting("First.", *[["Busy. ", over]] * 6, "At once.", *["Late."] * 14, settings=EIGHT) as chat:
        await say(chat, "quiet", "c0")
        await chat.quiet()
        for number in range(20):
            await say(chat, "flood", f"c{number}")
        await until(lambda: chat.model.open_streams == 6)
        assert (await chat.store.status()).queued == 14
        await say(chat, "quiet", "c1")
        await until(lambda: chat.model.open_streams == 6 and len(chat.model.prompts) == 8 and chat.turns.running == 6)
        assert (await chat.store.status()).queued == 14
        over.set()
        await chat.quiet()
        assert len(chat.model.prompts) == 22


async def test_a_workspace_that_is_alone_has_all_slots() -> None:
    over = asyncio.Event()
    async with chatting(*[["Busy. ", over]] * 8, *["Late."] * 2, settings=EIGHT) as chat:
        for number in range(10):
            await say(chat, "alone", f"c{number}")
        await until(lambda: chat.model.open_streams == 8)
        over.set()
        await chat.quiet()
        assert len(chat.model.prompts) == 10


RUNNING = st.lists(st.integers(0, 5), max_size=64)


@given(slots=st.integers(1, 64), running=RUNNING, heard=st.sets(st.integers(0, 9)))
def test_nobody_is_left_out_who_has_nothing_or_while_there_is_room(slots: int, running: list[int], heard: set[int]) -> None:
    shares, counts = Shares(slots, FakeClock()), Counter(running)
    for workspace in heard:
        shares.heard(key(workspace))
    for workspace in running:
        shares.took(key(workspace))
    left_out = shares.left_out()
    assert left_out <= {spot(workspace) for workspace in counts}
    if len(running) < slots - slots // 4:
        assert not left_out
    if len(heard | counts.keys()) == 1 and len(running) < slots:
        assert not left_out, "nobody else is there"
    known = len(heard | counts.keys()) or 1
    assert all(counts[workspace] >= max(1, slots // known) for workspace in counts if spot(workspace) in left_out)
    for workspace in running:
        shares.gave_back(key(workspace))
    assert not shares.left_out()
    assert not shares._running


def test_who_was_not_heard_for_long_is_not_reckoned_with() -> None:
    clock = FakeClock()
    shares = Shares(8, clock)
    for channel in range(6):
        shares.took(key("flood", channel))
    shares.heard(key("quiet"))
    shares.heard(key("flood"))
    assert shares.left_out() == {spot("flood")}
    clock._passed += RECENT + timedelta(seconds=1)
    shares.heard(key("flood"))
    assert shares.left_out() == frozenset()


def test_of_very_many_workspaces_the_latest_are_remembered() -> None:
    shares = Shares(8, FakeClock())
    for number in range(2 * MOST):
        shares.heard(key(number))
    assert len(shares._heard) == MOST
    assert spot_of(key(2 * MOST - 1)) in shares._heard
