"""So many calls of one kind within a minute: for what may be left out or done in another way when there are none left."""

from collections import deque
from collections.abc import Callable
from datetime import timedelta

from bot.clock import Clock

WINDOW = timedelta(minutes=1)
"""The stretch of time in which Slack counts calls."""


class Allowance:
    """At most `calls` within any minute, in each workspace, shared evenly by the replicas.

    Nobody waits for what may be left out, so there is no line to stand in, and nothing is asked of the store: a replica that
    needs less than its share leaves the rest unused.
    """

    def __init__(self, clock: Clock, calls: int, replicas: Callable[[], int] = lambda: 1) -> None:
        """`replicas` tells how many there are, this one among them."""
        self._clock = clock
        self._calls = calls
        self._replicas = replicas
        self._taken: dict[str, deque[timedelta]] = {}
        self._none_until: dict[str, timedelta] = {}

    def take(self, workspace: str) -> bool:
        """Take one if there is one."""
        now = self._clock.monotonic()
        if now < self._none_until.get(workspace, now):
            return False
        taken = self._taken.setdefault(workspace, deque())
        while taken and now - taken[0] > WINDOW:
            taken.popleft()
        if len(taken) >= self._calls // self._replicas():
            return False
        taken.append(now)
        return True

    def used_up(self, workspace: str, *, lasting: timedelta) -> None:
        """Note that the platform allows no more for so long: others used them, such as a replica that we do not know yet."""
        self._none_until[workspace] = self._clock.monotonic() + lasting
