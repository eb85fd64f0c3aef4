"""What is done at most once in a while: a memory of what was done lately, which can't grow without bound."""

from collections.abc import Hashable
from datetime import timedelta

from bot.clock import Clock

MOST = 10_000
"""Names that are remembered, some MB. Beyond, the oldest is forgotten: something is then done once too often."""


class Seldom:
    """Tells what is due, each name by itself and at most once per `period`."""

    def __init__(self, clock: Clock, period: timedelta, *, most: int = MOST) -> None:
        self._clock = clock
        self._period = period
        self._most = most
        self._done: dict[Hashable, timedelta] = {}

    def due(self, name: Hashable) -> bool:
        """Tell whether `name` was not due within the last `period`; from now on it was."""
        now = self._clock.monotonic()
        last = self._done.get(name)
        if last is not None and now - last < self._period:
            return False
        self._done.pop(name, None)
        while len(self._done) >= self._most:
            del self._done[next(iter(self._done))]
        self._done[name] = now
        return True

    def take_back(self, name: Hashable) -> None:
        """Let `name` be due again: what it stood for was not done."""
        self._done.pop(name, None)
