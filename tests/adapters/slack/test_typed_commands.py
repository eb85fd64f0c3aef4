"""`!new`, `!stop`, `!history 5`: what is a command and what is speech, and that each is carried out once."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack.typed_commands import recognised
from bot.chat.commands import TABLE, Group
from bot.chat.policy import Trigger
from bot.chat.words_commands import kept_until
from store import StoreUnavailable
from tests.adapters.slack.interactive import interactive, texts, whispers
from tests.adapters.slack.showing import answers
from tests.fakes.slack import FakeSlack
from tests.fakes_slack.bots import Run, by_http, by_socket

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("!new", ("chat new", "")),
        (" !New\n", ("chat new", "")),
        ("!history 5", ("chat history", "5")),
        ("!history   5 ", ("chat history", "5")),
        ("!channel trigger listen", ("parley channel", "trigger listen")),
        ("!parley status", ("parley status", "")),
        ("!usage", ("chat usage", "")),
        ("!parley usage user", ("parley usage", "user")),
        ("!forget everything", ("chat forget", "everything")),
        ("!forget it", None),
        ("!keep calm", None),
        (
            "!persona you are a pirate who speaks of nothing but the sea",
            ("chat persona", "you are a pirate who speaks of nothing but the sea"),
        ),
        ("!chat", ("chat", "")),
        ("!parley nonsense", ("parley nonsense", "")),
        ("!parleying", None),
        ("!important", None),
        ("!", None),
        ("! new", None),
        ("!!new", None),
        ("new", None),
        ("say !new", None),
        ("!stop worrying about it", None),
        ("!history 5 6", None),
        ("!help me\nplease", None),
        ("!new!", None),
    ],
)
def test_a_known_word_and_nothing_else_is_a_command(text: str, command: tuple[str, str] | None) -> None:
    assert recognised(text) == command


@given(st.text())
def test_what_is_recognised_is_always_a_row_of_the_table_or_the_name_of_a_group(text: str) -> None:
    for line in (text, f"!{text}", f"!new {text}"):
        if (found := recognised(line)) is not None:
            name, argument = found
            if name.partition(" ")[0] in tuple(Group) and name not in TABLE:
                continue  # the group is listed
            several = any(option.words for option in TABLE[name].options)
            assert several or len(argument.split(" ")) <= max(1, len(TABLE[name].options))


async def test_a_command_in_a_thread_is_answered_there_to_its_author_alone() -> None:
    async with interactive("Yes?") as bot:
        ada, bob = bot.slack.workspace.user("Ada"), bot.slack.workspace.user("Bob")
        general = bot.slack.workspace.channel("general", ada, bob)
        root = await ada.say(general, f"{bot.slack.workspace.bot.mention} are you there?")
        await bot.answered(general)
        await bob.say(general, "!history", thread=root)
        await bot.until(lambda: bob.ephemerals)
        assert whispers(bob) == [f"Ada: are you there?\nParley: Yes?\n{kept_until(None)}"]
        assert bob.ephemerals[0].thread_ts == root.ts
        assert ada.ephemerals == []
        assert await bot.history(general, thread=root) == ["are you there?", "Yes?"]


async def test_new_in_a_thread_begins_again_and_the_bot_stays() -> None:
    async with interactive("Hello Ada.", "Who are you?") as bot:
        ada = bot.slack.workspace.user("Ada")
        general = bot.slack.workspace.channel("general", ada)
        root = await ada.say(general, f"{bot.slack.workspace.bot.mention} I am Ada.")
        await bot.answered(general)
        await ada.say(general, "!new", thread=root)
        await bot.until(lambda: ada.ephemerals)
        await ada.say(general, "Who am I?", thread=root)
        await bot.answered(general, 2)
        assert await bot.history(general, thread=root) == ["Who am I?", "Who are you?"]


async def test_stop_in_a_thread_stops_the_answer() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        ada = bot.slack.workspace.user("Ada")
        general = bot.slack.workspace.channel("general", ada)
        root = await ada.say(general, f"{bot.slack.workspace.bot.mention} go on")
        await bot.until(lambda: texts(general))
        await ada.say(general, "!stop", thread=root)
        await bot.until(lambda: "stopped" in texts(general)[0])
        assert whispers(ada) == ["Stopped."]


async def test_stop_stops_a_native_stream_as_it_grows() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        ada = bot.slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "begin", heard=False)
        await ada.say(ada.dm, "a story", thread=root)
        await bot.until(lambda: texts(ada.dm))
        (growing,) = answers(ada.dm)
        assert growing.streaming
        assert growing.buttons == []
        await ada.say(ada.dm, "!stop", thread=root)
        await bot.until(lambda: ada.ephemerals)
        await bot.quiet()
        assert whispers(ada) == ["Stopped."]
        assert "Half an answer" in texts(ada.dm)[0]
        assert "stopped" in texts(ada.dm)[0]
        assert not growing.streaming
        assert bot.slack.sessions[ada.dm.id, root.ts].status == "active"


async def test_direct_messages_and_mentions_take_commands() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        general = bot.slack.workspace.channel("general", ada)
        await ada.say(ada.dm, "!help")
        await bot.until(lambda: len(ada.ephemerals) == 1)
        await ada.say(general, f"{bot.slack.workspace.bot.mention} !help")
        await bot.until(lambda: len(ada.ephemerals) == 2)
        assert all("begin a new conversation here" in shown for shown in whispers(ada))
        assert [shown.channel for shown in ada.ephemerals] == [ada.dm, general]
        assert texts(ada.dm) == texts(general) == []


async def test_an_unknown_word_is_speech() -> None:
    async with interactive("Noted.") as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.say(ada.dm, "!important: the milk")
        await bot.answered(ada.dm)
        assert await bot.history(ada.dm) == ["!important: the milk", "Noted."]


async def test_an_operators_word_is_speech_for_everybody_else() -> None:
    async with interactive("What status?") as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.say(ada.dm, "!status")
        await bot.answered(ada.dm)
        assert texts(ada.dm) == ["What status?"]
        await bot.olga.say(bot.olga.dm, "!status")
        await bot.until(lambda: bot.olga.ephemerals)
        assert "scripted" in whispers(bot.olga)[0]


async def test_in_a_thread_that_is_not_ours_commands_are_for_somebody_else() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        general = bot.slack.workspace.channel("general", ada)
        root = await ada.say(general, "lunch?")
        await ada.say(general, "!stop", thread=root)
        await ada.say(general, "!help")
        await bot.quiet()
        await bot.afterwards.close()
        assert ada.ephemerals == []


async def test_where_the_bot_is_switched_off_it_takes_no_commands() -> None:
    async with interactive() as bot:
        general = bot.slack.workspace.channel("general", bot.olga)
        await bot.olga.say(general, f"{bot.slack.workspace.bot.mention} !channel trigger off")
        await bot.until(lambda: bot.olga.ephemerals)
        assert bot.rules.of("slack", general.team.id, general.id).trigger is Trigger.OFF
        await bot.olga.say(general, f"{bot.slack.workspace.bot.mention} !help")
        await bot.quiet()
        await bot.afterwards.close()
        assert len(bot.olga.ephemerals) == 1


@pytest.mark.parametrize("run", [by_socket, by_http])
async def test_two_events_each_delivered_ten_times_are_one_command(run: Run) -> None:
    async with interactive("First.", "Second.", run=run) as bot:
        ada = bot.slack.workspace.user("Ada")
        general = bot.slack.workspace.channel("general", ada)
        root = await ada.say(general, f"{bot.slack.workspace.bot.mention} say something")
        await bot.answered(general)
        bot.slack.copies = 10
        await ada.say(general, f"{bot.slack.workspace.bot.mention} !retry", thread=root)
        await bot.until(lambda: ada.ephemerals)
        await bot.quiet()
        await bot.afterwards.close()
        assert whispers(ada) == ["Asking again."]
        assert texts(general) == ["Second."]
        assert len(bot.model.prompts) == 2


async def test_a_command_of_which_the_store_knows_nothing_yet_is_delivered_again() -> None:
    async with FakeSlack(retry_after=(timedelta(), timedelta())) as slack, interactive(slack=slack, run=by_http) as bot:
        ada = slack.workspace.user("Ada")
        once, failures = bot.store.once, [StoreUnavailable("busy")]

        async def failing(*arguments: object, **named: object) -> bool:
            if failures:
                raise failures.pop()
            return await once(*arguments, **named)  # type: ignore[arg-type]

        bot.store.once = failing  # type: ignore[method-assign]
        await ada.say(ada.dm, "!new")
        await bot.until(lambda: ada.ephemerals)
        assert whispers(ada) == ["This is a new conversation already."]
        (delivery, *_) = slack.deliveries
        assert [attempt.acked for attempt in delivery.attempts] == [False, True]


async def test_other_bots_command_nothing() -> None:
    async with interactive() as bot:
        robot = bot.slack.workspace.user("robot", bot=True)
        general = bot.slack.workspace.channel("general", robot)
        await robot.say(general, f"{bot.slack.workspace.bot.mention} !help")
        await bot.quiet()
        await bot.afterwards.close()
        assert bot.slack.ephemerals == []


async def test_a_command_that_is_edited_is_neither_speech_nor_carried_out_again() -> None:
    async with interactive("Yes?") as bot:
        ada = bot.slack.workspace.user("Ada")
        general = bot.slack.workspace.channel("general", ada)
        root = await ada.say(general, f"{bot.slack.workspace.bot.mention} are you there?")
        await bot.answered(general)
        command = await ada.say(general, "!history", thread=root)
        await bot.until(lambda: ada.ephemerals)
        await ada.edit(command, "!history 5")
        direct = await ada.say(ada.dm, "!help")
        await bot.until(lambda: len(ada.ephemerals) == 2)
        await ada.edit(direct, "!help ")
        await ada.edit(direct, "!history 5")
        await bot.quiet()
        await bot.afterwards.close()
        assert len(ada.ephemerals) == 2
        assert await bot.history(general, thread=root) == ["are you there?", "Yes?"]
        assert await bot.history(ada.dm) == []


async def test_a_command_that_becomes_speech_is_answered_and_speech_that_becomes_one_is_carried_out() -> None:
    async with interactive("Who?", "A new year.") as bot:
        ada = bot.slack.workspace.user("Ada")
        mistyped = await ada.say(ada.dm, "!hepl")
        await bot.answered(ada.dm)
        await ada.edit(mistyped, "!help")
        await bot.until(lambda: ada.ephemerals)
        assert await bot.history(ada.dm) == ["!hepl", "Who?"]
        command = await ada.say(ada.dm, "!stop")
        await bot.until(lambda: len(ada.ephemerals) == 2)
        await ada.edit(command, "what begins in january?")
        await bot.answered(ada.dm, 2)
        assert texts(ada.dm) == ["Who?", "A new year."]
