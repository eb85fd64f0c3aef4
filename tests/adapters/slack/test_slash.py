"""Slash commands on the real slack-bolt: when a call is acknowledged, what it answers, and to whom."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bot.adapters.slack.private_replies import PARTS, texts_of
from bot.chat import words
from bot.chat.commands import TABLE, Commands, Group
from bot.chat.policy import Trigger
from bot.chat.protocol import CommandReply
from bot.chat.words_commands import kept_until
from tests.adapters.slack.interactive import interactive, texts, whispers
from tests.fakes.slack import FakeSlack
from tests.fakes.slack.mrkdwn import broadcasts, groups, users
from tests.fakes_slack.bots import Run, by_http, by_socket

pytestmark = pytest.mark.anyio

both_transports = pytest.mark.parametrize("run", [by_socket, by_http])


def pings(text: str) -> bool:
    return bool(users(text) or groups(text) or broadcasts(text, plain=True))


@both_transports
async def test_a_command_is_answered_to_its_caller_alone(run: Run) -> None:
    async with interactive("Hello Ada.", run=run) as bot:
        ada, bob = bot.slack.workspace.user("Ada"), bot.slack.workspace.user("Bob")
        await ada.say(ada.dm, "I am Ada.")
        await bot.answered(ada.dm)
        call = await ada.slash("/chat", "history", ada.dm)
        assert call.acked
        await bot.until(lambda: ada.ephemerals)
        assert whispers(ada) == [f"Ada: I am Ada.\nParley: Hello Ada.\n{kept_until(None)}"]
        assert bob.ephemerals == []
        assert texts(ada.dm) == ["Hello Ada."]


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Commands wait for this."""
    go_on = asyncio.Event()
    handle = Commands.handle

    async def slowly(*arguments: object) -> CommandReply:
        await go_on.wait()
        return await handle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Commands, "handle", slowly)
    return go_on


async def test_a_call_is_acknowledged_before_it_is_carried_out(go_on: asyncio.Event) -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        call = await ada.slash("/chat", "new", ada.dm)
        assert call.acked
        assert ada.ephemerals == []
        go_on.set()
        await bot.until(lambda: ada.ephemerals)
        assert whispers(ada) == ["This is a new conversation already."]


@pytest.mark.parametrize("text", ["", "   ", "nonsense", "status"])
async def test_a_line_without_a_word_of_the_group_lists_the_group(text: str) -> None:
    async with interactive() as bot:
        await bot.olga.slash("/chat", text, bot.olga.dm)
        await bot.until(lambda: bot.olga.ephemerals)
        (shown,) = whispers(bot.olga)
        assert shown.startswith("```\n")
        names = [line.split()[1] for line in shown.splitlines() if line.startswith("/chat ")]
        assert names == [row.name for row in TABLE.values() if row.group is Group.PEOPLE]


async def test_an_operators_command_is_to_others_one_that_does_not_exist() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        for line in ("status", "nonsense", ""):
            await ada.slash("/parley", line, ada.dm)
        await bot.olga.slash("/parley", "status", bot.olga.dm)
        await bot.until(lambda: len(ada.ephemerals) == 3 and bot.olga.ephemerals)
        assert whispers(ada) == ["There is no such command; `help` lists them."] * 3
        assert "scripted" in whispers(bot.olga)[0]


async def test_a_signed_call_that_somebody_sends_again_is_not_carried_out_again() -> None:
    async with interactive("Hello Ada.", run=by_http) as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.say(ada.dm, "I am Ada.")
        await bot.answered(ada.dm)
        call = await ada.slash("/chat", "forget", ada.dm)
        await bot.until(lambda: ada.ephemerals)
        with capture_logs() as logs:
            assert await bot.slack.replay(call.attempt) == 200
            await bot.until(lambda: [line for line in logs if line["event"] == "interaction.replayed"])
        assert len(ada.ephemerals) == 1


async def test_words_are_known_in_capitals_and_with_blanks_around_them() -> None:
    async with interactive() as bot:
        general = bot.slack.workspace.channel("general", bot.olga)
        await bot.olga.slash("/parley", "  CHANNEL   trigger  listen ", general)
        await bot.until(lambda: bot.olga.ephemerals)
        assert "listen (channel)" in whispers(bot.olga)[0]
        assert bot.rules.of("slack", general.team.id, general.id).trigger is Trigger.LISTEN


@pytest.mark.parametrize("how", ["slash", "typed"])
async def test_whom_a_command_names_is_known_by_their_id(how: str) -> None:
    async with interactive() as bot:
        eve = bot.slack.workspace.user("Eve", display_name="Eve Evil")
        general = bot.slack.workspace.channel("general", bot.olga)
        if how == "slash":
            await bot.olga.slash("/parley", f"access <@{eve.id}|Eve Evil> deny", general)
        else:
            await bot.olga.say(general, f"{bot.slack.workspace.bot.mention} !access {eve.mention} deny")
        await bot.until(lambda: bot.olga.ephemerals)
        assert bot.rules.access("slack", general.team.id).users == {eve.id: False}, whispers(bot.olga)


async def test_a_direct_message_has_no_channel_settings() -> None:
    async with interactive() as bot:
        await bot.olga.slash("/parley", "channel trigger off", bot.olga.dm)
        await bot.until(lambda: bot.olga.ephemerals)
        assert whispers(bot.olga) == [words.NO_CHANNEL_SETTINGS]
        assert await bot.store.settings("slack") == ()


async def test_commands_work_where_the_bot_is_no_member() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        elsewhere = bot.slack.workspace.channel("elsewhere", ada, with_bot=False)
        await ada.slash("/chat", "new", elsewhere)
        await bot.until(lambda: ada.ephemerals)
        assert whispers(ada) == ["This is a new conversation already."]


async def test_what_is_shown_mentions_nobody() -> None:
    async with interactive("<!channel> <@U000000001> @here") as bot:
        ada = bot.slack.workspace.user("Ada", display_name="<!here>")
        await ada.say(ada.dm, "& <@U000000001>?")
        await bot.answered(ada.dm)
        await ada.slash("/chat", "history", ada.dm)
        await bot.until(lambda: ada.ephemerals)
        (body,) = bot.slack.interactions[-1].responses
        assert not pings(body["text"])
        assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)


async def test_an_answer_whose_receipt_is_lost_is_not_given_twice(go_on: asyncio.Event) -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        call = await ada.slash("/chat", "help", ada.dm)
        call.cut = True
        with capture_logs() as logs:
            go_on.set()
            await bot.until(lambda: [line for line in logs if line["event"] == "interaction.not_answered"])
        assert len(ada.ephemerals) == 1


async def test_a_response_url_that_is_dead_is_a_line_in_the_log(go_on: asyncio.Event) -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        call = await ada.slash("/chat", "new", ada.dm)
        call.responses += [{}] * PARTS  # it works no more often
        with capture_logs() as logs:
            go_on.set()
            await bot.until(lambda: [line for line in logs if line["event"] == "interaction.not_answered"])
        assert ada.ephemerals == []


async def test_a_store_that_fails_is_said_in_a_sentence() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        await bot.store.aclose()
        await ada.slash("/chat", "history", ada.dm)
        await bot.slack.until(lambda: ada.ephemerals)
        assert whispers(ada) == [words.STORE_FAILED]


async def test_each_workspace_of_an_enterprise_has_the_installations_conversations() -> None:
    async with FakeSlack(retry_after=(timedelta(),)) as slack:
        north = slack.team("North", enterprise="E1", org_wide=True)
        slack.teams.remove(slack.workspace)
        async with interactive(slack=slack) as bot:
            ada = north.user("Ada")
            await ada.slash("/chat", "history", ada.dm)
            await bot.until(lambda: ada.ephemerals)
            assert whispers(ada) == ["Nothing has been said here yet."]


@given(st.text(), st.booleans())
def test_no_text_is_too_long_and_none_mentions_anybody(text: str, columns: bool) -> None:
    parts = texts_of(CommandReply(text=f"<!channel> {text}", columns=columns and bool(text)))
    assert 0 < len(parts) <= PARTS
    for part in parts:
        assert len(part) <= 40_000
        assert not pings(part)


def test_a_reply_beyond_five_messages_says_that_there_is_more() -> None:
    parts = texts_of(CommandReply(text="word " * 10_000))
    assert len(parts) == PARTS
    assert parts[-1] == words.REPLY_CUT


def test_an_empty_reply_is_no_message() -> None:
    assert texts_of(CommandReply(text="")) == []
