"""Slash commands: the rows of the command table as Discord shows them, and a call of one of them.

`/chat` and `/parley` are the table's two groups. Discord's own permission on `/parley` only keeps it out of most people's
sight; who may do what is decided at every call, by `bot.chat.commands`.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import discord
import structlog
from discord import AppCommandOptionType, app_commands

from bot.adapters.discord.interactions import place_of, respond
from bot.adapters.discord.places import PLATFORM, Places, category_of
from bot.adapters.discord.standing import of_caller
from bot.chat.commands import SUGGESTIONS, TABLE, Command, Commands, Group
from bot.chat.options import Option, OptionKind, OptionRefused, join_options
from bot.chat.policy import key_of
from bot.chat.protocol import CommandCall, CommandReply, DeliveryError
from bot.chat.rules import RuleBook
from bot.clock import Clock, time_limit

DESCRIPTIONS = {
    Group.PEOPLE: "Your conversation with Parley",
    Group.OPERATORS: "Run Parley, for its operators",
}
SUGGESTION_LENGTH = 100
"""Discord takes no longer suggestions."""
SUGGESTING = timedelta(seconds=2)
"""Discord takes no suggestions after 3 seconds."""

Choice = app_commands.Choice[int | float | str]

log = structlog.get_logger(__name__)


class SlashCommands:
    """Offers the table as two groups of commands, and hands calls to it."""

    def __init__(self, commands: Commands, *, places: Places, rules: RuleBook, clock: Clock) -> None:
        self._commands = commands
        self._places = places
        self._rules = rules
        self._clock = clock

    def groups(self) -> list[app_commands.Group]:
        """Build the groups, with the table's rows in its order."""
        return [self._group(group) for group in Group]

    async def suggest(self, interaction: discord.Interaction[Any], row: Command, option: Option, typed: str) -> list[str]:
        """Say what could be meant by what was `typed` into an option so far; nothing rather than too late."""
        try:
            async with time_limit(self._clock, SUGGESTING):
                before = {known.name for known in row.options[: row.options.index(option)]}
                chosen = {name: value for name, value in interaction.namespace if name in before}
                call = replace(await self._call(interaction, row), argument=_argument(row, chosen))
                found = await self._commands.suggest(call, option, typed)
        except (OptionRefused, DeliveryError, TimeoutError) as exc:  # whoever types goes on without
            log.warning("command.not_suggested", command=row.path, option=option.name, reason=type(exc).__name__)
            return []
        return [text for text in found if 0 < len(text) <= SUGGESTION_LENGTH][:SUGGESTIONS]

    def _group(self, group: Group) -> app_commands.Group:
        hint = discord.Permissions(manage_guild=True) if group is Group.OPERATORS else None
        built = app_commands.Group(name=group.value, description=DESCRIPTIONS[group], default_permissions=hint)
        for row in TABLE.values():
            if row.group is group:
                built.add_command(self._command(row))
        return built

    def _command(self, row: Command) -> app_commands.Command[Any, ..., None]:
        async def run(interaction: discord.Interaction[Any], **chosen: str | int | None) -> None:
            await respond(interaction, lambda: self._run(interaction, row, chosen), private=row.private)

        # discord.py learns a command's options from its callback's signature; ours stand in the table.
        first = inspect.Parameter("interaction", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        options = [self._parameter(row, option) for option in row.options]
        run.__signature__ = inspect.Signature([first, *options])  # type: ignore[attr-defined]
        app_commands.describe(**{option.name: sentence(option.summary) for option in row.options})(run)
        return app_commands.Command(name=row.name, description=sentence(row.summary), callback=run)

    async def _run(
        self, interaction: discord.Interaction[Any], row: Command, chosen: Mapping[str, str | int | None]
    ) -> CommandReply:
        call = await self._call(interaction, row)
        try:
            call = replace(call, argument=_argument(row, chosen))
        except OptionRefused as exc:
            if await self._commands.offers(call):  # to others there is no such command, whatever they choose for it
                return CommandReply(text=str(exc))
        reply = await self._commands.handle(call)
        return replace(reply, text=in_columns(reply.text)) if reply.columns else reply

    def _parameter(self, row: Command, option: Option) -> inspect.Parameter:
        return inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if option.required else None,
            annotation=_Value(option) if option.suggests is None else _SuggestedValue(self, row, option),
        )

    async def _call(self, interaction: discord.Interaction[Any], row: Command) -> CommandCall:
        where, address = await place_of(interaction, self._places)
        author_id = str(interaction.user.id)
        return CommandCall(
            name=row.path,
            argument="",
            place=where.place,
            key=key_of(where.place, address, author_id, self._rules.of(PLATFORM, address.workspace, address.channel)),
            address=address,
            author_id=author_id,
            author_name=interaction.user.display_name,
            standing=of_caller(interaction),
            category=category_of(where, interaction.guild),
            at=self._clock.now(),
        )


class _Value(app_commands.Transformer):
    """An option of the table as discord.py describes it; its value comes as it was chosen."""

    def __init__(self, option: Option) -> None:
        self._option = option

    @property
    def type(self) -> AppCommandOptionType:
        return AppCommandOptionType.integer if self._option.kind is OptionKind.INTEGER else AppCommandOptionType.string

    @property
    def min_value(self) -> int | None:
        return self._option.minimum

    @property
    def max_value(self) -> int | None:
        """The greatest number, or the most characters of a text."""
        return self._option.longest if self._option.kind is OptionKind.TEXT else self._option.maximum

    @property
    def choices(self) -> list[Choice] | None:
        return [Choice(name=choice, value=choice) for choice in self._option.choices] or None

    async def transform(self, interaction: discord.Interaction[Any], value: object, /) -> object:
        return value


class _SuggestedValue(_Value):
    """An option whose values are suggested while somebody types."""

    def __init__(self, commands: SlashCommands, row: Command, option: Option) -> None:
        super().__init__(option)
        self._commands = commands
        self._row = row

    async def autocomplete(self, interaction: discord.Interaction[Any], value: int | float | str, /) -> list[Choice]:
        found = await self._commands.suggest(interaction, self._row, self._option, str(value))
        return [Choice(name=text, value=text) for text in found]


def _argument(row: Command, chosen: Mapping[str, str | int | None]) -> str:
    """Write what was chosen as the line that somebody would have typed.

    Raises:
        OptionRefused.
    """
    return join_options(row.options, {name: value for name, value in chosen.items() if value is not None})


def in_columns(text: str) -> str:
    """Show text in letters of one width, whatever stands in it."""
    return "```\n" + text.replace("```", "`") + "\n```"


def sentence(summary: str) -> str:
    """Begin a summary of the table with a capital, as Discord's own descriptions do."""
    return summary[:1].upper() + summary[1:]
