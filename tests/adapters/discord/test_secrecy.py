"""What stands in the log: at every level no word that people wrote or read, no token, and no address that works like one."""

import io

import pytest

from store import StoreUnavailable
from tests.adapters.discord.answering import Bot, parley
from tests.fakes.discord import File

pytestmark = pytest.mark.anyio

PIN = "pin-90-71"
QUESTION, ANSWER = f"my pin is {PIN}", f"your pin was {PIN}"
EXPECTED = ("intake.accepted", "discord.notice_not_posted", "interaction.failed", "discord.not_handled", "discord.waiting")
"""What the log tells of when people do all that."""


async def test_nothing_that_was_said_stands_in_the_log_at_any_level(written: io.StringIO) -> None:
    async with parley(*[ANSWER] * 9) as bot:
        await talk(bot)
        for event in EXPECTED:
            await bot.until(lambda event=event: event in written.getvalue())
        tokens = [interaction.token for interaction in bot.discord.interactions]
        token = bot.discord.token
    said = written.getvalue()
    assert PIN not in said
    assert len(tokens) > 2
    for secret in (token, *tokens):
        assert secret not in said


async def talk(bot: Bot) -> None:
    """Let people do all that they can, also what fails."""
    channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
    question = await ada.say(channel, f"{bot.me} {QUESTION}", attachments=[File(f"{PIN}.txt", PIN.encode())])
    await bot.until(lambda: bot.answers(channel) and bot.answers(channel)[-1].labels == ["Regenerate"])
    await bot.quiet()
    await ada.edit(question, f"{bot.me} {QUESTION}!")
    await bot.quiet()
    await ada.use_on(bot.answers(channel)[-1], "Ask Parley about this")
    await bot.quiet()
    await ada.click(bot.answers(channel)[-1], "Regenerate")
    await bot.quiet()
    bot.discord.fail("POST", "/channels/*/messages", status=400, body={"message": ANSWER, "code": 50035})
    await ada.say(channel, f"{bot.me} {QUESTION * 2000}")
    await ada.slash(channel, "chat", "history")
    await ada.say(bot.discord.dm(ada), QUESTION)
    await bot.quiet()

    async def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot handle {QUESTION}")

    bot.parley.store.find = broken  # type: ignore[method-assign]
    await ada.slash(channel, "chat", "history")
    await ada.say(await channel.start_thread("bread"), QUESTION)
    bot.parley.store.accept_and_claim = full  # type: ignore[method-assign]
    await ada.say(bot.discord.dm(ada), QUESTION)
