"""The laws of `bot.chat.pacing`."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat.pacing import Pacer, Pacers
from bot.chat.protocol import Budget
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio
PACE = timedelta(seconds=1.2)
LONG = timedelta(minutes=10)


class Line:
    """Waiters of a pacer, and who was served when."""

    def __init__(self, pace: timedelta = PACE) -> None:
        self.clock = FakeClock()
        self.pacer = Pacer(self.clock, Budget(name="here", pace=pace))
        self.served: list[tuple[object, timedelta]] = []

    def enter(self, name: object, *, urgent: bool = False) -> asyncio.Task[None]:
        async def wait() -> None:
            await self.pacer.acquire(urgent=urgent)
            self.served.append((name, self.clock.monotonic()))

        return asyncio.create_task(wait())

    @property
    def names(self) -> list[object]:
        return [name for name, _ in self.served]

    @property
    def times(self) -> list[float]:
        return [at.total_seconds() for _, at in self.served]


async def test_the_first_is_served_at_once():
    line = Line()
    await line.pacer.acquire()
    assert line.clock.monotonic() == timedelta()


async def test_one_slot_per_pace_in_the_order_of_coming():
    line = Line()
    for name in "abcd":
        line.enter(name)
    await line.clock.advance(LONG)
    assert line.names == list("abcd")
    assert line.times == [0, 1.2, 2.4, 3.6]


async def test_urgent_waiters_go_first_and_keep_their_order():
    line = Line()
    for name in "abcABC":
        line.enter(name, urgent=name.isupper())
    await line.clock.advance(LONG)
    assert line.names == ["a", "A", "B", "C", "b", "c"]


async def test_an_urgent_waiter_overtakes_one_that_waits_already():
    line = Line()
    line.enter("a")
    line.enter("b")
    await line.clock.advance(timedelta(seconds=1))
    line.enter("C", urgent=True)
    await line.clock.advance(LONG)
    assert line.served[1] == ("C", PACE)
    assert line.served[2] == ("b", 2 * PACE)


async def test_unused_time_is_not_saved_up():
    line = Line()
    await line.clock.advance(LONG)
    line.enter("a")
    line.enter("b")
    await line.clock.advance(PACE)
    assert line.times == [600, 601.2]


async def test_a_penalty_holds_everybody_up_the_sleeping_and_the_urgent_too():
    line = Line()
    line.enter("a")
    line.enter("b")
    await line.clock.advance(timedelta(seconds=1))
    line.pacer.penalize(timedelta(seconds=10))
    line.enter("C", urgent=True)
    await line.clock.advance(LONG)
    assert line.served[1:] == [("C", timedelta(seconds=11)), ("b", timedelta(seconds=12.2))]


async def test_a_shorter_penalty_does_not_end_a_longer_one():
    line = Line()
    line.pacer.penalize(timedelta(seconds=10))
    line.pacer.penalize(timedelta(seconds=1))
    line.enter("a")
    await line.clock.advance(LONG)
    assert line.times == [10]


async def test_a_waiter_cancelled_as_it_is_served_gives_its_slot_to_the_next():
    line = Line()
    line.enter("a")
    waiter = line.enter("b")

    async def serve_and_cancel() -> None:
        await line.clock.sleep(PACE)
        line.pacer._serve()  # b has its slot, and never comes to know
        waiter.cancel()

    cancelling = asyncio.create_task(serve_and_cancel())
    await asyncio.sleep(0)
    line.enter("c")
    await line.clock.advance(PACE)
    assert cancelling.done()
    assert waiter.cancelled()
    assert line.served == [("a", timedelta()), ("c", PACE)]


def ushers() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "pacer"]


async def test_waiters_cancelled_together_all_leave_and_the_next_one_is_served():
    """As in a drain: the first one that leaves finds a slot free, and the others still in line though they are going."""
    line = Line()
    together: list[asyncio.Task[None]] = []

    async def cancel_all() -> None:
        await line.clock.sleep(PACE)  # before the usher looks
        for waiter in together:
            waiter.cancel()

    cancelling = asyncio.create_task(cancel_all())
    await asyncio.sleep(0)
    await line.pacer.acquire()
    together += [line.enter(name) for name in "abc"]
    line.enter("d")
    await line.clock.advance(LONG)
    assert cancelling.done()
    assert [waiter.cancelled() for waiter in together] == [True] * 3
    assert line.served == [("d", PACE)]


async def test_cancelled_waiters_leave_no_task_behind():
    line = Line()
    await line.pacer.acquire()
    waiters = [line.enter(name) for name in "abc"]
    await asyncio.sleep(0)
    assert len(ushers()) == 1
    for waiter in waiters:
        waiter.cancel()
    await line.clock.advance(timedelta())
    assert not ushers()
    await line.clock.advance(PACE)
    assert line.pacer.idle


async def test_no_pace_is_no_wait():
    line = Line(timedelta())
    for name in range(50):
        line.enter(name)
    await line.clock.advance(timedelta())
    assert line.names == list(range(50))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.1, 0.6, 1.2, 2.0])),
        st.tuples(st.just("breathe"), st.integers(1, 3)),
        st.tuples(st.just("penalize"), st.sampled_from([0.5, 1.2, 4.0])),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=400, deadline=None)
def test_whatever_happens_slots_are_apart_in_order_and_never_lost(script):
    async def scenario() -> None:
        line = Line()
        waiters: list[asyncio.Task[None]] = []
        urgent: list[bool] = []
        held_until = timedelta()
        for step, value in script:
            match step:
                case "enter":
                    waiters.append(line.enter(len(waiters), urgent=value))
                    urgent.append(value)
                case "cancel" if waiters:
                    waiters[value % len(waiters)].cancel()
                case "pass":
                    await line.clock.advance(timedelta(seconds=value))
                case "breathe":
                    for _ in range(value):
                        await asyncio.sleep(0)
                case "penalize":
                    line.pacer.penalize(timedelta(seconds=value))
                    held_until = max(held_until, line.clock.monotonic() + timedelta(seconds=value))
        left = sum(not waiter.done() for waiter in waiters)
        now = max(line.clock.monotonic(), held_until)
        last = max([at for _, at in line.served], default=-PACE)
        await line.clock.advance(max(now, last + PACE) - line.clock.monotonic() + left * PACE)
        assert all(waiter.done() for waiter in waiters), "every slot that was due was used"
        assert len(line.served) == sum(not waiter.cancelled() for waiter in waiters)
        moments = [at for _, at in line.served]
        assert all(after - before >= PACE for before, after in pairwise(moments))
        for kind in (True, False):
            numbers = [number for number in line.names if urgent[number] is kind]
            assert numbers == sorted(numbers)
        assert not ushers()

    asyncio.run(scenario())


async def test_one_budget_has_one_pacer_while_it_is_used():
    clock = FakeClock()
    pacers = Pacers(clock)
    await pacers.of(Budget(name="a", pace=PACE)).acquire()
    assert pacers.of(Budget(name="a", pace=PACE)) is pacers.of(Budget(name="a", pace=PACE))
    assert pacers.of(Budget(name="a", pace=PACE)) is not pacers.of(Budget(name="b", pace=PACE))
    assert not pacers.of(Budget(name="a", pace=PACE)).idle


async def test_idle_pacers_are_dropped():
    clock = FakeClock()
    pacers = Pacers(clock)
    for number in range(1000):
        await pacers.of(Budget(name=f"channel {number}", pace=PACE)).acquire()
        await clock.advance(PACE / 10)
    assert len(pacers) <= 12


async def test_a_pacer_with_a_penalty_or_a_waiter_is_kept():
    clock = FakeClock()
    pacers = Pacers(clock)
    held = pacers.of(Budget(name="held", pace=PACE))
    held.penalize(LONG)
    await clock.advance(2 * PACE)
    for number in range(10):
        pacers.of(Budget(name=f"other {number}", pace=PACE))
    assert pacers.of(Budget(name="held", pace=PACE)) is held
