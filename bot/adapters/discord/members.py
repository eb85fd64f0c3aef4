"""The members of servers whom Discord has to be asked about: it does not tell their roles with a message that is read later.

Without the members intent nobody is told when roles change, so an answer is good for a minute and no longer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

import discord

from bot.adapters.discord.places import workspace_of
from bot.adapters.discord.rest_errors import Code, translated
from bot.adapters.discord.standing import EXTERNAL, of_author, of_member
from bot.chat.callers import UNKNOWN, Standing
from bot.chat.protocol import DeliveryDelayed, DeliveryError
from bot.clock import Clock, time_limit

FRESH = timedelta(seconds=60)
REMEMBERED = 1000
"""People who are remembered at once: 0.3 MB."""
AT_ONCE = 4
"""Questions in flight, so that answers to people who write now find their way."""
PATIENCE = timedelta(seconds=10)
"""How long one question may take."""
NOT_HERE = (Code.UNKNOWN_MEMBER, Code.UNKNOWN_USER)


class Members:
    """Knows what authors are by their messages, or by asking Discord, each of them at most once a minute."""

    def __init__(self, client: Callable[[], discord.Client], clock: Clock) -> None:
        """`client` returns one that is logged in now; it raises DeliveryDelayed while there is none."""
        self._client = client
        self._clock = clock
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._known: OrderedDict[tuple[str, int], tuple[timedelta, Standing]] = OrderedDict()
        """What Discord answered, and when, the oldest first."""

    async def standing(self, message: discord.Message) -> Standing:
        """Tell what a message's author is where it was said: EXTERNAL who has left, UNKNOWN of whom Discord tells nothing.

        Raises:
            DeliveryDelayed: Discord has to be asked, and does not answer now.
        """
        told = of_author(message)
        if told is not None:
            return told
        workspace, user = workspace_of(message.channel), message.author.id
        if known := self._remembered(workspace, user):
            return known
        async with self._asking:
            if known := self._remembered(workspace, user):  # somebody asked meanwhile
                return known
            answer = await self._ask(message.guild, user)
            self._remember(workspace, user, answer)
            return answer

    def _remembered(self, workspace: str, user: int) -> Standing | None:
        while self._known and self._clock.monotonic() - next(iter(self._known.values()))[0] >= FRESH:
            self._known.popitem(last=False)
        found = self._known.get((workspace, user))
        return found[1] if found is not None else None

    def _remember(self, workspace: str, user: int, standing: Standing) -> None:
        self._known[workspace, user] = (self._clock.monotonic(), standing)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _ask(self, guild: discord.Guild | None, user: int) -> Standing:
        if guild is None:  # we are not in it any more
            return UNKNOWN
        client = self._client()
        try:
            with translated(repeatable=True):
                async with time_limit(self._clock, PATIENCE):
                    told = await client.http.get_member(guild.id, user)
                # The guild's own way to ask ends with the session in which the message was read.
                return of_member(discord.Member(data=told, guild=guild, state=guild._state))
        except DeliveryDelayed:
            raise
        except DeliveryError as exc:
            gone = isinstance(exc.__cause__, discord.HTTPException) and exc.__cause__.code in NOT_HERE
            return EXTERNAL if gone else UNKNOWN
