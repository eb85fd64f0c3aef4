"""What is done once in a while is done once in that time, for each name by itself, and remembered within bounds."""

from datetime import timedelta

import pytest

from bot.chat.seldom import Seldom
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

PERIOD = timedelta(minutes=10)


async def test_a_name_is_due_once_in_its_period() -> None:
    clock = FakeClock()
    seldom = Seldom(clock, PERIOD)
    assert seldom.due("kitchen")
    await clock.advance(PERIOD - timedelta(seconds=1))
    assert not seldom.due("kitchen")
    assert seldom.due("garden")
    await clock.advance(timedelta(seconds=1))
    assert seldom.due("kitchen")
    assert not seldom.due("kitchen")


async def test_what_was_not_done_is_due_again() -> None:
    seldom = Seldom(FakeClock(), PERIOD)
    assert seldom.due("kitchen")
    seldom.take_back("kitchen")
    seldom.take_back("garden")
    assert seldom.due("kitchen")


async def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    seldom = Seldom(FakeClock(), PERIOD, most=3)
    for number in range(1000):
        assert seldom.due(number)
    assert not any(seldom.due(number) for number in (997, 998, 999))
    assert seldom.due(996)
