"""Asking about a message by its menu, on the real discord.py: what the model reads, and what the asker is told."""

from dataclasses import replace

import pytest

from bot.adapters.discord.context_menu import NAME
from bot.chat import words
from store import StoreUnavailable
from tests.adapters.discord.interactive import address_of, interactive, key_of
from tests.fakes.discord import File
from tests.fakes.discord.interactions import DEFER

pytestmark = pytest.mark.anyio


async def test_the_message_is_quoted_and_its_asker_told_alone() -> None:
    async with interactive("Quite right.") as bot:
        ada, bob, general = bot.discord.user("ada"), bot.discord.user("bob"), bot.guild.channel("general")
        said = await bob.say(general, "Cats are better.\nMuch better.")
        asked = await ada.use_on(said, NAME)
        await bot.discord.until(lambda: asked.replies)
        assert asked.replies == [words.ASK_TAKEN]
        assert asked.ephemeral
        assert [response.kind for response in asked.responses] == [DEFER]
        await bot.quiet()
        assert bot.model.prompts[0][-1].text == (f"> bob wrote:\n> Cats are better.\n> Much better.\n\n{words.ASK_ABOUT}")
        assert bot.answers(general) == ["Quite right."]


async def test_the_question_is_the_askers_and_its_answer_a_reply_to_the_message(monkeypatch) -> None:
    async with interactive("Quite right.") as bot:
        ada, bob, general = bot.discord.user("ada"), bot.discord.user("bob"), bot.guild.channel("general")
        taken, take = [], bot.intake.take

        async def watched(message):
            taken.append(message)
            return await take(message)

        monkeypatch.setattr(bot.intake, "take", watched)
        said = await bob.say(general, "Cats are better.")
        asked = await ada.use_on(said, NAME)
        await bot.discord.until(lambda: len(bot.model.prompts) == 1)
        await bot.quiet()
        (question,) = taken
        assert question.author_id == str(ada.id)
        assert question.address == replace(address_of(general, reply_to=said), notify=False)
        assert (question.message_id, question.position) == (str(asked.id), asked.id)
        assert await bot.store.find(key_of(general, ada)) is not None
        assert await bot.store.find(key_of(general, bob)) is None
        assert bot.discord.pings == [], "whoever wrote the message asked for nothing"


async def test_files_and_forwarded_texts_come_along() -> None:
    async with interactive("I see.") as bot:
        ada, bob = bot.discord.user("ada"), bot.discord.user("bob")
        general, news = bot.guild.channel("general"), bot.guild.channel("news")
        original = await bob.say(news, "Cats have won.")
        forwarded = await bob.say(general, forward=original)
        await ada.use_on(forwarded, NAME)
        await bot.discord.until(lambda: len(bot.model.prompts) == 1)
        await bot.quiet()
        assert "> Cats have won." in bot.model.prompts[0][-1].text

        bot.model.add("I see this too.")
        with_file = await bob.say(general, attachments=[File("notes.txt", b"Cats.")])
        await ada.use_on(with_file, NAME)
        await bot.discord.until(lambda: len(bot.model.prompts) == 2)
        await bot.quiet()
        conversation = await bot.store.find(key_of(general, ada))
        assert conversation is not None
        question = (await bot.store.recent(conversation.id, 2))[0]
        assert [attachment.name for attachment in question.attachments] == ["notes.txt"]


async def test_a_message_of_another_bot_may_be_asked_about() -> None:
    async with interactive("A weather report.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        said = await bot.discord.user("weather", bot=True).say(general, "It rains.")
        await ada.use_on(said, NAME)
        await bot.discord.until(lambda: len(bot.model.prompts) == 1)
        await bot.quiet()
        assert "> It rains." in bot.model.prompts[0][-1].text


async def test_nobody_is_named_so_that_saying_it_again_would_ping_them() -> None:
    async with interactive("Loud.") as bot:
        ada, bob, general = bot.discord.user("ada"), bot.discord.user("bob"), bot.guild.channel("general")
        said = await bob.say(general, f"@everyone look at {ada.mention}")
        await ada.use_on(said, NAME)
        await bot.discord.until(lambda: len(bot.model.prompts) == 1)
        await bot.quiet()
        read = bot.model.prompts[0][-1].text
        assert "@ada" in read
        assert "@everyone" not in read
        assert ada.mention not in read


async def test_a_message_without_anything_to_read_is_said_to_be_one() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        said = await ada.say(general, "")
        asked = await ada.use_on(said, NAME)
        await bot.discord.until(lambda: asked.replies)
        assert asked.replies == [words.NOTHING_TO_READ]


async def test_in_a_channel_that_is_switched_off_the_asker_is_told() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await bot.choose("trigger", "off", at=general)
        asked = await ada.use_on(await ada.say(general, "Cats."), NAME)
        await bot.discord.until(lambda: asked.replies)
        assert asked.replies == [words.ASK_IGNORED]


async def test_where_the_bot_may_not_write_the_asker_is_told() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        general.deny("SEND_MESSAGES")
        asked = await ada.use_on(await ada.say(general, "Cats."), NAME)
        await bot.discord.until(lambda: asked.replies)
        assert asked.replies == [words.ASK_NO_ROOM]


async def test_where_answers_stand_in_threads_one_begins_at_the_message() -> None:
    async with interactive("In a thread.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await bot.choose("placement", "thread", at=general)
        said = await ada.say(general, "Cats.")
        await ada.use_on(said, NAME)
        await bot.discord.until(lambda: len(bot.model.prompts) == 1)
        await bot.quiet()
        assert bot.answers(bot.discord.channels[said.id]) == ["In a thread."]


async def test_in_a_thread_and_in_private_the_answer_stands_there() -> None:
    async with interactive("In the thread.", "In private.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        thread = await general.thread_from(await ada.say(general, "Thread?"), "talk")
        for count, place in enumerate((thread, bot.discord.dm(ada)), start=1):
            await ada.use_on(await ada.say(place, "Cats."), NAME)
            await bot.discord.until(lambda count=count: len(bot.model.prompts) == count)
            await bot.quiet()
        assert bot.answers(thread) == ["In the thread."]
        assert bot.answers(bot.discord.dm(ada)) == ["In private."]


async def test_a_call_that_is_delivered_twice_asks_once() -> None:
    async with interactive("Once.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        said = await ada.say(general, "Cats.")
        bot.discord.send_twice = True
        await ada.use_on(said, NAME)
        await bot.discord.until(lambda: len(bot.discord.asked("POST", "/interactions/**")) == 2)
        await bot.discord.until(lambda: len(bot.model.prompts) == 1)
        await bot.quiet()
        assert bot.answers(general) == ["Once."]


async def test_a_store_that_fails_is_told_to_the_asker(monkeypatch) -> None:
    async def failing(message: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        monkeypatch.setattr(bot.intake, "take", failing)
        asked = await ada.use_on(await ada.say(general, "Cats."), NAME)
        await bot.discord.until(lambda: asked.replies)
        assert asked.replies == [words.STORE_FAILED]
