"""What reaches the chat with a command, a press or a menu's entry: who it is, where, what was typed; and what comes back."""

from typing import Any

import pytest

from bot.adapters.discord.context_menu import NAME
from bot.chat import words
from bot.chat.callers import MEMBER, Kind, Standing
from bot.chat.protocol import CommandReply, Place, ReplyFile
from tests.adapters.discord.interactive import InteractiveBot, interactive
from tests.fakes.discord import Channel, User
from tests.fakes.discord.files import LIMIT
from tests.fakes.discord.messages import EPHEMERAL

pytestmark = pytest.mark.anyio


def watched(monkeypatch: pytest.MonkeyPatch, owner: object, method: str) -> list[Any]:
    """Note what a method of the chat is called with, and let it do its work."""
    seen: list[Any] = []
    real = getattr(owner, method)

    async def noting(call: Any) -> Any:
        seen.append(call)
        return await real(call)

    monkeypatch.setattr(owner, method, noting)
    return seen


def answering(monkeypatch: pytest.MonkeyPatch, bot: InteractiveBot, *files: ReplyFile, text: str = "Here it is.") -> None:
    """Let every command answer with these files."""

    async def handle(_: object) -> CommandReply:
        return CommandReply(text=text, files=files)

    monkeypatch.setattr(bot.commands, "handle", handle)


def cook(bot: InteractiveBot) -> tuple[User, Channel, Standing]:
    """Let somebody with a role into a channel with a category."""
    ada, role = bot.discord.user("ada"), bot.guild.role("cooks")
    bot.guild.join(ada, [role])
    channel = bot.guild.channel("stove", category=bot.guild.channel("kitchen", kind="category"))
    return ada, channel, Standing(kind=Kind.MEMBER, groups=frozenset({str(role.id)}))


async def test_a_command_tells_who_calls_it_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive() as bot:
        ada, stove, standing = cook(bot)
        calls = watched(monkeypatch, bot.commands, "handle")
        thread = await stove.start_thread("bread")
        for place in (stove, thread, bot.discord.dm(ada)):
            await ada.slash(place, "chat", "help")
        await bot.discord.until(lambda: len(calls) == 3)
        category = str(stove.category.id)
        assert [(call.place, call.category, call.standing) for call in calls] == [
            (Place.CHANNEL, category, standing),
            (Place.THREAD, category, standing),
            (Place.DIRECT, "", MEMBER),
        ]
        assert [call.caller.channel for call in calls[:2]] == [str(stove.id)] * 2
        assert [call.caller.direct for call in calls] == [False, False, True]


async def test_a_press_tells_who_presses_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive("One.", "Two.") as bot:
        ada, stove, standing = cook(bot)
        presses = watched(monkeypatch, bot.presses, "press")
        await bot.hear(await ada.say(stove, "Question"))
        await bot.quiet()
        await ada.click(bot.shown(stove)[-1], "Regenerate")
        await bot.discord.until(lambda: presses)
        (press,) = presses
        assert (press.place, press.category, press.standing) == (Place.CHANNEL, str(stove.category.id), standing)


async def test_a_menus_entry_tells_who_asks_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive("Quite right.") as bot:
        ada, stove, standing = cook(bot)
        taken = watched(monkeypatch, bot.intake, "take")
        await ada.use_on(await ada.say(stove, "Cats are better."), NAME)
        await bot.discord.until(lambda: taken)
        await bot.quiet()
        (question,) = taken
        assert (question.category, question.standing) == (str(stove.category.id), standing)


async def test_people_roles_and_channels_typed_into_a_text_come_as_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive() as bot:
        ada, stove, _ = cook(bot)
        calls = watched(monkeypatch, bot.commands, "handle")
        typed = f"{ada.mention} <@&5> {stove.mention} <!> @everyone"
        await ada.slash(stove, "chat", "persona", text=typed)
        await bot.discord.until(lambda: calls)
        assert calls[0].argument == typed


async def test_files_come_to_the_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answering(monkeypatch, bot, ReplyFile(name="all.zip", data=b"PK"), ReplyFile(name="usage.csv", data=b"day,turns\n"))
        call = await ada.slash(general, "chat", "help")
        await bot.discord.until(lambda: len(call.messages) == 3)
        assert call.replies[0] == "Here it is."
        attached = [(file.name, file.data) for message in call.messages for file in message.attachments]
        assert attached == [("all.zip", b"PK"), ("usage.csv", b"day,turns\n")]
        assert all(message.flags & EPHEMERAL for message in call.messages)
        assert general.messages == []


async def test_a_file_that_discord_does_not_take_is_told_and_the_next_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        fits, over = ReplyFile(name="fits.zip", data=bytes(LIMIT)), ReplyFile(name="over.zip", data=bytes(LIMIT + 1))
        answering(monkeypatch, bot, over, fits)
        call = await ada.slash(general, "chat", "help")
        await bot.discord.until(lambda: len(call.messages) == 3)
        assert call.replies[:2] == ["Here it is.", words.file_too_large("over.zip", LIMIT)]
        assert [len(file.data) for file in call.messages[2].attachments] == [LIMIT]


async def test_a_file_that_does_not_get_through_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answering(monkeypatch, bot, ReplyFile(name="all.zip", data=b"PK"), text="")
        bot.discord.fail("POST", "/webhooks/**", status=400, body={"message": "no", "code": 50035})
        call = await ada.slash(general, "chat", "help")
        await bot.discord.until(lambda: call.replies)
        assert call.replies == [words.file_not_sent("all.zip")]
        assert call.ephemeral
