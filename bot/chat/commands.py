"""The dispatcher of commands: who may run what, decided at every call, and one answer to each, whatever happens.

What there is to run stands in `bot.chat.command_table`.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches

import structlog

from bot.chat import words
from bot.chat import words_commands as say
from bot.chat.authority import Rank
from bot.chat.callers import Caller
from bot.chat.command_table import TABLE, Command, Group, find, listed, rows_for
from bot.chat.commands_parts import Parts
from bot.chat.commands_people import HISTORY_DEFAULT, HISTORY_MOST, keep_longer
from bot.chat.commands_privacy import forget_one
from bot.chat.options import Option, OptionRefused, read_options, split_options
from bot.chat.protocol import CommandCall, CommandReply
from bot.chat.rules import SettingRefused
from store import Conversation, StoreError, UnstorableText

__all__ = [
    "FORGET",
    "HISTORY_DEFAULT",
    "HISTORY_MOST",
    "KEEP",
    "SUGGESTIONS",
    "TABLE",
    "Command",
    "Commands",
    "Group",
    "Parts",
    "find",
]

SUGGESTIONS = 25
"""What is suggested at once: Discord shows no more."""
LONGEST_NAME = 100
"""Characters of a name that is looked for among the commands: what is longer resembles none."""

FORGET, KEEP = "chat forget", "chat keep"
ON_LISTED = {FORGET: forget_one, KEEP: keep_longer}
"""What can be done to a conversation that is chosen from a list."""

log = structlog.get_logger(__name__)


class Commands:
    """Runs commands on one installation."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: CommandCall) -> CommandReply:
        """Answer a command, by its path or its name alone. When the store fails, the caller is told in one sentence."""
        row = find(call.name)
        if row is None:
            return self._no_such_command(call)
        if refusal := await self._parts.authority.authorise(call.caller, row.path, row.needs):
            if row.group is Group.OPERATORS and not self._operates(call):
                # An operators' command is answered to others exactly like one that does not exist.
                return self._no_such_command(call)
            return CommandReply(text=refusal)
        reply = await self._carry_out(row, replace(call, name=row.path))
        log.info("command.handled", command=row.path, platform=call.key.platform)
        return reply

    async def suggest(self, call: CommandCall, option: Option, typed: str) -> list[str]:
        """Propose values for an option that begin as `typed` does, at most `SUGGESTIONS`; never raises.

        `call` has the values of the other options. Who may not run the command is not helped with it.
        """
        row = find(call.name)
        if row is None or option.suggests is None:
            return []
        if await self._parts.authority.authorise(call.caller, row.path, row.needs):
            return []
        given = split_options(row.options, call.argument)
        try:
            proposed = await option.suggests(self._parts, replace(call, name=row.path), given)
        except StoreError as exc:
            log.warning("command.not_suggested", command=row.path, option=option.name, reason=type(exc).__name__)
            return []
        begun = typed.strip().lower()
        return [value for value in proposed if value.lower().startswith(begun)][:SUGGESTIONS]

    async def offers(self, call: CommandCall) -> bool:
        """Tell whether there is such a command for whoever calls; for others its name is a word like any other."""
        row = find(call.name)
        rank = self._parts.authority.rank(call.caller)
        return row is not None and rank is not None and rank >= row.needs

    async def overview(self, call: CommandCall, group: Group) -> CommandReply:
        """List the commands of one group that whoever calls may run: the answer to a line that names none of them."""
        needs = Rank.OPERATOR if group is Group.OPERATORS else Rank.ANYONE
        if await self._parts.authority.authorise(call.caller, group.value, needs):
            return self._no_such_command(call)
        rows = rows_for(self._parts.authority.rank(call.caller), group)
        return CommandReply(text=listed(rows, before=f"/{group.value} "), columns=True)

    async def on_listed(self, name: str, caller: Caller, conversation: Conversation) -> str:
        """Answer "chat forget" or "chat keep" on a conversation that was chosen from a list of the caller's own, as if it
        were typed there; never raises. `caller` is where the conversation is held."""
        row = TABLE[name]
        if refusal := await self._parts.authority.authorise(caller, name, row.needs, target=str(conversation.id)):
            return refusal
        try:
            said = await ON_LISTED[name](self._parts, caller, conversation)
        except StoreError as exc:
            log.error("command.failed", command=name, reason=str(exc))
            return words.STORE_FAILED
        log.info("command.handled", command=name, platform=caller.platform)
        return said

    def kept_until(self, conversation: Conversation) -> datetime | None:
        """Say when a conversation expires in which nothing is said any more; None for never."""
        return self._parts.kept_until(conversation)

    async def _carry_out(self, row: Command, call: CommandCall) -> CommandReply:
        try:
            answer = await row.run(self._parts, call, read_options(row.options, call.argument))
        except (OptionRefused, SettingRefused) as exc:
            answer = str(exc)
        except UnstorableText:
            answer = words.UNSTORABLE
        except StoreError as exc:
            log.error("command.failed", command=row.path, reason=str(exc))
            answer = words.STORE_FAILED
        if isinstance(answer, CommandReply):
            return answer
        return CommandReply(text=answer, private=row.private, columns=row.columns and "\n" in answer)

    def _operates(self, call: CommandCall) -> bool:
        return (self._parts.authority.rank(call.caller) or Rank.ANYONE) >= Rank.OPERATOR

    def _no_such_command(self, call: CommandCall) -> CommandReply:
        return CommandReply(text=_unknown(call.name, rows_for(self._parts.authority.rank(call.caller))))


def _unknown(name: str, rows: Collection[Command]) -> str:
    word = name.rpartition(" ")[2]
    near = get_close_matches(word, [row.name for row in rows], n=1) if len(word) <= LONGEST_NAME else []
    return say.did_you_mean(near[0]) if near else say.NO_SUCH_COMMAND
