"""A breaker for one model: after failures in a row it rests, so that people are not kept waiting for what will fail."""

from datetime import timedelta

FAILURES_IN_A_ROW = 5
FIRST_REST = timedelta(seconds=15)
LONGEST_REST = timedelta(seconds=120)


class Pass:
    """The permission for one call, known by its identity."""


class Breaker:
    """Counts a model's failures; a resting model gets one call, the probe, to show that it is back.

    Every pass goes back by `given_up`, after `worked` or `failed` where the call told something about the model. The times
    handed in are of one stopwatch.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._rest = FIRST_REST
        self._rests_until: timedelta | None = None
        self._probe: Pass | None = None

    def enter(self, now: timedelta) -> Pass | None:
        """Give a pass for one call, or None while the model rests."""
        given = Pass()
        if self._rests_until is not None:
            if not self.ready(now):
                return None
            self._probe = given
        return given

    def ready(self, now: timedelta) -> bool:
        """Tell whether `enter` would give a pass."""
        return self._rests_until is None or (self._probe is None and now >= self._rests_until)

    def rests_for(self, now: timedelta) -> timedelta:
        """Tell how long the model rests yet."""
        return max(timedelta(), (self._rests_until or now) - now)

    def answers(self, given: Pass) -> bool:
        """Note that a call begins to be answered; tell whether that ends a rest.

        Others need not wait for a probe's last word. Out of a rest it says nothing: a model that breaks off each time
        begins each time.
        """
        if given is not self._probe:
            return False
        self._recover()
        return True

    def worked(self, given: Pass) -> None:
        """Note that the model served a whole call."""
        if self._rests_until is None or given is self._probe:  # else it began before the rest and says nothing about now
            self._recover()

    def _recover(self) -> None:
        self._failures = 0
        self._rest = FIRST_REST
        self._rests_until = self._probe = None

    def failed(self, given: Pass, now: timedelta) -> timedelta | None:
        """Note a failure; give the rest that begins with it, if one does."""
        if given is self._probe:
            self._rest = min(2 * self._rest, LONGEST_REST)
            self._probe = None
        elif self._rests_until is not None:
            return None
        else:
            self._failures += 1
            if self._failures < FAILURES_IN_A_ROW:
                return None
        self._rests_until = now + self._rest
        return self._rest

    def given_up(self, given: Pass) -> None:
        """Take the pass of a call that is over; a probe that told nothing makes room for the next."""
        if given is self._probe:
            self._probe = None
