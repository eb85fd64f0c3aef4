"""The command table: what people and operators can type, once for every platform.

A command has one handler, which knows the store, the turns and the sweeper and no platform. Who may run it is decided here,
at every call. Adapters register the table's names and hand calls to `Commands.handle`.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum

import structlog

from bot.chat import words
from bot.chat.policy import is_operator
from bot.chat.protocol import CommandCall, CommandReply
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from store import Message, Role, Store, StoreError

HISTORY_DEFAULT = 10
HISTORY_MOST = 50
EXCERPT = 300
"""Characters of each message that `history` shows."""

log = structlog.get_logger(__name__)


class Group(StrEnum):
    """The two groups of commands: `/chat` for everybody, `/parley` for operators."""

    PEOPLE = "chat"
    OPERATORS = "parley"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table. `usage` shows the arguments, "" when there are none."""

    name: str
    group: Group
    summary: str
    run: "Callable[[Commands, CommandCall], Awaitable[str]]"
    usage: str = ""


class Commands:
    """Runs commands on one installation."""

    def __init__(
        self,
        store: Store,
        turns: Turns,
        sweeper: Sweeper,
        clock: Clock,
        *,
        operators: Collection[str],
        platforms: Collection[str],
        model: str,
        ttl: timedelta | None,
        version: str,
    ) -> None:
        self._store = store
        self._turns = turns
        self._sweeper = sweeper
        self._clock = clock
        self._operators = frozenset(operators)
        self._platforms = tuple(platforms)
        self._model = model
        self._ttl = ttl
        self._version = version
        self._began = clock.now()

    async def handle(self, call: CommandCall) -> CommandReply:
        """Answer a command; never raises. An outermost loop: what fails is logged, the caller is told in one sentence."""
        command = TABLE.get(call.name)
        may_operate = is_operator(call, self._operators)
        if command is None or (command.group is Group.OPERATORS and not may_operate):
            # An operators' command is answered to others exactly like one that does not exist.
            return CommandReply(text=_unknown(call.name, may_operate=may_operate))
        try:
            text = await command.run(self, call)
        except StoreError as exc:
            log.error("command.failed", command=call.name, reason=str(exc))
            text = words.STORE_FAILED
        log.info("command.handled", command=call.name, platform=call.key.platform)
        return CommandReply(text=text)

    async def new(self, call: CommandCall) -> str:
        conversation = await self._store.find(call.key)
        if conversation is None:
            return "This is a new conversation already."
        await self._turns.stop(conversation.id)
        await self._store.end(conversation.id, at=call.at)
        return f"A new conversation begins here; the old one is kept {self._kept_for()}."

    async def stop(self, call: CommandCall) -> str:
        conversation = await self._store.find(call.key)
        if conversation is not None:
            stopped = await self._turns.stop(conversation.id)
            if stopped.running is not None or stopped.queued is not None:
                return "Stopped."
        return "There is nothing to stop."

    async def retry(self, call: CommandCall) -> str:
        conversation = await self._store.find(call.key)
        if conversation is not None and await self._turns.retry(conversation.id):
            return "Asking again."
        return "There is nothing to ask again: either nothing was asked, or the answer is still on its way."

    async def history(self, call: CommandCall) -> str:
        try:
            count = int(call.argument or HISTORY_DEFAULT)
        except ValueError:
            count = 0
        if not 1 <= count <= HISTORY_MOST:
            return f"Say how many messages you want to see, from 1 to {HISTORY_MOST}: history {HISTORY_DEFAULT}"
        conversation = await self._store.find(call.key)
        if conversation is None:
            return "Nothing has been said here yet."
        messages = await self._store.recent(conversation.id, count)
        return "\n".join(_line(message) for message in messages) or "Nothing has been said here yet."

    async def forget(self, call: CommandCall) -> str:
        conversation = await self._store.find(call.key)
        if conversation is None:
            return "There is nothing to forget here."
        await self._turns.stop(conversation.id)
        gone = await self._store.delete(conversation.id)
        log.info("conversation.forgotten", conversation=conversation.id, messages=gone)
        return f"Forgotten for good: {gone} {'message' if gone == 1 else 'messages'}, conversation {conversation.id}."

    async def help(self, call: CommandCall) -> str:
        may_operate = is_operator(call, self._operators)
        rows = [command for command in TABLE.values() if command.group is Group.PEOPLE or may_operate]
        names = [f"{command.name} {command.usage}".strip() for command in rows]
        width = max(map(len, names))
        return "\n".join(f"{name:<{width}}  {row.summary}" for name, row in zip(names, rows, strict=True))

    async def status(self, call: CommandCall) -> str:
        del call
        store = await self._store.status()
        now = self._clock.now()
        waits = "" if store.oldest_queued_at is None else f", the oldest for {_rough(now - store.oldest_queued_at)}"
        return "\n".join(
            (
                f"version    {self._version}, up for {_rough(now - self._began)}",
                f"platforms  {', '.join(self._platforms)}",
                f"model      {self._model}",
                f"store      {store.place} ({store.engine})",
                f"turns      {store.running} running, {store.queued} waiting{waits}",
                f"kept       {self._kept_for()}",
            )
        )

    async def sweep(self, call: CommandCall) -> str:
        del call
        swept = await self._sweeper.sweep()
        return f"Swept: {swept.expired} conversations expired, {swept.purged} rows purged, {swept.events} event ids dropped."

    def _kept_for(self) -> str:
        return "for ever" if self._ttl is None else f"until nothing was said in it for {_rough(self._ttl)}"


TABLE: dict[str, Command] = {
    command.name: command
    for command in (
        Command(name="new", group=Group.PEOPLE, summary="begin a new conversation here", run=Commands.new),
        Command(name="stop", group=Group.PEOPLE, summary="stop the answer that is on its way", run=Commands.stop),
        Command(name="retry", group=Group.PEOPLE, summary="ask the last question again", run=Commands.retry),
        Command(
            name="history", group=Group.PEOPLE, summary="show what was said last", run=Commands.history, usage="[messages]"
        ),
        Command(name="forget", group=Group.PEOPLE, summary="erase this conversation for good", run=Commands.forget),
        Command(name="help", group=Group.PEOPLE, summary="list these commands", run=Commands.help),
        Command(name="status", group=Group.OPERATORS, summary="show platforms, queue, model and store", run=Commands.status),
        Command(name="sweep", group=Group.OPERATORS, summary="expire and purge what is due now", run=Commands.sweep),
    )
}


def _unknown(name: str, *, may_operate: bool) -> str:
    known = [command.name for command in TABLE.values() if command.group is Group.PEOPLE or may_operate]
    near = get_close_matches(name, known, n=1)
    return f"There is no such command; did you mean `{near[0]}`?" if near else "There is no such command; `help` lists them."


def _line(message: Message) -> str:
    name = "Parley" if message.role is Role.ASSISTANT else message.author_name or "You"
    text = " ".join(message.text.split())
    return f"{name}: {text[:EXCERPT]}{'…' if len(text) > EXCERPT else ''}"


def _rough(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} s"
