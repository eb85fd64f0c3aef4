"""What a command takes: a form's values and the line that they stand for say the same."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.commands import TABLE, find
from bot.chat.options import Option, OptionKind, OptionRefused, join_options, read_options, split_options, usage_of

COUNT = Option(name="count", summary="how many", kind=OptionKind.INTEGER, minimum=1, maximum=50)
COLOUR = Option(name="colour", summary="which", kind=OptionKind.CHOICE, choices=("red", "blue"), required=True)
REASON = Option(name="reason", summary="why", longest=100_000, words=True)
PAGE = Option(name="page", summary="which", kind=OptionKind.INTEGER, minimum=1, maximum=50, default="1")
WORD_ONLY = Option(name="word", summary="which", longest=10)
ALL = (COLOUR, COUNT, REASON)

WORD = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: len(text.split()) == 1).map(str.strip)
)
LINE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)


def test_usage_shows_what_is_needed_and_what_may_be_left_out() -> None:
    assert usage_of(ALL) == "<colour> [count] [reason]"
    assert usage_of(()) == ""


@given(WORD, WORD, LINE, st.integers(0, 3))
def test_a_form_is_read_back_as_it_was_filled_in(colour: str, count: str, reason: str, filled: int) -> None:
    values = dict([("colour", colour), ("count", count), ("reason", reason)][:filled])
    assert split_options(ALL, join_options(ALL, values)) == values


@given(st.text())
def test_any_line_can_be_split(line: str) -> None:
    assert set(split_options(ALL, line)) <= {"colour", "count", "reason"}
    assert split_options((), line) == {}


@pytest.mark.parametrize(
    ("values", "named"), [({"colour": "red", "reason": "why"}, "count"), ({"colour": "dark red", "count": 1}, "colour")]
)
def test_a_form_that_no_line_can_say_is_refused_with_what_to_mend(values: dict[str, str | int], named: str) -> None:
    with pytest.raises(OptionRefused, match=f"`{named}`"):
        join_options(ALL, values)


@given(st.one_of(st.just(""), WORD), LINE)
def test_what_has_a_default_can_be_left_out_before_what_is_given(page: str, reason: str) -> None:
    line = join_options((PAGE, REASON), {"page": page, "reason": reason})
    assert split_options((PAGE, REASON), line) == {"page": page or "1", "reason": reason}


def test_what_has_a_default_always_has_a_value() -> None:
    assert read_options((PAGE,), "") == {"page": "1"}
    assert read_options((PAGE,), "7") == {"page": "7"}


@pytest.mark.parametrize(("line", "said"), [("two words", "one word"), ("x" * 11, "may have 10")])
def test_a_text_that_is_too_much_is_refused_with_what_may_be(line: str, said: str) -> None:
    with pytest.raises(OptionRefused, match=said):
        read_options((WORD_ONLY,), line)


def test_values_that_fit_are_told_by_name() -> None:
    assert read_options(ALL, "Red 07  because it is  ") == {"colour": "red", "count": "07", "reason": "because it is"}
    assert read_options(ALL, "blue") == {"colour": "blue"}


@pytest.mark.parametrize("line", ["", "green", "red 0", "red 51", "red many", "red 1.5", "red " + "9" * 5000])
def test_values_that_do_not_fit_are_refused(line: str) -> None:
    with pytest.raises(OptionRefused):
        read_options(ALL, line)


@pytest.mark.parametrize(
    ("minimum", "maximum", "said"),
    [(1, 5, "from 1 to 5"), (1, None, "at least 1"), (None, 5, "at most 5"), (None, None, "whole number;")],
)
def test_a_refused_number_is_told_its_bounds(minimum: int | None, maximum: int | None, said: str) -> None:
    option = Option(name="n", summary="", kind=OptionKind.INTEGER, minimum=minimum, maximum=maximum)
    with pytest.raises(OptionRefused, match=said):
        read_options((option,), "many")


def test_every_command_of_the_table_can_be_typed_and_shown_in_a_form() -> None:
    for command in TABLE.values():
        assert len(command.summary) <= 100
        needed = [option.required for option in command.options]
        assert needed == sorted(needed, reverse=True), "what may be left out stands behind what may not"
        for option in command.options:
            assert (option.kind is OptionKind.CHOICE) == bool(option.choices)
            assert all(len(choice.split()) == 1 and choice == choice.lower() for choice in option.choices)
            assert len(option.choices) <= 25
            assert not option.default or read_options((option,), "") == read_options((option,), option.default)
            assert not option.words or option is command.options[-1]
            assert not keyword.iskeyword(option.name)  # discord.py makes parameters of them
            assert len(option.summary) <= 100  # Discord's limit


def test_both_groups_have_commands_of_the_same_name_and_every_row_is_found_by_its_path() -> None:
    assert all(find(path) is row and row.path == path for path, row in TABLE.items())
    assert find("forget") is TABLE["chat forget"]
    assert find("status") is TABLE["parley status"]
    assert find("parley new") is None
