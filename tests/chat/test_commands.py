"""The command table: one handler each, the same for every platform."""

import asyncio
import random
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.chat import words
from bot.chat.commands import TABLE, Commands, Group
from bot.chat.policy import Rules, Scope, Trigger
from bot.chat.protocol import Address, CommandCall, CommandReply, Place
from bot.chat.rules import SETTINGS, RuleBook
from bot.chat.sweeper import Sweeper
from store import StoreUnavailable
from tests.chat.chatting import PLATFORM, Chat, chatting, until
from tests.chat.test_turns import KITCHEN
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio


OPERATORS = [f"{PLATFORM}:w/ada"]


def table(chat: Chat, *, rules: RuleBook | None = None, operators: Collection[str] = ()) -> Commands:
    sweeper = Sweeper(
        chat.store,
        chat.clock,
        random.Random(1),
        ttl=timedelta(days=30),
        purge_after=timedelta(hours=24),
        interval=timedelta(minutes=5),
    )
    return Commands(
        chat.store,
        chat.turns,
        sweeper,
        rules or RuleBook(chat.store, Rules()),
        chat.clock,
        operators=operators,
        platforms=lambda: [f"{PLATFORM} (3 servers)", "other (asleep)"],
        model="scripted",
        ttl=timedelta(days=30),
        version="1",
    )


def typed(
    chat: Chat,
    line: str,
    *,
    user: str = "ada",
    address: Address = KITCHEN,
    thread: str = "",
    place: Place = Place.CHANNEL,
) -> CommandCall:
    name, _, argument = line.partition(" ")
    return CommandCall(
        name=name,
        argument=argument,
        place=place,
        key=replace(chat.key(user="" if thread else user), thread=thread),
        address=address,
        author_id=user,
        author_name=user,
        at=START,
    )


async def type_in(
    chat: Chat, line: str, *, rules: RuleBook | None = None, operators: Collection[str] = (), **parts: Any
) -> CommandReply:
    return await table(chat, rules=rules, operators=operators).handle(typed(chat, line, **parts))


async def test_new_lets_the_next_message_begin_without_the_past() -> None:
    async with chatting("Hello Ada.", "Who are you?") as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        assert "30 days" in (await type_in(chat, "new")).text
        await chat.say("Who am I?")
        await chat.quiet()
        assert [message.text for message in chat.model.prompts[1]] == ["Be kind.", "Who am I?"]


async def test_new_in_a_thread_does_not_make_the_bot_leave_it() -> None:
    async with chatting("Yes?", "Still here.") as chat:
        await chat.say("bot?", place=Place.THREAD, thread="t")
        await chat.quiet()
        await type_in(chat, "new", thread="t")
        assert (await chat.say("and?", place=Place.THREAD, thread="t", addressed=False)).conversation_id is not None
        await chat.quiet()
        assert [message.text for message in chat.model.prompts[1]] == ["Be kind.", "and?"]


async def test_new_stops_what_is_under_way() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await type_in(chat, "new")
        await chat.quiet()
        assert "stopped" in chat.surface.texts(KITCHEN)[0]


async def test_stop_stops_once_and_then_has_nothing_to_stop() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        assert (await type_in(chat, "stop")).text == "Stopped."
        await chat.quiet()
        assert (await type_in(chat, "stop")).text == "There is nothing to stop."


async def test_retry_asks_again_and_says_when_there_is_nothing_to_ask() -> None:
    async with chatting("One.", "Two.") as chat:
        assert "nothing to ask again" in (await type_in(chat, "retry")).text
        await chat.say("Question")
        await chat.quiet()
        assert (await type_in(chat, "retry")).text == "Asking again."
        await chat.quiet()
        assert await chat.history() == [("user", "Question"), ("assistant", "Two.")]


async def test_history_shows_who_said_what_in_order() -> None:
    async with chatting("Hello\nAda.") as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        assert (await type_in(chat, "history")).text == "Ada: I am Ada.\nParley: Hello Ada."
        assert (await type_in(chat, "history 1")).text == "Parley: Hello Ada."


@pytest.mark.parametrize("argument", ["0", "-1", "51", "many", "9" * 100])
async def test_history_of_an_impossible_length_says_what_is_possible(argument: str) -> None:
    async with chatting() as chat:
        assert "from 1 to 50" in (await type_in(chat, f"history {argument}")).text


async def test_forget_erases_this_conversation_and_no_other() -> None:
    async with chatting("Hello Ada.", "Hello Bob.") as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        await chat.say("I am Bob.", user="bob")
        await chat.quiet()
        assert "2 messages" in (await type_in(chat, "forget")).text
        assert await chat.history() == []
        assert len(await chat.history(user="bob")) == 2
        assert (await type_in(chat, "forget")).text == "There is nothing to forget here."


async def test_forgetting_while_an_answer_is_under_way_leaves_nothing_behind() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await type_in(chat, "forget")
        await until(lambda: chat.turns.running == 0)
        assert await chat.history() == []


async def test_what_was_forgotten_is_not_revived_by_redelivery() -> None:
    async with chatting("Hello.") as chat:
        await chat.say("Secret", position=1)
        await chat.quiet()
        await type_in(chat, "forget")
        await chat.say("Secret", position=1)
        assert await chat.history() == []


async def test_help_lists_to_everybody_what_they_can_do() -> None:
    async with chatting() as chat:
        people = (await type_in(chat, "help")).text
        operator = (await type_in(chat, "help", operators=OPERATORS)).text
        for command in TABLE.values():
            assert command.summary in operator
            assert (command.summary in people) is (command.group is Group.PEOPLE)


async def test_an_operators_command_is_to_others_one_that_does_not_exist() -> None:
    async with chatting() as chat:
        assert (await type_in(chat, "status")).text == (await type_in(chat, "nosuchthing")).text
        assert "scripted" in (await type_in(chat, "status", operators=OPERATORS)).text


async def test_status_has_a_line_for_each_platform() -> None:
    async with chatting() as chat:
        text = (await type_in(chat, "status", operators=OPERATORS)).text
        assert f"platforms  {PLATFORM} (3 servers)\n           other (asleep)\n" in text


async def test_what_commands_answer_is_for_their_caller_alone() -> None:
    async with chatting() as chat:
        for name in ("help", "history", "nosuchthing"):
            assert (await type_in(chat, name)).private


async def opened(chat: Chat) -> RuleBook:
    rules = RuleBook(chat.store, Rules())
    await rules.load(PLATFORM)
    return rules


def rules_of(rules: RuleBook) -> Rules:
    return rules.of(KITCHEN.platform, KITCHEN.workspace, KITCHEN.channel)


async def test_channel_shows_every_setting_where_it_comes_from_and_what_there_is() -> None:
    async with chatting() as chat:
        rules = await opened(chat)
        await type_in(chat, "channel trigger listen", rules=rules, operators=OPERATORS)
        rows = (await type_in(chat, "channel", rules=rules, operators=OPERATORS)).text.splitlines()
        assert [row.split()[0] for row in rows] == list(SETTINGS)
        assert "listen (chosen here)" in rows[0]
        assert "mention, listen, off, default" in rows[0]
        assert "user (default)" in rows[1]
        assert (await type_in(chat, "channel scope", rules=rules, operators=OPERATORS)).text == rows[1]


async def test_channel_chooses_and_takes_the_choice_back() -> None:
    async with chatting() as chat:
        rules = await opened(chat)
        text = (await type_in(chat, "channel Scope CHANNEL", rules=rules, operators=OPERATORS)).text
        assert "channel (chosen here)" in text
        assert rules_of(rules) == Rules(scope=Scope.CHANNEL)
        text = (await type_in(chat, "channel scope default", rules=rules, operators=OPERATORS)).text
        assert "user (default)" in text
        assert rules_of(rules) == Rules()


async def test_a_thread_has_the_settings_of_the_channel_around_it() -> None:
    async with chatting() as chat:
        rules = await opened(chat)
        within = replace(KITCHEN, thread="t")
        await type_in(chat, "channel trigger off", rules=rules, operators=OPERATORS, address=within, thread="t")
        assert rules_of(rules) == Rules(trigger=Trigger.OFF)


@pytest.mark.parametrize("line", ["channel colour", "channel colour red", "channel trigger loud", "channel scope a b"])
async def test_channel_refuses_what_there_is_not_with_what_there_is(line: str) -> None:
    async with chatting() as chat:
        rules = await opened(chat)
        text = (await type_in(chat, line, rules=rules, operators=OPERATORS)).text
        assert "must be one of" in text
        assert "\n" not in text
        assert rules_of(rules) == Rules()


async def test_a_direct_message_has_no_settings() -> None:
    async with chatting() as chat:
        rules = await opened(chat)
        # Slack's have a workspace, as its channels have; Discord's have none.
        line = "channel trigger off"
        text = (await type_in(chat, line, rules=rules, operators=OPERATORS, place=Place.DIRECT)).text
        assert text == words.NO_CHANNEL_SETTINGS
        assert await chat.store.settings(PLATFORM) == ()


async def test_only_operators_change_what_holds_in_a_channel() -> None:
    async with chatting() as chat:
        rules = await opened(chat)
        assert "no such command" in (await type_in(chat, "channel trigger off", rules=rules)).text
        assert rules_of(rules) == Rules()


@pytest.mark.parametrize(
    ("line", "begun", "proposed"),
    [
        ("channel trigger", "", ["mention", "listen", "off", "default"]),
        ("channel trigger", "M", ["mention"]),
        ("channel bots", "o", ["on", "off"]),
        ("channel bots", "x", []),
        ("channel colour", "", []),
        ("channel", "", []),
    ],
)
async def test_values_are_proposed_by_the_setting(line: str, begun: str, proposed: list[str]) -> None:
    async with chatting() as chat:
        (value,) = [option for option in TABLE["channel"].options if option.suggests is not None]
        assert await table(chat, operators=OPERATORS).suggest(typed(chat, line), value, begun) == proposed
        assert await table(chat).suggest(typed(chat, line), value, begun) == []


async def test_sweep_tells_what_it_did() -> None:
    async with chatting() as chat:
        reply = await type_in(chat, "sweep", operators=OPERATORS)
        assert reply.text == "Swept: 0 conversations expired, 0 rows purged, 0 event ids dropped."


async def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    async with chatting() as chat:
        assert "`history`" in (await type_in(chat, "histroy")).text


async def test_a_failing_store_is_told_in_one_sentence(monkeypatch) -> None:
    async def full(key: object) -> None:
        raise StoreUnavailable("the disk of /secret/path is full")

    async with chatting() as chat:
        monkeypatch.setattr(chat.store, "find", full)
        text = (await type_in(chat, "history")).text
        assert "/secret" not in text
        assert "try again" in text


async def test_a_group_is_listed_as_it_is_typed() -> None:
    async with chatting() as chat:
        reply = table(chat).overview(typed(chat, "nonsense"), Group.PEOPLE)
        assert reply.columns
        names = [line.split()[:2] for line in reply.text.splitlines()]
        assert names == [["/chat", row.name] for row in TABLE.values() if row.group is Group.PEOPLE]


async def test_the_operators_group_is_to_others_a_command_that_does_not_exist() -> None:
    async with chatting() as chat:
        theirs = table(chat).overview(typed(chat, "status"), Group.OPERATORS)
        assert theirs == await table(chat).handle(typed(chat, "status"))
        ours = table(chat, operators=OPERATORS).overview(typed(chat, ""), Group.OPERATORS)
        assert "/parley status" in ours.text


async def test_a_command_is_offered_to_those_who_may_run_it() -> None:
    async with chatting() as chat:
        lines = ("new", "status", "nonsense")
        assert [table(chat).offers(typed(chat, line)) for line in lines] == [True, False, False]
        assert [table(chat, operators=OPERATORS).offers(typed(chat, line)) for line in lines] == [True, True, False]


async def test_an_idle_conversation_is_kept_as_long_as_it_says() -> None:
    async with chatting() as chat:
        assert table(chat).kept_until(START) == START + timedelta(days=30)
