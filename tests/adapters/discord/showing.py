"""What the tests of the surface share: the buttons of an answer, and what people see of it."""

import asyncio
from types import SimpleNamespace

import pytest

from bot.chat.protocol import (
    FileOffer,
)
from tests.fakes.discord import Channel, Message

POSTS = "/channels/*/messages"
ONE = "/channels/*/messages/*"
EVERYONE = "@everyone @here <@&{role}> <@{bob}> hello"


def answers(channel: Channel) -> list[Message]:
    """What the bot has written, as people see it now."""
    return [message for message in channel.messages if message.author is channel.discord.bot]


def offer(message: Message) -> FileOffer:
    """Write the message's one file as the adapter offers it."""
    [file] = message.attachments
    return FileOffer(name=file.name, media_type="text/plain", size=len(file.data), url=file.url)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the waits of 1, 3, 5 ... seconds between two tries out of discord.py."""

    async def hardly_sleep(_: float) -> None:
        await asyncio.sleep(0.001)

    monkeypatch.setattr("discord.http.asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": hardly_sleep}))
