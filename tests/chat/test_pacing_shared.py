"""The laws of pacers that keep one pace together, each in a process of its own, by the slots of one store."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat.pacing import ALONE, PATIENCE, Pacer, Pacers
from bot.chat.protocol import Budget
from tests.fakes.clock import FakeClock
from tests.fakes.sharing import FakeSharing

pytestmark = pytest.mark.anyio
PACE = timedelta(seconds=1.2)
SECOND = timedelta(seconds=1)
LONG = timedelta(minutes=10)
BUDGET = Budget(name="discord/7", pace=PACE)


@dataclass
class Replica:
    """One process's line on the budget."""

    pacers: Pacers
    clock: FakeClock
    served: list[tuple[object, timedelta]]
    """Of all replicas."""
    own: list[object] = field(default_factory=list)

    @property
    def pacer(self) -> Pacer:
        return self.pacers.of(BUDGET)

    def enter(self, name: object, *, urgent: bool = False) -> asyncio.Task[None]:
        async def wait() -> None:
            await self.pacer.acquire(urgent=urgent)
            self.served.append((name, self.clock.monotonic()))
            self.own.append(name)

        return asyncio.create_task(wait())


class House:
    """Replicas on one store."""

    def __init__(self, replicas: int = 2) -> None:
        self.clock = FakeClock()
        self.store = FakeSharing(self.clock)
        self.served: list[tuple[object, timedelta]] = []
        self.replicas = [Replica(Pacers(self.clock, self.store), self.clock, self.served) for _ in range(replicas)]

    @property
    def times(self) -> list[float]:
        return [at.total_seconds() for _, at in self.served]


async def test_two_replicas_keep_one_pace_and_take_turns():
    house = House()
    for name in "abc":
        for number, replica in enumerate(house.replicas):
            replica.enter(f"{name}{number}")
    await house.clock.advance(LONG)
    assert [replica.own for replica in house.replicas] == [["a0", "b0", "c0"], ["a1", "b1", "c1"]]
    assert {"a0", "a1"} <= {name for name, _ in house.served[:3]}, "nobody has to wait until the other is done"
    assert house.times == pytest.approx([0, 1.2, 2.4, 3.6, 4.8, 6.0])


async def test_the_slot_of_an_ordinary_waiter_goes_to_the_urgent_one_that_came_meanwhile():
    house = House(3)
    for replica in house.replicas:
        replica.enter("first")
    await house.clock.advance(timedelta())  # the third waits for 2.4 s now, with its slot in hand
    last = house.replicas[2].enter("last edit", urgent=True)
    await house.clock.advance(2 * PACE)
    assert last.done()
    assert house.served[-1] == ("last edit", 2 * PACE)


async def test_a_slot_is_taken_only_for_somebody_who_waits_and_one_at_a_time():
    house = House()
    here, there = house.replicas
    for name in range(5):
        here.enter(name)
    await house.clock.advance(timedelta())
    assert len(house.store.taken) == 2, "one is used, one is in hand"
    there.enter("of the other replica")
    await house.clock.advance(2 * PACE)
    assert house.served[2] == ("of the other replica", 2 * PACE)
    await house.clock.advance(LONG)
    assert len(house.store.taken) == 6 == len(house.served)


async def test_a_cancelled_waiter_leaves_its_slot_to_the_next_one_here():
    house = House()
    here, there = house.replicas
    there.enter("elsewhere")
    await house.clock.advance(timedelta())
    leaving = here.enter("leaving")
    await house.clock.advance(PACE / 2)
    leaving.cancel()
    await house.clock.advance(PACE / 4)
    here.enter("next")
    await house.clock.advance(PACE / 4)
    assert house.served == [("elsewhere", timedelta()), ("next", PACE)]
    assert len(house.store.taken) == 2


async def test_a_slot_whose_time_passed_while_nobody_was_there_is_not_used_late():
    house = House()
    here, there = house.replicas
    there.enter("elsewhere")
    await house.clock.advance(timedelta())
    leaving = here.enter("leaving")
    await house.clock.advance(timedelta())
    there.enter("elsewhere again")
    leaving.cancel()
    await house.clock.advance(2 * PACE - timedelta(milliseconds=100))
    here.enter("late")
    await house.clock.advance(LONG)
    assert house.times == pytest.approx([0, 2.4, 3.6])


async def test_when_the_platform_asks_one_replica_to_wait_all_of_them_do():
    house = House()
    here, there = house.replicas
    here.enter("refused")
    await house.clock.advance(timedelta())
    here.pacer.penalize(10 * SECOND)
    await house.clock.advance(SECOND)
    there.enter("elsewhere")
    here.enter("again", urgent=True)
    await house.clock.advance(LONG)
    assert sorted(house.times) == pytest.approx([0, 10, 11.2])


async def test_a_slot_that_lies_in_the_penalty_is_not_used_at_its_end_as_one_more():
    house = House()
    here, there = house.replicas
    here.enter("one")
    here.enter("two")
    await house.clock.advance(timedelta())  # two has its slot, in 1.2 s
    here.pacer.penalize(5 * SECOND)
    await house.clock.advance(timedelta())
    there.enter("elsewhere")
    await house.clock.advance(LONG)
    assert sorted(house.times) == pytest.approx([0, 5, 6.2])


async def test_a_slot_that_is_on_its_way_when_the_platform_asks_to_wait_is_not_used_either():
    house = House()
    house.store.latency = timedelta(milliseconds=100)
    here, there = house.replicas
    here.enter("one")
    await house.clock.advance(timedelta(milliseconds=70))
    here.pacer.penalize(5 * SECOND)
    await house.clock.advance(SECOND)
    there.enter("elsewhere")
    await house.clock.advance(LONG)
    first, second = sorted(house.times)
    assert 5 <= first <= second - 1.1


async def test_while_the_store_is_away_every_replica_keeps_the_pace_by_itself_and_says_so_once():
    house = House()
    house.store.away = True
    with structlog.testing.capture_logs() as logs:
        for name in "abc":
            house.replicas[0].enter(name)
        await house.clock.advance(3 * PACE)
    assert house.times == pytest.approx([0, 1.2, 2.4])
    assert [line["event"] for line in logs] == ["pacing.alone"]
    house.store.away = False
    await house.clock.advance(ALONE)
    house.replicas[0].enter("d")
    await house.clock.advance(PACE)
    assert len(house.store.taken) == 1, "it is asked again"


async def test_a_store_that_fails_in_an_unknown_way_keeps_nobody_from_writing():
    house = House()
    house.store.failure = OSError("what nobody has thought of")
    for name in "abc":
        house.replicas[0].enter(name)
    await house.clock.advance(3 * PACE)
    assert house.times == pytest.approx([0, 1.2, 2.4])


async def test_nobody_waits_long_for_a_store_that_does_not_answer():
    house = House()
    house.store.latency = LONG
    house.replicas[0].enter("a")
    house.replicas[0].enter("b")
    await house.clock.advance(PATIENCE + PACE)
    assert house.times == pytest.approx([2, 3.2])


async def test_a_budget_that_is_not_shared_costs_the_store_nothing():
    house = House()
    own = Pacers(house.clock, house.store).of(Budget(name="console", pace=PACE, shared=False))
    await own.acquire()
    unlimited = Pacers(house.clock, house.store).of(Budget(name="anything", pace=timedelta()))
    await unlimited.acquire()
    assert house.store.taken == []


async def test_who_leaves_while_the_store_is_asked_takes_no_slot_from_who_stays():
    house = House()
    house.store.latency = timedelta(milliseconds=100)
    here, _ = house.replicas
    leaving = here.enter("leaving")
    await house.clock.advance(timedelta(milliseconds=70))
    leaving.cancel()
    here.enter("staying")
    await house.clock.advance(SECOND)
    assert [name for name, _ in house.served] == ["staying"]
    assert len(house.store.taken) == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.just(False)),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.1, 0.6, 1.2, 2.0]), st.just(False)),
        st.tuples(st.just("breathe"), st.integers(1, 4), st.just(False)),
        st.tuples(st.just("penalize"), st.integers(0, 2), st.booleans()),
    ),
    max_size=40,
)


@given(st.integers(2, 3), steps, st.sampled_from([0, 20]))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_on_replicas_slots_are_apart_urgent_waiters_first_and_none_is_lost(replicas, script, milliseconds):
    async def scenario() -> None:
        house = House(replicas)
        house.store.latency = timedelta(milliseconds=milliseconds)
        waiters: list[asyncio.Task[None]] = []
        urgent: list[bool] = []
        spare = 0
        for step, value, flag in script:
            match step:
                case "enter":
                    waiters.append(house.replicas[value % replicas].enter(len(waiters), urgent=flag))
                    urgent.append(flag)
                case "cancel" if waiters:
                    spare += not waiters[value % len(waiters)].done()
                    waiters[value % len(waiters)].cancel()
                case "pass":
                    await house.clock.advance(timedelta(seconds=value))
                case "breathe":
                    for _ in range(value):
                        await asyncio.sleep(0)
                case "penalize":
                    house.replicas[value % replicas].pacer.penalize(timedelta(seconds=4 if flag else 0.5))
                    spare += 1
        left = sum(not waiter.done() for waiter in waiters)
        # After the longest penalty everybody left has a slot, besides those that were taken for who went.
        await house.clock.advance(4 * SECOND + (left + spare + replicas) * (PACE + timedelta(milliseconds=2 * milliseconds)))
        assert all(waiter.done() for waiter in waiters), "every slot that was due was used"
        assert len(house.served) == sum(not waiter.cancelled() for waiter in waiters)
        assert len(house.store.taken) - len(house.served) <= spare
        moments = [at for _, at in house.served]
        apart = PACE - timedelta(milliseconds=milliseconds)  # each may come as much later as the store's answer takes
        assert all(after - before >= apart for before, after in pairwise(sorted(moments)))
        for replica in house.replicas:
            for kind in (True, False):
                numbers = [number for number in replica.own if urgent[number] is kind]
                assert numbers == sorted(numbers)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "pacer"]

    asyncio.run(scenario())
