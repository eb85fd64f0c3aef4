"""The breaker: when a model rests, for how long, and what ends it."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.llm.breaker import FAILURES_IN_A_ROW, Breaker, Pass


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def enter(breaker: Breaker, now: float) -> Pass:
    given = breaker.enter(seconds(now))
    assert given is not None
    return given


def fail(breaker: Breaker, now: float) -> timedelta | None:
    return breaker.failed(enter(breaker, now), seconds(now))


def opened() -> Breaker:
    breaker = Breaker()
    assert [fail(breaker, 0) for _ in range(FAILURES_IN_A_ROW)] == [None] * 4 + [seconds(15)]
    return breaker


def test_five_failures_in_a_row_begin_a_rest() -> None:
    breaker = opened()
    assert breaker.enter(seconds(14.9)) is None
    assert breaker.rests_for(seconds(5)) == seconds(10)


def test_a_served_call_between_failures_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAILURES_IN_A_ROW - 1):
            assert fail(breaker, 0) is None
        breaker.worked(enter(breaker, 0))


def test_after_the_rest_one_probe_is_let_through() -> None:
    breaker = opened()
    enter(breaker, 15)
    assert breaker.enter(seconds(16)) is None
    assert not breaker.ready(seconds(16))


def test_a_failing_probe_doubles_the_rest_up_to_two_minutes() -> None:
    breaker = opened()
    now, rests = 15.0, []
    for _ in range(5):
        rest = fail(breaker, now)
        assert rest is not None
        rests.append(rest.total_seconds())
        assert breaker.enter(seconds(now + rests[-1] - 0.1)) is None
        now += rests[-1]
    assert rests == [30, 60, 120, 120, 120]


def test_a_probe_that_is_answered_ends_the_rest_and_its_length_starts_anew() -> None:
    breaker = opened()
    assert fail(breaker, 15) == seconds(30)
    probe = enter(breaker, 45)
    assert breaker.answers(probe)
    assert not breaker.answers(probe)
    enter(breaker, 45)
    for _ in range(FAILURES_IN_A_ROW - 1):
        fail(breaker, 46)
    assert fail(breaker, 46) == seconds(15)


def test_a_probe_that_told_nothing_makes_room_for_the_next() -> None:
    breaker = opened()
    breaker.given_up(enter(breaker, 15))
    enter(breaker, 15)


def test_calls_from_before_a_rest_do_not_touch_it() -> None:
    breaker = Breaker()
    old, older = enter(breaker, 0), enter(breaker, 0)
    for _ in range(FAILURES_IN_A_ROW):
        fail(breaker, 0)
    probe = enter(breaker, 15)
    assert breaker.failed(old, seconds(15)) is None
    breaker.worked(older)
    breaker.given_up(old)
    assert breaker.enter(seconds(15)) is None
    breaker.answers(probe)
    enter(breaker, 15)


@given(st.lists(st.tuples(st.sampled_from(["worked", "failed", "given_up"]), st.integers(0, 200)), max_size=60))
def test_a_model_is_never_shut_out_for_ever(history: list[tuple[str, int]]) -> None:
    breaker, now = Breaker(), 0
    for outcome, passed in history:
        now += passed
        call = breaker.enter(seconds(now))
        if call is None:
            continue
        if outcome == "worked":
            breaker.worked(call)
        elif outcome == "failed":
            breaker.failed(call, seconds(now))
        breaker.given_up(call)
    assert breaker.ready(seconds(now + 120))
