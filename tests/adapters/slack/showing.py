"""A surface on a fake Slack, and what people see of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.surface import SlackSurface
from bot.chat.protocol import Address, FileOffer
from bot.clock import Clock, SystemClock
from tests.fakes.slack import Channel, FakeSlack, Message


@asynccontextmanager
async def surface_on(
    slack: FakeSlack, clock: Clock | None = None, *, installed: bool = True, **options: Any
) -> AsyncIterator[SlackSurface]:
    """Make a surface with the bot's token, as a process that has just begun."""
    token = slack.bot_token if installed else None
    clients = SlackClients(clock or SystemClock(), base_url=slack.api_url, token=token)
    try:
        yield SlackSurface(clients, clock or SystemClock(), api_base_url=slack.api_url, **options)
    finally:
        await clients.close()


def below(question: Message, *, thread: bool = True) -> Address:
    """The address of an answer: in the thread of the question, or beside it."""
    channel = question.channel
    return Address(
        platform="slack",
        workspace=channel.team.id,
        channel=channel.id,
        thread=question.root_ts if thread else "",
        reply_to=question.ts,
    )


def answers(channel: Channel) -> list[Message]:
    """What the bot has written that can be seen now."""
    return [message for message in channel.messages if message.author is channel.team.bot]


def text_of(message: Message) -> str:
    """What people read of an answer's text, without its buttons."""
    if message.stream is not None or not message.blocks:
        return message.text
    kinds = {"markdown": "text", "section": "text", "rich_text": "elements"}
    shown = [block[kinds[block["type"]]] for block in message.blocks if block["type"] in kinds]
    return "".join(_plain(part) for part in shown)


def _plain(part: Any) -> str:
    if isinstance(part, list):
        return "".join(_plain(piece.get("elements", piece.get("text"))) for piece in part)
    if isinstance(part, dict):
        part = part["text"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return str(part)


def offer(message: Message) -> FileOffer:
    """Write the message's one file as the adapter offers it."""
    [file] = message.files
    return FileOffer(name=file.name, media_type=file.mimetype, size=len(file.data), url=file.json()["url_private"])
