"""So many calls of one kind within a minute: for what may be left out or done in another way when there are none left."""

from collections import deque
from datetime import timedelta

from bot.clock import Clock

WINDOW = timedelta(minutes=1)
"""The stretch of time in which Slack counts calls."""


class Allowance:
    """At most `calls` within any minute, in each workspace."""

    def __init__(self, clock: Clock, calls: int) -> None:
        self._clock = clock
        self._calls = calls
        self._taken: dict[str, deque[timedelta]] = {}

    def take(self, workspace: str) -> bool:
        """Take one if there is one."""
        taken = self._taken.setdefault(workspace, deque(maxlen=self._calls))
        now = self._clock.monotonic()
        if len(taken) == self._calls and now - taken[0] <= WINDOW:
            return False
        taken.append(now)
        return True
