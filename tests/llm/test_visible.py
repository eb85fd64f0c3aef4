"""What is shown of a model's output: no thoughts, no halves of characters."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.llm.visible import VisibleText


def shown(pieces: Iterable[str]) -> str:
    visible = VisibleText()
    return "".join([visible.feed(piece) for piece in pieces]) + visible.end()


CASES = [
    ("Hello", "Hello"),
    ("<think>hmm</think>Hello", "Hello"),
    ("\n <think>\nhmm </thin\n</think>\n\nHello <think>x</think>", "Hello <think>x</think>"),
    ("<think></think>  Hi", "Hi"),
    ("<think>never ends", ""),
    ("<think>a</think>\n", ""),
    ("<thin", "<thin"),
    ("<thing>", "<thing>"),
    ("  leading", "  leading"),
    ("a <think>b</think>", "a <think>b</think>"),
    ("", ""),
]


@pytest.mark.parametrize(("said", "seen"), CASES)
def test_thoughts_at_the_start_are_not_shown_however_they_are_cut(said: str, seen: str) -> None:
    assert shown([said]) == seen
    assert shown(said) == seen


@given(st.text(), st.text("<think>/ \nab"), st.data())
def test_every_cut_shows_the_same(plain: str, tags: str, choice: st.DataObject) -> None:
    said = choice.draw(st.sampled_from([plain, tags, f"<think>{tags}</think>{plain}"]))
    place = choice.draw(st.integers(0, len(said)))
    assert shown([said[:place], said[place:]]) == shown([said]) == shown(said)


@given(st.text().filter(lambda text: not text.lstrip().startswith("<think>")))
def test_text_without_thoughts_is_unchanged(said: str) -> None:
    assert shown(said) == said


def test_a_surrogate_pair_over_two_deltas_is_one_character() -> None:
    assert shown(["a\ud83d", "\ude00b"]) == "a😀b"


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert shown(["a\ud83d", "b"]) == "a\ufffdb"
    assert shown(["a\ude00b"]) == "a\ufffdb"
    assert shown(["a\ud83d"]) == "a\ufffd"


def test_thoughts_are_not_kept_in_memory() -> None:
    visible = VisibleText()
    visible.feed("<think>")
    for _ in range(1000):
        visible.feed("long thought " * 10)
    assert len(visible._held) < 20
