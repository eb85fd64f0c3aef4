"""The laws of `bot.chat.away`: one sentence in a channel in ten minutes, whoever has it to say, and none for nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from bot.chat.away import CHANNELS, EVERY, PATIENCE, STEP, Away
from bot.chat.protocol import Address
from bot.chat.words import STORE_AWAY
from store import StoreUnavailable
from tests.fakes.clock import FakeClock
from tests.fakes.recent_surface import RecentSurface, said_since
from tests.fakes.surface import Fault

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)
SOON = PATIENCE + SECOND


def at(channel: str = "kitchen", reply_to: str = "m1") -> Address:
    return Address(platform="fake", workspace="w", channel=channel, reply_to=reply_to)


@dataclass
class House:
    """Replicas in one workspace, and the store that all of them miss."""

    clock: FakeClock
    surface: RecentSurface
    replicas: list[Away]
    away: bool = True
    returns: list[int] = field(default_factory=list)
    """Which replica noticed that the store is back."""

    def said(self, channel: str = "kitchen") -> list[str]:
        return self.surface.texts(at(channel))


@asynccontextmanager
async def house(replicas: int = 1, *, nonces: bool = False) -> AsyncIterator[House]:
    """Without `nonces` the platform takes what is posted twice for two messages, as Slack does."""
    clock = FakeClock()
    surface = RecentSurface(clock, nonces=nonces)
    made = House(clock, surface, [])

    async def check() -> None:
        if made.away:
            raise StoreUnavailable("the store is away")

    async def back(number: int) -> None:
        made.returns.append(number)

    for number in range(replicas):
        made.replicas.append(
            Away(
                surface,
                clock,
                check=check,
                since=said_since,
                rank=lambda number=number: number,
                back=lambda number=number: back(number),
            )
        )
    yield made
    for one in made.replicas:
        await one.close()


async def test_a_channel_whose_message_can_not_be_kept_for_some_seconds_is_told_so():
    async with house() as home:
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(PATIENCE - SECOND)
        assert home.said() == []
        await home.clock.advance(2 * SECOND)
        assert home.said() == [STORE_AWAY]


async def test_who_has_waited_for_the_store_long_enough_already_is_told_at_once():
    async with house() as home:
        home.replicas[0].unkept(at(), home.clock.monotonic() - PATIENCE)
        await home.clock.advance(timedelta())
        assert home.said() == [STORE_AWAY]


async def test_a_store_that_is_back_by_then_costs_nobody_a_word():
    async with house() as home:
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(2 * SECOND)
        home.away = False
        await home.clock.advance(EVERY)
        assert home.said() == []
        assert home.returns == [0]


async def test_a_notice_that_fails_in_an_unknown_way_does_not_keep_the_store_s_return_from_being_noticed(
    monkeypatch: pytest.MonkeyPatch,
):
    async with house() as home:

        async def find(address: Address, *, nonce: str, text: str) -> str | None:
            raise KeyError("ts")

        monkeypatch.setattr(home.surface, "find", find)
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(SOON)
        home.away = False
        await home.clock.advance(SOON)
        assert home.returns == [0]


async def test_a_channel_is_told_once_in_ten_minutes_however_much_is_said_and_each_channel_by_itself():
    async with house() as home:
        for minute in range(11):
            home.replicas[0].unkept(at(reply_to=f"m{minute}"), home.clock.monotonic())
            home.replicas[0].unkept(at("garden", f"n{minute}"), home.clock.monotonic())
            await home.clock.advance(timedelta(minutes=1))
        assert home.said() == home.said("garden") == [STORE_AWAY]
        assert len(home.surface.looked_for) == 2, "who knows that it was said does not look"
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(SOON)
        assert home.said() == [STORE_AWAY] * 2


@pytest.mark.parametrize("nonces", [False, True])
async def test_of_several_replicas_one_says_it(nonces: bool):
    async with house(4, nonces=nonces) as home:
        for number, one in enumerate(home.replicas):
            one.unkept(at(reply_to=f"m{number}"), home.clock.monotonic())
        await home.clock.advance(PATIENCE + 5 * STEP)
        assert home.said() == [STORE_AWAY]


async def test_a_second_outage_within_ten_minutes_is_not_told_again_by_anybody():
    async with house(2) as home:
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(SOON)
        home.away = False
        await home.clock.advance(timedelta(minutes=5))
        home.away = True
        for one in home.replicas:
            one.unkept(at(reply_to="m2"), home.clock.monotonic())
        await home.clock.advance(SOON + STEP)
        assert home.said() == [STORE_AWAY]


async def test_a_process_that_began_anew_sees_that_it_was_said():
    async with house(2) as home:
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(SOON)
        await home.replicas[0].close()
        await home.clock.advance(timedelta(minutes=1))
        home.replicas[1].unkept(at(reply_to="m2"), home.clock.monotonic())
        await home.clock.advance(EVERY - timedelta(minutes=2))
        assert home.said() == [STORE_AWAY]


async def test_who_speaks_later_says_nothing_when_the_store_is_back_by_then():
    async with house(2) as home:
        home.replicas[1].unkept(at(), home.clock.monotonic())
        await home.clock.advance(PATIENCE + STEP / 2)
        home.away = False
        await home.clock.advance(STEP + PATIENCE)
        assert home.said() == []
        assert home.returns == [1]


@pytest.mark.parametrize(
    ("method", "fault", "told"),
    [("find", Fault.DELAYED, 1), ("post", Fault.DELAYED, 1), ("post", Fault.CALL_LOST, 0), ("post", Fault.ANSWER_LOST, 1)],
)
async def test_what_could_not_be_said_is_tried_again_and_what_may_have_been_said_is_not(
    method: str, fault: Fault, told: int
):
    async with house() as home:
        home.surface.script(method, fault)
        home.replicas[0].unkept(at(), home.clock.monotonic())
        await home.clock.advance(2 * SOON)
        assert home.said() == [STORE_AWAY] * told


async def test_whatever_waits_is_told_when_the_store_is_back_and_each_time_anew():
    async with house() as home:
        for _ in range(2):
            home.away = True
            home.replicas[0].failed()
            await home.clock.advance(timedelta(minutes=1))
            home.away = False
            await home.clock.advance(SOON)
        assert home.returns == [0, 0]
        assert home.said() == [], "nobody waits for an answer"


async def test_what_waits_to_be_told_is_bounded_and_nothing_is_left_when_it_is_closed():
    async with house() as home:
        for number in range(CHANNELS + 10):
            home.replicas[0].unkept(at(f"room {number}"), home.clock.monotonic())
        await home.clock.advance(SOON)
        assert sum(1 for _ in home.surface.everything()) == CHANNELS
        home.replicas[0].unkept(at("late"), home.clock.monotonic())
        await home.replicas[0].close()
        home.replicas[0].unkept(at("later"), home.clock.monotonic())
        await home.clock.advance(EVERY)
        assert home.said("late") == home.said("later") == []
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "away"]
