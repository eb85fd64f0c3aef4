"""Slack's `ts`, which names a message within its channel, orders it, and says when it was said."""

import re
from datetime import UTC, datetime, timedelta

_TS = re.compile(r"(?P<seconds>[0-9]{1,12})\.(?P<micros>[0-9]{6})", re.ASCII)
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def position_of(ts: str) -> int:
    """Return a `ts` as microseconds, which is its place in the channel's order.

    Raises:
        ValueError: it is no `ts`.
    """
    found = _TS.fullmatch(ts)
    if found is None:
        raise ValueError("expected a ts such as 1700000000.123456")
    # No float: one of this size has not the digits for it.
    return int(found["seconds"]) * 1_000_000 + int(found["micros"])


def ts_of(position: int) -> str:
    """Write a position as Slack does."""
    return f"{position // 1_000_000}.{position % 1_000_000:06}"


def moment_of(ts: str) -> datetime:
    """Return when a message was said.

    Raises:
        ValueError: it is no `ts`.
    """
    try:
        return _BEGIN + position_of(ts) * _MICROSECOND
    except OverflowError as exc:
        raise ValueError("expected a ts of this age") from exc


def position_at(moment: datetime) -> int:
    """Return the position that a message of this moment would have."""
    return (moment - _BEGIN) // _MICROSECOND
