"""The order, the patience and the limits of what is in hand."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from bot.adapters.discord.inbox import FIRST_RETRY, LONGEST_RETRY, Inbox, Room
from bot.chat.protocol import DeliveryDelayed
from store import StoreClosed, StoreUnavailable
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio
KITCHEN, HALL = 1, 2


class Diary:
    """Work that writes down when it is done, and fails as often as it is told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.tries = 0
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def work(self, name: str) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            self.tries += 1
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            self.done.append(name)

        return write


async def test_one_channel_is_handled_in_order_and_another_does_not_wait_for_it() -> None:
    inbox, slow, quick = Inbox(FakeClock()), Diary(), Diary()
    slow.gate.clear()
    first, second = inbox.put(KITCHEN, slow.work("1")), inbox.put(KITCHEN, slow.work("2"))
    elsewhere = inbox.put(HALL, quick.work("elsewhere"))
    assert first is not None
    assert second is not None
    assert elsewhere is not None
    await elsewhere
    assert (slow.done, slow.tries) == ([], 1)
    slow.gate.set()
    await second
    assert slow.done == ["1", "2"]
    await inbox.close()


async def test_while_the_store_fails_nothing_is_lost_and_nothing_overtakes() -> None:
    clock, diary = FakeClock(), Diary()
    inbox = Inbox(clock)
    diary.failures = [StoreUnavailable("full"), StoreUnavailable("full"), StoreUnavailable("full")]
    handled = [inbox.put(KITCHEN, diary.work(str(number))) for number in range(3)]
    await clock.advance(FIRST_RETRY * 3)
    assert diary.done == []
    await clock.advance(FIRST_RETRY * 4)
    assert diary.done == ["0", "1", "2"]
    assert all(done is not None and done.done() for done in handled)
    await inbox.close()


async def test_the_pauses_grow_up_to_a_limit() -> None:
    clock, diary = FakeClock(), Diary()
    inbox = Inbox(clock)
    diary.failures = [StoreUnavailable("full")] * 1000
    inbox.put(KITCHEN, diary.work("1"))
    await clock.advance(timedelta(minutes=5))
    tries = diary.tries
    await clock.advance(LONGEST_RETRY * 2)
    assert diary.tries == tries + 2
    await inbox.close()


async def test_when_discord_asks_to_wait_it_is_not_asked_before() -> None:
    clock, diary = FakeClock(), Diary()
    inbox = Inbox(clock)
    diary.failures = [DeliveryDelayed("later", retry_after=timedelta(minutes=1))]
    inbox.put(KITCHEN, diary.work("1"))
    await clock.advance(timedelta(seconds=59))
    assert diary.tries == 1
    await clock.advance(timedelta(seconds=2))
    assert diary.done == ["1"]
    await inbox.close()


async def test_a_failing_channel_does_not_take_the_place_of_others() -> None:
    clock, failing, healthy = FakeClock(), Diary(), Diary()
    inbox = Inbox(clock, at_once=1)
    failing.failures = [StoreUnavailable("full")] * 1000
    inbox.put(KITCHEN, failing.work("never"))
    await clock.advance(timedelta())
    handled = inbox.put(HALL, healthy.work("elsewhere"))
    assert handled is not None
    await handled
    await inbox.close()


async def test_what_can_never_be_handled_does_not_hold_up_its_channel() -> None:
    inbox, diary = Inbox(FakeClock()), Diary()
    diary.failures = [ValueError("not even wrong")]
    bad, good = inbox.put(KITCHEN, diary.work("bad")), inbox.put(KITCHEN, diary.work("good"))
    assert bad is not None
    assert good is not None
    await good
    assert bad.done()
    assert not bad.cancelled()
    assert diary.done == ["good"]
    await inbox.close()


async def test_what_is_too_much_is_refused_and_what_was_taken_is_kept() -> None:
    inbox, diary = Inbox(FakeClock(), per_channel=2, in_all=3), Diary()
    diary.gate.clear()
    taken = [inbox.put(KITCHEN, diary.work(str(number))) for number in range(3)]
    assert [done is not None for done in taken] == [True, True, False]
    assert inbox.put(HALL, diary.work("in the hall")) is not None
    assert inbox.put(HALL, diary.work("one too many")) is None
    diary.gate.set()
    await inbox.close()
    assert sorted(diary.done) == ["0", "1", "in the hall"]


async def test_there_is_more_room_for_what_would_be_lost() -> None:
    inbox, diary = Inbox(FakeClock(), per_channel=1, in_all=2), Diary()
    diary.gate.clear()

    def fits(room: Room) -> bool:
        return inbox.put(KITCHEN, diary.work(room.name), room=room) is not None

    assert fits(Room.MESSAGE)
    assert not fits(Room.MESSAGE)
    assert [fits(Room.EDIT) for _ in range(4)] == [True] * 3 + [False]
    assert [fits(Room.REMOVAL) for _ in range(17)] == [True] * 16 + [False]
    diary.gate.set()
    await inbox.close()
    assert diary.done == ["MESSAGE"] + ["EDIT"] * 3 + ["REMOVAL"] * 16


async def test_what_can_t_be_handled_is_told_without_what_was_said() -> None:
    inbox, diary = Inbox(FakeClock()), Diary()
    diary.failures = [UnicodeEncodeError("utf-8", "my secret \ud800", 10, 11, "surrogates not allowed")]
    handled = inbox.put(KITCHEN, diary.work("bad"))
    assert handled is not None
    with capture_logs() as logs:
        await handled
    assert [entry["event"] for entry in logs] == ["discord.not_handled"]
    assert "secret" not in str(logs)
    await inbox.close()


async def test_closing_takes_nothing_more_and_waits_for_what_is_in_hand() -> None:
    inbox, diary = Inbox(FakeClock()), Diary()
    diary.gate.clear()
    for number in range(3):
        inbox.put(KITCHEN, diary.work(str(number)))
    closing = asyncio.create_task(inbox.close())
    await asyncio.sleep(0)
    assert inbox.put(KITCHEN, diary.work("late")) is None
    assert not closing.done()
    diary.gate.set()
    await closing
    assert diary.done == ["0", "1", "2"]


@pytest.mark.parametrize("failure", [StoreUnavailable("full"), StoreClosed("closed")])
async def test_closing_does_not_wait_for_a_store_that_fails(failure: Exception) -> None:
    clock, diary = FakeClock(), Diary()
    inbox = Inbox(clock)
    diary.failures = [failure] * 1000
    handled = inbox.put(KITCHEN, diary.work("1"))
    await clock.advance(FIRST_RETRY)
    await inbox.close()
    assert handled is not None
    assert handled.cancelled()
