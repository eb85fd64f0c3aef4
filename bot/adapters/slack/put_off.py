"""Events that could not be kept, brought once more when the store is back.

They are not acknowledged either, so Slack delivers them again: at once, after a minute and after five. What the store misses
for longer than that would be lost without this, and nobody has to wait for a minute to be over. All of it is known by the
store when it comes a second time.
"""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import structlog

from bot.adapters.failures import describe
from bot.adapters.slack.events import ASK_AGAIN
from bot.adapters.slack.inbound import Us
from bot.chat.protocol import DeliveryDelayed
from bot.clock import Clock
from store import StoreClosed, StoreUnavailable

MOST = 500
"""Events that are kept in memory, some 10 MB at their longest; beyond, places are read by their history instead."""
LONGEST_PAUSE = timedelta(minutes=5)
"""Between two tries to bring what hangs on something that Slack does not tell."""

Json = Any

log = structlog.get_logger(__name__)


class Take(Protocol):
    """Takes in an event; see `Gate.take`."""

    async def __call__(self, event: Json, us: Us, *, event_id: str, delivery: int = 0) -> None: ...


class PutOff:
    """Stands before the gate, and keeps what the gate could not have stored."""

    def __init__(self, take: Take, clock: Clock, *, failed: Callable[[], None], missed: Callable[[], None]) -> None:
        """`failed` is called when the store fails, `missed` when it is back and more was put off than is kept here."""
        self._take = take
        self._clock = clock
        self._failed = failed
        self._missed = missed
        self._events: dict[tuple[str, str], tuple[Json, Us]] = {}
        """By workspace and event id, in the order in which they came."""
        self._overflowed = False
        self._returns = 0
        """How often the store came back."""

    def __len__(self) -> int:
        return len(self._events)

    async def take(self, event: Json, us: Us, *, event_id: str, delivery: int = 0) -> None:
        """Take in an event, or keep it for later.

        Raises:
            StoreUnavailable: it is not to be acknowledged.
            DeliveryDelayed: as `Gate`.
        """
        name = (us.workspace, event_id)
        try:
            await self._take(event, us, event_id=event_id, delivery=delivery)
        except StoreUnavailable:
            if name in self._events or len(self._events) < MOST:
                self._events[name] = (event, us)
            else:
                self._overflowed = True
            self._failed()
            raise
        self._events.pop(name, None)

    async def bring(self) -> None:
        """Bring what was put off until all of it is handled, or the store is away again; a later call takes over."""
        self._returns += 1
        this_return, pause = self._returns, ASK_AGAIN
        for attempt in itertools.count():
            waiting = len(self._events)
            for (workspace, event_id), (event, us) in list(self._events.items()):
                try:
                    await self.take(event, us, event_id=event_id, delivery=attempt)
                except (StoreUnavailable, StoreClosed):
                    return
                except DeliveryDelayed:
                    continue
                except Exception as exc:  # noqa: BLE001 - one event that can't be handled must not hold up the others
                    log.error("slack.not_brought", error=describe(exc))
                    self._events.pop((workspace, event_id), None)
            log.info("slack.brought", events=waiting - len(self._events), left=len(self._events), cut=self._overflowed)
            if self._overflowed:
                self._overflowed = False
                self._missed()
            if not self._events:
                return
            await self._clock.sleep(pause)
            if self._returns != this_return:
                return
            pause = min(pause * 2, LONGEST_PAUSE)
