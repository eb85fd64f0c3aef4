"""What was said to us too long ago to be answered now: people are told of it in one line where it was said, once."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.chat.protocol import DeliveryDelayed, DeliveryError, IncomingMessage, Surface
from bot.chat.words import unanswered
from bot.clock import Clock

TRIES = 5
"""How often a platform that puts us off is asked again. It is a courtesy: people find out by waiting, too."""

log = structlog.get_logger(__name__)


class Unanswered:
    """Tells of messages that came while we were away for so long that nobody waits for their answers any more."""

    def __init__(self, surface: Surface, clock: Clock, *, once: Callable[[str], Awaitable[bool]]) -> None:
        """`once` tells the first of all who ask for a name, over restarts and replicas."""
        self._surface = surface
        self._clock = clock
        self._once = once

    async def tell(self, messages: Sequence[IncomingMessage], *, older_than: timedelta, more: bool = False) -> None:
        """Say how many `messages` of one place, oldest first, get no answer; `more`: perhaps there are others.

        Raises:
            StoreUnavailable: nothing was said.
        """
        if not messages:
            return
        last = messages[-1]
        # Not a reply to one of them: it is about all, and rings at nobody.
        address = replace(last.address, reply_to="")
        place = "/".join((address.platform, address.workspace, address.channel, address.thread))
        if not await self._once(f"unanswered {place} {last.message_id}"):
            return
        text = unanswered(len(messages), older_than=older_than, more=more)
        for _ in range(TRIES):
            try:
                await self._surface.post(address, text, nonce=f"u{last.message_id}")
            except DeliveryDelayed as exc:
                await self._clock.sleep(exc.retry_after)
            except DeliveryError as exc:
                log.info("unanswered.not_told", reason=str(exc))
                return
            else:
                log.info("unanswered.told", platform=address.platform, messages=len(messages))
                return
        log.info("unanswered.not_told", reason="the platform puts us off")
