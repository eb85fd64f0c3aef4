"""Who gets a process's last slots: a quarter of them is kept for workspaces that have little running.

Where a platform lets little be written a turn takes a minute, so one workspace with much to answer would have all the slots,
and all others wait for as long as its queue does (seen: 32 turns of a flooded one, and nobody else answered for 90 s).
"""

from collections import Counter, OrderedDict
from datetime import timedelta

from bot.clock import Clock
from store import ConversationKey, Spot

KEPT = 4
"""One of so many slots is kept."""
RECENT = timedelta(minutes=10)
"""Who said nothing for longer is not reckoned with."""
MOST = 1000
"""Workspaces that are remembered; of more, each one's part is the smallest there is anyway."""


class Shares:
    """Tells which workspaces get nothing more just now. As long as one alone is heard, that is none."""

    def __init__(self, slots: int, clock: Clock) -> None:
        self._slots = slots
        self._clock = clock
        self._heard: OrderedDict[Spot, timedelta] = OrderedDict()
        self._running: Counter[Spot] = Counter()

    def heard(self, key: ConversationKey) -> None:
        """Reckon with a workspace from now on."""
        spot, now = spot_of(key), self._clock.monotonic()
        self._heard[spot] = now
        self._heard.move_to_end(spot)
        while len(self._heard) > MOST or now - next(iter(self._heard.values())) > RECENT:
            self._heard.popitem(last=False)

    def took(self, key: ConversationKey) -> None:
        """Note that a workspace has one more slot."""
        self._running[spot_of(key)] += 1

    def gave_back(self, key: ConversationKey) -> None:
        """Note that a workspace has one slot less."""
        spot = spot_of(key)
        self._running[spot] -= 1
        if not self._running[spot]:
            del self._running[spot]

    def left_out(self) -> frozenset[Spot]:
        """Name the workspaces that have their part already, when of all slots only the kept ones are free.

        A workspace's part is what it would have if the slots were divided among all that were heard lately, one at least.
        """
        if self._running.total() < self._slots - self._slots // KEPT:
            return frozenset()
        part = max(1, self._slots // len(self._heard.keys() | self._running.keys()))
        return frozenset(spot for spot, count in self._running.items() if count >= part)


def spot_of(key: ConversationKey) -> Spot:
    """Name a conversation's workspace."""
    return Spot(platform=key.platform, workspace=key.workspace)
