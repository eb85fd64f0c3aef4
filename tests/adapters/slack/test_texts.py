"""What becomes of a model's text on its way to Slack: it pings nobody, its markup is Slack's, and nothing of it is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack.blocks import SECTION, Dialect, buttons, content, notice
from bot.adapters.slack.mrkdwn import escape, mrkdwn
from bot.adapters.slack.neutral import GAP, before_links, neutral, settled
from bot.adapters.slack.surface import LIMITS
from bot.chat.protocol import NO_CONTROLS, Control, Controls, Measure
from tests.fakes.slack import mrkdwn as wire
from tests.fakes.slack.blocks import PAYLOAD, check, texts

COMMANDS = (
    "<!channel>",
    "<!here>",
    "<!everyone>",
    "<!here|here>",
    "<!subteam^S012AB>",
    "<@U012AB>",
    "<@U012AB|bob>",
    "<#C012AB>",
)
NAMES = ("@channel", "@here", "@everyone")
MARKUP = (
    "**",
    "*",
    "_",
    "`",
    "```\n",
    "~~",
    "# ",
    "- ",
    "> ",
    "|",
    "|-|-|\n",
    "[a](https://a.example)",
    "\n",
    " ",
    "\\",
    "&lt;",
)
LIKE_MODELS = st.lists(
    st.one_of(
        st.sampled_from((*COMMANDS, *NAMES, "@Channel", *MARKUP, "<", ">", "&", "@", "!", "<!", "<@")), st.text(max_size=8)
    ),
    max_size=30,
).map("".join)


def pings(text: str) -> bool:
    """Whether Slack notifies anybody of it, or turns it into the name of a channel, however the text is sent."""
    sent = wire.sent(text)
    named = bool(wire.users(sent) or wire.groups(sent) or "<#C012AB>" in sent)
    return named or wire.broadcasts(sent, plain=True) or wire.broadcasts(text, plain=True)


# Pings


@pytest.mark.parametrize("command", COMMANDS + NAMES)
@pytest.mark.parametrize(
    "frame", ["{}", "a {}!", "`{}`", "```\n{}\n```", "**{}**", "[{}](https://a.example)", "| {} |\n|-|\n"]
)
def test_no_command_of_slacks_has_force(command, frame):
    text = frame.format(command)
    assert pings(text)
    assert not pings(neutral(text))
    assert not pings(mrkdwn(text))


@given(LIKE_MODELS)
def test_nothing_that_is_written_pings_anybody(text):
    for dialect in (Dialect(), Dialect(markdown=False)):
        shown = content(text, NO_CONTROLS, "n1", dialect)
        assert not any(map(pings, [shown["text"], *texts(shown["blocks"])]))


@given(LIKE_MODELS)
def test_to_people_a_neutral_text_looks_the_same_and_stays_neutral(text):
    assert neutral(text).replace(GAP, "") == text.replace(GAP, "")
    assert neutral(neutral(text)) == neutral(text)


@pytest.mark.parametrize("text", ["a < b", "<!-- note -->", "<!DOCTYPE html>", "ada@example.com", "x@here.com", "if (a<@b)"])
def test_what_is_no_command_is_left_alone(text):
    assert neutral(text) == text


# Growing texts


@given(LIKE_MODELS, st.integers(min_value=0, max_value=200))
def test_what_is_settled_of_a_growing_text_stays_as_it_is(text, end):
    assert neutral(text).startswith(neutral(settled(text[:end])))


def test_little_of_a_growing_text_is_held_back():
    assert settled("Write to <!chan") == "Write to "
    assert settled("one two ") == "one two"
    assert settled("Look:\n```py\nx = 1\n```") == "Look:\n```py\nx = 1"
    assert settled("a longer line of plain words") == "a longer line of plain words"


@given(LIKE_MODELS)
def test_what_stands_before_links_is_a_beginning_without_any(text):
    before = before_links(text)
    assert text.startswith(before)
    assert wire.urls(before) == []


def test_before_a_link_nothing_is_held_back():
    assert before_links("one two ") == "one two "
    assert before_links("see [here](https://a.example) for") == "see "
    assert before_links("WWW.a.example") == ""


# Markup


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**bold** and __bold__", "*bold* and *bold*"),
        ("*it* and _it_", "_it_ and _it_"),
        ("***both***", "*_both_*"),
        ("**bold *it* bold**", "*bold _it_ bold*"),
        ("~~gone~~", "~gone~"),
        ("## A title ##", "*A title*"),
        ("# **A** title", "*A* title"),
        ("- one\n  * two\n+ three", "• one\n  • two\n• three"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("> said **so**", "> said *so*"),
        ("[here](https://a.example/x_(y)?a=1&b=2)", "<https://a.example/x_(y)?a=1&amp;b=2|here>"),
        ("![a cat](https://a.example/cat.png)", "<https://a.example/cat.png|a cat>"),
        ("<https://a.example>", "<https://a.example>"),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        ("[x](!channel)", "[x](!channel)"),
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
        ("`a **b** <c>`", "`a **b** &lt;c&gt;`"),
        ("**use `x*y`**", "*use `x*y`*"),
        ("```py\nx = a**b**c # <t>\n```", "```\nx = a**b**c # &lt;t&gt;\n```"),
        ("```\nopen", "```\nopen\n```"),
        ("| a | b |\n|---|:-:|\n| **1** | 2 |\nend", "```\n| a | b |\n|---|:-:|\n| **1** | 2 |\n```\nend"),
        ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
        ("---", "---"),
        ("", ""),
    ],
)
def test_markdown_becomes_mrkdwn(markdown, expected):
    assert mrkdwn(markdown) == expected


@given(LIKE_MODELS)
def test_mrkdwn_holds_every_word_of_the_markdown(text):
    shown = mrkdwn(text).replace(GAP, "")
    for word in re.findall(r"[^\W_]{2,}", re.sub(r"(`{3}|~{3}).*", "", text.replace(GAP, ""))):
        assert word in shown


@given(st.text())
def test_escaped_text_is_shown_as_it_is(text):
    escaped = escape(text)
    assert not set("<>") & set(escaped)
    assert escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@given(
    st.lists(st.sampled_from(["`", "*", "_", "~", "[", "](", ")", "<https://", ">", "|", "x", " "]), max_size=1000).map(
        "".join
    )
)
def test_no_text_takes_long(text):
    mrkdwn(text * 3)


# Sizes


def worst_texts() -> list[str]:
    """Texts of the greatest length that grow most on their way."""
    longest = LIMITS.part
    return [
        ("<" * longest)[:longest],
        ("@here " * longest)[:longest],
        ("# a\n" * longest)[:longest],
        "語" * longest,
        "𝔘" * (longest // 2),
    ]


@pytest.mark.parametrize("text", worst_texts())
@pytest.mark.parametrize("dialect", [Dialect(), Dialect(markdown=False)])
def test_the_longest_part_fits_in_every_way_of_writing(text, dialect):
    controls = Controls(turn_id=2**63 - 1, offered=(Control.RETRY, Control.CONTINUE))
    shown = content(text, controls, "z" * 25, dialect)
    check(shown["blocks"])
    assert len(shown["text"]) <= SECTION < 4_000
    assert sum(len(part) for part in texts(shown["blocks"])) <= PAYLOAD


@given(st.text(alphabet="aé語𝔘<@!#U>\n", min_size=1))
def test_no_part_has_more_bytes_than_a_stream_bears(text):
    assert len(neutral(text).encode()) <= 3 * Measure.UTF16.of(text)


def test_a_notification_shows_the_beginning():
    assert notice("**Hello** & bye") == "*Hello* &amp; bye"
    assert notice("   ").strip() == ""
    assert len(notice("word " * 700)) <= SECTION


# Buttons


def test_a_growing_answer_can_be_stopped_and_a_finished_one_judged():
    [row] = buttons(Controls(turn_id=7, offered=(Control.STOP,)), "n1", Dialect())
    assert [(button["action_id"], button["value"]) for button in row["elements"]] == [("parley_stop", "7:n1")]
    row, verdicts = buttons(Controls(turn_id=7, offered=(Control.RETRY, Control.CONTINUE)), "n1", Dialect())
    assert [button["action_id"] for button in row["elements"]] == ["parley_retry", "parley_continue"]
    [verdict] = verdicts["elements"]
    assert (verdict["action_id"], verdict["positive_button"]["value"]) == ("parley_feedback", "good:7")
    assert verdict["negative_button"]["value"] == "bad:7"
    assert buttons(NO_CONTROLS, "n1", Dialect()) == []
