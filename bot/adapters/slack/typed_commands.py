"""The words of the command table typed as text: `!new`, `!stop`, `!history 5`, `!parley status`.

Slack has no slash commands in threads. A line is a command only when it is nothing else: a known word, and no more words
behind it than the command takes, so `!important` and `!stop worrying` are speech. So is an operators' word from somebody who
may not run it; what begins with the name of a group is a command, whoever says it and whether there is such a one or not.
"""

from collections.abc import Callable, Sequence

from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.private_replies import tell
from bot.adapters.slack.reply_files import ReplyFiles
from bot.adapters.slack.web_api import WebApi
from bot.chat.authority import Authority
from bot.chat.commands import Command, Commands, Group, find
from bot.chat.options import OptionKind
from bot.chat.policy import Rules, key_of
from bot.chat.protocol import CommandCall, CommandReply, IncomingMessage
from bot.clock import Clock
from store import Store

SIGN = "!"
LONGEST = 200
"""Characters of a line that can be a command, besides those of a last option of several words."""


def recognised(text: str) -> tuple[str, str] | None:
    """Tell the name and the argument of a line that is a command; None when it is speech. Pure."""
    line = text.strip()
    words = line.removeprefix(SIGN)
    if not line.startswith(SIGN) or "\n" in line or not words or words[0].isspace():
        return None
    first, *given = words.split()
    name, of_a_group = first.lower(), first.lower() in tuple(Group)
    if of_a_group and given:
        name, given = f"{name} {given[0].lower()}", given[1:]
    row = find(name)
    if row is None:
        return (name, "") if of_a_group and len(line) <= LONGEST else None
    last = row.options[-1] if row.options else None
    several = last is not None and last.words
    longest = LONGEST + last.longest if last is not None and several else LONGEST
    if len(line) > longest or (len(given) > len(row.options) and not several) or _is_talk(row, given):
        return None
    return row.path, " ".join(given)


def _is_talk(row: Command, given: Sequence[str]) -> bool:
    """Tell whether people go on after the word in a way of their own, as in `!forget it`."""
    chosen = zip(row.options, given, strict=False)
    return row.group is Group.PEOPLE and any(
        option.kind is OptionKind.CHOICE and value.lower() not in option.choices for option, value in chosen
    )


class TypedCommands:
    """Carries out the messages that are commands, each of them once.

    A message comes as two events, and each of them again when an acknowledgement was lost, perhaps to another process. So
    the store says who of them is first. A command that a crash cuts short is not begun again: whoever sees no answer
    repeats it, and nobody's conversation ends twice.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        authority: Authority,
        files: ReplyFiles,
        store: Store,
        rules: Callable[[IncomingMessage], Rules],
        api: WebApi,
        clock: Clock,
        afterwards: Afterwards,
    ) -> None:
        self._commands = commands
        self._authority = authority
        self._files = files
        self._store = store
        self._rules = rules
        self._api = api
        self._clock = clock
        self._afterwards = afterwards

    async def take(self, message: IncomingMessage, line: str) -> bool:
        """Carry a message to us out if it is a command; False when it is speech, for the intake to take.

        `line` is its text as it was written, without the mention of us that it may begin with; `message.standing` is what
        rights may hang on.

        Raises:
            StoreUnavailable: nothing was done. Slack must not be told that it was: it delivers again.
        """
        found = recognised(line)
        if found is None or message.from_bot or message.files:
            return False
        call = self._call(message, *found)
        if await self._is_speech(line, call):
            return False
        where = message.address
        if await self._store.once(f"slack.typed/{where.workspace}/{where.channel}/{message.message_id}", at=call.at):
            reply = await self._reply(call)
            self._afterwards.begin("typed command", lambda: self._answer(call, reply))
        return True

    async def _reply(self, call: CommandCall) -> CommandReply:
        if find(call.name) is None:
            return await self._commands.overview(call, Group(call.name.partition(" ")[0]))
        return await self._commands.handle(call)

    async def _is_speech(self, line: str, call: CommandCall) -> bool:
        row = find(call.name)
        if row is None or row.group is Group.PEOPLE or line.strip().lower().startswith(f"{SIGN}{row.group.value}"):
            return False
        return await self._authority.authorise(call.caller, row.path, row.needs) != ""

    async def _answer(self, call: CommandCall, reply: CommandReply) -> None:
        await tell(self._api, call.address, call.author_id, await self._files.handed_over(call, reply))

    def _call(self, message: IncomingMessage, name: str, argument: str) -> CommandCall:
        return CommandCall(
            name=name,
            argument=argument,
            place=message.place,
            key=key_of(message.place, message.address, message.author_id, self._rules(message)),
            address=message.address,
            author_id=message.author_id,
            author_name=message.author_name,
            standing=message.standing,
            at=self._clock.now(),
        )
