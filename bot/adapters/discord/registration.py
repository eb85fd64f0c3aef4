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
from bot.adapters.discord.places import Places
from bot.adapters.discord.rest_errors import FAILURES, translated
from bot.adapters.discord.slash import SlashCommands
from bot.chat import words
from bot.chat.authority import Authority
from bot.chat.commands import Commands
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.protocol import DeliveryError
from bot.chat.rules import RuleBook
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
            log.warning("interaction.dead", kind=interaction.type.name, reason=str(exc))


async def install(
    client: discord.Client,
    *,
    commands: Commands,
    presses: ControlPresses,
    intake: Intake,
    authority: Authority,
    store: Store,
    rules: RuleBook,
    clock: Clock,
) -> None:
    """Let a client that has logged in, and is not connected yet, take commands, presses and menu entries.

    Never raises for what Discord or the store do: what people say matters more than what they can choose from a menu.
    """
    places = Places(lambda: client, clock)
    client.add_dynamic_items(control_button(presses, places, clock))
    tree = Tree(client)
    for group in SlashCommands(commands, places=places, rules=rules, clock=clock).groups():
        tree.add_command(group)
    tree.add_command(AskAbout(intake, authority=authority, places=places, rules=rules).entry())
    await _register(tree, store, clock)


async def _register(tree: Tree, store: Store, clock: Clock) -> None:
    """Tell Discord the commands unless it has been told exactly these; what fails is tried again at the next start."""
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
