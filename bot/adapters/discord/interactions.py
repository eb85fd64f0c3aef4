"""Interactions: commands, presses and menu entries, acknowledged in time, carried out once and answered.

Discord waits 3 seconds for the first response and takes what follows for 15 minutes. So the acknowledgement is the first
thing that happens, and what could not be acknowledged is not carried out: its maker was told that it failed and will repeat
it, or another process was first. While two sessions hear one shard both are told of each interaction, and Discord takes one
acknowledgement.
"""

import io
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

import discord
import structlog

from bot.adapters.discord.places import PLATFORM, Places
from bot.adapters.discord.rest_errors import Code, translated
from bot.adapters.discord.surface import LIMITS
from bot.adapters.failures import describe
from bot.adapters.where import Where
from bot.chat import words
from bot.chat.protocol import Address, CommandReply, DeliveryError, ReplyFile, Unreachable
from bot.chat.splitting import parts_of

PARTS = 5
"""Messages of one reply; a longer one is a file."""
FILE_NAME = "reply.md"
TOKEN_IS_OVER = (10015, 50027)
"""What Discord says after the 15 minutes: unknown webhook, invalid webhook token."""
log = structlog.get_logger(__name__)


async def respond(
    interaction: discord.Interaction[Any], work: Callable[[], Awaitable[CommandReply]], *, private: bool = True
) -> None:
    """Acknowledge an interaction, do its `work` at most once, and show what that says, if anything, and its files.

    An outermost loop: never raises. A command looks like thinking meanwhile, to everybody unless it is `private`; a press
    shows nothing.
    """
    try:
        with translated(repeatable=False):
            await interaction.response.defer(ephemeral=private)
    except DeliveryError as exc:
        note_unanswered(interaction, exc)
        return
    try:
        reply = await work()
    except Exception as exc:  # noqa: BLE001 - whoever waits for an answer gets one
        log.error("interaction.failed", kind=interaction.type.name, error=describe(exc))
        reply = CommandReply(text=words.COMMAND_FAILED)
    if reply.text:
        await _answer(interaction, reply.text, private=private)
    for file in reply.files:
        await _hand_over(interaction, file)


def note_unanswered(interaction: discord.Interaction[Any], exc: DeliveryError) -> None:
    """Log that an interaction could not be acknowledged; that another process did it is as it should be."""
    first = exc.__cause__
    if isinstance(first, discord.HTTPException) and first.code == Code.ALREADY_ANSWERED:
        log.debug("interaction.taken_elsewhere", kind=interaction.type.name)
    else:
        log.warning("interaction.dead", kind=interaction.type.name, reason=str(exc))


async def place_of(
    interaction: discord.Interaction[Any], places: Places, *, reply_to: int | None = None
) -> tuple[Where, Address]:
    """Say where an interaction was made, and where an answer to it goes: in reply to a message, if one is named.

    Raises:
        DeliveryError: it can't be told.
    """
    if not isinstance(interaction.channel, discord.abc.Messageable):
        raise Unreachable("nobody can write where this was called from")
    where = await places.of(interaction.channel)
    return where, Address(
        platform=PLATFORM,
        workspace=where.workspace,
        channel=where.channel,
        thread=where.thread,
        reply_to="" if reply_to is None else str(reply_to),
    )


async def _answer(interaction: discord.Interaction[Any], text: str, *, private: bool) -> None:
    replies = [part.text for part in islice(parts_of(text, LIMITS.part, LIMITS.measure), PARTS + 1)]
    try:
        with translated(repeatable=False):
            if len(replies) > PARTS:
                await _send(interaction, "", file=ReplyFile(name=FILE_NAME, data=text.encode()), private=private)
                return
            for reply in replies:
                await _send(interaction, reply, private=private)
    except DeliveryError as exc:
        log.warning("interaction.not_answered", kind=interaction.type.name, reason=str(exc))


async def _hand_over(interaction: discord.Interaction[Any], file: ReplyFile) -> None:
    """Send a file to the caller alone, by a message of its own, or say why it does not come."""
    if len(file.data) > interaction.filesize_limit:
        await _answer(interaction, words.file_too_large(file.name, interaction.filesize_limit), private=True)
        return
    try:
        with translated(repeatable=False):
            await _send(interaction, "", file=file, private=True)
    except DeliveryError as exc:
        log.warning("interaction.file_not_sent", kind=interaction.type.name, reason=str(exc))
        await _answer(interaction, words.file_not_sent(file.name), private=True)


async def _send(interaction: discord.Interaction[Any], text: str, *, file: ReplyFile | None = None, private: bool) -> None:
    """Send one message that pings nobody and unfurls nothing; after the 15 minutes, to the channel if it is for all."""
    nobody = discord.AllowedMentions.none()
    try:
        await interaction.followup.send(
            text, files=_attached(file), ephemeral=private, suppress_embeds=True, allowed_mentions=nobody
        )
    except discord.HTTPException as exc:
        if private or exc.code not in TOKEN_IS_OVER or interaction.channel_id is None:
            raise
        channel = interaction.client.get_partial_messageable(interaction.channel_id)
        await channel.send(text, files=_attached(file), suppress_embeds=True, allowed_mentions=nobody)


def _attached(file: ReplyFile | None) -> list[discord.File]:
    return [discord.File(io.BytesIO(file.data), file.name)] if file is not None else []
