"""The entry of a message's menu that asks about it: the message becomes a quote, and its files come along.

Discord hands the message over with the press, so this works without the message-content intent too.
"""

from dataclasses import replace
from typing import Any

import discord
from discord import app_commands

from bot.adapters.discord.inbound import offered_by, shown_by
from bot.adapters.discord.interactions import place_of, respond
from bot.adapters.discord.permissions import may_answer
from bot.adapters.discord.places import PLATFORM, Places, category_of
from bot.adapters.discord.standing import of_caller
from bot.chat import words
from bot.chat.authority import Authority, Rank
from bot.chat.intake import Intake, Verdict
from bot.chat.policy import Placement
from bot.chat.protocol import CommandReply, IncomingMessage, Place
from bot.chat.rules import RuleBook
from store import StoreError

NAME = "Ask Parley about this"
ACTION = "ask"
"""What the log of governing calls it."""


class AskAbout:
    """Takes the question in, and tells its asker alone that it did; the answer stands below, for everybody."""

    def __init__(self, intake: Intake, *, authority: Authority, places: Places, rules: RuleBook) -> None:
        self._intake = intake
        self._authority = authority
        self._places = places
        self._rules = rules

    def entry(self) -> app_commands.ContextMenu:
        """Build the menu's entry."""

        async def ask(interaction: discord.Interaction[Any], message: discord.Message) -> None:
            async def work() -> CommandReply:
                return CommandReply(text=await self._ask(interaction, message))

            await respond(interaction, work)

        return app_commands.ContextMenu(name=NAME, callback=ask)

    async def _ask(self, interaction: discord.Interaction[Any], message: discord.Message) -> str:
        question = await self._question(interaction, message)
        if refusal := await self._authority.authorise(question.caller, ACTION, Rank.PERSON):
            return refusal
        if interaction.guild_id is not None and not may_answer(interaction.app_permissions, question.place):
            return words.ASK_NO_ROOM
        if not question.files and not any(quote.text.strip() for quote in question.quotes):
            return words.NOTHING_TO_READ
        try:
            outcome = await self._intake.take(question)
        except StoreError:
            return words.STORE_FAILED
        match outcome.verdict:
            case Verdict.TAKEN | Verdict.KNOWN:
                return outcome.notice or words.ASK_TAKEN
            case Verdict.IGNORED:
                return words.ASK_IGNORED
        return outcome.notice

    async def _question(self, interaction: discord.Interaction[Any], message: discord.Message) -> IncomingMessage:
        where, address = await place_of(interaction, self._places, reply_to=message.id)
        place = where.place
        rules = self._rules.of(PLATFORM, address.workspace, address.channel)
        if place is Place.CHANNEL and rules.placement is Placement.THREAD:
            # A thread begins at the message that is asked about: the interaction is none, so none can begin at it.
            place, address = Place.THREAD, replace(address, thread=address.reply_to)
        address = replace(address, notify=False)  # it replies to somebody who asked for nothing
        return IncomingMessage(
            place=place,
            address=address,
            event_id="",
            message_id=str(interaction.id),
            position=interaction.id,
            author_id=str(interaction.user.id),
            author_name=interaction.user.display_name,
            text=words.ASK_ABOUT,
            sent_at=interaction.created_at,
            standing=of_caller(interaction),
            category=category_of(where, interaction.guild),
            addressed=True,
            quotes=shown_by(message),
            files=offered_by(message),
        )
