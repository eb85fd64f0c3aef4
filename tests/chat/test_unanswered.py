"""The laws of `bot.chat.unanswered`: one line for all that came too long ago, at nobody, and once."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat.callers import MEMBER
from bot.chat.protocol import Address, IncomingMessage, Place
from bot.chat.unanswered import TRIES, Unanswered
from tests.chat.chatting import KITCHEN
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface, Fault

pytestmark = pytest.mark.anyio
SIX_HOURS = timedelta(hours=6)


def said(number: int) -> IncomingMessage:
    return IncomingMessage(
        event_id=f"e{number}",
        message_id=f"m{number}",
        place=Place.CHANNEL,
        address=Address(platform="fake", workspace="w", channel="kitchen", reply_to=f"m{number}"),
        author_id="ada",
        author_name="Ada",
        standing=MEMBER,
        text="anybody?",
        sent_at=START,
        position=number,
        addressed=True,
    )


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.surface = FakeSurface(self.clock, nonces=False)
        self._names: set[str] = set()

    def replica(self) -> Unanswered:
        """Whoever comes asks the same store who was first."""

        async def once(name: str) -> bool:
            first = name not in self._names
            self._names.add(name)
            return first

        return Unanswered(self.surface, self.clock, once=once)

    def texts(self) -> list[str]:
        return self.surface.texts(KITCHEN)


async def test_one_line_tells_how_many_and_to_ask_again_and_replies_to_none_of_them() -> None:
    house = House()
    await house.replica().tell([said(1), said(2)], older_than=SIX_HOURS)
    assert house.texts() == [
        "I was away, and 2 messages to me from more than 6 hours ago have no answer; please ask again what still matters."
    ]
    (shown,) = house.surface.shown(KITCHEN)
    assert shown.answers == ""


async def test_one_message_is_told_of_in_the_singular_and_where_there_may_be_more_it_is_said() -> None:
    house = House()
    await house.replica().tell([said(1)], older_than=SIX_HOURS)
    await house.replica().tell([said(2)], older_than=SIX_HOURS, more=True)
    await house.replica().tell([said(3), said(4)], older_than=SIX_HOURS, more=True)
    one, at_least_one, at_least_two = house.texts()
    assert one.startswith("I was away, and a message to me from more than 6 hours ago has no answer")
    assert "at least one message to me" in at_least_one
    assert "at least 2 messages to me" in at_least_two


async def test_nothing_is_said_of_nothing() -> None:
    house = House()
    await house.replica().tell([], older_than=SIX_HOURS, more=True)
    assert house.texts() == []


async def test_it_is_said_once_whoever_reads_it_again() -> None:
    house = House()
    await asyncio.gather(*(house.replica().tell([said(1), said(2)], older_than=SIX_HOURS) for _ in range(3)))
    assert len(house.texts()) == 1
    await house.replica().tell([said(3)], older_than=SIX_HOURS)
    assert len(house.texts()) == 2, "what came later is told of when it is too old, too"


async def test_who_is_put_off_tries_again_a_few_times_and_then_leaves_it() -> None:
    house = House()
    house.surface.script("post", Fault.DELAYED)
    telling = asyncio.create_task(house.replica().tell([said(1)], older_than=SIX_HOURS))
    await house.clock.advance(house.surface.retry_after)
    await telling
    assert len(house.texts()) == 1
    house.surface.script("post", *[Fault.DELAYED] * TRIES)
    telling = asyncio.create_task(house.replica().tell([said(2)], older_than=SIX_HOURS))
    await house.clock.advance(TRIES * house.surface.retry_after)
    await telling
    assert len(house.texts()) == 1


async def test_where_nobody_can_be_told_reading_goes_on() -> None:
    house = House()
    house.surface.script("post", Fault.UNREACHABLE)
    await house.replica().tell([said(1)], older_than=SIX_HOURS)
    assert house.texts() == []
