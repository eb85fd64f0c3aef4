"""What the marks promise: nothing below a mark is still to be handled, whatever fails and whenever it ends."""

from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack import watermarks
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.where import Where
from bot.chat.protocol import Place
from store import Store, StoreUnavailable, Watermark
from tests.adapters.slack.listening import a_store
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio
DIRECT = Where(place=Place.DIRECT, workspace="T1", channel="D1")
ASIDE = Where(place=Place.DIRECT, workspace="T1", channel="D1", thread="1.000000")
CHANNEL = Where(place=Place.CHANNEL, workspace="T1", channel="C1")
THREAD = Where(place=Place.THREAD, workspace="T1", channel="C1", thread="2.000000")
ELSEWHERE = Where(place=Place.CHANNEL, workspace="T2", channel="C1")
EVERYWHERE = (DIRECT, ASIDE, CHANNEL, THREAD, ELSEWHERE)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(6, 40)),
        st.tuples(st.sampled_from(["handle", "fail"]), st.integers(0, 10)),
        st.tuples(st.sampled_from(["hold", "release"]), st.just(0)),
    ),
    max_size=40,
)


async def kept(marks: Watermarks, store: Store) -> dict[tuple[str, str, str], int]:
    await marks.write()
    return {(mark.workspace, mark.channel, mark.thread): mark.position for mark in await store.watermarks("slack")}


@given(steps=STEPS)
async def test_a_mark_never_passes_what_is_in_hand_what_failed_or_what_was_missed(steps: list[tuple[str, int]]) -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock())
        marks.follow(DIRECT, 5)
        in_hand: dict[int, ExitStack] = {}
        lost: set[int] = set()
        held_at: int | None = None
        before = 5
        for step, number in steps:
            match step:
                case "arrive" if number not in in_hand:
                    in_hand[number] = ExitStack()
                    in_hand[number].enter_context(marks.handling(DIRECT, number))
                    lost.discard(number)
                case "handle" if in_hand:
                    position = sorted(in_hand)[number % len(in_hand)]
                    in_hand.pop(position).close()
                case "fail" if in_hand:
                    position = sorted(in_hand)[number % len(in_hand)]
                    lost.add(position)
                    with suppress(StoreUnavailable), in_hand.pop(position):
                        raise StoreUnavailable("full")
                case "hold":
                    held_at = before if held_at is None else held_at
                    marks.hold("T1")
                case "release":
                    held_at = None
                    marks.release("T1")
            now = (await kept(marks, store)).get(("T1", "D1", ""), 5)
            assert now >= before
            # What arrives behind a mark was delivered late; whatever is ahead of it is waited for.
            assert not any(before < waiting <= now for waiting in (*in_hand, *lost))
            assert held_at is None or now == held_at
            before = now


async def test_every_place_is_there_after_a_restart_the_furthest_first() -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock())
        for number, where in enumerate(EVERYWHERE):
            marks.follow(where, 10 + number)
        await marks.write()
        restored = Watermarks(store, FakeClock())
        await restored.restore()
        assert restored.workspaces() == ["T1", "T2"]
        assert restored.places("T1") == [(THREAD, 13), (CHANNEL, 12), (ASIDE, 11), (DIRECT, 10)]
        assert restored.places("T2") == [(ELSEWHERE, 14)]


async def test_a_place_that_is_followed_already_keeps_its_mark() -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock())
        marks.follow(DIRECT, 5)
        marks.follow(DIRECT, 50)
        assert marks.places("T1") == [(DIRECT, 5)]


async def test_what_is_gone_takes_the_marks_below_it_along() -> None:
    async with a_store() as store:
        marks = Watermarks(store, FakeClock())
        for where in EVERYWHERE:
            marks.follow(where, 10)
        marks.forget("T1", "C1")
        assert {where for where, _ in marks.places("T1")} == {DIRECT, ASIDE}
        marks.forget("T1", "D1", ASIDE.thread)
        assert marks.places("T1") == [(DIRECT, 10)]
        marks.forget("T1")
        assert marks.workspaces() == ["T2"]


async def test_so_many_places_are_in_memory_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermarks, "PLACES", 3)
    async with a_store() as store:
        marks = Watermarks(store, FakeClock())
        for where in EVERYWHERE:
            marks.follow(where, 10)
        assert [where for workspace in ("T1", "T2") for where, _ in marks.places(workspace)] == [CHANNEL, THREAD, ELSEWHERE]


async def test_marks_that_can_t_be_written_now_are_written_later() -> None:
    async with a_store() as store:
        failing = _Failing(store)
        marks = Watermarks(failing, FakeClock())  # type: ignore[arg-type]
        marks.follow(DIRECT, 5)
        await marks.write()
        assert await store.watermarks("slack") == ()
        failing.fails = False
        await marks.write()
        assert await store.watermarks("slack") == (Watermark(workspace="T1", channel="D1", thread="", position=5),)


class _Failing:
    """A store that can't write marks for now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails = True

    async def mark(self, platform: str, marks: list[Watermark], **when: object) -> None:
        if self.fails:
            raise StoreUnavailable("full")
        await self._store.mark(platform, marks, at=START)
