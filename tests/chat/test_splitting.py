"""The laws of `bot.chat.splitting`, each on thousands of awkward texts."""

import os
from itertools import accumulate

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.chat import splitting
from bot.chat.protocol import Measure
from bot.chat.splitting import SMALLEST_LIMIT, Part, join, split

FAMILY = "👨‍👩‍👧‍👦"
URL = "https://example.org/a/rather-long/path?with=a&query=string#and-a-fragment"
LINK = "[a label with words](https://example.org/somewhere)"

fences = st.builds(
    lambda indent, mark, length, info: f"{indent}{mark * length}{info}",
    st.sampled_from(["", "  ", "\t", "1. ", "- "]),
    st.sampled_from("`~"),
    st.integers(1, 7),
    st.sampled_from(["", "", "python", " js title=x", "a`b", "é" * 9, "```"]),
)
pieces = st.one_of(
    st.sampled_from(["\n", "\n\n", "\r\n", "\r", " ", "   ", "\t", ". ", "。", "! ", "[", "](", ")"]),
    st.sampled_from(["!", "<", "~", "`", "h", "http"]),
    st.sampled_from([FAMILY, "e\u0301", "e" + "\u0301" * 40, "🇩🇪🇫🇷", "𝔘", "한국", "ก็", "\u200d", "\u0600"]),
    st.sampled_from([URL, LINK, f"![{LINK}]({URL})", f"[{LINK}]({URL})", f"<{URL}>", "| a | b |\n|---|---|\n| 1 | 2 |\n"]),
    st.sampled_from(["word", "a few more words of it", "x" * 50, "- item\n", "# Head\n", "> quote\n"]),
    fences.map("\n{}\n".format),
    fences,
    st.text(max_size=8),
)
texts = st.lists(pieces, max_size=60).map("".join)
limits = st.integers(SMALLEST_LIMIT, 150)
measures = st.sampled_from(Measure)
# With the same examples each time (`tests/conftest.py`) more of them find no more.
thorough = settings(max_examples=500 if os.environ.get("CI") else 2000, deadline=None)


def open_fence(text: str, longest: int) -> str:
    """Read `text` as a platform does and return the marker of the fence that is open at its end."""
    marker = ""
    for line in text.split("\n"):
        run = regex.match(r"(?:[ \t]*(?:[-*+]|\d+[.)])[ \t])*[ \t]*(`{3,}|~{3,})(.*)", line, regex.DOTALL)
        bare = line.lstrip(" \t").rstrip(" \t\r")
        if marker:
            if bare and set(bare) == {marker[0]} and len(bare) >= len(marker):
                marker = ""
        elif run and len(run[1]) <= longest and not (run[1][0] == "`" and "`" in run[2]):
            marker = run[1]
    return marker


@given(texts, limits, measures)
@thorough
def test_every_part_fits_and_none_is_empty(text, limit, measure):
    for part in split(text, limit, measure):
        assert part.body
        assert measure.of(part.text) <= limit


@given(texts, limits, measures)
@thorough
def test_nothing_is_lost(text, limit, measure):
    parts = split(text, limit, measure)
    assert join(parts) == text
    for part in parts:
        assert part.text == part.opening + part.body + part.closing
        assert regex.fullmatch(r"(?:(`{3,}|~{3,})[^\n]*\n)?", part.opening)
        assert regex.fullmatch(r"\n?(?:`*|~*)", part.closing)


@example(text="```\n\r```", limit=16, measure=Measure.CHARACTERS)
@given(texts, limits, measures)
@thorough
def test_every_part_closes_its_fences_and_the_next_opens_them_again(text, limit, measure):
    before = ""
    for part in split(text, limit, measure):
        assert open_fence(part.text, limit // 4) == ""
        assert part.opening.strip("\n").startswith(before)
        assert bool(part.opening) == bool(before)
        before = open_fence(part.opening + part.body, limit // 4)


@given(texts, texts, limits, measures)
@thorough
def test_all_parts_but_the_last_are_final(text, more, limit, measure):
    final = split(text, limit, measure)[:-1]
    assert split(text + more, limit, measure)[: len(final)] == final


@example(text="\n\n\n````\n\r````", limit=16, measure=Measure.CHARACTERS)
@given(st.lists(pieces, min_size=5, max_size=40).map("".join), limits, measures)
@settings(max_examples=150, deadline=None)
def test_parts_never_change_while_a_text_comes_in_by_characters(text, limit, measure):
    final: list[Part] = []
    for length in range(len(text) + 1):
        parts = split(text[:length], limit, measure)
        assert parts[: len(final)] == final
        final = parts[:-1]


def cuts_of(text: str, limit: int, measure: Measure) -> set[int]:
    return set(accumulate(len(part.body) for part in split(text, limit, measure)))


@given(texts, limits, measures)
@thorough
def test_no_grapheme_that_fits_is_cut(text, limit, measure):
    cuts = cuts_of(text, limit, measure)
    for found in regex.finditer(r"\X", text):
        if measure.of(found[0]) <= limit // 3:  # fences take up to two thirds
            assert cuts.isdisjoint(range(found.start() + 1, found.end())), found


@given(st.lists(st.one_of(pieces, st.just(URL)), max_size=40).map("".join), st.integers(200, 400), measures)
@thorough
def test_no_url_that_fits_is_cut(text, limit, measure):
    cuts = cuts_of(text, limit, measure)
    for found in regex.finditer(r"https?://(?:(?!https?:)[\w.?=&#/-])+", text, regex.ASCII):
        if measure.of(found[0]) <= limit // 3:
            assert cuts.isdisjoint(range(found.start() + 1, found.end())), found


prose = st.sampled_from(["word ", "and", "\n", "\n\n", "。", FAMILY, "x" * 30, "(", ". ", "- "])


@given(st.lists(st.one_of(prose, st.just(LINK)), max_size=60).map("".join), st.integers(len(LINK), 150), measures)
@thorough
def test_no_link_that_fits_is_cut(text, limit, measure):
    assert sum(part.body.count(LINK) for part in split(text, limit, measure)) == text.count(LINK)


@given(texts, limits, measures)
@thorough
def test_parts_are_few(text, limit, measure):
    assert len(split(text, limit, measure)) <= 12 * (measure.of(text) // limit + 1)


@pytest.mark.parametrize(
    "pattern",
    [
        "a",
        "a few words. ",
        " ",
        "\n",
        "[ ",
        "[a",
        "](",
        "[a](b ",
        "`",
        "```\na\n```\n",
        "e\u0301",
        "\u0301",
        FAMILY,
        URL,
        LINK + "\n",
    ],
)
def test_the_work_is_linear(pattern, monkeypatch):
    """Counted in characters that are looked at, not in seconds."""
    looked_at = 0

    def counting(function):
        def count(self, window, *rest):
            nonlocal looked_at
            looked_at += len(window)
            return function(self, window, *rest)

        return count

    for name in ("_overflow", "_cut"):
        monkeypatch.setattr(splitting._Splitter, name, counting(getattr(splitting._Splitter, name)))
    text = (pattern * 200_000)[:200_000]
    assert join(split(text, 2000, Measure.UTF16)) == text
    assert looked_at <= 8 * len(text)


# The places it prefers


def bodies(text: str, limit: int) -> list[str]:
    return [part.body for part in split(text, limit, Measure.UTF16)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One line. And\nanother.\n\nA paragraph of more.", ["One line. And\nanother.\n\n", "A paragraph of more."]),
        ("One line. And more\nand another. And the rest.", ["One line. And more\n", "and another. And the rest."]),
        ("A first sentence. And a second that is long.", ["A first sentence. ", "And a second that is long."]),
        ("only words and no sentence to be seen", ["only words and no sentence to ", "be seen"]),
        ("x" * 40, ["x" * 30, "x" * 10]),
        (
            "没有空格的句子在这里结束。然后这一句话很长很长很长很长很长",
            ["没有空格的句子在这里结束。然后这一句话很长很长很长很长很长"],
        ),
        ("A paragraph.\n\n```\ncode\nmore code\n```\n", ["A paragraph.\n\n", "```\ncode\nmore code\n```\n"]),
        ("|a|b|\n|-|-|\n|1|2|\n|3|4|\n|5|6|\n|7|8|\n", ["|a|b|\n|-|-|\n|1|2|\n|3|4|\n|5|6|\n", "|7|8|\n"]),
    ],
)
def test_it_cuts_at_paragraphs_then_lines_sentences_and_words(text, expected):
    assert bodies(text, 30) == expected


def test_a_fence_is_closed_and_opened_again_with_its_info_string():
    parts = split("1. ```python\n" + "x = 1\n" * 8 + "   ```\nThat's all.", 60, Measure.UTF16)
    assert [(part.opening, part.closing) for part in parts] == [("", "```"), ("```python\n", "")]
    assert parts[0].text == "1. ```python\n" + "x = 1\n" * 7 + "```"
    assert parts[1].text == "```python\nx = 1\n   ```\nThat's all."


def test_no_part_ends_or_begins_with_an_empty_fence():
    for length in range(20, 80):
        for code in ("x = 1\n" * 12, "y" * 200 + "\n"):
            for part in split("x" * length + "\n```py\n" + code + "```\n" + "word " * 20, 80, Measure.UTF16):
                assert not regex.search(r"```py\n+```", part.text), length


def test_a_fence_inside_a_longer_fence_is_code():
    parts = split("````md\n```py\nx = 1\n```\n" + "text\n" * 8 + "````\n", 48, Measure.UTF16)
    assert parts[1].opening == "````md\n"
    assert parts[0].closing == "````"


def test_a_fence_that_the_text_leaves_open_is_closed():
    assert [part.text for part in split("```py\nx", 100, Measure.UTF16)] == ["```py\nx\n```"]
    assert [part.text for part in split("```py\nx\n``", 100, Measure.UTF16)] == ["```py\nx\n```"]


def test_inline_code_in_three_backticks_opens_nothing():
    assert all(not part.opening for part in split("```x = 1``` is code\n" * 20, 100, Measure.UTF16))


def test_a_limit_that_is_too_small_is_refused():
    with pytest.raises(ValueError):
        split("text", SMALLEST_LIMIT - 1, Measure.UTF16)
    assert split("", SMALLEST_LIMIT, Measure.UTF16) == []
