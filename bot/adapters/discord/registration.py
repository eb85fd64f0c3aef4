"""What people reach by interactions, put on a client; Discord is told of it only when it has changed.

Discord keeps an application's commands and lets it make 200 new ones a day, so a start that brings nothing new says nothing.
"""

import hashlib
import json
from datetime import timedelta
from typing import Any

import discord
import structlog
from discord import app_commands

from bot.adapters.discord.buttons import control_button
from bot.adapters.discord.context_menu import AskAbout
from bot.adapters.discord.interactions import note_unanswered
from bot.adapters.discord.places import Places
from bot.adapters.discord.rest_errors import FAILURES, translated
from bot.adapters.discord.slash import SlashCommands
from bot.adapters.protocol import Inside
from bot.chat import words
from bot.chat.protocol import DeliveryError
from bot.clock import Clock, time_limit
from store import Store, StoreError

PATIENCE = timedelta(seconds=20)
"""How long a start waits for Discord to take the commands."""
DAILY_LIMIT = 30034

log = structlog.get_logger(__name__)


class Tree(app_commands.CommandTree[Any]):
    """Commands for servers and the bot's direct messages. What is wrong with a call is told to whoever made it."""

    def __init__(self, client: discord.Client) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=False),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )

    async def on_error(self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /) -> None:
        """Answer a call that reached no command: somebody's Discord still shows the commands of another version."""
        log.warning("interaction.not_understood", kind=interaction.type.name, reason=type(error).__name__)
        if interaction.type is not discord.InteractionType.application_command or interaction.response.is_done():
            return
        try:
            with translated(repeatable=False):
                await interaction.response.send_message(words.COMMAND_CHANGED, ephemeral=True)
        except DeliveryError as exc:
            note_unanswered(interaction, exc)


def install(client: discord.Client, inside: Inside, clock: Clock) -> Tree:
    """Let a client that has not logged in yet take commands, presses and menu entries."""
    places = Places(lambda: client, clock)
    client.add_dynamic_items(control_button(inside.presses, places, clock))
    tree = Tree(client)
    for group in SlashCommands(inside.commands, places=places, rules=inside.rules, clock=clock).groups():
        tree.add_command(group)
    tree.add_command(AskAbout(inside.intake, authority=inside.authority, places=places, rules=inside.rules).entry())
    return tree


async def register(tree: Tree, store: Store, clock: Clock) -> None:
    """Tell Discord the commands of a client that is logged in, unless it has been told exactly these.

    Never raises for what Discord or the store do: what people say matters more than what they can choose from a menu. What
    fails is tried again at the next start.
    """
    note = f"discord.commands.{tree.client.application_id}"
    seal = seal_of(tree)
    try:
        if await store.recall(note) == seal:
            return
        async with time_limit(clock, PATIENCE):
            await tree.sync()
        await store.remember(note, seal)
        log.info("discord.commands_registered", seal=seal)
    except (*FAILURES, StoreError) as exc:
        full = isinstance(exc, discord.HTTPException) and exc.code == DAILY_LIMIT
        remedy = "200 new commands a day are Discord's limit: start again tomorrow" if full else "the next start tries again"
        log.error("discord.commands_not_registered", reason=str(exc) or type(exc).__name__, remedy=remedy)


def seal_of(tree: Tree) -> str:
    """Hash what Discord would be told, whatever its order."""
    told = sorted(json.dumps(command.to_dict(tree), sort_keys=True) for command in tree.get_commands())
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
