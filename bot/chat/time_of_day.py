"""Whether a time of day can be trusted so far that conversations are deleted by it.

A clock that was set wrong, or that a machine begins with, would let everything expire at once, and nothing on the machine
tells it from a right one. Messages do: they carry their platform's time of day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import Clock

JUMP = timedelta(hours=1)
"""A time of day that leaves the stopwatch by more than this was set."""
SILENCE = timedelta(days=7)
"""After so long without any message a time that stayed steady is trusted: what nobody uses must come to its end too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why nothing is to be deleted yet. `alarming`: it does not pass by itself."""

    reason: str
    alarming: bool


BEGAN = Doubt(reason="nothing was swept for long: that waits until a message shows that the clock is right", alarming=False)
SET = Doubt(reason="the clock was set: nothing is swept until a message shows that it is right", alarming=True)


class TimeOfDay:
    """Doubts a time that messages contradict, and one that jumped until a message agrees or there was none for `SILENCE`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: tuple[datetime, timedelta] | None = None
        """The time that was looked at last, and the stopwatch then."""
        self._said: tuple[datetime, timedelta] | None = None
        """The latest time of a message, by the stopwatch: what the time is at least."""
        self._quiet_since = clock.monotonic()
        """Since when neither a message came nor the time jumped."""
        self._jumped: Doubt | None = None

    def heard(self, sent_at: datetime) -> None:
        """Take note of a message that arrived just now, and of its platform's time. A late one does no harm."""
        stopwatch = self._quiet_since = self._clock.monotonic()
        if self._said is None or sent_at > _later(self._said, stopwatch):
            self._said = sent_at, stopwatch

    def doubt(self, now: datetime, *, trusted: datetime | None, within: timedelta) -> Doubt | None:
        """Tell what speaks against `now`; None when nothing does. It is to be asked again and again.

        `trusted` is when something was deleted last, by whichever process: when that was `within` so long before, the time
        was watched all along, and this process need not be told anew what it is.
        """
        stopwatch = self._clock.monotonic()
        if self._seen is None:
            if trusted is None or abs(now - trusted) > within + JUMP:
                self._jumped, self._quiet_since = BEGAN, stopwatch
        elif abs(now - _later(self._seen, stopwatch)) > JUMP:
            self._jumped, self._quiet_since = SET, stopwatch
        self._seen = now, stopwatch
        if stopwatch - self._quiet_since >= SILENCE:
            self._jumped = self._said = None
        elif self._said is not None:
            agrees = now - _later(self._said, stopwatch) <= JUMP
            self._jumped = None if agrees else self._jumped or SET
        return self._jumped


def _later(moment: tuple[datetime, timedelta], stopwatch: timedelta) -> datetime:
    at, then = moment
    return at + (stopwatch - then)
