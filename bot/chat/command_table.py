"""The command table: what people and operators can type, once for every platform.

A row has one handler, which knows the parts that it is given and no platform. Adapters register the rows, and hand calls to
`bot.chat.commands.Commands`, where it is decided who may run them.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.chat import commands_conversations as conversations
from bot.chat import commands_governing as governing
from bot.chat import commands_operators as operators
from bot.chat import commands_people as people
from bot.chat import commands_privacy as privacy
from bot.chat.authority import Rank
from bot.chat.commands_layout import facts
from bot.chat.commands_parts import Parts
from bot.chat.options import Option, usage_of
from bot.chat.protocol import CommandCall, CommandReply

Handler = Callable[[Parts, CommandCall, Mapping[str, str]], Awaitable[str | CommandReply]]
"""Carries a command out, with the values of its options, for somebody who may run it."""


class Group(StrEnum):
    """The two groups of commands: `/chat` for everybody, `/parley` for operators."""

    PEOPLE = "chat"
    OPERATORS = "parley"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table. What a `private` command answers is for its caller's eyes only; `columns` says that it answers
    in columns. `needs` is the rank of those who may run it."""

    name: str
    group: Group
    summary: str
    run: Handler
    options: tuple[Option, ...] = ()
    needs: Rank
    private: bool = True
    columns: bool = False

    @property
    def path(self) -> str:
        """The row's name in the table, in calls and in the log of governing: with its group, since both have a `forget`."""
        return f"{self.group.value} {self.name}"

    @property
    def usage(self) -> str:
        """What may be typed behind the name, "" when there is nothing."""
        return usage_of(self.options)


async def _help(parts: Parts, call: CommandCall, given: Mapping[str, str]) -> str:
    """List what the caller may run; operators' commands with their group, without which they may be people's."""
    del given
    return listed(rows_for(parts.authority.rank(call.caller)))


def _people(
    name: str, summary: str, run: Handler, *options: Option, needs: Rank = Rank.PERSON, columns: bool = False
) -> Command:
    return Command(name=name, group=Group.PEOPLE, summary=summary, run=run, options=options, needs=needs, columns=columns)


def _operators(
    name: str, summary: str, run: Handler, *options: Option, needs: Rank = Rank.OPERATOR, columns: bool = True
) -> Command:
    return Command(name=name, group=Group.OPERATORS, summary=summary, run=run, options=options, needs=needs, columns=columns)


TABLE: dict[str, Command] = {
    row.path: row
    for row in (
        _people("new", "begin a new conversation here", people.new),
        _people("stop", "stop the answer that is on its way", people.stop),
        _people("retry", "ask the last question again", people.retry),
        _people("undo", "take your last question and its answer back", people.undo),
        _people("history", "show what was said last", people.history, *people.HISTORY_OPTIONS),
        _people("persona", "show or choose what I am to be in this conversation", people.persona, *people.PERSONA_OPTIONS),
        _people("keep", "show until when this conversation is kept, or extend it", people.keep, *people.KEEP_OPTIONS),
        _people("usage", "show what you used today, and your limits", people.usage, needs=Rank.ANYONE, columns=True),
        _people(
            "export", "take away all that is kept of you here", privacy.export, *privacy.EXPORT_OPTIONS, needs=Rank.ANYONE
        ),
        _people(
            "forget",
            "erase this conversation, or everything of yours, for good",
            privacy.forget,
            *privacy.FORGET_OPTIONS,
            needs=Rank.ANYONE,
        ),
        _people("help", "list these commands", _help, needs=Rank.ANYONE, columns=True),
        _operators("status", "show platforms, queue, models, store and pauses", operators.status),
        _operators("conversations", "list conversations", conversations.conversations, *conversations.CONVERSATIONS_OPTIONS),
        _operators(
            "show", "show a conversation's turns, without what was said", conversations.show, *conversations.SHOW_OPTIONS
        ),
        _operators("channel", "show or choose what holds in this channel", governing.channel, *governing.CHANNEL_OPTIONS),
        _operators(
            "workspace",
            "show or choose what holds where a channel chose nothing",
            governing.workspace,
            *governing.WORKSPACE_OPTIONS,
        ),
        _operators(
            "access", "show or choose who may speak, where, and who operates", governing.access, *governing.ACCESS_OPTIONS
        ),
        _operators("limits", "show or choose what may be spent", governing.limits, *governing.LIMITS_OPTIONS),
        _operators("usage", "sum up what was used", operators.usage, *operators.USAGE_OPTIONS),
        _operators("pause", "answer nothing for now; what is said is kept", governing.pause, *governing.PAUSE_OPTIONS),
        _operators("resume", "go on after a pause", governing.resume, *governing.PAUSE_OPTIONS),
        _operators("forget", "set a conversation aside, to be erased", conversations.forget, *conversations.FORGET_OPTIONS),
        _operators(
            "restore", "have a conversation back that expired", conversations.restore, *conversations.RESTORE_OPTIONS
        ),
        _operators("sweep", "expire and purge what is due now", operators.sweep, needs=Rank.HOST),
        _operators("audit", "list what operators did and what was refused", operators.audit, *operators.AUDIT_OPTIONS),
        _operators("doctor", "look at everything that I stand on", operators.doctor, needs=Rank.HOST),
    )
}
"""Every command by its path, such as "chat new" and "parley status"."""


def find(name: str) -> Command | None:
    """Return the row that is meant by a path, or by a name alone: people's first. None when there is none."""
    return next((TABLE[path] for path in (name, *(f"{group.value} {name}" for group in Group)) if path in TABLE), None)


def rows_for(rank: Rank | None, *groups: Group) -> list[Command]:
    """List what somebody of a rank may run, of these groups or of all; None may run nothing."""
    if rank is None:
        return []
    return [row for row in TABLE.values() if row.needs <= rank and row.group in (groups or tuple(Group))]


def listed(rows: Collection[Command], *, before: str | None = None) -> str:
    """Write a line for each row; `before` is what is typed before its name, else the group of operators' commands."""
    pairs = []
    for row in rows:
        lead = before if before is not None else "parley " if row.group is Group.OPERATORS else ""
        pairs.append((f"{lead}{row.name} {row.usage}".strip(), row.summary))
    return facts(pairs)
