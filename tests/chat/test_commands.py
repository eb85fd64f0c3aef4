"""The command table: one handler each, the same for every platform."""

import asyncio
import random
from collections.abc import Collection
from datetime import timedelta

import pytest

from bot.chat.commands import TABLE, Commands, Group
from bot.chat.protocol import CommandCall, CommandReply
from bot.chat.sweeper import Sweeper
from store import StoreUnavailable
from tests.chat.chatting import PLATFORM, Chat, chatting, until
from tests.chat.test_turns import KITCHEN
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio


async def type_in(chat: Chat, line: str, *, operators: Collection[str] = (), user: str = "ada") -> CommandReply:
    sweeper = Sweeper(
        chat.store,
        chat.clock,
        random.Random(1),
        ttl=timedelta(days=30),
        purge_after=timedelta(hours=24),
        interval=timedelta(minutes=5),
    )
    commands = Commands(
        chat.store,
        chat.turns,
        sweeper,
        chat.clock,
        operators=operators,
        platforms=[PLATFORM],
        model="scripted",
        ttl=timedelta(days=30),
        version="1",
    )
    name, _, argument = line.partition(" ")
    call = CommandCall(
        name=name,
        argument=argument,
        key=chat.key(user=user),
        address=KITCHEN,
        author_id=user,
        author_name=user,
        at=START,
    )
    return await commands.handle(call)


async def test_new_lets_the_next_message_begin_without_the_past() -> None:
    async with chatting("Hello Ada.", "Who are you?") as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        assert "30 days" in (await type_in(chat, "new")).text
        await chat.say("Who am I?")
        await chat.quiet()
        assert [message.text for message in chat.model.prompts[1]] == ["Be kind.", "Who am I?"]


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
        operator = (await type_in(chat, "help", operators=[f"{PLATFORM}:w/ada"])).text
        for command in TABLE.values():
            assert command.summary in operator
            assert (command.summary in people) is (command.group is Group.PEOPLE)


async def test_an_operators_command_is_to_others_one_that_does_not_exist() -> None:
    async with chatting() as chat:
        assert (await type_in(chat, "status")).text == (await type_in(chat, "nosuchthing")).text
        assert "scripted" in (await type_in(chat, "status", operators=[f"{PLATFORM}:w/ada"])).text


async def test_sweep_tells_what_it_did() -> None:
    async with chatting() as chat:
        reply = await type_in(chat, "sweep", operators=[f"{PLATFORM}:w/ada"])
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
