"""Discord's pace of new sessions: one IDENTIFY in 5 s for the whole bot, however many replicas it runs in."""

import asyncio
from datetime import timedelta

import structlog

from bot.clock import Clock
from store import Store, StoreError

log = structlog.get_logger(__name__)

PACE = timedelta(seconds=5.5)
"""Discord's 5 s, and a little for connections that take unlike times between their turn and their IDENTIFY."""


class SessionStarts:
    """Gives each new session its turn: in the store, which all replicas ask, and never faster in this process."""

    def __init__(self, store: Store, clock: Clock, *, application: int) -> None:
        self._store = store
        self._clock = clock
        self._budget = f"discord.{application}.identify"
        self._next = asyncio.Lock()
        """Only the next session has a slot of the store: who dies, or waits no longer, wastes one and not all of them."""
        self._free = timedelta()
        """When this process may begin the next one, by its own stopwatch."""

    async def turn(self) -> None:
        """Wait until a session may begin.

        While the store is away the pace is this process's alone: a session that begins too early is refused by Discord and
        begun again; one that is never begun would not come back.
        """
        async with self._next:
            try:
                wait = await self._store.slot(self._budget, pace=PACE)
            except StoreError as exc:
                log.warning("discord.pace_not_shared", reason=str(exc))
                wait = timedelta()
            now = self._clock.monotonic()
            wait = max(wait, self._free - now)
            self._free = now + wait + PACE
            await self._clock.sleep(wait)
