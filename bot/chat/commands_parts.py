"""What commands work with: the parts of one installation that their handlers are given."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.chat.authority import Authority
from bot.chat.protocol import CommandCall
from bot.chat.rules import RuleBook
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from bot.findings import Finding
from store import Conversation, ConversationKey, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts.

    `platforms` tells how each platform is just now, in a line that begins with its name; `models` a line for each model.
    `examine` is the doctor's look at the installation. Expired conversations can be had back for `purge_after`. `began` is
    when this process did. `unpriced` are the models that have no price, so that they cost nothing. Exports are made one
    after the other (`exporting`): each takes some 100 MB.
    """

    store: Store
    turns: Turns
    sweeper: Sweeper
    rules: RuleBook
    authority: Authority
    clock: Clock
    platforms: Callable[[], Collection[str]]
    models: Callable[[], Collection[str]]
    examine: Callable[[], Awaitable[Collection[Finding]]]
    purge_after: timedelta
    version: str
    began: datetime
    unpriced: Collection[str] = ()
    exporting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def note(self, call: CommandCall, *, target: str = "") -> None:
        """Write down that an operators' command is carried out, before it is: what can't be noted is not done.

        Raises:
            StoreUnavailable.
        """
        await self.authority.note(call.caller, call.name, target=target, at=self.clock.now())

    def ttl(self, key: ConversationKey) -> timedelta | None:
        """Say how long a conversation is kept in which nothing is said; None for ever."""
        return self.rules.of(key.platform, key.workspace, key.channel).ttl

    def kept_until(self, conversation: Conversation) -> datetime | None:
        """Say when a conversation expires in which nothing is said any more; None for never."""
        ttl = self.ttl(conversation.key)
        return None if ttl is None else conversation.active_at + ttl
