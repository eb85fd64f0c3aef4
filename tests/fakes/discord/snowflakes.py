"""Ids as Discord makes them: numbers that grow with time and tell it."""

import itertools
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2015, 1, 1, tzinfo=UTC)


class Snowflakes:
    """Makes ids for now, each greater than the one before, or for an earlier moment."""

    def __init__(self) -> None:
        self._last = 0
        self._earlier = itertools.count()

    def new(self, at: datetime | None = None) -> int:
        if at is not None:
            return (_milliseconds(at) << 22) | (next(self._earlier) & 0x3FFFFF)
        self._last = max(self._last + 1, _milliseconds(datetime.now(UTC)) << 22)
        return self._last


def time_of(snowflake: int) -> datetime:
    return EPOCH + timedelta(milliseconds=snowflake >> 22)


def _milliseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
