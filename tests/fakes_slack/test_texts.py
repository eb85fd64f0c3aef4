"""Slack's text and stamps are made as Slack makes them."""

from datetime import UTC, datetime

import pytest

from tests.fakes.slack import blocks, mrkdwn
from tests.fakes.slack.stamps import Stamps

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("&lt;", "&amp;lt;"),
        ("<@U1> in <#C1|general>", "<@U1> in <#C1|general>"),
        ("<!here> <!subteam^S1>", "<!here> <!subteam^S1>"),
        ("https://a.example/x?a=1&b=2.", "<https://a.example/x?a=1&amp;b=2>."),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_what_people_type_is_escaped_and_linked(written: str, seen: str) -> None:
    assert mrkdwn.typed(written) == seen


@pytest.mark.parametrize(
    ("written", "seen"), [("&lt;b&gt;", "&lt;b&gt;"), ("a & b < c", "a &amp; b &lt; c"), ("<@U1>", "<@U1>")]
)
def test_what_a_bot_sends_is_escaped_only_where_it_is_not(written: str, seen: str) -> None:
    assert mrkdwn.sent(written) == seen


def test_all_text_of_blocks_is_read() -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "one"}, "fields": [{"type": "mrkdwn", "text": "two"}]}
    rich = {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U1"}]}],
    }
    assert list(blocks.texts([section, {"type": "markdown", "text": "three"}, rich])) == ["one", "two", "three", "<@U1>"]


def test_no_two_stamps_are_the_same_and_new_ones_increase() -> None:
    stamps = Stamps()
    made = [stamps.new(NOW), stamps.at(NOW), stamps.at(NOW), stamps.new(NOW), stamps.new(NOW)]
    assert len(set(made)) == 5
    assert made[0] == "1767225600.000000"
    assert made[0] < made[3] < made[4]
    assert stamps.at(datetime(2025, 1, 1, tzinfo=UTC)) < made[0]
