"""Laws of limits: how they are named and typed, and what becomes of a turn that one refused."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat import words, words_limits
from bot.chat.limits import (
    LIMIT_NAMES,
    LIMITS,
    MOST,
    MOST_MONEY,
    AmountRefused,
    Refusal,
    format_amount,
    limit_of,
    name_of,
    parse_amount,
    refusal_of,
    write_amount,
)
from bot.config_governing import COUNTED_LIMITS, MONEY_LIMITS
from store import Limit, Payer, Period, TurnState, Unit

TOMORROW = datetime(2026, 11, 22, tzinfo=UTC)
TOKENS = limit_of("user-tokens", 50_000)
limits = st.builds(
    Limit,
    payer=st.sampled_from(Payer),
    unit=st.sampled_from(Unit),
    period=st.sampled_from(Period),
    amount=st.integers(1, MOST_MONEY),
)
minutes = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda time: time.replace(second=0, microsecond=0)
)
refusals = st.builds(Refusal, limit=limits, until=minutes, too_small=st.booleans(), quiet=st.booleans())
codes = st.one_of(st.text(), st.text().map(lambda text: f"limit {text}"), refusals.map(lambda code: code.encode()[:-1]))


def test_the_settings_know_the_same_limits() -> None:
    assert sorted(LIMIT_NAMES) == sorted((*COUNTED_LIMITS, *MONEY_LIMITS))


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_has_the_name_that_it_was_made_by(name: str) -> None:
    assert name_of(limit_of(name, 7)) == name


def test_a_limit_that_nobody_can_type_has_a_name_all_the_same() -> None:
    assert name_of(Limit(payer=Payer.ALL, unit=Unit.TURNS, period=Period.DAY, amount=1)) == "all-turns-day"


@given(st.sampled_from(LIMIT_NAMES), st.integers(1, MOST))
def test_an_amount_is_read_as_it_is_written(name: str, amount: int) -> None:
    assert parse_amount(name, write_amount(name, amount)) == amount


@pytest.mark.parametrize(("text", "amount"), [("2.50", 2_500_000), ("5", 5_000_000), ("0.000001", 1)])
def test_money_is_kept_in_millionths(text: str, amount: int) -> None:
    assert parse_amount("workspace-money", text) == amount


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "1.5", "1e3", "1,000", " 1", "٣", "1000000000000", "many"])
def test_what_is_no_count_is_refused_with_what_is(text: str) -> None:
    for name in ("user-turns", "all-tokens", "workspace-running"):
        with pytest.raises(AmountRefused, match=f"`{name}` must be a whole number from 1 to"):
            parse_amount(name, text)


@pytest.mark.parametrize("text", ["", "0", "0.00", "-1", "1.", ".5", "1.0000001", "1e3", "1,50", "٣", "1000000000", "NaN"])
def test_what_is_no_money_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(AmountRefused, match=r"such as 2\.50"):
        parse_amount("user-money", text)


@given(st.text())
def test_no_amount_that_is_typed_breaks_anything(text: str) -> None:
    for name in LIMIT_NAMES:
        with suppress(AmountRefused):
            assert 1 <= parse_amount(name, text) <= MOST_MONEY


def test_a_limit_that_is_none_is_refused_with_all_there_are() -> None:
    with pytest.raises(AmountRefused, match=r"user-turns, .*workspace-running"):
        parse_amount("user-beers", "1")


@given(refusals)
def test_the_code_of_a_refusal_says_all_of_it(refusal: Refusal) -> None:
    assert refusal_of(refusal.encode()) == refusal


@given(codes)
def test_any_code_is_shown_as_a_sentence_and_ends_the_turn(error: str) -> None:
    refusal = refusal_of(error)
    quiet = (refusal is not None and refusal.quiet) or error == "retracted"
    assert bool(words.shown(None, error)) is not quiet
    assert words.final_state(None, error).final


def test_a_code_that_nobody_knows_keeps_the_question() -> None:
    kept = "I could not answer this; your question is kept, the command `retry` asks it again."
    beers, no_zone = "limit user beers day 3 2026-11-22T00:00+00:00", "limit user tokens day 3 2026-11-22T00:00"
    too_early = "limit user tokens day 3 0001-01-01T00:00+14:00"
    for error in ("", "model_asleep", beers, no_zone, too_early):
        assert words.shown(None, error) == kept
        assert words.final_state(None, error) is TurnState.FAILED


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        (TOKENS, "Your 50,000 tokens of today are used up; from 00:00 UTC on I answer again, "),
        (limit_of("channel-tokens", 1), "This channel's 1 token of today is used up; "),
        (limit_of("workspace-money", 2_500_000), "This workspace's budget of 2.50 for today is used up; "),
        (limit_of("all-tokens", 1000), "Everybody's 1,000 tokens of today are used up; "),
        (limit_of("user-turns", 10), "Your 10 turns of this minute are used up; "),
    ],
)
def test_a_refusal_says_whose_limit_it_is_when_it_ends_and_what_to_do_then(limit: Limit, sentence: str) -> None:
    said = words.shown(None, Refusal(limit=limit, until=TOMORROW).encode())
    assert said.startswith(sentence)
    assert said.endswith(" and the command `retry` asks this once more.")
    assert words.final_state(None, Refusal(limit=limit, until=TOMORROW).encode()) is TurnState.FAILED


def test_nobody_is_told_to_wait_for_a_limit_that_waiting_does_not_help() -> None:
    said = words.shown(None, Refusal(limit=TOKENS, until=TOMORROW, too_small=True).encode())
    assert said.startswith("This may take more than your 50,000 tokens a day; ")
    assert "UTC" not in said


def test_a_quiet_refusal_says_nothing() -> None:
    assert words.shown(None, Refusal(limit=TOKENS, until=TOMORROW, quiet=True).encode()) == ""


def test_the_warning_names_the_limit() -> None:
    assert words_limits.nearly(TOKENS) == "80 % of your 50,000 tokens of today are used"
    assert format_amount(limit_of("user-money", 2_500_000)) == "2.50"
