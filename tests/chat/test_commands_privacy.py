"""What is kept of people is theirs: they take it away whole, and have it erased for good."""

import asyncio
import io
import json
import re
import zipfile
from typing import Any

import pytest

from bot.chat import words_commands as say
from bot.chat.policy import Rules, Scope
from bot.chat.protocol import CommandReply, Place
from store import Feedback
from tests.chat.chatting import KITCHEN, PLATFORM, Chat, chatting, until
from tests.chat.commanding import GUEST, table, text_of, type_in, typed

pytestmark = pytest.mark.anyio

SHARED = Rules(scope=Scope.CHANNEL)


def opened(reply: CommandReply) -> list[dict[str, Any]]:
    listed = []
    for file in reply.files:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            listed += json.loads(archive.read("conversations.json"))["conversations"]
    return listed


def said(reply: CommandReply) -> list[list[str]]:
    return [[message["text"] for message in conversation["messages"]] for conversation in opened(reply)]


async def asked(chat: Chat, text: str, **parts: Any) -> None:
    await chat.say(text, **parts)
    await chat.quiet()


async def test_an_export_is_all_that_was_said_and_of_nobody_else() -> None:
    async with chatting("To Ada.", "To Ada again.", "To Bob.") as chat:
        await asked(chat, "I am Ada.")
        await type_in(chat, "new")
        await asked(chat, "Still Ada.", channel="garden")
        await asked(chat, "I am Bob.", user="bob")
        reply = await type_in(chat, "export")
        assert reply.private
        assert said(reply) == [["I am Ada.", "To Ada."], ["Still Ada.", "To Ada again."]]
        assert "2 conversations with 4 messages in 1 file" in reply.text
        assert [file.name for file in reply.files] == ["parley-export-1-of-2026-01-01.zip"]
        assert said(await type_in(chat, "export", user="bob")) == [["I am Bob.", "To Bob."]]


async def test_an_export_of_a_shared_conversation_has_ones_own_part() -> None:
    async with chatting("To Ada.", "To Bob.", rules=SHARED) as chat:
        await asked(chat, "I am Ada.")
        await asked(chat, "I am Bob.", user="bob")
        assert said(await type_in(chat, "export", shared=True)) == [["I am Ada.", "To Ada."]]


async def test_an_export_has_nothing_of_another_workspace() -> None:
    async with chatting("Hello.") as chat:
        await asked(chat, "Secret")
        assert said(await type_in(chat, "export", workspace="v")) == []


async def test_an_export_tells_what_was_used() -> None:
    async with chatting("Hello.") as chat:
        await asked(chat, "Hello?")
        (file,) = (await type_in(chat, "export")).files
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            (day,) = json.loads(archive.read("conversations.json"))["usage"]
        assert (day["day"], day["turns"]) == ("2026-01-01", 1)


async def test_an_export_tells_what_one_thinks_of_answers() -> None:
    async with chatting("Hello.") as chat:
        await asked(chat, "Hello?", user="bob")
        conversation = await chat.store.find(chat.key(user="bob"))
        record = await chat.store.record(PLATFORM, "w", conversation.id)
        (turn,) = record.turns
        await chat.store.put_feedback(turn.id, "ada", Feedback.BAD, at=chat.clock.now())
        await chat.store.put_feedback(turn.id, "bob", Feedback.GOOD, at=chat.clock.now())
        (file,) = (await type_in(chat, "export")).files
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            listed = json.loads(archive.read("conversations.json"))
        assert listed["conversations"] == []
        (opinion,) = listed["feedback"]
        assert (opinion["conversation"], opinion["turn"], opinion["value"]) == (conversation.id, turn.id, "bad")


async def test_who_may_not_speak_may_still_take_away_and_erase_what_is_theirs() -> None:
    async with chatting("Hello.") as chat:
        await asked(chat, "I was a member once.")
        assert said(await type_in(chat, "export", standing=GUEST)) == [["I was a member once.", "Hello."]]
        assert "1 conversation, 2 messages" in await text_of(chat, "forget", standing=GUEST)
        assert await chat.history() == []


@pytest.mark.parametrize("argument", ["x", "1", "1-x", "'OR'1"])
async def test_an_export_goes_on_only_where_one_ended(argument: str) -> None:
    async with chatting() as chat:
        assert await text_of(chat, f"export {argument}") == say.EXPORT_FROM


async def test_an_export_that_is_more_than_a_reply_says_how_to_get_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.chat.commands_privacy.FILES", 2)
    monkeypatch.setattr("bot.chat.export._ROOM", 2500)
    async with chatting(*(f"Answer {number}" for number in range(5))) as chat:
        for number in range(5):
            await asked(chat, f"Question {number}")
        first = await type_in(chat, "export")
        assert len(first.files) == 2
        found, reply = said(first), first
        while more := re.search("`(export [0-9]+-[0-9]+)`", reply.text):
            reply = await type_in(chat, more[1])
            found += said(reply)
        texts = [text for messages in found for text in messages]
        assert texts == [text for _, text in await chat.history()]


async def test_forget_erases_this_conversation_and_no_other() -> None:
    async with chatting("Hello Ada.", "Hello Bob.") as chat:
        await asked(chat, "I am Ada.")
        await asked(chat, "I am Bob.", user="bob")
        assert "1 conversation, 2 messages" in await text_of(chat, "forget")
        assert await chat.history() == []
        assert len(await chat.history(user="bob")) == 2
        assert await text_of(chat, "forget") == say.NOTHING_HERE


async def test_forgetting_while_an_answer_is_under_way_leaves_nothing_behind() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await type_in(chat, "forget")
        await until(lambda: chat.turns.running == 0)
        assert await chat.history() == []


@pytest.mark.parametrize("line", ["forget", "forget everything"])
async def test_what_was_forgotten_is_not_revived_by_redelivery(line: str) -> None:
    async with chatting("Hello.") as chat:
        await asked(chat, "Secret", position=1)
        await type_in(chat, line)
        await asked(chat, "Secret", position=1)
        assert await chat.history() == []


async def test_forget_everything_erases_all_of_mine_and_nothing_of_others() -> None:
    async with chatting("To Ada.", "To Ada again.", "To Bob.") as chat:
        await asked(chat, "I am Ada.")
        await asked(chat, "Still Ada.", channel="garden")
        await asked(chat, "I am Bob.", user="bob")
        assert "2 conversations, 4 messages" in await text_of(chat, "forget everything")
        assert said(await type_in(chat, "export")) == []
        assert len(await chat.history(user="bob")) == 2


async def test_forget_everything_takes_ones_part_out_of_what_is_shared() -> None:
    async with chatting("To Ada.", "To Bob.", rules=SHARED) as chat:
        await asked(chat, "I am Ada.")
        await asked(chat, "I am Bob.", user="bob")
        await type_in(chat, "forget everything", shared=True)
        await chat.quiet()
        assert await chat.history(user="") == [("user", "I am Bob."), ("assistant", "To Bob.")]
        assert chat.surface.texts(KITCHEN) == ["To Bob."]


async def test_forget_everything_stops_what_is_under_way() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await type_in(chat, "forget everything")
        await until(lambda: chat.turns.running == 0)
        assert await chat.history() == []


async def test_a_shared_conversation_is_erased_whole_only_by_those_who_took_part_and_may_speak() -> None:
    async with chatting("To Ada.", rules=SHARED) as chat:
        await asked(chat, "I am Ada.")
        assert await text_of(chat, "forget", shared=True, user="bob") == say.NOT_YOURS_ALONE
        assert await text_of(chat, "forget", shared=True, user="gus", standing=GUEST) == say.NOT_YOURS_TO_ERASE
        assert await text_of(chat, "forget", shared=True, standing=GUEST) == say.NOT_YOURS_TO_ERASE
        assert len(await chat.history(user="")) == 2
        assert "2 messages" in await text_of(chat, "forget", shared=True)


async def test_a_direct_conversation_is_ones_own() -> None:
    async with chatting() as chat:
        call = typed(chat, "forget", shared=True, place=Place.DIRECT)
        await chat.store.get_or_create(call.key, at=chat.clock.now())
        assert "Forgotten for good" in (await table(chat).handle(call)).text


@pytest.mark.parametrize("line", ["forget", "forget everything"])
async def test_a_receipt_is_kept_and_says_neither_who_nor_what(line: str) -> None:
    async with chatting("Hello.") as chat:
        await asked(chat, "Secret")
        text = await text_of(chat, line)
        receipt = re.search(r"Receipt ([0-9A-F]{8})\.", text)
        assert receipt is not None
        (entry,) = await chat.audited()
        assert entry.target == f"receipt {receipt[1]}"
        assert (entry.author_id, entry.channel) == ("", "")
        assert entry.after == "1 conversation, 2 messages"
