"""Which other replicas serve Slack on our store, and our place among them: known from time to time, and kept meanwhile.

Slack deals events to all of them alike, so nobody needs to be told what is whose. What hangs on it is the share of the
allowances that Slack counts per workspace, and who speaks first when all of them have the same to say.
"""

import uuid
from datetime import timedelta

import structlog

from bot.adapters.slack.inbound import PLATFORM
from bot.clock import Clock, time_limit
from store import StoreError
from store.protocol_sharing import Sharing

EVERY = timedelta(seconds=10)
LASTING = timedelta(seconds=30)
"""Who says nothing for so long is taken to be gone."""
PATIENCE = timedelta(seconds=2)
"""How long the last word to the store may take on the way out: without it we are missed a little later."""

log = structlog.get_logger(__name__)


class Replicas:
    """Says that we are there, and learns who else is. While the store is away, what was known last holds on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._name = uuid.uuid4().hex
        self.others = 0
        self.rank = 0
        """0 for the one that has been there the longest."""

    @property
    def count(self) -> int:
        """How many there are, we among them."""
        return self.others + 1

    async def announce(self, store: Sharing) -> None:
        """Say once that we are there; never raises for a store that is away."""
        try:
            share = await store.share(PLATFORM, replica=self._name, parts=1, ready=(), leaving=False, lasting=LASTING)
        except StoreError as exc:
            log.debug("slack.replicas_unknown", reason=str(exc))
            return
        if share.others != self.others:
            log.info("slack.replicas", others=share.others)
        self.others, self.rank = share.others, share.rank

    async def run(self, store: Sharing) -> None:
        """Go on saying so until cancelled, then leave."""
        try:
            while True:
                await self._clock.sleep(EVERY)
                await self.announce(store)
        finally:
            await self._leave(store)

    async def _leave(self, store: Sharing) -> None:
        try:
            async with time_limit(self._clock, PATIENCE):
                await store.leave(PLATFORM, replica=self._name)
        except (StoreError, TimeoutError) as exc:
            log.debug("slack.replicas_not_told", reason=str(exc))
