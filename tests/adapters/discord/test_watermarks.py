"""What the marks promise: nothing below a mark is still to be handled, whatever fails and whenever it ends."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.where import Where
from bot.chat.protocol import Place
from store import Store, StoreUnavailable, Watermark
from tests.adapters.discord.listening import a_store
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio
HOME, KITCHEN, HALL = "1", 10, 11
THREAD = Where(place=Place.THREAD, workspace=HOME, channel=str(KITCHEN), thread=str(HALL))
DIRECT = Where(place=Place.DIRECT, workspace="", channel="20")


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
        marks = Watermarks(store, FakeClock(), overlap=0)
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
        marks = Watermarks(store, FakeClock(), overlap=0)
        marks.handled("", 20, 3)
        assert await kept(marks, store) == {}
        marks.follow(DIRECT, 4)
        marks.handled("", 20, 4)
        assert await kept(marks, store) == {"20": 4}
        marks.handled("", 20, 9)
        assert await kept(marks, store) == {"20": 9}


async def test_a_guild_that_was_never_read_gets_no_mark_from_what_is_heard() -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock(), overlap=0)
        marks.arrived(HOME, 7)
        marks.handled(HOME, KITCHEN, 7)
        assert marks.of_guild(HOME) is None
        assert await kept(marks, store) == {}


async def test_marks_are_there_after_a_restart_and_a_thread_that_went_is_forgotten() -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock(), overlap=0)
        marks.begin(HOME, 5)
        marks.follow(THREAD, 6)
        marks.follow(DIRECT, 7)
        await marks.write()
        again = Watermarks(store, FakeClock(), overlap=0)
        await again.restore()
        assert again.of_guild(HOME) == 5
        assert again.of_places(HOME) == [(THREAD, 6)]
        assert again.of_places("") == [(DIRECT, 7)]
        await again.drop(THREAD)
        assert again.of_places(HOME) == []
        assert await kept(again, store) == {"guild": 5, "20": 7}


async def test_a_channel_that_went_takes_its_threads_along_and_a_guild_everything() -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock(), overlap=0)
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

        async def mark(self, platform: str, marks: list[Watermark], *, at: datetime) -> None:
            assert at.tzinfo is UTC
            if self.failing:
                raise StoreUnavailable("full")
            self.marks += tuple(marks)

    store = Full()
    marks = Watermarks(store, FakeClock(), overlap=0)  # type: ignore[arg-type]
    marks.begin(HOME, 5)
    await marks.write()
    assert store.marks == ()
    store.failing = False
    await marks.write()
    await marks.write()
    assert [mark.position for mark in store.marks] == [5]
