"""Laws of sharing: parts have one holder each and change hands without a gap, and a budget's slots keep their distance.

No law waits: what ought to last does so for an hour, and what is over is over as soon as it is said.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta

import pytest

from store import Share, Store, StoreClosed, UnstorableText
from store.sharing import LONGEST, LONGEST_NAME, MOST_PARTS

HOUR = timedelta(hours=1)
SILENT = timedelta(microseconds=1)
"""A lease that is over when the next one asks: what silence looks like to the others, on every engine's own clock."""


async def ask(
    store: Store,
    replica: str,
    *,
    ready: Collection[int] = (),
    leaving: bool = False,
    parts: int = 4,
    lasting: timedelta = HOUR,
    name: str = "shards",
) -> Share:
    return await store.share(name, replica=replica, parts=parts, ready=ready, leaving=leaving, lasting=lasting)


async def has_all(store: Store, replica: str, *, parts: int = 4, lasting: timedelta = HOUR) -> None:
    """Let a replica come first, so that it holds every part and is ready for it."""
    share = await ask(store, replica, parts=parts, lasting=lasting)
    assert share.held == set(range(parts))


async def settled(store: Store, *replicas: str, parts: int = 4, leaving: Collection[str] = ()) -> dict[str, Share]:
    """Let everybody ask until each is ready for all that it is offered, and return what they are told in the end."""
    told: dict[str, Share] = {}
    for _ in range(4):
        for replica in replicas:
            ready = told[replica].held | told[replica].offered if replica in told else frozenset()
            told[replica] = await ask(store, replica, ready=ready, parts=parts, leaving=replica in leaving)
    return told


def held_by(told: dict[str, Share]) -> list[set[int]]:
    return [set(share.held) for share in told.values()]


class ShareLaws:
    """Parts and their holders."""

    async def test_whoever_is_alone_holds_every_part(self, store: Store) -> None:
        share = await ask(store, "a")
        assert share == Share(parts=4, held=frozenset(range(4)), offered=frozenset(), others=0, rank=0)
        assert await ask(store, "a", ready=range(4)) == share

    async def test_a_part_changes_hands_when_the_new_holder_is_ready_and_not_before(self, store: Store) -> None:
        await has_all(store, "a")
        came = await ask(store, "b")
        assert (len(came.held), len(came.offered)) == (0, 2)
        assert (await ask(store, "a", ready=range(4))).held == set(range(4))
        first, second = came.offered
        still = await ask(store, "b", ready=[first])
        assert (still.held, still.offered) == ({first}, {second})
        assert (await ask(store, "a", ready=range(4))).held == set(range(4)) - {first}
        done = await ask(store, "b", ready=came.offered)
        assert (done.held, done.offered) == (came.offered, set())
        assert (await ask(store, "a", ready=range(4))).held == set(range(4)) - came.offered

    async def test_who_is_ready_for_what_it_was_not_offered_does_not_get_it(self, store: Store) -> None:
        await has_all(store, "a")
        share = await ask(store, "b", ready=range(4))
        assert share.held == set()
        kept = set(range(4)) - share.offered
        assert (await ask(store, "b", ready=kept)).held == set()
        assert (await ask(store, "a")).held == set(range(4))

    @pytest.mark.parametrize(("parts", "replicas"), [(1, 2), (2, 2), (5, 2), (4, 3), (5, 3), (3, 5), (16, 4), (7, 4)])
    async def test_shares_are_even_and_who_has_been_there_longer_has_what_is_over(
        self, store: Store, parts: int, replicas: int
    ) -> None:
        told = await settled(store, *[f"r{n}" for n in range(replicas)], parts=parts)
        assert [len(held) for held in held_by(told)] == [parts // replicas + (n < parts % replicas) for n in range(replicas)]
        assert set().union(*held_by(told)) == set(range(parts))
        assert all(share.offered == set() for share in told.values())

    async def test_what_is_offered_counts_towards_a_share(self, store: Store) -> None:
        await has_all(store, "a", parts=9)
        offered = [len((await ask(store, replica, parts=9)).offered) for replica in ("b", "c", "b", "c", "b")]
        assert offered == [4, 2, 3, 3, 3], "of three, none is offered more than three, and the holder keeps three"

    async def test_the_only_part_stays_where_it_is(self, store: Store) -> None:
        await has_all(store, "a", parts=1)
        for _ in range(3):
            assert (await ask(store, "b", parts=1)).offered == set()
            assert (await ask(store, "a", parts=1, ready=[0])).held == {0}

    async def test_nothing_changes_while_nobody_comes_or_goes(self, store: Store) -> None:
        told = await settled(store, "a", "b", "c", parts=8)
        for _ in range(3):
            for replica, share in told.items():
                assert await ask(store, replica, ready=share.held, parts=8) == share

    async def test_an_offer_stands_while_the_others_go_on_asking(self, store: Store) -> None:
        await has_all(store, "a")
        offered = (await ask(store, "b")).offered
        for _ in range(3):
            assert (await ask(store, "a", ready=range(4))).held == set(range(4))
            assert (await ask(store, "b")).offered == offered

    async def test_when_one_comes_nothing_changes_hands_but_what_it_gets(self, store: Store) -> None:
        before = await settled(store, "a", "b", parts=7)
        after = await settled(store, "a", "b", "c", parts=7)
        assert after["a"].held < before["a"].held
        assert after["b"].held < before["b"].held

    async def test_when_one_goes_nothing_changes_hands_but_what_it_had(self, store: Store) -> None:
        before = await settled(store, "a", "b", "c", parts=7)
        await store.leave("shards", replica="b")
        after = await settled(store, "a", "c", parts=7)
        assert after["a"].held > before["a"].held
        assert after["c"].held > before["c"].held

    async def test_a_part_is_offered_to_one_only(self, store: Store) -> None:
        await has_all(store, "a", parts=6)
        for _ in range(2):
            offers = [(await ask(store, replica, parts=6)).offered for replica in ("b", "c")]
        assert [len(offered) for offered in offers] == [2, 2]
        assert not offers[0] & offers[1]

    async def test_an_offer_ends_when_the_one_it_was_made_to_is_gone(self, store: Store) -> None:
        await has_all(store, "a", parts=2)
        offered = (await ask(store, "b", parts=2, lasting=SILENT)).offered
        assert (await ask(store, "c", parts=2)).offered == offered

    async def test_an_offer_ends_when_the_one_it_was_made_to_is_leaving(self, store: Store) -> None:
        await has_all(store, "a", parts=2)
        offered = (await ask(store, "b", parts=2)).offered
        assert (await ask(store, "c", parts=2)).offered == set()
        share = await ask(store, "b", parts=2, leaving=True, ready=offered)
        assert (share.held, share.offered) == (set(), set())
        assert (await ask(store, "c", parts=2)).offered == offered

    async def test_an_offer_ends_when_it_would_not_be_made_any_more(self, store: Store) -> None:
        await has_all(store, "a", parts=2)
        await ask(store, "b", parts=2)
        gone = await ask(store, "c", parts=2, leaving=True)
        assert gone.offered == set()
        (part,) = (await ask(store, "b", parts=2)).offered
        await ask(store, "a", parts=2, leaving=True)
        assert (await ask(store, "b", parts=2)).offered == {0, 1}
        await ask(store, "c", parts=2)
        kept = await ask(store, "b", parts=2, ready=[part])
        assert (kept.held, kept.offered) == ({part}, set())

    async def test_the_parts_of_one_that_was_silent_go_to_whoever_asks(self, store: Store) -> None:
        await has_all(store, "a", lasting=SILENT)
        share = await ask(store, "b")
        assert (share.held, share.others, share.rank) == (set(range(4)), 0, 0)

    async def test_who_comes_back_after_silence_is_new_and_takes_nothing_from_others(self, store: Store) -> None:
        await has_all(store, "a", lasting=SILENT)
        await has_all(store, "b")
        back = await ask(store, "a", ready=range(4))
        assert (back.held, len(back.offered), back.rank) == (set(), 2, 1)
        assert (await ask(store, "b", ready=range(4))).held == set(range(4))

    async def test_free_parts_that_one_is_ready_for_come_first(self, store: Store) -> None:
        await has_all(store, "a")
        for replica in ("b", "c"):
            await ask(store, replica)
        await store.leave("shards", replica="a")
        assert (await ask(store, "c", ready=[1, 2])).held == {1, 2}
        assert (await ask(store, "b", ready=[1, 2])).held == {0, 3}

    async def test_who_leaves_at_once_leaves_its_parts_to_the_others(self, store: Store) -> None:
        await settled(store, "a", "b")
        await store.leave("shards", replica="a")
        share = await ask(store, "b")
        assert (share.held, share.others, share.rank) == (set(range(4)), 0, 0)

    async def test_leaving_what_one_is_not_in_is_no_error(self, store: Store) -> None:
        await store.leave("shards", replica="a")
        await has_all(store, "a")
        await store.leave("shards", replica="b")
        await store.leave("other", replica="a")
        assert (await ask(store, "a")).held == set(range(4))

    async def test_a_leaving_holder_hands_over_everything_without_a_gap(self, store: Store) -> None:
        told = await settled(store, "a", "b")
        leaving = await ask(store, "a", ready=told["a"].held, leaving=True)
        assert leaving.held == told["a"].held
        taken = await ask(store, "b", ready=told["b"].held)
        assert (taken.held, taken.offered) == (told["b"].held, told["a"].held)
        assert (await ask(store, "a", ready=told["a"].held, leaving=True)).held == told["a"].held
        assert (await ask(store, "b", ready=range(4))).held == set(range(4))
        assert (await ask(store, "a", ready=told["a"].held, leaving=True)).held == set()

    async def test_a_leaving_holder_keeps_what_nobody_takes(self, store: Store) -> None:
        await has_all(store, "a")
        for _ in range(2):
            share = await ask(store, "a", ready=range(4), leaving=True)
            assert (share.held, share.others, share.rank) == (set(range(4)), 0, 0)
        assert (await ask(store, "b", leaving=True)).offered == set()

    async def test_a_leaving_replica_is_given_nothing(self, store: Store) -> None:
        share = await ask(store, "a", leaving=True)
        assert (share.held, share.offered) == (set(), set())
        await has_all(store, "b")
        await store.leave("shards", replica="b")
        assert (await ask(store, "a", leaving=True, ready=range(4))).held == set()

    async def test_who_stays_after_all_counts_as_new(self, store: Store) -> None:
        await has_all(store, "a", parts=1)
        await ask(store, "a", parts=1, leaving=True)
        await ask(store, "b", parts=1)
        assert (await ask(store, "b", parts=1, ready=[0])).held == {0}
        stays = await ask(store, "a", parts=1, ready=[0])
        assert (stays.held, stays.offered, stays.rank) == (set(), set(), 1)

    async def test_ranks_go_by_how_long_one_has_been_there(self, store: Store) -> None:
        for replica in ("c", "a", "b"):
            await ask(store, replica)
        assert [(await ask(store, replica)).rank for replica in ("c", "a", "b")] == [0, 1, 2]
        assert [(await ask(store, replica)).others for replica in ("c", "a", "b")] == [2, 2, 2]
        last = await ask(store, "c", leaving=True)
        assert (last.rank, last.others) == (2, 2)
        assert [(await ask(store, replica)).rank for replica in ("a", "b")] == [0, 1]
        assert [(await ask(store, replica)).others for replica in ("a", "b")] == [1, 1]

    async def test_the_first_one_says_how_many_parts_there_are_until_all_have_gone(self, store: Store) -> None:
        await has_all(store, "a", parts=2)
        share = await ask(store, "b", parts=4, ready=[3])
        assert (share.parts, share.offered) == (2, {1})
        assert (await ask(store, "a", parts=4, lasting=SILENT)).parts == 2
        await store.leave("shards", replica="b")
        share = await ask(store, "b", parts=3)
        assert (share.parts, share.held) == (3, {0, 1, 2})

    async def test_names_have_nothing_to_do_with_each_other(self, store: Store) -> None:
        await has_all(store, "a")
        other = await ask(store, "b", name="other", parts=2)
        assert (other.held, other.others) == ({0, 1}, 0)
        await store.leave("other", replica="a")
        assert (await ask(store, "a")).others == 0

    async def test_what_makes_no_share_is_refused(self, store: Store) -> None:
        await has_all(store, "a")
        for refused in (
            ask(store, "b", parts=0),
            ask(store, "b", parts=MOST_PARTS + 1),
            ask(store, "b", ready=[4]),
            ask(store, "b", ready=[-1]),
            ask(store, "b", lasting=timedelta()),
            ask(store, "b", lasting=LONGEST + SILENT),
            ask(store, ""),
            ask(store, "b" * (LONGEST_NAME + 1)),
            ask(store, "b", name=""),
            store.leave("shards", replica=""),
            store.leave("s" * (LONGEST_NAME + 1), replica="a"),
        ):
            with pytest.raises(ValueError):
                await refused
        with pytest.raises(UnstorableText):
            await ask(store, "nul \0")
        assert (await ask(store, "a", lasting=LONGEST)).others == 0

    async def test_names_of_any_text_are_kept_apart(self, store: Store) -> None:
        for replica in ("a'", 'a"', "\U0001f600" * LONGEST_NAME):
            share = await ask(store, replica, name=f"shards of {replica}"[:LONGEST_NAME])
            assert share.held == set(range(4))


async def waits(store: Store, many: int, *, pace: timedelta = HOUR, budget: str = "channel") -> list[int]:
    """Take slots at once and tell how many paces each has to wait, rounded up: some of a pace has gone by meanwhile."""
    taken = await asyncio.gather(*(store.slot(budget, pace=pace) for _ in range(many)))
    assert all(wait >= timedelta() for wait in taken)
    return sorted(math.ceil(wait / pace) for wait in taken)


class BudgetLaws:
    """Slots and their distance."""

    async def test_the_first_slot_is_free_and_the_others_a_pace_apart(self, store: Store) -> None:
        assert await store.slot("channel", pace=HOUR) == timedelta()
        second, third = [await store.slot("channel", pace=HOUR) for _ in range(2)]
        assert HOUR / 2 < second <= HOUR
        assert second + HOUR / 2 < third <= 2 * HOUR

    async def test_no_two_that_ask_at_once_get_the_same_slot(self, store: Store) -> None:
        assert await waits(store, 40) == list(range(40))

    async def test_who_comes_late_enough_need_not_wait(self, store: Store) -> None:
        for _ in range(3):
            assert await store.slot("channel", pace=timedelta(milliseconds=1)) == timedelta()
            await asyncio.sleep(0.02)

    async def test_nothing_is_saved_up_while_nobody_comes(self, store: Store) -> None:
        pace = timedelta(milliseconds=50)
        await store.slot("channel", pace=pace)
        await asyncio.sleep(0.3)
        before = time.monotonic()
        wait = [await store.slot("channel", pace=pace) for _ in range(6)][-1]
        assert timedelta(seconds=time.monotonic() - before) + wait > 4.9 * pace

    async def test_each_slot_lies_behind_the_one_before_by_the_pace_of_that(self, store: Store) -> None:
        await store.slot("channel", pace=2 * HOUR)
        wait = await store.slot("channel", pace=timedelta())
        assert HOUR < wait <= 2 * HOUR
        assert HOUR < await store.slot("channel", pace=HOUR) <= wait

    async def test_no_pace_is_no_wait(self, store: Store) -> None:
        assert [await store.slot("channel", pace=timedelta()) for _ in range(3)] == [timedelta()] * 3

    async def test_budgets_have_nothing_to_do_with_each_other(self, store: Store) -> None:
        await waits(store, 3)
        await store.hold_back("third", lasting=HOUR)
        assert await store.slot("other", pace=HOUR) == timedelta()

    async def test_nobody_gets_a_slot_before_the_hold_is_over(self, store: Store) -> None:
        await store.hold_back("channel", lasting=HOUR)
        first, second = [await store.slot("channel", pace=HOUR) for _ in range(2)]
        assert HOUR / 2 < first <= HOUR
        assert first + HOUR / 2 < second <= 2 * HOUR

    async def test_a_hold_that_ends_sooner_changes_nothing(self, store: Store) -> None:
        await waits(store, 3)
        await store.hold_back("channel", lasting=HOUR)
        await store.hold_back("channel", lasting=timedelta())
        assert await waits(store, 2) == [3, 4]

    async def test_of_a_hold_beyond_all_measure_a_day_counts(self, store: Store) -> None:
        await store.hold_back("channel", lasting=timedelta.max)
        assert LONGEST - HOUR < await store.slot("channel", pace=timedelta()) <= LONGEST

    async def test_what_makes_no_budget_is_refused(self, store: Store) -> None:
        for refused in (
            store.slot("channel", pace=-SILENT),
            store.slot("channel", pace=LONGEST + SILENT),
            store.slot("", pace=HOUR),
            store.slot("c" * (LONGEST_NAME + 1), pace=HOUR),
            store.hold_back("channel", lasting=-SILENT),
            store.hold_back("", lasting=HOUR),
        ):
            with pytest.raises(ValueError):
                await refused
        with pytest.raises(UnstorableText):
            await store.slot("half \udc00", pace=HOUR)
        assert await store.slot("channel", pace=HOUR) == timedelta()

    async def test_a_closed_store_shares_nothing(self, store: Store) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: ask(store, "a"),
            lambda: store.leave("shards", replica="a"),
            lambda: store.slot("channel", pace=HOUR),
            lambda: store.hold_back("channel", lasting=HOUR),
        ]
        await store.aclose()
        for call in calls:
            with pytest.raises(StoreClosed):
                await call()
