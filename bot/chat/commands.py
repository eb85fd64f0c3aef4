"""The command table: what people and operators can type, once for every platform.

A command has one handler, which knows the store, the turns, the sweeper and the rules, and no platform. Who may run it is
decided here, at every call. Adapters register the table's rows and hand calls to `Commands.handle`.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum

import structlog

from bot.chat import words
from bot.chat.options import Option, OptionKind, OptionRefused, read_options, split_options, usage_of
from bot.chat.policy import is_operator
from bot.chat.protocol import CommandCall, CommandReply, Place
from bot.chat.rules import DEFAULT, SETTINGS, RuleBook, SettingRefused, choices_of, value_of
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from store import Message, Role, Store, StoreError

HISTORY_DEFAULT = 10
HISTORY_MOST = 50
EXCERPT = 300
"""Characters of each message that `history` shows."""
SUGGESTIONS = 25
"""What is suggested at once: Discord shows no more."""

log = structlog.get_logger(__name__)


class Group(StrEnum):
    """The two groups of commands: `/chat` for everybody, `/parley` for operators."""

    PEOPLE = "chat"
    OPERATORS = "parley"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table. What a `private` command answers is for its caller's eyes only; `columns` says that it answers
    in columns."""

    name: str
    group: Group
    summary: str
    run: "Callable[[Commands, CommandCall], Awaitable[str]]"
    options: tuple[Option, ...] = ()
    private: bool = True
    columns: bool = False

    @property
    def usage(self) -> str:
        """What may be typed behind the name, "" when there is nothing."""
        return usage_of(self.options)


class Commands:
    """Runs commands on one installation."""

    def __init__(
        self,
        store: Store,
        turns: Turns,
        sweeper: Sweeper,
        rules: RuleBook,
        clock: Clock,
        *,
        operators: Collection[str],
        platforms: Callable[[], Collection[str]],
        model: str,
        ttl: timedelta | None,
        version: str,
    ) -> None:
        """`platforms` tells how each platform is just now, in a line that begins with its name."""
        self._store = store
        self._turns = turns
        self._sweeper = sweeper
        self._rules = rules
        self._clock = clock
        self._operators = frozenset(operators)
        self._platforms = platforms
        self._model = model
        self._ttl = ttl
        self._version = version
        self._began = clock.now()

    async def handle(self, call: CommandCall) -> CommandReply:
        """Answer a command; never raises. An outermost loop: what fails is logged, the caller is told in one sentence."""
        command = self._allowed(call)
        if command is None:
            # An operators' command is answered to others exactly like one that does not exist.
            return CommandReply(text=_unknown(call.name, may_operate=self._may_operate(call)))
        try:
            text = await command.run(self, call)
        except (OptionRefused, SettingRefused) as exc:
            text = str(exc)
        except StoreError as exc:
            log.error("command.failed", command=call.name, reason=str(exc))
            text = words.STORE_FAILED
        log.info("command.handled", command=call.name, platform=call.key.platform)
        return CommandReply(text=text, private=command.private, columns=command.columns and "\n" in text)

    async def suggest(self, call: CommandCall, option: Option, typed: str) -> list[str]:
        """Propose values for an option that begin as `typed` does, at most `SUGGESTIONS`; never raises.

        `call` has the values of the other options. Who may not run the command is not helped with it.
        """
        command = self._allowed(call)
        if command is None or option.suggests is None:
            return []
        proposed = option.suggests(split_options(command.options, call.argument))
        return [value for value in proposed if value.startswith(typed.strip().lower())][:SUGGESTIONS]

    def offers(self, call: CommandCall) -> bool:
        """Tell whether there is such a command for whoever calls; for others its name is a word like any other."""
        return self._allowed(call) is not None

    def overview(self, call: CommandCall, group: Group) -> CommandReply:
        """List the commands of one group that whoever calls may run: the answer to a line that names none of them."""
        if group is Group.OPERATORS and not self._may_operate(call):
            return CommandReply(text=_unknown(call.name, may_operate=False))
        rows = [command for command in TABLE.values() if command.group is group]
        return CommandReply(text=_listed(rows, before=f"/{group.value} "), columns=True)

    async def erase(self, conversation_id: int) -> int:
        """Stop and erase a conversation for good; return how many messages went.

        Raises:
            StoreUnavailable.
        """
        await self._turns.stop(conversation_id)
        gone = await self._store.delete(conversation_id)
        log.info("conversation.forgotten", conversation=conversation_id, messages=gone)
        return gone

    def kept_until(self, active_at: datetime) -> datetime | None:
        """Say when a conversation expires in which nothing is said any more; None for never."""
        return None if self._ttl is None else active_at + self._ttl

    def _allowed(self, call: CommandCall) -> Command | None:
        command = TABLE.get(call.name)
        if command is None or (command.group is Group.OPERATORS and not self._may_operate(call)):
            return None
        return command

    def _may_operate(self, call: CommandCall) -> bool:
        return is_operator(call.key.platform, call.key.workspace, call.author_id, self._operators)

    async def new(self, call: CommandCall) -> str:
        conversation = await self._store.find(call.key)
        if conversation is None:
            return "This is a new conversation already."
        await self._turns.stop(conversation.id)
        await self._store.end(conversation.id, at=call.at)
        if call.key.thread:
            # In a thread the bot answers without a mention while it has a conversation there.
            await self._store.get_or_create(call.key, at=call.at)
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
        given = read_options(HISTORY_OPTIONS, call.argument)
        count = int(given.get("messages", HISTORY_DEFAULT))
        conversation = await self._store.find(call.key)
        if conversation is None:
            return "Nothing has been said here yet."
        messages = await self._store.recent(conversation.id, count)
        return "\n".join(_line(message) for message in messages) or "Nothing has been said here yet."

    async def forget(self, call: CommandCall) -> str:
        conversation = await self._store.find(call.key)
        if conversation is None:
            return "There is nothing to forget here."
        gone = await self.erase(conversation.id)
        return f"Forgotten for good: {gone} {'message' if gone == 1 else 'messages'}, conversation {conversation.id}."

    async def help(self, call: CommandCall) -> str:
        may_operate = self._may_operate(call)
        return _listed([command for command in TABLE.values() if command.group is Group.PEOPLE or may_operate])

    async def status(self, call: CommandCall) -> str:
        del call
        store = await self._store.status()
        now = self._clock.now()
        waits = "" if store.oldest_queued_at is None else f", the oldest for {_rough(now - store.oldest_queued_at)}"
        return "\n".join(
            (
                f"version    {self._version}, up for {_rough(now - self._began)}",
                *(f"{'' if number else 'platforms':<9}  {line}" for number, line in enumerate(self._platforms())),
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

    async def channel(self, call: CommandCall) -> str:
        given = read_options(CHANNEL_OPTIONS, call.argument)
        where = call.address
        if call.place is Place.DIRECT:
            return words.NO_CHANNEL_SETTINGS
        if "value" in given:
            name, value = given["setting"], given["value"].lower()
            await self._rules.set(where.platform, where.workspace, where.channel, name, value, at=call.at)
        rules = self._rules.of(where.platform, where.workspace, where.channel)
        chosen = self._rules.chosen(where.platform, where.workspace, where.channel)
        rows = []
        for name in (given["setting"],) if "setting" in given else SETTINGS:
            origin = "chosen here" if name in chosen else DEFAULT
            rows.append(
                f"{name:<9}  {value_of(rules, name)} ({origin}): {SETTINGS[name].summary}; {', '.join(choices_of(name))}"
            )
        return "\n".join(rows)

    def _kept_for(self) -> str:
        return "for ever" if self._ttl is None else f"until nothing was said in it for {_rough(self._ttl)}"


HISTORY_OPTIONS = (
    Option(
        name="messages",
        summary=f"how many, {HISTORY_DEFAULT} if you don't say",
        kind=OptionKind.INTEGER,
        minimum=1,
        maximum=HISTORY_MOST,
    ),
)
CHANNEL_OPTIONS = (
    Option(name="setting", summary="which one, all if you don't say", kind=OptionKind.CHOICE, choices=tuple(SETTINGS)),
    Option(
        name="value",
        summary="what holds from now on",
        suggests=lambda given: choices_of(given.get("setting", "")),
    ),
)

TABLE: dict[str, Command] = {
    command.name: command
    for command in (
        Command(name="new", group=Group.PEOPLE, summary="begin a new conversation here", run=Commands.new),
        Command(name="stop", group=Group.PEOPLE, summary="stop the answer that is on its way", run=Commands.stop),
        Command(name="retry", group=Group.PEOPLE, summary="ask the last question again", run=Commands.retry),
        Command(
            name="history",
            group=Group.PEOPLE,
            summary="show what was said last",
            run=Commands.history,
            options=HISTORY_OPTIONS,
        ),
        Command(name="forget", group=Group.PEOPLE, summary="erase this conversation for good", run=Commands.forget),
        Command(name="help", group=Group.PEOPLE, summary="list these commands", run=Commands.help, columns=True),
        Command(
            name="status",
            group=Group.OPERATORS,
            summary="show platforms, queue, model and store",
            run=Commands.status,
            columns=True,
        ),
        Command(
            name="channel",
            group=Group.OPERATORS,
            summary="show or choose what holds in this channel",
            run=Commands.channel,
            options=CHANNEL_OPTIONS,
            columns=True,
        ),
        Command(name="sweep", group=Group.OPERATORS, summary="expire and purge what is due now", run=Commands.sweep),
    )
}


def _listed(rows: Collection[Command], *, before: str = "") -> str:
    """Write a row for each command; `before` is what is typed before its name."""
    names = [f"{before}{command.name} {command.usage}".strip() for command in rows]
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {row.summary}" for name, row in zip(names, rows, strict=True))


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
