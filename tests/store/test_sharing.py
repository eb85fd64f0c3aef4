"""Random histories of sharing on both engines: replicas come, fall silent, leave, stay and get ready, each when it likes.

Every answer is the same on both, and none breaks a law, which is told here once more and in another way: by what each
replica may conclude from all that was answered so far.
"""

import asyncio
from functools import partial

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from store import Share, Store, open_store
from store.rows import MICROSECOND
from store.sqlite import SqliteStore
from tests.contracts.store_laws_sharing import HOUR
from tests.contracts.store_words import Opens
from tests.fakes.clock import FakeClock

NAMES = ["a", "b", "c", "d", "e"]
STEP = 25 * HOUR / 60
"""Three of them are longer than an hour's lease and two are not, so nothing hangs on how long a test takes."""


class SharingMachine(RuleBasedStateMachine):
    """Replicas of one name, on a store in memory and, where there is an address, on PostgreSQL."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.stores: list[Store] = [self.runner.run(open_store("sqlite:///:memory:", clock=self.clock.now))]
        if self.url:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute("DELETE FROM replica")
                connection.execute("DELETE FROM share")
            self.stores.append(self.runner.run(open_store(self.url)))
        self.parts = 0
        self.steps_left: dict[str, int] = {}
        """Of those that are there, in the order in which they came."""
        self.leaving: set[str] = set()
        self.told: dict[str, Share] = {}
        self.holder: dict[int, str] = {}
        """Of each part, as far as anybody was told."""

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.aclose())
        self.runner.close()

    def quota(self, replica: str) -> int:
        taking = [name for name in self.steps_left if name not in self.leaving]
        if replica not in taking:
            return 0
        return self.parts // len(taking) + (taking.index(replica) < self.parts % len(taking))

    def forget(self, replica: str) -> None:
        self.leaving.discard(replica)
        self.told.pop(replica, None)
        self.steps_left.pop(replica, None)
        self.holder = {part: holder for part, holder in self.holder.items() if holder != replica}

    def ask(self, replica: str, *, ready: frozenset[int], leaving: bool = False, parts: int = 5) -> Share:
        if not self.steps_left:
            self.parts, self.holder = parts, {}
        if replica in self.leaving and not leaving:
            del self.steps_left[replica]  # it comes behind the others
        self.steps_left[replica] = 2  # where it was there already, it keeps its place
        (self.leaving.add if leaving else self.leaving.discard)(replica)
        asked = {"replica": replica, "parts": parts, "ready": ready, "leaving": leaving, "lasting": HOUR}
        share, *others = [self.runner.run(store.share("shards", **asked)) for store in self.stores]  # type: ignore[arg-type]
        assert all(other == share for other in others), "both engines give the same answer"
        self.check(replica, share, ready)
        return share

    def check(self, replica: str, share: Share, ready: frozenset[int]) -> None:
        before = self.told.get(replica)
        offered = before.offered if before else frozenset()
        had = {part for part, holder in self.holder.items() if holder == replica}
        new = share.held - had
        assert had <= share.held, "nothing is taken from a holder but by one that was given it"
        for part in new:
            taken_from = self.holder.get(part)
            assert taken_from is None or part in offered & ready, "a part changes hands when the next holder is ready"
        quota = self.quota(replica)
        assert len(share.held) <= max(quota, len(had)), "nobody is given more than its share"
        assert len(share.held | share.offered) <= max(quota, len(had)), "nor offered more"
        for part in share.offered:
            assert self.holder.get(part, replica) != replica, "what is offered is held by another that is there"
        for part in new:
            self.holder[part] = replica
        taking = [name for name in self.steps_left if name not in self.leaving]
        ranks = taking + [name for name in self.steps_left if name in self.leaving]
        assert (share.parts, share.rank) == (self.parts, ranks.index(replica))
        assert share.others == len([name for name in taking if name != replica])
        self.told[replica] = share

    @rule(replica=st.sampled_from(NAMES), leaving=st.booleans(), parts=st.sampled_from([5, 1, 3, 8]))
    def somebody_asks(self, replica, leaving, parts):
        self.ask(replica, ready=self.carried_out(replica, parts), leaving=leaving, parts=parts)

    @rule(replica=st.sampled_from(NAMES))
    def somebody_is_ready_for_all_that_it_is_offered(self, replica):
        share = self.told.get(replica)
        ready = share.held | share.offered if share else frozenset()
        self.ask(replica, ready=ready, leaving=replica in self.leaving, parts=self.parts or 5)

    @rule(replica=st.sampled_from(NAMES), ready=st.frozensets(st.integers(0, 4)), leaving=st.booleans())
    def somebody_says_that_it_is_ready_for_anything(self, replica, ready, leaving):
        self.ask(replica, ready=ready, leaving=leaving, parts=5)

    def carried_out(self, replica: str, parts: int) -> frozenset[int]:
        share = self.told.get(replica)
        return frozenset(part for part in share.held if part < parts) if share else frozenset()

    @rule(replica=st.sampled_from(NAMES))
    def somebody_leaves_at_once(self, replica):
        for store in self.stores:
            self.runner.run(store.leave("shards", replica=replica))
        self.forget(replica)

    @rule()
    def time_passes(self):
        self.runner.run(self.clock.advance(STEP))
        if self.url:
            with psycopg.connect(self.url, autocommit=True) as connection:
                older = {"us": STEP // MICROSECOND}
                connection.execute("UPDATE replica SET since = since - %(us)s, until = until - %(us)s", older)
        for replica in list(self.steps_left):
            self.steps_left[replica] -= 1
            if self.steps_left[replica] < 0:
                self.forget(replica)

    @precondition(lambda self: set(self.steps_left) - self.leaving)
    @rule()
    def everybody_asks_once_and_no_part_is_without_a_holder(self):
        for replica in list(self.steps_left):
            self.ask(replica, ready=self.carried_out(replica, self.parts), leaving=replica in self.leaving, parts=self.parts)
        assert set(self.holder) == set(range(self.parts))

    @precondition(lambda self: set(self.steps_left) - self.leaving)
    @rule()
    def everybody_asks_till_it_is_ready_and_shares_are_even(self):
        for _ in range(3):
            self.everyone_is_ready()
        told = self.everyone_is_ready()
        for replica, share in told.items():
            assert (len(share.held), share.offered) == (self.quota(replica), frozenset())
        assert sorted(part for share in told.values() for part in share.held) == list(range(self.parts))

    def everyone_is_ready(self) -> dict[str, Share]:
        for replica in list(self.steps_left):
            self.somebody_is_ready_for_all_that_it_is_offered(replica)
        return dict(self.told)


def run(machine: type[SharingMachine], examples: int, steps: int) -> None:
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    case().runTest()


def test_random_histories_break_no_law() -> None:
    run(SharingMachine, 60, 40)


def test_random_histories_have_the_same_answers_on_both_engines(postgres_url: str) -> None:
    run(type("BothEngines", (SharingMachine,), {"url": postgres_url}), 12, 25)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def opens(clock: FakeClock) -> Opens:
    return partial(SqliteStore.open, None, clock=clock.now)


@pytest.mark.anyio
async def test_time_goes_on_where_it_was_when_the_clock_is_set_back(store: SqliteStore, clock: FakeClock) -> None:
    second = HOUR / 3600
    await store.slot("channel", pace=second)
    clock.set_wall_clock(-HOUR)
    assert await store.slot("channel", pace=second) == second
    await clock.advance(3 * second)
    assert await store.slot("channel", pace=second) == 0 * second


@pytest.mark.anyio
async def test_budgets_that_nobody_uses_are_forgotten(store: SqliteStore, clock: FakeClock) -> None:
    for number in range(100):
        await store.slot(f"channel {number}", pace=HOUR / 60)
    await clock.advance(2 * HOUR)
    await store.slot("channel 0", pace=HOUR / 60)
    assert list(store._free_at) == ["channel 0"]
