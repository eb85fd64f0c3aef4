"""What the marks promise: nothing below a mark is still to be handled, whatever fails and whenever it ends."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.shard import Shard
from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.where import Where
from bot.chat.protocol import Place
from store import Store, StoreUnavailable, Watermark
from tests.adapters.discord.listening import ONLY, a_store
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio
HOME, KITCHEN, HALL = "1", 10, 11
THREAD = Where(place=Place.THREAD, workspace=HOME, channel=str(KITCHEN), thread=str(HALL))
DIRECT = Where(place=Place.DIRECT, workspace="", channel="20")


async def of_all(store: Store, shard: Shard = ONLY) -> Watermarks:
    """Return the marks of a process that hears a shard, or all there is."""
    marks = Watermarks(store, FakeClock(), overlap=0)
    await marks.take_over(shard)
    return marks


async def kept(marks: Watermarks, store: Store) -> dict[str, int]:
    await marks.write()
    return {mark.thread or mark.channel or "guild": mark.position for mark in await store.watermarks("discord")}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 40)),
        st.tuples(st.just("handle"), st.integers(0, 10)),
        st.tuples(st.sampled_from(["hold", "release"]), st.just(0)),
    ),
    max_size=40,
)


@given(steps=STEPS)
async def test_a_guild_s_mark_never_passes_what_is_in_hand_or_what_was_missed(steps: list[tuple[str, int]]) -> None:
    async with a_store() as store:
        marks = await of_all(store)
        marks.begin(HOME, 5)
        in_hand: list[int] = []
        seen: list[int] = []
        held_at: int | None = None
        before = 5
        for step, number in steps:
            match step:
                case "arrive" if number not in seen:
                    marks.arrived(HOME, number)
                    in_hand.append(number)
                    seen.append(number)
                case "handle" if in_hand:
                    done = in_hand.pop(number % len(in_hand))
                    marks.handled(HOME, KITCHEN, done)
                case "hold":
                    held_at = before if held_at is None else held_at
                    marks.hold(HOME)
                case "release":
                    held_at = None
                    marks.release(HOME)
            mark = (await kept(marks, store))["guild"]
            assert mark >= before
            assert all(waiting > mark for waiting in in_hand if waiting > before)
            assert held_at is None or mark == held_at
            before = mark
        marks.release(HOME)
        for waiting in in_hand:
            marks.handled(HOME, KITCHEN, waiting)
        assert (await kept(marks, store))["guild"] == max([5, *seen])


async def test_a_place_is_kept_from_the_first_message_that_is_handled_there() -> None:
    async with a_store() as store:
        marks = await of_all(store)
        marks.handled("", 20, 3)
        assert await kept(marks, store) == {}
        marks.follow(DIRECT, 4)
        marks.handled("", 20, 4)
        assert await kept(marks, store) == {"20": 4}
        marks.handled("", 20, 9)
        assert await kept(marks, store) == {"20": 9}


async def test_a_guild_that_was_never_read_gets_no_mark_from_what_is_heard() -> None:
    async with a_store() as store:
        marks = await of_all(store)
        marks.arrived(HOME, 7)
        marks.handled(HOME, KITCHEN, 7)
        assert marks.of_guild(HOME) is None
        assert await kept(marks, store) == {}


async def test_marks_are_there_after_a_restart_and_a_thread_that_went_is_forgotten() -> None:
    async with a_store() as store:
        marks = await of_all(store)
        marks.begin(HOME, 5)
        marks.follow(THREAD, 6)
        marks.follow(DIRECT, 7)
        await marks.write()
        again = await of_all(store)
        assert again.of_guild(HOME) == 5
        assert again.of_places(HOME) == [(THREAD, 6)]
        assert again.of_places("") == [(DIRECT, 7)]
        await again.drop(THREAD)
        assert again.of_places(HOME) == []
        assert await kept(again, store) == {"guild": 5, "20": 7}


async def test_a_channel_that_went_takes_its_threads_along_and_a_guild_everything() -> None:
    async with a_store() as store:
        marks = await of_all(store)
        marks.begin(HOME, 5)
        marks.follow(THREAD, 6)
        marks.follow(DIRECT, 7)
        marks.forget(HOME, str(KITCHEN))
        assert marks.of_places(HOME) == []
        marks.follow(THREAD, 6)
        marks.forget(HOME)
        assert (marks.guilds(), marks.of_places(HOME)) == ([], [])
        assert marks.of_places("") == [(DIRECT, 7)]


async def test_what_can_t_be_written_is_written_later() -> None:
    class Full:
        failing = True
        marks: tuple[Watermark, ...] = ()

        async def watermarks(self, platform: str) -> tuple[Watermark, ...]:
            return self.marks

        async def mark(self, platform: str, marks: list[Watermark], *, at: datetime) -> None:
            assert at.tzinfo is UTC
            if self.failing:
                raise StoreUnavailable("full")
            self.marks += tuple(marks)

    store = Full()
    marks = await of_all(store)  # type: ignore[arg-type]
    marks.begin(HOME, 5)
    await marks.write()
    assert store.marks == ()
    store.failing = False
    await marks.write()
    await marks.write()
    assert [mark.position for mark in store.marks] == [5]


EVEN, ODD = Shard(0, 2), Shard(1, 2)
LEFT, RIGHT = str(2 << 22), str(3 << 22)
"""A server on each of two shards."""


async def test_each_process_writes_the_marks_of_its_own_shards_alone() -> None:
    async with a_store() as store:
        marks = await of_all(store, EVEN)
        for workspace in (LEFT, RIGHT):
            marks.begin(workspace, 5)
            marks.hold(workspace)
        assert marks.guilds() == [LEFT]
        assert marks.held == {LEFT}
        await marks.write()
        assert [mark.workspace for mark in await store.watermarks("discord")] == [LEFT]


async def test_a_shard_that_was_let_go_is_written_once_more_and_what_is_still_in_hand_moves_nothing() -> None:
    async with a_store() as store:
        marks = await of_all(store, EVEN)
        marks.begin(LEFT, 5)
        marks.arrived(LEFT, 7)
        marks.arrived(LEFT, 9)
        marks.handled(LEFT, KITCHEN, 7)
        await marks.let_go(EVEN)
        assert await kept(marks, store) == {"guild": 7}
        marks.handled(LEFT, KITCHEN, 9)
        marks.follow(Where(place=Place.THREAD, workspace=LEFT, channel=str(KITCHEN), thread=str(HALL)), 9)
        marks.hold(LEFT)
        assert await kept(marks, store) == {"guild": 7}
        assert (marks.guilds(), marks.held) == ([], frozenset())


async def test_a_shard_that_is_taken_over_begins_where_the_store_is_and_moves_when_it_was_caught_up() -> None:
    async with a_store() as store:
        former, ours = await of_all(store, EVEN), await of_all(store, EVEN)
        former.begin(LEFT, 5)
        await former.write()
        await ours.let_go(EVEN)
        await ours.take_over(EVEN)
        ours.arrived(LEFT, 20)
        ours.handled(LEFT, KITCHEN, 20)  # nobody has read what was said between 5 and 20
        assert ours.of_guild(LEFT) == 5
        assert await kept(ours, store) == {"guild": 5}
        ours.release(LEFT)
        assert await kept(ours, store) == {"guild": 20}


async def test_what_the_former_holder_began_to_follow_is_learned_and_what_is_known_stays() -> None:
    thread = Where(place=Place.THREAD, workspace=LEFT, channel=str(KITCHEN), thread=str(HALL))
    async with a_store() as store:
        former, ours = await of_all(store, EVEN), await of_all(store, EVEN)
        ours.begin(LEFT, 9)
        former.begin(LEFT, 5)
        former.follow(thread, 6)
        await former.write()
        await ours.take_over(EVEN)
        assert ours.of_guild(LEFT) == 9
        assert ours.of_places(LEFT) == [(thread, 6)]
