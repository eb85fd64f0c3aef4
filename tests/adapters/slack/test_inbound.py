"""What is made of Slack's messages: whose they are, where they stand, what they say, and that nothing of it pings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack.inbound import (
    Names,
    Us,
    argument,
    command_line,
    incoming,
    is_speech,
    people_of,
    readable,
    readable_name,
    team_of,
    where_of,
)
from bot.adapters.slack.stamps import moment_of, position_at, position_of, ts_of
from bot.chat.callers import MEMBER, UNKNOWN, Kind
from bot.chat.protocol import FileOffer, IncomingMessage, Place, Quote

US = Us(workspace="T1", user_id="U0BOT", bot_id="B0BOT")
TS, ROOT = "1700000000.123456", "1600000000.000100"
NAMES = Names(of={"U1": "Ada", "W2": "Bob"})
ZERO = "\u200b"


def event(text: str = "hello", **parts: Any) -> dict[str, Any]:
    given = {"type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "ts": TS, "text": text, **parts}
    return {name: value for name, value in given.items() if value is not None}


def taken(text: str = "hello", **parts: Any) -> IncomingMessage:
    message = incoming(event(text, **parts), US, NAMES, event_id="Ev1")
    assert message is not None
    return message


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("access <@U1|Ada Lovelace> allow", "access <@U1> allow"),
        ("<#C1|general> <!subteam^S1|@helpers team> <@W2>", "<#C1> <!subteam^S1> <@W2>"),
        ("be &lt;kind&gt; &amp; brief", "be <kind> & brief"),
        (
            "<https://example.com> or <mailto:a@b.example|a@b.example>",
            "https://example.com or a@b.example",
        ),
        ("", ""),
    ],
)
def test_a_command_is_told_whom_it_names_by_their_ids_alone(written: str, read: str) -> None:
    assert argument(written) == read


def test_a_command_line_has_no_mention_of_us_in_front() -> None:
    assert command_line(event("<@U0BOT>: !access allow <@U1|ada>"), US) == "!access allow <@U1>"


@pytest.mark.parametrize(
    ("parts", "team"),
    [
        ({}, ""),
        ({"team": "T1"}, "T1"),
        ({"team": "T1", "source_team": "T2"}, "T2"),
        ({"user_team": "T3", "team": "T1"}, "T3"),
    ],
)
def test_an_event_names_its_authors_team(parts: dict[str, Any], team: str) -> None:
    assert team_of(event(**parts)) == team


def test_a_bots_message_is_a_bots_whatever_is_known_of_its_person() -> None:
    said = incoming(event(bot_id="B1"), US, NAMES, standing=MEMBER)
    assert said is not None
    assert said.standing.kind is Kind.BOT
    assert taken().standing == UNKNOWN


def test_a_message_keeps_its_name_its_order_its_time_and_its_author() -> None:
    message = taken("hello")
    assert (message.message_id, message.position, message.event_id) == (TS, 1_700_000_000_123_456, "Ev1")
    assert (message.author_id, message.author_name, message.text) == ("U1", "Ada", "hello")
    assert message.sent_at.isoformat() == "2023-11-14T22:13:20.123456+00:00"
    assert message.answers == ""
    assert not message.from_bot


@pytest.mark.parametrize(
    ("parts", "place", "thread"),
    [
        ({"channel": "D1", "channel_type": "im"}, Place.DIRECT, ""),
        ({"channel": "D1", "channel_type": None}, Place.DIRECT, ""),
        ({"channel": "D1", "channel_type": "im", "thread_ts": ROOT}, Place.DIRECT, ROOT),
        ({"channel": "D1", "channel_type": "im", "thread_ts": TS}, Place.DIRECT, ""),
        ({}, Place.CHANNEL, ""),
        ({"thread_ts": TS}, Place.CHANNEL, ""),
        ({"thread_ts": ROOT}, Place.THREAD, ROOT),
        ({"thread_ts": ROOT, "subtype": "thread_broadcast"}, Place.THREAD, ROOT),
        ({"channel": "G1", "channel_type": "group"}, Place.CHANNEL, ""),
        ({"channel": "G1", "channel_type": "mpim"}, Place.CHANNEL, ""),
    ],
)
def test_the_place_of_a_message(parts: dict[str, Any], place: Place, thread: str) -> None:
    message = taken(**parts)
    address = message.address
    assert (message.place, address.workspace, address.thread, address.reply_to) == (place, "T1", thread, TS)
    assert message.addressed is (place is Place.DIRECT)
    assert where_of(event(**parts), US).place is place


@pytest.mark.parametrize(
    ("text", "addressed", "readably"),
    [
        ("<@U0BOT> hello", True, "hello"),
        ("<@U0BOT|parley>: hello", True, "hello"),
        ("hello <@U0BOT>", True, "hello"),
        ("  <@U0BOT>  <@U0BOT>, hello, <@U0BOT> ", True, "hello"),
        ("is <@U0BOT> there?", True, "is @someone there?"),
        ("<@U0BOT>", True, ""),
        ("hello <@U1>", False, "hello @Ada"),
        ("hello @U0BOT", False, "hello @U0BOT"),
        ("&lt;@U0BOT&gt; hello", False, f"<{ZERO}@U0BOT> hello"),
    ],
)
def test_who_is_addressed_and_what_is_left_of_the_mention(text: str, addressed: bool, readably: str) -> None:
    message = taken(text)
    assert (message.addressed, message.text) == (addressed, readably)


def test_the_two_events_of_one_mention_are_alike() -> None:
    said = incoming(event("<@U0BOT> hello"), US, NAMES)
    mention = {name: value for name, value in event("<@U0BOT> hello").items() if name != "channel_type"}
    assert incoming(mention | {"type": "app_mention"}, US, NAMES) == said


@pytest.mark.parametrize(
    "parts",
    [
        {"user": "U0BOT"},
        {"user": None, "bot_id": "B0BOT", "subtype": "bot_message"},
        {"user": "U0BOT", "bot_id": "B0BOT"},
        {"user": "USLACKBOT"},
        {"user": None},
        {"hidden": True},
        {"subtype": "channel_join"},
        {"subtype": "channel_topic"},
        {"subtype": "message_changed"},
        {"subtype": "message_replied"},
        {"subtype": "tombstone"},
        {"subtype": "reminder_add"},
        {"subtype": "something_new"},
        {"type": "reaction_added"},
    ],
)
def test_our_own_words_and_notices_are_nothing_that_somebody_said(parts: dict[str, Any]) -> None:
    assert incoming(event(**parts), US) is None
    assert not is_speech(event(**parts), US)


@pytest.mark.parametrize("subtype", [None, "file_share", "thread_broadcast", "me_message"])
def test_what_people_say_in_other_ways_is_speech(subtype: str | None) -> None:
    assert taken(subtype=subtype).text == "hello"


def test_other_bots_are_told_from_people() -> None:
    message = taken(user=None, bot_id="B9", subtype="bot_message", username="Jira")
    assert (message.from_bot, message.author_id, message.author_name) == (True, "B9", "Jira")
    message = taken(user="U9", bot_id="B9", bot_profile={"name": "Jira Cloud"})
    assert (message.from_bot, message.author_id, message.author_name) == (True, "U9", "Jira Cloud")


def test_a_bot_without_text_says_what_its_parts_say() -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "disk &gt; 90%"}}, {"type": "divider"}]
    assert taken("", user=None, bot_id="B9", blocks=blocks).text == "disk > 90%"
    assert taken("", user=None, bot_id="B9", attachments=[{"fallback": "disk full"}]).text == "disk full"
    assert taken("", attachments=[{"fallback": "a preview"}]).text == ""


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a &lt;b&gt; &amp; c", "a <b> & c"),
        ("&amp;lt;", "&lt;"),
        ("<@U1> and <@W2|robert> and <@U9|eve> and <@U8>", "@Ada and @Bob and @eve and @someone"),
        ("<#C1|general> <#C2|> <#C3>", "#general #unknown-channel #unknown-channel"),
        ("<!channel> <!here|here> <!everyone>", f"@{ZERO}channel @{ZERO}here @{ZERO}everyone"),
        ("<!subteam^S1|@devs> <!subteam^S2>", "@devs @group"),
        ("<!date^1392734382^{date}|Feb 18, 2014>", "Feb 18, 2014"),
        ("<https://example.com/a?b=1&amp;c=2>", "https://example.com/a?b=1&c=2"),
        ("<https://example.com/|example.com>", "https://example.com/"),
        ("<https://example.com|the page>", "the page (https://example.com)"),
        ("<mailto:a@b.c|a@b.c> <tel:+123|call>", "a@b.c call (+123)"),
        ("@channel and @HERE", f"@{ZERO}channel and @{ZERO}HERE"),
        ("1 < 2 and <broken", "1 < 2 and <broken"),
        ("&lt;!channel&gt; &lt;@U1&gt; &lt;#C1&gt;", f"<{ZERO}!channel> <{ZERO}@U1> <{ZERO}#C1>"),
        ("", ""),
    ],
)
def test_markup_becomes_what_people_see(written: str, shown: str) -> None:
    assert readable(written, NAMES) == shown


WORDS = "< > @ ! # &lt; &gt; &amp; lt; | channel Channel here everyone U1 subteam^S1 <@U1> <!here> <!subteam^S1|@devs>"
MORE = "date^1^{date}| http://a mailto: C1|general"
PIECES = st.sampled_from([*WORDS.split(), *MORE.split(), "\n", " "])


@given(text=st.lists(PIECES, max_size=30).map("".join), name=st.lists(PIECES, max_size=8).map("".join))
def test_no_text_that_comes_out_can_ping(text: str, name: str) -> None:
    names = Names(of={"U1": readable_name(name)})
    for shown in (readable(text, names), readable_name(name)):
        for ping in ("<@", "<!", "<#", "@channel", "@here", "@everyone"):
            assert ping not in shown.lower()


@given(st.text(alphabet=st.characters(exclude_characters="<>&@#!"), max_size=100))
def test_plain_words_come_out_as_they_were_written(text: str) -> None:
    assert readable(text) == text
    assert taken(text).text == text


def test_files_are_offered_unless_they_were_deleted() -> None:
    url = "https://files.slack.com/a.png"
    files = [
        {"name": "a.png", "mimetype": "image/png", "size": 7, "url_private": url},
        {"mode": "tombstone", "id": "F1"},
        {"title": "remote", "mode": "hidden_by_limit"},
    ]
    assert taken(files=files, subtype="file_share").files == (
        FileOffer(name="a.png", media_type="image/png", size=7, url=url),
        FileOffer(name="remote", media_type="application/octet-stream", size=0, url=""),
    )


def test_shared_messages_are_quoted_and_previews_of_pages_are_not() -> None:
    attachments = [
        {"is_share": True, "author_name": "Bob", "text": "ask <@U1> &amp; me", "files": [{"name": "plan.pdf"}]},
        {"is_msg_unfurl": True, "author_subname": "Eve", "text": "<!channel>"},
        {"message_blocks": [{}], "fallback": "[yesterday] older"},
        {"from_url": "https://example.com", "title": "A page", "text": "What it says."},
    ]
    assert taken("look", attachments=attachments).quotes == (
        Quote(author_name="Bob", text="ask @Ada & me\n(file: plan.pdf)"),
        Quote(author_name="Eve", text=f"@{ZERO}channel"),
        Quote(author_name="", text="[yesterday] older"),
    )


def test_the_people_of_a_message_are_its_author_and_whom_it_mentions() -> None:
    attachments = [{"is_share": True, "text": "<@U5> <@U1>"}]
    assert people_of(event("<@U2> <@U0BOT> <@U2>", attachments=attachments)) == ["U1", "U2", "U0BOT", "U5"]
    assert len(people_of(event(" ".join(f"<@U{number}>" for number in range(500))))) == 30


def test_a_name_is_one_line() -> None:
    assert readable_name(" Ada\n Lovelace ") == "Ada Lovelace"
    assert readable_name(" \n ") == "someone"


@pytest.mark.parametrize(
    "ts", ["", "1700000000", "1700000000.12345", "x.123456", "1700000000.1234567", "١.123456", "9" * 20]
)
def test_what_is_no_ts_is_refused(ts: str) -> None:
    with pytest.raises(ValueError, match="expected a ts"):
        position_of(ts)


def test_a_ts_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a ts"):
        moment_of("999999999999.000000")


@given(st.integers(0, 10**16), st.integers(0, 10**16))
def test_positions_keep_every_digit_and_the_order(one: int, other: int) -> None:
    assert position_of(ts_of(one)) == one
    assert (float(ts_of(one)) <= float(ts_of(other))) or one > other
    assert position_at(moment_of(ts_of(one))) == one
