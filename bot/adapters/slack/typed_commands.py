"""The words of the command table typed as text: `!new`, `!stop`, `!history 5`.

Slack has no slash commands in threads. A line is a command only when it is nothing else: a known word, and no more words
behind it than the command takes, so `!important` and `!stop worrying` are speech.
"""

from collections.abc import Callable

from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.private_replies import tell
from bot.adapters.slack.web_api import WebApi
from bot.chat.commands import TABLE, Commands
from bot.chat.policy import Rules, key_of
from bot.chat.protocol import CommandCall, CommandReply, IncomingMessage
from bot.clock import Clock
from store import Store

SIGN = "!"
LONGEST = 200
"""Characters of a line that can be a command."""


def recognised(text: str) -> tuple[str, str] | None:
    """Tell the name and the argument of a line that is a command; None when it is speech. Pure."""
    line = text.strip()
    if len(line) > LONGEST or not line.startswith(SIGN) or "\n" in line:
        return None
    name, *given = line.removeprefix(SIGN).split(" ")
    given = [word for word in given if word]
    row = TABLE.get(name.lower())
    if row is None or len(given) > len(row.options):
        return None
    return row.name, " ".join(given)


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
        store: Store,
        rules: Callable[[IncomingMessage], Rules],
        api: WebApi,
        clock: Clock,
        afterwards: Afterwards,
    ) -> None:
        self._commands = commands
        self._store = store
        self._rules = rules
        self._api = api
        self._clock = clock
        self._afterwards = afterwards

    async def take(self, message: IncomingMessage) -> bool:
        """Carry a message to us out if it is a command; False when it is speech, for the intake to take.

        Its text comes without the mention of us that it may begin with.

        Raises:
            StoreUnavailable: nothing was done. Slack must not be told that it was: it delivers again.
        """
        found = recognised(message.text)
        if found is None or message.from_bot or message.files:
            return False
        call = self._call(message, *found)
        if not self._commands.offers(call):
            return False
        where = message.address
        if await self._store.once(f"slack.typed/{where.workspace}/{where.channel}/{message.message_id}", at=call.at):
            reply = await self._commands.handle(call)
            self._afterwards.begin("typed command", lambda: self._answer(call, reply))
        return True

    async def _answer(self, call: CommandCall, reply: CommandReply) -> None:
        await tell(self._api, call.address, call.author_id, reply)

    def _call(self, message: IncomingMessage, name: str, argument: str) -> CommandCall:
        return CommandCall(
            name=name,
            argument=argument,
            place=message.place,
            key=key_of(message.place, message.address, message.author_id, self._rules(message)),
            address=message.address,
            author_id=message.author_id,
            author_name=message.author_name,
            at=self._clock.now(),
        )
